"""Many related fits: along a grid of a hyper-parameter, across folds, from several starts.

Each is a loop of :func:`lossgeo.fit` with warm starts; hyper-parameters, weights and starts are arguments of the
compiled programs, so that all fits of a call share one compilation. Every entry keeps its own certificate and status.
Smooth problems with linear predictors have a faster way, all folds side by side: :mod:`lossgeo.grids`; so have
strengths of an L1 penalty on many coefficients, in blocks: :mod:`lossgeo.sparse_paths`, and of group penalties.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._pytree import path_name
from lossgeo.fitting import Fit, fit, tolerance
from lossgeo.folds import as_folds
from lossgeo.grids import solve_grid
from lossgeo.objective import Objective
from lossgeo.path_records import CrossValidation, Path
from lossgeo.quadratic_paths import quadratic_folds, quadratic_path
from lossgeo.solving import Solution
from lossgeo.sparse_paths import is_strength, sparse_folds, sparse_path
from lossgeo.validation import prepare

__all__ = ["CrossValidation", "Path", "cross_validate", "multistart", "path"]


def path(
    objective: Objective,
    init_params: Any,
    *data: Any,
    grid: Any,
    over: str = "prior.coef.scale",
    weights: Any = None,
    solver: Any = "auto",
    tol: float | None = None,
    max_steps: int | None = None,
) -> Path:
    """Fits along a grid of a hyper-parameter, each started from the one before.

    Give the grid from strong to weak regularisation: then warm starts save most. A fit that does not converge is
    recorded as such and does not end the path; the next starts from the last that did.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        init_params: start of the first fit; ``None`` if the model knows start values.
        data: arguments of the likelihood.
        grid: values, along the first axis; each replaces the leaf, broadcast to its shape.
        over: leaf of the objective: ``"prior.coef.scale"`` is ``scale`` of the prior's distribution for ``coef``.
        weights: as for :func:`lossgeo.fit`.
        solver: as for :func:`lossgeo.fit`.
        tol: as for :func:`lossgeo.fit`.
        max_steps: for each fit, as for :func:`lossgeo.fit`.

    Returns:
        A :class:`Path`.

    Raises:
        ValueError: ``over`` names no leaf of the objective, or the grid is empty or not finite; or as
            :func:`lossgeo.fit`.
    """
    objective, values = _along(objective, over, grid)
    start, data, weights = prepare(objective, init_params, data, weights)
    start = _strongly_typed(start)
    if max_steps is None and is_strength(objective, start, over):
        along = [_replace(objective, over, value) for value in values]
        given = along, start, data, weights, solver, tolerance(start, tol)
        sparse = quadratic_path(*given)
        if sparse is None:
            sparse = sparse_path(*given)
        if sparse is not None:
            return Path(jnp.asarray(grid), *sparse)
    if max_steps is None:
        rows = None if weights is None else weights[None]
        at_once = solve_grid([_replace(objective, over, v) for v in values], start, data, rows, solver, tol)
        if at_once is not None:
            one = jax.tree.map(lambda leaf: leaf[:, 0], at_once)
            return Path(jnp.asarray(grid), one.params, one.value, one.status, one.edm, one.kkt_residual, one.num_steps)
    solutions = []
    for value in values:
        found = _fit(_replace(objective, over, value), start, data, weights, solver, tol, max_steps)
        solutions.append(found.solution)
        start = _warm(start, found)
    return Path(
        jnp.asarray(grid),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(s.params for s in solutions)),
        *_stacked(solutions),
    )


def cross_validate(
    objective: Objective,
    init_params: Any,
    *data: Any,
    grid: Any,
    over: str = "prior.coef.scale",
    folds: int | Any = 5,
    groups: Any = None,
    stratify: Any = None,
    weights: Any = None,
    solver: Any = "auto",
    tol: float | None = None,
    max_steps: int | None = None,
) -> CrossValidation:
    r"""Held-out log-likelihood along a grid of a hyper-parameter.

    .. math:: \sum_{i \in \text{fold } k} w_i\, \log p(y_i \mid x_i, \hat\theta_{-k})

    An observation is held out by a weight of 0, so that all fits have one shape and one compilation. Since the
    objective is a sum, the prior weighs the same on a fold's fewer observations as on all.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        init_params: start; ``None`` if the model knows start values.
        data: arguments of the likelihood, one entry for each observation.
        grid: as for :func:`path`.
        over: as for :func:`path`.
        folds: number of contiguous folds, or the fold 0, 1, … of each observation, shape ``(n,)``, or lists of the
            observations that each holds out, or pairs of those fitted and held out, as from scikit-learn's splitters.
            Shuffle the data, or give random folds, where their order means something.
        groups: labels, shape ``(n,)``: the observations of a group are held out together.
        stratify: labels, shape ``(n,)``: each fold has its share of each label.
        weights: multiply fitted and held-out terms alike.
        solver: as for :func:`lossgeo.fit`.
        tol: as for :func:`lossgeo.fit`.
        max_steps: for each fit, as for :func:`lossgeo.fit`.

    Returns:
        A :class:`CrossValidation`.

    Raises:
        ValueError: the likelihood has one term for all observations, or the folds are faulty; or as :func:`path`.
    """
    objective, values = _along(objective, over, grid)
    params, data, weights = prepare(objective, init_params, data, weights)
    params = _strongly_typed(params)
    terms = jax.eval_shape(lambda p: objective.log_likelihood(p, *data), params)
    if len(terms.shape) != 1:
        raise ValueError(
            "cross_validate needs one log-likelihood term for each observation, shape (n,), but the likelihood "
            f"returns shape {terms.shape}: one dependent unit cannot be split into folds."
        )
    fold = as_folds(folds, terms.shape[0], groups=groups, stratify=stratify)
    base = np.ones(len(fold), terms.dtype) if weights is None else np.asarray(weights, terms.dtype)
    if max_steps is None:
        out = fold[None, :] == np.arange(int(fold.max()) + 1)[:, None]
        fitted, held_out = (jnp.asarray(w) for w in (np.where(out, 0.0, base), np.where(out, base, 0.0)))
        objectives = [_replace(objective, over, v) for v in values]
        if is_strength(objective, params, over):
            bound = tolerance(params, tol)
            sparse = quadratic_folds(objectives, params, data, base, fold, solver, bound)
            if sparse is None:
                sparse = sparse_folds(objectives, params, data, fitted, held_out, solver, bound)
            if sparse is not None:
                return CrossValidation(jnp.asarray(grid), sparse[0], jnp.asarray(fold), *sparse[1:])
        at_once = solve_grid(objectives, params, data, fitted, solver, tol, held_out, fold)
        if at_once is not None:
            return CrossValidation(
                jnp.asarray(grid), at_once.held_out.T, jnp.asarray(fold), at_once.status.T, at_once.edm.T
            )
    scores, statuses, edms = [], [], []
    for k in range(int(fold.max()) + 1):
        start, out = params, fold == k
        for value in values:
            found = _fit(
                _replace(objective, over, value), start, data, np.where(out, 0.0, base), solver, tol, max_steps
            )
            start = _warm(start, found)
            held_out = np.asarray(objective.log_likelihood(found.params, *data))[out]
            scores.append(float(base[out] @ held_out) if int(found.status) == 0 else float("nan"))
            statuses.append(int(found.status))
            edms.append(float(found.edm))
    shape = (-1, len(values))
    return CrossValidation(
        jnp.asarray(grid),
        jnp.asarray(scores).reshape(shape),
        jnp.asarray(fold),
        jnp.asarray(statuses).reshape(shape),
        jnp.asarray(edms).reshape(shape),
    )


def multistart(
    objective: Objective,
    starts: Sequence[Any],
    *data: Any,
    weights: Any = None,
    solver: Any = "auto",
    tol: float | None = None,
    max_steps: int | None = None,
) -> tuple[Fit, Solution]:
    """The best of fits from several starts, for objectives with more than one minimum.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        starts: start values, a sequence of trees of the same structure and shapes.
        data: arguments of the likelihood.
        weights: as for :func:`lossgeo.fit`.
        solver: as for :func:`lossgeo.fit`.
        tol: as for :func:`lossgeo.fit`.
        max_steps: for each fit, as for :func:`lossgeo.fit`.

    Returns:
        The converged :class:`lossgeo.Fit` of least objective (of all, where none converged), and the solutions of all
        starts with stacked arrays, in the order of the starts.

    Raises:
        TypeError: one start in place of a sequence.
        ValueError: no starts, starts of different structure, or as :func:`lossgeo.fit`.
    """
    if isinstance(starts, dict) or hasattr(starts, "shape"):
        raise TypeError(
            "starts must be a sequence of start values, each a tree of parameters, but is one "
            f"{type(starts).__name__}. Pass a list of several, or call lg.fit for one."
        )
    starts = list(starts)
    if not starts:
        raise ValueError("starts must hold at least one start, but is empty.")
    shapes = [jax.tree.map(jnp.shape, start) for start in starts]
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"all starts must have the same shapes, but starts[{index}] has {shape} and not {shapes[0]}."
            )
    fits = [
        fit(objective, s, *data, weights=weights, solver=solver, tol=tol, max_steps=max_steps, throw=False)
        for s in starts
    ]

    def rank(found: Fit) -> tuple[bool, bool, float]:
        value = float(found.value)
        return int(found.status) != 0, not np.isfinite(value), value

    stacked = jax.tree.map(
        lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *(f.solution for f in fits)
    )
    return min(fits, key=rank), stacked


def _fit(
    objective: Objective, start: Any, data: tuple, weights: Any, solver: Any, tol: float | None, max_steps: int | None
) -> Fit:
    return fit(objective, start, *data, weights=weights, solver=solver, tol=tol, max_steps=max_steps, throw=False)


def _warm(start: Any, found: Fit) -> Any:
    """Start of the next fit: the solution, unless it is none."""
    return found.params if int(found.status) == 0 else start


def _strongly_typed(params: Any) -> Any:
    """Of the type that solutions have: a weakly typed start would cost a compilation of its own."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), params)


def _stacked(solutions: list[Solution]) -> list[jax.Array]:
    columns = [
        [getattr(s, name) for s in solutions] for name in ("value", "status", "edm", "kkt_residual", "num_steps")
    ]
    return [jnp.stack([jnp.asarray(v) for v in column]) for column in columns]


def _along(objective: Objective, over: str, grid: Any) -> tuple[Objective, list[jax.Array]]:
    """The objective with the leaf in the form it has along the grid, and the values that it takes."""
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective must come from lg.map_objective(likelihood, prior), but is {type(objective).__name__}."
        )
    values = np.asarray(grid, dtype=float)
    if values.ndim == 0 or len(values) == 0 or not np.all(np.isfinite(values)):
        raise ValueError(f"grid must hold at least one value along its first axis, all finite, but is {grid!r}.")
    leaf = _leaves(objective).get(over)
    if leaf is None:
        known = ", ".join(repr(name) for name in _leaves(objective)) or "none"
        raise ValueError(f"over={over!r} names no hyper-parameter of the objective. Those are {known}.")
    shape = np.shape(leaf)
    if values[0].shape != () and values[0].shape != shape:
        raise ValueError(f"values of the grid have shape {values[0].shape}, but {over!r} has shape {shape}.")
    # Weakly typed scalars, as a hyper-parameter written as a Python number.
    if shape == ():
        return objective, [float(v) for v in values]  # type: ignore[misc]
    return objective, [jnp.broadcast_to(jnp.asarray(v, jnp.result_type(leaf)), shape) for v in values]


def _leaves(objective: Objective) -> dict[str, Any]:
    """Hyper-parameters by the name that a user writes: the containers ``tree`` and ``fn`` are not spelt out."""
    return {_name(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(objective)[0]}


def _name(keys: tuple[Any, ...]) -> str:
    parts = path_name(keys).split(".")
    return (
        ".".join([parts[0], *parts[2:]]) if len(parts) > 1 and parts[1] in ("tree", "fn", "model") else ".".join(parts)
    )


def _replace(objective: Objective, over: str, value: Any) -> Objective:
    flat, tree = jax.tree_util.tree_flatten_with_path(objective)
    return jax.tree.unflatten(tree, [value if _name(keys) == over else leaf for keys, leaf in flat])
