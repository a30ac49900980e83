"""The Mills ratio of the normal distribution and the exponential integral: tails without their exponentials."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.numerics.decay import DEPTH, integral
from lossgeo.numerics.logarithms import as_float


def mills_ratio(x: ArrayLike, *, power: int = 0) -> jax.Array:
    r"""The upper tail of the standard normal distribution over its density.

    .. math:: R(x) = \frac{\Phi(-x)}{\varphi(x)} = \int_0^\infty e^{-xt - t^2/2}\,dt = \sqrt{\pi/2}\;
        \operatorname{erfcx}(x/\sqrt2)

    Args:
        x: at least -5 and finite, any shape.
        power: a further factor :math:`t^k` of the integrand, up to 4: the moments of a normal variable beyond ``x``.

    Returns:
        Values, shape of ``x``; decreasing, about :math:`1/x` far out.

    Numerics:
        Some ulp in the value and in all derivatives, where ``exp(log_ndtr(-x) + x**2 / 2)`` loses :math:`x^2` of them.

    Reference: NIST Digital Library of Mathematical Functions, 7.8.
    """
    x = as_float(x)
    length = _length(x, DEPTH + 6 * power)
    return integral(lambda t: t**power * jnp.exp(-(x[..., None] + 0.5 * t) * t), length)


def mills_decrease(x: ArrayLike, step: ArrayLike) -> jax.Array:
    r"""The difference :math:`R(x) - R(x + h)` of two Mills ratios, without its cancellation.

    .. math:: \int_0^\infty e^{-xt - t^2/2}\,(1 - e^{-ht})\,dt

    Args:
        x: at least -1 and finite, any shape.
        step: :math:`h > 0`, broadcastable with ``x``.

    Returns:
        Values, positive.
    """
    x, step = jnp.broadcast_arrays(as_float(x), as_float(step))
    near = step < jnp.maximum(x, 1)
    close = jnp.where(near, step, 1)
    inner = integral(lambda t: -jnp.exp(-(x[..., None] + 0.5 * t) * t) * jnp.expm1(-close[..., None] * t), _length(x))
    return jnp.where(near, inner, mills_ratio(x) - mills_ratio(x + jnp.where(near, 1, step)))


def scaled_exp1(x: ArrayLike) -> jax.Array:
    r"""The exponential integral times the exponential that it decays with.

    .. math:: e^x E_1(x) = \int_0^\infty \frac{e^{-xt}}{1 + t}\,dt

    Args:
        x: positive, any shape.

    Returns:
        Values, shape of ``x``; decreasing, about :math:`1/x` far out.

    Numerics:
        Some ulp in the value and in all derivatives: the series of :math:`E_1` below 2, the integral from there on.

    Reference: NIST Digital Library of Mathematical Functions, 6.2.2 and 6.6.2.
    """
    x = as_float(x)
    small = x < 2
    near, far = jnp.where(small, x, 1), jnp.where(small, 2, x)
    term, total = near, jnp.zeros_like(x)
    for k in range(1, 31):  # 2^31 / 31! is 3e-25
        total = total + term / k
        term = -term * near / (k + 1)
    below = jnp.exp(near) * (total - jnp.log(near) - 0.5772156649015329)
    above = integral(lambda u: jnp.exp(-u) / (far[..., None] + u), jnp.full_like(far, DEPTH))
    return jnp.where(small, below, above)


def _length(x: jax.Array, depth: float = DEPTH) -> jax.Array:
    r"""Where :math:`xt + t^2/2` reaches the depth."""
    root = jnp.sqrt(x * x + 2 * depth)
    return jnp.where(x > 0, 2 * depth / (jnp.abs(x) + root), jnp.abs(x) + root)
