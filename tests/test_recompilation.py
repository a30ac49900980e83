"""Ten data sets of one shape, ten strengths of a prior, ten tolerances: one program, whatever solver runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import solvers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X @ np.array([1.0, -0.5, 0.0, 0.0]) + 0.5 * RNG.normal(size=60)
WIDE = RNG.normal(size=(60, 600))

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compilation")]


class Counted:
    """A model that counts how often it is traced."""

    def __init__(self, family):
        self.family, self.traces = family, 0

    def __call__(self, params, x):
        self.traces += 1
        return self.family(x @ params["coef"])


def normal(eta):
    return dist.Normal(eta, 0.5)


def curved(eta):
    return dist.Normal(jnp.sinh(eta), 0.5)


def laplace(eta):
    return dist.Laplace(eta, 0.5)


SMOOTH = {
    "auto": "auto",
    "Newton": solvers.Newton(),
    "NewtonCG": solvers.NewtonCG(),
    "LBFGS": solvers.LBFGS(),
    "LevenbergMarquardt": solvers.LevenbergMarquardt(),
    "ProximalGradient": solvers.ProximalGradient(),
    "optax": optax.adam(0.1),
}


def traces_of(call, model, x):
    """Traces that data, prior and tolerance of other values cost after a first call."""
    y = np.asarray(x[:, :4] @ np.array([1.0, -0.5, 0.2, 0.1]) + 0.3 * np.sin(np.arange(len(x))))
    call(model, x, y, 2.0, 1e-9)
    first = model.traces
    assert first > 0
    for k in (1, 2):
        call(model, np.roll(x, k, axis=0), np.roll(y, k), 2.0 + k, 1e-9 * k)
    return model.traces - first


def fit_with(solver, prior):
    def call(model, x, y, scale, tol):
        objective = lg.map_objective(lg.likelihood(model), {"coef": prior(0.0, scale)})
        lg.fit(objective, {"coef": jnp.zeros(x.shape[1])}, x, y, solver=solver, tol=tol, throw=False)

    return call


@pytest.mark.parametrize("name", SMOOTH)
def test_a_fit_compiles_once(name):
    assert traces_of(fit_with(SMOOTH[name], dist.Normal), Counted(normal), X) == 0


@pytest.mark.parametrize("name", ["auto", "ProximalGradient"])
def test_a_kinked_fit_compiles_once(name):
    assert traces_of(fit_with(SMOOTH[name], dist.Laplace), Counted(normal), X) == 0


def test_a_fit_of_groups_and_one_on_a_simplex_compile_once():
    def groups(loc, scale):
        return dist.GroupLaplace(jnp.full(4, loc), scale)

    assert traces_of(fit_with("auto", groups), Counted(normal), X) == 0
    shares, model = np.abs(X) / np.sum(np.abs(X), axis=1, keepdims=True), Counted(normal)

    def on_simplex(model, x, y, scale, tol):
        objective = lg.map_objective(lg.likelihood(model), supports={"coef": lg.supports.simplex})
        start = {"coef": jnp.full(4, 0.25)}
        lg.fit(objective, start, x, y, solver=solvers.MirrorDescent(), tol=tol, throw=False)

    assert traces_of(on_simplex, model, shares) == 0


def test_a_fit_of_several_outputs_compiles_once():
    def softmax(model, x, y, scale, tol):
        objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, scale)})
        labels, start = np.digitize(y, [-0.5, 0.5]), {"coef": jnp.zeros((x.shape[1], 3))}
        lg.fit(objective, start, x, labels, solver=solvers.KroneckerNewton(), tol=tol, throw=False)

    assert traces_of(softmax, Counted(lambda eta: dist.Categorical(logits=eta)), X) == 0


def test_a_curved_fit_compiles_once():
    assert traces_of(fit_with("auto", dist.Normal), Counted(curved), 0.3 * X) == 0


def test_a_fit_of_absolute_errors_compiles_once():
    assert traces_of(fit_with("auto", dist.Normal), Counted(laplace), X) == 0


def test_a_working_set_compiles_once_for_data_sets_that_need_the_same_sizes():
    model, fit = Counted(normal), fit_with("auto", dist.Laplace)
    y = WIDE[:, :3].sum(axis=1)
    fit(model, WIDE, y, 0.02, 1e-9)
    first = model.traces
    fit(model, WIDE[::-1].copy(), y[::-1].copy(), 0.02, 1e-9)
    assert model.traces == first


def test_a_solution_within_jit_compiles_once():
    model = Counted(normal)

    @jax.jit
    def solve(x, y, scale, tol):
        objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, scale)})
        return lg.solve(objective, {"coef": jnp.zeros(4)}, x, y, tol=tol).params

    assert traces_of(lambda model, *args: solve(*args), model, X) == 0
