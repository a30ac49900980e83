"""What positive families share whose logarithm has a location and a scale."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo.distributions.distribution import Distribution, bounded_tails, positive_part, promote, restrict
from lossgeo.distributions.location_scale import LocationScale


class LogLocationScale(Distribution):
    r"""A family of :math:`y = e^x` with :math:`x` from the family that :meth:`_logarithm` returns."""

    def _logarithm(self) -> LocationScale:
        r"""Distribution of :math:`\log y`."""
        raise NotImplementedError

    @property
    def support(self) -> supports.Support:
        """The positive reals."""
        return supports.positive

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, _ = promote(y, self._logarithm().loc)
        inside, amount = positive_part(y)
        log_amount = jnp.log(amount)
        return restrict(self._logarithm().log_prob(log_amount) - log_amount, inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, _ = promote(y, self._logarithm().loc)
        return bounded_tails(y, *self._logarithm()._log_tails(jnp.log(positive_part(y)[1])), 0, jnp.inf)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return jnp.exp(self._logarithm().icdf(q))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        return jnp.exp(self._logarithm().sample(key, shape))

    def entropy(self) -> jax.Array:
        r"""The entropy of :math:`\log y` and its mean."""
        return self._logarithm().entropy() + self._logarithm().mean
