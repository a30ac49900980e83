"""Senses of being the same are measured by solving both problems, and fail where preprocessing makes another model."""

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 30, 3
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, D)) * np.array([1.0, 4.0, 0.2]) + np.array([0.0, 2.0, 1.0])
Y = X @ np.array([1.0, -0.3, 2.0]) + 3.0 + 0.7 * RNG.normal(size=N)
INIT = {"coef": jnp.zeros(D), "intercept": jnp.zeros(())}


def ridge(x, penalty):
    """Coefficients, intercept last, of RSS + w' diag(penalty) w: normal equations."""
    rows = np.column_stack([x, np.ones(len(x))])
    return np.linalg.solve(rows.T @ rows + np.diag(penalty), rows.T @ Y)


def test_levels_of_a_declared_ridge():
    def model(params, x):
        return dist.Normal(x @ params["coef"] + params["intercept"], 1.3)

    prior = {"coef": dist.Normal(0.0, 0.6), "intercept": dist.Flat()}
    card = lg.explain(lg.map_objective(lg.likelihood(model), prior), INIT, X, Y, solve=True)
    levels = {level.name: level for level in card.levels}
    assert card.route == "structural" and levels["values alone tell the same"].holds
    assert levels["values alone tell the same"].error < 1e-9
    for name in ("value-affine", "gradient-collinear", "same minimizer", "same path", "same with centered columns"):
        assert levels[name].holds is True and levels[name].error < 1e-5, name
    # The other two are as wrong as two closed-form ridge regressions are.
    strength = (1.3 / 0.6) ** 2
    posed = ridge(X, [strength] * D + [0.0])[:D]
    scale = X.std(axis=0)
    standardized = ridge((X - X.mean(axis=0)) / scale, [strength] * D + [0.0])[:D] / scale
    penalized = ridge(X, [strength] * (D + 1))[:D]
    for name, other in (
        ("same with standardized columns", standardized),
        ("same with a penalized intercept", penalized),
    ):
        assert levels[name].holds is False
        assert levels[name].error == pytest.approx(np.max(np.abs(other - posed)) / np.max(np.abs(posed)), rel=1e-6)
    assert "NO, error" in str(card)


@pytest.mark.slow
def test_levels_of_a_bare_lasso_hold_at_its_zeros():
    def negative(params, x, y):
        r = y - x @ params["coef"] - params["intercept"]
        return 0.5 * jnp.sum(r * r) + 10.0 * jnp.sum(jnp.abs(params["coef"]))

    card = lg.explain(negative, INIT, X, Y, solve=True)
    levels = {level.name: level for level in card.levels}
    assert card.name == "lasso" and "exact zeros" in levels["same minimizer"].note
    assert all(levels[name].holds for name in ("same minimizer", "same path", "same with centered columns"))
    assert levels["same with standardized columns"].holds is False


def test_what_cannot_be_solved_says_why():
    def least_deviations(params, x, y):
        return jnp.sum(jnp.abs(y - x @ params["coef"] - params["intercept"])) + 0.5 * jnp.sum(params["coef"] ** 2)

    card = lg.explain(least_deviations, INIT, X, Y, solve=True)
    assert card.recognized and all(level.holds is None for level in card.levels[2:])
    assert "kink" in card.levels[2].note and "not checked" in str(card)


@pytest.mark.slow
def test_levels_of_a_callable_that_cannot_be_traced_are_measured_by_differences():
    def negative(p, x, y):
        return float(np.sum((y - x @ np.asarray(p)) ** 2) + 8.0 * np.sum(np.abs(np.asarray(p))))

    card = lg.explain(negative, np.zeros(D), X, Y, solve=True)
    levels = {level.name: level for level in card.levels}
    assert card.name == "lasso" and "differences" in levels["gradient-collinear"].note
    for name in ("gradient-collinear", "same minimizer", "same path"):
        assert levels[name].holds is True and levels[name].error < 1e-6, name
