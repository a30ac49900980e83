"""Fits whose Hessian is singular to working precision and whose design is not, and those where both are."""

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models, solvers, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(0)
TIME = 3.0 * RNG.normal(size=60)
Y = 2.0 + 0.5 * TIME + RNG.normal(size=60)


def decay(params, t):
    return dist.Normal(params["a"] * params["b"] * jnp.exp(-params["k"] * t), params["scale"])


def test_a_column_with_a_large_origin_is_identified():
    years = 1e8 + TIME
    objective = lg.map_objective(lg.likelihood(models.linear_regression()))
    fit = lg.fit(objective, None, years[:, None], Y)
    assert fit.status == lg.Status.CONVERGED
    assert "singular to working precision" in str(fit.plan)
    # What float64 holds of the column is exact after the origin is taken off.
    design = np.stack([np.ones(60), years - 1e8], axis=1)
    intercept, slope = np.linalg.lstsq(design, Y)[0]
    np.testing.assert_allclose(fit.params["coef"][0], slope, rtol=1e-7)
    np.testing.assert_allclose(fit.params["intercept"], intercept - 1e8 * slope, rtol=1e-7)
    variance = np.mean((Y - design @ [intercept, slope]) ** 2) * np.linalg.inv(design.T @ design)[1, 1]
    np.testing.assert_allclose(fit.standard_errors()["coef"][0], np.sqrt(variance), rtol=1e-6)


def test_columns_that_say_the_same_are_not():
    objective = lg.map_objective(lg.likelihood(models.linear_regression()))
    fit = lg.fit(objective, None, np.stack([TIME, 2.0 * TIME], axis=1), Y, throw=False)
    assert fit.status == lg.Status.UNIDENTIFIED
    assert "coef[0]" in fit.message and "coef[1]" in fit.message


def test_a_nonlinear_model_goes_to_levenberg_marquardt_and_what_it_does_not_determine_is_named():
    t = np.linspace(0.0, 3.0, 40)
    y = 2.0 * np.exp(-t) + 0.1 * RNG.normal(size=40)
    prior = {"a": dist.Flat(), "b": dist.Flat(), "k": dist.Flat(), "scale": dist.Flat(supports.positive)}
    init = {"a": 1.0, "b": 1.0, "k": 0.5, "scale": 1.0}
    fit = lg.fit(lg.map_objective(lg.likelihood(decay), prior), init, t, y, throw=False)
    assert fit.plan.solver == solvers.LevenbergMarquardt()
    assert fit.status == lg.Status.UNIDENTIFIED
    assert "a, b cannot be told apart" in fit.message
    errors = fit.standard_errors()
    assert np.isnan(errors["a"]) and np.isnan(errors["b"])
    held = lg.fit(lg.map_objective(lg.likelihood(decay), prior | {"b": dist.Fixed(1.0)}), init, t, y)
    np.testing.assert_allclose(fit.params["a"] * fit.params["b"], held.params["a"], rtol=1e-6)
    np.testing.assert_allclose(errors["k"], held.standard_errors()["k"], rtol=1e-5)


def test_where_there_is_no_metric_the_solver_is_refused():
    def log_likelihood(params, t, y):
        return -jnp.square(y - params["a"] * t)

    objective = lg.map_objective(log_likelihood)
    with pytest.raises(ValueError, match="LevenbergMarquardt needs a metric"):
        lg.fit(objective, {"a": 1.0}, TIME, Y, solver=solvers.LevenbergMarquardt())
    kinked = lg.map_objective(
        lg.likelihood(models.poisson_regression(intercept=False)), {"coef": dist.Laplace(0.0, 1.0)}
    )
    with pytest.raises(ValueError, match="kink"):
        lg.fit(kinked, None, TIME[:, None], np.round(np.abs(Y)), solver=solvers.LevenbergMarquardt())
