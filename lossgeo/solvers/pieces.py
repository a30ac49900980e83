r"""Convex functions that are piecewise linear along each of many directions, plus a separable quadratic.

.. math:: f(z) = \sum_i \max(l_i t_i, h_i t_i) + \tfrac12\sum_j P_j (z_j - m_j)^2, \qquad t = Az - b, \quad
    l_i \le 0 \le h_i

A kink :math:`i` of a loss has the slopes :math:`l_i` below and :math:`h_i` above it; a loss with several kinks takes
several rows. The dual variables are the slopes themselves, :math:`y_i \in [l_i, h_i]`:

.. math:: A^\top y + P(z - m) = 0, \qquad
    \text{gap} = \sum_i (h_i - y_i)\,t_i^+ + (y_i - l_i)\,t_i^-

A sum of non-negative terms, without cancellation: its digits do not depend on the size of :math:`f`.

Where the first rows are a loss :math:`R` whose scale is estimated beside a penalty :math:`C`, the profile
:math:`W\log R(z) + C(z)` has at each point a majorant, :math:`R(z)/s + C(z)` with :math:`s = R/W` there. Times
:math:`s` it is of the form above; its minimum has a lower profile, or is where the two touch: a local minimum, if that
of the majorant is unique.

References: Koenker and Bassett (1978), Econometrica 46 (quantile regression as a linear program); Rockafellar (1970),
Convex Analysis, section 31; Hunter and Lange (2004), A tutorial on MM algorithms, Amer. Statist. 58, 30.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo._pytree import pytree, static

__all__ = ["Pieces", "White", "white_coordinates"]


@pytree
class Pieces:
    """The parts of :math:`f`.

    Args:
        rows: :math:`A`, shape ``(m, p)``.
        offset: :math:`b`, shape ``(m,)``.
        low: slope below each kink, at most 0, shape ``(m,)``.
        high: slope above each kink, at least 0, shape ``(m,)``. A row with both slopes 0 counts for nothing.
        strength: :math:`P`, not negative, shape ``(p,)``.
        center: :math:`m`, shape ``(p,)``.
        scale: :math:`s`, with which the slopes of the penalty are multiplied; ``None`` where no scale is estimated.
        total: :math:`W`, shape ``()``.
        num_losses: number of rows that are the loss, static.
    """

    rows: jax.Array
    offset: jax.Array
    low: jax.Array
    high: jax.Array
    strength: jax.Array
    center: jax.Array
    scale: jax.Array | None = None
    total: jax.Array | None = None
    num_losses: int = static(default=0)

    def loss(self, z: jax.Array) -> jax.Array:
        """:math:`R`, shape ``()``: all of the function where there is no scale beside a penalty."""
        if self.scale is None:
            return self.value(z)
        t = self.residual(z)
        return jnp.sum(jnp.maximum(self.low * t, self.high * t)[: self.num_losses])

    def loss_noise(self, z: jax.Array) -> jax.Array:
        """Rounding error of :meth:`loss`, up to which it is 0."""
        terms = (self.high - self.low) * (jnp.abs(self.rows) @ jnp.abs(z) + jnp.abs(self.offset))
        of_losses = terms if self.scale is None else terms[: self.num_losses]
        return 16.0 * jnp.finfo(terms.dtype).eps * jnp.sum(of_losses)

    def at_scale(self, scale: jax.Array) -> "Pieces":
        """The majorant with another :math:`s`."""
        assert self.scale is not None
        factor = jnp.where(jnp.arange(self.low.shape[0]) < self.num_losses, 1.0, scale / self.scale)
        return dataclasses.replace(self, low=factor * self.low, high=factor * self.high, scale=scale)

    def residual(self, z: jax.Array) -> jax.Array:
        """Signed distances :math:`t` from the kinks, shape ``(m,)``."""
        return self.rows @ z - self.offset

    def value(self, z: jax.Array) -> jax.Array:
        """The function, shape ``()``."""
        t = self.residual(z)
        return jnp.sum(jnp.maximum(self.low * t, self.high * t)) + 0.5 * jnp.sum(
            self.strength * jnp.square(z - self.center)
        )

    def row_gap(self, t: jax.Array, y: jax.Array) -> jax.Array:
        """The duality gap of slopes ``y`` in their boxes, if they balance: a sum over rows."""
        return jnp.sum((self.high - y) * jnp.maximum(t, 0.0) + (y - self.low) * jnp.maximum(-t, 0.0))

    def imbalance(self, z: jax.Array, y: jax.Array) -> jax.Array:
        """What the slopes leave of the gradient, shape ``(p,)``; 0 at the optimum."""
        return y @ self.rows + self.strength * (z - self.center)

    def without_idle_rows(self) -> "Pieces":
        """The same function with rows that count for nothing moved out of the way, so that all boxes have room."""
        idle = self.low >= self.high
        return dataclasses.replace(
            self,
            rows=jnp.where(idle[:, None], 0.0, self.rows),
            offset=jnp.where(idle, 1.0, self.offset),
            low=jnp.where(idle, 0.0, self.low),
            high=jnp.where(idle, 1.0, self.high),
        )


class White(NamedTuple):
    r"""Coordinates :math:`z = m + Tx` in which the weighted rows and the quadratic have an orthonormal basis.

    Args:
        basis: :math:`T`, shape ``(p, p)``.
        null: coordinates of :math:`x` on which the function does not depend, shape ``(p,)``; they stay at 0.
        rows: :math:`AT`, 0 where ``null``, shape ``(m, p)``.
        quadratic: :math:`T^\top P T`, shape ``(p, p)``.
        residual: :math:`t` at :math:`x = 0`, shape ``(m,)``.
        scale: lengths of the columns, by which directions are told, shape ``(p,)``.
        importance: weight of each row in a distance, shape ``(m,)``.
        stiffness: weight of the quadratic in a distance, shape ``()``.
    """

    basis: jax.Array
    null: jax.Array
    rows: jax.Array
    quadratic: jax.Array
    residual: jax.Array
    scale: jax.Array
    importance: jax.Array
    stiffness: jax.Array

    def distance(self, pieces: Pieces, z: jax.Array, t: jax.Array) -> jax.Array:
        """How far the optimum can be from ``z``, in white coordinates, to order of magnitude."""
        quadratic = jnp.sum(pieces.strength * jnp.square(z - pieces.center))
        return jnp.sqrt(jnp.sum(self.importance * jnp.square(t)) + self.stiffness * quadratic)


def white_coordinates(pieces: Pieces) -> White:
    """White coordinates by a QR factorisation of the rows, whose condition number is not squared."""
    p = pieces.center.shape[0]
    width = pieces.high - pieces.low
    start = pieces.residual(pieces.center)
    typical, size = jnp.mean(width), jnp.mean(jnp.abs(start))
    stiffness = jnp.where(size > 0, size, 1.0) / typical
    importance = width / typical
    stack = jnp.concatenate(
        [pieces.rows * jnp.sqrt(importance)[:, None], jnp.diag(jnp.sqrt(stiffness * pieces.strength))]
    )
    norm = jnp.linalg.norm(stack, axis=0)
    norm = jnp.where(norm > 0, norm, 1.0)
    triangle = jnp.linalg.qr(stack / norm[None, :], mode="r")
    _, sigma, transposed = jnp.linalg.svd(triangle)
    null = sigma <= linalg.rank_tolerance(p, sigma.dtype) * sigma[0]
    basis = (transposed.T / norm[:, None]) / jnp.where(null, 1.0, sigma)[None, :]
    rows = jnp.where(null[None, :], 0.0, pieces.rows @ basis)
    seen = jnp.where(null[None, :], 0.0, basis)
    quadratic = seen.T @ (pieces.strength[:, None] * seen)
    return White(basis, null, rows, quadratic, start, norm, importance, stiffness)
