"""Points of the geometry: floating arrays whose last ``ndim`` axes are one point and whose leading axes are a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def floating(*values: ArrayLike) -> list[jax.Array]:
    """Arrays of one common floating dtype; integers become the default float, narrower floats are widened to match."""
    dtype = jnp.result_type(*values)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return [jnp.asarray(v, dtype) for v in values]


def check_last_axes(what: str, ndim: int, *arrays: jax.Array) -> None:
    """Raise unless the arrays have at least ``ndim`` axes and agree in the last ``ndim`` (static, free in jit)."""
    for a in arrays:
        if a.ndim < ndim:
            raise ValueError(f"{what}: a point has {ndim} axes, got an array of shape {a.shape}.")
    events = {a.shape[a.ndim - ndim :] for a in arrays}
    if len(events) > 1:
        shapes = " and ".join(str(a.shape) for a in arrays)
        raise ValueError(f"{what}: shapes {shapes} differ in the last {ndim} axes, which are one point.")


def batch_shape(what: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Common batch shape. Ranks must agree (or be 0), so that ``(n,)`` never meets ``(n, 1)`` by accident."""
    if len({len(s) for s in shapes if s}) > 1:
        listed = " and ".join(str(s) for s in shapes)
        raise ValueError(f"{what}: batch shapes {listed} have different ranks. Reshape one; this is never guessed.")
    return np.broadcast_shapes(*shapes)


def same_event(what: str, ndim: int, *values: ArrayLike) -> list[jax.Array]:
    """Floating arrays that agree in their last ``ndim`` axes."""
    arrays = floating(*values)
    check_last_axes(what, ndim, *arrays)
    return arrays


def same_shape(what: str, ndim: int, *values: ArrayLike) -> list[jax.Array]:
    """Floating arrays broadcast to one shape, after the checks of this module."""
    arrays = same_event(what, ndim, *values)
    batch = batch_shape(what, *(a.shape[: a.ndim - ndim] for a in arrays))
    return [jnp.broadcast_to(a, batch + a.shape[a.ndim - ndim :]) for a in arrays]


def over_batch(fn: Callable[..., Any], what: str, ndims: tuple[int, ...], *arrays: jax.Array) -> Any:
    """Apply ``fn``, written for single points of ``ndims`` axes, over the common batch of the arrays."""
    for a, n in zip(arrays, ndims, strict=True):
        check_last_axes(what, n, a)
    batch = batch_shape(what, *(a.shape[: a.ndim - n] for a, n in zip(arrays, ndims, strict=True)))
    if batch == ():
        return fn(*arrays)
    events = [a.shape[a.ndim - n :] for a, n in zip(arrays, ndims, strict=True)]
    size = int(np.prod(batch))
    flat = [jnp.broadcast_to(a, batch + e).reshape((size, *e)) for a, e in zip(arrays, events, strict=True)]
    out = jax.vmap(fn)(*flat)
    return jax.tree.map(lambda o: o.reshape(batch + o.shape[1:]), out)


def symmetric(x: jax.Array) -> jax.Array:
    """Symmetric part of the last two axes."""
    return 0.5 * (x + jnp.swapaxes(x, -1, -2))
