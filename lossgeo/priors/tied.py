"""A parameter that another one determines."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions import Distribution

__all__ = ["Tied"]


def same(value: Any) -> Any:
    """The value itself."""
    return value


@pytree
class Tied(Distribution):
    r"""The "prior" of a parameter that is equal to another one, or to a function of it.

    .. math:: \theta_b = f(\theta_a)

    The tied parameter is not estimated: it has no coordinates of its own, whatever value is given for it (as a start,
    to the objective, to ``Fit.from_params``) is replaced, and it adds nothing to the log-prior. Its standard error
    follows by the delta method.

    Args:
        source: name of the other parameter as in messages: ``"scale"``, ``"layers.0.weight"``. It may be held but not
            tied itself.
        fn: a function of the source, of the shape of the tied parameter or ``()``; by default the source itself. A
            module-level function is traced once, a fresh lambda each time it is made.

    Example:
        >>> prior = {"left": dist.HalfNormal(1.0), "right": Tied("left")}
    """

    source: str = static()
    fn: Callable[[Any], Any] = static(default=same)

    @property
    def support(self) -> supports.Support:
        """The real line; the value is that of the source."""
        return supports.real

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """0: what is determined has no density of its own."""
        return jnp.zeros(jnp.shape(y), jnp.result_type(y, float))
