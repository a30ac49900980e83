r"""A posed problem whose rows are quadratic in a linear predictor and all else: the lasso, its intercept, its weights.

.. math:: F(x, v) = \sum_i w_i\,\ell_i(o_i + x_i^\top x,\, v) + R(v) + \sum_j\lambda_j|x_j|

with :math:`\ell_i` and :math:`R` quadratic, which their gradients prove by being affine. Second moments of the design
are then all that a fit needs to know, and those of a part of the rows add up to those of others.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo._pytree import pytree, static
from lossgeo.planning import Plan, plan_for
from lossgeo.posing import Posed, as_problem
from lossgeo.sparsity import SparseRows, sparse_rows
from lossgeo.structure import is_affine
from lossgeo.validation import Checks, check_values, raise_for

__all__ = ["Quadratic", "Rows", "is_on_host", "quadratic", "rows_on_host"]

MAX_OTHER = 64
"""Coordinates beside the penalised ones."""

FEW_COLUMNS = 512
"""Columns up to which products with all of them are left to those who need them."""


@pytree
class Quadratic:
    r"""The problem at :math:`x = 0`, all other coordinates at their start; without :math:`w`, but for the sums.

    Args:
        checks: of the values of the input.
        design: :math:`X`, shape ``(n, d)``, or ``None`` where it is a leaf of the data.
        leaf: number of that leaf, static.
        coefficients: leaves of the parameters that make up :math:`x`, static.
        along: slopes, weighted by the sum of all rows of the weights, times the design, shape ``(d,)``; ``None`` for
            few columns.
        norm: of the columns, shape ``(d,)``; ``None`` for few columns.
        plan: of a fit, static; ``None`` where no solver was given.
        strength: :math:`\lambda`, shape ``(d,)``.
        slopes: :math:`\partial\ell_i/\partial\eta_i`, shape ``(n,)``.
        curvature: :math:`\partial^2\ell_i/\partial\eta_i^2`, shape ``(n,)``.
        cross: :math:`\partial^2\ell_i/\partial\eta_i\partial v`, shape ``(q, n)``.
        v: the start of the other coordinates, shape ``(q,)``.
        value: :math:`\sum_i w_i\ell_i` for each row of the weights, shape ``(k,)``, and :math:`R` last.
        gradient: their gradients in :math:`v`, shape ``(k + 1, q)``.
        hessian: their Hessians in :math:`v`, shape ``(k + 1, q, q)``.
    """

    checks: Checks
    design: jax.Array | None
    strength: jax.Array
    slopes: jax.Array
    curvature: jax.Array
    cross: jax.Array
    v: jax.Array
    value: jax.Array
    gradient: jax.Array
    hessian: jax.Array
    along: jax.Array | None
    norm: jax.Array | None
    leaf: int = static()
    coefficients: tuple[int, ...] = static()
    plan: Plan | None = static(default=None)


@quick_jit(small=True, static_argnames="solver")
def quadratic(posed: Posed, weights: Any, solver: Any = None) -> Quadratic | None:
    """The parts of a problem for several weights of its rows, ``(k, n)`` or ``(n,)`` or ``None`` for those of one fit.

    ``None`` if it is of another kind. A plan is made for a ``solver``.
    """
    problem = as_problem(posed)
    rows = sparse_rows(problem, MAX_OTHER)
    if rows is None or rows.is_elastic:
        return None
    design = rows.design()
    x, v = rows.split(problem.init)
    # Products with an offset that is not there would read the design once more.
    eta = jax.lax.cond(
        jnp.any(rows.center != 0),
        lambda: design @ rows.center,
        lambda: jnp.zeros(design.shape[0], jnp.result_type(design, x)),
    )
    if not _is_quadratic(rows, eta, v):
        return None

    def slopes(eta: jax.Array, v: jax.Array) -> jax.Array:
        return jax.grad(lambda eta: -jnp.sum(rows.terms(eta, v)))(eta)

    at, push = jax.linearize(slopes, eta, v)
    cross = jax.vmap(lambda e: push(jnp.zeros_like(eta), e))(jnp.eye(v.shape[0], dtype=v.dtype))

    def parts(fn: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        return fn(v), jax.grad(fn)(v), jax.hessian(fn)(v)

    weights = jnp.atleast_2d(jnp.ones_like(eta) if weights is None else weights)
    of_rows = jax.vmap(lambda w: parts(lambda v: -jnp.vdot(w.astype(v.dtype), rows.terms(eta, v).astype(v.dtype))))
    sums, rest = of_rows(weights), parts(lambda v: jnp.asarray(rows.remainder(v), v.dtype))
    value, gradient, hessian = (jnp.concatenate([a, b[None]]) for a, b in zip(sums, rest, strict=True))
    leaves = jax.tree.leaves(posed.data)
    (leaf,) = [i for i, data in enumerate(leaves) if data is design][:1] or [-1]
    along = squares = seen = None
    if design.shape[1] > FEW_COLUMNS:
        along, squares = linalg.product_and_squares(jnp.sum(weights, axis=0).astype(at.dtype) * at, design)
        seen = (design, jnp.sum(squares)) if leaf >= 0 else None
    return Quadratic(
        checks=check_values(posed, seen=seen),
        design=None if leaf >= 0 else design,
        strength=rows.strength,
        slopes=at,
        curvature=push(jnp.ones_like(eta), jnp.zeros_like(v)),
        cross=cross,
        v=v,
        value=value,
        gradient=gradient,
        hessian=hessian,
        along=along,
        norm=None if squares is None else jnp.sqrt(squares),
        leaf=leaf,
        coefficients=rows.leaves,
        plan=None if solver is None else plan_for(problem, solver, host=True),
    )


def _is_quadratic(rows: SparseRows, eta: jax.Array, v: jax.Array) -> bool:
    """Whether rows and remainder have affine gradients; static."""

    def gradients(at: Any) -> Any:
        likelihood = jax.grad(lambda at: -jnp.sum(rows.terms(*at)))(at)
        return likelihood, jax.grad(lambda v: jnp.asarray(rows.remainder(v), v.dtype))(at[1])

    return all(is_affine(gradients, (eta, v)))


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a problem on the host, weighted but for the design."""

    design: np.ndarray
    slopes: np.ndarray
    curvature: np.ndarray
    cross: np.ndarray

    @property
    def is_double(self) -> bool:
        """Whether the design is in double precision."""
        return self.design.dtype == np.float64


def rows_on_host(posed: Posed, problem: Quadratic, weights: np.ndarray | None) -> Rows | None:
    """The rows, or ``None`` where their log-density is infinite somewhere or not concave.

    Raises:
        ValueError: the values of the input are faulty.
    """
    if not bool(problem.checks.passed):
        raise_for(problem.checks, posed)
    # Where the log-density of some row is infinite, another solver finds the words.
    curvature, slopes, cross = (np.asarray(a, float) for a in (problem.curvature, problem.slopes, problem.cross))
    if weights is not None:
        curvature, slopes, cross = weights * curvature, weights * slopes, weights * cross
    finite = np.all(np.isfinite(slopes)) and np.all(np.isfinite(curvature)) and np.all(np.isfinite(problem.value))
    still = curvature == 0
    if not finite or np.any(curvature < 0) or np.any(slopes[still]) or np.any(cross[:, still]):
        return None
    leaves = jax.tree.leaves(posed.data)
    return Rows(
        np.asarray(leaves[problem.leaf] if problem.design is None else problem.design), slopes, curvature, cross
    )


def is_on_host(data: Any) -> bool:
    """Whether all data are in the memory of the host."""
    return all(
        len(leaf.devices()) == 1 and {device.platform for device in leaf.devices()} == {"cpu"}
        for leaf in jax.tree.leaves(data)
    )
