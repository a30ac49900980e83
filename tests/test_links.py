"""Links: inverse pairs, and log-odds that keep both tails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from lossgeo import links

pytestmark = pytest.mark.usefixtures("fast_compilation")

PROBABILITIES = {
    name: getattr(links, name) for name in ("logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity")
}
POSITIVE = {
    **{name: getattr(links, name) for name in ("identity", "log", "inverse", "inverse_squared", "sqrt")},
    "power(-1.5)": links.power(-1.5),
    "power(1/3)": links.power(1 / 3),
}
ETA = np.array([-30.0, -12.0, -5.0, -1.0, -0.3, 0.0, 0.4, 1.0, 2.5, 6.0])
LONG = ETA.astype(np.longdouble)


def log1mexp(x):
    return np.where(x < 0.7, np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))


TAILS = {  # log mu and log(1 - mu) in 64-bit mantissas, or from scipy
    "logit": (-np.log1p(np.exp(-LONG)), -np.log1p(np.exp(LONG))),
    "probit": (scipy.special.log_ndtr(ETA), scipy.special.log_ndtr(-ETA)),
    "cloglog": (log1mexp(np.exp(LONG)), -np.exp(LONG)),
    "loglog": (-np.exp(-LONG), log1mexp(np.exp(-LONG))),
    "cauchit": (
        np.log(np.arctan2(np.ones_like(LONG), -LONG) / (4 * np.arctan(np.longdouble(1)))),
        np.log(np.arctan2(np.ones_like(LONG), LONG) / (4 * np.arctan(np.longdouble(1)))),
    ),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_link_and_its_inverse_are_a_pair_on_probabilities(name):
    mu = np.array([1e-12, 1e-3, 0.2, 0.5, 0.8, 0.999])
    link = PROBABILITIES[name]
    np.testing.assert_allclose(link.inverse(link.link(mu)), mu, rtol=1e-9 if name == "cauchit" else 1e-12)
    np.testing.assert_allclose(link.log_odds(link.link(mu)), scipy.special.logit(mu), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", POSITIVE)
def test_a_link_and_its_inverse_are_a_pair_on_positive_means(name):
    mu = np.array([1e-5, 0.3, 1.0, 7.0, 2e4])
    link = POSITIVE[name]
    np.testing.assert_allclose(link.inverse(link.link(mu)), mu, rtol=1e-12)
    np.testing.assert_allclose(link.log_inverse(link.link(mu)), np.log(mu), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", TAILS)
def test_log_odds_keep_both_tails(name):
    below, above = TAILS[name]
    link = getattr(links, name)
    odds = link.log_odds(ETA)
    np.testing.assert_allclose(odds, (below - above).astype(float), rtol=4e-14, atol=4e-15)
    np.testing.assert_allclose(link.log_inverse(ETA), below.astype(float), rtol=4e-14, atol=1e-300)
    # Through the log-odds both log-probabilities come out, however small the probability of the other label.
    np.testing.assert_allclose(-jnp.logaddexp(0.0, -odds), below.astype(float), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(-jnp.logaddexp(0.0, odds), above.astype(float), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", TAILS)
def test_derivatives_of_log_odds_are_finite_and_right_in_the_tails(name):
    link = getattr(links, name)
    slopes = jax.vmap(jax.grad(link.log_odds))(jnp.asarray(ETA))
    curvatures = jax.vmap(jax.grad(jax.grad(link.log_odds)))(jnp.asarray(ETA))
    assert np.all(np.isfinite(curvatures))
    # d logit / d eta = mu' / (mu (1 - mu)), with log mu' known in closed form.
    log_density = {
        "logit": sum(TAILS["logit"]),
        "probit": -0.5 * LONG**2 - 0.5 * np.log(2 * np.pi),
        "cloglog": LONG - np.exp(LONG),
        "loglog": -LONG - np.exp(-LONG),
        "cauchit": -np.log(np.pi) - np.log1p(LONG**2),
    }[name]
    np.testing.assert_allclose(np.log(slopes), (log_density - sum(TAILS[name])).astype(float), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", TAILS)
def test_float32_keeps_the_tails_too(name):
    below, above = TAILS[name]
    odds = getattr(links, name).log_odds(jnp.asarray(ETA, jnp.float32))
    assert odds.dtype == jnp.float32
    np.testing.assert_allclose(odds, (below - above).astype(float), rtol=1e-5, atol=1e-6)


def test_power_links_are_the_named_ones():
    mu = np.array([0.2, 3.0])
    for exponent, named in [(1.0, links.identity), (-1.0, links.inverse), (-2.0, links.inverse_squared)]:
        np.testing.assert_allclose(links.power(exponent).link(mu), named.link(mu), rtol=1e-14)
    assert links.power(0) == links.log and links.power(0.5) == links.power(0.5)
    with pytest.raises(ValueError, match="exponent"):
        links.power(float("inf"))


def test_outside_its_range_a_link_gives_nan_and_never_a_number():
    assert np.isnan(links.inverse_squared.inverse(-1.0)) and np.isnan(links.power(1 / 3).inverse(-1.0))
    assert np.isnan(links.log.log_odds(0.5)) and np.isnan(links.identity.log_odds(1.5))
    assert np.isnan(links.inverse.log_inverse(-1.0))
