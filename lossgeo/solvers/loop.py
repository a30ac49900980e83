"""The one loop that all solvers share.

A solver is a frozen, hashable record with two methods on a state of its own: ``init(problem, tol)`` and
``step(problem, state, tol)``. A state has at least ``z`` (a vector) or ``u`` (a tree), ``value``, ``edm``,
``num_steps`` and ``status``, which is ``RUNNING`` until the solver ends.

The loop is compiled and runs to a bound on the steps. The pure caller gives the whole budget; the host gives a
piece at a time, so that it can show progress, call back and be interrupted, and resumes from the state it got.
"""

from typing import Any, Protocol, runtime_checkable

import jax

from lossgeo.solvers.problem import Problem
from lossgeo.solvers.status import RUNNING


@runtime_checkable
class Solver(Protocol):
    """The interface of a solver."""

    @property
    def name(self) -> str:
        """What the plan calls it."""
        ...

    @property
    def max_steps(self) -> int:
        """Default budget."""
        ...

    def init(self, problem: Problem, tol: jax.Array) -> Any:
        """State at the start."""
        ...

    def step(self, problem: Problem, state: Any, tol: jax.Array) -> Any:
        """State after one more step."""
        ...

    def params(self, problem: Problem, state: Any) -> Any:
        """The tree that a state stands for."""
        ...


def run(solver: Solver, problem: Problem, state: Any, tol: jax.Array, until: int | jax.Array) -> Any:
    """Advance until the solver ends or ``until`` steps have been made in all."""

    def cond(state: Any) -> jax.Array:
        return (state.status == RUNNING) & (state.num_steps < until)

    return jax.lax.while_loop(cond, lambda s: solver.step(problem, s, tol), state)
