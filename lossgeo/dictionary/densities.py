r"""Negative log-densities written a second time, in plain NumPy, for certifying what was read off an objective.

A decomposition that is evaluated by the very code it was read from proves nothing. These formulas share none with
:mod:`lossgeo.distributions`: textbook forms, complete with their constants, for arrays of hyper-parameters. They are
checks at moderate probes and not for fitting: no care is taken of far tails.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lossgeo import distributions as dist
from lossgeo import numerics

__all__ = [
    "NEGATIVE_LOG_DENSITIES",
    "conditional_logit",
    "cox",
    "grouped_laplace",
    "log_gamma",
    "margin_loss",
    "quasi_deviance",
]

Array = np.ndarray
Parts = dict[str, Any]
"""Hyper-parameters of a distribution by field name; absent or ``None`` where not given."""

log_gamma = np.vectorize(math.lgamma, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])
_LOG_2PI = math.log(2 * math.pi)


def _log_add(a: Array, b: Array) -> Array:
    return np.logaddexp(a, b)


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def log_odds(h: Parts) -> Array:
    """Log-odds from ``logits`` or ``probs``."""
    return h["logits"] if h.get("logits") is not None else np.log(h["probs"]) - np.log1p(-h["probs"])


def _rate(h: Parts) -> tuple[Array, Array]:
    log_rate = h["log_rate"] if h.get("log_rate") is not None else np.log(h["rate"])
    return log_rate, np.exp(log_rate)


def _location_scale(shape: Callable[[Array, Parts], Array]) -> Callable[[Parts, Array], Array]:
    def value(h: Parts, y: Array) -> Array:
        return shape((y - h["loc"]) / h["scale"], h) + np.log(h["scale"])

    return value


def _on_positive(standard: Callable[[Parts, Array], Array]) -> Callable[[Parts, Array], Array]:
    """The half of a symmetric density: twice as high."""

    def value(h: Parts, y: Array) -> Array:
        return standard({"loc": 0.0, **h}, y) - math.log(2)

    return value


def _huber(z: Array, h: Parts) -> Array:
    k = np.asarray(h["delta"])
    loss = np.where(np.abs(z) <= k, 0.5 * z * z, k * np.abs(z) - 0.5 * k * k)
    center = math.sqrt(2 * math.pi) * (1 - _erfc(k / math.sqrt(2)))
    return loss + np.log(center + 2 * np.exp(-0.5 * k * k) / k)


def _student(z: Array, h: Parts) -> Array:
    df = np.asarray(h["df"], float)
    finite = np.where(np.isinf(df), 1.0, df)
    value = 0.5 * (finite + 1) * np.log1p(z * z / finite) + 0.5 * np.log(finite * math.pi)
    value = value + log_gamma(finite / 2) - log_gamma((finite + 1) / 2)
    return np.where(np.isinf(df), 0.5 * z * z + 0.5 * _LOG_2PI, value)


_normal = _location_scale(lambda z, h: 0.5 * z * z + 0.5 * _LOG_2PI)
_student_t = _location_scale(_student)
_cauchy = _location_scale(lambda z, h: np.log1p(z * z) + math.log(math.pi))


def _binomial(h: Parts, y: Array) -> Array:
    n, z = np.asarray(h["total_count"], float), log_odds(h)
    ways = log_gamma(n + 1) - log_gamma(y + 1) - log_gamma(n - y + 1)
    return n * _softplus(z) - y * z - ways


def _beta_binomial(h: Parts, y: Array) -> Array:
    n, a, b = np.asarray(h["total_count"], float), h["concentration1"], h["concentration0"]
    ways = log_gamma(n + 1) - log_gamma(y + 1) - log_gamma(n - y + 1)
    return _log_beta(a, b) - _log_beta(y + a, n - y + b) - ways


def _log_beta(a: Array, b: Array) -> Array:
    return log_gamma(a) + log_gamma(b) - log_gamma(np.add(a, b))


def _categorical(h: Parts, y: Array) -> Array:
    z = h["logits"] if h.get("logits") is not None else np.log(h["probs"])
    chosen = np.take_along_axis(z, np.broadcast_to(y, z.shape[:-1]).astype(int)[..., None], axis=-1)[..., 0]
    top = np.max(z, axis=-1)
    return top - chosen + np.log(np.sum(np.exp(z - top[..., None]), axis=-1))


def _ordered(cdf: Callable[[Array], Array]) -> Callable[[Parts, Array], Array]:
    def value(h: Parts, y: Array) -> Array:
        eta, cut = np.asarray(h["eta"]), np.asarray(h["cutpoints"])
        cut = np.broadcast_to(cut, (*eta.shape, cut.shape[-1]))
        infinite = np.full((*eta.shape, 1), np.inf)
        edges = np.concatenate([-infinite, cut - eta[..., None], infinite], axis=-1)
        ids = np.broadcast_to(y, eta.shape).astype(int)[..., None]
        low, high = (np.take_along_axis(edges, ids + k, axis=-1)[..., 0] for k in (0, 1))
        # The smaller tails are subtracted from each other.
        flip = low + np.where(np.isinf(high), low, high) > 0
        low, high = np.where(flip, -high, low), np.where(flip, -low, high)
        return -np.log(cdf(high) - cdf(low))

    return value


def _logistic_cdf(z: Array) -> Array:
    return np.exp(-_softplus(-z))


def _poisson(h: Parts, y: Array) -> Array:
    log_rate, rate = _rate(h)
    return rate - y * log_rate + log_gamma(y + 1)


def _negative_binomial(h: Parts, y: Array) -> Array:
    m, k = h["mean"], np.asarray(h["concentration"], float)
    ways = log_gamma(y + k) - log_gamma(k) - log_gamma(y + 1)
    return (y + k) * np.log(k + m) - k * np.log(k) - y * np.log(m) - ways


def _geometric(h: Parts, y: Array) -> Array:
    z = log_odds(h)
    return _softplus(-z) + y * _softplus(z)


def _gamma(h: Parts, y: Array) -> Array:
    k, rate = np.asarray(h["concentration"], float), h["rate"]
    return rate * y - k * np.log(rate) - (k - 1) * np.log(y) + log_gamma(k)


def _inverse_gamma(h: Parts, y: Array) -> Array:
    k, s = np.asarray(h["concentration"], float), h["scale"]
    return s / y - k * np.log(s) + (k + 1) * np.log(y) + log_gamma(k)


def _inverse_gaussian(h: Parts, y: Array) -> Array:
    m, k = h["mean"], h["concentration"]
    return k * (y - m) ** 2 / (2 * m * m * y) - 0.5 * np.log(k / (2 * math.pi * y**3))


def _beta(h: Parts, y: Array) -> Array:
    a, b = h["concentration1"], h["concentration0"]
    return _log_beta(a, b) - (a - 1) * np.log(y) - (b - 1) * np.log1p(-y)


def _exponential(h: Parts, y: Array) -> Array:
    return h["rate"] * y - np.log(h["rate"])


def _weibull(h: Parts, y: Array) -> Array:
    k, s = h["concentration"], h["scale"]
    return (y / s) ** k - np.log(k) + np.log(s) - (k - 1) * np.log(y / s)


def _log_logistic(h: Parts, y: Array) -> Array:
    k, t = h["concentration"], np.log(y / h["scale"])
    return 2 * _softplus(k * t) - k * t - np.log(k) + np.log(y)


def _log_normal(h: Parts, y: Array) -> Array:
    return _normal(h, np.log(y)) + np.log(y)


def _uniform(h: Parts, y: Array) -> Array:
    inside = (y >= h["low"]) & (y <= h["high"])
    return np.where(inside, np.log(np.subtract(h["high"], h["low"])), np.inf)


def _elastic_net(h: Parts, y: Array) -> Array:
    r, s = y - h["loc"], np.asarray(h["normal_scale"])
    total = 2 * s * np.asarray(numerics.mills_ratio(s / np.asarray(h["laplace_scale"])))
    return np.abs(r) / h["laplace_scale"] + 0.5 * np.square(r / s) + np.log(total)


def _group_laplace(h: Parts, y: Array) -> Array:
    d, b = y.shape[-1], np.asarray(h["scale"])
    surface = math.log(2) + 0.5 * d * math.log(math.pi) + math.lgamma(d) - math.lgamma(d / 2)
    return np.linalg.norm(y - h["loc"], axis=-1) / b + surface + d * np.log(b)


def grouped_laplace(h: Parts, y: Array, groups: tuple[int, ...]) -> Array:
    """The sum of those of the groups that labels of the last axis tell; one scale, or one for each in their order."""
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    loc, total = np.broadcast_to(h["loc"], y.shape), np.zeros(y.shape[:-1])
    for k in range(numbers.max() + 1):
        own, b = numbers == k, h["scale"][..., min(k, h["scale"].shape[-1] - 1)]
        total = total + _group_laplace({"loc": loc[..., own], "scale": b}, y[..., own])
    return total


def _multivariate_normal(h: Parts, y: Array) -> Array:
    d, r = y.shape[-1], (y - h["loc"])[..., None]
    if h.get("precision") is not None:
        precision = np.asarray(h["precision"])
        quadratic, log_det = np.swapaxes(r, -1, -2) @ precision @ r, -np.linalg.slogdet(precision)[1]
    else:
        root = h.get("cholesky")
        covariance = np.asarray(h["covariance"]) if root is None else root @ np.swapaxes(root, -1, -2)
        quadratic = np.swapaxes(r, -1, -2) @ np.linalg.solve(covariance, r)
        log_det = np.linalg.slogdet(covariance)[1]
    return 0.5 * (quadratic[..., 0, 0] + log_det + d * _LOG_2PI)


NEGATIVE_LOG_DENSITIES: dict[type, Callable[[Parts, Array], Array]] = {
    dist.Normal: _normal,
    dist.Laplace: _location_scale(lambda z, h: np.abs(z) + math.log(2)),
    dist.AsymmetricLaplace: _location_scale(
        lambda z, h: z * (h["quantile"] - (z < 0)) - np.log(h["quantile"]) - np.log1p(-np.asarray(h["quantile"]))
    ),
    dist.Huber: _location_scale(_huber),
    dist.StudentT: _student_t,
    dist.Cauchy: _cauchy,
    dist.Logistic: _location_scale(lambda z, h: z + 2 * _softplus(-z)),
    dist.HyperbolicSecant: _location_scale(lambda z, h: np.logaddexp(z, -z) + math.log(math.pi / 2)),
    dist.Gumbel: _location_scale(lambda z, h: z + np.exp(-z)),
    dist.Bernoulli: lambda h, y: _softplus(log_odds(h)) - y * log_odds(h),
    dist.Binomial: _binomial,
    dist.BetaBinomial: _beta_binomial,
    dist.Categorical: _categorical,
    dist.OrderedLogistic: _ordered(_logistic_cdf),
    dist.OrderedProbit: _ordered(lambda z: 0.5 * _erfc(-z / math.sqrt(2))),
    dist.Poisson: _poisson,
    dist.Geometric: _geometric,
    dist.NegativeBinomial: _negative_binomial,
    dist.Gamma: _gamma,
    dist.InverseGamma: _inverse_gamma,
    dist.InverseGaussian: _inverse_gaussian,
    dist.Beta: _beta,
    dist.Exponential: _exponential,
    dist.Weibull: _weibull,
    dist.LogLogistic: _log_logistic,
    dist.LogNormal: _log_normal,
    dist.Uniform: _uniform,
    dist.HalfNormal: _on_positive(_normal),
    dist.HalfStudentT: _on_positive(_student_t),
    dist.HalfCauchy: _on_positive(_cauchy),
    dist.ElasticNet: _elastic_net,
    dist.GroupLaplace: _group_laplace,
    dist.MultivariateNormal: _multivariate_normal,
}
"""Minus the log-density of each family, ``(hyper-parameters, y) -> nats``, broadcasting."""


def cox(eta: Array, time: Array, event: Array, strata: Array, entry: Array | None, ties: str) -> float:
    """Minus Cox's log partial likelihood, ties after Breslow or Efron; the definition, set by set."""
    total = 0.0
    for s in np.unique(strata):
        here = strata == s
        for t in np.unique(time[here & (event == 1)]):
            risk = here & (time >= t) & (True if entry is None else entry < t)
            dead = here & (time == t) & (event == 1)
            top = float(np.max(eta[risk]))
            all_, theirs = np.sum(np.exp(eta[risk] - top)), np.sum(np.exp(eta[dead] - top))
            d = int(np.sum(dead))
            share = np.arange(d) / d if ties == "efron" else np.zeros(d)
            total += float(np.sum(top + np.log(all_ - share * theirs)) - np.sum(eta[dead]))
    return total


def conditional_logit(eta: Array, labels: Array, groups: Array) -> float:
    """Minus the conditional logistic log-likelihood: sums over all subsets, by their generating polynomial."""
    total = 0.0
    for g in np.unique(groups):
        own, cases = eta[groups == g], int(np.sum(labels[groups == g]))
        ways = np.full(cases + 1, -np.inf)
        ways[0] = 0.0
        for e in own:
            ways[1:] = _log_add(ways[1:], ways[:-1] + e)
        total += float(ways[cases] - np.sum(own[labels[groups == g] == 1]))
    return total


def margin_loss(name: str, m: Array, constants: Parts) -> Array | None:
    """Margin losses as functions of the margin; ``None`` for one that is not written here."""
    if name == "Logistic":
        return _softplus(-m) / constants["unit"]
    if name == "Exponential":
        return np.exp(-constants["beta"] * m)
    if name == "SmoothedHinge":
        a = constants["alpha"]
        inner = np.where((m > 0) & (m < 1), m, 0.0)
        middle = a / (a + 1) - inner + inner ** (a + 1) / (a + 1)
        return np.where(m <= 0, a / (a + 1) - m, np.where(m < 1, middle, 0.0))
    known: dict[str, Callable[[], Array]] = {
        "Hinge": lambda: np.maximum(0, 1 - m),
        "SquaredHinge": lambda: np.maximum(0, 1 - m) ** 2,
        "Square": lambda: (1 - m) ** 2,
        "ModifiedHuber": lambda: np.where(m >= -1, np.maximum(0, 1 - m) ** 2, -4 * m),
        "Savage": lambda: 1 / (1 + np.exp(m)) ** 2,
        "Tangent": lambda: (2 * np.arctan(m) - 1) ** 2,
        "Ramp": lambda: np.minimum(2, np.maximum(0, 1 - m)),
    }
    return known[name]() if name in known else None


def quasi_deviance(power: float | None, y: Array, mu: Array) -> Array:
    r"""Half the unit deviance :math:`\int_\mu^y (y - t)/V(t)\,dt` of a variance function; ``None``: the binomial."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_y = np.where(y > 0, np.log(np.where(y > 0, y, 1)), 0.0)
        if power is None:
            rest = np.where(y < 1, np.log(np.where(y < 1, 1 - y, 1)), 0.0)
            return y * (log_y - np.log(mu)) + (1 - y) * (rest - np.log1p(-mu))
        if power == 1:
            return y * (log_y - np.log(mu)) - (y - mu)
        if power == 2:
            return y / mu - 1 - (log_y - np.log(mu))
        p = power
        start = np.where(y > 0, np.where(y > 0, y, 1) ** (2 - p), 0.0) if p else y * y
        return start / ((1 - p) * (2 - p)) - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p)
