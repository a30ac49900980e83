"""The inverse Gaussian distribution: positive amounts with a heavy right side."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    Distribution,
    bounded_tails,
    matrix,
    positive_part,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.quantile import continuous_quantile


@pytree
class InverseGaussian(Distribution):
    r"""Inverse Gaussian (Wald) distribution on the positive reals: when a Brownian motion with drift reaches a level.

    .. math:: \log p(y) = \tfrac12\log\frac{\lambda}{2\pi y^3} - \frac{\lambda\,(y - \mu)^2}{2\mu^2 y}, \qquad
        \operatorname{Var} = \mu^3/\lambda

    As a generalised linear model its dispersion is :math:`1/\lambda`.

    Args:
        mean: :math:`\mu > 0`.
        concentration: :math:`\lambda > 0`, in the units of ``y``.

    Numerics:
        ``log_prob`` is ``-inf`` at 0, the edge of the support. The distribution functions are written with the Mills
        ratio :math:`R`, so that :math:`e^{2\lambda/\mu}` is never formed.

    Reference: Tweedie (1957), Statistical properties of inverse Gaussian distributions I, Ann. Math. Stat. 28;
    Michael, Schucany, Haas (1976), The American Statistician 30, for the draws.
    """

    mean: ArrayLike = 1.0  # type: ignore[assignment]
    concentration: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, mean, concentration = promote(y, self.mean, self.concentration)
        inside, amount = positive_part(y)
        deviance = jnp.square((amount - mean) / mean) / amount
        value = 0.5 * (jnp.log(concentration) - concentration * deviance) - 1.5 * jnp.log(amount) - HALF_LOG_2PI
        return restrict(value, inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""Both logarithms, with the Mills ratio :math:`R`.

        .. math:: P(Y \le y) = \Phi(a) + e^{2\lambda/\mu}\Phi(-b)
            = \varphi(a)\,[R(-a) + R(b)] = 1 - \varphi(a)\,[R(a) - R(b)]

        Here :math:`a, b = \sqrt{\lambda/y}\,(y/\mu \mp 1)`. The first form is used for :math:`a < -1`, where the
        probability is below 0.32, the second where that of the other side is below 0.84.
        """
        y, mean, concentration = promote(y, self.mean, self.concentration)
        _, amount = positive_part(y)
        size = jnp.sqrt(concentration / amount)
        a = size * ((amount - mean) / mean)
        lower = a < -1
        near, far = jnp.where(lower, -a, 1), jnp.where(lower, -1, a)
        below = numerics.mills_ratio(near) + numerics.mills_ratio(size * (amount / mean + 1))
        above = numerics.mills_decrease(far, 2 * size)
        log_one = -0.5 * a * a - HALF_LOG_2PI + jnp.log(jnp.where(lower, below, above))
        log_other = numerics.log1mexp(-log_one)
        below, above = jnp.where(lower, log_one, log_other), jnp.where(lower, log_other, log_one)
        return bounded_tails(y, below, above, 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, mean, concentration = promote(q, self.mean, self.concentration)
        standard = InverseGaussian(jnp.ones_like(mean), concentration / mean)
        return continuous_quantile(standard, q, jnp.exp, 0, jnp.inf) * mean

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        shape = sample_shape(self, shape)
        dtype = jnp.result_type(self.mean, self.concentration, float)
        key_normal, key_uniform = jax.random.split(key)
        draw, choice, mean, concentration = promote(
            jax.random.normal(key_normal, shape, dtype),
            jax.random.uniform(key_uniform, shape, dtype),
            self.mean,
            self.concentration,
        )
        # The smaller root of (y - mean)^2 concentration / (mean^2 y) = draw^2, over the mean, or its inverse.
        w = 0.5 * mean / concentration * jnp.square(draw)
        root = 1 / (1 + w + jnp.sqrt(w * (w + 2)))
        return mean * jnp.where(choice * (1 + root) <= 1, root, 1 / root)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\mu^3/\lambda`."""
        mean, concentration = promote(self.mean, self.concentration)
        return mean * mean * (mean / concentration)

    def entropy(self) -> jax.Array:
        r""":math:`\tfrac12\log\frac{2\pi e\mu^3}{\lambda} - \tfrac32 e^x E_1(x), \quad x = 2\lambda/\mu`."""
        mean, concentration = promote(self.mean, self.concentration)
        x = 2 * concentration / mean
        return 0.5 - 0.5 * jnp.log(concentration) + 1.5 * (jnp.log(mean) - numerics.scaled_exp1(x)) + HALF_LOG_2PI

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}\bigl(\lambda/\mu^3, 1/2\lambda^2\bigr)`."""
        mean, concentration = promote(self.mean, self.concentration)
        return matrix([concentration / mean / mean / mean, 0.0], [0.0, 0.5 / jnp.square(concentration)])
