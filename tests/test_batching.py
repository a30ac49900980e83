"""Many fits at once equal the fits one by one, whatever is mapped, and each keeps its own status."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import models
from lossgeo.batching import _over_blocks
from lossgeo.posing import as_problem, pose
from lossgeo.solvers import FlatProblem, certify, certify_briefly, full_steps
from lossgeo.structure import RowDerivatives, discover

pytestmark = pytest.mark.usefixtures("fast_compilation")
B, N, D = 5, 40, 3
LOGISTIC = lg.map_objective(
    lg.likelihood(models.logistic_regression()), {"coef": dist.Normal(0.0, 2.0), "intercept": dist.Flat()}
)
INIT = {"coef": jnp.zeros(D), "intercept": jnp.asarray(0.0)}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((B, N, D))
    y = (rng.random((B, N)) < 1 / (1 + np.exp(-x[:, :, 0] + 0.5))).astype(float)
    return jnp.asarray(x), jnp.asarray(y)


def one_by_one(objective, starts, data, weights):
    return [lg.solve(objective, s, *d, weights=w) for s, d, w in zip(starts, data, weights, strict=True)]


def assert_equal(many, alone, atol=1e-9):
    for i, solution in enumerate(alone):
        assert int(many.status[i]) == int(solution.status)
        for a, b in zip(jax.tree.leaves(many.params), jax.tree.leaves(solution.params), strict=True):
            np.testing.assert_allclose(a[i], b, atol=atol)
        np.testing.assert_allclose(many.value[i], solution.value, rtol=1e-12)
        np.testing.assert_allclose(many.certificate.hessian[i], solution.certificate.hessian, rtol=1e-6, atol=1e-9)
        assert float(many.edm[i]) <= 1.8e-12


def test_data_sets_of_their_own(data):
    x, y = data
    many = lg.solve_many(LOGISTIC, INIT, x, y)
    assert_equal(many, one_by_one(LOGISTIC, [INIT] * B, list(zip(x, y, strict=True)), [None] * B))
    assert "5 fits" in str(many.plan) and "full steps" in str(many.plan)


def test_weights_on_one_design(data):
    x, y = data[0][0], data[1][0]
    weights = jnp.asarray(np.random.default_rng(1).multinomial(N, np.ones(N) / N, size=B).astype(float))
    many = lg.solve_many(LOGISTIC, INIT, x, y, weights=weights, in_axes=None)
    assert "side by side" in str(many.plan)
    assert_equal(many, one_by_one(LOGISTIC, [INIT] * B, [(x, y)] * B, weights))


@pytest.mark.slow
def test_hyper_parameters_and_starts(data):
    x, y = data[0][0], data[1][0]
    likelihood = lg.likelihood(models.logistic_regression())

    def objective(scale):
        return lg.map_objective(likelihood, {"coef": dist.Normal(0.0, scale), "intercept": dist.Flat()})

    scales = jnp.asarray([0.1, 0.3, 1.0, 3.0, 9.0])
    many = lg.solve_many(jax.vmap(objective)(scales), INIT, x, y, in_axes=(0, None, None, None))
    alone = [lg.solve(objective(s), INIT, x, y) for s in scales]
    assert_equal(many, alone)
    starts = {"coef": jnp.tile(jnp.linspace(-0.2, 0.2, B)[:, None], (1, D)), "intercept": jnp.zeros(B)}
    assert_equal(lg.solve_many(objective(1.0), starts, x, y, in_axes=(None, 0, None, None)), [alone[2]] * B)


def test_a_fit_that_fails_has_its_status_and_leaves_the_others_alone(data):
    x, y = data
    flat = lg.map_objective(lg.likelihood(models.logistic_regression()))
    y = y.at[1].set((x[1, :, 0] > 0).astype(float))  # separated
    x = x.at[3, :, 2].set(x[3, :, 1])  # collinear
    many = lg.solve_many(flat, INIT, x, y)
    alone = [lg.solve(flat, INIT, x[i], y[i]) for i in range(B)]
    assert [int(s) for s in many.status] == [int(s.status) for s in alone]
    assert many.status[1] == lg.Status.SEPARATED and many.status[3] == lg.Status.UNIDENTIFIED
    good = jnp.asarray([0, 2, 4])
    assert_equal(jax.tree.map(lambda leaf: leaf[good], many), [alone[i] for i in (0, 2, 4)])
    # What full steps leave is solved with all safeguards, whose certificates are whole.
    np.testing.assert_allclose(many.certificate.start_change[1], alone[1].certificate.start_change, rtol=1e-6)


@pytest.mark.slow
def test_where_full_steps_would_go_astray_the_safeguards_do_not(data):
    # x^4 / 4 - x^2 / 2 + a x has negative curvature at the start; on log cosh Newton's steps diverge from afar.
    def well(params, a):
        v = params["v"]
        return -(v**4 / 4 - v**2 / 2 + a * v)

    objective, shifts = lg.map_objective(well), jnp.linspace(-0.3, 0.3, B)
    init = {"v": jnp.asarray(0.1)}
    many = lg.solve_many(objective, init, shifts)
    assert_equal(many, [lg.solve(objective, init, a) for a in shifts])
    cosh = lg.map_objective(lambda params, a: -jnp.log(jnp.cosh(params["v"] - a)))
    far = lg.solve_many(cosh, {"v": jnp.asarray(3.0)}, shifts)
    np.testing.assert_allclose(far.params["v"], shifts, atol=1e-8)
    assert not np.any(far.status)


@pytest.mark.slow
def test_a_kinked_prior_and_a_chosen_solver_run_as_ever(data):
    x, y = data
    sparse = lg.map_objective(
        lg.likelihood(models.logistic_regression()), {"coef": dist.Laplace(0.0, 0.1), "intercept": dist.Flat()}
    )
    many = lg.solve_many(sparse, INIT, x[:2], y[:2])
    alone = [lg.solve(sparse, INIT, x[i], y[i]) for i in range(2)]
    for i in range(2):
        np.testing.assert_allclose(many.params["coef"][i], alone[i].params["coef"], atol=1e-8)
        assert np.array_equal(many.params["coef"][i] == 0, alone[i].params["coef"] == 0)
    assert "one after another" in str(many.plan) and "full steps" not in str(many.plan)


@pytest.mark.slow
def test_it_is_pure_and_differentiated_by_the_implicit_function_theorem(data):
    x, y = data[0][0], data[1][0]

    def total(weights):
        return jnp.sum(lg.solve_many(LOGISTIC, INIT, x, y, weights=weights, in_axes=None).params["coef"][:, 0])

    def alone(weights):
        return lg.solve(LOGISTIC, INIT, x, y, weights=weights).params["coef"][0]

    weights = jnp.asarray(np.random.default_rng(2).uniform(0.5, 1.5, (2, N)))
    value, grad = jax.jit(jax.value_and_grad(total))(weights)
    expected = [jax.value_and_grad(alone)(w) for w in weights]
    np.testing.assert_allclose(value, sum(v for v, _ in expected), rtol=1e-10)
    np.testing.assert_allclose(grad, jnp.stack([g for _, g in expected]), rtol=1e-7, atol=1e-12)


def test_one_compilation_serves_all_data_of_a_shape(data):
    traces = []

    def model(params, x):
        traces.append(None)
        return dist.Poisson(jnp.exp(x @ params["coef"]))

    objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, 1.0)})
    init = {"coef": jnp.zeros(D)}
    x, y = data
    lg.solve_many(objective, init, x, y)
    before = len(traces)
    lg.solve_many(objective, init, x + 1.0, 1.0 - y)
    assert len(traces) == before


def test_pairs_of_columns_give_the_same_hessian(data):
    x, y = data[0][0], data[1][0]

    def log_likelihood(u, args):
        eta = args[0] @ u[0] + u[1]
        return args[1] * eta - jax.nn.softplus(eta)

    @jax.jit
    def compare(u, args):
        known = RowDerivatives(
            discover(log_likelihood, u, args), lambda a: jnp.arange(1.0, N + 1), lambda u, a: jnp.sum(u[0] ** 4)
        )
        with_pairs = known.with_pairs(known.pairs(u, args))
        return with_pairs.gradient_and_hessian(u, args), (known.value_and_grad(u, args)[1], known.hessian(u, args))

    u, args = [jnp.asarray([0.3, -0.2, 0.1]), jnp.asarray(0.2)], (x, y)
    (gradient, hessian), (expected, plain) = compare(u, args)
    np.testing.assert_allclose(hessian, plain, rtol=1e-12)
    np.testing.assert_allclose(gradient, jnp.concatenate([jnp.ravel(g) for g in expected]), rtol=1e-12)


def test_a_brief_certificate_says_what_the_whole_one_says(data):
    @jax.jit
    def both(x, y):
        problem = as_problem(pose(LOGISTIC, INIT, (x, y), None))
        end = full_steps(problem, jnp.asarray(1e-12), 30)
        z, value, brief = certify_briefly(problem, end, probes=D + 1)
        whole = certify(dataclasses.replace(problem, init=FlatProblem(problem).unravel(z)))
        lost = certify_briefly(problem, end._replace(definite=jnp.asarray(False)), probes=D + 1)[2]
        return end, (value, brief), whole, lost

    end, (value, brief), (whole_value, whole), lost = both(data[0][0], data[1][0])
    assert bool(end.converged) and 0 < float(jnp.max(jnp.abs(end.step))) < 1e-7
    np.testing.assert_allclose(value, whole_value, rtol=1e-14)
    np.testing.assert_allclose(brief.hessian, whole.hessian, rtol=1e-7)
    np.testing.assert_allclose(brief.rise, whole.rise, rtol=1e-6)
    np.testing.assert_allclose(brief.eigenvalue, whole.eigenvalue, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.dot(brief.direction, whole.direction)), 1.0, rtol=1e-6)
    assert float(brief.edm) < 1e-24 and float(whole.edm) < 1e-24
    # Of a point whose Hessian is not positive definite nothing is said.
    assert np.isinf(lost.edm)


def test_blocks_that_do_not_divide_the_fits_lose_and_repeat_none():
    for size in (6, 7, 10):
        found = _over_blocks(lambda v: 2 * v, (jnp.arange(size),), 4)
        np.testing.assert_array_equal(found, 2 * np.arange(size))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_axes": None}, "nothing is mapped"),
        ({"in_axes": (None, None, 0)}, "entries for objective, init_params and 2 arguments of data"),
        ({"in_axes": (None, None, 0, None), "weights": np.ones((3, N))}, "one size.*'data.0': 5.*'weights': 3"),
        ({"in_axes": (None, 0, None, None)}, "init_params.intercept, which has shape"),
    ],
)
def test_faults_are_named(data, change, message):
    x, y = data
    with pytest.raises(ValueError, match=message):
        lg.solve_many(LOGISTIC, INIT, x, y, **change)
