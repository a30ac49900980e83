"""Minibatch descent: the gradient is that of the whole objective in expectation, the prior counts once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import inference, models, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, D, M = 50, 3, 8
OBJECTIVE = lg.map_objective(
    lg.likelihood(models.linear_regression(intercept=False)),
    {"coef": dist.Normal(0.0, 0.3), "scale": dist.Flat(supports.positive)},
)
INIT = {"coef": jnp.zeros(D), "scale": jnp.asarray(2.0)}
SGD = optax.multi_transform({"descend": optax.sgd(1e-3, momentum=0.9)}, {"coef": "descend", "scale": "descend"})


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, D))
    return x, x @ np.array([1.0, -0.5, 0.2]) + 0.5 * rng.standard_normal(N)


def by_hand(x, y, weights, key, epochs):
    """NumPy: gradients in (coef, log scale) written out, momentum steps, the same orders of the rows."""
    coef, rho, trace, means = np.zeros(D), np.log(2.0), np.zeros(D + 1), []
    for order in jax.random.split(key, epochs):
        rows = np.asarray(jax.random.permutation(order, N))[: N // M * M].reshape(-1, M)
        values = []
        for index in rows:
            s, w = np.exp(rho), N / M * weights[index]
            r = y[index] - x[index] @ coef
            log_likelihood = w @ (-0.5 * (r / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi))
            values.append(-log_likelihood)
            grad = np.r_[-(w * r) @ x[index] / s**2 + coef / 0.09, np.sum(w * (1 - (r / s) ** 2))]
            trace = grad + 0.9 * trace
            coef, rho = coef - 1e-3 * trace[:D], rho - 1e-3 * trace[D]
        prior = -0.5 * np.sum((coef / 0.3) ** 2) - D * np.log(0.3 * np.sqrt(2 * np.pi))
        means.append(np.mean(values) - prior)
    return coef, np.exp(rho), means


def test_it_is_the_descent_written_out(data):
    x, y = data
    weights, key = np.random.default_rng(1).uniform(0.5, 1.5, N), jax.random.key(3)
    coef, scale, means = by_hand(x, y, weights, key, 3)
    seen = []
    found = lg.minibatch(
        OBJECTIVE, INIT, x, y, transform=SGD, key=key, batch_size=M, epochs=3, weights=weights,
        callback=lambda *args: seen.append(args),
    )  # fmt: skip
    np.testing.assert_allclose(found.params["coef"], coef, rtol=1e-10)
    np.testing.assert_allclose(found.params["scale"], scale, rtol=1e-10)
    np.testing.assert_allclose(found.value, means, rtol=1e-12)
    assert found.num_steps == 3 * (N // M) and found.status == lg.Status.MAX_STEPS
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    np.testing.assert_array_equal(INIT["coef"], np.zeros(D))  # the caller's arrays are still there


def test_it_goes_on_from_its_state(data):
    key = jax.random.key(0)
    first = lg.minibatch(OBJECTIVE, INIT, *data, transform=SGD, key=key, batch_size=M)
    on = lg.minibatch(OBJECTIVE, first.params, *data, transform=SGD, key=key, batch_size=M, state=first.state)
    fresh = lg.minibatch(OBJECTIVE, first.params, *data, transform=SGD, key=key, batch_size=M)
    assert np.max(np.abs(on.params["coef"] - fresh.params["coef"])) > 1e-3  # the momentum was kept
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(first.state)) > 0  # and is not given up


def test_parameters_of_single_precision_stay_so_and_divergence_is_told(data):
    init = jax.tree.map(lambda v: v.astype(jnp.float32), INIT)
    single = [np.float32(v) for v in data]
    found = lg.minibatch(OBJECTIVE, init, *single, transform=SGD, key=jax.random.key(0), batch_size=M)
    assert found.params["coef"].dtype == jnp.float32
    wild = lg.minibatch(OBJECTIVE, INIT, *data, transform=optax.sgd(1e6), key=jax.random.key(0), batch_size=M, epochs=9)
    assert wild.status == lg.Status.NOT_FINITE and len(wild.value) < 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "between 1 and the 50 rows"),
        ({"batch_size": N + 1}, "between 1 and the 50 rows"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"weights": np.full(N, -1.0)}, "weights must be finite and not negative"),
    ],
)
def test_faults_are_named(data, change, message):
    given = {"transform": SGD, "key": jax.random.key(0), "batch_size": M} | change
    with pytest.raises(ValueError, match=message):
        lg.minibatch(OBJECTIVE, INIT, *data, **given)


def test_what_has_no_rows_is_refused(data):
    given = {"transform": SGD, "key": jax.random.key(0), "batch_size": 2}
    start = {"v": jnp.asarray(0.0)}
    with pytest.raises(ValueError, match="one dependent unit"):
        lg.minibatch(lg.map_objective(lambda p, y: -jnp.sum((y - p["v"]) ** 2)), start, jnp.ones(4), **given)
    with pytest.raises(ValueError, match=r"first axis of data.1 must enumerate the 4 rows"):
        lg.minibatch(
            lg.map_objective(lambda p, y, z: -((y - p["v"] - z[0]) ** 2)), start, jnp.ones(4), jnp.ones(3), **given
        )
    with pytest.raises(TypeError, match="optax.GradientTransformation"):
        lg.minibatch(OBJECTIVE, INIT, *data, **(given | {"transform": "adam"}))


def test_resampling_weights_have_the_moments_of_their_bootstrap():
    n, num = 20, 4000
    covariance = {"multinomial": -1 / n, "poisson": 0.0, "dirichlet": -1 / (n + 1)}
    variance = {"multinomial": 1 - 1 / n, "poisson": 1.0, "dirichlet": (n - 1) / (n + 1)}
    for kind in variance:
        weights = np.asarray(inference.resampling_weights(jax.random.key(1), n, num, kind))
        assert weights.shape == (num, n) and np.all(weights >= 0)
        if kind != "poisson":
            np.testing.assert_allclose(weights.sum(axis=1), n, rtol=1e-12)
        if kind != "dirichlet":
            np.testing.assert_array_equal(weights, np.round(weights))
        # Five standard errors of the average of num * n draws.
        np.testing.assert_allclose(weights.mean(), 1.0, atol=5 / np.sqrt(num * n))
        second = np.cov(weights.T)
        np.testing.assert_allclose(np.diag(second).mean(), variance[kind], atol=5 * 3 / np.sqrt(num * n))
        off = (second.sum() - np.trace(second)) / (n * (n - 1))
        np.testing.assert_allclose(off, covariance[kind], atol=5 / np.sqrt(num * n * (n - 1) / 2))
    with pytest.raises(ValueError, match="kind must be one of"):
        inference.resampling_weights(jax.random.key(1), n, num, "jackknife")
