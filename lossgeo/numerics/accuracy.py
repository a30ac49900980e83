r"""How many units in the last place a formula for the softmax cross-entropy is wrong, over offsets and margins.

The two things that break a formula are a common *offset* of the logits (overflow, and rounding on the scale of the
offset) and a large *margin* of the right class (a small loss, lost by cancellation). A map of the error over both, for
one dtype, shows at a glance where a formula may be used:

>>> errors = cross_entropy_error_map(softmax_cross_entropy, offsets, margins, jnp.float32)
>>> errors = cross_entropy_error_map(CROSS_ENTROPY_FORMULAS["log-sum-exp less logit"], offsets, margins, jnp.float32)

The truth is computed from the logits *as the dtype holds them*, in decimal arithmetic of sixty digits, so the map
charges a formula with its own rounding and with nothing else.
"""

import decimal
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

__all__ = ["CROSS_ENTROPY_FORMULAS", "cross_entropy_error_map", "exact_cross_entropy", "ulp_error"]

DIGITS = 60


def ulp_error(value: ArrayLike, exact: list[decimal.Decimal]) -> np.ndarray:
    """Error of floating numbers in units of the last place of the exact ones.

    Args:
        value: computed numbers of any floating dtype, bfloat16 included, shape ``(n,)``.
        exact: the true numbers, n of them.

    Returns:
        Shape ``(n,)``, float64. Where the truth is beyond the largest number of the dtype, ``inf`` has error 0; a
        computed number that is infinite or NaN where the truth is not has the error ``inf``.

    Numerics:
        The unit is the spacing of the dtype at the truth, and that of the smallest normal number below it. There 0 is
        as right as the truth: XLA flushes subnormal results on most processors.
    """
    array = jnp.asarray(value)
    info = jnp.finfo(array.dtype)
    largest, tiny = decimal.Decimal(float(info.max)), decimal.Decimal(float(info.tiny))
    errors = []
    with decimal.localcontext(decimal.Context(prec=DIGITS)):
        for computed, truth in zip(_as_numpy(array), exact, strict=True):
            if abs(truth) > largest * (1 + decimal.Decimal(float(info.eps)) / 4):
                errors.append(0.0 if np.isinf(computed) else np.inf)
            elif not np.isfinite(computed):
                errors.append(np.inf)
            else:
                exponent = np.floor(np.log2(float(max(abs(truth), tiny))))
                unit = decimal.Decimal(2) ** int(exponent) * decimal.Decimal(float(info.eps))
                number = decimal.Decimal(float(computed))
                error = abs(number - truth) if abs(truth) >= tiny else min(abs(number - truth), abs(number))
                errors.append(float(error / unit))
    return np.array(errors)


def exact_cross_entropy(logits: ArrayLike, label: int) -> list[decimal.Decimal]:
    r"""Cross-entropy of each row of logits with one class to sixty digits.

    .. math:: -\log q_c = \log\Bigl(1 + \sum_{j \ne c} e^{z_j - z_c}\Bigr)

    Args:
        logits: finite, shape ``(n, K)``, taken as the exact numbers that the dtype holds.
        label: class id.

    Returns:
        n decimal numbers, in nats.
    """
    array = jnp.asarray(logits)
    losses = []
    with decimal.localcontext(decimal.Context(prec=2 * DIGITS, Emin=-(10**9), Emax=10**9)):
        for row in _as_numpy(array):
            z = [decimal.Decimal(float(v)) for v in row]
            top = max(z)
            chosen = z.pop(label)
            # The exponentials of all logits but one largest, relative to that one.
            rest = [*z, chosen]
            rest.remove(top)
            losses.append((top - chosen) + _log1p(sum(((v - top).exp() for v in rest), decimal.Decimal(0))))
    return losses


def _as_numpy(array: jax.Array) -> np.ndarray:
    """The same numbers in a dtype that NumPy knows."""
    return np.asarray(array.astype(jnp.float64 if jnp.finfo(array.dtype).bits == 64 else jnp.float32))


def _log1p(x: decimal.Decimal) -> decimal.Decimal:
    """``log(1 + x)`` for ``x >= 0``: the series where ``1 + x`` would lose digits."""
    if x > decimal.Decimal("1e-30"):
        return (1 + x).ln()
    return x - x * x / 2 + x * x * x / 3


def cross_entropy_error_map(
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    offsets: ArrayLike,
    margins: ArrayLike,
    dtype: jax.typing.DTypeLike,
) -> np.ndarray:
    """Error in ulp of an implementation at the two logits ``(offset + margin, offset)`` with label 0.

    Args:
        loss: ``(logits (n, 2), labels (n,)) -> (n,)``, for example ``numerics.softmax_cross_entropy``.
        offsets: shape ``(a,)``; logits are rounded to the dtype, and where the offset swallows the margin the truth
            is ``log 2``.
        margins: shape ``(b,)``; positive where the label is right.
        dtype: float16, bfloat16, float32 or float64. float64 needs ``jax_enable_x64``.

    Returns:
        Shape ``(a, b)``, float64: 0 is exact, 1/2 is correctly rounded, ``inf`` is an overflow or NaN.
    """
    rows, columns = np.asarray(offsets, float), np.asarray(margins, float)
    pairs = np.stack(np.broadcast_arrays(rows[:, None] + columns[None, :], rows[:, None]), axis=-1)
    logits = jnp.asarray(pairs.reshape((-1, 2)), dtype)
    if logits.dtype != jnp.dtype(dtype):
        raise ValueError(f"dtype {jnp.dtype(dtype)} became {logits.dtype}: enable jax_enable_x64 to measure float64.")
    value = loss(logits, jnp.zeros(logits.shape[0], int))
    if value.dtype != logits.dtype:
        raise ValueError(f"the loss turned {logits.dtype} into {value.dtype}; it must keep the dtype to be graded.")
    return ulp_error(value, exact_cross_entropy(logits, 0)).reshape((rows.size, columns.size))


def _chosen(values: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]


def _of_probabilities(z: jax.Array, labels: jax.Array) -> jax.Array:
    weights = jnp.exp(z)
    return -jnp.log(_chosen(weights / jnp.sum(weights, axis=-1, keepdims=True), labels))


def _of_shifted_probabilities(z: jax.Array, labels: jax.Array) -> jax.Array:
    weights = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return -jnp.log(_chosen(weights / jnp.sum(weights, axis=-1, keepdims=True), labels))


def _log_sum_exp_less_logit(z: jax.Array, labels: jax.Array) -> jax.Array:
    top = jnp.max(z, axis=-1)
    return (top + jnp.log(jnp.sum(jnp.exp(z - top[:, None]), axis=-1))) - _chosen(z, labels)


def _shifted_log_sum_exp(z: jax.Array, labels: jax.Array) -> jax.Array:
    top = jnp.max(z, axis=-1)
    return (top - _chosen(z, labels)) + jnp.log(jnp.sum(jnp.exp(z - top[:, None]), axis=-1))


CROSS_ENTROPY_FORMULAS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "log of softmax": _of_probabilities,
    "log of shifted softmax": _of_shifted_probabilities,
    "log-sum-exp less logit": _log_sum_exp_less_logit,
    "shifted log-sum-exp": _shifted_log_sum_exp,
}
"""Four formulas of textbooks and libraries, each with its own failure.

``log of softmax`` overflows; ``log of shifted softmax`` underflows to ``inf`` for wrong predictions and cancels for
right ones; ``log-sum-exp less logit`` rounds on the scale of the offset; ``shifted log-sum-exp`` only cancels: it is 0
for every margin beyond that of eps.
"""
