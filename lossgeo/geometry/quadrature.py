r"""Double-exponential quadrature: nodes and weights that turn an integral over an interval into a sum.

The trapezoidal rule after :math:`y = \tfrac12(a + b) + \tfrac12(b - a)\tanh(\tfrac\pi2\sinh t)`,
:math:`y = c\,\exp(\tfrac\pi2\sinh t)` or :math:`y = m + c\sinh(\tfrac\pi2\sinh t)` reaches float64 accuracy with about
a hundred nodes for analytic integrands.

Reference: Takahasi & Mori (1974), Publ. RIMS 9.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

__all__ = ["half_line_rule", "interval_rule", "kl_by_quadrature", "real_line_rule"]


def _trapezoid(low: float, high: float, num: int) -> tuple[np.ndarray, float]:
    t = np.linspace(low, high, num)
    return t, float(t[1] - t[0])


def interval_rule(low: ArrayLike, high: ArrayLike, num: int = 161) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights on the finite interval ``(low, high)``, shape ``(num,)`` each.

    Logarithmic singularities at the ends do no harm; a density that is itself infinite at an end loses accuracy. Nodes
    near an end other than 0 carry the rounding error of that end, and reach it in float32.
    """
    t, h = _trapezoid(-3.1, 3.1, num)
    u = np.pi / 2 * np.sinh(t)
    weight = h * np.pi / 2 * np.cosh(t) / np.cosh(u) ** 2
    half = 0.5 * (jnp.asarray(high, float) - low)
    # Distance from the nearer end, so that nodes next to low = 0 keep their relative accuracy.
    share = jnp.asarray(2 / (1 + np.exp(2 * np.abs(u))))
    nodes = jnp.where(jnp.asarray(u < 0), low + half * share, high - half * share)
    return jnp.asarray(nodes), half * jnp.asarray(weight)


def half_line_rule(scale: ArrayLike = 1.0, num: int = 401) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights on ``(0, inf)``, from ``1e-80`` to ``1e18`` times ``scale``; shape ``(num,)`` each."""
    t, h = _trapezoid(-5.5, 4.0, num)
    nodes = np.exp(np.pi / 2 * np.sinh(t))
    weight = h * np.pi / 2 * np.cosh(t) * nodes
    return jnp.asarray(scale, float) * jnp.asarray(nodes), jnp.asarray(scale, float) * jnp.asarray(weight)


def real_line_rule(loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, num: int = 321) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights on the real line, dense around ``loc`` on the scale ``scale``; shape ``(num,)`` each."""
    t, h = _trapezoid(-4.0, 4.0, num)
    u = np.pi / 2 * np.sinh(t)
    weight = h * np.pi / 2 * np.cosh(t) * np.cosh(u)
    return jnp.asarray(loc, float) + jnp.asarray(scale, float) * jnp.asarray(np.sinh(u)), jnp.asarray(
        scale, float
    ) * jnp.asarray(weight)


def kl_by_quadrature(
    log_p: Callable[[jax.Array], jax.Array],
    log_q: Callable[[jax.Array], jax.Array],
    points: ArrayLike,
    weights: ArrayLike | None = None,
) -> jax.Array:
    r"""KL(p‖q) of any two densities by a weighted sum over points; enumeration when ``weights`` is ``None``.

    .. math:: \sum_k w_k\,\big[p_k(\log p_k - \log q_k) - p_k + q_k\big]

    Args:
        log_p: normalized log-density of p, elementwise over the points.
        log_q: normalized log-density of q.
        points: nodes that carry both laws, shape ``(k, *event)``.
        weights: quadrature weights, shape ``(k,)``; ``None`` for a sum over all values of a discrete law.

    Returns:
        Nats, shape ``()``. Accurate to the quadrature: compare two numbers of nodes. ``p = 0`` contributes its limit.
    """
    a, b = log_p(jnp.asarray(points)), log_q(jnp.asarray(points))
    p = jnp.exp(a)
    covered = p > 0
    term = jnp.where(covered, p * (jnp.where(covered, a, 0.0) - jnp.where(covered, b, 0.0)) - p, 0.0) + jnp.exp(b)
    return jnp.sum(term if weights is None else weights * term)
