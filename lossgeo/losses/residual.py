r"""The contract of a loss of residuals, tied to the noise that it assumes and to the number that it estimates.

A residual loss is a function :math:`\rho(r)` of :math:`r = y - \hat y`. Around it stand

====================  ==============================================================================================
``functional``        what minimizes the expected loss: the mean, the median, a quantile, …
``minimizer``         that number for a sample, found from the loss alone
``distribution``      the noise with density :math:`e^{-\rho((y - \mu)/\sigma)}/\sigma Z`
``tempered``          the noise with density :math:`e^{-\rho(r)/s}/Z(s)`: the loss on its own scale, weighted by 1/s
``log_normalizer``    :math:`\log Z(s) = \log\int e^{-\rho(r)/s}\,dr`
``prox``              :math:`\arg\min_r \rho(r) + (r - v)^2 / 2\gamma`
====================  ==============================================================================================

The noise is a sufficient reason to use a loss and not a necessary one: squared error estimates the mean of any noise.

Reference: Gneiting (2011), Making and evaluating point forecasts, JASA 106; Huber (1964), Annals of Mathematical
Statistics 35.
"""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.distributions import Distribution
from lossgeo.losses.line_search import minimize_on_line, problem
from lossgeo.losses.margin import floating

__all__ = ["RegressionLoss", "matched", "rising_root", "weighted"]

_CANDIDATES = 512


class RegressionLoss:
    """A loss of a residual; subclasses give ``value`` and whatever closed forms there are.

    Every method is elementwise unless it says otherwise, works in the dtype of its arguments and under ``jit``,
    ``vmap`` and ``grad``. The constants and flags are Python numbers; they need concrete parameters.
    """

    convex: ClassVar[bool] = True
    functional: str
    """What minimizes the expected loss, in words."""
    lipschitz: float
    """Least Lipschitz constant of the loss; ``inf`` where there is none."""
    smoothness: float
    """Least Lipschitz constant of the derivative; ``inf`` where there is none."""

    def value(self, r: ArrayLike) -> jax.Array:
        """Loss of residuals ``target - prediction``, any shape."""
        raise NotImplementedError

    def __call__(self, r: ArrayLike) -> jax.Array:
        """The same as :meth:`value`."""
        return self.value(r)

    def pointwise(self, predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
        """Loss of each observation.

        Args:
            predictions: shape ``(n,)``.
            targets: shape ``(n,)``.

        Returns:
            Losses, shape ``(n,)``.

        Raises:
            ValueError: the shapes differ (static: free under ``jit``).
        """
        predictions, targets = matched("predictions", predictions, "targets", targets)
        return self.value(targets - predictions)

    def kinks(self) -> list[tuple[ArrayLike, ArrayLike, ArrayLike]] | None:
        """Kinks of a loss that is convex and piecewise linear, else ``None``; see :meth:`MarginLoss.kinks`."""
        return None

    def derivative(self, r: ArrayLike) -> jax.Array:
        """Derivative in the residual; at a kink the middle of the subdifferential."""
        (r,) = floating(r)
        return jax.jvp(self.value, (r,), (jnp.ones_like(r),))[1]

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Proximal map :math:`\arg\min_r \rho(r) + (r - v)^2 / 2\gamma` with :math:`\gamma` = ``step`` > 0.

        By a global search of the line, so that the loss need not be convex; of several minima the one nearest to 0.
        """
        v, step = floating(v, step)
        return _prox(self, v.reshape(-1), step.reshape(-1)).reshape(v.shape)

    def minimizer(self, y: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
        r"""The number of least total loss for a sample: :math:`\arg\min_c \sum_i w_i\,\rho(y_i - c)`.

        Args:
            y: sample along the last axis, shape ``(*batch, n)``, finite.
            weights: non-negative, the same shape, not all 0; all 1 by default. Others, and a NaN in the sample, give
                NaN.

        Returns:
            Shape ``(*batch,)``; where an interval is optimal, its middle. A loss that is not convex is searched from
            the best of (at most 512) observations on, which need not be the global minimum. Where the minimum is smooth
            the derivative follows the implicit-function rule.

        Raises:
            ValueError: shapes that differ, or an empty sample.
        """
        return jnp.vectorize(lambda y, w: _located(self, y, w), signature="(n),(n)->()")(*weighted(y, weights))

    def distribution(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> Distribution:
        r"""The noise whose minus log-density is :math:`\rho((y - \mu)/\sigma)` up to a constant."""
        raise NotImplementedError

    def tempered(self, temperature: ArrayLike = 1.0) -> Distribution | None:
        r"""The distribution of residuals whose minus log-density is :math:`\rho(r)/s` up to a constant.

        ``None`` where the library has no such family (or where there is none) at this temperature.
        """
        raise NotImplementedError

    def log_normalizer(self, temperature: ArrayLike = 1.0) -> jax.Array:
        r""":math:`\log\int e^{-\rho(r)/s}\,dr` in nats, in closed form.

        Raises:
            ValueError: there is no density at this temperature.
        """
        noise = self.tempered(temperature)
        if noise is None:
            raise ValueError(
                f"{type(self).__name__} at temperature {temperature} has no density in closed form; "
                "lossgeo.dictionary.likelihood_of integrates numerically."
            )
        return -noise.log_prob(0.0) - self.value(0.0) / jnp.asarray(temperature)


def matched(first: str, a: ArrayLike, second: str, b: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Two floating arrays of one shape; an error that names them otherwise."""
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(
            f"{first} and {second} must have one shape; they have {jnp.shape(a)} and {jnp.shape(b)}. Reshape one "
            "(x @ coef has shape (n,) for coef of shape (d,))."
        )
    a, b = floating(a, b)
    return a, b


def weighted(y: ArrayLike, weights: ArrayLike | None) -> tuple[jax.Array, jax.Array]:
    """A sample along the last axis with its weights; all NaN where the weights are no weights."""
    if jnp.ndim(y) == 0 or jnp.shape(y)[-1] == 0:
        raise ValueError(f"y must be a sample of shape (*batch, n) with n > 0; it has shape {jnp.shape(y)}.")
    if weights is None:
        (y,) = floating(y)
        return y, jnp.ones_like(y)
    y, weights = matched("y", y, "weights", weights)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    usable = jnp.all(weights >= 0, axis=-1, keepdims=True) & (total > 0) & jnp.isfinite(total)
    return jnp.where(usable, y, jnp.nan), weights


def rising_root(fn: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
    """The root of an elementwise rising function in a bracket: bisection to the last digit and one Newton step.

    The step, from the answer, makes derivatives follow the implicit-function rule.
    """

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        rising = fn(middle) < 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    ends = (jax.lax.stop_gradient(low), jax.lax.stop_gradient(high))
    low, high = jax.lax.fori_loop(0, 12 + jnp.finfo(ends[0].dtype).nmant, halve, ends)
    found = jax.lax.stop_gradient(0.5 * (low + high))
    value, slope = jax.jvp(fn, (found,), (jnp.ones_like(found),))
    return found - jnp.where(slope > 0, value / jnp.where(slope > 0, slope, 1), 0)


@jax.jit
def _prox(loss: RegressionLoss, v: jax.Array, step: jax.Array) -> jax.Array:
    return minimize_on_line(loss.value, problem(v, loss=step, quadratic=1.0, center=v)).point


@jax.jit
def _located(loss: RegressionLoss, y: jax.Array, w: jax.Array) -> jax.Array:
    ordered = jnp.sort(y)
    low, high = ordered[0], ordered[-1]
    if not loss.convex:
        ranks = jnp.asarray([round(k * (y.size - 1) / max(min(y.size, _CANDIDATES) - 1, 1))
                             for k in range(min(y.size, _CANDIDATES))])  # fmt: skip
        candidates = ordered[ranks]
        best = jnp.argmin(jax.lax.map(lambda c: jnp.sum(w * loss.value(y - c)), candidates))
        low, high = candidates[jnp.maximum(best - 1, 0)], candidates[jnp.minimum(best + 1, ranks.size - 1)]
    # Where the pulls from both sides balance up to rounding the loss is flat.
    rounding = 4 * y.size * jnp.finfo(y.dtype).eps

    def pull(c: jax.Array) -> tuple[jax.Array, jax.Array]:
        slopes = w * loss.derivative(y - c)
        return jnp.sum(slopes), rounding * jnp.sum(jnp.abs(slopes))

    def halve(_: int, ends: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        a, b, c, d = ends
        left, right = 0.5 * (a + b), 0.5 * (c + d)
        (up, slack), (down, tolerance) = pull(left), pull(right)
        a, b = jnp.where(up > slack, left, a), jnp.where(up > slack, b, left)
        return a, b, jnp.where(down < -tolerance, c, right), jnp.where(down < -tolerance, right, d)

    ends = jax.lax.fori_loop(0, 12 + jnp.finfo(y.dtype).nmant, halve, (low, high, low, high))
    found = jax.lax.stop_gradient(0.25 * sum(ends))
    total, curvature = jax.jvp(lambda c: pull(c)[0], (found,), (jnp.ones_like(found),))
    return found - jnp.where(curvature < 0, total / jnp.where(curvature < 0, curvature, 1), 0)
