"""Fisher information, Fisher-Rao geometry and curvature.

Reference numbers: closed forms evaluated with mpmath at 40 digits.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln

from lossgeo import geometry as geo


def _cauchy(theta, y):
    return jnp.log(theta["scale"] / math.pi) - jnp.log((y - theta["loc"]) ** 2 + theta["scale"] ** 2)


def _log_normal(theta, y):
    return -jnp.log(y * theta[1]) - 0.5 * math.log(2 * math.pi) - 0.5 * ((jnp.log(y) - theta[0]) / theta[1]) ** 2


def _gamma(theta, y):
    return theta[0] * jnp.log(theta[1]) - gammaln(theta[0]) + (theta[0] - 1) * jnp.log(y) - theta[1] * y


def _negative_binomial(theta, k):
    m, r = theta
    return gammaln(k + r) - gammaln(r) - gammaln(k + 1) + r * jnp.log(r / (m + r)) + k * jnp.log(m / (m + r))


def _von_mises(theta, y):
    log_i0 = geo.von_mises.value(jnp.stack([theta[1], jnp.zeros_like(theta[1])]))
    return theta[1] * jnp.cos(y - theta[0]) - jnp.log(2 * math.pi) - log_i0


INFORMATION = {
    "Cauchy": (_cauchy, {"loc": 0.0, "scale": 2.0}, geo.real_line_rule, [[0.125, 0], [0, 0.125]]),
    "log-normal": (_log_normal, jnp.array([0.0, 0.5]), geo.half_line_rule, [[4.0, 0], [0, 8.0]]),
    "gamma": (
        _gamma,
        jnp.array([0.4, 3.0]),
        geo.half_line_rule,
        [[7.275356590529597, -1 / 3], [-1 / 3, 0.044444444444444446]],
    ),
    "negative binomial": (
        _negative_binomial,
        jnp.array([5.25, 3.5]),
        lambda: (jnp.arange(400.0), None),
        [[0.0761904761904762, 0], [0, 0.013563766173744437]],
    ),
    "von Mises": (
        _von_mises,
        jnp.array([0.5, 2.0]),
        lambda: geo.interval_rule(-math.pi, math.pi),
        [[1.395549315928016, 0], [0, 0.1642231977212077]],
    ),
}


@pytest.mark.parametrize("name", INFORMATION)
def test_expected_information_of_any_density(name):
    log_density, theta, rule, truth = INFORMATION[name]
    np.testing.assert_allclose(geo.fisher_information(log_density, theta, *rule()), truth, rtol=1e-12, atol=1e-13)


def test_information_of_exponential_families():
    np.testing.assert_allclose(geo.fisher_metric(geo.bernoulli, 1.2), [[0.1778944406468057]], rtol=1e-12)
    np.testing.assert_allclose(geo.fisher_metric(geo.poisson, math.log(4.0)), [[4.0]], rtol=1e-14)
    np.testing.assert_allclose(
        geo.fisher_metric(geo.gamma, jnp.array([0.4, -3.0])),
        [[7.275356590529597, 1 / 3], [1 / 3, 0.044444444444444446]],
        rtol=1e-12,
    )
    u, v = jnp.array([1.0, 2.0]), jnp.array([-1.0, 0.5])
    eta = jnp.array([0.4, -3.0])
    np.testing.assert_allclose(
        geo.fisher_inner(geo.gamma, eta, u, v), u @ geo.fisher_metric(geo.gamma, eta) @ v, rtol=1e-13
    )


def _poisson(theta, y):
    return y * theta - jnp.exp(theta) - gammaln(y + 1)


def test_four_names_are_four_matrices():
    theta = jnp.array(0.5)
    data = jnp.array([0.0, 3.0, 9.0, 1.0])
    rate = math.exp(0.5)
    expected = geo.fisher_information(_poisson, theta, jnp.arange(60.0))
    np.testing.assert_allclose(expected, [[rate]], rtol=1e-13)
    np.testing.assert_allclose(geo.observed_information(_poisson, theta, data), [[4 * rate]], rtol=1e-13)
    np.testing.assert_allclose(
        geo.empirical_fisher(_poisson, theta, data), [[np.sum((np.asarray(data) - rate) ** 2)]], rtol=1e-13
    )
    drawn = geo.monte_carlo_fisher(
        jax.random.key(0), _poisson, lambda k, t: jax.random.poisson(k, jnp.exp(t)).astype(float), theta, 20_000
    )
    np.testing.assert_allclose(drawn, expected, rtol=0.05)


def test_pullback_is_the_gauss_newton_matrix():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(7, 3)))
    theta = {"b": jnp.asarray(rng.normal(size=3)), "c": jnp.asarray(0.3)}

    def model(t):
        return x @ t["b"] + t["c"]

    design = np.column_stack([x, np.ones(7)])
    weight = np.asarray(geo.bernoulli.hessian(model(theta)))
    expected = design.T @ (weight[:, None] * design)
    np.testing.assert_allclose(geo.pullback_metric(model, theta, weight), expected, rtol=1e-12)
    np.testing.assert_allclose(geo.pullback_metric(model, theta, np.diag(weight)), expected, rtol=1e-12)
    np.testing.assert_allclose(geo.pullback_metric(model, theta, weight[:, None, None]), expected, rtol=1e-12)
    v = {"b": jnp.array([1.0, -1.0, 0.5]), "c": jnp.asarray(2.0)}
    product = geo.pullback_product(model, theta, weight, v)
    np.testing.assert_allclose(np.append(product["b"], product["c"]), expected @ [1, -1, 0.5, 2], rtol=1e-12)
    with pytest.raises(ValueError, match="metric"):
        geo.pullback_metric(model, theta, jnp.ones((1, 1, 1, 1)))


def test_natural_gradient_is_the_gradient_in_mean_coordinates():
    z, g = jnp.array([1.0, 2.0, -1.0, 0.5]), jnp.array([1.0, -2.0, 0.5, 0.5])
    metric = geo.fisher_metric(geo.log_sum_exp, z)
    np.testing.assert_allclose(geo.natural_gradient(metric, g), np.linalg.pinv(metric) @ g, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(geo.log_sum_exp.solve_hessian(z, g), np.linalg.pinv(metric) @ g, rtol=1e-11, atol=1e-12)
    eta = jnp.array([0.7, -2.0])

    def loss(mu):
        return jnp.sum(jnp.sin(mu))

    in_eta = jax.grad(lambda e: loss(geo.gamma.gradient(e)))(eta)
    natural = geo.natural_gradient(geo.fisher_metric(geo.gamma, eta), in_eta)
    np.testing.assert_allclose(natural, jax.grad(loss)(geo.gamma.gradient(eta)), rtol=1e-11)
    np.testing.assert_allclose(geo.natural_gradient(jnp.diag(jnp.array([1e-9, 1.0, 1e9])), jnp.ones(3)), [1e9, 1, 1e-9])


def test_fisher_rao_reference_numbers():
    np.testing.assert_allclose(geo.fisher_rao_normal(0.0, 1.0, 0.0, 3.0), 1.5536723984241865, rtol=1e-12)
    np.testing.assert_allclose(geo.fisher_rao_bernoulli(0.2, 0.9), 1.5707963267948966, rtol=1e-12)
    np.testing.assert_allclose(geo.fisher_rao_negative_binomial(0.2, 0.7), 1.6570269410454677, rtol=1e-12)
    vertices = jnp.eye(3)
    np.testing.assert_allclose(geo.fisher_rao_categorical(vertices[0], vertices[1]), math.pi, rtol=1e-12)
    assert geo.fisher_rao_categorical(vertices[0], vertices[0]) == 0
    p, q = jnp.array([0.7, 0.2, 0.1]), jnp.array([0.1, 0.2, 0.7])
    np.testing.assert_allclose(geo.fisher_rao_categorical(p, q), 1.50743372730660961, rtol=1e-12)
    assert np.all(jax.grad(geo.fisher_rao_categorical)(p, p) == 0)


def test_distances_are_the_square_root_of_twice_kl_nearby():
    step = 1e-4
    for distance, kl in (
        (geo.fisher_rao_poisson(3.0, 3.0 + step), geo.kl_poisson(3.0, 3.0 + step)),
        (geo.fisher_rao_exponential(3.0, 3.0 + step), geo.kl_exponential(3.0, 3.0 + step)),
        (geo.fisher_rao_normal(0.3, 1.5, 0.3 + step, 1.5 - step), geo.kl_normal(0.3, 1.5, 0.3 + step, 1.5 - step)),
        (geo.fisher_rao_negative_binomial(0.3, 0.3 + step, 2.0), geo.kl_negative_binomial(2.0, 0.3, 0.3 + step)),
    ):
        np.testing.assert_allclose(distance**2, 2 * kl, rtol=1e-3)


def test_covariance_distance_and_the_bound():
    s, r = jnp.array([[2.0, 0.4], [0.4, 1.0]]), jnp.array([[1.0, -0.2], [-0.2, 1.5]])
    m = jnp.array([[1.3, 0.2], [-0.4, 0.8]])
    d = geo.fisher_rao_covariance(s, r)
    np.testing.assert_allclose(geo.fisher_rao_covariance(m @ s @ m.T, m @ r @ m.T), d, rtol=1e-12)
    np.testing.assert_allclose(geo.fisher_rao_normal_lower_bound(jnp.ones(2), s, jnp.ones(2), r), d, rtol=1e-12)
    one = jnp.ones(1)
    bound = geo.fisher_rao_normal_lower_bound(0 * one, jnp.eye(1), 1.5 * one, 4 * jnp.eye(1))
    assert 0.9 * geo.fisher_rao_normal(0.0, 1.0, 1.5, 2.0) < bound < geo.fisher_rao_normal(0.0, 1.0, 1.5, 2.0)


def test_geodesics_have_constant_speed_and_the_right_ends():
    p, q, t = jnp.array([0.7, 0.2, 0.1]), jnp.array([0.1, 0.2, 0.7]), jnp.linspace(0, 1, 5)
    path = geo.geodesic_categorical(p, q, t)
    np.testing.assert_allclose(path[jnp.array([0, -1])], jnp.stack([p, q]), rtol=1e-13)
    np.testing.assert_allclose(geo.fisher_rao_categorical(p, path), t * geo.fisher_rao_categorical(p, q), atol=1e-13)
    np.testing.assert_allclose(geo.alpha_path(p, q, 0.0, 0.5), path[2], rtol=1e-12)
    loc, scale = geo.geodesic_normal(0.0, 1.0, 1.5, 2.0, t)
    total = geo.fisher_rao_normal(0.0, 1.0, 1.5, 2.0)
    np.testing.assert_allclose(geo.fisher_rao_normal(0.0, 1.0, loc, scale), t * total, atol=1e-13)
    np.testing.assert_allclose([loc[-1], scale[-1]], [1.5, 2.0], rtol=1e-13)


def test_dual_geodesics_are_straight_in_their_coordinates():
    a, b, t = jnp.array([0.7, -2.0]), jnp.array([2.5, -1.0]), 0.3
    np.testing.assert_allclose(geo.e_geodesic(geo.gamma, a, b, t), 0.7 * a + 0.3 * b, rtol=1e-14)
    mixed = geo.gamma.gradient(geo.m_geodesic(geo.gamma, a, b, t))
    np.testing.assert_allclose(mixed, 0.7 * geo.gamma.gradient(a) + 0.3 * geo.gamma.gradient(b), rtol=1e-12)
    p, q = jnp.array([0.7, 0.2, 0.1]), jnp.array([0.1, 0.2, 0.7])
    np.testing.assert_allclose(geo.alpha_path(p, q, -1.0, t), 0.7 * p + 0.3 * q, rtol=1e-13)
    logits = geo.e_geodesic(geo.log_sum_exp, jnp.log(p), jnp.log(q), t)
    np.testing.assert_allclose(geo.alpha_path(p, q, 1.0, t), jax.nn.softmax(logits), rtol=1e-13)


def _half_plane(theta):
    return jnp.diag(jnp.array([1.0, 2.0])) / theta[1] ** 2


def test_numerical_geodesic_agrees_with_the_closed_form():
    connection = geo.LeviCivita(_as_tree(_half_plane))
    path = jax.jit(geo.numerical_geodesic_between)(connection, jnp.array([0.0, 1.0]), jnp.array([1.0, 1.6]))
    assert path.residual < 1e-10
    speed = jnp.sqrt(path.velocities[0] @ _half_plane(path.points[0]) @ path.velocities[0])
    np.testing.assert_allclose(speed, geo.fisher_rao_normal(0.0, 1.0, 1.0, 1.6), rtol=1e-7)
    np.testing.assert_allclose(path.points[32], jnp.stack(geo.geodesic_normal(0.0, 1.0, 1.0, 1.6, 0.5)), rtol=1e-7)


def _as_tree(fn):
    return jax.tree_util.Partial(fn)


@jax.jit
def curvature(potential, eta, u, v):
    metric = geo.FisherMetric(potential)
    return (
        geo.sectional_curvature(metric, eta, u, v),
        geo.scalar_curvature(metric, eta),
        geo.curvature_tensor(geo.AlphaConnection(potential, -1.0), eta),
        geo.AlphaConnection(potential, 0.0)(eta) - geo.LeviCivita(metric)(eta),
    )


@pytest.mark.parametrize(
    ("potential", "eta", "expected"),
    [
        (geo.half_squared_norm, [0.3, -0.5], 0.0),
        (geo.categorical, [0.3, -0.5], 0.25),
        (geo.categorical, [0.3, -0.5, 1.0], 0.25),
        (geo.normal, [0.3, -0.7], -0.5),
        (geo.gamma, [2.0, -1.3], -0.48585656959390017),
    ],
)
def test_curvature(potential, eta, expected):
    eta = jnp.array(eta)
    n = eta.size
    u, v = jnp.eye(n)[0], jnp.arange(1.0, n + 1)
    sectional, scalar, flat, difference = curvature(potential, eta, u, v)
    np.testing.assert_allclose(sectional, expected, rtol=1e-10, atol=1e-12)
    if potential is not geo.gamma or n == 2:
        np.testing.assert_allclose(scalar, n * (n - 1) * expected, rtol=1e-10, atol=1e-12)
    # Mixture curves are straight in the mean parameters, so that connection is flat; the mean of both is Levi-Civita.
    np.testing.assert_allclose(flat, 0.0, atol=1e-11)
    np.testing.assert_allclose(difference, 0.0, atol=1e-12)


def test_cubic_tensor_is_the_third_central_moment():
    p = jax.nn.softmax(jnp.array([0.3, -0.5, 0.0]))
    centered = jnp.eye(3)[:, :2] - p[None, :2]
    moment = jnp.einsum("y,yi,yj,yk->ijk", p, centered, centered, centered)
    np.testing.assert_allclose(geo.cubic_tensor(geo.categorical, jnp.array([0.3, -0.5])), moment, atol=1e-15)


def test_efron_curvature():
    # Normal with standard deviation equal to the mean: gamma^2 = 2/27 for every mean (Efron 1975).
    curved = jax.vmap(lambda m: geo.efron_curvature(geo.normal, lambda t: jnp.stack([1 / t, -0.5 / t**2]), m))
    np.testing.assert_allclose(curved(jnp.array([0.5, 2.0])) ** 2, 2 / 27, rtol=1e-12)
    straight = geo.efron_curvature(geo.normal, lambda t: jnp.stack([1 + t, -0.5 - 0.3 * t]), 0.4)
    np.testing.assert_allclose(straight, 0.0, atol=1e-12)
