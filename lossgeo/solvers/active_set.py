r"""Active sets on the host: a quadratic with kinks, solved exactly for one strength after another.

.. math:: \min_z\; g_0^\top z + \tfrac12 z^\top A z + \sum_j \kappa_j |z_j|

The inverse of :math:`A` on the coordinates that are off their kink is kept: coordinates that enter or leave change it
by a matrix of low rank, Newton's step is a product with it, its diagonal holds the variance inflation factors, and
their sum bounds the least eigenvalue from below. From one strength to the next a few coordinates enter. No step raises
the function: it is Newton's, or bent at the kinks that it meets, or ends at the first of these; the last one is exact.

Sizes change with every step, so that this is NumPy in double precision: nothing is compiled.

References: Osborne, Presnell and Turlach (2000), IMA J. Numer. Anal. 20, 389 (active sets of the lasso); Lee, Battle,
Raina and Ng (2006), NeurIPS 19 (signs are searched for, the objective descends).
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg

__all__ = ["EPS", "ActiveSet", "Undetermined"]

MAX_ROUNDS = 200
"""Newton steps for one strength."""

LEAST_PIVOT = 1e-9
"""What must be left of the curvature of a coordinate given the others, relative to its own."""

EXACT = 1e-6
"""Reduction of the slopes by a whole Newton step, above which the inverse is formed again."""

MOST_ENTER = 32
"""Coordinates that may enter at once, or as many as there are."""

ROOM = 520
"""Active coordinates for which there is memory at first: untouched it costs nothing, and growing costs a copy."""

INVERSE_ITERATIONS = 4
"""Of a random vector, towards the least determined direction."""

EPS = float(np.finfo(np.float64).eps)


class Undetermined(Exception):
    """The active set is singular to working precision, or the steps do not end."""


class ActiveSet:
    """A quadratic with kinks and a point on it, which :meth:`solve` moves; mutable, it lives for one path.

    Args:
        rows: rows of :math:`A` for an array of indices, shape ``(m, p)``.
        gradient: :math:`g_0`, shape ``(p,)``.
        diagonal: of :math:`A`, shape ``(p,)``. A coordinate without curvature stays on its kink.
        free: coordinates without a kink; always active.
        size: square root of twice the constant that makes the quadratic a sum of squares; with ``precision`` it tells
            the rounding error of gradients.
        precision: relative rounding error of :math:`A` and :math:`g_0` in units of ``diagonal``.

    Raises:
        Undetermined: coordinates without a kink are not determined.
    """

    def __init__(
        self,
        rows: Callable[[np.ndarray], np.ndarray],
        gradient: np.ndarray,
        diagonal: np.ndarray,
        free: np.ndarray,
        size: float,
        precision: float,
    ):
        """Start at 0 with the coordinates that have no kink."""
        p = len(gradient)
        self._rows, self._base, self._size, self._precision = rows, gradient, size, precision
        self._root = np.sqrt(np.maximum(diagonal, 0.0))
        self.unit = np.where(self._root > 0, self._root, 1.0)
        """Unit of the gradient: the root of the diagonal, 1 where that is 0."""
        self._outside = self._root > 0
        self._index, self._signs = np.empty(0, int), np.empty(0)
        self._hessian, self._inverse = np.empty((0, p)), np.empty((0, 0))
        self._count, self._scratch = 0, np.empty(0)
        self.x, self.gradient, self.num_steps = np.zeros(p), gradient.copy(), 0
        if len(free):
            if not np.all(self._outside[free]):
                raise Undetermined
            self._append(free, np.zeros(len(free)), self._rows(free), single=False)

    @property
    def active(self) -> np.ndarray:
        """Coordinates off their kink, in the order in which they entered."""
        return self._index[: self._count]

    @property
    def noise(self) -> float:
        """Rounding error of the gradient, in units of the root of the diagonal."""
        return self._precision * (self._size + float(self._root[self.active] @ np.abs(self.x[self.active])))

    def solve(self, kink: np.ndarray, tol: float, nearly: float = 0.0) -> float:
        """Move to the minimiser for these strengths, positive but for the free coordinates.

        Args:
            kink: the strengths, shape ``(p,)``.
            tol: bound on the expected decrease that is left, unless rounding errors are larger.
            nearly: share of the active coordinates that may yet have to enter.

        Returns:
            Expected decrease that is left, rounding errors of the gradient included.

        Raises:
            Undetermined: the active set is singular to working precision, or the rounds do not end.
        """
        for _ in range(MAX_ROUNDS):
            self.num_steps += 1
            whole = self._step(kink)
            if whole and not self._enter(kink, nearly * self._count):
                left = self.expected_decrease(kink)
                if left <= tol or self._at_noise(kink):
                    return left
        raise Undetermined

    def expected_decrease(self, kink: np.ndarray) -> float:
        """Decrease by Newton's step on the face, with what the rounding error of the gradient may add."""
        k = self._count
        slope = self._slope(kink)
        inflation = float(np.sum(np.diagonal(self._inverse[:k, :k]) * self._root[self.active] ** 2))
        if inflation * LEAST_PIVOT > 1.0:
            raise Undetermined
        return 0.5 * float(slope @ (self._inverse[:k, :k] @ slope)) + 0.5 * k * self.noise**2 * inflation

    def violation(self, kink: np.ndarray) -> float:
        """Largest violation of the conditions of optimality, a derivative."""
        outside = np.where(self._outside, np.abs(self.gradient) - kink, 0.0)
        return max(float(np.max(np.abs(self._slope(kink)), initial=0.0)), float(np.max(outside, initial=0.0)))

    def face(self, slope: np.ndarray, curvature: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The active coordinates in units that make their curvatures 1.

        Args:
            slope: of all coordinates, shape ``(p,)``.
            curvature: the diagonal, shape ``(p,)``.

        Returns:
            A bound from above on the least eigenvalue, near it after a few inverse iterations, its direction, and
            Newton's step for these slopes, both for the active coordinates in their order.
        """
        k, unit = self._count, np.sqrt(curvature[self.active])
        inverse = self._inverse[:k, :k]
        step = -unit * (inverse @ slope[self.active])
        along, eigenvalue = np.random.default_rng(0).standard_normal(k), 1.0
        along /= np.linalg.norm(along) if k else 1.0
        for _ in range(INVERSE_ITERATIONS):
            image = unit * (inverse @ (unit * along))
            # Of the image: its Rayleigh quotient with the matrix, whose inverse made it.
            size = float(np.linalg.norm(image))
            if not size > 0.0:
                break
            eigenvalue, along = float(image @ along) / size**2, image / size
        return eigenvalue, along, step

    def correct(self, gradient: np.ndarray, kink: np.ndarray) -> None:
        """A Newton step with a better gradient of this point; only where all coordinates keep their sides."""
        k, index = self._count, self.active
        to = self.x[index] - self._inverse[:k, :k] @ (gradient[index] + kink[index] * self._signs[:k])
        crosses = (self._signs[:k] != 0) & (to * self._signs[:k] <= 0)
        if np.all(np.isfinite(to)) and not np.any(crosses):
            self._move(to)

    def round_to(self, dtype: np.dtype) -> None:
        """Give the point the digits of a precision; its gradient stays exact."""
        self._move(self.x[self.active].astype(dtype).astype(np.float64))

    def widen(self, gradient: np.ndarray, diagonal: np.ndarray, block: np.ndarray) -> None:
        """Further coordinates, on their kinks: their gradient at 0, diagonal, and rows of the active, ``(k, m)``."""
        k = self._count
        self._base = np.concatenate([self._base, gradient])
        self._root = np.concatenate([self._root, np.sqrt(np.maximum(diagonal, 0.0))])
        self.unit = np.where(self._root > 0, self._root, 1.0)
        self._outside = np.concatenate([self._outside, diagonal > 0])
        self._reserve(k)
        self._hessian[:k, len(self.x) : len(self._base)] = block
        self.x = np.concatenate([self.x, np.zeros(len(gradient))])
        self.gradient = np.concatenate([self.gradient, gradient + self.x[self.active] @ block])

    def _slope(self, kink: np.ndarray) -> np.ndarray:
        index = self.active
        return self.gradient[index] + kink[index] * self._signs[: self._count]

    def _at_noise(self, kink: np.ndarray) -> bool:
        return bool(np.all(np.abs(self._slope(kink)) <= 8.0 * self.noise * self._root[self.active]))

    def _move(self, to: np.ndarray) -> None:
        """Set the active coordinates."""
        self.x[self.active] = to
        self.gradient = self._base + to @ self._hessian[: self._count, : len(self.x)]

    def _step(self, kink: np.ndarray) -> bool:
        """Newton's step on the face; whether it was a whole one. Coordinates that meet their kink leave."""
        k, index = self._count, self.active
        x, slope, signs = self.x[index], self._slope(kink), self._signs[:k]
        change = -(self._inverse[:k, :k] @ slope)
        to = x + change
        crosses = (signs != 0) & (to * signs <= 0)
        if not crosses.any():
            self._move(to)
            self._check_inverse(float(np.linalg.norm(slope / self.unit[index])), kink)
            return True
        before = self.gradient[index]
        self._move(np.where(crosses, 0.0, to))
        change_here = self.x[index] - x
        gain = 0.5 * change_here @ (before + self.gradient[index]) + kink[index] @ (np.abs(self.x[index]) - np.abs(x))
        if not gain < 0:
            # Along the step itself the function descends up to the first kink.
            reach = np.where(crosses, x / np.where(crosses, x - to, 1.0), np.inf)
            length = float(np.min(reach))
            self._move(np.where(reach <= length, 0.0, x + length * change))
            crosses = reach <= length
        self._leave(np.flatnonzero(crosses))
        return False

    def _check_inverse(self, before: float, kink: np.ndarray) -> None:
        """Form the inverse again where a whole step did not solve the equations."""
        index = self.active
        after = np.linalg.norm(self._slope(kink) / self.unit[index])
        if after > EXACT * before and after > 8.0 * self.noise * np.sqrt(len(index)):
            k = self._count
            scale = 1.0 / self._root[index]
            matrix = self._hessian[:k, index] * scale[:, None] * scale[None, :]
            self._inverse[:k, :k] = _inverse(matrix) * scale[:, None] * scale[None, :]

    def _enter(self, kink: np.ndarray, few: float) -> bool:
        """Let coordinates enter that are pushed off their kinks; whether there were more than a few."""
        size = np.abs(self.gradient)
        # By more than rounding error.
        rounding = np.maximum(8.0 * EPS * (kink + size), self.noise * self._root)
        new = np.flatnonzero(self._outside & (size - kink > rounding))
        if len(new) <= few:
            return False
        most = max(MOST_ENTER, self._count)
        if len(new) > most:
            promise = (size[new] - kink[new]) / self.unit[new]
            new = new[np.argpartition(-promise, most)[:most]]
        slope = self.gradient[new] - np.sign(self.gradient[new]) * kink[new]
        self._append(new, slope, self._rows(new), single=False)
        return True

    def _append(self, new: np.ndarray, slope: np.ndarray, rows: np.ndarray, single: bool) -> None:
        """Extend the active set; of coordinates with a slope only those that will move down it."""
        k, unit = self._count, self.unit[new]
        cross = rows[:, self.active].T
        shift = self._inverse[:k, :k] @ cross
        schur = (rows[:, new] - cross.T @ shift) / unit[:, None] / unit[None, :]
        keep = np.arange(len(new))
        try:
            while True:
                inverse = _inverse(schur[np.ix_(keep, keep)])
                right = (slope[keep] == 0) | ((inverse @ (slope[keep] / unit[keep])) * slope[keep] > 0)
                if right.all():
                    break
                keep = keep[right]
        except Undetermined:
            if single or not slope.any():
                raise
            worst = np.asarray([np.argmax(np.abs(slope) / unit)])
            self._append(new[worst], slope[worst], rows[worst], single=True)
            return
        m = len(keep)
        inverse, shift, new = inverse / unit[keep][:, None] / unit[keep][None, :], shift[:, keep], new[keep]
        self._reserve(k + m)
        product = shift @ inverse
        self._inverse[:k, :k] += np.matmul(product, shift.T, out=self._scratch[: k * k].reshape(k, k))
        self._inverse[:k, k : k + m], self._inverse[k : k + m, :k] = -product, -product.T
        self._inverse[k : k + m, k : k + m] = inverse
        self._hessian[k : k + m, : len(self.x)] = rows[keep]
        self._index[k : k + m], self._signs[k : k + m] = new, -np.sign(slope[keep])
        self._outside[new], self._count = False, k + m

    def _leave(self, places: np.ndarray) -> None:
        """Take coordinates that rest on their kinks out of the active set."""
        k = self._count
        columns = self._inverse[:k, places]
        unit = self.unit[self._index[places]]
        block = _inverse(columns[places] * unit[:, None] * unit[None, :]) * unit[:, None] * unit[None, :]
        self._inverse[:k, :k] -= np.matmul(columns, block @ columns.T, out=self._scratch[: k * k].reshape(k, k))
        self._outside[self._index[places]] = True
        for place in places[::-1]:
            last = self._count = self._count - 1
            if place != last:
                self._inverse[place, : last + 1] = self._inverse[last, : last + 1]
                self._inverse[: last + 1, place] = self._inverse[: last + 1, last]
                self._inverse[place, place] = self._inverse[last, last]
                for array in (self._hessian, self._index, self._signs):
                    array[place] = array[last]

    def _reserve(self, size: int) -> None:
        """Room for ``size`` active coordinates, and for all that there are."""
        k, (room, width) = self._count, self._hessian.shape
        if size > len(self._index):
            most = max(ROOM, size, 2 * len(self._index))
            index, signs, inverse = np.empty(most, int), np.empty(most), np.empty((most, most))
            index[:k], signs[:k], inverse[:k, :k] = self._index[:k], self._signs[:k], self._inverse[:k, :k]
            # New memory for each product would be cleared by the system, page by page.
            self._index, self._signs, self._inverse, self._scratch = index, signs, inverse, np.empty(most * most)
        if len(self._index) > room or len(self._base) > width:
            wide = width if len(self._base) <= width else max(len(self._base), 2 * width, 2 * ROOM)
            hessian = np.empty((len(self._index), wide))
            hessian[:k, : len(self.x)] = self._hessian[:k, : len(self.x)]
            self._hessian = hessian


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix of about unit diagonal or less.

    Raises:
        Undetermined: it is not positive definite, or nearly so.
    """
    lower, failed = scipy.linalg.lapack.dpotrf(matrix, lower=1)
    if failed or not np.min(np.diagonal(lower), initial=1.0) ** 2 > LEAST_PIVOT:
        raise Undetermined
    inverse, _ = scipy.linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)
    upper = np.triu_indices(len(inverse), 1)
    inverse[upper] = inverse.T[upper]
    return inverse
