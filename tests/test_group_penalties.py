"""Group penalties: whole groups are exactly 0, and the optimum is that of a slow and obvious reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import solvers

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, M, G = 60, 6, 3
RNG = np.random.default_rng(7)
X = RNG.normal(size=(N, M * G)) @ (np.eye(M * G) + 0.3 * RNG.normal(size=(M * G, M * G)))
TRUE = np.where(np.arange(M)[:, None] < 2, RNG.normal(size=(M, G)), 0.0)
Y = X @ TRUE.ravel() + 0.5 + RNG.normal(size=N)
LABELS = (np.arange(N) % 3 == 0).astype(float)
COUNTS = RNG.poisson(np.exp(0.2 * X[:, 0])).astype(float)
GROUPS = np.repeat(np.arange(M), G)


def reference(slopes, bound, design, strengths, groups, steps=100_000):
    """Accelerated proximal gradient with restarts in NumPy; the last column of the design has no penalty."""
    curvature = bound * np.linalg.norm(design, 2) ** 2
    w = np.zeros(design.shape[1])
    ahead, momentum = w, 1.0
    for _ in range(steps):
        moved = ahead - design.T @ slopes(design @ ahead) / curvature
        for k, strength in enumerate(strengths):
            block = np.flatnonzero(groups == k)
            norm = np.linalg.norm(moved[block])
            moved[block] *= max(0.0, 1.0 - strength / curvature / norm)
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        if (ahead - moved) @ (moved - w) > 0:
            ahead, following = moved, 1.0
        else:
            ahead = moved + (momentum - 1.0) / following * (moved - w)
        if np.max(np.abs(moved - w)) < 1e-15:
            return moved
        w, momentum = moved, following
    return w


def sigmoid(e):
    return 1.0 / (1.0 + np.exp(-e))


def normal(p, x):
    return dist.Normal(x @ p["coef"].reshape(-1) + p["intercept"], 1.0)


def bernoulli(p, x):
    return dist.Bernoulli(logits=x @ p["coef"].reshape(-1) + p["intercept"])


def rows_of(p, x, y):
    # Nothing that is linear in the parameters can be found here.
    terms = jax.lax.map(lambda row: jnp.logaddexp(0.0, row @ p["coef"].reshape(-1) + p["intercept"]), x)
    return y * (x @ p["coef"].reshape(-1) + p["intercept"]) - terms


LIKELIHOODS = {
    "normal": (normal, Y, lambda e: e - Y, 1.0, 25.0),
    "bernoulli": (bernoulli, LABELS, lambda e: sigmoid(e) - LABELS, 0.25, 5.0),
    "opaque": (rows_of, LABELS, lambda e: sigmoid(e) - LABELS, 0.25, 5.0),
}
PRIORS = {
    "rows": (lambda s: dist.GroupLaplace(jnp.zeros(G), 1 / s), (M, G), np.ones(M), GROUPS),
    "labels": (
        lambda s: dist.GroupedLaplace([7, 3, 3, 7, 3] + [9] * 13, 0.0, jnp.asarray([1.0, 2.0, 0.1]) / s),
        (M * G,),
        [1.0, 0.5, 10.0],
        np.array([1, 0, 0, 1, 0] + [2] * 13),
    ),
}
FAST = [("normal", "rows"), ("opaque", "rows")]
SLOW = [("normal", "labels"), ("bernoulli", "rows")]
CASES = FAST + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]


def objective(likelihood, prior, strength):
    return lg.map_objective(likelihood, prior={"coef": PRIORS[prior][0](strength), "intercept": dist.Flat()})


@functools.cache
def fitted(likelihood, prior, solver="auto"):
    fn, y, _, _, strength = LIKELIHOODS[likelihood]
    init = {"coef": jnp.zeros(PRIORS[prior][1]), "intercept": jnp.zeros(())}
    return lg.fit(objective(fn if fn is rows_of else lg.likelihood(fn), prior, strength), init, X, y, solver=solver)


@functools.cache
def solution_of(likelihood, prior):
    _, _, slopes, bound, strength = LIKELIHOODS[likelihood]
    _, _, weights, groups = PRIORS[prior]
    design = np.column_stack([X, np.ones(N)])
    return reference(slopes, bound, design, strength * np.asarray(weights), np.append(groups, -1))


@pytest.mark.parametrize(("likelihood", "prior"), CASES)
def test_the_optimum_is_that_of_proximal_gradient_and_groups_vanish_as_a_whole(likelihood, prior):
    fit, found = fitted(likelihood, prior), solution_of(likelihood, prior)
    coef = np.asarray(fit.params["coef"]).ravel()
    assert fit.status == lg.Status.CONVERGED and fit.edm < 1e-12
    np.testing.assert_allclose(np.append(coef, fit.params["intercept"]), found, atol=1e-9)
    groups = PRIORS[prior][3]
    zero = np.array([np.all(coef[groups == k] == 0) for k in groups])
    np.testing.assert_array_equal(coef == 0, zero)
    np.testing.assert_array_equal(zero, np.abs(found[:-1]) < 1e-9)
    assert zero.any()
    gap = fit.duality_gap
    assert np.isnan(gap) if likelihood == "opaque" else 0.0 <= gap < 1e-9
    # On the face there is a curvature, off it none.
    np.testing.assert_array_equal(np.isnan(np.asarray(fit.standard_errors()["coef"])).ravel(), zero)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [solvers.Newton(), solvers.NewtonCG(), solvers.ProximalGradient()])
def test_every_solver_of_kinks_knows_those_of_groups(solver):
    fit = fitted("bernoulli", "rows", solver)
    np.testing.assert_allclose(fit.params["coef"], fitted("bernoulli", "rows").params["coef"], atol=1e-8)
    np.testing.assert_array_equal(fit.params["coef"] == 0, fitted("bernoulli", "rows").params["coef"] == 0)


def test_a_group_that_has_just_left_its_kink_is_an_optimum_as_any_other():
    # Its norm is no parabola within a standard error, which must not count as a plateau.
    strength = np.max(np.linalg.norm((X.T @ (Y - Y.mean())).reshape(M, G), axis=1)) * (1 - 1e-6)
    init = {"coef": jnp.zeros((M, G)), "intercept": jnp.zeros(())}
    fit = lg.fit(objective(lg.likelihood(normal), "rows", strength), init, X, Y)
    norm = np.linalg.norm(fit.params["coef"], axis=1)
    assert np.sum(norm > 0) == 1 and 0 < norm.max() < 1e-3 and fit.status == lg.Status.CONVERGED


def test_the_duality_gap_bounds_the_excess():
    fit, rng = fitted("normal", "rows"), np.random.default_rng(2)
    for size in (1e-3, 0.1, 1.0):
        coef = jnp.asarray(fit.params["coef"]) * (1.0 + size * rng.normal(size=(M, G)))
        away = {"coef": coef.at[M - 1].set(size), "intercept": fit.params["intercept"] + size}
        excess = float(fit.objective(away, X, Y) - fit.value)
        gap = lg.Fit.from_params(fit.objective, away, X, Y).duality_gap
        # Of first order in the distance, where the excess is of second order.
        assert excess <= gap < 100.0 * (excess + np.sqrt(excess))


def test_the_certificate_sees_a_group_that_wants_to_leave_and_one_that_wants_to_vanish():
    fit = fitted("normal", "rows")
    coef = np.asarray(fit.params["coef"])
    kept = np.flatnonzero(np.any(coef != 0, axis=1))
    removed = {**fit.params, "coef": jnp.asarray(coef).at[kept[0]].set(0.0)}
    away = lg.Fit.from_params(fit.objective, removed, X, Y)
    excess = float(away.value - fit.value)
    assert away.status != lg.Status.CONVERGED
    # A lower bound on what is left to gain on that face, of the right size.
    assert 0.05 * excess < away.edm < 20 * excess
    zero = np.flatnonzero(np.all(coef == 0, axis=1))[0]
    added = {**fit.params, "coef": jnp.asarray(coef).at[zero].set(1e-3)}
    away = lg.Fit.from_params(fit.objective, added, X, Y)
    assert away.status != lg.Status.CONVERGED and away.edm > 0.1 * float(away.value - fit.value)


@pytest.mark.slow
def test_derivatives_of_the_solution_are_those_on_its_face():
    likelihood = lg.likelihood(bernoulli)
    init = {"coef": jnp.zeros((M, G)), "intercept": jnp.zeros(())}

    @jax.jit
    def coef(strength, x):
        return lg.solve(objective(likelihood, "rows", strength), init, x, LABELS).params["coef"]

    h, direction = 1e-5, np.random.default_rng(0).normal(size=X.shape)
    for strength, x in ((1.0, 0.0 * X), (0.0, direction)):

        def at(t, strength=strength, x=x):
            return coef(5.0 + t * strength, X + t * x)

        slope = jax.jvp(coef, (5.0, jnp.asarray(X)), (jnp.asarray(strength), jnp.asarray(x)))[1]
        np.testing.assert_allclose(slope, (at(h) - at(-h)) / (2 * h), atol=1e-7)
        assert np.any(slope != 0) and np.any(np.all(np.asarray(slope) == 0, axis=1))


@pytest.mark.slow
def test_units_of_a_group_do_not_matter():
    scale = 10.0 ** np.repeat([-3.0, 3.0, 0.0, 2.0, -2.0, 1.0], G)
    y, strength = LABELS, 5.0
    prior = {"coef": dist.GroupedLaplace(GROUPS, 0.0, scale[::G] / strength), "intercept": dist.Flat()}
    init = {"coef": jnp.zeros(M * G), "intercept": jnp.zeros(())}
    fit = lg.fit(lg.map_objective(lg.likelihood(bernoulli), prior=prior), init, X / scale, y)
    base = np.asarray(fitted("bernoulli", "rows").params["coef"]).ravel()
    np.testing.assert_allclose(np.asarray(fit.params["coef"]) / scale, base, atol=1e-9)


@pytest.mark.slow
def test_groups_beside_single_kinks_and_many_outputs_in_single_precision():
    def multi(p, x, y):
        return -0.5 * jnp.sum(jnp.square(y - x @ p["coef"] - p["shift"][None, :]), axis=-1)

    y = np.column_stack([Y, X[:, 3] + 0.1 * Y]).astype(np.float32)
    prior = {"coef": dist.GroupLaplace(jnp.zeros(2), jnp.float32(1 / 30)), "shift": dist.Laplace(0.0, jnp.float32(0.2))}
    init = {"coef": jnp.zeros((M * G, 2), jnp.float32), "shift": jnp.zeros(2, jnp.float32)}
    fit = lg.fit(lg.map_objective(multi, prior=prior), init, X.astype(np.float32), y)
    coef, shift = (np.asarray(fit.params[name], float) for name in ("coef", "shift"))
    slopes = X.T @ (X @ coef + shift - y)
    norm = np.linalg.norm(coef, axis=1, keepdims=True)
    kept = norm[:, 0] > 0
    assert kept.any() and not kept.all()
    np.testing.assert_allclose(slopes[kept], -30 * (coef / np.maximum(norm, 1e-9))[kept], atol=2e-3)
    assert np.all(np.linalg.norm(slopes[~kept], axis=1) < 30)
    of_shift = np.sum(X @ coef + shift - y, axis=0)
    np.testing.assert_allclose(of_shift[shift != 0], -5 * np.sign(shift[shift != 0]), atol=2e-3)
    assert np.all(np.abs(of_shift[shift == 0]) < 5)
