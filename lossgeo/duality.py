r"""Duality gaps of sparse likelihoods: a bound on the excess over the optimum that needs no Hessian.

.. math:: P(x) = \sum_i \ell_i(\eta_i) + \sum_j h_j(x_j), \quad \eta = o + Xx + Zv, \quad
          h_j(x) = \lambda_j|x| + \tfrac12\rho_j x^2; \qquad
          D(u) = -\sum_i \ell_i^*(u_i) - \sum_j h_j^*(-X_j^\top u) + u^\top o \;\text{ for } Z^\top u = 0

where :math:`h_j^*(t) = (|t| - \lambda_j)_+^2 / 2\rho_j`, for :math:`\rho_j = 0` the constraint
:math:`|t| \le \lambda_j`; for a group, :math:`h_B(x) = \lambda_B\|x\|`, it is :math:`\|t\| \le \lambda_B`. For a
likelihood that is log-concave in its linear predictor every feasible :math:`u` bounds the least value of :math:`P` from
below; a normal prior on an entry of :math:`v` makes it one more coefficient, with :math:`\lambda_j = 0`. The slopes
:math:`\ell'(\eta)` are made feasible by a projection and a factor :math:`s \le 1`, and

.. math:: P - D = \sum_i \{\ell_i(\eta_i) + \ell_i^*(u_i) - u_i\eta_i\}
          + \sum_j \{h_j(x_j) + h_j^*(-X_j^\top u) + x_j X_j^\top u\}

is a sum of terms that are not negative: no digits are lost in a difference of objectives.

References: Bonnefoy et al. (2015), IEEE Trans. Signal Process. 63, 5121; Ndiaye et al. (2017), JMLR 18 (128), sec. 2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo.posing import Posed, as_problem
from lossgeo.sparsity import SparseRows, sparse_rows

__all__ = ["Gap", "duality_gap", "gap_at"]

MAX_OTHER = 64
"""Coordinates beside the penalised ones that may shift the linear predictor."""

NEWTON_STEPS = 30
"""Steps towards the point of each row that has a wanted slope."""

PROBES = (-8.0, -2.0, -0.5, 0.5, 2.0, 8.0)
"""Shifts of the linear predictor at which rows must have no negative curvature."""

NODES, NODE_WEIGHTS = (np.asarray(part) for part in np.polynomial.legendre.leggauss(10))


class Gap(NamedTuple):
    """A duality gap, NaN where none is known, and what rounding error alone makes up of it, in nats."""

    value: jax.Array
    noise: jax.Array


@quick_jit(small=True)
def duality_gap(posed: Posed, params: Any) -> jax.Array:
    r"""Bound on the excess of the objective at ``params`` over its least value, in nats.

    It exists for the coefficients of one linear predictor, one leaf of the parameters or several, under Laplace,
    elastic net or group lasso priors, where everything else that is estimated shifts the same predictor, under a normal
    prior or without one (an intercept, unpenalised columns).
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
        ``eps * |x|_1 * max|X_j| |slopes|``, is its floor.
    """
    problem = as_problem(posed)
    rows = sparse_rows(problem, MAX_OTHER, grouped=True)
    dtype = jnp.result_type(float, *jax.tree.leaves(posed.template))
    if rows is None:
        return jnp.full((), jnp.nan, dtype)
    x, v = rows.split(posed.to_unconstrained(params))
    design = rows.design()
    return gap_at(rows, rows.strength, rows.ridge, x, v, rows.predict(rows.center + x, design), design=design).value


def gap_at(
    rows: SparseRows,
    strength: jax.Array,
    ridge: jax.Array,
    x: jax.Array,
    v: jax.Array,
    eta: jax.Array,
    *,
    design: jax.Array,
    known: tuple[jax.Array, jax.Array] | None = None,
) -> Gap:
    r"""The gap at a point; pure, inside one trace.

    Args:
        rows: the parts of the problem.
        strength: :math:`\lambda`, shape ``(d,)``.
        ridge: :math:`\rho`, shape ``(d,)``.
        x: coefficients, kinks at 0, shape ``(d,)``.
        v: other coordinates, shape ``(q,)``.
        eta: linear predictor, ravelled.
        design: :math:`X`, shape ``(n, d)``.
        known: slopes of the rows times the design, and the norms of its columns, of a coefficient each: then only
            columns without a penalty are looked at, and a projection of the slopes is bounded by its size.
    """
    slopes, other = jax.grad(rows.loss, argnums=(0, 1))(eta, v)
    _, weights = _slopes_and_curvature(rows, eta, v)
    curved, pull, mean = rows.normal()
    gradient_v = pull * (v - mean)
    shifts, understood = _shifts(rows, eta, v, (slopes, weights), other, (gradient_v, pull))
    understood = understood & _is_separable(rows, eta, v, weights)
    feasible = slopes
    if len(curved):
        # One Newton step in v, seen in the slopes, takes most of what they lack there; any other were allowed too.
        step = _newton_step(shifts, weights, pull, shifts @ slopes + gradient_v)
        feasible = feasible - jnp.where(jnp.all(jnp.isfinite(step)), weights * (step @ shifts), 0.0)
    straight = jnp.delete(shifts, curved, axis=0)
    if rows.flat.size:
        straight = jnp.concatenate([straight, design[:, rows.flat].T])
    if straight.shape[0]:
        basis = jnp.linalg.qr(straight.T)[0]
        for _ in range(2):
            feasible = feasible - basis @ (feasible @ basis)
    if known is None:
        gradient, norm = rows.pull(feasible, design), jnp.repeat(jnp.sqrt(_squares(design)), rows.outputs)
        slack = jnp.zeros_like(gradient)
    else:
        gradient, norm = known
        # That of a block is at most its Frobenius norm.
        slack = rows.blocks.norm(norm) * jnp.linalg.norm(feasible - slopes)
    blocks = rows.blocks
    size = blocks.norm(gradient) + slack
    penalised = strength > 0

    def largest(columns: jax.Array) -> jax.Array:
        """Largest factor with which the slopes meet the bounds of some columns."""
        beyond = columns & penalised & (size > strength)
        return jnp.min(jnp.where(beyond, strength / jnp.where(beyond, size, 1.0), 1.0), initial=1.0)

    def gap_with(factor: jax.Array) -> tuple[jax.Array, jax.Array]:
        fitted, convex = _fenchel_young(rows, eta, v, factor * feasible)
        if len(curved):
            lacking = (gradient_v + factor * (shifts @ feasible))[curved]
            fitted = fitted + 0.5 * jnp.sum(jnp.square(lacking) / pull[curved])
        terms = _fenchel_young_of_penalty(x, -factor * gradient, strength, ridge, slack)
        if not blocks.single:
            length = blocks.norm(x)
            aligned = jnp.maximum(strength * length + factor * blocks.total(gradient * x), 0.0) + slack * length
            terms = jnp.where(ridge > 0, terms, aligned / blocks.total(jnp.ones_like(x)))
        return fitted + jnp.sum(terms.at[rows.flat].set(0.0)), convex

    if rows.is_elastic:
        # Where it is nearly a lasso the constraint of the lasso makes the better dual point.
        both, convex = jax.lax.map(gap_with, jnp.stack([largest(ridge == 0), largest(penalised)]))
        gap, convex = jnp.min(both), jnp.all(convex)
    else:
        gap, convex = gap_with(largest(penalised))
    eps = jnp.finfo(eta.dtype).eps
    # Errors of a product with a column are those of its terms: of the slopes, and of the predictor behind them.
    error = eps * norm * (jnp.linalg.norm(slopes) + jnp.linalg.norm(weights * eta))
    relative = jnp.max(jnp.where(penalised, blocks.norm(error) / jnp.where(penalised, strength, 1.0), 0.0), initial=0.0)
    noise = relative * jnp.sum(strength * jnp.abs(x)) + jnp.sum(error * jnp.abs(x))
    bounded = (penalised | (ridge > 0)).at[rows.flat].set(True)
    return Gap(jnp.where(understood & convex & jnp.all(bounded), gap, jnp.nan), noise)


def _squares(design: jax.Array) -> jax.Array:
    return jnp.einsum("ij,ij->j", design, design)


def _fenchel_young_of_penalty(
    x: jax.Array, t: jax.Array, strength: jax.Array, ridge: jax.Array, slack: jax.Array
) -> jax.Array:
    r"""Terms :math:`h(x) + h^*(t) - tx`, or bounds on them where ``t`` is known up to ``slack``; shape ``(d,)``.

    With :math:`c` the nearest point to :math:`t` in :math:`[-\lambda, \lambda]` and :math:`x^* = (t - c)/\rho` it is
    :math:`\lambda|x| - cx + \tfrac12\rho(x - x^*)^2`. Without a curvature ``t`` is in bounds.
    """
    c = jnp.clip(t, -strength, strength)
    curved = ridge > 0
    inverse = jnp.where(curved, 1.0 / jnp.where(curved, ridge, 1.0), 0.0)
    best = (t - c) * inverse
    more = slack * (jnp.abs(x) + jnp.abs(best) + 0.5 * slack * inverse)
    return jnp.maximum(strength * jnp.abs(x) - c * x, 0.0) + 0.5 * ridge * jnp.square(x - best) + more


def _is_separable(rows: SparseRows, eta: jax.Array, v: jax.Array, weights: jax.Array) -> jax.Array:
    """Whether the columns of a predictor of several are independent in each row: its curvature is diagonal."""
    if rows.outputs == 1:
        return jnp.asarray(True)
    t = jax.random.normal(jax.random.key(0), eta.shape, eta.dtype)
    change = jax.jvp(lambda e: jax.grad(rows.loss)(e, v), (eta,), (t,))[1]
    return jnp.max(jnp.abs(change - weights * t)) <= 64.0 * jnp.finfo(eta.dtype).eps * jnp.max(jnp.abs(weights * t))


def _newton_step(shifts: jax.Array, weights: jax.Array, pull: jax.Array, slope: jax.Array) -> jax.Array:
    """Solution of the equations with the Hessian of a few coordinates that shift the predictor, shape ``(q,)``."""
    system = (shifts * weights[None, :]) @ shifts.T + jnp.diag(pull)
    scaled, scale = linalg.equilibrate(system)
    solved = linalg.conjugate_gradients(lambda u: scaled @ u, scale * slope, tol=1e-9, max_steps=4 * slope.shape[0])
    return scale * solved.x


def _slopes_and_curvature(rows: SparseRows, eta: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(lambda e: jax.grad(rows.loss)(e, v), (eta,), (jnp.ones_like(eta),))


def _shifts(
    rows: SparseRows,
    eta: jax.Array,
    v: jax.Array,
    of_rows: tuple[jax.Array, jax.Array],
    other: jax.Array,
    of_priors: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """How each other coordinate shifts the predictor, shape ``(q, n)``, and whether that is all it does.

    Then slopes at ``eta + z t`` and ``v - t`` do not depend on ``t``: one random direction tells. ``of_rows`` and
    ``of_priors`` are slopes and curvatures, those in ``v`` of normal priors; ``other`` are all slopes in ``v``.
    """
    (slopes, weights), (pull, bend) = of_rows, of_priors
    if not v.shape[0]:
        return jnp.zeros((0, eta.shape[0]), eta.dtype), jnp.asarray(True)
    cross = jax.vmap(lambda t: jax.jvp(lambda v: jax.grad(rows.loss)(eta, v), (v,), (t,))[1])(
        jnp.eye(v.shape[0], dtype=v.dtype)
    )
    shifts = cross / jnp.where(weights != 0, weights, 1.0)[None, :]
    step = jax.random.normal(jax.random.key(0), v.shape, v.dtype)
    moved, moved_other = jax.grad(rows.loss, argnums=(0, 1))(eta + step @ shifts, v - step)
    root = jnp.sqrt(jnp.finfo(eta.dtype).eps)
    size = jnp.max(jnp.abs(slopes)) + jnp.max(jnp.abs(weights))
    same = jnp.max(jnp.abs(moved - slopes)) <= root * size
    # No other prior: the slope in v is that of the rows, and of a parabola.
    own = jnp.max(jnp.abs(shifts) @ jnp.abs(slopes)) + jnp.max(jnp.abs(pull)) + jnp.max(bend * jnp.abs(step))
    free = jnp.max(jnp.abs(other - pull - shifts @ slopes)) <= root * own
    free = free & (jnp.max(jnp.abs(moved_other + bend * step - other)) <= root * own)
    counted = (weights != 0) if rows.counts is None else (weights != 0) | ~rows.counts
    return shifts, same & free & jnp.all(counted)


def _fenchel_young(rows: SparseRows, eta: jax.Array, v: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""Sum of :math:`\ell(\eta) + \ell^*(u) - u\eta`, and whether no row had negative curvature.

    With :math:`\ell'(e) = u` each term is the remainder :math:`t^2\int_0^1 (1-\tau)\,\ell''(e + \tau t)\,d\tau` of an
    expansion at :math:`e = \eta - t`; infinite where no such :math:`e` is found.
    """
    eps = jnp.finfo(eta.dtype).eps

    def rounding(e: jax.Array, curvature: jax.Array) -> jax.Array:
        return 64.0 * eps * (jnp.abs(wanted) + curvature * (1.0 + jnp.abs(e)))

    def closer(carry: tuple) -> tuple:
        steps, e, slope, curvature = carry
        step = jnp.where(curvature > 0, (wanted - slope) / jnp.where(curvature > 0, curvature, 1.0), 0.0)
        step = jnp.where(jnp.isfinite(step), step, 0.0)
        e = e + jnp.clip(step, -2.0 * (1.0 + jnp.abs(e)), 2.0 * (1.0 + jnp.abs(e)))
        return steps + 1, e, *_slopes_and_curvature(rows, e, v)

    def away(carry: tuple) -> jax.Array:
        # Two steps are worth their while wherever the slope is not the one that is wanted to the last bit.
        steps, e, slope, curvature = carry
        missing = jnp.abs(slope - wanted) > jnp.where(steps < 2, 0.0, rounding(e, curvature))
        return (steps < NEWTON_STEPS) & jnp.any(missing)

    start = (jnp.asarray(0), eta, *_slopes_and_curvature(rows, eta, v))
    _, e, slope, curvature = jax.lax.while_loop(away, closer, start)
    found = jnp.abs(slope - wanted) <= rounding(e, curvature) + 1e-6 * jnp.abs(wanted)
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
