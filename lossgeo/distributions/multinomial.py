"""The multinomial distribution: how often each class was seen."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, one_of, promote
from lossgeo.distributions.lattice import concentrated_sum


@pytree
class Multinomial(Distribution):
    r"""Multinomial distribution of the counts of K classes, on the last axis.

    .. math:: \log p(y) = \log n! - \sum_k \log y_k! + \sum_k y_k \log p_k, \qquad \sum_k y_k = n

    Args:
        total_count: number :math:`n` of trials, shape ``(*batch,)``.
        probs: probabilities, shape ``(*batch, K)``, summing to 1 over the last axis (not checked).
        logits: unnormalised log-probabilities, in place of ``probs`` (keyword only); prefer them.

    Numerics:
        A class with probability 0 and count 0 contributes 0. Counts that do not sum to ``total_count`` have
        probability 0.
    """

    total_count: ArrayLike
    probs: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    event_ndim = 1

    def _parameter(self) -> jax.Array:
        one_of(self, probs=self.probs, logits=self.logits)
        given = self.probs if self.logits is None else self.logits
        array = jnp.asarray(given, jnp.result_type(float, given))
        if array.ndim == 0:
            raise ValueError("Multinomial needs probs or logits of shape (*batch, K); it was given a scalar.")
        return array

    def _all_probs(self) -> jax.Array:
        return self._parameter() if self.logits is None else numerics.softmax(self._parameter())

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shape of the number of trials and the batch of the probabilities broadcast to."""
        return jnp.broadcast_shapes(jnp.shape(self.total_count), self._parameter().shape[:-1])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(K,)``."""
        return self._parameter().shape[-1:]

    @property
    def support(self) -> supports.Support:
        """Vectors of counts that sum to the number of trials."""
        return supports.CountVectors(self.total_count)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, K)``."""
        y, parameter = promote(y, self._parameter())
        if y.shape[-1] != parameter.shape[-1]:
            raise ValueError(f"y has shape {y.shape}, but there are {parameter.shape[-1]} classes.")
        inside = self.support.contains(y)
        shape = jnp.broadcast_shapes(y.shape, parameter.shape, (*inside.shape, 1))
        inside = jnp.broadcast_to(inside, shape[:-1])
        count = jnp.where(inside[..., None], jnp.broadcast_to(y, shape), 0)
        parameter = jnp.broadcast_to(parameter, shape)
        if self.logits is None:
            empty = (count == 0) & (parameter == 0)
            cross = -jnp.sum(count * jnp.log(jnp.where(empty, 1, parameter)), axis=-1)
        else:
            cross = numerics.softmax_cross_entropy_with_probs(parameter, count)
        ways = gammaln(jnp.sum(count, axis=-1) + 1) - jnp.sum(gammaln(count + 1), axis=-1)
        undefined = jnp.broadcast_to(jnp.any(jnp.isnan(y), axis=-1), shape[:-1])
        return jnp.where(inside, ways - cross, jnp.where(undefined, jnp.nan, -jnp.inf))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; as floats, by a chain of binomial draws."""
        p = self._all_probs()
        full = (*shape, *self.batch_shape, p.shape[-1])
        p, n = jnp.broadcast_to(p, full), jnp.broadcast_to(jnp.asarray(self.total_count, p.dtype), full[:-1])
        return jax.random.multinomial(key, n, p, shape=full, dtype=p.dtype)

    def _moments(self) -> tuple[jax.Array, jax.Array]:
        p = self._all_probs()
        n, p = promote(jnp.asarray(self.total_count)[..., None], p)
        return n, p

    @property
    def mean(self) -> jax.Array:
        r""":math:`n p_k`."""
        n, p = self._moments()
        return n * p

    @property
    def variance(self) -> jax.Array:
        r""":math:`n p_k (1 - p_k)`."""
        n, p = self._moments()
        return n * p * (1 - p)

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_y p_y\log p_y`, by sums over the count of each class, which is binomial.

        .. math:: H = \log\pi_n(n) - \sum_k E\log\pi_{n p_k}(y_k)

        with Poisson probabilities :math:`\pi_\lambda(y)`: multinomial counts are Poisson ones, given their sum. An
        absolute error of some ulp of K.
        """
        n, p = self._moments()
        n, p = (jnp.broadcast_to(v, (*self.batch_shape, *self.event_shape)) for v in (n, p))
        q = 1 - p if self.logits is None else jnp.sum(p[..., None, :] * (1 - jnp.eye(p.shape[-1], dtype=p.dtype)), -1)
        certain = (p == 0) | (q == 0) | (n == 0)
        one, other = (jnp.where(certain, 0.5, v)[..., None] for v in (p, q))
        trials = jnp.where(certain, 1, n)[..., None]

        def log_poisson(y: jax.Array, mean: jax.Array) -> jax.Array:
            return numerics.log_gamma_kernel(y + 1, mean) - jnp.log(mean)

        def term(y: jax.Array) -> jax.Array:
            kernel = numerics.log_beta_kernel(y + 1, trials - y + 1, one, other)
            mass = jnp.exp(kernel - jnp.log(trials + 1) - jnp.log(one) - jnp.log(other))
            return -mass * log_poisson(y, trials * one)

        mean, deviation = (trials * one)[..., 0], jnp.sqrt(trials * one * other)[..., 0]
        whole = jnp.where(n == 0, 1, n)
        of_whole = jnp.where(n == 0, 0, log_poisson(whole, whole))
        # A class that is certain has the count of all; in one that is impossible the derivative is infinite.
        edge = jnp.where(p > 0, -of_whole, n * jax.scipy.special.entr(p))
        each = jnp.where(certain, edge, concentrated_sum(term, mean, deviation, trials[..., 0]))
        return jnp.sum(each, axis=-1) + of_whole[..., 0]

    def fisher_information(self) -> jax.Array:
        r""":math:`n[\operatorname{diag}(p) - pp^\top]` for ``logits``; :math:`n\operatorname{diag}(1/p)` for ``probs``.

        The latter is that of the entries of ``probs`` taken as free; restrict it to directions that sum to 0.
        """
        n, p = self._moments()
        identity = jnp.eye(p.shape[-1], dtype=p.dtype).reshape((1,) * (p.ndim - 1) + (p.shape[-1],) * 2)
        if self.logits is None:
            return n[..., None] * identity / p[..., None, :]
        return n[..., None] * (identity * p[..., None, :] - p[..., :, None] * p[..., None, :])
