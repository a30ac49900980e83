"""What families share that are the absolute value of a variable symmetric about 0."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo.distributions.distribution import LOG_2, Distribution, promote, restrict
from lossgeo.distributions.location_scale import LocationScale


class Half(Distribution):
    """The absolute value of a draw of the family that :meth:`_whole` returns."""

    def _whole(self) -> LocationScale:
        """The symmetric family, located at 0."""
        raise NotImplementedError

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, _ = promote(y, self._whole().scale)
        inside = (y >= 0) & (y < jnp.inf)
        value = self._whole().log_prob(jnp.where(inside, y, 0)) + LOG_2
        y = jnp.broadcast_to(promote(y, value)[0], value.shape)
        return restrict(value, (y >= 0) & (y < jnp.inf), y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        return jnp.abs(self._whole().sample(key, shape))

    def entropy(self) -> jax.Array:
        r"""That of the whole less :math:`\log 2`."""
        return self._whole().entropy() - LOG_2
