"""Losses of logits: zero at the optimum, gradient prediction minus target, and the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry, losses, numerics

Z = jnp.array([[0.5, -1.0, 2.0], [3.0, 2.9, -4.0], [0.1, 0.0, -0.2], [1e4, -1e4, 0.0]])
LABELS = jnp.array([2, 1, 0, 0])


def total_gradient(loss, *rest):
    return np.asarray(jax.grad(lambda z: jnp.sum(loss(z, *rest)))(Z))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_gradient_of_cross_entropy_at_extreme_logits(label, dtype):
    z = jnp.array([[1e4, -1e4, 1e4], [1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]], dtype)
    labels = jnp.full(3, label)
    gradient = jax.grad(lambda z: jnp.sum(losses.softmax_cross_entropy(z, labels)))(z)
    expected = np.array([[0.5, 0, 0.5], [1, 0, 0], [0, 0, 1]], dtype) - np.eye(3, dtype=dtype)[label]
    assert gradient.dtype == dtype
    np.testing.assert_array_max_ulp(np.asarray(gradient), expected, maxulp=1)


def test_focal_loss_is_its_definition_and_cross_entropy_at_zero():
    q = np.asarray(numerics.softmax(Z))[np.arange(3), LABELS[:3]]
    np.testing.assert_allclose(losses.focal_loss(Z, LABELS)[:3], -((1 - q) ** 2) * np.log(q), rtol=1e-12)
    np.testing.assert_array_equal(losses.focal_loss(Z, LABELS, 0.0), losses.softmax_cross_entropy(Z, LABELS))


def test_label_smoothing_is_a_divergence_with_gradient_prediction_minus_target():
    p = 0.9 * np.eye(3)[LABELS] + 0.1 / 3
    np.testing.assert_allclose(losses.label_smoothing_loss(jnp.log(p), LABELS, 0.1), 0, atol=1e-15)
    gradient = total_gradient(losses.label_smoothing_loss, LABELS, 0.1)
    np.testing.assert_allclose(gradient, np.asarray(numerics.softmax(Z)) - p, atol=1e-15)
    assert np.isnan(losses.label_smoothing_loss(Z, LABELS.at[1].set(3), 0.1)).tolist() == [False, True, False, False]


def test_hinge_of_two_classes_is_the_binary_hinge():
    z = jnp.array([[0.2, -0.3], [1.0, 2.5], [0.0, 0.4]])
    labels = jnp.array([0, 0, 1])
    binary = losses.hinge.pointwise(z[:, 1] - z[:, 0], labels)
    np.testing.assert_allclose(losses.multiclass_hinge_loss(z, labels), binary, rtol=1e-15)
    np.testing.assert_allclose(losses.multiclass_hinge_loss(Z, LABELS), [0.0, 1.1, 0.9, 0.0], rtol=1e-13)
    assert np.isnan(losses.multiclass_hinge_loss(z, jnp.array([0, 2, -1]))).tolist() == [False, True, True]


def test_sparsemax_is_a_fenchel_young_loss_with_its_offset():
    y = jnp.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.4, 0.4, 0.2], [1.0, 0.0, 0.0]])
    # By the definition sup_p <z, p> - |p|^2/2 + |y|^2/2 - <z, y>, the supremum over a fine lattice of the simplex.
    a, b = np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 1, 401))
    lattice = np.stack([a, b, 1 - a - b], -1)[a + b <= 1 + 1e-12]
    for z, target, loss in zip(np.asarray(Z)[:3], np.asarray(y), losses.sparsemax_loss(Z, y), strict=False):
        supremum = np.max(lattice @ z - 0.5 * np.sum(lattice**2, axis=1))
        direct = supremum + 0.5 * target @ target - z @ target
        assert direct <= loss + 1e-12 and loss - direct < 1e-5
    p = losses.sparsemax_loss(Z, y)
    assert np.all(np.asarray(p) >= 0)
    predicted = geometry.projection_simplex(Z)
    np.testing.assert_array_equal(losses.sparsemax_loss(Z, predicted), 0)
    np.testing.assert_allclose(total_gradient(losses.sparsemax_loss, y), predicted - y, atol=1e-15)
    with pytest.raises(ValueError, match="one shape"):
        losses.sparsemax_loss(Z, y[:2])
