"""Smooth paths and cross-validations, all folds side by side, equal the fits one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import grids, models
from lossgeo.grid_lanes import GridLanes, held_out_rows
from lossgeo.grids import _foretold

pytestmark = pytest.mark.usefixtures("fast_compilation")
N, D = 60, 4
GRID = np.geomspace(0.02, 20.0, 6)
INIT = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}
POISSON = lg.likelihood(models.poisson_regression())
LOGISTIC = lg.likelihood(models.logistic_regression())


def with_scale(likelihood, scale):
    return lg.map_objective(likelihood, {"coef": dist.Normal(0.0, scale), "intercept": dist.Flat()})


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N, D))
    return x, rng.poisson(np.exp(0.3 + x[:, 0] - 0.5 * x[:, 1])).astype(float)


def refuse(*args, **kwargs):
    raise AssertionError("the loop was not needed")


def test_a_weighted_path_is_the_fits_one_by_one(data, monkeypatch):
    weights = np.random.default_rng(1).uniform(0.2, 2.0, N)
    alone = [lg.fit(with_scale(POISSON, s), INIT, *data, weights=weights) for s in GRID]
    monkeypatch.setattr("lossgeo.paths._fit", refuse)
    along = lg.path(with_scale(POISSON, 1.0), INIT, *data, grid=GRID, weights=weights)
    for k, fit in enumerate(alone):
        errors = fit.standard_errors()["coef"]
        np.testing.assert_array_less(np.abs(along.params["coef"][k] - fit.params["coef"]) / errors, 2e-6)
        np.testing.assert_allclose(along.value[k], fit.value, rtol=1e-13)
    assert not np.any(along.status) and float(np.max(along.edm)) <= 1.82e-12
    # Along a path the Hessian of the rows is kept for many steps, and one step more or less does not matter.
    assert np.all(along.num_steps >= 1) and np.all(along.num_steps <= 12)


def test_folds_side_by_side_are_fits_to_the_other_rows(data, monkeypatch):
    fold = np.random.default_rng(2).permutation(np.arange(N) % 4)
    x, y = data
    expected = np.zeros((4, 2))
    for k in range(4):
        for j, s in enumerate(GRID[[1, 4]]):
            weights = np.where(fold == k, 0.0, 1.0)
            fit = lg.fit(with_scale(POISSON, s), INIT, x, y, weights=weights)
            expected[k, j] = np.sum(np.asarray(fit.objective.log_likelihood(fit.params, x, y))[fold == k])
    monkeypatch.setattr("lossgeo.paths._fit", refuse)
    found = lg.cross_validate(with_scale(POISSON, 1.0), INIT, x, y, grid=GRID[[1, 4]], folds=fold)
    # The certificates leave sqrt(2 edm) = 2e-6 standard errors, each worth some nats of what is held out.
    np.testing.assert_allclose(found.log_likelihood, expected, atol=1e-5)
    assert not np.any(found.status) and found.edm.shape == (4, 2)


def test_an_optimum_at_infinity_is_left_to_the_loop_and_named(data):
    x = data[0]
    y = (x[:, 0] > 0).astype(float)  # separated by a coefficient that has as good as no prior
    objective = lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, jnp.ones(D)), "intercept": dist.Flat()})
    grid = np.array([[1e12, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    along = lg.path(objective, INIT, x, y, grid=grid)
    assert along.status[0] == lg.Status.SEPARATED and along.status[1] == lg.Status.CONVERGED


def test_other_problems_are_not_for_the_grid(data):
    x, y = (jnp.asarray(v) for v in data)

    def opaque(params, x, y):
        return -jnp.square(y - jnp.sort(x @ params["coef"]) - params["intercept"])

    for objective, solver in (
        (lg.map_objective(POISSON, {"coef": dist.Laplace(0.0, 1.0), "intercept": dist.Flat()}), "auto"),
        (lg.map_objective(opaque, {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()}), "auto"),
        (with_scale(POISSON, 1.0), lg.solvers.LBFGS()),
    ):
        assert grids.solve_grid([objective], INIT, (x, y), None, solver, None) is None


def test_faulty_values_are_named_before_any_fit(data):
    x, y = data
    with pytest.raises(ValueError, match="the target must lie in the support.*index 3"):
        lg.path(with_scale(POISSON, 1.0), INIT, x, np.where(np.arange(N) == 3, -1.0, y), grid=GRID)


def test_all_values_share_one_compilation(data):
    with jax.log_compiles(False):
        lg.path(with_scale(POISSON, 1.0), INIT, *data, grid=GRID[:1])
        size = grids._solve_value._cache_size()
        lg.path(with_scale(POISSON, 1.0), INIT, *data, grid=GRID)
        assert grids._solve_value._cache_size() == size


def test_hessians_of_folds_at_one_point_are_sums_of_those_of_the_rows_held_out():
    rng = np.random.default_rng(3)
    n, fold = 41, rng.permutation(41) % 4
    x, y, base = rng.normal(size=(n, 3)), (rng.random(n) < 0.5) * 1.0, rng.uniform(0.5, 2.0, n)
    out = fold[None, :] == np.arange(4)[:, None]
    fitted, held_out = np.where(out, 0.0, base), np.where(out, base, 0.0)
    rows = held_out_rows(fold)
    assert rows.shape == (4, 11) and sorted(rows[rows < n]) == list(range(n))
    objective = lg.map_objective(lg.likelihood(models.glm(dist.Bernoulli, intercept=False)))

    @jax.jit
    def both(z, x, y, fitted, held_out, rows):
        lanes = GridLanes(objective, {"coef": z}, (x, y), fitted, lambda z: [z], held_out, rows)
        return lanes.shared_hessian(jnp.tile(z, (4, 1))), lanes.rows_hessian(jnp.tile(z, (4, 1)))

    shared, own = both(jnp.asarray([0.3, -1.0, 0.2]), x, y, fitted, held_out, rows)
    np.testing.assert_allclose(shared, own, rtol=1e-12, atol=1e-13)
    assert held_out_rows(np.repeat([0, 1], [30, 11])) is not None
    assert held_out_rows(np.repeat([0, 1], [35, 6])) is None


def test_the_next_solution_is_foretold_by_the_curve_that_would_have_foretold_the_last():
    t = np.arange(4.0)[::-1, None, None]
    parabola, jump = 1.0 + t**2, np.where(t == 3, 50.0, 1.0)
    past = jnp.asarray(np.concatenate([np.tile(parabola, (1, 1, 2)), np.tile(jump, (1, 1, 2))], axis=1))
    found = _foretold(past, jnp.tile(jnp.eye(2), (2, 1, 1)))
    np.testing.assert_allclose(found, [[17.0, 17.0], [50.0, 50.0]], rtol=1e-14)
    alone = _foretold(past.at[1:].set(jnp.nan), jnp.tile(jnp.eye(2), (2, 1, 1)))
    np.testing.assert_array_equal(alone, past[0])
