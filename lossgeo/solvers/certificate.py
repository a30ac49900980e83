"""How far from the optimum: the expected decrease that is left, in nats, and the state of the curvature."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree
from lossgeo.solvers.kinks import Faces
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.surroundings import (
    NEARBY,
    Directions,
    Surroundings,
    curvature_change,
    gain_beyond,
    look_around,
    num_probed,
    rounding,
)
from lossgeo.solvers.whitening import Whitening

DENSE_LIMIT = 512
"""Largest number of coordinates for which solvers form the Hessian."""

RANK_LIMIT = 1024
"""Largest number of coordinates for which the Hessian is formed once at the end, so that its rank is known."""

NOISE_PROBES = 4
"""Gradients from which the rounding error is estimated."""


@pytree
class Certificate:
    r"""Evidence about a point, in the unconstrained coordinates of the solver.

    Args:
        edm: expected decrease :math:`\tfrac12 g^\top H^{-1} g` in nats, so that :math:`\sqrt{2\,\mathrm{edm}}` is the
            distance from the optimum in standard errors; with kinks, on the free coordinates and with the
            subgradient of least norm. Directions without curvature count with the square of their slope. Of losses with
            kinks in the data it is the duality gap, and the Hessian is NaN.
        kkt_residual: largest absolute component of the (sub)gradient.
        curvature_change: relative change of the curvature along the remaining Newton step. Far below 1 at an optimum;
            of order 1 when the optimum lies at infinity and the expected decrease cannot be trusted.
        beyond: what the objective gains or loses far beyond that step; positive at a flat minimum, ``-inf`` where it
            runs into minus infinity when the way from the start is gone on, a hundred times as far.
        rise: least rise of the objective one standard error to either side of each coordinate, along its profile
            direction, in nats: 0.5 for a parabola, about 0 on a plateau; shape ``(p,)``, ``inf`` where not computed.
            In white coordinates a hundredth of a standard error counts too, times 100 squared: a bowl that is bent
            within one standard error is an optimum nevertheless.
        eigenvalue: least eigenvalue of the equilibrated Hessian on the free coordinates (or a bound from above).
        direction: unit vector of that eigenvalue in the equilibrated coordinates, shape ``(p,)``.
        step: the Newton step that is left, in units of the equilibrated coordinates, shape ``(p,)``.
        one_sided: change of the objective far to either side along ``direction``, the lesser first, in nats, shape
            ``(2,)``. Both about 0: nothing determines that direction. One of them: its curvature was lost on the way
            to infinity.
        start_change: change of the objective along the same direction at the start of the solver, in nats. About 0 if
            the direction is missing from the model, of any size if its curvature got lost.
        null_weight: share of each coordinate in the directions without curvature, in [0, 1], shape ``(p,)``.
        free: coordinates that are not held on a kink, shape ``(p,)``.
        hessian: Hessian of the objective, shape ``(p, p)``; ``None`` beyond ``RANK_LIMIT``, where rank is not known.
        finite: the value, the gradient and the curvature are finite.
        resolution: eigenvalues at or below this cannot be told from 0.
        noise: expected decrease that rounding error alone makes up, in nats; 0 where it was not measured.
        inverse: inverse of the Hessian on the directions with curvature, shape ``(p, p)``, where it is known with more
            digits than the Hessian holds (see :mod:`lossgeo.solvers.whitening`), else ``None``.
        gradient: gradient of the smooth part, shape ``(p,)``; ``None`` for losses with kinks in the data.
        gap: duality gap of a problem with a kink in the prior, in nats, which the tolerance is compared with; NaN where
            none is known, ``None`` where none was looked for.
        gap_noise: what rounding error alone makes up of it, in nats.
    """

    edm: jax.Array
    kkt_residual: jax.Array
    curvature_change: jax.Array
    beyond: jax.Array
    rise: jax.Array
    eigenvalue: jax.Array
    direction: jax.Array
    step: jax.Array
    one_sided: jax.Array
    start_change: jax.Array
    null_weight: jax.Array
    free: jax.Array
    hessian: jax.Array | None
    finite: jax.Array
    resolution: jax.Array
    noise: jax.Array
    inverse: jax.Array | None = None
    gradient: jax.Array | None = None
    gap: jax.Array | None = None
    gap_noise: jax.Array | None = None


class Nearby(NamedTuple):
    """A problem that is the same function near the point, without the rows of a sum; where it is ``trusted``."""

    problem: Problem
    trusted: jax.Array


def certify(
    problem: Problem,
    known: tuple[jax.Array, jax.Array, jax.Array] | None = None,
    start: Any = None,
    whitening: Whitening | None = None,
    nearby: Nearby | None = None,
) -> tuple[jax.Array, Certificate]:
    """Value of the objective and certificate at ``problem.init``.

    Dense (eigenvalues of the equilibrated Hessian) up to ``RANK_LIMIT`` coordinates; beyond, by conjugate gradients
    and Lanczos steps on Hessian-vector products, which see negative curvature but not rank.

    Args:
        problem: the function and, as its start, the point to judge.
        known: value, gradient and Hessian there, if they have been computed already.
        start: where the solver started, a tree like ``problem.init``; by default the point itself.
        whitening: for a problem from :func:`whiten`, its coordinates: the certificate speaks of the old ones.
        nearby: the same function near the point, by which its surroundings are known.
    """
    flat = FlatProblem(problem)
    z = flat.z0
    value, grad = flat.value_and_grad(z) if known is None else known[:2]
    faces = flat.faces(z, grad)
    if z.shape[0] <= RANK_LIMIT:
        away = jnp.zeros_like(z) if start is None else ravel_pytree(start)[0] - z
        hessian = flat.hessian(z) if known is None else known[2]
        if whitening is None:
            certificate = _dense(flat, value, z, faces, hessian, away, nearby=nearby)
        else:
            origin = jnp.zeros_like(z) if start is None else away + z - ravel_pytree(whitening.origin)[0]
            away = whitening.inverse @ origin - z
            certificate = _old_coordinates(
                _dense(flat, value, z, faces, hessian, away, whitening), flat, z, grad, whitening
            )
    else:
        product = flat.hessian_product(z)
        edm, step, scale = _solve_matrix_free(flat, z, faces, product)
        least = linalg.least_ritz(lambda v: scale * product(scale * v), jnp.where(faces.free, 1.0, 0.0))
        certificate = matrix_free(flat, value, z, faces, product, (edm, step, scale), least)
    finite = certificate.finite & jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
    edm = jnp.where(finite, certificate.edm, jnp.nan)
    gradient = grad if whitening is None else whitening.inverse.T @ grad
    return value, dataclasses.replace(certificate, edm=edm, finite=finite, gradient=gradient)


def expected_decrease(problem: Problem) -> jax.Array:
    """The expected decrease alone, as :func:`certify` has it, for use within a loop.

    By a Cholesky factor where the Hessian is formed, by its eigenvalues where that is not positive definite, and by
    conjugate gradients where it is large.
    """
    flat = FlatProblem(problem)
    z, p = flat.z0, flat.z0.shape[0]
    _, grad = flat.value_and_grad(z)
    faces = flat.faces(z, grad)
    if p == 0:
        return jnp.zeros((), z.dtype)
    if p > DENSE_LIMIT:
        return _solve_matrix_free(flat, z, faces, flat.hessian_product(z))[0]
    hessian, free = flat.hessian(z), faces.free
    finite = jnp.all(jnp.isfinite(grad)) & jnp.all(jnp.isfinite(hessian))
    scaled, scale = linalg.equilibrate(flat.blocks(z).on_face(jnp.where(finite, hessian, 0.0), faces))
    # Coordinates held on a kink take no part.
    scaled = jnp.where(free[:, None] & free[None, :], scaled, jnp.diag(jnp.where(free, 0.0, 1.0)))
    gradient = jnp.where(free, faces.gradient * scale, 0.0)
    resolution = linalg.rank_tolerance(p, z.dtype)
    lower = jnp.linalg.cholesky(scaled, symmetrize_input=False)
    solved = jax.scipy.linalg.solve_triangular(lower, gradient, lower=True)
    definite = jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.square(jnp.diagonal(lower)) > resolution)

    def by_eigenvalues() -> jax.Array:
        matrix = jnp.where(definite, jnp.eye(p, dtype=z.dtype), scaled)
        eigenvalues, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
        magnitude = jnp.where(jnp.abs(eigenvalues) <= resolution, 1.0, jnp.abs(eigenvalues))
        return 0.5 * jnp.sum(jnp.square(gradient @ vectors) / magnitude)

    edm = jax.lax.cond(definite, lambda: 0.5 * solved @ solved, by_eigenvalues)
    return jnp.where(finite, edm, jnp.nan)


def _dense(
    flat: FlatProblem,
    value: jax.Array,
    z: jax.Array,
    faces: Faces,
    hessian: jax.Array,
    away: jax.Array,
    whitening: Whitening | None = None,
    nearby: Nearby | None = None,
) -> Certificate:
    p, free = z.shape[0], faces.free
    resolution = jnp.asarray(linalg.rank_tolerance(p, z.dtype), z.dtype) if whitening is None else whitening.resolution
    finite = jnp.all(jnp.isfinite(hessian))
    if p == 0:
        zero = jnp.zeros((), z.dtype)
        nothing = jnp.zeros(2, z.dtype)
        return Certificate(
            zero, zero, zero, zero, z, zero + 1.0, z, z, nothing, zero, z, free, hessian, finite, resolution, zero
        )
    scaled, scale = jnp.where(jnp.isfinite(hessian), hessian, 0.0), jnp.ones_like(z)
    scaled = flat.blocks(z).on_face(scaled, faces)
    if whitening is None:
        scaled, scale = linalg.equilibrate(scaled)
    # Coordinates held on a kink get a curvature above all others: they are no one's direction.
    scaled = jnp.where(free[:, None] & free[None, :], scaled, jnp.diag(jnp.where(free, 0.0, 2.0 * p)))
    gradient = jnp.where(free, faces.gradient * scale, 0.0)
    eigenvalues, vectors = jnp.linalg.eigh(scaled, symmetrize_input=False)
    slopes = gradient @ vectors
    flat_direction = jnp.abs(eigenvalues) <= resolution
    magnitude = jnp.where(flat_direction, 1.0, jnp.abs(eigenvalues))
    edm = 0.5 * jnp.sum(slopes**2 / magnitude)
    step = vectors @ jnp.where(flat_direction, 0.0, -slopes / magnitude)
    basis = jnp.diag(scale) if whitening is None else whitening.basis
    unit = jnp.eye(p, dtype=z.dtype) if whitening is None else basis * whitening.scale[:, None]
    seen_as = vectors if whitening is None else unit @ vectors
    seen_as = jnp.where(flat_direction[None, :], seen_as / jnp.linalg.norm(seen_as, axis=0, keepdims=True), 0.0)
    null_weight = jnp.sum(jnp.square(seen_as), axis=1)
    direction = vectors[:, 0]
    count = num_probed(p, flat.num_rows, DENSE_LIMIT)
    inverse = (vectors / magnitude[None, :]) @ vectors.T
    # If not all, the coordinates that the others determine least: a plateau shows there first.
    spread = jnp.sum((unit @ inverse) * unit, axis=1)
    probed = jnp.arange(p) if count == p else jax.lax.top_k(spread, count)[1]
    to = Directions(step * scale, direction * scale, away, _standard_errors(inverse, scale, basis[probed]))

    def look(flat: FlatProblem, value: jax.Array) -> Surroundings:
        return look_around(
            flat, value, z, to, lambda v: hessian @ v, definite=eigenvalues[0] > resolution, near=whitening is not None
        )

    if nearby is None:
        seen = look(flat, value)
    else:
        short = FlatProblem(nearby.problem)
        seen = jax.lax.cond(nearby.trusted, lambda: look(short, short.value(z)), lambda: look(flat, value))
    direction = jnp.where(seen.one_sided[0] <= seen.one_sided[1], direction, -direction)
    rise = jnp.full_like(z, jnp.inf)
    # NaN on one side is a plateau's end as well: an overflow within one standard error. Half a nat drowns in the
    # rounding error of a large objective, which then says nothing.
    least = jnp.min(jnp.where(jnp.isnan(seen.gains), -jnp.inf, seen.gains), axis=1)
    risen = least[0] + rounding(value)
    if whitening is not None:
        risen = jnp.maximum(risen, (least[1] - rounding(value)) / NEARBY**2)
    # The norm of a block near its kink is no parabola within a standard error, but rises with its strength in the end.
    bent = jnp.zeros_like(free) if flat.blocks(z).single else faces.strength > 0
    rise = jnp.where(free & (null_weight == 0) & ~bent, rise.at[probed].set(risen), jnp.inf)
    return Certificate(
        edm,
        jnp.max(jnp.abs(faces.gradient)),
        seen.curvature_change,
        seen.beyond,
        rise,
        eigenvalues[0],
        direction,
        step,
        jnp.sort(seen.one_sided),
        seen.start_change,
        null_weight,
        free,
        hessian,
        finite,
        resolution,
        jnp.zeros_like(value),
        None if whitening is None else vectors @ (jnp.where(flat_direction, 0.0, 1.0 / magnitude)[:, None] * vectors.T),
    )


def _standard_errors(inverse: jax.Array, scale: jax.Array, basis: jax.Array) -> jax.Array:
    """Steps of one standard error along the profile directions of some coordinates, one a row.

    The inverse Hessian is that of the scaled coordinates; rows of ``basis`` are the coordinates seen from there.
    """
    columns = inverse @ basis.T
    diagonal = jnp.sum(basis.T * columns, axis=0)
    columns = scale[:, None] * columns * jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0))[None, :]
    return columns.T


def _old_coordinates(
    certificate: Certificate, flat: FlatProblem, z: jax.Array, grad: jax.Array, whitening: Whitening
) -> Certificate:
    """A certificate in white coordinates, told in the old ones; directions in equilibrated old ones."""
    c, unit = certificate, whitening.scale[:, None] * whitening.basis
    direction = unit @ c.direction
    norm = jnp.linalg.norm(direction)
    hessian, inverse = jnp.asarray(c.hessian), jnp.asarray(c.inverse)
    return dataclasses.replace(
        c,
        kkt_residual=jnp.max(jnp.abs(whitening.inverse.T @ grad), initial=0.0),
        direction=direction / jnp.where(norm > 0, norm, 1.0),
        step=unit @ c.step,
        hessian=whitening.inverse.T @ hessian @ whitening.inverse,
        inverse=whitening.basis @ inverse @ whitening.basis.T,
        noise=_rounding(flat, z, grad, hessian, inverse, whitening),
    )


def _rounding(
    flat: FlatProblem, z: jax.Array, grad: jax.Array, hessian: jax.Array, inverse: jax.Array, whitening: Whitening
) -> jax.Array:
    r"""Expected decrease that the rounding error of the gradient makes up, in nats.

    Never too much of it: the gradient is taken again where the old coordinates differ in their last bits. What the
    Hessian does not explain of its change is rounding error :math:`\delta`, worth
    :math:`\tfrac12\delta^\top H^{-1}\delta`; the largest of a few.
    """
    u = ravel_pytree(whitening.back(z))[0]
    signs = jax.random.rademacher(jax.random.key(0), (NOISE_PROBES, u.shape[0]), dtype=z.dtype)
    steps = (4.0 * jnp.finfo(z.dtype).eps * jnp.abs(u)[None, :] * signs) @ whitening.inverse.T
    change = jax.lax.map(lambda step: flat.value_and_grad(z + step)[1], steps) - grad[None, :] - steps @ hessian
    return 0.5 * jnp.max(jnp.sum((change @ inverse) * change, axis=1))


def matrix_free(
    flat: FlatProblem,
    value: jax.Array,
    z: jax.Array,
    faces: Faces,
    product: Callable[[jax.Array], jax.Array],
    solved: tuple[jax.Array, jax.Array, jax.Array],
    least: tuple[jax.Array, jax.Array],
) -> Certificate:
    """A certificate from Hessian-vector products.

    Args:
        flat: the problem.
        value: of the objective.
        z: the point.
        faces: its position relative to the kinks.
        product: the map ``v -> H v`` there.
        solved: expected decrease, Newton step in scaled coordinates, and the scale.
        least: least eigenvalue of the scaled Hessian, or a bound, and its direction.
    """
    (edm, step, scale), (eigenvalue, direction) = solved, least
    change = curvature_change(flat, z, step * scale, product)
    return Certificate(
        edm,
        jnp.max(jnp.abs(faces.gradient)),
        change,
        gain_beyond(flat, value, z, step * scale),
        jnp.full_like(z, jnp.inf),
        eigenvalue,
        direction,
        step,
        jnp.full((2,), jnp.inf, z.dtype),
        jnp.zeros((), z.dtype),
        jnp.zeros_like(z),
        faces.free,
        None,
        jnp.all(jnp.isfinite(step)),
        jnp.asarray(linalg.rank_tolerance(z.shape[0], z.dtype), z.dtype),
        jnp.zeros_like(value),
    )


def _solve_matrix_free(
    flat: FlatProblem, z: jax.Array, faces: Faces, product: Callable[[jax.Array], jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Expected decrease, the Newton step in equilibrated coordinates, and the scale (0 on held coordinates)."""
    blocks = flat.blocks(z)
    scale = flat.face_scale(z, linalg.matrix_free_scale(product, z), faces)
    gradient = faces.gradient * scale

    def on_face(v: jax.Array) -> jax.Array:
        return scale * blocks.along_rays(product(scale * v), faces)

    solved = linalg.conjugate_gradients(on_face, gradient, tol=1e-3, max_steps=1000)
    # For a positive definite matrix the error of the decrease is second order in the residual.
    trusted = solved.positive & (solved.residual <= 0.1)
    edm = jnp.where(trusted, 0.5 * gradient @ solved.x, jnp.inf)
    return jnp.where(jnp.all(gradient == 0), 0.0, edm), -solved.x, scale
