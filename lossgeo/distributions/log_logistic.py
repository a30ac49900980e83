"""The log-logistic distribution: survival times whose hazard rises and falls."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import matrix, promote
from lossgeo.distributions.log_location_scale import LogLocationScale
from lossgeo.distributions.logistic import Logistic


@pytree
class LogLogistic(LogLocationScale):
    r"""Distribution of the exponential of a logistic variable; also known as Fisk's distribution.

    .. math:: P(Y > y) = \frac{1}{1 + (y/\lambda)^k}, \qquad y > 0

    Args:
        scale: median :math:`\lambda > 0`.
        concentration: shape :math:`k > 0`; :math:`\log y` is logistic of scale :math:`1/k`.
    """

    scale: ArrayLike
    concentration: ArrayLike

    def _logarithm(self) -> Logistic:
        return Logistic(jnp.log(self.scale), 1 / jnp.asarray(self.concentration))

    def _moment(self, order: int) -> jax.Array:
        scale, concentration = promote(self.scale, self.concentration)
        exists = concentration > order
        angle = order * jnp.pi / jnp.where(exists, concentration, 2 * order)
        return jnp.where(exists, scale**order * angle / jnp.sin(angle), jnp.inf)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\lambda\,\frac{\pi/k}{\sin \pi/k}`, infinite for :math:`k \le 1`."""
        return self._moment(1)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\lambda^2\frac{2\pi/k}{\sin 2\pi/k} - \text{mean}^2`, infinite for :math:`k \le 2`."""
        mean, second = self._moment(1), self._moment(2)
        finite = jnp.isfinite(mean)
        square = jnp.square(jnp.where(finite, mean, 0))
        return jnp.where(finite, second - square, jnp.nan)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}\bigl(\frac{k^2}{3\lambda^2}, \frac{3 + \pi^2}{9 k^2}\bigr)`."""
        scale, k = promote(self.scale, self.concentration)
        return matrix([jnp.square(k / scale) / 3, 0.0], [0.0, (3 + jnp.pi**2) / 9 / jnp.square(k)])
