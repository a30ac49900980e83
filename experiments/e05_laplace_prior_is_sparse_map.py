"""A Laplace prior gives a mode with exact zeros; a Normal prior only shrinks.

Claim:
    The mode under a Laplace(0, b) prior is the lasso. Its penalty has a kink at 0, so coefficients stay there as
    long as |x_j' r| <= lambda = s^2/b, and they are 0 exactly, not nearly. Under a Normal prior all of them shrink
    and none is 0.

    The zeros belong to the mode. Draws from a Laplace prior, draws from the posterior and the posterior mean have
    none.

Source:
    "Loss functions", 3, the table "L1 and L2" and the sections on the Normal and the Laplace prior.

Errata:
    A14: "many theta_j are exactly 0, which the Laplace distribution describes well" is wrong: under that prior
    P(theta_j = 0) = 0. Sparsity is a property of the mode; the belief itself would be a spike and a slab.
    B11: under a Normal prior a coefficient is 0 only where its column is orthogonal to what the others leave of y.

Data:
    diabetes and breast_cancer (scikit-learn), columns standardized. Posterior draws by the exact Gibbs sampler of
    the Bayesian lasso (Park and Casella 2008), itself checked against lossgeo's gradient by Stein's identities.

Run time:
    about 10 s.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, lars_path

import lossgeo as lg
from experiments.report import BLUE, CYCLE, GOLD, GRAY, INK, RED, Report, figure, note, relative_error
from lossgeo import distributions as dist

NOISE = 54.0  # s: about the residual standard deviation of diabetes
SCALE = 2.0  # b of the posterior that is sampled, in units of y per standard deviation


def linear(params: Any, x: jax.Array) -> dist.Normal:
    """Linear regression with known noise; the target is centered."""
    return dist.Normal(x @ params["coef"], NOISE)


def logistic(params: Any, x: jax.Array) -> dist.Bernoulli:
    """Logistic regression without intercept; the columns are centered."""
    return dist.Bernoulli(logits=x @ params["coef"])


def standardize(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def modes(model: Any, family: Any, scales: np.ndarray, x: np.ndarray, y: np.ndarray) -> lg.Solution:
    """Posterior modes for a range of prior scales: one compiled loop over the hyper-parameter."""

    def solution(scale: jax.Array) -> lg.Solution:
        objective = lg.map_objective(lg.likelihood(model), {"coef": family(0.0, scale)})
        return lg.solve(objective, {"coef": jnp.zeros(x.shape[1])}, x, y)

    return jax.lax.map(solution, jnp.asarray(scales))


def kkt_violation(coef: np.ndarray, slope: np.ndarray, strength: np.ndarray) -> tuple[float, float]:
    """Violations of the optimality conditions, at zeros and off them: |slope| <= strength, slope = strength sign."""
    zero = coef == 0.0
    strength = np.broadcast_to(strength, coef.shape)
    at_zero = np.max(np.where(zero, np.abs(slope) - strength, -np.inf))
    off = np.max(np.where(zero, 0.0, np.abs(slope - strength * np.sign(coef))))
    return float(at_zero), float(off)


def diabetes_paths(
    report: Report, x: np.ndarray, y: np.ndarray, points: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Lasso path with LARS knots, and the ridge path."""
    n = len(y)
    alphas, _, knots = lars_path(x, y, method="lasso")
    alphas, knots = alphas[alphas > 1e-9], knots.T[alphas > 1e-9]  # at the last knot lambda is 0: no prior is left
    middle = np.sqrt(alphas[1:] * alphas[:-1])
    scales = np.geomspace(0.1, 200.0, points)
    every = np.r_[scales, NOISE**2 / (n * alphas), NOISE**2 / (n * middle)]
    found = modes(linear, dist.Laplace, every, x, y)
    converged = int(np.sum(found.status == lg.Status.CONVERGED))
    report.check_equal("diabetes, Laplace prior: modes that converged", converged, every.size)
    coef = np.asarray(found.params["coef"])
    at_zero, off = kkt_violation(coef, (y - coef @ x.T) @ x, NOISE**2 / every[:, None])
    report.check("diabetes: largest excess of |x_j' r| over lambda at a zero", max(at_zero, 0.0), 1e-10)
    report.check(
        "diabetes: |x_j' r - lambda sign(theta_j)| off zero, relative to |X'y|", off / np.max(np.abs(x.T @ y)), 1e-13
    )
    path, at_knots, between = np.split(coef, [points, points + alphas.size])
    report.check(
        "diabetes: coefficients at the LARS knots against scikit-learn, relative",
        relative_error(at_knots, knots),
        1e-11,
    )
    share = (alphas[:-1] - middle) / (alphas[:-1] - alphas[1:])  # the path is linear in lambda between the knots
    expected = knots[:-1] + share[:, None] * np.diff(knots, axis=0)
    report.check("diabetes: coefficients between the knots, relative", relative_error(between, expected), 1e-11)
    report.check_equal(
        "diabetes: zeros between the knots that are == 0.0, of those in LARS",
        int(np.sum((between == 0.0) & (expected == 0.0))),
        int(np.sum(expected == 0.0)),
    )
    report.check_equal(
        "diabetes: coefficients between the knots that are == 0.0",
        int(np.sum(between == 0.0)),
        int(np.sum(expected == 0.0)),
    )

    # B11: one more column, orthogonal to y and to all others, is the exception to "never 0".
    basis = np.linalg.qr(np.c_[np.ones(n), x, y])[0]
    column = rng.standard_normal(n)
    for _ in range(2):
        column -= basis @ (basis.T @ column)
    wide = np.c_[x, column / column.std()]
    ridge = np.asarray(modes(linear, dist.Normal, scales, wide, y).params["coef"])
    closed = np.stack([np.linalg.solve(x.T @ x + np.eye(x.shape[1]) * (NOISE / t) ** 2, x.T @ y) for t in scales])
    report.check(
        "diabetes, Normal prior: the path against the closed ridge formula, relative",
        relative_error(ridge[:, :-1], closed),
        1e-11,
    )
    report.check_equal(
        "diabetes, Normal prior: coefficients that are 0, on the whole path", int(np.sum(ridge[:, :-1] == 0.0)), 0
    )
    report.check_at_least(
        "diabetes, Normal prior: smallest |coefficient| on the whole path", np.min(np.abs(ridge[:, :-1])), 1e-6
    )
    report.check(
        "B11: coefficient of a column orthogonal to y and all others, on the whole path",
        np.max(np.abs(ridge[:, -1])),
        1e-12,
    )
    return {
        "scales": scales,
        "lasso": path,
        "ridge": ridge[:, :-1],
        "knot_scales": NOISE**2 / (n * alphas),
        "knots": at_knots,
    }


def gibbs(x: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws from the posterior: a Laplace is a Normal with an exponential variance, so both conditionals are known."""
    gram, xty, p = x.T @ x / NOISE**2, x.T @ y / NOISE**2, x.shape[1]
    theta = np.linalg.solve(gram + np.eye(p) / SCALE**2, xty)
    kept = np.empty((draws, p))
    burn = 500
    for k in range(-burn, draws):
        precision = rng.wald(1.0 / (SCALE * np.abs(theta)), 1.0 / SCALE**2)
        root = np.linalg.cholesky(gram + np.diag(precision))
        theta = np.linalg.solve(root.T, np.linalg.solve(root, xty) + rng.standard_normal(p))
        if k >= 0:
            kept[k] = theta
    return kept


def posterior(
    report: Report, x: np.ndarray, y: np.ndarray, draws: int, seed: int, rng: np.random.Generator
) -> dict[str, Any]:
    """A14: where the zeros are, and where they are not."""
    objective = lg.map_objective(lg.likelihood(linear), {"coef": dist.Laplace(0.0, SCALE)})
    fit = lg.fit(objective, {"coef": jnp.zeros(x.shape[1])}, x, y)
    mode = np.asarray(fit.params["coef"])
    samples = gibbs(x, y, draws, rng)
    slope = np.asarray(jax.vmap(jax.grad(lambda t: objective({"coef": t}, x, y)))(jnp.asarray(samples)))
    # E[slope] = 0 and E[theta_j slope_j] = 1 under the posterior, whatever it is; judged by batch means.
    batches = np.concatenate([slope, samples * slope - 1.0], axis=1).reshape(50, draws // 50, -1).mean(axis=1)
    z = batches.mean(axis=0) / (batches.std(axis=0, ddof=1) / math.sqrt(50))
    report.check("sampler: Stein's identities with lossgeo's gradient, largest of 20 |z|", np.max(np.abs(z)), 4.0)
    prior = np.asarray(dist.Laplace(0.0, SCALE).sample(jax.random.key(seed), (draws, x.shape[1])))
    mean = samples.mean(axis=0)
    report.check_at_least("zeros in the mode, of 10 coefficients", int(np.sum(mode == 0.0)), 1)
    report.check_equal(f"zeros in {draws} x 10 draws from the Laplace prior", int(np.sum(prior == 0.0)), 0)
    report.check_equal(f"zeros in {draws} x 10 draws from the posterior", int(np.sum(samples == 0.0)), 0)
    report.check_equal("zeros in the posterior mean", int(np.sum(mean == 0.0)), 0)
    return {"mode": mode, "samples": samples, "prior": prior, "mean": mean}


def breast_cancer(report: Report, points: int) -> dict[str, Any]:
    """L1 logistic regression on thirty features."""
    x, y = load_breast_cancer(return_X_y=True)
    x = standardize(x)
    scales = np.r_[np.geomspace(3e-3, 1.0, points), 0.1]
    found = modes(logistic, dist.Laplace, scales, x, y)
    report.check_equal(
        "breast_cancer, Laplace prior: modes that converged",
        int(np.sum(found.status == lg.Status.CONVERGED)),
        points + 1,
    )
    coef = np.asarray(found.params["coef"])
    slope = (y - 1 / (1 + np.exp(-coef @ x.T))) @ x
    at_zero, off = kkt_violation(coef, slope, 1 / scales[:, None])
    report.check("breast_cancer: largest excess of |x_j' (y - p)| over 1/b at a zero", max(at_zero, 0.0), 1e-10)
    report.check("breast_cancer: |x_j' (y - p) - sign(theta_j)/b| off zero, times b", off * np.min(scales), 1e-10)
    theirs = (
        LogisticRegression(
            C=0.1, l1_ratio=1.0, fit_intercept=False, solver="liblinear", tol=1e-12, max_iter=100_000, random_state=0
        )
        .fit(x, y)
        .coef_[0]
    )
    report.check_equal(
        "breast_cancer, b = 0.1: exact zeros in common with sklearn's L1 logistic regression",
        int(np.sum((coef[-1] == 0.0) & (theirs == 0.0))),
        int(np.sum(coef[-1] == 0.0)),
    )
    report.check(
        "breast_cancer, b = 0.1: coefficients against sklearn (liblinear, tol 1e-12), relative",
        relative_error(theirs, coef[-1]),
        1e-8,
    )
    return {"scales": scales[:-1], "coef": coef[:-1], "zeros": int(np.sum(coef[-1] == 0.0))}


def draw_priors(ax: Axes) -> None:
    """Densities of equal variance, and what they cost."""
    t = np.linspace(-3.5, 3.5, 701)
    for label, prior, color in (
        ("Normal(0, 1)", dist.Normal(0.0, 1.0), BLUE),
        (r"Laplace$(0, 1/\sqrt{2})$", dist.Laplace(0.0, math.sqrt(0.5)), RED),
    ):
        log_density = np.asarray(prior.log_prob(t))
        ax.plot(t, np.exp(log_density), color=color, ls="--", lw=1.3)
        ax.plot(t, log_density.max() - log_density, color=color, label=f"{label}")
    ax.plot([], [], color=GRAY, label=r"$-\log\pi(\theta)+\mathrm{const}$: the penalty")
    ax.plot([], [], color=GRAY, ls="--", lw=1.3, label=r"$\pi(\theta)$, equal variances")
    ax.set(xlabel=r"$\theta$", ylabel="density, or nats", xlim=(-3.5, 3.5), ylim=(0, 7), title="Parabola and kink")
    ax.legend(loc="upper center", fontsize=8.4, ncols=2)


def draw_balls(report: Report, ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The classic picture, computed: where the contour of the RSS touches the ball."""
    pair = x[:, [2, 5]]  # body mass index, LDL
    mle = np.linalg.solve(pair.T @ pair, pair.T @ y)
    ridge = np.linalg.solve(pair.T @ pair + 500.0 * np.eye(2), pair.T @ y)
    scale = float(NOISE**2 / (0.6 * abs(pair[:, 0] @ y)))
    objective = lg.map_objective(lg.likelihood(linear), {"coef": dist.Laplace(0.0, scale)})
    # The other columns are emptied, and their coefficients stay on the kink.
    only = np.where(np.isin(np.arange(x.shape[1]), (2, 5)), x, 0.0)
    lasso = np.asarray(lg.fit(objective, {"coef": jnp.zeros(x.shape[1])}, only, y).params["coef"])[[2, 5]]
    report.check_equal("two coefficients, Laplace prior: the second is 0.0", float(lasso[1]), 0.0)
    a, b = np.meshgrid(np.linspace(-30, 78, 300), np.linspace(-42, 42, 300))
    gram = pair.T @ pair

    def rise(u: Any, v: Any) -> Any:
        return (
            gram[0, 0] * (u - mle[0]) ** 2
            + 2 * gram[0, 1] * (u - mle[0]) * (v - mle[1])
            + gram[1, 1] * (v - mle[1]) ** 2
        ) / (2 * NOISE**2)

    touching = sorted([rise(*lasso), rise(*ridge)])
    ax.contour(a, b, rise(a, b), levels=sorted([1.5, 8.0, *touching]), colors=GRAY, linewidths=1.0)
    angle = np.linspace(0, 2 * np.pi, 400)
    size = np.linalg.norm(ridge)
    ax.fill(size * np.cos(angle), size * np.sin(angle), color=BLUE, alpha=0.16, lw=1.2, ec=BLUE)
    corner = np.sum(np.abs(lasso))
    ax.fill([corner, 0, -corner, 0], [0, corner, 0, -corner], color=RED, alpha=0.22, lw=1.2, ec=RED)
    ax.scatter(*mle, marker="*", s=230, color=INK, ec="white", zorder=4, label="maximum likelihood")
    ax.scatter(*ridge, s=75, color=BLUE, ec="white", zorder=4, label=f"Normal prior: LDL = {ridge[1]:.1f}")
    ax.scatter(*lasso, s=75, color=RED, ec="white", zorder=5, label="Laplace prior: LDL = 0 exactly")
    ax.set(xlabel=r"$\theta$: body mass index", ylabel=r"$\theta$: LDL", title="The contour touches a corner")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(loc="upper left", fontsize=8.8)


def draw_zeros(ax: Axes, found: dict[str, Any], names: list[str]) -> None:
    """One coefficient that the mode sets to 0: prior, posterior, mean and mode."""
    zero = np.flatnonzero(found["mode"] == 0.0)
    k = zero[np.argmax(np.abs(found["mean"][zero]))]
    bins = np.linspace(-9, 9, 91)
    ax.hist(found["prior"][:, k], bins=bins, density=True, color=GOLD, alpha=0.55, label="draws from the Laplace prior")
    ax.hist(
        found["samples"][:, k],
        bins=bins,
        density=True,
        histtype="step",
        color=BLUE,
        lw=1.8,
        label="draws from the posterior",
    )
    top = ax.get_ylim()[1]
    ax.axvline(found["mean"][k], color=BLUE, ls="--", lw=1.5, label=f"posterior mean = {found['mean'][k]:.3f}")
    ax.axvline(0.0, color=RED, lw=2.0, label="mode = 0 exactly")
    ax.set(
        xlabel=rf"$\theta$ of {names[k]}",
        ylabel="density",
        xlim=(-9, 9),
        ylim=(0, 1.9 * top),
        title="Only the mode is sparse (A14)",
    )
    ax.legend(loc="upper left", fontsize=8.8)
    counts = [np.sum(found[key] == 0.0) for key in ("prior", "samples", "mean", "mode")]
    note(
        ax,
        "exact zeros\n"
        + "\n".join(
            f"{label}: {c}"
            for label, c in zip(("prior draws", "posterior draws", "posterior mean", "mode"), counts, strict=True)
        ),
        (0.97, 0.97),
        size=8.8,
    )


def draw_path(ax: Axes, scales: np.ndarray, path: np.ndarray, names: list[str], title: str, xlabel: str) -> None:
    """Coefficients against the scale of the prior."""
    for j, name in enumerate(names):
        ax.semilogx(scales, path[:, j], color=CYCLE[j % len(CYCLE)], lw=1.6, label=name)
    ax.axhline(0, color=INK, lw=0.7)
    ax.set(xlabel=xlabel, ylabel="coefficient (units of $y$ per sd)", title=title, xlim=(scales[0], scales[-1]))


def draw_cancer(ax: Axes, found: dict[str, Any]) -> None:
    """Thirty coefficients, and how many are not 0."""
    scales, coef = found["scales"], found["coef"]
    ax.semilogx(scales, coef, lw=1.1, alpha=0.85)
    ax.axhline(0, color=INK, lw=0.7)
    ax.set(
        xlabel="scale $b$ of the Laplace prior",
        ylabel="coefficient (log-odds per sd)",
        title="Breast cancer: L1 logistic, 30 features",
        xlim=(scales[0], scales[-1]),
    )
    twin = ax.twinx()
    twin.step(scales, np.sum(coef != 0.0, axis=1), color=INK, lw=1.8, where="mid")
    twin.set(ylim=(0, 30), ylabel="coefficients that are not 0 (black)")
    twin.grid(visible=False)
    twin.spines["right"].set_visible(True)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng, data = np.random.default_rng(seed), load_diabetes()
        x, y, names = standardize(data.data), data.target - data.target.mean(), list(data.feature_names)
        paths = diabetes_paths(report, x, y, 40 if fast else 160, rng)
        zeros = posterior(report, x, y, 2_000 if fast else 20_000, seed, rng)
        cancer = breast_cancer(report, 20 if fast else 80)

        fig = figure(
            "A Laplace prior gives a mode with exact zeros; a Normal prior only shrinks",
            r"lasso: $\hat\theta_j=0\ \Leftrightarrow\ |x_j^\top r|\leq\lambda=s^2/b$"
            r"        ridge: $\hat\theta=(X^\top X+\lambda I)^{-1}X^\top y,\ \ \lambda=s^2/\tau^2$, never 0",
        )
        grid = fig.add_gridspec(2, 3)
        draw_priors(fig.add_subplot(grid[0, 0]))
        draw_balls(report, fig.add_subplot(grid[0, 1]), x, y)
        draw_zeros(fig.add_subplot(grid[0, 2]), zeros, names)
        ax = fig.add_subplot(grid[1, 0])
        draw_path(
            ax,
            paths["scales"],
            paths["lasso"],
            names,
            "Diabetes, Laplace prior: the lasso path",
            "scale $b$ of the Laplace prior",
        )
        inside = paths["knot_scales"] <= paths["scales"][-1]
        knots = np.where(paths["knots"] != 0.0, paths["knots"], np.nan)[inside]
        ax.scatter(
            np.broadcast_to(paths["knot_scales"][inside][:, None], knots.shape),
            knots,
            s=9,
            color=INK,
            zorder=3,
            label="LARS knots",
        )
        ax.legend(handles=ax.collections[-1:], loc="upper left")
        ax = fig.add_subplot(grid[1, 1])
        draw_path(
            ax,
            paths["scales"],
            paths["ridge"],
            names,
            "Diabetes, Normal prior: the ridge path",
            r"scale $\tau$ of the Normal prior",
        )
        ax.legend(loc="lower left", ncols=2, fontsize=8.8)
        draw_cancer(fig.add_subplot(grid[1, 2]), cancer)
        report.save(fig)


if __name__ == "__main__":
    main()
