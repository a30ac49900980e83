"""Supports of labels and counts: sets without coordinates."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.supports.support import Support


class Discrete(Support):
    """A set of integers: a target may lie in it, a parameter to be optimised may not."""


@pytree
class Boolean(Discrete):
    """The labels 0 and 1."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the labels 0 and 1"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x == 0) | (x == 1)


@pytree
class NonnegativeIntegers(Discrete):
    """The integers 0, 1, 2 and so on."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the integers 0, 1, 2, ..."

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x >= 0) & (jnp.floor(x) == x) & jnp.isfinite(x)


@pytree
class Integers(Discrete):
    """The integers from ``low`` to ``high``, both included."""

    low: ArrayLike
    high: ArrayLike

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the integers from {self.low} to {self.high}"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x >= self.low) & (x <= self.high) & (jnp.floor(x) == x)


@pytree
class CountVectors(Discrete):
    """Vectors of non-negative integers, on the last axis, that sum to ``total``."""

    total: ArrayLike

    event_ndim = 1

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the vectors of counts that sum to {self.total}"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        found, total = jnp.sum(x, axis=-1), jnp.asarray(self.total)
        ndim = max(found.ndim, total.ndim)
        right = found.reshape((1,) * (ndim - found.ndim) + found.shape) == total.reshape(
            (1,) * (ndim - total.ndim) + total.shape
        )
        whole = jnp.all(NonnegativeIntegers().contains(x), axis=-1)
        return right & whole.reshape((1,) * (ndim - whole.ndim) + whole.shape)
