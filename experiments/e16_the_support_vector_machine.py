r"""The support vector machine is hinge loss plus a ridge, solved to the last digit, and it has no probabilities.

Claim:
    With an intercept that is not penalised, (1/n) sum hinge + lambda |w|^2 with lambda = 1 / (2 n C) is the linear
    support vector machine of constant C, the mode under a normal prior of variance C. An interior point proves the
    optimum by a duality gap below 1e-8 of its value, and the observations of margin at most 1 carry it alone. The
    hinge forgets probabilities; the smoothed hinge comes as near to it as one likes (the risks differ by at most
    1 / (alpha + 1)) and keeps them: eta = 1 / (2 - f^alpha).

Source:
    "Classification losses", the item left unchecked: the support vector machine as hinge loss with an L2 penalty; and
    loss 3, the smoothed hinge.

Errata:
    B9: the penalty is lambda = 1 / (2 n C) and leaves out the intercept (scikit-learn's LinearSVC penalises it and
    finds another machine). The hinge is no negative log-likelihood: exp(-phi(m)) + exp(-phi(-m)) is not 1.
    A3: the smoothed hinge is alpha / (alpha + 1) - m at and below 0; as printed it would be flat there.

Data:
    breast_cancer (scikit-learn): all 30 columns against scikit-learn's SVC, two columns for the figure.

Run time:
    about 25 s.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer
from sklearn.isotonic import IsotonicRegression
from sklearn.svm import SVC, LinearSVC

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import distributions as dist
from lossgeo import geometry, losses

FOLDS = 5
FEATURES = ("mean radius", "mean texture")


def score(params: Any, x: jax.Array) -> jax.Array:
    """The linear predictor."""
    return x @ params["coef"] + params["intercept"]


def logistic_model(params: Any, x: jax.Array) -> dist.Bernoulli:
    """Logistic regression."""
    return dist.Bernoulli(logits=score(params, x))


def platt(params: Any, scores: jax.Array, target: jax.Array) -> jax.Array:
    """Minus the cross-entropy of probabilities sigmoid(a f + b) with targets between 0 and 1."""
    logits = params["slope"] * scores + params["intercept"]
    return -losses.logistic(logits) * target - losses.logistic(-logits) * (1 - target)


def start(x: np.ndarray) -> dict[str, jax.Array]:
    """All zero."""
    return {"coef": jnp.zeros(x.shape[1]), "intercept": jnp.asarray(0.0)}


def machine(loss: losses.MarginLoss, constant: float) -> lg.Objective:
    """A margin loss with a normal prior of variance C on the coefficients."""
    prior = {"coef": dist.Normal(0.0, constant**0.5), "intercept": dist.Flat()}
    return lg.map_objective(lg.pseudo_likelihood(loss, score), prior)


def train(objective: lg.Objective, x: np.ndarray, labels: np.ndarray, weights: Any = None, begin: Any = None) -> lg.Fit:
    """Fit from 0, with weights 1 unless given: one program serves all subsets."""
    weights = np.ones(len(x)) if weights is None else weights
    return lg.fit(objective, start(x) if begin is None else begin, x, labels, weights=weights)


def primal(params: Any, x: np.ndarray, labels: np.ndarray, constant: float) -> float:
    """Sum of hinges plus the ridge |w|^2 / 2C, without the constants of the prior."""
    coef = np.asarray(params["coef"])
    margins = (2 * labels - 1) * (x @ coef + float(params["intercept"]))
    return float(np.sum(np.maximum(0, 1 - margins)) + coef @ coef / (2 * constant))


def against_svc(report: Report, x: np.ndarray, labels: np.ndarray, constants: tuple[float, ...]) -> None:
    """Gap, dual bound, support vectors and lambda, for several constants."""
    signs = 2 * labels - 1
    risk = losses.empirical_risk(losses.hinge, score)
    for constant in constants:
        fit = train(machine(losses.hinge, constant), x, labels)
        value = primal(fit.params, x, labels, constant)
        where = f"C = {constant:g}"
        report.check(f"{where}: duality gap over the optimum", float(fit.edm) / value, 1e-8)
        theirs = SVC(C=constant, kernel="linear", tol=1e-9).fit(x, labels)
        found = {"coef": theirs.coef_[0], "intercept": theirs.intercept_[0]}
        theirs_value = primal(found, x, labels, constant)
        dual = (np.sum(np.abs(theirs.dual_coef_)) - 0.5 * theirs.coef_[0] @ theirs.coef_[0]) / constant
        report.check(f"{where}: SVC's primal value over ours, less 1", theirs_value / value - 1, 1e-4)
        report.check_at_least(f"{where}: SVC's primal value less ours", theirs_value - value, -1e-12 * value)
        report.check_at_least(f"{where}: ours less SVC's dual value", value - dual, -1e-12 * value)
        coef, intercept = np.asarray(fit.params["coef"]), float(fit.params["intercept"])
        strength = 1 / (2 * len(x) * constant)
        mean_form = float(risk(fit.params, x, labels)) + strength * coef @ coef
        report.check(
            f"{where}: n (risk + lambda |w|^2) over the optimum, less 1", len(x) * mean_form / value - 1, 1e-13
        )
        inside = np.flatnonzero(signs * (x @ coef + intercept) < 1 + 1e-7)
        report.check_equal(
            f"{where}: margins of at most 1 are SVC's support vectors",
            str(np.array_equal(inside, np.sort(theirs.support_))),
            "True",
        )
    alone = train(machine(losses.hinge, constant), x, labels, np.isin(np.arange(len(x)), inside) * 1.0)
    report.check(
        f"{where}: change of w without all other observations, relative",
        np.max(np.abs(np.asarray(alone.params["coef"]) - coef)) / np.max(np.abs(coef)),
        1e-8,
    )


def errata(report: Report, x: np.ndarray, labels: np.ndarray) -> None:
    """B9: the intercept of LinearSVC, and a hinge that is no likelihood."""
    constant = 0.1
    ours = np.asarray(train(machine(losses.hinge, constant), x, labels).params["coef"])
    shrunk = lg.map_objective(lg.pseudo_likelihood(losses.hinge, score), dist.Normal(0.0, constant**0.5))
    also = np.asarray(train(shrunk, x, labels).params["coef"])
    theirs = LinearSVC(C=constant, loss="hinge", tol=1e-9, max_iter=1_000_000, random_state=0).fit(x, labels).coef_[0]
    size = np.linalg.norm(ours)
    report.check_at_least("B9: w of LinearSVC against the machine", np.linalg.norm(theirs - ours) / size, 0.03)
    report.check("B9: w of LinearSVC, if the intercept is penalised", np.linalg.norm(theirs - also) / size, 1e-6)
    for margin, total in ((0.0, 0.736), (1.0, 1.135), (3.0, 1.018)):
        both = np.exp(-float(losses.hinge(margin))) + np.exp(-float(losses.hinge(-margin)))
        report.check(f"B9: exp(-hinge(m)) + exp(-hinge(-m)) less {total} at m = {margin:g}", both - total, 5e-4)
    try:
        losses.hinge.inverse_link(0.3)
        refused = "a probability"
    except ValueError:
        refused = "refused"
    report.check_equal("a probability from a score of the hinge", refused, "refused")


class Approach(NamedTuple):
    """How the smoothed hinge comes near."""

    alphas: np.ndarray
    excess: np.ndarray
    away: np.ndarray


def smoothing(report: Report, x: np.ndarray, labels: np.ndarray, alphas: np.ndarray) -> Approach:
    """Minimise the smoothed hinge for growing alpha and measure its excess in the machine's own objective."""
    best = train(machine(losses.hinge, 1.0), x, labels)
    value, target = primal(best.params, x, labels, 1.0), np.asarray(best.params["coef"])
    params, excess, away = start(x), [], []
    for alpha in alphas:
        fit = train(machine(losses.SmoothedHinge(float(alpha)), 1.0), x, labels, begin=params)
        params = fit.params
        excess.append(primal(params, x, labels, 1.0) - value)
        away.append(np.linalg.norm(np.asarray(params["coef"]) - target) / np.linalg.norm(target))
    excess_, away_ = np.array(excess), np.array(away)
    bound = len(x) / (alphas + 1)
    report.check("alpha -> infinity: largest excess over its bound n / (alpha + 1)", np.max(excess_ / bound), 1.0)
    report.check_at_least("alpha -> infinity: least excess", np.min(excess_), -1e-10)
    report.check(f"alpha = {alphas[-1]:g}: |w - w_hinge| / |w_hinge|", away_[-1], 0.01)
    report.check_at_least("alpha -> infinity: w comes nearer, first over last", away_[0] / away_[-1], 20.0)
    margins = jnp.linspace(-3.0, 2.0, 2001)
    for alpha in (1.0, 7.0):
        loss = losses.SmoothedHinge(alpha)
        apart = jnp.max(jnp.abs(losses.hinge(margins) - loss(margins)))
        report.check(f"alpha = {alpha:g}: sup |hinge - smoothed| less 1 / (alpha + 1)", apart - 1 / (alpha + 1), 1e-14)
        f = jnp.linspace(0.01, 0.99, 99)
        ratio = loss.derivative(-f) / (loss.derivative(f) + loss.derivative(-f))
        gap = jnp.max(jnp.abs(ratio - 1 / (2 - f**alpha)))
        report.check(f"alpha = {alpha:g}: link 1 / (2 - f^alpha) against the loss", gap, 1e-14)
    return Approach(alphas, excess_, away_)


class Forecast(NamedTuple):
    """Probabilities for held-out observations and their decomposition."""

    probs: np.ndarray
    recalibrated: np.ndarray
    score: float
    miscalibration: float
    discrimination: float


def decompose(probs: np.ndarray, labels: np.ndarray) -> Forecast:
    """CORP: the Brier score as miscalibration - discrimination + uncertainty, by isotonic regression."""
    values, place, counts = np.unique(probs, return_inverse=True, return_counts=True)
    frequencies = np.bincount(place, labels) / counts
    fitted = np.asarray(geometry.projection_monotone(frequencies, counts.astype(float)))[place]
    own, best, base = (
        float(jnp.mean(losses.brier_score(np.stack([1 - p, p], axis=1), labels))) / 2
        for p in (probs, fitted, np.full(len(labels), labels.mean()))
    )
    return Forecast(probs, fitted, own, own - best, base - best)


def probabilities(report: Report, x: np.ndarray, labels: np.ndarray, seed: int, alpha: float) -> dict[str, Forecast]:
    """Held-out probabilities: Platt's sigmoid of hinge scores, the link of the smoothed hinge, logistic regression."""
    fold = np.random.default_rng(seed).permutation(np.arange(len(x)) % FOLDS)
    hinge, smoothed = machine(losses.hinge, 1.0), machine(losses.SmoothedHinge(alpha), 1.0)
    prior = {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()}
    logistic = lg.map_objective(lg.likelihood(logistic_model), prior)
    sigmoid = lg.map_objective(lg.pseudo_likelihood(platt))

    def scores_without(objective: lg.Objective, left_out: np.ndarray) -> np.ndarray:
        weights = (~left_out).astype(float)
        return np.asarray(score(train(objective, x, labels, weights).params, x))

    found = {name: np.zeros(len(x)) for name in ("hinge, Platt's sigmoid", "smoothed hinge", "logistic regression")}
    for k in range(FOLDS):
        out = fold == k
        # The sigmoid is fitted to scores of observations that their machine has not seen (Platt 1999).
        inner = np.zeros(len(x))
        for j in range(FOLDS):
            if j != k:
                inner[fold == j] = scores_without(hinge, out | (fold == j))[fold == j]
        ones, zeros = np.sum(labels[~out] == 1), np.sum(labels[~out] == 0)
        target = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
        begin = {"slope": jnp.asarray(1.0), "intercept": jnp.asarray(0.0)}
        line = lg.fit(sigmoid, begin, inner, target, weights=(~out).astype(float)).params
        logits = float(line["slope"]) * scores_without(hinge, out) + float(line["intercept"])
        found["hinge, Platt's sigmoid"][out] = np.asarray(losses.logistic.inverse_link(logits))[out]
        links = {
            "smoothed hinge": (smoothed, losses.SmoothedHinge(alpha)),
            "logistic regression": (logistic, losses.logistic),
        }
        for name, (objective, loss) in links.items():
            found[name][out] = np.asarray(loss.inverse_link(scores_without(objective, out)))[out]
    forecasts = {name: decompose(probs, labels) for name, probs in found.items()}
    base = labels.mean() * (1 - labels.mean())
    for name, f in forecasts.items():
        isotonic = IsotonicRegression().fit(f.probs, labels).predict(f.probs)
        report.check(f"{name}: recalibration against scikit-learn's isotonic regression",
            np.max(np.abs(f.recalibrated - isotonic)), 1e-12)  # fmt: skip
        report.check(f"{name}: score less (miscalibration - discrimination + uncertainty)",
            f.score - (f.miscalibration - f.discrimination + base), 1e-14)  # fmt: skip
        report.check_at_least(f"{name}: miscalibration of the Brier score", f.miscalibration, 0.0)
        report.check_at_least(f"{name}: discrimination over uncertainty", f.discrimination / base, 0.5)
    skill = forecasts["smoothed hinge"].score / forecasts["hinge, Platt's sigmoid"].score
    report.check("Brier score of the smoothed hinge over that of Platt's sigmoid, less 1", skill - 1, 0.1)
    return forecasts


COLORS = {"hinge, Platt's sigmoid": RED, "smoothed hinge": GOLD, "logistic regression": BLUE}


def draw_machine(ax: Axes, x: np.ndarray, labels: np.ndarray) -> None:
    """Two columns, the line, the margins and the support vectors."""
    fit = train(machine(losses.hinge, 1.0), x, labels)
    f = np.asarray(score(fit.params, x))
    margins = (2 * labels - 1) * f
    for label, color, word in ((0, RED, "malignant"), (1, BLUE, "benign")):
        ax.scatter(*x[labels == label].T, s=13, color=color, alpha=0.75, lw=0, label=word)
    carried = margins < 1 + 1e-7
    ax.scatter(*x[carried].T, s=48, facecolors="none", edgecolors=GRAY, lw=0.8, label="support vectors")
    corner = np.abs(margins - 1) < 1e-7
    ax.scatter(*x[corner].T, s=90, facecolors="none", edgecolors=INK, lw=2, label="exactly on a margin")
    low, high = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
    grid = np.stack(np.meshgrid(np.linspace(low[0], high[0], 80), np.linspace(low[1], high[1], 80)), axis=-1)
    surface = np.asarray(score(fit.params, grid.reshape(-1, 2))).reshape(80, 80)
    ax.contour(grid[..., 0], grid[..., 1], surface, levels=[-1, 0, 1], colors=[INK], linestyles=["--", "-", "--"],
               linewidths=[1, 2, 1])  # fmt: skip
    ax.set(xlabel=f"{FEATURES[0]}, standardised", ylabel=f"{FEATURES[1]}, standardised", xlim=(low[0], high[0]),
           ylim=(low[1], high[1]), title=f"{int(carried.sum())} of {len(x)} observations carry the line")  # fmt: skip
    ax.legend(fontsize=8.5, loc="upper right")


def draw_approach(ax: Axes, found: Approach, n: int) -> None:
    """Excess of the smoothed machine, with its bound."""
    ax.loglog(found.alphas, n / (found.alphas + 1), color=GRAY, ls="--", label=r"bound $n/(\alpha+1)$")
    ax.loglog(
        found.alphas, np.maximum(found.excess, 1e-12), "o-", color=GOLD, ms=4, label="excess of the hinge objective"
    )
    ax.loglog(found.alphas, found.away, "s-", color=TEAL, ms=4, label=r"$\|w_\alpha-w\|/\|w\|$")
    ax.set(xlabel=r"sharpness $\alpha$", title=r"Smoothed hinge, $\alpha\to\infty$: the machine itself")
    ax.legend(fontsize=9, loc="lower left")


def draw_reliability(ax: Axes, forecasts: dict[str, Forecast]) -> None:
    """Isotonic frequencies against probabilities."""
    ax.plot([0, 1], [0, 1], color=GRAY, lw=1)
    for name, f in forecasts.items():
        order = np.argsort(f.probs)
        ax.plot(f.probs[order], f.recalibrated[order], color=COLORS[name], label=name)
    ax.set(xlabel="probability that was told", ylabel="frequency (isotonic)", xlim=(0, 1), ylim=(0, 1),
           title="Reliability of held-out probabilities")  # fmt: skip
    ax.legend(fontsize=9, loc="upper left")
    note(ax, r"smoothed hinge: $\eta=1/(2-f^\alpha)$, odd below 0", (0.97, 0.04), size=9.5)


def draw_parts(ax: Axes, forecasts: dict[str, Forecast], base: float) -> None:
    """Miscalibration and what is left of the uncertainty."""
    for k, (name, f) in enumerate(forecasts.items()):
        left = base - f.discrimination
        ax.barh(k, left, color=COLORS[name], height=0.55, alpha=0.55)
        ax.barh(k, f.miscalibration, left=left, color=COLORS[name], height=0.55)
        parts = f"{f.score:.4f} = {base:.4f} - {f.discrimination:.4f} + {f.miscalibration:.4f}"
        ax.text(f.score * 1.02, k, parts.replace("-", "\N{MINUS SIGN}"), va="center", size=9)
    ax.set_yticks(range(len(forecasts)), [name.replace(", ", ",\n") for name in forecasts], size=9.5)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    widest = max(f.score for f in forecasts.values())
    ax.set(xlim=(0, 2.1 * widest), title="Brier score of held-out probabilities",
           xlabel="Brier score = uncertainty $-$ discrimination $+$ miscalibration (dark)")  # fmt: skip


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        data = load_breast_cancer()
        x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
        labels = data.target
        two = x[:, [list(data.feature_names).index(name) for name in FEATURES]]
        against_svc(report, x, labels, (1.0,) if fast else (0.01, 1.0, 100.0))
        errata(report, x, labels)
        alphas = 2.0 ** np.arange(0, 12, 2 if fast else 1)
        approach = smoothing(report, two, labels, alphas)
        forecasts = probabilities(report, two, labels, seed, 1.0)
        fig = figure(
            "The support vector machine: hinge, ridge, and no probability",
            r"$\frac{1}{n}\sum_i\max(0,\,1-y_i f(x_i))+\lambda\|w\|^2,\quad\lambda=\frac{1}{2nC}$: solved to a duality "
            "gap of 1e-14; its smoothed sibling keeps the probability",
        )
        grid = fig.add_gridspec(2, 2, width_ratios=[1.1, 1])
        draw_machine(fig.add_subplot(grid[0, 0]), two, labels)
        draw_approach(fig.add_subplot(grid[0, 1]), approach, len(two))
        draw_reliability(fig.add_subplot(grid[1, 0]), forecasts)
        draw_parts(fig.add_subplot(grid[1, 1]), forecasts, float(labels.mean() * (1 - labels.mean())))
        report.save(fig)


if __name__ == "__main__":
    main()
