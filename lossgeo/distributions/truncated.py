"""Truncation: draws outside an interval never reach the data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.bisection import bisected_quantile, count_quantile
from lossgeo.distributions.composition import (
    batch_shape_of,
    both_tails,
    ends,
    is_discrete,
    log_interval,
    observed,
    ranks,
    require_tails,
)
from lossgeo.distributions.distribution import Distribution, lacks, promote, restrict, sample_shape
from lossgeo.distributions.foreign import support_of
from lossgeo.distributions.quadrature import quantile_rule, settled_sum


@pytree
class Truncated(Distribution):
    r"""A scalar distribution given that the draw lies in ``[low, high]``.

    .. math:: \log p(y) = \log f(y) - \log P(\text{low} \le Y \le \text{high}), \qquad \text{low} \le y \le \text{high}

    Both ends belong to the set, which matters for counts: ``Truncated(Poisson(rate), low=1)`` is the zero-truncated
    Poisson distribution.

    Args:
        base: a scalar distribution with ``log_cdf`` and ``log_survival``, ours or another library's.
        low: lower end; ``None`` for none.
        high: upper end, above ``low``; ``None`` for none.

    Raises:
        NotImplementedError: at the first use, if the base lacks what is needed; at the moments, if it is discrete.

    Numerics:
        Finite, with finite gradients, far out in a tail, where the probability of the interval underflows. An interval
        of probability 0 has no density: NaN. Moments of a continuous base are integrals of the quantile function
        (tanh-sinh rule, some 1e-12; less where a tail is nearly too heavy); where a moment of the base is infinite and
        the truncation leaves an infinite end, so is it here.
    """

    base: Any
    low: ArrayLike | None = None
    high: ArrayLike | None = None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shapes of the base and of the ends broadcast to."""
        shapes = [jnp.shape(end) for end in (self.low, self.high) if end is not None]
        return jnp.broadcast_shapes(batch_shape_of(self.base), *shapes)

    @property
    def support(self) -> supports.Support:
        """The part of the support of the base between the ends, as an open set if the base is continuous."""
        low, high = self._ends()
        if is_discrete(self.base):
            return supports.Integers(-jnp.inf if low is None else low, jnp.inf if high is None else high)
        if low is None:
            return supports.real if high is None else supports.less_than(high)
        if high is not None:
            return supports.interval(low, high)
        return support_of(self.base) if self.low is None else supports.greater_than(low)

    def _ends(self) -> tuple[jax.Array | None, jax.Array | None]:
        """The ends of the support of the result; ``None`` for infinite ones, rounded inwards for counts."""
        first, last = ends(support_of(self.base))
        low = _inner(jnp.maximum, self.low, first)
        high = _inner(jnp.minimum, self.high, last)
        if is_discrete(self.base):
            return None if low is None else jnp.ceil(low), None if high is None else jnp.floor(high)
        return low, high

    def _log_mass(self, y: ArrayLike | None = None, side: str = "both") -> jax.Array:
        """Log-probability under the base of the interval, or of its part up to or above ``y``, with ``y`` inside."""
        low = self.low if side != "above" else y
        high = self.high if side != "below" else y
        if low is not None and side != "above" and is_discrete(self.base):
            low = jnp.ceil(promote(low)[0]) - 1  # the base counts what is above it
        if low is None:
            return jnp.zeros(()) if high is None else self.base.log_cdf(high)
        return self.base.log_survival(low) if high is None else log_interval(self.base, low, high)

    def _inside(self, y: jax.Array) -> jax.Array:
        """Whether values lie between the ends that were given."""
        inside = ~jnp.isnan(y)
        if self.low is not None:
            y, low = promote(y, self.low)
            inside = inside & (y >= low)
        if self.high is not None:
            y, high = promote(y, self.high)
            inside = inside & (y <= high)
        return inside

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        require_tails(self, self.base)
        y = observed(self, y)
        # Outside the ends the base is evaluated at the nearer one: its derivatives may overflow far out.
        low, high = -jnp.inf if self.low is None else self.low, jnp.inf if self.high is None else self.high
        value = self.base.log_prob(jnp.clip(*promote(y, low, high)))
        y, value, log_mass = promote(y, value, self._log_mass())
        known = log_mass > -jnp.inf
        value = jnp.where(known, value - jnp.where(known, log_mass, 0), jnp.nan)
        return restrict(value, self._inside(y), y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Log-probabilities of both sides of ``y``, inside and outside the interval."""
        require_tails(self, self.base)
        y = observed(self, y)
        least, most = -jnp.inf if self.low is None else self.low, jnp.inf if self.high is None else self.high
        y, least, most = promote(y, least, most)
        before, after, undefined = y < least, y >= most, jnp.isnan(y)
        inside = jnp.clip(y, least, most)
        below, above, log_mass = promote(
            self._log_mass(inside, "below"), self._log_mass(inside, "above"), self._log_mass()
        )
        below, above, before, after, undefined = ranks(
            *both_tails(below - log_mass, above - log_mass), before, after, undefined
        )
        below = jnp.where(before, -jnp.inf, jnp.where(after, 0.0, below))
        above = jnp.where(before, 0.0, jnp.where(after, -jnp.inf, above))
        return jnp.where(undefined, jnp.nan, below), jnp.where(undefined, jnp.nan, above)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`; by bisection of the distribution functions."""
        require_tails(self, self.base)
        (q,) = promote(q)
        return self._quantile(jnp.log(q), jnp.log1p(-q))

    def _quantile(self, log_below: jax.Array, log_above: jax.Array) -> jax.Array:
        shape = jnp.broadcast_shapes(log_below.shape, self.batch_shape)
        below, above = jnp.broadcast_to(log_below, shape), jnp.broadcast_to(log_above, shape)
        low, high = self._ends()
        if is_discrete(self.base) and low is not None:
            return self._count(below, above, low, high)
        y = bisected_quantile(self, below, above, discrete=is_discrete(self.base))
        y, low, high = promote(y, -jnp.inf if low is None else low, jnp.inf if high is None else high)
        return jnp.clip(y, low, high)

    def _count(self, log_below: jax.Array, log_above: jax.Array, low: jax.Array, high: jax.Array | None) -> jax.Array:
        """Quantile of a count, as one of the base: the mass before and behind the interval is added to the levels."""
        log_below, log_above, log_mass = promote(log_below, log_above, self._log_mass())
        log_below, log_above = log_below + log_mass, log_above + log_mass
        before, behind = self.base.log_cdf(low - 1), -jnp.inf if high is None else self.base.log_survival(high)
        log_below, log_above, before, behind, low = promote(log_below, log_above, before, behind, low)
        log_below, log_above = jnp.logaddexp(log_below, before), jnp.logaddexp(log_above, behind)
        y = count_quantile(self.base, log_below, log_above, low, None if high is None else promote(log_below, high)[1])
        return jnp.where(jnp.isfinite(log_mass), y, jnp.nan)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; the quantile of a uniform draw, right however far out the interval is."""
        require_tails(self, self.base)
        log_above = -jax.random.exponential(
            key, sample_shape(self, shape), jnp.result_type(float, *jax.tree.leaves(self))
        )
        draw = self._quantile(numerics.log1mexp(-log_above), log_above)
        return draw.astype(int) if is_discrete(self.base) else draw

    @property
    def mean(self) -> jax.Array:
        """Expectation, by quadrature."""
        low, high = self._ends()
        # Where the mean of the base is infinite or does not exist, that of one tail is infinite.
        limit = -jnp.inf if low is None and high is not None else jnp.inf if low is not None else jnp.nan
        return self._moment(self._expectations()[0], self.base.mean, limit)

    @property
    def variance(self) -> jax.Array:
        """Variance, by quadrature."""
        return self._moment(self._expectations()[1], self.base.variance, jnp.inf)

    def _expectations(self) -> tuple[jax.Array, jax.Array]:
        """Mean and variance as integrals of the quantile function."""
        require_tails(self, self.base)
        if is_discrete(self.base):
            raise lacks(self, "closed-form moments of a discrete base")
        y, weights = self._rule()
        mean = jnp.sum(weights * y, axis=0, keepdims=True)
        return mean[0], jnp.sum(weights * jnp.square(y - mean), axis=0)

    def _rule(self) -> tuple[jax.Array, jax.Array]:
        return quantile_rule(self._quantile, self.batch_shape, jnp.result_type(float, *jax.tree.leaves(self)))

    def entropy(self) -> jax.Array:
        """Of a continuous base, by quadrature."""
        require_tails(self, self.base)
        if is_discrete(self.base):
            raise lacks(self, "closed-form entropy of a discrete base")
        y, weights = self._rule()
        return settled_sum(-weights * self.log_prob(y))

    def _moment(self, value: jax.Array, of_base: ArrayLike, limit: float) -> jax.Array:
        """A moment; ``limit`` if an end is left open and the moment of the base is not finite."""
        if None not in self._ends():
            return value
        value, base = promote(value, of_base)
        return jnp.where(jnp.isfinite(base), value, limit)


def _inner(choose: Callable[..., jax.Array], *found: ArrayLike | None) -> jax.Array | None:
    """The inner one of two ends, either of which may be missing."""
    there = [end for end in found if end is not None]
    return choose(*promote(*there)) if len(there) == 2 else jnp.asarray(there[0]) if there else None
