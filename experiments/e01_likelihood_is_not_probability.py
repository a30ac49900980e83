"""Likelihood is not probability: one table of coin tosses, read along its rows and along its columns.

Claim:
    The binomial table P(k | n, p) is one function of two arguments. Along a row, p held, it is a probability of k: it
    sums to 1. Along a column, k held, it is the likelihood of p: it integrates to 1/(n + 1), whatever k is. For 7 heads
    in 10 tosses the fair coin has probability 0.117, the likeliest coin is p = 0.7 with likelihood 0.267, and a
    symmetric Beta(a, a) prior drags the mode from 0.7 (a = 1) to 0.667 (a = 2) and 0.571 (a = 10).

Source:
    Note "Likelihood and probability", 2.1, the coin; 2.2 and 3 for its maximum and the prior.

Errata:
    C: L(p | k) is no conditional density and the bar does not belong there: write L(p; k). Its integral is 1/11 here,
    and under another coordinate, such as the log-odds, another number, while its maximum stays where it is.

Data:
    7 heads in 10 tosses, from the note; and one table for all 11 outcomes.

Run time:
    about 4 s.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import distributions as dist
from lossgeo import supports

TOSSES, HEADS, FAIR = 10, 7, 0.5
PRIORS = {1.0: 7 / 10, 2.0: 8 / 12, 10.0: 16 / 28}
"""Modes (k + a - 1)/(n + 2a - 2) of the posterior under Beta(a, a)."""


def coin(params: Any) -> dist.Binomial:
    """Heads in ten tosses of one coin."""
    return dist.Binomial(TOSSES, probs=params["p"])


def coin_in_log_odds(params: Any) -> dist.Binomial:
    """The same coin in another coordinate."""
    return dist.Binomial(TOSSES, logits=params["z"])


def table(p: np.ndarray) -> np.ndarray:
    """P(k | n, p): a row for each coin, a column for each number of heads."""
    log_table = dist.Binomial(TOSSES, probs=jnp.asarray(p)[:, None]).log_prob(jnp.arange(TOSSES + 1)[None, :])
    return np.exp(np.asarray(log_table))


def gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1); exact for polynomials of degree 2 count - 1, as every column is."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return 0.5 * (nodes + 1), 0.5 * weights


def both_readings(report: Report) -> None:
    """Rows are probabilities, columns are not."""
    p, weights = gauss(12)
    rows = table(p)
    report.check("rows: largest |sum over k of P(k | p) - 1|", np.max(np.abs(rows.sum(axis=1) - 1)), 1e-13)
    columns = weights @ rows
    report.check("columns: largest |integral over p of L(p; k) - 1/11|", np.max(np.abs(columns - 1 / 11)), 1e-14)
    fair = table(np.array([FAIR]))[0]
    report.check("P(7 heads | p = 0.5) - 120/1024", fair[HEADS] - 120 / 1024, 1e-14)

    # In log-odds z = log p/(1 - p) the same likelihood has another integral, B(k, n - k) C(n, k) = n/(k (n - k)).
    z = np.linspace(-40, 60, 20_001)
    values = np.exp(np.asarray(dist.Binomial(TOSSES, logits=jnp.asarray(z)).log_prob(HEADS)))
    integral = np.sum(values) * (z[1] - z[0])
    report.check("column in log-odds: integral - 10/21", integral - TOSSES / (HEADS * (TOSSES - HEADS)), 1e-12)


def maxima(report: Report) -> dict[str, Any]:
    """The top of the column, in two coordinates, with and without a prior."""
    y = np.array([HEADS])
    likelihood = lg.likelihood(coin)
    fit = lg.fit(lg.map_objective(likelihood, {"p": dist.Flat(supports.unit_interval)}), {"p": FAIR}, y)
    best = float(fit.params["p"])
    report.check("maximum likelihood: p - 7/10", best - 0.7, 1e-12)
    top = 120 * 0.7**7 * 0.3**3
    report.check("likelihood there - 120 * 0.7^7 * 0.3^3 = 0.26683", math.exp(-float(fit.value)) - top, 1e-14)
    error = float(fit.standard_errors()["p"])
    report.check("standard error - sqrt(p (1 - p)/n)", error - math.sqrt(0.7 * 0.3 / TOSSES), 1e-12)

    other = lg.fit(lg.map_objective(lg.likelihood(coin_in_log_odds)), {"z": 0.0}, y)
    report.check("in log-odds the maximum is at the same coin", jax.nn.sigmoid(other.params["z"]) - best, 1e-12)
    report.check("and has the same likelihood", float(other.value - fit.value), 1e-13)

    modes = {}
    for a, wanted in PRIORS.items():
        found = lg.fit(lg.map_objective(likelihood, {"p": dist.Beta(a, a)}), {"p": FAIR}, y)
        modes[a] = float(found.params["p"])
        report.check(f"mode under Beta({a:g}, {a:g}) - {wanted:.3f}", modes[a] - wanted, 1e-12)
    return {"best": best, "top": top, "error": error, "modes": modes}


def repeated(report: Report, seed: int, draws: int) -> None:
    """A row is what coins do: the frequency of 7 heads is the probability, no likelihood is a frequency of coins."""
    heads = np.asarray(dist.Binomial(TOSSES, probs=FAIR).sample(jax.random.key(seed), (draws,)))
    probability = 120 / 1024
    spread = math.sqrt(probability * (1 - probability) / draws)
    report.check(
        f"{draws} runs of a fair coin: share with 7 heads against the row, in standard errors",
        (np.mean(heads == HEADS) - probability) / spread,
        4.0,
    )


def draw_surface(fig: Figure, where: Any, found: dict[str, Any]) -> None:
    """One surface and two cuts through it."""
    ax: Any = fig.add_subplot(where, projection="3d")
    p = np.linspace(0.005, 0.995, 120)
    rows = table(p)
    rows = np.where(rows > 0.42, np.nan, rows)  # k = 0 and 10 rise to 1 at the ends
    for k in range(TOSSES + 1):
        chosen = k == HEADS
        ax.plot(np.full_like(p, k), p, rows[:, k], color=RED if chosen else GRAY, lw=3 if chosen else 0.8,
                alpha=1 if chosen else 0.8, zorder=10 if chosen else 1)  # fmt: skip
        ax.plot([k, k], [0, 1], [0, 0], color=GRAY, lw=0.5, alpha=0.6)
    fair = table(np.array([FAIR]))[0]
    for k in range(TOSSES + 1):
        ax.plot([k, k], [FAIR, FAIR], [0, fair[k]], color=BLUE, lw=3, zorder=12)
        ax.scatter([k], [FAIR], [fair[k]], color=BLUE, s=34, zorder=13, depthshade=False)
    ax.scatter([HEADS], [found["best"]], [found["top"]], marker="*", s=210, color=RED, ec="white", zorder=20,
               depthshade=False)  # fmt: skip
    ax.set(
        xlabel="heads $k$", ylabel="coin $p$", zlim=(0, 0.42), zticks=(0, 0.1, 0.2, 0.3, 0.4), xticks=range(0, 11, 2)
    )
    ax.set_title("One function of two arguments, $P(k\\mid p)$", x=-0.16)
    ax.view_init(elev=28, azim=-58)
    ax.set_box_aspect((1.45, 1.0, 0.68), zoom=1.42)


def draw_row(ax: Axes) -> None:
    """The row: a probability."""
    fair = table(np.array([FAIR]))[0]
    bars = ax.bar(range(TOSSES + 1), fair, width=0.72, color=BLUE, alpha=0.85)
    bars[HEADS].set_color(RED)
    ax.annotate(f"{fair[HEADS]:.4f}", (HEADS, fair[HEADS]), (HEADS + 0.1, fair[HEADS] + 0.022), color=RED, ha="left")
    ax.set(xticks=range(TOSSES + 1), xlabel="heads $k$ in 10 tosses of a fair coin", ylabel="probability",
           ylim=(0, 0.31), title="Row, $p=0.5$ held: a probability of $k$")  # fmt: skip
    note(ax, r"$\sum_k P(k\mid p) = 1$", (0.03, 0.95), size=13)


def draw_column(ax: Axes, found: dict[str, Any]) -> None:
    """The column: a likelihood."""
    p = np.linspace(0, 1, 401)
    values = table(np.clip(p, 1e-12, 1 - 1e-12))[:, HEADS]
    ax.fill_between(p, values, color=RED, alpha=0.12, lw=0)
    ax.plot(p, values, color=RED, lw=2.4)
    ax.plot([found["best"]] * 2, [0, found["top"]], color=RED, ls=":", lw=1.4)
    ax.scatter([found["best"]], [found["top"]], marker="*", s=210, color=RED, ec="white", zorder=5)
    ax.annotate(f"$\\hat p=0.7$, $L={found['top']:.4f}$", (found["best"], found["top"]),
                (found["best"] - 0.02, found["top"] + 0.014), ha="center", color=RED)  # fmt: skip
    ax.scatter([FAIR], [120 / 1024], color=BLUE, s=46, zorder=5)
    ax.annotate("the fair coin, 0.1172", (FAIR, 120 / 1024), (FAIR - 0.03, 120 / 1024 + 0.012), ha="right", color=BLUE)
    ax.set(xlabel="coin $p$", ylabel="likelihood", xlim=(0, 1), ylim=(0, 0.31),
           title="Column, $k=7$ held: a likelihood of $p$")  # fmt: skip
    note(ax, r"$\int_0^1 L(p;\,7)\,dp = \frac{1}{11}$, not 1", (0.03, 0.95), size=13)


def draw_priors(ax: Axes, found: dict[str, Any]) -> None:
    """The prior turns the column into a density and moves its top."""
    p = np.linspace(1e-4, 1 - 1e-4, 501)
    column = np.asarray(dist.Binomial(TOSSES, probs=jnp.asarray(p)).log_prob(HEADS))
    for (a, mode), color in zip(found["modes"].items(), (RED, GOLD, TEAL), strict=True):
        log_density = column + np.asarray(dist.Beta(a, a).log_prob(jnp.asarray(p)))
        density = np.exp(log_density)
        density /= np.sum(density) * (p[1] - p[0])
        ax.plot(p, density, color=color, lw=2.2, label=f"Beta({a:g}, {a:g}): mode {mode:.3f}")
        ax.plot([mode] * 2, [0, np.interp(mode, p, density)], color=color, ls=":", lw=1.4)
    ax.axvline(FAIR, color=INK, lw=0.8)
    ax.text(FAIR - 0.01, 4.5, "priors' center", rotation=90, ha="right", va="top", size=8.5)
    ax.set(xlabel="coin $p$", ylabel="posterior density", xlim=(0, 1), ylim=(0, None),
           title="Times a prior it becomes a density of $p$")  # fmt: skip
    ax.legend(loc="upper left")


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        both_readings(report)
        found = maxima(report)
        repeated(report, seed, 20_000 if fast else 200_000)

        fig = figure(
            "Likelihood is not probability: one table, read in two directions",
            r"$P(k\mid p)=\binom{10}{k}\,p^k(1-p)^{10-k}$      blue: along $k$ it is a probability"
            r"      red: along $p$ it is the likelihood of what was seen, $k=7$",
        )
        grid = fig.add_gridspec(2, 2, width_ratios=[1.12, 1])
        draw_surface(fig, grid[0, 0], found)
        draw_row(fig.add_subplot(grid[0, 1]))
        draw_priors(fig.add_subplot(grid[1, 0]), found)
        draw_column(fig.add_subplot(grid[1, 1]), found)
        report.save(fig)
