r"""Boosting: a margin loss minimised over sums of decision stumps, one stump at a time.

.. math:: R(F) = \frac1n \sum_i \varphi(y_i F(x_i)), \qquad F_t = F_{t-1} + h_t, \quad y_i = \pm 1

A stump takes one value up to a threshold of one feature and another beyond. With :math:`w_i \propto -\varphi'(m_i)`,
the weight that the loss gives to an observation of margin :math:`m_i`, a round is one of two:

* ``"sign"``: coordinate descent. The stump with values :math:`\pm 1` of least weighted error :math:`\epsilon`, times
  the step :math:`\alpha` of least risk. For :math:`\varphi = e^{-m}` this is AdaBoost,

  .. math:: \alpha = \tfrac12\log\frac{1 - \epsilon}{\epsilon}, \qquad Z = \frac{R(F_t)}{R(F_{t-1})} =
      2\sqrt{\epsilon(1 - \epsilon)} \le 1,

  so that :math:`\prod_t Z_t` bounds the training error.
* ``"newton"``: the stump whose two values minimise the quadratic model of the risk, :math:`-G/H` on each side with
  sums of first and second derivatives; halved while the risk does not fall. For the logistic loss this is LogitBoost.

The best stump is found exactly, over all features and all thresholds, by sums along each sorted feature. The score has
a probability, ``loss.inverse_link(scores)``, where the loss is proper composite.

References: Freund and Schapire (1997), J. Comput. Syst. Sci. 55, Theorem 6; Friedman, Hastie and Tibshirani (2000),
Additive logistic regression, Ann. Statist. 28, algorithms 1 and 3; Mason et al. (2000), Boosting as gradient descent.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.losses.logit_margin import Exponential
from lossgeo.losses.margin import MarginLoss

__all__ = ["Boosted", "boost"]

LINE_STEPS = 80
"""Bisections of a line search: enough for the last digit."""

HALVINGS = 30
"""Times that a Newton stump may be halved."""


@pytree
class Boosted:
    r"""A sum of stumps; made by :func:`boost`.

    Args:
        feature: of each round, shape ``(T,)``.
        threshold: the stump is ``below`` up to it and ``above`` beyond, shape ``(T,)``.
        below: value up to the threshold, shape ``(T,)``.
        above: value beyond the threshold, shape ``(T,)``.
        errors: weighted error of the sign of each stump, in [0, 1], shape ``(T,)``.
        risks: mean loss on the training data before the first and after each round, shape ``(T + 1,)``.
        separated: whether a stump was met that is right everywhere. The risk then has no minimum (it falls to its
            infimum along that stump); this round and all later ones add 0.
    """

    feature: jax.Array
    threshold: jax.Array
    below: jax.Array
    above: jax.Array
    errors: jax.Array
    risks: jax.Array
    separated: jax.Array

    @property
    def normalizers(self) -> jax.Array:
        """Factors :math:`Z_t` by which the risk falls, shape ``(T,)``; their product bounds the training error."""
        return self.risks[1:] / self.risks[:-1]

    def staged_scores(self, x: ArrayLike) -> jax.Array:
        """Scores after each round, shape ``(T, n)``.

        Args:
            x: features, shape ``(n, d)``.
        """
        columns = jnp.asarray(x)[:, self.feature].T
        values = jnp.where(columns > self.threshold[:, None], self.above[:, None], self.below[:, None])
        return jnp.cumsum(values, axis=0)

    def scores(self, x: ArrayLike) -> jax.Array:
        """Scores after the last round, shape ``(n,)``."""
        return self.staged_scores(x)[-1]


def boost(
    x: ArrayLike,
    labels: ArrayLike,
    *,
    loss: MarginLoss,
    rounds: int,
    leaves: Literal["sign", "newton"] = "sign",
    learning_rate: ArrayLike = 1.0,
    weights: ArrayLike | None = None,
) -> Boosted:
    """Minimise a margin loss over sums of decision stumps, greedily.

    Args:
        x: features, shape ``(n, d)``, finite.
        labels: 0 or 1, shape ``(n,)``.
        loss: convex and without kinks, e.g. ``losses.exponential`` (AdaBoost) or ``losses.logistic``.
        rounds: number of stumps, at least 1; static.
        leaves: how a stump gets its values; see :mod:`lossgeo.losses.boosting`. ``"newton"`` needs curvature.
        learning_rate: in (0, 1], shrinks every stump.
        weights: shape ``(n,)``, not negative: how often an observation counts.

    Returns:
        A :class:`Boosted`. Its risks never rise.

    Raises:
        TypeError: ``loss`` is no margin loss.
        ValueError: shapes, values, labels or options that are not as above, or features that are all constant.
    """
    x, labels = np.asarray(x), np.asarray(labels)
    if not isinstance(loss, MarginLoss):
        raise TypeError(f"loss must be a margin loss such as losses.exponential, but is {loss!r}.")
    if not loss.convex:
        raise ValueError(f"loss must be convex, but {type(loss).__name__} is not: stumps would descend to any minimum.")
    if loss.kinks() is not None:
        raise ValueError(
            f"loss must have no kinks, but {type(loss).__name__} has: descent along stumps gets stuck there. Use "
            "losses.smoothed_hinge or losses.logistic."
        )
    if x.ndim != 2 or labels.shape != x.shape[:1] or not len(x):
        raise ValueError(f"x must have shape (n, d) and labels (n,); they have {x.shape} and {labels.shape}.")
    if not np.all(np.isfinite(x)):
        raise ValueError("x must be finite. Drop or impute what is not: a stump cannot rank it.")
    if not np.all((labels == 0) | (labels == 1)):
        wrong = labels[(labels != 0) & (labels != 1)][0]
        raise ValueError(f"labels must be 0 or 1, but one is {wrong!r}. Write (labels == positive).astype(int).")
    if leaves not in ("sign", "newton"):
        raise ValueError(f"leaves must be 'sign' or 'newton', but is {leaves!r}.")
    if int(rounds) != rounds or rounds < 1:
        raise ValueError(f"rounds must be a whole number of at least 1, but is {rounds!r}.")
    if not 0 < float(np.asarray(learning_rate)) <= 1:
        raise ValueError(f"learning_rate must lie in (0, 1], but is {learning_rate!r}.")
    counts = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    if counts.shape != labels.shape or not np.all(np.isfinite(counts)) or np.any(counts < 0) or not np.sum(counts) > 0:
        raise ValueError("weights must be finite, not negative, not all 0, and of the shape of labels.")
    if np.all(x == x[:1]):
        raise ValueError("all features are constant, so that there is no stump: give at least one that varies.")
    dtype = jnp.result_type(float, x.dtype)
    design = jnp.asarray(x, dtype)
    signs = jnp.asarray(2.0 * labels - 1.0, dtype)
    mass = jnp.asarray(counts / np.sum(counts), dtype)
    return _boost(design, signs, mass, loss, jnp.asarray(learning_rate, dtype), int(rounds), leaves)


class _Sorted(NamedTuple):
    """Rows in the order of each feature, ``(d, n)``, and which gaps hold a threshold, ``(d, n - 1)``."""

    order: jax.Array
    splits: jax.Array
    thresholds: jax.Array


class _Stump(NamedTuple):
    feature: jax.Array
    threshold: jax.Array
    below: jax.Array
    above: jax.Array

    def at(self, x: jax.Array) -> jax.Array:
        """Values of all rows, shape ``(n,)``."""
        return jnp.where(jnp.take(x, self.feature, axis=1) > self.threshold, self.above, self.below)


@partial(jax.jit, static_argnames=("rounds", "leaves"))
def _boost(
    x: jax.Array, signs: jax.Array, mass: jax.Array, loss: Any, rate: jax.Array, rounds: int, leaves: str
) -> Boosted:
    table = _sort(x)

    def risk(margins: jax.Array) -> jax.Array:
        return jnp.sum(mass * loss.value(margins))

    def one_round(carry: tuple, _: None) -> tuple:
        margins, before, separated = carry
        pull = -mass * loss.derivative(margins)
        total = jnp.sum(pull)
        if leaves == "sign":
            stump = _least_error(table, pull * signs)
            agrees = signs * stump.at(x)
            step = _line_search(loss, margins, mass, agrees)
        else:
            curvature = mass * jax.grad(lambda m: jnp.sum(loss.derivative(m)))(margins)
            stump = _newton_stump(table, pull * signs, curvature)
            agrees = signs * stump.at(x)
            step = _halvings(risk, margins, agrees, before)
        wrong = jnp.sum(jnp.where(agrees < 0, pull, jnp.where(agrees == 0, 0.5 * pull, 0.0)))
        error = jnp.where(total > 0, wrong / jnp.where(total > 0, total, 1.0), 0.0)
        perfect = jnp.asarray(leaves == "sign") & ~jnp.any((mass > 0) & (agrees < 0))
        moved = margins + rate * step * agrees
        after = risk(moved)
        stops = separated | perfect | ~(after <= before)
        scale = jnp.where(stops, 0.0, rate * step)
        margins, after = jnp.where(stops, margins, moved), jnp.where(stops, before, after)
        found = stump._replace(below=scale * stump.below, above=scale * stump.above)
        return (margins, after, separated | perfect), (found, error, after)

    zero = jnp.zeros_like(signs)
    start = risk(zero)
    first = (zero, start, jnp.asarray(False))
    stumps: _Stump
    errors: jax.Array
    later: jax.Array
    (_, _, separated), (stumps, errors, later) = jax.lax.scan(one_round, first, None, length=rounds)
    risks = jnp.concatenate([start[None], later])
    return Boosted(stumps.feature, stumps.threshold, stumps.below, stumps.above, errors, risks, separated)


def _sort(x: jax.Array) -> _Sorted:
    order = jnp.argsort(x, axis=0).T
    values = jnp.sort(x, axis=0).T
    left, right = values[:, :-1], values[:, 1:]
    middle = left + 0.5 * (right - left)
    # Between neighbouring floating-point numbers there is no middle.
    return _Sorted(order, left < right, jnp.where(middle < right, middle, left))


def _below(table: _Sorted, terms: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of the rows up to each threshold of each feature, ``(d, n - 1)``, and over all rows."""
    sums = jnp.cumsum(terms[table.order], axis=1)
    return sums[:, :-1], jnp.sum(terms)


def _pick(table: _Sorted, score: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Feature and threshold of the largest score at a split, and its place."""
    place = jnp.argmax(jnp.where(table.splits, score, -jnp.inf))
    feature, gap = jnp.unravel_index(place, score.shape)
    return feature, table.thresholds[feature, gap], place


def _least_error(table: _Sorted, pull: jax.Array) -> _Stump:
    """The stump of values -1 and 1 of least weighted error, or 1 and -1."""
    below, total = _below(table, pull)
    edge = total - 2.0 * below
    feature, threshold, place = _pick(table, jnp.abs(edge))
    side = jnp.where(edge.ravel()[place] >= 0, 1.0, -1.0).astype(pull.dtype)
    return _Stump(feature, threshold, -side, side)


def _newton_stump(table: _Sorted, pull: jax.Array, curvature: jax.Array) -> _Stump:
    """The stump that minimises the quadratic model of the risk."""
    below, total = _below(table, pull)
    bend_below, bend = _below(table, curvature)
    above, bend_above = total - below, bend - bend_below

    def value(g: jax.Array, h: jax.Array) -> jax.Array:
        return jnp.where(h > 0, g / jnp.where(h > 0, h, 1.0), 0.0)

    gain = below * value(below, bend_below) + above * value(above, bend_above)
    feature, threshold, place = _pick(table, gain)
    values = (value(g.ravel()[place], h.ravel()[place]) for g, h in ((below, bend_below), (above, bend_above)))
    return _Stump(feature, threshold, *values)


def _line_search(loss: MarginLoss, margins: jax.Array, mass: jax.Array, agrees: jax.Array) -> jax.Array:
    """Step of least risk along a stump of values -1 and 1; 0 where that lies at infinity."""
    if isinstance(loss, Exponential):
        terms = mass * loss.value(margins)
        right, wrong = jnp.sum(jnp.where(agrees > 0, terms, 0.0)), jnp.sum(jnp.where(agrees < 0, terms, 0.0))
        exists = (right > 0) & (wrong > 0)
        ratio = jnp.where(exists, right, 1.0) / jnp.where(exists, wrong, 1.0)
        return 0.5 * jnp.log(ratio) / jnp.asarray(loss.beta, margins.dtype)

    def slope(step: jax.Array) -> jax.Array:
        return jnp.sum(mass * agrees * loss.derivative(margins + step * agrees))

    limit = jnp.asarray(1e6, margins.dtype)
    high = jax.lax.while_loop(lambda s: (slope(s) < 0) & (s < limit), lambda s: 2.0 * s, jnp.ones((), margins.dtype))

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        falls = slope(middle) < 0
        return jnp.where(falls, middle, low), jnp.where(falls, high, middle)

    low, high = jax.lax.fori_loop(0, LINE_STEPS, halve, (jnp.zeros_like(high), high))
    return jnp.where(high < limit, 0.5 * (low + high), 0.0)


def _halvings(risk: Any, margins: jax.Array, agrees: jax.Array, before: jax.Array) -> jax.Array:
    """The largest of 1, 1/2, 1/4, ... for which the risk falls; 0 if there is none."""

    def rises(step: jax.Array) -> jax.Array:
        return ~(risk(margins + step * agrees) < before) & (step > 0.5**HALVINGS)

    step = jax.lax.while_loop(rises, lambda s: 0.5 * s, jnp.ones((), margins.dtype))
    return jnp.where(step > 0.5**HALVINGS, step, 0.0)
