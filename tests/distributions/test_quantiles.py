"""Quantiles found as roots: far tails, derivatives, both precisions, and what is not a level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from evaluation import QUICKLY

from lossgeo import distributions as dist

LEVELS = np.array([1e-30, 1e-3, 0.3, 0.5, 0.9, 1 - 1e-12])
ROOTS = {
    "gamma": (dist.Gamma(0.3, 2.0), scipy.stats.gamma(0.3, scale=0.5)),
    "beta": (dist.Beta(0.7, 5.0), scipy.stats.beta(0.7, 5.0)),
    "student_t": (dist.StudentT(1.5, 0.4, 2.0), scipy.stats.t(1.5, 0.4, 2.0)),
    "inverse_gaussian": (dist.InverseGaussian(3.0, 0.2), scipy.stats.invgauss(15.0, scale=0.2)),
}
ICDF = jax.jit(lambda d, q: d.icdf(q), compiler_options=QUICKLY)


@pytest.mark.parametrize(
    ("family", "twin"),
    [
        pytest.param(*ROOTS[name], id=name, marks=[pytest.mark.slow] if name in ("student_t", "beta") else [])
        for name in ROOTS
    ],
)
def test_quantiles_invert_the_tails(family, twin):
    """By the round trip through the logarithm of the smaller tail, from 1e-30 on, in units of that logarithm."""
    y = ICDF(family, LEVELS)
    back = np.where(LEVELS < 0.5, twin.logcdf(y), twin.logsf(y))
    np.testing.assert_allclose(back, np.where(LEVELS < 0.5, np.log(LEVELS), np.log1p(-LEVELS)), rtol=3e-14)
    np.testing.assert_array_equal(ICDF(family, np.array([0.0, 1.0])), twin.support())
    assert np.all(np.isnan(ICDF(family, np.array([-0.1, 1.1, np.nan]))))
    assert np.all(np.isnan(ICDF(jax.tree.map(lambda _: np.nan, family), np.array([0.2, 0.7]))))


def test_quantiles_in_single_precision():
    family, twin = ROOTS["gamma"]
    q = np.array([1e-9, 1e-3, 0.3, 0.5, 0.9, 1 - 2.0**-20], np.float32)
    y = ICDF(jax.tree.map(np.float32, family), q)
    assert y.dtype == np.float32
    exact = np.asarray(q, float)
    np.testing.assert_allclose(y, np.where(exact < 0.5, twin.ppf(exact), twin.isf(1 - exact)), rtol=1e-5)


def test_tails_of_student_t_beyond_the_square_root_of_the_largest_number():
    for dtype, size, rtol in ((np.float64, 1e200, 1e-14), (np.float32, 1e30, 1e-6)):
        value, slope = jax.jit(jax.value_and_grad(dist.StudentT(dtype(1.0)).log_cdf), compiler_options=QUICKLY)(
            -dtype(size)
        )
        np.testing.assert_allclose(value, -np.log(np.pi) - np.log(size), rtol=rtol)  # Cauchy: 1 / pi |z|
        np.testing.assert_allclose(slope, 1 / size, rtol=10 * rtol)


def test_derivatives_of_a_quantile_are_those_of_the_implicit_function():
    at = jax.jit(jax.value_and_grad(lambda a, r, q: dist.Gamma(a, r).icdf(q), (0, 1, 2)), compiler_options=QUICKLY)
    for q in (0.01, 0.8):
        value, (by_shape, by_rate, by_level) = at(2.5, 1.7, q)
        np.testing.assert_allclose(by_rate, -value / 1.7, rtol=1e-12)  # a quantile is inverse to the rate
        np.testing.assert_allclose(by_level, 1 / scipy.stats.gamma(2.5, scale=1 / 1.7).pdf(value), rtol=1e-12)
        step = 1e-4
        numeric = (at(2.5 + step, 1.7, q)[0] - at(2.5 - step, 1.7, q)[0]) / (2 * step)
        np.testing.assert_allclose(by_shape, numeric, rtol=1e-7)
    second = jax.jit(jax.grad(jax.grad(lambda q: dist.Gamma(1.0, 2.0).icdf(q))), compiler_options=QUICKLY)(0.3)
    np.testing.assert_allclose(second, 0.5 / 0.49, rtol=1e-11)  # of -log(1 - q) / 2


def test_discrete_quantiles_are_the_smallest_counts_that_reach_the_level():
    counts = dist.Poisson(np.array([0.0, 0.2, 3.7, 1e6]))
    levels = np.array([1e-20, 0.3, 0.97, 1 - 1e-12])
    wanted = scipy.stats.poisson(np.array([1e-300, 0.2, 3.7, 1e6])[:, None]).ppf(levels).T
    got = ICDF(counts, np.repeat(levels[:, None], 4, axis=1))
    np.testing.assert_array_equal(got, np.maximum(wanted, 0))
    np.testing.assert_array_equal(ICDF(dist.Poisson(3.7), np.array([0.0, 1.0])), [0.0, np.inf])
    np.testing.assert_array_equal(ICDF(dist.Binomial(5.0, 0.3), np.array([0.0, 0.5, 1.0])), [0.0, 1.0, 5.0])
    assert np.all(np.isnan(ICDF(dist.Poisson(np.nan), np.array([0.4, 2.0]))))
    assert ICDF(dist.Poisson(np.float32(3.7)), np.array([0.4], np.float32)).dtype == np.float32


def test_distribution_functions_at_certain_outcomes():
    """A probability of 0 or 1 is a point mass; below 0 and from the last class on nothing is left."""
    y = np.array([-0.5, 0.0, 2.0, 3.0, 4.0])
    for p, cdf in ((0.0, [0, 1, 1, 1, 1]), (1.0, [0, 0, 0, 1, 1])):
        np.testing.assert_array_equal(np.exp(dist.Binomial(3, p).log_cdf(y)), cdf)
        np.testing.assert_array_equal(np.exp(dist.Binomial(3, p).log_survival(y)), 1 - np.array(cdf))
    masked = dist.Categorical(logits=jnp.array([-jnp.inf, 0.0, -jnp.inf, 0.0]))
    np.testing.assert_allclose(masked.cdf(y), [0, 0, 0.5, 1, 1], rtol=1e-15)
    slope = jax.grad(lambda z: dist.Categorical(logits=z).log_cdf(1))(masked.logits)
    np.testing.assert_allclose(slope, [0.0, 0.5, 0.0, -0.5], rtol=1e-15)
    far = dist.OrderedLogistic(0.0, np.array([-50.0, 0.0, 50.0]))
    np.testing.assert_allclose(far.log_survival(2), -50.0, rtol=1e-15)
    np.testing.assert_allclose(far.log_cdf(np.array([0, 3, -1])), [-50.0, 0.0, -np.inf], rtol=1e-15)
