"""The laws of a Legendre pair, over the whole gallery and over the duals."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from geometry_cases import CASES, NAMES

from lossgeo import geometry as geo

SLOW = {"beta", "von Mises"}
"""Potentials whose third derivatives compile for long."""
EVERY = pytest.mark.parametrize(
    "index",
    [pytest.param(k, marks=pytest.mark.slow) if name in SLOW else k for k, name in enumerate(NAMES)],
    ids=NAMES,
)


def inner(u, v):
    return jnp.sum(u * v)


@jax.jit
def laws(a, x, y, z, near, v):
    """All sides of all laws at once, so that each potential is compiled once."""
    d = geo.dual(a)
    n = x.size
    means = a.gradient(jnp.stack([x, y, z]))
    mx, my, mz = means
    values = jax.vmap(a.value)(jnp.stack([x, y, z]))
    divergences = geo.bregman_divergence(a, jnp.stack([y, x, x, y, x, near]), jnp.stack([x, y, z, z, x, x]))
    hessian, dual_hessian = a.hessian(x).reshape(n, n), jax.hessian(a.conjugate)(mx).reshape(n, n)
    projector = jax.jacfwd(a.fix_gauge)(x).reshape(n, n)
    w = (hessian @ v.reshape(n)).reshape(v.shape)

    def third(p, point, direction):
        def quadratic(s):
            return inner(direction, jax.jvp(p.gradient, (point + s * direction,), (direction,))[1])

        return jax.jvp(quadratic, (jnp.zeros(()),), (jnp.ones(()),))[1]

    return {
        "mean": mx,
        "ad_gradient": jax.grad(lambda e: a.value_fn(e, *a.parameters))(x),
        "declared_gradient": jax.grad(a.value)(x),
        "round_trip": (a.fix_gauge(x), a.inverse(mx)),
        "legendre": (values[0] + a.conjugate(mx), inner(x, mx)),
        "hessian_inverse": (hessian @ dual_hessian @ projector, projector),
        "solve": (a.solve_hessian(x, w), a.fix_gauge(v)),
        "slot_swap": (divergences[0], geo.bregman_divergence(d, mx, my)),
        "fenchel_young": (geo.fenchel_young_loss(a, x, my), divergences[1]),
        "three_point": (divergences[2], divergences[1] + divergences[3] + inner(x - y, my - mz)),
        "bregman": (divergences[1], values[0] - values[1] - inner(my, x - y)),
        "bregman_self": divergences[4],
        "bregman_near": divergences[5],
        "third": (third(a, x, v), -third(d, mx, w)),
        "in_domain": (a.domain.contains_point(x), a.codomain.contains_point(mx)),
    }


def single_precision_points(index):
    """A point that float32 holds exactly, and a near neighbor of it."""
    a, points = CASES[index]
    x = np.asarray(points[0], np.float32)
    shift = np.eye(2) if a.ndim == 2 else np.cos(np.arange(x.size)).reshape(x.shape)
    return x, x + np.asarray(shift * 2.0**-10, np.float32)


@functools.cache
def evaluated(index):
    a, points = CASES[index]
    x, near = (jnp.asarray(p, float) for p in single_precision_points(index))
    _, y, z = (jnp.asarray(p, float) for p in points)
    v = jnp.asarray(np.random.default_rng(index).normal(size=x.shape))
    v = 0.5 * (v + v.T) if a.ndim == 2 else v
    return jax.tree.map(np.asarray, laws(a, x, y, z, near, v))


def assert_sides_agree(index, law, rtol=1e-12):
    left, right = evaluated(index)[law]
    np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol)


@EVERY
def test_gradient_is_the_derivative_of_the_value(index):
    values = evaluated(index)
    np.testing.assert_allclose(values["ad_gradient"], values["mean"], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(values["declared_gradient"], values["mean"])


@EVERY
def test_inverse_undoes_the_gradient_modulo_gauge(index):
    assert_sides_agree(index, "round_trip", 2e-13)


@EVERY
def test_fenchel_young_is_an_equality_at_dual_points_only(index):
    assert_sides_agree(index, "legendre", 1e-13)
    assert evaluated(index)["fenchel_young"][0] > 1e-3


@EVERY
def test_hessians_of_dual_potentials_are_inverse_modulo_gauge(index):
    assert_sides_agree(index, "hessian_inverse")
    assert_sides_agree(index, "solve")


@EVERY
def test_slots_swap_under_duality(index):
    assert_sides_agree(index, "slot_swap", 1e-11)
    assert_sides_agree(index, "fenchel_young", 1e-11)


@EVERY
def test_three_point_identity(index):
    assert_sides_agree(index, "three_point")


@EVERY
def test_bregman_is_its_definition_and_non_negative(index):
    assert_sides_agree(index, "bregman", 1e-11)
    assert evaluated(index)["bregman"][0] > 0
    assert evaluated(index)["bregman_self"] == 0


@EVERY
def test_third_derivatives_of_dual_potentials(index):
    # T*(Hv, Hv, Hv) = -T(v, v, v): differentiate (grad A*)(grad A(x)) = x twice.
    left, right = evaluated(index)["third"]
    assert np.isfinite(left)
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-10)


@EVERY
def test_points_are_in_the_domains(index):
    assert all(evaluated(index)["in_domain"])


@EVERY
def test_dual_of_dual_is_the_same_object(index):
    a = CASES[index].potential
    assert geo.dual(geo.dual(a)) is a
    assert geo.dual(a) is not a


@jax.jit
def single_precision(a, x, near):
    return geo.bregman_divergence(a, near, x), a.inverse(a.gradient(x))


@EVERY
def test_float32_near_neighbors_keep_sign_and_accuracy(index):
    a = CASES[index].potential
    x, near = single_precision_points(index)
    narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), a)
    small, inverse = single_precision(narrow, jnp.asarray(x), jnp.asarray(near))
    chex.assert_type([small, inverse], jnp.float32)
    exact = evaluated(index)["bregman_near"]
    assert 0 < exact < 1e-4
    np.testing.assert_allclose(small, exact, rtol=1e-4)
    np.testing.assert_allclose(inverse, evaluated(index)["round_trip"][0], rtol=2e-4, atol=2e-5)


def test_batches_are_points_side_by_side():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3)))
    batched = geo.log_sum_exp.gradient(z)
    np.testing.assert_array_equal(batched[2, 3], geo.log_sum_exp.gradient(z[2, 3]))
    assert geo.log_sum_exp.value(z).shape == (4, 5)
    assert geo.log_sum_exp.hessian(z).shape == (4, 5, 3, 3)
    np.testing.assert_allclose(
        geo.bregman_divergence(geo.log_sum_exp, z, z[0, 0])[1, 1],
        geo.bregman_divergence(geo.log_sum_exp, z[1, 1], z[0, 0]),
        rtol=1e-12,
    )


def test_softmax_is_blind_to_the_gauge():
    z = jnp.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(geo.log_sum_exp.gradient(z + 7.0), geo.log_sum_exp.gradient(z), rtol=1e-14)
    assert abs(float(jnp.sum(geo.log_sum_exp.inverse(geo.log_sum_exp.gradient(z + 7.0))))) < 1e-14


def test_conjugates_have_their_limits_at_the_edge():
    assert geo.log_sum_exp.conjugate(jnp.array([1.0, 0.0, 0.0])) == 0
    assert geo.poisson.conjugate(0.0) == 0
    assert geo.bernoulli.conjugate(1.0) == 0


@jax.jit
def inverse(a, mu):
    return a.inverse(mu)


@jax.jit
def round_trip(a, eta):
    return a.inverse(a.gradient(eta))


def test_newton_says_nan_outside_of_the_codomain():
    outside = jnp.array([[1.0, 1.0], [2.0, 1.0]])  # E log y > log E y is impossible
    assert np.all(np.isnan(inverse(geo.gamma, outside)))
    assert np.all(np.isnan(inverse(geo.von_mises, jnp.array([[1.0, 0.5], [0.6, 0.8]]))))


def test_newton_reaches_extreme_members():
    size = jnp.array([1e-3, 0.01, 0.3, 50.0, 1e4])[:, None]
    tolerance = np.asarray(1e-9 * jnp.maximum(1.0, size))
    eta = size * jnp.array([[1.0, -2.0]])
    assert np.all(np.abs(round_trip(geo.gamma, eta) / eta - 1) < tolerance)
    concentration = size * jnp.array([[1.0, 0.3, 2.0]])
    assert np.all(np.abs(round_trip(geo.dirichlet, concentration) / concentration - 1) < tolerance)


def test_parameters_are_leaves():
    # d/ds2 of A* = m^2 / (2 s2), and of the implicit inverse of a potential that only has a value.
    slope = jax.grad(lambda s: geo.gaussian(s).conjugate(3.0))(2.0)
    np.testing.assert_allclose(slope, -9.0 / 8.0)
    inverse = jax.grad(lambda s: geo.potential(_scaled_cosh, ndim=0, parameters=(s,)).inverse(1.5))(2.0)
    np.testing.assert_allclose(inverse, -1.5 / 4 / np.sqrt(1 + 0.75**2), rtol=1e-12)  # asinh(1.5 / s)


def _scaled_cosh(x, s):
    return s * jnp.cosh(x)


def test_von_mises_is_smooth_at_the_uniform_law_and_far_out():
    zero = jnp.zeros(2)
    np.testing.assert_allclose(geo.von_mises.hessian(zero), 0.5 * np.eye(2), rtol=1e-14)
    assert np.all(np.isfinite(jax.jacfwd(geo.von_mises.hessian)(zero)))
    # The radial variance 1 - r/k - r^2 tends to 1/(2 k^2): relative accuracy at k = 1e5 would be lost by the formula.
    far = geo.von_mises.hessian(jnp.array([1e5, 0.0]))[0, 0]
    np.testing.assert_allclose(far, 0.5e-10 * (1 + 0.5e-5), rtol=1e-9)


def test_one_trace_for_every_member_and_every_rebuild():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def mean(a, eta):
        return a.gradient(eta)

    mean(geo.gaussian(2.0), 0.5)
    mean(geo.gaussian(3.0), 0.7)


def test_shapes_are_checked_and_never_guessed():
    with pytest.raises(ValueError, match="different ranks"):
        geo.bregman_divergence(geo.poisson, jnp.ones(3), jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="differ in the last"):
        geo.bregman_divergence(geo.burg, jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match="a point has 1 axes"):
        geo.log_sum_exp.value(1.0)
    with pytest.raises(ValueError, match=r"d \(d \+ 3\) / 2"):
        geo.multivariate_normal.value(jnp.ones(4))


def test_normal_coordinates_round_trip():
    m, s = jnp.array([1.0, -2.0]), jnp.array([[2.0, 0.4], [0.4, 1.0]])
    vector, matrix = geo.unpack_normal(geo.pack_normal(m, s))
    np.testing.assert_array_equal(vector, m)
    np.testing.assert_array_equal(matrix, s)
    eta = geo.multivariate_normal.inverse(geo.pack_normal(m, s + m[:, None] * m[None, :]))
    np.testing.assert_allclose(eta[:2], np.linalg.solve(s, m), rtol=1e-13)
