"""A start for objectives of many rows: the optimum of the same objective on a thinned sample of them."""

import dataclasses

import jax
import jax.numpy as jnp

from lossgeo.posing import Posed, as_problem, objective_value
from lossgeo.solvers import Newton, Problem, run
from lossgeo.solvers.newton import MANY_ROWS
from lossgeo.structure import RowDerivatives

__all__ = ["Thinned", "is_large", "thin"]

WORTHWHILE = 100_000_000
"""Rows times the square of the parameters, the work of a Hessian, from which on a second program pays."""

ROWS = 8192
"""Rows that are kept at least; and 40 for each parameter."""

NEAR = 0.1
"""Nats of the whole objective to which the thinned one is minimised: its own optimum is some nats away."""

MAX_STEPS = 30


@dataclasses.dataclass(frozen=True)
class Thinned:
    """A problem on some of its rows; lives inside a trace.

    Args:
        problem: the objective with every ``stride``-th row, whose weight is ``stride`` times its own.
        num_rows: rows that it has.
    """

    problem: Problem
    num_rows: int

    def start(self, problem: Problem) -> tuple[list[jax.Array], jax.Array]:
        """The start of the whole problem, moved if that gains anything, and the curvature seen there.

        Returns:
            Unconstrained coordinates, a list, and a Hessian of shape ``(p, p)`` that estimates the whole one.
        """
        solver = Newton()
        tol = jnp.asarray(NEAR, jnp.result_type(*problem.init))
        state = run(solver, self.problem, solver.init(self.problem, tol), tol, MAX_STEPS)
        moved = solver.params(self.problem, state)
        before, after = (objective_value(u, problem.args) for u in (problem.init, moved))
        better = after < jnp.where(jnp.isnan(before), jnp.inf, before)
        u = [jnp.where(better, new, old) for new, old in zip(moved, problem.init, strict=True)]
        return u, jnp.where(better, state.curvature, jnp.nan)


def is_large(problem: Problem) -> bool:
    """Whether a Hessian is so much work that a second program for a better start pays; static."""
    n, p = _size(problem)
    return n >= MANY_ROWS and n * p**2 >= WORTHWHILE and problem.kinks is None


def _size(problem: Problem) -> tuple[int, int]:
    """Independent rows, 0 where none are known, and coordinates."""
    known = problem.derivatives
    return known.num_rows if isinstance(known, RowDerivatives) else 0, sum(leaf.size for leaf in problem.init)


def thin(problem: Problem) -> Thinned | None:
    """The problem on a thinned sample of its rows; ``None`` where that is not worth while or cannot be done.

    Every array of the data with as many rows as the likelihood has terms is thinned. That only ever makes a start, so
    nothing depends on whether a row of the data is a row of the likelihood.
    """
    if not is_large(problem):
        return None
    n, p = _size(problem)
    stride = n // max(ROWS, 40 * p)
    if stride < 4:
        return None
    posed: Posed = problem.args

    def some(leaf: jax.Array) -> jax.Array:
        return leaf[::stride] if jnp.ndim(leaf) and jnp.shape(leaf)[0] == n else leaf

    data = jax.tree.map(some, posed.data)
    num_rows = -(-n // stride)
    weights = jnp.full(num_rows, float(stride)) if posed.weights is None else stride * some(posed.weights)
    thinned = dataclasses.replace(posed, objective=posed.objective.bind(data, weights), data=data, weights=weights)
    try:
        return Thinned(as_problem(thinned), num_rows)
    except (TypeError, ValueError):  # the likelihood holds other arrays of so many rows
        return None
