"""The call of statsmodels that solves an objective."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from lossgeo.dictionary.linear_problem import LinearProblem, linear_problem
from lossgeo.dictionary.package_call import PackageCall
from lossgeo.objective import Objective

__all__ = ["to_statsmodels"]

NO_RIDGE_OF_GLM = (
    "GLM(Gaussian or Gamma).fit_regularized is another estimator: it minimises a likelihood with the dispersion "
    "estimated by a score that is not its gradient (it is short by (n - p)/n), so that no single strength gives its "
    "coefficients"
)


def to_statsmodels(objective: Objective, *data: Any, params: Any = None, weights: Any = None) -> PackageCall:
    r"""The call of statsmodels whose solution is the optimum of an objective.

    ``OLS`` and ``GLM`` penalise the *mean* loss, :math:`\alpha_j[\tfrac12(1 - L)w_j^2 + L|w_j|]` with ``L1_wt`` =
    :math:`L`; ``Logit`` and ``Poisson`` penalise its *sum*, :math:`\alpha_j|w_j|`. Both take a vector :math:`\alpha`,
    whose entry for the constant is 0 here, unless the intercept has a penalty of the same kind.

    Args:
        objective: from :func:`lossgeo.map_objective`; read and certified as in :func:`lossgeo.to_sklearn`.
        *data: features of shape ``(n, d)`` and the target.
        params: parameters around which the objective is read; ``fit.params`` where a noise scale is estimated.
        weights: frequency weights; fits without a penalty only.

    Returns:
        A :class:`lossgeo.dictionary.PackageCall`; ``run()`` runs it on the data (statsmodels is imported then).

    Raises:
        ValueError: statsmodels has no such fit; the message says which part it lacks.

    Numerics:
        The optimisers of penalised fits stop early: for ``GLM.fit_regularized`` some 1e-4 relative to the exact
        solution, for ``Logit.fit_regularized`` 1e-7, for ``OLS`` rounding.
    """
    problem = linear_problem(objective, data, params, weights, called="to_statsmodels")
    x, y = np.asarray(data[0], float), np.asarray(data[1], float)
    free = problem.coef.is_zero and (problem.intercept is None or problem.intercept.is_zero)
    if weights is not None and not (free and problem.family in ("normal", "bernoulli", "poisson", "gamma")):
        raise ValueError("statsmodels takes weights in fits of GLMs without a penalty only: repeat rows instead.")
    design = "sm.add_constant(x, has_constant='add')" if problem.intercept is not None else "x"
    model, fit, arguments, notes = (_free if free else _penalized)(problem, x.shape[1])
    text = f"sm.{model.replace('DESIGN', design)}"
    if weights is not None:
        text = text[:-1] + ", freq_weights=weights)"
    call = f"{text}.{fit}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    share = None if weights is None else np.asarray(weights, float)
    return PackageCall(
        "statsmodels", call, arguments, problem.notes + notes, _runner(problem, text, fit, arguments, x, y, share)
    )


def _free(problem: LinearProblem, d: int) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    """The fit without a penalty: constructor, method, arguments, notes."""
    if problem.family == "quantile":
        return "QuantReg(y, DESIGN)", "fit", {"q": problem.shape, "max_iter": 10_000, "p_tol": 1e-10}, (
            "reweighted least squares, which stops near a vertex and not on it",
        )  # fmt: skip
    if problem.family == "multinomial":
        return "MNLogit(y, DESIGN)", "fit", {"method": "newton", "maxiter": 200, "disp": 0}, (
            "log-odds against the first class, in the columns of the others",
        )  # fmt: skip
    families = {"normal": "Gaussian()", "bernoulli": "Binomial()", "poisson": "Poisson()",
                "gamma": "Gamma(link=sm.families.links.Log())"}  # fmt: skip
    if problem.family == "normal" and not problem.weighted:
        return "OLS(y, DESIGN)", "fit", {}, ()
    if problem.family in families:
        return f"GLM(y, DESIGN, family=sm.families.{families[problem.family]})", "fit", {"tol": 1e-12}, ()
    if problem.family == "tweedie":
        family = f"sm.families.Tweedie(var_power={problem.shape!r}, link=sm.families.links.Log())"
        return f"GLM(y, DESIGN, family={family})", "fit", {"tol": 1e-12}, ()
    if problem.family == "huber":
        raise ValueError(
            "statsmodels has RLM for Huber's loss, which estimates the scale by the median absolute deviation and not "
            "jointly: another estimator."
        )
    raise ValueError(f"statsmodels has no model with the {problem.family} loss.")


def _penalized(problem: LinearProblem, d: int) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    """The fit with a penalty: constructor, method, arguments, notes."""
    l1, l2 = _vector(problem, "l1", d), _vector(problem, "l2", d)
    n, total = problem.n, l1 + l2
    share = (l1 / np.where(total > 0, total, 1.0))[total > 0]
    notes: tuple[str, ...] = ()
    names = {"bernoulli": ("Logit", "Binomial"), "poisson": ("Poisson", "Poisson")}
    if problem.family in names and not np.any(l2):
        arguments = {"method": "l1", "alpha": l1.tolist(), "acc": 1e-14, "maxiter": 10_000, "trim_mode": "off",
                     "disp": 0}  # fmt: skip
        return f"{names[problem.family][0]}(y, DESIGN)", "fit_regularized", arguments, (
            "the sum of the losses is penalised, not their mean",
        )  # fmt: skip
    if np.ptp(share) > 1e-12:
        raise ValueError(
            "statsmodels has one L1_wt for all coefficients, but the share of the L1 part differs between them: "
            f"{share.min():.3g} to {share.max():.3g}."
        )
    if problem.family == "normal":
        model, notes = "OLS(y, DESIGN)", (NO_RIDGE_OF_GLM,)
    elif problem.family in names:
        model = f"GLM(y, DESIGN, family=sm.families.{names[problem.family][1]}())"
        notes = ("its coordinate descent stops some 1e-4 short of the optimum",)
    elif problem.family == "gamma":
        raise ValueError(f"{NO_RIDGE_OF_GLM}: no posterior mode.")
    elif problem.family == "multinomial":
        raise ValueError(
            "statsmodels penalises the log-odds against its first class (MNLogit), so that its solution depends on "
            "which class comes first: another estimator."
        )
    else:
        raise ValueError(f"statsmodels has no penalised model with the {problem.family} loss.")
    arguments = {"method": "elastic_net", "alpha": (total / n).tolist(), "L1_wt": float(share[0])}
    if share[0] > 0 or problem.family != "normal":
        arguments |= {"cnvrg_tol": 1e-14, "zero_tol": 1e-14, "maxiter": 10_000}
    return model, "fit_regularized", arguments, notes


def _vector(problem: LinearProblem, kind: str, d: int) -> np.ndarray:
    """Strengths for the columns of the design, the constant first."""
    own = np.asarray(getattr(problem.coef, kind), float)
    found = np.broadcast_to(own if own.ndim < 2 else np.nan, (d,))
    if problem.intercept is None:
        return found
    return np.concatenate([[float(getattr(problem.intercept, kind))], found])


def _runner(
    problem: LinearProblem, text: str, fit: str, arguments: dict[str, Any], x: np.ndarray, y: np.ndarray, weights: Any
) -> Callable[[], dict[str, Any]]:
    """Runs the call on the data."""

    def run() -> dict[str, Any]:
        sm = importlib.import_module("statsmodels.api")
        design = np.column_stack([np.ones(len(y)), x]) if problem.intercept is not None else x
        name = text.removeprefix("sm.").partition("(")[0]
        options: dict[str, Any] = {} if weights is None else {"freq_weights": weights}
        if name == "GLM":
            options["family"] = _family_of(sm, problem)
        chosen = {k: np.asarray(v) if k == "alpha" else v for k, v in arguments.items()}
        found = np.asarray(getattr(getattr(sm, name)(y, design, **options), fit)(**chosen).params)
        if problem.intercept is None:
            return {"coef": found}
        return {"coef": found[1:], "intercept": found[0]}

    return run


def _family_of(sm: Any, problem: LinearProblem) -> Any:
    families = sm.families
    log = families.links.Log()
    return {
        "normal": families.Gaussian, "bernoulli": families.Binomial, "poisson": families.Poisson,
        "gamma": lambda: families.Gamma(link=log),
        "tweedie": lambda: families.Tweedie(var_power=problem.shape, link=log),
    }[problem.family]()  # fmt: skip
