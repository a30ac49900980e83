"""Savage's representation for every rule: the entropy determines the rule and the regret is its Bregman divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry, losses

RULES = {
    "log": losses.log_score,
    "brier": losses.brier_score,
    "spherical": losses.spherical_score,
    "boosting": losses.boosting_score,
}
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


@jax.jit
def REGRET(loss, eta, q):
    """The regret of the score that means ``q``, and the Bregman divergence of minus the entropy."""
    regret = loss.conditional_risk(loss.minimizer(q), eta) - loss.bayes_risk(eta)
    entropy, slope = jax.jvp(loss.bayes_risk, (q,), (jnp.ones_like(q),))
    return regret, entropy + slope * (eta - q) - loss.bayes_risk(eta)


WEIGHT = jax.jit(lambda loss, eta: loss.weight(eta))
BINARY = {
    "logistic": (losses.logistic, losses.log_score),
    "exponential": (losses.exponential, losses.boosting_score),
    "savage": (losses.savage, None),
    "square": (losses.square, None),
    "tangent": (losses.tangent, None),
    "rennie": (losses.smoothed_hinge, None),
    "smoothed_hinge_0.5": (losses.SmoothedHinge(0.5), None),
}


@pytest.mark.parametrize("name", BINARY)
def test_the_regret_of_every_proper_composite_loss_is_a_bregman_divergence(name):
    """Truth eta, forecast q by its score f*(q); the weight -H'' is what the divergence integrates over (eta, q)."""
    loss, rule = BINARY[name]
    eta, q = jnp.array([0.07, 0.3, 0.45, 0.8, 0.95]), jnp.array([0.6, 0.12, 0.48, 0.9, 0.2])
    regret, bregman = REGRET(loss, eta, q)
    np.testing.assert_allclose(regret, bregman, rtol=1e-11, atol=1e-15)
    assert np.all(np.asarray(regret) > 0)
    # Schervish: the integral of (c - eta) times the weight over the costs c from eta to q. Both ends from 1/2 on, by
    # c - 1/2 = (end - 1/2) u^5, because there the weight may have a kink.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u = 0.5 * (1 + nodes)[None, None]
    measure = 2.5 * weights * u**4
    ends = jnp.stack([q, eta])[..., None] - 0.5
    costs = 0.5 + ends * u**5
    total = jnp.sum(ends * measure * (costs - eta[None, :, None]) * WEIGHT(loss, costs), axis=-1)
    total = total[0] - total[1]
    np.testing.assert_allclose(regret, total, rtol=1e-10)
    if rule is not None:
        pair = lambda p: jnp.stack([p, 1 - p], -1)  # noqa: E731
        np.testing.assert_allclose(regret, rule.regret(pair(eta), pair(q)), rtol=1e-11)
