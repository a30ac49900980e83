"""The host driver of working sets: a pass over all columns, a choice of some, a compiled solver on these, and again.

The kernels are compiled for a few sizes of the working set; the end is judged on the face of the kinks that was found
by the same certificate and verdict as any other fit.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._pytree import pytree
from lossgeo.planning import Plan
from lossgeo.posing import Posed, as_problem
from lossgeo.solvers import DENSE_LIMIT, RUNNING, Certificate, Problem, Status, WorkingSet, certify
from lossgeo.solvers.working_set import BUCKETS, bucket, choose_columns, minimize_reduced
from lossgeo.solving import Solution, conclude
from lossgeo.sparsity import SparseRows, sparse_rows
from lossgeo.verdict import verdict

__all__ = ["HandOver", "WorkingState", "conclude_working_set", "start_working_set", "step_working_set"]


PATIENCE = 6
"""Rounds without one whole Newton step on the joint model after which another solver takes over."""


GROW = 128
"""Violating columns that a round may always add; with more in use, as many again."""


class HandOver(Exception):
    """Working sets do not get on: too many columns are in use, or the objective is far from convex (unbounded)."""


@pytree
class Setup:
    """What does not change: predictor at the kinks, strengths, norms of the columns, and the design unless it is data.

    A design that is one of the data arrays itself is read from there: returning it here would copy it.
    """

    design: jax.Array | None
    offset: jax.Array
    strength: jax.Array
    norm: jax.Array


@pytree
class WorkingState:
    """Where the driver stands; ``x`` is relative to the kinks.

    ``score`` tells how far each column on its kink is from being left there (positive: it violates optimality),
    ``gain`` what the worst violation promises in nats, 0 for none, and ``edm`` is the decrease that was predicted last,
    or that promise where it is larger.
    """

    setup: Setup
    x: jax.Array
    v: jax.Array
    eta: jax.Array
    score: jax.Array
    gain: jax.Array
    value: jax.Array
    edm: jax.Array
    num_steps: int | jax.Array
    status: int | jax.Array


def start_working_set(problem: Problem, solver: WorkingSet) -> WorkingState:
    """State at the start of a posed problem; pure."""
    rows = _rows(problem, solver)
    design = rows.design()
    # Row by row: a reduction over the rows of a matrix in row-major order is ten times slower.
    squares = jax.lax.fori_loop(0, design.shape[0], lambda i, s: s + jnp.square(design[i]), jnp.zeros_like(design[0]))
    is_data = any(design is leaf for leaf in jax.tree.leaves(problem.args))
    x, v = rows.split(problem.init)
    offset = design @ rows.center
    eta = offset + design @ x
    setup = Setup(None if is_data else design, offset, rows.strength, jnp.sqrt(squares))
    score, gain, value = _pass(rows, setup, x, v, eta)
    status = jnp.where(jnp.isfinite(value), RUNNING, Status.NOT_FINITE)
    return WorkingState(setup, x, v, eta, score, gain, value, jnp.full_like(value, jnp.inf), jnp.asarray(0), status)


def step_working_set(posed: Posed, state: WorkingState, tol: float, solver: WorkingSet) -> WorkingState:
    """One round: choose columns, solve on them, look at all columns again; driven by the host.

    Raises:
        HandOver: more columns are in use than the largest working set holds, or ``PATIENCE`` has run out.
    """
    if int(state.num_steps) >= PATIENCE and np.isinf(float(state.edm)):
        raise HandOver
    setup, before = state.setup, np.asarray(state.score)
    in_use = _in_use(state)
    columns = choose_columns(in_use, before, grow=max(int(in_use.sum()), GROW))
    if len(columns) > BUCKETS[-1]:
        raise HandOver
    inner = max(tol, 0.05 * float(state.gain))
    if int(state.num_steps) == 0 and float(state.gain) > 0:  # there is nothing yet to be exact about
        inner = max(tol, 1e-4 * abs(float(state.value)))
    index, mask = _padded(columns)
    x, v, eta, decrease, stuck = _reduce(posed, setup, index, mask, state.x, state.v, inner, solver)
    score, gain, value = _look(posed, setup, x, v, eta, solver)
    edm = max(float(decrease), float(gain))
    status = RUNNING
    if not np.isfinite(float(value)):
        status = Status.NOT_FINITE
    elif float(gain) == 0.0 and float(decrease) <= tol:
        status = Status.CONVERGED
    elif bool(stuck) and float(gain) == 0.0:
        status = Status.STALLED
    elif bool(stuck) and float(value) >= float(state.value):
        status = Status.STALLED
    return WorkingState(
        setup, x, v, eta, score, gain, value, jnp.asarray(edm), int(state.num_steps) + 1, jnp.asarray(status)
    )


def conclude_working_set(posed: Posed, state: WorkingState, tol: float, status: int, plan: Plan) -> Solution:
    """Certify the point that was reached and turn the end of the rounds into a status.

    With many coefficients this is done on the face that was found, by its Hessian; the others are known to be at their
    kinks. Violations of more columns than a working set holds make the expected decrease infinite.
    """
    if state.x.size + state.v.size <= DENSE_LIMIT:
        solution = _judge_all(posed, state.x, state.v, tol, status, state.num_steps, plan.solver)
        return dataclasses.replace(solution, plan=plan)
    in_use, score = _in_use(state), np.asarray(state.score)
    columns = np.flatnonzero(in_use | (score > 0))
    missing = len(columns) > BUCKETS[-1]
    columns = columns[: BUCKETS[-1]]
    index, mask = _padded(columns)
    solution = _judge(
        posed,
        state.setup,
        index,
        mask,
        state.x,
        state.v,
        state.score,
        tol,
        status,
        state.num_steps,
        missing,
        plan.solver,
    )
    return dataclasses.replace(solution, plan=plan)


def _in_use(state: WorkingState) -> np.ndarray:
    """Columns that are off their kink or have none."""
    return (np.asarray(state.x) != 0) | (np.asarray(state.setup.strength) == 0)


def _padded(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and a mask of a compiled size."""
    size = bucket(max(len(columns), 1))
    index = np.zeros(size, np.int32)
    index[: len(columns)] = columns
    return index, np.arange(size) < len(columns)


def _rows(problem: Problem, solver: WorkingSet) -> SparseRows:
    rows = sparse_rows(problem, solver.max_other)
    assert rows is not None  # the planner asked before
    return rows


def _design(rows: SparseRows, setup: Setup) -> jax.Array:
    return rows.design() if setup.design is None else setup.design


def _pass(
    rows: SparseRows, setup: Setup, x: jax.Array, v: jax.Array, eta: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Score of each column on its kink, gain of the worst in nats, and the objective."""
    smooth, push = jax.linearize(lambda eta: jax.value_and_grad(rows.loss)(eta, v), eta)
    (loss, slopes), (_, weights) = smooth, push(jnp.ones_like(eta))
    gradient = slopes @ _design(rows, setup)
    # As for faces: beyond the kink by more than rounding error.
    excess = jnp.abs(gradient) - setup.strength
    rounding = 8.0 * jnp.finfo(x.dtype).eps * (setup.strength + jnp.abs(gradient))
    at_kink = (x == 0) & (setup.strength > 0) & (setup.norm > 0)
    excess = jnp.where(excess > rounding, excess, jnp.minimum(excess, 0.0))
    score = jnp.where(at_kink, excess / jnp.where(setup.norm > 0, setup.norm, 1.0), -jnp.inf)
    curvature = jnp.mean(jnp.abs(weights))
    gain = 0.5 * jnp.square(jnp.maximum(jnp.max(score), 0.0)) / jnp.where(curvature > 0, curvature, 1.0)
    return score, gain, loss + jnp.sum(setup.strength * jnp.abs(x))


@functools.partial(jax.jit, static_argnames="solver")
def _look(posed: Posed, setup: Setup, x: jax.Array, v: jax.Array, eta: jax.Array, solver: WorkingSet) -> Any:
    return _pass(_rows(as_problem(posed), solver), setup, x, v, eta)


@functools.partial(jax.jit, static_argnames="solver")
def _reduce(
    posed: Posed,
    setup: Setup,
    index: jax.Array,
    mask: jax.Array,
    x: jax.Array,
    v: jax.Array,
    tol: Any,
    solver: WorkingSet,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Solve on the columns ``index`` where ``mask``; all others stay on their kinks."""
    rows = _rows(as_problem(posed), solver)
    columns, strength, start = _gather(rows, setup, index, mask, x)
    tol = jnp.asarray(tol, x.dtype)
    found = minimize_reduced(rows.loss, columns, setup.offset, strength, start, v, tol, solver.max_newton)
    scattered = jnp.zeros_like(x).at[jnp.where(mask, index, x.shape[0])].set(found.x, mode="drop")
    return scattered, found.v, setup.offset + columns @ found.x, found.decrease, found.stuck


def _gather(
    rows: SparseRows, setup: Setup, index: jax.Array, mask: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Columns, strengths and coefficients of a working set; padding is a zero column held on a kink."""
    columns = jnp.where(mask[None, :], jnp.take(_design(rows, setup), index, axis=1), 0.0)
    return columns, jnp.where(mask, setup.strength[index], 1.0), jnp.where(mask, x[index], 0.0)


@pytree
class FaceArgs:
    """What the function on a face depends on."""

    posed: Posed
    columns: jax.Array
    offset: jax.Array
    strength: jax.Array
    solver: WorkingSet = dataclasses.field(metadata={"static": True})


def _face_value(u: Any, args: FaceArgs) -> jax.Array:
    """The objective as a function of ``(v, x)`` on a working set."""
    v, x = u
    rows = _rows(as_problem(args.posed), args.solver)
    return rows.loss(args.offset + args.columns @ x, v) + jnp.sum(args.strength * x * jnp.sign(x))


def _face_kinks(u: Any, args: FaceArgs) -> tuple[Any, Any]:
    v, x = u
    return (jnp.zeros_like(v), jnp.zeros_like(x)), (jnp.zeros_like(v), args.strength)


@functools.partial(jax.jit, static_argnames="solver")
def _judge(
    posed: Posed,
    setup: Setup,
    index: jax.Array,
    mask: jax.Array,
    x: jax.Array,
    v: jax.Array,
    score: jax.Array,
    tol: Any,
    status: Any,
    num_steps: Any,
    missing: Any,
    solver: WorkingSet,
) -> Solution:
    problem = as_problem(posed)
    rows = _rows(problem, solver)
    columns, strength, face = _gather(rows, setup, index, mask, x)
    x_start, v_start = rows.split(problem.init)
    args = FaceArgs(posed, columns, setup.offset, strength, solver)
    start = (v_start, jnp.where(mask, x_start[index], 0.0))
    value, c = certify(Problem(_face_value, _face_kinks, args, (v, face)), None, start)
    u = rows.join(x, v)
    certificate = _on_all_coordinates(c, rows.places, index, mask, missing)
    residual = jnp.maximum(
        certificate.kkt_residual, jnp.max(jnp.where(score > 0, score * setup.norm, 0.0), initial=0.0)
    )
    certificate = dataclasses.replace(certificate, kkt_residual=residual)
    status, direction = verdict(posed, u, certificate, jnp.asarray(tol, value.dtype), jnp.asarray(status))
    return Solution(posed.to_params(u), value, status, jnp.asarray(num_steps), certificate, direction)


def _on_all_coordinates(
    face: Certificate, places: tuple[np.ndarray, np.ndarray], index: jax.Array, mask: jax.Array, missing: Any
) -> Certificate:
    """The certificate of a face spread over all coordinates."""
    of_v, of_x = places
    total = len(of_v) + len(of_x)
    target = jnp.concatenate(
        [jnp.asarray(of_v, jnp.int32), jnp.where(mask, jnp.asarray(of_x, jnp.int32)[index], total)]
    )

    def spread(values: jax.Array, fill: Any) -> jax.Array:
        return jnp.full(total, fill, values.dtype).at[target].set(values, mode="drop")

    return dataclasses.replace(
        face,
        edm=jnp.where(missing, jnp.inf, face.edm),
        rise=spread(face.rise, jnp.inf),
        direction=spread(face.direction, 0.0),
        step=spread(face.step, 0.0),
        null_weight=spread(face.null_weight, 0.0),
        free=spread(face.free, False),
        hessian=None,
    )


@functools.partial(jax.jit, static_argnames="solver")
def _judge_all(
    posed: Posed, x: jax.Array, v: jax.Array, tol: Any, status: Any, num_steps: Any, solver: WorkingSet
) -> Solution:
    problem = as_problem(posed)
    u = _rows(problem, solver).join(x, v)
    return conclude(problem, u, jnp.asarray(tol, x.dtype), jnp.asarray(status), num_steps)
