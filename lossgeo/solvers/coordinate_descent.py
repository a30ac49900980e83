r"""A quadratic with a separable kink: the subproblem of Newton's method for an L1 penalty.

.. math:: \min_\delta\; g^\top\delta + \tfrac12 \delta^\top H \delta + \sum_j \lambda_j |x_j + \delta_j|

Coordinate descent finds the face; Newton steps on the face, bent at its edges, make the answer exact. Zeros come from
the soft threshold and the edges, never from a threshold on the size of the result.

Everything is written in differences to the start: each coordinate keeps the slope :math:`c_j = g_j + \lambda_j s_j` on
*one* side :math:`s_j` of its kink, where it is or where it would go, taken before any rounding to a lower precision.
Near an optimum slopes and differences are small numbers of full relative accuracy, so that a Hessian in float32 serves
a problem in float64: outer iterations with exact slopes are iterative refinement.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "Face",
    "KinkedQuadratic",
    "Slopes",
    "descend_kinked",
    "factorize",
    "kinked_slopes",
    "kinked_violation",
    "land",
    "minimize_kinked_quadratic",
]

ARC = (1.0, 0.7, 0.4, 0.15)
"""Fractions of a Newton step that are tried at once, each projected onto the orthant of the start."""


EDGES = np.array([0, 3, 15, 63])
"""Kinks that the step meets, in their order, at which it is tried too."""


JITTER = 4.0
"""Units of rounding error that are added to the unit diagonal of a face before it is factorised."""


FACES = (0.5, 0.8125, 1.0)
"""Sizes of faces, relative to the quadratic, for which the factorisation is compiled."""


class KinkedQuadratic(NamedTuple):
    """Result of :func:`minimize_kinked_quadratic`.

    Args:
        x: the minimiser reached, zeros exact, shape ``(p,)``.
        delta: ``x`` minus the start.
        decrease: decrease of the model in nats, not negative where it was found.
        violation: largest component of the subgradient of least norm, in units of ``1 / sqrt(diag(H))``.
    """

    x: jax.Array
    delta: jax.Array
    decrease: jax.Array
    violation: jax.Array


class Slopes(NamedTuple):
    """A point seen from its kinks, in units of ``scale``: what :func:`descend_kinked` starts from.

    Args:
        start: coordinates, kinks at 0, shape ``(p,)``.
        side: 1 or -1, on which side of its kink ``slope`` holds; 0 for a coordinate without one.
        slope: derivative on that side, the kink included.
        kink: strengths, 0 for none.
    """

    start: jax.Array
    side: jax.Array
    slope: jax.Array
    kink: jax.Array


class Face(NamedTuple):
    """Cholesky factor of a Hessian on the free coordinates, kept while these stay the same.

    Args:
        lower: the factor in the order of ``order``, filled up with the unit matrix, shape ``(p, p)``.
        order: free coordinates first, then ``p`` as a filling, shape ``(p,)``.
        free: the free coordinates, shape ``(p,)``; none for no factor.
    """

    lower: jax.Array
    order: jax.Array
    free: jax.Array

    @classmethod
    def none(cls, like: jax.Array) -> "Face":
        """No factor yet of a matrix like ``like``."""
        p = like.shape[0]
        return cls(jnp.eye(p, dtype=like.dtype), jnp.full(p, p), jnp.zeros(p, bool))

    def solve(self, b: jax.Array) -> jax.Array:
        """Solution for a right-hand side, shape ``(p,)``, on the free coordinates; 0 elsewhere."""
        p = b.shape[0]
        rhs = jnp.where(self.order < p, b[jnp.minimum(self.order, p - 1)], 0.0)
        return jnp.zeros_like(b).at[self.order].set(jax.scipy.linalg.cho_solve((self.lower, True), rhs), mode="drop")


def kinked_slopes(gradient: jax.Array, x: jax.Array, strength: jax.Array, scale: jax.Array) -> Slopes:
    """Slopes at ``x`` in the coordinates ``x / scale``.

    A coordinate on its kink whose gradient is beyond it by no more than rounding error is not pushed off.
    """
    g, kink = gradient * scale, strength * scale
    side = jnp.where(kink > 0, jnp.where(x != 0, jnp.sign(x), jnp.where(g > 0, -1.0, 1.0)), 0.0)
    slope = g + kink * side
    rounding = 8.0 * jnp.finfo(x.dtype).eps * (jnp.abs(g) + kink)
    resting = (x == 0) & (kink > 0) & (jnp.abs(slope) <= rounding)
    return Slopes(x / scale, side, jnp.where(resting, 0.0, slope), kink)


def kinked_violation(at: Slopes, delta: jax.Array, product: jax.Array, moves: jax.Array) -> jax.Array:
    """Largest component of the subgradient of least norm at ``start + delta``; ``product`` is ``H delta``."""
    here, slope = at.start + delta, at.slope + product
    other = slope - 2.0 * at.kink * at.side
    on_kink = jnp.maximum(jnp.maximum(-slope * at.side, other * at.side), 0.0)
    off = jnp.abs(jnp.where(here * at.side < 0, other, slope))
    return jnp.max(jnp.where(moves, jnp.where((here == 0) & (at.kink > 0), on_kink, off), 0.0), initial=0.0)


def descend_kinked(
    h: jax.Array,
    at: Slopes,
    moves: jax.Array,
    face: Face,
    *,
    reduction: float | jax.Array = 0.1,
    floor: float | jax.Array = 0.0,
    max_rounds: int | jax.Array = 40,
    sweeps: int | jax.Array = 6,
    bend: bool | jax.Array = True,
    settled: bool | jax.Array = False,
) -> tuple[jax.Array, jax.Array, jax.Array, Face]:
    """Minimise a kinked quadratic of unit diagonal, in the precision of ``h``; pure, of static shape.

    Args:
        h: Hessian with a unit diagonal, shape ``(p, p)``.
        at: where it starts, from :func:`kinked_slopes`.
        moves: coordinates that may move, shape ``(p,)``.
        face: factor of an earlier call with the same ``h``, or :meth:`Face.none`.
        reduction: of the violation, by which the iteration ends.
        floor: violation below which it ends too.
        max_rounds: bound on the rounds.
        sweeps: of coordinate descent in each round; the first goes over all coordinates, others over those in use.
        bend: whether rounds end with a Newton step on the face; without, there is one round.
        settled: whether the first round may do without coordinate descent, because the face is likely to stay.

    Returns:
        The difference to the start, exactly ``-start`` for a coordinate on its kink, the decrease in nats, the
        violation, and the last factor.
    """
    p, dtype = h.shape[0], h.dtype
    # Numbers of the size of working precision, whatever that of ``h``.
    tiny = 8.0 * jnp.finfo(at.slope.dtype).eps
    at = Slopes(*(v.astype(dtype) for v in at))
    bend, settled = jnp.asarray(bend), jnp.asarray(settled)
    start, side, kink = at.start, at.side, at.kink
    kinked = kink > 0

    def update(j: jax.Array, delta: jax.Array) -> jax.Array:
        row = jax.lax.dynamic_index_in_dim(h, j, keepdims=False)
        slope = jnp.sum(row * delta) + at.slope[j]
        near = delta[j] - slope
        far = start[j] + near + 2.0 * kink[j] * side[j]
        stays = (start[j] + near) * side[j] > tiny * jnp.abs(near)
        beyond = far * side[j] < 0
        new = jnp.where(stays | ~kinked[j], near, jnp.where(beyond, far - start[j], -start[j]))
        return delta.at[j].set(jnp.where(moves[j], new, delta[j]))

    def descend(delta: jax.Array) -> jax.Array:
        delta = jax.lax.fori_loop(0, p, update, delta)
        active = moves & ((start + delta != 0) | ~kinked)
        (order,) = jnp.nonzero(active, size=p, fill_value=0)
        count = jnp.sum(active)

        def sweep(_: jax.Array, delta: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, count, lambda i, d: update(order[i], d), delta)

        return jax.lax.fori_loop(0, sweeps - 1, sweep, delta)

    def newton(delta: jax.Array, product: jax.Array, face: Face) -> tuple[jax.Array, Face]:
        here = start + delta
        sign = jnp.where(kinked, jnp.sign(here), 0.0)
        slope = at.slope + product - jnp.where(sign * side < 0, 2.0 * kink * side, 0.0)
        free = moves & ((here != 0) | ~kinked)
        face = jax.lax.cond(jnp.all(free == face.free), lambda: face, lambda: factorize(h, free))
        step = face.solve(-slope)
        step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0.0)
        # On a singular face the step is long, and ends at edges: the first, and a few others in their order.
        until = jnp.where(sign * step < 0, -here / jnp.where(step != 0, step, 1.0), jnp.inf)
        edges = jax.lax.top_k(-until, min(p, int(EDGES[-1]) + 1))[0]
        edges = -edges[np.minimum(EDGES, edges.shape[0] - 1)] * (1.0 + 8.0 * jnp.finfo(dtype).eps)
        fractions = jnp.concatenate([jnp.asarray((*ARC, 0.0), dtype), jnp.minimum(edges, 1.0)])
        move = fractions[:, None] * step[None, :]
        crosses = (kinked & free)[None, :] & ((here[None, :] + move) * sign[None, :] <= 0)
        deltas = jnp.where(crosses, -start[None, :], delta[None, :] + move)
        # Of the differences to the present point: products with small numbers where the steps are small.
        change = jnp.where(crosses, -here[None, :], move)
        gain = change @ slope + 0.5 * jnp.sum(change * (change @ h), axis=1)
        return deltas[jnp.argmin(jnp.where(jnp.isfinite(gain), gain, jnp.inf))], face

    def body(carry: tuple) -> tuple:
        delta, _, rounds, face = carry
        delta = jax.lax.cond(bend & settled & (rounds == 0), lambda: delta, lambda: descend(delta))
        delta, face = jax.lax.cond(bend, lambda: newton(delta, h @ delta, face), lambda: (delta, face))
        return delta, kinked_violation(at, delta, h @ delta, moves), rounds + 1, face

    nothing = jnp.zeros_like(start)
    initial = kinked_violation(at, nothing, nothing, moves)
    size = jnp.max(jnp.where(start != 0, jnp.abs(at.slope), jnp.maximum(-at.slope * side, 0.0)), initial=0.0)
    tol = jnp.maximum(jnp.maximum(reduction * initial, floor), 8.0 * jnp.finfo(dtype).eps * size).astype(dtype)
    limit = jnp.where(bend, max_rounds, 1)
    delta, worst, _, face = jax.lax.while_loop(
        lambda c: (c[1] > tol) & (c[2] < limit), body, (nothing, initial, jnp.asarray(0), face)
    )
    crossed = jnp.where((start + delta) * side < 0, 2.0 * kink * jnp.abs(start + delta), 0.0)
    decrease = -(delta @ at.slope + 0.5 * delta @ (h @ delta) + jnp.sum(crossed))
    return delta, decrease, worst, face


def factorize(h: jax.Array, free: jax.Array) -> Face:
    """Cholesky factor on the free coordinates; NaN where the matrix is not positive definite."""
    p = h.shape[0]
    (order,) = jnp.nonzero(free, size=p, fill_value=p)
    count = jnp.sum(free)
    sizes = sorted({max(1, int(np.ceil(fraction * p))) for fraction in FACES} if p > 128 else {p})

    def of_size(size: int) -> jax.Array:
        index = jnp.minimum(order[:size], p - 1)
        inside = jnp.arange(size) < count
        unit = jnp.diag(jnp.where(inside, JITTER * jnp.finfo(h.dtype).eps, 1.0).astype(h.dtype))
        block = jnp.where(inside[:, None] & inside[None, :], h[index][:, index], 0.0) + unit
        lower = jnp.linalg.cholesky(block, symmetrize_input=False)
        return jnp.eye(p, dtype=h.dtype).at[:size, :size].set(lower)

    branch = jnp.searchsorted(jnp.asarray(sizes), count)
    return Face(jax.lax.switch(branch, [lambda size=size: of_size(size) for size in sizes]), order, free)


def minimize_kinked_quadratic(
    hessian: jax.Array,
    gradient: jax.Array,
    x: jax.Array,
    strength: jax.Array,
    *,
    reduction: float = 0.1,
    max_rounds: int = 40,
    sweeps: int = 6,
) -> KinkedQuadratic:
    r"""Minimise the quadratic; pure, of static shape.

    A round is one sweep over all coordinates, more over those off their kink, and one Newton step on the orthant face
    of the result, of which several fractions are projected onto that orthant and the best is kept. Coordinates are
    scaled to :math:`H_{jj} = 1`, so that units cancel; a coordinate with :math:`H_{jj} \le 0` stays. A Cholesky factor
    that is not finite (a singular face) makes no step, and coordinate descent goes on.

    Args:
        hessian: symmetric, shape ``(p, p)``; the method is meant for positive semidefinite ones, and with others ends
            after ``max_rounds`` at a point whose ``decrease`` tells what it is worth.
        gradient: shape ``(p,)``, of the smooth part at the start.
        x: start, with kinks at 0, shape ``(p,)``.
        strength: of the kinks, not negative, 0 for none, shape ``(p,)``.
        reduction: of the violation of the optimality conditions, by which the iteration ends; rounding error also ends
            it.
        max_rounds: bound on the rounds.
        sweeps: of coordinate descent in each round.

    References: Friedman, Hastie and Tibshirani (2010), JSS 33 (covariance updates); Bertsekas (1982), SIAM J. Control
    Optim. 20, 221 (projected Newton steps).
    """
    diagonal = jnp.diagonal(hessian)
    moves = diagonal > 0
    scale = jnp.where(moves, jax.lax.rsqrt(jnp.where(moves, diagonal, 1.0)), 1.0)
    h = hessian * scale[:, None] * scale[None, :]
    at = kinked_slopes(gradient, x, strength, scale)
    delta, decrease, worst, _ = descend_kinked(
        h, at, moves, Face.none(h), reduction=reduction, max_rounds=max_rounds, sweeps=sweeps
    )
    reached = land(x, at, delta, scale)
    return KinkedQuadratic(reached, reached - x, decrease, worst)


def land(x: jax.Array, at: Slopes, delta: jax.Array, scale: jax.Array) -> jax.Array:
    """``x + scale * delta``, exactly 0 where ``delta`` ends on the kink, in the precision of ``x``."""
    start = at.start.astype(delta.dtype)
    reached = x + delta.astype(x.dtype) * scale
    # A sign that only the higher precision sees is rounding error.
    gone = (delta == -start) | ((reached * (start + delta) < 0) & (x != 0))
    return jnp.where(delta == 0, x, jnp.where(gone & (at.kink > 0), 0.0, reached))
