r"""Proper scoring rules of probability vectors, by Savage's representation.

A rule :math:`\ell(q, k)` is proper iff its expected loss under ``p`` is least at ``q = p``. Then its entropy
:math:`H(p) = \sum_k p_k \ell(p, k)` is concave, determines the rule, and its regret is a Bregman divergence:

.. math:: \ell(q, k) = H(q) + \langle\nabla H(q), e_k - q\rangle, \qquad
    \sum_k p_k\,[\ell(q, k) - \ell(p, k)] = D_{-H}(p, q)

Reference: Savage (1971), JASA 66; Gneiting, Raftery (2007), JASA 102, theorem 2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from lossgeo._pytree import pytree, static

__all__ = ["ScoringRule", "boosting_score", "brier_score", "log_score", "spherical_score"]


@pytree
class ScoringRule:
    """A proper scoring rule, as losses: smaller is better.

    Args:
        losses: probabilities of shape ``(K,)`` to the losses of all outcomes, shape ``(K,)``.
        entropy_fn: probabilities of shape ``(K,)`` to the expected loss of a forecast under itself, shape ``()``.
    """

    losses: Callable[[jax.Array], jax.Array] = static()
    entropy_fn: Callable[[jax.Array], jax.Array] = static()

    def outcome_losses(self, probs: ArrayLike) -> jax.Array:
        """Loss of the forecast for every outcome, shape of ``probs``, ``(*batch, K)``."""
        return jnp.vectorize(self.losses, signature="(k)->(k)")(jnp.asarray(probs, float))

    def __call__(self, probs: ArrayLike, labels: ArrayLike) -> jax.Array:
        """Loss of each forecast.

        Args:
            probs: shape ``(*batch, K)``, on the simplex; not checked.
            labels: class ids, shape ``(*batch,)``; an id out of range gives NaN.

        Raises:
            ValueError: the shapes do not fit (static: free under ``jit``).
        """
        losses, labels = self.outcome_losses(probs), jnp.asarray(labels)
        if labels.shape != losses.shape[:-1]:
            raise ValueError(
                f"labels must have the shape of probs less the last axis; probs have shape {losses.shape} and labels "
                f"{labels.shape}."
            )
        chosen = jnp.take_along_axis(losses, labels[..., None], axis=-1, mode="clip")[..., 0]
        return jnp.where((labels >= 0) & (labels < losses.shape[-1]), chosen, jnp.nan)

    def entropy(self, probs: ArrayLike) -> jax.Array:
        """Expected loss of a forecast that is true: concave, shape ``(*batch,)``."""
        return jnp.vectorize(self.entropy_fn, signature="(k)->()")(jnp.asarray(probs, float))

    def expected(self, p: ArrayLike, q: ArrayLike) -> jax.Array:
        """Expected loss of the forecast ``q`` where the truth is ``p``, shape ``(*batch,)``."""
        p, losses = jnp.asarray(p, float), self.outcome_losses(q)
        return jnp.sum(jnp.where(p == 0, 0, p * jnp.where(p == 0, 0, losses)), axis=-1)

    def regret(self, p: ArrayLike, q: ArrayLike) -> jax.Array:
        """What forecasting ``q`` costs where the truth is ``p``: the Bregman divergence of minus the entropy."""
        return self.expected(p, q) - self.entropy(p)


def _norm(q: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(q)))


log_score = ScoringRule(lambda q: -jnp.log(q), lambda p: -jnp.sum(xlogy(p, p)))
"""Minus the log-probability of the outcome; its regret is the Kullback–Leibler divergence."""

brier_score = ScoringRule(lambda q: 1 - 2 * q + jnp.sum(jnp.square(q)), lambda p: 1 - jnp.sum(jnp.square(p)))
"""Squared distance of the forecast from the outcome's corner of the simplex; its regret is a squared distance."""

spherical_score = ScoringRule(lambda q: 1 - q / _norm(q), lambda p: 1 - _norm(p))
"""One minus the cosine between the forecast and the outcome."""


def _roots(q: jax.Array) -> jax.Array:
    """Square roots of probabilities, without a NaN in the slope at 0."""
    return jnp.where(q > 0, jnp.sqrt(jnp.where(q > 0, q, 1)), jnp.where(q == 0, 0, jnp.nan))


boosting_score = ScoringRule(lambda q: jnp.sum(_roots(q)) / _roots(q) - 1, lambda p: jnp.square(jnp.sum(_roots(p))) - 1)
r"""The score behind boosting, :math:`\sqrt{(1 - q)/q}` for two classes: the exponential loss of the forecast's own
score; in general :math:`\sum_j\sqrt{q_j/q_k} - 1`. It fears certainty more than any other score does."""
