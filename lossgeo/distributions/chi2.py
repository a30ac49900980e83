"""The chi-squared distribution: sums of squares of standard normal variables."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, matrix, promote
from lossgeo.distributions.gamma import Gamma


@pytree
class Chi2(Distribution):
    r"""Chi-squared distribution on the positive reals: the reference of a likelihood-ratio statistic.

    .. math:: \log p(y) = \bigl(\tfrac\nu2 - 1\bigr)\log y - \tfrac y2 - \tfrac\nu2\log2 - \log\Gamma(\tfrac\nu2)

    ``Gamma`` of concentration :math:`\nu/2` and rate 1/2, whose numerics it has.

    Args:
        df: degrees of freedom :math:`\nu > 0`.
    """

    df: ArrayLike

    def _gamma(self) -> Gamma:
        return Gamma(0.5 * jnp.asarray(self.df), 0.5)

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        return self._gamma().log_prob(y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        return self._gamma()._log_tails(y)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return self._gamma().icdf(q)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        return self._gamma().sample(key, shape)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\nu`."""
        return promote(self.df)[0]

    @property
    def variance(self) -> jax.Array:
        r""":math:`2\nu`."""
        return 2 * promote(self.df)[0]

    def entropy(self) -> jax.Array:
        """See :meth:`Gamma.entropy`."""
        return self._gamma().entropy()

    def fisher_information(self) -> jax.Array:
        r""":math:`\tfrac14\psi'(\tfrac\nu2)`."""
        return matrix([0.25 * jax.scipy.special.polygamma(1, 0.5 * promote(self.df)[0])])
