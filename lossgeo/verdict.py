"""From a certificate to a status: converged, or the named reason why not."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo.likelihoods import ModelLikelihood
from lossgeo.posing import Posed
from lossgeo.solvers import Certificate, Status
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
"""Nats for each e-fold of a positive parameter by which the objective still falls, far out towards the edge, if it falls
without bound."""

LARGE = 1e6
"""The same where, besides, some direction has a slope and no curvature."""


def verdict(
    posed: Posed, u: list[jax.Array], certificate: Certificate, tol: Any, ended: Any
) -> tuple[jax.Array, jax.Array]:
    """Status of the point ``u``, and the direction that it speaks of.

    Args:
        posed: the objective; its template is where the solver started.
        u: unconstrained coordinates that were reached.
        certificate: evidence there.
        tol: bound on the expected decrease in nats. Where rounding error alone makes up more, four times that.
        ended: status with which the solver ended.

    Returns:
        Status as an int32 scalar, and a direction in equilibrated coordinates, shape ``(p,)``. Below ``tol`` the point
        is judged by its curvature: negative, singular, vanishing towards infinity or towards the edge of a support, or
        none of these. Above it the solver's own reason stands, unless a coordinate ran away.
    """
    c = certificate
    small = c.edm <= jnp.maximum(tol, jnp.where(c.noise <= LARGEST_NOISE, NOISE_FACTOR * c.noise, 0.0))
    status = jnp.where(small, Status.CONVERGED, jnp.where(ended == Status.CONVERGED, Status.STALLED, ended))
    status = jnp.where(c.finite, status, Status.NOT_FINITE).astype(jnp.int32)
    direction = c.step
    if c.free.shape[0] == 0:
        return status, direction
    constrained = _constrained(posed, u)
    at_infinity = Status.SEPARATED if _can_separate(posed) else Status.UNBOUNDED
    z, start = ravel_pytree(u)[0], ravel_pytree(posed.to_unconstrained(posed.template))[0]
    rank_tol = c.resolution
    singular = c.eigenvalue <= rank_tol
    one_sided = (c.one_sided[0] <= FLAT) & (c.one_sided[1] > FLAT)
    level = (jnp.abs(c.one_sided[0]) <= FLAT) & (c.one_sided[1] > FLAT)
    faded = (c.start_change > FLAT) if at_infinity == Status.SEPARATED else jnp.asarray(False)
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
        return jnp.where(constrained[along], edge, at_infinity)

    # Later cases take precedence over earlier ones.
    cases = [
        # First, because it alone leaves some estimates and their uncertainty standing. A direction that is flat to one
        # side only, or in a classifier was not flat at the start, has lost its curvature on the way to infinity.
        (small & singular, c.direction, Status.UNIDENTIFIED),
        (small & singular & (one_sided | faded), c.direction, None),
        (small & jnp.any(shallow), jnp.where(shallow, jnp.sign(z - start), 0.0), None),
        (vanishes, c.step, None),
        (vanishes & (c.beyond > FLAT_GAIN * c.edm), c.step, Status.NOT_POSITIVE_DEFINITE),
        (small & (c.eigenvalue < -rank_tol), c.direction, Status.NOT_POSITIVE_DEFINITE),
        # From a saddle the objective falls; where it stays the same far out, the negative curvature is rounding.
        (small & (c.eigenvalue < -rank_tol) & level, c.direction, None),
        (lost & jnp.any(jnp.abs(z) > limit), jnp.nan_to_num(z), None),
        (lost & jnp.any(far), jnp.where(far, travel, 0.0), None),
    ]
    for applies, along, named in cases:
        named_status = runs_away(along) if named is None else named
        status = jnp.where(applies, named_status, status).astype(jnp.int32)
        direction = jnp.where(applies, along, direction)
    return status, direction


def _constrained(posed: Posed, u: list[jax.Array]) -> jax.Array:
    """Which coordinates belong to a constrained parameter, shape ``(p,)``."""
    parts = [jnp.full_like(v, not isinstance(s, Real), bool) for s, v in zip(posed.supports, u, strict=True)]
    return ravel_pytree(parts)[0]


def _can_separate(posed: Posed) -> bool:
    """Whether a likelihood without a maximum is one of perfect predictions: classes, or an order; static."""
    likelihood = posed.objective.likelihood
    if likelihood.can_separate or not isinstance(likelihood, ModelLikelihood):
        return likelihood.can_separate
    kinds = []

    def evaluate(params: Any) -> jax.Array:
        kinds.append(type(likelihood.distribution(params, *posed.data[:-1])).__name__)
        return jnp.zeros(())

    jax.eval_shape(evaluate, posed.template)
    return kinds[0].startswith(("Bernoulli", "Categorical"))
