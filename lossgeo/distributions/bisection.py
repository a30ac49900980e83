"""Quantiles of compositions, which have no coordinate to iterate in: bisection over the floating-point numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

NUMBERS = (jax.Array, np.ndarray, np.generic, float, int)
BITS = {4: jnp.int32, 8: jnp.int64}


def bisected_quantile(distribution: Any, log_below: jax.Array, log_above: jax.Array, *, discrete: bool) -> jax.Array:
    r"""The smallest number ``y`` with :math:`P(Y \le y) \ge q`, for a level ``q`` given by two logarithms.

    Levels below 1/2 are found from ``log_cdf``, the others from ``log_survival``, so that both tails keep their digits.
    The floating-point numbers are ordered like integers, over which bisection ends after as many steps as they have
    bits, without a bracket and whatever the scale.

    Args:
        distribution: one with ``log_cdf`` and ``log_survival`` (and ``log_prob`` unless ``discrete``), scalar.
        log_below: :math:`\log q`, of the shape that is wanted.
        log_above: :math:`\log(1 - q)`, of the same shape.
        discrete: whether the distribution lives on integers; static.

    Returns:
        Quantiles; infinite at the levels 0 and 1. They are differentiable
        by the implicit function theorem in the hyper-parameters and the levels (piecewise
        constant for a discrete distribution).
    """
    dtype = log_below.dtype
    integer = BITS[dtype.itemsize]
    lower = log_below < log_above

    def reached(y: jax.Array) -> jax.Array:
        below, above = distribution.log_cdf(y), distribution.log_survival(y)
        found = jnp.where(lower, below >= log_below, above <= log_above)
        return jnp.where(jnp.isnan(jnp.where(lower, below, above)), y > 0, found)  # an overflow at the extremes

    def body(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        left, right = bracket
        middle = (left & right) + ((left ^ right) >> 1)  # the mean, which does not overflow
        found = reached(_number(middle, dtype))
        return jnp.where(found, left, middle), jnp.where(found, middle, right)

    start = jnp.full(log_below.shape, _order(jnp.asarray(-jnp.inf, dtype), integer))
    bracket = jax.lax.stop_gradient(
        jax.lax.fori_loop(0, 8 * dtype.itemsize, body, (start, jnp.full_like(start, _order(jnp.inf, integer, dtype))))
    )
    y = jax.lax.stop_gradient(_number(bracket[1], dtype))
    y = jnp.where(jnp.isnan(log_below) | jnp.isnan(log_above), jnp.nan, y)
    log_tail = jnp.where(lower, distribution.log_cdf(y), distribution.log_survival(y))
    y = jnp.where(log_below == -jnp.inf, -jnp.inf, jnp.where(log_above == -jnp.inf, jnp.inf, y))
    y = jnp.where(jnp.isnan(log_tail), jnp.nan, y)
    if discrete:
        return y
    # Value y; derivative -(dF - dq) / density.
    inside = jnp.isfinite(y)
    slope = jax.lax.stop_gradient(jnp.exp(distribution.log_prob(y) - log_tail) * jnp.where(lower, 1, -1))
    usable = inside & (slope != 0) & jnp.isfinite(slope)
    shift = (jnp.where(usable, log_tail, 0) - jnp.where(usable, jnp.where(lower, log_below, log_above), 0)) / jnp.where(
        usable, slope, 1
    )
    return y - jnp.where(usable, shift - jax.lax.stop_gradient(shift), 0)


def count_quantile(
    distribution: Any, log_below: jax.Array, log_above: jax.Array, low: jax.Array, high: jax.Array | None
) -> jax.Array:
    r"""The smallest integer ``y`` from ``low`` to ``high`` with :math:`P(Y \le y) \ge q`; both logarithms tell ``q``.

    Args:
        distribution: on the integers, with ``log_cdf`` and ``log_survival``.
        log_below: :math:`\log q`, of the shape that is wanted.
        log_above: :math:`\log(1 - q)`, of the same shape.
        low: the least integer, finite, broadcastable to that shape.
        high: the largest one; ``None`` for none.

    Returns:
        Integers as floats, ``high`` (or ``inf``) where no smaller one will do; NaN where a level or a tail is.
        Piecewise constant: the derivative is 0.

    Numerics:
        The smaller tail is compared. Steps away from ``low`` double until the level is reached, then the bracket is
        halved: twice the logarithm of ``y - low`` evaluations of the tails.
    """
    distribution = jax.tree.map(lambda v: jax.lax.stop_gradient(v) if isinstance(v, NUMBERS) else v, distribution)
    log_below, log_above = jax.lax.stop_gradient((log_below, log_above))
    dtype, lower = log_below.dtype, log_below < log_above
    low = jnp.broadcast_to(jax.lax.stop_gradient(low).astype(dtype), log_below.shape)
    last = jnp.inf if high is None else jax.lax.stop_gradient(high).astype(dtype)
    last = jnp.broadcast_to(jnp.asarray(last, dtype), log_below.shape)

    def tail(y: jax.Array) -> jax.Array:
        return jnp.where(lower, distribution.log_cdf(y), distribution.log_survival(y))

    def reached(y: jax.Array) -> jax.Array:
        found = tail(y)
        return jnp.where(lower, ~(found < log_below), ~(found > log_above)) | (y >= last)  # NaN counts as found

    def double(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        below, top, done = state
        following = jnp.where(done, top, jnp.minimum(low + 2 * (top - low) + 1, last))
        return jnp.where(done, below, top), following, done | reached(following)

    def halve(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        below, top = state
        middle = jnp.floor(below + 0.5 * (top - below))
        done = (middle > below) & reached(middle)
        return jnp.where(done, below, middle), jnp.where(done, middle, top)

    certain = log_above == -jnp.inf  # level 1: nothing may be left above
    start = low - 1, low, certain | reached(low)
    below, top, _ = jax.lax.while_loop(lambda s: ~jnp.all(s[2]), double, start)
    # Integers beyond the precision have no neighbours; an infinite end has no middle.
    apart = lambda s: jnp.any((s[1] - s[0] > 1) & (s[1] < jnp.inf) & (s[0] + 0.5 * (s[1] - s[0]) > s[0]))  # noqa: E731
    value = jax.lax.while_loop(apart, halve, (below, top))[1]
    undefined = jnp.isnan(log_below) | jnp.isnan(log_above) | jnp.isnan(tail(value))
    return jnp.where(undefined, jnp.nan, jnp.where(certain, last, value))


def _order(y: jax.Array | float, integer: jnp.dtype, dtype: jnp.dtype | None = None) -> jax.Array:
    """The integer whose rank among integers is that of ``y`` among floating-point numbers."""
    bits = jax.lax.bitcast_convert_type(jnp.asarray(y, dtype), integer)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(integer).max, bits)


def _number(order: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Inverse of :func:`_order`."""
    bits = jnp.where(order < 0, order ^ jnp.iinfo(order.dtype).max, order)
    return jax.lax.bitcast_convert_type(bits, dtype)
