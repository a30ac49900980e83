"""Declared models are named by their parts, and their parts by values: links, penalties, scales, refusals."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import likelihoods, links, losses, models, priors, supports
from lossgeo.dictionary import densities
from lossgeo.dictionary.declared_card import card_of_reading
from lossgeo.dictionary.structural import read
from lossgeo.posing import pose

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 30, 3
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, D)) * np.array([1.0, 4.0, 0.2])
ETA = X @ np.array([1.0, -0.3, 2.0]) + 0.4
Y = ETA + 0.7 * RNG.normal(size=N)
LABELS = (RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(float)
COUNTS = RNG.poisson(np.exp(0.3 * ETA)).astype(float)
POSITIVE = np.exp(0.2 * ETA) * RNG.gamma(3.0, 1 / 3, size=N)
SHARES = 1 / (1 + np.exp(-Y))
CLASSES = RNG.integers(0, 3, size=N)
TIMES = (RNG.exponential(size=N), (RNG.uniform(size=N) < 0.7).astype(float))
GROUPS = np.repeat(np.arange(6), 5)
INIT = {"coef": jnp.zeros(D), "intercept": jnp.zeros(())}
L2, L1 = dist.Normal(0.0, 0.5), dist.Laplace(0.0, 0.25)


def eta(params, x):
    return x @ params["coef"] + params["intercept"]


def posed(noise, prior=L2):
    return lg.map_objective(lg.likelihood(lambda p, x: noise(eta(p, x))), {"coef": prior, "intercept": dist.Flat()})


def glm(model, y, prior=L2):
    init = model.init(X, y)
    rest = {name: dist.Flat(supports.positive) for name in init if name not in INIT}
    return lg.map_objective(lg.likelihood(model), {"coef": prior, "intercept": dist.Flat(), **rest}), init, (X, y)


def margin(loss, prior=L2):
    return lg.map_objective(lg.pseudo_likelihood(loss, eta), {"coef": prior, "intercept": dist.Flat()})


CASES = {
    "lasso": (lambda: (posed(lambda e: dist.Normal(e, 1.3), L1), INIT, (X, Y)), "identity (canonical)"),
    "lasso-penalized logistic regression": (
        lambda: (posed(lambda e: dist.Bernoulli(logits=e), L1), INIT, (X, LABELS)), "logit (canonical)"),
    "ridge-penalized probit regression": (
        lambda: glm(models.glm(dist.Bernoulli, links.probit), LABELS), "probit (not canonical)"),
    "ridge-penalized Poisson regression": (
        lambda: (posed(lambda e: dist.Poisson(jnp.exp(e))), INIT, (X, COUNTS)), "log (canonical)"),
    "ridge-penalized zero-inflated Poisson regression": (
        lambda: (posed(lambda e: dist.ZeroInflated(dist.Poisson(jnp.exp(e)), 0.2)), INIT, (X, COUNTS)), "log"),
    "ridge-penalized negative binomial hurdle regression": (
        lambda: (posed(lambda e: dist.Hurdle(dist.NegativeBinomial(jnp.exp(e), 2.0), logits=0.1 * e)), INIT,
                 (X, COUNTS)), "log"),
    "ridge-penalized negative binomial regression": (lambda: glm(models.glm(dist.NegativeBinomial), COUNTS), "log"),
    "ridge-penalized gamma regression with the log link": (
        lambda: glm(models.glm(dist.Gamma, links.log), POSITIVE), "log (not canonical)"),
    "ridge-penalized gamma regression with the inverse link": (
        lambda: glm(models.glm(dist.Gamma), POSITIVE), "inverse (canonical)"),
    "ridge-penalized inverse Gaussian regression with the log link": (
        lambda: glm(models.glm(dist.InverseGaussian, links.log), POSITIVE), "log (not canonical)"),
    "ridge-penalized beta regression": (lambda: glm(models.glm(dist.Beta), SHARES), "logit"),
    "ridge-penalized binomial logistic regression": (
        lambda: glm(models.glm(dist.Binomial), (COUNTS, COUNTS + 2)), "logit (canonical)"),
    "ridge-penalized multinomial logistic regression": (
        lambda: glm(models.softmax_regression(3, baseline=1), CLASSES), "softmax (canonical)"),
    "proportional odds (ordinal logistic regression)": (
        lambda: (lg.map_objective(lg.likelihood(models.ordinal_regression(3))),
                 models.ordinal_regression(3).init(X, CLASSES), (X, CLASSES)), "logit"),
    "ordered probit regression": (
        lambda: (lg.map_objective(lg.likelihood(models.ordinal_regression(3, links.probit))),
                 models.ordinal_regression(3, links.probit).init(X, CLASSES), (X, CLASSES)), "probit"),
    "ridge-penalized Cox proportional hazards": (
        lambda: (lg.map_objective(likelihoods.cox_partial(), {"coef": L2}), {"coef": jnp.zeros(D)}, (X, TIMES)), "log"),
    "lasso-penalized conditional logistic regression": (
        lambda: (lg.map_objective(likelihoods.conditional_logit(GROUPS), {"coef": L1}), {"coef": jnp.zeros(D)},
                 (X, LABELS)), "logit"),
    "ridge-penalized quantile regression at the quantile 0.9": (
        lambda: (posed(lambda e: dist.AsymmetricLaplace(e, 0.5, 0.9)), INIT, (X, Y)), "identity"),
    "ridge-penalized Huber regression": (
        lambda: (posed(lambda e: dist.Huber(e, 0.8, 1.345)), INIT, (X, Y)), "identity"),
    "ridge-penalized robust Student-t regression": (
        lambda: (posed(lambda e: dist.StudentT(4.0, e, 0.8)), INIT, (X, Y)), "identity"),
    "elastic net": (
        lambda: (posed(lambda e: dist.Normal(e, 0.8), dist.ElasticNet(0.0, 0.5, 0.7)), INIT, (X, Y)), "identity"),
    "group lasso": (
        lambda: (posed(lambda e: dist.Normal(e, 0.8), dist.GroupLaplace(jnp.zeros(D), 0.5)), INIT, (X, Y)), "identity"),
    "group-lasso-penalized Poisson regression": (
        lambda: (posed(lambda e: dist.Poisson(jnp.exp(e)), dist.GroupedLaplace(
            np.arange(D) % 2, 0.0, np.array([0.5, 0.7]))), INIT, (X, COUNTS)), "log"),
    "generalized ridge (Tikhonov) regression": (
        lambda: (posed(lambda e: dist.Normal(e, 0.8), dist.MultivariateNormal(
            jnp.zeros(D), covariance=0.5 + jnp.eye(D))), INIT, (X, Y)), "identity"),
    "support vector machine (hinge loss with an L2 penalty)": (
        lambda: (margin(losses.hinge), INIT, (X, LABELS)), "score"),
    "lasso-penalized support vector machine with squared hinge loss": (
        lambda: (margin(losses.squared_hinge, L1), INIT, (X, LABELS)), "score"),
    "quasi-likelihood (variance mu^1.5) regression with the log link": (
        lambda: (lg.map_objective(lg.pseudo_likelihood(models.tweedie(1.5))), INIT, (X, POSITIVE)), "log"),
    "ridge-penalized nonlinear least squares": (
        lambda: (posed(lambda e: dist.Normal(jnp.sin(e), 1.0)), INIT, (X, Y)), "none"),
    "penalized least squares": (
        lambda: (posed(lambda e: dist.Normal(e, 1.0), dist.StudentT(4.0, 0.0, 1.0)), INIT, (X, Y)), "identity"),
    "Poisson sample without regressors": (
        lambda: (lg.map_objective(lg.likelihood(lambda p: dist.Poisson(p["rate"])), {"rate": dist.Gamma(2.0, 1.0)}),
                 {"rate": 1.0}, (COUNTS,)), ""),
}  # fmt: skip
SLOW = (
    "ridge-penalized beta", "ridge-penalized probit", "ordered probit", "ridge-penalized inverse Gaussian",
    "ridge-penalized Cox", "ridge-penalized negative binomial", "penalized least squares",
)  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n.startswith(SLOW) else n for n in CASES])
def test_declared_models_are_named_and_certified(name):
    make, link = CASES[name]
    objective, init, data = make()
    card = lg.explain(objective, init, *data)
    assert card.recognized and card.name == name and card.route == "structural" and card.link.startswith(link)
    assert card.residual < 1e-10
    assert [level.name for level in card.levels][:2] == ["value-affine", "gradient-collinear"]
    assert all(level.holds for level in card.levels[:2]) and card.levels[1].error < 1e-5
    # The objective is the textbook form with every constant; nothing is left over.
    assert card.constants["objective less its textbook form"] == 0.0
    assert card.solver and card.geometry
    assert json.loads(card.to_json())["name"] == name


def test_a_reading_that_values_contradict_is_refused(monkeypatch):
    objective = posed(lambda e: dist.Normal(e, 1.3))
    params, data = jax.tree.map(jnp.asarray, INIT), (jnp.asarray(X), jnp.asarray(Y))
    reading = read(pose(objective, params, data, None))
    assert card_of_reading(pose(objective, params, data, None), reading).recognized
    # A tail that only some probes reach, of a size that a fit would hardly feel.
    bent = reading.likelihood.copy()
    bent[5] *= 1 + 1e-6
    card = card_of_reading(pose(objective, params, data, None), reading._replace(likelihood=bent))
    assert not card.recognized and "does not reproduce" in card.reasons[0] and card.residual > 1e-8
    monkeypatch.setitem(densities.NEGATIVE_LOG_DENSITIES, dist.Normal, densities.NEGATIVE_LOG_DENSITIES[dist.Logistic])
    assert not lg.explain(objective, INIT, X, Y).recognized


def test_estimated_scales_are_said_to_be():
    prior = {"coef": L2, "intercept": dist.Flat(), "scale": dist.HalfNormal(2.0)}
    objective = lg.map_objective(lg.likelihood(models.linear_regression()), prior)
    card = lg.explain(objective, {**INIT, "scale": jnp.asarray(0.5)}, X, Y)
    assert card.name == "ridge regression" and card.noise == "Normal(scale = estimated, here 0.5)"
    assert card.conventions["sklearn.linear_model.Ridge(alpha)"] == pytest.approx(0.25 / 0.25, rel=1e-12)
    assert "moves with it" in str(card) and "K = -0.500" in card.geometry


def test_what_package_calls_cannot_say_is_not_given_to_them():
    ridge = "sklearn.linear_model.Ridge(alpha)"
    offset = lg.map_objective(
        lg.likelihood(lambda p, x: dist.Normal(eta(p, x) + 2.0 * x[:, 0], 1.0)), {"coef": L2, "intercept": dist.Flat()}
    )
    free = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(eta(p, x), 1.0)), L2)
    unequal = posed(lambda e: dist.Normal(e, 1.0), dist.Normal(0.0, jnp.array([1.0, 2.0, 3.0])))
    toward = posed(lambda e: dist.Normal(e, 1.0), dist.Normal(0.4, 1.0))
    weights = jnp.linspace(0.5, 2.0, N)
    weighted = posed(lambda e: dist.Normal(e, weights))
    reasons = {"offset": (offset, "no package call"), "intercept": (free, "the intercept is penalized too"),
               "unequal": (unequal, "differs between coordinates"), "toward": (toward, ""),
               "weighted": (weighted, "")}  # fmt: skip
    for label, (objective, why) in reasons.items():
        card = lg.explain(objective, INIT, X, Y)
        assert card.recognized and card.conventions == {} and why in str(card), label
    assert lg.explain(toward, INIT, X, Y).name == "penalized least squares"
    assert lg.explain(weighted, INIT, X, Y).name == "ridge-penalized weighted least squares"
    assert lg.explain(posed(lambda e: dist.Normal(e, 1.0)), INIT, X, Y).conventions[ridge] == pytest.approx(4.0)


def test_a_noise_scale_that_follows_the_mean_is_not_plain_least_squares():
    def rowwise(p, x):
        return dist.Normal(eta(p, x), jnp.exp(0.1 * eta(p, x)))

    def common(p, x):
        return dist.Normal(eta(p, x), 1.0 + jnp.sum(p["coef"] ** 2))

    prior = {"coef": L2, "intercept": dist.Flat()}
    for model in (rowwise, common):
        card = lg.explain(lg.map_objective(lg.likelihood(model), prior), INIT, X, Y)
        assert card.recognized and "heteroscedastic" in card.name and card.conventions == {}


def test_hierarchies_are_named_and_warned_of():
    def model(p, x, group):
        return dist.Normal(x @ p["coef"] + p["effect"][group], 0.7)

    def prior(p):
        return {"coef": dist.Flat(), "effect": dist.Normal(0.0, p["spread"]), "spread": dist.HalfNormal(1.0)}

    init = {"coef": jnp.zeros(D), "effect": jnp.zeros(6), "spread": 1.0}
    card = lg.explain(lg.map_objective(lg.likelihood(model), prior), init, X, GROUPS, Y)
    assert card.name == "hierarchical ridge regression" and card.conventions == {}
    assert "with scale estimated" in card.prior["effect"] and "integrate the effects out" in str(card)


def test_noise_that_the_dictionary_does_not_hold_is_refused():
    def contaminated(e):
        return dist.Mixture(jnp.array([0.8, 0.2]), (dist.Normal(e, 1.0), dist.Cauchy(e, 1.0)))

    card = lg.explain(posed(contaminated), INIT, X, Y)
    assert not card.recognized and card.conventions == {} and "refused" in str(card)


def test_bits_are_a_tempered_likelihood_and_hinges_are_none():
    bits = lg.explain(margin(losses.logistic_base2), INIT, X, LABELS)
    assert bits.name == "ridge-penalized logistic regression" and "tempered" in str(bits) and "1.442695041" in str(bits)
    assert "pseudo-posterior" in str(lg.explain(margin(losses.hinge), INIT, X, LABELS))
    nats = str(lg.explain(margin(losses.logistic), INIT, X, LABELS))
    assert "tempered" not in nats and "pseudo" not in nats


def test_single_precision_is_certified_to_its_digits():
    with jax.enable_x64(False):
        objective = posed(lambda e: dist.Poisson(jnp.exp(e)), L1)
        init = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), INIT)
        card = lg.explain(objective, init, jnp.asarray(X, jnp.float32), jnp.asarray(COUNTS, jnp.float32))
    assert card.name == "lasso-penalized Poisson regression" and card.link == "log (canonical)"
    assert 1e-9 < card.residual < 1e-4 and card.levels[1].holds


def test_a_noise_scale_of_each_row_gives_no_package_call_where_it_happens_to_be_constant():
    def model(p, x):
        return dist.Normal(eta(p, x), jnp.exp(x @ p["spread"]))

    prior = {"coef": L2, "intercept": dist.Flat(), "spread": dist.Flat()}
    objective = lg.map_objective(lg.likelihood(model), prior)
    start = {**INIT, "spread": jnp.zeros(D)}
    card = lg.explain(objective, start, X, Y)
    assert card.recognized and "heteroscedastic" in card.name and card.conventions == {}
    with pytest.raises(ValueError, match="differs between rows"):
        lg.to_sklearn(objective, X, Y, params=start)


def test_a_mean_that_is_tied_to_the_noise_scale_is_not_plain_least_squares():
    def model(p, x):
        return dist.Normal(x @ p["coef"] + p["intercept"], p["scale"])

    prior = {"coef": dist.Flat(), "intercept": priors.Tied("scale"), "scale": dist.HalfNormal(1.0)}
    card = lg.explain(lg.map_objective(lg.likelihood(model), prior), {**INIT, "scale": jnp.ones(())}, X, Y)
    assert card.recognized and "heteroscedastic" in card.name and card.conventions == {}


@pytest.mark.slow
def test_zeros_that_share_the_coefficients_of_the_mean_are_told():
    shared = posed(lambda e: dist.Hurdle(dist.Poisson(jnp.exp(e)), logits=0.1 * e))
    apart = posed(lambda e: dist.Hurdle(dist.Poisson(jnp.exp(e)), 0.3))
    for objective, told in ((shared, True), (apart, False)):
        card = lg.explain(objective, INIT, X, COUNTS)
        assert card.name == "ridge-penalized Poisson hurdle regression"
        assert ("depends on the coefficients of the mean" in str(card)) is told
