"""Functions of JAX for which there is one with cheaper derivatives, recognised in a jaxpr."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

__all__ = ["softplus_operand"]


def softplus_operand(equation: Any) -> int | None:
    r"""Which operand ``x`` of an equation is that of :math:`\log(e^x + e^0)`; ``None`` for any other equation.

    ``jax.nn.softplus``, ``jax.nn.log_sigmoid`` and ``jnp.logaddexp`` with the number 0 are all written so. The equation
    must be the one that ``jnp.logaddexp`` itself makes for these shapes and types: the same operations in its value
    *and* in its derivative, so that no function with another derivative rule, whatever its name, is taken for it.
    """
    if equation.primitive.name != "custom_jvp_call" or len(equation.invars) != 2:
        return None
    zeros = [isinstance(v, Literal) and np.ndim(v.val) == 0 and v.val == 0 for v in equation.invars]
    if sum(zeros) != 1:
        return None
    index = zeros.index(False)
    operands = tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars)
    if equation.outvars[0].aval.shape != operands[index].shape:
        return None
    model = _model(operands)
    return index if model is not None and _written_out(equation, operands) == model else None


@functools.cache
def _model(operands: tuple[jax.ShapeDtypeStruct, ...]) -> tuple[str, str] | None:
    """The equation of ``jnp.logaddexp`` for these shapes and types, written out; ``None`` if it is of another kind."""
    equations = jax.make_jaxpr(jnp.logaddexp)(*operands).jaxpr.eqns
    if len(equations) != 1 or equations[0].primitive.name != "custom_jvp_call":
        return None
    return _written_out(equations[0], operands)


def _written_out(equation: Any, operands: tuple[jax.ShapeDtypeStruct, ...]) -> tuple[str, str] | None:
    """A function with a derivative rule: the operations in its value and in its derivative.

    ``None`` for one with constants, which would not be printed.
    """

    def apply(*values: Any) -> Any:
        return equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))

    def derivative(values: Any, tangents: Any) -> Any:
        return jax.jvp(apply, values, tangents)

    value, found = equation.params["call_jaxpr"], jax.make_jaxpr(derivative)(operands, operands)
    return None if value.consts or found.consts else (str(value), str(found))
