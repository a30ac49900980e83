"""The host driver of long fits: pieces of the compiled loop, with progress, a callback, and Ctrl-C in between."""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from lossgeo._compilation import quick_jit
from lossgeo._pytree import pytree, static
from lossgeo.moments import Moments
from lossgeo.objective import Objective
from lossgeo.planning import Plan, plan_for
from lossgeo.posing import Posed, as_problem, pose
from lossgeo.solvers import RUNNING, GroupWorkingSet, ProximalGradient, Status, WorkingSet
from lossgeo.solving import Begun, Solution, advance, begin, finish
from lossgeo.sparse.group_faces import conclude_groups
from lossgeo.sparse.group_kernels import start_groups
from lossgeo.sparse.group_sets import step_groups
from lossgeo.sparse.quadratic_fits import fit_quadratic
from lossgeo.sparse.working_faces import conclude_working_set
from lossgeo.sparse.working_kernels import start_working_set
from lossgeo.sparse.working_sets import HandOver, step_working_set
from lossgeo.validation import Checks, check_values, raise_for

__all__ = ["Started", "drive", "start_fit"]

PIECE_SECONDS = 0.3
"""Pieces grow until one takes about this long: often enough to see and to stop, rarely enough to cost nothing."""


@pytree
class Started:
    """A fit about to run."""

    state: Any
    checks: Checks
    moments: Moments | None
    plan: Plan = static()


def drive(
    objective: Objective,
    params: Any,
    data: tuple[Any, ...],
    weights: Any,
    tol: float,
    max_steps: int | None,
    solver: Any,
    callback: Callable[[int, float, float], None] | None,
    callback_every: int,
    progress: bool,
) -> tuple[Posed, Solution]:
    """Run the same compiled steps as the pure core, a piece at a time.

    A ``KeyboardInterrupt``, from the keyboard or raised by the callback, ends the fit with what was reached.

    Raises:
        ValueError: the values of the input are faulty; before any iteration.
    """
    posed = pose(objective, params, data, weights)
    interrupted = False
    if max_steps is None and callback is None and not progress:
        try:
            solution = fit_quadratic(posed, tol, solver)
        except KeyboardInterrupt:
            solution, interrupted = None, True
        if solution is not None:
            return posed, solution
    started = start_fit(posed, tol, solver)
    state, plan = started.state, started.plan
    if not bool(started.checks.passed):
        raise_for(started.checks, posed)
    if isinstance(plan.solver, WorkingSet | GroupWorkingSet):
        if interrupted:
            conclude: Any = conclude_groups if isinstance(plan.solver, GroupWorkingSet) else conclude_working_set
            return posed, conclude(posed, state, tol, Status.INTERRUPTED, plan)
        try:
            return posed, _drive_working_set(posed, state, plan, tol, max_steps, callback, callback_every, progress)
        except HandOver:
            started = start_fit(posed, tol, ProximalGradient())
            state, plan = started.state, started.plan
    budget = plan.solver.max_steps if max_steps is None else max_steps
    piece, done = callback_every, 0
    try:
        while not interrupted and done < budget and int(state.status) == RUNNING:
            begun = time.perf_counter()
            state = jax.block_until_ready(_advance(posed, state, tol, min(done + piece, budget), plan))
            done = int(state.num_steps)
            if callback is not None:
                callback(done, float(state.value), float(state.edm))
            elif time.perf_counter() - begun < PIECE_SECONDS:
                piece *= 2
            if progress:
                _show(plan, done, budget, state)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if progress:
            sys.stderr.write("\n")
    return posed, _finish(posed, state, tol, interrupted, started.moments, plan)


def _drive_working_set(
    posed: Posed,
    state: Any,
    plan: Plan,
    tol: float,
    max_steps: int | None,
    callback: Callable[[int, float, float], None] | None,
    callback_every: int,
    progress: bool,
) -> Solution:
    """The same contract for rounds that the host drives."""
    grouped = isinstance(plan.solver, GroupWorkingSet)
    advance_round: Any = step_groups if grouped else step_working_set
    conclude: Any = conclude_groups if grouped else conclude_working_set
    budget = plan.solver.max_steps if max_steps is None else max_steps
    status, told = int(state.status), 0
    try:
        while status == RUNNING and int(state.num_steps) < budget:
            state = advance_round(posed, state, tol, plan.solver)
            status, done = int(state.status), int(state.num_steps)
            if callback is not None and (done - told >= callback_every or status != RUNNING or done == budget):
                callback(done, float(state.value), float(state.edm))
                told = done
            if progress:
                _show(plan, done, budget, state)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    finally:
        if progress:
            sys.stderr.write("\n")
    return conclude(posed, state, tol, Status.MAX_STEPS if status == RUNNING else status, plan)


def _show(plan: Plan, done: int, budget: int, state: Any) -> None:
    sys.stderr.write(
        f"\r{plan.solver.name}: step {done}/{budget}, objective {float(state.value):.8g} nats, EDM "
        f"{float(state.edm):.1e} nats   "
    )
    sys.stderr.flush()


@quick_jit(small=True, static_argnames="solver")
def start_fit(posed: Posed, tol: Any, solver: Any) -> Started:
    """State and plan of a fit at its start, and the faults of its input."""
    problem = as_problem(posed)
    plan = plan_for(problem, solver, host=True)
    if isinstance(plan.solver, WorkingSet | GroupWorkingSet):
        start: Any = start_groups if isinstance(plan.solver, GroupWorkingSet) else start_working_set
        state, seen = start(problem, plan.solver)
        begun = Begun(state, None, seen)
    else:
        begun = begin(problem, plan, tol)
    return Started(begun.state, check_values(posed, seen=begun.read), begun.moments, plan)


@quick_jit(small=True, coordinates=lambda posed, *rest, **options: posed.template, static_argnames="plan")
def _advance(posed: Posed, state: Any, tol: Any, until: Any, plan: Plan) -> Any:
    return advance(as_problem(posed), plan, state, tol, until)


@quick_jit(small=True, static_argnames="plan")
def _finish(posed: Posed, state: Any, tol: Any, interrupted: Any, moments: Moments | None, plan: Plan) -> Solution:
    return finish(as_problem(posed), plan, state, tol, interrupted, moments)
