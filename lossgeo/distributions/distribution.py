"""The contract of a distribution."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree, static
from lossgeo.supports import Support


@pytree
class Kink:
    r"""Where minus a log-density has a kink: it is :math:`\text{strength}\,|y - \text{center}|` plus a smooth part.

    Both fields broadcast against the parameter. ``strength`` is half the jump of the derivative, in nats per unit.

    With ``groups`` it is :math:`\sum_k \text{strength}_k\,\|(y - \text{center})_k\|_2`: the number of the group of each
    entry of the last axis. ``strength`` is then the same throughout a group.
    """

    center: ArrayLike
    strength: ArrayLike
    groups: tuple[int, ...] | None = static(default=None)


class Distribution:
    """A normalised density (or mass function) whose hyper-parameters are pytree leaves.

    Conventions, for every family of this package:

    * ``y`` has shape ``(*batch, *event)``; scalar families have no event axes. The batch shape is what the shapes of
      the hyper-parameters broadcast to. ``log_prob(y)`` has the batch shape of ``y``.
    * Log-densities are in nats. Outside the support they are ``-inf``, with a gradient that is 0 and never NaN; on its
      edge they are the limit. A ``y`` of NaN gives NaN.
    * Labels and counts may be bool, int or float. Python numbers are weakly typed: float32 stays float32.
    * ``sample(key, shape)`` has shape ``(*shape, *batch, *event)``; ``key`` is a typed ``jax.random.key``.
    * A moment that does not exist is NaN and one that diverges is ``inf``.
    * Nothing is validated on construction: ``jax.vmap`` and ``jax.grad`` over a distribution just work.

    Objects of other libraries with ``log_prob`` (numpyro, distrax, …) are accepted wherever these are.
    """

    event_ndim: ClassVar[int] = 0

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape that the hyper-parameters broadcast to, less the event axes."""
        shape = jnp.broadcast_shapes(*(jnp.shape(leaf) for leaf in jax.tree.leaves(self)))
        return shape[: len(shape) - self.event_ndim]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one draw; ``()`` for scalar families."""
        return ()

    @property
    def event_axes(self) -> dict[str, int]:
        """Number of event axes of hyper-parameters, by name, where it cannot be told from the batch: matrices."""
        return {}

    @property
    def support(self) -> Support:
        """The set that ``y`` lies in."""
        raise NotImplementedError

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """Log-density at ``y`` in nats, shape ``(*batch,)``."""
        raise NotImplementedError

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Independent draws, shape ``(*shape, *batch, *event)``."""
        raise NotImplementedError

    @property
    def mean(self) -> jax.Array:
        """Expectation, shape ``(*batch, *event)``."""
        raise NotImplementedError

    @property
    def variance(self) -> jax.Array:
        """Variance of each component, shape ``(*batch, *event)``."""
        raise NotImplementedError

    def entropy(self) -> jax.Array:
        """Entropy (of a density: differential entropy, which may be negative) in nats, shape ``(*batch,)``."""
        raise lacks(self, "closed-form entropy. Estimate it by draws, -mean(d.log_prob(d.sample(key, (n,))))")

    def fisher_information(self) -> jax.Array:
        """Expected information of one observation about the hyper-parameters, shape ``(*batch, k, k)``.

        Rows and columns follow the hyper-parameters that were given, in the order of declaration; a hyper-parameter
        with event axes (``Categorical``, the matrix of ``MultivariateNormal``) takes one row per entry, and one that is
        a count takes none.
        """
        raise lacks(self, "closed-form Fisher information")

    def cdf(self, y: ArrayLike) -> jax.Array:
        """Probability of a value up to and including ``y``."""
        return jnp.exp(self.log_cdf(y))

    def log_cdf(self, y: ArrayLike) -> jax.Array:
        """Logarithm of the probability of a value up to and including ``y``; accurate where that underflows."""
        return self._log_tails(y)[0]

    def log_survival(self, y: ArrayLike) -> jax.Array:
        """Logarithm of the probability of a value above ``y``; accurate where that underflows."""
        return self._log_tails(y)[1]

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Both of these logarithms: what a family writes, with :func:`bounded_tails`."""
        raise lacks(self, "distribution function here")

    def icdf(self, q: ArrayLike) -> jax.Array:
        """Quantile: the value below which the probability is ``q``, for ``q`` in [0, 1]."""
        raise lacks(self, "closed-form quantile function")

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""The proximal map :math:`\arg\min_y -\log p(y) + (y - v)^2 / 2\,\text{step}`."""
        raise lacks(self, "closed-form proximal map")

    @property
    def kink(self) -> Kink | None:
        """The kink of ``-log_prob``, if it has one."""
        return None


def is_distribution(value: Any) -> bool:
    """Whether a value can serve as a distribution: anything with a ``log_prob`` method."""
    return callable(getattr(value, "log_prob", None)) and not isinstance(value, type)


def lacks(distribution: Distribution, what: str) -> NotImplementedError:
    """The error for an optional part of the contract that a family does not have."""
    return NotImplementedError(f"{type(distribution).__name__} has no {what}.")


def matrix(*rows: Sequence[ArrayLike]) -> jax.Array:
    """A matrix of entries that broadcast against each other, on two new last axes."""
    entries = promote(*(entry for row in rows for entry in row))
    stacked = jnp.stack(jnp.broadcast_arrays(*entries), axis=-1)
    return stacked.reshape((*stacked.shape[:-1], len(rows), len(rows[0])))


def bounded_tails(
    y: jax.Array, below: ArrayLike, above: ArrayLike, low: ArrayLike, high: ArrayLike, *, closed: bool = False
) -> tuple[jax.Array, jax.Array]:
    """The log-probabilities of both sides of ``y`` in ``(low, high)``, their limits outside, NaN where ``y`` is NaN.

    ``closed`` adds the lower end, which for counts has a probability. As in :func:`restrict`, the values must have
    been computed from a substitute of ``y`` outside.
    """
    before, after = y < low if closed else y <= low, y >= high
    inside = ~(before | after | jnp.isnan(y))

    def limited(value: ArrayLike, left: float, right: float) -> jax.Array:
        outside = jnp.where(before, left, jnp.where(after, right, jnp.nan))
        return jnp.where(inside, value, outside.astype(y.dtype))

    return limited(below, -jnp.inf, 0.0), limited(above, 0.0, -jnp.inf)


def sample_shape(distribution: Distribution, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a draw: ``(*shape, *batch, *event)``."""
    return (*shape, *distribution.batch_shape, *distribution.event_shape)


def promote(*values: ArrayLike) -> list[jax.Array]:
    """Arrays of one floating dtype and, scalars aside, of one rank, so that they broadcast without rank promotion."""
    dtype = jnp.result_type(float, *values)
    arrays = [jnp.asarray(value, dtype) for value in values]
    ndim = max(array.ndim for array in arrays)
    return [a if a.ndim in (0, ndim) else a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in arrays]


def positive_part(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether values are positive and finite, and the values with 1 in place of those that are not."""
    inside = (y > 0) & (y < jnp.inf)
    return inside, jnp.where(inside, y, 1)


def log_power(exponent: jax.Array, log_base: jax.Array, zero: jax.Array) -> jax.Array:
    """``exponent * log_base``, with the limits of a power where the base is 0 (``log_base`` is finite there)."""
    limit = jnp.where(exponent > 0, -jnp.inf, jnp.where(exponent < 0, jnp.inf, 0.0)).astype(log_base.dtype)
    return jnp.where(zero, limit, jnp.where(zero, 0, exponent) * log_base)


def restrict(log_density: ArrayLike, inside: jax.Array, y: jax.Array) -> jax.Array:
    """A log-density inside the support, ``-inf`` outside, NaN where ``y`` is NaN.

    The log-density must have been computed from a substitute of ``y`` outside the support: a single ``where`` does not
    keep NaN out of the gradient.
    """
    return jnp.where(inside, log_density, jnp.where(jnp.isnan(y), jnp.nan, -jnp.inf))


def one_of(owner: Distribution, **alternatives: ArrayLike | None) -> None:
    """Raise unless exactly one of two alternative hyper-parameters was given."""
    given = [name for name, value in alternatives.items() if value is not None]
    if len(given) != 1:
        family, (first, second) = type(owner).__name__, alternatives
        raise ValueError(
            f"{family} takes exactly one of {first} and {second}; it was given {'both' if given else 'neither'}. "
            f"Write {family}({first}) or {family}({second}=...)."
        )


HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
LOG_2 = math.log(2.0)
EULER_GAMMA = 0.5772156649015329
