r"""From an interior point to the vertex nearby: which kinks the optimum rests on, the point itself, its uniqueness.

At the optimum some residuals are exactly 0: those whose slopes lie strictly inside their boxes. With :math:`E` these
rows and all other slopes at a wall,

.. math:: \begin{pmatrix} P & A_E^\top \\ A_E & 0 \end{pmatrix} \begin{pmatrix} z \\ y_E \end{pmatrix} =
    \begin{pmatrix} Pm - A_{\bar E}^\top y_{\bar E} \\ b_E \end{pmatrix}

is the optimum to the last digit. Interior points tend to the middle of the set of all optima, where a slope is inside
its box exactly if its residual is 0 at *every* optimum. The optimum is therefore unique if and only if no direction
lies in the null spaces of both :math:`A_E` and :math:`P`.

Reference: Goldman and Tucker (1956), Theory of linear programming, Corollary 2A (strict complementarity); Mehrotra and
Ye (1993), Math. Programming 62, 497 (finding the optimal face).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.interior_point import InteriorPointState
from lossgeo.solvers.pieces import Pieces, White

__all__ = ["Vertex", "vertex_near"]

REFINEMENTS = 2
"""Steps of iterative refinement."""

LEAST_PIVOT = 1e-6
"""Sine of the angle between a row and those chosen before it, below which it is a combination of them."""

SPARE_ROWS = 16
"""Rows beyond the number of parameters among which a basis is looked for."""


class Vertex(NamedTuple):
    """An optimum with its evidence.

    Args:
        z: the point, shape ``(p,)``.
        residual: :math:`t` there, shape ``(m,)``.
        slopes: :math:`y`, in their boxes, shape ``(m,)``.
        value: the function, in nats.
        gap: duality gap, and what the imbalance of the slopes may add to it, in nats.
        noise: part of the gap that rounding makes up, in nats.
        imbalance: largest component of the balance of slopes in the coordinates of ``z``.
        resting: rows that rest on their kinks at every optimum, shape ``(m,)``.
        sharpness: least eigenvalue of the rows at rest (unit vectors in white coordinates) and the quadratic; about 0
            if there are other optima.
        resolution: eigenvalues up to this cannot be told from 0.
        direction: towards other optima, in units of the columns, a unit vector, shape ``(p,)``.
        null_weight: share of each coordinate in all such directions, shape ``(p,)``.
        scale: with which the penalty was multiplied, or ``None``.
    """

    z: jax.Array
    residual: jax.Array
    slopes: jax.Array
    value: jax.Array
    gap: jax.Array
    noise: jax.Array
    imbalance: jax.Array
    resting: jax.Array
    sharpness: jax.Array
    resolution: jax.Array
    direction: jax.Array
    null_weight: jax.Array
    scale: jax.Array | None = None


class _Judged(NamedTuple):
    z: jax.Array
    residual: jax.Array
    slopes: jax.Array
    gap: jax.Array
    noise: jax.Array


def vertex_near(state: InteriorPointState) -> Vertex:
    """The vertex near the end of the iteration, or its end itself where that has the smaller gap."""
    pieces, white = state.pieces, state.white
    resting, margin = _resting(state)
    inner = _judge(pieces, white, state.point, state.slopes)
    x, slopes = _solve_on(pieces, white, state, resting, margin)
    outer = _judge(pieces, white, pieces.center + white.basis @ x, slopes)
    better = jnp.isfinite(outer.gap) & (outer.gap <= jnp.maximum(inner.gap, 4.0 * outer.noise))
    best = jax.tree.map(lambda a, b: jnp.where(better, a, b), outer, inner)
    sharpness, direction, null_weight = _uniqueness(white, resting)
    return Vertex(
        best.z,
        best.residual,
        best.slopes,
        pieces.value(best.z),
        best.gap,
        best.noise,
        jnp.max(jnp.abs(pieces.imbalance(best.z, best.slopes)), initial=0.0),
        resting,
        sharpness,
        jnp.asarray(_resolution(white), best.z.dtype),
        direction,
        null_weight,
        pieces.scale,
    )


def _resting(state: InteriorPointState) -> tuple[jax.Array, jax.Array]:
    """Rows whose slope is farther inside its box than its residual is from 0, each relative to its size."""
    width = state.pieces.high - state.pieces.low
    t = state.white.residual + state.white.rows @ state.x
    size = jnp.mean(jnp.abs(t))
    margin = jnp.minimum(state.room, state.rise) / width
    counts = jnp.any(state.pieces.rows != 0, axis=1)
    return counts & (margin * jnp.where(size > 0, size, 1.0) > state.above + state.below), margin


def _judge(pieces: Pieces, white: White, z: jax.Array, slopes: jax.Array) -> _Judged:
    """Residuals, slopes held in their boxes, the gap, and the rounding error of the gap."""
    slopes = jnp.clip(slopes, pieces.low, pieces.high)
    t = pieces.residual(z)
    seen = jnp.where(white.null[None, :], 0.0, white.basis)
    left = jnp.linalg.norm(pieces.imbalance(z, slopes) @ seen)
    reach = white.distance(pieces, z, t)
    gap = pieces.row_gap(t, slopes) + left * reach
    # Residuals at rest are differences of numbers of this size; all others have slopes at a wall and count exactly.
    terms = jnp.abs(pieces.rows) @ jnp.abs(z) + jnp.abs(pieces.offset)
    inside = jnp.minimum(pieces.high - slopes, slopes - pieces.low)
    # The balance is a sum that cancels, and columns that nearly agree magnify what is left of it.
    quadratic = pieces.strength * (jnp.abs(z) + jnp.abs(pieces.center))
    balanced = jnp.linalg.norm((jnp.abs(slopes) @ jnp.abs(pieces.rows) + quadratic) @ jnp.abs(seen))
    noise = jnp.finfo(z.dtype).eps * (jnp.sum(inside * terms) + balanced * reach)
    return _Judged(z, t, slopes, gap, noise)


def _solve_on(
    pieces: Pieces, white: White, state: InteriorPointState, resting: jax.Array, margin: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """White coordinates and slopes that solve the system of the rows at rest."""
    p, m = state.x.shape[0], resting.shape[0]
    index, chosen = _basis_rows(white, resting, margin, p)
    wall = jnp.where(state.rise <= state.room, pieces.low, pieces.high)
    slopes = jnp.where(resting, state.slopes, wall)
    rows = jnp.where(chosen[:, None], white.rows[index], 0.0)
    # Unused places get an equation of their own; coordinates that nothing determines stay at 0.
    corner = white.quadratic + jnp.diag(jnp.where(white.null, 1.0, 0.0))
    system = jnp.block([[corner, rows.T], [rows, jnp.diag(jnp.where(chosen, 0.0, 1.0))]])
    factors = jax.scipy.linalg.lu_factor(jnp.where(jnp.isfinite(system), system, 0.0))
    scatter = jnp.where(chosen, index, m)
    seen = jnp.where(white.null[None, :], 0.0, white.basis)

    def refine(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, slopes = carry
        z = pieces.center + white.basis @ x
        t = jnp.where(chosen, pieces.residual(z)[index], 0.0)
        rhs = -jnp.concatenate([pieces.imbalance(z, slopes) @ seen, t])
        change = jax.scipy.linalg.lu_solve(factors, rhs)
        return x + change[:p], slopes.at[scatter].add(change[p:], mode="drop")

    return jax.lax.fori_loop(0, 1 + REFINEMENTS, refine, (state.x, slopes))


def _basis_rows(white: White, resting: jax.Array, margin: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """Up to ``p`` independent rows at rest, by Gram-Schmidt with pivots: indices ``(p,)`` and which of them count."""
    candidates = min(resting.shape[0], 2 * p + SPARE_ROWS)
    score, index = jax.lax.top_k(jnp.where(resting, margin, -1.0), candidates)
    rows = white.rows[index]
    norm = jnp.linalg.norm(rows, axis=1)
    usable = (score >= 0) & (norm > 0)
    rows = jnp.where(usable[:, None], rows / jnp.where(norm > 0, norm, 1.0)[:, None], 0.0)

    def choose(k: jax.Array, carry: tuple) -> tuple:
        rows, taken, chosen = carry
        length = jnp.linalg.norm(rows, axis=1)
        best = jnp.argmax(length)
        good = length[best] > LEAST_PIVOT
        unit = rows[best] / jnp.where(good, length[best], 1.0)
        rows = jnp.where(good, rows - (rows @ unit)[:, None] * unit[None, :], rows)
        return rows.at[best].set(0.0), taken.at[k].set(index[best]), chosen.at[k].set(good)

    start = (rows, jnp.zeros(p, index.dtype), jnp.zeros(p, bool))
    _, taken, chosen = jax.lax.fori_loop(0, p, choose, start)
    return taken, chosen


def _uniqueness(white: White, resting: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sharpness, direction and null weights; see :class:`Vertex`."""
    norm = jnp.linalg.norm(white.rows, axis=1)
    unit = jnp.where(resting & (norm > 0), 1.0 / jnp.where(norm > 0, norm, 1.0), 0.0)
    stiff = jnp.max(jnp.diagonal(white.quadratic), initial=0.0)
    matrix = linalg.weighted_gram(white.rows, jnp.square(unit), white.rows)
    matrix = matrix + white.quadratic / jnp.where(stiff > 0, stiff, 1.0)
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    # In units of the columns of the design.
    seen = white.scale[:, None] * (white.basis @ vectors)
    seen = seen / jnp.linalg.norm(seen, axis=0)[None, :]
    flat = eigenvalues <= _resolution(white)
    null_weight = jnp.sum(jnp.where(flat[None, :], jnp.square(seen), 0.0), axis=1)
    return eigenvalues[0], seen[:, 0], jnp.minimum(null_weight, 1.0)


def _resolution(white: White) -> float:
    return 100.0 * linalg.rank_tolerance(white.basis.shape[0], white.basis.dtype)
