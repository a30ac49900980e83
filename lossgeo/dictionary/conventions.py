r"""The strength of a penalty in the conventions of other packages.

For noise of dispersion :math:`\phi` (the variance :math:`s^2` of a normal, the scale of a Laplace or asymmetric
Laplace, 1 over the concentration of a gamma, the scale of a Huber distribution, 1 where there is none), a normal prior
of variance :math:`\tau^2` or a Laplace prior of scale :math:`b`, and :math:`n` rows, everything follows from

.. math:: \lambda_1 = \frac{\phi}{b}, \qquad \lambda_2 = \frac{\phi}{\tau^2}.

Packages differ in whether they sum or average, halve, name the reciprocal, and, in glmnet's normal ridge, divide by the
standard deviation of the target.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["conventions"]


class Strengths(NamedTuple):
    """The penalties in units of the loss, and what the units of packages depend on."""

    l1: float
    l2: float
    noise: float
    n: float
    sd_y: float


Row = Callable[[Strengths], float]


def _sum(s: Strengths) -> float:
    return s.l1 + s.l2


def _mean(s: Strengths) -> float:
    return (s.l1 + s.l2) / s.n


def _inverse(s: Strengths) -> float:
    return 1 / (s.l1 + s.l2)


def _share(s: Strengths) -> float:
    return s.l1 / (s.l1 + s.l2)


def _glmnet(s: Strengths) -> float:
    """The mean, with the ridge part multiplied by what glmnet divides it by."""
    return (s.l1 + s.l2 * s.sd_y) / s.n


def _glmnet_share(s: Strengths) -> float:
    return s.l1 / (s.l1 + s.l2 * s.sd_y)


def _descent(s: Strengths) -> float:
    """Decay of the gradient of the mean negative log-likelihood, whose noise is in it already."""
    return s.l2 / (s.n * s.noise)


LINEAR, GLUM, GLMNET = "sklearn.linear_model.", "glum GeneralizedLinearRegressor", "glmnet"
DECAY = "optax.add_decayed_weights, SGD on the mean NLL"


def _nets(family: str, glum: str, glmnet: str | None = None) -> dict[str, Row]:
    """Both numbers of an elastic net in the packages that have every family."""
    name = glmnet or glum
    return {
        f"{GLUM}(alpha), {glum}": _mean,
        f"{GLUM}(l1_ratio), {glum}": _share,
        f"{GLMNET}(lambda), {name}, standardize=FALSE": _glmnet if family == "normal" else _mean,
        f"{GLMNET}(alpha), {name}, standardize=FALSE": _glmnet_share if family == "normal" else _share,
    }


TABLE: dict[tuple[str, str], dict[str, Row]] = {
    ("normal", "l2"): {
        "RSS + lambda |w|^2": _sum,
        "RSS/n + lambda |w|^2": _mean,
        f"{LINEAR}Ridge(alpha)": _sum,
        f"{LINEAR}BayesianRidge, lambda_/alpha_": _sum,
        f"{LINEAR}ElasticNet(alpha), l1_ratio=0": _mean,
        f"{LINEAR}TweedieRegressor(alpha), power=0": _mean,
        "sklearn.kernel_ridge.KernelRidge(alpha), kernel='linear', no intercept": _sum,
        "sklearn.neural_network.MLPRegressor(alpha), hidden_layer_sizes=()": _sum,
        "sklearn.gaussian_process.GaussianProcessRegressor(alpha), tau^2 DotProduct(0), no intercept": lambda s: (
            s.noise
        ),
        "statsmodels OLS.fit_regularized(alpha), L1_wt=0": _mean,
        f"{GLUM}(alpha), normal, l1_ratio=0": _mean,
        "jaxopt ridge_regression(l2reg)": _mean,
        f"{GLMNET}(lambda), gaussian, alpha=0, standardize=FALSE": _glmnet,
        "MASS::lm.ridge(lambda), columns of unit sd": _sum,
        DECAY: _descent,
    },
    ("normal", "l1"): {
        "RSS + lambda |w|_1": lambda s: 2 * s.l1,
        "RSS/2 + lambda |w|_1": _sum,
        f"{LINEAR}Lasso(alpha)": _mean,
        "skglm.Lasso(alpha)": _mean,
        "celer.Lasso(alpha)": _mean,
        "statsmodels OLS.fit_regularized(alpha), L1_wt=1": _mean,
        f"{GLUM}(alpha), normal, l1_ratio=1": _mean,
        f"{GLMNET}(lambda), gaussian, alpha=1, standardize=FALSE": _mean,
    },
    ("normal", "elastic net"): {
        f"{LINEAR}ElasticNet(alpha)": _mean,
        f"{LINEAR}ElasticNet(l1_ratio)": _share,
        "skglm.ElasticNet(alpha)": _mean,
        "skglm.ElasticNet(l1_ratio)": _share,
        "celer.ElasticNet(alpha)": _mean,
        "celer.ElasticNet(l1_ratio)": _share,
        "statsmodels OLS.fit_regularized(alpha)": _mean,
        "statsmodels OLS.fit_regularized(L1_wt)": _share,
        **_nets("normal", "normal", "gaussian"),
    },
    ("laplace", "l1"): {f"{LINEAR}QuantileRegressor(alpha), quantile=0.5": lambda s: s.l1 / (2 * s.n)},
    ("quantile", "l1"): {f"{LINEAR}QuantileRegressor(alpha), quantile=tau": _mean},
    ("huber", "l2"): {f"{LINEAR}HuberRegressor(alpha), epsilon=delta, given that its scale_ is the scale": _sum},
    ("bernoulli", "l2"): {
        f"{LINEAR}LogisticRegression(C), L2": _inverse,
        "sklearn.neural_network.MLPClassifier(alpha), hidden_layer_sizes=()": _sum,
        f"{GLUM}(alpha), binomial, l1_ratio=0": _mean,
        f"{GLMNET}(lambda), binomial, alpha=0, standardize=FALSE": _mean,
        "statsmodels GLM(Binomial).fit_regularized(alpha), L1_wt=0": _mean,
        DECAY: _descent,
    },
    ("bernoulli", "l1"): {
        f"{LINEAR}LogisticRegression(C), l1_ratio=1": _inverse,
        "celer.LogisticRegression(C), fit_intercept=False": _inverse,
        f"{GLUM}(alpha), binomial, l1_ratio=1": _mean,
        f"{GLMNET}(lambda), binomial, alpha=1, standardize=FALSE": _mean,
        "statsmodels Logit.fit_regularized(alpha)": _sum,
    },
    ("bernoulli", "elastic net"): {
        f"{LINEAR}LogisticRegression(C)": _inverse,
        f"{LINEAR}LogisticRegression(l1_ratio)": _share,
        "statsmodels GLM(Binomial).fit_regularized(alpha)": _mean,
        "statsmodels GLM(Binomial).fit_regularized(L1_wt)": _share,
        **_nets("bernoulli", "binomial"),
    },
    ("multinomial", "l2"): {
        f"{LINEAR}LogisticRegression(C), L2": _inverse,
        "sklearn.neural_network.MLPClassifier(alpha), hidden_layer_sizes=()": _sum,
        f"{GLMNET}(lambda), multinomial, alpha=0, standardize=FALSE": _mean,
        DECAY: _descent,
    },
    ("multinomial", "l1"): {
        f"{LINEAR}LogisticRegression(C), l1_ratio=1": _inverse,
        f"{GLMNET}(lambda), multinomial, alpha=1, standardize=FALSE": _mean,
    },
    ("multinomial", "elastic net"): {
        f"{LINEAR}LogisticRegression(C)": _inverse,
        f"{LINEAR}LogisticRegression(l1_ratio)": _share,
        f"{GLMNET}(lambda), multinomial, standardize=FALSE": _mean,
        f"{GLMNET}(alpha), multinomial, standardize=FALSE": _share,
    },
    ("poisson", "l2"): {
        f"{LINEAR}PoissonRegressor(alpha)": _mean,
        f"{GLUM}(alpha), poisson, l1_ratio=0": _mean,
        f"{GLMNET}(lambda), poisson, alpha=0, standardize=FALSE": _mean,
        "statsmodels GLM(Poisson).fit_regularized(alpha), L1_wt=0": _mean,
        DECAY: _descent,
    },
    ("poisson", "l1"): {
        f"{GLUM}(alpha), poisson, l1_ratio=1": _mean,
        f"{GLMNET}(lambda), poisson, alpha=1, standardize=FALSE": _mean,
        "statsmodels Poisson.fit_regularized(alpha)": _sum,
    },
    ("poisson", "elastic net"): _nets("poisson", "poisson"),
    ("gamma", "l2"): {
        f"{LINEAR}GammaRegressor(alpha)": _mean,
        f"{GLUM}(alpha), gamma, log link, l1_ratio=0": _mean,
        f"{GLMNET}(lambda), Gamma(link='log'), alpha=0, standardize=FALSE": _mean,
        DECAY: _descent,
    },
    ("gamma", "l1"): {
        f"{GLUM}(alpha), gamma, log link, l1_ratio=1": _mean,
        f"{GLMNET}(lambda), Gamma(link='log'), alpha=1, standardize=FALSE": _mean,
    },
    ("gamma", "elastic net"): _nets("gamma", "gamma, log link", "Gamma(link='log')"),
    ("hinge", "l2"): {
        "mean hinge + lambda |w|^2": lambda s: s.l2 / (2 * s.n),
        "sklearn.svm.SVC(C), kernel='linear'": _inverse,
        "sklearn.svm.LinearSVC(C), loss='hinge', no intercept": _inverse,
    },
    ("squared hinge", "l2"): {"sklearn.svm.LinearSVC(C), no intercept": _inverse},
    ("squared hinge", "l1"): {"sklearn.svm.LinearSVC(C), penalty='l1', no intercept": _inverse},
    ("square", "l2"): {f"{LINEAR}RidgeClassifier(alpha)": lambda s: s.l2 / 2},
}
"""What each call takes, by family and penalty."""


def conventions(
    family: str,
    penalty: str,
    *,
    strength: float | tuple[float, float],
    noise: float,
    n: float,
    sd_y: float = math.nan,
) -> dict[str, float]:
    r"""Parameters of package calls whose solution is this posterior mode.

    Args:
        family: ``"normal"``, ``"laplace"``, ``"quantile"`` (asymmetric Laplace noise), ``"huber"``, ``"bernoulli"``,
            ``"multinomial"`` (coefficients for all classes), ``"poisson"``, ``"gamma"`` (log link), or a margin loss:
            ``"hinge"``, ``"squared hinge"``, ``"square"``. Its intercept, if there is one, has no penalty.
        penalty: ``"l2"``, ``"l1"`` or ``"elastic net"``.
        strength: :math:`\tau^2` for ``"l2"``, :math:`b` for ``"l1"``, the pair :math:`(b, \tau^2)` for both.
        noise: the dispersion :math:`\phi`: :math:`s^2` for the normal, the scale for Laplace noise and Huber's, the
            reciprocal concentration for the gamma, 1 for the others.
        n: number of rows, or the sum of their weights.
        sd_y: standard deviation of the target, dividing by n; for the normal family only.

    Returns:
        A mapping from the call, with the parameter in parentheses, to its value; empty for a pair that no package has.
        Calls that are *not* posterior modes are not in it: AdamW decays its weights apart from the gradient that it
        rescales, and ``GLM(Gaussian).fit_regularized`` of statsmodels follows a score that is no gradient.

    Raises:
        ValueError: a strength that is not positive, or no pair for an elastic net.

    Example:
        >>> conventions("normal", "l2", strength=40.0, noise=3000.0, n=442, sd_y=77.0)["RSS + lambda |w|^2"]
        75.0
    """
    both = penalty == "elastic net"
    if both != isinstance(strength, tuple):
        raise ValueError(f"strength must be {'the pair (b, tau^2)' if both else 'one number'} for {penalty!r}.")
    b, variance = strength if isinstance(strength, tuple) else (strength, strength)
    if not (b > 0 and variance > 0 and noise > 0 and n > 0):
        raise ValueError(f"strength, noise and n must be positive, but are {strength}, {noise} and {n}.")
    l1 = noise / b if penalty != "l2" else 0.0
    l2 = noise / variance if penalty != "l1" else 0.0
    strengths = Strengths(l1, l2, noise, n, sd_y)
    return {call: row(strengths) for call, row in TABLE.get((family, penalty), {}).items()}
