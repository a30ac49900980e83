"""Interior points and vertices against linear programs and the conditions of optimality, and optima that are many."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from lossgeo.solvers import InteriorPoint, Pieces, Problem, Status, run, vertex_near

pytestmark = pytest.mark.usefixtures("fast_compilation")

M, P = 40, 3
RNG = np.random.default_rng(3)


def pieces_of(problem):
    return problem


def solve(pieces):
    problem = Problem(None, None, pieces, jnp.zeros_like(pieces.center), pieces=pieces_of)
    solver = InteriorPoint()
    tol = jnp.asarray(1e-12, pieces.rows.dtype)
    state = run(solver, problem, solver.init(problem, tol), tol, solver.max_steps)
    return state.status, vertex_near(state)


solve_one = jax.jit(solve)


def random_pieces(seed, quadratic=0.0, rounded=False, weights=None, rank=P):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(M, P))
    rows[:, 0] = 1.0
    offset = rows @ [0.5, -1.0, 2.0] + rng.standard_t(2, size=M)
    if rounded:
        rows, offset = np.round(rows), np.round(offset)
    rows[:, rank:] = rows[:, rank - 1 : rank]
    weights = rng.uniform(0.2, 2.0, size=M) if weights is None else weights
    level = rng.uniform(0.2, 0.8)
    strength = quadratic * np.array([0.0, 1.0, 2.0])
    parts = (rows, offset, -level * weights, (1 - level) * weights, strength, np.array([0.0, 0.3, -0.2]))
    return Pieces(*map(jnp.asarray, parts))


def linear_program(pieces):
    """The least value by another method."""
    rows, offset, low, high = (np.asarray(v) for v in (pieces.rows, pieces.offset, pieces.low, pieces.high))
    m, p = rows.shape
    found = optimize.linprog(
        np.r_[np.zeros(p), high, -low],
        A_eq=np.c_[rows, -np.eye(m), np.eye(m)],
        b_eq=offset,
        bounds=[(None, None)] * p + [(0, None)] * (2 * m),
        method="highs",
    )
    return found.fun, found.x[:p]


CASES = {
    "smooth data": {},
    "other data": {"seed": 1},
    "ties in rows and residuals": {"rounded": True},
    "rows of weight 0": {"weights": np.repeat([0.0, 1.0], [10, 30])},
    "equal weights": {"weights": np.ones(M)},
    "weights over six decades": {"weights": 10.0 ** np.linspace(-3, 3, M)},
    "quadratic": {"quadratic": 3.0},
    "weak quadratic": {"quadratic": 1e-6},
    "quadratic and ties": {"quadratic": 1.0, "rounded": True},
}


@functools.cache
def solved(name):
    pieces = random_pieces(**{"seed": 0, **CASES[name]})
    return pieces, *solve_one(pieces)


@pytest.mark.parametrize("name", CASES)
def test_the_conditions_of_optimality_hold(name):
    pieces, status, vertex = solved(name)
    assert status == Status.CONVERGED
    low, high, t, y = pieces.low, pieces.high, vertex.residual, vertex.slopes
    busy = np.asarray(low < high)
    np.testing.assert_allclose(t[busy], pieces.residual(vertex.z)[busy], atol=1e-13)
    off = np.abs(t) > 1e-12
    assert np.all((low <= y) & (y <= high) | ~busy)
    # A slope is that of the side on which the residual lies.
    wall = np.where(np.asarray(t) > 0, high, low)
    np.testing.assert_allclose((y * busy)[off], wall[off], rtol=1e-12, atol=1e-15)
    balance = pieces.imbalance(vertex.z, y * busy)
    assert np.max(np.abs(balance)) <= 1e-12 * float(jnp.sum(high - low))
    assert 0 <= vertex.gap <= max(4 * vertex.noise, 1e-12)
    # The dual value is a bound for every point, here for the ends of random steps.
    steps = RNG.normal(size=(20, P)) * 10.0 ** RNG.uniform(-8, 0, size=(20, 1))
    values = np.array([pieces.value(vertex.z + s) for s in steps])
    assert np.all(values >= float(vertex.value - vertex.gap) * (1 - 1e-14))


@pytest.mark.parametrize("name", [name for name in CASES if "quadratic" not in name])
def test_linear_programs_have_the_value_and_the_vertex_of_highs(name):
    pieces, _, vertex = solved(name)
    value, z = linear_program(pieces)
    np.testing.assert_allclose(vertex.value, value, rtol=1e-13)
    np.testing.assert_allclose(vertex.z, z, rtol=1e-10, atol=1e-12)
    assert vertex.sharpness > 1e-6
    # As many rows at rest as there are coordinates, or more by ties.
    assert np.sum(np.abs(vertex.residual) < 1e-13) >= P


def test_an_optimum_that_is_an_interval_is_seen():
    y = np.sort(RNG.normal(size=M))
    rows, ones = np.zeros((M, P)), jnp.ones(M)
    rows[:, 0] = 1.0
    sample = Pieces(jnp.asarray(rows), jnp.asarray(y), -ones, ones, jnp.array([0.0, 1.0, 1.0]), jnp.zeros(P))
    _, median = solve_one(sample)
    assert y[M // 2 - 1] < float(median.z[0]) < y[M // 2]
    assert median.gap <= 1e-12 and median.sharpness <= median.resolution
    np.testing.assert_allclose(np.abs(median.direction), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(median.null_weight, [1, 0, 0], atol=1e-12)
    uneven = Pieces(sample.rows, sample.offset, 1.01 * sample.low, sample.high, sample.strength, sample.center)
    _, quantile = solve_one(uneven)
    # Points below an observation cost more, so that of both ends of the interval the upper one is left.
    np.testing.assert_allclose(quantile.z[0], y[M // 2], rtol=1e-15)
    assert quantile.sharpness > 0.5


def test_columns_that_agree_cannot_be_told_apart():
    pieces = random_pieces(0, rank=2)
    status, vertex = solve_one(pieces)
    assert status == Status.CONVERGED and vertex.sharpness <= vertex.resolution
    np.testing.assert_allclose(vertex.null_weight, [0, 0.5, 0.5], atol=1e-10)
    np.testing.assert_allclose(vertex.value, linear_program(pieces)[0], rtol=1e-13)


def test_units_of_the_columns_cancel():
    pieces = random_pieces(0)
    units = jnp.array([1e4, 1.0, 1e-6])
    other = Pieces(pieces.rows * units[None, :], pieces.offset, pieces.low, pieces.high, pieces.strength, pieces.center)
    np.testing.assert_allclose(solve_one(other)[1].z * units, solve_one(pieces)[1].z, rtol=1e-12)


def test_residuals_that_all_vanish():
    pieces = random_pieces(0)
    z = jnp.array([1.0, -2.0, 0.5])
    exact = Pieces(pieces.rows, pieces.rows @ z, pieces.low, pieces.high, pieces.strength, pieces.center)
    _, vertex = solve_one(exact)
    np.testing.assert_allclose(vertex.z, z, rtol=1e-14)
    assert vertex.value <= 1e-13 and vertex.gap <= 4 * vertex.noise


def test_not_finite_data_are_said_to_be():
    pieces = random_pieces(0)
    rows = pieces.rows.at[3, 1].set(jnp.nan)
    status, _ = solve_one(Pieces(rows, pieces.offset, pieces.low, pieces.high, pieces.strength, pieces.center))
    assert status == Status.NOT_FINITE


@pytest.mark.slow
def test_single_precision_and_many_at_once():
    pieces = [random_pieces(seed, quadratic=float(seed % 2)) for seed in range(4)]
    stacked = jax.tree.map(lambda *v: jnp.stack(v), *pieces)
    _, together = jax.jit(jax.vmap(solve))(stacked)
    for k, one in enumerate(pieces):
        np.testing.assert_allclose(together.z[k], solve_one(one)[1].z, rtol=1e-11, atol=1e-13)
    status, single = jax.jit(jax.vmap(solve))(jax.tree.map(lambda v: v.astype(jnp.float32), stacked))
    assert single.z.dtype == jnp.float32 and np.all(np.isin(status, [Status.CONVERGED, Status.STALLED]))
    np.testing.assert_allclose(single.z, together.z, atol=2e-5)
    assert np.all(single.gap <= 4 * single.noise) and np.all(single.noise < 1e-4)
