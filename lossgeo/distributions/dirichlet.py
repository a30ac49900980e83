"""The Dirichlet distribution: probabilities that sum to 1."""

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln, polygamma, xlogy
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, promote


@pytree
class Dirichlet(Distribution):
    r"""Dirichlet distribution on the simplex, whose points lie on the last axis.

    .. math:: \log p(y) = \log\Gamma(\alpha_0) + \sum_k \bigl[(\alpha_k - 1)\log y_k - \log\Gamma(\alpha_k)\bigr],
        \qquad \alpha_0 = \sum_k \alpha_k

    A density with respect to the first K - 1 entries. The conjugate prior of class probabilities; with all
    :math:`\alpha_k = 1` it is uniform, below 1 its modes lie at the corners.

    Args:
        concentration: :math:`\alpha`, positive, shape ``(*batch, K)``.

    Numerics:
        An entry of 0 on the edge of the simplex gives the limit in that entry; entries that do not sum to 1, up to
        rounding, give ``-inf``.
    """

    concentration: ArrayLike

    event_ndim = 1

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(K,)``."""
        return jnp.shape(self.concentration)[-1:]

    @property
    def support(self) -> supports.Support:
        """The simplex."""
        return supports.simplex

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, K)``."""
        y, a = promote(y, self.concentration)
        if y.shape[-1:] != a.shape[-1:]:
            raise ValueError(f"y has shape {y.shape}, but concentration {a.shape}: the last axes must agree.")
        error = jnp.abs(jnp.sum(y, axis=-1) - 1)
        inside = jnp.all(y >= 0, axis=-1) & (error <= (y.shape[-1] + 4) * jnp.finfo(y.dtype).eps)
        y = jnp.where(inside[..., None], y, 0.5)
        value = jnp.sum(xlogy(a - 1, y) - gammaln(a), axis=-1) + gammaln(jnp.sum(a, axis=-1))
        return jnp.where(inside, value, jnp.where(jnp.isnan(error), jnp.nan, -jnp.inf))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; from gamma variables in logarithms, so that no entry underflows early."""
        (a,) = promote(self.concentration)
        return jax.nn.softmax(jax.random.loggamma(key, a, (*shape, *a.shape), a.dtype), axis=-1)

    def _parts(self) -> tuple[jax.Array, jax.Array]:
        (a,) = promote(self.concentration)
        return a, jnp.sum(a, axis=-1, keepdims=True)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\alpha/\alpha_0`."""
        a, total = self._parts()
        return a / total

    @property
    def variance(self) -> jax.Array:
        r""":math:`m_k (1 - m_k)/(\alpha_0 + 1)` with the mean :math:`m`."""
        a, total = self._parts()
        return a * (total - a) / jnp.square(total) / (total + 1)

    def entropy(self) -> jax.Array:
        r""":math:`\log B(\alpha) + (\alpha_0 - K)\psi(\alpha_0) - \sum_k (\alpha_k - 1)\psi(\alpha_k)`."""
        a, total = self._parts()
        value = jnp.sum(gammaln(a) - (a - 1) * (digamma(a) - digamma(total)), axis=-1)
        return value - gammaln(total[..., 0])

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(\psi'(\alpha)) - \psi'(\alpha_0)`."""
        a, total = self._parts()
        identity = jnp.eye(a.shape[-1], dtype=a.dtype).reshape((1,) * (a.ndim - 1) + (a.shape[-1],) * 2)
        return identity * polygamma(1, a)[..., None, :] - polygamma(1, total)[..., None]
