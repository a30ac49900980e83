r"""The rows of a log-likelihood, a block of them at a time.

A log-likelihood with row structure is *divisible* when row :math:`i` depends on row :math:`i` of the data only,
whatever number of rows there is: then it is the same function on a block of rows as on all of them, and a sum over the
rows can go through a long design once, a block that stays in the cache at a time, where separate products go through it
twice.

It is read from two jaxprs, of all rows and of a block: equation by equation both are the same primitive with the same
numbers, and only the length of the axis that enumerates the rows differs. By the rules of
:mod:`lossgeo.structure.rows`, which are a proof and not a probe, no operation looks across that axis. A count of the
rows, an index of the row, an array of as many rows that is not an argument: whatever else depends on the number of
rows is not covered, and the function stays whole.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from lossgeo.structure.discovery import (
    CALLS,
    DERIVATIVE_RULES,
    Key,
    RowStructure,
    discover,
    inner_jaxpr,
    live_equations,
)
from lossgeo.structure.rows import Axis, NotAligned, aligned_axes

__all__ = ["divide", "is_row_leaf"]

SHAPES = frozenset("shape new_sizes limit_indices".split())
"""Parameters of primitives in which the number of rows may stand."""


def is_row_leaf(leaf: Any, num_rows: int) -> bool:
    """Whether an array has as many rows as the log-likelihood."""
    return leaf.ndim > 0 and leaf.shape[0] == num_rows


def divide(structure: RowStructure, leaves: list[Any], args: Any, size: int) -> RowStructure | None:
    """The structure of a block of ``size`` rows; ``None`` if it is not proved to be the same function.

    Args:
        structure: of all rows, found for these arguments.
        leaves: parameters.
        args: data and everything else; of each array of ``n`` rows a block is taken.
        size: rows of a block, fewer than ``n``.
    """
    n = structure.predictors[0].num_rows
    given = [v.aval for v in structure.closed.jaxpr.invars]
    axes: list[Axis] = [0 if i >= len(leaves) and is_row_leaf(v, n) else None for i, v in enumerate(given)]
    arrays = [
        jax.ShapeDtypeStruct((size, *v.shape[1:]) if axis == 0 else v.shape, v.dtype, weak_type=v.weak_type)
        for v, axis in zip(given, axes, strict=True)
    ]
    try:
        block = discover(
            structure.log_likelihood,
            arrays[: len(leaves)],
            jax.tree.unflatten(jax.tree.structure(args), arrays[len(leaves) :]),
        )
    except Exception:  # it may insist on its number of rows, and say so by any error
        return None
    if block is None or block.products != structure.products:
        return None
    try:
        same = _Twins(structure, n, size).axes(structure.closed, block.closed, axes, ())
    except NotAligned:
        return None
    return block if same == [0] else None


class _Twins:
    """Two jaxprs that differ in the number of rows only."""

    def __init__(self, structure: RowStructure, n: int, size: int):
        """Keep the products that are linear predictors."""
        self._products, self._n, self._size = structure.products, n, size

    def axes(self, whole: Any, block: Any, inputs: Sequence[Axis], key: Key) -> list[Axis]:
        """The axis of each output that enumerates the rows; ``None`` where it is the same in both.

        Raises:
            NotAligned: the jaxprs differ in something else, or rows are mixed.
        """
        known: dict[Any, Axis] = dict(zip(whole.jaxpr.invars, inputs, strict=True))
        for variable, one, other in zip(whole.jaxpr.constvars, whole.consts, block.consts, strict=True):
            _require(one is other or (np.ndim(one) == np.ndim(other) == 0 and _equal(one, other)))
            known[variable] = None
        twin = dict(zip(whole.jaxpr.invars, block.jaxpr.invars, strict=True))
        twin |= dict(zip(whole.jaxpr.constvars, block.jaxpr.constvars, strict=True))

        def same(mine: Any, theirs: Any) -> Axis:
            if isinstance(mine, Literal) or isinstance(theirs, Literal):
                _require(isinstance(mine, Literal) and isinstance(theirs, Literal) and _equal(mine.val, theirs.val))
                return None
            _require(twin[mine] is theirs)
            return known[mine]

        first, second = live_equations(whole.jaxpr), live_equations(block.jaxpr)
        _require(len(first) == len(second))
        for (index, one), (place, other) in zip(first, second, strict=True):
            _require(index == place and one.primitive is other.primitive and len(one.invars) == len(other.invars))
            operands = [same(mine, theirs) for mine, theirs in zip(one.invars, other.invars, strict=True)]
            results = self._results((*key, index), one, other, operands)
            for mine, theirs, axis in zip(one.outvars, other.outvars, results, strict=True):
                self._check_shape(mine.aval, theirs.aval, axis)
                known[mine], twin[mine] = axis, theirs
        return [same(mine, theirs) for mine, theirs in zip(whole.jaxpr.outvars, block.jaxpr.outvars, strict=True)]

    def _results(self, here: Key, one: Any, other: Any, operands: list[Axis]) -> list[Axis]:
        """The axis of each result of an equation."""
        inner, twin = (inner_jaxpr(e, CALLS | DERIVATIVE_RULES) for e in (one, other))
        if inner is not None and twin is not None:
            return self.axes(inner, twin, operands, here)
        for name, value in one.params.items():
            _require(self._agree(value, other.params[name], name in SHAPES))
        if here in self._products:
            spec = self._products[here]
            _require(operands[1 - spec.side] == 1 - spec.design_axis and operands[spec.side] is None)
            return [1 if spec.side == 0 and one.outvars[0].aval.ndim == 2 else 0]
        if any(axis is not None for axis in operands):
            return aligned_axes(one, operands)
        if one.primitive.name == "broadcast_in_dim" and one.params["shape"] != other.params["shape"]:
            grown = set(range(len(one.params["shape"]))) - set(one.params["broadcast_dimensions"])
            changed = [d for d in grown if one.params["shape"][d] != other.params["shape"][d]]
            _require(len(changed) == 1)
            return [changed[0]]
        return [None] * len(one.outvars)

    def _agree(self, mine: Any, theirs: Any, shape: bool) -> bool:
        """Whether parameters of an equation agree, the number of rows aside if they tell a shape."""
        if shape and isinstance(mine, tuple) and isinstance(theirs, tuple) and len(mine) == len(theirs):
            return all(a == b or (a == self._n and b == self._size) for a, b in zip(mine, theirs, strict=True))
        return bool(mine == theirs)

    def _check_shape(self, mine: Any, theirs: Any, axis: Axis) -> None:
        expected = list(mine.shape)
        if axis is not None:
            _require(expected[axis] == self._n)
            expected[axis] = self._size
        _require(tuple(expected) == theirs.shape and mine.dtype == theirs.dtype)


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other), equal_nan=np.asarray(one).dtype.kind == "f"))


def _require(condition: bool) -> None:
    if not condition:
        raise NotAligned
