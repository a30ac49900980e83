"""The pure core: from an objective to a solution with its certificate, under ``jit``, ``vmap`` and ``grad``."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree, static
from lossgeo.metric import with_metric
from lossgeo.moments import FromMoments, Moments, near_optimum, solve_by_moments
from lossgeo.objective import Objective
from lossgeo.on_simplex import in_place, is_on_face, judge_face, reaches_faces, sensitive_on_simplex
from lossgeo.piecewise import with_pieces
from lossgeo.planning import Plan, plan_for
from lossgeo.posing import Posed, as_problem, is_kinked, kinks, objective_value, pose
from lossgeo.solvers import (
    DENSE_LIMIT,
    RUNNING,
    Certificate,
    FlatProblem,
    InteriorPoint,
    KroneckerNewton,
    LevenbergMarquardt,
    MirrorDescent,
    Nearby,
    Newton,
    Problem,
    Status,
    Whitening,
    certify,
    certify_bounded,
    run,
    vertex_near,
    whiten,
)
from lossgeo.thinning import is_large, thin
from lossgeo.verdict import verdict
from lossgeo.vertices import LARGEST_NOISE, judge, sensitive

__all__ = [
    "Solution",
    "advance",
    "begin",
    "conclude",
    "conclude_given",
    "default_tol",
    "finish",
    "implicit",
    "minimize",
    "solve",
]

NOISE_OF_VALUE = 64.0
"""Rounding error of a sum of terms of both signs, in units of the last digit of the sum."""


@pytree
class Solution:
    """Result of :func:`solve`.

    Args:
        params: parameters that were reached, in the user's coordinates.
        value: objective there, in nats.
        status: a ``lossgeo.Status``, as an integer array.
        num_steps: steps of all solvers together.
        certificate: evidence, in unconstrained coordinates.
        direction: the direction that the status speaks of (unidentified, separating, …), in equilibrated coordinates.
        plan: which solvers ran, and why; ``None`` for parameters that someone else fitted.
    """

    params: Any
    value: jax.Array
    status: jax.Array
    num_steps: jax.Array
    certificate: Certificate
    direction: jax.Array
    plan: Plan | None = static(default=None)

    @property
    def edm(self) -> jax.Array:
        r"""Expected decrease left, in nats; :math:`\sqrt{2\,\mathrm{edm}}` is the distance in standard errors."""
        return self.certificate.edm

    @property
    def kkt_residual(self) -> jax.Array:
        """Largest component of the (sub)gradient of least norm, in unconstrained coordinates."""
        return self.certificate.kkt_residual


def default_tol(dtype: Any) -> float:
    r"""Default tolerance on the expected decrease in nats: :math:`\epsilon^{3/4}` of the floating type.

    1.8e-12 in float64 (2e-6 standard errors), 6.4e-6 in float32 (4e-3 standard errors).
    """
    return float(jnp.finfo(dtype).eps) ** 0.75


def solve(
    objective: Objective,
    init_params: Any,
    *data: Any,
    solver: Any = "auto",
    weights: Any = None,
    tol: float | jax.Array | None = None,
    max_steps: int | None = None,
) -> Solution:
    r"""Minimise an objective: a pure function, for use under ``jit``, ``vmap`` and ``grad``.

    Nothing is validated and nothing is raised on values; the status says how it ended. Derivatives of the solution
    with respect to hyper-parameters, data and weights follow from the implicit function theorem at the optimum,

    .. math:: \frac{\partial u}{\partial\alpha} = -H^{-1}\,\frac{\partial^2 F}{\partial u\,\partial\alpha},

    on the coordinates that are not held on a kink; they are never taken through the iterations, and they are NaN where
    the solution did not converge.

    Args:
        objective: from :func:`map_objective`.
        init_params: start, a pytree of floating arrays inside their supports.
        data: arguments of the likelihood.
        solver: ``"auto"``, one of ``lossgeo.solvers``, or an optax transformation.
        weights: shape ``(n,)``, multiplies the terms of the likelihood.
        tol: bound on the certificate, expected decrease in nats; by default :func:`default_tol`.
        max_steps: budget of the solver; by default its own.

    Returns:
        A :class:`Solution`, a pytree.
    """
    return _solve(objective, init_params, data, weights, tol, max_steps, solver)


@functools.partial(jax.jit, static_argnames="solver")
def _solve(
    objective: Objective, init_params: Any, data: tuple[Any, ...], weights: Any, tol: Any, max_steps: Any, solver: Any
) -> Solution:
    posed = pose(objective, init_params, data, weights)
    solution = minimize(jax.lax.stop_gradient(posed), solver, tol, max_steps)
    if isinstance(getattr(solution.plan, "solver", None), MirrorDescent):
        params, value = sensitive_on_simplex(posed, solution.params, solution.status == Status.CONVERGED)
        return dataclasses.replace(solution, params=params, value=value)
    u = implicit(posed, solution)
    return dataclasses.replace(solution, params=posed.to_params(u), value=objective_value(u, posed))


class Begun(NamedTuple):
    """A solver at its start.

    Args:
        state: of the main solver.
        moments: by which the start was found, or ``None``.
        read: an array that has been read, with a number that is finite only if all its entries are, or ``None``.
    """

    state: Any
    moments: Moments | None = None
    read: tuple[jax.Array, jax.Array] | None = None


def minimize(
    posed: Posed, solver: Any, tol: Any, max_steps: Any, enabled: Callable[[Begun], jax.Array] | None = None
) -> Solution:
    """Plan, run the solvers and certify where they end; pure and not differentiable.

    Where ``enabled`` is false no step is made beyond the start.
    """
    problem = as_problem(posed)
    plan = plan_for(problem, solver)
    budget = plan.solver.max_steps if max_steps is None else max_steps
    begun = begin(problem, plan, tol)
    until = budget if enabled is None else jnp.where(enabled(begun), budget, 0)
    state = advance(problem, plan, begun.state, tol, until)
    return finish(problem, plan, state, tol, moments=begun.moments)


def begin(problem: Problem, plan: Plan, tol: Any) -> Begun:
    """The main solver at the start, which many rows may move.

    See :mod:`lossgeo.moments`, which may end there, and :mod:`lossgeo.thinning`.
    """
    problem, tol, solver = _equipped(problem, plan), _as_tol(problem.args, tol), plan.solver
    if not isinstance(solver, Newton) or not is_large(problem):
        return Begun(solver.init(problem, tol))
    found = solve_by_moments(problem, tol)
    if found is not None:
        return Begun(_from_moments(problem, solver, found, tol), found.moments, found.read)
    thinned = thin(problem)
    if thinned is None:
        return Begun(solver.init(problem, tol))
    u, curvature = thinned.start(problem)
    return Begun(solver.init(dataclasses.replace(problem, init=u), tol, curvature))


def _from_moments(problem: Problem, solver: Newton, found: FromMoments, tol: jax.Array) -> Any:
    """The end of a normal regression as a state of the solver, which goes on from there if it did not converge."""
    state = solver.init(dataclasses.replace(problem, init=found.u), tol, found.curvature, estimated=False)
    done = state._replace(
        value=found.value,
        grad=found.grad,
        edm=found.edm,
        num_steps=found.num_corrections,
        status=jnp.asarray(Status.CONVERGED, state.status.dtype),
    )
    return jax.tree.map(lambda new, old: jnp.where(found.converged, new, old), done, state)


def advance(problem: Problem, plan: Plan, state: Any, tol: Any, until: Any) -> Any:
    """Run the main solver until it ends or has made ``until`` steps."""
    return run(plan.solver, _equipped(problem, plan), state, _as_tol(problem.args, tol), until)


def finish(
    problem: Problem,
    plan: Plan,
    state: Any,
    tol: Any,
    interrupted: bool | jax.Array = False,
    moments: Moments | None = None,
) -> Solution:
    """Polish what the main solver reached, unless its budget ran out, and certify it."""
    posed = problem.args
    tol = _as_tol(posed, tol)
    num_steps, status = state.num_steps, state.status
    if isinstance(plan.solver, InteriorPoint):
        status = jnp.where(jnp.asarray(interrupted), Status.INTERRUPTED, status)
        ended = judge(problem, vertex_near(state), tol, status)
        params = posed.to_params(ended.u)
        return Solution(params, ended.value, ended.status, num_steps, ended.certificate, ended.direction, plan)
    given, problem, whitening = problem, _equipped(problem, plan), None
    if plan.polish is not None:
        problem = dataclasses.replace(problem, init=plan.solver.params(problem, state))
        if problem.root is not None:
            problem, whitening = whiten(problem)
        ended = (status == Status.CONVERGED) | (status == Status.STALLED)
        state = run(
            plan.polish, problem, plan.polish.init(problem, tol), tol, jnp.where(ended, plan.polish.max_steps, 0)
        )
        status = jnp.where(ended, state.status, status)
        num_steps = num_steps + jnp.maximum(state.num_steps, 0)
    last = plan.solver if plan.polish is None else plan.polish
    known = None
    if isinstance(last, Newton | KroneckerNewton):
        known = (state.value, state.grad, state.curvature if isinstance(last, Newton) else state.direction)
    status = jnp.where(status == RUNNING, Status.MAX_STEPS, status)
    status = jnp.where(jnp.asarray(interrupted), Status.INTERRUPTED, status)
    if isinstance(plan.solver, MirrorDescent):
        return _conclude_in_place(given, problem, last.params(problem, state), tol, status, num_steps, plan)
    u, bounded = last.params(problem, state), isinstance(last, KroneckerNewton)
    nearby = None if moments is None else Nearby(near_optimum(moments, posed, u), moments.trusted)
    solution = conclude(problem, u, tol, status, num_steps, known, whitening, bounded=bounded, nearby=nearby)
    return dataclasses.replace(solution, plan=plan)


def conclude(
    problem: Problem,
    u: Any,
    tol: Any,
    status: Any,
    num_steps: Any,
    known: Any = None,
    whitening: Whitening | None = None,
    bounded: bool = False,
    nearby: Nearby | None = None,
    gap: dict[str, Any] | None = None,
) -> Solution:
    """Certify a point, given in the coordinates of the problem, and turn the end of a loop into a status.

    With ``bounded`` the last of ``known`` is a Newton step, see :func:`lossgeo.solvers.certify_bounded`. ``gap`` holds
    the fields of a certificate that tell a duality gap, where one is known.
    """
    problem = dataclasses.replace(problem, init=u)
    posed = problem.args if whitening is None else whitening.args
    start = posed.to_unconstrained(posed.template)
    if bounded:
        value, certificate = certify_bounded(problem, known, start)
    else:
        value, certificate = certify(problem, known, start, whitening, nearby)
    certificate = dataclasses.replace(certificate, **(gap or {}))
    u = u if whitening is None else whitening.back(u)
    status, direction = verdict(posed, u, certificate, tol, status)
    return Solution(posed.to_params(u), value, status, jnp.asarray(num_steps), certificate, direction)


def _conclude_in_place(
    problem: Problem, placed: Problem, x: Any, tol: Any, status: Any, num_steps: Any, plan: Plan | None
) -> Solution:
    """Certify probabilities: on a face there, inside the simplices as any other parameters."""
    posed, on_face = problem.args, is_on_face(x)
    params, num_steps = placed.args.to_params(x), jnp.asarray(num_steps)

    def face() -> Solution:
        value, certificate, named, direction = judge_face(placed, x, tol, status)
        return Solution(params, value, named, num_steps, certificate, direction)

    def interior() -> Solution:
        inside = jax.tree.map(lambda v, start: jnp.where(on_face, start, v), params, posed.template)
        found = conclude(problem, posed.to_unconstrained(inside), tol, status, num_steps)
        return dataclasses.replace(found, params=params)

    return dataclasses.replace(jax.lax.cond(on_face, face, interior), plan=plan)


def conclude_given(posed: Posed, tol: Any) -> Solution:
    """Certify the parameters of a posed objective.

    Where the loss has kinks in the data a point alone tells no gap: the problem is solved, and its dual value bounds
    the optimum from below.
    """
    problem = as_problem(posed)
    u, ended = posed.to_unconstrained(posed.template), jnp.asarray(Status.MAX_STEPS)
    if reaches_faces(posed):
        placed = in_place(problem)
        return _conclude_in_place(problem, placed, placed.init, _as_tol(posed, tol), ended, 0, None)
    if not isinstance(plan_for(problem, "auto").solver, InteriorPoint):
        return conclude(problem, u, tol, ended, 0)
    best = minimize(posed, "auto", tol, None)
    value = objective_value(u, posed)
    noise = NOISE_OF_VALUE * jnp.finfo(value.dtype).eps * jnp.abs(value)
    edm = jnp.maximum(value - best.value, 0.0) + best.edm
    reached = edm <= jnp.maximum(_as_tol(posed, tol), jnp.minimum(noise, LARGEST_NOISE))
    solved = (best.status == Status.CONVERGED) | (best.status == Status.UNIDENTIFIED)
    certificate = dataclasses.replace(
        best.certificate, edm=edm, noise=noise, kkt_residual=jnp.where(reached, best.kkt_residual, jnp.nan)
    )
    status = jnp.where(solved & ~reached, Status.MAX_STEPS, best.status)
    params = posed.to_params(u)
    return Solution(params, value, status, jnp.asarray(0), certificate, best.direction)


def _equipped(problem: Problem, plan: Plan) -> Problem:
    """The problem with what the main solver needs of it."""
    if isinstance(plan.solver, InteriorPoint):
        return with_pieces(problem)
    if isinstance(plan.solver, MirrorDescent):
        return in_place(problem)
    return with_metric(problem) if isinstance(plan.solver, LevenbergMarquardt) else problem


def _as_tol(posed: Posed, tol: Any) -> jax.Array:
    dtype = jnp.result_type(float, *jax.tree.leaves(posed.template))
    return jnp.asarray(default_tol(dtype) if tol is None else tol, dtype)


def implicit(posed: Posed, solution: Solution) -> list[jax.Array]:
    """The solution as a differentiable function of everything in ``posed``, by the implicit function theorem."""
    if isinstance(getattr(solution.plan, "solver", None), InteriorPoint):
        return sensitive(posed, posed.to_unconstrained(solution.params), solution.status == Status.CONVERGED)
    constant = jax.lax.stop_gradient(posed)
    flat = FlatProblem(Problem(objective_value, None, constant, constant.to_unconstrained(solution.params)))
    z, unravel = flat.z0, flat.unravel
    free = solution.certificate.free
    valid = solution.status == Status.CONVERGED
    held = ravel_pytree(kinks(unravel(z), posed).center)[0] if is_kinked(posed) else z

    def stationarity(z: jax.Array) -> jax.Array:
        return jnp.where(free, jax.grad(lambda v: objective_value(unravel(v), posed))(z), z - held)

    def tangent_solve(matvec: Any, y: jax.Array) -> jax.Array:
        # Block triangular: coordinates on a kink move with it, the free ones balance the gradient.
        fixed = jnp.where(free, 0.0, y)
        rhs = jnp.where(free, y - matvec(fixed), 0.0)

        def reduced(v: jax.Array) -> jax.Array:
            return jnp.where(free, matvec(jnp.where(free, v, 0.0)), v)

        if z.shape[0] <= DENSE_LIMIT:
            matrix = jax.vmap(reduced)(jnp.eye(z.shape[0], dtype=z.dtype))
            scaled, scale = linalg.equilibrate(0.5 * (matrix + matrix.T))
            x = scale * jnp.linalg.solve(scaled, scale * rhs)
        else:
            x, _ = jax.scipy.sparse.linalg.cg(reduced, rhs, tol=1e-10)
        # A product, because the transpose of a select would turn the NaN of reverse mode into 0.
        return (x + fixed) * jnp.where(valid, 1.0, jnp.nan)

    return unravel(jax.lax.custom_root(stationarity, z, lambda _, guess: guess, tangent_solve))
