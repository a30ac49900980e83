r"""Columns that matter for a lasso of many coefficients, and what bounds tell about all others.

Rows are quadratic in a linear predictor: of the columns that may be in use, the *candidates*, second moments are kept,
and an active set moves on these (:mod:`lossgeo.solvers.active_set`). The derivatives of all others are products of the
slopes of the rows with the design, and most of these need not be formed: with :math:`s = \sum_k c_k s_k + e` for slopes
:math:`s_k` whose products are known,

.. math:: |X_j^\top s| \le \Bigl|\sum_k c_k X_j^\top s_k\Bigr| + \|X_j\|\,\|e\|,

so that a pass over the design is left to those columns for which the bound is above their strength. Along a path, and
between the last rounds of a fit, slopes hardly leave the space of earlier ones.

References: El Ghaoui, Viallon and Rabbani (2012), Pac. J. Optim. 8, 667 (safe rules); Tibshirani et al. (2012), JRSS B
74, 245 (strong rules).
"""

import dataclasses

import numpy as np

from lossgeo.solvers.active_set import EPS, ActiveSet, Undetermined

__all__ = ["Candidates", "Screen", "WideProblem"]

ROOM = 1032
"""Columns for whose moments there is memory at first; untouched it costs nothing, and growing costs a copy."""

MOST_CANDIDATES = 4096
"""Bound on their number: moments are that number squared."""

MOST_KNOWN = 16
"""Slopes whose products with all columns are kept."""

STRIDE = 8
"""Of the slopes of neighbours on a path, every which is looked at."""

DOUBTFUL = 64
"""Share of the columns, one in this many, up to which products are formed one by one: memory holds rows together."""

AGREE = 64.0
"""Units of rounding error to which gradients by moments and by rows must agree."""


@dataclasses.dataclass(frozen=True)
class WideProblem:
    """Rows that are quadratic, with their weights, at :math:`z = 0`; see :mod:`lossgeo.sparse.quadratics`.

    Args:
        design: shape ``(n, d)``, in double precision, row by row in memory.
        slopes: derivatives of the rows in the predictor, shape ``(n,)``.
        curvature: their second derivatives, not negative; 0 only where slope and cross derivatives are, shape ``(n,)``.
        cross: derivatives of the slopes in ``v``, shape ``(q, n)``.
        value: the objective without its kinks.
        gradient: in ``v``, shape ``(q,)``.
        hessian: in ``v``, shape ``(q, q)``.
        along: slopes times design, shape ``(d,)``.
        norm: of the columns of the design, shape ``(d,)``.
    """

    design: np.ndarray
    slopes: np.ndarray
    curvature: np.ndarray
    cross: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    along: np.ndarray
    norm: np.ndarray


class Candidates:
    """Coordinates ``z``: first those without a kink, then the candidates, in the order in which they came; mutable.

    Args:
        problem: the rows.

    Raises:
        Undetermined: coordinates without a kink are not determined.
    """

    def __init__(self, problem: WideProblem):
        """Start at 0, without candidates."""
        n, d = problem.design.shape
        self.problem, q = problem, len(problem.gradient)
        self.root = np.sqrt(problem.curvature)
        safe = np.where(self.root > 0, self.root, 1.0)
        self._target = -problem.slopes / safe
        # Weighted columns, as they came, and the moments of all of them, with room for more.
        self._blocks, self._count, self._moments = [(problem.cross / safe).T], q, problem.hessian.copy()
        self._uniform = bool(np.all(self.root == 1.0))
        self.index, self.inside = np.empty(0, int), np.zeros(d, bool)
        size = float(np.linalg.norm(self._target))
        self.active = ActiveSet(
            self._rows, problem.gradient, np.diagonal(problem.hessian).copy(), np.arange(q), size, EPS * np.sqrt(n)
        )

    def extend(self, new: np.ndarray) -> None:
        """Make columns candidates.

        Raises:
            Undetermined: there are too many.
        """
        if not len(new):
            return
        before, count = self._count, self._count + len(new)
        if count > MOST_CANDIDATES:
            raise Undetermined
        self._reserve(count)
        columns = self.problem.design[:, new]
        if not self._uniform:
            columns *= self.root[:, None]
        own = columns.T @ columns
        at = 0
        for block in self._blocks:
            product, to = columns.T @ block, at + block.shape[1]
            self._moments[before:count, at:to] = product
            self._moments[at:to, before:count] = product.T
            at = to
        self._moments[before:count, before:count] = own
        self._blocks.append(columns)
        self.index, self._count = np.concatenate([self.index, new]), count
        self.inside[new] = True
        self.active.widen(
            self.problem.along[new], np.diagonal(own).copy(), self._moments[self.active.active, before:count]
        )

    def residuals(self, z: np.ndarray) -> np.ndarray:
        """Minus the slopes of the rows in units of the roots of their curvatures, for each row of ``z``, ``(m, n)``."""
        return self._target - self._combine(self._blocks, z)

    def slopes(self, residuals: np.ndarray) -> np.ndarray:
        """Slopes of the rows, whose product with the design is the gradient; shape ``(m, n)``."""
        return -(residuals * self.root)

    def by_rows(self, residuals: np.ndarray) -> np.ndarray:
        """Derivatives along the candidates, without those without a kink; shape ``(m, p - q)``."""
        return -np.concatenate([residuals @ block for block in self._blocks[1:]] or [residuals[:, :0]], axis=1)

    def agree(self, by_rows: np.ndarray, gradient: np.ndarray, noise: float) -> bool:
        """Whether derivatives by rows are those by moments, to within rounding error."""
        q, p = len(self.problem.gradient), len(gradient)
        return bool(np.all(np.abs(by_rows[: p - q] - gradient[q:]) <= AGREE * noise * self.active.unit[q:p]))

    def predictor(self, z: np.ndarray) -> np.ndarray:
        """What the candidates add to the linear predictor, shape ``(n,)``."""
        q = len(self.problem.gradient)
        if np.all(self.root > 0):
            return self._combine(self._blocks[1:], z[None, q:])[0] / self.root
        used = np.flatnonzero(z[q:])
        return self.problem.design[:, self.index[used]] @ z[q:][used]

    def start_gradient(self) -> np.ndarray:
        """Gradient at 0."""
        return np.concatenate([self.problem.gradient, self.problem.along[self.index]])

    def _combine(self, blocks: list[np.ndarray], z: np.ndarray) -> np.ndarray:
        """Weighted columns times coefficients, of the first columns where these are fewer; shape ``(m, n)``."""
        total, at = np.zeros((len(z), len(self.root))), 0
        for block in blocks:
            part = z[:, at : at + block.shape[1]]
            total += part @ block[:, : part.shape[1]].T
            at += block.shape[1]
        return total

    def _rows(self, index: np.ndarray) -> np.ndarray:
        return self._moments[index, : self._count]

    def _reserve(self, size: int) -> None:
        """Room for ``size`` columns and their moments."""
        k = self._count
        if size > len(self._moments):
            room = max(size, 2 * len(self._moments), ROOM)
            moments = np.empty((room, room))
            moments[:k, :k], self._moments = self._moments[:k, :k], moments


class Screen:
    """Products of slopes with all columns that are known, and bounds on those of other slopes; mutable.

    Args:
        problem: with the first of them.
    """

    def __init__(self, problem: WideProblem):
        """Know the start."""
        self._design, self._norm = problem.design, problem.norm
        self._slopes, self._products = problem.slopes[None, :], problem.along[None, :]

    def look(self, slopes: np.ndarray) -> np.ndarray:
        """Products with all columns, shape ``(m, d)``: a pass over the design."""
        products = slopes @ self._design
        self._slopes = np.concatenate([self._slopes, slopes])[-MOST_KNOWN:]
        self._products = np.concatenate([self._products, products])[-MOST_KNOWN:]
        return products

    def sizes(self, slopes: np.ndarray, strengths: np.ndarray, skip: np.ndarray) -> np.ndarray:
        """Bounds on the absolute products; those above their strengths are the products themselves.

        Args:
            slopes: of the rows, in the order of a path, shape ``(m, n)``.
            strengths: shape ``(m, d)``.
            skip: columns that do not matter, shape ``(d,)``.
        """
        m, d = strengths.shape
        found, rest = np.empty((m, d)), np.ones(m, bool)
        if m > 1:
            rest[::-STRIDE] = False
            found[~rest] = np.abs(self.look(slopes[~rest]))
        numbers = np.flatnonzero(rest)
        if not len(numbers):
            return found
        bounds = self._bounds(slopes[numbers])
        doubtful = (bounds > strengths[numbers]) & ~skip
        columns = np.flatnonzero(doubtful.any(axis=0))
        if len(columns) <= d // DOUBTFUL:
            bounds[:, columns] = np.abs(slopes[numbers] @ self._design[:, columns])
        else:
            fits = doubtful.any(axis=1)
            bounds[fits] = np.abs(self.look(slopes[numbers[fits]]))
        found[numbers] = bounds
        return found

    def _bounds(self, slopes: np.ndarray) -> np.ndarray:
        """The same from what is known."""
        share = np.linalg.lstsq(self._slopes.T, slopes.T, rcond=1e-10)[0].T
        rest = np.linalg.norm(slopes - share @ self._slopes, axis=1)
        size = np.abs(share) @ np.linalg.norm(self._slopes, axis=1) + np.linalg.norm(slopes, axis=1)
        # Rounding errors of sums over all rows, of both the bound and what is bounded.
        rest += slopes.shape[1] * EPS * size
        return np.abs(share @ self._products) + rest[:, None] * self._norm
