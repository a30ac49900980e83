"""Regression by maximum a posteriori estimation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from lossgeo import models
from lossgeo.likelihoods import FunctionLikelihood, Likelihood, ModelLikelihood
from lossgeo.likelihoods.declared import LossOfModel
from lossgeo.models.predictor import linear_predictor
from lossgeo.objective import map_objective
from lossgeo.sklearn.estimator import MAPEstimator, as_likelihood
from lossgeo.sklearn.rows import FLOATS, to_default_float

__all__ = ["MAPRegressor"]


class MAPRegressor(RegressorMixin, MAPEstimator):
    r"""Regression by maximum a posteriori estimation, for scikit-learn.

    .. math:: \hat\theta = \arg\max_\theta \sum_i w_i \log p(y_i \mid x_i, \theta) + \log\pi(\theta)

    Args:
        likelihood: ``lg.likelihood(model)``, or a model ``(params, X) -> distribution`` such as ``models.glm(...)`` or
            a plain function; a pseudo-likelihood. ``None`` is ``models.linear_regression()``.
        prior: as in :func:`lossgeo.map_objective`; ``None`` is flat.
        init_params: start, needed where the model has no ``init``.
        predicts: what ``predict`` returns of the distribution of the target: ``"mean"``, ``"median"``, a level in
            (0, 1) for that quantile, or a function ``distribution -> (n,)``.
        solver: as in :func:`lossgeo.fit`.
        tol: as in :func:`lossgeo.fit`: bound on the certificate in nats.
        max_steps: as in :func:`lossgeo.fit`.
        throw: whether a fit that does not converge raises :class:`lossgeo.FitError`. By default it is a
            ``ConvergenceWarning`` that says why, and ``fit_.status`` tells.

    Attributes:
        fit_: the :class:`lossgeo.Fit`, with its certificate, ``summary()`` and inference.
        coef_: coefficients, shape ``(d,)``, where the parameters have a ``coef`` of that shape.
        intercept_: the intercept, 0.0 if the model has none; with ``coef_``.
        n_iter_: steps that were made.
        n_features_in_: number of features.

    Numerics:
        ``sample_weight`` are frequency weights: weight 2 is the same as the row twice. A column whose rounding to
        float32 is visible in its spread is warned about.

    Example:
        >>> MAPRegressor(models.poisson_regression(), {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()})
    """

    def __init__(
        self,
        likelihood: Any = None,
        prior: Any = None,
        *,
        init_params: Any = None,
        predicts: str | float | Callable[[Any], Any] = "mean",
        solver: Any = "auto",
        tol: float | None = None,
        max_steps: int | None = None,
        throw: bool = False,
    ):
        super().__init__(
            likelihood,
            prior,
            init_params=init_params,
            solver=solver,
            tol=tol,
            max_steps=max_steps,
            throw=throw,
        )
        self.predicts = predicts

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MAPRegressor":
        """Fit.

        Args:
            X: features, shape ``(n, d)``.
            y: targets, shape ``(n,)``, inside the support of the distribution.
            sample_weight: shape ``(n,)``, non-negative; multiplies the terms of the likelihood, never the prior.

        Returns:
            The estimator.

        Raises:
            ValueError: faulty data; the message names what.
            FitError: the fit did not converge and ``throw`` is true.
        """
        X, y = validate_data(self, X, y, dtype=FLOATS, y_numeric=True)
        model = models.linear_regression() if self.likelihood is None else self.likelihood
        start = _least_squares if self.likelihood is None and self.prior is None else None
        self._fit(map_objective(as_likelihood(model), self.prior), X, self._target(y), sample_weight, start)
        params = self.fit_.params
        if isinstance(params, dict) and np.shape(params.get("coef", 0.0)) == (X.shape[1],):
            self.coef_ = np.asarray(params["coef"])
            self.intercept_ = float(params.get("intercept", 0.0))
        return self

    def _target(self, y: Any) -> np.ndarray:
        return to_default_float(np.asarray(y), "y")

    def predict(self, X: Any) -> np.ndarray:
        """What ``predicts`` says of the distribution at each row, shape ``(n,)``.

        A pseudo-likelihood has no distribution: its prediction is that of its model.

        Raises:
            ValueError: the distribution does not have it (a Cauchy distribution has no mean), or there is neither
                distribution nor prediction.
        """
        inputs = self._inputs(X)
        found = self._evaluate(_predict, inputs, _key(self.predicts))
        if found.shape != inputs.shape[:1]:
            raise ValueError(f"the prediction must have shape {inputs.shape[:1]}, one a row, but has {found.shape}.")
        if not np.all(np.isfinite(found)):
            raise ValueError(
                f"{int(np.sum(~np.isfinite(found)))} of {found.size} predictions are not finite: the distribution has "
                f"no {self.predicts} there. predicts='median' always exists."
            )
        return found


def _key(predicts: Any) -> Any:
    """What a distribution is asked for, checked."""
    if callable(predicts) or predicts == "mean":
        return predicts
    level = 0.5 if predicts == "median" else predicts
    if isinstance(level, int | float) and 0 < level < 1:
        return float(level)
    raise ValueError(
        f'predicts must be "mean", "median", a level in (0, 1) or a function of the distribution, but is {predicts!r}.'
    )


@partial(jax.jit, static_argnames="predicts")
def _predict(likelihood: Likelihood, params: Any, inputs: Any, predicts: Any) -> jax.Array:
    if isinstance(likelihood, FunctionLikelihood):
        fn = likelihood.fn
        if isinstance(fn, LossOfModel):
            return fn.model(params, inputs)
        if isinstance(fn, models.QuasiGLM):
            return fn.link.inverse(linear_predictor(params, inputs, fn.intercept))
    if not isinstance(likelihood, ModelLikelihood):
        raise ValueError(
            "the likelihood is a function of log-densities, which predicts nothing. Make it from a model that returns "
            "a distribution, lg.likelihood(model), or a loss with its model, lg.pseudo_likelihood(loss, model)."
        )
    found = likelihood.distribution(params, inputs)
    if callable(predicts):
        return predicts(found)
    if predicts == "mean":
        return found.mean() if callable(found.mean) else found.mean
    return found.icdf(jnp.asarray(predicts, inputs.dtype))


def _least_squares(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """The start that is the answer of a normal regression; of several the one of least norm, as in scikit-learn."""
    weights = np.ones(y.shape) if weights is None else weights
    root, total = np.sqrt(weights), np.sum(weights)
    x_mean, y_mean = weights @ x / total, weights @ y / total
    coef = np.linalg.lstsq(root[:, None] * (x - x_mean), root * (y - y_mean))[0]
    residual = y - y_mean - (x - x_mean) @ coef
    tiny = np.finfo(np.float32).tiny + np.finfo(y.dtype).eps * np.max(np.abs(y))
    scale = np.maximum(np.sqrt(weights @ np.square(residual) / total), tiny)
    start = {"coef": coef, "intercept": y_mean - x_mean @ coef, "scale": scale}
    return {name: np.asarray(value, y.dtype) for name, value in start.items()}
