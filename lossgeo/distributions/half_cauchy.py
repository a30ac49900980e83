"""The half-Cauchy distribution: a very weak prior for a scale."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.cauchy import Cauchy
from lossgeo.distributions.distribution import bounded_tails, matrix, positive_part, promote
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

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, scale = promote(y, self.scale)
        amount = positive_part(y)[1]
        below, above = jnp.arctan(amount / scale) * (2 / jnp.pi), jnp.arctan(scale / amount) * (2 / jnp.pi)
        lower = below < 0.5
        log_below = jnp.where(lower, jnp.log(below), jnp.log1p(-above))
        return bounded_tails(y, log_below, jnp.where(lower, jnp.log1p(-below), jnp.log(above)), 0, jnp.inf)

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
