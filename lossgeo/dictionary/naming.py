"""What textbooks call a noise model with a link and a penalty."""

from typing import Any

import numpy as np

__all__ = ["number", "penalized_name", "problem_of"]


def number(value: Any) -> str:
    """A hyper-parameter in a text: one number, or the range of several."""
    array = np.asarray(value, float)
    if array.size == 0:
        return "none"
    low, high = float(np.min(array)), float(np.max(array))
    return f"{low:.10g}" if low == high else f"{low:.6g} to {high:.6g}"


MARGIN: dict[str, tuple[str, str]] = {
    "Hinge": ("hinge loss", "support vector machine"),
    "SquaredHinge": ("squared hinge loss", "support vector machine with squared hinge loss"),
    "SmoothedHinge": ("smoothed hinge loss", "support vector machine with smoothed hinge loss"),
    "Logistic": ("logistic loss", "logistic regression"),
    "Exponential": ("exponential loss", "exponential-loss classification (AdaBoost's objective)"),
    "Square": ("square margin loss", "least-squares classification"),
    "ModifiedHuber": ("modified Huber loss", "modified-Huber classification"),
    "Savage": ("Savage loss", "Savage-loss classification"),
    "Tangent": ("tangent loss", "tangent-loss classification"),
    "Ramp": ("ramp loss", "ramp-loss classification"),
}
LOCATED: dict[str, tuple[str, str]] = {
    "Normal": ("RSS/(2 s2)", "least squares"),
    "Laplace": ("sum |r|/s", "least absolute deviations"),
    "AsymmetricLaplace": ("pinball loss", "quantile regression"),
    "Huber": ("Huber loss", "Huber regression"),
    "StudentT": ("sum (df+1)/2 log(1 + r^2/(df s2))", "robust Student-t regression"),
    "Cauchy": ("sum log(1 + r^2/s^2)", "robust Cauchy regression"),
    "Logistic": ("sum 2 log cosh(r/(2 s))", "regression with logistic errors"),
    "HyperbolicSecant": ("sum log cosh(r/s)", "log-cosh regression"),
    "Gumbel": ("sum r/s + exp(-r/s)", "regression with Gumbel errors"),
}
GENERALIZED: dict[str, tuple[str, str]] = {
    "Bernoulli": ("logistic loss", "logistic regression"),
    "Binomial": ("binomial deviance/2", "binomial logistic regression"),
    "BinomialCounts": ("binomial deviance/2", "binomial logistic regression"),
    "BetaBinomial": ("beta-binomial loss", "beta-binomial regression"),
    "Categorical": ("softmax cross-entropy", "multinomial logistic regression"),
    "OrderedLogistic": ("cumulative logit loss", "proportional odds (ordinal logistic regression)"),
    "OrderedProbit": ("cumulative probit loss", "ordered probit regression"),
    "Poisson": ("Poisson deviance/2", "Poisson regression"),
    "Geometric": ("geometric loss", "geometric regression"),
    "NegativeBinomial": ("negative binomial deviance/2", "negative binomial regression"),
    "Gamma": ("gamma deviance/(2 phi)", "gamma regression"),
    "InverseGaussian": ("inverse Gaussian deviance/(2 phi)", "inverse Gaussian regression"),
    "Beta": ("beta loss", "beta regression"),
    "Exponential": ("exponential deviance/2", "exponential regression"),
    "Weibull": ("Weibull loss", "Weibull regression"),
    "LogLogistic": ("log-logistic loss", "log-logistic regression (proportional survival odds)"),
    "LogNormal": ("RSS of logarithms/(2 s2)", "log-normal regression"),
    "ZeroInflatedPoisson": ("zero-inflated Poisson loss", "zero-inflated Poisson regression"),
    "ZeroInflatedNegativeBinomial": (
        "zero-inflated negative binomial loss",
        "zero-inflated negative binomial regression",
    ),
    "HurdlePoisson": ("hurdle Poisson loss", "Poisson hurdle regression"),
    "HurdleNegativeBinomial": ("hurdle negative binomial loss", "negative binomial hurdle regression"),
    "CoxPartial": ("partial likelihood", "Cox proportional hazards"),
    "ConditionalLogit": ("conditional likelihood", "conditional logistic regression"),
}
USUAL_LINK = {
    "Bernoulli": "logit", "Binomial": "logit", "BinomialCounts": "logit", "BetaBinomial": "logit", "Beta": "logit",
    "Geometric": "logit", "Poisson": "log", "NegativeBinomial": "log", "Exponential": "log", "Weibull": "log",
    "LogLogistic": "log", "ZeroInflatedPoisson": "log", "ZeroInflatedNegativeBinomial": "log", "HurdlePoisson": "log",
    "HurdleNegativeBinomial": "log",
}  # fmt: skip
BINARY = {"probit": "probit regression", "complementary log-log": "complementary log-log regression"}


def problem_of(kind: str, link: str, *, margin: bool = False) -> tuple[str, str]:
    """The data term in words, and the name of the problem without its penalty.

    Args:
        kind: name of the class of the distribution, likelihood or loss.
        link: name of the link; empty where the mean is no function of a linear predictor.
        margin: whether ``kind`` is a margin loss (there are two classes ``Logistic``, and two ``Exponential``).
    """
    if margin:
        return MARGIN.get(kind, (f"{kind} loss", f"{kind}-loss classification"))
    if kind in LOCATED:
        loss, name = LOCATED[kind]
        if not link:
            return loss, "nonlinear " + name.replace("robust ", "robust, ")
        return loss, name if link == "identity" else f"{name} with the {link} link"
    loss, name = GENERALIZED[kind]
    if not link:
        return loss, f"{name}, nonlinear in the parameters"
    if kind == "Bernoulli" and link in BINARY:
        return f"{link} loss", BINARY[link]
    if kind in ("Bernoulli", "Binomial", "BinomialCounts") and link != "logit":
        return "minus log-likelihood of labels", f"binary regression with the {link} link"
    if kind in ("Gamma", "InverseGaussian") or (kind in USUAL_LINK and link != USUAL_LINK[kind]):
        return loss, f"{name} with the {link} link"
    return loss, name


NAMED = {
    ("least squares", "l2"): "ridge regression",
    ("least squares", "l1"): "lasso",
    ("least squares", "elastic net"): "elastic net",
    ("least squares", "group"): "group lasso",
    ("least squares", "tikhonov"): "generalized ridge (Tikhonov) regression",
    ("least squares", ""): "ordinary least squares",
    ("support vector machine", "l2"): "support vector machine (hinge loss with an L2 penalty)",
    ("support vector machine", "l1"): "L1-norm support vector machine",
    ("least-squares classification", "l2"): "ridge classifier (least-squares classification with an L2 penalty)",
}
PREFIX = {
    "": "", "l2": "ridge-penalized ", "l1": "lasso-penalized ", "elastic net": "elastic-net ",
    "group": "group-lasso-penalized ", "tikhonov": "Tikhonov-penalized ",
}  # fmt: skip


def penalized_name(problem: str, kinds: set[str]) -> str:
    """The name with the penalty: textbook names where there are any, a prefix elsewhere."""
    kinds = kinds - {""}
    kind = next(iter(kinds)) if len(kinds) == 1 else ("several" if kinds else "")
    return NAMED.get((problem, kind)) or PREFIX.get(kind, "penalized ") + problem
