"""The lambda dictionary, regenerated: every installed package is called with what the table says, and compared.

The error of a package is the distance of its coefficients from the exact mode, relative to the largest of them: one
Newton step of our objective from its solution, on the coordinates that are not held at 0, which is exact up to the
square of that distance. Bounds are what a first verification of the table found on other data, 1e-14 where that was
rounding; a package that is not installed is skipped. Rows of R packages are checked by the formula that their source
minimises; R is not run.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import links, losses, models
from lossgeo.dictionary.conventions import TABLE, conventions

pytestmark = [pytest.mark.usefixtures("fast_compilation")]

N, D = 60, 4
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, D)) * np.array([1.0, 3.0, 0.5, 1.0])
X -= X.mean(axis=0)
ETA = X @ np.array([0.8, -0.2, 1.0, 0.0])
Y = 3 * ETA + 2 * RNG.normal(size=N)
Y -= Y.mean()  # so that packages without an intercept solve the same problem
LABELS = (RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(int)
KINDS = np.argmax(np.stack([ETA, 0.5 * X[:, 1], 0 * ETA]) + RNG.gumbel(size=(3, N)), axis=0)
COUNTS = RNG.poisson(np.exp(0.4 * ETA))
AMOUNTS = RNG.gamma(3, np.exp(0.4 * ETA) / 3)
S2, T2, B, K = 3.0, 0.4, 0.35, 2.5
"""Variances of noise and prior, scale of the Laplace prior, concentration of the gamma."""

PRIORS = {
    "l2": dist.Normal(0.0, np.sqrt(T2)),
    "l1": dist.Laplace(0.0, B),
    "elastic net": dist.ElasticNet(0.0, B, np.sqrt(T2)),
}
STRENGTHS = {"l2": T2, "l1": B, "elastic net": (B, T2)}
MODELS = {
    "normal": (models.glm(dist.Normal, dispersion=S2), Y, S2),
    "bernoulli": (models.logistic_regression(), LABELS, 1.0),
    "multinomial": (models.softmax_regression(3, baseline=0, full_coef=True), KINDS, 1.0),
    "poisson": (models.poisson_regression(), COUNTS, 1.0),
    "gamma": (models.glm(dist.Gamma, links.log, dispersion=1 / K), AMOUNTS, 1 / K),
}


@jax.jit
def _derivatives(objective, flat, template, data):
    _, unflatten = jax.flatten_util.ravel_pytree(template)

    def value(v):
        return objective(unflatten(v), *data)

    return jax.grad(value)(flat), jax.hessian(value)(flat)


def table(family, penalty):
    noise = MODELS[family][2] if family in MODELS else 1.0
    return conventions(family, penalty, strength=STRENGTHS[penalty], noise=noise, n=N, sd_y=np.std(Y))


def error(family, penalty, coef, intercept):
    """Relative error of coefficients, with the check that zeros are where they may be."""
    model, y, _ = MODELS[family]
    objective = lg.map_objective(lg.likelihood(model), {"coef": PRIORS[penalty], "intercept": dist.Flat()})
    coef, intercept = np.asarray(coef, float), np.asarray(intercept, float)
    if family == "multinomial":
        coef, intercept = coef.reshape(3, D).T, (intercept - intercept[0])[1:]
    params = {"coef": jnp.asarray(coef), "intercept": jnp.asarray(intercept)}
    flat = jax.flatten_util.ravel_pytree(params)[0]
    g, h = (np.asarray(v) for v in _derivatives(objective, flat, params, (X, y)))
    free = (np.asarray(flat) != 0) | (penalty == "l2") | (np.arange(flat.size) >= coef.size)
    assert np.all(np.abs(g[~free]) <= 1 / B * (1 + 1e-6))
    return np.max(np.abs(np.linalg.solve(h[np.ix_(free, free)], g[free]))) / np.max(np.abs(coef))


def fitted(estimator, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optimisers, about tolerances that they cannot reach
        estimator.fit(X, y, **options)
    return estimator.coef_.reshape(-1), np.ravel(estimator.intercept_)


def of_one(coef, intercept):
    """Coefficients and the one intercept of a fit."""
    return coef, np.ravel(intercept)[0] if np.size(intercept) else 0.0


def test_the_table_is_complete_and_its_units_agree():
    for (family, penalty), rows in TABLE.items():
        found = conventions(family, penalty, strength=STRENGTHS[penalty], noise=0.7, n=N, sd_y=2.0)
        assert found.keys() == rows.keys() and all(value > 0 for value in found.values())
    # The classical equivalences: Ridge sums where ElasticNet averages; Lasso halves; C is a reciprocal.
    l2, l1, net = (conventions("normal", p, strength=STRENGTHS[p], noise=0.7, n=N, sd_y=2.0) for p in STRENGTHS)
    assert l2["sklearn.linear_model.Ridge(alpha)"] == pytest.approx(0.7 / T2)
    assert l2["sklearn.linear_model.ElasticNet(alpha), l1_ratio=0"] == pytest.approx(0.7 / T2 / N)
    assert l2["glmnet(lambda), gaussian, alpha=0, standardize=FALSE"] == pytest.approx(0.7 / T2 / N * 2.0)
    assert l2["optax.add_decayed_weights, SGD on the mean NLL"] == pytest.approx(1 / (N * T2))
    alpha, share = net["sklearn.linear_model.ElasticNet(alpha)"], net["sklearn.linear_model.ElasticNet(l1_ratio)"]
    assert alpha * share == pytest.approx(l1["sklearn.linear_model.Lasso(alpha)"])
    assert alpha * (1 - share) == pytest.approx(l2["sklearn.linear_model.ElasticNet(alpha), l1_ratio=0"])
    lam, mix = (net[f"glmnet({v}), gaussian, standardize=FALSE"] for v in ("lambda", "alpha"))
    assert lam * mix == pytest.approx(alpha * share) and lam * (1 - mix) == pytest.approx(2 * alpha * (1 - share))
    assert conventions("cauchy", "l2", strength=1.0, noise=1.0, n=2) == {}
    for strength, penalty, words in [(1.0, "elastic net", "the pair"), (0.0, "l2", "positive"), ((1, 1), "l1", "one")]:
        with pytest.raises(ValueError, match=words):
            conventions("normal", penalty, strength=strength, noise=1.0, n=2)


@pytest.mark.parametrize(
    "family, penalty",
    [("normal", "elastic net")]
    + [pytest.param(*pair, marks=pytest.mark.slow) for pair in [("gamma", "l2"), ("multinomial", "l1")]],
)
def test_the_card_of_an_objective_shows_the_table(family, penalty):
    model, y, _ = MODELS[family]
    objective = lg.map_objective(lg.likelihood(model), {"coef": PRIORS[penalty], "intercept": dist.Flat()})
    card = lg.explain(objective, None, X, y)
    assert card.recognized and card.conventions.keys() == table(family, penalty).keys()
    for call, value in table(family, penalty).items():
        assert card.conventions[call] == pytest.approx(value, rel=1e-12), call


def _sklearn_rows():
    linear = pytest.importorskip("sklearn.linear_model")
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    tight, newton = {"tol": 1e-14, "max_iter": 100_000}, {"tol": 1e-12, "solver": "newton-cholesky"}
    saga = {"tol": 1e-12, "max_iter": 100_000, "solver": "saga"}
    net = {"hidden_layer_sizes": (), "solver": "lbfgs", "activation": "identity", "tol": 1e-14, "max_iter": 100_000,
           "max_fun": 1_000_000, "random_state": 0}  # fmt: skip

    def kernel_ridge(v, y):
        return X.T @ KernelRidge(alpha=v, kernel="linear").fit(X, y).dual_coef_, 0.0

    def process(v, y):
        kernel = ConstantKernel(T2, "fixed") * DotProduct(0.0, "fixed")
        found = GaussianProcessRegressor(kernel, alpha=v, optimizer=None).fit(X, y)
        return T2 * X.T @ np.ravel(found.alpha_), 0.0

    def network(kind):
        def fit(v, y):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = kind(alpha=v, **net).fit(X, y)
            return found.coefs_[0].T.reshape(-1), found.intercepts_[0]

        return fit

    def logistic(**options):
        return lambda v, y: fitted(linear.LogisticRegression(C=v, **options), y)

    p = "sklearn.linear_model."
    # family, penalty, call, fit from value and target, bound on the error
    return [
        ("normal", "l2", f"{p}Ridge(alpha)", lambda v, y: fitted(linear.Ridge(alpha=v), y), 1e-14),
        ("normal", "l2", f"{p}ElasticNet(alpha), l1_ratio=0",
         lambda v, y: fitted(linear.ElasticNet(alpha=v, l1_ratio=0, **tight), y), 2e-12),
        ("normal", "l2", f"{p}TweedieRegressor(alpha), power=0",
         lambda v, y: fitted(linear.TweedieRegressor(alpha=v, power=0, **newton), y), 1e-12),
        ("normal", "l2", "sklearn.kernel_ridge.KernelRidge(alpha), kernel='linear', no intercept", kernel_ridge, 1e-14),
        ("normal", "l2", "sklearn.neural_network.MLPRegressor(alpha), hidden_layer_sizes=()",
         network(MLPRegressor), 2e-5),
        ("normal", "l2", "sklearn.gaussian_process.GaussianProcessRegressor(alpha), tau^2 DotProduct(0), no intercept",
         process, 1e-14),
        ("normal", "l1", f"{p}Lasso(alpha)", lambda v, y: fitted(linear.Lasso(alpha=v, **tight), y), 5e-13),
        ("bernoulli", "l2", f"{p}LogisticRegression(C), L2", logistic(**newton), 1e-11),
        ("bernoulli", "l2", "sklearn.neural_network.MLPClassifier(alpha), hidden_layer_sizes=()",
         network(MLPClassifier), 1e-4),
        ("bernoulli", "l1", f"{p}LogisticRegression(C), l1_ratio=1", logistic(l1_ratio=1, **saga), 1e-10),
        ("multinomial", "l2", f"{p}LogisticRegression(C), L2", logistic(**newton), 1e-11),
        ("multinomial", "l2", "sklearn.neural_network.MLPClassifier(alpha), hidden_layer_sizes=()",
         network(MLPClassifier), 5e-4),
        ("poisson", "l2", f"{p}PoissonRegressor(alpha)",
         lambda v, y: fitted(linear.PoissonRegressor(alpha=v, **newton), y), 2e-7),
        ("gamma", "l2", f"{p}GammaRegressor(alpha)",
         lambda v, y: fitted(linear.GammaRegressor(alpha=v, **newton), y), 2e-7),
    ]  # fmt: skip


@pytest.mark.slow
def test_scikit_learn():
    for family, penalty, call, fit, bound in _sklearn_rows():
        coef, intercept = fit(table(family, penalty)[call], MODELS[family][1])
        assert (
            error(family, penalty, *(of_one(coef, intercept) if family != "multinomial" else (coef, intercept))) < bound
        ), call


@pytest.mark.slow
def test_two_numbers_of_an_elastic_net():
    linear = pytest.importorskip("sklearn.linear_model")
    p = "sklearn.linear_model."
    t = table("normal", "elastic net")
    found = fitted(
        linear.ElasticNet(alpha=t[f"{p}ElasticNet(alpha)"], l1_ratio=t[f"{p}ElasticNet(l1_ratio)"], tol=1e-14), Y
    )
    assert error("normal", "elastic net", *of_one(*found)) < 1e-12
    t = table("bernoulli", "elastic net")
    estimator = linear.LogisticRegression(
        C=t[f"{p}LogisticRegression(C)"], l1_ratio=t[f"{p}LogisticRegression(l1_ratio)"], solver="saga", tol=1e-12,
        max_iter=100_000,
    )  # fmt: skip
    assert error("bernoulli", "elastic net", *of_one(*fitted(estimator, LABELS))) < 1e-9


@pytest.mark.slow
def test_glum():
    glum = pytest.importorskip("glum")
    for family, penalty, y, bound in [
        ("normal", "l2", Y, 1e-14), ("normal", "l1", Y, 1e-12), ("binomial", "l2", LABELS, 3e-8),
        ("binomial", "l1", LABELS, 4e-10), ("poisson", "l2", COUNTS, 1e-9), ("poisson", "elastic net", COUNTS, 1e-9),
        ("gamma", "l2", AMOUNTS, 1e-9),
    ]:  # fmt: skip
        ours = {"binomial": "bernoulli"}.get(family, family)
        rows = {k: v for k, v in table(ours, penalty).items() if k.startswith("glum")}
        alpha = next(v for k, v in rows.items() if "(alpha)" in k)
        share = (
            {"l2": 0.0, "l1": 1.0}.get(penalty)
            if penalty != "elastic net"
            else rows[f"glum GeneralizedLinearRegressor(l1_ratio), {family}"]
        )
        link = {"gamma": "log"}.get(family, "auto")
        model = glum.GeneralizedLinearRegressor(
            family=family, link=link, alpha=alpha, l1_ratio=share, gradient_tol=1e-12, max_iter=10_000,
        )  # fmt: skip
        found = fitted(model, y.astype(float))
        assert error(ours, penalty, *of_one(*found)) < bound, (family, penalty)


@pytest.mark.slow
def test_celer_and_skglm():
    celer = pytest.importorskip("celer")
    lasso, net = table("normal", "l1"), table("normal", "elastic net")
    assert error("normal", "l1", *of_one(*fitted(celer.Lasso(alpha=lasso["celer.Lasso(alpha)"], tol=1e-14), Y))) < 1e-14
    options = {"alpha": net["celer.ElasticNet(alpha)"], "l1_ratio": net["celer.ElasticNet(l1_ratio)"]}
    assert error("normal", "elastic net", *of_one(*fitted(celer.ElasticNet(**options, tol=1e-14), Y))) < 1e-14
    strength = table("bernoulli", "l1")["celer.LogisticRegression(C), fit_intercept=False"]
    coef = fitted(celer.LogisticRegression(C=strength, fit_intercept=False, tol=1e-12), LABELS)[0]
    slope = X.T @ (1 / (1 + np.exp(-X @ coef)) - LABELS)
    assert np.any(coef) and np.max(np.abs(slope[coef != 0] + np.sign(coef[coef != 0]) / B)) < 1e-5
    assert np.all(np.abs(slope[coef == 0]) <= 1 / B)
    skglm = pytest.importorskip("skglm")
    assert error("normal", "l1", *of_one(*fitted(skglm.Lasso(alpha=lasso["skglm.Lasso(alpha)"], tol=1e-14), Y))) < 1e-14


@pytest.mark.slow
def test_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    design = np.column_stack([np.ones(N), X])

    exact = {"cnvrg_tol": 1e-14, "zero_tol": 1e-14, "maxiter": 10_000}
    l1 = {"method": "l1", "acc": 1e-14, "disp": 0, "maxiter": 10_000}
    net = {"L1_wt": table("normal", "elastic net")["statsmodels OLS.fit_regularized(L1_wt)"], **exact}
    ols = sm.OLS(Y, design)
    binomial, poisson = (
        sm.GLM(y, design, family=f) for y, f in ((LABELS, sm.families.Binomial()), (COUNTS, sm.families.Poisson()))
    )
    for family, penalty, model, call, options, bound in [
        ("normal", "l2", ols, "OLS.fit_regularized(alpha), L1_wt=0", {"L1_wt": 0}, 1e-14),
        ("normal", "l1", ols, "OLS.fit_regularized(alpha), L1_wt=1", {"L1_wt": 1, **exact}, 1e-14),
        ("normal", "elastic net", ols, "OLS.fit_regularized(alpha)", net, 2e-14),
        ("bernoulli", "l2", binomial, "GLM(Binomial).fit_regularized(alpha), L1_wt=0", {"L1_wt": 0, **exact}, 7e-4),
        ("bernoulli", "l1", sm.Logit(LABELS, design), "Logit.fit_regularized(alpha)", l1, 1e-6),
        ("poisson", "l2", poisson, "GLM(Poisson).fit_regularized(alpha), L1_wt=0", {"L1_wt": 0, **exact}, 7e-4),
        ("poisson", "l1", sm.Poisson(COUNTS, design), "Poisson.fit_regularized(alpha)", l1, 1e-6),
    ]:
        alpha = np.r_[0.0, np.full(D, table(family, penalty)[f"statsmodels {call}"])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.asarray(model.fit_regularized(alpha=alpha, **options).params)
        assert error(family, penalty, found[1:], found[0]) < bound, (family, penalty, call)


@pytest.mark.slow
def test_the_ridge_of_statsmodels_glm_is_no_posterior_mode():
    # No strength at all gives its coefficients: the best of a fine grid stays a hundredth of them away.
    sm = pytest.importorskip("statsmodels.api")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = np.asarray(sm.GLM(Y, X).fit_regularized(alpha=0.3, L1_wt=0, maxiter=10_000, cnvrg_tol=1e-14).params)
    gram, moment = X.T @ X, X.T @ Y
    grid = np.geomspace(1e-4, 1e4, 4001)
    ridges = np.linalg.solve(gram + grid[:, None, None] * np.eye(D), moment[:, None])[..., 0]
    assert np.min(np.max(np.abs(ridges - found), axis=1)) > 1e-3 * np.max(np.abs(found))


@pytest.mark.slow
def test_optax_decay_is_the_prior_before_any_optimiser_and_not_within_adamw():
    import optax

    objective = lg.map_objective(
        lg.likelihood(MODELS["bernoulli"][0]), {"coef": PRIORS["l2"], "intercept": dist.Flat()}
    )
    decay = table("bernoulli", "l2")["optax.add_decayed_weights, SGD on the mean NLL"]
    start, mask = {"coef": jnp.zeros(D), "intercept": jnp.zeros(())}, {"coef": True, "intercept": False}

    def run(tx):
        def step(carry, _):
            params, state = carry
            slope = jax.grad(lambda p: -jnp.mean(objective.log_likelihood(p, X, LABELS)))(params)
            updates, state = tx.update(slope, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.jit(lambda c: jax.lax.scan(step, c, length=4000)[0][0])((start, tx.init(start)))

    rate = optax.schedules.cosine_decay_schedule(0.03, 4000)
    before = optax.add_decayed_weights(decay, mask)
    sgd, adam = run(optax.chain(before, optax.sgd(0.3))), run(optax.chain(before, optax.adam(rate)))
    adamw = run(optax.adamw(rate, weight_decay=decay, mask=mask))
    assert error("bernoulli", "l2", sgd["coef"], sgd["intercept"]) < 1e-10
    assert error("bernoulli", "l2", adam["coef"], adam["intercept"]) < 1e-6
    assert error("bernoulli", "l2", adamw["coef"], adamw["intercept"]) > 1e-2


def test_to_optax_says_what_the_decay_is():
    def objective(coef):
        return lg.map_objective(lg.likelihood(MODELS["bernoulli"][0]), {"coef": coef, "intercept": dist.Flat()})

    call = lg.dictionary.to_optax(objective(PRIORS["l2"]), X, LABELS)
    decay = table("bernoulli", "l2")["optax.add_decayed_weights, SGD on the mean NLL"]
    assert call.arguments["weight_decay"] == {"coef": pytest.approx(decay, rel=1e-12), "intercept": 0.0}
    assert "mask={'coef': True, 'intercept': False}" in call.call and any("adamw" in note for note in call.notes)
    weighted = lg.dictionary.to_optax(objective(PRIORS["l2"]), X, LABELS, weights=np.full(N, 2.0))
    assert weighted.arguments["weight_decay"]["coef"] == pytest.approx(decay / 2, rel=1e-12)
    for coef, words in [
        (PRIORS["l1"], "exact"), (dist.Fixed(0.0), "is held"), (dist.Normal(1.0, 1.0), "not the gradient"),
        (dist.Normal(0.0, np.arange(1.0, 5.0)), "differs between"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            lg.dictionary.to_optax(objective(coef), X, LABELS)


@pytest.mark.slow
def test_jaxopt():
    objective = pytest.importorskip("jaxopt.objective")
    value = table("normal", "l2")["jaxopt ridge_regression(l2reg)"]
    # Quadratic: its gradient at zero and its Hessian are the whole function.
    slope = jax.grad(objective.ridge_regression)(jnp.zeros(D), value, (X, Y))
    hessian = jax.hessian(objective.ridge_regression)(jnp.zeros(D), value, (X, Y))
    assert error("normal", "l2", -np.linalg.solve(hessian, slope), 0.0) < 2e-14


@pytest.mark.slow
def test_margin_losses_of_scikit_learn():
    svm = pytest.importorskip("sklearn.svm")
    linear = pytest.importorskip("sklearn.linear_model")
    t = conventions("hinge", "l2", strength=T2, noise=1.0, n=N)
    signs = 2 * LABELS - 1
    machine = svm.SVC(kernel="linear", C=t["sklearn.svm.SVC(C), kernel='linear'"], tol=1e-10).fit(X, LABELS)
    w, b = machine.coef_[0], machine.intercept_[0]
    primal = np.sum(np.maximum(0, 1 - signs * (X @ w + b))) + w @ w / (2 * T2)
    alpha = np.abs(machine.dual_coef_[0]) / T2  # in [0, 1]
    dual = np.sum(alpha) - 0.5 * T2 * np.sum(np.square(X[machine.support_].T @ (alpha * signs[machine.support_])))
    assert 0 <= primal - dual + 1e-12 < 1e-7 * primal and alpha.max() <= 1 + 1e-9
    assert t["mean hinge + lambda |w|^2"] == pytest.approx(1 / (2 * N * T2))
    alpha = conventions("square", "l2", strength=T2, noise=1.0, n=N)["sklearn.linear_model.RidgeClassifier(alpha)"]
    found = linear.RidgeClassifier(alpha=alpha).fit(X, LABELS)
    posterior = lg.map_objective(
        lg.pseudo_likelihood(losses.square, lambda p, x: x @ p["coef"] + p["intercept"]),
        {"coef": PRIORS["l2"], "intercept": dist.Flat()},
    )
    params = {"coef": jnp.asarray(found.coef_.reshape(-1)), "intercept": jnp.asarray(np.ravel(found.intercept_)[0])}
    slope = jax.grad(posterior)(params, X, LABELS)
    assert max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(slope)) < 1e-11


@pytest.mark.slow
def test_quantiles_and_huber():
    linear = pytest.importorskip("sklearn.linear_model")
    optimize = pytest.importorskip("scipy.optimize")
    tau, width = 0.3, 0.8
    laplace = conventions("laplace", "l1", strength=B, noise=width, n=N)
    general = conventions("quantile", "l1", strength=B, noise=width, n=N)
    p = "sklearn.linear_model.QuantileRegressor(alpha), quantile="
    # A linear programme in the units of the posterior: residuals and coefficients in positive and negative parts.
    design = np.column_stack([np.ones(N), -np.ones(N), X, -X, np.eye(N), -np.eye(N)])
    for level, alpha, above in [(0.5, laplace[f"{p}0.5"], 1 / width), (tau, general[f"{p}tau"], tau / width)]:
        below = above if level == 0.5 else (1 - tau) / width
        cost = np.r_[0, 0, np.full(2 * D, 1 / B), np.full(N, above), np.full(N, below)]
        found = optimize.linprog(cost, A_eq=design, b_eq=Y, method="highs-ds").x
        coef = found[2 : 2 + D] - found[2 + D : 2 + 2 * D]
        estimator = linear.QuantileRegressor(alpha=alpha, quantile=level).fit(X, Y)
        assert np.max(np.abs(estimator.coef_ - coef)) < 1e-9 * np.max(np.abs(coef))
    # Huber's regressor at the scale that it found is the mode under Huber noise of that scale.
    alpha = 0.7
    huber = linear.HuberRegressor(alpha=alpha, epsilon=1.4, tol=1e-9, max_iter=10_000).fit(X, Y)
    call = next(iter(TABLE["huber", "l2"]))
    variance = huber.scale_ / alpha
    assert conventions("huber", "l2", strength=variance, noise=huber.scale_, n=N)[call] == pytest.approx(alpha)
    noise = lg.likelihood(lambda q, x: dist.Huber(x @ q["coef"] + q["intercept"], huber.scale_, 1.4))
    posterior = lg.map_objective(noise, {"coef": dist.Normal(0.0, np.sqrt(variance)), "intercept": dist.Flat()})
    params = {"coef": jnp.asarray(huber.coef_), "intercept": jnp.asarray(huber.intercept_)}
    slope, at_zero = (jax.grad(posterior)(q, X, Y) for q in (params, jax.tree.map(jnp.zeros_like, params)))
    assert np.max(np.abs(slope["coef"])) < 1e-4 * np.max(np.abs(at_zero["coef"]))


def _glmnet_reference(lam, mix, sweeps=2000):
    """Coordinate descent on what glmnet's Fortran minimises, the target scaled to unit variance; not a run of R."""
    size = np.std(Y)
    y, strength, w = Y / size, lam / size, np.zeros(D)
    square = np.sum(np.square(X), axis=0) / N
    for _ in range(sweeps):
        for j in range(D):
            z = X[:, j] @ (y - X @ w + X[:, j] * w[j]) / N
            w[j] = np.sign(z) * max(abs(z) - strength * mix, 0) / (square[j] + strength * (1 - mix))
    return size * w


def test_glmnet_by_a_reference_minimisation_of_its_objective():
    t = table("normal", "l2")["glmnet(lambda), gaussian, alpha=0, standardize=FALSE"]
    gram = X.T @ X + S2 / T2 * np.eye(D)
    ridge = np.linalg.solve(gram, X.T @ Y)
    np.testing.assert_allclose(_glmnet_reference(t, 0.0), ridge, rtol=1e-12)
    # Without the standard deviation of the target it is another penalty altogether.
    assert np.max(np.abs(_glmnet_reference(t / np.std(Y), 0.0) - ridge)) > 0.05 * np.max(np.abs(ridge))


@pytest.mark.slow
def test_glmnet_lasso_and_elastic_net_by_the_same_minimisation():
    lasso = table("normal", "l1")["glmnet(lambda), gaussian, alpha=1, standardize=FALSE"]
    assert error("normal", "l1", _glmnet_reference(lasso, 1.0), 0.0) < 1e-12
    t = table("normal", "elastic net")
    pair = (t[f"glmnet({v}), gaussian, standardize=FALSE"] for v in ("lambda", "alpha"))
    assert error("normal", "elastic net", _glmnet_reference(*pair), 0.0) < 1e-12


def test_bayesian_ridge_is_the_ridge_of_its_two_precisions():
    linear = pytest.importorskip("sklearn.linear_model")
    found = linear.BayesianRidge(tol=1e-14, max_iter=10_000).fit(X, Y)
    call = "sklearn.linear_model.BayesianRidge, lambda_/alpha_"
    ratio = conventions("normal", "l2", strength=1 / found.lambda_, noise=1 / found.alpha_, n=N)[call]
    ridge = np.linalg.solve(X.T @ X + ratio * np.eye(D), X.T @ Y)
    np.testing.assert_allclose(found.coef_, ridge, rtol=1e-11)
    assert ratio == pytest.approx(found.lambda_ / found.alpha_)
