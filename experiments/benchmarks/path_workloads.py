"""The workloads of many strengths: paths of the lasso and its cross-validation; see ``workloads``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lossgeo as lg
from experiments.benchmarks.measure import Workload
from experiments.benchmarks.workloads import _correlated, _gaussian, _missing, lasso_gap
from lossgeo import distributions as dist


def _data(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """An autoregressive design with 50 coefficients in use and a signal of three times the noise."""
    rng = np.random.default_rng(seed)
    x = np.asfortranarray(_correlated(rng, n, d, 0.5))
    w = np.zeros(d)
    w[rng.choice(d, 50, replace=False)] = rng.standard_normal(50)
    signal, noise = x @ w, rng.standard_normal(n)
    y = signal + noise * np.linalg.norm(signal) / np.linalg.norm(noise) / 3.0
    return x, y - y.mean()


def _path(end: float) -> Workload:
    n, d, count = 1000, 10_000, 100
    x, y = _data(1, n, d)
    strengths = np.abs(x.T @ y).max() * np.geomspace(1.0, end, count)
    objective = lg.map_objective(lg.likelihood(_gaussian), {"coef": dist.Laplace(0.0, 1 / strengths[0])})
    data = jnp.asarray(x), jnp.asarray(y)

    def ours() -> np.ndarray:
        found = lg.path(objective, {"coef": jnp.zeros(d)}, *data, grid=1 / strengths)
        return np.asarray(jax.block_until_ready(found.params["coef"]))

    contenders: dict[str, Callable[[], Any]] = {"lossgeo lg.path": ours}
    missing = _missing("celer", "sklearn")
    if "celer" not in missing:
        import celer

        contenders["celer celer_path"] = lambda: celer.celer_path(x, y, "lasso", alphas=strengths / n, tol=1e-6)[1].T
    if "sklearn" not in missing:
        from sklearn.linear_model import lasso_path

        contenders["scikit-learn lasso_path"] = lambda: lasso_path(x, y, alphas=strengths / n, tol=1e-4)[1].T

    def worst_gap(coef: np.ndarray) -> float:
        return max(lasso_gap(x, y, strengths[k])(coef[k]) for k in range(0, count, 9))

    title = f"lasso path, n={n} d={d}, {count} strengths to {end:g} of the largest"
    return Workload(title, contenders, gap=worst_gap, missing=missing)


def sparse_path() -> Workload:
    """(p1) A path that ends with about 100 coefficients in use."""
    return _path(0.1)


def saturated_path() -> Workload:
    """(p2) A path that ends with almost as many coefficients in use as there are observations."""
    return _path(0.01)


def lasso_cross_validation() -> Workload:
    """(h1) Five folds of a path, contiguous folds for all; the gap is that of the mean squared errors to the least."""
    n, d, count, folds = 2000, 1000, 50, 5
    x, y = _data(6, n, d)
    # The peers' penalty is on the mean over the n (1 - 1 / folds) observations that are fitted.
    fitted = n - n // folds
    alphas = np.abs(x.T @ y).max() / n * np.geomspace(1.0, 0.01, count)
    objective = lg.map_objective(lg.likelihood(_gaussian), {"coef": dist.Laplace(0.0, 1 / (fitted * alphas[0]))})
    data = jnp.asarray(x), jnp.asarray(y)

    def ours() -> np.ndarray:
        grid = 1 / (fitted * alphas)
        found = lg.cross_validate(objective, {"coef": jnp.zeros(d)}, *data, grid=grid, folds=folds)
        return -2.0 * np.asarray(found.mean) - np.log(2 * np.pi)

    contenders: dict[str, Callable[[], Any]] = {"lossgeo lg.cross_validate": ours}
    missing = _missing("sklearn")
    if "sklearn" not in missing:
        from sklearn.linear_model import LassoCV
        from sklearn.model_selection import KFold

        for tol in (1e-4, 1e-6):
            contenders[f"scikit-learn LassoCV, tol {tol:g}"] = lambda tol=tol: (
                LassoCV(alphas=alphas, cv=KFold(folds), fit_intercept=False, tol=tol, max_iter=100_000)
                .fit(x, y)
                .mse_path_.mean(axis=1)
            )
    return Workload(
        f"lasso cross-validation, n={n} d={d}, {count} strengths, {folds} folds", contenders,
        objective=lambda errors: float(np.min(errors)), missing=missing,
    )  # fmt: skip


PATH_WORKLOADS: dict[str, Callable[[], Workload]] = {
    "p1": sparse_path,
    "p2": saturated_path,
    "h1": lasso_cross_validation,
}
