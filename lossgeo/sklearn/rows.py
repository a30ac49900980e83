"""Rows of data in few sizes and in one floating type, so that few programs are compiled."""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import models
from lossgeo.fitting import Fit, fit
from lossgeo.objective import Objective
from lossgeo.posing import pose
from lossgeo.priors import TreePrior

__all__ = ["FLOATS", "fit_rows", "is_rowwise", "pad", "padded_size", "to_default_float"]

FLOATS = [np.float64, np.float32]
"""What features are converted to on the way in."""

FEW_ROWS = 65_536
"""Up to here compiling takes longer than fitting."""

LOST = 1e-3
"""Rounding of a column, in units of its standard deviation, from which the answer is another one."""


def fit_rows(
    objective: Objective, init: Any, x: np.ndarray, target: np.ndarray, weights: Any, options: dict[str, Any]
) -> Fit:
    """Fit, in a program that is compiled once for many numbers of rows: the folds of a cross-validation differ.

    Models that treat each row by itself get copies of the first row, of weight 0, up to the next size of a coarse
    grid. The fit that is returned holds the data as they came.
    """
    n = x.shape[0]
    size = padded_size(n)
    if not is_rowwise(objective) or size == n or n > FEW_ROWS:
        return fit(objective, init, x, target, weights=weights, throw=False, **options)
    known = np.ones(n, x.dtype) if weights is None else weights
    data = (pad(x, size), pad(target, size))
    try:
        found = fit(
            objective, init, *data, weights=np.append(known, np.zeros(size - n, x.dtype)), throw=False, **options
        )
    except ValueError:  # said again in terms of the rows that came
        return fit(objective, init, x, target, weights=weights, throw=False, **options)
    params = found.params
    weights = None if weights is None else jnp.asarray(weights)
    return dataclasses.replace(found, posed=pose(objective, params, (jnp.asarray(x), jnp.asarray(target)), weights))


def padded_size(n: int) -> int:
    """The next size of a grid of eight steps an octave, at least 64."""
    step = 1 << max(n - 1, 63).bit_length() - 4
    return max(64, -(-n // step) * step)


def pad(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows with copies of the first one appended."""
    return np.concatenate([rows, np.repeat(rows[:1], size - rows.shape[0], axis=0)])


def is_rowwise(objective: Objective) -> bool:
    """Whether the likelihood is known to treat each row by itself, and the prior not to look at rows."""
    likelihood = objective.likelihood
    model = getattr(likelihood, "model", getattr(likelihood, "fn", None))
    known = isinstance(model, models.GLM | models.QuasiGLM | models.SoftmaxRegression | models.OrdinalRegression)
    dispersion: Any = getattr(model, "dispersion", None)
    return known and np.ndim(dispersion) == 0 and isinstance(objective.prior, TreePrior)


def to_default_float(values: np.ndarray, name: str) -> np.ndarray:
    """Values in the floating type that JAX is configured for; a column that rounding destroys is warned about."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    values = np.asarray(values)
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    if dtype == values.dtype or not values.size:
        return rounded
    if not np.all(np.isfinite(rounded)):
        raise ValueError(f"{name} has values beyond the range of {dtype}. Enable double precision or rescale it.")
    lost = np.max(np.abs(rounded - values), axis=0) > LOST * np.std(values, axis=0, dtype=float)
    if np.any(lost & (np.ptp(values, axis=0) > 0)):
        where = f"column {np.flatnonzero(lost)[0]} of {name}" if values.ndim == 2 else name
        warnings.warn(
            f"rounding to {dtype} changes {where} by more than {LOST:g} of its standard deviation: its origin is far "
            "from its values. Subtract the mean, or enable double precision: "
            "jax.config.update('jax_enable_x64', True).",
            stacklevel=4,
        )
    return rounded
