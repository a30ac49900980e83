r"""The continuous ranked probability score, in closed form for the usual families and for draws.

.. math:: \operatorname{crps}(F, y) = \int (F(x) - 1_{x \ge y})^2\,dx = E|X - y| - \tfrac12 E|X - X'|
    = 2\int_0^1 \rho_\tau(y - F^{-1}(\tau))\,d\tau

A proper score in the units of the target: the Brier score of every threshold, and the pinball loss of every quantile,
integrated. Unlike the log-score it needs no density and forgives outliers; a forecast without spread has the absolute
error.

Reference: Gneiting, Raftery (2007), JASA 102, section 4.2; Jordan, Krueger, Lerch (2019), Evaluating probabilistic
forecasts with scoringRules, J. Stat. Software 90, appendix A.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, gammaln, ndtr
from jax.typing import ArrayLike

from lossgeo import distributions as dist
from lossgeo import numerics
from lossgeo.distributions.distribution import promote

__all__ = ["crps", "crps_of_draws"]


def crps(forecast: dist.Distribution, y: ArrayLike) -> jax.Array:
    """Continuous ranked probability score of a forecast distribution; smaller is better.

    Args:
        forecast: ``Normal``, ``Laplace``, ``Logistic``, ``StudentT`` (``df > 1``; NaN below), ``Uniform``,
            ``Exponential``, ``Gamma``, ``LogNormal`` or ``Bernoulli`` (for which it is half the Brier score of both
            classes).
        y: observations, broadcastable with the batch of the forecast; outside of its support too.

    Returns:
        Scores in the units of ``y``, non-negative, of the broadcast shape; differentiable in ``y`` and in the
        hyper-parameters. NaN where these are outside of their domain.

    Raises:
        NotImplementedError: another family; take draws and :func:`crps_of_draws`.
    """
    for family, score in _SCORES.items():
        if type(forecast) is family:
            return score(forecast, y)
    names = ", ".join(family.__name__ for family in _SCORES)
    raise NotImplementedError(
        f"crps has no closed form for {type(forecast).__name__}; it has one for {names}. Take draws of the forecast "
        "and losses.crps_of_draws."
    )


def _absolute(z: jax.Array) -> jax.Array:
    """Absolute value with the derivative 0 at 0."""
    return z * jnp.sign(z)


def _located(standard: Callable[..., jax.Array]) -> Callable[[Any, ArrayLike], jax.Array]:
    """The score of a family with location and scale, from that of its standard member."""

    def score(forecast: Any, y: ArrayLike) -> jax.Array:
        y, loc, scale, *shape = promote(y, forecast.loc, forecast.scale, *forecast._shape())
        return jnp.where(scale > 0, scale, jnp.nan) * standard((y - loc) / scale, *shape)

    return score


def _normal(z: jax.Array) -> jax.Array:
    density = jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    # z (2 Phi(z) - 1) = |z| - 2 |z| Phi(-|z|).
    size = _absolute(z)
    return size - 2 * size * ndtr(-size) + 2 * density - 1 / math.sqrt(math.pi)


def _laplace(z: jax.Array) -> jax.Array:
    size = _absolute(z)
    return size + jnp.exp(-size) - 0.75


def _logistic(z: jax.Array) -> jax.Array:
    size = _absolute(z)
    return size + 2 * numerics.softplus(-size) - 1


def _student(z: jax.Array, df: jax.Array) -> jax.Array:
    normal = jnp.isinf(df)
    df, z_t = jnp.where(normal | ~(df > 1), 2.0, df), jnp.where(normal, 0, z)
    size = _absolute(z_t)
    t = dist.StudentT(df)
    spread = 2 * jnp.exp(t.log_prob(z_t)) * (df + z_t * z_t) / (df - 1)
    half = jnp.asarray(0.5, df.dtype)
    constant = 2 * jnp.sqrt(df) / (df - 1) * jnp.exp(betaln(half, df - 0.5) - 2 * betaln(half, 0.5 * df))
    return jnp.where(normal, _normal(z), size - 2 * size * jnp.exp(t.log_cdf(-size)) + spread - constant)


def _student_checked(forecast: Any, y: ArrayLike) -> jax.Array:
    score = _located(_student)(forecast, y)
    df, _ = promote(forecast.df, score)
    return jnp.where(df > 1, score, jnp.nan)


def _uniform(forecast: Any, y: ArrayLike) -> jax.Array:
    y, low, high = promote(y, forecast.low, forecast.high)
    width = jnp.where(high > low, high - low, jnp.nan)
    z = (y - low) / width
    inside = jnp.clip(z, 0, 1)
    return width * (_absolute(z - inside) + inside * inside - inside + 1 / 3)


def _exponential(forecast: Any, y: ArrayLike) -> jax.Array:
    y, rate = promote(y, forecast.rate)
    rate = jnp.where(rate > 0, rate, jnp.nan)
    z = rate * y
    return (_absolute(z) + 2 * jnp.expm1(-jnp.maximum(z, 0)) + 0.5) / rate


def _gamma(forecast: Any, y: ArrayLike) -> jax.Array:
    y, shape, rate = promote(y, forecast.concentration, forecast.rate)
    shape, rate = jnp.where(shape > 0, shape, jnp.nan), jnp.where(rate > 0, rate, jnp.nan)
    z, positive = rate * y, y > 0
    # F at shape + 1 is F less the mass z^a e^-z / Gamma(a + 1), so that one tail is enough.
    safe = jnp.where(positive, z, 1)
    log_below, log_above = numerics.log_gamma_tails(shape, safe)
    mass = jnp.exp(shape * jnp.log(safe) - safe - gammaln(shape + 1))
    center = (z - shape) * (jnp.exp(log_below) - jnp.exp(log_above)) + 2 * shape * mass
    spread = jnp.exp(-betaln(jnp.asarray(0.5, shape.dtype), shape))
    return (jnp.where(positive, center, shape - z) - spread) / rate


def _log_normal(forecast: Any, y: ArrayLike) -> jax.Array:
    y, loc, scale = promote(y, forecast.loc, forecast.scale)
    scale, positive = jnp.where(scale > 0, scale, jnp.nan), y > 0
    z = (jnp.log(jnp.where(positive, y, 1)) - loc) / scale
    mean = jnp.exp(loc + 0.5 * scale * scale)
    below, shifted = jnp.where(positive, ndtr(z), 0), jnp.where(positive, ndtr(z - scale), 0)
    # Phi(s / sqrt 2) - 1 as minus the other tail.
    return y * (2 * below - 1) - 2 * mean * (shifted - ndtr(-scale * math.sqrt(0.5)))


def _bernoulli(forecast: Any, y: ArrayLike) -> jax.Array:
    y, mean = promote(y, forecast.mean)
    return jnp.where((y == 0) | (y == 1), jnp.square(mean - y), jnp.nan)


_SCORES: dict[type, Callable[[Any, ArrayLike], jax.Array]] = {
    dist.Normal: _located(_normal),
    dist.Laplace: _located(_laplace),
    dist.Logistic: _located(_logistic),
    dist.StudentT: _student_checked,
    dist.Uniform: _uniform,
    dist.Exponential: _exponential,
    dist.Gamma: _gamma,
    dist.LogNormal: _log_normal,
    dist.Bernoulli: _bernoulli,
}


def crps_of_draws(draws: ArrayLike, y: ArrayLike, *, fair: bool = True) -> jax.Array:
    r"""Continuous ranked probability score of an ensemble.

    .. math:: \frac1m\sum_i|x_i - y| - \frac1{2m(m - 1)}\sum_{i,j}|x_i - x_j|

    Args:
        draws: shape ``(m, *batch)``, in any order.
        y: observations, shape ``(*batch,)``.
        fair: divide the second sum by :math:`m(m - 1)`, which makes the score an unbiased estimate of that of the
            distribution the draws come from (and possibly negative); else by :math:`m^2`, the score of the empirical
            distribution itself.

    Returns:
        Shape ``(*batch,)``.

    Raises:
        ValueError: shapes that do not fit, or a single draw with ``fair``.

    Reference: Ferro (2014), Fair scores for ensemble forecasts, QJRMS 140.
    """
    dtype = jnp.result_type(float, draws, y)
    draws, y = jnp.asarray(draws, dtype), jnp.asarray(y, dtype)
    if draws.ndim == 0 or draws.shape[1:] != y.shape or draws.shape[0] < 1 + fair:
        raise ValueError(
            f"draws must have shape (m, *batch) with m at least {1 + fair} and y the shape (*batch,); they have "
            f"{draws.shape} and {y.shape}."
        )
    m = draws.shape[0]
    distance = jnp.mean(jnp.abs(draws - y[None]), axis=0)
    # Sorted, each gap between neighbours counts once for every pair around it: only non-negative terms.
    gaps = jnp.diff(jnp.sort(draws, axis=0), axis=0)
    below = jnp.arange(1, m, dtype=dtype).reshape((-1, *(1,) * y.ndim))
    pairs = jnp.sum(gaps * below * (m - below), axis=0)
    return distance - pairs / (m * (m - 1) if fair else m * m)
