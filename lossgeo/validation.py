"""Validation at the door of ``fit``: every fault of the input is an error with words, before any iteration.

Shapes, dtypes and trees are checked on the host from static information. Values (finite, inside supports) are counted
inside the compiled fit, which does not iterate if any count is positive; only then does the host look for the position.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._compilation import quick_jit
from lossgeo._pytree import path_name, pytree
from lossgeo.likelihoods import Likelihood
from lossgeo.messages import coordinate_names
from lossgeo.objective import Objective
from lossgeo.on_simplex import reaches_faces, why_not_in_place
from lossgeo.posing import Posed
from lossgeo.supports import Point, Simplex
from lossgeo.targets import first_value, nonpositive, raise_for_target

__all__ = ["Checks", "check_values", "prepare", "raise_for", "raise_for_start"]


FEW = 1 << 16
"""Entries up to which each is looked at, with no pass ahead that tells whether all are well."""


@pytree
class Checks:
    """Counts of values that must not be there.

    Args:
        data: non-finite values in each leaf of the data (weights last).
        params: values of each parameter leaf outside its support.
        target: target values outside the support of their distribution; ``None`` where it is not known.
        passed: whether all counts are 0.
    """

    data: list[jax.Array]
    params: list[jax.Array]
    target: jax.Array | None
    passed: jax.Array


def check_values(posed: Posed, *, fitted: bool = False, seen: tuple[jax.Array, jax.Array] | None = None) -> Checks:
    """Count the faulty values; pure. Only a ``fitted`` held parameter must have its value, a start may not.

    ``seen`` is a leaf of the data with a number that is finite only if all its values are: a large one that has been
    read already is not read again.
    """
    likelihood = posed.objective.likelihood
    if posed.weights is not None:  # their shape is checked before any solver multiplies with them
        jax.eval_shape(lambda w: likelihood.total(posed.template, *posed.data, weights=w), posed.weights)

    def outside(good: Any) -> jax.Array:
        return jnp.sum(~jnp.asarray(good))

    def not_finite(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(0)
        if leaf.size <= FEW:
            return jnp.sum(~jnp.isfinite(leaf))
        # One fast pass when all is well: 0 times a number that is not finite is NaN.
        total = seen[1] if seen is not None and leaf is seen[0] else jnp.sum(leaf * 0)
        return jax.lax.cond(
            jnp.isfinite(total), lambda: jnp.asarray(0), lambda: jnp.sum(~jnp.isfinite(leaf)).astype(int)
        )

    data = [not_finite(leaf) for leaf in jax.tree.leaves((posed.data, posed.weights))]
    if posed.weights is not None:
        data[-1] = data[-1] + jnp.sum(posed.weights < 0)
    leaves = jax.tree.leaves(posed.template)
    params = [
        outside(good) if fitted or not isinstance(s, Point) else jnp.asarray(0)
        for s, good in zip(posed.supports, _inside(posed, leaves, fitted), strict=True)
    ]
    target = likelihood.outside_support(posed.template, *posed.data) if posed.data else None
    target_count = None if target is None else jnp.sum(target)
    counts = jax.tree.leaves((data, params, target_count))
    return Checks(data, params, target_count, jnp.asarray(sum(counts, start=jnp.asarray(0)) == 0))


def _inside(posed: Posed, leaves: list[Any], fitted: bool) -> list[Any]:
    """Which values lie in their supports; an optimum may have weights of 0 where those are within reach."""
    faces = fitted and reaches_faces(posed)
    return [
        s.closure_contains(leaf) if faces and isinstance(s, Simplex) else s.contains(leaf)
        for s, leaf in zip(posed.supports, leaves, strict=True)
    ]


def prepare(
    objective: Objective, init_params: Any, data: tuple[Any, ...], weights: Any
) -> tuple[Any, tuple[Any, ...], Any]:
    """Convert to arrays and check what is static.

    Raises:
        TypeError: a parameter that is not floating, data that are not numeric.
        ValueError: no data where some are needed, empty data, weights of the wrong shape, parameters that are missing,
            a prior whose scale, rate or concentration is not positive.
    """
    if not isinstance(objective, Objective):
        advice = ""
        if isinstance(objective, Likelihood):
            advice = " Wrap it: lg.map_objective(likelihood), which is maximum likelihood without a prior."
        elif callable(objective):
            advice = " Wrap it: lg.map_objective(lg.likelihood(model)), or lg.map_objective(log_likelihood)."
        raise TypeError(
            f"objective must come from lg.map_objective(likelihood, prior), but is {type(objective).__name__}.{advice}"
        )
    count = len(data)
    data = tuple(_as_data(entry, functools.partial(_data_name, i, count)) for i, entry in enumerate(data))
    for index, entry in enumerate(data):
        for path, leaf in jax.tree_util.tree_flatten_with_path(entry)[0]:
            if leaf.shape[:1] == (0,):
                raise ValueError(
                    f"{_data_name(index, count, path)} is empty: its shape is {leaf.shape}. At least one "
                    "observation is needed."
                )
    if weights is not None:
        weights = _as_data(weights, lambda path: "weights")
        if jnp.ndim(weights) != 1:
            raise ValueError(f"weights must have shape (n,), one for each observation, but have {jnp.shape(weights)}.")
    if init_params is None:
        init_params = _start(objective.likelihood, data)
    params = jax.tree_util.tree_map_with_path(_as_param, init_params)
    for entry in objective.prior.entries(params) or []:
        if nonpositive(entry.distribution):
            raise ValueError(f"the prior of {entry.name!r} is no density: its {nonpositive(entry.distribution)}.")
    return params, data, weights


def _start(likelihood: Likelihood, data: tuple[Any, ...]) -> Any:
    """Start values that the model knows, in one compiled call: a dozen operations one by one take half a second."""
    try:
        return _start_compiled(likelihood, data)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
        return likelihood.init(*data)  # a model that looks at values


@quick_jit(small=True)
def _start_compiled(likelihood: Likelihood, data: tuple[Any, ...]) -> Any:
    return likelihood.init(*data)


def raise_for(checks: Checks, posed: Posed, *, fitted: bool = False) -> None:
    """Raise for the first fault, with its name, its position and its value; ``fitted`` as for :func:`check_values`.

    Raises:
        ValueError: data not finite, negative weights, targets or parameters outside their supports.
    """
    counts = [int(c) for c in checks.data]
    found = [
        (_data_name(i, len(posed.data), path), leaf)
        for i, entry in enumerate(posed.data)
        for path, leaf in jax.tree_util.tree_flatten_with_path(entry)[0]
    ]
    if posed.weights is not None:
        found.append(("weights", posed.weights))
    for count, (name, leaf) in zip(counts, found, strict=True):
        if count:
            values = np.asarray(leaf)
            bad = ~np.isfinite(values) | ((values < 0) if name == "weights" else False)
            wanted = "finite and not negative" if name == "weights" else "finite"
            raise ValueError(
                f"{name} must be {wanted}, but {count} of {values.size} values are not, the first at "
                f"{first_value(values, bad)}. Drop or impute those observations; a weight of 0 does not hide them."
            )
    names, leaves = _leaf_names(posed.template), jax.tree.leaves(posed.template)
    argument = "params" if fitted else "init_params"
    for name, leaf, support, inside, outside in zip(
        names, leaves, posed.supports, _inside(posed, leaves, fitted), checks.params, strict=True
    ):
        if int(outside):
            bad = ~np.asarray(inside)
            advice = "Start inside the support."
            if fitted:
                advice = "Only the inside of the support can be judged."
                if isinstance(support, Simplex) and bool(jnp.all(support.closure_contains(leaf))):
                    why = why_not_in_place(posed) or "there are too many"
                    advice = f"Weights of 0 can be judged where all parameters are weights, but {why}."
            raise ValueError(
                f"{argument}[{name!r}] must lie in its support, {support.label}, but {int(outside)} of {bad.size} "
                f"values do not, the first at {first_value(np.asarray(leaf), bad)}. {advice}"
            )
    if checks.target is not None and int(checks.target):
        raise_for_target(posed, int(checks.target))


def raise_for_start(posed: Posed) -> None:
    """Raise if the objective or its gradient is not finite at the start, naming the term or the parameter.

    Raises:
        ValueError: likelihood, prior or gradient not finite at ``init_params``.
    """
    objective, params = posed.objective, posed.template
    terms = np.atleast_1d(np.asarray(objective.log_likelihood(params, *posed.data)))
    bad = ~np.isfinite(terms)
    if bad.any():
        found = objective.likelihood.distribution(params, *posed.data[:-1]) if posed.data else None
        fault = f" The model's {nonpositive(found)}." if nonpositive(found) else ""
        raise ValueError(
            f"the log-likelihood is not finite at init_params for {int(bad.sum())} of {terms.size} observations, the "
            f"first at {first_value(terms, bad)}.{fault} Start where the model gives every observation a positive "
            "density."
        )
    log_prior = float(objective.log_prior(params))
    if not np.isfinite(log_prior):
        raise ValueError(f"the log-prior is {log_prior} at init_params. Start where the prior has a positive density.")
    grads = jax.grad(lambda p: objective(p, *posed.data, weights=posed.weights))(params)
    names = coordinate_names(params)
    flat = np.concatenate([np.ravel(np.asarray(g)) for g in jax.tree.leaves(grads)] or [np.zeros(0)])
    wrong = [name for name, value in zip(names, flat, strict=True) if not np.isfinite(value)]
    if wrong:
        raise ValueError(
            f"the gradient of the objective is not finite at init_params with respect to {', '.join(wrong[:5])}. "
            "Typical causes are a square root or a norm at 0, a logarithm of 0, or a where() around a singular "
            "branch."
        )


def _as_data(entry: Any, name: Callable[[Any], str]) -> Any:
    """Arrays of an argument: lists of numbers become one array, trees stay trees."""
    if isinstance(entry, list):
        entry = np.asarray(entry)
    return jax.tree_util.tree_map_with_path(lambda path, leaf: _as_data_leaf(leaf, name(path)), entry)


def _as_data_leaf(value: Any, name: str) -> jax.Array:
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} must not have masked entries, but {int(np.sum(np.ma.getmaskarray(value)))} of {value.size} are. "
            "Drop or impute those observations."
        )
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be numeric, but has dtype {array.dtype}. Encode labels as 0, 1, ... and drop or encode text "
            "columns."
        )
    return _placed(array)


def _as_param(path: Any, value: Any) -> jax.Array:
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"init_params[{path_name(path)!r}] must be floating, but has dtype {array.dtype}. Write 0.0 instead of 0, "
            "or jnp.zeros(d)."
        )
    if array.dtype.itemsize < 4:
        raise TypeError(
            f"init_params[{path_name(path)!r}] has dtype {array.dtype}, in which no optimum can be certified. Use "
            "float32 or float64; the data may be of any precision."
        )
    return _placed(array)


def _placed(array: Any) -> jax.Array:
    """An array on the device, in memory of its own: the caller may write to his.

    ``jnp.asarray`` would compile a program for each shape and copy twice; ``device_put`` copies once or, where the
    memory is aligned, not at all.
    """
    if isinstance(array, jax.Array):
        return array
    placed = jax.block_until_ready(jax.device_put(array))  # the copy is made by another thread
    on_host = all(device.platform == "cpu" for device in placed.devices())
    shared = on_host and placed.unsafe_buffer_pointer() == array.ctypes.data
    return jax.device_put(array.copy()) if shared else placed


def _data_name(index: int, count: int, path: Any) -> str:
    role = " (the target)" if index == count - 1 and count > 1 else ""
    inner = f".{path_name(path)}" if path else ""
    return f"data[{index}]{inner}{role}"


def _leaf_names(tree: Any) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
