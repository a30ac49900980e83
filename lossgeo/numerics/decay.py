"""Integrals of decaying exponentials by one fixed Gauss-Legendre rule."""

import decimal
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

DEPTH = 40.0  # in nats: what an integrand has lost at the end of the interval


def _gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1], correctly rounded (those of numpy and scipy lose four digits near the ends)."""
    nodes, weights = [], []
    with decimal.localcontext(prec=34):
        for i in range(n):
            x = decimal.Decimal(math.cos(math.pi * (i + 0.75) / (n + 0.5)))
            for _ in range(5):  # Newton's method: 3, 6, 12, 24, 34 digits
                before, value = decimal.Decimal(1), x
                for k in range(2, n + 1):
                    before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
                slope = n * (x * value - before) / (x * x - 1)
                x -= value / slope
            nodes.append(float((1 - x) / 2))
            weights.append(float(1 / ((1 - x * x) * slope * slope)))
    return np.array(nodes), np.array(weights)


NODES, WEIGHTS = _gauss_legendre(48)


def integral(integrand: Callable[[jax.Array], jax.Array], length: jax.Array) -> jax.Array:
    """Integral of a function from 0 to ``length``; it must decay by ``DEPTH`` there and be smooth on that scale.

    The function takes an array with one more axis than ``length``, the last. No derivative goes through ``length``:
    beyond it nothing is left to integrate.
    """
    length = jax.lax.stop_gradient(length)
    nodes = jnp.asarray(NODES, length.dtype).reshape((1,) * length.ndim + (-1,))
    weights = jnp.asarray(WEIGHTS, length.dtype).reshape((1,) * length.ndim + (-1,))
    return length * jnp.sum(weights * integrand(length[..., None] * nodes), axis=-1)
