r"""What a package call needs of an objective: its loss, its penalties and how many rows there are.

Penalised linear models of all packages solve one problem in different units,

.. math:: \min_{w, b}\; \sum_i v_i\,\ell(x_i^\top w + b, y_i) + \lambda_1\|w\|_1 + \tfrac12\lambda_2\|w\|_2^2
    + \text{the same for } b,

with :math:`\ell` in the units that packages use (half a squared error, a pinball loss, half a unit deviance, a negative
log-likelihood). A negative log posterior with noise of dispersion :math:`\phi` is it, divided by :math:`\phi`.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lossgeo.dictionary.probing import certificate_bound, row_scale
from lossgeo.dictionary.sklearn_models import ConcomitantHuber
from lossgeo.dictionary.structural import Prior, Reading, fields, read
from lossgeo.distributions import Fixed, Flat
from lossgeo.likelihoods import FunctionLikelihood
from lossgeo.objective import Objective
from lossgeo.posing import Posed, pose
from lossgeo.validation import prepare

__all__ = ["LinearProblem", "Penalty", "linear_problem", "loss_of_reading"]


class Penalty(NamedTuple):
    r""":math:`\lambda_1` and :math:`\lambda_2` of a parameter, numbers or arrays in its shape."""

    l1: Any = 0.0
    l2: Any = 0.0

    @property
    def is_zero(self) -> bool:
        """Whether there is none."""
        return not (np.any(self.l1) or np.any(self.l2))


class LinearProblem(NamedTuple):
    """A penalised linear model in the units of packages.

    Fields: ``family``, one of ``normal, quantile, huber, bernoulli, multinomial, poisson, gamma, tweedie, hinge,
    squared hinge, square``; ``coef`` its penalty; ``intercept`` that of the intercept, ``None`` where there is none;
    ``n`` the sum of the weights; ``weighted``; ``sd_y`` standard deviation of the target, dividing by n; ``shape``:
    level of the quantile, power of the variance, or epsilon of Huber's loss; ``names`` of the leaves of coefficients
    and intercept; ``notes``.
    """

    family: str
    coef: Penalty
    intercept: Penalty | None
    n: float
    weighted: bool
    sd_y: float
    shape: float
    names: tuple[str, str | None]
    notes: tuple[str, ...]

    def uniform(self, what: str) -> tuple[float, float]:
        r""":math:`\lambda_1` and :math:`\lambda_2` of the coefficients, where all have the same.

        Raises:
            ValueError: they differ.
        """
        if np.ptp(self.coef.l1) or np.ptp(self.coef.l2):
            raise ValueError(
                f"{what} has one strength for all coefficients, but the prior differs between them. Scale the columns "
                "of x, or use lg.to_glmnet, which has penalty factors."
            )
        return float(np.max(self.coef.l1)), float(np.max(self.coef.l2))


def linear_problem(
    objective: Objective, data: tuple[Any, ...], params: Any, weights: Any, *, called: str
) -> LinearProblem:
    """Read an objective as a penalised linear model; what was read is certified by values.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        data: features of shape ``(n, d)`` and the target.
        params: where estimated scales are held; ``None`` for none.
        weights: shape ``(n,)``, or ``None``.
        called: name of the function that asks, for messages.

    Raises:
        ValueError: no package has this problem; the message says which part.
    """
    if len(data) != 2 or np.ndim(data[0]) != 2:
        raise ValueError(
            f"{called} wants features of shape (n, d) and a target after the objective, because the units of packages "
            f"depend on them; the data are {[np.shape(entry) for entry in data]}."
        )
    start, arrays, weights = prepare(objective, params, data, weights)
    posed = pose(objective, start, arrays, None)
    y = np.asarray(arrays[1], float)
    share = np.ones(y.shape) if weights is None else np.asarray(weights, float)
    n = float(np.sum(share))
    if isinstance(objective.likelihood, FunctionLikelihood) and isinstance(objective.likelihood.fn, ConcomitantHuber):
        reading, noise = _huber(posed, objective.likelihood.fn)
    else:
        reading, noise = _read(posed, given=params is not None, called=called)
    family, unit, shape, coef, intercept, notes = noise
    sd_y = math.sqrt(float(share @ np.square(y - share @ y / n) / n)) if y.ndim == 1 else math.nan
    priors = {prior.name: prior for prior in reading}
    found = _penalty(priors[coef], unit)
    free = None if intercept is None else _penalty(priors[intercept], unit)
    if intercept is not None and priors[intercept].kind is Fixed:
        free = None
    return LinearProblem(family, found, free, n, weights is not None, sd_y, shape, (coef, intercept), notes)


def _huber(posed: Posed, fn: ConcomitantHuber) -> tuple[list[Prior], tuple[Any, ...]]:
    """The estimator with a scale of its own, which is declared."""
    priors = []
    for entry in posed.objective.prior.entries(posed.template) or []:
        parts = {name: np.asarray(value)[None] for name, value in fields(entry.distribution).items()}
        priors.append(Prior(entry.name, np.shape(entry.leaf), type(entry.distribution), parts, ()))
    scale = next(prior for prior in priors if prior.name == "scale")
    if scale.kind is not Flat:
        raise ValueError("HuberRegressor has no penalty on its scale, but the prior of 'scale' is not flat.")
    epsilon = float(np.asarray(fn.epsilon))
    return priors, ("huber", 1.0, epsilon, "coef", "intercept" if fn.intercept else None, ())


def _read(posed: Posed, *, given: bool, called: str) -> tuple[list[Prior], tuple[Any, ...]]:
    """Certify what is read, and name its loss."""
    reading = read(posed)
    if reading is None:
        raise ValueError(
            f"{called} cannot read this objective: its likelihood must be a model that returns a distribution, a "
            "margin loss with a model or a quasi-likelihood of lossgeo, and its prior distributions. lg.explain names "
            "other functions by their values."
        )
    gap = reading.values - reading.likelihood - reading.prior
    residual = float(np.max(np.abs(gap - np.median(gap)) / row_scale(reading.values)))
    dtype = jnp.result_type(float, *posed.to_unconstrained(posed.template))
    eps = float(jnp.finfo(dtype).eps)
    if not residual <= certificate_bound(reading.values, reading.magnitude, eps, proposed=True):
        raise ValueError(
            f"the objective reads like a {reading.kind.__name__} model, but the textbook formula misses its values by "
            f"a relative {residual:.1e}: there is something else in it."
        )
    predictor = reading.predictor
    family, unit, shape = loss_of_reading(posed, reading, called)
    if predictor.coef is None:
        raise ValueError(
            f"{called} needs the linear predictor x @ coef + intercept of the features and two parameters, and no "
            "more; this model has another one."
        )
    notes = []
    moving = [name for name in reading.moving if name in ("scale", "concentration")]
    priors = {prior.name: prior for prior in reading.priors}
    own = [priors[name] for name in (predictor.coef, predictor.intercept) if name is not None]
    if moving and any(prior.kind not in (Flat, Fixed) for prior in own):
        if not given:
            raise ValueError(
                f"the noise {moving[0]} is estimated, and the penalty of a package moves with it: pass "
                "params=fit.params to hold it at its estimate."
            )
        notes.append(f"given the noise {moving[0]} of params, which the call holds and does not estimate")
    logits = reading.parts.get("logits")
    if (
        family == "multinomial"
        and logits is not None
        and own[0].shape[-1] < logits.shape[-1]
        and own[0].kind is not Flat
    ):
        raise ValueError(
            "the coefficients of one class are held at 0 and the others are penalised, so that the solution depends on "
            "which; packages penalise all classes: models.softmax_regression(K, baseline=0, full_coef=True)."
        )
    for prior in own:
        if prior.moving:
            raise ValueError(
                f"the prior of {prior.name!r} depends on other parameters (a hierarchy): no package estimates those."
            )
    return reading.priors, (family, unit, shape, predictor.coef, predictor.intercept, tuple(notes))


def loss_of_reading(posed: Posed, reading: Reading, called: str) -> tuple[str, float, float]:
    """Name of the loss that packages have, its unit (the dispersion of the noise), and its shape.

    Raises:
        ValueError: packages have none for this noise and link.
    """
    kind, link, parts = reading.kind.__name__, reading.predictor.link, reading.parts
    nan = math.nan

    def one(name: str) -> float:
        part = parts[name]
        if (part.ndim > 1 and np.any(np.ptp(part, axis=1) > 0)) or reading.entangled:
            raise ValueError(f"{called}: the {name} of the noise differs between rows; give it as weights instead.")
        return float(np.ravel(part[0])[0])

    if (kind, link) == ("Normal", "identity"):
        return "normal", one("scale") ** 2, nan
    if (kind, link) == ("Laplace", "identity"):
        return "quantile", 0.5 * one("scale"), 0.5
    if (kind, link) == ("AsymmetricLaplace", "identity"):
        return "quantile", one("scale"), one("quantile")
    if (kind, link) in (("Bernoulli", "logit"), ("Poisson", "log"), ("Categorical", "softmax")):
        return {"Bernoulli": "bernoulli", "Poisson": "poisson", "Categorical": "multinomial"}[kind], 1.0, nan
    if (kind, link) == ("Gamma", "log"):
        return "gamma", 1 / one("concentration"), 2.0
    if kind == "QuasiGLM":
        model = posed.objective.likelihood.fn  # type: ignore[attr-defined]
        unit = float(np.asarray(model.dispersion))
        if link == "log" and model.power is not None:
            return {1: "poisson", 2: "gamma"}.get(model.power, "tweedie"), unit, model.power
        if link == "identity" and model.power == 0:
            return "normal", unit, nan
    margins = {"Hinge": "hinge", "SquaredHinge": "squared hinge", "Square": "square", "Logistic": "bernoulli"}
    if kind in margins and link == "score":
        return margins[kind], one("unit") if kind == "Logistic" else 1.0, nan
    raise ValueError(
        f"{called} knows linear models with Normal, Laplace and AsymmetricLaplace noise, Bernoulli (logit), "
        "Categorical (softmax), Poisson and Gamma (log) likelihoods, Tweedie quasi-likelihoods (log), the margin "
        f"losses logistic, hinge, squared hinge and square; this is {kind} with the link {link or 'of no table'!r}."
    )


def _penalty(prior: Prior, unit: float) -> Penalty:
    """Penalties of a leaf in units of the loss.

    Raises:
        ValueError: the prior is none that packages have.
    """
    kind, now = prior.kind.__name__, {name: np.asarray(part[0], float) for name, part in prior.parts.items()}
    if prior.kind is Flat:
        return Penalty()
    if prior.kind is Fixed:
        return Penalty()
    if kind not in ("Normal", "Laplace", "ElasticNet"):
        raise ValueError(
            f"the prior of {prior.name!r} is {kind}: packages have penalties for Normal, Laplace, ElasticNet priors "
            "only, and none for Flat."
        )
    if np.any(now["loc"]):
        raise ValueError(f"the prior of {prior.name!r} has loc {now['loc']}, but penalties of packages pull to 0.")
    if kind == "Normal":
        return Penalty(0.0 * now["scale"], unit / np.square(now["scale"]))
    if kind == "Laplace":
        return Penalty(unit / now["scale"], 0.0 * now["scale"])
    l1, l2 = np.broadcast_arrays(unit / now["laplace_scale"], unit / np.square(now["normal_scale"]))
    return Penalty(l1, l2)
