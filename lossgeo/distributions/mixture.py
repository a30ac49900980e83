"""Mixtures: which component a draw comes from is not observed."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.bisection import bisected_quantile
from lossgeo.distributions.composition import (
    batch_shape_of,
    both_tails,
    draw_batch,
    ends,
    is_discrete,
    observed,
    ranks,
    require_tails,
    union,
)
from lossgeo.distributions.distribution import Distribution, one_of, promote
from lossgeo.distributions.foreign import event_ndim_of, support_of


@pytree
class Mixture(Distribution):
    r"""Finite mixture of K components.

    .. math:: \log p(y) = \log\sum_{k=1}^K w_k\,p_k(y)

    The components are either a tuple of K distributions, or one distribution whose last batch axis runs over them:
    ``Mixture(weights, Normal(loc, scale))`` with ``loc`` of shape ``(*batch, K)``. All must be densities, or all mass
    functions, over events of one shape. The likelihood does not change when components are exchanged: keep them
    apart with an ordered parameter (``supports.ordered``).

    Args:
        weights: probabilities :math:`w_k`, shape ``(*batch, K)``, non-negative and summing to 1 (not checked; a
            parameter on ``supports.simplex`` does).
        components: the distributions, ours or another library's.
        logits: unnormalised logarithms of the weights, in place of ``weights`` (keyword only).

    Raises:
        ValueError: at the first use, if the number of weights is not that of the components.

    Numerics:
        Finite, with finite gradients, where every density underflows. The derivative in a weight is right at 0.
    """

    weights: ArrayLike | None = None
    components: Any = ()
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    def _members(self) -> tuple[Any, ...]:
        """The components that are given one by one."""
        return tuple(self.components) if isinstance(self.components, (tuple, list)) else ()

    @property
    def _parameter(self) -> jax.Array:
        """The weights or the logits, shape ``(*batch, K)``."""
        one_of(self, weights=self.weights, logits=self.logits)
        given = self.weights if self.logits is None else self.logits
        parameter = jnp.asarray(given, jnp.result_type(float, given))
        members = self._members()
        shape = (len(members),) if members else batch_shape_of(self.components)[-1:]
        if parameter.ndim == 0 or parameter.shape[-1:] != shape:
            raise ValueError(
                f"Mixture has weights of shape {parameter.shape} for {shape[0] if shape else 'no axis of'} components: "
                "the last axis of the weights, and that of a single batched distribution, runs over the components."
            )
        return parameter

    @property
    def event_ndim(self) -> int:  # type: ignore[override]
        """That of the components."""
        members = self._members()
        return event_ndim_of(members[0] if members else self.components)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """That of the components."""
        members = self._members()
        return tuple((members[0] if members else self.components).event_shape)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the batches of weights and components broadcast to, less the axis of components."""
        members = self._members()
        shapes = [batch_shape_of(m) for m in members] if members else [batch_shape_of(self.components)[:-1]]
        return jnp.broadcast_shapes(self._parameter.shape[:-1], *shapes)

    @property
    def support(self) -> supports.Support:
        """The union of the supports of the components, or the smallest of our supports that holds it."""
        members = self._members()
        if not members:
            return union([support_of(self.components)], axis=-1)
        return union([support_of(m) for m in members])

    def _each(self, name: str, *args: ArrayLike) -> jax.Array:
        """A method or attribute of all components, on a new axis behind the batch (and before the event of moments)."""
        members = self._members()
        if members:
            values = [_get(m, name, *args) for m in members]
            axis = -1 if args or name == "log_prob" else -1 - self.event_ndim
            return jnp.stack(jnp.broadcast_arrays(*promote(*values)), axis=axis)
        ndim = self.event_ndim if name == "log_prob" else 0
        return _get(self.components, name, *(jnp.expand_dims(arg, jnp.ndim(arg) - ndim) for arg in args))

    def _mix(self, values: jax.Array) -> jax.Array:
        """Logarithm of the weighted sum of exponentials of what each component says, on the last axis."""
        if self.logits is None:
            values, weights = promote(values, self._parameter)
            return numerics.log_mixture(*jnp.broadcast_arrays(values, weights))
        values, log_weights = promote(values, jax.nn.log_softmax(self._parameter, axis=-1))
        return numerics.log_mixture(values + log_weights)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        if len({is_discrete(m) for m in self._members()}) > 1:
            raise ValueError("a Mixture of densities and mass functions has no density. For a mass at 0 use Hurdle.")
        y = observed(self, y)
        axes = tuple(range(-self.event_ndim, 0))
        infinite, undefined = jnp.any(jnp.isinf(y), axis=axes), jnp.any(jnp.isnan(y), axis=axes)
        value = self._mix(self._each("log_prob", jnp.where(jnp.isinf(y), 0, y)))  # far out derivatives are infinite
        value, infinite, undefined = ranks(value, infinite, undefined)
        return jnp.where(undefined, jnp.nan, jnp.where(infinite, -jnp.inf, value))

    def posterior(self, y: ArrayLike) -> jax.Array:
        r"""Probability that each component is the origin of ``y`` (responsibilities), shape ``(*batch, K)``."""
        log_weights = jnp.log(self._parameter) if self.logits is None else self._parameter
        return numerics.softmax(jnp.add(*promote(self._each("log_prob", y), log_weights)))

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        self._require_tails()
        y = observed(self, y)
        below, above = self._each("log_cdf", y), self._each("log_survival", y)
        low, high = both_tails(self._mix(below), self._mix(above))
        # The weights sum to 1, up to rounding.
        sure, never, low, high = ranks(jnp.all(below == 0, axis=-1), jnp.all(above == 0, axis=-1), low, high)
        return jnp.where(sure, 0.0, low), jnp.where(never, 0.0, high)

    def _require_tails(self) -> None:
        for member in self._members() or (self.components,):
            require_tails(self, member)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`; by bisection of the distribution functions."""
        self._require_tails()
        (q,) = promote(q)
        q = jnp.broadcast_to(q, jnp.broadcast_shapes(q.shape, self.batch_shape))
        discrete = is_discrete((self._members() or (self.components,))[0])
        low, high = ends(self.support)
        y = bisected_quantile(self, jnp.log(q), jnp.log1p(-q), discrete=discrete)
        y, low, high = promote(y, -jnp.inf if low is None else low, jnp.inf if high is None else high)
        return jnp.clip(y, low, high)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        parameter = self._parameter
        logits = jnp.log(parameter) if self.logits is None else parameter
        batch, event = self.batch_shape, self.event_ndim
        which_key, *keys = jax.random.split(key, 1 + max(1, len(self._members())))
        which = jax.random.categorical(which_key, logits, axis=-1, shape=(*shape, *batch))
        members = self._members()
        if members:
            draws = [draw_batch(m, k, shape, batch) for k, m in zip(keys, members, strict=True)]
            draw = jnp.stack(draws, axis=draws[0].ndim - event)
        else:
            draw = draw_batch(self.components, keys[0], shape, (*batch, parameter.shape[-1]))
        index = which.reshape(*which.shape, *(1,) * (event + 1))
        return jnp.take_along_axis(draw, index, axis=draw.ndim - event - 1).squeeze(draw.ndim - event - 1)

    def _moments(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Weights, means and variances of the components, on axis ``-1 - event_ndim``."""
        weights = self._parameter if self.logits is None else numerics.softmax(self._parameter)
        weights = weights.reshape(*weights.shape, *(1,) * self.event_ndim)
        weights, mean, variance = promote(weights, self._each("mean"), self._each("variance"))
        return weights, mean, variance

    @property
    def mean(self) -> jax.Array:
        r""":math:`\sum_k w_k \mu_k`."""
        weights, mean, _ = self._moments()
        return jnp.sum(weights * mean, axis=-1 - self.event_ndim)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sum_k w_k\,[\sigma_k^2 + (\mu_k - \mu)^2]`."""
        weights, mean, variance = self._moments()
        axis = -1 - self.event_ndim
        center = jnp.sum(weights * mean, axis=axis, keepdims=True)
        return jnp.sum(weights * (variance + jnp.square(mean - center)), axis=axis)


def _get(distribution: Any, name: str, *args: ArrayLike) -> jax.Array:
    """A method called with arguments, or a moment: an attribute, in some libraries a method without arguments."""
    found = getattr(distribution, name)
    return found(*args) if callable(found) else found
