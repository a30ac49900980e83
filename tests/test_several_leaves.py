"""Sparse priors on several leaves of one linear predictor: one working set, one gap, the optimum of the columns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import solvers
from lossgeo.duality import duality_gap

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, P, Q, R = 60, 12, 4, 3
RNG = np.random.default_rng(11)
X, Z, W = RNG.standard_normal((N, P)), RNG.standard_normal((N, Q)), RNG.standard_normal((N, R))
ETA = X[:, :3] @ np.array([1.5, -1.0, 1.0]) + X[:, 0] * Z[:, 1] + W[:, 0] + 0.5
Y = ETA + RNG.standard_normal(N)
LABELS = (RNG.random(N) < 1 / (1 + np.exp(-ETA))).astype(float)
WEIGHTS = np.where(np.arange(N) % 5 == 0, 0.0, 1.5)
SCALES = np.linspace(0.1, 0.3, P)
PRIOR = {
    "main": dist.Laplace(0.1, jnp.asarray(SCALES)),
    "interactions": dist.Laplace(0.0, 0.15),
    "net": dist.ElasticNet(0.0, 0.3, 0.8),
    "intercept": dist.Normal(0.2, 2.0),
}


def predictor(params, x, z, w):
    return x @ params["main"] + jnp.sum((x @ params["interactions"]) * z, axis=1) + w @ params["net"]


def normal(params, x, z, w):
    return dist.Normal(predictor(params, x, z, w) + params["intercept"], 0.9)


def logistic(params, x, z, w):
    return dist.Bernoulli(logits=predictor(params, x, z, w) + params["intercept"])


def design():
    """All columns side by side, with their strengths, curvatures and means, in the order of the ravelled leaves."""
    columns = [(X[:, :, None] * Z[:, None, :]).reshape(N, -1), np.ones((N, 1)), X, W]
    sizes = [P * Q, 1, P, R]
    strength = np.concatenate([np.full(P * Q, 1 / 0.15), [0.0], 1 / SCALES, np.full(R, 1 / 0.3)])
    ridge, mean = np.repeat([0.0, 1 / 4.0, 0.0, 1 / 0.64], sizes), np.repeat([0.0, 0.2, 0.1, 0.0], sizes)
    return np.concatenate(columns, axis=1), strength, ridge, mean


def ravelled(params):
    return np.concatenate([np.ravel(params[name]) for name in ("interactions", "intercept", "main", "net")])


def start():
    sizes = {"main": (P,), "interactions": (P, Q), "net": (R,), "intercept": ()}
    return {name: jnp.zeros(shape) for name, shape in sizes.items()}


def coordinate_descent(target, weights, variance):
    """The Gaussian problem solved a coefficient at a time, by the formula of the textbook."""
    columns, strength, ridge, mean = design()
    weights, x = weights / variance, np.zeros(columns.shape[1])
    residual = target - columns @ mean
    for _ in range(400):
        for j, column in enumerate(columns.T):
            own = column @ (weights * column)
            slope = column @ (weights * residual) + own * x[j]
            new = np.sign(slope) * max(abs(slope) - strength[j], 0.0) / (own + ridge[j])
            residual, x[j] = residual - column * (new - x[j]), new
    return x + mean


def violation(slopes, params):
    """Largest component of the subgradient of least norm; ``slopes`` are the derivatives in the predictor."""
    columns, strength, ridge, mean = design()
    x = ravelled(params) - mean
    gradient = columns.T @ slopes + ridge * x
    at_kink = (x == 0) & (strength > 0)
    off = np.abs(gradient + strength * np.sign(x))
    return np.max(np.where(at_kink, np.maximum(np.abs(gradient) - strength, 0.0), off))


def test_the_optimum_is_that_of_the_columns_side_by_side():
    objective = lg.map_objective(lg.likelihood(normal), PRIOR)
    fit = lg.fit(objective, start(), X, Z, W, Y, weights=WEIGHTS, solver=solvers.WorkingSet())
    expected = coordinate_descent(Y, WEIGHTS, 0.81)
    np.testing.assert_allclose(ravelled(fit.params), expected, atol=1e-8)
    np.testing.assert_array_equal(ravelled(fit.params) == design()[3], expected == design()[3])
    assert 0 <= fit.duality_gap < 1e-8
    # A bound elsewhere too.
    value = jax.jit(lambda p: objective(p, X, Z, W, Y, weights=WEIGHTS))
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        moved = jax.tree.map(lambda p, size=size: p + size * rng.standard_normal(p.shape), fit.params)
        assert 0 < float(value(moved) - fit.value) <= float(duality_gap(fit.posed, moved)) < np.inf


def test_a_classifier_meets_the_conditions_of_optimality():
    fit = lg.fit(lg.map_objective(lg.likelihood(logistic), PRIOR), start(), X, Z, W, LABELS)
    columns = design()[0]
    assert violation(1 / (1 + np.exp(-columns @ ravelled(fit.params))) - LABELS, fit.params) < 1e-6
    assert np.any(fit.params["interactions"] == 0) and np.any(fit.params["interactions"] != 0)
    assert 0 <= fit.duality_gap < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "grid"), [("normal", [0.04, 0.05]), ("flat", [])])
def test_many_coefficients_without_a_kink_are_on_the_working_set_too(kind, grid):
    rng = np.random.default_rng(3)
    n, q = 150, 70
    x, z = rng.standard_normal((n, 550)), rng.standard_normal((n, q))
    y = x[:, :3] @ np.array([1.0, -1.0, 2.0]) + z[:, 0] + rng.standard_normal(n)

    def model(params, x, z):
        sparse = x[:, :200] @ params["group"]["a"] + x[:, 200:] @ params["group"]["b"]
        return dist.Normal(sparse + z @ params["other"] + params["intercept"], 1.0)

    other, ridge = (dist.Normal(0.0, 0.5), 4.0) if kind == "normal" else (dist.Flat(), 0.0)
    prior = {"group": dist.Laplace(0.0, 0.05), "other": other, "intercept": dist.Flat()}
    init = {"group": {"a": jnp.zeros(200), "b": jnp.zeros(350)}, "other": jnp.zeros(q), "intercept": jnp.asarray(0.0)}
    objective = lg.map_objective(lg.likelihood(model), prior)

    def check(params, scale):
        beta = np.concatenate([params["group"]["a"], params["group"]["b"]])
        residual = y - x @ beta - z @ params["other"] - params["intercept"]
        slope, at_kink = -x.T @ residual, beta == 0
        assert np.all(np.abs(slope[at_kink]) <= 1 / scale + 1e-7)
        assert np.all(np.abs(slope + np.sign(beta) / scale)[~at_kink] < 1e-7)
        assert np.abs(z.T @ residual - ridge * params["other"]).max() < 1e-7 and abs(residual.sum()) < 1e-7

    fit = lg.fit(objective, init, x, z, y)
    assert isinstance(fit.plan.solver, solvers.WorkingSet) and 0 <= fit.duality_gap <= 1e-10
    check(fit.params, 0.05)
    if grid:
        path = lg.path(objective, init, x, z, y, grid=grid, over="prior.group.scale")
        assert np.all(path.status == 0)
        np.testing.assert_allclose(path.value[1], fit.value, rtol=1e-12)
        for k, scale in enumerate(grid):
            check(jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), path.params), scale)
