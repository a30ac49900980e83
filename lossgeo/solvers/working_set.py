r"""Working sets: L1-penalised problems with many coefficients, of which few are off their kink.

.. math:: \min_{x, v}\; f(o + Xx,\, v) + \sum_j \{\lambda_j |x_j| + \tfrac12\rho_j x_j^2\}

Only a *working set* of columns of :math:`X`, those that violate the optimality conditions most and those in use, is
looked at in detail: there proximal Newton steps solve the problem, with :math:`v` (an intercept, a scale) beside the
coefficients, and one pass over all columns then tells which others belong to it.

The sets differ in size from round to round, so that the host drives; the kernels are compiled for a few sizes.

References: Johnson and Guestrin (2015), ICML (Blitz); Bertrand et al. (2022), NeurIPS (skglm); Lee, Sun and Saunders
(2014), SIAM J. Optim. 24, 1420 (proximal Newton).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo.solvers.coordinate_descent import Face, Slopes, descend_kinked, kinked_slopes, kinked_violation, land
from lossgeo.solvers.reduced_model import Loss, Model, row_curvature

__all__ = [
    "BUCKETS",
    "Reduced",
    "WorkingSet",
    "bucket",
    "choose_columns",
    "descend_reduced",
]

BUCKETS = (32, 128, 256, 512, 768, 896, 1024, 1536, 2048, 3072, 4096)
"""Sizes of working sets for which kernels are compiled."""


RATE = 0.5
"""Reduction of the violation of optimality by one step, above which the model is made anew."""


FAST = 0.01
"""The same, below which steps go on beyond what is enough for now."""


CHANGED = 1e-3
"""Relative change of the second derivatives of the rows above which the exact Hessian is another."""


EXACT = 3e-3
"""Relative residual to which the equations with the exact Hessian are solved on a face that stays."""


MOST_PRODUCTS = 8
"""Products with the exact Hessian for that."""


@dataclasses.dataclass(frozen=True)
class WorkingSet:
    """Working sets of columns, coordinate descent and Newton steps within, for sparse coefficients.

    Needs coefficients under Laplace or elastic net priors in one linear predictor or a sum of several (see
    ``lossgeo.structure``), and at most ``max_other`` other parameters. It is driven by the host: ``lg.fit`` runs it,
    ``lg.solve`` cannot.

    Args:
        max_steps: default budget of passes over all columns.
        max_other: bound on the number of coordinates beside the penalised coefficients.
        max_newton: bound on the proximal Newton steps on one working set.
    """

    max_steps: int = 100
    max_other: int = 64
    max_newton: int = 25

    @property
    def name(self) -> str:
        """What the plan calls it."""
        return "working sets with coordinate descent"


def bucket(size: int) -> int:
    """Least compiled size that holds ``size`` columns; ``size`` itself beyond the largest."""
    return next((b for b in BUCKETS if size <= b), size)


def choose_columns(in_use: np.ndarray, score: np.ndarray, grow: int, fill: bool = True) -> np.ndarray:
    """Columns of the next working set.

    Args:
        in_use: columns that must be in it, as a mask, shape ``(d,)``.
        score: how much each other column violates optimality, negative for not at all, ``-inf`` for never, shape
            ``(d,)``.
        grow: number of violating columns to take at most, beyond what fills the compiled size.
        fill: whether what room is left goes to the columns that are closest to violating.

    Returns:
        Indices in increasing order.
    """
    used, others = np.flatnonzero(in_use), np.flatnonzero(~in_use & (score > -np.inf))
    violating = min(grow, int(np.sum(score[others] > 0)))
    room = min(bucket(len(used) + violating) - len(used) if fill else violating, len(others))
    if room < len(others):
        others = others[np.argpartition(-score[others], room)[:room]] if room > 0 else others[:0]
    return np.sort(np.concatenate([used, others]))


class Reduced(NamedTuple):
    """Where :func:`descend_reduced` ended.

    Args:
        x: coefficients of the working set, kinks at 0, shape ``(k,)``.
        v: other coordinates, shape ``(q,)``.
        eta: linear predictor, shape ``(n,)``.
        value: the function there, in nats.
        decrease: a bound on the decrease that is left, in nats: what the model predicted for the last step, times
            ``rate`` where steps gain two digits; infinite after a shortened one.
        rate: factor by which the last step changed the violation of optimality.
        drift: relative change of the second derivatives of the rows since the model was made.
        num_steps: steps made.
        stuck: no step decreased the function any further, or it is not finite.
        face: factor of the model on the last face that was looked at.
        gradient: derivatives along the coefficients, all but the kinks, shape ``(k,)``.
    """

    x: jax.Array
    v: jax.Array
    eta: jax.Array
    value: jax.Array
    decrease: jax.Array
    rate: jax.Array
    drift: jax.Array
    num_steps: jax.Array
    stuck: jax.Array
    face: Face
    gradient: jax.Array


def descend_reduced(
    loss: Loss,
    columns: jax.Array,
    offset: jax.Array,
    strength: jax.Array,
    model: Model,
    x: jax.Array,
    v: jax.Array,
    *,
    tol: float | jax.Array,
    enough: float | jax.Array,
    max_steps: int | jax.Array,
    bend: bool | jax.Array = True,
    sweeps: int | jax.Array = 6,
    joint: bool | jax.Array = True,
    known: tuple[jax.Array, jax.Array] | None = None,
) -> Reduced:
    r"""Proximal Newton steps with one model on a working set; pure, of static shape.

    Gradients are exact at every step and the model stays, which for a quadratic function is iterative refinement.
    Ends when the model predicts no more decrease than ``tol``, or when steps reduce the violation of optimality by
    less than ``RATE``: then it takes a new model, or one of higher precision.

    Args:
        loss: as for :func:`reduced_model`.
        columns: as for :func:`reduced_model`.
        offset: :math:`o`, shape ``(n,)``.
        strength: of the kinks, shape ``(k,)``.
        model: from :func:`reduced_model`.
        x: start, shape ``(k,)``.
        v: start, shape ``(q,)``.
        tol: ends when the model predicts no more than this decrease, in nats.
        enough: the same where steps gain less than two digits.
        max_steps: bound on the steps.
        bend: as for :func:`descend_kinked`.
        sweeps: as for :func:`descend_kinked`.
        joint: whether the model is the Hessian, so that its prediction counts.
        known: ``eta`` and ``gradient`` of a :class:`Reduced` at the start, if they are known.
    """
    q = v.shape[0]
    eps = jnp.finfo(x.dtype).eps
    kink = jnp.concatenate([jnp.zeros_like(v), strength])
    rows_and_other = jax.value_and_grad(loss, argnums=(0, 1))

    def look(z: jax.Array, eta: jax.Array, along: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        value, (rows, other) = rows_and_other(eta, z[:q])
        pull = model.ridge * z[q:]
        penalty = jnp.sum(kink * jnp.abs(z)) + 0.5 * jnp.sum(pull * z[q:])
        along = rows @ columns + pull if along is None else along
        return value + penalty, jnp.concatenate([other, along])

    def slopes(gradient: jax.Array, z: jax.Array) -> Slopes:
        return kinked_slopes(gradient, z, kink, model.scale)

    def violation(at: Slopes) -> jax.Array:
        nothing = jnp.zeros_like(at.start)
        return kinked_violation(at, nothing, nothing, model.moves)

    def drift(weights: jax.Array) -> jax.Array:
        total = jnp.sum(jnp.abs(model.weights))
        return jnp.sum(jnp.abs(weights - model.weights)) / jnp.where(total > 0, total, 1.0)

    def refined(curvature: tuple, z: jax.Array, at: Slopes, face: Face, whole: jax.Array, delta: jax.Array) -> tuple:
        """The Newton step of the exact Hessian on a face that stays, by conjugate gradients; or the step as it is."""
        weights, cross, corner = (w.astype(model.h.dtype) for w in curvature)
        scale = model.scale[:q].astype(model.h.dtype)
        own = (model.ridge * jnp.square(model.scale[q:])).astype(model.h.dtype)

        def product(u: jax.Array) -> jax.Array:
            tangent = model.columns @ u[q:]
            rows, other = weights * tangent, jnp.zeros_like(u[:q])
            if q:
                rows = rows + (scale * u[:q]) @ cross
                other = scale * (cross @ tangent + corner @ (scale * u[:q]))
            return jnp.where(face.free, jnp.concatenate([other, rows @ model.columns + own * u[q:]]), 0.0)

        slope = jnp.where(face.free, at.slope, 0.0).astype(model.h.dtype)
        solved = linalg.conjugate_gradients(
            product, -slope, tol=EXACT, max_steps=MOST_PRODUCTS, preconditioner=face.solve
        )
        to = land(z, at, solved.x, model.scale)
        good = solved.positive & jnp.all(jnp.sign(to) == jnp.sign(whole)) & jnp.all(jnp.isfinite(to))
        return jnp.where(good, to, whole), jnp.where(good, -0.5 * slope @ solved.x, delta)

    def body(carry: tuple) -> tuple:
        state, gradient, before = carry
        face = state.face
        z = jnp.concatenate([state.v, state.x])
        at = slopes(gradient, z)
        delta, predicted, _, face = descend_kinked(
            model.h, at, model.moves, face, bend=bend, sweeps=sweeps, settled=state.num_steps > 0
        )
        whole = land(z, at, delta, model.scale)
        stays = jnp.all(jnp.sign(whole) == jnp.sign(z)) & jnp.all(face.free == (model.moves & ((z != 0) | (kink == 0))))
        curvature = row_curvature(loss, state.eta, state.v)
        whole, predicted = jax.lax.cond(
            stays & bend & joint & (drift(curvature[0]) > CHANGED),
            lambda: refined(curvature, z, at, face, whole, predicted),
            lambda: (whole, predicted),
        )
        change = whole - z
        penalty = jnp.sum(kink * jnp.where(whole * z >= 0, jnp.sign(z + whole) * change, jnp.abs(whole) - jnp.abs(z)))
        slope = gradient @ change + penalty
        noise = 16.0 * eps * jnp.abs(state.value)
        usable = jnp.all(jnp.isfinite(whole)) & ((slope < 0) | (jnp.abs(slope) <= noise))
        eta_whole = offset + columns @ whole[q:]

        def attempt(length: jax.Array) -> tuple:
            # The whole step is the minimiser of the model itself: its zeros are exact.
            to = jnp.where(length == 1.0, whole, z + length * change)
            eta = jnp.where(length == 1.0, eta_whole, state.eta + length * (eta_whole - state.eta))
            value, gradient = look(to, eta)
            good = value <= state.value + 1e-4 * length * jnp.minimum(slope, 0.0) + noise
            return to, eta, value, gradient, good & jnp.all(jnp.isfinite(gradient))

        def shorten(carry: tuple) -> tuple:
            length = 0.5 * carry[0]
            return length, *attempt(length)

        one = jnp.ones_like(slope)
        length, to, eta, value, moved_gradient, good = jax.lax.while_loop(
            lambda c: usable & ~c[5] & (c[0] > 1e-9), shorten, (one, *attempt(one))
        )
        good = good & usable
        to = jnp.where(good, to, z)
        gradient = jnp.where(good, moved_gradient, gradient)
        after = violation(slopes(gradient, to))
        rate = jnp.where(before > 0, after / jnp.where(before > 0, before, 1.0), 0.0)
        moved = state._replace(
            x=to[q:],
            v=to[:q],
            eta=jnp.where(good, eta, state.eta),
            value=jnp.where(good, value, state.value),
            # Only a whole step of the joint model tells how much there was; the rest goes down with the square of the
            # violation, half of which is relied on where steps gain two digits: a duality gap has the last word.
            decrease=jnp.where(
                good & joint & (length == 1.0) & jnp.isfinite(predicted),
                jnp.abs(predicted).astype(x.dtype) * jnp.where(rate < FAST, rate, 1.0),
                jnp.inf,
            ),
            rate=rate,
            num_steps=state.num_steps + 1,
            stuck=~good,
            face=face,
            gradient=gradient[q:],
        )
        return moved, gradient, after

    eta, along = (offset + columns @ x, None) if known is None else known
    value, gradient = look(jnp.concatenate([v, x]), eta, along)
    infinite = jnp.full((), jnp.inf, x.dtype)
    zero = jnp.zeros((), x.dtype)
    face = Face.none(model.h)
    start = Reduced(x, v, eta, value, infinite, zero, zero, jnp.asarray(0), ~jnp.isfinite(value), face, gradient[q:])
    before = violation(slopes(gradient, jnp.concatenate([v, x])))

    def running(carry: tuple) -> jax.Array:
        state = carry[0]
        # A few digits with each step, which costs less than another look at all columns, are taken while they come.
        more = (state.decrease > enough) | ((state.decrease > tol) & (state.rate < FAST))
        return more & ~state.stuck & (state.num_steps < max_steps) & ((state.rate <= RATE) | ~jnp.asarray(joint))

    state = jax.lax.while_loop(running, body, (start, gradient, before))[0]
    return state._replace(
        drift=drift(row_curvature(loss, state.eta, state.v)[0]), stuck=state.stuck | ~jnp.isfinite(state.value)
    )
