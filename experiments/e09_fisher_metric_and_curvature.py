"""The Fisher metric, its curvature and its three kinds of straight lines.

Claim:
    ds^2 = d eta' I d eta = 2 KL + O(3) is a Riemannian metric on laws. Its sectional curvature, by automatic
    differentiation: +1/4 for categorical laws of any number of classes (a sphere of radius 2, by p -> 2 sqrt p), -1/2
    for normal laws (the hyperbolic plane), 0 for squared error, and varying for gamma and beta. Two flat connections
    come with it, straight in natural (e) and in mean (m) parameters; the metric one lies half way.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.5, Table 4.1.1.

Errata:
    A6: the table gives cross-entropy a "varying" curvature; it is constant, +1/4. Gamma and beta vary.
    A7: "constant curvature" does not tell the rows apart; flat against positively curved does.
    A9, A10: the metric is symmetric, and its scores are derivatives in the parameter and not in the observation.

Data:
    none; numbers against closed forms in 40 digits (Fisher-Rao distances) and against each other.

Run time:
    about 18 s.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure
from experiments.ternary import place, triangle
from lossgeo import geometry as geo

P, Q = np.array([0.8, 0.15, 0.05]), np.array([0.04, 0.2, 0.76])


@jax.jit
def curvature(potential: geo.Potential, eta: jax.Array) -> jax.Array:
    """Sectional curvature of the plane of the first coordinate and a skew direction."""
    metric = geo.FisherMetric(potential)
    return geo.sectional_curvature(metric, eta, jnp.eye(eta.size)[0], jnp.arange(1.0, eta.size + 1))


@jax.jit
def flatness(potential: geo.Potential, eta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Curvature of the e- and m-connections, and how far their mean is from the metric connection."""
    e, m = (geo.AlphaConnection(potential, alpha) for alpha in (1.0, -1.0))
    middle = 0.5 * (e(eta) + m(eta)) - geo.LeviCivita(geo.FisherMetric(potential))(eta)
    parts = (geo.curvature_tensor(e, eta), geo.curvature_tensor(m, eta), middle)
    return tuple(jnp.max(jnp.abs(part)) for part in parts)


@jax.jit
def hessian_metric_curvature(potential: geo.Potential, eta: jax.Array) -> jax.Array:
    """Curvature of a surface whose metric is a Hessian, from second and third derivatives alone (Shima)."""
    g, t = potential.hessian(eta), geo.cubic_tensor(potential, eta)
    rows = jnp.stack([g.reshape(4), t[0].reshape(4), t[1].reshape(4)])[:, jnp.array([0, 1, 3])]
    return -0.25 * jnp.linalg.det(rows) / jnp.linalg.det(g) ** 2


def constants(report: Report, rng: np.random.Generator, fast: bool) -> None:
    """Table 4.1.1, corrected."""
    for classes in (3, 4) if fast else (3, 4, 5):
        for _ in range(2):
            k = curvature(geo.categorical, jnp.asarray(rng.normal(size=classes - 1)))
            report.check(f"A6: categorical, {classes} classes: K - 1/4", k - 0.25, 1e-11)
    for eta in ([0.3, -0.7], [-1.0, -0.2]):
        report.check("normal: K + 1/2", curvature(geo.normal, jnp.array(eta)) + 0.5, 1e-11)
    report.check("A7: squared error: K", curvature(geo.half_squared_norm, jnp.array([0.3, -0.5])), 1e-14)
    for shape, truth in ((0.5, -0.404), (2.0, -0.486), (20.0, -0.500)):
        report.check(
            f"A6: gamma, shape {shape:g}: K - ({truth})", curvature(geo.gamma, jnp.array([shape, -1.0])) - truth, 6e-4
        )
    for potential in (geo.gamma, geo.beta, geo.normal, geo.inverse_gaussian):
        sign = {"gamma": -1.0, "beta": 1.0, "normal": -1.0, "inverse Gaussian": -1.0}[potential.name]
        worst = 0.0
        for shape in (0.5, 2.0, 20.0):
            eta = jnp.array([shape if potential.name != "inverse Gaussian" else -shape, sign * 0.7 * shape])
            worst = max(worst, abs(float(curvature(potential, eta) / hessian_metric_curvature(potential, eta) - 1)))
        report.check(f"{potential.name}: K by the Riemann tensor over Shima's determinant, less 1", worst, 1e-8)
    varying = [float(curvature(geo.beta, jnp.array([shape, shape]))) for shape in (0.5, 2.0, 20.0)]
    report.check_at_least("A6: beta(a, a): spread of K over a = 0.5, 2, 20", max(varying) - min(varying), 0.2)
    for potential, eta in ((geo.categorical, [0.3, -0.5]), (geo.gamma, [2.0, -1.3])):
        e, m, middle = flatness(potential, jnp.array(eta))
        report.check(f"{potential.name}: curvature of the e-connection", e, 1e-12)
        report.check(f"{potential.name}: curvature of the m-connection", m, 1e-11)
        report.check(f"{potential.name}: mean of both less Levi-Civita", middle, 1e-12)


def distances(report: Report) -> None:
    """Closed forms in 40 digits, and geodesics integrated by AD symbols."""
    p, q = jnp.array([0.7, 0.2, 0.1]), jnp.array([0.1, 0.2, 0.7])
    report.check(
        "Fisher-Rao distance of (.7,.2,.1), (.1,.2,.7) less 1.507434",
        geo.fisher_rao_categorical(p, q) - 1.50743372730660961,
        1e-14,
    )
    report.check(
        "... of N(0,1), N(0,9) less sqrt 2 log 3",
        geo.fisher_rao_normal(0.0, 1.0, 0.0, 3.0) - math.sqrt(2) * math.log(3),
        1e-14,
    )
    report.check("... of Bernoulli .2, .9 less pi/2", geo.fisher_rao_bernoulli(0.2, 0.9) - math.pi / 2, 1e-14)
    sphere = 2 * jnp.arccos(jnp.vdot(jnp.sqrt(p), jnp.sqrt(q)))
    report.check("... is the arc of the sphere of radius 2", geo.fisher_rao_categorical(p, q) - sphere, 1e-14)
    connection = geo.AlphaConnection(geo.categorical, 0.0)
    path = jax.jit(geo.numerical_geodesic_between)(
        connection, geo.categorical.inverse(p[:2]), geo.categorical.inverse(q[:2])
    )
    middle = geo.categorical.gradient(path.points[len(path.points) // 2])
    closed = geo.geodesic_categorical(p, q, 0.5)[:2]
    report.check(
        "geodesic by integration with AD symbols, midpoint less the closed form", np.max(abs(middle - closed)), 1e-6
    )
    step = 1e-4 * jnp.array([1.0, -2.0, 1.0])
    report.check("A10: 2 KL / sum dp^2/p - 1", 2 * geo.kl_divergence(p, p + step) / jnp.sum(step**2 / p) - 1, 1e-3)


def draw_tissot(ax: Axes) -> None:
    """Unit balls of the metric on the triangle, with the three geodesics."""
    for c in np.asarray(geo.simplex_lattice(3, 7, interior=True)):
        edge = c + 0.09 * (
            np.asarray(geo.simplex_ball(jnp.asarray(c), 1e-5, kind="kl_to_center", num=61)) - c
        ) / math.sqrt(2e-5)
        ax.fill(*place(edge), color=GOLD, alpha=0.35, lw=0)
    t = jnp.linspace(0, 1, 101)
    paths = {
        "m: straight in $p$ (mixture)": (BLUE, geo.alpha_path(P, Q, -1.0, t)),
        "Fisher–Rao: shortest": (TEAL, geo.geodesic_categorical(P, Q, t)),
        r"e: straight in $\log p$ (exponential)": (RED, geo.alpha_path(P, Q, 1.0, t)),
    }
    for label, (color, path) in paths.items():
        ax.plot(*place(path), color=color, lw=2.4, label=label)
    for point in (P, Q):
        ax.plot(*place(point), "o", color=INK, ms=7, zorder=6)
    triangle(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(0.72, 1.0), fontsize=9.5)
    ax.set_title("Simplex: circles of one Fisher radius")


def draw_sphere(ax: Any) -> None:
    """The same paths on the octant of a sphere."""
    a, b = np.meshgrid(np.linspace(0, np.pi / 2, 25), np.linspace(0, np.pi / 2, 25))
    ax.plot_surface(np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a), color=GOLD, alpha=0.16, lw=0, shade=False)
    for edge in np.eye(3):
        others = [v for v in np.eye(3) if not np.array_equal(v, edge)]
        s = np.linspace(0, np.pi / 2, 50)[:, None]
        ax.plot(*(np.cos(s) * others[0] + np.sin(s) * others[1]).T, color=INK, lw=1.2)
    for k in range(1, 6):
        for axis in range(3):
            w = np.linspace(0, 1, 50)
            law = np.insert(np.stack([w, 1 - w]) * (1 - k / 6), axis, k / 6, axis=0)
            ax.plot(*np.sqrt(law), color=GRAY, lw=0.5, alpha=0.7)
    t = jnp.linspace(0, 1, 101)
    for color, path in ((BLUE, geo.alpha_path(P, Q, -1.0, t)), (TEAL, geo.geodesic_categorical(P, Q, t)),
                        (RED, geo.alpha_path(P, Q, 1.0, t))):  # fmt: skip
        ax.plot(*(np.sqrt(np.asarray(path)).T * 1.01), color=color, lw=2.4)
    ax.set_axis_off()
    ax.view_init(elev=24, azim=38)
    ax.set_box_aspect((1, 1, 1), zoom=1.15)
    ax.set_title(r"$p\mapsto\sqrt{p}$: an octant of a sphere, $K=+\frac{1}{4}$", y=1.05)


def draw_half_plane(ax: Axes) -> None:
    """Normal laws: ellipses of the metric and geodesics, which are half ellipses."""
    for m in np.linspace(-3, 3, 7):
        for s in (0.35, 0.7, 1.4, 2.4):
            angle = np.linspace(0, 2 * np.pi, 60)
            ax.fill(
                m + 0.18 * s * np.cos(angle), s + 0.18 * s / math.sqrt(2) * np.sin(angle), color=GOLD, alpha=0.35, lw=0
            )
    ends = ((-2.5, 0.5), (2.5, 0.5))
    t = jnp.linspace(0, 1, 101)
    loc, scale = geo.geodesic_normal(*ends[0], *ends[1], t)
    ax.plot(loc, scale, color=TEAL, lw=2.4, label="Fisher–Rao")
    etas = [geo.normal.inverse(jnp.array([m, s**2 + m**2])) for m, s in ends]
    for color, path, label in (
        (RED, geo.e_geodesic(geo.normal, *etas, t), "e: equal variances stay"),
        (BLUE, geo.m_geodesic(geo.normal, *etas, t), "m: moments of a mixture"),
    ):
        mu = np.asarray(geo.normal.gradient(path))
        ax.plot(mu[:, 0], np.sqrt(mu[:, 1] - mu[:, 0] ** 2), color=color, lw=2.4, label=label)
    for end in ends:
        ax.plot(*end, "o", color=INK, ms=7)
    ax.set(xlim=(-3.5, 3.5), ylim=(0, 3.5), xlabel="mean", ylabel="standard deviation",
           title=r"Normal laws: the hyperbolic plane, $K=-\frac{1}{2}$")  # fmt: skip
    ax.legend(loc="upper center", fontsize=9.5, ncols=3)


def draw_atlas(ax: Axes, num: int) -> None:
    """Curvature along the shape of gamma and beta."""
    shapes = np.logspace(-2, 2, num)
    batched = jax.jit(jax.vmap(curvature, in_axes=(None, 0)))
    for potential, second, color, label in (
        (geo.gamma, -np.ones(num), RED, r"gamma, shape $a$"),
        (geo.beta, shapes, BLUE, r"beta$(a, a)$"),
    ):
        ax.semilogx(
            shapes,
            np.asarray(batched(potential, jnp.stack([jnp.asarray(shapes), jnp.asarray(second)], -1))),
            color=color,
            label=label,
        )
    for height, label, color in (
        (0.25, "categorical, any number of classes", TEAL),
        (-0.5, "normal", GRAY),
        (0.0, "squared error", INK),
    ):
        ax.axhline(height, color=color, lw=1.6, ls="--")
        ax.text(0.011, height + 0.012, label, size=9, color=color, va="bottom")
    ax.set(ylim=(-0.56, 0.34), xlabel="$a$", ylabel="sectional curvature", title="An atlas of curvature, by AD")
    ax.legend(loc="center right", bbox_to_anchor=(1.0, 0.3), fontsize=9)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        constants(report, np.random.default_rng(seed), fast)
        distances(report)
        fig = figure(
            "The Fisher metric and its curvature",
            r"$ds^2=d\eta^\top\nabla^2\!A\,d\eta=2\,\mathrm{KL}+O(3)$;   $\nabla^{(e)},\nabla^{(m)}$ flat,   "
            r"$\frac{1}{2}(\nabla^{(e)}+\nabla^{(m)})$ = Levi-Civita",
        )
        cells = fig.add_gridspec(2, 2, width_ratios=[1, 1.15])
        draw_tissot(fig.add_subplot(cells[0, 0]))
        draw_sphere(fig.add_subplot(cells[1, 0], projection="3d"))
        draw_half_plane(fig.add_subplot(cells[0, 1]))
        draw_atlas(fig.add_subplot(cells[1, 1]), 15 if fast else 41)
        report.save(fig)


if __name__ == "__main__":
    main()
