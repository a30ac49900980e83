"""The Pareto distribution: what is left above a threshold of a power law."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, promote, restrict, sample_shape


@pytree
class Pareto(Distribution):
    r"""Pareto distribution (of the first kind) above a threshold.

    .. math:: \log P(Y > y) = -\alpha\log(y/m), \qquad \log p(y) = \log\alpha + \alpha\log m - (\alpha + 1)\log y,
        \qquad y > m

    It has no Fisher information: the support moves with ``scale``.

    Args:
        scale: threshold :math:`m > 0`.
        concentration: exponent :math:`\alpha > 0` of the tail; moments from the order :math:`\alpha` on are infinite.

    Numerics:
        On the threshold, which does not belong to the support, ``log_prob`` is the limit from inside. Near it
        :math:`\log(y/m)` is taken from ``y - scale``.
    """

    scale: ArrayLike
    concentration: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The numbers greater than the threshold."""
        return supports.greater_than(self.scale)

    def _parts(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The value, ``log(y / scale)`` (of ``2 scale`` outside), and the hyper-parameters."""
        y, scale, concentration = promote(y, self.scale, self.concentration)
        excess = (jnp.where((y >= scale) & (y < jnp.inf), y, 2 * scale) - scale) / scale
        return y, jnp.log1p(excess), scale, concentration

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, log_ratio, scale, concentration = self._parts(y)
        value = jnp.log(concentration) - jnp.log(scale) - (concentration + 1) * log_ratio
        return restrict(value, (y >= scale) & (y < jnp.inf), y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, log_ratio, scale, concentration = self._parts(y)
        below = numerics.log1mexp(concentration * jnp.where(y > scale, log_ratio, 1))
        return bounded_tails(y, below, -concentration * log_ratio, scale, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, scale, concentration = promote(q, self.scale, self.concentration)
        return scale * jnp.exp(-jnp.log1p(-q) / concentration)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        dtype = jnp.result_type(self.scale, self.concentration, float)
        draw = jax.random.exponential(key, sample_shape(self, shape), dtype)
        draw, scale, concentration = promote(draw, self.scale, self.concentration)
        return scale + scale * jnp.expm1(draw / concentration)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\frac{\alpha m}{\alpha - 1}`, infinite for :math:`\alpha \le 1`."""
        scale, concentration = promote(self.scale, self.concentration)
        exists = concentration > 1
        safe = jnp.where(exists, concentration, 2)
        return jnp.where(exists, scale * (safe / (safe - 1)), jnp.inf)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\frac{\alpha m^2}{(\alpha - 1)^2(\alpha - 2)}`, infinite for :math:`1 < \alpha \le 2`."""
        scale, concentration = promote(self.scale, self.concentration)
        exists = concentration > 2
        safe = jnp.where(exists, concentration, 3)
        finite = jnp.square(scale / (safe - 1)) * (safe / (safe - 2))
        return jnp.where(exists, finite, jnp.where(concentration > 1, jnp.inf, jnp.nan))

    def entropy(self) -> jax.Array:
        r""":math:`\log\frac m\alpha + \frac1\alpha + 1`."""
        scale, concentration = promote(self.scale, self.concentration)
        return jnp.log(scale) - jnp.log(concentration) + 1 / concentration + 1
