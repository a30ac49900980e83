"""The workloads: data with a seed, lossgeo and the peers on the same problem, and how good an answer is.

Objectives are sums in nats. A penalty of strength ``s`` on the mean loss of a peer is a Laplace prior of scale
``1 / (n s)``, an L2 penalty ``0.5 w^2`` a standard normal prior.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.special

import lossgeo as lg
from experiments.benchmarks.data import correlated as _correlated
from experiments.benchmarks.data import missing as _missing
from experiments.benchmarks.many_fits import MANY_FITS
from experiments.benchmarks.measure import Workload
from lossgeo import distributions as dist
from lossgeo import links, models, supports


def _fitted(
    objective: Any, init: Any, *data: Any, name: str = "coef", errors: bool = False
) -> Callable[[], np.ndarray]:
    """A fit of lossgeo that returns its coefficients; with their standard errors computed too, where asked for."""

    def solve() -> np.ndarray:
        fit = lg.fit(objective, init, *data)
        if errors:
            jax.block_until_ready(fit.standard_errors())
        return np.asarray(fit.params[name])

    return solve


def logistic_loss(x: np.ndarray, y: np.ndarray, l1: float = 0.0, l2: float = 0.0) -> Callable[[np.ndarray], float]:
    """Sum of logistic losses with penalties, by NumPy."""

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float(np.logaddexp(0, eta).sum() - y @ eta + l1 * np.abs(w).sum() + 0.5 * l2 * w @ w)

    return value


def lasso_gap(x: np.ndarray, y: np.ndarray, strength: float) -> Callable[[np.ndarray], float]:
    """Duality gap of the lasso (strength on the sum of half squares) relative to the loss at 0."""

    def value(w: np.ndarray) -> float:
        r = y - x @ w
        primal = 0.5 * r @ r + strength * np.abs(w).sum()
        dual = r * min(1.0, strength / np.abs(x.T @ r).max())
        return float((primal - dual @ y + 0.5 * dual @ dual) / (0.5 * y @ y))

    return value


# Plain functions, as a user would write them.
def _gaussian(params: Any, x: Any) -> Any:
    return dist.Normal(x @ params["coef"], 1.0)


def _logistic(params: Any, x: Any, y: Any) -> Any:
    eta = x @ params["coef"]
    return y * eta - jax.nn.softplus(eta)


def _poisson(params: Any, x: Any, y: Any) -> Any:
    eta = x @ params["coef"]
    return y * eta - jnp.exp(eta) - jax.scipy.special.gammaln(y + 1)


def ols() -> Workload:
    """(a) Ordinary least squares with standard errors."""
    rng = np.random.default_rng(0)
    x = _correlated(rng, 100_000, 100, 0.5)
    y = x @ rng.standard_normal(100) + rng.standard_normal(len(x))
    data = jnp.asarray(x), jnp.asarray(y)
    init = {"coef": jnp.zeros(100), "scale": jnp.asarray(1.0)}
    glm = lg.map_objective(lg.likelihood(models.glm(dist.Normal, intercept=False)))

    def plain_model(params: Any, x: Any) -> Any:
        return dist.Normal(x @ params["coef"], params["scale"])

    plain = lg.map_objective(lg.likelihood(plain_model), supports={"scale": supports.positive})
    contenders = {
        "lossgeo models.glm + SE": _fitted(glm, init, *data, errors=True),
        "lossgeo plain + SE": _fitted(plain, init, *data, errors=True),
        "numpy normal equations (no SE)": lambda: scipy.linalg.cho_solve(scipy.linalg.cho_factor(x.T @ x), x.T @ y),
    }
    missing = _missing("sklearn", "statsmodels")
    if "sklearn" not in missing:
        from sklearn.linear_model import LinearRegression

        contenders["scikit-learn LinearRegression (no SE)"] = lambda: (
            LinearRegression(fit_intercept=False).fit(x, y).coef_
        )
    return Workload("OLS, n=100000 d=100", contenders, lambda w: float(((y - x @ w) ** 2).sum()), missing=missing)


def _lasso(fraction: float) -> Workload:
    rng = np.random.default_rng(1)
    n, d = 1000, 10_000
    x = np.asfortranarray(_correlated(rng, n, d, 0.5))
    w = np.zeros(d)
    w[rng.choice(d, 50, replace=False)] = rng.standard_normal(50)
    signal, noise = x @ w, rng.standard_normal(n)
    y = signal + noise * np.linalg.norm(signal) / np.linalg.norm(noise) / 3.0
    y -= y.mean()
    strength = fraction * np.abs(x.T @ y).max()
    alpha = strength / n
    objective = lg.map_objective(lg.likelihood(_gaussian), {"coef": dist.Laplace(0.0, 1 / strength)})
    contenders = {"lossgeo": _fitted(objective, {"coef": jnp.zeros(d)}, jnp.asarray(x), jnp.asarray(y))}
    missing = _missing("skglm", "celer", "sklearn")
    if "skglm" not in missing:
        import skglm

        contenders["skglm"] = lambda: skglm.Lasso(alpha, fit_intercept=False, tol=1e-5 * np.sqrt(alpha)).fit(x, y).coef_
    if "celer" not in missing:
        import celer

        contenders["celer"] = lambda: celer.Lasso(alpha, fit_intercept=False, tol=1e-7).fit(x, y).coef_
    if "sklearn" not in missing:
        from sklearn.linear_model import Lasso

        contenders["scikit-learn"] = lambda: (
            Lasso(alpha=alpha, fit_intercept=False, tol=1e-6, max_iter=100_000).fit(x, y).coef_
        )
    return Workload(
        f"lasso, n=1000 d=10000, {fraction:g} of the largest strength", contenders, gap=lasso_gap(x, y, strength),
        missing=missing,
    )  # fmt: skip


def sparse_lasso() -> Workload:
    """(b1) A lasso with about 100 coefficients in use."""
    return _lasso(0.1)


def dense_lasso() -> Workload:
    """(b2) A lasso with about 700 coefficients in use."""
    return _lasso(0.02)


def ridge_logistic() -> Workload:
    """(c) Logistic regression with an L2 penalty."""
    rng = np.random.default_rng(2)
    x = _correlated(rng, 100_000, 100, 0.5)
    w = rng.standard_normal(100) * 0.15
    y = (rng.random(len(x)) < scipy.special.expit(x @ w)).astype(float)
    prior = {"coef": dist.Normal(0.0, 1.0)}
    data, init = (jnp.asarray(x), jnp.asarray(y)), {"coef": jnp.zeros(100)}
    glm = lg.map_objective(lg.likelihood(models.glm(dist.Bernoulli, intercept=False)), prior)
    contenders = {
        "lossgeo models.glm": _fitted(glm, init, *data),
        "lossgeo plain": _fitted(lg.map_objective(_logistic, prior), init, *data),
    }
    missing = _missing("sklearn", "glum")
    if "sklearn" not in missing:
        from sklearn.linear_model import LogisticRegression

        for solver, tol in (("lbfgs", 1e-6), ("newton-cholesky", 1e-6)):
            contenders[f"scikit-learn {solver}"] = lambda solver=solver, tol=tol: (
                LogisticRegression(C=1.0, fit_intercept=False, solver=solver, tol=tol, max_iter=1000).fit(x, y).coef_[0]
            )
    if "glum" not in missing:
        from glum import GeneralizedLinearRegressor

        contenders["glum"] = lambda: (
            GeneralizedLinearRegressor(
                family="binomial", alpha=1 / len(y), l1_ratio=0, fit_intercept=False, gradient_tol=1e-8
            )
            .fit(x, y)
            .coef_
        )
    return Workload("L2 logistic, n=100000 d=100", contenders, logistic_loss(x, y, l2=1.0), missing=missing)


def _sparse_logistic(fraction: float) -> Workload:
    rng = np.random.default_rng(3)
    n, d = 5000, 2000
    x = np.asfortranarray(_correlated(rng, n, d, 0.5))
    w = np.zeros(d)
    w[rng.choice(d, 40, replace=False)] = rng.standard_normal(40)
    y = (rng.random(n) < scipy.special.expit(x @ w)).astype(float)
    strength = fraction * np.abs(x.T @ (y - 0.5)).max()
    prior = {"coef": dist.Laplace(0.0, 1 / strength)}
    data, init = (jnp.asarray(x), jnp.asarray(y)), {"coef": jnp.zeros(d)}
    glm = lg.map_objective(lg.likelihood(models.glm(dist.Bernoulli, intercept=False)), prior)
    contenders = {
        "lossgeo models.glm": _fitted(glm, init, *data),
        "lossgeo plain": _fitted(lg.map_objective(_logistic, prior), init, *data),
    }
    missing = _missing("skglm", "celer")
    if "skglm" not in missing:
        from skglm import SparseLogisticRegression

        contenders["skglm"] = lambda: (
            SparseLogisticRegression(strength / n, fit_intercept=False, tol=1e-7).fit(x, 2 * y - 1).coef_.ravel()
        )
    if "celer" not in missing:
        import celer

        contenders["celer"] = lambda: (
            celer.LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-9).fit(x, 2 * y - 1).coef_[0]
        )
    return Workload(
        f"L1 logistic, n=5000 d=2000, {fraction:g} of the largest strength", contenders,
        logistic_loss(x, y, l1=strength), missing=missing,
    )  # fmt: skip


def sparse_logistic() -> Workload:
    """(d1) L1 logistic regression with about 70 coefficients in use."""
    return _sparse_logistic(0.05)


def dense_logistic() -> Workload:
    """(d2) L1 logistic regression with about 700 coefficients in use."""
    return _sparse_logistic(0.01)


def softmax() -> Workload:
    """(e) Multinomial logistic regression on the digits."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    x = x / 16.0

    def model(params: Any, x: Any) -> Any:
        return dist.Categorical(logits=x @ params["coef"])

    objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Normal(0.0, 1.0)})
    contenders = {"lossgeo plain": _fitted(objective, {"coef": jnp.zeros((64, 10))}, jnp.asarray(x), jnp.asarray(y))}
    for solver in ("lbfgs", "newton-cg"):
        contenders[f"scikit-learn {solver}"] = lambda solver=solver: (
            LogisticRegression(C=1.0, fit_intercept=False, solver=solver, tol=1e-6, max_iter=5000).fit(x, y).coef_.T
        )

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float((scipy.special.logsumexp(eta, axis=1) - eta[np.arange(len(y)), y]).sum() + 0.5 * (w**2).sum())

    return Workload("softmax with L2, digits 1797 x 64 x 10", contenders, value)


def poisson() -> Workload:
    """(f1) Poisson regression with standard errors."""
    return _counts("poisson")


def gamma() -> Workload:
    """(f2) Gamma regression with log link and standard errors."""
    return _counts("gamma")


def _counts(kind: str) -> Workload:
    rng = np.random.default_rng(4)
    x = _correlated(rng, 100_000, 50, 0.3)
    x[:, 0] = 1.0
    w = rng.standard_normal(50) * 0.1
    w[0] = 0.5
    mean = np.exp(x @ w)
    y = rng.poisson(mean).astype(float) if kind == "poisson" else rng.gamma(2.0, mean / 2.0)
    data, init = (jnp.asarray(x), jnp.asarray(y)), {"coef": jnp.zeros(50)}
    if kind == "gamma":
        init |= {"concentration": jnp.asarray(1.0)}
    family = dist.Poisson if kind == "poisson" else dist.Gamma
    glm = lg.map_objective(lg.likelihood(models.glm(family, links.log, intercept=False)))
    contenders = {"lossgeo models.glm + SE": _fitted(glm, init, *data, errors=True)}
    if kind == "poisson":
        contenders["lossgeo plain + SE"] = _fitted(lg.map_objective(_poisson), init, *data, errors=True)
    missing = _missing("glum", "statsmodels")
    if "glum" not in missing:
        from glum import GeneralizedLinearRegressor

        def with_glum() -> np.ndarray:
            model = GeneralizedLinearRegressor(family=kind, alpha=0, fit_intercept=False, gradient_tol=1e-8)
            model.fit(x, y).std_errors(x, y)
            return model.coef_

        contenders["glum + SE"] = with_glum
    if "statsmodels" not in missing:
        import statsmodels.api as sm

        families = {"poisson": sm.families.Poisson(), "gamma": sm.families.Gamma(sm.families.links.Log())}
        contenders["statsmodels GLM + SE"] = lambda: sm.GLM(y, x, family=families[kind]).fit(tol=1e-10).params

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float(np.sum(np.exp(eta) - y * eta) if kind == "poisson" else np.sum(y * np.exp(-eta) + eta))

    return Workload(f"{kind} regression with SE, n=100000 d=50", contenders, value, missing=missing)


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
} | MANY_FITS
