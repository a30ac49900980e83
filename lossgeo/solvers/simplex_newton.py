r"""Newton's method on the simplex: a sequence of quadratic programs, each solved by its active set.

.. math:: \min_d\; g^\top d + \tfrac12 d^\top H d \quad\text{with } x + d \ge 0,\; \mathbf 1^\top d = 0

Entries that a quadratic program leaves at the edge are exactly 0, and come back when their multiplier is negative. At
the optimum :math:`g_j = \nu` where :math:`x_j > 0` and :math:`g_j \ge \nu` where :math:`x_j = 0`.

References: Nocedal and Wright (2006), Numerical Optimization, ch. 16 and 18; Kim, Carbonetto, Stephens and Anitescu
(2020), J. Comput. Graph. Stat. 29, 261 (mixing weights).
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.kinks import Blocks
from lossgeo.solvers.mirror_descent import frank_wolfe_gap, memberships, simplices
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.status import RUNNING, Status

__all__ = ["SimplexNewton", "slopes_on_face"]


class SimplexState(NamedTuple):
    """State of :class:`SimplexNewton`."""

    z: jax.Array
    value: jax.Array
    grad: jax.Array
    edm: jax.Array
    num_steps: jax.Array
    status: jax.Array


class _Program(NamedTuple):
    """An iterate of the active set of a quadratic program."""

    w: jax.Array
    held: jax.Array
    done: jax.Array
    pivots: jax.Array


def slopes_on_face(x: jax.Array, grad: jax.Array, blocks: Blocks) -> jax.Array:
    """Gradient less the multiplier of each sum: 0 where ``x > 0`` and not negative elsewhere, at the optimum."""
    return grad - blocks.total(x * grad)


@dataclasses.dataclass(frozen=True)
class SimplexNewton:
    """Newton steps with an active set, for convex functions of a few hundred probabilities; the end of mirror descent.

    Args:
        max_steps: default budget of Newton steps.
    """

    max_steps: int = 100

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "Newton on the simplex"

    def init(self, problem: Problem, tol: jax.Array) -> SimplexState:
        """See :class:`lossgeo.solvers.Solver`; as for :class:`lossgeo.solvers.MirrorDescent`."""
        flat = FlatProblem(problem)
        value, grad = flat.value_and_grad(flat.z0)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
        status = jnp.where(finite, RUNNING, Status.NOT_FINITE).astype(jnp.int32)
        return SimplexState(flat.z0, value, grad, jnp.inf * jnp.ones_like(value), jnp.asarray(0), status)

    def step(self, problem: Problem, state: SimplexState, tol: jax.Array) -> SimplexState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat, blocks = FlatProblem(problem), simplices(problem.init)
        eps = jnp.finfo(state.z.dtype).eps
        to = _solve_program(
            state.z, state.grad, flat.hessian(state.z), blocks, memberships(problem.init, state.z.dtype)
        )
        change = to - state.z
        # Sums to 0 in each block: slopes less their multipliers lose no digits.
        slope = slopes_on_face(state.z, state.grad, blocks) @ change
        noise = 16.0 * eps * jnp.abs(state.value)
        usable = jnp.all(jnp.isfinite(to)) & (slope <= 0)

        def attempt(length: jax.Array) -> tuple:
            z = jnp.where(length == 1.0, to, state.z + length * change)
            value, grad = flat.value_and_grad(z)
            finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
            return z, value, grad, finite & (value <= state.value + 1e-4 * length * slope + noise)

        def shorten(carry: tuple) -> tuple:
            length = 0.5 * carry[0]
            return length, *attempt(length)

        one = jnp.ones_like(slope)
        _, z, value, grad, good = jax.lax.while_loop(
            lambda c: usable & ~c[4] & (c[0] > 1e-9), shorten, (one, *attempt(one))
        )
        gap = frank_wolfe_gap(z, grad, blocks)
        # Below the noise of the objective the gap decides, which has a noise of its own.
        good = good & usable & ((-slope > noise) | (gap < state.edm))
        z, value, grad, gap = (
            jnp.where(good, new, old)
            for new, old in ((z, state.z), (value, state.value), (grad, state.grad), (gap, state.edm))
        )
        settled = ~good | (gap > 0.5 * state.edm) | (gap <= eps * tol)
        status = jnp.where((gap <= tol) & settled, Status.CONVERGED, jnp.where(good, RUNNING, Status.STALLED))
        return SimplexState(z, value, grad, gap, state.num_steps + 1, status.astype(jnp.int32))

    def params(self, problem: Problem, state: SimplexState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return FlatProblem(problem).unravel(state.z)


def _solve_program(x: jax.Array, grad: jax.Array, hessian: jax.Array, blocks: Blocks, members: jax.Array) -> jax.Array:
    """The minimiser of the quadratic model over the simplices, from ``x``; its zeros are exact."""
    p, dtype = x.shape[0], x.dtype
    scaled, scale = linalg.equilibrate(hessian)
    identity = jnp.eye(p, dtype=dtype)
    # Curvature across the simplices is of no concern: with some of it the matrix is positive definite if it is along.
    sums = (members @ members.T) * jnp.mean(1.0 / jnp.square(scale))

    def positive(carry: tuple) -> tuple:
        ridge = jnp.maximum(30.0 * carry[0], jnp.asarray(1e-3, dtype))
        return ridge, jnp.all(jnp.isfinite(jnp.linalg.cholesky(scaled + (ridge + 1e-6) * identity)))

    least = jnp.asarray(linalg.rank_tolerance(p, dtype), dtype)
    first = jnp.all(jnp.isfinite(jnp.linalg.cholesky(scaled + least * identity)))
    ridge, _ = jax.lax.while_loop(lambda c: ~c[1] & (c[0] < 1e6), positive, (least, first))
    h = hessian + jnp.diag(ridge / jnp.square(scale))
    padded = h + sums

    def newton(w: jax.Array, held: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Step on the free entries that keeps the sums, and the slopes of the model at ``w``."""
        r = grad + h @ (w - x)
        free = ~held
        own = jnp.where(free, scale, 1.0)
        matrix = jnp.where(free[:, None] & free[None, :], padded, 0.0) * own[:, None] * own[None, :]
        matrix = matrix + jnp.diag(jnp.where(free, 0.0, 1.0))
        lower = jnp.linalg.cholesky(matrix, symmetrize_input=False)

        def solve(v: jax.Array) -> jax.Array:
            rows = jnp.where(free, own, 0.0).reshape((p,) + (1,) * (v.ndim - 1))
            return rows * jax.scipy.linalg.cho_solve((lower, True), rows * v)

        own_sums = jnp.where(free[:, None], members, 0.0)
        toward = solve(own_sums)
        schur = own_sums.T @ toward
        multipliers = jnp.linalg.solve(schur, own_sums.T @ solve(r))
        return jnp.where(free, -solve(r) + toward @ multipliers, 0.0), r

    def pivot(state: _Program) -> _Program:
        step, r = newton(state.w, state.held)
        room = jnp.where(step < 0, -state.w / jnp.where(step < 0, step, 1.0), jnp.inf)
        blocking = jnp.argmin(room)
        length = jnp.minimum(room[blocking], 1.0)
        blocked = room[blocking] < 1.0
        w = jnp.maximum(state.w + length * step, 0.0)
        w = jnp.where(blocked & (jnp.arange(p) == blocking), 0.0, w)
        held = state.held | (blocked & (jnp.arange(p) == blocking))
        slopes = slopes_on_face(w, grad + h @ (w - x), blocks)
        rounding = 64.0 * jnp.finfo(dtype).eps * (jnp.abs(grad) + jnp.abs(r))
        inward = jnp.where(held & (slopes < -rounding), slopes * scale, 0.0)
        leaving = jnp.argmin(inward)
        release = ~blocked & (inward[leaving] < 0)
        held = held & ~(release & (jnp.arange(p) == leaving))
        return _Program(w / blocks.total(w), held, ~blocked & ~release, state.pivots + 1)

    # Entries that a step of their own would carry across the edge start there.
    curvature = jnp.maximum(jnp.diagonal(h), jnp.finfo(dtype).tiny)
    small = (x <= 0) | (slopes_on_face(x, grad, blocks) > curvature * x)
    w = jnp.where(small, 0.0, x)
    kept = blocks.total(w) > 0.5
    w = jnp.where(kept, w / jnp.where(kept, blocks.total(w), 1.0), x)
    start = _Program(w, w == 0, jnp.asarray(False), jnp.asarray(0))
    return jax.lax.while_loop(lambda s: ~s.done & (s.pivots < 4 * p + 20), pivot, start).w
