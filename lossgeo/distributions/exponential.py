"""The exponential distribution: waiting times without memory."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, matrix, promote, restrict, sample_shape


@pytree
class Exponential(Distribution):
    r"""Exponential distribution on the positive reals.

    .. math:: \log p(y) = \log\beta - \beta y, \qquad y > 0

    ``Gamma`` of concentration 1 and ``Weibull`` of concentration 1.

    Args:
        rate: inverse mean :math:`\beta > 0`.

    Numerics:
        At 0, the edge of the support, ``log_prob`` is the limit from inside.
    """

    rate: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def _exponent(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        y, rate = promote(y, self.rate)
        return y, jnp.where((y >= 0) & (y < jnp.inf), y, 1) * rate, rate

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, t, rate = self._exponent(y)
        return restrict(jnp.log(rate) - t, (y >= 0) & (y < jnp.inf), y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, t, _ = self._exponent(y)
        return bounded_tails(y, numerics.log1mexp(jnp.where(y > 0, t, 1)), -t, 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, rate = promote(q, self.rate)
        return -jnp.log1p(-q) / rate

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        draw = jax.random.exponential(key, sample_shape(self, shape), jnp.result_type(self.rate, float))
        draw, rate = promote(draw, self.rate)
        return draw / rate

    @property
    def mean(self) -> jax.Array:
        r""":math:`1/\beta`."""
        return 1 / promote(self.rate)[0]

    @property
    def variance(self) -> jax.Array:
        r""":math:`1/\beta^2`."""
        return 1 / jnp.square(promote(self.rate)[0])

    def entropy(self) -> jax.Array:
        r""":math:`1 - \log\beta`."""
        return 1 - jnp.log(promote(self.rate)[0])

    def fisher_information(self) -> jax.Array:
        r""":math:`1/\beta^2`."""
        return matrix([self.variance])
