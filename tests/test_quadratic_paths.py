"""Paths and folds by second moments are the fits one by one, or are left to the solvers that go through the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import paths, quadratic_paths

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, D = 60, 12
RNG = np.random.default_rng(4)
X = RNG.standard_normal((N, D)) * 10.0 ** RNG.uniform(-2, 2, D) + 0.5
Y = (X / X.std(axis=0))[:, :4] @ np.array([2.0, -1.5, 1.0, 0.5]) + 3.0 + RNG.standard_normal(N)
WEIGHTS = np.where(np.arange(N) % 5 == 0, 2.0, 1.0)
GRID = 1.0 / (np.abs((X - X.mean(axis=0)).T @ Y).max() * np.geomspace(0.9, 0.002, 8))
INIT = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}


def gaussian(params, x):
    return dist.Normal(x @ params["coef"] + params["intercept"], 0.8)


def poisson(params, x):
    return dist.Poisson(jnp.exp(0.1 * (x @ params["coef"]) + params["intercept"]))


def objective(scale=1.0, intercept=None, model=gaussian, center=0.0):
    prior = {"coef": dist.Laplace(center, scale), "intercept": intercept or dist.Flat()}
    return lg.map_objective(lg.likelihood(model), prior)


@pytest.fixture
def only_moments(monkeypatch):
    """Nothing is left to other solvers."""
    for name in ("sparse_path", "sparse_folds", "solve_grid", "_fit"):
        monkeypatch.setattr(paths, name, None)


def alone(index, x=X, y=Y, weights=None, intercept=None, center=0.0):
    return lg.fit(objective(GRID[index], intercept, center=center), INIT, x, y, weights=weights)


def assert_same(found, index, fit):
    at = jax.tree.map(lambda leaf: leaf[index], found.params)
    scale = np.append(X.std(axis=0), 1.0)
    a, b = (np.append(p["coef"], p["intercept"]) * scale for p in (at, fit.params))
    np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())
    np.testing.assert_array_equal(np.asarray(at["coef"]) == 0, np.asarray(fit.params["coef"]) == 0)
    np.testing.assert_allclose(found.value[index], fit.value, rtol=1e-11)


@pytest.mark.parametrize("kind", ["weights", "held intercept"])
def test_a_path_is_the_fits_one_by_one(kind, only_moments):
    weights = WEIGHTS if kind == "weights" else None
    # Kinks that are not at 0, and a prior of the intercept.
    change = {"intercept": dist.Normal(1.0, 0.1), "center": 0.01} if kind == "held intercept" else {}
    found = lg.path(objective(**change), INIT, X, Y, grid=GRID, weights=weights)
    assert found.converged.all() and 0 <= float(found.edm.min()) and float(found.edm.max()) <= 2e-12
    assert found.params["coef"].shape == (8, D) and found.params["intercept"].shape == (8,)
    if not change:
        for index in (0, 4, 7):
            assert_same(found, index, alone(index, weights=weights))
        return
    fit = alone(5, **change)
    np.testing.assert_allclose(found.params["intercept"][5], fit.params["intercept"], rtol=1e-8)
    np.testing.assert_allclose(found.value[5], fit.value, rtol=1e-11)
    np.testing.assert_array_equal(found.params["coef"][5] == 0.01, fit.params["coef"] == 0.01)


@pytest.mark.parametrize("fold", [3, np.arange(N) % 3], ids=["contiguous", "interleaved"])
def test_folds_hold_out_what_they_score(fold, only_moments):
    found = lg.cross_validate(objective(), INIT, X, Y, grid=GRID, folds=fold, weights=WEIGHTS)
    assert found.log_likelihood.shape == (3, 8) and not np.any(found.status) and float(found.edm.max()) <= 2e-12
    out = np.asarray(found.fold) == 1
    for index in (2, 6):
        fit = alone(index, X[~out], Y[~out], WEIGHTS[~out])
        held_out = WEIGHTS[out] @ np.asarray(fit.objective.log_likelihood(fit.params, X[out], Y[out]))
        np.testing.assert_allclose(found.log_likelihood[1, index], held_out, rtol=1e-8)


def test_single_precision_is_certified_at_the_rounded_estimates(only_moments):
    init = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), INIT)
    data = X.astype(np.float32), Y.astype(np.float32)
    found = lg.path(objective(), init, *data, grid=GRID)
    assert found.params["coef"].dtype == jnp.float32 and found.converged.all() and float(found.edm.max()) <= 1e-5
    exact = lg.path(objective(), INIT, *data, grid=GRID)
    coef, best = (np.asarray(path.params["coef"]) * X.std(axis=0) for path in (found, exact))
    np.testing.assert_allclose(coef, best, atol=1e-5)


def test_what_moments_do_not_determine_goes_through_the_rows():
    def by_moments(x, y, grid=GRID[:2], model=gaussian, solver="auto"):
        given = tuple(jnp.asarray(v) for v in (x, y))
        fits = [objective(scale, model=model) for scale in grid]
        return quadratic_paths.quadratic_path(fits, INIT, given, None, solver, 2e-12)

    assert by_moments(X, Y) is not None
    # Columns far from their origin, whose moments say little of their spread; another family; another solver.
    small, grid = 1e-2 * X, 1e2 * GRID[[3, 5]]
    assert by_moments(small + 1e5, Y, grid) is None
    assert by_moments(X, np.round(np.abs(Y)), model=poisson) is None
    assert by_moments(X, Y, solver=lg.solvers.Newton()) is None
    # As far as they do, the origin does not matter.
    far, near = (by_moments(x, Y, grid).params["coef"] for x in (small + 100.0, small))
    assert np.any(near != 0)
    np.testing.assert_allclose(far, near, atol=1e-6 * np.abs(near).max())


def test_faults_of_the_values_are_named():
    bad = X.copy()
    bad[3, 4] = np.nan
    for call in (lg.path, lg.cross_validate):
        with pytest.raises(ValueError, match=r"data\[0\] must be finite"):
            call(objective(), INIT, bad, Y, grid=GRID)
        with pytest.raises(ValueError, match="not negative"):
            call(objective(), INIT, X, Y, grid=GRID, weights=-WEIGHTS)


def test_a_column_of_one_fold_only_is_zero_without_it(only_moments):
    fold, x = np.arange(N) % 3, X.copy()
    x[fold != 1, 2] = 0.0
    found = lg.cross_validate(objective(), INIT, x, Y, grid=GRID[-2:], folds=fold, weights=WEIGHTS)
    out = fold == 1
    fit = alone(7, x[~out], Y[~out], WEIGHTS[~out])
    assert fit.params["coef"][2] == 0
    held_out = WEIGHTS[out] @ np.asarray(fit.objective.log_likelihood(fit.params, x[out], Y[out]))
    np.testing.assert_allclose(found.log_likelihood[1, 1], held_out, rtol=1e-8)
