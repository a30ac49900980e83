"""What the regressor and the classifier share."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from lossgeo.fitting import FitError
from lossgeo.likelihoods import Likelihood, likelihood
from lossgeo.objective import Objective
from lossgeo.sklearn.rows import FLOATS, fit_rows, is_rowwise, pad, padded_size, to_default_float
from lossgeo.solvers import Status

__all__ = ["MAPEstimator", "as_likelihood"]


class MAPEstimator(BaseEstimator):
    """What regressors and classifiers share: conversion, the fit, and what is read off it."""

    def __init__(
        self,
        likelihood: Any = None,
        prior: Any = None,
        *,
        init_params: Any = None,
        solver: Any = "auto",
        tol: float | None = None,
        max_steps: int | None = None,
        throw: bool = False,
    ):
        self.likelihood = likelihood
        self.prior = prior
        self.init_params = init_params
        self.solver = solver
        self.tol = tol
        self.max_steps = max_steps
        self.throw = throw

    def _fit(
        self, objective: Objective, X: np.ndarray, target: Any, sample_weight: Any, start: Callable[..., Any] | None
    ) -> None:
        """Fit; ``start(X, target, weights)`` gives start values where the model's are not the best."""
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X)
            if np.any(weights < 0):
                raise ValueError(f"sample_weight must not be negative, but its least value is {weights.min():g}.")
            if not np.any(weights):
                raise ValueError("sample_weight must not be all zero: no observation is left to fit.")
            weights = to_default_float(weights, "sample_weight")
        init = start(X, target, weights) if self.init_params is None and start is not None else self.init_params
        options = {"solver": self.solver, "tol": self.tol, "max_steps": self.max_steps}
        found = fit_rows(objective, init, to_default_float(X, "X"), target, weights, options)
        if found.status != Status.CONVERGED and self.throw:
            raise FitError(found)
        if found.status != Status.CONVERGED:
            warnings.warn(f"{found.status.name}: {found.message}", ConvergenceWarning, stacklevel=3)
        self.fit_ = found
        self.n_iter_ = max(found.num_steps, 1)

    def _inputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "fit_")
        return to_default_float(validate_data(self, X, reset=False, dtype=FLOATS), "X")

    def _evaluate(self, fn: Callable[..., Any], inputs: np.ndarray, *rest: Any) -> np.ndarray:
        """A compiled function ``(likelihood, params, inputs)`` of rows, in few sizes where rows do not interact."""
        n, objective = inputs.shape[0], self.fit_.objective
        padded = is_rowwise(objective)
        found = np.asarray(
            fn(objective.likelihood, self.fit_.params, pad(inputs, padded_size(n)) if padded else inputs, *rest)
        )
        return found[:n] if padded else found

    def predict_distribution(self, X: Any) -> Any:
        """Distribution of the target at features ``X`` of shape ``(n, d)``, given the estimates.

        Raises:
            ValueError: only the log-density of the likelihood is known, or it is no density.
        """
        inputs = self._inputs(X)
        found = self.fit_.objective.likelihood.distribution(self.fit_.params, inputs)
        if found is None:
            raise ValueError(
                "the likelihood is a function that knows no distribution of its target. Make it from a model that "
                "returns one: lg.likelihood(model)."
            )
        return found

    def log_likelihood(self, X: Any, y: Any) -> np.ndarray:
        """Log-density of each observation in nats, shape ``(n,)``: its mean on held-out data is the log score."""
        inputs = self._inputs(X)
        return np.asarray(self.fit_.objective.log_likelihood(self.fit_.params, inputs, self._target(y)))

    def _target(self, y: Any) -> Any:
        raise NotImplementedError


def as_likelihood(declared: Any) -> Likelihood:
    """The likelihood of a model, or a likelihood as it is."""
    return declared if isinstance(declared, Likelihood) else likelihood(declared)
