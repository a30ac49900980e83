"""Densities with a kink (their proximal maps are minimisers) and those that join pieces: limits at both ends."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from evaluation import QUICKLY

from lossgeo import distributions as dist
from lossgeo import numerics

V = np.array([-3.0, -0.4, 0.45, 0.5, 0.55, 1.1, 4.0])
STEP = 0.3
KINKED = {
    "laplace": dist.Laplace(0.5, 2.0),
    "asymmetric_laplace": dist.AsymmetricLaplace(0.5, 1.5, 0.2),
    "elastic_net": dist.ElasticNet(0.5, 0.9, 1.3),
}


@pytest.mark.parametrize("prior", KINKED.values(), ids=list(KINKED))
def test_prox_satisfies_its_optimality_condition(prior):
    """0 lies in the subdifferential: an interval of the width that the kink says at its center, a slope elsewhere."""
    y = np.asarray(prior.prox(V, STEP))
    slope = lambda at: -np.asarray(jax.vmap(jax.grad(prior.log_prob))(at))  # noqa: E731
    rest = y == 0.5
    assert rest.any() and not rest.all()
    np.testing.assert_allclose(slope(y[~rest]) + (y[~rest] - V[~rest]) / STEP, 0.0, atol=1e-13)
    middle = slope(np.array([0.5]))[0]  # the gradient at the kink is the middle of the subdifferential
    assert np.all(np.abs((V[rest] - 0.5) / STEP - middle) <= prior.kink.strength)
    jump = slope(np.array([0.5 + 1e-12]))[0] - slope(np.array([0.5 - 1e-12]))[0]
    np.testing.assert_allclose(prior.kink.strength, 0.5 * jump, rtol=1e-9)
    assert prior.prox(np.float32(4.0), np.float32(0.3)).dtype == np.float32


def test_elastic_net_between_its_limits():
    y = np.array([-2.0, 0.3, 5.0])
    for net, limit in (
        (dist.ElasticNet(0.3, 1.3, 1e9), scipy.stats.laplace(0.3, 1.3)),
        (dist.ElasticNet(0.3, math.inf, 1.3), scipy.stats.norm(0.3, 1.3)),
    ):
        np.testing.assert_allclose(net.log_prob(y), limit.logpdf(y), rtol=3e-9)
        np.testing.assert_allclose(net.cdf(y), limit.cdf(y), rtol=3e-9)
        np.testing.assert_allclose([net.variance, net.entropy()], [limit.var(), limit.entropy()], rtol=3e-9)


def test_huber_between_its_limits():
    y = np.array([-2.0, 0.3, 5.0])
    wide, narrow = dist.Huber(0.3, 1.3, 30.0), dist.Huber(0.3, 1.3e-5, 1e-5)
    np.testing.assert_allclose(wide.log_prob(y), scipy.stats.norm(0.3, 1.3).logpdf(y), rtol=1e-13)
    np.testing.assert_allclose(narrow.log_prob(y), scipy.stats.laplace(0.3, 1.3).logpdf(y), rtol=1e-9)
    np.testing.assert_allclose(wide.log_cdf(-30.0), scipy.stats.norm(0.3, 1.3).logcdf(-30.0), rtol=1e-9)
    np.testing.assert_allclose(wide.variance, 1.69, rtol=1e-13)
    # optax and torch: 0.5 r^2 within delta, delta (|r| - delta / 2) outside
    residual = np.array([-4.0, 1.0, 2.5])
    loss = np.where(np.abs(residual) <= 1.5, 0.5 * residual**2, 1.5 * (np.abs(residual) - 0.75))
    density = dist.Huber(0.0, 1.0, 1.5)
    np.testing.assert_allclose(density.log_prob(0.0) - density.log_prob(residual), loss, rtol=1e-14)


def test_group_laplace_is_normalised_with_the_entropy_and_information_it_says():
    """By polar coordinates: the density depends on the norm alone, whose own density is r^(d-1) times the sphere's."""
    both = jax.vmap(jax.value_and_grad(lambda s, y: dist.GroupLaplace(0 * y, s).log_prob(y)), (None, 0))
    at = jax.jit(both, compiler_options=QUICKLY)
    for d in (1, 2, 5):
        prior = dist.GroupLaplace(np.zeros(d), 0.7)
        sphere = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
        nodes, weights = np.polynomial.laguerre.laggauss(40)
        radius = 0.7 * nodes
        points = np.zeros((40, d))
        points[:, 0] = radius
        log_prob, score = at(0.7, points)
        mass = 0.7 * weights * np.exp(nodes + log_prob) * sphere * radius ** (d - 1)
        np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-12)
        np.testing.assert_allclose(prior.entropy(), -mass @ log_prob, rtol=1e-12)
        np.testing.assert_allclose(prior.variance, np.full(d, mass @ radius**2 / d), rtol=1e-12)
        information = np.diag([1 / d / 0.49] * d + [mass @ score**2])
        np.testing.assert_allclose(prior.fisher_information(), information, rtol=1e-11, atol=1e-300)
    y = np.array([[-1.3], [0.2]])
    np.testing.assert_allclose(
        dist.GroupLaplace(np.array([0.5]), 2.0).log_prob(y), dist.Laplace(0.5, 2.0).log_prob(y[:, 0]), rtol=1e-14
    )


def test_group_laplace_draws_shapes_and_edges():
    loc = np.array([0.5, -1.0, 2.0])
    prior = dist.GroupLaplace(loc, 0.7)
    draws = np.asarray(prior.sample(jax.random.key(3), (20_000,)))
    assert draws.shape == (20_000, 3) and prior.batch_shape == () and prior.event_shape == (3,)
    np.testing.assert_allclose(draws.mean(axis=0), loc, atol=5 * 1.4 / math.sqrt(20_000))
    norms = np.linalg.norm(draws - loc, axis=1)
    assert scipy.stats.kstest(norms, scipy.stats.gamma(3, scale=0.7).cdf).pvalue > 1e-4
    rows = dist.GroupLaplace(np.zeros((4, 3)), np.ones(4))
    assert rows.batch_shape == (4,) and rows.sample(jax.random.key(0), (2,)).shape == (2, 4, 3)
    assert rows.log_prob(np.ones((2, 4, 3)).reshape(2, 4, 3)[0]).shape == (4,)
    assert (
        dist.GroupLaplace(np.zeros(3, np.float32), np.float32(1)).log_prob(np.ones(3, np.float32)).dtype == np.float32
    )
    gradient = jax.jit(
        jax.value_and_grad(lambda m, y: dist.GroupLaplace(m, 0.7).log_prob(y), 1), compiler_options=QUICKLY
    )
    np.testing.assert_array_equal(gradient(loc, loc)[1], 0.0)
    tiny = gradient(0 * loc, np.array([3e-200, 4e-200, 0.0]))[1]
    np.testing.assert_allclose(tiny, [-0.6 / 0.7, -0.8 / 0.7, 0], rtol=1e-12)
    value, slope = gradient(loc, np.array([0.0, np.inf, 0.0]))
    assert value == -jnp.inf and np.all(slope == 0) and jnp.isnan(gradient(loc, np.array([0.0, np.nan, 0.0]))[0])
    with pytest.raises(ValueError, match="given a scalar"):
        dist.GroupLaplace(0.0).log_prob(loc)
    with pytest.raises(ValueError, match=r"has shape \(2,\)"):
        prior.log_prob(np.zeros(2))


def test_grouped_laplace_is_a_product_of_group_laplaces():
    groups, loc, scale = np.array([4, 1, 4, 9, 1, 4]), np.array([0.5, 0, -1, 2, 0, 0]), np.array([0.7, 1.3, 0.2])
    prior = dist.GroupedLaplace(groups, loc, scale)
    members = [np.flatnonzero(groups == k) for k in (1, 4, 9)]
    parts = [dist.GroupLaplace(loc[m], s) for m, s in zip(members, scale, strict=True)]
    y = np.random.default_rng(0).normal(size=(2, 6))
    y[1, members[1]] = loc[members[1]]
    want = sum(part.log_prob(y[:, m]) for part, m in zip(parts, members, strict=True))
    np.testing.assert_allclose(prior.log_prob(y), want, rtol=1e-14)
    np.testing.assert_allclose(prior.entropy(), sum(part.entropy() for part in parts), rtol=1e-14)
    for name in ("mean", "variance"):
        found = np.asarray(getattr(prior, name))
        for part, m in zip(parts, members, strict=True):
            np.testing.assert_allclose(found[m], getattr(part, name), rtol=1e-14)
    moved = np.asarray(prior.prox(y, np.full(2, STEP)))
    for part, m in zip(parts, members, strict=True):
        np.testing.assert_array_equal(moved[:, m], part.prox(y[:, m], np.full(2, STEP)))
    gradient = np.asarray(jax.grad(prior.log_prob)(y[1]))
    assert np.all(gradient[members[1]] == 0) and np.all(gradient[members[0]] != 0)
    kink = prior.kink
    assert kink.groups == (4, 1, 4, 9, 1, 4)
    np.testing.assert_allclose(kink.strength, (1 / scale)[[1, 0, 1, 2, 0, 1]])
    draws = np.asarray(prior.sample(jax.random.key(1), (20_000,)))
    for part, m in zip(parts, members, strict=True):
        norms = np.linalg.norm(draws[:, m] - loc[m], axis=1)
        assert scipy.stats.kstest(norms, scipy.stats.gamma(len(m), scale=float(part.scale)).cdf).pvalue > 1e-4
    assert np.asarray(prior.log_prob(np.array([0.0, np.inf, 0, 0, 0, 0]))) == -np.inf
    with pytest.raises(ValueError, match=r"scale of shape \(\*batch, 3\)"):
        dist.GroupedLaplace(groups, 0.0, np.ones(6)).log_prob(y)
    with pytest.raises(ValueError, match=r"has shape \(2,\)"):
        prior.log_prob(np.zeros(2))


def test_group_laplace_prox_is_the_minimizer_and_exact_at_the_kink():
    prior, v = dist.GroupLaplace(np.array([0.5, -1.0]), 2.0), np.array([[0.5, -1.0], [0.6, -1.05], [3.0, 1.0]])
    y = np.asarray(prior.prox(v, np.full(3, STEP)))
    np.testing.assert_array_equal(y[:2], [[0.5, -1.0]] * 2)
    slope = -np.asarray(jax.grad(prior.log_prob)(y[2]))
    np.testing.assert_allclose(slope + (y[2] - v[2]) / STEP, 0.0, atol=1e-13)


def test_von_mises_between_the_uniform_and_the_normal():
    uniform = dist.VonMises(1.0, 0.0)
    np.testing.assert_allclose(uniform.log_prob(np.array([-3.0, 2.0])), -math.log(2 * math.pi), rtol=1e-15)
    np.testing.assert_allclose([uniform.variance, uniform.entropy()], [1.0, math.log(2 * math.pi)], rtol=1e-15)
    draws = np.asarray(uniform.sample(jax.random.key(0), (10_000,)))
    assert scipy.stats.kstest(draws, scipy.stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4
    steep, z = dist.VonMises(0.5, 1e8), np.array([-3.0, 0.0, 2.0])
    np.testing.assert_allclose(
        steep.log_prob(0.5 + 1e-4 * z), scipy.stats.norm.logpdf(z) + math.log(1e4), atol=1e-6
    )  # the next term is z^4 / 24 kappa; 0.5 + 1e-4 z has lost digits of z
    np.testing.assert_allclose(steep.variance, 0.5e-8, rtol=1e-7)
    np.testing.assert_allclose(steep.fisher_information()[1, 1], 0.5e-16, rtol=1e-7)
    draws = np.asarray(steep.sample(jax.random.key(0), (10_000,)))
    assert scipy.stats.kstest(draws, scipy.stats.norm(0.5, 1e-4).cdf).pvalue > 1e-4
    kappa = np.array([0.0, 0.3, 7.9, 8.1, 19.9, 20.1, 500.0, 1e8])
    np.testing.assert_allclose(numerics.log_i0e(kappa), np.log(scipy.special.i0e(kappa)), rtol=1e-13, atol=1e-15)
    single = numerics.log_i0e(kappa.astype(np.float32))
    np.testing.assert_allclose(single, np.log(scipy.special.i0e(kappa)), rtol=1e-5, atol=1e-6)


def test_beta_binomial_sums_to_one_and_tends_to_the_binomial():
    y = np.arange(13.0)
    log_prob = jax.jit(lambda a, b: dist.BetaBinomial(12, a, b).log_prob(y), compiler_options=QUICKLY)
    np.testing.assert_allclose(np.exp(log_prob(0.6, 1.7)).sum(), 1.0, rtol=1e-13)
    np.testing.assert_allclose(log_prob(1.0, 1.0), -math.log(13.0), rtol=1e-13)  # any number as likely
    for size in (1e6, 1e12):
        limit = scipy.stats.binom(12, 0.3).logpmf(y)
        # log(BB / B) = [(y^2 - y) / 2 a + ...] of order n^2 / a
        np.testing.assert_allclose(log_prob(0.3 * size, 0.7 * size), limit, atol=240 / size + 1e-13)
    single = log_prob(np.float32(3e7), np.float32(7e7))
    assert np.max(np.abs(single - scipy.stats.binom(12, 0.3).logpmf(y))) < 1e-5


def test_kumaraswamy_edges():
    at = lambda a, b, y: dist.Kumaraswamy(a, b).log_prob(y)  # noqa: E731
    a, limit = np.array([1.5, 1.0, 0.5]), [-math.inf, math.log(2.5), math.inf]
    np.testing.assert_allclose(at(a, 2.5, np.zeros(3)), limit, rtol=1e-14)
    np.testing.assert_allclose(at(2.5, a, np.ones(3)), limit, rtol=1e-14)
    np.testing.assert_allclose(dist.Kumaraswamy(2.0, 3.0).log_cdf(1e-300), math.log(3) - 600 * math.log(10), rtol=1e-15)
