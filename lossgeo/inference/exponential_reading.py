r"""Distributions read as members of an exponential dispersion family, row by row.

.. math:: \log p(y_i) = \frac{\langle\theta_i, T(y_i)\rangle - A(\theta_i)}{\varphi_i} + c(y_i, \varphi_i)

with a potential A of :mod:`lossgeo.geometry`, mean :math:`\mu_i = \nabla A(\theta_i)` and
:math:`\mathrm{Var}\,T = \varphi_i\nabla^2 A(\theta_i)`.

===============  =====================  =========================  ==========================
distribution     T(y)                   θ                          φ
===============  =====================  =========================  ==========================
``Normal``       y                      mean                       variance
``Bernoulli``    y                      log-odds                   1
``Binomial``     share of successes     log-odds                   1 / number of trials
``Poisson``      y                      log rate                   1
``Exponential``  y                      −rate                      1
``Gamma``        y                      −1 / mean                  1 / concentration
``Categorical``  one-hot class          logits                     1
===============  =====================  =========================  ==========================
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import distributions as dist
from lossgeo import geometry as geo

__all__ = ["Reading", "potential_of", "read"]


class Reading(NamedTuple):
    """Statistic ``(n,)`` or ``(n, K)``, natural parameter of the same shape, and dispersion ``(n,)``."""

    statistic: jax.Array
    natural: jax.Array
    dispersion: jax.Array


_POTENTIALS: dict[type, geo.Potential] = {
    dist.Bernoulli: geo.bernoulli,
    dist.Binomial: geo.bernoulli,
    dist.Poisson: geo.poisson,
    dist.Exponential: geo.exponential,
    dist.Gamma: geo.exponential,
    dist.Categorical: geo.log_sum_exp,
}


def potential_of(distribution: Any) -> geo.Potential | None:
    """The log-partition of the family, in one observation of dispersion 1; ``None`` for other distributions."""
    if type(distribution) is dist.Normal:
        return geo.gaussian(1.0)  # holds an array: made when asked for, no device is touched by an import
    return _POTENTIALS.get(type(distribution))


def read(distribution: Any, y: jax.Array) -> Reading:
    """Statistic, natural parameter and dispersion of every row; differentiable in the distribution.

    Args:
        distribution: one of the table of this module, of batch shape ``(n,)`` or ``()``.
        y: target, shape ``(n,)``.
    """
    y = jnp.asarray(y)
    one = jnp.ones(y.shape, jnp.result_type(float, *jax.tree.leaves(distribution)))
    target = y.astype(one.dtype)
    if isinstance(distribution, dist.Categorical):
        given = distribution.probs if distribution.logits is None else distribution.logits
        logits = jnp.log(jnp.asarray(given)) if distribution.logits is None else jnp.asarray(given)
        classes = jax.nn.one_hot(y.astype(int), logits.shape[-1], dtype=one.dtype)
        return Reading(classes, jnp.broadcast_to(logits, classes.shape), one)
    if isinstance(distribution, dist.Normal):
        return Reading(target, one * distribution.loc, one * jnp.square(distribution.scale))
    if isinstance(distribution, dist.Bernoulli | dist.Binomial):
        if distribution.logits is None:
            p = jnp.asarray(distribution.probs)
            odds = jnp.log(p) - jnp.log1p(-p)
        else:
            odds = jnp.asarray(distribution.logits)
        if isinstance(distribution, dist.Bernoulli):
            return Reading(target, one * odds, one)
        trials = one * jnp.asarray(distribution.total_count, one.dtype)
        some = jnp.where(trials > 0, trials, 1.0)  # a row without trials says nothing: infinite dispersion
        return Reading(target / some, one * odds, jnp.where(trials > 0, 1 / some, jnp.inf))
    if isinstance(distribution, dist.Poisson):
        given = distribution.log_rate
        log_rate = jnp.log(jnp.asarray(distribution.rate)) if given is None else jnp.asarray(given)
        return Reading(target, one * log_rate, one)
    if isinstance(distribution, dist.Exponential):
        return Reading(target, -one * distribution.rate, one)
    concentration = jnp.asarray(distribution.concentration)
    return Reading(target, -one * (distribution.rate / concentration), one / concentration)
