r"""Coordinates in which a metric is the identity: where ill-conditioned problems are finished and judged.

With the metric :math:`A^\top A` at a point, equilibrated and taken apart as :math:`A = U\,\mathrm{diag}(\sigma)
V^\top E`, the coordinates are :math:`w` in :math:`u = u_0 + E^{-1} V\,\mathrm{diag}(1/\sigma)\,w`. Derivatives with
respect to :math:`w` lose digits in proportion to the condition number of :math:`A`; a Hessian in the coordinates
:math:`u` loses them to its square. A unit of :math:`w` is about one standard error.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree, static
from lossgeo.solvers.levenberg_marquardt import triangular
from lossgeo.solvers.problem import FlatProblem, Problem


@pytree
class Whitening:
    """Linear coordinates around a point.

    Args:
        fun: the function in the old coordinates.
        args: its arguments.
        origin: the point, a tree.
        basis: columns are the new directions in the old coordinates, shape ``(p, p)``.
        inverse: its inverse, shape ``(p, p)``.
        scale: equilibrating scale of the old coordinates: old coordinates times ``scale`` have rows of unit norm in the
            root of the metric, shape ``(p,)``.
        resolution: eigenvalues of a Hessian in the new coordinates that are at or below this cannot be told from 0.
    """

    fun: Callable[[Any, Any], jax.Array] = static()
    args: Any
    origin: Any
    basis: jax.Array
    inverse: jax.Array
    scale: jax.Array
    resolution: jax.Array

    def back(self, w: jax.Array) -> Any:
        """The old coordinates of a point."""
        z, unravel = ravel_pytree(self.origin)
        return unravel(z + self.basis @ w)


def whiten(problem: Problem) -> tuple[Problem, Whitening]:
    """The same problem, smooth and with a root, in coordinates that are white at ``problem.init``.

    Directions that the root does not see, to working precision, keep the unit of the equilibrated coordinates.
    """
    flat = FlatProblem(problem)
    factor = triangular(flat, flat.z0)[0]
    factor = jnp.where(jnp.all(jnp.isfinite(factor)), factor, 0.0)
    p, eps = factor.shape[0], jnp.finfo(factor.dtype).eps
    norm = jnp.linalg.norm(factor, axis=0)
    scale = jnp.where(norm > 0, norm, 1.0)
    _, sigma, vt = jnp.linalg.svd(factor / scale[None, :])
    seen = sigma > linalg.rank_tolerance(p, factor.dtype)
    sigma = jnp.where(seen, sigma, 1.0)
    basis = vt.T / sigma[None, :] / scale[:, None]
    inverse = sigma[:, None] * vt * scale[None, :]
    least = jnp.min(jnp.where(seen, sigma, jnp.inf))
    resolution = jnp.maximum(linalg.rank_tolerance(p, factor.dtype), 10.0 * p * eps / jnp.minimum(least, 1.0))
    whitening = Whitening(problem.fun, problem.args, problem.init, basis, inverse, scale, resolution)
    return Problem(_value, None, whitening, jnp.zeros_like(flat.z0)), whitening


def _value(w: jax.Array, whitening: Whitening) -> jax.Array:
    return whitening.fun(whitening.back(w), whitening.args)
