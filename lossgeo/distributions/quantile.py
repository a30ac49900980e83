"""Quantiles of families without a closed form: the root of the logarithm of the nearer tail."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.distributions.distribution import Distribution

MAX_STEPS = 200


def continuous_quantile(
    distribution: Distribution, q: ArrayLike, forward: Callable[[jax.Array], jax.Array], low: float, high: float
) -> jax.Array:
    r"""The value below which the probability is ``q``.

    Args:
        distribution: with ``log_cdf`` and ``log_survival``, of a location and a scale of size 1 (if it has them).
        q: levels; NaN outside [0, 1].
        forward: increasing map of coordinates in about [-700, 700] onto the support (``exp``, ``sinh``, the logistic
            function); a module-level function.
        low: lower end of the support, the value at 0.
        high: upper end of the support, the value at 1.

    Returns:
        Values, shape of ``q`` broadcast with the batch; differentiable in ``q`` and in the hyper-parameters, as often
        as one likes, by the implicit function theorem.

    Numerics:
        Newton's method on the logarithm of the smaller tail, inside a bracket that every third step halves. An error
        of some ulp of the coordinate, so that small values keep their digits.
    """
    dtype = jnp.result_type(float, q, *jax.tree.leaves(distribution))
    distribution = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), distribution)
    q = jnp.broadcast_to(jnp.asarray(q, dtype), jnp.broadcast_shapes(jnp.shape(q), distribution.batch_shape))
    inside = (q > 0) & (q < 1)
    value = _quantile(forward, distribution, jnp.where(inside, q, 0.5))
    end = jnp.where(q == 0, low, jnp.where(q == 1, high, jnp.nan)).astype(dtype)
    return jnp.where(inside, value, end)


def _log_tail(distribution: Distribution, y: jax.Array, q: jax.Array) -> jax.Array:
    """Logarithm of the probability on that side of ``y`` on which it is asked to be the smaller."""
    return jnp.where(q < 0.5, distribution.log_cdf(y), distribution.log_survival(y))


def _log_level(q: jax.Array) -> jax.Array:
    lower = q < 0.5
    return jnp.where(lower, jnp.log(jnp.where(lower, q, 0.5)), jnp.log1p(-jnp.where(lower, 0.5, q)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _quantile(forward: Callable[[jax.Array], jax.Array], distribution: Distribution, q: jax.Array) -> jax.Array:
    sign, level = jnp.where(q < 0.5, 1, -1).astype(q.dtype), _log_level(q)
    excess = lambda u: sign * (_log_tail(distribution, forward(u), q) - level)  # noqa: E731
    widest = jnp.log(jnp.finfo(q.dtype).max) - 1
    eps = jnp.finfo(q.dtype).eps

    def step(state: Any) -> Any:
        u, low, high, _, count = state
        value, slope = jax.jvp(excess, (u,), (jnp.ones_like(u),))
        low, high = jnp.where(value < 0, u, low), jnp.where(value > 0, u, high)
        newton = u - value / slope
        middle = 0.5 * (low + high)
        # An infinite slope would stop the iteration where it stands.
        trusted = (newton >= low) & (newton <= high) & jnp.isfinite(slope)
        trusted = trusted & ((count % 3 < 2) | (jnp.abs(newton - u) < 1e-3))
        following = jnp.where(value == 0, u, jnp.where(trusted, newton, middle))
        return following, low, high, jnp.abs(following - u), count + 1

    def unfinished(state: Any) -> jax.Array:
        u, _, _, moved, count = state
        return (count < MAX_STEPS) & jnp.any(moved > 2 * eps * jnp.maximum(jnp.abs(u), 1))

    start = (jnp.zeros_like(q), jnp.full_like(q, -widest), jnp.full_like(q, widest), jnp.full_like(q, jnp.inf), 0)
    root = forward(jax.lax.while_loop(unfinished, step, start)[0])
    return jnp.where(jnp.isnan(_log_tail(distribution, root, q)), jnp.nan, root)


@_quantile.defjvp
def _quantile_jvp(forward: Callable[[jax.Array], jax.Array], primals: Any, tangents: Any) -> Any:
    (distribution, q), (distribution_dot, q_dot) = primals, tangents
    y = _quantile(forward, distribution, q)
    _, level_dot = jax.jvp(_log_level, (q,), (q_dot,))
    _, moved = jax.jvp(lambda d: _log_tail(d, y, q), (distribution,), (distribution_dot,))
    _, slope = jax.jvp(lambda v: _log_tail(distribution, v, q), (y,), (jnp.ones_like(y),))
    return y, (level_dot - moved) / slope


def discrete_quantile(distribution: Distribution, q: ArrayLike, high: ArrayLike = jnp.inf) -> jax.Array:
    """The smallest count up to which the probability is at least ``q``, as a float.

    Args:
        distribution: on the integers from 0 on, with ``log_cdf`` and ``log_survival``.
        q: levels; NaN outside [0, 1].
        high: the largest count, the value at 1.

    Numerics:
        The level is compared with the smaller tail; a level that is a cumulative probability up to rounding may give
        either neighbour. The derivative is 0. Counts are exact up to 2^24 in float32.
    """
    dtype = jnp.result_type(float, q, *jax.tree.leaves(distribution))
    distribution = jax.lax.stop_gradient(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), distribution))
    q = jax.lax.stop_gradient(jnp.asarray(q, dtype))
    q = jnp.broadcast_to(q, jnp.broadcast_shapes(q.shape, distribution.batch_shape))
    inside = (q > 0) & (q < 1)
    level = jnp.where(inside, q, 0.5)
    target = _log_level(level)

    def enough(count: jax.Array) -> jax.Array:
        tail = _log_tail(distribution, count, level)
        return jnp.where(level < 0.5, ~(tail < target), ~(tail > target))

    def double(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        top, done = state
        return jnp.where(done, top, 2 * top), done | enough(jnp.where(done, top, 2 * top))

    def halve(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        below, top = state
        middle = jnp.floor(0.5 * (below + top))
        done = enough(middle)
        return jnp.where(done, below, middle), jnp.where(done, middle, top)

    top = jnp.ones_like(q)
    top, _ = jax.lax.while_loop(lambda s: ~jnp.all(s[1]) & jnp.all(jnp.isfinite(s[0])), double, (top, enough(top)))
    apart = lambda s: jnp.any((s[1] - s[0] > 1) & (jnp.floor(0.5 * (s[0] + s[1])) > s[0]))  # noqa: E731
    _, value = jax.lax.while_loop(apart, halve, (jnp.full_like(q, -1), top))
    value = jnp.where(jnp.isnan(_log_tail(distribution, value, level)), jnp.nan, value)
    end = jnp.where(q == 0, 0, jnp.where(q == 1, jnp.asarray(high, dtype), jnp.nan)).astype(dtype)
    return jnp.where(inside, value, end)
