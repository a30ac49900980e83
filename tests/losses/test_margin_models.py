"""Margin losses as objectives: the squared-hinge machine against scikit-learn, and what a pseudo-likelihood refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import losses

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3))
LABELS = (X @ np.array([1.0, -1.0, 0.5]) + 0.8 * RNG.normal(size=60) > 0).astype(int)


def score(params, x):
    return x @ params["coef"]


def test_squared_hinge_with_a_normal_prior_is_linear_svc():
    svm = pytest.importorskip("sklearn.svm")
    spread = 0.7
    objective = lg.map_objective(lg.pseudo_likelihood(losses.squared_hinge, score), {"coef": dist.Normal(0.0, spread)})
    machine = svm.LinearSVC(
        C=spread**2, loss="squared_hinge", fit_intercept=False, dual=False, tol=1e-12, max_iter=10_000
    )
    machine.fit(X, LABELS)
    fit = lg.fit(objective, {"coef": jnp.zeros(3)}, X, LABELS)
    np.testing.assert_allclose(fit.params["coef"], machine.coef_[0], rtol=1e-6)
    slope = jax.grad(objective)({"coef": jnp.asarray(machine.coef_[0])}, X, LABELS)["coef"]
    np.testing.assert_allclose(slope, 0, atol=1e-5)


def test_terms_are_minus_the_loss_of_the_margin():
    likelihood = lg.pseudo_likelihood(losses.SmoothedHinge(2.0), score)
    params = {"coef": jnp.array([0.3, -0.2, 0.1])}
    margins = (2 * LABELS - 1) * (X @ np.asarray(params["coef"]))
    np.testing.assert_allclose(
        likelihood.log_likelihood(params, X, LABELS), -losses.SmoothedHinge(2.0).value(margins), rtol=1e-14
    )
    assert not likelihood.is_density


def test_a_margin_loss_needs_a_model():
    with pytest.raises(TypeError, match="without a model"):
        lg.pseudo_likelihood(losses.hinge)
