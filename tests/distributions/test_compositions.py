"""Censoring, truncation and mixtures: laws over all bases, extremes where the naive formula underflows, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats as st
from distribution_cases import CASES
from evaluation import QUICKLY
from scipy.special import logsumexp

from lossgeo import distributions as dist
from lossgeo import numerics, supports

SCALAR = {case.family: case for case in CASES}.values()  # one case for each family


@pytest.mark.slow
@pytest.mark.parametrize("case", SCALAR, ids=lambda case: case.name)
def test_every_base_with_two_tails_can_be_censored_and_no_other(case):
    base = case.make()
    censored = dist.Censored(base)
    y = np.sort(np.array([p for p in case.points if abs(p) < 60], float))[-3:]
    if "log_cdf" in case.lacks:
        with pytest.raises(NotImplementedError, match="needs the log_cdf and log_survival of its base"):
            censored.log_prob((y, np.zeros(y.size)))
        with pytest.raises(NotImplementedError, match="needs the log_cdf and log_survival of its base"):
            dist.Truncated(base, low=0.0).log_prob(y)
        return
    right, left = (np.asarray(censored.log_prob((y, np.full(y.size, code)))) for code in (0, 2))
    np.testing.assert_allclose(np.exp(right) + np.exp(left), 1.0, rtol=1e-12)
    np.testing.assert_allclose(censored.log_prob((y, np.ones(y.size))), base.log_prob(y), rtol=0)
    np.testing.assert_allclose(np.exp(left), case.twin.cdf(y), rtol=1e-11)
    low, high = y[:-1], y[1:]
    inside = censored.log_prob((low, np.full(low.size, 3), high))
    wanted = np.exp(right[:-1]) - np.exp(right[1:])
    np.testing.assert_allclose(np.exp(inside), wanted, rtol=1e-11, atol=1e-15)


def test_a_censored_target_is_read_row_by_row():
    base = dist.Weibull(np.array([1.0, 1.0, 2.0, 2.0, 1.0]), 2.0)
    target = np.array([1.0, 2.0, 0.5, 0.5, 1.0]), np.array([1, 0, 2, 3, 3]), np.array([np.nan, 0.0, 0.0, 0.7, 0.9])
    # hazard (y / scale)^2
    wanted = [np.log(2) - 1, -4.0, np.log1p(-np.exp(-1 / 16)), np.log(np.exp(-1 / 16) - np.exp(-0.49 / 4)), -np.inf]
    np.testing.assert_allclose(dist.Censored(base).log_prob(target), wanted, rtol=1e-13)
    np.testing.assert_array_equal(dist.Censored(base).support.contains(target), [True, True, True, True, False])
    bad = np.array([-1.0, -1.0, 1.0, np.nan]), np.array([1, 0, 5, 1])
    np.testing.assert_array_equal(
        dist.Censored(dist.Weibull(1.0, 2.0)).support.contains(bad), [False, True, False, False]
    )
    np.testing.assert_array_equal(dist.Censored(dist.Weibull(1.0, 2.0)).log_prob((1.0, 5)), -np.inf)
    with pytest.raises(ValueError, match=r"time \(2,\), event \(3,\)"):
        dist.Censored(dist.Normal()).log_prob((np.zeros(2), np.zeros(3)))
    with pytest.raises(ValueError, match=r"time, event.*one ndarray"):
        dist.Censored(dist.Normal()).log_prob(np.zeros(2))
    with pytest.raises(ValueError, match="base of Censored has shape"):
        dist.Censored(dist.Normal(np.zeros(3))).log_prob((np.zeros(2), np.zeros(2)))
    with pytest.raises(ValueError, match="base of scalars"):
        dist.Censored(dist.Dirichlet(np.ones(3))).log_prob((np.zeros(2), np.zeros(2)))


def test_bartlett_under_censoring():
    """Type I censoring at c: the expected score is 0 and its covariance is minus the expected Hessian."""
    end = 1.1
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = 0.5 * (1 + nodes)
    y = np.append(end * x**4, end)  # smooth at 0, where the score is a logarithm
    event = np.append(np.ones(60), 0.0)

    def log_prob(theta, time, event):
        return dist.Censored(dist.Weibull(theta[0], theta[1])).log_prob((time, event))

    theta = np.array([1.3, 2.0])
    at = jax.jit(
        jax.vmap(
            lambda t, e: (log_prob(theta, t, e), jax.grad(log_prob)(theta, t, e), jax.hessian(log_prob)(theta, t, e))
        )
    )
    value, score, hessian = map(np.asarray, at(y, event))
    mass = np.append(2 * end * x**3 * weights, 1.0) * np.exp(value)
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-13)
    np.testing.assert_allclose(mass @ score, 0.0, atol=1e-12)
    covariance = np.einsum("n,ni,nj->ij", mass, score, score)
    np.testing.assert_allclose(-np.einsum("n,nij->ij", mass, hessian), covariance, rtol=1e-11)


def test_finite_where_the_naive_formula_underflows():
    """At 60 standard deviations P(Y > y) is 1e-784; values against scipy's log_ndtr, slopes against the Mills ratio."""
    hazard = lambda y: np.exp(st.norm.logpdf(y) - scipy.special.log_ndtr(-y))  # noqa: E731
    for target, value, slope in (
        ((60.0, 0), scipy.special.log_ndtr(-60.0), hazard(60.0)),
        ((-60.0, 2), scipy.special.log_ndtr(-60.0), -hazard(60.0)),
        # P(60 < Y <= 61) is P(Y > 60) up to 1e-26
        ((60.0, 3, 61.0), scipy.special.log_ndtr(-60.0), hazard(60.0)),
        ((-61.0, 3, -60.0), scipy.special.log_ndtr(-60.0), -hazard(60.0)),
    ):
        found = jax.value_and_grad(lambda loc, t=target: dist.Censored(dist.Normal(loc)).log_prob(t))(0.0)
        np.testing.assert_allclose(found, (value, slope), rtol=1e-12)
    far = dist.Mixture(np.array([0.4, 0.6]), dist.Normal(np.array([0.0, 1.0])))
    np.testing.assert_allclose(far.log_prob(-60.0), np.log(0.4) + st.norm.logpdf(60.0), rtol=1e-14)
    slopes = jax.grad(lambda w: dist.Mixture(w, dist.Normal(np.array([0.0, 1.0]))).log_prob(-60.0))(
        np.array([1.0, 0.0])
    )
    np.testing.assert_allclose(slopes, [1.0, np.exp(-60.5)], rtol=1e-12)  # the ratio of the densities, also at weight 0
    single = dist.Mixture(None, dist.Normal(np.array([0.0, 1.0], np.float32)), logits=np.zeros(2, np.float32))
    found = jax.jit(single.log_prob)(np.float32(-30.0))
    np.testing.assert_allclose(found, np.log(0.5) + st.norm.logpdf(30.0), rtol=1e-6)
    nowhere = dist.Mixture(np.array([0.4, 0.6]), dist.Exponential(np.array([1.0, 2.0])))
    assert nowhere.log_prob(-1.0) == -np.inf and jax.grad(nowhere.log_prob)(-1.0) == 0.0


def test_sums_and_differences_of_logarithms():
    values = np.array([[0.0, -800.0, -np.inf], [-np.inf] * 3, [1e4, 1e4, 0.0]])
    np.testing.assert_allclose(numerics.log_mixture(values), [np.exp(-800.0), -np.inf, 1e4 + np.log(2)], rtol=1e-15)
    gradient = jax.vmap(jax.grad(numerics.log_mixture))(values)
    np.testing.assert_allclose(gradient, [[1, 0, 0], [0, 0, 0], [0.5, 0.5, 0]], atol=1e-300)
    np.testing.assert_allclose(numerics.log_mixture(np.array([-800.0, -np.inf]), np.array([0.0, 1.0])), -np.inf)
    np.testing.assert_allclose(numerics.log_sub_exp(-1000.0, -1001.0), -1000 + np.log1p(-np.exp(-1)), rtol=1e-15)
    assert numerics.log_sub_exp(-3.0, -np.inf) == -3.0 and numerics.log_sub_exp(-np.inf, -np.inf) == -np.inf
    assert np.isnan(numerics.log_sub_exp(-2.0, -1.0))
    assert jax.grad(numerics.log_sub_exp)(-np.inf, -np.inf) == 0.0


def test_truncated_normal_agrees_with_scipy():
    truncated = dist.Truncated(dist.Normal(0.7, 1.3), -2.0, 2.5)
    twin = st.truncnorm(-2.7 / 1.3, 1.8 / 1.3, 0.7, 1.3)
    y = np.array([-1.9, -0.2, 0.7, 2.49])
    np.testing.assert_allclose(truncated.log_prob(y), twin.logpdf(y), rtol=1e-12)
    np.testing.assert_allclose(truncated.log_cdf(y), twin.logcdf(y), rtol=1e-11)
    np.testing.assert_allclose(truncated.log_survival(y), twin.logsf(y), rtol=1e-11)
    np.testing.assert_array_equal(truncated.log_prob(np.array([-2.1, 2.6, np.inf])), [-np.inf] * 3)
    np.testing.assert_array_equal(jax.vmap(jax.grad(truncated.log_prob))(np.array([-2.1, np.inf])), [0.0, 0.0])
    assert isinstance(truncated.support, supports.Interval)
    # Far out in a tail, where P(8 <= Y <= 9) of the base is 1e-15: 1 + E is the mean of an exponential there.
    far = dist.Truncated(dist.Normal(), low=40.0)
    np.testing.assert_allclose(far.log_prob(41.0), st.norm.logpdf(41.0) - scipy.special.log_ndtr(-40.0), rtol=1e-12)
    assert isinstance(far.support, supports.GreaterThan)


@pytest.mark.slow
def test_moments_and_quantiles_of_a_truncated_normal():
    truncated, twin = dist.Truncated(dist.Normal(0.7, 1.3), -2.0, 2.5), st.truncnorm(-2.7 / 1.3, 1.8 / 1.3, 0.7, 1.3)
    levels = np.array([0.0, 1e-12, 0.1, 0.5, 0.999, 1.0])
    np.testing.assert_allclose(truncated.icdf(levels), twin.ppf(levels), rtol=1e-9)
    np.testing.assert_allclose(truncated.mean, twin.mean(), rtol=1e-12)
    np.testing.assert_allclose(truncated.variance, twin.var(), rtol=1e-11)
    draws = np.asarray(truncated.sample(jax.random.key(3), (2000,)))
    assert st.kstest(draws, twin.cdf).pvalue > 1e-4
    slope = jax.grad(lambda loc: dist.Truncated(dist.Normal(loc, 1.3), -2.0, 2.5).icdf(0.3))(0.7)
    step = 1e-5
    above, below = (st.truncnorm((-2 - m) / 1.3, (2.5 - m) / 1.3, m, 1.3).ppf(0.3) for m in (0.7 + step, 0.7 - step))
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=1e-7)


def test_zero_truncated_poisson():
    positive = dist.Truncated(dist.Poisson(0.3), low=1)
    y = np.arange(30.0)
    base = st.poisson(0.3)
    with np.errstate(divide="ignore"):
        wanted = np.where(y == 0, -np.inf, base.logpmf(y) - np.log(-np.expm1(-0.3)))
    np.testing.assert_allclose(positive.log_prob(y), wanted, rtol=1e-12)
    np.testing.assert_array_equal(positive.support.contains(np.array([0.0, 1.0, 1.5, 9.0])), [False, True, False, True])
    with pytest.raises(NotImplementedError, match="moments of a discrete base"):
        positive.mean  # noqa: B018
    np.testing.assert_array_equal(positive.icdf(np.array([0.1, 0.99])), [1.0, 3.0])


@pytest.mark.slow
def test_quantiles_and_draws_of_truncated_counts():
    """Against a table of the counts inside, also where the interval has a probability of 1e-300; 8 to 2 is empty."""
    rates = np.array([3.7, 800.0, 0.05, 30.0, 20.0, 3.7])
    low, high = np.array([2, 700, 3, 50.5, 400, 8]), np.array([8, 900, 40, 70.5, 450, 2.0])

    def icdf(rates, q):
        found = dist.Truncated(dist.Poisson(rates), low, high).icdf(q)
        return jnp.sum(found), found

    levels = np.array([0.0, 1e-12, 0.05, 0.31, 0.5, 0.77, 0.999, 1 - 1e-9, 1.0, np.nan, -0.1])
    at = jax.jit(jax.grad(icdf, has_aux=True), compiler_options=QUICKLY)
    slope, found = at(rates, np.repeat(levels[:, None], rates.size, axis=1))
    np.testing.assert_array_equal(slope, 0.0)
    sample = jax.jit(
        lambda rates: dist.Truncated(dist.Poisson(rates), low, high).sample(jax.random.key(0), (10_000,)),
        compiler_options=QUICKLY,
    )
    draws = np.asarray(sample(rates))
    assert np.issubdtype(draws.dtype, np.integer)
    for k in range(rates.size - 1):
        counts = np.arange(np.ceil(low[k]), np.floor(high[k]) + 1)
        log_mass = st.poisson(rates[k]).logpmf(counts)
        share = np.exp(log_mass - logsumexp(log_mass))
        below, above = np.cumsum(share), np.append(np.cumsum(share[::-1])[::-1][1:], 0.0)  # P(Y > y)
        wanted = [counts[np.argmax((below >= q) if q < 0.5 else (above <= 1 - q))] for q in levels[:-2]]
        np.testing.assert_array_equal(found[:-2, k], wanted)
        seen = np.array([np.mean(draws[:, k] == count) for count in counts])
        np.testing.assert_allclose(seen.sum(), 1.0, rtol=1e-12)
        assert np.all(np.abs(seen - share) <= 5 * np.sqrt(share / 10_000) + 1e-3 * (share < 1e-3))
    assert np.all(np.isnan(found[-2:])) and np.all(np.isnan(found[:, -1]))


def test_bases_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"distribution of counts.*Hurdle"):
        dist.ZeroInflated(dist.Gamma(1.0, 1.0), 0.1).log_prob(1.0)
    with pytest.raises(ValueError, match="counts or of positive numbers"):
        dist.Hurdle(dist.Normal(), 0.1).log_prob(1.0)
    with pytest.raises(ValueError, match="exactly one of probability and logits"):
        dist.Hurdle(dist.Gamma(1.0, 1.0)).log_prob(1.0)
    with pytest.raises(ValueError, match=r"weights of shape \(2,\) for 3 components"):
        dist.Mixture(np.ones(2), dist.Normal(np.zeros(3))).log_prob(1.0)
    with pytest.raises(ValueError, match="no density"):
        dist.Mixture(np.ones(2) / 2, (dist.Normal(), dist.Poisson(1.0))).log_prob(1.0)
    with pytest.raises(TypeError, match="must be a distribution"):
        dist.Censored(dist.Normal).log_prob((1.0, 1))


def test_hurdle_of_amounts():
    rain = dist.Hurdle(dist.Gamma(2.0, 3.0), 0.2)
    y = np.array([0.0, 0.5, -1.0])
    np.testing.assert_allclose(
        rain.log_prob(y), [np.log(0.2), np.log(0.8) + st.gamma(2, scale=1 / 3).logpdf(0.5), -np.inf]
    )
    np.testing.assert_allclose(
        [rain.mean, rain.variance], [0.8 * 2 / 3, 0.8 * (2 / 9 + 4 / 9) - (1.6 / 3) ** 2], rtol=1e-14
    )
    np.testing.assert_allclose(rain.cdf(0.5), 0.2 + 0.8 * st.gamma(2, scale=1 / 3).cdf(0.5), rtol=1e-12)
    draws = np.asarray(rain.sample(jax.random.key(1), (4000,)))
    assert abs(np.mean(draws == 0) - 0.2) < 5 * np.sqrt(0.16 / 4000) and np.all(draws >= 0)


def test_posterior_of_the_components():
    mixture = dist.Mixture(np.array([0.3, 0.7]), dist.Normal(np.array([0.0, 3.0])))
    densities = np.array([0.3, 0.7]) * st.norm.pdf(1.2, [0.0, 3.0])
    np.testing.assert_allclose(mixture.posterior(1.2), densities / densities.sum(), rtol=1e-13)
    vectors = dist.Mixture(np.array([0.3, 0.7]), dist.Dirichlet(np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 1.0]])))
    y = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    wanted = [np.log(0.3 * st.dirichlet([1, 2, 3]).pdf(row) + 0.7 * st.dirichlet([3, 1, 1]).pdf(row)) for row in y]
    np.testing.assert_allclose(vectors.log_prob(y), wanted, rtol=1e-13)
    assert vectors.event_shape == (3,) and isinstance(vectors.support, supports.Simplex)
    assert vectors.sample(jax.random.key(0), (5,)).shape == (5, 3)
    np.testing.assert_allclose(vectors.mean, 0.3 * np.array([1, 2, 3]) / 6 + 0.7 * np.array([3, 1, 1]) / 5, rtol=1e-14)
    assert jnp.shape(vectors.variance) == (3,)
