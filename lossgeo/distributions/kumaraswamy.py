"""Kumaraswamy's distribution: proportions with a closed distribution function."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    EULER_GAMMA,
    Distribution,
    bounded_tails,
    log_power,
    matrix,
    promote,
    restrict,
    sample_shape,
)


@pytree
class Kumaraswamy(Distribution):
    r"""Kumaraswamy's distribution on the unit interval.

    .. math:: P(Y > y) = (1 - y^a)^b, \qquad \log p(y) = \log ab + (a - 1)\log y + (b - 1)\log(1 - y^a)

    It has the shapes of ``Beta`` with distribution and quantile functions in closed form.

    Args:
        concentration1: :math:`a > 0`, the exponent at 0.
        concentration0: :math:`b > 0`, the exponent at 1.

    Numerics:
        At the edges 0 and 1 ``log_prob`` is its limit: ``-inf``, the logarithm of the other concentration or ``inf`` as
        the exponent's concentration is above, at or below 1. A value near 1 has lost the digits of ``1 - y``.

    Reference: Jones (2009), Kumaraswamy's distribution: a beta-type distribution with some tractability advantages,
    Statistical Methodology 6.
    """

    concentration1: ArrayLike
    concentration0: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The open unit interval."""
        return supports.unit_interval

    def _parts(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        r"""The value (a half outside), :math:`-a\log y`, :math:`-\log(1 - y^a)` and the hyper-parameters."""
        y, a, b = promote(y, self.concentration1, self.concentration0)
        exponent = -a * jnp.log(jnp.where((y > 0) & (y < 1), y, 0.5))
        return y, exponent, -numerics.log1mexp(exponent), a, b

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, exponent, rest, a, b = self._parts(y)
        zero, one, inside = y == 0, y == 1, (y > 0) & (y < 1)
        below = jnp.where(zero, log_power(a - 1, jnp.zeros_like(y), zero), (1 / a - 1) * exponent)
        above = jnp.where(one, log_power(b - 1, jnp.zeros_like(y), one), -(b - 1) * rest)
        value = jnp.log(a) + jnp.log(b) + jnp.where(one, 0, below) + jnp.where(zero, 0, above)
        return restrict(value, inside | zero | one, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, exponent, rest, _, b = self._parts(y)
        tiny = exponent > 100  # 1 - (1 - y^a)^b is b y^a, which may underflow
        below = jnp.where(tiny, jnp.log(b) - exponent, numerics.log1mexp(jnp.where(tiny, 1, b * rest)))
        return bounded_tails(y, below, -b * rest, 0, 1)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, a, b = promote(q, self.concentration1, self.concentration0)
        return jnp.exp(numerics.log1mexp(-jnp.log1p(-q) / b) / a)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; a draw nearer to an edge than the smallest number falls on it."""
        dtype = jnp.result_type(self.concentration1, self.concentration0, float)
        draw = jax.random.exponential(key, sample_shape(self, shape), dtype)
        draw, a, b = promote(draw, self.concentration1, self.concentration0)
        return jnp.exp(numerics.log1mexp(draw / b) / a)

    def _log_moment(self, order: int) -> jax.Array:
        r""":math:`\log E\,y^k = \log b\,B(1 + k/a, b)`."""
        a, b = promote(self.concentration1, self.concentration0)
        gammaln = jax.scipy.special.gammaln
        return gammaln(1 + order / a) + gammaln(1 + b) - gammaln(1 + order / a + b)

    @property
    def mean(self) -> jax.Array:
        r""":math:`b\,B(1 + 1/a, b)`."""
        return jnp.exp(self._log_moment(1))

    @property
    def variance(self) -> jax.Array:
        r""":math:`b\,B(1 + 2/a, b) - \text{mean}^2`."""
        first, second = self._log_moment(1), self._log_moment(2)
        return jnp.exp(2 * first) * jnp.expm1(second - 2 * first)

    def entropy(self) -> jax.Array:
        r""":math:`1 - \tfrac1b + \bigl(1 - \tfrac1a\bigr)\bigl[\psi(b + 1) + \gamma\bigr] - \log ab`."""
        a, b = promote(self.concentration1, self.concentration0)
        harmonic = jax.scipy.special.digamma(b + 1) + EULER_GAMMA
        return 1 - 1 / b + (1 - 1 / a) * harmonic - jnp.log(a) - jnp.log(b)

    def fisher_information(self) -> jax.Array:
        r"""Of ``(concentration1, concentration0)``, with :math:`D = [\psi(b) - \psi(2)]/(b - 2)`.

        .. math:: \frac{1}{a^2}\Bigl(1 + b\Bigl[(b - 2)D^2 - \frac{\psi'(b) - \psi'(2)}{b - 2}\Bigr]\Bigr), \qquad
            -\frac{\psi(b + 1) - \psi(2)}{a(b - 1)}, \qquad \frac{1}{b^2}

        Reference: Jones (2009), section 4.2; the differences are integrals near their removable singularities.
        """
        a, b = promote(self.concentration1, self.concentration0)
        first, second = _divided_difference(1, b), _divided_difference(2, b)
        shape = (1 + b * ((b - 2) * jnp.square(first) - second)) / jnp.square(a)
        mixed = -_divided_difference(1, b + 1) / a
        return matrix([shape, mixed], [mixed, 1 / jnp.square(b)])


def _divided_difference(order: int, x: jax.Array) -> jax.Array:
    r""":math:`[\psi^{(k)}(x) - \psi^{(k)}(2)]/(x - 2)` for the derivative of order ``k = order - 1``."""
    near = jnp.abs(x - 2) < 0.5
    close, far = jnp.where(near, x, 2), jnp.where(near, 1, x)
    rule = [v.tolist() for v in numerics.gauss_legendre(12)]
    mean = sum(w * jax.scipy.special.polygamma(order, 2 + t * (close - 2)) for t, w in zip(*rule, strict=True))
    gap = jax.scipy.special.polygamma(order - 1, far) - jax.scipy.special.polygamma(order - 1, jnp.full_like(far, 2))
    return jnp.where(near, mean, gap / (far - 2))
