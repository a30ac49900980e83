"""The posterior mode is maximum likelihood plus a regulariser.

Claim:
    Minus the log-posterior is NLL + R + const with R = -log prior: a Normal(0, tau) prior is the ridge penalty
    ||theta||^2 / 2 tau^2, a Laplace(0, b) prior the lasso penalty ||theta||_1 / b. As tau runs from 0 to infinity
    the mode runs along the ridge path, from the mode of the prior to that of the likelihood.

    The penalty weight that a package calls lambda, alpha or C depends on how it scales its loss. For each of them
    there is one value that gives this posterior mode; the table is computed against the packages that are
    installed.

Source:
    "Loss functions", 3 and 3.1 (MAP = MLE + regulariser; Normal prior = L2, Laplace prior = L1).

Errata:
    A12: the objective is RSS/(2 s^2) - log prior. Dropping the 1/(2 s^2) gives another estimate, marked by a cross.
    A13: lambda = 1/(2 tau^2) and 1/b hold only if the loss is the NLL. For the RSS they are s^2/tau^2 and 2 s^2/b,
    for the MSE s^2/(n tau^2) and 2 s^2/(n b), for RSS/2n in the lasso s^2/(n b).
    B7: loss and prior must use logarithms of one base. Bits with a prior in nats move the estimate, C = tau^2/log 2
    repairs it.

Data:
    diabetes and breast_cancer (scikit-learn), columns standardized.

Run time:
    about 12 s.
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import statsmodels.api as sm
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, PoissonRegressor, Ridge
from statsmodels.tools.sm_exceptions import ModelWarning

import lossgeo as lg
from experiments.report import BLUE, GOLD, INK, RED, TEAL, Report, figure, note, relative_error
from lossgeo import distributions as dist

NOISE = math.sqrt(3000.0)  # s
RIDGE = math.sqrt(40.0)  # tau
LASSO = 1.0  # b


def linear(params: Any, x: jax.Array) -> dist.Normal:
    """Linear regression with known noise; the target is centered."""
    return dist.Normal(x @ params["coef"], NOISE)


def logistic(params: Any, x: jax.Array) -> dist.Bernoulli:
    """Logistic regression without intercept; the columns are centered."""
    return dist.Bernoulli(logits=x @ params["coef"])


def poisson(params: Any, x: jax.Array) -> dist.Poisson:
    """Poisson regression."""
    return dist.Poisson(log_rate=x @ params["coef"] + params["intercept"])


def standardize(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def mode(model: Callable[..., Any], prior: Any, x: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    """Coefficients of the posterior mode, by lossgeo."""
    init = {"coef": jnp.zeros(x.shape[1])}
    if model is poisson:
        init["intercept"] = jnp.log(y.mean())
    fit = lg.fit(lg.map_objective(lg.likelihood(model), prior), init, x, y, **options)
    return np.asarray(fit.params["coef"])


def decomposition(report: Report, x: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator) -> None:
    """-log posterior = NLL + lambda R + const, at random parameters."""
    n, p = x.shape
    theta = rng.standard_normal((draws, p)) * 10.0 ** rng.uniform(-1, 2, (draws, 1))
    rss = np.sum((y - theta @ x.T) ** 2, axis=1)
    nll = rss / (2 * NOISE**2) + 0.5 * n * math.log(2 * math.pi * NOISE**2)
    parts = {
        "Normal": (
            dist.Normal(0.0, RIDGE),
            np.sum(theta**2, axis=1) / (2 * RIDGE**2),
            0.5 * p * math.log(2 * math.pi * RIDGE**2),
        ),
        "Laplace": (dist.Laplace(0.0, LASSO), np.sum(np.abs(theta), axis=1) / LASSO, p * math.log(2 * LASSO)),
    }
    for name, (prior, penalty, constant) in parts.items():
        objective = lg.map_objective(lg.likelihood(linear), {"coef": prior})
        value = np.asarray(jax.vmap(lambda t, o=objective: o({"coef": t}, x, y))(jnp.asarray(theta)))
        residual = np.max(np.abs(value / (nll + penalty + constant) - 1))
        report.check(
            f"-log posterior - (NLL + lambda R + const), {name} prior, {draws} random theta, relative", residual, 2e-15
        )


def decayed_sgd(x: np.ndarray, y: np.ndarray, weight_decay: float) -> np.ndarray:
    """Full-batch SGD on the mean NLL with optax's weight decay, to its fixed point."""
    objective = lg.map_objective(lg.likelihood(linear))
    largest = float(np.linalg.eigvalsh(x.T @ x)[-1]) / (len(y) * NOISE**2)
    transform = optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(1.0 / (largest + weight_decay)))

    def step(_: int, params: Any) -> Any:
        grads = jax.grad(lambda q: objective(q, x, y) / len(y))(params)
        updates, _ = transform.update(grads, transform.init(params), params)
        return optax.apply_updates(params, updates)

    return np.asarray(jax.lax.fori_loop(0, 2000, step, {"coef": jnp.zeros(x.shape[1])})["coef"])


def dictionary(report: Report) -> list[tuple[str, str, float, float]]:
    """The penalty weight of each package that gives this posterior mode: call, formula, error, tolerance."""
    x, y = load_diabetes(return_X_y=True)
    counts, x = y, standardize(x)
    y = y - y.mean()
    n = len(y)
    s2, t2, b = NOISE**2, RIDGE**2, LASSO
    ridge = mode(linear, {"coef": dist.Normal(0.0, RIDGE)}, x, y)
    lasso = mode(linear, {"coef": dist.Laplace(0.0, LASSO)}, x, y)
    rows: list[tuple[str, str, float, float]] = []

    def compare(call: str, formula: str, theirs: Any, ours: np.ndarray, tolerance: float) -> None:
        rows.append((call, formula, relative_error(theirs, ours), tolerance))
        report.check(
            f"dictionary: {call}, {formula.replace('$', '').replace(chr(92), '')}, relative", rows[-1][2], tolerance
        )

    exact = {"fit_intercept": False, "tol": 1e-15, "max_iter": 100_000}
    compare(
        "Ridge(alpha)",
        r"$s^2/\tau^2$",
        Ridge(s2 / t2, fit_intercept=False, solver="cholesky").fit(x, y).coef_,
        ridge,
        1e-13,
    )
    kernel = KernelRidge(alpha=s2 / t2, kernel="linear").fit(x, y)
    compare("KernelRidge(alpha), linear", r"$s^2/\tau^2$", x.T @ kernel.dual_coef_, ridge, 1e-12)
    process = GaussianProcessRegressor(ConstantKernel(t2) * DotProduct(1e-30), alpha=s2, optimizer=None).fit(x, y)
    compare(
        "GaussianProcessRegressor(alpha)",
        r"$s^2$ (kernel $\tau^2 x^\top x'$)",
        process.predict(np.eye(x.shape[1])),
        ridge,
        1e-12,
    )
    compare(
        "ElasticNet(alpha, l1_ratio=0)",
        r"$s^2/(n\tau^2)$",
        ElasticNet(s2 / (n * t2), l1_ratio=0.0, **exact).fit(x, y).coef_,
        ridge,
        1e-11,
    )
    ols = sm.OLS(y, x)
    compare(
        "statsmodels OLS.fit_regularized, L1_wt=0",
        r"$s^2/(n\tau^2)$",
        ols.fit_regularized(alpha=s2 / (n * t2), L1_wt=0.0).params,
        ridge,
        1e-13,
    )
    compare(
        "optax.add_decayed_weights + sgd, mean NLL", r"$1/(n\tau^2)$", decayed_sgd(x, y, 1 / (n * t2)), ridge, 1e-12
    )
    compare("Lasso(alpha)", r"$s^2/(n b)$", Lasso(s2 / (n * b), **exact).fit(x, y).coef_, lasso, 1e-12)
    theirs = ols.fit_regularized(alpha=s2 / (n * b), L1_wt=1.0, cnvrg_tol=1e-15, zero_tol=1e-12, maxiter=10_000).params
    compare("statsmodels OLS.fit_regularized, L1_wt=1", r"$s^2/(n b)$", theirs, lasso, 1e-10)

    cells, malignant = load_breast_cancer(return_X_y=True)
    cells = standardize(cells)
    one = np.ones(len(malignant))
    smooth = {"coef": dist.Normal(0.0, 1.0)}
    l2 = mode(logistic, smooth, cells, malignant, weights=one)
    newton = {"fit_intercept": False, "solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
    compare(
        "LogisticRegression(C), L2",
        r"$\tau^2$",
        LogisticRegression(C=1.0, **newton).fit(cells, malignant).coef_[0],
        l2,
        1e-10,
    )
    l1 = mode(logistic, {"coef": dist.Laplace(0.0, 0.5)}, cells, malignant)
    fitted = LogisticRegression(
        C=0.5, l1_ratio=1.0, fit_intercept=False, solver="liblinear", tol=1e-12, max_iter=100_000, random_state=0
    ).fit(cells, malignant)
    compare("LogisticRegression(C), L1", "$b$", fitted.coef_[0], l1, 1e-7)
    theirs = (
        sm.Logit(malignant, cells).fit_regularized(alpha=2.0, acc=1e-14, maxiter=2000, trim_mode="off", disp=0).params
    )
    compare("statsmodels Logit.fit_regularized(alpha), L1", "$1/b$", theirs, l1, 1e-6)
    rates = mode(poisson, {"coef": dist.Normal(0.0, 0.1), "intercept": dist.Flat()}, x, counts)
    fitted = PoissonRegressor(alpha=1 / (n * 0.1**2), solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, counts)
    compare("PoissonRegressor(alpha)", r"$1/(n\tau^2)$", fitted.coef_, rates, 1e-10)

    naive = Ridge(1 / (2 * t2), fit_intercept=False).fit(x, y).coef_
    report.check_at_least(
        "A13: Ridge(alpha = 1/2 tau^2), the textbook's lambda put into the RSS form, is off by",
        relative_error(naive, ridge),
        0.1,
    )
    bits = mode(logistic, smooth, cells, malignant, weights=one / math.log(2))
    report.check_at_least(
        "B7: a loss in bits with a prior in nats moves the estimate by, relative", relative_error(bits, l2), 0.05
    )
    repaired = LogisticRegression(C=1.0 / math.log(2), **newton).fit(cells, malignant).coef_[0]
    report.check("B7: which is the mode for C = tau^2/log 2, relative", relative_error(repaired, bits), 1e-10)
    return rows


def two_coefficients(report: Report, points: int) -> dict[str, Any]:
    """Two correlated features: the three modes and the ridge path."""
    data = load_diabetes()
    columns = [data.feature_names.index(name) for name in ("s1", "s2")]
    x, y = standardize(data.data[:, columns]), data.target - data.target.mean()
    mle = np.linalg.lstsq(x, y, rcond=None)[0]
    noise = float(np.std(y - x @ mle))
    likelihood = lg.likelihood(lambda params, x: dist.Normal(x @ params["coef"], noise))
    init = {"coef": jnp.zeros(2)}

    def solution(scale: jax.Array) -> jax.Array:
        return lg.solve(lg.map_objective(likelihood, {"coef": dist.Normal(0.0, scale)}), init, x, y).params["coef"]

    tau = 7.0
    scales = np.r_[np.geomspace(1e-2, 1e4, points), tau]
    path = np.asarray(jax.lax.map(solution, jnp.asarray(scales)))
    closed = np.stack([np.linalg.solve(x.T @ x + np.eye(2) * noise**2 / t**2, x.T @ y) for t in scales])
    report.check(
        "two coefficients: the path of the mode against the closed ridge formula, relative",
        relative_error(path, closed),
        1e-12,
    )
    path, ours = path[:-1], path[-1]
    report.check("tau -> 0: the mode is that of the prior, at 0", np.max(np.abs(path[0])), 1e-2)
    report.check("tau -> infinity: the mode is maximum likelihood, relative", relative_error(path[-1], mle), 1e-5)
    flat = lg.map_objective(likelihood)
    both = lg.map_objective(likelihood, {"coef": dist.Normal(0.0, tau)})
    dropped = Ridge(1 / (2 * tau**2), fit_intercept=False).fit(x, y).coef_  # RSS - log prior, without 1/(2 s^2)
    a, b = np.meshgrid(np.linspace(-13, 36, 140), np.linspace(-21, 23, 140))
    grid = jnp.asarray(np.stack([a.ravel(), b.ravel()], axis=1))
    nll, total = (
        np.asarray(jax.vmap(lambda t, o=o: o({"coef": t}, x, y))(grid)).reshape(a.shape) for o in (flat, both)
    )
    dots = {t: Ridge((noise / t) ** 2, fit_intercept=False).fit(x, y).coef_ for t in (1.0, 2.0, 4.0, 7.0, 14.0, 30.0)}
    report.check_at_least(
        "A12: without 1/(2 s^2) the mode is elsewhere, by (in units of the MLE)",
        np.max(np.abs(dropped - ours)) / np.max(np.abs(mle)),
        0.2,
    )
    return {
        "a": a,
        "b": b,
        "nll": nll,
        "total": total,
        "tau": tau,
        "mle": mle,
        "map": ours,
        "dropped": dropped,
        "path": path,
        "scales": scales,
        "dots": dots,
        "noise": noise,
        "x": x,
        "y": y,
    }


def draw_contours(ax: Axes, found: dict[str, Any]) -> None:
    """Likelihood, prior and posterior with their modes."""
    a, b, tau = found["a"], found["b"], found["tau"]
    levels = 0.5 * np.array([0.5, 2.0, 4.5, 8.0])
    surfaces = {
        "likelihood": (found["nll"] - found["nll"].min(), BLUE),
        "prior": ((a**2 + b**2) / (2 * tau**2), GOLD),
        "posterior": (found["total"] - found["total"].min(), RED),
    }
    for name, (surface, color) in surfaces.items():
        if name == "posterior":
            ax.contourf(a, b, surface, levels=[0, *levels], colors=[color], alpha=0.10)
        ax.contour(a, b, surface, levels=levels, colors=color, linewidths=1.1, alpha=0.85)
    path = found["path"]
    ax.plot(*path.T, color=INK, lw=2.4, zorder=3, label=r"mode as $\tau$ goes from $0$ to $\infty$: the ridge path")
    dots = np.stack(list(found["dots"].values()))
    ax.scatter(*dots.T, s=46, fc="white", ec=INK, lw=1.4, zorder=4, label=r"scikit-learn Ridge, $\alpha=s^2/\tau^2$")
    for t, dot in found["dots"].items():
        if t != tau:
            ax.annotate(rf"$\tau={t:g}$", dot, (4, -14) if t < 7 else (7, 5), textcoords="offset points", size=10)
    modes = (
        ("maximum likelihood", found["mle"], BLUE),
        ("prior mode", (0.0, 0.0), GOLD),
        (rf"posterior mode (MAP), $\tau={tau:g}$", found["map"], RED),
    )
    for label, point, color in modes:
        ax.scatter(*point, marker="*", s=380, color=color, ec="white", zorder=5, label=label)
    ax.scatter(
        *found["dropped"],
        marker="X",
        s=36,
        color="white",
        ec=INK,
        lw=1.0,
        zorder=6,
        label=r"$\mathrm{RSS}-\log\pi$, without $1/2s^2$ (A12)",
    )
    ax.axhline(0, color=INK, lw=0.6, alpha=0.5)
    ax.axvline(0, color=INK, lw=0.6, alpha=0.5)
    ax.set(
        xlabel=r"$\theta_1$: total cholesterol (units of $y$ per standard deviation)",
        ylabel=r"$\theta_2$: LDL (units of $y$ per standard deviation)",
    )
    ax.set_title("Diabetes, two coefficients: likelihood, prior, posterior")
    ax.set_aspect("equal")
    ax.legend(loc="upper right", fontsize=9)
    note(ax, "contours: 0.25, 1, 2.25, 4 nats above each mode", (0.02, 0.02))


def draw_sum(ax: Axes, found: dict[str, Any]) -> None:
    """Along the segment from the prior's mode to the likelihood's: the two terms and their sum."""
    t = np.linspace(-0.5, 2.0, 400)
    theta = t[:, None] * found["mle"]
    nll = np.sum((found["y"] - theta @ found["x"].T) ** 2, axis=1) / (2 * found["noise"] ** 2)
    nll -= np.sum((found["y"] - found["x"] @ found["mle"]) ** 2) / (2 * found["noise"] ** 2)
    penalty = np.sum(theta**2, axis=1) / (2 * found["tau"] ** 2)
    for values, color, label in (
        (nll, BLUE, "NLL (above its minimum)"),
        (penalty, GOLD, r"$\|\theta\|^2/2\tau^2=-\log$ prior"),
        (nll + penalty, RED, r"sum $=-\log$ posterior"),
    ):
        ax.plot(t, values, color=color, label=label)
        k = np.argmin(values)
        ax.scatter(t[k], values[k], marker="*", s=150, color=color, ec="white", zorder=4)
    ax.set(
        xlabel=r"$t$, along $\theta=t\,\hat\theta_{\mathrm{ML}}$",
        ylabel="nats",
        title="Two terms, one sum",
        ylim=(-0.6, 14),
    )
    ax.legend(loc="upper right", bbox_to_anchor=(0.82, 1.0))


def draw_dictionary(ax: Axes, rows: list[tuple[str, str, float, float]]) -> None:
    """Errors of the dictionary."""
    errors = np.array([max(row[2], 1e-17) for row in rows])
    k = np.arange(len(rows))
    ax.hlines(k, 1e-17, errors, color=TEAL, lw=5, alpha=0.8)
    ax.scatter(errors, k, s=36, color=TEAL, zorder=3)
    ax.scatter([row[3] for row in rows], k, marker="|", s=130, color=RED, lw=2, label="tolerance")
    ax.set_xscale("log")
    ax.set_yticks(k, [f"{call}:  {formula}" for call, formula, *_ in rows], size=8.8)
    ax.grid(axis="y", visible=False)
    ax.set(xlim=(1e-17, 1e-3), ylim=(len(rows) - 0.4, -0.6), xlabel="relative difference from lossgeo's mode")
    ax.set_title(r"What each package calls $\lambda$", loc="left")
    ax.legend(loc="upper right", fontsize=9)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        x, y = load_diabetes(return_X_y=True)
        decomposition(report, standardize(x), y - y.mean(), 200 if fast else 2000, rng)
        found = two_coefficients(report, 40 if fast else 200)
        with warnings.catch_warnings():
            # Some packages are asked for more digits than their own stopping rules can certify.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", ModelWarning)
            rows = dictionary(report)

        fig = figure(
            "The posterior mode is maximum likelihood plus a regulariser",
            r"$-\log p(\theta\mid y)\;=\;\frac{\mathrm{RSS}(\theta)}{2s^2}\;+\;\frac{\|\theta\|^2}{2\tau^2}"
            r"\;+\;\mathrm{const}$      ridge: $\lambda=s^2/\tau^2$ beside the RSS,  $s^2/(n\tau^2)$ beside the MSE;"
            r"   lasso: $\|\theta\|_1/b$",
        )
        left, right = fig.add_gridspec(1, 2, width_ratios=[1, 1.15])
        draw_contours(fig.add_subplot(left), found)
        top, bottom = right.subgridspec(2, 1, height_ratios=[1, 1.45])
        draw_sum(fig.add_subplot(top.subgridspec(1, 1)[0]), found)  # cells of their own, so that margins differ
        draw_dictionary(fig.add_subplot(bottom.subgridspec(1, 1)[0]), rows)
        report.save(fig)


if __name__ == "__main__":
    main()
