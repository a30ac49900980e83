"""Losses and likelihoods, penalties and priors: what is which, the normalisers, and what is none of it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import distributions as dist
from lossgeo import losses, supports
from lossgeo.dictionary import likelihood_of, loss_of, penalties, penalty_of, prior_of
from lossgeo.dictionary.integrability import integrate_exp

pytestmark = pytest.mark.usefixtures("fast_compilation")

MARGINS = {
    "zero_one": losses.zero_one,
    "square": losses.square,
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "smoothed_hinge": losses.smoothed_hinge,
    "exponential": losses.exponential,
    "savage": losses.savage,
    "tangent": losses.tangent,
    "ramp": losses.ramp,
}


def probit(m):
    return -jax.scipy.special.log_ndtr(m)


@pytest.mark.parametrize("name", MARGINS)
def test_margin_losses_that_are_no_likelihood(name):
    reading = likelihood_of(MARGINS[name])
    assert reading.kind == "pseudo-likelihood" and not reading.is_likelihood and not reading.normalized
    assert math.isnan(reading.factor) and reading.distribution is None
    for f, total in reading.totals:
        direct = math.exp(-float(MARGINS[name](f))) + math.exp(-float(MARGINS[name](-f)))
        assert total == pytest.approx(direct, rel=1e-14)


def test_the_hinge_shows_its_normalizer():
    totals = dict(likelihood_of(losses.hinge).totals)
    assert totals[0.0] == pytest.approx(2 / math.e, rel=1e-15)
    assert totals[1.0] == pytest.approx(1 + math.exp(-2), rel=1e-15)
    assert totals[3.0] == pytest.approx(1 + math.exp(-4), rel=1e-15)
    assert "Z(0) = 0.7358, Z(1) = 1.135, Z(3) = 1.018" in str(likelihood_of(losses.hinge))


def test_logistic_in_nats_is_a_likelihood_and_in_bits_a_tempered_one():
    nats = likelihood_of(losses.logistic)
    assert nats.is_likelihood and nats.normalized and nats.factor == 1 and nats.log_normalizer == pytest.approx(0)
    np.testing.assert_allclose(nats.distribution(0.7).log_prob(1), dist.Bernoulli(logits=0.7).log_prob(1), rtol=1e-14)
    bits = likelihood_of(losses.logistic_base2)
    assert bits.kind == "tempered likelihood" and not bits.normalized
    assert bits.factor == pytest.approx(math.log(2), rel=1e-12)
    np.testing.assert_allclose(bits.distribution(0.7).logits, 0.7, rtol=1e-12)
    assert "0.69314718" in str(bits)
    halved = likelihood_of(losses.logistic, temperature=2.0)
    assert halved.kind == "tempered likelihood" and halved.factor == pytest.approx(1.0, rel=1e-12)


@pytest.mark.slow
def test_any_symmetric_link_gives_a_likelihood_and_the_factor_is_found():
    reading = likelihood_of(losses.derive(probit))
    assert reading.is_likelihood and reading.normalized
    wanted = jax.scipy.special.log_ndtr(0.4)
    np.testing.assert_allclose(reading.distribution(0.4).log_prob(1), wanted, rtol=1e-13)
    scaled = likelihood_of(losses.derive(lambda m: 2 * probit(m) + 0.3))
    assert scaled.kind == "tempered likelihood" and scaled.factor == pytest.approx(0.5, rel=1e-10)
    shifted = likelihood_of(losses.derive(lambda m: probit(m) + 0.3))
    assert shifted.is_likelihood and not shifted.normalized
    assert shifted.log_normalizer == pytest.approx(-0.3, rel=1e-12)


RESIDUAL = {
    "squared": losses.squared_error,
    "absolute": losses.absolute_error,
    "pinball": losses.Pinball(0.2),
    "huber": losses.Huber(0.7),
    "log_cosh": losses.log_cosh,
    "epsilon": losses.EpsilonInsensitive(0.4),
    "student": losses.StudentT(2.5, 0.8),
}


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_normalizer_of_a_known_loss_is_that_of_its_value(name):
    """Closed form against the quadrature that knows nothing but values."""
    loss = RESIDUAL[name]
    for temperature in (1.0, 0.7):
        known = likelihood_of(loss, temperature=temperature)
        numeric = likelihood_of(lambda r, s=temperature: loss.value(r) / s)
        assert known.is_likelihood and numeric.is_likelihood and known.error == 0 < numeric.error < 1e-12
        assert numeric.log_normalizer == pytest.approx(known.log_normalizer, rel=1e-12, abs=1e-12)
        assert known.factor == 1 / temperature and numeric.distribution is None
        if known.distribution is not None:
            fall = known.distribution.log_prob(0.0) - known.distribution.log_prob(1.3)
            assert fall == pytest.approx(float(loss.value(1.3)) / temperature, rel=1e-13)


def cauchy(r):
    return jnp.log1p(r * r)


ROOT = math.sqrt(2 * math.pi)
INTEGRALS = {
    "normal in other units": (lambda r: 0.5 * (r / 1e-9 - 3) ** 2, math.log(ROOT * 1e-9)),
    "far from 0": (lambda r: 0.5 * (r - 50) ** 2, math.log(ROOT)),
    "power law": (cauchy, math.log(math.pi)),
    "nearly too heavy": (lambda r: 0.55 * cauchy(r), math.lgamma(0.05) + 0.5 * math.log(math.pi) - math.lgamma(0.55)),
    "kinks": (lambda r: jnp.maximum(jnp.abs(r) - 0.37, 0), math.log(2 * 1.37)),
    "jumps": (lambda r: jnp.where(jnp.abs(r) < 0.7, 0.0, jnp.inf), math.log(1.4)),
    "one side": (lambda r: jnp.where(r < 0, jnp.inf, 2 * r), -math.log(2)),
    "overflow": (lambda r: jnp.log(jnp.cosh(r)), math.log(math.pi)),
    "singular at 0": (lambda r: 0.5 * jnp.log(jnp.abs(r)) + jnp.abs(r), math.log(2 * math.gamma(0.5))),
}


@pytest.mark.parametrize("name", INTEGRALS)
def test_integrals_of_functions(name):
    fn, wanted = INTEGRALS[name]
    found = integrate_exp(fn)
    assert found.finite is True and found.error < 1e-11
    assert found.log_value == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_integrals_that_diverge_and_those_that_nobody_can_tell():
    divergent = {
        "bounded": lambda r: r * r / (1 + r * r),
        "periodic": jnp.cos,
        "Cauchy of half the weight": lambda r: 0.5 * cauchy(r),
        "slow logarithm": lambda r: 0.25 * jnp.log(1 + r**2),  # overflows half way
        "one tail": lambda r: jnp.exp(-r),
        "unbounded below": lambda r: -r * r,
        "1/|r| at 0": lambda r: jnp.log(jnp.abs(r)) + jnp.abs(r),
    }
    for fn in divergent.values():
        reading = likelihood_of(fn)
        assert reading.kind == "pseudo-likelihood" and reading.log_normalizer == math.inf and math.isnan(reading.factor)
    open_cases = {
        "1/(r log^2 r)": lambda r: jnp.log(jnp.abs(r) + 2) + 2 * jnp.log(jnp.log(jnp.abs(r) + 2)),
        "a pole inside": lambda r: 1.2 * jnp.log(jnp.abs(r - 1.3)) + jnp.abs(r),
    }
    for fn in open_cases.values():
        reading = likelihood_of(fn)
        assert reading.kind == "undecided" and math.isnan(reading.log_normalizer)
    tempered = likelihood_of(losses.StudentT(2.5), temperature=4.0)
    assert tempered.kind == "pseudo-likelihood" and "0.875" in tempered.reason  # (2.5 + 1) / 4


def test_deviances():
    gamma = likelihood_of(losses.gamma_deviance, temperature=0.5)
    assert gamma.is_likelihood
    np.testing.assert_allclose(gamma.distribution(3.0).variance, 0.5 * 9, rtol=1e-13)
    assert "Gamma for each prediction" in str(gamma)
    assert likelihood_of(losses.poisson_deviance).is_likelihood
    assert likelihood_of(losses.poisson_deviance, temperature=1.5).kind == "pseudo-likelihood"
    tweedie = likelihood_of(losses.TweedieDeviance(1.5))
    assert tweedie.is_likelihood and tweedie.distribution is None and "infinite series" in tweedie.reason


NOISES = [
    dist.Normal(1.0, np.array([2.0, 0.3])),
    dist.Laplace(np.zeros(2), 3.0),
    dist.AsymmetricLaplace(0.0, 2.0, 0.3),
    dist.Huber(1.0, 2.0, 0.9),
    dist.HyperbolicSecant(1.0, 2.0),
    dist.EpsilonInsensitive(0.3, 2.0, 0.4),
    dist.StudentT(3.0, 1.0, 2.0),
    dist.Poisson(np.array([3.0, 0.4])),
    dist.Exponential(2.0),
    dist.Gamma(3.0, 2.0),
    dist.InverseGaussian(2.0, 3.0),
    dist.Bernoulli(0.3),
    dist.Categorical(np.array([0.2, 0.8])),
]


@pytest.mark.parametrize("noise", NOISES, ids=lambda d: type(d).__name__)
def test_every_noise_has_its_loss_and_the_loss_has_that_noise(noise):
    reading = loss_of(noise)
    assert reading.residual < 1e-14 and reading.functional
    if isinstance(reading.loss, losses.RegressionLoss):
        back = reading.loss.distribution(noise.loc, reading.unit)
        if np.all(np.asarray(reading.temperature) == 1):
            assert type(back) is type(noise)
            np.testing.assert_allclose(back.log_prob(0.7), noise.log_prob(0.7), rtol=1e-14)
        assert likelihood_of(reading.loss).is_likelihood
    if isinstance(reading.loss, losses.DevianceLoss):
        back = reading.loss.distribution(noise.mean, float(reading.temperature))
        np.testing.assert_allclose(back.log_prob(2.0), noise.log_prob(2.0), rtol=1e-13)
    assert type(noise).__name__ in str(reading)


def test_a_wrong_loss_would_leave_a_residual(monkeypatch):
    monkeypatch.setattr(losses, "squared_error", losses.absolute_error)
    assert loss_of(dist.Normal()).residual > 0.1
    assert loss_of(dist.Gumbel()).loss is None


PRIORS = {
    "l2": (dist.Normal(0.4, 2.0), penalties.L2),
    "l1": (dist.Laplace(0.4, 2.0), penalties.L1),
    "elastic_net": (dist.ElasticNet(0.4, 2.0, 0.7), penalties.ElasticNet),
    "group": (dist.GroupLaplace(np.array([0.4, 0.1]), 2.0), penalties.GroupL2),
    "student": (dist.StudentT(3.0, 0.4, 2.0), penalties.NegativeLogDensity),
}


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_its_penalty_and_the_penalty_its_prior(name):
    prior, kind = PRIORS[name]
    penalty = penalty_of(prior)
    assert type(penalty) is kind
    reading = prior_of(penalty)
    assert reading.proper and type(reading.distribution) is type(prior)
    theta = np.array([-1.3, 2.0]) if name == "group" else np.array([-1.3])
    nats = float(jnp.sum(prior.log_prob(theta)))
    np.testing.assert_allclose(-penalty(theta) - reading.log_normalizer, nats, rtol=1e-13)
    np.testing.assert_allclose(jnp.sum(reading.distribution.log_prob(theta)), nats, rtol=1e-13)
    if name != "group":
        numeric = prior_of(lambda t: penalty.value(t[..., None]))
        assert numeric.proper and numeric.log_normalizer == pytest.approx(reading.log_normalizer, abs=1e-12)


def test_penalties_that_are_no_prior():
    assert prior_of(penalties.NoPenalty()).proper is False and isinstance(penalty_of(dist.Flat()), penalties.NoPenalty)
    for penalty in (penalties.MCP(1.2, 3.0), penalties.SCAD(1.2, 3.7)):
        assert prior_of(penalty).proper is False and prior_of(penalty).distribution is None
        assert prior_of(lambda t, penalty=penalty: penalty.value(t[..., None])).proper is False
    # MCP and SCAD by their definitions: slope strength at 0, fading to 0.
    slope = jax.vmap(jax.grad(lambda t: penalties.MCP(1.2, 3.0)(t)))(np.array([0.5, 2.0, 5.0]))
    np.testing.assert_allclose(slope, [1.2 - 0.5 / 3, 1.2 - 2 / 3, 0], atol=1e-15)
    slope = jax.vmap(jax.grad(lambda t: penalties.SCAD(1.2, 3.7)(t)))(np.array([0.5, 2.0, 5.0]))
    np.testing.assert_allclose(slope, [1.2, (3.7 * 1.2 - 2.0) / 2.7, 0], atol=1e-15)
    tv = prior_of(penalties.TotalVariation(2.0))
    assert tv.proper is False and "constant" in tv.reason
    assert penalties.TotalVariation(2.0)(np.array([[1.0, 4.0, 2.0]])) == 10
    bounded = prior_of(penalty_of(dist.Flat(supports.interval(0.0, 2.0))))
    assert bounded.proper and bounded.log_normalizer == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.slow
def test_functions_of_a_vector():
    assert prior_of(lambda t: jnp.sum(jnp.abs(t)), dimension=3).proper is True
    fused = prior_of(lambda t: jnp.sum(jnp.abs(jnp.diff(t))), dimension=3)
    assert fused.proper is False and "0.577, 0.577, 0.577" in fused.reason.replace("-", "")
    a, b = jnp.array([0.3, -0.7]), jnp.array([0.9, 0.5])
    valley = prior_of(lambda t: jnp.maximum(0, a @ t) + jnp.abs(b @ t), dimension=2)  # flat along one ray only
    assert valley.proper is not True
    assert prior_of(lambda t: jnp.sum(jnp.log1p(t * t)), dimension=3).proper is None  # proper, but not convex


def test_parameters_outside_of_their_domain_do_not_pass():
    for loss in (losses.Pinball(1.2), losses.Huber(-1.0)):
        assert likelihood_of(loss).kind == "pseudo-likelihood" and likelihood_of(loss).distribution is None
    shifted = likelihood_of(losses.EpsilonInsensitive(-0.5))  # |r| + 1/2
    assert shifted.log_normalizer == pytest.approx(math.log(2) - 0.5, rel=1e-12)
    for penalty in (penalties.L2(-1.0), penalties.L2(0.0), penalties.L1(-1.0)):
        assert prior_of(penalty).proper is False


def test_the_cards_print():
    card = str(likelihood_of(losses.Huber(1.0)))
    assert "noise         Huber" in card and "closed form" in card and "log Z" in card
    assert "undecided" in str(prior_of(lambda t: jnp.log(jnp.abs(t) + 2) + 2 * jnp.log(jnp.log(jnp.abs(t) + 2))))
    assert "prior         Normal" in str(prior_of(penalties.L2(2.0)))


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda: likelihood_of(dist.Normal()), TypeError, "loss_of gives its loss"),
        (lambda: likelihood_of(3), TypeError, "got int"),
        (lambda: likelihood_of(losses.hinge, temperature=0.0), ValueError, "positive number; it is 0.0"),
        (lambda: likelihood_of(lambda r: jnp.sum(r)), ValueError, "elementwise"),
        (lambda: likelihood_of(lambda r: jnp.log(r)), ValueError, "NaN between"),
        (lambda: loss_of(losses.hinge), TypeError, "wants a distribution"),
        (lambda: prior_of(dist.Normal()), TypeError, "penalty_of gives"),
        (lambda: prior_of("l1"), TypeError, "got str"),
        (lambda: prior_of(lambda t: t, dimension=2), ValueError, r"shape \(2,\) to a number"),
        (lambda: prior_of(lambda t: jnp.sum(t), dimension=0), ValueError, "whole number"),
        (lambda: penalty_of(penalties.L1()), TypeError, "wants a distribution"),
    ],
)
def test_bad_input_is_told(call, kind, match):
    with pytest.raises(kind, match=match):
        call()
