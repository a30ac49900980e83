"""Numbers that this project did not make; every file has a ``provenance`` entry.

Scores are ``LRE = -log10(|estimate - truth| / |truth|)``, the number of right digits.
"""

import functools
import json
import pathlib
from decimal import Decimal

import jax.numpy as jnp
import numpy as np
import pytest
from densities import DENSITIES, SUPPORTS, constrained, from_constrained

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

HERE = pathlib.Path(__file__).parent


@functools.cache
def load(name):
    return json.loads((HERE / f"{name}.json").read_text())


def lre(estimates, truths):
    """The least number of right digits; certified values are decimal strings."""
    digits = [15.0]
    for estimate, truth in zip(np.ravel(estimates).tolist(), truths, strict=True):
        error = abs(Decimal(estimate) - Decimal(truth))
        if error:
            digits.append(-float((error / abs(Decimal(truth))).log10()) if Decimal(truth) else -float(error.log10()))
    return min(digits)


def linear_model(params, x):
    return dist.Normal(x @ params["coef"], params["sigma"])


def gaussian_model(params, x):
    return dist.Normal(x @ params["coef"] + params["intercept"], 1.0)


def logistic_model(params, x):
    return dist.Bernoulli(logits=x @ params["coef"] + params["intercept"])


def poisson_model(params, x):
    return dist.Poisson(log_rate=x @ params["coef"] + params["intercept"])


# ------------------------------------------------------------------ NIST StRD, linear
NIST = load("nist_linear")["problems"]


def nist_data(problem):
    data = np.array([[float(v) for v in row] for row in problem["data"]])
    if problem["name"] == "Longley":
        return np.c_[np.ones(len(data)), data[:, 1:]], data[:, 0]
    first = 0 if problem["intercept"] else 1
    return data[:, 1, None] ** np.arange(first, first + problem["p"])[None, :], data[:, 0]


# What the best of numpy's least squares reaches, of which half a digit is luck. Wampler4 and 5 are a signal of 1 under
# noise of 2e5 and 2e6, Filip a polynomial of degree 10 whose Gram matrix has condition number 3e30.
DIGITS = {name: max(problem["peer_float64_min_LRE"].values()) - 0.5 for name, problem in NIST.items()}
PERFECT = ("Wampler1", "Wampler2")


@pytest.mark.parametrize("name", [name for name in DIGITS if name not in PERFECT])
def test_nist_linear_regressions_by_maximum_likelihood(name):
    problem = NIST[name]
    x, y = nist_data(problem)
    objective = lg.map_objective(
        lg.likelihood(linear_model), {"coef": dist.Flat(), "sigma": dist.Flat(supports.positive)}
    )
    fit = lg.fit(objective, {"coef": jnp.zeros(x.shape[1]), "sigma": 1.0}, x, y)
    exact = problem["exact_rational_check"]
    assert lre(fit.params["coef"], problem["certified"]["coef"]) >= DIGITS[name]
    assert lre(fit.params["sigma"], [exact["sigma_mle"]]) >= min(8.0, DIGITS[name])
    assert lre(fit.standard_errors()["coef"], exact["se_with_mle_sigma"]) >= 6.0
    # The terms of Filip's polynomial cancel to 1e-8 of themselves, so that each residual holds eight digits.
    assert lre(-float(fit.value), [exact["loglik_gaussian_mle"]]) >= (8.0 if name == "Filip" else 10.0)


@pytest.mark.parametrize("name", PERFECT)
def test_nist_perfect_fits_have_no_finite_optimum(name):
    x, y = nist_data(NIST[name])
    objective = lg.map_objective(
        lg.likelihood(linear_model), {"coef": dist.Flat(), "sigma": dist.Flat(supports.positive)}
    )
    fit = lg.fit(objective, {"coef": jnp.zeros(x.shape[1]), "sigma": 1.0}, x, y, throw=False)
    assert fit.status == lg.Status.UNBOUNDED
    assert "sigma runs to the edge" in fit.message
    held = lg.map_objective(lg.likelihood(linear_model), {"coef": dist.Flat(), "sigma": dist.Fixed(1.0)})
    exact = lg.fit(held, {"coef": jnp.zeros(x.shape[1]), "sigma": 1.0}, x, y)
    assert lre(exact.params["coef"], NIST[name]["certified"]["coef"]) >= DIGITS[name]


# ------------------------------------------------------------------ lasso
LASSO = [("gaussian_lasso_quickstart", k) for k in (0, 2, 4, 6)] + [("binomial_lasso_birthwt", k) for k in range(5)]
LIKELIHOODS = {"gaussian": lg.likelihood(gaussian_model), "binomial": lg.likelihood(logistic_model)}


def lasso_fit(family, x, y, strength):
    """The lasso of a mean loss with penalty ``strength`` is a Laplace prior of scale ``1 / (n strength)``."""
    objective = lg.map_objective(
        LIKELIHOODS[family], {"coef": dist.Laplace(0.0, 1 / (len(y) * strength)), "intercept": dist.Flat()}
    )
    return lg.fit(objective, {"coef": jnp.zeros(x.shape[1]), "intercept": 0.0}, x, y)


@pytest.mark.parametrize(("name", "index"), LASSO)
def test_lasso_supports_and_coefficients(name, index):
    case = load(name)
    x, y, point = np.array(case["X"]), np.array(case["y"], float), case["path"][index]
    fit = lasso_fit(case["family"], x, y, point["lambda"])
    coef = np.asarray(fit.params["coef"])
    np.testing.assert_array_equal(np.flatnonzero(coef), point["support"])
    np.testing.assert_allclose(coef, point["coef"], atol=1e-8)
    np.testing.assert_allclose(fit.params["intercept"], point["intercept"], atol=1e-8)
    # nats to the mean loss of the reference: take the constants of the densities off.
    constants = 0.5 * np.log(2 * np.pi) * len(y) if case["family"] == "gaussian" else 0.0
    constants += x.shape[1] * np.log(2 / (len(y) * point["lambda"]))
    np.testing.assert_allclose((float(fit.value) - constants) / len(y), point["objective"], rtol=1e-12)


EDGES = [case for case in load("lasso_edge_cases")["cases"] if "coef" in case]


@pytest.mark.parametrize("case", EDGES, ids=lambda case: f"{case['name']}-{case['lam']}")
def test_lasso_edge_cases(case):
    # On the Hadamard design some correlations equal the penalty exactly: those coefficients are 0, to the bit.
    fit = lasso_fit("gaussian", np.array(case["X"], float), np.array(case["y"], float), case["lam"])
    np.testing.assert_array_equal(np.flatnonzero(fit.params["coef"]), case["support"])
    np.testing.assert_allclose(fit.params["coef"], case["coef"], atol=1e-8)
    np.testing.assert_allclose(fit.params["intercept"], case["intercept"], atol=1e-8)


def test_the_lasso_of_a_duplicated_column_is_flagged_and_its_fit_is_right():
    (case,) = [case for case in load("lasso_edge_cases")["cases"] if case["name"] == "duplicate_column"]
    x, y = np.array(case["X"]), np.array(case["y"])
    objective = lg.map_objective(
        LIKELIHOODS["gaussian"], {"coef": dist.Laplace(0.0, 1 / (len(y) * case["lam"])), "intercept": dist.Flat()}
    )
    fit = lg.fit(objective, {"coef": jnp.zeros(4), "intercept": 0.0}, x, y, throw=False)
    coef = np.asarray(fit.params["coef"])
    assert fit.status == lg.Status.UNIDENTIFIED
    assert "coef[0]" in fit.message and "coef[3]" in fit.message
    np.testing.assert_allclose(coef[0] + coef[3], case["sum_b0_b3"], rtol=1e-8)
    np.testing.assert_allclose(coef[1:3], case["coef_1_2"], atol=1e-8)


# ------------------------------------------------------------------ generalised linear models
@pytest.mark.parametrize(
    ("name", "model"), [("binomial_logit_birthwt", logistic_model), ("poisson_log_warpbreaks", poisson_model)]
)
def test_generalised_linear_models(name, model):
    case = load(name)
    x, y = np.array(case["X"], float)[:, 1:], np.array(case["y"], float)
    fit = lg.fit(lg.map_objective(lg.likelihood(model)), {"coef": jnp.zeros(x.shape[1]), "intercept": 0.0}, x, y)

    def digits(tree, reference):
        values = np.r_[tree["intercept"], tree["coef"]]
        return lre(values, [repr(v) for v in reference.values()])

    assert digits(fit.params, case["coef"]) >= 8.0
    # The canonical link: observed and expected information agree.
    assert digits(fit.standard_errors(), case["se_expected_information"]) >= 6.0
    assert digits(fit.standard_errors("sandwich"), case["se_sandwich_HC0"]) >= 6.0
    assert digits(fit.standard_errors("hc3"), case["se_sandwich_HC3"]) >= 6.0
    assert lre(-float(fit.value), [repr(case["loglik"])]) >= 10.0


# ------------------------------------------------------------------ posteriors
POSTERIORS = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "posteriors").glob("*.json"))}


@functools.cache
def posterior(name):
    case = POSTERIORS[name]
    model = case["log_density_function"]
    data = {key: np.asarray(v) if isinstance(v, list) else v for key, v in case["data"].items()}
    objective = lg.map_objective(lambda params: DENSITIES[model](params, data), supports=SUPPORTS[model])
    starts = [from_constrained(model, case["params"], point["constrained"]) for point in case["test_points"]]
    return case, model, objective, starts


@pytest.mark.parametrize("name", POSTERIORS)
def test_our_densities_are_those_of_the_reference(name):
    case, _, objective, starts = posterior(name)
    for start, point in zip(starts, case["test_points"], strict=True):
        np.testing.assert_allclose(-objective(start), point["logp_no_jacobian"], rtol=1e-9)


@pytest.mark.parametrize("name", [name for name, case in POSTERIORS.items() if case["map"]["status"] == "interior"])
def test_posterior_modes(name):
    case, model, objective, starts = posterior(name)
    want = np.array(list(case["map"]["params"].values()))
    errors = np.array(list(case["map"]["se_constrained_delta"].values()))
    for start in starts:
        fit = lg.fit(objective, start)
        found = constrained(model, fit.params, case["params"])
        np.testing.assert_allclose((found - want) / errors, 0.0, atol=1e-6)
        np.testing.assert_allclose(-float(fit.value), case["map"]["logp"], rtol=1e-12)
    if model != "garch11":  # whose last parameter is a share in ours
        np.testing.assert_allclose(constrained(model, fit.standard_errors(), case["params"]), errors, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, case in POSTERIORS.items() if case["map"]["status"] != "interior"])
def test_posteriors_without_a_mode_are_flagged(name):
    case, _, objective, starts = posterior(name)
    on_the_edge = case["map"]["status"].startswith("boundary")
    for start in starts:
        fit = lg.fit(objective, start, throw=False)
        assert fit.status == (lg.Status.AT_BOUNDARY if on_the_edge else lg.Status.UNBOUNDED)
        assert "tau runs to the edge" in fit.message
        assert np.isnan(fit.standard_errors()["tau"])
