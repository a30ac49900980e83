"""Every family against scipy and against its own definition: values, total mass, moments, distribution, draws."""

import jax
import numpy as np
import pytest
from evaluation import LEVELS, OPTIONAL, draws, probes, summary, tower
from registry import CASES

from lossgeo import supports

LOG_PROB = jax.jit(lambda distribution, y: distribution.log_prob(y))

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_log_prob_agrees_with_scipy_far_into_the_tails(case):
    y = np.array(case.points, dtype=float)
    np.testing.assert_allclose(summary(case)["log_prob"][: y.size], case.twin_log_prob(y), rtol=1e-12, atol=0)


def test_support_contains_the_points_and_not_the_others(case):
    support = case.make().support
    assert type(support) is type(case.support)
    assert np.all(support.contains(np.array(case.points, dtype=float)))
    assert not np.any(support.contains(np.array([*case.outside, np.nan])))


def test_probabilities_sum_to_one(case):
    _, weights = case.grid()
    total = np.sum(weights * np.exp(tower(case, "grid")[0]))
    # Gauss-Legendre with 20 nodes on pieces of the quantile grid; the mass beyond it is 1e-26 on each side.
    np.testing.assert_allclose(total, 1.0, rtol=2e-13)


def test_moments_and_entropy_agree_with_scipy_and_with_the_density(case):
    out = summary(case)
    mean, variance = case.moments()
    np.testing.assert_allclose(out["mean"], mean, rtol=1e-13)
    np.testing.assert_allclose(out["variance"], variance, rtol=1e-12)
    if "entropy" not in case.lacks:
        _, weights = case.grid()
        log_prob = tower(case, "grid")[0]
        terms = weights * np.exp(log_prob) * np.where(np.isfinite(log_prob), log_prob, 0)
        np.testing.assert_allclose(out["entropy"], -np.sum(terms), rtol=1e-12)
        if hasattr(case.twin, "entropy"):  # which scipy often integrates itself
            np.testing.assert_allclose(out["entropy"], case.twin.entropy(), rtol=1e-7)


def test_what_a_family_lacks_is_said_in_words(case):
    distribution = case.make()
    for name in case.lacks:
        with pytest.raises(NotImplementedError, match=f"{type(distribution).__name__} has no .*"):
            OPTIONAL[name](distribution, np.array(0.5), np.array(0.5))


def test_distribution_functions_agree_with_scipy_in_both_tails(case):
    out, y = summary(case), probes(case, np.float64)
    inside = len(case.points)
    below, above = case.twin.cdf(y[:inside]), case.twin.sf(y[:inside])
    for name, one, other in (("log_cdf", below, above), ("log_survival", above, below)):
        if name in case.lacks:
            continue
        value, slope = out[name]
        with np.errstate(all="ignore"):
            wanted = np.where(one < 0.5, np.log(one), np.log1p(-other))
        smallest = 1e-290 if case.tails else 1e-3  # beyond, scipy underflows or cancels
        trusted = np.minimum(one, other) > smallest
        np.testing.assert_allclose(value[:inside][trusted], wanted[trusted], rtol=1e-11, atol=1e-300)
        assert np.all(value[:inside] <= 0)
        ends = {"log_cdf": (0.0, -np.inf), "log_survival": (-np.inf, 0.0)}[name]
        np.testing.assert_array_equal(value[-2:], ends)
        assert np.isnan(value[-3])
        assert not np.any(np.isnan(slope[:-3])) and not np.any(np.isnan(slope[-2:]))
        if not case.discrete:
            sign = 1 if name == "log_cdf" else -1
            log_prob = out["log_prob"][:inside]
            fine = np.isfinite(value[:inside]) & (log_prob > -600)
            density = np.exp((log_prob - value[:inside])[fine])
            np.testing.assert_allclose(slope[:inside][fine], sign * density, rtol=1e-10, atol=1e-300)
    if "cdf" not in case.lacks:
        known = below > (1e-290 if case.tails else 1e-3)
        np.testing.assert_allclose(out["cdf"][:inside][known], below[known], rtol=1e-11)
        np.testing.assert_array_equal(out["cdf"][-2:], [1.0, 0.0])
    if "icdf" not in case.lacks:
        quantiles = np.maximum(case.twin.ppf(LEVELS), 0) if case.discrete else case.twin.ppf(LEVELS)
        np.testing.assert_allclose(out["icdf"], quantiles, rtol=1e-9, atol=1e-12)


def test_draws_have_the_moments_and_lie_in_the_support(case):
    n = 40_000
    values = draws(case, n)
    assert np.all(case.make().support.contains(values))
    mean, variance = (float(v) for v in case.moments())
    # Five standard errors of the mean, and of the distribution function at three quantiles (also when the variance of
    # the sample variance is infinite).
    if np.isfinite(variance) and not case.circular:
        assert abs(np.mean(values) - mean) < 5 * np.sqrt(variance / n)
    for level in (0.1, 0.5, 0.9):
        quantile = case.twin.ppf(level)
        probability = case.twin.cdf(quantile)
        error = np.mean(values <= quantile) - probability
        assert abs(error) <= 5 * np.sqrt(probability * (1 - probability) / n) + 1e-12


@pytest.mark.slow
def test_float32_is_kept_and_accurate(case):
    single, double = summary(case, np.float32), summary(case, rounded=True)
    y = np.array(case.points, float)
    near = np.abs(y) < 1e3
    eps = np.finfo(np.float32).eps
    for name, value in single.items():
        parts = value if isinstance(value, tuple) else (value,)
        assert all(part.dtype == np.float32 for part in parts), name
    value, exact = single["log_prob"][: y.size][near], double["log_prob"][: y.size][near]
    # The largest term is y log y or the log-gamma of the hyper-parameters; each is rounded a few times.
    terms = 0 if isinstance(case.support, supports.Real) else (np.abs(y) * np.log(2 + np.abs(y)))[near]
    assert np.all(np.abs(value - exact) <= 6 * eps * (1 + np.abs(exact) + terms + case.single))
    for name in {"log_cdf", "log_survival"} - set(case.lacks):
        value, exact = single[name][0][: y.size][near], double[name][0][: y.size][near]
        value, exact = value[np.isfinite(exact)], exact[np.isfinite(exact)]
        assert np.all(np.abs(value - exact) <= 1e-5 * np.abs(exact) * (1 + np.sqrt(case.single)) + 1e-37), name
    if not case.discrete:
        assert jax.eval_shape(lambda d: d.sample(jax.random.key(0)), case.make(dtype=np.float32)).dtype == np.float32
    weak = {k: float(v) if np.ndim(v) == 0 else np.asarray(v, np.float32) for k, v in case.params.items()}
    weak = case.family(**weak, **case.counts)
    assert jax.eval_shape(lambda: weak.log_prob(np.ones(2, np.float32))).dtype == np.float32


def test_labels_and_counts_of_any_dtype(case):
    distribution = case.make(dtype=np.float32)
    wanted = LOG_PROB(distribution, np.ones(2, np.float32))
    for y in (np.array([1, 1]), np.array([True, True])):
        if case.discrete:
            value = LOG_PROB(distribution, y)
            np.testing.assert_array_equal(value, wanted)
        else:
            value = jax.eval_shape(lambda y=y: distribution.log_prob(y))
        assert value.dtype == np.float32
