"""The von Mises distribution: angles."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, matrix, promote, restrict, sample_shape
from lossgeo.distributions.rejection import rejection_sample


@pytree
class VonMises(Distribution):
    r"""Von Mises distribution of an angle in radians, in :math:`(-\pi, \pi)`.

    .. math:: \log p(y) = \kappa\cos(y - \mu) - \log 2\pi I_0(\kappa)

    ``mean`` and ``variance`` are those of directions: the angle of :math:`E\,e^{iy}`, and 1 less its length.

    Args:
        loc: mean direction :math:`\mu`, any real; it counts modulo :math:`2\pi`.
        concentration: :math:`\kappa \ge 0`; 0 is the uniform distribution, :math:`1/\kappa` about the variance of a
            concentrated one.

    Numerics:
        Written as :math:`-2\kappa\sin^2\frac{y - \mu}{2} - \log 2\pi e^{-\kappa}I_0(\kappa)`: accurate for large
        concentrations. At the edges :math:`\pm\pi`, the same angle, ``log_prob`` is its limit. Wrap other angles first:
        ``(y + pi) % (2 * pi) - pi``.

    Reference: Best, Fisher (1979), Efficient simulation of the von Mises distribution, Applied Statistics 28; Mardia,
    Jupp (2000), Directional Statistics, 3.5.4 and 5.3.
    """

    loc: ArrayLike = 0.0
    concentration: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        r"""The angles in :math:`(-\pi, \pi)`."""
        return supports.interval(-math.pi, math.pi)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, loc, concentration = promote(y, self.loc, self.concentration)
        inside = jnp.abs(y) <= jnp.asarray(math.pi, y.dtype)
        sine = jnp.sin(0.5 * (jnp.where(inside, y, loc) - loc))
        value = -2 * concentration * sine * sine - numerics.log_i0e(concentration) - math.log(2 * math.pi)
        return restrict(value, inside, y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; by rejection from a wrapped Cauchy distribution."""
        shape = sample_shape(self, shape)
        dtype = jnp.result_type(self.loc, self.concentration, float)
        _, loc, kappa = promote(jnp.zeros(shape, dtype), self.loc, self.concentration)
        kappa = jnp.asarray(kappa, dtype)
        # rho = (r - sqrt(2 r)) / 2 kappa with r = 1 + root, without its cancellation at 0; ratio is rho / kappa.
        root = jnp.sqrt(1 + 4 * kappa * kappa)
        size = jnp.sqrt(1 + root)
        ratio = 2 * size / ((root + 1) * (size + math.sqrt(2)))
        rho = kappa * ratio
        gap = jnp.square((jnp.sqrt(2 * (1 + root)) - 1 - 1 / (root + 2 * kappa)) / (2 * jnp.maximum(kappa, 0.1)))
        gap = jnp.where(kappa < 0.1, jnp.square(1 - rho), gap)

        def propose(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            angle, level, side = jax.random.uniform(key, (3, *shape), dtype)
            half_sine = jnp.square(jnp.sin(0.5 * jnp.pi * angle))  # (1 - cos) / 2
            part = gap * half_sine / (gap + 4 * rho * (1 - half_sine))  # the same of the proposed angle
            exponent = 0.5 * gap / ratio + 2 * kappa * part
            accepted = jnp.log(exponent) - jnp.log(level) + 1 - exponent >= 0
            draw = 2 * jnp.arcsin(jnp.sqrt(jnp.minimum(part, 1)))
            return jnp.where(side < 0.5, -draw, draw), accepted | jnp.isnan(exponent)

        return _wrapped(loc + rejection_sample(key, propose))

    def _log_partition(self) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        r"""Concentration, :math:`\log e^{-\kappa}I_0`, and the first two derivatives of that."""
        _, kappa = promote(self.loc, self.concentration)
        kappa = jnp.broadcast_to(kappa, self.batch_shape)
        ones = jnp.ones_like(kappa)
        first = lambda k: jax.jvp(numerics.log_i0e, (k,), (ones,))  # noqa: E731
        (value, slope), (_, curvature) = jax.jvp(first, (kappa,), (ones,))
        return kappa, value, slope, curvature

    @property
    def mean(self) -> jax.Array:
        r"""The mean direction: :math:`\mu` in :math:`(-\pi, \pi)`."""
        return jnp.broadcast_to(_wrapped(promote(self.loc, self.concentration)[0]), self.batch_shape)

    @property
    def variance(self) -> jax.Array:
        r"""The circular variance :math:`1 - I_1(\kappa)/I_0(\kappa)`."""
        return -self._log_partition()[2]

    def entropy(self) -> jax.Array:
        r""":math:`\log 2\pi I_0(\kappa) - \kappa\,I_1(\kappa)/I_0(\kappa)`."""
        kappa, value, slope, _ = self._log_partition()
        return math.log(2 * math.pi) + value - kappa * slope

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(\kappa A, A')` with :math:`A = I_1/I_0`, of ``(loc, concentration)``."""
        kappa, _, slope, curvature = self._log_partition()
        return matrix([kappa * (1 + slope), 0.0], [0.0, curvature])


def _wrapped(angle: jax.Array) -> jax.Array:
    r"""The same angle in :math:`[-\pi, \pi]`, which rounding may not leave."""
    return jnp.clip(angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi)), -jnp.pi, jnp.pi)
