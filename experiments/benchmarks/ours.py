"""What the workloads of lossgeo share: thunks that wait for all that was asked for, and models as plain functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

import lossgeo as lg
from lossgeo import distributions as dist


def fitted(
    objective: Any, init: Any, *data: Any, errors: bool = False, read: Callable[[Any], Any] = lambda p: p["coef"]
) -> Callable[[], np.ndarray]:
    """A fit of lossgeo that returns its coefficients; with their standard errors computed too, where asked for."""

    def solve() -> np.ndarray:
        fit = lg.fit(objective, init, *data)
        if errors:
            jax.block_until_ready(fit.standard_errors())
        return np.asarray(read(fit.params))

    return solve


# Plain functions, as a user would write them: distributions where there is one, sums of terms by hand elsewhere.
def gaussian(params: Any, x: Any) -> Any:
    """A normal target of variance 1."""
    return dist.Normal(x @ params["coef"], 1.0)


def logistic(params: Any, x: Any, y: Any) -> Any:
    """Log-likelihood of labels 0 and 1."""
    eta = x @ params["coef"]
    return y * eta - jax.nn.softplus(eta)


def poisson(params: Any, x: Any, y: Any) -> Any:
    """Log-likelihood of counts with a log link."""
    eta = x @ params["coef"]
    return y * eta - jnp.exp(eta) - jax.scipy.special.gammaln(y + 1)


def gamma(params: Any, x: Any) -> Any:
    """A gamma target with a log link."""
    return dist.Gamma(params["concentration"], params["concentration"] * jnp.exp(-x @ params["coef"]))


def negative_binomial(params: Any, x: Any) -> Any:
    """An overdispersed count with a log link."""
    return dist.NegativeBinomial(jnp.exp(x @ params["coef"]), params["concentration"])


def logistic_loss(x: np.ndarray, y: np.ndarray, l1: float = 0.0, l2: float = 0.0) -> Callable[[np.ndarray], float]:
    """Sum of logistic losses with penalties, by NumPy."""

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float(np.logaddexp(0, eta).sum() - y @ eta + l1 * np.abs(w).sum() + 0.5 * l2 * w @ w)

    return value


def softmax_loss(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], float]:
    """Sum of cross entropies with half the sum of squares of the coefficients, by NumPy."""

    def value(w: np.ndarray) -> float:
        eta = x @ w
        return float((scipy.special.logsumexp(eta, axis=1) - eta[np.arange(len(y)), y]).sum() + 0.5 * (w**2).sum())

    return value


def lasso_gap(x: np.ndarray, y: np.ndarray, strength: float) -> Callable[[np.ndarray], float]:
    """Duality gap of the lasso (strength on the sum of half squares) relative to the loss at 0."""

    def value(w: np.ndarray) -> float:
        r = y - x @ w
        primal = 0.5 * r @ r + strength * np.abs(w).sum()
        dual = r * min(1.0, strength / np.abs(x.T @ r).max())
        return float((primal - dual @ y + 0.5 * dual @ dual) / (0.5 * y @ y))

    return value


def group_lasso_gap(x: np.ndarray, y: np.ndarray, strength: float, size: int) -> Callable[[np.ndarray], float]:
    """The same for groups of ``size`` columns side by side, strength on the sum of their norms."""

    def norms(v: np.ndarray) -> np.ndarray:
        return np.linalg.norm(v.reshape(-1, size), axis=1)

    def value(w: np.ndarray) -> float:
        r = y - x @ w
        primal = 0.5 * r @ r + strength * norms(w).sum()
        dual = r * min(1.0, strength / norms(x.T @ r).max())
        return float((primal - dual @ y + 0.5 * dual @ dual) / (0.5 * y @ y))

    return value
