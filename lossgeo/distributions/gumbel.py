"""The Gumbel distribution: the largest of many."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import EULER_GAMMA, promote
from lossgeo.distributions.location_scale import LocationScale


@pytree
class Gumbel(LocationScale):
    r"""Gumbel distribution (of maxima) on the real line.

    .. math:: \log P(Y \le y) = -e^{-z}, \qquad \log p(y) = -z - e^{-z} - \log s, \qquad z = (y - \mu)/s

    Minus a Gumbel variable is the logarithm of a ``Weibull`` one.

    Args:
        loc: mode :math:`\mu`, any real.
        scale: :math:`s > 0`.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def _log_density(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return -z - jnp.exp(-z)

    def _log_cdf(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return -jnp.exp(-z)

    def _log_survival(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        # Beyond 40, log(1 - exp(-exp(-z))) is -z to the last digit, and exp(-z) may underflow.
        near = jnp.where(z < 40, z, 0)
        return jnp.where(z < 40, numerics.log1mexp(jnp.exp(-near)), -z)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        (q,) = promote(q)
        return self._located(-jnp.log(-jnp.log(q)))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.gumbel(key, size, dtype)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu + \gamma s` with Euler's constant."""
        return self._located(EULER_GAMMA)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\pi^2 s^2/6`."""
        return self._spread(jnp.pi**2 / 6)

    def entropy(self) -> jax.Array:
        r""":math:`1 + \gamma + \log s`."""
        return self._stretched(1 + EULER_GAMMA)

    def fisher_information(self) -> jax.Array:
        r"""For ``(loc, scale)``: 1, :math:`\gamma - 1` and :math:`\pi^2/6 + (1 - \gamma)^2`, over :math:`s^2`."""
        return self._information(1, jnp.pi**2 / 6 + (1 - EULER_GAMMA) ** 2, EULER_GAMMA - 1)
