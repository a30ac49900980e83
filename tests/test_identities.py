"""The sentence on which the library stands: a loss is minus a log-likelihood, a penalty is minus a log-prior."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(10)
N, D, K = 50, 4, 3
X = RNG.normal(size=(N, D))
Y = RNG.normal(size=N)
LABELS = (RNG.uniform(size=N) < 0.4).astype(float)
CLASSES = RNG.integers(0, K, size=N)
COUNTS = RNG.poisson(2.0, size=N).astype(float)
COEF = jnp.asarray(RNG.normal(size=D))


def linear(params, x):
    return x @ params["coef"]


NOISE = 1.7


def squared_error(eta, y):
    return (y - eta) ** 2


def absolute_error(eta, y):
    return jnp.abs(y - eta)


def poisson_loss(eta, y):
    return jnp.exp(eta) - y * eta + jax.scipy.special.gammaln(y + 1)


LOG_2PI = np.log(2 * np.pi)
BINARY = optax.losses.sigmoid_binary_cross_entropy
LOSSES = {
    # name: the distribution of the target, the target, the loss as others write it, its scale, its constant
    "squared error": (
        lambda eta: dist.Normal(eta, NOISE), Y, squared_error, 1 / (2 * NOISE**2), np.log(NOISE) + LOG_2PI / 2,
    ),
    "absolute error": (lambda eta: dist.Laplace(eta, NOISE), Y, absolute_error, 1 / NOISE, np.log(2 * NOISE)),
    "logistic loss": (lambda eta: dist.Bernoulli(logits=eta), LABELS, BINARY, 1.0, 0.0),
    "poisson loss": (lambda eta: dist.Poisson(log_rate=eta), COUNTS, poisson_loss, 1.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_minus_a_log_likelihood_up_to_scale_and_constant(name):
    family, target, loss, scale, constant = LOSSES[name]
    objective = lg.map_objective(lg.likelihood(lambda p, x: family(linear(p, x))))
    for _ in range(3):
        params = {"coef": jnp.asarray(RNG.normal(size=D))}
        losses = scale * loss(linear(params, X), target) + constant
        np.testing.assert_allclose(-objective.log_likelihood(params, X, target), losses, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(objective(params, X, target), jnp.sum(losses), rtol=1e-12)


def test_softmax_cross_entropy_is_minus_the_categorical_log_likelihood():
    weights = jnp.asarray(RNG.normal(size=(D, K)))
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Categorical(logits=x @ p)))
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(X @ weights, jnp.asarray(CLASSES))
    np.testing.assert_allclose(-objective.log_likelihood(weights, X, CLASSES), losses, rtol=1e-12)
    # Two classes are the logistic loss of the difference of the logits.
    two = jnp.stack([jnp.zeros(N), X @ COEF], axis=1)
    np.testing.assert_allclose(
        dist.Categorical(logits=two).log_prob(LABELS), dist.Bernoulli(logits=X @ COEF).log_prob(LABELS), rtol=1e-12
    )


SPREAD = 0.6
PENALTIES = {
    "ridge": (dist.Normal(0.0, SPREAD), lambda b: jnp.sum(b**2) / (2 * SPREAD**2)),
    "lasso": (dist.Laplace(0.0, SPREAD), lambda b: jnp.sum(jnp.abs(b)) / SPREAD),
    "cauchy": (dist.StudentT(1.0, 0.0, SPREAD), lambda b: jnp.sum(jnp.log1p((b / SPREAD) ** 2))),
    "none": (dist.Flat(), lambda b: 0.0),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_minus_a_log_prior_up_to_a_constant(name):
    prior, penalty = PENALTIES[name]
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(linear(p, x), 1.0)), {"coef": prior})
    at_zero = objective.log_prior({"coef": jnp.zeros(D)})
    for scale in (0.1, 1.0, 30.0):
        difference = at_zero - objective.log_prior({"coef": scale * COEF})
        np.testing.assert_allclose(difference, penalty(scale * COEF), rtol=1e-12)


def test_the_posterior_mode_of_a_linear_model_is_ridge_regression():
    objective = lg.map_objective(
        lg.likelihood(lambda p, x: dist.Normal(linear(p, x), NOISE)), {"coef": dist.Normal(0.0, SPREAD)}
    )
    fit = lg.fit(objective, {"coef": jnp.zeros(D)}, X, Y)
    ridge = np.linalg.solve(X.T @ X + (NOISE / SPREAD) ** 2 * np.eye(D), X.T @ Y)
    np.testing.assert_allclose(fit.params["coef"], ridge, rtol=1e-10)
    # For a Gaussian posterior the curvature is the posterior precision.
    precision = X.T @ X / NOISE**2 + np.eye(D) / SPREAD**2
    np.testing.assert_allclose(fit.covariance(), np.linalg.inv(precision), rtol=1e-9, atol=1e-14)


FLAT = [
    None,
    dist.Flat(),
    {"coef": dist.Flat()},
    {"coef": None},
    lambda p: {"coef": dist.Flat()},
    lambda p: jnp.zeros(()),
]


def logistic_model(params, x):
    return dist.Bernoulli(logits=x @ params["coef"])


LOGISTIC = lg.likelihood(logistic_model)


@pytest.mark.parametrize("prior", FLAT[1:], ids=["flat", "tree", "none inside", "function", "zero"])
def test_a_flat_prior_in_any_form_is_maximum_likelihood(prior):
    params = {"coef": COEF}
    values, slopes = zip(
        *(jax.value_and_grad(lg.map_objective(LOGISTIC, p))(params, X, LABELS) for p in (None, prior)), strict=True
    )
    assert values[0] == values[1]
    np.testing.assert_array_equal(slopes[0]["coef"], slopes[1]["coef"])


def test_maximum_likelihood_is_the_limit_of_a_wide_prior():
    flat = lg.fit(lg.map_objective(LOGISTIC), {"coef": jnp.zeros(D)}, X, LABELS)
    for family in (dist.Normal, dist.Laplace):
        wide = lg.fit(lg.map_objective(LOGISTIC, {"coef": family(0.0, 1e15)}), {"coef": jnp.zeros(D)}, X, LABELS)
        np.testing.assert_allclose(wide.params["coef"], flat.params["coef"], rtol=1e-10)
        np.testing.assert_allclose(wide.standard_errors()["coef"], flat.standard_errors()["coef"], rtol=1e-8)


def test_weights_are_replication_for_the_fit_and_its_uncertainty():
    counts = RNG.integers(0, 3, size=N)
    objective, start = lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, 2.0)}), {"coef": jnp.zeros(D)}
    weighted = lg.fit(objective, start, X, LABELS, weights=counts)
    replicated = lg.fit(objective, start, np.repeat(X, counts, axis=0), np.repeat(LABELS, counts))
    np.testing.assert_allclose(weighted.params["coef"], replicated.params["coef"], rtol=1e-9)
    np.testing.assert_allclose(weighted.value, replicated.value, rtol=1e-12)
    for cov in ("observed", "opg", "sandwich"):
        np.testing.assert_allclose(weighted.covariance(cov), replicated.covariance(cov), rtol=1e-8, atol=1e-13)


def test_maximum_likelihood_is_invariant_and_the_posterior_mode_is_not():
    # The rate of an exponential waiting time, or its logarithm.
    waits = np.array([0.5, 1.2, 0.3, 2.0])

    def by_rate(prior):
        objective = lg.map_objective(
            lambda p, y: jnp.log(p["rate"]) - p["rate"] * y, prior, supports={"rate": supports.positive}
        )
        return float(lg.fit(objective, {"rate": jnp.asarray(1.0)}, waits).params["rate"])

    def by_log(prior):
        objective = lg.map_objective(lambda p, y: p["log_rate"] - jnp.exp(p["log_rate"]) * y, prior)
        return float(jnp.exp(lg.fit(objective, {"log_rate": jnp.asarray(0.0)}, waits).params["log_rate"]))

    assert by_rate(None) == pytest.approx(1.0, rel=1e-10)
    assert by_log(None) == pytest.approx(1.0, rel=1e-10)
    # The same Gamma(3, 1) prior, as a density of the rate and as one of its logarithm (with the Jacobian, its own).
    rate_prior = {"rate": dist.Gamma(3.0, 1.0)}
    assert by_rate(rate_prior) == pytest.approx((4 + 3 - 1) / (4 + 1), rel=1e-9)
    assert by_log(lambda p: 3 * p["log_rate"] - jnp.exp(p["log_rate"])) == pytest.approx((4 + 3) / (4 + 1), rel=1e-9)


def test_the_coordinates_of_the_solver_do_not_move_the_mode():
    # One posterior, its parameter on the positive line or in an interval: no log-Jacobian either way.
    found = [
        lg.fit(
            lg.map_objective(lambda p: dist.Gamma(3.0, 2.0).log_prob(p["r"]), supports={"r": support}),
            {"r": jnp.asarray(0.4)},
        ).params["r"]
        for support in (supports.positive, supports.interval(0.0, 7.0), supports.interval(0.1, 3.0))
    ]
    np.testing.assert_allclose(found, 1.0, rtol=1e-9)


def test_minimisers_are_the_functionals_of_their_losses():
    y = np.sort(RNG.normal(size=21))
    mean = lg.fit(lg.map_objective(lambda p, y: dist.Normal(p["m"], 1.0).log_prob(y)), {"m": 0.0}, y).params["m"]
    np.testing.assert_allclose(mean, y.mean(), rtol=1e-10)
    values = jax.vmap(lambda m: lg.map_objective(lambda p, y: dist.Laplace(p, 1.0).log_prob(y))(m, y))(jnp.asarray(y))
    assert int(jnp.argmin(values)) == 10  # the median
    count = lg.fit(
        lg.map_objective(lambda p, y: dist.Poisson(p["r"]).log_prob(y), supports={"r": supports.positive}),
        {"r": 1.0},
        COUNTS,
    )
    np.testing.assert_allclose(count.params["r"], COUNTS.mean(), rtol=1e-10)
