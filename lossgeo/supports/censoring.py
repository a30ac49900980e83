"""The targets of censored observations: a bound and what it bounds."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo._pytree import pytree
from lossgeo.supports.support import Support


@pytree
class Censoring(Support):
    """Targets ``(time, event)`` or ``(time, event, upper)`` whose times are those of a scalar support.

    The code ``event`` is 1 for an exact time, 0 for one that is exceeded, 2 for one that is not exceeded, and 3 for the
    interval from ``time`` to ``upper``.
    """

    times: Support

    of_trees = True

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return (
            "(time, event) with events 0 (right censored), 1 (exact) or 2 (left censored), or (time, event, upper) "
            f"with 3 (interval, upper > time) as well, and with exact times in {self.times.label}"
        )

    def contains(self, x: Any) -> jax.Array:
        """See :meth:`Support.contains`; ``x`` is the target, its parts of one shape."""
        time, event, *upper = censoring_parts(x)
        known = (event == 0) | (event == 1) | (event == 2)
        if upper:
            known = known | ((event == 3) & (upper[0] > time))
        return known & ((event != 1) | self.times.contains(time)) & ~jnp.isnan(time)


def censoring_parts(target: Any) -> list[jax.Array]:
    """The arrays of a censored target.

    Raises:
        ValueError: it is not a pair or a triple.
    """
    if not isinstance(target, (tuple, list)) or len(target) not in (2, 3):
        said = f"{len(target)} parts" if isinstance(target, (tuple, list)) else f"one {type(target).__name__}"
        raise ValueError(
            f"the target of a censored distribution is (time, event) or (time, event, upper), but it has {said}. "
            "With no censoring at all use the base distribution itself."
        )
    return [jnp.asarray(part) for part in target]
