r"""Dense and matrix-free linear algebra of symmetric systems: Hessians, equilibrated factors, conjugate gradients.

Curvature is *equilibrated* before it is factorised: with :math:`D = \mathrm{diag}(|H_{jj}|)^{-1/2}` the matrix
:math:`DHD` has a unit diagonal, so that the units of the parameters cancel. Rank and definiteness are judged there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401  JAX loads its LAPACK from there, in the middle of the first factorization

HESSIAN_BLOCK = 64
"""Columns of a Hessian that are formed at a time: bounds the memory to that many tangents of the objective."""

GRAM_ROWS = 500
"""Rows that :func:`weighted_gram` takes at a time: some hundred columns of them stay in the cache."""

GRAM_COLUMNS = 25
"""Columns of a block above the diagonal of a symmetric product: fewer take the time of as many."""


def hvp(fun: Callable[[jax.Array], jax.Array], z: jax.Array, v: jax.Array) -> jax.Array:
    """Hessian-vector product of a scalar function, forward over reverse; shape of ``z``."""
    return jax.jvp(jax.grad(fun), (z,), (v,))[1]


def hessian(fun: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """Hessian of a scalar function of a vector, shape ``(p, p)``, symmetrised.

    Columns are Hessian-vector products, ``HESSIAN_BLOCK`` at a time.
    """
    return second_order(fun, z)[2]()


def second_order(
    fun: Callable[[jax.Array], jax.Array], z: jax.Array
) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
    """Value, gradient and a call that forms the Hessian from what these have left, for use if it is needed."""

    def gradient_and_value(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, gradient = jax.value_and_grad(fun)(z)
        return gradient, value

    gradient, product, value = jax.linearize(gradient_and_value, z, has_aux=True)

    def matrix() -> jax.Array:
        p = z.shape[0]
        basis = jnp.eye(p, dtype=z.dtype)
        whole = p <= HESSIAN_BLOCK
        columns = jax.vmap(product)(basis) if whole else jax.lax.map(product, basis, batch_size=HESSIAN_BLOCK)
        return 0.5 * (columns + columns.T)

    return value, gradient, matrix


def equilibrate(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""Scale a symmetric matrix to a unit diagonal.

    Returns:
        :math:`DMD` and the diagonal of :math:`D = \mathrm{diag}(|M_{jj}|)^{-1/2}`; rows with a zero diagonal
        keep scale 1.
    """
    diagonal = jnp.abs(jnp.diagonal(matrix))
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    return matrix * scale[:, None] * scale[None, :], scale


def rank_tolerance(p: int, dtype: jnp.dtype) -> float:
    """Eigenvalues of an equilibrated ``(p, p)`` matrix below this cannot be told from zero."""
    return 10.0 * max(p, 10) * float(jnp.finfo(dtype).eps)


class ConjugateGradients(NamedTuple):
    """Result of :func:`conjugate_gradients`."""

    x: jax.Array
    residual: jax.Array  # relative to the right-hand side
    positive: jax.Array  # no direction of negative or zero curvature was met
    direction: jax.Array  # the offending direction, or the last one


def conjugate_gradients(
    matvec: Callable[[jax.Array], jax.Array],
    b: jax.Array,
    *,
    tol: float | jax.Array,
    max_steps: int,
    preconditioner: Callable[[jax.Array], jax.Array] | None = None,
) -> ConjugateGradients:
    r"""Solve :math:`Ax = b` for symmetric positive definite :math:`A` given by its products.

    Stops when :math:`\|b - Ax\| \le \text{tol}\,\|b\|`, or at a direction with :math:`d^\top A d \le 0`; then ``x`` is
    the iterate before it (``b`` itself, preconditioned, when that is the first one), which is a descent direction for
    :math:`-b`. The ``preconditioner``, about :math:`A^{-1}`, must be symmetric and positive definite too.

    Reference: Steihaug (1983), SIAM J. Numer. Anal. 20, 626.
    """
    norm_b = jnp.linalg.norm(b)
    precondition = (lambda r: r) if preconditioner is None else preconditioner

    def cond(carry: tuple) -> jax.Array:
        _, r, _, _, k, positive = carry
        return positive & (jnp.linalg.norm(r) > tol * norm_b) & (k < max_steps)

    def body(carry: tuple) -> tuple:
        x, r, d, rr, k, _ = carry
        ad = matvec(d)
        curvature = d @ ad
        positive = curvature > 0
        alpha = jnp.where(positive, rr / jnp.where(positive, curvature, 1.0), 0.0)
        x = jnp.where(positive, x + alpha * d, jnp.where(k == 0, d, x))
        r = r - alpha * ad
        z = precondition(r)
        rr_next = r @ z
        beta = rr_next / jnp.where(rr > 0, rr, 1.0)
        return x, r, jnp.where(positive, z + beta * d, d), rr_next, k + 1, positive

    z = precondition(b)
    start = (jnp.zeros_like(b), b, z, b @ z, jnp.asarray(0), jnp.asarray(True))
    x, r, d, _, _, positive = jax.lax.while_loop(cond, body, start)
    return ConjugateGradients(x, jnp.linalg.norm(r) / jnp.where(norm_b > 0, norm_b, 1.0), positive, d)


def matrix_free_scale(
    matvec: Callable[[jax.Array], jax.Array], like: jax.Array, *, probes: int = 8, steps: int = 6
) -> jax.Array:
    r"""Positive :math:`d` such that :math:`\mathrm{diag}(d)\,A\,\mathrm{diag}(d)` has rows of about unit norm.

    Only products are needed: row norms are estimated from fixed random signs. The error of :math:`\log d` halves
    at each step, whatever the units of the coordinates.

    Reference: Ruiz (2001), RAL-TR-2001-034; Diamond and Boyd (2017), Math. Programming 162, 105 (matrix-free).
    """
    signs = jax.random.rademacher(jax.random.key(0), (probes, like.shape[0]), dtype=like.dtype)

    def body(_: int, scale: jax.Array) -> jax.Array:
        rows = jax.lax.map(lambda v: scale * matvec(scale * v), signs)
        norm = jnp.sqrt(jnp.mean(jnp.square(rows), axis=0))
        good = jnp.isfinite(norm) & (norm > 0)
        return scale * jnp.where(good, jax.lax.rsqrt(jnp.where(good, norm, 1.0)), 1.0)

    return jax.lax.fori_loop(0, steps, body, jnp.ones_like(like))


def least_ritz(
    matvec: Callable[[jax.Array], jax.Array], mask: jax.Array, *, steps: int = 40
) -> tuple[jax.Array, jax.Array]:
    """Least Ritz value of a symmetric matrix and its unit vector, by Lanczos steps from a fixed random vector.

    A bound from above on the least eigenvalue over the coordinates where ``mask`` is 1 (the matrix must map them to
    themselves); negative eigenvalues are found quickly, eigenvalue 0 is not told from a small one. The basis is
    orthogonalised in full.

    Reference: Parlett (1998), The Symmetric Eigenvalue Problem, chapter 13.
    """
    p = mask.shape[0]
    steps = min(steps, p)
    start = mask * jax.random.normal(jax.random.key(0), (p,), mask.dtype)
    norm = jnp.linalg.norm(start)
    basis = jnp.zeros((steps, p), mask.dtype).at[0].set(start / jnp.where(norm > 0, norm, 1.0))
    image = jnp.zeros((steps, p), mask.dtype)

    def body(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        basis, image = carry
        product = matvec(basis[k])
        image = image.at[k].set(product)
        rest = product
        for _ in range(2):
            rest = rest - (basis @ rest) @ basis
        size = jnp.linalg.norm(rest)
        live = (size > jnp.finfo(mask.dtype).eps * jnp.linalg.norm(product)) & (k + 1 < steps)
        slot = jnp.minimum(k + 1, steps - 1)
        return basis.at[slot].set(jnp.where(live, rest / jnp.where(live, size, 1.0), basis[slot])), image

    basis, image = jax.lax.fori_loop(0, steps, body, (basis, image))
    used = jnp.any(basis != 0, axis=1)
    projected = basis @ image.T
    largest = 2.0 * jnp.max(jnp.abs(projected)) + 1.0
    projected = jnp.where(used[:, None] & used[None, :], 0.5 * (projected + projected.T), 0.0)
    values, vectors = jnp.linalg.eigh(projected + jnp.diag(jnp.where(used, 0.0, largest)))
    return values[0], vectors[:, 0] @ basis


def transposed_product(rows: jax.Array, x: jax.Array) -> jax.Array:
    r""":math:`R^\top X`, shape ``(k, d)``, for ``(n, k)`` and ``(n, d)``.

    On a CPU one column goes through a long design in blocks of rows, at the speed of memory; as one product it takes
    twice the time.
    """

    def product(rows: jax.Array, x: jax.Array) -> jax.Array:
        # A product with the rows stored side by side takes half the time, even with the copy.
        return jax.lax.optimization_barrier(rows.T) @ x if rows.shape[1] > 1 else rows.T @ x

    def blocked(rows: jax.Array, x: jax.Array) -> jax.Array:
        return _sum_over_rows(product, rows, x)

    if x.shape[0] < 8 * GRAM_ROWS or rows.shape[1] > 1:
        return product(rows, x)
    return jax.lax.platform_dependent(rows, x, cpu=blocked, default=product)


def weighted_gram(left: jax.Array, weights: jax.Array, right: jax.Array) -> jax.Array:
    r""":math:`X^\top \mathrm{diag}(w)\, Y`, shape ``(d, e)``, for ``(n, d)``, ``(n,)`` and ``(n, e)``.

    On a CPU long designs go through the cache a block of rows at a time, which takes half the time of one product
    and no copy of the design; also the sum of blocks is the more accurate one. With the same array to either side only
    the blocks of columns on and above the diagonal are formed.
    """
    symmetric = left is right

    def product(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
        return jax.lax.dot_general(x, y * w[:, None], (((0,), (0,)), ((), ())))

    def blocked(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
        if symmetric:
            return _mirrored(_sum_over_rows(lambda x, w: _upper_products(x, x * w[:, None]), x, w))
        return _sum_over_rows(product, x, w, y)

    if left.shape[0] < 8 * GRAM_ROWS:
        return product(left, weights, right)
    return jax.lax.platform_dependent(left, weights, right, cpu=blocked, default=product)


def small_gram(x: jax.Array, weights: jax.Array) -> jax.Array:
    """As :func:`weighted_gram` of one array with itself that the cache holds: the upper blocks of columns."""
    return _mirrored(_upper_products(x, x * weights[:, None]))


def gram_and_product(x: jax.Array, weights: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    r""":math:`X^\top \mathrm{diag}(w) X` and :math:`T^\top \mathrm{diag}(w) X`, in one pass over a long design."""

    def product(x: jax.Array, w: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        weighted = x * w[:, None]
        return x.T @ weighted, t.T @ weighted

    def blocked(x: jax.Array, w: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        def rows(x: jax.Array, w: jax.Array, t: jax.Array) -> tuple[list[jax.Array], jax.Array]:
            weighted = x * w[:, None]
            return _upper_products(x, weighted), t.T @ weighted

        gram, found = _sum_over_rows(rows, x, w, t)
        return _mirrored(gram), found

    if x.shape[0] < 8 * GRAM_ROWS:
        return product(x, weights, targets)
    return jax.lax.platform_dependent(x, weights, targets, cpu=blocked, default=product)


def residual_and_product(
    x: jax.Array, weights: jax.Array, target: jax.Array, coef: jax.Array
) -> tuple[jax.Array, jax.Array]:
    r""":math:`r = t - X\beta` and :math:`X^\top \mathrm{diag}(w)\,r`, in one pass over a long design."""

    def product(x: jax.Array, w: jax.Array, t: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        residual = t - x @ b
        return residual, (w * residual) @ x

    def blocked(x: jax.Array, w: jax.Array, t: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        blocks, left_over = divmod(x.shape[0], GRAM_ROWS)

        def rows(i: int | jax.Array, carry: tuple[jax.Array, jax.Array], size: int) -> tuple[jax.Array, jax.Array]:
            residual, total = carry
            part, weight, goal = (jax.lax.dynamic_slice_in_dim(v, i * GRAM_ROWS, size) for v in (x, w, t))
            found, more = product(part, weight, goal, b)
            return jax.lax.dynamic_update_slice_in_dim(residual, found, i * GRAM_ROWS, 0), total + more

        carry = (jnp.zeros_like(t), jnp.zeros_like(b))
        carry = jax.lax.fori_loop(0, blocks, lambda i, carry: rows(i, carry, GRAM_ROWS), carry)
        return rows(blocks, carry, left_over) if left_over else carry

    if x.shape[0] < 8 * GRAM_ROWS:
        return product(x, weights, target, coef)
    return jax.lax.platform_dependent(x, weights, target, coef, cpu=blocked, default=product)


def _sum_over_rows(of_rows: Callable[..., Any], *arrays: jax.Array) -> Any:
    """A tree that is a sum over rows, block by block of ``GRAM_ROWS`` of them."""
    blocks, left_over = divmod(arrays[0].shape[0], GRAM_ROWS)

    def rows(start: int | jax.Array, size: int) -> Any:
        return of_rows(*(jax.lax.dynamic_slice_in_dim(v, start, size) for v in arrays))

    def add(i: jax.Array, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, rows(i * GRAM_ROWS, GRAM_ROWS))

    start = rows(blocks * GRAM_ROWS, left_over)
    return jax.lax.fori_loop(0, blocks, add, start)


def _upper_products(x: jax.Array, y: jax.Array) -> list[jax.Array]:
    r""":math:`X^\top Y` in blocks of columns of ``x``, of each the part from the diagonal block on.

    The block of rows is transposed behind a barrier, once: every product would do it again.
    """
    d = x.shape[1]
    width = max(GRAM_COLUMNS, -(-d // (2 if d < 200 else 4)))
    transposed = jax.lax.optimization_barrier(x.T)
    return [transposed[j : j + width] @ y[:, j:] for j in range(0, d, width)]


def _mirrored(upper: list[jax.Array]) -> jax.Array:
    """The symmetric matrix of :func:`_upper_products`."""
    d = upper[0].shape[1]
    rows = jnp.concatenate([jnp.pad(block, ((0, 0), (d - block.shape[1], 0))) for block in upper])
    block = np.repeat(np.arange(len(upper)), [len(rows) for rows in upper])
    return jnp.where(block[:, None] <= block[None, :], rows, rows.T)


def product_and_squares(weights: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``weights @ x`` and the squared norms of the columns of ``x``, in one pass over a matrix that rows make up.

    Both are finite only if all entries are.
    """

    def row_by_row(weights: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        n, left_over = x.shape[0], x.shape[0] % 4

        def rows(i: int | jax.Array, count: int, carry: tuple) -> tuple:
            product, squares = carry
            for k in range(count):
                product = product + weights[i + k] * x[i + k]
                squares = squares + jnp.square(x[i + k])
            return product, squares

        nothing = jnp.zeros_like(x[0])
        carry = rows(n - left_over, left_over, (nothing, nothing))
        return jax.lax.fori_loop(0, n // 4, lambda i, c: rows(4 * i, 4, c), carry)

    def at_once(weights: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return weights @ x, jnp.sum(jnp.square(x), axis=0)

    return jax.lax.platform_dependent(weights, x, cpu=row_by_row, default=at_once)
