"""I-projection and M-projection: maximum entropy and maximum likelihood are the two sides of one right triangle.

Claim:
    The I-projection minimizes KL(r||q) over the first slot, on a set of prescribed moments: maximum entropy. The
    M-projection minimizes KL(p||r) over the second slot, on a log-linear family: maximum likelihood. Both satisfy
    Pythagoras. Iterative proportional fitting and Sinkhorn scaling are alternating I-projections, IPF on the uniform
    table is the maximum-likelihood fit of a log-linear model, and EM alternates the two projections.

Source:
    Chapter 4 "Probability and geometry of losses", Table 4.1.1 ("information projection").

Errata:
    A8: minimizing cross-entropy is the M-projection (reverse I-projection), not "the" information projection.

Data:
    iris (scikit-learn): species by thirds of petal length. Jaynes' die of mean 4.5. anes96 (statsmodels): party by
    education by vote.

Run time:
    about 12 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import statsmodels.api as sm
from matplotlib.axes import Axes
from sklearn.datasets import load_iris

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from experiments.ternary import place, triangle
from lossgeo import geometry as geo
from lossgeo import models

START = np.array([0.62, 0.28, 0.10])  # the law that is projected in the picture
WITNESS = np.array([0.36, 0.06, 0.58])
VALUES = np.array([[0.0, 1.0, 2.0]])


def independence(report: Report) -> None:
    """Iris: the M-projection on independence is the product of the margins; what it costs is mutual information."""
    x, y = load_iris(return_X_y=True)
    thirds = np.digitize(x[:, 2], np.quantile(x[:, 2], [1 / 3, 2 / 3]))
    table = np.zeros((3, 3))
    np.add.at(table, (y, thirds), 1 / len(y))
    found = geo.project(table, geo.Hierarchical(((0,), (1,))), side="M")
    product = table.sum(1)[:, None] * table.sum(0)[None, :]
    report.check("iris: M-projection less the product of the margins", np.max(abs(found.point - product)), 1e-15)
    report.check("iris: KL(P||M) less the mutual information 0.9299", found.divergence - 0.9298999816880678, 1e-12)
    other = np.random.default_rng(0).dirichlet(np.ones(3), size=2)
    q = other[0][:, None] * other[1][None, :]  # any member of the family
    defect = (
        geo.kl_divergence(table.ravel(), q.ravel())
        - found.divergence
        - geo.kl_divergence(found.point.ravel(), q.ravel())
    )
    report.check("iris: KL(P||Q) - KL(P||M) - KL(M||Q), Q any product", defect, 2e-15)


def die(report: Report) -> np.ndarray:
    """Jaynes' die: the law of largest entropy with mean 4.5."""
    faces = jnp.arange(1.0, 7.0)
    found = geo.maximum_entropy(faces, 4.5)
    published = np.array([0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749])
    report.check("Jaynes' die against his five digits", np.max(abs(found.point - published)), 5.1e-6)
    report.check("Jaynes' die: certificate, Pythagorean residual (nats)", found.pythagorean_residual, 1e-14)
    rivals = np.random.default_rng(1).dirichlet(np.ones(6), size=20)
    rivals = np.asarray([geo.project(r, geo.Moments(faces[None], jnp.array([4.5])), side="I").point for r in rivals])
    report.check_at_least("Jaynes' die: its entropy less that of twenty others of mean 4.5",
        float(geo.entropy(found.point) - np.max(geo.entropy(rivals))), 0.0)  # fmt: skip
    uniform = jnp.full(6, 1 / 6)
    pythagoras = geo.kl_divergence(rivals, jnp.broadcast_to(uniform, rivals.shape)) - (
        geo.kl_divergence(rivals, jnp.broadcast_to(found.point, rivals.shape)) + found.divergence
    )
    report.check("Jaynes' die: KL(r||u) - KL(r||p*) - KL(p*||u), twenty r", np.max(abs(pythagoras)), 1e-14)
    return np.asarray(found.point)


def triangles(report: Report) -> dict[str, Any]:
    """Both projections on three classes."""
    target = VALUES @ WITNESS
    i_side = geo.project(START, geo.Moments(VALUES, target), side="I")
    m_side = geo.project(WITNESS, geo.LogLinear(VALUES, START), side="M")
    report.check("I-projection of q on the moments of p less M-projection of p on the family of q",
        np.max(abs(i_side.point - m_side.point)), 1e-15)  # fmt: skip
    report.check("KL(p||q) - KL(p||p*) - KL(p*||q)",
        geo.kl_divergence(WITNESS, START) - m_side.divergence - i_side.divergence, 1e-15)  # fmt: skip
    reverse = geo.project(START, geo.LogLinear(VALUES), side="M").point
    forward = geo.project(START, geo.Moments(VALUES, VALUES @ START + 0.3), side="I").point
    report.check_at_least("A8: the two projections of one law differ by", np.max(abs(reverse - forward)), 0.05)
    return {"point": i_side.point, "theta": i_side.coordinates}


def tables(report: Report) -> np.ndarray:
    """IPF is the maximum-likelihood fit of a log-linear model; Sinkhorn is IPF."""
    data = sm.datasets.anes96.load_pandas().data
    party, education, vote = (np.asarray(data[k]).astype(int) for k in ("PID", "educ", "vote"))
    counts = np.zeros((7, 7, 2))
    np.add.at(counts, (party, education - 1, vote), 1.0)
    table = counts / counts.sum()
    model = geo.Hierarchical(((0, 1), (0, 2), (1, 2)))  # no three-way interaction: no closed form
    found = geo.project(table, model, side="M", tol=1e-13)
    report.check_equal("anes96: IPF converged", str(bool(found.converged)), "True")
    i, j, k = (v.ravel() for v in np.indices(counts.shape))
    one = [np.eye(7)[i][:, 1:], np.eye(7)[j][:, 1:], np.eye(2)[k][:, 1:]]
    pairs = [
        (a[:, :, None] * b[:, None, :]).reshape(len(i), -1)
        for a, b in ((one[0], one[1]), (one[0], one[2]), (one[1], one[2]))
    ]
    design = np.hstack([*one, *pairs])
    fit = sm.GLM(counts.ravel(), sm.add_constant(design), family=sm.families.Poisson()).fit(tol=1e-14, maxiter=200)
    report.check("anes96: IPF less the Poisson log-linear fit of statsmodels (probability)",
        np.max(abs(found.point.ravel() - fit.mu / counts.sum())), 1e-10)  # fmt: skip
    report.check("anes96: deviance / 2n less KL(table||IPF)", fit.deviance / 2 / counts.sum() - found.divergence, 1e-12)
    # Party by vote only: the same through this library's own Poisson regression, where every cell is filled.
    two = counts.sum(1)
    i, k = (v.ravel() for v in np.indices(two.shape))
    x = np.hstack([np.eye(7)[i][:, 1:], np.eye(2)[k][:, 1:]])
    ours = lg.fit(lg.map_objective(lg.likelihood(models.poisson_regression())), None, x, two.ravel())
    deviance = lg.geometry_of(ours).deviance
    independent = geo.project(two / two.sum(), geo.Hierarchical(((0,), (1,))), side="M")
    report.check("anes96: residual deviance of independence / 2n less its KL, relative",
        deviance.residual / (2 * two.sum()) / independent.divergence - 1, 1e-10)  # fmt: skip
    cost = np.abs(np.arange(7.0)[:, None] - np.arange(7.0)[None, :])
    row, column = table.sum((1, 2)), table.sum((0, 2))
    coupling = geo.sinkhorn(cost, row, column, 0.7)
    kernel = row[:, None] * column[None, :] * np.exp(-cost / 0.7)
    margins = geo.Margins((jnp.asarray(row), jnp.asarray(column)), ((0,), (1,)))
    scaled = geo.project(kernel / kernel.sum(), margins, side="I")
    report.check(
        "Sinkhorn less the I-projection of its kernel on the margins", np.max(abs(coupling.point - scaled.point)), 1e-14
    )
    return np.stack([(counts.sum(1) / counts.sum((1, 2))[:, None])[:, 1], counts.sum((1, 2)) / counts.sum()])


def alternate(report: Report, max_steps: int) -> dict[str, Any]:
    """The em algorithm between a line of data and a curved family on the simplex."""
    data = geo.Moments(jnp.array([[0.0, 1.0, 0.0]]), jnp.array([0.45]))
    model = geo.LogLinear(jnp.array([[0.0, 1.0, 2.0]]), jnp.array([0.4, 0.2, 0.4]))
    start = geo.project(jnp.array([0.005, 0.045, 0.95]), model, side="M").point
    found = geo.em(start, data, model, max_steps=max_steps)
    history = np.asarray(found.history)[: int(found.num_steps)]
    report.check_equal("em: converged", str(bool(found.converged)), "True")
    report.check_at_least("em: least decrease of KL(data||model) in a cycle", -np.max(np.diff(history)), -1e-15)
    report.check("em: Pythagorean residual of its last cycle (nats)", found.pythagorean_residual, 1e-14)
    report.check("em: what all further cycles would gain (nats)", found.remaining, 1e-15)
    zigzag, p = [start], start
    for _ in range(12):
        r = geo.project(p, data, side="I").point
        p = geo.project(r, model, side="M").point
        zigzag += [r, p]
    return {"zigzag": np.stack(zigzag), "end": found, "history": history, "model": model, "data": data}


def draw_triangle(ax: Axes, found: dict[str, Any]) -> None:
    """The right triangle."""
    theta = np.linspace(-6, 6, 300)
    family = np.asarray(jax.nn.softmax(jnp.log(START)[None, :] + theta[:, None] * VALUES, axis=-1))
    mean = float((VALUES @ WITNESS)[0])
    ends = np.array([[0.0, 2 - mean, mean - 1], [1 - mean / 2, 0.0, mean / 2]])
    ax.plot(*place(family), color=RED, lw=1.6, label=r"e-flat family $q\,e^{\theta T}$")
    ax.plot(*place(ends), color=BLUE, lw=1.6, label=r"m-flat set $E[T]=c$")
    corners = {"$q$": START, "$p$": WITNESS, "$p^*$": found["point"]}
    straight = np.stack([np.asarray(WITNESS), np.asarray(found["point"])])
    ax.plot(*place(straight), color=BLUE, lw=4, alpha=0.5)
    theta = np.linspace(0, float(found["theta"][0]), 60)
    ax.plot(
        *place(jax.nn.softmax(jnp.log(START)[None, :] + theta[:, None] * VALUES, axis=-1)), color=RED, lw=4, alpha=0.5
    )
    for (name, law), shift in zip(corners.items(), ((-0.055, 0.0), (0.0, 0.03), (0.06, 0.0)), strict=True):
        x, y = place(law)
        ax.plot(x, y, "o", color=INK, ms=7, zorder=6)
        ax.text(x + shift[0], y + shift[1], name, size=13, ha="center", va="center" if name != "$p$" else "bottom")
    triangle(ax, ("$T=0$", "$T=1$", "$T=2$"))
    ax.legend(loc="upper left", bbox_to_anchor=(-0.12, 1.02), fontsize=9)
    a, b, c = (
        float(geo.kl_divergence(*pair))
        for pair in ((WITNESS, START), (WITNESS, found["point"]), (found["point"], START))
    )
    ax.text(0.5, -0.13, f"$\\mathrm{{KL}}(p\\|q)={a:.4f}={b:.4f}+{c:.4f}$", ha="center", size=11)
    ax.set_title("One foot, two projections")


def draw_zigzag(ax: Axes, found: dict[str, Any]) -> None:
    """The em algorithm."""
    theta = np.linspace(-9, 9, 400)
    base = jnp.log(found["model"].base)
    family = np.asarray(jax.nn.softmax(base[None, :] + theta[:, None] * VALUES, axis=-1))
    ends = np.array([[0.55, 0.45, 0.0], [0.0, 0.45, 0.55]])
    ax.plot(*place(family), color=RED, lw=1.8, label="model, e-flat")
    ax.plot(*place(ends), color=BLUE, lw=1.8, label="data, m-flat")
    path = found["zigzag"]
    ax.plot(*place(path), color=INK, lw=1.1, zorder=5)
    ax.plot(*place(path[1::2]), "o", color=BLUE, ms=5, zorder=6)
    ax.plot(*place(path[::2]), "o", color=RED, ms=5, zorder=6)
    triangle(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.12, 1.02), fontsize=9)
    ax.text(0.5, -0.13, f"{int(found['end'].num_steps)} cycles to the last digit", ha="center", size=11)
    ax.set_title("em: to and fro between data and model")


def draw_history(ax: Axes, found: dict[str, Any]) -> None:
    """Divergence left after every cycle."""
    gap = found["history"] - found["history"][-1]
    ax.semilogy(np.arange(1, len(gap)), gap[:-1], "-", color=TEAL)
    ax.set(xlabel="cycle", ylabel=r"$\mathrm{KL}-\min$ (nats)", title="em never rises; linear rate", ylim=(1e-17, None))


def draw_die(ax: Axes, law: np.ndarray) -> None:
    """Jaynes' die."""
    ax.bar(np.arange(1, 7), law, color=GOLD, width=0.6)
    ax.plot(
        np.arange(1, 7),
        law[0] * (law[1] / law[0]) ** np.arange(6),
        "o-",
        color=INK,
        ms=4,
        lw=1,
        label="exactly geometric",
    )
    ax.axhline(1 / 6, color=GRAY, lw=1, ls="--")
    ax.text(0.55, 1 / 6 + 0.006, "fair", size=9, color=GRAY)
    for face, value in enumerate(law, 1):
        ax.text(face, value + 0.018, f"{value:.4f}", ha="center", size=9)
    ax.set(xlabel="face", ylim=(0, 0.4), title="Jaynes' die: all we know is the mean 4.5")
    ax.legend(loc="upper left", fontsize=9)
    ax.grid(axis="x", visible=False)


def draw_votes(ax: Axes, shares: np.ndarray) -> None:
    """The table behind the log-linear model."""
    ax.bar(range(7), shares[0], width=0.9 * shares[1] / shares[1].max(), color=BLUE, alpha=0.85)
    ax.set(xticks=range(7), xlabel="party identification (strong Democrat to strong Republican)", ylim=(0, 1),
           ylabel="share voting Dole", title="anes96: IPF = log-linear likelihood")  # fmt: skip
    ax.grid(axis="x", visible=False)
    note(ax, "width: share of voters", (0.03, 0.97))


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        independence(report)
        law = die(report)
        corner = triangles(report)
        shares = tables(report)
        path = alternate(report, 2000)
        fig = figure(
            "Two projections, two directions",
            r"I: $\min_r\mathrm{KL}(r\|q)$, maximum entropy;    M: $\min_r\mathrm{KL}(p\|r)$, maximum likelihood;    "
            r"$\mathrm{KL}(p\|q)=\mathrm{KL}(p\|p^*)+\mathrm{KL}(p^*\|q)$",
        )
        top, bottom = (
            cell.subgridspec(1, n)
            for cell, n in zip(fig.add_gridspec(2, 1, height_ratios=[1.45, 1]), (2, 3), strict=True)
        )
        draw_triangle(fig.add_subplot(top[0]), corner)
        draw_zigzag(fig.add_subplot(top[1]), path)
        draw_die(fig.add_subplot(bottom[0]), law)
        draw_votes(fig.add_subplot(bottom[1]), shares)
        draw_history(fig.add_subplot(bottom[2]), path)
        report.save(fig)


if __name__ == "__main__":
    main()
