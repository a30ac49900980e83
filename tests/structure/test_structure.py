"""Structure is found where it is, never where it is not, and changes no number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import links, models, supports
from lossgeo.posing import as_problem, pose, structure_of
from lossgeo.solvers import FlatProblem
from lossgeo.structure import discover

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 40, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
BINARY = (RNG.random(N) < 0.5).astype(float)
COUNT = RNG.poisson(2.0, N).astype(float)
CLASS = RNG.integers(0, 3, N)
COEF = {"coef": jnp.full(D, 0.1)}


def squares(predict):
    """A bare log-likelihood of a normal with the given mean."""
    return lambda params, x, y: -0.5 * jnp.square(y - predict(params, x))


def softmax_rows(logits, y):
    return jax.nn.log_softmax(logits)[jnp.arange(N), y]


@jax.custom_jvp
def cube(e):
    return e**3


cube.defjvp(lambda primal, tangent: (cube(primal[0]), 3.0 * primal[0] ** 2 * tangent[0]))
times = jax.jit(lambda x, b: x @ b)

FOUND = {
    "logistic": (lg.likelihood(lambda p, x: dist.Bernoulli(logits=x @ p["coef"] + p["b"])), COEF | {"b": 0.2}, BINARY),
    "probit": (lg.likelihood(models.glm(dist.Bernoulli, link=links.probit, intercept=False)), COEF, BINARY),
    "gamma": (
        lg.likelihood(models.glm(dist.Gamma, link=links.log)),
        COEF | {"intercept": 0.0, "concentration": 2.0},
        COUNT + 0.5,
    ),
    "normal with scale": (lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], p["s"])), COEF | {"s": 1.5}, COUNT),
    "two predictors": (
        lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], jnp.exp(x[:, :2] @ p["gamma"]))),
        COEF | {"gamma": jnp.full(2, 0.3)},
        COUNT,
    ),
    "softmax": (
        lg.likelihood(models.softmax_regression(3)),
        {"coef": jnp.full((D, 3), 0.1), "intercept": jnp.zeros(3)},
        CLASS,
    ),
    "predictor written twice": (
        lambda p, x, y: y * (x @ p["coef"] + p["b"]) - jax.nn.softplus(x @ p["coef"] + p["b"]),
        COEF | {"b": 0.2},
        BINARY,
    ),
    "leaf first": (squares(lambda p, x: p["coef"] @ x.T), COEF, COUNT),
    "matrix leaf first": (
        lambda p, x, y: jnp.take_along_axis(jax.nn.log_softmax(jnp.einsum("kd,nd->nk", p["B"], x)), y[:, None], 1)[
            :, 0
        ],
        {"B": jnp.arange(9.0).reshape(3, 3) / 10},
        CLASS,
    ),
    "einsum": (squares(lambda p, x: jnp.einsum("nd,d->n", x, p["coef"])), COEF, COUNT),
    "centred features": (
        squares(lambda p, x: ((x - x.mean(0, keepdims=True)) / x.std(0, keepdims=True)) @ p["coef"]),
        COEF,
        COUNT,
    ),
    "interactions": (
        squares(lambda p, x: jnp.concatenate([x, x[:, :1] * x[:, 1:]], 1) @ p["b"]),
        {"b": jnp.ones(2 * D - 1)},
        COUNT,
    ),
    "vmap inside": (
        lambda p, x, y: jax.vmap(lambda xi, yi: -jnp.square(yi - jnp.tanh(xi @ p["coef"])))(x, y),
        COEF,
        COUNT,
    ),
    "jit called twice": (
        squares(lambda p, x: times(x, p["coef"]) + times(x**2, p["b"])),
        COEF | {"b": jnp.ones(D)},
        COUNT,
    ),
    "custom derivative": (squares(lambda p, x: cube(x @ p["coef"])), COEF, COUNT),
    "hidden layer": (
        squares(lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"]),
        {"w": jnp.arange(2.0 * D).reshape(D, 2) / 10, "v": jnp.ones(2)},
        COUNT,
    ),
    "groups of coefficients": (
        squares(lambda p, x: x @ p["w"].reshape(-1) + (x**2 @ p["v"].reshape(D, 1))[:, 0]),
        {"w": jnp.arange(1.0 * D).reshape(1, D), "v": jnp.ones(D)},
        COUNT,
    ),
    "groups": (
        squares(lambda p, x: x @ p["coef"] + p["u"][np.arange(N) % 4]),
        COEF | {"u": jnp.arange(4.0)},
        COUNT,
    ),
    "something unused": (
        squares(lambda p, x: (x @ p["coef"], jnp.sum(jnp.square(p["coef"])))[0]),
        COEF,
        COUNT,
    ),
    "cumulative link": (
        lg.likelihood(lambda p, x: dist.OrderedLogistic(x @ p["coef"], p["cuts"])),
        COEF | {"cuts": jnp.array([-1.0, 1.0])},
        CLASS,
    ),
}

OPAQUE = {
    "leaf used in two shapes": (squares(lambda p, x: x @ p["coef"] + jnp.sum(x @ p["coef"].reshape(D, 1), 1)), COEF),
    "leaf used twice": (squares(lambda p, x: x @ p["coef"] + (x**2) @ p["coef"]), COEF),
    "leaf used in the scale": (squares(lambda p, x: (x @ p["coef"]) * p["coef"][0]), COEF),
    "centred predictor": (squares(lambda p, x: x @ p["coef"] - jnp.mean(x @ p["coef"])), COEF),
    "shifted rows": (squares(lambda p, x: jnp.roll(x @ p["coef"], 1)), COEF),
    "reversed rows": (squares(lambda p, x: (x @ p["coef"])[::-1]), COEF),
    "cumulative sum": (squares(lambda p, x: jnp.cumsum(x @ p["coef"])), COEF),
    "sorted rows": (squares(lambda p, x: jnp.sort(x @ p["coef"])), COEF),
    "permuted rows": (squares(lambda p, x: (x @ p["coef"])[np.arange(N)[::-1]]), COEF),
    "features with a parameter": (squares(lambda p, x: jnp.tanh(x * p["s"]) @ p["coef"]), COEF | {"s": jnp.ones(())}),
    "transformed coefficients": (squares(lambda p, x: x @ jnp.exp(p["coef"])), COEF),
    "branch": (
        lambda p, x, y: jax.lax.cond(p["t"] > 0, lambda e: -(e**2), lambda e: -(e**4), y - x @ p["coef"]),
        COEF | {"t": jnp.ones(())},
    ),
    "scan over rows": (
        lambda p, x, y: jax.lax.scan(lambda c, e: (0.5 * c + e, -((0.5 * c + e) ** 2)), 0.0, y - x @ p["coef"])[1],
        COEF,
    ),
    "one dependent unit": (lambda p, x, y: -jnp.sum((y - x @ p["coef"]) ** 2), COEF),
    "moving average": (squares(lambda p, x: jnp.convolve(x @ p["coef"], jnp.ones(3) / 3, mode="same")), COEF),
    "square design against rows": (
        lambda p, x, y: -0.5 * jnp.square(y[:D] - jnp.ones((D, D)) @ (x[:D] @ p["coef"])),
        COEF,
    ),
}


def posed_of(likelihood, params, y, weights=None):
    tree = {name: supports.positive for name in ("s", "concentration") if name in params}
    ordered = {"cuts": supports.ordered} if "cuts" in params else {}
    prior = lambda params: sum(-0.1 * jnp.sum(jnp.square(leaf - 0.3)) for leaf in jax.tree.leaves(params))  # noqa: E731
    objective = lg.map_objective(likelihood, prior, supports=tree | ordered or None)
    return pose(objective, params, (jnp.asarray(X), jnp.asarray(y)), weights)


@pytest.mark.parametrize("name", FOUND)
def test_structure_is_found_and_gives_the_derivatives_of_the_function(name):
    likelihood, params, y = FOUND[name]
    posed = posed_of(likelihood, params, y, jnp.asarray(RNG.random(N)))
    found = []

    @jax.jit
    def both(posed):
        problem = as_problem(posed)
        found.append(structure_of(problem))

        def everything(problem):
            flat = FlatProblem(problem)
            z = flat.z0 + 0.1 * jnp.sin(jnp.arange(flat.z0.size))
            along = jnp.cos(jnp.arange(z.size))
            line = flat.lines(z, jnp.stack([z, along]))(1, 0.1)
            return flat.value_and_grad(z), flat.hessian(z), flat.hvp(z, along), line

        return everything(problem), everything(dataclasses.replace(problem, derivatives=None))

    through_rows, plain = both(posed)
    assert found[0].startswith("linear predictor") and f"{N} x" in found[0]
    for ours, reference in zip(jax.tree.leaves(through_rows), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-10, atol=1e-11 * np.abs(reference).max())


@pytest.mark.parametrize("name", OPAQUE)
def test_what_has_no_row_structure_is_left_alone(name):
    likelihood, params = OPAQUE[name]
    assert structure_of(as_problem(posed_of(likelihood, params, COUNT))) == ""


@pytest.mark.parametrize("name", FOUND)
def test_rows_are_independent_of_each_others_predictors(name):
    """The probe: the derivative along any change of the predictors is that of each row alone."""
    likelihood, params, y = FOUND[name]
    posed = posed_of(likelihood, params, y)
    u = posed.to_unconstrained(posed.template)
    structure = discover(
        lambda u, posed: posed.objective.likelihood.log_likelihood(posed.to_params(u), *posed.data), u, posed
    )
    designs = structure.designs(u, posed)
    etas = [jnp.asarray(RNG.normal(size=(N, p.shape[1]))) for p in structure.predictors]
    assert [design.shape for design in designs] == [(N, p.shape[0]) for p in structure.predictors]
    rest = lambda etas: structure.rest(etas, u, posed)  # noqa: E731
    rows = jnp.arange(N) % 2 == 0
    moved = rest([jnp.where(rows[:, None], eta + jnp.cos(eta), eta) for eta in etas])
    np.testing.assert_array_equal(moved[1::2], rest(etas)[1::2])
    assert np.all(moved[::2] != rest(etas)[::2])


def test_the_plan_tells_what_was_found():
    objective = lg.map_objective(FOUND["logistic"][0], None)
    fit = lg.fit(objective, {"coef": jnp.zeros(D), "b": 0.0}, X, BINARY)
    assert f"linear predictor in 'coef' over data[0], {N} x {D}; rows independent" in str(fit.plan)
