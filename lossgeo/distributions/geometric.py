"""The geometric distribution: failures before the first success."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    Distribution,
    bounded_tails,
    matrix,
    one_of,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.quantile import discrete_quantile


@pytree
class Geometric(Distribution):
    r"""Geometric distribution of the number 0, 1, … of failures before the first success.

    .. math:: \log p(y) = y\log(1 - p) + \log p, \qquad p = \sigma(z)

    The discrete waiting time without memory. (``scipy.stats.geom`` counts the success too: it starts at 1.) Give
    exactly one of the two arguments.

    Args:
        probs: probability of success, in :math:`(0, 1]`.
        logits: log-odds :math:`z` of success, any real (keyword only).

    Numerics:
        Through ``logits`` no probability is formed: value, gradient and Hessian are accurate in both tails.
    """

    probs: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    @property
    def support(self) -> supports.Support:
        """The integers from 0 on."""
        return supports.nonnegative_integers

    def _given(self) -> ArrayLike:
        """Whichever hyper-parameter was given."""
        one_of(self, probs=self.probs, logits=self.logits)
        return self.probs if self.logits is None else self.logits  # type: ignore[return-value]

    def _minus_log_failure(self, parameter: jax.Array) -> jax.Array:
        r""":math:`-\log(1 - p)`."""
        return -jnp.log1p(-parameter) if self.logits is None else numerics.softplus(parameter)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, parameter = promote(y, self._given())
        inside = self.support.contains(y)
        count = jnp.where(inside, y, 0)
        success = jnp.log(parameter) if self.logits is None else -numerics.softplus(-parameter)
        none = count == 0  # 0 log 0 = 0
        failures = jnp.where(none, 0, count * self._minus_log_failure(jnp.where(none, 0.5, parameter)))
        return restrict(success - failures, inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, parameter = promote(y, self._given())
        count = jnp.floor(jnp.where((y >= 0) & (y < jnp.inf), y, 0))
        exponent = (count + 1) * self._minus_log_failure(parameter)  # of more failures
        return bounded_tails(y, numerics.log1mexp(exponent), -exponent, 0, jnp.inf, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        draw, parameter = promote(jax.random.exponential(key, sample_shape(self, shape)), self._given())
        return jnp.floor(draw / self._minus_log_failure(parameter)).astype(int)

    @property
    def mean(self) -> jax.Array:
        r""":math:`(1 - p)/p = e^{-z}`."""
        (parameter,) = promote(self._given())
        return (1 - parameter) / parameter if self.logits is None else jnp.exp(-parameter)

    @property
    def variance(self) -> jax.Array:
        r""":math:`(1 - p)/p^2`."""
        mean = self.mean
        return mean * (1 + mean)

    def entropy(self) -> jax.Array:
        r""":math:`-\log p - \frac{1 - p}{p}\log(1 - p)`."""
        (parameter,) = promote(self._given())
        if self.logits is None:
            return -jnp.log(parameter) - jax.scipy.special.xlog1py(1 - parameter, -parameter) / parameter
        return numerics.softplus(-parameter) + jnp.exp(-parameter) * numerics.softplus(parameter)

    def fisher_information(self) -> jax.Array:
        r""":math:`1 - p` for ``logits``, :math:`\frac{1}{p^2(1 - p)}` for ``probs``."""
        (parameter,) = promote(self._given())
        if self.logits is None:
            return matrix([1 / (jnp.square(parameter) * (1 - parameter))])
        return matrix([numerics.sigmoid(-parameter)])
