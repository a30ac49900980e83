"""The quadratic model of a function on a working set: its Hessian there, equilibrated, in single precision or not."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg

__all__ = ["Loss", "Model", "reduced_model", "replace_columns", "row_curvature"]

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of the linear predictor ``(n,)`` and other coordinates ``(q,)``, independent between rows."""


class Model(NamedTuple):
    r"""Hessian of a working set and the other coordinates, ``(v, x)``, in units that make its diagonal 1.

    Args:
        h: Hessian in these units, in single precision or the working one, shape ``(p, p)`` with ``p = q + k``.
        scale: :math:`H_{jj}^{-1/2}`, in working precision, shape ``(p,)``.
        moves: coordinates with positive curvature, shape ``(p,)``.
        weights: second derivatives of the rows, shape ``(n,)``.
        cross: derivatives of the slopes of the rows with respect to ``v``, shape ``(q, n)``.
        columns: of the working set in these units and the precision of ``h``, shape ``(n, k)``.
        ridge: second derivatives of the penalties off their kink, shape ``(k,)``.
    """

    h: jax.Array
    scale: jax.Array
    moves: jax.Array
    weights: jax.Array
    cross: jax.Array
    columns: jax.Array
    ridge: jax.Array


def row_curvature(loss: Loss, eta: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Second derivatives of the rows, shapes ``(n,)`` and ``(q, n)``, and of the rest, shape ``(q, q)``."""
    push = jax.linearize(jax.grad(loss, argnums=(0, 1)), eta, v)[1]
    weights, _ = push(jnp.ones_like(eta), jnp.zeros_like(v))
    cross, corner = jax.vmap(lambda e: push(jnp.zeros_like(eta), e))(jnp.eye(v.shape[0], dtype=v.dtype))
    return weights, cross, 0.5 * (corner + corner.T)


def reduced_model(
    loss: Loss,
    columns: jax.Array,
    eta: jax.Array,
    v: jax.Array,
    joint: bool | jax.Array,
    dtype: jnp.dtype,
    ridge: jax.Array | None = None,
) -> Model:
    r"""The model at a point; pure, of static shape.

    Args:
        loss: ``(eta (n,), v (q,)) -> ()``, independent between the entries of ``eta`` given ``v``.
        columns: of the working set, shape ``(n, k)``; zero columns may fill it.
        eta: linear predictor, shape ``(n,)``.
        v: other coordinates, shape ``(q,)``.
        joint: whether it is the Hessian itself, which may be indefinite far from the optimum (as for a scale). If not,
            the block diagonal matrix with :math:`|f''|` of the rows and the absolute eigenvalues of the block of
            :math:`v`.
        dtype: of the Hessian; in ``float32`` it takes half the time. The scale is taken out first.
        ridge: second derivatives of the penalties off their kink, shape ``(k,)``; ``None`` for 0.
    """
    ridge = jnp.zeros_like(columns[0]) if ridge is None else ridge
    joint = jnp.asarray(joint)
    weights, cross, corner = row_curvature(loss, eta, v)
    weights = jnp.where(joint, weights, jnp.abs(weights))
    cross = jnp.where(joint, cross, 0.0)
    if v.shape[0]:
        eigenvalues, vectors = jnp.linalg.eigh(corner)
        least = jnp.sqrt(jnp.finfo(v.dtype).eps) * jnp.max(jnp.abs(eigenvalues))
        positive = (vectors * jnp.maximum(jnp.abs(eigenvalues), least)[None, :]) @ vectors.T
        corner = jnp.where(joint, corner, positive)
    diagonal = jnp.concatenate([jnp.diagonal(corner), _weighted_squares(columns, weights) + ridge])
    moves = diagonal > 0
    scale = jnp.where(moves, jax.lax.rsqrt(jnp.where(moves, diagonal, 1.0)), 1.0)
    q = v.shape[0]
    scaled = (columns * scale[None, q:]).astype(dtype)
    h = _symmetric_gram(scaled, weights.astype(dtype))
    h = h + jnp.diag((ridge * jnp.square(scale[q:])).astype(dtype))
    if q:
        top = (corner * scale[:q, None] * scale[None, :q]).astype(dtype)
        side = (cross * scale[:q, None]).astype(dtype) @ scaled
        h = jnp.block([[top, side], [side.T, h]])
    return Model(h, scale, moves, weights, cross, scaled, ridge)


def _weighted_squares(x: jax.Array, w: jax.Array) -> jax.Array:
    """Diagonal of ``X' diag(w) X`` without a copy of the squares."""

    def row_by_row(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, x.shape[0], lambda i, total: total + w[i] * jnp.square(x[i]), jnp.zeros_like(x[0]))

    return jax.lax.platform_dependent(x, w, cpu=row_by_row, default=lambda x, w: w @ jnp.square(x))


def _symmetric_gram(x: jax.Array, w: jax.Array) -> jax.Array:
    """``X' diag(w) X``: three of four blocks, rows in pieces that stay in the cache."""
    n, k = x.shape
    if k < 256 or k % 2:
        return linalg.weighted_gram(x, w, x)
    half = k // 2

    def strips(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        weighted = x * w[:, None]
        return _of_rows(weighted[:, :half], x[:, :half]), _of_rows(weighted[:, half:], x)

    if n < 8 * linalg.GRAM_ROWS:
        top, bottom = strips(x, w)
    else:
        blocks, left_over = divmod(n, linalg.GRAM_ROWS)

        def piece(start: int | jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
            return strips(*(jax.lax.dynamic_slice_in_dim(v, start, size) for v in (x, w)))

        top, bottom = jax.lax.fori_loop(
            0,
            blocks,
            lambda i, total: jax.tree.map(jnp.add, total, piece(i * linalg.GRAM_ROWS, linalg.GRAM_ROWS)),
            piece(blocks * linalg.GRAM_ROWS, left_over),
        )
    return jnp.block([[top, bottom[:, :half].T], [bottom]])


def _of_rows(x: jax.Array, y: jax.Array) -> jax.Array:
    return jax.lax.dot_general(x, y, (((0,), (0,)), ((), ())))


def replace_columns(model: Model, new: jax.Array, ridge: jax.Array, slots: jax.Array) -> Model:
    """The model after the columns at ``slots`` became ``new``, shape ``(n, m)``; slots beyond the end are dropped.

    ``ridge`` is that of the new columns, shape ``(m,)``.
    """
    q, k, dtype = model.cross.shape[0], model.columns.shape[1], model.h.dtype
    diagonal = _weighted_squares(new, model.weights) + ridge
    moves = diagonal > 0
    units = jnp.where(moves, jax.lax.rsqrt(jnp.where(moves, diagonal, 1.0)), 1.0)
    places = jnp.where(slots < k, slots + q, k + q)
    fresh = (new * units[None, :]).astype(dtype)
    columns = model.columns.at[:, slots].set(fresh, mode="drop")
    rows = _of_rows(fresh * model.weights.astype(dtype)[:, None], columns)
    if q:
        rows = jnp.concatenate([((model.cross * model.scale[:q, None]).astype(dtype) @ fresh).T, rows], axis=1)
    own = (ridge * jnp.square(units)).astype(dtype)
    return model._replace(
        h=model.h.at[places]
        .set(rows, mode="drop")
        .at[:, places]
        .set(rows.T, mode="drop")
        .at[places, places]
        .add(own, mode="drop"),
        scale=model.scale.at[places].set(units, mode="drop"),
        moves=model.moves.at[places].set(moves, mode="drop"),
        columns=columns,
        ridge=model.ridge.at[slots].set(ridge, mode="drop"),
    )
