r"""Entmax: sparse probabilities between softmax and sparsemax, and their Fenchel–Young loss.

With Tsallis' entropy :math:`H_\alpha(p) = \frac{1}{\alpha(\alpha - 1)}\sum_i(p_i - p_i^\alpha)`, the prediction and
the loss of logits z are

.. math:: \operatorname{entmax}_\alpha(z) = \arg\max_p\,\langle z, p\rangle + H_\alpha(p), \qquad
    L_\alpha(z, y) = \max_p\,[\langle z, p\rangle + H_\alpha(p)] - H_\alpha(y) - \langle z, y\rangle \ge 0

:math:`\alpha = 1` is softmax with cross-entropy less the entropy of the target, :math:`\alpha = 2` sparsemax. The
offset :math:`H_\alpha(y)` is kept: at a perfect prediction the loss is 0 for soft targets too. For any other convex
function see :func:`lossgeo.geometry.fenchel_young_loss`.

Reference: Peters, Niculae, Martins (2019), Sparse sequence-to-sequence models, ACL; Correia, Niculae, Martins (2019),
Adaptively sparse transformers, EMNLP, proposition 1; Blondel, Martins, Niculae (2020), JMLR 21.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import geometry, numerics
from lossgeo.losses.multiclass import sparsemax_loss

__all__ = ["entmax", "entmax_loss"]

_NODES, _WEIGHTS = numerics.gauss_legendre(12)


def entmax(logits: ArrayLike, alpha: ArrayLike = 1.5) -> jax.Array:
    r"""Probabilities with exact zeros: :math:`p_i = [1 + (\alpha - 1)(z_i - \tau)]_+^{1/(\alpha - 1)}`, of sum 1.

    Args:
        logits: shape ``(*batch, K)``; ``-inf`` is a class that is ruled out.
        alpha: :math:`\alpha \ge 1`, shape ``()``. A Python number 1, 1.5 or 2 is solved exactly (softmax, and by
            sorting); all others, and arrays, by bisection to the last digit.

    Returns:
        Probabilities, shape of ``logits``.

    Raises:
        ValueError: logits without an axis of classes, or a number ``alpha`` below 1; of an array it is not checked, and
            gives NaN.

    Numerics:
        The limit at ``alpha = 1`` is reached continuously. Derivatives, in the logits and in an array ``alpha``, are
        those of the solution and not of the iterations; at the edge of the support they are one-sided.
    """
    z = jnp.asarray(logits, jnp.result_type(float, logits))
    if z.ndim == 0:
        raise ValueError("logits must have shape (*batch, K); they are a number.")
    if isinstance(alpha, (int, float)):
        if not alpha >= 1:
            raise ValueError(f"alpha must be at least 1 (softmax; 2 is sparsemax); it is {alpha}.")
        if alpha == 1:
            return numerics.softmax(z)
        if alpha == 2:
            return _solved(z, jnp.asarray(2.0, z.dtype), geometry.projection_simplex)
        if alpha == 1.5:
            return _solved(z, jnp.asarray(1.5, z.dtype), _sorted_entmax)
    alpha = jnp.asarray(alpha, z.dtype)
    if alpha.ndim:
        raise ValueError(f"alpha must be one number, shape (); it has shape {alpha.shape}. Use jax.vmap for several.")
    return _solved(z, alpha, None)


def _solved(z: jax.Array, alpha: jax.Array, exact: Any) -> jax.Array:
    """Probabilities of logits of which the largest is made 0."""
    top = jax.lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True))
    return _entmax(exact, z - jnp.where(jnp.isfinite(top), top, 0), alpha)


def _sorted_entmax(z: jax.Array) -> jax.Array:
    """The case 3/2: squares of what is left above a threshold, which solves a quadratic equation."""
    half = 0.5 * z
    ordered = -jnp.sort(-jnp.where(jnp.isfinite(half), half, -1e3), axis=-1)
    count = jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
    # Only entries within 1 of the largest can have probability; the others would spoil the sums.
    kept = jnp.maximum(ordered, -1.0)
    mean = jnp.cumsum(kept, axis=-1) / count
    spread = jnp.cumsum(kept * kept, axis=-1) - count * mean * mean
    thresholds = mean - jnp.sqrt(jnp.maximum(1 - spread, 0) / count)
    size = jnp.sum((thresholds <= ordered) & (ordered > -1), axis=-1, keepdims=True)
    threshold = jnp.take_along_axis(thresholds, size - 1, axis=-1)
    return jnp.square(jnp.maximum(half - threshold, 0))


def _powers(x: jax.Array, excess: jax.Array) -> jax.Array:
    r""":math:`[1 + \varepsilon x]_+^{1/\varepsilon}`, which tends to :math:`e^x`; 0 for ``-inf``."""
    t = excess * x
    inside = (t > -1) & (x > -jnp.inf)
    t, x = jnp.where(inside, t, 0), jnp.where(inside, x, 0)
    return jnp.where(inside, jnp.exp(x * (1 - t * numerics.log1p_remainder(t))), 0)


def _bisected(z: jax.Array, alpha: jax.Array) -> jax.Array:
    """The threshold between 0, where the largest alone has probability 1, and where K equal ones have 1/K."""
    excess = alpha - 1
    high = jnp.full((*z.shape[:-1], 1), jnp.log(z.shape[-1]), z.dtype)
    high = high * jnp.where(excess == 0, 1, -jnp.expm1(-excess * high) / jnp.where(excess == 0, 1, excess * high))

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        above = jnp.sum(_powers(z - middle, excess), axis=-1, keepdims=True) >= 1
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, 6 + jnp.finfo(z.dtype).nmant, halve, (jnp.zeros_like(high), high))
    return _powers(z - 0.5 * (low + high), excess)


def _entmax_of(exact: Any, z: jax.Array, alpha: jax.Array) -> jax.Array:
    p = _bisected(z, alpha) if exact is None else exact(z)
    p = p / jnp.sum(p, axis=-1, keepdims=True)
    return jnp.where((alpha >= 1) & jnp.isfinite(jnp.max(z, axis=-1, keepdims=True)), p, jnp.nan)


_entmax = jax.custom_jvp(_entmax_of, nondiff_argnums=(0,))


@_entmax.defjvp
def _entmax_jvp(exact: Any, primals: Any, tangents: Any) -> Any:
    z, alpha = primals
    dz, dalpha = tangents
    p = _entmax(exact, z, alpha)
    inside = p > 0
    log_p = jnp.log(jnp.where(inside, p, 1))
    slope = jnp.where(inside, jnp.exp((2 - alpha) * log_p), 0)
    # With log p = log(1 + t) / (alpha - 1), t = (alpha - 1) x: the derivative in alpha at a fixed threshold.
    excess = alpha - 1
    x = log_p * _exp_ratio(excess * log_p)
    t = excess * x
    moved = jnp.where(inside, p * x * x * (numerics.log1p_remainder(t) - 1 / (1 + t)), 0)
    change = slope * jnp.where(inside, dz, 0) + moved * dalpha
    share = slope / jnp.sum(slope, axis=-1, keepdims=True)
    return p, change - share * jnp.sum(change, axis=-1, keepdims=True)


def _exp_ratio(w: jax.Array) -> jax.Array:
    r""":math:`(e^w - 1)/w`, with the value and slope of its limit at 0."""
    small = jnp.abs(w) < 1e-4
    safe = jnp.where(small, 1, w)
    return jnp.where(small, 1 + 0.5 * w * (1 + w / 3), jnp.expm1(safe) / safe)


def entmax_loss(logits: ArrayLike, probs: ArrayLike, alpha: float = 1.5) -> jax.Array:
    r"""Fenchel–Young loss of Tsallis' entropy, whose prediction is :func:`entmax`.

    .. math:: L_\alpha(z, y) = D_{-H_\alpha}(y, p) + \sum_{i:\,p_i = 0} y_i\Bigl(\tau - z_i - \tfrac1{\alpha - 1}\Bigr),
        \qquad p = \operatorname{entmax}_\alpha(z)

    Both terms are non-negative. 0 exactly at :math:`y = p`; for one-hot targets 0 as soon as the margin over every
    other logit is :math:`1/(\alpha - 1)`. The gradient in the logits is :math:`p - y`.

    Args:
        logits: finite, shape ``(*batch, K)``.
        probs: targets on the simplex, same shape; not checked.
        alpha: :math:`\alpha \ge 1`, a Python number.

    Returns:
        Losses, shape ``(*batch,)``; in nats for ``alpha = 1``.

    Raises:
        ValueError: the shapes differ, or ``alpha`` is below 1 or no Python number.
    """
    if not (isinstance(alpha, (int, float)) and alpha >= 1):
        raise ValueError(f"alpha must be a Python number, at least 1 (softmax; 2 is sparsemax); it is {alpha!r}.")
    dtype = jnp.result_type(float, logits, probs)
    z, y = jnp.asarray(logits, dtype), jnp.asarray(probs, dtype)
    if z.ndim == 0 or z.shape != y.shape:
        raise ValueError(f"logits and probs must have one shape (*batch, K); they have {z.shape} and {y.shape}.")
    if alpha == 1:
        return geometry.fenchel_young_loss(geometry.log_sum_exp, z, y)
    if alpha == 2:
        return sparsemax_loss(z, y)
    top = jax.lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True))
    return _loss(float(alpha), z - jnp.where(jnp.isfinite(top), top, 0), y)


def _loss_of(alpha: float, z: jax.Array, y: jax.Array) -> jax.Array:
    p, excess = entmax(z, alpha), alpha - 1
    # The largest logit is 0, so that its probability tells the threshold.
    threshold = -jnp.expm1(excess * jnp.log(jnp.max(p, axis=-1, keepdims=True))) / excess
    beyond = jnp.where(p > 0, 0, y * jnp.maximum(threshold - z - 1 / excess, 0))
    return jnp.sum(_gap(alpha, y, p) + jnp.where(y == 0, 0, beyond), axis=-1)


_loss = jax.custom_jvp(_loss_of, nondiff_argnums=(0,))


@_loss.defjvp
def _loss_jvp(alpha: float, primals: Any, tangents: Any) -> Any:
    z, y = primals
    dz, dy = tangents
    p = entmax(z, alpha)
    # The derivative in the target is that of minus the entropy, less the logits.
    log_y = jnp.log(jnp.where(y > 0, y, 1))
    dual = jnp.where(y > 0, log_y * _exp_ratio((alpha - 1) * log_y), -1 / (alpha - 1))
    return _loss(alpha, z, y), jnp.sum((p - y) * dz + (dual - z) * dy, axis=-1)


def _gap(alpha: float, y: jax.Array, p: jax.Array) -> jax.Array:
    r"""Bregman divergence of :math:`t^\alpha/\alpha(\alpha - 1)`, elementwise, without cancellation near ``y = p``.

    Near neighbours by quadrature of :math:`(y - p)^2(1 - v)(p + v(y - p))^{\alpha - 2}`; others, in units of p, by
    :math:`r\,\frac{r^{\alpha - 1} - 1}{\alpha - 1} - (r - 1)` over :math:`\alpha`.
    """
    inside = p > 0
    scale = jnp.where(inside, p, 1)
    ratio = jnp.where(inside, y, 1) / scale
    near = jnp.abs(ratio - 1) < 0.5
    x = jnp.where(near & inside, (y - scale) / scale, 0)
    nodes, weights = (jnp.asarray(v, y.dtype).reshape((1,) * y.ndim + (-1,)) for v in (_NODES, _WEIGHTS))
    integral = jnp.sum(weights * (1 - nodes) * jnp.exp((alpha - 2) * jnp.log1p(x[..., None] * nodes)), axis=-1)
    log_ratio = jnp.log(jnp.where(near | (ratio <= 0), 2, ratio))
    far = jnp.where(ratio > 0, ratio * log_ratio * _exp_ratio((alpha - 1) * log_ratio), 0) - (ratio - 1)
    within = jnp.where(near, x * x * integral, far / alpha) * scale**alpha
    outside = jnp.where(y > 0, y, 0) ** alpha / (alpha * (alpha - 1))
    return jnp.where(inside, within, outside)
