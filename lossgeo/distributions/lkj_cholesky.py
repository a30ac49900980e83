"""The LKJ distribution of correlation matrices, stated for their Cholesky factors."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, gammaln, polygamma
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions.distribution import Distribution


@pytree
class LKJCholesky(Distribution):
    r"""Cholesky factors :math:`L` of correlations :math:`R = LL^\top` of density :math:`\propto \det(R)^{\eta-1}`.

    .. math:: \log p(L) = \sum_{i=1}^{K-1} (K - i - 3 + 2\eta)\,\log L_{ii} + \text{const}

    with rows counted from 0: the density of :math:`R` times the Jacobian of :math:`L \mapsto R`, with respect to the
    entries of :math:`L` below the diagonal. The prior of a correlation: uniform over :math:`R` at :math:`\eta = 1`,
    concentrated at the identity above. The mode in :math:`L` is not that in :math:`R` (for K > 2).

    Args:
        size: number K of rows (static).
        concentration: :math:`\eta > 0`, shape ``(*batch,)``.

    Numerics:
        Only the diagonal is read where the rows have length 1; a matrix outside the support has probability 0.

    Reference: Lewandowski, Kurowicka and Joe (2009), J. Multivariate Analysis 100, 1989, section 3. Each row below the
    diagonal is a vector of the unit ball with density :math:`\propto (1 - |v|^2)^{a_i}`, all rows independent, which
    gives the constant, the draws and the moments.
    """

    size: int = static()
    concentration: ArrayLike = 1.0

    event_ndim = 2

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the concentration."""
        return jnp.shape(self.concentration)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(K, K)``."""
        return (self.size, self.size)

    @property
    def support(self) -> supports.Support:
        """Cholesky factors of correlation matrices."""
        return supports.correlation_cholesky

    def _rows(self) -> tuple[jax.Array, jax.Array]:
        r"""For each row but the first the exponent :math:`a_i` and half its number of entries."""
        eta = jnp.asarray(self.concentration, jnp.result_type(float, self.concentration))[..., None]
        index = jnp.asarray(np.arange(1, self.size), eta.dtype).reshape((1,) * (eta.ndim - 1) + (-1,))
        return 0.5 * (self.size - 3 - index) + eta, 0.5 * index

    def _log_constant(self) -> jax.Array:
        a, half = self._rows()
        return jnp.sum(half * float(np.log(np.pi)) + gammaln(a + 1) - gammaln(a + 1 + half), axis=-1)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, K, K)``."""
        y = jnp.asarray(y, jnp.result_type(float, y, self.concentration))
        if y.shape[-2:] != self.event_shape:
            raise ValueError(f"y has shape {y.shape}, but LKJCholesky({self.size}) lives on (*batch, K, K).")
        inside = self.support.contains(y)
        diagonal = jnp.where(inside[..., None], jnp.diagonal(y, axis1=-2, axis2=-1)[..., 1:], 1)
        a, _ = self._rows()
        ndim = max(a.ndim, diagonal.ndim)
        a, diagonal = (v.reshape((1,) * (ndim - v.ndim) + v.shape) for v in (a, diagonal))
        value = jnp.sum(2 * a * jnp.log(diagonal), axis=-1) - self._log_constant().reshape(a.shape[:-1])
        undefined = jnp.any(jnp.isnan(y), axis=(-2, -1)).reshape(inside.shape)
        outside = jnp.where(undefined, jnp.nan, -jnp.inf).astype(value.dtype)
        spread = (1,) * (value.ndim - inside.ndim) + inside.shape
        return jnp.where(inside.reshape(spread), value, outside.reshape(spread))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; rows as uniform directions times square roots of beta variables."""
        first, second = jax.random.split(key)
        a, half = self._rows()
        full = (*shape, *self.batch_shape)
        square = jax.random.beta(first, a + 1, half, (*full, self.size - 1), a.dtype)  # of the diagonal
        direction = jnp.tril(jax.random.normal(second, (*full, self.size, self.size), a.dtype), -1)[..., 1:, :]
        direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
        below = direction * jnp.sqrt(1 - square)[..., None]
        below = jnp.concatenate([jnp.zeros_like(below, shape=(*full, 1, self.size)), below], axis=-2)
        one = jnp.ones((*full, 1), a.dtype)
        return below + jax.vmap(jnp.diag)(
            jnp.concatenate([one, jnp.sqrt(square)], axis=-1).reshape(-1, self.size)
        ).reshape(below.shape)

    @property
    def mean(self) -> jax.Array:
        """Zero below the diagonal; on it the mean square root of a beta variable."""
        return self._matrix(self._mean_diagonal(), 1, 0 * self._rows()[0])

    @property
    def variance(self) -> jax.Array:
        """Variance of each entry."""
        a, half = self._rows()
        return self._matrix((a + 1) / (a + 1 + half) - jnp.square(self._mean_diagonal()), 0, 0.5 / (a + 1 + half))

    def _mean_diagonal(self) -> jax.Array:
        a, half = self._rows()
        return jnp.exp(gammaln(a + 1.5) - gammaln(a + 1) + gammaln(a + 1 + half) - gammaln(a + 1.5 + half))

    def _matrix(self, diagonal: jax.Array, first: float, below: jax.Array) -> jax.Array:
        """A lower triangular matrix from what each row but the first has on and below the diagonal."""
        corner = jnp.full_like(diagonal[..., :1], first)
        diagonal = jnp.concatenate([corner, diagonal], axis=-1)[..., None]
        below = jnp.concatenate([jnp.zeros_like(corner), below], axis=-1)[..., None]
        ones = (1,) * (diagonal.ndim - 2)
        eye = jnp.eye(self.size, dtype=diagonal.dtype).reshape((*ones, self.size, self.size))
        lower = jnp.asarray(np.tril(np.ones((self.size, self.size)), -1), diagonal.dtype).reshape(eye.shape)
        return diagonal * eye + below * lower

    def entropy(self) -> jax.Array:
        r"""The logarithm of the constant less :math:`\sum_i a_i\,E[\log L_{ii}^2]`."""
        a, half = self._rows()
        return self._log_constant() - jnp.sum(a * (digamma(a + 1) - digamma(a + 1 + half)), axis=-1)

    def fisher_information(self) -> jax.Array:
        r""":math:`\sum_i \psi'(a_i + 1) - \psi'(a_i + 1 + i/2)`, about the concentration."""
        a, half = self._rows()
        return jnp.sum(polygamma(1, a + 1) - polygamma(1, a + 1 + half), axis=-1)[..., None, None]
