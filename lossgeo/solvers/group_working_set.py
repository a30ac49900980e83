r"""Working sets of groups: group penalties on many coefficients, of which few groups are off their kink.

.. math:: \min_{x, v}\; f(o + Xx,\, v)
          + \sum_k\bigl\{\mu_k\|x_k\|_2 + \sum_j \lambda_{kj}|x_{kj}|\bigr\}

As :mod:`lossgeo.solvers.working_set` for single coefficients: only a few groups are looked at in detail, by Newton
steps whose subproblem is :mod:`lossgeo.solvers.group_quadratic`; a pass over all columns tells which others belong.
The predictor may have several columns, ravelled row by row; then the groups are the rows of the coefficients.

References: Massias, Gramfort and Salmon (2018), ICML (celer); Bertrand et al. (2022), NeurIPS (skglm); Lee, Sun and
Saunders (2014), SIAM J. Optim. 24, 1420 (proximal Newton).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo.solvers.group_quadratic import GroupFace, Groups, descend_quadratic, restricted, spectral_bound
from lossgeo.solvers.reduced_model import Loss, row_curvature

__all__ = [
    "GroupModel",
    "GroupWorkingSet",
    "ReducedGroups",
    "descend_groups",
    "group_model",
    "predict",
    "pull",
    "replace_groups",
]


@dataclasses.dataclass(frozen=True)
class GroupWorkingSet:
    """Working sets of groups of columns, proximal and Newton steps within, for coefficients that vanish by groups.

    Needs a log-likelihood with one linear predictor under a group prior (``GroupLaplace``, ``GroupedLaplace``), and at
    most ``max_other`` other parameters. It is driven by the host: ``lg.fit`` runs it, ``lg.solve`` cannot.

    Args:
        max_steps: default budget of passes over all columns.
        max_other: bound on the number of coordinates beside the penalised coefficients.
        max_newton: bound on the Newton steps on one working set.
    """

    max_steps: int = 100
    max_other: int = 64
    max_newton: int = 25

    @property
    def name(self) -> str:
        """What the plan calls it."""
        return "working sets of groups"


class GroupModel(NamedTuple):
    """Hessian of a working set and the other coordinates, ``(v, x)``.

    Args:
        h: Hessian, shape ``(p, p)`` with ``p = q + k m``.
        lipschitz: bounds on the largest eigenvalues of the blocks of the groups, shape ``(k,)``.
        weights: second derivatives of the rows, shape ``(n, o, o)`` for ``o`` columns of the predictor.
        cross: derivatives of the slopes of the rows with respect to ``v``, shape ``(q, n o)``.
    """

    h: jax.Array
    lipschitz: jax.Array
    weights: jax.Array
    cross: jax.Array


class ReducedGroups(NamedTuple):
    """Where :func:`descend_groups` ended.

    Args:
        x: coefficients of the working set, kinks at 0, shape ``(k, m)``.
        v: other coordinates, shape ``(q,)``.
        eta: linear predictor, ravelled.
        value: the function there, in nats.
        decrease: expected decrease that is left on the face, in nats; infinite where the model does not tell.
        drift: relative change of the second derivatives of the rows since the model was made.
        num_steps: steps made.
        stuck: no step decreased the function any further, or it is not finite.
        face: the last face that was factorised.
    """

    x: jax.Array
    v: jax.Array
    eta: jax.Array
    value: jax.Array
    decrease: jax.Array
    drift: jax.Array
    num_steps: jax.Array
    stuck: jax.Array
    face: GroupFace


def predict(columns: jax.Array, x: jax.Array) -> jax.Array:
    """Linear predictor of coefficients, ravelled; columns of several outputs have as many coefficients each."""
    return jnp.ravel(columns @ x.reshape(columns.shape[1], -1))


def pull(columns: jax.Array, slopes: jax.Array) -> jax.Array:
    """Transpose of :func:`predict`, ravelled."""
    return jnp.ravel((slopes.reshape(columns.shape[0], -1).T @ columns).T)


def weights_of_rows(loss: Loss, eta: jax.Array, v: jax.Array, outputs: int) -> jax.Array:
    """Second derivatives of the rows in the columns of the predictor, shape ``(n, o, o)``."""
    push = jax.linearize(lambda e: jax.grad(loss)(e, v), eta)[1]
    n = eta.shape[0] // outputs
    along = jax.vmap(lambda e: push(jnp.tile(e, n)))(jnp.eye(outputs, dtype=eta.dtype))
    return jnp.moveaxis(along.reshape(outputs, n, outputs), 0, 2)


def group_model(
    loss: Loss, columns: jax.Array, eta: jax.Array, v: jax.Array, size: int, joint: bool | jax.Array
) -> GroupModel:
    """The model at a point; pure, of static shape.

    Args:
        loss: ``(eta, v) -> ()``, independent between the rows of the predictor given ``v``.
        columns: of the working set, shape ``(n, c)``; zero columns may fill it.
        eta: linear predictor, ravelled.
        v: other coordinates, shape ``(q,)``.
        size: coefficients of a group, :math:`m`.
        joint: whether it is the Hessian itself, which may be indefinite far from the optimum (as for a scale). If not,
            the block diagonal matrix with the absolute diagonal of the curvatures of the rows, and the absolute
            eigenvalues of the block of :math:`v`.
    """
    n, q = columns.shape[0], v.shape[0]
    outputs = eta.shape[0] // n
    joint = jnp.asarray(joint)
    weights = weights_of_rows(loss, eta, v, outputs)
    weights = jnp.where(joint, weights, jnp.abs(weights) * jnp.eye(outputs, dtype=eta.dtype)[None])
    h = _gram(columns, weights)
    cross = jnp.zeros((q, eta.shape[0]), eta.dtype)
    if q:
        _, cross, corner = row_curvature(loss, eta, v)
        eigenvalues, vectors = jnp.linalg.eigh(corner)
        least = jnp.sqrt(jnp.finfo(v.dtype).eps) * jnp.max(jnp.abs(eigenvalues))
        positive = (vectors * jnp.maximum(jnp.abs(eigenvalues), least)[None, :]) @ vectors.T
        cross = jnp.where(joint, cross, 0.0)
        side = jax.vmap(lambda row: pull(columns, row))(cross)
        h = jnp.block([[jnp.where(joint, corner, positive), side], [side.T, h]])
    return GroupModel(h, _bounds(h, q, size), weights, cross)


def _bounds(h: jax.Array, q: int, size: int) -> jax.Array:
    number = q + jnp.arange(h.shape[0] - q).reshape(-1, size)
    return spectral_bound(h[number[:, :, None], number[:, None, :]])


def replace_groups(
    model: GroupModel, columns: jax.Array, new: jax.Array, slots: jax.Array
) -> tuple[jax.Array, GroupModel]:
    """Columns and model after the groups at ``slots`` became ``new``; for a predictor of one column.

    Args:
        model: before.
        columns: before, shape ``(n, k m)``.
        new: columns of the groups, shape ``(n, f m)``.
        slots: their places, shape ``(f,)``; those beyond the end are dropped.
    """
    q, size = model.cross.shape[0], new.shape[1] // slots.shape[0]
    places = (slots[:, None] * size + jnp.arange(size)[None, :]).ravel()
    columns = columns.at[:, places].set(new, mode="drop")
    rows = jax.lax.dot_general(new * model.weights[:, 0, 0][:, None], columns, (((0,), (0,)), ((), ())))
    if q:
        rows = jnp.concatenate([(model.cross @ new).T, rows], axis=1)
    h = model.h.at[q + places].set(rows, mode="drop").at[:, q + places].set(rows.T, mode="drop")
    return columns, model._replace(h=h, lipschitz=_bounds(h, q, size))


def _gram(columns: jax.Array, weights: jax.Array) -> jax.Array:
    """Hessian of coefficients ``(c, o)`` in their ravelled order."""
    c, outputs = columns.shape[1], weights.shape[1]
    if outputs == 1:
        long = columns.shape[0] >= 8 * linalg.GRAM_ROWS
        w = weights[:, 0, 0]
        return linalg.weighted_gram(columns, w, columns) if long else linalg.small_gram(columns, w)

    def block(pair: jax.Array) -> jax.Array:
        w = weights[:, pair[0], pair[1]]
        nothing = jnp.zeros((c, c), columns.dtype)
        # Columns that are independent in each row have no block.
        return jax.lax.cond(jnp.any(w != 0), lambda: linalg.weighted_gram(columns, w, columns), lambda: nothing)

    first, second = np.triu_indices(outputs)
    upper = jax.lax.map(block, jnp.stack([first, second], axis=1))
    blocks = jnp.zeros((outputs, outputs, c, c), columns.dtype).at[first, second].set(upper)
    blocks = blocks.at[second, first].set(upper)
    return blocks.transpose(2, 0, 3, 1).reshape(c * outputs, c * outputs)


def descend_groups(
    loss: Loss,
    columns: jax.Array,
    offset: jax.Array,
    groups: Groups,
    model: GroupModel,
    x: jax.Array,
    v: jax.Array,
    eta: jax.Array,
    *,
    tol: float | jax.Array,
    max_steps: int | jax.Array,
    joint: bool | jax.Array = True,
    changed: float | jax.Array = 0.02,
    bend: bool | jax.Array = True,
) -> ReducedGroups:
    """Proximal Newton steps with one model on a working set; pure, of static shape.

    Gradients are exact at every step and the model stays. Ends when no more decrease than ``tol`` is expected on the
    face, or when steps gain little or the second derivatives have changed: then it takes a new model.

    Args:
        loss: as for :func:`group_model`.
        columns: as for :func:`group_model`.
        offset: :math:`o`, ravelled.
        groups: the penalties.
        model: from :func:`group_model`.
        x: start, shape ``(k, m)``.
        v: start, shape ``(q,)``.
        eta: linear predictor at the start, ravelled.
        tol: bound on the expected decrease, in nats.
        max_steps: bound on the steps.
        joint: whether the model is the Hessian, so that its prediction counts.
        changed: relative change of the second derivatives of the rows that asks for a new model.
        bend: as for :func:`lossgeo.solvers.group_quadratic.descend_quadratic`.
    """
    q, outputs = v.shape[0], model.weights.shape[1]
    eps = jnp.finfo(x.dtype).eps
    joint = jnp.asarray(joint)
    rows_and_other = jax.value_and_grad(loss, argnums=(0, 1))

    def look(v: jax.Array, x: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, (slopes, other) = rows_and_other(eta, v)
        return value + groups.value(x), jnp.concatenate([other, pull(columns, slopes)])

    def drift(eta: jax.Array, v: jax.Array) -> jax.Array:
        total = jnp.sum(jnp.abs(model.weights))
        change = jnp.sum(jnp.abs(weights_of_rows(loss, eta, v, outputs) - model.weights))
        return change / jnp.where(total > 0, total, 1.0)

    def body(carry: tuple) -> tuple:
        state, gradient = carry
        known = state.face, jnp.where(jnp.isfinite(state.decrease), state.decrease, 0.0)
        down = descend_quadratic(
            model.h, gradient, state.x, groups, model.lipschitz, tol=0.1 * tol, known=known, bend=bend
        )
        delta = down.delta
        noise = 16.0 * eps * jnp.abs(state.value)
        slope = gradient @ delta + groups.change(state.x, delta[q:].reshape(x.shape))
        usable = jnp.all(jnp.isfinite(delta)) & ((slope < 0) | (jnp.abs(slope) <= noise))
        eta_whole = offset + predict(columns, down.x)

        def attempt(length: jax.Array) -> tuple:
            whole = length == 1.0
            to = jnp.where(whole, down.x, state.x + length * delta[q:].reshape(x.shape))
            to_v = state.v + length * delta[:q]
            eta = jnp.where(whole, eta_whole, state.eta + length * (eta_whole - state.eta))
            value, gradient = look(to_v, to, eta)
            good = value <= state.value + 1e-4 * length * jnp.minimum(slope, 0.0) + noise
            return to, to_v, eta, value, gradient, good & jnp.all(jnp.isfinite(gradient))

        def shorten(carry: tuple) -> tuple:
            length = 0.5 * carry[0]
            return length, *attempt(length)

        one = jnp.ones_like(slope)
        length, to, to_v, eta, value, moved_gradient, good = jax.lax.while_loop(
            lambda c: usable & ~c[6] & (c[0] > 1e-9), shorten, (one, *attempt(one))
        )
        good = good & usable
        # The exact slopes seen by the last face: what the model did not know of.
        right = restricted(moved_gradient, to, groups)
        left = -0.5 * right @ down.face.newton(right)
        same = jnp.all(down.face.free | (right == 0))
        known = good & joint & bend & (length == 1.0) & same & jnp.isfinite(left)
        moved = state._replace(
            x=jnp.where(good, to, state.x),
            v=jnp.where(good, to_v, state.v),
            eta=jnp.where(good, eta, state.eta),
            value=jnp.where(good, value, state.value),
            decrease=jnp.where(known, left, jnp.inf),
            num_steps=state.num_steps + 1,
            stuck=~good,
            face=down.face,
        )
        gradient = jnp.where(good, moved_gradient, gradient)
        return moved, gradient, drift(moved.eta, moved.v), state.decrease

    value, gradient = look(v, x, eta)
    infinite, zero = jnp.full((), jnp.inf, x.dtype), jnp.zeros((), x.dtype)
    start = ReducedGroups(
        x, v, eta, value, infinite, zero, jnp.asarray(0), ~jnp.isfinite(value), GroupFace.none(model.h)
    )

    def running(carry: tuple) -> jax.Array:
        state, _, drift, before = carry
        gains = (state.num_steps < 2) | (state.decrease < 0.25 * before)
        return (state.decrease > tol) & ~state.stuck & (state.num_steps < max_steps) & (drift <= changed) & gains

    def step(carry: tuple) -> tuple:
        return body(carry[:2])

    state, _, moved, _ = jax.lax.while_loop(running, step, (start, gradient, zero, infinite))
    return state._replace(drift=moved, stuck=state.stuck | ~jnp.isfinite(state.value))
