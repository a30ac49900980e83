"""The surfaces of squared error and cross-entropy, their gradients, and four ways down.

Claim:
    For squared error (known noise) and for cross-entropy the loss is A(theta) - <theta, t> + const with a convex A, the
    log-partition, and t = X'y / n. The gradient is A'(theta) - t, orthogonal to the contours: linear without bound for
    squared error, bounded for cross-entropy. In the mean coordinates m = A'(theta) mirror descent with A runs straight
    to t at any rate; natural-gradient descent does so as its rate goes to 0, with a bend proportional to the rate, and
    is Newton's method (undamped) at rate 1. Gradient descent bends. On the surface of squared error, which is flat, the
    first two are one.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.3: its figure fig_CH04_loss_surfaces_gradients is missing.

Errata:
    The figure itself (1c). A7: the metric of squared error is flat, so that one matrix serves everywhere.

Data:
    diabetes (cholesterol and log triglycerides, standardized), breast_cancer (malignant against radius).

Run time:
    about 15 s.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from scipy.optimize import brentq
from sklearn.datasets import load_breast_cancer, load_diabetes

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note, relative_error
from experiments.trajectories import descend, newton
from lossgeo import distributions as dist
from lossgeo import geometry as geo
from lossgeo import numerics

NOISE = 75.0
RATE = 0.3  # of the natural gradient and of mirror descent
SMALL = 0.01  # of the natural gradient that is nearly a flow


def normal(theta: jax.Array, x: jax.Array) -> dist.Normal:
    """Linear regression with known noise."""
    return dist.Normal(x @ theta, NOISE)


def bernoulli(theta: jax.Array, x: jax.Array) -> dist.Bernoulli:
    """Logistic regression."""
    return dist.Bernoulli(logits=x @ theta)


def mean_softplus(theta: jax.Array, x: jax.Array) -> jax.Array:
    """Log-partition of logistic regression, per row."""
    return jnp.mean(numerics.softplus(x @ theta))


def predictor(theta: jax.Array, x: jax.Array) -> jax.Array:
    """What the laws of the rows are parametrized by."""
    return x @ theta


SQUARED, CROSS = (lg.map_objective(lg.likelihood(model)) for model in (normal, bernoulli))


def squared_error(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """MSE / 2 s^2 + const: the NLL per row."""
    return SQUARED(theta, x, y) / y.shape[0]


def cross_entropy(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy: the NLL per row."""
    return CROSS(theta, x, y) / y.shape[0]


def normal_information(x: jax.Array, theta: jax.Array, **_: Any) -> jax.Array:
    """Fisher information of the laws of the rows, pulled back to theta; per row."""
    weights = jnp.full(x.shape[0], 1 / (NOISE**2 * x.shape[0]))
    return geo.pullback_metric(functools.partial(predictor, x=x), theta, weights)


def bernoulli_information(x: jax.Array, theta: jax.Array, **_: Any) -> jax.Array:
    """The same for logistic regression."""
    eta = x @ theta
    weights = jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta) / x.shape[0]
    return geo.pullback_metric(functools.partial(predictor, x=x), theta, weights)


class Surface(NamedTuple):
    """A loss of two parameters with its geometry, and the box of the figure."""

    name: str
    loss: Any
    objective: Any
    potential: geo.Potential
    information: Any
    x: jax.Array
    y: jax.Array
    start: np.ndarray
    target: np.ndarray
    rate: float
    box: tuple[float, float, float, float]
    labels: tuple[str, str]


def surfaces() -> tuple[Surface, Surface]:
    """Squared error on diabetes and cross-entropy on breast_cancer."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:, [4, 8]] / x[:, [4, 8]].std(axis=0), y - y.mean()
    a, b = jnp.asarray(x), jnp.asarray(y)
    squared = Surface(
        "squared error", squared_error, SQUARED, geo.mahalanobis(a.T @ a / (len(y) * NOISE**2)),
        functools.partial(normal_information, a), a, b, np.array([95.0, 5.0]), x.T @ y / (len(y) * NOISE**2),
        0.9 * 2 * NOISE**2 / float(np.linalg.eigvalsh(x.T @ x / len(y))[-1]), (-70.0, 130.0, -70.0, 130.0),
        ("cholesterol", "log triglycerides"),
    )  # fmt: skip
    data = load_breast_cancer()
    radius = (data.data[:, 0] - data.data[:, 0].mean()) / data.data[:, 0].std()
    x, y = np.column_stack([np.ones(len(radius)), radius]), 1.0 - data.target
    a, b = jnp.asarray(x), jnp.asarray(y)
    cross = Surface(
        "cross-entropy", cross_entropy, CROSS, geo.potential(mean_softplus, ndim=1, parameters=(a,)),
        functools.partial(bernoulli_information, a), a, b, np.array([1.8, -0.4]), x.T @ y / len(y), 7.0,
        (-5.0, 3.6, -2.2, 6.4), ("intercept", "radius"),
    )  # fmt: skip
    return squared, cross


def means(surface: Surface, theta: Any) -> np.ndarray:
    """Means of the rows by formula."""
    eta = np.asarray(surface.x) @ np.asarray(theta)
    return eta if surface.loss is squared_error else 1 / (1 + np.exp(-eta))


def plain_loss(surface: Surface, theta: np.ndarray) -> float:
    """The loss by formula, less its constant, in NumPy."""
    eta, y = np.asarray(surface.x) @ theta, np.asarray(surface.y)
    if surface.loss is squared_error:
        return float(np.mean((y - eta) ** 2) / (2 * NOISE**2))
    return float(np.mean(np.logaddexp(0, eta) - y * eta))


def paths_of(surface: Surface, num: int) -> dict[str, np.ndarray]:
    """The four ways down from one start."""
    data = surface.x, surface.y
    rules = {
        "gradient": optax.sgd(surface.rate),
        "natural": geo.natural_gradient_descent(surface.information, RATE),
        "mirror": geo.mirror_descent(surface.potential, RATE),
    }
    paths = {name: np.asarray(descend(surface.loss, rule, num, surface.start, *data)) for name, rule in rules.items()}
    visited = np.asarray(newton(surface.loss, 12, surface.start, *data))
    flow = descend(surface.loss, geo.natural_gradient_descent(surface.information, SMALL), 2000, surface.start, *data)
    paths["flow"] = np.asarray(flow)
    return {**paths, "Newton": visited[np.append(True, np.any(np.diff(visited, axis=0) != 0, axis=1))]}


def bend(surface: Surface, path: np.ndarray) -> float:
    """Largest distance of a path from its chord to the target, in mean coordinates, over the length of the chord."""
    mean = np.asarray(surface.potential.gradient(jnp.asarray(path))) - surface.target
    chord = mean[0] / np.linalg.norm(mean[0])
    return float(np.max(np.abs(mean @ np.array([-chord[1], chord[0]]))) / np.linalg.norm(mean[0]))


def gradients(report: Report, surface: Surface, best: np.ndarray, rng: np.random.Generator) -> None:
    """The gradient by AD against its formula, and against contours that were found without derivatives."""
    name, x, y = surface.name, np.asarray(surface.x), np.asarray(surface.y)
    grad = jax.jit(jax.vmap(jax.grad(surface.loss), in_axes=(0, None, None)))
    low, high = np.array(surface.box[::2]), np.array(surface.box[1::2])
    theta = rng.uniform(low, high, (200, 2))
    found = np.asarray(grad(theta, surface.x, surface.y))
    scale = NOISE**2 if surface.loss is squared_error else 1.0
    formula = np.array([x.T @ (means(surface, t) - y) for t in theta]) / (len(y) * scale)
    report.check(f"{name}: AD gradient less X'(mu - y)/n, 200 points, relative", relative_error(found, formula), 1e-13)
    legendre = np.asarray(surface.potential.gradient(theta)) - surface.target
    report.check(f"{name}: AD gradient less A'(theta) - t, relative", relative_error(found, legendre), 1e-13)
    metric = np.asarray(jax.jit(jax.vmap(surface.information))(theta))
    hessian = np.asarray(jax.jit(jax.vmap(surface.potential.hessian))(theta))
    report.check(f"{name}: Fisher information less A''(theta), relative", relative_error(metric, hessian), 1e-12)
    determinant = np.linalg.det(hessian)
    spread = float(np.max(determinant) / np.min(determinant))
    if surface.loss is squared_error:
        report.check(f"{name}: A7: spread of det A'' over the box, less 1", spread - 1, 1e-12)
    else:
        report.check_at_least(f"{name}: spread of det A'' over the box", spread, 100)
    report.check_at_least(f"{name}: convex, smallest eigenvalue of A''", np.min(np.linalg.eigvalsh(hessian)), 1e-12)

    floor, step = plain_loss(surface, best), 1e-4
    worst = 0.0
    for height in (0.02, 0.1, 0.3):

        def on_contour(angle: float, height: float = height) -> np.ndarray:
            ray = np.array([np.cos(angle), np.sin(angle)]) * (high - low) / 2
            radius = brentq(lambda r: plain_loss(surface, best + r * ray) - floor - height, 1e-9, 1e3, xtol=1e-14)
            return best + radius * ray

        for angle in np.linspace(0.1, 2 * np.pi, 8, endpoint=False):
            tangent = (on_contour(angle + step) - on_contour(angle - step)) / (2 * step)
            normal_ = np.asarray(jax.grad(surface.loss)(on_contour(angle), surface.x, surface.y))
            worst = max(worst, abs(normal_ @ tangent) / np.linalg.norm(normal_) / np.linalg.norm(tangent))
    report.check(f"{name}: AD gradient against contours by bisection, largest cosine", worst, 1e-6)

    far = np.asarray(grad(best + np.array([[1e8], [2e8]]) * [0.6, 0.8], surface.x, surface.y))
    growth = np.linalg.norm(far[1]) / np.linalg.norm(far[0])
    if surface.loss is squared_error:
        report.check(f"{name}: twice as far, gradient over twice, less 1", growth / 2 - 1, 1e-12)
    else:
        report.check(f"{name}: twice as far, the same gradient, ratio less 1", growth - 1, 1e-12)
        bound = np.mean(np.linalg.norm(x, axis=1))
        steepest = np.max(np.linalg.norm(np.vstack([found, far]), axis=1))
        report.check_at_least(f"{name}: mean |x| less the steepest gradient", bound - steepest, 0)


def descents(report: Report, surface: Surface, paths: dict[str, np.ndarray], best: np.ndarray) -> None:
    """Which paths are straight, where, and how exactly."""
    name, data = surface.name, (surface.x, surface.y)
    mean = np.asarray(surface.potential.gradient(jnp.asarray(paths["mirror"])))
    share = (1 - RATE) ** np.arange(len(mean))[:, None]
    line = surface.target + share * (mean[0] - surface.target)
    report.check(f"{name}: mirror descent, m_k - t - 0.7^k (m_0 - t), relative", relative_error(mean, line), 1e-12)
    near = paths["natural"][5]
    scoring = descend(surface.loss, geo.natural_gradient_descent(surface.information), 4, near, *data)
    visited = newton(surface.loss, 4, near, *data)
    difference = relative_error(scoring, visited)
    report.check(f"{name}: natural gradient at rate 1 less Newton, 3 steps, relative", difference, 1e-9)
    for kind, path in paths.items():
        report.check(f"{name}: {kind} arrives, over the best", relative_error(path[-1], best), 1e-5)
    report.check_at_least(f"{name}: gradient descent bends in mean coordinates", bend(surface, paths["gradient"]), 0.05)
    rule = geo.natural_gradient_descent(surface.information, SMALL / 10)
    slow = np.asarray(descend(surface.loss, rule, 4000, surface.start, *data))
    bends = bend(surface, paths["flow"]), bend(surface, slow)
    if surface.loss is squared_error:
        report.check(f"{name}: natural-gradient descent less mirror descent, relative",
                     relative_error(paths["natural"], paths["mirror"]), 1e-11)  # fmt: skip
        report.check(f"{name}: natural-gradient descent, bend at rate 0.01", bends[0], 1e-12)
    else:
        apart = relative_error(paths["natural"], paths["mirror"])
        report.check_at_least(f"{name}: natural less mirror, relative", apart, 0.02)
        report.check(f"{name}: natural gradient, bend at rate 0.001", bends[1], 1e-3)
        report.check(f"{name}: ... over that at rate 0.01, times 10, less 1", 10 * bends[1] / bends[0] - 1, 0.05)


def fits(report: Report, surface: Surface, best: np.ndarray) -> None:
    """The same optimizers as solvers of a fit, with a certificate."""
    n = len(surface.y)
    for kind, rule in (
        ("optax.sgd", optax.sgd(surface.rate / n)),
        ("natural_gradient_descent", geo.natural_gradient_descent(surface.information, RATE / n)),
        ("mirror_descent", geo.mirror_descent(surface.potential, RATE / n)),
    ):
        fit = lg.fit(surface.objective, surface.start, surface.x, surface.y, solver=rule)
        report.check_equal(f"{surface.name}: fit(solver={kind}) says", fit.status.name, "CONVERGED")
        report.check(f"{surface.name}: ... and finds the same, relative", relative_error(fit.params, best), 1e-7)


def grid_of(surface: Surface, num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A grid of parameters, the loss above its minimum, and the mean coordinates."""
    low, high = surface.box[::2], surface.box[1::2]
    a, b = np.meshgrid(np.linspace(low[0], high[0], num), np.linspace(low[1], high[1], num))
    theta = jnp.asarray(np.stack([a, b], -1).reshape(-1, 2))
    loss = jax.jit(jax.vmap(surface.loss, in_axes=(0, None, None)))(theta, surface.x, surface.y)
    mean = np.asarray(surface.potential.gradient(theta)).reshape(num, num, 2)
    return a, b, np.asarray(loss).reshape(num, num), mean


def draw_relief(ax: Any, surface: Surface, best: np.ndarray) -> None:
    """The surface in three dimensions, with its contours and its gradients on the floor."""
    a, b, loss, _ = grid_of(surface, 61)
    floor = loss.min() - 0.55 * np.ptp(loss)
    ax.plot_surface(a, b, loss, cmap="viridis_r", alpha=0.85, lw=0, rcount=60, ccount=60)
    ax.contour(a, b, loss, levels=12, colors=GRAY, linewidths=0.7, offset=floor)
    c, d = (v[5::10, 5::10].ravel() for v in (a, b))
    points = jnp.stack([c, d], -1)
    g = np.asarray(jax.vmap(jax.grad(surface.loss), in_axes=(0, None, None))(points, surface.x, surface.y))
    width, height = np.ptp(a), np.ptp(b)
    arrow = -g * 0.16 / np.max(np.linalg.norm(g * [width, height], axis=1)) * np.array([width, height]) ** 2
    ax.quiver(c, d, np.full(c.size, floor), *arrow.T, np.zeros(c.size), color=RED, lw=1.2, arrow_length_ratio=0)
    ax.scatter(c, d, np.full(c.size, floor), s=4, color=RED, depthshade=False)
    ax.plot(*best, floor, "*", color=INK, ms=9)
    ax.set(zlim=(floor, loss.max()), xlabel=surface.labels[0], ylabel=surface.labels[1])
    ax.tick_params(labelsize=7, pad=-2)
    ax.locator_params(nbins=5)
    ax.view_init(elev=27, azim=-62)
    ax.set_box_aspect((1, 1, 0.85), zoom=1.05)
    ax.set_title(surface.name.capitalize(), y=1.0)


def draw_paths(ax: Axes, surface: Surface, paths: dict[str, np.ndarray], best: np.ndarray, *, mean: bool) -> None:
    """Contours, gradients (in parameters) and the four ways down, in parameters or in mean coordinates."""
    a, b, loss, image = grid_of(surface, 121)
    if mean:
        a, b = image[..., 0], image[..., 1]
        for k in range(0, 121, 12):
            ax.plot(a[k], b[k], color=GRAY, lw=0.4)
            ax.plot(a[:, k], b[:, k], color=GRAY, lw=0.4)
    levels = np.min(loss) + np.ptp(loss) * np.linspace(0.03, 1, 14) ** 2
    ax.contour(a, b, loss, levels=levels, cmap="viridis_r", linewidths=0.9)
    if not mean:
        c, d = (v[6::12, 6::12] for v in (a, b))
        theta = jnp.stack([c.ravel(), d.ravel()], -1)
        g = -np.asarray(jax.vmap(jax.grad(surface.loss), in_axes=(0, None, None))(theta, surface.x, surface.y))
        ax.quiver(c, d, *g.T, color=RED, alpha=0.7, width=0.004, angles="xy", scale_units="width",
                  scale=11 * np.max(np.linalg.norm(g, axis=1)))  # fmt: skip
    styles = {
        f"natural, rate {SMALL:g}": ("flow", "--", RED, 0, 1.8),
        "gradient": ("gradient", "o-", BLUE, 3, 1.3),
        f"natural, rate {RATE:g}": ("natural", "o-", GOLD, 5.5, 1.6),
        f"mirror, rate {RATE:g}": ("mirror", "^-", TEAL, 4, 1.6),
        "Newton": ("Newton", "s-", INK, 7, 1.3),
    }
    for label, (kind, style, color, size, width) in styles.items():
        path = np.asarray(surface.potential.gradient(jnp.asarray(paths[kind]))) if mean else paths[kind]
        hollow = "none" if kind in ("Newton", "natural") else None
        order = 5 if kind == "flow" else 4
        ax.plot(*path.T, style, ms=size, lw=width, mfc=hollow, color=color, label=label, zorder=order)
    ax.plot(*(surface.target if mean else best), "*", color="white", mec=INK, ms=15, zorder=6)
    if mean:
        ax.set(xlabel=f"$m_1$ ({surface.labels[0]})", ylabel=f"$m_2$ ({surface.labels[1]})",
               title=r"Mean coordinates $m=\nabla A(\theta)$")  # fmt: skip
    else:
        ax.set(xlim=surface.box[:2], ylim=surface.box[2:], aspect="equal", xlabel=surface.labels[0],
               ylabel=surface.labels[1], title=r"Parameters $\theta$")  # fmt: skip
    ax.grid(visible=False)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        fig = figure(
            "Two loss surfaces, their gradients and four ways down",
            r"$L(\theta)=A(\theta)-\langle\theta,t\rangle$,   $\nabla L=m-t$,   $m=\nabla A(\theta)$:   mirror descent "
            r"$m\leftarrow m-\gamma(m-t)$ is straight,  natural gradient $\theta\leftarrow\theta-\gamma A''^{-1}(m-t)$ "
            r"as $\gamma\to0$",
        )
        cells = fig.add_gridspec(2, 3, width_ratios=[1, 1, 1.05])
        for row, surface in enumerate(surfaces()):
            best = np.asarray(lg.fit(surface.objective, surface.start, surface.x, surface.y).params)
            paths = paths_of(surface, 200)
            gradients(report, surface, best, rng)
            descents(report, surface, paths, best)
            if surface.loss is cross_entropy:
                fits(report, surface, best)
            draw_relief(fig.add_subplot(cells[row, 0], projection="3d"), surface, best)
            for k, mean in enumerate((False, True)):
                ax = fig.add_subplot(cells[row, 1 + k])
                draw_paths(ax, surface, paths, best, mean=mean)
            if row == 0:
                ax.legend(loc="upper left", fontsize=9.5)
                note(ax, "flat: natural = mirror", (0.97, 0.04))
            else:
                note(ax, "curved: only mirror descent\nis straight at rate 0.3", (0.03, 0.03))
        report.save(fig)


if __name__ == "__main__":
    main()
