r"""Duality gaps of L1-penalised likelihoods: a bound on the excess over the optimum that needs no Hessian.

.. math:: P(x) = \sum_i \ell_i(\eta_i) + \sum_j \lambda_j |x_j|, \quad \eta = o + Xx + Zv; \qquad
          D(u) = -\sum_i \ell_i^*(u_i) + u^\top o \;\text{ for } |X_j^\top u| \le \lambda_j,\; Z^\top u = 0

For a likelihood that is log-concave in its linear predictor every feasible :math:`u` bounds the least value of
:math:`P` from below. The slopes :math:`\ell'(\eta)` are made feasible by a projection and a factor :math:`s \le 1`, and

.. math:: P - D = \sum_i \{\ell_i(\eta_i) + \ell_i^*(u_i) - u_i\eta_i\} + \sum_j \{\lambda_j|x_j| + x_j X_j^\top u\}

is a sum of terms that are not negative: no digits are lost in a difference of objectives.

References: Bonnefoy et al. (2015), IEEE Trans. Signal Process. 63, 5121; Ndiaye et al. (2017), JMLR 18 (128), sec. 2.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._compilation import quick_jit
from lossgeo.posing import Posed, as_problem
from lossgeo.sparsity import SparseRows, sparse_rows

__all__ = ["duality_gap"]

MAX_OTHER = 64
"""Coordinates beside the penalised ones that may shift the linear predictor."""

NEWTON_STEPS = 30
"""Steps towards the point of each row that has a wanted slope."""

PROBES = (-8.0, -2.0, -0.5, 0.5, 2.0, 8.0)
"""Shifts of the linear predictor at which rows must have no negative curvature."""

NODES, NODE_WEIGHTS = (np.asarray(part) for part in np.polynomial.legendre.leggauss(10))


@quick_jit()
def duality_gap(posed: Posed, params: Any) -> jax.Array:
    r"""Bound on the excess of the objective at ``params`` over its least value, in nats.

    It exists for one vector of coefficients under a Laplace prior in a linear predictor, all strengths positive, where
    everything else that is estimated shifts the same predictor without a prior (an intercept, unpenalised columns).
    Rows must be convex in the predictor; this is looked at around the fit and cannot be proved from there: for a
    family that is log-concave in the predictor (normal of known scale, logistic, Poisson with log link, …) the bound
    is rigorous up to rounding.

    Args:
        posed: the objective with its data.
        params: parameters to judge, inside their supports.

    Returns:
        The gap, shape ``()``; NaN where none is known: another kind of problem, a free scale, rows seen not to be
        convex.

    Numerics:
        The gap is of first order in the violation of optimality. Rounding of the gradient, about
        ``eps * sqrt(n) * |x|_1 * max|X_j| |slopes|``, is its floor.
    """
    problem = as_problem(posed)
    rows = sparse_rows(problem, MAX_OTHER)
    dtype = jnp.result_type(float, *jax.tree.leaves(posed.template))
    if rows is None:
        return jnp.full((), jnp.nan, dtype)
    x, v = rows.split(posed.to_unconstrained(params))
    design = rows.design()
    eta = design @ (rows.center + x)
    slopes, other = jax.grad(rows.loss, argnums=(0, 1))(eta, v)
    shifts, known = _shifts(rows, eta, v, other, slopes)
    if v.shape[0]:
        basis = jnp.linalg.qr(shifts.T)[0]
        for _ in range(2):
            slopes = slopes - basis @ (slopes @ basis)
    gradient = slopes @ design
    strength = rows.strength
    factor = jnp.min(jnp.where(jnp.abs(gradient) > strength, strength / jnp.abs(gradient), 1.0), initial=1.0)
    gap, convex = _fenchel_young(rows, eta, v, factor * slopes)
    penalty = jnp.sum(jnp.maximum(strength * jnp.abs(x) + factor * gradient * x, 0.0))
    return jnp.where(known & convex & jnp.all(strength > 0), gap + penalty, jnp.nan)


def _slopes_and_curvature(rows: SparseRows, eta: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(lambda e: jax.grad(rows.loss)(e, v), (eta,), (jnp.ones_like(eta),))


def _shifts(
    rows: SparseRows, eta: jax.Array, v: jax.Array, other: jax.Array, slopes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """How each other coordinate shifts the predictor, shape ``(q, n)``, and whether that is all it does.

    Then slopes at ``eta + z t`` and ``v - t`` do not depend on ``t``: one random direction tells.
    """
    if not v.shape[0]:
        return jnp.zeros((0, eta.shape[0]), eta.dtype), jnp.asarray(True)
    _, weights = _slopes_and_curvature(rows, eta, v)
    cross = jax.vmap(lambda t: jax.jvp(lambda v: jax.grad(rows.loss)(eta, v), (v,), (t,))[1])(
        jnp.eye(v.shape[0], dtype=v.dtype)
    )
    shifts = cross / jnp.where(weights != 0, weights, 1.0)[None, :]
    step = jax.random.normal(jax.random.key(0), v.shape, v.dtype)
    moved, moved_other = jax.grad(rows.loss, argnums=(0, 1))(eta + step @ shifts, v - step)
    root = jnp.sqrt(jnp.finfo(eta.dtype).eps)
    size = jnp.max(jnp.abs(slopes)) + jnp.max(jnp.abs(weights))
    same = jnp.max(jnp.abs(moved - slopes)) <= root * size
    # No prior of their own: the slope in v is that of the rows.
    free = jnp.max(jnp.abs(other - shifts @ slopes)) <= root * jnp.max(jnp.abs(shifts) @ jnp.abs(slopes))
    free = free & (jnp.max(jnp.abs(moved_other - other)) <= root * jnp.max(jnp.abs(shifts) @ jnp.abs(slopes)))
    return shifts, same & free & jnp.all(weights != 0)


def _fenchel_young(rows: SparseRows, eta: jax.Array, v: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""Sum of :math:`\ell(\eta) + \ell^*(u) - u\eta`, and whether no row had negative curvature.

    With :math:`\ell'(e) = u` each term is the remainder :math:`t^2\int_0^1 (1-\tau)\,\ell''(e + \tau t)\,d\tau` of an
    expansion at :math:`e = \eta - t`; infinite where no such :math:`e` is found.
    """
    eps = jnp.finfo(eta.dtype).eps

    def closer(_: int, e: jax.Array) -> jax.Array:
        slope, curvature = _slopes_and_curvature(rows, e, v)
        step = jnp.where(curvature > 0, (wanted - slope) / jnp.where(curvature > 0, curvature, 1.0), 0.0)
        step = jnp.where(jnp.isfinite(step), step, 0.0)
        return e + jnp.clip(step, -2.0 * (1.0 + jnp.abs(e)), 2.0 * (1.0 + jnp.abs(e)))

    e = jax.lax.fori_loop(0, NEWTON_STEPS, closer, eta)
    slope, curvature = _slopes_and_curvature(rows, e, v)
    found = jnp.abs(slope - wanted) <= 64.0 * eps * (jnp.abs(wanted) + curvature * (1.0 + jnp.abs(e))) + 1e-6 * jnp.abs(
        wanted
    )
    # Rows without such a point make the bound infinite, and say nothing about convexity.
    t, curvature = jnp.where(found, eta - e, 0.0), jnp.where(found, curvature, 0.0)
    e = eta - t

    def along(carry: tuple, node: tuple) -> tuple:
        total, least = carry
        place, weight = node
        _, curvature = _slopes_and_curvature(rows, e + place * t, v)
        return (total + weight * (1.0 - place) * curvature, jnp.minimum(least, jnp.min(curvature))), None

    nodes = jnp.asarray(0.5 * (NODES + 1.0), eta.dtype), jnp.asarray(0.5 * NODE_WEIGHTS, eta.dtype)
    (remainder, least), _ = jax.lax.scan(along, (jnp.zeros_like(t), jnp.min(curvature)), nodes)
    probes = jax.lax.map(
        lambda shift: jnp.min(_slopes_and_curvature(rows, eta + shift, v)[1]), jnp.asarray(PROBES, eta.dtype)
    )
    convex = jnp.minimum(least, jnp.min(probes)) >= -64.0 * eps * jnp.max(jnp.abs(curvature))
    return jnp.sum(jnp.where(found, jnp.square(t) * jnp.maximum(remainder, 0.0), jnp.inf)), convex
