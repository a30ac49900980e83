"""Information criteria of maximum-likelihood fits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo.distributions import Fixed, Flat
from lossgeo.inference.covariance import Fitted
from lossgeo.posing import Posed
from lossgeo.priors import Tied
from lossgeo.solvers import Status
from lossgeo.solving import Solution
from lossgeo.supports import Simplex

__all__ = ["Criteria", "criteria"]


class Criteria(NamedTuple):
    """Log-likelihood in nats, number of estimated coordinates, number of observations, and the criteria."""

    log_likelihood: float
    num_params: int
    num_observations: float
    aic: float
    aicc: float
    bic: float


def criteria(fit: Fitted) -> Criteria:
    r"""Information criteria; smaller is better, among models of the same data.

    .. math::
        \mathrm{AIC} = 2k - 2\ell, \qquad \mathrm{AICc} = \mathrm{AIC} + \frac{2k(k+1)}{n-k-1}, \qquad
        \mathrm{BIC} = k\log n - 2\ell

    with :math:`n` the sum of the weights. NaN where the fit did not converge; AICc is ``inf`` for :math:`n \le k + 1`.
    Where the log-likelihood is one term for all data (a time series, a partial likelihood) there is no such :math:`n`:
    AICc and BIC are NaN.

    :math:`k` counts free coordinates: of a held or tied parameter none, of a probability vector K - 1, and of one with
    entries of 0 the rest less 1, as if the components without weight had been left out. Which those are was estimated
    too, which no such count knows.

    Raises:
        ValueError: the likelihood is not a density, or the prior is not flat, so that :math:`k` does not count what
            was estimated.

    References: Akaike (1974), IEEE TAC 19, 716; Hurvich and Tsai (1989), Biometrika 76, 297; Schwarz (1978), Ann.
    Statist. 6, 461.
    """
    posed, solution = fit.posed, fit.solution
    objective = posed.objective
    if not objective.likelihood.is_density:
        raise ValueError(
            "information criteria need the likelihood of a normalised density, but this is a pseudo-likelihood: its "
            "value has no scale that models share. Compare held-out losses instead."
        )
    entries = objective.prior.entries(solution.params)
    if entries is None or not all(isinstance(entry.distribution, Flat | Fixed | Tied) for entry in entries):
        raise ValueError(
            "AIC, AICc and BIC are defined at the maximum likelihood, but the prior is not flat, so that the "
            "number of parameters does not count what was estimated. Refit with prior=None; penalties are chosen by "
            "lg.cross_validate."
        )
    terms = objective.log_likelihood(solution.params, *posed.data)
    total = objective.likelihood.total(solution.params, *posed.data, weights=posed.weights)
    # One term for all data: there is no number of independent observations.
    size = float("nan") if jnp.ndim(terms) == 0 else jnp.size(terms)
    n = float(size if posed.weights is None or jnp.ndim(terms) == 0 else jnp.sum(posed.weights))
    k = sum(leaf.size for leaf in jax.eval_shape(posed.to_unconstrained, posed.template)) - _num_empty(posed, solution)
    converged = int(solution.status) == Status.CONVERGED
    value = float(total) if converged else float("nan")
    aic = 2.0 * k - 2.0 * value
    correction = 2.0 * k * (k + 1) / (n - k - 1) if n > k + 1 else float("nan" if n != n else "inf")
    return Criteria(value, k, n, aic, aic + correction, k * float(jnp.log(n)) - 2.0 * value)


def _num_empty(posed: Posed, solution: Solution) -> int:
    """Entries of probability vectors that are 0."""
    leaves = zip(posed.supports, jax.tree.leaves(solution.params), strict=True)
    return sum(int(jnp.sum(leaf == 0)) for support, leaf in leaves if isinstance(support, Simplex))
