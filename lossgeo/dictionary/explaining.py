"""Names the textbook problem that an objective is, with a certificate; refuses what it does not know."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo.dictionary.card import Explanation
from lossgeo.dictionary.declared_card import card_of_reading, refusal
from lossgeo.dictionary.numeric import NotFound, find
from lossgeo.dictionary.structural import read
from lossgeo.dictionary.values_card import card_of_values
from lossgeo.objective import Objective
from lossgeo.posing import pose
from lossgeo.validation import prepare

__all__ = ["explain"]


def explain(objective: Any, params: Any, *data: Any) -> Explanation:
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
            return card_of_reading(posed, reading)
    found = find(objective, params, data)
    return refusal(found.reason, found.residual, "numeric") if isinstance(found, NotFound) else card_of_values(found)
