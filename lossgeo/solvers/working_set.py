r"""Working sets: L1-penalised problems with many coefficients, of which few are off their kink.

.. math:: \min_{x, v}\; f(o + Xx,\, v) + \sum_j \lambda_j |x_j|

Only a *working set* of columns of :math:`X`, those that violate the optimality conditions most and those in use, is
looked at in detail: there proximal Newton steps solve the problem, with :math:`v` (an intercept, a scale) beside the
coefficients, and one pass over all columns then tells which others belong to it.

The sets differ in size from round to round, so that the host drives; the kernels are compiled for a few sizes.

References: Johnson and Guestrin (2015), ICML (Blitz); Bertrand et al. (2022), NeurIPS (skglm); Lee, Sun and Saunders
(2014), SIAM J. Optim. 24, 1420 (proximal Newton).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import linalg
from lossgeo.solvers.coordinate_descent import kinked_violation, minimize_kinked_quadratic

__all__ = ["Reduced", "WorkingSet", "bucket", "choose_columns", "minimize_reduced"]

BUCKETS = (32, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Sizes of working sets for which kernels are compiled."""


LAG = 0.1
"""Reduction of the violation of optimality by one step, above which the Hessian is computed anew."""


@dataclasses.dataclass(frozen=True)
class WorkingSet:
    """Working sets of columns, coordinate descent and Newton steps within, for a Laplace prior on many coefficients.

    Needs a log-likelihood with one linear predictor under the Laplace prior (see ``lossgeo.structure``), and at most
    ``max_other`` other parameters. It is driven by the host: ``lg.fit`` runs it, ``lg.solve`` cannot.

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


def choose_columns(in_use: np.ndarray, score: np.ndarray, grow: int) -> np.ndarray:
    """Columns of the next working set.

    Args:
        in_use: columns that must be in it, as a mask, shape ``(d,)``.
        score: how much each other column violates optimality, negative for not at all, ``-inf`` for never, shape
            ``(d,)``.
        grow: number of violating columns to take at most, beyond what fills the compiled size.

    Returns:
        Indices in increasing order. What room is left goes to the columns that are closest to violating.
    """
    used, others = np.flatnonzero(in_use), np.flatnonzero(~in_use & (score > -np.inf))
    violating = int(np.sum(score[others] > 0))
    room = min(bucket(len(used) + min(grow, violating)) - len(used), len(others))
    if room < len(others):
        others = others[np.argpartition(-score[others], room)[:room]] if room > 0 else others[:0]
    return np.sort(np.concatenate([used, others]))


class Reduced(NamedTuple):
    """Where :func:`minimize_reduced` stands.

    Args:
        x: coefficients of the working set, kinks at 0, shape ``(k,)``.
        v: other coordinates, shape ``(q,)``.
        value: the function there, in nats.
        decrease: decrease that the model predicted for the last step, in nats.
        num_steps: Newton steps made.
        stuck: no step decreased the function any further, or it is not finite.
    """

    x: jax.Array
    v: jax.Array
    value: jax.Array
    decrease: jax.Array
    num_steps: jax.Array
    stuck: jax.Array


def minimize_reduced(
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    columns: jax.Array,
    offset: jax.Array,
    strength: jax.Array,
    x: jax.Array,
    v: jax.Array,
    tol: jax.Array,
    max_steps: int | jax.Array,
) -> Reduced:
    r"""Proximal Newton on a working set; pure, of static shape.

    The model at a point has the Hessian of :math:`f` in the coefficients and :math:`v` together. Where it yields no
    direction of descent (it may be indefinite far from the optimum, as for a scale) the next step takes the block
    diagonal matrix with :math:`|f''|` of the rows and the absolute eigenvalues of the block of :math:`v` instead.

    Args:
        loss: ``(eta (n,), v (q,)) -> ()``, independent between the entries of ``eta`` given ``v``.
        columns: of the working set, shape ``(n, k)``; zero columns may fill it.
        offset: :math:`o`, shape ``(n,)``.
        strength: of the kinks, shape ``(k,)``.
        x: start, shape ``(k,)``.
        v: start, shape ``(q,)``.
        tol: ends when a model predicts no more than this decrease, in nats.
        max_steps: bound on the steps.
    """
    q = v.shape[0]
    eps = jnp.finfo(x.dtype).eps
    kink = jnp.concatenate([jnp.zeros_like(v), strength])

    def value_at(x: jax.Array, v: jax.Array) -> jax.Array:
        return loss(offset + columns @ x, v) + jnp.sum(strength * jnp.abs(x))

    def gradient_at(x: jax.Array, v: jax.Array) -> jax.Array:
        rows, other = jax.grad(loss, argnums=(0, 1))(offset + columns @ x, v)
        return jnp.concatenate([other, rows @ columns])

    def hessian_at(x: jax.Array, v: jax.Array, joint: jax.Array) -> jax.Array:
        eta = offset + columns @ x
        push = jax.linearize(jax.grad(loss, argnums=(0, 1)), eta, v)[1]
        weights, _ = push(jnp.ones_like(eta), jnp.zeros_like(v))
        weights = jnp.where(joint, weights, jnp.abs(weights))
        gram = linalg.weighted_gram(columns, weights, columns)
        if q == 0:
            return gram
        cross, corner = jax.vmap(lambda e: push(jnp.zeros_like(eta), e))(jnp.eye(q, dtype=v.dtype))
        eigenvalues, vectors = jnp.linalg.eigh(0.5 * (corner + corner.T))
        least = jnp.sqrt(eps) * jnp.max(jnp.abs(eigenvalues))
        positive = (vectors * jnp.maximum(jnp.abs(eigenvalues), least)[None, :]) @ vectors.T
        cross = jnp.where(joint, cross @ columns, 0.0)
        corner = jnp.where(joint, corner, positive)
        return jnp.block([[corner, cross], [cross.T, gram]])

    def body(carry: tuple) -> tuple:
        state, joint, fresh, hessian, violation = carry
        gradient = gradient_at(state.x, state.v)
        z = jnp.concatenate([state.v, state.x])
        # The Hessian serves again while steps gain a digit with it.
        again = joint & fresh & (kinked_violation(hessian, gradient, z, kink) <= LAG * violation)
        hessian = jax.lax.cond(again, lambda: hessian, lambda: hessian_at(state.x, state.v, joint))
        violation = kinked_violation(hessian, gradient, z, kink)
        found = minimize_kinked_quadratic(hessian, gradient, z, kink)
        slope = gradient @ found.delta + jnp.sum(kink * (jnp.abs(found.x) - jnp.abs(z)))
        noise = 16.0 * eps * jnp.abs(state.value)
        usable = jnp.all(jnp.isfinite(found.x)) & ((slope < 0) | (jnp.abs(slope) <= noise))

        def attempt(length: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            # The whole step is the minimiser of the model itself: its zeros are exact.
            to = jnp.where(length == 1.0, found.x, z + length * found.delta)
            value = value_at(to[q:], to[:q])
            return to, value, value <= state.value + 1e-4 * length * jnp.minimum(slope, 0.0) + noise

        def shorten(carry: tuple) -> tuple:
            length = 0.5 * carry[0]
            return length, *attempt(length)

        one = jnp.ones_like(slope)
        length, to, value, good = jax.lax.while_loop(
            lambda c: usable & ~c[3] & (c[0] > 1e-9), shorten, (one, *attempt(one))
        )
        good = good & usable
        moved = Reduced(
            jnp.where(good, to[q:], state.x),
            jnp.where(good, to[:q], state.v),
            jnp.where(good, value, state.value),
            # Only a whole step of the joint model tells how much was left.
            jnp.where(good & joint & (length == 1.0), jnp.abs(found.decrease), jnp.inf),
            state.num_steps + 1,
            ~good & ~joint,
        )
        return moved, good, good & joint, hessian, violation

    start = Reduced(x, v, value_at(x, v), jnp.full((), jnp.inf, x.dtype), jnp.asarray(0), jnp.asarray(False))

    def running(carry: tuple) -> jax.Array:
        state = carry[0]
        return (state.decrease > tol) & ~state.stuck & (state.num_steps < max_steps) & jnp.isfinite(state.value)

    nothing = jnp.zeros((kink.shape[0], kink.shape[0]), x.dtype)
    first = (start, jnp.asarray(True), jnp.asarray(False), nothing, jnp.zeros((), x.dtype))
    state = jax.lax.while_loop(running, body, first)[0]
    return state._replace(stuck=state.stuck | ~jnp.isfinite(state.value))
