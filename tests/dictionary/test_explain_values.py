"""Values alone tell loss, penalty and scales to the last digits, for any callable; what they cannot tell is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import links, losses

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 30, 3
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, D)) * np.array([1.0, 4.0, 0.2])
ETA = X @ np.array([1.0, -0.3, 2.0]) + 0.4
Y = ETA + 0.7 * RNG.normal(size=N)
LABELS = (RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(float)
COUNTS = RNG.poisson(np.exp(0.3 * ETA)).astype(float)
POSITIVE = np.exp(0.2 * ETA) * RNG.gamma(3.0, 1 / 3, size=N)
CLASSES = RNG.integers(0, 3, size=N).astype(float)
INIT = {"coef": jnp.zeros(D), "intercept": jnp.zeros(())}


def eta(params, x):
    return x @ params["coef"] + params["intercept"]


def density(noise, prior):
    """A negative log-density with all its normalizers, as a bare function."""

    def negative(params, x, y):
        return -jnp.sum(noise(eta(params, x)).log_prob(y)) - jnp.sum(prior.log_prob(params["coef"]))

    return negative


def of_margin(loss, weight=1.0):
    def negative(params, x, y):
        return weight * jnp.sum(loss.pointwise(eta(params, x), y)) + 0.5 * jnp.sum(params["coef"] ** 2)

    return negative


L2, L1 = dist.Normal(0.0, 0.6), dist.Laplace(0.0, 0.3)
CASES = {
    "ridge regression": (density(lambda e: dist.Normal(e, 1.3), L2), Y, {"s2": 1.69, "t2 of coef": 0.36}),
    "lasso-penalized least absolute deviations": (
        density(lambda e: dist.Laplace(e, 1.3), L1), Y, {"s": 1.3, "b of coef": 0.3}),
    "lasso-penalized quantile regression at the quantile 0.9": (
        density(lambda e: dist.AsymmetricLaplace(e, 0.5, 0.9), L1), Y, {"tau": 0.9, "s": 0.5, "b of coef": 0.3}),
    "ridge-penalized Huber regression": (
        density(lambda e: dist.Huber(e, 0.5, 1.345), L2), Y, {"delta": 1.345, "s": 0.5, "t2 of coef": 0.36}),
    "ridge-penalized robust Student-t regression": (
        density(lambda e: dist.StudentT(4.0, e, 0.7), L2), Y, {"df": 4.0, "s2": 0.49, "t2 of coef": 0.36}),
    "lasso-penalized robust Cauchy regression": (
        density(lambda e: dist.Cauchy(e, 0.7), L1), Y, {"df": 1.0, "s2": 0.49, "b of coef": 0.3}),
    "ridge-penalized regression with logistic errors": (
        density(lambda e: dist.Logistic(e, 0.7), L2), Y, {"s": 0.7, "t2 of coef": 0.36}),
    "ridge-penalized log-cosh regression": (
        density(lambda e: dist.HyperbolicSecant(e, 0.7), L2), Y, {"s": 0.7, "t2 of coef": 0.36}),
    "elastic net": (
        density(lambda e: dist.Normal(e, 1.3), dist.ElasticNet(0.0, 0.3, 0.5)), Y,
        {"s2": 1.69, "b of coef": 0.3, "t2 of coef": 0.25}),
    "group lasso": (
        density(lambda e: dist.Normal(e, 1.3), dist.GroupLaplace(jnp.zeros(D), 0.4)), Y,
        {"s2": 1.69, "b of coef": 0.4}),
    "ridge-penalized logistic regression": (density(lambda e: dist.Bernoulli(logits=e), L2), LABELS,
                                            {"t2 of coef": 0.36}),
    "ridge-penalized probit regression": (
        density(lambda e: dist.Bernoulli(logits=links.probit.log_odds(e)), L2), LABELS, {"t2 of coef": 0.36}),
    "lasso-penalized complementary log-log regression": (
        density(lambda e: dist.Bernoulli(logits=links.cloglog.log_odds(e)), L1), LABELS, {"b of coef": 0.3}),
    "lasso-penalized Poisson regression": (density(lambda e: dist.Poisson(log_rate=e), L1), COUNTS, {"b of coef": 0.3}),
    "ridge-penalized negative binomial regression": (
        density(lambda e: dist.NegativeBinomial(jnp.exp(e), 2.5), L2), COUNTS,
        {"concentration": 2.5, "t2 of coef": 0.36}),
    "ridge-penalized gamma regression with the log link": (
        density(lambda e: dist.Gamma(3.0, 3.0 * jnp.exp(-e)), L2), POSITIVE,
        {"concentration": 3.0, "t2 of coef": 0.36}),
    "ridge-penalized inverse Gaussian regression with the log link": (
        density(lambda e: dist.InverseGaussian(jnp.exp(e), 3.0), L2), POSITIVE,
        {"concentration": 3.0, "t2 of coef": 0.36}),
    "support vector machine (hinge loss with an L2 penalty)": (
        of_margin(losses.hinge, 2.0), LABELS, {"weight": 2.0, "t2 of coef": 1.0}),
    "ridge-penalized support vector machine with squared hinge loss": (
        of_margin(losses.squared_hinge), LABELS, {"weight": 1.0, "t2 of coef": 1.0}),
    "ridge classifier (least-squares classification with an L2 penalty)": (
        of_margin(losses.square), LABELS, {"weight": 1.0, "t2 of coef": 1.0}),
    "ridge-penalized exponential-loss classification (AdaBoost's objective)": (
        of_margin(losses.Exponential(0.5)), LABELS, {"weight": 1.0, "beta": 0.5, "t2 of coef": 1.0}),
    "ridge-penalized support vector machine with smoothed hinge loss": (
        of_margin(losses.SmoothedHinge(2.0)), LABELS, {"weight": 1.0, "alpha": 2.0, "t2 of coef": 1.0}),
    "ridge-penalized Savage-loss classification": (
        of_margin(losses.savage), LABELS, {"weight": 1.0, "t2 of coef": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if "probit" in n else n for n in CASES])
def test_values_tell_the_name_and_every_scale(name):
    negative, y, scales = CASES[name]
    card = lg.explain(negative, INIT, X, y)
    assert card.recognized and card.name == name and card.route == "numeric"
    assert card.scales == pytest.approx(scales, rel=1e-9)
    assert card.residual < 1e-12
    assert card.levels[1].holds and card.levels[1].error < 1e-6
    if "constant of a normalized density" in card.constants:
        # Every normalizer of a density is found again: a joint density of temperature 1.
        found = card.constants["constant of the objective"]
        assert found == pytest.approx(card.constants["constant of a normalized density"], abs=1e-9)
        assert "temperature 1" in str(card)


def test_other_targets_and_predictors():
    def binomial(params, x, trials, y):
        return -jnp.sum(dist.Binomial(trials, logits=eta(params, x)).log_prob(y)) + 0.5 * jnp.sum(params["coef"] ** 2)

    def pair(params, x, y):
        return binomial(params, x, y[1], y[0])

    def offset(params, x, shift, y):
        rate = eta(params, x) + shift
        return -jnp.sum(dist.Poisson(log_rate=rate).log_prob(y)) + jnp.sum(jnp.abs(params["coef"]))

    def softmax(params, x, y):
        z = x @ params["coef"] + params["intercept"][None]
        return -jnp.sum(dist.Categorical(logits=z).log_prob(y)) + 0.5 * jnp.sum(params["coef"] ** 2)

    def baseline(params, x, y):
        z = x @ params["coef"] + params["intercept"][None]
        z = jnp.concatenate([jnp.zeros((N, 1)), z], axis=1)
        return -jnp.sum(dist.Categorical(logits=z).log_prob(y))

    full = {"coef": jnp.zeros((D, 3)), "intercept": jnp.zeros(3)}
    less = {"coef": jnp.zeros((D, 2)), "intercept": jnp.zeros(2)}
    cases = [
        (binomial, INIT, (X, COUNTS + 2, COUNTS), "ridge-penalized binomial logistic regression", ""),
        (pair, INIT, (X, (COUNTS, COUNTS + 2)), "ridge-penalized binomial logistic regression", ""),
        (offset, INIT, (X, 0.1 * ETA, COUNTS), "lasso-penalized Poisson regression", "an offset"),
        (softmax, full, (X, CLASSES), "ridge-penalized multinomial logistic regression", ""),
        (baseline, less, (X, CLASSES), "multinomial logistic regression", "class 0 is held at 0"),
    ]
    for negative, init, data, name, note in cases:
        card = lg.explain(negative, init, *data)
        assert card.name == name and note in str(card), name


def test_penalties_of_single_coordinates_and_leaves():
    def rows(p, x, y):
        return 0.5 * jnp.sum((y - x @ p) ** 2)

    ones = np.column_stack([np.ones(N), X])
    unequal = lg.explain(
        lambda p, x, y: rows(p, x, y) + 0.5 * jnp.sum(jnp.array([0.0, 1.0, 2.0, 2.0]) * p**2), jnp.zeros(4), ones, Y
    )
    assert unequal.name == "ridge regression" and unequal.conventions == {}
    assert unequal.scales == pytest.approx({"s2": 1.0, "t2 of params[1]": 1.0, "t2 of params[2, 3]": 0.5}, rel=1e-9)
    # A column of ones that is not penalized is the intercept of the package calls.
    inside = lg.explain(lambda p, x, y: rows(p, x, y) + jnp.sum(p[1:] ** 2), jnp.zeros(4), ones, Y)
    assert inside.conventions["sklearn.linear_model.Ridge(alpha)"] == pytest.approx(2.0, rel=1e-9)

    def leaves(p, x, y):
        whole = jnp.concatenate([p["a"], p["b"]])
        return rows(whole, x, y) + jnp.abs(p["a"][0]) + 2.0 * jnp.linalg.norm(p["b"])

    several = lg.explain(leaves, {"a": jnp.zeros(1), "b": jnp.zeros(2)}, X, Y)
    assert several.name == "penalized least squares"
    assert several.scales == pytest.approx({"s2": 1.0, "b of a": 1.0, "b of b": 0.5}, rel=1e-9)


def test_units_of_the_target_do_not_matter():
    def ridge(params, x, y):
        return 0.5 * jnp.sum((y - eta(params, x)) ** 2) + 0.5 * jnp.sum(params["coef"] ** 2)

    for unit, origin in ((1e3, 5e3), (1e-3, 0.0)):
        card = lg.explain(ridge, INIT, X, unit * Y + origin)
        assert card.scales == pytest.approx({"s2": 1.0, "t2 of coef": 1.0}, rel=1e-9)


def test_a_callable_that_cannot_be_traced_is_asked_one_by_one():
    calls = []

    def opaque(params, x, y):
        w = np.asarray(params)
        calls.append(w)
        return float(0.5 * np.sum((y - x @ w) ** 2) + 0.5 * np.sum(w**2))

    card = lg.explain(opaque, np.zeros(D), X, Y)
    assert card.name == "ridge regression" and len(calls) > 60
    assert card.levels[1].holds is True and card.levels[1].error < 1e-8


def test_a_traced_objective_is_evaluated_in_one_call():
    traces = []

    def ridge(params, x, y):
        traces.append(None)
        return 0.5 * jnp.sum((y - x @ params) ** 2) + 0.5 * jnp.sum(params**2)

    assert lg.explain(ridge, jnp.zeros(D), X, Y).recognized
    assert len(traces) <= 3


@pytest.mark.parametrize(
    "negative",
    [
        lambda p, x, y: jnp.sum((y - eta(p, x)) ** 2 + jnp.abs(y - eta(p, x))),
        lambda p, x, y: jnp.sum(jnp.linspace(1.0, 2.0, N) * (y - eta(p, x)) ** 2),
        lambda p, x, y: jnp.sqrt(jnp.sum((y - eta(p, x)) ** 2)),
        lambda p, x, y: 0.5 * N * jnp.log(jnp.sum((y - eta(p, x)) ** 2)),
        lambda p, x, y: jnp.sum((y - eta(p, x)) ** 2) - jnp.sum(p["coef"] ** 2),
        lambda p, x, y: jnp.sum((y - eta(p, x)) ** 2) + p["coef"][0] * p["coef"][1],
        lambda p, x, y: jnp.sum(jnp.where(y > eta(p, x), 2.0, 1.0) * (y - eta(p, x)) ** 2),
    ],
    ids=["two losses", "weighted rows", "root", "profile", "repulsive", "correlated prior", "expectile"],
)
def test_what_looks_like_least_squares_and_is_not_is_refused(negative):
    card = lg.explain(negative, INIT, X, Y)
    assert not card.recognized and card.conventions == {}
    assert card.residual > 1e-6 or "negative" in card.reasons[0]


def test_what_the_data_cannot_tell_apart_is_refused_by_name():
    # Orthonormal columns and a target orthogonal to them: the loss is |w|^2/2, and so is the penalty.
    q = np.linalg.qr(RNG.normal(size=(N, D)))[0]
    y = Y - q @ (q.T @ Y)
    card = lg.explain(lambda p, x, y: 0.5 * jnp.sum((y - x @ p) ** 2) + 0.5 * jnp.sum(p**2), jnp.zeros(D), q, y)
    assert not card.recognized and "collinear" in card.reasons[0] and "Normal" in card.reasons[0]
    assert "condition number" in card.reasons[0]


def test_degenerate_data_are_named_where_values_suffice():
    def ridge(p, x, y):
        return 0.5 * jnp.sum((y - x @ p) ** 2) + 0.5 * jnp.sum(p**2)

    twice = np.column_stack([X, X[:, 0], np.zeros(N)])
    for x, y in ((twice, Y), (X[:2], Y[:2]), (X, np.ones(N))):
        card = lg.explain(ridge, jnp.zeros(x.shape[1]), x, y)
        assert card.name == "ridge regression" and card.scales == pytest.approx({"s2": 1.0, "t2 of params": 1.0})


def test_an_objective_of_penalties_only_is_refused():
    assert not lg.explain(lambda p, x, y: jnp.sum(p["coef"] ** 2), INIT, X, Y).recognized


def test_an_unnormalized_objective_is_known_up_to_a_constant():
    card = lg.explain(lambda p, x, y: 0.5 * jnp.sum((y - eta(p, x)) ** 2), INIT, X, Y)
    missing = card.constants["constant of a normalized density"] - card.constants["constant of the objective"]
    assert missing == pytest.approx(0.5 * N * math.log(2 * math.pi), rel=1e-9)
    assert "off that of a normalized density" in str(card)


def test_single_precision_is_named_to_its_digits():
    with jax.enable_x64(False):
        x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
        init = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), INIT)
        card = lg.explain(density(lambda e: dist.Normal(e, 1.3), L2), init, x, y)
        other = lg.explain(lambda p, x, y: jnp.sum(jnp.log1p((y - eta(p, x)) ** 2) + (y - eta(p, x)) ** 2), init, x, y)
    assert card.name == "ridge regression" and 1e-9 < card.residual < 1e-5
    assert card.scales == pytest.approx({"s2": 1.69, "t2 of coef": 0.36}, rel=1e-3)
    assert not other.recognized


def test_many_observations_are_tried_on_a_sample_first():
    rng, n = np.random.default_rng(6), 9_000
    x = rng.normal(size=(n, 2))
    y = x @ np.array([1.0, -0.5]) + rng.normal(size=n)
    own, start = jnp.ones(n), {"coef": jnp.zeros(2), "intercept": jnp.zeros(())}

    def ridge(params, x, y):
        return 0.5 * jnp.sum((y - eta(params, x)) ** 2) + jnp.sum(params["coef"] ** 2)

    def of_rows_of_its_own(params, x, y):
        return 0.5 * jnp.sum(own * (y - eta(params, x)) ** 2) + jnp.sum(params["coef"] ** 2)

    def bent(params, x, y):
        return 0.5 * jnp.sum((y - jnp.sinh(eta(params, x))) ** 2)

    for objective in (ridge, of_rows_of_its_own):
        card = lg.explain(objective, start, x, y)
        assert card.name == "ridge regression" and card.scales == pytest.approx({"s2": 1.0, "t2 of coef": 0.5})
    card = lg.explain(bent, start, x, y)
    assert not card.recognized and "on a sample of 2048 observations" in str(card)
