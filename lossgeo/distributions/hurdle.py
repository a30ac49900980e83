"""The hurdle: whether there is anything at all, and if so how much."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import (
    batch_shape_of,
    both_tails,
    is_discrete,
    log_interval,
    observed,
    require_scalar,
    require_tails,
    thinned,
)
from lossgeo.distributions.distribution import Distribution, promote
from lossgeo.distributions.foreign import support_of
from lossgeo.distributions.zero_modified import ZeroModified


@pytree
class Hurdle(ZeroModified):
    r"""Exactly 0 with probability :math:`\pi`, and else a positive value of the base.

    .. math:: p(0) = \pi, \qquad p(y) = (1 - \pi)\,\frac{f(y)}{P(Y > 0)} \quad (y > 0)

    The base is a distribution of counts, which loses its own zeros, or of positive amounts (rainfall, claims). In the
    latter case the density is one with respect to the Lebesgue measure plus a point mass at 0. The two parts share no
    parameter, so that they are fitted independently.

    Args:
        base: a scalar distribution of counts, or of positive numbers; ours or another library's.
        probability: :math:`\pi` in [0, 1].
        logits: the log-odds of :math:`\pi`, in place of ``probability`` (keyword only).

    Raises:
        ValueError: at the first use, if the base has negative values.

    Numerics:
        For counts :math:`\log P(Y > 0)` is formed from :math:`\log f(0)`, right where the base is almost always 0.
    """

    base: Any
    probability: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    replaces_zeros = True

    @property
    def support(self) -> supports.Support:
        """That of the base for counts, the numbers from 0 on for amounts."""
        return support_of(self.base) if is_discrete(self.base) else supports.nonnegative

    def _check(self) -> None:
        require_scalar(self, self.base)
        positive = (supports.Positive, supports.Nonnegative, supports.GreaterThan, supports.Interval)
        if not is_discrete(self.base) and not isinstance(support_of(self.base), positive):
            raise ValueError(
                f"the base of Hurdle must be a distribution of counts or of positive numbers, but "
                f"{type(self.base).__name__} lives on {support_of(self.base).label}."
            )

    def _log_parts(self, dtype: jnp.dtype | None = None) -> tuple[jax.Array, jax.Array]:
        r""":math:`\log\pi` and the logarithm of :math:`(1 - \pi)/P(Y > 0)`."""
        self._check()
        zero, rest = self._zero()
        rest, mass = promote(rest, self._log_positive(dtype))
        return jnp.log(zero), jnp.log(rest) - mass

    def _log_positive(self, dtype: jnp.dtype | None = None) -> jax.Array:
        """Log-probability of a positive value under the base."""
        zero = jnp.zeros((), jnp.result_type(float, *jax.tree.leaves(self)) if dtype is None else dtype)
        return numerics.log1mexp(-self.base.log_prob(zero)) if is_discrete(self.base) else zero

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y = observed(self, y)
        log_zero, log_scale = self._log_parts(y.dtype)
        value = self.base.log_prob(jnp.where(y == 0, 1, y))
        y, value, log_zero, log_scale = promote(y, value, log_zero, log_scale)
        return jnp.where(y == 0, log_zero, thinned(value, log_scale))

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        require_tails(self, self.base)
        y = observed(self, y)
        log_scale = self._log_parts(y.dtype)[1]
        y, above, part, mass, log_scale = promote(
            y,
            self.base.log_survival(jnp.maximum(y, 0)),
            log_interval(self.base, 0.0, jnp.maximum(y, 0)),
            self._log_positive(y.dtype),
            log_scale,
        )
        below = self._with_zero(jnp.minimum(part - mass, 0))
        below, above = both_tails(*promote(below, above + log_scale))
        below, above, y = promote(below, above, y)
        return jnp.where(y < 0, -jnp.inf, below), jnp.where(y < 0, 0.0, above)

    def _positive(self) -> Any:
        return _PositiveCounts(self.base) if is_discrete(self.base) else self.base

    @property
    def mean(self) -> jax.Array:
        r""":math:`(1 - \pi)\,\mu / P(Y > 0)`."""
        mean, log_scale = promote(self.base.mean, self._log_parts()[1])
        return jnp.exp(log_scale) * mean

    @property
    def variance(self) -> jax.Array:
        r""":math:`s\,[\sigma^2 + (1 - s)\mu^2]` with :math:`s = (1 - \pi)/P(Y > 0)`."""
        mean, variance, log_scale = promote(self.base.mean, self.base.variance, self._log_parts()[1])
        scale = jnp.exp(log_scale)
        return scale * (variance + (1 - scale) * jnp.square(mean))


@pytree
class _PositiveCounts(Distribution):
    """The positive draws of a distribution of counts."""

    base: Any

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of the base."""
        return batch_shape_of(self.base)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; by counting up from 1 until a uniform draw is reached."""
        at_zero, mean = promote(self.base.log_prob(0), self.base.mean)
        shape = (*shape, *self.batch_shape)
        at_zero, mean = jnp.broadcast_to(at_zero, shape), jnp.broadcast_to(mean, shape)
        uniform = jax.random.uniform(key, shape, at_zero.dtype)

        def probability(count: jax.Array) -> jax.Array:
            value = self.base.log_prob(count.astype(at_zero.dtype))
            return jnp.exp(value - numerics.log1mexp(-at_zero))

        def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            count, reached, term = state
            return (uniform > reached) & ((term > 0) | (count < mean))  # what is left in the end is rounding

        def body(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            count, reached, term = state
            going = unfinished(state)
            term = jnp.where(going, probability(count + 1), term)
            return count + going, reached + jnp.where(going, term, 0), term

        first = jnp.ones(shape, int)
        start = first, probability(first), probability(first)
        return jax.lax.while_loop(lambda state: jnp.any(unfinished(state)), body, start)[0]
