"""One line per case: a family, its hyper-parameters, its scipy twin, and points where the two are compared.

A new family inherits every property test of this folder by adding a case. Compositions are in ``composition_cases``.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
import scipy.stats
from twins import Numeric, Tails, categorical_twin, half, huber_loss, pieces

from lossgeo import distributions as dist
from lossgeo import supports


@dataclasses.dataclass(frozen=True, eq=False)
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
    free: bool = True  # whether the hyper-parameters may be varied one by one
    tails: bool = True  # whether the distribution functions of the twin are accurate in the tails
    counts: dict[str, float] = dataclasses.field(default_factory=dict)  # hyper-parameters that are integers
    largest: int = 60  # count beyond which nothing of the mass is left
    breaks: tuple[float, ...] = ()  # of the pieces that integrals are taken over, instead of quantiles of the twin
    circular: bool = False  # whether the moments are those of directions
    single: float = 0.0  # size of the terms that cancel in float32, beyond the value itself and y log y

    def make(self, params=None, dtype=np.float64):
        """The distribution, with hyper-parameters as arrays of ``dtype``."""
        params = self.params if params is None else params
        return self.family(**{k: np.asarray(v, dtype) for k, v in (params | self.counts).items()})

    @property
    def lacks(self):
        """Optional parts of the contract that the family does not have."""
        kind = type(self.make())
        names = {name: name for name in ("entropy", "fisher_information", "icdf")}
        names |= dict.fromkeys(("cdf", "log_cdf", "log_survival"), "_log_tails")
        return [name for name, of in names.items() if getattr(kind, of) is getattr(dist.Distribution, of)]

    def twin_log_prob(self, y):
        return self.twin.logpmf(y) if self.discrete else self.twin.logpdf(y)

    def grid(self):
        """Nodes and weights that integrate smooth functions times the density: Gauss-Legendre pieces, or all counts."""
        if self.discrete:
            nodes = np.arange(self.largest + 1.0)
            return nodes, np.ones_like(nodes)
        if self.breaks:
            return pieces(self.breaks)
        # Substitute the twin's quantiles as break points: dense where the mass is, far into the tails.
        tail = np.logspace(-26, -1, 76)
        return pieces(
            np.concatenate([self.twin.ppf(tail), self.twin.ppf(np.linspace(0.1, 0.9, 9)), self.twin.isf(tail)])
        )

    def moments(self):
        """Mean and variance; of a direction, the angle of the mean of exp(i y) and 1 less its length."""
        if not self.circular:
            return self.twin.stats(moments="mv")
        nodes, weights = self.grid()
        center = np.sum(weights * np.exp(self.twin.logpdf(nodes) + 1j * nodes))
        return np.angle(center), 1 - np.abs(center)


st = scipy.stats
LOGITS = np.array([0.3, -1.0, 2.0, 0.0])
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum()

LABELS = {
    "points": (0, 1),
    "support": supports.boolean,
    "outside": (-1.0, 0.5, 2.0, np.inf),
    "discrete": True,
    "largest": 1,
}
CLASSES = {
    "points": (0, 1, 2, 3),
    "support": supports.integers_up_to(3),
    "outside": (-1.0, 0.5, 4.0, np.inf),
    "discrete": True,
    "largest": 3,
}
COUNTS = {
    "points": (0, 1, 2, 7, 40, 1000),
    "support": supports.nonnegative_integers,
    "outside": (-1.0, -0.5, 0.5, 2.5, np.inf, -np.inf),
    "discrete": True,
}
REALS = {"points": (-1e8, -300.0, -3.0, -0.2, 0.0, 1e-9, 0.7, 2.0, 40.0, 1e6), "support": supports.real}
NEARER = {**REALS, "points": REALS["points"][1:-1]}  # beyond, scipy's own densities underflow
AMOUNTS = {
    "points": (1e-12, 1e-3, 0.2, 1.0, 3.0, 50.0, 1e4),
    "support": supports.positive,
    "outside": (-1e-3, -1.0, -1e30, np.inf, -np.inf),
}


PROPORTIONS = {
    "points": (1e-12, 1e-3, 0.2, 0.5, 0.9, 0.999999),
    "support": supports.unit_interval,
    "outside": (-1e-3, 1.001, -1e30, np.inf, -np.inf),
    "single": 2.0,  # three log-gammas of size 1
}
MAXIMA = {**REALS, "points": (-0.2, 0.0, 1e-9, 0.7, 2.0, 40.0, 300.0)}


TRIALS = {
    "points": (0, 1, 5, 11, 12),
    "support": supports.integers_up_to(12),
    "outside": (-1.0, 0.5, 13.0, np.inf, -np.inf),
    "discrete": True,
    "largest": 12,
    "counts": {"total_count": 12},
}
LOGNORM = st.lognorm(1.3, scale=np.exp(0.7))
CUTS = np.array([-1.0, 0.3, 2.0])


def ordered_twin(latent):
    """Class ids of a latent variable of location 0.4 between the cut-points."""
    return categorical_twin(np.diff(latent.cdf(np.concatenate([[-np.inf], CUTS - 0.4, [np.inf]]))))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def both_sides(center, *sizes):
    """Breaks about a center, dense near it and far into exponential tails."""
    sizes = np.concatenate([np.logspace(-3, -0.5, 10), np.linspace(0, 32, 65), np.logspace(1.6, 2.2, 20), sizes])
    return tuple(np.concatenate([center - sizes, center + sizes]))


HALF_T = Tails(
    half(st.t(4.5, 0, 1.3)),
    lambda y: scipy.special.betainc(0.5, 2.25, y**2 / (4.5 * 1.69 + y**2)),
    lambda y: 2 * st.t(4.5, 0, 1.3).sf(y),
)
FISK = Tails(st.fisk(3.5, scale=1.3), lambda y: 1 / (1 + (y / 1.3) ** -3.5), lambda y: 1 / (1 + (y / 1.3) ** 3.5))
ANGLES = tuple(np.linspace(-np.pi, np.pi, 33))
HUBER = both_sides(0.7, 1.3 * 1.2)
NET = both_sides(0.7)
TUBE = both_sides(0.7, 0.6 * 1.3)
EDGES = np.logspace(-30, -1, 90)
UNIT = tuple(np.concatenate([[0.0], EDGES, np.linspace(0.1, 0.9, 20), 1 - EDGES[60:], [1.0]]))

CASES = [
    Case("normal", dist.Normal, {"loc": 0.7, "scale": 1.3}, st.norm(0.7, 1.3), **REALS),
    Case("laplace", dist.Laplace, {"loc": 0.7, "scale": 1.3}, st.laplace(0.7, 1.3), **NEARER, kinked=True),
    Case("student_t 2.7", dist.StudentT, {"df": 2.7, "loc": 0.7, "scale": 1.3}, st.t(2.7, 0.7, 1.3), **NEARER),
    Case("gamma 1", dist.Gamma, {"concentration": 1.0, "rate": 2.5}, st.gamma(1.0, scale=0.4), **AMOUNTS),
    Case("gamma 2.4", dist.Gamma, {"concentration": 2.4, "rate": 2.5}, st.gamma(2.4, scale=0.4), **AMOUNTS),
    Case(
        "gamma 30", dist.Gamma, {"concentration": 30.0, "rate": 2.5}, st.gamma(30.0, scale=0.4), **AMOUNTS, single=100
    ),
    Case("half_normal", dist.HalfNormal, {"scale": 1.3}, st.halfnorm(scale=1.3), **AMOUNTS),
    Case("bernoulli probs", dist.Bernoulli, {"probs": 0.3}, st.bernoulli(0.3), **LABELS),
    Case("bernoulli logits -0.8", dist.Bernoulli, {"logits": -0.8}, st.bernoulli(sigmoid(-0.8)), **LABELS),
    Case("bernoulli logits 3", dist.Bernoulli, {"logits": 3.0}, st.bernoulli(sigmoid(3.0)), **LABELS),
    Case("categorical probs", dist.Categorical, {"probs": PROBS}, categorical_twin(PROBS), **CLASSES, free=False),
    Case("categorical logits", dist.Categorical, {"logits": LOGITS}, categorical_twin(PROBS), **CLASSES),
    Case("poisson rate", dist.Poisson, {"rate": 3.7}, st.poisson(3.7), **COUNTS),
    Case("poisson log_rate", dist.Poisson, {"log_rate": np.log(3.7)}, st.poisson(3.7), **COUNTS),
    Case("exponential", dist.Exponential, {"rate": 2.5}, st.expon(scale=0.4), **AMOUNTS),
    Case("log_normal", dist.LogNormal, {"loc": 0.7, "scale": 1.3}, LOGNORM, **AMOUNTS),
    Case("weibull 2.4", dist.Weibull, {"scale": 1.3, "concentration": 2.4}, st.weibull_min(2.4, scale=1.3), **AMOUNTS),
    Case("weibull 0.8", dist.Weibull, {"scale": 1.3, "concentration": 0.8}, st.weibull_min(0.8, scale=1.3), **AMOUNTS),
    Case("half_student_t", dist.HalfStudentT, {"df": 4.5, "scale": 1.3}, HALF_T, **AMOUNTS),
    Case("half_cauchy", dist.HalfCauchy, {"scale": 1.3}, st.halfcauchy(scale=1.3), **AMOUNTS),
    Case("cauchy", dist.Cauchy, {"loc": 0.7, "scale": 1.3}, st.cauchy(0.7, 1.3), **NEARER),
    Case("logistic", dist.Logistic, {"loc": 0.7, "scale": 1.3}, st.logistic(0.7, 1.3), **NEARER),
    Case(
        "log_logistic",
        dist.LogLogistic,
        {"scale": 1.3, "concentration": 3.5},
        FISK,
        **AMOUNTS,
    ),
    Case(
        "asymmetric_laplace",
        dist.AsymmetricLaplace,
        {"loc": 0.7, "scale": 1.3, "quantile": 0.3},
        st.laplace_asymmetric(np.sqrt(0.3 / 0.7), 0.7, 1.3 / np.sqrt(0.21)),
        **NEARER,
        kinked=True,
    ),
    Case(
        "negative_binomial",
        dist.NegativeBinomial,
        {"mean": 3.7, "concentration": 5.5},
        st.nbinom(5.5, 5.5 / 9.2),
        **COUNTS,
        largest=120,
    ),
    Case("binomial probs", dist.Binomial, {"probs": 0.3}, st.binom(12, 0.3), **TRIALS),
    Case("binomial logits", dist.Binomial, {"logits": -0.8}, st.binom(12, sigmoid(-0.8)), **TRIALS),
    Case(
        "ordered_logistic", dist.OrderedLogistic, {"eta": 0.4, "cutpoints": CUTS}, ordered_twin(st.logistic), **CLASSES
    ),
    Case("ordered_probit", dist.OrderedProbit, {"eta": 0.4, "cutpoints": CUTS}, ordered_twin(st.norm), **CLASSES),
    Case("gumbel", dist.Gumbel, {"loc": 0.7, "scale": 1.3}, st.gumbel_r(0.7, 1.3), **MAXIMA),
    Case(
        "inverse_gaussian",
        dist.InverseGaussian,
        {"mean": 1.7, "concentration": 2.4},
        st.invgauss(1.7 / 2.4, scale=2.4),
        **AMOUNTS,
    ),
    Case("beta 2.4", dist.Beta, {"concentration1": 2.4, "concentration0": 3.5}, st.beta(2.4, 3.5), **PROPORTIONS),
    Case("beta 0.6", dist.Beta, {"concentration1": 0.6, "concentration0": 1.2}, st.beta(0.6, 1.2), **PROPORTIONS),
    Case(
        "inverse_gamma",
        dist.InverseGamma,
        {"concentration": 4.5, "scale": 1.3},
        st.invgamma(4.5, scale=1.3),
        **{**AMOUNTS, "points": AMOUNTS["points"][1:]},
    ),
    Case("chi2", dist.Chi2, {"df": 3.0}, st.chi2(3.0), **AMOUNTS),
    Case(
        "uniform",
        dist.Uniform,
        {"low": -0.3, "high": 1.7},
        st.uniform(-0.3, 2.0),
        points=(-0.2, 0.0, 0.5, 1.2, 1.69),
        support=supports.interval(-0.3, 1.7),
        outside=(-0.31, 1.71, -1e30, np.inf, -np.inf),
        free=False,
    ),
    Case(
        "pareto",
        dist.Pareto,
        {"scale": 1.3, "concentration": 4.5},
        st.pareto(4.5, scale=1.3),
        points=(1.31, 1.4, 2.0, 50.0, 1e4),
        support=supports.greater_than(1.3),
        outside=(1.29, -1.0, -1e30, np.inf, -np.inf),
        free=False,
    ),
    Case("geometric probs", dist.Geometric, {"probs": 0.3}, st.geom(0.3, loc=-1), **COUNTS, largest=200),
    Case("geometric logits", dist.Geometric, {"logits": -0.8}, st.geom(sigmoid(-0.8), loc=-1), **COUNTS, largest=200),
    Case(
        "kumaraswamy",
        dist.Kumaraswamy,
        {"concentration1": 2.4, "concentration0": 3.5},
        Numeric(lambda y: 1.4 * np.log(y) + 2.5 * np.log(-np.expm1(2.4 * np.log(y))), UNIT, (0.0, 1.0)),
        **{**PROPORTIONS, "points": (1e-12, 1e-3, 0.2, 0.5, 0.9, 0.99)},  # nearer to 1 the twin loses digits
        breaks=UNIT,
    ),
    Case(
        "von_mises",
        dist.VonMises,
        {"loc": 0.4, "concentration": 2.4},
        Numeric(lambda y: 2.4 * np.cos(y - 0.4), ANGLES, (-np.pi, np.pi)),
        points=(-3.14, -1.5, 0.0, 0.4, 2.0, 3.0),
        support=supports.angles,
        outside=(-3.15, 3.15, 7.0, -1e30, np.inf, -np.inf),
        breaks=ANGLES,
        circular=True,
    ),
    Case(
        "huber",
        dist.Huber,
        {"loc": 0.7, "scale": 1.3, "delta": 1.2},
        Numeric(lambda y: -huber_loss((y - 0.7) / 1.3, 1.2), HUBER),
        **NEARER,
        breaks=HUBER,
    ),
    Case("hyperbolic_secant", dist.HyperbolicSecant, {"loc": 0.7, "scale": 1.3}, st.hypsecant(0.7, 1.3), **NEARER),
    Case(
        "epsilon_insensitive",
        dist.EpsilonInsensitive,
        {"loc": 0.7, "scale": 1.3, "epsilon": 0.6},
        Numeric(lambda y: -np.maximum(np.abs(y - 0.7) / 1.3 - 0.6, 0), TUBE),
        **NEARER,
        kinked=True,
        breaks=TUBE,
    ),
    Case(
        "elastic_net",
        dist.ElasticNet,
        {"loc": 0.7, "laplace_scale": 0.8, "normal_scale": 1.3},
        Numeric(lambda y: -np.abs(y - 0.7) / 0.8 - (y - 0.7) ** 2 / (2 * 1.3**2), NET),
        **{**REALS, "points": (-25.0, -3.0, -0.2, 0.0, 1e-9, 0.7, 2.0, 20.0)},
        kinked=True,
        breaks=NET,
    ),
    Case(
        "beta_binomial",
        dist.BetaBinomial,
        {"concentration1": 2.4, "concentration0": 3.5},
        st.betabinom(12, 2.4, 3.5),
        **TRIALS,
    ),
]
