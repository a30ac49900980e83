"""The normal distribution: squared error as a log-density."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import HALF_LOG_2PI, Distribution, promote, sample_shape


@pytree
class Normal(Distribution):
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

    @property
    def support(self) -> supports.Support:
        """The real line."""
        return supports.real

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, loc, scale = promote(y, self.loc, self.scale)
        z = (y - loc) / scale
        return -0.5 * z * z - jnp.log(scale) - HALF_LOG_2PI

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.loc, self.scale, float)
        draw, loc, scale = promote(jax.random.normal(key, sample_shape(self, shape), dtype), self.loc, self.scale)
        return loc + scale * draw

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return jnp.broadcast_to(self.loc, self.batch_shape)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2`."""
        return jnp.broadcast_to(jnp.square(self.scale), self.batch_shape)

    def entropy(self) -> jax.Array:
        r""":math:`\tfrac12\log 2\pi e\sigma^2`."""
        return jnp.broadcast_to(jnp.log(self.scale) + HALF_LOG_2PI + 0.5, self.batch_shape)
