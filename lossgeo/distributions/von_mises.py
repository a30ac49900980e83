"""The von Mises distribution: angles."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import both_tails
from lossgeo.distributions.distribution import Distribution, bounded_tails, matrix, promote, restrict, sample_shape
from lossgeo.distributions.quantile import continuous_quantile
from lossgeo.distributions.rejection import rejection_sample

_RULE = numerics.gauss_legendre(48)
_REST_OF_PI = 1.2246467991473532e-16  # beyond float64


@pytree
class VonMises(Distribution):
    r"""Von Mises distribution of an angle in radians, in :math:`[-\pi, \pi]`.

    .. math:: \log p(y) = \kappa\cos(y - \mu) - \log 2\pi I_0(\kappa)

    ``mean`` and ``variance`` are those of directions: the angle of :math:`E\,e^{iy}`, and 1 less its length.

    Args:
        loc: mean direction :math:`\mu`, any real; it counts modulo :math:`2\pi`.
        concentration: :math:`\kappa \ge 0`; 0 is the uniform distribution, :math:`1/\kappa` about the variance of a
            concentrated one.

    Numerics:
        Written as :math:`-2\kappa\sin^2\frac{y - \mu}{2} - \log 2\pi e^{-\kappa}I_0(\kappa)`: accurate for large
        concentrations. The ends :math:`\pm\pi`, the same angle, belong to the support. Wrap other angles first:
        ``(y + pi) % (2 * pi) - pi``. Distribution functions count from :math:`-\pi` on; both tails are integrals of
        the density, piece by piece between the mean direction and its opposite, by a fixed Gauss-Legendre rule.

    Reference: Best, Fisher (1979), Efficient simulation of the von Mises distribution, Applied Statistics 28; Mardia,
    Jupp (2000), Directional Statistics, 3.5.4 and 5.3.
    """

    loc: ArrayLike = 0.0
    concentration: ArrayLike = 1.0

    @property
    def support(self) -> supports.Support:
        r"""The angles in :math:`[-\pi, \pi]`, both ends of which are the same one."""
        return supports.angles

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

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        y, loc, kappa = promote(y, self.loc, self.concentration)
        inside = jnp.abs(y) < jnp.asarray(math.pi, y.dtype)
        start = -math.pi - _wrapped(loc)
        start = jnp.where(start < -math.pi, start + 2 * math.pi, start)  # of the circle, seen from the mean direction
        y_inside = jnp.where(inside, y, 0)
        rounded = jnp.asarray(math.pi, y.dtype)
        # What rounding takes from pi; a plain constant would be added to the rounded one first.
        rest = jnp.where(inside, math.pi - float(np.asarray(math.pi, y.dtype)) + _REST_OF_PI, 0).astype(y.dtype)
        length = (y_inside + rounded) + rest
        below = _log_arc(start, length, kappa)
        above = _log_arc(start + length, (rounded - y_inside) + rest, kappa)
        log_total = math.log(2 * math.pi) + numerics.log_i0e(kappa)
        return bounded_tails(y, *both_tails(below - log_total, above - log_total), -jnp.pi, jnp.pi)

    def icdf(self, q: ArrayLike) -> jax.Array:
        r"""See :meth:`Distribution.icdf`; between :math:`-\pi` and :math:`\pi`."""
        return continuous_quantile(self, q, _angle, -math.pi, math.pi)

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


def _angle(u: jax.Array) -> jax.Array:
    r"""The real line onto :math:`(-\pi, \pi)`."""
    return jnp.pi * jnp.tanh(0.5 * u)


def _log_arc(start: jax.Array, length: jax.Array, kappa: jax.Array) -> jax.Array:
    r""":math:`\log\int e^{-2\kappa\sin^2(t/2)}dt` over ``length``, within a turn, from ``start`` on."""
    end = start + length
    log_pieces = []
    for k in range(-1, 3):  # the density falls from 0 to pi, rises from pi to 2 pi, …
        left, right = k * math.pi, (k + 1) * math.pi
        low = jnp.minimum(jnp.where(start < left, left, start), right)
        high = jnp.maximum(jnp.where(end > right, right, end), left)
        near = low - left if k % 2 == 0 else right - high
        whole = (start >= left) & (end <= right)  # whose length is known better than its ends
        log_pieces.append(_log_descent(near, jnp.where(whole, length, high - low), kappa))
    return numerics.log_mixture(jnp.stack(jnp.broadcast_arrays(*log_pieces), axis=-1))


def _log_descent(near: jax.Array, size: jax.Array, kappa: jax.Array) -> jax.Array:
    """The same from one distance from the mean direction on, both within pi."""
    near, size, kappa = jnp.broadcast_arrays(near, size, kappa)
    square = jnp.square(jnp.sin(0.5 * near))
    # Where the density has lost 40 nats; the opposite of the mean direction if it does not.
    depth = jnp.where(kappa > 0, jnp.minimum(square + 20 / jnp.where(kappa > 0, kappa, 1), 1.0), 1.0)
    reach = jax.lax.stop_gradient(2 * jnp.arcsin(jnp.sqrt(depth)) - near)
    seen = size > 0
    length = jnp.where((depth < 1) & (reach < size), reach, jnp.where(seen, size, 1))[..., None]
    nodes, weights = (jnp.asarray(v, near.dtype).reshape((1,) * near.ndim + (-1,)) for v in _RULE)
    decay = jnp.sin(near[..., None] + 0.5 * length * nodes) * jnp.sin(0.5 * length * nodes)
    value = jnp.sum(length * weights * jnp.exp(-2 * kappa[..., None] * decay), axis=-1)
    return jnp.where(seen, jnp.log(value) - 2 * kappa * square, -jnp.inf)
