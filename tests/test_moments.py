"""Normal regressions of many rows start from their moments; what is not one does not, or is found out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports
from lossgeo.moments import solve_by_moments
from lossgeo.posing import as_problem, pose

N, D = 20_000, 72
INIT = {"coef": jnp.zeros(D), "intercept": 0.0, "scale": 1.0}
SUPPORTS = {"scale": supports.positive}

pytestmark = pytest.mark.usefixtures("fast_compilation")


def model(params, x, offset):
    return dist.Normal(params["intercept"] + x @ params["coef"] + offset, params["scale"])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) + 3.0
    offset = rng.normal(size=N)
    return x, offset, 100.0 + offset + x @ rng.normal(size=D) + 7.0 * rng.normal(size=N)


def test_weighted_least_squares_with_all_its_digits(data):
    x, offset, y = data
    w = np.random.default_rng(1).uniform(0.5, 2.0, N)
    fit = lg.fit(lg.map_objective(lg.likelihood(model), supports=SUPPORTS), INIT, *data, weights=w)
    assert fit.num_steps <= 1  # a look at the rows, and a correction
    design, root = np.c_[x, np.ones(N)], np.sqrt(w)
    exact = np.linalg.lstsq(design * root[:, None], (y - offset) * root)[0]
    np.testing.assert_allclose(fit.params["coef"], exact[:-1], rtol=1e-10)
    np.testing.assert_allclose(fit.params["intercept"], exact[-1], rtol=1e-10)
    residual = y - offset - design @ exact
    sigma = np.sqrt(np.sum(w * residual**2) / np.sum(w))
    np.testing.assert_allclose(fit.params["scale"], sigma, rtol=1e-10)
    errors = sigma * np.sqrt(np.diag(np.linalg.inv((design * w[:, None]).T @ design)))
    np.testing.assert_allclose(fit.standard_errors()["coef"], errors[:-1], rtol=1e-8)
    np.testing.assert_allclose(fit.standard_errors()["intercept"], errors[-1], rtol=1e-8)


def start(model, data):
    """Coordinates and curvature, or None."""
    none = []

    @jax.jit
    def found(init, data):
        objective = lg.map_objective(lg.likelihood(model), supports=SUPPORTS)
        end = solve_by_moments(as_problem(pose(objective, init, data, None)), jnp.asarray(1e-12))
        none.append(end is None)
        return None if end is None else (end.u, end.curvature)

    u_and_hessian = found(INIT, data)
    return None if none[0] else u_and_hessian


def test_a_perfect_fit_has_no_optimum(data):
    x, offset, _ = (v[:200] for v in data)
    u, hessian = start(model, (x, offset, offset))
    assert np.all(np.isnan(hessian))
    np.testing.assert_array_equal(u[0], 0.0)


@pytest.mark.parametrize(
    "other",
    [
        lambda p, x, o: dist.Normal(jnp.exp(p["intercept"]) + x @ p["coef"], p["scale"]),
        lambda p, x, o: dist.Normal(p["intercept"] + x @ p["coef"], p["scale"] * jnp.exp(o)),
        lambda p, x, o: dist.Laplace(p["intercept"] + x @ p["coef"], p["scale"]),
        lambda p, x, o: dist.Normal(p["intercept"] + 2.0 * (x @ p["coef"]) + o, p["scale"]),
        lambda p, x, o: dist.Normal(o - x @ p["coef"], p["scale"]),
    ],
    ids=["bent", "heteroscedastic", "laplace", "doubled", "negative"],
)
def test_what_is_not_a_normal_regression_of_one_scale_is_left_alone(other, data):
    assert start(other, tuple(v[:200] for v in data)) is None
