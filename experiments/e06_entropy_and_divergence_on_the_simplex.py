"""Self-information, entropy, cross-entropy and KL, seen on the simplex.

Claim:
    H(p, q) = H(p) + KL(p||q) with KL >= 0, and 0 only at p = q. Entropy is largest at the center, log C, and 0 at the
    corners. KL is not a distance: its balls bulge to one side or to the other, and both shrink to the Fisher ellipse.
    The two directions differ by a term of *third* order, -(1/6) T(d, d, d) with T the cubic (Amari-Chentsov) tensor.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.1 and 4.1.5; "Loss functions", 2.4.

Errata:
    A9: a metric is symmetric; KL induces the Fisher metric at second order, and its asymmetry is of third order.
    A15: cross-entropy is not a divergence, H(p, p) = H(p). B5: the directions of KL may coincide, as for mirror pairs.
    B6: entropy >= 0 holds for discrete laws; a differential entropy may be negative and has units.

Data:
    digits (scikit-learn): entropy of every pixel, and what it tells about the digit.

Run time:
    about 10 s.
"""

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from sklearn.datasets import load_digits

from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from experiments.ternary import heat, place, triangle
from lossgeo import distributions as dist
from lossgeo import geometry as geo

CENTERS = np.array([[0.16, 0.16, 0.68], [0.72, 0.14, 0.14], [0.1, 0.6, 0.3]])
RADIUS = 0.13  # nats; the Fisher and Euclidean balls get the radius of the same second-order ellipse
BALLS = {
    "kl_from_center": (RED, r"$\mathrm{KL}(c\,\|\,p)\leq r$"),
    "kl_to_center": (BLUE, r"$\mathrm{KL}(p\,\|\,c)\leq r$"),
    "fisher_rao": (TEAL, r"Fisher–Rao, radius $\sqrt{2r}$"),
    "euclidean": (GRAY, "Euclid"),
}


def identities(report: Report, rng: np.random.Generator, pairs: int) -> None:
    """What holds for all laws."""
    p, q = (jnp.asarray(rng.dirichlet(np.ones(5), size=pairs)) for _ in range(2))
    entropy, cross, kl = geo.entropy(p), geo.cross_entropy(p, q), geo.kl_divergence(p, q)
    report.check(
        f"H(p,q) - H(p) - KL(p||q), {pairs} pairs of laws on 5 classes", np.max(abs(cross - entropy - kl)), 4e-15
    )
    report.check_at_least("Gibbs: least KL over the pairs", np.min(kl), 0.0)
    report.check("KL(p||p)", np.max(geo.kl_divergence(p, p)), 0.0)
    report.check_at_least("A15: least H(p,p), which a divergence would have 0", np.min(geo.cross_entropy(p, p)), 0.1)
    for classes in (2, 3, 4):
        center = geo.simplex_center(classes)
        report.check(f"entropy at the center less log {classes}", geo.entropy(center) - math.log(classes), 4e-16)
        lattice = geo.simplex_lattice(classes, 12)
        report.check_at_least(
            f"log {classes} less the entropy of any law of the lattice",
            math.log(classes) - np.max(geo.entropy(lattice)),
            0,
        )
    report.check("entropy of a corner", geo.entropy(jnp.array([0.0, 1.0, 0.0])), 0.0)
    report.check("one fair coin has 1 bit", geo.self_information(0.5, base=2) - 1, 1e-15)
    mirror = jnp.array([0.2, 0.8])
    report.check(
        "B5: mirror pair, KL(p||q) - KL(q||p)",
        geo.kl_divergence(mirror, mirror[::-1]) - geo.kl_divergence(mirror[::-1], mirror), 1e-16,
    )  # fmt: skip
    near = p * (1 + 1e-4 * rng.normal(size=p.shape))
    near = (near / jnp.sum(near, axis=1, keepdims=True)).astype(jnp.float32)
    single = p.astype(jnp.float32)
    report.check_at_least("float32 near neighbours: least KL", np.min(geo.kl_divergence(single, near)), 0.0)
    textbook = np.sum(np.asarray(single) * np.log(np.asarray(single) / np.asarray(near)), axis=1)
    report.check_at_least("float32 near neighbours: textbook sums that are negative", int(np.sum(textbook < 0)), 1)
    sharp = float(dist.Normal(0.0, 0.1).entropy())
    report.check("B6: differential entropy of N(0, 0.1^2) is -0.8836 nats", sharp + 0.8836465597893728, 1e-14)
    report.check("B6: in thousandths of the unit it is larger by log 1000",
        float(dist.Normal(0.0, 100.0).entropy()) - sharp - math.log(1000), 1e-14)  # fmt: skip


def asymmetry(report: Report) -> dict[str, np.ndarray]:
    """The two directions of KL differ at third order, by the cubic tensor."""
    eta, direction = jnp.array([0.3, -0.5]), jnp.array([1.0, 0.4])
    cubic = float(jnp.einsum("ijk,i,j,k", geo.cubic_tensor(geo.categorical, eta), direction, direction, direction))
    steps = np.logspace(-5, -0.3, 24)
    moved = eta[None, :] + steps[:, None] * direction[None, :]
    base = jnp.broadcast_to(eta, moved.shape)
    forward = np.asarray(geo.exponential_family_kl(geo.categorical, base, moved))
    backward = np.asarray(geo.exponential_family_kl(geo.categorical, moved, base))
    ratio = (forward - backward) / steps**3 / cubic
    at = int(np.argmin(abs(steps - 1e-3)))
    report.check(f"A9: (KL - reversed KL) / T(d,d,d) + 1/6, step {steps[at]:.1e}", ratio[at] + 1 / 6, 1e-3)
    metric = geo.fisher_metric(geo.categorical, eta)
    second = forward / steps**2 / float(0.5 * direction @ metric @ direction)
    report.check(f"2 KL / d'Id - 1, step {steps[at]:.1e}", second[at] - 1, 1e-3)
    slope = np.polyfit(np.log(steps[6:14]), np.log(abs(forward - backward)[6:14]), 1)[0]
    report.check("order of the asymmetry in the step, less 3", slope - 3, 0.02)
    return {"steps": steps, "forward": forward, "difference": abs(forward - backward)}


def ball_shapes(report: Report) -> None:
    """All balls become the ellipse of the Fisher metric."""
    c = jnp.asarray(CENTERS[2])
    worst = {}
    for radius in (1e-2, 1e-4, 1e-6):
        worst[radius] = 0.0
        for kind in ("kl_from_center", "kl_to_center", "fisher_rao"):
            size = math.sqrt(2 * radius) if kind == "fisher_rao" else radius
            edge = np.asarray(geo.simplex_ball(c, size, kind=kind, num=61))
            deviation = np.max(abs(np.sum((edge - np.asarray(c)) ** 2 / np.asarray(c), axis=1) / (2 * radius) - 1))
            worst[radius] = max(worst[radius], float(deviation))
    # The next term is cubic, so the relative deviation shrinks with the square root of the radius.
    report.check(
        "balls against the Fisher ellipse: deviation at 1e-4 over 1e-2 nats, less 1/10",
        worst[1e-4] / worst[1e-2] - 0.1,
        5e-3,
    )
    report.check(
        "balls against the Fisher ellipse: deviation at 1e-6 over 1e-4 nats, less 1/10",
        worst[1e-6] / worst[1e-4] - 0.1,
        5e-4,
    )


def pixels(report: Report) -> dict[str, np.ndarray]:
    """Entropy of the pixels of the digits, and their mutual information with the label."""
    images, labels = load_digits(return_X_y=True)
    levels = images.astype(int)
    joint = np.zeros((64, 17, 10))
    for k in range(64):
        np.add.at(joint[k], (levels[:, k], labels), 1.0)
    joint = jnp.asarray(joint / len(labels))
    entropy = np.asarray(geo.entropy(jnp.sum(joint, axis=2)))
    product = jnp.sum(joint, 2)[:, :, None] * jnp.sum(joint, 1)[:, None, :]
    information = np.asarray(geo.kl_divergence(joint.reshape(64, -1), product.reshape(64, -1)))
    report.check(
        "digits: entropy of the pixels that are never inked", np.max(entropy[np.ptp(levels, axis=0) == 0]), 0.0
    )
    report.check_at_least("digits: log 17 less the largest pixel entropy", math.log(17) - np.max(entropy), 0.0)
    conditional = geo.entropy(joint.reshape(64, -1)) - geo.entropy(jnp.sum(joint, axis=1))
    report.check(
        "digits: I(pixel; label) - [H(pixel) - H(pixel|label)]", np.max(abs(information - entropy + conditional)), 1e-13
    )
    report.check_at_least("digits: pixel entropy less its information on the label", np.min(entropy - information), 0.0)
    return {"entropy": entropy.reshape(8, 8), "information": information.reshape(8, 8)}


def draw_entropy(ax: Axes, lattice: Any) -> None:
    """Entropy over the triangle."""
    filled = heat(ax, lattice, geo.entropy(lattice), cmap="YlGnBu")
    ax.tricontour(
        *place(lattice), np.asarray(geo.entropy(lattice)), levels=[0.3, 0.6, 0.9, 1.05], colors="white", linewidths=0.9
    )
    triangle(ax)
    ax.plot(*place(geo.simplex_center(3)), "o", color=RED, ms=6, zorder=6)
    bar = ax.figure.colorbar(filled, ax=ax, shrink=0.72, pad=0.02, ticks=[0, 0.5, 1, math.log(3)])
    bar.ax.set_yticklabels(["0", "0.5", "1", r"$\log 3$"])
    ax.set_title("Entropy (nats): from 0 to $\\log 3$")


def draw_balls(ax: Axes) -> None:
    """Four kinds of balls with one second-order ellipse."""
    for number, c in enumerate(CENTERS):
        for kind, (color, label) in BALLS.items():
            size = {"fisher_rao": math.sqrt(2 * RADIUS), "euclidean": math.sqrt(2 * RADIUS) * 0.36}.get(kind, RADIUS)
            edge = geo.simplex_ball(jnp.asarray(c), size, kind=kind)
            ax.plot(*place(edge), color=color, lw=1.4 if kind == "euclidean" else 2,
                    ls="--" if kind == "euclidean" else "-", label=None if number else label)  # fmt: skip
        ax.plot(*place(c), ".", color=INK, ms=6)
    triangle(ax)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[:4], labels[:4], loc="upper left", bbox_to_anchor=(-0.1, 1.0), fontsize=8.5)
    ax.set_title("Four notions of near: one small ellipse")


def draw_asymmetry_map(ax: Axes, lattice: Any) -> None:
    """Signed difference of the two directions."""
    c = jnp.asarray(CENTERS[2])
    difference = np.asarray(
        geo.kl_divergence(lattice, c) - geo.kl_divergence(jnp.broadcast_to(c, lattice.shape), lattice)
    )
    levels = np.linspace(-0.5, 0.5, 21)
    filled = heat(ax, lattice, np.clip(difference, -0.5, 0.5), cmap="RdBu_r", levels=levels)
    ax.tricontour(*place(lattice), difference, levels=[0.0], colors=[INK], linewidths=1.1)
    triangle(ax)
    ax.plot(*place(c), "o", color=INK, ms=5, zorder=6)
    ax.figure.colorbar(filled, ax=ax, shrink=0.72, pad=0.02, ticks=[-0.5, 0, 0.5])
    ax.set_title(r"$\mathrm{KL}(p\|c)-\mathrm{KL}(c\|p)$: three signs of a cubic")


def draw_orders(ax: Axes, curves: dict[str, np.ndarray]) -> None:
    """Orders in the step."""
    steps = curves["steps"]
    ax.loglog(steps, curves["forward"], color=BLUE, label=r"$\mathrm{KL}$: second order, $\frac{1}{2}d^\top I d$")
    ax.loglog(
        steps,
        curves["difference"],
        color=RED,
        label=r"$|\mathrm{KL}-\mathrm{reversed}|$: third, $\frac{1}{6}|T(d,d,d)|$",
    )
    ax.set(xlabel="step in the natural parameters", ylabel="nats", title="Symmetric at second order")
    ax.legend(loc="upper left", fontsize=9)


def draw_self_information(ax: Axes) -> None:
    """Surprise and its mean for two classes."""
    p = np.linspace(1e-4, 1 - 1e-4, 400)
    ax.plot(p, np.asarray(geo.self_information(p, base=2)), color=GOLD, label=r"surprise $-\log_2 p$")
    both = jnp.stack([jnp.asarray(p), 1 - jnp.asarray(p)], axis=-1)
    ax.plot(p, np.asarray(geo.entropy(both, base=2)), color=BLUE, label="entropy of a coin (bits)")
    other = jnp.broadcast_to(jnp.array([0.25, 0.75]), both.shape)
    ax.plot(p, np.asarray(geo.cross_entropy(both, other, base=2)), color=RED, ls="--",
            label="cross-entropy, code for 1/4")  # fmt: skip
    ax.plot(0.25, float(geo.entropy(jnp.array([0.25, 0.75]), base=2)), "o", color=INK, ms=5)
    ax.set(ylim=(0, 3), xlim=(0, 1), xlabel="$p$", ylabel="bits", title="Cross-entropy touches entropy at $p=q$")
    ax.legend(loc="upper right", fontsize=9)


def draw_pixels(ax: Axes, found: dict[str, np.ndarray]) -> None:
    """Two pictures of what a pixel says."""
    gap = np.full((8, 1), np.nan)
    image = ax.imshow(
        np.hstack([found["entropy"], gap, found["information"] * 3]), cmap="YlGnBu", vmin=0, vmax=math.log(17)
    )
    ax.set_axis_off()
    ax.text(3.5, 8.2, "entropy of a pixel", ha="center", size=9.5)
    ax.text(12.5, 8.2, "information on the digit (×3)", ha="center", size=9.5)
    ax.set_title("Digits: what a pixel can say, and says")
    ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02, label="nats")


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        identities(report, rng, 200 if fast else 2000)
        curves = asymmetry(report)
        ball_shapes(report)
        found = pixels(report)
        fig = figure(
            "Entropy and divergence on the simplex",
            r"$H(p,q)=H(p)+\mathrm{KL}(p\|q)$,    $\mathrm{KL}(p\|q)-\mathrm{KL}(q\|p)\;\to\;-\frac{1}{6}\,T(d,d,d)$",
        )
        top, bottom = (cell.subgridspec(1, 3) for cell in fig.add_gridspec(2, 1, height_ratios=[1.25, 1]))
        lattice = geo.simplex_lattice(3, 40 if fast else 120, interior=True)
        draw_entropy(fig.add_subplot(top[0]), lattice)
        draw_balls(fig.add_subplot(top[1]))
        draw_asymmetry_map(fig.add_subplot(top[2]), lattice)
        draw_self_information(fig.add_subplot(bottom[0]))
        ax = fig.add_subplot(bottom[1])
        draw_orders(ax, curves)
        note(ax, "difference of near neighbours without cancellation", (0.97, 0.06), size=8.5)
        draw_pixels(fig.add_subplot(bottom[2]), found)
        report.save(fig)


if __name__ == "__main__":
    main()
