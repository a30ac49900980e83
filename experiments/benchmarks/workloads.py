"""Fits of linear models: data with a seed, lossgeo and the peers on the same problem, and how good an answer is.

Objectives are sums in nats: a penalty of strength ``s`` on a sum of losses is a Laplace prior of scale ``1 / s``, an L2
penalty ``0.5 w^2`` a standard normal prior. Each problem is declared by ``models`` and written as a plain function.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.special

import lossgeo as lg
from experiments.benchmarks import ours, peers, r_peers
from experiments.benchmarks.data import correlated, grouped_regression, labels, sparse_coefficients, sparse_regression
from experiments.benchmarks.measure import Workload
from experiments.benchmarks.ours import fitted
from experiments.benchmarks.peers import Peer, Solve
from lossgeo import distributions as dist
from lossgeo import links, models, supports

UNIT_NORMAL = models.glm(dist.Normal, intercept=False, dispersion=1.0)
LOGISTIC = models.glm(dist.Bernoulli, intercept=False)


def ols() -> Workload:
    """(a) Least squares with standard errors."""
    rng = np.random.default_rng(0)
    x = correlated(rng, 100_000, 100, 0.5)
    y = x @ rng.standard_normal(100) + rng.standard_normal(len(x))
    data = jnp.asarray(x), jnp.asarray(y)
    init = {"coef": jnp.zeros(100), "scale": jnp.asarray(1.0)}
    declared = lg.map_objective(lg.likelihood(models.glm(dist.Normal, intercept=False)))

    def plain_model(params: Any, x: Any) -> Any:
        return dist.Normal(x @ params["coef"], params["scale"])

    plain = lg.map_objective(lg.likelihood(plain_model), supports={"scale": supports.positive})

    def with_sklearn() -> Solve:
        from sklearn.linear_model import LinearRegression

        return lambda: LinearRegression(fit_intercept=False).fit(x, y).coef_

    def with_numpy() -> np.ndarray:
        return scipy.linalg.cho_solve(scipy.linalg.cho_factor(x.T @ x), x.T @ y)

    return Workload(
        "OLS, n=100000 d=100",
        {
            "lossgeo models.glm + SE": fitted(declared, init, *data, errors=True),
            "lossgeo plain + SE": fitted(plain, init, *data, errors=True),
        },
        [
            Peer("numpy normal equations (no SE)", "numpy", lambda: with_numpy),
            Peer("scikit-learn LinearRegression (no SE)", "sklearn", with_sklearn),
        ],
        objective=lambda w: float(((y - x @ w) ** 2).sum()),
        data=(x, y),
    )


def _lasso(fraction: float, thresh: float) -> Workload:
    n, d = 1000, 10_000
    x, y = sparse_regression(1, n, d)
    strength = fraction * np.abs(x.T @ y).max()
    prior = {"coef": dist.Laplace(0.0, 1 / strength)}
    given = {"coef": jnp.zeros(d)}, jnp.asarray(x), jnp.asarray(y)
    return Workload(
        f"lasso, n={n} d={d}, {fraction:g} of the largest strength",
        {
            "lossgeo models.glm": fitted(lg.map_objective(lg.likelihood(UNIT_NORMAL), prior), *given),
            "lossgeo plain": fitted(lg.map_objective(lg.likelihood(ours.gaussian), prior), *given),
        },
        [*peers.lasso(x, y, strength), r_peers.glmnet(x, y, strength, "gaussian", thresh)],
        gap=ours.lasso_gap(x, y, strength),
        data=(x, y),
    )


def sparse_lasso() -> Workload:
    """(b1) A lasso with about 100 coefficients in use."""
    return _lasso(0.1, 1e-13)


def dense_lasso() -> Workload:
    """(b2) A lasso with about 700 coefficients in use."""
    return _lasso(0.02, 1e-13)


def group_lasso() -> Workload:
    """(q) A group lasso with about 50 of 1000 groups in use."""
    n, d, size = 1000, 10_000, 10
    x, y = grouped_regression(5, n, d, size)
    strength = 0.1 * np.linalg.norm((x.T @ y).reshape(-1, size), axis=1).max()
    declared = {"coef": dist.GroupedLaplace(np.repeat(np.arange(d // size), size), 0.0, 1 / strength)}
    plain = {"coef": dist.GroupLaplace(jnp.zeros(size), 1 / strength)}

    def rows(params: Any, x: Any) -> Any:
        return dist.Normal(x @ params["coef"].reshape(-1), 1.0)

    data = jnp.asarray(x), jnp.asarray(y)
    by_rows = fitted(lg.map_objective(lg.likelihood(rows), plain), {"coef": jnp.zeros((d // size, size))}, *data)
    return Workload(
        f"group lasso, n={n} d={d} in groups of {size}, 0.1 of the largest strength",
        {
            "lossgeo models.glm": fitted(
                lg.map_objective(lg.likelihood(UNIT_NORMAL), declared), {"coef": jnp.zeros(d)}, *data
            ),
            "lossgeo plain": lambda: by_rows().ravel(),
        },
        peers.group_lasso(x, y, strength, size),
        gap=ours.group_lasso_gap(x, y, strength, size),
        data=(x, y),
    )


def ridge_logistic() -> Workload:
    """(c) Logistic regression with an L2 penalty."""
    rng = np.random.default_rng(2)
    x = correlated(rng, 100_000, 100, 0.5)
    y = labels(rng, x @ (rng.standard_normal(100) * 0.15))
    prior = {"coef": dist.Normal(0.0, 1.0)}
    given = {"coef": jnp.zeros(100)}, jnp.asarray(x), jnp.asarray(y)
    return Workload(
        "L2 logistic, n=100000 d=100",
        {
            "lossgeo models.glm": fitted(lg.map_objective(lg.likelihood(LOGISTIC), prior), *given),
            "lossgeo plain": fitted(lg.map_objective(ours.logistic, prior), *given),
        },
        peers.ridge_logistic(x, y),
        objective=ours.logistic_loss(x, y, l2=1.0),
        data=(x, y),
    )


def _sparse_logistic(fraction: float, thresh: float) -> Workload:
    rng = np.random.default_rng(3)
    n, d = 5000, 2000
    x = np.asfortranarray(correlated(rng, n, d, 0.5))
    y = labels(rng, x @ sparse_coefficients(rng, d, 40))
    strength = fraction * np.abs(x.T @ (y - 0.5)).max()
    prior = {"coef": dist.Laplace(0.0, 1 / strength)}
    given = {"coef": jnp.zeros(d)}, jnp.asarray(x), jnp.asarray(y)
    return Workload(
        f"L1 logistic, n={n} d={d}, {fraction:g} of the largest strength",
        {
            "lossgeo models.glm": fitted(lg.map_objective(lg.likelihood(LOGISTIC), prior), *given),
            "lossgeo plain": fitted(lg.map_objective(ours.logistic, prior), *given),
        },
        [*peers.lasso_logistic(x, y, strength), r_peers.glmnet(x, y, strength, "binomial", thresh)],
        objective=ours.logistic_loss(x, y, l1=strength),
        data=(x, y),
    )


def sparse_logistic() -> Workload:
    """(d1) L1 logistic regression with about 70 coefficients in use."""
    return _sparse_logistic(0.05, 1e-10)


def dense_logistic() -> Workload:
    """(d2) L1 logistic regression with about 700 coefficients in use."""
    return _sparse_logistic(0.01, 1e-10)


def softmax() -> Workload:
    """(e) Multinomial logistic regression on the digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x / 16.0

    def model(params: Any, x: Any) -> Any:
        return dist.Categorical(logits=x @ params["coef"])

    prior = {"coef": dist.Normal(0.0, 1.0)}
    given = {"coef": jnp.zeros((64, 10))}, jnp.asarray(x), jnp.asarray(y)
    declared = models.softmax_regression(10, intercept=False)
    return Workload(
        "softmax with L2, digits 1797 x 64 x 10",
        {
            "lossgeo models.softmax_regression": fitted(lg.map_objective(lg.likelihood(declared), prior), *given),
            "lossgeo plain": fitted(lg.map_objective(lg.likelihood(model), prior), *given),
        },
        peers.softmax(x, y),
        objective=ours.softmax_loss(x, y),
        data=(x, y),
    )


def _counts(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A design with a column of ones and a target whose mean is the exponential of a linear predictor."""
    rng = np.random.default_rng(4)
    x = correlated(rng, 100_000, 50, 0.3)
    x[:, 0] = 1.0
    w = rng.standard_normal(50) * 0.1
    w[0] = 0.5
    mean = np.exp(x @ w)
    if kind == "poisson":
        return x, rng.poisson(mean).astype(float)
    varying = rng.gamma(2.0, mean / 2.0)
    return x, varying if kind == "gamma" else rng.poisson(varying).astype(float)


def poisson() -> Workload:
    """(f1) Poisson regression with standard errors."""
    x, y = _counts("poisson")
    declared = lg.likelihood(models.glm(dist.Poisson, links.log, intercept=False))
    given = {"coef": jnp.zeros(50)}, jnp.asarray(x), jnp.asarray(y)

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float(np.sum(np.exp(eta) - y * eta))

    return Workload(
        "Poisson regression with SE, n=100000 d=50",
        {
            "lossgeo models.glm + SE": fitted(lg.map_objective(declared), *given, errors=True),
            "lossgeo plain + SE": fitted(lg.map_objective(ours.poisson), *given, errors=True),
        },
        [*peers.regression(x, y, "poisson"), r_peers.glm(x, y, "poisson()")],
        objective=value,
        data=(x, y),
    )


def gamma() -> Workload:
    """(f2) Gamma regression with log link and standard errors."""
    x, y = _counts("gamma")
    declared = lg.likelihood(models.glm(dist.Gamma, links.log, intercept=False))
    plain = lg.map_objective(lg.likelihood(ours.gamma), supports={"concentration": supports.positive})
    given = {"coef": jnp.zeros(50), "concentration": jnp.asarray(1.0)}, jnp.asarray(x), jnp.asarray(y)

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float(np.sum(y * np.exp(-eta) + eta))

    return Workload(
        "gamma regression with SE, n=100000 d=50",
        {
            "lossgeo models.glm + SE": fitted(lg.map_objective(declared), *given, errors=True),
            "lossgeo plain + SE": fitted(plain, *given, errors=True),
        },
        [*peers.regression(x, y, "gamma"), r_peers.glm(x, y, 'Gamma(link = "log")')],
        objective=value,
        data=(x, y),
    )


def negative_binomial() -> Workload:
    """(f3) Negative binomial regression, its dispersion by maximum likelihood, with standard errors."""
    x, y = _counts("negative_binomial")
    declared = lg.likelihood(models.glm(dist.NegativeBinomial, links.log, intercept=False))
    plain = lg.map_objective(lg.likelihood(ours.negative_binomial), supports={"concentration": supports.positive})
    given = {"coef": jnp.zeros(50), "concentration": jnp.asarray(1.0)}, jnp.asarray(x), jnp.asarray(y)

    def read(params: Any) -> np.ndarray:
        return np.append(params["coef"], 1 / params["concentration"])

    def value(answer: np.ndarray) -> float:
        mean, r = np.exp(x @ answer[:-1]), 1 / answer[-1]
        terms = scipy.special.gammaln(y + r) - scipy.special.gammaln(r) - scipy.special.gammaln(y + 1)
        return -float(np.sum(terms + r * np.log(r / (r + mean)) + y * np.log(mean / (r + mean))))

    return Workload(
        "negative binomial regression with SE, n=100000 d=50",
        {
            "lossgeo models.glm + SE": fitted(lg.map_objective(declared), *given, errors=True, read=read),
            "lossgeo plain + SE": fitted(plain, *given, errors=True, read=read),
        },
        [*peers.negative_binomial(x, y), r_peers.negative_binomial(x, y)],
        objective=value,
        data=(x, y),
    )


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "a": ols,
    "b1": sparse_lasso,
    "b2": dense_lasso,
    "c": ridge_logistic,
    "d1": sparse_logistic,
    "d2": dense_logistic,
    "e": softmax,
    "f1": poisson,
    "f2": gamma,
    "f3": negative_binomial,
    "q": group_lasso,
}
