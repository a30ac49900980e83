"""Sums and differences of probabilities that are given by their logarithms."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.numerics.logarithms import as_float, log1mexp


def log_mixture(values: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
    r"""Logarithm of a weighted sum of exponentials, over the last axis: the log-density of a mixture.

    .. math:: \log\sum_k w_k e^{v_k} = M + \log\sum_k w_k e^{v_k - M}, \qquad M = \max_k\,(v_k + \log w_k)

    Args:
        values: log-densities, shape ``(*batch, K)``; ``-inf`` is a density of 0.
        weights: non-negative, shape ``(*batch, K)``; 1 if not given.

    Returns:
        Values in nats, shape ``(*batch,)``; ``-inf`` where all terms are 0, ``inf`` where one is infinite.

    Raises:
        ValueError: the shapes differ (static: free under ``jit``).

    Numerics:
        Finite where every term underflows, and so are the derivatives. Without weights a largest term is taken out of
        the logarithm (``log1p``), so that a sum of a large and a tiny term keeps its digits. The derivative in a
        weight is right at weight 0; a term that is ``-inf`` has derivative 0, also where all are (``logsumexp`` of
        ``jax.scipy.special`` gives NaN there).
    """
    v = as_float(values)
    if weights is None:
        largest = jax.nn.one_hot(jnp.argmax(v, axis=-1), v.shape[-1], dtype=bool)
        top = jnp.sum(jnp.where(largest, v, 0), axis=-1)
        finite = jnp.isfinite(top)
        base = jnp.where(finite, top, 0)
        gap = jnp.where(largest, 0, jnp.where(finite[..., None], v, 0) - base[..., None])
        rest = jnp.log1p(jnp.sum(jnp.where(largest, 0, jnp.exp(gap)), axis=-1))
        return jnp.where(finite, base + rest, jax.lax.stop_gradient(top))
    w = jnp.asarray(weights, v.dtype)
    if v.ndim == 0 or w.shape != v.shape:
        raise ValueError(f"values and weights must have one shape (*batch, K); they have {v.shape} and {w.shape}.")
    log_weights = jnp.where(w == 0, -jnp.inf, jnp.log(jnp.where(w == 0, 1, w)))
    absent = (w == 0) & (v == jnp.inf)
    top = jax.lax.stop_gradient(jnp.max(jnp.where(absent, -jnp.inf, v + log_weights), axis=-1, keepdims=True))
    finite = jnp.isfinite(top)
    # A term of weight 0 may be of any size; its derivative in the weight is capped before it overflows.
    gap = jnp.minimum(jnp.where(finite, v, 0) - jnp.where(finite, top, 0), jnp.log(jnp.finfo(v.dtype).max) - 1)
    total = jnp.sum(w * jnp.exp(gap), axis=-1, keepdims=True)
    return jnp.where(finite, top + jnp.log(jnp.where(finite, total, 1)), top)[..., 0]


def log_sub_exp(large: ArrayLike, small: ArrayLike) -> jax.Array:
    r"""Logarithm of a difference of probabilities :math:`\log(e^a - e^b)`, with :math:`a \ge b`.

    Args:
        large: :math:`a`, any shape.
        small: :math:`b \le a`, broadcastable with ``large``.

    Returns:
        Values in nats; ``-inf`` where the two are equal, NaN where ``small`` is the larger.

    Numerics:
        Finite where both probabilities underflow. The relative error of the difference is that of the probabilities
        over :math:`1 - e^{b - a}`: nothing restores digits that the arguments do not have. At ``-inf`` the derivatives
        are 0.
    """
    a, b = jnp.broadcast_arrays(as_float(large), as_float(small))
    empty = a == b
    gap = jnp.where(empty, 1, a) - jnp.where(empty, 0, b)
    return jnp.where(empty, -jnp.inf, jnp.where(empty, 0, a) + log1mexp(gap))
