"""The parts of a fit on working sets: where it stands, and the compiled kernels that the host calls.

They are compiled for a few sizes of the working set. A pass over all columns reads the design once, row by row.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo._pytree import pytree, static
from lossgeo.duality import Gap, gap_at
from lossgeo.posing import Posed, as_problem
from lossgeo.solvers import RUNNING, GroupWorkingSet, Problem, Status, WorkingSet
from lossgeo.solvers.reduced_model import Model, reduced_model, replace_columns
from lossgeo.solvers.working_set import Reduced, bucket, descend_reduced
from lossgeo.sparsity import SparseRows, sparse_rows

__all__ = [
    "Setup",
    "Work",
    "WorkingState",
    "at_start",
    "descend",
    "design_of",
    "exchange_columns",
    "gap_of",
    "gather",
    "in_use_of",
    "look_at_all",
    "make_model",
    "padded",
    "promise",
    "scatter",
    "scores",
    "sparse_parts",
    "start_working_set",
]


@pytree
class Setup:
    """What does not change: predictor at the kinks, strengths of these and curvatures of the penalties beside them.

    Also the norms of the columns, the leaves whose they are, and the design unless it is data.

    A design that is one of the data arrays itself is read from there: returning it here would copy it.
    """

    design: jax.Array | None
    offset: jax.Array
    strength: jax.Array
    ridge: jax.Array
    norm: jax.Array
    leaves: tuple[int, ...] = static()


@dataclasses.dataclass(frozen=True)
class Work:
    """A working set that may serve again: its columns, and the model of the function there."""

    index: np.ndarray
    mask: np.ndarray
    columns: jax.Array
    model: Model | None = None
    joint: bool = True
    precise: bool = False


@pytree
class WorkingState:
    """Where the driver stands; ``x`` is relative to the kinks.

    ``gradient`` is that of all but the kinks with respect to all columns, ``gain`` what the worst column on its kink
    promises in nats, 0 for none, and ``edm`` is the decrease that was predicted last, or that promise where it is
    larger. ``level`` multiplies the strengths: at first more than they are, in the end 1; 0 before the first
    round; it goes down by ``factor``. ``gap`` is the duality gap with its rounding error, once it was looked at.
    """

    setup: Setup
    x: jax.Array
    v: jax.Array
    eta: jax.Array
    gradient: jax.Array
    gain: jax.Array
    value: jax.Array
    edm: jax.Array
    num_steps: int | jax.Array
    status: int | jax.Array
    gap: Any = None
    level: float = 0.0
    factor: float = 1.0
    work: Any = None


def at_start(rows: SparseRows, problem: Problem) -> tuple[jax.Array, bool, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The design and whether it is data, coordinates, and what the kinks and the coordinates add to the predictor."""
    design = rows.design()
    is_data = any(design is leaf for leaf in jax.tree.leaves(problem.args))
    x, v = rows.split(problem.init)
    offset, predictor = (
        jax.lax.cond(
            jnp.any(b != 0),
            lambda b: rows.predict(b, design),
            lambda b: jnp.zeros(design.shape[0] * rows.outputs, b.dtype),
            b,
        )
        for b in (rows.center, x)
    )
    return design, is_data, x, v, offset, predictor


def start_working_set(problem: Problem, solver: WorkingSet) -> tuple[WorkingState, tuple[jax.Array, jax.Array] | None]:
    """State at the start of a posed problem; pure.

    Returns:
        The state, and the design with a number that is finite only if all of it is, where the design is data.
    """
    rows = sparse_parts(problem, solver)
    design, is_data, x, v, offset, predictor = at_start(rows, problem)
    eta = offset + predictor
    slopes = jax.grad(rows.loss)(eta, v)
    gradient, squares = linalg.product_and_squares(slopes, design)
    setup = Setup(None if is_data else design, offset, rows.strength, rows.ridge, jnp.sqrt(squares), rows.leaves)
    value = rows.loss(eta, v) + penalty(setup, x)
    status = jnp.where(jnp.isfinite(value), RUNNING, Status.NOT_FINITE)
    infinite = jnp.full_like(value, jnp.inf)
    state = WorkingState(setup, x, v, eta, gradient + rows.ridge * x, infinite, value, infinite, jnp.asarray(0), status)
    return state, (design, jnp.sum(squares)) if is_data else None


def penalty(setup: Setup, x: jax.Array) -> jax.Array:
    """What the prior adds off the kinks, in nats."""
    return jnp.sum(setup.strength * jnp.abs(x)) + 0.5 * jnp.sum(setup.ridge * jnp.square(x))


def in_use_of(state: WorkingState) -> np.ndarray:
    """Columns that are off their kink or have none."""
    return (np.asarray(state.x) != 0) | (np.asarray(state.setup.strength) == 0)


def scores(state: WorkingState, level: float) -> np.ndarray:
    """How far each column on its kink is from being left there, relative to its norm; positive: it violates."""
    setup = state.setup
    strength, norm = np.asarray(setup.strength), np.asarray(setup.norm)
    strength = np.where(strength > 0, level * np.where(strength > 0, strength, 1.0), 0.0).astype(strength.dtype)
    slope = np.abs(np.asarray(state.gradient))
    excess = slope - strength
    # As for faces: beyond the kink by more than rounding error.
    rounding = 8.0 * np.finfo(slope.dtype).eps * (strength + slope)
    excess = np.where(excess > rounding, excess, np.minimum(excess, 0.0))
    at_kink = (np.asarray(state.x) == 0) & (strength > 0) & (norm > 0)
    return np.where(at_kink, excess / np.where(norm > 0, norm, 1.0), -np.inf)


def promise(state: WorkingState, score: np.ndarray, curvature: float = 1.0) -> float:
    """What the worst violation promises in nats; 0 for none."""
    worst = float(np.max(score, initial=0.0))
    return 0.5 * worst**2 / (curvature if curvature > 0 else 1.0)


def padded(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and a mask of a compiled size."""
    size = bucket(max(len(columns), 1))
    index = np.zeros(size, np.int32)
    index[: len(columns)] = columns
    return index, np.arange(size) < len(columns)


def sparse_parts(problem: Problem, solver: WorkingSet | GroupWorkingSet) -> SparseRows:
    """The parts of a problem that the planner found to be made for working sets."""
    rows = sparse_rows(problem, solver.max_other, grouped=isinstance(solver, GroupWorkingSet))
    assert rows is not None  # the planner asked before
    return rows


def design_of(rows: SparseRows, setup: Setup) -> jax.Array:
    """The design: what the setup keeps, or the data array itself."""
    return rows.design() if setup.design is None else setup.design


@functools.partial(jax.jit, static_argnames="solver")
def look_at_all(
    posed: Posed, setup: Setup, x: jax.Array, v: jax.Array, eta: jax.Array, solver: WorkingSet
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradient with respect to all columns, mean curvature of the rows, and the objective."""
    rows = sparse_parts(as_problem(posed), solver)
    smooth, push = jax.linearize(lambda eta: jax.value_and_grad(rows.loss)(eta, v), eta)
    (loss, slopes), (_, weights) = smooth, push(jnp.ones_like(eta))
    gradient = slopes @ design_of(rows, setup) + setup.ridge * x
    return gradient, jnp.mean(jnp.abs(weights)), loss + penalty(setup, x)


@quick_jit(static_argnames="solver")
def gap_of(
    posed: Posed, setup: Setup, x: jax.Array, v: jax.Array, eta: jax.Array, gradient: jax.Array, solver: WorkingSet
) -> Gap:
    """The duality gap at a point whose gradient is known; no look at columns that have a penalty."""
    rows, known = sparse_parts(as_problem(posed), solver), (gradient - setup.ridge * x, setup.norm)
    return gap_at(rows, setup.strength, setup.ridge, x, v, eta, design=design_of(rows, setup), known=known)


@quick_jit(static_argnames=("solver", "low"))
def make_model(
    posed: Posed,
    columns: jax.Array,
    eta: jax.Array,
    v: jax.Array,
    joint: Any,
    solver: WorkingSet,
    low: bool,
    ridge: Any = None,
) -> Model:
    """The model at a point; see :func:`lossgeo.solvers.reduced_model.reduced_model`. ``low``: in single precision."""
    rows = sparse_parts(as_problem(posed), solver)
    return reduced_model(rows.loss, columns, eta, v, joint, jnp.dtype(jnp.float32) if low else columns.dtype, ridge)


@quick_jit(scalars=True, static_argnames="solver")
def descend(
    posed: Posed,
    offset: jax.Array,
    columns: jax.Array,
    strength: Any,
    model: Model,
    x: jax.Array,
    v: jax.Array,
    eta: jax.Array,
    gradient: jax.Array,
    tol: Any,
    enough: Any,
    max_steps: Any,
    bend: Any,
    joint: Any,
    solver: WorkingSet,
) -> Reduced:
    """Steps with one model; see :func:`lossgeo.solvers.working_set.descend_reduced`."""
    rows = sparse_parts(as_problem(posed), solver)
    sweeps = jnp.where(bend, 6, 12)
    tol, enough, strength = (jnp.asarray(value, x.dtype) for value in (tol, enough, strength))
    return descend_reduced(
        rows.loss, columns, offset, strength, model, x, v,
        tol=tol, enough=enough, max_steps=max_steps, bend=bend, sweeps=sweeps, joint=joint,
        known=(eta, gradient),
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames="solver")
def gather(posed: Posed, setup: Setup, index: Any, mask: Any, solver: WorkingSet) -> jax.Array:
    """Columns of a working set; padding is a zero column."""
    return jnp.where(
        mask[None, :], jnp.take(design_of(sparse_parts(as_problem(posed), solver), setup), index, axis=1), 0.0
    )


@functools.partial(jax.jit, static_argnames="solver", donate_argnames=("columns", "model"))
def exchange_columns(
    posed: Posed, setup: Setup, columns: jax.Array, model: Model | None, slots: Any, index: Any, solver: WorkingSet
) -> tuple[jax.Array, Model | None]:
    """Columns ``index`` of the design into ``slots`` of a working set and of its model, whose memory is used again."""
    new = jnp.take(design_of(sparse_parts(as_problem(posed), solver), setup), index, axis=1)
    columns = columns.at[:, slots].set(new, mode="drop")
    return columns, None if model is None else replace_columns(model, new, setup.ridge[index], slots)


@jax.jit
def scatter(x: jax.Array, index: Any, mask: Any, values: jax.Array) -> jax.Array:
    """``x`` that is ``values`` on a working set and on its kinks elsewhere."""
    return jnp.zeros_like(x).at[jnp.where(mask, index, x.shape[0])].set(values, mode="drop")
