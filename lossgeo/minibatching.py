r"""Minibatch descent: an optax transformation on random batches of the rows, one compiled scan for each epoch.

For data of which a full gradient is too dear for each step. The likelihood of a batch is scaled up to all rows and the
prior is not, so that every step has the gradient of the whole objective in expectation:

.. math:: g = -\frac{n}{m} \sum_{i \in \text{batch}} w_i \nabla \log p(y_i \mid x_i, \theta) - \nabla \log \pi(\theta)

Rows are gathered inside the compiled scan, and the parameters and the state of the transformation are updated in place.
There is no certificate: noise of the batches is left. ``lg.fit`` from the parameters reached polishes and certifies.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lossgeo._pytree import path_name, pytree
from lossgeo.objective import Objective
from lossgeo.posing import Posed, pose
from lossgeo.solvers import Status
from lossgeo.solvers.gradient_transform import over_tree
from lossgeo.validation import check_values, prepare, raise_for

if TYPE_CHECKING:
    import optax
else:
    from lossgeo import _optax as optax

__all__ = ["Minibatched", "minibatch"]


@pytree
class Minibatched:
    """Result of :func:`minibatch`.

    Args:
        params: parameters after the last epoch, in the user's coordinates.
        state: state of the transformation, to go on from.
        value: objective in nats at the end of each epoch, shape ``(epochs,)``; of the likelihood what its batches
            estimate, while the parameters move.
        status: ``MAX_STEPS``, since nothing is certified, or ``NOT_FINITE``.
        num_steps: steps made.
    """

    params: Any
    state: Any
    value: jax.Array
    status: Status
    num_steps: int


def minibatch(
    objective: Objective,
    init_params: Any,
    *data: Any,
    transform: "optax.GradientTransformation",
    key: jax.Array,
    batch_size: int,
    epochs: int = 1,
    weights: Any = None,
    state: Any = None,
    callback: Callable[[int, float], None] | None = None,
) -> Minibatched:
    """Descend by batches of the rows.

    Each epoch visits the rows in a new random order; those left over by ``batch_size`` wait for the next. Steps are
    made in unconstrained coordinates, so that parameters stay inside their supports.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        init_params: start, a tree; ``None`` if the model knows start values.
        data: arguments of the likelihood; the first axis of every array enumerates the rows.
        transform: e.g. ``optax.adam(1e-3)``. It sees a tree like the parameters, of their unconstrained coordinates.
            Gradients are those of the sum over all rows, not of the mean. Reuse the
            object: a new one is a new trace.
        key: of ``jax.random.key``, for the order of the rows.
        batch_size: rows of a step.
        epochs: passes over the data.
        weights: shape ``(n,)``, non-negative; multiplies the terms of the likelihood.
        state: of the transformation, from an earlier call whose ``params`` are the start now.
        callback: called as ``callback(epoch, value)`` after each epoch; a ``KeyboardInterrupt`` ends the descent with
            what was reached.

    Returns:
        A :class:`Minibatched`.

    Raises:
        TypeError: ``transform`` is no optax transformation.
        ValueError: faulty input, as :func:`lossgeo.fit`; arrays without a common first axis; a likelihood of one
            dependent unit; ``batch_size`` not between 1 and the number of rows; ``epochs`` less than 1.
    """
    if not isinstance(transform, optax.GradientTransformation):
        raise TypeError(f"transform must be an optax.GradientTransformation, but is {type(transform).__name__}.")
    params, data, weights = prepare(objective, init_params, data, weights)
    n = _num_rows(objective, params, data, weights)
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must be between 1 and the {n} rows, but is {batch_size}.")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, but is {epochs}.")
    posed = pose(objective, params, data, weights)
    checks = _check(posed)
    if not bool(checks.passed):
        raise_for(checks, posed)
    # The caller's arrays are not given up to be overwritten.
    carry = jax.tree.map(jnp.array, _start(posed, transform) if state is None else (_unconstrained(posed), state))
    values: list[jax.Array] = []
    status = Status.MAX_STEPS
    try:
        for epoch, order in enumerate(jax.random.split(key, epochs)):
            carry, value = _epoch(posed, carry, order, transform, batch_size)
            values.append(value)
            if not bool(jnp.isfinite(value)):
                status = Status.NOT_FINITE
                break
            if callback is not None:
                callback(epoch, float(value))
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    u, state = carry
    steps = len(values) * (n // batch_size)
    return Minibatched(_params(posed, u), state, jnp.asarray(values), status, steps)


def _num_rows(objective: Objective, params: Any, data: tuple[Any, ...], weights: Any) -> int:
    terms = jax.eval_shape(objective.likelihood.log_likelihood, objective.prior.complete(params), *data)
    if len(terms.shape) != 1:
        raise ValueError(
            f"minibatch needs one log-likelihood term for each row, shape (n,), but the likelihood returns shape "
            f"{terms.shape}: one dependent unit cannot be split into batches."
        )
    n = terms.shape[0]
    for path, leaf in jax.tree_util.tree_flatten_with_path({"data": data, "weights": weights})[0]:
        if leaf.shape[:1] != (n,):
            raise ValueError(
                f"the first axis of {path_name(path)} must enumerate the {n} rows, but its shape is {leaf.shape}. Give "
                "what all rows share to the model in another way."
            )
    return n


_check = jax.jit(check_values)


@jax.jit
def _unconstrained(posed: Posed) -> Any:
    return posed.to_unconstrained(posed.template)


@functools.partial(jax.jit, static_argnames="transform")
def _start(posed: Posed, transform: "optax.GradientTransformation") -> tuple[Any, Any]:
    u = posed.to_unconstrained(posed.template)
    return u, over_tree(transform, jax.tree.structure(posed.template)).init(u)


@jax.jit
def _params(posed: Posed, u: Any) -> Any:
    return posed.to_params(u)


@functools.partial(jax.jit, static_argnames=("transform", "size"), donate_argnames="carry")
def _epoch(
    posed: Posed, carry: tuple[Any, Any], key: jax.Array, transform: "optax.GradientTransformation", size: int
) -> tuple[tuple[Any, Any], jax.Array]:
    """One pass over the rows, and the estimate of the objective."""
    likelihood, prior = posed.objective.likelihood, posed.objective.prior
    n = jax.tree.leaves(posed.data)[0].shape[0]
    transform = over_tree(transform, jax.tree.structure(posed.template))

    def step(carry: tuple[Any, Any], index: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
        u, state = carry
        batch, weights = jax.tree.map(lambda leaf: leaf[index], (posed.data, posed.weights))

        def estimate(u: Any) -> tuple[jax.Array, jax.Array]:
            params = posed.to_params(u)
            total = n / size * likelihood.total(params, *batch, weights=weights)
            return -(total + prior.log_prior(params)).astype(jnp.result_type(*u)), total

        (value, total), grad = jax.value_and_grad(estimate, has_aux=True)(u)
        updates, state = transform.update(grad, state, u, value=value, grad=grad, value_fn=lambda u: estimate(u)[0])
        u = jax.tree.map(lambda v, d: v + jnp.asarray(d, v.dtype), u, updates)
        return (u, state), total

    steps = n // size
    order = jax.random.permutation(key, n)[: steps * size].reshape(steps, size)
    carry, totals = jax.lax.scan(step, carry, order)
    # The prior counts once and is evaluated once: of a large network it takes as long as a batch.
    return carry, -(jnp.mean(totals) + prior.log_prior(posed.to_params(carry[0])))
