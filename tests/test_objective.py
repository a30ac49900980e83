"""The objective: a sum in nats of weighted terms and an unweighted prior, with supports in one place."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

RNG = np.random.default_rng(6)
X, Y = RNG.normal(size=(8, 2)), RNG.normal(size=8)
PARAMS = {"coef": jnp.asarray([0.5, -1.0]), "sigma": jnp.asarray(0.7)}
PRIOR = {"coef": dist.Normal(0.0, 2.0), "sigma": dist.HalfNormal(1.0)}


def model(params, x):
    return dist.Normal(x @ params["coef"], params["sigma"])


def log_density(params, x, y):
    return model(params, x).log_prob(y)


def test_it_is_minus_the_sum_of_all_terms_and_the_prior():
    objective = lg.map_objective(lg.likelihood(model), PRIOR)
    terms, log_prior = objective.log_likelihood(PARAMS, X, Y), objective.log_prior(PARAMS)
    assert terms.shape == (8,) and log_prior.shape == ()
    np.testing.assert_allclose(objective(PARAMS, X, Y), -(terms.sum() + log_prior), rtol=1e-13)


def test_a_model_and_its_log_density_are_one_objective():
    values = [lg.map_objective(how, PRIOR)(PARAMS, X, Y) for how in (lg.likelihood(model), log_density)]
    assert values[0] == values[1]
    one_unit = lg.map_objective(lambda p, x, y: jnp.sum(log_density(p, x, y)), PRIOR)
    np.testing.assert_allclose(one_unit(PARAMS, X, Y), values[0], rtol=1e-14)


def test_weights_count_observations_and_leave_the_prior_alone():
    objective = lg.map_objective(log_density, PRIOR)
    counts = np.array([0, 1, 2, 3, 1, 0, 1, 5])
    replicated = objective(PARAMS, np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    for weights in (counts, counts.astype(float), jnp.asarray(counts), counts.astype(np.uint8)):
        np.testing.assert_allclose(objective(PARAMS, X, Y, weights=weights), replicated, rtol=1e-13)
    np.testing.assert_allclose(objective(PARAMS, X, Y, weights=np.zeros(8)), -objective.log_prior(PARAMS), rtol=1e-14)


@pytest.mark.parametrize("shape", [(), (7,), (8, 1), (1, 8)])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="weights"):
        lg.map_objective(log_density, PRIOR)(PARAMS, X, Y, weights=np.ones(shape))


def test_a_minibatch_scales_the_likelihood_by_its_weights_only():
    objective = lg.map_objective(log_density, PRIOR)
    batches = [objective(PARAMS, X[k : k + 2], Y[k : k + 2], weights=np.full(2, 4.0)) for k in range(0, 8, 2)]
    np.testing.assert_allclose(np.mean(batches), objective(PARAMS, X, Y), rtol=1e-13)


def test_one_trace_for_ten_data_sets_and_ten_prior_scales():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def value_and_grad(objective, params, x, y, weights):
        return jax.value_and_grad(lambda p: objective(p, x, y, weights=weights))(params)

    seen = set()
    for k in range(10):
        objective = lg.map_objective(lg.likelihood(model), {**PRIOR, "coef": dist.Normal(0.0, 1.0 + k)})
        value, _ = value_and_grad(objective, PARAMS, np.roll(X, k, axis=0), Y, np.ones(8))
        seen.add(float(value))
    assert len(seen) == 10


def test_vmap_and_grad_over_the_objective_itself():
    objective = lg.map_objective(lg.likelihood(model), PRIOR)
    many = jax.vmap(lambda s: lg.map_objective(lg.likelihood(model), {**PRIOR, "coef": dist.Normal(0.0, s)}))(
        jnp.asarray([1.0, 2.0])
    )
    values = jax.vmap(lambda o: o(PARAMS, X, Y))(many)
    np.testing.assert_allclose(values[1], objective(PARAMS, X, Y), rtol=1e-13)
    slope = jax.grad(lambda o: o(PARAMS, X, Y))(objective).prior.tree["coef"].scale
    # d/ds of the sum of x^2 / (2 s^2) + log s over two coefficients.
    np.testing.assert_allclose(slope, -(0.25 + 1.0) / 8 + 2 / 2, rtol=1e-12)


def test_float32_stays_float32():
    params = jax.tree.map(lambda v: v.astype(jnp.float32), PARAMS)
    objective = lg.map_objective(lg.likelihood(model), PRIOR)
    assert objective(params, X.astype(np.float32), Y.astype(np.float32)).dtype == jnp.float32


# ------------------------------------------------------------------ supports
def kinds(objective, params=PARAMS):
    return [type(support).__name__ for support in objective.supports(params)]


def test_supports_come_from_the_declaration_then_the_prior():
    assert kinds(lg.map_objective(log_density)) == ["Real", "Real"]
    assert kinds(lg.map_objective(log_density, PRIOR)) == ["Real", "Positive"]
    assert kinds(lg.map_objective(log_density, supports={"sigma": supports.positive})) == ["Real", "Positive"]
    declared = {"sigma": supports.interval(0.1, 2.0)}
    assert kinds(lg.map_objective(log_density, PRIOR, supports=declared)) == ["Real", "Interval"]
    held = {"coef": dist.Flat(), "sigma": dist.Fixed(1.0)}
    assert kinds(lg.map_objective(log_density, held, supports=supports.positive)) == ["Positive", "Point"]


def test_supports_that_match_no_parameter_are_named():
    with pytest.raises(ValueError, match="scale"):
        lg.map_objective(log_density, supports={"scale": supports.positive}).supports(PARAMS)
    with pytest.raises(TypeError, match="supports"):
        lg.map_objective(log_density, supports={"sigma": dist.HalfNormal()})


@pytest.mark.parametrize("wrong", [None, 1.0, dist.Normal(), "likelihood"])
def test_what_is_no_likelihood_is_refused(wrong):
    with pytest.raises(TypeError, match="likelihood"):
        lg.map_objective(wrong)
