"""Paths of L1-penalised fits: blocks of strengths solved on one working set, and verified by one product.

The columns of a block are chosen by the sequential strong rule; the model of the working set serves for all of it. One
product of the slopes of all its fits with the design tells which columns were missed, and the block starts again at the
first fit that misses some. Each fit has a certificate of its own, as one by itself.

References: Tibshirani et al. (2012), JRSS B 74, 245 (strong rules); Friedman, Hastie and Tibshirani (2010), JSS 33
(paths with warm starts).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo._compilation import quick_jit
from lossgeo.distributions import GroupedLaplace, GroupLaplace, Laplace
from lossgeo.driving import start_fit
from lossgeo.posing import Posed, as_problem, kinks, pose
from lossgeo.priors import TreePrior
from lossgeo.solvers import DENSE_LIMIT, RUNNING, GroupWorkingSet, Status, WorkingSet
from lossgeo.solvers.working_set import BUCKETS, choose_columns
from lossgeo.sparse.group_paths import walk_groups
from lossgeo.sparse.working_faces import conclude_working_set, judge_along
from lossgeo.sparse.working_kernels import (
    Work,
    WorkingState,
    design_of,
    gather,
    in_use_of,
    make_model,
    padded,
    scores,
    sparse_parts,
)
from lossgeo.sparse.working_sets import SWAP, HandOver, exchange, step_working_set
from lossgeo.validation import raise_for

__all__ = ["SparsePath", "is_strength", "sparse_folds", "sparse_path", "strengths_of", "to_params"]

BLOCK = 16
"""Fits that are verified by one product; half of that where the working set is large."""

LARGE = 512
"""Size of the working set from which on fits cost more than the product that verifies them."""

MORE = 64
"""Columns that a block may always take beside those that are in use."""

TRIES = 4
"""Blocks without a fit after which one is made alone."""


class SparsePath(NamedTuple):
    """Fits of a path, stacked: parameters, objectives and certificates."""

    params: Any
    value: jax.Array
    status: jax.Array
    edm: jax.Array
    kkt_residual: jax.Array
    num_steps: jax.Array


class _Point(NamedTuple):
    """One fit."""

    x: Any
    v: Any
    value: float
    status: int
    edm: float
    kkt_residual: float
    num_steps: int


def is_strength(objective: Any, params: Any, over: str) -> bool:
    """Whether ``over`` is the scale of a Laplace prior, or of a group prior of many coefficients.

    It is declared for a leaf, or for several at once.
    """
    if not isinstance(objective.prior, TreePrior):
        return False
    large = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params)) > DENSE_LIMIT
    wanted = (Laplace, GroupLaplace, GroupedLaplace) if large else (Laplace,)
    return any(
        f"prior.{entry.name}.".startswith(over.removesuffix("scale"))
        and over.endswith(".scale")
        and isinstance(entry.distribution, wanted)
        for entry in objective.prior.entries(params)
    )


def sparse_path(
    objectives: list[Any], params: Any, data: tuple, weights: Any, solver: Any, tol: float
) -> SparsePath | None:
    """Fits of objectives that differ in the scale of a Laplace or group prior only, in their order.

    Args:
        objectives: one for each fit.
        params: start of the first.
        data: arguments of the likelihood.
        weights: of the observations, or ``None``.
        solver: as for :func:`lossgeo.fit`.
        tol: bound on the certificate, in nats.

    Returns:
        The fits, or ``None`` where the problem is not made for working sets or they do not get on.

    Raises:
        ValueError: the values of the input are faulty; before any iteration.
    """
    posed = [pose(objective, params, data, weights) for objective in objectives]
    started = start_fit(posed[0], tol, solver)
    if not isinstance(started.plan.solver, WorkingSet | GroupWorkingSet):
        return None
    if not bool(started.checks.passed):
        raise_for(started.checks, posed[0])
    try:
        if isinstance(started.plan.solver, GroupWorkingSet):
            strengths, _ = strengths_of(posed[0], objectives, started.state.setup.leaves)
            points: list[Any] = walk_groups(posed, started.state, started.plan, tol, strengths)
        else:
            walk = _Walk(posed, started.state, started.plan, tol)
            while len(walk.points) < len(posed):
                walk.go_on()
            points = walk.points
    except HandOver:
        return None
    x, v, *rest = (jnp.asarray(np.stack(column)) for column in zip(*points, strict=True))
    return SparsePath(to_params(posed[0], x, v, started.plan.solver), *rest)


def sparse_folds(
    objectives: list[Any],
    params: Any,
    data: tuple,
    weights: jax.Array,
    held_out: jax.Array,
    solver: Any,
    tol: float,
) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    """Paths for several weights of the observations, a row each, and the log-likelihood of what each holds out.

    Returns:
        Held-out log-likelihood (NaN where a fit did not converge), status and expected decrease, shape ``(k, g)``; or
        ``None`` as :func:`sparse_path`.
    """
    found = []
    for fitted, out in zip(weights, held_out, strict=True):
        path = sparse_path(objectives, params, data, fitted, solver, tol)
        if path is None:
            return None
        score = _score(objectives[0], path.params, data, out)
        found.append((jnp.where(path.status == Status.CONVERGED, score, jnp.nan), path.status, path.edm))
    score, status, edm = (jnp.stack(column) for column in zip(*found, strict=True))
    return score, status, edm


def strengths_of(
    posed: Posed, objectives: Sequence[Any], coefficients: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Strengths of the ``coefficients``, some leaves, ``(g, d)``, and what each objective adds to the first's value."""
    bare = dataclasses.replace(posed, data=(), weights=None)
    along = [jax.tree.leaves(objective) for objective in objectives]
    changes = tuple(any(leaf is not leaves[0] for leaf in leaves[1:]) for leaves in zip(*along, strict=True))
    leaves = [
        np.stack([np.asarray(leaf) for leaf in column]) if moves else column[0]
        for moves, column in zip(changes, zip(*along, strict=True), strict=True)
    ]
    if not any(changes):
        leaves, changes = [np.asarray(leaf)[None] for leaf in leaves], (True,) * len(leaves)
    strengths, constants = (np.asarray(column, float) for column in _kinks_of(bare, leaves, changes, coefficients))
    return strengths, constants - constants[0]


@jax.jit
def _score(objective: Any, params: Any, data: tuple, weights: jax.Array) -> jax.Array:
    """Weighted log-likelihood for each entry of stacked parameters."""
    return jax.lax.map(lambda p: jnp.vdot(weights, objective.log_likelihood(p, *data)), params)


class _Walk:
    """A walk along a path; lives for one call."""

    def __init__(self, posed: list[Posed], state: WorkingState, plan: Any, tol: float):
        self.posed, self.state, self.plan, self.tol = posed, state, plan, tol
        strengths, self.constants = strengths_of(posed[0], [p.objective for p in posed], state.setup.leaves)
        self.strengths = strengths.astype(state.setup.strength.dtype)
        self.points: list[_Point] = []
        self.tries = TRIES

    def go_on(self) -> None:
        """The next fits: a block, or one alone at first and where blocks do not get on."""
        before = len(self.points)
        if self.tries >= TRIES:
            self._alone()
        else:
            self._block()
        self.tries = 0 if len(self.points) > before else self.tries + 1

    def _at(self, index: int, state: WorkingState) -> WorkingState:
        setup = dataclasses.replace(state.setup, strength=jnp.asarray(self.strengths[index]))
        return dataclasses.replace(state, setup=setup, gap=None)

    def _alone(self) -> None:
        """The next fit by the rounds of one by itself."""
        index = len(self.points)
        state = dataclasses.replace(
            self._at(index, self.state), status=RUNNING, num_steps=0, level=1.0 if self.points else 0.0,
            edm=jnp.asarray(0.0, self.state.value.dtype),
        )  # fmt: skip
        solver = self.plan.solver
        while int(state.status) == RUNNING and int(state.num_steps) < solver.max_steps:
            state = step_working_set(self.posed[index], state, self.tol, solver)
        status = Status.MAX_STEPS if int(state.status) == RUNNING else int(state.status)
        self._conclude(index, state, status)
        if self.points[-1].status == Status.CONVERGED or index == 0:
            self.state = state

    def _conclude(self, index: int, state: WorkingState, status: int) -> None:
        found = conclude_working_set(self.posed[index], state, self.tol, status, self.plan)
        numbers = float(found.value), int(found.status), float(found.edm), float(found.kkt_residual)
        self.points.append(_Point(np.asarray(state.x), np.asarray(state.v), *numbers, int(state.num_steps)))

    def _block(self) -> None:
        """The next few fits on one working set, up to the first that misses columns."""
        solver, first, state = self.plan.solver, len(self.points), self.state
        in_work = 0 if state.work is None else len(state.work.index)
        block = BLOCK if in_work <= LARGE else BLOCK // 2
        numbers = np.minimum(np.arange(first, first + block), len(self.posed) - 1)
        work, posed = self._columns(first, int(numbers[-1])), self.posed[0]
        model = work.model
        if model is None:
            low, ridge = jnp.finfo(state.x.dtype).bits > 32 and not work.precise, np.asarray(state.setup.ridge)
            ridge = np.where(work.mask, ridge[work.index], 0.0)
            model = make_model(posed, work.columns, state.eta, state.v, True, solver, low, ridge)
            work = dataclasses.replace(work, model=model)
        strengths = np.where(work.mask[None, :], self.strengths[numbers][:, work.index], 1.0)
        x = jnp.where(work.mask, state.x[work.index], 0.0)
        found = judge_along(
            posed, state.setup.offset, work.columns, strengths, work.mask, model, x, state.v, self.tol, solver
        )
        gradients = _gradients(posed, state.setup, found.eta, found.v, solver)
        found, gradients = jax.device_get((found, gradients))
        curvature = np.asarray(state.setup.ridge)
        for b in range(min(block, len(self.posed) - first)):
            if not np.isfinite(found.value[b]):
                self.state = dataclasses.replace(self.state, work=dataclasses.replace(work, model=None))
                return
            x_here = np.zeros(state.x.shape[0], found.x.dtype)
            x_here[work.index[work.mask]] = found.x[b][work.mask]
            gradient = gradients[b] + curvature * x_here
            here: WorkingState = dataclasses.replace(
                self._at(first + b, state), x=jnp.asarray(x_here),
                v=found.v[b], eta=found.eta[b], gradient=gradient,
                value=found.value[b], num_steps=int(found.num_steps[b]), work=work,
            )  # fmt: skip
            self.state = here
            if not found.done[b]:
                # Another model at this point, more precise where that is what is missing.
                precise = work.precise or (b == 0 and self.tries > 0)
                self.state = dataclasses.replace(here, work=dataclasses.replace(work, model=None, precise=precise))
                return
            if np.any(scores(here, 1.0) > 0):
                return
            if not found.sure[b] or found.edm[b] > self.tol:
                self._conclude(first + b, here, Status.CONVERGED)
                continue
            strength = self.strengths[first + b]
            excess = np.maximum(np.abs(gradient) - strength, 0.0)
            residual = np.max(np.where(x_here != 0, np.abs(gradient + strength * np.sign(x_here)), excess), initial=0.0)
            value = float(found.value[b]) + self.constants[first + b]
            numbers_here = value, int(Status.CONVERGED), float(found.edm[b]), float(residual)
            self.points.append(_Point(x_here, found.v[b], *numbers_here, int(found.num_steps[b])))

    def _columns(self, first: int, last: int) -> Work:
        """The working set of a block: what is in use, and what the strong rule does not discard."""
        solver, state = self.plan.solver, self._at(first, self.state)
        in_use, score = in_use_of(state), scores(state, 1.0)
        slope, norm = np.abs(np.asarray(state.gradient)), np.asarray(state.setup.norm)
        before = self.strengths[max(first - 1, 0)]
        relative = np.where(np.isfinite(score), slope / np.where(norm > 0, norm, 1.0), score)
        wanted = in_use | (score > 0)
        strong = np.flatnonzero(~wanted & np.isfinite(score) & (slope >= 2.0 * self.strengths[last] - before))
        room = max(MORE, int(0.3 * wanted.sum()))
        if len(strong) > room:
            strong = strong[np.argpartition(-relative[strong], room)[:room]]
        wanted[strong] = True
        work = state.work
        if work is not None:
            inside = np.zeros(len(slope), bool)
            inside[work.index[work.mask]] = True
            missing = np.flatnonzero(wanted & ~inside)
            spare = np.flatnonzero(~work.mask | ~wanted[work.index])
            if len(missing) == 0:
                return work
            if len(missing) <= min(SWAP, len(spare)):
                rank = np.where(work.mask, relative[work.index], -np.inf)[spare]
                return exchange(self.posed[0], state, work, missing, spare[np.argsort(rank, kind="stable")], solver)
        columns = choose_columns(wanted, relative - np.max(relative, initial=0.0), 0)
        if len(columns) > BUCKETS[-1]:
            raise HandOver
        index, mask = padded(columns)
        return Work(index, mask, gather(self.posed[0], state.setup, index, mask, solver))


@quick_jit(static_argnames="solver")
def _gradients(posed: Posed, setup: Any, eta: jax.Array, v: jax.Array, solver: WorkingSet) -> jax.Array:
    """Gradients of the rows with respect to all columns of several fits, in one product."""
    rows = sparse_parts(as_problem(posed), solver)
    return jax.vmap(jax.grad(rows.loss))(eta, v) @ design_of(rows, setup)


@quick_jit(static_argnames="solver")
def to_params(posed: Posed, x: jax.Array, v: jax.Array, solver: Any) -> Any:
    """Parameters of several fits, stacked."""
    rows = sparse_parts(as_problem(posed), solver)
    return jax.vmap(lambda x, v: posed.to_params(rows.join(x, v)))(x, v)


@quick_jit(static_argnames=("changes", "coefficients"))
def _kinks_of(
    posed: Posed, leaves: list[Any], changes: tuple[bool, ...], coefficients: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Strengths of the coefficients, and minus the log-prior at the kinks; of a posed problem without data.

    For each entry of those ``leaves`` of the objective that change.
    """
    tree = jax.tree.structure(posed.objective)

    def one(leaves: list[Any]) -> tuple[jax.Array, jax.Array]:
        here = dataclasses.replace(posed, objective=jax.tree.unflatten(tree, leaves))
        u = here.to_unconstrained(here.template)
        centers, strengths, _ = kinks(u, here)
        at = [jnp.where(s > 0, c, w) for c, s, w in zip(centers, strengths, u, strict=True)]
        strength = ravel_pytree([strengths[i] for i in coefficients])[0]
        return strength, -here.objective.prior.log_prior(here.to_params(at))

    return jax.vmap(one, in_axes=([0 if moves else None for moves in changes],))(leaves)
