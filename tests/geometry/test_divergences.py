"""Divergences: their integrals, limits, directions and near neighbors; the reference numbers are in another file."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln

from lossgeo import geometry as geo

P, Q = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.6, 0.3, 0.1])


def test_kl_direction_is_the_expectation_under_the_first_law():
    expectation = jnp.sum(P * (jnp.log(P) - jnp.log(Q)))
    np.testing.assert_allclose(geo.kl_divergence(P, Q), expectation, rtol=1e-14)
    assert abs(geo.kl_divergence(Q, P) - expectation) > 0.01
    # The same law inside an exponential family: the slots of the Bregman divergence swap.
    np.testing.assert_allclose(
        geo.exponential_family_kl(geo.log_sum_exp, jnp.log(P), jnp.log(Q)), expectation, rtol=1e-13
    )
    np.testing.assert_allclose(geo.bregman_divergence(geo.log_sum_exp, jnp.log(Q), jnp.log(P)), expectation, rtol=1e-13)
    np.testing.assert_allclose(geo.kl_divergence_of_logits(jnp.log(P) + 3, jnp.log(Q) - 1), expectation, rtol=1e-13)
    np.testing.assert_allclose(geo.bregman_divergence(geo.negative_entropy, P, Q), expectation, rtol=1e-13)


def _gamma(shape, rate):
    return lambda y: shape * jnp.log(rate) - gammaln(shape) + (shape - 1) * jnp.log(y) - rate * y


def _gumbel(loc, scale):
    return lambda y: -(y - loc) / scale - jnp.exp(-(y - loc) / scale) - jnp.log(scale)


def _normal(loc, scale):
    return lambda y: -0.5 * ((y - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)


def _laplace(loc, scale):
    return lambda y: -jnp.abs(y - loc) / scale - jnp.log(2 * scale)


def _cauchy(loc, scale):
    return lambda y: jnp.log(scale / math.pi) - jnp.log((y - loc) ** 2 + scale**2)


def _inverse_gaussian(mean, shape):
    return lambda y: 0.5 * jnp.log(shape / (2 * math.pi * y**3)) - shape * (y - mean) ** 2 / (2 * mean**2 * y)


def _weibull(shape, scale):
    return lambda y: jnp.log(shape / scale) + (shape - 1) * jnp.log(y / scale) - (y / scale) ** shape


def _line_with_kinks(low, high):
    """The line in three pieces, because quadrature of a kink converges slowly."""
    (x, w), (y, v) = geo.half_line_rule(), geo.interval_rule(low, high)
    return jnp.concatenate([low - x, y, high + x]), jnp.concatenate([w, v, w])


DENSITIES = [
    (_normal, geo.kl_normal, geo.real_line_rule, (0.3, 1.2, -0.5, 2.0), 1e-12),
    (_gumbel, geo.kl_gumbel, geo.real_line_rule, (1.0, 2.0, 0.5, 1.5), 1e-12),
    (_laplace, geo.kl_laplace, lambda: _line_with_kinks(0.0, 0.8), (0.0, 1.5, 0.8, 0.7), 1e-12),
    (_cauchy, geo.kl_cauchy, geo.real_line_rule, (0.0, 1.5, 0.8, 0.7), 1e-11),
    (_gamma, geo.kl_gamma, geo.half_line_rule, (2.5, 1.5, 0.9, 0.7), 1e-12),
    (_inverse_gaussian, geo.kl_inverse_gaussian, geo.half_line_rule, (1.5, 2.0, 0.8, 3.0), 1e-12),
    (_weibull, geo.kl_weibull, geo.half_line_rule, (1.5, 2.0, 0.8, 3.0), 1e-12),
]


@pytest.mark.parametrize(("density", "kl", "rule", "parameters", "rtol"), DENSITIES)
def test_closed_forms_are_the_integral(density, kl, rule, parameters, rtol):
    points, weights = rule()
    p, q = density(*parameters[:2]), density(*parameters[2:])
    np.testing.assert_allclose(kl(*parameters), geo.kl_by_quadrature(p, q, points, weights), rtol=rtol)


def test_kl_without_a_closed_form():
    points, weights = geo.half_line_rule()
    log_normal = lambda y: _normal(0.0, 1.0)(jnp.log(y)) - jnp.log(y)  # noqa: E731
    value = geo.kl_by_quadrature(_gamma(3.0, 2.0), log_normal, points, weights)
    np.testing.assert_allclose(value, 0.21797800273651655, rtol=1e-12)
    k = jnp.arange(0.0, 60.0)
    inside = k <= 10
    choose = gammaln(11.0) - gammaln(k + 1) - gammaln(jnp.where(inside, 11 - k, 1.0))
    binomial = jnp.where(inside, choose + k * jnp.log(0.3) + (10 - k) * jnp.log(0.7), -jnp.inf)
    poisson = k * jnp.log(3.0) - 3 - gammaln(k + 1)
    value = geo.kl_by_quadrature(lambda _: binomial, lambda _: poisson, k)
    np.testing.assert_allclose(value, 0.029497175576529443, rtol=1e-12)


def test_multivariate_normal_three_ways():
    m, n = jnp.array([1.0, -2.0]), jnp.array([0.5, 0.3])
    s, r = jnp.array([[2.0, 0.4], [0.4, 1.0]]), jnp.array([[1.0, -0.2], [-0.2, 1.5]])
    inverse = geo.multivariate_normal.inverse
    eta_p = inverse(geo.pack_normal(m, s + m[:, None] * m[None, :]))
    eta_q = inverse(geo.pack_normal(n, r + n[:, None] * n[None, :]))
    textbook = 0.5 * (
        np.trace(np.linalg.solve(r, s))
        - 2
        + np.log(np.linalg.det(r) / np.linalg.det(s))
        + (n - m) @ np.linalg.solve(r, n - m)
    )
    np.testing.assert_allclose(geo.kl_multivariate_normal(m, s, n, r), textbook, rtol=1e-13)
    np.testing.assert_allclose(geo.exponential_family_kl(geo.multivariate_normal, eta_p, eta_q), textbook, rtol=1e-12)


def test_wasserstein_of_normals():
    one = geo.wasserstein_normal(jnp.array([1.0]), jnp.array([[4.0]]), jnp.array([3.0]), jnp.array([[9.0]]))
    np.testing.assert_allclose(one, 5.0, rtol=1e-14)  # (1 - 3)^2 + (2 - 3)^2
    s, zero = jnp.array([[2.0, 0.4], [0.4, 1.0]]), jnp.zeros(2)
    np.testing.assert_allclose(geo.wasserstein_normal(zero, s, zero, s), 0.0, atol=1e-14)
    commuting = geo.wasserstein_normal(zero, s, zero, 4 * s)
    np.testing.assert_allclose(commuting, jnp.trace(s), rtol=1e-13)  # tr (2 sqrt s - sqrt s)^2


def test_entropies():
    np.testing.assert_allclose(geo.entropy(jnp.full(8, 0.125), base=2), 3.0, rtol=1e-15)
    assert geo.entropy(jnp.array([1.0, 0.0])) == 0
    np.testing.assert_allclose(geo.cross_entropy(P, Q), geo.entropy(P) + geo.kl_divergence(P, Q), rtol=1e-14)
    np.testing.assert_allclose(geo.self_information(jnp.array([1.0, 0.25]), base=2), [0.0, 2.0])
    with pytest.raises(ValueError, match="base must exceed 1"):
        geo.entropy(P, base=1.0)


def test_differential_entropies_from_the_conjugate():
    # H = -A*(mu) - E log h. Beta(1/2, 1/2): h = 1 / (y (1 - y)). Reference -0.2415644752704904 and -1.2443445622221008.
    for concentration, truth in (([0.5, 0.5], -0.2415644752704904), ([1.0, 2.0, 3.0], -1.2443445622221008)):
        mu = geo.dirichlet.gradient(jnp.array(concentration))
        np.testing.assert_allclose(-geo.dirichlet.conjugate(mu) + jnp.sum(mu), truth, rtol=1e-12)


def test_limits_and_their_gradients():
    vertex, other = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])
    assert geo.kl_divergence(vertex, vertex) == 0
    assert geo.kl_divergence(vertex, other) == jnp.inf
    assert geo.kl_divergence(jnp.array([0.5, 0.5, 0.0]), jnp.array([0.25, 0.75, 0.0])) > 0
    dp, dq = jax.grad(geo.kl_divergence, argnums=(0, 1))(jnp.array([0.0, 0.5, 0.5]), jnp.array([0.0, 0.25, 0.75]))
    assert np.all(np.isfinite(dp)) and np.all(np.isfinite(dq))
    masked = jnp.array([0.3, -jnp.inf, 1.0])
    assert np.isfinite(geo.kl_divergence_of_logits(masked, masked + jnp.array([0.1, 0.0, 0.4])))
    assert geo.renyi_divergence(vertex, other, 0.5) == jnp.inf
    np.testing.assert_allclose(geo.jensen_shannon_divergence(vertex, other), math.log(2), rtol=1e-15)
    assert geo.total_variation(vertex, other) == geo.hellinger_distance(vertex, other) == 1


def test_families_of_divergences_meet_where_they_should():
    kl = geo.kl_divergence(P, Q)
    np.testing.assert_allclose(geo.alpha_divergence(P, Q, -1), kl)
    np.testing.assert_allclose(geo.alpha_divergence(P, Q, -1 + 1e-7), kl, rtol=1e-6)
    np.testing.assert_allclose(geo.alpha_divergence(P, Q, 1), geo.kl_divergence(Q, P))
    np.testing.assert_allclose(geo.alpha_divergence(P, Q, 0.4), geo.alpha_divergence(Q, P, -0.4), rtol=1e-13)
    np.testing.assert_allclose(geo.alpha_divergence(P, Q, 0), 4 * geo.hellinger_distance(P, Q) ** 2, rtol=1e-13)
    np.testing.assert_allclose(geo.renyi_divergence(P, Q, 1 + 1e-7), kl, rtol=1e-6)
    np.testing.assert_allclose(geo.renyi_divergence(P, Q, 0.5), 2 * geo.bhattacharyya_distance(P, Q), rtol=1e-13)
    np.testing.assert_allclose(geo.renyi_divergence(P, Q, math.inf), math.log(5), rtol=1e-14)
    np.testing.assert_allclose(geo.f_divergence(lambda r: r * jnp.log(r), P, Q), kl, rtol=1e-13)
    np.testing.assert_allclose(
        geo.f_divergence(lambda r: (r - 1) ** 2, P, Q), geo.chi_squared_divergence(P, Q), rtol=1e-13
    )
    assert (
        geo.f_divergence(
            lambda r: 0.5 * jnp.abs(r - 1), jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), slope_at_infinity=0.5
        )
        == 1
    )


@pytest.mark.parametrize("step", [2.0**-6, 2.0**-10, 2.0**-14, 2.0**-17])
def test_near_neighbors_in_float32(step):
    # 2c.6: differences of log-partitions cancel here; the remainder integral does not.
    eta = np.float32(0.3125)
    moved = np.float32(eta + np.float32(step))
    exact = geo.exponential_family_kl(geo.bernoulli, jnp.asarray(eta, float), jnp.asarray(moved, float))
    ours = geo.exponential_family_kl(geo.bernoulli, jnp.asarray(eta), jnp.asarray(moved))
    np.testing.assert_allclose(ours, exact, rtol=5e-7)
    p = np.asarray(P, np.float32)
    q = p + np.float32(step) * np.array([0.0, 1.0, -1.0], np.float32)
    wide = geo.generalized_kl_divergence(jnp.asarray(p, float), jnp.asarray(q, float))
    np.testing.assert_allclose(geo.kl_divergence(jnp.asarray(p), jnp.asarray(q)), wide, rtol=5e-7)


def test_kl_is_never_negative_in_float32():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6), size=500).astype(np.float32)
    q = p * (1 + rng.normal(size=p.shape).astype(np.float32) * 1e-4)
    q = q / q.sum(-1, keepdims=True)
    assert np.all(geo.kl_divergence(p, q) >= 0)
    assert np.min(np.sum(p * np.log(p / q), -1)) < 0  # the textbook sum is


def test_fenchel_young_keeps_its_offset_and_its_last_digits():
    z = jnp.array([1.0, -0.5, 0.2])
    assert abs(geo.fenchel_young_loss(geo.log_sum_exp, z, jax.nn.softmax(z))) < 1e-15
    np.testing.assert_allclose(
        geo.fenchel_young_loss(geo.log_sum_exp, z, P), geo.kl_divergence(P, jax.nn.softmax(z)), rtol=1e-12
    )
    np.testing.assert_allclose(
        jax.grad(lambda s: geo.fenchel_young_loss(geo.log_sum_exp, s, P))(z), jax.nn.softmax(z) - P, atol=1e-15
    )
    narrow = geo.fenchel_young_loss(
        geo.log_sum_exp, jnp.array([20.0, 0.0], jnp.float32), jnp.array([1.0, 0.0], jnp.float32)
    )
    np.testing.assert_allclose(narrow, 2.0611536e-09, rtol=1e-6)


def test_unit_deviance():
    np.testing.assert_allclose(geo.unit_deviance(geo.poisson, 0.0, 2.0), 4.0)
    y, m = 3.0, 1.2
    np.testing.assert_allclose(geo.unit_deviance(geo.poisson, y, m), 2 * (y * math.log(y / m) - y + m), rtol=1e-13)
    np.testing.assert_allclose(geo.unit_deviance(geo.gaussian(1.0), y, m), (y - m) ** 2, rtol=1e-14)
    np.testing.assert_allclose(
        geo.unit_deviance(geo.bernoulli, jnp.array([0.0, 1.0]), jnp.array([0.3, 0.3])),
        -2 * np.log([0.7, 0.3]),
        rtol=1e-13,
    )


def test_elementwise_shapes_are_checked():
    assert geo.kl_normal(jnp.zeros((4, 3)), 1.0, jnp.ones((4, 3)), 2.0).shape == (4, 3)
    with pytest.raises(ValueError, match="different ranks"):
        geo.kl_normal(jnp.zeros(3), 1.0, jnp.zeros((3, 1)), 1.0)
    with pytest.raises(ValueError, match="differ in the last"):
        geo.kl_divergence(jnp.ones(3) / 3, jnp.ones(2) / 2)
