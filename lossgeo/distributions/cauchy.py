"""The Cauchy distribution: tails without moments."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import LOG_2, promote
from lossgeo.distributions.location_scale import LocationScale
from lossgeo.distributions.student_t import half_log1p_square

_LOG_PI = 1.1447298858494002


@pytree
class Cauchy(LocationScale):
    r"""Cauchy distribution on the real line: ``StudentT`` of one degree of freedom.

    .. math:: \log p(y) = -\log(1 + z^2) - \log\pi\sigma, \qquad z = (y - \mu)/\sigma

    Args:
        loc: median and mode :math:`\mu`, any real.
        scale: half width at half maximum :math:`\sigma > 0`.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def _log_density(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return -half_log1p_square(z, jnp.ones((), z.dtype)) - _LOG_PI

    def _log_cdf(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        # arctan(1/|z|)/pi is the smaller tail; for z > 0 the larger one is 1 less that.
        near = jnp.abs(z) <= 1
        size = jnp.abs(jnp.where(near, 1, z))
        center = 0.5 + jnp.arctan(jnp.where(near, z, 0)) / jnp.pi
        tail = jnp.arctan(1 / size) / jnp.pi
        outer = jnp.where(z < 0, jnp.log(tail), jnp.log1p(-tail))
        return jnp.where(near, jnp.log(center), outer)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        (q,) = promote(q)
        near = (q > 0.25) & (q < 0.75)
        tail = jnp.where(q < 0.5, q, 1 - q)
        outer = jnp.where(q < 0.5, -1, 1) / jnp.tan(jnp.pi * jnp.where(near, 0.25, tail))
        return self._located(jnp.where(near, jnp.tan(jnp.pi * (q - 0.5)), outer))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.cauchy(key, size, dtype)

    @property
    def mean(self) -> jax.Array:
        """Does not exist."""
        return self._located(jnp.nan)

    @property
    def variance(self) -> jax.Array:
        """Does not exist."""
        return self._spread(jnp.nan)

    def entropy(self) -> jax.Array:
        r""":math:`\log 4\pi\sigma`."""
        return self._stretched(_LOG_PI + 2 * LOG_2)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(1, 1)/2\sigma^2` for ``(loc, scale)``."""
        return self._information(0.5, 0.5)
