"""Objectives that `explain` must name, with the scales that it must find, and some that it must refuse."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import likelihoods, links, losses, models

COLUMNS = 4
S, TAU, B = 54.0, 20.0, 2.0
REFUSED = "not in the dictionary"


class Row(NamedTuple):
    """An objective with its data, what it must be called, and the scales that must be found."""

    label: str
    objective: Any
    init: Any
    data: tuple[Any, ...]
    name: str
    scales: dict[str, float]


def standardize(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def eta(params: Any, x: jax.Array) -> jax.Array:
    """The linear predictor."""
    return x @ params["coef"] + params["intercept"]


def declared(noise: Callable[[jax.Array], Any], prior: Any) -> lg.Objective:
    """A model and a prior."""
    return lg.map_objective(lg.likelihood(lambda p, x: noise(eta(p, x))), {"coef": prior, "intercept": dist.Flat()})


def bare(loss: Callable[[Any, Any], Any], penalty: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function of which nothing is known but its values."""
    return lambda p, x, y: loss(eta(p, x), y) + penalty(p["coef"])


def squares(w: Any) -> Any:
    """Half the squared norm, over a variance of 1/4."""
    return 2.0 * jnp.sum(w**2)


def opaque(params: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Ridge regression in NumPy: JAX cannot look inside."""
    r = y - x @ np.asarray(params["coef"]) - float(params["intercept"])
    return float(np.sum(r * r) / (2 * S**2) + np.sum(np.asarray(params["coef"]) ** 2) / (2 * TAU**2))


def margin(loss: Any) -> lg.Objective:
    """A margin loss with a normal prior."""
    return lg.map_objective(lg.pseudo_likelihood(loss, eta), {"coef": dist.Normal(0.0, 0.5), "intercept": dist.Flat()})


def rows(fast: bool) -> list[Row]:
    """Every objective of the poster."""
    x, y = load_diabetes(return_X_y=True)
    x = standardize(x)[:150, :COLUMNS]
    y = y[:150]
    cancer = load_breast_cancer()
    xc, labels = standardize(cancer.data)[:200, :COLUMNS], cancer.target[:200].astype(float)
    flowers = load_iris()
    xi, classes = standardize(flowers.data), flowers.target
    init = {"coef": jnp.zeros(COLUMNS), "intercept": jnp.zeros(())}
    at_mean = {"coef": jnp.zeros(COLUMNS), "intercept": jnp.log(y.mean())}
    l2, l1 = dist.Normal(0.0, 0.5), dist.Laplace(0.0, 0.3)
    wide, kinked = dist.Normal(0.0, TAU), dist.Laplace(0.0, B)

    def normal(e: jax.Array) -> dist.Normal:
        return dist.Normal(e, S)

    softmax = models.softmax_regression(3)
    ordinal = models.ordinal_regression(3)
    found = [
        Row("Normal + Normal", declared(normal, wide), init, (x, y), "ridge regression",
            {"s2": S**2, "t2 of coef": TAU**2}),
        Row("Normal + Laplace", declared(normal, kinked), init, (x, y), "lasso", {"s2": S**2, "b of coef": B}),
        Row("Bernoulli + Normal", declared(lambda e: dist.Bernoulli(logits=e), l2), init, (xc, labels),
            "ridge-penalized logistic regression", {"t2 of coef": 0.25}),
        Row("Bernoulli, probit + Normal", declared(lambda e: dist.Bernoulli(logits=links.probit.log_odds(e)), l2), init,
            (xc, labels), "ridge-penalized probit regression", {"t2 of coef": 0.25}),
        Row("Poisson + Laplace", declared(lambda e: dist.Poisson(jnp.exp(e)), l1), at_mean, (x, y),
            "lasso-penalized Poisson regression", {"b of coef": 0.3}),
        Row("gamma, log link + Normal", declared(lambda e: dist.Gamma(5.0, 5.0 * jnp.exp(-e)), l2), at_mean, (x, y),
            "ridge-penalized gamma regression with the log link", {"concentration": 5.0, "t2 of coef": 0.25}),
        Row("categorical + Normal", lg.map_objective(lg.likelihood(softmax), {"coef": l2, "intercept": dist.Flat()}),
            softmax.init(xi, classes), (xi, classes), "ridge-penalized multinomial logistic regression",
            {"t2 of coef": 0.25}),
        Row("ordered logistic", lg.map_objective(lg.likelihood(ordinal)), ordinal.init(xi, classes), (xi, classes),
            "proportional odds (ordinal logistic regression)", {}),
        Row("partial likelihood + Normal", *survival(), "ridge-penalized Cox proportional hazards",
            {"t2 of coef": 0.25}),
        Row("asymmetric Laplace + Laplace", declared(lambda e: dist.AsymmetricLaplace(e, 9.0, 0.9), kinked), init,
            (x, y), "lasso-penalized quantile regression at the quantile 0.9", {"tau": 0.9, "s": 9.0, "b of coef": B}),
        Row("hinge + Normal", margin(losses.hinge), init, (xc, labels),
            "support vector machine (hinge loss with an L2 penalty)", {"t2 of coef": 0.25}),
        Row("ridge in NumPy", opaque, init, (x, y), "ridge regression", {"s2": S**2, "t2 of coef": TAU**2}),
        Row("logistic loss + |w|/0.3", bare(lambda e, y: jnp.sum(jnp.logaddexp(0.0, e) - y * e),
                                            lambda w: jnp.sum(jnp.abs(w)) / 0.3), init, (xc, labels),
            "lasso-penalized logistic regression", {"b of coef": 0.3}),
        Row("logistic loss in bits + 2 |w|^2", bare(
            lambda e, y: jnp.sum(jnp.logaddexp(0.0, e) - y * e) / math.log(2), squares), init, (xc, labels),
            "ridge-penalized logistic regression", {"s": math.log(2), "t2 of coef": 0.25}),
        Row("Huber's loss + 2 |w|^2", bare(
            lambda e, y: jnp.sum(losses.Huber(1.345)((y - e) / 40.0)), squares), init, (x, y),
            "ridge-penalized Huber regression", {"delta": 1.345, "s": 40.0, "t2 of coef": 0.25}),
        Row("2.5 log(1 + r^2/(4 s^2)) + 2 |w|^2", bare(
            lambda e, y: 2.5 * jnp.sum(jnp.log1p((y - e) ** 2 / (4 * 40.0**2))), squares), init, (x, y),
            "ridge-penalized robust Student-t regression", {"df": 4.0, "s2": 1600.0, "t2 of coef": 0.25}),
        Row("squared hinge + |w|^2 but w_0", bare(
            lambda e, y: jnp.sum(jnp.maximum(0.0, 1 - (2 * y - 1) * e) ** 2), lambda w: jnp.sum(w[1:] ** 2)), init,
            (xc, labels), "ridge-penalized support vector machine with squared hinge loss",
            {"weight": 1.0, "t2 of coef[1, 2, 3]": 0.5}),
        Row("Normal + group Laplace", bare(lambda e, y: jnp.sum((y - e) ** 2) / (2 * S**2),
                                           lambda w: jnp.linalg.norm(w) / B), init, (x, y), "group lasso",
            {"s2": S**2, "b of coef": B}),
    ]  # fmt: skip
    refused = [
        ("Normal-Cauchy mixture", declared(
            lambda e: dist.Mixture(jnp.array([0.8, 0.2]), (dist.Normal(e, S), dist.Cauchy(e, S))), wide)),
        ("Gumbel noise, bare", bare(lambda e, y: jnp.sum((y - e) / S + jnp.exp(-(y - e) / S)), squares)),
        ("square-root lasso", bare(lambda e, y: jnp.sqrt(jnp.sum((y - e) ** 2)), lambda w: jnp.sum(jnp.abs(w)))),
        ("profile likelihood n/2 log RSS", bare(lambda e, y: 75.0 * jnp.log(jnp.sum((y - e) ** 2)), squares)),
        ("squared + absolute error", bare(
            lambda e, y: jnp.sum((y - e) ** 2) / (2 * S**2) + jnp.sum(jnp.abs(y - e)) / S, squares)),
        ("expectile loss", bare(lambda e, y: jnp.sum(jnp.where(y > e, 0.9, 0.1) * (y - e) ** 2) / S**2, squares)),
        ("RSS + log(1 + w^2)", bare(
            lambda e, y: jnp.sum((y - e) ** 2) / (2 * S**2), lambda w: jnp.sum(jnp.log1p(w**2)))),
        ("RSS - |w|^2", bare(lambda e, y: jnp.sum((y - e) ** 2) / (2 * S**2), lambda w: -squares(w))),
    ]  # fmt: skip
    kept = found[:3] + found[4:6] + found[10:15] if fast else found
    return kept + [Row(label, f, init, (x, y), REFUSED, {}) for label, f in (refused[:4] if fast else refused)]


def survival() -> tuple[Any, Any, tuple[Any, ...]]:
    """Stanford heart transplants: survival on age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = sm.datasets.heart.load_pandas().data
    x = standardize(data[["age"]].to_numpy(float))
    objective = lg.map_objective(likelihoods.cox_partial(), {"coef": dist.Normal(0.0, 0.5)})
    target = (data["survival"].to_numpy(float), data["censors"].to_numpy(float))
    return objective, {"coef": jnp.zeros(1)}, (x, target)
