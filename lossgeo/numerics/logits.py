"""The logistic and the multinomial likelihood in logit form."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.numerics.logarithms import as_float


def softplus(x: ArrayLike) -> jax.Array:
    r"""The logistic loss of a margin ``-x``: a smooth maximum of 0 and ``x``.

    .. math:: \operatorname{softplus}(x) = \log(1 + e^x) = \max(x, 0) + \log(1 + e^{-|x|})

    ``-softplus(-x)`` is the log of :func:`sigmoid`. The derivative is ``sigmoid(x)``.

    Args:
        x: any real, any shape.

    Returns:
        Values in nats, shape of ``x``.

    Numerics:
        Relative accuracy of a few ulp everywhere; 0 at ``-inf``, ``inf`` at ``inf``. One exponential serves the value
        and all derivatives.

    Example:
        >>> softplus(jnp.float32(-20.0))
        Array(2.0611537e-09, dtype=float32)
    """
    return _softplus(as_float(x))


def sigmoid(x: ArrayLike) -> jax.Array:
    r"""The logistic function.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}, \qquad \sigma'(x) = \sigma(x)\,\sigma(-x)

    Args:
        x: any real, any shape.

    Returns:
        Probabilities, shape of ``x``.

    Numerics:
        Relative accuracy of a few ulp for the value *and* its derivatives, where ``1 - sigmoid(x)`` would be 0: take
        the complement as ``sigmoid(-x)``.
    """
    return _sigmoid(as_float(x))


@jax.custom_jvp
def _softplus(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@_softplus.defjvp
def _softplus_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return _softplus(x), dx * _sigmoid(x)


@jax.custom_jvp
def _sigmoid(x: jax.Array) -> jax.Array:
    decay, share = _decay(x)
    return jnp.where(x < 0, decay, 1) * share


@_sigmoid.defjvp
def _sigmoid_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return _sigmoid(x), dx * _sigmoid_slope(x)


@jax.custom_jvp
def _sigmoid_slope(x: jax.Array) -> jax.Array:
    decay, share = _decay(x)
    return decay * share * share


@_sigmoid_slope.defjvp
def _sigmoid_slope_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    slope = _sigmoid_slope(x)
    return slope, -dx * slope * jnp.tanh(x / 2)


def _decay(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The one exponential and the one quotient that the logistic function and its derivatives are made of."""
    decay = jnp.exp(-jnp.abs(x))
    return decay, 1 / (1 + decay)


def softmax(logits: ArrayLike) -> jax.Array:
    r"""Probabilities from unnormalised log-probabilities, along the last axis.

    .. math:: q_k = \frac{e^{z_k}}{\sum_j e^{z_j}}

    Invariant under adding a constant to ``logits`` (so it is *not* a bijection); its Jacobian
    :math:`\operatorname{diag}(q) - qq^\top` is singular along the constants.

    Args:
        logits: shape ``(*batch, K)``; ``-inf`` masks a class. Not ``+inf``, and not all ``-inf``: those give NaN.

    Returns:
        Probabilities, shape ``(*batch, K)``.

    Numerics:
        Differences ``1 - q_k`` with ``q_k`` near 1 are never formed, neither here nor in the derivatives.
    """
    return _softmax(as_float(logits))


def _weights(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The maximum, the exponentials relative to it and their sum, over the last axis, which is kept."""
    top = jnp.max(z, axis=-1, keepdims=True)
    weights = jnp.exp(z - top)
    return top, weights, jnp.sum(weights, axis=-1, keepdims=True)


@jax.custom_jvp
def _softmax(z: jax.Array) -> jax.Array:
    _, weights, total = _weights(z)
    return weights / total


@_softmax.defjvp
def _softmax_jvp(primals: Any, tangents: Any) -> Any:
    # dq_k = q_k (dz_k - <q, dz>) does not change when dz is shifted by a constant. Shifting by the tangent of the one
    # class with q > 1/2, if there is one, leaves only small terms where 1 - q_k would cancel.
    (z,), (dz,) = primals, tangents
    q = _softmax(z)
    dz = dz - jnp.sum(jnp.where(q > 0.5, dz, 0), axis=-1, keepdims=True)
    return q, q * (dz - jnp.sum(q * dz, axis=-1, keepdims=True))


def _one_minus(q: jax.Array) -> jax.Array:
    """``1 - q_k`` of probabilities on the last axis, by summing the others where ``q_k`` is large."""
    others = jnp.sum(jnp.where(q > 0.5, 0, q), axis=-1, keepdims=True)
    return jnp.where(q > 0.5, others, 1 - q)


def _top_and_log_sum(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maximum ``M`` and ``log(sum(exp(z - M)))`` by ``log1p`` over all entries but one maximal one; axis kept.

    The exponential turns the rounding of ``z - M``, half an ulp of a number of size 50, into as many ulp of its value.
    So that rounding is recovered (Knuth's exact difference) and put back to first order.
    """
    top = jnp.max(z, axis=-1, keepdims=True)
    shifted = z - top
    rounded = shifted - z
    rest = (z - (shifted - rounded)) - (top + rounded)
    weights = jnp.exp(shifted) * (1 + jnp.where(jnp.isfinite(rest), rest, 0))
    return top, jnp.log1p(_without_top(weights, jnp.sum(weights, axis=-1, keepdims=True)))


def _wide(z: jax.Array) -> jax.Array:
    """Sixteen-bit numbers as float32, so that a sum of roundings becomes one."""
    return z.astype(jnp.float32) if jnp.finfo(z.dtype).bits == 16 else z


def _without_top(weights: jax.Array, total: jax.Array) -> jax.Array:
    """Sum of the weights but one of weight 1. From 2 on, and so with ties, ``total - 1`` does not cancel."""
    below = jnp.sum(jnp.where(weights >= 1, 0, weights), axis=-1, keepdims=True)
    return jnp.where(total >= 2, total - 1, below)


def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
    r"""Minus the log-probability of a class under :func:`softmax`, per row over the last axis.

    .. math:: -\log q_c = (M - z_c) + \log\Bigl(1 + \sum_{j \ne m} e^{z_j - M}\Bigr), \qquad M = z_m = \max_j z_j

    Both terms are non-negative, so nothing cancels. The gradient in the logits is ``softmax - onehot`` and the Hessian
    ``diag(q) - q qᵀ``.

    Args:
        logits: unnormalised log-probabilities, shape ``(*batch, K)``; ``-inf`` masks a class.
        labels: class ids 0, …, K - 1 of integer dtype, shape ``(*batch,)``. Another id gives NaN; it does not wrap.

    Returns:
        Losses in nats, shape ``(*batch,)``, dtype of ``logits``.

    Raises:
        ValueError: ``labels`` is not of integer dtype or its shape is not ``logits.shape[:-1]`` (static: free under
            ``jit``).

    Numerics:
        Two classes: within 2 ulp of the exact loss of the logits as they are, at every offset and margin, in float16,
        bfloat16, float32 and float64 (:func:`lossgeo.numerics.cross_entropy_error_map`); more classes add the rounding
        of their sum. The gradient component of the label is minus the sum of the other probabilities and not
        ``q_c - 1``. A label on a masked class gives ``inf``.

    Example:
        >>> softmax_cross_entropy(jnp.array([20.0, 0.0], jnp.float32), 0)
        Array(2.0611537e-09, dtype=float32)
    """
    z, classes = as_float(logits), jnp.asarray(labels)
    if not jnp.issubdtype(classes.dtype, jnp.integer):
        raise ValueError(
            f"labels must be class ids of integer dtype; they have dtype {classes.dtype}. Convert them with "
            "labels.astype(int), or pass probabilities to softmax_cross_entropy_with_probs."
        )
    if z.ndim == 0 or classes.shape != z.shape[:-1]:
        raise ValueError(
            f"labels must have the shape of logits less the last axis; logits have shape {z.shape} and labels "
            f"{classes.shape}."
        )
    return _cross_entropy(_wide(z), classes).astype(z.dtype)


@jax.custom_jvp
def _cross_entropy(z: jax.Array, labels: jax.Array) -> jax.Array:
    top, log_sum = _top_and_log_sum(z)
    chosen = jnp.take_along_axis(z, labels[..., None], axis=-1, mode="clip")
    valid = (labels >= 0) & (labels < z.shape[-1])
    return jnp.where(valid, ((top - chosen) + log_sum)[..., 0], jnp.nan)


@_cross_entropy.defjvp
def _cross_entropy_jvp(primals: Any, tangents: Any) -> Any:
    z, labels = primals
    return _cross_entropy(z, labels), jnp.sum(_residual(z, labels) * tangents[0], axis=-1)


@jax.custom_jvp
def _residual(z: jax.Array, labels: jax.Array) -> jax.Array:
    """``softmax(z) - onehot(labels)``, where the label's component is minus the sum of the other probabilities."""
    _, weights, total = _weights(z)
    chosen = labels[..., None] == jnp.arange(z.shape[-1], dtype=labels.dtype).reshape((1,) * labels.ndim + (-1,))
    others = jnp.where(weights >= 1, _without_top(weights, total), total - weights)
    residual = jnp.where(chosen, -others, weights) / total
    return jnp.where((labels[..., None] >= 0) & (labels[..., None] < z.shape[-1]), residual, jnp.nan)


@_residual.defjvp
def _residual_jvp(primals: Any, tangents: Any) -> Any:
    return _residual(*primals), jax.jvp(_softmax, primals[:1], tangents[:1])[1]


def softmax_cross_entropy_with_probs(logits: ArrayLike, probs: ArrayLike) -> jax.Array:
    r"""Cross-entropy of targets with the probabilities :func:`softmax` of logits, per row over the last axis.

    .. math:: -\sum_k p_k \log q_k = \sum_k p_k \Bigl[(M - z_k) + \log\Bigl(1 + \sum_{j \ne m} e^{z_j - M}\Bigr)\Bigr]

    The targets need not sum to 1 (weighted or mixed labels): the gradient in the logits is
    :math:`(\sum_k p_k)\,q - p`. It is 0 at the optimum, but the value there is the entropy of ``probs``: this is a
    cross-entropy and not a divergence.

    Args:
        logits: unnormalised log-probabilities, shape ``(*batch, K)``; ``-inf`` masks a class.
        probs: non-negative targets, shape ``(*batch, K)``. They are not checked.

    Returns:
        Losses in nats, shape ``(*batch,)``.

    Raises:
        ValueError: the shapes differ (static: free under ``jit``).

    Numerics:
        No cancellation in the value (all terms are non-negative) nor, for one-hot targets, in the gradient. A masked
        class with target 0 contributes 0, and its derivative with respect to the target is 0 by convention; a masked
        class with a positive target gives ``inf``.
    """
    dtype = jnp.result_type(float, logits, probs)
    z, p = jnp.asarray(logits, dtype), jnp.asarray(probs, dtype)
    if z.ndim == 0 or z.shape != p.shape:
        raise ValueError(f"logits and probs must have one shape (*batch, K); they have {z.shape} and {p.shape}.")
    return _soft_cross_entropy(_wide(z), _wide(p)).astype(dtype)


def _class_losses(z: jax.Array, p: jax.Array) -> jax.Array:
    """Minus ``log q_k`` for every class; 0 where a masked class has target 0."""
    top, log_sum = _top_and_log_sum(z)
    ignored = (p == 0) & (z == -jnp.inf)
    return jnp.where(ignored, 0, (top - z) + log_sum)


@jax.custom_jvp
def _soft_cross_entropy(z: jax.Array, p: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(p == 0, 0, p * _class_losses(z, p)), axis=-1)


@functools.partial(_soft_cross_entropy.defjvp, symbolic_zeros=True)
def _soft_cross_entropy_jvp(primals: Any, tangents: Any) -> Any:
    z, p = primals
    dz, dp = tangents
    tangent = jnp.zeros(z.shape[:-1], z.dtype)
    if not isinstance(dz, jax.custom_derivatives.SymbolicZero):
        q = _softmax(z)
        rest = jnp.sum(p, axis=-1, keepdims=True) - p
        tangent = tangent + jnp.sum((q * rest - p * _one_minus(q)) * dz, axis=-1)
    if not isinstance(dp, jax.custom_derivatives.SymbolicZero):
        # The second argument's rule again, so that mixed second derivatives are right: d(-log q_k) = <q, dz> - dz_k.
        tangent = tangent + jnp.sum(_neg_log_softmax(z, p) * dp, axis=-1)
    return _soft_cross_entropy(z, p), tangent


@jax.custom_jvp
def _neg_log_softmax(z: jax.Array, p: jax.Array) -> jax.Array:
    return _class_losses(z, p)


@_neg_log_softmax.defjvp
def _neg_log_softmax_jvp(primals: Any, tangents: Any) -> Any:
    (z, p), (dz, _) = primals, tangents
    q = _softmax(z)
    ignored = (p == 0) & (z == -jnp.inf)
    shift = jnp.sum(jnp.where(q > 0.5, dz, 0), axis=-1, keepdims=True)
    slope = jnp.sum(q * (dz - shift), axis=-1, keepdims=True) - (dz - shift)
    return _neg_log_softmax(z, p), jnp.where(ignored, 0, slope)
