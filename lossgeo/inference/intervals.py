"""Intervals for the parameters."""

from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp

from lossgeo.inference.covariance import CovarianceKind, Fitted, unconstrained_standard_errors

__all__ = ["wald_interval"]


def wald_interval(fit: Fitted, level: float = 0.95, cov: CovarianceKind = "observed") -> tuple[Any, Any]:
    r"""Wald intervals :math:`\hat u \pm z\,\mathrm{se}(\hat u)`, built in unconstrained coordinates and mapped back.

    On the real line this is the textbook interval; for a positive parameter it is symmetric in the logarithm, so that
    it stays inside the support.

    Args:
        fit: a fit.
        level: coverage, in (0, 1).
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

    def end(sign: float) -> Any:
        u = posed.to_unconstrained(params)
        leaves, tree = jax.tree.flatten(params)
        ends = [
            jnp.full_like(leaf, jnp.nan)
            if v.size != leaf.size
            else support.forward(v + sign * z * error).astype(leaf.dtype)
            for leaf, v, error, support in zip(leaves, u, errors, posed.supports, strict=True)
        ]
        return jax.tree.unflatten(tree, ends)

    return end(-1.0), end(1.0)
