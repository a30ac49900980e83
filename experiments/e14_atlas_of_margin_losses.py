r"""An atlas of margin losses: everything follows from the loss as a function of the margin.

Claim:
    A margin loss phi alone determines the score it asks for, the probability that a score means, its entropy
    H(eta) = min_f C_eta(f), the weight -H'' on misclassification costs, and the bound psi on the excess error rate. For
    each of twelve losses all closed forms agree with brute force. Only the logistic loss in nats is a likelihood;
    hinge, ramp and 0-1 forget the probability; a bounded loss is never convex.

Source:
    "Classification losses", losses 1-6 and the figure of surrogates.

Errata:
    A23: "all surrogates give penalty 1 for y = f(x = 0)" means f(x) = 0, and holds for the square, the hinge, the
    logistic loss in bits and the exponential, but neither for cross-entropy (log 2) nor for the smoothed hinge
    (alpha / (alpha + 1)).
    B8: loss 4 is loss 5 over log 2. In bits, exp(-phi(m)) + exp(-phi(-m)) is not 1: a tempered likelihood, which is
    not a likelihood.

Data:
    none: margins, probabilities and scores on grids.

Run time:
    about 20 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report import BLUE, CYCLE, GOLD, GRAY, INK, RED, TEAL, Report, figure
from lossgeo import losses

# Name, loss, value at margin 0 that theory asks for.
ATLAS: tuple[tuple[str, losses.MarginLoss, float], ...] = (
    ("0-1", losses.zero_one, 1.0),
    ("square", losses.square, 1.0),
    ("hinge", losses.hinge, 1.0),
    ("smoothed hinge", losses.smoothed_hinge, 0.5),
    ("logistic, bits", losses.logistic_base2, 1.0),
    ("cross-entropy", losses.logistic, float(np.log(2))),
    ("exponential", losses.exponential, 1.0),
    ("squared hinge", losses.squared_hinge, 1.0),
    ("modified Huber", losses.modified_huber, 1.0),
    ("Savage", losses.savage, 0.25),
    ("tangent", losses.tangent, 1.0),
    ("ramp", losses.ramp, 1.0),
)
COLORS = {"0-1": INK, "square": GRAY, "hinge": RED, "smoothed hinge": GOLD, "logistic, bits": TEAL,
          "cross-entropy": BLUE, "exponential": CYCLE[4], "squared hinge": CYCLE[5], "modified Huber": CYCLE[6],
          "Savage": CYCLE[7], "tangent": CYCLE[8], "ramp": CYCLE[9]}  # fmt: skip
AT_ZERO = {"cross-entropy": r": $\varphi(0)=\log 2$", "smoothed hinge": r": $\varphi(0)=1/2$",
           "Savage": r": $\varphi(0)=1/4$"}  # fmt: skip
BOUNDED = ("0-1", "Savage", "tangent", "ramp")
FORGETFUL = ("0-1", "hinge", "ramp")


def brute_bayes_risk(loss: losses.MarginLoss, eta: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Least conditional risk over a grid of scores, with nothing but values of the loss."""
    ahead, behind = np.asarray(loss(scores)), np.asarray(loss(-scores))
    return np.min(eta[:, None] * ahead + (1 - eta[:, None]) * behind, axis=1)


def certificates(report: Report) -> dict[str, losses.MarginLoss]:
    """Closed forms against the forms derived from the value, and the value at 0."""
    found = {name: losses.verify(loss) for name, loss, _ in ATLAS}
    for name, certificate in found.items():
        report.check_equal(f"{name}: closed forms and flags that miss their derived ones, of {len(certificate.errors)}",
                           len(certificate.failures), 0)  # fmt: skip
    places = max(max(certificate.errors.values()) for certificate in found.values())
    report.check("all losses: largest deviation of a closed form (in places of a minimum)", places, 4e-6)
    values = max(c.errors[k] for c in found.values() for k in ("bayes_risk", "psi") if k in c.errors)
    report.check("all losses: largest deviation of a Bayes risk or of psi", values, 2e-13)
    report.check("A23: phi(0) of all twelve less its formula",
                 max(abs(float(loss(0.0)) - truth) for _, loss, truth in ATLAS), 1e-15)  # fmt: skip
    for alpha in (0.5, 2.0, 8.0):
        report.check(f"A23: smoothed hinge, alpha = {alpha:g}: phi(0) less alpha / (alpha + 1)",
                     losses.SmoothedHinge(alpha)(0.0) - alpha / (alpha + 1), 1e-15)  # fmt: skip
    return {name: loss for name, loss, _ in ATLAS}


def entropies(report: Report, gallery: dict[str, losses.MarginLoss], num: int) -> None:
    """Bayes risk, calibration function and Savage's identity, without the library's own minimizer."""
    eta = np.linspace(0.02, 0.98, 33)
    scores = np.linspace(-6, 6, num)
    worst, least = 0.0, np.inf
    for loss in gallery.values():
        gap = brute_bayes_risk(loss, eta, scores) - np.asarray(loss.bayes_risk(eta))
        worst, least = max(worst, float(np.max(gap))), min(least, float(np.min(gap)))
    spacing = 12 / (num - 1)
    # All kinks lie on the grid; a smooth minimum is missed by at most spacing^2 / 8 times the curvature, which is <= 8.
    report.check(f"H(eta) above by the least of {num} scores, twelve losses", worst, spacing**2)
    report.check_at_least("and never below it", least, -1e-14)
    theta = np.linspace(0, 1, 41)
    for name in ("square", "hinge", "smoothed hinge", "logistic, bits", "cross-entropy", "exponential",
                 "squared hinge", "modified Huber"):  # fmt: skip
        loss = gallery[name]
        gap = np.asarray(loss.psi(theta)) - (float(loss(0.0)) - np.asarray(loss.bayes_risk((1 + theta) / 2)))
        report.check(f"{name} (convex): psi(theta) - [phi(0) - H((1 + theta)/2)]",
                     np.max(abs(gap)), 4e-15)  # fmt: skip
    inner = jnp.linspace(0.02, 0.98, 64)
    for name, loss in gallery.items():
        if name in FORGETFUL:
            continue
        slope = jax.vmap(jax.grad(loss.bayes_risk))(inner)
        savage = loss.bayes_risk(inner) + (1 - inner) * slope
        partial_loss = loss(loss.minimizer(inner))
        kink = jnp.abs(inner - 0.5) > 1e-3
        error = jnp.where(kink, jnp.abs(partial_loss - savage), 0.0)
        report.check(f"{name}: Savage's identity phi(f*(q)) = H(q) + (1 - q) H'(q)", np.max(error), 1e-13)


def verdicts(report: Report, gallery: dict[str, losses.MarginLoss]) -> None:
    """Who is a likelihood, who keeps the probability, who is convex."""
    likelihoods = [name for name, loss in gallery.items() if loss.normalized]
    report.check_equal("likelihoods: exp(-phi(m)) + exp(-phi(-m)) = 1", ", ".join(likelihoods), "cross-entropy")
    for flag, exceptions in (("proper_composite", FORGETFUL), ("convex", BOUNDED), ("calibrated", ())):
        names = [name for name, loss in gallery.items() if not getattr(loss, flag)]
        report.check_equal(f"not {flag.replace('_', ' ')}", ", ".join(names) or "none", ", ".join(exceptions) or "none")
    m = np.linspace(-30, 30, 6001)
    total = np.asarray(jnp.exp(-gallery["logistic, bits"](m)) + jnp.exp(-gallery["logistic, bits"](-m)))
    report.check("B8: in bits, least of exp(-phi(m)) + exp(-phi(-m)), less 2/e", np.min(total) - 2 / np.e, 1e-12)
    nats = np.asarray(gallery["cross-entropy"](m))
    report.check("B8: loss 4 times log 2 less loss 5",
                 np.max(abs(np.asarray(gallery["logistic, bits"](m)) * np.log(2) - nats)), 1e-14)  # fmt: skip
    f = np.linspace(-1, 1, 201)
    for alpha in (0.5, 1.0, 3.0):
        loss = losses.SmoothedHinge(alpha)
        ahead = 1 / (2 - np.abs(f) ** alpha)
        link = np.where(f >= 0, ahead, 1 - ahead)
        report.check(f"smoothed hinge, alpha = {alpha:g}: probability of a score less 1/(2 - f^alpha)",
                     np.max(abs(np.asarray(losses.MarginLoss.inverse_link(loss, f)) - link)), 1e-14)  # fmt: skip
    wrong = np.linspace(-30, 0, 3001)
    below = [name for name, loss in gallery.items() if np.min(np.asarray(loss(wrong))) < 1 - 1e-14]
    report.check_equal("no upper bounds of the 0-1 loss, as phi(0) < 1", ", ".join(below),
                       "smoothed hinge, cross-entropy, Savage")  # fmt: skip


def draw_surrogates(ax: Axes, gallery: dict[str, losses.MarginLoss]) -> None:
    """The known figure of surrogates, with the values at 0 that are there."""
    m = np.linspace(-2, 3, 1001)
    for name in ("square", "hinge", "smoothed hinge", "logistic, bits", "cross-entropy", "exponential", "Savage",
                 "tangent"):  # fmt: skip
        ax.plot(m, np.asarray(gallery[name](m)), color=COLORS[name], label=name + AT_ZERO.get(name, ""))
    ax.plot([-2, 0], [1, 1], color=INK, lw=2.8)
    ax.plot([0, 3], [0, 0], color=INK, lw=2.8, label="0-1")
    for name, value in (("", 1.0), ("cross-entropy", np.log(2)), ("smoothed hinge", 0.5), ("Savage", 0.25)):
        ax.plot(0, value, "o", ms=6, color=COLORS.get(name, INK), mec="white", zorder=6)
    ax.set(xlim=(-2, 3), ylim=(-0.1, 4.7), xlabel=r"margin $m=(2y-1)f$", ylabel=r"$\varphi(m)$",
           title="Surrogates: at $m=0$ not all are 1")  # fmt: skip
    ax.legend(loc="upper right", fontsize=9, ncols=2)


def draw_links(ax: Axes, gallery: dict[str, losses.MarginLoss]) -> None:
    """Probabilities of scores."""
    f = np.linspace(-2.2, 2.2, 801)
    for name in ("square", "smoothed hinge", "cross-entropy", "exponential", "tangent"):
        ax.plot(f, np.asarray(gallery[name].inverse_link(f)), color=COLORS[name], label=name)
    ax.plot([-1, 1], [0.5, 0.5], "|", ms=14, color=RED, mew=2)
    ax.plot([-1, -1, 1, 1], [0.0, 0.5, 0.5, 1.0], color=RED, ls=":", lw=1.4, label="hinge: only the sign")
    ax.set(xlabel="score $f$", ylabel=r"$\eta(f)$", title="The probability that a score means")
    ax.legend(loc="upper left", fontsize=9)


def draw_entropies(ax: Axes, gallery: dict[str, losses.MarginLoss]) -> None:
    """Entropies, each over its value at 1/2."""
    eta = np.linspace(0.0, 1.0, 401)
    for name in ("0-1", "square", "smoothed hinge", "cross-entropy", "exponential"):
        risk = np.asarray(gallery[name].bayes_risk(eta))
        ax.plot(eta, risk / risk[200], color=COLORS[name], label=name)
    ax.set(xlim=(0, 1), ylim=(0, 1.32), xlabel=r"$\eta$", title=r"Each loss is an entropy: $H(\eta)/H(\frac{1}{2})$")
    ax.legend(loc="upper center", fontsize=9, ncols=3, columnspacing=1)


ROWS = (
    (r"$\varphi(m)$", (-2.5, 2.5), (-0.25, 3.2)),
    (r"$\varphi'(m)$", (-2.5, 2.5), (-3.2, 1.2)),
    (r"$f^*(\eta)$", (0, 1), (-3, 3)),
    (r"$H(\eta)$", (0, 1), (-0.08, 1.15)),
    (r"$\psi(\theta)$", (0, 1), (-0.08, 1.15)),
    (r"$-H''(\eta)$", (0, 1), (-0.8, 12)),
)


def curves(loss: losses.MarginLoss) -> list[tuple[np.ndarray, np.ndarray]]:
    """The six functions of a loss."""
    m, eta = np.linspace(-2.5, 2.5, 401), np.linspace(0.004, 0.996, 249)
    slope = np.asarray(loss.derivative(m))
    weight = np.asarray(loss.weight(eta))
    return [
        (m, np.asarray(loss(m))),
        (m, slope),
        (eta, np.asarray(loss.minimizer(eta))),
        (eta, np.asarray(loss.bayes_risk(eta))),
        (eta, np.asarray(loss.psi(eta))),
        (eta, weight),
    ]


def draw_atlas(fig: Figure, cells: Any, gallery: dict[str, losses.MarginLoss]) -> None:
    """A column for each loss, a row for each function."""
    for column, (name, loss) in enumerate(gallery.items()):
        functions = curves(loss)
        for row, ((label, xlim, ylim), (x, y)) in enumerate(zip(ROWS, functions, strict=True)):
            ax = fig.add_subplot(cells[row, column])
            shown = np.where(np.abs(np.diff(y, prepend=y[0])) > 0.9, np.nan, y)
            ax.axhline(0, color=GRAY, lw=0.6)
            if xlim[0] < 0:
                ax.axvline(0, color=GRAY, lw=0.6)
            if row == 5 and name in FORGETFUL:
                # The weight is a point mass at 1/2, as high as the jump of H'.
                ax.annotate("", (0.5, 10.5), (0.5, 0), arrowprops={"arrowstyle": "-|>", "color": COLORS[name], "lw": 2})
            ax.plot(x, shown, color=COLORS[name], lw=1.7)
            ax.set(xlim=xlim, ylim=ylim, xticks=[], yticks=[])
            for side in ("left", "bottom"):
                ax.spines[side].set_color("#c9cfdb")
            if row == 0:
                ax.set_title(name.replace(" ", "\n"), size=10, loc="center")
            if column == 0:
                ax.set_ylabel(label, rotation=0, ha="right", va="center", size=13)
            if row == 5:
                flags = [("likelihood", loss.normalized), ("proper", loss.proper_composite), ("convex", loss.convex)]
                ax.set_xlabel("\n".join(flag for flag, true in flags if true) or "–", size=8.5, va="top")


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        gallery = certificates(report)
        entropies(report, gallery, 2401 if fast else 48001)
        verdicts(report, gallery)
        fig = figure(
            "An atlas of margin losses",
            r"from $\varphi$ alone:  $H(\eta)=\min_f\,\eta\,\varphi(f)+(1-\eta)\,\varphi(-f)$ at $f^*(\eta)$,   "
            r"$\psi(\theta)=\varphi(0)-H(\frac{1+\theta}{2})$ if convex,   excess error $\leq\psi^{-1}$(excess risk)",
            size=(15, 11),
        )
        top, bottom = fig.add_gridspec(2, 1, height_ratios=[1, 1.7])
        cells = top.subgridspec(1, 3, width_ratios=[1.35, 1, 1])
        draw_surrogates(fig.add_subplot(cells[0]), gallery)
        draw_links(fig.add_subplot(cells[1]), gallery)
        draw_entropies(fig.add_subplot(cells[2]), gallery)
        draw_atlas(fig, bottom.subgridspec(len(ROWS), len(gallery)), gallery)
        report.save(fig)


if __name__ == "__main__":
    main()
