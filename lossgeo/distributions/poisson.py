"""The Poisson distribution: counts."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    Distribution,
    bounded_tails,
    matrix,
    one_of,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.quantile import discrete_quantile

_LOG_FACTORIALS = tuple(math.lgamma(count + 1) for count in range(256))
_ENTROPY = (1 / 12, 1 / 24, 19 / 360, 9 / 80, 863 / 2520, 1375 / 1008)


@pytree
class Poisson(Distribution):
    r"""Poisson distribution of a count 0, 1, and so on.

    .. math:: \log p(y) = y \log\lambda - \lambda - \log y!

    With ``log_rate`` linear in the parameters it is Poisson regression. Give exactly one of the two arguments.

    Args:
        rate: mean :math:`\lambda \ge 0`.
        log_rate: :math:`\log\lambda`, any real (keyword only).

    Numerics:
        The terms are of size :math:`y \log y`, so that the value has an absolute error of some ulp of *that*; the
        derivatives have none of it. Rate 0 is the point mass at 0.
    """

    rate: ArrayLike | None = None
    log_rate: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    @property
    def support(self) -> supports.Support:
        """The integers from 0 on."""
        return supports.nonnegative_integers

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        one_of(self, rate=self.rate, log_rate=self.log_rate)
        if self.log_rate is not None:
            y, log_rate = promote(y, self.log_rate)
            inside = self.support.contains(y)
            count = jnp.where(inside, y, 0)
            empty = (count == 0) & (log_rate == -jnp.inf)
            linear = count * jnp.where(empty, 0, log_rate) - jnp.exp(log_rate)
        else:
            assert self.rate is not None
            y, rate = promote(y, self.rate)
            inside = self.support.contains(y)
            count = jnp.where(inside, y, 0)
            empty = (count == 0) & (rate == 0)
            linear = count * jnp.log(jnp.where(empty, 1, rate)) - rate
        return restrict(linear - gammaln(count + 1), inside, y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        shape = sample_shape(self, shape)
        return jax.random.poisson(key, jnp.broadcast_to(self.mean, shape), shape)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\lambda`."""
        one_of(self, rate=self.rate, log_rate=self.log_rate)
        return jnp.asarray(self.rate) if self.log_rate is None else jnp.exp(self.log_rate)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\lambda`."""
        return self.mean

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_y p_y\log p_y`: all the terms up to a rate of 100, an asymptotic series from there on.

        .. math:: \tfrac12\log 2\pi e\lambda - \frac{1}{12\lambda} - \frac{1}{24\lambda^2}
            - \frac{19}{360\lambda^3} - \frac{9}{80\lambda^4} - \frac{863}{2520\lambda^5}
            - \frac{1375}{1008\lambda^6} - \dots

        Reference: Evans, Boersma (1988), The entropy of a Poisson distribution, SIAM Review 30.
        """
        (rate,) = promote(self.mean)
        small = rate < 100
        near, w = jnp.where(small, rate, 1)[..., None], 1 / jnp.where(small, 100, rate)
        counts = jnp.arange(256, dtype=rate.dtype).reshape((1,) * rate.ndim + (-1,))  # 15 standard deviations beyond
        log_factorials = jnp.asarray(_LOG_FACTORIALS, rate.dtype).reshape(counts.shape)
        empty = near == 0
        log_prob = counts * jnp.log(jnp.where(empty, 1, near)) - near - log_factorials
        total = -jnp.sum(jnp.where(empty, 0, jnp.exp(log_prob) * log_prob), axis=-1)
        series = jnp.zeros_like(w)
        for coefficient in reversed(_ENTROPY):
            series = (series + coefficient) * w
        return jnp.where(small, total, HALF_LOG_2PI + 0.5 - 0.5 * jnp.log(w) - series)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""With :math:`P(Y > y) = P(\Gamma_{y + 1} < \lambda)`."""
        y, rate = promote(y, self.mean)
        count = jnp.floor(jnp.where((y >= 0) & (y < jnp.inf), y, 0))
        empty = rate == 0
        above, below = numerics.log_gamma_tails(count + 1, jnp.where(empty, 1, rate))
        below, above = jnp.where(empty, 0, below), jnp.where(empty, -jnp.inf, above)
        return bounded_tails(y, below, above, 0, jnp.inf, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q)

    def fisher_information(self) -> jax.Array:
        r""":math:`\lambda` for ``log_rate``, :math:`1/\lambda` for ``rate``."""
        return matrix([1 / self.mean if self.log_rate is None else self.mean])
