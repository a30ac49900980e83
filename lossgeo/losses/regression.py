r"""Losses of residuals with the noise that they are the likelihood of.

======================  ==============================================  ==================  =========================
loss                    :math:`\rho(r)`                                 estimates           noise
======================  ==============================================  ==================  =========================
``SquaredError``        :math:`r^2/2`                                   the mean            ``Normal``
``AbsoluteError``       :math:`|r|`                                     the median          ``Laplace``
``Pinball(τ)``          :math:`r\,(\tau - 1_{r < 0})`                   the τ-quantile      ``AsymmetricLaplace``
``Huber(δ)``            :math:`r^2/2` to δ, then linear                 Huber's location    ``Huber``
``LogCosh``             :math:`\log\cosh r`                             a smooth location   ``HyperbolicSecant``
``EpsilonInsensitive``  :math:`(|r| - \epsilon)_+`                      the middle of a     ``EpsilonInsensitive``
                                                                        tube
``StudentT(ν, σ)``      :math:`\frac{\nu+1}2\log(1 + r^2/\nu\sigma^2)`  a redescending      ``StudentT``
                                                                        location
======================  ==============================================  ==================  =========================

For a symmetric noise all but the pinball loss have its center as their target. Losses of counts and amounts are in
:mod:`lossgeo.losses.deviance`.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln
from jax.typing import ArrayLike

from lossgeo import distributions as dist
from lossgeo._pytree import pytree
from lossgeo.distributions.hyperbolic_secant import log_cosh as _log_cosh
from lossgeo.distributions.student_t import half_log1p_square
from lossgeo.losses.margin import floating
from lossgeo.losses.residual import RegressionLoss, rising_root, weighted

__all__ = ["AbsoluteError", "EpsilonInsensitive", "Huber", "LogCosh", "Pinball", "SquaredError", "StudentT"]


def _number(value: ArrayLike) -> float:
    return float(jnp.asarray(value))


@pytree
class SquaredError(RegressionLoss):
    r"""Half the squared residual :math:`\rho(r) = r^2/2`; its minimizer is the mean, whatever the noise."""

    functional = "mean"
    lipschitz = math.inf
    smoothness = 1.0

    def value(self, r: ArrayLike) -> jax.Array:
        r""":math:`r^2/2`."""
        (r,) = floating(r)
        return 0.5 * r * r

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v/(1 + \gamma)`."""
        v, step = floating(v, step)
        return v / (1 + step)

    def minimizer(self, y: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
        """The weighted mean."""
        y, weights = weighted(y, weights)
        return jnp.sum(weights * y, axis=-1) / jnp.sum(weights, axis=-1)

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``Normal(loc, scale)``."""
        return dist.Normal(loc, scale)

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution:
        """``Normal``; the temperature is the variance."""
        return dist.Normal(0.0, jnp.sqrt(jnp.asarray(temperature, float)))


@pytree
class Pinball(RegressionLoss):
    r"""Pinball loss :math:`\rho(r) = r\,(\tau - 1_{r < 0})`: missing upwards costs τ, downwards 1 − τ.

    Args:
        tau: level of the quantile in (0, 1).

    Reference: Koenker, Bassett (1978), Regression quantiles, Econometrica 46.
    """

    tau: ArrayLike = 0.5

    smoothness = math.inf

    @property
    def functional(self) -> str:  # type: ignore[override]
        """The quantile of level ``tau``."""
        return f"quantile of level {_number(self.tau):g}"

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        r""":math:`\max(\tau, 1 - \tau)`."""
        return max(_number(self.tau), 1 - _number(self.tau))

    def value(self, r: ArrayLike) -> jax.Array:
        """See the class."""
        r, tau = floating(r, self.tau)
        return 0.5 * r * (jnp.sign(r) + (2 * tau - 1))

    def kinks(self) -> list[tuple[ArrayLike, ArrayLike, ArrayLike]]:
        """See :meth:`RegressionLoss.kinks`."""
        return [(0.0, jnp.asarray(self.tau) - 1.0, self.tau)]

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Soft thresholding by :math:`\gamma\tau` from above, by :math:`\gamma(1 - \tau)` from below."""
        v, step, tau = floating(v, step, self.tau)
        return jnp.maximum(v - step * tau, 0) + jnp.minimum(v + step * (1 - tau), 0)

    def minimizer(self, y: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
        """The weighted quantile; where two neighbours and all between them are optimal, their middle."""
        y, weights = weighted(y, weights)
        tau = jnp.asarray(self.tau, y.dtype)
        return jnp.vectorize(_quantile, signature="(n),(n),()->()")(y, weights, tau)

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``AsymmetricLaplace(loc, scale, tau)``, whose quantile of level ``tau`` is ``loc``."""
        return dist.AsymmetricLaplace(loc, scale, self.tau)

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution:
        """``AsymmetricLaplace``; the temperature is its scale."""
        return dist.AsymmetricLaplace(0.0, temperature, self.tau)


def _quantile(y: jax.Array, weights: jax.Array, tau: jax.Array) -> jax.Array:
    order = jnp.argsort(y)
    y, below = y[order], jnp.cumsum(weights[order])
    level, slack = tau * below[-1], 4 * y.size * jnp.finfo(y.dtype).eps * below[-1]
    first = jnp.argmax(below >= level - slack)
    last = jnp.argmax(below > level + slack)
    return jnp.where(jnp.any(jnp.isnan(y)), jnp.nan, 0.5 * (y[first] + y[last]))


@pytree
class AbsoluteError(RegressionLoss):
    r"""Absolute error :math:`\rho(r) = |r|`, twice the pinball loss of level 1/2."""

    functional = "median"
    lipschitz = 1.0
    smoothness = math.inf

    def value(self, r: ArrayLike) -> jax.Array:
        r""":math:`|r|`."""
        (r,) = floating(r)
        return r * jnp.sign(r)

    def kinks(self) -> list[tuple[ArrayLike, ArrayLike, ArrayLike]]:
        """See :meth:`RegressionLoss.kinks`."""
        return [(0.0, -1.0, 1.0)]

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        """Soft thresholding by the step."""
        v, step = floating(v, step)
        return jnp.sign(v) * jnp.maximum(jnp.abs(v) - step, 0)

    def minimizer(self, y: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
        """The weighted median."""
        return Pinball(0.5).minimizer(y, weights)

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``Laplace(loc, scale)``."""
        return dist.Laplace(loc, scale)

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution:
        """``Laplace``; the temperature is its scale."""
        return dist.Laplace(0.0, temperature)


@pytree
class Huber(RegressionLoss):
    r"""Huber's loss: :math:`r^2/2` for :math:`|r| \le \delta`, :math:`\delta|r| - \delta^2/2` beyond.

    Args:
        delta: where squared error gives way to absolute error, :math:`\delta > 0`, in the units of the residual.

    Reference: Huber (1964), Annals of Mathematical Statistics 35.
    """

    delta: ArrayLike = 1.345

    functional = "Huber's location: the mean with residuals cut off at delta"
    smoothness = 1.0

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        r""":math:`\delta`."""
        return _number(self.delta)

    def value(self, r: ArrayLike) -> jax.Array:
        """See the class."""
        r, delta = floating(r, self.delta)
        size = r * jnp.sign(r)
        center = size <= delta
        inner, outer = jnp.where(center, r, 0), jnp.where(center, delta, size)
        return jnp.where(center, 0.5 * inner * inner, delta * (outer - 0.5 * delta))

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r""":math:`v/(1 + \gamma)` up to :math:`\delta(1 + \gamma)`, then nearer to 0 by :math:`\gamma\delta`."""
        v, step, delta = floating(v, step, self.delta)
        return jnp.where(jnp.abs(v) <= delta * (1 + step), v / (1 + step), v - jnp.sign(v) * step * delta)

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``Huber(loc, scale, delta)``, with ``delta`` in units of the scale."""
        return dist.Huber(loc, scale, self.delta)

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution:
        r"""``Huber`` of scale :math:`\sqrt s` and cut :math:`\delta/\sqrt s`."""
        scale = jnp.sqrt(jnp.asarray(temperature, float))
        return dist.Huber(0.0, scale, jnp.asarray(self.delta) / scale)


@pytree
class LogCosh(RegressionLoss):
    r"""Log-cosh loss :math:`\rho(r) = \log\cosh r`: near 0 squared, far out absolute error, smooth everywhere."""

    functional = "smooth location: the average of tanh of the residuals is 0"
    lipschitz = 1.0
    smoothness = 1.0

    def value(self, r: ArrayLike) -> jax.Array:
        r""":math:`\log\cosh r`, without overflow and with relative accuracy near 0."""
        (r,) = floating(r)
        return _log_cosh(r)

    def derivative(self, r: ArrayLike) -> jax.Array:
        r""":math:`\tanh r`."""
        (r,) = floating(r)
        return jnp.tanh(r)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""The root of :math:`r + \gamma\tanh r = v`, between :math:`v/(1 + \gamma)` and :math:`v`."""
        return _log_cosh_prox(*floating(v, step))

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``HyperbolicSecant(loc, scale)``."""
        return dist.HyperbolicSecant(loc, scale)

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution | None:
        r"""``HyperbolicSecant`` at temperature 1; other powers of the secant are no family of the library."""
        return dist.HyperbolicSecant() if _number(temperature) == 1 else None

    def log_normalizer(self, temperature: ArrayLike = 1.0) -> jax.Array:
        r""":math:`\log B(\tfrac1{2s}, \tfrac12)`."""
        (s,) = floating(temperature)
        return betaln(0.5 / s, jnp.asarray(0.5, s.dtype))


@jax.jit
def _log_cosh_prox(v: jax.Array, step: jax.Array) -> jax.Array:
    size = jnp.abs(v)
    return jnp.sign(v) * rising_root(lambda r: r - size + step * jnp.tanh(r), size / (1 + step), size)


@pytree
class EpsilonInsensitive(RegressionLoss):
    r"""Epsilon-insensitive loss :math:`\rho(r) = (|r| - \epsilon)_+` of support vector regression.

    Args:
        epsilon: half the width of the tube without loss, :math:`\epsilon \ge 0`, in the units of the residual.

    Reference: Smola, Schölkopf (2004), A tutorial on support vector regression.
    """

    epsilon: ArrayLike = 0.1

    functional = "middle of the tube of width 2 epsilon with equal mass above and below"
    lipschitz = 1.0
    smoothness = math.inf

    def value(self, r: ArrayLike) -> jax.Array:
        """See the class."""
        r, epsilon = floating(r, self.epsilon)
        excess = r * jnp.sign(r) - epsilon
        return jnp.where(excess > 0, excess, jnp.where(excess <= 0, 0, jnp.nan))

    def derivative(self, r: ArrayLike) -> jax.Array:
        """The sign outside the tube, 0 inside, half the sign at its edges."""
        r, epsilon = floating(r, self.epsilon)
        return 0.5 * (jnp.sign(r - epsilon) + jnp.sign(r + epsilon))

    def kinks(self) -> list[tuple[ArrayLike, ArrayLike, ArrayLike]]:
        """See :meth:`RegressionLoss.kinks`."""
        return [(-jnp.asarray(self.epsilon), -1.0, 0.0), (self.epsilon, 0.0, 1.0)]

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        """Unmoved inside the tube; outside, towards it by the step, at most to its edge."""
        v, step, epsilon = floating(v, step, self.epsilon)
        moved = epsilon + jnp.maximum(jnp.abs(v) - epsilon - step, 0)
        return jnp.where(jnp.abs(v) <= epsilon, v, jnp.sign(v) * moved)

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``EpsilonInsensitive(loc, scale, epsilon)``, with ``epsilon`` in units of the scale."""
        return dist.EpsilonInsensitive(loc, scale, self.epsilon)

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution:
        r"""``EpsilonInsensitive`` of scale ``s`` and half width :math:`\epsilon/s`."""
        s = jnp.asarray(temperature, float)
        return dist.EpsilonInsensitive(0.0, s, jnp.asarray(self.epsilon) / s)


@pytree
class StudentT(RegressionLoss):
    r"""Student's loss :math:`\rho(r) = \frac{\nu + 1}{2}\log(1 + r^2/\nu\sigma^2)`: far residuals are forgiven.

    Not convex: the derivative redescends to 0, and there may be several minima.

    Args:
        df: degrees of freedom :math:`\nu > 0`; 1 is Cauchy's loss.
        scale: :math:`\sigma > 0`, in the units of the residual.

    Reference: Lange, Little, Taylor (1989), Robust statistical modeling using the t distribution, JASA 84.
    """

    df: ArrayLike = 4.0
    scale: ArrayLike = 1.0

    convex = False
    functional = "redescending location: the mode of the likelihood of Student's t"

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        r""":math:`(\nu + 1)/2\sigma\sqrt\nu`, the slope at :math:`|r| = \sigma\sqrt\nu`."""
        df = _number(self.df)
        return (df + 1) / (2 * math.sqrt(df) * _number(self.scale))

    @property
    def smoothness(self) -> float:  # type: ignore[override]
        r""":math:`(\nu + 1)/\nu\sigma^2`, the curvature at 0."""
        return (1 + 1 / _number(self.df)) / _number(self.scale) ** 2

    def value(self, r: ArrayLike) -> jax.Array:
        """See the class; accurate for every ``df``, and the square may overflow."""
        r, df, scale = floating(r, self.df, self.scale)
        return half_log1p_square(r / scale, df)

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> dist.Distribution:
        """``StudentT(df, loc, scale)`` with the product of the two scales."""
        return dist.StudentT(self.df, loc, jnp.asarray(self.scale) * jnp.asarray(scale))

    def tempered(self, temperature: ArrayLike = 1.0) -> dist.Distribution | None:
        r"""``StudentT`` with :math:`(\nu + 1)/s - 1` degrees of freedom, if that is positive; else no density."""
        df = (_number(self.df) + 1) / _number(temperature) - 1
        if df <= 0:
            return None
        return dist.StudentT(df, 0.0, jnp.asarray(self.scale) * math.sqrt(_number(self.df) / df))
