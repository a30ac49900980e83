"""What one family promises and no other: limits, kinks, extremes, errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from evaluation import QUICKLY

from lossgeo import distributions as dist
from lossgeo import supports


def test_laplace_has_gradient_zero_at_its_kink():
    prior = dist.Laplace(0.5, 0.1)
    assert jax.grad(prior.log_prob)(0.5) == 0.0
    assert jax.grad(lambda loc: dist.Laplace(loc, 0.1).log_prob(0.5))(0.5) == 0.0
    kink = prior.kink
    assert (kink.center, kink.strength) == (0.5, 10.0)
    jump = jax.grad(prior.log_prob)(0.5 - 1e-9) - jax.grad(prior.log_prob)(0.5 + 1e-9)
    np.testing.assert_allclose(kink.strength, 0.5 * jump, rtol=1e-15)
    assert dist.Normal().kink is None
    strengths = jax.vmap(lambda d: d.kink.strength)(dist.Laplace(jnp.zeros(2), jnp.array([1.0, 4.0])))
    np.testing.assert_array_equal(strengths, [1.0, 0.25])


def test_student_t_agrees_with_scipy_for_all_df():
    """On both sides of df = 20, where the log-gamma ratio changes its form, and of z^2 = df / 2, where log1p does."""
    df, y = np.array([0.3, 1.0, 4.0, 18.9, 19.1, 20.0, 25.0, 300.0]), np.array([0.0, 0.5, 1.5, 3.0, 3.5, 50.0])
    log_prob = jax.jit(jax.vmap(jax.vmap(lambda d, v: dist.StudentT(d).log_prob(v), (None, 0)), (0, None)))
    # scipy subtracts log-gammas of size up to 600
    np.testing.assert_allclose(log_prob(df, y), scipy.stats.t(df[:, None]).logpdf(y), rtol=2e-13)
    entropy = jax.jit(lambda d: dist.StudentT(d).entropy())(df)
    np.testing.assert_allclose(entropy, scipy.stats.t(df).entropy(), rtol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_student_t_tends_to_the_normal(dtype):
    y = jnp.array([-30.0, -1.0, 0.0, 1e-3, 2.0, 25.0], dtype)
    eps = jnp.finfo(dtype).eps
    normal = scipy.stats.norm.logpdf(np.asarray(y, float))
    at = jax.jit(lambda df: dist.StudentT(df).log_prob(y))
    y4 = np.asarray(y, float) ** 4 - 2 * np.asarray(y, float) ** 2 - 1
    for df in (1e4, 1e6, 1e10, 1e30, math.inf):
        # log t = log normal + (y^4 - 2 y^2 - 1) / (4 df) + O(y^6 / df^2)
        log_prob = at(jnp.asarray(df, dtype))
        assert log_prob.dtype == dtype
        gap = np.abs(np.asarray(log_prob, float) - normal - y4 / (4 * df))
        assert np.all(gap <= 6 * eps * (1 + np.abs(normal)) + np.abs(y4) ** 1.5 / df**2)
    score = jax.jit(jax.vmap(jax.grad(lambda df, v: dist.StudentT(df).log_prob(v)), (None, 0)))
    df = jnp.asarray(1e4, dtype)
    exact = -(y4 / 4) / 1e8
    # The next term is smaller by y^2 / df = 0.09 at 30, by 1e-3 at 3 and less; the rest is rounding.
    np.testing.assert_allclose(score(df, y)[1:5], exact[1:5], rtol=2e-3)
    np.testing.assert_array_equal(score(jnp.asarray(jnp.inf, dtype), y), 0.0)
    curvature = jax.jit(jax.vmap(jax.hessian(lambda v: dist.StudentT(jnp.inf).log_prob(v))))(y)
    np.testing.assert_allclose(curvature, -1.0, rtol=eps)
    np.testing.assert_allclose(
        dist.StudentT(jnp.asarray(1e30, dtype)).entropy(), 0.5 * math.log(2 * math.pi * math.e), rtol=eps
    )
    np.testing.assert_allclose(dist.StudentT(jnp.asarray(jnp.inf, dtype), 0.0, 2.0).variance, 4.0, rtol=eps)


def test_student_t_far_out_and_near_zero_df():
    """The square of a residual may overflow; exact: log t = const - (df + 1) log|y| + (df + 1)/2 log df."""
    log_prob = jax.jit(lambda df, y: dist.StudentT(df).log_prob(y))
    for df in (0.01, 1.0, 4.0):
        tail = scipy.stats.t(df).logpdf(1e8)
        np.testing.assert_allclose(log_prob(df, 1e200), tail - (df + 1) * 192 * math.log(10), rtol=1e-14)
        value = log_prob(jnp.float32(df), jnp.float32(1e30))
        np.testing.assert_allclose(value, tail - (df + 1) * 22 * math.log(10), rtol=5e-7)
    np.testing.assert_allclose(jax.jit(jax.grad(dist.StudentT(3.0).log_prob))(1e200), -4e-200, rtol=1e-14)
    assert dist.StudentT(3.0).log_prob(jnp.inf) == -jnp.inf
    gradients = jax.jit(jax.grad(lambda d: d.log_prob(jnp.inf)))(dist.StudentT(3.0, 0.0, 1.0))
    np.testing.assert_array_equal(jax.tree.leaves(gradients), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(dist.StudentT(jnp.array([1.0, 1.5, 2.0])).variance, [jnp.nan, jnp.inf, jnp.inf])
    np.testing.assert_array_equal(dist.StudentT(jnp.array([1.0, 1.5])).mean, [jnp.nan, 0.0])
    assert jnp.all(jnp.isfinite(dist.StudentT(jnp.inf).sample(jax.random.key(0), (100,))))


def test_bernoulli_logits_are_exact_in_both_tails():
    z = np.array([-80.0, -20.0, -1.0, 0.0, 3.0, 20.0, 80.0], np.float32)
    long = z.astype(np.longdouble)
    for y, sign in ((0, -1), (1, 1)):
        exact = -(np.maximum(-sign * long, 0) + np.log1p(np.exp(-np.abs(long))))
        np.testing.assert_allclose(dist.Bernoulli(logits=z).log_prob(y), exact.astype(float), rtol=4e-7)
        slope = jax.vmap(jax.grad(lambda v, y=y: dist.Bernoulli(logits=v).log_prob(y)))(z)
        np.testing.assert_allclose(slope, (sign / (1 + np.exp(sign * long))).astype(float), rtol=6e-7)
    ends = dist.Bernoulli(logits=jnp.array([-jnp.inf, jnp.inf]))
    np.testing.assert_array_equal(ends.log_prob(jnp.array([0, 1])), [0.0, 0.0])
    np.testing.assert_array_equal(ends.log_prob(jnp.array([1, 0])), [-jnp.inf, -jnp.inf])
    np.testing.assert_array_equal(ends.entropy(), [0.0, 0.0])
    np.testing.assert_allclose(
        dist.Bernoulli(logits=40.0).variance, math.exp(-40) / (1 + math.exp(-40)) ** 2, rtol=1e-15
    )


def test_probabilities_and_rates_at_their_ends():
    log_prob = lambda p, y: dist.Bernoulli(p).log_prob(y)  # noqa: E731
    assert log_prob(0.0, 0) == 0.0 and log_prob(1.0, 1) == 0.0
    assert log_prob(0.0, 1) == -jnp.inf and log_prob(1.0, 0) == -jnp.inf
    assert jax.grad(log_prob)(0.0, 0) == -1.0 and jax.grad(log_prob)(1.0, 1) == 1.0
    assert jax.grad(jax.grad(log_prob))(0.0, 0) == -1.0
    np.testing.assert_array_equal(dist.Bernoulli(jnp.array([0.0, 1.0])).entropy(), [0.0, 0.0])
    rate = lambda r, y: dist.Poisson(r).log_prob(y)  # noqa: E731
    assert rate(0.0, 0) == 0.0 and rate(0.0, 1) == -jnp.inf and jax.grad(rate)(0.0, 0) == -1.0
    log_rate = lambda r, y: dist.Poisson(log_rate=r).log_prob(y)  # noqa: E731
    assert log_rate(-jnp.inf, 0) == 0.0 and log_rate(-jnp.inf, 3) == -jnp.inf
    assert jax.grad(log_rate)(-jnp.inf, 0) == 0.0
    classes = dist.Categorical(jnp.array([0.0, 0.25, 0.75]))
    np.testing.assert_array_equal(classes.log_prob(jnp.array([0, 1])), [-jnp.inf, math.log(0.25)])
    masked = dist.Categorical(logits=jnp.array([-jnp.inf, 0.0, math.log(3.0)]))
    np.testing.assert_allclose(masked.entropy(), classes.entropy(), rtol=1e-15)
    assert jnp.all(jnp.isfinite(jax.grad(lambda z: dist.Categorical(logits=z).log_prob(1))(masked.logits)))
    assert jnp.all(jnp.isfinite(jax.grad(lambda z: dist.Categorical(logits=z).entropy())(masked.logits)))


def test_gamma_and_half_normal_at_zero_take_the_limit():
    at_zero = lambda a, b, y: dist.Gamma(a, b).log_prob(y)  # noqa: E731
    assert at_zero(1.0, 3.0, 0.0) == math.log(3.0)
    assert at_zero(1.5, 3.0, 0.0) == -jnp.inf
    assert at_zero(0.5, 3.0, 0.0) == jnp.inf
    slope = jax.grad(at_zero, (1, 2))(1.0, 3.0, 0.0)
    np.testing.assert_allclose(slope, (1 / 3, -3.0), rtol=1e-15)
    gradient = jax.jit(jax.grad(at_zero, (0, 1, 2)))
    for a in (0.5, 1.0, 1.5):
        assert np.all(np.isfinite(gradient(a, 3.0, 0.0)))
    half = dist.HalfNormal(2.0)
    np.testing.assert_allclose(half.log_prob(0.0), 0.5 * math.log(2 / math.pi) - math.log(2), rtol=1e-15)
    assert jax.grad(half.log_prob)(0.0) == 0.0


def test_gamma_entropy_does_not_cancel():
    np.testing.assert_allclose(
        dist.Gamma(1e10, 1.0).entropy(), 0.5 * math.log(2 * math.pi * math.e * 1e10) - 1 / 3e10, rtol=1e-15
    )


def test_poisson_mass_through_the_logarithm_of_the_rate():
    y = jnp.array([0, 3, 10])
    log_rate = jnp.array([-100.0, 0.5, 2.0])
    exact = scipy.stats.poisson(np.exp(log_rate)).logpmf(y)
    np.testing.assert_allclose(dist.Poisson(log_rate=log_rate).log_prob(y), exact, rtol=1e-14)
    hessian = jax.grad(jax.grad(lambda r: dist.Poisson(log_rate=r).log_prob(3)))(0.5)
    np.testing.assert_allclose(hessian, -math.exp(0.5), rtol=1e-15)


def test_flat_is_zero_on_its_support_and_improper():
    y = jnp.array([-1.0, 0.0, 2.0], jnp.float32)
    np.testing.assert_array_equal(dist.Flat().log_prob(y), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(dist.Flat(supports.positive).log_prob(y), [-jnp.inf, -jnp.inf, 0.0])
    assert dist.Flat().log_prob(y).dtype == jnp.float32
    assert jnp.isnan(dist.Flat(supports.positive).log_prob(jnp.nan))
    np.testing.assert_array_equal(jax.vmap(jax.grad(dist.Flat(supports.positive).log_prob))(y), [0.0, 0.0, 0.0])
    bounded = dist.Flat(supports.interval(jnp.zeros(3), 1.0))
    assert bounded.batch_shape == () and len(jax.tree.leaves(bounded)) == 2 and not jax.tree.leaves(dist.Flat())
    for use in (lambda d: d.mean, lambda d: d.variance, lambda d: d.entropy(), lambda d: d.sample(jax.random.key(0))):
        with pytest.raises(ValueError, match="improper"):
            use(dist.Flat())


def test_fixed_is_a_point_mass():
    held = dist.Fixed(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(held.log_prob(jnp.array([1.0, 2.5])), [0.0, -jnp.inf])
    np.testing.assert_array_equal(held.sample(jax.random.key(0), (3,)), [[1.0, 2.0]] * 3)
    np.testing.assert_array_equal(held.mean, [1.0, 2.0])
    np.testing.assert_array_equal(held.variance, [0.0, 0.0])
    np.testing.assert_array_equal(held.entropy(), [0.0, 0.0])
    assert isinstance(held.support, supports.Point)
    assert jax.grad(dist.Fixed(1.0).log_prob)(3.0) == 0.0
    assert dist.Fixed(1).log_prob(jnp.float32(1)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("family", "first", "second"),
    [(dist.Bernoulli, "probs", "logits"), (dist.Categorical, "probs", "logits"), (dist.Poisson, "rate", "log_rate")],
)
def test_exactly_one_of_two_parameters(family, first, second):
    values = {first: jnp.array([0.5, 0.5]), second: jnp.array([0.0, 0.0])}
    for given, found in (({}, "neither"), (values, "both")):
        distribution = family(**given)  # nothing is checked on construction
        for use in (
            lambda d: d.log_prob(1),
            lambda d: d.mean,
            lambda d: d.variance,
            lambda d: d.sample(jax.random.key(0)),
        ):
            with pytest.raises(ValueError, match=f"exactly one of {first} and {second}; it was given {found}"):
                use(distribution)
    with pytest.raises(TypeError):
        family(None, values[second])


def test_categorical_needs_an_axis_of_classes():
    with pytest.raises(ValueError, match="given a scalar"):
        dist.Categorical(logits=0.0).log_prob(0)
    rows = dist.Categorical(logits=np.zeros((3, 4)))
    assert rows.num_classes == 4 and rows.batch_shape == (3,)
    np.testing.assert_allclose(rows.log_prob(np.array([0.0, 1.0, 3.0])), [-math.log(4)] * 3, rtol=1e-15)


def test_foreign_distributions_are_recognized():
    class Foreign:
        def log_prob(self, y):
            return -y

    assert dist.is_distribution(Foreign()) and dist.is_distribution(dist.Normal())
    assert not dist.is_distribution(Foreign) and not dist.is_distribution(1.0)


def test_laplace_prox_is_the_minimizer_and_exact_at_the_kink():
    prior, v, step = dist.Laplace(0.5, 2.0), np.array([-3.0, 0.4, 0.5, 0.6, 4.0]), 0.3
    y = prior.prox(v, step)
    np.testing.assert_allclose(y, [-2.85, 0.5, 0.5, 0.5, 3.85], rtol=1e-15)
    np.testing.assert_array_equal(y[1:4], 0.5)
    grid = np.linspace(-4, 5, 9001)[:, None]
    value = np.abs(grid - 0.5) / 2.0 + (grid - v) ** 2 / (2 * step)
    np.testing.assert_allclose(grid[value.argmin(axis=0), 0], y, atol=1e-3)


@pytest.mark.parametrize("mean", [2.4, 2.6, 1e5, 1e10, 1e20, 1e80])
def test_negative_binomial_of_a_large_mean(mean):
    # With r = 2.5 and y = 3 the power r (log r - log(r + mean)) + y (log mean - log(r + mean)), in exact order.
    r, y = 2.5, 3.0
    power = -(r + y) * math.log1p(mean / r) + y * math.log(mean / r)
    exact = math.lgamma(r + y) - math.lgamma(r) - math.lgamma(y + 1) + power
    value, slope = jax.value_and_grad(lambda m: dist.NegativeBinomial(m, r).log_prob(y))(mean)
    assert float(value) == pytest.approx(exact, rel=1e-14)
    assert float(slope) == pytest.approx(y / mean - (r + y) / (r + mean), rel=1e-12)


def test_negative_binomial_tends_to_the_poisson():
    """log NB = log Poisson + ((y - mean)^2 - y) / 2 r + O(1 / r^2), with the derivative of that in r; at inf too."""
    y = np.array([0.0, 1.0, 7.0, 40.0])
    mean, poisson = 3.7, scipy.stats.poisson(3.7).logpmf(y)
    slope = ((y - mean) ** 2 - y) / 2
    at = jax.jit(jax.vmap(jax.value_and_grad(lambda r, v: dist.NegativeBinomial(mean, r).log_prob(v)), (None, 0)))
    for r in (1e6, 1e9, 1e30, math.inf):
        value, gradient = at(r, y)
        np.testing.assert_allclose(value, poisson + slope / r, rtol=3e-15, atol=2 * 40.0**3 / r**2)
        np.testing.assert_allclose(gradient * r**2 if r < 1e20 else 0 * gradient, -slope * (r < 1e20), rtol=1e-3)


@pytest.mark.parametrize("family", [dist.OrderedLogistic, dist.OrderedProbit])
def test_ordered_classes_far_from_their_cut_points(family):
    """Where all class probabilities but one round to 0, log-probabilities and their gradients are still right."""
    log_prob = jax.jit(jax.value_and_grad(lambda eta: family(eta, np.array([-1.0, 1.0])).log_prob(1)))
    for eta in (-30.0, 30.0):
        value, slope = log_prob(eta)
        if family is dist.OrderedLogistic:
            # log(e^-29 - e^-31) up to e^-29, and its slope -1 up to the same
            np.testing.assert_allclose(value, -29 + math.log1p(-math.exp(-2)), rtol=1e-12)
            np.testing.assert_allclose(slope, -np.sign(eta), rtol=1e-12)
        else:
            tail = scipy.special.log_ndtr(-29.0)
            np.testing.assert_allclose(value, tail, rtol=1e-14)
            np.testing.assert_allclose(slope, -np.sign(eta) * math.exp(scipy.stats.norm.logpdf(29) - tail), rtol=1e-12)
    rows = family(np.zeros(3), np.zeros((3, 4)) + np.arange(4.0))
    assert rows.batch_shape == (3,) and rows.num_classes == 5


def test_pareto_near_its_threshold_and_the_edges_of_the_uniform():
    pareto, excess = dist.Pareto(2.0, 3.5), 2.0 * 2.0**-40
    np.testing.assert_allclose(pareto.log_cdf(2.0 + excess), math.log(3.5 * 2.0**-40), rtol=1e-12)
    assert pareto.log_prob(2.0) == math.log(3.5) - math.log(2.0) and pareto.log_cdf(2.0) == -jnp.inf
    assert jax.grad(lambda m: dist.Pareto(m, 3.5).log_prob(1.0))(2.0) == 0.0
    assert math.isinf(dist.Pareto(2.0, 1.5).variance) and jnp.isnan(dist.Pareto(2.0, 0.5).variance)
    uniform = dist.Uniform(-1.0, 3.0)
    np.testing.assert_array_equal(uniform.log_prob(np.array([-1.0, 3.0])), -math.log(4.0))
    assert jax.grad(lambda b: dist.Uniform(-1.0, b).log_prob(5.0))(3.0) == 0.0
    with pytest.raises(NotImplementedError, match="Fisher information"):
        uniform.fisher_information()


def test_edges_and_large_concentrations_of_the_beta():
    at = lambda a, b, y: dist.Beta(a, b).log_prob(y)  # noqa: E731
    a, limit = np.array([1.5, 1.0, 0.5]), [-math.inf, math.log(2.5), math.inf]
    np.testing.assert_allclose(at(a, 2.5, np.zeros(3)), limit, rtol=1e-14)
    np.testing.assert_allclose(at(2.5, a, np.ones(3)), limit, rtol=1e-14)
    slopes = jax.jit(jax.vmap(jax.grad(at, (0, 1, 2)), (0, None, None)), compiler_options=QUICKLY)(a, 2.5, 0.0)
    assert np.all(np.isfinite(slopes))
    # Beta(n, n) at 1/2 + z / sqrt(8 n) is normal up to O(1 / n): here to 1e-12 of the largest term.
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 2e-6)):
        n = dtype(2.0**40)
        value = dist.Beta(n, n).log_prob(dtype(0.5))
        np.testing.assert_allclose(value, 0.5 * math.log(4 * 2.0**40 / math.pi), rtol=rtol)
        np.testing.assert_allclose(dist.Beta(n, n).entropy(), 0.5 * math.log(math.pi * math.e / 2.0**42), rtol=rtol)


def test_inverse_gaussian_tails_far_out():
    """Against exact limits: where the two terms of the textbook formula overflow, and where they cancel."""
    steep = dist.InverseGaussian(1.0, 1e6)  # nearly normal of standard deviation 1e-3: exp(2e6) in the textbook
    z = np.array([-3.0, 0.0, 3.0])
    skew = scipy.stats.norm.cdf(z) + 3e-3 * (1 - z**2) * scipy.stats.norm.pdf(z) / 6
    np.testing.assert_allclose(steep.cdf(1 + 1e-3 * z), skew, rtol=2e-3)
    flat, y = dist.InverseGaussian(1e8, 2.0), 1e4  # the first passage of a driftless motion: erfc(sqrt(1 / y))
    np.testing.assert_allclose(flat.log_cdf(y), math.log(math.erfc(math.sqrt(1 / y))), atol=2e-8)
    np.testing.assert_allclose(flat.log_survival(y), math.log(math.erf(math.sqrt(1 / y))), rtol=1e-6)
    assert np.isfinite(jax.grad(flat.log_survival)(1e30)) and flat.log_prob(0.0) == -jnp.inf


def test_sure_success_is_a_point_mass():
    np.testing.assert_array_equal(dist.Geometric(1.0).log_prob(np.array([0.0, 1.0])), [0.0, -jnp.inf])
    assert dist.Geometric(1.0).entropy() == 0.0 and jnp.isfinite(jax.grad(lambda p: dist.Geometric(p).log_prob(0))(1.0))


def test_poisson_entropy_is_the_sum_and_its_series():
    """Against 50 digits of the sum, on both sides of the rate where the formula changes."""
    rate = np.array([0.0, 1e-3, 3.7, 99.9, 100.1, 1000.0])
    exact = [0.0, 0.0079081018046324831, 2.0450347988972125, 3.720184979416774, 3.7211866634111685, 4.8727327976428506]
    np.testing.assert_allclose(dist.Poisson(rate).entropy(), exact, rtol=2e-13)
    np.testing.assert_allclose(dist.Poisson(rate.astype(np.float32)).entropy(), exact, rtol=2e-5)
    slope = jax.grad(lambda r: dist.Poisson(log_rate=jnp.log(r)).entropy())
    np.testing.assert_allclose(slope(99.999), slope(100.001), rtol=1e-4)


def test_entropy_of_binomial_counts_from_one_trial_to_a_million_millions():
    entropy = jax.jit(lambda n, p: dist.Binomial(n, p).entropy(), compiler_options=QUICKLY)
    n = np.array([0.0, 1.0, 30.0, 400.0, 1200.0, 3000.0, 1e6])
    p = np.array([0.3, 0.3, 1e-9, 0.5, 0.2, 0.97, 3e-6])
    wanted = []
    for trials, probability in zip(n.astype(int).tolist(), p.tolist(), strict=True):
        # Exact binomial coefficients: scipy subtracts log-gammas of size n log n.
        count = np.arange(min(trials, 3000) + 1)
        log_choices = np.array(
            [math.log(math.comb(trials, k)) for k in count[: 80 if trials > 3000 else None].tolist()]
        )
        count = count[: log_choices.size]
        log_prob = log_choices + count * np.log(probability) + (trials - count) * np.log1p(-probability)
        wanted.append(-np.sum(np.exp(log_prob) * log_prob))
    np.testing.assert_allclose(entropy(n, p), wanted, rtol=1e-12, atol=1e-14)
    single = entropy(n.astype(np.float32), p.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted, rtol=1e-5, atol=5e-7)  # some ulp of 1
    normal = 0.5 * np.log(2 * np.pi * np.e * 1e12 * 0.3 * 0.7)  # the next term is of size 1 / n
    np.testing.assert_allclose(entropy(np.array([1e12]), np.array([0.3]))[0], normal, rtol=1e-12)
    slope = jax.jit(jax.grad(lambda p, n: dist.Binomial(n, p).entropy()), compiler_options=QUICKLY)
    np.testing.assert_allclose(slope(0.3, 1.0), np.log(0.7 / 0.3), rtol=1e-12)
    np.testing.assert_allclose(slope(0.3, 1e9), 0.5 * (1 / 0.3 - 1 / 0.7), rtol=1e-8)
    assert (slope(0.0, 3.0), slope(1.0, 3.0)) == (np.inf, -np.inf)
    np.testing.assert_array_equal(entropy(np.array([5.0, 5.0, 5.0]), np.array([0.0, 1.0, np.nan])), [0, 0, np.nan])
    twice = dist.Binomial(np.array([3.0, 4.0]), logits=np.log(0.3 / 0.7)).entropy()
    np.testing.assert_allclose(twice, [scipy.stats.binom(k, 0.3).entropy() for k in (3, 4)], rtol=1e-12)
