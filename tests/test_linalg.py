"""Dense and matrix-free linear algebra against numpy, in the units where it is hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import linalg

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(3)


def spd(p, condition=100.0):
    q, _ = np.linalg.qr(RNG.normal(size=(p, p)))
    return (q * np.geomspace(1.0, condition, p)) @ q.T


def polynomial(z):
    return jnp.sum(z**4) + jnp.sum(z[:-1] * z[1:]) ** 2 + jnp.sin(z[0]) * z[-1]


@pytest.mark.parametrize("p", [1, 7, linalg.HESSIAN_BLOCK, linalg.HESSIAN_BLOCK + 5])
def test_hessian_is_the_hessian_also_in_blocks(p):
    z = jnp.asarray(RNG.normal(size=p))
    found = jax.jit(lambda z: linalg.hessian(polynomial, z))(z)
    np.testing.assert_allclose(found, jax.hessian(polynomial)(z), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    v = jnp.asarray(RNG.normal(size=p))
    np.testing.assert_allclose(linalg.hvp(polynomial, z, v), found @ v, rtol=1e-10, atol=1e-10)


def test_equilibrated_matrices_have_unit_diagonal_and_forget_units():
    matrix = spd(6)
    scale = 10.0 ** RNG.uniform(-8, 8, size=6)
    scaled, d = linalg.equilibrate(jnp.asarray(matrix * scale[:, None] * scale[None, :]))
    np.testing.assert_allclose(np.diagonal(scaled), 1.0, rtol=1e-14)
    np.testing.assert_allclose(scaled, linalg.equilibrate(jnp.asarray(matrix))[0], rtol=1e-12)
    np.testing.assert_allclose(d, 1 / (scale * np.sqrt(np.diagonal(matrix))), rtol=1e-12)


def test_equilibrating_keeps_signs_and_zero_rows():
    scaled, d = linalg.equilibrate(jnp.asarray([[-4.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(scaled, [[-1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(d, [0.5, 1.0])
    assert linalg.equilibrate(jnp.zeros((0, 0)))[0].shape == (0, 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("p", [2, 5, 50])
def test_rank_tolerance_lies_between_rounding_and_curvature(p, dtype):
    # Gram matrices of a duplicated column are singular; with 5 % of noise on it they are not.
    x = RNG.normal(size=(10 * p, p))
    x[:, -1] = x[:, 0]
    tolerance = linalg.rank_tolerance(p, jnp.dtype(dtype))

    def least(x):
        x = jnp.asarray(x, dtype)
        return jnp.linalg.eigvalsh(linalg.equilibrate(x.T @ x)[0])[0]

    assert abs(least(x)) < tolerance
    x[:, -1] += 0.05 * RNG.normal(size=10 * p)
    assert least(x) > tolerance


@pytest.mark.parametrize("p", [1, 4, 60])
def test_conjugate_gradients_solve_positive_definite_systems(p):
    matrix, b = jnp.asarray(spd(p, 1e4)), jnp.asarray(RNG.normal(size=p))
    solved = jax.jit(lambda b: linalg.conjugate_gradients(lambda v: matrix @ v, b, tol=1e-10, max_steps=20 * p))(b)
    assert solved.positive
    assert solved.residual <= 1e-10
    np.testing.assert_allclose(matrix @ solved.x, b, atol=1e-8)


def test_conjugate_gradients_report_an_unfinished_solution():
    matrix = jnp.asarray(spd(40, 1e6))
    b = jnp.asarray(RNG.normal(size=40))
    solved = linalg.conjugate_gradients(lambda v: matrix @ v, b, tol=1e-10, max_steps=3)
    true = jnp.linalg.norm(b - matrix @ solved.x) / jnp.linalg.norm(b)
    np.testing.assert_allclose(solved.residual, true, rtol=1e-8)
    assert solved.residual > 1e-3


def test_conjugate_gradients_stop_at_negative_curvature_with_a_descent_direction():
    matrix = jnp.asarray(np.diag([4.0, 1.0, -2.0]))
    b = jnp.asarray([1.0, 2.0, 0.5])
    solved = linalg.conjugate_gradients(lambda v: matrix @ v, b, tol=1e-10, max_steps=50)
    assert not solved.positive
    assert solved.direction @ matrix @ solved.direction <= 0
    assert b @ solved.x > 0
    first = linalg.conjugate_gradients(lambda v: -v, b, tol=1e-10, max_steps=50)
    np.testing.assert_array_equal(first.x, b)


def test_conjugate_gradients_of_nothing_are_nothing():
    solved = linalg.conjugate_gradients(lambda v: v, jnp.zeros(3), tol=1e-8, max_steps=5)
    np.testing.assert_array_equal(solved.x, 0.0)
    assert solved.residual == 0.0
    assert solved.positive


def test_matrix_free_scale_evens_out_the_rows():
    matrix = spd(30)
    scale = 10.0 ** RNG.uniform(-5, 5, size=30)
    matrix = jnp.asarray(matrix * scale[:, None] * scale[None, :])
    d = linalg.matrix_free_scale(lambda v: matrix @ v, jnp.zeros(30))
    assert jnp.all(d > 0)
    norms = jnp.linalg.norm(d[:, None] * matrix * d[None, :], axis=1)
    # From 1e20 between the largest and the smallest row to a factor of 3: the estimate uses 8 random probes.
    assert jnp.max(norms) / jnp.min(norms) < 3.0


def test_matrix_free_scale_leaves_rows_without_curvature_alone():
    d = linalg.matrix_free_scale(lambda v: v * jnp.asarray([4.0, 0.0]), jnp.zeros(2))
    assert jnp.all(jnp.isfinite(d)) and d[1] == 1.0


@pytest.mark.parametrize("n", [8 * linalg.GRAM_ROWS, 8 * linalg.GRAM_ROWS + 7, 30])
def test_products_over_rows_in_blocks_are_the_products(n):
    rng = np.random.default_rng(n)
    x, w, t, b = rng.normal(size=(n, 60)), rng.random(n), rng.normal(size=(n, 2)), rng.normal(size=60)
    same = {"rtol": 1e-11, "atol": 1e-11 * n}
    design = jnp.asarray(x)
    np.testing.assert_allclose(linalg.weighted_gram(design, jnp.asarray(w), design), (x * w[:, None]).T @ x, **same)
    np.testing.assert_allclose(linalg.weighted_gram(x, jnp.asarray(w), t), (x * w[:, None]).T @ t, **same)
    gram, cross = linalg.gram_and_product(x, w, t)
    np.testing.assert_allclose(gram, (x * w[:, None]).T @ x, **same)
    np.testing.assert_allclose(cross, t.T @ (x * w[:, None]), **same)
    residual, product = linalg.residual_and_product(x, w, jnp.asarray(t[:, 0]), jnp.asarray(b))
    np.testing.assert_allclose(residual, t[:, 0] - x @ b, **same)
    np.testing.assert_allclose(product, x.T @ (w * (t[:, 0] - x @ b)), **same)
