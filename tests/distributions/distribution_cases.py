"""One line per case: a family, its hyper-parameters, its scipy twin, and points where the two are compared.

A new family inherits every property test of this folder by adding a case.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.stats

from lossgeo import distributions as dist
from lossgeo import supports


@dataclasses.dataclass(frozen=True)
class Case:
    """A family at one set of hyper-parameters (scalars by name; rebuilt with tracers by the tests)."""

    name: str
    family: Callable[..., Any]
    params: dict[str, Any]
    twin: Any
    points: tuple[float, ...]
    support: supports.Support
    outside: tuple[float, ...] = ()
    discrete: bool = False
    kinked: bool = False
    has_entropy: bool = True

    def make(self, params=None, dtype=jnp.float64):
        """The distribution, with hyper-parameters as arrays of ``dtype``."""
        params = self.params if params is None else params
        return self.family(**{name: jnp.asarray(value, dtype) for name, value in params.items()})

    def twin_log_prob(self, y):
        return self.twin.logpmf(y) if self.discrete else self.twin.logpdf(y)

    def grid(self):
        """Nodes and weights that integrate smooth functions times the density: Gauss-Legendre pieces, or all counts."""
        if self.discrete:
            # The mass of the Poisson cases beyond 60 is below 1e-35.
            nodes = np.arange(60.0 if self.family is dist.Poisson else len(self.points))
            return nodes, np.ones_like(nodes)
        # Substitute the twin's quantiles as break points: dense where the mass is, far into the tails.
        tail = np.logspace(-26, -1, 76)
        breaks = np.unique(
            np.concatenate([self.twin.ppf(tail), self.twin.ppf(np.linspace(0.1, 0.9, 9)), self.twin.isf(tail)])
        )
        nodes, weights = np.polynomial.legendre.leggauss(20)
        left, right = breaks[:-1, None], breaks[1:, None]
        return (0.5 * (left + right + (right - left) * nodes)).ravel(), (0.5 * (right - left) * weights).ravel()


def categorical_twin(probs):
    probs = np.asarray(probs)
    return scipy.stats.rv_discrete(values=(np.arange(probs.size), probs))


st = scipy.stats
LOGITS = np.array([0.3, -1.0, 2.0, 0.0])
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum()

LABELS = {"points": (0, 1), "support": supports.boolean, "outside": (-1.0, 0.5, 2.0, np.inf), "discrete": True}
CLASSES = {**LABELS, "points": (0, 1, 2, 3), "support": supports.integers_up_to(3), "outside": (-1.0, 0.5, 4.0, np.inf)}
COUNTS = {
    "points": (0, 1, 2, 7, 40, 1000),
    "support": supports.nonnegative_integers,
    "outside": (-1.0, -0.5, 0.5, 2.5, np.inf, -np.inf),
    "discrete": True,
    "has_entropy": False,
}
REALS = {"points": (-1e8, -300.0, -3.0, -0.2, 0.0, 1e-9, 0.7, 2.0, 40.0, 1e6), "support": supports.real}
NEARER = {**REALS, "points": REALS["points"][1:-1]}  # beyond, scipy's own densities underflow
AMOUNTS = {
    "points": (1e-12, 1e-3, 0.2, 1.0, 3.0, 50.0, 1e4),
    "support": supports.positive,
    "outside": (-1e-3, -1.0, -1e30, np.inf, -np.inf),
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


CASES = [
    Case("normal", dist.Normal, {"loc": 0.7, "scale": 1.3}, st.norm(0.7, 1.3), **REALS),
    Case("laplace", dist.Laplace, {"loc": 0.7, "scale": 1.3}, st.laplace(0.7, 1.3), **NEARER, kinked=True),
    Case("student_t 2.7", dist.StudentT, {"df": 2.7, "loc": 0.7, "scale": 1.3}, st.t(2.7, 0.7, 1.3), **NEARER),
    Case("gamma 1", dist.Gamma, {"concentration": 1.0, "rate": 2.5}, st.gamma(1.0, scale=0.4), **AMOUNTS),
    Case("gamma 2.4", dist.Gamma, {"concentration": 2.4, "rate": 2.5}, st.gamma(2.4, scale=0.4), **AMOUNTS),
    Case("gamma 30", dist.Gamma, {"concentration": 30.0, "rate": 2.5}, st.gamma(30.0, scale=0.4), **AMOUNTS),
    Case("half_normal", dist.HalfNormal, {"scale": 1.3}, st.halfnorm(scale=1.3), **AMOUNTS),
    Case("bernoulli probs", dist.Bernoulli, {"probs": 0.3}, st.bernoulli(0.3), **LABELS),
    Case("bernoulli logits -0.8", dist.Bernoulli, {"logits": -0.8}, st.bernoulli(sigmoid(-0.8)), **LABELS),
    Case("bernoulli logits 3", dist.Bernoulli, {"logits": 3.0}, st.bernoulli(sigmoid(3.0)), **LABELS),
    Case("categorical probs", dist.Categorical, {"probs": PROBS}, categorical_twin(PROBS), **CLASSES),
    Case("categorical logits", dist.Categorical, {"logits": LOGITS}, categorical_twin(PROBS), **CLASSES),
    Case("poisson rate", dist.Poisson, {"rate": 3.7}, st.poisson(3.7), **COUNTS),
    Case("poisson log_rate", dist.Poisson, {"log_rate": np.log(3.7)}, st.poisson(3.7), **COUNTS),
]
