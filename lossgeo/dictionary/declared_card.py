"""The card of an objective whose parts were read."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from lossgeo.dictionary.card import Explanation, Level
from lossgeo.dictionary.conventions import conventions
from lossgeo.dictionary.geometry_text import geometry_of_family
from lossgeo.dictionary.linear_problem import loss_of_reading
from lossgeo.dictionary.naming import number, penalized_name, problem_of
from lossgeo.dictionary.predictors import leaf_names
from lossgeo.dictionary.probing import certificate_bound, row_scale
from lossgeo.dictionary.structural import Prior, Reading
from lossgeo.distributions import Distribution, Fixed, Flat, Laplace
from lossgeo.losses import MarginLoss
from lossgeo.planning import plan_for
from lossgeo.posing import Posed, as_problem
from lossgeo.priors import Tied
from lossgeo.supports import Real

__all__ = ["card_of_reading", "refusal", "solver_of"]

NOT_IN_DICTIONARY = "not in the dictionary"
PREDICTORS = ("loc", "eta", "logits", "probs", "log_rate", "rate", "mean", "cutpoints", "total_count")
"""Hyper-parameters that carry the mean, or are data."""

SCALED = ("Normal", "Laplace", "AsymmetricLaplace", "Huber", "StudentT", "Cauchy", "Logistic", "Gumbel", "Gamma",
          "InverseGaussian", "NegativeBinomial", "LogNormal")  # fmt: skip


def refusal(reason: str, residual: float, route: str = "") -> Explanation:
    """The card that names nothing."""
    return Explanation(NOT_IN_DICTIONARY, False, "unknown", {}, {}, {}, residual, (reason,), route)


def card_of_reading(posed: Posed, reading: Reading) -> Explanation:
    """Certify a reading and write its card; a reading that values contradict is refused."""
    gap = reading.values - reading.likelihood - reading.prior
    scale = row_scale(reading.values)
    if not np.all(np.isfinite(gap)):
        return refusal("the parts that were read are not finite where the objective is", math.inf, "structural")
    constant = float(np.median(gap))
    residual = float(np.max(np.abs(gap - constant) / scale))
    dtype = jnp.result_type(float, *posed.to_unconstrained(posed.template))
    if residual > certificate_bound(reading.values, reading.magnitude, float(jnp.finfo(dtype).eps), proposed=True):
        return refusal(
            f"the parts read like a {reading.kind.__name__} model, but its textbook formula does not reproduce the "
            "values of the objective",
            residual,
            "structural",
        )
    reasons: list[str] = []
    predictor, kind = reading.predictor, reading.kind
    margin = issubclass(kind, MarginLoss)
    loss, problem = _name_of_noise(posed, reading, reasons)
    kinds, regularizer, priors, scales = _penalties(posed, reading, reasons)
    scales = _noise_scales(reading) | scales
    name = penalized_name(problem, kinds)
    if any(p.moving for p in reading.priors):
        name = "hierarchical " + name
    rounding = max(1e-9, 1e2 * float(jnp.finfo(dtype).eps)) * (float(scale.min()) + reading.magnitude)
    constants = {"objective less its textbook form": constant if abs(constant) > rounding else 0.0}
    constants |= _normalizers(reading)
    if issubclass(kind, Distribution) and constants["objective less its textbook form"] == 0.0:
        flat = [p.name or "params" for p in reading.priors if p.kind is Flat]
        proper = "a normalized joint density, temperature 1"
        reasons.append(proper if not flat else f"{proper}, but for the flat prior of {', '.join(flat)}")
    elif not issubclass(kind, Distribution) and not margin:
        reasons.append("a likelihood of ranks or a quasi-likelihood: no density of the target is claimed")
    elif margin and kind.__name__ == "Logistic" and float(reading.parts["unit"][0]) != 1.0:
        reasons.append(
            f"a tempered likelihood: the log-likelihood is weighted by {1 / float(reading.parts['unit'][0]):#.10g}, so "
            "that against the prior it counts as another amount of data than there is"
        )
    elif margin and kind.__name__ != "Logistic":
        reasons.append(
            "a margin loss that is no negative log-likelihood (exp(-loss) does not sum to 1 over the two labels): a "
            "pseudo-posterior"
        )
    lambdas = _lambdas(posed, reading, kinds, reasons)
    links = {True: " (canonical)", False: " (not canonical)", None: ""}
    canonical = None if not predictor.link else predictor.canonical
    geometry = "a loss of the margin: no divergence between distributions"
    if not margin:
        logits = reading.parts.get("logits")
        classes = logits.shape[-1] if kind.__name__ == "Categorical" and logits is not None else 0
        geometry = geometry_of_family(kind, predictor.canonical, classes=classes, free_scale="scale" in reading.moving)
    levels = (
        Level("value-affine", True, residual, f"{len(gap)} probes, none fitted, constant included"),
        _gradient_level(reading, dtype),
    )
    return Explanation(
        name, True, loss, regularizer, scales, lambdas, residual, tuple(reasons), "structural", _noise_text(reading),
        predictor.link + links[canonical] if predictor.link else "none that makes the mean linear in the parameters",
        priors, geometry, solver_of(posed), levels, constants,
    )  # fmt: skip


def solver_of(posed: Posed) -> str:
    """The solver that a fit chooses, and why; or why there is none."""
    try:
        return str(plan_for(as_problem(posed), "auto", host=True))
    except ValueError as error:
        return f"none: {error}"


def _name_of_noise(posed: Posed, reading: Reading, reasons: list[str]) -> tuple[str, str]:
    """The data term in words, and the name of the problem without its penalty."""
    predictor, kind = reading.predictor, reading.kind
    margin = issubclass(kind, MarginLoss)
    name, link = kind.__name__, predictor.link
    if name == "QuasiGLM":
        power = posed.objective.likelihood.fn.power  # type: ignore[attr-defined]
        what = "quasi-binomial" if power is None else f"quasi-likelihood (variance mu^{power:g})"
        return "half the unit deviance", f"{what} regression with the {link} link"
    loss, problem = problem_of(name, "score" if margin else link, margin=margin)
    loss = f"{loss}, {_words(name, margin)}"
    parts = {k: v for k, v in reading.parts.items() if v is not None}
    if margin:
        return loss, problem if predictor.affine else f"{problem}, nonlinear in the parameters"
    if parts and all(part.ndim == 1 for part in parts.values()):
        return loss, f"{name} sample without regressors"
    if name == "AsymmetricLaplace":
        problem += f" at the quantile {number(parts['quantile'][0])}"
    varying = [k for k in parts if k not in PREDICTORS and name in SCALED and _varies_between_rows(parts[k])]
    if varying and not set(varying) & set(reading.moving):
        return loss, "weighted least squares" if name == "Normal" else f"{problem} with known {varying[0]} of each row"
    zeros = [name for name in reading.entangled if "zero" in name]
    if zeros:
        reasons.append("the probability of a zero depends on the coefficients of the mean too")
    if varying or (reading.entangled and not zeros):
        which = ", ".join(varying or reading.entangled)
        return loss, f"heteroscedastic {problem} (its {which} depends on the row or on the coefficients)"
    if predictor.affine and predictor.coef is None:
        reasons.append(
            "the predictor is linear, in features made from the data (several blocks, an offset, a basis) and not just "
            "x @ coef + intercept: no package call is given"
        )
    return loss, problem


def _varies_between_rows(part: np.ndarray) -> bool:
    return part.ndim > 1 and bool(np.any(np.ptp(part, axis=1) > 0))


def _words(name: str, margin: bool) -> str:
    if margin:
        return "no likelihood" if name != "Logistic" else "Bernoulli likelihood"
    return f"{name} likelihood" if name not in ("Normal", "Laplace") else f"{name} noise"


def _noise_text(reading: Reading) -> str:
    """The distribution of the target with its hyper-parameters: known, or estimated."""
    if not issubclass(reading.kind, Distribution):
        return f"{reading.kind.__name__}: no density of the target"
    parts = []
    for name, part in reading.parts.items():
        if part is None or name in PREDICTORS:
            continue
        estimated = "estimated, here " if name in reading.moving else ""
        parts.append(f"{name} = {estimated}{number(part[0])}")
    return reading.kind.__name__ + (f"({', '.join(parts)})" if parts else "")


def _noise_scales(reading: Reading) -> dict[str, float]:
    """Single numbers of the noise model, in the symbols of the card."""
    found: dict[str, float] = {}
    margin = issubclass(reading.kind, MarginLoss)
    for name, part in reading.parts.items():
        if part is None or name in ("loc", "eta", "logits", "probs", "log_rate", "mean") or np.size(part[0]) == 0:
            continue
        if float(np.ptp(part[0])) > 0 or (name == "rate" and reading.kind.__name__ != "Exponential"):
            continue
        value = float(np.ravel(part[0])[0])
        if name == "scale" and reading.kind.__name__ in ("Normal", "StudentT", "LogNormal"):
            found["s2"] = value**2
        elif name == "scale":
            found["s"] = value
        elif name == "quantile":
            found["tau"] = value
        elif name != "rate" and not (margin and name == "unit" and value == 1.0):
            found[name] = value
    return found


def _penalties(posed: Posed, reading: Reading, reasons: list[str]) -> Any:
    """Texts and scales of the penalty of each leaf; kinds of those that are penalized."""
    regularizer: dict[str, str] = {}
    priors: dict[str, str] = {}
    scales: dict[str, float] = {}
    kinds: set[str] = set()
    real = {n for n, s in zip(leaf_names(posed), posed.supports, strict=True) if isinstance(s, Real)}
    for prior, leaf in zip(reading.priors, reading.params, strict=True):
        label, now = prior.name or "params", {k: v[0] for k, v in prior.parts.items() if v is not None}
        held = prior.kind in (Fixed, Tied)
        if prior.name not in real and not held:
            value = np.asarray(leaf[0]).tolist() if leaf[0].size <= 8 else number(leaf[0])
            reasons.append(f"{prior.name} is a parameter with a constraint; the card is for {prior.name} = {value!r}")
        if prior.kind is Flat:
            regularizer[prior.name] = "none, flat prior"
            priors[prior.name] = "Flat"
            continue
        moving = f", with {', '.join(prior.moving)} estimated" if prior.moving else ""
        arguments = ", ".join(f"{k}={number(v) if v.ndim < 2 else 'matrix'}" for k, v in now.items())
        priors[prior.name] = f"{prior.kind.__name__}({arguments}){moving}"
        text, kind, found = penalty_text(prior, now)
        regularizer[prior.name] = "none: not estimated" if held else text + moving
        scales |= {f"{symbol} of {label}": value for symbol, value in found.items()}
        if prior.name in real and not held:
            kinds.add(kind)
        if prior.moving and kind == "l2":
            reasons.append(
                f"the joint mode over {label} and its scale is no sound estimate of the scale: unless a prior holds it "
                "away from 0 the density grows without bound there; integrate the effects out"
            )
    return kinds, regularizer, priors, scales


def penalty_text(prior: Prior, now: dict[str, np.ndarray]) -> tuple[str, str, dict[str, float]]:
    """The penalty in words, its kind, and its single numbers."""

    def one(symbol: str, value: np.ndarray) -> dict[str, float]:
        return {symbol: float(np.ravel(value)[0])} if float(np.ptp(value)) == 0 else {}

    kind = prior.kind.__name__
    center = now.get("loc")
    toward = "" if center is None or not np.any(center) else f" toward {number(center)}"
    if kind == "Normal":
        t2 = np.square(now["scale"])
        text = f"|w{' - m' if toward else ''}|^2/(2 t2), t2 = {number(t2)}, Normal prior{toward}"
        return text, "l2" if not toward else "other", one("t2", t2)
    if kind == "Laplace":
        text = f"|w{' - m' if toward else ''}|_1/b, b = {number(now['scale'])}, Laplace prior{toward}"
        return text + ": exact zeros in the mode only", "l1" if not toward else "other", one("b", now["scale"])
    if kind == "ElasticNet":
        b, t2 = now["laplace_scale"], np.square(now["normal_scale"])
        text = f"|w|_1/b + |w|^2/(2 t2), b = {number(b)}, t2 = {number(t2)}, elastic net prior{toward}"
        return text, "elastic net" if not toward else "other", one("b", b) | one("t2", t2)
    if kind == "GroupLaplace":
        text = f"|w|_2/b, b = {number(now['scale'])}, group Laplace prior{toward}: whole groups are exactly 0"
        return text, "group" if not toward else "other", one("b", now["scale"])
    if kind == "GroupedLaplace":
        text = f"sum_k |w_k|_2/b_k, b = {number(now['scale'])}, group Laplace prior by labels{toward}: "
        return text + "whole groups are exactly 0", "group" if not toward else "other", one("b", now["scale"])
    if kind == "MultivariateNormal":
        return f"(w - m)' C^-1 (w - m)/2, MultivariateNormal prior{toward}", "other" if toward else "tikhonov", {}
    arguments = ", ".join(f"{k} = {number(v)}" for k, v in now.items())
    return f"-log {kind} density, {arguments}", "other", {}


def _normalizers(reading: Reading) -> dict[str, float]:
    """Value of the negative log posterior at the parameters, in its two parts."""
    return {
        "minus log-likelihood at the parameters": float(reading.likelihood[0]),
        "minus log-prior at the parameters": float(reading.prior[0]),
    }


def _gradient_level(reading: Reading, dtype: Any) -> Level:
    """Slopes of the objective along short lines against differences of its textbook form."""
    name, short = "gradient-collinear", reading.short
    if not np.any(short):
        return Level(name, None, math.nan, "the objective is not finite beside the parameters")
    textbook = (reading.likelihood + reading.prior).reshape(-1, 3)[short]
    rises, sizes = np.zeros(len(textbook)), np.zeros(len(textbook))
    for slope, point in zip(reading.slopes, reading.points, strict=True):
        s, p = (v.reshape(-1, 3, *v.shape[1:])[short].reshape(len(textbook), 3, -1) for v in (slope, point))
        step = p[:, 1] - p[:, 2]
        rises += np.sum(s[:, 0] * step, axis=1)
        sizes += np.sum(np.abs(s[:, 0] * step), axis=1)
    error = float(np.max(np.abs(rises - (textbook[:, 1] - textbook[:, 2])) / sizes))
    eps = float(jnp.finfo(dtype).eps)
    return Level(name, error < eps**0.25, error, f"derivatives along {len(textbook)} directions, by differences")


def _lambdas(posed: Posed, reading: Reading, kinds: set[str], reasons: list[str]) -> dict[str, float]:
    """Package calls, where the problem is exactly theirs."""
    predictor = reading.predictor
    if predictor.coef is None or posed.weights is not None:
        return {}
    try:
        family, noise, _ = loss_of_reading(posed, reading, "explain")
    except ValueError:  # no package has this noise and link
        return {}
    if reading.kind is Laplace:
        family, noise = "laplace", 2 * noise
    priors = {p.name: p for p in reading.priors}
    own = priors[predictor.coef]
    intercept = priors[predictor.intercept] if predictor.intercept is not None else None
    penalty = {"Normal": "l2", "Laplace": "l1", "ElasticNet": "elastic net"}.get(own.kind.__name__)
    if penalty is None or own.moving or np.any(own.parts["loc"]):
        return {}
    if intercept is not None and intercept.kind not in (Flat, Fixed):
        reasons.append("the intercept is penalized too: the package calls, which leave it free, solve another problem")
        return {}
    widths = [own.parts[name][0] for name in own.parts if name != "loc"]
    if any(np.ptp(width) > 0 for width in widths):
        reasons.append("the penalty differs between coordinates: package calls need columns scaled by it")
        return {}
    logits = reading.parts.get("logits")
    if family == "multinomial" and logits is not None and own.shape[-1] < logits.shape[-1]:
        reasons.append("the coefficients of one class are held at 0: package calls, which penalize all, solve another")
        return {}
    if {"scale", "concentration"} & set(reading.moving):
        over = {"l2": "t2", "l1": "b", "elastic net": "b and t2"}[penalty]
        symbol = "s2" if family == "normal" else "the dispersion"
        reasons.append(f"the noise scale is estimated: lambda = {symbol}/{over} moves with it; given here at its value")
    now = {name: float(np.ravel(own.parts[name][0])[0]) for name in own.parts}
    strength: Any = {"l2": lambda: now["scale"] ** 2, "l1": lambda: now["scale"],
                     "elastic net": lambda: (now["laplace_scale"], now["normal_scale"] ** 2)}[penalty]()  # fmt: skip
    y = np.asarray(posed.data[-1], float)
    return conventions(family, penalty, strength=strength, noise=noise, n=len(y), sd_y=float(np.std(y)))
