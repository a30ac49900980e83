"""Fits whose parameters are probability vectors, solved in place: their faces are within reach, and certified.

In unconstrained coordinates a weight of 0 lies at infinity. Mirror descent works with the probabilities themselves; an
optimum on a face is certified by the Frank-Wolfe gap and the multipliers there. There are no standard errors on a face:
an estimate at the edge of its support is not normal around it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import path_name
from lossgeo.posing import Posed, as_problem
from lossgeo.solvers import (
    RANK_LIMIT,
    Blocks,
    Certificate,
    FlatProblem,
    Problem,
    Status,
    frank_wolfe_gap,
    memberships,
    simplices,
    slopes_on_face,
)
from lossgeo.supports import Point, Real, Simplex

__all__ = ["in_place", "is_on_face", "judge_face", "reaches_faces", "sensitive_on_simplex", "why_not_in_place"]

LARGEST_NOISE = 1e-4
"""Gap in nats that may be put down to rounding: 0.014 standard errors."""


def why_not_in_place(posed: Posed) -> str:
    """What keeps a posed problem from being solved on its simplices, in words; empty for nothing. Static."""
    paths = jax.tree_util.tree_flatten_with_path(posed.template)[0]
    others = [
        path_name(path) or "params"
        for (path, _), support in zip(paths, posed.supports, strict=True)
        if type(support) not in (Simplex, Point)
    ]
    if others:
        return f"{', '.join(map(repr, others[:4]))} {'is' if len(others) == 1 else 'are'} not"
    if not any(isinstance(support, Simplex) for support in posed.supports):
        return "there is none"
    if as_problem(_placed(posed)).kinks is not None:
        return "the prior has a kink"
    return ""


def reaches_faces(posed: Posed) -> bool:
    """Whether points on faces can be judged: all parameters are probabilities, and not too many. Static."""
    return not why_not_in_place(posed) and sum(leaf.size for leaf in jax.tree.leaves(posed.template)) <= RANK_LIMIT


def _placed(posed: Posed) -> Posed:
    """The same with the probabilities as coordinates."""
    return dataclasses.replace(
        posed, supports=tuple(Real() if isinstance(support, Simplex) else support for support in posed.supports)
    )


def in_place(problem: Problem) -> Problem:
    """A problem with the probabilities themselves as coordinates; those that are held have none."""
    return as_problem(_placed(problem.args))


def is_on_face(x: list[jax.Array]) -> jax.Array:
    """Whether some probability is 0."""
    return jnp.any(ravel_pytree(x)[0] <= 0)


def judge_face(
    placed: Problem, x: list[jax.Array], tol: Any, ended: Any
) -> tuple[jax.Array, Certificate, jax.Array, jax.Array]:
    """Value, certificate, status and direction of a point on a face of its simplices.

    ``edm`` is the Frank-Wolfe gap in nats, for a convex objective a bound on the excess over the optimum. On the face
    the curvature must be positive: negative, the point is a saddle, and 0, other weights do as well.
    """
    flat, blocks = FlatProblem(dataclasses.replace(placed, init=x)), simplices(x)
    z, p = flat.z0, flat.z0.shape[0]
    value, grad = flat.value_and_grad(z)
    hessian = flat.hessian(z)
    slopes, support = slopes_on_face(z, grad, blocks), z > 0
    gap = frank_wolfe_gap(z, grad, blocks)
    noise = 8.0 * jnp.finfo(z.dtype).eps * jnp.sum(z * jnp.abs(grad))
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad)) & jnp.all(jnp.isfinite(hessian))
    eigenvalue, along = _least_along_face(hessian, support, blocks, memberships(x, z.dtype))
    resolution = jnp.asarray(linalg.rank_tolerance(p, z.dtype), z.dtype)
    small = gap <= jnp.maximum(tol, jnp.minimum(4.0 * noise, LARGEST_NOISE))
    others = small & (jnp.abs(eigenvalue) <= resolution)
    status = jnp.where(small, Status.CONVERGED, jnp.where(ended == Status.CONVERGED, Status.STALLED, ended))
    status = jnp.where(others, Status.UNIDENTIFIED, status)
    status = jnp.where(small & (eigenvalue < -resolution), Status.NOT_POSITIVE_DEFINITE, status)
    status = jnp.where(finite, status, Status.NOT_FINITE).astype(jnp.int32)

    def short(v: jax.Array) -> jax.Array:
        return ravel_pytree([leaf[..., :-1] if leaf.ndim else leaf for leaf in flat.unravel(v)])[0]

    direction, zero = short(along), jnp.zeros_like(value)
    nothing = jnp.zeros_like(direction)
    k = direction.shape[0]
    certificate = Certificate(
        edm=jnp.where(finite, gap, jnp.nan),
        kkt_residual=jnp.max(jnp.where(support, jnp.abs(slopes), jnp.maximum(-slopes, 0.0)), initial=0.0),
        curvature_change=zero,
        beyond=zero,
        rise=jnp.full_like(direction, jnp.inf),
        eigenvalue=eigenvalue,
        direction=direction,
        step=nothing,
        one_sided=jnp.zeros(2, z.dtype),
        start_change=zero,
        null_weight=jnp.where(others, jnp.square(direction), 0.0),
        free=short(support.astype(z.dtype)) > 0,
        hessian=jnp.full((k, k), jnp.nan, z.dtype),
        finite=finite,
        resolution=resolution,
        noise=noise,
        gradient=jnp.full((k,), jnp.nan, z.dtype),
    )
    return value, certificate, status, direction


def _least_along_face(
    hessian: jax.Array, support: jax.Array, blocks: Blocks, members: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Least eigenvalue of the equilibrated Hessian along a face, and a unit vector of probabilities that has it."""
    p = support.shape[0]
    scaled, scale = linalg.equilibrate(jnp.where(jnp.isfinite(hessian), hessian, 0.0))
    normal = jnp.where(support, 1.0, 0.0) * scale
    normal = normal / jnp.sqrt(blocks.total(jnp.square(normal)))
    across = (members @ members.T) * normal[:, None] * normal[None, :]
    along = jnp.diag(jnp.where(support, 1.0, 0.0)) - across
    # Directions that leave the face get a curvature above all others: they are no one's direction.
    matrix = along @ scaled @ along + 2.0 * p * (across + jnp.diag(jnp.where(support, 0.0, 1.0)))
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    direction = scale * vectors[:, 0]
    return eigenvalues[0], direction / jnp.linalg.norm(direction)


def sensitive_on_simplex(posed: Posed, params: Any, converged: jax.Array) -> tuple[Any, jax.Array]:
    """Solution and objective as differentiable functions of everything in ``posed``, on the face of the solution.

    Weights of 0 stay 0. Derivatives are NaN where the fit did not converge.
    """
    placed = _placed(posed)
    constant = jax.lax.stop_gradient(placed)
    x, unravel = ravel_pytree(constant.to_unconstrained(params))
    blocks, free = simplices(unravel(x)), x > 0

    def objective(z: jax.Array) -> jax.Array:
        return as_problem(placed).fun(unravel(z), placed)

    def stationarity(z: jax.Array) -> jax.Array:
        # Slopes of the free entries are equal, and the entries sum to 1.
        slopes = jnp.where(free, jax.grad(objective)(z), 0.0)
        count = blocks.total(jnp.where(free, 1.0, 0.0).astype(z.dtype))
        return jnp.where(free, slopes - blocks.total(slopes) / count + blocks.total(z) - 1.0, z)

    def tangent_solve(matvec: Any, y: jax.Array) -> jax.Array:
        matrix = jax.vmap(matvec)(jnp.eye(x.shape[0], dtype=x.dtype)).T
        found = jnp.where(free, jnp.linalg.solve(matrix, y), y)
        # A product, because the transpose of a select would turn the NaN of reverse mode into 0.
        return found * jnp.where(converged, 1.0, jnp.nan)

    found = unravel(jax.lax.custom_root(stationarity, x, lambda _, guess: guess, tangent_solve))
    return placed.to_params(found), as_problem(placed).fun(found, placed)
