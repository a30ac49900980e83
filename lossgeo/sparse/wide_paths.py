"""Lasso paths of more coefficients than rows: exact fits on the columns that matter, verified in blocks.

Columns are candidates from the strength on at which the sequential strong rule does not discard them, and stay so.
Among them the fits of a block of strengths are exact (:mod:`lossgeo.solvers.active_set`); one product of their
residuals with the whole design tells which columns were missed, and the next block starts at the first fit that misses
some. What is accepted has its gradient from the rows.

References: Tibshirani et al. (2012), JRSS B 74, 245 (strong rules); Johnson and Guestrin (2015), ICML (Blitz).
"""

from typing import NamedTuple

import numpy as np

from lossgeo.solvers.active_set import EPS, Undetermined
from lossgeo.sparse.candidates import Candidates, Screen, WideProblem

__all__ = ["Point", "walk_wide"]

FIRST_BLOCK, LARGEST_BLOCK = 8, 50
"""Fits that are verified together: at first, and at most."""

ROOM, SHARE = 64, 0.2
"""New candidates that a block may always have, or this share of what is active."""


class Point(NamedTuple):
    """One fit of a path: ``z = (x, v)``, the objective, its certificate, and Newton steps."""

    z: np.ndarray
    value: float
    edm: float
    kkt_residual: float
    num_steps: int


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
    """A walk along a path; lives for one call."""

    def __init__(self, problem: WideProblem, strengths: np.ndarray, tol: float):
        self._problem, self._strengths, self._tol = problem, strengths, tol
        self._candidates, self._screen = Candidates(problem), Screen(problem)
        self._size, self._block = np.abs(problem.along), FIRST_BLOCK
        self.points: list[Point] = []

    def go_on(self) -> bool:
        """The next block; whether its fits are certified."""
        first, candidates = len(self.points), self._candidates
        active = candidates.active
        last = min(first + self._block, len(self._strengths))
        candidates.extend(self._promising(self._strengths[max(first - 1, 0)], self._strengths[last - 1]))
        q, fits, local = len(self._problem.gradient), [], []
        start = candidates.start_gradient()
        for strength in self._strengths[first:last]:
            kink, before = np.concatenate([np.zeros(q), strength[candidates.index]]), active.num_steps
            edm = active.solve(kink, self._tol)
            if not edm <= self._tol:
                return False
            z, slope = active.x.copy(), active.gradient
            value = self._problem.value + 0.5 * float((start + slope) @ z) + float(kink @ np.abs(z))
            fits.append((z, slope, value, edm, active.num_steps - before, active.noise))
            local.append(z)
        residuals = candidates.residuals(np.stack(local))
        sizes = self._screen.sizes(candidates.slopes(residuals), self._strengths[first:last], candidates.inside)
        return self._accept(fits, candidates.by_rows(residuals), sizes, last == first + self._block)

    def _accept(self, fits: list, gradients: np.ndarray, sizes: np.ndarray, whole: bool) -> bool:
        """Keep the fits up to the first that misses columns, which become candidates."""
        q, first, found, candidates = len(self._problem.gradient), len(self.points), 0, self._candidates
        outside, index = ~candidates.inside, candidates.index
        for (z, slope, value, edm, steps, noise), by_rows, size in zip(fits, gradients, sizes, strict=True):
            strength = self._strengths[first + found]
            missed = outside & (size - strength > 8.0 * EPS * (strength + size))
            if missed.any():
                later = np.max(sizes[found:] / self._strengths[first + found : first + len(sizes)], axis=0)
                candidates.extend(self._most(np.flatnonzero(outside & (later > 1.0)), later, missed))
                self._block = max(FIRST_BLOCK // 2, self._block // 2)
                break
            if not candidates.agree(by_rows, slope, noise):
                return False
            x, off = np.zeros(len(strength)), z[q:] != 0
            x[index] = z[q:]
            here = np.abs(by_rows + strength[index] * np.sign(z[q:]))[off]
            residual = max(float(np.max(part, initial=0.0)) for part in (here, np.abs(slope[:q])))
            self.points.append(Point(np.concatenate([x, z[:q]]), value, edm, residual, steps))
            self._size, found = size, found + 1
        if found == len(fits) and whole:
            self._block = min(LARGEST_BLOCK, 2 * self._block)
        return True

    def _promising(self, before: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Columns that the strong rule does not discard; those closest to their strength where these are many."""
        size, outside = self._size, ~self._candidates.inside
        return self._most(np.flatnonzero(outside & (size >= 2.0 * last - before)), size / last)

    def _most(self, new: np.ndarray, score: np.ndarray, must: np.ndarray | None = None) -> np.ndarray:
        room = max(ROOM, int(SHARE * len(self._candidates.active.active)))
        if len(new) > room:
            score = score if must is None else np.where(must, np.inf, score)
            new = new[np.argpartition(-score[new], room)[:room]]
        return new
