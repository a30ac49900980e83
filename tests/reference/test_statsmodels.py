"""Every family with every link that suits it against statsmodels: score, log-likelihood, both informations, fits."""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import likelihoods, links, models

sm = pytest.importorskip("statsmodels.api")
betareg = pytest.importorskip("statsmodels.othermod.betareg")

pytestmark = pytest.mark.usefixtures("fast_compilation")

N = 60
RNG = np.random.default_rng(3)
X = RNG.uniform(-1, 1, size=(N, 2))
DESIGN = np.c_[np.ones(N), X]
TRIALS = RNG.integers(1, 9, size=N)
SL = sm.families.links
LINKS = {
    "identity": (links.identity, SL.Identity(), (2.5, 0.5, -0.4)),
    "log": (links.log, SL.Log(), (0.7, 0.5, -0.4)),
    "logit": (links.logit, SL.Logit(), (0.3, 0.8, -0.6)),
    "probit": (links.probit, SL.Probit(), (0.2, 0.5, -0.4)),
    "cloglog": (links.cloglog, SL.CLogLog(), (-0.3, 0.5, -0.4)),
    "loglog": (links.loglog, SL.LogLog(), (0.3, 0.5, -0.4)),
    "cauchit": (links.cauchit, SL.Cauchy(), (0.2, 0.5, -0.4)),
    "inverse": (links.inverse, SL.InversePower(), (0.9, 0.2, -0.3)),
    "inverse_squared": (links.inverse_squared, SL.InverseSquared(), (0.9, 0.2, -0.3)),
    "sqrt": (links.sqrt, SL.Sqrt(), (1.6, 0.3, -0.2)),
    "power": (links.power(0.4), SL.Power(0.4), (1.4, 0.3, -0.2)),
}
PROBABILITIES = ("logit", "probit", "cloglog", "loglog", "cauchit")
AMOUNTS = ("identity", "log", "inverse", "inverse_squared", "sqrt", "power")
PHI = 0.3  # dispersion, held on both sides: the square of a scale, or the inverse of a concentration

FAMILIES: dict[Any, tuple[tuple[str, ...], Any, Any]] = {
    dist.Normal: (AMOUNTS, sm.families.Gaussian, lambda mu: RNG.normal(mu, np.sqrt(PHI))),
    dist.Bernoulli: (PROBABILITIES, sm.families.Binomial, lambda mu: (RNG.uniform(size=N) < mu).astype(float)),
    dist.Binomial: (PROBABILITIES, sm.families.Binomial, lambda mu: RNG.binomial(TRIALS, mu).astype(float)),
    dist.Poisson: (("log", "identity", "sqrt", "power"), sm.families.Poisson, lambda mu: RNG.poisson(mu).astype(float)),
    dist.Gamma: (AMOUNTS, sm.families.Gamma, lambda mu: RNG.gamma(1 / PHI, mu * PHI)),
    dist.InverseGaussian: (AMOUNTS, sm.families.InverseGaussian, lambda mu: RNG.wald(mu, 1 / PHI)),
    dist.NegativeBinomial: (
        ("log", "identity", "sqrt", "power"),
        lambda link, **options: sm.families.NegativeBinomial(link, alpha=PHI, **options),
        lambda mu: RNG.poisson(RNG.gamma(1 / PHI, mu * PHI)).astype(float),
    ),
}
CASES = [(family, name) for family, (names, *_) in FAMILIES.items() for name in names]
IDS = [f"{family.__name__}-{name}" for family, name in CASES]
FEW = [pytest.param(*case, marks=[] if case[1] == "identity" else pytest.mark.slow) for case in CASES]


@dataclasses.dataclass(frozen=True)
class Truth:
    """What statsmodels says: both targets, the estimates, the log-likelihood, both informations."""

    target: Any
    params: np.ndarray
    log_likelihood: float
    expected: np.ndarray
    observed: np.ndarray


def truth_of(family, name):
    """A fit of statsmodels, polished by Newton steps with its own observed information."""
    link, theirs, beta = LINKS[name]
    mu = np.asarray(link.inverse(DESIGN @ np.array(beta)))
    make, draw = FAMILIES[family][1:]
    y = draw(mu)
    endog = np.c_[y, TRIALS - y] if family is dist.Binomial else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # links that are not safe for every predictor are said to be so
        model = sm.GLM(endog, DESIGN, family=make(theirs, check_link=False))
        found = model.fit(start_params=np.array(beta), tol=1e-14, maxiter=200).params
    scale = PHI if family in (dist.Normal, dist.Gamma, dist.InverseGaussian) else 1.0
    for _ in range(3):
        found = found - np.linalg.solve(model.hessian(found, scale=scale), model.score(found, scale=scale))
    informations = (-model.hessian(found, scale=scale, observed=kind) for kind in (False, True))
    target = (y, TRIALS.astype(float)) if family is dist.Binomial else y
    return Truth(target, found, float(model.loglike(found, scale=scale)), *informations)


def model_of(family, name):
    held = {} if family in (dist.Bernoulli, dist.Binomial, dist.Poisson) else {"dispersion": PHI}
    return models.glm(family, LINKS[name][0], **held)


def tree(z):
    return {"coef": jnp.asarray(z[1:]), "intercept": jnp.asarray(z[0])}


@pytest.mark.parametrize(("family", "name"), FEW, ids=IDS)
def test_scores_log_likelihoods_and_informations(family, name):
    truth, likelihood = truth_of(family, name), lg.likelihood(model_of(family, name))

    def total(z):
        return jnp.sum(likelihood.log_likelihood(tree(z), X, truth.target))

    (value, score), curvature = jax.value_and_grad(total)(truth.params), jax.jacfwd(jax.grad(total))(truth.params)
    np.testing.assert_allclose(value, truth.log_likelihood, rtol=1e-10)
    errors = np.sqrt(np.diag(np.linalg.inv(truth.observed)))
    # The Newton step from their estimate, in standard errors: it is our estimate.
    np.testing.assert_allclose(np.linalg.solve(truth.observed, score) / errors, 0.0, atol=1e-8)
    unit = np.outer(errors, errors)
    np.testing.assert_allclose(-curvature * unit, truth.observed * unit, atol=1e-7)
    found = likelihoods.fisher_information(likelihood, tree(truth.params), X, truth.target)
    order = [2, 0, 1]  # coef, intercept
    np.testing.assert_allclose(found[np.ix_(order, order)] * unit, truth.expected * unit, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), CASES[::3], ids=IDS[::3])
def test_fits_from_the_start_of_the_model(family, name):
    truth = truth_of(family, name)
    fit = lg.fit(lg.map_objective(lg.likelihood(model_of(family, name))), None, X, truth.target)
    found = np.r_[fit.params["intercept"], fit.params["coef"]]
    np.testing.assert_allclose(found, truth.params, rtol=1e-8)
    for kind in ("observed", "expected"):
        errors = fit.standard_errors(kind)
        wanted = np.sqrt(np.diag(np.linalg.inv(getattr(truth, kind))))
        np.testing.assert_allclose(np.r_[errors["intercept"], errors["coef"]], wanted, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logit", "loglog"])
def test_beta_regression(name):
    """Mean and precision, the latter on its logarithm in statsmodels."""
    link, theirs, beta = LINKS[name]
    mu = np.asarray(link.inverse(DESIGN @ np.array(beta)))
    y = np.random.default_rng(5).beta(6 * mu, 6 * (1 - mu))
    model = betareg.BetaModel(y, DESIGN, link=theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search ends in rounding: the Newton step below settles it
        z = model.fit(disp=0, gtol=1e-10).params
    z = z - np.linalg.solve(model.hessian(z), model.score(z))
    likelihood = lg.likelihood(models.glm(dist.Beta, link))

    def total(z):
        return jnp.sum(likelihood.log_likelihood({**tree(z[:3]), "concentration": jnp.exp(z[3])}, X, y))

    value, score = jax.value_and_grad(total)(z)
    errors = np.sqrt(np.diag(np.linalg.inv(-model.hessian(z))))
    np.testing.assert_allclose(value, model.loglike(z), rtol=1e-12)
    np.testing.assert_allclose(score * errors, 0.0, atol=1e-7)


@pytest.mark.parametrize("power", [1.3, pytest.param(1.7, marks=pytest.mark.slow)])
def test_tweedie_estimates_and_robust_errors(power):
    """The quasi-score vanishes at the estimate of statsmodels; robust errors are its HC0."""
    mu = np.exp(DESIGN @ np.array([0.7, 0.5, -0.4]))
    rng = np.random.default_rng(8)
    y = np.array([np.sum(rng.gamma(2.0, m / 3, size=rng.poisson(1.5))) for m in mu])  # with exact zeros
    found = sm.GLM(y, DESIGN, family=sm.families.Tweedie(SL.Log(), var_power=power)).fit(tol=1e-14, cov_type="HC0")
    model = models.tweedie(power)

    def total(z):
        return jnp.sum(model(tree(z), X, y))

    (_, score), information = jax.value_and_grad(total)(found.params), -jax.hessian(total)(found.params)
    np.testing.assert_allclose(np.linalg.solve(information, score) / found.bse, 0.0, atol=1e-8)
    scores = jax.jacfwd(lambda z: model(tree(z), X, y))(found.params)
    residual, mean = (y - np.asarray(found.mu)), np.asarray(found.mu)
    np.testing.assert_allclose(scores, DESIGN * (residual * mean ** (1 - power))[:, None], rtol=1e-9, atol=1e-12)
    bread = np.linalg.inv(information)
    np.testing.assert_allclose(np.sqrt(np.diag(bread @ scores.T @ scores @ bread)), found.bse, rtol=1e-6)
