"""Likelihoods: one term for each observation, in nats, for the observation it belongs to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo.likelihoods import FunctionLikelihood, ModelLikelihood

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=6)
COEF = {"coef": jnp.asarray([0.5, -1.0])}


def model(params, x):
    return dist.Normal(x @ params["coef"], 0.7)


def test_terms_are_log_densities_in_nats_one_for_each_observation():
    terms = lg.likelihood(model).log_likelihood(COEF, X, Y)
    np.testing.assert_allclose(terms, scipy.stats.norm.logpdf(Y, X @ COEF["coef"], 0.7), rtol=1e-12)


def test_trailing_axes_of_the_target_belong_to_one_observation():
    weights = {"w": jnp.asarray(RNG.normal(size=(2, 3)))}
    target = RNG.normal(size=(6, 3))
    likelihood = lg.likelihood(lambda p, x: dist.Normal(x @ p["w"], 1.0))
    want = scipy.stats.norm.logpdf(target, X @ weights["w"], 1.0).sum(axis=1)
    np.testing.assert_allclose(likelihood.log_likelihood(weights, X, target), want, rtol=1e-12)


def test_one_distribution_may_serve_all_observations():
    terms = lg.likelihood(lambda p: dist.Normal(p["m"], 2.0)).log_likelihood({"m": 0.3}, Y)
    np.testing.assert_allclose(terms, scipy.stats.norm.logpdf(Y, 0.3, 2.0), rtol=1e-12)


def test_class_ids_select_their_logits():
    logits = jnp.asarray(RNG.normal(size=(6, 3)))
    labels = np.array([0, 2, 1, 1, 0, 2])
    terms = lg.likelihood(lambda p, x: dist.Categorical(logits=x + p)).log_likelihood(jnp.zeros(()), logits, labels)
    np.testing.assert_allclose(terms, jax.nn.log_softmax(logits)[np.arange(6), labels], rtol=1e-12)


class Foreign:
    """A stranger with ``log_prob`` and nothing else: no pytree, no shapes, no support."""

    def __init__(self, loc):
        self.loc = loc

    def log_prob(self, y):
        return -0.5 * (y - self.loc) ** 2


def column(params, x):
    return dist.Normal((x @ params["coef"])[:, None], 1.0)


MISMATCHES = {
    "column target": (model, Y[:, None]),
    "row target": (model, Y[None, :]),
    "column prediction": (column, Y),
    "column prediction, foreign": (lambda p, x: Foreign((x @ p["coef"])[:, None]), Y),
    "column target, foreign": (lambda p, x: Foreign(x @ p["coef"]), Y[:, None]),
    "another length": (model, Y[:-1]),
    "one target": (model, Y[0]),
    "one row of logits each": (lambda p, x: dist.Categorical(logits=x), np.zeros((6, 2))),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_target_of_another_shape_is_never_broadcast(name):
    function, target = MISMATCHES[name]
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match="shape"):
        lg.likelihood(function).log_likelihood(COEF, X, target)


@pytest.mark.parametrize("library", ["numpyro.distributions", "distrax"])
def test_distributions_of_other_libraries_are_checked_and_right(library):
    theirs = pytest.importorskip(library)
    likelihood = lg.likelihood(lambda p, x: theirs.Normal(x @ p["coef"], 0.7))
    np.testing.assert_allclose(
        likelihood.log_likelihood(COEF, X, Y), lg.likelihood(model).log_likelihood(COEF, X, Y), rtol=1e-12
    )
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match="target has shape"):
        likelihood.log_likelihood(COEF, X, Y[:, None])


def test_a_stranger_with_log_prob_is_welcome():
    terms = lg.likelihood(lambda p, x: Foreign(x @ p["coef"])).log_likelihood(COEF, X, Y)
    np.testing.assert_allclose(terms, -0.5 * (Y - X @ COEF["coef"]) ** 2, rtol=1e-12)


def test_events_of_other_libraries_are_one_observation():
    ndist = pytest.importorskip("numpyro.distributions")
    target = RNG.normal(size=(6, 2))
    likelihood = lg.likelihood(lambda p, x: ndist.Normal(x, 1.0).to_event(1))
    want = scipy.stats.norm.logpdf(target, X).sum(axis=1)
    np.testing.assert_allclose(likelihood.log_likelihood((), X, target), want, rtol=1e-12)


@pytest.mark.parametrize("returned", [np.zeros((6, 1)), np.zeros((6, 6)), np.arange(6), dist.Normal(0.0, 1.0), None])
def test_a_bare_function_returns_one_floating_term_each_or_one_in_all(returned):
    likelihood = lg.map_objective(lambda params, y: returned).likelihood
    with pytest.raises((ValueError, TypeError), match="log-likelihood"):
        likelihood.log_likelihood((), Y)


def test_a_bare_function_may_return_one_term_for_one_dependent_unit():
    likelihood = lg.map_objective(lambda params, y: jnp.sum(y) * params).likelihood
    assert likelihood.log_likelihood(jnp.asarray(2.0), Y).shape == ()


@pytest.mark.parametrize("returned", [1.0, None, np.zeros(6), {"mean": 0.0}])
def test_a_model_that_returns_no_distribution_is_refused(returned):
    with pytest.raises(TypeError, match="must return a distribution"):
        lg.likelihood(lambda params, x: returned).log_likelihood(COEF, X, Y)


def test_a_model_that_fails_says_what_it_was_given():
    with pytest.raises(ValueError, match=r"model could not be evaluated.*float64\[6, 2\]"):
        lg.likelihood(lambda p, x: dist.Normal(x @ p["slope"], 1.0)).log_likelihood(COEF, X, Y)
    with pytest.raises(ValueError, match="data"):
        lg.likelihood(model).log_likelihood(COEF)


@pytest.mark.parametrize("wrong", [dist.Normal(0.0, 1.0), 3.0, None, "model"])
def test_what_is_no_model_is_refused_at_once(wrong):
    with pytest.raises(TypeError, match="likelihood"):
        lg.likelihood(wrong)


def test_likelihoods_are_trees_without_leaves_of_their_own():
    assert jax.tree.leaves(lg.likelihood(model)) == []
    assert jax.tree.structure(lg.likelihood(model)) == jax.tree.structure(lg.likelihood(model))
    partial = jax.tree_util.Partial(lambda scale, params, x: dist.Normal(x @ params["coef"], scale), jnp.asarray(0.7))
    likelihood = lg.likelihood(partial)
    assert len(jax.tree.leaves(likelihood)) == 1
    slope = jax.grad(lambda like: jnp.sum(like.log_likelihood(COEF, X, Y)))(likelihood)
    assert np.isfinite(jax.tree.leaves(slope)[0])


def test_kinds_know_whether_they_are_densities():
    assert isinstance(lg.likelihood(model), ModelLikelihood) and lg.likelihood(model).is_density
    pseudo = lg.pseudo_likelihood(lambda p, y: -jnp.abs(y))
    assert isinstance(pseudo, FunctionLikelihood) and not pseudo.is_density
    np.testing.assert_array_equal(pseudo.log_likelihood((), Y), -np.abs(Y))


def test_targets_outside_the_support_are_found():
    likelihood = lg.likelihood(lambda p, x: dist.Bernoulli(logits=x @ p["coef"]))
    outside = likelihood.outside_support(COEF, X, np.array([0, 1, 2, -1, 0.5, 1]))
    np.testing.assert_array_equal(outside, [False, False, True, True, True, False])
    assert "0 and 1" in likelihood.target_support(COEF, X, Y).label
