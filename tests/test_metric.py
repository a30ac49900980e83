"""The pulled-back Fisher metric: what it equals where theory says so, and that its root is a root."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import metric, supports
from lossgeo.posing import objective_value, pose

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 3))
WEIGHTS = RNG.uniform(0.5, 2.0, size=12)
COUNTS = RNG.poisson(2.0, size=12).astype(float)


def poisson(params, x):
    return dist.Poisson(log_rate=x @ params["coef"])


def binomial(params, x):
    return dist.Binomial(5, logits=x @ params["coef"])


def softmax(params, x):
    return dist.Categorical(logits=x @ params["coef"])


def growth(params, x):
    return dist.Normal(params["coef"][0] * jnp.exp(params["coef"][1] * x[:, 0]) + params["coef"][2], params["scale"])


# Canonical links: the observed information does not depend on the target and is the expected one.
CANONICAL = {
    "poisson": (poisson, {"coef": np.array([0.3, -0.2, 0.1])}, COUNTS),
    "binomial": (binomial, {"coef": np.array([0.3, -0.2, 0.1])}, np.minimum(COUNTS, 5.0)),
    "softmax": (softmax, {"coef": RNG.normal(size=(3, 4))}, RNG.integers(0, 4, size=12)),
}


def posed_at(model, params, y, weights=None, prior=None, x=X):
    objective = lg.map_objective(lg.likelihood(model), prior)
    posed = pose(objective, params, (jnp.asarray(x), jnp.asarray(y)), None if weights is None else jnp.asarray(weights))
    return posed, posed.to_unconstrained(posed.template)


def metric_of(u, posed):
    """The metric from the information in the parameters, by the chain rule."""
    z, unravel = ravel_pytree(u)
    jacobian = jax.jacfwd(lambda z: ravel_pytree(posed.to_params(unravel(z)))[0])(z)
    information = lg.likelihoods.fisher_information(
        posed.objective.likelihood, posed.to_params(u), *posed.data, weights=posed.weights
    )
    return jacobian.T @ information @ jacobian


@pytest.mark.parametrize("name", CANONICAL)
def test_with_a_canonical_link_the_metric_is_the_hessian(name):
    posed, u = posed_at(*CANONICAL[name], weights=WEIGHTS)
    z, unravel = ravel_pytree(u)
    hessian = jax.jit(jax.hessian(lambda z: objective_value(unravel(z), posed)))(z)
    np.testing.assert_allclose(jax.jit(metric_of)(u, posed), hessian, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CANONICAL)
def test_the_root_gives_the_gradient(name):
    posed, u = posed_at(*CANONICAL[name], weights=WEIGHTS, prior=dist.Normal(0.5, 2.0))
    z, unravel = ravel_pytree(u)
    rows, residual, remainder = jax.jit(metric.fisher_root)(u, posed)
    gradient = jax.jit(jax.grad(lambda z: objective_value(unravel(z), posed)))(z)
    np.testing.assert_allclose(rows.T @ residual + remainder, gradient, rtol=1e-10, atol=1e-12)
    prior = np.eye(z.size) / 4.0
    np.testing.assert_allclose(rows.T @ rows, metric_of(u, posed) + prior, rtol=1e-10, atol=1e-12)


def test_for_normal_residuals_it_is_gauss_newton_and_two_over_the_variance_of_a_log_scale():
    params = {"coef": np.array([1.2, 0.4, -0.3]), "scale": np.array(0.7)}
    y = RNG.normal(size=12)
    prior = {"coef": dist.Flat(), "scale": dist.Flat(supports.positive)}
    posed, u = posed_at(growth, params, y, WEIGHTS, prior)
    rate = np.exp(0.4 * X[:, 0])
    jacobian = np.stack([rate, 1.2 * X[:, 0] * rate, np.ones(12)], axis=1)
    expected = np.zeros((4, 4))
    expected[:3, :3] = jacobian.T @ (WEIGHTS[:, None] * jacobian) / 0.7**2
    expected[3, 3] = 2.0 * WEIGHTS.sum()
    rows, _, _ = metric.fisher_root(u, posed)
    np.testing.assert_allclose(rows.T @ rows, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(metric_of(u, posed), expected, rtol=1e-12, atol=1e-12)
    # The second derivative of the mean along a direction, in the metric.
    v = np.array([0.3, -1.0, 2.0, 0.0])
    second = (2 * 0.3 * -1.0 * X[:, 0] + 1.2 * X[:, 0] ** 2) * rate
    np.testing.assert_allclose(
        metric.fisher_bend(u, posed, jnp.asarray(v))[:3], jacobian.T @ (WEIGHTS * second) / 0.7**2, rtol=1e-12
    )


def test_what_has_no_metric_says_so():
    def no_density(params, x, y):
        return -jnp.abs(y - x @ params["coef"])

    params = {"coef": np.zeros(3)}
    posed = pose(lg.map_objective(lg.pseudo_likelihood(no_density)), params, (X, COUNTS), None)
    assert metric.root_size(posed) is None
    with pytest.raises(TypeError, match="bare function"):
        metric.fisher_root(posed.to_unconstrained(posed.template), posed)
    cutpoints = lambda params, x: dist.OrderedLogistic(x @ params["coef"], jnp.array([-1.0, 1.0]))  # noqa: E731
    posed = pose(lg.map_objective(lg.likelihood(cutpoints)), params, (X, RNG.integers(0, 3, 12)), None)
    assert metric.root_size(posed) is None
    posed, _ = posed_at(*CANONICAL["poisson"])
    assert metric.root_size(posed) == 36
