"""Paths of fits that vanish by groups: rounds of working sets, one strength after another, with all that was found."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from lossgeo.planning import Plan
from lossgeo.posing import Posed
from lossgeo.solvers import RUNNING, Status
from lossgeo.sparse.group_faces import conclude_groups
from lossgeo.sparse.group_kernels import GroupState
from lossgeo.sparse.group_sets import step_groups

__all__ = ["walk_groups"]


def walk_groups(
    posed: list[Posed], state: GroupState, plan: Plan, tol: float, strengths: np.ndarray
) -> list[tuple[Any, ...]]:
    """Fits that differ in their strengths only, each from the last that converged; the working set and its model stay.

    Args:
        posed: one for each fit.
        state: at the start of the first.
        plan: theirs.
        tol: bound on the certificate, in nats.
        strengths: for each fit of each coefficient, shape ``(g, d)``.

    Returns:
        Of each the coefficients and other coordinates, value, status, expected decrease, residual and rounds.

    Raises:
        HandOver: working sets do not get on.
    """
    found, first = [], np.asarray(state.setup.members)[:, 0]
    for index, problem in enumerate(posed):
        setup = dataclasses.replace(state.setup, strength=jnp.asarray(strengths[index][first]))
        here: GroupState = dataclasses.replace(state, setup=setup, status=RUNNING, num_steps=0, gap=None, trouble=0)
        while int(here.status) == RUNNING and int(here.num_steps) < plan.solver.max_steps:
            here = step_groups(problem, here, tol, plan.solver)
        status = Status.MAX_STEPS if int(here.status) == RUNNING else int(here.status)
        end = conclude_groups(problem, here, tol, status, plan)
        numbers = float(end.value), int(end.status), float(end.edm), float(end.kkt_residual), int(here.num_steps)
        found.append((np.asarray(here.x), np.asarray(here.v), *numbers))
        if numbers[1] == Status.CONVERGED or index == 0:
            state = here
    return found
