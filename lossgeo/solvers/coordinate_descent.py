r"""A quadratic with a separable kink: the subproblem of Newton's method for an L1 penalty.

.. math:: \min_\delta\; g^\top\delta + \tfrac12 \delta^\top H \delta + \sum_j \lambda_j |x_j + \delta_j|

Coordinate descent finds the face; Newton steps on the face, bent at its edges, make the answer exact. Zeros come from
the soft threshold and the edges, never from a threshold on the size of the result.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg

__all__ = ["KinkedQuadratic", "kinked_violation", "minimize_kinked_quadratic"]

ARC = (1.0, 0.7, 0.4, 0.15)
"""Fractions of a Newton step that are tried at once, each projected onto the orthant of the start."""


EDGES = np.array([0, 3, 15, 63])
"""Kinks that the step meets, in their order, at which it is tried too."""


class KinkedQuadratic(NamedTuple):
    """Result of :func:`minimize_kinked_quadratic`.

    Args:
        x: the minimiser reached, zeros exact, shape ``(p,)``.
        delta: ``x`` minus the start.
        decrease: decrease of the model in nats, not negative where it was found.
        violation: largest component of the subgradient of least norm, in units of ``1 / sqrt(diag(H))``.
    """

    x: jax.Array
    delta: jax.Array
    decrease: jax.Array
    violation: jax.Array


def minimize_kinked_quadratic(
    hessian: jax.Array,
    gradient: jax.Array,
    x: jax.Array,
    strength: jax.Array,
    *,
    reduction: float = 0.1,
    max_rounds: int = 40,
    sweeps: int = 6,
) -> KinkedQuadratic:
    r"""Minimise the quadratic; pure, of static shape.

    A round is one sweep over all coordinates, more over those off their kink, and one Newton step on the orthant face
    of the result, of which several fractions are projected onto that orthant and the best is kept. Coordinates are
    scaled to :math:`H_{jj} = 1`, so that units cancel; a coordinate with :math:`H_{jj} \le 0` stays. A Cholesky factor
    that is not finite (a singular face) makes no step, and coordinate descent goes on.

    Args:
        hessian: symmetric, shape ``(p, p)``; the method is meant for positive semidefinite ones, and with others ends
            after ``max_rounds`` at a point whose ``decrease`` tells what it is worth.
        gradient: shape ``(p,)``, of the smooth part at the start.
        x: start, with kinks at 0, shape ``(p,)``.
        strength: of the kinks, not negative, 0 for none, shape ``(p,)``.
        reduction: of the violation of the optimality conditions, by which the iteration ends; rounding error also ends
            it.
        max_rounds: bound on the rounds.
        sweeps: of coordinate descent in each round.

    References: Friedman, Hastie and Tibshirani (2010), JSS 33 (covariance updates); Bertsekas (1982), SIAM J. Control
    Optim. 20, 221 (projected Newton steps).
    """
    p, dtype = x.shape[0], x.dtype
    diagonal = jnp.diagonal(hessian)
    moves = diagonal > 0
    scale = jnp.where(moves, jax.lax.rsqrt(jnp.where(moves, diagonal, 1.0)), 1.0)
    h = hessian * scale[:, None] * scale[None, :]
    g = gradient * scale
    start = x / scale
    kink = strength * scale
    penalised = kink > 0
    jitter = linalg.rank_tolerance(p, dtype)
    rounding = 8.0 * jnp.finfo(dtype).eps

    def update(j: jax.Array, delta: jax.Array) -> jax.Array:
        row = jax.lax.dynamic_index_in_dim(h, j, keepdims=False)
        slope = jnp.sum(row * delta) + g[j]
        here = start[j] + delta[j]
        moved = here - slope
        # On the kink unless beyond it by more than rounding error.
        beyond = jnp.abs(moved) - kink[j]
        to = jnp.where(beyond > rounding * (jnp.abs(moved) + kink[j]), jnp.sign(moved) * beyond, 0.0)
        # A move on one side of the kink is written relative to delta: no rounding error of the size of x.
        same = delta[j] - (slope + kink[j] * jnp.sign(here))
        new = jnp.where((to * here > 0) | ~penalised[j], same, to - start[j])
        return delta.at[j].set(jnp.where(moves[j], new, delta[j]))

    def descend(delta: jax.Array) -> jax.Array:
        delta = jax.lax.fori_loop(0, p, update, delta)
        active = (start + delta != 0) | ~penalised
        (order,) = jnp.nonzero(active, size=p, fill_value=0)
        count = jnp.sum(active)

        def sweep(_: jax.Array, delta: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, count, lambda i, d: update(order[i], d), delta)

        return jax.lax.fori_loop(0, sweeps - 1, sweep, delta)

    def newton(delta: jax.Array, slope: jax.Array) -> jax.Array:
        here = start + delta
        sign = jnp.where(penalised, jnp.sign(here), 0.0)
        free = moves & ((here != 0) | ~penalised)
        matrix = jnp.where(free[:, None] & free[None, :], h, 0.0) + jnp.diag(jnp.where(free, jitter, 1.0))
        lower = jnp.linalg.cholesky(matrix, symmetrize_input=False)
        step = -jax.scipy.linalg.cho_solve((lower, True), jnp.where(free, slope + kink * sign, 0.0))
        # On a singular face the step is long, and ends at edges: the first, and a few others in their order.
        until = jnp.where(sign * step < 0, -here / jnp.where(step != 0, step, 1.0), jnp.inf)
        edges = jnp.sort(until)[np.minimum(EDGES, p - 1)] * (1.0 + rounding)
        fractions = jnp.concatenate([jnp.asarray((*ARC, 0.0), dtype), jnp.minimum(edges, 1.0)])
        there = here[None, :] + fractions[:, None] * step[None, :]
        crosses = (penalised & free)[None, :] & (there * sign[None, :] <= 0)
        deltas = jnp.where(crosses, -start[None, :], delta[None, :] + fractions[:, None] * step[None, :])
        # Of the differences to the present point: products with small numbers where the steps are small.
        change = deltas - delta[None, :]
        gain = change @ slope + 0.5 * jnp.sum(change * (change @ h), axis=1)
        gain = gain + jnp.sum(kink[None, :] * (jnp.abs(start[None, :] + deltas) - jnp.abs(here)[None, :]), axis=1)
        return deltas[jnp.argmin(jnp.where(jnp.isfinite(gain), gain, jnp.inf))]

    def violation(delta: jax.Array, slope: jax.Array) -> jax.Array:
        return _violation(slope, start + delta, kink, moves)

    def body(carry: tuple) -> tuple:
        delta, _, rounds = carry
        delta = descend(delta)
        delta = newton(delta, h @ delta + g)
        return delta, violation(delta, h @ delta + g), rounds + 1

    nothing = jnp.zeros_like(x)
    initial = violation(nothing, g)
    tol = jnp.maximum(reduction * initial, rounding * jnp.max(jnp.abs(g) + kink, initial=0.0))
    delta, _, _ = jax.lax.while_loop(
        lambda c: (c[1] > tol) & (c[2] < max_rounds), body, (nothing, initial, jnp.asarray(0))
    )
    # A coefficient that Newton left beside its kink by no more than rounding error returns to it.
    delta = jax.lax.cond(initial > tol, lambda d: jax.lax.fori_loop(0, p, update, d), lambda d: d, delta)
    worst = violation(delta, h @ delta + g)
    reached = jnp.where(delta == nothing, x, jnp.where(delta == -start, 0.0, (start + delta) * scale))
    penalty = jnp.sum(kink * (jnp.abs(start + delta) - jnp.abs(start)))
    decrease = -(delta @ g + 0.5 * delta @ (h @ delta) + penalty)
    return KinkedQuadratic(reached, reached - x, decrease, worst)


def kinked_violation(hessian: jax.Array, gradient: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Violation of optimality at ``x``: the largest subgradient component, in units of ``1 / sqrt(diag(H))``."""
    diagonal = jnp.diagonal(hessian)
    moves = diagonal > 0
    scale = jnp.where(moves, jax.lax.rsqrt(jnp.where(moves, diagonal, 1.0)), 1.0)
    return _violation(gradient * scale, x, strength * scale, moves)


def _violation(slope: jax.Array, x: jax.Array, kink: jax.Array, moves: jax.Array) -> jax.Array:
    beyond = jnp.maximum(jnp.abs(slope) - kink, 0.0)
    excess = jnp.where((kink > 0) & (x == 0), beyond, jnp.abs(slope + kink * jnp.sign(x)))
    return jnp.max(jnp.where(moves, excess, 0.0), initial=0.0)
