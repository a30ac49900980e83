"""Whether a function is affine, or affine but for one last function of each entry; read from its jaxpr."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from lossgeo.structure.discovery import CALLS, DERIVATIVE_RULES
from lossgeo.structure.rows import ELEMENTWISE
from lossgeo.structure.sharing import share

__all__ = ["is_affine", "is_generalized_linear", "is_line", "is_shift"]

REARRANGEMENTS = frozenset(
    "broadcast_in_dim concatenate convert_element_type copy dynamic_slice expand_dims gather neg pad reshape "
    "rev slice reduce_precision split squeeze stop_gradient transpose".split()
)
"""Linear operations that move entries about, and may not be given an index that depends on the argument."""

SUMS = frozenset(["add", "sub", "add_any"])


class _Kind(NamedTuple):
    """How a variable depends on the argument: as a function of the single entries of the affine variable ``source``.

    ``affine`` tells whether that function is affine too. ``None`` in its place: no dependence; ``_OTHER``: any other.
    """

    affine: bool
    source: Any


_OTHER = _Kind(False, None)


def is_generalized_linear(fn: Callable[[Any], Any], argument: Any) -> list[bool]:
    """Whether each leaf of ``fn(argument)`` is a function of the single entries of an affine function of the argument.

    As the mean of a generalised linear model is: ``exp(x @ coef + intercept)`` is, ``a * exp(-b * x)`` is not.
    Conservative: an operation that is not known counts as not linear.
    """
    jaxpr = share(jax.make_jaxpr(fn)(argument)).jaxpr
    return [kind is not _OTHER for kind in _propagate(jaxpr, [_Kind(True, v) for v in jaxpr.invars])]


def is_affine(fn: Callable[[Any], Any], argument: Any) -> list[bool]:
    """Whether each leaf of ``fn(argument)`` is an affine function of the argument, or does not depend on it.

    A proof but for rounding. Conservative: an operation that is not known counts as not affine.
    """
    jaxpr = jax.make_jaxpr(fn)(argument).jaxpr
    kinds = _propagate(jaxpr, [_Kind(True, v) for v in jaxpr.invars])
    return [kind is None or (kind is not _OTHER and kind.affine) for kind in kinds]


def is_line(fn: Callable[[Any], Any], argument: Any) -> bool:
    """Whether all leaves of ``fn(argument)`` are affine functions of the single entries of one and the same affine one.

    As the residual and its multiples are of a linear predictor, each entry with factors of its own; a proof. Leaves
    that do not depend on the argument do not count.
    """
    jaxpr = share(jax.make_jaxpr(fn)(argument)).jaxpr
    kinds = [k for k in _propagate(jaxpr, [_Kind(True, v) for v in jaxpr.invars]) if k is not None]
    return all(k.affine for k in kinds) and len({k.source for k in kinds}) == 1


def is_shift(fn: Callable[[jax.Array], jax.Array], argument: jax.Array) -> bool:
    """Whether ``fn(v)`` is ``v``, but for its shape, plus something that does not depend on ``v``; a proof."""
    jaxpr = jax.make_jaxpr(fn)(argument).jaxpr
    return _shifts(jaxpr, [True]) == [True]


def _shifts(jaxpr: Any, inputs: list[bool | None]) -> list[bool | None]:
    """Whether outputs of a jaxpr are shifts of the argument (true), do not depend on it (``None``), or neither."""
    kinds: dict[Any, bool | None] = dict(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        operands = [None if isinstance(v, Literal) else kinds.get(v) for v in equation.invars]
        name, size = equation.primitive.name, _keeps_size(equation)
        body = equation.params.get(CALLS.get(name, ""))
        body = getattr(body, "jaxpr", body)
        if all(kind is None for kind in operands):
            results: list[bool | None] = [None] * len(equation.outvars)
        elif body is not None and len(body.invars) == len(operands):
            results = _shifts(body, operands)
        else:
            first = operands[0] is True and all(kind is None for kind in operands[1:])
            second = name in ("add", "add_any") and operands == [None, True]
            kept = name in ("add", "add_any", "sub", "copy", "squeeze", "reshape", "convert_element_type")
            results = [bool((first and kept) or second) and size] * len(equation.outvars)
        kinds.update(zip(equation.outvars, results, strict=True))
    return [None if isinstance(v, Literal) else kinds.get(v) for v in jaxpr.outvars]


def _keeps_size(equation: Any) -> bool:
    """Whether the result of an operation has the dtype and the size of its largest operand: nothing is repeated."""
    (out, *_), operands = equation.outvars, [v.aval for v in equation.invars]
    return all(out.aval.dtype == v.dtype for v in operands) and out.aval.size == max(v.size for v in operands)


def _propagate(jaxpr: Any, inputs: list[_Kind | None]) -> list[_Kind | None]:
    """Kinds of the outputs of a jaxpr, from those of its inputs."""
    kinds: dict[Any, _Kind | None] = dict(zip(jaxpr.invars, inputs, strict=True))

    def kind(variable: Any) -> _Kind | None:
        return None if isinstance(variable, Literal) else kinds.get(variable)

    for equation in jaxpr.eqns:
        operands = [kind(v) for v in equation.invars]
        body = equation.params.get((CALLS | DERIVATIVE_RULES).get(equation.primitive.name, ""))
        body = getattr(body, "jaxpr", body)
        if body is not None and len(body.invars) == len(operands):
            results = _propagate(body, operands)
        else:
            results = [_result(equation, operands, out) for out in equation.outvars]
        kinds.update(zip(equation.outvars, results, strict=True))
    return [kind(v) for v in jaxpr.outvars]


def _result(equation: Any, operands: list[_Kind | None], out: Any) -> _Kind | None:
    """Kind of the output of one operation."""
    name, dependent = equation.primitive.name, [k for k in operands if k is not None]
    if not dependent:
        return None
    if _OTHER in dependent:
        return _OTHER
    linear = all(k.affine for k in dependent) and _is_linear(name, operands)
    linear = linear and jnp.issubdtype(out.aval.dtype, jnp.floating)
    shapes = {v.aval.shape for v, k in zip(equation.invars, operands, strict=True) if k is not None}
    if name in ELEMENTWISE and len({k.source for k in dependent}) == 1 and shapes == {out.aval.shape}:
        return _Kind(linear, dependent[0].source)
    if linear:
        return _Kind(True, out)
    if name in REARRANGEMENTS and len(dependent) == 1 and operands[0] is not None:
        return _Kind(False, out)
    return _OTHER


def _is_linear(name: str, kinds: list[Any]) -> bool:
    """Whether an operation on affine variables gives an affine one."""
    dependent = sum(k is not None for k in kinds)
    if name in SUMS or name in ("concatenate", "neg", "reduce_sum", "cumsum"):
        return True
    if name in REARRANGEMENTS or name == "div":
        return kinds[0] is not None and dependent == 1
    if name == "select_n":
        return kinds[0] is None
    return name in ("mul", "dot_general") and dependent == 1
