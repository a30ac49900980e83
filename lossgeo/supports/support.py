"""The contract of a support."""

from typing import ClassVar

import jax
import numpy as np
from jax.typing import ArrayLike


class Support:
    """The contract of a support. All methods act elementwise, or on the last axis where ``event_ndim`` is 1."""

    event_ndim: ClassVar[int] = 0
    of_trees: ClassVar[bool] = False
    """Whether ``contains`` takes a tree of arrays, such as ``(time, event)``."""

    @property
    def label(self) -> str:
        """The set in words, for messages."""
        return type(self).__name__

    def contains(self, x: ArrayLike) -> jax.Array:
        """Whether each value lies in the set; boolean, shape of ``x`` less its event axes. NaN lies in none."""
        raise NotImplementedError

    def forward(self, u: ArrayLike) -> jax.Array:
        """Map unconstrained coordinates onto the set."""
        raise NotImplementedError(f"{self!r} has no unconstrained coordinates")

    def inverse(self, x: ArrayLike) -> jax.Array:
        """Unconstrained coordinates of a value inside the set; infinite or NaN outside it."""
        raise NotImplementedError(f"{self!r} has no unconstrained coordinates")

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r""":math:`x = f(u)` and :math:`\log|\det \partial f/\partial u|` per event."""
        raise NotImplementedError(f"{self!r} has no unconstrained coordinates")

    def entry_bounds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Ends between which each entry of a value of this shape may lie, whatever the others: infinite for none.

        Of supports with event axes; that of single numbers is the support itself.
        """
        return np.full(shape, -np.inf), np.full(shape, np.inf)
