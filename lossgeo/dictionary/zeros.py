"""Counts with zeros of their own, as families by themselves: what a composed distribution is called and computes."""

from typing import Any

import numpy as np

from lossgeo.dictionary.densities import NEGATIVE_LOG_DENSITIES, log_odds
from lossgeo.distributions import Distribution, Hurdle, NegativeBinomial, Poisson, ZeroInflated

__all__ = ["BASES", "COMPOSED", "ZERO_DENSITIES", "zero_fields"]


class ZeroInflatedPoisson(Distribution):
    """Stands for ``ZeroInflated(Poisson(...))``."""


class ZeroInflatedNegativeBinomial(Distribution):
    """Stands for ``ZeroInflated(NegativeBinomial(...))``."""


class HurdlePoisson(Distribution):
    """Stands for ``Hurdle(Poisson(...))``."""


class HurdleNegativeBinomial(Distribution):
    """Stands for ``Hurdle(NegativeBinomial(...))``."""


COMPOSED: dict[tuple[type, type], type] = {
    (ZeroInflated, Poisson): ZeroInflatedPoisson,
    (ZeroInflated, NegativeBinomial): ZeroInflatedNegativeBinomial,
    (Hurdle, Poisson): HurdlePoisson,
    (Hurdle, NegativeBinomial): HurdleNegativeBinomial,
}
BASES = {composed: base for (_, base), composed in COMPOSED.items()}


def zero_fields(record: Any, base: dict[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of the base, and those of the zeros under names of their own."""
    return {**base, "zero_probability": record.probability, "zero_logits": record.logits}


def _log_zero(h: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the probability of an extra zero and of none."""
    z = log_odds({"logits": h["zero_logits"], "probs": h["zero_probability"]})
    return -np.logaddexp(0.0, -z), -np.logaddexp(0.0, z)


def _inflated(base: type) -> Any:
    def value(h: dict[str, Any], y: np.ndarray) -> np.ndarray:
        extra, none = _log_zero(h)
        from_base = none - NEGATIVE_LOG_DENSITIES[base](h, y)
        return -np.where(y == 0, np.logaddexp(extra, from_base), from_base)

    return value


def _hurdle(base: type) -> Any:
    def value(h: dict[str, Any], y: np.ndarray) -> np.ndarray:
        extra, none = _log_zero(h)
        positive = np.log1p(-np.exp(-NEGATIVE_LOG_DENSITIES[base](h, np.zeros(1))))
        return -np.where(y == 0, extra, none - NEGATIVE_LOG_DENSITIES[base](h, y) - positive)

    return value


ZERO_DENSITIES = {
    composed: (_inflated if outer is ZeroInflated else _hurdle)(base) for (outer, base), composed in COMPOSED.items()
}
"""Minus the log-density of each, as in :data:`lossgeo.dictionary.densities.NEGATIVE_LOG_DENSITIES`."""
