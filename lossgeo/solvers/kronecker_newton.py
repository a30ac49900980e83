r"""Newton with conjugate gradients for several outputs, in coordinates that a Kronecker product makes nearly white.

The Hessian :math:`\sum_i W_i \otimes x_i x_i^\top + R` of rows with one linear predictor of :math:`k` columns (softmax,
several Poisson or normal responses) has :math:`(kd)^2` entries and is a mean of Kronecker products. One product,

.. math:: \bar W \otimes G + I \otimes \Lambda, \qquad
    \bar W = \frac{\sum_i W_i}{\sum_i \mathrm{tr} W_i}, \quad G = \sum_i \mathrm{tr}(W_i)\, x_i x_i^\top,

has its trace and costs a Gram matrix of the design and two eigenvalue problems of sizes :math:`k` and :math:`d`. At
coefficients of 0 of a softmax it is the Hessian itself, there half of Böhning's bound.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.damped import PREDICTED, Damped, DampedState, Direction
from lossgeo.solvers.kinks import Faces
from lossgeo.solvers.problem import FlatProblem, Outputs

LEAST = 1e-8
"""Least eigenvalue of the product, in its equilibrated coordinates."""


class White(NamedTuple):
    """Coordinates in which the Kronecker product is the identity; see :meth:`spread` and :meth:`gather`.

    Args:
        features: columns are directions in the features, shape ``(d, d)``.
        classes: columns are directions in the outputs, shape ``(k, k)``.
        roots: roots of the eigenvalues of the product, shape ``(k, d)``.
        cross: what other coordinates have to do with the coefficients, shape ``(q, k d)``.
        corner: an inverse root of the curvature of the others, shape ``(q, q)``.
    """

    features: jax.Array
    classes: jax.Array
    roots: jax.Array
    cross: jax.Array
    corner: jax.Array

    def spread(self, v: jax.Array) -> jax.Array:
        """White coordinates to those of :class:`Outputs`."""
        k, d = self.roots.shape
        inner = self.classes @ (v[: k * d].reshape(k, d) / self.roots)
        coefficients = (inner @ self.features.T).ravel()
        if not self.corner.shape[0]:
            return coefficients
        other = self.corner @ (v[k * d :] - self.corner.T @ (self.cross @ coefficients))
        return jnp.concatenate([coefficients, other])

    def gather(self, g: jax.Array) -> jax.Array:
        """The transpose of :meth:`spread`: what it makes of a gradient."""
        k, d = self.roots.shape
        coefficients = g[: k * d]
        other = self.corner.T @ g[k * d :]
        if self.corner.shape[0]:
            coefficients = coefficients - (self.corner @ other) @ self.cross
        inner = self.classes.T @ coefficients.reshape(k, d) @ self.features
        return jnp.concatenate([(inner / self.roots).ravel(), other])


def white_coordinates(outputs: Outputs) -> White:
    """Coordinates from the curvature of the rows, positive whatever that is."""
    design, corner, places = outputs.design, outputs.corner, outputs.places
    k, d = outputs.num_columns, design.shape[1]
    # Row sums: the diagonal of a separable remainder.
    sums = outputs.remainder(jnp.ones(len(places), design.dtype))[places]
    strength = jnp.mean(jnp.maximum(sums[: k * d].reshape(k, d), 0.0), axis=0)

    def column(row: jax.Array, j: jax.Array) -> tuple[jax.Array, jax.Array]:
        entries = outputs.weights(jnp.zeros((k,), design.dtype).at[j].set(1.0))
        return row + jnp.abs(entries[:, j]), jnp.sum(entries, axis=0)

    row, mean = jax.lax.scan(column, jnp.zeros_like(design[:, 0]), jnp.arange(k))
    total = jnp.sum(row)
    gram = linalg.weighted_gram(design, row, design)
    mean = mean / jnp.where(total > 0, total, 1.0)
    values, classes = jnp.linalg.eigh(0.5 * (mean + mean.T))
    values = jnp.abs(values)
    typical = jnp.mean(values)
    # In units that make both parts together have a unit diagonal, and then in their eigenvectors.
    diagonal = typical * jnp.diagonal(gram) + strength
    units = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    both = (typical * gram + jnp.diag(strength)) * units[:, None] * units[None, :]
    lower = jnp.linalg.cholesky(
        both + linalg.rank_tolerance(d, both.dtype) * jnp.eye(d, dtype=both.dtype), symmetrize_input=False
    )
    part = jax.scipy.linalg.solve_triangular(lower, typical * gram * units[:, None] * units[None, :], lower=True)
    part = jax.scipy.linalg.solve_triangular(lower, part.T, lower=True)
    shares, vectors = jnp.linalg.eigh(0.5 * (part + part.T))
    shares = jnp.clip(shares, 0.0, 1.0)
    features = units[:, None] * jax.scipy.linalg.solve_triangular(lower, vectors, lower=True, trans=1)
    relative = values / jnp.where(typical > 0, typical, 1.0)
    eigenvalues = relative[:, None] * shares[None, :] + (1.0 - shares)[None, :]
    roots = jnp.sqrt(jnp.maximum(eigenvalues, LEAST))
    scaled, scale = linalg.equilibrate(corner + jnp.diag(sums[k * d :]))
    own, directions = jnp.linalg.eigh(scaled)
    inverse = scale[:, None] * directions * jax.lax.rsqrt(jnp.maximum(jnp.abs(own), LEAST))[None, :]
    return White(features, classes, roots, outputs.cross, inverse)


@dataclasses.dataclass(frozen=True)
class KroneckerNewton(Damped):
    r"""Damped Newton (see :class:`Damped`) by conjugate gradients for one linear predictor of several columns.

    Systems are solved in the coordinates of :func:`white_coordinates`, with products of the Hessian itself, so that
    the coordinates decide how fast it goes and not where it ends. They stay as long as steps come out as predicted.
    Ends when the expected decrease is below ``tol``.

    Reference: Böhning (1992), Ann. Inst. Statist. Math. 44, 197 (a Kronecker product that bounds the information of
    the multinomial logit).

    Args:
        max_steps: default budget.
        cg_tol: relative residual of the linear systems, in white coordinates.
        max_cg_steps: products for each step.
    """

    max_steps: int = 200
    cg_tol: float = 0.1
    max_cg_steps: int = 500

    ends_at_tol = True

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "Kronecker Newton-CG"

    def keeps(self, ratio: jax.Array) -> jax.Array:
        """See :meth:`Damped.keeps`."""
        return jnp.abs(ratio - 1.0) < PREDICTED

    def blank(self, flat: FlatProblem) -> White:
        """See :meth:`Damped.blank`."""
        found = jax.eval_shape(lambda z: white_coordinates(flat.outputs(z)), flat.z0)
        return jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), found)

    def curvature(self, flat: FlatProblem, z: jax.Array) -> White:
        """The white coordinates."""
        return white_coordinates(flat.outputs(z))

    def quadratic(self, flat: FlatProblem, state: DampedState, v: jax.Array) -> jax.Array:
        """See :meth:`Damped.quadratic`. A step by conjugate gradients is orthogonal to the residual it leaves."""
        return jax.lax.cond(
            state.singular | (state.damping > 0),
            lambda: v @ flat.hvp(state.z, v),
            lambda: 2.0 * jnp.square(state.length) * state.edm,
        )

    def direction(
        self, flat: FlatProblem, z: jax.Array, curvature: White, faces: Faces, damping: jax.Array
    ) -> Direction:
        """See :meth:`Damped.direction`."""
        places = flat.output_places
        product = flat.hessian_product(z)

        def spread(v: jax.Array) -> jax.Array:
            return jnp.zeros_like(v).at[places].set(curvature.spread(v))

        def matvec(v: jax.Array) -> jax.Array:
            return curvature.gather(product(spread(v))[places]) + damping * v

        rhs = -curvature.gather(faces.gradient[places])
        solved = linalg.conjugate_gradients(matvec, rhs, tol=self.cg_tol, max_steps=self.max_cg_steps)
        edm = 0.5 * rhs @ solved.x
        return Direction(spread(solved.x), edm, ~solved.positive)
