"""The estimate does not care about units; gradient descent does, Newton and the natural gradient do not.

Claim:
    Measure the target in other units, y' = c y. A density has the unit 1/[y], so the NLL moves by N log c, whatever
    the parameters: the estimate is the same, its certificate and standard errors too, and the difference of two
    models. Newton and natural-gradient descent take the same steps in all units. Gradient descent does not: a
    learning rate has the unit of theta^2 per nat, so the same number makes it crawl in one unit and leave in another.

Source:
    Note on mean squared error and negative log-likelihood, "Conclusion" and section 2.

Errata:
    A18: "gradient descent does not care about the absolute value and the unit of the loss". The minimizer does not;
    descent by c L takes c times the step, and so does a sum instead of a mean.
    A20: "the NLL is dimensionless" holds for discrete targets. That of a density changes by N log c and may be
    negative; it can be compared in one unit only.

Data:
    diabetes (scikit-learn), columns standardized, target centered.

Run time:
    about 15 s.
"""

import functools
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from sklearn.datasets import load_diabetes

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note, relative_error
from experiments.trajectories import descend, newton
from lossgeo import distributions as dist
from lossgeo import geometry as geo

UNITS = {"points": 1.0, "hundreds": 1e-2, "thousands": 1e-3}
COLORS = {"points": BLUE, "hundreds": TEAL, "thousands": RED}
RATE = 0.5  # of gradient descent on the mean NLL
CLOSE = 1e-3  # nats above the minimum that count as arrived
START = {"coef": np.array([-70.0]), "log_scale": np.log(180.0)}


def linear(params: Any, x: jax.Array) -> dist.Normal:
    """Linear regression; the scale is a parameter."""
    return dist.Normal(x @ params["coef"], jnp.exp(params["log_scale"]))


def with_scale(params: Any, x: jax.Array, scale: jax.Array) -> dist.Normal:
    """Linear regression with known noise."""
    return dist.Normal(x @ params["coef"], scale)


def predicted(params: Any, x: jax.Array) -> Any:
    """The parameters of the law of every row, as a function of those of the model."""
    return x @ params["coef"], params["log_scale"]


def fisher(params: Any, *, data: Any) -> jax.Array:
    """Expected information, mean over the rows, pulled back from their normal laws."""
    x, n = data[0], data[0].shape[0]
    each = jnp.append(jnp.full(n, jnp.exp(-2 * params["log_scale"]) / n), 2.0)
    return geo.pullback_metric(functools.partial(predicted, x=x), params, each)


OBJECTIVE = lg.map_objective(lg.likelihood(linear))
KNOWN = lg.map_objective(lg.likelihood(with_scale))
GRADIENT, NATURAL, ADAM = optax.sgd(RATE), geo.natural_gradient_descent(fisher, RATE), optax.adam(0.05)


def mean_nll(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """NLL per row."""
    return OBJECTIVE(params, x, y) / y.shape[0]


def mean_nll_known(params: Any, x: jax.Array, y: jax.Array, scale: jax.Array) -> jax.Array:
    """NLL per row, with known noise."""
    return KNOWN(params, x, scale, y) / y.shape[0]


def mean_squared_error(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """MSE."""
    return jnp.mean((y - x @ params["coef"]) ** 2)


def scaled_loss(params: Any, x: jax.Array, y: jax.Array, factor: jax.Array) -> jax.Array:
    """A multiple of the NLL per row."""
    return factor * mean_nll(params, x, y)


def to_unit(params: Any, c: float) -> Any:
    """The same laws for the target c y."""
    return {"coef": c * params["coef"], "log_scale": params["log_scale"] + math.log(c)}


def apart(path: Any, reference: Any, c: float) -> float:
    """Largest distance of a path in the unit c from a reference in points, over the largest coordinate."""
    back = to_unit(path, 1 / c)
    return max(relative_error(back[name], reference[name]) for name in reference)


def shift_of_nll(report: Report, x: Any, y: Any, rng: np.random.Generator) -> None:
    """The NLL moves by N log c, and nothing else does."""
    n, p = x.shape
    draws = {"coef": jnp.asarray(rng.normal(size=(100, p)) * 30), "log_scale": jnp.asarray(rng.uniform(3, 6, 100))}
    nll = jax.jit(jax.vmap(lambda params, x, y: OBJECTIVE(params, x, y), in_axes=(0, None, None)))
    for c in (1000.0, 2.54, 1e-3):
        moved = nll(to_unit(draws, c), x, c * y) - nll(draws, x, y)
        report.check(f"A20: NLL(c y) - NLL(y) over N log c, less 1; c = {c:g}, 100 laws",
                     np.max(abs(moved / (n * math.log(c)) - 1)), 1e-12)  # fmt: skip
    moved = nll(to_unit(draws, 1000.0), x[:50], 1000 * y[:50]) - nll(draws, x[:50], y[:50])
    report.check("A20: ... of 50 rows in thousandths: + 345.3878 nats", np.max(abs(moved - 345.38776394910684)), 1e-9)


def inference(report: Report, x: Any, y: Any) -> None:
    """The fit, its certificate and its standard errors; what may be compared across units and what may not."""
    start = {"coef": jnp.zeros(x.shape[1]), "log_scale": jnp.log(jnp.std(y))}
    few, few_start = x[:, 2:4], {**start, "coef": jnp.zeros(2)}
    fits = {name: lg.fit(OBJECTIVE, to_unit(start, c), x, c * y) for name, c in UNITS.items()}
    smaller = {name: lg.fit(OBJECTIVE, to_unit(few_start, c), few, c * y) for name, c in UNITS.items()}
    gain = {name: fits[name].criteria().aic - smaller[name].criteria().aic for name in UNITS}
    truth, errors = fits["points"], np.asarray(fits["points"].standard_errors()["coef"])
    off = jax.tree.map(lambda leaf: leaf * 1.01, truth.params)
    edm, steep = lg.Fit.from_params(OBJECTIVE, off, x, y).edm, jax.grad(OBJECTIVE)(off, x, y)["coef"]
    for name in ("hundreds", "thousands"):
        c, fit = UNITS[name], fits[name]
        ours = np.asarray(fit.standard_errors()["coef"]) / c
        judged = lg.Fit.from_params(OBJECTIVE, to_unit(off, c), x, c * y)
        slope = jax.grad(OBJECTIVE)(judged.params, x, c * y)["coef"]
        report.check(f"{name}: estimates over c, relative", apart(fit.params, truth.params, c), 1e-12)
        report.check(f"{name}: standard errors over c, relative", relative_error(ours, errors), 1e-10)
        report.check_equal(f"{name}: steps of the default fit", fit.num_steps, truth.num_steps)
        report.check(f"{name}: certificate of a point off the optimum, relative", relative_error(judged.edm, edm), 1e-9)
        report.check(f"{name}: ... and its gradient times c, relative", relative_error(c * slope, steep), 1e-9)
        report.check(f"{name}: AIC of 10 columns less that of 2, change", gain[name] - gain["points"], 1e-9)
    report.check_at_least("A20: NLL at the optimum, points", truth.value, 1000)
    report.check_at_least("A20: minus the NLL at the optimum, thousands (negative)", -fits["thousands"].value, 500)


def invariance(report: Report, x: Any, y: Any, num: int) -> None:
    """Paths in several units, all columns: whose do not depend on the unit, of the target, of a column, of the loss."""
    start = {"coef": jnp.full(x.shape[1], -20.0), "log_scale": jnp.log(200.0)}
    units = np.geomspace(1e-2, 1e3, x.shape[1])
    methods = {
        "Newton": functools.partial(newton, mean_nll, num),
        "natural gradient": functools.partial(descend, mean_nll, NATURAL, num),
    }
    for name, run in methods.items():
        reference = run(start, x, y)
        for c in (1000.0, 2.54, 1e-3):
            report.check(f"{name}, iterates over c, c = {c:g}, relative",
                         apart(run(to_unit(start, c), x, c * y), reference, c), 1e-12)  # fmt: skip
        back = run({**start, "coef": start["coef"] * units}, x / units[None, :], y)
        back = {**back, "coef": np.asarray(back["coef"]) / units}
        report.check(f"{name}, columns in units from 0.01 to 1000, iterates", apart(back, reference, 1.0), 1e-12)
    report.check("A18: Newton on 1000 times the loss, iterates", apart(
        newton(scaled_loss, num, start, x, y, 1000.0), newton(mean_nll, num, start, x, y), 1.0), 1e-12)  # fmt: skip
    plain = descend(mean_nll, GRADIENT, num, start, x, y)
    larger = descend(scaled_loss, optax.sgd(RATE / 1000), num, start, x, y, 1000.0)
    thrown = descend(scaled_loss, GRADIENT, 2, start, x, y, 1000.0)
    first, plain_first = (path["log_scale"][1] - start["log_scale"] for path in (thrown, plain))
    report.check("A18: descent on 1000 L with a 1000th of the rate, iterates", apart(larger, plain, 1.0), 1e-12)
    report.check("A18: ... with the same rate, first step over 1000, relative", first / plain_first / 1000 - 1, 1e-9)


def known_noise(report: Report, x: Any, y: Any, num: int) -> None:
    """With known noise all is quadratic: the rate of gradient descent has a unit, and its limit too."""
    n, p = x.shape
    values, vectors = np.linalg.eigh(np.asarray(x.T @ x) / n)
    best = np.linalg.lstsq(np.asarray(x), np.asarray(y), rcond=None)[0]
    start, scale = {"coef": jnp.zeros(p)}, 54.0
    rate = 0.4 * scale**2

    def nll_path(c: float, rate: float) -> np.ndarray:
        data = x, c * y, jnp.asarray(c * scale)
        return np.asarray(descend(mean_nll_known, optax.sgd(rate), num, start, *data)["coef"]) / c

    def mse_path(x: Any, y: Any) -> np.ndarray:
        return np.asarray(descend(mean_squared_error, optax.sgd(0.1), num, start, x, y)["coef"])

    reference = nll_path(1.0, rate)
    shrink = (1 - rate / scale**2 * values) ** np.arange(num)[:, None]
    closed = best - (shrink * (vectors.T @ best)) @ vectors.T
    report.check("known noise: iterates against the closed form", relative_error(reference, closed), 1e-11)
    report.check("known noise: c = 1000 and the rate c^2 times, iterates over c",
                 relative_error(nll_path(1000.0, 1e6 * rate), reference), 1e-12)  # fmt: skip
    report.check(f"known noise: c = 1000 and the same rate, way gone in {num} steps",
                 np.max(abs(nll_path(1000.0, rate)[-1])) / np.max(abs(best)), 1e-3)  # fmt: skip
    for c in (1.0, 1e-3):
        for share in (0.99, 1.01):
            stiff = (nll_path(c, share * 2 * (c * scale) ** 2 / values[-1]) - best) @ vectors[:, -1]
            report.check(f"known noise, c = {c:g}: {share:g} of the rate 2 c^2 s^2/lambda, factor per step",
                         (stiff[20] / stiff[0]) ** 0.05 - (2 * share - 1), 1e-9)  # fmt: skip
    report.check("MSE: same rate in all units of y, iterates over c",
                 relative_error(mse_path(x, 1000 * y) / 1000, mse_path(x, y)), 1e-12)  # fmt: skip
    report.check("MSE: but not of x: way gone with columns a 1000th as large",
                 np.max(abs(mse_path(x / 1000, y)[-1])) / 1000 / np.max(abs(best)), 1e-3)  # fmt: skip


@functools.partial(jax.jit, static_argnames="transform")
def steps_to_arrive(transform: Any, units: jax.Array, x: Any, y: Any, least: Any, budget: int) -> jax.Array:
    """Steps until the NLL is ``CLOSE`` to its minimum, for each unit; infinite if the budget does not do."""
    transform = optax.with_extra_args_support(transform)

    def one(c: jax.Array) -> jax.Array:
        n = y.shape[0]
        start = {"coef": c * START["coef"], "log_scale": START["log_scale"] + jnp.log(c)}

        def gap(params: Any) -> jax.Array:
            return n * mean_nll(params, x, c * y) - least - n * jnp.log(c)

        def going(state: Any) -> jax.Array:
            distance = gap(state[0])
            return (distance > CLOSE) & jnp.isfinite(distance) & (state[2] < budget)

        def step(state: Any) -> Any:
            params, inner, k = state
            updates, inner = transform.update(jax.grad(mean_nll)(params, x, c * y), inner, params, data=(x, y))
            return optax.apply_updates(params, updates), inner, k + 1

        params, _, k = jax.lax.while_loop(going, step, (start, transform.init(start), 0))
        return jnp.where(gap(params) <= CLOSE, k, jnp.inf)

    return jax.vmap(one)(units)


class Surface(NamedTuple):
    """The two-parameter problem of the figure: one column, a slope and a scale."""

    x: jax.Array
    y: jax.Array
    best: Any
    least: float
    gradient: dict[str, Any]
    natural: dict[str, Any]
    newton: dict[str, Any]
    units: np.ndarray
    steps: dict[str, np.ndarray]
    budget: int


def gaps(paths: Any, found: Surface, c: float) -> np.ndarray:
    """Nats above the minimum along a path in the unit c."""
    nll = jax.vmap(mean_nll, in_axes=(0, None, None))(to_unit(paths, 1 / c), found.x, found.y)
    return np.asarray(nll) * len(found.y) - found.least


def slope_and_scale(report: Report, x: Any, y: Any, num: int, count: int, budget: int) -> Surface:
    """Three optimizers on one surface, in three units."""
    x = x[:, 2:3]
    fit = lg.fit(OBJECTIVE, START, x, y)
    gradient = {name: descend(mean_nll, GRADIENT, num, to_unit(START, c), x, c * y) for name, c in UNITS.items()}
    natural = {name: descend(mean_nll, NATURAL, 60, to_unit(START, c), x, c * y) for name, c in UNITS.items()}
    visited = {name: newton(mean_nll, 14, to_unit(START, c), x, c * y) for name, c in UNITS.items()}
    units = np.geomspace(1e-4, 10, count)
    steps = {
        name: np.asarray(steps_to_arrive(transform, jnp.asarray(units), x, y, fit.value, budget))
        for name, transform in (("gradient descent", GRADIENT), ("Adam", ADAM), ("natural gradient", NATURAL))
    }
    found = Surface(x, y, fit.params, float(fit.value), gradient, natural, visited, units, steps, budget)
    for name in ("hundreds", "thousands"):
        for label, paths in (("natural gradient", natural), ("Newton", visited)):
            moved = apart(paths[name], paths["points"], UNITS[name])
            report.check(f"slope and scale, {label}, {name}: iterates over c", moved, 1e-12)
    left = {name: gaps(path, found, UNITS[name])[-1] for name, path in gradient.items()}
    report.check("slope and scale, Newton: nats left", gaps(visited["points"], found, 1.0)[-1], 1e-9)
    report.check("slope and scale, natural gradient: nats left", gaps(natural["points"], found, 1.0)[-1], 1e-9)
    report.check(f"gradient descent, hundreds: nats left after {num} steps", left["hundreds"], 1e-9)
    report.check_at_least("gradient descent, points: it crawls, nats left", left["points"], 100)
    flung = np.max(abs(gradient["thousands"]["coef"])) / UNITS["thousands"] / abs(fit.params["coef"][0])
    report.check_at_least("gradient descent, thousands: it leaves, largest slope over the best", flung, 50)
    report.check_equal("natural gradient: different step counts over all units", len(set(steps["natural gradient"])), 1)
    crawl = np.isfinite(steps["gradient descent"]) & (units > 0.03)
    exponent = np.polyfit(np.log(units[crawl]), np.log(steps["gradient descent"][crawl]), 1)[0]
    report.check("gradient descent: exponent of the steps in the unit, less 2", exponent - 2, 0.05)
    for name, status in (("hundreds", "CONVERGED"), ("points", "MAX_STEPS")):
        c, solver = UNITS[name], optax.sgd(RATE / len(y))
        ended = lg.fit(OBJECTIVE, to_unit(START, c), x, c * y, solver=solver, max_steps=200, throw=False)
        report.check_equal(f"fit(..., solver=optax.sgd(...), max_steps=200), {name}: status", ended.status.name, status)
    return found


def draw_surface(ax: Axes, found: Surface) -> None:
    """The NLL over slope and scale, with the paths."""
    box = (-100.0, 130.0, 35.0, 330.0)
    slope, scale = np.linspace(*box[:2], 201), np.geomspace(*box[2:], 161)
    n, xx = len(found.y), float(jnp.sum(found.x**2))
    squares = n * float(jnp.exp(2 * found.best["log_scale"])) + xx * (slope - float(found.best["coef"][0])) ** 2
    nll = n * np.log(scale)[:, None] + 0.5 * squares[None, :] / scale[:, None] ** 2
    nll -= nll.min()
    levels = np.geomspace(2, 3000, 14)
    ax.contourf(slope, scale, nll, levels=[0, *levels], cmap="bone_r", norm="symlog", alpha=0.2)
    ax.contour(slope, scale, nll, levels=levels, colors=GRAY, linewidths=0.6)
    labels = {"points": "$y$ in points: crawls", "hundreds": "$y/100$: fine", "thousands": "$y/1000$: leaves"}
    for name, color in COLORS.items():
        path = to_unit(found.gradient[name], 1 / UNITS[name])
        b, s = np.asarray(path["coef"][:, 0]), np.exp(np.asarray(path["log_scale"]))
        if name == "thousands":
            ax.annotate("", (127, s[0]), (b[0], s[0]), arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.8})
            ax.text(24, s[0] * 0.985, f"first step: slope {b[1]:,.0f}", size=9.5, color=color, va="bottom", ha="center",
                    bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1})  # fmt: skip
            ax.plot([], [], color=color, label=f"gradient descent, {labels[name]}")
        else:
            ax.plot(b, s, "o-", color=color, ms=3.4, lw=1.3, label=f"gradient descent, {labels[name]}")
    for paths, color, marker, label in (
        (found.natural, GOLD, "o", "natural gradient: rings for 3 units"),
        (found.newton, INK, "s", "Newton: squares for 3 units"),
    ):
        for size, (name, c) in zip((5, 8.5, 12), UNITS.items(), strict=True):
            path = to_unit(paths[name], 1 / c)
            ax.plot(path["coef"][:, 0], np.exp(np.asarray(path["log_scale"])), marker + "-", color=color, ms=size,
                    mfc="none", mew=1.1, lw=1.2, label=label if size == 12 else None)  # fmt: skip
    ax.plot(*found.best["coef"], np.exp(found.best["log_scale"]), "*", color="white", mec=INK, ms=17, zorder=6)
    ax.set(yscale="log", xlim=box[:2], ylim=box[2:], xlabel="slope (points per standard deviation of bmi)",
           ylabel="scale $s$ (points)", title="One surface, three units of $y$")  # fmt: skip
    ax.set_yticks([50, 100, 200, 300], ["50", "100", "200", "300"])
    ax.minorticks_off()
    ax.legend(loc="lower left", fontsize=9.5)


def draw_gaps(ax: Axes, found: Surface) -> None:
    """Nats above the minimum against the step."""
    for name, color in COLORS.items():
        gap = gaps(found.gradient[name], found, UNITS[name])
        ax.loglog(np.arange(1, len(gap)), gap[1:], color=color, label=f"gradient descent, {name}")
    for paths, color, marker, label in ((found.natural, GOLD, "o", "natural gradient, all"),
                                        (found.newton, INK, "s", "Newton, all")):  # fmt: skip
        for size, (name, c) in zip((3, 5.5, 8), UNITS.items(), strict=True):
            gap = gaps(paths[name], found, c)
            ax.loglog(np.arange(1, len(gap)), gap[1:], marker + "-", color=color, ms=size, mfc="none", lw=1.2,
                      label=label if size == 8 else None)  # fmt: skip
    ax.set(ylim=(1e-8, 1e6), xlabel="step", ylabel="nats above the minimum", title="One learning rate, three units")
    ax.legend(loc="lower right")


def draw_steps(ax: Axes, found: Surface) -> None:
    """Steps to arrive against the unit."""
    colors = {"gradient descent": BLUE, "Adam": RED, "natural gradient": GOLD}
    for name, needed in found.steps.items():
        arrived, lost = np.where(np.isfinite(needed), needed, np.nan), found.units[~np.isfinite(needed)]
        ax.loglog(found.units, arrived, "o-", ms=3.5, color=colors[name])
        height = found.budget * (2.6 if name == "Adam" else 1.3)
        ax.plot(lost, np.full(lost.size, height), "x", ms=5, color=colors[name])
    passes = [1 + np.argmax(gaps(found.newton[name], found, c)[1:] <= CLOSE) for name, c in UNITS.items()]
    ax.plot(list(UNITS.values()), passes, "s-", ms=6, mfc="none", color=INK)
    ax.axhline(found.budget, color=GRAY, lw=0.8, ls="--")
    ax.text(1.1e-4, found.budget * 0.8, r"budget; $\times$: never arrived", size=8.5, va="top")
    for x, y, text, color in ((2, 45, "descent\n$\\propto c^2$", BLUE), (1.1e-3, 170, "Adam", RED),
                              (1e-4, 17, "natural gradient", GOLD), (1e-4, 3.4, "Newton, 3 units", INK)):  # fmt: skip
        ax.text(x, y, text, size=9.5, color=color, ha="right" if x > 1 else "left")
    ax.set(xlabel="$c$, the target is $c\\,y$ (points: $c=1$)", ylabel=f"steps to {CLOSE:g} nats",
           title="What a unit costs", ylim=(2, found.budget * 6))  # fmt: skip


def draw_shift(ax: Axes, found: Surface) -> None:
    """The NLL at the optimum against the unit: a line of slope N."""
    n = len(found.y)
    null = 0.5 * n * (1 + math.log(2 * math.pi * float(jnp.var(found.y))))
    for least, color, label in ((null, GRAY, "mean only"), (found.least, TEAL, "with bmi")):
        ax.semilogx(found.units, least + n * np.log(found.units), color=color, label=label)
    ax.axhline(0, color=INK, lw=0.8)
    note(ax, f"slope $N={n}$;\nthe gap stays\n{null - found.least:.1f} nats", (0.97, 0.05))
    ax.set(xlabel="$c$", ylabel="NLL at the optimum, nats", title="A density's unit")
    ax.legend(loc="upper left", fontsize=9)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        x, y = load_diabetes(return_X_y=True)
        x, y = jnp.asarray((x - x.mean(axis=0)) / x.std(axis=0)), jnp.asarray(y - y.mean())
        shift_of_nll(report, x, y, np.random.default_rng(seed))
        inference(report, x, y)
        invariance(report, x, y, 12)
        known_noise(report, x, y, 200)
        found = slope_and_scale(report, x, y, 300, 16 if fast else 31, 2_000 if fast else 20_000)
        fig = figure(
            "The estimate does not care about units; gradient descent does",
            r"$\mathrm{NLL}(c\,y)=\mathrm{NLL}(y)+N\log c$,   but   $c\,\theta$ moves by "
            r"$-\gamma\,\nabla\mathrm{NLL}/c$:   $1/c^2$ of the way.   Newton $H^{-1}g$ and natural gradient "
            r"$G^{-1}g$ carry the unit of $\theta$",
        )
        left, right = fig.add_gridspec(1, 2, width_ratios=[1.05, 1])
        draw_surface(fig.add_subplot(left), found)
        cells = right.subgridspec(2, 2, height_ratios=[1, 1.1], width_ratios=[1.7, 1])
        draw_gaps(fig.add_subplot(cells[0, :]), found)
        draw_steps(fig.add_subplot(cells[1, 0]), found)
        draw_shift(fig.add_subplot(cells[1, 1]), found)
        report.save(fig)


if __name__ == "__main__":
    main()
