r"""Losses of logits against classes; the fused cross-entropies themselves are in :mod:`lossgeo.numerics`.

``softmax_cross_entropy`` is the multinomial likelihood. ``label_smoothing_loss`` and ``sparsemax_loss`` are
Fenchel–Young losses with their offset kept, so that they are 0 at the optimum. ``focal_loss`` and
``multiclass_hinge_loss`` are no likelihoods.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from lossgeo import geometry, numerics

__all__ = ["focal_loss", "label_smoothing_loss", "multiclass_hinge_loss", "sparsemax_loss"]


def focal_loss(logits: ArrayLike, labels: ArrayLike, gamma: ArrayLike = 2.0) -> jax.Array:
    r"""Focal loss :math:`-(1 - q_c)^\gamma \log q_c`: cross-entropy that neglects what is already right.

    Args:
        logits: shape ``(*batch, K)``.
        labels: class ids, shape ``(*batch,)``.
        gamma: :math:`\gamma \ge 0`, shape ``()``; 0 is cross-entropy. Otherwise it is not proper: its probabilities are
            biased towards 1/K.

    Returns:
        Losses, shape ``(*batch,)``; :math:`1 - q_c` is never formed by subtraction.

    Reference: Lin et al. (2017), Focal loss for dense object detection.
    """
    loss = numerics.softmax_cross_entropy(logits, labels)
    return (-jnp.expm1(-loss)) ** jnp.asarray(gamma, loss.dtype) * loss


def label_smoothing_loss(logits: ArrayLike, labels: ArrayLike, smoothing: ArrayLike) -> jax.Array:
    r"""KL divergence of the probabilities from smoothed labels :math:`p = (1 - \epsilon)\,e_c + \epsilon/K`.

    The cross-entropy with ``p`` less its entropy, so that it is 0 where softmax equals ``p``; the gradient in the
    logits is :math:`q - p`.

    Args:
        logits: shape ``(*batch, K)``.
        labels: class ids, shape ``(*batch,)``; an id out of range gives NaN.
        smoothing: :math:`\epsilon` in [0, 1], shape ``()``.

    Returns:
        Losses in nats, shape ``(*batch,)``, with the absolute accuracy of an ulp of the entropy of ``p``.
    """
    z = jnp.asarray(logits, jnp.result_type(float, logits))
    hard = numerics.softmax_cross_entropy(z, labels)  # checks labels
    classes = jnp.asarray(labels)[..., None]
    ids = jnp.arange(z.shape[-1], dtype=classes.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
    floor = jnp.asarray(smoothing, z.dtype) / z.shape[-1]
    p = jnp.where(classes == ids, 1 - jnp.asarray(smoothing, z.dtype) + floor, floor)
    loss = numerics.softmax_cross_entropy_with_probs(z, p) + jnp.sum(xlogy(p, p), axis=-1)
    return jnp.where(jnp.isnan(hard), jnp.nan, loss)


def multiclass_hinge_loss(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
    r"""Hinge loss of the margin over the best other class.

    .. math:: \max\bigl(0, 1 + \max_{j \ne c} z_j - z_c\bigr)

    Args:
        logits: shape ``(*batch, K)``.
        labels: class ids, shape ``(*batch,)``; an id out of range gives NaN.

    Returns:
        Losses, shape ``(*batch,)``. Not a likelihood, and not calibrated where no class has half the probability.

    Reference: Crammer, Singer (2001), JMLR 2.
    """
    z = jnp.asarray(logits, jnp.result_type(float, logits))
    checked = numerics.softmax_cross_entropy(z, labels)
    classes = jnp.asarray(labels)[..., None]
    chosen = classes == jnp.arange(z.shape[-1], dtype=classes.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
    own = jnp.sum(jnp.where(chosen, z, 0), axis=-1)
    slack = 1 + jnp.max(jnp.where(chosen, -jnp.inf, z), axis=-1) - own
    return jnp.where(jnp.isnan(checked), jnp.nan, jnp.where(slack <= 0, 0, slack))


def sparsemax_loss(logits: ArrayLike, probs: ArrayLike) -> jax.Array:
    r"""Fenchel–Young loss of the half squared norm on the simplex.

    .. math:: L(z, y) = \tfrac12\|y - p\|^2 + \langle p - z, y - p\rangle, \qquad p = \operatorname{sparsemax}(z)

    Both terms are non-negative. 0 exactly at :math:`y = p`; the gradient in the logits is :math:`p - y`.

    Args:
        logits: finite, shape ``(*batch, K)``.
        probs: targets on the simplex, same shape; not checked.

    Returns:
        Losses, shape ``(*batch,)``.

    Raises:
        ValueError: the shapes differ (static: free under ``jit``).

    Reference: Martins, Astudillo (2016), From softmax to sparsemax; Blondel, Martins, Niculae (2020), JMLR 21.
    """
    dtype = jnp.result_type(float, logits, probs)
    z, y = jnp.asarray(logits, dtype), jnp.asarray(probs, dtype)
    if z.ndim == 0 or z.shape != y.shape:
        raise ValueError(f"logits and probs must have one shape (*batch, K); they have {z.shape} and {y.shape}.")
    return _sparsemax_loss(z - jnp.max(z, axis=-1, keepdims=True), y)


@jax.custom_jvp
def _sparsemax_loss(z: jax.Array, y: jax.Array) -> jax.Array:
    p = geometry.projection_simplex(z)
    return jnp.sum(0.5 * jnp.square(y - p) + (p - z) * (y - p), axis=-1)


@_sparsemax_loss.defjvp
def _sparsemax_loss_jvp(primals: Any, tangents: Any) -> Any:
    z, y = primals
    dz, dy = tangents
    p = geometry.projection_simplex(z)
    return _sparsemax_loss(z, y), jnp.sum((p - y) * dz + (y - z) * dy, axis=-1)
