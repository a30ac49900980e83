"""What can be read off a function before it runs, from its jaxpr."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Literal

__all__ = ["depends_on"]


def depends_on(fn: Callable[[Any], Any], argument: Any) -> list[bool]:
    """Whether each leaf of ``fn(argument)`` depends on the values in ``argument``; one entry for each output leaf.

    Conservative: an operation with a dependent input is taken to have dependent outputs. Shapes and dtypes do not
        count.
    """
    jaxpr = jax.make_jaxpr(fn)(argument).jaxpr
    dependent = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in dependent for v in equation.invars):
            dependent.update(equation.outvars)
    return [not isinstance(v, Literal) and v in dependent for v in jaxpr.outvars]
