"""A certificate of one fit among many: it tells an optimum from everything else, but not what else it is."""

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.certificate import Certificate
from lossgeo.solvers.full_steps import FullSteps
from lossgeo.solvers.problem import FlatProblem, Problem
from lossgeo.solvers.surroundings import rounding

__all__ = ["certify_briefly"]

SQUARINGS = 6
"""How often the inverse Hessian is squared, until the direction of its largest eigenvalue outgrows all others."""


def certify_briefly(problem: Problem, end: FullSteps, probes: int) -> tuple[jax.Array, jax.Array, Certificate]:
    r"""Make the last of the full steps, and certify where it leads.

    Value and gradient are those at the end of the step. The Hessian is that at its start, :math:`\sqrt{2\epsilon}`
    standard errors away at most, and all else follows from its Cholesky factor. Where it is not positive definite to
    working precision the expected decrease is ``inf``: nothing is said of such a point. The change of the curvature is
    known from the steps, the least eigenvalue is a Rayleigh quotient, and nothing far out is looked at: ``beyond``,
    ``one_sided`` and ``start_change`` are 0, ``inf``, 0.

    Args:
        problem: smooth.
        end: of the full steps on it.
        probes: how many coordinates are probed one standard error away, those that the others determine least.

    Returns:
        The end of the last step, the value there, and the certificate.
    """
    flat, z = FlatProblem(problem), end.z + end.step
    p, dtype = z.shape[0], z.dtype
    resolution = jnp.asarray(linalg.rank_tolerance(p, dtype), dtype)
    value, grad = flat.value_and_grad(z)
    root = jax.scipy.linalg.solve_triangular(end.lower, jnp.eye(p, dtype=dtype), lower=True)
    white = root @ (grad * end.scale)
    inverse = root.T @ root
    eigenvalue, direction = _least(inverse)
    spread = jnp.diagonal(inverse)
    count = min(p, probes)
    probed = jnp.argmax(spread)[None] if count == 1 else jax.lax.top_k(spread, count)[1]
    sides = end.scale[None, :] * inverse[probed] * jax.lax.rsqrt(spread[probed])[:, None]
    on_line = flat.lines(z, sides)
    gains = jnp.stack([jnp.stack([on_line(j, jnp.asarray(t, dtype)) for t in (1.0, -1.0)]) for j in range(count)])
    # NaN on one side is a plateau's end as well; half a nat drowns in the rounding error of a large objective.
    gains = jnp.where(jnp.isnan(gains), -jnp.inf, gains - value)
    rise = jnp.full_like(z, jnp.inf).at[probed].set(jnp.min(gains, axis=1) + rounding(value))
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad)) & jnp.all(jnp.isfinite(end.hessian))
    edm = jnp.where(end.definite, 0.5 * white @ white, jnp.inf)
    zero = jnp.zeros_like(value)
    return z, value, Certificate(
        edm=jnp.where(finite, edm, jnp.nan),
        kkt_residual=jnp.max(jnp.abs(grad)),
        curvature_change=end.curvature_change,
        beyond=zero,
        rise=rise,
        eigenvalue=eigenvalue,
        direction=direction,
        step=-(white @ root),
        one_sided=jnp.full((2,), jnp.inf, dtype),
        start_change=zero,
        null_weight=jnp.zeros_like(z),
        free=jnp.ones_like(z, bool),
        hessian=end.hessian,
        finite=finite,
        resolution=resolution,
        noise=zero,
        gradient=grad,
    )  # fmt: skip


def _least(inverse: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Least eigenvalue of a positive definite matrix, from its inverse: a bound from above, and its direction."""
    power = inverse / jnp.trace(inverse)
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / jnp.trace(power)
    vector = power[jnp.argmax(jnp.diagonal(power))]
    vector = vector / jnp.linalg.norm(vector)
    return 1.0 / (vector @ inverse @ vector), vector
