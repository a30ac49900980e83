"""Wald intervals of entries that constrain each other, and of tied parameters: the textbook's, inside the support."""

import functools
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import priors, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, Z = 120, NormalDist().inv_cdf(0.975)
RNG = np.random.default_rng(2)
CLASSES = RNG.choice(3, size=N, p=[0.05, 0.35, 0.6])
PAIRS = RNG.multivariate_normal([0.0, 1.0], [[2.0, 0.9], [0.9, 0.5]], size=N)


def squared(scale):
    return scale**2


def log_likelihood(p, classes, pairs):
    """Three independent models of the same rows, so that one fit serves all."""
    factor = p["scale"][:, None] * p["factor"]
    return (
        dist.Categorical(p["shares"]).log_prob(classes)
        + dist.MultivariateNormal(p["mean"], p["covariance"]).log_prob(pairs)
        + dist.MultivariateNormal(p["mean"], cholesky=factor).log_prob(pairs)
    )


@functools.cache
def fitted():
    prior = {
        "shares": dist.Dirichlet(np.ones(3)),
        "mean": dist.Flat(),
        "covariance": dist.Flat(supports.positive_definite),
        "factor": dist.Flat(supports.correlation_cholesky),
        "scale": dist.Flat(supports.positive),
        "variance": priors.Tied("scale", squared),
        "total": priors.Tied("scale", jnp.sum),
    }
    start = {"shares": np.ones(3) / 3, "mean": np.zeros(2), "covariance": np.eye(2), "factor": np.eye(2)}
    start |= {"scale": np.ones(2), "variance": np.ones(2), "total": 1.0}
    fit = lg.fit(lg.map_objective(log_likelihood, prior), start, CLASSES, PAIRS)
    return fit, fit.standard_errors(), *fit.interval()


def test_shares_have_intervals_on_the_log_odds():
    fit, errors, low, high = fitted()
    share = np.bincount(CLASSES) / N
    np.testing.assert_allclose(fit.params["shares"], share, rtol=1e-8)
    np.testing.assert_allclose(errors["shares"], np.sqrt(share * (1 - share) / N), rtol=1e-7)
    odds, reach = np.log(share / (1 - share)), Z / np.sqrt(N * share * (1 - share))
    np.testing.assert_allclose(low["shares"], 1 / (1 + np.exp(reach - odds)), rtol=1e-7)
    np.testing.assert_allclose(high["shares"], 1 / (1 + np.exp(-reach - odds)), rtol=1e-7)


@pytest.mark.slow
def test_variances_on_the_logarithm_and_covariances_on_the_line():
    fit, errors, low, high = fitted()
    covariance = np.cov(PAIRS.T, bias=True)
    np.testing.assert_allclose(fit.params["covariance"], covariance, rtol=1e-8)
    variance = np.diag(covariance)
    np.testing.assert_allclose(np.diag(low["covariance"]), variance * np.exp(-Z * np.sqrt(2 / N)), rtol=1e-7)
    np.testing.assert_allclose(np.diag(high["covariance"]), variance * np.exp(Z * np.sqrt(2 / N)), rtol=1e-7)
    spread = np.sqrt((np.prod(variance) + covariance[0, 1] ** 2) / N)
    np.testing.assert_allclose(errors["covariance"][0, 1], spread, rtol=1e-7)
    np.testing.assert_allclose(high["covariance"][1, 0], covariance[0, 1] + Z * spread, rtol=1e-7)


def test_a_correlation_has_fishers_z():
    fit, _, low, high = fitted()
    correlation = np.corrcoef(PAIRS.T)[0, 1]
    np.testing.assert_allclose(fit.params["factor"][1, 0], correlation, rtol=1e-8)
    z = np.arctanh(correlation) + Z / np.sqrt(N) * np.array([-1, 1])
    np.testing.assert_allclose([low["factor"][1, 0], high["factor"][1, 0]], np.tanh(z), rtol=1e-7)
    # The rest of the row has length sqrt(1 - correlation^2); the first row never moves.
    assert 0 < low["factor"][1, 1] < fit.params["factor"][1, 1] < high["factor"][1, 1] < 1
    assert np.all(np.isnan(low["factor"][0]))


def test_a_tied_parameter_has_the_image_of_its_source():
    fit, errors, low, high = fitted()
    for end in (low, high):
        np.testing.assert_allclose(end["variance"], end["scale"] ** 2, rtol=1e-14)
        np.testing.assert_allclose(end["variance"], np.diag(end["covariance"]), rtol=1e-7)
    # A sum of two is no image of one: the delta method.
    np.testing.assert_allclose(high["total"] - fit.params["total"], Z * errors["total"], rtol=1e-12)
    assert "tied" in str(fit.summary())
