"""An objective joined with data, as a function of unconstrained coordinates: what solvers are given."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._pytree import path_name, pytree
from lossgeo.distributions import Flat, Normal
from lossgeo.objective import Objective
from lossgeo.priors import TreePrior
from lossgeo.solvers import Kinks, Problem
from lossgeo.structure import RowDerivatives, depends_on, discover
from lossgeo.supports import Real, Support

__all__ = ["Posed", "as_problem", "is_kinked", "kinks", "negative_log_prior", "objective_value", "pose", "structure_of"]


@pytree
class Posed:
    """An objective with its data, as a function of unconstrained coordinates: a list of arrays, one for each leaf."""

    objective: Objective
    data: tuple[Any, ...]
    weights: Any
    supports: tuple[Support, ...]
    template: Any

    def to_params(self, u: list[jax.Array]) -> Any:
        """Parameters at unconstrained coordinates."""
        leaves, tree = jax.tree.flatten(self.template)
        values = [s.forward(v).astype(leaf.dtype) for s, v, leaf in zip(self.supports, u, leaves, strict=True)]
        return self.objective.prior.complete(jax.tree.unflatten(tree, values))

    def to_unconstrained(self, params: Any) -> list[jax.Array]:
        """Unconstrained coordinates of parameters inside their supports. Held parameters have none."""
        return [s.inverse(v) for s, v in zip(self.supports, jax.tree.leaves(params), strict=True)]


def pose(objective: Objective, params: Any, data: tuple[Any, ...], weights: Any) -> Posed:
    """Join an objective with data; ``params`` tells the structure, shapes and dtypes."""
    params = jax.tree.map(jnp.asarray, params)
    params = objective.prior.complete(params)
    return Posed(objective.bind(data, weights), data, weights, tuple(objective.supports(params)), params)


def is_kinked(posed: Posed) -> bool:
    """Whether the prior has a kink; static.

    Raises:
        ValueError: the place of a kink depends on other parameters, so that the faces move with them.
    """
    kinks = posed.objective.prior.kinks
    if jax.eval_shape(kinks, posed.template) is None:
        return False
    names = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(posed.template)[0]]
    moving = depends_on(lambda params: [kink.center for kink in kinks(params) or []], posed.template)
    for name, moves in zip(names, moving, strict=True):
        if moves:
            raise ValueError(
                f"the prior of {name!r} has its kink (loc) at a value that depends on other parameters, where no "
                "solver can hold it. Write the hierarchy non-centered: a deviation with a kink at 0, added in the "
                "model."
            )
    return True


def as_problem(posed: Posed) -> Problem:
    """The problem of minimising a posed objective from its template.

    Structure of the log-likelihood is looked for here, once for each trace: where linear predictors are found the
    solvers differentiate through them.
    """
    u = posed.to_unconstrained(posed.template)
    structure = discover(_log_likelihood, u, posed)
    known = None if structure is None else RowDerivatives(structure, _weights, negative_log_prior, _is_separable(posed))
    return Problem(objective_value, kinks if is_kinked(posed) else None, posed, u, known)


def _is_separable(posed: Posed) -> bool:
    """Whether the prior is one of normal and flat densities of single coordinates that the solvers see as they are."""
    prior = posed.objective.prior
    if type(prior) is not TreePrior or not all(isinstance(s, Real) for s in posed.supports):
        return False
    return all(type(entry.distribution) in (Normal, Flat) for entry in prior.entries(posed.template))


def structure_of(problem: Problem) -> str:
    """What is known of the structure of a posed problem, in words; empty for nothing."""
    if not isinstance(problem.derivatives, RowDerivatives):
        return ""
    paths = jax.tree_util.tree_flatten_with_path(problem.args.template)[0]
    return problem.derivatives.structure.describe([path_name(path) for path, _ in paths])


@functools.partial(jax.jit, inline=True)
def objective_value(u: Any, posed: Posed) -> jax.Array:
    """The objective, in the precision of the parameters whatever that of the data."""
    value = posed.objective.negative_log_posterior(posed.to_params(u), posed.data, posed.weights)
    return value.astype(jnp.result_type(*u) if u else float)


def _log_likelihood(u: Any, posed: Posed) -> jax.Array:
    terms = posed.objective.likelihood.log_likelihood(posed.to_params(u), *posed.data)
    return terms.astype(jnp.result_type(*u) if u else float)


def negative_log_prior(u: Any, posed: Posed) -> jax.Array:
    """What the prior adds to the objective."""
    return -jnp.asarray(posed.objective.prior.log_prior(posed.to_params(u))).astype(jnp.result_type(*u))


def _weights(posed: Posed) -> jax.Array | None:
    return posed.weights


def kinks(u: Any, posed: Posed) -> Kinks:
    """Centers, strengths and blocks; only parameters on the real line can rest on a kink."""
    params = posed.to_params(u)
    found = posed.objective.prior.kinks(params) or []
    centers, strengths, blocks, first = [], [], [], 0
    for support, value, kink in zip(posed.supports, u, found, strict=True):
        real = isinstance(support, Real)
        centers.append(kink.center if real else jnp.zeros_like(value))
        strengths.append(kink.strength if real else jnp.zeros_like(value))
        own = kink.block if real and kink.block is not None else np.arange(value.size).reshape(value.shape)
        blocks.append(jnp.asarray(first + own, jnp.int32))
        first += value.size
    grouped = any(kink.block is not None for kink in found)
    return Kinks(centers, strengths, blocks if grouped else None)
