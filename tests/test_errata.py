"""Errata of the source documents: for each row, the formula as printed fails and the correct statement holds.

Row numbers A1 to A25 are those of the table of errata.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry as geo

pytestmark = pytest.mark.usefixtures("fast_compilation")

P, Q = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.6, 0.3, 0.1])


def test_a1_sign_and_order_of_the_fused_cross_entropy():
    z, label = jnp.array([1.0, -0.5, 0.2]), 0
    truth = -jax.nn.log_softmax(z)[label]
    top = jnp.max(z)
    printed = z[label] - top - jnp.log(jnp.sum(jnp.exp(z - top)))
    np.testing.assert_allclose(printed, -truth, rtol=1e-14)  # the sign is reversed
    one_hot = jnp.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(geo.fenchel_young_loss(geo.log_sum_exp, z, one_hot), truth, rtol=1e-14)
    far = jnp.array([1e8, 1e8], jnp.float32)
    wrong_order = (jnp.max(far) + jnp.log(jnp.sum(jnp.exp(far - jnp.max(far))))) - far[0]
    assert wrong_order == 0
    ours = geo.fenchel_young_loss(geo.log_sum_exp, far, jnp.array([1.0, 0.0], jnp.float32))
    np.testing.assert_allclose(ours, math.log(2), rtol=1e-7)


def test_a2_the_printed_kl_is_twice_kl():
    printed = -jnp.sum(P * jnp.log(Q)) + jnp.sum(P * jnp.log(P)) + jnp.sum(P * jnp.log(P / Q))
    kl = geo.kl_divergence(P, Q)
    np.testing.assert_allclose(printed, 2 * kl, rtol=1e-14)
    np.testing.assert_allclose(kl, geo.cross_entropy(P, Q) - geo.entropy(P), rtol=1e-14)
    np.testing.assert_allclose(kl, geo.bregman_divergence(geo.negative_entropy, P, Q), rtol=1e-13)


def _smoothed_hinge(z, alpha, *, printed):
    inner = z ** (alpha + 1) / (alpha + 1) - z + alpha / (alpha + 1)
    outer = alpha / (alpha + 1) - (0.0 if printed else z)
    return jnp.where(z >= 1, 0.0, jnp.where(z > 0, inner, outer))


def test_a3_the_printed_smoothed_hinge_is_a_ramp():
    z = jnp.linspace(-3, 2, 501)
    convexity = lambda v: v[2:] - 2 * v[1:-1] + v[:-2]  # noqa: E731
    ramp = _smoothed_hinge(z, 2.0, printed=True)
    right = _smoothed_hinge(z, 2.0, printed=False)
    assert jnp.min(convexity(ramp)) < -1e-3 and jnp.ptp(ramp[:250]) == 0  # not convex, and no gradient where it matters
    assert jnp.min(convexity(right)) > -1e-12 and jnp.all(jnp.diff(right) <= 0)


def test_a4_softmax_is_a_bijection_only_modulo_constants():
    z = jnp.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(geo.log_sum_exp.gradient(z + 5), geo.log_sum_exp.gradient(z), rtol=1e-14)
    np.testing.assert_allclose(geo.log_sum_exp.inverse(geo.log_sum_exp.gradient(z)), z - jnp.mean(z), rtol=1e-13)
    metric = geo.fisher_metric(geo.log_sum_exp, z)
    assert np.linalg.matrix_rank(metric) == 2
    np.testing.assert_allclose(metric @ np.ones(3), 0, atol=1e-16)
    g = jnp.array([1.0, -2.0, 1.0])
    np.testing.assert_allclose(metric @ geo.natural_gradient(metric, g), g, atol=1e-13)


def test_a5_softmax_is_a_legendre_map_and_cross_entropy_less_entropy_a_fenchel_young_loss():
    z = jnp.array([1.0, -0.5, 0.2])
    q = geo.log_sum_exp.gradient(z)
    loss = geo.fenchel_young_loss(geo.log_sum_exp, z, P)
    np.testing.assert_allclose(loss, geo.cross_entropy(P, q) - geo.entropy(P), rtol=1e-13)
    np.testing.assert_allclose(loss, geo.bregman_divergence(geo.dual(geo.log_sum_exp), P, q), rtol=1e-12)
    np.testing.assert_allclose(loss, geo.kl_divergence(P, q), rtol=1e-13)


def test_a6_a7_curvature_is_constant_for_both_rows_of_the_table():
    @jax.jit
    def curvature(potential, eta):
        return geo.sectional_curvature(
            geo.FisherMetric(potential), eta, jnp.eye(eta.size)[0], jnp.arange(1.0, eta.size + 1)
        )

    def sectional(potential, eta):
        return curvature(potential, jnp.array(eta))

    for eta in ([0.3, -0.5], [-1.0, 2.0]):
        np.testing.assert_allclose(sectional(geo.categorical, eta), 0.25, rtol=1e-11)  # cross-entropy: not "varying"
        np.testing.assert_allclose(sectional(geo.half_squared_norm, eta), 0.0, atol=1e-14)  # squared error: flat
    np.testing.assert_allclose(sectional(geo.normal, [0.3, -0.7]), -0.5, rtol=1e-11)
    varying = [float(sectional(geo.gamma, [shape, -1.0])) for shape in (0.5, 2.0, 20.0)]
    np.testing.assert_allclose(varying, [-0.404, -0.486, -0.500], atol=5e-4)


def test_a7_a16_the_divergence_is_half_the_squared_distance():
    x, y = jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])
    divergence = geo.bregman_divergence(geo.half_squared_norm, x, y)
    np.testing.assert_allclose(divergence, 12.5)
    assert divergence not in (5.0, 2.5)  # the distance, and half the distance


def test_a8_maximum_likelihood_is_the_m_projection_and_maximum_entropy_the_i_projection():
    statistic = jnp.array([[0.0, 1.0, 2.0]])
    start = jnp.array([0.6, 0.3, 0.1])
    m_side = geo.project(P, geo.LogLinear(statistic), side="M")
    i_side = geo.project(start, geo.Moments(statistic, statistic @ P), side="I")
    slope = jax.grad(lambda t: geo.kl_divergence(P, jax.nn.softmax(t * statistic[0])))(m_side.coordinates[0])
    assert abs(slope) < 1e-14  # the second slot is minimized over the family
    direction = jnp.array([1.0, -2.0, 1.0])  # keeps the sum and the moment: the first slot is minimized over the set
    assert abs(jax.grad(lambda s: geo.kl_divergence(i_side.point + s * direction, start))(0.0)) < 1e-14
    assert np.max(np.abs(m_side.point - i_side.point)) > 0.03


def test_a9_the_asymmetry_of_kl_is_of_third_order():
    eta, direction = jnp.array([0.3, -0.5]), jnp.array([1.0, 0.4])
    cubic = jnp.einsum("ijk,i,j,k", geo.cubic_tensor(geo.categorical, eta), direction, direction, direction)
    for step, tolerance in ((1e-2, 5e-2), (1e-3, 5e-3)):
        moved = eta + step * direction
        forward = geo.exponential_family_kl(geo.categorical, eta, moved)
        backward = geo.exponential_family_kl(geo.categorical, moved, eta)
        assert abs(forward / backward - 1) < 2 * step  # second order: symmetric
        np.testing.assert_allclose((forward - backward) / step**3 / cubic, -1 / 6, rtol=tolerance)


def test_a10_the_metric_uses_the_derivative_in_the_parameter():
    # The exponential law of rate r: the derivative of log p in y is -r, the one in r has variance 1 / r^2.
    rate = 2.0
    points, weights = geo.half_line_rule()
    log_density = lambda r, y: jnp.log(r) - r * y  # noqa: E731
    information = geo.fisher_information(log_density, jnp.array(rate), points, weights)[0, 0]
    np.testing.assert_allclose(information, 1 / rate**2, rtol=1e-12)
    slope_in_y = jax.vmap(jax.grad(log_density, 1), (None, 0))(rate, points)
    in_y = jnp.sum(weights * rate * jnp.exp(-rate * points) * slope_in_y**2)
    assert abs(in_y - information) > 1  # 4 and not 1/4
    step = 1e-4
    np.testing.assert_allclose(information * step**2, 2 * geo.kl_exponential(rate, rate + step), rtol=1e-3)
    # On the simplex in ambient coordinates: the sum of dp^2 / p over directions of sum 0.
    dp = step * jnp.array([1.0, -2.0, 1.0])
    np.testing.assert_allclose(jnp.sum(dp**2 / P), 2 * geo.kl_divergence(P, P + dp), rtol=1e-3)


def test_a11_orthogonality_is_an_inequality_on_convex_sets():
    v, c = jnp.array([2.0, 1.0]), jnp.array([-0.5, 0.3])
    u = geo.projection_l2_ball(v)
    assert jnp.vdot(v - u, c - u) < -1.0  # not 0, as printed for convex sets
    u = geo.projection_hyperplane(v, jnp.array([1.0, 1.0]), 1.0)
    np.testing.assert_allclose(jnp.vdot(v - u, jnp.array([0.2, 0.8]) - u), 0, atol=1e-15)  # affine: 0


def _regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    return x, x @ np.array([1.0, -2.0]) + 0.7 * rng.normal(size=30)


def test_a12_the_objective_of_map_needs_the_noise_variance():
    x, y = _regression()
    s2, t2 = 0.1, 2.0
    posterior_mode = np.linalg.solve(x.T @ x / s2 + np.eye(2) / t2, x.T @ y / s2)

    def printed(theta):
        return jnp.sum((y - x @ theta) ** 2) + jnp.sum(theta**2) / (2 * t2)

    def corrected(theta):
        return jnp.sum((y - x @ theta) ** 2) + 2 * s2 * jnp.sum(theta**2) / (2 * t2)

    assert np.max(np.abs(jax.grad(printed)(posterior_mode))) > 0.1
    np.testing.assert_allclose(jax.grad(corrected)(posterior_mode), 0, atol=1e-12)


def test_a13_ridge_penalty_in_each_convention():
    x, y = _regression()
    s2, t2, n = 0.1, 2.0, 30
    mode = np.linalg.solve(x.T @ x / s2 + np.eye(2) / t2, x.T @ y / s2)
    gram, moment = x.T @ x, x.T @ y
    for scale, penalty in ((1.0, s2 / t2), (1 / n, s2 / (n * t2)), (1 / (2 * s2), 1 / (2 * t2))):  # RSS, MSE, NLL
        np.testing.assert_allclose(
            np.linalg.solve(scale * gram + penalty * np.eye(2), scale * moment), mode, rtol=1e-12
        )
    printed = np.linalg.solve(gram + 1 / (2 * t2) * np.eye(2), moment)  # right for the NLL, taken with the RSS
    assert np.max(np.abs(printed - mode)) > 1e-4


def test_a14_laplace_draws_are_never_zero_but_the_mode_is():
    draws = jax.random.laplace(jax.random.key(0), (100_000,))
    assert not np.any(draws == 0)
    # One coefficient, posterior exp(-(b - z)^2 / 2 - strength |b|): the mode is the soft threshold.
    z, strength = 0.4, 1.0
    grid = np.linspace(-2, 2, 4001)
    assert abs(grid[np.argmin((grid - z) ** 2 / 2 + strength * np.abs(grid))]) < 1e-12
    weight = np.exp(-((grid - z) ** 2) / 2 - strength * np.abs(grid))
    assert np.sum(weight * grid) / np.sum(weight) > 0.05  # the posterior mean is not 0


def test_a15_cross_entropy_is_not_a_divergence():
    assert geo.cross_entropy(P, P) > 1.0
    assert geo.kl_divergence(P, P) == 0
    one_hot = jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(geo.cross_entropy(one_hot, Q), geo.kl_divergence(one_hot, Q), rtol=1e-14)


def test_a17_the_log_likelihood_is_affine_in_the_mean_squared_error():
    residual = np.random.default_rng(1).normal(size=(4, 25))
    s2 = 0.8
    log_likelihood = np.sum(-(residual**2) / (2 * s2) - 0.5 * np.log(2 * np.pi * s2), axis=1)
    mse = np.mean(residual**2, axis=1)
    np.testing.assert_allclose(log_likelihood, -12.5 * np.log(2 * np.pi * s2) - 25 / (2 * s2) * mse, rtol=1e-13)
    assert np.ptp(log_likelihood / mse) > 0.1  # not proportional


def test_a18_gradient_descent_cares_about_units_and_the_natural_gradient_does_not():
    eta = jnp.array([0.7, -2.0])

    def loss(e, unit=1.0):
        return unit * jnp.sum(geo.gamma.gradient(e) ** 2)

    plain, scaled = jax.grad(loss)(eta), jax.grad(loss)(eta, 100.0)
    np.testing.assert_allclose(scaled, 100 * plain, rtol=1e-13)
    newton = [np.linalg.solve(jax.hessian(loss)(eta, u), jax.grad(loss)(eta, u)) for u in (1.0, 100.0)]
    np.testing.assert_allclose(newton[0], newton[1], rtol=1e-10)
    # A change of coordinates: the natural direction is the same tangent vector, the plain one is not.
    transform = jnp.array([[2.0, 0.0], [0.3, 0.1]])
    metric = geo.fisher_metric(geo.gamma, eta)
    natural = geo.natural_gradient(metric, plain)
    moved = transform @ geo.natural_gradient(transform.T @ metric @ transform, transform.T @ plain)
    np.testing.assert_allclose(moved, natural, rtol=1e-10)
    assert np.max(np.abs(transform @ (transform.T @ plain) - plain)) > 0.1


def test_a19_the_observation_is_signal_plus_noise():
    # y = f + e: noise is uncorrelated with the signal and adds to its variance; f = y + e would make it subtract.
    key_f, key_e = jax.random.split(jax.random.key(0))
    f, e = jax.random.normal(key_f, (100_000,)), 0.5 * jax.random.normal(key_e, (100_000,))
    y = f + e
    assert abs(jnp.mean((y - f) * f)) < 0.01
    assert abs(jnp.mean((y - f) * y) - 0.25) < 0.01
    assert jnp.var(y) > jnp.var(f)


def test_a20_a_continuous_negative_log_likelihood_has_units():
    y, unit = np.random.default_rng(2).normal(size=50), 1000.0

    def nll(values, s):
        return np.sum(values**2 / (2 * s**2) + np.log(s) + 0.5 * np.log(2 * np.pi))

    np.testing.assert_allclose(nll(unit * y, unit) - nll(y, 1.0), 50 * np.log(unit), rtol=1e-12)
    np.testing.assert_allclose(50 * np.log(unit), 345.39, rtol=1e-5)
    assert nll(1e-3 * y, 1e-3) < 0


def test_a21_probabilities_are_unstable_and_logits_are_not():
    z = jnp.array([0.0, 120.0], jnp.float32)
    target = jnp.array([1.0, 0.0], jnp.float32)
    assert geo.cross_entropy(target, jax.nn.softmax(z)) == jnp.inf
    np.testing.assert_allclose(geo.fenchel_young_loss(geo.log_sum_exp, z, target), 120.0, rtol=1e-6)


def test_a22_the_shifted_log_sum_exp_still_cancels():
    z = jnp.array([20.0, 0.0], jnp.float32)
    shifted = (jnp.max(z) - z[0]) + jnp.log(jnp.sum(jnp.exp(z - jnp.max(z))))
    assert shifted == 0
    ours = geo.fenchel_young_loss(geo.log_sum_exp, z, jnp.array([1.0, 0.0], jnp.float32))
    np.testing.assert_allclose(ours, math.log1p(math.exp(-20)), rtol=1e-6)


def test_a23_not_every_surrogate_is_one_at_zero():
    at_zero = {
        "square": (1 - 0.0) ** 2,
        "hinge": max(0.0, 1 - 0.0),
        "logistic in bits": math.log1p(1.0) / math.log(2),
        "exponential": math.exp(0.0),
        "logistic in nats": float(geo.fenchel_young_loss(geo.bernoulli, 0.0, 1.0)),
        "smoothed hinge": float(_smoothed_hinge(0.0, 2.0, printed=False)),
    }
    assert [round(v, 12) for v in list(at_zero.values())[:4]] == [1, 1, 1, 1]
    np.testing.assert_allclose(
        [at_zero["logistic in nats"], at_zero["smoothed hinge"]], [math.log(2), 2 / 3], rtol=1e-14
    )


def test_a24_the_empirical_minimizer_is_a_definition_and_not_a_guarantee():
    rng = np.random.default_rng(0)
    eta = np.array([0.4, 0.45, 0.48, 0.52, 0.55, 0.6, 0.3, 0.7])  # P(y = 1 | x), x uniform on eight cells
    votes = (np.arange(256)[:, None] >> np.arange(8)) & 1  # all classifiers of the class
    risk = np.mean(np.where(votes == 1, 1 - eta, eta), axis=1)

    def sample(n):
        x = rng.integers(8, size=n)
        y = rng.random(n) < eta[x]
        return np.mean(votes[:, x] != y, axis=1)

    bayes = np.argmin(risk)
    empirical = sample(40)
    best = np.argmin(empirical)
    assert empirical[best] < empirical[bayes]  # least empirical risk, by definition
    assert risk[best] > risk[bayes] + 0.01  # the printed consequence, least expected risk, fails
    assert empirical[best] < risk[bayes]  # and its own empirical risk is optimistic
    # What does follow: an excess of at most twice the uniform deviation, which shrinks with n.
    deviations = []
    for n in (40, 4_000, 400_000):
        empirical = sample(n)
        deviations.append(np.max(np.abs(empirical - risk)))
        assert risk[np.argmin(empirical)] - risk[bayes] <= 2 * deviations[-1]
    assert deviations[2] < deviations[1] / 4 < deviations[0] / 16
    # From a surrogate to the 0-1 loss: psi(R - R*) <= R_phi - R_phi*, for the logistic loss psi = log 2 - h.
    p = rng.random((10_000, 8))
    f = rng.normal(scale=2, size=p.shape)
    excess = np.mean(np.abs(2 * p - 1) * ((f > 0) != (p > 0.5)), axis=1)
    surrogate = np.mean(geo.fenchel_young_loss(geo.bernoulli, f, p), axis=1)
    half = jnp.stack([0.5 * (1 + excess), 0.5 * (1 - excess)], axis=-1)
    psi = math.log(2) - np.asarray(geo.entropy(half))
    assert np.all(psi <= surrogate + 1e-12) and np.max(psi / surrogate) > 0.3  # never violated, and not vacuous


def test_a25_squared_error_assumes_no_gaussian_noise():
    # Skewed data: the mean minimizes squared error, and every other Bregman loss, all the same.
    y = jax.random.gamma(jax.random.key(1), 0.7, (200, 1)) + 0.1
    for generator in (geo.half_squared_norm, geo.negative_entropy, geo.burg):
        slope = jax.grad(lambda c, a=generator: jnp.mean(geo.bregman_divergence(a, y, c)))(jnp.mean(y, axis=0))
        np.testing.assert_allclose(slope, 0, atol=1e-12)
    assert abs(jnp.mean(y) - jnp.median(y)) > 0.1
