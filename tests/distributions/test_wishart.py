"""The Wishart distribution against scipy, quadrature over all matrices of size 2, and its own laws."""

import jax
import numpy as np
import pytest
import scipy.stats as st
from evaluation import QUICKLY

from lossgeo import distributions as dist
from lossgeo import supports

V = np.array([[1.3, 0.4, -0.2], [0.4, 0.9, 0.1], [-0.2, 0.1, 2.0]])
LOG_PROB = jax.jit(lambda df, scale, y: dist.Wishart(df, scale).log_prob(y), compiler_options=QUICKLY)


def test_wishart_agrees_with_scipy():
    for df in (2.7, 30.0, 4.5):
        wishart, twin = dist.Wishart(df, V), st.wishart(df, V)
        y = twin.rvs(6, random_state=1)
        np.testing.assert_allclose(LOG_PROB(df, V, y), twin.logpdf(np.moveaxis(y, 0, -1)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(wishart.mean, twin.mean(), rtol=1e-14)
        np.testing.assert_allclose(wishart.variance, twin.var(), rtol=1e-14)
        np.testing.assert_allclose(wishart.entropy(), twin.entropy(), rtol=1e-12)
    single = LOG_PROB(np.float32(4.5), V.astype(np.float32), y.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, st.wishart(4.5, V).logpdf(np.moveaxis(y, 0, -1)), rtol=1e-5)
    one = dist.Wishart(3.5, np.array([[2.0]]))
    x = np.array([0.1, 3.0, 40.0])
    np.testing.assert_allclose(one.log_prob(x[:, None, None]), st.chi2(3.5, scale=2).logpdf(x), rtol=1e-13)


def test_wishart_is_a_density_on_the_lower_triangle():
    """Mass, mean, variance and entropy by quadrature over the roots of x11, x22 and over the correlation."""
    df, scale = 6.0, np.array([[0.8, 0.3], [0.3, 1.5]])
    nodes, weights = np.polynomial.legendre.leggauss(64)
    angle = 0.5 * np.pi * nodes  # of the correlation, whose powers of 1 - r^2 it makes smooth at the ends
    a, b, r = (g.ravel() for g in np.meshgrid(5.5 * (1 + nodes), 7.5 * (1 + nodes), np.sin(angle), indexing="ij"))
    weight = np.einsum("i,j,k->ijk", 5.5 * weights, 7.5 * weights, 0.5 * np.pi * np.cos(angle) * weights).ravel()
    y = np.stack([a * a, a * b * r, a * b * r, b * b], -1).reshape(-1, 2, 2)
    log_prob = np.asarray(LOG_PROB(df, scale, y))
    mass = weight * 4 * np.square(a * b) * np.exp(log_prob)  # d x11 d x12 d x22 = 4 a^2 b^2 da db dr
    wishart = dist.Wishart(df, scale)
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-11)
    mean = np.einsum("n,nij->ij", mass, y)
    np.testing.assert_allclose(wishart.mean, mean, rtol=1e-11)
    np.testing.assert_allclose(wishart.variance, np.einsum("n,nij->ij", mass, (y - mean) ** 2), rtol=1e-10)
    np.testing.assert_allclose(wishart.entropy(), -mass @ log_prob, rtol=1e-10)
    some = np.linspace(0, y.shape[0] - 1, 2000).astype(int)
    assert np.all(np.isfinite(log_prob[some])) and np.all(wishart.support.contains(y[some]))


def test_derivatives_of_the_wishart_density():
    """In y and the scale against their matrix formulas, in df against a difference."""
    df, y = 5.5, st.wishart(5.5, V).rvs(random_state=3)
    slope = jax.jit(jax.grad(lambda df, scale: dist.Wishart(df, scale).log_prob(y), (0, 1)), compiler_options=QUICKLY)
    inverse, precision = np.linalg.inv(y), np.linalg.inv(V)
    by_df, by_scale = slope(df, V)
    np.testing.assert_allclose(by_scale, 0.5 * (precision @ y @ precision - df * precision), rtol=1e-10)
    step = 1e-4
    np.testing.assert_allclose(by_df, (LOG_PROB(df + step, V, y) - LOG_PROB(df - step, V, y)) / (2 * step), rtol=1e-7)
    by_y = jax.jit(jax.grad(dist.Wishart(df, V).log_prob), compiler_options=QUICKLY)
    np.testing.assert_allclose(by_y(y), 0.5 * ((df - 4) * inverse - precision), rtol=1e-10)
    np.testing.assert_array_equal(by_y(-y), 0.0)


def test_large_degrees_of_freedom_cost_no_digits():
    """At X = nu V the density tends to a normal one: log p = -entropy of it + O(1 / nu), with all else cancelled."""
    for dtype, df in ((np.float64, 1e12), (np.float32, 1e6)):
        scale = V.astype(dtype)
        found = LOG_PROB(dtype(df), scale, (dtype(df) * scale).astype(dtype))
        assert found.dtype == dtype
        # Covariance of the lower triangle: nu (V_ik V_jl + V_il V_jk), of determinant nu^6 2^3 det(V)^4.
        normal = -3 * np.log(2 * np.pi) - 0.5 * (6 * np.log(df) + 3 * np.log(2) + 4 * np.linalg.slogdet(V)[1])
        np.testing.assert_allclose(
            found, normal, rtol=4 * np.finfo(dtype).eps, atol=(10 / df) + 8 * np.finfo(dtype).eps
        )


@pytest.mark.slow
def test_draws_batches_and_edges():
    wishart = dist.Wishart(np.array([3.2, 8.0]), V)
    assert (wishart.batch_shape, wishart.event_shape) == ((2,), (3, 3))
    assert isinstance(wishart.support, supports.PositiveDefinite)
    draws = np.asarray(jax.jit(lambda key: wishart.sample(key, (4000,)), compiler_options=QUICKLY)(jax.random.key(0)))
    assert draws.shape == (4000, 2, 3, 3) and np.all(wishart.support.contains(draws))
    assert np.all(np.abs(draws.mean(0) - wishart.mean) < 5 * np.sqrt(wishart.variance / 4000))
    # The determinant over that of V is a product of chi-squared variables, whatever V.
    found = np.log(np.linalg.det(draws / np.linalg.det(V) ** (1 / 3)))
    wanted = [sum(st.loggamma((df - i) / 2).mean() + np.log(2) for i in range(3)) for df in (3.2, 8.0)]
    spread = [sum(st.loggamma((df - i) / 2).var() for i in range(3)) for df in (3.2, 8.0)]
    assert np.all(np.abs(found.mean(0) - wanted) < 5 * np.sqrt(np.array(spread) / 4000))
    both = LOG_PROB(wishart.df, V, draws[:5])
    np.testing.assert_allclose(both[:, 1], st.wishart(8.0, V).logpdf(np.moveaxis(draws[:5, 1], 0, -1)), rtol=1e-12)
    np.testing.assert_allclose(
        jax.vmap(lambda df: dist.Wishart(df, V).log_prob(draws[0, 0]))(wishart.df), LOG_PROB(wishart.df, V, draws[0, 0])
    )
    skew = draws[0, 0] + np.array([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]])
    odd = np.stack([-V, np.zeros((3, 3)), skew, V * np.inf, V * np.nan])
    np.testing.assert_array_equal(LOG_PROB(4.0, V, odd), [-np.inf] * 4 + [np.nan])
    assert (
        np.isnan(LOG_PROB(2.0, V, V)) and np.isnan(LOG_PROB(4.0, -V, V)) and np.all(np.isnan(dist.Wishart(1, V).mean))
    )
    with pytest.raises(ValueError, match=r"scale of Wishart must have shape \(\*batch, K, K\), but has \(3,\)"):
        dist.Wishart(4.0, np.ones(3)).log_prob(V)
    with pytest.raises(ValueError, match=r"y of Wishart must have shape \(\*batch, 3, 3\), but has \(2, 2\)"):
        dist.Wishart(4.0, V).log_prob(np.eye(2))


@pytest.mark.slow
def test_information_of_a_wishart_distribution():
    """The Hessian of the log-density is affine in the matrix alone: at the mean it is its expectation."""
    df = 5.5

    def log_prob(theta):
        return dist.Wishart(theta[0], theta[1:].reshape(3, 3)).log_prob(df * V)

    want = -jax.hessian(log_prob)(np.r_[df, V.ravel()])
    found = dist.Wishart(np.array([df, 7.0]), V).fisher_information()
    assert found.shape == (2, 10, 10)
    np.testing.assert_allclose(found[0], want, atol=1e-12)
