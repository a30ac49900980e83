r"""Names an objective from values at probes: a regression on a dictionary of losses and penalties.

Every objective in the dictionary is :math:`J(\theta) = c + a\,L(x\theta, y) + \sum_k p_k R_k(\theta)`. The values of
``J`` at probes of several sizes determine the coefficients; values at *other* probes certify them, for declared
objectives and bare callables alike. Whatever leaves a residual is refused, and not approximated.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo import numerics
from lossgeo._pytree import path_name
from lossgeo.dictionary.card import Explanation
from lossgeo.dictionary.conventions import conventions
from lossgeo.objective import Objective
from lossgeo.supports import Real

__all__ = ["explain_values"]


class _Atom(NamedTuple):
    """A loss of a linear predictor with its texts; ``fixed`` where a likelihood allows the coefficient 1 only."""

    family: str
    loss: Callable[[jax.Array, jax.Array], jax.Array]
    text: str
    problem: str
    fixed: bool


_ATOMS = (
    _Atom("normal", lambda eta, y: 0.5 * jnp.square(y - eta), "RSS/(2 s2), Normal noise", "least squares", False),
    _Atom("laplace", lambda eta, y: jnp.abs(y - eta), "sum |r|/s, Laplace noise", "least absolute deviations", False),
    _Atom(
        "bernoulli",
        lambda eta, y: numerics.softplus(eta) - y * eta,
        "logistic loss, Bernoulli likelihood",
        "logistic regression",
        True,
    ),
    _Atom("poisson", lambda eta, y: jnp.exp(eta) - y * eta, "Poisson deviance", "Poisson regression", True),
)
_PENALIZED = {
    ("normal", "l2"): "ridge regression",
    ("normal", "l1"): "lasso",
    ("normal", "l2 + l1"): "elastic net",
    ("normal", ""): "ordinary least squares",
}
_SIZES = (0.1, 0.3, 1.0)


def explain_values(objective: Any, params: Any, *data: Any) -> Explanation:
    r"""Decompose a negative log posterior and name the textbook problem that it is.

    Args:
        objective: an :class:`lossgeo.Objective`, or any function ``(params, *data) -> ()`` to be *minimized* (a
            negative log-density of numpyro, PyMC or torch, wrapped).
        params: an array of coefficients, or a tree with a leaf of shape ``(d,)`` and optionally scalar leaves
            (intercepts). It is the center of the probes. Constrained parameters of an :class:`lossgeo.Objective`, such
            as a noise scale, are held at their values here, and the card says so.
        *data: features of shape ``(n, d)`` and a target of shape ``(n,)``.

    Returns:
        An :class:`Explanation`. Linear models with normal noise of known variance, Laplace noise of known scale,
        Bernoulli (logit) and Poisson (log) likelihoods; flat, zero-mean normal and Laplace priors. Anything else comes
        back with ``recognized=False`` and the reason.

    Raises:
        ValueError: data or parameters of another shape.
    """
    if len(data) != 2 or np.ndim(data[0]) != 2 or np.ndim(data[1]) != 1 or np.shape(data[0])[0] != np.shape(data[1])[0]:
        shapes = [np.shape(d) for d in data]
        raise ValueError(f"explain wants features of shape (n, d) and a target of shape (n,); the data are {shapes}.")
    x, y = jnp.asarray(data[0], float), jnp.asarray(data[1], float)
    params = jax.tree.map(lambda v: jnp.asarray(v, float), params)
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    held = _held(objective, params)
    free = [k for k in range(len(paths)) if k not in held]
    names, leaves = [path_name(paths[k][0]) for k in free], [paths[k][1] for k in free]

    def value_at(probe: list[np.ndarray]) -> float:
        whole = [leaf for _, leaf in paths]
        for k, leaf in zip(free, probe, strict=True):
            whole[k] = leaf
        return float(objective(jax.tree.unflatten(tree, whole), *data))

    slopes = [k for k, leaf in enumerate(leaves) if leaf.shape == (x.shape[1],)]
    if len(slopes) != 1 or any(leaf.ndim for k, leaf in enumerate(leaves) if k not in slopes):
        raise ValueError(
            f"explain wants one leaf of shape {(x.shape[1],)}, one coefficient for each feature, and scalars; the "
            f"parameters have shapes {[leaf.shape for leaf in leaves]}."
        )
    probes = _probes(leaves, x)
    values = np.array([value_at(probe) for probe in probes])
    if not np.all(np.isfinite(values)):
        return _refusal("the objective is not finite at the probes: a parameter has a constraint", float("inf"))
    if np.ptp(values) == 0:
        return _refusal("the objective does not change between the probes: it ignores its parameters", float("inf"))
    best = None
    for atom in _ATOMS:
        found = _regress(atom, probes, slopes[0], names, values, x, y)
        if found is not None and (best is None or found[1] < best[1]):
            best = found
    # What rounding of the values themselves leaves, relative to how much they vary; beyond 1e-6 it certifies nothing.
    rounding = float(np.max(np.abs(values)) / np.std(values))
    bound = min(float(jnp.finfo(x.dtype).eps) * (1e4 + 64 * rounding), 1e-6)
    if best is None or best[1] > bound:
        return _refusal(
            "no loss and penalty of the dictionary reproduce the values of the objective at held-out probes",
            float("inf") if best is None else best[1],
        )
    card = _card(*best, names, x, y)
    notes = [f"given {path_name(paths[k][0])} = {np.asarray(paths[k][1]).tolist()!r}, which is held" for k in held]
    return dataclasses.replace(card, reasons=(*card.reasons, *notes))


def _held(objective: Any, params: Any) -> list[int]:
    """Leaves that live on less than the whole real line: a noise scale, cut-points."""
    if not isinstance(objective, Objective):
        return []
    return [k for k, support in enumerate(objective.supports(params)) if not isinstance(support, Real)]


def _refusal(reason: str, residual: float) -> Explanation:
    return Explanation("not in the dictionary", False, "unknown", {}, {}, {}, residual, (reason,))


def _probes(leaves: list[jax.Array], x: jax.Array) -> list[list[np.ndarray]]:
    """Points around the center and around 0, of several sizes in units of the linear predictor, with both signs."""
    generator = np.random.default_rng(0)
    unit = 1 / np.maximum(np.sqrt(np.mean(np.square(np.asarray(x)), axis=0)), 1e-300)
    scales = [unit if leaf.ndim else np.ones(()) for leaf in leaves]
    count = 24 + 8 * len(leaves)
    return [
        [
            (k % 2) * np.asarray(leaf) + _SIZES[k % 3] * scale * generator.normal(size=leaf.shape)
            for leaf, scale in zip(leaves, scales, strict=True)
        ]
        for k in range(count)
    ]


def _regress(
    atom: _Atom, probes: list[Any], slope: int, names: list[str], values: np.ndarray, x: jax.Array, y: jax.Array
) -> tuple[_Atom, float, dict[str, float]] | None:
    """Coefficients of one loss and of all penalties, and the residual where they were not fitted."""
    columns: dict[str, list[float]] = {"loss": [], "constant": []}
    for probe in probes:
        eta = x @ jnp.asarray(probe[slope]) + sum(float(v) for k, v in enumerate(probe) if k != slope)
        columns["loss"].append(float(jnp.sum(atom.loss(eta, y))))
        columns["constant"].append(1.0)
        for name, leaf in zip(names, probe, strict=True):
            columns.setdefault(f"l2 {name}", []).append(0.5 * float(np.sum(np.square(leaf))))
            columns.setdefault(f"l1 {name}", []).append(float(np.sum(np.abs(leaf))))
    matrix = np.array(list(columns.values())).T
    if not np.all(np.isfinite(matrix)):
        return None
    size = np.linalg.norm(matrix, axis=0)
    fit = np.arange(len(probes)) % 4 != 3
    scaled = matrix / size
    if np.linalg.cond(scaled[fit]) > 1e7:
        return None
    spread = float(np.std(values))
    keep = np.ones(size.size, bool)
    for _ in range(2):
        solution = np.zeros(size.size)
        solution[keep] = np.linalg.lstsq(scaled[fit][:, keep], values[fit], rcond=None)[0]
        # A part that moves the objective by no more than rounding is not there.
        moves = np.abs(solution) * np.std(scaled, axis=0)
        keep = (moves > 1e-10 * spread) | (np.array(list(columns)) == "constant")
    residual = float(np.max(np.abs(scaled[~fit] @ solution - values[~fit]))) / spread
    found = dict(zip(columns, (solution / size).tolist(), strict=True))
    if found["loss"] <= 0 or any(v < 0 for k, v in found.items() if k.startswith("l")):
        return None
    return atom, residual, found


def _card(
    atom: _Atom, residual: float, found: dict[str, float], names: list[str], x: jax.Array, y: jax.Array
) -> Explanation:
    noise = 1 / found["loss"]
    reasons = []
    if atom.fixed and abs(noise - 1) > 1e-8:
        reasons.append(
            f"a tempered likelihood: the loss is weighted by {found['loss']:#.10g}, so that against the prior it "
            "counts as another amount of data than there is (1/ln 2 = 1.442695041 is a loss in bits)"
        )
    regularizer: dict[str, str] = {}
    scales: dict[str, float] = {}
    lambdas: dict[str, float] = {}
    kinds: set[str] = set()
    if atom.family == "normal":
        scales["s2"] = noise
    elif not atom.fixed or reasons:
        scales["s"] = noise
    for name in names:
        l2, l1 = found[f"l2 {name}"], found[f"l1 {name}"]
        parts = [f"|w|^2/(2 t2), t2 = {1 / l2:#.10g}, Normal prior"] if l2 else []
        parts += [f"|w|_1/b, b = {1 / l1:#.10g}, Laplace prior: exact zeros in the mode only"] if l1 else []
        regularizer[name] = "; ".join(parts) or "none, flat prior"
        kinds.add(" + ".join(["l2"] * bool(l2) + ["l1"] * bool(l1)))
        for coefficient, symbol in ((l2, "t2"), (l1, "b")):
            if coefficient:
                scales[f"{symbol} of {name or 'params'}"] = 1 / coefficient
        if bool(l2) != bool(l1):
            table = conventions(
                atom.family,
                "l2" if l2 else "l1",
                strength=found["loss"] / (l2 or l1) if atom.fixed else 1 / (l2 or l1),
                noise=1.0 if atom.fixed else noise,
                n=x.shape[0],
                sd_y=float(jnp.std(y)),
            )
            lambdas |= table if not lambdas else {f"{call} [{name}]": value for call, value in table.items()}
    penalized = kinds - {""}
    kind = penalized.pop() if len(penalized) == 1 else ("mixed" if penalized else "")
    prefixes = {"l2": "ridge-penalized ", "l1": "lasso-penalized ", "": "", "l2 + l1": "elastic-net "}
    name = _PENALIZED.get((atom.family, kind), prefixes.get(kind, "penalized ") + atom.problem)
    if kind == "l2 + l1":
        reasons.append("an elastic net: l1 and l2 parts of one parameter; the package calls take both scales")
    return Explanation(name, True, atom.text, regularizer, scales, lambdas, residual, tuple(reasons))
