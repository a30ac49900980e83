"""Newton with a dense Hessian: the solver of problems of moderate size."""

import dataclasses

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.damped import Damped, Direction
from lossgeo.solvers.problem import Faces, FlatProblem


@dataclasses.dataclass(frozen=True)
class Newton(Damped):
    """Damped Newton (see :class:`Damped`) by Cholesky factors of the equilibrated Hessian.

    One Hessian for each accepted step, one factor for each step; a matrix that is not positive definite to working
    precision is damped until it is.

    Args:
        max_steps: default budget.
    """

    max_steps: int = 200

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "damped Newton"

    def blank(self, z: jax.Array) -> jax.Array:
        """See :meth:`Damped.blank`."""
        return jnp.zeros((z.shape[0], z.shape[0]), z.dtype)

    def curvature(self, flat: FlatProblem, z: jax.Array) -> jax.Array:
        """The Hessian, shape ``(p, p)``."""
        return flat.hessian(z)

    def quadratic(self, flat: FlatProblem, z: jax.Array, curvature: jax.Array, v: jax.Array) -> jax.Array:
        """See :meth:`Damped.quadratic`."""
        return v @ (curvature @ v)

    def direction(
        self, flat: FlatProblem, z: jax.Array, curvature: jax.Array, faces: Faces, damping: jax.Array
    ) -> Direction:
        """See :meth:`Damped.direction`."""
        free = faces.free
        scaled, scale = linalg.equilibrate(curvature)
        scaled = jnp.where(free[:, None] & free[None, :], scaled, 0.0)
        rhs = jnp.where(free, faces.gradient * scale, 0.0)
        smallest_pivot = linalg.rank_tolerance(z.shape[0], z.dtype)

        def factor(damping: jax.Array) -> tuple[jax.Array, jax.Array]:
            lower = jnp.linalg.cholesky(scaled + jnp.diag(jnp.where(free, damping, 1.0)), symmetrize_input=False)
            return lower, jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.square(jnp.diagonal(lower)) > smallest_pivot)

        def raise_damping(carry: tuple) -> tuple:
            damping = jnp.maximum(16.0 * carry[0], jnp.sqrt(jnp.finfo(z.dtype).eps))
            return damping, *factor(damping)

        lower, definite = factor(damping)
        raised, lower, _ = jax.lax.while_loop(
            lambda carry: ~carry[2] & (carry[0] <= self.max_damping), raise_damping, (damping, lower, definite)
        )
        step = -jax.scipy.linalg.cho_solve((lower, True), rhs)
        return Direction(step * scale, -0.5 * rhs @ step, raised, ~definite)
