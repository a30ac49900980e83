"""The host driver of working sets: a choice of columns, a compiled solver on these, a pass over all, and again.

Strengths go down to what they are in a few levels, so that no working set is much larger than the answer. On a working
set the Hessian is formed in single precision and serves as long as it is good for steps whose gradients are exact.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo.posing import Posed
from lossgeo.solvers import RUNNING, Status, WorkingSet
from lossgeo.solvers.working_set import BUCKETS, Reduced, choose_columns
from lossgeo.sparse.working_kernels import (
    Work,
    WorkingState,
    descend,
    exchange_columns,
    gap_of,
    gather,
    in_use_of,
    look_at_all,
    make_model,
    padded,
    promise,
    scatter,
    scores,
)
from lossgeo.verdict import NOISE_FACTOR

__all__ = ["HandOver", "exchange", "step_working_set"]


PATIENCE = 6
"""Rounds without one whole Newton step on the joint model after which another solver takes over."""


GROW = 2.0
"""Violating columns that a round may always add, relative to the square root of all: a model of these then costs less
than a few looks at all columns. With many in use, as many as four fifths of them may be added."""


GROW_LEAST = 64
"""Violating columns that a round may add in any case."""


FIRST_LEVEL = 12.0
"""Share of the largest slope at which the strengths start, where they go down in levels to what they are."""


LEVELS = 1.5
"""Least ratio of the levels."""


MOST_LEVELS = 4
"""Levels before the last."""


SWAP = 64
"""Columns that are exchanged at a time in a working set that otherwise stays."""


FEW = 8
"""Columns that are exchanged at a time where no more than these are missing."""


CAUTIOUS = 4
"""Steps with the block diagonal model before the Hessian itself is tried again."""


SHARPER = 1e-9
"""Factor on the expected decrease that is enough, where the duality gap was too large."""


STEADY = 0.02
"""Change of the second derivatives below which it is the precision of the model that limits a step."""


class HandOver(Exception):
    """Working sets do not get on: too many columns are in use, or the objective is far from convex (unbounded)."""


def step_working_set(posed: Posed, state: WorkingState, tol: float, solver: WorkingSet) -> WorkingState:
    """One round: choose columns, solve on them, look at all columns again; driven by the host.

    The strengths go down in levels: each round of one has few violating columns, and what is found there need not be
    exact. Before them, what is not penalised finds its place alone.

    Raises:
        HandOver: more columns are in use than the largest working set holds, or ``PATIENCE`` has run out.
    """
    if int(state.num_steps) >= PATIENCE and np.isinf(float(state.edm)) and state.level == 1.0:
        raise HandOver
    level, factor = _next_level(state)
    in_use, score = in_use_of(state), scores(state, level)
    work = _choose(posed, state, in_use, score, solver, fill=np.isfinite(level))
    enough = tol if not np.isfinite(level) else max(tol, 0.02 * promise(state, score))
    # A gap is of first order in what an expected decrease is of second order in.
    sharper = 1.0 if state.gap is None else SHARPER
    work, found = _within(posed, state, work, level, sharper * tol, sharper * enough, solver)
    x = scatter(state.x, work.index, work.mask, found.x)
    gradient, curvature, value = look_at_all(posed, state.setup, x, found.v, found.eta, solver)
    after = dataclasses.replace(
        state,
        x=x,
        v=found.v,
        eta=found.eta,
        gradient=gradient,
        value=value,
        num_steps=int(state.num_steps) + 1,
        level=level,
        factor=factor,
        work=work,
    )
    gain = promise(after, scores(after, 1.0), float(curvature))
    decrease = float(found.decrease) if level == 1.0 or (gain == 0.0 and not np.isfinite(level)) else np.inf
    edm, stuck = max(decrease, gain), bool(found.stuck)
    reached = gain == 0.0 and decrease <= tol
    gap = None
    if reached or (level == 1.0 and _linear_gap(after) <= tol):
        gap = jax.device_get(gap_of(posed, state.setup, x, found.v, found.eta, gradient, solver))
    status = RUNNING
    if not np.isfinite(float(value)):
        status = Status.NOT_FINITE
    elif gap is None or np.isnan(gap.value):
        status = Status.CONVERGED if reached else RUNNING
    elif gap.value <= (max(tol, NOISE_FACTOR * float(gap.noise)) if reached else tol):
        status = Status.CONVERGED
    elif reached and state.gap is not None and gap.value > 0.5 * state.gap.value:
        status = Status.STALLED
    if status == RUNNING and stuck and (gain == 0.0 or float(value) >= float(state.value)) and level == 1.0:
        status = Status.STALLED
    return dataclasses.replace(after, gain=jnp.asarray(gain), edm=jnp.asarray(edm), gap=gap, status=jnp.asarray(status))


def _linear_gap(state: WorkingState) -> float:
    """What the penalties make up of the duality gap, at least; ``inf`` where one of their bounds is 0."""
    setup, x, gradient = state.setup, np.asarray(state.x), np.asarray(state.gradient)
    strength, ridge = np.asarray(setup.strength), np.asarray(setup.ridge)
    slopes = gradient - ridge * x
    if np.any((strength == 0) & (ridge == 0)):
        return np.inf
    used = x != 0
    factor = np.min(strength[ridge == 0] / np.maximum(np.abs(slopes[ridge == 0]), strength[ridge == 0]), initial=1.0)
    bounded = np.clip(factor * slopes[used], -strength[used], strength[used])
    return float(np.sum(strength[used] * np.abs(x[used]) + bounded * x[used]))


def _next_level(state: WorkingState) -> tuple[float, float]:
    """The multiple of the strengths of the next round, and the ratio to those after it.

    Infinite for a round without penalised coefficients.
    """
    setup, x = state.setup, np.asarray(state.x)
    strength = np.asarray(setup.strength)
    if int(state.num_steps) == 0 and not np.any(x[strength > 0]) and (state.v.size or np.any(strength == 0)):
        return np.inf, LEVELS
    if state.level in (0.0, np.inf):
        at_kink = (x == 0) & (strength > 0)
        ratio = np.abs(np.asarray(state.gradient)) / np.where(at_kink, strength, np.inf)
        level, factor = float(np.max(ratio, initial=0.0)) / FIRST_LEVEL, LEVELS
        factor = max(LEVELS, level ** (1.0 / MOST_LEVELS)) if np.isfinite(level) else LEVELS
    else:
        level, factor = state.level / state.factor, state.factor
    return (level, factor) if np.isfinite(level) and level >= 1.3 else (1.0, LEVELS)


def _choose(
    posed: Posed, state: WorkingState, in_use: np.ndarray, score: np.ndarray, solver: WorkingSet, fill: bool
) -> Work:
    """The working set of the next round: the last one, the last one with some columns exchanged, or another."""
    work, used = state.work, int(in_use.sum())
    if work is not None and fill:
        inside = np.zeros(len(score), bool)
        inside[work.index[work.mask]] = True
        missing = np.flatnonzero((score > 0) & ~inside)
        spare = np.flatnonzero(~work.mask | ~(in_use | (score > 0))[work.index])
        if len(missing) == 0:
            return work
        if len(missing) <= min(2 * SWAP, len(spare)):
            rank = np.where(work.mask, score[work.index], -np.inf)[spare]
            return exchange(posed, state, work, missing, spare[np.argsort(rank, kind="stable")], solver)
    columns = choose_columns(in_use, score, max(GROW_LEAST, int(GROW * len(score) ** 0.5), int(0.8 * used)), fill)
    if len(columns) > BUCKETS[-1]:
        raise HandOver
    index, mask = padded(columns)
    return Work(index, mask, gather(posed, state.setup, index, mask, solver))


def exchange(
    posed: Posed, state: WorkingState, work: Work, missing: np.ndarray, slots: np.ndarray, solver: WorkingSet
) -> Work:
    """Columns ``missing`` take the first of the ``slots``."""
    index, mask, columns, model = work.index.copy(), work.mask.copy(), work.columns, work.model
    swap = FEW if len(missing) <= FEW else SWAP
    for start in range(0, len(missing), swap):
        new = missing[start : start + swap]
        into, source = np.full(swap, len(index), np.int32), np.zeros(swap, np.int32)
        into[: len(new)], source[: len(new)] = slots[start : start + len(new)], new
        index[into[: len(new)]], mask[into[: len(new)]] = new, True
        columns, model = exchange_columns(posed, state.setup, columns, model, into, source, solver)
    return dataclasses.replace(work, index=index, mask=mask, columns=columns, model=model)


def _within(
    posed: Posed, state: WorkingState, work: Work, level: float, tol: float, enough: float, solver: WorkingSet
) -> tuple[Work, Reduced]:
    """Solve on a working set: steps with a model, and a new one where it does not serve any more."""
    setup, exact = state.setup, level == 1.0 or not np.isfinite(level)
    low = jnp.finfo(state.x.dtype).bits > 32
    strength = np.where(work.mask, np.asarray(setup.strength)[work.index] * (level if np.isfinite(level) else 1.0), 1.0)
    x, gradient = (jnp.where(work.mask, along[work.index], 0.0) for along in (state.x, state.gradient))
    v, eta = state.v, state.eta
    budget = solver.max_newton if exact else 1
    # Digits that come cheap are taken: the gap at the end of the rounds wants them.
    further = SHARPER * tol
    while True:
        model = work.model
        fresh = model is None
        if model is None:
            low_now, ridge = low and not work.precise, np.where(work.mask, np.asarray(setup.ridge)[work.index], 0.0)
            model = make_model(posed, work.columns, eta, v, work.joint, solver, low_now, ridge)
            work = dataclasses.replace(work, model=model)
        steps = np.int32(1 if not exact else budget if work.joint else min(budget, CAUTIOUS))
        found = descend(
            posed, setup.offset, work.columns, strength, model, x, v, eta, gradient, further, enough, steps, exact,
            work.joint, solver,
        )  # fmt: skip
        x, v, eta, gradient = found.x, found.v, found.eta, found.gradient
        decrease, rate, drift, done, stuck = (
            float(f) for f in jax.device_get((found.decrease, found.rate, found.drift, found.num_steps, found.stuck))
        )
        budget -= max(int(done), 1)
        if decrease <= enough or budget <= 0 or not np.isfinite(float(found.value)):
            return work, found
        if not (work.joint or stuck):
            work = dataclasses.replace(work, model=None, joint=True)
        elif drift > STEADY and not (stuck and fresh):
            work = dataclasses.replace(work, model=None, joint=True)
        elif stuck or rate > 0.9:
            if low and not work.precise:
                work = dataclasses.replace(work, model=None, precise=True)
            elif work.joint:
                work = dataclasses.replace(work, model=None, joint=False)
            else:
                return dataclasses.replace(work, model=None, joint=True), found
        else:
            work = dataclasses.replace(work, model=None, joint=True, precise=low)
