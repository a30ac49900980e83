r"""Both tails of the incomplete gamma and beta functions as logarithms, differentiable in all arguments.

The ratio of a tail to the density at its end is an integral of a log-concave, decreasing function: a fixed
Gauss-Legendre rule on the interval where that function exceeds :math:`e^{-40}` gives it to nearly full precision, far
into the tails, in either dtype, and automatic differentiation of the rule gives all derivatives. The incomplete
functions of ``jax.scipy.special`` underflow in the tails, and their derivatives in the shapes end at the first.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.numerics.decay import DEPTH, integral
from lossgeo.numerics.logarithms import HALF_LOG_2PI, as_float, log1mexp, log1p_remainder, stirling_remainder

_STEPS = 6  # of the recurrence that raises the shape, so that the integrand decays at a rate of 6 or more

NEAR = 0.4
"""Distance of a ratio from 1 up to which what its logarithm leaves of its linear part is known from that distance."""


def log_gamma_tails(a: ArrayLike, x: ArrayLike) -> tuple[jax.Array, jax.Array]:
    r"""Logarithms of the regularized incomplete gamma functions.

    .. math:: \log P(a, x), \log Q(a, x), \quad P(a, x) = \frac{1}{\Gamma(a)}\int_0^x t^{a-1} e^{-t}\,dt = 1 - Q(a, x)

    Args:
        a: shape, positive.
        x: positive and finite, broadcastable with ``a``.

    Returns:
        The two logarithms, in nats.

    Numerics:
        Relative accuracy of some ten ulp in the smaller tail, from :math:`x^a` near 0 to :math:`e^{-x}` far out. The
        exception is :math:`Q` for ``a`` near 0 and ``x`` below 1, which is taken as :math:`1 - P`.

    Reference: NIST Digital Library of Mathematical Functions, 8.2 and 8.8.1 (the recurrence).
    """
    a, x = jnp.broadcast_arrays(as_float(a), as_float(x))
    lower = x < a + 1
    small, large = jnp.where(lower, x, 0.5 * a), jnp.where(lower, a + 2, x)
    log_end = log_gamma_kernel(a, x)

    term, total, shape = 1 / a, jnp.zeros_like(a), a
    for _ in range(_STEPS):
        total, shape = total + term, shape + 1
        term = term * small / shape
    gap, bend = shape - small, 2 / 3 * (shape - small) + small
    half = gap - DEPTH / 3
    length = (jnp.sqrt(half * half + 2 * DEPTH * bend) - half) / bend
    tail = integral(lambda r: jnp.exp(-shape[..., None] * r - small[..., None] * jnp.expm1(-r)), length)
    left = total + term * shape * tail

    gap = large - a
    length = 2 * DEPTH / (gap + jnp.sqrt(gap * gap + 2 * DEPTH * large))
    right = integral(lambda s: jnp.exp(a[..., None] * s - large[..., None] * jnp.expm1(s)), length)
    return _both(lower, log_end + jnp.log(jnp.where(lower, left, right)))


def log_beta_tails(a: ArrayLike, b: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
    r"""Logarithms of the regularized incomplete beta function and of its complement.

    .. math::
        \log I_x(a, b), \ \log I_y(b, a), \qquad
        I_x(a, b) = \frac{1}{B(a, b)}\int_0^x t^{a-1}(1 - t)^{b-1}\,dt = 1 - I_{1-x}(b, a)

    Args:
        a: shape at 0, positive.
        b: shape at 1, positive.
        x: in (0, 1).
        y: ``1 - x``, given apart so that it keeps its digits near 0.

    Returns:
        The two logarithms, in nats.

    Numerics:
        Relative accuracy of some ten (at most 80) ulp in the smaller tail, over the smaller shape where that is below
        1 (measured against 60 digits for shapes from 0.001 to 1000).

    Reference: NIST Digital Library of Mathematical Functions, 8.17 (recurrence 8.17.20).
    """
    a, b, x, y = jnp.broadcast_arrays(*map(as_float, (a, b, x, y)))
    n = a + b
    log_end = log_beta_kernel(a, b, x, y)
    # The side whose shape is below 1 reaches further: seen from the other side its integrand is flat and then drops.
    lower = x * jnp.maximum(b, 1) <= y * jnp.maximum(a, 1)
    shape, x, y = jnp.where(lower, a, b), jnp.where(lower, x, y), jnp.where(lower, y, x)
    term, total = 1 / shape, jnp.zeros_like(x)
    for k in range(_STEPS):
        total = total + term
        term = term * (n + k) * x / (shape + k + 1)
    shape, n = shape + _STEPS, n + _STEPS
    decay = lambda r: -shape[..., None] * r - n[..., None] * jnp.log1p(x[..., None] * jnp.expm1(-r))  # noqa: E731
    tail = integral(lambda r: jnp.exp(decay(r)), _beta_length(shape, n, x, y))
    return _both(lower, log_end + jnp.log(total + term * shape * tail))


def log_gamma_kernel(a: ArrayLike, x: ArrayLike) -> jax.Array:
    r"""Logarithm of the gamma density times its argument.

    .. math:: \log\frac{x^a e^{-x}}{\Gamma(a)}

    Args:
        a: shape, positive.
        x: positive and finite, broadcastable with ``a``.

    Returns:
        Values in nats.

    Numerics:
        Stirling's formula is taken out by hand: an error of some ulp of the value, of :math:`|x - a|` and of 1, not of
        :math:`a\log a`.
    """
    a, x = jnp.broadcast_arrays(as_float(a), as_float(x))
    return a * log_remainder(x / a, (x - a) / a) + 0.5 * jnp.log(a) - HALF_LOG_2PI - stirling_remainder(a)


def log_beta_kernel(a: ArrayLike, b: ArrayLike, x: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Logarithm of the beta density times its argument and the complement of that.

    .. math:: \log\frac{x^a y^b}{B(a, b)}, \qquad x + y = 1

    Args:
        a: shape at 0, positive.
        b: shape at 1, positive.
        x: in (0, 1).
        y: ``1 - x``, given apart so that it keeps its digits near 0.

    Returns:
        Values in nats.

    Numerics:
        As in :func:`log_gamma_kernel`: an error of some ulp of the value, of :math:`|xb - ya|` and of 1.
    """
    a, b, x, y = jnp.broadcast_arrays(*map(as_float, (a, b, x, y)))
    n = a + b
    excess = x * b - y * a
    roots = stirling_remainder(a) + stirling_remainder(b) - stirling_remainder(n)
    return (
        a * log_remainder(x * n / a, excess / a)
        + b * log_remainder(y * n / b, -excess / b)
        + 0.5 * (jnp.log(a) + jnp.log(b) - jnp.log(n))
        - (HALF_LOG_2PI + roots)
    )


def log_rising(count: ArrayLike, r: ArrayLike) -> jax.Array:
    r"""Logarithm of a rising factorial over the power that it tends to.

    .. math:: \log\frac{\Gamma(r + y)}{\Gamma(r)\,r^y}

    Args:
        count: :math:`y \ge 0`, finite.
        r: positive, up to and including ``inf``, where the value is 0.

    Returns:
        Values in nats, not negative for a count.

    Numerics:
        Stirling's formula is taken out by hand: nothing of size :math:`r` is subtracted, in the value and in all
        derivatives.
    """
    count, r = jnp.broadcast_arrays(as_float(count), as_float(r))
    d = count / r
    near = d < 1
    close = jnp.where(near, d, 0)
    center = count * close * (1 - (1 + close) * log1p_remainder(close))
    far_count, far_r = jnp.where(near, 1, count), jnp.where(near, 1, r)
    outer = (far_r + far_count) * jnp.log1p(far_count / far_r) - far_count
    remainders = stirling_remainder(r + count) - stirling_remainder(r)
    return jnp.where(near, center, outer) - 0.5 * jnp.log1p(d) + remainders


@jax.custom_jvp
def log_remainder(ratio: jax.Array, excess: jax.Array) -> jax.Array:
    r"""What a logarithm leaves of its linear part, :math:`\log t - (t - 1)`, from both ``t`` and ``t - 1``.

    Args:
        ratio: :math:`t > 0`.
        excess: :math:`t - 1`, given apart so that it keeps its digits near 0.

    Returns:
        Values that are not positive, shape of the arguments; some ulp near 1 and far from it, with all derivatives.
    """
    near = jnp.abs(excess) < NEAR
    close = jnp.where(near, excess, 0)
    return jnp.where(near, -close * close * log1p_remainder(close), jnp.log(jnp.where(near, 1, ratio)) - excess)


@log_remainder.defjvp
def _log_remainder_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (ratio, excess), (of_ratio, of_excess) = primals, tangents
    near = -(excess / ratio) * of_excess
    return log_remainder(ratio, excess), jnp.where(jnp.abs(excess) < NEAR, near, of_ratio / ratio - of_excess)


def poisson_kernel(count: ArrayLike, mean: ArrayLike, log_mean: ArrayLike) -> jax.Array:
    r"""Minus half the unit deviance of the Poisson distribution.

    .. math:: y\log\frac\mu y - (\mu - y)

    Args:
        count: :math:`y \ge 0`.
        mean: :math:`\mu \ge 0`.
        log_mean: :math:`\log\mu`, given apart so that it is known where :math:`\mu` underflows.

    Returns:
        Values in nats, never positive; ``-inf`` for a mean of 0 and a count above.

    Numerics:
        As in :func:`log_gamma_kernel`, with derivatives in the mean that are as accurate.
    """
    count, mean, log_mean = jnp.broadcast_arrays(*map(as_float, (count, mean, log_mean)))
    empty = count == 0
    some = jnp.where(empty, 1, count)
    excess = (mean - some) / some
    near = jnp.abs(excess) < 0.4
    close = jnp.where(near, excess, 0)
    far = jnp.where(near | empty, 0, log_mean) - jnp.log(some) - excess
    value = some * jnp.where(near, -close * close * log1p_remainder(close), far)
    return jnp.where(empty, -mean, value)


def _beta_length(a: jax.Array, n: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Where the integrand has decayed: the root of a convex function, by Newton's method from above."""
    length = (DEPTH - n * jnp.log(y)) / a
    for _ in range(8):
        decay = jnp.exp(-length)
        slope = a - n * x * decay / (y + x * decay)
        excess = a * length + n * jnp.log1p(x * jnp.expm1(-length)) - DEPTH
        length = length - excess / slope
    return length


def _both(lower: jax.Array, log_tail: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The lower and the upper tail from one of them."""
    tiny = jnp.finfo(log_tail.dtype).tiny
    log_tail = jnp.minimum(log_tail, -tiny)  # rounding may not make a probability larger than 1
    other = log1mexp(-log_tail)
    return jnp.where(lower, log_tail, other), jnp.where(lower, other, log_tail)
