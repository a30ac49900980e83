r"""A certificate without eigenvalues of a large Hessian: where convexity row by row bounds them from below.

With :math:`H = \sum_i W_i \otimes x_i x_i^\top + R` (see :class:`lossgeo.solvers.problem.Outputs`) and Gershgorin's
circles of the small matrices :math:`W_i` and of :math:`R`, :math:`s_i = \max_j\bigl(\sum_{l \ne j} |W_{i,jl}| -
W_{i,jj}\bigr)^+`,

.. math:: H \succeq \mathrm{diag}(b), \qquad
    b_j = R_{jj} - \sum_{l \ne j} |R_{jl}| - \sum_i s_i \lVert x_i \rVert^2,

so that the equilibrated Hessian has no eigenvalue below :math:`\min_j b_j / H_{jj}`. For a softmax :math:`s_i` is
rounding error, because :math:`\mathrm{diag}(p) - pp^\top` is diagonally dominant: a prior with curvature in each
coefficient then proves what eigenvalues would show, that the Hessian is positive definite to working precision. With
a step :math:`s` that solves Newton's equations to a residual :math:`r = g + Hs` it also bounds the expected decrease,

.. math:: \tfrac12 g^\top H^{-1} g = -\tfrac12 (g + r)^\top s + \tfrac12 r^\top H^{-1} r
    \le -\tfrac12 (g + r)^\top s + \tfrac12 r^\top \mathrm{diag}(b)^{-1} r.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.certificate import RANK_LIMIT, Certificate, certify, matrix_free
from lossgeo.solvers.problem import FlatProblem, Outputs, Problem

__all__ = ["certify_bounded"]

SOLVED = 1.0
"""Share of the expected decrease that the residual of a step may hide at most."""


def certify_bounded(
    problem: Problem, known: tuple[jax.Array, jax.Array, jax.Array], start: Any = None
) -> tuple[jax.Array, Certificate]:
    """Value of the objective and certificate at ``problem.init``; like :func:`certify`, without the Hessian.

    Where the bound does not prove that the Hessian is positive definite and the step is one of Newton's method, it is
    :func:`certify` that judges.

    Args:
        problem: smooth, with :class:`lossgeo.solvers.problem.Outputs`; its start is the point to judge.
        known: value, gradient and Newton step there, which may be of conjugate gradients.
        start: where the solver started, a tree like ``problem.init``.
    """
    flat = FlatProblem(problem)
    z, (value, grad, step) = flat.z0, known
    outputs = flat.outputs(z)
    product = flat.hessian_product(z)
    bound, diagonal = _lower_bound(outputs)
    safe = jnp.where(bound > 0, bound, 1.0)
    least = jnp.min(bound / jnp.where(diagonal > 0, diagonal, jnp.inf))
    residual = grad + product(step)
    edm, hidden = -0.5 * (grad + residual) @ step, 0.5 * jnp.sum(jnp.square(residual) / safe)
    definite = jnp.all(bound > 0) & (least > linalg.rank_tolerance(z.shape[0], z.dtype))
    scale = jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0))

    def by_bound() -> Certificate:
        solved = (edm, step / scale, scale)
        found = matrix_free(flat, value, z, flat.faces(z, grad), product, solved, (least, jnp.zeros_like(z)))
        return dataclasses.replace(found, gradient=grad)

    def in_full() -> Certificate:
        hessian = flat.hessian(z) if z.shape[0] <= RANK_LIMIT else jnp.zeros(())
        found = certify(problem, (value, grad, hessian), start)[1]
        return dataclasses.replace(found, hessian=None)

    certificate = jax.lax.cond(definite & (hidden <= SOLVED * edm), by_bound, in_full)
    finite = certificate.finite & jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
    edm = jnp.where(finite, certificate.edm, jnp.nan)
    return value, dataclasses.replace(certificate, edm=edm, finite=finite)


def _lower_bound(outputs: Outputs) -> tuple[jax.Array, jax.Array]:
    """A diagonal matrix below the Hessian and the diagonal of that, in the order of the vector of the problem.

    With coordinates beside the coefficients nothing is known: ``-inf``.
    """
    design, places, k = outputs.design, outputs.places, outputs.num_columns
    p = len(places)
    if p > k * design.shape[1]:
        return jnp.full((p,), -jnp.inf, design.dtype), jnp.ones((p,), design.dtype)

    def circle(place: jax.Array) -> tuple[jax.Array, jax.Array]:
        row = outputs.remainder(jnp.zeros((p,), design.dtype).at[place].set(1.0))
        return row[place], jnp.sum(jnp.abs(row))

    if outputs.separable:
        center = outputs.remainder(jnp.ones((p,), design.dtype))
        size = jnp.abs(center)
    else:
        center, size = jax.lax.map(circle, jnp.arange(p), batch_size=linalg.HESSIAN_BLOCK)

    def column(slack: jax.Array, j: jax.Array) -> tuple[jax.Array, jax.Array]:
        entries = outputs.weights(jnp.zeros((k,), design.dtype).at[j].set(1.0))
        own = entries[:, j]
        lacking = jnp.sum(jnp.abs(entries), axis=1) - jnp.abs(own) - own
        return jnp.maximum(slack, lacking), own

    slack, own = jax.lax.scan(column, jnp.zeros_like(design[:, 0]), jnp.arange(k))
    diagonal = center.at[places].add((own @ jnp.square(design)).ravel())
    return center - (size - jnp.abs(center)) - slack @ jnp.sum(jnp.square(design), axis=1), diagonal
