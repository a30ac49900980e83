r"""Many fits at once: data sets, resampling weights, starts or hyper-parameters along an axis.

What is fast depends on what the fits share and on the machine:

==================  ====================================================================  =============================
the fits            on a CPU                                                              on an accelerator
==================  ====================================================================  =============================
smooth, of          Newton's method with full steps, one fit after another: the data of   all side by side
moderate size,      each stay in the cache, and Hessians of few columns are products
own designs         with the pairs of columns
smooth, of          the same for blocks of fits side by side: linear predictors,          all side by side
moderate size,      gradients and Hessians of a block are matrix products with one
one design          design
all others          the solver that ``lg.solve`` would choose, one fit after another      all side by side
==================  ====================================================================  =============================

``vmap`` of a safeguarded solver runs every branch of every safeguard for all fits until the slowest has ended. Here the
fits first take full Newton steps, which have no branches, with a brief certificate; those few that do not converge so
are solved again by the solver of ``lg.solve``, one after another, with all its safeguards and the full certificate.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo._compilation import quick_jit
from lossgeo._pytree import path_name, pytree, static
from lossgeo.objective import Objective
from lossgeo.planning import Plan, plan_for
from lossgeo.posing import Posed, as_problem, objective_value, pose
from lossgeo.solvers import DENSE_LIMIT, FlatProblem, FullSteps, Newton, Problem, Status, certify_briefly, full_steps
from lossgeo.solving import Solution, default_tol, implicit, minimize
from lossgeo.structure import RowDerivatives
from lossgeo.verdict import verdict

__all__ = ["solve_many"]

BLOCK_BYTES = 1 << 18
"""Size of the linear predictors of a block of fits: they stay in the cache of a core."""

OWN_PAIRS_BYTES = 1 << 20
"""Size of the products of pairs of columns up to which a fit by itself is faster with them."""

SHARED_PAIRS_BYTES = 1 << 28
"""The same for a block of fits that share them."""

SHARED = "shared"
"""Marks an argument that is not mapped, since ``None`` is no leaf of a tree."""

PROBED_ROWS = 500_000
"""Terms that may be evaluated to probe coordinates one by one, by all fits together."""


@pytree
class Lanes:
    """The arguments of many fits: leaves that differ, along their first axis, and leaves that are shared."""

    mapped: list[jax.Array]
    shared: list[Any]
    tree: Any = static()
    which: tuple[bool, ...] = static()

    @property
    def size(self) -> int:
        """Number of fits."""
        return self.mapped[0].shape[0]

    @property
    def one_design(self) -> bool:
        """Whether what differs between the fits has one axis at most, as weights and hyper-parameters have."""
        return all(leaf.ndim <= 2 for leaf in self.mapped)

    def posed(self, leaves: list[Any]) -> Posed:
        """One fit, from its own leaves."""
        own, shared = iter(leaves), iter(self.shared)
        merged = [next(own) if mapped else next(shared) for mapped in self.which]
        objective, params, data, weights = jax.tree.unflatten(self.tree, merged)
        return pose(objective, params, data, weights)

    def at(self, index: Any) -> list[jax.Array]:
        """Leaves of one fit."""
        return [jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False) for leaf in self.mapped]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How many fits run: whether full steps are tried, how many side by side, whether pairs of columns are kept."""

    plan: Plan
    full_steps: bool
    block: int
    pairs: bool
    probes: int

    @property
    def words(self) -> str:
        """For the plan of the solutions."""
        order = f"side by side in blocks of {self.block}" if self.block > 1 else "one after another"
        return f"full steps first, {order}" if self.full_steps else order


@pytree
class First:
    """The first solutions, and how they came about."""

    solution: Solution
    schedule: Schedule = static()


def solve_many(
    objective: Objective,
    init_params: Any,
    *data: Any,
    in_axes: Any = 0,
    weights: Any = None,
    solver: Any = "auto",
    tol: float | jax.Array | None = None,
    max_steps: int | None = None,
) -> Solution:
    r"""Solve many fits of one shape: what ``jax.vmap`` of ``lg.solve`` would return, faster.

    Each fit has its own certificate and status; one that fails leaves the others alone. Like ``lg.solve`` it validates
    no values, works under ``jit``, ``vmap`` and ``grad``, and is differentiated by the implicit function theorem.

    Args:
        objective: from :func:`map_objective`; one with a batch of hyper-parameters, for a grid, is made by ``jax.vmap``
            of a function that returns an objective.
        init_params: start, a tree.
        data: arguments of the likelihood.
        in_axes: which axes enumerate the fits, as for ``jax.vmap``: an integer or ``None`` for the ``data`` alone, or a
            tuple with an entry for each of ``objective``, ``init_params`` and ``data``, each an integer, ``None``
            (shared by all) or a tree prefix of these.
        weights: shape ``(n,)``, shared, or ``(b, n)``, a row for each fit: bootstrap replicates and folds.
        solver: as for ``lg.solve``.
        tol: as for ``lg.solve``.
        max_steps: as for ``lg.solve``, for each fit.

    Returns:
        A :class:`Solution` whose arrays have a leading axis ``b``. Certificates of fits that converge by full steps are
        brief (:func:`lossgeo.solvers.certify_briefly`), with as many coordinates probed as all fits can afford
        together, the one that the others determine least in any case.

    Raises:
        ValueError: nothing is mapped, or mapped axes differ in size; both name the argument.

    Example:
        >>> boot = solve_many(objective, fit.params, x, y, weights=counts, in_axes=None)  # counts: (1000, n)
        >>> own = solve_many(objective, init, xs, ys)  # xs: (1000, n, d), ys: (1000, n)
    """
    lanes = _lanes(objective, init_params, data, weights, in_axes)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((lanes, tol, max_steps))):
        constant = jax.lax.stop_gradient(lanes)
        first = _first(constant, tol, max_steps, solver)
        found = first.solution
        if first.schedule.full_steps:
            found = _again(constant, found, tol, max_steps, solver)
        return _differentiable(lanes, found)
    first = _first_jit(lanes, tol, max_steps, solver)
    if first.schedule.full_steps and np.any(np.asarray(first.solution.status) != Status.CONVERGED):
        return _again_jit(lanes, first.solution, tol, max_steps, solver)
    return first.solution


def _lanes(objective: Objective, params: Any, data: tuple[Any, ...], weights: Any, in_axes: Any) -> Lanes:
    """Take the arguments apart by what is mapped."""
    axes = (None, None, *((in_axes,) * len(data))) if in_axes is None or isinstance(in_axes, int) else tuple(in_axes)
    if len(axes) != 2 + len(data):
        raise ValueError(
            f"in_axes must be an integer, None, or a tuple with entries for objective, init_params and {len(data)} "
            f"arguments of data, but is {in_axes!r}."
        )
    args = (objective, params, data, weights)
    prefix = (axes[0], axes[1], axes[2:], 0 if weights is not None and jnp.ndim(weights) == 2 else None)
    marked = jax.tree.map(lambda axis: SHARED if axis is None else axis, prefix, is_leaf=lambda v: v is None)
    places = jax.tree.leaves(jax.tree.broadcast(marked, args))
    paths, tree = jax.tree_util.tree_flatten_with_path(args)
    mapped, shared, sizes = [], [], {}
    for (path, leaf), axis in zip(paths, places, strict=True):
        if axis == SHARED:
            shared.append(leaf)
            continue
        name = ("objective", "init_params", "data", "weights")[path[0].idx]
        name = ".".join(filter(None, [name, path_name(path[1:])]))
        if not -jnp.ndim(leaf) <= axis < jnp.ndim(leaf):
            raise ValueError(f"in_axes is {axis} for {name}, which has shape {jnp.shape(leaf)}.")
        # An eager transpose copies, even one that moves nothing.
        mapped.append(jnp.moveaxis(jnp.asarray(leaf), axis, 0) if axis else jnp.asarray(leaf))
        sizes[name] = mapped[-1].shape[0]
    if not mapped:
        raise ValueError("nothing is mapped: in_axes is None everywhere and weights have one axis. Use lg.solve.")
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"mapped axes must have one size, not 0, but those of {sizes} differ or are empty.")
    return Lanes(mapped, shared, tree, tuple(axis != SHARED for axis in places))


def _schedule(lanes: Lanes, solver: Any) -> Schedule:
    """Choose by measured rules; see the module. Static."""
    kept: list[Any] = []

    def look(leaves: list[Any]) -> Any:
        problem = as_problem(lanes.posed(leaves))
        kept.append((problem.derivatives, plan_for(problem, solver)))
        return ravel_pytree(problem.init)[0], problem.args.data

    own = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in lanes.mapped]
    z, data = jax.eval_shape(look, own)
    known, plan = kept[0]
    steps = isinstance(plan.solver, Newton) and plan.polish is None and 0 < z.shape[0] <= DENSE_LIMIT
    n = max([leaf.shape[0] for leaf in jax.tree.leaves(data) if leaf.ndim], default=1)
    accelerated = jax.default_backend() != "cpu"
    block = lanes.size
    if not accelerated:
        block = min(lanes.size, max(BLOCK_BYTES // (n * z.dtype.itemsize), 4)) if steps and lanes.one_design else 1
    pairs = False
    if steps and isinstance(known, RowDerivatives):
        d = known.structure.predictors[0].shape[0]
        size = d * (d + 1) // 2 * n * z.dtype.itemsize
        pairs = size <= (
            SHARED_PAIRS_BYTES if block > 1 and lanes.one_design else 0 if accelerated else OWN_PAIRS_BYTES
        )
    probes = max(1, PROBED_ROWS // (n * lanes.size))
    schedule = Schedule(plan, steps, block, pairs, probes)
    reason = f"{plan.reason}; {lanes.size} fits, {schedule.words}"
    return dataclasses.replace(schedule, plan=dataclasses.replace(plan, reason=reason))


def _first(lanes: Lanes, tol: Any, max_steps: Any, solver: Any) -> First:
    """All fits: by full steps with a brief certificate where these are tried, else by the solver of the plan."""
    schedule = _schedule(lanes, solver)
    if schedule.full_steps:
        found = _by_full_steps(lanes, tol, max_steps, schedule)
    else:
        found = _over_blocks(
            lambda leaves: minimize(lanes.posed(leaves), solver, tol, max_steps),
            (lanes.mapped,),
            schedule.block,
        )
    return First(dataclasses.replace(found, plan=schedule.plan), schedule)


def _by_full_steps(lanes: Lanes, tol: Any, max_steps: Any, schedule: Schedule) -> Solution:
    """Each fit by full steps, with a brief certificate."""
    pairs = None
    if schedule.pairs and lanes.one_design:
        pairs = _pairs(as_problem(lanes.posed(lanes.at(0))))

    def bound(z: jax.Array) -> jax.Array:
        return jnp.asarray(default_tol(z.dtype) if tol is None else tol, z.dtype)

    def step(leaves: list[Any]) -> FullSteps:
        problem = as_problem(lanes.posed(leaves))
        if schedule.pairs:
            known = problem.derivatives.with_pairs(_pairs(problem) if pairs is None else pairs)  # type: ignore[union-attr]
            problem = dataclasses.replace(problem, derivatives=known)
        budget = schedule.plan.solver.max_steps if max_steps is None else max_steps
        return full_steps(problem, bound(ravel_pytree(problem.init)[0]), budget)

    def judge(leaves: list[Any], end: FullSteps) -> Solution:
        problem = as_problem(lanes.posed(leaves))
        posed, flat = problem.args, FlatProblem(problem)
        z, value, certificate = certify_briefly(problem, end, schedule.probes)
        u, ended = flat.unravel(z), jnp.where(end.converged, Status.CONVERGED, Status.MAX_STEPS)
        status, direction = verdict(posed, u, certificate, bound(z), ended)
        return Solution(posed.to_params(u), value, status, end.num_steps, certificate, direction)

    return _over_blocks(lambda leaves: judge(leaves, step(leaves)), (lanes.mapped,), schedule.block)


def _pairs(problem: Problem) -> jax.Array | None:
    known = problem.derivatives
    return known.pairs(problem.init, problem.args) if isinstance(known, RowDerivatives) else None


def _over_blocks(fn: Callable[..., Any], args: tuple[Any, ...], block: int) -> Any:
    """Apply to every fit, its arguments being the entries along the first axis, ``block`` at a time side by side."""
    size = jax.tree.leaves(args)[0].shape[0]
    if block == 1:
        return jax.lax.map(lambda one: fn(*one), args)
    if block >= size:
        return jax.vmap(fn)(*args)
    blocks = math.ceil(size / block)
    block = math.ceil(size / blocks)
    # The last block begins early enough to be full. By slices: a gather would be fused into loops and slow them down.
    starts = np.minimum(block * np.arange(blocks), size - block)

    def side_by_side(start: jax.Array) -> Any:
        return jax.vmap(fn)(*jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, block), args))

    def joined(leaf: jax.Array) -> jax.Array:
        leaf = leaf.reshape(-1, *leaf.shape[2:])
        again = blocks * block - size
        return leaf if not again else jnp.concatenate([leaf[:-block], leaf[again - block :]])

    return jax.tree.map(joined, jax.lax.map(side_by_side, jnp.asarray(starts)))


def _again(lanes: Lanes, found: Solution, tol: Any, max_steps: Any, solver: Any) -> Solution:
    """Solve those fits with all safeguards that did not converge without."""
    failed = found.status != Status.CONVERGED
    order = jnp.argsort(~failed, stable=True)

    def body(i: jax.Array, found: Solution) -> Solution:
        solution = minimize(lanes.posed(lanes.at(order[i])), solver, tol, max_steps)
        return jax.tree.map(
            lambda all_, one: all_.at[order[i]].set(jnp.asarray(one, all_.dtype)),
            found,
            dataclasses.replace(solution, plan=found.plan),
        )

    return jax.lax.fori_loop(0, jnp.sum(failed), body, found)


def _differentiable(lanes: Lanes, found: Solution) -> Solution:
    """The solutions as functions of everything that they depend on."""

    def one(leaves: list[Any], solution: Solution) -> tuple[Any, jax.Array]:
        posed = lanes.posed(leaves)
        u = implicit(posed, solution)
        return posed.to_params(u), objective_value(u, posed)

    params, value = jax.vmap(one)(lanes.mapped, found)
    return dataclasses.replace(found, params=params, value=value)


_first_jit = quick_jit(static_argnames="solver")(_first)
_again_jit = functools.partial(jax.jit, static_argnames="solver")(_again)
