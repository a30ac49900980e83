"""The end of a fit on working sets: its certificate on the face of the kinks that was found, and the verdict."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo._pytree import pytree
from lossgeo.duality import Gap
from lossgeo.planning import Plan
from lossgeo.posing import Posed, as_problem
from lossgeo.solvers import DENSE_LIMIT, Certificate, Problem, Status, WorkingSet, certify
from lossgeo.solvers.coordinate_descent import Face, factorize
from lossgeo.solvers.face import look_at_face
from lossgeo.solvers.group_quadratic import GroupFace
from lossgeo.solvers.reduced_model import Model
from lossgeo.solvers.working_set import BUCKETS, descend_reduced
from lossgeo.solving import Solution, conclude
from lossgeo.sparse.working_kernels import Setup, Work, WorkingState, design_of, in_use_of, padded, scores, sparse_parts
from lossgeo.verdict import verdict

__all__ = ["Along", "conclude_working_set", "judge_along", "of_gap", "on_all_coordinates", "rises"]


MOST_FREE = 64
"""Coordinates without a kink whose profile is looked at."""


def conclude_working_set(posed: Posed, state: WorkingState, tol: float, status: int, plan: Plan) -> Solution:
    """Certify the point that was reached and turn the end of the rounds into a status.

    With many coefficients this is done on the face that was found; the others are known to be at their kinks. The model
    of the last round serves where it leaves no doubt that the face is determined; otherwise the Hessian of the face is
    formed and its eigenvalues tell. Violations of more columns than a working set holds make the expected decrease
    infinite. The duality gap of the last round, if one was looked at, is part of the certificate.
    """
    gap = state.gap
    if state.x.size + state.v.size <= DENSE_LIMIT:
        solution = _judge_all(posed, state.x, state.v, gap, tol, status, state.num_steps, plan.solver)
        return dataclasses.replace(solution, plan=plan)
    in_use, score = in_use_of(state), scores(state, 1.0)
    work: Work | None = state.work
    if work is not None and work.model is not None and status == Status.CONVERGED and not np.any(score > 0):
        solution, sure = _judge_by_model(
            posed, state.setup, work.index, work.mask, work.columns, work.model, state.x, state.v, gap, tol, status,
            state.num_steps, plan.solver,
        )  # fmt: skip
        if bool(sure):
            return dataclasses.replace(solution, plan=plan)
    columns = np.flatnonzero(in_use | (score > 0))
    missing = len(columns) > BUCKETS[-1]
    index, mask = padded(columns[: BUCKETS[-1]])
    solution = _judge(
        posed, state.setup, index, mask, state.x, state.v, score, gap, tol, status, state.num_steps, missing,
        plan.solver,
    )  # fmt: skip
    return dataclasses.replace(solution, plan=plan)


class Along(NamedTuple):
    """Fits with several strengths on one working set, stacked; made by :func:`judge_along`.

    ``done`` tells whether the model predicted no more decrease than the tolerance, ``sure`` whether ``edm`` is to be
    trusted.
    """

    x: jax.Array
    v: jax.Array
    eta: jax.Array
    value: jax.Array
    edm: jax.Array
    sure: jax.Array
    done: jax.Array
    num_steps: jax.Array


@quick_jit(static_argnames="solver")
def judge_along(
    posed: Posed,
    offset: jax.Array,
    columns: jax.Array,
    strengths: Any,
    mask: Any,
    model: Model,
    x: jax.Array,
    v: jax.Array,
    tol: Any,
    solver: WorkingSet,
) -> Along:
    """Fits and certificates for each row of ``strengths``, shape ``(b, k)``, each from the one before."""
    rows = sparse_parts(as_problem(posed), solver)
    tol = jnp.asarray(tol, x.dtype)
    real = jnp.concatenate([jnp.ones_like(v, bool), mask])

    def body(carry: tuple, strength: jax.Array) -> tuple:
        x, v = carry
        found = descend_reduced(
            rows.loss, columns, offset, strength, model, x, v, tol=tol, enough=tol, max_steps=solver.max_newton
        )
        z, kink = jnp.concatenate([found.v, found.x]), jnp.concatenate([jnp.zeros_like(v), strength])
        free = (kink == 0) & (jnp.concatenate([jnp.zeros_like(v), model.ridge]) == 0)
        face = look_at_face(rows.loss, columns, found.eta, model, z, kink, real, found.face)
        # What no prior holds is looked at more closely elsewhere.
        sure = face.sure & ~jnp.any(face.wanted & free)
        done = (found.decrease <= tol) & jnp.isfinite(found.value)
        return (found.x, found.v), Along(
            found.x, found.v, found.eta, found.value, face.edm, sure, done, found.num_steps
        )

    return jax.lax.scan(body, (x, v), jnp.asarray(strengths, x.dtype))[1]


@quick_jit(static_argnames="solver")
def _judge_by_model(
    posed: Posed,
    setup: Setup,
    index: Any,
    mask: Any,
    columns: jax.Array,
    model: Model,
    x: jax.Array,
    v: jax.Array,
    gap: Gap | None,
    tol: Any,
    status: Any,
    num_steps: Any,
    solver: WorkingSet,
) -> tuple[Solution, jax.Array]:
    """The solution with a certificate from products with the Hessian; and whether to trust it."""
    problem = as_problem(posed)
    rows = sparse_parts(problem, solver)
    q, dtype = v.shape[0], x.dtype
    strength, coefficients = jnp.where(mask, setup.strength[index], 1.0), jnp.where(mask, x[index], 0.0)
    z, kink = jnp.concatenate([v, coefficients]), jnp.concatenate([jnp.zeros_like(v), strength])

    def value_at(z: jax.Array) -> jax.Array:
        penalty = jnp.sum(kink * jnp.abs(z)) + 0.5 * jnp.sum(model.ridge * jnp.square(z[q:]))
        return rows.loss(setup.offset + columns @ z[q:], z[:q]) + penalty

    real = jnp.concatenate([jnp.ones(q, bool), mask])
    face = look_at_face(rows.loss, columns, setup.offset + columns @ coefficients, model, z, kink, real)
    factor = factorize(model.h, face.wanted & model.moves)
    value, change = face.value, face.step * model.scale
    loose = face.wanted & (kink == 0) & (jnp.concatenate([jnp.zeros(q, dtype), model.ridge]) == 0)
    sure = face.sure & (jnp.sum(loose) <= MOST_FREE)
    beyond = value_at(z + 30.0 * change) - value
    curvature = -2.0 * face.edm
    _, ahead = jax.jvp(jax.grad(value_at), (z + change,), (change,))
    ratio = jnp.where(curvature < 0, -(change @ ahead) / jnp.where(curvature < 0, curvature, 1.0), 1.0)
    noise = 64.0 * jnp.finfo(dtype).eps * jnp.abs(value)
    rise = rises(value_at, z, value, loose, factor, model.scale, noise)
    of_v, of_x = rows.places
    numbers = jnp.concatenate(
        [jnp.asarray(of_v, jnp.int32), jnp.where(mask, jnp.asarray(of_x, jnp.int32)[index], x.shape[0] + q)]
    )

    def spread(values: jax.Array, fill: Any) -> jax.Array:
        return jnp.full(x.shape[0] + q, fill, values.dtype).at[numbers].set(values, mode="drop")

    certificate = Certificate(
        edm=face.edm,
        kkt_residual=jnp.max(jnp.abs(face.slope / model.scale), initial=0.0),
        curvature_change=jnp.where(face.edm > 0, jnp.abs(ratio - 1.0), 0.0),
        beyond=jnp.where(beyond > noise, beyond, jnp.minimum(beyond, 0.0)),
        rise=spread(rise, jnp.inf),
        eigenvalue=face.eigenvalue,
        direction=spread(face.direction, 0.0),
        step=spread(face.step, 0.0),
        one_sided=jnp.full(2, jnp.inf, dtype),
        start_change=jnp.zeros((), dtype),
        null_weight=jnp.zeros(x.shape[0] + q, dtype),
        free=spread(face.wanted, False),
        hessian=None,
        finite=jnp.isfinite(value) & jnp.all(jnp.isfinite(face.step)) & jnp.all(jnp.isfinite(face.slope)),
        resolution=jnp.asarray(linalg.rank_tolerance(x.shape[0] + q, dtype), dtype),
        noise=jnp.zeros((), dtype),
        **of_gap(gap),
    )
    u = rows.join(x, v)
    status, along = verdict(posed, u, certificate, jnp.asarray(tol, dtype), jnp.asarray(status))
    return Solution(posed.to_params(u), value, status, jnp.asarray(num_steps), certificate, along), sure


def of_gap(gap: Gap | None) -> dict[str, Any]:
    """The fields of a certificate that tell a duality gap."""
    return {} if gap is None else {"gap": jnp.asarray(gap.value), "gap_noise": jnp.asarray(gap.noise)}


def rises(
    value_at: Any,
    z: jax.Array,
    value: jax.Array,
    loose: jax.Array,
    factor: Face | GroupFace,
    scale: jax.Array,
    noise: jax.Array,
) -> jax.Array:
    """Least rise of the objective one standard error to either side of each coordinate that no prior holds.

    Infinite elsewhere: where a coefficient has a kink, the objective rises with its strength in the end.
    """
    (numbers,) = jnp.nonzero(loose, size=min(MOST_FREE, loose.shape[0]), fill_value=loose.shape[0])

    def of_one(j: jax.Array) -> jax.Array:
        column = factor.solve(jnp.zeros_like(z, factor.lower.dtype).at[j].set(1.0, mode="drop")).astype(z.dtype)
        variance = column[jnp.minimum(j, z.shape[0] - 1)]
        side = scale * column * jax.lax.rsqrt(jnp.where(variance > 0, variance, 1.0))
        gains = jnp.stack([value_at(z + side), value_at(z - side)]) - value
        return jnp.min(jnp.where(jnp.isnan(gains), -jnp.inf, gains)) + noise

    def all_of_them() -> jax.Array:
        count = jnp.sum(loose)
        found = jax.lax.fori_loop(
            0, count, lambda i, rise: rise.at[numbers[i]].set(of_one(numbers[i])), jnp.full_like(z, jnp.inf)
        )
        return found

    return jax.lax.cond(jnp.any(loose), all_of_them, lambda: jnp.full_like(z, jnp.inf))


@pytree
class FaceArgs:
    """What the function on a face depends on."""

    posed: Posed
    columns: jax.Array
    offset: jax.Array
    strength: jax.Array
    ridge: jax.Array
    solver: WorkingSet = dataclasses.field(metadata={"static": True})


def _face_value(u: Any, args: FaceArgs) -> jax.Array:
    """The objective as a function of ``(v, x)`` on a working set."""
    v, x = u
    rows = sparse_parts(as_problem(args.posed), args.solver)
    penalty = args.strength * jnp.sign(x) * x + 0.5 * args.ridge * jnp.square(x)
    return rows.loss(args.offset + args.columns @ x, v) + jnp.sum(penalty)


def _face_kinks(u: Any, args: FaceArgs) -> tuple[Any, Any]:
    v, x = u
    return (jnp.zeros_like(v), jnp.zeros_like(x)), (jnp.zeros_like(v), args.strength)


@functools.partial(jax.jit, static_argnames="solver")
def _judge(
    posed: Posed,
    setup: Setup,
    index: jax.Array,
    mask: jax.Array,
    x: jax.Array,
    v: jax.Array,
    score: jax.Array,
    gap: Gap | None,
    tol: Any,
    status: Any,
    num_steps: Any,
    missing: Any,
    solver: WorkingSet,
) -> Solution:
    problem = as_problem(posed)
    rows = sparse_parts(problem, solver)
    columns = jnp.where(mask[None, :], jnp.take(design_of(rows, setup), index, axis=1), 0.0)
    strength, face = jnp.where(mask, setup.strength[index], 1.0), jnp.where(mask, x[index], 0.0)
    x_start, v_start = rows.split(problem.init)
    args = FaceArgs(posed, columns, setup.offset, strength, jnp.where(mask, setup.ridge[index], 0.0), solver)
    start = (v_start, jnp.where(mask, x_start[index], 0.0))
    value, c = certify(Problem(_face_value, _face_kinks, args, (v, face)), None, start)
    u = rows.join(x, v)
    certificate = on_all_coordinates(c, rows.places, index, mask, missing)
    residual = jnp.maximum(
        certificate.kkt_residual, jnp.max(jnp.where(score > 0, score * setup.norm, 0.0), initial=0.0)
    )
    certificate = dataclasses.replace(certificate, kkt_residual=residual, **of_gap(gap))
    status, direction = verdict(posed, u, certificate, jnp.asarray(tol, value.dtype), jnp.asarray(status))
    return Solution(posed.to_params(u), value, status, jnp.asarray(num_steps), certificate, direction)


def on_all_coordinates(
    face: Certificate, places: tuple[np.ndarray, np.ndarray], index: jax.Array, mask: jax.Array, missing: Any
) -> Certificate:
    """The certificate of a face spread over all coordinates."""
    of_v, of_x = places
    total = len(of_v) + len(of_x)
    target = jnp.concatenate(
        [jnp.asarray(of_v, jnp.int32), jnp.where(mask, jnp.asarray(of_x, jnp.int32)[index], total)]
    )

    def spread(values: jax.Array, fill: Any) -> jax.Array:
        return jnp.full(total, fill, values.dtype).at[target].set(values, mode="drop")

    return dataclasses.replace(
        face,
        edm=jnp.where(missing, jnp.inf, face.edm),
        rise=spread(face.rise, jnp.inf),
        direction=spread(face.direction, 0.0),
        step=spread(face.step, 0.0),
        null_weight=spread(face.null_weight, 0.0),
        free=spread(face.free, False),
        hessian=None,
    )


@functools.partial(jax.jit, static_argnames="solver")
def _judge_all(
    posed: Posed, x: jax.Array, v: jax.Array, gap: Gap | None, tol: Any, status: Any, num_steps: Any, solver: WorkingSet
) -> Solution:
    problem = as_problem(posed)
    u = sparse_parts(problem, solver).join(x, v)
    return conclude(problem, u, jnp.asarray(tol, x.dtype), jnp.asarray(status), num_steps, gap=of_gap(gap))
