"""Every solver on every problem: it finds the minimum or says that it did not, and its certificate is true."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import BY_NAME, CASES, KINKED, WIDE, WIDE_KINKED, logistic

from lossgeo import solvers
from lossgeo.solvers import Status

pytestmark = pytest.mark.usefixtures("fast_compilation")

SOLVERS = {
    "newton": solvers.Newton(),
    "newton_cg": solvers.NewtonCG(),
    "lbfgs": solvers.LBFGS(),
    "proximal": solvers.ProximalGradient(),
    "adam": solvers.GradientTransform(optax.adam(0.05), max_steps=4_000),
}
SMOOTH = ("newton", "newton_cg", "lbfgs")
NONSMOOTH = ("newton", "newton_cg", "proximal")
TOL = 1e-12


RUN = jax.jit(lambda solver, problem, tol, until: _run(solver, problem, tol, until), static_argnums=0)
CERTIFY = jax.jit(solvers.certify)


def _run(solver, problem, tol, until):
    state = solvers.run(solver, problem, solver.init(problem, tol), tol, until)
    return solver.params(problem, state), state.status, state.num_steps


def minimize(solver, problem, tol=TOL, until=None, polish=None):
    """What a caller does with a solver: run, polish, certify."""
    tol = jnp.asarray(tol, problem.init.dtype)
    reached, status, steps = RUN(solver, problem, tol, solver.max_steps if until is None else until)
    if polish is not None and status in (Status.CONVERGED, Status.STALLED):
        reached, status, _ = RUN(polish, dataclasses.replace(problem, init=reached), tol, polish.max_steps)
    value, certificate = CERTIFY(dataclasses.replace(problem, init=reached))
    return reached, value, status, steps, certificate


@functools.cache
def result(name, case):
    polish = None
    if name in ("lbfgs", "proximal", "adam"):
        polish = solvers.Newton() if np.size(case.init) <= solvers.DENSE_LIMIT else solvers.NewtonCG()
    return minimize(SOLVERS[name], case.problem(), TOL, None, polish)


def accepted(certificate, tol=TOL):
    """Whether a caller would call it converged, which the certificate alone decides."""
    c = certificate
    return bool((c.edm <= tol) & (c.eigenvalue > 1e-13) & (c.curvature_change < 0.1) & c.finite)


def runs(names, cases):
    return pytest.mark.parametrize(
        ("name", "case"), [pytest.param(name, case, id=f"{name}-{case.name}") for name in names for case in cases]
    )


@pytest.mark.parametrize(("name", "case"), runs(SMOOTH, CASES).args[1] + runs(NONSMOOTH, KINKED).args[1])
def test_it_finds_the_minimum_or_says_that_it_did_not(name, case):
    reached, value, _, _, certificate = result(name, case)
    converged = accepted(certificate)
    if case.argmin is None:
        assert not converged
        return
    assert converged or not case.easy
    if converged:
        # An edm of 1e-12 leaves (u - argmin) of 1e-6 standard errors, which are 1 or less in units of the problem.
        scale = case.args["scale"] if case.name.startswith("ill") else 1.0
        np.testing.assert_allclose((reached - case.argmin) * scale, 0.0, atol=2e-6)
        np.testing.assert_allclose(value, case.minimum, rtol=1e-11, atol=1e-11)


@runs(NONSMOOTH, KINKED)
def test_coefficients_on_their_kink_are_there_exactly(name, case):
    reached, _, _, _, certificate = result(name, case)
    center = case.args["center"]
    np.testing.assert_array_equal(np.asarray(reached) == center, np.abs(case.argmin - center) < 1e-9)
    np.testing.assert_array_equal(certificate.free, np.asarray(reached) != center)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.argmin is not None and c.name != "flat quartic"], ids=lambda case: case.name
)
def test_the_certificate_is_the_distance_to_the_minimum_in_nats(case):
    # One thousandth of a standard error away the model is quadratic, and edm is value - minimum.
    problem = case.problem()
    at_minimum = dataclasses.replace(problem, init=jnp.asarray(case.argmin))
    value, certificate = CERTIFY(at_minimum)
    hessian = np.asarray(certificate.hessian)
    assert certificate.edm < 1e-20
    direction = np.linalg.solve(hessian, np.random.default_rng(1).normal(size=4) * np.sqrt(np.diag(hessian)))
    direction *= 1e-3 / np.sqrt(direction @ hessian @ direction)
    value_away, away = CERTIFY(dataclasses.replace(problem, init=at_minimum.init + direction))
    # Third derivatives change it by a per cent or two; rounding of a value of 3 by 1e-9 of it.
    np.testing.assert_allclose(away.edm, value_away - value, rtol=0.03)
    np.testing.assert_allclose(away.edm, 0.5e-6, rtol=0.03)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_tolerance_is_respected(name):
    case, solver, steps = BY_NAME["rosenbrock"], SOLVERS[name], []
    polish = solvers.Newton() if name == "lbfgs" else None
    for tol in (1e-1, 1e-12):
        _, value, status, num_steps, certificate = minimize(solver, case.problem(), tol, None, polish)
        assert status == Status.CONVERGED
        assert certificate.edm <= tol
        # The minimum is 0. At a tenth of a nat the valley is not a parabola: a factor of 5.
        assert value <= 5.0 * tol
        steps.append(int(num_steps))
    assert steps[0] < steps[1]


def test_a_budget_is_a_budget_and_a_run_resumes_where_it_stopped():
    problem, tol, solver = BY_NAME["rosenbrock"].problem(), jnp.asarray(TOL), SOLVERS["newton"]
    run = jax.jit(functools.partial(solvers.run, solver))
    start = jax.jit(solver.init)(problem, tol)
    state = run(problem, start, tol, 7)
    assert int(state.num_steps) == 7
    assert state.status == solvers.RUNNING
    whole = run(problem, start, tol, 15)
    pieces = run(problem, run(problem, state, tol, 11), tol, 15)
    chex.assert_trees_all_equal(solver.params(problem, pieces), solver.params(problem, whole))


def test_adam_hands_over_and_newton_finishes():
    case = BY_NAME["logistic"]
    reached, _, _, _, certificate = result("adam", case)
    assert accepted(certificate)
    np.testing.assert_allclose(reached, case.argmin, atol=1e-9)


def test_a_transform_that_diverges_or_idles_says_so():
    case = BY_NAME["rosenbrock"]
    wild = solvers.GradientTransform(optax.sgd(1.0), max_steps=50)
    reached, _, status, _, certificate = minimize(wild, case.problem())
    assert status == Status.NOT_FINITE
    assert np.all(np.isfinite(reached))
    assert not accepted(certificate)
    reached, _, status, steps, certificate = result("adam", case)
    if not accepted(certificate):
        assert status == solvers.RUNNING and steps == SOLVERS["adam"].max_steps
    else:
        np.testing.assert_allclose(reached, case.argmin, atol=2e-6)


@pytest.mark.parametrize("name", ["newton", "lbfgs"])
def test_under_vmap_every_lane_is_the_run_alone_and_a_nan_lane_harms_no_other(name):
    solver, problem = SOLVERS[name], dataclasses.replace(BY_NAME["logistic"].problem(), fun=logistic)
    penalties = jnp.asarray([0.1, jnp.nan, 100.0])

    def run(penalty):
        here = dataclasses.replace(problem, args={**problem.args, "penalty": penalty})
        return RUN(solver, here, jnp.asarray(TOL), solver.max_steps)

    reached, status, steps = jax.vmap(run)(penalties)
    np.testing.assert_array_equal(status, [Status.CONVERGED, Status.NOT_FINITE, Status.CONVERGED])
    for k in (0, 2):
        alone, _, steps_alone = run(penalties[k])
        # Batched and single matrix products differ by rounding only.
        np.testing.assert_allclose(reached[k], alone, atol=1e-7 if name == "lbfgs" else 1e-12)
        assert abs(steps[k] - steps_alone) <= 1


def test_float32_stays_float32_and_reaches_what_it_can():
    case = BY_NAME["logistic"]
    problem = dataclasses.replace(case.problem(jnp.float32), fun=logistic)
    reached, value, status, _, certificate = minimize(SOLVERS["newton"], problem, 1e-5)
    assert reached.dtype == value.dtype == certificate.edm.dtype == jnp.float32
    assert status == Status.CONVERGED
    assert certificate.edm <= 1e-5
    # sqrt(2 * 1e-5) standard errors, which are at most 1.
    np.testing.assert_allclose(reached, case.argmin, atol=5e-3)


def test_new_data_cost_no_new_trace():
    case, traces = BY_NAME["logistic"], 0

    def counted(u, args):
        nonlocal traces
        traces += 1
        return logistic(u, args)

    problem, after_first = dataclasses.replace(case.problem(), fun=counted), None
    for k in range(10):
        args = {**problem.args, "x": jnp.roll(problem.args["x"], k, axis=0), "penalty": 0.1 * k}
        RUN(SOLVERS["newton"], dataclasses.replace(problem, args=args), jnp.asarray(TOL), 50)
        after_first = traces if after_first is None else after_first
    assert traces == after_first


@runs(("newton_cg", "lbfgs"), WIDE)
def test_more_coordinates_than_any_hessian_is_formed_for(name, case):
    reached, _, _, _, certificate = result(name, case)
    assert certificate.hessian is None
    converged = accepted(certificate)
    if case.argmin is None:
        assert not converged
        return
    assert converged
    scale = case.args["scale"] if case.name == "wide quadratic" else 1.0
    found = np.asarray(reached) if case.name == "wide quadratic" else np.abs(reached)  # either well is a minimum
    np.testing.assert_allclose((found - case.argmin) * scale, 0.0, atol=2e-6)


@pytest.mark.slow
def test_a_wide_kinked_problem_meets_its_optimality_conditions():
    args = WIDE_KINKED.args
    reached, _, _, _, certificate = result("proximal", WIDE_KINKED)
    assert accepted(certificate)
    coef = np.asarray(reached)
    slope = args["x"].T @ (args["x"] @ coef - args["y"]) + args["ridge"] * coef
    zero = coef == 0.0
    assert 0 < np.sum(~zero) < 80
    assert np.all(np.abs(slope[zero]) <= args["strength"] * (1 + 1e-9))
    # An edm of 1e-12 with curvatures of about 80 leaves slopes of sqrt(2 * 80 * 1e-12).
    np.testing.assert_allclose(slope[~zero], -args["strength"] * np.sign(coef[~zero]), atol=2e-5)


def test_a_problem_without_coordinates_is_solved():
    problem = solvers.Problem(lambda u, args: jnp.asarray(2.0), None, (), jnp.zeros((0,)))
    _, value, status, _, certificate = minimize(SOLVERS["newton"], problem)
    assert (status, value, certificate.edm) == (Status.CONVERGED, 2.0, 0.0)


def test_settings_compare_by_value_so_that_a_rebuilt_solver_hits_the_cache():
    assert solvers.Newton() == solvers.Newton()
    assert hash(solvers.LBFGS(memory=7)) == hash(solvers.LBFGS(memory=7))
    assert solvers.LBFGS(memory=7) != solvers.LBFGS()
    for solver in SOLVERS.values():
        assert isinstance(solver, solvers.Solver)
        assert solver.name
