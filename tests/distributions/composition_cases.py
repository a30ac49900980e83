"""Compositions of scalar families, which obey the laws of any other scalar distribution; their twins by hand."""

import jax.numpy as jnp
import numpy as np
import scipy.stats as st
from distribution_cases import COUNTS, Case
from scipy.special import logsumexp

from lossgeo import distributions as dist
from lossgeo import supports


def normal_mixture(logits, loc, log_scale):
    return dist.Mixture(None, dist.Normal(loc, jnp.exp(log_scale)), logits=logits)


def mixed_kinds(logits, loc, scale, mean, spread):
    return dist.Mixture(None, (dist.Logistic(loc, scale), dist.Normal(mean, spread)), logits=logits)


def zero_inflated_poisson(rate, probability):
    return dist.ZeroInflated(dist.Poisson(rate), probability)


def poisson_hurdle(rate, logits):
    return dist.Hurdle(dist.Poisson(rate), logits=logits)


class MixtureTwin(st.rv_continuous):
    """Sums of probabilities, in logarithms where they are asked for."""

    def set(self, weights, members):
        self.weights, self.members = np.asarray(weights), members
        return self

    def _logpdf(self, y):
        with np.errstate(divide="ignore"):
            return logsumexp([np.log(w) + m.logpdf(y) for w, m in zip(self.weights, self.members, strict=True)], axis=0)

    def _pdf(self, y):
        return np.exp(self._logpdf(y))

    def _cdf(self, y):
        return sum(w * m.cdf(y) for w, m in zip(self.weights, self.members, strict=True))

    def _sf(self, y):
        return sum(w * m.sf(y) for w, m in zip(self.weights, self.members, strict=True))

    def _solve(self, fn, level):
        low = min(m.ppf(1e-300) for m in self.members)
        high = max(m.isf(1e-300) for m in self.members)
        left, right = np.full(np.shape(level), low), np.full(np.shape(level), high)
        for _ in range(200):
            middle = 0.5 * (left + right)
            found = fn(middle, level)
            left, right = np.where(found, left, middle), np.where(found, middle, right)
        return right

    def _ppf(self, q):
        return self._solve(lambda y, level: self._cdf(y) >= level, q)

    def _isf(self, q):
        return self._solve(lambda y, level: self._sf(y) <= level, q)

    def _stats(self):
        mean = sum(w * m.mean() for w, m in zip(self.weights, self.members, strict=True))
        square = sum(w * (m.var() + m.mean() ** 2) for w, m in zip(self.weights, self.members, strict=True))
        return mean, square - mean**2, None, None


class CountTwin(st.rv_discrete):
    """A table of counts, changed at 0."""

    def set(self, base, zero, scale):
        self.base, self.zero, self.scale = base, zero, scale
        return self

    def _logpmf(self, y):
        with np.errstate(divide="ignore"):
            return np.where(y == 0, np.log(self.zero), np.log(self.scale) + self.base.logpmf(y))

    def _pmf(self, y):
        return np.exp(self._logpmf(y))

    def _sf(self, y):
        return self.scale * self.base.sf(y)

    def _cdf(self, y):
        return self.zero + self.scale * (self.base.cdf(y) - self.base.pmf(0))

    def _stats(self):
        mean = self.scale * self.base.mean()
        return mean, self.scale * (self.base.var() + self.base.mean() ** 2) - mean**2, None, None


LOGITS = np.array([0.3, -0.9])
WEIGHTS = np.exp(LOGITS) / np.exp(LOGITS).sum()
FOUR = st.poisson(3.7)

COMPOSITIONS = [
    Case(
        "mixture of normals",
        normal_mixture,
        {"logits": LOGITS, "loc": np.array([-0.4, 0.7]), "log_scale": np.log([1.3, 0.9])},
        MixtureTwin().set(WEIGHTS, [st.norm(-0.4, 1.3), st.norm(0.7, 0.9)]),
        points=(-1e4, -1.5, -0.2, 1e-9, 0.7, 2.0, 3.0, 1e6),
        support=supports.real,
        tails=False,
    ),
    Case(
        "mixture of kinds",
        mixed_kinds,
        {"logits": LOGITS, "loc": 0.7, "scale": 0.6, "mean": 0.3, "spread": 0.8},
        MixtureTwin().set(WEIGHTS, [st.logistic(0.7, 0.6), st.norm(0.3, 0.8)]),
        points=(-30.0, -3.0, -0.2, 0.7, 2.0, 40.0),
        support=supports.real,
        tails=False,
    ),
    Case(
        "zero-inflated poisson",
        zero_inflated_poisson,
        {"rate": 3.7, "probability": 0.3},
        CountTwin(a=0).set(FOUR, 0.3 + 0.7 * FOUR.pmf(0), 0.7),
        **COUNTS,
    ),
    Case(
        "poisson hurdle",
        poisson_hurdle,
        {"rate": 3.7, "logits": -0.8},
        CountTwin(a=0).set(FOUR, 1 / (1 + np.exp(0.8)), 1 / (1 + np.exp(-0.8)) / FOUR.sf(0)),
        **COUNTS,
    ),
]
