"""Folds of a cross-validation: which observations are held out together."""

from typing import Any

import numpy as np

__all__ = ["as_folds"]


def as_folds(folds: Any, n: int, *, groups: Any = None, stratify: Any = None) -> np.ndarray:
    """The fold 0, 1, … of each observation; deterministic.

    Args:
        folds: their number; or the fold of each observation, shape ``(n,)``; or a list of the observations that each
            holds out, as integers; or pairs of those that are fitted and held out, as the splitters of scikit-learn
            make them.
        n: number of observations.
        groups: labels, shape ``(n,)``: a group is held out as a whole. Large groups are placed first, each in the
            smallest fold. Only with a number of folds.
        stratify: labels, shape ``(n,)``: those of each label are dealt out to the folds in turn. Only with a number of
            folds.

    Returns:
        Integers, shape ``(n,)``. Without labels a number of folds makes contiguous ones.

    Raises:
        ValueError: observations in no fold or in two, gaps in the numbers, fewer than two folds, fewer groups than
            folds, labels of another shape, labels where the folds are given.
    """
    if not isinstance(folds, list | tuple) and np.ndim(folds) == 0:
        return _numbered(int(folds), n, groups, stratify)
    if groups is not None or stratify is not None:
        raise ValueError("groups and stratify tell how to make a number of folds, but the folds themselves are given.")
    if isinstance(folds, list | tuple) and any(isinstance(entry, tuple) or np.ndim(entry) for entry in folds[:1]):
        return _from_indices(list(folds), n)
    fold = np.asarray(folds)
    if fold.shape != (n,) or fold.dtype.kind not in "iu":
        raise ValueError(
            f"folds must be a number or integers of shape ({n},), one for each observation, but has shape {fold.shape} "
            f"and dtype {fold.dtype}."
        )
    present = np.unique(fold)
    if len(present) < 2 or not np.array_equal(present, np.arange(len(present))):
        raise ValueError(f"folds must be numbered 0, 1, ... without gaps and at least two, but are {present[:10]}.")
    return fold


def _numbered(count: int, n: int, groups: Any, stratify: Any) -> np.ndarray:
    """So many folds of about the same size."""
    if not 2 <= count <= n:
        raise ValueError(f"folds must be between 2 and the {n} observations, but is {count}.")
    if groups is not None and stratify is not None:
        raise ValueError("folds are made by groups or by strata, but both are given: make the folds yourself.")
    if groups is None and stratify is None:
        return np.arange(n) * count // n
    name, labels = ("groups", groups) if stratify is None else ("stratify", stratify)
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), a label for each observation, but has shape {labels.shape}.")
    _, label, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if groups is None:
        fold = np.empty(n, int)
        fold[np.argsort(label, kind="stable")] = np.arange(n) % count
        return fold
    if len(sizes) < count:
        raise ValueError(f"there are {len(sizes)} groups, fewer than the {count} folds: take fewer folds.")
    total, fold_of = np.zeros(count, int), np.empty(len(sizes), int)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(total)
        total[fold_of[group]] += sizes[group]
    return fold_of[label]


def _from_indices(folds: list[Any], n: int) -> np.ndarray:
    """From the observations that each fold holds out."""
    fold, times = np.full(n, -1), np.zeros(n, int)
    for number, entry in enumerate(folds):
        pair = isinstance(entry, tuple) and len(entry) == 2 and np.ndim(entry[1]) == 1
        out = np.asarray(entry[1] if pair else entry)
        if out.ndim != 1 or out.dtype.kind not in "iu" or not out.size or np.any((out < 0) | (out >= n)):
            raise ValueError(
                f"folds[{number}] must list the observations that it holds out, integers from 0 to {n - 1}, but is "
                f"{entry!r}."
            )
        if pair and not np.array_equal(np.sort(entry[0]), np.setdiff1d(np.arange(n), out)):
            raise ValueError(
                f"folds[{number}] must be fitted to all observations that it does not hold out, but its first part is "
                "something else."
            )
        fold[out] = number
        np.add.at(times, out, 1)
    if len(folds) < 2 or np.any(times != 1):
        raise ValueError(
            f"at least two folds must hold out each observation once, but {int(np.sum(times == 0))} are never held out "
            f"and {int(np.sum(times > 1))} more than once, in {len(folds)} folds."
        )
    return fold
