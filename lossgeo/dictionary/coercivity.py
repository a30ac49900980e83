r"""Whether :math:`e^{-R}` of a penalty of a vector can have a finite integral, from its growth along rays.

A convex function has :math:`\int e^{-R} < \infty` iff it grows without bound along *every* ray. No finite number of
rays proves that; but a direction along which a penalty does not change is orthogonal to all its gradients, and is found
in their null space, and a one-sided valley is walked into by descent on the sphere. What is nearly flat there is left
undecided.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["rays"]

_OCTAVES = 24


def rays(fn: Callable[[jax.Array], Any], dimension: int) -> tuple[bool | None, str]:
    """Verdict and evidence.

    Args:
        fn: ``(d,) -> ()``.
        dimension: d, at least 2.

    Raises:
        ValueError: another shape, a value that is not finite, or a dimension below 2.
    """
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 2:
        raise ValueError(f"dimension must be a whole number from 1 on; it is {dimension!r}.")
    shape = jax.eval_shape(fn, jax.ShapeDtypeStruct((dimension,), jnp.zeros(()).dtype))
    if getattr(shape, "shape", None) != ():
        raise ValueError(f"the penalty must map a vector of shape ({dimension},) to a number; it returns {shape}.")
    generator = np.random.default_rng(0)
    points = (
        generator.normal(size=(4 * dimension + 4, dimension))
        * np.array([0.1, 1.0, 10.0, 1e3])[np.arange(4 * dimension + 4) % 4, None]
    )
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(fn)))(jnp.asarray(points))
    value, gradient = np.asarray(value, np.float64), np.asarray(gradient, np.float64)
    if not (np.all(np.isfinite(value)) and np.all(np.isfinite(gradient))):
        raise ValueError("the penalty or its gradient is not finite at random vectors of lengths 0.1 to 1000.")
    # Gradients of different lengths count alike.
    norms = np.linalg.norm(gradient, axis=1, keepdims=True)
    _, singular, right = np.linalg.svd(gradient / np.where(norms > 0, norms, 1), full_matrices=True)
    null = right[np.concatenate([singular, np.zeros(dimension - singular.size)]) < 1e-5 * max(singular[0], 1e-300)]
    random = generator.normal(size=(32, dimension))
    directions = np.concatenate([np.eye(dimension), np.ones((1, dimension)), random, null])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.concatenate([directions, -directions])
    directions = np.concatenate([directions, np.asarray(_descend(fn, jnp.asarray(directions)), np.float64)])
    length = 2.0 ** np.arange(_OCTAVES + 1)
    along = directions[:, None, :] * length[None, :, None]
    heights = np.asarray(jax.jit(jax.vmap(jax.vmap(fn)))(jnp.asarray(along)), np.float64)
    growth = np.diff(heights, axis=1)[:, _OCTAVES // 2 :] / math.log(2)
    # Along a ray the volume grows as r^(d - 1): decay faster than r^-d is wanted.
    slowest = int(np.argmin(np.nanmin(growth, axis=1)))
    low, high = float(np.nanmin(growth[slowest])), float(np.nanmax(growth[slowest]))
    name = "[" + ", ".join(f"{v:.3g}" for v in directions[slowest][:6]) + (", …]" if dimension > 6 else "]")
    first, second = generator.normal(size=(2, 256, dimension)) * 3
    each = jax.jit(jax.vmap(fn))
    middle, ends = each(jnp.asarray(0.5 * (first + second))), (each(jnp.asarray(first)), each(jnp.asarray(second)))
    slack = 1e-5 * (1 + np.abs(np.asarray(ends[0])) + np.abs(np.asarray(ends[1])))
    convex = bool(np.all(np.asarray(middle) <= 0.5 * np.asarray(ends[0] + ends[1]) + slack))
    if high <= 1e-3:
        where = f"along {name} the penalty stops growing"
        if convex or np.sum(np.nanmax(growth, axis=1) <= 1e-3) > directions.shape[0] // 2:
            return False, f"numerically: {where}, so that exp(-R) has an infinite integral"
        return None, f"numerically: {where}, but it is not convex: a thin valley may have a finite volume"
    steepness = heights[:, -1] - heights[:, _OCTAVES // 2]
    flattest = float(np.min(steepness) / np.median(steepness))
    if flattest < 1e-4:
        return None, f"numerically: along {name} the penalty is nearly flat ({flattest:.0e} of its usual growth)"
    if low > dimension + 0.5:
        if convex:
            return True, f"numerically: convex (256 chords), and growing along {directions.shape[0]} rays"
        return None, f"numerically: growing along {directions.shape[0]} rays, but not convex: others may exist"
    return None, f"numerically: along {name} the density behaves as r^-a with a from {low:.3g} to {high:.3g}: too slow"


def _descend(fn: Callable[[jax.Array], Any], directions: jax.Array) -> jax.Array:
    """Directions moved along the sphere to where the penalty, far out, is least; steps fade geometrically."""
    far = 2.0 ** (_OCTAVES - 4)

    def one(start: jax.Array) -> jax.Array:
        def move(d: jax.Array, size: jax.Array) -> tuple[jax.Array, None]:
            slope = jax.grad(fn)(far * d)
            slope = slope - d * jnp.vdot(d, slope)
            norm = jnp.linalg.norm(slope)
            d = d - size * slope / jnp.where(norm > 0, norm, 1)
            return d / jnp.linalg.norm(d), None

        sizes = jnp.asarray(0.5 * 0.92 ** np.arange(200), start.dtype)
        return jax.lax.scan(move, start, sizes)[0]

    return jax.jit(jax.vmap(one))(directions)
