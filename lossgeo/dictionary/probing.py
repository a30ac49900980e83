"""Probes: points where an objective is evaluated to find out, or to certify, what it is.

All probes of an objective that JAX can trace run as one compiled program; any other callable is asked one by one.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["CELLS", "SIZES", "Values", "certificate_bound", "evaluate", "row_scale", "rows_at_once", "unit_of"]

SIZES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Sizes of probes in units of the linear predictor: the center, the shoulders, and the tails of a loss."""

CELLS = 2**21
"""Numbers of the size of the data that a batch of probes may hold."""


class Values(NamedTuple):
    """Values of an objective at probes ``(P,)``; gradients, a list of ``(P, *shape)``, or ``None``; their ``eps``."""

    values: np.ndarray
    slopes: list[np.ndarray] | None
    eps: float


def rows_at_once(data: Any, count: int) -> int:
    """How many probes fit in one batch."""
    largest = max([np.size(leaf) for leaf in jax.tree.leaves(data)], default=1)
    return int(np.clip(CELLS // max(largest, 1), 1, count))


def evaluate(objective: Callable[..., Any], tree: Any, probes: Sequence[np.ndarray], data: tuple[Any, ...]) -> Values:
    """Evaluate an objective at probes.

    Args:
        objective: ``(params, *data) -> ()``.
        tree: structure of the parameters.
        probes: one array of shape ``(P, *shape)`` for each leaf.
        data: passed on; as they are to a callable that JAX cannot trace.
    """
    count = len(probes[0])

    def one(leaves: list[jax.Array], arrays: Any) -> tuple[jax.Array, list[jax.Array]]:
        def value(leaves: list[jax.Array]) -> jax.Array:
            return jnp.asarray(objective(jax.tree.unflatten(tree, leaves), *arrays)).reshape(())

        return jax.value_and_grad(value)(leaves)

    def all_of_them(leaves: list[jax.Array], arrays: Any) -> tuple[jax.Array, list[jax.Array]]:
        size = rows_at_once(arrays, count)
        return jax.lax.map(lambda v: one(v, arrays), leaves, batch_size=size)

    try:
        arrays = jax.tree.map(jnp.asarray, data)
        values, slopes = jax.jit(all_of_them)([jnp.asarray(p, float) for p in probes], arrays)
    except Exception:  # whatever a foreign callable raises when it meets a tracer
        found = [
            float(objective(jax.tree.unflatten(tree, [np.array(p[k]) for p in probes]), *data)) for k in range(count)
        ]
        return Values(np.array(found), None, float(np.finfo(float).eps))
    eps = float(jnp.finfo(values.dtype).eps)
    return Values(np.asarray(values, float), [np.asarray(s, float) for s in slopes], eps)


def unit_of(x: np.ndarray) -> np.ndarray:
    """Coefficients that move the linear predictor by about 1, one for each column; 1 for a column of zeros."""
    size = np.sqrt(np.mean(np.square(np.asarray(x, float)), axis=0))
    return 1 / np.where(size > 0, size, 1.0)


def row_scale(values: np.ndarray) -> np.ndarray:
    """What an error of each value is compared with: its distance from the middle, and at least the usual spread.

    A relative error at each probe, so that the large values of large probes do not hide what happens at small ones.
    """
    distance = np.abs(values - np.median(values))
    return distance + np.median(distance)


def certificate_bound(values: np.ndarray, magnitude: float, eps: float, *, proposed: bool = False) -> float:
    """Largest relative residual that rounding explains; beyond a cap it would certify nothing.

    Args:
        values: of the objective at the probes.
        magnitude: size of the numbers that were added up.
        eps: of their floating type.
        proposed: whether the decomposition was proposed by declared parts and not fitted to the values; then the cap is
            higher in single precision.
    """
    rounding = magnitude / max(float(np.median(row_scale(values))), 1e-300)
    return min(eps * (1e4 + 64 * rounding), max(1e-6, (1e3 if proposed else 64) * eps))
