"""The asymmetric Laplace distribution: quantile regression as a log-density."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Kink, matrix, promote
from lossgeo.distributions.location_scale import LocationScale


@pytree
class AsymmetricLaplace(LocationScale):
    r"""Asymmetric Laplace distribution whose ``loc`` is its quantile of a given level.

    .. math:: \log p(y) = -\rho_q(z) - \log s + \log q(1 - q), \qquad
        \rho_q(z) = z\,(q - 1_{z < 0}), \quad z = (y - \mu)/s

    As noise it is the pinball loss, whose fit is the ``quantile``; with level 1/2 it is ``Laplace`` of twice the scale.

    Args:
        loc: the quantile :math:`\mu`, any real.
        scale: :math:`s > 0`.
        quantile: level :math:`q` in (0, 1).

    Reference: Yu, Moyeed (2001), Bayesian quantile regression, Statistics and Probability Letters 54.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0
    quantile: ArrayLike = 0.5

    def _shape(self) -> tuple[ArrayLike, ...]:
        return (self.quantile,)

    def _log_density(self, z: jax.Array, q: jax.Array) -> jax.Array:  # type: ignore[override]
        # At the kink the slope is (1 - 2 q) / 2 s, the middle of the subdifferential.
        sign = jnp.sign(z)
        return -0.5 * z * (sign + (2 * q - 1)) + jnp.log(q) + jnp.log1p(-q)

    def _log_cdf(self, z: jax.Array, q: jax.Array) -> jax.Array:  # type: ignore[override]
        below, above = jnp.where(z < 0, z, 0), jnp.where(z < 0, 0, z)
        return jnp.where(z < 0, jnp.log(q) + (1 - q) * below, jnp.log1p(-(1 - q) * jnp.exp(-q * above)))

    def _log_survival(self, z: jax.Array, q: jax.Array) -> jax.Array:  # type: ignore[override]
        return self._log_cdf(-z, 1 - q)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        level, quantile, _ = promote(q, self.quantile, self.loc)
        left = jnp.log(level / quantile) / (1 - quantile)
        right = -jnp.log((1 - level) / (1 - quantile)) / quantile
        return self._located(jnp.where(level < quantile, left, right))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        first, second = jax.random.exponential(key, (2, *size), dtype)
        first, second, q = promote(first, second, self.quantile)
        return first / q - second / (1 - q)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu + s\,\frac{1 - 2q}{q(1 - q)}`."""
        q = promote(self.quantile, self.loc, self.scale)[0]
        return self._located((1 - 2 * q) / (q * (1 - q)))

    @property
    def variance(self) -> jax.Array:
        r""":math:`s^2\,\frac{1 - 2q + 2q^2}{q^2(1 - q)^2}`."""
        q = promote(self.quantile, self.loc, self.scale)[0]
        return self._spread((1 - 2 * q + 2 * q * q) / jnp.square(q * (1 - q)))

    def fisher_information(self) -> jax.Array:
        r"""The covariance of the score of ``(loc, scale, quantile)``.

        .. math:: \frac{1}{s^2}\begin{pmatrix} q(1 - q) & 0 & -s \\ 0 & 1 & -s\frac{1 - 2q}{q(1 - q)} \\
            -s & -s\frac{1 - 2q}{q(1 - q)} & s^2\frac{1 - 2q + 2q^2}{q^2(1 - q)^2}\end{pmatrix}
        """
        q, scale, _ = promote(self.quantile, self.scale, self.loc)
        q, scale = jnp.broadcast_to(q, self.batch_shape), jnp.broadcast_to(scale, self.batch_shape)
        unit, spread = 1 / jnp.square(scale), q * (1 - q)
        mixed = (2 * q - 1) / spread / scale
        shape = (1 - 2 * spread) / jnp.square(spread)
        return matrix([spread * unit, 0.0, -1 / scale], [0.0, unit, mixed], [-1 / scale, mixed, shape])

    def entropy(self) -> jax.Array:
        r""":math:`1 + \log\frac{s}{q(1 - q)}`."""
        q = promote(self.quantile, self.loc, self.scale)[0]
        return self._stretched(1 - jnp.log(q) - jnp.log1p(-q))

    @property
    def kink(self) -> Kink:
        r"""At :math:`\mu`, of strength :math:`1/2s`; the rest of the slope is smooth."""
        return Kink(center=self.loc, strength=0.5 / jnp.asarray(self.scale))

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Soft thresholding of :math:`v - \mu` by :math:`\text{step}\,q/s` from above, :math:`(1 - q)` from below."""
        v, step, loc, scale, q = promote(v, step, self.loc, self.scale, self.quantile)
        residual, unit = v - loc, step / scale
        return loc + jnp.maximum(residual - q * unit, 0) + jnp.minimum(residual + (1 - q) * unit, 0)
