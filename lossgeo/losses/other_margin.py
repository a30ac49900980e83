"""Margin losses that are not convex: the 0-1 loss itself, and bounded losses that forgive outliers."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.losses.margin import MarginLoss, floating

__all__ = ["Ramp", "Savage", "Tangent", "ZeroOne"]


class _Bounded(MarginLoss):
    """Losses that are bounded: their conjugate is 0 at 0 and infinite elsewhere."""

    convex = False
    calibrated = True
    normalized = False

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r"""0 at 0 and infinite elsewhere: a bounded loss has no supporting line but a horizontal one."""
        (u,) = floating(u)
        return jnp.where(u == 0, 0.0, jnp.inf)


@pytree
class ZeroOne(_Bounded):
    r"""The 0-1 loss :math:`\varphi(m) = 1[m \le 0]`: the error rate, which all others stand in for.

    The derivative is 0 almost everywhere, and the proximal problem has no minimum: moving up to 0 costs nothing, but at
    0 the loss is still 1.
    """

    lipschitz = math.inf
    smoothness = math.inf
    proper_composite = False
    undefined = ("prox",)

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`1[m \le 0]`; NaN for NaN."""
        (m,) = floating(m)
        return jnp.where(m <= 0, 1.0, jnp.where(m > 0, 0.0, jnp.nan)).astype(m.dtype)

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\operatorname{sign}(2\eta - 1)`; any score of that sign."""
        (eta,) = floating(eta)
        return jnp.where(eta >= 0.5, 1.0, -1.0).astype(eta.dtype)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\min(\eta, 1 - \eta)`."""
        (eta,) = floating(eta)
        return jnp.minimum(eta, 1 - eta)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`|\theta|`."""
        return jnp.abs(floating(theta)[0])

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        """Raises: there is none."""
        raise ValueError(
            "the 0-1 loss has no proximal map: its infimum at 0 is not attained. Use the ramp loss, which is "
            "continuous."
        )


@pytree
class Ramp(_Bounded):
    r"""Ramp: the hinge, bounded: :math:`\varphi(m) = \min(2, \max(0, 1 - m))`.

    :math:`\varphi(m) + \varphi(-m) = 2`, so that symmetric label noise does not move the minimizer.

    Reference: Collobert et al. (2006), Trading convexity for scalability, with s = -1.
    """

    lipschitz = 1.0
    smoothness = math.inf
    proper_composite = False

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`\min(2, \max(0, 1 - m))`."""
        (m,) = floating(m)
        return jnp.where(m >= 1, 0, jnp.where(m > -1, 1 - m, jnp.where(m <= -1, 2.0, jnp.nan)))

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\operatorname{sign}(2\eta - 1)`."""
        (eta,) = floating(eta)
        return jnp.sign(2 * eta - 1)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`2\min(\eta, 1 - \eta)`."""
        (eta,) = floating(eta)
        return 2 * jnp.minimum(eta, 1 - eta)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`|\theta|`."""
        return jnp.abs(floating(theta)[0])


@pytree
class Savage(_Bounded):
    r"""Savage: :math:`\varphi(m) = (1 + e^m)^{-2}`, the Brier score under the logistic link.

    Reference: Masnadi-Shirazi, Vasconcelos (2008), On the design of loss functions for classification.
    """

    lipschitz = 8 / 27
    proper_composite = True

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`\sigma(-m)^2`."""
        (m,) = floating(m)
        return jnp.square(numerics.sigmoid(-m))

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\log\frac{\eta}{1 - \eta}`."""
        (eta,) = floating(eta)
        return jnp.log(eta) - jnp.log1p(-eta)

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r""":math:`1/(1 + e^{-f})`."""
        return numerics.sigmoid(f)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\eta(1 - \eta)`."""
        (eta,) = floating(eta)
        return eta * (1 - eta)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`\theta^2/4`."""
        (theta,) = floating(theta)
        return 0.25 * theta * theta

    @property
    def smoothness(self) -> float:
        r"""Greatest :math:`2 s^2 (1 - s)(2 - 3s)` of :math:`s = \sigma(-m)`, at :math:`s = (15 - \sqrt{33})/24`."""
        s = (15 - math.sqrt(33)) / 24
        return 2 * s * s * (1 - s) * (2 - 3 * s)


@pytree
class Tangent(_Bounded):
    r"""Tangent: :math:`\varphi(m) = (2\arctan m - 1)^2`, which also punishes margins that are too right.

    Reference: Masnadi-Shirazi, Mahadevan, Vasconcelos (2010), On the design of robust classifiers.
    """

    proper_composite = True

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`(2\arctan m - 1)^2`."""
        (m,) = floating(m)
        return jnp.square(2 * jnp.arctan(m) - 1)

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\tan(\eta - \tfrac12)`."""
        (eta,) = floating(eta)
        return jnp.tan(eta - 0.5)

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r""":math:`\tfrac12 + \arctan f`, held in [0, 1]."""
        (f,) = floating(f)
        return jnp.clip(0.5 + jnp.arctan(f), 0, 1)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`4\eta(1 - \eta)`."""
        (eta,) = floating(eta)
        return 4 * eta * (1 - eta)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`\theta^2`."""
        (theta,) = floating(theta)
        return theta * theta
