"""The noise of support vector regression: flat in the center, exponential in the tails."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import LOG_2, matrix, promote
from lossgeo.distributions.location_scale import LocationScale


@pytree
class EpsilonInsensitive(LocationScale):
    r"""The density of the epsilon-insensitive loss: uniform in a tube around its location, Laplace outside.

    .. math:: \log p(y) = -(|z| - \epsilon)_+ - \log 2\sigma(1 + \epsilon), \qquad z = (y - \mu)/\sigma

    As noise it is the loss of support vector regression; because it is normalised, the width of the tube can be
    estimated, which the loss alone (least for the widest tube) cannot do. ``epsilon = 0`` is ``Laplace``.

    Args:
        loc: mean and median :math:`\mu`, any real.
        scale: :math:`\sigma > 0`, the mean excess beyond the tube.
        epsilon: half the width of the tube, :math:`\epsilon \ge 0`, in units of ``scale``.

    Numerics:
        At the edges of the tube the slope is that inside, 0. There are two kinks: ``kink``, which is one at the
        center, is ``None``, so that as a *prior* this density is taken for a smooth one. An optimum off the edges is
        certified as usual; one on an edge ends ``MAX_STEPS`` or ``STALLED`` and the message says why.

    Reference: Smola, Schölkopf (2004), A tutorial on support vector regression, section 3.2.
    """

    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0
    epsilon: ArrayLike = 0.5

    def _shape(self) -> tuple[ArrayLike, ...]:
        return (self.epsilon,)

    def _log_density(self, z: jax.Array, width: jax.Array) -> jax.Array:  # type: ignore[override]
        excess = z * jnp.sign(z) - width
        return -jnp.where(excess > 0, excess, 0) - jnp.log1p(width) - LOG_2

    def _log_cdf(self, z: jax.Array, width: jax.Array) -> jax.Array:  # type: ignore[override]
        below, above = z < -width, z > width
        excess = jnp.where(below, z + width, jnp.where(above, width - z, 0))
        center = 0.5 * (1 + (jnp.where(below | above, 0, z) + width)) / (1 + width)
        tail = excess - jnp.log1p(width) - LOG_2
        upper = jnp.log1p(-jnp.exp(jnp.where(above, tail, -1)))
        return jnp.where(below, tail, jnp.where(above, upper, jnp.log(center)))

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, width, _ = promote(q, self.epsilon, self.loc)
        level = 2 * jnp.minimum(q, 1 - q) * (1 + width)
        z = jnp.where(level < 1, jnp.log(jnp.where(level < 1, level, 1)) - width, level - 1 - width)
        return self._located(jnp.where(q < 0.5, z, -z))

    def _draw(self, key: jax.Array, size: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        key_choice, key_tail = jax.random.split(key)
        tail, width = promote(jax.random.exponential(key_tail, size, dtype), self.epsilon)
        # Uniform on the tube widened by the mass of the tails: what falls outside is a tail.
        place = jax.random.uniform(key_choice, size, dtype, minval=-1) * (1 + width)
        return jnp.where(jnp.abs(place) <= width, place, jnp.sign(place) * (width + tail))

    def _parts(self) -> tuple[jax.Array, jax.Array]:
        """Scale and epsilon in the shape of the batch."""
        width, scale, _ = promote(self.epsilon, self.scale, self.loc)
        return jnp.broadcast_to(scale, self.batch_shape), jnp.broadcast_to(width, self.batch_shape)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._located(0.0)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2\,\frac{\epsilon^3/3 + \epsilon^2 + 2\epsilon + 2}{1 + \epsilon}`."""
        _, width = self._parts()
        return self._spread((width**3 / 3 + width * width + 2 * width + 2) / (1 + width))

    def entropy(self) -> jax.Array:
        r""":math:`\log 2\sigma(1 + \epsilon) + \frac1{1 + \epsilon}`."""
        _, width = self._parts()
        return self._stretched(LOG_2 + jnp.log1p(width) + 1 / (1 + width))

    def fisher_information(self) -> jax.Array:
        r"""The covariance of the score of ``(loc, scale, epsilon)``; location is orthogonal to the others.

        .. math:: I_{\mu\mu} = \frac1{(1 + \epsilon)\sigma^2}, \quad
            I_{\sigma\sigma} = \frac{\epsilon^2 + \epsilon + 1}{(1 + \epsilon)\sigma^2}, \quad
            I_{\sigma\epsilon} = \frac{\epsilon}{(1 + \epsilon)\sigma}, \quad
            I_{\epsilon\epsilon} = \frac{\epsilon}{(1 + \epsilon)^2}
        """
        scale, width = self._parts()
        location = 1 / ((1 + width) * jnp.square(scale))
        spread = (width * width + width + 1) * location
        mixed, shape = width / ((1 + width) * scale), width / jnp.square(1 + width)
        return matrix([location, 0.0, 0.0], [0.0, spread, mixed], [0.0, mixed, shape])

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v` inside the tube; outside, moved by :math:`\text{step}/\sigma` towards it, at most to its edge."""
        v, step, loc, scale, width = promote(v, step, self.loc, self.scale, self.epsilon)
        residual = v - loc
        excess = jnp.abs(residual) - width * scale
        return loc + jnp.sign(residual) * jnp.where(
            excess <= 0, jnp.abs(residual), width * scale + jnp.maximum(excess - step / scale, 0)
        )
