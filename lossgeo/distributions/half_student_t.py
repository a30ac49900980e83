"""The half-t distribution: a weak prior for a scale."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import bounded_tails, matrix, positive_part, promote
from lossgeo.distributions.half import Half
from lossgeo.distributions.quantile import continuous_quantile
from lossgeo.distributions.student_t import StudentT, log_t_tails


@pytree
class HalfStudentT(Half):
    r"""Distribution of the absolute value of a Student's t variable located at 0.

    Its density on the positive reals is twice that of :class:`StudentT`. ``df = 1`` is ``HalfCauchy`` and ``df = inf``
    is ``HalfNormal``.

    Args:
        df: degrees of freedom :math:`\nu > 0`.
        scale: :math:`\sigma > 0`.

    Numerics:
        As in :class:`StudentT`; at 0, the edge of the support, ``log_prob`` is the limit from inside.
    """

    df: ArrayLike
    scale: ArrayLike = 1.0

    def _whole(self) -> StudentT:
        return StudentT(self.df, 0.0, self.scale)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, df, scale = promote(y, self.df, self.scale)
        return bounded_tails(y, *log_t_tails(positive_part(y)[1] / scale, df), 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, df, scale = promote(q, self.df, self.scale)
        return continuous_quantile(HalfStudentT(df), q, jnp.exp, 0, jnp.inf) * scale

    @property
    def mean(self) -> jax.Array:
        r""":math:`\frac{2\nu}{\nu - 1}\sigma\,p_\nu(0)` of the density at 0; infinite for :math:`\nu \le 1`."""
        df, scale = promote(self.df, self.scale)
        peak = jnp.exp(StudentT(df).log_prob(0.0))
        finite = df > 1
        ratio = 2 / (1 - 1 / jnp.where(finite, df, 2))
        return jnp.broadcast_to(jnp.where(finite, ratio * scale * peak, jnp.inf), self.batch_shape)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\frac{\nu}{\nu - 2}\sigma^2 - \text{mean}^2`, infinite for :math:`1 < \nu \le 2`."""
        second, mean = self._whole().variance, self.mean
        finite = jnp.isfinite(second)
        return jnp.where(finite, second - jnp.square(jnp.where(finite, mean, 0)), second)

    def fisher_information(self) -> jax.Array:
        """That of :class:`StudentT` without the location, for ``(df, scale)``."""
        whole = self._whole().fisher_information()
        return matrix([whole[..., 0, 0], whole[..., 0, 2]], [whole[..., 2, 0], whole[..., 2, 2]])
