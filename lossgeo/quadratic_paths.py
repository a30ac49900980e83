"""Paths and cross-validations of the lasso from second moments: one pass over the data, exact fits, nothing compiled.

The moments of a fold's rows are computed once; those of all others add up to what a fit without the fold needs. Along
the strengths the host keeps the inverse on the active set (:mod:`lossgeo.solvers.active_set`), so that each fit costs a
few products with vectors. Held-out terms are quadratic too, and need one product of the rows with all estimates.

Where there are more coefficients than rows the moments are those of the columns that matter
(:mod:`lossgeo.sparse.wide_paths`).

Squaring the design squares its condition number: the rounding errors of the moments are counted in each certificate,
and a path that has one above the tolerance is left to the solvers that go through the rows.

References: Friedman, Hastie and Tibshirani (2010), JSS 33 (covariance updates); Osborne, Presnell and Turlach (2000),
IMA J. Numer. Anal. 20, 389.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo.posing import Posed, pose
from lossgeo.solvers import Status, WorkingSet
from lossgeo.solvers.active_set import ActiveSet, Undetermined
from lossgeo.sparse.candidates import WideProblem
from lossgeo.sparse.quadratics import Quadratic, Rows, is_on_host, quadratic, rows_on_host
from lossgeo.sparse.wide_paths import Point, walk_wide
from lossgeo.sparse_paths import SparsePath, strengths_of, to_params

__all__ = ["quadratic_folds", "quadratic_path"]

MOST_BYTES = 1 << 30
"""Memory for second moments."""

ALWAYS = 512
"""Coefficients up to which there are moments even if there are fewer rows."""

CHUNK = 8192
"""Rows whose weighted copy is made at a time."""

CANCELS = 0.999
"""Share of a second moment in the rows that are left out, above which the others are summed and not subtracted."""


class _Parts(NamedTuple):
    """What is known of some rows, on the host, in double precision and with their weights.

    ``xx`` and ``xv`` are second moments, ``x`` the gradient at 0, ``size`` the sum of squares of the target.
    """

    xx: np.ndarray
    xv: np.ndarray
    x: np.ndarray
    diagonal: np.ndarray
    value: float
    v: np.ndarray
    vv: np.ndarray
    size: float


def quadratic_path(
    objectives: Sequence[Any], params: Any, data: tuple, weights: jax.Array | None, solver: Any, tol: float
) -> SparsePath | None:
    """Fits of objectives that differ in the scale of a Laplace prior only, in their order.

    Args:
        objectives: one for each fit.
        params: tells structure, shapes and dtypes.
        data: arguments of the likelihood.
        weights: of the observations, or ``None``.
        solver: as for :func:`lossgeo.fit`.
        tol: bound on the certificate, in nats.

    Returns:
        The fits, or ``None`` where rows are not quadratic or do not determine a fit to ``tol`` by second moments.

    Raises:
        ValueError: the values of the input are faulty; before any iteration.
    """
    found = _begin(objectives, params, data, weights, None, solver)
    if found is None:
        return None
    posed, problem, rows, (strengths, constants) = found
    dtype = _dtype(params)
    if _is_wide(rows):
        fits = _walk_wide(rows, None, problem, strengths, tol)
    else:
        fits = _walk([_part(rows, slice(None), problem, 0)], None, problem, strengths, tol, dtype)
    if fits is None:
        return None
    d = strengths.shape[1]
    z, value, edm, residual, steps = (np.stack(column) for column in zip(*fits, strict=True))
    x, v = (jnp.asarray(part, problem.v.dtype) for part in (z[:, :d], np.asarray(problem.v) + z[:, d:]))
    status = jnp.full(len(fits), Status.CONVERGED, jnp.int32)
    numbers = [jnp.asarray(part, dtype) for part in (value + constants, edm, residual)]
    found_params = to_params(posed, x, v, WorkingSet())
    return SparsePath(found_params, numbers[0], status, numbers[1], numbers[2], jnp.asarray(steps))


def quadratic_folds(
    objectives: Sequence[Any], params: Any, data: tuple, weights: np.ndarray, fold: np.ndarray, solver: Any, tol: float
) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    """Paths that leave out one fold each, and the log-likelihood of what they leave out.

    Args:
        objectives: as for :func:`quadratic_path`.
        params: as for :func:`quadratic_path`.
        data: as for :func:`quadratic_path`.
        weights: of the observations, shape ``(n,)``.
        fold: 0, 1, … of each observation, shape ``(n,)``.
        solver: as for :func:`quadratic_path`.
        tol: as for :func:`quadratic_path`.

    Returns:
        Held-out log-likelihood, status and expected decrease, shape ``(k, g)``; or ``None`` as
        :func:`quadratic_path`.
    """
    found = _begin(objectives, params, data, weights, fold, solver)
    if found is None:
        return None
    _, problem, rows, (strengths, _) = found
    groups = [_contiguous(np.flatnonzero(fold == f)) for f in range(int(fold.max()) + 1)]
    wide, dtype = _is_wide(rows), _dtype(params)
    parts = [_part(rows, group, problem, f, moments=not wide) for f, group in enumerate(groups)]
    scores, edms = [], []
    for f, group in enumerate(groups):
        if wide:
            fits = _walk_wide(rows, (f, group), problem, strengths, tol)
        else:
            fits = _walk(parts, f, problem, strengths, tol, dtype)
        if fits is None:
            return None
        scores.append(_score(rows, group, parts[f], np.stack([fit.z for fit in fits])))
        edms.append([fit.edm for fit in fits])
    status = jnp.full((len(scores), len(strengths)), Status.CONVERGED, jnp.int32)
    return jnp.asarray(np.stack(scores), dtype), status, jnp.asarray(edms, dtype)


def _dtype(params: Any) -> Any:
    return jnp.result_type(*jax.tree.leaves(params))


def _begin(
    objectives: Sequence[Any], params: Any, data: tuple, weights: Any, fold: np.ndarray | None, solver: Any
) -> tuple[Posed, Quadratic, Rows, tuple[np.ndarray, np.ndarray]] | None:
    """The problem as quadratics on the host, if that is what it is and moments of it are what a fit should take."""
    if not (isinstance(solver, WorkingSet) or (isinstance(solver, str) and solver == "auto")):
        return None
    posed = pose(objectives[0], params, data, weights)
    if not is_on_host(data):
        return None
    base = None if weights is None else np.asarray(weights, float)
    if fold is not None:
        base = np.ones(len(fold)) if base is None else base
        in_fold = fold == np.arange(fold.max() + 1)[:, None]
    problem = quadratic(posed, base if fold is None or base is None else np.where(in_fold, base, 0.0))
    if problem is None:
        return None
    rows = rows_on_host(posed, problem, base)
    if rows is None:
        return None
    design = rows.design
    small = 8 * design.shape[1] ** 2 * len(problem.value) <= MOST_BYTES
    double = np.finfo(_dtype(params)).bits == 64 and rows.is_double
    strengths, constants = strengths_of(posed, objectives, problem.coefficients)
    if not np.all(strengths > 0) or not (double if _is_wide(rows) else small):
        return None
    return posed, problem, rows, (strengths, constants)


def _is_wide(rows: Rows) -> bool:
    n, d = rows.design.shape
    return d > max(n, ALWAYS)


def _contiguous(rows: np.ndarray) -> Any:
    """Row numbers, as a slice where they are contiguous: that makes no copy."""
    return slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows


def _part(rows: Rows, group: Any, problem: Quadratic, number: int, moments: bool = True) -> _Parts:
    """Moments of a group of rows, which is row ``number`` of the weights; without those of the design, if so asked."""
    design, curvature, slopes = rows.design[group], rows.curvature[group], rows.slopes[group]
    constant = bool(np.all(curvature == curvature[0]))
    n, d = design.shape
    xx = np.zeros((0, 0))
    step = n if design.dtype == np.float64 and constant else CHUNK
    for start in range(0, n if moments else 0, step):
        at = slice(start, start + step)
        chunk = design[at].astype(np.float64, copy=False)
        if not constant:
            chunk = chunk * np.sqrt(curvature[at])[:, None]
        product = chunk.T @ chunk
        xx = product if start == 0 else np.add(xx, product, out=xx)
    if constant and curvature[0] != 1.0:
        xx *= curvature[0]
    still = curvature == 0
    size = float(np.sum(np.square(slopes) / np.where(still, 1.0, curvature)))
    v, vv = np.asarray(problem.gradient[number], float), np.asarray(problem.hessian[number], float)
    gradient, xv = slopes @ design, (rows.cross[:, group] @ design).T
    return _Parts(xx, xv, gradient, np.diagonal(xx).copy(), float(problem.value[number]), v, vv, size)


class _Fitted:
    """The quadratic of all parts but one."""

    def __init__(self, parts: list[_Parts], but: int | None, problem: Quadratic):
        """Add up what is small, and leave the moments of the design where they are."""
        others = [part for f, part in enumerate(parts) if f != but]
        self._blocks = [part.xx for part in others]
        self.diagonal_x = np.sum([part.diagonal for part in others], axis=0)
        self._xv = np.sum([part.xv for part in others], axis=0)
        rest = (np.asarray(part[-1], float) for part in (problem.gradient, problem.hessian))
        v, self._vv = (np.sum([*own, last], axis=0) for own, last in zip(
            ([p.v for p in others], [p.vv for p in others]), rest, strict=True)
        )  # fmt: skip
        self.gradient = np.concatenate([np.sum([part.x for part in others], axis=0), v])
        self.diagonal = np.concatenate([self.diagonal_x, np.diagonal(self._vv)])
        self.value = sum(part.value for part in others) + float(problem.value[-1])
        self.size = float(np.sqrt(sum(part.size for part in others)))

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Rows of the Hessian."""
        d = len(self._xv)
        is_x = index < d
        found = np.empty((len(index), len(self.gradient)))
        own, other = index[is_x], index[~is_x] - d
        block = self._blocks[0][own]
        for more in self._blocks[1:]:
            block += more[own]
        found[is_x, :d], found[is_x, d:] = block, self._xv[own]
        found[~is_x, :d], found[~is_x, d:] = self._xv.T[other], self._vv[other]
        return found


def _walk(
    parts: list[_Parts], but: int | None, problem: Quadratic, strengths: np.ndarray, tol: float, dtype: Any
) -> list[Point] | None:
    """A fit for each row of ``strengths``, or ``None`` where one cannot be certified."""
    fitted = _Fitted(parts, but, problem)
    p, q = len(fitted.gradient), len(problem.v)
    precision = float(np.finfo(float).eps) * np.sqrt(len(problem.slopes))
    found = []
    try:
        active = ActiveSet(fitted.rows, fitted.gradient, fitted.diagonal, np.arange(p - q, p), fitted.size, precision)
        for strength in strengths:
            kink, before = np.concatenate([strength, np.zeros(q)]), active.num_steps
            edm = active.solve(kink, tol)
            if np.finfo(dtype).bits < 64:
                active.round_to(dtype)
                edm = active.expected_decrease(kink)
            if not edm <= tol:
                return None
            value = fitted.value + 0.5 * float((fitted.gradient + active.gradient) @ active.x)
            value += float(kink @ np.abs(active.x))
            found.append(Point(active.x.copy(), value, edm, active.violation(kink), active.num_steps - before))
    except Undetermined:
        return None
    return found


def _walk_wide(
    rows: Rows, left_out: tuple[int, Any] | None, problem: Quadratic, strengths: np.ndarray, tol: float
) -> list[Point] | None:
    """The same without moments of all columns; ``left_out`` is the number and the rows of a fold, or ``None``."""
    value, gradient, hessian = (np.asarray(p, float) for p in (problem.value, problem.gradient, problem.hessian))
    slopes, curvature, cross = rows.slopes, rows.curvature, rows.cross
    if left_out is not None:
        number, group = left_out
        value, gradient, hessian = (np.delete(p, number, axis=0) for p in (value, gradient, hessian))
        slopes, curvature, cross = slopes.copy(), curvature.copy(), cross.copy()
        slopes[group] = curvature[group] = cross[:, group] = 0.0
    along = slopes @ rows.design if left_out is not None else np.asarray(problem.along)
    sums = float(value.sum()), gradient.sum(axis=0), hessian.sum(axis=0)
    return walk_wide(
        WideProblem(rows.design, slopes, curvature, cross, *sums, along, np.asarray(problem.norm)), strengths, tol
    )


def _score(rows: Rows, group: Any, part: _Parts, z: np.ndarray) -> np.ndarray:
    """Log-likelihood of a group of rows for each row of ``z``."""
    x, v = z[:, : len(part.x)], z[:, len(part.x) :]
    eta = x @ rows.design[group].T
    of_rows = eta @ rows.slopes[group] + 0.5 * np.square(eta) @ rows.curvature[group]
    of_v = v @ part.v + 0.5 * np.sum((v @ part.vv) * v, axis=1) + np.sum((eta @ rows.cross[:, group].T) * v, axis=1)
    return -(part.value + of_rows + of_v)
