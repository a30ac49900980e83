"""Sums over independent rows go in blocks of them where that is proved to be the same, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import links, models, supports
from lossgeo.posing import as_problem, pose
from lossgeo.solvers import FlatProblem
from lossgeo.structure import derivatives
from lossgeo.structure.blocks import divide

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 60, 3
RNG = np.random.default_rng(0)
X, OFFSET = RNG.normal(size=(N, D)), RNG.normal(size=N)
COUNT = RNG.poisson(2.0, N).astype(float)
INDEX = np.arange(N) % 4
COEF = {"coef": jnp.full(D, 0.1)}
SIZED = COEF | {"concentration": jnp.asarray(2.0)}


def residuals(predict):
    """A bare log-likelihood of a normal with the given mean."""
    return lambda params, x, y: -0.5 * jnp.square(y - predict(params, x))


def logistic(params, x, y):
    eta = x @ params["coef"]
    return y * eta - jax.nn.softplus(eta)


def insisting(params, x, y):
    assert x.shape[0] == N
    return -jnp.square(y - x @ params["coef"])


DIVISIBLE = {
    "softplus": (logistic, COEF, (X, COUNT)),
    "negative binomial": (
        lg.likelihood(models.glm(dist.NegativeBinomial, links.log, intercept=False)),
        SIZED,
        (X, OFFSET, COUNT),
    ),
    "gamma": (
        lg.likelihood(lambda p, x: dist.Gamma(p["concentration"], jnp.exp(-x @ p["coef"]))),
        SIZED,
        (X, COUNT + 0.5),
    ),
    "features": (residuals(lambda p, x: jnp.concatenate([x[:, :1], x[:, 1:] ** 2], axis=1) @ p["coef"]), COEF, None),
    "two designs": (
        residuals(lambda p, x: x @ p["coef"] + jnp.tanh(x[:, :2]) @ p["b"]),
        COEF | {"b": np.ones(2)},
        None,
    ),
    "zeros of all rows": (
        residuals(lambda p, x: jnp.where(x @ p["coef"] > 0, x[:, 0], jnp.zeros(x.shape[0]))),
        COEF,
        None,
    ),
}
WHOLE = {
    "insists on its rows": insisting,
    "centred": residuals(lambda p, x: (x - x.mean(axis=0, keepdims=True)) @ p["coef"]),
    "number of rows": lambda p, x, y: -jnp.square(y - x @ p["coef"]) / x.shape[0],
    "exponent": residuals(lambda p, x: (x @ p["coef"]) ** x.shape[0]),
    "sum of ones": lambda p, x, y: -jnp.square(y - x @ p["coef"]) / jnp.sum(jnp.ones(x.shape[0])),
    "index of the row": residuals(lambda p, x: x @ p["coef"] + jnp.arange(x.shape[0]) / 7),
    "array of all rows": residuals(lambda p, x: x @ p["coef"] + OFFSET),
    "sum of an array of all rows": lambda p, x, y: -jnp.square(y - x @ p["coef"]) / jnp.sum(jnp.where(y > 0, 1.0, 0.5)),
    "previous row": residuals(lambda p, x: x @ p["coef"] + jnp.roll(x[:, 0], 1)),
    "rank": residuals(lambda p, x: x @ p["coef"] + jnp.argsort(x[:, 0])),
    "effects of groups": residuals(lambda p, x: x @ p["coef"] + jnp.ones(4)[INDEX]),
}


def problem_of(likelihood, params, data, weights=None):
    params = jax.tree.map(jnp.asarray, params)
    declared = {k: supports.positive if k == "concentration" else supports.real for k in params}
    objective = lg.map_objective(likelihood, supports=declared)
    return as_problem(pose(objective, params, data, weights))


@pytest.mark.parametrize("name", DIVISIBLE)
@pytest.mark.parametrize("n", [60, 59])
def test_blocks_of_rows_give_value_and_gradient_of_all(name, n, monkeypatch):
    """Of equal size, and with a last one that has rows in common with the one before it."""
    likelihood, params, data = DIVISIBLE[name]
    params, data = COEF if params is None else params, (X, COUNT) if data is None else data
    data = tuple(v[:n] for v in data)
    weights = None if n == N else np.linspace(0.5, 2.0, n)
    designs = 2 if name == "two designs" else 1
    monkeypatch.setattr(derivatives, "BLOCK", 20 * (D + 2 * (designs - 1)))

    def both(params, data, weights):
        problem = problem_of(likelihood, params, data, weights)
        flat = FlatProblem(problem)
        return flat.value_and_grad(flat.z0), jax.value_and_grad(flat.value)(flat.z0)

    monkeypatch.setattr(derivatives, "LONG", 1)
    text = jax.make_jaxpr(both)(params, data, weights).pretty_print()
    assert f"dynamic_slice[slice_sizes=(20, {D})]" in text
    for found, wanted in zip(*jax.jit(both)(params, data, weights), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", WHOLE)
def test_what_depends_on_other_rows_or_on_their_number_stays_whole(name):
    def is_divisible(params):
        problem = problem_of(WHOLE[name], params, (X, COUNT))
        structure = problem.derivatives.structure
        return divide(structure, problem.init, problem.args, 20) is not None

    found = []
    jax.eval_shape(lambda params: found.append(is_divisible(params)), COEF)
    assert found == [False]
