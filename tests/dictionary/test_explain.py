"""Cards name textbook problems to the last digit, and refuse what the dictionary does not hold."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 40, 3
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, D)) * np.array([1.0, 4.0, 0.2])
ETA = X @ np.array([1.0, -0.3, 2.0]) + 0.4
Y = ETA + 0.7 * RNG.normal(size=N)
LABELS = (RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(float)
COUNTS = RNG.poisson(np.exp(0.3 * ETA)).astype(float)
INIT = {"coef": jnp.zeros(D), "intercept": jnp.zeros(())}


def eta(params, x):
    return x @ params["coef"] + params["intercept"]


def objective(noise, prior):
    return lg.map_objective(lg.likelihood(lambda p, x: noise(eta(p, x))), {"coef": prior, "intercept": dist.Flat()})


def test_ridge_in_every_convention():
    card = lg.explain(objective(lambda e: dist.Normal(e, 1.3), dist.Normal(0.0, 0.6)), INIT, X, Y)
    assert card.recognized and card.name == "ridge regression" and card.residual < 1e-12
    ratio, c = 1.3**2 / 0.6**2, card.conventions
    assert c["sklearn.linear_model.Ridge(alpha)"] == pytest.approx(ratio, rel=1e-9)
    assert c["sklearn.linear_model.ElasticNet(alpha), l1_ratio=0"] == pytest.approx(ratio / N, rel=1e-9)
    glmnet = c["glmnet(lambda), gaussian, alpha=0, standardize=FALSE"]
    assert glmnet == pytest.approx(ratio / N * np.std(Y), rel=1e-9)
    assert card.scales["s2"] == pytest.approx(1.3**2, rel=1e-9)
    assert card.regularizer["intercept"] == "none, flat prior"
    assert json.loads(json.dumps(card.to_dict()))["name"] == card.name
    assert "ridge" in str(card) and "<table>" in card._repr_html_()


def test_lambda_is_what_scikit_learn_needs():
    linear_model = pytest.importorskip("sklearn.linear_model")
    cases = [
        (lambda e: dist.Normal(e, 1.3), dist.Normal(0.0, 0.6), Y, "Ridge(alpha)", linear_model.Ridge, "alpha", {}),
        (lambda e: dist.Normal(e, 1.3), dist.Laplace(0.0, 0.1), Y, "Lasso(alpha)", linear_model.Lasso, "alpha", {}),
        (
            lambda e: dist.Bernoulli(logits=e), dist.Normal(0.0, 0.6), LABELS, "LogisticRegression(C), L2",
            linear_model.LogisticRegression, "C", {"solver": "newton-cholesky"},
        ),
        (
            lambda e: dist.Poisson(log_rate=e), dist.Normal(0.0, 0.6), COUNTS, "PoissonRegressor(alpha)",
            linear_model.PoissonRegressor, "alpha", {"solver": "newton-cholesky"},
        ),
    ]  # fmt: skip
    for noise, prior, target, call, estimator, keyword, extra in cases:
        posed = objective(noise, prior)
        strength = lg.explain(posed, INIT, X, target).conventions[f"sklearn.linear_model.{call}"]
        fitted = estimator(**{keyword: strength}, tol=1e-12, max_iter=100_000, **extra).fit(X, target)
        point = {"coef": jnp.asarray(np.ravel(fitted.coef_)), "intercept": jnp.asarray(np.ravel(fitted.intercept_)[0])}
        slope = jax.grad(posed)(point, X, target)
        excess = np.abs(np.asarray(slope["coef"]))
        if isinstance(prior, dist.Laplace):
            # Off the kink the gradient vanishes; on it the data term is within the threshold.
            zero = np.asarray(point["coef"]) == 0
            assert zero.any() and not zero.all()
            excess = np.where(zero, np.maximum(excess - 1 / 0.1, 0), excess)
        assert np.max(excess) < 1e-5 and abs(float(slope["intercept"])) < 1e-5, call


@pytest.mark.parametrize(
    "noise, prior, target, name",
    [
        (lambda e: dist.Normal(e, 1.3), dist.Laplace(0.0, 0.2), Y, "lasso"),
        (lambda e: dist.Normal(e, 1.3), dist.Flat(), Y, "ordinary least squares"),
        (lambda e: dist.Laplace(e, 0.5), dist.Laplace(0.0, 0.2), Y, "lasso-penalized least absolute deviations"),
        (lambda e: dist.Bernoulli(logits=e), dist.Laplace(0.0, 0.3), LABELS, "lasso-penalized logistic regression"),
        (lambda e: dist.Poisson(log_rate=e), dist.Flat(), COUNTS, "Poisson regression"),
    ],
)
def test_names(noise, prior, target, name):
    assert lg.explain(objective(noise, prior), INIT, X, target).name == name


@pytest.mark.parametrize(
    "residual_loss, penalty",
    [
        (lambda r: -jnp.log(0.8 * jnp.exp(-0.5 * r * r) + 0.2 / (1 + r * r)), lambda w: jnp.sum(w**2)),
        (lambda r: r + jnp.exp(-r), lambda w: jnp.sum(w**2)),
        (lambda r: 0.5 * jnp.sin(r) ** 2, lambda w: jnp.sum(w**2)),
        (lambda r: 0.5 * r * r, lambda w: jnp.sum(jnp.log1p(w**2))),
        (lambda r: 0.5 * r * r, lambda w: jnp.sum(jnp.sqrt(1 + w**2))),
    ],
    ids=["mixture of normal and Cauchy", "Gumbel", "sine", "Student prior", "smoothed L1"],
)
def test_values_of_what_is_not_in_the_dictionary_are_refused(residual_loss, penalty):
    def negative(params, x, y):
        return jnp.sum(residual_loss(y - eta(params, x))) + penalty(params["coef"])

    card = lg.explain(negative, INIT, X, Y)
    assert not card.recognized and card.conventions == {} and "refused" in str(card)
    assert card.residual > 1e-6


def test_a_bare_numpyro_density_is_named():
    numpyro = pytest.importorskip("numpyro")
    numpyro_dist = pytest.importorskip("numpyro.distributions")

    def model(x, y):
        w = numpyro.sample("w", numpyro_dist.Normal(0.0, math.sqrt(40.0)).expand([D]).to_event(1))
        numpyro.sample("y", numpyro_dist.Normal(x @ w, math.sqrt(3000.0)), obs=y)

    def negative(params, x, y):
        return -numpyro.infer.util.log_density(model, (x, y), {}, {"w": params})[0]

    card = lg.explain(negative, jnp.zeros(D), X, Y)
    assert card.name == "ridge regression" and card.recognized
    assert card.conventions["sklearn.linear_model.Ridge(alpha)"] == pytest.approx(75.0, rel=1e-9)


def test_a_loss_in_bits_is_a_tempered_likelihood():
    def bits(params, x, y):
        nats = -jnp.sum(dist.Bernoulli(logits=eta(params, x)).log_prob(y))
        return nats / math.log(2) + jnp.sum(params["coef"] ** 2) / (2 * 0.36)

    card = lg.explain(bits, INIT, X, LABELS)
    assert "tempered" in str(card)
    c = card.conventions["sklearn.linear_model.LogisticRegression(C), L2"]
    assert c == pytest.approx(0.36 / math.log(2), rel=1e-9)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        lg.explain(lambda p, x, y: jnp.sum(p), jnp.zeros(D), X, Y[:, None])
    with pytest.raises(ValueError, match="one leaf of shape"):
        lg.explain(lambda p, x, y: jnp.sum(p), jnp.zeros(D + 1), X, Y)


def test_a_constant_objective_is_refused():
    assert not lg.explain(lambda p, x, y: jnp.zeros(()), jnp.zeros(D), X, Y).recognized


def test_nearly_ridge_is_not_ridge():
    # Huber's loss with a far corner differs from the square at a few probes only.
    def negative(params, x, y):
        r = jnp.abs(y - x @ params)
        return jnp.sum(jnp.where(r < 9.0, 0.5 * r * r, 9.0 * r - 40.5)) + 0.5 * jnp.sum(params**2)

    card = lg.explain(negative, jnp.zeros(D), X, Y)
    assert card.name == "ridge-penalized Huber regression" and card.scales["delta"] == pytest.approx(9.0, rel=1e-9)


def test_a_noise_scale_that_is_estimated_is_held():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 3))
    y = x @ np.array([1.0, -0.5, 0.0]) + 0.5 * rng.normal(size=60)
    prior = {"coef": dist.Laplace(0.0, 0.2), "sigma": dist.Flat(supports.positive)}
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], p["sigma"])), prior)
    card = lg.explain(objective, {"coef": jnp.zeros(3), "sigma": 0.5}, x, y)
    assert card.recognized and card.name == "lasso" and "sigma = 0.5" in str(card)
    assert card.scales == pytest.approx({"s2": 0.25, "b of coef": 0.2}, rel=1e-9)
