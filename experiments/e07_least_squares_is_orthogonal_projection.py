"""Least squares is an orthogonal projection, and what is left of that on convex and on curved sets.

Claim:
    The fitted values are Py with P = X X^+ symmetric, idempotent and of trace rank X; the residual is orthogonal to
    every column, so with an intercept TSS = ESS + RSS and R^2 is the squared cosine of an angle. On a closed convex set
    orthogonality is an inequality, <y - Py, c - Py> <= 0. On a curved set only the tangent is orthogonal, and there may
    be several feet of the perpendicular.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.4, Theorem 4.1.3.

Errata:
    A11: the printed orthogonality "for linear or convex S" holds for affine S only.
    B3: X(X'X)^-1 X' needs full column rank, and a ridge smoother is symmetric but not idempotent.
    B4: the decomposition of R^2 needs an intercept; without one there is a gap.

Data:
    longley, stackloss (statsmodels) and diabetes (scikit-learn), against statsmodels' influence measures.

Run time:
    about 8 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import statsmodels.api as sm
from matplotlib.axes import Axes
from scipy.optimize import nnls
from sklearn.datasets import load_diabetes

from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import geometry as geo


def designs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Designs with an intercept, columns centered and scaled (the same column space), and responses."""
    found = {}
    for name, data in (("longley", sm.datasets.longley), ("stackloss", sm.datasets.stackloss)):
        loaded = data.load_pandas()
        found[name] = (np.asarray(loaded.exog, float), np.asarray(loaded.endog, float))
    found["diabetes"] = load_diabetes(return_X_y=True)
    return {name: (np.column_stack([np.ones(len(y)), (x - x.mean(0)) / x.std(0)]), y) for name, (x, y) in found.items()}


def projection(report: Report, name: str, x: np.ndarray, y: np.ndarray) -> None:
    """Theorem 4.1.3 on one data set."""
    p = np.asarray(geo.hat_matrix(x))
    fitted = np.asarray(geo.orthogonal_projection(x, y))
    rest = y - fitted
    report.check(f"{name}: P P - P", np.max(abs(p @ p - p)), 1e-14)
    report.check(f"{name}: P - P'", np.max(abs(p - p.T)), 1e-15)
    report.check(f"{name}: tr P - rank X", np.trace(p) - x.shape[1], 1e-12)
    report.check(
        f"{name}: X'(y - Py), columns and y of unit length",
        np.max(abs(x.T @ rest)) / np.max(np.linalg.norm(x, axis=0)) / np.linalg.norm(y), 1e-14,
    )  # fmt: skip
    squares = geo.sums_of_squares(x, y)
    centered, explained = y - y.mean(), fitted - y.mean()
    cosine = centered @ explained / np.linalg.norm(centered) / np.linalg.norm(explained)
    report.check(f"{name}: R^2 - cos^2 of the angle", squares.r_squared - cosine**2, 1e-12)
    report.check(f"{name}: TSS - ESS - RSS, relative", squares.gap / squares.total, 1e-13)
    theirs = sm.OLS(y, x).fit()
    report.check(f"{name}: R^2 against statsmodels", squares.r_squared - theirs.rsquared, 1e-12)
    hat = theirs.get_influence().hat_matrix_diag
    report.check(f"{name}: leverages against statsmodels", np.max(abs(geo.leverage(x) - hat)), 1e-12)


def exceptions(report: Report, x: np.ndarray, y: np.ndarray) -> None:
    """What the printed formulas leave out."""
    twice = np.column_stack([x, x[:, 1] + x[:, 2]])
    report.check(
        "B3: a redundant column changes nothing, P of X and of (X, sum)",
        np.max(abs(geo.hat_matrix(twice) - geo.hat_matrix(x))), 1e-13,
    )  # fmt: skip
    report.check_at_least("B3: condition number of the redundant X'X", np.linalg.cond(twice.T @ twice), 1e15)
    smoother = np.asarray(geo.ridge_smoother(x[:, 1:], 30.0))
    report.check("B3: ridge smoother, S - S'", np.max(abs(smoother - smoother.T)), 1e-15)
    report.check_at_least("B3: ridge smoother, S S - S", np.max(abs(smoother @ smoother - smoother)), 1e-3)
    report.check(
        "B3: tr S - sum s^2 / (s^2 + 30)", np.trace(smoother) - geo.effective_degrees_of_freedom(x[:, 1:], 30.0), 1e-12
    )
    without = geo.sums_of_squares(x[:, 1:], y)
    report.check_at_least("B4: without an intercept |TSS - ESS - RSS| / TSS", abs(without.gap) / without.total, 0.1)
    report.check(
        "B4: the gap is -2 mean(y) sum(residuals), relative",
        (without.total - without.explained - without.residual) / without.gap - 1, 1e-10,
    )  # fmt: skip


def convex(report: Report, x: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator) -> None:
    """Non-negative least squares: the fitted values are the projection on a convex cone."""
    columns = np.column_stack([x, -x[:, 0]])  # the intercept may have either sign
    b, _ = nnls(columns, y)
    fitted = columns @ b
    members = columns @ rng.exponential(size=(columns.shape[1], draws)) * np.linalg.norm(y) / 5
    products = (y - fitted) @ (members - fitted[:, None]) / np.linalg.norm(y) ** 2
    report.check_at_least("A11: cone, minus the largest <y - Py, c - Py> over its members", -np.max(products), -1e-12)
    report.check_at_least("A11: cone, most negative product (printed: 0)", -np.min(products), 0.01)
    report.check("A11: cone, <y - Py, Py> (the ray through Py is a line of the cone)",
        (y - fitted) @ fitted / np.linalg.norm(y) ** 2, 1e-12)  # fmt: skip
    v = jnp.asarray(rng.normal(size=(draws, 4)) * 2)
    u = geo.projection_l2_ball(v)
    c = rng.normal(size=(draws, 4))
    c = c / np.maximum(1, np.linalg.norm(c, axis=1, keepdims=True))
    report.check_at_least("A11: ball, minus the largest product", -np.max(np.sum((v - u) * (c - u), axis=1)), -1e-12)


def feet(report: Report, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All feet of the perpendicular from a point on the curve (t, sin t), by Newton from a fine grid."""

    def curve(t: jax.Array) -> jax.Array:
        return jnp.stack([t, jnp.sin(t)])

    def square(t: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum((jnp.asarray(point) - curve(t)) ** 2)

    slope, bend = jax.jit(jax.vmap(jax.grad(square))), jax.jit(jax.vmap(jax.grad(jax.grad(square))))
    grid = np.linspace(-2, 9, 4001)
    signs = np.sign(np.asarray(slope(grid)))
    t = grid[:-1][signs[:-1] != signs[1:]]
    for _ in range(30):
        t = t - np.asarray(slope(t)) / np.asarray(bend(t))
    tangent = np.stack([np.ones_like(t), np.cos(t)])
    rest = point[:, None] - np.asarray(jax.vmap(curve)(jnp.asarray(t))).T
    report.check_at_least("A11: curved set, number of feet of the perpendicular", len(t), 3)
    report.check(
        "A11: curved set, residual along the tangent at every foot", np.max(abs(np.sum(rest * tangent, 0))), 1e-13
    )
    chords = (rest[:, :1]) * (np.stack([t, np.sin(t)])[:, 1:2] - np.stack([t, np.sin(t)])[:, :1])
    report.check_at_least("A11: curved set, residual along a chord (printed: 0)", abs(np.sum(chords)), 0.1)
    return t, np.asarray(bend(t))


def draw_plane(ax: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Response, fit and residual of two centered columns in the three dimensions that they span."""
    columns = x[:, [3, 9]]
    target = y - y.mean()
    fitted = np.asarray(geo.orthogonal_projection(columns, target))
    basis = np.linalg.qr(np.column_stack([columns, target - fitted]))[0]
    basis = basis * np.sign(np.sum(basis * np.column_stack([columns, target]), axis=0))
    length = np.linalg.norm(target)
    vectors = {"x3": columns[:, 0] / np.linalg.norm(columns[:, 0]), "x9": columns[:, 1] / np.linalg.norm(columns[:, 1])}
    y3, f3 = basis.T @ target / length, basis.T @ fitted / length
    corners = np.array([[-0.15, -0.15], [1.05, -0.15], [1.05, 0.85], [-0.15, 0.85], [-0.15, -0.15]])
    ax.plot_trisurf(corners[:4, 0], corners[:4, 1], np.zeros(4), color=BLUE, alpha=0.12, lw=0)
    ax.plot(corners[:, 0], corners[:, 1], 0, color=BLUE, lw=0.8)
    for name, vector in vectors.items():
        v = basis.T @ vector * 0.9
        ax.quiver(0, 0, 0, *v, color=GRAY, arrow_length_ratio=0.08)
        ax.text(*(v * 1.08), {"x3": "bmi", "x9": "glucose"}[name], size=9, color=INK)
    ax.quiver(0, 0, 0, *y3, color=INK, arrow_length_ratio=0.07, lw=2)
    ax.quiver(0, 0, 0, *f3, color=TEAL, arrow_length_ratio=0.09, lw=2)
    ax.quiver(*f3, *(y3 - f3), color=RED, arrow_length_ratio=0.09, lw=2)
    ax.text(*(y3 + [0, 0, 0.05]), r"$y-\bar y$", size=11)
    ax.text(*(f3 + [0.04, 0.02, -0.12]), r"$\hat y-\bar y$", size=11, color=TEAL)
    ax.text(*(0.5 * (y3 + f3) + [0.05, 0, 0]), r"$y-\hat y$", size=11, color=RED)
    angle = np.degrees(np.arccos(np.linalg.norm(f3)))
    ax.set(xlim=(-0.15, 1.05), ylim=(-0.15, 0.9), zlim=(0, 0.85))
    ax.set_axis_off()
    ax.view_init(elev=20, azim=-60)
    ax.set_box_aspect((1.2, 1, 0.85), zoom=1.2)
    ax.set_title(f"Diabetes: $R^2=\\cos^2({angle:.1f}^\\circ)={np.linalg.norm(f3) ** 2:.3f}$", y=1.0)


def draw_leverage(ax: Axes, name: str, x: np.ndarray, y: np.ndarray, labels: Any) -> None:
    """Leverage against studentized residual."""
    h = np.asarray(geo.leverage(x))
    rest = y - np.asarray(geo.orthogonal_projection(x, y))
    n, p = x.shape
    student = rest / np.sqrt(rest @ rest / (n - p) * (1 - h))
    ax.axvline(2 * p / n, color=GOLD, lw=1.2, ls="--")
    ax.text(2 * p / n, 0.985, " 2p/n", transform=ax.get_xaxis_transform(), va="top", size=9, color=GOLD)
    grid = np.linspace(h.min() * 0.8, min(h.max() * 1.08, 0.97), 200)
    for cook in (0.5, 1.0):
        curve = np.sqrt(cook * p * (1 - grid) / grid)
        for sign in (1, -1):
            ax.plot(grid, sign * curve, color=GRAY, lw=0.9, ls=":")
        if abs(curve[-1]) < 3.2:
            ax.text(grid[-1], curve[-1], f" D={cook:g}", size=8, color=GRAY, va="center")
    ax.scatter(h, student, s=28, color=BLUE, alpha=0.85, lw=0, zorder=3)
    cooks = student**2 * h / (1 - h) / p
    for i in np.argsort(-cooks)[:4]:
        ax.annotate(str(labels[i]), (h[i], student[i]), xytext=(5, 4), textcoords="offset points", size=9)
    ax.set(ylim=(-3.4, 3.4), xlabel="leverage $h_i=P_{ii}$", ylabel="studentized residual",
           title=f"{name}: who pulls the plane")  # fmt: skip


def draw_cone(ax: Axes) -> None:
    """A convex cone in the plane: the angle at the projection is obtuse."""
    sides = np.array([[1.0, 0.12], [0.45, 1.0]])
    ax.fill([0, *sides[:, 0] * 3], [0, *sides[:, 1] * 3], color=BLUE, alpha=0.13, lw=0)
    for side in sides:
        ax.plot([0, 3 * side[0]], [0, 3 * side[1]], color=BLUE, lw=1.2)
    v = np.array([1.65, -0.75])
    u = sides[0] * (v @ sides[0]) / (sides[0] @ sides[0])
    for c in ([1.2, 1.5], [0.5, 0.3], [2.3, 0.9]):
        ax.annotate("", c, u, arrowprops={"arrowstyle": "->", "color": GRAY, "lw": 1.2})
    ax.annotate("", v, u, arrowprops={"arrowstyle": "->", "color": RED, "lw": 2})
    ax.plot(*v, "o", color=INK)
    ax.plot(*u, "o", color=TEAL)
    ax.text(v[0] + 0.06, v[1], "$y$", size=12, va="center")
    ax.text(u[0] + 0.08, u[1] - 0.12, "$Py$", size=12, color=TEAL, va="top")
    ax.set(xlim=(-0.1, 2.6), ylim=(-1.3, 2.0), aspect="equal", title="Convex: an inequality")
    ax.set_axis_off()
    note(ax, r"$\langle y-Py,\;c-Py\rangle\leq 0$ for all $c$ in the set", (0.03, 0.02))


def draw_curve(ax: Axes, point: np.ndarray, t: np.ndarray, bend: np.ndarray) -> None:
    """A curved set: several feet."""
    grid = np.linspace(0.7, 8.8, 400)
    ax.plot(grid, np.sin(grid), color=BLUE, lw=2)
    for s, curvature in zip(t, bend, strict=True):
        color = TEAL if curvature > 0 else GRAY
        ax.plot([point[0], s], [point[1], np.sin(s)], color=RED if curvature > 0 else GRAY, lw=1.4,
                ls="-" if curvature > 0 else "--")  # fmt: skip
        ax.plot([s - 0.5, s + 0.5], [np.sin(s) - 0.5 * np.cos(s), np.sin(s) + 0.5 * np.cos(s)], color=GOLD, lw=1.4)
        ax.plot(s, np.sin(s), "o", color=color, zorder=4)
    ax.plot(*point, "o", color=INK, zorder=4)
    ax.text(point[0], point[1] + 0.12, "$y$", size=12, ha="center")
    ax.set(xlim=(0.6, 8.9), ylim=(-2.2, 2.2), aspect="equal", title="Curved: several feet, each only local")
    ax.set_axis_off()
    note(ax, f"{int(np.sum(bend > 0))} feet are local minima of the distance, {int(np.sum(bend < 0))} a maximum;\n"
             "all orthogonal to their tangent", (0.03, 0.02), size=9)  # fmt: skip


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        found = designs()
        for name, (x, y) in found.items():
            projection(report, name, x, y)
        exceptions(report, *found["diabetes"])
        convex(report, *found["diabetes"], 200 if fast else 2000, rng)
        point = np.array([1.5 * np.pi + 0.15, 1.5])
        t, bend = feet(report, point)
        fig = figure(
            "Least squares is an orthogonal projection",
            r"$\hat y=Py,\quad P=XX^{+}=P^\top=P^2,\quad \|y-\bar y\|^2=\|\hat y-\bar y\|^2+\|y-\hat y\|^2$"
            "      affine: equality · convex: inequality · curved: local",
        )
        left, right = fig.add_gridspec(1, 2, width_ratios=[1, 1.6])
        draw_plane(fig.add_subplot(left, projection="3d"), *found["diabetes"])
        cells = right.subgridspec(2, 2, width_ratios=[1, 1.1])
        years = np.asarray(sm.datasets.longley.load_pandas().exog["YEAR"]).astype(int)
        draw_leverage(fig.add_subplot(cells[0, 0]), "Longley", *found["longley"], years)
        draw_leverage(fig.add_subplot(cells[0, 1]), "Stackloss", *found["stackloss"], np.arange(1, 22))
        draw_cone(fig.add_subplot(cells[1, 0]))
        draw_curve(fig.add_subplot(cells[1, 1]), point, t, bend)
        report.save(fig)


if __name__ == "__main__":
    main()
