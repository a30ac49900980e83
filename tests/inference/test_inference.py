"""Uncertainty: what statsmodels says where both can, inside the support always, and NaN where nothing is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(9)
N = 120
X = RNG.normal(size=(N, 3))
ETA = X @ np.array([0.8, -0.5, 0.2]) + 0.3
TARGETS = {
    "logit": (RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(float),
    "poisson": RNG.poisson(np.exp(ETA)).astype(float),
    "ols": ETA + (1 + np.abs(X[:, 0])) * RNG.normal(size=N),
}
WEIGHTS = RNG.integers(1, 4, size=N)


def logistic_model(params, x):
    return dist.Bernoulli(logits=x @ params["coef"] + params["intercept"])


def poisson_model(params, x):
    return dist.Poisson(log_rate=x @ params["coef"] + params["intercept"])


def linear_model(params, x):
    return dist.Normal(x @ params["coef"] + params["intercept"], params["sigma"])


MODELS = {"logit": logistic_model, "poisson": poisson_model, "ols": linear_model}
OBJECTIVES = {
    name: lg.map_objective(lg.likelihood(model), supports={"sigma": supports.positive} if name == "ols" else None)
    for name, model in MODELS.items()
}


def start(name, dtype=jnp.float64):
    extra = {"sigma": jnp.ones((), dtype)} if name == "ols" else {}
    return {"coef": jnp.zeros(3, dtype), "intercept": jnp.zeros((), dtype), **extra}


def fitted(name, **kwargs):
    return lg.fit(OBJECTIVES[name], start(name), X, TARGETS[name], **kwargs)


def flat(tree):
    """Intercept first, as statsmodels has it."""
    return np.r_[tree["intercept"], tree["coef"]]


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    sm = pytest.importorskip("statsmodels.api")
    x, y = sm.add_constant(X), TARGETS[request.param]
    reference = {
        "logit": lambda: sm.Logit(y, x).fit(disp=0, tol=1e-14, cov_type="nonrobust"),
        "poisson": lambda: sm.Poisson(y, x).fit(disp=0, tol=1e-14),
        "ols": lambda: sm.OLS(y, x).fit(),
    }[request.param]()
    return request.param, fitted(request.param), reference, x


def test_estimates_errors_and_likelihood_agree_with_statsmodels(pair):
    name, fit, reference, _ = pair
    np.testing.assert_allclose(flat(fit.params), reference.params, atol=1e-8)
    np.testing.assert_allclose(-float(fit.value), reference.llf, rtol=1e-10)
    # With sigma at its maximum-likelihood value, RSS / n instead of RSS / (n - p).
    factor = np.sqrt((N - 4) / N) if name == "ols" else 1.0
    np.testing.assert_allclose(flat(fit.standard_errors()), reference.bse * factor, rtol=1e-7)
    low, high = fit.interval(0.9)
    z = scipy.stats.norm.ppf(0.95)
    np.testing.assert_allclose(flat(low), reference.params - z * reference.bse * factor, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(flat(high), reference.params + z * reference.bse * factor, rtol=1e-6, atol=1e-8)


def test_the_sandwich_is_hc0(pair):
    name, fit, reference, x = pair
    scores = {
        "logit": lambda: (TARGETS[name] - reference.predict())[:, None] * x,
        "poisson": lambda: (TARGETS[name] - reference.predict())[:, None] * x,
        "ols": lambda: reference.resid[:, None] * x,
    }[name]()
    bread = reference.normalized_cov_params
    hc0 = np.sqrt(np.diag(bread @ scores.T @ scores @ bread))
    np.testing.assert_allclose(flat(fit.standard_errors("sandwich")), hc0, rtol=1e-6)
    if name == "ols":
        np.testing.assert_allclose(hc0, reference.HC0_se, rtol=1e-10)


@pytest.mark.parametrize("cov", ["observed", "opg", "sandwich", "hc3"])
def test_weights_count_observations(cov):
    x, y = np.repeat(X, WEIGHTS, axis=0), np.repeat(TARGETS["logit"], WEIGHTS)
    weighted, replicated = fitted("logit", weights=WEIGHTS), lg.fit(OBJECTIVES["logit"], start("logit"), x, y)
    np.testing.assert_allclose(weighted.covariance(cov), replicated.covariance(cov), rtol=1e-7, atol=1e-12)


def test_the_three_covariances_agree_when_the_model_is_right_and_n_is_large():
    rng = np.random.default_rng(0)
    y = rng.normal(size=40_000)
    fit = lg.fit(
        lg.map_objective(lambda p, y: dist.Normal(p["m"], p["s"]).log_prob(y), supports={"s": supports.positive}),
        {"m": jnp.asarray(0.0), "s": jnp.asarray(1.0)},
        y,
    )
    want = float(fit.params["s"]) / np.sqrt(len(y)) * np.array([1.0, 1 / np.sqrt(2)])
    for cov in ("observed", "opg", "sandwich"):
        errors = fit.standard_errors(cov)
        # Fourth moments of 40000 draws: about 1 %.
        np.testing.assert_allclose([errors["m"], errors["s"]], want, rtol=1e-9 if cov == "observed" else 0.02)


def test_the_covariance_is_that_of_the_users_coordinates():
    fit = fitted("ols")
    hessian = jax.hessian(lambda p: OBJECTIVES["ols"](p, X, TARGETS["ols"]))(fit.params)
    names = ["coef", "intercept", "sigma"]
    blocks = [
        [np.reshape(hessian[a][b], (np.size(fit.params[a]), np.size(fit.params[b]))) for b in names] for a in names
    ]
    np.testing.assert_allclose(fit.covariance(), np.linalg.inv(np.block(blocks)), rtol=1e-7, atol=1e-12)
    matrix = np.asarray(fit.covariance())
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    errors = np.concatenate([np.ravel(fit.standard_errors()[name]) for name in names])
    np.testing.assert_allclose(np.sqrt(np.diag(matrix)), errors, rtol=1e-12)


def test_a_prior_adds_its_curvature_and_leaves_the_scores_alone():
    prior = {"coef": dist.Normal(0.0, 0.5), "intercept": dist.Flat()}
    fit = lg.fit(lg.map_objective(lg.likelihood(logistic_model), prior), start("logit"), X, TARGETS["logit"])
    x = np.c_[X, np.ones(N)]
    p = 1 / (1 + np.exp(-x @ np.r_[fit.params["coef"], fit.params["intercept"]]))
    bread = np.linalg.inv((x.T * (p * (1 - p))) @ x + np.diag([4.0, 4.0, 4.0, 0.0]))
    np.testing.assert_allclose(fit.covariance(), bread, rtol=1e-8, atol=1e-12)
    meat = (x.T * (TARGETS["logit"] - p) ** 2) @ x
    np.testing.assert_allclose(fit.covariance("sandwich"), bread @ meat @ bread, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(fit.covariance("opg"), np.linalg.inv(meat), rtol=1e-7, atol=1e-12)


# ------------------------------------------------------------------ intervals
def test_intervals_stay_inside_supports_and_are_ordered():
    y = np.array([0.9, 1.1, 3.0])
    objective = lg.map_objective(
        lambda p, y: dist.Normal(p["m"], p["s"]).log_prob(y) + jnp.log(p["q"]) / 3 + jnp.log1p(-p["q"]),
        supports={"s": supports.positive, "q": supports.unit_interval},
    )
    fit = lg.fit(objective, {"m": jnp.asarray(0.0), "s": jnp.asarray(1.0), "q": jnp.asarray(0.5)}, y)
    for level in (0.5, 0.95, 1 - 1e-9):
        low, high = fit.interval(level)
        assert 0 < low["s"] < fit.params["s"] < high["s"]
        assert 0 < low["q"] < fit.params["q"] < high["q"] < 1
        # Symmetric in the logarithm.
        np.testing.assert_allclose(low["s"] * high["s"], fit.params["s"] ** 2, rtol=1e-12)
        np.testing.assert_allclose(low["m"] + high["m"], 2 * fit.params["m"], rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.5, np.nan])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValueError, match="level"):
        fitted("logit").interval(level)


# ------------------------------------------------------------------ what is not known
def test_coefficients_on_their_kink_have_no_errors_and_the_others_are_conditional():
    model = lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], 1.0))
    fit = lg.fit(
        lg.map_objective(model, {"coef": dist.Laplace(0.0, 1 / 50)}), {"coef": jnp.zeros(3)}, X, TARGETS["ols"]
    )
    active = np.asarray(fit.params["coef"]) != 0
    assert 0 < active.sum() < 3
    errors = np.asarray(fit.standard_errors()["coef"])
    assert np.all(np.isnan(errors[~active]))
    # A Laplace prior is straight off its kink: the curvature is the likelihood's.
    want = np.sqrt(np.diag(np.linalg.inv(X[:, active].T @ X[:, active])))
    np.testing.assert_allclose(errors[active], want, rtol=1e-9)
    assert "at the kink" in str(fit.summary())


def test_outer_products_of_fewer_scores_than_parameters_have_no_inverse():
    x, y = RNG.normal(size=(5, 10)), RNG.normal(size=5)
    model = lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], 1.0))
    fit = lg.fit(lg.map_objective(model, {"coef": dist.Normal(0.0, 1.0)}), {"coef": jnp.zeros(10)}, x, y)
    assert np.all(np.isnan(fit.standard_errors("opg")["coef"]))
    assert np.all(np.isfinite(fit.standard_errors()["coef"]))
    assert np.all(np.isfinite(fit.standard_errors("sandwich")["coef"]))


def test_one_dependent_unit_has_no_scores_to_compare():
    fit = lg.fit(lg.map_objective(lambda p, y: jnp.sum(dist.Normal(p["m"], 1.0).log_prob(y))), {"m": 0.0}, X[:, 0])
    np.testing.assert_allclose(fit.standard_errors()["m"], 1 / np.sqrt(N), rtol=1e-10)
    for cov in ("sandwich", "opg"):
        with pytest.raises(ValueError, match="one term"):
            fit.standard_errors(cov)


def test_a_pseudo_likelihood_has_sandwich_errors_only():
    def minus_squared_hinge(params, x, y):
        margin = (2 * y - 1) * (x @ params["coef"] + params["intercept"])
        return -(jnp.maximum(0.0, 1 - margin) ** 2)

    fit = lg.fit(lg.map_objective(lg.pseudo_likelihood(minus_squared_hinge)), start("logit"), X, TARGETS["logit"])
    for cov in ("observed", "opg"):
        with pytest.raises(ValueError, match="(?i)sandwich"):
            fit.standard_errors(cov)
    assert np.all(np.isfinite(fit.standard_errors("sandwich")["coef"]))
    text = str(fit.summary())
    assert "pseudo" in text and "sandwich" in text


def test_an_unknown_covariance_is_refused():
    with pytest.raises(ValueError, match=r"cov must be.*'hc2'"):
        fitted("logit").standard_errors("hc2")


@pytest.mark.parametrize("steps", [0, 1])
def test_nothing_is_known_before_convergence(steps):
    fit = fitted("ols", max_steps=steps, throw=False)
    for cov in ("observed", "opg", "sandwich"):
        assert np.all(np.isnan(fit.covariance(cov)))
    low, high = fit.interval()
    assert np.all(np.isnan(flat(low))) and np.all(np.isnan(flat(high)))
    assert "nan" in str(fit.summary())


def test_float32_errors_are_float32_and_right():
    fit = lg.fit(
        OBJECTIVES["poisson"],
        start("poisson", jnp.float32),
        X.astype(np.float32),
        TARGETS["poisson"].astype(np.float32),
    )
    errors = fit.standard_errors()
    assert errors["coef"].dtype == jnp.float32
    np.testing.assert_allclose(flat(errors), flat(fitted("poisson").standard_errors()), rtol=1e-3)


def test_from_params_is_the_same_inference():
    fit = fitted("poisson", weights=WEIGHTS)
    other = lg.Fit.from_params(OBJECTIVES["poisson"], fit.params, X, TARGETS["poisson"], weights=WEIGHTS)
    for cov in ("observed", "opg", "sandwich"):
        np.testing.assert_allclose(other.covariance(cov), fit.covariance(cov), rtol=1e-8)
    assert other.status == lg.Status.CONVERGED


# ------------------------------------------------------------------ the table
def test_the_summary_says_everything_once():
    fit = fitted("ols")
    text = str(fit.summary(level=0.9))
    for word in (
        "coef[0]",
        "coef[2]",
        "intercept",
        "sigma",
        "CONVERGED",
        "EDM",
        "90 %",
        "log-likelihood",
        "log-prior",
        "nats",
    ):
        assert word in text
    assert f"{float(fit.params['sigma']):.6g}" in text
    assert f"{-float(fit.value):.6f}" in text
    assert f"{float(fit.standard_errors()['coef'][1]):.6g}" in text
    assert text.count("coef[1]") == 1
    assert str(N) in text and "Newton" in text
    widths = {len(line) for line in text.splitlines() if set(line) == {"-"}}
    assert len(widths) == 1


def test_the_summary_counts_weighted_log_likelihood():
    fit = fitted("logit", weights=WEIGHTS)
    assert f"{-float(fit.value):.6f}" in str(fit.summary())


def test_names_are_escaped_in_html():
    name = "<b>&rate"
    fit = lg.fit(lg.map_objective(lambda p, y: dist.Normal(p[name], 1.0).log_prob(y)), {name: 0.0}, X[:, 0])
    html = fit.summary()._repr_html_()
    assert "&lt;b&gt;&amp;rate" in html and "<b>" not in html
    assert html.count("<table>") == html.count("</table>") and "std. error" in html


def test_a_long_table_is_cut_and_says_so():
    model = lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], 1.0))
    x = RNG.normal(size=(200, 100))
    fit = lg.fit(lg.map_objective(model), {"coef": jnp.zeros(100)}, x, RNG.normal(size=200))
    text = str(fit.summary())
    assert "coef[0]" in text and "coef[99]" not in text and "40 more" in text
    assert len(fit.summary().rows) == 100
