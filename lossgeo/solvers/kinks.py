r"""Kinks of a function by blocks of coordinates: terms :math:`\lambda_B\,\|u_B - c_B\|_2`.

A block of one coordinate is :math:`\lambda_j|u_j - c_j|`. A block is on its kink when all of it is, and leaves it along
one ray, that of the negative gradient: off the ray the norm bends without bound. So a block on its kink counts as one
direction for Newton's method, and a block off its kink is smooth.

Reference: Yuan and Lin (2006), JRSS B 68, 49; Bach et al. (2012), Optimization with sparsity-inducing penalties, ch. 6.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Blocks", "Faces", "Kinks"]


class Kinks(NamedTuple):
    r"""Where a function has kinks: trees like its argument.

    ``center`` is the place, ``strength`` is :math:`\lambda`, 0 for no kink and the same throughout a block. ``block``
    numbers the blocks, integers less than the number of coordinates and not repeated between leaves; ``None`` where
    each coordinate is one.
    """

    center: Any
    strength: Any
    block: Any = None


class Faces(NamedTuple):
    """A point's position relative to the kinks.

    ``gradient`` is the element of least norm of the subdifferential; ``free`` marks the coordinates that may move;
    ``sign`` is the side of the kink on which each may move (0 where there is none), a unit vector of each block;
    ``enters`` marks the coordinates on a kink that may move, along ``sign`` only, where blocks have several.
    """

    gradient: jax.Array
    free: jax.Array
    sign: jax.Array
    center: jax.Array
    strength: jax.Array
    enters: jax.Array


class Blocks:
    """Blocks of the entries of a vector; lives inside a trace only.

    Args:
        number: of the block of each entry, less than their count, shape ``(p,)``; ``None`` where each entry is one.
    """

    def __init__(self, number: jax.Array | None):
        """Remember the numbers."""
        self._number = number

    @property
    def single(self) -> bool:
        """Whether each coordinate is a block of its own; static."""
        return self._number is None

    def total(self, v: jax.Array) -> jax.Array:
        """Sum over each block, for each of its entries; along the first axis."""
        if self._number is None:
            return v
        return jax.ops.segment_sum(v, self._number, num_segments=v.shape[0])[self._number]

    def least(self, v: jax.Array) -> jax.Array:
        """Least entry of each block, for each of its entries."""
        if self._number is None:
            return v
        return jax.ops.segment_min(v, self._number, num_segments=v.shape[0])[self._number]

    def all(self, mask: jax.Array) -> jax.Array:
        """Whether all of a block is marked, for each of its entries."""
        return self.least(mask.astype(jnp.int32)) > 0

    def norm(self, v: jax.Array) -> jax.Array:
        """Euclidean norm of each block, for each of its entries; it neither over- nor underflows."""
        if self._number is None:
            return jnp.abs(v)
        size = -self.least(-jnp.abs(v))
        usable = (size > 0) & jnp.isfinite(size)
        unit = jnp.where(usable, v, 1.0) / jnp.where(usable, size, 1.0)
        return jnp.where(usable, size * jnp.sqrt(self.total(unit * unit)), size)

    def unit(self, v: jax.Array) -> jax.Array:
        """Each block divided by its norm; 0 where that is 0."""
        if self._number is None:
            return jnp.sign(v)
        norm = self.norm(v)
        return jnp.where(norm > 0, v / jnp.where(norm > 0, norm, 1.0), 0.0)

    def soft(self, v: jax.Array, threshold: jax.Array) -> jax.Array:
        """Each block shortened by a threshold that does not vary within it; exactly 0 within the threshold."""
        if self._number is None:
            return jnp.sign(v) * jnp.maximum(jnp.abs(v) - threshold, 0.0)
        norm = self.norm(v)
        kept = norm > threshold
        return jnp.where(kept, v * ((norm - threshold) / jnp.where(kept, norm, 1.0)), 0.0)

    def along_rays(self, v: jax.Array, faces: Faces) -> jax.Array:
        """Blocks that enter projected on their rays; along the first axis of a vector or matrix."""
        if self._number is None:
            return v
        ray, enters = (w.reshape((-1,) + (1,) * (v.ndim - 1)) for w in (faces.sign, faces.enters))
        return jnp.where(enters, self.total(ray * v) * ray, v)

    def on_face(self, hessian: jax.Array, faces: Faces) -> jax.Array:
        """A Hessian that sees blocks that enter as one direction each, with the mean of their diagonal off it."""
        if self._number is None:
            return hessian
        restricted = self.along_rays(self.along_rays(hessian, faces).T, faces)
        diagonal = jnp.where(faces.enters, jnp.diagonal(hessian), 0.0)
        count = self.total(jnp.where(faces.enters, 1.0, 0.0).astype(hessian.dtype))
        mean = self.total(diagonal) / jnp.maximum(count, 1.0)
        off = jnp.diag(jnp.where(faces.enters, mean, 0.0))
        # What is off the rays: mean (I - r r') of each block, the same from either side.
        return restricted + off - self.along_rays(off, faces)
