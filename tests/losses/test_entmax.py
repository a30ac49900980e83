"""Entmax: optimal, sparse, between its limits; its loss is a Fenchel-Young loss with its offset."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry, losses, numerics

GENERATOR = np.random.default_rng(0)
Z = GENERATOR.normal(size=(5, 6)) * 2
TARGETS = GENERATOR.dirichlet(np.full(6, 0.4), 5)
EXACT = jax.jit(losses.entmax, static_argnums=1)
SOLVE = jax.jit(losses.entmax)
JACOBIANS = jax.jit(jax.vmap(jax.jacfwd(losses.entmax, (0, 1)), (0, None)))


def potential(p, alpha):
    """Minus Tsallis' entropy."""
    if alpha == 1:
        return np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
    return (np.sum(p**alpha, axis=-1) - 1) / (alpha * (alpha - 1))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_exact_solutions_and_bisection_agree(alpha):
    p = np.asarray(EXACT(Z, alpha))
    np.testing.assert_allclose(SOLVE(Z, jnp.asarray(alpha)), p, rtol=1e-12, atol=1e-15)
    limits = {1.0: numerics.softmax(Z), 2.0: geometry.projection_simplex(Z)}
    if alpha in limits:
        np.testing.assert_allclose(p, limits[alpha], rtol=1e-13, atol=1e-15)
    wide = np.float32(30 * Z)
    single = EXACT(wide, alpha)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, SOLVE(np.float64(wide), jnp.asarray(alpha)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.0000001, 1.2, 1.5, 2.0, 3.0])
def test_the_solution_is_optimal(alpha):
    """In the dual: the gradient of the potential less the logits is a constant on the support and larger off it."""
    p = np.asarray(SOLVE(Z, jnp.asarray(alpha)))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    dual = (log_p if alpha == 1 else np.expm1((alpha - 1) * log_p) / (alpha - 1)) - Z
    level = np.max(np.where(p > 0, dual, -np.inf), axis=-1, keepdims=True)
    np.testing.assert_allclose(np.where(p > 0, dual, level), np.broadcast_to(level, p.shape), rtol=1e-11)
    assert np.all(np.where(p > 0, np.inf, dual) >= level - 1e-12)
    assert (alpha <= 1.2) or np.any(p == 0)


def test_derivatives_are_those_of_the_solution():
    h = 1e-6
    for alpha in (1.0, 1.3, 1.5, 2.0):
        in_logits, in_alpha = JACOBIANS(Z, jnp.asarray(alpha))
        steps = h * np.eye(6)
        central = (SOLVE(Z[:, None] + steps, alpha) - SOLVE(Z[:, None] - steps, alpha)) / (2 * h)
        np.testing.assert_allclose(np.swapaxes(central, 1, 2), in_logits, atol=2e-9)
        # Symmetric with zero row sums: the Hessian of a convex function that forgets a constant.
        np.testing.assert_allclose(in_logits, np.swapaxes(in_logits, 1, 2), atol=1e-15)
        np.testing.assert_allclose(np.sum(in_logits, axis=-1), 0, atol=1e-15)
        low = max(alpha - h, 1.0)
        slope = (SOLVE(Z, jnp.asarray(alpha + h)) - SOLVE(Z, jnp.asarray(low))) / (alpha + h - low)
        np.testing.assert_allclose(in_alpha, slope, atol=2e-6 if alpha == 1 else 2e-9)
        assert not np.any(np.isnan(in_alpha))
    static = jax.jacfwd(lambda z: losses.entmax(z, 1.5))(Z[0])
    np.testing.assert_allclose(static, JACOBIANS(Z, jnp.asarray(1.5))[0][0], atol=1e-13)


@pytest.mark.parametrize("alpha", [1, 1.0001, 1.5, 2, 2.5])
def test_the_loss_is_the_fenchel_young_loss_of_its_potential(alpha):
    p = np.asarray(EXACT(Z, alpha))
    total = lambda z, y: (lambda v: (jnp.sum(v), v))(losses.entmax_loss(z, y, alpha))  # noqa: E731
    program = jax.jit(jax.value_and_grad(total, has_aux=True))
    (value, loss), gradient = program(Z, TARGETS)
    conjugate = np.sum(Z * p, -1) - potential(p, alpha)
    direct = conjugate + potential(TARGETS, alpha) - np.sum(Z * TARGETS, -1)
    np.testing.assert_allclose(loss, direct, rtol=1e-11 if alpha != 1.0001 else 1e-9)
    np.testing.assert_allclose(gradient, p - TARGETS, atol=1e-14)
    np.testing.assert_allclose(value, loss.sum(), rtol=1e-14)
    assert np.all(loss > 0)
    # The offset: no loss at a perfect prediction of a soft target, and relative accuracy next to it.
    np.testing.assert_allclose(program(Z, p)[0][1], 0, atol=1e-15)
    if alpha == 1.5:
        move = np.array([[1, -1, 0.5, -0.5, 0, 0]] * 5)
        near = program(np.zeros((5, 6)), 1 / 6 + 1e-9 * move)[0][1]
        wanted = 0.5 * 2.5e-18 * (1 / 6) ** (alpha - 2)  # half the Hessian of the potential
        np.testing.assert_allclose(near, wanted, rtol=1e-6)


def test_the_loss_in_the_target_and_masked_classes():
    inner = np.full(6, 0.1) + 0.4 * np.eye(6)[2]
    move = np.array([1.0, -1.0, 2.0, -2.0, 0.5, -0.5])
    along = jax.jit(lambda t: jax.jvp(lambda t: losses.entmax_loss(Z[0], inner + t * move, 1.5), (t,), (1.0,)))
    np.testing.assert_allclose(along(0.0)[1], (along(1e-5)[0] - along(-1e-5)[0]) / 2e-5, rtol=1e-8)
    masked = np.array([-np.inf, 0.0, 0.1])
    for alpha in (1.5, jnp.asarray(1.3)):
        p, slope = jax.jit(jax.jacfwd(lambda z, a=alpha: (losses.entmax(z, a),) * 2, has_aux=True))(masked)[::-1]
        assert p[0] == 0 and np.all(np.isfinite(slope))


def test_edges_and_errors():
    one_hot, loss = np.array([1.0, 0.0, 0.0]), jax.jit(losses.entmax_loss, static_argnums=2)
    for alpha in (1.5, 2.0):
        margin = 1 / (alpha - 1)
        scores = np.array([margin, 0.0, 0.0])
        assert loss(scores, one_hot, alpha) == 0
        assert loss(0.99 * scores, one_hot, alpha) > 0
    assert np.all(np.isnan(SOLVE(Z, jnp.asarray(0.5))))
    np.testing.assert_array_equal(EXACT(np.array([1e8, 1e8, -1e8]), 1.5), [0.5, 0.5, 0])
    for call, match in (
        (lambda: losses.entmax(Z, 0.5), "at least 1"),
        (lambda: losses.entmax(1.0), "they are a number"),
        (lambda: losses.entmax(Z, np.array([1.5, 2.0])), "one number"),
        (lambda: losses.entmax_loss(Z, TARGETS[:, :2]), r"\(5, 6\) and \(5, 2\)"),
        (lambda: losses.entmax_loss(Z, TARGETS, jnp.asarray(1.5)), "Python number"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
