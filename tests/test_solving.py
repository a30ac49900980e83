"""The pure core: one answer under jit, vmap and fit, and derivatives by the implicit function theorem, of any order."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import solvers, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(4)
X = jnp.asarray(RNG.normal(size=(40, 4)))
LABELS = jnp.asarray((RNG.uniform(size=40) < 1 / (1 + np.exp(-X @ np.array([1.0, -1.0, 0.5, 0.0])))).astype(float))
Y = X @ jnp.asarray([2.0, -1.0, 0.0, 0.3]) + 0.5 * jnp.asarray(RNG.normal(size=40))
ZERO = {"coef": jnp.zeros(4)}


def linear_model(params, x):
    return dist.Normal(x @ params["coef"], 1.0)


def logistic_model(params, x):
    return dist.Bernoulli(logits=x @ params["coef"])


def shifted_model(params, x):
    return dist.Normal(x @ params["coef"] + params["shift"], params["sigma"])


LOGISTIC, LINEAR = lg.likelihood(logistic_model), lg.likelihood(linear_model)


def ridge(scale, x=X, y=LABELS, weights=None):
    return lg.solve(lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, scale)}), ZERO, x, y, weights=weights)


def lasso(scale, loc=0.0, x=X, y=Y, weights=None):
    return lg.solve(lg.map_objective(LINEAR, {"coef": dist.Laplace(loc, scale)}), ZERO, x, y, weights=weights)


def score(solution):
    """A smooth function of the solution that weighs every coefficient differently."""
    return jnp.sin(solution.params["coef"]) @ jnp.asarray([1.0, 0.7, -0.3, 0.2])


def by_ridge(scale, x, y, weights):
    return score(ridge(scale, x, y, weights))


def by_lasso(scale, loc, x, y, weights):
    return score(lasso(scale, loc, x, y, weights))


def central(fn, value, direction, step=1e-5):
    return (fn(value + step * direction) - fn(value - step * direction)) / (2 * step)


# ------------------------------------------------------------------ one answer
def test_solve_is_the_same_eagerly_under_jit_and_in_fit():
    objective = lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, 0.8)})
    eager = ridge(0.8)
    jitted = jax.jit(ridge)(0.8)
    fitted = lg.fit(objective, ZERO, X, LABELS)
    assert eager.status == jitted.status == lg.Status.CONVERGED == fitted.status
    # One algorithm, compiled three times: rounding only.
    np.testing.assert_allclose(eager.params["coef"], jitted.params["coef"], rtol=1e-12)
    np.testing.assert_allclose(eager.params["coef"], fitted.params["coef"], rtol=1e-12)
    np.testing.assert_allclose(eager.value, fitted.value, rtol=1e-14)
    assert eager.num_steps == fitted.num_steps
    assert eager.edm < 1e-20


def test_vmap_over_scales_and_over_data_is_the_loop():
    scales = jnp.asarray([0.1, 1.0, 10.0])
    path = jax.vmap(ridge)(scales)
    targets = jnp.stack([LABELS, 1 - LABELS, jnp.roll(LABELS, 7)])
    batch = jax.vmap(lambda y: ridge(1.0, X, y))(targets)
    for k in range(3):
        np.testing.assert_allclose(path.params["coef"][k], ridge(scales[k]).params["coef"], atol=1e-12)
        np.testing.assert_allclose(batch.params["coef"][k], ridge(1.0, X, targets[k]).params["coef"], atol=1e-12)
    assert np.all(np.asarray(path.status) == lg.Status.CONVERGED)


def test_a_nan_lane_is_flagged_and_the_others_are_right():
    targets = jnp.stack([LABELS, LABELS.at[3].set(jnp.nan), LABELS])
    batch = jax.vmap(lambda y: ridge(1.0, X, y))(targets)
    np.testing.assert_array_equal(batch.status, [lg.Status.CONVERGED, lg.Status.NOT_FINITE, lg.Status.CONVERGED])
    np.testing.assert_allclose(batch.params["coef"][2], ridge(1.0).params["coef"], atol=1e-12)
    assert jnp.isnan(batch.edm[1])


def test_a_lasso_path_by_vmap_has_the_exact_zeros_of_the_loop():
    scales = jnp.asarray([0.02, 0.05, 0.2, 1.0])
    path = jax.vmap(lasso)(scales)
    assert np.all(np.asarray(path.status) == lg.Status.CONVERGED)
    for k, scale in enumerate(scales):
        alone = lasso(scale).params["coef"]
        np.testing.assert_array_equal(path.params["coef"][k] == 0, alone == 0)
        np.testing.assert_allclose(path.params["coef"][k], alone, atol=1e-12)
    counts = np.sum(np.asarray(path.params["coef"]) != 0, axis=1)
    assert counts[0] < counts[-1]


def test_ten_data_sets_and_ten_scales_are_one_trace():
    traces = 0

    @jax.jit
    @chex.assert_max_traces(n=1)
    def solve(objective, x, y):
        return lg.solve(objective, ZERO, x, y).params["coef"]

    def model(params, x):
        nonlocal traces
        traces += 1
        return dist.Bernoulli(logits=x @ params["coef"])

    likelihood = lg.likelihood(model)
    after_first = None
    for k in range(10):
        objective = lg.map_objective(likelihood, {"coef": dist.Normal(0.0, 1.0 + k)})
        found = solve(objective, jnp.roll(X, k, axis=0), LABELS)
        assert np.all(np.isfinite(found))
        after_first = traces if after_first is None else after_first
    assert traces == after_first


def test_fit_traces_a_model_once_for_ten_data_sets():
    traces = 0

    def model(params, x):
        nonlocal traces
        traces += 1
        return dist.Bernoulli(logits=x @ params["coef"])

    likelihood, after_first = lg.likelihood(model), None
    for k in range(10):
        lg.fit(lg.map_objective(likelihood, {"coef": dist.Normal(0.0, 1.0 + k)}), ZERO, jnp.roll(X, k, axis=0), LABELS)
        after_first = traces if after_first is None else after_first
    assert traces == after_first


# ------------------------------------------------------------------ derivatives
WEIGHTS = jnp.asarray(RNG.uniform(0.5, 1.5, size=40))
RIDGE_AT = (0.8, X, LABELS, WEIGHTS)
LASSO_AT = (0.06, 0.05, X, Y, WEIGHTS)


@pytest.mark.parametrize(("fn", "at"), [(by_ridge, RIDGE_AT), (by_lasso, LASSO_AT)], ids=["ridge", "lasso"])
def test_gradients_agree_with_finite_differences_in_every_argument(fn, at):
    numeric_labels = range(len(at))
    gradients = jax.jit(jax.grad(fn, argnums=tuple(numeric_labels)))(*at)
    plain = jax.jit(fn)
    for k in numeric_labels:
        direction = jnp.asarray(np.random.default_rng(k).normal(size=jnp.shape(at[k])))

        def moved(value, k=k):
            return plain(*at[:k], value, *at[k + 1 :])

        if fn is by_ridge and k == 2:
            continue  # a label is 0 or 1
        # Differences with step 1e-5: 1e-10 truncation, 1e-11 rounding, for slopes of order 1.
        np.testing.assert_allclose(
            jnp.sum(gradients[k] * direction), central(moved, at[k], direction), rtol=1e-6, atol=1e-8
        )


def test_the_lasso_has_coefficients_on_the_kink_where_it_is_differentiated():
    coef = lasso(*LASSO_AT).params["coef"]
    assert 0 < np.sum(np.asarray(coef) == 0.05) < 4


def test_forward_and_reverse_mode_agree():
    forward = jax.jit(jax.jacfwd(lambda scale: ridge(scale).params["coef"]))(0.8)
    reverse = jax.jit(jax.jacrev(lambda scale: ridge(scale).params["coef"]))(0.8)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10)


def test_the_value_obeys_the_envelope_theorem():
    def value(scale):
        return ridge(scale).value

    def partial(scale):
        fixed = jax.lax.stop_gradient(ridge(0.8).params)
        return lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, scale)})(fixed, X, LABELS)

    np.testing.assert_allclose(jax.grad(value)(0.8), jax.grad(partial)(0.8), rtol=1e-10)


def test_second_derivatives():
    def fn(scale):
        return by_ridge(scale, X, LABELS, WEIGHTS)

    first = jax.jit(jax.grad(fn))
    second = jax.jit(jax.jacfwd(jax.grad(fn)))(0.8)
    np.testing.assert_allclose(second, (first(0.8 + 1e-5) - first(0.8 - 1e-5)) / 2e-5, rtol=1e-6)


@pytest.mark.slow
def test_gradients_under_vmap_are_the_loop_of_gradients():
    gradient = jax.grad(lambda scale: by_ridge(scale, X, LABELS, WEIGHTS))
    scales = jnp.asarray([0.3, 3.0])
    np.testing.assert_allclose(jax.vmap(gradient)(scales), [gradient(0.3), gradient(3.0)], rtol=1e-9)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_nan_where_the_solution_did_not_converge(jacobian):
    def unfinished(scale):
        objective = lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, scale)})
        return lg.solve(objective, ZERO, X, LABELS, max_steps=1).params["coef"]

    assert np.all(np.isfinite(unfinished(0.8)))
    assert np.all(np.isnan(jacobian(unfinished)(0.8)))


def test_constrained_and_held_parameters_are_differentiated_in_the_users_coordinates():
    def solution(held):
        objective = lg.map_objective(
            lg.likelihood(shifted_model),
            {"coef": dist.Normal(0.0, 1.0), "shift": dist.Fixed(held), "sigma": dist.HalfNormal(1.0)},
        )
        return lg.solve(objective, {**ZERO, "shift": held, "sigma": jnp.asarray(1.0)}, X, Y).params["sigma"]

    step = 1e-5
    numeric = (solution(jnp.asarray(0.3 + step)) - solution(jnp.asarray(0.3 - step))) / (2 * step)
    np.testing.assert_allclose(jax.grad(solution)(jnp.asarray(0.3)), numeric, rtol=1e-6)


# ------------------------------------------------------------------ solvers by name
@pytest.mark.slow
def test_every_solver_reaches_the_same_point():
    objective = lg.map_objective(LOGISTIC, {"coef": dist.Normal(0.0, 0.8)})
    want = ridge(0.8).params["coef"]
    for solver in (solvers.LBFGS(), optax.adam(0.05), optax.lbfgs()):
        found = lg.solve(objective, ZERO, X, LABELS, solver=solver)
        assert found.status == lg.Status.CONVERGED
        np.testing.assert_allclose(found.params["coef"], want, atol=1e-8)
        assert "caller" in found.plan.reason


def test_a_transformation_sees_the_parameters_by_name():
    # One natural-gradient step of a linear model is Fisher scoring: least squares.
    fisher = X.T @ X
    step = lg.geometry.natural_gradient_descent(lambda params: fisher + 0.0 * params["coef"][:, None])
    found = lg.solve(lg.map_objective(LINEAR), ZERO, X, Y, solver=step, max_steps=1)
    np.testing.assert_allclose(found.params["coef"], np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-10)


def test_the_plan_says_what_and_why():
    auto = ridge(0.8).plan
    assert auto.solver == solvers.Newton()
    assert "4 parameters" in str(auto) and "smooth" in str(auto)
    assert "kink" in str(lasso(0.1).plan)
    wide = {"coef": jnp.zeros(600)}
    x = jnp.zeros((2, 600))
    for prior, kind in ((dist.Normal(), solvers.LBFGS), (dist.Laplace(), solvers.ProximalGradient)):
        shape = jax.eval_shape(lambda prior=prior: lg.solve(lg.map_objective(LINEAR, prior), wide, x, jnp.zeros(2)))
        assert isinstance(shape.plan.solver, kind)
        assert shape.plan.polish is not None


@pytest.mark.parametrize("wrong", ["newton", 3, optax.adam, None])
def test_something_that_is_no_solver_is_refused(wrong):
    with pytest.raises(TypeError, match="solver"):
        lg.solve(lg.map_objective(LINEAR), ZERO, X, Y, solver=wrong)


def test_a_smooth_solver_refuses_a_kink():
    with pytest.raises(ValueError, match="kink"):
        lg.solve(lg.map_objective(LINEAR, dist.Laplace()), ZERO, X, Y, solver=solvers.LBFGS())


def test_supports_are_respected_and_the_mode_is_in_the_users_coordinates():
    objective = lg.map_objective(
        lambda p: jnp.zeros(()), {"rate": dist.Gamma(3.0, 2.0), "p": dist.Flat(supports.unit_interval)}
    )
    with_p = lg.map_objective(lambda p: 3 * jnp.log(p["p"]) + jnp.log1p(-p["p"]), objective.prior)
    found = lg.solve(with_p, {"rate": jnp.asarray(0.3), "p": jnp.asarray(0.1)})
    assert found.status == lg.Status.CONVERGED
    # 3.0 / 2.0 and 4 / 6 would be the modes with the log-Jacobian.
    np.testing.assert_allclose([found.params["rate"], found.params["p"]], [1.0, 0.75], rtol=1e-9)
