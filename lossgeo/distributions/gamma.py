"""The gamma distribution: positive amounts with a constant coefficient of variation."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    Distribution,
    bounded_tails,
    matrix,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.quantile import continuous_quantile


@pytree
class Gamma(Distribution):
    r"""Gamma distribution on the positive reals.

    .. math:: \log p(y) = \alpha \log\beta - \log\Gamma(\alpha) + (\alpha - 1)\log y - \beta y, \qquad y > 0

    The conjugate prior of a Poisson rate; ``concentration = 1`` is the exponential distribution.

    Args:
        concentration: shape :math:`\alpha > 0`.
        rate: inverse scale :math:`\beta > 0`; the mean is :math:`\alpha/\beta`.

    Numerics:
        At 0, the edge of the support, ``log_prob`` is its limit: ``-inf``, ``log(rate)`` or ``inf`` as the
        concentration is above, at or below 1; there ``(concentration - 1) log y`` counts as the constant 0.
        The value has an absolute error of some ulp of :math:`\alpha\log\alpha`.
    """

    concentration: ArrayLike
    rate: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, concentration, rate = promote(y, self.concentration, self.rate)
        edge = y == 0
        inside = (y >= 0) & (y < jnp.inf) & ~(edge & (concentration != 1))
        amount = jnp.where(inside, y, 1)
        log_amount = jnp.where(edge, 0, jnp.log(jnp.where(edge, 1, amount)))
        log_constant = concentration * jnp.log(rate) - gammaln(concentration)
        value = log_constant + (concentration - 1) * log_amount - rate * amount
        return jnp.where(edge & (concentration < 1), jnp.inf, restrict(value, inside, y))

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, concentration, rate = promote(y, self.concentration, self.rate)
        inside = (y > 0) & (y < jnp.inf)
        tails = numerics.log_gamma_tails(concentration, jnp.where(inside, y * rate, concentration))
        return bounded_tails(y, *tails, 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, concentration, rate = promote(q, self.concentration, self.rate)
        return continuous_quantile(Gamma(concentration, jnp.ones_like(rate)), q, jnp.exp, 0, jnp.inf) / rate

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        shape = sample_shape(self, shape)
        dtype = jnp.result_type(self.concentration, self.rate, float)
        draw = jax.random.gamma(key, jnp.broadcast_to(self.concentration, shape), shape, dtype)
        draw, rate = promote(draw, self.rate)
        return draw / rate

    @property
    def mean(self) -> jax.Array:
        r""":math:`\alpha/\beta`."""
        concentration, rate = promote(self.concentration, self.rate)
        return concentration / rate

    @property
    def variance(self) -> jax.Array:
        r""":math:`\alpha/\beta^2`."""
        concentration, rate = promote(self.concentration, self.rate)
        return concentration / rate / rate

    def entropy(self) -> jax.Array:
        r""":math:`\alpha - \log\beta + \log\Gamma(\alpha) + (1 - \alpha)\psi(\alpha)`, without its cancellation."""
        concentration, rate = promote(self.concentration, self.rate)
        ones = jnp.ones_like(concentration)
        remainder, slope = jax.jvp(numerics.stirling_remainder, (concentration,), (ones,))
        excess = remainder - 0.5 / concentration + (1 - concentration) * slope
        return 0.5 * jnp.log(concentration) - jnp.log(rate) + (HALF_LOG_2PI + 0.5) + excess

    def fisher_information(self) -> jax.Array:
        r""":math:`\begin{pmatrix}\psi'(\alpha) & -1/\beta\\ -1/\beta & \alpha/\beta^2\end{pmatrix}`."""
        concentration, rate = promote(self.concentration, self.rate)
        trigamma = jax.scipy.special.polygamma(1, concentration)
        return matrix([trigamma, -1 / rate], [-1 / rate, concentration / rate / rate])
