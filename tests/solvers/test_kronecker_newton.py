"""Newton in Kronecker coordinates: the optimum of the dense solver, and a certificate that is a bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models, solvers
from lossgeo.posing import as_problem, pose
from lossgeo.solvers import FlatProblem
from lossgeo.solvers.kronecker_newton import white_coordinates

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D, K = 120, 5, 3
RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.normal(size=(N, D)) * 10.0 ** np.array([-3.0, 0.0, 3.0, 0.0, 1.0]))
SLOPES = RNG.normal(size=(D, K)) / np.std(np.asarray(X), axis=0)[:, None]
LABELS = jnp.asarray((np.asarray(X) @ SLOPES + RNG.gumbel(size=(N, K))).argmax(axis=1))
COUNTS = jnp.asarray(RNG.poisson(np.exp(0.3 * np.asarray(X) @ SLOPES / np.sqrt(D))).astype(float))
WEIGHTS = jnp.asarray(RNG.integers(0, 3, N).astype(float))


def softmax(params, x):
    return dist.Categorical(logits=x @ params["coef"])


def counts(params, x):
    # Coefficients of an output are a row here, and there is an intercept beside them.
    return dist.Poisson(jnp.exp(jnp.einsum("nd,kd->nk", x, params["coef"]) + params["intercept"][None, :]))


NORMAL = {"coef": dist.Normal(0.0, jnp.asarray(2.0 / np.std(np.asarray(X), axis=0))[:, None] * jnp.ones((1, K)))}
CASES = {
    "softmax": (lg.likelihood(softmax), NORMAL, {"coef": jnp.zeros((D, K))}, LABELS),
    "baseline": (
        lg.likelihood(models.softmax_regression(K, baseline=0)),
        None,
        {"coef": jnp.zeros((D, K - 1)), "intercept": jnp.zeros(K - 1)},
        LABELS,
    ),
    "poisson": (lg.likelihood(counts), None, {"coef": jnp.zeros((K, D)), "intercept": jnp.zeros(K)}, COUNTS),
}


def multinomial_logit(x, w, y, coef, scale):
    """Gradient and Hessian of the multinomial logit under a normal prior."""
    k = coef.shape[1]
    p = np.exp(x @ coef - np.max(x @ coef, axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    gradient = (x.T @ (w[:, None] * (p - np.eye(k)[y])) + coef / scale**2).ravel()
    rows = w[:, None, None] * (p[:, :, None] * np.eye(k) - p[:, :, None] * p[:, None, :])
    hessian = np.einsum("na,nkl,nb->akbl", x, rows, x, optimize=True).reshape(2 * [coef.size])
    return gradient, hessian + np.diag(np.broadcast_to(1 / scale**2, coef.shape).ravel())


def relative(params, reference):
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(reference), strict=True)
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


def test_a_softmax_ends_at_its_optimum_with_bounds_that_hold():
    """Gradient and Hessian of the multinomial logit by NumPy: the EDM is that of the point, the eigenvalue a bound."""
    likelihood, prior, init, y = CASES["softmax"]
    objective = lg.map_objective(likelihood, prior)
    found = lg.solve(objective, init, X, y, weights=WEIGHTS, solver=solvers.KroneckerNewton())
    assert found.status == lg.Status.CONVERGED
    arrays = (np.asarray(v) for v in (X, WEIGHTS, y, found.params["coef"], prior["coef"].scale))
    gradient, hessian = multinomial_logit(*arrays)
    edm = 0.5 * gradient @ np.linalg.solve(hessian, gradient)
    assert edm < 1e-11
    np.testing.assert_allclose(found.edm, edm, rtol=0.05)
    unit = 1 / np.sqrt(np.diag(hessian))
    least = np.linalg.eigvalsh(hessian * unit[:, None] * unit[None, :])[0]
    assert 1e-3 * least < found.certificate.eigenvalue <= least


@pytest.mark.slow
def test_it_finds_the_optimum_of_the_dense_solver_with_other_parameters_beside():
    likelihood, prior, init, y = CASES["poisson"]
    objective = lg.map_objective(likelihood, prior)
    found = lg.solve(objective, init, X, y, weights=WEIGHTS, solver=solvers.KroneckerNewton(), tol=1e-18)
    reference = lg.solve(objective, init, X, y, weights=WEIGHTS, solver=solvers.Newton())
    assert found.status == reference.status == lg.Status.CONVERGED
    assert relative(found.params, reference.params) < 1e-7
    np.testing.assert_allclose(found.value, reference.value, rtol=1e-13)
    assert found.num_steps < 20


def posed_problem(name):
    likelihood, prior, init, y = CASES[name]
    return as_problem(pose(lg.map_objective(likelihood, prior), init, (X, y), WEIGHTS))


@pytest.mark.parametrize("name", list(CASES))
def test_white_coordinates_are_those_of_the_hessian_where_that_is_a_kronecker_product(name):
    """At 0 all rows of a softmax or a Poisson model have one curvature: H is A (x) X'WX and the prior, exactly."""

    def both(z):
        problem = posed_problem(name)
        flat = FlatProblem(problem)
        hessian, white = flat.hessian(z), white_coordinates(flat.outputs(z))
        columns = jax.vmap(white.spread)(jnp.eye(z.size))
        rows = jax.vmap(white.gather)(jnp.eye(z.size))
        places = flat.output_places
        return hessian[places[:, None], places[None, :]], columns.T, rows.T

    size = sum(leaf.size for leaf in jax.tree.leaves(CASES[name][2]))
    hessian, spread, gather = jax.jit(both)(jnp.zeros(size))
    np.testing.assert_allclose(gather, spread.T, atol=1e-12 * np.abs(spread).max())
    white = spread.T @ hessian @ spread
    if name == "softmax":
        np.testing.assert_allclose(white, np.eye(size), atol=1e-9)
    elif name == "baseline":  # with an intercept the product stands for a Schur complement: a few eigenvalues below 1
        values = np.linalg.eigvalsh(white)
        assert values[0] > 0.3
        np.testing.assert_allclose(values[2 * (K - 1) :], 1.0, atol=1e-6)
    else:
        assert np.linalg.cond(white) < 20.0


@pytest.mark.slow
def test_what_the_bound_does_not_prove_is_judged_in_full():
    """A softmax without a baseline and without a prior has directions that nothing determines; classes may separate."""
    init = {"coef": jnp.zeros((D, K))}
    flat = lg.map_objective(lg.likelihood(softmax))
    found = lg.solve(flat, init, X, LABELS, solver=solvers.KroneckerNewton())
    assert found.status == lg.Status.UNIDENTIFIED
    baseline = lg.map_objective(lg.likelihood(models.softmax_regression(K, baseline=0, intercept=False)))
    perfect = jnp.argmax(X @ jnp.asarray(SLOPES), axis=1)
    init = {"coef": jnp.zeros((D, K - 1))}
    assert lg.solve(baseline, init, X, perfect, solver=solvers.KroneckerNewton()).status == lg.Status.SEPARATED


@pytest.mark.slow
def test_a_wide_softmax_is_solved_so_by_default_with_standard_errors_when_asked():
    rng = np.random.default_rng(0)
    d, k = 90, 6
    x = rng.normal(size=(400, d))
    y = (x @ rng.normal(size=(d, k)) * 0.3 + rng.gumbel(size=(400, k))).argmax(axis=1)
    objective = lg.map_objective(lg.likelihood(softmax), {"coef": dist.Normal(0.0, 1.0)})
    fit = lg.fit(objective, {"coef": jnp.zeros((d, k))}, x, y)
    assert isinstance(fit.plan.solver, solvers.KroneckerNewton)
    assert fit.solution.certificate.hessian is None
    gradient, hessian = multinomial_logit(x, np.ones(400), y, np.asarray(fit.params["coef"]), np.asarray(1.0))
    inverse = np.linalg.inv(hessian)
    assert 0.5 * gradient @ inverse @ gradient < 2e-12
    np.testing.assert_allclose(fit.standard_errors()["coef"].ravel(), np.sqrt(np.diag(inverse)), rtol=1e-9)


def test_it_refuses_what_it_is_not_made_for():
    objective = lg.map_objective(lg.likelihood(models.poisson_regression()))
    init = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}
    with pytest.raises(ValueError, match="several columns, but no linear predictor"):
        lg.fit(objective, init, X, COUNTS[:, 0], solver=solvers.KroneckerNewton())
