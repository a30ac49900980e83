"""Priors: every way to declare one gives the same density; a tree that does not fit is named, in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports
from lossgeo.priors import prior

PARAMS = {"coef": jnp.asarray([0.3, -1.2]), "layers": [jnp.asarray(0.7), jnp.asarray([2.0])], "tau": jnp.asarray(0.9)}
WANT = (
    scipy.stats.norm.logpdf([0.3, -1.2], 0.0, 0.9).sum()
    + scipy.stats.laplace.logpdf([0.7, 2.0], 0.1, 2.0).sum()
    + scipy.stats.halfnorm.logpdf(0.9, scale=1.5)
)


def tree(params=PARAMS):
    return {"coef": dist.Normal(0.0, params["tau"]), "layers": dist.Laplace(0.1, 2.0), "tau": dist.HalfNormal(1.5)}


FORMS = {
    "prefix": tree(),
    "every leaf": {**tree(), "layers": [dist.Laplace(0.1, 2.0), dist.Laplace(0.1, 2.0)]},
    "hierarchy": tree,
    "shaped hyper-parameters": {**tree(), "coef": dist.Normal(jnp.zeros(2), 0.9 * jnp.ones(2))},
    "log-density": lambda params: prior(tree(params)).log_prior(params),
    "a prior": prior(tree()),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_same_density(name):
    np.testing.assert_allclose(prior(FORMS[name]).log_prior(PARAMS), WANT, rtol=1e-12)


@pytest.mark.parametrize("flat", [None, dist.Flat(), {"coef": None, "layers": dist.Flat(), "tau": None}, lambda p: 0.0])
def test_flat_is_zero_in_every_form(flat):
    assert prior(flat).log_prior(PARAMS) == 0.0


@pytest.mark.parametrize("library", ["numpyro.distributions", "distrax"])
def test_foreign_priors_are_the_same_density(library):
    theirs = pytest.importorskip(library)
    declared = {"coef": theirs.Normal(0.0, 0.9), "layers": theirs.Laplace(0.1, 2.0), "tau": dist.HalfNormal(1.5)}
    found = prior(declared)
    np.testing.assert_allclose(found.log_prior(PARAMS), WANT, rtol=1e-12)
    kinks = found.kinks(PARAMS)
    np.testing.assert_allclose([kinks[1][0], kinks[1][1]], [0.1, 0.5], rtol=1e-12)
    np.testing.assert_array_equal(kinks[0][1], 0.0)
    # At the kink the derivative is the middle one, whichever library the density comes from.
    at_kink = {**PARAMS, "layers": [jnp.asarray(0.1), jnp.asarray([0.1])]}
    assert jax.grad(found.log_prior)(at_kink)["layers"][0] == 0.0


def test_a_foreign_support_constrains():
    ndist = pytest.importorskip("numpyro.distributions")
    found = prior({"a": ndist.HalfNormal(1.0), "b": ndist.Uniform(-1.0, 2.0), "c": ndist.Normal(0.0, 1.0)})
    a, b, c = found.supports({"a": 1.0, "b": 0.0, "c": 0.0})
    assert isinstance(a, supports.Positive) and isinstance(c, supports.Real)
    assert (b.low, b.high) == (-1.0, 2.0)


class Stranger:
    def log_prob(self, y):
        return -(y**4)


def test_a_stranger_with_log_prob_is_a_prior_on_the_real_line():
    found = prior({"a": Stranger(), "b": dist.Normal(0.0, 1.0)})
    params = {"a": jnp.asarray([1.0, 2.0]), "b": 0.0}
    np.testing.assert_allclose(found.log_prior(params), -17.0 - 0.5 * np.log(2 * np.pi), rtol=1e-12)
    assert isinstance(found.supports(params)[0], supports.Real)
    assert np.isfinite(jax.jit(lambda prior, p: prior.log_prior(p))(found, params))


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"coef": dist.Flat(), "layers": dist.Flat()}, "tau"),
        ({"coef": dist.Flat(), "layers": dist.Flat(), "tau": dist.Flat(), "slope": dist.Flat()}, "slope"),
        ({"coef": dist.Flat(), "layers": [dist.Flat()], "tau": dist.Flat()}, "layers.1"),
        (lambda p: {"coef": dist.Flat(), "layers": dist.Flat()}, "tau"),
        (lambda p: {**tree(p), "slope": dist.Flat()}, "slope"),
    ],
)
def test_a_tree_that_does_not_fit_is_named_in_both_directions(declared, named):
    with pytest.raises(ValueError, match=named):
        prior(declared).log_prior(PARAMS)


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"coef": 1.0, "tau": dist.Flat()}, "coef"),
        ({"coef": dist.Normal, "tau": dist.Flat()}, "coef"),
        (dist.Normal, "Normal"),
        (3.0, "distribution"),
        ({"coef": "flat"}, "coef"),
    ],
)
def test_what_is_no_prior_is_refused_at_once(declared, named):
    with pytest.raises(TypeError, match=named):
        prior(declared)


@pytest.mark.parametrize("returned", [jnp.zeros(2), {"coef": 0.0}, {}, [dist.Flat(), 1.0]])
def test_a_prior_function_returns_distributions_or_one_number(returned):
    with pytest.raises(ValueError, match="prior function"):
        prior(lambda params: returned).log_prior(PARAMS)


@pytest.mark.parametrize("hyper", [jnp.ones(3), jnp.ones((2, 2)), jnp.ones((2, 1))])
def test_hyper_parameters_of_another_shape_are_never_broadcast(hyper):
    with jax.numpy_rank_promotion("allow"), pytest.raises((ValueError, TypeError)) as caught:
        prior({"coef": dist.Normal(0.0, hyper)}).log_prior({"coef": jnp.zeros(2)})
    assert "coef" in str(caught.value) or "shape" in str(caught.value)


def test_a_discrete_prior_is_refused():
    with pytest.raises(ValueError, match="discrete"):
        prior({"a": dist.Poisson(2.0)}).supports({"a": 1.0})


def test_kinks_have_the_shape_of_their_parameters():
    found = prior({"coef": dist.Laplace(jnp.asarray([0.0, 1.0]), 0.5), "layers": dist.Normal(), "tau": dist.Flat()})
    kinks = found.kinks(PARAMS)
    np.testing.assert_array_equal(kinks[0][0], [0.0, 1.0])
    np.testing.assert_array_equal(kinks[0][1], [2.0, 2.0])
    assert [kink.strength.shape for kink in kinks] == [(2,), (), (1,), ()]
    assert all(kink.block is None for kink in kinks)
    assert prior(dist.Normal()).kinks(PARAMS) is None
    assert prior(lambda p: jnp.zeros(())).kinks(PARAMS) is None


def test_a_held_parameter_has_a_point_as_support_in_the_dtype_of_the_parameter():
    (support,) = prior(dist.Fixed(0.1)).supports({"a": jnp.zeros(3, jnp.float32)})
    assert support.value.shape == (3,) and support.value.dtype == jnp.float32
    assert support.inverse(support.value).shape == (0,)


def test_hyper_parameters_are_leaves():
    declared = prior({"coef": dist.Normal(0.0, 2.0), "layers": dist.Laplace(0.0, 1.0), "tau": dist.Flat()})
    assert len(jax.tree.leaves(declared)) == 4
    many = jax.vmap(lambda s: prior({"a": dist.Normal(0.0, s)}).log_prior({"a": jnp.asarray(1.0)}))(
        jnp.asarray([1.0, 2.0])
    )
    np.testing.assert_allclose(many, scipy.stats.norm.logpdf(1.0, 0.0, [1.0, 2.0]), rtol=1e-12)
    slope = jax.grad(lambda p: p.log_prior({"a": jnp.asarray(1.0)}))(prior({"a": dist.Normal(0.0, 2.0)}))
    # d/ds [-1/(2 s^2) - log s] = 1/s^3 - 1/s
    np.testing.assert_allclose(slope.tree["a"].scale, 1 / 8 - 1 / 2, rtol=1e-12)


def test_a_kink_that_moves_with_a_parameter_is_refused():
    objective = lg.map_objective(
        lambda p, y: dist.Normal(p["b"], 1.0).log_prob(y),
        lambda p: {"b": dist.Laplace(p["mu"], 0.3), "mu": dist.Normal(0.0, 1.0)},
    )
    with pytest.raises(ValueError, match="'b'.*kink"):
        lg.solve(objective, {"b": jnp.zeros(4), "mu": jnp.zeros(())}, jnp.asarray([1.0, 1.5, 0.5, 2.0]))


def test_a_kink_whose_strength_is_a_parameter_is_fine():
    # Given tau the mode of b is soft-thresholded, and tau balances its own prior.
    y = jnp.asarray([3.0, -0.1, 0.05])
    objective = lg.map_objective(
        lambda p, y: dist.Normal(p["b"], 1.0).log_prob(y),
        lambda p: {"b": dist.Laplace(0.0, p["tau"]), "tau": dist.Gamma(20.0, 20.0)},
    )
    found = lg.solve(objective, {"b": jnp.zeros(3), "tau": jnp.asarray(1.0)}, y)
    assert found.status == lg.Status.CONVERGED
    b, tau = found.params["b"], found.params["tau"]
    np.testing.assert_allclose(b, jnp.sign(y) * jnp.maximum(jnp.abs(y) - 1 / tau, 0.0), atol=1e-9)
    assert b[1] == b[2] == 0.0
    slope = jax.grad(lambda t: objective({"b": b, "tau": t}, y))(tau)
    np.testing.assert_allclose(slope, 0.0, atol=1e-8)


def test_a_support_that_moves_with_a_parameter_is_refused():
    # The supports are the coordinates of the solver: frozen at the start they would cut off the optimum.
    objective = lg.map_objective(
        lambda p: -50 * (p["a"] - 0.2) ** 2 - 50 * (p["b"] - 0.7) ** 2,
        lambda p: {"a": dist.Flat(supports.unit_interval), "b": dist.Flat(supports.interval(0.0, 1 - p["a"]))},
    )
    with pytest.raises(ValueError, match="support that depends on other parameters"):
        lg.solve(objective, {"a": jnp.asarray(0.6), "b": jnp.asarray(0.2)})
