"""Losses with kinks in the data: what is recognised, that it is solved to a vertex, and what is refused or flagged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import inference, losses, models, solvers, supports
from lossgeo._pytree import pytree
from lossgeo.piecewise import piecewise
from lossgeo.planning import plan_for
from lossgeo.posing import as_problem, pose

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(11)
N = 31
X = RNG.normal(size=(N, 2))
Y = X @ [1.0, -0.5] + 0.3 + RNG.laplace(size=N)
LABELS = (Y > 0).astype(float)
START = {"coef": jnp.zeros(2), "intercept": jnp.asarray(0.0)}
RIDGE = {"coef": dist.Normal(0.1, 0.7), "intercept": dist.Flat()}


def line(p, x):
    return x @ p["coef"] + p["intercept"]


def laplace(p, x):
    return dist.Laplace(line(p, x), 0.8)


def loss_of(loss):
    return lg.pseudo_likelihood(loss, line)


RECOGNISED = {
    "absolute error as noise": (lg.likelihood(laplace), None, Y),
    "a quantile": (lg.likelihood(lambda p, x: dist.AsymmetricLaplace(line(p, x), 0.5, 0.3)), None, Y),
    "a tube": (lg.likelihood(lambda p, x: dist.EpsilonInsensitive(line(p, x), 0.5, 0.8)), RIDGE, Y),
    "an offset and scales of its own": (
        lg.likelihood(lambda p, x: dist.Laplace(line(p, x) + x[:, 0] ** 2, 0.5 + x[:, 1] ** 2)),
        None,
        Y,
    ),
    "hinge": (loss_of(losses.hinge), RIDGE, LABELS),
    "pinball": (loss_of(losses.Pinball(0.7)), None, Y),
    "absolute error": (loss_of(losses.absolute_error), {"coef": dist.Laplace(0.2, 0.3), "intercept": dist.Flat()}, Y),
    "epsilon-insensitive": (loss_of(losses.EpsilonInsensitive(0.4)), RIDGE, Y),
    "elastic net": (lg.likelihood(laplace), {"coef": dist.ElasticNet(0.0, 0.2, 0.5), "intercept": dist.Normal()}, Y),
    "a coefficient that is held": (lg.likelihood(laplace), {"coef": None, "intercept": dist.Fixed(0.2)}, Y),
}


def written(loss):
    """A plain log-likelihood: minus a function of the residual."""
    return lambda p, x, y: -loss(y - line(p, x))


RECOGNISED |= {
    "two lines": (lambda p, x, y: -jnp.maximum(0.3 * (y - line(p, x)), -0.7 * (y - line(p, x))), None, Y),
    "a branch": (written(lambda r: jnp.where(r >= 0, 0.3 * r, -0.7 * r)), None, Y),
    "a comparison": (written(lambda r: r * (0.3 - (r < 0))), None, Y),
    "a sign": (written(lambda r: r * (0.5 * jnp.sign(r) - 0.2)), None, Y),
    "a slope besides": (written(lambda r: jnp.abs(r) / 2 - 0.2 * r), None, Y),
    "two halves": (written(lambda r: 0.3 * jax.nn.relu(r) - 0.7 * jnp.clip(r, None, 0)), None, Y),
    "weights inside": (lambda p, x, y: -np.arange(1.0, N + 1) * jnp.abs(line(p, x) - y), RIDGE, Y),
    "rows that do not count": (lambda p, x, y: -jnp.abs(jnp.where(x[:, 0] > 0, line(p, x) - y, 0.0)), RIDGE, Y),
    "a wide tube": (written(lambda r: jnp.maximum(jnp.abs(r) - 0.5, 0.0)), RIDGE, Y),
    "three kinks": (written(lambda r: jnp.abs(r) + 2 * jnp.abs(1 - 3 * r) + jnp.maximum(r, 0.4)), None, Y),
    "margins": (lambda p, x, y: -jnp.maximum(0, 1 - (2 * y - 1) * line(p, x)), RIDGE, LABELS),
    "a log-density": (lambda p, x, y: laplace(p, x).log_prob(y), {"coef": dist.Laplace(), "intercept": None}, Y),
}


def problem(likelihood, prior=None, target=Y, start=None, **kwargs):
    objective = lg.map_objective(likelihood, prior, **kwargs)
    return as_problem(pose(objective, START if start is None else start, (jnp.asarray(X), jnp.asarray(target)), None))


@pytest.mark.parametrize("name", RECOGNISED)
def test_pieces_are_the_objective_up_to_a_constant(name):
    # The function that solvers get and the objective agree at points on all sides of all kinks.
    posed = problem(*RECOGNISED[name])
    found = piecewise(posed)
    assert isinstance(plan_for(posed, "auto").solver, solvers.InteriorPoint)
    pieces = found.pieces(posed.args)
    origin = [jnp.zeros_like(v) for v in posed.init]
    constant = posed.fun(origin, posed.args) - pieces.value(found.coefficients(origin))
    for scale in (1e-3, 0.1, 1.0, 10.0, 1e3):
        u = [scale * jnp.asarray(RNG.normal(size=v.shape)) for v in posed.init]
        value = pieces.value(found.coefficients(u)) + constant
        np.testing.assert_allclose(posed.fun(u, posed.args), value, rtol=1e-13)


@pytest.mark.parametrize(
    "name",
    [
        "absolute error",
        pytest.param("hinge", marks=pytest.mark.slow),
        "two lines",
        pytest.param("a tube", marks=pytest.mark.slow),
        pytest.param("a coefficient that is held", marks=pytest.mark.slow),
    ],
)
def test_fits_end_in_the_minimum(name):
    likelihood, prior, target = RECOGNISED[name]
    objective = lg.map_objective(likelihood, prior)
    fit = lg.fit(objective, START, X, target)
    assert fit.status == lg.Status.CONVERGED and float(fit.edm) <= 1e-12
    assert "interior points" in str(fit.plan) and "duality gap" in fit.message
    values = jax.vmap(lambda c, b: objective.negative_log_posterior({"coef": c, "intercept": b}, fit.data, None))
    for size in (1e-7, 1e-4, 1e-1):
        coef, intercept = size * RNG.normal(size=(40, 2)), size * RNG.normal(size=40)
        held = name == "a coefficient that is held"
        around = values(
            fit.params["coef"][None, :] + coef, fit.params["intercept"] + (0 * intercept if held else intercept)
        )
        assert np.all(around >= float(fit.value) - 1e-12)
    # There is no curvature and hence no observed information.
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(fit.standard_errors("sandwich")))
    zero = fit.params["coef"] == 0.2
    np.testing.assert_array_equal(zero, name == "absolute error" and fit.params["coef"] == 0.2)


@pytree
class Overridden(losses.Hinge):
    """Tells the kinks of another loss."""

    def value(self, m):
        return jnp.where(m >= 1, 0, jnp.square(1 - m))


@pytree
class Lying(losses.Hinge):
    """Tells kinks that it does not have."""

    def value(self, m):
        return jnp.where(m >= 1, 0.0, 1.5 * (1 - m))

    def kinks(self):
        return [(1.0, -1.0, 0.0)]


POSITIVE = {"coef": supports.positive, "intercept": None}
WITH_SCALE = START | {"s": jnp.asarray(1.0)}


REFUSED = {
    "smooth noise": lambda: problem(lg.likelihood(lambda p, x: dist.Normal(line(p, x), 1.0))),
    "a curved location": lambda: problem(lg.likelihood(lambda p, x: dist.Laplace(jnp.exp(line(p, x)), 1.0))),
    "a scale that moves with the line": lambda: problem(
        lg.likelihood(lambda p, x: dist.Laplace(line(p, x), jnp.exp(p["intercept"])))
    ),
    "a scale that is a function": lambda: problem(
        lg.likelihood(lambda p, x: dist.Laplace(line(p, x), jnp.exp(p["s"]))), start=WITH_SCALE
    ),
    "a scale that is used twice": lambda: problem(
        lg.likelihood(lambda p, x: dist.Laplace(line(p, x) + p["s"], p["s"])),
        start=WITH_SCALE,
        supports={"coef": None, "intercept": None, "s": supports.positive},
    ),
    "a scale under a prior": lambda: problem(
        lg.likelihood(lambda p, x: dist.Laplace(line(p, x), p["s"])),
        {"coef": None, "intercept": None, "s": dist.HalfNormal()},
        start=WITH_SCALE,
    ),
    "a scale beside a penalty": lambda: problem(
        lg.likelihood(lambda p, x: dist.Laplace(line(p, x), p["s"])),
        RIDGE | {"s": dist.Flat(supports.positive)},
        start=WITH_SCALE,
    ),
    "a constrained coefficient": lambda: problem(lg.likelihood(laplace), supports=POSITIVE),
    "a heavy-tailed prior": lambda: problem(lg.likelihood(laplace), {"coef": dist.Cauchy(), "intercept": None}),
    "a hierarchy": lambda: problem(
        lg.likelihood(laplace), lambda p: {"coef": dist.Normal(p["intercept"], 1.0), "intercept": dist.Flat()}
    ),
    "a line that is held": lambda: problem(
        lg.likelihood(laplace), {"coef": dist.Fixed(jnp.ones(2)), "intercept": dist.Fixed(0.1)}
    ),
    "a convex log-likelihood": lambda: problem(lambda p, x, y: jnp.abs(y - line(p, x))),
    "negative weights": lambda: problem(lambda p, x, y: -np.linspace(-2.0, -1.0, N) * jnp.abs(y - line(p, x))),
    "a truncated loss": lambda: problem(written(lambda r: jnp.minimum(jnp.abs(r), 1.0))),
    "curved pieces": lambda: problem(written(lambda r: jnp.where(jnp.abs(r) < 1, r**2 / 2, jnp.abs(r) - 0.5))),
    "a jump": lambda: problem(written(lambda r: jnp.where(r > 0, 1.0, 0.0))),
    "two lines of features": lambda: problem(lambda p, x, y: -jnp.maximum(x[:, 0] * p["coef"][0], line(p, x) - y)),
    "a curved location of a function": lambda: problem(lambda p, x, y: -jnp.abs(y - jnp.exp(line(p, x)))),
    "a slope that moves": lambda: problem(lambda p, x, y: -p["intercept"] * jnp.abs(y - x @ p["coef"])),
    "whole numbers": lambda: problem(written(lambda r: jnp.abs(r).astype(int) + 0.0)),
    "a sum of the rows": lambda: problem(lambda p, x, y: -jnp.sum(jnp.abs(y - line(p, x)))),
    "a loss without kinks": lambda: problem(loss_of(losses.squared_hinge), target=LABELS),
    "a loss that is not convex": lambda: problem(loss_of(losses.ramp), target=LABELS),
    "an overridden value": lambda: problem(loss_of(Overridden()), target=LABELS),
    "coefficients that are rounded": lambda: problem(
        lg.likelihood(lambda p, x: dist.Laplace(x @ p["coef"] + p["intercept"].astype(int), 1.0))
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_proved_to_be_piecewise_linear_is_not_taken_for_it(name):
    assert piecewise(REFUSED[name]()) is None


def test_a_loss_that_lies_about_its_kinks_is_not_called_solved():
    objective = lg.map_objective(loss_of(Lying()), RIDGE)
    fit = lg.fit(objective, START, X, LABELS, throw=False)
    assert fit.status == lg.Status.STALLED and np.isinf(fit.edm)


@pytest.mark.slow
def test_a_function_that_was_misread_is_solved_as_any_other():
    # Each row falls without end, which no sum of rows with a minimum does: seen at the end, and Newton takes over.
    objective = lg.map_objective(lambda p, x, y: -jnp.abs(y - line(p, x)) + 2 * line(p, x))
    fit = lg.fit(objective, START, X, Y, throw=False)
    assert fit.status == lg.Status.UNBOUNDED and isinstance(fit.plan.solver, solvers.Newton)
    fit = lg.fit(objective, START, X, Y, throw=False, solver=solvers.InteriorPoint())
    assert fit.status == lg.Status.STALLED and "read as" in fit.message


def test_the_solver_is_refused_where_it_does_not_apply():
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(line(p, x), 1.0)))
    with pytest.raises(ValueError, match="piecewise linear in a linear"):
        lg.fit(objective, START, X, Y, solver=solvers.InteriorPoint())


@pytest.mark.slow
def test_a_weight_counts_an_observation_that_often():
    objective = lg.map_objective(lg.likelihood(laplace))
    counts = RNG.integers(0, 4, size=N)
    weighted = lg.fit(objective, START, X, Y, weights=counts.astype(float))
    repeated = lg.fit(objective, START, np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    for key in START:
        np.testing.assert_allclose(weighted.params[key], repeated.params[key], rtol=1e-12)
    np.testing.assert_allclose(weighted.value, repeated.value, rtol=1e-13)


def noise_with_scale(p, x):
    return dist.AsymmetricLaplace(line(p, x), p["s"], 0.4)


SCALED = lg.map_objective(
    lg.likelihood(noise_with_scale), supports={"coef": None, "intercept": None, "s": supports.positive}
)


def test_a_scale_is_the_mean_loss_and_its_information_that_of_the_density():
    fit = lg.fit(SCALED, WITH_SCALE, X, Y)
    # The line does not depend on the scale: it has the least mean loss.
    for _ in range(20):
        other = {"coef": fit.params["coef"] + 0.01 * RNG.normal(size=2), "intercept": fit.params["intercept"]}
        assert np.mean(losses.Pinball(0.4)(Y - line(other, X))) > float(fit.params["s"])
    np.testing.assert_allclose(fit.params["s"], np.mean(losses.Pinball(0.4)(Y - line(fit.params, X))), rtol=1e-13)
    # Expected information: q (1 - q) X'X / s^2 for the line, n / s^2 for the scale.
    design, s = np.c_[X, np.ones(N)], float(fit.params["s"])
    expected = np.sqrt(np.diag(np.linalg.inv(0.24 * design.T @ design))) * s
    errors = fit.standard_errors("expected")
    np.testing.assert_allclose(np.r_[errors["coef"], errors["intercept"]], expected, rtol=1e-10)
    np.testing.assert_allclose(errors["s"], s / np.sqrt(N), rtol=1e-10)
    assert np.isnan(fit.standard_errors()["s"]) and "no observed information" in fit.message


def test_a_perfect_line_has_no_scale():
    fit = lg.fit(SCALED, WITH_SCALE, X, X @ [1.0, 2.0] - 1.0, throw=False)
    assert fit.status == lg.Status.AT_BOUNDARY and "s runs to the edge" in fit.message
    np.testing.assert_allclose(fit.params["coef"], [1.0, 2.0], rtol=1e-12)


def test_many_optima_are_flagged():
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Laplace(p["m"], 1.0)))
    fit = lg.fit(objective, {"m": jnp.asarray(0.0)}, X[:-1], Y[:-1], throw=False)
    assert fit.status == lg.Status.UNIDENTIFIED and "Several optima" in fit.message and "along m" in fit.message
    middle = np.sort(Y[:-1])[N // 2 - 1 : N // 2 + 1]
    assert middle[0] < float(fit.params["m"]) < middle[1] and np.isnan(fit.standard_errors("expected")["m"])


def test_parameters_that_someone_else_fitted_are_judged_by_the_dual():
    objective = lg.map_objective(lg.likelihood(laplace))
    best = lg.fit(objective, START, X, Y)
    assert lg.Fit.from_params(objective, best.params, X, Y).status == lg.Status.CONVERGED
    off = {**best.params, "intercept": best.params["intercept"] + 0.1}
    fit = lg.Fit.from_params(objective, off, X, Y)
    assert fit.status == lg.Status.MAX_STEPS
    np.testing.assert_allclose(fit.edm, objective(off, X, Y) - float(best.value), rtol=1e-9)


def test_solve_has_the_derivatives_of_the_vertex():
    objective = lg.map_objective(lg.likelihood(lambda p, x, q: dist.AsymmetricLaplace(line(p, x), 1.0, q)))

    def coef(y, level):
        solution = lg.solve(objective, START, jnp.asarray(X), jnp.full(N, level), y)
        return jnp.append(solution.params["coef"], solution.params["intercept"]), solution.status

    (one, status), pull = jax.vjp(lambda y: coef(y, 0.5), jnp.asarray(Y))
    zero = np.zeros(status.shape, jax.dtypes.float0)
    jacobian = np.stack([pull((row, zero))[0] for row in jnp.eye(3)])
    assert status == lg.Status.CONVERGED
    # The line passes through three observations and moves with these alone.
    design = np.c_[X, np.ones(N)]
    at_rest = np.flatnonzero(np.abs(Y - design @ np.asarray(one)) < 1e-12)
    expected = np.zeros((3, N))
    expected[:, at_rest] = np.linalg.inv(design[at_rest])
    np.testing.assert_allclose(jacobian, expected, atol=1e-11)


@pytest.mark.slow
def test_solve_maps_over_levels():
    objective = lg.map_objective(lg.likelihood(lambda p, x, q: dist.AsymmetricLaplace(line(p, x), 1.0, q)))
    levels = np.array([0.2, 0.5, 0.7])
    together = jax.vmap(lambda q: lg.solve(objective, START, jnp.asarray(X), jnp.full(N, q), jnp.asarray(Y)))(levels)
    assert np.all(together.status == lg.Status.CONVERGED)
    for k, level in enumerate(levels):
        one = lg.fit(objective, START, X, np.full(N, level), Y).params
        np.testing.assert_allclose(together.params["coef"][k], one["coef"], rtol=1e-12)


def test_what_cannot_be_solved_is_told_what_it_would_need():
    objective = lg.map_objective(lg.likelihood(laplace), {"coef": dist.Cauchy(), "intercept": dist.Flat()})
    fit = lg.fit(objective, START, X, Y, throw=False, max_steps=30)
    assert fit.status in (lg.Status.MAX_STEPS, lg.Status.STALLED)
    assert "Laplace noise has kinks" in fit.message and "the priors are flat, Normal" in fit.message


@pytest.mark.slow
def test_support_vectors_move_with_the_constant():
    def coef(spread):
        objective = lg.map_objective(
            loss_of(losses.hinge), {"coef": dist.Normal(0.0, spread), "intercept": dist.Flat()}
        )
        solution = lg.solve(objective, START, jnp.asarray(X), jnp.asarray(LABELS))
        return jnp.append(solution.params["coef"], solution.params["intercept"])

    step = 1e-5
    differences = (coef(0.7 + step) - coef(0.7 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jacfwd(coef)(0.7), differences, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(jax.jacrev(coef)(0.7), differences, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_derivatives_are_nan_where_the_optimum_is_not_a_point():
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Laplace(p["m"], 1.0)))

    def median(y):
        return lg.solve(objective, {"m": jnp.asarray(0.0)}, jnp.asarray(X[:-1]), y).params["m"]

    value, gradient = jax.value_and_grad(median)(jnp.asarray(Y[:-1]))
    assert np.isfinite(value) and np.all(np.isnan(gradient))


@pytest.mark.slow
def test_single_precision_converges_and_says_so():
    objective = lg.map_objective(lg.likelihood(laplace))
    single = jax.tree.map(lambda v: v.astype(jnp.float32), START)
    fit = lg.fit(objective, single, X.astype(np.float32), Y.astype(np.float32))
    double = lg.fit(objective, START, X, Y)
    assert fit.params["coef"].dtype == jnp.float32 and float(fit.edm) <= 1e-4
    np.testing.assert_allclose(fit.params["coef"], double.params["coef"], atol=1e-5)


@pytest.mark.slow
def test_progress_and_budget():
    told = []
    objective = lg.map_objective(lg.likelihood(laplace))
    fit = lg.fit(objective, START, X, Y, callback=lambda *a: told.append(a), callback_every=4)
    assert [a[0] for a in told][:2] == [4, 8] and fit.status == lg.Status.CONVERGED
    short = lg.fit(objective, START, X, Y, max_steps=2, throw=False)
    assert short.status == lg.Status.MAX_STEPS and float(short.edm) > 1e-6


@pytest.mark.slow
def test_errors_of_a_median_are_those_of_its_density():
    # Normal noise has density 1 / sqrt(2 pi) at its median, whatever the scale that the loss has.
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, 2))
    y = line({"coef": np.array([1.0, 2.0]), "intercept": 0.5}, x) + rng.normal(size=3000)
    fits = [
        lg.fit(lg.map_objective(likelihood), START, x, y)
        for likelihood in (loss_of(losses.absolute_error), lg.likelihood(laplace))
    ]
    for kind in ("iid", "nid"):
        covariance = [inference.quantile_covariance(fit, kind) for fit in fits]
        np.testing.assert_allclose(covariance[0], covariance[1], rtol=1e-8, atol=1e-12)
        # The density is estimated from some 300 observations, to 5 percent: five of these.
        np.testing.assert_allclose(np.sqrt(np.diag(covariance[0]) * 3000 * 2 / np.pi), 1.0, rtol=0.25)


@pytest.mark.slow
def test_quantile_errors_are_refused_where_there_is_no_quantile_regression():
    weights = np.linspace(1.0, 2.0, N)
    with pytest.raises(ValueError, match="kind must be"):
        inference.quantile_covariance(lg.Fit.from_params(SCALED, WITH_SCALE, X, Y), "boot")
    hinge = lg.fit(lg.map_objective(loss_of(losses.hinge), RIDGE), START, X, LABELS)
    with pytest.raises(ValueError, match="flat priors"):
        inference.quantile_covariance(hinge)
    covariance = inference.quantile_covariance(lg.fit(SCALED, WITH_SCALE, X, Y), "iid")
    assert np.all(np.isfinite(covariance[:3, :3])) and np.all(np.isnan(covariance[3]))
    objective = lg.map_objective(lg.likelihood(laplace))
    with pytest.raises(ValueError, match="no weights"):
        inference.quantile_covariance(lg.fit(objective, START, X, Y, weights=weights))


def test_the_model_knows_its_start_and_its_scale():
    model = models.quantile_regression(0.4)
    begin = model.init(X, Y)
    np.testing.assert_allclose(begin["scale"], np.mean(losses.Pinball(0.4)(Y - float(begin["intercept"]))), rtol=1e-14)
    params = {"coef": jnp.array([0.3, -0.2]), "intercept": jnp.asarray(0.1), "scale": jnp.asarray(2.0)}
    found = model(params, X)
    np.testing.assert_allclose(found.loc, line(params, X), rtol=1e-14)
    assert found.quantile == 0.4 and found.scale == 2.0 and model.supports["scale"] == supports.positive
    # An offset that is the line itself leaves nothing for the coefficients.
    held = models.quantile_regression(0.4, scale=1.0)
    through = held(jax.tree.map(jnp.zeros_like, params), X, line(params, X))
    np.testing.assert_allclose(through.loc, line(params, X), rtol=1e-14)
    assert "intercept" not in models.quantile_regression(0.4, intercept=False).init(X, Y)
    for faulty in ({"quantile": 1.0}, {"quantile": np.nan}, {"scale": 0.0}):
        with pytest.raises(ValueError, match=next(iter(faulty))):
            models.quantile_regression(**faulty)
    with pytest.raises(ValueError, match="one row for each"):
        model.init(X[:, 0], Y)


@pytest.mark.slow
def test_more_columns_than_rows():
    # The lasso of absolute errors: residuals at rest and coefficients at rest make up the vertex.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 600))
    y = x[:, :3] @ [3.0, -2.0, 1.0] + 0.1 * rng.laplace(size=40)
    model = models.quantile_regression(0.5, scale=1.0, intercept=False)
    objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Laplace(0.0, 0.5)})
    fit = lg.fit(objective, None, x, y)
    assert fit.status == lg.Status.CONVERGED and "interior points" in str(fit.plan)
    coef = np.asarray(fit.params["coef"])
    at_rest = np.sum(np.abs(y - x @ coef) < 1e-10)
    assert 3 <= np.sum(coef != 0) == at_rest <= 40
    theirs = pytest.importorskip("sklearn.linear_model").QuantileRegressor(
        quantile=0.5, alpha=2.0 / 40, fit_intercept=False
    )
    np.testing.assert_allclose(coef, theirs.fit(x, y).coef_, atol=1e-9)
