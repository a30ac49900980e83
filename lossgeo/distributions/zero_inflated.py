"""Zero inflation: counts with more zeros than their distribution has."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import both_tails, require_counts, require_tails, thinned
from lossgeo.distributions.distribution import promote
from lossgeo.distributions.foreign import support_of
from lossgeo.distributions.zero_modified import ZeroModified


@pytree
class ZeroInflated(ZeroModified):
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
    def support(self) -> supports.Support:
        """That of the base."""
        return support_of(self.base)

    def _check(self) -> None:
        require_counts(self, self.base)

    def _thinned(self, value: ArrayLike) -> jax.Array:
        r""":math:`\log(1 - \pi) + v`."""
        return thinned(value, jnp.log(self._zero()[1]))

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        self._check()
        value = self.base.log_prob(y)
        y, with_zero, thinned = promote(y, self._with_zero(value), self._thinned(value))
        return jnp.where(y == 0, with_zero, thinned)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        require_tails(self, self.base)
        self._check()
        below, above = self._with_zero(self.base.log_cdf(y)), self._thinned(self.base.log_survival(y))
        below, above, y = promote(*both_tails(*promote(below, above)), y)
        return jnp.where(y < 0, -jnp.inf, below), jnp.where(y < 0, 0.0, above)

    @property
    def mean(self) -> jax.Array:
        r""":math:`(1 - \pi)\,\mu`."""
        mean, rest = promote(self.base.mean, self._zero()[1])
        return rest * mean

    @property
    def variance(self) -> jax.Array:
        r""":math:`(1 - \pi)(\sigma^2 + \pi\mu^2)`."""
        mean, variance, zero, rest = promote(self.base.mean, self.base.variance, *self._zero())
        return rest * (variance + zero * jnp.square(mean))
