r"""The call of R's glmnet that solves an objective.

glmnet minimises, with weights scaled to sum to 1 and ``standardize = FALSE``,

.. math:: \frac1n\sum_i\ell_i + \lambda\sum_j f_j\Bigl[\alpha|w_j| + \frac{1 - \alpha}{2}\,c\,w_j^2\Bigr]

with :math:`c = 1`, but for the Gaussian family :math:`c = 1/\mathrm{sd}(y)` (dividing by n): its Fortran scales the
target to unit variance, fits, and scales back, which leaves the L1 part as it was and divides the ridge part.
"""

from typing import Any

import numpy as np

from lossgeo.dictionary.linear_problem import linear_problem
from lossgeo.dictionary.package_call import PackageCall
from lossgeo.objective import Objective

__all__ = ["to_glmnet"]

FAMILIES = {"normal": '"gaussian"', "bernoulli": '"binomial"', "multinomial": '"multinomial"',
            "poisson": '"poisson"', "gamma": 'Gamma(link = "log")'}  # fmt: skip


def to_glmnet(objective: Objective, *data: Any, params: Any = None, weights: Any = None) -> PackageCall:
    r"""The call of glmnet whose solution is the optimum of an objective.

    With :math:`\lambda_1, \lambda_2` of the negative log posterior in units of the loss (for normal noise of variance
    :math:`s^2`: :math:`s^2/b` and :math:`s^2/\tau^2`) the call has :math:`\lambda = (\lambda_1 + \lambda_2 k)/n` and
    :math:`\alpha = \lambda_1/(\lambda_1 + \lambda_2 k)`, where :math:`k = \mathrm{sd}(y)` for the Gaussian family and 1
    for others. Priors that differ between coefficients become penalty factors.

    Args:
        objective: from :func:`lossgeo.map_objective`; read and certified as in :func:`lossgeo.to_sklearn`.
        *data: features of shape ``(n, d)`` and the target.
        params: parameters around which the objective is read; ``fit.params`` where a noise scale is estimated.
        weights: what will be passed as ``weights``.

    Returns:
        A :class:`lossgeo.dictionary.PackageCall`, without ``run``.

    Raises:
        ValueError: glmnet has no such problem; the message says which part it lacks.

    References: Friedman, Hastie, Tibshirani (2010), J. Stat. Software 33(1), eqs 1 and 9; the scaling of the target is
    in the routine ``standard`` of its Fortran source.
    """
    problem = linear_problem(objective, data, params, weights, called="to_glmnet")
    if problem.family not in FAMILIES:
        raise ValueError(f"glmnet has no {problem.family} loss; it has {', '.join(FAMILIES)}.")
    if problem.intercept is not None and not problem.intercept.is_zero:
        raise ValueError("glmnet does not penalise its intercept, but the prior of the intercept is not Flat.")
    d = np.shape(data[0])[1]
    k = problem.sd_y if problem.family == "normal" else 1.0
    if problem.family == "normal" and not k > 0:
        raise ValueError("glmnet divides a Gaussian target by its standard deviation, which is 0 here.")
    l1, l2 = (_by_feature(np.asarray(part, float), d) for part in (problem.coef.l1, k * np.asarray(problem.coef.l2)))
    total = l1 + l2
    arguments: dict[str, Any] = {"family": FAMILIES[problem.family], "alpha": 1.0, "lambda": 0.0}
    notes = list(problem.notes)
    if np.any(total):
        shares = (l1 / np.where(total > 0, total, 1.0))[total > 0]
        if np.ptp(shares) > 1e-12:
            raise ValueError(
                "glmnet has one alpha for all coefficients, but the share of the L1 part differs between them: "
                f"{shares.min():.3g} to {shares.max():.3g}."
            )
        arguments |= {"alpha": float(shares[0]), "lambda": float(np.mean(total) / problem.n)}
    else:
        notes.append("without a penalty glmnet is slow and inexact: glm() or lm() has this solution")
    arguments |= {"standardize": False, "intercept": problem.intercept is not None, "thresh": 1e-14}
    if np.ptp(total) > 0:
        arguments["penalty.factor"] = (total / np.mean(total)).tolist()
    if problem.weighted:
        arguments["weights"] = "weights"
    if problem.family == "normal" and np.any(l2):
        notes.append(f"the ridge part is multiplied by sd(y) = {problem.sd_y:.10g}, which glmnet divides it by")
    if problem.family == "multinomial":
        notes.append("coefficients of all classes, as here; only differences of its intercepts mean something")
    if problem.family == "gamma":
        notes.append("a family object: needs glmnet 4.0 or later")
    text = ", ".join(f"{name} = {_r(name, value)}" for name, value in arguments.items())
    return PackageCall("glmnet", f"glmnet(x, y, {text})", arguments, tuple(notes))


def _by_feature(part: np.ndarray, d: int) -> np.ndarray:
    """Strengths of features, shape ``(d,)``.

    Raises:
        ValueError: they differ between the classes of one feature.
    """
    if part.ndim == 2 and np.any(np.ptp(part, axis=1) > 0):
        raise ValueError("glmnet has one penalty factor for each feature, but the prior differs between classes.")
    return np.broadcast_to(part[:, 0] if part.ndim == 2 else part, (d,))


def _r(name: str, value: Any) -> str:
    """A value as R writes it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, list):
        return f"c({', '.join(repr(v) for v in value)})"
    return value if isinstance(value, str) else repr(value)
