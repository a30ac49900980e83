"""The Weibull distribution: survival times."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    EULER_GAMMA,
    Distribution,
    bounded_tails,
    log_power,
    matrix,
    positive_part,
    promote,
    restrict,
    sample_shape,
)


@pytree
class Weibull(Distribution):
    r"""Weibull distribution on the positive reals.

    .. math:: \log P(Y > y) = -(y/\lambda)^k, \qquad
        \log p(y) = \log k - \log\lambda + (k - 1)\log(y/\lambda) - (y/\lambda)^k

    Its logarithm has a location :math:`\log\lambda` and a scale :math:`1/k`: accelerated failure times.

    Args:
        scale: :math:`\lambda > 0`.
        concentration: shape :math:`k > 0`; below 1 the hazard falls, above 1 it rises.

    Numerics:
        At 0, the edge of the support, ``log_prob`` is its limit: ``-inf``, ``-log(scale)`` or ``inf`` as the
        concentration is above, at or below 1.
    """

    scale: ArrayLike
    concentration: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def _parts(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        """The value, ``log(y / scale)``, ``(y / scale)**k``, and the hyper-parameters."""
        y, scale, k = promote(y, self.scale, self.concentration)
        log_ratio = jnp.log(positive_part(y)[1]) - jnp.log(scale)
        return y, log_ratio, jnp.exp(k * log_ratio), scale, k

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, log_ratio, hazard, scale, k = self._parts(y)
        value = jnp.log(k) - jnp.log(scale) + log_power(k - 1, log_ratio, y == 0) - jnp.where(y == 0, 0, hazard)
        inside = (y >= 0) & (y < jnp.inf)
        return restrict(value, inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, log_ratio, hazard, _, k = self._parts(y)
        tiny = k * log_ratio < -100  # 1 - exp(-h) is h, which may underflow
        below = jnp.where(tiny, k * log_ratio, numerics.log1mexp(jnp.where(tiny, 1, hazard)))
        return bounded_tails(y, below, -hazard, 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, scale, k = promote(q, self.scale, self.concentration)
        return scale * (-jnp.log1p(-q)) ** (1 / k)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.scale, self.concentration, float)
        draw = jax.random.exponential(key, sample_shape(self, shape), dtype)
        draw, scale, k = promote(draw, self.scale, self.concentration)
        return scale * draw ** (1 / k)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\lambda\,\Gamma(1 + 1/k)`."""
        scale, k = promote(self.scale, self.concentration)
        return scale * jnp.exp(jax.scipy.special.gammaln(1 + 1 / k))

    @property
    def variance(self) -> jax.Array:
        r""":math:`\lambda^2\bigl[\Gamma(1 + 2/k) - \Gamma(1 + 1/k)^2\bigr]`."""
        scale, k = promote(self.scale, self.concentration)
        first, second = (jax.scipy.special.gammaln(1 + order / k) for order in (1, 2))
        return jnp.square(scale) * jnp.exp(2 * first) * jnp.expm1(second - 2 * first)

    def entropy(self) -> jax.Array:
        r""":math:`\gamma(1 - 1/k) + \log(\lambda/k) + 1`."""
        scale, k = promote(self.scale, self.concentration)
        return EULER_GAMMA * (1 - 1 / k) + jnp.log(scale / k) + 1

    def fisher_information(self) -> jax.Array:
        r"""Of ``(scale, concentration)``.

        .. math:: \begin{pmatrix} k^2/\lambda^2 & (\gamma - 1)/\lambda \\
            (\gamma - 1)/\lambda & [\pi^2/6 + (1 - \gamma)^2]/k^2\end{pmatrix}
        """
        scale, k = promote(self.scale, self.concentration)
        mixed = (EULER_GAMMA - 1) / scale
        return matrix([jnp.square(k / scale), mixed], [mixed, (jnp.pi**2 / 6 + (1 - EULER_GAMMA) ** 2) / jnp.square(k)])
