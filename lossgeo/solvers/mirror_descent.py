r"""Mirror descent on the simplex: steps in the dual coordinates of a potential, never across the edge.

.. math:: x^+ = \arg\min_{y \in \Delta} \langle g, y\rangle + \tfrac1\gamma D_A(y, x)
          \quad\Longleftrightarrow\quad \nabla A(x^+) = \nabla A(x) - \gamma g + \nu\mathbf 1

with :math:`\nu` such that the entries of :math:`x^+` sum to 1. With the entropy it is exponentiated gradient,
:math:`x^+ \propto x\,e^{-\gamma g}`. How far the optimum can be is told by the Frank-Wolfe gap

.. math:: \sum_j x_j g_j - \min_j g_j \;\ge\; f(x) - \min_\Delta f \quad\text{for convex } f,

a duality gap that exists at every point, on a face of the simplex too.

References: Nemirovski and Yudin (1983); Kivinen and Warmuth (1997), Inf. Comput. 132, 1; Beck and Teboulle (2003),
Oper. Res. Lett. 31, 167; Bauschke, Bolte and Teboulle (2017), Math. Oper. Res. 42, 330 (relative smoothness); Jaggi
(2013), ICML (the gap).
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo.solvers.kinks import Blocks
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.status import RUNNING, Status

__all__ = ["Mirror", "MirrorDescent", "frank_wolfe_gap", "memberships", "simplices"]

HALVINGS = 52
"""Bisections of the multiplier, as many as a number has bits."""


class Mirror(Protocol):
    """A separable potential on the positive orthant whose gradient falls to minus infinity at 0."""

    def gradient(self, x: Any) -> jax.Array:
        """The map to dual coordinates, entry by entry."""
        ...

    def inverse(self, mu: Any) -> jax.Array:
        """The map back."""
        ...


def simplices(tree: Any) -> Blocks:
    """The simplices of a ravelled tree: the last axis of each leaf."""
    numbers: list[np.ndarray] = [np.zeros(0, int)]
    first = 0
    for leaf in jax.tree.leaves(tree):
        size = leaf.shape[-1] if leaf.ndim else 1
        numbers.append(first + np.arange(leaf.size) // max(size, 1) * size)
        first += leaf.size
    return Blocks(jnp.asarray(np.concatenate(numbers), jnp.int32))


def memberships(tree: Any, dtype: Any) -> jax.Array:
    """Which entries of a ravelled tree (rows) are in which simplex (columns), 1 or 0; shape ``(p, m)``."""
    numbers, first = [np.zeros(0, int)], 0
    for leaf in jax.tree.leaves(tree):
        size = leaf.shape[-1] if leaf.ndim else 1
        numbers.append(first + np.arange(leaf.size) // max(size, 1))
        first += leaf.size // max(size, 1)
    return jnp.asarray(np.concatenate(numbers)[:, None] == np.arange(first)[None, :], dtype)


def frank_wolfe_gap(x: jax.Array, grad: jax.Array, blocks: Blocks) -> jax.Array:
    """Bound on the excess of a convex function over its least value on the simplices, shape ``()``.

    A sum of terms that are not negative: no digits are lost in a difference of large slopes.
    """
    return jnp.sum(x * (grad - blocks.least(grad)))


class MirrorState(NamedTuple):
    """State of :class:`MirrorDescent`."""

    z: jax.Array
    value: jax.Array
    grad: jax.Array
    step: jax.Array  # in units of the range of the gradient, which cancels those of the objective
    edm: jax.Array
    seen: jax.Array  # the gap at the last look
    next_look: jax.Array
    num_steps: jax.Array
    status: jax.Array


@dataclasses.dataclass(frozen=True)
class MirrorDescent:
    r"""Mirror descent with a line search, for parameters that are probability vectors; its faces are within reach.

    For mixing weights, mixture proportions, optimal designs, portfolios: all parameters that are not held must have
    ``supports.simplex``. A step is shortened until the objective falls by half of what the gradient predicts, and
    lengthened otherwise. When the gap is below ``handover`` nats, or has not halved from one look to the next, Newton
    steps on the simplex finish (:class:`lossgeo.solvers.SimplexNewton`): weights that the optimum does without are then
    exactly 0, and the gap and the multipliers of the edges are the certificate.

    Args:
        potential: ``None`` for the entropy, or a separable potential of ``lossgeo.geometry`` on the positive orthant
            such as ``geometry.burg``: log-likelihoods of mixing weights and of designs are smooth relative to that.
        max_steps: default budget.
        handover: gap in nats below which Newton's method takes over.
        first_look: steps before progress is looked at.
    """

    potential: Mirror | None = None
    max_steps: int = 2_000
    handover: float = 1e-3
    first_look: int = 20

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return f"mirror descent on the simplex ({getattr(self.potential, 'name', 'entropy')})"

    def init(self, problem: Problem, tol: jax.Array) -> MirrorState:
        """See :class:`lossgeo.solvers.Solver`; the leaves of the problem are probability vectors on their last axis."""
        flat = FlatProblem(problem)
        z = flat.z0
        value, grad = flat.value_and_grad(z)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
        gap = frank_wolfe_gap(z, grad, simplices(problem.init))
        status = jnp.where(finite, RUNNING, Status.NOT_FINITE).astype(jnp.int32)
        one = jnp.ones_like(value)
        return MirrorState(z, value, grad, one, gap, gap, jnp.asarray(self.first_look), jnp.asarray(0), status)

    def step(self, problem: Problem, state: MirrorState, tol: jax.Array) -> MirrorState:
        """See :class:`lossgeo.solvers.Solver`."""
        flat, blocks = FlatProblem(problem), simplices(problem.init)
        noise = 8.0 * jnp.finfo(state.z.dtype).eps * jnp.abs(state.value)
        slope = state.grad - blocks.least(state.grad)
        # Weighted by the point itself: entries that are nearly 0 have no say in the length of a step.
        size = blocks.total(state.z * slope)
        unit = slope / jnp.where(size > 0, size, 1.0)

        def attempt(step: jax.Array) -> tuple:
            z = self._moved(state.z, step * unit, blocks)
            value, grad = flat.value_and_grad(z)
            wanted = 0.5 * jnp.minimum(slope @ (z - state.z), 0.0)
            finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
            return z, value, grad, finite & (value <= state.value + wanted + noise)

        def shorten(carry: tuple) -> tuple:
            step = 0.5 * carry[0]
            return step, *attempt(step)

        start = 2.0 * state.step
        step, z, value, grad, good = jax.lax.while_loop(
            lambda c: ~c[4] & (c[0] > 1e-20), shorten, (start, *attempt(start))
        )
        z, value, grad = (
            jnp.where(good, new, old) for new, old in ((z, state.z), (value, state.value), (grad, state.grad))
        )
        gap, num_steps = frank_wolfe_gap(z, grad, blocks), state.num_steps + 1
        look = num_steps >= state.next_look
        slow = look & (gap > 0.5 * state.seen)
        status = jnp.where(gap <= jnp.maximum(tol, self.handover), Status.CONVERGED, RUNNING)
        status = jnp.where((status == RUNNING) & (slow | ~good), Status.STALLED, status)
        return MirrorState(
            z,
            value,
            grad,
            jnp.where(good, step, state.step),
            gap,
            jnp.where(look, gap, state.seen),
            jnp.where(look, num_steps + num_steps // 2, state.next_look),
            num_steps,
            status.astype(jnp.int32),
        )

    def params(self, problem: Problem, state: MirrorState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return FlatProblem(problem).unravel(state.z)

    def _moved(self, x: jax.Array, change: jax.Array, blocks: Blocks) -> jax.Array:
        """The mirror step from ``x`` by ``change`` in dual coordinates; the entries of each block sum to 1."""
        if self.potential is None:
            weight = x * jnp.exp(blocks.least(change) - change)
            return weight / blocks.total(weight)
        potential = self.potential
        dual = potential.gradient(x) - change
        count = blocks.total(jnp.ones_like(x))
        # The largest entry is at least 1 / K and at most 1.
        low = blocks.least(potential.gradient(1.0 / count) - dual)
        high = blocks.least(potential.gradient(jnp.ones_like(x)) - dual)

        def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bounds
            middle = 0.5 * (low + high)
            above = blocks.total(potential.inverse(dual + middle)) > 1.0
            return jnp.where(above, low, middle), jnp.where(above, middle, high)

        low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
        weight = jnp.where(x > 0, potential.inverse(dual + low), 0.0)
        return weight / blocks.total(weight)
