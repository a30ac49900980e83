"""Distributions of other libraries, seen through the few attributes that such libraries share.

Nothing is imported: an object counts as a distribution because it has ``log_prob``. numpyro's constraints carry
``lower_bound`` and ``upper_bound`` and can be called on values; what is not understood is said so and never guessed.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import is_tree_leaf, pytree, static
from lossgeo.distributions.distribution import Distribution, Kink
from lossgeo.distributions.laplace import Laplace


@pytree
class Opaque:
    """A distribution that is not a pytree, held as a static value: its hyper-parameters are constants."""

    value: Any = static()

    @property
    def support(self) -> Any:
        """Support of the wrapped distribution, ``None`` if it does not tell."""
        return getattr(self.value, "support", None)

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """Log-density of the wrapped distribution."""
        return self.value.log_prob(y)


@pytree
class ForeignSet(supports.Support):
    """The set that another library's constraint describes; it can be checked but not used as coordinates."""

    constraint: Any = static()

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`lossgeo.supports.Support.contains`."""
        return self.constraint(x)


_SUPPORT_OF_FAMILY: dict[str, supports.Support] = {
    "Bernoulli": supports.boolean,
    **dict.fromkeys(("Categorical", "Poisson", "Geometric", "NegativeBinomial"), supports.nonnegative_integers),
    **dict.fromkeys(("Gamma", "InverseGamma", "Exponential", "HalfNormal", "LogNormal", "Weibull"), supports.positive),
    **dict.fromkeys(("Beta", "Kumaraswamy"), supports.unit_interval),
}

_VECTORS: dict[str, supports.Support] = {
    "simplex": supports.simplex,
    "orderedvector": supports.ordered,
    "positiveorderedvector": supports.positive_ordered,
    "corrcholesky": supports.correlation_cholesky,
    "positivedefinite": supports.positive_definite,
}


def as_tree(distribution: Any) -> Any:
    """The distribution itself if it is a pytree, else wrapped so that it can sit in one.

    A foreign Laplace, known by its name, ``loc`` and ``scale``, becomes ours, whose kink solvers see.
    """
    if type(distribution).__name__ == "Laplace" and not isinstance(distribution, Distribution):
        return Laplace(distribution.loc, distribution.scale)
    return Opaque(distribution) if is_tree_leaf(distribution) else distribution


def support_of(distribution: Any) -> supports.Support:
    """Support of a distribution as one of ours.

    A distribution without a ``support`` (distrax) is known by the name of its family; an unknown one is taken to live
    on the real line: its log-density must then be ``-inf`` or NaN outside its domain, which solvers treat as a step
    too far.
    """
    support = getattr(distribution, "support", None)
    if support is None:
        value = distribution.value if isinstance(distribution, Opaque) else distribution
        return _SUPPORT_OF_FAMILY.get(type(value).__name__, supports.real)
    if isinstance(support, supports.Support):
        return support
    support = getattr(support, "base_constraint", support)  # that of each entry of an event
    if getattr(support, "is_discrete", False):
        return ForeignSet(support)
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        return supports.interval(low, high)
    name = type(support).__name__.lower().lstrip("_")
    if low is not None and jnp.ndim(low) == 0 and low == 0:
        return supports.nonnegative if name == "nonnegative" else supports.positive
    if low is not None:
        return supports.greater_than(low)
    if high is not None:
        return supports.less_than(high)
    return supports.real if "real" in name else _VECTORS.get(name, ForeignSet(support))


def kink_of(distribution: Any) -> Kink | None:
    """Kink of a distribution, if it is one of ours that has one."""
    return distribution.kink if isinstance(distribution, Distribution) else None


def event_ndim_of(distribution: Any) -> int:
    """Number of event axes."""
    if isinstance(distribution, Distribution):
        return distribution.event_ndim
    return len(getattr(distribution, "event_shape", ()))
