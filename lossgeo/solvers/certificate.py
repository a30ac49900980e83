"""How far from the optimum: the expected decrease that is left, in nats, and the state of the curvature."""

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo._pytree import pytree
from lossgeo.solvers.problem import Faces, FlatProblem, Problem

DENSE_LIMIT = 512
"""Largest number of coordinates for which the Hessian is formed."""


@pytree
class Certificate:
    r"""Evidence about a point, in the unconstrained coordinates of the solver.

    Args:
        edm: expected decrease :math:`\tfrac12 g^\top H^{-1} g` in nats, so that :math:`\sqrt{2\,\mathrm{edm}}` is the
            distance from the optimum in standard errors; with kinks, on the free coordinates and with the
            subgradient of least norm. Directions without curvature count with the square of their slope.
        kkt_residual: largest absolute component of the (sub)gradient.
        curvature_change: relative change of the curvature along the remaining Newton step. Far below 1 at an optimum;
            of order 1 when the optimum lies at infinity and the expected decrease cannot be trusted.
        eigenvalue: least eigenvalue of the equilibrated Hessian on the free coordinates.
        direction: unit vector of that eigenvalue in the equilibrated coordinates, shape ``(p,)``.
        step: the Newton step that is left, in units of the equilibrated coordinates, shape ``(p,)``.
        null_weight: share of each coordinate in the directions without curvature, in [0, 1], shape ``(p,)``.
        free: coordinates that are not held on a kink, shape ``(p,)``.
        hessian: Hessian of the objective, shape ``(p, p)``; ``None`` when it is too large to form.
        finite: the value, the gradient and the curvature are finite.
    """

    edm: jax.Array
    kkt_residual: jax.Array
    curvature_change: jax.Array
    eigenvalue: jax.Array
    direction: jax.Array
    step: jax.Array
    null_weight: jax.Array
    free: jax.Array
    hessian: jax.Array | None
    finite: jax.Array


def certify(
    problem: Problem, known: tuple[jax.Array, jax.Array, jax.Array] | None = None
) -> tuple[jax.Array, Certificate]:
    """Value of the objective and certificate at ``problem.init``.

    Dense (eigenvalues of the equilibrated Hessian) up to ``DENSE_LIMIT`` coordinates; beyond, by conjugate gradients
    on Hessian-vector products, which sees negative curvature but not rank.

    Args:
        problem: the function and, as its start, the point to judge.
        known: value, gradient and Hessian there, if they have been computed already.
    """
    flat = FlatProblem(problem)
    z = flat.z0
    value, grad = flat.value_and_grad(z) if known is None else known[:2]
    faces = flat.faces(z, grad)
    if z.shape[0] <= DENSE_LIMIT:
        certificate = _dense(flat, z, faces, flat.hessian(z) if known is None else known[2])
    else:
        certificate = _matrix_free(flat, z, faces)
    finite = certificate.finite & jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
    edm = jnp.where(finite, certificate.edm, jnp.nan)
    return value, Certificate(**{**vars(certificate), "edm": edm, "finite": finite})


def _dense(flat: FlatProblem, z: jax.Array, faces: Faces, hessian: jax.Array) -> Certificate:
    p, free = z.shape[0], faces.free
    finite = jnp.all(jnp.isfinite(hessian))
    scaled, scale = linalg.equilibrate(jnp.where(jnp.isfinite(hessian), hessian, 0.0))
    # Coordinates held on a kink get a curvature above all others: they are no one's direction.
    scaled = jnp.where(free[:, None] & free[None, :], scaled, jnp.diag(jnp.where(free, 0.0, 2.0 * max(p, 1))))
    gradient = jnp.where(free, faces.gradient * scale, 0.0)
    if p == 0:
        zero = jnp.zeros((), z.dtype)
        return Certificate(zero, zero, zero, zero + 1.0, z, z, z, free, hessian, jnp.asarray(True))
    eigenvalues, vectors = jnp.linalg.eigh(scaled, symmetrize_input=False)
    slopes = gradient @ vectors
    flat_direction = jnp.abs(eigenvalues) <= linalg.rank_tolerance(p, z.dtype)
    magnitude = jnp.where(flat_direction, 1.0, jnp.abs(eigenvalues))
    edm = 0.5 * jnp.sum(slopes**2 / magnitude)
    step = vectors @ jnp.where(flat_direction, 0.0, -slopes / magnitude)
    null_weight = jnp.sum(jnp.where(flat_direction, vectors**2, 0.0), axis=1)
    change = _curvature_change(flat, z, step * scale)
    return Certificate(
        edm,
        jnp.max(jnp.abs(faces.gradient)),
        change,
        eigenvalues[0],
        vectors[:, 0],
        step,
        null_weight,
        free,
        hessian,
        finite,
    )


def _matrix_free(flat: FlatProblem, z: jax.Array, faces: Faces) -> Certificate:
    free = faces.free
    gradient = jnp.where(free, faces.gradient, 0.0)
    _, product = jax.linearize(jax.grad(flat.value), z)
    solved = linalg.conjugate_gradients(
        lambda v: jnp.where(free, product(jnp.where(free, v, 0.0)), 0.0), gradient, tol=1e-3, max_steps=1000
    )
    # For a positive definite matrix the error of x @ gradient is second order in the residual.
    trusted = solved.positive & (solved.residual <= 0.1)
    edm = jnp.where(trusted, 0.5 * gradient @ solved.x, jnp.inf)
    curvature = jnp.where(solved.positive, 1.0, -1.0).astype(z.dtype)
    norm = jnp.linalg.norm(solved.direction)
    change = _curvature_change(flat, z, -solved.x)
    return Certificate(
        jnp.where(jnp.all(gradient == 0), 0.0, edm),
        jnp.max(jnp.abs(faces.gradient)),
        change,
        curvature,
        solved.direction / jnp.where(norm > 0, norm, 1.0),
        -solved.x,
        jnp.zeros_like(z),
        free,
        None,
        jnp.all(jnp.isfinite(solved.x)),
    )


def _curvature_change(flat: FlatProblem, z: jax.Array, step: jax.Array) -> jax.Array:
    """Relative change of the curvature along ``step`` between its ends; 0 for a step too small to matter."""
    norm = jnp.max(jnp.abs(step))
    unit = step / jnp.where(norm > 0, norm, 1.0)
    here = unit @ flat.hvp(z, unit)
    there = unit @ flat.hvp(z + step, unit)
    return jnp.where((norm > 0) & (here > 0), jnp.abs(there / jnp.where(here > 0, here, 1.0) - 1.0), 0.0)
