r"""The contract of a margin loss, every part of it derived from the value alone unless a closed form is at hand.

A margin loss is a function :math:`\varphi(m)` of the margin :math:`m = (2y - 1) f`, with label :math:`y \in \{0, 1\}`
and score :math:`f`. Around it stand, for :math:`\eta = P(y = 1 \mid x)`:

========================  ==========================================================================================
``conditional_risk``      :math:`C_\eta(f) = \eta\varphi(f) + (1 - \eta)\varphi(-f)`
``minimizer``             :math:`f^*(\eta) = \arg\min_f C_\eta(f)`, the score that the loss asks for
``inverse_link``          :math:`\eta(f)`, the probability that a score means; exists for proper composite losses
``bayes_risk``            :math:`H(\eta) = \min_f C_\eta(f)`, concave: a generalised entropy
``weight``                :math:`-H''(\eta)`, Schervish's weight on misclassification costs
``psi``                   :math:`\psi(\theta)`: the excess 0-1 risk is at most :math:`\psi^{-1}` of the excess risk
``conjugate``             :math:`\varphi^*(u) = \sup_m u m - \varphi(m)`, for dual problems
``prox``                  :math:`\arg\min_m \varphi(m) + (m - v)^2 / 2\gamma`, for splitting methods
========================  ==========================================================================================

Reference: Bartlett, Jordan, McAuliffe (2006), Convexity, classification, and risk bounds; Reid, Williamson (2010),
Composite binary losses.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo._pytree import as_function, pytree
from lossgeo.losses.line_search import (
    Minimum,
    Problem,
    has_jump,
    is_convex,
    minimize_on_line,
    problem,
    steepest_chord,
)

__all__ = ["DerivedLoss", "MarginLoss", "derive", "floating"]


def floating(*values: ArrayLike) -> list[jax.Array]:
    """Arguments in one floating dtype, broadcast against each other."""
    dtype = jnp.result_type(float, *values)
    shape = jnp.broadcast_shapes(*(jnp.shape(v) for v in values))
    return [jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in values]


class MarginLoss:
    """A loss of a margin; subclasses give ``value`` and whatever closed forms there are.

    Every method is elementwise, works in the dtype of its arguments and under ``jit``, ``vmap`` and ``grad``. The
    constants and flags (``lipschitz``, ``convex``, …) are Python numbers; where they are derived, concrete parameters
    are needed.
    """

    undefined: ClassVar[tuple[str, ...]] = ()
    """Methods that make no sense for this loss."""

    def kinks(self) -> list[tuple[ArrayLike, ArrayLike, ArrayLike]] | None:
        r"""Place :math:`k` of each kink with the slopes :math:`l \le 0 \le h` that it adds below and above it.

        For a convex piecewise linear loss, :math:`\varphi(m) = \sum_k \max(l_k(m - k), h_k(m - k))`; else ``None``.
        """
        return None

    def value(self, m: ArrayLike) -> jax.Array:
        """Loss of margins, any shape."""
        raise NotImplementedError

    def __call__(self, m: ArrayLike) -> jax.Array:
        """The same as :meth:`value`."""
        return self.value(m)

    def pointwise(self, scores: ArrayLike, labels: ArrayLike) -> jax.Array:
        """Loss of each observation.

        Args:
            scores: real scores, shape ``(n,)``.
            labels: 0 or 1, shape ``(n,)``; another value gives NaN.

        Returns:
            Losses, shape ``(n,)``.

        Raises:
            ValueError: the shapes differ (static: free under ``jit``).
        """
        scores, labels = jnp.asarray(scores), jnp.asarray(labels)
        if scores.shape != labels.shape:
            raise ValueError(
                f"scores and labels must have one shape; they have {scores.shape} and {labels.shape}. Reshape the "
                "scores (x @ coef has shape (n,) for coef of shape (d,))."
            )
        (scores,) = floating(scores)
        signs = jnp.where(labels == 1, 1, jnp.where(labels == 0, -1, jnp.nan)).astype(scores.dtype)
        return self.value(signs * scores)

    def derivative(self, m: ArrayLike) -> jax.Array:
        """Derivative in the margin; at a kink one of the subgradients."""
        (m,) = floating(m)
        return jax.jvp(self.value, (m,), (jnp.ones_like(m),))[1]

    def conditional_risk(self, f: ArrayLike, eta: ArrayLike) -> jax.Array:
        r"""Expected loss :math:`\eta\varphi(f) + (1 - \eta)\varphi(-f)` of a score where P(y = 1) is ``eta``."""
        f, eta = floating(f, eta)
        right = jnp.where(eta == 0, 0, eta * self.value(jnp.where(eta == 0, 0, f)))
        wrong = jnp.where(eta == 1, 0, (1 - eta) * self.value(jnp.where(eta == 1, 0, -f)))
        return right + wrong

    def minimizer(self, eta: ArrayLike) -> jax.Array:
        r"""Score :math:`f^*(\eta)` of least conditional risk; of several the one nearest to 0. It may be infinite."""
        (eta,) = floating(eta)
        return _minimum(self, eta, loss=eta, mirrored=1 - eta).point

    def bayes_risk(self, eta: ArrayLike) -> jax.Array:
        r"""Conditional Bayes risk :math:`H(\eta) = \min_f C_\eta(f)`, concave on [0, 1]."""
        (eta,) = floating(eta)
        return _minimum(self, eta, loss=eta, mirrored=1 - eta).value

    def inverse_link(self, f: ArrayLike) -> jax.Array:
        r"""Probability :math:`\eta` whose minimizer is ``f``.

        .. math:: \eta(f) = \frac{\varphi'(-f)}{\varphi'(f) + \varphi'(-f)}

        Scores beyond the range of the minimizer mean 0 or 1.

        Raises:
            ValueError: the loss is not proper composite: its scores forget the probability.
        """
        if not self.proper_composite:
            raise ValueError(
                f"{type(self).__name__} is not proper composite: its minimizer takes the same score for different "
                "probabilities, so a score has none. Use a proper composite loss (logistic, smoothed hinge, squared "
                "hinge) or calibrate the scores on held-out data."
            )
        (f,) = floating(f)
        ahead, behind = self.derivative(f), self.derivative(-f)
        return jnp.clip(behind / (ahead + behind), 0, 1)

    def psi(self, theta: ArrayLike) -> jax.Array:
        r"""Calibration function: :math:`\psi(R_{01} - R_{01}^*) \le R_\varphi - R_\varphi^*` for every classifier.

        .. math:: \psi = \tilde\psi^{**}, \qquad \tilde\psi(\theta) = H^-(\tfrac{1 + \theta}2) - H(\tfrac{1 + \theta}2),
            \qquad H^-(\eta) = \inf_{f (2\eta - 1) \le 0} C_\eta(f)

        For a convex calibrated loss it is :math:`\varphi(0) - H((1 + \theta)/2)`.

        Args:
            theta: excess 0-1 risk, in [-1, 1]; the function is even.

        Reference: Bartlett, Jordan, McAuliffe (2006), Definition 2 and Theorem 1.
        """
        (theta,) = floating(theta)
        shape, theta = theta.shape, jnp.abs(theta).reshape(-1)
        knots = jnp.linspace(0, 1, 64, dtype=theta.dtype)
        rough, own = _psi_tilde(self, knots), _psi_tilde(self, theta)
        # The greatest convex minorant at theta: the least chord over it, of any two knots around it.
        left, right = knots[:, None, None], knots[None, :, None]
        at = theta[None, None, :]
        spans = (left <= at) & (at <= right) & (left < right)
        width = jnp.where(left < right, right - left, 1)
        chords = ((right - at) * rough[:, None, None] + (at - left) * rough[None, :, None]) / width
        return jnp.minimum(own, jnp.min(jnp.where(spans, chords, jnp.inf), axis=(0, 1))).reshape(shape)

    def weight(self, eta: ArrayLike) -> jax.Array:
        r"""Schervish's weight :math:`-H''(\eta)` on (0, 1); point masses (the hinge has one at 1/2) are not shown."""
        (eta,) = floating(eta)
        ones = jnp.ones_like(eta)

        def slope(eta: jax.Array) -> jax.Array:
            return jax.jvp(self.bayes_risk, (eta,), (ones,))[1]

        return -jax.jvp(slope, (eta,), (ones,))[1]

    def conjugate(self, u: ArrayLike) -> jax.Array:
        r"""Convex conjugate :math:`\varphi^*(u) = \sup_m u m - \varphi(m)`; ``inf`` outside its domain."""
        (u,) = floating(u)
        found = _minimum(self, u, loss=1.0, linear=-u)
        unbounded = jnp.abs(found.end_slope) > jnp.sqrt(jnp.finfo(u.dtype).eps)
        return jnp.where(unbounded, jnp.inf, -found.value)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Proximal map :math:`\arg\min_m \varphi(m) + (m - v)^2 / 2\gamma` with :math:`\gamma` = ``step`` > 0."""
        v, step = floating(v, step)
        return _minimum(self, v, loss=step, quadratic=1.0, center=v).point

    @property
    def lipschitz(self) -> float:
        """Least Lipschitz constant of the loss; ``inf`` where there is none."""
        return steepest_chord(partial(_numbers, self))

    @property
    def smoothness(self) -> float:
        """Least Lipschitz constant of the derivative; ``inf`` where there is none."""
        return math.inf if has_jump(partial(_numbers, self)) else steepest_chord(partial(_slopes, self))

    @property
    def convex(self) -> bool:
        """Whether the loss is convex."""
        return is_convex(partial(_numbers, self))

    @property
    def calibrated(self) -> bool:
        """Whether least risk implies the right label: a wrong sign always costs something (where η ≠ 1/2)."""
        excess = np.asarray(_psi_tilde(self, jnp.linspace(0, 1, 64)))
        return bool(np.all(excess[1:] > 1e3 * np.finfo(excess.dtype).eps))

    @property
    def proper_composite(self) -> bool:
        """Whether the score tells the probability: the minimizer rises strictly."""
        scores = np.asarray(self.minimizer(jnp.linspace(0.01, 0.99, 64)))
        return bool(np.all(np.diff(scores) > 1e-6))

    @property
    def normalized(self) -> bool:
        r"""Whether :math:`e^{-\varphi(m)} + e^{-\varphi(-m)} = 1`: a negative log-likelihood of the label."""
        m = np.linspace(-20.0, 20.0, 401)
        total = np.exp(-_numbers(self, m)) + np.exp(-_numbers(self, -m))
        return bool(np.all(np.abs(total - 1) <= 64 * np.finfo(total.dtype).eps))


@pytree
class DerivedLoss(MarginLoss):
    """A margin loss of which only the value is known; see :func:`derive`."""

    fn: Any

    def value(self, m: ArrayLike) -> jax.Array:
        """See :meth:`MarginLoss.value`."""
        return self.fn(m)


def derive(phi: Callable[[jax.Array], jax.Array]) -> MarginLoss:
    """Everything about a margin loss from its value alone.

    Args:
        phi: an elementwise function of the margin, written in ``jax.numpy``: convex or not, with kinks or jumps.
            A module-level function (or a pytree with ``__call__``) compiles once.

    Returns:
        A loss whose minimizer, link, risk, conjugate, proximal map, constants and flags are computed: global
        minimization on a grid of the line, then bisection to the last digit.

    Raises:
        ValueError: ``phi`` is not elementwise or does not return finite floating values on [-3, 3].

    Example:
        >>> derive(lambda m: jnp.maximum(0, 1 - m) ** 2).minimizer(0.8)
        Array(0.6, dtype=float32)
    """
    m = jnp.linspace(-3.0, 3.0, 7)
    values = jnp.asarray(phi(m))
    if values.shape != m.shape or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"phi must map margins of shape {m.shape} to floating losses of the same shape; it returned "
            f"{values.dtype}{list(values.shape)}. Write it elementwise, with jax.numpy."
        )
    if not bool(jnp.all(jnp.isfinite(values))):
        raise ValueError(f"phi must be finite on the line; at margins {m} it is {values}.")
    return DerivedLoss(as_function(phi))


def _minimum(owner: MarginLoss, like: jax.Array, /, **coefficients: Any) -> Minimum:
    flat = {
        name: jnp.broadcast_to(jnp.asarray(c, like.dtype), like.shape).reshape(-1) for name, c in coefficients.items()
    }
    found = _solve(owner, problem(like.reshape(-1), **flat))
    return Minimum(*(part.reshape(like.shape) for part in found))


@jax.jit
def _solve(loss: MarginLoss, p: Problem) -> Minimum:
    return minimize_on_line(loss.value, p)


def _psi_tilde(loss: MarginLoss, theta: jax.Array) -> jax.Array:
    """Least excess of the conditional risk of a score with the wrong sign, before convexification."""
    eta = 0.5 * (1 + theta)
    wrong = _minimum(loss, eta, loss=eta, mirrored=1 - eta, side=-1.0)
    free = _minimum(loss, eta, loss=eta, mirrored=1 - eta)
    return jnp.maximum(wrong.value - free.value, 0)


@jax.jit
def _tabulate(loss: MarginLoss, m: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(loss.value, (m,), (jnp.ones_like(m),))


def _numbers(loss: MarginLoss, m: np.ndarray) -> np.ndarray:
    return np.asarray(_tabulate(loss, jnp.asarray(m, float))[0])


def _slopes(loss: MarginLoss, m: np.ndarray) -> np.ndarray:
    return np.asarray(_tabulate(loss, jnp.asarray(m, float))[1])
