"""The Bernoulli distribution: logistic loss as a log-probability."""

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
class Bernoulli(Distribution):
    r"""Bernoulli distribution of a label 0 or 1.

    .. math:: \log p(y) = y \log p + (1 - y) \log(1 - p) = -\log\bigl(1 + e^{-(2y - 1) z}\bigr), \qquad p = \sigma(z)

    With ``logits`` linear in the parameters it is logistic regression. Give exactly one of the two arguments.

    Args:
        probs: probability of a 1, in :math:`[0, 1]`.
        logits: log-odds :math:`z` of a 1, any real (keyword only).

    Numerics:
        Through ``logits`` no probability is formed: value, gradient and Hessian are accurate in both tails.
        Prefer them.
    """

    probs: ArrayLike | None = None
    logits: ArrayLike | None = dataclasses.field(default=None, kw_only=True)

    @property
    def support(self) -> supports.Support:
        """The labels 0 and 1."""
        return supports.boolean

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        one_of(self, probs=self.probs, logits=self.logits)
        if self.logits is not None:
            y, z = promote(y, self.logits)
            # Nothing that depends on the logits is selected by the label, so that derivatives are products.
            sign = (jnp.where(y == 0, 1, 0) - jnp.where(y == 1, 1, 0)).astype(z.dtype)
            return restrict(jnp.zeros_like(y), (y == 0) | (y == 1), y) - numerics.softplus(sign * z)
        assert self.probs is not None
        y, p = promote(y, self.probs)
        one = y == 1
        value = jnp.where(one, jnp.log(jnp.where(one, p, 1)), jnp.log1p(-jnp.where(one, 0, p)))
        return restrict(value, (y == 0) | (y == 1), y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        shape = sample_shape(self, shape)
        return jax.random.bernoulli(key, jnp.broadcast_to(self.mean, shape), shape).astype(int)

    @property
    def mean(self) -> jax.Array:
        r""":math:`p`."""
        one_of(self, probs=self.probs, logits=self.logits)
        return jnp.asarray(self.probs) if self.logits is None else numerics.sigmoid(self.logits)

    @property
    def variance(self) -> jax.Array:
        r""":math:`p(1 - p)`."""
        one_of(self, probs=self.probs, logits=self.logits)
        if self.logits is None:
            p = jnp.asarray(self.probs)
            return p * (1 - p)
        return numerics.sigmoid(self.logits) * numerics.sigmoid(-jnp.asarray(self.logits))

    def entropy(self) -> jax.Array:
        r""":math:`-p \log p - (1 - p) \log(1 - p)`."""
        one_of(self, probs=self.probs, logits=self.logits)
        if self.logits is None:
            (p,) = promote(self.probs)  # type: ignore[arg-type]
            return -jax.scipy.special.xlogy(p, p) - jax.scipy.special.xlog1py(1 - p, -p)
        (z,) = promote(self.logits)
        finite = jnp.where(jnp.isinf(z), 0, z)
        value = numerics.sigmoid(z) * numerics.softplus(-finite) + numerics.sigmoid(-z) * numerics.softplus(finite)
        return jnp.where(jnp.isinf(z), 0, value)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, none, one = promote(y, self.log_prob(0), self.log_prob(1))
        return bounded_tails(y, none, one, 0, 1, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q, 1)

    def fisher_information(self) -> jax.Array:
        r""":math:`p(1 - p)` for ``logits``, its inverse for ``probs``."""
        variance = self.variance
        return matrix([1 / variance if self.logits is None else variance])
