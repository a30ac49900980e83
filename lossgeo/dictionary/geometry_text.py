"""The geometry that a loss comes from, in words, with the numbers computed."""

import functools

import jax.numpy as jnp

from lossgeo import distributions as dist
from lossgeo import geometry as geo
from lossgeo._compilation import quick_jit

__all__ = ["geometry_of_family"]

DIVERGENCES: dict[str, tuple[str, str]] = {
    "Normal": ("half squared distance (y - mu)^2/2", "1"),
    "Bernoulli": ("KL of Bernoulli laws", "mu (1 - mu)"),
    "Binomial": ("KL of Bernoulli laws", "mu (1 - mu)"),
    "BinomialCounts": ("KL of Bernoulli laws", "mu (1 - mu)"),
    "Poisson": ("generalized KL, y log(y/mu) - y + mu", "mu"),
    "Gamma": ("Itakura-Saito, y/mu - 1 - log(y/mu)", "mu^2"),
    "Exponential": ("Itakura-Saito, y/mu - 1 - log(y/mu)", "mu^2"),
    "InverseGaussian": ("(y - mu)^2/(2 mu^2 y)", "mu^3"),
    "Categorical": ("KL of class probabilities", "diag(p) - p p'"),
}
OTHERS = {
    "CoxPartial": "divergence KL of a softmax over each risk set",
    "ConditionalLogit": "divergence KL of a softmax over the subsets of each group",
    "QuasiGLM": "Bregman divergence of the variance function: half the unit deviance",
}


@functools.cache
def _curvature(family: str, size: int) -> float:
    """Sectional curvature of the Fisher metric at one point; these two families have the same one everywhere."""
    if family == "normal":
        potential, eta = geo.normal, jnp.array([0.3, -0.7])
    else:
        potential, eta = geo.categorical, jnp.linspace(-0.5, 0.4, size)
    u, v = jnp.eye(len(eta))[:2]
    return float(_sectional(geo.FisherMetric(potential), eta, u, v))


_sectional = quick_jit()(geo.sectional_curvature)


def geometry_of_family(kind: type, canonical: bool | None, *, classes: int = 0, free_scale: bool = False) -> str:
    """Divergence, metric, curvature, and what the link does, for a family of distributions.

    Args:
        kind: the class of the distribution or likelihood.
        canonical: whether the link is canonical; ``None`` where there is no such link.
        classes: number of classes of a categorical distribution.
        free_scale: whether the scale of a normal distribution is a parameter too.
    """
    if kind.__name__ in OTHERS:
        return OTHERS[kind.__name__]
    if kind.__name__ not in DIVERGENCES:
        return "no exponential dispersion family: no Bregman divergence belongs to this loss"
    divergence, variance = DIVERGENCES[kind.__name__]
    if kind is dist.Normal and free_scale:
        shape = f"curvature of (loc, scale) K = {_curvature('normal', 2):+.3f}"
    elif kind is dist.Normal:
        shape = "flat metric, K = 0"
    elif kind is dist.Categorical and classes > 2:
        shape = f"curvature K = {_curvature('categorical', classes - 1):+.3f}"
    else:
        shape = "one-dimensional family, no curvature of its own"
    link = {
        True: "canonical link: a flat exponential family, Pythagoras holds for the deviance",
        False: "not the canonical link: a curved family, Pythagoras has a gap",
        None: "",
    }[canonical]
    return "; ".join(text for text in (f"divergence {divergence}", f"metric from V = {variance}", shape, link) if text)
