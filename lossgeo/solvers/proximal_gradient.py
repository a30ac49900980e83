"""Accelerated proximal gradient: the solver of kinked problems."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.certificate import expected_decrease
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.status import RUNNING, Status


class ProximalState(NamedTuple):
    """State of :class:`ProximalGradient`."""

    z: jax.Array
    value: jax.Array
    ahead: jax.Array  # extrapolated point
    momentum: jax.Array
    lipschitz: jax.Array  # in the equilibrated coordinates
    scale: jax.Array
    edm: jax.Array
    next_check: jax.Array
    num_steps: jax.Array
    status: jax.Array


@dataclasses.dataclass(frozen=True)
class ProximalGradient:
    r"""Accelerated proximal gradient with backtracking and restarts, in equilibrated coordinates.

    .. math:: u^+ = c + \mathrm{soft}\bigl(v - t D^2 \nabla f(v) - c,\; t D^2 \lambda\bigr)

    at the extrapolated point :math:`v`, with :math:`f` the smooth part. Coefficients are *exactly* on their kink, by
    the soft threshold, and blocks of coefficients by that of their norm, in a scale :math:`D` that is uniform within
    them. Momentum restarts whenever the objective rises. At growing intervals the expected decrease on
    the current face is computed; below ``handover`` nats Newton steps on the face finish.

    References: Beck and Teboulle (2009), SIAM J. Imaging Sci. 2, 183; O'Donoghue and Candès (2015), FoCM 15, 715.

    Args:
        max_steps: default budget.
        first_check: steps before the certificate is computed for the first time.
        handover: expected decrease in nats below which the face is taken as found.
    """

    max_steps: int = 20_000
    first_check: int = 30
    handover: float = 1e-3

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "accelerated proximal gradient"

    def init(self, problem: Problem, tol: jax.Array) -> ProximalState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat = FlatProblem(problem)
        z = flat.z0
        value = flat.value(z)
        one = jnp.ones_like(value)
        status = jnp.where(jnp.isfinite(value), RUNNING, Status.NOT_FINITE).astype(jnp.int32)
        return ProximalState(
            z,
            value,
            z,
            one,
            one,
            linalg.matrix_free_scale(flat.hessian_product(z), z),
            jnp.inf * one,
            jnp.asarray(self.first_check),
            jnp.asarray(0),
            status,
        )

    def step(self, problem: Problem, state: ProximalState, tol: jax.Array) -> ProximalState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat = FlatProblem(problem)
        v = state.ahead
        total, grad = flat.value_and_grad(v)
        if flat.smooth:
            center, strength, blocks = jnp.zeros_like(v), jnp.zeros_like(v), flat.blocks(v)
        else:
            center, strength, blocks = flat.kinks(v)
        kinked = jnp.where(strength > 0, strength, 0.0)
        side = blocks.unit(v - center)
        smooth = total - jnp.sum(kinked * (v - center) * side)
        grad_smooth = grad - kinked * side
        metric = jnp.square(blocks.least(state.scale))
        noise = 8.0 * jnp.finfo(v.dtype).eps * jnp.abs(total)

        def attempt(lipschitz: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            step = metric / lipschitz
            moved = v - step * grad_smooth - center
            z = center + jnp.where(strength > 0, blocks.soft(moved, step * kinked), moved)
            value = flat.value(z)
            delta = z - v
            model = smooth + grad_smooth @ delta + 0.5 * lipschitz * jnp.sum(jnp.square(delta) / metric)
            ok = value - jnp.sum(kinked * (z - center) * blocks.unit(z - center)) <= model + noise
            return z, value, ok

        def backtrack(carry: tuple) -> tuple:
            lipschitz = 2.0 * carry[0]
            return lipschitz, *attempt(lipschitz)

        start = 0.9 * state.lipschitz
        lipschitz, z, value, ok = jax.lax.while_loop(
            lambda c: ~c[3] & (c[0] < 1e30), backtrack, (start, *attempt(start))
        )
        rises = ~(value <= state.value + noise)
        # On a rise: restart from the best point without momentum.
        z, value = jnp.where(rises, state.z, z), jnp.where(rises, state.value, value)
        momentum = jnp.where(rises, 1.0, 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * jnp.square(state.momentum))))
        ahead = jnp.where(rises, state.z, z + (state.momentum - 1.0) / momentum * (z - state.z))
        num_steps = state.num_steps + 1

        def check() -> tuple[jax.Array, jax.Array]:
            return expected_decrease(dataclasses.replace(problem, init=flat.unravel(z))), num_steps + num_steps // 2

        edm, next_check = jax.lax.cond(num_steps >= state.next_check, check, lambda: (state.edm, state.next_check))
        stuck = ~ok | (rises & jnp.all(v == state.z))
        status = jnp.where(
            edm <= jnp.maximum(tol, self.handover), Status.CONVERGED, jnp.where(stuck, Status.STALLED, RUNNING)
        )
        return ProximalState(
            z, value, ahead, momentum, lipschitz, state.scale, edm, next_check, num_steps, status.astype(jnp.int32)
        )

    def params(self, problem: Problem, state: ProximalState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return FlatProblem(problem).unravel(state.z)
