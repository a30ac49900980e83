r"""A start for normal regressions of many rows: the optimum by the second moments of the data, in one pass over them.

For a normal likelihood of common scale whose location :math:`X\beta + Kv + h` is affine in the coordinates,

.. math:: \sum_i w_i r_i^2 = m^\top S\, m, \qquad S = [X\;K\;t]^\top W\,[X\;K\;t],\; m = (\beta, v, -1),\; t = y - h,

so that the objective and its curvature are functions of :math:`S` and of the scale. Moments square the condition number
and differences of them cancel: the optimum found there is a start, whose gradient the solver then takes from the rows.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree
from lossgeo.distributions import Normal
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.posing import Posed, negative_log_prior
from lossgeo.solvers import Newton, Problem, run
from lossgeo.structure import RowDerivatives, is_affine

__all__ = ["start_from_moments"]

MOST_OTHERS = 8
"""Coordinates besides those of the linear predictor up to which their columns are formed."""

HALF_LOG_2PI = 0.9189385332046727

MAX_STEPS = 100


@pytree
class _Moments:
    """What a normal likelihood needs of its data.

    Args:
        posed: the objective.
        second: :math:`S`, shape ``(p + 1, p + 1)``, in the order of the ravelled coordinates.
        origin: coordinates at which :math:`t` was taken, 0 for those of the linear predictor, shape ``(p,)``.
        total_weight: sum of the weights.
        valid: whether the rows have these derivatives in their linear predictor, so that they see it with factor 1.
    """

    posed: Posed
    second: jax.Array
    origin: jax.Array
    total_weight: jax.Array
    valid: jax.Array


def start_from_moments(problem: Problem, tol: jax.Array) -> tuple[list[jax.Array], jax.Array] | None:
    """The optimum of a normal regression by its moments, and the Hessian there.

    Returns:
        Unconstrained coordinates, a list, and a Hessian, shape ``(p, p)``; ``None`` where the rows are not normal with
        one scale and a location that is affine in the coordinates.
    """
    known = problem.derivatives
    if not isinstance(known, RowDerivatives) or problem.kinks is not None or not _is_normal(problem, known):
        return None
    moments = _moments(problem, known)
    reduced = Problem(_objective, None, moments, problem.init)
    solver = Newton()
    state = run(solver, reduced, solver.init(reduced, tol), tol, MAX_STEPS)
    good = moments.valid & jnp.all(jnp.isfinite(state.z)) & jnp.isfinite(state.value)
    u = [jnp.where(good, new, old) for new, old in zip(solver.params(reduced, state), problem.init, strict=True)]
    return u, jnp.where(good, state.curvature, jnp.nan)


def _is_normal(problem: Problem, known: RowDerivatives) -> bool:
    """Whether the rows are normal with one scale and an affine location; static."""
    posed: Posed = problem.args
    predictors = known.structure.predictors
    others = sum(leaf.size for leaf in problem.init) - sum(p.shape[0] * p.shape[1] for p in predictors)
    if not isinstance(posed.objective.likelihood, ModelLikelihood) or others > MOST_OTHERS:
        return False
    if len(predictors) != 1 or predictors[0].shape[1] != 1:
        return False
    kinds: list[Any] = []

    def location(u: Any) -> jax.Array:
        found = _distribution(u, posed)
        kinds.append(found)
        return jnp.asarray(found.loc if type(found) is Normal else 0.0)

    affine = is_affine(location, problem.init)
    (found,) = kinds
    if type(found) is not Normal or jnp.size(found.scale) != 1:
        return False
    return all(affine) and jnp.shape(found.loc) == (predictors[0].num_rows,) == jnp.shape(posed.data[-1])


def _moments(problem: Problem, known: RowDerivatives) -> _Moments:
    posed: Posed = problem.args
    z, unravel = ravel_pytree(problem.init)
    (design,) = known.structure.designs(problem.init, posed)
    (predictor,) = known.structure.predictors
    start = sum(leaf.size for leaf in problem.init[: predictor.leaf])
    places = start + known.structure.positions(0)[:, 0]
    others = jnp.asarray([i for i in range(z.size) if i not in set(places.tolist())], int)
    origin = z.at[places].set(0.0)

    def location(z: jax.Array) -> jax.Array:
        return jnp.asarray(_distribution(unravel(z), posed).loc, z.dtype)

    at_origin, push = jax.linearize(lambda v: location(origin.at[others].set(v)), origin[others])
    columns = jax.vmap(push)(jnp.eye(others.size, dtype=z.dtype)).T
    target = jnp.asarray(posed.data[-1], z.dtype) - at_origin
    weights = jnp.ones_like(target) if posed.weights is None else jnp.asarray(posed.weights, z.dtype)
    rest = jnp.concatenate([columns, target[:, None]], axis=1)
    weighted = rest * weights[:, None]
    cross = jnp.concatenate([linalg.transposed_product(v[:, None], design) for v in weighted.T])
    gram = linalg.weighted_gram(design, weights, design)
    blocks = jnp.block([[gram, cross.T], [cross, rest.T @ weighted]])
    # From the order predictor, others, target to that of the coordinates.
    order = jnp.argsort(jnp.concatenate([jnp.asarray(places), others, jnp.asarray([z.size])]))
    valid = _sees_predictor(problem, known, target)
    return _Moments(posed, blocks[order[:, None], order[None, :]], origin, jnp.sum(weights), valid)


def _sees_predictor(problem: Problem, known: RowDerivatives, target: jax.Array) -> jax.Array:
    r"""Whether rows at a linear predictor of 0 have derivatives :math:`t/\sigma^2` and :math:`-1/\sigma^2` in it."""
    posed: Posed = problem.args
    precision = jnp.reshape(jnp.asarray(_distribution(problem.init, posed).scale, target.dtype), ()) ** -2
    ones = jnp.ones_like(target)

    def slope(eta: jax.Array) -> jax.Array:
        return jax.jvp(lambda e: known.structure.rest([e[:, None]], problem.init, posed), (eta,), (ones,))[1]

    first, second = jax.jvp(slope, (jnp.zeros_like(target),), (ones,))
    tolerance = 1e4 * jnp.finfo(target.dtype).eps * precision
    agrees = jnp.abs(first - precision * target) <= tolerance * (1.0 + jnp.abs(target))
    return jnp.all(agrees & (jnp.abs(second + precision) <= tolerance)) & jnp.any(target != 0)


def _distribution(u: Any, posed: Posed) -> Any:
    return posed.objective.likelihood.distribution(posed.to_params(u), *posed.data[:-1])


def _objective(u: Any, moments: _Moments) -> jax.Array:
    z = ravel_pytree(u)[0]
    m = jnp.append(z - moments.origin, -1.0)
    scale = jnp.reshape(jnp.asarray(_distribution(u, moments.posed).scale, z.dtype), ())
    rows = 0.5 * m @ (moments.second @ m) / scale**2 + moments.total_weight * (jnp.log(scale) + HALF_LOG_2PI)
    return rows + negative_log_prior(u, moments.posed)
