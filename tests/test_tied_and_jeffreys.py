"""Priors that are no plain densities: parameters tied to others, Jeffreys' prior; and the two forms of a hierarchy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models, priors, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(2)
LEFT, RIGHT = RNG.normal(1.0, 2.0, size=(2, 12))


def two_means(params, group):
    location = jnp.where(group == 0, params["left"], params["right"])
    return dist.Normal(location, params["scale"])


GROUP, Y = np.repeat([0, 1], 12), np.r_[LEFT, RIGHT]
START = {"left": 0.0, "right": 5.0, "scale": 1.0}


def negated(value):
    return -value


def test_a_tied_parameter_is_one_with_its_source():
    prior = {"left": dist.Flat(), "right": priors.Tied("left"), "scale": dist.Flat(supports.positive)}
    fit = lg.fit(lg.map_objective(lg.likelihood(two_means), prior), START, GROUP, Y)
    np.testing.assert_allclose(fit.params["left"], Y.mean(), rtol=1e-10)
    assert float(fit.params["right"]) == float(fit.params["left"])
    errors = fit.standard_errors()
    np.testing.assert_allclose(errors["left"], Y.std() / np.sqrt(24), rtol=1e-8)
    assert float(errors["right"]) == float(errors["left"])
    assert "tied" in str(fit.summary()) and fit.criteria().num_params == 2
    # Whatever is given for it is replaced: in the objective, and in a fit of someone else.
    objective = fit.objective
    assert float(objective(START, GROUP, Y)) == float(objective({**START, "right": -7.0}, GROUP, Y))
    again = lg.Fit.from_params(objective, {**fit.params, "right": 0.0}, GROUP, Y)
    assert again.status == lg.Status.CONVERGED and float(again.params["right"]) == float(fit.params["left"])


def test_a_parameter_may_be_a_function_of_another_one():
    prior = {"left": dist.Normal(0.0, 1.0), "right": priors.Tied("left", negated), "scale": dist.Fixed(2.0)}
    objective = lg.map_objective(lg.likelihood(two_means), prior)
    fit = lg.fit(objective, START, GROUP, Y)
    want = (LEFT.sum() - RIGHT.sum()) / 4.0 / (24 / 4.0 + 1.0)
    np.testing.assert_allclose([fit.params["left"], fit.params["right"]], [want, -want], rtol=1e-10)
    # The prior counts once.
    one = lg.map_objective(lambda p: jnp.zeros(()), prior)
    np.testing.assert_allclose(-one({**START, "scale": 2.0}), dist.Normal(0.0, 1.0).log_prob(0.0), rtol=1e-14)


@pytest.mark.parametrize(
    ("tied", "words"),
    [
        (priors.Tied("middle"), "'right' is tied to 'middle'"),
        (priors.Tied("right"), "'right' is tied to 'right'"),
        (priors.Tied("left", lambda v: jnp.zeros(3)), "shape"),
    ],
)
def test_faulty_ties_are_named(tied, words):
    prior = {"left": dist.Flat(), "right": tied, "scale": dist.Flat(supports.positive)}
    with pytest.raises(ValueError, match=words):
        lg.fit(lg.map_objective(lg.likelihood(two_means), prior), START, GROUP, Y)


X = RNG.normal(size=(15, 2))
LABELS = (RNG.uniform(size=15) < 0.5).astype(float)
PARAMS = {"coef": jnp.asarray([0.4, -0.3]), "intercept": jnp.asarray(0.2)}
LOGISTIC = lg.likelihood(models.logistic_regression())


def test_jeffreys_prior_is_half_the_log_determinant_of_the_information():
    objective = lg.map_objective(LOGISTIC, priors.Jeffreys(LOGISTIC))
    design = np.c_[X, np.ones(15)]
    p = 1 / (1 + np.exp(-(X @ PARAMS["coef"] + PARAMS["intercept"])))
    for weights in (None, RNG.uniform(0.5, 2.0, size=15)):
        w = p * (1 - p) * (1.0 if weights is None else weights)
        want = 0.5 * np.linalg.slogdet(design.T @ (w[:, None] * design))[1]
        found = objective.bind((X, LABELS), weights).log_prior(PARAMS)
        np.testing.assert_allclose(found, want, rtol=1e-12)
        likelihood = LOGISTIC.total(PARAMS, X, LABELS, weights=weights)
        np.testing.assert_allclose(-objective(PARAMS, X, LABELS, weights=weights), likelihood + want, rtol=1e-12)
    # Of the targets it knows nothing.
    assert float(objective.bind((X, 1 - LABELS), None).log_prior(PARAMS)) == float(
        objective.bind((X, LABELS), None).log_prior(PARAMS)
    )


def test_jeffreys_score_is_firths():
    # Firth (1993): score_r + sum_i h_i (1/2 - p_i) x_ir, with the leverages h of the weighted design.
    objective = lg.map_objective(LOGISTIC, priors.Jeffreys(LOGISTIC))
    design = np.c_[X, np.ones(15)]
    p = 1 / (1 + np.exp(-(X @ PARAMS["coef"] + PARAMS["intercept"])))
    root = np.sqrt(p * (1 - p))[:, None] * design
    leverage = np.diag(root @ np.linalg.solve(root.T @ root, root.T))
    want = design.T @ (LABELS - p + leverage * (0.5 - p))
    slope = jax.grad(lambda q: -objective(q, X, LABELS))(PARAMS)
    np.testing.assert_allclose(np.r_[slope["coef"], slope["intercept"]], want, rtol=1e-10)


def test_jeffreys_prior_of_a_normal_scale_is_its_inverse_square():
    # Location and scale: I = n diag(1, 2)/s^2, so that the prior is 1/s^2 up to a constant.
    likelihood = lg.likelihood(lambda p: dist.Normal(p["m"], p["s"]))
    bound = lg.map_objective(likelihood, priors.Jeffreys(likelihood)).bind((Y,), None)
    values = [float(bound.log_prior({"m": jnp.asarray(0.3), "s": jnp.asarray(s)})) for s in (1.0, 3.0)]
    np.testing.assert_allclose(values, [np.log(24 * np.sqrt(2)), np.log(24 * np.sqrt(2)) - 2 * np.log(3)], rtol=1e-12)


def test_jeffreys_prior_is_refused_where_it_has_no_meaning():
    singular = np.c_[X[:, 0], X[:, 0]]
    objective = lg.map_objective(LOGISTIC, priors.Jeffreys(LOGISTIC))
    assert objective.bind((singular, LABELS), None).log_prior(PARAMS) == -np.inf
    with pytest.raises(ValueError, match="log-prior is -inf"):
        lg.fit(objective, PARAMS, singular, LABELS)
    with pytest.raises(ValueError, match="inputs of the data"):
        objective.log_prior(PARAMS)
    with pytest.raises(TypeError, match="likelihood"):
        lg.map_objective(LOGISTIC, priors.Jeffreys(models.logistic_regression()))(PARAMS, X, LABELS)
    bare = lg.map_objective(lambda p, x, y: x @ p["coef"] * y).likelihood
    with pytest.raises(ValueError, match="only its log-density is known"):
        lg.map_objective(bare, priors.Jeffreys(bare))(PARAMS, X, LABELS)


def test_centered_and_non_centered_hierarchies_are_one_posterior():
    # Their densities differ by the Jacobian of theta = m + s * raw: s for each entry.
    y, error = RNG.normal(size=5), np.full(5, 0.5)
    centered = lg.map_objective(
        lg.likelihood(lambda p, e: dist.Normal(p["theta"], e)),
        lambda p: {"theta": dist.Normal(p["m"], p["s"]), "m": dist.Normal(0.0, 5.0), "s": dist.HalfCauchy(5.0)},
    )
    free = lg.map_objective(
        lg.likelihood(lambda p, e: dist.Normal(p["m"] + p["s"] * p["raw"], e)),
        {"raw": dist.Normal(0.0, 1.0), "m": dist.Normal(0.0, 5.0), "s": dist.HalfCauchy(5.0)},
    )
    raw, m, s = jnp.asarray(RNG.normal(size=5)), jnp.asarray(0.3), jnp.asarray(1.7)
    one = centered({"theta": m + s * raw, "m": m, "s": s}, error, y)
    np.testing.assert_allclose(one, free({"raw": raw, "m": m, "s": s}, error, y) + 5 * jnp.log(s), rtol=1e-13)
