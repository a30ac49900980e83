r"""In which senses an objective and its textbook problem are the same, by solving both.

Values that agree up to a constant (and a positive factor) imply equal gradients, equal minimizers, and equal paths in
the strength of the penalty. None of this survives the preprocessing of a package: standardized columns put another
prior on the coefficients, and a penalized intercept is another model. Each sense is measured and not deduced.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from lossgeo.dictionary.card import Level
from lossgeo.dictionary.numeric import Found, slopes_at
from lossgeo.dictionary.textbook import coefficients, data_of, is_solvable, textbook
from lossgeo.solvers import Status
from lossgeo.solving import solve

__all__ = ["levels_by_solving"]

STRENGTHS = (0.25, 4.0)
CLOSE = 1e-5
"""Relative error up to which solutions to the default tolerance are the same."""


def levels_by_solving(found: Found) -> tuple[Level, ...]:
    """Same minimizer, same path, and the same under the preprocessing of packages; each measured."""
    names = ("same minimizer", "same path", "same with centered columns", "same with standardized columns",
             "same with a penalized intercept")  # fmt: skip
    reason = is_solvable(found)
    if reason:
        return tuple(Level(name, None, math.nan, reason) for name in names)
    return (_argmin(found), _path(found), *_preprocessed(found))


def _solve(found: Found, l2: np.ndarray, l1: np.ndarray, design: Any = None) -> np.ndarray | None:
    """Minimizer of the textbook problem, one number for each coordinate; ``None`` if the solver did not converge."""
    objective = textbook(found, coefficients(found, l2), coefficients(found, l1))
    data = data_of(found)
    data = data if design is None else (jnp.asarray(design), *data[1:])
    start = {"beta": jnp.zeros(np.shape(coefficients(found, l2)))}
    solution = solve(objective, start, *data)
    converged = int(solution.status) == Status.CONVERGED
    return np.asarray(solution.params["beta"]).ravel() if converged else None


def _kkt(found: Found, beta: np.ndarray, factor: float) -> float:
    r"""Violation of stationarity of the objective with its penalty times ``factor``, at a point.

    The largest component of the least subgradient, relative to the median slope at small probes in that coordinate.
    """
    fitted, start, worst = found.fitted, 0, 0.0
    leaves = []
    for shape in found.layout.shapes:
        size = int(np.prod(shape))
        part = beta[start : start + size]
        # Both sides of a kink: the mean of the slopes there is that of the rest of the objective, whatever derivative
        # of |w| at 0 was chosen.
        beside = np.where(part == 0, 1e-9 * max(float(np.max(np.abs(beta))), 1e-9), 0.0)
        leaves.append(np.stack([part + beside, part - beside]).reshape((2, *shape)))
        start += size
    slopes, start = slopes_at(found, leaves), 0
    for slope, usual in zip(slopes, _usual_slopes(found), strict=True):
        g = np.mean(slope, axis=0).ravel()
        own = slice(start, start + g.size)
        w, l2, l1 = beta[own], fitted.l2[own], fitted.l1[own]
        g = g + (factor - 1) * (l2 * w + l1 * np.sign(w))
        g = np.where((w == 0) & (l1 > 0), np.maximum(np.abs(g) - factor * l1, 0.0), np.abs(g))
        size = np.median(np.abs(usual).reshape(-1, g.size), axis=0)
        worst = max(worst, float(np.max(g / np.where(size > 0, size, 1.0))))
        start += g.size
    return worst


def _usual_slopes(found: Found) -> list[np.ndarray]:
    """Slopes at small probes: at all of them, or at a few where each takes two values for each coordinate."""
    small = np.flatnonzero(found.sizes <= 1.0)
    if found.values.slopes is not None:
        return [slope[small] for slope in found.values.slopes]
    return slopes_at(found, [probe[small[:8]] for probe in found.probes])


def _argmin(found: Found) -> Level:
    name, beta = "same minimizer", _solve(found, found.fitted.l2, found.fitted.l1)
    if beta is None:
        return Level(name, None, math.nan, "the textbook problem has no minimizer that the solver can certify")
    error = _kkt(found, beta, 1.0)
    zeros = int(np.sum(beta == 0))
    extra = f", {zeros} exact zeros" if zeros else ""
    return Level(name, error < CLOSE, error, f"slope of the objective at the solution of the textbook problem{extra}")


def _path(found: Found) -> Level:
    name, fitted = "same path", found.fitted
    if not (np.any(fitted.l2) or np.any(fitted.l1)):
        return Level(name, None, math.nan, "there is no penalty to vary")
    errors = []
    for factor in STRENGTHS:
        beta = _solve(found, factor * fitted.l2, factor * fitted.l1)
        if beta is None:
            return Level(name, None, math.nan, f"no certified solution at {factor:g} times the penalty")
        errors.append(_kkt(found, beta, factor))
    text = " and ".join(f"{f:g}" for f in STRENGTHS)
    return Level(name, max(errors) < CLOSE, max(errors), f"at {text} times the penalty")


def _preprocessed(found: Found) -> list[Level]:
    """Solutions after what packages do to columns and intercepts, carried back, against the solution as posed."""
    layout, fitted = found.layout, found.fitted
    names = ("same with centered columns", "same with standardized columns", "same with a penalized intercept")
    free = [k for k in range(len(layout.shapes)) if k not in layout.slopes]
    posed = _solve(found, fitted.l2, fitted.l1)
    if posed is None or len(layout.slopes) != 1 or layout.classes or len(free) > 1:
        reason = "only for one vector of coefficients with at most one intercept and a certified solution"
        return [Level(name, None, math.nan, reason) for name in names]
    design = layout.design()
    start = sum(int(np.prod(layout.shapes[k])) for k in range(layout.slopes[0]))
    slopes = np.arange(start, start + layout.x.shape[1])
    mean, sd = np.mean(design[:, slopes], axis=0), np.std(design[:, slopes], axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    levels = []
    for name, scale in zip(names[:2], (np.ones_like(sd), sd), strict=True):
        other = design.copy()
        other[:, slopes] = (design[:, slopes] - mean) / scale
        beta = _solve(found, fitted.l2, fitted.l1, other)
        levels.append(_compared(name, posed[slopes], None if beta is None else beta[slopes] / scale))
    if not free:
        return [*levels, Level(names[2], None, math.nan, "there is no intercept")]
    if not (np.any(fitted.l2) or np.any(fitted.l1)):
        return [*levels, Level(names[2], None, math.nan, "there is no penalty")]
    l2, l1 = fitted.l2.copy(), fitted.l1.copy()
    place = next(j for j in range(design.shape[1]) if j not in slopes)
    l2[place], l1[place] = float(np.max(fitted.l2)), float(np.max(fitted.l1))
    beta = _solve(found, l2, l1)
    return [*levels, _compared(names[2], posed[slopes], None if beta is None else beta[slopes])]


def _compared(name: str, posed: np.ndarray, other: np.ndarray | None) -> Level:
    if other is None:
        return Level(name, None, math.nan, "no certified solution")
    error = float(np.max(np.abs(other - posed)) / max(float(np.max(np.abs(posed))), 1e-300))
    return Level(name, error < CLOSE, error, "coefficients, relative to the largest")
