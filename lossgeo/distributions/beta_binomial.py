"""The beta-binomial distribution: successes in trials whose probability varies."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, promote, restrict, sample_shape


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
        Accurate for large concentrations, where it tends to the binomial distribution: nothing of their size is
        subtracted.
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
        successes, failures = jnp.where(inside, y, 0), jnp.where(inside, n - y, 0)
        gammaln = jax.scipy.special.gammaln
        log_choices = gammaln(successes + failures + 1) - gammaln(successes + 1) - gammaln(failures + 1)
        binomial = -successes * jnp.log1p(b / a) - failures * jnp.log1p(a / b)
        excess = numerics.log_rising(successes, a) + numerics.log_rising(failures, b)
        excess = excess - numerics.log_rising(successes + failures, a + b)
        return restrict(log_choices + binomial + excess, inside, y)

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
