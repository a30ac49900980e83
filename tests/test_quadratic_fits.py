"""Lassos of many columns are exact on active sets, by the conditions of optimality; bounds on the rest are bounds."""

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import driving
from lossgeo.solvers.active_set import Undetermined
from lossgeo.sparse import quadratic_fits
from lossgeo.sparse.candidates import Candidates, Screen, WideProblem

pytestmark = pytest.mark.usefixtures("fast_compilation")


def regression(seed, n, d, rho=0.5, used=8):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    x[:, 1:] += rho * x[:, :-1]
    y = x[:, rng.choice(d, used, replace=False)] @ rng.standard_normal(used) + 0.5 * rng.standard_normal(n)
    return x, y


def wide_problem(x, y, weights=None):
    n = len(y)
    w = np.ones(n) if weights is None else weights
    cross = w[None, :]  # an intercept
    return WideProblem(
        x, -w * y, w, cross, 0.5 * w @ y**2, np.array([-w @ y]), np.array([[w.sum()]]), -(w * y) @ x,
        np.linalg.norm(x, axis=0),
    )  # fmt: skip


def strengths(x, y, w, fraction):
    """A share of the least strengths that keep everything at 0, different for each column."""
    top = np.abs((w * (y - w @ y / w.sum())) @ x).max()
    return fraction * top * np.linspace(0.8, 1.3, x.shape[1])


CASES = {
    "more columns than rows": (60, 700, 0.1, 0.0),
    "more rows than columns": (900, 620, 0.02, 0.0),
    "almost as many in use as rows": (50, 600, 0.02, 0.0),
    "units": (80, 700, 0.1, 3.0),
}


@pytest.mark.parametrize("case", CASES)
def test_rounds_end_where_the_conditions_of_optimality_hold(case):
    n, d, fraction, scales = CASES[case]
    x, y = regression(1, n, d)
    w = np.where(np.arange(n) % 7 == 0, 0.0, 1.0 + np.arange(n) % 3)
    unit = 10.0 ** np.random.default_rng(3).uniform(-scales, scales, d)
    strength = strengths(x, y, w, fraction)
    reached = quadratic_fits._Rounds(wide_problem(x * unit, y, w), strength * unit, 1e-12).run()
    residual = w * (y - reached.v[0] - x @ (unit * reached.x))
    slope, off = residual @ x, reached.x != 0
    assert abs(residual.sum()) < 1e-9 * np.abs(residual).sum() and 0 < off.sum() < n
    np.testing.assert_allclose(slope[off], (strength * np.sign(reached.x))[off], rtol=1e-9)
    assert np.all(np.abs(slope) <= strength * (1 + 1e-9))
    # What stands for the derivatives that were not computed bounds them, and does not exceed the strengths.
    assert np.all(np.abs(slope * unit) <= np.abs(reached.sizes) * (1 + 1e-9) + 1e-9 * strength * unit)
    assert np.all(np.abs(reached.sizes) <= strength * unit * (1 + 1e-9))
    used = (x * np.sqrt(w)[:, None])[:, off] / np.sqrt(w @ np.square(x[:, off]))
    one = (np.sqrt(w) / np.sqrt(w.sum()))[:, None]
    least = np.linalg.svd(np.hstack([one, used]), compute_uv=False)[-1] ** 2
    assert least * (1 - 1e-6) <= reached.eigenvalue < 3 * least
    np.testing.assert_array_equal(reached.free, np.append(off, True))


def test_a_duplicated_column_is_left_to_others_or_stays_at_zero():
    x, y = regression(2, 60, 600)
    strength = strengths(x, y, np.ones(60), 0.1)
    alone = quadratic_fits._Rounds(wide_problem(x, y), strength, 1e-12).run()
    used = np.argmax(np.abs(alone.x))
    x[:, used - 1], strength[used - 1] = x[:, used], strength[used]
    try:
        both = quadratic_fits._Rounds(wide_problem(x, y), strength, 1e-12).run()
    except Undetermined:
        return
    assert both is None or both.x[used] * both.x[used - 1] == 0


def test_bounds_are_bounds_and_what_exceeds_its_strength_is_exact():
    x, y = regression(4, 200, 1500)
    problem, rng = wide_problem(x, y), np.random.default_rng(5)
    candidates, screen = Candidates(problem), Screen(problem)
    direction = rng.standard_normal((2, 200))
    share = np.linspace(0.0, 1.0, 20)[:, None]
    path = problem.slopes * (1 - share) + share * direction[0] + 0.01 * share * (1 - share) * direction[1]
    exact = np.abs(path @ x)
    for level in (0.2, 1.0, 3.0):
        strength = np.full_like(exact, level * np.sqrt(200))
        sizes = screen.sizes(path, strength, candidates.inside)
        assert np.all(exact <= sizes * (1 + 1e-12))
        beyond = sizes > strength
        np.testing.assert_allclose(sizes[beyond], exact[beyond], rtol=1e-10)
        np.testing.assert_array_equal(beyond, exact > strength)


def test_a_fit_of_many_columns_has_the_certificate_of_any_other(monkeypatch):
    x, y = regression(6, 90, 560)
    w, center = 1.0 + np.arange(90) % 2, 0.01
    strength = strengths(x, y, w, 0.1)
    prior = {"coef": dist.Laplace(center, jnp.asarray(1 / strength)), "intercept": dist.Normal(0.0, 2.0)}

    def model(params, x):
        return dist.Normal(x @ params["coef"] + params["intercept"], 1.0)

    objective = lg.map_objective(lg.likelihood(model), prior)
    init = {"coef": jnp.zeros(560), "intercept": jnp.asarray(0.3)}
    fit = lg.fit(objective, init, x, y, weights=w)
    assert fit.status == lg.Status.CONVERGED and "active sets are exact" in fit.plan.reason
    coef, intercept = np.asarray(fit.params["coef"]), float(fit.params["intercept"])
    residual, off = w * (y - x @ coef - intercept), coef != center
    np.testing.assert_allclose((residual @ x)[off], (strength * np.sign(coef - center))[off], rtol=1e-9)
    assert np.all(np.abs(residual @ x) <= strength * (1 + 1e-9)) and 0 < off.sum() < 60
    np.testing.assert_allclose(residual.sum(), intercept / 4.0, rtol=1e-8)
    terms = 0.5 * w @ (np.square(y - x @ coef - intercept) + np.log(2 * np.pi))
    penalty = np.sum(strength * np.abs(coef - center) - np.log(strength / 2))
    held = 0.5 * intercept**2 / 4.0 + 0.5 * np.log(2 * np.pi * 4.0)
    np.testing.assert_allclose(float(fit.value), terms + penalty + held, rtol=1e-12)
    assert float(fit.edm) < fit.tol and float(fit.kkt_residual) < 1e-8
    free = np.asarray(fit.solution.certificate.free)
    np.testing.assert_array_equal(free, np.append(off, True))
    # Ctrl-C ends it with the start, and says so.
    ended = []

    def end(posed, state, tol, status, plan):
        ended.append((status, np.asarray(state.x)))
        raise StopIteration

    def interrupt(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(quadratic_fits._Rounds, "run", interrupt)
        patch.setattr(driving, "conclude_working_set", end)
        lg.fit(objective, init, x, y, weights=w)
    assert ended[0][0] == lg.Status.INTERRUPTED and np.all(ended[0][1] == -center)
    # A tolerance below rounding error is not claimed to be met.
    assert quadratic_fits.fit_quadratic(fit.posed, 1e-40, "auto") is None


def test_moments_that_are_not_those_of_the_rows_are_noticed(monkeypatch):
    x, y = regression(7, 60, 600)
    problem, strength = wide_problem(x, y), strengths(x, y, np.ones(60), 0.1)
    assert quadratic_fits._Rounds(problem, strength, 1e-12).run() is not None
    right = Candidates._rows
    monkeypatch.setattr(Candidates, "_rows", lambda self, index: (1 + 1e-9) * right(self, index))
    assert quadratic_fits._Rounds(problem, strength, 1e-12).run() is None
