"""Lasso paths of more coefficients than rows: exact fits on the columns that matter, verified in blocks.

Columns are candidates from the strength on at which the sequential strong rule does not discard them, and stay so.
Among them the fits of a block of strengths are exact (:mod:`lossgeo.solvers.active_set`); one product of their
residuals with the whole design tells which columns were missed, and the next block starts at the first fit that misses
some. What is accepted has its gradient from the rows.

References: Tibshirani et al. (2012), JRSS B 74, 245 (strong rules); Johnson and Guestrin (2015), ICML (Blitz).
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from lossgeo.solvers.active_set import EPS, ActiveSet, Undetermined

__all__ = ["Point", "WideProblem", "walk_wide"]

FIRST_BLOCK, LARGEST_BLOCK = 8, 50
"""Fits that are verified by one product: at first, and at most."""

ROOM, SHARE = 128, 0.375
"""New candidates that a block may always have, or this share of what is active."""

AGREE = 64.0
"""Units of rounding error to which gradients by moments and by rows must agree."""


class Point(NamedTuple):
    """One fit of a path: ``z = (x, v)``, the objective, its certificate, and Newton steps."""

    z: np.ndarray
    value: float
    edm: float
    kkt_residual: float
    num_steps: int


@dataclasses.dataclass(frozen=True)
class WideProblem:
    """Rows that are quadratic, with their weights, at :math:`z = 0`; see :mod:`lossgeo.quadratics`.

    Args:
        design: shape ``(n, d)``, in double precision, row by row in memory.
        slopes: derivatives of the rows in the predictor, shape ``(n,)``.
        curvature: their second derivatives, not negative; 0 only where slope and cross derivatives are, shape ``(n,)``.
        cross: derivatives of the slopes in ``v``, shape ``(q, n)``.
        value: the objective without its kinks.
        gradient: in ``v``, shape ``(q,)``.
        hessian: in ``v``, shape ``(q, q)``.
    """

    design: np.ndarray
    slopes: np.ndarray
    curvature: np.ndarray
    cross: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray


def walk_wide(problem: WideProblem, strengths: np.ndarray, tol: float) -> list[Point] | None:
    """A fit for each row of ``strengths``, shape ``(g, d)``; ``None`` where one is not determined to ``tol``."""
    try:
        walk = _Walk(problem, strengths, tol)
        while len(walk.points) < len(strengths):
            if not walk.go_on():
                return None
    except Undetermined:
        return None
    return walk.points


class _Walk:
    """A walk along a path; lives for one call. Candidates are numbered after the coordinates ``v``."""

    def __init__(self, problem: WideProblem, strengths: np.ndarray, tol: float):
        n, d = problem.design.shape
        self._problem, self._strengths, self._tol = problem, strengths, tol
        self._root = np.sqrt(problem.curvature)
        safe = np.where(self._root > 0, self._root, 1.0)
        self._target = -problem.slopes / safe
        q = len(problem.gradient)
        self._rows = problem.cross / safe
        # Curvature in v that rows with a predictor do not explain.
        self._rest = problem.hessian - self._rows @ self._rows.T
        self._start = problem.slopes @ problem.design
        self._candidates, self._is_candidate = np.empty(0, int), np.zeros(d, bool)
        size, precision = float(np.linalg.norm(self._target)), EPS * np.sqrt(n)
        self._active = ActiveSet(
            self._hessian, problem.gradient, np.diagonal(problem.hessian).copy(), np.arange(q), size, precision
        )
        self._gradient, self._block = self._start, FIRST_BLOCK
        self.points: list[Point] = []

    def go_on(self) -> bool:
        """The next block; whether its fits are certified."""
        first = len(self.points)
        last = min(first + self._block, len(self._strengths))
        self._extend(self._promising(self._strengths[max(first - 1, 0)], self._strengths[last - 1]))
        q, fits, local = len(self._problem.gradient), [], []
        for strength in self._strengths[first:last]:
            kink, before = np.concatenate([np.zeros(q), strength[self._candidates]]), self._active.num_steps
            edm = self._active.solve(kink, self._tol)
            if not edm <= self._tol:
                return False
            z, slope = self._active.x.copy(), self._active.gradient
            value = self._problem.value + 0.5 * float((self._begin() + slope) @ z) + float(kink @ np.abs(z))
            fits.append((z, slope, value, edm, self._active.num_steps - before, self._active.noise))
            local.append(z)
        residuals = self._target - np.stack(local) @ self._rows
        gradients = -(residuals * self._root) @ self._problem.design
        return self._accept(fits, gradients, last == first + self._block)

    def _accept(self, fits: list, gradients: np.ndarray, whole: bool) -> bool:
        """Keep the fits up to the first that misses columns, which become candidates."""
        q, first, found = len(self._problem.gradient), len(self.points), 0
        for (z, slope, value, edm, steps, noise), gradient in zip(fits, gradients, strict=True):
            strength, size = self._strengths[first + found], np.abs(gradient)
            missed = ~self._is_candidate & (size - strength > 8.0 * EPS * (strength + size))
            if missed.any():
                later = np.max(np.abs(gradients[found:]) / self._strengths[first + found : first + len(gradients)], 0)
                self._extend(self._most(np.flatnonzero(~self._is_candidate & (later > 1.0)), later, missed))
                self._block = max(FIRST_BLOCK // 2, self._block // 2)
                break
            by_rows = gradient[self._candidates]
            if np.any(np.abs(by_rows - slope[q:]) > AGREE * noise * self._active.unit[q:]):
                return False
            x, off = np.zeros(len(gradient)), z[q:] != 0
            x[self._candidates] = z[q:]
            here = np.abs(by_rows + strength[self._candidates] * np.sign(z[q:]))[off]
            residual = max(float(np.max(part, initial=0.0)) for part in (here, np.abs(slope[:q])))
            self.points.append(Point(np.concatenate([x, z[:q]]), value, edm, residual, steps))
            self._gradient, found = gradient, found + 1
        if found == len(fits) and whole:
            self._block = min(LARGEST_BLOCK, 2 * self._block)
        return True

    def _promising(self, before: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Columns that the strong rule does not discard; those closest to their strength where these are many."""
        size = np.abs(self._gradient)
        return self._most(np.flatnonzero(~self._is_candidate & (size >= 2.0 * last - before)), size / last)

    def _most(self, new: np.ndarray, score: np.ndarray, must: np.ndarray | None = None) -> np.ndarray:
        room = max(ROOM, int(SHARE * len(self._active.active)))
        if len(new) > room:
            score = score if must is None else np.where(must, np.inf, score)
            new = new[np.argpartition(-score[new], room)[:room]]
        return new

    def _extend(self, new: np.ndarray) -> None:
        """Make columns candidates."""
        if not len(new):
            return
        rows = np.take(self._problem.design, new, axis=1).T * self._root
        block = self._rows[self._active.active] @ rows.T
        self._rows = np.concatenate([self._rows, rows])
        self._candidates = np.concatenate([self._candidates, new])
        self._is_candidate[new] = True
        self._active.widen(self._start[new], np.einsum("ij,ij->i", rows, rows), block)

    def _begin(self) -> np.ndarray:
        """Gradient of the candidates at 0."""
        return np.concatenate([self._problem.gradient, self._start[self._candidates]])

    def _hessian(self, index: np.ndarray) -> np.ndarray:
        found, q = self._rows[index] @ self._rows.T, len(self._rest)
        is_v = index < q
        found[is_v, :q] += self._rest[index[is_v]]
        return found
