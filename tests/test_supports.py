"""Supports: membership at the edges, and bijectors against the theorem log-det = log |det Jacobian|."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import supports

CONTINUOUS = {
    "real": supports.real,
    "positive": supports.positive,
    "unit_interval": supports.unit_interval,
    "interval": supports.interval(-2.0, 5.0),
    "negative unit": supports.interval(-1.0, 0.0),
    "nonnegative": supports.nonnegative,
    "greater_than": supports.greater_than(-1.5),
    "less_than": supports.less_than(1.5),
}
VECTORS = {"simplex": supports.simplex, "ordered": supports.ordered, "positive_ordered": supports.positive_ordered}
NAN, INF = np.nan, np.inf


pytestmark = pytest.mark.usefixtures("fast_compilation")


@pytest.fixture(params=CONTINUOUS, scope="module")
def support(request):
    return CONTINUOUS[request.param]


def test_round_trip_from_unconstrained_coordinates(support):
    u = jnp.linspace(-12.0, 12.0, 97)
    x = support.forward(u)
    assert jnp.all(support.contains(x))
    steps = -jnp.diff(x) if isinstance(support, supports.LessThan) else jnp.diff(x)
    assert jnp.all(steps > 0)
    # Near an end other than 0 the rounding of x (eps * |end|) is magnified by du/dx = 1/distance, here e^12.
    np.testing.assert_allclose(support.inverse(x), u, rtol=0, atol=4 * np.finfo(float).eps * np.exp(12))
    np.testing.assert_allclose(support.inverse(support.forward(u[40:57])), u[40:57], rtol=0, atol=1e-14)


def test_log_det_is_that_of_the_jacobian(support):
    u = jnp.linspace(-30.0, 30.0, 61)  # 0 included
    x, log_det = support.forward_and_log_det(u)
    np.testing.assert_array_equal(x, support.forward(u))
    np.testing.assert_allclose(
        log_det, jnp.log(jnp.abs(jax.jit(jax.vmap(jax.grad(support.forward)))(u))), rtol=2e-15, atol=2e-15
    )


def test_higher_derivatives_are_finite(support):
    u = jnp.array([-100.0, -1.0, 0.0, 1.0, 100.0])
    for fn in (support.forward, lambda v: support.forward_and_log_det(v)[1]):
        second = jax.grad(jax.grad(fn))
        assert jnp.all(jnp.isfinite(jax.jit(jax.vmap(second))(u)))
        assert jnp.all(jnp.isfinite(jax.jit(jax.vmap(jax.grad(second)))(u)))


def test_vmap_jit_and_float32(support):
    u = jnp.linspace(-3.0, 3.0, 7)
    np.testing.assert_array_equal(jax.vmap(support.forward)(u), support.forward(u))
    compiled, log_det = jax.jit(lambda s, v: s.forward_and_log_det(v))(support, u)
    np.testing.assert_allclose(compiled, support.forward(u), rtol=4e-16, atol=4e-16)
    single = u.astype(jnp.float32)
    for value in (
        support.forward(single),
        support.inverse(support.forward(single)),
        support.forward_and_log_det(single)[1],
    ):
        assert value.dtype == jnp.float32
    np.testing.assert_allclose(support.forward(single), support.forward(u), rtol=4e-7, atol=6e-7)  # ulp of the end 5
    assert log_det.dtype == jnp.float64


def test_extremes():
    assert supports.positive.forward(-700.0) > 0
    tiny = supports.unit_interval.forward(-600.0)
    assert tiny > 0
    np.testing.assert_allclose(supports.unit_interval.inverse(tiny), -600.0, rtol=1e-15)
    np.testing.assert_allclose(
        supports.interval(-1.0, 0.0).inverse(supports.interval(-1.0, 0.0).forward(600.0)), 600.0, rtol=1e-15
    )
    for u in (-1e4, 1e4):
        x, log_det = supports.unit_interval.forward_and_log_det(u)
        assert x == (u > 0) and log_det == -1e4
    np.testing.assert_array_equal(supports.unit_interval.inverse(jnp.array([0.0, 1.0])), [-INF, INF])
    assert supports.positive.inverse(0.0) == -INF
    assert jnp.isnan(supports.positive.inverse(-1.0))


@pytest.mark.parametrize(
    ("member", "inside", "outside"),
    [
        (supports.real, [0.0, -1e300, 1], [NAN, INF, -INF]),
        (supports.positive, [2.3e-308, 1.0, 7], [0.0, -0.0, -1.0, NAN, INF]),
        (supports.nonnegative, [0.0, -0.0, 1e-300, 7], [-1e-300, NAN, INF, -INF]),
        (supports.greater_than(2.0), [2.0 + 4e-16, 3, 1e300], [2.0, 1.0, NAN, INF, -INF]),
        (supports.less_than(2.0), [1.9, -3, -1e300], [2.0, 3.0, NAN, INF, -INF]),
        (supports.unit_interval, [2.3e-308, 0.5, 1 - 1e-16], [0.0, 1.0, -0.1, 2.0, NAN, INF, -INF]),
        (supports.boolean, [0, 1, 0.0, 1.0, True, False], [0.5, -1, 2, NAN, INF]),
        (supports.nonnegative_integers, [0, 3, 7.0, True], [-1, 0.5, NAN, INF, -INF]),
        (supports.integers_up_to(2), [0, 1, 2.0, True], [-1, 3, 0.5, NAN, INF]),
        (supports.point(2.0), [2.0, 2], [NAN, INF, 2.1]),
    ],
)
def test_contains(member, inside, outside):
    for x in inside:
        assert bool(member.contains(x)) is True
        assert bool(jax.jit(member.contains)(np.asarray(x))) is True
    for x in outside:
        assert bool(member.contains(x)) is False
    assert member.contains(jnp.zeros((2, 3))).shape == (2, 3)


@pytest.fixture(params=VECTORS, scope="module")
def vectors(request):
    return VECTORS[request.param]


def coordinates(n=40, k=3, size=6.0):
    return np.random.default_rng(3).uniform(-size, size, (n, k))


def test_vector_supports_round_trip(vectors):
    u = coordinates()
    x = vectors.forward(u)
    assert x.shape == (40, 4 if vectors is supports.simplex else 3) and vectors.event_ndim == 1
    inside = vectors.contains(x)
    assert inside.shape == (40,) and np.all(inside)
    # A step of e^-6 below entries of up to e^6 + e^6 loses e^12 ulp.
    np.testing.assert_allclose(vectors.inverse(x), u, rtol=0, atol=4 * np.finfo(float).eps * np.exp(12))
    np.testing.assert_allclose(vectors.forward(vectors.inverse(x)), x, rtol=1e-13)
    for bad in (x * np.nan, x[:, ::-1] if vectors is not supports.simplex else 1.001 * x, -x):
        assert not np.any(vectors.contains(bad))
    with pytest.raises(ValueError, match="given a scalar"):
        vectors.forward(0.0)


def test_vector_supports_have_the_log_det_of_their_jacobian(vectors):
    """Square: on the simplex the last entry is minus the sum of the others."""
    u = coordinates()
    jacobian = np.asarray(jax.jit(jax.vmap(jax.jacfwd(vectors.forward)))(u))[:, :3]
    x, log_det = vectors.forward_and_log_det(u)
    np.testing.assert_array_equal(x, vectors.forward(u))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-11, atol=1e-11)


def test_vector_supports_in_float32_and_at_extremes(vectors):
    u = coordinates(size=3.0)
    single, log_det = vectors.forward_and_log_det(u.astype(np.float32))
    assert single.dtype == log_det.dtype == vectors.inverse(single).dtype == jnp.float32
    assert np.all(vectors.contains(single))
    exact, exact_log_det = vectors.forward_and_log_det(u.astype(np.float32).astype(float))
    np.testing.assert_allclose(single, exact, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(log_det, exact_log_det, rtol=2e-6, atol=2e-6)
    far = np.array([[-600.0, 600.0, -1.0], [500.0, -700.0, 0.0]])
    derivative = jax.jacfwd(jax.grad(lambda v: vectors.forward_and_log_det(v)[1]))
    assert np.all(np.isfinite(jax.jit(jax.vmap(derivative))(far)))
    x = vectors.forward(far)
    assert np.all(np.isfinite(x)) and np.all(np.isfinite(vectors.forward_and_log_det(far)[1]))


def test_point_has_no_coordinates():
    held = supports.point(jnp.array([1.0, 2.0]))
    assert held.inverse(jnp.array([1.0, 2.0])).shape == (0,)
    x, log_det = held.forward_and_log_det(jnp.zeros(0))
    np.testing.assert_array_equal(x, [1.0, 2.0])
    np.testing.assert_array_equal(log_det, [0.0, 0.0])


@pytest.mark.parametrize("member", [supports.boolean, supports.nonnegative_integers, supports.integers_up_to(3)])
def test_discrete_supports_have_no_coordinates(member):
    for method in (member.forward, member.inverse, member.forward_and_log_det):
        with pytest.raises(NotImplementedError, match="no unconstrained coordinates"):
            method(0.0)


def test_ends_are_leaves():
    low = jnp.array([0.0, -1.0])
    x = jax.vmap(lambda s: s.forward(0.0))(supports.interval(low, low + 2))
    np.testing.assert_array_equal(x, [1.0, 0.0])
    assert jax.grad(lambda high: supports.interval(0.0, high).forward(1.0))(2.0) == jax.nn.sigmoid(1.0)


MATRICES = {
    "correlation_cholesky": (supports.correlation_cholesky, -1),
    "positive_definite": (supports.positive_definite, 0),
}


@pytest.fixture(params=MATRICES, scope="module")
def matrices(request):
    return MATRICES[request.param]


@pytest.mark.slow
def test_matrix_supports_round_trip_and_have_the_log_det_of_their_jacobian(matrices):
    support, offset = matrices
    rows, columns = np.tril_indices(4, offset)
    u = coordinates(20, rows.size, 3.0)
    x, log_det = support.forward_and_log_det(u)
    assert x.shape == (20, 4, 4) and support.event_ndim == 2 and np.all(support.contains(x))
    np.testing.assert_allclose(support.inverse(x), u, rtol=0, atol=1e-9)
    np.testing.assert_allclose(support.forward(support.inverse(x)), x, rtol=1e-12, atol=1e-13)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda v: support.forward(v)[rows, columns])))(u)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)
    single, single_log_det = support.forward_and_log_det(u.astype(np.float32))
    assert single.dtype == single_log_det.dtype == np.float32 and np.all(support.contains(single))
    exact = support.forward(u.astype(np.float32).astype(float))
    np.testing.assert_allclose(single, exact, rtol=2e-5, atol=2e-6 * np.max(np.abs(exact)))
    far = np.linspace(-300.0, 300.0, rows.size)
    derivative = jax.jit(jax.jacfwd(jax.grad(lambda v: support.forward_and_log_det(v)[1])))
    assert np.all(np.isfinite(derivative(far))) and np.all(np.isfinite(derivative(0 * far)))
    for bad in (x * np.nan, -x, np.asarray(x) + np.triu(np.ones((4, 4)), 1)):
        assert not np.any(support.contains(bad))
    with pytest.raises(ValueError, match="square matrices"):
        support.contains(np.ones(3))
    with pytest.raises(ValueError, match="there is none with 5"):
        support.forward(np.ones(5))


def test_correlations_near_one_keep_their_coordinates():
    u, support = np.array([20.0, -3.0, 0.5]), supports.correlation_cholesky
    np.testing.assert_allclose(support.inverse(support.forward(u)), u, rtol=1e-12)
    np.testing.assert_array_equal(support.forward(np.zeros(0)), [[1.0]])
