"""The workloads of many strengths: paths of the lasso, and cross-validations of lasso and of logistic regression."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lossgeo as lg
from experiments.benchmarks import ours, peers, r_peers
from experiments.benchmarks.data import correlated, labels, sparse_regression
from experiments.benchmarks.measure import Workload
from experiments.benchmarks.peers import Solve
from experiments.benchmarks.workloads import LOGISTIC, UNIT_NORMAL
from lossgeo import distributions as dist

FOLDS = 5


def _path(end: float, thresh: float) -> Workload:
    n, d, count = 1000, 10_000, 100
    x, y = sparse_regression(1, n, d)
    strengths = np.abs(x.T @ y).max() * np.geomspace(1.0, end, count)
    given = {"coef": jnp.zeros(d)}, jnp.asarray(x), jnp.asarray(y)

    def path(model: Any) -> Solve:
        objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Laplace(0.0, 1 / strengths[0])})

        def solve() -> np.ndarray:
            found = lg.path(objective, *given, grid=1 / strengths)
            return np.asarray(jax.block_until_ready(found.params["coef"]))

        return solve

    def worst_gap(coef: np.ndarray) -> float:
        return max(ours.lasso_gap(x, y, strengths[k])(coef[k]) for k in range(0, count, 9))

    return Workload(
        f"lasso path, n={n} d={d}, {count} strengths to {end:g} of the largest",
        {"lossgeo models.glm, path": path(UNIT_NORMAL), "lossgeo plain, path": path(ours.gaussian)},
        [*peers.lasso_path(x, y, strengths), r_peers.glmnet_path(x, y, strengths, thresh)],
        gap=worst_gap,
        data=(x, y),
    )


def sparse_path() -> Workload:
    """(p1) A path that ends with about 100 coefficients in use."""
    return _path(0.1, 1e-12)


def saturated_path() -> Workload:
    """(p2) A path that ends with almost as many coefficients in use as there are observations."""
    return _path(0.01, 1e-14)


def lasso_cross_validation() -> Workload:
    """(h1) Five folds of a path, contiguous folds for all; the gap is that of the mean squared errors to the least."""
    n, d, count = 2000, 1000, 50
    x, y = sparse_regression(6, n, d)
    # The peers' penalty is on the mean over the n (1 - 1 / FOLDS) observations that are fitted.
    fitted = n - n // FOLDS
    alphas = np.abs(x.T @ y).max() / n * np.geomspace(1.0, 0.01, count)
    given = {"coef": jnp.zeros(d)}, jnp.asarray(x), jnp.asarray(y)

    def cross_validate(model: Any) -> Solve:
        objective = lg.map_objective(lg.likelihood(model), {"coef": dist.Laplace(0.0, 1 / (fitted * alphas[0]))})

        def solve() -> np.ndarray:
            found = lg.cross_validate(objective, *given, grid=1 / (fitted * alphas), folds=FOLDS)
            return -2.0 * np.asarray(found.mean) - np.log(2 * np.pi)

        return solve

    return Workload(
        f"lasso cross-validation, n={n} d={d}, {count} strengths, {FOLDS} folds",
        {
            "lossgeo models.glm, cross_validate": cross_validate(UNIT_NORMAL),
            "lossgeo plain, cross_validate": cross_validate(ours.gaussian),
        },
        [
            *peers.lasso_cross_validation(x, y, alphas, FOLDS),
            r_peers.cv_glmnet(x, y, alphas, FOLDS, "gaussian", 1.0, 1e-10),
        ],
        objective=lambda errors: float(np.min(errors)),
        data=(x, y),
    )


def logistic_cross_validation() -> Workload:
    """(h2) Five folds times fifty strengths of an L2 penalty, contiguous folds for all; the gap as in h1."""
    rng = np.random.default_rng(7)
    n, d, count = 10_000, 50, 50
    x = correlated(rng, n, d, 0.5)
    y = labels(rng, x @ (rng.standard_normal(d) / np.sqrt(d) * 1.5))
    variances = np.geomspace(1e-4, 1e2, count)
    given = {"coef": jnp.zeros(d)}, jnp.asarray(x), jnp.asarray(y)

    def cross_validate(likelihood: Any) -> Solve:
        objective = lg.map_objective(likelihood, {"coef": dist.Normal(0.0, 1.0)})
        return lambda: -np.asarray(lg.cross_validate(objective, *given, grid=np.sqrt(variances), folds=FOLDS).mean)

    lambdas = np.sort(1 / (variances * (n - n // FOLDS)))[::-1]
    return Workload(
        f"L2 logistic cross-validation, n={n} d={d}, {count} strengths, {FOLDS} folds",
        {
            "lossgeo models.glm, cross_validate": cross_validate(lg.likelihood(LOGISTIC)),
            "lossgeo plain, cross_validate": cross_validate(ours.logistic),
        },
        [
            *peers.ridge_logistic_cross_validation(x, y, variances, FOLDS),
            # Half the deviance is the log loss.
            r_peers.cv_glmnet(x, y, lambdas, FOLDS, "binomial", 0.0, 1e-10, scale=0.5),
        ],
        objective=lambda losses: float(np.min(losses)),
        data=(x, y),
    )


PATH_WORKLOADS: dict[str, Callable[[], Workload]] = {
    "p1": sparse_path,
    "p2": saturated_path,
    "h1": lasso_cross_validation,
    "h2": logistic_cross_validation,
}
