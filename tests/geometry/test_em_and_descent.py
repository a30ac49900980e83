"""The em algorithm against EM by hand, mirror descent against exponentiated gradient, natural gradient against IRLS."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossgeo import geometry as geo

RNG = np.random.default_rng(1)
OBSERVED = RNG.dirichlet(np.ones(12)).reshape(3, 4)
START = RNG.dirichlet(np.ones(24)).reshape(2, 3, 4)
LATENT = geo.Hierarchical(((0, 1), (0, 2)))  # class, row, column: rows and columns independent within a class
DATA = geo.Margins((jnp.asarray(OBSERVED),), ((1, 2),))


@pytest.fixture(scope="module")
def latent():
    return geo.em(START, DATA, LATENT)


def test_em_is_the_em_algorithm_of_a_latent_class_model_step_for_step(latent):
    p = np.asarray(geo.project(START, LATENT, side="M").point)
    divergences = []
    for _ in range(int(latent.num_steps)):
        completed = p / p.sum(0) * OBSERVED  # posterior of the class, times the data
        share = completed.sum((1, 2), keepdims=True)
        p = completed.sum(2, keepdims=True) * completed.sum(1, keepdims=True) / share
        divergences.append(np.sum(completed * np.log(completed / p)))
    history = np.asarray(latent.history)
    np.testing.assert_allclose(history[: len(divergences)], divergences, rtol=1e-12)
    assert np.all(np.isnan(history[len(divergences) :]))
    np.testing.assert_allclose(latent.model_point, p, rtol=1e-6)


def test_em_never_rises_and_certifies_a_stationary_point(latent):
    assert latent.converged and latent.remaining < 1e-15 and latent.pythagorean_residual < 1e-14
    assert np.nanmax(np.diff(latent.history)) < 1e-15
    np.testing.assert_allclose(jnp.sum(latent.data_point, 0), OBSERVED, rtol=1e-13)
    # The least divergence is that of the observed margin from the model's: hidden variables cost nothing at the end.
    margin = jnp.sum(latent.model_point, 0)
    np.testing.assert_allclose(latent.divergence, geo.kl_divergence(OBSERVED.ravel(), margin.ravel()), rtol=1e-12)

    def observed_divergence(direction):
        # All directions of the model: log-linear in the generating margins.
        log_p = jnp.log(latent.model_point) + direction[0][:, :, None] + direction[1][:, None, :]
        moved = jax.nn.softmax(log_p.ravel()).reshape(START.shape)
        return geo.kl_divergence(OBSERVED.ravel(), jnp.sum(moved, 0).ravel())

    slope = jax.grad(observed_divergence)((jnp.zeros((2, 3)), jnp.zeros((2, 4))))
    assert max(float(jnp.max(jnp.abs(s))) for s in slope) < 1e-8


def test_em_with_moments_and_its_half_steps():
    model = geo.LogLinear(jnp.array([[1.0, 1.0, 0.0, 0.0]]))
    data = geo.Moments(jnp.array([[0.0, 1.0, 2.0, 3.0], [1.0, -1.0, 0.0, 0.0]]), jnp.array([2.2, 0.1]))
    start = jnp.array([0.1, 0.2, 0.3, 0.4])
    found = geo.em(start, data, model)
    assert found.converged
    r = geo.project(found.model_point, data, side="I")
    np.testing.assert_allclose(geo.project(r.point, model, side="M").point, found.model_point, rtol=1e-8)
    # What an m-step gains is KL between its ends, without subtraction.
    before = geo.project(start, model, side="M").point
    r = geo.project(before, data, side="I").point
    after = geo.project(r, model, side="M").point
    gain = geo.kl_divergence(r, before) - geo.kl_divergence(r, after)
    np.testing.assert_allclose(geo.kl_divergence(after, before), gain, rtol=1e-12)
    short = geo.em(START, DATA, LATENT, max_steps=3)
    assert not short.converged and short.remaining > 1e-8 and short.num_steps == 3
    with pytest.raises(ValueError, match="m-flat"):
        geo.em(start, model, data)


def run(optimizer, params, gradient, steps):
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params


def test_mirror_descent_with_the_entropy_is_exponentiated_gradient():
    cost = jnp.array([[1.0, -2.0, 0.5], [0.0, 0.3, 0.1]])
    start, rate = jnp.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]), 0.3
    gradient = lambda x: cost + 2 * x  # noqa: E731
    x = run(geo.mirror_descent(geo.dual(geo.log_sum_exp), rate), start, gradient, 20)
    y = np.asarray(start)
    for _ in range(20):
        y = y * np.exp(-rate * np.asarray(cost + 2 * y))
        y = y / y.sum(-1, keepdims=True)
    np.testing.assert_allclose(x, y, rtol=1e-12)
    # Unnormalized: every entry by itself, positive throughout.
    x = run(geo.mirror_descent(geo.negative_entropy, rate), start, gradient, 20)
    y = np.asarray(start)
    for _ in range(20):
        y = y * np.exp(-rate * np.asarray(cost + 2 * y))
    np.testing.assert_allclose(x, y, rtol=1e-12)


def test_mirror_descent_over_a_tree_with_a_schedule():
    params = {"w": jnp.array([0.3, 0.7]), "b": jnp.array([1.0, -2.0])}
    prefix = {"w": geo.dual(geo.log_sum_exp), "b": geo.half_squared_norm}
    gradient = lambda p: {"w": jnp.array([1.0, 0.0]), "b": p["b"]}  # noqa: E731
    found = run(geo.mirror_descent(prefix, lambda count: 0.5 / (1.0 + count)), params, gradient, 2)
    np.testing.assert_allclose(found["w"], jax.nn.softmax(jnp.log(params["w"]) - jnp.array([0.75, 0.0])), rtol=1e-14)
    np.testing.assert_allclose(found["b"], params["b"] * 0.5 * 0.75, rtol=1e-14)
    with pytest.raises(ValueError, match="potential has no entry"):
        geo.mirror_descent({"w": geo.burg}, 0.1).init(params)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer = geo.mirror_descent(prefix, 0.1)
        optimizer.update(params, optimizer.init(params))


def test_mirror_descent_returns_from_the_edge_of_the_simplex():
    # The first cost drives an entry to 1e-35, which adding an update to the parameters rounds to 0; the second brings
    # it back, because the state is the dual point.
    optimizer = geo.mirror_descent(geo.dual(geo.log_sum_exp), 80.0)
    x = jnp.array([0.5, 0.5])
    state = optimizer.init(x)
    for cost in (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])):
        updates, state = optimizer.update(cost, state, x)
        x = optax.apply_updates(x, updates)
    np.testing.assert_allclose(x, [0.5, 0.5], rtol=1e-12)


X = jnp.asarray(np.column_stack([np.ones(40), RNG.normal(size=(40, 2))]))
Y = jnp.asarray(RNG.binomial(1, 0.4, size=40).astype(float))


def nll(theta):
    return jnp.sum(geo.fenchel_young_loss(geo.bernoulli, X @ theta, Y))


def logistic_metric(theta):
    return geo.pullback_metric(lambda t: X @ t, theta, geo.bernoulli.hessian(X @ theta))


def fisher_scoring(theta):
    p = 1 / (1 + np.exp(-np.asarray(X @ theta)))
    weight = p * (1 - p)
    working = X @ theta + (Y - p) / weight
    return np.linalg.solve(X.T @ (weight[:, None] * X), X.T @ (weight * working))


def test_natural_gradient_descent_at_rate_one_is_fisher_scoring():
    theta = jnp.array([0.3, -0.5, 0.2])
    moved = run(geo.natural_gradient_descent(logistic_metric), theta, jax.grad(nll), 1)
    np.testing.assert_allclose(moved, fisher_scoring(theta), rtol=1e-12)
    end = run(geo.natural_gradient_descent(logistic_metric), theta, jax.grad(nll), 8)
    np.testing.assert_allclose(jax.grad(nll)(end), 0, atol=1e-12)


def test_natural_gradient_descent_does_not_know_units():
    theta, units = jnp.array([0.3, -0.5, 0.2]), jnp.array([1.0, 1e3, 1e-4])
    for damping in (0.0, 0.3):
        plain = run(geo.natural_gradient_descent(logistic_metric, 0.5, damping=damping), theta, jax.grad(nll), 3)
        scaled = geo.natural_gradient_descent(
            lambda t: units[:, None] * logistic_metric(units * t) * units[None, :], 0.5, damping=damping
        )
        other = run(scaled, theta / units, jax.grad(lambda t: nll(units * t)), 3)
        np.testing.assert_allclose(units * other, plain, rtol=1e-10)


def test_natural_gradient_takes_minibatches_by_keyword():
    optimizer = geo.natural_gradient_descent(lambda theta, rows: jnp.diag(rows), 1.0)
    theta = jnp.array([1.0, 2.0])
    updates, _ = optimizer.update(theta, optimizer.init(theta), theta, rows=jnp.array([2.0, 4.0]))
    np.testing.assert_allclose(updates, [-0.5, -0.5])


def test_mirror_descent_is_natural_gradient_descent_in_the_dual_coordinates():
    rate, mu = 1e-3, jnp.array([0.4, 0.3])
    cost = lambda m: jnp.sum((m - 0.2) ** 2)  # noqa: E731
    a = geo.categorical
    in_mu = run(geo.mirror_descent(geo.dual(a), rate), mu, jax.grad(cost), 5)
    # In eta: the metric is the Hessian of A, and the gradient in eta is the Hessian times the gradient in mu.
    metric = lambda eta: a.hessian(eta)  # noqa: E731
    in_eta = run(
        geo.natural_gradient_descent(metric, rate), a.inverse(mu), jax.grad(lambda eta: cost(a.gradient(eta))), 5
    )
    np.testing.assert_allclose(a.gradient(in_eta), in_mu, rtol=1e-12)
