"""Integrals of decaying exponentials by one fixed Gauss-Legendre rule."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lossgeo.numerics.gauss_legendre import gauss_legendre

DEPTH = 40.0  # in nats: what an integrand has lost at the end of the interval


NODES, WEIGHTS = gauss_legendre(48)


def integral(integrand: Callable[[jax.Array], jax.Array], length: jax.Array) -> jax.Array:
    """Integral of a function from 0 to ``length``; it must decay by ``DEPTH`` there and be smooth on that scale.

    The function takes an array with one more axis than ``length``, the last. No derivative goes through ``length``:
    beyond it nothing is left to integrate.
    """
    length = jax.lax.stop_gradient(length)
    nodes = jnp.asarray(NODES, length.dtype).reshape((1,) * length.ndim + (-1,))
    weights = jnp.asarray(WEIGHTS, length.dtype).reshape((1,) * length.ndim + (-1,))
    return length * jnp.sum(weights * integrand(length[..., None] * nodes), axis=-1)
