"""From a certificate to a status: converged, or the named reason why not."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.posing import Posed
from lossgeo.solvers import Certificate, Status
from lossgeo.structure import is_generalized_linear
from lossgeo.supports import Real

__all__ = ["verdict"]

LEAST_RISE = 0.02
"""Nats that the objective must rise one standard error away from an optimum, where a parabola rises 0.5."""

FLAT = 1e-3
"""Nats that the objective may change along a direction in which it is called flat (beside 0.5 for a standard error)."""

NOISE_FACTOR = 4.0
"""Expected decrease, in units of what rounding error alone makes up, below which arithmetic can do no better."""

LARGEST_NOISE = 1e-4
"""Rounding error in nats up to which such a point is an optimum: 0.03 standard errors."""

CURVATURE_CHANGE = 0.1
"""Change of the curvature along the last Newton step above which the expected decrease cannot be trusted."""

FLAT_GAIN = 1e3
"""Gain thirty Newton steps away, in units of the expected decrease, above which a minimum is flat: a parabola that is
overshot gains 840, a power of 3 and more gains 3000."""

FAR = 12.0
"""Travel of a constrained coordinate (for a positive one a factor of 1e5) that, without an optimum in sight, counts as
running to the edge."""

HUGE = 1e15
"""Size of a coordinate that, without an optimum in sight, counts as running to infinity."""

SLOPE = 1e-3
"""Nats for each e-fold of a positive parameter by which the objective still falls far out towards the edge, if it falls
without bound."""

MOVING = 1e-3
"""Part of the largest relative step from which on a coordinate is one of those that are on their way."""

LARGE = 1e6
"""The same where, besides, some direction has a slope and no curvature."""

AWAY = -2
"""In place of a status: the optimum lies where the direction leads, at infinity or at the edge of a support."""


def verdict(
    posed: Posed, u: list[jax.Array], certificate: Certificate, tol: Any, ended: Any
) -> tuple[jax.Array, jax.Array]:
    """Status of the point ``u``, and the direction that it speaks of.

    Args:
        posed: the objective; its template is where the solver started.
        u: unconstrained coordinates that were reached.
        certificate: evidence there.
        tol: bound in nats on the duality gap where one is known, on the expected decrease elsewhere. Where rounding
            error alone makes up more, four times that; of a gap only if the expected decrease is small too.
        ended: status with which the solver ended.

    Returns:
        Status as an int32 scalar, and a direction in equilibrated coordinates, shape ``(p,)``. Below ``tol`` the point
        is judged by its curvature: negative, singular, vanishing towards infinity or towards the edge of a support, or
        none of these. Above it the solver's own reason stands, unless a coordinate ran away.
    """
    c = certificate
    small = c.edm <= jnp.maximum(tol, jnp.where(c.noise <= LARGEST_NOISE, NOISE_FACTOR * c.noise, 0.0))
    if c.gap is not None and c.gap_noise is not None:
        small = jnp.where(jnp.isnan(c.gap), small, (c.gap <= tol) | (small & (c.gap <= NOISE_FACTOR * c.gap_noise)))
    status = jnp.where(small, Status.CONVERGED, jnp.where(ended == Status.CONVERGED, Status.STALLED, ended))
    status = jnp.where(c.finite, status, Status.NOT_FINITE).astype(jnp.int32)
    direction = c.step
    if c.free.shape[0] == 0:
        return status, direction
    constrained = _of_leaves(u, [not isinstance(s, Real) for s in posed.supports])
    separable = _of_leaves(u, _separable(posed))
    z, start = ravel_pytree(u)[0], ravel_pytree(posed.to_unconstrained(posed.template))[0]
    rank_tol = c.resolution
    singular = c.eigenvalue <= rank_tol
    one_sided = (c.one_sided[0] <= FLAT) & (c.one_sided[1] > FLAT)
    level = (jnp.abs(c.one_sided[0]) <= FLAT) & (c.one_sided[1] > FLAT)
    faded = jnp.any(separable) & (c.start_change > FLAT)
    gone = _has_faded(c, jnp.where(constrained, z - start, 0.0))
    vanishes = small & (c.curvature_change > CURVATURE_CHANGE)
    shallow = ~(c.rise >= LEAST_RISE)
    lost = ~small & (status != Status.INTERRUPTED)
    limit = jnp.where(jnp.abs(c.eigenvalue) <= rank_tol, LARGE, HUGE)
    travel = jnp.where(constrained, z - start, 0.0)
    far = (jnp.abs(travel) > FAR) & ((c.step * travel >= 0) | ~c.finite)

    def runs_away(direction: jax.Array) -> jax.Array:
        along = jnp.argmax(jnp.abs(direction))
        # Where the slope cannot be told any more (beyond the numbers there are), there was one on the way.
        endless = ~(jnp.abs(c.gradient[along]) <= SLOPE) if c.gradient is not None else jnp.asarray(False)
        edge = jnp.where(lost & endless, Status.UNBOUNDED, Status.AT_BOUNDARY)
        at_infinity = jnp.where(separable[along], Status.SEPARATED, Status.UNBOUNDED)
        return jnp.where(constrained[along], edge, at_infinity)

    leaving = jnp.where(_is_moving(c, z, z - start), c.step, 0.0)

    # Later cases take precedence over earlier ones.
    cases = [
        # First, because it alone leaves some estimates and their uncertainty standing. A direction that is flat to one
        # side only, or in a classifier was not flat at the start, has lost its curvature on the way to infinity.
        (small & singular, c.direction, Status.UNIDENTIFIED),
        (small & singular & (one_sided | faded | gone), c.direction, None),
        (small & jnp.any(shallow), jnp.where(shallow, jnp.sign(z - start), 0.0), None),
        (vanishes, leaving, None),
        (vanishes & (c.beyond > FLAT_GAIN * c.edm), c.step, Status.NOT_POSITIVE_DEFINITE),
        (small & (c.eigenvalue < -rank_tol), c.direction, Status.NOT_POSITIVE_DEFINITE),
        # From a saddle the objective falls; where it stays the same far out, the negative curvature is rounding.
        (small & (c.eigenvalue < -rank_tol) & (level | gone), c.direction, None),
        # Further out on the way from the start it is minus infinity, and here it bends down.
        (lost & (c.eigenvalue < -rank_tol) & (c.beyond == -jnp.inf), c.step, Status.UNBOUNDED),
        (lost & jnp.any(jnp.abs(z) > limit), jnp.nan_to_num(z), None),
        (lost & jnp.any(far), jnp.where(far, travel, 0.0), None),
    ]
    for applies, along, named in cases:
        status = jnp.where(applies, AWAY if named is None else named, status)
        direction = jnp.where(applies, along, direction)
    return jnp.where(status == AWAY, runs_away(direction), status).astype(jnp.int32), direction


def _has_faded(c: Certificate, travel: jax.Array) -> jax.Array:
    """Whether what the direction of least curvature does to the objective got lost on the way to the edge of a support.

    An e-fold changes nothing any more that is not rounding, whose curvature may have any sign, and it did at the start.
    """
    if c.hessian is None or c.gradient is None:
        return jnp.asarray(False)
    along = jnp.argmax(jnp.abs(c.direction))
    level = (jnp.abs(c.hessian[along, along]) <= FLAT) & (jnp.abs(c.gradient[along]) <= FLAT)
    return level & (jnp.abs(travel[along]) > FAR) & (c.start_change > FLAT)


def _is_moving(c: Certificate, z: jax.Array, travel: jax.Array) -> jax.Array:
    """Which coordinates the Newton step that is left moves by more than rounding, relative to their size and travel."""
    if c.hessian is None:
        return jnp.ones_like(z, bool)
    unit = linalg.equilibrate(c.hessian)[1]
    size = jnp.abs(z) + jnp.abs(travel) + jnp.finfo(z.dtype).eps * unit
    relative = jnp.where(c.free, jnp.abs(c.step * unit) / size, 0.0)
    return relative >= MOVING * jnp.max(relative)


def _of_leaves(u: list[jax.Array], flags: list[bool]) -> jax.Array:
    """A flag for each coordinate from one for each leaf, shape ``(p,)``."""
    return ravel_pytree([jnp.full_like(v, flag, bool) for v, flag in zip(u, flags, strict=True)])[0]


def _separable(posed: Posed) -> list[bool]:
    """Leaves that run to infinity only where predictions are perfect: linear predictors of classes or an order; static.

    Any other parameter may run to infinity without any prediction being perfect.
    """
    likelihood = posed.objective.likelihood
    leaves, tree = jax.tree.flatten(posed.template)
    if likelihood.can_separate or not isinstance(likelihood, ModelLikelihood):
        return [likelihood.can_separate] * len(leaves)
    kinds = []

    def parameters(leaves: list[Any]) -> list[jax.Array]:
        found = likelihood.distribution(jax.tree.unflatten(tree, leaves), *posed.data[:-1])
        kinds.append(type(found).__name__)
        return jax.tree.leaves(found)

    linear = all(is_generalized_linear(parameters, leaves))
    if not kinds[0].startswith(("Bernoulli", "Categorical")):
        return [False] * len(leaves)

    def of_one(k: int, leaf: Any) -> list[jax.Array]:
        return parameters([*leaves[:k], leaf, *leaves[k + 1 :]])

    return [linear or all(is_generalized_linear(partial(of_one, k), leaf)) for k, leaf in enumerate(leaves)]
