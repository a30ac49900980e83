r"""Log-sum-exp and log-softmax whose small parts survive: by ``log1p`` over all terms but a largest one."""

import jax
import jax.numpy as jnp


def log_softmax(z: jax.Array) -> jax.Array:
    r""":math:`(z_c - M) - \log(1 + \sum_{j\ne m} e^{z_j - M})` with :math:`M = z_m` the largest: exact to the last
    bits, over the last axis.

    The largest class is kept out of the sum, so that ``z = (20, 0)`` gives -2.06e-9 in float32 and not 0.
    """
    _, shifted, tail = _split(z)
    return shifted - jnp.log1p(tail)[..., None]


def log_sum_exp(z: jax.Array) -> jax.Array:
    r""":math:`M + \log(1 + \sum_{j \ne m} e^{z_j - M})` over the last axis."""
    top, _, tail = _split(z)
    return top + jnp.log1p(tail)


def _split(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest logit, the logits less it, and the sum of the exponentials of all others."""
    largest = jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=bool)
    top = jnp.sum(jnp.where(largest, z, 0.0), axis=-1)
    shifted = jnp.where(largest, 0.0, z - top[..., None])
    return top, shifted, jnp.sum(jnp.where(largest, 0.0, jnp.exp(shifted)), axis=-1)
