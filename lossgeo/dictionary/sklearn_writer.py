"""The estimator of scikit-learn that solves an objective."""

import importlib
import math
from typing import Any

import numpy as np

from lossgeo.dictionary.linear_problem import LinearProblem, Penalty, linear_problem
from lossgeo.objective import Objective

__all__ = ["to_sklearn"]

EXACT = 64 * np.finfo(float).eps


def to_sklearn(objective: Objective, *data: Any, params: Any = None, weights: Any = None) -> Any:
    r"""The unfitted scikit-learn estimator whose solution is the optimum of an objective.

    The inverse of :func:`lossgeo.from_sklearn`. The objective is read and what was read is certified by its values, as
    in :func:`lossgeo.explain`; plain functions that return distributions are read like declared models.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        *data: features of shape ``(n, d)`` and the target: strengths per observation need ``n``.
        params: parameters around which the objective is read, needed where the model has no start values; a noise
            scale that is estimated is held at its value there, so pass ``fit.params``.
        weights: what will be passed as ``sample_weight``.

    Returns:
        An estimator with the default options of its solver, whose tolerance is yours to set.

    Raises:
        ValueError: scikit-learn has no such estimator; the message says which part it lacks.
        ModuleNotFoundError: scikit-learn is not installed.

    Example:
        >>> to_sklearn(lg.map_objective(lg.likelihood(models.logistic_regression()), prior), x, y)
        LogisticRegression(C=0.5)
    """
    problem = linear_problem(objective, data, params, weights, called="to_sklearn")
    l1, l2 = problem.uniform("scikit-learn")
    options: dict[str, Any] = {"fit_intercept": problem.intercept is not None}
    if problem.family in ("hinge", "squared hinge"):
        return _support_vectors(problem, l1, l2, options)
    if problem.family == "bernoulli" and not _is_free(problem):
        options |= {"solver": "liblinear", "intercept_scaling": _scaling(problem, l1, l2, "LogisticRegression")}
    elif not _is_free(problem):
        raise ValueError(
            "the intercept has a penalty, which of scikit-learn's estimators only LinearSVC and "
            "LogisticRegression(solver='liblinear') have. Make its prior Flat."
        )
    return _smooth_losses(problem, l1, l2, options)


def _smooth_losses(problem: LinearProblem, l1: float, l2: float, options: dict[str, Any]) -> Any:
    n, family = problem.n, problem.family
    if family == "normal" and not l1:
        return _make("Ridge", alpha=l2, **options) if l2 else _make("LinearRegression", **options)
    if family == "normal" and not l2:
        return _make("Lasso", alpha=l1 / n, **options)
    if family == "normal":
        return _make("ElasticNet", alpha=(l1 + l2) / n, l1_ratio=l1 / (l1 + l2), **options)
    if family in ("bernoulli", "multinomial"):
        kind = {(True, True): "elasticnet", (True, False): "l1", (False, True): "l2", (False, False): None}
        options |= _penalty_option(kind[bool(l1), bool(l2)])
        if not l1 + l2:
            return _make("LogisticRegression", C=math.inf, **options)
        if l1 and "solver" not in options:
            options["solver"] = "saga"
        if l1 and l2 and options["solver"] == "liblinear":
            raise ValueError("LogisticRegression has an elastic net with a free intercept only. Make its prior Flat.")
        return _make("LogisticRegression", C=1 / (l1 + l2), l1_ratio=l1 / (l1 + l2), **options)
    if family == "quantile" and not l2:
        return _make("QuantileRegressor", alpha=l1 / n, quantile=problem.shape, **options)
    if family == "huber" and not l1:
        return _make("HuberRegressor", alpha=l2 / 2, epsilon=problem.shape, **options)
    if family == "square" and not l1:
        return _make("RidgeClassifier", alpha=l2 / 2, **options)
    if family in ("poisson", "gamma") and not l1:
        return _make({"poisson": "PoissonRegressor", "gamma": "GammaRegressor"}[family], alpha=l2 / n, **options)
    if family == "tweedie" and not l1:
        return _make("TweedieRegressor", alpha=l2 / n, power=problem.shape, link="log", **options)
    raise _lacking(family, l1, l2)


def _support_vectors(problem: LinearProblem, l1: float, l2: float, options: dict[str, Any]) -> Any:
    family = problem.family
    if family == "hinge" and problem.intercept is not None and _is_free(problem) and l2 and not l1:
        return _make("SVC", "sklearn.svm", kernel="linear", C=1 / l2)
    if _is_free(problem) and problem.intercept is not None:
        raise ValueError(
            f"LinearSVC penalises its intercept, but the prior of {problem.names[1]!r} is flat. With the hinge and a "
            "Normal prior SVC(kernel='linear') does not; with this loss and prior no estimator does. Give the "
            "intercept the prior of the coefficients."
        )
    if problem.intercept is not None:
        options["intercept_scaling"] = _scaling(problem, l1, l2, "LinearSVC")
    loss = family.replace(" ", "_")
    if l2 and not l1:
        return _make("LinearSVC", "sklearn.svm", C=1 / l2, loss=loss, **options)
    if l1 and not l2 and family == "squared hinge":
        return _make("LinearSVC", "sklearn.svm", C=1 / l1, penalty="l1", dual=False, loss=loss, **options)
    raise _lacking(family, l1, l2)


def _lacking(family: str, l1: float, l2: float) -> ValueError:
    kind = {(True, True): "an elastic net", (True, False): "an L1", (False, True): "an L2", (False, False): "no"}
    return ValueError(
        f"scikit-learn has no linear estimator with the {family} loss and {kind[bool(l1), bool(l2)]} penalty."
    )


def _is_free(problem: LinearProblem) -> bool:
    """Whether the intercept, if there is one, has no penalty."""
    return problem.intercept is None or problem.intercept.is_zero


def _scaling(problem: LinearProblem, l1: float, l2: float, name: str) -> float:
    r"""``intercept_scaling`` :math:`s`: the penalty of the intercept is that of a coefficient :math:`b/s`."""
    own: Penalty = problem.intercept if problem.intercept is not None else Penalty()
    own_l1, own_l2 = float(own.l1), float(own.l2)
    if (own_l1 > 0) != (l1 > 0) or (own_l2 > 0) != (l2 > 0) or (l1 and l2):
        raise ValueError(
            f"{name} penalises its intercept as it does its coefficients, by L1 or by L2; here the two have penalties "
            "of different kinds."
        )
    scaling = l1 / own_l1 if l1 else math.sqrt(l2 / own_l2)
    return round(scaling) if abs(scaling - round(scaling)) <= EXACT * scaling else scaling


def _penalty_option(kind: str | None) -> dict[str, Any]:
    """What versions before 1.8 want to be told besides ``C`` and ``l1_ratio``."""
    default = _make("LogisticRegression").get_params()["penalty"]
    return {} if default == "deprecated" else {"penalty": kind}


def _make(name: str, module: str = "sklearn.linear_model", **options: Any) -> Any:
    return getattr(importlib.import_module(module), name)(**options)
