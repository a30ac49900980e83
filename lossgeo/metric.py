r"""The Fisher metric of a model, pulled back to the solver's coordinates: Fisher scoring for anything.

A model returns a distribution, which knows its Fisher information :math:`F_i` in its own hyper-parameters
:math:`\eta_i(u)`. With :math:`J_i = \partial\eta_i/\partial u` the expected information of the data is

.. math:: G(u) = \sum_i w_i\, J_i^\top F_i J_i,

positive semi-definite everywhere. For a generalised linear model it is the matrix of iteratively reweighted least
squares, for normal residuals that of Gauss and Newton, for a network the generalised Gauss-Newton matrix
(:func:`lossgeo.likelihoods.fisher_information` is the matrix itself, in the parameters).

:func:`fisher_root` keeps it as a product :math:`G = A^\top A` with :math:`A^\top r = -\nabla\log p(y\mid u)`: a
scoring step is a linear least-squares problem in :math:`A` and :math:`r`, whose condition number is not squared.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo.distributions import Distribution, Fixed, Flat
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.posing import Posed
from lossgeo.solvers import Problem, Root
from lossgeo.structure import is_generalized_linear

__all__ = ["fisher_bend", "fisher_root", "has_flat_prior", "is_curved", "root_size", "with_metric"]

MOST_HYPER_PARAMETERS = 4
"""Hyper-parameters up to which the factor of an information is written out: it takes k^3 / 6 operations to compile."""

LARGEST_ROOT = 2**24
"""Entries of the root of a metric that may be held at once."""

COUNTS = ("total_count",)
"""Hyper-parameters that are counts: known, and without rows in a Fisher information."""


def fisher_root(u: Any, posed: Posed) -> Root:
    """Square root of the Fisher metric of the data plus the positive part of the prior's curvature; see :class:`Root`.

    The residual of a row is its whitened score, so that for a normal model of known scale it is the standardised
    residual itself.
    """
    rows, residual = _likelihood_root(u, posed)
    z, unravel = ravel_pytree(u)

    def penalty(z: jax.Array) -> jax.Array:
        return -posed.objective.prior.log_prior(posed.to_params(unravel(z))).astype(z.dtype)

    if has_flat_prior(posed):
        return Root(rows, residual, jnp.zeros_like(z))
    values, vectors = jnp.linalg.eigh(jax.hessian(penalty)(z))
    prior_rows = jnp.sqrt(jnp.maximum(values, 0.0))[:, None] * vectors.T
    rows = jnp.concatenate([rows, prior_rows])
    return Root(rows, jnp.concatenate([residual, jnp.zeros_like(z)]), jax.grad(penalty)(z))


def fisher_bend(u: Any, posed: Posed, v: jax.Array) -> jax.Array:
    r""":math:`\sum_i w_i J_i^\top F_i\,\ddot\eta_i`, with the second derivative of the hyper-parameters along ``v``."""
    z, unravel = ravel_pytree(u)

    def hyper_parameters(z: jax.Array) -> jax.Array:
        return _stack(_distribution(unravel(z), posed), posed.data[-1])

    def velocity(z: jax.Array) -> jax.Array:
        return jax.jvp(hyper_parameters, (z,), (v,))[1]

    acceleration = jax.jvp(velocity, (z,), (v,))[1]
    information, weights = _information(_distribution(u, posed), posed)
    forces = jnp.einsum("nij,nj->ni", information, acceleration) * jnp.square(weights)
    return jax.vjp(hyper_parameters, z)[1](forces)[0]


def root_size(posed: Posed) -> int | None:
    """Number of entries of :func:`fisher_root`, without the prior; static.

    ``None`` where solvers have no use for a metric: there is none, or the log-density has a kink in the location.
    """
    if not isinstance(posed.objective.likelihood, ModelLikelihood):
        return None
    kinked = []

    def rows(u: Any) -> jax.Array:
        kinked.append(_distribution(u, posed).kink is not None)
        return _likelihood_root(u, posed)[0]

    try:
        shape = jax.eval_shape(rows, jax.eval_shape(posed.to_unconstrained, posed.template)).shape
    except (NotImplementedError, TypeError):
        return None
    return None if kinked[0] else math.prod(shape)


def with_metric(problem: Problem) -> Problem:
    """A posed problem that carries its metric."""
    return dataclasses.replace(problem, root=fisher_root, bend=fisher_bend)


def is_curved(posed: Posed) -> bool:
    """Whether there is a metric of moderate size, and the location of the distribution is nonlinear; static.

    The location is ``loc``, or the one hyper-parameter of a family that has no other. A function of each entry of a
    linear predictor, as in a generalised linear model, does not count: there Newton's method needs no help.
    """
    if not isinstance(posed.objective.likelihood, ModelLikelihood):
        return False

    def location(params: Any) -> jax.Array:
        distribution = posed.objective.likelihood.distribution(params, *posed.data[:-1])
        if not isinstance(distribution, Distribution):
            raise NotImplementedError
        parts = dict(_parts(distribution))
        chosen = parts.get("loc", next(iter(parts.values())) if len(parts) == 1 else None)
        return jnp.zeros(()) if chosen is None else chosen

    try:
        if all(is_generalized_linear(location, posed.template)):
            return False
    except NotImplementedError:  # no hyper-parameters that are known, so no metric
        return False
    size = root_size(posed)
    return size is not None and size <= LARGEST_ROOT


def has_flat_prior(posed: Posed) -> bool:
    """Whether the prior is flat in every parameter that is not held; static."""
    entries = posed.objective.prior.entries(posed.template)
    return entries is not None and all(isinstance(entry.distribution, Flat | Fixed) for entry in entries)


def _likelihood_root(u: Any, posed: Posed) -> tuple[jax.Array, jax.Array]:
    r"""Rows :math:`\sqrt{w_i}\,L_i^\top J_i` and residuals :math:`-\sqrt{w_i}\,L_i^{-1}s_i`, :math:`F = LL^\top`."""
    target = posed.data[-1]
    z, unravel = ravel_pytree(u)

    def hyper_parameters(z: jax.Array) -> jax.Array:
        return _stack(_distribution(unravel(z), posed), target)

    distribution = _distribution(u, posed)
    eta = _stack(distribution, target)
    k = eta.shape[1]
    if k > MOST_HYPER_PARAMETERS:
        raise NotImplementedError(
            f"the root of the information is formed entry by entry for at most {MOST_HYPER_PARAMETERS} "
            f"hyper-parameters, but {type(distribution).__name__} has {k}."
        )
    information, weights = _information(distribution, posed)
    score = jax.grad(lambda eta: jnp.sum(_rebuild(distribution, eta, target).log_prob(target)))(eta)
    basis = jnp.eye(z.shape[0], dtype=z.dtype)
    jacobian = jax.vmap(jax.linearize(hyper_parameters, z)[1], out_axes=-1)(basis)  # (n, k, p)
    factor = _factor(information)
    rows: list[jax.Array] = []
    residual: list[jax.Array] = []
    for j in range(k):
        solved = -score[:, j] - sum((factor[j][m] * residual[m] for m in range(j)), jnp.zeros((), z.dtype))
        pivot = factor[j][j]
        residual.append(jnp.where(pivot > 0, solved / jnp.where(pivot > 0, pivot, 1.0), 0.0))
        rows.append(sum(factor[i][j][:, None] * jacobian[:, i] for i in range(j, k)))
    weighted = [r * weights for r in rows]
    return jnp.concatenate(weighted), jnp.concatenate([r * weights[:, 0] for r in residual])


def _information(distribution: Distribution, posed: Posed) -> tuple[jax.Array, jax.Array]:
    """Fisher information of each observation, shape ``(n, k, k)``, and roots of the weights, shape ``(n, 1)``."""
    batch, target = _batch(distribution, posed.data[-1]), posed.data[-1]
    k = _stack(distribution, target).shape[1]
    information = distribution.fisher_information()
    if information.shape[-1] != k:
        raise NotImplementedError(
            f"the Fisher information of {type(distribution).__name__} has {information.shape[-1]} rows for {k} "
            "hyper-parameters."
        )
    information = jnp.broadcast_to(information, (*batch, k, k)).reshape(-1, k, k)
    n = information.shape[0]
    if posed.weights is None:
        return information, jnp.ones((n, 1), information.dtype)
    weights = jnp.sqrt(posed.weights.astype(information.dtype))
    return information, jnp.repeat(weights, n // weights.shape[0])[:, None]


def _factor(information: jax.Array) -> list[list[jax.Array]]:
    """Lower Cholesky factors of a stack of positive semi-definite matrices, by entries; a pivot of 0 is skipped."""
    k, eps = information.shape[-1], jnp.finfo(information.dtype).eps
    lower: list[list[jax.Array]] = [[information[:, 0, 0]] * k for _ in range(k)]
    for j in range(k):
        for i in range(j, k):
            rest = information[:, i, j]
            for m in range(j):
                rest = rest - lower[i][m] * lower[j][m]
            if i == j:
                # NaN must pass, so that a point outside the domain is seen.
                absent = rest <= 4.0 * k * eps * information[:, j, j]
                lower[j][j] = jnp.where(absent, 0.0, jnp.sqrt(jnp.where(absent, 1.0, rest)))
            else:
                pivot = lower[j][j]
                lower[i][j] = jnp.where(pivot == 0, 0.0, rest / jnp.where(pivot == 0, 1.0, pivot))
    return lower


def _distribution(u: Any, posed: Posed) -> Distribution:
    """The model's distribution at unconstrained coordinates."""
    likelihood = posed.objective.likelihood
    if not isinstance(likelihood, ModelLikelihood):
        raise TypeError(
            "the likelihood is a bare function, of which no distribution is known: write a model that returns one, and "
            "use lg.likelihood(model)."
        )
    distribution = likelihood.distribution(posed.to_params(u), *posed.data[:-1])
    own = getattr(type(distribution), "fisher_information", None)
    if not isinstance(distribution, Distribution) or own is Distribution.fisher_information:
        raise NotImplementedError(f"the Fisher information of {type(distribution).__name__} is not known.")
    return distribution


def _batch(distribution: Distribution, target: Any) -> tuple[int, ...]:
    """Shape of the observations."""
    if not hasattr(target, "shape"):
        raise NotImplementedError("the target is not one array.")
    return tuple(target.shape[: target.ndim - distribution.event_ndim])


def _parts(distribution: Distribution) -> list[tuple[str, jax.Array]]:
    """Hyper-parameters with rows in the Fisher information, by name, in the order of declaration."""
    given = [(name, value) for name, value in vars(distribution).items() if value is not None]
    if any(len(jax.tree.leaves(value)) != 1 or jax.tree.leaves(value)[0] is not value for _, value in given):
        raise NotImplementedError(f"the hyper-parameters of {type(distribution).__name__} are not arrays.")
    if distribution.event_axes:
        raise NotImplementedError(f"the hyper-parameters of {type(distribution).__name__} are matrices.")
    return [(name, jnp.asarray(value)) for name, value in given if name not in COUNTS]


def _stack(distribution: Distribution, target: Any) -> jax.Array:
    """Hyper-parameters of each observation, shape ``(n, k)``."""
    batch, inner = _batch(distribution, target), len(distribution.batch_shape)
    dtype = jnp.result_type(float, *(value for _, value in _parts(distribution)))
    columns = []
    for name, value in _parts(distribution):
        event = value.shape[inner:]
        if len(value.shape[:inner]) > len(batch) or not _fits(value.shape[:inner], batch):
            raise NotImplementedError(f"{name!r} of {type(distribution).__name__} is shared by the observations.")
        columns.append(jnp.broadcast_to(value, (*batch, *event)).reshape(math.prod(batch), math.prod(event)))
    return jnp.concatenate([c.astype(dtype) for c in columns], axis=1)


def _fits(shape: tuple[int, ...], batch: tuple[int, ...]) -> bool:
    """Whether an array of this shape spreads over the observations."""
    return all(m in (1, n) for m, n in zip(reversed(shape), reversed(batch), strict=False))


def _rebuild(distribution: Distribution, eta: jax.Array, target: Any) -> Distribution:
    """The distribution with hyper-parameters of its own for each observation, from those of :func:`_stack`."""
    batch, inner = _batch(distribution, target), len(distribution.batch_shape)
    fields, taken = dict(vars(distribution)), 0
    for name, value in _parts(distribution):
        event = value.shape[inner:]
        size = math.prod(event)
        fields[name] = eta[:, taken : taken + size].reshape(*batch, *event)
        taken += size
    return type(distribution)(**fields)
