"""Every family against scipy and against its own definition: values, total mass, moments, draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_cases import CASES

LOG_PROB = jax.jit(lambda distribution, y: distribution.log_prob(y))

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_log_prob_agrees_with_scipy_far_into_the_tails(case):
    y = np.array(case.points, dtype=float)
    np.testing.assert_allclose(LOG_PROB(case.make(), y), case.twin_log_prob(y), rtol=1e-12)


def test_support_contains_the_points_and_not_the_others(case):
    distribution = case.make()
    assert type(distribution.support) is type(case.support)
    assert jnp.all(distribution.support.contains(np.array(case.points, dtype=float)))
    for y in (*case.outside, np.nan):
        assert not distribution.support.contains(y)


def test_probabilities_sum_to_one(case):
    y, weights = case.grid()
    total = jnp.sum(weights * jnp.exp(LOG_PROB(case.make(), y)))
    # Gauss-Legendre with 20 nodes on pieces of the quantile grid; the mass beyond it is 1e-26 on each side.
    np.testing.assert_allclose(total, 1.0, rtol=2e-13)


def test_moments_and_entropy_agree_with_scipy_and_with_the_density(case):
    distribution = case.make()
    mean, variance = case.twin.stats(moments="mv")
    np.testing.assert_allclose(distribution.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(distribution.variance, variance, rtol=1e-13)
    if not case.has_entropy:
        with pytest.raises(NotImplementedError, match="no closed-form entropy"):
            distribution.entropy()
        return
    y, weights = case.grid()
    log_prob = LOG_PROB(distribution, y)
    entropy = jax.jit(lambda d: d.entropy())(distribution)
    np.testing.assert_allclose(entropy, -jnp.sum(weights * jnp.exp(log_prob) * log_prob), rtol=1e-12)
    np.testing.assert_allclose(entropy, case.twin.entropy(), rtol=1e-12)


def test_draws_have_the_moments_and_lie_in_the_support(case):
    distribution = case.make()
    n = 40_000
    draws = jax.jit(lambda d: d.sample(jax.random.key(7), (n,)))(distribution)
    assert jnp.all(distribution.support.contains(draws))
    mean, variance = (float(v) for v in case.twin.stats(moments="mv"))
    # Five standard errors of the mean, and of the distribution function at three quantiles (also when the variance of
    # the sample variance is infinite).
    assert abs(jnp.mean(draws) - mean) < 5 * np.sqrt(variance / n)
    for level in (0.1, 0.5, 0.9):
        quantile = case.twin.ppf(level)
        probability = case.twin.cdf(quantile)
        error = np.mean(np.asarray(draws) <= quantile) - probability
        assert abs(error) <= 5 * np.sqrt(probability * (1 - probability) / n) + 1e-12


def test_float32_is_kept_and_accurate(case):
    single = case.make(dtype=jnp.float32)
    y = np.array([p for p in case.points if abs(p) < 1e3], np.float32)
    value = LOG_PROB(single, y)
    assert value.dtype == jnp.float32
    rounded = {name: np.asarray(v, np.float32).astype(float) for name, v in case.params.items()}
    exact = np.asarray(LOG_PROB(case.make(rounded), y.astype(float)))
    # The largest term is y log y or the log-gamma of the hyper-parameters; each is rounded a few times.
    size = 1 + np.abs(exact) + (np.abs(y) * np.log(2 + np.abs(y)) if case.support.__class__.__name__ != "Real" else 0)
    size = size + 100 * (case.name == "gamma 30")  # log-gamma(30) = 71, 29 log y and 30 log 2.5
    assert np.all(np.abs(value - exact) <= 6 * np.finfo(np.float32).eps * size)
    others = [lambda d: d.mean, lambda d: d.variance]
    others += [lambda d: d.entropy()] * case.has_entropy + [lambda d: d.sample(jax.random.key(0))] * (not case.discrete)
    for other in others:
        assert jax.eval_shape(other, single).dtype == jnp.float32
    weak = case.family(
        **{k: float(v) if np.ndim(v) == 0 else np.asarray(v, np.float32) for k, v in case.params.items()}
    )
    assert jax.eval_shape(lambda: weak.log_prob(y)).dtype == jnp.float32


def test_labels_and_counts_of_any_dtype(case):
    distribution = case.make(dtype=jnp.float32)
    wanted = LOG_PROB(distribution, np.array([1.0, 1.0], np.float32))
    for y in (np.array([1, 1]), np.array([True, True])):
        value = LOG_PROB(distribution, y)
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, wanted)
    np.testing.assert_allclose(LOG_PROB(distribution, 1), wanted[0], rtol=3e-7)
