r"""Derived duals: the inverse of a gradient map by damped Newton, with derivatives by the implicit-function rule.

The inverse :math:`\eta(\mu)` of :math:`\nabla A` solves :math:`\max_\eta \langle\eta,\mu\rangle - A(\eta)`. Its
iterations are not differentiated: from :math:`\nabla A(\eta(\mu)) = \mu` follows :math:`d\eta = (\nabla^2 A)^{-1} d\mu`
(the pseudo-inverse when A has a gauge), which is applied as it stands, to any order. So the Hessian of a derived
conjugate is exactly :math:`(\nabla^2 A)^{-1}`, and not the zero that a stopped gradient would leave.

Everything here is written for one point; the records are hashable, so that they may be static fields of a pytree.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Gauge = Callable[[tuple[int, ...]], np.ndarray]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def value_with_gradient(value: Any, gradient: Any, x: jax.Array, parameters: tuple[Any, ...]) -> jax.Array:
    """A scalar function whose derivative in ``x`` is, by declaration, the given gradient map."""
    return value(x, *parameters)


@value_with_gradient.defjvp
def _value_with_gradient_jvp(value: Any, gradient: Any, primals: Any, tangents: Any) -> Any:
    x, parameters = primals
    dx, dparameters = tangents
    out = value_with_gradient(value, gradient, x, parameters)
    tangent = jnp.vdot(gradient(x, *parameters), dx)
    if jax.tree.leaves(parameters):
        tangent = tangent + jax.jvp(lambda *p: value(x, *p), parameters, dparameters)[1]
    return out, tangent


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def implicit_inverse(
    gradient: Any, solve: Any, gauge: Gauge | None, mu: jax.Array, parameters: tuple[Any, ...]
) -> jax.Array:
    """``solve(mu, *parameters)``, differentiated as the inverse of ``gradient``."""
    return solve(mu, *parameters)


@implicit_inverse.defjvp
def _implicit_inverse_jvp(gradient: Any, solve: Any, gauge: Any, primals: Any, tangents: Any) -> Any:
    mu, parameters = primals
    rhs, dparameters = tangents
    eta = implicit_inverse(gradient, solve, gauge, mu, parameters)
    if jax.tree.leaves(parameters):
        rhs = rhs - jax.jvp(lambda *p: gradient(eta, *p), parameters, dparameters)[1]
    hessian = jax.jacfwd(gradient)(eta, *parameters)
    return eta, solve_hessian(hessian, rhs, gauge)


def gauge_basis(gauge: Gauge | None, point: jax.Array) -> jax.Array:
    """Orthonormal null directions at points of this shape, one per row, flattened: shape ``(k, n)``."""
    n = int(np.prod(point.shape))
    basis = np.zeros((0, n)) if gauge is None else gauge(point.shape).reshape((-1, n))
    return jnp.asarray(basis, point.dtype)


def solve_hessian(hessian: jax.Array, rhs: jax.Array, gauge: Gauge | None) -> jax.Array:
    """Solve against a Hessian of shape ``(*event, *event)``; with a gauge, apply the pseudo-inverse."""
    n = rhs.size
    matrix = hessian.reshape((n, n))
    vector = rhs.reshape((n,))
    if n == 1:
        return (vector / matrix[0]).reshape(rhs.shape)
    basis = gauge_basis(gauge, rhs)
    if basis.shape[0]:
        level = jnp.trace(matrix) / n
        matrix = matrix + level * (basis.T @ basis)
        vector = vector - basis.T @ (basis @ vector)
    scale = jax.lax.rsqrt(jnp.abs(jnp.diagonal(matrix)))
    solution = scale * jnp.linalg.solve(matrix * scale[:, None] * scale[None, :], scale * vector)
    return (solution - basis.T @ (basis @ solution)).reshape(rhs.shape)


class _State(NamedTuple):
    eta: jax.Array
    decrement: jax.Array
    steps: jax.Array
    polished: jax.Array
    stuck: jax.Array


@dataclasses.dataclass(frozen=True)
class Gradient:
    """The gradient map of a scalar function of one point, by automatic differentiation."""

    value: Callable[..., jax.Array]

    def __call__(self, eta: jax.Array, *parameters: Any) -> jax.Array:
        return jax.grad(self.value)(eta, *parameters)


@dataclasses.dataclass(frozen=True)
class NewtonInverse:
    r"""The inverse of :math:`\nabla A` by Newton steps, halved until they stay in the domain and decrease the dual gap.

    Stops on the Newton decrement :math:`g^\top (\nabla^2 A)^{-1} g` (twice the gap, in nats) and then takes two full
    steps, which are quadratically convergent there. NaN where it does not converge: ``mu`` outside the open codomain.
    """

    value: Callable[..., jax.Array]
    gradient: Callable[..., jax.Array]
    start: Callable[..., jax.Array]
    contains: Callable[[jax.Array], jax.Array]
    gauge: Gauge | None = None
    max_steps: int = 100

    def __call__(self, mu: jax.Array, *parameters: Any) -> jax.Array:
        return implicit_inverse(self.gradient, self.solve, self.gauge, mu, parameters)

    def solve(self, mu: jax.Array, *parameters: Any) -> jax.Array:
        """The iterations, from the family's own start."""
        eps = jnp.finfo(mu.dtype).eps

        def gap(eta: jax.Array) -> jax.Array:
            return self.value(eta, *parameters) - jnp.vdot(eta, mu)

        def step(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
            residual = mu - self.gradient(eta, *parameters)
            direction = solve_hessian(jax.jacfwd(self.gradient)(eta, *parameters), residual, self.gauge)
            return direction, jnp.vdot(residual, direction)

        def accepts(eta: jax.Array, direction: jax.Array, decrement: jax.Array, size: jax.Array) -> jax.Array:
            new = eta + size * direction
            now = gap(eta)
            rounding = 8 * eps * (1 + jnp.abs(now) + jnp.sum(jnp.abs(eta * mu)))
            return self.contains(new) & (gap(new) <= now - 0.1 * size * decrement + rounding)

        def body(state: _State) -> _State:
            direction, decrement = step(state.eta)
            close = decrement <= eps

            def rejected(size: jax.Array) -> jax.Array:
                return ~close & ~accepts(state.eta, direction, decrement, size) & (size > 1e-6)

            size = jax.lax.while_loop(rejected, lambda s: 0.5 * s, jnp.ones((), mu.dtype))
            stuck = (size <= 1e-6) | ~jnp.isfinite(decrement)
            eta = jnp.where(stuck, state.eta, state.eta + size * direction)
            return _State(eta, decrement, state.steps + 1, state.polished + close.astype(jnp.int32), stuck)

        def unfinished(state: _State) -> jax.Array:
            return (state.polished < 2) & (state.steps < self.max_steps) & ~state.stuck

        start = self.start(mu, *parameters).astype(mu.dtype)
        zero = jnp.zeros((), jnp.int32)
        state = _State(start, jnp.full((), jnp.inf, mu.dtype), zero, zero, jnp.zeros((), bool))
        state = jax.lax.while_loop(unfinished, body, state)
        # Far out a gap may look flat to rounding, so the equation itself is asked as well.
        miss = jnp.abs(self.gradient(state.eta, *parameters) - mu)
        solved = jnp.all(miss <= jnp.sqrt(eps) * (1 + jnp.abs(mu)))
        good = (state.polished == 2) & solved & self.contains(state.eta)
        return jnp.where(good, state.eta, jnp.nan)


@dataclasses.dataclass(frozen=True)
class ConjugateValue:
    r""":math:`A^*(\mu) = \langle\eta(\mu), \mu\rangle - A(\eta(\mu))`, insensitive to errors of :math:`\eta`."""

    value: Callable[..., jax.Array]
    inverse: Callable[..., jax.Array]

    def __call__(self, mu: jax.Array, *parameters: Any) -> jax.Array:
        eta = self.inverse(mu, *parameters)
        return jnp.vdot(eta, mu) - self.value(eta, *parameters)


def zeros_start(mu: jax.Array, *parameters: Any) -> jax.Array:
    """The origin as a starting point."""
    return jnp.zeros_like(mu)
