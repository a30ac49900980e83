"""Peers of Python: what each package needs to be told to solve the same problem; in R: see ``r_peers``.

A penalty of strength ``s`` on a sum of losses is one of ``s / n`` on their mean, which most packages ask for.
"""

import functools
import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Solve = Callable[[], Any]


class Peer(NamedTuple):
    """A contender that needs a package.

    Args:
        name: what the tables call it, the package first.
        package: what has to be installed: a module of Python, or ``R:`` and a package of R.
        build: imports the package and returns the thunk that is timed.
    """

    name: str
    package: str
    build: Callable[[], Solve]


def is_installed(package: str) -> bool:
    """Whether a module of Python or, for ``R:name``, a package of R is installed."""
    if package.startswith("R:"):
        return package.removeprefix("R:") in _r_packages()
    return importlib.util.find_spec(package) is not None


@functools.cache
def _r_packages() -> frozenset[str]:
    if shutil.which("Rscript") is None:
        return frozenset()
    command = ["Rscript", "--vanilla", "-e", "writeLines(rownames(installed.packages()))"]
    return frozenset(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def lasso(x: np.ndarray, y: np.ndarray, strength: float) -> list[Peer]:
    """``0.5 |y - x w|^2 + strength |w|_1``."""
    alpha = strength / len(y)

    def with_skglm() -> Solve:
        import skglm

        return lambda: skglm.Lasso(alpha, fit_intercept=False, tol=1e-5 * np.sqrt(alpha)).fit(x, y).coef_

    def with_celer() -> Solve:
        import celer

        return lambda: celer.Lasso(alpha, fit_intercept=False, tol=1e-7).fit(x, y).coef_

    def with_sklearn() -> Solve:
        from sklearn.linear_model import Lasso

        return lambda: Lasso(alpha=alpha, fit_intercept=False, tol=1e-6, max_iter=100_000).fit(x, y).coef_

    return [
        Peer("skglm", "skglm", with_skglm),
        Peer("celer", "celer", with_celer),
        Peer("scikit-learn", "sklearn", with_sklearn),
    ]


def group_lasso(x: np.ndarray, y: np.ndarray, strength: float, size: int) -> list[Peer]:
    """``0.5 |y - x w|^2 + strength sum |w_g|_2`` for groups of ``size`` columns side by side."""
    alpha = strength / len(y)

    def with_celer() -> Solve:
        import celer

        return lambda: celer.GroupLasso(size, alpha=alpha, fit_intercept=False, tol=1e-8).fit(x, y).coef_

    def with_skglm() -> Solve:
        import skglm

        model = skglm.GroupLasso(size, alpha=alpha, weights=np.ones(x.shape[1] // size), fit_intercept=False, tol=1e-6)
        return lambda: model.fit(x, y).coef_

    return [Peer("celer", "celer", with_celer), Peer("skglm", "skglm", with_skglm)]


def lasso_path(x: np.ndarray, y: np.ndarray, strengths: np.ndarray) -> list[Peer]:
    """The lasso at many strengths, coefficients of shape ``(strengths, d)``."""
    alphas = strengths / len(y)

    def with_celer() -> Solve:
        import celer

        return lambda: celer.celer_path(x, y, "lasso", alphas=alphas, tol=1e-6)[1].T

    def with_sklearn() -> Solve:
        from sklearn.linear_model import lasso_path

        return lambda: lasso_path(x, y, alphas=alphas, tol=1e-4)[1].T

    return [
        Peer("celer celer_path", "celer", with_celer),
        Peer("scikit-learn lasso_path", "sklearn", with_sklearn),
    ]


def lasso_cross_validation(x: np.ndarray, y: np.ndarray, alphas: np.ndarray, folds: int) -> list[Peer]:
    """Mean squared errors in contiguous folds, for each penalty on the mean loss."""

    def with_sklearn(tol: float) -> Solve:
        from sklearn.linear_model import LassoCV
        from sklearn.model_selection import KFold

        model = LassoCV(alphas=alphas, cv=KFold(folds), fit_intercept=False, tol=tol, max_iter=100_000)
        return lambda: model.fit(x, y).mse_path_.mean(axis=1)

    return [
        Peer(f"scikit-learn LassoCV, tol {tol:g}", "sklearn", functools.partial(with_sklearn, tol))
        for tol in (1e-4, 1e-6)
    ]


def ridge_logistic(x: np.ndarray, y: np.ndarray) -> list[Peer]:
    """The logistic losses and ``0.5 |w|^2``."""

    def with_sklearn(solver: str) -> Solve:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1.0, fit_intercept=False, solver=solver, tol=1e-6, max_iter=1000)
        return lambda: model.fit(x, y).coef_[0]

    def with_glum() -> Solve:
        from glum import GeneralizedLinearRegressor

        model = GeneralizedLinearRegressor(
            family="binomial", alpha=1 / len(y), l1_ratio=0, fit_intercept=False, gradient_tol=1e-8
        )
        return lambda: model.fit(x, y).coef_

    return [
        Peer("scikit-learn lbfgs", "sklearn", lambda: with_sklearn("lbfgs")),
        Peer("scikit-learn newton-cholesky", "sklearn", lambda: with_sklearn("newton-cholesky")),
        Peer("glum", "glum", with_glum),
    ]


def lasso_logistic(x: np.ndarray, y: np.ndarray, strength: float) -> list[Peer]:
    """The logistic losses and ``strength |w|_1``."""
    signs = 2 * y - 1

    def with_skglm() -> Solve:
        from skglm import SparseLogisticRegression

        alpha = strength / len(y)
        return lambda: SparseLogisticRegression(alpha, fit_intercept=False, tol=1e-7).fit(x, signs).coef_.ravel()

    def with_celer() -> Solve:
        import celer

        return lambda: celer.LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-9).fit(x, signs).coef_[0]

    return [Peer("skglm", "skglm", with_skglm), Peer("celer", "celer", with_celer)]


def softmax(x: np.ndarray, y: np.ndarray) -> list[Peer]:
    """The cross entropies and ``0.5 |w|^2``, coefficients of shape ``(d, classes)``."""

    def with_sklearn(solver: str) -> Solve:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1.0, fit_intercept=False, solver=solver, tol=1e-6, max_iter=5000)
        return lambda: model.fit(x, y).coef_.T

    return [
        Peer(f"scikit-learn {solver}", "sklearn", functools.partial(with_sklearn, solver))
        for solver in ("lbfgs", "newton-cg")
    ]


def regression(x: np.ndarray, y: np.ndarray, family: str) -> list[Peer]:
    """Poisson and gamma regression with log link and standard errors."""

    def with_glum() -> Solve:
        from glum import GeneralizedLinearRegressor

        def solve() -> np.ndarray:
            model = GeneralizedLinearRegressor(family=family, alpha=0, fit_intercept=False, gradient_tol=1e-8)
            model.fit(x, y).std_errors(x, y)
            return model.coef_

        return solve

    def with_statsmodels() -> Solve:
        import statsmodels.api as sm

        law = {"poisson": sm.families.Poisson(), "gamma": sm.families.Gamma(sm.families.links.Log())}[family]

        def solve() -> np.ndarray:
            found = sm.GLM(y, x, family=law).fit(tol=1e-10)
            assert np.isfinite(found.bse).all()
            return found.params

        return solve

    return [Peer("glum + SE", "glum", with_glum), Peer("statsmodels GLM + SE", "statsmodels", with_statsmodels)]


def negative_binomial(x: np.ndarray, y: np.ndarray) -> list[Peer]:
    """Coefficients and, last, the dispersion ``alpha``, both by maximum likelihood, with standard errors."""

    def with_statsmodels(method: str) -> Solve:
        import statsmodels.api as sm

        def solve() -> np.ndarray:
            found = sm.NegativeBinomial(y, x).fit(method=method, maxiter=1000, disp=0)
            assert np.isfinite(found.bse).all()
            return found.params

        return solve

    return [
        Peer(f"statsmodels NegativeBinomial {method} + SE", "statsmodels", functools.partial(with_statsmodels, method))
        for method in ("bfgs", "newton")
    ]


def ridge_logistic_cross_validation(x: np.ndarray, y: np.ndarray, strengths: np.ndarray, folds: int) -> list[Peer]:
    """Mean held-out logistic losses in contiguous folds, for each prior variance of the coefficients."""
    n = len(y)

    def with_sklearn(solver: str) -> Solve:
        from sklearn.linear_model import LogisticRegressionCV

        fold = np.arange(n) * folds // n
        splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]
        model = LogisticRegressionCV(
            Cs=strengths, cv=splits, fit_intercept=False, scoring="neg_log_loss", solver=solver, tol=1e-4,
            max_iter=1000, use_legacy_attributes=True,
        )  # fmt: skip
        return lambda: -np.asarray(next(iter(model.fit(x, y).scores_.values()))).mean(axis=0)

    return [
        Peer(f"scikit-learn LogisticRegressionCV {solver}", "sklearn", functools.partial(with_sklearn, solver))
        for solver in ("lbfgs", "newton-cholesky")
    ]


def many_logistic(data: Callable[[int], tuple[np.ndarray, np.ndarray]], fits: int, start: Any = None) -> list[Peer]:
    """A loop over logistic regressions without a penalty; ``data(k)`` are the design and the target of fit ``k``."""

    def with_statsmodels() -> Solve:
        import statsmodels.api as sm

        samples = [data(k) for k in range(fits)]
        return lambda: np.array([sm.Logit(y, x).fit(disp=0, start_params=start).params for x, y in samples])

    return [Peer("statsmodels Logit loop", "statsmodels", with_statsmodels)]
