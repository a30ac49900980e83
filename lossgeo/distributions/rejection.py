"""Exact draws by rejection."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def rejection_sample(key: jax.Array, propose: Callable[[jax.Array], tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Elementwise rejection: each entry keeps its first accepted proposal.

    Args:
        key: a typed ``jax.random.key``.
        propose: from a key to proposals and, of the same shape, whether each is accepted. A proposal that can never be
            accepted (NaN hyper-parameters) must be reported as accepted.
    """

    def again(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        key, values, done = state
        key, this = jax.random.split(key)
        proposals, accepted = propose(this)
        return key, jnp.where(done, values, proposals), done | accepted

    shape = jax.eval_shape(lambda k: propose(k)[0], key)
    start = key, jnp.zeros(shape.shape, shape.dtype), jnp.zeros(shape.shape, bool)
    return jax.lax.while_loop(lambda state: ~jnp.all(state[2]), again, start)[1]
