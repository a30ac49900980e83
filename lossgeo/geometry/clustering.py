r"""Bregman barycenters and k-means.

For *every* Bregman divergence the minimizer of :math:`\sum_i w_i D_A(x_i, c)` over c is the arithmetic mean, and
Bregman divergences are the only ones with that property: squared error has no monopoly on the mean, and using it does
not assume Gaussian noise. Over the *first* slot the minimizer is the mean in dual coordinates.

Reference: Banerjee, Merugu, Dhillon, Ghosh (2005), JMLR 6.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating
from lossgeo.geometry.bregman import bregman_divergence
from lossgeo.geometry.potentials import Potential

__all__ = ["Clusters", "bregman_barycenter", "bregman_information", "bregman_kmeans"]


def _normalized(weights: ArrayLike | None, points: jax.Array) -> jax.Array:
    if weights is None:
        return jnp.full(points.shape[:1], 1 / points.shape[0], points.dtype)
    w = jnp.asarray(weights, points.dtype)
    if w.shape != points.shape[:1]:
        raise ValueError(f"weights of shape {w.shape} for {points.shape[0]} points; wanted {points.shape[:1]}.")
    return w / jnp.sum(w)


def bregman_barycenter(a: Potential, points: ArrayLike, weights: ArrayLike | None = None, *, side: str) -> jax.Array:
    r"""Barycenter of points in one slot of the Bregman divergence of A.

    ``side="right"``: :math:`\arg\min_c\sum w_i D_A(x_i, c) = \sum w_i x_i`, whatever A.
    ``side="left"``: :math:`\arg\min_c\sum w_i D_A(c, x_i) = (\nabla A)^{-1}\big(\sum w_i\nabla A(x_i)\big)`.

    Args:
        a: the generator.
        points: shape ``(n, *event)``, in the domain.
        weights: shape ``(n,)``, non-negative, normalized here; equal if ``None``.
        side: the slot that c stands in, ``"left"`` (first) or ``"right"`` (second), static.

    Returns:
        Shape ``(*event,)``.
    """
    (x,) = floating(points)
    w = _normalized(weights, x)
    if side == "right":
        return jnp.tensordot(w, x, axes=1)
    if side == "left":
        return a.inverse(jnp.tensordot(w, a.gradient(x), axes=1))
    raise ValueError(f'side must be "left" (first slot) or "right" (second slot), got {side!r}.')


def bregman_information(a: Potential, points: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
    r"""Least mean divergence :math:`\sum w_i D_A(x_i, \bar x) = \sum w_i A(x_i) - A(\bar x)`: Jensen's gap.

    The variance for the half squared norm (halved), mutual information for the negative entropy; shape ``()``.
    """
    (x,) = floating(points)
    return jnp.vdot(_normalized(weights, x), bregman_divergence(a, x, bregman_barycenter(a, x, weights, side="right")))


class Clusters(NamedTuple):
    """Result of k-means.

    Fields: ``centers (k, *event)``; ``labels (n,)``; ``objective``, the weighted mean divergence of points from their
    centers; ``num_steps``; ``converged``, whether labels stopped changing (a local minimum, not a global one).
    """

    centers: jax.Array
    labels: jax.Array
    objective: jax.Array
    num_steps: jax.Array
    converged: jax.Array


@partial(jax.jit, static_argnames="max_steps")
def bregman_kmeans(
    a: Potential, points: ArrayLike, init_centers: ArrayLike, weights: ArrayLike | None = None, *, max_steps: int = 300
) -> Clusters:
    r"""Hard clustering by alternating assignment :math:`\arg\min_k D_A(x_i, c_k)` and arithmetic means.

    The objective never increases, and the algorithm ends after finitely many steps. The loss of Bregman information
    is what clustering costs.

    Args:
        a: the generator.
        points: shape ``(n, *event)``.
        init_centers: shape ``(k, *event)``, in the domain. A center without points stays where it is.
        weights: shape ``(n,)``; equal if ``None``.
        max_steps: largest number of rounds (static).

    Returns:
        :class:`Clusters`.
    """
    x, centers = floating(points, init_centers)
    w = _normalized(weights, x)
    k = centers.shape[0]

    def assign(c: jax.Array) -> tuple[jax.Array, jax.Array]:
        distances = jax.vmap(lambda one: bregman_divergence(a, x, one))(c)
        return jnp.argmin(distances, axis=0), jnp.vdot(w, jnp.min(distances, axis=0))

    def update(c: jax.Array, labels: jax.Array) -> jax.Array:
        member = jax.nn.one_hot(labels, k, axis=0, dtype=x.dtype) * w[None, :]
        mass = jnp.sum(member, axis=1).reshape((k,) + (1,) * (c.ndim - 1))
        return jnp.where(mass > 0, jnp.tensordot(member, x, axes=1) / jnp.where(mass > 0, mass, 1.0), c)

    State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]

    def body(state: State) -> State:
        c, labels, _, count, _ = state
        c = update(c, labels)
        new, objective = assign(c)
        return c, new, objective, count + 1, jnp.all(new == labels)

    labels, objective = assign(centers)
    start = (centers, labels, objective, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    return Clusters(*jax.lax.while_loop(lambda s: ~s[4] & (s[3] < max_steps), body, start))
