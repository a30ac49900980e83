"""Iterative proportional fitting in the log domain, with an implicit derivative."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Axes = tuple[tuple[int, ...], ...]


def margin(table: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    """Sum over all axes but the kept ones."""
    return jnp.sum(table, axis=tuple(i for i in range(table.ndim) if i not in kept))


def _spread(values: jax.Array, kept: tuple[int, ...], ndim: int) -> jax.Array:
    """A margin as a table of full rank, constant along the other axes."""
    return jnp.expand_dims(values, tuple(i for i in range(ndim) if i not in kept))


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def fit_margins(
    log_table: jax.Array, targets: tuple[jax.Array, ...], axes: Axes, tol: float, max_steps: int
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Log of the table with the given margins that is closest to ``exp(log_table)``, and the multipliers of the
    margins.

    The fit is ``log_table`` plus the multipliers, each constant along the axes that its margin sums over.
    """
    for kept, target in zip(axes, targets, strict=True):
        shape = tuple(log_table.shape[i] for i in kept)
        if tuple(sorted(kept)) != tuple(kept) or shape != target.shape:
            raise ValueError(
                f"margin over axes {kept} (to be increasing) has shape {shape}, its target {target.shape}."
            )

    def cycle(state: Any) -> Any:
        table, multipliers, _, count = state
        miss = jnp.zeros((), table.dtype)
        moved = []
        for kept, target, multiplier in zip(axes, targets, multipliers, strict=True):
            others = tuple(i for i in range(table.ndim) if i not in kept)
            current = jax.nn.logsumexp(table, axis=others)
            miss = jnp.maximum(miss, jnp.max(jnp.abs(jnp.exp(current) - target)))
            reachable = (target > 0) & (current > -jnp.inf)
            step = jnp.where(
                reachable, jnp.log(jnp.where(reachable, target, 1.0)) - jnp.where(reachable, current, 0.0), -jnp.inf
            )
            table = table + _spread(step, kept, table.ndim)
            moved.append(multiplier + step)
        return table, tuple(moved), miss, count + 1

    def unfinished(state: Any) -> jax.Array:
        return (state[2] > 0.25 * tol) & (state[3] < max_steps)

    zeros = tuple(jnp.zeros_like(t) for t in targets)
    start = (log_table, zeros, jnp.full((), jnp.inf, log_table.dtype), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, cycle, start)[:2]


@fit_margins.defjvp
def _fit_margins_jvp(axes: Axes, tol: float, max_steps: int, primals: Any, tangents: Any) -> Any:
    """The tangents of the multipliers solve a dense system of the size of the margins."""
    log_table, targets = primals
    d_log, d_targets = tangents
    fitted, multipliers = fit_margins(log_table, targets, axes, tol, max_steps)
    point = jnp.exp(fitted)
    on = point > 0
    d_log = jnp.where(on, d_log, 0.0)
    sizes = [int(np.prod(t.shape)) for t in targets]
    ends = np.cumsum([0, *sizes])

    def adjoint(multipliers: jax.Array) -> jax.Array:
        total = jnp.zeros_like(point)
        for k, kept in enumerate(axes):
            part = multipliers[ends[k] : ends[k + 1]].reshape(targets[k].shape)
            total = total + _spread(part, kept, point.ndim)
        return total

    def forward(table: jax.Array) -> jax.Array:
        return jnp.concatenate([margin(table, kept).reshape((-1,)) for kept in axes])

    gram = jax.vmap(lambda e: forward(point * adjoint(e)))(jnp.eye(int(ends[-1]), dtype=point.dtype))
    rhs = jnp.concatenate([t.reshape((-1,)) for t in d_targets]) - forward(point * d_log)
    # Redundant margins (all sum to one) make the system singular but consistent: fill its constant null space.
    scale = jax.lax.rsqrt(jnp.where(jnp.diagonal(gram) > 0, jnp.diagonal(gram), 1.0))
    gram = gram * scale[:, None] * scale[None, :]
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(gram))
    null = jnp.where((values <= values.size * jnp.finfo(values.dtype).eps * values[-1])[None, :], vectors, 0.0)
    d_flat = scale * jnp.linalg.solve(gram + null @ null.T, scale * rhs)
    d_multipliers = tuple(d_flat[ends[k] : ends[k + 1]].reshape(t.shape) for k, t in enumerate(targets))
    return (fitted, multipliers), (jnp.where(on, d_log + adjoint(d_flat), 0.0), d_multipliers)
