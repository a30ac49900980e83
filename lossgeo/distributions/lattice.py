"""Sums over the counts near a mode: exact while they are few, with a stride where the terms are smooth."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_HALF_WIDTH = 256


def lattice_entropy(
    log_prob: Callable[[jax.Array], jax.Array], mean: jax.Array, deviation: jax.Array, high: jax.Array
) -> jax.Array:
    r""":math:`-\sum_y p_y \log p_y` of a count in ``0, …, high`` with tails no heavier than Poisson ones.

    Args:
        log_prob: log-probabilities in nats of counts of shape ``(*batch, 512)``.
        mean: expectation, shape ``(*batch,)``.
        deviation: standard deviation, same shape.
        high: the largest count, same shape.

    Returns:
        Entropies, shape ``(*batch,)``; derivatives are those of the terms.

    Numerics:
        All counts within 256 of the mean up to a deviation of 16. Beyond, every ``h``-th count, ``h`` a sixteenth of
        the deviation: by Poisson's summation formula the error is the characteristic function at :math:`2\pi/h`, which
        is below :math:`e^{-500}` for a binomial variable.
    """
    stride = jnp.ceil(jnp.maximum(deviation / 16, 1))[..., None]
    offsets = jnp.arange(-_HALF_WIDTH, _HALF_WIDTH, dtype=mean.dtype).reshape((1,) * mean.ndim + (-1,))
    counts = jax.lax.stop_gradient(jnp.floor(mean)[..., None] + stride * offsets)
    inside = (counts >= 0) & (counts <= high[..., None])
    value = log_prob(jnp.where(inside, counts, jnp.floor(mean)[..., None]))
    return -jnp.sum(jax.lax.stop_gradient(stride) * jnp.where(inside, jnp.exp(value) * value, 0), axis=-1)
