"""Maximum likelihood with normal noise is least squares.

Claim:
    If y given x is Normal(f(x), s^2), then minus the log-likelihood is an affine function of the mean squared
    error, NLL = (N/2) log(2 pi s^2) + (N / 2s^2) MSE. So both have the same minimiser, whatever s is.

    The theorem ends where the noise is not normal: for Laplace, Student t and Poisson noise the same scatter is a
    cloud, and the two minimisers differ.

Source:
    Chapter 4 "Mathematics of loss functions", 4.1.2, equation (4.1.1) and Theorem 4.1.1; "Loss functions" 2.3; the
    note "MSE against NLL", 2 and 3.

Errata:
    A17: the log-likelihood is not proportional to the MSE, it is affine in it and decreasing.
    A20: the NLL of a density has units. Measuring y in other units, y -> c y, shifts it by N log c.
    A25: the implication runs one way. Using MSE assumes no normal noise; it estimates E[y|x] for any noise.
    B22: the noise must have one variance. Its maximum-likelihood estimate is RSS/n, NIST certifies RSS/(n - p);
    both are shown.

Data:
    longley (statsmodels) with the certified values of NIST's StRD, and diabetes (scikit-learn).

Run time:
    about 6 s.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import statsmodels.api as sm
from matplotlib.axes import Axes
from sklearn.datasets import load_diabetes

import lossgeo as lg
from experiments.report import BLUE, GRAY, INK, RED, TEAL, Report, figure, note, relative_error
from lossgeo import distributions as dist
from lossgeo import supports

# NIST Statistical Reference Datasets, linear regression, Longley (1967), "higher" difficulty, n = 16, p = 7:
# https://www.itl.nist.gov/div898/strd/lls/data/Longley.shtml. Intercept first; 15 digits are certified.
LONGLEY_COEF = np.array(
    [-3482258.63459582, 15.0618722713733, -0.0358191792925910, -2.02022980381683, -1.03322686717359,
     -0.0511041056535807, 1829.15146461355]
)  # fmt: skip
LONGLEY_SE = np.array(
    [890420.383607373, 84.9149257747669, 0.0334910077722432, 0.488399681651699, 0.214274163161675,
     0.226073200069370, 455.478499142212]
)  # fmt: skip
LONGLEY_RESIDUAL_SD = 304.854073561965  # sqrt(RSS / (n - p))
# The same problem solved in exact rational arithmetic: sqrt(RSS / n) and the maximised log-likelihood, which NIST does
# not certify.
LONGLEY_SD_MLE = 228.6405551714736016
LONGLEY_LOG_LIKELIHOOD = -109.61743480848056089

FLAT = {"coef": dist.Flat(), "intercept": dist.Flat()}


def normal_model(params: Any, x: jax.Array) -> dist.Normal:
    """Linear regression with normal noise."""
    return dist.Normal(x @ params["coef"] + params["intercept"], params["scale"])


def laplace_model(params: Any, x: jax.Array) -> dist.Laplace:
    """Linear regression with Laplace noise."""
    return dist.Laplace(x @ params["coef"] + params["intercept"], params["scale"])


def student_model(params: Any, x: jax.Array) -> dist.StudentT:
    """Linear regression with heavy-tailed noise."""
    return dist.StudentT(2.0, x @ params["coef"] + params["intercept"], params["scale"])


def poisson_model(params: Any, x: jax.Array) -> dist.Poisson:
    """Poisson regression with a linear mean, so that its prediction is the same as that of the others."""
    return dist.Poisson(x @ params["coef"] + params["intercept"])


def digits(value: Any, truth: Any) -> np.ndarray:
    """Correct significant digits (log relative error), at most the 15 that NIST certifies."""
    error = np.abs(np.asarray(value) / np.asarray(truth) - 1)
    return np.minimum(-np.log10(np.maximum(error, 1e-16)), 15.0)


def longley(report: Report) -> dict[str, np.ndarray]:
    """Fit longley by maximum likelihood and count the digits it shares with NIST."""
    data = sm.datasets.longley.load_pandas()
    x, y = np.asarray(data.exog, float), np.asarray(data.endog, float)
    n, p = len(y), x.shape[1] + 1
    known = {**FLAT, "scale": dist.Fixed(LONGLEY_RESIDUAL_SD)}
    init = {"coef": jnp.zeros(p - 1), "intercept": 0.0, "scale": LONGLEY_RESIDUAL_SD}
    raw = lg.fit(lg.map_objective(lg.likelihood(normal_model), known), init, x, y)
    raw_coef = np.r_[raw.params["intercept"], raw.params["coef"]]

    # With s unknown, in columns centered at whole numbers. The intercept then is the mean at that center; the certified
    # one is that mean extrapolated to the year 0, a linear map of the estimate and of its covariance.
    center = np.round(x.mean(axis=0))
    fit = lg.fit(
        lg.map_objective(lg.likelihood(normal_model), {**FLAT, "scale": dist.Flat(supports.positive)}),
        {"coef": jnp.zeros(p - 1), "intercept": 65_000.0, "scale": 3_500.0}, x - center, y,
    )  # fmt: skip
    back = np.block([[np.eye(p - 1), np.zeros((p - 1, 1))], [-center[None, :], np.ones((1, 1))]])
    estimate = back @ np.r_[fit.params["coef"], fit.params["intercept"]]
    covariance = back @ np.asarray(fit.covariance())[:p, :p] @ back.T
    order = [p - 1, *range(p - 1)]
    coef, se_mle = estimate[order], np.sqrt(np.diag(covariance))[order]
    scale, ratio = float(fit.params["scale"]), math.sqrt(n / (n - p))

    report.check(
        "longley raw columns, s known: coefficients against NIST, relative",
        np.max(np.abs(raw_coef / LONGLEY_COEF - 1)),
        1e-10,
    )
    report.check(
        "longley, s unknown: coefficients against NIST, relative", np.max(np.abs(coef / LONGLEY_COEF - 1)), 1e-11
    )
    report.check("longley s = sqrt(RSS/n), against exact rational arithmetic", scale / LONGLEY_SD_MLE - 1, 1e-13)
    report.check(
        "longley maximised log-likelihood, against exact rational arithmetic",
        float(fit.value) / -LONGLEY_LOG_LIKELIHOOD - 1,
        1e-13,
    )
    report.check("longley sqrt(RSS/(n-p)) against NIST's residual SD", scale * ratio / LONGLEY_RESIDUAL_SD - 1, 1e-13)
    report.check(
        "longley standard errors x sqrt(n/(n-p)) against NIST, relative",
        np.max(np.abs(se_mle * ratio / LONGLEY_SE - 1)),
        1e-11,
    )
    report.check(
        "longley MLE standard errors fall short of NIST's by 1 - sqrt((n-p)/n)",
        np.max(np.abs(se_mle / LONGLEY_SE - 1 / ratio)),
        1e-11,
    )
    return {
        "coefficients ($s$ known)": digits(raw_coef, LONGLEY_COEF),
        "coefficients ($s$ unknown)": digits(coef, LONGLEY_COEF),
        "SE, $s^2=RSS/(n-p)$": digits(se_mle * ratio, LONGLEY_SE),
        "SE, $s^2=RSS/n$ (MLE)": digits(se_mle, LONGLEY_SE),
        r"$\sqrt{RSS/(n-p)}$": digits([scale * ratio], [LONGLEY_RESIDUAL_SD]),
        r"$\sqrt{RSS/n}$ (MLE)": digits([scale], [LONGLEY_RESIDUAL_SD]),
    }


def normal_line(report: Report, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """The theorem on diabetes: one line, one minimiser, and units."""
    n, p = x.shape
    design = np.c_[x, np.ones(n)]
    least_squares = np.linalg.lstsq(design, y, rcond=None)[0]
    scale = 50.0
    init = {"coef": jnp.zeros(p), "intercept": 0.0, "scale": scale}
    known = lg.map_objective(lg.likelihood(normal_model), {**FLAT, "scale": dist.Fixed(scale)})
    fit = lg.fit(known, init, x, y)
    theta = np.r_[fit.params["coef"], fit.params["intercept"]]
    report.check("diabetes: MLE against numpy's least squares, relative", relative_error(theta, least_squares), 1e-12)

    # 2000 parameter vectors, from next to the optimum to far away from it.
    draws = 2000
    theta = least_squares + rng.standard_normal((draws, p + 1)) * 10.0 ** rng.uniform(-1, 1.6, (draws, 1))
    params = {"coef": jnp.asarray(theta[:, :-1]), "intercept": jnp.asarray(theta[:, -1])}
    objective = lg.map_objective(lg.likelihood(normal_model))
    nll = np.asarray(jax.vmap(lambda q: objective({**q, "scale": scale}, x, y))(params))
    mse = np.mean((y - theta @ design.T) ** 2, axis=1)
    slope, constant = n / (2 * scale**2), 0.5 * n * math.log(2 * math.pi * scale**2)
    fitted = np.polyfit(mse, nll, 1)
    report.check(
        "diabetes: NLL - [(N/2) log 2 pi s^2 + (N/2s^2) MSE], 2000 random theta, relative",
        np.max(np.abs(nll / (constant + slope * mse) - 1)),
        1e-12,
    )
    report.check("diabetes: fitted slope against N/2s^2, relative", fitted[0] / slope - 1, 1e-12)
    report.check_equal(
        "diabetes: rank of the draws by NLL and by MSE differ in", int(np.sum(np.argsort(nll) != np.argsort(mse))), 0
    )

    # Units (A20): fifty rows, the target in thousandths of its unit.
    c, rows = 1000.0, slice(0, 50)
    here = {"coef": least_squares[:-1], "intercept": least_squares[-1], "scale": scale}
    there = {k: c * v for k, v in here.items()}
    shift = float(objective(there, x[rows], c * y[rows]) - objective(here, x[rows], y[rows]))
    report.check(
        "units: y -> 1000 y shifts the NLL of 50 rows by 50 log 1000 = 345.388 nats",
        shift / (50 * math.log(c)) - 1,
        1e-13,
    )
    return {
        "nll": nll,
        "mse": mse,
        "slope": slope,
        "constant": constant,
        "scale": scale,
        "best": (float(np.mean((y - design @ least_squares) ** 2)), float(fit.value)),
        "shift": shift,
    }


def other_noise(report: Report, x: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator) -> dict[str, dict]:
    """The boundary of the theorem: the same parameters and predictions, three other kinds of noise."""
    n, p = x.shape
    design = np.c_[x, np.ones(n)]
    least_squares = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = y - design @ least_squares
    root = np.linalg.cholesky(np.linalg.inv(design.T @ design) * np.mean(residual**2))
    # Up to three standard errors from least squares, where it matters which minimiser one takes.
    theta = least_squares + rng.uniform(0.0, 3.0, (draws, 1)) * (rng.standard_normal((draws, p + 1)) @ root.T)
    theta = theta[np.all(theta @ design.T > 1.0, axis=1)]  # a Poisson mean is positive
    params = {"coef": jnp.asarray(theta[:, :-1]), "intercept": jnp.asarray(theta[:, -1])}
    mse = np.mean((y - theta @ design.T) ** 2, axis=1)
    models = {
        "Laplace": (laplace_model, float(np.mean(np.abs(residual)))),
        "Student t, 2 d.o.f.": (student_model, float(np.median(np.abs(residual)))),
        "Poisson": (poisson_model, 1.0),
    }
    found = {}
    for name, (model, scale) in models.items():
        objective = lg.map_objective(lg.likelihood(model))
        nll = np.asarray(jax.vmap(lambda q, o=objective, s=scale: o({**q, "scale": s}, x, y))(params))
        line = np.polyval(np.polyfit(mse, nll, 1), mse)
        unexplained = float(np.var(nll - line) / np.var(nll))
        found[name] = {"nll": nll, "mse": mse, "unexplained": unexplained}
        report.check_at_least(
            f"{name} noise: share of the variance of the NLL that no line in the MSE explains", unexplained, 0.02
        )
        loss = nll[np.argmin(mse)] - nll.min()
        report.check_at_least(f"{name} noise: nats that the draw of least MSE loses to the likeliest draw", loss, 0.5)
    return found


def draw_line(ax: Axes, line: dict[str, Any]) -> None:
    """The theorem as a picture."""
    grid = np.linspace(line["mse"].min(), line["mse"].max(), 2)
    ax.plot(
        grid,
        line["constant"] + line["slope"] * grid,
        color=INK,
        lw=1.2,
        zorder=1,
        label=r"$\frac{N}{2}\log 2\pi s^2+\frac{N}{2s^2}\,\mathrm{MSE}$, no fitting",
    )
    ax.scatter(line["mse"], line["nll"], s=14, color=BLUE, alpha=0.45, lw=0, label="2000 random parameter vectors")
    ax.scatter(
        *line["best"], marker="*", s=260, color=RED, ec="white", zorder=3, label="maximum likelihood = least squares"
    )
    ax.set(
        xlabel="MSE (units of $y$, squared)",
        ylabel="negative log-likelihood (nats)",
        title="Normal noise: one exact line",
    )
    ax.legend(loc="upper left")
    worst = np.max(np.abs(line["nll"] / (line["constant"] + line["slope"] * line["mse"]) - 1))
    note(
        ax,
        f"slope $N/2s^2$ = 442 / (2·50²) = {line['slope']:.4f} nats per squared unit\n"
        f"largest relative deviation from the line: {worst:.1e}\n"
        r"measuring $y$ in thousandths adds $N\,\log 1000$ nats to every point",
        (0.97, 0.06),
    )


def draw_digits(ax: Axes, counted: dict[str, np.ndarray]) -> None:
    """Digits shared with NIST."""
    for row, (_name, values) in enumerate(counted.items()):
        good = float(values.min()) > 5
        ax.barh(row, values.min(), height=0.55, color=TEAL if good else GRAY, alpha=0.85)
        ax.scatter(values, np.full(values.size, row), s=16, color=INK, zorder=3, lw=0)
        ax.text(
            max(values.min(), 0.15) - 0.15 if good else values.max() + 0.4,
            row,
            f"{values.min():.1f}" if good else "another estimator: it divides by n",
            va="center",
            ha="right" if good else "left",
            color="white" if good else INK,
            size=9.5,
            weight="bold" if good else "normal",
        )
    ax.set_yticks(range(len(counted)), list(counted), size=9.5)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlim=(0, 15.6), xlabel="correct digits (NIST certifies 15)", title="Longley against NIST")


def draw_cloud(ax: Axes, name: str, result: dict[str, Any], color: str) -> None:
    """The boundary of the theorem as a picture."""
    mse, nll = result["mse"], result["nll"]
    ax.scatter(mse, nll, s=9, color=color, alpha=0.35, lw=0)
    a, b = np.argmin(mse), np.argmin(nll)
    ax.scatter(
        mse[a], nll[a], marker="s", s=70, color="white", ec=INK, lw=1.6, zorder=3, label="least MSE of the draws"
    )
    ax.scatter(mse[b], nll[b], marker="*", s=190, color=RED, ec="white", zorder=3, label="likeliest of the draws")
    low, high = np.quantile(mse, [0, 0.97]), np.quantile(nll, [0, 0.97])
    ax.set(xlim=(low[0] - 0.04 * np.ptp(low), low[1]), ylim=(high[0] - 0.06 * np.ptp(high), high[1]))
    ax.set(xlabel="MSE", ylabel="NLL (nats)", title=f"{name} noise: a cloud")
    note(ax, f"{100 * result['unexplained']:.0f} % of the variance is off any line", (0.03, 0.97))
    ax.legend(loc="lower right", fontsize=8.5)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        x, y = load_diabetes(return_X_y=True)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        counted = longley(report)
        line = normal_line(report, x, y, rng)
        clouds = other_noise(report, x, y, 500 if fast else 2000, rng)

        fig = figure(
            "Maximum likelihood with normal noise is least squares",
            r"$-\log L(\theta)\;=\;\frac{N}{2}\log 2\pi s^2\;+\;\frac{N}{2s^2}\,\mathrm{MSE}(\theta)$"
            r"      diabetes: $N=442$, 10 standardized features; longley: $n=16$, $p=7$, condition number $5\cdot10^9$",
        )
        top, bottom = fig.add_gridspec(2, 1, height_ratios=[1.25, 1])
        left, right = top.subgridspec(1, 2, width_ratios=[1.15, 1])
        draw_line(fig.add_subplot(left), line)
        draw_digits(fig.add_subplot(right), counted)
        colors = (TEAL, "#7b5ea7", "#c9743f")
        for cell, (name, result), color in zip(bottom.subgridspec(1, 3), clouds.items(), colors, strict=True):
            draw_cloud(fig.add_subplot(cell), name, result, color)
        report.save(fig)


if __name__ == "__main__":
    main()
