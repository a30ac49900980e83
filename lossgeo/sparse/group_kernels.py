"""The parts of a fit on working sets of groups: where it stands, and the compiled kernels that the host calls.

They are compiled for a few sizes of the working set, in groups and in coefficients of the largest of these.
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
from lossgeo.solvers import RUNNING, GroupWorkingSet, Problem, Status
from lossgeo.solvers.group_quadratic import GroupFace, Groups
from lossgeo.solvers.group_working_set import GroupModel, ReducedGroups, descend_groups, group_model, replace_groups
from lossgeo.solvers.working_set import BUCKETS
from lossgeo.sparse.working_kernels import at_start, sparse_parts
from lossgeo.sparsity import SparseRows

__all__ = [
    "GroupSetup",
    "GroupState",
    "GroupWork",
    "by_groups",
    "descend",
    "exchange_groups",
    "excesses",
    "gap_of",
    "gather",
    "groups_of",
    "in_use_of",
    "look_at_all",
    "make_model",
    "padded_groups",
    "promise",
    "scatter",
    "scores",
    "start_groups",
]


NARROW = 16
"""Size of the largest group up to which all working sets are as wide as that."""


@pytree
class GroupSetup:
    """What does not change: predictor at the kinks, strengths, norms of the columns, members of the groups.

    Args:
        design: unless it is data.
        offset: predictor at the kinks, ravelled.
        strength: of the norms, shape ``(g,)``.
        own: of single coefficients, shape ``(d,)``.
        norm: of the columns, for each coefficient, shape ``(d,)``.
        members: coefficients of each group, ``d`` where it has no more, shape ``(g, m)``.
        leaves: which leaves of the parameters the coefficients are; static.
    """

    design: jax.Array | None
    offset: jax.Array
    strength: jax.Array
    own: jax.Array
    norm: jax.Array
    members: jax.Array
    leaves: tuple[int, ...] = static()


@dataclasses.dataclass(frozen=True)
class GroupWork:
    """A working set that may serve again: numbers of its groups (-1 for none), its columns, the model and last face."""

    index: np.ndarray
    members: np.ndarray
    columns: jax.Array
    model: GroupModel | None = None
    face: GroupFace | None = None
    joint: bool = True


@pytree
class GroupState:
    """Where the driver stands; ``x`` is relative to the kinks, ``gradient`` that of all but the penalties.

    ``edm`` is the decrease that is left on the face, or what the worst group on its kink promises where that is larger.
    ``gap`` is the duality gap with its rounding error, once it was looked at; ``trouble`` counts rounds without a
    prediction.
    """

    setup: GroupSetup
    x: jax.Array
    v: jax.Array
    eta: jax.Array
    gradient: jax.Array
    value: jax.Array
    edm: jax.Array
    num_steps: int | jax.Array
    status: int | jax.Array
    gap: Any = None
    trouble: int = 0
    work: Any = None


def start_groups(problem: Problem, solver: GroupWorkingSet) -> tuple[GroupState, tuple[jax.Array, jax.Array] | None]:
    """State at the start of a posed problem; pure.

    Returns:
        The state, and the design with a number that is finite only if all of it is, where the design is data.
    """
    rows = sparse_parts(problem, solver)
    design, is_data, x, v, offset, predictor = at_start(rows, problem)
    eta = offset + predictor
    loss, slopes = jax.value_and_grad(rows.loss)(eta, v)
    gradient, squares = _look_first(rows, slopes, design)
    members = _members(np.asarray(rows.block))
    strength = rows.strength[members[:, 0]]
    norm = jnp.repeat(jnp.sqrt(squares), rows.outputs)
    setup = GroupSetup(
        None if is_data else design,
        offset,
        strength,
        jnp.zeros_like(rows.strength),
        norm,
        jnp.asarray(members),
        rows.leaves,
    )
    value = loss + penalty(setup, x)
    status = jnp.where(jnp.isfinite(value), RUNNING, Status.NOT_FINITE)
    infinite = jnp.full_like(value, jnp.inf)
    state = GroupState(setup, x, v, eta, gradient, value, infinite, jnp.asarray(0), status)
    return state, (design, jnp.sum(squares)) if is_data else None


def _members(block: np.ndarray) -> np.ndarray:
    """Coefficients of each group, the number of all where it has no more, shape ``(g, m)``."""
    numbers = np.unique(block.ravel(), return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(numbers)
    members = np.full((len(sizes), sizes.max()), len(numbers), np.int32)
    members[np.arange(members.shape[1])[None, :] < sizes[:, None]] = np.argsort(numbers, kind="stable")
    return members


def _look_first(rows: SparseRows, slopes: jax.Array, design: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradient with respect to all coefficients, and squared norms of the columns."""
    if rows.outputs > 1:
        return rows.pull(slopes, design), jnp.einsum("ij,ij->j", design, design)
    return linalg.product_and_squares(slopes, design)


def penalty(setup: GroupSetup, x: jax.Array) -> jax.Array:
    """What the prior adds off the kinks, in nats."""
    each = jnp.concatenate([x, jnp.zeros(1, x.dtype)])[setup.members]
    return jnp.sum(setup.strength * jnp.linalg.norm(each, axis=1)) + jnp.sum(setup.own * jnp.abs(x))


def by_groups(state: GroupState, values: Any) -> np.ndarray:
    """Entries of each group, 0 for padding, shape ``(g, m)``."""
    return np.append(np.asarray(values), 0.0)[np.asarray(state.setup.members)]


def in_use_of(state: GroupState) -> np.ndarray:
    """Groups that are off their kink or have none."""
    free = (np.asarray(state.setup.strength) == 0) & np.all(by_groups(state, state.setup.own) == 0, axis=1)
    return np.any(by_groups(state, state.x) != 0, axis=1) | free


def scores(state: GroupState) -> np.ndarray:
    """How far each group on its kink is from being left there, relative to its norm; positive: it violates."""
    norm, excess = np.linalg.norm(by_groups(state, state.setup.norm), axis=1), excesses(state)
    return np.where(~in_use_of(state) & (norm > 0), excess / np.where(norm > 0, norm, 1.0), -np.inf)


def excesses(state: GroupState) -> np.ndarray:
    """Length of each group's slope beyond its kink, in nats per unit; not positive where it rests there."""
    setup = state.setup
    strength, own = np.asarray(setup.strength), by_groups(state, setup.own)
    slope = by_groups(state, state.gradient)
    size = np.linalg.norm(np.maximum(np.abs(slope) - own, 0.0), axis=1)
    # As for faces: beyond the kink by more than rounding error.
    rounding = 8.0 * np.finfo(slope.dtype).eps * (strength + np.linalg.norm(slope, axis=1))
    excess = size - strength
    return np.where(excess > rounding, excess, np.minimum(excess, 0.0))


def promise(score: np.ndarray, curvature: float = 1.0) -> float:
    """What the worst violation promises in nats; 0 for none."""
    return 0.5 * float(np.max(score, initial=0.0)) ** 2 / (curvature if curvature > 0 else 1.0)


def padded_groups(state: GroupState, groups: np.ndarray, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of groups, -1 for none, and their members, of a compiled size, that of ``least`` coefficients or more."""
    members = np.asarray(state.setup.members)
    total, largest = len(state.x), members.shape[1]
    sizes = np.sum(members[groups] < total, axis=1)
    even = members.size == total or largest <= NARROW
    width = largest if even else min(largest, 1 << (int(np.max(sizes, initial=1)) - 1).bit_length())
    wanted = max(len(groups), least // width)
    size = next((b for b in BUCKETS if wanted * width <= b // width * width), wanted * width)
    count = max(size // width, 1)
    index = np.full(count, -1, np.int32)
    index[: len(groups)] = groups
    table = np.full((count, width), total, np.int32)
    table[: len(groups)] = members[groups, :width]
    return index, table


def parts_of(posed: Posed, setup: GroupSetup, solver: GroupWorkingSet) -> tuple[SparseRows, jax.Array]:
    """The parts of the problem and its design."""
    rows = sparse_parts(as_problem(posed), solver)
    return rows, rows.design() if setup.design is None else setup.design


@functools.partial(jax.jit, static_argnames="solver")
def look_at_all(
    posed: Posed, setup: GroupSetup, x: jax.Array, v: jax.Array, eta: jax.Array, solver: GroupWorkingSet
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradient with respect to all coefficients, mean curvature of the rows, and the objective."""
    rows, design = parts_of(posed, setup, solver)
    smooth, push = jax.linearize(lambda eta: jax.value_and_grad(rows.loss)(eta, v), eta)
    (loss, slopes), (_, weights) = smooth, push(jnp.ones_like(eta))
    return rows.pull(slopes, design), jnp.mean(jnp.abs(weights)), loss + penalty(setup, x)


@quick_jit(static_argnames="solver")
def gap_of(
    posed: Posed,
    setup: GroupSetup,
    x: jax.Array,
    v: jax.Array,
    eta: jax.Array,
    gradient: jax.Array,
    solver: GroupWorkingSet,
) -> Gap:
    """The duality gap at a point whose gradient is known; no look at the columns."""
    rows, design = parts_of(posed, setup, solver)
    strength = jnp.zeros(x.shape[0] + 1, x.dtype).at[setup.members].set(setup.strength[:, None])[:-1]
    return gap_at(rows, strength, rows.ridge, x, v, eta, design=design, known=(gradient, setup.norm))


@functools.partial(jax.jit, static_argnames="solver")
def gather(posed: Posed, setup: GroupSetup, members: Any, solver: GroupWorkingSet) -> jax.Array:
    """Columns of a working set; padding is a zero column."""
    rows, design = parts_of(posed, setup, solver)
    columns = members.ravel() if rows.outputs == 1 else members[:, 0] // rows.outputs
    inside = columns < design.shape[1]
    return jnp.where(inside[None, :], jnp.take(design, jnp.where(inside, columns, 0), axis=1), 0.0)


@quick_jit(static_argnames=("solver", "size"))
def make_model(
    posed: Posed, columns: jax.Array, eta: jax.Array, v: jax.Array, joint: Any, size: int, solver: GroupWorkingSet
) -> GroupModel:
    """The model at a point; see :func:`lossgeo.solvers.group_working_set.group_model`."""
    return group_model(sparse_parts(as_problem(posed), solver).loss, columns, eta, v, size, joint)


@functools.partial(jax.jit, static_argnames="solver", donate_argnames=("columns", "model"))
def exchange_groups(
    posed: Posed,
    setup: GroupSetup,
    columns: jax.Array,
    model: GroupModel,
    slots: Any,
    members: Any,
    solver: GroupWorkingSet,
) -> tuple[jax.Array, GroupModel]:
    """Groups ``members`` into ``slots`` of a working set and of its model, whose memory is used again."""
    return replace_groups(model, columns, gather(posed, setup, members, solver), slots)


def groups_of(setup: GroupSetup, index: Any, members: Any) -> Groups:
    """Penalties of a working set; those of padding are 1."""
    real = (members < setup.own.shape[0]) & (index >= 0)[:, None]
    own = jnp.where(real, setup.own[jnp.where(real, members, 0)], 0.0)
    return Groups(jnp.where(index >= 0, setup.strength[jnp.maximum(index, 0)], 1.0), own, real)


@quick_jit(scalars=True, static_argnames="solver")
def descend(
    posed: Posed,
    setup: GroupSetup,
    index: Any,
    members: Any,
    columns: jax.Array,
    model: GroupModel,
    x: jax.Array,
    v: jax.Array,
    eta: jax.Array,
    tol: Any,
    max_steps: Any,
    changed: Any,
    bend: Any,
    joint: Any,
    solver: GroupWorkingSet,
) -> ReducedGroups:
    """Steps with one model from ``x`` of all coefficients; :func:`lossgeo.solvers.group_working_set.descend_groups`."""
    rows, groups = sparse_parts(as_problem(posed), solver), groups_of(setup, index, members)
    start = jnp.where(groups.real, x[jnp.where(groups.real, members, 0)], 0.0)
    tol = jnp.asarray(tol, x.dtype)
    return descend_groups(
        rows.loss, columns, setup.offset, groups, model, start, v, eta,
        tol=tol, max_steps=max_steps, changed=changed, bend=bend, joint=joint,
    )  # fmt: skip


@jax.jit
def scatter(x: jax.Array, members: Any, values: jax.Array) -> jax.Array:
    """``x`` that is ``values`` on a working set and on its kinks elsewhere."""
    return jnp.zeros_like(x).at[members].set(values, mode="drop")
