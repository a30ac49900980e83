r"""Margin losses whose minimizer is a multiple of the logit: the logistic loss, a likelihood, and the exponential.

==================  =======================================  =====================================================
``Logistic``        :math:`\log(1 + e^{-m})`                 :math:`H` is the binary entropy; in nats a likelihood
``Exponential``     :math:`e^{-\beta m}`                     :math:`H = 2\sqrt{\eta(1 - \eta)}`; AdaBoost
==================  =======================================  =====================================================

Reference: Bartlett, Jordan, McAuliffe (2006), section 2; Friedman, Hastie, Tibshirani (2000), Additive logistic
regression.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.losses.convex_margin import within
from lossgeo.losses.margin import MarginLoss, floating

__all__ = ["Exponential", "Logistic"]


@pytree
class Logistic(MarginLoss):
    r"""Logistic loss :math:`\varphi(m) = \log(1 + e^{-m}) / \text{unit}`.

    In nats (``unit = 1``) it is the negative log-likelihood of a label, the cross-entropy with target
    :math:`t = (1 + y_\pm)/2`. Divided by ln 2 it passes through 1 at 0 and is a *tempered* likelihood: same minimizer,
    but its weight against a prior differs by the factor.

    Args:
        unit: nats per unit of the loss, > 0: 1, or ln 2 for bits.
    """

    unit: ArrayLike = 1.0

    convex = True
    calibrated = True
    proper_composite = True

    def value(self, m: ArrayLike) -> jax.Array:
        """See the class; relative accuracy in both tails."""
        m, unit = floating(m, self.unit)
        return numerics.softplus(-m) / unit

    def derivative(self, m: ArrayLike) -> jax.Array:
        r""":math:`-\sigma(-m)`, over the unit."""
        m, unit = floating(m, self.unit)
        return -numerics.sigmoid(-m) / unit

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\log\frac{\eta}{1 - \eta}`."""
        (eta,) = floating(eta)
        return jnp.log(eta) - jnp.log1p(-eta)

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r""":math:`1/(1 + e^{-f})`."""
        return numerics.sigmoid(f)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r"""Binary entropy :math:`-\eta\log\eta - (1 - \eta)\log(1 - \eta)`, over the unit."""
        eta, unit = floating(eta, self.unit)
        return -(xlogy(eta, eta) + xlog1py(1 - eta, -eta)) / unit

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`\log 2 - h(\frac{1 + \theta}2)`, over the unit."""
        theta, unit = floating(theta, self.unit)
        size = jnp.abs(theta)
        return 0.5 * (xlog1py(1 + size, size) + xlog1py(1 - size, -size)) / unit

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`s\log s + (1 - s)\log(1 - s)` with :math:`s = -u` in [0, 1], all in the unit."""
        u, unit = floating(u, self.unit)
        s = -u * unit
        inside = (s >= 0) & (s <= 1)
        s = jnp.where(inside, s, 0.5)
        return within(inside, (xlogy(s, s) + xlog1py(1 - s, -s)) / unit)

    @property
    def lipschitz(self) -> float:
        """1 over the unit."""
        return 1 / float(jnp.asarray(self.unit))

    @property
    def smoothness(self) -> float:
        """1/4 over the unit."""
        return 0.25 / float(jnp.asarray(self.unit))

    @property
    def normalized(self) -> bool:
        """In nats only."""
        return float(jnp.asarray(self.unit)) == 1.0


@pytree
class Exponential(MarginLoss):
    r"""Exponential loss :math:`\varphi(m) = e^{-\beta m}`, that of AdaBoost.

    Args:
        beta: rate, > 0.
    """

    beta: ArrayLike = 1.0

    lipschitz = math.inf
    smoothness = math.inf
    convex = True
    calibrated = True
    proper_composite = True
    normalized = False

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`e^{-\beta m}`."""
        m, beta = floating(m, self.beta)
        return jnp.exp(-beta * m)

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\frac{1}{2\beta}\log\frac{\eta}{1 - \eta}`."""
        eta, beta = floating(eta, self.beta)
        return (jnp.log(eta) - jnp.log1p(-eta)) / (2 * beta)

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r""":math:`1/(1 + e^{-2\beta f})`."""
        f, beta = floating(f, self.beta)
        return numerics.sigmoid(2 * beta * f)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`2\sqrt{\eta(1 - \eta)}`."""
        (eta,) = floating(eta)
        return 2 * jnp.sqrt(eta * (1 - eta))

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`1 - \sqrt{1 - \theta^2}`."""
        (theta,) = floating(theta)
        return theta * theta / (1 + jnp.sqrt((1 - theta) * (1 + theta)))

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`s\log s - s` with :math:`s = -u/\beta \ge 0`."""
        u, beta = floating(u, self.beta)
        s = jnp.where(u <= 0, -u / beta, 1)
        return within(u <= 0, xlogy(s, s) - s)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v + W(\gamma\beta^2 e^{-\beta v})/\beta`, with Lambert's :math:`W` of a logarithm."""
        v, step, beta = floating(v, step, self.beta)
        return v + _lambert_of_log(jnp.log(step * beta * beta) - beta * v) / beta


def _lambert_of_log(z: jax.Array) -> jax.Array:
    r""":math:`w > 0` with :math:`w + \log w = z`, that is :math:`W(e^z)`, by Newton steps in :math:`\log w` or w."""
    large = z > 1
    log_w = jnp.where(large, 0, z)
    w = jnp.where(large, z, 1)
    for _ in range(8):
        log_w = log_w - (jnp.exp(log_w) + log_w - jnp.where(large, 1, z)) / (jnp.exp(log_w) + 1)
        w = w - (w + jnp.log(w) - jnp.where(large, z, 1)) * w / (1 + w)
    return jnp.where(large, w, jnp.exp(log_w))
