"""Compositions in models, fitted end to end: survival times, inflated counts, a mixture, a correlation."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats as st

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

OVARIAN = json.loads((Path(__file__).parents[1] / "reference" / "survreg_weibull_ovarian.json").read_text())


def weibull_aft(params, x):
    return dist.Censored(dist.Weibull(jnp.exp(x @ params["coef"]), 1 / params["scale"]))


AFT = lg.map_objective(lg.likelihood(weibull_aft), supports={"scale": supports.positive})


def digits(found, truth):
    found, truth = np.asarray(found), np.asarray(truth)
    return np.min(-np.log10(np.maximum(np.abs(found - truth) / np.abs(truth), 1e-16)))


def test_weibull_regression_of_censored_times_agrees_with_survreg():
    x, time, status = (np.asarray(OVARIAN[k], float) for k in ("X", "time", "status"))
    fit = lg.fit(AFT, {"coef": jnp.array([6.0, 0.0, 0.0]), "scale": 1.0}, x, (time, status))
    assert fit.status == lg.Status.CONVERGED
    assert digits(fit.params["coef"], list(OVARIAN["coef"].values())) >= 8
    assert digits(fit.params["scale"], OVARIAN["scale"]) >= 8
    assert digits(-fit.value, OVARIAN["loglik"]) >= 10
    errors = fit.standard_errors()
    *wanted, of_log_scale = OVARIAN["se_coef_and_logscale"]
    assert digits(errors["coef"], wanted) >= 6
    assert digits(errors["scale"] / fit.params["scale"], of_log_scale) >= 6


def test_a_censored_target_is_checked_at_the_door():
    x, time, status = (np.asarray(OVARIAN[k], float) for k in ("X", "time", "status"))
    start = {"coef": jnp.zeros(3), "scale": 1.0}
    with pytest.raises(ValueError, match=r"Censored: \(time, event\).*the first at index 2"):
        lg.fit(AFT, start, x, (time, np.where(np.arange(26) == 2, 7, status)))
    with pytest.raises(ValueError, match=r"1 of 26 values do not, the first at index 0"):
        lg.fit(AFT, start, x, (np.where(np.arange(26) == 0, -time, time), status))


@pytest.mark.slow
def test_zero_inflated_poisson_is_at_its_maximum():
    """The score of the zero-inflated Poisson model is 0: at the fit the expected zeros and mean are the observed."""
    rng = np.random.default_rng(2)
    y = np.where(rng.uniform(size=400) < 0.35, 0, rng.poisson(2.3, 400)).astype(float)
    objective = lg.map_objective(
        lg.likelihood(lambda p: dist.ZeroInflated(dist.Poisson(p["rate"]), p["zero"])),
        supports={"rate": supports.positive, "zero": supports.unit_interval},
    )
    fit = lg.fit(objective, {"rate": 1.0, "zero": 0.5}, y)
    assert fit.status == lg.Status.CONVERGED
    # The mean of the positive counts is rate / (1 - exp(-rate)); the share of zeros is that of the model.
    positive = y[y > 0]
    rate = scipy.optimize.brentq(lambda r: r / -np.expm1(-r) - positive.mean(), 0.1, 20, xtol=1e-15, rtol=1e-15)
    zero = 1 - (positive.size / y.size) / -np.expm1(-rate)
    assert digits(fit.params["rate"], rate) >= 8 and digits(fit.params["zero"], zero) >= 8


@pytest.mark.slow
def test_a_mixture_of_two_normals_is_a_fixed_point_of_em():
    rng = np.random.default_rng(4)
    y = np.concatenate([rng.normal(-1.5, 0.7, 150), rng.normal(2.0, 1.1, 250)])
    objective = lg.map_objective(
        lg.likelihood(lambda p: dist.Mixture(p["weights"], dist.Normal(p["loc"], p["scale"]))),
        supports={"weights": supports.simplex, "loc": supports.ordered, "scale": supports.positive},
    )
    start = {"weights": jnp.array([0.5, 0.5]), "loc": jnp.array([-1.0, 1.0]), "scale": jnp.ones(2)}
    fit = lg.fit(objective, start, y)
    assert fit.status == lg.Status.CONVERGED
    p = jax.tree.map(np.asarray, fit.params)
    density = p["weights"] * st.norm.pdf(y[:, None], p["loc"], p["scale"])
    share = density / density.sum(axis=1, keepdims=True)
    loc = share.T @ y / share.sum(0)
    scale = np.sqrt((share * (y[:, None] - loc) ** 2).sum(0) / share.sum(0))
    np.testing.assert_allclose(p["weights"], share.mean(0), rtol=1e-7)
    np.testing.assert_allclose(p["loc"], loc, rtol=1e-7)
    np.testing.assert_allclose(p["scale"], scale, rtol=1e-7)


@pytest.mark.slow
def test_the_mode_of_a_correlation_under_an_lkj_prior():
    """A correlation of two unit normals with density (1 - r^2)^(eta - 1) on r: the mode solves a cubic equation."""
    rng = np.random.default_rng(6)
    y = rng.normal(size=(80, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    eta = 3.0
    objective = lg.map_objective(
        lg.likelihood(lambda p: dist.MultivariateNormal(0.0, cholesky=p["corr"])), {"corr": dist.LKJCholesky(2, eta)}
    )
    fit = lg.fit(objective, {"corr": jnp.eye(2)}, y)
    assert fit.status == lg.Status.CONVERGED
    s, c, n = np.sum(y**2), np.sum(y[:, 0] * y[:, 1]), len(y)

    def value(r):  # the Jacobian of r into L[1, 0] is 1
        return -0.5 * n * np.log1p(-r * r) - (0.5 * s - r * c) / (1 - r * r) + (eta - 1) * np.log1p(-r * r)

    found = scipy.optimize.minimize_scalar(lambda r: -value(r), bounds=(-0.99, 0.99), options={"xatol": 1e-12})
    np.testing.assert_allclose(fit.params["corr"][1, 0], found.x, rtol=1e-6)
