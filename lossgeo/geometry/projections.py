r"""Orthogonal projection on a column space: hat matrix, leverage, effective degrees of freedom, sums of squares.

Least squares is the projection of y on the span of the columns of X, :math:`\hat y = Py` with :math:`P = XX^{+}`:
symmetric, idempotent, of trace rank(X). Everything here goes through a singular value decomposition of the
column-equilibrated X, so collinear or zero columns and columns in different units do no harm. A *ridge* smoother is
symmetric but not idempotent, and is called a smoother and not a projection. Projections on convex sets are in
:mod:`lossgeo.geometry.convex_projections`, those of information geometry in
:mod:`lossgeo.geometry.information_projections`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating

__all__ = [
    "SumsOfSquares", "column_basis", "effective_degrees_of_freedom", "hat_matrix", "leverage", "orthogonal_projection",
    "ridge_smoother", "sums_of_squares",
]  # fmt: skip


def column_basis(x: ArrayLike) -> jax.Array:
    """Orthonormal basis of the column space of ``x``, padded with zero columns beyond its rank.

    Args:
        x: shape ``(n, p)``, any rank.

    Returns:
        Shape ``(n, min(n, p))``. The number of non-zero columns is the rank.

    Numerics:
        Columns are scaled to unit norm first. Singular values below ``max(n, p) · eps`` of the largest count as 0. The
        basis is not unique, so differentiate the projection and not the basis.
    """
    (x,) = floating(x)
    if x.ndim != 2:
        raise ValueError(f"column_basis: a matrix (n, p) is wanted, got shape {x.shape}.")
    u, s, _ = jnp.linalg.svd(_equilibrated(x), full_matrices=False)
    kept = s > max(x.shape) * jnp.finfo(x.dtype).eps * s[:1]
    return jnp.where(kept[None, :], u, 0.0)


def _equilibrated(x: jax.Array) -> jax.Array:
    """Columns scaled to unit norm: another basis of the same space, so the scales are constants of derivatives."""
    norms = jnp.linalg.norm(jax.lax.stop_gradient(x), axis=0)
    return x / jnp.where(norms > 0, norms, 1.0)[None, :]


@jax.custom_jvp
def _project(x: jax.Array, y: jax.Array) -> jax.Array:
    basis = column_basis(x)
    return basis @ (basis.T @ y)


@_project.defjvp
def _project_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    r""":math:`d(Py) = (I - P)\,dX\,X^{+}y + (X^{+})^\top dX^\top (I - P)y + P\,dy`.

    Valid at constant rank (Golub & Pereyra).
    """
    x, y = primals
    dx, dy = tangents
    pseudo = jnp.linalg.pinv(x)
    fitted = _project(x, y)
    across = dx - _project(x, dx)
    return fitted, across @ (pseudo @ y) + pseudo.T @ (dx.T @ (y - fitted)) + _project(x, dy)


@jax.custom_jvp
def _leverage(x: jax.Array) -> jax.Array:
    return jnp.sum(column_basis(x) ** 2, axis=1)


@_leverage.defjvp
def _leverage_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    return _leverage(x), 2 * jnp.sum((dx - _project(x, dx)) * jnp.linalg.pinv(x).T, axis=1)


def hat_matrix(x: ArrayLike) -> jax.Array:
    r"""Orthogonal projector :math:`P = XX^{+}` on the column space, shape ``(n, n)``.

    :math:`P^2 = P = P^\top`, :math:`\mathrm{tr}\,P = \mathrm{rank}\,X`, :math:`PX = X`. The textbook
    :math:`X(X^\top X)^{-1}X^\top` is the same at full column rank and undefined otherwise.

    Args:
        x: shape ``(n, p)``, any rank. For weights w give :math:`W^{1/2}X`.
    """
    (x,) = floating(x)
    return _project(_equilibrated(x), jnp.eye(x.shape[0], dtype=x.dtype))


def orthogonal_projection(x: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Projection :math:`\hat y = XX^{+}y` of vectors on the column space; the residual is orthogonal to every column.

    Args:
        x: shape ``(n, p)``, any rank.
        y: shape ``(n,)`` or ``(n, k)``.

    Returns:
        Shape of ``y``. The n by n hat matrix is not formed. Derivatives of any order, at locally constant rank.
    """
    x, y = floating(x, y)
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"orthogonal_projection: X has shape {x.shape} and y has shape {y.shape}; rows must agree.")
    return _project(_equilibrated(x), y)


def leverage(x: ArrayLike) -> jax.Array:
    r"""Leverages :math:`h_i = P_{ii}`, each in [0, 1], with sum rank(X); shape ``(n,)``.

    1: the fit passes through that point.
    """
    (x,) = floating(x)
    return _leverage(_equilibrated(x))


def ridge_smoother(x: ArrayLike, penalty: ArrayLike) -> jax.Array:
    r"""Ridge smoother :math:`S = X(X^\top X + \lambda I)^{-1}X^\top`: symmetric, *not* idempotent for λ > 0.

    Args:
        x: shape ``(n, p)``.
        penalty: λ ≥ 0, for :math:`\|y - Xb\|^2 + \lambda\|b\|^2`, that is noise over prior variance. At 0 the hat
            matrix.

    Returns:
        Shape ``(n, n)``, of trace :func:`effective_degrees_of_freedom`. Derivatives need distinct singular values.
    """
    x, penalty = floating(x, penalty)
    u, s, _ = jnp.linalg.svd(x, full_matrices=False)
    return (u * _shrinkage(x, s, penalty)[None, :]) @ u.T


def effective_degrees_of_freedom(x: ArrayLike, penalty: ArrayLike = 0.0) -> jax.Array:
    r"""Trace of the ridge smoother, :math:`\sum_i s_i^2/(s_i^2 + \lambda)`; rank(X) at λ = 0, decreasing in λ.

    Shape ``()``.
    """
    x, penalty = floating(x, penalty)
    return jnp.sum(_shrinkage(x, jnp.linalg.svd(x, compute_uv=False), penalty))


def _shrinkage(x: jax.Array, s: jax.Array, penalty: jax.Array) -> jax.Array:
    kept = s > max(x.shape) * jnp.finfo(x.dtype).eps * s[:1]
    square = jnp.where(kept, s, 0.0) ** 2
    return jnp.where(kept, square / jnp.where(kept, square + penalty, 1.0), 0.0)


class SumsOfSquares(NamedTuple):
    r"""Decomposition of the sum of squares of y about its mean.

    Fields: ``total`` :math:`\sum(y-\bar y)^2`; ``explained`` :math:`\sum(\hat y-\bar y)^2`; ``residual``
    :math:`\sum(y-\hat y)^2`; ``gap`` = total − explained − residual, 0 iff the residuals sum to 0 or the fit has mean
    :math:`\bar y`, in particular with an intercept; ``r_squared`` = 1 − residual/total. With gap 0 it is the
    squared cosine of the angle between the centered y and its projection.
    """

    total: jax.Array
    explained: jax.Array
    residual: jax.Array
    gap: jax.Array
    r_squared: jax.Array


def sums_of_squares(x: ArrayLike, y: ArrayLike) -> SumsOfSquares:
    r"""Pythagorean analysis of least squares, total = explained + residual, with the gap that appears without an
    intercept.

    .. math:: \mathrm{gap} = 2\sum_i (y_i - \hat y_i)(\hat y_i - \bar y) = -2\bar y\sum_i(y_i - \hat y_i)

    Args:
        x: design, shape ``(n, p)``; include a column of ones for an intercept.
        y: shape ``(n,)``.

    Returns:
        Five numbers. ``gap`` is taken from the residuals and not by subtraction.
    """
    x, y = floating(x, y)
    if y.shape != x.shape[:1]:
        raise ValueError(f"sums_of_squares: X has shape {x.shape}, so y must have shape {x.shape[:1]}, got {y.shape}.")
    fitted = orthogonal_projection(x, y)
    mean = jnp.mean(y)
    rest = y - fitted
    total, residual = jnp.sum((y - mean) ** 2), jnp.sum(rest**2)
    gap = 2 * jnp.vdot(rest, fitted - mean)
    return SumsOfSquares(total, jnp.sum((fitted - mean) ** 2), residual, gap, 1 - residual / total)
