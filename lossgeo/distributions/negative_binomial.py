"""The negative binomial distribution: counts that vary more than Poisson ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import ranks
from lossgeo.distributions.distribution import (
    HALF_LOG_2PI,
    Distribution,
    bounded_tails,
    matrix,
    promote,
    restrict,
    sample_shape,
)
from lossgeo.distributions.lattice import concentrated_sum, gamma_reach, spread_sum
from lossgeo.distributions.quantile import discrete_quantile


@pytree
class NegativeBinomial(Distribution):
    r"""Negative binomial distribution of a count with a given mean; Poisson with a gamma-distributed rate.

    .. math:: \log p(y) = \log\frac{\Gamma(y + r)}{\Gamma(r)\,y!} + r\log\frac{r}{r + \mu} + y\log\frac{\mu}{r + \mu},
        \qquad \operatorname{Var} = \mu + \mu^2/r

    Args:
        mean: :math:`\mu \ge 0`.
        concentration: :math:`r > 0` (``size`` in R, ``1/alpha`` in statsmodels); ``inf`` is the Poisson distribution.

    Numerics:
        Accurate for all concentrations up to and including ``inf``, in the value and in the derivatives: an error of
        some ulp of the value, of :math:`|y - \mu|` and of 1. Stirling's formula is taken out by hand; nothing of size
        :math:`r`, :math:`1/r` or :math:`y\log y` is subtracted.
    """

    mean: ArrayLike = 1.0  # type: ignore[assignment]
    concentration: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        """The integers from 0 on."""
        return supports.nonnegative_integers

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, mean, r = promote(y, self.mean, self.concentration)
        inside = self.support.contains(y)
        return restrict(_log_mass(jnp.where(inside, y, 0), mean, r), inside, y)

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""With :math:`P(Y \le y) = I_p(r, y + 1)`, :math:`p = r/(r + \mu)`; the Poisson limit at ``inf``."""
        y, mean, r = promote(y, self.mean, self.concentration)
        count = jnp.floor(jnp.where((y >= 0) & (y < jnp.inf), y, 0))
        poisson, empty = jnp.isinf(r), mean == 0
        r, mean = jnp.where(poisson, 1, r), jnp.where(empty, 1, mean)
        below, above = numerics.log_beta_tails(r, count + 1, 1 / (1 + mean / r), 1 / (1 + r / mean))
        above_limit, below_limit = numerics.log_gamma_tails(count + 1, mean)
        below, above = jnp.where(poisson, below_limit, below), jnp.where(poisson, above_limit, above)
        below, above = jnp.where(empty, 0, below), jnp.where(empty, -jnp.inf, above)
        return bounded_tails(y, below, above, 0, jnp.inf, closed=True)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        return discrete_quantile(self, q)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of integer dtype."""
        shape = sample_shape(self, shape)
        key_gamma, key_poisson = jax.random.split(key)
        mean, r = (jnp.broadcast_to(v, shape) for v in promote(jnp.zeros(shape), self.mean, self.concentration)[1:])
        finite = jnp.where(jnp.isinf(r), 1, r)
        mixed = mean * jax.random.gamma(key_gamma, finite) / finite
        return jax.random.poisson(key_poisson, jnp.where(jnp.isinf(r), mean, mixed))

    @property
    def variance(self) -> jax.Array:
        r""":math:`\mu + \mu^2/r`."""
        mean, r = promote(self.mean, self.concentration)
        return mean + jnp.square(mean) / r

    def _expectation(self, term: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]) -> jax.Array:
        """Sum over all counts of a term of the count, the mean and the concentration, on arrays of one rank."""
        mean, r = (jnp.broadcast_to(v, self.batch_shape) for v in ranks(*promote(self.mean, self.concentration)))
        concentrated = (r >= 16) | (mean == 0)

        def total(shape: jax.Array, mean: jax.Array) -> Callable[[jax.Array], jax.Array]:
            return lambda y: term(y, mean[..., None], shape[..., None])

        few = total(jnp.where(concentrated, r, 16), mean)
        narrow = concentrated_sum(few, mean, jnp.sqrt(mean + jnp.square(mean) / jnp.where(concentrated, r, 16)))
        mu, r = jnp.where(concentrated, 1, mean), jnp.where(concentrated, 1, r)
        return jnp.where(concentrated, narrow, spread_sum(total(r, mu), gamma_reach(mu, r)))

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_y p_y\log p_y`, by the sums of :mod:`lossgeo.distributions.lattice`."""

        def term(y: jax.Array, mean: jax.Array, r: jax.Array) -> jax.Array:
            value = _log_mass(y, mean, r)
            return jnp.where(value == -jnp.inf, 0, -jnp.exp(value) * value)

        return self._expectation(term)

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}\Bigl(\frac{1}{\mu(1 + \mu/r)}, E\,s^2\Bigr)`, of ``(mean, concentration)``.

        The expectation of the squared score :math:`s` in the concentration is a sum over all counts, whose terms are
        positive: it keeps its digits where it tends to :math:`\mu^2/2r^4`.

        Reference: Fisher (1941), The negative binomial distribution, Annals of Eugenics 11: the same as
        :math:`\sum_{k \ge 2} \theta^k (k - 1)!/[k\,r(r + 1)\cdots(r + k - 1)]`.
        """
        mean, r = promote(self.mean, self.concentration)

        def term(y: jax.Array, mean: jax.Array, r: jax.Array) -> jax.Array:
            r = jnp.broadcast_to(r, y.shape)
            value, score = jax.jvp(lambda v: _log_mass(y, mean, v), (r,), (jnp.ones_like(r),))
            return jnp.exp(value) * jnp.square(score)

        spread = jnp.reshape(self._expectation(term), jnp.broadcast_shapes(mean.shape, r.shape))
        return matrix([1 / (mean * (1 + mean / r)), 0.0], [0.0, spread])


def _log_mass(count: jax.Array, mean: jax.Array, r: jax.Array) -> jax.Array:
    r"""Log-probability of a count, which need not be an integer."""
    r = jnp.minimum(r, 1e30)  # beyond, nothing differs from the Poisson limit
    empty = mean == 0
    positive = jnp.where(empty, 1, mean)
    following, m = count + 1, positive / r
    # A beta density is theta (r + y) p_y at (r, y + 1), theta = mean / (r + mean), less what is of size r or 1 / r.
    ratio, excess = (1 + following / r) / (1 + m), (following - positive) / (1 + m)
    kernel = r * numerics.log_remainder(ratio, excess / r)
    kernel = kernel + following * numerics.log_remainder(positive * ratio / following, -excess / following)
    stirling = numerics.stirling_remainder
    kernel = kernel + stirling(r + following) - stirling(r) - stirling(following) - HALF_LOG_2PI
    roots = 0.5 * (jnp.log(following) - jnp.log1p(following / r))
    value = kernel + roots - jnp.log(positive) + jnp.log1p(m) - jnp.log1p(count / r)
    # At 0, r log(1 + mean/r), which tends to the mean: in digits of the mean.
    m = mean / r
    near = m < 1
    close, far = jnp.where(near, m, 0), jnp.where(near, 1, m)
    at_zero = jnp.where(near, mean * (1 - close * numerics.log1p_remainder(close)), r * jnp.log1p(far))
    return jnp.where(count == 0, -at_zero, jnp.where(empty, -jnp.inf, value))
