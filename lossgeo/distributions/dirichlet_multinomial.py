"""The Dirichlet-multinomial distribution: counts of classes that vary more than multinomial ones."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.beta_binomial import BetaBinomial, beta_binomial_mass
from lossgeo.distributions.dirichlet import Dirichlet
from lossgeo.distributions.distribution import Distribution, promote
from lossgeo.distributions.multinomial import Multinomial
from lossgeo.distributions.negative_binomial import count_mass


@pytree
class DirichletMultinomial(Distribution):
    r"""Multinomial counts whose probabilities have a Dirichlet distribution, which is integrated out.

    .. math:: \log p(y) = \log\frac{n!\,\Gamma(\alpha_0)}{\Gamma(n + \alpha_0)}
        + \sum_k \log\frac{\Gamma(y_k + \alpha_k)}{y_k!\,\Gamma(\alpha_k)}

    With :math:`\alpha_0 \to \infty` it is multinomial.

    Args:
        total_count: number :math:`n` of trials, shape ``(*batch,)``.
        concentration: :math:`\alpha`, positive, shape ``(*batch, K)``.

    Numerics:
        Counts of classes that are negative binomial and independent, given their sum: so the value is written, with
        the odds at which that sum is n on average. Nothing of size :math:`(n + \alpha_0)\log(n + \alpha_0)` is
        subtracted.
    """

    total_count: ArrayLike
    concentration: ArrayLike

    event_ndim = 1

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shape of the number of trials and the batch of the concentrations broadcast to."""
        return jnp.broadcast_shapes(jnp.shape(self.total_count), jnp.shape(self.concentration)[:-1])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(K,)``."""
        return jnp.shape(self.concentration)[-1:]

    @property
    def support(self) -> supports.Support:
        """Vectors of counts that sum to the number of trials."""
        return supports.CountVectors(self.total_count)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, K)``."""
        y, a = promote(y, self.concentration)
        if y.shape[-1] != a.shape[-1]:
            raise ValueError(f"y has shape {y.shape}, but there are {a.shape[-1]} classes.")
        inside = self.support.contains(y)
        shape = jnp.broadcast_shapes(y.shape, a.shape, (*inside.shape, 1))
        inside = jnp.broadcast_to(inside, shape[:-1])
        count = jnp.where(inside[..., None], jnp.broadcast_to(y, shape), 0)
        value = _mass(count, jnp.broadcast_to(a, shape))
        undefined = jnp.broadcast_to(jnp.any(jnp.isnan(y), axis=-1), shape[:-1])
        return jnp.where(inside, value, jnp.where(undefined, jnp.nan, -jnp.inf))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; as floats."""
        first, second = jax.random.split(key)
        (a,) = promote(self.concentration)
        full = (*shape, *self.batch_shape)
        probs = Dirichlet(jnp.broadcast_to(a, (*full, a.shape[-1]))).sample(first)
        return Multinomial(jnp.broadcast_to(jnp.asarray(self.total_count, a.dtype), full), probs).sample(second)

    def _moments(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        n, a = promote(jnp.asarray(self.total_count)[..., None], self.concentration)
        total = jnp.sum(a, axis=-1, keepdims=True)
        return n, a / total, total

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_y p_y\log p_y`, by sums over the count of each class, which is beta-binomial.

        .. math:: H = \log q_0(n) - \sum_k E\log q_k(y_k)

        with the negative binomial probabilities :math:`q` of :meth:`log_prob`.
        """
        n = self._moments()[0]
        if self.event_shape == (1,):
            return jnp.zeros(self.batch_shape, n.dtype)
        (a,) = promote(self.concentration)
        a = jnp.broadcast_to(a, (*self.batch_shape, *self.event_shape))
        others = jnp.sum(a[..., None, :] * (1 - jnp.eye(a.shape[-1], dtype=a.dtype)), axis=-1)
        n = jnp.broadcast_to(n, a.shape)

        def term(y: jax.Array, n: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
            return -jnp.exp(beta_binomial_mass(y, n, a, b)) * count_mass(y, n * (a / (a + b)), a)

        found = jnp.sum(BetaBinomial(n, a, others).expectation(term), axis=-1)
        trials, sums = n[..., 0], jnp.sum(a, axis=-1)
        return found + count_mass(trials, trials, sums)

    @property
    def mean(self) -> jax.Array:
        r""":math:`n\alpha/\alpha_0`."""
        n, p, _ = self._moments()
        return n * p

    @property
    def variance(self) -> jax.Array:
        r""":math:`n p_k (1 - p_k) (n + \alpha_0)/(1 + \alpha_0)`."""
        n, p, total = self._moments()
        return n * p * (1 - p) * (n + total) / (1 + total)


def _plain_mass(count: jax.Array, a: jax.Array) -> jax.Array:
    """The log-probability as it is defined."""
    n, total = jnp.sum(count, axis=-1), jnp.sum(a, axis=-1)
    value = gammaln(n + 1) + gammaln(total) - gammaln(n + total)
    return value + jnp.sum(gammaln(count + a) - gammaln(count + 1) - gammaln(a), axis=-1)


@numerics.differentiated_as(_plain_mass)
def _mass(count: jax.Array, a: jax.Array) -> jax.Array:
    """The log-probability by negative binomial ones."""
    n, total = jnp.sum(count, axis=-1), jnp.sum(a, axis=-1)
    odds = n / total
    return jnp.sum(count_mass(count, a * odds[..., None], a), axis=-1) - count_mass(n, total * odds, total)
