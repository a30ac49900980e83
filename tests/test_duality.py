"""Duality gaps bound the excess of L1-penalised likelihoods, vanish at their optima, and are refused elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import links, models, supports
from lossgeo.duality import duality_gap

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, D = 40, 12


def gaussian(params, x, offset):
    return dist.Normal(x @ params["coef"] + offset, 0.7)


def with_scale(params, x, offset):
    return dist.Normal(x @ params["coef"] + offset + params["intercept"], params["scale"])


def student(params, x, offset):
    return dist.StudentT(2.0, x @ params["coef"] + offset, 1.0)


def poisson(params, x, offset):
    return dist.Poisson(jnp.exp(x @ params["coef"] + offset + params["intercept"]))


def logistic(params, x, offset):
    return dist.Bernoulli(logits=x @ params["coef"] + offset + params["intercept"])


def data(kind):
    rng = np.random.default_rng(3)
    x, offset = rng.standard_normal((N, D)), 0.3 * rng.standard_normal(N)
    eta = x[:, :3] @ np.array([1.0, -0.8, 0.5]) + offset
    y = {
        "gaussian": eta + rng.standard_normal(N),
        "logistic": (rng.random(N) < 1 / (1 + np.exp(-eta))).astype(float),
        "poisson": rng.poisson(np.exp(eta)).astype(float),
    }[kind]
    return jnp.asarray(x), jnp.asarray(offset), jnp.asarray(y)


CASES = {"gaussian": (gaussian, False), "logistic": (logistic, True), "poisson": (poisson, True)}


@pytest.mark.parametrize("kind", CASES)
def test_the_gap_bounds_the_excess_and_vanishes_at_the_optimum(kind):
    model, intercept = CASES[kind]
    x, offset, y = data(kind)
    strength = np.linspace(2.0, 4.0, D)
    prior = {"coef": dist.Laplace(0.1, jnp.asarray(1 / strength))} | ({"intercept": dist.Flat()} if intercept else {})
    init = {"coef": jnp.zeros(D)} | ({"intercept": jnp.asarray(0.0)} if intercept else {})
    objective = lg.map_objective(lg.likelihood(model), prior)
    fit = lg.fit(objective, init, x, offset, y, weights=np.where(np.arange(N) % 3 == 0, 2.0, 1.0))
    assert 0 <= fit.duality_gap < 1e-5
    value = jax.jit(lambda p: objective(p, x, offset, y, weights=fit.weights))
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 0.5):
        moved = jax.tree.map(lambda p, size=size: p + size * rng.standard_normal(p.shape), fit.params)
        excess, gap = float(value(moved) - fit.value), float(duality_gap(fit.posed, moved))
        # Far away the projected slopes may belong to no point at all: a bound of infinity.
        assert 0 < excess <= gap and (np.isfinite(gap) or size > 0.01)
    assert "duality gap" in str(fit.summary())


def test_the_gap_of_a_normal_likelihood_is_the_textbook_formula():
    x, offset, y = data("gaussian")
    objective = lg.map_objective(lg.likelihood(gaussian), {"coef": dist.Laplace(0.0, 0.25)})
    coef = np.random.default_rng(1).standard_normal(D) * (np.arange(D) % 2)
    posed = lg.Fit.from_params(objective, {"coef": jnp.asarray(coef)}, x, offset, y).posed
    # Of the lasso 0.5 |t - x b|^2 + 4 s^2 |b|_1, with t = y - offset and s the scale, in units of 1 / s^2.
    target, strength = np.asarray(y - offset), 4.0 * 0.7**2
    r = target - np.asarray(x) @ coef
    dual = r * min(1.0, strength / np.abs(np.asarray(x).T @ r).max())
    gap = 0.5 * r @ r + strength * np.abs(coef).sum() - dual @ target + 0.5 * dual @ dual
    np.testing.assert_allclose(duality_gap(posed, {"coef": jnp.asarray(coef)}), gap / 0.7**2, rtol=1e-10)


@pytest.mark.parametrize(
    ("model", "prior", "extra"),
    [
        (student, {"coef": dist.Laplace(0.0, 0.3)}, {}),
        (with_scale, {"coef": dist.Laplace(0.0, 0.3), "intercept": dist.Flat(), "scale": dist.Flat(supports.positive)},
         {"intercept": jnp.asarray(0.0), "scale": jnp.asarray(1.0)}),
        (logistic, {"coef": dist.Laplace(0.0, 0.3), "intercept": dist.Cauchy(0.0, 1.0)},
         {"intercept": jnp.asarray(0.1)}),
        (gaussian, {"coef": dist.Normal(0.0, 1.0)}, {}),
    ],
    ids=["rows that are not convex", "a free scale", "a prior on the intercept that is not normal", "no kink"],
)  # fmt: skip
def test_no_gap_is_claimed_where_none_is_known(model, prior, extra):
    x, offset, y = data("logistic" if model is logistic else "gaussian")
    objective = lg.map_objective(lg.likelihood(model), prior)
    fit = lg.Fit.from_params(objective, {"coef": jnp.full(D, 0.1)} | extra, x, offset, y)
    assert np.isnan(fit.duality_gap)


def test_a_declared_model_has_a_gap_too():
    x, _, y = data("poisson")
    objective = lg.map_objective(
        lg.likelihood(models.glm(dist.Poisson, links.log)), {"coef": dist.Laplace(0.0, 0.2), "intercept": dist.Flat()}
    )
    fit = lg.fit(objective, None, x, y)
    assert 0 <= fit.duality_gap < 1e-5
