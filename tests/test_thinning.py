"""Fits of many rows start from the optimum of a thinned sample, and end where any other start ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo.posing import as_problem, pose
from lossgeo.thinning import thin

N, D = 40_000, 50

pytestmark = pytest.mark.usefixtures("fast_compilation")


def model(params, x):
    return dist.Poisson(jnp.exp(x @ params["coef"]))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * 0.3
    x[:, 0] = 1.0
    return x, rng.poisson(np.exp(x @ np.linspace(-0.5, 0.5, D))).astype(float)


def by_hand(x, y, w):
    """Newton's method on the weighted Poisson log-likelihood with a standard normal prior."""
    b = np.zeros(D)
    for _ in range(12):
        mean = np.exp(x @ b)
        b -= np.linalg.solve((x * (w * mean)[:, None]).T @ x + np.eye(D), x.T @ (w * (mean - y)) + b)
    return b


@pytest.mark.slow
def test_a_fit_of_many_rows_has_all_its_digits(data):
    x, y = data
    w = np.random.default_rng(1).integers(0, 3, N).astype(float)
    objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, 1.0)})
    fit = lg.fit(objective, {"coef": jnp.zeros(D)}, x, y, weights=w)
    np.testing.assert_allclose(fit.params["coef"], by_hand(x, y, w), rtol=1e-9, atol=1e-12)
    mean = np.exp(x @ np.asarray(fit.params["coef"]))
    information = (x * (w * mean)[:, None]).T @ x + np.eye(D)
    np.testing.assert_allclose(fit.solution.certificate.hessian, information, rtol=1e-7, atol=1e-7 * information.max())


def test_the_thinned_start_is_near_and_is_no_more_than_a_start(data):
    x, y = (jnp.asarray(v) for v in data)
    objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, 1.0)})

    @jax.jit
    def start(init):
        problem = as_problem(pose(objective, init, (x, y), None))
        return thin(problem).start(problem)

    (u,), hessian = start({"coef": jnp.zeros(D)})
    exact = by_hand(np.asarray(x), np.asarray(y), np.ones(N))
    x = np.asarray(x)
    information = (x * np.exp(x @ exact)[:, None]).T @ x + np.eye(D)
    off = np.asarray(u) - exact
    # Half of p chi-squared degrees of freedom, times the ratio of the numbers of rows.
    assert 0.5 * off @ information @ off < 3 * 0.5 * D * 4
    assert np.linalg.norm(hessian - information) < 0.1 * np.linalg.norm(information)


def test_no_thinned_start_where_it_does_not_pay_or_cannot_be(data):
    x, y = (jnp.asarray(v) for v in data)

    def thinned(log_likelihood, x, y):
        found = []

        def trace(params, x, y):
            found.append(thin(as_problem(pose(lg.map_objective(log_likelihood), params, (x, y), None))))
            return jnp.zeros(())

        jax.eval_shape(trace, {"coef": jnp.zeros(x.shape[1])}, x, y)
        return found[0]

    def rows(params, x, y):
        return -0.5 * (y - x @ params["coef"]) ** 2

    assert thinned(rows, x, y) is not None
    assert thinned(rows, x[:9000], y[:9000]) is None
    assert thinned(rows, x[:, :5], y) is None
    assert thinned(lambda params, x, _: rows(params, x, y), x, y) is None  # closes over all rows of y
