r"""Reads the link and the linear predictor off the hyper-parameters that a model returned at probes.

A link is found by what it does: :math:`g(\mu)` is an affine function of the parameters, which is tested on lines of
three points, :math:`\zeta(c + v) + \zeta(c - v) - 2\zeta(c) = 0`.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import distributions as dist
from lossgeo import links
from lossgeo._pytree import path_name
from lossgeo.dictionary.densities import log_odds
from lossgeo.dictionary.zeros import BASES
from lossgeo.likelihoods import ConditionalLogit, CoxPartial
from lossgeo.losses import MarginLoss
from lossgeo.models import QuasiGLM
from lossgeo.models.families import BinomialCounts
from lossgeo.posing import Posed
from lossgeo.supports import Real

__all__ = ["Predictor", "leaf_names", "read_predictor"]

CANONICAL: dict[type, str] = {
    dist.Normal: "identity",
    dist.Bernoulli: "logit",
    dist.Binomial: "logit",
    BinomialCounts: "logit",
    dist.Poisson: "log",
    dist.Gamma: "inverse",
    dist.Exponential: "inverse",
    dist.InverseGaussian: "inverse squared",
    dist.Categorical: "softmax",
}
ON_THE_LINE = (("identity", links.identity), ("log", links.log), ("inverse", links.inverse), ("sqrt", links.sqrt))
ON_POSITIVE = (
    ("log", links.log), ("inverse", links.inverse), ("identity", links.identity), ("sqrt", links.sqrt),
    ("inverse squared", links.inverse_squared),
)  # fmt: skip
ON_UNIT_INTERVAL = (
    ("probit", links.probit), ("complementary log-log", links.cloglog), ("log-log", links.loglog),
    ("cauchit", links.cauchit), ("log", links.log), ("identity", links.identity),
)  # fmt: skip


class Predictor(NamedTuple):
    """What the mean depends on.

    Fields: ``link`` in words, empty where no link of the tables makes the predictor linear; ``canonical``, ``None``
    where the family has no canonical link; ``coef`` and ``intercept``, names of the leaves, where the predictor is
    exactly ``x @ coef + intercept`` of the first data argument; ``affine``: linear in some features at least.
    """

    link: str
    canonical: bool | None
    affine: bool
    coef: str | None = None
    intercept: str | None = None


def read_predictor(
    kind: type,
    likelihood: Any,
    parts: dict[str, Any],
    given: Any,
    posed: Posed,
    leaves: list[np.ndarray],
    straight: np.ndarray,
) -> Predictor:
    """Find the link that makes the predictor linear, and whether it is plain.

    Args:
        kind: class of the distribution, likelihood or loss.
        likelihood: the likelihood itself.
        parts: hyper-parameters at all probes.
        given: the predictor at all probes, where the likelihood holds it.
        posed: the objective with its data.
        leaves: parameters at all probes.
        straight: lines of three probes on which parameters with a constraint do not move.
    """
    kind = BASES.get(kind, kind)
    with np.errstate(all="ignore"):
        for link, zeta in _candidates(kind, likelihood, parts, given):
            if _is_affine(zeta, straight):
                canonical = CANONICAL.get(kind)
                coef, intercept = _plain(zeta, posed, leaves, kind is dist.Categorical)
                return Predictor(link, None if canonical is None else link == canonical, True, coef, intercept)
    return Predictor("", None if kind not in CANONICAL else False, False)


def _candidates(kind: type, likelihood: Any, parts: dict[str, Any], given: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Link names with the predictor that each implies, shape ``(P, n)`` or ``(P, n, K)``."""

    def through(table: Any, mean: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        for name, link in table:
            yield name, np.asarray(link.link(jnp.asarray(mean)))

    if kind in (CoxPartial, ConditionalLogit):
        yield "log of the relative hazard" if kind is CoxPartial else "logit", given
    elif kind is QuasiGLM:
        yield str(likelihood.fn.link).partition("(")[0].lower(), given
    elif issubclass(kind, MarginLoss):
        yield "score", given
    elif kind is dist.Categorical:
        z = parts["logits"] if parts.get("logits") is not None else np.log(parts["probs"])
        yield "softmax", z - z[..., :1]
    elif kind in (dist.OrderedLogistic, dist.OrderedProbit):
        yield ("logit" if kind is dist.OrderedLogistic else "probit"), parts["eta"]
    elif "logits" in parts:
        z = log_odds(parts)
        yield "logit", z
        p = 1 / (1 + np.exp(-z))
        yield from through(ON_UNIT_INTERVAL, np.where((p > 0.02) & (p < 0.98), p, np.nan))
    elif kind in (dist.Beta, dist.BetaBinomial):
        yield "logit", np.log(parts["concentration1"]) - np.log(parts["concentration0"])
        p = parts["concentration1"] / (parts["concentration1"] + parts["concentration0"])
        yield from through(ON_UNIT_INTERVAL, np.where((p > 0.02) & (p < 0.98), p, np.nan))
    elif kind is dist.Poisson:
        log_rate = parts["log_rate"] if parts.get("log_rate") is not None else np.log(parts["rate"])
        yield "log", log_rate
        yield from through(ON_POSITIVE[1:], np.exp(log_rate))
    elif kind is dist.LogNormal:
        yield "identity, of the logarithm", parts["loc"]
    elif "loc" in parts:
        yield from through(ON_THE_LINE, parts["loc"])
    else:
        yield from through(ON_POSITIVE, _positive_mean(kind, parts))


def _positive_mean(kind: type, parts: dict[str, Any]) -> np.ndarray:
    """The mean of a positive family, or the scale of a survival time."""
    if kind is dist.Gamma:
        return _rowwise(parts["concentration"], parts["rate"])
    if kind is dist.Exponential:
        return 1 / parts["rate"]
    return parts["mean"] if "mean" in parts else parts["scale"]


def _rowwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rank = max(a.ndim, b.ndim)
    a, b = (v.reshape(v.shape[:1] + (1,) * (rank - v.ndim) + v.shape[1:]) for v in (a, b))
    return a / b


def _is_affine(zeta: np.ndarray, straight: np.ndarray) -> bool:
    """Whether the middle of each line is the mean of its ends; entries that are not finite are left out."""
    lines = zeta.reshape(-1, 3, *zeta.shape[1:])[straight]
    bend = np.abs(lines[:, 1] + lines[:, 2] - 2 * lines[:, 0])
    size = np.abs(lines[:, 1]) + np.abs(lines[:, 2]) + 2 * np.abs(lines[:, 0])
    known = np.isfinite(bend)
    # At least a quarter of the entries must speak.
    if np.mean(known) < 0.25:
        return False
    eps = float(np.finfo(zeta.dtype if np.issubdtype(zeta.dtype, np.floating) else float).eps)
    largest = np.broadcast_to(np.nanmax(np.where(known, size, 0)) * 1e-6, size.shape)
    return bool(np.all(bend[known] <= 1e4 * eps * np.maximum(size, largest)[known]))


def _plain(zeta: np.ndarray, posed: Posed, leaves: list[np.ndarray], classes: bool) -> tuple[str | None, str | None]:
    """Names of the coefficients and the intercept where the predictor is ``x @ coef + intercept`` and no more."""
    from_names = dict(zip(leaf_names(posed), leaves, strict=True))
    x = np.asarray(posed.data[0], float) if np.ndim(posed.data[0]) == 2 else None
    real = [name for name, s in zip(from_names, posed.supports, strict=True) if isinstance(s, Real)]
    if x is None or zeta.ndim != (3 if classes else 2) or zeta.shape[1] != len(x):
        return None, None
    columns = zeta.shape[2:]
    for coef in real:
        w = from_names[coef]
        if w.ndim != zeta.ndim or w.shape[1] != x.shape[1]:
            continue
        product = np.einsum("nd,pd...->pn...", x, w)
        for intercept in (None, *(name for name in real if name != coef)):
            for offset in _constants(None if intercept is None else from_names[intercept], w.shape[2:]):
                eta = product + offset
                options: Iterator[np.ndarray] = iter([eta])
                if classes:
                    options = itertools.chain([eta], (np.insert(eta, b, 0.0, axis=2) for b in range(eta.shape[2] + 1)))
                for option in options:
                    if classes and option.shape[2:] != columns:
                        continue
                    compared = option - option[..., :1] if classes else option
                    scale = np.max(np.abs(product)) + np.max(np.abs(compared))
                    known = np.isfinite(zeta)
                    eps = float(np.finfo(zeta.dtype).eps)
                    if np.all(np.abs(compared - zeta)[known] <= 1e4 * eps * scale):
                        return coef, intercept
    return None, None


def _constants(intercept: np.ndarray | None, columns: tuple[int, ...]) -> Iterator[np.ndarray]:
    """What an intercept may add to each column: itself, or with that of one class held at 0."""
    if intercept is None:
        yield np.zeros((1, 1, *(1 for _ in columns)))
    elif intercept.shape[1:] == columns:
        yield intercept[:, None]
    elif columns and intercept.shape[1:] == (columns[0] - 1,):
        for held in range(columns[0]):
            yield np.insert(intercept, held, 0.0, axis=1)[:, None]


def leaf_names(posed: Posed) -> list[str]:
    """Names of the leaves of the parameters."""
    return [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(posed.template)[0]]
