"""The damped Newton iteration, whatever way the curvature is held and the linear systems are solved."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo.solvers.kinks import Faces
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.status import RUNNING, Status

PREDICTED = 0.1
"""Relative error of a predicted decrease up to which curvature is kept."""


CLOSE = 100.0
"""Expected decrease, in units of the tolerance, from which on curvature stays what it is."""

CLOSER = 1e4
"""The same where that is below ``TINY``: curvature there has six or more digits of that at the optimum."""

TINY = 1e-7
"""Nats: half the square of a distance of 4e-4 standard errors, over which curvature hardly changes."""


class DampedState(NamedTuple):
    """State of a damped Newton iteration."""

    z: jax.Array
    value: jax.Array
    grad: jax.Array
    curvature: Any
    direction: jax.Array
    length: jax.Array
    damping: jax.Array
    singular: jax.Array
    stale: jax.Array
    edm: jax.Array
    previous_edm: jax.Array
    num_steps: jax.Array
    status: jax.Array


class Direction(NamedTuple):
    """A Newton direction."""

    step: jax.Array
    edm: jax.Array  # minus half the slope along the step
    singular: jax.Array  # the curvature is not positive definite, so that damping need not vanish


class Damped:
    r"""Newton's method with adaptive damping, on the face of the kinks.

    The direction solves :math:`(H + \mu D^{-2})\,s = -g` with an equilibrating scale :math:`D`, so that units of the
    parameters cancel. A step that does not decrease the objective as the quadratic model predicts is shortened three
    times; if that does not help, :math:`\mu` grows. It is 0 otherwise, and convergence quadratic.

    With kinks :math:`\lambda_j|u_j - c_j|`, coordinates on a kink that is optimal to stay on are held, the others
    move, and one that crosses is put on its kink exactly. As :math:`\mu` grows the step becomes a scaled
    proximal-gradient step. The same holds for blocks of coordinates with kinks :math:`\lambda_B\|u_B - c_B\|`; one
    that leaves its kink does so along a ray.

    Below the rounding error of the objective, progress is measured by the trapezoidal rule on the gradient, which
    does not cancel: the last digits of the parameters are as good as the gradient's.

    Ends when the expected decrease is below ``tol`` and no longer improves, so a fit is as good as the arithmetic.

    References: Nielsen (1999), IMM-REP-1999-05 (damping); Andrew and Gao (2007), ICML (orthant-wise steps).
    """

    max_damping = 1e12

    def reuses_curvature(self, flat: FlatProblem) -> bool:
        """Whether curvature is dear enough to keep it as long as the quadratic model predicts well; static."""
        return False

    ends_at_tol = False
    """Whether the tolerance ends the iteration, and not rounding error: where a step does not gain many digits."""

    def keeps(self, ratio: jax.Array) -> bool | jax.Array:
        """Whether what is kept may stay after a step of this agreement, where it has no part in what is solved."""
        return False

    def blank(self, flat: FlatProblem) -> Any:
        """Arrays of the shape of :meth:`curvature`."""
        raise NotImplementedError

    def curvature(self, flat: FlatProblem, z: jax.Array) -> Any:
        """What is kept of the Hessian at ``z``."""
        raise NotImplementedError

    def evaluate(self, flat: FlatProblem, z: jax.Array) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
        """The function and its gradient at ``z``, and a call that gives the curvature there."""
        value, grad = flat.value_and_grad(z)
        return value, grad, lambda: self.curvature(flat, z)

    def updated(self, curvature: jax.Array, step: jax.Array, change: jax.Array) -> jax.Array:
        """Curvature that is kept, corrected by the change of the gradient along a step."""
        return curvature

    def quadratic(self, flat: FlatProblem, state: DampedState, v: jax.Array) -> jax.Array:
        r""":math:`v^\top H v` at the point of the state, for ``v`` along its step."""
        raise NotImplementedError

    def direction(self, flat: FlatProblem, z: jax.Array, curvature: Any, faces: Faces, damping: jax.Array) -> Direction:
        """Solve for the step on the free coordinates."""
        raise NotImplementedError

    def init(
        self, problem: Problem, tol: jax.Array, curvature: jax.Array | None = None, estimated: bool = True
    ) -> DampedState:
        """See :class:`lossgeo.solvers.Solver`.

        The start is evaluated by the first pass of the loop, a step of length 0 that is number -1: the objective and
        its derivatives are compiled once. ``curvature``, where it is given and finite, stands for that at the start; it
        is the very curvature if not ``estimated``, which holds as long as the start proves to be the optimum.
        """
        flat = FlatProblem(problem)
        z = flat.z0
        zero = jnp.zeros((), z.dtype)
        infinity = zero + jnp.inf
        status = jnp.asarray(RUNNING, jnp.int32)
        nothing = jnp.zeros_like(z)
        return DampedState(
            z,
            infinity,
            nothing,
            jax.tree.map(lambda v: v * jnp.nan, self.blank(flat)) if curvature is None else curvature,
            nothing,
            zero + 1.0,
            zero,
            jnp.asarray(False),
            jnp.asarray(curvature is not None and estimated),
            infinity,
            infinity,
            jnp.asarray(-1),
            status,
        )

    def step(self, problem: Problem, state: DampedState, tol: jax.Array) -> DampedState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat = FlatProblem(problem)
        faces = flat.faces(state.z, state.grad)
        z = flat.project(state.z + state.length * state.direction, faces)
        value, grad, curvature_there = self.evaluate(flat, z)
        ratio = self._agreement(flat, state, faces, z, value, grad, state.edm <= tol)
        first = state.num_steps < 0
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
        accept = finite & (first | (ratio > 1e-4))

        # Rejected: first shorter along the same direction, which keeps the scaling of ill-conditioned problems; then
        # damped.
        shortest = state.length < 0.05
        length = jnp.where(accept | shortest, 1.0, 0.25 * state.length)
        # Without curvature in some direction damping alone bounds the step, and is given up slowly.
        fast = jnp.where(state.damping > 1e-4, 0.1 * state.damping, 0.0)
        shrunk = jnp.where(state.singular, jnp.where(ratio > 0.75, 0.5, 1.0) * state.damping, fast)
        raised = jnp.where(shortest, jnp.maximum(10.0 * state.damping, 1e-3), state.damping)
        damping = jnp.where(first, 0.0, jnp.where(accept, shrunk, raised))

        reuses, kept, close = self.reuses_curvature(flat), state.curvature, jnp.asarray(False)
        if reuses:
            # The next decrease to expect, if it shrinks as before: the curvature of the end is formed a step earlier.
            next_edm = state.edm * jnp.minimum(state.edm / state.previous_edm, 1.0)
            expected = jnp.where(state.stale & jnp.isfinite(state.previous_edm), next_edm, state.edm)
            close = expected <= jnp.maximum(CLOSE * tol, jnp.minimum(CLOSER * tol, TINY))
            corrected = self.updated(kept, z - state.z, grad - state.grad)
            kept = jnp.where(accept & ~first & ~close, corrected, kept)
        z, value, grad = (
            jnp.where(accept, new, old) for new, old in ((z, state.z), (value, state.value), (grad, state.grad))
        )
        # A step that came out as predicted shows that the curvature may stay; the last step has its own.
        keep = ~accept | (~first & self.keeps(ratio))
        if reuses:
            worth_keeping = jnp.where(close, ~state.stale, jnp.abs(ratio - 1.0) < PREDICTED)
            given = jnp.all(jnp.isfinite(kept))
            keep = jnp.where(accept, jnp.where(first, given, worth_keeping), ~state.stale)
        curvature = jax.lax.cond(keep, lambda: kept, lambda: self.curvature(flat, z) if reuses else curvature_there())
        stale = keep & ((accept & ~first & ~close) | state.stale) if reuses else jnp.asarray(False)
        found = self.direction(flat, z, curvature, flat.faces(z, grad), damping)

        previous = jnp.where(accept & ~first, state.edm, state.previous_edm)
        undamped = (damping == 0) | found.singular
        settled = (
            self.ends_at_tol
            | (found.edm <= jnp.finfo(z.dtype).eps ** (1.25 if reuses else 1.75))
            | (found.edm > 0.5 * previous)
        )
        converged = accept & undamped & (found.edm <= tol) & settled & ~stale
        # A rejected step at a point that meets the tolerance is rounding error: there is nothing left to gain.
        exhausted = ~accept & keep & (state.edm <= tol) & ((state.damping == 0) | found.singular)
        stalled = damping > self.max_damping
        status = jnp.where(converged | exhausted, Status.CONVERGED, jnp.where(stalled, Status.STALLED, RUNNING))
        status = jnp.where(first & ~finite, Status.NOT_FINITE, status)
        return DampedState(
            z,
            value,
            grad,
            curvature,
            found.step,
            length,
            damping,
            found.singular,
            stale,
            found.edm,
            previous,
            state.num_steps + 1,
            status.astype(jnp.int32),
        )

    def params(self, problem: Problem, state: DampedState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return FlatProblem(problem).unravel(state.z)

    def _agreement(
        self,
        flat: FlatProblem,
        state: DampedState,
        faces: Faces,
        z: jax.Array,
        value: jax.Array,
        grad: jax.Array,
        near: jax.Array,
    ) -> jax.Array:
        """Decrease that was obtained over the decrease that the quadratic model predicts; negative to reject.

        Near the optimum the gradient decides alone: residuals may round worse than the objective they add up to.
        """
        delta = z - state.z
        predicted = -(faces.gradient @ delta + 0.5 * self.quadratic(flat, state, delta))
        noise = 64.0 * jnp.finfo(z.dtype).eps * (jnp.abs(value) + jnp.abs(state.value))
        trapezoid = -0.5 * delta @ (faces.gradient + flat.one_sided_gradient(z, grad, faces))
        actual = jnp.where(predicted > noise, state.value - value, trapezoid)
        sane = (predicted > 0) & (near | (value - state.value <= noise))
        return jnp.where(sane, actual / jnp.where(predicted > 0, predicted, 1.0), -1.0)
