"""Working sets of groups: the optimum by its KKT conditions in NumPy, whole groups exactly 0, a gap as certificate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models, solvers
from lossgeo.solvers.group_quadratic import Groups, descend_quadratic, prox, spectral_bound

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D, K = 50, 600, 3


@functools.cache
def data():
    """Correlated columns, labels of ragged groups in any order, and a predictor with few of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) + 0.5 * rng.normal(size=(N, 1))
    labels = np.unique(rng.integers(0, 150, D), return_inverse=True)[1]
    coef = np.where(np.isin(labels, [3, 50, 120]), rng.normal(size=D), 0.0)
    return x, labels, x @ coef + 0.7, rng


def norms(v, labels):
    return np.sqrt(np.bincount(labels, np.square(v)))


def check_kkt(slopes, coef, labels, strengths):
    """Slopes of the likelihood balance the penalty on groups in use, and are within it on all others."""
    size, length = norms(slopes, labels), norms(coef, labels)
    used = (length > 0)[labels]
    assert 0 < np.sum(length > 0) < len(length) / 4
    unit = coef[used] / length[labels][used]
    np.testing.assert_allclose(slopes[used], -strengths[labels][used] * unit, atol=1e-7)
    assert np.all(size[length == 0] < strengths[length == 0])


def grouped(labels, strengths):
    return {"coef": dist.GroupedLaplace(labels, 0.0, 1 / strengths), "intercept": dist.Flat()}


INIT = {"coef": jnp.zeros(D), "intercept": jnp.zeros(())}


def test_a_regression_with_ragged_groups_meets_its_kkt_conditions_and_starts_again_where_it_ended():
    x, labels, eta, _ = data()
    y = eta + np.random.default_rng(1).normal(size=N)
    weights = np.sqrt(np.bincount(labels))
    strengths = 0.3 * weights * np.max(norms(x.T @ (y - y.mean()), labels) / weights)
    objective = lg.map_objective(lg.likelihood(models.glm(dist.Normal, dispersion=1.0)), grouped(labels, strengths))
    fit = lg.fit(objective, INIT, x, y)
    coef = np.asarray(fit.params["coef"])
    assert isinstance(fit.plan.solver, solvers.GroupWorkingSet) and fit.status == lg.Status.CONVERGED
    check_kkt(-x.T @ (y - x @ coef - np.asarray(fit.params["intercept"])), coef, labels, strengths)
    assert 0.0 <= fit.duality_gap < 1e-9 and fit.edm < 1e-12
    assert np.all(np.isnan(np.asarray(fit.standard_errors()["coef"])) == (coef == 0))
    again = lg.fit(objective, fit.params, x, y)
    assert again.num_steps <= 1 and np.array_equal(np.asarray(again.params["coef"]) == 0, coef == 0)
    grid = np.stack([0.5, 0.8, 1.0])[:, None] / strengths[None, :]
    path = lg.path(objective, INIT, x, y, grid=grid)
    assert np.all(path.converged) and np.all(np.diff(np.sum(np.asarray(path.params["coef"]) != 0, axis=1)) >= 0)
    np.testing.assert_allclose(path.params["coef"][-1], coef, atol=1e-10)
    np.testing.assert_allclose(path.value[-1], fit.value, rtol=1e-12)


@pytest.mark.slow
def test_a_plain_logistic_regression_with_weights_meets_its_kkt_conditions():
    x, labels, eta, _ = data()
    rng = np.random.default_rng(2)
    y, weights = (rng.random(N) < 1 / (1 + np.exp(-eta / 3))).astype(float), 0.5 + rng.random(N)
    strengths = 0.4 * np.full(labels.max() + 1, norms(x.T @ (weights * (y - 0.5)), labels).max())

    def log_likelihood(p, x, y):
        logits = x @ p["coef"] + p["intercept"]
        return y * logits - jax.nn.softplus(logits)

    fit = lg.fit(lg.map_objective(log_likelihood, grouped(labels, strengths)), INIT, x, y, weights=weights)
    coef = np.asarray(fit.params["coef"])
    mean = 1 / (1 + np.exp(-(x @ coef + np.asarray(fit.params["intercept"]))))
    assert isinstance(fit.plan.solver, solvers.GroupWorkingSet) and 0.0 <= fit.duality_gap < 1e-9
    check_kkt(x.T @ (weights * (mean - y)), coef, labels, strengths)
    over = {"grid": 1 / strengths[None, :], "over": "prior.coef.scale", "folds": 2, "weights": weights}
    scores = lg.cross_validate(fit.objective, INIT, x, y, **over)
    halves = np.arange(N) >= N // 2
    kept = lg.fit(fit.objective, INIT, x, y, weights=weights * halves)
    held_out = np.asarray(log_likelihood(kept.params, x, y)) @ (weights * ~halves)
    np.testing.assert_allclose(scores.log_likelihood[0, 0], held_out, rtol=1e-9)


@pytest.mark.slow
def test_rows_of_a_multinomial_regression_and_of_several_targets_vanish_as_a_whole():
    x, _, eta, _ = data()
    rng = np.random.default_rng(3)
    y = eta[:, None] * np.array([1.0, -1.0, 0.3])[None, :] / 3 + rng.normal(size=(N, K))
    classes = np.argmax(y, axis=1)
    labels = np.repeat(np.arange(D), K)
    init = {"coef": jnp.zeros((D, K)), "shift": jnp.zeros(K)}

    def several(p, x):
        return dist.Normal(x @ p["coef"] + p["shift"][None, :], 1.0)

    def softmax(p, x):
        return dist.Categorical(logits=x @ p["coef"] + p["shift"][None, :])

    for model, target, prior in ((several, y, dist.Flat()), (softmax, classes, dist.Normal(0.0, 1.0))):
        of_zero = y - y.mean(axis=0) if model is several else np.eye(K)[classes] - 1 / K
        strength = 0.6 * np.linalg.norm(x.T @ of_zero, axis=1).max()
        prior = {"coef": dist.GroupLaplace(jnp.zeros(K), 1 / strength), "shift": prior}
        fit = lg.fit(lg.map_objective(lg.likelihood(model), prior), init, x, target)
        coef = np.asarray(fit.params["coef"])
        assert isinstance(fit.plan.solver, solvers.GroupWorkingSet) and fit.status == lg.Status.CONVERGED
        logits = x @ coef + np.asarray(fit.params["shift"])
        odds = np.exp(logits)
        slopes = logits - y if model is several else odds / odds.sum(axis=1, keepdims=True) - np.eye(K)[classes]
        check_kkt((x.T @ slopes).ravel(), coef.ravel(), labels, np.full(D, strength))
        assert fit.duality_gap < 1e-9 if model is several else np.isnan(fit.duality_gap)


def test_the_quadratic_with_kinks_of_groups_and_of_single_coefficients_ends_at_its_optimum():
    rng = np.random.default_rng(4)
    k, m = 5, 3
    root = rng.normal(size=(20, 1 + k * m))
    real = np.ones((k, m), bool)
    real[1, 2] = False
    root[:, 1 + 5] = 0.0
    h, gradient = root.T @ root, -root.T @ rng.normal(size=20) * 8.0
    gradient[1 + 5] = 0.0
    own = np.where(np.arange(k)[:, None] < 3, 4.0, 0.0) * np.ones((1, m))
    groups = Groups(jnp.array([6.0, 60.0, 25.0, 25.0, 0.0]), jnp.asarray(own), jnp.asarray(real))
    index = 1 + np.arange(k * m).reshape(k, m)
    bound = spectral_bound(jnp.asarray(h[index[:, :, None], index[:, None, :]]))
    largest = np.linalg.eigvalsh(h[index[:, :, None], index[:, None, :]])[:, -1]
    assert np.all(bound >= largest) and np.all(bound <= 1.2 * largest)
    found = jax.jit(descend_quadratic)(
        jnp.asarray(h), jnp.asarray(gradient), jnp.zeros((k, m)), groups, bound, tol=1e-22, max_rounds=50
    )
    x, slopes = np.asarray(found.x), gradient + h @ np.asarray(found.delta)
    np.testing.assert_allclose(np.asarray(found.delta)[1:].reshape(k, m), x, atol=1e-12)
    assert abs(slopes[0]) < 1e-9 and np.any(x != 0) and np.any(np.all(x == 0, axis=1))
    # An optimum is a fixed point of the proximal map, with any step.
    moved = prox(jnp.asarray(x - slopes[1:].reshape(k, m)), groups.own, groups.strength)
    np.testing.assert_allclose(np.where(real, moved, 0.0), x, atol=1e-9)
    np.testing.assert_array_equal(np.where(real, moved, 0.0) == 0, x == 0)


@pytest.mark.slow
def test_the_group_lasso_is_that_of_celer():
    celer = pytest.importorskip("celer")
    x, _, eta, _ = data()
    y = eta - eta.mean()
    x = x - x.mean(axis=0)
    strength = 0.2 * np.linalg.norm((x.T @ y).reshape(-1, 3), axis=1).max()
    prior = {"coef": dist.GroupLaplace(jnp.zeros(3), 1 / strength)}
    model = lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"].reshape(-1), 1.0))
    fit = lg.fit(lg.map_objective(model, prior), {"coef": jnp.zeros((D // 3, 3))}, x, y)
    peer = celer.GroupLasso(3, alpha=strength / N, fit_intercept=False, tol=1e-12).fit(np.asfortranarray(x), y)
    np.testing.assert_allclose(np.ravel(fit.params["coef"]), peer.coef_, atol=1e-6)
    assert isinstance(fit.plan.solver, solvers.GroupWorkingSet)
