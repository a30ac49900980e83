"""Supports of matrices: an event is the last two axes; its coordinates are a vector on the last axis."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.supports.support import Support


@pytree
class CorrelationCholesky(Support):
    r"""Lower triangular matrices with positive diagonal and rows of length 1: Cholesky factors of correlations.

    Row ``i`` is built from ``i`` coordinates by stereographic steps,

    .. math:: L_{ij} = \tanh(u_{ij})\,\sqrt{1 - \textstyle\sum_{k<j} L_{ik}^2} \ (j < i), \qquad
        L_{ii} = \sqrt{1 - \textstyle\sum_{k<i} L_{ik}^2},

    where the square roots are the products of :math:`\operatorname{sech}(u_{ik})`, without a difference. The
    ``K (K - 1) / 2`` coordinates run row by row. The log-determinant is that of the entries below the diagonal, with
    respect to which ``LKJCholesky`` is stated: :math:`\sum_{j<i} (i - j + 1)\,\log\operatorname{sech} u_{ij}`, rows and
    columns counted from 0.

    Reference: Lewandowski, Kurowicka and Joe (2009), J. Multivariate Analysis 100, 1989; Stan Reference Manual,
    "Cholesky factors of correlation matrices".
    """

    event_ndim: ClassVar[int] = 2

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the Cholesky factors of correlation matrices (lower triangular, positive diagonal, rows of length 1)"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`; the length of a row may be off by the rounding of its terms."""
        x = _matrices(x)
        upper = jnp.all(jnp.triu(x, 1) == 0, axis=(-2, -1))
        diagonal = jnp.all(jnp.diagonal(x, axis1=-2, axis2=-1) > 0, axis=-1)
        error = jnp.max(jnp.abs(jnp.sum(jnp.square(x), axis=-1) - 1), axis=-1)
        return upper & diagonal & (error <= 4 * (x.shape[-1] + 4) * jnp.finfo(x.dtype).eps)

    def forward(self, u: ArrayLike) -> jax.Array:
        """Stereographic steps along each row."""
        return self.forward_and_log_det(u)[0]

    def inverse(self, x: ArrayLike) -> jax.Array:
        r""":math:`u_{ij} = \operatorname{arsinh}(L_{ij} / \sqrt{\sum_{k > j} L_{ik}^2})`."""
        x = _matrices(x)
        size = x.shape[-1]
        rest = jnp.sqrt(jnp.flip(jnp.cumsum(jnp.flip(jnp.square(x), -1), -1), -1))
        rows, columns = np.tril_indices(size, -1)
        return jnp.arcsinh(x[..., rows, columns] / rest[..., rows, columns + 1])

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The value and the log-determinant."""
        u = _coordinates(u)
        size = _size(u.shape[-1], 1, "K (K - 1) / 2")
        rows, columns = np.tril_indices(size, -1)
        # log sech u = log 2 - |u| - log(1 + exp(-2 |u|)); no gradient is lost at 0.
        log_sech = -_log_cosh(u)
        zeros = jnp.zeros((*u.shape[:-1], size, size), u.dtype)
        left = jnp.cumsum(zeros.at[..., rows, columns].set(log_sech), axis=-1)
        before = jnp.concatenate([zeros[..., :1], left[..., :-1]], axis=-1)
        ratio = (
            (zeros + jnp.eye(size, dtype=u.dtype).reshape((1,) * (u.ndim - 1) + (size, size)))
            .at[..., rows, columns]
            .set(jnp.tanh(u))
        )
        order = (rows - columns + 1).reshape((1,) * (u.ndim - 1) + (-1,))
        return ratio * jnp.exp(before), jnp.sum(order * log_sech, axis=-1)

    def entry_bounds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """-1 and 1; 0 and 1 on the diagonal."""
        return np.broadcast_to(np.eye(shape[-1]) - 1, shape), np.ones(shape)


@pytree
class PositiveDefinite(Support):
    r"""Symmetric positive definite matrices.

    .. math:: X = L L^\top, \qquad L_{ii} = e^{u_{ii}}, \quad L_{ij} = u_{ij} \ (j < i)

    The ``K (K + 1) / 2`` coordinates are the lower triangle, row by row. The log-determinant is that of the lower
    triangle of ``X``, with respect to which ``Wishart`` is stated:
    :math:`K \log 2 + \sum_i (K - i + 1)\,u_{ii}`, rows counted from 0.

    Reference: Muirhead (1982), Aspects of Multivariate Statistical Theory, Theorem 2.1.9.
    """

    event_ndim: ClassVar[int] = 2

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the symmetric positive definite matrices"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`; symmetric up to rounding, and with a Cholesky factor."""
        x = _matrices(x)
        finite = jnp.all(jnp.isfinite(x), axis=(-2, -1))
        safe = jnp.where(finite[..., None, None], x, 0)
        size = jnp.max(jnp.abs(safe), axis=(-2, -1), initial=0.0)
        skew = jnp.max(jnp.abs(safe - jnp.swapaxes(safe, -1, -2)), axis=(-2, -1), initial=0.0)
        factor = jnp.linalg.cholesky(safe, symmetrize_input=True)
        definite = jnp.all(jnp.diagonal(factor, axis1=-2, axis2=-1) > 0, axis=-1)
        return finite & definite & (skew <= 8 * jnp.finfo(x.dtype).eps * size)

    def forward(self, u: ArrayLike) -> jax.Array:
        r""":math:`L L^\top`."""
        return self.forward_and_log_det(u)[0]

    def inverse(self, x: ArrayLike) -> jax.Array:
        """The lower triangle of the Cholesky factor, its diagonal in logarithms; NaN outside the set."""
        x = _matrices(x)
        factor = jnp.linalg.cholesky(x, symmetrize_input=True)
        rows, columns = np.tril_indices(x.shape[-1])
        found, diagonal = factor[..., rows, columns], (rows == columns).reshape((1,) * (x.ndim - 2) + (-1,))
        return jnp.where(diagonal, jnp.log(jnp.where(diagonal, found, 1)), found)

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The value and the log-determinant."""
        u = _coordinates(u)
        size = _size(u.shape[-1], -1, "K (K + 1) / 2")
        rows, columns = np.tril_indices(size)
        diagonal = (rows == columns).reshape((1,) * (u.ndim - 1) + (-1,))
        entries = jnp.where(diagonal, jnp.exp(jnp.where(diagonal, u, 0)), u)
        factor = jnp.zeros((*u.shape[:-1], size, size), u.dtype).at[..., rows, columns].set(entries)
        order = np.where(rows == columns, size - rows + 1, 0).reshape((1,) * (u.ndim - 1) + (-1,))
        return factor @ jnp.swapaxes(factor, -1, -2), size * float(np.log(2)) + jnp.sum(order * u, axis=-1)

    def entry_bounds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """0 and infinity on the diagonal."""
        low = np.where(np.eye(shape[-1]) == 1, 0.0, -np.inf)
        return np.broadcast_to(low, shape), np.full(shape, np.inf)


def _log_cosh(u: jax.Array) -> jax.Array:
    """Logarithm of the hyperbolic cosine; even, smooth, and without overflow."""
    near = jnp.abs(u) < 1
    small, large = jnp.where(near, u, 0), jnp.where(near, 1, jnp.abs(u))
    half = jnp.sinh(0.5 * small)
    return jnp.where(near, jnp.log1p(2 * half * half), large + jnp.log1p(jnp.exp(-2 * large)) - float(np.log(2)))


def _matrices(x: ArrayLike) -> jax.Array:
    """A floating array of square matrices."""
    x = jnp.asarray(x, jnp.result_type(float, x))
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"This support holds square matrices on the last two axes; it was given shape {x.shape}.")
    return x


def _coordinates(u: ArrayLike) -> jax.Array:
    """A floating array with an axis of coordinates."""
    u = jnp.asarray(u, jnp.result_type(float, u))
    if u.ndim == 0:
        raise ValueError("The coordinates of a matrix are a vector on the last axis; they were given as a scalar.")
    return u


def _size(count: int, sign: int, formula: str) -> int:
    """The size K of a matrix from the number of its coordinates, K (K - sign) / 2."""
    size = round((np.sqrt(8 * count + 1) + sign) / 2)
    if size * (size - sign) // 2 != count:
        raise ValueError(f"A matrix of size K has {formula} coordinates; there is none with {count}.")
    return size
