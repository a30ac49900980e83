r"""What a solver is given: minimise :math:`f(u)` over a pytree :math:`u` of real arrays.

The function may have *kinks*: it is smooth but for terms :math:`\lambda_j |u_j - c_j|`, or :math:`\lambda_B \|u_B -
c_B\|_2` of blocks of coordinates, whose centers and strengths are told by a second function. ``f`` itself includes
these terms, with derivative 0 at the kink.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._pytree import pytree, static
from lossgeo.solvers.kinks import Blocks, Faces, Kinks
from lossgeo.solvers.pieces import Pieces


class Derivatives(Protocol):
    """Faster ways to the derivatives of a function whose structure is known; see ``lossgeo.structure``."""

    def value_and_grad(self, u: Any, args: Any) -> tuple[jax.Array, Any]:
        """The function and its gradient, a tree like ``u``."""
        ...

    def hessian(self, u: Any, args: Any) -> jax.Array:
        """Hessian in the order of the ravelled ``u``, shape ``(p, p)``."""
        ...

    def gradient_and_hessian(self, u: Any, args: Any) -> tuple[jax.Array, jax.Array]:
        """Both at once, ravelled: shapes ``(p,)`` and ``(p, p)``."""
        ...

    def second_order(self, u: Any, args: Any) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
        """The function, its ravelled gradient, and a call that forms the Hessian from what these have left."""
        ...

    def hessian_product(self, u: Any, args: Any) -> Callable[[jax.Array], jax.Array]:
        """The map ``v -> H v`` on ravelled vectors."""
        ...

    def outputs(self, u: Any, args: Any) -> tuple[jax.Array, Callable[[jax.Array], jax.Array], jax.Array, jax.Array]:
        """The first four parts of :class:`Outputs`."""
        ...

    def remainder_product(self, u: Any, args: Any) -> Callable[[jax.Array], jax.Array]:
        """The map ``v -> R v`` with the Hessian ``R`` of what is added to the rows."""
        ...

    @property
    def separable(self) -> bool:
        """Whether the remainder is known to have a diagonal Hessian; static."""
        ...

    @property
    def output_shape(self) -> tuple[int, int] | None:
        """Shape ``(d, k)`` of the coefficients of :class:`Outputs`; ``None`` where the rows have no such form."""
        ...

    def output_places(self, u: Any) -> np.ndarray:
        """Places of the coordinates of :class:`Outputs`; static."""
        ...

    def lines(self, u: Any, args: Any, directions: jax.Array) -> Callable[[int | jax.Array, jax.Array], jax.Array]:
        """The map ``(j, t) -> f(u + t d_j)`` for directions, one a row, with what is linear in them computed once."""
        ...

    @property
    def num_rows(self) -> int:
        """Number of terms of the sum."""
        ...


@pytree
class Problem:
    """A function to minimise and the point to start from.

    Args:
        fun: ``fun(u, args) -> ()``; a module-level function, so that a second call is not traced again.
        kinks: ``kinks(u, args) -> (center, strength)``, two trees like ``u``, or a third with the numbers of the blocks
            (see :class:`lossgeo.solvers.kinks.Kinks`); ``None`` for a smooth function.
        args: everything the functions depend on besides ``u``: data, hyper-parameters.
        init: start, a tree of floating arrays.
        derivatives: a faster way to the derivatives of ``fun``, or ``None`` to differentiate it.
        root: ``root(u, args) -> Root``, a square root of a positive semi-definite metric that stands for the Hessian;
            ``None`` where none is known. Only :class:`LevenbergMarquardt` needs it.
        bend: ``bend(u, args, v) -> (p,)``, the product of the root's transpose with the second derivative of its
            residual along ``v``; ``None`` where it is not known.
        pieces: ``pieces(args) -> Pieces``, the function as a convex one that is piecewise linear but for a quadratic,
            up to a constant; ``None`` where it is not one. Only :class:`InteriorPoint` needs it.
    """

    fun: Callable[[Any, Any], jax.Array] = static()
    kinks: Callable[[Any, Any], tuple[Any, ...]] | None = static()
    args: Any
    init: Any
    derivatives: Derivatives | None = static(default=None)
    root: Callable[[Any, Any], "Root"] | None = static(default=None)
    bend: Callable[[Any, Any, jax.Array], jax.Array] | None = static(default=None)
    pieces: Callable[[Any], Pieces] | None = static(default=None)


class Root(NamedTuple):
    r"""A metric :math:`A^\top A` by its root, and the gradient :math:`A^\top r + g_0` of the function beside it.

    ``rows`` is :math:`A`, shape ``(m, p)``, ``residual`` is :math:`r`, shape ``(m,)``, and ``remainder`` is
    :math:`g_0`, shape ``(p,)``: what is not a sum of squares. Columns are in the order of ``ravel_pytree(u)``.
    """

    rows: jax.Array
    residual: jax.Array
    remainder: jax.Array


class Outputs(NamedTuple):
    r"""Curvature of a sum over rows in one linear predictor of several columns.

    .. math:: H = \begin{pmatrix} \sum_i W_i \otimes x_i x_i^\top & C^\top \\ C & D \end{pmatrix} + R

    The coefficients come first, those of a column side by side, then the other coordinates.

    Args:
        design: :math:`x_i`, shape ``(n, d)``.
        weights: the map from a vector ``v`` of shape ``(k,)`` to :math:`W_i v`, shape ``(n, k)``.
        cross: :math:`C`, shape ``(q, k d)``.
        corner: :math:`D`, shape ``(q, q)``.
        places: place of each of these coordinates in the vector of the problem, shape ``(k d + q,)``; static.
        remainder: the map ``v -> R v``, in the order of the vector of the problem.
        num_columns: :math:`k`; static.
        separable: whether :math:`R` is known to be diagonal; static.
    """

    design: jax.Array
    weights: Callable[[jax.Array], jax.Array]
    cross: jax.Array
    corner: jax.Array
    places: np.ndarray
    remainder: Callable[[jax.Array], jax.Array]
    num_columns: int
    separable: bool


class FlatProblem:
    """A problem seen as a function of one vector; lives inside a trace only."""

    def __init__(self, problem: Problem):
        """Flatten the start of ``problem``."""
        self.z0, self.unravel = ravel_pytree(problem.init)
        self._problem = problem
        self.smooth = problem.kinks is None

    def value(self, z: jax.Array) -> jax.Array:
        """The function at ``z``."""
        return self._problem.fun(self.unravel(z), self._problem.args)

    def value_and_grad(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The function and its gradient (of the smooth part only, at a kink)."""
        known = self._problem.derivatives
        if known is None:
            return jax.value_and_grad(self.value)(z)
        value, grad = known.value_and_grad(self.unravel(z), self._problem.args)
        return value, ravel_pytree(grad)[0]

    def hessian(self, z: jax.Array) -> jax.Array:
        """Hessian, shape ``(p, p)``."""
        known = self._problem.derivatives
        if known is None:
            return linalg.hessian(self.value, z)
        return known.hessian(self.unravel(z), self._problem.args)

    def second_order(self, z: jax.Array) -> tuple[jax.Array, jax.Array, Callable[[], jax.Array]]:
        """The function, its gradient, and a call that forms the Hessian from what these have left."""
        known = self._problem.derivatives
        if known is None:
            return linalg.second_order(self.value, z)
        return known.second_order(self.unravel(z), self._problem.args)

    def gradient_and_hessian(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Gradient and Hessian, in one pass where the structure is known."""
        known = self._problem.derivatives
        if known is None:
            return jax.grad(self.value)(z), linalg.hessian(self.value, z)
        return known.gradient_and_hessian(self.unravel(z), self._problem.args)

    def hessian_product(self, z: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """The map ``v -> H v``, with all that does not depend on ``v`` computed once."""
        known = self._problem.derivatives
        if known is None:
            return jax.linearize(jax.grad(self.value), z)[1]
        return known.hessian_product(self.unravel(z), self._problem.args)

    def outputs(self, z: jax.Array) -> Outputs:
        """Curvature of the rows in a linear predictor of several columns.

        Raises:
            ValueError: there is none.
        """
        known = self._problem.derivatives
        if known is None or known.output_shape is None:
            raise ValueError(
                "this solver needs independent rows with one linear predictor of several columns, such as "
                "x @ params['coef'] with coefficients of shape (d, k). Use solver='auto'."
            )
        u, args = self.unravel(z), self._problem.args
        remainder, (_, k) = known.remainder_product(u, args), known.output_shape
        return Outputs(*known.outputs(u, args), known.output_places(u), remainder, k, known.separable)

    @property
    def output_places(self) -> np.ndarray:
        """Places of the coordinates of :class:`Outputs`; static."""
        return self._problem.derivatives.output_places(self._problem.init)  # type: ignore[union-attr]

    def lines(self, z: jax.Array, directions: jax.Array) -> Callable[[int | jax.Array, jax.Array], jax.Array]:
        """The map ``(j, t) -> f(z + t d_j)`` for directions, one a row of shape ``(m, p)``."""
        known = self._problem.derivatives
        if known is None:
            return lambda j, t: self.value(z + t * directions[j])
        return known.lines(self.unravel(z), self._problem.args, directions)

    def root(self, z: jax.Array) -> Root:
        """Root of the metric at ``z``.

        Raises:
            ValueError: the problem has none.
        """
        if self._problem.root is None:
            raise ValueError(
                "this solver needs a metric: a model that returns a distribution with a Fisher information, and a "
                "prior without a kink. Use solvers.Newton() or solver='auto'."
            )
        return self._problem.root(self.unravel(z), self._problem.args)

    def bend(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """Second derivative of the root's residual along ``v``, seen by the gradient; 0 where it is not known."""
        if self._problem.bend is None:
            return jnp.zeros_like(z)
        return self._problem.bend(self.unravel(z), self._problem.args, v)

    def hvp(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """Hessian-vector product."""
        known = self._problem.derivatives
        return linalg.hvp(self.value, z, v) if known is None else self.hessian_product(z)(v)

    @property
    def num_rows(self) -> int:
        """Number of terms of a sum of which the function is known to be one, otherwise 0."""
        known = self._problem.derivatives
        return 0 if known is None else known.num_rows

    def kinks(self, z: jax.Array) -> tuple[jax.Array, jax.Array, Blocks]:
        """Centers and strengths of the kinks, ravelled, and how they make blocks."""
        assert self._problem.kinks is not None
        center, strength, block = Kinks(*self._problem.kinks(self.unravel(z), self._problem.args))
        number = None if block is None else ravel_pytree(block)[0]
        return ravel_pytree(center)[0], ravel_pytree(strength)[0], Blocks(number)

    def blocks(self, z: jax.Array) -> Blocks:
        """How the coordinates make blocks."""
        return Blocks(None) if self._problem.kinks is None else self.kinks(z)[2]

    def faces(self, z: jax.Array, grad: jax.Array) -> Faces:
        r"""Pseudo-gradient and free coordinates at ``z``.

        Off a kink the pseudo-gradient is the gradient. On it, with :math:`g` the gradient of the smooth part, it is
        :math:`g\max(1 - \lambda/\|g\|, 0)`: zero exactly when staying on the kink is optimal.
        """
        if self._problem.kinks is None:
            zero = jnp.zeros_like(z)
            return Faces(grad, jnp.ones_like(z, dtype=bool), zero, zero, zero, jnp.zeros_like(z, dtype=bool))
        center, strength, blocks = self.kinks(z)
        kinked = strength > 0
        at_kink = kinked & blocks.all(z == center)
        size = blocks.norm(grad)
        rounding = 8.0 * jnp.finfo(z.dtype).eps * (strength + size)
        excess = size - strength
        leaves = at_kink & (excess > rounding)
        ray = blocks.unit(grad)
        pseudo = jnp.where(at_kink, jnp.where(leaves, ray * excess, 0.0), grad)
        sign = jnp.where(leaves, -ray, blocks.unit(z - center))
        return Faces(pseudo, ~at_kink | leaves, jnp.where(kinked, sign, 0.0), center, strength, leaves)

    def face_scale(self, z: jax.Array, scale: jax.Array, faces: Faces) -> jax.Array:
        """A scale of the coordinates for a face: 0 where they are held, uniform in a block that enters."""
        blocks = self.blocks(z)
        scale = scale if blocks.single else jnp.where(faces.enters, blocks.least(scale), scale)
        return jnp.where(faces.free, scale, 0.0)

    def project(self, z: jax.Array, faces: Faces) -> jax.Array:
        """Put every coordinate, or block, that crossed to the other side of its kink onto the kink, exactly."""
        if self.smooth:
            return z
        ahead = self.blocks(z).total((z - faces.center) * faces.sign)
        crossed = (faces.strength > 0) & faces.free & (ahead <= 0)
        return jnp.where(crossed, faces.center, z)

    def one_sided_gradient(self, z: jax.Array, grad: jax.Array, faces: Faces) -> jax.Array:
        """Gradient at ``z`` seen from the side of the kinks on which ``faces`` lies."""
        if self.smooth:
            return grad
        return grad + jnp.where(self.blocks(z).all(z == faces.center), faces.strength * faces.sign, 0.0)
