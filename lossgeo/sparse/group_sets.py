"""The host driver of working sets of groups: a choice of groups, a compiled solver on these, a pass over all, again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo.posing import Posed
from lossgeo.solvers import RUNNING, GroupWorkingSet, Status
from lossgeo.solvers.group_working_set import ReducedGroups
from lossgeo.solvers.working_set import BUCKETS
from lossgeo.sparse.group_kernels import (
    GroupState,
    GroupWork,
    descend,
    exchange_groups,
    gap_of,
    gather,
    in_use_of,
    look_at_all,
    make_model,
    padded_groups,
    promise,
    scatter,
    scores,
)
from lossgeo.sparse.working_sets import HandOver
from lossgeo.verdict import NOISE_FACTOR

__all__ = ["step_groups"]

GROW = 2.0
"""Coefficients of violating groups that a round may add, relative to the square root of all."""

GROW_LEAST = 64
"""The same in any case."""

FIRST = 1.2
"""The same for the first round."""

SWAP = 8
"""Groups that are exchanged at a time in a working set that otherwise stays."""

CAUTIOUS = 4
"""Steps with the block diagonal model before the Hessian itself is tried again."""

PATIENCE = 6
"""Rounds without a prediction of the joint model after which another solver takes over."""

SHARPER = 1e-9
"""Factor on the expected decrease that is enough at the end: a gap is of first order where that is of second."""


STEADY = 0.02
"""Change of the second derivatives above which a model is made anew."""


def step_groups(posed: Posed, state: GroupState, tol: float, solver: GroupWorkingSet) -> GroupState:
    """One round: choose groups, solve on them, look at all again; driven by the host.

    Before the first of them, what is not penalised finds its place alone.

    Raises:
        HandOver: more are in use than the largest working set holds, or ``PATIENCE`` has run out.
    """
    first = int(state.num_steps) == 0 and not np.any(np.asarray(state.x))
    if state.trouble >= PATIENCE:
        raise HandOver
    in_use, score = in_use_of(state), scores(state)
    alone = first and (state.v.size > 0 or bool(in_use.any()))
    work = _choose(posed, state, in_use, np.where(alone, -np.inf, score), solver)
    # Where more groups violate than a round adds, what is found now need not be exact.
    exact = alone or bool(np.isin(np.flatnonzero(score > 0), work.index).all())
    work, found = _within(posed, state, work, tol, exact, solver)
    x = scatter(state.x, work.members, found.x)
    gradient, curvature, value = look_at_all(posed, state.setup, x, found.v, found.eta, solver)
    after = dataclasses.replace(
        state, x=x, v=found.v, eta=found.eta, gradient=gradient, value=value, num_steps=int(state.num_steps) + 1,
        work=work, trouble=state.trouble + 1 if exact and np.isinf(float(found.decrease)) else 0,
    )  # fmt: skip
    gain, decrease = promise(scores(after), float(curvature)), float(found.decrease)
    reached, stuck, gap = gain == 0.0 and decrease <= tol, bool(found.stuck), None
    if reached:
        gap = jax.device_get(gap_of(posed, state.setup, x, found.v, found.eta, gradient, solver))
    status = RUNNING
    if not np.isfinite(float(value)):
        status = Status.NOT_FINITE
    elif gap is not None and np.isnan(gap.value):
        status = Status.CONVERGED
    elif gap is not None and gap.value <= max(tol, NOISE_FACTOR * float(gap.noise)):
        status = Status.CONVERGED
    elif gap is not None and state.gap is not None and gap.value > 0.5 * state.gap.value:
        status = Status.STALLED
    elif stuck and (gain == 0.0 or float(value) >= float(state.value)):
        status = Status.STALLED
    return dataclasses.replace(after, edm=jnp.asarray(max(decrease, gain)), gap=gap, status=jnp.asarray(status))


def _choose(
    posed: Posed, state: GroupState, in_use: np.ndarray, score: np.ndarray, solver: GroupWorkingSet
) -> GroupWork:
    """The working set of the next round: the last one, or another."""
    violating = np.flatnonzero(score > 0)
    work = state.work
    if work is not None and not np.any(score > 0) and np.all(np.isin(np.flatnonzero(in_use), work.index)):
        return work
    sizes = np.sum(np.asarray(state.setup.members) < len(state.x), axis=1)
    used = int(sizes[in_use].sum())
    room = (
        max(GROW_LEAST, int(GROW * len(state.x) ** 0.5), used)
        if used
        else max(GROW_LEAST, int(FIRST * len(state.x) ** 0.5))
    )
    order = violating[np.argsort(-score[violating], kind="stable")]
    taken = order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), room, side="right")))]
    groups = np.concatenate([np.flatnonzero(in_use), taken])
    if work is not None and work.model is not None and work.joint and len(state.eta) == len(work.columns):
        wanted = np.isin(work.index, groups)
        missing, spare = groups[~np.isin(groups, work.index)], np.flatnonzero(~wanted)
        fits = sizes[missing].max(initial=0) <= work.members.shape[1]
        if fits and len(missing) <= min(4 * SWAP, len(spare)):
            rank = np.where(work.index >= 0, score[work.index], -np.inf)[spare]
            return _exchange(posed, state, work, missing, spare[np.argsort(rank, kind="stable")], solver)
    index, members = padded_groups(state, np.sort(groups), 0 if used else room)
    if members.size > BUCKETS[-1]:
        raise HandOver
    # What room is left goes to those that are closest to violating.
    others = np.flatnonzero((score > -np.inf) & (sizes <= members.shape[1]) & ~np.isin(np.arange(len(score)), groups))
    others = others[np.argsort(-score[others], kind="stable")][: len(index) - len(groups)]
    index, members = padded_groups(state, np.sort(np.concatenate([groups, others])), 0 if used else room)
    return GroupWork(index, members, gather(posed, state.setup, members, solver))


def _exchange(
    posed: Posed, state: GroupState, work: GroupWork, missing: np.ndarray, slots: np.ndarray, solver: GroupWorkingSet
) -> GroupWork:
    """Groups ``missing`` take the first of the ``slots``."""
    index, members, columns, model = work.index.copy(), work.members.copy(), work.columns, work.model
    table, width = np.asarray(state.setup.members), work.members.shape[1]
    for start in range(0, len(missing), SWAP):
        new = missing[start : start + SWAP]
        into, source = np.full(SWAP, len(index), np.int32), np.full((SWAP, width), len(state.x), np.int32)
        into[: len(new)], source[: len(new)] = slots[start : start + len(new)], table[new, :width]
        index[into[: len(new)]], members[into[: len(new)]] = new, source[: len(new)]
        columns, model = exchange_groups(posed, state.setup, columns, model, into, source, solver)
    return dataclasses.replace(work, index=index, members=members, columns=columns, model=model, face=None)


def _within(
    posed: Posed, state: GroupState, work: GroupWork, tol: float, exact: bool, solver: GroupWorkingSet
) -> tuple[GroupWork, ReducedGroups]:
    """Solve on a working set: steps with a model, and a new one where it does not serve any more."""
    x, v, eta, enough = state.x, state.v, state.eta, SHARPER * tol
    budget = solver.max_newton if exact else CAUTIOUS
    while True:
        model, fresh = work.model, work.model is None
        if model is None:
            model = make_model(posed, work.columns, eta, v, work.joint, work.members.shape[1], solver)
            work = dataclasses.replace(work, model=model)
        steps = np.int32(1 if not exact else budget if work.joint else min(budget, CAUTIOUS))
        found = descend(
            posed, state.setup, work.index, work.members, work.columns, model, x, v, eta, enough, steps, STEADY, exact,
            work.joint, solver,
        )  # fmt: skip
        decrease, drift, done, stuck, value = (
            float(f) for f in jax.device_get((found.decrease, found.drift, found.num_steps, found.stuck, found.value))
        )
        budget -= max(int(done), 1)
        if decrease <= enough or budget <= 0 or not np.isfinite(value):
            return dataclasses.replace(work, face=found.face), found
        v, eta = found.v, found.eta
        x = scatter(x, work.members, found.x)
        if stuck and fresh and work.joint:
            work = dataclasses.replace(work, model=None, joint=False)
        elif not work.joint and not stuck:
            work = dataclasses.replace(work, model=None, joint=True)
        elif drift > STEADY or (drift > 0 and exact and decrease > tol and not (stuck and fresh)):
            work = dataclasses.replace(work, model=None)
        else:
            model = None if stuck else work.model
            return dataclasses.replace(work, joint=True, model=model, face=None if stuck else found.face), found
        if not exact and not stuck:
            return work, found
