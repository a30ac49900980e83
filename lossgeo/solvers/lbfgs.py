"""L-BFGS with a line search of our own, for smooth problems with many parameters."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.status import RUNNING, Status


class LBFGSState(NamedTuple):
    """State of :class:`LBFGS`."""

    z: jax.Array
    value: jax.Array
    grad: jax.Array
    steps: jax.Array  # (memory, p): differences of points
    changes: jax.Array  # (memory, p): differences of gradients
    rho: jax.Array  # (memory,): 1 / <step, change>, 0 for an unused slot
    scale: jax.Array  # (p,): equilibrating scale of the Hessian at the start
    edm: jax.Array
    failures: jax.Array
    num_steps: jax.Array
    status: jax.Array


class _Point(NamedTuple):
    length: jax.Array
    value: jax.Array
    slope: jax.Array
    grad: jax.Array


@dataclasses.dataclass(frozen=True)
class LBFGS:
    r"""Limited-memory BFGS with a bisecting strong Wolfe line search.

    ``tol`` is compared with :math:`-\tfrac12\langle g, d\rangle`, the expected decrease under the current inverse
    Hessian approximation; it is an estimate, which the caller checks and polishes with Newton steps by conjugate
    gradients. A failed line search first forgets the memory and tries steepest descent; if that fails too the status
    is ``STALLED``, at the best point seen.

    Reference: Liu and Nocedal (1989), Math. Programming 45, 503; Nocedal and Wright (2006), algorithms 3.5, 7.4.

    Args:
        memory: number of pairs kept.
        max_steps: default budget.
        max_evaluations: evaluations of one line search.
    """

    memory: int = 12
    max_steps: int = 5_000
    max_evaluations: int = 30

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "L-BFGS"

    def init(self, problem: Problem, tol: jax.Array) -> LBFGSState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat = FlatProblem(problem)
        value, grad = flat.value_and_grad(flat.z0)
        history = jnp.zeros((self.memory, flat.z0.shape[0]), flat.z0.dtype)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
        status = jnp.where(finite, jnp.where(jnp.all(grad == 0), Status.CONVERGED, RUNNING), Status.NOT_FINITE)
        rho = jnp.zeros((self.memory,), flat.z0.dtype)
        infinity = jnp.full_like(value, jnp.inf)
        zero = jnp.asarray(0)
        scale = linalg.matrix_free_scale(flat.hessian_product(flat.z0), flat.z0)
        return LBFGSState(
            flat.z0, value, grad, history, history, rho, scale, infinity, zero, zero, status.astype(jnp.int32)
        )

    def step(self, problem: Problem, state: LBFGSState, tol: jax.Array) -> LBFGSState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat = FlatProblem(problem)
        direction = self._direction(state)
        slope = state.grad @ direction
        descent = slope < 0
        steepest = -jnp.square(state.scale) * state.grad
        direction = jnp.where(descent, direction, steepest)
        slope = jnp.where(descent, slope, state.grad @ steepest)
        # Without memory the length of the step is unknown: at most one unit of the equilibrated coordinates.
        longest = jnp.max(jnp.abs(direction / state.scale))
        fresh = jnp.all(state.rho == 0)
        first = jnp.where(fresh & (longest > 1.0), 1.0 / jnp.where(longest > 0, longest, 1.0), 1.0)
        found, ok = self._line_search(flat, state, direction, slope, first)

        z = state.z + found.length * direction
        step, change = z - state.z, found.grad - state.grad
        curvature = step @ change
        useful = ok & (curvature > jnp.finfo(z.dtype).eps * (change @ change))
        slot = state.num_steps % self.memory

        def put(store: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(ok, store.at[slot].set(new), 0.0)

        rho = put(state.rho, jnp.where(useful, 1.0 / jnp.where(useful, curvature, 1.0), 0.0))
        state = LBFGSState(
            z=jnp.where(ok, z, state.z),
            value=jnp.where(ok, found.value, state.value),
            grad=jnp.where(ok, found.grad, state.grad),
            steps=put(state.steps, step),
            changes=put(state.changes, change),
            rho=rho,
            scale=state.scale,
            edm=state.edm,
            failures=jnp.where(ok, 0, state.failures + 1),
            num_steps=state.num_steps + 1,
            status=state.status,
        )
        edm = jnp.where(jnp.all(state.rho == 0), jnp.inf, -0.5 * state.grad @ self._direction(state))
        gone = jnp.all(state.grad == 0)
        status = jnp.where(
            ((edm >= 0) & (edm <= tol)) | gone,
            Status.CONVERGED,
            jnp.where(state.failures >= 2, Status.STALLED, RUNNING),
        )
        return state._replace(edm=jnp.where(gone, 0.0, edm), status=status.astype(jnp.int32))

    def params(self, problem: Problem, state: LBFGSState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return FlatProblem(problem).unravel(state.z)

    def _direction(self, state: LBFGSState) -> jax.Array:
        """Two-loop recursion, as two rolled loops over the memory (an unrolled one compiles slowly)."""
        order = (state.num_steps - 1 - jnp.arange(self.memory)) % self.memory  # newest first

        def backward(q: jax.Array, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
            alpha = state.rho[slot] * (state.steps[slot] @ q)
            return q - alpha * state.changes[slot], alpha

        q, alphas = jax.lax.scan(backward, state.grad, order)
        # The initial matrix is the equilibrating scale, times the curvature of the newest pair in use.
        metric = jnp.square(state.scale)
        newest = order[jnp.argmax(state.rho[order] > 0)]
        curvature = state.rho[newest] * jnp.sum(metric * jnp.square(state.changes[newest]))
        gamma = jnp.where(curvature > 0, 1.0 / jnp.where(curvature > 0, curvature, 1.0), 1.0)

        def forward(r: jax.Array, item: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            slot, alpha = item
            beta = state.rho[slot] * (state.changes[slot] @ r)
            return r + state.steps[slot] * jnp.where(state.rho[slot] > 0, alpha - beta, 0.0), None

        r, _ = jax.lax.scan(forward, gamma * metric * q, (order[::-1], alphas[::-1]))
        return -r

    def _line_search(
        self, flat: FlatProblem, state: LBFGSState, direction: jax.Array, slope: jax.Array, first: jax.Array
    ) -> tuple[_Point, jax.Array]:
        """A point of sufficient decrease and small slope, by expansion and then safeguarded bisection."""

        def at(length: jax.Array) -> _Point:
            value, grad = flat.value_and_grad(state.z + length * direction)
            return _Point(length, value, grad @ direction, grad)

        noise = 16.0 * jnp.finfo(state.z.dtype).eps * jnp.abs(state.value)
        return _wolfe(at, state.value, slope, first, noise, self.max_evaluations)


def _wolfe(
    at: Callable[[jax.Array], _Point],
    value0: jax.Array,
    slope0: jax.Array,
    first: jax.Array,
    noise: jax.Array,
    max_evaluations: int,
) -> tuple[_Point, jax.Array]:
    r"""Find a length with decrease :math:`10^{-4}` and slope reduced to 0.9, keeping a bracket.

    The upper end is the shortest length that goes too far (value too high, or not finite, or slope upwards), the
    lower the longest that does not go far enough. Below the noise of the value the slope decides alone
    (Hager and Zhang 2005, approximate Wolfe conditions).
    """

    def judge(point: _Point) -> tuple[jax.Array, jax.Array]:
        finite = jnp.isfinite(point.value) & jnp.all(jnp.isfinite(point.grad))
        enough = point.value <= value0 + 1e-4 * point.length * slope0
        level = (point.value <= value0 + noise) & (point.slope <= (2e-4 - 1.0) * slope0)
        decreases = finite & (enough | level)
        done = decreases & (jnp.abs(point.slope) <= -0.9 * slope0)
        too_far = ~decreases | (point.slope > 0)
        return done, too_far

    def body(carry: tuple) -> tuple:
        point, low, high, evaluations, _ = carry
        _, too_far = judge(point)
        high = jnp.where(too_far, point.length, high)
        low = jnp.where(too_far, low, point.length)
        # Minimiser of the parabola through the start's value and slope and this value, when it lies well inside.
        denominator = 2.0 * (point.value - value0 - slope0 * point.length)
        parabola = -slope0 * point.length**2 / jnp.where(denominator > 0, denominator, jnp.inf)
        inside = (parabola > low + 0.1 * (high - low)) & (parabola < high - 0.1 * (high - low))
        middle = jnp.where(inside & jnp.isfinite(parabola), parabola, 0.5 * (low + high))
        point = at(jnp.where(jnp.isfinite(high), middle, 3.0 * point.length))
        return point, low, high, evaluations + 1, judge(point)[0]

    start = at(first)
    carry = (start, jnp.zeros_like(first), jnp.full_like(first, jnp.inf), jnp.asarray(1), judge(start)[0])
    point, _, _, _, done = jax.lax.while_loop(lambda c: ~c[4] & (c[3] < max_evaluations), body, carry)
    # Out of evaluations: a plain decrease is still progress.
    decreased = jnp.isfinite(point.value) & (point.value < value0) & jnp.all(jnp.isfinite(point.grad))
    return point, done | decreased
