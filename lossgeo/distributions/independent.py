"""Independent: batch axes of a distribution read as axes of one draw."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions.composition import batch_shape_of
from lossgeo.distributions.distribution import Distribution
from lossgeo.distributions.foreign import event_ndim_of, support_of


@pytree
class Independent(Distribution):
    r"""The last batch axes of a distribution as event axes: a draw is a vector of independent entries.

    .. math:: \log p(y) = \sum_j \log p_j(y_j)

    One term for each observation of several values, and the components of a mixture of vectors
    (``Mixture(weights, Independent(Normal(loc, scale)))`` with ``loc`` of shape ``(K, d)``).

    Args:
        base: a distribution with at least ``ndim`` batch axes, ours or another library's.
        ndim: number of batch axes to read so (static).
    """

    base: Any
    ndim: int = static(default=1)

    def _split(self) -> int:
        """The number of batch axes that remain."""
        shape = batch_shape_of(self.base)
        if self.ndim < 1 or len(shape) < self.ndim:
            raise ValueError(
                f"Independent needs a base with at least ndim = {self.ndim} >= 1 batch axes, but "
                f"{type(self.base).__name__} has batch shape {shape}."
            )
        return len(shape) - self.ndim

    @property
    def event_ndim(self) -> int:  # type: ignore[override]
        """That of the base and ``ndim``."""
        return event_ndim_of(self.base) + self.ndim

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The batch axes that remain."""
        return batch_shape_of(self.base)[: self._split()]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The others, and the event axes of the base."""
        return (*batch_shape_of(self.base)[self._split() :], *self.base.event_shape)

    @property
    def support(self) -> supports.Support:
        """That of the base, for each entry."""
        return support_of(self.base)

    def _sum(self, values: ArrayLike) -> jax.Array:
        values = jnp.asarray(values)
        return jnp.sum(values, axis=tuple(range(values.ndim - self.ndim, values.ndim)))

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        event, shape = self.event_shape, jnp.shape(y)
        if shape[len(shape) - len(event) :] != event or len(shape) < len(event):
            raise ValueError(
                f"y of Independent must have shape (*batch, {', '.join(map(str, event))}), but has {shape}."
            )
        return self._sum(self.base.log_prob(y))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        return self.base.sample(key, shape)

    @property
    def mean(self) -> jax.Array:
        """That of the base."""
        return self.base.mean

    @property
    def variance(self) -> jax.Array:
        """That of the base."""
        return self.base.variance

    def entropy(self) -> jax.Array:
        """Sum over the entries."""
        self._split()
        return self._sum(jnp.broadcast_to(self.base.entropy(), batch_shape_of(self.base)))
