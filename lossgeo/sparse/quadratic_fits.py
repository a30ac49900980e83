"""One lasso with quadratic rows and many coefficients: exact steps on the columns that matter, little compiled.

Columns become candidates by the size of their derivatives, relative to their strengths; these go down in a few levels
to what they are. Among the candidates the fit is exact (:mod:`lossgeo.solvers.active_set`); a pass over the design, or
a bound where one suffices (:mod:`lossgeo.sparse.candidates`), tells which columns were missed. The duality gap at the
end is computed from the rows, like that of any other fit; what does not end with a gap within the tolerance is left to
the working sets that go through the rows.

References: Osborne, Presnell and Turlach (2000), IMA J. Numer. Anal. 20, 389; Johnson and Guestrin (2015), ICML.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo.duality import gap_at
from lossgeo.posing import Posed, as_problem
from lossgeo.solvers import DENSE_LIMIT, Certificate, Status, WorkingSet
from lossgeo.solvers.active_set import EPS, Undetermined
from lossgeo.solving import Solution
from lossgeo.sparse.candidates import Candidates, Screen, WideProblem
from lossgeo.sparse.quadratics import is_on_host, quadratic, rows_on_host
from lossgeo.sparsity import sparse_rows
from lossgeo.verdict import verdict

__all__ = ["fit_quadratic"]

FIRST_LEVEL = 12.0
"""Share of the largest slope at which the strengths start, where they go down in levels to what they are."""

LEVELS = 2.1
"""Largest ratio of two levels."""

GROW, GROW_LEAST, GROW_ROOT = 1.2, 64, 2.0
"""Columns that become candidates at a new level, relative to those in use; at least; relative to the root of all."""

MORE = 0.3
"""The same of columns that were missed."""

NEARLY = 0.1
"""Share of the coordinates in use that may be missing at the end of a level, but for the last."""

MOST_ROUNDS = 100
"""Passes over the design."""


class _Reached(NamedTuple):
    """The end of the rounds, on the host; ``free`` and what follows for all coordinates ``(x, v)``."""

    x: np.ndarray
    v: np.ndarray
    eta: np.ndarray
    sizes: np.ndarray
    edm: float
    kkt_residual: float
    eigenvalue: float
    free: np.ndarray
    direction: np.ndarray
    step: np.ndarray
    num_rounds: int


def fit_quadratic(posed: Posed, tol: float, solver: Any) -> Solution | None:
    """Fit a posed lasso whose rows are quadratic, in double precision on the host.

    Returns:
        A solution whose certificate is within ``tol``; ``None`` for problems of another kind, and where this is not
        reached: an active set that is singular to working precision, a tolerance below rounding error.

    Raises:
        ValueError: the values of the input are faulty; before any iteration.
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(posed.template))
    automatic = isinstance(solver, str) and solver == "auto" and size > DENSE_LIMIT
    leaves = jax.tree.leaves((posed.template, posed.data))
    if not (automatic or isinstance(solver, WorkingSet)) or any(leaf.dtype == np.float32 for leaf in leaves):
        return None
    if not is_on_host(posed.data):
        return None
    weights = None if posed.weights is None else np.asarray(posed.weights, float)
    problem = quadratic(posed, weights, solver)
    if problem is None or problem.along is None or problem.plan is None:
        return None
    plan = problem.plan
    if not isinstance(plan.solver, WorkingSet):
        return None
    rows = rows_on_host(posed, problem, weights)
    strength = np.asarray(problem.strength, float)
    if rows is None or not rows.is_double or not np.all((strength > 0) & np.isfinite(strength)):
        return None
    value, gradient, hessian = (
        np.asarray(a, float).sum(axis=0) for a in (problem.value, problem.gradient, problem.hessian)
    )
    wide = WideProblem(
        rows.design, rows.slopes, rows.curvature, rows.cross, float(value), gradient, hessian,
        np.asarray(problem.along), np.asarray(problem.norm),
    )  # fmt: skip
    try:
        reached = _Rounds(wide, strength, tol).run()
    except Undetermined:
        return None
    if reached is None:
        return None
    found = _conclude(posed, strength, problem.norm, np.asarray(problem.v), reached, tol)
    if int(found.status) != Status.CONVERGED:
        return None
    reason = f"{plan.reason}; rows are quadratic, so active sets are exact"
    return dataclasses.replace(found, plan=dataclasses.replace(plan, reason=reason))


class _Rounds:
    """The rounds of one fit; lives for one call."""

    def __init__(self, problem: WideProblem, strength: np.ndarray, tol: float):
        self._problem, self._strength, self._tol = problem, strength, tol
        self._candidates, self._screen = Candidates(problem), Screen(problem)
        self._sizes, self._rounds = np.abs(problem.along), 0
        self._residuals = self._candidates.residuals(self._candidates.active.x[None, :])

    def run(self) -> _Reached | None:
        """All levels of the strengths; ``None`` where the end is not certain."""
        if len(self._problem.gradient):
            self._solve(1.0, 0.0)
            self._look(1.0)
        top = float(np.max(self._sizes / self._strength, initial=0.0))
        if top <= 1.0:
            return self._end()
        num = max(0, int(np.ceil(np.log(max(top / FIRST_LEVEL, 1.0)) / np.log(LEVELS))))
        for level in (top / FIRST_LEVEL) ** (np.arange(num, 0, -1) / max(num, 1)):
            self._add(self._sizes > 0.0, GROW)
            self._solve(float(level), NEARLY)
            self._look(float(level))
        self._add(self._sizes > 0.0, GROW)
        nearly = NEARLY
        while self._rounds < MOST_ROUNDS:
            self._solve(1.0, nearly)
            if nearly == 0.0 and not self._refine():
                return None
            self._look(1.0)
            excess = self._sizes - self._strength
            missed = (excess > 8.0 * EPS * (self._strength + self._sizes)) & ~self._candidates.inside
            if nearly == 0.0 and not np.any(missed):
                return self._end()
            self._add(missed, MORE)
            nearly = NEARLY if np.sum(missed) > NEARLY * len(self._candidates.active.active) else 0.0
        return None

    def _add(self, wanted: np.ndarray, share: float) -> None:
        """Columns become candidates: those closest to being in use, or furthest from being left out."""
        room = max(GROW_LEAST, int(GROW_ROOT * len(wanted) ** 0.5), int(share * len(self._candidates.active.active)))
        new = np.flatnonzero(wanted & ~self._candidates.inside)
        if len(new) > room:
            new = np.sort(new[np.argpartition(-(self._sizes[new] / self._strength[new]), room)[:room]])
        self._candidates.extend(new)

    def _kink(self, level: float) -> np.ndarray:
        return np.concatenate([np.zeros(len(self._problem.gradient)), level * self._strength[self._candidates.index]])

    def _solve(self, level: float, nearly: float) -> None:
        self._candidates.active.solve(self._kink(level), self._tol, nearly)

    def _refine(self) -> bool:
        """A last step with slopes from the rows, that have not been squared; whether these agree with the moments."""
        candidates, q = self._candidates, len(self._problem.gradient)
        active = candidates.active
        by_rows = candidates.by_rows(candidates.residuals(active.x[None, :]))[0]
        if not candidates.agree(by_rows, active.gradient, active.noise):
            return False
        active.correct(np.concatenate([active.gradient[:q], by_rows]), self._kink(1.0))
        return True

    def _look(self, level: float) -> None:
        """Sizes of the derivatives along all columns."""
        candidates = self._candidates
        self._residuals = candidates.residuals(candidates.active.x[None, :])
        strengths = (level * self._strength)[None, :]
        self._sizes = self._screen.sizes(candidates.slopes(self._residuals), strengths, candidates.inside)[0]
        self._rounds += 1

    def _end(self) -> _Reached | None:
        """The end of the rounds with the evidence of the active set; ``None`` where rows and moments do not agree."""
        candidates, q, d = self._candidates, len(self._problem.gradient), len(self._strength)
        active, kink = candidates.active, self._kink(1.0)
        by_rows, left = candidates.by_rows(self._residuals)[0], active.expected_decrease(kink)
        if not candidates.agree(by_rows, active.gradient, active.noise) or not left <= self._tol:
            return None
        z = active.x
        x, sizes, places = np.zeros(d), self._sizes.copy(), np.concatenate([d + np.arange(q), candidates.index])
        x[candidates.index] = z[q:]
        # Signed where a coefficient is in use: its share of the duality gap needs the sign.
        sizes[candidates.index] = by_rows
        slope = np.concatenate([active.gradient[:q], by_rows]) + kink * np.sign(z)
        curvature = active.unit**2
        eigenvalue, direction, step = active.face(slope, curvature)
        residual = max(
            float(np.max(np.abs(slope[active.active]), initial=0.0)),
            float(np.max(np.abs(sizes) - self._strength, initial=0.0)),
        )
        wide = [np.zeros(d + q) for _ in range(3)]
        for into, values in zip(wide, (direction, step, np.ones(len(active.active))), strict=True):
            into[places[active.active]] = values
        return _Reached(
            x, z[:q].copy(), candidates.predictor(z), sizes, left, residual, eigenvalue, wide[2] > 0, wide[0], wide[1],
            self._rounds,
        )  # fmt: skip


@quick_jit()
def _conclude(posed: Posed, strength: Any, norm: Any, start: Any, reached: _Reached, tol: Any) -> Solution:
    """Value, duality gap and verdict at the point that was reached."""
    rows = sparse_rows(as_problem(posed), WorkingSet().max_other)
    assert rows is not None  # it was taken apart before
    dtype = rows.center.dtype
    x, v = jnp.asarray(reached.x, dtype), jnp.asarray(start + reached.v, dtype)
    design, known = rows.design(), (jnp.asarray(reached.sizes, dtype), norm)
    offset = jax.lax.cond(
        jnp.any(rows.center != 0), lambda: design @ rows.center, lambda: jnp.zeros(reached.eta.shape, dtype)
    )
    eta = offset + reached.eta
    gap = gap_at(rows, rows.strength, rows.ridge, x, v, eta, design=design, known=known)
    value = rows.loss(eta, v) + jnp.sum(strength * jnp.abs(x))
    of_v, of_x = rows.places
    order = jnp.concatenate([jnp.asarray(of_x, jnp.int32), jnp.asarray(of_v, jnp.int32)])
    total = order.shape[0]

    def spread(values: Any, fill: Any) -> jax.Array:
        values = jnp.asarray(values)
        return jnp.full(total, fill, values.dtype).at[order].set(values)

    free = jnp.asarray(reached.free)
    unpenalised = free & (jnp.arange(total) >= x.shape[0])
    zero = jnp.zeros((), dtype)
    certificate = Certificate(
        edm=jnp.asarray(reached.edm, dtype),
        kkt_residual=jnp.asarray(reached.kkt_residual, dtype),
        # The objective is a parabola along every line that stays on the face.
        curvature_change=zero,
        beyond=zero,
        rise=spread(jnp.where(unpenalised, 0.5, jnp.inf).astype(dtype), jnp.inf),
        eigenvalue=jnp.asarray(reached.eigenvalue, dtype),
        direction=spread(reached.direction, 0.0),
        step=spread(reached.step, 0.0),
        one_sided=jnp.full(2, jnp.inf, dtype),
        start_change=zero,
        null_weight=jnp.zeros(total, dtype),
        free=spread(free, False),
        hessian=None,
        finite=jnp.isfinite(value) & jnp.all(jnp.isfinite(reached.step)),
        resolution=jnp.asarray(linalg.rank_tolerance(total, dtype), dtype),
        noise=zero,
        gap=gap.value,
        gap_noise=gap.noise,
    )
    u = rows.join(x, v)
    status, along = verdict(posed, u, certificate, jnp.asarray(tol, dtype), jnp.asarray(Status.CONVERGED))
    return Solution(posed.to_params(u), value, status, jnp.asarray(reached.num_rounds), certificate, along)
