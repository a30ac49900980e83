"""Round trips: the objective of an estimator has its solution, and the estimator of an objective is that estimator."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import dictionary, links, losses, models, supports
from lossgeo import distributions as dist

pytest.importorskip("sklearn")
pytest.importorskip("scipy")
from scipy import optimize
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.svm import SVC, LinearSVC

pytestmark = [
    pytest.mark.usefixtures("fast_compilation"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

N, D = 50, 3
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, D)) * np.array([1.0, 2.0, 0.5])
ETA = X @ np.array([1.0, -0.4, 1.2]) + 0.3
Y = ETA + 0.6 * RNG.standard_t(3, size=N)
LABELS = (RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(int)
KINDS = np.argmax(np.stack([ETA, 0.5 * X[:, 1], 0 * ETA]) + RNG.gumbel(size=(3, N)), axis=0)
COUNTS = RNG.poisson(np.exp(0.4 * ETA))
AMOUNTS = RNG.gamma(3, np.exp(0.4 * ETA) / 3)
WEIGHTS = RNG.integers(1, 4, size=N).astype(float)
TIGHT = {"tol": 1e-12, "max_iter": 200_000}
CHOLESKY = {"solver": "newton-cholesky", **TIGHT}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


SMOOTH = [
    slow(LinearRegression(), Y, None),
    (Ridge(alpha=2.5), Y, WEIGHTS),
    slow(Ridge(alpha=2.5, fit_intercept=False), Y, None),
    slow(Lasso(alpha=0.3, **TIGHT), Y, None),
    (ElasticNet(alpha=0.3, l1_ratio=0.4, **TIGHT), Y, WEIGHTS),
    slow(LogisticRegression(C=0.7, **CHOLESKY), LABELS, WEIGHTS),
    slow(LogisticRegression(C=0.3, l1_ratio=0.4, solver="saga", **TIGHT), LABELS, None),
    (LogisticRegression(C=0.7, l1_ratio=1, solver="liblinear", intercept_scaling=3.0, **TIGHT), LABELS, None),
    slow(LogisticRegression(C=0.7, solver="liblinear", intercept_scaling=3.0, **TIGHT), LABELS, WEIGHTS),
    slow(LogisticRegression(C=np.inf, **CHOLESKY), LABELS, None),
    (LogisticRegression(C=0.7, **CHOLESKY), KINDS, None),
    slow(LogisticRegression(C=np.inf, **CHOLESKY), KINDS, None),
    slow(LogisticRegression(C=0.3, l1_ratio=1, solver="saga", **TIGHT), KINDS, WEIGHTS),
    slow(LogisticRegression(C=0.7, fit_intercept=False, **CHOLESKY), KINDS, None),
    (PoissonRegressor(alpha=0.2, **CHOLESKY), COUNTS, WEIGHTS),
    slow(GammaRegressor(alpha=0.2, **CHOLESKY), AMOUNTS, None),
    slow(TweedieRegressor(alpha=0.2, power=1.5, link="log", **CHOLESKY), COUNTS.astype(float), WEIGHTS),
    (LinearSVC(C=0.5, intercept_scaling=2.0, dual=False, **TIGHT), LABELS, None),
    slow(LinearSVC(C=0.5, penalty="l1", dual=False, intercept_scaling=2.0, **TIGHT), LABELS, WEIGHTS),
    slow(RidgeClassifier(alpha=3.0), LABELS, WEIGHTS),
    slow(BayesianRidge(tol=1e-12), Y, None),
]
HOW = {"C", "alpha", "l1_ratio", "fit_intercept", "intercept_scaling", "quantile", "epsilon", "power", "loss", "link"}


def label(value):
    return str(value) if hasattr(value, "get_params") else ("weighted" if value is WEIGHTS else "")


def returns(objective, estimator, y, weights):
    """The estimator of the objective of an estimator is that estimator, to rounding."""
    back = lg.to_sklearn(objective, X, y, weights=weights)
    assert type(back) is type(estimator) and not hasattr(back, "coef_")
    for name, value in estimator.get_params().items():
        if name in HOW:
            wanted = value if isinstance(value, str | bool) else pytest.approx(value, rel=1e-13)
            assert back.get_params()[name] == wanted, name


@pytest.mark.parametrize("estimator, y, weights", SMOOTH, ids=label)
def test_round_trip_and_stationarity_at_their_solution(estimator, y, weights):
    estimator.fit(X, y, sample_weight=weights)
    objective = lg.from_sklearn(estimator, X, y, weights=weights)
    params = dictionary.sklearn_params(estimator, objective)
    start = objective.likelihood.init(X, y)
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, params)
    slope = jax.grad(lambda p: objective(p, X, y, weights=weights))(params)
    kinks = objective.prior.kinks(params)
    kinks = [np.zeros(np.shape(leaf)) for leaf in jax.tree.leaves(params)] if kinks is None else [k[1] for k in kinks]
    away = jax.grad(lambda p: objective(p, X, y, weights=weights))(start)
    unit = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(away))
    # On a kink the slope of the rest may be as steep as the kink is strong.
    for g, w, strength in zip(jax.tree.leaves(slope), jax.tree.leaves(params), kinks, strict=True):
        excess = np.where(np.asarray(w) == 0, np.maximum(np.abs(g) - strength, 0), np.abs(g))
        assert np.max(excess) < 1e-10 * unit
    if type(estimator) is BayesianRidge:  # a Ridge whose strength it has found
        estimator = Ridge(alpha=estimator.lambda_ / estimator.alpha_)
    returns(objective, estimator, y, weights)


KINKED = [
    (QuantileRegressor(alpha=0.05, quantile=0.3), Y, WEIGHTS),
    slow(QuantileRegressor(alpha=0.0, quantile=0.5), Y, None),
    slow(LinearSVC(C=0.5, loss="hinge", intercept_scaling=2.0, tol=1e-8, max_iter=2_000_000), LABELS, None),
    slow(SVC(kernel="linear", C=0.5, tol=1e-12), LABELS, WEIGHTS),
]


@pytest.mark.parametrize("estimator, y, weights", KINKED, ids=label)
def test_kinked_losses_have_a_subgradient_of_zero_at_their_solution(estimator, y, weights):
    estimator.fit(X, y, sample_weight=weights)
    objective = lg.from_sklearn(estimator, X, y, weights=weights)
    params = dictionary.sklearn_params(estimator, objective)
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    share = np.ones(N) if weights is None else weights
    # Slopes of the rows a little to either side, exact for piecewise linear losses; their solvers stop within 1e-5.
    h = 1e-5
    terms = {
        k: -np.asarray(objective.log_likelihood({**params, "intercept": params["intercept"] + k * h}, X, y))
        for k in (-2, -1, 1, 2)
    }
    sides = np.sort(np.stack([(terms[-1] - terms[-2]) / h, (terms[2] - terms[1]) / h]) * share, axis=0)
    prior = np.asarray(jax.flatten_util.ravel_pytree(jax.grad(objective.log_prior)(params))[0])
    kink = objective.prior.kinks(params)
    strength = np.zeros(D + 1) if kink is None else np.asarray(jax.flatten_util.ravel_pytree([k[1] for k in kink])[0])
    strength = np.where(np.abs(flat) < 1e-12, strength, 0.0)
    design = np.column_stack([X, np.ones(N)])  # coef comes before intercept
    # The least t with |design' s - prior + u| <= t, s between the sides of its row, u within the kinks of the prior.
    rows, size = np.hstack([design.T, np.eye(D + 1)]), N + D + 1
    upper = np.vstack([np.hstack([rows, -np.ones((D + 1, 1))]), np.hstack([-rows, -np.ones((D + 1, 1))])])
    bounds = [*zip(*sides, strict=True), *zip(-strength, strength, strict=True), (0, None)]
    found = optimize.linprog(np.eye(size + 1)[-1], upper, np.concatenate([prior, -prior]), bounds=bounds)
    assert found.success and found.fun < 1e-5 * np.max(np.abs(design.T @ sides[1]))
    assert np.sum(sides[0] < sides[1] - 1e-6) >= 1  # the solution does rest on kinks of the loss
    returns(objective, estimator, y, weights)
    assert unflatten(flat).keys() == params.keys()


@pytest.mark.slow
@pytest.mark.parametrize("estimator, y", [(QuantileRegressor(alpha=0.05, quantile=0.3), Y),
                                          (SVC(kernel="linear", C=0.5, tol=1e-10), LABELS)], ids=label)  # fmt: skip
def test_kinked_losses_are_fitted_to_their_solution(estimator, y):
    theirs = dictionary.sklearn_params(estimator.fit(X, y, sample_weight=WEIGHTS))
    fit = lg.fit(lg.from_sklearn(estimator, X, y, weights=WEIGHTS), None, X, y, weights=WEIGHTS)
    for name in ("coef", "intercept"):
        np.testing.assert_allclose(fit.params[name], theirs[name], atol=1e-5)
    assert -1e-9 < float(fit.objective(theirs, X, y, weights=WEIGHTS) - fit.value) < 1e-5


@pytest.mark.slow
def test_hubers_regressor_estimates_its_scale_jointly_and_is_no_density():
    estimator = HuberRegressor(alpha=0.5, epsilon=1.5, tol=1e-8, max_iter=10_000).fit(X, Y, sample_weight=WEIGHTS)
    objective = lg.from_sklearn(estimator, X, Y, weights=WEIGHTS)
    assert not objective.likelihood.is_density
    theirs = dictionary.sklearn_params(estimator)
    fit = lg.fit(objective, None, X, Y, weights=WEIGHTS)
    # Its optimiser stops by the relative change of its value, some 1e-9: a millionth of a nat here, never less than 0.
    excess = float(objective(theirs, X, Y, weights=WEIGHTS) - fit.value)
    assert 0 <= excess < 1e-6
    for name in ("coef", "intercept", "scale"):
        np.testing.assert_allclose(fit.params[name], theirs[name], rtol=3e-4)
    returns(objective, estimator, Y, WEIGHTS)


def _plain(params, x):
    return dist.Normal(x @ params["w"] + params["b"], params["sigma"])


def test_a_plain_function_with_an_estimated_scale_is_held_at_its_estimate():
    prior = {"w": dist.Laplace(0.0, 0.1), "b": dist.Flat(), "sigma": dist.Flat(supports.positive)}
    objective = lg.map_objective(lg.likelihood(_plain), prior)
    params = {"w": jnp.zeros(D), "b": 0.1, "sigma": 0.7}
    lasso = lg.to_sklearn(objective, X, Y, params=params)
    assert type(lasso) is Lasso and lasso.alpha == pytest.approx(0.49 / (N * 0.1), rel=1e-12)
    call = lg.to_glmnet(objective, X, Y, params=params)
    assert call.arguments["lambda"] == pytest.approx(lasso.alpha, rel=1e-12) and "scale of params" in call.notes[0]


def test_an_estimated_scale_without_its_estimate_is_refused():
    prior = {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat(), "scale": dist.Flat(supports.positive)}
    objective = lg.map_objective(lg.likelihood(models.linear_regression()), prior)
    with pytest.raises(ValueError, match=r"params=fit\.params"):
        lg.to_sklearn(objective, X, Y)


def gaussian_glmnet_slope(call, x, y, coef, intercept):
    """Gradient of what glmnet's Fortran minimises: the target scaled to unit variance, and the solution back."""
    a, size = call.arguments, np.std(y)
    strength, factor = a["lambda"] / size, np.asarray(a.get("penalty.factor", 1.0))
    w, b = coef / size, intercept / size
    residual = x @ w + b - y / size
    smooth = x.T @ residual / len(y) + strength * (1 - a["alpha"]) * factor * w
    return smooth + strength * a["alpha"] * factor * np.sign(w), np.mean(residual)


def test_the_ridge_part_of_glmnet_is_divided_by_the_spread_of_the_target():
    # A reference minimisation of the objective that its source states, not a run of R.
    width = np.array([0.2, 0.4, 0.3])
    prior = {"coef": dist.Normal(0.0, width), "intercept": dist.Flat()}
    objective = lg.map_objective(lg.likelihood(models.glm(dist.Normal, dispersion=0.49)), prior)
    call = lg.to_glmnet(objective, X, Y)
    centered = X - X.mean(axis=0)
    coef = np.linalg.solve(centered.T @ centered + 0.49 * np.diag(width**-2), centered.T @ (Y - Y.mean()))
    slope, free = gaussian_glmnet_slope(call, X, Y, coef, Y.mean() - X.mean(axis=0) @ coef)
    assert np.max(np.abs(slope)) < 1e-14 and abs(free) < 1e-14
    assert np.mean(call.arguments["penalty.factor"]) == pytest.approx(1.0)  # which glmnet scales them to
    assert 'family = "gaussian", alpha = 0.0' in str(call) and "standardize = FALSE" in str(call)
    assert call.run is None and "penalty.factor = c(" in call.call


def test_an_elastic_net_in_glmnet():
    estimator = ElasticNet(alpha=0.1, l1_ratio=0.4, **TIGHT).fit(X, Y)
    call = lg.to_glmnet(lg.from_sklearn(estimator, X, Y), X, Y)
    slope, free = gaussian_glmnet_slope(call, X, Y, estimator.coef_, estimator.intercept_)
    assert np.all(estimator.coef_ != 0) and np.max(np.abs(slope)) < 1e-12 and abs(free) < 1e-12
    a1, a2 = 0.04, 0.06 * np.std(Y)
    assert call.arguments["lambda"] == pytest.approx(a1 + a2) and call.arguments["alpha"] == pytest.approx(
        a1 / (a1 + a2)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator, y, family",
    [
        (LogisticRegression(C=0.5), LABELS, '"binomial"'),
        (LogisticRegression(C=0.5), KINDS, '"multinomial"'),
        (PoissonRegressor(alpha=2 / N), COUNTS, '"poisson"'),
        (GammaRegressor(alpha=2 / N), AMOUNTS, 'Gamma(link = "log")'),
    ],
)
def test_other_families_of_glmnet_have_the_mean_penalty(estimator, y, family):
    call = lg.to_glmnet(lg.from_sklearn(estimator, X, y), X, y)
    assert call.arguments["family"] == family and call.arguments["alpha"] == 0.0
    assert call.arguments["lambda"] == pytest.approx(2 / N, rel=1e-12)


STATSMODELS = [
    (Ridge(alpha=2.5), Y, 1e-12, "OLS"),
    slow(Lasso(alpha=0.1), Y, 1e-10, "OLS"),
    slow(ElasticNet(alpha=0.1, l1_ratio=0.4, fit_intercept=False), Y, 1e-10, "OLS"),
    (LogisticRegression(C=0.7, l1_ratio=1), LABELS, 1e-4, "Logit"),
    slow(LogisticRegression(C=0.7), LABELS, 2e-3, "GLM"),
    slow(PoissonRegressor(alpha=0.1), COUNTS, 2e-3, "GLM"),
    slow(PoissonRegressor(alpha=0.0), COUNTS, 1e-9, "GLM"),
    slow(GammaRegressor(alpha=0.0), AMOUNTS, 1e-9, "GLM"),
    slow(LogisticRegression(C=np.inf), KINDS, 1e-7, "MNLogit"),
]


@pytest.mark.parametrize("estimator, y, bound, model", STATSMODELS, ids=label)
def test_statsmodels_runs_and_is_stationary(estimator, y, bound, model):
    pytest.importorskip("statsmodels")
    objective = lg.from_sklearn(estimator, X, y)
    call = lg.to_statsmodels(objective, X, y)
    assert call.call.startswith(f"sm.{model}(y, ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optimisers, about tolerances that they cannot reach
        found = jax.tree.map(jnp.asarray, call.run())
    slope = jax.grad(objective)(found, X, y)
    unit = max(np.max(np.abs(g)) for g in jax.tree.leaves(jax.grad(objective)(objective.likelihood.init(X, y), X, y)))
    kinks = objective.prior.kinks(found)
    for g, w, kink in zip(
        jax.tree.leaves(slope), jax.tree.leaves(found), kinks or [(0, 0.0)] * len(found), strict=True
    ):
        at_zero = np.abs(np.asarray(w)) < 1e-7
        # Near the kink the gradient is that of a sign; its strength is what the slope of the rest may have.
        assert np.max(np.where(at_zero & (np.asarray(kink[1]) > 0), 0.0, np.abs(g))) < bound * unit


def test_statsmodels_says_what_is_another_estimator():
    gamma = lg.from_sklearn(GammaRegressor(alpha=0.1), X, AMOUNTS)
    with pytest.raises(ValueError, match="not its gradient"):
        lg.to_statsmodels(gamma, X, AMOUNTS)
    huber = lg.from_sklearn(HuberRegressor(alpha=0.0), X, Y)
    with pytest.raises(ValueError, match="median absolute deviation"):
        lg.to_statsmodels(huber, X, Y)


def test_what_is_no_posterior_mode_is_refused_with_the_reason():
    for estimator, y, words in [
        (SGDRegressor(), Y, "stops after a number of passes"),
        (object(), Y, "is none of them"),
        (Ridge(positive=True), Y, "edge of a support"),
        (Ridge(alpha=np.ones(2)), Y, "one target at a time"),
        (LogisticRegression(class_weight="balanced"), LABELS, "multiply it into weights"),
        (LogisticRegression(), 2 * LABELS, "class ids 0"),
        (LinearSVC(), KINDS, "one problem for each class"),
        (SVC(), LABELS, "kernel='linear' only"),
        (BayesianRidge(), Y, "fit it first"),
    ]:
        with pytest.raises(ValueError, match=words):
            lg.from_sklearn(estimator, X, y)
    with pytest.raises(ValueError, match="must have shapes"):
        lg.from_sklearn(Ridge(), X, Y[:, None])
    with pytest.raises(ValueError, match="fit it first"):
        dictionary.sklearn_params(Ridge())


def test_what_no_package_has_is_refused_with_the_part():
    def objective(model, coef, intercept=None):
        prior = {"coef": coef, "intercept": intercept or dist.Flat()}
        return lg.map_objective(lg.likelihood(models.glm(model)), prior)

    normal = dist.Normal(0.0, 1.0)
    with pytest.raises(ValueError, match="features of shape"):
        lg.to_sklearn(objective(dist.Bernoulli, normal))
    poisson = objective(dist.Poisson, dist.Laplace(0.0, 1.0))
    with pytest.raises(ValueError, match="poisson loss and an L1 penalty"):
        lg.to_sklearn(poisson, X, COUNTS)
    assert lg.to_glmnet(poisson, X, COUNTS).arguments["lambda"] == pytest.approx(1 / N)
    with pytest.raises(ValueError, match="the intercept has a penalty"):
        lg.to_sklearn(objective(dist.Poisson, normal, normal), X, COUNTS)
    for coef, words in [(dist.Normal(0.5, 1.0), "pull to 0"), (dist.StudentT(4.0, 0.0, 1.0), "is StudentT")]:
        with pytest.raises(ValueError, match=words):
            lg.to_sklearn(objective(dist.Bernoulli, coef), X, LABELS)


@pytest.mark.slow
def test_more_that_no_package_has():
    normal, flat = dist.Normal(0.0, 1.0), dist.Flat()
    probit = lg.map_objective(
        lg.likelihood(models.glm(dist.Bernoulli, links.probit)), {"coef": normal, "intercept": flat}
    )
    with pytest.raises(ValueError, match="'probit'"):
        lg.to_glmnet(probit, X, LABELS)
    curved = lg.map_objective(
        lg.likelihood(lambda p, x: dist.Normal(x[:, :2] @ p["coef"], 1.0)), {"coef": dist.Normal(0.0, 1.0)}
    )
    with pytest.raises(ValueError, match="linear predictor"):
        lg.to_sklearn(curved, X, Y, params={"coef": jnp.zeros(2)})
    held = lg.map_objective(
        lg.likelihood(models.softmax_regression(3, baseline=0)), {"coef": normal, "intercept": flat}
    )
    with pytest.raises(ValueError, match="the solution depends on which"):
        lg.to_sklearn(held, X, KINDS)
    vector = lg.map_objective(
        lg.likelihood(models.logistic_regression()), {"coef": dist.Normal(0.0, np.arange(1.0, 4.0)), "intercept": flat}
    )
    with pytest.raises(ValueError, match="one strength for all"):
        lg.to_sklearn(vector, X, LABELS)
    machine = dictionary.sklearn_models.LinearScore()
    free = lg.map_objective(lg.pseudo_likelihood(losses.squared_hinge, machine), {"coef": normal, "intercept": flat})
    with pytest.raises(ValueError, match="LinearSVC penalises its intercept"):
        lg.to_sklearn(free, X, LABELS)


def test_a_held_parameter_is_explained():
    prior = {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Fixed(0.0)}
    objective = lg.map_objective(lg.likelihood(models.logistic_regression()), prior)
    assert lg.explain(objective, None, X, LABELS).recognized
    assert lg.to_sklearn(objective, X, LABELS).fit_intercept is False
