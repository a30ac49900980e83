"""The binomial distribution: successes in a number of trials."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, matrix, one_of, promote, restrict, sample_shape


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
        Through ``logits`` no probability is formed: value, gradient and Hessian are accurate in both tails.
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
            value = -successes * numerics.softplus(-parameter) - failures * numerics.softplus(parameter)
        else:
            none, all_ = successes == 0, failures == 0
            value = successes * jnp.log(jnp.where(none, 1, parameter)) + failures * jnp.log1p(
                -jnp.where(all_, 0, parameter)
            )
        counts = jnp.stack(jnp.broadcast_arrays(successes + failures, successes, failures)) + 1
        log_factorials = jax.scipy.special.gammaln(counts)
        return restrict(value + log_factorials[0] - log_factorials[1] - log_factorials[2], inside, y)

    def _probabilities(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Number of trials, probability of success and of failure, of one rank."""
        one_of(self, probs=self.probs, logits=self.logits)
        if self.logits is None:
            n, p = promote(self.total_count, self.probs)  # type: ignore[arg-type]
            return n, p, 1 - p
        n, z = promote(self.total_count, self.logits)
        return n, numerics.sigmoid(z), numerics.sigmoid(-z)

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

    def fisher_information(self) -> jax.Array:
        r""":math:`n p (1 - p)` for ``logits``, :math:`n/p(1 - p)` for ``probs``; none for the number of trials."""
        n, p, q = self._probabilities()
        return matrix([n / (p * q) if self.logits is None else n * p * q])
