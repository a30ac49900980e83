"""The card of an objective that its values have told."""

import math
from typing import Any

import numpy as np

from lossgeo import distributions as dist
from lossgeo.dictionary.calling import package_calls
from lossgeo.dictionary.card import Explanation, Level
from lossgeo.dictionary.declared_card import penalty_text
from lossgeo.dictionary.densities import NEGATIVE_LOG_DENSITIES
from lossgeo.dictionary.geometry_text import geometry_of_family
from lossgeo.dictionary.naming import number, penalized_name, problem_of
from lossgeo.dictionary.numeric import Found, predictor_of, slopes_at, sums
from lossgeo.dictionary.predictors import CANONICAL
from lossgeo.dictionary.structural import Prior
from lossgeo.dictionary.textbook import textbook_plan

__all__ = ["card_of_values"]


def card_of_values(found: Found) -> Explanation:
    """Write the card: names, scales, the constant against the normalizers, levels of equivalence."""
    atom, fitted, layout = found.atom, found.fitted, found.layout
    reasons: list[str] = []
    loss, problem = _problem(found)
    regularizer, priors, scales, kinds = _penalties(found)
    weight = float(fitted.weights[0])
    tempered = atom.unit and abs(weight - 1) > max(1e-8, 1e3 * found.values.eps)
    noise_scales = dict(found.scales)
    if tempered:
        noise_scales = {"s": 1 / weight} | noise_scales
        reasons.append(
            f"a tempered likelihood: the loss is weighted by {weight:#.10g}, so that against the prior it counts as "
            "another amount of data than there is (1/ln 2 = 1.442695041 is a loss in bits)"
        )
    if atom.margin:
        reasons.append("a margin loss and no density of labels: a pseudo-posterior")
    constants = _constants(found, tempered, reasons)
    lambdas = _lambdas(found, reasons)
    if found.offset is not None:
        reasons.append("the second data argument is an offset of the linear predictor")
    if found.baseline is not None:
        reasons.append(f"the logit of class {found.baseline} is held at 0")
    reasons += found.held
    kind = None if atom.density is None else atom.density[0]
    canonical = None if kind is None else CANONICAL.get(kind)
    mark = None if canonical is None else canonical == atom.link
    if atom.margin or kind is None:
        geometry = "no exponential dispersion family: no Bregman divergence belongs to this loss"
    else:
        classes = layout.classes + (found.baseline is not None)
        geometry = geometry_of_family(kind, mark, classes=classes)
    levels = (
        Level(
            "value-affine", True, fitted.residual,
            f"{int(found.out.sum())} probes held out, linear predictors up to {_reach(found):.3g}, condition number "
            f"{fitted.condition:.1e}",
        ),
        _gradient_level(found),
    )  # fmt: skip
    link = atom.link + {True: " (canonical)", False: " (not canonical)", None: ""}[mark] if atom.link else ""
    return Explanation(
        penalized_name(problem, kinds), True, loss, regularizer, noise_scales | scales, lambdas, fitted.residual,
        tuple(reasons), "numeric", _noise(found), link, priors, geometry, textbook_plan(found), levels, constants,
    )  # fmt: skip


def _problem(found: Found) -> tuple[str, str]:
    atom, tau = found.atom, found.scales.get("tau")
    if atom.kind == "EpsilonInsensitive":
        return "epsilon-insensitive loss", "support vector regression"
    named = "Cauchy" if abs(found.scales.get("df", 0.0) - 1) < 1e-9 else atom.kind
    loss, problem = problem_of(named, "score" if atom.margin else atom.link, margin=atom.margin)
    words = "no likelihood" if atom.margin else ("noise" if atom.kind in ("Normal", "Laplace") else "likelihood")
    loss = f"{loss}, {words if atom.margin else f'{atom.kind} {words}'}"
    return loss, problem if tau is None else f"{problem} at the quantile {number(tau)}"


def _noise(found: Found) -> str:
    if found.atom.margin:
        return f"{found.atom.kind}: no density of the target"
    return found.atom.kind + (
        f"({', '.join(f'{k} = {v:.10g}' for k, v in found.scales.items())})" if found.scales else ""
    )


def _reach(found: Found) -> float:
    return float(np.max(np.abs(predictor_of(found.layout, found.probes, None, None)(slice(None)))))


def patterns(found: Found) -> list[list[tuple[tuple[int, ...], float, float]]]:
    """For each leaf its coordinates in groups of one penalty: places within the leaf, ``l2``, ``l1``."""
    leaves, start = [], 0
    for shape in found.layout.shapes:
        size = int(np.prod(shape))
        groups: dict[tuple[float, float], list[int]] = {}
        for j in range(size):
            key = (float(found.fitted.l2[start + j]), float(found.fitted.l1[start + j]))
            groups.setdefault(key, []).append(j)
        leaves.append([(tuple(places), *key) for key, places in groups.items()])
        start += size
    return leaves


def prior_of(l2: float, l1: float) -> dist.Distribution:
    """The prior that a penalty is minus the logarithm of."""
    if l2 and l1:
        return dist.ElasticNet(0.0, 1 / l1, 1 / math.sqrt(l2))
    if l2 or l1:
        return dist.Normal(0.0, 1 / math.sqrt(l2)) if l2 else dist.Laplace(0.0, 1 / l1)
    return dist.Flat()


def _penalties(found: Found) -> Any:
    regularizer: dict[str, str] = {}
    priors: dict[str, str] = {}
    scales: dict[str, float] = {}
    kinds: set[str] = set()
    start = 0
    for name, shape, groups in zip(found.layout.names, found.layout.shapes, patterns(found), strict=True):
        texts, laws, label = [], [], name or "params"
        norm = float(found.fitted.group[start]) if shape and np.prod(shape) > 1 else 0.0
        start += int(np.prod(shape))
        if norm:
            text, kind, own = _text(dist.GroupLaplace, name, shape, {"loc": 0.0, "scale": 1 / norm})
            texts, laws = [text], [f"GroupLaplace(scale={1 / norm:.10g})"]
            kinds.add(kind)
            scales |= {f"{symbol} of {label}": value for symbol, value in own.items()}
        for places, l2, l1 in groups:
            law = prior_of(l2, l1)
            if isinstance(law, dist.Flat) and norm:
                continue
            where = "" if len(groups) == 1 else f"coordinates {list(places)}: "
            parts = {k: np.asarray(v, float) for k, v in vars(law).items() if not isinstance(law, dist.Flat)}
            if isinstance(law, dist.Flat):
                texts.append(where + "none, flat prior")
                laws.append(where + "Flat")
                kinds.add("")
                continue
            text, kind, own = _text(type(law), name, shape, parts)
            texts.append(where + text)
            laws.append(where + f"{type(law).__name__}({', '.join(f'{k}={number(v)}' for k, v in parts.items())})")
            kinds.add(kind)
            suffix = "" if len(groups) == 1 else f"[{', '.join(map(str, places))}]"
            scales |= {f"{symbol} of {label}{suffix}": value for symbol, value in own.items()}
        regularizer[name], priors[name] = "; ".join(texts), "; ".join(laws)
    return regularizer, priors, scales, kinds


def _text(kind: type, name: str, shape: tuple[int, ...], parts: dict[str, Any]) -> tuple[str, str, dict[str, float]]:
    now = {k: np.asarray(v, float) for k, v in parts.items()}
    return penalty_text(Prior(name, shape, kind, now, ()), now)


def _constants(found: Found, tempered: bool, reasons: list[str]) -> dict[str, float]:
    """The constant of the objective, and what it would be for a normalized joint density."""
    constant = found.fitted.constant
    if found.atom.density is None or tempered:
        return {"constant of the objective": constant}
    kind, parts_of = found.atom.density
    y: Any = found.layout.y
    if kind is dist.Binomial:
        y, trials = y if isinstance(y, tuple) else (y, found.layout.extra)
        target = (y, trials)
    else:
        target = y
    one = predictor_of(found.layout, found.probes, found.offset, found.baseline)(slice(0, 1))
    parts = parts_of(found.scales, one)
    if kind is dist.Binomial:
        parts = {**parts, "total_count": np.asarray(target[1])[None]}
    total = float(np.sum(NEGATIVE_LOG_DENSITIES[kind](parts, np.asarray(y)[None])))
    column = sums(found.atom, lambda rows: one, target, found.fitted.shape, np.arange(1))[0]
    expected = total - float(column @ found.fitted.weights) + _prior_constant(found)
    size = abs(expected) + abs(constant) + float(np.median(np.abs(found.values.values)))
    flat = [name or "params" for name, groups in zip(found.layout.names, patterns(found), strict=True)
            if any(l2 == l1 == 0 for _, l2, l1 in groups)]  # fmt: skip
    if abs(constant - expected) <= max(1e-9, 1e2 * found.values.eps) * size:
        proper = "a normalized joint density, temperature 1"
        reasons.append(proper if not flat else f"{proper}, but for the flat prior of {', '.join(flat)}")
    else:
        reasons.append(
            f"the constant is {constant - expected:.6g} nats off that of a normalized density: the objective is known "
            "up to a constant, and a power of the density could be meant"
        )
    return {"constant of the objective": constant, "constant of a normalized density": expected}


def _prior_constant(found: Found) -> float:
    total, start = 0.0, 0
    for shape, groups in zip(found.layout.shapes, patterns(found), strict=True):
        size = int(np.prod(shape))
        norm = float(found.fitted.group[start]) if size > 1 else 0.0
        if norm:
            law = NEGATIVE_LOG_DENSITIES[dist.GroupLaplace]
            total += float(law({"loc": np.zeros(size), "scale": 1 / norm}, np.zeros(size)))
        for places, l2, l1 in groups:
            prior = prior_of(l2, l1)
            if not isinstance(prior, dist.Flat):
                total += len(places) * float(NEGATIVE_LOG_DENSITIES[type(prior)](vars(prior), np.zeros(())))
        start += size
    return total


def _gradient_level(found: Found) -> Level:
    """Slopes of the objective against central differences of the decomposition, at small held-out probes."""
    name = "gradient-collinear"
    rows = np.flatnonzero(found.out & (found.sizes <= 1.0))[:8]
    traced = found.values.slopes is not None
    slopes = [s[rows] for s in found.values.slopes or []] or slopes_at(found, [p[rows] for p in found.probes])
    generator = np.random.default_rng(2)
    step = float(np.finfo(float).eps) ** (1 / 3)  # the decomposition is in double precision
    directions = [generator.normal(size=p[rows].shape) * np.std(p[rows]) for p in found.probes]
    ends = []
    for sign in (1.0, -1.0):
        moved = [p[rows] + sign * step * v for p, v in zip(found.probes, directions, strict=True)]
        ends.append(decomposition(found, moved))
    difference = (ends[0] - ends[1]) / (2 * step)
    terms = np.array([
        np.sum((s * v).reshape(len(rows), -1), axis=1)
        for s, v in zip(slopes, directions, strict=True)
    ])  # fmt: skip
    sizes = np.array([
        np.sum(np.abs(s * v).reshape(len(rows), -1), axis=1)
        for s, v in zip(slopes, directions, strict=True)
    ])  # fmt: skip
    error = float(np.max(np.abs(terms.sum(axis=0) - difference) / sizes.sum(axis=0)))
    of_both = "by differences" if traced else "all by differences: JAX cannot trace the callable"
    return Level(name, error < found.values.eps**0.25, error, f"derivatives along {len(rows)} directions, {of_both}")


def decomposition(found: Found, leaves: list[np.ndarray]) -> np.ndarray:
    """Values of the decomposition at leaves ``(P, *shape)``."""
    layout, fitted = found.layout, found.fitted
    y: Any = layout.y
    if found.atom.kind == "Binomial" and not isinstance(y, tuple):
        y = (y, layout.extra)
    eta = predictor_of(layout, leaves, found.offset, found.baseline)
    total = sums(found.atom, eta, y, fitted.shape, np.arange(len(leaves[0]))) @ fitted.weights + fitted.constant
    start = 0
    for leaf in leaves:
        flat = leaf.reshape(len(leaf), -1)
        own = slice(start, start + flat.shape[1])
        total = total + 0.5 * np.square(flat) @ fitted.l2[own] + np.abs(flat) @ fitted.l1[own]
        if flat.shape[1] > 1:
            total = total + fitted.group[start] * np.linalg.norm(flat, axis=1)
        start += flat.shape[1]
    return total


def _lambdas(found: Found, reasons: list[str]) -> dict[str, float]:
    """Package calls, where the problem is exactly theirs: one leaf of one penalty and free intercepts."""
    layout, atom = found.layout, found.atom
    if found.offset is not None or found.baseline is not None or len(layout.slopes) != 1 or np.any(found.fitted.group):
        return {}
    leaves = patterns(found)
    free = [k for k in range(len(leaves)) if k not in layout.slopes]
    if any(l2 or l1 for k in free for _, l2, l1 in leaves[k]):
        reasons.append("the intercept is penalized too: the package calls, which leave it free, solve another problem")
        return {}
    own = leaves[layout.slopes[0]]
    if not free and not layout.classes:
        # A column of ones that is not penalized is the intercept.
        constant = {j for j in range(layout.x.shape[1]) if np.ptp(layout.x[:, j]) == 0}
        own = [g for g in own if g[1] or g[2] or not set(g[0]) <= constant]
    if len(own) != 1:
        reasons.append("the penalty differs between coordinates: package calls need columns scaled by it")
        return {}
    _, l2, l1 = own[0]
    sd_y = math.nan if isinstance(layout.y, tuple) else float(np.std(layout.y))
    return package_calls(
        atom.kind, atom.link, margin=atom.margin, b=1 / l1 if l1 else math.inf, t2=1 / l2 if l2 else math.inf,
        scales=found.scales, weight=float(found.fitted.weights[0]), n=len(layout.x), sd_y=sd_y,
    )  # fmt: skip
