"""Orthogonal, convex and information projections: each by its theorem, and a few numbers.

Reference numbers: exponential tilting in 30 digits (mpmath) on {0..5}; Jaynes' die.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry as geo

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4))
X[:, 3] = X[:, 0] + 1e3 * X[:, 1]  # rank 3, and columns in different units
Y = RNG.normal(size=20) + 3


def test_hat_matrix_of_a_rank_deficient_design():
    p = geo.hat_matrix(X)
    np.testing.assert_allclose(p @ p, p, atol=1e-14)
    np.testing.assert_array_equal(p, p.T)
    np.testing.assert_allclose(jnp.trace(p), 3.0, rtol=1e-13)
    np.testing.assert_allclose(p @ X, X, atol=1e-10)
    fitted = geo.orthogonal_projection(X, Y)
    np.testing.assert_allclose(fitted, X[:, :3] @ np.linalg.lstsq(X[:, :3], Y)[0], rtol=1e-11)
    np.testing.assert_allclose(X.T @ (Y - fitted) / np.linalg.norm(X, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(geo.leverage(X), jnp.diagonal(p), atol=1e-14)
    with pytest.raises(ValueError, match="rows must agree"):
        geo.orthogonal_projection(X, Y[:3])


def test_derivatives_of_the_projection_at_constant_rank():
    direction = jnp.asarray(RNG.normal(size=X.shape)).at[:, 3].set(0)
    direction = direction.at[:, 3].set(direction[:, 0] + 1e3 * direction[:, 1])  # keeps the rank
    for fn in (geo.hat_matrix, geo.leverage, lambda x: geo.orthogonal_projection(x, Y)):
        tangent = jax.jvp(fn, (jnp.asarray(X),), (direction,))[1]
        step = 1e-6
        difference = (fn(X + step * direction) - fn(X - step * direction)) / (2 * step)
        np.testing.assert_allclose(tangent, difference, atol=1e-7)


def test_ridge_is_a_smoother_and_not_a_projection():
    s = geo.ridge_smoother(X[:, :3], 2.0)
    design = X[:, :3]
    np.testing.assert_allclose(s, design @ np.linalg.solve(design.T @ design + 2 * np.eye(3), design.T), atol=1e-13)
    assert np.max(np.abs(s @ s - s)) > 1e-2
    np.testing.assert_allclose(geo.effective_degrees_of_freedom(design, 2.0), np.trace(s), rtol=1e-13)
    np.testing.assert_allclose(geo.effective_degrees_of_freedom(design), 3.0, rtol=1e-13)


def test_sums_of_squares():
    with_intercept = geo.sums_of_squares(np.column_stack([np.ones(20), X[:, :2]]), Y)
    assert abs(with_intercept.gap) < 1e-12
    centered, fitted = Y - Y.mean(), geo.orthogonal_projection(np.column_stack([np.ones(20), X[:, :2]]), Y) - Y.mean()
    cosine = centered @ fitted / np.linalg.norm(centered) / np.linalg.norm(fitted)
    np.testing.assert_allclose(with_intercept.r_squared, cosine**2, rtol=1e-11)
    without = geo.sums_of_squares(X[:, :2], Y)
    np.testing.assert_allclose(without.total, without.explained + without.residual + without.gap, rtol=1e-12)
    assert without.gap < -10


def _cone_member(v):
    return jnp.concatenate([jnp.linalg.norm(v[1:], keepdims=True) + jnp.abs(v[:1]), v[1:]])


CONVEX = {
    "nonnegative": (geo.projection_nonnegative, jnp.abs),
    "box": (lambda v: geo.projection_box(v, -0.5, 0.3), lambda c: -0.5 + 0.8 * jax.nn.sigmoid(c)),
    "simplex": (geo.projection_simplex, jax.nn.softmax),
    "l1": (geo.projection_l1_ball, lambda c: 0.9 * c / jnp.sum(jnp.abs(c))),
    "l2": (geo.projection_l2_ball, lambda c: 0.9 * c / jnp.linalg.norm(c)),
    "linf": (geo.projection_linf_ball, jnp.tanh),
    "hyperplane": (lambda v: geo.projection_hyperplane(v, jnp.ones(6), 1.0), jax.nn.softmax),
    "half-space": (lambda v: geo.projection_halfspace(v, jnp.ones(6), -1.0), lambda c: -jax.nn.softmax(c) - 0.1),
    "second-order cone": (geo.projection_second_order_cone, _cone_member),
    "monotone": (geo.projection_monotone, jnp.sort),
}


@pytest.mark.parametrize("name", CONVEX)
def test_variational_inequality_idempotence_and_derivative(name):
    project, member = CONVEX[name]
    fast = jax.jit(project)
    v = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 6))) * 1.5
    u = fast(v)
    assert u.shape == v.shape
    np.testing.assert_allclose(u[1, 2], fast(v[1, 2]), atol=1e-15)
    np.testing.assert_allclose(fast(u), u, atol=1e-14)
    for c in np.random.default_rng(2).normal(size=(20, 6)):
        assert np.max(np.sum((v - u) * (member(jnp.asarray(c))[None, None] - u), -1)) < 1e-12
    # Where it is differentiable, the Jacobian of a projection on a convex set is symmetric with eigenvalues in [0, 1].
    jacobian = jax.jacrev(project)(v[0, 0])
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-13)
    eigenvalues = np.linalg.eigvalsh(jacobian)
    assert -1e-12 < eigenvalues.min() and eigenvalues.max() < 1 + 1e-12
    np.testing.assert_allclose(jax.jacfwd(project)(v[0, 0]), jacobian, atol=1e-14)


def test_exact_zeros_and_masks():
    np.testing.assert_array_equal(geo.projection_simplex(jnp.array([0.1, 0.2, 0.7])) > 0, True)
    np.testing.assert_allclose(geo.projection_simplex(jnp.array([0.1, 0.2, 0.7])), [0.1, 0.2, 0.7], rtol=1e-14)
    np.testing.assert_array_equal(geo.projection_simplex(jnp.array([3.0, 0.0, -jnp.inf])), [1.0, 0.0, 0.0])
    np.testing.assert_allclose(geo.projection_simplex(jnp.array([1e8, 1e8], jnp.float32)), [0.5, 0.5])


def test_monotone_with_weights_and_cone_of_matrices():
    v, w = jnp.array([3.0, 1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(geo.projection_monotone(v, w), [1.5, 1.5, 2.0, 5.0], rtol=1e-15)
    slope = jax.grad(lambda w: geo.projection_monotone(v, w)[0])(w)
    np.testing.assert_allclose(slope, [1.5 / 4, -0.5 / 4, 0, 0])
    m = jnp.array([[1.0, 2.0], [2.0, 1.0]])
    np.testing.assert_allclose(geo.projection_positive_semidefinite(m), [[1.5, 1.5], [1.5, 1.5]], rtol=1e-14)


LAW = jnp.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
FACES = jnp.arange(6.0)[None]


def test_i_projection_reference_and_pythagoras():
    result = geo.project(LAW, geo.Moments(FACES, jnp.array([2.0])), side="I")
    assert result.converged
    np.testing.assert_allclose(result.coordinates, [0.3037950844868256], rtol=1e-12)
    expected = [
        0.3124419417462385, 0.16934245373787083, 0.11472878160054261,
        0.155456508831741, 0.10532111385221436, 0.1427092002313927,
    ]  # fmt: skip
    np.testing.assert_allclose(result.point, expected, rtol=1e-12)
    np.testing.assert_allclose(result.divergence, 0.13740073605544553, rtol=1e-12)
    witness = jnp.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.0])
    np.testing.assert_allclose(geo.kl_divergence(witness, LAW), 0.3712595980731252, rtol=1e-12)
    np.testing.assert_allclose(geo.kl_divergence(witness, result.point), 0.2338588620176797, rtol=1e-12)
    assert abs(result.pythagorean_residual) < 1e-14
    # The M-projection of the witness on the exponential family of LAW is the same point, over the other slot.
    other = geo.project(witness, geo.LogLinear(FACES, LAW), side="M")
    np.testing.assert_allclose(other.point, result.point, rtol=1e-12)
    np.testing.assert_allclose(other.divergence, 0.2338588620176797, rtol=1e-12)


def test_redundant_statistics_and_unreachable_moments():
    redundant = jnp.concatenate([FACES, 2 * FACES + 1, jnp.ones((1, 6))])
    result = geo.project(LAW, geo.Moments(redundant, jnp.array([2.0, 5.0, 1.0])), side="I")
    assert result.converged
    np.testing.assert_allclose(result.point[0], 0.3124419417462385, rtol=1e-11)
    assert not geo.project(LAW, geo.Moments(FACES, jnp.array([6.0])), side="I").converged
    contradictory = geo.Moments(redundant, jnp.array([2.0, 4.0, 1.0]))
    assert not geo.project(LAW, contradictory, side="I").converged


def test_maximum_entropy_of_jaynes_die_and_its_derivative():
    def die(mean):
        return geo.maximum_entropy(jnp.arange(1.0, 7.0), mean).point

    np.testing.assert_allclose(die(4.5), [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749], atol=5e-6)
    slope = jax.jacrev(die)(4.5)
    np.testing.assert_allclose(slope @ np.arange(1, 7), 1.0, rtol=1e-11)
    np.testing.assert_allclose(jnp.sum(slope), 0.0, atol=1e-13)


TABLE = jnp.asarray(np.random.default_rng(3).dirichlet(np.ones(12)).reshape(3, 4))
ROWS, COLUMNS = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.1, 0.2, 0.3, 0.4])


def test_margins():
    margins = geo.Margins((ROWS, COLUMNS), ((0,), (1,)))
    result = geo.project(TABLE, margins, side="I")
    assert result.converged and abs(result.pythagorean_residual) < 1e-14
    witness = ROWS[:, None] * COLUMNS[None, :]
    defect = geo.kl_divergence(witness.ravel(), TABLE.ravel()) - geo.kl_divergence(
        witness.ravel(), result.point.ravel()
    )
    np.testing.assert_allclose(defect, result.divergence, rtol=1e-12)
    direction = jnp.array([0.1, -0.3, 0.2])

    def fitted(rows):
        return geo.project(TABLE, geo.Margins((rows, COLUMNS), ((0,), (1,))), side="I").point

    tangent = jax.jvp(fitted, (ROWS,), (direction,))[1]
    difference = (fitted(ROWS + 1e-5 * direction) - fitted(ROWS - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(tangent, difference, atol=1e-9)


def test_m_projection_on_independence_is_the_product_of_margins():
    result = geo.project(TABLE, geo.Hierarchical(((0,), (1,))), side="M")
    product = jnp.sum(TABLE, 1)[:, None] * jnp.sum(TABLE, 0)[None, :]
    np.testing.assert_allclose(result.point, product, rtol=1e-12)
    mutual_information = jnp.sum(TABLE * jnp.log(TABLE / product))
    np.testing.assert_allclose(result.divergence, mutual_information, rtol=1e-12)


def test_sinkhorn_is_a_coupling_and_optimal():
    cost = jnp.abs(jnp.arange(3.0)[:, None] - jnp.arange(4.0)[None, :])
    result = geo.sinkhorn(cost, ROWS, COLUMNS, 0.3)
    assert result.converged
    np.testing.assert_allclose(jnp.sum(result.point, 1), ROWS, rtol=1e-13)
    # Optimal: log P + C / eps is additive, so all its 2 by 2 contrasts vanish.
    additive = jnp.log(result.point) + cost / 0.3
    np.testing.assert_allclose(additive[1:, 1:] - additive[:1, 1:] - additive[1:, :1] + additive[0, 0], 0, atol=1e-11)


def test_sides_are_never_aliased():
    with pytest.raises(ValueError, match='side="M" projects on LogLinear'):
        geo.project(LAW, geo.Moments(FACES, jnp.array([2.0])), side="M")
    with pytest.raises(ValueError, match="side must be"):
        geo.project(LAW, geo.Moments(FACES, jnp.array([2.0])), side="reverse")
    with pytest.raises(ValueError, match="margin over axes"):
        geo.project(TABLE, geo.Margins((COLUMNS, ROWS), ((0,), (1,))), side="I")


@pytest.mark.parametrize("generator", [geo.half_squared_norm, geo.negative_entropy, geo.burg, geo.log_sum_exp])
def test_the_mean_minimizes_every_bregman_divergence(generator):
    points = jnp.asarray(np.random.default_rng(4).dirichlet(np.ones(3), size=8))
    weights = jnp.arange(1.0, 9.0)

    def mean_divergence(c):
        return weights / jnp.sum(weights) @ geo.bregman_divergence(generator, points, c)

    right = geo.bregman_barycenter(generator, points, weights, side="right")
    np.testing.assert_allclose(right, weights @ points / 36, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(mean_divergence)(right), 0, atol=1e-13)
    np.testing.assert_allclose(mean_divergence(right), geo.bregman_information(generator, points, weights), rtol=1e-12)
    left = geo.bregman_barycenter(generator, points, weights, side="left")
    slope = jax.grad(lambda c: weights @ geo.bregman_divergence(generator, c, points))(left)
    np.testing.assert_allclose(slope, 0, atol=1e-11)


def test_kmeans_decreases_its_objective_and_labels_are_nearest():
    points = jnp.asarray(np.random.default_rng(5).dirichlet(np.ones(3), size=60))
    start = jnp.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.98, 0.01, 0.01]])
    one = geo.bregman_kmeans(geo.negative_entropy, points, start, max_steps=1)
    end = geo.bregman_kmeans(geo.negative_entropy, points, start)
    assert end.converged and end.objective <= one.objective
    for k in range(3):
        np.testing.assert_allclose(end.centers[k], np.mean(points[end.labels == k], axis=0), rtol=1e-12)


KINDS = {
    "kl_from_center": geo.kl_divergence,
    "kl_to_center": lambda c, p: geo.kl_divergence(p, c),
    "fisher_rao": geo.fisher_rao_categorical,
    "euclidean": lambda c, p: jnp.linalg.norm(c - p, axis=-1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_balls_on_the_simplex(kind):
    middle = jnp.array([0.5, 0.3, 0.2])
    edge = geo.simplex_ball(middle, 0.1, kind=kind, num=25)
    assert np.all(edge >= 0)
    np.testing.assert_allclose(KINDS[kind](jnp.broadcast_to(middle, edge.shape), edge), 0.1, rtol=1e-12)
    np.testing.assert_allclose(geo.cartesian_to_barycentric(geo.barycentric_to_cartesian(edge)), edge, atol=1e-15)
    assert np.all(geo.simplex_ball(middle, 10.0, kind=kind, num=25) >= 0)


def test_simplex_coordinates():
    vertices = geo.simplex_vertices(4)
    distances = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    np.testing.assert_allclose(distances, 1 - np.eye(4), atol=1e-15)
    lattice = geo.simplex_lattice(3, 4)
    assert lattice.shape == (15, 3) and np.all(np.sum(lattice, 1) == 1)
    assert np.min(geo.simplex_lattice(3, 4, interior=True)) > 0
    np.testing.assert_allclose(geo.barycentric_to_cartesian(geo.simplex_center(3)), [0.5, np.sqrt(3) / 6], rtol=1e-15)
    with pytest.raises(ValueError, match="kind must be"):
        geo.simplex_ball(geo.simplex_center(3), 0.1, kind="kl")
