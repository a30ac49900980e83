"""The elastic net as a density: the product of a Laplace and a normal one."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    LOG_2,
    Distribution,
    Kink,
    bounded_tails,
    matrix,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.quantile import continuous_quantile
from lossgeo.distributions.rejection import rejection_sample


@pytree
class ElasticNet(Distribution):
    r"""The normalised product of a Laplace and a normal density with one location.

    .. math:: \log p(y) = -\frac{|y - \mu|}{b} - \frac{(y - \mu)^2}{2\sigma^2} - \log 2\sigma R(\sigma/b)

    with the Mills ratio :math:`R`. As a prior it is the elastic net penalty
    :math:`\|\theta\|_1/b + \|\theta\|_2^2/2\sigma^2`, with exact zeros in the mode; because it is normalised, the two
    scales can be estimated too. ``scikit-learn`` with ``n`` observations of noise variance :math:`s^2` writes
    :math:`1/b = n\,\alpha\,\rho/s^2` and :math:`1/\sigma^2 = n\,\alpha(1 - \rho)/s^2` for ``alpha`` and ``l1_ratio``
    :math:`\rho`.

    Args:
        loc: location and mode :math:`\mu`, any real.
        laplace_scale: :math:`b > 0`; ``inf`` is ``Normal``.
        normal_scale: :math:`\sigma > 0`, finite; large is ``Laplace``.

    Numerics:
        At the kink ``y == loc`` the gradient is exactly 0, the middle of the subdifferential.

    Reference: Zou, Hastie (2005), Regularization and variable selection via the elastic net, JRSS B 67; Li, Lin (2010),
    The Bayesian elastic net, Bayesian Analysis 5.
    """

    loc: ArrayLike = 0.0
    laplace_scale: ArrayLike = 1.0
    normal_scale: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The real line."""
        return supports.real

    def _ratio(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        r"""Location, :math:`\sigma` and :math:`\sigma/b`, in the shape of the batch."""
        parts = promote(self.loc, self.normal_scale, self.laplace_scale)
        loc, scale, laplace = (jnp.broadcast_to(v, self.batch_shape) for v in parts)
        return loc, scale, scale / laplace

    def _standardize(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        r"""The value, the residual in units of :math:`\sigma` and its size (0 where it is infinite), the scales."""
        y, loc, scale, laplace = promote(y, self.loc, self.normal_scale, self.laplace_scale)
        z = (jnp.where(jnp.isinf(y), loc, y) - loc) / scale
        # |z| as z sign(z), because the derivative of jnp.abs is one-sided at 0.
        return y, z, z * jnp.sign(z), scale, scale / laplace

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, z, size, scale, ratio = self._standardize(y)
        log_constant = jnp.log(scale) + jnp.log(numerics.mills_ratio(ratio)) + LOG_2
        return restrict(-ratio * size - 0.5 * z * z - log_constant, jnp.isfinite(y), y)

    def _log_outside(self, z: jax.Array, ratio: jax.Array) -> jax.Array:
        r"""Half of :math:`P(|Y - \mu| > \sigma|z|)`, as a logarithm."""
        size = jnp.where(z < 0, -z, z)
        tail = jnp.log(numerics.mills_ratio(ratio + size)) - jnp.log(numerics.mills_ratio(ratio))
        return tail - ratio * size - 0.5 * z * z - LOG_2

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, z, _, _, ratio = self._standardize(y)
        outside = self._log_outside(z, ratio)
        rest = numerics.log1mexp(-outside)
        below, above = jnp.where(z < 0, outside, rest), jnp.where(z < 0, rest, outside)
        return bounded_tails(y, below, above, -jnp.inf, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, loc, laplace, scale = promote(q, self.loc, self.laplace_scale, self.normal_scale)
        standard = ElasticNet(0.0, laplace / scale, jnp.ones_like(scale))
        return loc + scale * continuous_quantile(standard, q, jnp.sinh, -jnp.inf, jnp.inf)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; by rejection from a normal or from an exponential tail."""
        shape = sample_shape(self, shape)
        dtype = jnp.result_type(self.loc, self.laplace_scale, self.normal_scale, float)
        _, loc, scale, laplace = promote(jnp.zeros(shape, dtype), self.loc, self.normal_scale, self.laplace_scale)
        ratio = scale / laplace
        flat = ratio < 1

        def propose(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            keys = jax.random.split(key, 3)
            normal, exponential = (
                jax.random.normal(keys[0], shape, dtype),
                jax.random.exponential(keys[1], shape, dtype),
            )
            size = jnp.where(flat, jnp.abs(normal), exponential / jnp.where(flat, 1, ratio))
            kept = jax.random.exponential(keys[2], shape, dtype) >= jnp.where(flat, ratio * size, 0.5 * size * size)
            return jnp.copysign(size, normal), kept | jnp.isnan(size)

        return loc + scale * rejection_sample(key, propose)

    def _moments(self) -> tuple[jax.Array, ...]:
        r"""Location, :math:`\sigma`, :math:`\sigma/b` and four absolute moments in units of :math:`\sigma`."""
        loc, scale, ratio = self._ratio()
        total = numerics.mills_ratio(ratio)
        return loc, scale, ratio, *(numerics.mills_ratio(ratio, power=k) / total for k in (1, 2, 3, 4))

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._ratio()[0]

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2\bigl[1 + r^2 - r/R(r)\bigr]` with :math:`r = \sigma/b`, without its cancellation."""
        _, scale, _, _, second, _, _ = self._moments()
        return jnp.square(scale) * second

    def entropy(self) -> jax.Array:
        r""":math:`\log 2\sigma R(r) + E|y - \mu|/b + E(y - \mu)^2/2\sigma^2`."""
        _, scale, ratio, first, second, _, _ = self._moments()
        return jnp.log(scale) + jnp.log(numerics.mills_ratio(ratio)) + (LOG_2 + ratio * first + 0.5 * second)

    def fisher_information(self) -> jax.Array:
        r"""For ``(loc, laplace_scale, normal_scale)``, with the moments :math:`m_k` of :math:`|y - \mu|/\sigma`.

        .. math:: I_{\mu\mu} = \frac{r^2 + 2rm_1 + m_2}{\sigma^2}, \quad I_{bb} = \frac{r^4(m_2 - m_1^2)}{\sigma^2},
            \quad I_{b\sigma} = \frac{r^2(m_3 - m_1m_2)}{\sigma^2}, \quad
            I_{\sigma\sigma} = \frac{m_4 - m_2^2}{\sigma^2}
        """
        _, scale, r, first, second, third, fourth = self._moments()
        unit = 1 / jnp.square(scale)
        location = (r * r + 2 * r * first + second) * unit
        laplace = jnp.square(r * r) * (second - first * first) * unit
        mixed = r * r * (third - first * second) * unit
        normal = (fourth - second * second) * unit
        return matrix([location, 0.0, 0.0], [0.0, laplace, mixed], [0.0, mixed, normal])

    @property
    def kink(self) -> Kink:
        r"""At :math:`\mu`, of strength :math:`1/b`."""
        return Kink(center=self.loc, strength=1 / jnp.asarray(self.laplace_scale))

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Soft thresholding of :math:`v - \mu` by :math:`\text{step}/b`, over :math:`1 + \text{step}/\sigma^2`."""
        v, step, loc, laplace, scale = promote(v, step, self.loc, self.laplace_scale, self.normal_scale)
        residual = v - loc
        kept = jnp.maximum(jnp.abs(residual) - step / laplace, 0)
        return loc + jnp.sign(residual) * kept / (1 + step / jnp.square(scale))
