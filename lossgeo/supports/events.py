"""Supports of vectors: an event is the last axis, and the entries of an event constrain each other."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.supports.support import Support


@pytree
class Simplex(Support):
    r"""Vectors of K positive entries that sum to 1, on the last axis; K - 1 coordinates.

    .. math:: x = \operatorname{softmax}(u_1, \dots, u_{K-1}, 0), \qquad u_k = \log\frac{x_k}{x_K}

    The log-determinant is that of the first K - 1 entries of ``x``, with respect to which densities on the simplex
    (``Dirichlet``) are stated: :math:`\sum_{k=1}^K \log x_k`.
    """

    event_ndim: ClassVar[int] = 1

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the positive vectors that sum to 1"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`; the sum may be off by the rounding of its terms."""
        return self.closure_contains(x) & jnp.all(_vectors(x) > 0, axis=-1)

    def closure_contains(self, x: ArrayLike) -> jax.Array:
        """The same with its faces: entries may be 0."""
        x = _vectors(x)
        error = jnp.abs(jnp.sum(x, axis=-1) - 1)
        return jnp.all(x >= 0, axis=-1) & (error <= (x.shape[-1] + 4) * jnp.finfo(x.dtype).eps)

    def forward(self, u: ArrayLike) -> jax.Array:
        """The softmax of the coordinates and 0."""
        return numerics.softmax(_with_zero(_vectors(u)))

    def inverse(self, x: ArrayLike) -> jax.Array:
        """Logarithms of the entries relative to the last one."""
        x = _vectors(x)
        return jnp.log(x[..., :-1]) - jnp.log(x[..., -1:])

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""The value and :math:`\sum_k \log x_k`."""
        z = _with_zero(_vectors(u))
        return numerics.softmax(z), jnp.sum(jax.nn.log_softmax(z, axis=-1), axis=-1)

    def entry_bounds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """0 and 1."""
        return np.zeros(shape), np.ones(shape)


@pytree
class Ordered(Support):
    r"""Strictly increasing vectors, on the last axis: cut-points.

    .. math:: x_1 = u_1, \qquad x_k = x_{k-1} + e^{u_k}
    """

    event_ndim: ClassVar[int] = 1

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the strictly increasing vectors"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = _vectors(x)
        return jnp.all(jnp.isfinite(x), axis=-1) & jnp.all(x[..., 1:] > x[..., :-1], axis=-1)

    def forward(self, u: ArrayLike) -> jax.Array:
        """Cumulative sums of the first coordinate and the exponentials of the others."""
        u = _vectors(u)
        return jnp.cumsum(jnp.concatenate([u[..., :1], jnp.exp(u[..., 1:])], axis=-1), axis=-1)

    def inverse(self, x: ArrayLike) -> jax.Array:
        """The first entry and the logarithms of the steps."""
        x = _vectors(x)
        return jnp.concatenate([x[..., :1], jnp.log(jnp.diff(x, axis=-1))], axis=-1)

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""The value and :math:`\sum_{k>1} u_k`."""
        u = _vectors(u)
        return self.forward(u), jnp.sum(u[..., 1:], axis=-1)


@pytree
class PositiveOrdered(Support):
    r"""Strictly increasing vectors of positive entries, on the last axis.

    .. math:: x_k = \sum_{j \le k} e^{u_j}
    """

    event_ndim: ClassVar[int] = 1

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the strictly increasing vectors of positive numbers"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = _vectors(x)
        return (x[..., 0] > 0) & Ordered().contains(x)

    def forward(self, u: ArrayLike) -> jax.Array:
        """Cumulative sums of the exponentials."""
        return jnp.cumsum(jnp.exp(_vectors(u)), axis=-1)

    def inverse(self, x: ArrayLike) -> jax.Array:
        """Logarithms of the first entry and of the steps."""
        x = _vectors(x)
        return jnp.log(jnp.concatenate([x[..., :1], jnp.diff(x, axis=-1)], axis=-1))

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""The value and :math:`\sum_k u_k`."""
        u = _vectors(u)
        return self.forward(u), jnp.sum(u, axis=-1)

    def entry_bounds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """0 and infinity."""
        return np.zeros(shape), np.full(shape, np.inf)


def _vectors(x: ArrayLike) -> jax.Array:
    """A floating array with an event axis."""
    x = jnp.asarray(x, jnp.result_type(float, x))
    if x.ndim == 0:
        raise ValueError("This support holds vectors, which lie on the last axis; it was given a scalar.")
    return x


def _with_zero(u: jax.Array) -> jax.Array:
    """The coordinates with a 0 behind them, on the last axis."""
    return jnp.concatenate([u, jnp.zeros((*u.shape[:-1], 1), u.dtype)], axis=-1)
