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


@pytest.mark.slow
def test_hinge_with_a_normal_prior_is_the_support_vector_machine():
    # sum hinge + |w|^2 / 2 C is SVC's objective over C; its intercept is not penalised.
    svm = pytest.importorskip("sklearn.svm")
    data = pytest.importorskip("sklearn.datasets").load_breast_cancer()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    signs = 2 * data.target - 1

    def line(params, x):
        return x @ params["coef"] + params["intercept"]

    start = {"coef": jnp.zeros(x.shape[1]), "intercept": jnp.asarray(0.0)}
    risk = losses.empirical_risk(losses.hinge, line)
    for constant in (0.01, 1.0, 100.0):
        prior = {"coef": dist.Normal(0.0, constant**0.5), "intercept": dist.Flat()}
        fit = lg.fit(lg.map_objective(lg.pseudo_likelihood(losses.hinge, line), prior), start, x, data.target)
        coef, intercept = np.asarray(fit.params["coef"]), float(fit.params["intercept"])

        def primal(coef, intercept, constant=constant):
            return np.maximum(0, 1 - signs * (x @ coef + intercept)).sum() + coef @ coef / (2 * constant)

        value = primal(coef, intercept)
        assert fit.status == lg.Status.CONVERGED and float(fit.edm) <= 1e-8 * value
        np.testing.assert_allclose(
            fit.value - value, 0.5 * x.shape[1] * np.log(2 * np.pi * constant), rtol=0, atol=1e-10
        )
        machine = svm.SVC(C=constant, kernel="linear", tol=1e-8).fit(x, data.target)
        theirs = primal(machine.coef_[0], machine.intercept_[0])
        assert value <= theirs * (1 + 1e-14) and theirs - value <= 1e-4 * value
        # lambda = 1 / (2 n C) beside the mean loss.
        ridge = coef @ coef / (2 * len(x) * constant)
        np.testing.assert_allclose(len(x) * (float(risk(fit.params, x, data.target)) + ridge), value, rtol=1e-13)
        # Support vectors: the margins of 1 and less.
        margins = signs * (x @ coef + intercept)
        np.testing.assert_array_equal(np.flatnonzero(margins < 1 + 1e-6), np.sort(machine.support_))


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(losses.SmoothedHinge(2.0), marks=pytest.mark.slow),
        pytest.param(losses.squared_hinge, marks=pytest.mark.slow),
        pytest.param(losses.exponential, marks=pytest.mark.slow),
    ],
)
def test_the_scores_of_a_proper_composite_loss_tell_the_frequencies(loss):
    # One score for each group: the fit must find the score whose probability is the frequency in the group.
    group = np.repeat(np.arange(3), 20)
    labels = np.concatenate([np.arange(20) < count for count in (3, 9, 16)]).astype(int)
    objective = lg.map_objective(lg.pseudo_likelihood(loss, lambda p, g: (g[:, None] == jnp.arange(3)[None, :]) @ p))
    fit = lg.fit(objective, jnp.zeros(3), group, labels)
    np.testing.assert_allclose(loss.inverse_link(fit.params), [0.15, 0.45, 0.8], atol=1e-7)


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
