"""Intervals for the parameters."""

from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import numerics
from lossgeo._compilation import quick_jit
from lossgeo.inference.covariance import CovarianceKind, Fitted, standard_errors, unconstrained_standard_errors
from lossgeo.posing import Posed
from lossgeo.priors import Tied

__all__ = ["wald_interval"]


def wald_interval(fit: Fitted, level: float = 0.95, cov: CovarianceKind = "observed") -> tuple[Any, Any]:
    r"""Wald intervals :math:`\hat u \pm z\,\mathrm{se}(\hat u)`, built in unconstrained coordinates and mapped back.

    On the real line this is the textbook interval; for a positive parameter it is symmetric in the logarithm, so that
    it stays inside the support. An entry of a vector or matrix whose entries constrain each other (a simplex, ordered
    cut-points, a Cholesky factor of correlations, a covariance) has an interval of its own: by the delta method, on the
    coordinate of the range that this entry alone has, so on the log-odds of a probability and on the logarithm of a
    variance. A tied parameter has the image of the interval of its source, if each of its entries depends on one of
    those.

    Args:
        fit: a fit.
        level: coverage, in (0, 1); of each interval, not of all together.
        cov: kind of covariance, see :func:`lossgeo.inference.covariance`.

    Returns:
        Lower and upper ends, two trees like the parameters; NaN where the standard error is.

    Raises:
        ValueError: ``level`` is not in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie strictly between 0 and 1, but is {level}.")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    posed, params = fit.posed, fit.solution.params
    errors = unconstrained_standard_errors(fit, cov)
    leaves = jax.tree.leaves(params)
    entries = posed.objective.prior.entries(posed.template)
    tied = [entries is not None and isinstance(entries[k].distribution, Tied) for k in range(len(leaves))]
    shaped = any(tied) or any(s.event_ndim for s in posed.supports)
    spreads = jax.tree.leaves(standard_errors(fit, cov)) if shaped else leaves
    low, high = _ends(posed, params, errors, spreads, z, tuple(tied))
    return _follow(posed, params, low, high, tied) if any(tied) else (low, high)


@quick_jit(small=True, static_argnums=5)
def _ends(
    posed: Posed, params: Any, errors: list[Any], spreads: list[Any], z: Any, tied: tuple[bool, ...]
) -> tuple[Any, Any]:
    """Ends from standard errors in unconstrained coordinates and in the user's, in one compiled call."""
    leaves, tree = jax.tree.flatten(params)
    u = posed.to_unconstrained(params)
    ends = []
    for leaf, v, error, spread, support, follows in zip(leaves, u, errors, spreads, posed.supports, tied, strict=True):
        if support.event_ndim:
            pair = _between(leaf, z * spread, *support.entry_bounds(leaf.shape))
        elif follows:
            pair = leaf - z * spread, leaf + z * spread
        elif v.size != leaf.size:
            pair = jnp.full_like(leaf, jnp.nan), jnp.full_like(leaf, jnp.nan)
        else:
            pair = support.forward(v - z * error), support.forward(v + z * error)
        ends.append([end.astype(leaf.dtype) for end in pair])
    low, high = (jax.tree.unflatten(tree, side) for side in zip(*ends, strict=True))
    return low, high


def _between(x: jax.Array, reach: jax.Array, low: np.ndarray, high: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """``x`` less and plus ``reach`` to first order, inside ends of which both, the lower one or none are finite."""
    both, half = np.isfinite(high), np.isfinite(low)
    least, most = jnp.asarray(np.where(half, low, 0), x.dtype), jnp.asarray(np.where(both, high, 1), x.dtype)
    below, above = jnp.where(half, x - least, 1), jnp.where(both, most - x, 1)

    def end(sign: float) -> jax.Array:
        odds = jnp.log(below) - jnp.log(above) + sign * reach * (1 / below + 1 / above)
        within = least + (most - least) * numerics.sigmoid(odds)
        beyond = least + below * jnp.exp(sign * reach / below)
        return jnp.where(both & half, within, jnp.where(half, beyond, x + sign * reach))

    return end(-1.0), end(1.0)


def _follow(posed: Any, params: Any, low: Any, high: Any, tied: list[bool]) -> tuple[Any, Any]:
    """Intervals of tied parameters as images of those of their sources where that is possible."""
    images = [jax.tree.leaves(posed.objective.prior.complete(end)) for end in (low, high)]
    given = jax.tree.leaves(posed.objective.prior.complete(params))
    ends = [jax.tree.leaves(low), jax.tree.leaves(high)]
    for k, follows in enumerate(tied):
        if follows and _is_elementwise(posed, params, k):
            stacked = jnp.stack([images[0][k], given[k], images[1][k]])
            ends[0][k], ends[1][k] = jnp.min(stacked, axis=0), jnp.max(stacked, axis=0)
    tree = jax.tree.structure(params)
    return jax.tree.unflatten(tree, ends[0]), jax.tree.unflatten(tree, ends[1])


def _is_elementwise(posed: Any, params: Any, index: int) -> bool:
    """Whether each entry of a tied parameter depends on at most one number."""
    leaves, tree = jax.tree.flatten(params)
    rows = jax.jacfwd(lambda p: jax.tree.leaves(posed.objective.prior.complete(p))[index])(params)
    size = leaves[index].size
    moves = sum(np.sum(np.asarray(row).reshape(size, -1) != 0, axis=1) for row in jax.tree.leaves(rows))
    return bool(np.all(moves <= 1))
