"""Which axis of a result enumerates the observations: rules for the primitives of JAX.

A value is *aligned* along an axis when its entries at position ``i`` of that axis depend on the linear predictors at
row ``i`` only (and on anything else that is not a linear predictor). The rules below carry this property through one
primitive. They are a proof and not a probe: a primitive without a rule, or a rule whose conditions are not met, ends
the analysis, and the function is treated as opaque.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["aligned_axes"]

Axis = int | None
"""The aligned axis of a value, or ``None`` where it does not depend on any linear predictor."""

ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp
    convert_element_type copy cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma
    igamma_grad_a igammac integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter
    not or polygamma pow random_gamma_grad reduce_precision regularized_incomplete_beta rem round rsqrt
    select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta
    """.split()
)
"""Primitives of which each entry of the result is a function of the entries of the operands at the same place."""

REDUCTIONS = frozenset("reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax argmin".split())
CUMULATIVE = frozenset("cumsum cumprod cummax cummin cumlogsumexp".split())


class NotAligned(Exception):
    """The rows of a value are mixed, or cannot be shown not to be."""


def aligned_axes(equation: Any, axes: Sequence[Axis]) -> list[Axis]:
    """Aligned axis of each result of an equation, from those of its operands.

    Raises:
        NotAligned: there is no rule, or rows are mixed.
    """
    name = equation.primitive.name
    operands = [v.aval for v in equation.invars]
    if name in ELEMENTWISE:
        return [_elementwise(operands, axes)]
    if name == "optimization_barrier":
        return list(axes)
    rule = _RULES.get(name)
    if rule is None:
        raise NotAligned(name)
    results = rule(equation, operands, axes)
    return results if isinstance(results, list) else [results]


def _elementwise(operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    found = {a for a in axes if a is not None}
    rank = max(len(o.shape) for o in operands)
    if len(found) != 1 or any(a is not None and len(o.shape) != rank for o, a in zip(operands, axes, strict=True)):
        raise NotAligned
    return found.pop()


def _broadcast(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    target = equation.params["broadcast_dimensions"][axis]
    if equation.params["shape"][target] != operands[0].shape[axis]:
        raise NotAligned
    return target


def _reshape(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis, old, new = _only_first(axes), operands[0].shape, equation.params["new_sizes"]
    if equation.params["dimensions"] is not None:
        raise NotAligned
    before = math.prod(old[:axis])
    for target, size in enumerate(new):
        if size == old[axis] and math.prod(new[:target]) == before:
            return target
    raise NotAligned


def _squeeze(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    dropped = [d % len(operands[0].shape) for d in equation.params["dimensions"]]
    if axis in dropped:
        raise NotAligned
    return axis - sum(d < axis for d in dropped)


def _transpose(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    return tuple(equation.params["permutation"]).index(_only_first(axes))


def _reduction(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    dropped = equation.params["axes"]
    if axis in dropped:
        raise NotAligned
    return axis - sum(d < axis for d in dropped)


def _cumulative(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    if equation.params["axis"] == axis:
        raise NotAligned
    return axis


def _sort(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> list[Axis]:
    axis = _elementwise(operands, axes)
    if equation.params["dimension"] == axis:
        raise NotAligned
    return [axis] * len(equation.outvars)


def _slice(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    start, limit, strides = (equation.params[k] for k in ("start_indices", "limit_indices", "strides"))
    whole = start[axis] == 0 and limit[axis] == operands[0].shape[axis] and (strides is None or strides[axis] == 1)
    if not whole:
        raise NotAligned
    return axis


def _concatenate(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _elementwise(operands, axes)
    if equation.params["dimension"] == axis:
        raise NotAligned
    return axis


def _split(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> list[Axis]:
    axis = _only_first(axes)
    if equation.params["axis"] == axis:
        raise NotAligned
    return [axis] * len(equation.outvars)


def _reverse(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    if axis in equation.params["dimensions"]:
        raise NotAligned
    return axis


def _pad(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    axis = _only_first(axes)
    if tuple(equation.params["padding_config"][axis]) != (0, 0, 0):
        raise NotAligned
    return axis


def _dot_general(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    """A product of an aligned value with one that is free, or of two along a common batch axis."""
    contracting, batch = equation.params["dimension_numbers"]
    for side in (0, 1):
        if axes[side] is not None and axes[side] in contracting[side]:
            raise NotAligned
    if axes[0] is not None and axes[1] is not None:
        if axes[0] not in batch[0] or axes[1] not in batch[1]:
            raise NotAligned
        position = list(batch[0]).index(axes[0])
        if list(batch[1]).index(axes[1]) != position:
            raise NotAligned
        return position
    side = 0 if axes[0] is not None else 1
    axis = next(a for a in axes if a is not None)
    if axis in batch[side]:
        return list(batch[side]).index(axis)
    kept = [[d for d in range(len(operands[s].shape)) if d not in contracting[s] and d not in batch[s]] for s in (0, 1)]
    return len(batch[0]) + (len(kept[0]) if side == 1 else 0) + kept[side].index(axis)


def _gather(equation: Any, operands: Sequence[Any], axes: Sequence[Axis]) -> int:
    """Entries of each row chosen by indices that are free, as ``take_along_axis`` does across columns."""
    axis = _only_first(axes)
    numbers = equation.params["dimension_numbers"]
    if axis not in numbers.operand_batching_dims:
        raise NotAligned
    index_axis = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(axis)]
    rank = len(equation.outvars[0].aval.shape)
    batch_dims = [d for d in range(rank) if d not in numbers.offset_dims]
    return batch_dims[index_axis]


def _only_first(axes: Sequence[Axis]) -> int:
    """The axis of the first operand, the others being free."""
    if axes[0] is None or any(a is not None for a in axes[1:]):
        raise NotAligned
    return axes[0]


_RULES: dict[str, Callable[[Any, Sequence[Any], Sequence[Axis]], Any]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "sort": _sort,
    "slice": _slice,
    "concatenate": _concatenate,
    "split": _split,
    "rev": _reverse,
    "pad": _pad,
    "dot_general": _dot_general,
    "gather": _gather,
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(CUMULATIVE, _cumulative),
}
