r"""The dictionary between losses and likelihoods, penalties and priors, with its negative entries.

``likelihood_of(loss)``
    A residual loss is a likelihood iff :math:`\int e^{-\rho(r)/s}\,dr` is finite. A margin loss is one iff
    :math:`Z(f) = e^{-\varphi(f)} + e^{-\varphi(-f)}` does not depend on the score: of the usual ones only the logistic
    loss in nats. If that holds for a multiple of it, it is tempered (the logistic loss in bits), else a
    pseudo-likelihood (the hinge).
``loss_of(distribution)``
    The other way, checked at probes.
``prior_of(penalty)``, ``penalty_of(prior)``
    A penalty is a prior iff :math:`\int e^{-R(\theta)}\,d\theta` is finite.

Reference: Sollich (2002), Bayesian methods for support vector machines, Machine Learning 46 (the normaliser of the
hinge); Polson, Scott (2011), Bayesian Analysis 6.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from lossgeo import distributions as dist
from lossgeo import losses, numerics
from lossgeo.dictionary.coercivity import rays
from lossgeo.dictionary.integrability import evaluate, integrate_exp
from lossgeo.dictionary.penalties import (
    L1,
    L2,
    ElasticNet,
    GroupL2,
    NegativeLogDensity,
    NoPenalty,
    Penalty,
)
from lossgeo.dictionary.readings import LikelihoodReading, LossReading, PriorReading
from lossgeo.supports import Real

__all__ = ["likelihood_of", "loss_of", "penalty_of", "prior_of"]

_SCORES = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 200)])
_SHOWN = (0.0, 1.0, 3.0)


def likelihood_of(loss: Any, *, temperature: float = 1.0) -> LikelihoodReading:
    r"""Whether a loss is a negative log-likelihood, and of which noise.

    Args:
        loss: a record of ``lossgeo.losses`` (of residuals, means or margins; ``losses.derive(phi)`` for any margin
            loss), or any elementwise function of a residual, written in ``jax.numpy``.
        temperature: :math:`s > 0` in :math:`e^{-\ell/s}`; the dispersion, for deviances.

    Returns:
        A :class:`LikelihoodReading`. For a function the integral and the verdict on whether it is finite are
        numerical, with an error estimate, and may be ``"undecided"``.

    Raises:
        TypeError: something that is no loss.
        ValueError: a temperature that is not positive, or a function that is not elementwise.

    Example:
        >>> likelihood_of(losses.hinge).kind
        'pseudo-likelihood'
    """
    if not (isinstance(temperature, (int, float)) and 0 < temperature < math.inf):
        raise ValueError(f"temperature must be a positive number; it is {temperature!r}.")
    if isinstance(loss, losses.MarginLoss):
        return _margin(loss, float(temperature))
    if isinstance(loss, losses.RegressionLoss):
        return _residual(loss, float(temperature))
    if isinstance(loss, losses.DevianceLoss):
        return _deviance(loss, float(temperature))
    if dist.is_distribution(loss) or not callable(loss):
        hint = " A distribution is a likelihood already; loss_of gives its loss." if dist.is_distribution(loss) else ""
        raise TypeError(
            "likelihood_of wants a loss of lossgeo.losses or an elementwise function of a residual, but got "
            f"{type(loss).__name__}.{hint}"
        )
    return _of_function(getattr(loss, "__name__", type(loss).__name__), loss, float(temperature))


def _of_function(name: str, fn: Callable[[Any], Any], temperature: float) -> LikelihoodReading:
    found = integrate_exp(lambda r: fn(r) / temperature)
    kind = {True: "likelihood", False: "pseudo-likelihood", None: "undecided"}[found.finite]
    reason = {True: "exp(-rho) has a finite integral", False: "exp(-rho) has an infinite integral", None: "undecided"}
    normalized = found.finite is True and abs(math.expm1(found.log_value)) <= 4 * found.error
    return LikelihoodReading(
        name, kind, normalized, 1 / temperature if found.finite else math.nan, found.log_value, (), None, found.error,
        f"{reason[found.finite]}; numerically: {found.reason}",
    )  # fmt: skip


def _residual(loss: losses.RegressionLoss, temperature: float) -> LikelihoodReading:
    name, noise = type(loss).__name__, loss.tempered(temperature)
    try:
        log_normalizer = float(loss.log_normalizer(temperature))
    except ValueError:
        return _of_function(name, loss.value, temperature)
    # A parameter outside of its domain leaves a formula that is not the integral.
    numeric = integrate_exp(lambda r: loss.value(r) / temperature)
    slack = 1e3 * float(jnp.finfo(jnp.zeros(()).dtype).eps) ** 0.75
    if numeric.finite is False or (numeric.finite and not abs(numeric.log_value - log_normalizer) <= slack):
        return _of_function(name, loss.value, temperature)
    text = "exp(-rho) has a finite integral, in closed form"
    return LikelihoodReading(
        name, "likelihood", abs(log_normalizer) < 1e-12, 1 / temperature, log_normalizer, (), noise, 0.0,
        text if noise is not None else f"{text}; the library has no such family",
    )  # fmt: skip


def _deviance(loss: losses.DevianceLoss, dispersion: float) -> LikelihoodReading:
    name, missing = f"{type(loss).__name__} of power {loss.power:g}", loss.no_distribution(dispersion)
    counts = loss.power == 1 and dispersion != 1
    noise = None if missing else partial(loss.distribution, dispersion=dispersion)
    text = "minus the log-density is the loss over the dispersion and a part without the mean"
    return LikelihoodReading(
        name, "pseudo-likelihood" if counts else "likelihood", False, math.nan if counts else 1 / dispersion, math.nan,
        (), noise, 0.0, missing if counts else f"{text}; {missing}" if missing else text,
    )  # fmt: skip


def _margin(loss: losses.MarginLoss, temperature: float) -> LikelihoodReading:
    name = type(loss).__name__
    phi = np.stack([evaluate(loss.value, _SCORES), evaluate(loss.value, -_SCORES)]) / temperature
    eps = float(jnp.finfo(jnp.zeros(()).dtype).eps)
    totals = tuple((f, float(np.exp(-_at(loss, f, temperature)).sum())) for f in _SHOWN)

    def constant(weight: float) -> bool:
        logs = np.logaddexp(-weight * phi[0], -weight * phi[1])
        return bool(np.ptp(logs) <= 64 * eps * (1 + abs(weight) * float(np.min(phi[:, 0]))))

    def reading(kind: str, weight: float, log_normalizer: float, reason: str) -> LikelihoodReading:
        noise = partial(_bernoulli, loss, weight / temperature) if math.isfinite(weight) else None
        normalized = kind == "likelihood" and abs(log_normalizer) <= 64 * eps
        return LikelihoodReading(
            name, kind, normalized, weight / temperature, log_normalizer, totals, noise, 0.0, reason
        )

    if constant(1.0):
        log_normalizer = float(np.logaddexp(-phi[0, 0], -phi[1, 0]))
        return reading("likelihood", 1.0, log_normalizer, "Z(f) is the same for every score")
    ahead, behind = _at(loss, 1.0, temperature)
    weight = _tempering(float(ahead), float(behind), float(phi[0, 0]))
    if weight is not None and constant(weight):
        text = f"the loss times {weight:#.10g} has the same Z(f) for every score; against a prior the factor counts"
        return reading("tempered likelihood", weight, math.nan, text)
    text = "Z(f) depends on the score, for this loss and for every multiple of it: no distribution of labels"
    return reading("pseudo-likelihood", math.nan, math.nan, text)


def _at(loss: losses.MarginLoss, f: float, temperature: float) -> np.ndarray:
    return evaluate(loss.value, np.array([f, -f])) / temperature


def _tempering(ahead: float, behind: float, center: float) -> float | None:
    r"""The only factor :math:`t` for which :math:`Z_t(1) = Z_t(0)` can hold.

    :math:`h(t) = \log\tfrac12(e^{-ta} + e^{-tb}) + tc` with :math:`a = \varphi(1)`, :math:`b = \varphi(-1)`,
    :math:`c = \varphi(0)` is convex and :math:`h(0) = 0`: it has another positive root iff :math:`h'(0) < 0` and it
    rises at last, and then only one.
    """
    if not (center < 0.5 * (ahead + behind) and center > min(ahead, behind)):
        return None

    def h(t: float) -> float:
        return float(np.logaddexp(-t * ahead, -t * behind)) - math.log(2) + t * center

    high = 1.0
    while h(high) < 0:
        high *= 2
    low = high
    while h(low) >= 0 and low > 1e-12:
        low /= 2
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if h(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def _bernoulli(loss: losses.MarginLoss, weight: float, score: Any) -> dist.Bernoulli:
    """The label whose log-odds are the difference of the losses of both margins."""
    score = jnp.asarray(score, float)
    return dist.Bernoulli(logits=weight * (loss.value(-score) - loss.value(score)))


def loss_of(distribution: Any) -> LossReading:
    r"""The loss that a noise is the likelihood of.

    Args:
        distribution: of the library, with concrete hyper-parameters.

    Returns:
        A :class:`LossReading`; the identity is checked at probes, and its residual is part of it.

    Raises:
        TypeError: not a distribution.

    Example:
        >>> loss_of(dist.Laplace(0.0, 2.0)).functional
        'median'
    """
    if not dist.is_distribution(distribution):
        raise TypeError(f"loss_of wants a distribution, but got {type(distribution).__name__}.")
    d = distribution
    known: dict[type, Callable[[], tuple[Any, Any, Any]]] = {
        dist.Normal: lambda: (losses.squared_error, jnp.square(jnp.asarray(d.scale)), 1.0),
        dist.Laplace: lambda: (losses.absolute_error, d.scale, 1.0),
        dist.AsymmetricLaplace: lambda: (losses.Pinball(d.quantile), d.scale, 1.0),
        dist.Huber: lambda: (losses.Huber(d.delta), 1.0, d.scale),
        dist.HyperbolicSecant: lambda: (losses.log_cosh, 1.0, d.scale),
        dist.EpsilonInsensitive: lambda: (losses.EpsilonInsensitive(d.epsilon), 1.0, d.scale),
        dist.StudentT: lambda: (losses.StudentT(d.df), 1.0, d.scale),
        dist.Poisson: lambda: (losses.poisson_deviance, 1.0, 1.0),
        dist.Exponential: lambda: (losses.gamma_deviance, 1.0, 1.0),
        dist.Gamma: lambda: (losses.gamma_deviance, 1 / jnp.asarray(d.concentration), 1.0),
        dist.InverseGaussian: lambda: (losses.TweedieDeviance(3.0), 1 / jnp.asarray(d.concentration), 1.0),
        dist.Bernoulli: lambda: (losses.logistic, 1.0, 1.0),
        dist.Categorical: lambda: (losses.softmax_cross_entropy, 1.0, 1.0),
    }
    name = type(d).__name__
    if type(d) not in known:
        text = "minus its log-density is a loss like any other, but one without a name in this library"
        return LossReading(name, None, math.nan, math.nan, "", math.nan, text)
    loss, temperature, unit = known[type(d)]()
    if isinstance(loss, losses.RegressionLoss):
        gap = _residual_gap(d, loss, temperature, unit)
        return LossReading(name, loss, temperature, unit, loss.functional, gap, "a loss of residuals")
    if isinstance(loss, losses.DevianceLoss):
        gap = _deviance_gap(d, loss, temperature)
        return LossReading(name, loss, temperature, unit, loss.functional, gap, "half the deviance over the dispersion")
    functional, text = "probability of a class", "softmax cross-entropy of the logits"
    if isinstance(loss, losses.MarginLoss):
        functional, text = "probability of the label 1", "a margin loss of the log-odds"
        gap = _worst(dist.Bernoulli(logits=_SCORES).log_prob(np.ones(_SCORES.size)), -loss.value(_SCORES))
    else:
        logits = jnp.asarray([[0.3, -2.0, 5.0], [40.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        labels = jnp.asarray([2, 1, 0])
        gap = _worst(dist.Categorical(logits=logits).log_prob(labels), -numerics.softmax_cross_entropy(logits, labels))
    return LossReading(name, loss, temperature, unit, functional, gap, text)


def _worst(left: Any, right: Any) -> float:
    left, right = np.asarray(left, float), np.asarray(right, float)
    return float(np.max(np.abs(left - right) / (1 + np.abs(right))))


def _residual_gap(d: Any, loss: losses.RegressionLoss, temperature: Any, unit: Any) -> float:
    """Deviation of the log-density from the loss, both relative to the location."""
    shape = (1,) * len(d.batch_shape)
    loc, unit, temperature = (
        jnp.broadcast_to(jnp.asarray(v, float), d.batch_shape)[None] for v in (d.loc, unit, temperature)
    )
    z = jnp.asarray([-30.0, -2.1, -0.4, 0.2, 1.5, 7.0]).reshape((-1, *shape))
    spread = unit * jnp.where(unit == 1, jnp.sqrt(temperature), 1)
    y = loc + z * spread
    fall = d.log_prob(jnp.broadcast_to(loc, y.shape)) - d.log_prob(y)
    return _worst(fall, (loss.value((y - loc) / unit) - loss.value(jnp.zeros_like(y))) / temperature)


def _deviance_gap(d: Any, loss: losses.DevianceLoss, dispersion: Any) -> float:
    """Deviation of the fall of the log-density from one mean to another from that of the loss."""
    mean, dispersion = jnp.broadcast_arrays(jnp.asarray(d.mean, float), jnp.asarray(dispersion, float))
    other, y = 1.7 * mean, jnp.round(mean + 1)
    rebuilt = {
        dist.Gamma: lambda mu: dist.Gamma(1 / dispersion, 1 / (dispersion * mu)),
        dist.Exponential: lambda mu: dist.Exponential(1 / mu),
        dist.InverseGaussian: lambda mu: dist.InverseGaussian(mu, 1 / dispersion),
        dist.Poisson: dist.Poisson,
    }[type(d)]
    fall = d.log_prob(y) - rebuilt(other).log_prob(y)
    return _worst(fall, (loss.value(y, other) - loss.value(y, mean)) / dispersion)


def prior_of(penalty: Any, *, dimension: int = 1) -> PriorReading:
    r"""Whether a penalty is minus the logarithm of a prior density, and of which.

    Args:
        penalty: a record of ``lossgeo.dictionary.penalties``; or a function in ``jax.numpy``: elementwise of one
            coefficient (``dimension = 1``), or of a vector, ``(d,) -> ()``.
        dimension: d, for a function of a vector, which must then be differentiable almost everywhere.

    Returns:
        A :class:`PriorReading`. For a function the verdict is numerical. Of one coefficient the integral is computed;
        of a vector, growth along rays is looked at: those of the axes, of random directions, and those that all
        gradients are orthogonal to. One ray without growth makes a penalty improper when it is convex.

    Raises:
        TypeError: something that is no penalty.
        ValueError: a function of another shape.

    Example:
        >>> prior_of(penalties.MCP(1.0, 3.0)).proper
        False
    """
    if isinstance(penalty, Penalty):
        name, prior = type(penalty).__name__, penalty.distribution()
        if not penalty.proper:
            return PriorReading(name, False, math.inf, prior, math.nan, penalty.improper())
        if isinstance(prior, dist.Flat):
            found = integrate_exp(lambda t: penalty.value(t[..., None]))
            text = f"a flat density on a set: numerically: {found.reason}"
            return PriorReading(name, found.finite, found.log_value, prior, found.error, text)
        log_normalizer = 0.0
        if not isinstance(penalty, NegativeLogDensity):
            log_normalizer = float(-jnp.sum(prior.log_prob(prior.loc)))  # type: ignore[union-attr]
            if not math.isfinite(log_normalizer):
                text = "exp(-R) has an infinite integral: the strength of a penalty must be positive and finite"
                return PriorReading(name, False, math.inf, None, math.nan, text)
        return PriorReading(name, True, log_normalizer, prior, 0.0, "exp(-R) has a finite integral")
    if dist.is_distribution(penalty) or not callable(penalty):
        hint = " penalty_of gives the penalty of a prior." if dist.is_distribution(penalty) else ""
        raise TypeError(
            "prior_of wants a penalty of lossgeo.dictionary.penalties or a function of the coefficients, but got "
            f"{type(penalty).__name__}.{hint}"
        )
    name = getattr(penalty, "__name__", type(penalty).__name__)
    if dimension == 1:
        found = integrate_exp(penalty)
        return PriorReading(name, found.finite, found.log_value, None, found.error, f"numerically: {found.reason}")
    proper, reason = rays(penalty, dimension)
    return PriorReading(name, proper, math.nan if proper is not False else math.inf, None, math.nan, reason)


def penalty_of(prior: Any) -> Penalty:
    r"""The penalty that a prior is, up to the constant :math:`\log Z`.

    Args:
        prior: a distribution of the library.

    Returns:
        A record of ``lossgeo.dictionary.penalties``: ``L2``, ``L1``, ``ElasticNet``, ``GroupL2``, ``NoPenalty`` for
        ``Flat()`` on the line, and for all others ``NegativeLogDensity``, whose constant is part of it.

    Raises:
        TypeError: not a distribution.
    """
    if not dist.is_distribution(prior):
        raise TypeError(f"penalty_of wants a distribution, but got {type(prior).__name__}.")
    if isinstance(prior, dist.Normal):
        return L2(1 / jnp.square(jnp.asarray(prior.scale, float)), prior.loc)
    if isinstance(prior, dist.Laplace):
        return L1(1 / jnp.asarray(prior.scale, float), prior.loc)
    if isinstance(prior, dist.ElasticNet):
        l2 = 1 / jnp.square(jnp.asarray(prior.normal_scale, float))
        return ElasticNet(1 / jnp.asarray(prior.laplace_scale, float), l2, prior.loc)
    if isinstance(prior, dist.GroupLaplace):
        return GroupL2(1 / jnp.asarray(prior.scale, float), prior.loc)
    if isinstance(prior, dist.Flat) and isinstance(prior.support, Real):
        return NoPenalty()
    return NegativeLogDensity(prior)
