"""Paths of optimizers: every iterate of an optax transformation and of the library's damped Newton iteration."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import lossgeo as lg

Loss = Callable[..., jax.Array]
"""``loss(params, *data) -> ()``, a function of a module, so that a second call is not traced again."""


@functools.partial(jax.jit, static_argnames=("loss", "transform", "num"))
def descend(loss: Loss, transform: Any, num: int, start: Any, *data: Any) -> Any:
    """``num`` iterates, the start included, stacked; ``update`` of the transformation gets ``data=data``."""
    transform = optax.with_extra_args_support(transform)

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        params, state = carry
        updates, state = transform.update(jax.grad(loss)(params, *data), state, params, data=data)
        return (optax.apply_updates(params, updates), state), params

    return jax.lax.scan(step, (start, transform.init(start)), None, num)[1]


@functools.partial(jax.jit, static_argnames=("loss", "num"))
def newton(loss: Loss, num: int, start: Any, *data: Any) -> Any:
    """Where the damped Newton iteration is after each of ``num`` passes, the start included, stacked.

    A pass that would not decrease the loss as predicted stays where it is and is tried again, shorter.
    """
    problem = lg.solvers.Problem(functools.partial(_apply, loss), None, data, start)
    solver, tol = lg.solvers.Newton(), jnp.asarray(1e-12)

    def step(state: Any, _: None) -> tuple[Any, Any]:
        state = solver.step(problem, state, tol)
        return state, solver.params(problem, state)

    return jax.lax.scan(step, solver.init(problem, tol), None, num)[1]


def _apply(loss: Loss, params: Any, data: Any) -> jax.Array:
    return loss(params, *data)
