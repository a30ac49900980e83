"""The normal distribution: squared error as a log-density."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import HALF_LOG_2PI, promote
from lossgeo.distributions.location_scale import LocationScale


@pytree
class Normal(LocationScale):
    r"""Normal (Gaussian) distribution on the real line.

    .. math:: \log p(y) = -\frac{(y - \mu)^2}{2\sigma^2} - \log\sigma - \tfrac12\log 2\pi

    As noise it is squared error; as a prior of scale :math:`\tau` it is the ridge penalty
    :math:`\|\theta\|^2 / 2\tau^2`. A hyper-parameter ``scale = inf`` gives the flat limit of the *gradient*, not a
    density.

    Args:
        loc: mean :math:`\mu`, any real.
        scale: standard deviation :math:`\sigma > 0`.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, loc, scale = promote(y, self.loc, self.scale)
        z = (y - loc) / scale
        return -0.5 * z * z - jnp.log(scale) - HALF_LOG_2PI

    def _log_cdf(self, z: jax.Array) -> jax.Array:  # type: ignore[override]
        return numerics.log_ndtr(z)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return self._located(jax.scipy.special.ndtri(promote(q)[0]))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.normal(key, size, dtype)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._located(0.0)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2`."""
        return self._spread(1.0)

    def entropy(self) -> jax.Array:
        r""":math:`\tfrac12\log 2\pi e\sigma^2`."""
        return self._stretched(HALF_LOG_2PI + 0.5)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(1, 2)/\sigma^2` for ``(loc, scale)``."""
        return self._information(1, 2)
