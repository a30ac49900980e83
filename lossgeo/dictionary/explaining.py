"""Names the textbook problem that an objective is, with a certificate; refuses what it does not know."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from lossgeo.dictionary.card import Explanation, Level
from lossgeo.dictionary.declared_card import card_of_reading, refusal
from lossgeo.dictionary.equivalence import levels_by_solving
from lossgeo.dictionary.numeric import NotFound, find
from lossgeo.dictionary.structural import read
from lossgeo.dictionary.values_card import card_of_values
from lossgeo.objective import Objective
from lossgeo.posing import pose
from lossgeo.validation import prepare

__all__ = ["explain"]


def explain(objective: Any, params: Any, *data: Any, solve: bool = False) -> Explanation:
    r"""Decompose a negative log posterior and name the textbook problem that it is.

    Where the parts of an :class:`lossgeo.Objective` are declared (a model that returns a distribution, a partial or
    conditional likelihood, a margin loss, a quasi-likelihood; priors that are distributions, fixed or hierarchical)
    they are read: noise, link, penalty. Every reading is certified by values, computed a second time from textbook
    formulas at probes around the parameters. Whatever else there is, a bare log-density or a foreign callable, is told
    by its values alone. What neither way can name is refused.

    Args:
        objective: an :class:`lossgeo.Objective`, or any function ``(params, *data) -> ()`` to be *minimized* (a
            negative log-density of numpyro, PyMC or torch, wrapped).
        params: parameters around which the objective is probed; ``None`` if the model knows start values. For a bare
            function an array of coefficients, or a tree with a leaf of shape ``(d,)`` and optionally scalar leaves
            (intercepts).
        *data: what the objective takes; for a bare function features of shape ``(n, d)`` and a target ``(n,)``.
        solve: whether to solve the textbook problem too, along a path of strengths and after the preprocessing of
            packages, and to compare: the later ``levels`` of the card. It costs some seconds of compilation.

    Returns:
        An :class:`Explanation`, with ``recognized=False`` and a reason where nothing fits.

    Raises:
        ValueError: data or parameters of another shape.
        TypeError: data that are not numeric.

    Numerics:
        The certificate is the largest disagreement of values, relative to the distance of each from their median. In
        float64 it is some 1e-14 for what the dictionary holds. It speaks of the region that the probes reach, from a
        thirtieth of a unit of the linear predictor up to some units.
    """
    if params is not None:
        params = jax.tree.map(lambda v: jnp.asarray(v, float), params)
    if isinstance(objective, Objective):
        params, arrays, _ = prepare(objective, params, data, None)
        posed = pose(objective, params, arrays, None)
        reading = read(posed)
        if reading is not None:
            card = card_of_reading(posed, reading)
            return _crossed(card, objective, params, data) if solve and card.recognized else card
    found = find(objective, params, data)
    if isinstance(found, NotFound):
        return refusal(found.reason, found.residual, "numeric")
    card = card_of_values(found)
    return dataclasses.replace(card, levels=card.levels + levels_by_solving(found)) if solve else card


def _crossed(card: Explanation, objective: Any, params: Any, data: tuple[Any, ...]) -> Explanation:
    """A card that was read, with what values alone tell, and with the textbook problem solved."""
    name = "values alone tell the same"
    try:
        found = find(objective, params, data)
    except ValueError:
        found = NotFound("the shapes are not those of one linear predictor", math.inf)
    if isinstance(found, NotFound):
        return dataclasses.replace(card, levels=(*card.levels, Level(name, None, math.nan, found.reason)))
    other = card_of_values(found)
    shared = sorted(set(card.scales) & set(other.scales))
    error = max((abs(other.scales[k] / card.scales[k] - 1) for k in shared), default=other.residual)
    same = Level(name, other.name == card.name and error < 1e-6, error, f"{other.name}; {', '.join(shared) or 'value'}")
    return dataclasses.replace(card, levels=(*card.levels, same, *levels_by_solving(found)))
