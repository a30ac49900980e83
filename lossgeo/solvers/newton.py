"""Newton with a dense Hessian: the solver of problems of moderate size."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.damped import Damped, DampedState, Direction
from lossgeo.solvers.kinks import Faces
from lossgeo.solvers.problem import FlatProblem

MANY_ROWS = 20_000
"""Observations from which on a Hessian costs so much more than a gradient that it is worth keeping."""

MANY_COORDINATES = 256
"""Coordinates from which on the same holds for any number of rows."""


@dataclasses.dataclass(frozen=True)
class Newton(Damped):
    """Damped Newton (see :class:`Damped`) by Cholesky factors of the equilibrated Hessian.

    One Hessian for each accepted step, one factor for each step. With very many rows, where a Hessian costs several
    gradients, it is kept and corrected by the BFGS formula as long as steps come out as predicted. Where the matrix is
    not positive definite to working precision its eigenvalues are replaced by their absolute values: saddles repel, and
    directions without curvature get a bounded step.

    Reference: Dauphin et al. (2014), NeurIPS (saddle-free Newton).

    Args:
        max_steps: default budget.
    """

    max_steps: int = 200

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "damped Newton"

    def reuses_curvature(self, flat: FlatProblem) -> bool:
        """See :meth:`Damped.reuses_curvature`."""
        return flat.num_rows >= MANY_ROWS or flat.z0.shape[0] >= MANY_COORDINATES

    def blank(self, flat: FlatProblem) -> jax.Array:
        """See :meth:`Damped.blank`."""
        p = flat.z0.shape[0]
        return jnp.zeros((p, p), flat.z0.dtype)

    def curvature(self, flat: FlatProblem, z: jax.Array) -> jax.Array:
        """The Hessian, shape ``(p, p)``."""
        return flat.hessian(z)

    def evaluate(self, flat: FlatProblem, z: jax.Array) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
        """See :meth:`Damped.evaluate`; the Hessian goes on from the gradient, unless it is kept over several steps."""
        return super().evaluate(flat, z) if self.reuses_curvature(flat) else flat.second_order(z)

    def updated(self, curvature: jax.Array, step: jax.Array, change: jax.Array) -> jax.Array:
        """See :meth:`Damped.updated`; by Broyden, Fletcher, Goldfarb and Shanno where the curvature is positive."""
        image = curvature @ step
        along, found = step @ image, step @ change
        good = (along > 0) & (found > 0.1 * along)
        along, found = (jnp.where(good, v, 1.0) for v in (along, found))
        corrected = curvature - jnp.outer(image, image) / along + jnp.outer(change, change) / found
        return jnp.where(good, corrected, curvature)

    def quadratic(self, flat: FlatProblem, state: DampedState, v: jax.Array) -> jax.Array:
        """See :meth:`Damped.quadratic`."""
        return v @ (state.curvature @ v)

    def direction(
        self, flat: FlatProblem, z: jax.Array, curvature: jax.Array, faces: Faces, damping: jax.Array
    ) -> Direction:
        """See :meth:`Damped.direction`."""
        free = faces.free
        scaled, scale = linalg.equilibrate(flat.blocks(z).on_face(curvature, faces))
        scaled = jnp.where(free[:, None] & free[None, :], scaled, 0.0)
        rhs = jnp.where(free, faces.gradient * scale, 0.0)
        smallest_pivot = linalg.rank_tolerance(z.shape[0], z.dtype)
        identity = jnp.eye(z.shape[0], dtype=z.dtype)

        def factor(matrix: jax.Array, damping: jax.Array) -> jax.Array:
            diagonal = jnp.diag(jnp.where(free, damping, 1.0))
            return jnp.linalg.cholesky(matrix + diagonal, symmetrize_input=False)

        # Each factorisation waits for the one before it through its input: under vmap all branches run, and two batched
        # kernels at once can block each other for want of threads.
        lower = factor(scaled, jnp.zeros_like(damping))
        definite = jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.square(jnp.diagonal(lower)) > smallest_pivot)
        damped = jax.lax.cond(
            definite & (damping > 0), lambda: factor(jnp.where(definite, scaled, identity), damping), lambda: lower
        )
        step = -jax.scipy.linalg.cho_solve((damped, True), rhs)
        usable = definite & jnp.all(jnp.isfinite(step))
        matrix = jnp.where(usable, identity, scaled)

        def indefinite() -> jax.Array:
            eigenvalues, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
            least = jnp.sqrt(jnp.finfo(z.dtype).eps)
            return -vectors @ ((rhs @ vectors) / (jnp.maximum(jnp.abs(eigenvalues), least) + damping))

        step = jax.lax.cond(usable, lambda: step, indefinite)
        return Direction(jnp.where(free, step * scale, 0.0), -0.5 * rhs @ step, ~definite)
