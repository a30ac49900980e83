"""Newton with conjugate gradients: the polish of problems whose Hessian is too large to form."""

import dataclasses

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.damped import Damped, DampedState, Direction
from lossgeo.solvers.kinks import Faces
from lossgeo.solvers.problem import FlatProblem


@dataclasses.dataclass(frozen=True)
class NewtonCG(Damped):
    """Damped Newton (see :class:`Damped`) by conjugate gradients on Hessian-vector products.

    The systems are scaled to rows of unit norm, found from products alone, and solved to a relative residual of
    ``cg_tol``. Memory is a few vectors.

    Args:
        max_steps: default budget.
        cg_tol: relative residual of the linear systems.
        max_cg_steps: products for each step.
    """

    max_steps: int = 100
    cg_tol: float = 1e-4
    max_cg_steps: int = 500

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "Newton-CG"

    def blank(self, flat: FlatProblem) -> jax.Array:
        """See :meth:`Damped.blank`."""
        return jnp.ones_like(flat.z0)

    def curvature(self, flat: FlatProblem, z: jax.Array) -> jax.Array:
        """The equilibrating scale, shape ``(p,)``."""
        return linalg.matrix_free_scale(flat.hessian_product(z), z)

    def quadratic(self, flat: FlatProblem, state: DampedState, v: jax.Array) -> jax.Array:
        """See :meth:`Damped.quadratic`."""
        return v @ flat.hvp(state.z, v)

    def direction(
        self, flat: FlatProblem, z: jax.Array, curvature: jax.Array, faces: Faces, damping: jax.Array
    ) -> Direction:
        """See :meth:`Damped.direction`."""
        product, scale = flat.hessian_product(z), flat.face_scale(z, curvature, faces)
        rhs, blocks = -faces.gradient * scale, flat.blocks(z)

        def matvec(v: jax.Array) -> jax.Array:
            return scale * blocks.along_rays(product(scale * v), faces) + damping * v

        solved = linalg.conjugate_gradients(matvec, rhs, tol=self.cg_tol, max_steps=self.max_cg_steps)
        edm = 0.5 * rhs @ solved.x
        return Direction(solved.x * scale, edm, ~solved.positive)
