"""What all families with a location and a scale share."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo.distributions.distribution import Distribution, bounded_tails, matrix, promote, restrict, sample_shape


class LocationScale(Distribution):
    r"""A family of :math:`y = \mu + \sigma z` whose standard member is described by the methods with an underscore.

    Those act on a finite :math:`z` and on the further hyper-parameters, which :meth:`_shape` returns. A family is
    symmetric about its location unless it says otherwise.
    """

    loc: ArrayLike
    scale: ArrayLike

    def _shape(self) -> tuple[ArrayLike, ...]:
        """Hyper-parameters beyond location and scale."""
        return ()

    def _log_density(self, z: jax.Array, *shape: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _log_cdf(self, z: jax.Array, *shape: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _log_survival(self, z: jax.Array, *shape: jax.Array) -> jax.Array:
        return self._log_cdf(-z, *shape)

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        raise NotImplementedError

    @property
    def support(self) -> supports.Support:
        """The real line."""
        return supports.real

    def _standardize(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array, list[jax.Array]]:
        """The value, its standard counterpart (the location where it is infinite), the scale and the rest."""
        y, loc, scale, *shape = promote(y, self.loc, self.scale, *self._shape())
        return y, (jnp.where(jnp.isinf(y), loc, y) - loc) / scale, scale, shape

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, z, scale, shape = self._standardize(y)
        return restrict(self._log_density(z, *shape) - jnp.log(scale), jnp.isfinite(y), y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, z, _, shape = self._standardize(y)
        return bounded_tails(y, self._log_cdf(z, *shape), self._log_survival(z, *shape), -jnp.inf, jnp.inf)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.loc, self.scale, *self._shape(), float)
        draw, loc, scale = promote(self._draw(key, sample_shape(self, shape), dtype), self.loc, self.scale)
        return loc + scale * draw

    def _located(self, z: ArrayLike) -> jax.Array:
        r""":math:`\mu + \sigma z`, in the shape of the batch."""
        loc, scale, z = promote(self.loc, self.scale, z)
        return jnp.broadcast_to(
            loc + scale * z, jnp.broadcast_shapes(self.batch_shape, loc.shape, scale.shape, z.shape)
        )

    def _spread(self, standard_variance: ArrayLike) -> jax.Array:
        r""":math:`\sigma^2` times the variance of the standard member."""
        scale, variance = promote(self.scale, standard_variance)
        return jnp.broadcast_to(jnp.square(scale) * variance, self.batch_shape)

    def _stretched(self, standard_entropy: ArrayLike) -> jax.Array:
        r""":math:`\log\sigma` added to the entropy of the standard member."""
        scale, entropy = promote(self.scale, standard_entropy)
        return jnp.broadcast_to(jnp.log(scale) + entropy, self.batch_shape)

    def _information(self, location: float, scale: float, mixed: float = 0.0) -> jax.Array:
        r"""The information about ``(loc, scale)``: that of the standard member over :math:`\sigma^2`."""
        _, spread = promote(self.loc, self.scale)
        spread = jnp.broadcast_to(spread, self.batch_shape)
        unit = 1 / jnp.square(spread)
        return matrix([location * unit, mixed * unit], [mixed * unit, scale * unit])
