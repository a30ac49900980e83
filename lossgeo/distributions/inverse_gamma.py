"""The inverse gamma distribution: the conjugate prior of a variance."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, matrix, positive_part, promote, restrict
from lossgeo.distributions.gamma import Gamma
from lossgeo.distributions.quantile import continuous_quantile


@pytree
class InverseGamma(Distribution):
    r"""Distribution of the inverse of a gamma variable.

    .. math:: \log p(y) = \alpha\log\beta - \log\Gamma(\alpha) - (\alpha + 1)\log y - \beta/y, \qquad y > 0

    The conjugate prior of the variance of a normal distribution. As a prior of a standard deviation prefer
    ``HalfNormal`` or ``HalfStudentT``, which let the data say 0.

    Args:
        concentration: shape :math:`\alpha > 0`.
        scale: :math:`\beta > 0`, in the units of ``y`` (the rate of ``1/y``).

    Numerics:
        ``log_prob`` is ``-inf`` at 0, the edge of the support.
    """

    concentration: ArrayLike
    scale: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, concentration, scale = promote(y, self.concentration, self.scale)
        inside, amount = positive_part(y)
        # beta / y may overflow, which is the right limit: then so does its exponential.
        exponent = scale / amount
        fits = exponent < jnp.inf
        value = numerics.log_gamma_kernel(concentration, jnp.where(fits, exponent, 1)) - jnp.log(amount)
        return restrict(value, inside & fits, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""With :math:`P(Y \le y) = Q(\alpha, \beta/y)`."""
        y, concentration, scale = promote(y, self.concentration, self.scale)
        _, amount = positive_part(y)
        above, below = numerics.log_gamma_tails(concentration, scale / amount)
        return bounded_tails(y, below, above, 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, concentration, scale = promote(q, self.concentration, self.scale)
        standard = InverseGamma(concentration, jnp.ones_like(scale))
        return continuous_quantile(standard, q, jnp.exp, 0, jnp.inf) * scale

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        return 1 / Gamma(self.concentration, self.scale).sample(key, shape)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\frac{\beta}{\alpha - 1}`, infinite for :math:`\alpha \le 1`."""
        concentration, scale = promote(self.concentration, self.scale)
        exists = concentration > 1
        return jnp.where(exists, scale / (jnp.where(exists, concentration, 2) - 1), jnp.inf)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\frac{\beta^2}{(\alpha - 1)^2(\alpha - 2)}`, infinite for :math:`1 < \alpha \le 2`."""
        concentration, scale = promote(self.concentration, self.scale)
        exists = concentration > 2
        safe = jnp.where(exists, concentration, 3)
        finite = jnp.square(scale / (safe - 1)) / (safe - 2)
        return jnp.where(exists, finite, jnp.where(concentration > 1, jnp.inf, jnp.nan))

    def entropy(self) -> jax.Array:
        r""":math:`\alpha + \log\beta + \log\Gamma(\alpha) - (1 + \alpha)\psi(\alpha)`: that of ``1/y``, less twice the
        mean of its logarithm.
        """
        concentration, scale = promote(self.concentration, self.scale)
        log_mean = jax.scipy.special.digamma(concentration) - jnp.log(scale)
        return Gamma(concentration, scale).entropy() - 2 * log_mean

    def fisher_information(self) -> jax.Array:
        r""":math:`\begin{pmatrix}\psi'(\alpha) & -1/\beta\\ -1/\beta & \alpha/\beta^2\end{pmatrix}`, as of ``1/y``."""
        concentration, scale = promote(self.concentration, self.scale)
        trigamma = jax.scipy.special.polygamma(1, concentration)
        return matrix([trigamma, -1 / scale], [-1 / scale, concentration / scale / scale])
