"""Models: the density is that of the family at the mean of the link; starts, dispersions, quasi-likelihoods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import likelihoods, links, models

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(11)
N = 40
X = RNG.normal(size=(N, 2))
PARAMS = {"coef": jnp.asarray([0.3, -0.2]), "intercept": jnp.asarray(0.5)}
ETA = X @ np.array([0.3, -0.2]) + 0.5
TRIALS = RNG.integers(1, 9, size=N)

# family: (links that suit ETA, extra parameters, target of a mean, scipy's log-density)
CASES = {
    dist.Normal: (
        (links.identity, links.log, links.sqrt),
        {"scale": 0.7},
        lambda mu: RNG.normal(mu, 0.7),
        lambda y, mu: scipy.stats.norm.logpdf(y, mu, 0.7),
    ),
    dist.Bernoulli: (
        (links.logit, links.probit, links.cloglog, links.loglog, links.cauchit),
        {},
        lambda mu: (RNG.uniform(size=N) < mu).astype(float),
        scipy.stats.bernoulli.logpmf,
    ),
    dist.Binomial: (
        (links.logit, links.probit, links.cloglog),
        {},
        lambda mu: (RNG.binomial(TRIALS, mu), TRIALS),
        lambda y, mu: scipy.stats.binom.logpmf(y[0], y[1], mu),
    ),
    dist.Poisson: ((links.log, links.sqrt, links.identity), {}, RNG.poisson, scipy.stats.poisson.logpmf),
    dist.Gamma: (
        (links.log, links.inverse, links.power(-0.5)),
        {"concentration": 2.5},
        lambda mu: RNG.gamma(2.5, mu / 2.5),
        lambda y, mu: scipy.stats.gamma.logpdf(y, 2.5, scale=mu / 2.5),
    ),
    dist.InverseGaussian: (
        (links.log, links.inverse_squared),
        {"concentration": 2.5},
        lambda mu: RNG.wald(mu, 2.5),
        lambda y, mu: scipy.stats.invgauss.logpdf(y, mu / 2.5, scale=2.5),
    ),
    dist.NegativeBinomial: (
        (links.log, links.sqrt),
        {"concentration": 2.5},
        lambda mu: RNG.negative_binomial(2.5, 2.5 / (2.5 + mu)),
        lambda y, mu: scipy.stats.nbinom.logpmf(y, 2.5, 2.5 / (2.5 + mu)),
    ),
    dist.Beta: (
        (links.logit, links.probit, links.loglog),
        {"concentration": 6.0},
        lambda mu: RNG.beta(6 * mu, 6 * (1 - mu)),
        lambda y, mu: scipy.stats.beta.logpdf(y, 6 * mu, 6 * (1 - mu)),
    ),
}
PAIRS = [(family, link) for family, (allowed, *_) in CASES.items() for link in allowed]


def predictor(link):
    """A linear predictor inside the range of the link: away from 0 for the powers."""
    shift = 0.0 if link in (links.log, links.logit, links.probit, links.cloglog, links.loglog, links.cauchit) else 2.0
    return ETA + shift, {**PARAMS, "intercept": PARAMS["intercept"] + shift}


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=lambda v: getattr(v, "__name__", type(v).__name__))
def test_the_density_is_that_of_the_family_at_the_mean_of_the_link(family, link):
    _, extra, draw, log_density = CASES[family]
    eta, params = predictor(link)
    mu = np.asarray(link.inverse(eta))
    y = draw(mu)
    model = models.glm(family, link)
    terms = lg.likelihood(model).log_likelihood({**params, **extra}, X, y)
    np.testing.assert_allclose(terms, log_density(y, mu), rtol=1e-10, atol=1e-12)
    assert model.supports.keys() == extra.keys()


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=lambda v: getattr(v, "__name__", type(v).__name__))
def test_the_start_has_a_finite_objective_and_gradient_and_all_parameters(family, link):
    _, extra, draw, _ = CASES[family]
    y = draw(np.asarray(link.inverse(predictor(link)[0])))
    likelihood = lg.likelihood(models.glm(family, link))
    start = likelihood.init(X, y)
    assert start.keys() == {"coef", "intercept", *extra} and not np.any(start["coef"])
    slope = jax.grad(lambda p: likelihood.total(p, X, y))(start)
    assert np.all([np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope)])
    # An offset of a constant is an intercept.
    bare = models.glm(family, link, intercept=False)
    shifted = lg.likelihood(bare).log_likelihood(
        {"coef": PARAMS["coef"], **extra}, X, predictor(link)[0] - ETA + 0.5, y
    )
    whole = likelihood.log_likelihood({**predictor(link)[1], **extra}, X, y)
    np.testing.assert_allclose(shifted, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("link", [links.probit, links.cloglog, links.loglog, links.cauchit], ids=lambda v: str(v))
def test_binary_log_likelihoods_do_not_lose_the_tail(link):
    model = lg.likelihood(models.glm(dist.Bernoulli, link))
    x, params = np.array([[-30.0], [30.0]]), {"coef": jnp.ones(1), "intercept": 0.0}
    terms = model.log_likelihood(params, x, np.array([1.0, 0.0]))
    log_mu = {
        links.probit: [scipy.stats.norm.logcdf(-30.0)] * 2,
        links.cloglog: [-30.0, -np.exp(30.0)],
        links.loglog: [-np.exp(30.0), -30.0],
        links.cauchit: [np.log(np.arctan(1 / 30.0) / np.pi)] * 2,
    }[link]
    np.testing.assert_allclose(terms, log_mu, rtol=1e-12)
    slope = jax.grad(lambda p: jnp.sum(model.log_likelihood(p, x, np.array([1.0, 0.0]))))(params)
    assert np.isfinite(slope["coef"][0]) and slope["coef"][0] != 0


EXPECTED = [(family, link) for family, link in PAIRS if family is not dist.NegativeBinomial]


@pytest.mark.parametrize(("family", "link"), EXPECTED, ids=lambda v: getattr(v, "__name__", type(v).__name__))
def test_expected_information_is_that_of_reweighted_least_squares(family, link):
    # X^T W X with W = mu'^2 / (phi V(mu)) for the coefficients, by finite differences of the inverse link.
    _, extra, draw, _ = CASES[family]
    eta, params = predictor(link)
    mu = np.asarray(link.inverse(eta))
    step = 1e-5
    slope = (np.asarray(link.inverse(eta + step)) - np.asarray(link.inverse(eta - step))) / (2 * step)
    y, params = draw(mu), {**params, **{k: jnp.asarray(v) for k, v in extra.items()}}
    found = likelihoods.fisher_information(lg.likelihood(models.glm(family, link)), params, X, y)
    if family is dist.Beta:  # mean and concentration are not orthogonal, and the weight has trigammas
        a, b = 6 * mu, 6 * (1 - mu)
        weight = 36 * slope**2 * (scipy.special.polygamma(1, a) + scipy.special.polygamma(1, b))
    else:
        variance = {
            dist.Normal: lambda: np.full(N, 0.49),
            dist.Bernoulli: lambda: mu * (1 - mu),
            dist.Binomial: lambda: mu * (1 - mu) / TRIALS,
            dist.Poisson: lambda: mu,
            dist.Gamma: lambda: mu**2 / 2.5,
            dist.InverseGaussian: lambda: mu**3 / 2.5,
        }[family]()
        weight = slope**2 / variance
    # Leaves in the order of their names: coef, concentration if there is one, intercept, scale.
    index = [0, 1, 3 if "concentration" in params else 2]
    design = np.c_[X, np.ones(N)]
    np.testing.assert_allclose(
        np.asarray(found)[np.ix_(index, index)], design.T @ (weight[:, None] * design), rtol=2e-8, atol=1e-8
    )


def test_a_held_dispersion_is_the_familys_parameter():
    for family, name, value in [
        (dist.Normal, "scale", 0.5),
        (dist.Gamma, "concentration", 4.0),
        (dist.InverseGaussian, "concentration", 4.0),
        (dist.NegativeBinomial, "concentration", 4.0),
        (dist.Beta, "concentration", 3.0),
    ]:
        link = links.logit if family is dist.Beta else links.log
        y = np.full(N, 0.4) if family is not dist.NegativeBinomial else np.full(N, 2.0)
        held = lg.likelihood(models.glm(family, link, dispersion=0.25)).log_likelihood(PARAMS, X, y)
        free = lg.likelihood(models.glm(family, link)).log_likelihood({**PARAMS, name: value}, X, y)
        np.testing.assert_allclose(held, free, rtol=1e-12)
        assert models.glm(family, link, dispersion=0.25).supports == {}


QUASI = {0.0: dist.Normal, 1.0: dist.Poisson, 2.0: dist.Gamma, 3.0: dist.InverseGaussian}


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1.5, 2.0, 3.0])
def test_a_quasi_score_is_residual_over_variance(power):
    y = RNG.gamma(2.0, 1.0, size=N) if power != 1.0 else RNG.poisson(2.0, size=N).astype(float)
    if 1 < power < 2:
        y[:5] = 0.0
    loss = models.tweedie(power)
    mu = np.exp(ETA)
    score = jax.grad(lambda b: jnp.sum(loss({"coef": PARAMS["coef"], "intercept": b}, X, y)))(PARAMS["intercept"])
    np.testing.assert_allclose(score, np.sum((y - mu) / mu**power * mu), rtol=1e-10)
    # Minus half a deviance: 0 where the mean is the target, and negative elsewhere.
    assert np.all(loss(PARAMS, X, y) <= 1e-12)
    positive = np.where(y > 0, y, 1.0)
    exact = loss({"coef": jnp.zeros(2), "intercept": 0.0}, X, np.log(positive), positive)
    np.testing.assert_allclose(exact, 0.0, atol=1e-13)
    if power in QUASI:
        family = models.glm(QUASI[power], links.log, dispersion=None if power == 1.0 else 0.3)
        other = jax.grad(lambda b: jnp.sum(lg.likelihood(family).log_likelihood({**PARAMS, "intercept": b}, X, y)))(
            PARAMS["intercept"]
        )
        np.testing.assert_allclose(score / (1.0 if power == 1.0 else 0.3), other, rtol=1e-9)


def test_quasi_binomial_is_bernoulli_on_labels_and_takes_shares():
    labels = (RNG.uniform(size=N) < 0.5).astype(float)
    np.testing.assert_allclose(
        models.quasi_binomial()(PARAMS, X, labels),
        lg.likelihood(models.logistic_regression()).log_likelihood(PARAMS, X, labels),
        rtol=1e-12,
    )
    shares = RNG.integers(0, 5, size=N) / 4
    fit = lg.fit(lg.map_objective(lg.pseudo_likelihood(models.quasi_binomial())), None, X, shares)
    mu = 1 / (1 + np.exp(-(X @ fit.params["coef"] + fit.params["intercept"])))
    np.testing.assert_allclose(np.c_[X, np.ones(N)].T @ (shares - mu), 0.0, atol=1e-8)
    # Typed: sandwich errors are given, what needs a density is refused.
    assert np.all(np.isfinite(fit.standard_errors("sandwich")["coef"]))
    for refused in (fit.criteria, fit.standard_errors, lambda: fit.standard_errors("expected")):
        with pytest.raises(ValueError, match="pseudo-likelihood"):
            refused()


def test_a_baseline_class_is_a_softmax_with_a_column_of_zeros():
    coef, intercept = jnp.asarray(RNG.normal(size=(2, 2))), jnp.asarray([0.3, -0.4])
    held = models.softmax_regression(3, baseline=1)({"coef": coef, "intercept": intercept}, X)
    whole = models.softmax_regression(3)(
        {"coef": jnp.insert(coef, 1, 0.0, axis=1), "intercept": jnp.insert(intercept, 1, 0.0)}, X
    )
    labels = np.arange(N) % 3
    np.testing.assert_allclose(held.log_prob(labels), whole.log_prob(labels), rtol=1e-13)


def test_ordinal_starts_are_in_order_even_with_an_empty_class():
    y = np.where(np.arange(N) % 2, 0, 3)  # classes 1 and 2 never occur
    start = models.ordinal_regression(4, links.probit).init(X, y)
    assert np.all(np.diff(start["cutpoints"]) > 0) and np.all(np.isfinite(start["cutpoints"]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: models.glm(dist.Laplace), "family"),
        (lambda: models.glm(dist.Poisson, dispersion=2.0), "dispersion of Poisson is 1"),
        (lambda: models.glm(dist.Poisson, jnp.log), "links.log"),
        (lambda: models.tweedie(0.5), "power"),
        (lambda: models.ordinal_regression(3, links.log), "links.logit or links.probit"),
        (lambda: models.ordinal_regression(1), "num_classes"),
        (lambda: models.softmax_regression(3, baseline=3), "baseline"),
        (lambda: models.glm(dist.NegativeBinomial).pearson_dispersion(PARAMS, X, np.ones(N)), "NegativeBinomial"),
        (lambda: models.logistic_regression().init(X[:, 0], np.ones(N)), "x must have shape"),
        (lambda: models.tweedie(1.5)(PARAMS, X, np.ones((N, 1))), "target has shape"),
        (lambda: models.glm(dist.Binomial).init(X, np.ones(N)), "successes, trials"),
    ],
)
def test_faults_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_a_null_model_has_no_columns():
    y = np.array([1.0, 4.0, 2.0, 3.0])
    fit = lg.fit(lg.map_objective(lg.likelihood(models.poisson_regression())), None, np.zeros((len(y), 0)), y)
    np.testing.assert_allclose(np.exp(fit.params["intercept"]), np.mean(y), rtol=1e-12)
    np.testing.assert_allclose(fit.standard_errors()["intercept"], np.sum(y) ** -0.5, rtol=1e-12)
