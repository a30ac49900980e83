"""A start for objectives of many rows: the optimum of the same objective on a thinned sample of them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo.posing import as_problem
from lossgeo.solvers import RUNNING, FlatProblem, Newton, Problem
from lossgeo.solvers.newton import MANY_ROWS
from lossgeo.structure import RowDerivatives

__all__ = ["Thinned", "is_large", "thin"]

WORTHWHILE = 100_000_000
"""Rows times the square of the parameters, the work of a Hessian, from which on a second program pays."""

ROWS = 8192
"""Rows that are kept at least; and 40 for each parameter."""

NEAR = 0.01
"""Expected decrease to which the thinned objective is minimised, in units of the distance to expect of its optimum."""

MAX_STEPS = 30

FINER = 2
"""A second sample has so many times the rows of the first."""


@dataclasses.dataclass(frozen=True)
class Thinned:
    """A problem on some of its rows; lives inside a trace.

    Args:
        problem: the objective with every ``stride``-th row, whose weight is ``stride`` times its own.
        num_rows: rows that it has.
        stride: one row of so many is kept.
        finer: the same with ``FINER`` times as many rows, all of them others, if there are so many.
    """

    problem: Problem
    num_rows: int
    stride: int
    finer: Problem | None

    def start(self, problem: Problem) -> tuple[list[jax.Array], jax.Array]:
        """The start of the whole problem, moved if that gains anything, and the curvature seen there.

        The optimum of the sample, and one Newton step from there on the finer one, which also tells whether the sample
        is like the others: where it is not, as one of separated classes, the start stays.

        Returns:
            Unconstrained coordinates, a list, and a Hessian of shape ``(p, p)`` that estimates the whole one.
        """
        z, unravel = ravel_pytree(problem.init)
        # Half the number of parameters, times the variance of the sample's optimum over that of the whole one.
        near = NEAR * 0.5 * z.size * self.stride
        solver = Newton()
        tol = jnp.asarray(near, z.dtype)

        def going(state: Any) -> jax.Array:
            return (state.status == RUNNING) & (state.num_steps < MAX_STEPS) & ~(state.edm <= tol)

        begun = solver.init(self.problem, tol)
        state = jax.lax.while_loop(going, lambda state: solver.step(self.problem, state, tol), begun)
        moved, curvature = state.z, state.curvature
        judge = FlatProblem(problem if self.finer is None else self.finer)
        better = _is_lower(judge, moved, z)
        if self.finer is not None:
            grad, curvature = judge.gradient_and_hessian(moved)
            scaled, scale = linalg.equilibrate(curvature)
            factor = jnp.linalg.cholesky(scaled, symmetrize_input=False)
            further = moved - scale * jax.scipy.linalg.cho_solve((factor, True), scale * grad)
            first = FlatProblem(self.problem)
            good = _is_lower(first, further, z)
            moved = jnp.where(good, further, moved)
            curvature = jnp.where(good, curvature, state.curvature)
        u = [jnp.where(better, new, old) for new, old in zip(unravel(moved), problem.init, strict=True)]
        return u, jnp.where(better, curvature, jnp.nan)


def _is_lower(flat: FlatProblem, after: jax.Array, before: jax.Array) -> jax.Array:
    """Whether a function is lower at one point than at another, where it may not be finite; compiled once for both."""
    there, here = jax.lax.map(flat.value, jnp.stack([after, before]))
    return there < jnp.where(jnp.isnan(here), jnp.inf, here)


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
    stride -= stride % FINER
    try:
        # A multiple of the stride is one of the finer stride, to which 1 is added.
        finer = _every(problem, stride // FINER, 1) if stride >= 2 * FINER else None
        return Thinned(_every(problem, stride, 0), -(-n // stride), stride, finer)
    except Exception:  # the likelihood holds other arrays of so many rows, or insists on their number by any error
        return None


def _every(problem: Problem, stride: int, first: int) -> Problem:
    """The problem with every ``stride``-th row from the ``first`` on.

    Raises:
        Exception: the likelihood does not take so few rows.
    """
    n, posed = _size(problem)[0], problem.args

    def some(leaf: jax.Array) -> jax.Array:
        return leaf[first::stride] if jnp.ndim(leaf) and jnp.shape(leaf)[0] == n else leaf

    data = jax.tree.map(some, posed.data)
    num_rows = len(range(first, n, stride))
    weights = jnp.full(num_rows, float(stride)) if posed.weights is None else stride * some(posed.weights)
    thinned = dataclasses.replace(posed, objective=posed.objective.bind(data, weights), data=data, weights=weights)
    return as_problem(thinned)
