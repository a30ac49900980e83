r"""Global minima on the line of every problem that the theory of a margin loss poses.

The conditional risk, the conjugate and the proximal map of a loss :math:`\varphi` are one problem,

.. math:: \min_m\; a\,\varphi(m) + b\,\varphi(-m) + c\,m + \tfrac d2 (m - v)^2,

solved here for any :math:`\varphi`, convex or not, with kinks or jumps: a grid that is fine near its center and
reaches far out, then bisection on the sign of the derivative. At a smooth minimum the answer is differentiable (two
Newton steps from the answer, so that derivatives follow the implicit-function rule); at a kink it is constant.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

REACH = 1e8
_POINTS = 2401


class Problem(NamedTuple):
    """Coefficients of the problem, each of shape ``(n,)``; ``side`` is the sign that ``m`` may have, 0 for both."""

    loss: jax.Array
    mirrored: jax.Array
    linear: jax.Array
    quadratic: jax.Array
    center: jax.Array
    side: jax.Array


class Minimum(NamedTuple):
    """A minimum: its place, its value, and the slope there if it lies at the end of the grid (else 0)."""

    point: jax.Array
    value: jax.Array
    end_slope: jax.Array


def problem(like: jax.Array, /, **coefficients: Any) -> Problem:
    """A problem whose missing coefficients are 0, in the dtype and shape of ``like``."""
    zero = jnp.zeros_like(like)
    return Problem(**{name: zero + coefficients.get(name, 0.0) for name in Problem._fields})


def grid(points: int = _POINTS, reach: float = REACH) -> np.ndarray:
    r"""Points of :math:`[-\text{reach}, \text{reach}]`, symmetric, with 0, equally spaced in ``arcsinh``."""
    half = np.sinh(np.linspace(0.0, np.arcsinh(reach), points // 2 + 1))
    return np.concatenate([-half[:0:-1], half])


def _times(weight: jax.Array, value: jax.Array) -> jax.Array:
    """``weight * value`` where 0 times infinity is 0."""
    return jnp.where(weight == 0, 0, weight * jnp.where(weight == 0, 0, value))


def _cost(value: Callable[[jax.Array], jax.Array], p: Problem, m: jax.Array) -> jax.Array:
    return sum(_terms(value, p, m), start=jnp.zeros((), m.dtype))


def _terms(value: Callable[[jax.Array], jax.Array], p: Problem, m: jax.Array) -> list[jax.Array]:
    pulled = 0.5 * p.quadratic * jnp.square(m - p.center)
    return [_times(p.loss, value(m)), _times(p.mirrored, value(-m)), p.linear * m, pulled]


def minimize_on_line(value: Callable[[jax.Array], jax.Array], p: Problem) -> Minimum:
    """Solve a batch of problems.

    Args:
        value: the loss, elementwise.
        p: the problems, coefficients of shape ``(n,)``.

    Returns:
        Global minima; of several, the one nearest to 0. Where the cost falls up to the end of the grid, the point is
        infinite, the value that at the end, and ``end_slope`` tells whether it still falls.
    """
    dtype = p.loss.dtype
    eps = jnp.finfo(dtype).eps

    def slope(m: jax.Array) -> jax.Array:
        return jax.jvp(lambda m: _cost(value, p, m), (m,), (jnp.ones_like(m),))[1]

    start = jnp.where(p.quadratic > 0, p.center, 0)
    x = start[None, :] + jnp.asarray(grid(), dtype)[:, None]
    over = Problem(*(field[None, :] for field in p))
    # A constrained problem has 0, the end of its half-line, among its points because its grid is centered there.
    terms = _terms(value, over, x)
    cost = sum(terms)
    cost = jnp.where((over.side * x < 0) | ~jnp.isfinite(cost), jnp.inf, cost)
    # Of points that rounding cannot tell apart, the one nearest to 0: the terms may be large and cancel.
    rounding = 4 * eps * sum(jnp.abs(term) for term in terms)
    least = jnp.min(jnp.where(jnp.isfinite(cost), cost + rounding, jnp.inf), axis=0)
    tied = jnp.isfinite(cost) & (cost - rounding <= least[None, :])
    index = jnp.argmin(jnp.where(tied, jnp.abs(x), jnp.inf), axis=0)
    columns = jnp.arange(x.shape[1])
    best = x[index, columns]
    low, high = x[jnp.maximum(index - 1, 0), columns], x[jnp.minimum(index + 1, _POINTS - 1), columns]
    low = jnp.where(p.side > 0, jnp.maximum(low, 0), low)
    high = jnp.where(p.side < 0, jnp.minimum(high, 0), high)

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        g = slope(middle)
        return jnp.where(g <= 0, middle, low), jnp.where(g >= 0, middle, high)

    low, high = jax.lax.fori_loop(0, 12 + jnp.finfo(dtype).nmant, halve, (low, high))
    found = 0.5 * (low + high)
    refined = _cost(value, p, found)
    point = jax.lax.stop_gradient(jnp.where(refined <= least + 8 * eps * jnp.abs(least), found, best))
    at_end = (index == 0) | (index == _POINTS - 1)
    for _ in range(2):
        g, curvature = jax.jvp(slope, (point,), (jnp.ones_like(point),))
        regular = ~at_end & (curvature > 0) & (jnp.abs(g) <= 64 * jnp.sqrt(eps) * curvature * (1 + jnp.abs(point)))
        moved = point - g / jnp.where(regular, curvature, 1)
        point = jnp.where(regular & (p.side * moved >= 0), moved, point)
    point = jnp.where(at_end, best, point)
    end_slope = jnp.where(at_end, slope(best), 0)
    return Minimum(jnp.where(at_end, jnp.sign(best) * jnp.inf, point), _cost(value, p, point), end_slope)


def steepest_chord(value: Callable[[np.ndarray], np.ndarray], reach: float = 50.0) -> float:
    r"""Least :math:`L` with :math:`|f(a) - f(b)| \le L |a - b|` on the line; infinite for a jump or unbounded growth.

    A host function: the steepest chord of a grid, magnified until its slope has converged or is seen to diverge.
    """
    x = grid(4001, reach)
    y = np.asarray(value(x))
    chords = np.abs(np.diff(y) / np.diff(x))
    half = np.abs(x) <= 0.5 * reach
    inner = np.abs(np.diff(y[half]) / np.diff(x[half])).max()
    if not np.isfinite(y).all() or chords.max() > 1.01 * inner:
        return float("inf")
    return _magnified(value, x, chords)


def has_jump(value: Callable[[np.ndarray], np.ndarray], reach: float = 50.0) -> bool:
    """Whether a function has a jump (or a vertical tangent): its steepest chord steepens when magnified."""
    x = grid(4001, reach)
    return not np.isfinite(_magnified(value, x, np.abs(np.diff(np.asarray(value(x))) / np.diff(x))))


def _magnified(value: Callable[[np.ndarray], np.ndarray], x: np.ndarray, chords: np.ndarray) -> float:
    previous = steepest = chords.max()
    for _ in range(2):
        k = int(np.argmax(chords))
        x = np.linspace(x[max(k - 1, 0)], x[min(k + 2, x.size - 1)], x.size)
        chords = np.abs(np.diff(np.asarray(value(x))) / np.diff(x))
        previous, steepest = steepest, chords.max()
    return float("inf") if steepest > 1.5 * previous else float(steepest)


def is_convex(value: Callable[[np.ndarray], np.ndarray], reach: float = 50.0) -> bool:
    """Whether the chords of a grid rise from left to right, to rounding. A host function."""
    x = grid(4001, reach)
    y = np.asarray(value(x))
    h = np.diff(x)
    chords = np.diff(y) / h
    rounding = 16 * np.finfo(y.dtype).eps * (np.abs(y[:-1]) + np.abs(y[1:])) / h
    return bool(np.all(np.diff(chords) >= -(rounding[:-1] + rounding[1:])))
