r"""The term that sums to a Kullback–Leibler divergence, without cancellation between near neighbours."""

import jax
import jax.numpy as jnp

from lossgeo.numerics.gauss_legendre import gauss_legendre


def kl_term(p: jax.Array, q: jax.Array, log_q: jax.Array | None = None) -> jax.Array:
    r"""Elementwise :math:`p\log(p/q) - p + q \ge 0` for :math:`p, q \ge 0`; sums to KL when the totals agree.

    Near neighbours (:math:`|p - q| < 0.3\,q`) use :math:`q\,x^2\int_0^1 (1-t)/(1+tx)\,dt` with :math:`x = (p-q)/q`:
    positive terms only, so neither sign nor relative accuracy is lost. ``0 log 0 = 0``; ``q = 0 < p`` is ``inf``.

    Args:
        p: non-negative, any shape.
        q: non-negative, same shape.
        log_q: given where it is known better than ``log(q)``, as for logits.

    Returns:
        Nats, shape of ``p``; differentiable to any order in the interior.
    """
    near = jnp.abs(p - q) < 0.3 * q
    q_near = jnp.where(near, q, 1.0)
    x = jnp.where(near, p - q, 0.0) / q_near
    integral = sum(float(w * (1 - t)) / (1 + float(t) * x) for t, w in zip(*gauss_legendre(8), strict=True))
    far = ~near & (p > 0)
    p_far = jnp.where(far, p, 1.0)
    log_q_far = jnp.log(jnp.where(far, q, 1.0)) if log_q is None else jnp.where(far, log_q, 0.0)
    direct = jnp.where(far, p_far * (jnp.log(p_far) - log_q_far) - p_far, 0.0) + q
    return jnp.where(near, q_near * x * x * integral, direct)
