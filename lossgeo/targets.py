"""What is wrong with a target or a distribution, in words."""

import dataclasses
from typing import Any

import jax
import numpy as np

from lossgeo import supports
from lossgeo.distributions import Distribution, Mixture
from lossgeo.posing import Posed

__all__ = ["first_value", "nonpositive", "raise_for_target"]

POSITIVE = ("scale", "rate", "concentration", "concentration0", "concentration1", "df")
"""Names of hyper-parameters that are positive in every family."""


def nonpositive(distribution: Any) -> str:
    """What hyper-parameter of a distribution is not what it must be, in words; empty if none is.

    Scales and the like must be positive, the weights of a mixture must sum to 1, and so for what it is made of.
    """
    if not isinstance(distribution, Distribution):
        return ""
    for field in dataclasses.fields(distribution):  # type: ignore[arg-type]
        value = getattr(distribution, field.name)
        parts = value if isinstance(value, tuple | list) else (value,)
        inner = [nonpositive(part) for part in parts if isinstance(part, Distribution)]
        if any(inner):
            return next(filter(None, inner))
        if value is None or isinstance(value, jax.core.Tracer):
            continue
        if isinstance(distribution, Mixture) and field.name == "weights":
            sums = np.sum(np.asarray(value), axis=-1)
            if np.any(np.abs(sums - 1) > 1e-5):
                return f"Mixture has weights that must sum to 1, but sum to {sums.flat[np.argmax(np.abs(sums - 1))]}"
        if field.name not in POSITIVE:
            continue
        values = np.asarray(value)
        bad = ~(values > 0)
        if bad.any():
            return f"{type(distribution).__name__} has a {field.name} that must be positive, but is {values[bad][0]}"
    return ""


def raise_for_target(posed: Posed, count: int) -> None:
    """Raise for target values outside the support of their distribution, and say what they look like.

    Raises:
        ValueError: always.
    """
    likelihood = posed.objective.likelihood
    support = likelihood.target_support(posed.template, *posed.data)
    assert support is not None  # its values were counted
    target = jax.tree.map(np.asarray, posed.data[-1])
    parts = [target] if isinstance(target, np.ndarray) else jax.tree.leaves(target)
    bad = np.broadcast_to(~np.asarray(support.contains(posed.data[-1])), parts[0].shape[: np.ndim(parts[0])])
    if bad.shape != parts[0].shape:
        bad = np.broadcast_to(bad.reshape(bad.shape + (1,) * (parts[0].ndim - bad.ndim)), parts[0].shape)
    found = likelihood.distribution(posed.template, *posed.data[:-1])
    name = f" of its distribution, {type(found).__name__}" if found is not None else ""
    values = (
        parts[0]
        if len(parts) == 1
        else np.array([str(row) for row in zip(*(part.tolist() for part in parts), strict=True)])
    )
    raise ValueError(
        f"the target must lie in the support{name}: {support.label}; but {count} of {parts[0].size} values do not, the "
        f"first at {first_value(values, bad)}. {_remedy(support, parts)}"
    )


def _remedy(support: supports.Support, parts: list[np.ndarray]) -> str:
    """What to do, by what the values look like."""
    y = parts[0]
    seen = set(np.unique(y).tolist()) if len(parts) == 1 else set()
    if isinstance(support, supports.Boolean) and seen == {-1.0, 1.0}:
        return "These are signs; labels are 0 and 1: pass (y + 1) / 2."
    if isinstance(support, supports.Boolean) and seen == {1.0, 2.0}:
        return "These count from 1; labels are 0 and 1: pass y - 1."
    if isinstance(support, supports.Integers) and len(parts) == 1 and y.min() == 1 and y.max() == support.high + 1:
        return "These count from 1; class ids count from 0: pass y - 1."
    if isinstance(support, supports.NonnegativeIntegers):
        if np.any(y < 0):
            return "Counts are not negative: drop or correct these."
        return (
            "Counts are whole numbers; for means of counts give sums and an offset, or use the quasi-likelihood "
            "lg.pseudo_likelihood(models.tweedie(1))."
        )
    if isinstance(support, supports.Interval) and np.all((y >= 0) & (y <= 1)):
        return "For shares that may be 0 or 1 use lg.pseudo_likelihood(models.quasi_binomial())."
    if isinstance(support, supports.Positive) and np.all(y >= 0):
        return "For amounts that may be 0 use lg.pseudo_likelihood(models.tweedie(1.5)), or a model of the zeros."
    return "Recode the target or choose another distribution."


def first_value(values: Any, bad: Any) -> str:
    """Position and value of the first bad entry."""
    index = tuple(int(k) for k in np.argwhere(bad)[0])
    where = f"index {index[0] if len(index) == 1 else index}" if index else "its only entry"
    return f"{where}: {np.asarray(values)[index]}"
