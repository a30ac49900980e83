"""The ranked probability score by quadrature, and the split of proper scores into calibration and refinement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import distributions as dist
from lossgeo import losses

FORECASTS = {
    "normal": dist.Normal(0.5, 1.3),
    "laplace": dist.Laplace(0.5, 1.3),
    "logistic": dist.Logistic(0.5, 1.3),
    "student": dist.StudentT(2.7, 0.5, 1.3),
    "uniform": dist.Uniform(-0.3, 1.7),
    "exponential": dist.Exponential(2.5),
    "gamma": dist.Gamma(2.4, 1.5),
    "gamma 0.4": dist.Gamma(0.4, 1.5),
    "log_normal": dist.LogNormal(0.3, 0.8),
}
Y = np.array([-1.2, 0.4, 1.5, 6.0])
EDGES = (-0.3, 0.0, 0.5, 1.7)  # of supports, kinks


@jax.jit
def SCORE(forecast):
    """Scores, their slopes in y, and scores in float32."""
    score, slope = jax.jvp(lambda y: losses.crps(forecast, y), (jnp.asarray(Y),), (jnp.ones(4),))
    return score, slope, losses.crps(jax.tree.map(jnp.float32, forecast), jnp.float32(Y))


CRPS = jax.jit(losses.crps)
CDF = jax.jit(lambda forecast, x: forecast.cdf(x))


def pieces(breaks):
    nodes, weights = np.polynomial.legendre.leggauss(16)
    left, right = np.array(breaks[:-1])[:, None], np.array(breaks[1:])[:, None]
    return ((left + right + (right - left) * nodes) / 2).ravel(), ((right - left) / 2 * weights).ravel()


SIZES = np.concatenate([[0], np.logspace(-10, -1, 28), np.linspace(0.2, 12, 60), np.logspace(1.2, 7, 60)])
NODES, WEIGHTS = pieces(np.unique(np.concatenate([c + s * SIZES for c in (*EDGES, *Y) for s in (-1, 1)])))


@pytest.mark.parametrize("name", FORECASTS)
def test_crps_is_the_integral_of_the_brier_scores_of_all_thresholds(name):
    forecast = FORECASTS[name]
    cdf = np.asarray(CDF(forecast, NODES))
    integral = [WEIGHTS @ (cdf - (y <= NODES)) ** 2 for y in Y]
    score, slope, single = (np.asarray(v) for v in SCORE(forecast))
    np.testing.assert_allclose(score, integral, rtol=1e-9)
    # Its slope in y is 2 F(y) - 1, the average of the slopes of all pinball losses.
    np.testing.assert_allclose(slope, 2 * CDF(forecast, Y) - 1, rtol=1e-9, atol=1e-12)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, integral, rtol=3e-5)


def test_crps_is_the_integral_of_pinball_losses():
    forecast, tails = dist.Logistic(0.5, 1.3), np.logspace(-12, -1, 45)
    for y in Y:
        levels, weights = pieces(np.unique(np.concatenate([[0], tails, [float(forecast.cdf(y))], 1 - tails, [1]])))
        total = 2 * weights @ np.asarray(losses.Pinball(levels).value(y - forecast.icdf(levels)))
        np.testing.assert_allclose(losses.crps(forecast, y), total, rtol=1e-10)


def test_crps_of_student_between_its_limits():
    normal = SCORE(dist.Normal(0.5, 1.3))[0]
    student = lambda df: SCORE(dist.StudentT(df, 0.5, 1.3))[0]  # noqa: E731
    np.testing.assert_allclose(student(np.inf), normal, rtol=1e-14)
    np.testing.assert_allclose(student(1e6), normal, rtol=1e-5)
    assert np.all(np.isnan(student(0.9)))
    np.testing.assert_allclose(SCORE(dist.Gamma(1.0, 2.5))[0], losses.crps(dist.Exponential(2.5), Y), rtol=1e-12)


def test_crps_at_its_edges():
    np.testing.assert_allclose(CRPS(dist.Normal(0.5, 1e-9), Y), np.abs(Y - 0.5), rtol=1e-8)
    np.testing.assert_allclose(losses.crps(dist.Bernoulli(0.3), np.array([0, 1])), [0.09, 0.49], rtol=1e-14)
    for wrong in (dist.Normal(0.0, -1.0), dist.Uniform(1.0, 0.0), dist.Exponential(-2.0), dist.LogNormal(0.0, -1.0)):
        assert np.all(np.isnan(CRPS(wrong, Y)))
    gradient = jax.jit(jax.grad(losses.crps))(dist.LogNormal(0.3, 0.8), -1.0)
    assert np.all(np.isfinite(jax.tree.leaves(gradient)))
    with pytest.raises(NotImplementedError, match="no closed form for Gumbel.*crps_of_draws"):
        losses.crps(dist.Gumbel(), 0.0)


def test_crps_of_draws():
    draws, y = np.random.default_rng(0).normal(size=(7, 3)), np.array([0.3, -1.0, 4.0])
    distance = np.abs(draws - y).mean(0)
    spread = np.abs(draws[:, None] - draws[None]).sum((0, 1))
    np.testing.assert_allclose(losses.crps_of_draws(draws, y), distance - spread / (2 * 42), rtol=1e-13)
    np.testing.assert_allclose(losses.crps_of_draws(draws, y, fair=False), distance - spread / (2 * 49), rtol=1e-13)
    many = np.random.default_rng(1).normal(0.5, 1.3, size=(200_000, 1))
    score = losses.crps_of_draws(many, np.array([1.5]))[0]
    np.testing.assert_allclose(score, losses.crps(FORECASTS["normal"], 1.5), atol=5e-3)  # 2 standard errors
    with pytest.raises(ValueError, match=r"m at least 2"):
        losses.crps_of_draws(draws[:1], y)
    with pytest.raises(ValueError, match=r"\(7, 3\) and \(2,\)"):
        losses.crps_of_draws(draws, y[:2])


RULES = {
    "log": losses.log_score,
    "brier": losses.brier_score,
    "spherical": losses.spherical_score,
    "boosting": losses.boosting_score,
}
GENERATOR = np.random.default_rng(3)
PROBS = np.round(GENERATOR.uniform(0.02, 0.98, size=400), 2)  # with ties
LABELS = (GENERATOR.uniform(size=400) < PROBS**2).astype(int)


def pair(q):
    return np.stack([1 - q, q], axis=-1)


@jax.jit
def PARTS(rule, probs, recalibrated, base):
    """Mean entropies, mean regrets of the truth ``recalibrated``, and the mean loss."""
    entropies = [jnp.mean(rule.entropy(q)) for q in (base, recalibrated)]
    regrets = [jnp.mean(rule.regret(recalibrated, q)) for q in (probs, base)]
    return entropies, regrets, jnp.mean(rule(probs, jnp.asarray(LABELS)))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("monotone", [True, False])
def test_the_parts_are_an_entropy_and_a_bregman_divergence(rule, monotone):
    found = losses.calibration_refinement(PROBS, LABELS, rule, monotone=monotone)
    c = found.recalibrated
    total = found.miscalibration - found.discrimination + found.uncertainty
    np.testing.assert_allclose(total, found.mean_loss, rtol=1e-13)
    base = np.full(400, LABELS.mean())
    entropies, regrets, losses_of_probs = PARTS(rule, pair(PROBS), pair(c), pair(base))
    np.testing.assert_allclose(found.mean_loss, losses_of_probs, rtol=1e-13)
    np.testing.assert_allclose([found.uncertainty, found.refinement], entropies, rtol=1e-12)
    # Regret, the Bregman divergence of minus the entropy, from the forecast and from the base rate.
    divergence, gain = regrets
    if monotone:  # a projection on a cone: Pythagoras as an inequality
        assert found.miscalibration >= divergence > 0
    else:
        np.testing.assert_allclose(found.miscalibration, divergence, rtol=1e-11)
    np.testing.assert_allclose(found.discrimination, gain, rtol=1e-11)
    assert found.miscalibration > 0 and found.discrimination > 0
    order = np.argsort(PROBS, kind="stable")
    assert not monotone or np.all(np.diff(c[order]) >= 0)
    # Ties get one value, and a forecast that is recalibrated already stays.
    assert all(np.ptp(c[v == PROBS]) == 0 for v in np.unique(PROBS))
    again = losses.calibration_refinement(c, LABELS, rule, monotone=monotone)
    np.testing.assert_allclose(again.miscalibration, 0, atol=1e-14)
    assert "miscalibration" in str(found)


def test_murphy_by_hand():
    probs, labels = np.array([0.2, 0.2, 0.8, 0.8, 0.8]), np.array([0, 1, 1, 1, 0])
    found = losses.calibration_refinement(probs, labels)  # both classes count: twice the squared error
    np.testing.assert_allclose(found.recalibrated, [0.5, 0.5, 2 / 3, 2 / 3, 2 / 3], rtol=1e-15)
    np.testing.assert_allclose(found.miscalibration, 2 * (0.4 * 0.3**2 + 0.6 * (0.8 - 2 / 3) ** 2), rtol=1e-13)
    np.testing.assert_allclose(found.uncertainty, 2 * 0.6 * 0.4, rtol=1e-15)
    falling = losses.calibration_refinement(np.array([0.1, 0.9]), np.array([1, 0]))
    np.testing.assert_array_equal(falling.recalibrated, [0.5, 0.5])
    assert losses.calibration_refinement(np.array([0.0, 1.0]), np.array([1, 1]), losses.log_score).mean_loss == np.inf
    for probs, labels, match in (
        (np.array([0.2, 1.2]), np.array([0, 1]), "range from 0.2 to 1.2"),
        (np.array([0.2, 0.3]), np.array([-1, 1]), "0 or 1"),
        (np.zeros(3), np.zeros((3, 1)), r"\(3,\) and \(3, 1\)"),
    ):
        with pytest.raises(ValueError, match=match):
            losses.calibration_refinement(probs, labels)


MIXED = {"brier": losses.square, "log": losses.logistic, "smoothed hinge": losses.smoothed_hinge}


@pytest.mark.parametrize("name", MIXED)
def test_every_proper_score_is_the_mixture_of_elementary_ones(name):
    """The mean loss of the scores f*(p) is the integral of the Murphy curve times Schervish's weight."""
    loss = MIXED[name]
    theta, measure = pieces(np.unique(np.concatenate([[0.0, 0.5, 1.0], PROBS])))

    @jax.jit
    def both(probs, theta):
        curve = losses.murphy_curve(probs, LABELS, theta)
        return curve * loss.weight(theta), jnp.mean(loss.pointwise(loss.minimizer(probs), LABELS))

    density, mean = both(PROBS, theta)
    mixture = measure @ np.asarray(density)
    np.testing.assert_allclose(mixture, mean, rtol=1e-12)


def test_murphy_curve_by_its_definition():
    theta = np.array([0.0, 0.02, 0.3, 0.5, 0.77, 1.0])
    alarm = (PROBS[None] > theta[:, None]) & (LABELS == 0)
    miss = (PROBS[None] <= theta[:, None]) & (LABELS == 1)
    direct = theta * alarm.mean(1) + (1 - theta) * miss.mean(1)
    np.testing.assert_allclose(losses.murphy_curve(PROBS, LABELS, theta), direct, rtol=1e-13, atol=1e-16)
    assert np.all(np.isnan(losses.murphy_curve(PROBS, 2 * LABELS - 1, theta)))
    with pytest.raises(ValueError, match=r"thresholds \(k,\)"):
        losses.murphy_curve(PROBS, LABELS, 0.5)
