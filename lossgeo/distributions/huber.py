"""Huber's distribution: normal in the center, exponential in the tails."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import matrix, promote
from lossgeo.distributions.location_scale import LocationScale

SQRT_2PI = math.sqrt(2 * math.pi)


@pytree
class Huber(LocationScale):
    r"""Huber's least favourable distribution: a normal center and Laplace tails, with a continuous slope.

    .. math:: \log p(y) = -\rho_k(z) - \log\sigma - \log Z(k), \quad
        \rho_k(z) = \begin{cases}z^2/2 & |z| \le k\\ k|z| - k^2/2 & |z| > k\end{cases}, \quad z = \frac{y - \mu}{\sigma}

    with :math:`Z(k) = \sqrt{2\pi}\operatorname{erf}(k/\sqrt2) + 2e^{-k^2/2}/k`. As noise it is Huber's loss made a
    density: because it is normalised, ``scale`` and ``delta`` can be estimated too.

    Args:
        loc: location :math:`\mu`, any real.
        scale: :math:`\sigma > 0`, the standard deviation of the center.
        delta: where the tails begin, :math:`k > 0` in units of ``scale``, finite. Large is the normal distribution;
            ``Laplace`` of scale 1 is the limit of scale ``delta`` at 0. The default has 95 % efficiency at the normal.

    Reference: Huber (1964), Robust estimation of a location parameter, Annals of Mathematical Statistics 35.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0
    delta: ArrayLike = 1.345

    def _shape(self) -> tuple[ArrayLike, ...]:
        return (self.delta,)

    def _log_density(self, z: jax.Array, k: jax.Array) -> jax.Array:  # type: ignore[override]
        size = z * jnp.sign(z)
        center = size <= k
        inner, outer = jnp.where(center, z, 0), jnp.where(center, k, size)
        loss = jnp.where(center, 0.5 * inner * inner, k * outer - 0.5 * k * k)
        return -loss - jnp.log(sum(_masses(k)))

    def _log_cdf(self, z: jax.Array, k: jax.Array) -> jax.Array:  # type: ignore[override]
        size = jnp.where(z < 0, -z, z)
        center = size <= k
        inner, outer = jnp.where(center, size, 0), jnp.where(center, k, size)
        # The tail from k on weighs exp(-k^2/2) / k, more than the exp(-k^2/2) R(k) of a normal one.
        extra = jnp.exp(0.5 * jnp.where(center, inner * inner - k * k, 0)) * (1 / k - numerics.mills_ratio(k))
        near = jnp.log(numerics.mills_ratio(inner) + extra) - 0.5 * inner * inner
        far = 0.5 * k * k - k * outer - jnp.log(k)
        lower = jnp.where(center, near, far) - jnp.log(sum(_masses(k)))
        # The middle itself belongs to the upper side, where its derivative is that of the density.
        return jnp.where(z < 0, lower, numerics.log1mexp(-lower))

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, k, _ = promote(q, self.delta, self.loc)
        center, tails = _masses(k)
        level = jnp.minimum(q, 1 - q) * (center + tails)
        far = level < 0.5 * tails
        outer = (jnp.log(jnp.where(far, level, 1)) + jnp.log(k) - 0.5 * k * k) / k
        inner = jnp.where(far, 0.5 * tails, level) - 0.5 * tails
        z = jnp.where(far, outer, jax.scipy.special.ndtri(inner / SQRT_2PI + jax.scipy.special.ndtr(-k)))
        return self._located(jnp.where(q < 0.5, z, -z))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        keys = jax.random.split(key, 3)
        _, k = promote(jnp.zeros(size, dtype), self.delta)
        center, tails = _masses(k)
        inner = jax.random.truncated_normal(keys[0], -k, k, size, dtype)
        outer = jax.random.exponential(keys[1], size, dtype) / k + k
        choice = jax.random.uniform(keys[2], size, dtype, minval=-1) * (1 + center / tails)
        return jnp.where(jnp.abs(choice) < 1, jnp.where(choice < 0, -outer, outer), inner)

    def _parts(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Probabilities of the center and of the tails, and delta, in the shape of the batch."""
        k = jnp.broadcast_to(promote(self.delta, self.loc, self.scale)[0], self.batch_shape)
        center, tails = _masses(k)
        return center / (center + tails), tails / (center + tails), k

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._located(0.0)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2\bigl[P_c + 2P_t(1 + 1/k^2)\bigr]` with the probabilities of the center and of the tails."""
        center, tails, k = self._parts()
        return self._spread(center + 2 * tails * (1 + 1 / jnp.square(k)))

    def entropy(self) -> jax.Array:
        r""":math:`\log\sigma Z(k) + \tfrac12 P_c + P_t`."""
        center, tails, k = self._parts()
        return self._stretched(jnp.log(sum(_masses(k))) + 0.5 * center + tails)

    def fisher_information(self) -> jax.Array:
        r"""For ``(loc, scale, delta)``; location is orthogonal to the others.

        .. math:: I_{\mu\mu} = \frac{P_c}{\sigma^2}, \quad
            I_{\sigma\sigma} = \frac{3P_c + P_t(2 - k^2) - 1}{\sigma^2}, \quad
            I_{\sigma k} = -\frac{P_t}{\sigma}\Bigl(k + \frac1k\Bigr), \quad
            I_{kk} = \frac{P_t(2 - P_t)}{k^2}
        """
        center, tails, k = self._parts()
        scale = jnp.broadcast_to(promote(self.scale, self.loc)[0], self.batch_shape)
        location = center / jnp.square(scale)
        spread = (3 * center + tails * (2 - k * k) - 1) / jnp.square(scale)
        mixed = -tails * (k + 1 / k) / scale
        shape = tails * (2 - tails) / jnp.square(k)
        return matrix([location, 0.0, 0.0], [0.0, spread, mixed], [0.0, mixed, shape])


def _masses(k: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the center and the two tails weigh before normalisation."""
    return SQRT_2PI * jax.lax.erf(k * math.sqrt(0.5)), 2 * jnp.exp(-0.5 * k * k) / k
