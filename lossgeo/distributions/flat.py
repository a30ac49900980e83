"""The flat prior: no prior at all, on a set."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, promote


@pytree
class Flat(Distribution):
    r"""The improper distribution with log-density 0 on a support.

    .. math:: \log p(y) = 0 \quad (y \in \text{support}), \qquad -\infty \quad \text{otherwise}

    The prior of a maximum-likelihood fit. It is flat in the user's own coordinates, so ``Flat(supports.positive)``
    constrains a parameter and does nothing else.

    Args:
        support: where the parameter may lie; its own parameters (the ends of an interval) are leaves.
    """

    support: supports.Support = supports.real

    @property
    def event_ndim(self) -> int:  # type: ignore[override]
        """That of the support: 1 for a vector whose entries constrain each other, 2 for such a matrix."""
        return self.support.event_ndim

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """``()``: one flat prior serves a parameter of any shape."""
        return ()

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        (y,) = promote(y)
        if isinstance(self.support, supports.Real):  # in few operations: every fit differentiates them
            y = jax.lax.stop_gradient(y)
            return -jnp.maximum(jnp.abs(y) - jnp.finfo(y.dtype).max, 0.0)
        inside = self.support.contains(y)
        undefined = jnp.any(jnp.isnan(y), axis=tuple(range(inside.ndim, y.ndim)))
        outside = jnp.where(undefined, jnp.nan, -jnp.inf).astype(y.dtype)
        return jnp.where(inside, jnp.zeros_like(outside), outside)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Raises: there is no uniform draw from an unbounded set."""
        raise self._improper("a sample")

    @property
    def mean(self) -> jax.Array:
        """Raises: an improper distribution has none."""
        raise self._improper("a mean")

    @property
    def variance(self) -> jax.Array:
        """Raises: an improper distribution has none."""
        raise self._improper("a variance")

    def entropy(self) -> jax.Array:
        """Raises: an improper distribution has none."""
        raise self._improper("an entropy")

    def _improper(self, what: str) -> ValueError:
        return ValueError(
            f"Flat has no {what.split()[-1]}: it is improper (its density is 1 on the whole support and does not "
            f"integrate to 1). To get {what}, use a proper distribution, such as Normal with a large scale."
        )
