r"""Murphy curves: forecasts of a label under all proper scores at once.

Every proper score of a probability is a mixture of elementary ones, the costs of acting on the forecast where a false
alarm costs :math:`\theta` and a miss :math:`1 - \theta`:

.. math:: S(p, y) = \int_0^1 S_\theta(p, y)\,w(\theta)\,d\theta, \qquad
    S_\theta(p, y) = \theta\,1[y = 0,\, p > \theta] + (1 - \theta)\,1[y = 1,\, p \le \theta]

with Schervish's weight :math:`w = -H''` (:attr:`MarginLoss.weight`). A forecast whose curve lies below another's
everywhere has the better mean under *every* proper score, and no choice of one can turn that round.

Reference: Schervish (1989), Annals of Statistics 17, theorem 4.2; Ehm, Gneiting, Jordan, Krueger (2016), Of quantiles
and expectiles, JRSS B 78.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.losses.residual import matched

__all__ = ["murphy_curve"]


def murphy_curve(probs: ArrayLike, labels: ArrayLike, thresholds: ArrayLike) -> jax.Array:
    """Mean elementary score of forecasts at each threshold.

    Args:
        probs: forecast probabilities of the label 1, shape ``(n,)``.
        labels: 0 or 1, shape ``(n,)``; another value gives NaN.
        thresholds: costs of a false alarm in (0, 1), shape ``(k,)``.

    Returns:
        Mean costs, shape ``(k,)``, continuous from the right in the thresholds. Plotted over them, a Murphy diagram.

    Raises:
        ValueError: shapes that do not fit (static: free under ``jit``).
    """
    p, y = matched("probs", probs, "labels", labels)
    thresholds = jnp.asarray(thresholds, p.dtype)
    if p.ndim != 1 or p.size == 0 or thresholds.ndim != 1:
        raise ValueError(
            f"probs and labels must have shape (n,) with n > 0 and thresholds (k,); they have {p.shape}, {y.shape} and "
            f"{thresholds.shape}."
        )
    usable = jnp.all((y == 0) | (y == 1)) & ~jnp.any(jnp.isnan(p))
    # Counts of events and non-events below each threshold, from sorted forecasts: no table of n times k.
    order = jnp.argsort(p)
    events = jnp.concatenate([jnp.zeros(1, p.dtype), jnp.cumsum(y[order])])
    below = jnp.searchsorted(p[order], thresholds, side="right")
    misses = events[below]
    alarms = (p.size - below) - (events[-1] - misses)
    costs = (thresholds * alarms + (1 - thresholds) * misses) / p.size
    return jnp.where(usable & (thresholds >= 0) & (thresholds <= 1), costs, jnp.nan)
