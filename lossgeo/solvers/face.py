"""A point of a kinked problem on its face: what is left to gain there, and how well the face is determined."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.coordinate_descent import Face, factorize, kinked_slopes
from lossgeo.solvers.reduced_model import Loss, Model
from lossgeo.solvers.working_set import CHANGED

__all__ = ["OnFace", "look_at_face"]

LARGEST_DRIFT = 0.25
"""Change of the second derivatives of the rows up to which a model still tells what is determined and what is not."""


ENOUGH_PRODUCTS = 12
"""Products with the Hessian after which the expected decrease is found in another way."""


class OnFace(NamedTuple):
    """A point on its face, in the units of a model of ``(v, x)``.

    Args:
        value: the objective, in nats.
        wanted: coordinates off their kink, or without one, shape ``(p,)``.
        slope: derivatives along these, 0 elsewhere.
        step: the Newton step with the Hessian at the point.
        edm: expected decrease, in nats.
        eigenvalue: Rayleigh quotient of ``direction`` and the Hessian, about its least eigenvalue.
        direction: least determined direction of the model.
        sure: whether to trust it: not where the factorisation fails, where the least eigenvalue is so small that the
            precision of the model or the change of the Hessian since then matters, or where the equations are not
            solved.
    """

    value: jax.Array
    wanted: jax.Array
    slope: jax.Array
    step: jax.Array
    edm: jax.Array
    eigenvalue: jax.Array
    direction: jax.Array
    sure: jax.Array


def look_at_face(
    loss: Loss,
    columns: jax.Array,
    eta: jax.Array,
    model: Model,
    z: jax.Array,
    kink: jax.Array,
    real: jax.Array,
    known: Face | None = None,
) -> OnFace:
    """The face at ``z = (v, x)`` by products with the Hessian, the model as preconditioner; pure, of static shape.

    Args:
        loss: as for :func:`lossgeo.solvers.reduced_model.reduced_model`.
        columns: as there.
        eta: linear predictor at ``z``, shape ``(n,)``.
        model: of the working set, made anywhere near.
        z: the point, kinks at 0, shape ``(p,)``.
        kink: strengths, 0 for none, shape ``(p,)``.
        real: coordinates that are no padding, shape ``(p,)``.
        known: factor of the model on some face, which is used again if it is this one.
    """
    q, dtype = model.cross.shape[0], z.dtype
    (value, (slopes, other)), push = jax.linearize(jax.value_and_grad(loss, argnums=(0, 1)), eta, z[:q])
    pull = model.ridge * z[q:]
    at = kinked_slopes(jnp.concatenate([other, slopes @ columns + pull]), z, kink, model.scale)
    wanted = real & ((z != 0) | (kink == 0))
    free = wanted & model.moves
    slope = jnp.where(free, at.slope, 0.0)
    if known is None:
        factor = factorize(model.h, free)
    else:
        factor = jax.lax.cond(jnp.all(known.free == free), lambda: known, lambda: factorize(model.h, free))

    weights = push(jnp.ones_like(eta), jnp.zeros_like(z[:q]))[1][0]
    total = jnp.sum(jnp.abs(model.weights))
    drift = jnp.sum(jnp.abs(weights - model.weights)) / jnp.where(total > 0, total, 1.0)

    def exact(u: jax.Array) -> jax.Array:
        step = u * model.scale
        _, (rows_change, other_change) = push(columns @ step[q:], step[:q])
        return jnp.concatenate([other_change, rows_change @ columns + model.ridge * step[q:]]) * model.scale

    def by_model(u: jax.Array) -> jax.Array:
        return (model.h @ u.astype(model.h.dtype)).astype(dtype)

    def product(u: jax.Array) -> jax.Array:
        # The model is the Hessian where the rows have not changed since; with other coordinates these may have.
        image = exact(u) if q else jax.lax.cond(drift > CHANGED, exact, by_model, u)
        return jnp.where(free, image, 0.0)

    def precondition(u: jax.Array) -> jax.Array:
        return factor.solve(u.astype(model.h.dtype)).astype(dtype)

    solved = linalg.conjugate_gradients(
        product, -slope, tol=0.01, max_steps=ENOUGH_PRODUCTS, preconditioner=precondition
    )
    resting = jnp.all(slope == 0)
    step = jnp.where(resting, 0.0, solved.x)
    start = jnp.where(free, jax.random.normal(jax.random.key(0), z.shape, dtype), 0.0)
    direction = jax.lax.fori_loop(0, 4, lambda _, u: _unit(precondition(u)), _unit(start))
    eigenvalue = jnp.where(jnp.any(free), direction @ product(direction), 1.0)
    sure = (
        (resting | (solved.positive & (solved.residual <= 0.1)))
        & (eigenvalue > jnp.sqrt(jnp.finfo(model.h.dtype).eps))
        & (drift <= LARGEST_DRIFT)
        & jnp.all(free == wanted)
    )
    value = value + jnp.sum(kink * jnp.abs(z)) + 0.5 * jnp.sum(pull * z[q:])
    return OnFace(value, wanted, slope, step, -0.5 * slope @ step, eigenvalue, direction, sure)


def _unit(u: jax.Array) -> jax.Array:
    norm = jnp.linalg.norm(u)
    return u / jnp.where(norm > 0, norm, 1.0)
