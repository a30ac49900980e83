"""The hyperbolic secant distribution: log-cosh loss made a density."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import LOG_2, promote
from lossgeo.distributions.location_scale import LocationScale


@pytree
class HyperbolicSecant(LocationScale):
    r"""Hyperbolic secant distribution on the real line.

    .. math:: \log p(y) = -\log\cosh z - \log\pi\sigma, \qquad P(Y \le y) = \tfrac2\pi\arctan e^z, \qquad
        z = (y - \mu)/\sigma

    As noise it is the log-cosh loss: squared error near the center, absolute error in the tails, smooth to any order.

    Args:
        loc: mean and median :math:`\mu`, any real.
        scale: :math:`\sigma > 0`; the standard deviation is :math:`\pi\sigma/2`.

    Reference: Johnson, Kotz, Balakrishnan (1995), Continuous Univariate Distributions 2, section 23.11.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def _log_density(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return -log_cosh(z) - math.log(math.pi)

    def _log_cdf(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        below, above = jnp.where(z < 0, z, 0), jnp.where(z < 0, 0, z)
        lower = below + jnp.log(_arctan_ratio(jnp.exp(below))) + math.log(2 / math.pi)
        upper = jnp.log1p(-2 / math.pi * jnp.arctan(jnp.exp(-above)))
        return jnp.where(z < 0, lower, upper)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        (q,) = promote(q)
        tail = jnp.minimum(q, 1 - q)
        return self._located(jnp.sign(q - 0.5) * -jnp.log(jnp.tan(0.5 * math.pi * tail)))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        u = jax.random.uniform(key, size, dtype, minval=jnp.finfo(dtype).tiny)
        tail = 0.5 * jnp.where(u > 0.5, 2 * (1 - u), 2 * u)
        return jnp.where(u > 0.5, -1, 1) * jnp.log(jnp.tan(0.5 * math.pi * tail))

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._located(0.0)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\pi^2\sigma^2/4`."""
        return self._spread(math.pi**2 / 4)

    def entropy(self) -> jax.Array:
        r""":math:`\log 2\pi\sigma`."""
        return self._stretched(math.log(2 * math.pi))

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}\bigl(\tfrac12, \tfrac{\pi^2}8\bigr)/\sigma^2` for ``(loc, scale)``."""
        return self._information(0.5, math.pi**2 / 8)


def log_cosh(z: jax.Array) -> jax.Array:
    r""":math:`\log\cosh z`, accurate to the last digits near 0, where it is :math:`z^2/2`, and far out.

    As :math:`\log(1 + 2\sinh^2(z/2))` near 0, which is a sum of positive terms, and as
    :math:`|z| - \log 2 + \log(1 + e^{-2|z|})` elsewhere.
    """
    size = z * jnp.sign(z)
    near = size < 1
    inner, outer = jnp.where(near, z, 0), jnp.where(near, 1, size)
    return jnp.where(
        near, jnp.log1p(2 * jnp.square(jnp.sinh(0.5 * inner))), outer + numerics.softplus(-2 * outer) - LOG_2
    )


def _arctan_ratio(t: jax.Array) -> jax.Array:
    r""":math:`\arctan(t)/t` for :math:`0 \le t \le 1`, with its limit 1 and slope at 0."""
    small = t < 1e-3
    safe = jnp.where(small, 1, t)
    return jnp.where(small, 1 - t * t / 3 + t**4 / 5, jnp.arctan(safe) / safe)
