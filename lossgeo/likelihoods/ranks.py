"""Sums over risk sets: what partial likelihoods are made of.

Cases are sorted by stratum and time, so that the risk set of a time is the rest of its stratum from there on. A sum of
exponentials is held as a pair ``(shift, total)`` that stands for ``exp(shift) * total``: the shift is a constant for
differentiation, the total carries value and derivatives. Nothing overflows or underflows, and a case of weight 0 adds
nothing and has a derivative.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Order", "Scaled", "log_scaled", "log_symmetric", "risk_by_mask", "risk_by_scan", "sort_cases", "tied_sum"]


class Order(NamedTuple):
    """Cases in the order of stratum and time.

    Args:
        permutation: sorted cases as indices of the given ones.
        opens: whether a sorted case is the first of its stratum.
        tie: number of the group of equal stratum and time that a sorted case belongs to.
        first: sorted index of the first case of that group.
    """

    permutation: jax.Array
    opens: jax.Array
    tie: jax.Array
    first: jax.Array


class Scaled(NamedTuple):
    """``exp(shift) * total``, elementwise."""

    shift: jax.Array
    total: jax.Array


def sort_cases(time: jax.Array, strata: jax.Array) -> Order:
    """The order of cases with times and stratum ids of shape ``(n,)``."""
    permutation = jnp.lexsort((time, strata))
    time, strata = time[permutation], strata[permutation]
    new_stratum = jnp.concatenate([jnp.ones(1, bool), strata[1:] != strata[:-1]])
    new_time = jnp.concatenate([jnp.ones(1, bool), time[1:] != time[:-1]])
    tie = jnp.cumsum(new_stratum | new_time) - 1
    position = jnp.arange(time.shape[0])
    first = jax.ops.segment_min(position, tie, num_segments=time.shape[0], indices_are_sorted=True)[tie]
    return Order(permutation, new_stratum, tie, first)


def risk_by_scan(eta: jax.Array, weights: jax.Array, order: Order) -> Scaled:
    """For each sorted case the sum of ``weights * exp(eta)`` over those at its time or later, in its stratum."""
    n = eta.shape[0]
    closes = jnp.concatenate([order.opens[1:], jnp.ones(1, bool)])
    shift = jax.lax.stop_gradient(eta)

    def combine(later: tuple, earlier: tuple) -> tuple:
        # The scan runs from the last case to the first; a case that closes its stratum forgets what came before.
        (m1, s1, _), (m2, s2, reset) = later, earlier
        m1 = jnp.where(reset, m2, m1)
        s1 = jnp.where(reset, 0, s1)
        m = jnp.maximum(m1, m2)
        return m, s1 * jnp.exp(m1 - m) + s2 * jnp.exp(m2 - m), later[2] | reset

    elements = (shift[::-1], (weights * jnp.exp(eta - shift))[::-1], closes[::-1])
    m, s, _ = jax.lax.associative_scan(combine, elements)
    return Scaled(m[::-1][order.first], s[::-1][order.first]) if n else Scaled(shift, weights)


def risk_by_mask(eta: jax.Array, weights: jax.Array, at_risk: jax.Array) -> Scaled:
    """The same for any risk sets: ``at_risk[i, j]`` says whether case ``j`` is at risk at the time of case ``i``."""
    fixed = jax.lax.stop_gradient(eta)
    shift = jnp.max(jnp.where(at_risk, fixed[None, :], -jnp.inf), axis=1)
    shift = jnp.where(jnp.isfinite(shift), shift, 0)
    # Cases that are not at risk may lie far above the shift: they must not overflow before they are masked.
    terms = jnp.exp(jnp.where(at_risk, eta[None, :] - shift[:, None], -jnp.inf))
    return Scaled(shift, jnp.sum(jnp.where(at_risk, weights[None, :] * terms, 0), axis=1))


def tied_sum(eta: jax.Array, weights: jax.Array, order: Order, shift: jax.Array) -> jax.Array:
    """Sum of ``weights * exp(eta - shift)`` over the group of ties of each sorted case, whose shift is one."""
    n = eta.shape[0]
    sums = jax.ops.segment_sum(weights * jnp.exp(eta - shift), order.tie, num_segments=n, indices_are_sorted=True)
    return sums[order.tie]


def log_scaled(value: Scaled, used: jax.Array) -> jax.Array:
    """Logarithm where it is used, 0 elsewhere."""
    return jnp.where(used, value.shift + jnp.log(jnp.where(used, value.total, 1)), 0)


def log_symmetric(eta: jax.Array, opens: jax.Array, size: int) -> jax.Array:
    r"""Logarithms of the elementary symmetric polynomials of ``exp(eta)`` over the rest of each case's stratum.

    .. math:: e_k = \sum_{|S| = k} \exp\Bigl(\sum_{j \in S} \eta_j\Bigr), \qquad k = 0, \dots, \text{size}

    By the recursion :math:`e_k \leftarrow e_k + e^{\eta_j} e_{k-1}` from the last case to the first, in logarithms.

    Args:
        eta: sorted linear predictors, shape ``(n,)``.
        opens: whether a case is the first of its stratum.
        size: largest number of chosen cases, static.

    Returns:
        Shape ``(n, size + 1)``; ``-inf`` where there are fewer cases than are to be chosen.

    Reference: Gail, Lubin and Rubinstein (1981), Biometrika 68, 703.
    """
    start = jnp.where(jnp.arange(size + 1) == 0, 0.0, -jnp.inf).astype(eta.dtype)
    closes = jnp.concatenate([opens[1:], jnp.ones(1, bool)])

    def step(logs: jax.Array, case: tuple) -> tuple:
        value, close = case
        logs = jnp.where(close, start, logs)
        chosen = jnp.concatenate([jnp.full(1, -jnp.inf, eta.dtype), logs[:-1] + value])
        logs = _logaddexp(logs, chosen)
        return logs, logs

    return jax.lax.scan(step, start, (eta, closes), reverse=True)[1]


def _logaddexp(a: jax.Array, b: jax.Array) -> jax.Array:
    """The same as ``jnp.logaddexp``, whose derivative is NaN where both are ``-inf``."""
    m = jax.lax.stop_gradient(jnp.maximum(a, b))
    possible = m > -jnp.inf
    m = jnp.where(possible, m, 0)
    total = jnp.exp(jnp.where(a > -jnp.inf, a, 0) - m) * (a > -jnp.inf)
    total = total + jnp.exp(jnp.where(b > -jnp.inf, b, 0) - m) * (b > -jnp.inf)
    return jnp.where(possible, m + jnp.log(jnp.where(possible, total, 1)), -jnp.inf)
