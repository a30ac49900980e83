"""Optima on faces of the simplex: weights that are exactly 0, certified by a gap and the multipliers of the edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import geometry, solvers, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(3)
K = 9
Y = np.where(RNG.random(150) < 0.4, -1.5, 2.0) + RNG.normal(size=150)
GRID = np.linspace(-4.0, 4.0, K)
DENSITIES = np.exp(-0.5 * np.square(Y[:, None] - GRID)) / np.sqrt(2 * np.pi)
START = {"weights": jnp.full(K, 1 / K)}


def mixing(p, densities):
    return jnp.log(densities @ p["weights"])


OBJECTIVE = lg.map_objective(mixing, supports={"weights": supports.simplex})


@functools.cache
def mixture():
    return lg.fit(OBJECTIVE, START, DENSITIES, solver=solvers.MirrorDescent())


def test_the_nearest_points_of_simplices_are_the_projections():
    v = 0.4 * np.random.default_rng(1).normal(size=(3, 7))

    def distance(u, v):
        return 0.5 * jnp.sum(jnp.square(u[0] - v))

    problem = solvers.Problem(distance, None, jnp.asarray(v), [jnp.full((3, 7), 1 / 7)])
    descent, newton, tol = solvers.MirrorDescent(), solvers.SimplexNewton(), jnp.asarray(1e-12)

    @jax.jit
    def minimize(problem):
        state = solvers.run(descent, problem, descent.init(problem, tol), tol, 100)
        inside = descent.params(problem, state)
        problem = solvers.Problem(distance, None, problem.args, inside)
        return state, inside, solvers.run(newton, problem, newton.init(problem, tol), tol, 20)

    first, inside, last = minimize(problem)
    want = np.asarray(geometry.projection_simplex(v))
    # On the way the gap bounds the excess.
    assert np.all(np.asarray(inside[0]) > 0)
    assert float(first.value - distance([want], v)) <= float(first.edm)
    found = np.asarray(last.z).reshape(3, 7)
    np.testing.assert_allclose(found, want, atol=1e-14)
    np.testing.assert_array_equal(found == 0, want == 0)
    assert (want == 0).any() and last.status == lg.Status.CONVERGED and last.edm <= 1e-12


def test_mixing_weights_have_the_likelihood_of_em_and_zeros():
    fit = mixture()
    weights = np.asarray(fit.params["weights"])
    assert fit.status == lg.Status.CONVERGED and 0 <= fit.edm < 1e-11
    assert np.sum(weights) == pytest.approx(1.0, abs=1e-14)
    # The general equivalence theorem (Lindsay 1983): mean ratios are at most 1, and 1 where there is weight.
    ratios = np.mean(DENSITIES / (DENSITIES @ weights)[:, None], axis=0)
    np.testing.assert_allclose(ratios[weights > 0], 1.0, atol=1e-12)
    assert np.all(ratios[weights == 0] < 1.0) and 2 <= np.sum(weights > 0) < K
    em = np.full(K, 1 / K)
    for _ in range(3000):
        em *= np.mean(DENSITIES / (DENSITIES @ em)[:, None], axis=0)
    assert -np.sum(np.log(DENSITIES @ em)) >= float(fit.value) - 1e-11
    np.testing.assert_allclose(em, weights, atol=1e-3)
    assert np.all(np.isnan(fit.standard_errors()["weights"]))
    assert "are 0" in fit.message and "weights[0]" in fit.message and "nan" in str(fit.summary())
    assert fit.criteria().num_params == np.sum(weights > 0) - 1


def test_given_weights_are_judged_on_their_face():
    fit = mixture()
    again = lg.Fit.from_params(OBJECTIVE, fit.params, DENSITIES)
    assert again.status == lg.Status.CONVERGED and "are 0" in again.message
    np.testing.assert_allclose(again.edm, fit.edm, atol=1e-12)
    assert again.criteria() == fit.criteria()
    # The best two weights are no optimum: the gap is above what is lost.
    two = np.where(np.argsort(np.argsort(fit.params["weights"])) >= K - 2, np.asarray(fit.params["weights"]), 0.0)
    off = lg.Fit.from_params(OBJECTIVE, {"weights": two / two.sum()}, DENSITIES)
    assert off.status == lg.Status.MAX_STEPS and float(off.edm) >= float(off.value - fit.value) > 0
    with pytest.raises(ValueError, match="'weights'.*must lie in its support"):
        lg.Fit.from_params(OBJECTIVE, {"weights": two}, DENSITIES)


@pytest.mark.slow
def test_the_default_route_names_the_edge_and_the_solver_that_reaches_it():
    fit = lg.fit(OBJECTIVE, START, DENSITIES, throw=False)
    assert fit.status == lg.Status.AT_BOUNDARY and "solvers.MirrorDescent" in fit.message
    assert np.all(np.isnan(fit.standard_errors()["weights"]))
    np.testing.assert_allclose(fit.params["weights"], mixture().params["weights"], atol=1e-6)


@pytest.mark.slow
def test_inside_the_simplex_it_is_a_fit_as_any_other():
    objective = lg.map_objective(mixing, prior={"weights": dist.Dirichlet(jnp.full(K, 3.0))})
    fits = [lg.fit(objective, START, DENSITIES, solver=s) for s in ("auto", solvers.MirrorDescent(geometry.burg))]
    np.testing.assert_allclose(fits[0].params["weights"], fits[1].params["weights"], atol=1e-9)
    errors = [fit.standard_errors()["weights"] for fit in fits]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-6)
    assert np.all(np.isfinite(errors[0]))


@pytest.mark.slow
def test_derivatives_on_a_face_are_those_of_the_weights_that_are_left():
    @jax.jit
    def weights(densities, counts):
        solution = lg.solve(OBJECTIVE, START, densities, weights=counts, solver=solvers.MirrorDescent())
        return solution.params["weights"], solution.value

    rng, ones = np.random.default_rng(5), np.ones(len(Y))
    direction = DENSITIES * rng.normal(size=DENSITIES.shape), rng.normal(size=len(Y))
    tangents = jax.jvp(weights, (jnp.asarray(DENSITIES), ones), direction)[1]
    h = 1e-5
    ahead, behind = (weights(DENSITIES + s * direction[0], ones + s * direction[1]) for s in (h, -h))
    np.testing.assert_array_equal(ahead[0] == 0, behind[0] == 0)
    for slope, a, b in zip(tangents, ahead, behind, strict=True):
        np.testing.assert_allclose(slope, (a - b) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(tangents[0][np.asarray(mixture().params["weights"]) == 0], 0.0)


@pytest.mark.slow
def test_the_optimal_design_for_a_parabola_has_three_points():
    # Kiefer and Wolfowitz (1960): the D-optimal design on [-1, 1] puts a third on each of -1, 0 and 1.
    t = np.linspace(-1.0, 1.0, 21)
    features = np.stack([np.ones(21), t, t**2], axis=1)

    def log_det(p, features):
        return jnp.linalg.slogdet(features.T @ (p["design"][:, None] * features))[1]

    objective = lg.map_objective(log_det, supports={"design": supports.simplex})
    init = {"design": jnp.asarray(np.linspace(1.0, 2.0, 21) / np.linspace(1.0, 2.0, 21).sum())}
    fit = lg.fit(objective, init, features, solver=solvers.MirrorDescent(geometry.burg))
    design = np.asarray(fit.params["design"])
    np.testing.assert_array_equal(np.flatnonzero(design), [0, 10, 20])
    np.testing.assert_allclose(design[[0, 10, 20]], 1 / 3, atol=1e-12)
    assert fit.edm < 1e-12


@pytest.mark.slow
def test_weights_that_can_be_exchanged_are_not_identified():
    twice = np.concatenate([DENSITIES, DENSITIES], axis=1)
    init = {"weights": jnp.full(2 * K, 1 / (2 * K))}
    fit = lg.fit(OBJECTIVE, init, twice, solver=solvers.MirrorDescent(), throw=False)
    assert fit.status == lg.Status.UNIDENTIFIED and "Several optima" in fit.message
    assert float(fit.value) == pytest.approx(float(mixture().value), rel=1e-13)


def test_what_it_is_not_made_for_is_refused():
    def shifted(p, densities):
        return jnp.log(densities @ p["weights"]) + p["shift"]

    free = lg.map_objective(shifted, supports={"weights": supports.simplex, "shift": supports.real})
    with pytest.raises(ValueError, match="'shift' is not"):
        lg.fit(free, START | {"shift": 0.0}, DENSITIES, solver=solvers.MirrorDescent())
    edge = {"weights": jnp.zeros(K).at[0].set(1.0), "shift": 0.0}
    with pytest.raises(ValueError, match="'shift' is not"):
        lg.Fit.from_params(free, edge, DENSITIES)
    with pytest.raises(ValueError, match="separable potential"):
        lg.fit(OBJECTIVE, START, DENSITIES, solver=solvers.MirrorDescent(geometry.half_squared_norm))
