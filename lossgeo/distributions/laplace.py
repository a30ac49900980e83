"""The Laplace distribution: absolute error as a log-density."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import LOG_2, Kink, promote
from lossgeo.distributions.location_scale import LocationScale


@pytree
class Laplace(LocationScale):
    r"""Laplace (double exponential) distribution on the real line.

    .. math:: \log p(y) = -\frac{|y - \mu|}{b} - \log 2b

    As noise it is absolute error, whose fit is the median; as a prior it is the lasso penalty
    :math:`\|\theta\|_1 / b`. Its *mode* has exact zeros; its draws and its posterior mean have none.

    Args:
        loc: median and mean :math:`\mu`, any real.
        scale: mean absolute deviation :math:`b > 0`.

    Numerics:
        At the kink ``y == loc`` the gradient is exactly 0, the middle of the subdifferential.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, loc, scale = promote(y, self.loc, self.scale)
        residual = y - loc
        # |r| as r sign(r), because the derivative of jnp.abs is one-sided at 0.
        return -residual * jnp.sign(residual) / scale - jnp.log(scale) - LOG_2

    def _log_cdf(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        below, above = jnp.where(z < 0, z, 0), jnp.where(z < 0, 0, z)
        return jnp.where(z < 0, below - LOG_2, jnp.log1p(-0.5 * jnp.exp(-above)))

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        (q,) = promote(q)
        return self._located(jnp.where(q < 0.5, jnp.log(2 * q), -jnp.log(2 * (1 - q))))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.laplace(key, size, dtype)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._located(0.0)

    @property
    def variance(self) -> jax.Array:
        r""":math:`2b^2`."""
        return self._spread(2.0)

    def entropy(self) -> jax.Array:
        r""":math:`1 + \log 2b`."""
        return self._stretched(1 + LOG_2)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(1, 1)/b^2` for ``(loc, scale)``: the covariance of the score."""
        return self._information(1, 1)

    @property
    def kink(self) -> Kink:
        r"""At :math:`\mu`, of strength :math:`1/b`."""
        return Kink(center=self.loc, strength=1 / jnp.asarray(self.scale))

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Soft thresholding of :math:`v - \mu` by :math:`\text{step}/b`; exactly :math:`\mu` within it."""
        v, step, loc, scale = promote(v, step, self.loc, self.scale)
        residual, threshold = v - loc, step / scale
        return loc + jnp.sign(residual) * jnp.maximum(jnp.abs(residual) - threshold, 0)
