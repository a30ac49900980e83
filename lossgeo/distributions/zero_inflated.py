"""Zero inflation: counts with more zeros than their distribution has."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import (
    both_tails,
    draw_batch,
    require_counts,
    require_tails,
    thinned,
    zero_batch_shape,
    zero_probability,
    zeros,
)
from lossgeo.distributions.distribution import Distribution, promote
from lossgeo.distributions.foreign import support_of


@pytree
class ZeroInflated(Distribution):
    r"""Counts that are 0 for a reason of their own with probability :math:`\pi`, and else come from the base.

    .. math:: p(0) = \pi + (1 - \pi)\,f(0), \qquad p(y) = (1 - \pi)\,f(y) \quad (y > 0)

    Where zeros may also be rarer than under the base use :class:`Hurdle`. At the boundary :math:`\pi = 0` the model is
    the base.

    Args:
        base: a distribution of counts (scalar, discrete), ours or another library's.
        probability: :math:`\pi` in [0, 1].
        logits: the log-odds of :math:`\pi`, in place of ``probability`` (keyword only).

    Raises:
        ValueError: at the first use, if the base is not discrete.

    Numerics:
        The mass at 0 is a sum of logarithms of which either may underflow; the derivative in the probability is right
        at its ends.
    """

    base: Any
    probability: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shapes of the base and of the probability broadcast to."""
        return zero_batch_shape(self)

    @property
    def support(self) -> supports.Support:
        """That of the base."""
        return support_of(self.base)

    def _with_zero(self, value: ArrayLike) -> jax.Array:
        r""":math:`\log(\pi + (1 - \pi) e^v)`."""
        value, zero, rest = promote(value, *zero_probability(self))
        pair = jnp.stack(jnp.broadcast_arrays(jnp.zeros_like(value), value), axis=-1)
        weights = jnp.stack(jnp.broadcast_arrays(zero, rest), axis=-1)
        return numerics.log_mixture(*jnp.broadcast_arrays(*promote(pair, weights)))

    def _thinned(self, value: ArrayLike) -> jax.Array:
        r""":math:`\log(1 - \pi) + v`."""
        return thinned(value, jnp.log(zero_probability(self)[1]))

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        require_counts(self, self.base)
        value = self.base.log_prob(y)
        y, with_zero, thinned = promote(y, self._with_zero(value), self._thinned(value))
        return jnp.where(y == 0, with_zero, thinned)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        require_tails(self, self.base)
        require_counts(self, self.base)
        below, above = self._with_zero(self.base.log_cdf(y)), self._thinned(self.base.log_survival(y))
        below, above, y = promote(*both_tails(*promote(below, above)), y)
        return jnp.where(y < 0, -jnp.inf, below), jnp.where(y < 0, 0.0, above)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of the dtype of the base."""
        zero_key, key = jax.random.split(key)
        return jnp.where(zeros(self, zero_key, shape), 0, draw_batch(self.base, key, shape, self.batch_shape))

    @property
    def mean(self) -> jax.Array:
        r""":math:`(1 - \pi)\,\mu`."""
        mean, rest = promote(self.base.mean, zero_probability(self)[1])
        return rest * mean

    @property
    def variance(self) -> jax.Array:
        r""":math:`(1 - \pi)(\sigma^2 + \pi\mu^2)`."""
        mean, variance, zero, rest = promote(self.base.mean, self.base.variance, *zero_probability(self))
        return rest * (variance + zero * jnp.square(mean))
