"""The log-normal distribution: products of many small factors."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import promote
from lossgeo.distributions.log_location_scale import LogLocationScale
from lossgeo.distributions.normal import Normal


@pytree
class LogNormal(LogLocationScale):
    r"""Distribution of the exponential of a normal variable.

    .. math:: \log p(y) = -\frac{(\log y - \mu)^2}{2\sigma^2} - \log\sigma - \log y - \tfrac12\log 2\pi, \qquad y > 0

    Args:
        loc: mean :math:`\mu` of :math:`\log y`, any real.
        scale: standard deviation :math:`\sigma > 0` of :math:`\log y`.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def _logarithm(self) -> Normal:
        return Normal(self.loc, self.scale)

    @property
    def mean(self) -> jax.Array:
        r""":math:`e^{\mu + \sigma^2/2}`."""
        loc, scale = promote(self.loc, self.scale)
        return jnp.exp(loc + 0.5 * jnp.square(scale))

    @property
    def variance(self) -> jax.Array:
        r""":math:`(e^{\sigma^2} - 1)\,e^{2\mu + \sigma^2}`."""
        return jnp.expm1(jnp.square(promote(self.loc, self.scale)[1])) * jnp.square(self.mean)

    def fisher_information(self) -> jax.Array:
        r"""That of the normal distribution: :math:`\operatorname{diag}(1, 2)/\sigma^2`."""
        return self._logarithm().fisher_information()
