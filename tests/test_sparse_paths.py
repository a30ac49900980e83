"""Paths of L1-penalised fits in blocks are the fits one by one, with their certificates; so are folds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models, paths, quadratic_paths, sparse_paths
from lossgeo.sparse import candidates, wide_paths

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, D = 60, 540


def gaussian(params, x):
    return dist.Normal(x @ params["coef"], 0.8)


@functools.cache
def data(kind):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((N, D)) * 10.0 ** rng.uniform(-1, 1, D)
    x[:, 7] = 0.0
    eta = (x / np.maximum(x.std(axis=0), 1e-9))[:, :6] @ np.array([3.0, -2.0, 2.0, 1.5, -1.0, 1.0])
    y = eta + rng.standard_normal(N) if kind == "gaussian" else (rng.random(N) < 1 / (1 + np.exp(-eta))).astype(float)
    return jnp.asarray(x), jnp.asarray(y)


@functools.cache
def problem(kind):
    if kind == "gaussian":
        likelihood, free, init = lg.likelihood(gaussian), {}, {}
    else:
        likelihood = lg.likelihood(models.logistic_regression())
        free, init = {"intercept": dist.Flat()}, {"intercept": jnp.asarray(0.0)}
    objective = lg.map_objective(likelihood, {"coef": dist.Laplace(0.0, 1.0)} | free)
    x, y = data(kind)
    top = float(np.abs(np.asarray(x).T @ np.asarray(y - y.mean())).max())
    return objective, {"coef": jnp.zeros(D)} | init, 1.0 / (top * np.geomspace(1.01, 0.25, 20))


@pytest.fixture
def through_the_rows(monkeypatch):
    """Quadratic likelihoods take the way of all others."""
    monkeypatch.setattr(paths, "quadratic_path", lambda *args: None)
    monkeypatch.setattr(paths, "quadratic_folds", lambda *args: None)


def one_by_one(objective, init, x, y, grid, weights=None):
    fits = []
    for scale in grid:
        prior = objective.prior.tree | {"coef": dist.Laplace(0.0, float(scale))}
        found = lg.fit(lg.map_objective(objective.likelihood, prior), init, x, y, weights=weights)
        fits.append(found)
        init = found.params
    return fits


@pytest.mark.parametrize("kind", ["gaussian", "logistic"])
@pytest.mark.slow
def test_a_path_in_blocks_is_the_fits_one_by_one(kind, monkeypatch, through_the_rows):
    objective, init, grid = problem(kind)
    x, y = data(kind)
    weights = np.where(np.arange(N) % 4 == 0, 2.0, 1.0)
    monkeypatch.setattr(paths, "fit", None)  # nothing falls back to the loop
    found = lg.path(objective, init, x, y, grid=grid, weights=weights)
    assert found.converged.all() and float(found.edm.max()) <= 2e-12
    some = [0, 1, 9, 19]
    for index, fit in zip(some, one_by_one(objective, init, x, y, grid[some], weights), strict=True):
        at = jax.tree.map(lambda leaf, index=index: leaf[index], found.params)
        np.testing.assert_array_equal(np.asarray(at["coef"]) != 0, np.asarray(fit.params["coef"]) != 0)
        for name in at:
            np.testing.assert_allclose(at[name], fit.params[name], atol=2e-6 * np.abs(fit.params[name]).max() + 1e-12)
        np.testing.assert_allclose(found.value[index], fit.value, rtol=1e-11)
        # The conditions of Karush, Kuhn and Tucker, as the fit itself sees them.
        assert found.kkt_residual[index] <= 1e-6 / grid[index]
    assert 0 < np.sum(np.asarray(found.params["coef"])[-1] != 0) < N


@pytest.mark.slow
def test_blocks_that_miss_columns_start_again(monkeypatch, through_the_rows):
    objective, init, grid = problem("gaussian")
    x, y = data("gaussian")
    usual = lg.path(objective, init, x, y, grid=grid)
    monkeypatch.setattr(sparse_paths, "MORE", 1)
    blocks = []
    judge = sparse_paths.judge_along
    monkeypatch.setattr(sparse_paths, "judge_along", lambda *args: blocks.append(1) or judge(*args))
    poor = lg.path(objective, init, x, y, grid=grid)
    assert len(blocks) > len(grid) / sparse_paths.BLOCK + 1
    np.testing.assert_allclose(poor.params["coef"], usual.params["coef"], atol=1e-7)
    np.testing.assert_array_equal(poor.params["coef"] == 0, usual.params["coef"] == 0)
    assert poor.converged.all()


@pytest.mark.slow
def test_wide_paths_by_moments_are_those_through_the_rows(monkeypatch):
    objective, init, grid = problem("gaussian")
    x, y = data("gaussian")
    weights = np.where(np.arange(N) % 4 == 0, 2.0, 1.0)
    weights[5] = 0.0
    call = functools.partial(lg.path, objective, init, x, y, grid=grid, weights=weights)
    monkeypatch.setattr(paths, "sparse_path", None)
    for room in (wide_paths.ROOM, 1):  # with one new candidate at a time, blocks miss columns
        monkeypatch.setattr(wide_paths, "ROOM", room)
        exact = call()
        assert exact.converged.all() and float(exact.edm.max()) <= 2e-12
        assert np.all(exact.kkt_residual <= 1e-9 / grid)
        if room > 1:
            found = exact
    np.testing.assert_allclose(exact.params["coef"], found.params["coef"], atol=1e-9)
    monkeypatch.undo()
    monkeypatch.setattr(paths, "quadratic_path", lambda *args: None)
    by_rows = call()
    np.testing.assert_array_equal(found.params["coef"] == 0, by_rows.params["coef"] == 0)
    scale = np.asarray(x.std(axis=0))
    a, b = (np.asarray(path.params["coef"]) * scale for path in (found, by_rows))
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())
    np.testing.assert_allclose(found.value, by_rows.value, rtol=1e-11)


def test_rows_whose_gradient_is_not_that_of_the_moments_are_left_to_others(monkeypatch):
    objective, init, grid = problem("gaussian")
    given = [lg.map_objective(objective.likelihood, {"coef": dist.Laplace(0.0, s)}) for s in grid], init
    assert quadratic_paths.quadratic_path(*given, data("gaussian"), None, "auto", 2e-12) is not None
    wrong = candidates.Candidates._rows
    monkeypatch.setattr(candidates.Candidates, "_rows", lambda self, index: (1 + 1e-9) * wrong(self, index))
    assert quadratic_paths.quadratic_path(*given, data("gaussian"), None, "auto", 2e-12) is None


@pytest.mark.parametrize("way", ["moments", pytest.param("rows", marks=pytest.mark.slow)])
def test_folds_are_paths_with_weights(way, request):
    if way == "rows":
        request.getfixturevalue("through_the_rows")
    objective, init, grid = problem("gaussian")
    x, y = data("gaussian")
    fold = np.arange(N) % 2
    found = lg.cross_validate(objective, init, x, y, grid=grid[::6], folds=fold)
    assert found.log_likelihood.shape == (2, 4) and np.all(np.asarray(found.status) == lg.Status.CONVERGED)
    fits = one_by_one(objective, init, x, y, grid[::6], (fold != 0).astype(float))
    for index, fit in enumerate(fits):
        held_out = np.asarray(objective.log_likelihood(fit.params, x, y))[fold == 0].sum()
        np.testing.assert_allclose(found.log_likelihood[0, index], held_out, rtol=1e-6)


def test_faulty_values_and_other_hyper_parameters_take_the_usual_way():
    objective, init, grid = problem("gaussian")
    x, y = data("gaussian")
    with pytest.raises(ValueError, match="must be finite"):
        lg.path(objective, init, x.at[3, 4].set(jnp.nan), y, grid=grid)
    assert sparse_paths.is_strength(objective, init, "prior.coef.scale")
    assert not sparse_paths.is_strength(objective, init, "prior.coef.loc")
    smooth = lg.map_objective(objective.likelihood, {"coef": dist.Normal(0.0, 1.0)})
    assert not sparse_paths.is_strength(smooth, init, "prior.coef.scale")
