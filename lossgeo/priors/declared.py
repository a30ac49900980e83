"""Priors: log-densities of parameters, declared as a tree of distributions, as a function, or not at all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import supports
from lossgeo._pytree import as_function, broadcast_prefix, path_name, pytree
from lossgeo.distributions import Fixed, Flat, is_distribution
from lossgeo.distributions.distribution import Kink
from lossgeo.distributions.foreign import as_tree, event_ndim_of, kink_of, support_of
from lossgeo.priors.tied import Tied
from lossgeo.structure import depends_on

__all__ = ["Entry", "FunctionPrior", "LeafKink", "Prior", "TreePrior", "prior"]


class Entry(NamedTuple):
    """A parameter leaf and the distribution that covers it."""

    name: str
    leaf: jax.Array
    distribution: Any


class LeafKink(NamedTuple):
    """Kinks of a leaf: center and strength of its shape (strength 0 for none), and the blocks they hold, if several.

    ``block`` numbers the blocks within the leaf, in its shape; ``None`` where each entry is one.
    """

    center: jax.Array
    strength: jax.Array
    block: np.ndarray | None = None


class Prior:
    """The contract of a prior."""

    is_information: bool = True
    """Whether its curvature counts as information about the parameters."""

    def bind(self, data: tuple[Any, ...], weights: Any) -> "Prior":
        """The prior for given data: itself, unless it depends on the design (``Jeffreys``)."""
        return self

    def complete(self, params: Any) -> Any:
        """The parameters with those that are tied to others computed from them."""
        entries = self.entries(params)
        if entries is None or not any(isinstance(entry.distribution, Tied) for entry in entries):
            return params
        leaves = [tied_value(entry, entries) for entry in entries]
        return jax.tree.unflatten(jax.tree.structure(params), leaves)

    def log_prior(self, params: Any) -> jax.Array:
        """Log-density of the parameters in nats, shape ``()``; up to a constant where a part is flat."""
        raise NotImplementedError

    def entries(self, params: Any) -> list[Entry] | None:
        """Leaves of ``params`` with their distributions, in tree order; ``None`` for a bare log-density."""
        raise NotImplementedError

    def supports(self, params: Any) -> list[supports.Support]:
        """Support of each leaf of ``params``."""
        entries = self.entries(params)
        if entries is None:
            return [supports.real for _ in jax.tree.leaves(params)]
        return [_leaf_support(entry, entries) for entry in entries]

    def kinks(self, params: Any) -> list[LeafKink] | None:
        """The kinks of each leaf; ``None`` where all leaves are smooth."""
        entries = self.entries(params)
        if entries is None:
            return None
        found = [kink_of(entry.distribution) for entry in entries]
        if all(kink is None for kink in found):
            return None
        return [_leaf_kink(kink, entry.leaf) for kink, entry in zip(found, entries, strict=True)]


@pytree
class TreePrior(Prior):
    """A pytree prefix of distributions over the parameters, independent between leaves; ``None`` is flat."""

    tree: Any

    def entries(self, params: Any) -> list[Entry]:
        """See :meth:`Prior.entries`."""
        matched = broadcast_prefix(self.tree, params, is_distribution, what="the prior", default=Flat())
        leaves = jax.tree_util.tree_flatten_with_path(params)[0]
        return [Entry(path_name(path), leaf, d) for (path, leaf), d in zip(leaves, matched, strict=True)]

    def log_prior(self, params: Any) -> jax.Array:
        """Sum of the log-densities of all leaves."""
        total = jnp.zeros((), dtype=jnp.result_type(float, *jax.tree.leaves(params)))
        for entry in self.entries(params):
            shape, event_ndim = jnp.shape(entry.leaf), event_ndim_of(entry.distribution)
            try:
                terms = entry.distribution.log_prob(entry.leaf)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"the prior of {entry.name!r} is a {type(entry.distribution).__name__} that cannot be evaluated at "
                    f"a parameter of shape {shape}: {str(error).rstrip('.')}. Hyper-parameters must be scalars or "
                    "have the shape of the parameter."
                ) from error
            if jnp.shape(terms) != shape[: len(shape) - event_ndim]:
                raise ValueError(
                    f"the prior of {entry.name!r} is a {type(entry.distribution).__name__} whose log-density has "
                    f"shape {jnp.shape(terms)}, but the parameter has shape {shape}. Hyper-parameters must be scalars "
                    "or have the shape of the parameter."
                )
            total = total + jnp.sum(terms)
        return total


@pytree
class FunctionPrior(Prior):
    """A function of the parameters that returns a prefix of distributions (a hierarchy) or a log-density."""

    fn: Any

    def _evaluate(self, params: Any) -> Any:
        found = self.fn(params)
        leaves = jax.tree.leaves(found, is_leaf=is_distribution)
        if leaves and all(is_distribution(leaf) for leaf in leaves):
            return TreePrior(jax.tree.map(as_tree, found, is_leaf=is_distribution))
        if len(leaves) != 1 or leaves[0] is not found or jnp.ndim(found) != 0:
            shapes = [type(leaf).__name__ if is_distribution(leaf) else jnp.shape(leaf) for leaf in leaves]
            raise ValueError(
                "a prior function must return distributions in the shape of the parameters, or one log-density of "
                f"shape (), but returned leaves {shapes}. Sum the log-densities."
            )
        return jnp.asarray(found)

    def entries(self, params: Any) -> list[Entry] | None:
        """See :meth:`Prior.entries`."""
        found = self._evaluate(params)
        return found.entries(params) if isinstance(found, TreePrior) else None

    def supports(self, params: Any) -> list[supports.Support]:
        """See :meth:`Prior.supports`.

        Raises:
            ValueError: a support that depends on other parameters, which has no fixed unconstrained coordinates.
        """
        if any(depends_on(lambda p: super(FunctionPrior, self).supports(p), params)):
            raise ValueError(
                "the prior gives a parameter a support that depends on other parameters. Write the model in a "
                "parameter whose support is fixed, e.g. a fraction in (0, 1) of the other one."
            )
        return super().supports(params)

    def log_prior(self, params: Any) -> jax.Array:
        """See :meth:`Prior.log_prior`."""
        found = self._evaluate(params)
        return found.log_prior(params) if isinstance(found, TreePrior) else found


def prior(declared: Any | Callable[[Any], Any] | None) -> Prior:
    """Prior from any of the forms in which it may be declared.

    Args:
        declared: a distribution for all parameters, a pytree prefix of distributions (``None`` within is flat), a
            function ``params -> prefix`` or ``params -> ()``, or ``None`` for the flat prior.

    Raises:
        TypeError: something else, named.
    """
    if isinstance(declared, Prior):
        return declared
    if declared is None:
        return TreePrior(Flat())
    if isinstance(declared, type):
        raise TypeError(
            f"the prior is the class {declared.__name__} and not a distribution: give its hyper-parameters, e.g. "
            "distributions.Normal(0.0, 1.0)."
        )
    if callable(declared) and not is_distribution(declared):
        return FunctionPrior(as_function(declared))
    leaves, _ = jax.tree_util.tree_flatten_with_path(declared, is_leaf=is_distribution)
    wrong = [(path_name(path), leaf) for path, leaf in leaves if not is_distribution(leaf)]
    if wrong:
        name, value = wrong[0]
        raise TypeError(
            f"the prior of {name!r} must be a distribution, but is {value!r}. Use e.g. distributions.Normal(0.0, "
            "1.0), distributions.Flat() for none, or distributions.Fixed(value) to hold the parameter."
        )
    # NumPy scalars become Python floats, weakly typed: a loop over np.geomspace costs one trace, in any precision.
    declared = jax.tree.map(as_tree, declared, is_leaf=is_distribution)
    return TreePrior(jax.tree.map(lambda v: float(v) if isinstance(v, np.floating) else v, declared))


def tied_value(entry: Entry, entries: list[Entry]) -> jax.Array:
    """Value of a leaf: its own, or that of the parameter it is tied to.

    Raises:
        ValueError: there is no such parameter, it is tied itself, or the value has another shape.
    """
    tied = entry.distribution
    if not isinstance(tied, Tied):
        return entry.leaf
    sources = {other.name: other for other in entries if not isinstance(other.distribution, Tied)}
    if tied.source not in sources:
        raise ValueError(
            f"the parameter {entry.name!r} is tied to {tied.source!r}, which is no parameter that is estimated or "
            f"held. Those are {', '.join(map(repr, sources)) or 'none'}."
        )
    value = jnp.asarray(tied.fn(sources[tied.source].leaf), jnp.result_type(entry.leaf))
    if value.shape not in ((), jnp.shape(entry.leaf)):
        raise ValueError(
            f"the parameter {entry.name!r} has shape {jnp.shape(entry.leaf)}, but the value it is tied to has shape "
            f"{value.shape}. Tie it with a function: Tied({tied.source!r}, lambda v: ...)."
        )
    return jnp.broadcast_to(value, jnp.shape(entry.leaf))


def _leaf_kink(kink: Kink | None, leaf: jax.Array) -> LeafKink:
    """A kink in the shape of a leaf."""
    shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
    if kink is None:
        return LeafKink(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
    center, strength = (
        jnp.broadcast_to(jnp.asarray(value, dtype=dtype), shape) for value in (kink.center, kink.strength)
    )
    if kink.groups is None:
        return LeafKink(center, strength)
    events = np.arange(int(np.prod(shape[:-1]))).reshape(*shape[:-1], 1)
    numbers = np.unique(np.asarray(kink.groups), return_inverse=True)[1].reshape(-1)
    return LeafKink(center, strength, events * shape[-1] + numbers)


def _leaf_support(entry: Entry, entries: list[Entry]) -> supports.Support:
    if isinstance(entry.distribution, Tied):
        return supports.point(tied_value(entry, entries))
    if isinstance(entry.distribution, Fixed):
        value = jnp.asarray(entry.distribution.value, dtype=jnp.result_type(entry.leaf))
        return supports.point(jnp.broadcast_to(value, jnp.shape(entry.leaf)))
    support = support_of(entry.distribution)
    if isinstance(support, supports.Discrete):
        raise ValueError(
            f"the prior of {entry.name!r} is the discrete distribution {type(entry.distribution).__name__}: a "
            "discrete parameter cannot be optimised by its gradient. Sum it out of the likelihood (a mixture)."
        )
    return support
