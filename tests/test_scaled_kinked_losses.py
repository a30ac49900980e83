"""Noise with kinks whose scale is estimated beside a lasso: a minimum in all of them, with exact zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import losses, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")
N = 31
RNG = np.random.default_rng(2)
X = RNG.standard_normal((N, 2))
Y = X @ [0.1, -0.8] + 0.3 + RNG.laplace(size=N)
WEIGHTS = np.where(np.arange(N) % 4 == 0, 2.0, 1.0)
START = {"coef": jnp.zeros(2), "intercept": jnp.asarray(0.0), "s": jnp.asarray(1.0)}


def model(p, x):
    return dist.AsymmetricLaplace(x @ p["coef"] + p["intercept"], p["s"], 0.4)


def objective(scale_prior, strength=(100.0, 2.0)):
    prior = {"coef": dist.Laplace(0.1, 1 / jnp.asarray(strength)), "intercept": None, "s": scale_prior}
    return lg.map_objective(lg.likelihood(model), prior)


FREE = dist.Flat(supports.positive)


def test_the_scale_is_the_mean_loss_and_nothing_nearby_is_better():
    fit = lg.fit(objective(FREE), START, X, Y, weights=WEIGHTS)
    residual = Y - X @ fit.params["coef"] - fit.params["intercept"]
    np.testing.assert_allclose(fit.params["s"], WEIGHTS @ losses.Pinball(0.4)(residual) / WEIGHTS.sum(), rtol=1e-13)
    assert fit.params["coef"][0] == 0.1 and fit.params["coef"][1] != 0.1
    rng, z = np.random.default_rng(0), np.r_[fit.params["coef"], fit.params["intercept"], fit.params["s"]]
    value = jax.jit(
        jax.vmap(lambda z: objective(FREE)({"coef": z[:2], "intercept": z[2], "s": z[3]}, X, Y, weights=WEIGHTS))
    )
    sizes = 10.0 ** rng.uniform(-7, -0.7, (500, 1))
    steps = rng.standard_normal((500, 4)) * (rng.random((500, 4)) < 0.6)
    assert np.all(value(z + sizes * steps) >= fit.value - 1e-12)


@pytest.mark.slow
def test_its_derivatives_are_those_of_the_vertex():
    along = np.random.default_rng(1).standard_normal(N)

    def estimates(y, strength):
        found = lg.solve(objective(FREE, strength), START, X, y).params
        return jnp.concatenate([found["coef"], found["intercept"][None], found["s"][None]])

    tangents = jnp.asarray(along), jnp.asarray([1.0, 1.0])
    start = jnp.asarray(Y), jnp.asarray([100.0, 2.0])
    solve = jax.jit(estimates)
    ahead, behind = (solve(*(p + h * t for p, t in zip(start, tangents, strict=True))) for h in (1e-6, -1e-6))
    _, change = jax.jvp(solve, start, tangents)
    np.testing.assert_allclose(change, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)


def test_a_perfect_line_has_no_scale():
    fit = lg.fit(objective(FREE, (1.0, 1.0)), START, X, X @ [1.0, 2.0] - 1.0, throw=False)
    assert fit.status == lg.Status.AT_BOUNDARY and "s runs to the edge" in fit.message
