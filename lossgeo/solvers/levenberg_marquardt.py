"""Levenberg-Marquardt: generalised Gauss-Newton steps in a trust region, for models that are nonlinear."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.status import RUNNING, Status

FIRST_DAMPING = 1e-3
FADING = 0.7
"""How fast the scale forgets: columns of a poor start may be larger by many orders of magnitude than those later on."""

LEAST_AGREEMENT = 0.1
"""Least ratio of decreases for a step to be taken. A smaller one would let a scale parameter leap to infinity."""

LARGEST_BEND = 0.75
"""Largest second-order correction, relative to half the step (Transtrum and Sethna 2012, equation 15)."""

PATIENCE = 20
"""Steps without a decrease beyond rounding error after which there is nothing left to gain."""


class LevenbergMarquardtState(NamedTuple):
    """State of :class:`LevenbergMarquardt`."""

    z: jax.Array
    value: jax.Array
    factor: jax.Array  # (p, p): triangular factor of the rows of the metric's root
    rotated: jax.Array  # (p,): the residual in the same rotation
    remainder: jax.Array  # (p,): what is left of the gradient
    scale: jax.Array  # (p,): norms of the columns, with a fading memory
    direction: jax.Array
    predicted: jax.Array  # decrease that the quadratic model promises; negative to reject the step unseen
    damping: jax.Array
    growth: jax.Array
    idle: jax.Array
    edm: jax.Array
    previous_edm: jax.Array
    num_steps: jax.Array
    status: jax.Array


@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt:
    r"""Levenberg-Marquardt iteration on the root of a metric, such as that of the Fisher information of a model.

    With the gradient :math:`A^\top r + g_0` and the metric :math:`A^\top A`, the velocity :math:`v` solves

    .. math:: (A^\top A + \mu D^2)\,v = -(A^\top r + g_0)

    by orthogonal factors of :math:`A`, so that its condition number is not squared. The step is :math:`v + a/2` with
    the geodesic acceleration :math:`a`, which solves the same system for :math:`-A^\top\ddot r`, the second derivative
    of the residual along :math:`v`: it follows bent valleys that a straight step would leave. :math:`D` holds the
    norms of the columns of :math:`A`, so that units cancel; :math:`\mu` follows the agreement of the decrease with the
    quadratic model.

    ``tol`` is compared with the expected decrease of the undamped step under the metric. Where the metric differs from
    the Hessian (large residuals, strong curvature of the model) convergence is linear: the iteration then ends early,
    near a stationary point, and the caller finishes with Newton steps (see :class:`Newton`).

    References: Moré (1978), The Levenberg-Marquardt algorithm: implementation and theory; Nielsen (1999),
    IMM-REP-1999-05 (damping); Transtrum and Sethna (2012), arXiv:1201.5885 (acceleration).

    Args:
        max_steps: default budget.
    """

    max_steps: int = 2_000

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "Levenberg-Marquardt"

    def init(self, problem: Problem, tol: jax.Array) -> LevenbergMarquardtState:
        """See :class:`lossgeo.solvers.Solver`. The start is evaluated by the first pass, step number -1."""
        z = FlatProblem(problem).z0
        p, zero, nothing = z.shape[0], jnp.zeros((), z.dtype), jnp.zeros_like(z)
        return LevenbergMarquardtState(
            z=z,
            value=zero + jnp.inf,
            factor=jnp.zeros((p, p), z.dtype),
            rotated=nothing,
            remainder=nothing,
            scale=nothing,
            direction=nothing,
            predicted=zero,
            damping=zero + FIRST_DAMPING,
            growth=zero + 2.0,
            idle=jnp.asarray(0),
            edm=zero + jnp.inf,
            previous_edm=zero + jnp.inf,
            num_steps=jnp.asarray(-1),
            status=jnp.asarray(RUNNING, jnp.int32),
        )

    def step(self, problem: Problem, state: LevenbergMarquardtState, tol: jax.Array) -> LevenbergMarquardtState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat = FlatProblem(problem)
        eps = jnp.finfo(state.z.dtype).eps
        z = state.z + state.direction
        value, (factor, rotated, remainder) = flat.value(z), triangular(flat, z)
        ratio = self._agreement(state, value, factor.T @ rotated + remainder, state.edm <= tol)
        first = state.num_steps < 0
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(factor)) & jnp.all(jnp.isfinite(rotated + remainder))
        accept = finite & (first | (ratio > LEAST_AGREEMENT))
        # A decrease of many terms that was not predicted is rounding error, be it a large one.
        foreseen = (state.value - value > _noise(value)) & (state.predicted > _noise(value))
        gained = accept & (first | foreseen)

        gain = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * jnp.minimum(ratio, 1.0) - 1.0) ** 3)
        lowered = jnp.maximum(state.damping * jnp.where(first, 1.0, gain), eps**2)
        damping = jnp.where(accept, lowered, state.damping * state.growth)
        growth = jnp.where(accept, 2.0, 2.0 * state.growth)

        def keep(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(accept, new, old)

        z, value, factor = keep(z, state.z), keep(value, state.value), keep(factor, state.factor)
        rotated, remainder = keep(rotated, state.rotated), keep(remainder, state.remainder)
        scale = jnp.maximum(FADING * state.scale, jnp.linalg.norm(factor, axis=0))
        scale = jnp.where(scale > 0, scale, 1.0)
        direction, predicted, edm, damped_edm = self._propose(flat, z, factor, rotated, remainder, scale, damping)

        previous = jnp.where(accept & ~first, state.edm, state.previous_edm)
        idle = jnp.where(gained, 0, state.idle + 1)
        # Without progress, and not because the damping holds it back.
        free = damped_edm > 0.9 * edm
        settled = (edm <= eps**2) | ((edm > 0.5 * previous) & free)
        # Near a stationary point of the sum of squares, where steps no longer shrink quadratically.
        near = edm <= 1e-4 * jnp.sum(jnp.square(rotated))
        linear = near & (edm > 0.01 * previous) & free
        done = accept & (((edm <= tol) & settled) | linear)
        exhausted = ~accept & (edm <= tol)
        stalled = (damping > 1.0 / eps**2) | (idle > PATIENCE)
        status = jnp.where(done | exhausted, Status.CONVERGED, jnp.where(stalled, Status.STALLED, RUNNING))
        status = jnp.where(first & ~finite, Status.NOT_FINITE, status)
        return LevenbergMarquardtState(
            z, value, factor, rotated, remainder, scale, direction, predicted, damping, growth, idle, edm, previous,
            state.num_steps + 1, status.astype(jnp.int32),
        )  # fmt: skip

    def params(self, problem: Problem, state: LevenbergMarquardtState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return FlatProblem(problem).unravel(state.z)

    def _propose(
        self,
        flat: FlatProblem,
        z: jax.Array,
        factor: jax.Array,
        rotated: jax.Array,
        remainder: jax.Array,
        scale: jax.Array,
        damping: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The next step, the decrease it promises, and the expected decrease without and with damping."""
        p = z.shape[0]
        target = jnp.concatenate([rotated, jnp.zeros_like(rotated)])

        def solve(damping: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            damped = jnp.sqrt(damping) * jnp.eye(p, dtype=z.dtype)
            rows = jnp.concatenate([factor / scale[None, :], damped])
            triangle = jnp.linalg.qr(jnp.concatenate([rows, target[:, None]], axis=1), mode="r")
            upper = triangle[:p, :p]
            rhs = triangle[:p, p] + jax.scipy.linalg.solve_triangular(upper, remainder / scale, trans=1)
            return -jax.scipy.linalg.solve_triangular(upper, rhs) / scale, 0.5 * rhs @ rhs, upper

        # Damping of the size of rounding error keeps a singular metric solvable.
        least = jnp.finfo(z.dtype).eps ** 2
        velocities, decreases, uppers = jax.lax.map(solve, jnp.stack([damping, jnp.full_like(damping, least)]))
        velocity = velocities[0]
        predicted = -((factor.T @ rotated + remainder) @ velocity + 0.5 * jnp.sum(jnp.square(factor @ velocity)))
        acceleration = -jax.scipy.linalg.cho_solve((uppers[0], False), flat.bend(z, velocity) / scale)
        bend = jnp.linalg.norm(acceleration)
        straight = bend <= LARGEST_BEND * jnp.linalg.norm(scale * velocity)
        direction = jnp.where(straight, velocity + 0.5 * acceleration / scale, velocity)
        return direction, jnp.where(straight, predicted, -1.0), decreases[1], decreases[0]

    def _agreement(
        self, state: LevenbergMarquardtState, value: jax.Array, grad: jax.Array, near: jax.Array
    ) -> jax.Array:
        """Decrease that was obtained over the decrease that the quadratic model predicts; negative to reject.

        Below the rounding error of the objective the trapezoidal rule on the gradient stands in for it; near the
        optimum the gradient decides alone.
        """
        noise = _noise(value) + _noise(state.value)
        before = state.factor.T @ state.rotated + state.remainder
        trapezoid = -0.5 * state.direction @ (before + grad)
        actual = jnp.where(state.predicted > noise, state.value - value, trapezoid)
        sane = (state.predicted > 0) & (near | (value - state.value <= noise))
        return jnp.where(sane, actual / jnp.where(state.predicted > 0, state.predicted, 1.0), -1.0)


def triangular(flat: FlatProblem, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Triangular factor of the rows of the root at ``z``, the residual in the same rotation, and the remainder."""
    rows, residual, remainder = flat.root(z)
    p = z.shape[0]
    joined = jnp.concatenate([rows, residual[:, None]], axis=1)
    missing = max(p + 1 - joined.shape[0], 0)
    upper = jnp.linalg.qr(jnp.pad(joined, ((0, missing), (0, 0))), mode="r")
    return upper[:p, :p], upper[:p, p], remainder


def _noise(value: jax.Array) -> jax.Array:
    """Rounding error of an objective of this size."""
    return 64.0 * jnp.finfo(value.dtype).eps * jnp.abs(value)
