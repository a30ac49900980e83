r"""Losses of a linear predictor that values can be told by.

An atom is one data term up to its coefficients: its columns enter the objective linearly, with weights that a fit of
values finds, and at most one shape parameter enters them nonlinearly. The columns are written for any array module
``xp`` (NumPy for regression on values, ``jax.numpy`` for solving).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lossgeo import distributions as dist

__all__ = ["ATOMS", "MULTINOMIAL", "Atom"]

Columns = Callable[[Any, Any, Any, Any], tuple[Any, ...]]
Scales = dict[str, float]


class Shape(NamedTuple):
    """A parameter that enters nonlinearly: its symbol, and where to look for it from the sizes of the residuals."""

    symbol: str
    grid: Callable[[float], np.ndarray]


class Atom(NamedTuple):
    """A data term.

    Fields: ``kind`` the name in :mod:`lossgeo.dictionary.naming`; ``link``; ``columns(xp, eta, y, shape)``, terms of
    each row; ``targets(y)`` whether it is meant for such targets; ``settle(weights, shape)``, the scales that weights
    mean, or ``None`` where they mean nothing; ``density``, the class and ``parts(scales, eta)`` of the distribution
    that it belongs to, or ``None``; ``margin``; ``unit``: whether a likelihood allows the weight 1 only; ``smooth``;
    ``general``: whether simpler atoms are special or limiting cases, which go first.
    """

    kind: str
    link: str
    columns: Columns
    targets: Callable[[np.ndarray], bool]
    settle: Callable[[np.ndarray, float], Scales | None]
    density: tuple[type, Callable[[Scales, Any], dict[str, Any]]] | None
    shape: Shape | None = None
    margin: bool = False
    unit: bool = False
    smooth: bool = True
    general: bool = False

    @property
    def label(self) -> str:
        """A name that is unique in the dictionary."""
        return self.kind + (" margin" if self.margin else "") + (f" ({self.link})" if self.link else "")


def _real(y: np.ndarray) -> bool:
    return True


def _labels(y: np.ndarray) -> bool:
    return bool(np.all((y == 0) | (y == 1)))


def _nonnegative(y: np.ndarray) -> bool:
    return bool(np.all(y >= 0))


def _positive(y: np.ndarray) -> bool:
    return bool(np.all(y > 0))


def _counts(y: np.ndarray) -> bool:
    return bool(np.all((y >= 0) & (y == np.floor(y))))


def _none(weights: np.ndarray, shape: float) -> Scales:
    return {}


def _inverse(symbol: str) -> Callable[[np.ndarray, float], Scales | None]:
    return lambda weights, shape: {symbol: 1 / float(weights[0])}


def _itself(symbol: str) -> Callable[[np.ndarray, float], Scales | None]:
    return lambda weights, shape: {symbol: float(weights[0])}


def _pinball(weights: np.ndarray, shape: float) -> Scales | None:
    total = float(weights[0] + weights[1])
    return {"tau": float(weights[0]) / total, "s": 1 / total} if min(weights) > 0 else None


def _student(weights: np.ndarray, shape: float) -> Scales | None:
    # The weight is (df + 1)/2 and the shape df s^2.
    df = 2 * float(weights[0]) - 1
    return {"df": df, "s2": shape / df} if df > 0 else None


def _huber(weights: np.ndarray, shape: float) -> Scales | None:
    # Weight times Huber's function of r with its corner at shape = delta s: weight 1/s^2.
    s = 1 / math.sqrt(float(weights[0]))
    return {"delta": shape / s, "s": s}


def _sech(weights: np.ndarray, shape: float) -> Scales | None:
    return {"s": shape} if abs(float(weights[0]) - 1) < 1e-6 else None


def _insensitive(weights: np.ndarray, shape: float) -> Scales | None:
    return {"epsilon": shape, "weight": float(weights[0])}


def _margin(eta: Any, y: Any) -> Any:
    return (2 * y - 1) * eta


def _softplus(xp: Any, z: Any) -> Any:
    return xp.logaddexp(xp.zeros_like(z), z)


def _log_ndtr(xp: Any, z: Any) -> Any:
    if xp is np:
        return np.asarray(jax.scipy.special.log_ndtr(z), float)
    return jax.scipy.special.log_ndtr(z)


def _huber_column(xp: Any, eta: Any, y: Any, c: Any) -> tuple[Any, ...]:
    size = xp.abs(y - eta)
    inner = xp.minimum(size, c)
    return (inner * (size - 0.5 * inner),)


def _modified_huber(xp: Any, m: Any) -> Any:
    return xp.where(m >= -1, xp.square(xp.maximum(0.0, 1 - m)), -4 * m)


def _smoothed_hinge(xp: Any, m: Any, a: Any) -> Any:
    inner = xp.clip(m, 0.0, 1.0)
    return xp.maximum(-m, 0.0) + a / (a + 1) - inner + inner ** (a + 1) / (a + 1)


def _binomial_nll(xp: Any, eta: Any, y: Any, shape: Any) -> tuple[Any, ...]:
    successes, trials = y
    return (trials * _softplus(xp, eta) - successes * eta,)


def _cloglog(xp: Any, eta: Any, y: Any, shape: Any) -> tuple[Any, ...]:
    hazard = xp.exp(eta)
    return (xp.where(y == 1, -xp.log(-xp.expm1(-hazard)), hazard),)


def _negative_binomial(xp: Any, eta: Any, y: Any, k: Any) -> tuple[Any, ...]:
    return ((y + k) * xp.logaddexp(xp.log(k) + 0 * eta, eta) - y * eta,)


def _around(low: float, high: float, power: int = 1) -> Callable[[float], np.ndarray]:
    return lambda size: size**power * np.geomspace(low, high, 31)


ATOMS: tuple[Atom, ...] = (
    Atom("Normal", "identity", lambda xp, e, y, s: (0.5 * xp.square(y - e),), _real, _inverse("s2"),
         (dist.Normal, lambda c, e: {"loc": e, "scale": math.sqrt(c["s2"])})),
    Atom("Laplace", "identity", lambda xp, e, y, s: (xp.abs(y - e),), _real, _inverse("s"),
         (dist.Laplace, lambda c, e: {"loc": e, "scale": c["s"]}), smooth=False),
    Atom("Bernoulli", "logit", lambda xp, e, y, s: (_softplus(xp, e) - y * e,), _labels, _none,
         (dist.Bernoulli, lambda c, e: {"logits": e}), unit=True),
    Atom("Bernoulli", "probit", lambda xp, e, y, s: (-_log_ndtr(xp, _margin(e, y)),), _labels, _none,
         (dist.Bernoulli, lambda c, e: {"logits": _log_ndtr(np, e) - _log_ndtr(np, -e)}), unit=True),
    Atom("Bernoulli", "complementary log-log", _cloglog, _labels, _none,
         (dist.Bernoulli, lambda c, e: {"logits": np.log(np.expm1(np.exp(e)))}), unit=True),
    Atom("Poisson", "log", lambda xp, e, y, s: (xp.exp(e) - y * e,), _nonnegative, _none,
         (dist.Poisson, lambda c, e: {"log_rate": e}), unit=True),
    Atom("Gamma", "log", lambda xp, e, y, s: (e + y * xp.exp(-e),), _positive, _itself("concentration"),
         (dist.Gamma, lambda c, e: {"concentration": c["concentration"], "rate": c["concentration"] * np.exp(-e)})),
    Atom("InverseGaussian", "log", lambda xp, e, y, s: (0.5 * y * xp.exp(-2 * e) - xp.exp(-e),), _positive,
         _itself("concentration"),
         (dist.InverseGaussian, lambda c, e: {"mean": np.exp(e), "concentration": c["concentration"]})),
    Atom("Hinge", "", lambda xp, e, y, s: (xp.maximum(0.0, 1 - _margin(e, y)),), _labels, _itself("weight"), None,
         margin=True, smooth=False),
    Atom("SquaredHinge", "", lambda xp, e, y, s: (xp.square(xp.maximum(0.0, 1 - _margin(e, y))),), _labels,
         _itself("weight"), None, margin=True),
    Atom("Square", "", lambda xp, e, y, s: (xp.square(1 - _margin(e, y)),), _labels, _itself("weight"), None,
         margin=True),
    Atom("ModifiedHuber", "", lambda xp, e, y, s: (_modified_huber(xp, _margin(e, y)),), _labels, _itself("weight"),
         None, margin=True),
    Atom("Savage", "", lambda xp, e, y, s: (xp.exp(-2 * _softplus(xp, _margin(e, y))),), _labels, _itself("weight"),
         None, margin=True),
    Atom("Tangent", "", lambda xp, e, y, s: (xp.square(2 * xp.arctan(_margin(e, y)) - 1),), _labels,
         _itself("weight"), None, margin=True),
    Atom("AsymmetricLaplace", "identity",
         lambda xp, e, y, s: (xp.maximum(y - e, 0.0), xp.maximum(e - y, 0.0)), _real, _pinball,
         (dist.AsymmetricLaplace, lambda c, e: {"loc": e, "scale": c["s"], "quantile": c["tau"]}),
         smooth=False, general=True),
    Atom("Exponential", "", lambda xp, e, y, b: (xp.exp(-b * _margin(e, y)),), _labels,
         lambda w, b: {"weight": float(w[0]), "beta": b}, None, Shape("beta", lambda size: np.geomspace(0.1, 10, 21)),
         margin=True),
    Atom("SmoothedHinge", "", lambda xp, e, y, a: (_smoothed_hinge(xp, _margin(e, y), a),), _labels,
         lambda w, a: {"weight": float(w[0]), "alpha": a}, None, Shape("alpha", lambda size: np.geomspace(0.3, 30, 21)),
         margin=True),
    Atom("Huber", "identity", _huber_column, _real, _huber,
         (dist.Huber, lambda c, e: {"loc": e, "scale": c["s"], "delta": c["delta"]}),
         Shape("delta", _around(1e-2, 1e2))),
    Atom("StudentT", "identity", lambda xp, e, y, q: (xp.log1p(xp.square(y - e) / q),), _real, _student,
         (dist.StudentT, lambda c, e: {"loc": e, "df": c["df"], "scale": math.sqrt(c["s2"])}),
         Shape("df s2", _around(1e-3, 1e4, 2))),
    Atom("Logistic", "identity",
         lambda xp, e, y, s: ((y - e) / s + 2 * _softplus(xp, -(y - e) / s),), _real, _sech,
         (dist.Logistic, lambda c, e: {"loc": e, "scale": c["s"]}), Shape("s", _around(1e-2, 1e2)), unit=True),
    Atom("HyperbolicSecant", "identity",
         lambda xp, e, y, s: (xp.logaddexp((y - e) / s, (e - y) / s),), _real, _sech,
         (dist.HyperbolicSecant, lambda c, e: {"loc": e, "scale": c["s"]}), Shape("s", _around(1e-2, 1e2)), unit=True),
    Atom("EpsilonInsensitive", "identity", lambda xp, e, y, d: (xp.maximum(xp.abs(y - e) - d, 0.0),), _real,
         _insensitive, None, Shape("epsilon", _around(1e-2, 1e1)), smooth=False),
    Atom("NegativeBinomial", "log", _negative_binomial, _counts, lambda w, k: {"concentration": k},
         (dist.NegativeBinomial, lambda c, e: {"mean": np.exp(e), "concentration": c["concentration"]}),
         Shape("concentration", lambda size: np.geomspace(1e-2, 1e4, 25)), unit=True),
)  # fmt: skip
"""Losses of targets ``(n,)``, those without a shape first: the simplest that reproduces the values is the answer."""

BINOMIAL = Atom("Binomial", "logit", _binomial_nll, _real, _none,
                (dist.Binomial, lambda c, e: {"logits": e}), unit=True)  # fmt: skip
"""Successes in trials; the target is the pair."""


def _cross_entropy(xp: Any, eta: Any, y: Any, shape: Any) -> tuple[Any, ...]:
    top = xp.max(eta, axis=-1, keepdims=True)
    total = top[..., 0] + xp.log(xp.sum(xp.exp(eta - top), axis=-1))
    ids = xp.broadcast_to(y.astype(int), eta.shape[:-1])[..., None]
    return (total - xp.take_along_axis(eta, ids, axis=-1)[..., 0],)


MULTINOMIAL = Atom("Categorical", "softmax", _cross_entropy, _counts, _none,
                   (dist.Categorical, lambda c, e: {"logits": e}), unit=True)  # fmt: skip
"""Class ids; the predictor has one column for each class."""
