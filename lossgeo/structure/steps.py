r"""Piecewise linear functions written with ``abs``, ``maximum``, ``where`` and comparisons, read from a jaxpr.

A value that depends on the parameters is kept as

.. math:: v = b + \sum_k [t_k > 0]\,\delta_k,

with :math:`b`, :math:`t_k` and :math:`\delta_k` free of branches: :math:`|r| = -r + [r > 0]\,2r`,
:math:`\max(a, c) = c + [a - c > 0](a - c)`, and ``where(a > c, f, g)`` is :math:`g + [a - c > 0](f - g)`. Such sums are
closed under addition, under products with what does not depend on the parameters, and under products of a branch of
constants with a value free of branches, as in ``r * (q - (r < 0))``.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from lossgeo.structure.discovery import CALLS, DERIVATIVE_RULES
from lossgeo.structure.sharing import share

__all__ = ["Branches", "Step", "branches"]


class Step(NamedTuple):
    r"""A term that is there where ``place`` is positive; arrays of one shape.

    Args:
        place: :math:`t`.
        change: :math:`\delta`.
        bend: 1 where the term is convex, -1 where it is concave, 0 where that is not known. Factors without a known
            value, such as data, are taken to be positive.
    """

    place: jax.Array
    change: jax.Array
    bend: int


class Branches(NamedTuple):
    """A value taken apart: ``base + sum(where(place > 0, change, 0))``."""

    base: jax.Array
    steps: tuple[Step, ...]


class _Unreadable(Exception):
    """An operation that has no rule."""


def branches(fn: Callable[[Any], jax.Array], argument: Any) -> Branches | None:
    """The branches of ``fn(argument)``, evaluated there; ``None`` where they cannot be read, or where there are none.

    What is returned is ``fn`` rewritten, whatever its parts are: that they are affine is for the caller to see.
    """
    closed = share(jax.make_jaxpr(fn)(argument))
    inputs = [Branches(jnp.asarray(v), ()) for v in jax.tree.leaves(argument)]
    try:
        (result,) = _run(closed.jaxpr, closed.consts, inputs)
    except _Unreadable:
        return None
    return result if isinstance(result, Branches) and result.steps else None


def _run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))
    for equation in jaxpr.eqns:
        operands = [v.val if isinstance(v, Literal) else values[v] for v in equation.invars]
        inner = equation.params.get((CALLS | DERIVATIVE_RULES).get(equation.primitive.name, ""))
        if inner is not None and any(isinstance(v, Branches) for v in operands):
            results = _run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands)
        else:
            results = _apply(equation, operands)
        values.update(zip(equation.outvars, results, strict=True))
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _apply(equation: Any, operands: Sequence[Any]) -> list[Any]:
    """One operation on values with branches and others."""
    name = equation.primitive.name
    kept = [v for v in operands if isinstance(v, Branches)]

    def bind(*values: Any) -> list[Any]:
        results = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
        return list(results) if equation.primitive.multiple_results else [results]

    if not kept:
        return bind(*operands)
    if name in _RULES:
        shape, dtype = equation.outvars[0].aval.shape, equation.outvars[0].aval.dtype
        before = equation.invars[0].aval.dtype
        rounds = jnp.issubdtype(before, jnp.floating) and jnp.issubdtype(dtype, jnp.integer)
        if rounds or (name == "not" and not jnp.issubdtype(before, jnp.bool_)):
            raise _Unreadable(name)
        result = _RULES[name](*operands)
        return [_cast(result, shape, dtype)]
    if name in _MOVES and len(operands) == 1:
        (value,) = kept
        (base,) = bind(value.base)
        steps = tuple(Step(bind(s.place)[0], bind(s.change)[0], s.bend) for s in value.steps)
        return [Branches(base, steps)]
    if any(v.steps for v in kept):
        raise _Unreadable(name)
    bases = [v.base if isinstance(v, Branches) else v for v in operands]
    return [Branches(base, ()) for base in bind(*bases)]


def _cast(value: Branches, shape: Any, dtype: Any) -> Branches:
    """Arrays of the shape of the result; truth values count as 0 and 1."""
    kind = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    steps = tuple(
        Step(jnp.broadcast_to(s.place, shape), jnp.broadcast_to(jnp.asarray(s.change, kind), shape), s.bend)
        for s in value.steps
    )
    return Branches(jnp.broadcast_to(jnp.asarray(value.base, kind), shape), steps)


def _of(value: Any) -> Branches:
    return value if isinstance(value, Branches) else Branches(jnp.asarray(value), ())


def _plain(value: Any) -> Any:
    """A value without branches."""
    if isinstance(value, Branches) and value.steps:
        raise _Unreadable
    return value.base if isinstance(value, Branches) else value


def _add(a: Any, b: Any) -> Branches:
    a, b = _of(a), _of(b)
    return Branches(a.base + b.base, a.steps + b.steps)


def _scale(a: Branches, factor: Any, by: Callable[[Any, Any], Any] = operator.mul) -> Branches:
    """The product with a value without branches, or the quotient."""
    turn = _sign_of(factor)
    return Branches(by(a.base, factor), tuple(Step(s.place, by(s.change, factor), turn * s.bend) for s in a.steps))


def _sign_of(factor: Any) -> int:
    """The sign of all entries where they are known, 0 where it varies; 1 where they are not known."""
    if isinstance(factor, jax.core.Tracer):
        return 1
    values = np.asarray(factor)
    return 1 if np.all(values >= 0) else -1 if np.all(values <= 0) else 0


def _sub(a: Any, b: Any) -> Branches:
    return _add(a, _scale(_of(b), -1))


def _mul(a: Any, b: Any) -> Branches:
    for one, other in ((a, b), (b, a)):
        if not isinstance(other, Branches):
            return _scale(one, other)
    for one, other in ((a, b), (b, a)):
        if not other.steps:  # a branch of constants with a value free of branches; the sign of that is not known
            found = _scale(one, other.base)
            return Branches(found.base, tuple(s._replace(bend=0) for s in found.steps))
    raise _Unreadable


def _div(a: Any, b: Any) -> Branches:
    return Branches(_plain(a) / _plain(b), ()) if isinstance(b, Branches) else _scale(a, b, operator.truediv)


def _abs(a: Branches) -> Branches:
    value = _plain(a)
    return Branches(-value, (Step(value, 2 * value, 1),))


def _max(a: Any, b: Any) -> Branches:
    """The larger; of three lines, as in ``maximum(abs(r) - width, 0)``, if the first two cross below the third."""
    bent = [v for v in (a, b) if isinstance(v, Branches) and len(v.steps) == 1 and v.steps[0].bend == 1]
    if len(bent) == 1:
        (line, (step,)), other = bent[0], _plain(b if bent[0] is a else a)
        rises = [line - other, line + step.change - other]
        return Branches(jnp.broadcast_to(jnp.asarray(other), line.shape), tuple(Step(r, r, 1) for r in rises))
    a, b = _plain(a), _plain(b)
    return Branches(jnp.asarray(b), (Step(a - b, a - b, 1),))


def _min(a: Any, b: Any) -> Branches:
    a, b = _plain(a), _plain(b)
    return Branches(jnp.asarray(a), (Step(a - b, b - a, -1),))


def _above(a: Any, b: Any) -> Branches:
    """Where ``a > b``; what holds where they are equal cannot be told and does not matter to a continuous function."""
    place = _plain(a) - _plain(b)
    return Branches(jnp.zeros_like(place), (Step(place, jnp.ones_like(place), 0),))


def _sign(a: Branches) -> Branches:
    value = _plain(a)
    return Branches(-jnp.ones_like(value), (Step(value, jnp.full_like(value, 2.0), 0),))


def _select(which: Any, *cases: Any) -> Branches:
    if len(cases) != 2:
        raise _Unreadable
    other, chosen = map(_of, cases)
    if not isinstance(which, Branches):
        kept = [s._replace(change=jnp.where(which, s.change, 0)) for s in chosen.steps]
        kept += [s._replace(change=jnp.where(which, 0, s.change)) for s in other.steps]
        return Branches(jnp.where(which, chosen.base, other.base), tuple(kept))
    return _add(other, _mul(which, _sub(chosen, other)))


_RULES: dict[str, Callable[..., Branches]] = {
    "add": _add,
    "add_any": _add,
    "sub": _sub,
    "neg": lambda a: _scale(a, -1),
    "mul": _mul,
    "div": _div,
    "abs": _abs,
    "max": _max,
    "min": _min,
    "gt": _above,
    "ge": _above,
    "lt": lambda a, b: _above(b, a),
    "le": lambda a, b: _above(b, a),
    "not": lambda a: _sub(jnp.asarray(1.0), a),
    "sign": _sign,
    "select_n": _select,
    "convert_element_type": lambda a: a,
}
_MOVES = frozenset("broadcast_in_dim reshape squeeze copy".split())
