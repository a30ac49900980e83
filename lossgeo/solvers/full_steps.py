"""Newton's method with full steps, for many small problems side by side: no branch, so that ``vmap`` costs nothing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.problem import FlatProblem, Problem

__all__ = ["FullSteps", "full_steps"]

MAX_FULL_STEPS = 30
"""Steps after which a problem is left to a solver that looks where it goes."""


class FullSteps(NamedTuple):
    """End of :func:`full_steps`: all but the last step, which is left to who judges its end.

    ``lower`` is the Cholesky factor of the equilibrated Hessian at ``z`` and ``scale`` what equilibrates it.
    """

    z: jax.Array
    step: jax.Array
    hessian: jax.Array
    lower: jax.Array
    scale: jax.Array
    definite: jax.Array
    curvature_change: jax.Array
    num_steps: jax.Array
    converged: jax.Array


class _State(NamedTuple):
    """State of the loop: the point, its derivatives, the step from it."""

    z: jax.Array
    grad: jax.Array
    hessian: jax.Array
    lower: jax.Array
    scale: jax.Array
    definite: jax.Array
    step: jax.Array
    edm: jax.Array
    curvature_change: jax.Array
    num_steps: jax.Array
    running: jax.Array
    converged: jax.Array


def full_steps(problem: Problem, tol: jax.Array, max_steps: int | jax.Array) -> FullSteps:
    r"""Full Newton steps :math:`s = -H^{-1}g` for as long as each does what the quadratic model promises.

    The method of Newton and Raphson, for a generalised linear model iteratively reweighted least squares, with none of
    the safeguards of :class:`lossgeo.solvers.Newton` but the means to see that they are not needed: the Hessian is
    positive definite at every point, and by the trapezoidal rule on the gradient each step obtains at least a tenth of
    the decrease it promised. Otherwise, or after ``MAX_FULL_STEPS``, it gives up where it is, ``converged`` false.
    It ends before the last step: the expected decrease is below ``tol`` and either below :math:`\epsilon` nats, so that
    the step left is :math:`\sqrt{2\epsilon}` standard errors long and changes the Hessian as little, or no longer
    improves, and then no step is left.

    Only gradients and Hessians are evaluated, both in one pass over the rows where these are known.

    Args:
        problem: smooth; another problem's kinks are not seen.
        tol: bound on the expected decrease, in nats.
        max_steps: bound on the steps, besides ``MAX_FULL_STEPS``.

    Returns:
        The point, the last step from it, the Hessian there with its factor, the relative change of the curvature along
        the last step that mattered (``inf`` if none did), the number of steps and whether it converged.
    """
    flat = FlatProblem(problem)
    z, eps = flat.z0, jnp.finfo(flat.z0.dtype).eps
    smallest_pivot = linalg.rank_tolerance(z.shape[0], z.dtype)

    def body(state: _State) -> _State:
        z = state.z + state.step
        grad, hessian = flat.gradient_and_hessian(z)
        first = state.num_steps < 0
        obtained = -0.5 * state.step @ (state.grad + grad)
        # Below the tolerance what is promised is lost in rounding errors.
        negligible = state.edm <= tol
        kept = first | (obtained > 0.1 * state.edm) | negligible
        # Mean curvature along the step relative to that at its start: half of the change, where it changes evenly.
        change = 2.0 * jnp.abs(obtained / jnp.where(first, 1.0, state.edm) - 1.0)
        change = jnp.where(first | negligible, state.curvature_change, change)
        scaled, scale = linalg.equilibrate(hessian)
        lower = jnp.linalg.cholesky(scaled, symmetrize_input=False)
        rhs = grad * scale
        step = -jax.scipy.linalg.cho_solve((lower, True), rhs)
        edm = -0.5 * rhs @ step
        definite = jnp.all(jnp.square(jnp.diagonal(lower)) > smallest_pivot)
        sane = kept & definite & jnp.isfinite(edm)
        stalled = edm > 0.5 * state.edm
        converged = sane & (edm <= tol) & ((edm <= eps) | stalled)
        step = jnp.where(converged & stalled, 0.0, step * scale)
        return _State(
            z,
            grad,
            hessian,
            lower,
            scale,
            definite,
            step,
            edm,
            change,
            state.num_steps + 1,
            sane & ~converged,
            converged,
        )

    nothing, infinity = jnp.zeros_like(z), jnp.asarray(jnp.inf, z.dtype)
    blank, never = jnp.zeros((z.shape[0], z.shape[0]), z.dtype), jnp.asarray(False)
    start = _State(
        z, nothing, blank, blank, nothing, never, nothing, infinity, infinity, jnp.asarray(-1), ~never, never
    )
    bound = jnp.minimum(MAX_FULL_STEPS, max_steps)
    end = jax.lax.while_loop(lambda s: s.running & (s.num_steps < bound), body, start)
    num_steps = end.num_steps + jnp.where(end.converged & jnp.any(end.step != 0), 1, 0)
    return FullSteps(
        end.z,
        jnp.where(end.converged, end.step, 0.0),
        end.hessian,
        end.lower,
        end.scale,
        end.definite,
        end.curvature_change,
        num_steps,
        end.converged,
    )
