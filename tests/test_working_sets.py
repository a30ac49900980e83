"""Working sets reach the certified optimum of L1 problems: reference numbers, optimality conditions, the pure core."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models, solvers, supports
from lossgeo.duality import duality_gap
from lossgeo.solvers.coordinate_descent import minimize_kinked_quadratic
from lossgeo.solvers.working_set import BUCKETS, bucket, choose_columns
from lossgeo.sparse import working_sets

pytestmark = pytest.mark.usefixtures("fast_compilation")
REFERENCE = pathlib.Path(__file__).parent / "reference"
N, D = 60, 540


def load(name):
    return json.loads((REFERENCE / f"{name}.json").read_text())


def gaussian(params, x):
    return dist.Normal(x @ params["coef"] + params["intercept"], 1.0)


def in_two_parts(params, x, z):
    return dist.Normal(x @ params["coef"] + z @ params["free"] + params["intercept"], 1.0)


TWO_PARTS = lg.likelihood(in_two_parts)
LIKELIHOODS = {"gaussian": lg.likelihood(gaussian), "binomial": lg.likelihood(models.logistic_regression())}


def lasso(family, x, y, strength, **options):
    prior = {"coef": dist.Laplace(0.0, 1 / (len(y) * strength)), "intercept": dist.Flat()}
    init = {"coef": jnp.zeros(x.shape[1]), "intercept": jnp.asarray(0.0)}
    return lg.fit(lg.map_objective(LIKELIHOODS[family], prior), init, x, y, solver=solvers.WorkingSet(), **options)


# ------------------------------------------------------------------ reference numbers
@pytest.mark.parametrize(
    ("name", "index"),
    [("gaussian_lasso_quickstart", 3), ("binomial_lasso_birthwt", 4)]
    + [pytest.param("gaussian_lasso_quickstart", k, marks=pytest.mark.slow) for k in (0, 6)]
    + [pytest.param("binomial_lasso_birthwt", 0, marks=pytest.mark.slow)],
)
def test_reference_supports_and_coefficients(name, index):
    case = load(name)
    x, y, point = np.array(case["X"]), np.array(case["y"], float), case["path"][index]
    fit = lasso(case["family"], x, y, point["lambda"])
    np.testing.assert_array_equal(np.flatnonzero(fit.params["coef"]), point["support"])
    np.testing.assert_allclose(fit.params["coef"], point["coef"], atol=1e-8)
    np.testing.assert_allclose(fit.params["intercept"], point["intercept"], atol=1e-8)


EDGES = [case for case in load("lasso_edge_cases")["cases"] if "coef" in case]


@pytest.mark.parametrize("case", EDGES, ids=lambda case: f"{case['name']}-{case['lam']}")
def test_reference_edge_cases(case):
    fit = lasso("gaussian", np.array(case["X"], float), np.array(case["y"], float), case["lam"])
    np.testing.assert_array_equal(np.flatnonzero(fit.params["coef"]), case["support"])
    np.testing.assert_allclose(fit.params["coef"], case["coef"], atol=1e-8)
    np.testing.assert_allclose(fit.params["intercept"], case["intercept"], atol=1e-8)


def test_a_duplicated_column_is_flagged_and_its_fit_is_right():
    (case,) = [case for case in load("lasso_edge_cases")["cases"] if case["name"] == "duplicate_column"]
    fit = lasso("gaussian", np.array(case["X"]), np.array(case["y"]), case["lam"], throw=False)
    coef = np.asarray(fit.params["coef"])
    np.testing.assert_allclose(coef[0] + coef[3], case["sum_b0_b3"], rtol=1e-8)
    np.testing.assert_allclose(coef[1:3], case["coef_1_2"], atol=1e-8)
    # Both copies in use: not identified. One of them on its kink: a vertex, the mirror image of the other.
    assert fit.status == (lg.Status.UNIDENTIFIED if coef[0] * coef[3] != 0 else lg.Status.CONVERGED)


@pytest.mark.parametrize("index", [0, 2])
def test_reference_penalty_factors_with_unpenalised_columns_in_a_leaf_of_their_own(index):
    case = load("gaussian_lasso_penaltyfactor_quickstart")
    x, y, factors = np.array(case["X"]), np.array(case["y"]), np.array(case["penalty_weights"])
    point, free = case["path"][index], factors == 0
    prior = {
        "coef": dist.Laplace(0.0, jnp.asarray(1 / (len(y) * point["lambda"] * factors[~free]))),
        "free": dist.Flat(),
        "intercept": dist.Flat(),
    }
    init = {"coef": jnp.zeros(int(sum(~free))), "free": jnp.zeros(int(sum(free))), "intercept": jnp.asarray(0.0)}
    data = (x[:, ~free], x[:, free], y)
    fit = lg.fit(lg.map_objective(TWO_PARTS, prior), init, *data, solver=solvers.WorkingSet())
    np.testing.assert_array_equal(np.asarray(fit.params["coef"]) != 0, np.array(point["coef"])[~free] != 0)
    np.testing.assert_allclose(fit.params["coef"], np.array(point["coef"])[~free], atol=1e-8)
    np.testing.assert_allclose(fit.params["free"], np.array(point["coef"])[free], atol=1e-8)


ELASTIC = load("elastic_net_glmnet")["cases"]


def elastic_net(alpha, total):
    return {"coef": dist.ElasticNet(0.0, 1 / (total * alpha), (total * (1 - alpha)) ** -0.5), "intercept": dist.Flat()}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case['family']}-{case['alpha']}", marks=[pytest.mark.slow] * (k > 1))
        for k, case in enumerate(ELASTIC)
    ],
)
def test_reference_elastic_nets(case):
    data = load(case["data"])
    x, y = np.array(data["X"]), np.array(data["y"], float)
    y = y / y.std() if case["family"] == "gaussian" else y
    objective = lg.map_objective(LIKELIHOODS[case["family"]], elastic_net(case["alpha"], len(y) * case["lambda"]))
    init = {"coef": jnp.zeros(x.shape[1]), "intercept": jnp.asarray(0.0)}
    fit = lg.fit(objective, init, x, y, solver=solvers.WorkingSet())
    np.testing.assert_array_equal(np.asarray(fit.params["coef"]) != 0, np.array(case["coef"]) != 0)
    np.testing.assert_allclose(fit.params["coef"], case["coef"], atol=1e-7)
    np.testing.assert_allclose(fit.params["intercept"], case["intercept"], atol=1e-7)
    assert 0 <= fit.duality_gap < 1e-8


# ------------------------------------------------------------------ the subproblem
def test_the_kinked_quadratic_is_solved_by_its_optimality_conditions():
    solve = jax.jit(minimize_kinked_quadratic)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        # Singular for odd seeds; units over eight orders of magnitude.
        root = rng.standard_normal((12 if seed % 2 else 60, 30)) * 10.0 ** rng.uniform(-4, 4, 30)
        x, strength = rng.standard_normal(30), np.abs(root).sum(axis=0) * rng.uniform(0.05, 1.0)
        strength[:2] = 0.0
        gradient = root.T @ rng.standard_normal(len(root))
        norms = np.linalg.norm(root, axis=0)
        kink = strength / norms
        for _ in range(30):
            found = solve(root.T @ root, gradient, x, strength)
            reached = np.asarray(found.x)
            moved = root @ (reached - x)
            decrease = gradient @ (reached - x) + 0.5 * moved @ moved + strength @ (abs(reached) - abs(x))
            np.testing.assert_allclose(found.decrease, -decrease, rtol=1e-5, atol=1e-9)
            assert found.decrease >= 0
            before = violation(gradient / norms, x, kink)
            gradient, x = gradient + root.T @ moved, reached
            np.testing.assert_allclose(found.violation, violation(gradient / norms, x, kink), rtol=1e-3, atol=1e-9)
            # One digit is asked for where the matrix is definite; on a singular face the rounds may run out before.
            assert found.violation <= max(0.1 * before, 1e-9) or seed % 2
            if found.violation < 1e-9:
                break
        assert found.violation < 1e-9
        assert np.any(x == 0) and np.all(x[:2] != 0)


def violation(slope, x, kink):
    """Largest component of the subgradient of least norm."""
    at_kink = (x == 0) & (kink > 0)
    return np.max(np.where(at_kink, np.maximum(np.abs(slope) - kink, 0.0), np.abs(slope + kink * np.sign(x))))


def test_columns_are_chosen_by_need():
    score = np.array([3.0, -1.0, 2.0, -np.inf, -2.0])
    in_use = np.array([False, True, False, False, False])
    np.testing.assert_array_equal(choose_columns(in_use, score, 2), [0, 1, 2, 4])
    wide = np.linspace(-1.0, 1.0, 5000)
    chosen = choose_columns(wide < -0.999, wide, 10)
    assert len(chosen) == BUCKETS[0] and set(np.flatnonzero(wide < -0.999)) <= set(chosen)
    assert bucket(BUCKETS[-1] + 1) == BUCKETS[-1] + 1


# ------------------------------------------------------------------ many coefficients
def normal_model(params, x):
    return dist.Normal(x @ params["coef"] + params["intercept"], params["scale"])


def log_density(params, x, y):
    """The same as ``normal_model`` in plain functions of JAX, with features computed from the data."""
    features = (x - jnp.mean(x, axis=0)[None, :]) / jnp.std(x, axis=0)[None, :]
    return norm.logpdf(y, features @ params["coef"] + params["intercept"], params["scale"])


@functools.cache
def wide_data():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N, D)) * 10.0 ** rng.uniform(-2, 2, D)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    eta = x[:, :6] @ np.array([3.0, -2.0, 2.0, 1.5, -1.0, 1.0])
    return x, eta + rng.standard_normal(N) + 4.0, (rng.random(N) < 1 / (1 + np.exp(-eta))).astype(float)


def check_optimality(objective, fit, x, y, strength, center=0.0, weights=None):
    """The conditions of Karush, Kuhn and Tucker by automatic differentiation of the objective itself."""
    coef = np.asarray(fit.params["coef"]) - center
    grads = jax.grad(lambda p: objective(p, x, y, weights=weights))(fit.params)
    # At a kink the derivative of the penalty is 0: what is left is that of the likelihood.
    excess = np.where(coef == 0, np.maximum(np.abs(grads["coef"]) - strength, 0.0), np.abs(grads["coef"]))
    assert excess.max() < 1e-6 * np.max(strength)
    for name in fit.params:
        if name != "coef":
            assert abs(float(grads[name])) < 1e-5
    assert fit.status == lg.Status.CONVERGED and float(fit.edm) <= fit.tol
    assert 0 < np.sum(coef != 0) < len(coef)
    assert isinstance(fit.plan.solver, solvers.WorkingSet)


@pytest.mark.slow
def test_free_scale_in_a_model_and_in_plain_functions_agree_with_the_pure_core():
    # More rows than columns: otherwise the density of an interpolating fit with a vanishing scale has no bound.
    rng = np.random.default_rng(6)
    x = rng.standard_normal((700, 520)) * 10.0 ** rng.uniform(-3, 3, 520)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = x[:, :6] @ np.array([3.0, -2.0, 2.0, 1.5, -1.0, 1.0]) + rng.standard_normal(700) + 4.0
    prior = {"coef": dist.Laplace(0.0, 0.0125), "intercept": dist.Flat(), "scale": dist.Flat(supports.positive)}
    init = {"coef": jnp.zeros(520), "intercept": jnp.asarray(0.0), "scale": jnp.asarray(1.0)}
    objective = lg.map_objective(lg.likelihood(normal_model), prior)
    fit = lg.fit(objective, init, x, y)
    check_optimality(objective, fit, x, y, 80.0)
    assert "linear predictor in 'coef' over data[0]" in str(fit.plan)
    plain = lg.map_objective(log_density, prior)
    same = lg.fit(plain, init, x, y)
    check_optimality(plain, same, x, y, 80.0)
    np.testing.assert_allclose(same.params["coef"], fit.params["coef"], atol=1e-7)
    np.testing.assert_allclose(same.value, fit.value, rtol=1e-12)
    pure = lg.solve(objective, init, x, y)
    np.testing.assert_array_equal(np.asarray(pure.params["coef"]) != 0, np.asarray(fit.params["coef"]) != 0)
    np.testing.assert_allclose(pure.params["coef"], fit.params["coef"], atol=1e-6)
    np.testing.assert_allclose(pure.params["scale"], fit.params["scale"], rtol=1e-7)


@pytest.mark.slow
def test_logistic_with_strengths_and_centers_of_its_own_and_weights():
    x, _, y = wide_data()
    strength = np.random.default_rng(1).uniform(4.0, 8.0, D)
    strength[:3] = 1e-6  # as good as free
    center = np.where(np.arange(D) % 7 == 0, 0.05, 0.0)
    prior = {"coef": dist.Laplace(jnp.asarray(center), jnp.asarray(1 / strength)), "intercept": dist.Flat()}
    init = {"coef": jnp.asarray(center), "intercept": jnp.asarray(0.0)}
    objective = lg.map_objective(lg.likelihood(models.logistic_regression()), prior)
    weights = np.where(np.arange(N) % 5 == 0, 2.0, 1.0)
    fit = lg.fit(objective, init, x, y, weights=weights)
    check_optimality(objective, fit, x, y, strength, center, weights)
    assert np.all(np.asarray(fit.params["coef"])[:3] != 0)


@pytest.mark.slow
def test_an_elastic_net_with_curvatures_of_its_own():
    x, y, _ = wide_data()
    center = 0.05
    curvature = np.random.default_rng(2).uniform(0.1, 20.0, D)
    prior = {"coef": dist.ElasticNet(center, 0.1, jnp.asarray(curvature**-0.5)), "intercept": dist.Flat()}
    objective = lg.map_objective(LIKELIHOODS["gaussian"], prior)
    fit = lg.fit(objective, {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}, x, y)
    check_optimality(objective, fit, x, y, 10.0, center)
    # The gap is what an augmented design has: each column with an observation of its own, sqrt(curvature), at 0.
    away = np.asarray(fit.params["coef"]) + 1e-3 * np.random.default_rng(3).standard_normal(D) - center
    residual = np.concatenate([y - center * x.sum(axis=1) - x @ away, -np.sqrt(curvature) * away])
    residual[:N] -= np.mean(residual[:N])
    rows = np.concatenate([x, np.diag(np.sqrt(curvature))])
    dual = residual * min(1.0, 10.0 / np.abs(rows.T @ residual).max())
    target = np.concatenate([y - center * x.sum(axis=1), np.zeros(D)])
    augmented = 0.5 * residual @ residual + 10.0 * np.abs(away).sum() - dual @ target + 0.5 * dual @ dual
    moved = {"coef": jnp.asarray(away + center), "intercept": jnp.asarray(np.mean(target[:N] - x @ away))}
    gap, excess = duality_gap(fit.posed, moved), objective(moved, x, y) - fit.value
    assert 0 < excess <= gap <= augmented * (1 + 1e-9) and 0 <= fit.duality_gap < 1e-10


def test_nothing_in_use_nothing_to_do():
    x, y, _ = wide_data()
    strength = 1.01 * np.abs(x.T @ (y - y.mean())).max() / N
    fit = lasso("gaussian", x, y, strength)
    assert not np.any(np.asarray(fit.params["coef"])) and fit.num_steps == 1
    np.testing.assert_allclose(fit.params["intercept"], y.mean(), rtol=1e-12)


# ------------------------------------------------------------------ the contract of long fits
def test_interrupted_rounds_return_what_they_have():
    x, y, _ = wide_data()
    seen = []

    def stop(step, value, edm):
        seen.append((step, value, edm))
        raise KeyboardInterrupt

    fit = lasso("gaussian", x, y, 0.02, throw=False, callback=stop, callback_every=1)
    assert fit.status == lg.Status.INTERRUPTED and fit.num_steps == seen[0][0] == 1
    full = lasso("gaussian", x, y, 0.02)
    assert full.num_steps > 1 and float(full.value) < float(fit.value)
    short = lasso("gaussian", x, y, 0.02, throw=False, max_steps=1)
    assert short.status == lg.Status.MAX_STEPS and float(short.edm) > short.tol


def test_progress_is_shown_on_standard_error(capsys):
    x, y, _ = wide_data()
    lasso("gaussian", x, y, 0.02, progress=True)
    assert "working sets" in capsys.readouterr().err


def test_what_working_sets_cannot_do_is_said():
    x, y, _ = wide_data()
    init = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}
    smooth = lg.map_objective(LIKELIHOODS["gaussian"], {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()})
    with pytest.raises(ValueError, match="needs independent rows with coefficients under Laplace"):
        lg.fit(smooth, init, x, y, solver=solvers.WorkingSet())
    kinked = lg.map_objective(LIKELIHOODS["gaussian"], {"coef": dist.Laplace(0.0, 1.0), "intercept": dist.Flat()})
    with pytest.raises(ValueError, match=r"driven from the host .* call lg.fit"):
        lg.solve(kinked, init, x, y, solver=solvers.WorkingSet())


@pytest.mark.slow
def test_another_solver_takes_over_where_rounds_do_not_get_on(monkeypatch):
    x, y, _ = wide_data()
    objective = lg.map_objective(LIKELIHOODS["gaussian"], {"coef": dist.Laplace(0.0, 0.2), "intercept": dist.Flat()})
    init = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}
    monkeypatch.setattr(working_sets, "BUCKETS", (2,))
    fit = lg.fit(objective, init, x, y, throw=False, max_steps=3)
    assert isinstance(fit.plan.solver, solvers.ProximalGradient) and fit.num_steps == 3


@pytest.mark.slow
def test_the_tolerance_bounds_the_duality_gap_whatever_the_units_of_the_columns():
    x, y, _ = wide_data()
    units = 10.0 ** np.random.default_rng(7).uniform(-6, 6, D)
    init = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}
    exact, coef = None, {}
    for tol in (None, 1e-3, 0.3):
        for name, unit in (("as they are", np.ones(D)), ("scaled", units)):
            prior = {"coef": dist.Laplace(0.0, jnp.asarray(0.1 / unit)), "intercept": dist.Flat()}
            objective = lg.map_objective(LIKELIHOODS["gaussian"], prior)
            # With a budget the rounds go through the rows, without one active sets of second moments are exact.
            fit = lg.fit(objective, init, x * unit, y, tol=tol, max_steps=None if tol is None else 100)
            value = float(fit.value) + np.log(unit).sum()  # the density of the prior has units
            exact = value if exact is None else exact
            gap = float(fit.solution.certificate.gap)
            assert gap <= max(fit.tol, 4 * fit.solution.certificate.gap_noise) and "duality gap" in fit.message
            assert float(duality_gap(fit.posed, fit.params)) <= gap + 1e-9
            assert -1e-9 <= value - exact <= gap + 1e-9
            coef[tol, name] = np.asarray(fit.params["coef"]) * unit
    np.testing.assert_array_equal(coef[None, "scaled"] != 0, coef[None, "as they are"] != 0)
    np.testing.assert_allclose(coef[None, "scaled"], coef[None, "as they are"], atol=1e-8)
    # A loose tolerance is an answer before the last columns are found.
    assert 0 < np.abs(coef[0.3, "scaled"] - coef[None, "scaled"]).max() < 0.3
