"""Reads an objective whose parts are declared: which noise, link and prior, and a certificate that they are these.

The parts propose, values decide: the negative log posterior is computed a second time from the hyper-parameters that
the model returned, with the formulas of :mod:`lossgeo.dictionary.densities`, and compared with the objective at probes
around the parameters. A part that is not in the tables, or a bare function, is not read.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._compilation import quick_jit
from lossgeo.dictionary import densities
from lossgeo.dictionary.predictors import Predictor, leaf_names, read_predictor
from lossgeo.dictionary.probing import rows_at_once, unit_of
from lossgeo.dictionary.zeros import COMPOSED, ZERO_DENSITIES, zero_fields
from lossgeo.distributions import (
    Binomial,
    Fixed,
    Flat,
    Gamma,
    GroupedLaplace,
    GroupLaplace,
    Hurdle,
    MultivariateNormal,
    ZeroInflated,
)
from lossgeo.likelihoods import ConditionalLogit, CoxPartial, FunctionLikelihood, ModelLikelihood
from lossgeo.likelihoods.declared import LossOfModel
from lossgeo.losses import MarginLoss
from lossgeo.models import QuasiGLM
from lossgeo.models.families import BinomialCounts
from lossgeo.models.predictor import linear_predictor
from lossgeo.posing import Posed
from lossgeo.priors import Tied
from lossgeo.structure import depends_on
from lossgeo.supports import Real

__all__ = ["SHORT", "Prior", "Reading", "read"]

LINES = 16
"""Probes come as lines of three points, on which a linear predictor is an affine function."""

SHORT = 4
"""Every fourth line is so short that the values at its ends give a slope."""


class Prior(NamedTuple):
    """The prior of a leaf: its class, its hyper-parameters at all probes, and those that move with other parameters."""

    name: str
    shape: tuple[int, ...]
    kind: type
    parts: dict[str, np.ndarray]
    moving: tuple[str, ...]


class Reading(NamedTuple):
    """What was read, and how well it reproduces the objective.

    Fields: ``kind`` the class of the distribution, likelihood or loss; ``parts`` its hyper-parameters at all probes,
    the first of which are the parameters themselves; ``moving`` those that are estimated; ``predictor``; ``priors``;
    ``values`` of the objective; ``likelihood`` and ``prior`` parts computed again; ``slopes`` of the objective in
    unconstrained coordinates and ``points``; ``magnitude`` of the numbers that were added; ``short``, which lines of
    three probes are short ones; ``entangled`` the hyper-parameters that
    depend on the same leaves as the mean does.
    """

    kind: type
    parts: dict[str, Any]
    moving: tuple[str, ...]
    predictor: Predictor
    priors: list[Prior]
    values: np.ndarray
    likelihood: np.ndarray
    prior: np.ndarray
    slopes: list[np.ndarray]
    points: list[np.ndarray]
    params: list[np.ndarray]
    magnitude: float
    short: np.ndarray
    entangled: tuple[str, ...]


def fields(record: Any) -> dict[str, Any]:
    """The array fields of a distribution or loss, by name."""
    if record is None or isinstance(record, Flat | Fixed | Tied):
        return {}
    if isinstance(record, ZeroInflated | Hurdle):
        return zero_fields(record, fields(record.base))
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if not f.metadata.get("static")}


def read(posed: Posed) -> Reading | None:
    """Read a posed objective; ``None`` where a part is not in the tables."""
    likelihood = posed.objective.likelihood
    *inputs, target = posed.data
    kind = _kind(likelihood, posed.template, inputs)
    entries = posed.objective.prior.entries(posed.template)
    if kind is None or entries is None:
        return None
    known = {Flat, Fixed, GroupedLaplace, Tied} | set(densities.NEGATIVE_LOG_DENSITIES)
    if any(type(e.distribution) not in known for e in entries):
        return None
    sizes = float(np.std(np.asarray(target))) if _is_located(kind) and np.ndim(target) == 1 else 1.0
    us = _probes(posed, sizes or 1.0)
    seen = jax.tree.map(np.asarray, _observe(us, posed, batch=rows_at_once(posed.data, len(us[0]))))
    # Probes at which a hyper-parameter leaves its domain say nothing; whole lines are dropped.
    good = np.isfinite(seen["value"]).reshape(-1, 3).all(axis=1).repeat(3)
    if not good[0] or good.sum() < 12:
        return None
    lines = np.flatnonzero(good[::3])
    seen, us = jax.tree.map(lambda v: v[good], seen), [u[good] for u in us]
    terms = _likelihood_terms(likelihood, kind, seen, target)
    if terms is None:
        return None
    priors, prior, sizes_of_prior = [], np.zeros(len(us[0])), np.zeros(len(us[0]))
    for entry, parts, leaf in zip(entries, seen["priors"], seen["leaves"], strict=True):
        value, found = _prior(entry, parts, leaf)
        prior, sizes_of_prior = prior + value, sizes_of_prior + np.abs(value)
        priors.append(found)
    total = terms.reshape(len(terms), -1)
    magnitude = float(np.max(np.sum(np.abs(total), axis=1) + sizes_of_prior))
    parts = seen["noise"]
    moving = tuple(name for name, part in parts.items() if part is not None and np.any(np.ptp(part, axis=0) > 0))
    predictor = read_predictor(
        kind, likelihood, parts, seen["predictor"], posed, seen["leaves"], lines % SHORT != SHORT - 1
    )
    return Reading(
        kind, parts, moving, predictor, priors, seen["value"], np.sum(total, axis=1), prior, seen["slope"],
        [u for u in us if u[0].size],  # what is held has no coordinates
        seen["leaves"], magnitude, lines % SHORT == SHORT - 1,
        _entangled(posed, kind, moving, predictor),
    )  # fmt: skip


def _entangled(posed: Posed, kind: type, moving: tuple[str, ...], predictor: Predictor) -> tuple[str, ...]:
    """Hyper-parameters that are no mean and depend on leaves that the mean depends on, from the jaxpr."""
    # The rate of a gamma is its concentration over the mean, and no mean.
    means = ("loc", "mean") if kind is Gamma else ("loc", "mean", "log_rate", "rate")
    mean = next((name for name in means if name in moving), None)
    others = tuple(
        name for name in moving if name in ("scale", "df", "delta", "quantile", "concentration") or "zero" in name
    )
    if not isinstance(posed.objective.likelihood, ModelLikelihood) or not others:
        return ()
    leaves, tree = jax.tree.flatten(posed.template)
    names, found = leaf_names(posed), set()
    for k, leaf in enumerate(leaves):

        def parts_of(value: Any, k: int = k) -> list[Any]:
            whole = jax.tree.unflatten(tree, [value if j == k else other for j, other in enumerate(leaves)])
            whole = posed.objective.prior.complete(whole)  # a tied parameter follows its source
            parts = fields(posed.objective.likelihood.distribution(whole, *posed.data[:-1]))
            return [jnp.asarray(parts[name]) for name in ((mean,) if mean else ()) + others]

        touched = depends_on(parts_of, leaf)
        moves_mean = touched[0] if mean else names[k] in (predictor.coef, predictor.intercept)
        if moves_mean:
            found |= {name for name, hit in zip(others, touched[-len(others) :], strict=True) if hit}
    return tuple(sorted(found))


def _kind(likelihood: Any, params: Any, inputs: list[Any]) -> type | None:
    """Class of the distribution, likelihood or loss, if it is in the tables."""
    if isinstance(likelihood, ModelLikelihood):
        try:
            distribution = jax.eval_shape(likelihood.distribution, params, *inputs)
        except Exception:  # a foreign distribution that is no pytree, whatever it raises
            return None
        found = type(distribution)
        if found in (ZeroInflated, Hurdle):
            found = COMPOSED.get((found, type(distribution.base)), found)
        known = _formula(found) is not None and not issubclass(found, MultivariateNormal | GroupLaplace)
        return found if known or found is BinomialCounts else None
    if isinstance(likelihood, CoxPartial):
        return CoxPartial if likelihood.ties != "exact" else None
    if isinstance(likelihood, ConditionalLogit):
        return ConditionalLogit
    if isinstance(likelihood, FunctionLikelihood):
        if isinstance(likelihood.fn, QuasiGLM):
            return QuasiGLM
        if isinstance(likelihood.fn, LossOfModel) and isinstance(likelihood.fn.loss, MarginLoss):
            return type(likelihood.fn.loss)
    return None


def _is_located(kind: type) -> bool:
    return "loc" in getattr(kind, "__dataclass_fields__", {})


def _probes(posed: Posed, spread: float) -> list[np.ndarray]:
    """Unconstrained coordinates of lines of three points; the first is at the parameters."""
    generator = np.random.default_rng(0)
    center = [np.asarray(u, float) for u in posed.to_unconstrained(posed.template)]
    x = posed.data[0] if np.ndim(posed.data[0]) == 2 else None
    unit = None if x is None else unit_of(x)
    points: list[list[np.ndarray]] = [[] for _ in center]
    dtype = jnp.result_type(float, *jax.tree.leaves(posed.template))
    short = float(jnp.finfo(dtype).eps) ** (1 / 3)
    for line in range(LINES):
        size = (0.03, 0.1, 0.3, 1.0)[(line // SHORT) % 4]
        is_short = line % SHORT == SHORT - 1
        # Some lines pass through the parameters, the others near zero and far out where that is defined.
        near = line % SHORT == 0
        for k, (u, support) in enumerate(zip(center, posed.supports, strict=True)):
            if not isinstance(support, Real):
                middle = u + (0.0 if line == 0 else 0.3) * generator.normal(size=u.shape)
                step = short * generator.normal(size=u.shape) if is_short else 0.0
                points[k] += [middle, middle + step, middle - step]
                continue
            scale = unit.reshape((-1,) + (1,) * (u.ndim - 1)) if unit is not None and u.shape[:1] == unit.shape else 1.0
            scale = scale * (1.0 if line % 3 else spread) * size
            # Short lines start beside the parameters, because on a kink there is no slope.
            start = u + 0.0 * scale if near else scale * generator.normal(size=u.shape) + (u if is_short else 0.0)
            step = scale * generator.normal(size=u.shape) * (short if is_short else 1.0)
            points[k] += [start, start + step, start - step]
    return [np.array(p) for p in points]


def _one(u: list[jax.Array], posed: Posed) -> dict[str, Any]:
    objective = posed.objective

    def value(u: list[jax.Array]) -> jax.Array:
        return objective.negative_log_posterior(posed.to_params(u), posed.data, posed.weights)

    total, slope = jax.value_and_grad(value)(u)
    params = posed.to_params(u)
    *inputs, _ = posed.data
    likelihood = objective.likelihood
    noise, predictor = None, None
    if isinstance(likelihood, ModelLikelihood):
        noise = likelihood.distribution(params, *inputs)
    elif isinstance(likelihood, CoxPartial | ConditionalLogit):
        predictor = likelihood.predictor(params, *inputs)
    elif isinstance(likelihood, FunctionLikelihood) and isinstance(likelihood.fn, LossOfModel):
        noise, predictor = likelihood.fn.loss, likelihood.fn.model(params, *inputs)
    elif isinstance(likelihood, FunctionLikelihood):
        predictor = linear_predictor(params, inputs[0], likelihood.fn.intercept, *inputs[1:])
    entries = objective.prior.entries(params) or []
    priors = [fields(e.distribution) for e in entries]
    return {
        "value": total, "slope": [s for s in slope if s.size], "noise": fields(noise), "predictor": predictor,
        "priors": priors, "leaves": jax.tree.leaves(params),
    }  # fmt: skip


@quick_jit(static_argnames="batch")
def _observe(us: list[Any], posed: Posed, *, batch: int) -> dict[str, Any]:
    return jax.lax.map(lambda u: _one(u, posed), us, batch_size=batch)


def _expand(part: Any, rank: int) -> Any:
    """A part of shape ``(P, *batch)`` with axes inserted after the first, so that it broadcasts as batches do."""
    if part is None:
        return None
    return part.reshape(part.shape[:1] + (1,) * (rank - (part.ndim - 1)) + part.shape[1:])


def _likelihood_terms(likelihood: Any, kind: type, seen: dict[str, Any], target: Any) -> np.ndarray | None:
    """Minus the log-likelihood of each probe and row, from the parts."""
    eta, count = seen["predictor"], len(seen["value"])
    if kind is CoxPartial:
        time, event = (np.asarray(part, float) for part in target)
        strata = np.zeros(time.shape) if likelihood.strata is None else np.asarray(likelihood.strata)
        entry = None if likelihood.entry is None else np.asarray(likelihood.entry)
        return np.array([densities.cox(eta[k], time, event, strata, entry, likelihood.ties) for k in range(count)])
    if kind is ConditionalLogit:
        y, groups = np.asarray(target, float), np.asarray(likelihood.groups)
        return np.array([densities.conditional_logit(eta[k], y, groups) for k in range(count)])
    if isinstance(kind, type) and issubclass(kind, MarginLoss):
        constants = {name: part[:, None] for name, part in seen["noise"].items()}
        return densities.margin_loss(kind.__name__, (2 * np.asarray(target, float) - 1) * eta, constants)
    if kind is QuasiGLM:
        model = likelihood.fn
        mu = np.asarray(model.link.inverse(jnp.asarray(eta)))
        return densities.quasi_deviance(model.power, np.asarray(target, float), mu) / float(model.dispersion)
    parts = dict(seen["noise"])
    if kind is BinomialCounts:
        target, trials = (np.asarray(part, float) for part in target)
        parts["total_count"] = np.broadcast_to(trials, (count, *trials.shape))
    y = np.asarray(target, float)
    with_axis = ("logits", "probs") if kind.__name__ == "Categorical" else ("cutpoints",)
    parts = {name: _expand(part, y.ndim + (name in with_axis)) for name, part in parts.items()}
    chosen = _formula(kind)
    assert chosen is not None
    with np.errstate(all="ignore"):
        return np.broadcast_to(chosen(parts, y), (count, *y.shape))


def _formula(kind: type) -> Any:
    """The formula of a family, or ``None``."""
    if kind is BinomialCounts:
        kind = Binomial
    return ZERO_DENSITIES.get(kind) or densities.NEGATIVE_LOG_DENSITIES.get(kind)


def _prior(entry: Any, parts: dict[str, Any], leaf: np.ndarray) -> tuple[np.ndarray, Prior]:
    """Minus the log-prior of a leaf at all probes, and its record."""
    kind, shape = type(entry.distribution), leaf.shape[1:]
    moving = tuple(name for name, part in parts.items() if part is not None and np.any(np.ptp(part, axis=0) > 0))
    record = Prior(entry.name, shape, kind, parts, moving)
    if kind in (Flat, Fixed, Tied):
        return np.zeros(len(leaf)), record
    group = kind in (GroupLaplace, MultivariateNormal)  # their last axis is an event
    rank = len(shape)
    if kind is GroupedLaplace:
        expanded = {name: _expand(part, rank) for name, part in parts.items()}
        value = densities.grouped_laplace(expanded, leaf, entry.distribution.groups)
        return np.sum(value.reshape(len(leaf), -1), axis=1), record
    expanded = {name: _expand(part, rank - 1 if group and name == "scale" else rank) for name, part in parts.items()}
    with np.errstate(all="ignore"):
        value = np.broadcast_to(
            densities.NEGATIVE_LOG_DENSITIES[kind](expanded, leaf), leaf.shape[:-1] if group else leaf.shape
        )
    return np.sum(value.reshape(len(leaf), -1), axis=1), record
