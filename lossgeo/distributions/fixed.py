"""A parameter that is held."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, promote, restrict, sample_shape


@pytree
class Fixed(Distribution):
    r"""All mass on one value: the "prior" of a parameter that is held and not estimated.

    .. math:: \log p(y) = 0 \quad (y = \text{value}), \qquad -\infty \quad \text{otherwise}

    Its support is a single point, which has no unconstrained coordinates, so that solvers leave the parameter out.

    Args:
        value: the value, of the shape of the parameter.
    """

    value: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The value alone."""
        return supports.Point(self.value)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; with respect to the counting measure."""
        y, value = promote(y, self.value)
        return restrict(jnp.zeros((), y.dtype), y == value, y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """The value, repeated; ``key`` is not used."""
        return jnp.broadcast_to(self.value, sample_shape(self, shape))

    @property
    def mean(self) -> jax.Array:
        """The value."""
        return jnp.asarray(self.value)

    @property
    def variance(self) -> jax.Array:
        """0."""
        return jnp.zeros(self.batch_shape, jnp.result_type(float, self.value))

    def entropy(self) -> jax.Array:
        """0."""
        return jnp.zeros(self.batch_shape, jnp.result_type(float, self.value))
