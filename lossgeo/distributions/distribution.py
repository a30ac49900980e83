"""The contract of a distribution."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.supports import Support


@pytree
class Kink:
    r"""Where minus a log-density has a kink: it is :math:`\text{strength}\,|y - \text{center}|` plus a smooth part.

    Both fields broadcast against the parameter. ``strength`` is half the jump of the derivative, in nats per unit.
    """

    center: ArrayLike
    strength: ArrayLike


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
        raise NotImplementedError(f"{type(self).__name__} has no closed-form entropy")

    @property
    def kink(self) -> Kink | None:
        """The kink of ``-log_prob``, if it has one."""
        return None


def is_distribution(value: Any) -> bool:
    """Whether a value can serve as a distribution: anything with a ``log_prob`` method."""
    return callable(getattr(value, "log_prob", None)) and not isinstance(value, type)


def sample_shape(distribution: Distribution, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a draw: ``(*shape, *batch, *event)``."""
    return (*shape, *distribution.batch_shape, *distribution.event_shape)


def promote(*values: ArrayLike) -> list[jax.Array]:
    """Arrays of one floating dtype and, scalars aside, of one rank, so that they broadcast without rank promotion."""
    dtype = jnp.result_type(float, *values)
    arrays = [jnp.asarray(value, dtype) for value in values]
    ndim = max(array.ndim for array in arrays)
    return [a if a.ndim in (0, ndim) else a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in arrays]


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
