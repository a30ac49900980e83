"""Softmax is a bijection only modulo constants: its gauge.

Claim:
    softmax(z + c 1) = softmax(z). So softmax maps R^C modulo R 1 one to one onto the *open* simplex: it is the
    Legendre map of log-sum-exp, which is affine along 1. Its Jacobian diag(p) - pp' is the Fisher metric in logits, of
    rank C - 1 with null vector 1. Cross-entropy less the entropy of the target is the Fenchel-Young loss of
    log-sum-exp.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.6, Theorem 4.1.6.

Errata:
    A4: "a bijection, a lossless transformation of information" loses one degree of freedom, and never reaches the edge.
    A5: "isomorphic structures" is no theorem; the statement is the Legendre duality and the equality of Fenchel-Young.
    B2: the gradient is p_hat - p only for targets of sum 1; in general (sum p) p_hat - p.

Data:
    digits (scikit-learn): logits of a softmax regression, whose gauge a flat prior leaves open.

Run time:
    about 12 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from sklearn.datasets import load_digits

import lossgeo as lg
from experiments.report import BLUE, CYCLE, GRAY, INK, RED, TEAL, Report, figure, note
from experiments.ternary import place, triangle
from lossgeo import geometry as geo
from lossgeo import models, numerics

LAWS = np.array([[1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.1, 0.3, 0.6], [0.42, 0.5, 0.08]])
TARGET = np.array([0.55, 0.3, 0.15])
# Orthonormal coordinates of the plane of logits with sum 0.
PLANE = np.array([[1.0, -1.0, 0.0], [-1.0, -1.0, 2.0]]) / np.sqrt([[2.0], [6.0]])


def gauge(report: Report, rng: np.random.Generator, draws: int) -> None:
    """What softmax forgets, and how it is inverted all the same."""
    a = geo.log_sum_exp
    z = jnp.asarray(rng.normal(size=(draws, 5)) * 3)
    c = jnp.asarray(rng.normal(size=(draws, 1)) * 100)
    p = a.gradient(z)
    report.check(
        "softmax(z + c) - softmax(z), relative, |c| of size 100", np.max(abs(a.gradient(z + c) / p - 1)), 1e-12
    )
    report.check("log-sum-exp(z + c) - log-sum-exp(z) - c", np.max(abs(a.value(z + c) - a.value(z) - c[:, 0])), 1e-12)
    centered = z - jnp.mean(z, axis=1, keepdims=True)
    report.check(
        "gauge-fixed inverse: (grad A)^-1 (softmax z) - (z - mean z)", np.max(abs(a.inverse(p) - centered)), 1e-12
    )
    reference = geo.categorical.gradient(z[:, :-1] - z[:, -1:])
    report.check("the other gauge, last logit 0: same probabilities", np.max(abs(reference - p[:, :-1])), 1e-15)
    report.check_at_least("least probability: the edge of the simplex is not reached", np.min(p), 1e-300)
    metric = np.asarray(geo.fisher_metric(a, z))
    report.check("Fisher metric times 1", np.max(abs(metric @ np.ones(5))), 1e-15)
    report.check_equal("rank of the Fisher metric, C = 5", int(np.max(np.linalg.matrix_rank(metric))), 4)
    g = rng.normal(size=5)
    g = g - g.mean()
    natural = geo.natural_gradient(metric[0], jnp.asarray(g))
    report.check("natural gradient by the pseudo-inverse: G x - g", np.max(abs(metric[0] @ natural - g)), 1e-12)
    report.check("natural gradient has no component along 1", np.sum(natural) / np.linalg.norm(natural), 1e-12)


def fenchel_young(report: Report, rng: np.random.Generator, draws: int) -> None:
    """Cross-entropy less entropy, four ways."""
    z = jnp.asarray(rng.normal(size=(draws, 4)) * 2)
    p = jnp.asarray(rng.dirichlet(np.ones(4), size=draws))
    a = geo.log_sum_exp
    loss = geo.fenchel_young_loss(a, z, p)
    q = a.gradient(z)
    ways = {
        "A(z) + A*(p) - <z, p>": a.value(z) + a.conjugate(p) - jnp.sum(z * p, 1),
        "cross-entropy - entropy": numerics.softmax_cross_entropy_with_probs(z, p) - geo.entropy(p),
        "D_A*(p, softmax z)": geo.bregman_divergence(geo.dual(a), p, q),
        "KL(p || softmax z)": geo.kl_divergence(p, q),
    }
    for name, value in ways.items():
        report.check(f"A5: Fenchel-Young loss less {name}", np.max(abs(value - loss)), 2e-14)
    report.check("A5: Fenchel-Young loss at p = softmax z", np.max(abs(geo.fenchel_young_loss(a, z, q))), 1e-15)
    target = p * 1.7
    gradient = jax.vmap(jax.grad(numerics.softmax_cross_entropy_with_probs))(z, target)
    report.check(
        "B2: gradient less (sum p) q - p, targets of sum 1.7", np.max(abs(gradient - (1.7 * q - target))), 1e-14
    )
    report.check_at_least("B2: gradient less q - p (printed)", np.max(abs(gradient - (q - target))), 0.1)


def regression(report: Report, rows: int) -> np.ndarray:
    """A softmax regression on three digits: the fit is a whole orbit."""
    images, labels = load_digits(n_class=3, return_X_y=True)
    components = np.linalg.svd(images - images.mean(0), full_matrices=False)[2][:2]
    x = (images - images.mean(0)) @ components.T
    x, y = (x / x.std(0) + 0.7 * np.random.default_rng(1).normal(size=x.shape))[:rows], labels[:rows]
    objective = lg.map_objective(lg.likelihood(models.softmax_regression(3)))
    fit = lg.fit(objective, None, x, y, throw=False)
    report.check_equal("digits: a flat prior leaves the gauge open, status", fit.status.name, "UNIDENTIFIED")
    moved = {"coef": fit.params["coef"] + 3.0, "intercept": fit.params["intercept"] - 5.0}
    report.check("digits: objective along the orbit, relative", objective(moved, x, y) / fit.value - 1, 1e-13)
    hessian = np.asarray(lg.geometry_of(fit).fisher)
    values = np.linalg.eigvalsh(hessian)
    report.check_equal(
        "digits: null directions of the information, 9 parameters", int(np.sum(values < 1e-10 * values[-1])), 3
    )
    return values


def draw_fibres(ax: Any) -> None:
    """Fibres of softmax in the space of logits."""
    t = np.linspace(-1.7, 1.7, 2)
    for law, color in zip(LAWS, CYCLE, strict=False):
        z = np.log(law) - np.log(law).mean()
        line = z[None, :] + t[:, None]
        ax.plot(*line.T, color=color, lw=2.2)
        ax.scatter(*z, color=color, s=28, depthshade=False)
    corners = (np.array([[-1.6, -1.4], [1.6, -1.4], [1.6, 1.9], [-1.6, 1.9]]) @ PLANE).T
    ax.plot_trisurf(*corners, color=BLUE, alpha=0.13, lw=0)
    ax.quiver(0, 0, 0, 2.1, 2.1, 2.1, color=INK, arrow_length_ratio=0.06, lw=1.2)
    ax.text(2.25, 2.25, 2.3, r"$\mathbf{1}$", size=13)
    ax.text(*(np.array([1.55, -1.2]) @ PLANE), r"$\sum z_i=0$", size=10, color=BLUE)
    ax.view_init(elev=18, azim=-38)
    ax.set_axis_off()
    ax.set_box_aspect((1, 1, 1), zoom=1.4)
    ax.set_title(r"Logits $\mathbb{R}^3$: a law is a whole line $z+c\mathbf{1}$", y=1.1)


def draw_levels(ax: Axes, resolution: int) -> None:
    """KL level sets on the simplex."""
    lattice = geo.simplex_lattice(3, resolution, interior=True)
    values = geo.kl_divergence(jnp.broadcast_to(jnp.asarray(TARGET), lattice.shape), lattice)
    ax.tricontour(*place(lattice), np.asarray(values), levels=LEVELS, cmap="viridis_r", linewidths=1.3)
    for law, color in zip(LAWS, CYCLE, strict=False):
        ax.plot(*place(law), "o", color=color, ms=8, zorder=6)
    ax.plot(*place(TARGET), "*", color=RED, ms=15, mec="white", zorder=6)
    triangle(ax)
    ax.set_title(r"Simplex: each line is a point")


LEVELS = np.array([0.01, 0.05, 0.15, 0.35, 0.7, 1.2, 2.0])


def draw_pulled_back(ax: Axes, resolution: int) -> None:
    """The same level sets in the plane of centered logits, with the geodesics of both connections."""
    grid = np.linspace(-3.4, 3.4, resolution)
    u = np.stack(np.meshgrid(grid, grid), axis=-1)
    values = geo.fenchel_young_loss(
        geo.log_sum_exp, u @ PLANE, jnp.broadcast_to(jnp.asarray(TARGET), (*u.shape[:2], 3))
    )
    ax.contour(grid, grid, np.asarray(values), levels=LEVELS, cmap="viridis_r", linewidths=1.3)
    for law, color in zip(LAWS, CYCLE, strict=False):
        ax.plot(*(PLANE @ np.log(law)), "o", color=color, ms=8, zorder=6)
    best = PLANE @ np.log(TARGET)
    ax.plot(*best, "*", color=RED, ms=15, mec="white", zorder=6)
    metric = PLANE @ np.asarray(geo.fisher_metric(geo.log_sum_exp, jnp.asarray(np.log(TARGET)))) @ PLANE.T
    angle = np.linspace(0, 2 * np.pi, 200)
    ellipse = np.linalg.solve(np.linalg.cholesky(metric).T, np.stack([np.cos(angle), np.sin(angle)])) * np.sqrt(
        2 * 0.05
    )
    ax.plot(*(best[:, None] + ellipse), color=INK, lw=1.1, ls=":", label="Fisher ellipse")
    ax.set(xlabel=r"$(z_1-z_2)/\sqrt{2}$", ylabel=r"$(2z_3-z_1-z_2)/\sqrt{6}$", aspect="equal",
           title="Centered logits: the loss is convex")  # fmt: skip
    ax.legend(loc="lower right", fontsize=9)
    note(
        ax,
        r"$\mathrm{KL}(\mathrm{target}\,\|\,\mathrm{softmax}\,z)=A(z)+A^*(p)-\langle z,p\rangle$",
        (0.03, 0.97),
        size=9,
    )


def draw_spectrum(ax: Axes, values: np.ndarray) -> None:
    """Eigenvalues of the information of a fit."""
    shares = np.maximum(values[::-1] / values[-1], 4e-19)
    colors = [TEAL if v > 1e-10 else RED for v in shares]
    ax.set_yscale("log")
    ax.bar(np.arange(1, 10), shares, color=colors, width=0.65)
    ax.axhline(np.finfo(float).eps, color=GRAY, lw=1, ls="--")
    ax.text(0.55, np.finfo(float).eps * 2.5, "eps", size=9, color=GRAY)
    ax.set(xticks=range(1, 10), xlabel="eigenvalue of the information of a softmax fit", ylabel="share of the largest",
           ylim=(1e-19, 10), title=r"Digits 0, 1, 2: rank $(C-1)(d+1)=6$ of 9")  # fmt: skip
    ax.grid(axis="x", visible=False)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        gauge(report, rng, 50 if fast else 500)
        fenchel_young(report, rng, 50 if fast else 500)
        values = regression(report, 150 if fast else 500)
        fig = figure(
            "Softmax forgets a constant",
            r"$\mathrm{softmax}=\nabla\log\sum e^{z_i}:\;\mathbb{R}^C/\mathbb{R}\mathbf{1}\;\leftrightarrow\;"
            r"\mathrm{open\ simplex}$,      $\nabla^2=\mathrm{diag}(p)-pp^\top$,  $\nabla^2\,\mathbf{1}=0$",
        )
        cells = fig.add_gridspec(2, 3, width_ratios=[1.1, 1, 1.1], height_ratios=[2.1, 1])
        draw_fibres(fig.add_subplot(cells[:, 0], projection="3d"))
        draw_levels(fig.add_subplot(cells[0, 1]), 40 if fast else 100)
        draw_pulled_back(fig.add_subplot(cells[0, 2]), 60 if fast else 200)
        draw_spectrum(fig.add_subplot(cells[1, 1:]), values)
        report.save(fig)


if __name__ == "__main__":
    main()
