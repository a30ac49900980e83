"""The uniform distribution on an interval."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, promote, restrict, sample_shape


@pytree
class Uniform(Distribution):
    r"""Uniform distribution on an interval.

    .. math:: \log p(y) = -\log(b - a), \qquad a < y < b

    As a prior it only says where a parameter is; ``Flat(supports.interval(a, b))`` says the same without the constant.
    It has no Fisher information: the support moves with the hyper-parameters.

    Args:
        low: lower end :math:`a`.
        high: upper end :math:`b > a`.

    Numerics:
        On the ends, which do not belong to the support, ``log_prob`` is the limit from inside.
    """

    low: ArrayLike = 0.0
    high: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The open interval."""
        return supports.interval(self.low, self.high)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, low, high = promote(y, self.low, self.high)
        return restrict(-jnp.log(high - low), (y >= low) & (y <= high), y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, low, high = promote(y, self.low, self.high)
        inside = jnp.where((y > low) & (y < high), y, 0.5 * (low + high))
        below, above = (inside - low) / (high - low), (high - inside) / (high - low)
        return bounded_tails(y, _log_part(below, above), _log_part(above, below), low, high)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, low, high = promote(q, self.low, self.high)
        return jnp.where(q < 0.5, low + (high - low) * q, high - (high - low) * (1 - q))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.low, self.high, float)
        # Never 0, so that no draw falls on the lower end.
        draw = jax.random.uniform(key, sample_shape(self, shape), dtype, minval=jnp.finfo(dtype).tiny)
        draw, low, high = promote(draw, self.low, self.high)
        return low + (high - low) * draw

    @property
    def mean(self) -> jax.Array:
        r""":math:`(a + b)/2`."""
        low, high = promote(self.low, self.high)
        return 0.5 * (low + high)

    @property
    def variance(self) -> jax.Array:
        r""":math:`(b - a)^2/12`."""
        low, high = promote(self.low, self.high)
        return jnp.square(high - low) / 12

    def entropy(self) -> jax.Array:
        r""":math:`\log(b - a)`."""
        low, high = promote(self.low, self.high)
        return jnp.log(high - low)


def _log_part(one: jax.Array, other: jax.Array) -> jax.Array:
    """Logarithm of one of two parts of 1, from the smaller one."""
    small = one < other
    return jnp.where(small, jnp.log(jnp.where(small, one, 1)), jnp.log1p(-jnp.where(small, 0, other)))
