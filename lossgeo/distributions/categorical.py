"""The categorical distribution: softmax cross-entropy as a log-probability."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, one_of, restrict
from lossgeo.distributions.quantile import discrete_quantile


@pytree
class Categorical(Distribution):
    r"""Categorical distribution of a class id 0, …, K - 1.

    .. math:: \log p(y) = \log p_y = z_y - \log\sum_k e^{z_k}

    With ``logits`` linear in the parameters it is softmax regression. Give exactly one of the two arguments. A draw is
    a scalar class id: the *last* axis of the hyper-parameter runs over the classes, the others are batch axes.

    Args:
        probs: probabilities, shape ``(*batch, K)``, non-negative and summing to 1 over the last axis (not checked).
        logits: unnormalised log-probabilities :math:`z`, shape ``(*batch, K)`` (keyword only); ``-inf`` masks a class.
            Adding a constant to a row changes nothing.

    Numerics:
        Through ``logits`` see :func:`lossgeo.numerics.softmax_cross_entropy`: nothing cancels in the value, the
        gradient or the Hessian. Prefer them.
    """

    probs: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    def _parameter(self) -> jax.Array:
        """Whichever hyper-parameter was given, as a floating array."""
        one_of(self, probs=self.probs, logits=self.logits)
        given = self.probs if self.logits is None else self.logits
        array = jnp.asarray(given, jnp.result_type(float, given))
        if array.ndim == 0:
            raise ValueError("Categorical needs probs or logits of shape (*batch, K); it was given a scalar.")
        return array

    def _all_probs(self) -> jax.Array:
        """Probabilities of the classes, shape ``(*batch, K)``."""
        return self._parameter() if self.logits is None else numerics.softmax(self._parameter())

    @property
    def num_classes(self) -> int:
        """The number K of classes."""
        return self._parameter().shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the hyper-parameter less the axis of classes."""
        return self._parameter().shape[:-1]

    @property
    def support(self) -> supports.Support:
        """The class ids 0, …, K - 1."""
        return supports.integers_up_to(self.num_classes - 1)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` holds class ids of any dtype, shape ``(*batch,)``."""
        parameter, y = self._parameter(), jnp.asarray(y)
        inside = self.support.contains(y)
        shape = jnp.broadcast_shapes(y.shape, self.batch_shape)
        labels = jnp.broadcast_to(jnp.where(inside, y, 0).astype(int), shape)
        parameter = jnp.broadcast_to(parameter, (*shape, parameter.shape[-1]))
        if self.logits is not None:
            value = -numerics.softmax_cross_entropy(parameter, labels)
        else:
            value = jnp.log(jnp.take_along_axis(parameter, labels[..., None], axis=-1)[..., 0])
        return restrict(value, jnp.broadcast_to(inside, shape), jnp.broadcast_to(y, shape))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        parameter = self._parameter()
        logits = jnp.log(parameter) if self.logits is None else parameter
        return jax.random.categorical(key, logits, axis=-1, shape=(*shape, *self.batch_shape))

    @property
    def mean(self) -> jax.Array:
        r"""Mean class id :math:`\sum_k k\,p_k`; of use only when the classes are ordered."""
        return jnp.sum(self._all_probs() * self._ids(), axis=-1)

    @property
    def variance(self) -> jax.Array:
        r"""Variance of the class id, :math:`\sum_k (k - \text{mean})^2 p_k`."""
        return jnp.sum(self._all_probs() * jnp.square(self._ids() - self.mean[..., None]), axis=-1)

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_k p_k \log p_k`."""
        if self.logits is None:
            return jnp.sum(jax.scipy.special.entr(self._parameter()), axis=-1)
        return numerics.softmax_cross_entropy_with_probs(self._parameter(), self._all_probs())

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(p) - pp^\top` for ``logits``; :math:`\operatorname{diag}(1/p)` for ``probs``.

        The latter is that of the entries of ``probs`` taken as free; restrict it to directions that sum to 0.
        """
        p = self._all_probs()
        identity = jnp.eye(p.shape[-1], dtype=p.dtype).reshape((1,) * (p.ndim - 1) + (p.shape[-1],) * 2)
        if self.logits is None:
            return identity / p[..., None, :]
        return jax.vmap(jax.jacfwd(numerics.softmax))(self._parameter().reshape(-1, p.shape[-1])).reshape(
            (*p.shape, p.shape[-1])
        )

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """From the log-odds of the classes up to ``y`` against those above it."""
        parameter, y = self._parameter(), jnp.asarray(y)
        logits = jnp.log(parameter) if self.logits is None else parameter
        shape = jnp.broadcast_shapes(y.shape, self.batch_shape)
        y = jnp.broadcast_to(y, shape).astype(parameter.dtype)
        last = self.num_classes - 1
        label = jnp.where((y >= 0) & (y < last), jnp.floor(y), 0)[..., None]
        ids = jnp.arange(last + 1, dtype=parameter.dtype).reshape((1,) * len(shape) + (-1,))
        logits, lower = jnp.broadcast_arrays(jnp.broadcast_to(logits, (*shape, last + 1)), ids <= label)
        odds = _log_sum(logits, lower) - _log_sum(logits, ~lower)
        return bounded_tails(y, -numerics.softplus(-odds), -numerics.softplus(odds), 0, last, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q, self.num_classes - 1)

    def _ids(self) -> jax.Array:
        """The class ids as floats, of the rank of the hyper-parameter."""
        parameter = self._parameter()
        return jnp.arange(parameter.shape[-1], dtype=parameter.dtype).reshape((1,) * (parameter.ndim - 1) + (-1,))


def _log_sum(logits: jax.Array, chosen: jax.Array) -> jax.Array:
    """Logarithm of the sum of the exponentials of the chosen entries of the last axis; -inf where all are -inf."""
    peak = jax.lax.stop_gradient(jnp.max(jnp.where(chosen, logits, -jnp.inf), axis=-1, keepdims=True))
    empty = peak == -jnp.inf
    peak = jnp.where(empty, 0, peak)
    total = jnp.sum(jnp.where(chosen, jnp.exp(jnp.where(chosen, logits, peak) - peak), 0), axis=-1)
    empty, peak = empty[..., 0], peak[..., 0]
    return jnp.where(empty, -jnp.inf, peak + jnp.log(jnp.where(empty, 1, total)))
