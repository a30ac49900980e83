"""Loss, likelihood, prior and geometry are one diagram that commutes, and `explain` walks it backwards.

Claim:
    Whatever is minimized here is a loss plus a penalty plus a constant. Forwards: minus the log-likelihood is the loss,
    minus the log-prior the penalty, and the loss of an exponential family is a Bregman divergence, which is KL.
    Backwards: from the declared parts, or from nothing but values at some hundred points, `explain` finds the name of
    the textbook problem, every scale to some twelve digits, and the constant of normalization; what the dictionary
    does not hold it refuses, with a residual. Equal values mean equal minimizers and equal paths; they do not mean the
    same after a package has standardized the columns or penalized the intercept.

Source:
    Chapter 4 "Probability and geometry of losses", summary 4.1.7; "Loss functions", section 3.

Errata:
    A12, A13: lambda is read off as s^2/tau^2 and s^2/b, never as 1/(2 sigma^2) or 1/b. A17: values are *affine* in
    the squared error. B8: a loss in bits is found to be a tempered likelihood.

Data:
    diabetes, breast_cancer and iris (scikit-learn); heart (statsmodels).

Run time:
    about 60 s.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

import lossgeo as lg
from experiments.objectives import COLUMNS, REFUSED, TAU, Row, S, declared, rows
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, relative_error
from lossgeo import distributions as dist
from lossgeo import geometry as geo


def explain_all(report: Report, table: list[Row]) -> list[tuple[Row, lg.dictionary.Explanation]]:
    """Cards of all objectives: names, scales, residuals; refusals where they belong."""
    cards = []
    for row in table:
        card = lg.explain(row.objective, row.init, *row.data)
        cards.append((row, card))
        report.check_equal(f"explain, {row.label}: name", card.name, row.name)
        if row.name == REFUSED:
            telling = card.residual if "negative" not in card.reasons[0] else math.inf
            report.check_at_least(f"explain, {row.label}: residual (or a sign that no prior has)", telling, 1e-6)
            continue
        report.check(f"explain, {row.label}: residual at held-out probes", card.residual, 1e-11)
        error = max((abs(card.scales[k] / v - 1) for k, v in row.scales.items()), default=0.0)
        report.check(f"explain, {row.label}: largest relative error of a scale", error, 1e-9)
    return cards


FAMILIES: dict[str, tuple[Callable[[Any], Any], Any, float, str]] = {
    "Normal": (lambda mu: dist.Normal(mu, 1.3), geo.gaussian(1.0), 1.69, "half RSS"),
    "Bernoulli": (lambda mu: dist.Bernoulli(mu), geo.bernoulli, 1.0, "logistic"),
    "Poisson": (lambda mu: dist.Poisson(mu), geo.poisson, 1.0, "Poisson"),
    "gamma": (lambda mu: dist.Gamma(5.0, 5.0 / mu), geo.exponential, 0.2, "gamma"),
}
"""Mean to distribution, potential of unit dispersion, dispersion."""


def kl(name: str, p: jax.Array, q: jax.Array) -> jax.Array:
    """Closed-form KL between members of a family with means p and q."""
    if name == "Normal":
        return geo.kl_normal(p, jnp.full_like(p, 1.3), q, jnp.full_like(q, 1.3))
    if name == "Bernoulli":
        return geo.kl_bernoulli(p, q)
    if name == "Poisson":
        return geo.kl_poisson(p, q)
    shape = jnp.full_like(p, 5.0)
    return geo.kl_gamma(shape, shape / p, shape, shape / q)


def mass(name: str, law: Any) -> float:
    """Total probability, by summation or by the trapezoidal rule in a variable where it converges geometrically."""
    if name in ("Bernoulli", "Poisson"):
        return float(jnp.sum(jnp.exp(law.log_prob(jnp.arange(2.0 if name == "Bernoulli" else 200.0)))))
    t = jnp.linspace(-12.0, 12.0, 4001)
    y, jacobian = (t, 1.0) if name == "Normal" else (jnp.exp(t), jnp.exp(t))
    return float(jnp.sum(jnp.exp(law.log_prob(y)) * jacobian) * (t[1] - t[0]))


def arrows(report: Report, rng: np.random.Generator) -> dict[str, float]:
    """The largest error of each arrow of the diagram, over four families or two priors."""
    errors = dict.fromkeys(("loss", "normalize", "divergence", "kl", "penalty", "prior"), 0.0)
    for name, (law, potential, dispersion, _) in FAMILIES.items():
        low, high = (0.1, 0.9) if name == "Bernoulli" else (0.3, 4.0)
        mu, other = jnp.asarray(rng.uniform(low, high, 50)), jnp.asarray(rng.uniform(low, high, 50))
        y = mu if name != "Bernoulli" else jnp.asarray(rng.integers(0, 2, 50), float)
        y = jnp.round(y) if name == "Poisson" else y
        nll, theta = -law(other).log_prob(y), potential.inverse(other)
        # loss = phi^-1 (A(theta) - theta y), the part of -log p that the parameters move
        loss = (potential.value(theta) - theta * y) / dispersion
        moved = nll - (-law(mu).log_prob(y))
        direct = loss - (potential.value(potential.inverse(mu)) - potential.inverse(mu) * y) / dispersion
        errors["loss"] = max(errors["loss"], relative_error(moved, direct))
        errors["normalize"] = max(errors["normalize"], *(abs(mass(name, law(m)) - 1) for m in (0.3, 0.8)))
        # the same loss less its value at a perfect fit is half the deviance, a Bregman divergence of A*
        deviance = geo.unit_deviance(potential, mu, other) / (2 * dispersion)
        fenchel = geo.fenchel_young_loss(potential, theta, mu) / dispersion
        errors["divergence"] = max(errors["divergence"], relative_error(deviance, fenchel))
        errors["kl"] = max(errors["kl"], relative_error(kl(name, mu, other), deviance))
    w = jnp.asarray(rng.normal(size=200) * 3)
    penalties = lg.dictionary.penalties
    pairs = ((dist.Normal(0.0, 0.6), penalties.L2(1 / 0.36)), (dist.Laplace(0.0, 0.3), penalties.L1(1 / 0.3)))
    for prior, penalty in pairs:
        values = jnp.asarray([float(jnp.sum(penalty(w[k : k + 1]))) for k in range(20)])
        moved = -prior.log_prob(w[:20]) + prior.log_prob(jnp.zeros(()))
        errors["penalty"] = max(errors["penalty"], relative_error(moved, values))
        back = lg.dictionary.prior_of(penalty).distribution
        errors["prior"] = max(errors["prior"], relative_error(back.log_prob(w), prior.log_prob(w)))
    texts = {
        "loss": "likelihood -> loss: -log p moves by what (A(theta) - theta y)/phi moves by",
        "normalize": "loss -> likelihood: exp(-loss) sums to 1 over targets",
        "divergence": "loss -> divergence: the loss less that of a perfect fit is half the deviance",
        "kl": "divergence -> likelihood: it is the KL of the laws with those means",
        "penalty": "prior -> penalty: -log prior moves by what the penalty moves by",
        "prior": "penalty -> prior: the density that a penalty is minus the logarithm of",
    }
    for key, text in texts.items():
        report.check(f"{text}, relative", errors[key], 1e-11)
    return errors


def solved(report: Report, table: list[Row], fast: bool) -> dict[str, float]:
    """The objective and the textbook problem solved, and the packages' solutions judged by the objective."""
    errors = {"argmin": 0.0, "path": 0.0, "package": 0.0}
    wanted = {"Normal + Normal": (Ridge, "alpha", "Ridge(alpha)", {"tol": 1e-12}),
              "Bernoulli + Normal": (LogisticRegression, "C", "LogisticRegression(C), L2",
                                     {"solver": "newton-cholesky", "tol": 1e-12}),
              "Poisson + Normal": (PoissonRegressor, "alpha", "PoissonRegressor(alpha)",
                                   {"solver": "newton-cholesky", "tol": 1e-12})}  # fmt: skip
    poisson = next(r for r in table if r.label == "Poisson + Laplace")
    ridge = Row("Poisson + Normal", declared(lambda e: dist.Poisson(jnp.exp(e)), dist.Normal(0.0, 0.5)), poisson.init,
                poisson.data, "ridge-penalized Poisson regression", {})  # fmt: skip
    chosen = [r for r in [*table, ridge] if r.label in wanted]
    for row in chosen[:2] if fast else chosen:
        card = lg.explain(row.objective, row.init, *row.data, solve=True)
        levels = {level.name: level for level in card.levels}
        errors["argmin"] = max(errors["argmin"], levels["same minimizer"].error)
        errors["path"] = max(errors["path"], levels["same path"].error)
        estimator, keyword, call, options = wanted[row.label]
        theirs = estimator(**{keyword: card.conventions[f"sklearn.linear_model.{call}"]}, **options).fit(*row.data)
        ours = lg.fit(row.objective, row.init, *row.data)
        error = relative_error(np.ravel(theirs.coef_), ours.params["coef"])
        errors["package"] = max(errors["package"], error)
        report.check(f"{row.label}: minimizer of the textbook problem, slope of the objective there",
                     levels["same minimizer"].error, 1e-8)  # fmt: skip
        report.check(f"{row.label}: the same at 1/4 and 4 times the penalty", levels["same path"].error, 1e-8)
        report.check(f"{row.label}: coefficients of scikit-learn with that {keyword}, relative", error, 1e-6)
        report.check_at_least(f"{row.label}: but with a penalized intercept the coefficients move by",
                              levels["same with a penalized intercept"].error, 1e-5)  # fmt: skip
    return errors


def draw_diagram(ax: Axes, errors: dict[str, float], recovered: float) -> None:
    """Three languages, and the arrows between them with what each was measured to be off by."""
    ax.set(xlim=(-0.45, 3.35), ylim=(-0.42, 2.62))
    ax.axis("off")
    left, middle, right = 0.0, 1.45, 2.9
    columns = ((left, "probability", BLUE), (middle, "optimization", TEAL), (right, "geometry and practice", GOLD))
    for x, title, color in columns:
        ax.text(x, 2.56, title, ha="center", size=13, weight="bold", color=color)
    nodes = {
        (left, 2): ("likelihood", r"$p(y\mid\theta)$"),
        (middle, 2): ("loss", r"$\frac{1}{\varphi}\sum A(\theta_i)-\theta_i y_i$"),
        (right, 2): ("divergence", r"$D_{A^*}(y,\mu)$"),
        (left, 1): ("posterior", r"$p(y\mid\theta)\,\pi(\theta)/Z$"),
        (middle, 1): ("objective", r"$J=L+R+c$"),
        (right, 1): ("minimizer", r"$\nabla J(\hat\theta)=0$"),
        (left, 0): ("prior", r"$\pi(\theta)$"),
        (middle, 0): ("penalty", r"$\frac{|w|^2}{2\tau^2},\ \frac{|w|_1}{b}$"),
        (right, 0): ("package call", r"$\lambda=\frac{s^2}{\tau^2},\ \frac{s^2}{b},\ C=\tau^2$"),
    }
    colors = {x: color for x, _, color in columns}
    for (x, y), (word, formula) in nodes.items():
        box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colors[x], "linewidth": 1.8}
        ax.text(x, y, f"{word}\n{formula}", ha="center", va="center", size=11.5, bbox=box, zorder=3)

    def arrow(start: Any, end: Any, text: str = "", at: Any = (0, 0), **style: Any) -> None:
        options = {"arrowstyle": "-|>", "color": INK, "lw": 1.4, "shrinkA": 0, "shrinkB": 0, **style}
        ax.annotate("", end, start, arrowprops=options, zorder=2)
        ax.text(*at, text, ha="center", va="center", size=9.5, color=options["color"], zorder=4)

    def size(key: str) -> str:
        return f"{errors[key]:.0e}" if errors[key] else "exact"

    arrow((0.37, 2.05), (0.98, 2.05), rf"$-\log$   {size('loss')}", (0.675, 2.14))
    arrow((0.98, 1.95), (0.37, 1.95), f"sums to 1   {size('normalize')}", (0.675, 1.86))
    arrow((1.93, 2.0), (2.52, 2.0), "less perfect fit", (2.225, 2.09))
    ax.text(2.225, 1.91, size("divergence"), ha="center", va="center", size=9.5)
    arrow((2.9, 2.24), (0.0, 2.24), connectionstyle="arc3,rad=0.06")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    ax.text(1.45, 2.36, f"is the KL of the two laws   {size('kl')}", ha="center", va="center", size=9.5, bbox=box)
    arrow((0.27, 0.05), (1.1, 0.05), rf"$-\log$   {size('penalty')}", (0.685, 0.14))
    arrow((1.1, -0.05), (0.27, -0.05), f"integrates to 1   {size('prior')}", (0.685, -0.14))
    for x, word in ((left, "times"), (middle, "plus")):
        arrow((x, 1.74), (x, 1.26), word, (x + 0.15, 1.52), color=GRAY)
        arrow((x, 0.27), (x, 0.74), word, (x + 0.15, 0.48), color=GRAY)
    arrow((0.44, 1.0), (1.05, 1.0), r"$-\log$", (0.745, 1.08))
    arrow((1.85, 1.0), (2.5, 1.0), "solve", (2.175, 1.09))
    ax.text(2.175, 0.91, size("argmin"), ha="center", va="center", size=9.5)
    arrow((2.9, 0.28), (2.9, 0.74), "scikit-learn\n" + size("package"), (3.12, 0.5))
    red = {"color": RED, "lw": 2.4}
    arrow((1.2, 1.26), (0.33, 1.73), **red)
    arrow((1.2, 0.74), (0.28, 0.25), **red)
    arrow((1.75, 0.74), (2.42, 0.24), **red)
    for x, y, text in ((0.77, 1.5, "explain"), (0.74, 0.5, "explain"), (2.07, 0.5, f"explain\nscales {recovered:.0e}")):
        ax.text(x, y, text, size=10.5, weight="bold", color=RED, ha="center", va="center", bbox=box, zorder=4)


FORMULAS = {
    "2.5 log(1 + r^2/(4 s^2))": r"$2.5\,\log(1 + r^2/4s^2)$",
    "2 |w|^2": "$2|w|^2$",
    "log(1 + w^2)": r"$\log(1 + w^2)$",
    "|w|/0.3": "$|w|/0.3$",
    "RSS - |w|^2": r"RSS $-\ |w|^2$",
    "+ |w|^2 but w_0": "+ $|w|^2$ but $w_0$",
}
"""Labels in mathematical type."""


def typeset(label: str) -> str:
    """A label with its formulas in mathematical type."""
    for plain, formula in FORMULAS.items():
        label = label.replace(plain, formula)
    return label


def draw_residuals(ax: Axes, cards: list[tuple[Row, Any]]) -> None:
    """Residuals of all objectives; what is refused stands on the other side of the line."""
    names = {"structural": TEAL, "numeric": BLUE}
    for place, (_, card) in enumerate(cards):
        color = names[card.route] if card.recognized else RED
        value = max(card.residual, 1e-16)
        ax.plot([1e-16, value], [place, place], color=color, lw=1, alpha=0.4)
        ax.plot(value, place, "o" if card.recognized else "X", color=color, ms=7)
        # A penalty of the wrong sign fits to the last digit and has no law.
        refusal = "refused" if card.residual > 1e-6 else "refused: a penalty of the wrong sign"
        words = card.name.split(" (")[0] if card.recognized else refusal
        ax.text(value * 2.2, place, words, size=8.3, va="center", color=color if not card.recognized else INK)
    ax.axvspan(1e-16, 1e-9, color=TEAL, alpha=0.06, lw=0)
    ax.axvspan(1e-6, 1e2, color=RED, alpha=0.06, lw=0)
    ax.set(xscale="log", xlim=(1e-16, 3e1), ylim=(len(cards) - 0.4, -0.6),
           xlabel="residual at held-out probes, relative", title="What explain answers")  # fmt: skip
    ax.set_yticks(range(len(cards)), [typeset(row.label) for row, _ in cards], size=8.8)
    ax.grid(axis="y", alpha=0)
    legend = (("read from declared parts", TEAL, "o"), ("told by values alone", BLUE, "o"), ("refused", RED, "X"))
    for text, color, marker in legend:
        ax.plot([], [], marker, color=color, ms=7, label=text)
    ax.legend(loc="upper right", bbox_to_anchor=(1.0, 0.62))


def draw_card(fig: Figure, ax: Axes, card: Any) -> None:
    """The card of one objective of which only values were known."""
    ax.axis("off")
    keep = ("MAP", "certificate", "loss", "noise", "regulariser  coef", "scale", "constant", "lambda       sklearn",
            "lambda       glmnet", "note         a n")  # fmt: skip
    lines = [line if len(line) < 88 else line[:85] + "..." for line in str(card).splitlines() if line.startswith(keep)]
    ax.text(0.01, 0.98, "\n".join(lines), family="monospace", size=8.6, va="top", transform=ax.transAxes,
            bbox={"boxstyle": "round,pad=0.7", "facecolor": "#f6f8fb", "edgecolor": GRAY})  # fmt: skip
    ax.set_title("The card of a density in numbers only: diabetes, 4 columns")


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        table = rows(fast)
        cards = explain_all(report, table)
        errors = arrows(report, rng) | solved(report, table, fast)
        recovered = max(abs(card.scales[k] / v - 1) for row, card in cards for k, v in row.scales.items())
        ridge = table[0]

        def density(params: Any, x: Any, y: Any) -> Any:
            return ridge.objective(params, x, y)

        card = lg.explain(density, ridge.init, *ridge.data)
        expected = 75 * math.log(2 * math.pi * S**2) + COLUMNS / 2 * math.log(2 * math.pi * TAU**2)
        report.check("a density in numbers only: its constant, against n/2 log 2 pi s^2 + p/2 log 2 pi tau^2",
                     card.constants["constant of the objective"] - expected, 1e-8)  # fmt: skip
        ratio = card.conventions["sklearn.linear_model.Ridge(alpha)"]
        report.check("A13: lambda is s^2/tau^2, relative", ratio / (S / TAU) ** 2 - 1, 1e-9)
        fig = figure(
            "One diagram, and the way back",
            r"$-\log p(y\mid\theta)-\log\pi(\theta)=L(\theta)+R(\theta)+c$,   numbers on arrows: largest relative "
            "error measured",
            size=(16.0, 9.0),
        )
        cells = fig.add_gridspec(2, 2, width_ratios=[1.3, 1], height_ratios=[1.9, 1])
        draw_diagram(fig.add_subplot(cells[0, 0]), errors, recovered)
        draw_card(fig, fig.add_subplot(cells[1, 0]), card)
        draw_residuals(fig.add_subplot(cells[:, 1]), cards)
        report.save(fig)


if __name__ == "__main__":
    main()
