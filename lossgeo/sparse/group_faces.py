"""The end of a fit on working sets of groups: its certificate on the face that was found, and the verdict."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo._pytree import pytree
from lossgeo.duality import Gap
from lossgeo.planning import Plan
from lossgeo.posing import Posed, as_problem
from lossgeo.solvers import DENSE_LIMIT, Certificate, GroupWorkingSet, Kinks, Problem, Status, certify
from lossgeo.solvers.group_quadratic import GroupFace, Groups, group_face, restricted
from lossgeo.solvers.group_working_set import GroupModel, predict, pull
from lossgeo.solvers.working_set import BUCKETS
from lossgeo.solving import Solution, conclude
from lossgeo.sparse.group_kernels import (
    GroupSetup,
    GroupState,
    excesses,
    gather,
    groups_of,
    in_use_of,
    padded_groups,
    scores,
)
from lossgeo.sparse.working_faces import MOST_FREE, of_gap, on_all_coordinates, rises
from lossgeo.sparse.working_kernels import sparse_parts
from lossgeo.verdict import verdict

__all__ = ["conclude_groups"]

ENOUGH_PRODUCTS = 12
"""Products with the Hessian after which the expected decrease is found in another way."""


def conclude_groups(posed: Posed, state: GroupState, tol: float, status: int, plan: Plan) -> Solution:
    """Certify the point that was reached and turn the end of the rounds into a status.

    With many coefficients this is done on the face that was found: by the model of the last round and products with the
    Hessian where these leave no doubt, otherwise by the eigenvalues of the Hessian of the face.
    """
    setup, solver, given = state.setup, plan.solver, (state.gap, tol, status, state.num_steps)
    if state.x.size + state.v.size <= DENSE_LIMIT:
        return dataclasses.replace(_judge_all(posed, state.x, state.v, *given, solver), plan=plan)
    score, work = scores(state), state.work
    if work is not None and work.model is not None and status == Status.CONVERGED and not np.any(score > 0):
        solution, sure = _judge_by_model(
            posed,
            setup,
            work.index,
            work.members,
            work.columns,
            work.model,
            work.face,
            state.x,
            state.v,
            *given,
            solver,
        )
        if bool(sure):
            return dataclasses.replace(solution, plan=plan)
    wanted = np.flatnonzero(in_use_of(state) | (score > 0))
    sizes = np.sum(np.asarray(setup.members)[wanted] < len(state.x), axis=1)
    some = np.cumsum(sizes) <= BUCKETS[-1]
    index, members = padded_groups(state, wanted[some])
    columns = gather(posed, setup, members, solver)
    missing, worst = not some.all(), np.max(np.where(score > 0, excesses(state), 0.0), initial=0.0)
    solution = _judge(posed, setup, index, members, columns, state.x, state.v, missing, worst, *given, solver)
    return dataclasses.replace(solution, plan=plan)


@functools.partial(jax.jit, static_argnames="solver")
def _judge_all(
    posed: Posed,
    x: jax.Array,
    v: jax.Array,
    gap: Gap | None,
    tol: Any,
    status: Any,
    num_steps: Any,
    solver: GroupWorkingSet,
) -> Solution:
    problem = as_problem(posed)
    u = sparse_parts(problem, solver).join(x, v)
    return conclude(problem, u, jnp.asarray(tol, x.dtype), jnp.asarray(status), num_steps, gap=of_gap(gap))


def _on_set(x: jax.Array, groups: Groups, members: jax.Array) -> jax.Array:
    return jnp.where(groups.real, x[jnp.where(groups.real, members, 0)], 0.0)


@quick_jit(static_argnames="solver")
def _judge_by_model(
    posed: Posed,
    setup: GroupSetup,
    index: Any,
    members: Any,
    columns: jax.Array,
    model: GroupModel,
    face: GroupFace | None,
    x: jax.Array,
    v: jax.Array,
    gap: Gap | None,
    tol: Any,
    status: Any,
    num_steps: Any,
    solver: GroupWorkingSet,
) -> tuple[Solution, jax.Array]:
    """The solution with a certificate from products with the Hessian; and whether to trust it."""
    rows, groups = sparse_parts(as_problem(posed), solver), groups_of(setup, index, members)
    q, dtype, on_set = v.shape[0], x.dtype, _on_set(x, groups, members)
    z = jnp.concatenate([v, on_set.ravel()])

    def value_at(z: jax.Array) -> jax.Array:
        x = z[q:].reshape(on_set.shape)
        return rows.loss(setup.offset + predict(columns, x), z[:q]) + groups.value(x)

    eta = setup.offset + predict(columns, on_set)
    (value, (slopes, other)), push = jax.linearize(jax.value_and_grad(rows.loss, argnums=(0, 1)), eta, v)
    value = value + groups.value(on_set)
    slope = restricted(jnp.concatenate([other, pull(columns, slopes)]), on_set, groups)
    wanted = jnp.concatenate([jnp.ones(q, bool), groups.smooth(on_set).ravel()])
    if face is None:
        face = group_face(model.h, on_set, groups)
    else:
        # Made a few small steps before; products with the Hessian itself correct it.
        old = face
        face = jax.lax.cond(jnp.all(old.free == wanted), lambda: old, lambda: group_face(model.h, on_set, groups))
    _, norm, unit = groups.slopes(on_set)
    bend = (groups.strength / jnp.where(norm > 0, norm, 1.0))[:, None]

    def product(u: jax.Array) -> jax.Array:
        step = face.scale * u
        along = step[q:].reshape(on_set.shape)
        _, (rows_change, other_change) = push(predict(columns, along), step[:q])
        own = bend * (along - unit * jnp.sum(unit * along, axis=1, keepdims=True))
        image = jnp.concatenate([other_change, pull(columns, rows_change) + own.ravel()])
        return jnp.where(face.free, face.scale * image, 0.0)

    scaled = jnp.where(face.free, face.scale * slope, 0.0)
    solved = linalg.conjugate_gradients(
        product, -scaled, tol=0.01, max_steps=ENOUGH_PRODUCTS, preconditioner=face.solve
    )
    resting = jnp.all(scaled == 0)
    step = jnp.where(resting, 0.0, solved.x)
    edm = -0.5 * scaled @ step
    start = jnp.where(face.free, jax.random.normal(jax.random.key(0), z.shape, dtype), 0.0)
    direction = jax.lax.fori_loop(0, 3, lambda _, u: _unit(face.solve(u)), _unit(start))
    eigenvalue = jnp.where(jnp.any(face.free), direction @ product(direction), 1.0)

    penalised = (groups.strength > 0)[:, None] | (groups.own > 0)
    loose = wanted & ~jnp.concatenate([jnp.zeros(q, bool), penalised.ravel()])
    sure = (
        (resting | (solved.positive & (solved.residual <= 0.1)))
        & (eigenvalue > jnp.sqrt(jnp.finfo(dtype).eps))
        & jnp.all(face.free == wanted)
        & (jnp.sum(loose) <= MOST_FREE)
    )
    change = step * face.scale
    beyond = value_at(z + 30.0 * change) - value
    curvature = -2.0 * edm
    _, ahead = jax.jvp(jax.grad(value_at), (z + change,), (change,))
    ratio = jnp.where(curvature < 0, -(change @ ahead) / jnp.where(curvature < 0, curvature, 1.0), 1.0)
    noise = 64.0 * jnp.finfo(dtype).eps * jnp.abs(value)
    least = rises(value_at, z, value, loose, face, face.scale, noise)
    p = len(z)
    local = Certificate(
        edm=edm,
        kkt_residual=jnp.max(jnp.abs(slope), initial=0.0),
        curvature_change=jnp.where(edm > 0, jnp.abs(ratio - 1.0), 0.0),
        beyond=jnp.where(beyond > noise, beyond, jnp.minimum(beyond, 0.0)),
        rise=least,
        eigenvalue=eigenvalue,
        direction=direction,
        step=step,
        one_sided=jnp.full(2, jnp.inf, dtype),
        start_change=jnp.zeros((), dtype),
        null_weight=jnp.zeros(p, dtype),
        free=wanted,
        hessian=None,
        finite=jnp.isfinite(value) & jnp.all(jnp.isfinite(step)) & jnp.all(jnp.isfinite(slope)),
        resolution=jnp.asarray(linalg.rank_tolerance(x.shape[0] + q, dtype), dtype),
        noise=jnp.zeros((), dtype),
        **of_gap(gap),
    )
    places = jnp.where(groups.real, members, 0).ravel()
    certificate = on_all_coordinates(local, rows.places, places, groups.real.ravel(), False)
    u = rows.join(x, v)
    status, along = verdict(posed, u, certificate, jnp.asarray(tol, dtype), jnp.asarray(status))
    return Solution(posed.to_params(u), value, status, jnp.asarray(num_steps), certificate, along), sure


def _unit(u: jax.Array) -> jax.Array:
    norm = jnp.linalg.norm(u)
    return u / jnp.where(norm > 0, norm, 1.0)


@pytree
class FaceArgs:
    """What the function on a face depends on."""

    posed: Posed
    columns: jax.Array
    offset: jax.Array
    groups: Groups
    solver: GroupWorkingSet = dataclasses.field(metadata={"static": True})


def _face_value(u: Any, args: FaceArgs) -> jax.Array:
    """The objective as a function of ``(v, x)`` on a working set, with derivative 0 at the kinks."""
    v, x = u
    rows = sparse_parts(as_problem(args.posed), args.solver)
    square = jnp.sum(x * x, axis=1)
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    penalty = jnp.sum(args.groups.strength * norm) + jnp.sum(args.groups.own * jnp.sign(x) * x)
    return rows.loss(args.offset + predict(args.columns, x), v) + penalty


def _face_kinks(u: Any, args: FaceArgs) -> Kinks:
    v, x = u
    q, (k, m), real = v.shape[0], x.shape, args.groups.real
    each = q + jnp.arange(k * m).reshape(k, m)
    # Padding rests on kinks of its own.
    block = jnp.where(real, each[:, :1], each)
    strength = jnp.where(real, args.groups.strength[:, None], 1.0)
    return Kinks((jnp.zeros_like(v), jnp.zeros_like(x)), (jnp.zeros_like(v), strength), (jnp.arange(q), block))


@functools.partial(jax.jit, static_argnames="solver")
def _judge(
    posed: Posed,
    setup: GroupSetup,
    index: Any,
    members: Any,
    columns: jax.Array,
    x: jax.Array,
    v: jax.Array,
    missing: Any,
    worst: Any,
    gap: Gap | None,
    tol: Any,
    status: Any,
    num_steps: Any,
    solver: GroupWorkingSet,
) -> Solution:
    """The solution with a certificate from the Hessian of the face; ``worst`` is the longest slope off it."""
    problem = as_problem(posed)
    rows, groups = sparse_parts(problem, solver), groups_of(setup, index, members)
    x_start, v_start = rows.split(problem.init)
    args = FaceArgs(posed, columns, setup.offset, groups, solver)
    face = Problem(_face_value, _face_kinks, args, (v, _on_set(x, groups, members)))
    value, local = certify(face, None, (v_start, _on_set(x_start, groups, members)))
    places = jnp.where(groups.real, members, 0).ravel()
    certificate = on_all_coordinates(local, rows.places, places, groups.real.ravel(), missing)
    residual = jnp.maximum(certificate.kkt_residual, worst)
    certificate = dataclasses.replace(certificate, kkt_residual=residual, **of_gap(gap))
    u = rows.join(x, v)
    status, direction = verdict(posed, u, certificate, jnp.asarray(tol, value.dtype), jnp.asarray(status))
    return Solution(posed.to_params(u), value, status, jnp.asarray(num_steps), certificate, direction)
