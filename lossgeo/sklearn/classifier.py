"""Classification by maximum a posteriori estimation."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lossgeo import models
from lossgeo.distributions import Flat, Normal
from lossgeo.likelihoods import FunctionLikelihood, Likelihood
from lossgeo.likelihoods.declared import LossOfModel
from lossgeo.losses import MarginLoss
from lossgeo.objective import map_objective
from lossgeo.priors import prior as as_prior
from lossgeo.sklearn.estimator import MAPEstimator, as_likelihood
from lossgeo.sklearn.rows import FLOATS

__all__ = ["MAPClassifier"]


def _has_probabilities(estimator: "MAPClassifier") -> bool:
    """Whether scores mean probabilities: always but for margin losses that forget them (the hinge)."""
    check_is_fitted(estimator, "fit_")
    loss = _margin_loss(estimator.fit_.objective.likelihood)
    if loss is not None and not loss.proper_composite:
        raise AttributeError(
            f"predict_proba does not exist for {type(loss).__name__}, whose scores have no probabilities. Use a proper "
            "composite loss (logistic, squared hinge) or CalibratedClassifierCV."
        )
    return True


class MAPClassifier(ClassifierMixin, MAPEstimator):
    r"""Classification by maximum a posteriori estimation, for scikit-learn.

    Args:
        likelihood: ``lg.likelihood(model)``, or a model ``(params, X) -> distribution`` of class ids 0, …, K - 1 in the
            order of ``classes_``; for two classes also ``lg.pseudo_likelihood(losses.squared_hinge, scores)``.
            ``None`` is logistic regression for two classes and softmax regression for more: where the prior of
            ``coef`` or of ``intercept`` is flat, that of the first class is held at 0, so that the parameters are
            identified.
        prior: as in :func:`lossgeo.map_objective`; ``None`` is flat. Classes that a flat prior can separate have no
            maximum likelihood: the fit warns, and its status is ``SEPARATED``. By default, ``"normal"``: for the
            default likelihood a standard normal on ``coef``, as in ``LogisticRegression(C=1)``, flat for any other.
        init_params: start, needed where the model has no ``init``.
        solver: as in :func:`lossgeo.fit`.
        tol: as in :func:`lossgeo.fit`: bound on the certificate in nats.
        max_steps: as in :func:`lossgeo.fit`.
        throw: whether a fit that does not converge raises :class:`lossgeo.FitError`. By default it is a
            ``ConvergenceWarning`` that says why, and ``fit_.status`` tells.

    Attributes:
        fit_: the :class:`lossgeo.Fit`, with its certificate, ``summary()`` and inference.
        classes_: labels, shape ``(K,)``.
        coef_: coefficients, shape ``(1, d)`` for two classes and ``(K, d)`` for more (zeros for what is held), where
            the parameters have a ``coef`` of that form.
        intercept_: intercepts, shape ``(1,)`` or ``(K,)``; with ``coef_``.
        n_iter_: steps that were made.
        n_features_in_: number of features.

    Numerics:
        ``sample_weight`` are frequency weights. scikit-learn's own checks all pass in double precision. With a flat
        prior the one that compares weights with repetitions to 1e-7 draws labels that are separated: there is no
        maximum, and what is compared is where two runs toward infinity were stopped. In single precision 1e-7 is less
        than a rounding.
    """

    def __init__(
        self,
        likelihood: Any = None,
        prior: Any = "normal",
        *,
        init_params: Any = None,
        solver: Any = "auto",
        tol: float | None = None,
        max_steps: int | None = None,
        throw: bool = False,
    ):
        super().__init__(
            likelihood, prior, init_params=init_params, solver=solver, tol=tol, max_steps=max_steps, throw=throw
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MAPClassifier":
        """Fit.

        Args:
            X: features, shape ``(n, d)``.
            y: labels of any kind, shape ``(n,)``, of at least two classes.
            sample_weight: shape ``(n,)``, non-negative; multiplies the terms of the likelihood, never the prior.

        Returns:
            The estimator.

        Raises:
            ValueError: faulty data, fewer than two classes, a prior by another name than ``"normal"``.
            FitError: the fit did not converge and ``throw`` is true.
        """
        X, y = validate_data(self, X, y, dtype=FLOATS)
        check_classification_targets(y)
        self.classes_, ids = np.unique(y, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(
                f"MAPClassifier needs at least two classes to tell apart, but y has one class: {self.classes_[0]!r}."
            )
        prior = self._prior()
        model = self._default(X, prior) if self.likelihood is None else self.likelihood
        self._fit(map_objective(as_likelihood(model), prior), X, ids.astype(np.int32), sample_weight, None)
        self._read_coefficients(X.shape[1])
        return self

    def _prior(self) -> Any:
        if not isinstance(self.prior, str):
            return self.prior
        if self.prior != "normal":
            raise ValueError(
                f'prior must be "normal", None or what lossgeo.map_objective takes, but is {self.prior!r}.'
            )
        return {"coef": Normal(0.0, 1.0), "intercept": Flat()} if self.likelihood is None else None

    def _default(self, X: np.ndarray, prior: Any) -> Any:
        """Logistic or softmax regression, identified under the prior."""
        num_classes = self.classes_.size
        if num_classes == 2:
            return models.logistic_regression()
        full = models.softmax_regression(num_classes)
        entries = as_prior(prior).entries(full.init(X)) or []
        flat = {entry.name for entry in entries if isinstance(entry.distribution, Flat)}
        if "intercept" not in flat:
            return full
        return models.softmax_regression(num_classes, baseline=0, full_coef="coef" not in flat)

    def _read_coefficients(self, d: int) -> None:
        params = self.fit_.params
        if not isinstance(params, dict) or "coef" not in params:
            return
        coef, intercept = np.asarray(params["coef"]), np.asarray(params.get("intercept", 0.0))
        if self.classes_.size == 2 and coef.shape == (d,):
            self.coef_, self.intercept_ = coef[None, :], intercept.reshape(1)
        model = getattr(self.fit_.objective.likelihood, "model", None)
        if isinstance(model, models.SoftmaxRegression):
            held = model.baseline
            self.coef_ = np.array(coef.T if held is None or model.full_coef else np.insert(coef.T, held, 0.0, axis=0))
            self.intercept_ = np.array(intercept if held is None else np.insert(intercept, held, 0.0))

    def _target(self, y: Any) -> np.ndarray:
        ids = np.searchsorted(self.classes_, np.asarray(y))
        if np.any(self.classes_[np.minimum(ids, self.classes_.size - 1)] != np.asarray(y)):
            raise ValueError(f"y has labels that were not there in fit, which saw {self.classes_.tolist()}.")
        return ids.astype(np.int32)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds of the second class, shape ``(n,)``; log-probabilities, ``(n, K)``, for more than two.

        For a margin loss its score, whether or not that has a probability.
        """
        inputs = self._inputs(X)
        likelihood = self.fit_.objective.likelihood
        if _margin_loss(likelihood) is not None:
            return self._evaluate(_score, inputs)
        found = self._log_proba(inputs)
        return found[:, 1] - found[:, 0] if self.classes_.size == 2 else found

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, shape ``(n,)``."""
        decision = self.decision_function(X)
        return self.classes_[(decision > 0).astype(int) if decision.ndim == 1 else decision.argmax(axis=1)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, shape ``(n, K)``, columns as ``classes_``."""
        likelihood = self.fit_.objective.likelihood
        loss = _margin_loss(likelihood)
        if loss is None:
            found = np.exp(self._log_proba(self._inputs(X)))
            return found / found.sum(axis=1, keepdims=True)
        positive = np.asarray(loss.inverse_link(self._evaluate(_score, self._inputs(X))))
        return np.stack([1 - positive, positive], axis=1)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Log-probability of each class in nats, shape ``(n, K)``; accurate where the probability underflows."""
        if _margin_loss(self.fit_.objective.likelihood) is None:
            return self._log_proba(self._inputs(X))
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _log_proba(self, inputs: np.ndarray) -> np.ndarray:
        """Log-density of every class id.

        Raises:
            ValueError: the densities of the ids do not sum to 1: the model is none of these classes.
        """
        # In double precision from here, so that exp and log undo each other near probability 1.
        log_prob = self._evaluate(_class_log_prob, inputs, self.classes_.size).astype(float)
        total = np.exp(log_prob).sum(axis=1)
        if not np.all(np.abs(total - 1) < 1e-3):
            wrong = total[~(np.abs(total - 1) < 1e-3)][0]
            raise ValueError(
                f"the model gives the class ids 0, ..., {self.classes_.size - 1} a total probability of {wrong:.4g}, "
                "not 1. Its distribution must be one of class ids: Bernoulli for two classes, Categorical for more."
            )
        return log_prob


def _margin_loss(likelihood: Likelihood) -> MarginLoss | None:
    fn = likelihood.fn if isinstance(likelihood, FunctionLikelihood) else None
    return fn.loss if isinstance(fn, LossOfModel) and isinstance(fn.loss, MarginLoss) else None


@jax.jit
def _score(likelihood: FunctionLikelihood, params: Any, inputs: Any) -> jax.Array:
    return likelihood.fn.model(params, inputs)


@partial(jax.jit, static_argnames="num_classes")
def _class_log_prob(likelihood: Likelihood, params: Any, inputs: Any, num_classes: int) -> jax.Array:
    found = likelihood.distribution(params, inputs)
    if found is None:
        raise ValueError(
            "the likelihood is a function that knows no distribution of the class. Make it from a model that returns "
            "one: lg.likelihood(model)."
        )
    rows = jax.vmap(lambda k: found.log_prob(jnp.full(inputs.shape[:1], k)))(jnp.arange(num_classes))
    return rows.T
