"""The half-Cauchy distribution: a very weak prior for a scale."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.cauchy import Cauchy
from lossgeo.distributions.distribution import log_tail, matrix, positive_part, promote
from lossgeo.distributions.half import Half


@pytree
class HalfCauchy(Half):
    r"""Distribution of the absolute value of a Cauchy variable located at 0.

    .. math:: \log p(y) = -\log(1 + y^2/\sigma^2) + \log\frac{2}{\pi\sigma}, \qquad y > 0

    The prior of standard deviations in hierarchies (Gelman 2006) and of the local scales of the horseshoe.

    Args:
        scale: median :math:`\sigma > 0`.

    Numerics:
        At 0, the edge of the support, ``log_prob`` is the limit from inside.
    """

    scale: ArrayLike = 1.0

    def _whole(self) -> Cauchy:
        return Cauchy(0.0, self.scale)

    def _angles(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The value and the probabilities on both sides of it."""
        y, scale = promote(y, self.scale)
        amount = positive_part(y)[1]
        return y, jnp.arctan(amount / scale) * (2 / jnp.pi), jnp.arctan(scale / amount) * (2 / jnp.pi)

    def log_cdf(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_cdf`."""
        y, below, above = self._angles(y)
        value = jnp.where(below < 0.5, jnp.log(below), jnp.log1p(-above))
        return log_tail(value, y, 0, jnp.inf)

    def log_survival(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_survival`."""
        y, below, above = self._angles(y)
        value = jnp.where(below < 0.5, jnp.log1p(-below), jnp.log(above))
        return log_tail(value, y, 0, jnp.inf, survival=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, scale = promote(q, self.scale)
        low = jnp.where(q < 0.5, q, 0.5)
        high = jnp.where(q < 0.5, 0.5, 1 - q)
        half = 0.5 * jnp.pi
        return scale * jnp.where(q < 0.5, jnp.tan(half * low), 1 / jnp.tan(half * high))

    @property
    def mean(self) -> jax.Array:
        """Infinite."""
        return jnp.full(self.batch_shape, jnp.inf, promote(self.scale)[0].dtype)

    @property
    def variance(self) -> jax.Array:
        """Infinite."""
        return self.mean

    def fisher_information(self) -> jax.Array:
        r""":math:`1/2\sigma^2`."""
        (scale,) = promote(self.scale)
        return matrix([0.5 / jnp.square(scale)])
