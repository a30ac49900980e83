"""The host shell: ``fit`` validates, solves, explains what happened, and bundles everything that inference needs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lossgeo import inference, linalg
from lossgeo._compilation import quick_jit
from lossgeo._pytree import Remainder, without
from lossgeo.driving import drive
from lossgeo.duality import duality_gap
from lossgeo.inference.covariance import CovarianceKind
from lossgeo.messages import describe
from lossgeo.metric import LARGEST_ROOT, fisher_root, root_size
from lossgeo.objective import Objective
from lossgeo.piecewise import is_plain
from lossgeo.planning import Plan
from lossgeo.posing import Posed, is_kinked, pose
from lossgeo.solvers import DENSE_LIMIT, InteriorPoint, LevenbergMarquardt, Newton, ProximalGradient, Status
from lossgeo.solving import Begun, Solution, conclude_given, default_tol, minimize
from lossgeo.validation import Checks, check_values, prepare, raise_for, raise_for_start

__all__ = ["Fit", "FitError", "fit", "tolerance"]

FEW_DIGITS = 1e-9
"""Least eigenvalue of the equilibrated Hessian below which standard errors may have fewer than seven digits."""


class FitError(RuntimeError):
    """A fit that did not converge. ``fit`` holds the :class:`Fit` with everything that was reached."""

    def __init__(self, fit: "Fit"):
        super().__init__(
            f"{fit.status.name}: {fit.message} (fit(..., throw=False) returns the fit instead of raising.)"
        )
        self.fit = fit


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """A fit: objective, data and solution together. Made by :func:`fit` or :meth:`from_params`.

    Args:
        posed: the objective with its data and weights.
        solution: where it ended, with the certificate.
        tol: bound that the certificate was compared with, in nats.
    """

    posed: Posed
    solution: Solution
    tol: float

    @classmethod
    def from_params(
        cls, objective: Objective, params: Any, *data: Any, weights: Any = None, tol: float | None = None
    ) -> "Fit":
        """The same certificate and inference for parameters that someone else fitted.

        Probability vectors may have entries of 0 where all parameters are such vectors: they are judged on that face.

        Raises:
            ValueError: as :func:`fit`, for faulty input.
        """
        params, data, weights = prepare(objective, params, data, weights)
        tol = tolerance(params, tol)
        posed = pose(objective, params, data, weights)
        solution, checks = _judge(posed, tol)
        if not bool(checks.passed):
            raise_for(checks, posed, fitted=True)
        return cls(posed, solution, tol)

    @property
    def objective(self) -> Objective:
        """The objective."""
        return self.posed.objective

    @property
    def data(self) -> tuple[Any, ...]:
        """The data, as arrays."""
        return self.posed.data

    @property
    def weights(self) -> Any:
        """The weights, or ``None``."""
        return self.posed.weights

    @property
    def params(self) -> Any:
        """The estimates, a tree like the start."""
        return self.solution.params

    @property
    def value(self) -> jax.Array:
        """Negative log posterior at the estimates, in nats."""
        return self.solution.value

    @property
    def status(self) -> Status:
        """How the fit ended."""
        return Status(int(self.solution.status))

    @property
    def message(self) -> str:
        """What the status means here: the parameter or direction, and what to do."""
        return describe(self.posed, self.solution, self.tol)

    @property
    def edm(self) -> jax.Array:
        r"""Expected decrease left, in nats; :math:`\sqrt{2\,\mathrm{edm}}` is the distance in standard errors."""
        return self.solution.edm

    @property
    def kkt_residual(self) -> jax.Array:
        """Largest component of the (sub)gradient of least norm, in unconstrained coordinates."""
        return self.solution.kkt_residual

    @property
    def duality_gap(self) -> float:
        """Bound on the excess over the least objective, in nats, for sparse coefficients in a linear predictor.

        NaN where none is known; see :func:`lossgeo.duality.duality_gap`. Working sets compare it with the tolerance;
        for other solvers it is computed when asked for.
        """
        known = self.solution.certificate.gap
        return float(duality_gap(self.posed, self.params) if known is None else known)

    @property
    def num_steps(self) -> int:
        """Steps that were made."""
        return int(self.solution.num_steps)

    @property
    def plan(self) -> Plan | None:
        """Which solvers ran, and why; ``None`` for :meth:`from_params`."""
        return self.solution.plan

    def covariance(self, cov: CovarianceKind = "observed") -> jax.Array:
        """Covariance matrix of the estimates; see :func:`lossgeo.inference.covariance`."""
        return inference.covariance(self, cov)

    def standard_errors(self, cov: CovarianceKind = "observed") -> Any:
        """Standard errors, a tree like the parameters; NaN wherever the certificate does not support them."""
        return inference.standard_errors(self, cov)

    def interval(self, level: float = 0.95, cov: CovarianceKind = "observed") -> tuple[Any, Any]:
        """Wald intervals that stay inside the supports; see :func:`lossgeo.inference.wald_interval`."""
        return inference.wald_interval(self, level, cov)

    def criteria(self) -> inference.Criteria:
        """AIC, AICc and BIC of a maximum-likelihood fit; see :func:`lossgeo.inference.criteria`."""
        return inference.criteria(self)

    def summary(self, cov: CovarianceKind | None = None, level: float = 0.95) -> inference.Summary:
        """Table of estimates, standard errors and intervals with the certificate; prints itself.

        ``cov`` is ``"observed"`` for a density and ``"sandwich"`` for a pseudo-likelihood unless given.
        """
        is_density = self.objective.likelihood.is_density
        return inference.summarize(self, cov or ("observed" if is_density else "sandwich"), level)

    def __repr__(self) -> str:
        return f"Fit(status={self.status.name}, value={float(self.value):.6g} nats, edm={float(self.edm):.1e} nats)"


def fit(
    objective: Objective,
    init_params: Any,
    *data: Any,
    solver: Any = "auto",
    weights: Any = None,
    tol: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
    progress: bool = False,
    callback: Callable[[int, float, float], None] | None = None,
    callback_every: int = 100,
) -> Fit:
    """Fit an objective to data, with a certificate.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        init_params: start, a pytree of floating arrays inside their supports; ``None`` if the model knows start values.
        data: arguments of the likelihood: arrays, data frames, or trees of them. For a model its inputs and, last, the
            target.
        solver: ``"auto"``, one of ``lossgeo.solvers``, or any ``optax.GradientTransformation``.
        weights: shape ``(n,)``, non-negative; multiplies the terms of the likelihood.
        tol: bound on the certificate in nats: the duality gap for losses with kinks and on working sets, the expected
            decrease elsewhere; by default ``eps ** 0.75`` of the floating type.
        max_steps: budget of the solver; by default its own.
        throw: whether a fit that does not converge raises :class:`FitError` (which holds it) or is returned.
        progress: whether to show the step, the objective and the certificate on standard error while it runs.
        callback: called as ``callback(step, value, edm)`` every ``callback_every`` steps. A ``KeyboardInterrupt``, from
            the keyboard or raised here, ends the fit with what was reached, status ``INTERRUPTED``.
        callback_every: steps between calls.

    Returns:
        A :class:`Fit`.

    Raises:
        TypeError: an argument of the wrong kind or dtype.
        ValueError: faulty data, targets, weights, supports, shapes or start; the message names the argument, what was
            wanted and what came. Raised before any iteration.
        FitError: the fit did not converge and ``throw`` is true.
    """
    if max_steps is not None and max_steps < 0:
        raise ValueError(f"max_steps must not be negative, but is {max_steps}.")
    if callback_every < 1:
        raise ValueError(f"callback_every must be at least 1, but is {callback_every}.")
    params, data, weights = prepare(objective, init_params, data, weights)
    tol = tolerance(params, tol)
    problem = (objective, params, data, weights)
    if callback is None and not progress and _is_short(params, solver):
        rest, solution, checks = _solve_checked(*problem, tol, max_steps, solver)
        posed = rest.joined_with(problem)
        if not bool(checks.passed):
            raise_for(checks, posed)
    else:
        posed, solution = drive(*problem, tol, max_steps, solver, callback, callback_every, progress)
    if isinstance(solver, str) and max_steps is None and _is_ill_conditioned(posed, solution):
        # An optimum that was found is only looked at in better coordinates; anything else starts anew.
        start = solution.params if int(solution.status) == Status.CONVERGED else params
        _, again, _ = _solve_checked(objective, start, data, weights, tol, max_steps, LevenbergMarquardt())
        better = int(solution.status) != Status.CONVERGED and float(again.edm) < float(solution.edm)
        if int(again.status) == Status.CONVERGED or better:
            reason = "the Hessian is singular to working precision, the rows of the model are not"
            plan = None if again.plan is None else dataclasses.replace(again.plan, reason=reason)
            solution = dataclasses.replace(again, plan=plan)
    if isinstance(solver, str) and _is_misread(posed, solution):
        general = ProximalGradient() if is_kinked(posed) else Newton()
        _, again, _ = _solve_checked(*problem, tol, max_steps, general)
        reason = "the log-likelihood is not the sum of one convex function with straight pieces a row it was read as"
        solution = dataclasses.replace(again, plan=Plan(general, None, reason))
    if int(solution.status) == Status.NOT_FINITE and int(solution.num_steps) <= 0:
        raise_for_start(posed)
    found = Fit(posed, solution, tol)
    if throw and found.status != Status.CONVERGED:
        raise FitError(found)
    return found


def _is_short(params: Any, solver: Any) -> bool:
    """Whether a fit takes so few steps that it can run in one compiled call, out of reach of the keyboard."""
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return isinstance(solver, Newton) or (isinstance(solver, str) and solver == "auto" and size <= DENSE_LIMIT)


def _is_ill_conditioned(posed: Posed, solution: Solution) -> bool:
    """Whether Newton's method was at a loss for digits of the Hessian that the root of the Fisher metric still holds.

    A Hessian squares the condition number of the design: an intercept beside a column with a large origin, or a
    polynomial of high degree, is singular there to working precision and is not in the rows themselves.
    """
    lost = int(solution.status) in (Status.UNIDENTIFIED, Status.STALLED, Status.MAX_STEPS)
    doubtful = int(solution.status) == Status.CONVERGED and float(solution.certificate.eigenvalue) < FEW_DIGITS
    if not (isinstance(getattr(solution.plan, "solver", None), Newton) and (lost or doubtful)):
        return False
    size = root_size(posed)
    return size is not None and size <= LARGEST_ROOT and bool(_has_full_rank(posed))


def _is_misread(posed: Posed, solution: Solution) -> bool:
    """Whether a plain function differs from the piecewise linear one that an interior point solved in its place."""
    interior = isinstance(getattr(solution.plan, "solver", None), InteriorPoint)
    return interior and is_plain(posed) and int(solution.status) == Status.STALLED and bool(jnp.isinf(solution.edm))


@quick_jit(small=True)
def _has_full_rank(posed: Posed) -> jax.Array:
    """Whether the columns of the root of the metric at the start are independent to working precision."""
    rows = fisher_root(posed.to_unconstrained(posed.template), posed).rows
    norm = jnp.linalg.norm(rows, axis=0)
    scaled = rows / jnp.where(norm > 0, norm, 1.0)[None, :]
    sigma = jnp.linalg.svd(scaled, full_matrices=False, compute_uv=False)
    enough = rows.shape[0] >= rows.shape[1]
    return jnp.asarray(enough) & (sigma[-1] > linalg.rank_tolerance(rows.shape[1], rows.dtype))


def tolerance(params: Any, tol: float | None) -> float:
    """The tolerance of a fit in nats, by default that of its dtype."""
    if tol is None:
        return default_tol(jnp.result_type(float, *jax.tree.leaves(params)))
    if not 0.0 < tol < float("inf"):
        raise ValueError(f"tol must be a positive number of nats, but is {tol}.")
    return float(tol)


@quick_jit(small=True, coordinates=lambda objective, params, *rest: params, static_argnames="solver")
def _solve_checked(
    objective: Objective, params: Any, data: tuple[Any, ...], weights: Any, tol: Any, max_steps: Any, solver: Any
) -> tuple[Remainder, Solution, Checks]:
    """Count faults, and solve if there are none, in one compiled call; of the posed objective what was computed."""
    posed = pose(objective, params, data, weights)
    found = []

    def passed(begun: Begun) -> jax.Array:
        found.append(check_values(posed, seen=begun.read))
        return found[0].passed

    solution = minimize(posed, solver, tol, max_steps, enabled=passed)
    return without(posed, (objective, params, data, weights)), solution, found[0]


@quick_jit(small=True)
def _judge(posed: Posed, tol: Any) -> tuple[Solution, Checks]:
    """Certify given parameters."""
    return conclude_given(posed, tol), check_values(posed, fitted=True)
