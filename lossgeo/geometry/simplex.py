r"""The probability simplex as a figure: center, plane coordinates, lattices and balls.

Points are probability vectors along the last axis. ``barycentric_to_cartesian`` embeds the simplex of d classes in
:math:`\mathbb{R}^{d-1}` as a regular simplex of side 1 (three classes: the usual triangle with a horizontal base).
``simplex_ball`` traces the boundary of a ball in a plane of three classes, for both directions of KL, Fisher–Rao and
Euclid: side by side they show what each geometry calls near.
"""

import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating, over_batch
from lossgeo.geometry.divergences import kl_divergence
from lossgeo.geometry.geodesics import fisher_rao_categorical

__all__ = [
    "barycentric_to_cartesian", "cartesian_to_barycentric", "simplex_ball", "simplex_center", "simplex_lattice",
    "simplex_vertices",
]  # fmt: skip


def simplex_center(num_classes: int) -> jax.Array:
    """The uniform law on ``num_classes`` points: largest entropy; shape ``(num_classes,)``."""
    return jnp.full((num_classes,), 1.0 / num_classes)


def simplex_vertices(num_classes: int) -> jax.Array:
    """Vertices of a regular simplex of side 1 in ``num_classes - 1`` dimensions, shape ``(num_classes, num_classes -
    1)``.

    Vertex 0 is the origin, vertex 1 lies on the first axis; three classes: (0, 0), (1, 0), (1/2, √3/2).
    """
    vertices = np.zeros((num_classes, num_classes - 1))
    for k in range(1, num_classes):
        foot = vertices[:k].mean(axis=0)
        vertices[k] = foot
        vertices[k, k - 1] = np.sqrt(1 - np.sum((vertices[0] - foot) ** 2))
    return jnp.asarray(vertices)


def barycentric_to_cartesian(p: ArrayLike) -> jax.Array:
    """Cartesian coordinates of barycentric ones, ``(*batch, d) -> (*batch, d - 1)``: an affine map."""
    (p,) = floating(p)
    return p @ simplex_vertices(p.shape[-1]).astype(p.dtype)


def cartesian_to_barycentric(x: ArrayLike) -> jax.Array:
    """Barycentric coordinates of Cartesian ones, ``(*batch, d - 1) -> (*batch, d)``.

    Sum 1, negative outside the simplex.
    """
    (x,) = floating(x)
    edges = simplex_vertices(x.shape[-1] + 1).astype(x.dtype)[1:]
    rest = x @ jnp.linalg.inv(edges)
    return jnp.concatenate([1 - jnp.sum(rest, axis=-1, keepdims=True), rest], axis=-1)


def simplex_lattice(num_classes: int, resolution: int, *, interior: bool = False) -> jax.Array:
    """All probability vectors whose entries are multiples of ``1 / resolution``.

    Args:
        num_classes: d.
        resolution: number of steps along an edge.
        interior: shift the lattice inwards so that no entry is 0.

    Returns:
        Shape ``(count, d)`` with count ``C(resolution + d - 1, d - 1)``.
    """
    bars = itertools.combinations(range(resolution + num_classes - 1), num_classes - 1)
    cuts = np.array(list(bars), dtype=int).reshape((-1, num_classes - 1))
    padded = np.concatenate(
        [np.full((len(cuts), 1), -1), cuts, np.full((len(cuts), 1), resolution + num_classes - 1)], axis=1
    )
    counts = np.diff(padded, axis=1) - 1
    if interior:
        return jnp.asarray((counts + 1.0 / num_classes) / (resolution + 1))
    return jnp.asarray(counts / resolution)


def _euclidean(p: jax.Array, q: jax.Array) -> jax.Array:
    square = jnp.sum((p - q) ** 2, axis=-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _from_center(c: jax.Array, p: jax.Array) -> jax.Array:
    return kl_divergence(c, p)


def _to_center(c: jax.Array, p: jax.Array) -> jax.Array:
    return kl_divergence(p, c)


_DISTANCES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "kl_from_center": _from_center,
    "kl_to_center": _to_center,
    "fisher_rao": fisher_rao_categorical,
    "euclidean": _euclidean,
}


@partial(jax.jit, static_argnames=("kind", "num"))
def simplex_ball(middle: ArrayLike, radius: ArrayLike, *, kind: str, num: int = 181) -> jax.Array:
    r"""Boundary of a ball on the simplex of three classes.

    Args:
        middle: center c, interior, shape ``(*batch, 3)``.
        radius: shape ``(*batch,)`` or ``()``; nats for KL, length otherwise.
        kind: ``"kl_from_center"`` :math:`\mathrm{KL}(c\|p) \le r`, ``"kl_to_center"`` :math:`\mathrm{KL}(p\|c) \le r`,
            ``"fisher_rao"`` or ``"euclidean"`` (static). The KL balls bulge in different directions: both shrink to the
            same Fisher ellipse :math:`\tfrac12\sum dp^2/c = r`.
        num: number of points (static).

    Returns:
        Closed curve of probability vectors, shape ``(*batch, num, 3)``; where a ball leaves the simplex, the edge. On
        every ray from c all four kinds increase, so the point is found by bisection to machine precision.
    """
    if kind not in _DISTANCES:
        raise ValueError(f"kind must be one of {', '.join(map(repr, _DISTANCES))}, got {kind!r}.")
    distance = _DISTANCES[kind]
    c, r = floating(middle, radius)
    if c.shape[-1:] != (3,):
        raise ValueError(f"simplex_ball: the center has 3 classes, got shape {c.shape}.")
    angles = jnp.linspace(0, 2 * np.pi, num, dtype=c.dtype)
    plane = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    directions = plane @ jnp.asarray([[1, -1, 0], [1, 1, -2]] / np.sqrt([[2.0], [6.0]]), c.dtype)

    def one(m: jax.Array, size: jax.Array) -> jax.Array:
        reach = jnp.min(
            jnp.where(directions < 0, m[None, :] / jnp.where(directions < 0, -directions, 1.0), jnp.inf), axis=1
        )
        # The step to the edge itself is rounded down, so that no entry turns negative.
        reach = reach * (1 - 4 * jnp.finfo(m.dtype).eps)

        def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = ends
            middle_step = 0.5 * (low + high)
            inside = (
                distance(jnp.broadcast_to(m, directions.shape), m[None, :] + middle_step[:, None] * directions) <= size
            )
            return jnp.where(inside, middle_step, low), jnp.where(inside, high, middle_step)

        low, _ = jax.lax.fori_loop(0, jnp.finfo(m.dtype).nmant + 4, halve, (jnp.zeros_like(reach), reach))
        return m[None, :] + low[:, None] * directions

    return over_batch(one, "simplex_ball", (1, 0), c, r)
