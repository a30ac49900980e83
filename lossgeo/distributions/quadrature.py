"""Expectations as integrals of the quantile function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import numerics

_STEP = 1 / 16
_SETTLED = 1e-9  # share of a sum below which its last term is one of a sum that has come to an end


def quantile_rule(
    quantile: Callable[[jax.Array, jax.Array], jax.Array], batch_shape: tuple[int, ...], dtype: jnp.dtype
) -> tuple[jax.Array, jax.Array]:
    r"""Nodes and weights with :math:`E f(Y) = \int_0^1 f(Q(u))\,du = \sum_k w_k f(y_k)`, on a new first axis.

    The tanh-sinh rule :math:`u = \tfrac12[1 + \tanh(\tfrac\pi2\sinh t)]`, out to tails of probability :math:`e^{-633}`
    (:math:`e^{-80}` in single precision).

    Args:
        quantile: from :math:`\log u` and :math:`\log(1 - u)`, of one shape, to values.
        batch_shape: that of the values.
        dtype: floating dtype.

    Returns:
        Values of shape ``(m, *batch)`` and weights of shape ``(m, 1, …)``.
    """
    most = 96 if jnp.finfo(dtype).bits > 32 else 62
    t = _STEP * np.arange(-most, most + 1)
    u = jnp.asarray(np.pi * np.sinh(t), dtype).reshape((-1,) + (1,) * len(batch_shape))
    log_below, log_above = -numerics.softplus(-u), -numerics.softplus(u)
    slope = jnp.asarray(_STEP * np.pi * np.cosh(t), dtype).reshape(u.shape)
    y = quantile(*(jnp.broadcast_to(v, (t.size, *batch_shape)) for v in (log_below, log_above)))
    return y, slope * jnp.exp(log_below + log_above)


def settled_sum(terms: jax.Array) -> jax.Array:
    """Sum over the first axis; what it tends to where terms grow towards an end: infinite, NaN at both ends.

    NaN too where terms fall so slowly that the sum has not come to an end.
    """
    size = jnp.abs(terms)
    total = jnp.sum(jnp.where(jnp.isfinite(size), size, 0), axis=0)
    infinite, unknown = jnp.zeros_like(total), jnp.zeros_like(total, bool)
    for last, before in ((0, 1), (-1, -2)):
        open_ = ~(size[last] <= _SETTLED * total) & (size[last] > 0)
        grows = open_ & ~(size[last] < size[before])
        infinite = infinite + jnp.where(grows, jnp.sign(terms[last]) * jnp.inf, 0)
        unknown = unknown | (open_ & ~grows)
    value = jnp.sum(jnp.where(jnp.isfinite(terms), terms, 0), axis=0) + infinite
    return jnp.where(unknown | jnp.any(jnp.isnan(terms), axis=0), jnp.nan, value)
