r"""Derivatives of a sum over independent rows through its linear predictors.

For :math:`f(u) = -\sum_i w_i\, r_i(\eta_i; v) + g(u)` with :math:`\eta_a = X_a B_a`, one reverse and :math:`K + q`
forward passes over the *rows* (:math:`K` columns of linear predictors, :math:`q` other parameters) give

.. math::
    \nabla_{B_a} = X_a^\top \partial_a, \qquad
    \nabla^2_{B_a B_b} = X_a^\top \mathrm{diag}(\partial^2_{ab}) X_b, \qquad
    \nabla^2_{B_a v} = X_a^\top \partial^2_{av},

all else is matrix products: the weighted least-squares form of McCullagh and Nelder (1989), section 2.5, for any rows.
"""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo.structure.blocks import divide, is_row_leaf
from lossgeo.structure.discovery import RowStructure

__all__ = ["RowDerivatives"]

LONG = 2_000_000
"""Entries of a design from which on it is read from memory at each pass."""

BLOCK = 100_000
"""Entries of a block of it."""


class RowDerivatives:
    """Value, gradient and Hessian of a negative log posterior with row structure; lives inside one trace.

    Args:
        structure: of the log-likelihood, as a function of a list of leaves.
        weights: ``args -> (n,)`` or ``None``: what multiplies the rows.
        remainder: ``(leaves, args) -> ()``: what is added to minus the weighted sum of the rows.
        separable: whether the remainder is known to be a sum of functions of one coordinate each.

    ``side_by_side`` is for use under ``vmap`` over fits of one design, whose products with it are one matrix product.
    """

    def __init__(
        self,
        structure: RowStructure,
        weights: Callable[[Any], jax.Array | None],
        remainder: Callable[[Any, Any], jax.Array],
        separable: bool = False,
    ):
        """Keep the parts."""
        self.separable = separable
        self.structure, self._weights, self._remainder = structure, weights, remainder
        self._pairs: jax.Array | None = None
        self.side_by_side = False

    def pairs(self, u: list[jax.Array], args: Any) -> jax.Array | None:
        r"""Products of each pair of columns of the design, shape ``(d (d + 1) / 2, n)``, for :meth:`with_pairs`.

        ``None`` where there is not just one vector of coefficients.
        """
        if [p.shape[1] for p in self.structure.predictors] != [1]:
            return None
        columns = jax.lax.optimization_barrier(self.structure.designs(u, args)[0].T)
        first, second = np.triu_indices(columns.shape[0])
        return jax.lax.optimization_barrier(columns[first] * columns[second])

    def with_pairs(self, pairs: jax.Array | None) -> "RowDerivatives":
        r"""The same with the products of pairs of columns at hand, for many Hessians of a design of few columns.

        With :math:`Q_{(jk)i} = x_{ij} x_{ik}` the matrix :math:`X^\top \mathrm{diag}(w) X` is the product :math:`Qw`,
        and those of many weights for one design are a matrix product.
        """
        found = copy.copy(self)
        found._pairs = pairs
        return found

    @property
    def num_rows(self) -> int:
        """Number of independent rows."""
        return self.structure.predictors[0].num_rows

    def value_and_grad(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, list[jax.Array]]:
        """The function and its gradient, a list like ``u``; a long design is read once."""
        value, flat = self._first_order_of_rows(u, args)
        rest, grads = jax.value_and_grad(self._remainder)(u, args)
        return value + rest, [g + f for g, f in zip(grads, ravel_pytree(u)[1](flat), strict=True)]

    def _first_order_of_rows(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array]:
        """Value and gradient, shape ``(p,)``, of the rows alone."""

        def whole(u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array]:
            split = _Split(self, u, args)
            value, (rows, other) = jax.value_and_grad(split.loss, argnums=(0, 1))(split.etas, split.other)
            return value, split.assemble(split.pull_back(rows), other)

        n, size = self.num_rows, self._rows_of_block()
        structure = divide(self.structure, u, args, size) if size else None
        if structure is None:
            return whole(u, args)

        def blocked(u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array]:
            leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, args))

            def add(i: jax.Array, total: Any) -> Any:
                start = jnp.minimum(i * size, n - size)  # the last block begins in the one before it
                some = [jax.lax.dynamic_slice_in_dim(v, start, size) if is_row_leaf(v, n) else v for v in leaves]

                def weights(args: Any) -> jax.Array | None:
                    given = self._weights(args)
                    if n % size == 0:
                        return given
                    return jnp.where(start + jnp.arange(size) >= i * size, 1.0 if given is None else given, 0.0)

                block = RowDerivatives(structure, weights, self._remainder)
                return jax.tree.map(jnp.add, total, block._first_order_of_rows(u, jax.tree.unflatten(tree, some)))

            z = ravel_pytree(u)[0]
            return jax.lax.fori_loop(0, -(-n // size), add, (jnp.zeros((), z.dtype), jnp.zeros_like(z)))

        return jax.lax.platform_dependent(u, args, cpu=blocked, default=whole)

    def _rows_of_block(self) -> int:
        """Rows of which a block is taken, which stays in the cache of a processor; 0 for all at once."""
        width = sum(p.shape[0] for p in self.structure.predictors)
        most = BLOCK // width
        single = all(p.shape[1] == 1 for p in self.structure.predictors)
        if not single or self.num_rows * width < LONG or self.num_rows < 2 * most:
            return 0
        divisors = [size for size in range(most, most // 2, -1) if self.num_rows % size == 0]
        return divisors[0] if divisors else most

    def second_order(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
        """Value, gradient, shape ``(p,)``, and a call that forms the Hessian from what these have left."""
        value, gradient, hessian = self._of_rows(u, args)
        z, unravel = ravel_pytree(u)
        rest = linalg.second_order(lambda z: self._remainder(unravel(z), args), z)
        return value + rest[0], gradient + rest[1], lambda: hessian() + rest[2]()

    def hessian(self, u: list[jax.Array], args: Any) -> jax.Array:
        """Hessian, shape ``(p, p)``, in the order of the ravelled ``u``."""
        return self.gradient_and_hessian(u, args)[1]

    def gradient_and_hessian(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array]:
        """Gradient, shape ``(p,)``, and Hessian, shape ``(p, p)``, in one pass over the rows."""
        _, gradient, hessian = self.second_order(u, args)
        return gradient, hessian()

    def of_remainder(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array]:
        """The same of what is added to the rows alone."""
        z, unravel = ravel_pytree(u)
        _, gradient, hessian = linalg.second_order(lambda z: self._remainder(unravel(z), args), z)
        return gradient, hessian()

    def remainder_product(self, u: list[jax.Array], args: Any) -> Callable[[jax.Array], jax.Array]:
        """The map ``v -> R v`` with the Hessian ``R`` of what is added to the rows alone."""
        z, unravel = ravel_pytree(u)
        return jax.linearize(jax.grad(lambda z: self._remainder(unravel(z), args)), z)[1]

    def of_rows(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array]:
        """The same of the rows alone."""
        _, gradient, hessian = self._of_rows(u, args)
        return gradient, hessian()

    def _of_rows(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
        """See :meth:`second_order`."""
        split = _Split(self, u, args)
        value, (rows, other), push = split.second_order()
        return value, split.assemble(split.pull_back(rows), other), lambda: self._hessian_of_rows(split, push)

    def _hessian_of_rows(self, split: "_Split", push: Callable[..., Any]) -> jax.Array:
        num_columns = [p.shape[1] for p in self.structure.predictors]
        zeros = [jnp.zeros_like(e) for e in split.etas]
        nothing = jnp.zeros_like(split.other)

        def along_column(a: int, column: jax.Array) -> list[jax.Array]:
            tangents = [*zeros[:a], zeros[a] + column[None, :], *zeros[a + 1 :]]
            return push(tangents, nothing)[0]

        def along_other(tangent: jax.Array) -> tuple[list[jax.Array], jax.Array]:
            rows, other = push(zeros, tangent)
            return split.pull_back(rows), other

        blocks: list[list[jax.Array]] = []
        for a, k in enumerate(num_columns):
            # (k_a, n, k_b): derivative of the gradient of each row with respect to predictor b.
            weights = jax.vmap(lambda column, a=a: along_column(a, column))(jnp.eye(k, dtype=zeros[a].dtype))
            blocks.append(
                [blocks[b][a].T for b in range(a)]
                + [
                    self._block(split.designs[a], split.designs[b], weights[b], symmetric=a == b)
                    for b in range(a, len(num_columns))
                ]
            )
        if split.other.size:
            basis = jnp.eye(split.other.size, dtype=split.other.dtype)
            one_at_once = split.other.size <= linalg.HESSIAN_BLOCK
            cross, corner = (
                jax.vmap(along_other)(basis)
                if one_at_once
                else jax.lax.map(along_other, basis, batch_size=linalg.HESSIAN_BLOCK)
            )
            cross = [c.reshape(split.other.size, -1) for c in cross]
            blocks = [[*row, c.T] for row, c in zip(blocks, cross, strict=True)] + [[*cross, corner]]
        matrix = jnp.block(blocks)
        if not split.in_order:
            matrix = matrix[split.order[:, None], split.order[None, :]]
        return 0.5 * (matrix + matrix.T)

    def _block(self, left: jax.Array, right: jax.Array, weights: jax.Array, *, symmetric: bool) -> jax.Array:
        """See :func:`_block`; by the products of pairs where they are at hand."""
        if self._pairs is None:
            return _block(left, right, weights, symmetric=symmetric)
        d = left.shape[1]
        upper = np.triu_indices(d)
        place = np.zeros((d, d), int)
        place[upper] = place[upper[::-1]] = np.arange(len(upper[0]))
        return (self._pairs @ weights[0, :, 0])[place]

    def curvatures(self, u: list[jax.Array], args: Any) -> tuple[jax.Array, jax.Array] | None:
        r"""The design :math:`X` and numbers :math:`h`, shape ``(n,)``: the Hessian of the rows is :math:`X^\top hX`.

        ``None`` where one vector of coefficients is not all there is.
        """
        split = _Split(self, u, args)
        if [p.shape[1] for p in self.structure.predictors] != [1] or split.other.size or not split.in_order:
            return None
        _, push = split.derivatives()
        return split.designs[0], push([jnp.ones_like(split.etas[0])], split.other)[0][0][:, 0]

    @property
    def output_shape(self) -> tuple[int, int] | None:
        """Shape of the coefficients if there is just one linear predictor, of several columns; else ``None``."""
        (shape, *more) = (p.shape for p in self.structure.predictors)
        return shape if shape[1] > 1 and not more else None

    def output_places(self, u: list[jax.Array]) -> np.ndarray:
        """Place in the ravelled ``u`` of what :meth:`outputs` speaks of, in its order; static."""
        return _places(self.structure, [leaf.size for leaf in u])

    def outputs(
        self, u: list[jax.Array], args: Any
    ) -> tuple[jax.Array, Callable[[jax.Array], jax.Array], jax.Array, jax.Array]:
        """Curvature of the rows in a linear predictor of several columns, before the design enters.

        Returns:
            The design ``(n, d)``; the map from a vector ``(k,)`` to the products ``(n, k)`` of the second derivatives
            of each weighted row in its entries of the linear predictor with it; the second derivatives in the other
            parameters and the coefficients, ``(q, k d)``, and in the other parameters, ``(q, q)``, of the rows alone.
        """
        split = _Split(self, u, args)
        _, push = split.derivatives()
        (eta,), (design,) = split.etas, split.designs

        def along_other(tangent: jax.Array) -> tuple[jax.Array, jax.Array]:
            rows, other = push([jnp.zeros_like(eta)], tangent)
            return split.pull_back(rows)[0].ravel(), other

        def along_column(column: jax.Array) -> jax.Array:
            return push([jnp.zeros_like(eta) + column[None, :]], jnp.zeros_like(split.other))[0][0]

        cross, corner = jax.vmap(along_other)(jnp.eye(split.other.size, dtype=eta.dtype))
        return design, along_column, cross, 0.5 * (corner + corner.T)

    def hessian_product(self, u: list[jax.Array], args: Any) -> Callable[[jax.Array], jax.Array]:
        """The map ``v -> H v`` on ravelled vectors, with everything that does not depend on ``v`` computed once."""
        split = _Split(self, u, args)
        _, push = split.derivatives()
        rest = self.remainder_product(u, args)

        def product(v: jax.Array) -> jax.Array:
            tangents, other = split.tangents(v)
            rows, other = push(tangents, other)
            return split.assemble(split.pull_back(rows), other) + rest(v)

        return product

    def lines(
        self, u: list[jax.Array], args: Any, directions: jax.Array
    ) -> Callable[[int | jax.Array, jax.Array], jax.Array]:
        """The map ``(j, t) -> f(u + t d_j)`` for directions ``(m, p)``: one product for each design, then rows."""
        split = _Split(self, u, args)
        z, unravel = ravel_pytree(u)
        etas, others = split.predict_all(jnp.concatenate([z[None, :], directions]))

        def on_line(j: int | jax.Array, t: jax.Array) -> jax.Array:
            moved = [eta[0] + t * eta[1 + j] for eta in etas]
            rows = split.loss(moved, others[0] + t * others[1 + j])
            return rows + self._remainder(unravel(z + t * directions[j]), args)

        return on_line


class _Split:
    """A point taken apart into linear predictors and other parameters."""

    def __init__(self, derivatives: RowDerivatives, u: list[jax.Array], args: Any):
        structure = derivatives.structure
        self._structure, self._side_by_side = structure, derivatives.side_by_side
        self.places = _places(structure, [leaf.size for leaf in u])
        self.order = np.argsort(self.places)
        self.in_order = bool(np.all(self.places == np.arange(self.places.size)))
        flat, self.unravel = ravel_pytree(u)
        self._shapes = [p.shape for p in structure.predictors]
        self.designs = structure.designs(u, args)
        self.etas, self.other = self._predict(flat)
        weights = derivatives._weights(args)

        used = [p.leaf for p in structure.predictors]
        others = [i for i in range(len(u)) if i not in used]
        ends = np.cumsum([0, *(u[i].size for i in others)])

        def loss(etas: list[jax.Array], other: jax.Array) -> jax.Array:
            full = list(u)  # the leaves of linear predictors, which the rest does not use, and the others
            for i, start, end in zip(others, ends[:-1], ends[1:], strict=True):
                full[i] = other[start:end].reshape(u[i].shape)
            terms = structure.rest(etas, full, args)
            return -jnp.sum(terms if weights is None else jnp.asarray(weights, terms.dtype) * terms)

        self.loss = loss

    def _predict(self, flat: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """Linear predictors ``(n, k)`` and other parameters of a ravelled vector; linear."""
        ordered = flat if self.in_order else flat[self.places]
        etas, start = [], 0
        for design, (d, k) in zip(self.designs, self._shapes, strict=True):
            columns = ordered[start : start + d * k]
            etas.append((design @ columns)[:, None] if k == 1 else design @ columns.reshape(k, d).T)
            start += d * k
        return etas, ordered[start:]

    def predict_all(self, vectors: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """The same of several ravelled vectors ``(m, p)``, in one product: ``(m, n, k)`` and ``(m, q)``."""
        m, ordered = vectors.shape[0], vectors[:, self.places]
        etas, start = [], 0
        for design, (d, k) in zip(self.designs, self._shapes, strict=True):
            columns = ordered[:, start : start + d * k].reshape(m * k, d)
            etas.append((design @ columns.T).T.reshape(m, k, -1).transpose(0, 2, 1))
            start += d * k
        return etas, ordered[:, start:]

    def tangents(self, v: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """See :meth:`_predict`."""
        return self._predict(v)

    def pull_back(self, rows: list[jax.Array]) -> list[jax.Array]:
        """Coefficients ``(k, d)`` from a quantity ``(n, k)`` on each row: the transpose of the designs."""
        product = (lambda r, x: r.T @ x) if self._side_by_side else linalg.transposed_product
        return [product(r, x) for r, x in zip(rows, self.designs, strict=True)]

    def assemble(self, coefficients: list[jax.Array], other: jax.Array) -> jax.Array:
        """Ravelled vector from coefficients ``(k, d)`` and other parameters."""
        parts = jnp.concatenate([*(jnp.ravel(c) for c in coefficients), other])
        return parts if self.in_order else parts[self.order]

    def derivatives(self) -> tuple[Any, Callable[..., Any]]:
        """Gradient in linear predictors and others, and the linear map from changes of these to changes of it."""
        return self.second_order()[1:]

    def second_order(self) -> tuple[jax.Array, Any, Callable[..., Any]]:
        """The value, and what :meth:`derivatives` has."""

        def gradient_and_value(etas: list[jax.Array], other: jax.Array) -> tuple[Any, jax.Array]:
            value, gradient = jax.value_and_grad(self.loss, argnums=(0, 1))(etas, other)
            return gradient, value

        gradient, push, value = jax.linearize(gradient_and_value, self.etas, self.other, has_aux=True)
        return value, gradient, push


def _places(structure: RowStructure, leaf_sizes: list[int]) -> np.ndarray:
    """Place in the ravelled leaves of each coefficient, those of a column side by side, and then of all others."""
    sizes = np.cumsum([0, *leaf_sizes])
    leaves = [p.leaf for p in structure.predictors]
    others = [i for i in range(len(leaf_sizes)) if i not in leaves]
    positions = [sizes[leaf] + structure.positions(j) for j, leaf in enumerate(leaves)]
    inside = [q.T.ravel() for q in positions] + [np.arange(sizes[i], sizes[i + 1]) for i in others]
    return np.concatenate(inside) if inside else np.zeros(0, int)


def _block(left: jax.Array, right: jax.Array, weights: jax.Array, *, symmetric: bool) -> jax.Array:
    """Hessian block ``(k d, m e)`` from designs ``(n, d)``, ``(n, e)`` and weights ``(k, n, m)``."""
    k, _, m = weights.shape
    weights = weights.transpose(0, 2, 1)
    if k * m == 1:
        return linalg.weighted_gram(left, weights[0, 0], right)
    if symmetric:
        upper = np.triu_indices(k)
        half = jax.lax.map(lambda w: linalg.weighted_gram(left, w, right), weights[upper])
        index = np.zeros((k, k), int)
        index[upper] = index[upper[::-1]] = np.arange(len(upper[0]))
        grams = half[index]
    else:
        grams = jax.lax.map(lambda w: linalg.weighted_gram(left, w, right), weights.reshape(k * m, -1))
        grams = grams.reshape(k, m, left.shape[1], right.shape[1])
    return grams.transpose(0, 2, 1, 3).reshape(k * left.shape[1], m * right.shape[1])
