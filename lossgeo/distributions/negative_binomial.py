"""The negative binomial distribution: counts that vary more than Poisson ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
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
        return restrict(count_mass(jnp.where(inside, y, 0), mean, r), inside, y)

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
            value = count_mass(y, mean, r)
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
            value, score = jax.jvp(lambda v: count_mass(y, mean, v), (r,), (jnp.ones_like(r),))
            return jnp.exp(value) * jnp.square(score)

        spread = jnp.reshape(self._expectation(term), jnp.broadcast_shapes(mean.shape, r.shape))
        return matrix([1 / (mean * (1 + mean / r)), 0.0], [0.0, spread])


def count_mass(count: jax.Array, mean: jax.Array, r: jax.Array) -> jax.Array:
    r"""Log-probability of a count, which need not be an integer."""
    return _log_mass_of_finite(count, mean, jnp.minimum(r, 1e30))  # beyond, nothing differs from the Poisson limit


@jax.custom_jvp
def _log_mass_of_finite(count: jax.Array, mean: jax.Array, r: jax.Array) -> jax.Array:
    r"""The same for finite concentrations, in the saddle-point form, in which nothing cancels.

    .. math:: r\,L(t) + y\,L(t\mu/y) + \tfrac12\log\frac{r}{y(y + r)} - \tfrac12\log 2\pi + s(y + r) - s(r) - s(y),
        \qquad t = \frac{r + y}{r + \mu}, \quad L(t) = \log t - (t - 1),

    with the remainder :math:`s` of Stirling's formula. Derivatives are written out below: those of the terms one by one
    are ten times the work.

    Reference: Loader (2000), Fast and accurate computation of binomial probabilities.
    """
    none = count == 0
    y = jnp.where(none, 1, count)
    ratio, excess = _relative(count, mean, r)
    spread = r * numerics.log_remainder(ratio, excess)
    stirling = numerics.stirling_remainder
    value = spread + y * numerics.log_remainder(ratio * (mean / y), -excess * (r / y))
    value = value + 0.5 * jnp.log(r / (y + r) / y) - HALF_LOG_2PI + stirling(y + r) - stirling(r) - stirling(y)
    # Without a count r log(r/(r + mean)), which tends to minus the mean: in digits of the mean.
    return jnp.where(none, spread - mean / (1 + mean / r), jnp.where(mean == 0, -jnp.inf, value))


def _log_mass_jvp(primals: tuple[jax.Array, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, Any]:
    count, mean, r = primals
    value = _log_mass_of_finite(count, mean, r)
    none, impossible = count == 0, (mean == 0) & (count != 0)
    positive = jnp.where(mean == 0, 1, mean)
    ratio, excess = _relative(count, mean, r)

    def slope(v: jax.Array) -> jax.Array:
        return jax.jvp(numerics.stirling_remainder, (v,), (jnp.ones_like(v),))[1]

    def in_count() -> jax.Array:
        following, total = count + 1, count + r
        found = jnp.log(ratio * (mean / following)) + 0.5 * (1 / following - 1 / total)
        return found + slope(total) - slope(following)

    def in_mean() -> jax.Array:
        relative = jnp.where(none, -1, (count - positive) / positive)
        return relative / (1 + mean / r)

    def in_concentration() -> jax.Array:
        total = count + r
        return numerics.log_remainder(ratio, excess) + 0.5 * count / total / r + slope(total) - slope(r)

    found: Any = 0
    for tangent, derivative in zip(tangents, (in_count, in_mean, in_concentration), strict=True):
        if not isinstance(tangent, SymbolicZero):
            found = found + jnp.where(impossible, 0, derivative()) * tangent
    return value, jnp.broadcast_to(jnp.asarray(found, value.dtype), value.shape)


_log_mass_of_finite.defjvp(_log_mass_jvp, symbolic_zeros=True)


def _relative(count: jax.Array, mean: jax.Array, r: jax.Array) -> tuple[jax.Array, jax.Array]:
    r""":math:`t = (r + y)/(r + \mu)` and :math:`t - 1`."""
    return (r + count) / (r + mean), (count - mean) / (r + mean)
