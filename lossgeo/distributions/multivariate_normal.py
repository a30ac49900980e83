"""The multivariate normal distribution: correlated errors, correlated effects."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import HALF_LOG_2PI, Distribution


@pytree
class MultivariateNormal(Distribution):
    r"""Multivariate normal distribution of vectors, on the last axis.

    .. math:: \log p(y) = -\tfrac12 (y - \mu)^\top \Sigma^{-1} (y - \mu) - \tfrac12\log\det 2\pi\Sigma

    Give exactly one of the three forms of the covariance, each of shape ``(*batch, d, d)``. The Cholesky factor is the
    cheapest and the one to estimate: ``scale[..., None] * L`` with positive ``scale`` and ``L`` on
    ``supports.correlation_cholesky`` (prior ``LKJCholesky``).

    Args:
        loc: mean :math:`\mu`, shape ``(*batch, d)``, or a scalar for all entries.
        covariance: :math:`\Sigma`, symmetric positive definite; only its symmetric part is used.
        precision: :math:`\Sigma^{-1}`, likewise (keyword only).
        cholesky: lower triangular :math:`L` with positive diagonal, :math:`\Sigma = LL^\top` (keyword only); what is
            above the diagonal is not read.

    Numerics:
        A matrix that is not positive definite gives NaN. Nothing is inverted: triangular systems are solved.
    """

    loc: ArrayLike = 0.0
    covariance: ArrayLike | None = None
    precision: ArrayLike | None = dataclasses.field(default=None, kw_only=True)
    cholesky: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    event_ndim = 1

    def _matrix(self) -> jax.Array:
        """Whichever form of the covariance was given."""
        forms = {"covariance": self.covariance, "precision": self.precision, "cholesky": self.cholesky}
        given = {name: value for name, value in forms.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                "MultivariateNormal takes exactly one of covariance, precision and cholesky; it was given "
                f"{' and '.join(given) or 'none'}."
            )
        ((name, value),) = given.items()
        matrix = jnp.asarray(value, jnp.result_type(float, value, self.loc))
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
            raise ValueError(f"{name} of MultivariateNormal must have shape (*batch, d, d), but has {matrix.shape}.")
        if jnp.ndim(self.loc) and jnp.shape(self.loc)[-1] != matrix.shape[-1]:
            raise ValueError(f"loc of MultivariateNormal has shape {jnp.shape(self.loc)}, but {name} {matrix.shape}.")
        return matrix

    def _factor(self) -> tuple[jax.Array, bool]:
        """A lower triangular factor, of the precision if that was given, else of the covariance; and which."""
        matrix = self._matrix()
        if self.cholesky is not None:
            return jnp.tril(matrix), False
        return jnp.linalg.cholesky(matrix, symmetrize_input=True), self.precision is not None

    def _scale(self) -> jax.Array:
        r"""A matrix :math:`A` with :math:`\Sigma = AA^\top`."""
        factor, inverse = self._factor()
        if not inverse:
            return factor
        identity = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
        return jnp.swapaxes(jax.scipy.linalg.solve_triangular(factor, identity, lower=True), -1, -2)

    @property
    def event_axes(self) -> dict[str, int]:
        """See :attr:`Distribution.event_axes`."""
        return {"loc": min(jnp.ndim(self.loc), 1), "covariance": 2, "precision": 2, "cholesky": 2}

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the batches of the mean and of the matrix broadcast to."""
        return jnp.broadcast_shapes(jnp.shape(self.loc)[:-1], self._matrix().shape[:-2])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(d,)``."""
        return (self._matrix().shape[-1],)

    @property
    def support(self) -> supports.Support:
        """The real numbers, for each entry."""
        return supports.real

    def _centered(self, y: ArrayLike) -> jax.Array:
        dtype = jnp.result_type(float, y, *jax.tree.leaves(self))
        y, loc = jnp.asarray(y, dtype), jnp.asarray(self.loc, dtype)
        if y.ndim == 0 or y.shape[-1] != self.event_shape[0]:
            raise ValueError(
                f"y of MultivariateNormal must have shape (*batch, {self.event_shape[0]}), but has {y.shape}."
            )
        ndim = max(y.ndim, loc.ndim)
        y, loc = (a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in (y, loc))
        return y - loc

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, d)``."""
        gap = self._centered(y)
        infinite = jnp.any(jnp.isinf(gap), axis=-1)
        gap = jnp.where(infinite[..., None], 0, gap)
        factor, inverse = self._factor()
        shape = jnp.broadcast_shapes(gap.shape[:-1], factor.shape[:-2])
        gap = jnp.broadcast_to(gap, (*shape, gap.shape[-1]))
        factor = factor.astype(gap.dtype)
        log_diagonal = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
        if factor.ndim == 2:  # one matrix for all observations: one triangular solve
            columns = gap.reshape(-1, gap.shape[-1]).T
            z = factor.T @ columns if inverse else jax.scipy.linalg.solve_triangular(factor, columns, lower=True)
            square = jnp.sum(jnp.square(z), axis=0).reshape(shape)
        else:
            factor = jnp.broadcast_to(factor, (*shape, *factor.shape[-2:]))
            z = (
                jnp.swapaxes(factor, -1, -2) @ gap[..., None]
                if inverse
                else jax.scipy.linalg.solve_triangular(factor, gap[..., None], lower=True)
            )
            square = jnp.sum(jnp.square(z[..., 0]), axis=-1)
            log_diagonal = jnp.broadcast_to(
                log_diagonal.reshape((1,) * (len(shape) - log_diagonal.ndim) + log_diagonal.shape), shape
            )
        value = -0.5 * square + (log_diagonal if inverse else -log_diagonal) - gap.shape[-1] * HALF_LOG_2PI
        return jnp.where(jnp.broadcast_to(infinite, shape), -jnp.inf, value)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        scale = self._scale()
        full = (*shape, *self.batch_shape, scale.shape[-1])
        z = jax.random.normal(key, full, scale.dtype)
        scale = scale.reshape((1,) * (len(full) + 1 - scale.ndim) + scale.shape)
        return (scale @ z[..., None])[..., 0] + self._spread_loc(len(full), scale.dtype)

    def _spread_loc(self, ndim: int, dtype: jnp.dtype) -> jax.Array:
        loc = jnp.asarray(self.loc, dtype)
        return loc.reshape((1,) * (ndim - loc.ndim) + loc.shape)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        shape = (*self.batch_shape, *self.event_shape)
        return jnp.broadcast_to(self._spread_loc(len(shape), self._matrix().dtype), shape)

    @property
    def variance(self) -> jax.Array:
        r"""The diagonal of :math:`\Sigma`."""
        variance = jnp.sum(jnp.square(self._scale()), axis=-1)
        shape = (*self.batch_shape, *self.event_shape)
        return jnp.broadcast_to(variance.reshape((1,) * (len(shape) - variance.ndim) + variance.shape), shape)

    def entropy(self) -> jax.Array:
        r""":math:`\tfrac12\log\det(2\pi e\Sigma)`."""
        factor, inverse = self._factor()
        log_diagonal = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
        value = (-log_diagonal if inverse else log_diagonal) + factor.shape[-1] * (HALF_LOG_2PI + 0.5)
        return jnp.broadcast_to(value, self.batch_shape)

    def fisher_information(self) -> jax.Array:
        r"""Of the entries of ``loc`` (one row if it is a scalar), then of all entries of the matrix, row by row.

        .. math:: I_\mu = \Sigma^{-1}, \qquad
            I_{\Sigma_{ij},\Sigma_{kl}} = \tfrac14(P_{ik}P_{jl} + P_{il}P_{jk}), \qquad P = \Sigma^{-1}

        Likewise for the precision, with :math:`\Sigma` in place of :math:`P`; for the Cholesky factor
        :math:`P_{ik}\delta_{jl} + (L^{-1})_{jk}(L^{-1})_{li}` with i not less than j and k not less than l, else 0. The
        entries are taken as free: the information about a symmetric matrix is that of its symmetric part, singular in
        all of them. Mean and covariance are orthogonal.
        """
        matrix, (size,) = self._matrix(), self.event_shape
        scale = self._scale()
        identity = jnp.broadcast_to(jnp.eye(size, dtype=scale.dtype), scale.shape)
        if self.precision is not None:
            precision = 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))
            dual = scale @ jnp.swapaxes(scale, -1, -2)
        else:
            inverse = jax.scipy.linalg.solve_triangular(scale, identity, lower=True)
            precision = dual = jnp.swapaxes(inverse, -1, -2) @ inverse
        if self.cholesky is None:
            both = jnp.einsum("...ik,...jl->...ijkl", dual, dual)
            of_matrix = 0.25 * (both + jnp.swapaxes(both, -1, -2))
        else:
            lower = jnp.tril(jnp.ones_like(identity))
            of_matrix = jnp.einsum("...ik,...jl->...ijkl", precision, identity)
            of_matrix = of_matrix + jnp.einsum("...jk,...li->...ijkl", inverse, inverse)
            of_matrix = of_matrix * lower[..., :, :, None, None] * lower[..., None, None, :, :]
        of_matrix = of_matrix.reshape(*scale.shape[:-2], size * size, size * size)
        if jnp.ndim(self.loc) == 0:
            precision = jnp.sum(precision, axis=(-2, -1), keepdims=True)
        return jnp.broadcast_to(
            block_diagonal(precision, of_matrix), (*self.batch_shape, *2 * (precision.shape[-1] + size * size,))
        )


def block_diagonal(first: jax.Array, second: jax.Array) -> jax.Array:
    """Two square matrices, of the same batch, as blocks of one."""
    m, n = first.shape[-1], second.shape[-1]
    nothing = jnp.zeros((*first.shape[:-2], m, n), first.dtype)
    above = jnp.concatenate([first, nothing], axis=-1)
    below = jnp.concatenate([jnp.swapaxes(nothing, -1, -2), second], axis=-1)
    return jnp.concatenate([above, below], axis=-2)
