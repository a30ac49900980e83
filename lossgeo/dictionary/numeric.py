"""Names an objective from its values at probes, and refuses what leaves a residual at probes that were not fitted."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lossgeo._pytree import path_name
from lossgeo.dictionary.atoms import ATOMS, BINOMIAL, MULTINOMIAL, Atom
from lossgeo.dictionary.layout import Layout, layout_of
from lossgeo.dictionary.probing import CELLS, Values, certificate_bound, evaluate, row_scale
from lossgeo.dictionary.regression import Candidate, Fitted, Problem, penalties_of, problem_of_values, regress
from lossgeo.objective import Objective
from lossgeo.supports import Real

__all__ = ["Found", "NotFound", "find", "predictor_of", "slopes_at", "sums"]

MANY = 256
"""Coordinates beyond which those of a leaf share their penalty in the dictionary."""


NOTHING = "no loss and penalty of the dictionary reproduce the values of the objective at held-out probes"

LARGEST_CONDITION = 1e7
"""Condition number of a regression beyond which its parts cannot be told apart."""

MANY_ROWS = 8192
"""Observations from which on the dictionary is tried on a sample of them first."""

SAMPLE = 2048
"""Observations of that sample."""

IMPLAUSIBLE = 1e-4
"""Relative residual on the sample, where rounding leaves 1e-6 at most, that strikes a data term off the dictionary."""


class Found(NamedTuple):
    """An objective that values have told.

    Fields: ``atom`` with its ``fitted`` coefficients and ``scales``; ``layout``; ``offset`` and ``baseline`` of the
    predictor; ``held``, texts of parameters that were held; ``probes``, ``values`` at them, their ``sizes``, and which
    were held out; ``ask`` evaluates the objective at other leaves.
    """

    atom: Atom
    fitted: Fitted
    scales: dict[str, float]
    layout: Layout
    offset: np.ndarray | None
    baseline: int | None
    held: tuple[str, ...]
    probes: list[np.ndarray]
    values: Values
    sizes: np.ndarray
    out: np.ndarray
    ask: Callable[[list[np.ndarray]], Values]


class NotFound(NamedTuple):
    """Why nothing was found, and the least residual."""

    reason: str
    residual: float


class _Hypothesis(NamedTuple):
    """An atom with the predictor and the target that it is given."""

    atom: Atom
    eta: Callable[[Any], np.ndarray]
    y: Any
    offset: np.ndarray | None
    baseline: int | None


class _Probed(NamedTuple):
    """Probes of an objective and its values there; ``pooled``, whether coordinates share their penalties."""

    layout: Layout
    probes: list[np.ndarray]
    sizes: np.ndarray
    values: Values
    pooled: bool
    held: tuple[str, ...]
    ask: Callable[[list[np.ndarray]], Values]


def find(objective: Any, params: Any, data: tuple[Any, ...]) -> Found | NotFound:
    """Probe an objective and regress its values on the dictionary.

    Of many observations a sample is probed first. A data term that does not reproduce the values there is not tried on
    all of them: what is a sum over rows is one over any of them. So an objective that is in no dictionary is refused
    at the price of the sample.

    Args:
        objective: ``(params, *data) -> ()``.
        params: center of the probes; constrained parameters of an objective are held there.
        data: features, a target, and perhaps an offset or numbers of trials between them.

    Raises:
        ValueError: shapes that make no linear predictor.
    """
    struck: set[_Key] = set()
    if np.ndim(data[0]) == 2 and len(data[0]) >= MANY_ROWS:
        tried = _tried_on_sample(objective, params, data)
        struck = {key for key, residual in tried.items() if residual > IMPLAUSIBLE}
        if tried and len(struck) == len(tried):
            return NotFound(f"{NOTHING} (on a sample of {SAMPLE} observations)", min(tried.values()))
    probed = _probe(objective, params, data)
    return probed if isinstance(probed, NotFound) else _choose(probed, struck)


def _tried_on_sample(objective: Any, params: Any, data: tuple[Any, ...]) -> dict["_Key", float]:
    """Relative residual of every data term on a sample of the rows, 0 where that does not tell; nothing if it fails."""
    rows = np.sort(np.random.default_rng(2).choice(len(data[0]), SAMPLE, replace=False))
    try:
        probed = _probe(objective, params, jax.tree.map(lambda leaf: np.asarray(leaf)[rows], data))
    except (TypeError, ValueError, IndexError):  # it holds rows of its own
        return {}
    if isinstance(probed, NotFound):
        return {}
    problem = _problem(probed)

    def residual(hypothesis: _Hypothesis) -> float:
        found = regress(_candidate(hypothesis), problem)
        if isinstance(found, float):
            return found if math.isfinite(found) else 0.0
        return found.residual if found.condition <= LARGEST_CONDITION else 0.0

    return {_key(hypothesis): residual(hypothesis) for hypothesis in _hypotheses(probed.layout, probed.probes)}


def _probe(objective: Any, params: Any, data: tuple[Any, ...]) -> _Probed | NotFound:
    """Probe an objective."""
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    supports = objective.supports(params) if isinstance(objective, Objective) else None
    held = [] if supports is None else [k for k, support in enumerate(supports) if not isinstance(support, Real)]
    free = [k for k in range(len(paths)) if k not in held]
    layout = layout_of(params, free, data)
    centers = [np.asarray(paths[k][1], float) for k in free]
    pooled = layout.size > MANY
    terms = 2 * len(centers) if pooled else 2 * layout.size
    located = not isinstance(layout.y, tuple) and not np.all(layout.y == np.floor(layout.y))
    spread = float(np.std(layout.y)) if located else 1.0
    probes, sizes = layout.probes(centers, 60 + 3 * terms, spread or 1.0)

    def ask(leaves: list[np.ndarray]) -> Values:
        whole = [np.broadcast_to(np.asarray(v, float), (len(leaves[0]), *np.shape(v))) for _, v in paths]
        for k, leaf in zip(free, leaves, strict=True):
            whole[k] = leaf
        found = evaluate(objective, tree, whole, data)
        return found if found.slopes is None else found._replace(slopes=[found.slopes[k] for k in free])

    values = ask(probes)
    good = np.isfinite(values.values) & (np.abs(values.values) < 1e60)
    if good.mean() < 0.6:
        return NotFound("the objective is not finite at the probes: a parameter has a constraint", math.inf)
    probes, sizes = [p[good] for p in probes], sizes[good]
    values = Values(
        values.values[good], None if values.slopes is None else [s[good] for s in values.slopes], values.eps
    )
    if np.ptp(values.values) == 0:
        return NotFound("the objective does not change between the probes: it ignores its parameters", math.inf)
    texts = tuple(
        f"the card is for {path_name(paths[k][0])} = {np.asarray(paths[k][1]).tolist()!r}, which is held" for k in held
    )
    return _Probed(layout, probes, sizes, values, pooled, texts, ask)


_Key = tuple[str, int | None]


def _key(hypothesis: _Hypothesis) -> _Key:
    return hypothesis.atom.label, hypothesis.baseline


def _held_out(probed: _Probed) -> np.ndarray:
    """Which probes are held out."""
    return np.random.default_rng(1).permutation(len(probed.sizes)) % 4 == 3


def _problem(probed: _Probed) -> Problem:
    values = probed.values
    resolution, agree = max(1e-10, 32 * values.eps), max(1e-6, 2e4 * values.eps)
    penalties = penalties_of([p.reshape(len(p), -1) for p in probed.probes], probed.pooled)
    return problem_of_values(values.values, row_scale(values.values), ~_held_out(probed), penalties, resolution, agree)


def _candidate(hypothesis: _Hypothesis) -> Candidate:
    return Candidate(hypothesis.atom.label, _columns(hypothesis), _grid(hypothesis))


def _choose(probed: _Probed, struck: set[_Key]) -> Found | NotFound:
    """The simplest atom that reproduces the values; two different ones are a refusal."""
    layout, values, problem = probed.layout, probed.values, _problem(probed)
    bound = certificate_bound(values.values, float(np.median(np.abs(values.values))), values.eps)
    best, culprits, improper = math.inf, "", ""
    accepted: list[Found] = []
    for hypothesis in _hypotheses(layout, probed.probes):
        if accepted and (hypothesis.atom.shape is not None or hypothesis.atom.general):
            break
        if _key(hypothesis) in struck:
            continue
        atom = hypothesis.atom
        found = regress(_candidate(hypothesis), problem)
        if isinstance(found, float):
            best = min(best, found)
            continue
        if found.condition > LARGEST_CONDITION:
            best = min(best, found.residual)
            if found.residual <= bound and not culprits:
                names = " and ".join(found.culprits)
                culprits = f"{names} are collinear (condition number {found.condition:.0e})"
            continue
        if not found.residual <= bound:
            best = min(best, found.residual)
            continue
        scales = _admissible(atom, found)
        if scales is None:
            best = min(best, found.residual)
            improper = improper or (
                f"the values are those of {atom.label} with a weight or a penalty that is negative or too small: no "
                "density has it"
            )
            continue
        accepted.append(
            Found(
                atom,
                found,
                scales,
                layout,
                hypothesis.offset,
                hypothesis.baseline,
                probed.held,
                probed.probes,
                values,
                probed.sizes,
                _held_out(probed),
                probed.ask,
            )  # fmt: skip
        )
    if len(accepted) > 1 and sum(not f.atom.margin for f in accepted) == 1:
        # Of a density and a margin loss that are the same function on these labels, the density is the reading.
        accepted = [f for f in accepted if not f.atom.margin]
    if len(accepted) > 1:
        names = " and ".join(f.atom.label for f in accepted)
        return NotFound(f"{names} reproduce the values equally well: the data do not tell them apart", 0.0)
    if accepted:
        return accepted[0]
    reason = NOTHING
    if improper:
        reason = improper
    elif culprits:
        reason = f"the probes cannot tell parts of the dictionary apart on these data: {culprits}"
    if bound < best < 1e-5:
        reason += (
            "; nearly: a small part is missing, or the values are rounded to single precision (then evaluate in "
            "float64, jax_enable_x64)"
        )
    return NotFound(reason, best)


def slopes_at(found: Found, leaves: list[np.ndarray]) -> list[np.ndarray]:
    """Slopes of the objective; by central differences of its values where JAX cannot take its derivative."""
    known = found.ask(leaves).slopes
    if known is not None:
        return known
    small = found.sizes <= 1.0
    slopes = []
    for k, leaf in enumerate(leaves):
        step = float(np.finfo(float).eps) ** (1 / 3) * np.std(found.probes[k][small], axis=0)
        slope = np.empty(leaf.shape)
        for index in np.ndindex(*leaf.shape[1:]):
            ends = []
            for sign in (1.0, -1.0):
                moved = [v.copy() for v in leaves]
                moved[k][(slice(None), *index)] += sign * step[index]
                ends.append(found.ask(moved).values)
            slope[(slice(None), *index)] = (ends[0] - ends[1]) / (2 * step[index])
        slopes.append(slope)
    return slopes


def predictor_of(layout: Layout, probes: list[np.ndarray], offset: np.ndarray | None, baseline: int | None) -> Any:
    """The predictor at some of the probes, as a function of their indices."""

    def eta(rows: Any) -> np.ndarray:
        found = layout.predictor([p[rows] for p in probes])
        if baseline is not None:
            found = np.insert(found, baseline, 0.0, axis=2)
        return found if offset is None else found + offset[None, :]

    return eta


def _hypotheses(layout: Layout, probes: list[np.ndarray]) -> list[_Hypothesis]:
    """Atoms that the targets allow, each with its predictor; those with a shape come last."""

    def with_predictor(
        atom: Atom, y: Any, offset: np.ndarray | None = None, baseline: int | None = None
    ) -> _Hypothesis:
        return _Hypothesis(atom, predictor_of(layout, probes, offset, baseline), y, offset, baseline)

    y, extra = layout.y, layout.extra
    if layout.classes:
        if isinstance(y, tuple) or not MULTINOMIAL.targets(y):
            return []
        found = [with_predictor(MULTINOMIAL, y)] if y.max() < layout.classes else []
        return found + [
            with_predictor(MULTINOMIAL, y, None, b) for b in (0, layout.classes) if y.max() <= layout.classes
        ]
    if isinstance(y, tuple):
        return [with_predictor(BINOMIAL, y)]
    found = []
    if extra is not None and np.all(extra >= y) and np.all(y >= 0):
        found.append(with_predictor(BINOMIAL, (y, extra)))
    return found + [with_predictor(atom, y, extra) for atom in ATOMS if atom.targets(y)]


def sums(atom: Atom, eta: Any, y: Any, shape: float, rows: np.ndarray) -> np.ndarray:
    """Columns of a data term at the probes ``rows``, ``(len(rows), m)``, a batch of probes at a time."""
    step = max(1, CELLS // max(np.size(y[0] if isinstance(y, tuple) else y), 1))
    blocks = []
    for start in range(0, len(rows), step):
        with np.errstate(all="ignore"):
            parts = atom.columns(np, eta(rows[start : start + step]), y, shape)
        blocks.append(np.array([np.sum(part, axis=1) for part in parts]).T)
    return np.concatenate(blocks)


def _columns(hypothesis: _Hypothesis) -> Callable[[float, np.ndarray], np.ndarray]:
    """Columns of an atom; predictors of one set of probes are kept while its shape is looked for."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []

    def columns(shape: float, rows: np.ndarray) -> np.ndarray:
        atom, y = hypothesis.atom, hypothesis.y
        if atom.shape is None or np.size(y) * len(rows) > 4 * CELLS:
            return sums(atom, hypothesis.eta, y, shape, rows)
        if not kept or kept[0][0] is not rows:
            kept[:] = [(rows, hypothesis.eta(rows))]
        return sums(atom, lambda part: kept[0][1][part], y, shape, np.arange(len(rows)))

    return columns


def _grid(hypothesis: _Hypothesis) -> np.ndarray | None:
    """Shapes to start from, in the units of the residuals at the smaller probes."""
    shape = hypothesis.atom.shape
    if shape is None:
        return None
    return shape.grid(float(np.median(np.abs(hypothesis.y - hypothesis.eta(slice(0, 1))))) or 1.0)


def _admissible(atom: Atom, found: Fitted) -> dict[str, float] | None:
    """Scales of the data term; ``None`` where weights or penalties have a sign or size that means nothing."""
    if min(found.l2.min(), found.l1.min(), found.group.min()) < 0 or not np.all(found.weights > 0):
        return None
    return atom.settle(found.weights, found.shape)
