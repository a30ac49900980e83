r"""What an interior point leaves of a fit: the vertex, whether it is the optimum, and how it moves with the data.

The function that was solved (:mod:`lossgeo.piecewise`) is compared with the objective itself after every fit, term by
term, at points on all sides of the kinks: a loss that tells wrong kinks is not called solved.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo.piecewise import Piecewise, piecewise
from lossgeo.posing import Posed, objective_value
from lossgeo.solvers import RUNNING, Certificate, Pieces, Problem, Status, Vertex

__all__ = ["LARGEST_NOISE", "Judgement", "judge", "sensitive"]

PROBES = 3
"""Points besides the optimum at which the objective must agree with the function that was solved."""

LARGEST_NOISE = 1e-4
"""Duality gap in nats that may be put down to rounding: 0.014 standard errors."""

AT_REST = 256.0
"""Residual, in units of its rounding error, up to which a row rests on its kink."""


class Judgement(NamedTuple):
    """Where a fit ended: coordinates, objective, certificate, status and the direction that this speaks of."""

    u: list[jax.Array]
    value: jax.Array
    certificate: Certificate
    status: jax.Array
    direction: jax.Array


def judge(problem: Problem, vertex: Vertex, tol: Any, ended: Any) -> Judgement:
    """Status and certificate of a vertex of a problem from :func:`with_pieces`.

    ``edm`` is the duality gap in nats. There is no curvature, hence no Hessian, no observed information and, with
    other optima nearby, no estimate: status ``UNIDENTIFIED``.
    """
    found, posed = piecewise(problem), problem.args
    assert found is not None
    pieces, vertex = _at_its_scale(found.pieces(posed), vertex)
    vertex, held = _on_kinks(found, pieces, vertex)
    u, gap, noise, collapsed = _with_scale(found, posed, pieces, vertex, problem.init)
    value = objective_value(u, posed)
    agrees = _agrees(found, posed, pieces, vertex, u)
    edm = jnp.where(agrees, gap, jnp.inf)
    finite = jnp.isfinite(value) & jnp.isfinite(gap) & jnp.all(jnp.isfinite(vertex.z))
    small = edm <= jnp.maximum(tol, jnp.minimum(4.0 * noise, LARGEST_NOISE))
    status = jnp.where(ended == RUNNING, Status.MAX_STEPS, ended)
    status = jnp.where(small, Status.CONVERGED, jnp.where(status == Status.CONVERGED, Status.STALLED, status))
    others = small & (vertex.sharpness <= vertex.resolution)
    status = jnp.where(others, Status.UNIDENTIFIED, status)
    status = jnp.where(collapsed, Status.AT_BOUNDARY, status)
    status = jnp.where(finite, status, Status.NOT_FINITE).astype(jnp.int32)

    def spread(values: jax.Array, scale: float) -> jax.Array:
        return ravel_pytree(
            found.join(u, values, jnp.full_like(u[found.scale], scale) if found.scale is not None else None)
        )[0]

    z = ravel_pytree(u)[0]
    p, zero, nothing = z.shape[0], jnp.zeros((), z.dtype), jnp.zeros_like(z)
    null_weight = jnp.where(others, spread(vertex.null_weight, 0.0), 0.0)
    direction = jnp.where(collapsed, spread(jnp.zeros_like(vertex.z), -1.0), spread(vertex.direction, 0.0))
    certificate = Certificate(
        edm=jnp.where(finite, edm, jnp.nan),
        kkt_residual=vertex.imbalance,
        curvature_change=zero,
        beyond=zero,
        rise=jnp.full_like(z, jnp.inf),
        eigenvalue=vertex.sharpness,
        direction=direction,
        step=nothing,
        one_sided=jnp.zeros(2, z.dtype),
        start_change=zero,
        null_weight=null_weight,
        free=~spread(held.astype(z.dtype), 0.0).astype(bool) & (null_weight <= 1e-6),
        hessian=jnp.full((p, p), jnp.nan, z.dtype),
        finite=finite,
        resolution=vertex.resolution,
        noise=noise,
    )
    return Judgement(u, value, certificate, status, direction)


def sensitive(posed: Posed, u: list[jax.Array], converged: jax.Array) -> list[jax.Array]:
    """A solution as a differentiable function of everything in ``posed``; derivatives are NaN where there are none.

    The rows at rest stay at rest: the optimum is the solution of one linear system in the data (see
    :mod:`lossgeo.solvers.vertex`), and so are its derivatives.
    """
    constant = jax.lax.stop_gradient(posed)
    found = piecewise(Problem(objective_value, None, constant, constant.to_unconstrained(constant.template)))
    assert found is not None
    pieces = found.pieces(posed).without_idle_rows()
    z = jax.lax.stop_gradient(found.coefficients(u))
    fixed = jax.lax.stop_gradient(pieces)
    t, p = fixed.residual(z), z.shape[0]
    rounding = jnp.finfo(z.dtype).eps * (jnp.abs(fixed.rows) @ jnp.abs(z) + jnp.abs(fixed.offset))
    resting = (jnp.abs(t) <= AT_REST * rounding) & jnp.any(fixed.rows != 0, axis=1)
    chosen, index = jax.lax.top_k(resting.astype(int), min(p, resting.shape[0]))
    chosen = chosen > 0
    scale = jnp.linalg.norm(fixed.rows, axis=0)
    scale = jnp.where(scale > 0, 1.0 / jnp.where(scale > 0, scale, 1.0), 1.0)
    rows = jnp.where(chosen[:, None], pieces.rows[index] * scale[None, :], 0.0)
    walls = jnp.where(resting, 0.0, jnp.where(t > 0, pieces.high, pieces.low))
    corner = jnp.diag(jnp.square(scale) * pieces.strength)
    system = jnp.block([[corner, rows.T], [rows, jnp.diag(jnp.where(chosen, 0.0, 1.0))]])
    pull = scale * (pieces.strength * pieces.center - walls @ pieces.rows)
    rhs = jnp.concatenate([pull, jnp.where(chosen, pieces.offset[index], 0.0)])
    solved = scale * jnp.linalg.solve(system, rhs)[:p]
    # A row at rest that was overlooked, or one too many, would move the solution of the system away.
    off, size = jnp.max(jnp.abs(solved - z) / scale), jnp.max(jnp.abs(z) / scale)
    same = off <= jnp.sqrt(jnp.finfo(z.dtype).eps) * jnp.where(size > 0, size, 1.0)
    regular = converged & (jnp.sum(resting) == jnp.sum(chosen)) & same
    # All data take part, so that all derivatives are NaN where there are none.
    everything = sum((jnp.sum(leaf) for leaf in jax.tree.leaves(pieces)), start=jnp.zeros((), z.dtype))
    moved = _moves_with(z, solved + 0.0 * everything, jnp.where(regular, 1.0, jnp.nan))
    if found.scale is None:
        return found.join(u, moved)
    spread = pieces.loss(moved) / found.num_observed(posed).astype(z.dtype)
    return found.join(u, moved, jnp.reshape(posed.supports[found.scale].inverse(spread), u[found.scale].shape))


@jax.custom_jvp
def _moves_with(value: jax.Array, solved: jax.Array, factor: jax.Array) -> jax.Array:
    """``value``, with the derivative of ``solved`` times ``factor``; a product, so that NaN reaches reverse mode."""
    return value


@_moves_with.defjvp
def _moves_with_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return primals[0], tangents[1] * primals[2]


def _at_its_scale(pieces: Pieces, vertex: Vertex) -> tuple[Pieces, Vertex]:
    """The pieces with the scale that is the mean loss of a vertex, and the vertex with its gap there.

    Slopes that balance still do so when all are made smaller, as those of a smaller penalty must be.
    """
    if pieces.scale is None or pieces.total is None or vertex.scale is None:
        return pieces, vertex
    loss = pieces.loss(vertex.z)
    scale = jnp.where(loss > 0, loss, 1.0) / pieces.total
    pieces = pieces.at_scale(scale)
    penalty = (pieces.value(vertex.z) - loss) / scale
    smaller = jnp.minimum(scale / vertex.scale, 1.0)
    lost = (1.0 - smaller) * loss + jnp.maximum(scale - vertex.scale, 0.0) * penalty
    slopes = smaller * vertex.slopes
    return pieces, vertex._replace(slopes=slopes, gap=smaller * vertex.gap + jnp.where(loss > 0, lost, 0.0))


def _on_kinks(found: Piecewise, pieces: Pieces, vertex: Vertex) -> tuple[Vertex, jax.Array]:
    """The vertex with coordinates that rest on kinks of the prior put there exactly, and which these are."""
    if not found.absolute:
        return vertex, jnp.zeros(vertex.z.shape, bool)
    last = slice(-vertex.z.shape[0], None)
    held = vertex.resting[last] & (pieces.high > pieces.low)[last]
    pieces = pieces.without_idle_rows()
    z = jnp.where(held, pieces.center, vertex.z)
    t = pieces.residual(z)
    change = pieces.row_gap(t, vertex.slopes) - pieces.row_gap(vertex.residual, vertex.slopes)
    gap = vertex.gap + jnp.maximum(change, 0.0)
    return vertex._replace(z=z, residual=t, value=pieces.value(z), gap=gap), held


def _with_scale(
    found: Piecewise, posed: Posed, pieces: Pieces, vertex: Vertex, like: list[jax.Array]
) -> tuple[list[jax.Array], jax.Array, jax.Array, jax.Array]:
    r"""Coordinates, duality gap, its rounding error, and whether a scale that is a parameter runs to 0.

    With total weight :math:`W` and loss :math:`R` the profile is :math:`W\log R`, up to a constant. Beside a penalty
    the gap is that of its majorant, to first order: of a minimum nearby.
    """
    if found.scale is None:
        return found.join(like, vertex.z), vertex.gap, vertex.noise, jnp.asarray(False)
    total = found.num_observed(posed).astype(vertex.z.dtype)
    loss, floor = pieces.loss(vertex.z), pieces.loss_noise(vertex.z)
    collapsed = loss <= floor
    size = jnp.where(collapsed, jnp.maximum(loss, floor), loss)
    size = jnp.where(size > 0, size, 1.0)
    below = size - jnp.minimum(vertex.gap, 0.5 * size)
    scale = jnp.reshape(posed.supports[found.scale].inverse(size / total), like[found.scale].shape)
    gap = jnp.where(vertex.gap <= 0.5 * size, total * jnp.log1p(vertex.gap / below), jnp.inf)
    return found.join(like, vertex.z, scale), gap, total * vertex.noise / size, collapsed


def _agrees(found: Piecewise, posed: Posed, pieces: Pieces, vertex: Vertex, u: list[jax.Array]) -> jax.Array:
    """Whether objective and likelihood are the function that was solved, up to constants, at random points around."""
    scale = None if found.scale is None else u[found.scale]
    unit = jnp.ones((), vertex.z.dtype)
    if found.scale is not None:
        unit = jnp.reshape(posed.supports[found.scale].forward(u[found.scale]), ())
    n = posed.data[-1].shape[0]
    z, t = vertex.z, vertex.residual
    size = jnp.linalg.norm(pieces.rows, axis=0)
    reach = jnp.sum(jnp.abs(t)) / jnp.where(size > 0, size, 1.0)
    steps = jax.random.normal(jax.random.key(0), (PROBES, z.shape[0]), z.dtype) * reach[None, :]
    points = jnp.concatenate([z[None, :], z[None, :] + steps / jnp.sqrt(jnp.asarray(max(n, 1), z.dtype))])
    weights = jnp.ones(n, z.dtype) if posed.weights is None else posed.weights.astype(z.dtype)

    def both(z: jax.Array) -> tuple[jax.Array, ...]:
        v = found.join(u, z, scale)
        t = pieces.residual(z)
        losses = jnp.maximum(pieces.low * t, pieces.high * t) / unit
        sizes = (jnp.abs(pieces.rows) @ jnp.abs(z) + jnp.abs(pieces.offset)) * (pieces.high - pieces.low) / unit
        count = (t.shape[0] - (z.shape[0] if found.absolute else 0)) // n
        rows, size = (a[: n * count].reshape(count, n).sum(axis=0) for a in (losses, sizes))
        terms = -posed.objective.likelihood.log_likelihood(posed.to_params(v), *posed.data).astype(z.dtype) * weights
        quadratic = pieces.strength * (jnp.square(z) + jnp.square(pieces.center))
        return (
            terms - rows,
            size + jnp.abs(terms),
            objective_value(v, posed) - pieces.value(z) / unit,
            jnp.sum(sizes) + jnp.sum(quadratic) + jnp.sum(jnp.abs(terms)),
        )

    row, row_size, total, total_size = jax.lax.map(both, points)
    eps = 64.0 * jnp.finfo(z.dtype).eps
    rows_agree = jnp.all(jnp.abs(row - row[:1]) <= eps * (row_size + row_size[:1]))
    return rows_agree & jnp.all(jnp.abs(total - total[0]) <= eps * (total_size + total_size[0]))
