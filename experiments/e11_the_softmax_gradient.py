r"""The gradient of cross-entropy in the logits is the residual, and it does not die where the model is wrong.

Claim:
    The gradient of H(p, softmax z) in z is (sum p) q - p with q = softmax z: the residual q - p for targets of sum 1.
    For a class id, its largest component is 1 - q_c: the more wrong the model, the larger, up to 1. The squared error
    of probabilities has the gradient (diag q - q q') (q - p), which the Jacobian of softmax takes to 0 where the model
    is surely *wrong*, and so do its gradients in the weights.

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.4, Theorem 4.1.5.

Errata:
    B2: the gradient is q - p only if the targets sum to 1.
    B16: "not modulated in saturated regions" holds for *wrong* saturated logits; for right ones the gradient vanishes,
    as it should.

Data:
    digits (scikit-learn): one softmax regression, learnt by either loss from a wrong and confident start.

Run time:
    about 20 s.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from sklearn.datasets import load_digits

from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from experiments.ternary import heat, place, triangle
from lossgeo import geometry as geo
from lossgeo import losses, numerics

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def squared_error(z: jax.Array, label: jax.Array) -> jax.Array:
    """Half the squared distance of the probabilities from the corner of the class."""
    residual = numerics.softmax(z) - jax.nn.one_hot(label, z.shape[-1], dtype=z.dtype)
    return 0.5 * jnp.sum(residual**2, axis=-1)


def sparsemax(z: jax.Array, label: jax.Array) -> jax.Array:
    """The sparsemax loss of a class id."""
    return losses.sparsemax_loss(z, jax.nn.one_hot(label, z.shape[-1], dtype=z.dtype))


LOSSES: dict[str, tuple[Loss, str]] = {
    "cross-entropy": (losses.softmax_cross_entropy, BLUE),
    "squared error": (squared_error, RED),
    "focal, γ = 2": (losses.focal_loss, GOLD),
    "sparsemax": (sparsemax, TEAL),
}


def gradients(loss: Loss, z: jax.Array, labels: jax.Array) -> np.ndarray:
    """Gradients in the logits, row by row, shape of ``z``."""
    return np.asarray(jax.vmap(jax.grad(loss))(z, labels))


def complex_step(z: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Derivatives by a step of 1e-30 i, which subtracts nothing: exact to rounding, and nobody's formula."""
    out = np.empty_like(z)
    for k in range(z.shape[1]):
        moved = z.astype(complex)
        moved[:, k] += 1e-30j
        log_sum = np.log(np.sum(np.exp(moved), axis=1))
        out[:, k] = np.imag(np.sum(p, 1) * log_sum - np.sum(p * moved, 1)) / 1e-30
    return out


def theorem(report: Report, rng: np.random.Generator, draws: int) -> None:
    """Three ways to one gradient, and where the sum of the targets enters."""
    z = rng.normal(size=(draws, 6)) * 2
    p = rng.dirichlet(np.ones(6), size=draws)
    q = np.asarray(numerics.softmax(z))
    fused = jax.vmap(jax.grad(numerics.softmax_cross_entropy_with_probs))
    gradient = np.asarray(fused(jnp.asarray(z), jnp.asarray(p)))
    report.check(f"automatic gradient less q - p, {draws} pairs on 6 classes", np.max(abs(gradient - (q - p))), 2e-15)
    report.check("complex step less q - p", np.max(abs(complex_step(z, p) - (q - p))), 4e-15)
    report.check("the components of the gradient sum to", np.max(abs(gradient.sum(axis=1))), 2e-15)
    heavy = p * rng.uniform(0.2, 3, size=(draws, 1))
    weighted = np.asarray(fused(jnp.asarray(z), jnp.asarray(heavy)))
    total = heavy.sum(axis=1, keepdims=True)
    report.check("B2: targets of any sum: automatic gradient less (sum p) q - p",
                 np.max(abs(weighted - (total * q - heavy))), 5e-15)  # fmt: skip
    report.check("B2: complex step less (sum p) q - p",
                 np.max(abs(complex_step(z, heavy) - (total * q - heavy))), 1e-14)  # fmt: skip
    report.check_at_least("B2: the printed q - p is wrong there by", np.max(abs(weighted - (q - heavy))), 0.1)
    labels = jnp.asarray(rng.integers(6, size=draws))
    corner = np.eye(6)[np.asarray(labels)]
    jacobian = np.einsum("ni,ij->nij", q, np.eye(6)) - np.einsum("ni,nj->nij", q, q)
    squared = gradients(squared_error, jnp.asarray(z), labels)
    report.check("squared error: gradient less (diag q - q q') (q - p)",
                 np.max(abs(squared - np.einsum("nij,nj->ni", jacobian, q - corner))), 1e-15)  # fmt: skip
    sparse = np.asarray(geo.projection_simplex(jnp.asarray(z)))
    report.check("sparsemax loss: gradient is the residual of the projection",
                 np.max(abs(gradients(sparsemax, jnp.asarray(z), labels) - (sparse - corner))), 1e-14)  # fmt: skip


def saturation(report: Report) -> dict[str, Any]:
    """Size of the gradient over the margin of two classes."""
    m = np.linspace(-40, 40, 401)
    z = jnp.asarray(np.stack([m, np.zeros_like(m)], axis=1))
    labels = jnp.zeros(len(m), int)
    sizes = {name: np.max(abs(gradients(loss, z, labels)), axis=1) for name, (loss, _) in LOSSES.items()}
    wrong = 1 / (1 + np.exp(m))  # 1 - q_c
    report.check("cross-entropy: size of the gradient over 1 - q_c, less 1, margins to 40",
                 np.max(abs(sizes["cross-entropy"] / wrong - 1)), 1e-14)  # fmt: skip
    report.check("surely wrong (margin -40): cross-entropy less 1", sizes["cross-entropy"][0] - 1, 1e-15)
    report.check("surely wrong: squared error's gradient is dead, 2 e^-40", sizes["squared error"][0], 1e-16)
    report.check("surely wrong: squared error over 2 q (1 - q)^2, less 1",
                 sizes["squared error"][0] / (2 * np.exp(-40.0)) - 1, 1e-14)  # fmt: skip
    report.check("B16: surely right (margin 40): cross-entropy over e^-40, less 1",
                 sizes["cross-entropy"][-1] / np.exp(-40.0) - 1, 1e-14)  # fmt: skip
    report.check_at_least("no bound on focal loss by 1: its largest gradient", np.max(sizes["focal, γ = 2"]), 1.0)
    peak = float(np.max(sizes["squared error"]))
    report.check("squared error: the largest gradient less 8/27, at q_c = 1/3", peak - 8 / 27, 1e-2)
    return {"m": m, "sizes": sizes}


def training(report: Report, rng: np.random.Generator, epochs: int) -> dict[str, Any]:
    """Gradient descent on digits with either loss, from a start that is wrong and sure of it."""
    images, labels = load_digits(return_X_y=True)
    x, y = jnp.asarray(images / 16.0), jnp.asarray(labels)
    shuffled = np.roll(np.eye(10), 1, axis=0)  # templates of the wrong digit
    means = np.stack([images[labels == k].mean(axis=0) / 16.0 for k in range(10)])
    start = jnp.asarray(12.0 * ((means - means.mean(axis=0)).T @ shuffled) / 2)
    wrong = jnp.mean(jnp.argmax(x @ start, axis=1) != y)
    report.check_at_least("digits: share of errors at the start", wrong, 0.85)
    found: dict[str, Any] = {}
    for name in ("cross-entropy", "squared error"):
        loss = LOSSES[name][0]
        value = jax.value_and_grad(lambda w, loss=loss: jnp.mean(loss(x @ w, y)))

        def step(w: jax.Array, _: Any, value: Any = value) -> tuple[jax.Array, Any]:
            now, gradient = value(w)
            error = jnp.mean(jnp.argmax(x @ w, axis=1) != y)
            return w - 0.5 * gradient, (now, jnp.linalg.norm(gradient), error)

        _, (values, norms, errors) = jax.lax.scan(step, start, length=epochs)
        found[name] = {"value": np.asarray(values), "norm": np.asarray(norms), "error": np.asarray(errors)}
    first = {name: f["norm"][0] for name, f in found.items()}
    report.check_at_least("digits, wrong start: gradient in the weights, cross-entropy over squared error",
                          first["cross-entropy"] / first["squared error"], 10)  # fmt: skip
    half = {name: int(np.argmax(f["error"] < 0.5)) if np.any(f["error"] < 0.5) else epochs for name, f in found.items()}
    report.check_at_least("digits: epochs until half is right (or all, if never), squared error over cross-entropy",
                          half["squared error"] / half["cross-entropy"], 3)  # fmt: skip
    report.check(
        "digits: share of errors after the last epoch of cross-entropy", found["cross-entropy"]["error"][-1], 0.1
    )
    logits = x @ start
    residual = np.asarray(numerics.softmax(logits)) - np.eye(10)[labels]
    by_hand = np.asarray(x).T @ residual / len(labels)
    automatic = jax.grad(lambda w: jnp.mean(losses.softmax_cross_entropy(x @ w, y)))(start)
    report.check(
        "digits: gradient in the weights less X'(q - p)/n", np.max(abs(np.asarray(automatic) - by_hand)), 1e-15
    )
    return found


def draw_field(ax: Axes, name: str, resolution: int) -> Any:
    """Descent on the triangle of probabilities, class 1 true: colour is the size of the gradient in the logits."""
    loss = LOSSES[name][0]
    lattice = geo.simplex_lattice(3, resolution, interior=True)
    # Logits of sum 0 whose softmax is the point. For the sparsemax loss too, which sees another law in them.
    logits = jnp.log(lattice) - jnp.mean(jnp.log(lattice), axis=1, keepdims=True)
    size = np.max(abs(gradients(loss, logits, jnp.zeros(len(lattice), int))), axis=1)
    filled = heat(ax, lattice, size, cmap="YlGnBu", levels=np.linspace(0, 1.2, 25))
    coarse = geo.simplex_lattice(3, 11, interior=True)
    z = jnp.log(coarse) - jnp.mean(jnp.log(coarse), axis=1, keepdims=True)
    step = -gradients(loss, z, jnp.zeros(len(coarse), int))
    moved = np.asarray(coarse) * (step - np.sum(np.asarray(coarse) * step, axis=1, keepdims=True))
    start, end = np.stack(place(coarse)), np.stack(place(np.asarray(coarse) + moved))
    ax.quiver(*start, *(end - start), color=INK, angles="xy", scale_units="xy", scale=3.2, width=0.006, zorder=6)
    triangle(ax, ("true", "", ""), size=9.5)
    ax.set_title(name, size=12, loc="center", y=0.98)
    return filled


def draw_saturation(ax: Axes, found: dict[str, Any]) -> None:
    """Gradient over the margin."""
    keep = abs(found["m"]) <= 10
    for name, (_, color) in LOSSES.items():
        lw = 2.6 if name == "cross-entropy" else 1.8
        ax.plot(found["m"][keep], found["sizes"][name][keep], color=color, label=name, lw=lw)
    ax.axvline(0, color=GRAY, lw=0.8)
    ax.set(xlabel="margin $z_c-z_j$", ylabel="largest component of the gradient", xlim=(-10, 10), ylim=(0, 1.55),
           title="Wrong and sure: cross-entropy pulls, squared error is dead")  # fmt: skip
    ax.legend(loc="upper right", ncols=2)
    note(ax, "surely wrong", (0.03, 0.07))
    note(ax, "surely right", (0.97, 0.07))


def draw_training(ax: Axes, found: dict[str, Any]) -> None:
    """Errors along gradient descent."""
    for name, curves in found.items():
        ax.semilogx(np.arange(1, len(curves["error"]) + 1), curves["error"], color=LOSSES[name][1], label=name)
    ax.set(xlabel="step of gradient descent, rate 1/2", ylabel="share of errors", ylim=(0, 1.03),
           xlim=(1, len(curves["error"])), title="Digits, from a start that is wrong and sure of it")  # fmt: skip
    ax.legend(loc="lower left")


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        theorem(report, rng, 100 if fast else 2000)
        margins = saturation(report)
        learnt = training(report, rng, 1000 if fast else 3000)
        fig = figure(
            "The softmax gradient does not die where the model is wrong",
            r"$\nabla_z H(p,\mathrm{softmax}\,z)=\left(\Sigma_k\,p_k\right)q-p$,      squared error: "
            r"$\nabla_z\frac{1}{2}|q-p|^2=(\mathrm{diag}\,q-qq^\top)(q-p)$",
        )
        top, bottom = fig.add_gridspec(2, 1, height_ratios=[1.1, 1])
        cells = top.subgridspec(1, 4)
        axes = [fig.add_subplot(cells[k]) for k in range(4)]
        for ax, name in zip(axes, LOSSES, strict=True):
            filled = draw_field(ax, name, 40 if fast else 120)
        bar = fig.colorbar(filled, ax=axes, shrink=0.75, pad=0.01, ticks=[0, 0.5, 1])
        bar.set_label("largest component of the gradient")
        axes[1].text(
            0.5, -0.17, "arrows: how $q$ moves under a step down the gradient", ha="center", size=9.5, in_layout=False
        )
        lower = bottom.subgridspec(1, 2)
        draw_saturation(fig.add_subplot(lower[0]), margins)
        draw_training(fig.add_subplot(lower[1]), learnt)
        report.save(fig)


if __name__ == "__main__":
    main()
