"""The logistic distribution: the latent error behind logistic regression."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.distributions.location_scale import LocationScale


@pytree
class Logistic(LocationScale):
    r"""Logistic distribution on the real line.

    .. math:: P(Y \le y) = \sigma(z), \qquad p(y) = \sigma(z)\,\sigma(-z)/s, \qquad z = (y - \mu)/s

    Args:
        loc: mean and median :math:`\mu`, any real.
        scale: :math:`s > 0`; the standard deviation is :math:`\pi s/\sqrt3`.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def _log_density(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return -numerics.softplus(z) - numerics.softplus(-z)

    def _log_cdf(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return -numerics.softplus(-z)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q = jnp.asarray(q, jnp.result_type(float, q))
        return self._located(jnp.log(q) - jnp.log1p(-q))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.logistic(key, size, dtype)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._located(0.0)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\pi^2 s^2/3`."""
        return self._spread(jnp.pi**2 / 3)

    def entropy(self) -> jax.Array:
        r""":math:`2 + \log s`."""
        return self._stretched(2.0)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}\bigl(\tfrac13, \tfrac{3 + \pi^2}{9}\bigr)/s^2` for ``(loc, scale)``."""
        return self._information(1 / 3, (3 + jnp.pi**2) / 9)
