"""What is left of logarithms when the part that cancels is taken out by hand."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

HALF_LOG_2PI = 0.9189385332046728


def log1mexp(x: ArrayLike) -> jax.Array:
    r"""Logarithm of a complementary probability: ``log(1 - p)`` from ``x = -log(p)``.

    .. math:: \log(1 - e^{-x}), \qquad x > 0

    Args:
        x: minus a log-probability, positive, any shape.

    Returns:
        Values in :math:`(-\infty, 0)`, shape of ``x``.

    Numerics:
        ``log(-expm1(-x))`` below 1.1 and ``log1p(-exp(-x))`` above it: a few ulp everywhere. (The usual switch is at
        ``log 2``, but XLA's ``log1p`` loses two digits in float64 between -0.414 and -0.362.) ``-inf`` at 0, 0 at
        ``inf``, NaN for negative ``x``. No derivative overflows (``exp(x)`` is never formed).

    Reference: Mächler (2012), Accurately computing log(1 - exp(-|a|)), equation 7.
    """
    x = as_float(x)
    small = x < 1.1
    below, above = jnp.where(small, x, 1), jnp.where(small, 2, x)
    return jnp.where(small, jnp.log(-jnp.expm1(-below)), jnp.log1p(-jnp.exp(-above)))


def log1p_remainder(x: ArrayLike) -> jax.Array:
    r"""What :math:`\log(1 + x)` leaves of its linear part, in units of :math:`x^2`.

    .. math:: E(x) = \frac{x - \log(1 + x)}{x^2} = \tfrac12 - \tfrac{x}{3} + \tfrac{x^2}{4} - \dots, \qquad x > -1

    Positive and decreasing. :math:`x^2 E(x)` is the Itakura-Saito divergence of ``1 + x`` from 1, and
    :math:`\log(1 + x)/x = 1 - x E(x)`.

    Args:
        x: finite, above -1, any shape.

    Returns:
        Values, shape of ``x``; 1/2 at 0 and ``inf`` at -1.

    Numerics:
        For :math:`-0.4 < x < 0.6` the series of the inverse hyperbolic tangent in :math:`s = x/(2 + x)`, in which
        nothing cancels: a few ulp in the value and in all derivatives.
    """
    x = as_float(x)
    near = (x > -0.4) & (x < 0.6)
    t, far = jnp.where(near, x, 0), jnp.where(near, 1, x)
    g = 1 / (2 + t)
    square = jnp.square(t * g)
    tail = jnp.zeros_like(t)
    for k in reversed(range(18)):  # s^2 < 1/16: what is left out is below 1e-17 up to the third derivative
        tail = tail * square + 1 / (2 * k + 3)
    return jnp.where(near, g - 2 * g * g * g * t * tail, (far - jnp.log(1 + far)) / far / far)


_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)

_SHIFT = 10
"""Where the asymptotic series begins, and how far the recurrence of the gamma function carries smaller arguments."""


def stirling_remainder(x: ArrayLike) -> jax.Array:
    r"""What Stirling's formula leaves of the logarithm of the gamma function.

    .. math::
        r(x) = \log\Gamma(x) - (x - \tfrac12)\log x + x - \tfrac12\log 2\pi
        = \frac{1}{12x} - \frac{1}{360x^3} + \dots

    Args:
        x: positive, any shape.

    Returns:
        Values, shape of ``x``; ``inf`` at 0 and 0 at ``inf``.

    Numerics:
        From 10 on the asymptotic series, a few ulp. Below it that of ``x + 10``, by the recurrence of the gamma
        function, with an *absolute* accuracy of some 20 ulp of 1. Derivatives of all orders are formed in the same way,
        a few ulp of the polygamma function of that order. No special function is called: an array takes about as long
        as two logarithms of it.

    Reference: NIST Digital Library of Mathematical Functions, 5.5.1 and 5.11.1; for derivatives 5.15.5 and 5.15.8.
    """
    return _stirling(as_float(x), 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _stirling(x: jax.Array, order: int) -> jax.Array:
    """Derivative of :func:`stirling_remainder` of an order."""
    large = x >= _SHIFT
    small = jnp.where(large, _SHIFT, x)
    far = jnp.where(large, x, x + _SHIFT)
    series, w = jnp.zeros_like(x), 1 / far
    for k, coefficient in reversed(list(enumerate(_STIRLING))):
        series = series * (w * w) + coefficient * float(_rising(2 * k + 1, order))
    series = (-1) ** order * series * w ** (order + 1)
    if order == 0:
        product = jnp.ones_like(x)
        for j in range(1, _SHIFT):  # of ratios, because the product of the numbers themselves has a large logarithm
            product = product * ((small + j) * (1 / (small + _SHIFT)))
        carried = (small + 0.5) * jnp.log1p(_SHIFT / small) - _SHIFT - jnp.log(product)
        return series + jnp.where(large, 0, carried)
    total = 0.5 / (small + _SHIFT) ** order
    for j in reversed(range(1, _SHIFT)):  # the smallest first
        total = total + 1 / (small + j) ** order
    total = total + 0.5 / small**order
    if order == 1:
        return series + jnp.where(large, 0, jnp.log1p(_SHIFT / small) - total)
    leading = 1 / (small + _SHIFT) ** (order - 1) - 1 / small ** (order - 1)
    carried = math.factorial(order - 2) * leading + math.factorial(order - 1) * total
    return series + jnp.where(large, 0, (-1) ** order * carried)


@_stirling.defjvp
def _stirling_jvp(order: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    return _stirling(x, order), tangent * _stirling(x, order + 1)


def _rising(a: int, count: int) -> int:
    """The product of ``count`` integers from ``a`` on."""
    return math.prod(range(a, a + count))


def log_ndtr(x: ArrayLike) -> jax.Array:
    r"""Logarithm of the standard normal distribution function :math:`\log\Phi(x)`.

    Args:
        x: any real, any shape.

    Returns:
        Values in nats, shape of ``x``.

    Numerics:
        Some ten ulp everywhere. (``jax.scipy.special.log_ndtr`` takes the logarithm of a number near 1 for ``x`` up
        to 8, and its series below -20 ends after three terms, at 1e-9.)

    Reference: NIST Digital Library of Mathematical Functions, 7.12.1, for the series.
    """
    x = as_float(x)
    end = -20.0 if x.dtype == jnp.float64 else -10.0
    far, above = x < end, x > 0
    w = 1 / jnp.where(far, x, end)
    square, series = w * w, jnp.zeros_like(x)
    for k in reversed(range(1, 9)):
        series = -(2 * k - 1) * square * (1 + series)
    tail = -0.5 / square + jnp.log(-w) - HALF_LOG_2PI + jnp.log1p(series)
    center = jnp.log(jax.scipy.special.ndtr(jnp.where(far | above, 0, x)))
    upper = jnp.log1p(-jax.scipy.special.ndtr(-jnp.where(above, x, 0)))
    return jnp.where(far, tail, jnp.where(above, upper, center))


def as_float(x: ArrayLike) -> jax.Array:
    """An array of floating dtype; a Python scalar stays weakly typed."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(x.dtype, float))
