"""The beta-binomial distribution: successes in trials whose probability varies."""

from collections.abc import Callable
from typing import Any

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
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.lattice import concentrated_sum, cumulated, spread_sum
from lossgeo.distributions.quantile import discrete_quantile


@pytree
class BetaBinomial(Distribution):
    r"""Beta-binomial distribution: ``Binomial`` with a beta-distributed probability of success.

    .. math:: \log p(y) = \log\binom ny + \log\frac{B(y + \alpha, n - y + \beta)}{B(\alpha, \beta)}

    For proportions that vary more than binomial ones: the variance is that of ``Binomial`` times
    :math:`1 + (n - 1)/(\alpha + \beta + 1)`.

    Args:
        total_count: number of trials :math:`n`, a non-negative integer (of any dtype; it has no derivative).
        concentration1: :math:`\alpha > 0`, of a success.
        concentration0: :math:`\beta > 0`, of a failure.

    Numerics:
        Accurate for large numbers of trials and for large concentrations, where it tends to the binomial distribution:
        nothing of their size is subtracted. Distribution functions are sums of as many terms as there are trials.
    """

    total_count: ArrayLike
    concentration1: ArrayLike
    concentration0: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The integers 0, …, ``total_count``."""
        return supports.integers_up_to(self.total_count)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, n, a, b = promote(y, self.total_count, self.concentration1, self.concentration0)
        inside = supports.integers_up_to(n).contains(y)
        return restrict(beta_binomial_mass(jnp.where(inside, y, 0), jnp.where(inside, n, 0), a, b), inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Sums of the counts on that side of the value that is less likely."""
        y, n, a, b = promote(y, self.total_count, self.concentration1, self.concentration0)
        inside = (y >= 0) & (y < n)
        count = jnp.where(inside, jnp.floor(y), 0)
        trials = jnp.where(inside, n, 1)
        lower = count * b < (trials - count) * a  # below the mean
        # The upper tail is the lower one of the failures.
        last, first, second = (
            jnp.where(lower, count, trials - count - 1),
            jnp.where(lower, a, b),
            jnp.where(lower, b, a),
        )
        tail = cumulated(beta_binomial_mass, last, trials, first, second)
        tail = jnp.minimum(tail, -jnp.finfo(tail.dtype).tiny)
        other = numerics.log1mexp(-tail)
        return bounded_tails(y, jnp.where(lower, tail, other), jnp.where(lower, other, tail), 0, n, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        n, a, _ = promote(self.total_count, self.concentration1, self.concentration0)
        return discrete_quantile(self, q, n + jnp.zeros_like(a))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        shape = sample_shape(self, shape)
        key_beta, key_binomial = jax.random.split(key)
        _, n, a, b = promote(jnp.zeros(shape), self.total_count, self.concentration1, self.concentration0)
        n, a, b = (jnp.broadcast_to(v, shape) for v in (n, a, b))
        return jax.random.binomial(key_binomial, n, jax.random.beta(key_beta, a, b, shape, a.dtype), shape).astype(int)

    @property
    def mean(self) -> jax.Array:
        r""":math:`n\alpha/(\alpha + \beta)`."""
        n, a, b = promote(self.total_count, self.concentration1, self.concentration0)
        return n * (a / (a + b))

    @property
    def variance(self) -> jax.Array:
        r""":math:`n\,\frac{\alpha\beta}{(\alpha + \beta)^2}\,\frac{n + \alpha + \beta}{1 + \alpha + \beta}`."""
        n, a, b = promote(self.total_count, self.concentration1, self.concentration0)
        total = a + b
        return n * (a / total) * (b / total) * ((n + total) / (1 + total))

    def expectation(self, term: Callable[..., Any]) -> Any:
        """Sum over all counts of a term of the count and the hyper-parameters, on arrays of one rank.

        The term is called as ``term(y, total_count, concentration1, concentration0)`` and holds the probability.
        """
        found = ranks(*promote(self.total_count, self.concentration1, self.concentration0))
        n, a, b = (jnp.broadcast_to(v, self.batch_shape) for v in found)
        concentrated = jnp.minimum(a, b) >= 16

        def total(a: jax.Array, b: jax.Array) -> Callable[[jax.Array], Any]:
            return lambda y: term(y, n[..., None], a[..., None], b[..., None])

        high, low = (jnp.where(concentrated, v, 16) for v in (a, b))
        share, sum_ = high / (high + low), high + low
        deviation = jnp.sqrt(n * share * (low / sum_) * ((n + sum_) / (1 + sum_)))
        narrow = concentrated_sum(total(high, low), n * share, deviation, n)
        a, b = jnp.where(concentrated, 1, a), jnp.where(concentrated, 1, b)
        wide = spread_sum(total(a, b), jnp.full_like(n, jnp.inf), n)
        return jax.tree.map(lambda one, other: jnp.where(concentrated, one, other), narrow, wide)

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_y p_y\log p_y`, by the sums of :mod:`lossgeo.distributions.lattice`."""

        def term(y: jax.Array, n: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
            value = beta_binomial_mass(y, n, a, b)
            return -jnp.exp(value) * value

        return self.expectation(term)

    def fisher_information(self) -> jax.Array:
        r""":math:`\sum_y p_y\,s_y s_y^\top` with the scores of ``(concentration1, concentration0)``.

        A sum over all counts, see :mod:`lossgeo.distributions.lattice`. One trial tells the mean alone: singular.
        """

        def term(y: jax.Array, n: jax.Array, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            a, b = jnp.broadcast_to(a, y.shape), jnp.broadcast_to(b, y.shape)
            value, first = jax.jvp(lambda v: beta_binomial_mass(y, n, v, b), (a,), (jnp.ones_like(a),))
            second = jax.jvp(lambda v: beta_binomial_mass(y, n, a, v), (b,), (jnp.ones_like(b),))[1]
            mass = jnp.exp(value)
            return mass * first * first, mass * first * second, mass * second * second

        first, mixed, second = self.expectation(term)
        return matrix([first, mixed], [mixed, second])


def beta_binomial_mass(count: jax.Array, n: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    r"""Log-probability of a count, which need not be an integer.

    .. math:: \log p(y) = -\log pq - K(y + 1, n - y + 1) - K(a, b) + \dots, \qquad
        K(u, v) = u\log\frac{u}{(u + v)p} + v\log\frac{v}{(u + v)q}

    with :math:`p = 1 - q = (y + a)/(n + a + b)` is what is left of Stirling's formula when the parts that cancel are
    taken out by hand; the dots are roots and remainders.
    """
    rest = n - count
    u, v, size = count + 1, rest + 1, n + a + b
    p, q = (count + a) / size, (rest + b) / size

    def divergence(first: jax.Array, second: jax.Array, excess: jax.Array) -> jax.Array:
        total = first + second
        one = first * numerics.log_remainder(total * p / first, excess / (size * first))
        return -one - second * numerics.log_remainder(total * q / second, -excess / (size * second))

    def remainders(first: jax.Array, second: jax.Array) -> jax.Array:
        stirling = numerics.stirling_remainder
        return stirling(first) + stirling(second) - stirling(first + second)

    far = divergence(u, v, v * (a - 1) - u * (b - 1)) + divergence(a, b, count * b - rest * a)
    roots = jnp.log(u) + jnp.log(v) - jnp.log(n + 2)
    roots = roots - jnp.log1p(count / a) - jnp.log1p(rest / b) + jnp.log1p(n / (a + b))
    series = remainders(count + a, rest + b) - remainders(u, v) - remainders(a, b)
    value = 0.5 * roots - far + series - jnp.log(p) - jnp.log(q) - jnp.log(n + 1) - HALF_LOG_2PI
    return jnp.where(n == 0, 0, value)
