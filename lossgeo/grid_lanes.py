"""The fits of one value of a grid side by side: their gradients, Hessians, values and scores."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo.objective import Objective
from lossgeo.posing import Posed, as_problem, pose
from lossgeo.structure import RowDerivatives

__all__ = ["GridLanes", "held_out_rows"]

UNEVEN = 1.5
"""Rows of as many folds as there are, were all as large as the largest, relative to the number of rows."""


class GridLanes:
    """The fits of one value of the grid; lives inside a trace."""

    def __init__(
        self,
        objective: Objective,
        params: Any,
        data: tuple[Any, ...],
        weights: Any,
        unravel: Any,
        held_out: Any = None,
        groups: Any = None,
    ):
        """Keep what they share, and their weights."""
        self._objective, self._params, self._data, self._unravel = objective, params, data, unravel
        self._weights, self._held_out, self._groups = weights, held_out, groups

    def _posed(self, weights: Any) -> Posed:
        return pose(self._objective, self._params, self._data, weights)

    def _each(self, fn: Callable[[Any, Any], Any], z: jax.Array, over: Callable[..., Any] = jax.vmap) -> Any:
        """``fn(unconstrained coordinates, posed)`` for each fit."""
        if self._weights is None:
            return jax.tree.map(lambda leaf: leaf[None], fn(self._unravel(z[0]), self._posed(None)))
        return over(lambda args: fn(self._unravel(args[0]), self._posed(args[1])))((z, self._weights))

    def gradient(self, z: jax.Array) -> jax.Array:
        """Gradients, shape ``(k, p)``."""

        def one(u: Any, posed: Posed) -> jax.Array:
            known = _known(posed)
            known.side_by_side = self._weights is not None
            return ravel_pytree(known.value_and_grad(u, posed)[1])[0]

        return self._each(one, z)

    def rows_hessian(self, z: jax.Array) -> jax.Array:
        """Hessians of the likelihoods, shape ``(k, p, p)``, one after another: each fills the cache."""

        def one_by_one(fn: Any) -> Any:
            return functools.partial(jax.lax.map, fn)

        return self._each(lambda u, posed: _known(posed).of_rows(u, posed)[1], z, one_by_one)

    def shared_hessian(self, z: jax.Array) -> jax.Array | None:
        """The same at the mean of ``z``, from the Hessians of what each fold holds out; ``None`` if not possible."""
        if self._groups is None:
            return None
        posed = self._posed(self._weights[0] + self._held_out[0])
        found = _known(posed).curvatures(self._unravel(jnp.mean(z, axis=0)), posed)
        if found is None:
            return None
        design, h = found

        def of_rows(rows: jax.Array) -> jax.Array:
            x = design.at[rows].get(mode="clip")
            return linalg.weighted_gram(x, h.at[rows].get(mode="fill", fill_value=0.0), x)

        parts = jax.lax.map(of_rows, self._groups)
        return jnp.sum(parts, axis=0)[None] - parts

    def prior_hessian(self, z: jax.Array) -> jax.Array:
        """Hessians of the priors, shape ``(k, p, p)``."""
        return self._each(lambda u, posed: _known(posed).of_remainder(u, posed)[1], z)

    def params(self, z: jax.Array) -> Any:
        """Parameters."""
        return self._each(lambda u, posed: posed.to_params(u), z)

    def value(self, z: jax.Array) -> jax.Array:
        """Objectives in nats, shape ``(k,)``."""
        return self._each(lambda u, posed: _known(posed).value_and_grad(u, posed)[0], z)

    def score(self, z: jax.Array, held_out: jax.Array) -> jax.Array:
        """Weighted log-likelihoods of what is held out, shape ``(k,)``."""

        def one(u: Any, posed: Posed) -> jax.Array:
            return posed.objective.log_likelihood(posed.to_params(u), *self._data)

        # A term that is not held out may be infinite.
        return jnp.sum(jnp.where(held_out > 0, held_out * self._each(one, z), 0.0), axis=1)


def _known(posed: Posed) -> RowDerivatives:
    known = as_problem(posed).derivatives
    assert isinstance(known, RowDerivatives)
    return known


def held_out_rows(fold: np.ndarray) -> np.ndarray | None:
    """Rows of each fold, shape ``(k, m)``, filled up with ``n``; ``None`` where folds differ too much in size."""
    sizes = np.bincount(fold)
    if sizes.max() * len(sizes) > UNEVEN * len(fold):
        return None
    order, ends = np.argsort(fold, kind="stable"), np.cumsum(sizes)
    groups = np.full((len(sizes), sizes.max()), len(fold))
    for rows, end, size in zip(groups, ends, sizes, strict=True):
        rows[:size] = order[end - size : end]
    return groups
