"""The objective: the negative log posterior, a sum in nats, composed of a likelihood and a prior."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from lossgeo import supports as supports_
from lossgeo._pytree import as_function, broadcast_prefix, pytree
from lossgeo.distributions import is_distribution
from lossgeo.likelihoods import FunctionLikelihood, Likelihood
from lossgeo.priors import Prior
from lossgeo.priors import prior as as_prior

__all__ = ["Objective", "map_objective"]


@pytree
class Objective:
    r"""Negative log posterior, up to the evidence; made by :func:`map_objective`.

    .. math:: F(\theta) = -\sum_i w_i \log p(y_i \mid x_i, \theta) - \log \pi(\theta)

    A pytree: hyper-parameters of the prior are leaves, so that ``jax.vmap`` and ``jax.grad`` over an objective work.
    """

    likelihood: Likelihood
    prior: Prior
    declared_supports: Any = None

    def __call__(self, params: Any, *data: Any, weights: Any = None) -> jax.Array:
        """Negative log posterior in nats, shape ``()``; jit-compiled, data as arguments.

        Args:
            params: pytree of floating arrays.
            data: what the likelihood takes; for a model its inputs and, last, the target.
            weights: shape ``(n,)``, multiplies the terms of the likelihood (frequency weights); never the prior.
        """
        return _value(self, params, data, weights)

    def log_likelihood(self, params: Any, *data: Any) -> jax.Array:
        """Log-density of each observation in nats, shape ``(n,)``, or ``()`` for one dependent unit."""
        return _log_likelihood(self, params, data)

    def log_prior(self, params: Any) -> jax.Array:
        """Log-density of the parameters in nats, shape ``()``; up to a constant where a part is flat."""
        return _log_prior(self, params)

    def negative_log_posterior(self, params: Any, data: tuple[Any, ...], weights: Any) -> jax.Array:
        """The same as calling the objective, without compiling: for use inside other compiled functions."""
        params = self.prior.complete(params)
        likelihood = self.likelihood.total(params, *data, weights=weights)
        return -(likelihood + self.prior.bind(data, weights).log_prior(params))

    def bind(self, data: tuple[Any, ...], weights: Any) -> "Objective":
        """The objective with a prior that depends on the design (Jeffreys) bound to it; the same for any other."""
        return dataclasses.replace(self, prior=self.prior.bind(data, weights))

    def supports(self, params: Any) -> list[supports_.Support]:
        """Support of each leaf of ``params``, in tree order.

        In order of precedence: declared with ``supports=``, that of the prior, that of the model, the real line.
        """

        def match(tree: Any, what: str) -> list[Any]:
            return broadcast_prefix(tree, params, _is_support, what=what, complete=False)

        declared = match(self.declared_supports, "supports")
        model = match(self.likelihood.supports, "the model's supports")
        prior = self.prior.supports(params)

        def choose(declared: Any, prior: supports_.Support, model: Any) -> supports_.Support:
            if declared is not None and not isinstance(prior, supports_.Point):
                return declared
            return prior if model is None or not isinstance(prior, supports_.Real) else model

        return [choose(*three) for three in zip(declared, prior, model, strict=True)]


def map_objective(likelihood: Likelihood | Callable[..., Any], prior: Any = None, *, supports: Any = None) -> Objective:
    """Compose a likelihood and a prior into the negative log posterior.

    With a flat prior (``None``, the default) minimising it is maximum likelihood; there is no second code path.

    Args:
        likelihood: ``lg.likelihood(model)``, or a function ``log_likelihood(params, *data)`` returning log-densities of
            shape ``(n,)``, or ``()`` for one dependent unit.
        prior: a distribution for all parameters; or a pytree prefix of distributions; or a function of ``params``
            returning one, for hierarchies; or a function ``log_prior(params) -> ()``; or ``None``.
        supports: a pytree prefix of ``lossgeo.supports`` for parameters whose domain neither prior nor model tells.

    Returns:
        An :class:`Objective`.

    Raises:
        TypeError: an argument of another kind, named.

    Example:
        >>> objective = map_objective(likelihood(model), {"coef": Normal(0.0, 1.0), "scale": Flat(positive)})
    """
    if not isinstance(likelihood, Likelihood):
        if not callable(likelihood) or is_distribution(likelihood):
            raise TypeError(
                "likelihood must be lg.likelihood(model) or a function log_likelihood(params, *data) -> (n,), but is "
                f"{type(likelihood).__name__}."
            )
        likelihood = FunctionLikelihood(as_function(likelihood))
    for leaf in jax.tree.leaves(supports, is_leaf=_is_support):
        if not _is_support(leaf):
            raise TypeError(f"supports must hold lossgeo.supports such as supports.positive, but holds {leaf!r}.")
    return Objective(likelihood, as_prior(prior), supports)


def _is_support(value: Any) -> bool:
    return isinstance(value, supports_.Support)


@jax.jit
def _value(objective: Objective, params: Any, data: tuple[Any, ...], weights: Any) -> jax.Array:
    return objective.negative_log_posterior(params, data, weights)


@jax.jit
def _log_likelihood(objective: Objective, params: Any, data: tuple[Any, ...]) -> jax.Array:
    return objective.likelihood.log_likelihood(objective.prior.complete(params), *data)


@jax.jit
def _log_prior(objective: Objective, params: Any) -> jax.Array:
    return objective.prior.log_prior(params)
