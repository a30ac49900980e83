"""Which solver runs, and why."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lossgeo.metric import is_curved, root_size
from lossgeo.on_simplex import why_not_in_place
from lossgeo.piecewise import piecewise, with_pieces
from lossgeo.posing import structure_of
from lossgeo.solvers import (
    DENSE_LIMIT,
    LBFGS,
    RANK_LIMIT,
    GradientTransform,
    GroupWorkingSet,
    InteriorPoint,
    KroneckerNewton,
    LevenbergMarquardt,
    MirrorDescent,
    Newton,
    NewtonCG,
    Problem,
    ProximalGradient,
    SimplexNewton,
    Solver,
    WorkingSet,
)
from lossgeo.solvers.damped import Damped
from lossgeo.sparsity import has_groups, sparse_rows

if TYPE_CHECKING:
    import optax
else:
    from lossgeo import _optax as optax

__all__ = ["Plan", "plan_for", "plan_solver"]

OUTPUT_FEATURES = 2048
"""Largest number of features of a linear predictor of several columns whose Gram matrix is taken apart."""

OUTPUT_OTHERS = 128
"""Largest number of coordinates beside it that are eliminated one by one."""

CURVED_LIMIT = 64
"""Largest number of coordinates for which a nonlinear model is taken apart by orthogonal factors at each step, which
costs several Hessians when they are many; beyond, ``fit`` does so where Newton's method fails."""

VERTEX_LIMIT = 2048
"""Largest number of coordinates for which interior points form their systems, two factors of them a step."""

MANY_SCALES = 1000
"""Budget of interior points where a scale is found in turn with penalised coefficients."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which solver runs, which polishes, why, and what structure was found in the log-likelihood."""

    solver: Any
    polish: Any = None
    reason: str = dataclasses.field(default="", compare=False)
    structure: str = dataclasses.field(default="", compare=False)

    def __str__(self) -> str:
        names = self.solver.name if self.polish is None else f"{self.solver.name}, then {self.polish.name}"
        return f"{names}: {self.reason}" + (f"; {self.structure}" if self.structure else "")


def plan_solver(
    solver: Any, num_params: int, kinked: bool, curved: bool = False, outputs: tuple[int, int] | None = None
) -> Plan:
    """Choose the solvers.

    Args:
        solver: ``"auto"``, a solver of ``lossgeo.solvers`` or an ``optax.GradientTransformation``.
        num_params: number of unconstrained coordinates.
        kinked: whether the prior has a kink.
        curved: whether the model has a metric and is nonlinear.
        outputs: shape of the coefficients of the one linear predictor, where that has several columns.

    Raises:
        TypeError: ``solver`` is something else.
        ValueError: the solver cannot solve a problem of this kind.
    """
    dense = num_params <= DENSE_LIMIT
    newton: Any = Newton() if dense else NewtonCG()
    # Up to there the certificate forms the Hessian once at any rate, and one step with it is all that polish needs.
    polish: Any = Newton() if num_params <= RANK_LIMIT else newton
    size = f"{num_params} parameters" if num_params != 1 else "1 parameter"
    if isinstance(solver, str) and solver == "auto":
        hessian = "the Hessian is formed" if dense else "matrix-free"
        if kinked:
            return Plan(ProximalGradient(), newton, f"the prior has a kink, zeros are exact; {size}, so {hessian}")
        if curved and num_params <= CURVED_LIMIT:
            return Plan(LevenbergMarquardt(), newton, f"the model is nonlinear and has a Fisher metric; {size}")
        if outputs is not None and not dense:
            d, k = outputs
            near = d <= OUTPUT_FEATURES and num_params - d * k <= OUTPUT_OTHERS
            if near:
                return Plan(KroneckerNewton(), None, f"smooth; {d} features for {k} columns of a linear predictor")
        return Plan(newton if dense else LBFGS(), None if dense else polish, f"smooth; {size}, so {hessian}")
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
    if isinstance(solver, LevenbergMarquardt) and (kinked or not dense):
        reason = "the prior has a kink" if kinked else f"there are {size}, more than {DENSE_LIMIT}"
        raise ValueError(
            f"solvers.LevenbergMarquardt needs a smooth objective of moderate size, but {reason}. Use solver='auto'."
        )
    if isinstance(solver, KroneckerNewton) and (kinked or outputs is None):
        reason = "the prior has a kink" if kinked else "no linear predictor of several columns was found"
        raise ValueError(
            f"solvers.KroneckerNewton needs a smooth objective whose independent rows share one linear predictor of "
            f"several columns, but {reason}. Use solver='auto'."
        )
    polishes = not isinstance(solver, Damped | InteriorPoint)
    return Plan(solver, newton if polishes else None, "chosen by the caller")


def plan_for(problem: Problem, solver: Any, *, host: bool = False) -> Plan:
    """The plan for a posed problem; static.

    Args:
        problem: from :func:`lossgeo.posing.as_problem`.
        solver: see :func:`plan_solver`; also ``solvers.WorkingSet()`` and ``solvers.GroupWorkingSet()``.
        host: whether the caller can drive a solver from the host.

    Raises:
        ValueError: a working set, ``InteriorPoint`` or ``LevenbergMarquardt`` was asked for, but the caller or the
            problem is not made for it.
    """
    num_params = sum(leaf.size for leaf in problem.init)
    automatic = isinstance(solver, str) and solver == "auto" and num_params > DENSE_LIMIT
    found = structure_of(problem)
    if isinstance(solver, str) and solver == "auto" and num_params <= VERTEX_LIMIT:
        kinks = piecewise(problem)
        if kinks is not None:
            in_turn = kinks.scale is not None and kinks.absolute
            points = InteriorPoint(max_steps=MANY_SCALES) if in_turn else InteriorPoint()
            return Plan(points, None, f"{kinks.words}, solved to a vertex; {num_params} parameters", found)
    if isinstance(solver, WorkingSet | GroupWorkingSet) and not host:
        raise ValueError(
            f"solvers.{type(solver).__name__} is driven from the host and cannot run inside jit, vmap or lg.solve: "
            "call lg.fit, or use solver='auto'."
        )
    if isinstance(solver, GroupWorkingSet) or (host and automatic):
        groups = GroupWorkingSet() if automatic else solver
        if has_groups(problem, groups.max_other):
            reason = f"a prior with kinks of groups on a linear predictor, zeros are exact; {num_params} parameters"
            return Plan(groups, None, reason if automatic else "chosen by the caller", found)
        if not automatic:
            raise ValueError(
                "solvers.GroupWorkingSet needs independent rows with coefficients under GroupLaplace or GroupedLaplace "
                "priors (or Laplace ones beside them) of constant hyper-parameters in one linear predictor or a sum of "
                "several, or the rows of the coefficients of a predictor of several columns as groups, and at most "
                f"{groups.max_other} other coordinates; found is {found or 'no linear predictor'}. Use solver='auto'."
            )
    if isinstance(solver, WorkingSet) or (host and automatic):
        chosen = WorkingSet() if automatic else solver
        if sparse_rows(problem, chosen.max_other) is not None:
            reason = f"a prior with a kink on a linear predictor, zeros are exact; {num_params} parameters"
            return Plan(chosen, None, reason if automatic else "chosen by the caller", found)
        if not automatic:
            raise ValueError(
                "solvers.WorkingSet needs independent rows with coefficients under Laplace or ElasticNet priors of "
                "constant hyper-parameters in one linear predictor or a sum of several, and at most "
                f"{chosen.max_other} other coordinates; found is {found or 'no linear predictor'}. Use solver='auto'."
            )
    if isinstance(solver, MirrorDescent):
        return _plan_in_place(problem, solver, num_params, found)
    if isinstance(solver, InteriorPoint):
        with_pieces(problem)
    kinked = problem.kinks is not None
    curved = not kinked and num_params <= DENSE_LIMIT and is_curved(problem.args)
    outputs = None if problem.derivatives is None else problem.derivatives.output_shape
    plan = plan_solver(solver, num_params, kinked, curved, outputs)
    if isinstance(plan.solver, GradientTransform) and plan.solver.tree is None:
        named = dataclasses.replace(plan.solver, tree=jax.tree.structure(problem.args.template))
        plan = dataclasses.replace(plan, solver=named)
    if isinstance(plan.solver, LevenbergMarquardt) and root_size(problem.args) is None:
        raise ValueError(
            "solvers.LevenbergMarquardt needs a metric: a model that returns a distribution with a Fisher information "
            "and one array as its target. Use solvers.Newton() or solver='auto'."
        )
    return dataclasses.replace(plan, structure=found)


def _plan_in_place(problem: Problem, solver: MirrorDescent, num_params: int, found: str) -> Plan:
    """The plan of mirror descent on the simplices of a problem."""
    reason = why_not_in_place(problem.args)
    if reason:
        raise ValueError(
            "solvers.MirrorDescent needs parameters that are probability vectors (supports.simplex) or held, but "
            f"{reason}. Use solver='auto'."
        )
    if num_params > RANK_LIMIT:
        raise ValueError(
            f"solvers.MirrorDescent forms the Hessian, of at most {RANK_LIMIT} probabilities, but there are "
            f"{num_params}. Use geometry.mirror_descent, an optax transformation without a certificate."
        )
    with jax.ensure_compile_time_eval():
        least = jnp.asarray([1e-30, 1e-3])
        steep = solver.potential is None or float(jnp.ptp(solver.potential.gradient(least))) > 30.0
    if not steep:
        raise ValueError(
            "solvers.MirrorDescent needs a separable potential whose gradient falls without bound towards 0, such as "
            "geometry.negative_entropy or geometry.burg, but has "
            f"{getattr(solver.potential, 'name', solver.potential)}."
        )
    return Plan(solver, SimplexNewton(), "chosen by the caller", found)
