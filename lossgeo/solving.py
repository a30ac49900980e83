"""The pure core: from an objective to a solution with its certificate, under ``jit``, ``vmap`` and ``grad``."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree, static
from lossgeo.distributions import Bernoulli, Categorical
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.objective import Objective
from lossgeo.solvers import (
    DENSE_LIMIT,
    LBFGS,
    RUNNING,
    Certificate,
    FlatProblem,
    GradientTransform,
    Newton,
    NewtonCG,
    Problem,
    ProximalGradient,
    Solver,
    Status,
    certify,
    run,
)
from lossgeo.solvers.damped import Damped
from lossgeo.supports import Real, Support

__all__ = [
    "Plan", "Posed", "Solution", "advance", "begin", "conclude", "default_tol", "finish", "minimize", "plan_for",
    "plan_solver", "pose", "solve",
]  # fmt: skip


@pytree
class Posed:
    """An objective with its data, as a function of unconstrained coordinates: a list of arrays, one for each leaf."""

    objective: Objective
    data: tuple[Any, ...]
    weights: Any
    supports: tuple[Support, ...]
    template: Any

    def to_params(self, u: list[jax.Array]) -> Any:
        """Parameters at unconstrained coordinates."""
        leaves, tree = jax.tree.flatten(self.template)
        values = [s.forward(v).astype(leaf.dtype) for s, v, leaf in zip(self.supports, u, leaves, strict=True)]
        return jax.tree.unflatten(tree, values)

    def to_unconstrained(self, params: Any) -> list[jax.Array]:
        """Unconstrained coordinates of parameters inside their supports. Held parameters have none."""
        return [s.inverse(v) for s, v in zip(self.supports, jax.tree.leaves(params), strict=True)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which solver runs, which polishes, and why."""

    solver: Any
    polish: Any = None
    reason: str = dataclasses.field(default="", compare=False)

    def __str__(self) -> str:
        names = self.solver.name if self.polish is None else f"{self.solver.name}, then {self.polish.name}"
        return f"{names}: {self.reason}"


@pytree
class Solution:
    """Result of :func:`solve`.

    Args:
        params: parameters that were reached, in the user's coordinates.
        value: objective there, in nats.
        status: a ``lossgeo.Status``, as an integer array.
        num_steps: steps of all solvers together.
        certificate: evidence, in unconstrained coordinates.
        plan: which solvers ran, and why; ``None`` for parameters that someone else fitted.
    """

    params: Any
    value: jax.Array
    status: jax.Array
    num_steps: jax.Array
    certificate: Certificate
    plan: Plan | None = static(default=None)

    @property
    def edm(self) -> jax.Array:
        r"""Expected decrease left, in nats; :math:`\sqrt{2\,\mathrm{edm}}` is the distance in standard errors."""
        return self.certificate.edm

    @property
    def kkt_residual(self) -> jax.Array:
        """Largest component of the (sub)gradient of least norm, in unconstrained coordinates."""
        return self.certificate.kkt_residual


def plan_solver(solver: Any, num_params: int, kinked: bool) -> Plan:
    """Choose the solvers.

    Args:
        solver: ``"auto"``, a solver of ``lossgeo.solvers`` or an ``optax.GradientTransformation``.
        num_params: number of unconstrained coordinates.
        kinked: whether the prior has a kink.

    Raises:
        TypeError: ``solver`` is something else.
        ValueError: the solver cannot solve a problem of this kind.
    """
    dense = num_params <= DENSE_LIMIT
    newton: Any = Newton() if dense else NewtonCG()
    size = f"{num_params} parameters" if num_params != 1 else "1 parameter"
    if isinstance(solver, str) and solver == "auto":
        if dense:
            kind = "the prior has a kink: steps stay on its faces, zeros are exact" if kinked else "smooth"
            return Plan(newton, None, f"{kind}; {size}, so the Hessian is formed")
        if kinked:
            return Plan(ProximalGradient(), newton, f"the prior has a kink: zeros are exact; {size}, so matrix-free")
        return Plan(LBFGS(), newton, f"smooth; {size}, so matrix-free")
    if isinstance(solver, optax.GradientTransformation):
        solver = GradientTransform(solver)
    if not isinstance(solver, Solver):
        raise TypeError(
            'solver must be "auto", an optax.GradientTransformation such as optax.adam(1e-2), or one of '
            f"lossgeo.solvers such as solvers.Newton(), but is {solver!r}."
        )
    if kinked and isinstance(solver, LBFGS):
        raise ValueError(
            "solvers.LBFGS needs a smooth objective, but the prior has a kink (a Laplace distribution). Use "
            "solvers.ProximalGradient(), solvers.Newton() or solver='auto'."
        )
    return Plan(solver, None if isinstance(solver, Damped) else newton, "chosen by the caller")


def pose(objective: Objective, params: Any, data: tuple[Any, ...], weights: Any) -> Posed:
    """Join an objective with data; ``params`` tells the structure, shapes and dtypes."""
    params = jax.tree.map(jnp.asarray, params)
    return Posed(objective, data, weights, tuple(objective.supports(params)), params)


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
    u = _implicit(posed, solution)
    return dataclasses.replace(solution, params=posed.to_params(u), value=_fun(u, posed))


def minimize(posed: Posed, solver: Any, tol: Any, max_steps: Any, enabled: bool | jax.Array = True) -> Solution:
    """Plan, run the solvers and certify where they end; pure and not differentiable.

    ``enabled`` false evaluates the start and makes no step.
    """
    plan = plan_for(posed, solver)
    budget = plan.solver.max_steps if max_steps is None else max_steps
    state = begin(posed, plan, tol)
    state = advance(posed, plan, state, tol, jnp.where(enabled, budget, 0))
    return finish(posed, plan, state, tol)


def plan_for(posed: Posed, solver: Any) -> Plan:
    """The plan for a posed objective; static."""
    num_params = sum(leaf.size for leaf in jax.eval_shape(posed.to_unconstrained, posed.template))
    return plan_solver(solver, num_params, is_kinked(posed))


def begin(posed: Posed, plan: Plan, tol: Any) -> Any:
    """State of the main solver at the start."""
    return plan.solver.init(_problem(posed), _as_tol(posed, tol))


def advance(posed: Posed, plan: Plan, state: Any, tol: Any, until: Any) -> Any:
    """Run the main solver until it ends or has made ``until`` steps."""
    return run(plan.solver, _problem(posed), state, _as_tol(posed, tol), until)


def finish(posed: Posed, plan: Plan, state: Any, tol: Any, interrupted: bool | jax.Array = False) -> Solution:
    """Polish what the main solver reached, unless its budget ran out, and certify it."""
    tol = _as_tol(posed, tol)
    problem = _problem(posed)
    num_steps, status = state.num_steps, state.status
    if plan.polish is not None:
        problem = dataclasses.replace(problem, init=plan.solver.params(problem, state))
        ended = (status == Status.CONVERGED) | (status == Status.STALLED)
        state = run(
            plan.polish, problem, plan.polish.init(problem, tol), tol, jnp.where(ended, plan.polish.max_steps, 0)
        )
        status = jnp.where(ended, state.status, status)
        num_steps = num_steps + jnp.maximum(state.num_steps, 0)
    last = plan.solver if plan.polish is None else plan.polish
    known = (state.value, state.grad, state.curvature) if isinstance(last, Newton) else None
    status = jnp.where(status == RUNNING, Status.MAX_STEPS, status)
    status = jnp.where(jnp.asarray(interrupted), Status.INTERRUPTED, status)
    solution = conclude(posed, last.params(problem, state), tol, status, num_steps, known)
    return dataclasses.replace(solution, plan=plan)


def conclude(posed: Posed, u: list[jax.Array], tol: Any, status: Any, num_steps: Any, known: Any = None) -> Solution:
    """Certify a point and turn the end of a loop into a status."""
    problem = dataclasses.replace(_problem(posed), init=u)
    value, certificate = certify(problem, known)
    c = certificate
    p = c.free.shape[0]
    small = c.edm <= tol
    status = jnp.where(small, Status.CONVERGED, jnp.where(status == Status.CONVERGED, Status.STALLED, status))
    if p > 0:
        rank_tol = linalg.rank_tolerance(p, c.eigenvalue.dtype)
        status = jnp.where(small & (c.eigenvalue <= rank_tol), Status.UNIDENTIFIED, status)
        status = jnp.where(small & (c.eigenvalue < -rank_tol), Status.NOT_POSITIVE_DEFINITE, status)
        constrained = FlatProblem(dataclasses.replace(problem, init=_constrained(posed, u))).z0
        leading = jnp.argmax(jnp.abs(c.step))
        at_infinity = Status.SEPARATED if _is_classification(posed) else Status.UNBOUNDED
        runaway = jnp.where(constrained[leading] > 0, Status.AT_BOUNDARY, at_infinity)
        status = jnp.where(small & (c.curvature_change > 0.1), runaway, status)
    status = jnp.where(c.finite, status, Status.NOT_FINITE)
    return Solution(posed.to_params(u), value, status.astype(jnp.int32), jnp.asarray(num_steps), certificate)


def is_kinked(posed: Posed) -> bool:
    """Whether the prior has a kink; static."""
    return jax.eval_shape(posed.objective.prior.kinks, posed.template) is not None


def _problem(posed: Posed) -> Problem:
    return Problem(_fun, _kinks if is_kinked(posed) else None, posed, posed.to_unconstrained(posed.template))


def _as_tol(posed: Posed, tol: Any) -> jax.Array:
    dtype = jnp.result_type(float, *jax.tree.leaves(posed.template))
    return jnp.asarray(default_tol(dtype) if tol is None else tol, dtype)


def _fun(u: Any, posed: Posed) -> jax.Array:
    return posed.objective.negative_log_posterior(posed.to_params(u), posed.data, posed.weights)


def _kinks(u: Any, posed: Posed) -> tuple[Any, Any]:
    """Centers and strengths; only parameters on the real line can rest on a kink."""
    params = posed.to_params(u)
    found = posed.objective.prior.kinks(params) or []
    centers, strengths = [], []
    for support, value, (center, strength) in zip(posed.supports, u, found, strict=True):
        real = isinstance(support, Real)
        centers.append(center if real else jnp.zeros_like(value))
        strengths.append(strength if real else jnp.zeros_like(value))
    return centers, strengths


def _constrained(posed: Posed, u: list[jax.Array]) -> list[jax.Array]:
    """1 for coordinates of a constrained parameter, 0 for the others."""
    return [jnp.full_like(v, 0.0 if isinstance(s, Real) else 1.0) for s, v in zip(posed.supports, u, strict=True)]


def _is_classification(posed: Posed) -> bool:
    likelihood = posed.objective.likelihood
    if not isinstance(likelihood, ModelLikelihood):
        return False
    shape = jax.eval_shape(lambda p: likelihood.distribution(p, *posed.data[:-1]), posed.template)
    return isinstance(shape, Bernoulli | Categorical) or type(shape).__name__.startswith(("Bernoulli", "Categorical"))


def _implicit(posed: Posed, solution: Solution) -> list[jax.Array]:
    """The solution as a differentiable function of everything in ``posed``, by the implicit function theorem."""
    constant = jax.lax.stop_gradient(posed)
    flat = FlatProblem(Problem(_fun, None, constant, constant.to_unconstrained(solution.params)))
    z, unravel = flat.z0, flat.unravel
    free = solution.certificate.free
    valid = solution.status == Status.CONVERGED
    held = ravel_pytree(_kinks(unravel(z), posed)[0])[0] if is_kinked(posed) else z

    def stationarity(z: jax.Array) -> jax.Array:
        return jnp.where(free, jax.grad(lambda v: _fun(unravel(v), posed))(z), z - held)

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
        return jnp.where(valid, x + fixed, jnp.nan)

    return unravel(jax.lax.custom_root(stationarity, z, lambda _, guess: guess, tangent_solve))
