"""Generalised linear models and their relatives against R: coefficients, standard errors, log-likelihoods.

Pass marks: coefficients to 8 digits, standard errors to 6, log-likelihoods to 10.
"""

import functools
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import inference, likelihoods, links, models, priors, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

HERE = pathlib.Path(__file__).parent


@functools.cache
def load(name):
    return json.loads((HERE / f"{name}.json").read_text())


def digits(found, truth):
    """Least number of right digits."""
    truth = list(truth.values()) if isinstance(truth, dict) else truth
    found, truth = np.ravel(np.asarray(found, float)), np.ravel(np.asarray(truth, float))
    return float(np.min(-np.log10(np.maximum(np.abs(found - truth) / np.abs(truth), 1e-16))))


def flat(tree):
    return np.r_[tree["intercept"], tree["coef"]]


def problem(case):
    return np.array(case["X"], float)[:, 1:], np.array(case["y"], float)


def fit_model(model, *data, **kwargs):
    """From the model's own start."""
    return lg.fit(lg.map_objective(lg.likelihood(model)), None, *data, **kwargs)


def assert_wald_intervals(fit, case):
    """Those of R: the estimate and normal quantiles of the expected information."""
    ends = np.stack([flat(end) for end in fit.interval(0.95, "expected")], axis=1)
    errors = np.array(list(case["se_expected_information"].values()))[:, None]
    # In standard errors: an end near 0 has no relative digits. R stopped at a gradient of 1e-6 for the probit link.
    np.testing.assert_allclose((ends - np.array(case["wald_ci95"])) / errors, 0.0, atol=1e-6)


@pytest.mark.slow
def test_probit_with_observed_expected_and_robust_errors():
    case = load("binomial_probit_birthwt")
    x, y = problem(case)
    fit = fit_model(models.glm(dist.Bernoulli, links.probit), x, y)
    reference = case["float64_reference"]
    assert digits(flat(fit.params), reference["coef_polished"]) >= 8
    assert digits(-float(fit.value), [case["loglik"]]) >= 10
    assert digits(flat(fit.standard_errors()), reference["se_observed_information"]) >= 6
    assert digits(flat(fit.standard_errors("expected")), reference["se_expected"]) >= 6
    # R's HC0 has the expected information as its bread; the link is not canonical, so that they differ.
    assert digits(flat(fit.standard_errors("expected_sandwich")), case["se_sandwich_HC0"]) >= 6
    assert digits(flat(fit.standard_errors("sandwich")), case["se_sandwich_HC0"]) < 3
    assert digits(flat(fit.standard_errors("hc3")), case["se_sandwich_HC3"]) >= 6
    assert digits([fit.criteria().aic, fit.criteria().bic], [case["aic"], case["bic"]]) >= 10
    assert_wald_intervals(fit, case)


@pytest.mark.slow
def test_canonical_links_have_one_information():
    case = load("binomial_logit_birthwt")
    x, y = problem(case)
    fit = fit_model(models.logistic_regression(), x, y)
    assert digits(flat(fit.params), case["float64_reference"]["coef_polished"]) >= 8
    for kind in ("observed", "expected"):
        assert digits(flat(fit.standard_errors(kind)), case["float64_reference"]["se_expected"]) >= 6
    for kind in ("sandwich", "expected_sandwich"):
        assert digits(flat(fit.standard_errors(kind)), case["se_sandwich_HC0"]) >= 6
    assert digits(flat(fit.standard_errors("hc3")), case["se_sandwich_HC3"]) >= 6
    # R's HC1 is HC0 times n / (n - p).
    n, p = len(y), len(case["columns"])
    assert digits(flat(fit.standard_errors("sandwich")) * np.sqrt(n / (n - p)), case["se_sandwich_HC1"]) >= 6
    assert_wald_intervals(fit, case)


@pytest.mark.slow
def test_gamma_with_estimated_and_with_held_dispersion():
    case = load("gamma_log_trees")
    x, y = problem(case)
    fit = fit_model(models.glm(dist.Gamma, links.log), x, y, tol=1e-16)
    assert digits(flat(fit.params), case["float64_reference"]["coef_polished"]) >= 8
    assert digits(fit.params["concentration"], [case["gamma_shape_ml"]]) >= 8
    assert digits(fit.standard_errors()["concentration"], [case["gamma_shape_se"]]) >= 6
    # R's errors have Pearson's dispersion, its log-likelihood that of the deviance.
    pearson = models.glm(dist.Gamma, links.log).pearson_dispersion(fit.params, x, y)
    assert digits(pearson, [case["dispersion_used_in_se"]]) >= 10
    held = fit_model(models.glm(dist.Gamma, links.log, dispersion=pearson), x, y)
    assert digits(flat(held.params), case["float64_reference"]["coef_polished"]) >= 8
    assert digits(flat(held.standard_errors()), case["float64_reference"]["se_observed_information"]) >= 6
    assert digits(flat(held.standard_errors("expected")), case["float64_reference"]["se_expected"]) >= 6
    assert digits(flat(held.standard_errors("expected_sandwich")), case["se_sandwich_HC0"]) >= 6
    assert_wald_intervals(held, case)
    for found in (held, fit):
        assert digits(flat(found.standard_errors("hc3")), case["se_sandwich_HC3"]) >= 6
    model = models.glm(dist.Gamma, links.log, dispersion=case["deviance"] / len(y))
    log_likelihood = -lg.map_objective(lg.likelihood(model))(held.params, x, y)
    assert digits(log_likelihood, [case["loglik"]]) >= 10


def polished_negative_binomial(x, y, beta, theta):
    r"""Mode of the negative binomial regression in extended precision: Newton steps on gradients of 18 digits.

    For counts :math:`\log\Gamma(y + \theta)/\Gamma(\theta) = \sum_{j < y}\log(\theta + j)`: no special function is
    needed, and the log-likelihood and its derivatives are sums and logarithms of ``numpy.longdouble``.

    Returns:
        Coefficients and theta, log-likelihood, scores (n, p), observed information (p, p) at that point.
    """
    x = np.c_[np.ones(len(y)), x].astype(np.longdouble)
    z = np.r_[beta, theta].astype(np.longdouble)
    j, y = np.arange(int(max(y)), dtype=np.longdouble), y.astype(np.longdouble)
    below = j < y[:, None]
    for _ in range(6):
        r = z[-1]
        mu = np.exp(x @ z[:-1])
        rising = np.where(below, 1 / (r + j), 0)
        score = np.c_[x * ((y - mu) * r / (r + mu))[:, None], rising.sum(1) - np.log1p(mu / r) + (mu - y) / (r + mu)]
        mixed = x.T @ (-(y - mu) * mu / (r + mu) ** 2)
        last = np.sum((rising**2).sum(1) - 1 / r + 2 / (r + mu) - (y + r) / (r + mu) ** 2)
        block = (x.T * (mu * r * (r + y) / (r + mu) ** 2)) @ x
        information = np.block([[block, mixed[:, None]], [mixed[None], last]])
        z = z + np.linalg.solve(information.astype(float), score.sum(0).astype(float))
    log_mass = (
        np.where(below, np.log(r + j) - np.log(j + 1), 0).sum(1) + r * np.log(r / (r + mu)) + y * np.log(mu / (r + mu))
    )
    assert np.max(np.abs(score.sum(0))) < 1e-15
    return z.astype(float), float(log_mass.sum()), score.astype(float), information.astype(float)


@pytest.mark.slow
def test_negative_binomial_with_its_concentration():
    case = load("negbin_quine")
    x, y = problem(case)
    truth, log_likelihood, scores, information = polished_negative_binomial(
        x, y, list(case["coef"].values()), case["theta"]
    )
    # The reference stopped at a gradient of 7e-8: it has 7 to 8 digits of the smallest coefficient, 0.08.
    assert case["max_abs_grad_numeric"] > 5e-8 and 7.5 < digits([*case["coef"].values(), case["theta"]], truth) < 8
    fit = fit_model(models.glm(dist.NegativeBinomial), x, y)
    assert digits(np.r_[flat(fit.params), fit.params["concentration"]], truth) >= 8
    np.testing.assert_allclose(flat(fit.params), list(case["coef"].values()), atol=5e-9)
    assert digits(fit.params["concentration"], [case["theta"]]) >= 8
    assert digits(-float(fit.value), [log_likelihood]) >= 10 and digits(log_likelihood, [case["loglik"]]) >= 10
    assert digits(-2 * float(fit.value), [case["glm_nb"]["twologlik"]]) >= 10
    assert digits(fit.criteria().aic, [case["glm_nb"]["aic"]]) >= 10

    def errors(kind):
        found = fit.standard_errors(kind)
        return np.r_[flat(found), found["concentration"]]

    inverse = np.linalg.inv(information)
    assert digits(errors("observed"), np.sqrt(np.diag(inverse))) >= 6
    assert digits(errors("observed")[:-1], case["se_joint_observed"]) >= 6
    assert digits(errors("observed")[-1] / truth[-1], [case["se_log_theta_joint"]]) >= 6
    assert digits(errors("sandwich"), np.sqrt(np.diag(inverse @ scores.T @ scores @ inverse))) >= 6
    # The expected information has no block between coefficients and concentration: R's glm.nb reports that of the
    # former, and the conditional observed one of the latter, from the iterate before its last (of four digits).
    assert digits(errors("expected")[:-1], case["glm_nb"]["se"]) >= 6
    assert digits(1 / np.sqrt(information[-1, -1]), [case["glm_nb"]["se_theta"]]) >= 5
    np.testing.assert_allclose(errors("expected")[-1], errors("observed")[-1], rtol=0.2)


def test_cox_regression_with_ties():
    case = load("cox_breslow_leuk_ties")
    x, target = np.array(case["X"], float), (np.array(case["time"], float), np.array(case["status"]))
    fit = lg.fit(lg.map_objective(likelihoods.cox_partial(ties="breslow")), None, x, target)
    assert digits(fit.params["coef"], case["float64_reference"]["coef_polished"]) >= 8
    assert digits(-float(fit.value), [case["partial_loglik"]]) >= 10
    null = lg.map_objective(likelihoods.cox_partial(ties="breslow"))({"coef": jnp.zeros(1)}, x, target)
    assert digits(-null, [case["partial_loglik_null"]]) >= 10
    assert digits(fit.standard_errors()["coef"], case["se"]) >= 6
    assert digits(fit.standard_errors("sandwich")["coef"], case["se_robust"]) >= 6
    low, high = fit.interval()
    assert digits([low["coef"][0], high["coef"][0]], case["wald_ci95"]) >= 6


@pytest.mark.slow
def test_accelerated_failure_times_with_censoring():
    case = load("survreg_weibull_ovarian")
    x, time, dead = problem({**case, "y": case["time"]}) + (np.array(case["status"]) == 1,)

    def model(p, x):
        return dist.Censored(dist.Weibull(jnp.exp(x @ p["coef"] + p["intercept"]), 1 / jnp.exp(p["log_scale"])))

    start = {"coef": jnp.zeros(2), "intercept": jnp.log(time.mean()), "log_scale": 0.0}
    objective, target = lg.map_objective(lg.likelihood(model)), (time, dead.astype(int))
    fit = lg.fit(objective, start, x, target)
    null = lg.map_objective(lg.likelihood(lambda p: dist.Censored(dist.Weibull(jnp.exp(p["a"]), jnp.exp(p["b"])))))
    null = lg.fit(null, {"a": jnp.log(time.mean()), "b": 0.0}, target)
    assert digits(-float(null.value), [case["loglik_null"]]) >= 10
    assert digits(flat(fit.params), case["coef"]) >= 8
    assert digits(jnp.exp(fit.params["log_scale"]), [case["scale"]]) >= 8
    assert digits(-float(fit.value), [case["loglik"]]) >= 10
    errors = fit.standard_errors()
    assert digits(np.r_[flat(errors), errors["log_scale"]], case["se_coef_and_logscale"]) >= 6


def test_proportional_odds():
    case = load("ordinal_logit_wine")
    x, y = np.array(case["X"], float), np.array(case["y"]) - 1
    fit = fit_model(models.ordinal_regression(5), x, y)
    assert digits(fit.params["coef"], case["coef"]) >= 8 and digits(fit.params["cutpoints"], case["zeta"]) >= 8
    assert digits(-float(fit.value), [case["loglik"]]) >= 10
    errors = fit.standard_errors()
    assert digits(np.r_[errors["cutpoints"], errors["coef"]], case["se"]) >= 6
    reach = 1.959963984540054 * np.array(list(case["se"].values()))[:4]  # each cut-point has its own interval
    for end, wanted in zip(fit.interval(), (-reach, reach), strict=True):
        assert digits(end["cutpoints"], np.array(list(case["zeta"].values())) + wanted) >= 6
    # The classes are finitely many: their expected information is a sum over them, near the observed one.
    np.testing.assert_allclose(fit.standard_errors("expected")["coef"], errors["coef"], rtol=0.02)


def test_multinomial_regression_against_a_baseline():
    case = load("multinomial_birthwt_race")
    x, y = np.array(case["X"], float)[:, 1:], np.array(case["y"]) - 1
    fit = fit_model(models.softmax_regression(3, baseline=0), x, y)
    rows = np.c_[fit.params["intercept"], fit.params["coef"].T]
    assert digits(rows, case["float64_reference"]["coef_polished"]) >= 8
    for kind in ("observed", "expected"):
        errors = fit.standard_errors(kind)
        assert digits(np.c_[errors["intercept"], errors["coef"].T], case["se"]) >= 6
    assert digits(-float(fit.value), [case["loglik"]]) >= 10


def michaelis_menten(p, x):
    return dist.Normal(p["Vm"] * x / (p["K"] + x), p["sigma"])


@pytest.mark.slow
def test_nonlinear_least_squares():
    case = load("nls_puromycin")
    x, y, start = np.array(case["x"]), np.array(case["y"], float), {"Vm": 200.0, "K": 0.1, "sigma": 10.0}
    likelihood = lg.likelihood(michaelis_menten)
    fit = lg.fit(lg.map_objective(likelihood, supports={"sigma": supports.positive}), start, x, y)
    assert digits([fit.params["Vm"], fit.params["K"]], case["float64_reference"]["coef_polished"]) >= 8
    assert digits(-float(fit.value), [case["loglik"]]) >= 10
    assert digits(fit.params["sigma"] * np.sqrt(12 / 10), [case["sigma"]]) >= 8
    held = {"Vm": None, "K": None, "sigma": dist.Fixed(case["sigma"])}
    errors = lg.fit(lg.map_objective(likelihood, held), start, x, y).standard_errors("expected")
    assert digits([errors["Vm"], errors["K"]], case["se"]) >= 6


def test_firths_estimate_is_the_mode_under_jeffreys_prior():
    case = load("firth_jeffreys_map_separable")
    x, y = problem(case)
    likelihood = lg.likelihood(models.logistic_regression())
    assert lg.fit(lg.map_objective(likelihood), None, x, y, throw=False).status == lg.Status.SEPARATED
    fit = lg.fit(lg.map_objective(likelihood, priors.Jeffreys(likelihood)), None, x, y)
    assert digits(fit.params["coef"], [case["coef"]["x"]]) >= 8
    assert abs(float(fit.params["intercept"])) < 1e-12
    assert digits(flat(fit.standard_errors("expected")), case["se"]) >= 6


@pytest.mark.slow
def test_quantile_regression_ends_in_the_vertex_of_the_reference():
    case = load("quantile_engel")
    x, y = problem(case)
    for k, q in enumerate(case["taus"]):
        fit = fit_model(models.quantile_regression(q, scale=1.0), x, y)
        assert fit.status == lg.Status.CONVERGED and float(fit.edm) <= 1e-11
        assert digits(flat(fit.params), case["coef"][k]) >= 11
        assert digits(float(fit.value) + len(y) * np.log(q * (1 - q)), [case["objective"][k]]) >= 12
        residuals = np.abs(y - x @ np.asarray(fit.params["coef"]) - float(fit.params["intercept"]))
        assert np.sum(residuals < 1e-10) == case["n_zero_residuals"][k]

    # The median last: R's errors are stored for it.
    median = fit_model(models.quantile_regression(0.5, scale=1.0), x, y)
    for kind in ("iid", "nid"):
        covariance = np.asarray(inference.quantile_covariance(median, kind))
        assert digits(np.sqrt(np.diag(covariance))[::-1], case[f"se_{kind}_tau0.5"]) >= 6
    assert np.all(np.isnan(flat(median.standard_errors())))
