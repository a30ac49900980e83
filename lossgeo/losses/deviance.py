r"""Half deviances of counts and amounts: the losses of a mean with variance :math:`\phi\,\mu^p`.

.. math:: \ell(y, \mu) = \tfrac12 d(y, \mu) = \int_\mu^y \frac{y - t}{t^p}\,dt, \qquad
    \frac{\partial\ell}{\partial\mu} = -\frac{y - \mu}{\mu^p}

======================  =====  ================  =============================================================
loss                    power  targets           noise of dispersion φ
======================  =====  ================  =============================================================
``PoissonDeviance``     1      counts            ``Poisson(mu)`` at φ = 1; at others none
``GammaDeviance``       2      amounts           ``Gamma(1/φ, 1/(φ mu))``
``TweedieDeviance(p)``  p      with exact zeros  none in closed form for 1 < p < 2; ``Normal`` at 0, the Poisson
                               if p < 2          and the gamma at 1 and 2, ``InverseGaussian`` at 3
======================  =====  ================  =============================================================

All are Bregman divergences, so that all are minimized by the *mean*, whatever the distribution of the target. Except
for the Poisson none is convex in μ; for powers from 1 to 2 all are convex in :math:`\eta = \log\mu`, where their
proximal map is taken.

Reference: Jorgensen (1997), The Theory of Dispersion Models; McCullagh, Nelder (1989), section 2.3.
"""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import distributions as dist
from lossgeo import numerics
from lossgeo._pytree import pytree, static
from lossgeo.losses.margin import floating
from lossgeo.losses.residual import matched, rising_root, weighted

__all__ = ["DevianceLoss", "GammaDeviance", "PoissonDeviance", "TweedieDeviance"]

_NODES, _WEIGHTS = numerics.gauss_legendre(12)


class DevianceLoss:
    """Half a unit deviance; subclasses say for which power of the variance function.

    Every method is elementwise, works in the dtype of its arguments and under ``jit``, ``vmap`` and ``grad``.
    """

    power: float
    functional: ClassVar[str] = "mean"

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in the mean for every target: for the powers 0 and 1 only."""
        return self.power in (0, 1)

    @property
    def convex_in_log_mean(self) -> bool:
        """Whether the loss is convex in the logarithm of the mean, as under a log link: for powers from 1 to 2."""
        return 1 <= self.power <= 2

    def value(self, y: ArrayLike, mu: ArrayLike) -> jax.Array:
        r"""Half the unit deviance of targets ``y`` from means ``mu``.

        Args:
            y: targets, non-negative for a power from 1 on (positive from 2 on, infinite loss at 0); negative ones give
                NaN.
            mu: means, positive for a power from 1 on, broadcastable with ``y``; negative ones give NaN.

        Returns:
            Losses in nats times the dispersion, non-negative, 0 iff ``y == mu``, with relative accuracy between near
            neighbours.
        """
        y, mu = floating(y, mu)
        power = _checked(self.power)
        if power == 0:
            return 0.5 * jnp.square(y - mu)
        inside = (y >= 0) & (mu > 0) & (mu < jnp.inf)
        value = _half_deviance(power, jnp.where(inside, y, 1), jnp.where(inside, mu, 1))
        # A mean of 0 is the limit of an observation of 0, if that has a positive probability.
        edge = jnp.where((mu == 0) & (y >= 0), jnp.where((y == 0) & (power < 2), 0, jnp.inf), jnp.nan)
        return jnp.where(inside, value, edge)

    def __call__(self, y: ArrayLike, mu: ArrayLike) -> jax.Array:
        """The same as :meth:`value`."""
        return self.value(y, mu)

    def pointwise(self, predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
        """Loss of each observation from its predicted mean; both of shape ``(n,)``.

        Raises:
            ValueError: the shapes differ (static: free under ``jit``).
        """
        predictions, targets = matched("predictions", predictions, "targets", targets)
        return self.value(targets, predictions)

    def derivative(self, y: ArrayLike, mu: ArrayLike) -> jax.Array:
        r"""Derivative in the mean, :math:`-(y - \mu)/\mu^p`."""
        y, mu = floating(y, mu)
        return (mu - y) * mu ** (-_checked(self.power))

    def prox(self, y: ArrayLike, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Proximal map in the logarithm of the mean: :math:`\arg\min_\eta \ell(y, e^\eta) + (\eta - v)^2 / 2\gamma`.

        Args:
            y: targets, any shape.
            v: log-means, broadcastable.
            step: :math:`\gamma > 0`.

        Raises:
            ValueError: a power outside [1, 2], where the loss is not convex in the log-mean.
        """
        if not self.convex_in_log_mean:
            raise ValueError(
                f"the deviance of power {self.power} is not convex in the log-mean, so that its proximal map is not "
                "unique. Powers from 1 to 2 have one."
            )
        return _log_mean_prox(self.power, *floating(y, v, step))

    def minimizer(self, y: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
        """The constant mean of least total loss for a sample along the last axis: its weighted mean.

        Raises:
            ValueError: shapes that differ, or an empty sample.
        """
        y, weights = weighted(y, weights)
        return jnp.sum(weights * y, axis=-1) / jnp.sum(weights, axis=-1)

    def distribution(self, mu: ArrayLike, dispersion: ArrayLike = 1.0) -> dist.Distribution | None:
        r"""The noise with :math:`-\log p(y) = \ell(y, \mu)/\phi + c(y, \phi)`; ``None`` where the library has none."""
        if self.power == 0:
            return dist.Normal(mu, jnp.sqrt(jnp.asarray(dispersion, float)))
        if self.power == 1:
            return dist.Poisson(mu) if float(jnp.asarray(dispersion)) == 1 else None
        if self.power == 2:
            shape = 1 / jnp.asarray(dispersion, float)
            return dist.Gamma(shape, shape / jnp.asarray(mu))
        return dist.InverseGaussian(mu, 1 / jnp.asarray(dispersion, float)) if self.power == 3 else None

    def no_distribution(self, dispersion: float = 1.0) -> str:
        """Why :meth:`distribution` is ``None``; empty where it is not."""
        if self.power == 1 and dispersion != 1:
            return (
                f"an exponential dispersion model with variance {dispersion:g} mu lives on multiples of the dispersion "
                "and not on counts: a quasi-likelihood"
            )
        if 1 < self.power < 2:
            return "a Poisson sum of gamma amounts: its normaliser is an infinite series without closed form"
        if self.power not in (0, 1, 2, 3):
            return "an exponential dispersion model of a stable law, whose normaliser has no closed form"
        return ""


@pytree
class PoissonDeviance(DevianceLoss):
    r"""Half the Poisson deviance :math:`y\log(y/\mu) - y + \mu`, for counts and rates."""

    power = 1.0


@pytree
class GammaDeviance(DevianceLoss):
    r"""Half the gamma deviance :math:`y/\mu - 1 - \log(y/\mu)`, for amounts: only relative errors count."""

    power = 2.0


@pytree
class TweedieDeviance(DevianceLoss):
    r"""Half the deviance of variance :math:`\phi\,\mu^p`.

    .. math:: \frac{y^{2-p}}{(1-p)(2-p)} - \frac{y\mu^{1-p}}{1-p} + \frac{\mu^{2-p}}{2-p}

    Args:
        power: :math:`p`, 0 or from 1 on (static); between 1 and 2 for amounts with exact zeros (rain, claims).

    Raises:
        ValueError: on use, another power.
    """

    power: float = static(default=1.5)


def _checked(power: float) -> float:
    if not (power == 0 or 1 <= power < math.inf):
        raise ValueError(f"the power of a Tweedie deviance must be 0 or at least 1; it is {power}.")
    return float(power)


def _half_deviance(p: float, y: jax.Array, mu: jax.Array) -> jax.Array:
    if p == 1:
        return numerics.kl_term(y, mu)
    if p == 2:
        return numerics.kl_term(mu, y) / mu
    # In units of the mean, t = y / mu; next to 1 by quadrature of (t - 1)^2 (1 - x) / (1 + x (t - 1))^p, elsewhere by
    # the three terms.
    t = y / mu
    near = jnp.abs(t - 1) < 0.5
    gap = jnp.where(near, (y - mu) / mu, 0)[..., None]
    nodes, weights = (jnp.asarray(v, t.dtype).reshape((1,) * t.ndim + (-1,)) for v in (_NODES, _WEIGHTS))
    integral = jnp.sum(weights * (1 - nodes) * jnp.exp(-p * jnp.log1p(gap * nodes)), axis=-1)
    inside = ~near & (t > 0)
    far = jnp.where(inside, t, 2)
    terms = far ** (2 - p) / ((1 - p) * (2 - p)) - far / (1 - p) + 1 / (2 - p)
    zero = 1 / (2 - p) if p < 2 else math.inf
    outside = jnp.where(t == 0, zero, jnp.nan)
    value = jnp.where(near, jnp.square(gap[..., 0]) * integral, jnp.where(inside, terms, outside))
    return mu ** (2 - p) * value


@jax.jit(static_argnums=0)
def _log_mean_prox(p: float, y: jax.Array, v: jax.Array, step: jax.Array) -> jax.Array:
    def slope(eta: jax.Array) -> jax.Array:
        return jnp.exp((2 - p) * eta) - y * jnp.exp((1 - p) * eta)

    # The minimum lies between v and the log-mean log y of the loss alone, and no further from v than the slope there
    # would carry it: the slope decreases on the way.
    reach = step * jnp.abs(slope(v))
    target = jnp.log(jnp.where(y > 0, y, 1))
    up = v + jnp.minimum(reach, jnp.where(y > 0, jnp.maximum(target - v, 0), 0))
    down = v - jnp.minimum(reach, jnp.where(y > 0, jnp.maximum(v - target, 0), jnp.inf))
    return rising_root(lambda eta: (eta - v) + step * slope(eta), down, up)
