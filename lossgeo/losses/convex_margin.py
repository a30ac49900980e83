r"""Convex margin losses with their closed forms.

With :math:`E = \max(\eta, 1 - \eta)` and :math:`s = \operatorname{sign}(2\eta - 1)`:

==================  ===========================================  ==========================  =======================
loss                :math:`\varphi(m)`                           minimizer                   :math:`H(\eta)`
==================  ===========================================  ==========================  =======================
``Square``          :math:`(1 - m)^2`                            :math:`2\eta - 1`           :math:`4\eta(1 - \eta)`
``Hinge``           :math:`(1 - m)_+`                            :math:`s`                   :math:`1 - |2\eta - 1|`
``SquaredHinge``    :math:`(1 - m)_+^2`                          :math:`2\eta - 1`           :math:`4\eta(1 - \eta)`
``ModifiedHuber``   :math:`(1 - m)_+^2`, linear below -1         :math:`2\eta - 1`           :math:`4\eta(1 - \eta)`
``SmoothedHinge``   between hinge (α → ∞) and Rennie's (α = 1)   :math:`s((2E-1)/E)^{1/α}`   see the class
==================  ===========================================  ==========================  =======================



None of them is a likelihood; the losses around the logit are in :mod:`lossgeo.losses.logit_margin`. Reference:
Bartlett, Jordan, McAuliffe (2006), section 2; Rennie,
Srebro (2005), Loss functions for preference levels.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.losses.margin import MarginLoss, floating

__all__ = ["Hinge", "ModifiedHuber", "SmoothedHinge", "Square", "SquaredHinge", "within"]


def within(inside: jax.Array, value: jax.Array) -> jax.Array:
    """A conjugate: infinite outside its domain."""
    return jnp.where(inside, value, jnp.inf)


class _Quadratic(MarginLoss):
    """Losses that are :math:`(1 - m)^2` on [-1, 1]: the minimizer is the mean of the sign."""

    convex = True
    calibrated = True
    proper_composite = True
    normalized = False
    smoothness = 2.0

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`2\eta - 1`."""
        (eta,) = floating(eta)
        return 2 * eta - 1

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`4\eta(1 - \eta)`."""
        (eta,) = floating(eta)
        return 4 * eta * (1 - eta)

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r""":math:`(1 + f)/2`, held in [0, 1]."""
        (f,) = floating(f)
        return jnp.clip(0.5 * (1 + f), 0, 1)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`\theta^2`."""
        (theta,) = floating(theta)
        return theta * theta


@pytree
class Square(_Quadratic):
    r"""Squared error of the sign: :math:`\varphi(m) = (1 - m)^2 = (y_\pm - f)^2`; it punishes margins over 1 too."""

    lipschitz = math.inf

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`(1 - m)^2`."""
        (m,) = floating(m)
        return jnp.square(1 - m)

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`u + u^2/4` on the line."""
        (u,) = floating(u)
        return u + 0.25 * u * u

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`(v + 2\gamma)/(1 + 2\gamma)`."""
        v, step = floating(v, step)
        return (v + 2 * step) / (1 + 2 * step)


@pytree
class SquaredHinge(_Quadratic):
    r"""Squared hinge: :math:`\varphi(m) = \max(0, 1 - m)^2`."""

    lipschitz = math.inf

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`\max(0, 1 - m)^2`."""
        (m,) = floating(m)
        return jnp.square(jnp.where(m >= 1, 0, 1 - m))

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`u + u^2/4` for :math:`u \le 0`."""
        (u,) = floating(u)
        return within(u <= 0, u + 0.25 * u * u)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v` from 1 on, else :math:`(v + 2\gamma)/(1 + 2\gamma)`."""
        v, step = floating(v, step)
        return jnp.where(v >= 1, v, (v + 2 * step) / (1 + 2 * step))


@pytree
class ModifiedHuber(_Quadratic):
    r"""Modified Huber: :math:`\max(0, 1 - m)^2` for :math:`m \ge -1`, then :math:`-4m`.

    Reference: Zhang (2004), Statistical behavior and consistency of classification methods, section 2.
    """

    lipschitz = 4.0

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`\max(0, 1 - m)^2` or :math:`-4m`."""
        (m,) = floating(m)
        return jnp.where(m < -1, -4 * m, jnp.square(jnp.where(m >= 1, 0, 1 - jnp.maximum(m, -1))))

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`u + u^2/4` on [-4, 0]."""
        (u,) = floating(u)
        return within((u <= 0) & (u >= -4), u + 0.25 * u * u)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v` from 1 on; :math:`v + 4\gamma` below :math:`-1 - 4\gamma`; that of the square between."""
        v, step = floating(v, step)
        middle = jnp.where(v < -1 - 4 * step, v + 4 * step, (v + 2 * step) / (1 + 2 * step))
        return jnp.where(v >= 1, v, middle)


@pytree
class Hinge(MarginLoss):
    r"""Hinge: :math:`\varphi(m) = \max(0, 1 - m)`, the loss of the support vector machine.

    Its minimizer is the sign alone: no link, no probability, no likelihood. The derivative at the kink is 0.
    """

    lipschitz = 1.0
    smoothness = math.inf
    convex = True
    calibrated = True
    proper_composite = False
    normalized = False

    def value(self, m: ArrayLike) -> jax.Array:
        r""":math:`\max(0, 1 - m)`."""
        (m,) = floating(m)
        return jnp.where(m >= 1, 0, 1 - m)

    def kinks(self) -> list[tuple[ArrayLike, ArrayLike, ArrayLike]]:
        """See :meth:`MarginLoss.kinks`."""
        return [(1.0, -1.0, 0.0)]

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\operatorname{sign}(2\eta - 1)`; anything in [-1, 1] where that is 0."""
        (eta,) = floating(eta)
        return jnp.sign(2 * eta - 1)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`1 - |2\eta - 1| = 2\min(\eta, 1 - \eta)`."""
        (eta,) = floating(eta)
        return 2 * jnp.minimum(eta, 1 - eta)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`|\theta|`."""
        return jnp.abs(floating(theta)[0])

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`u` on [-1, 0]."""
        (u,) = floating(u)
        return within((u >= -1) & (u <= 0), u)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v` from 1 on, else :math:`\min(v + \gamma, 1)`."""
        v, step = floating(v, step)
        return jnp.where(v >= 1, v, jnp.minimum(v + step, 1))


_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(14)


@pytree
class SmoothedHinge(MarginLoss):
    r"""Smoothed hinge: the hinge with a rounded corner, and with a probability link.

    .. math::
        \varphi(m) = \begin{cases} \frac{\alpha}{\alpha + 1} - m & m \le 0 \\
        \frac{m^{\alpha + 1}}{\alpha + 1} - m + \frac{\alpha}{\alpha + 1} & 0 < m < 1 \\ 0 & m \ge 1 \end{cases}

    Proper composite, with link :math:`\eta = 1/(2 - f^\alpha)` on [0, 1]: an SVM-like loss with probabilities in closed
    form. :math:`\alpha = 1` is Rennie's; :math:`\alpha \to \infty` is the hinge.

    Args:
        alpha: sharpness of the corner, > 0; from 1 on the gradient is Lipschitz with constant ``alpha``.

    Numerics:
        Relative accuracy up to the corner at 1, where the three terms cancel, by quadrature of
        :math:`\int_m^1 (1 - t^\alpha) dt`.
    """

    alpha: ArrayLike = 1.0

    lipschitz = 1.0
    convex = True
    calibrated = True
    proper_composite = True
    normalized = False

    def value(self, m: ArrayLike) -> jax.Array:
        """See the class."""
        m, alpha = floating(m, self.alpha)
        left = alpha / (alpha + 1) - m
        inner = jnp.where((m > 0) & (m <= 0.5), m, 0.25)
        middle = left + inner ** (alpha + 1) / (alpha + 1)
        gap = jnp.where((m > 0.5) & (m < 1), 1 - m, 0)
        nodes = jnp.asarray(0.5 * (_NODES + 1), m.dtype).reshape((1,) * m.ndim + (-1,))
        terms = -jnp.expm1(alpha[..., None] * jnp.log1p(-gap[..., None] * nodes))
        corner = gap * jnp.sum(terms * jnp.asarray(0.5 * _NODE_WEIGHTS, m.dtype).reshape(nodes.shape), axis=-1)
        return jnp.where(m > 0.5, corner, jnp.where(m > 0, middle, left))

    def derivative(self, m: ArrayLike) -> jax.Array:
        r""":math:`m^\alpha - 1`, held in [-1, 0]."""
        m, alpha = floating(m, self.alpha)
        inside = (m > 0) & (m < 1)
        slope = jnp.expm1(alpha * jnp.log(jnp.where(inside, m, 0.5)))
        return jnp.where(inside, slope, jnp.where(m >= 1, 0.0, jnp.where(m <= 0, -1.0, jnp.nan)))

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r""":math:`s\,((2E - 1)/E)^{1/\alpha}`."""
        eta, alpha = floating(eta, self.alpha)
        excess = jnp.abs(2 * eta - 1)
        ratio = jnp.where(excess > 0, excess, 1) / jnp.maximum(eta, 1 - eta)
        return jnp.where(excess > 0, jnp.sign(2 * eta - 1) * ratio ** (1 / alpha), 0)

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\frac{\alpha}{\alpha + 1}\bigl[1 - (2E - 1)^{1 + 1/\alpha} E^{-1/\alpha}\bigr]`."""
        eta, alpha = floating(eta, self.alpha)
        return alpha / (alpha + 1) - self.psi(2 * eta - 1)

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r""":math:`1/(2 - f^\alpha)` for :math:`0 \le f \le 1` and one minus that of :math:`-f` below 0."""
        f, alpha = floating(f, self.alpha)
        size = jnp.minimum(jnp.abs(f), 1)
        power = jnp.where(size > 0, jnp.where(size > 0, size, 1) ** alpha, 0)
        return jnp.where(f >= 0, 1 / (2 - power), (1 - power) / (2 - power))

    def psi(self, theta: ArrayLike) -> jax.Array:
        r""":math:`\frac{\alpha}{\alpha + 1}\,\theta^{1 + 1/\alpha}\bigl(\frac{1 + \theta}2\bigr)^{-1/\alpha}`."""
        theta, alpha = floating(theta, self.alpha)
        size = jnp.abs(theta)
        safe = jnp.where(size > 0, size, 1)
        return jnp.where(size > 0, alpha / (alpha + 1) * safe * (2 * safe / (1 + safe)) ** (1 / alpha), 0)

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r""":math:`\frac{\alpha}{\alpha + 1}\bigl[(1 + u)^{1 + 1/\alpha} - 1\bigr]` on [-1, 0]."""
        u, alpha = floating(u, self.alpha)
        inside = (u >= -1) & (u <= 0)
        power = jnp.expm1((1 + 1 / alpha) * jnp.log1p(jnp.where(inside & (u > -1), u, 0)))
        return within(inside, alpha / (alpha + 1) * jnp.where(u > -1, power, -1))

    @property
    def smoothness(self) -> float:
        r""":math:`\alpha` from 1 on; below, the second derivative is unbounded at 0."""
        return float(jnp.asarray(self.alpha)) if float(jnp.asarray(self.alpha)) >= 1 else math.inf
