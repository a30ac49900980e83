"""Losses of residuals and of means: the functional, the noise, the proximal map and the constants of every record."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import losses
from lossgeo.losses.line_search import has_jump, is_convex, steepest_chord
from lossgeo.losses.residual import RegressionLoss

RESIDUAL = {
    "squared": losses.squared_error,
    "absolute": losses.absolute_error,
    "pinball 0.2": losses.Pinball(0.2),
    "huber 0.7": losses.Huber(0.7),
    "log_cosh": losses.log_cosh,
    "epsilon 0.4": losses.EpsilonInsensitive(0.4),
    "student 2.5": losses.StudentT(2.5, 0.8),
}
EVERY = pytest.mark.parametrize("loss", RESIDUAL.values(), ids=RESIDUAL)
DEVIANCES = {
    "poisson": losses.poisson_deviance,
    "gamma": losses.gamma_deviance,
    "tweedie 0": losses.TweedieDeviance(0.0),
    "tweedie 1.5": losses.TweedieDeviance(1.5),
    "tweedie 3": losses.TweedieDeviance(3.0),
}
EVERY_DEVIANCE = pytest.mark.parametrize("loss", DEVIANCES.values(), ids=DEVIANCES)
R = np.array([-300.0, -4.0, -1.1, -0.7, -0.4, -1e-9, 0.0, 1e-5, 0.3, 0.4, 0.9, 5.0, 1e8])
SAMPLE = np.random.default_rng(4).standard_t(3, size=15) * 2
WEIGHTS = np.random.default_rng(5).uniform(0.1, 2, size=15)
VALUE = jax.jit(lambda loss, *args: loss.value(*args))
PROX = jax.jit(lambda loss, *args: loss.prox(*args))
SLOPE = jax.jit(lambda loss, r: loss.derivative(r))
TOTAL = jax.jit(lambda loss, y, w, grid: jax.vmap(lambda c: jnp.sum(w * loss.value(y - c)))(grid))


def line_rule():
    """Gauss-Legendre nodes for the line, with breaks at the kinks and by r = 1/t beyond 1."""
    nodes, weights = np.polynomial.legendre.leggauss(20)

    def pieces(breaks):
        left, right = np.array(breaks[:-1])[:, None], np.array(breaks[1:])[:, None]
        return ((left + right + (right - left) * nodes) / 2).ravel(), ((right - left) / 2 * weights).ravel()

    inner, inner_weights = pieces([0, 0.1, 0.4, 0.7, 1])
    t, t_weights = pieces([0, *2.0 ** -np.arange(40, -1, -1.0)])
    half, half_weights = np.concatenate([inner, 1 / t]), np.concatenate([inner_weights, t_weights / t**2])
    return np.concatenate([-half, half]), np.concatenate([half_weights, half_weights])


LINE, LINE_WEIGHTS = line_rule()


@EVERY
def test_closed_forms_of_residual_losses(loss):
    v, step = np.linspace(-4.1, 4.2, 23), np.geomspace(0.05, 20, 23)
    np.testing.assert_allclose(PROX(loss, v, step), RegressionLoss.prox(loss, v, step), rtol=1e-7, atol=1e-9)
    numbers = lambda r: np.asarray(VALUE(loss, r))  # noqa: E731
    slopes = lambda r: np.asarray(SLOPE(loss, r))  # noqa: E731
    assert is_convex(numbers) is loss.convex
    np.testing.assert_allclose(loss.lipschitz, steepest_chord(numbers), rtol=1e-4)
    assert has_jump(numbers) is False
    assert has_jump(slopes) is math.isinf(loss.smoothness)
    if math.isfinite(loss.smoothness):
        np.testing.assert_allclose(loss.smoothness, steepest_chord(slopes), rtol=1e-4)
    inner = np.array([-3.3, -0.2, 0.1, 2.2])
    h = 1e-5
    np.testing.assert_allclose(loss.derivative(inner), (numbers(inner + h) - numbers(inner - h)) / (2 * h), rtol=1e-9)
    assert loss(0.0) == 0 and np.isnan(loss(jnp.nan)) and np.all(numbers(R) >= 0)
    assert (
        loss.value(np.float32(0.3)).dtype == np.float32 and loss.prox(np.float32(3), np.float32(1)).dtype == np.float32
    )


@EVERY
def test_the_noise_has_the_loss_as_its_minus_log_density(loss):
    """At every scale, and at a temperature on the loss's own scale; the constant is the normaliser that is claimed."""
    noise = loss.distribution(0.5, 1.7)
    gap = np.asarray(noise.log_prob(0.5) - noise.log_prob(0.5 + R))
    np.testing.assert_allclose(gap, loss.value(R / 1.7), rtol=1e-13, atol=1e-15)
    values = np.asarray(VALUE(loss, LINE))
    for temperature in (1.0, 0.6):
        total = np.sum(LINE_WEIGHTS * np.exp(-values / temperature))
        np.testing.assert_allclose(loss.log_normalizer(temperature), math.log(total), rtol=1e-10, atol=1e-10)
        tempered = loss.tempered(temperature)
        if tempered is None:
            assert isinstance(loss, losses.LogCosh) and temperature != 1
            continue
        gap = np.asarray(tempered.log_prob(0.0) - tempered.log_prob(R))
        np.testing.assert_allclose(gap, np.asarray(loss.value(R)) / temperature, rtol=1e-13, atol=1e-15)


def brute_force(loss, y, weights):
    """The least total of a grid, of a finer one around its best, and so on, from values alone."""
    low, high = y.min(), y.max()
    for _ in range(4):
        grid = np.linspace(low, high, 801)
        total = np.asarray(TOTAL(loss, y, weights, grid))
        k = int(np.argmin(total))
        low, high = grid[max(k - 1, 0)], grid[min(k + 1, 800)]
    return total.min()


@EVERY
def test_the_minimizer_attains_the_least_loss(loss):
    for weights in (np.ones(15), WEIGHTS):
        found = loss.minimizer(SAMPLE, weights)
        generic = RegressionLoss.minimizer(loss, SAMPLE, weights)
        totals = np.asarray(TOTAL(loss, SAMPLE, weights, np.full(801, [found])))[0], brute_force(loss, SAMPLE, weights)
        assert totals[0] <= totals[1] * (1 + 1e-13)
        np.testing.assert_allclose(generic, found, rtol=1e-9, atol=1e-9)
    batch = loss.minimizer(np.stack([SAMPLE, SAMPLE + 1]))
    np.testing.assert_allclose(batch[1] - batch[0], 1, rtol=1e-12)


def test_functionals_by_their_own_definitions():
    y = SAMPLE
    assert losses.squared_error.functional == "mean"
    np.testing.assert_allclose(losses.squared_error.minimizer(y), np.mean(y), rtol=1e-14)
    assert losses.absolute_error.minimizer(y) == np.median(y)
    assert losses.absolute_error.minimizer(y[:14]) == np.median(y[:14])
    assert losses.Pinball(0.2).functional == "quantile of level 0.2"
    for level in (0.05, 0.21, 0.93):
        quantile = np.quantile(y, level, method="inverted_cdf")
        assert losses.Pinball(level).minimizer(y) == quantile
    assert losses.Pinball(0.2).minimizer(y) == np.quantile(y, 0.2, method="averaged_inverted_cdf")
    # Repeating an observation is a weight of 2.
    doubled = np.append(y, y[3])
    weights = np.where(np.arange(15) == 3, 2.0, 1.0)
    for loss in (losses.Huber(0.7), losses.Pinball(0.2), losses.squared_error):
        np.testing.assert_allclose(loss.minimizer(doubled), loss.minimizer(y, weights), rtol=1e-9)
    delta = losses.Huber(0.7)
    center = float(delta.minimizer(y))
    np.testing.assert_allclose(np.mean(np.clip(y - center, -0.7, 0.7)), 0, atol=1e-14)
    np.testing.assert_allclose(np.mean(np.tanh(y - float(losses.log_cosh.minimizer(y)))), 0, atol=1e-14)
    tube = float(losses.EpsilonInsensitive(0.4).minimizer(y))
    assert np.sum(y > tube + 0.4 + 1e-12) <= 7 and np.sum(y < tube - 0.4 - 1e-12) <= 7
    # Half of the noise lies below the functional of a symmetric loss, the level tau below that of the pinball loss.
    for loss in RESIDUAL.values():
        noise = loss.distribution(1.3, 0.6)
        level = 0.2 if isinstance(loss, losses.Pinball) else 0.5
        np.testing.assert_allclose(noise.cdf(1.3), level, rtol=1e-13)


def test_a_location_is_differentiated_by_the_implicit_rule():
    y, h = jnp.asarray(SAMPLE), 1e-5
    gradient = jax.jit(lambda loss, y: jax.grad(loss.minimizer)(y))
    for loss in (losses.log_cosh, losses.StudentT(2.5, 0.8)):
        slope = gradient(loss, y)
        np.testing.assert_allclose(jnp.sum(slope), 1.0, rtol=1e-12)  # moving all moves the location
        central = (loss.minimizer(y.at[7].add(h)) - loss.minimizer(y.at[7].add(-h))) / (2 * h)
        np.testing.assert_allclose(slope[7], central, atol=1e-8)


def test_edges_and_errors():
    assert losses.StudentT(2.5).tempered(4.0) is None  # (2.5 + 1)/4 - 1 < 0: tails too heavy
    with pytest.raises(ValueError, match="no density in closed form"):
        losses.StudentT(2.5).log_normalizer(4.0)
    np.testing.assert_allclose(losses.log_cosh(1e-8), 0.5e-16, rtol=1e-12)
    np.testing.assert_allclose(losses.log_cosh(np.float32(-60.0)), 60 - math.log(2), rtol=1e-6)
    assert losses.absolute_error.derivative(0.0) == 0 and losses.Pinball(0.2).derivative(0.0) == 0.2 - 0.5
    np.testing.assert_allclose(losses.Pinball(0.2).pointwise(np.array([1.0, 4.0]), np.array([2.0, 2.0])), [0.2, 1.6])
    with pytest.raises(ValueError, match=r"\(3,\) and \(3, 1\)"):
        losses.squared_error.pointwise(np.zeros(3), np.zeros((3, 1)))
    # No sample, or weights that are none: never a number.
    for loss in (losses.absolute_error, losses.log_cosh, losses.squared_error):
        assert np.isnan(loss.minimizer(np.array([1.0, np.nan, 2.0])))
        assert np.isnan(loss.minimizer(np.array([1.0, 3.0, 2.0]), np.zeros(3)))
        assert np.isnan(loss.minimizer(np.array([1.0, 3.0, 2.0]), np.array([1.0, -0.5, 1.0])))
    with pytest.raises(ValueError, match="sample of shape"):
        losses.log_cosh.minimizer(np.zeros((2, 0)))
    with pytest.raises(ValueError, match="must be 0 or at least 1"):
        losses.TweedieDeviance(0.5)(1.0, 1.0)
    with pytest.raises(ValueError, match="not convex in the log-mean"):
        losses.TweedieDeviance(3.0).prox(1.0, 0.0, 1.0)
    with pytest.raises(TypeError, match="a loss needs predictions"):
        lg.pseudo_likelihood(losses.Huber(1.0))
    prior = dist.EpsilonInsensitive(0.5, 2.0, 0.3)
    v = np.array([-3.0, 0.0, 0.5, 1.2, 9.0])
    np.testing.assert_allclose(prior.prox(v, 0.7), 0.5 + losses.EpsilonInsensitive(0.6).prox(v - 0.5, 0.35), rtol=1e-14)


def test_a_loss_is_fitted_as_a_pseudo_likelihood():
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x @ np.array([1.0, -2.0]) + np.random.default_rng(1).standard_t(2, size=60)
    objective = lg.map_objective(lg.pseudo_likelihood(losses.Huber(0.8), lambda params, x: x @ params))
    params = np.asarray(lg.fit(objective, np.zeros(2), x, y).params)
    np.testing.assert_allclose(x.T @ np.clip(y - x @ params, -0.8, 0.8), 0.0, atol=1e-6)


POINTS = [(2.0, 3.0), (3.0, 3.01), (0.1, 5.0), (7.0, 0.2), (1e-3, 1e-3 * (1 + 1e-7)), (4.0, 4.0)]


@EVERY_DEVIANCE
def test_a_deviance_is_the_integral_of_its_score(loss):
    """Half the deviance is the integral of (y - t) / t^p, and its derivative in the mean is the score."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    y, mu = np.array(POINTS).T
    # By s = log t, so that 200 nodes are enough for any ratio.
    a, b = np.log(mu), np.log(y)
    t = np.exp(0.5 * (a + b)[:, None] + 0.5 * (b - a)[:, None] * nodes)
    exact = np.sum(0.5 * (b - a)[:, None] * weights * (y[:, None] - t) * t ** (1 - loss.power), axis=1)
    value, slope = jax.jit(lambda loss, m: jax.jvp(lambda m: loss.value(y, m), (m,), (jnp.ones_like(m),)))(loss, mu)
    np.testing.assert_allclose(value[:4], exact[:4], rtol=1e-12)
    np.testing.assert_allclose(value[4], exact[4], rtol=1e-8)  # where log y - log mu has lost digits
    assert value[5] == 0 and np.all(value[:5] > 0)
    np.testing.assert_allclose(slope, loss.derivative(y, mu), rtol=1e-11, atol=1e-15)
    y, mu = np.float32(1.0), np.float32(1 + 2e-4)
    exact = 0.5 * (float(mu) - 1) ** 2  # the next terms are smaller by 2e-4
    np.testing.assert_allclose(loss(y, mu), exact, rtol=1e-3)
    assert loss(y, mu).dtype == np.float32


@EVERY_DEVIANCE
def test_a_deviance_is_minimized_by_the_mean(loss):
    y, weights = np.exp(SAMPLE / 3), WEIGHTS
    mean = float(loss.minimizer(y, weights))
    np.testing.assert_allclose(mean, np.average(y, weights=weights), rtol=1e-14)
    candidates = mean + np.linspace(-0.5, 0.5, 1001) * mean
    totals = weights @ np.asarray(VALUE(loss, *np.broadcast_arrays(y[:, None], candidates)))
    assert np.argmin(totals) == 500 and np.all(totals >= totals[500])


@EVERY_DEVIANCE
def test_a_deviance_is_the_likelihood_of_its_noise(loss):
    """Minus the log-density is the loss over the dispersion and a part without the mean."""
    dispersions = (1.0,) if loss.power == 1 else (1.0, 0.4)
    for dispersion in dispersions:
        y, means = (3.0, 7.0), (0.7, 2.0, 9.0)
        noise = [[loss.distribution(mu, dispersion) for mu in means] for _ in y]
        if noise[0][0] is None:
            assert "closed form" in loss.no_distribution()
            return
        rest = np.array(
            [[float(-d.log_prob(v) - loss(v, mu) / dispersion) for d, mu in zip(row, means, strict=True)]
             for v, row in zip(y, noise, strict=True)]
        )  # fmt: skip
        np.testing.assert_allclose(rest - rest[:, :1], 0, atol=1e-12)
        assert loss.no_distribution(dispersion) == ""
        np.testing.assert_allclose(noise[0][1].mean, 2.0, rtol=1e-13)
        np.testing.assert_allclose(noise[0][1].variance, dispersion * 2.0**loss.power, rtol=1e-13)


def test_edges_of_deviances_and_proximal_maps():
    assert losses.poisson_deviance(0.0, 2.0) == 2.0 and losses.TweedieDeviance(1.5)(0.0, 4.0) == 4.0
    assert losses.gamma_deviance(0.0, 2.0) == jnp.inf and losses.TweedieDeviance(3.0)(0.0, 2.0) == jnp.inf
    assert losses.poisson_deviance(0.0, 0.0) == 0 and losses.TweedieDeviance(1.5)(2.0, 0.0) == jnp.inf
    for loss in DEVIANCES.values():
        assert loss.power == 0 or np.all(np.isnan(loss(np.array([-1.0, 2.0, -1.0]), np.array([2.0, -2.0, -1.0]))))
        assert loss.convex is (loss.power in (0, 1))
    assert losses.poisson_deviance.distribution(2.0, 1.5) is None
    assert "quasi" in losses.poisson_deviance.no_distribution(1.5)
    y, v, step = (
        np.array([2.0, 5.0, 0.01, 3.0, 0.0]),
        np.array([0.3, -4.0, 5.0, 300.0, 1.0]),
        np.array([0.7, 100, 1e3, 1, 2]),
    )
    for loss in (losses.poisson_deviance, losses.TweedieDeviance(1.5), losses.gamma_deviance):
        keep = slice(4) if loss.power == 2 else slice(5)
        eta = np.asarray(PROX(loss, y[keep], v[keep], step[keep]))
        slope = np.exp((2 - loss.power) * eta) - y[keep] * np.exp((1 - loss.power) * eta)
        np.testing.assert_allclose(slope + (eta - v[keep]) / step[keep], 0, atol=1e-12)
        grid = np.linspace(-8, 8, 41)
        values = np.asarray(VALUE(loss, np.full(41, 2.0), np.exp(grid)))
        assert loss.convex_in_log_mean and np.all(np.diff(values, 2) >= 0)
