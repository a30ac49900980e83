r"""The fused cross-entropy keeps its digits: a map of rounding errors.

Claim:
    With M the largest logit, L = (M - z_c) + log(1 + sum of the other exp(z_j - M)) is a sum of two non-negative terms,
    so nothing cancels: it is within 2 ulp of the exact loss at every offset and every margin of two logits, in float16,
    bfloat16, float32 and float64. Each of the four usual formulas has a desert in which no digit is right.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.6, equations (4.1.4) and (4.1.5).

Errata:
    A1: the fused formula is printed with the sign reversed, and the order of the sum matters: (M + log S) - z_c is 0
    for two equal logits of 1e8 in float32, and (M - z_c) + log S is log 2.
    A22: shifting by M cures overflow, but not cancellation: logits (20, 0) have the loss 2.06e-9 and not 0.
    A21: the cross-entropy of *probabilities* does not have good numerical properties; that of logits can have them.

Data:
    A grid of offsets and margins of two logits, and the logits of digits (scikit-learn) under a softmax regression.
    The truth is computed from the logits as the dtype holds them, in decimal arithmetic of sixty digits.

Run time:
    about 25 s.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import distributions as dist
from lossgeo import models, numerics

# Largest offset and margin. A larger offset swallows every margin, which leaves equal logits (checked apart, at FAR);
# the loss of the largest margin is still a normal number of the dtype.
RANGES = {"float16": (2e4, 9.0), "bfloat16": (1e4, 80.0), "float32": (1e9, 85.0), "float64": (1e18, 700.0)}
FAR = {"float16": 6e4, "bfloat16": 1e38, "float32": 1e38, "float64": 1e308}
OURS = "lossgeo"
FORMULAS = {**numerics.CROSS_ENTROPY_FORMULAS, OURS: numerics.softmax_cross_entropy}
PRINTED = {
    "log of softmax": r"$-\log\,(e^{z_c}/\sum e^{z_j})$",
    "log of shifted softmax": r"$-\log\,(e^{z_c-M}/\sum e^{z_j-M})$",
    "log-sum-exp less logit": r"$(M+\log\sum e^{z_j-M})-z_c$",
    "shifted log-sum-exp": r"$(M-z_c)+\log\sum e^{z_j-M}$",
    OURS: r"$(M-z_c)+\log(1+\sum_{j\neq m}e^{z_j-M})$",
}
COLORS = dict(zip(FORMULAS, (GRAY, GOLD, RED, TEAL, BLUE), strict=True))
DIGITS_LOST = LinearSegmentedColormap.from_list(
    "lost", ["#ffffff", "#fbe3b5", "#f0a35e", RED, "#7d1d3f"]
).with_extremes(over="#2a0a18")


def _chosen(log_q: jax.Array, labels: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(log_q, labels[:, None], axis=-1)[:, 0]


def _jax(z: jax.Array, labels: jax.Array) -> jax.Array:
    return _chosen(jax.nn.log_softmax(z, axis=-1), labels)


def _scipy(z: jax.Array, labels: jax.Array) -> jax.Array:
    return _chosen(jnp.asarray(scipy.special.log_softmax(np.asarray(z), axis=-1)), labels)


LIBRARIES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "optax, class ids": jax.jit(optax.softmax_cross_entropy_with_integer_labels),
    "jax.nn.log_softmax": jax.jit(_jax),
    "scipy.special.log_softmax": _scipy,
}


def both_signs(largest: float, smallest: float, num: int) -> np.ndarray:
    """A symmetric grid with 0, even in the logarithm."""
    points = np.geomspace(smallest, largest, num)
    return np.concatenate([-points[::-1], [0.0], points])


def grid(dtype: str, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and margins."""
    offset, margin = RANGES[dtype]
    return both_signs(offset, 1e-2, num), both_signs(margin, margin * 1e-4, num)


def maps(report: Report, num: int) -> dict[str, dict[str, np.ndarray]]:
    """Errors in ulp of five formulas in four dtypes."""
    found: dict[str, dict[str, np.ndarray]] = {}
    compiled = {name: jax.jit(formula) for name, formula in FORMULAS.items()}
    for dtype in RANGES:
        offsets, margins = grid(dtype, num)
        found[dtype] = {
            name: numerics.cross_entropy_error_map(formula, offsets, margins, jnp.dtype(dtype))
            for name, formula in compiled.items()
        }
        report.check(f"{dtype}: largest error of lossgeo, ulp, {offsets.size} x {margins.size} cells",
                     np.max(found[dtype][OURS]), 2.0)  # fmt: skip
        at_far = numerics.cross_entropy_error_map(compiled[OURS], [-FAR[dtype], FAR[dtype]], margins, jnp.dtype(dtype))
        report.check(f"{dtype}: the same at the offsets {FAR[dtype]:g} and -{FAR[dtype]:g}", np.max(at_far), 2.0)
        lost = 2.0 ** (jnp.finfo(dtype).nmant - 1)
        others = [np.max(found[dtype][name]) for name in numerics.CROSS_ENTROPY_FORMULAS]
        report.check_at_least(f"{dtype}: least of the four other formulas' largest errors, ulp (no digit left)",
                              min(others), lost)  # fmt: skip
        overflows = np.isinf(found[dtype]["log of softmax"])
        far = np.abs(offsets) > -2 * float(jnp.log(jnp.finfo(dtype).tiny))
        report.check_equal(f"{dtype}: cells with a far offset that unshifted exponentials turn into inf or NaN",
                           int(np.sum(overflows[far])), int(np.sum(far)) * margins.size)  # fmt: skip
        report.check_equal(
            f"{dtype}: cells of lossgeo that are inf or NaN", int(np.sum(np.isinf(found[dtype][OURS]))), 0
        )
    offsets, margins = grid("float32", num)
    for name, loss in LIBRARIES.items():
        errors = numerics.cross_entropy_error_map(loss, offsets, margins, jnp.float32)
        report.check_at_least(f"float32: share of the cells where {name} is wrong by more than 2 ulp",
                              np.mean(errors > 2), 0.05)  # fmt: skip
    return found


def points(report: Report, rng: np.random.Generator) -> None:
    """The points that the source speaks of."""
    zero = jnp.zeros(1, int)
    right = jnp.array([[20.0, 0.0]], jnp.float32)
    exact = float(numerics.exact_cross_entropy(right, 0)[0])
    ours = numerics.softmax_cross_entropy(right, zero)
    report.check("A22: logits (20, 0) in float32, lossgeo against 2.0611536e-09, relative", ours[0] / exact - 1, 1e-7)
    optax_loss = optax.softmax_cross_entropy_with_integer_labels(right, zero)
    report.check("A22: the same by optax: the loss is lost", optax_loss[0], 0.0)
    twins = jnp.full((1, 2), 1e8, jnp.float32)
    report.check("A1: equal logits of 1e8 in float32: lossgeo less log 2",
                 numerics.softmax_cross_entropy(twins, zero)[0] - np.log(2), 6e-8)  # fmt: skip
    report.check("A1: the same by (M + log S) - z_c", FORMULAS["log-sum-exp less logit"](twins, zero)[0], 0.0)
    z = jnp.asarray(rng.normal(size=(200, 6)) * 3)
    labels = jnp.asarray(rng.integers(6, size=200))
    top = jnp.max(z, axis=1, keepdims=True)
    printed = jnp.take_along_axis(z, labels[:, None], 1)[:, 0] - top[:, 0] - jnp.log(jnp.sum(jnp.exp(z - top), axis=1))
    loss = numerics.softmax_cross_entropy(z, labels)
    report.check("A1: formula (4.1.5) as printed plus the loss: the printed one is its negative, relative",
                 np.max(abs(printed / loss + 1)), 1e-12)  # fmt: skip
    report.check_at_least("A1: the printed formula's largest value, which a loss would have positive",
                          -np.max(printed), 0.0)  # fmt: skip
    gradient = jax.grad(numerics.softmax_cross_entropy)(right[0], 0)
    truth = float(np.exp(-20.0) / (1 + np.exp(-20.0)))
    report.check("gradient at (20, 0) in float32 against (-q, q), relative",
                 np.max(abs(np.asarray(gradient, float) / np.array([-truth, truth]) - 1)), 3e-7)  # fmt: skip
    report.check("the same by the gradient q_c - 1 of optax: the label's component is lost",
                 jax.grad(optax.softmax_cross_entropy_with_integer_labels)(right[0], 0)[0], 0.0)  # fmt: skip


def digits(report: Report, rows: int) -> dict[str, Any]:
    """Losses of a good classifier in float32, row by row."""
    images, labels = load_digits(return_X_y=True)
    x = images / 16.0
    objective = lg.map_objective(
        lg.likelihood(models.softmax_regression(10)),
        {"coef": dist.Normal(0.0, 20.0), "intercept": dist.Normal(0.0, 20.0)},
    )
    init = {"coef": jnp.zeros((64, 10)), "intercept": jnp.zeros(10)}
    fit = lg.solve(objective, init, x, labels)
    report.check_equal(
        "digits: softmax regression with the prior N(0, 20^2), status", lg.Status(int(fit.status)).name, "CONVERGED"
    )
    logits = x @ np.asarray(fit.params["coef"]) + np.asarray(fit.params["intercept"])
    z, y = jnp.asarray(logits[:rows], jnp.float32), labels[:rows]
    exact: list[Any] = [None] * len(y)
    for k in range(10):
        members = np.flatnonzero(y == k)
        for row, value in zip(members, numerics.exact_cross_entropy(z[members], k), strict=True):
            exact[row] = value
    errors, zeros = {}, {}
    for name in ("log-sum-exp less logit", "shifted log-sum-exp", OURS):
        loss = jax.jit(FORMULAS[name])(z, jnp.asarray(y))
        errors[name], zeros[name] = numerics.ulp_error(loss, exact), int(np.sum(np.asarray(loss) == 0))
    report.check("digits, ten classes in float32: largest error of lossgeo, ulp", np.max(errors[OURS]), 6.0)
    report.check_equal("digits: losses that are exactly 0, lossgeo", zeros[OURS], 0)
    report.check_at_least(
        "digits: share of the losses that are exactly 0 by log-sum-exp less logit",
        zeros["log-sum-exp less logit"] / len(y), 0.02,
    )  # fmt: skip
    return {"exact": np.array([float(v) for v in exact]), "errors": errors, "zeros": zeros, "rows": len(y)}


def show_map(ax: Axes, errors: np.ndarray) -> Any:
    """Heat map of one formula: white is right, dark is infinite."""
    with np.errstate(divide="ignore"):
        shade = np.where(np.isinf(errors), 99.0, np.maximum(np.log2(np.maximum(errors, 2.0)), 1.0))
    return ax.pcolormesh(shade.T, cmap=DIGITS_LOST, norm=Normalize(1, 24), rasterized=True)


def ticks(values: np.ndarray, wanted: list[float]) -> tuple[list[float], list[str]]:
    """Where values lie on an axis that counts cells."""
    places = [float(np.interp(v, values, np.arange(values.size) + 0.5)) for v in wanted]
    return places, ["0" if v == 0 else f"{'-' if v < 0 else ''}{abs(v):g}" for v in wanted]


def draw_maps(fig: Figure, cells: Any, found: dict[str, np.ndarray], num: int) -> None:
    """Five maps in float32."""
    offsets, margins = grid("float32", num)
    axes = []
    for k, (name, errors) in enumerate(found.items()):
        ax = fig.add_subplot(cells[k])
        filled = show_map(ax, errors)
        ax.grid(visible=False)
        ax.set_title(name, size=11, color=BLUE if name == OURS else INK)
        ax.set_xticks(ticks(offsets, [-1e6, -1, 1, 1e6])[0], ["$-10^6$", "$-1$", "1", "$10^6$"])
        ax.set_yticks(*ticks(margins, [-40, -1, 0, 1, 40]) if k == 0 else ([], []))
        ax.set_xlabel(f"offset\n{PRINTED[name]}\n{np.mean(errors > 2):.0%} of the cells wrong", size=10.5)
        axes.append(ax)
    axes[0].set_ylabel("margin $z_c-z_j$")
    bar = fig.colorbar(filled, ax=axes, shrink=0.9, pad=0.008, extend="max", aspect=16, ticks=[1, 6, 12, 18, 24])
    bar.set_label("error, ulp")
    bar.ax.set_yticklabels([r"$\leq 2$", "$2^{6}$", "$2^{12}$", "$2^{18}$", "$2^{24}$"])
    bar.ax.set_title(r"$\infty$", size=10)


def draw_table(ax: Axes, found: dict[str, dict[str, np.ndarray]]) -> None:
    """Share of wrong cells, formula by dtype."""
    shares = np.array([[np.mean(found[d][name] > 2) for d in RANGES] for name in FORMULAS])
    ax.imshow(shares, cmap=DIGITS_LOST, vmin=0, vmax=1.15, aspect="auto")
    for i, j in np.ndindex(*shares.shape):
        ax.text(j, i, f"{shares[i, j]:.0%}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else INK)
    ax.set_xticks(range(len(RANGES)), list(RANGES), size=9.5)
    ax.set_yticks(range(len(FORMULAS)), list(FORMULAS), size=9.5)
    ax.grid(visible=False)
    ax.set_title("Share of wrong cells in four dtypes")


def draw_slice(ax: Axes, found: dict[str, np.ndarray], num: int) -> None:
    """Error over the margin of a right prediction, no offset."""
    offsets, margins = grid("float32", num)
    row, right = int(np.argmin(np.abs(offsets))), margins > 0
    for name, errors in found.items():
        # Half an ulp is drawn for all that is better, and infinity at the top.
        shown = np.clip(errors[row, right], 0.5, 2.0**27)
        ax.loglog(margins[right], shown, color=COLORS[name], label=name, lw=2.6 if name == OURS else 1.6)
    ax.axhline(2, color=INK, lw=0.9, ls="--")
    ax.set(xlim=(0.05, margins[-1]), ylim=(0.4, 2.0**28), xlabel="margin of the right class (offset 0)",
           ylabel="error, ulp", title="The better the model, the worse the loss")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8.5)


def draw_digits(ax: Axes, found: dict[str, Any]) -> None:
    """Errors of the images, over their true losses."""
    for name in ("log-sum-exp less logit", "shifted log-sum-exp", OURS):
        shown = np.clip(found["errors"][name], 0.05, 2.0**27)
        label = f"{name}: {found['zeros'][name]} losses are 0"
        ax.loglog(found["exact"], shown, ".", color=COLORS[name], ms=3.5, alpha=0.7, label=label)
    ax.axhline(2, color=INK, lw=0.9, ls="--")
    ax.set(xlabel="true loss of an image, nats", ylabel="error, ulp", ylim=(0.04, 2.0**39),
           title=f"Digits: {found['rows']} images in float32")  # fmt: skip
    ax.legend(loc="upper right", fontsize=8.5, markerscale=2.5)
    note(ax, "dashed: 2 ulp", (0.03, 0.03), size=8.5)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        num = 9 if fast else 28
        found = maps(report, num)
        points(report, np.random.default_rng(seed))
        images = digits(report, 200 if fast else 1797)
        fig = figure(
            "The fused cross-entropy keeps its digits",
            r"two logits in float32, offset and margin over all magnitudes: "
            r"white is right to 2 ulp, red has no digits, black is $\infty$ or NaN",
        )
        top, bottom = fig.add_gridspec(2, 1, height_ratios=[1, 1])
        draw_maps(fig, top.subgridspec(1, 5), found["float32"], num)
        cells = bottom.subgridspec(1, 3, width_ratios=[1, 1.05, 1.05])
        draw_table(fig.add_subplot(cells[0]), found)
        draw_slice(fig.add_subplot(cells[1]), found["float32"], num)
        draw_digits(fig.add_subplot(cells[2]), images)
        report.save(fig)


if __name__ == "__main__":
    main()
