"""Fits along a grid, across folds and from several starts: each equals the fit alone, with its certificate."""

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models
from lossgeo.folds import as_folds

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, D = 60, 8
GRID = np.geomspace(0.02, 2.0, 5)
LOGISTIC = lg.likelihood(models.logistic_regression())
INIT = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, D))
    return x, (rng.random(N) < 1 / (1 + np.exp(-2 * x[:, 0] + x[:, 1]))).astype(float)


@pytest.fixture(scope="module")
def objective():
    return lg.map_objective(LOGISTIC, {"coef": dist.Laplace(0.0, 1.0), "intercept": dist.Flat()})


def test_a_path_is_the_fits_one_by_one(objective, data):
    along = lg.path(objective, INIT, *data, grid=GRID)
    assert len(along) == len(GRID) and bool(np.all(along.converged))
    np.testing.assert_array_equal(along.grid, GRID)
    assert along.params["coef"].shape == (len(GRID), D) and np.all(along.edm <= 1e-10)
    # Strong to weak: coefficients enter.
    used = np.sum(np.asarray(along.params["coef"]) != 0, axis=1)
    assert used[0] == 0 and used[-1] > 4 and np.all(np.diff(used) >= 0)
    assert str(along).count("CONVERGED") == len(GRID) and f"{D} of {D + 1}" in str(along)
    for k in (1, 4):
        prior = {"coef": dist.Laplace(0.0, float(GRID[k])), "intercept": dist.Flat()}
        alone = lg.fit(lg.map_objective(LOGISTIC, prior), INIT, *data)
        np.testing.assert_allclose(along.params["coef"][k], alone.params["coef"], atol=1e-7)
        np.testing.assert_allclose(along.value[k], alone.value, rtol=1e-12)


def test_all_values_of_a_grid_share_one_compilation(data):
    traces = []

    def model(params, x):
        traces.append(None)
        return dist.Bernoulli(logits=x @ params["coef"] + params["intercept"])

    objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()})
    lg.path(objective, INIT, *data, grid=[1.0])
    before = len(traces)
    lg.path(objective, INIT, *data, grid=[0.3, 0.5, 0.9])
    assert len(traces) == before


def test_a_grid_over_strengths_of_each_coefficient(data):
    objective = lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, jnp.ones(D)), "intercept": dist.Flat()})
    grid = np.array([np.full(D, 0.5), np.linspace(0.1, 1.0, D)])
    along = lg.path(objective, INIT, *data, grid=grid)
    prior = {"coef": dist.Normal(0.0, jnp.asarray(grid[1])), "intercept": dist.Flat()}
    alone = lg.fit(lg.map_objective(LOGISTIC, prior), INIT, *data)
    np.testing.assert_allclose(along.params["coef"][1], alone.params["coef"], atol=1e-7)


def test_cross_validation_holds_out_what_it_scores(objective, data):
    x, y = data
    fold = np.arange(N) % 3
    grid = GRID[[1, 3]]
    found = lg.cross_validate(objective, INIT, x, y, grid=grid, folds=fold)
    assert found.log_likelihood.shape == (3, 2) and not np.any(found.status)
    # One fold and value by hand: fitted to the other rows only, not by weights.
    prior = {"coef": dist.Laplace(0.0, float(grid[1])), "intercept": dist.Flat()}
    by_hand = lg.fit(lg.map_objective(LOGISTIC, prior), INIT, x[fold != 2], y[fold != 2])
    held_out = by_hand.objective.log_likelihood(by_hand.params, x[fold == 2], y[fold == 2])
    np.testing.assert_allclose(found.log_likelihood[2, 1], jnp.sum(held_out), rtol=1e-6)
    np.testing.assert_allclose(found.mean, np.sum(found.log_likelihood, axis=0) / N)
    per_row = np.asarray(found.log_likelihood) / 20.0
    np.testing.assert_allclose(found.standard_error, per_row.std(axis=0, ddof=1) / np.sqrt(3))
    assert found.best == grid[found.best_index] and found.mean[found.best_index] == np.max(found.mean)
    assert len(found) == 2 and "3 of 3  best" in str(found)


def test_contiguous_folds_cover_every_observation_once():
    for n, k in ((10, 3), (7, 7), (100, 5)):
        sizes = np.bincount(as_folds(k, n), minlength=k)
        assert sizes.sum() == n and sizes.max() - sizes.min() <= 1 and np.all(np.diff(as_folds(k, n)) >= 0)


def test_folds_of_groups_of_strata_and_of_indices():
    rng = np.random.default_rng(0)
    group, label = rng.integers(0, 17, 100), rng.integers(0, 3, 100)
    fold = as_folds(4, 100, groups=group)
    assert all(len(np.unique(fold[group == g])) == 1 for g in range(17))
    sizes = np.bincount(fold)
    assert len(sizes) == 4 and sizes.max() - sizes.min() <= np.bincount(group).min() + 5
    fold = as_folds(4, 100, stratify=label)
    counts = np.stack([np.bincount(fold[label == c], minlength=4) for c in range(3)])
    assert np.all(counts.max(axis=1) - counts.min(axis=1) <= 1) and np.all(np.bincount(fold) == 25)
    held_out = [np.flatnonzero(fold == f) for f in range(4)]
    np.testing.assert_array_equal(as_folds(held_out, 100), fold)
    pairs = [(np.setdiff1d(np.arange(100), out), out) for out in held_out]
    np.testing.assert_array_equal(as_folds(pairs, 100), fold)
    np.testing.assert_array_equal(as_folds(list(fold), 100), fold)


def test_the_rule_of_one_standard_error():
    mean = np.array([-3.0, -2.05, -1.95, -2.0, -4.0])
    spread = np.array([[0.1], [-0.1], [0.0]])  # a standard error of 0.058
    terms = 20.0 * (mean + spread)
    found = lg.paths.CrossValidation(
        jnp.arange(5.0), jnp.asarray(terms), jnp.repeat(jnp.arange(3), 20), jnp.zeros((3, 5), int), jnp.zeros((3, 5))
    )
    assert found.best_index == 2 and found.one_standard_error_index == 2
    wider = lg.paths.CrossValidation(
        found.grid, jnp.asarray(20.0 * (mean + 2 * spread)), found.fold, found.status, found.edm
    )
    assert wider.one_standard_error_index == 1 and wider.one_standard_error == 1.0


def test_the_best_of_several_starts():
    def two_wells(params):
        return -((params["x"] ** 2 - 1.0) ** 2) - 0.3 * params["x"]

    objective = lg.map_objective(two_wells)
    best, all_ = lg.multistart(objective, [{"x": jnp.asarray(v)} for v in (1.2, -1.2, 0.9)])
    # F = (x^2 - 1)^2 + 0.3 x: the lower well is on the left.
    root = np.roots([4.0, 0.0, -4.0, 0.3]).real.min()
    np.testing.assert_allclose(best.params["x"], root, rtol=1e-8)
    np.testing.assert_allclose(best.value, np.min(all_.value))
    assert all_.params["x"].shape == (3,) and not np.any(all_.status)
    assert all_.value[0] > all_.value[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"over": "prior.coef.sd"}, r"names no hyper-parameter.*'prior.coef.scale'"),
        ({"grid": []}, "grid must hold at least one value"),
        ({"grid": [0.1, np.nan]}, "all finite"),
        ({"grid": np.ones((2, 3))}, r"shape \(3,\)"),
    ],
)
def test_faults_of_a_path_are_named(objective, data, change, message):
    with pytest.raises(ValueError, match=message):
        lg.path(objective, INIT, *data, **({"grid": GRID} | change))


@pytest.mark.parametrize(
    ("folds", "message"),
    [(1, "between 2 and"), (N + 1, "between 2 and"), (np.zeros(3, int), "of shape"), (np.full(N, 2), "without gaps")],
)
def test_faults_of_folds_are_named(objective, data, folds, message):
    with pytest.raises(ValueError, match=message):
        lg.cross_validate(objective, INIT, *data, grid=GRID, folds=folds)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 3, "groups": np.zeros(N - 1)}, r"groups must have shape \(60,\)"),
        ({"folds": 3, "groups": np.arange(N) % 2}, "2 groups, fewer than the 3 folds"),
        ({"folds": 3, "groups": np.arange(N), "stratify": np.arange(N)}, "both are given"),
        ({"folds": np.arange(N) % 3, "stratify": np.arange(N)}, "the folds themselves are given"),
        ({"folds": [np.arange(30), np.arange(29, N)]}, "0 are never held out and 1 more than once"),
        ({"folds": [np.arange(30), np.arange(30, N + 1)]}, r"folds\[1\] must list"),
        ({"folds": [(np.arange(30), np.arange(31, N))]}, r"folds\[0\] must be fitted to all"),
    ],
)
def test_faults_of_labels_and_indices_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        as_folds(n=N, **given)


def test_other_faults():
    objective = lg.map_objective(lambda params: -(params["x"] ** 2))
    with pytest.raises(ValueError, match="at least one start"):
        lg.multistart(objective, [])
    with pytest.raises(TypeError, match="is one dict"):
        lg.multistart(objective, {"x": jnp.asarray(0.0)})
    with pytest.raises(ValueError, match=r"starts\[1\]"):
        lg.multistart(objective, [{"x": jnp.asarray(0.0)}, {"x": jnp.zeros(2)}])
    with pytest.raises(ValueError, match="one log-likelihood term for each observation"):
        lg.cross_validate(
            lg.map_objective(lambda params, y: -jnp.sum((y - params["x"]) ** 2), {"x": dist.Normal(0.0, 1.0)}),
            {"x": jnp.asarray(0.0)},
            jnp.ones(4),
            grid=[1.0],
            over="prior.x.scale",
        )
