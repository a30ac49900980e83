r"""Normal regressions of many rows by the second moments of the data, which one pass over them gives.

For a normal likelihood of common scale whose location :math:`X\beta + Kv + h` is affine in the coordinates, around any
point :math:`z_0` with residuals :math:`r`,

.. math:: \sum_i w_i r_i(z)^2 = m^\top S\, m, \qquad S = [X\;K\;r]^\top W\,[X\;K\;r],\; m = (z - z_0, -1),

so that the objective and its curvature are functions of :math:`S` and of the scale. Moments around the origin square
the condition number, and differences of them cancel; around the optimum found from them, with residuals taken from the
rows, they do not: each such *correction*, a step of iterative refinement, takes one more pass and has the digits of the
rows. Near its optimum the objective itself is then known by :math:`S`, and so is what a certificate asks of it.

Reference: Björck (1996), Numerical Methods for Least Squares Problems, section 2.9 (corrected normal equations).
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree
from lossgeo.distributions import Normal
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.posing import Posed, negative_log_prior
from lossgeo.solvers import Newton, Problem, run
from lossgeo.structure import RowDerivatives, RowStructure, depends_on, discover, is_affine, is_shift

__all__ = ["FromMoments", "Moments", "near_optimum", "solve_by_moments"]

MOST_OTHERS = 8
"""Coordinates besides those of the linear predictor up to which their columns are formed."""

HALF_LOG_2PI = 0.9189385332046727

MAX_STEPS = 100

CORRECTIONS = 5
"""Residuals that are taken from the rows at most; a second one is needed beyond condition numbers of some 1e5."""


@pytree
class Moments:
    """What a normal likelihood needs of its data.

    Args:
        second: :math:`S`, shape ``(p + 1, p + 1)``, in the order of the ravelled coordinates.
        center: :math:`z_0`, shape ``(p,)``.
        total_weight: sum of the weights.
        trusted: whether the point is so near to the optimum that differences of the objective have all their digits.
    """

    second: jax.Array
    center: jax.Array
    total_weight: jax.Array
    trusted: jax.Array


class FromMoments(NamedTuple):
    """The optimum of a normal regression, with the evidence for it.

    Args:
        u: unconstrained coordinates, a list; the start where there is no optimum.
        value: objective there.
        grad: gradient there, shape ``(p,)``.
        curvature: Hessian there, shape ``(p, p)``; NaN where there is no optimum.
        edm: expected decrease of the last correction, in nats; that after it is far smaller.
        num_corrections: how often residuals were taken from the rows.
        converged: whether the digits are those that the rows have.
        moments: around the last point whose residuals were taken.
        read: the design, and a number that is finite only if all its entries are.
    """

    u: list[jax.Array]
    value: jax.Array
    grad: jax.Array
    curvature: jax.Array
    edm: jax.Array
    num_corrections: jax.Array
    converged: jax.Array
    moments: Moments
    read: tuple[jax.Array, jax.Array]


def near_optimum(moments: Moments, posed: Posed, u: list[jax.Array]) -> Problem:
    """The objective by its moments, and ``u`` as its start: up to rounding the same function, without its rows."""
    return Problem(_objective, None, (posed, moments), u)


def solve_by_moments(problem: Problem, tol: jax.Array) -> FromMoments | None:
    """Minimise a normal regression by its moments.

    Returns:
        Where it ended; ``None`` where the rows are not normal with one scale and a location that is affine in the
        coordinates, which is decided before anything is computed.
    """
    rows = _rows(problem)
    if rows is None:
        return None
    posed, solver = problem.args, Newton()
    z, unravel = ravel_pytree(problem.init)
    eps = jnp.finfo(z.dtype).eps

    def body(carry: tuple) -> tuple:
        moments, z, _, _, _, edm, count, _, _ = carry
        reduced = near_optimum(moments, posed, unravel(z))
        state = run(solver, reduced, solver.init(reduced, tol), tol, MAX_STEPS)
        step = state.z - moments.center
        moved = 0.5 * step @ (state.curvature @ step)
        scaled, _ = linalg.equilibrate(state.curvature)
        pivot = jnp.min(jnp.square(jnp.diagonal(jnp.linalg.cholesky(scaled, symmetrize_input=False))))
        # Of the way to the optimum so much is missed, for the digits of the curvature.
        missed = linalg.rank_tolerance(z.shape[0], z.dtype) / pivot
        finite = jnp.all(jnp.isfinite(state.z)) & jnp.isfinite(state.value)
        # A correction that is not far smaller than the one before shows that there are no digits left to gain.
        settled = (moved * missed**2 <= eps**1.5) | (moved >= 0.1 * edm)
        converged = finite & (count > 0) & (state.edm <= tol) & (moved <= tol) & settled
        going = finite & ~converged & (count < CORRECTIONS) & (moved < 0.1 * edm)
        moments = jax.lax.cond(going, lambda: rows.around(moments, state.z), lambda: moments)
        return (
            moments,
            state.z,
            state.value,
            state.grad,
            state.curvature,
            moved,
            count + going,
            converged,
            going,
        )

    nothing, blank = jnp.zeros((), z.dtype), jnp.zeros((z.size, z.size), z.dtype)
    no, yes = jnp.asarray(False), jnp.asarray(True)
    start = (rows.at_start(), z, nothing, jnp.zeros_like(z), blank, nothing + jnp.inf, jnp.asarray(0), no, yes)
    end = jax.lax.while_loop(lambda carry: carry[-1], body, start)
    moments, found, value, grad, curvature, moved, count, converged, _ = end
    good = jnp.all(jnp.isfinite(found)) & jnp.isfinite(value) & rows.varies
    u = [jnp.where(good, new, old) for new, old in zip(unravel(found), problem.init, strict=True)]
    converged = converged & good
    moments = dataclasses.replace(moments, trusted=converged)
    read = (rows.design, jnp.trace(rows.gram))
    curvature = jnp.where(good, curvature, jnp.nan)
    return FromMoments(u, value, grad, curvature, moved, count, converged, moments, read)


class _Rows(NamedTuple):
    r"""The rows of a normal regression; lives inside a trace.

    Args:
        design: :math:`X`, shape ``(n, d)``.
        columns: those of :math:`K` that are not 0, shape ``(q, n)``.
        target: :math:`t`, the target less the location at the start without its linear predictor, shape ``(n,)``.
        weights: shape ``(n,)``.
        gram: :math:`X^\top W X`, shape ``(d, d)``.
        cross: products of the weighted columns and target with the design, shape ``(q + 1, d)``.
        start: coordinates to which the target belongs, shape ``(p,)``.
        places: of the coefficients, the columns and the others among the coordinates.
    """

    design: jax.Array
    columns: jax.Array
    target: jax.Array
    weights: jax.Array
    gram: jax.Array
    cross: jax.Array
    start: jax.Array
    places: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def varies(self) -> jax.Array:
        """Whether there is anything to explain: without residuals the scale has no optimum."""
        return jnp.any(self.target != 0)

    def at_start(self) -> Moments:
        """Moments around the start."""
        return self._assembled(self.target, self.cross[-1], self.start)

    def around(self, moments: Moments, z: jax.Array) -> Moments:
        """Moments around another point."""
        coefficients, others, _ = self.places
        target = self.target - (z - self.start)[others] @ self.columns
        residual, product = linalg.residual_and_product(
            self.design, self.weights, target, (z - self.start)[coefficients]
        )
        return self._assembled(residual, product, z)

    def _assembled(self, residual: jax.Array, product: jax.Array, center: jax.Array) -> Moments:
        rest = jnp.concatenate([self.columns, residual[None, :]])
        cross = jnp.concatenate([self.cross[:-1], product[None, :]])
        corner = rest @ (rest * self.weights[None, :]).T
        blocks = jnp.block([[self.gram, cross.T], [cross, 0.5 * (corner + corner.T)]])
        # Coordinates that the location does not depend on have empty rows, and the residual comes last.
        coefficients, others, idle = self.places
        order = np.argsort(np.concatenate([coefficients, others, [center.size], idle]))
        blocks = jnp.pad(blocks, ((0, len(idle)), (0, len(idle))))
        trusted = jnp.asarray(False)
        return Moments(blocks[order[:, None], order[None, :]], center, jnp.sum(self.weights), trusted)


def _rows(problem: Problem) -> _Rows | None:
    """The rows of a normal regression, or ``None``."""
    found = _location(problem)
    if found is None:
        return None
    posed, (predictor,) = problem.args, found.predictors
    z, unravel = ravel_pytree(problem.init)
    sizes = np.cumsum([0, *(leaf.size for leaf in problem.init)])
    coefficients = sizes[predictor.leaf] + found.positions(0)[:, 0]
    idle: list[int] = []
    for index, leaf in enumerate(problem.init):
        if index != predictor.leaf and not _depends_on_leaf(problem, index):
            idle.extend(range(sizes[index], sizes[index] + leaf.size))
    taken = {*coefficients.tolist(), *idle}
    others = np.asarray([i for i in range(z.size) if i not in taken], int)
    start = z.at[coefficients].set(0.0)
    eta = jnp.zeros((predictor.num_rows, 1), z.dtype)

    def without_predictor(v: jax.Array) -> jax.Array:
        return found.rest([eta], unravel(start.at[others].set(v)), posed)

    at_start, push = jax.linearize(without_predictor, start[others])
    columns = jax.vmap(push)(jnp.eye(others.size, dtype=z.dtype))
    target = jnp.asarray(posed.data[-1], z.dtype) - at_start
    weights = jnp.ones_like(target) if posed.weights is None else jnp.asarray(posed.weights, z.dtype)
    (design,) = found.designs(problem.init, posed)
    gram, cross = linalg.gram_and_product(design, weights, jnp.concatenate([columns, target[None, :]]).T)
    return _Rows(design, columns, target, weights, gram, cross, start, (coefficients, others, np.asarray(idle, int)))


def _location(problem: Problem) -> RowStructure | None:
    """Structure of the location of rows that are normal with one scale and an affine location; ``None`` for others."""
    known, posed = problem.derivatives, problem.args
    if not isinstance(known, RowDerivatives) or problem.kinks is not None:
        return None
    predictors = known.structure.predictors
    others = sum(leaf.size for leaf in problem.init) - sum(p.shape[0] * p.shape[1] for p in predictors)
    if not isinstance(posed.objective.likelihood, ModelLikelihood) or others > MOST_OTHERS:
        return None
    if len(predictors) != 1 or predictors[0].shape[1] != 1:
        return None
    shape = (predictors[0].num_rows,)
    kinds: list[Any] = []

    def location(u: Any, posed: Posed) -> jax.Array:
        kinds.append(_distribution(u, posed))
        return jnp.asarray(kinds[-1].loc if type(kinds[-1]) is Normal else 0.0, jnp.result_type(*problem.init))

    if not all(is_affine(lambda u: location(u, posed), problem.init)):
        return None
    normal = kinds[-1]
    if type(normal) is not Normal or jnp.size(normal.scale) != 1 or jnp.shape(normal.loc) != shape:
        return None
    structure = discover(location, problem.init, posed) if jnp.shape(posed.data[-1]) == shape else None
    if structure is None or len(structure.predictors) != 1 or structure.predictors[0][:3] != predictors[0][:3]:
        return None
    eta = jnp.zeros((*shape, 1), jnp.result_type(*problem.init))
    return structure if is_shift(lambda e: structure.rest([e], problem.init, posed), eta) else None


def _depends_on_leaf(problem: Problem, index: int) -> bool:
    """Whether the location depends on a leaf of the coordinates; static."""

    def location(leaf: jax.Array) -> Any:
        u = [*problem.init[:index], leaf, *problem.init[index + 1 :]]
        return _distribution(u, problem.args).loc

    return any(depends_on(location, problem.init[index]))


def _distribution(u: Any, posed: Posed) -> Any:
    return posed.objective.likelihood.distribution(posed.to_params(u), *posed.data[:-1])


def _objective(u: Any, args: tuple[Posed, Moments]) -> jax.Array:
    posed, moments = args
    z = ravel_pytree(u)[0]
    m = jnp.append(z - moments.center, -1.0)
    scale = jnp.reshape(jnp.asarray(_distribution(u, posed).scale, z.dtype), ())
    rows = 0.5 * m @ (moments.second @ m) / scale**2 + moments.total_weight * (jnp.log(scale) + HALF_LOG_2PI)
    return rows + negative_log_prior(u, posed)
