"""Ordered classes: a latent variable seen through cut-points."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, bounded_tails, promote, restrict
from lossgeo.distributions.quantile import discrete_quantile


class Ordered(Distribution):
    r"""Distribution of the interval between cut-points into which a latent variable falls.

    .. math:: P(Y \le k) = F(c_k - \eta), \qquad k = 0, \dots, K - 2

    The *last* axis of the cut-points runs over the K - 1 of them; the others, and those of ``eta``, are batch axes.
    """

    eta: ArrayLike
    cutpoints: ArrayLike

    def _log_cdf(self, z: jax.Array) -> jax.Array:
        """Logarithm of the latent distribution function, which is symmetric about 0."""
        raise NotImplementedError

    def _log_between(self, low: jax.Array, high: jax.Array) -> jax.Array:
        """Logarithm of the latent probability between two numbers."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        """The number K of classes."""
        return jnp.shape(self.cutpoints)[-1] + 1

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of ``eta`` broadcast with the cut-points less their last axis."""
        return jnp.broadcast_shapes(jnp.shape(self.eta), jnp.shape(self.cutpoints)[:-1])

    @property
    def support(self) -> supports.Support:
        """The class ids 0, …, K - 1."""
        return supports.integers_up_to(self.num_classes - 1)

    def _differences(self, eta: jax.Array) -> jax.Array:
        """Cut-points less the latent mean, shape ``(*eta.shape, K - 1)``."""
        eta, cutpoints = jnp.broadcast_arrays(*promote(eta[..., None], self.cutpoints))
        return cutpoints - eta

    def _log_probs(self) -> jax.Array:
        """Log-probabilities of all classes, shape ``(*batch, K)``."""
        eta = jnp.asarray(self.eta, jnp.result_type(float, self.eta, self.cutpoints))
        c = self._differences(jnp.broadcast_to(eta, self.batch_shape))
        inner = self._log_between(c[..., :-1], c[..., 1:])
        return jnp.concatenate([self._log_cdf(c[..., :1]), inner, self._log_cdf(-c[..., -1:])], axis=-1)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` holds class ids of any dtype, shape ``(*batch,)``."""
        log_probs, y = self._log_probs(), jnp.asarray(y)
        inside = self.support.contains(y)
        shape = jnp.broadcast_shapes(y.shape, self.batch_shape)
        labels = jnp.broadcast_to(jnp.where(inside, y, 0).astype(int), shape)
        log_probs = jnp.broadcast_to(log_probs, (*shape, log_probs.shape[-1]))
        value = jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
        return restrict(value, jnp.broadcast_to(inside, shape), jnp.broadcast_to(y, shape))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        return jax.random.categorical(key, self._log_probs(), axis=-1, shape=(*shape, *self.batch_shape))

    def _moment(self, center: jax.Array, order: int) -> jax.Array:
        probs = jnp.exp(self._log_probs())
        ids = jnp.arange(self.num_classes, dtype=probs.dtype).reshape((1,) * (probs.ndim - 1) + (-1,))
        return jnp.sum(probs * (ids - center[..., None]) ** order, axis=-1)

    @property
    def mean(self) -> jax.Array:
        """Mean class id."""
        return self._moment(jnp.zeros(self.batch_shape, jnp.result_type(float, self.eta, self.cutpoints)), 1)

    @property
    def variance(self) -> jax.Array:
        """Variance of the class id."""
        return self._moment(self.mean, 2)

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_k p_k \log p_k`."""
        log_probs = self._log_probs()
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Latent tails at the cut-point above the class."""
        eta = jnp.asarray(self.eta, jnp.result_type(float, self.eta, self.cutpoints))
        y = jnp.asarray(y)
        shape = jnp.broadcast_shapes(y.shape, self.batch_shape)
        y = jnp.broadcast_to(y, shape).astype(eta.dtype)
        last = self.num_classes - 1
        inside = (y >= 0) & (y < last)
        label = jnp.where(inside, jnp.floor(y), 0).astype(int)
        cuts = self._differences(jnp.broadcast_to(eta, self.batch_shape))
        cuts = jnp.broadcast_to(cuts, (*shape, last))
        z = jnp.take_along_axis(cuts, label[..., None], axis=-1)[..., 0]
        return bounded_tails(y, self._log_cdf(z), self._log_cdf(-z), 0, last, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q, self.num_classes - 1)

    def fisher_information(self) -> jax.Array:
        r""":math:`\sum_k p_k s_k s_k^\top` with the scores :math:`s_k = \nabla\log p_k`, of ``(eta, cutpoints)``.

        Row 0 is that of ``eta``, the others those of the cut-points. Adding one number to all of them changes nothing,
        so that it is singular.
        """
        dtype = jnp.result_type(float, self.eta, self.cutpoints)
        k = self.num_classes
        eta = jnp.broadcast_to(jnp.asarray(self.eta, dtype), self.batch_shape)
        cuts = jnp.broadcast_to(jnp.asarray(self.cutpoints, dtype), (*self.batch_shape, k - 1))

        def information(theta: jax.Array) -> jax.Array:
            log_probs = lambda t: type(self)(t[0], t[1:])._log_probs()  # type: ignore[call-arg]  # noqa: E731
            score = jax.jacfwd(log_probs)(theta)
            return jnp.einsum("k,ki,kj->ij", jnp.exp(log_probs(theta)), score, score)

        theta = jnp.concatenate([eta[..., None], cuts], axis=-1)
        return jax.vmap(information)(theta.reshape(-1, k)).reshape((*self.batch_shape, k, k))


@pytree
class OrderedLogistic(Ordered):
    r"""Ordered classes of a logistic latent variable: proportional odds.

    .. math:: \operatorname{logit} P(Y \le k) = c_k - \eta

    Args:
        eta: linear predictor :math:`\eta`, any real, shape ``(*batch,)``.
        cutpoints: strictly increasing, shape ``(K - 1,)`` or ``(*batch, K - 1)`` (``supports.ordered``).

    Numerics:
        The probability between two cut-points is :math:`\sigma(b)\,\sigma(-a)\,(1 - e^{a - b})`:
        nothing cancels far out.

    Reference: McCullagh (1980), Regression models for ordinal data, JRSS B 42.
    """

    eta: ArrayLike
    cutpoints: ArrayLike

    def _log_cdf(self, z: jax.Array) -> jax.Array:
        return -numerics.softplus(-z)

    def _log_between(self, low: jax.Array, high: jax.Array) -> jax.Array:
        return -numerics.softplus(-high) - numerics.softplus(low) + numerics.log1mexp(high - low)


@pytree
class OrderedProbit(Ordered):
    r"""Ordered classes of a normal latent variable.

    .. math:: P(Y \le k) = \Phi(c_k - \eta)

    Args:
        eta: linear predictor :math:`\eta`, any real, shape ``(*batch,)``.
        cutpoints: strictly increasing, shape ``(K - 1,)`` or ``(*batch, K - 1)`` (``supports.ordered``).

    Numerics:
        An interval above 0 is reflected, so that tails and not numbers near 1 are subtracted.
    """

    eta: ArrayLike
    cutpoints: ArrayLike

    def _log_cdf(self, z: jax.Array) -> jax.Array:
        return numerics.log_ndtr(z)

    def _log_between(self, low: jax.Array, high: jax.Array) -> jax.Array:
        reflect = low > 0
        low, high = jnp.where(reflect, -high, low), jnp.where(reflect, -low, high)
        upper, lower = numerics.log_ndtr(high), numerics.log_ndtr(low)
        return upper + numerics.log1mexp(upper - lower)
