"""Which solver ``auto`` chooses: by kinks, by structure, by size."""

import pytest

from lossgeo import solvers
from lossgeo.planning import CURVED_LIMIT, OUTPUT_FEATURES, OUTPUT_OTHERS, plan_solver

WIDE = solvers.DENSE_LIMIT + 128

CASES = {
    "few": (10, {}, solvers.Newton, type(None)),
    "many": (WIDE, {}, solvers.LBFGS, solvers.Newton),
    "more than a rank can be told of": (solvers.RANK_LIMIT + 1, {}, solvers.LBFGS, solvers.NewtonCG),
    "kinked": (10, {"kinked": True}, solvers.ProximalGradient, solvers.Newton),
    "curved": (CURVED_LIMIT, {"curved": True}, solvers.LevenbergMarquardt, solvers.Newton),
    "curved, with many coordinates": (CURVED_LIMIT + 1, {"curved": True}, solvers.Newton, type(None)),
    "several outputs": (WIDE, {"outputs": (WIDE // 8, 8)}, solvers.KroneckerNewton, type(None)),
    "several outputs, few coefficients": (32, {"outputs": (4, 8)}, solvers.Newton, type(None)),
    "several outputs, kinked": (WIDE, {"outputs": (WIDE // 8, 8), "kinked": True}, solvers.ProximalGradient, object),
    "too many features": (8 * OUTPUT_FEATURES + 8, {"outputs": (OUTPUT_FEATURES + 1, 8)}, solvers.LBFGS, object),
    "too many others": (WIDE + OUTPUT_OTHERS + 1, {"outputs": (WIDE // 8, 8)}, solvers.LBFGS, object),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_plan_follows_what_is_known(name):
    size, known, solver, polish = CASES[name]
    plan = plan_solver("auto", size, **({"kinked": False} | known))
    assert isinstance(plan.solver, solver)
    assert isinstance(plan.polish, polish)
    assert plan.reason
