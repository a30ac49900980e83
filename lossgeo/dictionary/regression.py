r"""Regression of values on a dictionary: one data term, a constant, and penalties of single coordinates and of leaves.

.. math:: J(\theta_k) = c + \sum_m a_m L_m(\theta_k; \psi)
          + \sum_j \bigl(\tfrac12 p_j\theta_{kj}^2 + q_j|\theta_{kj}|\bigr) + \sum_l g_l\|\theta_{kl}\|

Everything but the shape :math:`\psi` is linear and is projected out: :math:`\psi` is found on a grid and by
Gauss–Newton steps on the projected residual (variable projection). Rows are divided by the size of the value, so that
what happens at small probes is not hidden by large ones; a quarter of the probes is held out.

Reference: Golub, Pereyra (1973), SIAM J. Numer. Anal. 10; Kaufman (1975), BIT 15.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Candidate", "Fitted", "Penalties", "Problem", "penalties_of", "problem_of_values", "regress"]

Array = np.ndarray
PROMISING = 1e-4
"""Relative residual of the projected fit at which an atom is worth a full fit."""


class Penalties(NamedTuple):
    """Columns of the penalties at all probes, each with its kind and the coordinates that it penalizes."""

    columns: Array
    kinds: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]


class Problem(NamedTuple):
    """Values ``(P,)`` to be explained, and what does not depend on the data term.

    Fields: ``scale`` what errors are compared with; ``fit``, which probes are fitted; ``penalties``; ``basis`` of the
    scaled penalties and the constant at fitted probes; ``resolution``, the relative size of a part of the objective
    that rounding hides; ``agree``, the relative difference up to which two coefficients are one.
    """

    values: Array
    scale: Array
    fit: Array
    penalties: Penalties
    basis: Array
    resolution: float
    agree: float


class Candidate(NamedTuple):
    """A data term: its name; its columns ``(k, m)`` at a shape and k probes; a grid of shapes where it has one."""

    label: str
    columns: Callable[[float, Array], Array]
    grid: Array | None = None


class Fitted(NamedTuple):
    """A regression.

    Fields: ``weights`` of the data term; ``shape``; ``constant``; ``l2``, ``l1`` of each coordinate and ``group`` of
    each leaf; ``residual`` at held-out probes; ``condition`` of the scaled columns; ``culprits``, the columns that are
    nearly dependent where it is large.
    """

    weights: Array
    shape: float
    constant: float
    l2: Array
    l1: Array
    group: Array
    residual: float
    condition: float
    culprits: tuple[str, ...] = ()


def penalties_of(leaves: Sequence[Array], pooled: bool) -> Penalties:
    r"""Columns :math:`\tfrac12\theta_j^2` and :math:`|\theta_j|`, and the norm of each leaf with several coordinates.

    Args:
        leaves: one array ``(P, size)`` for each leaf.
        pooled: whether all coordinates of a leaf share one coefficient.
    """
    columns: list[Array] = []
    kinds: list[str] = []
    members: list[tuple[int, ...]] = []
    start = 0
    for leaf in leaves:
        size = leaf.shape[1]
        blocks = [range(size)] if pooled else [range(j, j + 1) for j in range(size)]
        for block in blocks:
            part = leaf[:, block.start : block.stop]
            own = tuple(start + j for j in block)
            for kind, column in (("l2", 0.5 * np.sum(part * part, axis=1)), ("l1", np.sum(np.abs(part), axis=1))):
                columns.append(column)
                kinds.append(kind)
                members.append(own)
        if size > 1:
            columns.append(np.linalg.norm(leaf, axis=1))
            kinds.append("group")
            members.append(tuple(range(start, start + size)))
        start += size
    return Penalties(np.array(columns).T, tuple(kinds), tuple(members))


def problem_of_values(
    values: Array, scale: Array, fit: Array, penalties: Penalties, resolution: float, agree: float
) -> Problem:
    """Join values and penalties; see :class:`Problem`."""
    others = np.column_stack([np.ones_like(values), penalties.columns]) / scale[:, None]
    fitted = np.flatnonzero(fit)
    return Problem(values, scale, fit, penalties, _basis(others[fitted]), resolution, agree)


def regress(candidate: Candidate, problem: Problem) -> Fitted | float:
    """Fit one data term with all penalties; its relative misfit where that does not come near."""
    values, scale, penalties = problem.values, problem.scale, problem.penalties
    fitted = np.flatnonzero(problem.fit)
    shape = 0.0
    if candidate.grid is not None:
        # A shape is looked for with as many probes as it takes: the search costs a hundred evaluations.
        few = fitted[: min(len(fitted), penalties.columns.shape[1] + 24)]
        others = np.column_stack([np.ones(len(few)), penalties.columns[few]]) / scale[few][:, None]
        search = _Projection(candidate, values, scale, few, _basis(others))
        shape = search.refine(float(min(candidate.grid, key=lambda value: search(float(value))[0])))
    projection = _Projection(candidate, values, scale, fitted, problem.basis)
    misfit, left, weights = projection(shape)
    if not misfit < PROMISING:
        return misfit
    # A data term that moves nothing would stand for any objective that penalties alone reproduce. One that the
    # penalties span is told by its condition number.
    raw = np.linalg.norm(candidate.columns(shape, fitted) / scale[fitted][:, None], axis=0)
    spanned = np.any(np.linalg.norm(left, axis=0) < 1e-7 * raw)
    if not spanned and np.min(np.linalg.norm(left * weights, axis=0)) < 1e-8 * projection.size:
        return math.inf
    return _full(candidate, shape, problem)


class _Projection:
    """What is left of values and of a data term outside the span of the penalties."""

    def __init__(self, candidate: Candidate, values: Array, scale: Array, rows: Array, basis: Array):
        self._candidate, self._scale, self._rows, self._basis = candidate, scale[rows][:, None], rows, basis
        scaled = values[rows] / scale[rows]
        self.target, self.size = _outside(basis, scaled), float(np.linalg.norm(scaled))

    def __call__(self, shape: float) -> tuple[float, Array, Array]:
        """Relative misfit, projected columns and their weights at a shape."""
        with np.errstate(all="ignore"):
            columns = self._candidate.columns(shape, self._rows) / self._scale
        if not np.all(np.isfinite(columns)):
            return math.inf, columns, np.zeros(columns.shape[1])
        left = _outside(self._basis, columns)
        weights = np.linalg.lstsq(left, self.target, rcond=None)[0]
        return float(np.linalg.norm(self.target - left @ weights)) / self.size, left, weights

    def refine(self, shape: float) -> float:
        """Gauss–Newton steps in the logarithm of the shape, with backtracking, for as long as they are worth it."""
        misfit, left, weights = self(shape)
        for count in range(60):
            step = 1e-5
            ahead, behind = self(shape * math.exp(step))[1], self(shape * math.exp(-step))[1]
            if not (np.all(np.isfinite(ahead)) and np.all(np.isfinite(behind))):
                return shape
            slope = ((ahead - behind) @ weights) / (2 * step)
            solution = np.linalg.lstsq(np.column_stack([left, slope]), self.target, rcond=None)[0]
            move, better = float(np.clip(solution[-1], -1.0, 1.0)), False
            for _ in range(8):
                trial = shape * math.exp(move)
                found = self(trial)
                if found[0] < misfit:
                    better = True
                    break
                move /= 4
            if not better:
                return shape
            gain, shape, (misfit, left, weights) = misfit - found[0], trial, found
            # Where the shape is right the misfit falls to rounding; where it settles above, no shape is right.
            settled = count > 4 and gain < 0.05 * misfit and misfit > 1e-9
            if abs(move) < 1e-15 or gain < 1e-18 or settled:
                return shape
        return shape


def _basis(columns: Array) -> Array:
    norms = np.linalg.norm(columns, axis=0)
    u, s, _ = np.linalg.svd(columns / np.where(norms > 0, norms, 1), full_matrices=False)
    return u[:, s > 1e-12 * s[0]]


def _outside(basis: Array, columns: Array) -> Array:
    """What the basis does not span; projected twice, because once leaves rounding behind."""
    for _ in range(2):
        columns = columns - basis @ (basis.T @ columns)
    return columns


def _full(candidate: Candidate, shape: float, problem: Problem) -> Fitted:
    """All coefficients at once; parts that rounding explains are dropped, coordinates that agree share one."""
    values, scale, fit, penalties, _, resolution, agree = problem
    size = 1 + max(j for places in penalties.members for j in places)
    own = candidate.columns(shape, np.arange(len(values)))
    m = own.shape[1]
    labels = [candidate.label] * m + ["constant"]
    labels += [f"{k} of coordinates {_span(g)}" for k, g in zip(penalties.kinds, penalties.members, strict=True)]
    columns = np.column_stack([own, np.ones(len(values)), penalties.columns])
    kinds = ["loss"] * m + ["constant", *penalties.kinds]
    members: list[tuple[int, ...]] = [()] * (m + 1) + list(penalties.members)
    condition, culprits = _condition(columns / scale[:, None], labels, fit)
    kept, solution = _solve(columns, values, scale, fit, m, resolution)
    # Coordinates of one kind whose coefficients agree are one term: fewer numbers, each told by more values.
    merged_columns, merged_kinds, merged_members = (
        [columns[:, j] for j in range(m + 1)],
        kinds[: m + 1],
        members[: m + 1],
    )
    for kind in ("l2", "l1", "group"):
        places = [int(j) for j in np.flatnonzero(kept) if kinds[j] == kind]
        for cluster in _clusters(places, solution, agree):
            merged_columns.append(np.sum(columns[:, cluster], axis=1))
            merged_kinds.append(kind)
            merged_members.append(tuple(sorted(i for j in cluster for i in members[j])))
    columns, kinds, members = np.array(merged_columns).T, merged_kinds, merged_members
    _, solution = _solve(columns, values, scale, fit, len(kinds), resolution)
    error = np.abs(columns @ solution - values) / scale
    l2, l1, group = np.zeros(size), np.zeros(size), np.zeros(size)
    for kind, own_places, coefficient in zip(kinds, members, solution, strict=True):
        if kind in ("l2", "l1", "group"):
            {"l2": l2, "l1": l1, "group": group}[kind][list(own_places)] = coefficient
    return Fitted(
        solution[:m], shape, float(solution[m]), l2, l1, group, float(np.max(error[~fit])), condition, culprits
    )


def _span(places: tuple[int, ...]) -> str:
    return str(places[0]) if len(places) == 1 else f"{places[0]} to {places[-1]}"


def _condition(columns: Array, labels: list[str], fit: Array) -> tuple[float, tuple[str, ...]]:
    """Condition number of the scaled columns, and the names of those in the nearly null direction."""
    norms = np.linalg.norm(columns[fit], axis=0)
    _, s, vt = np.linalg.svd(columns[fit] / np.where(norms > 0, norms, 1), full_matrices=False)
    order = np.argsort(-np.abs(vt[-1]))
    names = [labels[j] for j in order[:4] if abs(vt[-1][j]) > 0.3 * abs(vt[-1][order[0]])]
    return float(s[0] / max(s[-1], 1e-300)), tuple(dict.fromkeys(names))


def _solve(
    columns: Array, values: Array, scale: Array, fit: Array, always: int, resolution: float
) -> tuple[Array, Array]:
    """Weighted least squares; of the columns after the first ``always + 1`` those that move nothing are dropped."""
    scaled = columns[fit] / scale[fit][:, None]
    target = values[fit] / scale[fit]
    norms = np.linalg.norm(scaled, axis=0)
    norms = np.where(norms > 0, norms, 1)
    kept = np.ones(columns.shape[1], bool)
    solution = np.zeros(columns.shape[1])
    for _ in range(3):
        solution[:] = 0
        unit = scaled[:, kept] / norms[kept]
        found = np.linalg.lstsq(unit, target, rcond=None)[0]
        # One step of refinement takes out what squaring the condition number would have left.
        found = found + np.linalg.lstsq(unit, target - unit @ found, rcond=None)[0]
        solution[kept] = found / norms[kept]
        moves = np.abs(solution) * norms / np.sqrt(len(target))
        smaller = kept & ((moves > resolution) | (np.arange(len(kept)) <= always))
        if np.all(smaller == kept):
            break
        kept = smaller
    solution[~kept] = 0
    return kept, solution


def _clusters(places: list[int], solution: Array, agree: float) -> list[list[int]]:
    """Columns whose coefficients agree."""
    clusters: list[list[int]] = []
    for j in sorted(places, key=lambda j: solution[j]):
        last = clusters[-1][-1] if clusters else None
        if last is not None and abs(solution[j] - solution[last]) <= agree * abs(solution[last]):
            clusters[-1].append(j)
        else:
            clusters.append([j])
    return clusters
