"""A gallery of Bregman divergences, and the one minimizer that they share.

Claim:
    A convex function is a divergence: what its tangent at y misses at x. Half the squared distance, KL, Itakura-Saito,
    the logistic divergence and Mahalanobis are five of them, with the three-point identity and the duality
    D_A(x, y) = D_A*(grad A(y), grad A(x)). Whatever A, the arithmetic mean minimizes sum D_A(x_i, c) over c, so that
    k-means works for every one of them.

Source:
    Chapter 4 "Probability and geometry of losses", (4.1.2), Theorem 4.1.4, (4.1.3).

Errata:
    A2: the printed (4.1.3) is twice KL. A16: half the *squared* distance. A25: least squares assumes no normal noise:
    every Bregman loss is minimized by the mean. B1: on the orthant the divergence of negative entropy is the
    generalized KL. B18: convex in the first slot only.

Data:
    iris (scikit-learn): the four lengths, clustered.

Run time:
    about 12 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from sklearn.datasets import load_iris

from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import geometry as geo
from lossgeo import numerics


def coins(p: jax.Array) -> jax.Array:
    """Negative entropy of independent coins."""
    return jnp.sum(jax.scipy.special.xlogy(p, p) + jax.scipy.special.xlog1py(1 - p, -p))


def log_odds(p: jax.Array) -> jax.Array:
    """Its gradient."""
    return jnp.log(p) - jnp.log1p(-p)


def softplus_sum(z: jax.Array) -> jax.Array:
    """Its conjugate."""
    return jnp.sum(numerics.softplus(z))


def gallery() -> dict[str, geo.Potential]:
    """Five generators of points in the open unit square (made anew, in the precision in use)."""
    return {
        "half squared norm": geo.half_squared_norm,
        "Mahalanobis": geo.mahalanobis(jnp.array([[2.0, 0.9], [0.9, 0.8]])),
        "negative entropy (KL)": geo.negative_entropy,
        "Burg (Itakura–Saito)": geo.burg,
        "logistic": geo.potential(
            coins,
            ndim=1,
            gradient=log_odds,
            inverse=numerics.sigmoid,
            conjugate=softplus_sum,
            domain=UNIT,
            name="logistic",
        ),
    }


def _inside(p: jax.Array) -> jax.Array:
    return jnp.all((p > 0) & (p < 1))


UNIT = geo.Domain("open unit cube", _inside)


def laws(report: Report, points: np.ndarray) -> None:
    """Three-point identity, duality, and the mean, for every generator."""
    x, y, z = (jnp.asarray(points[k::3]) for k in range(3))
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.dirichlet(np.ones(len(points))))
    cloud = jnp.asarray(points)
    mean = weights @ cloud
    for name, a in gallery().items():
        d = geo.bregman_divergence
        three = d(a, x, z) - d(a, x, y) - d(a, y, z) - jnp.sum((x - y) * (a.gradient(y) - a.gradient(z)), axis=1)
        scale = float(np.max(d(a, x, z)))
        report.check(f"{name}: three-point identity", np.max(abs(three)) / scale, 1e-13)
        dual = d(geo.dual(a), a.gradient(y), a.gradient(x))
        report.check(
            f"{name}: D_A(x,y) - D_A*(grad A(y), grad A(x)), relative", np.max(abs(dual / d(a, x, y) - 1)), 1e-8
        )

        def total(c: jax.Array, a: geo.Potential = a) -> jax.Array:
            return jnp.vdot(weights, geo.bregman_divergence(a, cloud, c))

        report.check(f"{name}: slope of sum w D(x_i, c) at the mean", np.max(abs(jax.grad(total)(mean))) / scale, 1e-13)
        others = jnp.asarray(rng.uniform(0.05, 0.95, (50, 2)))
        report.check_at_least(
            f"{name}: least excess of fifty other centers", np.min(jax.vmap(total)(others) - total(mean)), 0.0
        )
        left = geo.bregman_barycenter(a, cloud, weights, side="left")
        if name in ("half squared norm", "Mahalanobis"):
            report.check(f"{name}: the left barycenter is the mean too", np.max(abs(left - mean)), 1e-14)
        else:
            report.check_at_least(
                f"{name}: the left barycenter is another point, at distance", np.max(abs(left - mean)), 1e-3
            )


def errata(report: Report) -> None:
    """What the source prints."""
    p, q = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.6, 0.3, 0.1])
    printed = geo.cross_entropy(p, q) + jnp.sum(p * jnp.log(p)) + jnp.sum(p * jnp.log(p / q))
    report.check("A2: the printed (4.1.3) over KL, less 2", printed / geo.kl_divergence(p, q) - 2, 1e-14)
    x, y = jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])
    report.check(
        "A16: D(x, y) less half the squared distance 12.5",
        geo.bregman_divergence(geo.half_squared_norm, x, y) - 12.5,
        0.0,
    )
    u, v = jnp.array([1.0, 2.0]), jnp.array([0.5, 2.0])
    generalized = jnp.sum(u * jnp.log(u / v) - u + v)
    report.check(
        "B1: off the simplex, D less generalized KL",
        geo.bregman_divergence(geo.negative_entropy, u, v) - generalized,
        1e-15,
    )
    report.check_at_least(
        "B1: ... and sum u log u/v is another number, by", abs(generalized - jnp.sum(u * jnp.log(u / v))), 0.01
    )
    c = jnp.linspace(0.3, 6.0, 200)
    second_slot = jax.vmap(lambda s: geo.itakura_saito_divergence(jnp.array([1.0]), s[None]))(c)
    first_slot = jax.vmap(lambda s: geo.itakura_saito_divergence(s[None], jnp.array([1.0])))(c)
    report.check_at_least(
        "B18: Itakura-Saito in its first slot, least second difference", np.min(np.diff(first_slot, 2)), 0.0
    )
    report.check_at_least(
        "B18: in its second slot, most negative second difference", -np.min(np.diff(second_slot, 2)), 1e-5
    )


def clusters(report: Report) -> dict[str, Any]:
    """K-means on iris with three divergences."""
    x, species = load_iris(return_X_y=True)
    init = x[[10, 60, 110]]
    found = {}
    for name, a in (("half squared norm", geo.half_squared_norm), ("negative entropy (KL)", geo.negative_entropy),
                    ("Burg (Itakura–Saito)", geo.burg)):  # fmt: skip
        end = geo.bregman_kmeans(a, x, init)
        labels = np.asarray(end.labels)
        means = np.stack([x[labels == k].mean(0) for k in range(3)])
        agree = float(np.mean(labels == species))
        report.check(
            f"k-means, {name}: centers less the means of their points", np.max(abs(end.centers - means)), 1e-14
        )
        total = float(geo.bregman_information(a, x))
        within = float(end.objective)
        between = sum(np.mean(labels == k) * float(geo.bregman_divergence(a, means[k], x.mean(0))) for k in range(3))
        report.check(
            f"k-means, {name}: information - within - between, relative", (total - within - between) / total, 1e-13
        )
        report.check_at_least(f"k-means, {name}: share of species recovered", agree, 0.85)
        found[name] = (a, means[:, 2:], labels, agree)
    return found


def draw_tangent(ax: Axes) -> None:
    """The divergence as what a tangent misses."""
    x = np.linspace(0.02, 3, 300)
    value = np.asarray(geo.negative_entropy.value(jnp.asarray(x)[:, None]))
    y, at = 0.6, 2.3
    slope = float(geo.negative_entropy.gradient(jnp.array([y]))[0])
    start = float(geo.negative_entropy.value(jnp.array([y])))
    ax.plot(x, value, color=BLUE, lw=2.2, label=r"$A(x)=x\log x-x$")
    ax.plot(x, start + slope * (x - y), color=GRAY, lw=1.4, label="tangent at $y$")
    high, low = float(geo.negative_entropy.value(jnp.array([at]))), start + slope * (at - y)
    ax.plot([at, at], [low, high], color=RED, lw=3, label="$D_A(x,y)$")
    ax.plot([y], [start], "o", color=INK)
    ax.text(y - 0.05, start - 0.3, "$y$", size=12, ha="right")
    ax.text(at, low - 0.28, "$x$", size=12, ha="center")
    ax.set(title="A divergence is what the tangent misses", ylim=(-2.5, 0.6), xlabel="$x$")
    ax.legend(loc="lower left", fontsize=9)


def draw_balls(ax: Axes, name: str, a: geo.Potential, resolution: int) -> None:
    """Balls of one divergence around three centers."""
    grid = np.linspace(0.012, 0.988, resolution)
    u = jnp.asarray(np.stack(np.meshgrid(grid, grid), axis=-1))
    for c, color in (((0.2, 0.25), BLUE), ((0.62, 0.7), TEAL), ((0.75, 0.2), RED)):
        center = jnp.broadcast_to(jnp.array(c), u.shape)
        values = np.asarray(geo.bregman_divergence(a, u, center))
        curvature = float(np.trace(np.asarray(a.hessian(jnp.array(c))))) / 2
        levels = 0.5 * curvature * np.array([0.06, 0.12, 0.18]) ** 2
        ax.contour(grid, grid, values, levels=levels, colors=[color], linewidths=1.4)
        ax.plot(*c, ".", color=color, ms=8)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 1], yticks=[0, 1])
    ax.set_title(name, size=10.5)
    ax.grid(visible=False)


def draw_voronoi(ax: Axes, name: str, found: tuple[Any, np.ndarray, np.ndarray, float], resolution: int) -> None:
    """Cells of the petal lengths and widths for centers found in all four lengths."""
    a, centers, labels, agree = found
    x, species = load_iris(return_X_y=True)
    gx, gy = np.linspace(0.6, 7.2, resolution), np.linspace(0.03, 2.7, resolution)
    u = jnp.asarray(np.stack(np.meshgrid(gx, gy), axis=-1))
    nearest = np.argmin(
        [np.asarray(geo.bregman_divergence(a, u, jnp.broadcast_to(jnp.asarray(c), u.shape))) for c in centers], axis=0
    )
    ax.pcolormesh(
        gx, gy, nearest, cmap=ListedColormap([BLUE, TEAL, GOLD]), alpha=0.22, shading="nearest", rasterized=True
    )
    for k, (color, marker) in enumerate(((BLUE, "o"), (TEAL, "s"), (GOLD, "^"))):
        ax.scatter(x[species == k, 2], x[species == k, 3], s=13, marker=marker, color=color, lw=0)
    ax.plot(*centers.T, "*", color=RED, ms=13, mec="white", ls="none")
    ax.set(xlabel="petal length", title=f"{name}")
    ax.title.set_size(10.5)
    ax.grid(visible=False)
    note(ax, f"{agree:.0%} of species", (0.03, 0.97), size=9)


def draw_means(ax: Axes, points: np.ndarray) -> None:
    """Objective along one coordinate of the center, for all generators."""
    cloud = jnp.asarray(points)
    mean = np.asarray(cloud.mean(0))
    c = np.linspace(0.08, 0.92, 121)
    for name, a in gallery().items():
        centers = np.column_stack([c, np.full_like(c, mean[1])])
        values = np.array(jax.vmap(lambda s, a=a: jnp.mean(geo.bregman_divergence(a, cloud, s)))(jnp.asarray(centers)))
        values = values - values.min()
        ax.plot(c, values / values[-1], lw=1.7, label=name)
    ax.axvline(mean[0], color=INK, lw=1.1, ls="--")
    ax.text(mean[0] + 0.012, 0.93, r"$\bar x$", size=13)
    ax.set(ylim=(-0.03, 1), xlabel="center $c$", yticks=[], title=r"$\sum D_A(x_i,c)$: one minimizer")
    ax.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(0.36, 1.04))


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        points = rng.beta(1.2, 2.5, (60, 2)) * 0.9 + 0.05
        laws(report, points)
        errata(report)
        found = clusters(report)
        fig = figure(
            "One minimizer for every Bregman divergence: the mean",
            r"$D_A(x,y)=A(x)-A(y)-\langle\nabla A(y),x-y\rangle$,      "
            r"$\arg\min_c\sum_i D_A(x_i,c)=\bar x$ whatever $A$",
        )
        rows = fig.add_gridspec(3, 1, height_ratios=[1.25, 1, 1.15])
        top, middle, bottom = rows[0].subgridspec(1, 2), rows[1].subgridspec(1, 5), rows[2].subgridspec(1, 3)
        draw_tangent(fig.add_subplot(top[0]))
        draw_means(fig.add_subplot(top[1]), points)
        for cell, (name, a) in zip(middle, gallery().items(), strict=True):
            draw_balls(fig.add_subplot(cell), name, a, 60 if fast else 161)
        for cell, (name, result) in zip(bottom, found.items(), strict=True):
            ax = fig.add_subplot(cell)
            draw_voronoi(ax, f"k-means on iris, {name}", result, 60 if fast else 200)
            ax.set_ylabel("petal width")
        report.save(fig)


if __name__ == "__main__":
    main()
