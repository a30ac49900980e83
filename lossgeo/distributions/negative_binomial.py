"""The negative binomial distribution: counts that vary more than Poisson ones."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, promote, restrict, sample_shape
from lossgeo.distributions.quantile import discrete_quantile


@pytree
class NegativeBinomial(Distribution):
    r"""Negative binomial distribution of a count with a given mean; Poisson with a gamma-distributed rate.

    .. math:: \log p(y) = \log\frac{\Gamma(y + r)}{\Gamma(r)\,y!} + r\log\frac{r}{r + \mu} + y\log\frac{\mu}{r + \mu},
        \qquad \operatorname{Var} = \mu + \mu^2/r

    Args:
        mean: :math:`\mu \ge 0`.
        concentration: :math:`r > 0` (``size`` in R, ``1/alpha`` in statsmodels); ``inf`` is the Poisson distribution.

    Numerics:
        Accurate for all concentrations up to and including ``inf``, in the value and in the derivatives: written in
        :math:`1/r` with Stirling's formula taken out by hand, nothing of size :math:`r` is subtracted.
    """

    mean: ArrayLike = 1.0  # type: ignore[assignment]
    concentration: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The integers from 0 on."""
        return supports.nonnegative_integers

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, mean, r = promote(y, self.mean, self.concentration)
        inside = self.support.contains(y)
        count = jnp.where(inside, y, 0)
        u = 1 / r
        empty = (count == 0) & (mean == 0)
        linear = count * jnp.log(jnp.where(empty, 1, mean)) - jax.scipy.special.gammaln(count + 1)
        # (r + y) log(1 + mean/r) tends to mean, and log Gamma(y + r)/Gamma(r) - y log r to 0.
        m = mean * u
        near = m < 1
        inner, outer, finite = jnp.where(near, m, 0), jnp.where(near, 1, m), jnp.where(near, 1, r)
        center = (1 + count * u) * jnp.where(near, mean, 0) * (1 - inner * numerics.log1p_remainder(inner))
        # Far out the first form, mean (log(1 + m)/m), is all cancellation.
        decay = jnp.where(near, center, (finite + count) * jnp.log1p(outer))
        return restrict(linear - decay + numerics.log_rising(count, r), inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""With :math:`P(Y \le y) = I_p(r, y + 1)`, :math:`p = r/(r + \mu)`; the Poisson limit at ``inf``."""
        y, mean, r = promote(y, self.mean, self.concentration)
        count = jnp.floor(jnp.where((y >= 0) & (y < jnp.inf), y, 0))
        poisson, empty = jnp.isinf(r), mean == 0
        r, mean = jnp.where(poisson, 1, r), jnp.where(empty, 1, mean)
        below, above = numerics.log_beta_tails(r, count + 1, 1 / (1 + mean / r), 1 / (1 + r / mean))
        above_limit, below_limit = numerics.log_gamma_tails(count + 1, mean)
        below, above = jnp.where(poisson, below_limit, below), jnp.where(poisson, above_limit, above)
        below, above = jnp.where(empty, 0, below), jnp.where(empty, -jnp.inf, above)
        return bounded_tails(y, below, above, 0, jnp.inf, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        shape = sample_shape(self, shape)
        key_gamma, key_poisson = jax.random.split(key)
        mean, r = (jnp.broadcast_to(v, shape) for v in promote(jnp.zeros(shape), self.mean, self.concentration)[1:])
        finite = jnp.where(jnp.isinf(r), 1, r)
        mixed = mean * jax.random.gamma(key_gamma, finite) / finite
        return jax.random.poisson(key_poisson, jnp.where(jnp.isinf(r), mean, mixed))

    @property
    def variance(self) -> jax.Array:
        r""":math:`\mu + \mu^2/r`."""
        mean, r = promote(self.mean, self.concentration)
        return mean + jnp.square(mean) / r
