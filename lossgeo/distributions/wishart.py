"""The Wishart distribution: sample covariances, and precisions of normal vectors."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, polygamma
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import ranks
from lossgeo.distributions.distribution import HALF_LOG_2PI, LOG_2, Distribution
from lossgeo.distributions.gamma import Gamma


@pytree
class Wishart(Distribution):
    r"""Wishart distribution of symmetric positive definite matrices, on the last two axes.

    .. math:: \log p(X) = \tfrac{\nu - K - 1}{2}\log\det X - \tfrac12\operatorname{tr} V^{-1}X
        - \tfrac{\nu K}{2}\log 2 - \tfrac\nu2\log\det V - \log\Gamma_K(\tfrac\nu2)

    The density with respect to the entries of the lower triangle. For an integer :math:`\nu` it is the distribution of
    :math:`\sum_{i \le \nu} z_i z_i^\top` with :math:`z_i \sim N(0, V)`; the conjugate prior of a precision matrix.

    Args:
        df: degrees of freedom :math:`\nu > K - 1`, shape ``(*batch,)``; not necessarily an integer.
        scale: :math:`V`, symmetric positive definite, shape ``(*batch, K, K)``; only its symmetric part is used. The
            mean is :math:`\nu V`.

    Raises:
        ValueError: ``scale`` or ``y`` is not made of square matrices of one size (static: free under ``jit``).

    Numerics:
        Written in the Bartlett factor :math:`A = L_V^{-1}L_X`, whose entries are independent: normal below the
        diagonal, roots of chi-squared variables on it. Nothing is inverted, and Stirling's formula is taken out of the
        gamma functions by hand: an error of some ulp of :math:`K^2 + \operatorname{tr}(V^{-1}X - \nu I)`, not of
        :math:`\nu\log\nu`; where a matrix is ill conditioned, that of its Cholesky factor. A matrix that is not
        symmetric (up to rounding) and positive definite has probability 0. A ``df`` of ``K - 1`` or less and a
        ``scale`` that is not positive definite give NaN.

    Reference: Muirhead (1982), Aspects of Multivariate Statistical Theory, Theorems 3.2.1 and 3.2.14 (Bartlett).
    """

    df: ArrayLike
    scale: ArrayLike

    event_ndim = 2

    def _scale(self) -> jax.Array:
        scale = jnp.asarray(self.scale, jnp.result_type(float, self.df, self.scale))
        if scale.ndim < 2 or scale.shape[-1] != scale.shape[-2]:
            raise ValueError(f"scale of Wishart must have shape (*batch, K, K), but has {scale.shape}.")
        return scale

    def _factor(self) -> jax.Array:
        """Cholesky factor of the scale, shape ``(*batch, K, K)``."""
        return jnp.broadcast_to(
            jnp.linalg.cholesky(self._scale(), symmetrize_input=True), (*self.batch_shape, *self.event_shape)
        )

    def _df(self) -> jax.Array:
        """Degrees of freedom, shape ``(*batch,)``; NaN where there is no density."""
        scale = self._scale()
        df = jnp.asarray(self.df, scale.dtype)
        return jnp.broadcast_to(jnp.where(df > scale.shape[-1] - 1, df, jnp.nan), self.batch_shape)

    def _rows(self) -> tuple[jax.Array, jax.Array]:
        r"""For each row of the Bartlett factor half its degrees of freedom, :math:`(\nu - i)/2`, and :math:`K - i`."""
        df = self._df()[..., None]
        index = np.arange(self.event_shape[-1]).reshape((1,) * (df.ndim - 1) + (-1,))
        return 0.5 * (df - jnp.asarray(index, df.dtype)), jnp.asarray(index.size - index, df.dtype)

    @property
    def event_axes(self) -> dict[str, int]:
        """See :attr:`Distribution.event_axes`."""
        return {"scale": 2}

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shape of ``df`` and the batch of ``scale`` broadcast to."""
        return jnp.broadcast_shapes(jnp.shape(self.df), self._scale().shape[:-2])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(K, K)``."""
        return self._scale().shape[-2:]

    @property
    def support(self) -> supports.Support:
        """The symmetric positive definite matrices."""
        return supports.positive_definite

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, K, K)``."""
        size = self.event_shape[-1]
        y = jnp.asarray(y, jnp.result_type(float, y, self._scale()))
        if y.shape[-2:] != self.event_shape:
            raise ValueError(f"y of Wishart must have shape (*batch, {size}, {size}), but has {y.shape}.")
        inside = self.support.contains(y)
        undefined = jnp.any(jnp.isnan(y), axis=(-2, -1))
        value = self._log_density(
            jnp.where(inside[..., None, None], y, jnp.broadcast_to(jnp.eye(size, dtype=y.dtype), y.shape))
        )
        inside, undefined, value = ranks(inside, undefined, value)
        return jnp.where(inside, value, jnp.where(undefined, jnp.nan, -jnp.inf))

    def _log_density(self, y: jax.Array) -> jax.Array:
        """The log-density at positive definite matrices."""
        shape = jnp.broadcast_shapes(y.shape, (*self.batch_shape, *self.event_shape))
        factor = jnp.broadcast_to(self._factor().astype(y.dtype), shape)
        root = jnp.broadcast_to(jnp.linalg.cholesky(y, symmetrize_input=True), shape)
        bartlett = jax.scipy.linalg.solve_triangular(factor, root, lower=True)
        diagonal, scales = (jnp.diagonal(m, axis1=-2, axis2=-1) for m in (bartlett, factor))
        half, order = (jnp.broadcast_to(v.astype(y.dtype), diagonal.shape) for v in ranks(*self._rows(), diagonal)[:2])
        size = shape[-1]
        below = -0.5 * jnp.sum(jnp.square(jnp.tril(bartlett, -1)), axis=(-2, -1))
        on = numerics.log_gamma_kernel(half, 0.5 * jnp.square(diagonal)) - (order + 1) * jnp.log(diagonal)
        constant = -0.5 * size * (size - 1) * HALF_LOG_2PI
        return below + constant + jnp.sum(on - (size + 1) * jnp.log(scales), axis=-1)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; by Bartlett's decomposition."""
        first, second = jax.random.split(key)
        half, _ = self._rows()
        full = (*shape, *self.batch_shape, *self.event_shape)
        diagonal = jnp.sqrt(2 * jax.random.gamma(first, half, full[:-1], half.dtype))
        below = jnp.tril(jax.random.normal(second, full, half.dtype), -1)
        factor, eye = ranks(below, self._factor(), jnp.eye(full[-1], dtype=half.dtype))[1:]
        root = factor @ (below + diagonal[..., None] * eye)
        return root @ jnp.swapaxes(root, -1, -2)

    def _symmetric(self) -> tuple[jax.Array, jax.Array]:
        """Degrees of freedom and the symmetric part of the scale, of shapes that broadcast."""
        scale = self._scale()
        scale = jnp.broadcast_to(0.5 * (scale + jnp.swapaxes(scale, -1, -2)), (*self.batch_shape, *self.event_shape))
        return self._df()[..., None, None], scale

    @property
    def mean(self) -> jax.Array:
        r""":math:`\nu V`."""
        df, scale = self._symmetric()
        return df * scale

    @property
    def variance(self) -> jax.Array:
        r""":math:`\nu\,(V_{ij}^2 + V_{ii}V_{jj})`, of each entry."""
        df, scale = self._symmetric()
        diagonal = jnp.diagonal(scale, axis1=-2, axis2=-1)
        return df * (jnp.square(scale) + diagonal[..., :, None] * diagonal[..., None, :])

    def entropy(self) -> jax.Array:
        """That of the independent entries of the Bartlett factor, and the expected logarithm of the Jacobian."""
        half, order = self._rows()
        size = self.event_shape[-1]
        log_scale = jnp.sum(jnp.log(jnp.diagonal(self._factor(), axis1=-2, axis2=-1)), axis=-1)
        on = Gamma(half, jnp.full_like(half, 0.5)).entropy() + 0.5 * (order - 1) * (digamma(half) + LOG_2)
        below = 0.5 * size * (size - 1) * (HALF_LOG_2PI + 0.5)
        return jnp.sum(on, axis=-1) + below + (size + 1) * log_scale

    def fisher_information(self) -> jax.Array:
        r"""Of ``df``, then of all entries of ``scale``, row by row.

        .. math:: I_\nu = \tfrac14\sum_{i < K}\psi'\bigl(\tfrac{\nu - i}2\bigr), \qquad
            I_{\nu,V_{ij}} = \tfrac12 P_{ij}, \qquad
            I_{V_{ij},V_{kl}} = \tfrac\nu4(P_{ik}P_{jl} + P_{il}P_{jk}), \qquad P = V^{-1}

        The entries are taken as free: the information about a symmetric matrix is that of its symmetric part, singular
        in all of them.
        """
        factor, size = self._factor(), self.event_shape[-1]
        identity = jnp.broadcast_to(jnp.eye(size, dtype=factor.dtype), factor.shape)
        inverse = jax.scipy.linalg.solve_triangular(factor, identity, lower=True)
        precision = jnp.swapaxes(inverse, -1, -2) @ inverse
        both = jnp.einsum("...ik,...jl->...ijkl", precision, precision)
        of_scale = 0.25 * self._df()[..., None, None, None, None] * (both + jnp.swapaxes(both, -1, -2))
        of_df = 0.25 * jnp.sum(polygamma(1, self._rows()[0]), axis=-1)[..., None, None]
        mixed = 0.5 * precision.reshape(*self.batch_shape, 1, size * size)
        of_scale = of_scale.reshape(*self.batch_shape, size * size, size * size)
        above = jnp.concatenate([of_df, mixed], axis=-1)
        below = jnp.concatenate([jnp.swapaxes(mixed, -1, -2), of_scale], axis=-1)
        return jnp.concatenate([above, below], axis=-2)
