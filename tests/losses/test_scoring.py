"""Savage's representation for every rule: the entropy determines the rule and the regret is its Bregman divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry, losses

RULES = {"log": losses.log_score, "brier": losses.brier_score, "spherical": losses.spherical_score}
P = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [0.05, 0.9, 0.05]])
Q = P[::-1]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_savage(rule):
    slope = jax.vmap(jax.grad(rule.entropy_fn))(Q)
    tangent = rule.entropy(Q)[:, None] + slope - jnp.sum(slope * Q, axis=-1, keepdims=True)
    np.testing.assert_allclose(rule.outcome_losses(Q), tangent, rtol=1e-13, atol=1e-14)
    bregman = rule.entropy(Q) - rule.entropy(P) + jnp.sum(slope * (P - Q), axis=-1)
    np.testing.assert_allclose(rule.regret(P, Q), bregman, rtol=1e-12, atol=1e-15)
    assert np.all(np.asarray(rule.regret(P, Q))[[0, 1, 3]] > 0)
    np.testing.assert_allclose(rule.regret(P, P), 0, atol=1e-15)


def test_regrets_have_names():
    np.testing.assert_allclose(losses.log_score.regret(P, Q), geometry.kl_divergence(P, Q), rtol=1e-12)
    np.testing.assert_allclose(losses.brier_score.regret(P, Q), np.sum((P - Q) ** 2, -1), rtol=1e-12, atol=1e-15)


def test_edges():
    corner = jnp.array([[1.0, 0.0, 0.0]])
    assert losses.log_score(corner, jnp.array([0])) == 0 and losses.log_score(corner, jnp.array([1])) == jnp.inf
    assert losses.log_score.expected(corner, corner) == 0
    assert np.isnan(losses.brier_score(corner, jnp.array([3])))
    with pytest.raises(ValueError, match="less the last axis"):
        losses.brier_score(P, jnp.array([0]))
