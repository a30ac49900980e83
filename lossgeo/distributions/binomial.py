"""The binomial distribution: successes in a number of trials."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import ranks
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    Distribution,
    bounded_tails,
    matrix,
    one_of,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.lattice import concentrated_sum, entropy_of
from lossgeo.distributions.quantile import discrete_quantile


@pytree
class Binomial(Distribution):
    r"""Binomial distribution of the number of successes in independent trials.

    .. math:: \log p(y) = \log\binom{n}{y} + y\log p + (n - y)\log(1 - p), \qquad p = \sigma(z)

    Give exactly one of ``probs`` and ``logits``.

    Args:
        total_count: number of trials :math:`n`, a non-negative integer (of any dtype; it has no derivative).
        probs: probability of success, in :math:`[0, 1]`.
        logits: log-odds :math:`z` of success, any real (keyword only).

    Numerics:
        The log-density is minus half the deviance and what Stirling's formula leaves of the number of choices: nothing
        of size :math:`n\log n` is subtracted. Through ``logits`` value and derivatives are accurate in both tails.
    """

    total_count: ArrayLike
    probs: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    @property
    def support(self) -> supports.Support:
        """The integers 0, …, ``total_count``."""
        return supports.integers_up_to(self.total_count)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        one_of(self, probs=self.probs, logits=self.logits)
        given = self.probs if self.logits is None else self.logits
        y, n, parameter = promote(y, self.total_count, given)  # type: ignore[arg-type]
        inside = supports.integers_up_to(n).contains(y)
        successes = jnp.where(inside, y, 0)
        failures = jnp.where(inside, n - y, 0)
        if self.logits is not None:
            value = _mass_of_logits(*jnp.broadcast_arrays(successes, failures, parameter))
        else:
            value = _mass_of_probs(*jnp.broadcast_arrays(successes, failures, parameter))
        return restrict(value, inside, y)

    def _probabilities(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Number of trials, probability of success and of failure, of one rank."""
        one_of(self, probs=self.probs, logits=self.logits)
        if self.logits is None:
            n, p = promote(self.total_count, self.probs)  # type: ignore[arg-type]
            return n, p, 1 - p
        n, z = promote(self.total_count, self.logits)
        return n, numerics.sigmoid(z), numerics.sigmoid(-z)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""With :math:`P(Y \le y) = I_{1 - p}(n - y, y + 1)` for :math:`0 \le y < n`."""
        n, p, failure = self._probabilities()
        y, n, p, failure = promote(y, n, p, failure)
        inside = (y >= 0) & (y < n)
        count = jnp.where(inside, jnp.floor(y), 0)
        never, always = p == 0, failure == 0
        split = never | always
        p, failure = jnp.where(split, 0.5, p), jnp.where(split, 0.5, failure)
        below, above = numerics.log_beta_tails(jnp.where(inside, n - count, 1), count + 1, failure, p)
        below = jnp.where(never, 0, jnp.where(always, -jnp.inf, below))
        above = jnp.where(never, -jnp.inf, jnp.where(always, 0, above))
        return bounded_tails(y, below, above, 0, n, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q, promote(self.total_count, self._probabilities()[1])[0])

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        n, p, _ = self._probabilities()
        return jax.random.binomial(key, n, p, sample_shape(self, shape)).astype(int)

    @property
    def mean(self) -> jax.Array:
        r""":math:`n p`."""
        n, p, _ = self._probabilities()
        return n * p

    @property
    def variance(self) -> jax.Array:
        r""":math:`n p (1 - p)`."""
        n, p, q = self._probabilities()
        return n * p * q

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_y p_y\log p_y`, by :func:`~lossgeo.distributions.lattice.concentrated_sum`.

        Nothing of size :math:`n\log n` is subtracted. An absolute error of some ulp of 1, also where the entropy is
        less.
        """
        n, p, q = (jnp.broadcast_to(v, self.batch_shape) for v in ranks(*self._probabilities()))
        certain = (p == 0) | (q == 0)
        success, failure = jnp.where(certain, 0.5, p)[..., None], jnp.where(certain, 0.5, q)[..., None]
        trials = n[..., None]

        def log_prob(y: jax.Array) -> jax.Array:
            return _mass(y, trials - y, (success, failure), (jnp.log(success), jnp.log(failure)))

        mean, deviation = (trials * success)[..., 0], jnp.sqrt(trials * success * failure)[..., 0]
        # At a certain outcome the entropy is 0, and its derivative in the probability infinite.
        edge = n * (jax.scipy.special.entr(p) + jax.scipy.special.entr(q))
        return jnp.where(certain, edge, concentrated_sum(entropy_of(log_prob), mean, deviation, n))

    def fisher_information(self) -> jax.Array:
        r""":math:`n p (1 - p)` for ``logits``, :math:`n/p(1 - p)` for ``probs``; none for the number of trials."""
        n, p, q = self._probabilities()
        return matrix([n / (p * q) if self.logits is None else n * p * q])


def _plain_choices(successes: jax.Array, failures: jax.Array) -> jax.Array:
    gammaln = jax.scipy.special.gammaln
    return gammaln(successes + failures + 1) - gammaln(successes + 1) - gammaln(failures + 1)


def _plain_mass_of_logits(successes: jax.Array, failures: jax.Array, logits: jax.Array) -> jax.Array:
    linear = -successes * numerics.softplus(-logits) - failures * numerics.softplus(logits)
    return linear + _plain_choices(successes, failures)


def _plain_mass_of_probs(successes: jax.Array, failures: jax.Array, probs: jax.Array) -> jax.Array:
    log_p, log_q = _logs_of_probs(successes, failures, probs)
    return successes * log_p + failures * log_q + _plain_choices(successes, failures)


def _logs_of_probs(successes: jax.Array, failures: jax.Array, probs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logarithms of the probabilities of what was seen, 0 for what was not."""
    never, always = successes == 0, failures == 0
    return jnp.log(jnp.where(never, 1, probs)), jnp.log1p(-jnp.where(always, 0, probs))


@numerics.differentiated_as(_plain_mass_of_logits)
def _mass_of_logits(successes: jax.Array, failures: jax.Array, logits: jax.Array) -> jax.Array:
    """Log-probability, as minus half the deviance and the rest."""
    shares = numerics.sigmoid(logits), numerics.sigmoid(-logits)
    return _mass(successes, failures, shares, (-numerics.softplus(-logits), -numerics.softplus(logits)))


@numerics.differentiated_as(_plain_mass_of_probs)
def _mass_of_probs(successes: jax.Array, failures: jax.Array, probs: jax.Array) -> jax.Array:
    """Likewise."""
    return _mass(successes, failures, (probs, 1 - probs), _logs_of_probs(successes, failures, probs))


def _mass(
    successes: jax.Array, failures: jax.Array, shares: tuple[jax.Array, jax.Array], logs: tuple[jax.Array, jax.Array]
) -> jax.Array:
    count = successes + failures
    log_count = jnp.log(jnp.where(count == 0, 1, count))
    one = numerics.poisson_kernel(successes, count * shares[0], log_count + logs[0])
    other = numerics.poisson_kernel(failures, count * shares[1], log_count + logs[1])
    return one + other + _log_choices(successes, failures)


def _log_choices(successes: jax.Array, failures: jax.Array) -> jax.Array:
    r""":math:`\log\binom ny` less its leading part :math:`n\log n - y\log y - (n - y)\log(n - y)`."""
    mixed = (successes > 0) & (failures > 0)
    one, other = jnp.where(mixed, successes, 1), jnp.where(mixed, failures, 1)
    roots = 0.5 * (jnp.log(one + other) - jnp.log(one) - jnp.log(other)) - HALF_LOG_2PI
    stirling = numerics.stirling_remainder
    return jnp.where(mixed, roots + stirling(one + other) - stirling(one) - stirling(other), 0)
