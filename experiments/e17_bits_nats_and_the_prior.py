r"""The logistic loss in bits is cross-entropy over log 2: the same estimate, until there is a prior.

Claim:
    V4 = log2(1 + exp(-m)) and V5 = -t log s - (1 - t) log(1 - s) differ by the factor log 2 at every margin. Without a
    prior the factor moves no minimum. With one it does: loss and prior must share the unit. Bits against the prior
    N(0, tau^2) in nats is the likelihood to the power 1 / log 2 = 1.44, a posterior that is too cold, and equals the
    proper one with the variance tau^2 / log 2.

Source:
    "Classification losses", "4 and 5 are equivalent"; "Loss functions", "a base of the logarithm larger than 1".

Errata:
    B8: V4 = V5 / log 2; they have one minimizer only where nothing is added. V4 is a tempered likelihood: the
    probabilities exp(-V4) of the two labels sum to numbers from 2/e = 0.736 to 1.
    B7: any base of the logarithm will do for the argmin; the loss and the prior need the same.

Data:
    iris (versicolor against virginica) and breast_cancer (scikit-learn), standardised.

Run time:
    about 20 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note, relative_error
from lossgeo import distributions as dist
from lossgeo import losses, models

LN2 = float(np.log(2))
TAU = 1.0


def score(params: Any, x: jax.Array) -> jax.Array:
    """The score whose sign is the label."""
    return x @ params["coef"] + params["intercept"]


def zeros(x: np.ndarray) -> dict[str, jax.Array]:
    """Start of a regression."""
    return {"coef": jnp.zeros(x.shape[1]), "intercept": jnp.zeros(())}


def standardised(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def pointwise(report: Report) -> None:
    """The two losses as functions of the margin."""
    m = np.linspace(-40, 40, 8001)
    bits, nats = np.asarray(losses.logistic_base2(m)), np.asarray(losses.logistic(m))
    report.check("V4 log 2 - V5 on margins from -40 to 40, relative", np.max(abs(bits * LN2 / nats - 1)), 1e-15)
    # Loss 5 as printed: a target t = (1 + y)/2 and the probability of a score.
    f = np.linspace(-8, 8, 801)
    s = 1 / (1 + np.exp(-f))
    for t in (0, 1):
        printed = -t * np.log(s) - (1 - t) * np.log1p(-s)
        ours = np.asarray(losses.logistic.pointwise(f, np.full(f.shape, t)))
        report.check(f"loss 5 as printed with t = {t} less the logistic loss of the margin, nats",
                     np.max(abs(printed - ours)), 1e-12)  # fmt: skip
    total = {unit: np.exp(-np.asarray(loss(m))) + np.exp(-np.asarray(loss(-m)))
             for unit, loss in (("nats", losses.logistic), ("bits", losses.logistic_base2))}  # fmt: skip
    report.check("nats: exp(-V5) of the two labels sums to 1", np.max(abs(total["nats"] - 1)), 1e-15)
    report.check("B8: bits: least sum of exp(-V4) less 2/e", np.min(total["bits"]) - 2 / np.e, 1e-15)
    report.check_equal("nats are a likelihood, bits are one",
                       f"{losses.logistic.normalized}, {losses.logistic_base2.normalized}", "True, False")  # fmt: skip


def without_prior(report: Report, x: np.ndarray, y: np.ndarray) -> None:
    """Maximum likelihood does not care about the unit."""
    nats = lg.fit(lg.map_objective(lg.likelihood(models.logistic_regression())), None, x, y)
    bits = lg.fit(lg.map_objective(lg.pseudo_likelihood(losses.logistic_base2, score)), zeros(x), x, y)
    report.check_equal("iris, no prior: status in nats and in bits", f"{nats.status.name}, {bits.status.name}",
                       "CONVERGED, CONVERGED")  # fmt: skip
    report.check("iris, no prior: coefficients in bits against nats, relative",
                 relative_error(bits.params["coef"], nats.params["coef"]), 1e-8)  # fmt: skip
    report.check("iris, no prior: least loss in bits times log 2 over that in nats, less 1",
                 float(bits.value) * LN2 / float(nats.value) - 1, 1e-14)  # fmt: skip
    reference = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-13).fit(x, y)
    report.check("iris, no prior: coefficients against sklearn, relative",
                 relative_error(nats.params["coef"], reference.coef_[0]), 1e-8)  # fmt: skip
    naive = np.sqrt(np.diag(np.linalg.inv(np.asarray(hessian_at(bits.params, x, y, 1 / LN2)))))
    right = np.sqrt(np.diag(np.linalg.inv(np.asarray(hessian_at(nats.params, x, y, 1.0)))))
    report.check("iris: standard errors from the Hessian in bits over the right ones, less sqrt(log 2)",
                 np.max(abs(naive / right - np.sqrt(LN2))), 1e-6)  # fmt: skip


def hessian_at(params: Any, x: np.ndarray, y: np.ndarray, unit: float) -> jax.Array:
    """Hessian of ``unit`` times the negative log-likelihood, intercept last."""
    rows = jnp.concatenate([jnp.asarray(x), jnp.ones((len(y), 1))], axis=1)
    packed = jnp.concatenate([params["coef"], params["intercept"][None]])
    signs = 2.0 * jnp.asarray(y) - 1
    return jax.hessian(lambda b: unit * jnp.sum(losses.logistic(signs * (rows @ b))))(packed)


def with_prior(report: Report, x: np.ndarray, y: np.ndarray, points: int) -> dict[str, Any]:
    """Maximum a posteriori does, and how much."""
    prior = {"coef": dist.Normal(0.0, TAU), "intercept": dist.Flat()}
    wide = {"coef": dist.Normal(0.0, TAU / np.sqrt(LN2)), "intercept": dist.Flat()}
    likelihood = lg.likelihood(models.logistic_regression())
    tempered = lg.pseudo_likelihood(losses.logistic_base2, score)
    nats = lg.fit(lg.map_objective(likelihood, prior), None, x, y)
    bits = lg.fit(lg.map_objective(tempered, prior), zeros(x), x, y)
    repaired = lg.fit(lg.map_objective(likelihood, wide), None, x, y)
    a, b, c = (np.asarray(fit.params["coef"]) for fit in (nats, bits, repaired))
    moved = float(np.linalg.norm(b - a) / np.linalg.norm(a))
    report.check_at_least(
        f"B7: breast_cancer, N(0, {TAU:g}^2): bits move the coefficients by, relative norm", moved, 0.05
    )
    report.check("B8: bits with tau^2 are nats with tau^2 / log 2: coefficients, relative", relative_error(b, c), 1e-8)
    for name, coef, strength in (("nats, C = tau^2", a, TAU**2), ("bits, C = tau^2 / log 2", b, TAU**2 / LN2)):
        ref = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x, y)
        report.check(f"{name}: against sklearn, relative", relative_error(coef, ref.coef_[0]), 1e-8)

    half = float(jnp.exp(-losses.logistic_base2(0.0)))
    report.check("in bits, a label of an undecided case has exp(-V4) = 1/e and not 1/2", half - 1 / np.e, 1e-15)

    powers = np.unique(np.concatenate([np.geomspace(0.05, 20, points), [1.0, 1 / LN2]]))

    def mode(power: jax.Array) -> lg.Solution:
        cold = lg.pseudo_likelihood(losses.Logistic(1 / power), score)
        return lg.solve(lg.map_objective(cold, prior), zeros(x), x, y)

    path = jax.lax.map(mode, jnp.asarray(powers))
    report.check_equal("temperature dial: modes that converged", int(np.sum(path.status == lg.Status.CONVERGED)),
                       len(powers))  # fmt: skip
    coef = np.asarray(path.params["coef"])
    at = {name: int(np.argmin(abs(powers - value))) for name, value in (("nats", 1.0), ("bits", 1 / LN2))}
    report.check("temperature dial at power 1: the MAP estimate, relative", relative_error(coef[at["nats"]], a), 1e-8)
    report.check("temperature dial at power 1 / log 2: bits, relative", relative_error(coef[at["bits"]], b), 1e-8)
    norms = np.linalg.norm(coef, axis=1)
    report.check_at_least("temperature dial: least growth of |w| from one power to the next", np.min(np.diff(norms)), 0)
    spreads = []
    for k, power in enumerate(powers):
        params = {"coef": coef[k], "intercept": path.params["intercept"][k]}
        information = np.array(hessian_at(params, x, y, float(power)))
        information[:-1, :-1] += np.eye(x.shape[1]) / TAU**2
        spreads.append(np.sqrt(np.diag(np.linalg.inv(information)))[:-1])
    return {"powers": powers, "coef": coef, "spread": np.array(spreads), "at": at, "a": a, "b": b, "c": c,
            "moved": moved}  # fmt: skip


def draw_ratio(ax: Axes) -> None:
    """The two losses and their ratio."""
    m = np.linspace(-3, 3, 601)
    ax.plot(m, np.asarray(losses.logistic_base2(m)), color=TEAL, label=r"$V_4=\log_2(1+e^{-m})$, bits")
    ax.plot(m, np.asarray(losses.logistic(m)), color=BLUE, label=r"$V_5=\log(1+e^{-m})$, nats")
    ax.plot(m, np.asarray(losses.logistic_base2(m) / losses.logistic(m)), color=GOLD, ls="--",
            label=r"$V_4/V_5=1/\log 2$")  # fmt: skip
    ax.set(xlabel="margin $m$", xlim=(-3, 3), ylim=(0, 4.6), title="Loss 4 is loss 5 in another unit")
    ax.legend(loc="upper right")


def draw_total(ax: Axes) -> None:
    """What the probabilities of the two labels sum to."""
    m = np.linspace(-6, 6, 601)
    for loss, color, name in (
        (losses.logistic, BLUE, "nats: a likelihood"),
        (losses.logistic_base2, TEAL, "bits: not one"),
    ):
        ax.plot(m, np.asarray(jnp.exp(-loss(m)) + jnp.exp(-loss(-m))), color=color, label=name)
    ax.plot(0, 2 / np.e, "o", color=RED, ms=6)
    ax.annotate("$2/e=0.736$", (0, 2 / np.e), xytext=(0, -20), textcoords="offset points", size=11, ha="center")
    ax.set(xlabel="score $f$", xlim=(-6, 6), ylim=(0.6, 1.14), title=r"$e^{-V(f)}+e^{-V(-f)}$: do they sum to 1?")
    ax.legend(loc="upper left", ncols=2)


def draw_coefficients(ax: Axes, found: dict[str, Any]) -> None:
    """Coefficients in bits over those in nats."""
    a, b, c = found["a"], found["b"], found["c"]
    limit = 1.06 * np.max(abs(b))
    ax.axhline(0, color=GRAY, lw=1)
    ax.vlines(a, 0, b - a, color=TEAL, lw=1, alpha=0.6)
    ax.plot(
        a, b - a, "o", color=TEAL, ms=6, label=rf"the same prior $N(0,\tau^2)$: off by {found['moved']:.0%} of $|w|$"
    )
    ax.plot(c, b - c, "x", color=RED, ms=6, mew=1.6, label=r"nats with the prior $N(0,\tau^2/\log 2)$: equal")
    ax.set(xlabel="coefficient in nats", ylabel="coefficient in bits, less nats", xlim=(-limit, limit),
           ylim=(-0.23, 0.33), title="Breast cancer, 30 features: a prior sees the unit")  # fmt: skip
    ax.legend(loc="upper left")


def draw_dial(ax: Axes, found: dict[str, Any]) -> None:
    """Modes and their spread along the temperature."""
    powers, coef, spread, at = (found[k] for k in ("powers", "coef", "spread", "at"))
    ax.plot(powers, coef, color=GRAY, lw=0.9, alpha=0.7)
    for j, color in ((int(np.argmin(found["a"])), RED), (int(np.argmax(found["a"])), GOLD)):
        ax.plot(powers, coef[:, j], color=color, lw=2.4)
        ax.fill_between(powers, coef[:, j] - spread[:, j], coef[:, j] + spread[:, j], color=color, alpha=0.18, lw=0)
    for name, color in (("nats", BLUE), ("bits", TEAL)):
        ax.axvline(powers[at[name]], color=color, ls="--", lw=1.4)
    top = ax.get_ylim()[1]
    ax.text(0.94, top, "nats: Bayes", color=BLUE, ha="right", va="top", size=10)
    ax.text(1.54, top, r"bits: power $1/\log 2$", color=TEAL, ha="left", va="top", size=10)
    ax.set(xscale="log", xlim=(powers[0], powers[-1]), xlabel="power of the likelihood (inverse temperature)",
           ylabel="coefficient",
           title="The temperature dial: coefficients, two with spread")  # fmt: skip
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    note(ax, "hot: the prior rules", (0.03, 0.04), color=INK)
    note(ax, "cold: the data are counted too often", (0.97, 0.04), color=INK)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        pointwise(report)
        iris = load_iris()
        pair = iris.target > 0
        without_prior(report, standardised(iris.data[pair]), iris.target[pair] - 1)
        cancer = load_breast_cancer()
        found = with_prior(report, standardised(cancer.data), cancer.target, 9 if fast else 41)
        fig = figure(
            "Bits, nats and the prior",
            r"$V_4=V_5/\log 2$:   $\mathrm{argmin}\,\sum V_4=\mathrm{argmin}\,\sum V_5$,   but   "
            r"$\sum V_4+\frac{|w|^2}{2\tau^2}\;\propto\;\sum V_5+\frac{|w|^2}{2\,\tau^2/\log 2}$",
        )
        cells = fig.add_gridspec(2, 2, width_ratios=[1, 1.25])
        draw_ratio(fig.add_subplot(cells[0, 0]))
        draw_total(fig.add_subplot(cells[1, 0]))
        draw_coefficients(fig.add_subplot(cells[0, 1]), found)
        draw_dial(fig.add_subplot(cells[1, 1]), found)
        report.save(fig)


if __name__ == "__main__":
    main()
