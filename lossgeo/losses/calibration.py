r"""Calibration and refinement: what a proper score says of forecasts of a label.

.. math:: \bar S = \underbrace{(\bar S - \bar S_c)}_{\text{miscalibration}} - \underbrace{(\bar S_0 - \bar
    S_c)}_{\text{discrimination}} + \underbrace{\bar S_0}_{\text{uncertainty}}

with :math:`\bar S_c` the score of the recalibrated forecasts and :math:`\bar S_0` that of the base rate. Recalibrated
forecasts are frequencies, within groups of equal forecasts (Murphy) or pooled until they rise with the forecast (CORP:
without bins, and with no choice to make). Because they are, for every proper score :math:`\bar S_c` is the mean entropy
:math:`H(c_i)`, the *refinement*, and the discrimination the mean Bregman divergence :math:`D_{-H}(c_i, \bar y)`. The
miscalibration is at least the mean of :math:`D_{-H}(c_i, p_i) \ge 0`, and equal to it for Murphy's groups: CORP
projects on a cone, where Pythagoras is an inequality.

Reference: Murphy (1973), J. Applied Meteorology 12; Dimitriadis, Gneiting, Jordan (2021), Stable reliability diagrams
for probabilistic classifiers, PNAS 118.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import geometry
from lossgeo.losses.scoring import ScoringRule, brier_score

__all__ = ["Calibration", "calibration_refinement"]


@dataclasses.dataclass(frozen=True)
class Calibration:
    r"""What :func:`calibration_refinement` found; prints as a table.

    Attributes:
        mean_loss: mean score of the forecasts: ``miscalibration - discrimination + uncertainty``, which is
            ``miscalibration + refinement``.
        miscalibration: what recalibration would gain, :math:`\ge 0`.
        discrimination: what the recalibrated forecasts gain over the base rate, :math:`\ge 0`.
        uncertainty: score of the base rate.
        recalibrated: recalibrated probabilities, shape ``(n,)``: plotted over the forecasts, a reliability diagram.
    """

    mean_loss: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    recalibrated: np.ndarray

    @property
    def refinement(self) -> float:
        """Score of the recalibrated forecasts: uncertainty less discrimination."""
        return self.uncertainty - self.discrimination

    def __str__(self) -> str:
        """One line for each part."""
        names = ("mean_loss", "miscalibration", "discrimination", "uncertainty", "refinement")
        return "\n".join(f"{name:15}{getattr(self, name):#.6g}" for name in names)


def calibration_refinement(
    probs: ArrayLike, labels: ArrayLike, rule: ScoringRule = brier_score, *, monotone: bool = True
) -> Calibration:
    """Split the mean score of forecasts of a label into miscalibration, discrimination and uncertainty.

    Args:
        probs: forecast probabilities of the label 1, in [0, 1], shape ``(n,)``.
        labels: 0 or 1, shape ``(n,)``.
        rule: a proper score: ``brier_score``, ``log_score``, ``spherical_score`` or ``boosting_score``.
        monotone: recalibrate by isotonic regression (CORP). ``False`` recalibrates every distinct forecast by its own
            frequency (Murphy), which wants few distinct forecasts.

    Returns:
        A :class:`Calibration`. A forecast of 0 that came true has an infinite log-score, and so has its miscalibration.

    Raises:
        ValueError: shapes that differ, an empty sample, or values outside their ranges.
    """
    p, y = np.asarray(probs, float), np.asarray(labels)
    if p.ndim != 1 or p.shape != y.shape or p.size == 0:
        raise ValueError(f"probs and labels must have one shape (n,) with n > 0; they have {p.shape} and {y.shape}.")
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"probs must lie in [0, 1]; they range from {p.min():g} to {p.max():g}.")
    if not np.all((y == 0) | (y == 1)):
        raise ValueError(f"labels must be 0 or 1; they contain {sorted(set(y.tolist()))[:5]}.")
    values, group, counts = np.unique(p, return_inverse=True, return_counts=True)
    frequencies = np.bincount(group, weights=y.astype(float), minlength=values.size) / counts
    if monotone:
        frequencies = np.clip(geometry.projection_monotone(frequencies, counts.astype(float)), 0, 1)
    recalibrated = np.asarray(frequencies)[group]

    forecasts = np.stack([p, recalibrated, np.full(p.size, y.mean())])
    own, best, base = (float(v) for v in _mean_losses(rule, forecasts, y.astype(int)))
    return Calibration(own, own - best, base - best, base, recalibrated)


@jax.jit
def _mean_losses(rule: ScoringRule, probs: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean losses of several forecasts, shape ``(k, n)``, of the same labels."""
    pairs = jnp.stack([1 - probs, probs], axis=-1)
    return jnp.mean(rule(pairs, jnp.broadcast_to(labels, probs.shape)), axis=-1)
