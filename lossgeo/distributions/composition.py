"""What compositions need of the distributions they are made of, ours or another library's."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics, supports
from lossgeo.distributions.distribution import LOG_2, Distribution, is_distribution, promote
from lossgeo.distributions.foreign import ForeignSet, event_ndim_of, support_of


def batch_shape_of(base: Any) -> tuple[int, ...]:
    """Batch shape of a distribution."""
    return tuple(base.batch_shape)


def has_tails(base: Any) -> bool:
    """Whether a distribution knows the logarithms of both of its tails."""
    if isinstance(base, Distribution) and type(base)._log_tails is not Distribution._log_tails:
        return True
    return all(
        callable(getattr(base, name, None)) and getattr(type(base), name, None) is not getattr(Distribution, name)
        for name in ("log_cdf", "log_survival")
    )


def require_tails(owner: Distribution, base: Any) -> None:
    """Raise unless ``base`` is a scalar distribution with ``log_cdf`` and ``log_survival``."""
    require_scalar(owner, base)
    if not has_tails(base):
        raise NotImplementedError(
            f"{type(owner).__name__} needs the log_cdf and log_survival of its base, which "
            f"{type(base).__name__} does not have. Use a base that has them (most scalar families of "
            "lossgeo.distributions do)."
        )


def require_scalar(owner: Distribution, base: Any) -> None:
    """Raise unless ``base`` is a distribution of scalars."""
    if not is_distribution(base):
        raise TypeError(f"the base of {type(owner).__name__} must be a distribution, but is {base!r}.")
    if event_ndim_of(base):
        raise ValueError(
            f"{type(owner).__name__} needs a base of scalars, but one draw of {type(base).__name__} has "
            f"{event_ndim_of(base)} axes."
        )


def is_discrete(base: Any) -> bool:
    """Whether a distribution lives on integers; static."""
    support = support_of(base)
    constraint = getattr(support, "constraint", None)
    return isinstance(support, supports.Discrete) or bool(getattr(constraint, "is_discrete", False))


def log_interval(base: Any, low: ArrayLike, high: ArrayLike) -> jax.Array:
    r"""Logarithm of :math:`P(\text{low} < Y \le \text{high})`; ``-inf`` for an empty interval.

    The difference is taken in the tail that the interval lies in: of :math:`P(Y > \cdot)` above the median and of
    :math:`P(Y \le \cdot)` below it.
    """
    low, high = promote(low, high)
    low = jnp.where(low < high, low, high)
    below, above = base.log_cdf(low), base.log_survival(low)
    upper = above < below
    large = jnp.where(upper, above, base.log_cdf(high))
    small = jnp.where(upper, base.log_survival(high), below)
    # Rounding may not turn a tiny interval into a negative probability.
    return numerics.log_sub_exp(large, jnp.minimum(small, large))


def union(members: Sequence[supports.Support], axis: int | None = None) -> supports.Support:
    """The smallest of our supports that holds all of the given ones; their ends are reduced over ``axis`` first."""

    def extreme(name: str) -> ArrayLike:
        reduce = jnp.min if name == "low" else jnp.max
        ends = [jnp.asarray(getattr(m, name)) for m in members]
        ends = [reduce(end, axis=axis) if axis is not None and end.ndim else end for end in ends]
        if len(ends) == 1:
            return ends[0]
        return reduce(jnp.stack(jnp.broadcast_arrays(*promote(*ends)), axis=-1), axis=-1)

    kinds = {type(m) for m in members}
    if len(kinds) == 1:
        first = members[0]
        fields = [f.name for f in dataclasses.fields(first)]  # type: ignore[arg-type]
        if not fields:
            return first
        if set(fields) <= {"low", "high"}:
            return type(first)(**{name: extreme(name) for name in fields})
    if all(isinstance(m, supports.Discrete) for m in members):
        return supports.nonnegative_integers
    if kinds == {supports.Positive, supports.Nonnegative}:
        return supports.nonnegative
    return supports.real


def ends(support: supports.Support) -> tuple[ArrayLike | None, ArrayLike | None]:
    """Lower and upper end of a set of numbers; ``None`` for an infinite one, or one that is not known."""
    match support:
        case supports.Positive() | supports.Nonnegative() | supports.NonnegativeIntegers():
            return 0.0, None
        case supports.Boolean():
            return 0.0, 1.0
        case ForeignSet(constraint):
            return getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    return getattr(support, "low", None), getattr(support, "high", None)


def thinned(value: ArrayLike, log_scale: ArrayLike) -> jax.Array:
    """A log-density and the logarithm of a factor; ``-inf``, with derivative 0, where there is no density."""
    value, log_scale = promote(value, log_scale)
    return jnp.where(value == -jnp.inf, -jnp.inf, value + log_scale)


def observed(owner: Distribution, y: ArrayLike) -> jax.Array:
    """A value as a floating array, of the precision of the hyper-parameters if it is an integer."""
    return jnp.asarray(y, jnp.result_type(float, y, *jax.tree.leaves(owner)))


def ranks(*arrays: jax.Array) -> list[jax.Array]:
    """The same arrays with leading axes of size 1 up to one rank."""
    ndim = max(a.ndim for a in arrays)
    return [a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in arrays]


def draw_batch(base: Any, key: jax.Array, shape: tuple[int, ...], batch: tuple[int, ...]) -> jax.Array:
    """Independent draws of shape ``(*shape, *batch, *event)``, also along axes of the batch that ``base`` lacks."""
    own = batch_shape_of(base)
    own = (1,) * (len(batch) - len(own)) + own
    more = tuple(size if one == 1 else 1 for size, one in zip(batch, own, strict=True))
    draw = base.sample(key, (*shape, *more))
    event = tuple(base.event_shape)
    draw = draw.reshape(*shape, *more, *own, *event)
    # On each axis of the batch either the new or the own size is 1: interleave and merge them.
    n, b = len(shape), len(batch)
    order = [*range(n), *(n + k + side * b for k in range(b) for side in (0, 1)), *range(n + 2 * b, draw.ndim)]
    return draw.transpose(order).reshape(*shape, *batch, *event)


def require_counts(owner: Distribution, base: Any) -> None:
    """Raise unless ``base`` is a scalar distribution on integers."""
    require_scalar(owner, base)
    if not is_discrete(base):
        raise ValueError(
            f"the base of {type(owner).__name__} must be a distribution of counts, but {type(base).__name__} lives on "
            f"{support_of(base).label}. A point mass at 0 next to a density is Hurdle(base, probability)."
        )


def both_tails(log_below: jax.Array, log_above: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The logarithms of two probabilities that sum to 1, the larger one of each pair made from the smaller one."""
    large, small = log_below > -LOG_2, log_above > -LOG_2
    below = jnp.where(large, numerics.log1mexp(-jnp.where(large, jnp.minimum(log_above, 0), -1)), log_below)
    above = jnp.where(small, numerics.log1mexp(-jnp.where(small, jnp.minimum(log_below, 0), -1)), log_above)
    return below, above


def same_shape(owner: Distribution, **arrays: jax.Array) -> None:
    """Raise unless arrays have one shape."""
    shapes = {name: jnp.shape(value) for name, value in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"the parts of the target of {type(owner).__name__} must have one shape; they have {said}.")
