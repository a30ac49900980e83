r"""Fits along a grid of a hyper-parameter, for all weights at once, one compiled call for each value.

The path of a smooth prior, and of all folds of a cross-validation: the folds are weights on one design, so that linear
predictors and gradients of all are matrix products; each value of the grid starts where the last one ended; and the
Hessian of the rows, which costs most, is kept from point to point and from value to value for as long as steps with it
come out as promised. That of the prior, which changes along the grid, is always the present one. Folds have most rows
in common: their Hessians at one point between them are sums of those of the rows that each holds out, one pass for all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo._pytree import pytree, static
from lossgeo.grid_lanes import GridLanes, held_out_rows
from lossgeo.objective import Objective
from lossgeo.planning import plan_for
from lossgeo.posing import Posed, as_problem, pose
from lossgeo.solvers import Newton, Status
from lossgeo.structure import RowDerivatives
from lossgeo.validation import Checks, check_values, raise_for

__all__ = ["Grid", "solve_grid"]

MAX_STEPS = 100
"""Steps for one value of the grid, after which its fits are left to a solver with safeguards."""

CONTRACTION = 0.003
"""Ratio of the expected decreases after and before a step above which the Hessian is computed again."""

TRUSTED = 0.01
"""The same ratio up to which the expected decrease is believed: the curvature along the step is right to a tenth."""

SHARED_TRIES = 2
"""How many times in a row Hessians at a point between the fits are tried before each fit has its own."""

REMEMBERED = 4
"""Solutions along the grid from which the next one is foretold."""

LEAST_GROWTH = 0.04
"""What a gradient must grow by one standard error away, where that of a parabola grows by 1."""


@pytree
class Grid:
    """What was reached, for each value of the grid and each row of the weights: leading axes ``(g, k)``.

    ``value`` is the objective in nats, or ``held_out`` the log-likelihood of what is held out, where it is asked for.
    """

    params: Any
    value: Any
    held_out: Any
    edm: jax.Array
    kkt_residual: jax.Array
    num_steps: jax.Array

    @property
    def status(self) -> jax.Array:
        """Their status, all being certified."""
        return jnp.full(self.edm.shape, Status.CONVERGED, jnp.int32)


@pytree
class _Carry:
    """Where the next value of the grid starts: coordinates, Hessians of the rows, how well steps with these did.

    ``past`` holds the last solutions, the newest first, shape ``(REMEMBERED, k, p)``, NaN before there are any.
    """

    z: jax.Array
    rows: jax.Array
    contraction: jax.Array
    past: jax.Array


@pytree
class _Begun:
    """The start of a grid, and whether it suits."""

    posed: Posed
    checks: Checks
    carry: _Carry
    suits: bool = static()


class _State(NamedTuple):
    """State of the loop for one value of the grid; leading axis ``k`` but for ``turn`` and ``tried``."""

    z: jax.Array
    grad: jax.Array
    rows: jax.Array
    step: jax.Array
    length: jax.Array
    edm: jax.Array
    contraction: jax.Array
    num_steps: jax.Array
    done: jax.Array
    turn: jax.Array
    tried: jax.Array


def solve_grid(
    objectives: Sequence[Objective],
    params: Any,
    data: tuple[Any, ...],
    weights: jax.Array | None,
    solver: Any,
    tol: float | None,
    held_out: jax.Array | None = None,
    fold: np.ndarray | None = None,
) -> Grid | None:
    """Fit along a grid, if the problem is of the kind that this is made for.

    Args:
        objectives: one for each value of the grid, of one structure.
        params: start of the first fits.
        data: arguments of the likelihood, as arrays.
        weights: a row for each fit along the grid, shape ``(k, n)``, or ``None`` for one fit without weights.
        solver: as for :func:`lossgeo.fit`.
        tol: bound on the expected decrease in nats, or ``None`` for the default.
        held_out: weights of the log-likelihood terms to score, shape ``(k, n)``, or ``None``.
        fold: which of the ``k`` fits holds out each row, shape ``(n,)``, where all the others have it with one weight.

    Returns:
        The fits, or ``None``: where the solver would not be Newton's method, where rows and linear predictors are not
        known, or as soon as a fit cannot be certified. A certified fit has an expected decrease below ``tol`` with a
        positive definite Hessian; the last step that mattered came out as promised, as it does not where the optimum is
        at infinity; and a standard error away the gradient has grown in every direction, as it has not on a plateau.

    Raises:
        ValueError: faulty values, as :func:`lossgeo.fit`.
    """
    first = None if weights is None else weights[0]
    begun = _begin(objectives[0], params, data, first, 1 if weights is None else weights.shape[0], solver)
    if not begun.suits:
        return None
    if not bool(begun.checks.passed):
        raise_for(begun.checks, begun.posed)
    carry, groups = begun.carry, None if fold is None else held_out_rows(fold)
    found = []
    for objective in objectives:
        carry, grid, certified = _solve_value(objective, params, data, weights, held_out, groups, tol, carry)
        if not bool(certified):
            return None
        found.append(grid)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


@quick_jit(small=True, static_argnames=("size", "solver"))
def _begin(objective: Objective, params: Any, data: tuple[Any, ...], weights: Any, size: int, solver: Any) -> _Begun:
    """Check the values, and the start of the first fits."""
    posed = pose(objective, params, data, weights)
    z = ravel_pytree(posed.to_unconstrained(posed.template))[0]
    blank = jnp.zeros((size, z.size, z.size), z.dtype)
    past = jnp.full((REMEMBERED, size, z.size), jnp.nan, z.dtype)
    carry = _Carry(jnp.tile(z, (size, 1)), blank, jnp.full(size, jnp.inf, z.dtype), past)
    return _Begun(posed, check_values(posed), carry, _suits(posed, solver))


def _suits(posed: Posed, solver: Any) -> bool:
    """Whether the solver would be Newton's method, on known rows; static."""
    if not (isinstance(solver, Newton) or (isinstance(solver, str) and solver == "auto")):
        return False
    problem = as_problem(posed)
    plan = plan_for(problem, solver, host=True)
    return isinstance(plan.solver, Newton) and isinstance(problem.derivatives, RowDerivatives)


@jax.jit
def _solve_value(
    objective: Objective,
    params: Any,
    data: tuple[Any, ...],
    weights: jax.Array | None,
    held_out: jax.Array | None,
    groups: jax.Array | None,
    tol: Any,
    carry: _Carry,
) -> tuple[_Carry, Grid, jax.Array]:
    """All fits of one value of the grid, and whether all are certified."""
    first = pose(objective, params, data, None if weights is None else weights[0])
    unravel = ravel_pytree(first.to_unconstrained(first.template))[1]
    lanes = GridLanes(objective, first.template, data, weights, unravel, held_out, groups)
    dtype = carry.z.dtype
    tol = jnp.asarray(jnp.finfo(dtype).eps ** 0.75 if tol is None else tol, dtype)
    end = _descend(lanes, carry, tol)
    certified = end.done & (end.edm <= tol) & _is_bowl(lanes, end)
    # A last step, whose end is better than the point that was certified.
    z = end.z + end.step
    grid = Grid(
        lanes.params(z),
        lanes.value(z) if held_out is None else None,
        None if held_out is None else lanes.score(z, held_out),
        end.edm,
        jnp.max(jnp.abs(end.grad), axis=1),
        end.num_steps,
    )
    past = jnp.concatenate([z[None], carry.past[:-1]])
    return _Carry(_foretold(past, end.rows), end.rows, end.contraction, past), grid, jnp.all(certified)


def _foretold(past: jax.Array, rows: jax.Array) -> jax.Array:
    """The next solutions, shape ``(k, p)``: the last ones, on a line or on a parabola through the last two or three.

    Whichever of these would have come closest to the last ones, in units of the standard errors.
    """
    orders = ([1.0], [2.0, -1.0], [3.0, -3.0, 1.0])

    def predict(order: list[float], known: jax.Array) -> jax.Array:
        return sum(c * v for c, v in zip(order, known, strict=False))

    guesses = jnp.stack([predict(order, past) for order in orders])
    errors = jnp.stack([predict(order, past[1:]) for order in orders]) - past[:1]
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(rows, axis1=1, axis2=2)))
    size = jnp.max(scale[None] * jnp.abs(errors), axis=2)
    best = jnp.argmin(jnp.where(jnp.isnan(size), jnp.inf, size), axis=0)
    return jnp.take_along_axis(guesses, best[None, :, None], axis=0)[0]


def _descend(lanes: GridLanes, carry: _Carry, tol: jax.Array) -> _State:
    """Newton steps with a Hessian of the rows that is kept as long as it serves."""
    k, p = carry.z.shape
    z = carry.z
    smallest_pivot = linalg.rank_tolerance(p, z.dtype)

    def select(which: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(which.reshape(k, *(1,) * (new.ndim - 1)), new, old)

    can_share = jax.eval_shape(lanes.shared_hessian, z) is not None

    def renewed(z: jax.Array, tried: jax.Array) -> jax.Array:
        if not can_share:
            return lanes.rows_hessian(z)
        return jax.lax.cond(tried < SHARED_TRIES, lanes.shared_hessian, lanes.rows_hessian, z)

    def body(state: _State) -> _State:
        moved = state.z + state.length[:, None] * state.step
        grad = lanes.gradient(moved)
        first, negligible = state.turn == 0, state.edm <= tol
        # By the trapezoidal rule. A step that obtains too little is taken back, and a quarter of it tried.
        obtained = -0.5 * state.length * jnp.sum(state.step * (state.grad + grad), axis=1)
        promised = state.length * (2.0 - state.length) * state.edm
        accept = (first | negligible | (obtained > 0.1 * promised)) & jnp.all(jnp.isfinite(grad), axis=1)
        active = accept & ~state.done
        z, grad = select(active, moved, state.z), select(active, grad, state.grad)
        prior = lanes.prior_hessian(z)
        # What is left, judged by the Hessian that the step was made with.
        left = _newton(state.rows + prior, grad, smallest_pivot)[1]
        ratio = jnp.where(first, state.contraction, left / state.edm)
        trusted = negligible & (state.contraction <= TRUSTED)
        contraction = jnp.where(active & ~trusted, ratio, state.contraction)
        useless = active & ~(contraction <= jnp.where(left <= tol, TRUSTED, CONTRACTION))
        renew = jnp.any(useless)
        rows = jax.lax.cond(renew, lambda: renewed(z, state.tried), lambda: state.rows)
        step, edm, definite = _newton(rows + prior, grad, smallest_pivot)
        lost = active & ~(definite & jnp.isfinite(edm))
        edm = jnp.where(lost, jnp.inf, edm)
        return _State(
            z,
            grad,
            rows,
            select(active, step, state.step),
            jnp.where(active, 1.0, 0.25 * state.length),
            jnp.where(active, edm, state.edm),
            contraction,
            state.num_steps + jnp.where(state.done, 0, 1),
            state.done | lost | (active & (edm <= tol) & (contraction <= TRUSTED)),
            state.turn + 1,
            jnp.where(renew, state.tried + 1, 0),
        )

    zeros, infinity = jnp.zeros_like(z), jnp.full(k, jnp.inf, z.dtype)
    never = jnp.zeros(k, bool)
    start = _State(
        z,
        zeros,
        carry.rows,
        zeros,
        jnp.ones(k, z.dtype),
        infinity,
        carry.contraction,
        jnp.full(k, -1),
        never,
        jnp.asarray(0),
        jnp.asarray(0),
    )
    return jax.lax.while_loop(lambda s: ~jnp.all(s.done) & (s.turn < MAX_STEPS), body, start)


def _is_bowl(lanes: GridLanes, end: _State) -> jax.Array:
    r"""Whether the gradient grows about as the Hessian says one standard error away, shape ``(k,)``.

    With :math:`H = LL^\top` and :math:`v = L^{-\top}\xi`, :math:`|\xi_j| = p^{-1/2}`, a parabola has
    :math:`L^{-1}\nabla F(\hat z \pm v) = \pm\xi`, entry by entry.
    """
    k, p = end.z.shape
    xi = jnp.asarray(np.resize([1.0, -1.0], p) / np.sqrt(p), end.z.dtype)

    def steps(hessian: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        scaled, scale = linalg.equilibrate(hessian)
        lower = jnp.linalg.cholesky(scaled, symmetrize_input=False)
        return lower, scale, scale * jax.scipy.linalg.solve_triangular(lower, xi, lower=True, trans=1)

    lower, scale, v = jax.vmap(steps)(end.rows + lanes.prior_hessian(end.z))
    least = jnp.full(k, jnp.inf, end.z.dtype)
    for side in (1.0, -1.0):
        grad = lanes.gradient(end.z + side * v)
        white = jax.vmap(lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True))(lower, scale * grad)
        least = jnp.minimum(least, jnp.min(side * p * white * xi[None, :], axis=1))
    return least >= LEAST_GROWTH


def _newton(hessian: jax.Array, grad: jax.Array, smallest_pivot: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Newton steps, expected decreases, and whether the Hessians are positive definite."""

    def one(hessian: jax.Array, grad: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        scaled, scale = linalg.equilibrate(hessian)
        lower = jnp.linalg.cholesky(scaled, symmetrize_input=False)
        rhs = grad * scale
        step = -jax.scipy.linalg.cho_solve((lower, True), rhs)
        definite = jnp.all(jnp.square(jnp.diagonal(lower)) > smallest_pivot)
        return step * scale, -0.5 * rhs @ step, definite

    return jax.vmap(one)(hessian, grad)
