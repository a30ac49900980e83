"""The half-normal distribution: a weak prior for a scale."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    LOG_2,
    Distribution,
    bounded_tails,
    matrix,
    promote,
    restrict,
    sample_shape,
)


@pytree
class HalfNormal(Distribution):
    r"""Distribution of the absolute value of a normal variable with mean 0.

    .. math:: \log p(y) = -\frac{y^2}{2\sigma^2} - \log\sigma + \tfrac12\log\frac{2}{\pi}, \qquad y > 0

    A weak prior for a standard deviation: it lets the data say 0.

    Args:
        scale: standard deviation :math:`\sigma > 0` of the normal variable.

    Numerics:
        At 0, the edge of the support, ``log_prob`` is the limit from inside.
    """

    scale: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, scale = promote(y, self.scale)
        inside = (y >= 0) & (y < jnp.inf)
        z = jnp.where(inside, y, 0) / scale
        return restrict(-0.5 * z * z - jnp.log(scale) + (LOG_2 - HALF_LOG_2PI), inside, y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.scale, float)
        draw, scale = promote(jax.random.normal(key, sample_shape(self, shape), dtype), self.scale)
        return scale * jnp.abs(draw)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\sigma\sqrt{2/\pi}`."""
        return jnp.asarray(self.scale) * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2(1 - 2/\pi)`."""
        return jnp.square(self.scale) * (1 - 2 / math.pi)

    def entropy(self) -> jax.Array:
        r""":math:`\tfrac12\log\tfrac12\pi e\sigma^2`."""
        return jnp.log(self.scale) + (HALF_LOG_2PI + 0.5 - LOG_2)

    def _standardize(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, scale = promote(y, self.scale)
        return y, jnp.where((y > 0) & (y < jnp.inf), y, scale) / scale

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r""":math:`\operatorname{erf}` and :math:`\operatorname{erfc}` of :math:`y/\sigma\sqrt2`."""
        y, z = self._standardize(y)
        lower = z < 1
        near, far = jnp.where(lower, z, 1), jnp.where(lower, 1, z)
        center = jax.lax.erf(near * math.sqrt(0.5))
        below = jnp.where(lower, jnp.log(center), jnp.log1p(-2 * jax.scipy.special.ndtr(-far)))
        above = jnp.where(lower, jnp.log1p(-center), numerics.log_ndtr(-far) + LOG_2)
        return bounded_tails(y, below, above, 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, scale = promote(q, self.scale)
        return scale * jnp.where(
            q < 0.5, jax.scipy.special.erfinv(q) * math.sqrt(2), -jax.scipy.special.ndtri(0.5 - 0.5 * q)
        )

    def fisher_information(self) -> jax.Array:
        r""":math:`2/\sigma^2`."""
        (scale,) = promote(self.scale)
        return matrix([2 / jnp.square(scale)])
