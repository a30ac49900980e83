"""A jaxpr in which what was written twice is computed once, so that it can be seen to be one thing."""

from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

__all__ = ["share"]


def share(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same function with equal equations merged, the first of them kept.

    ``y * (x @ b) - softplus(x @ b)`` uses ``b`` once, as one linear predictor. Equal are equations of the same
    primitive, parameters and operands (constants to the bit), of one result and without effects; calls are compared as
    a whole and not looked into.
    """
    merged: dict[Any, Any] = {}
    first: dict[Any, Any] = {}
    equations = []
    for equation in closed.jaxpr.eqns:
        operands = [v if isinstance(v, Literal) else merged.get(v, v) for v in equation.invars]
        key = _key(equation, operands)
        if key is not None and key in first:
            merged[equation.outvars[0]] = first[key]
            continue
        if key is not None:
            first[key] = equation.outvars[0]
        equations.append(equation.replace(invars=operands))
    if not merged:
        return closed
    results = [v if isinstance(v, Literal) else merged.get(v, v) for v in closed.jaxpr.outvars]
    return ClosedJaxpr(closed.jaxpr.replace(eqns=equations, outvars=results), closed.consts)


def _key(equation: Any, operands: list[Any]) -> Any:
    """What equal equations have in common; ``None`` for one that is kept whatever else there is."""
    if equation.effects or len(equation.outvars) != 1:
        return None
    inputs = tuple((str(v.aval), np.asarray(v.val).tobytes()) if isinstance(v, Literal) else v for v in operands)
    key = equation.primitive, tuple(sorted(equation.params.items())), inputs
    try:
        hash(key)
    except TypeError:
        return None
    return key
