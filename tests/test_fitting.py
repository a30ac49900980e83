"""The host shell: every ending has its name, says where and what to do, and nothing that was reached is lost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import solvers, supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(8)
N = 60
X = RNG.normal(size=(N, 3))
NOISE = RNG.normal(size=N)
Y = X @ np.array([1.0, -2.0, 0.5]) + NOISE
LABELS = (RNG.uniform(size=N) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)


def linear_model(params, x):
    return dist.Normal(x @ params["coef"], params["sigma"])


def logistic_model(params, x):
    return dist.Bernoulli(logits=x @ params["coef"])


def poisson_model(params, x):
    return dist.Poisson(log_rate=x @ params["coef"])


LINEAR = lg.map_objective(lg.likelihood(linear_model), {"coef": dist.Flat(), "sigma": dist.Flat(supports.positive)})
LOGISTIC = lg.map_objective(lg.likelihood(logistic_model))
POISSON = lg.map_objective(lg.likelihood(poisson_model))


def start(d, **extra):
    return {"coef": jnp.zeros(d), **extra}


def attempt(objective, init, *data, **kwargs):
    """A fit that may fail. Whatever fails has no finite standard error unless it is merely not identified."""
    fit = lg.fit(objective, init, *data, throw=False, **kwargs)
    if fit.status not in (lg.Status.CONVERGED, lg.Status.UNIDENTIFIED):
        for leaf in jax.tree.leaves((fit.standard_errors(), fit.interval())):
            assert np.all(np.isnan(leaf))
        with pytest.raises(lg.FitError, match=fit.status.name):
            raise lg.FitError(fit)
    return fit


# ------------------------------------------------------------------ endings
def test_a_good_fit_converges_and_bundles_everything():
    fit = lg.fit(LINEAR, start(3, sigma=1.0), X, Y)
    assert fit.status == lg.Status.CONVERGED
    coef, rss = np.linalg.lstsq(X, Y, rcond=None)[:2]
    np.testing.assert_allclose(fit.params["coef"], coef, rtol=1e-10)
    np.testing.assert_allclose(fit.params["sigma"], np.sqrt(rss[0] / N), rtol=1e-10)
    np.testing.assert_allclose(fit.value, LINEAR(fit.params, X, Y), rtol=1e-14)
    assert 0 <= fit.edm < 1e-15 and fit.num_steps > 0
    assert "Newton" in str(fit.plan) and fit.message.startswith("Converged")
    assert "CONVERGED" in repr(fit)
    np.testing.assert_array_equal(fit.data[0], X)
    assert fit.weights is None and fit.objective.likelihood.is_density


def test_duplicated_columns_are_named_and_only_they_lose_their_errors():
    fit = attempt(LINEAR, start(4, sigma=1.0), np.c_[X, X[:, 1]], Y)
    assert fit.status == lg.Status.UNIDENTIFIED
    assert "coef[1]" in fit.message and "coef[3]" in fit.message
    assert "coef[0]" not in fit.message and "sigma" not in fit.message
    good = lg.fit(LINEAR, start(3, sigma=1.0), X, Y)
    errors, want = fit.standard_errors(), good.standard_errors()
    np.testing.assert_array_equal(np.isnan(errors["coef"]), [False, True, False, True])
    np.testing.assert_allclose(np.asarray(errors["coef"])[[0, 2]], np.asarray(want["coef"])[[0, 2]], rtol=1e-8)
    np.testing.assert_allclose(errors["sigma"], want["sigma"], rtol=1e-8)
    np.testing.assert_allclose(fit.value, good.value, rtol=1e-12)
    np.testing.assert_allclose(fit.params["coef"][1] + fit.params["coef"][3], good.params["coef"][1], rtol=1e-7)


def test_the_trap_of_all_dummies_and_an_intercept_is_named():
    group = np.arange(N) % 3
    fit = attempt(LOGISTIC, start(4), np.c_[np.ones(N), np.eye(3)[group]], LABELS)
    assert fit.status == lg.Status.UNIDENTIFIED
    assert all(f"coef[{k}]" in fit.message for k in range(4))
    assert np.all(np.isnan(fit.standard_errors()["coef"]))


def test_a_sum_of_two_flat_parameters_is_identified_and_they_are_not():
    y = np.array([1.2, 0.3, 2.0, 3.1, 2.2, 4.0])
    objective = lg.map_objective(lambda p, y: dist.Normal(p["a"] + p["b"], 1.0).log_prob(y))
    fit = attempt(objective, {"a": 0.0, "b": 0.0}, y)
    assert fit.status == lg.Status.UNIDENTIFIED
    np.testing.assert_allclose(fit.params["a"] + fit.params["b"], 2.1333333333333333, rtol=1e-12)
    assert np.isnan(fit.standard_errors()["a"]) and np.isnan(fit.standard_errors()["b"])


def test_a_parameter_without_information_is_named():
    objective = lg.map_objective(lambda p, y: dist.Normal(p["a"], 1.0).log_prob(y) + 0.0 * p["unused"])
    fit = attempt(objective, {"a": 0.0, "unused": 0.0}, Y)
    assert fit.status == lg.Status.UNIDENTIFIED
    assert "unused" in fit.message
    np.testing.assert_allclose(fit.standard_errors()["a"], 1 / np.sqrt(N), rtol=1e-10)
    with pytest.raises(lg.FitError, match="unused") as caught:
        lg.fit(objective, {"a": 0.0, "unused": 0.0}, Y)
    assert float(caught.value.fit.params["a"]) == pytest.approx(Y.mean(), rel=1e-10)


SEPARATED = {
    "completely": (X[:, :1], (X[:, 0] > 0).astype(float)),
    "quasi": (np.c_[np.ones(N), np.arange(N) < 10, X[:, 0]], np.where(np.arange(N) < 10, 1.0, LABELS)),
    "with a duplicated column": (
        np.c_[X[:, 1], X[:, 1], np.arange(N) < 10, np.ones(N)],
        np.where(np.arange(N) < 10, 1.0, LABELS),
    ),
}


@pytest.mark.parametrize("name", SEPARATED)
def test_separation_is_named(name):
    x, labels = SEPARATED[name]
    fit = attempt(LOGISTIC, start(x.shape[1]), x, labels)
    assert fit.status == lg.Status.SEPARATED
    assert "separated" in fit.message and "prior" in fit.message
    assert {"completely": "coef[0]", "quasi": "coef[1]", "with a duplicated column": "coef[2]"}[name] in fit.message


@pytest.mark.parametrize("family", ["classes", "measurements"])
def test_an_effect_that_fades_is_named_and_is_no_separation(family):
    # The data want exp(fading) = 0: every other parameter has an optimum, and no prediction is perfect.
    signs = np.sign(X[:, 1])
    targets = {"classes": (X[:, 0] - 0.8 * signs > 0).astype(int), "measurements": X[:, 0] - 0.8 * signs}[family]
    targets = np.where(np.arange(N) % 5 == 0, targets[::-1], targets)

    def model(p, x):
        eta = x[:, 0] * p["slope"] + jnp.exp(p["fading"]) * jnp.sign(x[:, 1])
        return dist.Bernoulli(logits=eta) if family == "classes" else dist.Normal(eta, 1.0)

    start = {"slope": jnp.asarray(0.0), "fading": jnp.asarray(-1.0)}
    fit = attempt(lg.map_objective(lg.likelihood(model)), start, X, targets)
    assert fit.status == lg.Status.UNBOUNDED
    assert "along -fading." in fit.message


def test_separated_classes_of_many_are_named_and_a_proper_prior_cures_them():
    x, labels = np.array([-3.0, -2, -1, 1, 2, 3])[:, None], np.array([0, 0, 1, 1, 2, 2])
    likelihood = lg.likelihood(
        lambda p, x: dist.Categorical(logits=jnp.concatenate([jnp.zeros_like(x), x @ p + p], axis=1))
    )
    assert attempt(lg.map_objective(likelihood), jnp.zeros((1, 2)), x, labels).status == lg.Status.SEPARATED
    cured = lg.fit(lg.map_objective(likelihood, dist.Normal(0.0, 2.0)), jnp.zeros((1, 2)), x, labels)
    assert cured.status == lg.Status.CONVERGED


def test_an_infinite_coefficient_of_counts_is_unbounded():
    group = (np.arange(N) < 10).astype(float)
    fit = attempt(POISSON, start(2), np.c_[np.ones(N), group], np.where(group > 0, 0.0, np.arange(N) % 4))
    assert fit.status == lg.Status.UNBOUNDED
    assert "coef[1]" in fit.message


def test_the_density_of_a_perfect_fit_grows_without_bound():
    fit = attempt(LINEAR, start(3, sigma=1.0), X, X @ np.array([1.0, -2.0, 0.5]))
    assert fit.status == lg.Status.UNBOUNDED
    assert "sigma runs to the edge" in fit.message


def test_a_status_prints_its_name():
    assert f"{lg.Status.CONVERGED}, {lg.Status.SEPARATED!s}" == "CONVERGED, SEPARATED"


def test_a_component_that_shrinks_around_one_observation_is_unbounded():
    def log_likelihood(p, y):
        tight, wide = dist.Normal(p["m"], p["s"]).log_prob(y), dist.Normal(2.0, 2.0).log_prob(y)
        return jnp.logaddexp(jnp.log(0.01) + tight, jnp.log(0.99) + wide)

    objective = lg.map_objective(log_likelihood, supports={"m": supports.real, "s": supports.positive})
    fit = attempt(objective, {"m": jnp.asarray(Y[0]), "s": jnp.asarray(1e-3)}, Y)
    assert fit.status == lg.Status.UNBOUNDED
    assert "s runs to the edge" in fit.message


def test_a_derivative_that_is_not_finite_is_named_with_its_observation():
    dose = jnp.asarray([1.0, 3.0, 0.0, 10.0, 30.0])
    response = jnp.asarray([1.2, 4.1, 0.1, 8.0, 9.5])
    objective = lg.map_objective(lambda p, x, y: -((y - 10.0 / (1.0 + (x / p["ec"]) ** p["h"])) ** 2))
    fit = attempt(objective, {"ec": jnp.asarray(3.0), "h": jnp.asarray(1.5)}, dose, response)
    assert fit.status == lg.Status.NOT_FINITE
    assert "with respect to ec" in fit.message and "1 of 5 observations, the first at index 2" in fit.message


def test_underdispersed_counts_run_to_the_boundary_and_the_mean_is_right():
    # NB2 with log-gamma differences: in the limit the likelihood is a plateau with rounding noise on it.
    y = np.array([3.0, 3, 3, 4, 3, 3, 3, 4, 3, 3])

    def log_likelihood(p, y):
        gammaln, mu, k = jax.scipy.special.gammaln, jnp.exp(p["log_mean"]), p["k"]
        return gammaln(y + k) - gammaln(k) - gammaln(y + 1) + k * jnp.log(k / (k + mu)) + y * jnp.log(mu / (k + mu))

    objective = lg.map_objective(log_likelihood, supports={"k": supports.positive})
    fit = attempt(objective, {"log_mean": jnp.asarray(0.0), "k": jnp.asarray(1.0)}, y)
    # The noise may curve either way, or not at all; at the start k did matter.
    assert fit.status == lg.Status.AT_BOUNDARY
    assert "k runs to the edge" in fit.message
    np.testing.assert_allclose(fit.params["log_mean"], 1.16315080980568, rtol=1e-8)


SMALL = {
    "saddle": (lambda p: 2.0 * p["x"] ** 2 - p["x"] ** 4 - p["y"] ** 2, 0.0, "NOT_POSITIVE_DEFINITE", "along x"),
    "linear": (lambda p: p["x"] - p["y"] ** 2, 0.0, "UNBOUNDED", "along x"),
    "exponential": (lambda p: -jnp.exp(-p["x"]) - p["y"] ** 2, 0.0, "UNBOUNDED", "along x"),
    "logarithmic": (lambda p: jnp.log1p(p["x"] ** 2) - p["y"] ** 2, 1.0, "UNBOUNDED", "along x"),
    "quartic": (lambda p: -((p["x"] - 3) ** 4) - p["y"] ** 2, 0.0, "NOT_POSITIVE_DEFINITE", "flat minimum: along x"),
    "cubic": (lambda p: p["x"] ** 3 - p["y"] ** 2, 0.0, "UNBOUNDED", "along x"),
    "overflow": (lambda p: jnp.exp(jnp.exp(p["x"])) - p["y"] ** 2, 0.0, "UNBOUNDED", "along x"),
}


@pytest.mark.parametrize("name", SMALL)
def test_points_that_are_no_optimum_are_named(name):
    log_likelihood, at, status, named = SMALL[name]
    fit = attempt(lg.map_objective(log_likelihood), {"x": jnp.asarray(at), "y": jnp.asarray(0.5)})
    assert fit.status.name == status
    assert named in fit.message


def test_medians_of_a_bare_function_are_those_of_the_model_or_said_to_have_a_kink():
    # The branch of an absolute value is read in the function; that of a root of a square is not.
    told = lg.fit(lg.map_objective(lambda p, x, y: dist.Laplace(x @ p["coef"], 1.0).log_prob(y)), start(3), X, Y)
    residual = np.abs(Y - X @ np.asarray(told.params["coef"]))
    assert np.sum(residual < 1e-9) == 3  # a vertex
    fit = attempt(lg.map_objective(lambda p, x, y: -jnp.sqrt((y - x @ p["coef"]) ** 2)), start(3), X, Y)
    assert fit.status in (lg.Status.STALLED, lg.Status.MAX_STEPS)


def test_a_random_objective_is_not_converged():
    rng = np.random.default_rng(0)

    def log_likelihood(p):
        noise = jax.pure_callback(
            lambda x: np.asarray(rng.normal(size=np.shape(x))),
            jax.ShapeDtypeStruct((), float),
            jax.lax.stop_gradient(p),
            vmap_method="broadcast_all",
        )
        return -((p - 1 - 0.1 * noise) ** 2)

    fit = attempt(lg.map_objective(log_likelihood), jnp.asarray(0.3))
    assert fit.status != lg.Status.CONVERGED


def test_large_offsets_are_right_or_flagged():
    x, y = 1e8 + np.arange(1.0, 7.0), np.array([1.2, 0.3, 2.0, 3.1, 2.2, 4.0])
    fit = attempt(
        lg.map_objective(lambda p, x, y: dist.Normal(p["a"] + p["b"] * x, 1.0).log_prob(y)), {"a": 0.0, "b": 0.0}, x, y
    )
    if fit.status == lg.Status.CONVERGED:
        np.testing.assert_allclose(fit.params["b"], 0.5942857142857143, rtol=1e-7)
    else:
        assert np.isnan(fit.standard_errors()["b"])


@pytest.mark.parametrize("size", [1.0, 1e4, 1e7])
def test_a_large_objective_is_not_mistaken_for_a_plateau(size):
    # Half a nat is below the rounding error of a sum of squares of 1e15.
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], 1.0)))
    fit = attempt(objective, start(3), X, size * Y)
    assert fit.status == lg.Status.CONVERGED
    np.testing.assert_allclose(fit.params["coef"] / size, np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["duplicated", "more than rows"])
def test_rank_is_seen_where_the_solver_forms_no_hessian(columns):
    d = solvers.DENSE_LIMIT + 8
    n = 2 * d if columns == "duplicated" else 300
    x = RNG.normal(size=(n, d))
    if columns == "duplicated":
        x[:, -1] = x[:, 3]
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], 1.0)))
    fit = attempt(objective, start(d), x, RNG.normal(size=n))
    assert fit.status == lg.Status.UNIDENTIFIED
    errors = np.asarray(fit.standard_errors()["coef"])
    if columns == "duplicated":
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(errors)), [3, d - 1])
    else:
        assert np.all(np.isnan(errors))


# ------------------------------------------------------------------ kinks
def penalised(scale, loc=0.0, family=dist.Laplace):
    return lg.map_objective(lg.likelihood(lambda_free_model), {"coef": family(loc, scale)})


def lambda_free_model(params, x):
    return dist.Normal(x @ params["coef"], 1.0)


OLS = np.linalg.lstsq(X, Y, rcond=None)[0]


@pytest.mark.parametrize("init", [0.0, 1.0, -5.0])
def test_extreme_penalties_are_exact_zeros_or_the_unpenalised_fit(init):
    init = {"coef": jnp.full(3, init)}
    for scale in (1e-300, 1e-12):
        fit = lg.fit(penalised(scale), init, X, Y)
        np.testing.assert_array_equal(fit.params["coef"], 0.0)
        assert np.all(np.isnan(fit.standard_errors()["coef"]))
    for scale in (1e300, 1e20):
        np.testing.assert_allclose(lg.fit(penalised(scale), init, X, Y).params["coef"], OLS, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-320, np.inf, 0.0, -1.0, np.nan])
def test_a_scale_that_is_no_density_is_refused(scale):
    with pytest.raises(ValueError, match="log-prior|prior"):
        lg.fit(penalised(scale), start(3), X, Y)


def test_at_the_largest_useful_penalty_nothing_enters_and_just_below_one_does():
    largest = np.max(np.abs(X.T @ Y))
    for factor, count in ((1 + 1e-9, 0), (1 - 1e-9, 1)):
        fit = lg.fit(penalised(1 / (largest * factor)), start(3), X, Y)
        assert np.sum(np.asarray(fit.params["coef"]) != 0.0) == count


def test_no_penalty_is_maximum_likelihood():
    flat = lg.fit(lg.map_objective(lg.likelihood(lambda_free_model)), start(3), X, Y)
    np.testing.assert_allclose(flat.params["coef"], OLS, rtol=1e-12)
    wide = lg.fit(penalised(1e100, family=dist.Normal), start(3), X, Y)
    np.testing.assert_allclose(wide.params["coef"], OLS, rtol=1e-12)


@pytest.mark.parametrize("library", ["numpyro.distributions", "distrax"])
def test_the_lasso_of_another_library_is_the_same_lasso(library):
    theirs = pytest.importorskip(library)
    for loc in (0.0, 0.4):
        for init in (0.0, loc, 2.0):
            ours = lg.fit(penalised(0.03, loc), {"coef": jnp.full(3, init)}, X, Y)
            other = lg.fit(penalised(0.03, loc, theirs.Laplace), {"coef": jnp.full(3, init)}, X, Y)
            np.testing.assert_array_equal(ours.params["coef"] == loc, other.params["coef"] == loc)
            np.testing.assert_allclose(ours.params["coef"], other.params["coef"], rtol=1e-10)


@pytest.mark.parametrize("hidden", ["function", "expanded"])
def test_a_kink_that_nobody_declared_is_not_silently_missed(hidden):
    if hidden == "function":
        prior = lambda p: -30.0 * jnp.sum(jnp.abs(p["coef"]))  # noqa: E731
    else:
        ndist = pytest.importorskip("numpyro.distributions")
        prior = {"coef": ndist.Laplace(0.0, 1 / 30).expand([3]).to_event(1)}
    want = lg.fit(penalised(1 / 30), start(3), X, Y).params["coef"]
    fit = attempt(lg.map_objective(lg.likelihood(lambda_free_model), prior), {"coef": jnp.full(3, 0.1)}, X, Y)
    assert fit.status != lg.Status.CONVERGED or np.allclose(fit.params["coef"], want, atol=1e-8)


def test_an_optimum_at_the_edge_of_a_tube_is_not_called_one_and_the_prior_is_named():
    # Inside the tube the prior is flat; the slope of the loss at its edge is less than that of the prior beyond.
    fit = lg.fit(penalised(1.0, family=lambda loc, scale: dist.EpsilonInsensitive(loc, scale, 9.0)), start(3), X, Y)
    np.testing.assert_allclose(fit.params["coef"], OLS, rtol=1e-10)
    edge = float(np.max(np.abs(OLS))) - 1e-3
    tube = lambda loc, scale: dist.EpsilonInsensitive(loc, scale, edge)  # noqa: E731
    fit = attempt(penalised(1.0, family=tube), start(3), X, Y)
    assert fit.status in (lg.Status.MAX_STEPS, lg.Status.STALLED)
    assert "prior of 'coef' is EpsilonInsensitive" in fit.message


# ------------------------------------------------------------------ unfinished, interrupted, watched
def test_an_unfinished_fit_raises_and_keeps_what_it_reached():
    with pytest.raises(lg.FitError, match="MAX_STEPS") as caught:
        lg.fit(LOGISTIC, start(3), X, LABELS, solver=optax.sgd(1e-6), max_steps=3)
    fit = caught.value.fit
    assert fit.status == lg.Status.MAX_STEPS and fit.num_steps == 3
    assert float(fit.edm) > 1e-3
    assert np.all(np.asarray(fit.params["coef"]) != 0)
    assert "throw=False" in str(caught.value) and "max_steps" in str(caught.value)


def test_no_steps_is_the_start_judged():
    fit = attempt(LOGISTIC, start(3), X, LABELS, max_steps=0)
    assert fit.status == lg.Status.MAX_STEPS and fit.num_steps == 0
    np.testing.assert_array_equal(fit.params["coef"], 0.0)
    np.testing.assert_allclose(fit.value, N * np.log(2), rtol=1e-12)


@pytest.mark.parametrize("solver", ["auto", optax.adam(1e-3)], ids=["newton", "adam"])
def test_an_interruption_keeps_the_parameters(solver):
    seen = []

    def stop(step, value, edm):
        seen.append((step, value))
        if len(seen) == 2:
            raise KeyboardInterrupt

    fit = attempt(LOGISTIC, start(3), X, LABELS, solver=solver, callback=stop, callback_every=1)
    assert fit.status == lg.Status.INTERRUPTED
    assert "Interrupted" in fit.message
    assert [step for step, _ in seen] == [1, 2] and fit.num_steps == 2
    assert 0 < float(fit.value) < N * np.log(2)
    np.testing.assert_allclose(fit.value, LOGISTIC(fit.params, X, LABELS), rtol=1e-12)


def test_a_callback_sees_every_piece_and_changes_nothing():
    seen = []
    fit = lg.fit(LOGISTIC, start(3), X, LABELS, callback=lambda *args: seen.append(args), callback_every=2)
    plain = lg.fit(LOGISTIC, start(3), X, LABELS)
    np.testing.assert_array_equal(fit.params["coef"], plain.params["coef"])
    assert fit.num_steps == plain.num_steps == seen[-1][0]
    assert [type(v) for v in seen[0]] == [int, float, float]
    values = [value for _, value, _ in seen]
    assert values == sorted(values, reverse=True)


def test_other_errors_of_a_callback_are_the_callers():
    def broken(step, value, edm):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lg.fit(LOGISTIC, start(3), X, LABELS, callback=broken)


def test_progress_goes_to_standard_error_only(capfd):
    lg.fit(LOGISTIC, start(3), X, LABELS, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "EDM" in err and "nats" in err
    lg.fit(LOGISTIC, start(3), X, LABELS)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------ anybody's parameters
def test_inference_for_anybodys_parameters():
    fit = lg.fit(LINEAR, start(3, sigma=1.0), X, Y)
    other = lg.Fit.from_params(LINEAR, jax.tree.map(np.asarray, fit.params), X, Y)
    assert other.status == lg.Status.CONVERGED and other.plan is None and other.num_steps == 0
    np.testing.assert_allclose(other.covariance(), fit.covariance(), rtol=1e-8, atol=1e-15)  # some are 0
    np.testing.assert_allclose(other.value, fit.value, rtol=1e-14)


def test_parameters_off_the_optimum_are_not_called_optimal():
    off = lg.Fit.from_params(LINEAR, {"coef": np.zeros(3), "sigma": 1.0}, X, Y)
    assert off.status != lg.Status.CONVERGED
    assert float(off.edm) > 1.0
    assert np.all(np.isnan(off.standard_errors()["coef"]))
    with pytest.raises(ValueError, match="sigma"):
        lg.Fit.from_params(LINEAR, {"coef": np.zeros(3), "sigma": -1.0}, X, Y)


def test_a_fit_is_frozen():
    fit = lg.fit(LOGISTIC, start(3), X, LABELS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.tol = 1.0


def test_a_held_parameter_stays_and_everything_may_be_held():
    held = {"coef": dist.Flat(), "sigma": dist.Fixed(2.0)}
    fit = lg.fit(lg.map_objective(lg.likelihood(linear_model), held), start(3, sigma=2.0), X, Y)
    assert float(fit.params["sigma"]) == 2.0 and np.isnan(fit.standard_errors()["sigma"])
    np.testing.assert_allclose(fit.params["coef"], OLS, rtol=1e-10)
    np.testing.assert_allclose(
        fit.standard_errors()["coef"], 2.0 * np.sqrt(np.diag(np.linalg.inv(X.T @ X))), rtol=1e-10
    )
    everything = {"coef": dist.Fixed(jnp.ones(3)), "sigma": dist.Fixed(2.0)}
    fit = lg.fit(lg.map_objective(lg.likelihood(linear_model), everything), {"coef": jnp.ones(3), "sigma": 2.0}, X, Y)
    assert fit.status == lg.Status.CONVERGED and "held" in str(fit.summary())
