"""The geometry of a fit against statsmodels, against its own theorems, and against what it must refuse."""

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import geometry as geo
from lossgeo import links, models

sm = pytest.importorskip("statsmodels.api")
pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
DESIGN = np.column_stack([np.ones(N), X])
ETA = 0.3 + X @ np.array([0.8, -0.5, 0.0])
BINARY = (RNG.random(N) < 1 / (1 + np.exp(-ETA))).astype(float)
COUNTS = RNG.poisson(np.exp(ETA)).astype(float)
AMOUNTS = RNG.gamma(2.0, np.exp(ETA) / 2)
WEIGHTS = RNG.integers(1, 4, size=N).astype(float)


def geometry(model, y, prior=None, weights=None, throw=True):
    fit = lg.fit(lg.map_objective(lg.likelihood(model), prior), None, X, y, weights=weights, throw=throw)
    return fit, lg.geometry_of(fit)


PROBIT = sm.families.Binomial(sm.families.links.Probit())
SLOW = pytest.mark.slow
GLMS = {
    "logit": (models.logistic_regression(), BINARY, sm.families.Binomial(), True),
    "probit": (
        models.glm(dist.Bernoulli, links.probit),
        BINARY,
        sm.families.Binomial(sm.families.links.Probit()),
        False,
    ),
    "Poisson": (models.poisson_regression(), COUNTS, sm.families.Poisson(), True),
    "gamma, log link": (models.glm(dist.Gamma, links.log), AMOUNTS, sm.families.Gamma(sm.families.links.Log()), False),
}


@pytest.mark.parametrize(
    "name", ["logit", pytest.param("probit", marks=SLOW), pytest.param("Poisson", marks=SLOW), "gamma, log link"]
)
def test_glm_against_statsmodels_and_pythagoras(name):
    model, y, family, canonical = GLMS[name]
    fit, found = geometry(model, y, weights=WEIGHTS)
    theirs = sm.GLM(y, DESIGN, family=family, freq_weights=WEIGHTS).fit(tol=1e-15, maxiter=100)
    weight = family.weights(theirs.mu) * WEIGHTS
    root = np.sqrt(weight)[:, None] * DESIGN
    np.testing.assert_allclose(found.leverage, geo.leverage(root), rtol=1e-6)
    np.testing.assert_allclose(found.effective_degrees_of_freedom, 4, rtol=1e-12)
    hat = found.hat_matrix()
    np.testing.assert_allclose(hat @ hat, hat, atol=1e-13)
    deviance, dispersion = found.deviance, 1.0
    if name == "gamma, log link":
        dispersion = 1 / float(fit.params["concentration"])
    np.testing.assert_allclose(deviance.residual * dispersion, theirs.deviance, rtol=1e-9)
    np.testing.assert_allclose(deviance.null * dispersion, theirs.null_deviance, rtol=1e-9)
    np.testing.assert_allclose(deviance.null, deviance.residual + deviance.explained + deviance.gap, rtol=1e-12)
    assert deviance.is_canonical is canonical
    assert ("(canonical link)" in str(found)) is canonical and f"observations                  {len(y)}" in str(found)
    if canonical:  # exact to the rounding of the fit
        assert abs(deviance.gap) < 1e-8 * deviance.null
    else:
        assert abs(deviance.gap) > 1e-4 * deviance.null
    np.testing.assert_allclose(found.mean, theirs.mu, rtol=1e-6)


def test_the_metric_is_the_expected_information():
    fit, found = geometry(models.logistic_regression(), BINARY)
    # Canonical: expected and observed information are one, and so is the inverse of the covariance.
    np.testing.assert_allclose(np.linalg.inv(found.fisher), fit.covariance(), rtol=1e-9)
    _, normal = geometry(models.linear_regression(), AMOUNTS)
    scale = float(lg.fit(lg.map_objective(lg.likelihood(models.linear_regression())), None, X, AMOUNTS).params["scale"])
    np.testing.assert_allclose(normal.fisher[-1, -1], 2 * N / scale**2, rtol=1e-9)  # scale, which H leaves out
    np.testing.assert_allclose(normal.effective_degrees_of_freedom, 4, rtol=1e-12)


@SLOW
def test_longley_keeps_its_digits():
    data = sm.datasets.longley.load_pandas()
    x, y = np.asarray(data.exog, float), np.asarray(data.endog, float)
    prior = {"coef": dist.Flat(), "intercept": dist.Flat(), "scale": dist.Fixed(300.0)}
    objective = lg.map_objective(lg.likelihood(models.linear_regression()), prior)
    fit = lg.fit(objective, {"coef": jnp.zeros(6), "intercept": 0.0, "scale": 300.0}, x, y)
    found = lg.geometry_of(fit)
    centered = x - x.mean(0)  # the same column space, with a condition number that any method stands
    exact = np.linalg.qr(np.column_stack([np.ones(16), centered / centered.std(0)]))[0]
    np.testing.assert_allclose(found.leverage, np.sum(exact**2, axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.effective_degrees_of_freedom, 7, rtol=1e-13)
    design = np.column_stack([np.ones(16), centered])
    np.testing.assert_allclose(found.deviance.r_squared, geo.sums_of_squares(design, y).r_squared, rtol=1e-9)
    assert abs(found.deviance.gap) < 1e-8 * found.deviance.null


@SLOW
def test_ridge_is_a_smoother_with_fewer_degrees_of_freedom():
    prior = {"coef": dist.Normal(0.0, 0.3), "intercept": dist.Fixed(0.0), "scale": dist.Fixed(0.7)}
    objective = lg.map_objective(lg.likelihood(models.linear_regression()), prior)
    y = AMOUNTS - AMOUNTS.mean()
    found = lg.geometry_of(lg.fit(objective, {"coef": jnp.zeros(3), "intercept": 0.0, "scale": 0.7}, X, y))
    penalty = 0.7**2 / 0.3**2
    np.testing.assert_allclose(found.hat_matrix(), geo.ridge_smoother(X, penalty), atol=1e-13)
    np.testing.assert_allclose(
        found.effective_degrees_of_freedom, geo.effective_degrees_of_freedom(X, penalty), rtol=1e-12
    )
    assert abs(found.deviance.gap) > 0.1  # a shrunk fit leaves part of itself in the residuals


def test_a_prior_that_is_not_log_concave_at_the_fit():
    prior = {"coef": dist.StudentT(1.0, 0.0, 0.1), "intercept": dist.Flat(), "scale": dist.Fixed(0.5)}
    objective = lg.map_objective(lg.likelihood(models.linear_regression()), prior)
    init = {"coef": jnp.array([0.8, -0.5, 0.0]), "intercept": 0.3, "scale": 0.5}
    fit = lg.fit(objective, init, X, ETA + 0.1 * X[:, 2])
    found = lg.geometry_of(fit)
    assert np.min(np.linalg.eigvalsh(found.penalty[:4, :4])) < 0
    root = np.column_stack([X, np.ones(N)]) / 0.5
    textbook = root @ np.linalg.solve(root.T @ root + found.penalty[:4, :4], root.T)
    np.testing.assert_allclose(found.hat_matrix(), textbook, atol=1e-12)


def test_the_degrees_of_freedom_of_a_lasso_are_its_nonzero_coefficients():
    prior = {"coef": dist.Laplace(0.0, 0.12), "intercept": dist.Flat()}
    objective = lg.map_objective(lg.likelihood(models.logistic_regression()), prior)
    fit = lg.fit(objective, None, X, BINARY)
    kept = int(np.sum(np.asarray(fit.params["coef"]) != 0))
    assert 0 < kept < 3
    np.testing.assert_allclose(lg.geometry_of(fit).effective_degrees_of_freedom, kept + 1, rtol=1e-12)


def test_classes_are_rows_of_vectors_and_the_gauge_takes_no_part():
    labels = np.argmax(DESIGN @ RNG.normal(size=(4, 3)) + RNG.gumbel(size=(N, 3)) * 2, axis=1)
    fit, found = geometry(models.softmax_regression(3), labels, throw=False)
    assert fit.status is lg.Status.UNIDENTIFIED  # by the gauge of softmax
    np.testing.assert_allclose(found.effective_degrees_of_freedom, 2 * 4, rtol=1e-9)
    hat = found.hat_matrix()
    assert hat.shape == (3 * N, 3 * N)
    np.testing.assert_allclose(hat @ hat, hat, atol=1e-12)
    assert abs(found.deviance.gap) < 1e-7 * found.deviance.null
    theirs = sm.MNLogit(labels, DESIGN).fit(disp=0, tol=1e-14)
    np.testing.assert_allclose(found.deviance.residual, -2 * theirs.llf, rtol=1e-9)


@SLOW
def test_grouped_and_single_trials_explain_the_same():
    groups, trials = X[:10], np.array([3.0, 5, 2, 4, 6, 3, 5, 4, 2, 6])
    successes = np.array([1.0, 4, 0, 2, 3, 3, 1, 2, 1, 5])

    def grouped(params, x, total):
        return dist.Binomial(total, logits=x @ params["coef"] + params["intercept"])

    init = {"coef": jnp.zeros(3), "intercept": 0.0}
    one = lg.geometry_of(lg.fit(lg.map_objective(lg.likelihood(grouped)), init, groups, trials, successes))
    x = np.concatenate([groups, groups])
    y, w = np.repeat([1.0, 0.0], 10), np.concatenate([successes, trials - successes])
    single = lg.geometry_of(
        lg.fit(lg.map_objective(lg.likelihood(models.logistic_regression())), init, x, y, weights=w)
    )
    np.testing.assert_allclose(one.deviance.explained, single.deviance.explained, rtol=1e-9)
    np.testing.assert_allclose(one.fisher, single.fisher, rtol=1e-9)
    np.testing.assert_allclose(one.leverage, single.leverage[:10] + single.leverage[10:], rtol=1e-9)
    # Grouping takes the same constant from both: the deviance of the trials within groups.
    within = single.deviance.residual - one.deviance.residual
    np.testing.assert_allclose(single.deviance.null - one.deviance.null, within, rtol=1e-9)


@SLOW
def test_other_distributions_have_a_hat_matrix_and_no_deviance():
    def model(params, x):
        return dist.StudentT(4.0, x @ params["coef"], params["scale"])

    prior = {"coef": dist.Flat(), "scale": dist.Flat(lg.supports.positive)}
    objective = lg.map_objective(lg.likelihood(model), prior)
    found = lg.geometry_of(lg.fit(objective, {"coef": jnp.zeros(3), "scale": 1.0}, X, ETA + RNG.standard_t(4, N)))
    assert found.deviance is None and found.natural is None
    np.testing.assert_allclose(found.effective_degrees_of_freedom, 4, rtol=1e-10)  # all parameters, the scale too
    np.testing.assert_allclose(jnp.sum(found.leverage), 4, rtol=1e-10)


def test_what_it_refuses():
    bare = lg.map_objective(lambda params, x: -0.5 * (x - params["a"]) ** 2)
    fit = lg.fit(bare, {"a": 0.0}, X[:, 0])
    with pytest.raises(ValueError, match="model that returns a distribution"):
        lg.geometry_of(fit)
    objective = lg.map_objective(lg.likelihood(models.logistic_regression()))
    elsewhere = lg.Fit.from_params(objective, {"coef": jnp.ones(3), "intercept": 0.0}, X, BINARY)
    found = lg.geometry_of(elsewhere)
    assert np.all(np.isnan(found.leverage)) and np.isnan(found.deviance.gap)  # not at an optimum: no numbers
