r"""Information measures of probability vectors: self-information, entropy, cross-entropy, and divergences.

Probability vectors lie along the last axis, leading axes are batches. Results are in nats; ``base=2`` gives bits.
Directions are read as written: ``kl_divergence(p, q)`` is KL(p‖q), the mean under the *first* argument of
:math:`\log p/q`. Cross-entropy is *not* a divergence: at ``p == q`` it is the entropy. Limits are exact: ``0 log 0 =
0``, and ``q = 0 < p`` makes KL(p‖q) infinite. Normalization is the caller's: nothing is clipped or rescaled.

For members of a parametric family see :func:`lossgeo.geometry.bregman.exponential_family_kl` and
:mod:`lossgeo.geometry.closed_forms`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating, same_shape
from lossgeo.numerics import kl_term, log_softmax

__all__ = [
    "alpha_divergence", "bhattacharyya_distance", "chi_squared_divergence", "cross_entropy", "entropy", "f_divergence",
    "hellinger_distance", "jensen_shannon_divergence", "kl_divergence", "kl_divergence_of_logits", "renyi_divergence",
    "self_information", "total_variation",
]  # fmt: skip


def _in_base(nats: jax.Array, base: float | None) -> jax.Array:
    if base is None:
        return nats
    if not base > 1:
        raise ValueError(f"base must exceed 1, got {base}. Use base=None for nats or base=2 for bits.")
    return nats / math.log(base)


def self_information(p: ArrayLike, *, base: float | None = None) -> jax.Array:
    r"""Self-information (surprisal) :math:`-\log p`, elementwise; ``inf`` at 0 and 0 at 1.

    Args:
        p: probabilities, any shape.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape of ``p``.
    """
    (p,) = floating(p)
    return _in_base(-jnp.log(p), base)


def entropy(p: ArrayLike, *, base: float | None = None) -> jax.Array:
    r"""Shannon entropy :math:`H(p) = -\sum_i p_i\log p_i`, with ``0 log 0 = 0``.

    Between 0 (a vertex) and :math:`\log d` (uniform). This is the discrete entropy; a *differential* entropy may be
    negative and changes with units.

    Args:
        p: probability vectors, shape ``(*batch, d)``.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape ``(*batch,)``.
    """
    (p,) = same_shape("entropy", 1, p)
    return _in_base(-jnp.sum(xlogy(p, p), axis=-1), base)


def cross_entropy(p: ArrayLike, q: ArrayLike, *, base: float | None = None) -> jax.Array:
    r"""Cross-entropy :math:`H(p, q) = -\sum_i p_i\log q_i = H(p) + \mathrm{KL}(p\|q)`.

    The mean code length of data from p under a code for q. Not a divergence: :math:`H(p, p) = H(p)`.

    Args:
        p: probability vectors (data), shape ``(*batch, d)``.
        q: probability vectors (model), same last axis.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape ``(*batch,)``; ``inf`` where ``q_i = 0 < p_i``.

    Numerics:
        On probabilities it is unstable near a vertex by nature; for logits use ``fenchel_young_loss(log_sum_exp, …)``.
    """
    p, q = same_shape("cross_entropy", 1, p, q)
    q_used = jnp.where(p > 0, q, 1.0)
    return _in_base(-jnp.sum(xlogy(p, q_used), axis=-1), base)


def kl_divergence(p: ArrayLike, q: ArrayLike, *, base: float | None = None) -> jax.Array:
    r"""Kullback–Leibler divergence KL(p‖q) of probability vectors: of ``p`` *from* ``q``, the mean under ``p``.

    .. math:: \mathrm{KL}(p\|q) = \sum_i p_i\log\frac{p_i}{q_i} = H(p, q) - H(p)

    Non-negative, 0 iff p = q. Not symmetric: the difference of the two directions is of third order.

    Args:
        p: probability vectors, shape ``(*batch, d)``. Non-negative with sum 1.
        q: probability vectors, same last axis.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape ``(*batch,)``; ``inf`` where ``q_i = 0 < p_i``.

    Numerics:
        Summed as :math:`p_i\log(p_i/q_i) - p_i + q_i \ge 0`, the same total for normalized vectors: near neighbours
        keep full relative accuracy and the sign, in float32 too. So off the simplex it is the generalized KL, and the
        gradient in q is :math:`1 - p/q`, which differs from :math:`-p/q` only along the normal of the simplex. Where
        ``p_i = 0`` the gradient in p is 0 by convention.

    Example:
        >>> round(float(kl_divergence(jnp.array([0.5, 0.5]), jnp.array([0.75, 0.25]), base=2)), 6)
        0.207519

    Reference: Kullback & Leibler (1951); Cover & Thomas (2006), section 2.3.
    """
    p, q = same_shape("kl_divergence", 1, p, q)
    return _in_base(jnp.sum(kl_term(p, q), axis=-1), base)


def kl_divergence_of_logits(z_p: ArrayLike, z_q: ArrayLike, *, base: float | None = None) -> jax.Array:
    r"""KL(softmax(z_p)‖softmax(z_q)); stays exact where the probabilities themselves round to 0 or 1.

    Args:
        z_p: logits of p, shape ``(*batch, d)``; ``-inf`` masks a class.
        z_q: logits of q, same last axis.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape ``(*batch,)``. A class that is masked in both contributes 0; masked in q only, ``inf``.
    """
    z_p, z_q = same_shape("kl_divergence_of_logits", 1, z_p, z_q)
    log_q = log_softmax(z_q)
    term = kl_term(jnp.exp(log_softmax(z_p)), jnp.exp(log_q), log_q)
    return _in_base(jnp.sum(term, axis=-1), base)


def jensen_shannon_divergence(p: ArrayLike, q: ArrayLike, *, base: float | None = None) -> jax.Array:
    r"""Jensen–Shannon divergence :math:`\tfrac12\mathrm{KL}(p\|m) + \tfrac12\mathrm{KL}(q\|m)`,
    :math:`m = \tfrac12(p + q)`.

    Symmetric, always finite, at most log 2; its square root is a metric.

    Args:
        p: probability vectors, shape ``(*batch, d)``.
        q: probability vectors, same last axis.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape ``(*batch,)``.
    """
    p, q = same_shape("jensen_shannon_divergence", 1, p, q)
    m = 0.5 * (p + q)
    return _in_base(0.5 * jnp.sum(kl_term(p, m) + kl_term(q, m), axis=-1), base)


def renyi_divergence(p: ArrayLike, q: ArrayLike, order: float, *, base: float | None = None) -> jax.Array:
    r"""Rényi divergence of ``p`` from ``q``, of order α.

    .. math:: D_\alpha(p\|q) = \frac{1}{\alpha - 1}\log\sum_i p_i^\alpha q_i^{1-\alpha}

    Increasing in α. Order 1 is KL(p‖q), order 0 is :math:`-\log q(p > 0)`, order ∞ is the largest log-ratio.

    Args:
        p: probability vectors, shape ``(*batch, d)``.
        q: probability vectors, same last axis.
        order: α ≥ 0 (static), ``inf`` included.
        base: base of the logarithm (static); ``None`` for nats.

    Returns:
        Shape ``(*batch,)``; ``inf`` where p is not absolutely continuous and α ≥ 1, or the supports are disjoint.

    Reference: van Erven & Harremoës (2014), IEEE Trans. Inf. Theory 60.
    """
    if order < 0:
        raise ValueError(f"order must be non-negative, got {order}.")
    if order == 1:
        return kl_divergence(p, q, base=base)
    p, q = same_shape("renyi_divergence", 1, p, q)
    on = p > 0
    p_on, q_on = jnp.where(on, p, 1.0), jnp.where(on, q, 1.0)
    log_ratio = jnp.log(p_on) - jnp.log(q_on)
    if math.isinf(order):
        return _in_base(jnp.max(jnp.where(on, log_ratio, -jnp.inf), axis=-1), base)
    # The sum less 1 is taken from non-negative pieces, so that neighbours keep their relative accuracy.
    excess = jnp.sum(jnp.where(on, _power_excess(p_on, q_on, log_ratio, order), (order - 1) * q), axis=-1)
    return _in_base(jnp.log1p(excess) / (order - 1), base)


def _power_excess(p: jax.Array, q: jax.Array, log_ratio: jax.Array, order: float) -> jax.Array:
    r""":math:`p^\alpha q^{1-\alpha} - \alpha p + (\alpha - 1) q`, which is of the sign of :math:`\alpha(\alpha-1)`."""
    near = jnp.abs(p - q) < 0.3 * q
    q_near = jnp.where(near, q, 1.0)
    x = jnp.where(near, p - q, 0.0) / q_near
    series = _binomial_remainder(x, order)
    far_ratio = jnp.where(near | (q <= 0), 0.0, log_ratio)
    direct = jnp.exp(order * far_ratio) * q - order * p + (order - 1) * q
    unbounded = jnp.where(q > 0, direct, jnp.inf if order > 1 else -order * p)
    return jnp.where(near, q_near * series, unbounded)


def _binomial_remainder(x: jax.Array, order: float) -> jax.Array:
    r""":math:`(1 + x)^\alpha - 1 - \alpha x` for :math:`|x| < 0.3`, by its binomial series."""
    bits = jnp.finfo(x.dtype).bits
    coefficients = [order * (order - 1) / 2]
    for k in range(3, 32 if bits == 64 else 16):
        coefficients.append(coefficients[-1] * (order - k + 1) / k)
    return x * x * jnp.polyval(jnp.asarray(coefficients[::-1], x.dtype), x)


def alpha_divergence(p: ArrayLike, q: ArrayLike, alpha: float) -> jax.Array:
    r"""Amari's α-divergence of ``p`` from ``q``.

    .. math:: D^{(\alpha)}(p\|q) = \frac{4}{1 - \alpha^2}\Big(1 - \sum_i p_i^{(1-\alpha)/2} q_i^{(1+\alpha)/2}\Big)

    α = −1 is KL(p‖q), α = +1 is KL(q‖p), α = 0 is 4 times the squared Hellinger distance.
    :math:`D^{(\alpha)}(p\|q) = D^{(-\alpha)}(q\|p)`; its metric is Fisher for every α, its connections are ±α.

    Args:
        p: probability vectors, shape ``(*batch, d)``.
        q: probability vectors, same last axis.
        alpha: any real (static).

    Returns:
        In nats, shape ``(*batch,)``.

    Reference: Amari (2016), section 3.5.
    """
    if alpha == -1:
        return kl_divergence(p, q)
    if alpha == 1:
        return kl_divergence(q, p)
    p, q = same_shape("alpha_divergence", 1, p, q)
    order = (1 - alpha) / 2
    on = p > 0
    p_on, q_on = jnp.where(on, p, 1.0), jnp.where(on, q, 1.0)
    piece = _power_excess(p_on, q_on, jnp.log(p_on) - jnp.log(q_on), order)
    off = (order - 1) * q if order > 0 else jnp.where(q > 0, jnp.inf, 0.0)
    return jnp.sum(jnp.where(on, piece, off), axis=-1) / (order * (order - 1))


def f_divergence(
    f: Callable[[jax.Array], jax.Array], p: ArrayLike, q: ArrayLike, *, slope_at_infinity: float = math.inf
) -> jax.Array:
    r"""Csiszár's f-divergence :math:`\sum_i q_i\,f(p_i/q_i)` for a convex f with f(1) = 0.

    KL(p‖q) is ``f = r log r``, KL(q‖p) is ``-log r``, total variation ``|r - 1| / 2``, χ² ``(r - 1)**2``.

    Args:
        f: convex function, elementwise, defined at 0 by its limit.
        p: probability vectors, shape ``(*batch, d)``.
        q: probability vectors, same last axis.
        slope_at_infinity: :math:`\lim_{r\to\infty} f(r)/r` (static), the price of ``q_i = 0 < p_i`` per unit of
            ``p_i``.

    Returns:
        Shape ``(*batch,)``.
    """
    p, q = same_shape("f_divergence", 1, p, q)
    inside = q > 0
    escapes = ~inside & (p > 0)
    ratio = jnp.where(inside, p, 1.0) / jnp.where(inside, q, 1.0)
    price = jnp.where(escapes, slope_at_infinity * jnp.where(escapes, p, 1.0), 0.0)
    return jnp.sum(jnp.where(inside, q * f(ratio), price), axis=-1)


def total_variation(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Total variation distance :math:`\tfrac12\sum_i|p_i - q_i|`, in [0, 1]; shape ``(*batch,)``."""
    p, q = same_shape("total_variation", 1, p, q)
    return 0.5 * jnp.sum(jnp.abs(p - q), axis=-1)


def chi_squared_divergence(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Pearson's :math:`\chi^2(p\|q) = \sum_i (p_i - q_i)^2/q_i`; ``0/0 = 0``; shape ``(*batch,)``."""
    p, q = same_shape("chi_squared_divergence", 1, p, q)
    both_zero = (p == 0) & (q == 0)
    return jnp.sum(jnp.where(both_zero, 0.0, (p - q) ** 2) / jnp.where(both_zero, 1.0, q), axis=-1)


def hellinger_distance(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Hellinger distance :math:`\big[\tfrac12\sum_i(\sqrt{p_i} - \sqrt{q_i})^2\big]^{1/2}`, in [0, 1].

    Shape ``(*batch,)``.
    """
    p, q = same_shape("hellinger_distance", 1, p, q)
    return jnp.sqrt(0.5 * jnp.sum((jnp.sqrt(p) - jnp.sqrt(q)) ** 2, axis=-1))


def bhattacharyya_distance(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Bhattacharyya distance :math:`-\log\sum_i\sqrt{p_i q_i}` in nats; ``inf`` for disjoint supports.

    Shape ``(*batch,)``.
    """
    p, q = same_shape("bhattacharyya_distance", 1, p, q)
    return -jnp.log1p(-0.5 * jnp.sum((jnp.sqrt(p) - jnp.sqrt(q)) ** 2, axis=-1))
