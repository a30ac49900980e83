"""The Laplace distribution: absolute error as a log-density."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, Kink, promote, sample_shape

_LOG_2 = 0.6931471805599453


@pytree
class Laplace(Distribution):
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

    @property
    def support(self) -> supports.Support:
        """The real line."""
        return supports.real

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, loc, scale = promote(y, self.loc, self.scale)
        residual = y - loc
        # |r| as r sign(r), because the derivative of jnp.abs is one-sided at 0.
        return -residual * jnp.sign(residual) / scale - jnp.log(scale) - _LOG_2

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.loc, self.scale, float)
        draw, loc, scale = promote(jax.random.laplace(key, sample_shape(self, shape), dtype), self.loc, self.scale)
        return loc + scale * draw

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return jnp.broadcast_to(self.loc, self.batch_shape)

    @property
    def variance(self) -> jax.Array:
        r""":math:`2b^2`."""
        return jnp.broadcast_to(2 * jnp.square(self.scale), self.batch_shape)

    def entropy(self) -> jax.Array:
        r""":math:`1 + \log 2b`."""
        return jnp.broadcast_to(jnp.log(self.scale) + (1 + _LOG_2), self.batch_shape)

    @property
    def kink(self) -> Kink:
        r"""At :math:`\mu`, of strength :math:`1/b`."""
        return Kink(center=self.loc, strength=1 / jnp.asarray(self.scale))
