"""Active sets solve kinked quadratics exactly: the conditions of Karush, Kuhn and Tucker, whatever came before."""

import numpy as np
import pytest

from lossgeo.solvers.active_set import ActiveSet, Undetermined

EPS = np.finfo(float).eps


def problem(seed, n, p, rho=0.0, scales=0.0, free=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) + rho * rng.standard_normal((n, 1))
    x *= 10.0 ** rng.uniform(-scales, scales, p)
    y = (x / np.abs(x).max(axis=0)) @ (rng.standard_normal(p) * (rng.random(p) < 0.3)) * 3.0 + rng.standard_normal(n)
    hessian, gradient = x.T @ x, -x.T @ y
    active = ActiveSet(
        lambda index: hessian[index], gradient, np.diagonal(hessian).copy(), np.arange(free), np.linalg.norm(y),
        EPS * np.sqrt(n),
    )  # fmt: skip
    top = np.abs(gradient) / np.sqrt(np.diagonal(hessian))
    unit = np.sqrt(np.diagonal(hessian)) * np.max(top) * (np.arange(p) >= free)
    return active, hessian, gradient, unit


def value(hessian, gradient, kink, z):
    return gradient @ z + 0.5 * z @ hessian @ z + kink @ np.abs(z)


def assert_optimal(active, hessian, gradient, kink):
    slope, unit = gradient + hessian @ active.x, np.sqrt(np.diagonal(hessian))
    off = active.x != 0
    np.testing.assert_array_equal(np.sort(active.active), np.flatnonzero(off | (kink == 0)))
    bound = 32 * active.noise * unit
    assert np.all(np.abs(slope + kink * np.sign(active.x))[off] <= bound[off])
    assert np.all((np.abs(slope) - kink)[~off] <= bound[~off])
    np.testing.assert_allclose(active.gradient, slope, atol=np.max(bound))


@pytest.mark.parametrize(("n", "p", "rho", "scales", "free"), [
    (40, 10, 0.0, 0.0, 0), (60, 50, 3.0, 0.0, 2), (60, 40, 0.5, 6.0, 0), (200, 120, 1.0, 2.0, 1), (30, 60, 0.3, 0.0, 1),
])  # fmt: skip
def test_each_strength_ends_where_the_conditions_of_optimality_hold(n, p, rho, scales, free):
    active, hessian, gradient, unit = problem(n + p, n, p, rho, scales, free)
    most = 0
    # Down in small steps, far down at once, and up again.
    for level in (*np.geomspace(1.1, 0.05, 15), 0.6, 0.03, 0.9, 0.3):
        kink = level * unit
        left = active.solve(kink, 1e-12)
        assert 0 <= left <= 1e-12
        assert_optimal(active, hessian, gradient, kink)
        most = max(most, len(active.active))
    assert most >= free + 5
    # Of a convex function: no random point is lower.
    rng = np.random.default_rng(0)
    here = value(hessian, gradient, kink, active.x)
    for size in (1e-3, 1e-1, 1.0):
        assert value(hessian, gradient, kink, active.x * (1.0 + size * rng.standard_normal(p))) >= here


def test_no_step_raises_the_function(monkeypatch):
    active, hessian, gradient, unit = problem(5, 50, 45, rho=2.0)
    values, step = [], ActiveSet._step

    def watched(self, kink):
        whole = step(self, kink)
        values.append(value(hessian, gradient, kink, self.x))
        return whole

    monkeypatch.setattr(ActiveSet, "_step", watched)
    for level in (0.5, 0.02, 0.005):
        values.clear()
        active.solve(level * unit, 1e-12)
        assert np.all(np.diff(values) <= 1e-9)


def test_the_expected_decrease_is_what_newtons_step_gains():
    active, hessian, gradient, unit = problem(7, 80, 20)
    kink = 0.2 * unit
    active.solve(kink, 1e-12)
    best = value(hessian, gradient, kink, active.x)
    active._move(active.x[active.active] * (1.0 + 1e-3))
    np.testing.assert_allclose(
        active.expected_decrease(kink), value(hessian, gradient, kink, active.x) - best, rtol=1e-6
    )
    active.round_to(np.float32)
    assert np.all(active.x == active.x.astype(np.float32))
    np.testing.assert_allclose(active.gradient, gradient + hessian @ active.x, rtol=1e-9, atol=1e-9)


def test_a_damaged_inverse_is_made_again():
    active, hessian, gradient, unit = problem(8, 80, 30)
    active.solve(0.3 * unit, 1e-12)
    k = len(active.active)
    active._inverse[:k, :k] *= 1.0 + 0.05 * np.random.default_rng(1).standard_normal((k, k))
    active.solve(0.1 * unit, 1e-12)
    assert_optimal(active, hessian, gradient, 0.1 * unit)
    index = active.active
    np.testing.assert_allclose(active._inverse[: len(index), : len(index)] @ hessian[np.ix_(index, index)],
                               np.eye(len(index)), atol=1e-8)  # fmt: skip


def test_further_coordinates_may_come_later():
    whole, hessian, gradient, unit = problem(9, 60, 40, rho=1.0)
    half = ActiveSet(lambda index: hessian[index][:, : len(half.x)], gradient[:20], np.diagonal(hessian)[:20].copy(),
                     np.arange(0), 1.0, EPS)  # fmt: skip
    half.solve(0.2 * unit[:20], 1e-12)
    half.widen(gradient[20:], np.diagonal(hessian)[20:].copy(), hessian[np.ix_(half.active, np.arange(20, 40))])
    half.solve(0.1 * unit, 1e-12)
    whole.solve(0.1 * unit, 1e-12)
    np.testing.assert_allclose(half.x, whole.x, atol=1e-12 * np.abs(whole.x).max())


def test_what_is_not_determined_is_said():
    # Of two equal columns one is in use; a column of zeros stays out.
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 6))
    x[:, 3], x[:, 4] = x[:, 2], 0.0
    y = x[:, 2] * 3.0 + rng.standard_normal(30)
    hessian, gradient = x.T @ x, -x.T @ y
    diagonal = np.diagonal(hessian).copy()
    active = ActiveSet(lambda index: hessian[index], gradient, diagonal, np.arange(0), 10.0, EPS)
    active.solve(np.full(6, 1.0), 1e-12)
    assert np.sum(active.x[2:4] != 0) == 1 and active.x[4] == 0
    for free in ([2, 3], [4]):
        with pytest.raises(Undetermined):
            ActiveSet(lambda index: hessian[index], gradient, diagonal, np.asarray(free), 10.0, EPS)
    # More coordinates in use than rows.
    wide, _, _, unit = problem(3, 10, 40)
    with pytest.raises(Undetermined):
        wide.solve(1e-13 * unit, 1e-12)
