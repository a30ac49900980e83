"""The beta distribution: probabilities and proportions."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    LOG_2,
    Distribution,
    bounded_tails,
    log_power,
    matrix,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.quantile import continuous_quantile


@pytree
class Beta(Distribution):
    r"""Beta distribution on the unit interval.

    .. math:: \log p(y) = (\alpha - 1)\log y + (\beta - 1)\log(1 - y) - \log B(\alpha, \beta), \qquad 0 < y < 1

    The conjugate prior of a probability, worth :math:`\alpha - 1` successes and :math:`\beta - 1` failures in the
    mode. For a mean :math:`\mu` and a precision :math:`\phi` (beta regression) write
    ``Beta(mean * phi, (1 - mean) * phi)``.

    Args:
        concentration1: :math:`\alpha > 0`, the exponent at 0 (of a success).
        concentration0: :math:`\beta > 0`, the exponent at 1 (of a failure).

    Numerics:
        Accurate for large concentrations. At the edges 0 and 1 ``log_prob`` is its limit: ``-inf``, the logarithm of
        the other concentration or ``inf`` as the exponent's concentration is above, at or below 1; there
        ``(concentration - 1) log 0`` counts as the constant 0. A value near 1 has lost the digits of ``1 - y``.
    """

    concentration1: ArrayLike
    concentration0: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The open unit interval."""
        return supports.unit_interval

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, a, b = promote(y, self.concentration1, self.concentration0)
        inside, zero, one = (y > 0) & (y < 1), y == 0, y == 1
        x = jnp.where(inside, y, 0.5)
        kernel = numerics.log_beta_kernel(a, b, x, 1 - x)
        edge = kernel + (a + b) * LOG_2 + log_power(a - 1, jnp.zeros_like(y), zero)
        edge = edge + jnp.where(one, log_power(b - 1, jnp.zeros_like(y), one), 0)
        value = jnp.where(inside, kernel - jnp.log(x) - jnp.log1p(-x), edge)
        return restrict(value, inside | zero | one, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, a, b = promote(y, self.concentration1, self.concentration0)
        x = jnp.where((y > 0) & (y < 1), y, 0.5)
        return bounded_tails(y, *numerics.log_beta_tails(a, b, x, 1 - x), 0, 1)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, a, b = promote(q, self.concentration1, self.concentration0)
        return continuous_quantile(Beta(a, b), q, numerics.sigmoid, 0, 1)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; a draw nearer to an edge than the smallest number falls on it."""
        dtype = jnp.result_type(self.concentration1, self.concentration0, float)
        shape = sample_shape(self, shape)
        a, b = (jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in (self.concentration1, self.concentration0))
        return jax.random.beta(key, a, b, shape, dtype)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\alpha/(\alpha + \beta)`."""
        a, b = promote(self.concentration1, self.concentration0)
        return a / (a + b)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\frac{\alpha\beta}{n^2(n + 1)}, \quad n = \alpha + \beta`."""
        a, b = promote(self.concentration1, self.concentration0)
        n = a + b
        return (a / n) * (b / n) / (n + 1)

    def entropy(self) -> jax.Array:
        r""":math:`\log B - (\alpha - 1)\psi(\alpha) - (\beta - 1)\psi(\beta) + (n - 2)\psi(n)`, without its
        cancellation.
        """
        a, b = promote(self.concentration1, self.concentration0)
        n = a + b

        def excess(x: jax.Array, order: float) -> jax.Array:
            remainder, slope = jax.jvp(numerics.stirling_remainder, (x,), (jnp.ones_like(x),))
            return remainder - 0.5 * order / x - (x - order) * slope

        center = 0.5 * (jnp.log(a / n) + jnp.log(b / n) - jnp.log(n)) + (HALF_LOG_2PI + 0.5)
        return center + excess(a, 1) + excess(b, 1) - excess(n, 2)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(\psi'(\alpha), \psi'(\beta)) - \psi'(\alpha + \beta)`."""
        a, b = promote(self.concentration1, self.concentration0)
        first, second, both = (jax.scipy.special.polygamma(1, v) for v in (a, b, a + b))
        return matrix([first - both, -both], [-both, second - both])
