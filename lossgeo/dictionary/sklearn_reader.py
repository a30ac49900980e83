r"""The objective that an estimator of scikit-learn minimises, as a likelihood and a prior.

Found by the name of the class, without importing scikit-learn. Its losses are means or sums, halved or not, its
intercept is free in some estimators and penalised in others; every entry below states the problem that the
documentation *and the code* solve.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lossgeo import links, losses, supports
from lossgeo.dictionary.sklearn_models import ConcomitantHuber, LinearQuantile, LinearScore
from lossgeo.distributions import Bernoulli, Distribution, ElasticNet, Flat, Gamma, Laplace, Normal, Poisson
from lossgeo.likelihoods import likelihood, pseudo_likelihood
from lossgeo.models import SoftmaxRegression, glm, softmax_regression, tweedie
from lossgeo.objective import Objective, map_objective

__all__ = ["from_sklearn", "sklearn_params"]

NO_OBJECTIVE = {
    "SGDRegressor": "it stops after a number of passes, wherever its step sizes have led",
    "SGDClassifier": "it stops after a number of passes, wherever its step sizes have led",
    "MLPRegressor": "its optimiser stops early, and with hidden layers its optimum is not unique",
    "MLPClassifier": "its optimiser stops early, and with hidden layers its optimum is not unique",
    "Perceptron": "it stops at the first separating plane that it meets",
    "PassiveAggressiveClassifier": "it is a sequence of updates, without a function that they minimise",
    "TheilSenRegressor": "it is a median of fits to subsets",
    "RANSACRegressor": "it is a fit to a random subset",
    "ARDRegression": "it drops coefficients beyond a threshold on the way",
    "Lars": "it stops after a number of features",
    "OrthogonalMatchingPursuit": "it stops after a number of features",
    "RidgeCV": "it searches its strength: pass Ridge(alpha=estimator.alpha_)",
    "LassoCV": "it searches its strength: pass Lasso(alpha=estimator.alpha_)",
    "ElasticNetCV": "it searches its strength: pass ElasticNet(alpha=estimator.alpha_, l1_ratio=estimator.l1_ratio_)",
    "LogisticRegressionCV": "it searches its strength: pass LogisticRegression(C=estimator.C_[0])",
}


def from_sklearn(estimator: Any, x: Any, y: Any, *, weights: Any = None) -> Objective:
    r"""The objective whose optimum is the solution of a scikit-learn estimator.

    ==========================  ====================================================================================
    estimator                   likelihood; prior of ``coef``; intercept
    ==========================  ====================================================================================
    ``LinearRegression``        Normal; flat; free
    ``Ridge``                   Normal of variance 1; Normal of variance ``1/alpha``; free
    ``Lasso``, ``ElasticNet``   Normal of variance 1; ElasticNet of ``n alpha l1_ratio``, ``n alpha (1 - l1_ratio)``
    ``BayesianRidge``, fitted   Normal of variance ``1/alpha_``; Normal of variance ``1/lambda_``; free
    ``LogisticRegression``      Bernoulli or Categorical; ElasticNet of ``l1_ratio/C``, ``(1 - l1_ratio)/C``; free, but
                                with ``solver="liblinear"`` penalised like a coefficient over ``intercept_scaling``
    ``PoissonRegressor``        Poisson; Normal of variance ``1/(n alpha)``; free
    ``GammaRegressor``          Gamma of dispersion 1, log link; the same
    ``TweedieRegressor``        quasi-likelihood of dispersion 1, log link; the same
    ``QuantileRegressor``       AsymmetricLaplace of scale 1; Laplace of scale ``1/(n alpha)``; free
    ``HuberRegressor``          a pseudo-likelihood that estimates its ``scale`` too; Normal of variance ``1/(2 alpha)``
    ``LinearSVC``               hinge or squared hinge; Normal of variance ``C`` (Laplace of scale ``C``); the intercept
                                is penalised like a coefficient over ``intercept_scaling``
    ``SVC(kernel="linear")``    hinge; Normal of variance ``C``; free
    ``RidgeClassifier``         square margin loss; Normal of variance ``1/(2 alpha)``; free
    ==========================  ====================================================================================

    A noise variance of 1 is a choice: the solution knows only its ratio to the variance of the prior.

    Args:
        estimator: an estimator of scikit-learn, fitted or not.
        x: features, shape ``(n, d)``.
        y: target, shape ``(n,)``; class ids 0, …, K - 1 for classifiers.
        weights: the ``sample_weight`` of its fit, which is passed to :func:`lossgeo.fit` too. Estimators of a mean
            loss have strengths that scale with the sum of the weights.

    Returns:
        An :class:`lossgeo.Objective` that knows its start values: ``lg.fit(objective, None, x, y, weights=weights)``.

    Raises:
        ValueError: an estimator that minimises no such function (the message says why), an option that has no prior
            here (``positive``, ``class_weight``), another coding of labels.

    Example:
        >>> objective = from_sklearn(Ridge(alpha=2.0), x, y)
        >>> lg.Fit.from_params(objective, sklearn_params(Ridge(alpha=2.0).fit(x, y)), x, y).summary()
    """
    name = type(estimator).__name__
    known = type(estimator).__module__.partition(".")[0] == "sklearn"
    if not known or name not in BUILDERS:
        reason = NO_OBJECTIVE.get(name) if known else None
        tail = f" is no posterior mode: {reason}." if reason else " is none of them."
        raise ValueError(f"from_sklearn knows {', '.join(BUILDERS)}; {name}{tail}")
    options = estimator.get_params()
    if options.get("positive"):
        raise ValueError(
            f"{name}(positive=True) holds coefficients at the edge of a support, where no prior here does."
        )
    if options.get("class_weight") is not None:
        raise ValueError(
            f"{name}(class_weight=...) weighs rows: multiply it into weights and leave it out of the estimator "
            "(sklearn.utils.class_weight.compute_sample_weight)."
        )
    if np.ndim(x) != 2 or np.ndim(y) != 1 or np.shape(x)[0] != np.shape(y)[0]:
        raise ValueError(f"x and y must have shapes (n, d) and (n,), but have {np.shape(x)} and {np.shape(y)}.")
    if weights is not None and np.shape(weights) != np.shape(y):
        raise ValueError(f"weights must have shape {np.shape(y)}, one for each row, but have {np.shape(weights)}.")
    n = float(np.shape(y)[0] if weights is None else np.sum(np.asarray(weights)))
    return BUILDERS[name](estimator, options, n, y)


def sklearn_params(estimator: Any, objective: Objective | None = None) -> dict[str, jnp.ndarray]:
    """The estimates of a fitted estimator as parameters of its objective, for :meth:`lossgeo.Fit.from_params`.

    Args:
        estimator: fitted, one that :func:`from_sklearn` knows.
        objective: what :func:`from_sklearn` made of it; needed for more than two classes, where the intercept of the
            first class is held at 0.

    Raises:
        ValueError: it is not fitted, or ``objective`` is missing.
    """
    if not hasattr(estimator, "coef_"):
        raise ValueError(f"{type(estimator).__name__} has no coef_: fit it first.")
    coef, intercept = np.asarray(estimator.coef_, float), np.asarray(estimator.intercept_, float)
    if coef.ndim == 2 and coef.shape[0] > 1:
        model = None if objective is None else getattr(objective.likelihood, "model", None)
        if not isinstance(model, SoftmaxRegression):
            raise ValueError("for more than two classes sklearn_params needs the objective from from_sklearn.")
        intercept = np.broadcast_to(intercept, coef.shape[:1])
        columns = coef.T if model.full_coef else (coef - coef[:1])[1:].T
        params = {"coef": jnp.asarray(columns, float)}
        return params | ({"intercept": jnp.asarray((intercept - intercept[0])[1:], float)} if model.intercept else {})
    params = {"coef": jnp.asarray(coef.reshape(-1), float)}
    if getattr(estimator, "fit_intercept", True):
        params["intercept"] = jnp.asarray(intercept.reshape(-1)[0], float)
    if hasattr(estimator, "scale_"):
        params["scale"] = jnp.asarray(estimator.scale_, float)
    return params


def _density(l1: float, l2: float) -> Distribution:
    r"""The prior of :math:`\lambda_1|w| + \tfrac12\lambda_2 w^2`."""
    if l1 < 0 or l2 < 0 or not math.isfinite(l1 + l2):
        raise ValueError(f"the strengths of a penalty must be finite and not negative, but are {l1} and {l2}.")
    if l1 and l2:
        return ElasticNet(0.0, 1 / l1, 1 / math.sqrt(l2))
    if l1:
        return Laplace(0.0, 1 / l1)
    return Normal(0.0, 1 / math.sqrt(l2)) if l2 else Flat()


def _prior(options: dict[str, Any], l1: float, l2: float, intercept: Distribution | None = None) -> dict[str, Any]:
    """Priors of the coefficients and, if there is one, of the intercept."""
    prior = {"coef": _density(l1, l2)}
    return prior | ({"intercept": intercept or Flat()} if options["fit_intercept"] else {})


def _number(name: str, value: Any) -> float:
    if np.ndim(value):
        raise ValueError(f"{name} must be one number, but has shape {np.shape(value)}: one target at a time.")
    return float(value)


def _linear(estimator: Any, options: dict[str, Any], n: float, y: Any, l1: float, l2: float) -> Objective:
    model = glm(Normal, intercept=options["fit_intercept"], dispersion=1.0)
    return map_objective(likelihood(model), _prior(options, l1, l2))


def _least_squares(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    return _linear(estimator, options, n, y, 0.0, 0.0)


def _ridge(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    return _linear(estimator, options, n, y, 0.0, _number("alpha", options["alpha"]))


def _elastic_net(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    alpha, share = _number("alpha", options["alpha"]), float(options.get("l1_ratio", 1.0))
    return _linear(estimator, options, n, y, n * alpha * share, n * alpha * (1 - share))


def _bayesian_ridge(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    if not hasattr(estimator, "lambda_"):
        raise ValueError("BayesianRidge estimates its two precisions: fit it first.")
    model = glm(Normal, intercept=options["fit_intercept"], dispersion=1 / float(estimator.alpha_))
    return map_objective(likelihood(model), _prior(options, 0.0, float(estimator.lambda_)))


def _num_classes(name: str, y: Any) -> int:
    """Number of classes.

    Raises:
        ValueError: the labels are not ids 0, …, K - 1 with K at least 2.
    """
    ids = np.unique(np.asarray(y))
    if ids.dtype.kind not in "biuf" or ids.size < 2 or not np.array_equal(ids.astype(float), np.arange(ids.size)):
        shown = ", ".join(map(str, ids[:5].tolist()))
        raise ValueError(
            f"y must hold class ids 0, ..., K - 1 for {name}, at least two, but its labels are {shown}. "
            "numpy.unique(y, return_inverse=True)[1] makes them, in the order of classes_."
        )
    return int(ids.size)


def _binary(name: str, y: Any) -> None:
    if _num_classes(name, y) > 2:
        raise ValueError(
            f"{name} with more than two classes is one problem for each class against the others: pass one at a time, "
            "y == k."
        )


def _logistic(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    num_classes = _num_classes("LogisticRegression", y)
    share, inverse = options.get("l1_ratio"), float(options["C"])
    penalty = options.get("penalty", "deprecated")
    if penalty in ("l1", "l2"):
        share = float(penalty == "l1")
    strength = 0.0 if penalty is None or math.isinf(inverse) else 1 / inverse
    l1, l2 = strength * float(share or 0.0), strength * (1 - float(share or 0.0))
    if num_classes == 2:
        model = glm(Bernoulli, intercept=options["fit_intercept"])
        scaled = None
        if options["solver"] == "liblinear":
            scaling = float(options["intercept_scaling"])
            scaled = _density(l1 / scaling, l2 / scaling**2)
        return map_objective(likelihood(model), _prior(options, l1, l2, scaled))
    if options["solver"] == "liblinear":
        raise ValueError("LogisticRegression(solver='liblinear') has two classes only.")
    softmax = softmax_regression(num_classes, baseline=0, full_coef=strength > 0, intercept=options["fit_intercept"])
    return map_objective(likelihood(softmax), _prior(options, l1, l2))


def _deviance(model: Any, make: Callable[[Any], Any] = likelihood) -> Callable[..., Objective]:
    def build(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
        strength = n * _number("alpha", options["alpha"])
        return map_objective(make(model(options)), _prior(options, 0.0, strength))

    return build


def _tweedie(options: dict[str, Any]) -> Any:
    power = float(options["power"])
    link = {"identity": links.identity, "log": links.log}.get(options["link"])
    link = (links.identity if power <= 0 else links.log) if link is None else link
    return tweedie(power, link, intercept=options["fit_intercept"])


def _quantile(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    model = LinearQuantile(float(options["quantile"]), 1.0, options["fit_intercept"])
    return map_objective(likelihood(model), _prior(options, n * _number("alpha", options["alpha"]), 0.0))


def _huber(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    loss = ConcomitantHuber(float(options["epsilon"]), options["fit_intercept"])
    prior = _prior(options, 0.0, 2 * _number("alpha", options["alpha"])) | {"scale": Flat(supports.positive)}
    return map_objective(pseudo_likelihood(loss), prior)


def _margin(loss: Any, options: dict[str, Any], prior: dict[str, Any]) -> Objective:
    return map_objective(pseudo_likelihood(loss, LinearScore(options["fit_intercept"])), prior)


def _linear_svc(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    _binary("LinearSVC", y)
    loss = {"hinge": losses.hinge, "squared_hinge": losses.squared_hinge}[options["loss"]]
    strength, scaling = 1 / float(options["C"]), float(options["intercept_scaling"])
    if options["penalty"] == "l1":
        return _margin(loss, options, _prior(options, strength, 0.0, _density(strength / scaling, 0.0)))
    return _margin(loss, options, _prior(options, 0.0, strength, _density(0.0, strength / scaling**2)))


def _svc(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    _binary("SVC", y)
    if options["kernel"] != "linear":
        raise ValueError(f"SVC has coefficients for kernel='linear' only, but has kernel={options['kernel']!r}.")
    options = options | {"fit_intercept": True}
    return _margin(losses.hinge, options, _prior(options, 0.0, 1 / float(options["C"])))


def _ridge_classifier(estimator: Any, options: dict[str, Any], n: float, y: Any) -> Objective:
    _binary("RidgeClassifier", y)
    return _margin(losses.square, options, _prior(options, 0.0, 2 * _number("alpha", options["alpha"])))


BUILDERS: dict[str, Callable[..., Objective]] = {
    "LinearRegression": _least_squares,
    "Ridge": _ridge,
    "Lasso": _elastic_net,
    "ElasticNet": _elastic_net,
    "BayesianRidge": _bayesian_ridge,
    "LogisticRegression": _logistic,
    "PoissonRegressor": _deviance(lambda options: glm(Poisson, intercept=options["fit_intercept"])),
    "GammaRegressor": _deviance(
        lambda options: glm(Gamma, links.log, intercept=options["fit_intercept"], dispersion=1.0)
    ),
    "TweedieRegressor": _deviance(_tweedie, pseudo_likelihood),
    "QuantileRegressor": _quantile,
    "HuberRegressor": _huber,
    "LinearSVC": _linear_svc,
    "SVC": _svc,
    "RidgeClassifier": _ridge_classifier,
}
