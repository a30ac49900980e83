"""Maximum likelihood is minimum cross-entropy from the data to the model.

Claim:
    Grouping equal observations turns the average negative log-likelihood into the cross-entropy from the empirical
    distribution to the model, NLL(theta) / m = H(p_hat, p_theta) = H(p_hat) + KL(p_hat || p_theta). The first term
    is a property of the data, the floor below which no model gets; the second is all that training can reduce.

    The order matters: minimising KL(p_theta || p_hat) is another estimator. And the maximum need not exist: where
    classes are separated it lies at infinity, which a prior repairs.

Source:
    Chapter 4 "Mathematics of loss functions", 4.1.3 and Theorem 4.1.2; "Loss functions" 2.4.

Errata:
    B13: "the cross-entropy between model and data" is ordered, H(p_data, p_model); the reverse is infinite wherever
    the model puts mass and there are no data. For continuous data the KL divergence is infinite, and only the
    cross-entropy makes sense.
    A4: the softmax is no bijection. Adding a constant to all logits changes nothing, and one logit must be pinned.
    B15: the likelihood of a row is the probability given to its label, not the probability of a correct
    classification.

Data:
    iris and digits (scikit-learn).

Run time:
    about 14 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from scipy.special import entr, rel_entr
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, Report, figure, note, relative_error
from lossgeo import distributions as dist
from lossgeo import supports

WIDTHS = np.arange(31)  # petal widths in millimeters: the values that an observation can take


def width_model(params: Any) -> dist.Categorical:
    """A normal density cut to the widths 0, ..., 30 mm and normalised there."""
    return dist.Categorical(logits=-0.5 * ((WIDTHS - params["loc"]) / params["scale"]) ** 2)


@jax.jit
def log_probabilities(params: Any) -> jax.Array:
    """Log-probabilities of all widths."""
    return width_model(params).log_prob(jnp.arange(len(WIDTHS)))


def pinned(params: Any, x: jax.Array) -> dist.Categorical:
    """Softmax regression with the first logit held at 0: K - 1 vectors of coefficients, identified."""
    logits = x @ params["coef"] + params["intercept"][None, :]
    return dist.Categorical(logits=jnp.concatenate([jnp.zeros((x.shape[0], 1)), logits], axis=1))


@jax.jit
def all_classes(params: Any, x: jax.Array) -> jax.Array:
    """Log-probabilities of the ten digits, shape (n, 10)."""
    model = pinned(params, x)
    return jax.vmap(lambda k: model.log_prob(jnp.full(x.shape[0], k)), out_axes=1)(jnp.arange(10))


def symmetric(params: Any, x: jax.Array) -> dist.Categorical:
    """Softmax regression with K vectors of coefficients; all intercepts but the first are free."""
    intercept = jnp.concatenate([jnp.zeros(1), params["intercept"]])
    return dist.Categorical(logits=x @ params["coef"] + intercept[None, :])


def minus_reverse_divergence(params: Any, log_target: jax.Array) -> jax.Array:
    """Minus KL(p_theta || target), the divergence taken in the other order: a loss, not a likelihood."""
    log_model = log_probabilities(params)
    return -jnp.sum(jnp.exp(log_model) * (log_model - log_target))


def zeros(d: int, k: int, intercepts: int) -> dict[str, jax.Array]:
    """Start of a softmax regression."""
    return {"coef": jnp.zeros((d, k)), "intercept": jnp.zeros(intercepts)}


def regrouping(report: Report, widths: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """NLL / m = H(p_hat, p_theta) on counts; the two orders of the divergence."""
    m = len(widths)
    values, counts = np.unique(widths, return_counts=True)
    empirical = np.bincount(widths, minlength=len(WIDTHS)) / m
    positive = {"loc": supports.real, "scale": supports.positive}
    objective = lg.map_objective(lg.likelihood(width_model), supports=positive)
    params = {"loc": jnp.asarray(rng.uniform(1, 25, 200)), "scale": jnp.asarray(rng.uniform(1.5, 20, 200))}
    by_rows = np.asarray(jax.vmap(lambda q: objective(q, widths))(params)) / m
    weighted = np.asarray(jax.vmap(lambda q: objective(q, values, weights=counts.astype(float)))(params)) / m
    cross_entropy = -np.asarray(jax.vmap(log_probabilities)(params)) @ empirical
    worst, worst_weighted = (float(np.max(np.abs(v / cross_entropy - 1))) for v in (by_rows, weighted))
    report.check("iris petal widths: NLL/m over 150 rows against H(p_hat, p_theta), 200 theta, relative", worst, 1e-14)
    report.check("the same with 22 grouped rows and their counts as weights, relative", worst_weighted, 1e-14)

    init = {"loc": 10.0, "scale": 5.0}
    forward = lg.fit(objective, init, widths)
    model = np.exp(np.asarray(log_probabilities(forward.params)))
    report.check("at the MLE the model has the data's mean (moment matching), mm", WIDTHS @ (model - empirical), 1e-10)
    report.check("and their mean square, mm^2", WIDTHS**2 @ (model - empirical), 1e-8)
    with np.errstate(divide="ignore"):
        reverse_of_data = float(np.sum(rel_entr(model, empirical)))
    report.check_equal(
        "KL(p_theta || p_hat) at the MLE: the model has mass where there are no data", str(reverse_of_data), "inf"
    )

    # A tenth of an observation more for every width makes both orders finite.
    smoothed = (empirical * m + 0.1) / (m + 0.1 * len(WIDTHS))
    reversed_ = lg.map_objective(lg.pseudo_likelihood(minus_reverse_divergence), supports=positive)
    fits = [lg.fit(reversed_, {"loc": loc, "scale": 2.0}, np.log(smoothed)) for loc in (3.0, 15.0)]
    reverse = min(fits, key=lambda fit: float(fit.value))
    other = np.exp(np.asarray(log_probabilities(reverse.params)))
    report.check_at_least("the two orders disagree: distance of the two means, mm", abs(WIDTHS @ (model - other)), 1.0)
    excess = float(np.sum(rel_entr(smoothed, other)) - np.sum(rel_entr(smoothed, model)))
    report.check_at_least("nats by which the reverse minimiser is worse in the forward order", excess, 0.1)
    return {
        "empirical": empirical,
        "forward": model,
        "reverse": other,
        "worst": worst,
        "mean": (WIDTHS @ model, WIDTHS @ other),
    }


def separation(report: Report, x: np.ndarray, y: np.ndarray, points: int, rng: np.random.Generator) -> dict[str, Any]:
    """Multinomial logit on iris: separated, unidentified, and repaired by a prior."""
    d = x.shape[1]
    flat = lg.map_objective(lg.likelihood(pinned))
    three = lg.fit(flat, zeros(d, 2, 2), x, y, throw=False)
    report.check_equal("iris, flat prior, three classes (setosa stands apart)", three.status.name, "SEPARATED")
    pair = y > 0
    free = lg.map_objective(lg.likelihood(symmetric))
    two = lg.fit(free, zeros(d, 2, 1), x[pair], y[pair] - 1, throw=False)
    report.check_equal(
        "versicolor against virginica, a free vector for each: the gauge of the softmax",
        two.status.name,
        "UNIDENTIFIED",
    )
    moved = {**two.params, "coef": two.params["coef"] + rng.standard_normal((d, 1))}
    report.check(
        "the gauge: adding one vector to both changes the NLL by, relative",
        float(free(moved, x[pair], y[pair] - 1) / two.value) - 1,
        1e-12,
    )
    reference = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-13).fit(x[pair], y[pair])
    difference = np.asarray(two.params["coef"][:, 1] - two.params["coef"][:, 0])
    report.check(
        "what is identified, the difference: against sklearn's maximum likelihood, relative",
        relative_error(difference, reference.coef_[0]),
        1e-8,
    )

    def mode(scale: jax.Array) -> lg.Solution:
        prior = {"coef": dist.Normal(0.0, scale), "intercept": dist.Flat()}
        return lg.solve(lg.map_objective(lg.likelihood(symmetric), prior), zeros(d, 3, 2), x, y)

    scales = 10.0 ** np.linspace(-2, 4, points)
    path = jax.lax.map(mode, jnp.asarray(scales))
    report.check_equal(
        "iris, Normal prior: modes of the path that converged", int(np.sum(path.status == lg.Status.CONVERGED)), points
    )
    coef = np.asarray(path.params["coef"])
    slope = np.max(np.abs(coef.sum(axis=2)), axis=1) / scales**2
    size = 1.0 + np.max(np.abs(coef), axis=(1, 2)) / scales**2
    report.check(
        "the prior fixes the gauge: slope along it, sum of the vectors / tau^2, relative", np.max(slope / size), 1e-14
    )
    some = np.flatnonzero(np.isin(np.round(np.log10(scales), 6), (-1, 0, 1, 2)))  # beyond, sklearn stops short
    dots, worst = [], 0.0
    for k in some:
        ref = LogisticRegression(C=scales[k] ** 2, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x, y)
        dots.append(ref.coef_.T)
        worst = max(worst, float(np.max(np.abs(coef[k] - ref.coef_.T)) / np.max(np.abs(ref.coef_))))
    report.check(
        "iris, Normal prior: coefficients against sklearn LogisticRegression(C = tau^2), tau <= 100, relative",
        worst,
        1e-10,
    )
    return {
        "scales": scales,
        "coef": coef,
        "some": some,
        "dots": np.stack(dots),
        "two": np.linalg.norm(difference),
        "status": three.status.name,
    }


def strokes(images: np.ndarray) -> np.ndarray:
    """Six bits for each digit: in which cells of a 2 x 3 grid there is more ink than in the median image."""
    cells = [
        images[:, rows][:, :, columns].mean(axis=(1, 2))
        for rows in np.array_split(np.arange(8), 2)
        for columns in np.array_split(np.arange(8), 3)
    ]
    ink = np.stack(cells, axis=1)
    return (ink > np.median(ink, axis=0)).astype(float)


def training(report: Report, fast: bool) -> dict[str, Any]:
    """Cross-entropy of digits along the epochs of Adam, split into entropy and divergence."""
    digits = load_digits()
    bits, labels = strokes(digits.images), digits.target
    m = len(labels)
    groups, member = np.unique(bits, axis=0, return_inverse=True)
    table = np.zeros((len(groups), 10))
    np.add.at(table, (member.ravel(), labels), 1.0)
    share, empirical = table.sum(axis=1) / m, table / table.sum(axis=1, keepdims=True)
    floor = float(share @ entr(empirical).sum(axis=1))
    row, label = np.nonzero(table)
    data, weights = (jnp.asarray(groups[row]), jnp.asarray(label)), jnp.asarray(table[row, label])

    objective = lg.map_objective(lg.likelihood(pinned))
    init, adam = zeros(bits.shape[1], 9, 9), optax.adam(0.05)
    epochs = np.unique(np.round(np.geomspace(1, 300, 12 if fast else 40)).astype(int))
    divergences, values, models = [], [], []
    # One epoch is one step on the whole data set. Given enough of them, Newton steps finish: the last is the MLE.
    for budget in [0, *epochs.tolist(), 20_000]:
        reached = lg.solve(objective, init, *data, weights=weights, solver=adam, max_steps=budget)
        model = np.exp(np.asarray(all_classes(reached.params, jnp.asarray(groups))))
        models.append(model)
        values.append(float(reached.value) / m)
        divergences.append(float(share @ rel_entr(empirical, model).sum(axis=1)))
    report.check_equal("digits: the last fit, Adam and then Newton", lg.Status(int(reached.status)).name, "CONVERGED")
    worst = np.max(np.abs(np.array(values) - floor - np.array(divergences)))
    report.check("digits: H(p_hat, p_theta) - H(p_hat) - KL along the epochs of Adam, nats per image", worst, 1e-14)
    by_rows = float(objective(reached.params, bits, labels)) / m
    report.check("digits: 1797 rows against the grouped counts, at the MLE, relative", by_rows / values[-1] - 1, 1e-13)
    report.check("digits: epoch 0 is the uniform model, H = log 10", values[0] - np.log(10), 1e-14)
    report.check_at_least("digits: smallest cross-entropy minus the floor H(p_hat), nats", min(values) - floor, 0.0)
    report.check("digits: Adam after 300 epochs above the MLE, nats per image", values[-2] - values[-1], 2e-2)
    shown = int(np.argsort(-share * entr(empirical).sum(axis=1))[0])
    return {
        "epochs": epochs,
        "kl": np.array(divergences),
        "floor": floor,
        "models": models,
        "empirical": empirical,
        "shown": shown,
        "bits": groups[shown],
        "size": int(table[shown].sum()),
    }


def draw_regrouping(ax: Axes, found: dict[str, Any]) -> None:
    """Histogram, and the model by either order."""
    ax.bar(WIDTHS, found["empirical"], color=GRAY, alpha=0.55, width=0.8, label=r"data $\hat p$ (150 flowers)")
    forward, reverse = (float(v) for v in found["mean"])
    ax.plot(
        WIDTHS,
        found["forward"],
        color=BLUE,
        marker="o",
        ms=3.5,
        label=rf"$\min\ \mathrm{{KL}}(\hat p\,\Vert\,p_\theta)$ = MLE: covers (mean {forward:.1f} mm)",
    )
    ax.plot(
        WIDTHS,
        found["reverse"],
        color=RED,
        marker="s",
        ms=3.5,
        label=rf"$\min\ \mathrm{{KL}}(p_\theta\,\Vert\,\hat p)$: seeks a mode (mean {reverse:.1f} mm)",
    )
    ax.set(
        xlabel="petal width (mm)",
        ylabel="probability",
        title="The order matters",
        ylim=(0, 1.55 * max(found["empirical"].max(), found["reverse"].max())),
    )
    ax.legend(loc="upper right")


def draw_separation(ax: Axes, found: dict[str, Any]) -> None:
    """The runaway of the separated class."""
    scales, coef, some = found["scales"], found["coef"], found["some"]

    def norms(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        apart = c[:, :, 0] - 0.5 * (c[:, :, 1] + c[:, :, 2])
        return np.linalg.norm(apart, axis=1), np.linalg.norm(c[:, :, 2] - c[:, :, 1], axis=1)

    lines, dots = norms(coef), norms(found["dots"])
    labels = ("setosa against the rest: no limit", "virginica against versicolor: a limit")
    for line, dot, color, label in zip(lines, dots, (RED, BLUE), labels, strict=True):
        ax.semilogx(scales, line, color=color, label=label)
        ax.scatter(scales[some], dot, s=46, fc="none", ec=INK, lw=1.3, zorder=3)
    ax.scatter([], [], s=46, fc="none", ec=INK, lw=1.3, label=r"scikit-learn, $C=\tau^2$")
    ax.axhline(found["two"], color=BLUE, ls=":", lw=1.2)
    ax.text(scales[0], found["two"] - 0.7, "maximum likelihood of these two", size=9.5, color=BLUE, va="top")
    ax.set(
        xlabel=r"prior scale $\tau$ of the coefficients",
        ylabel=r"$\|w\|$ (per standard deviation)",
        title=r"Iris: as $\tau\to\infty$ one class runs away",
    )
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))
    note(ax, rf"flat prior, $\tau=\infty$: lossgeo reports {found['status']}", (0.02, 0.97), color=RED, weight="bold")


def draw_training(ax: Axes, found: dict[str, Any]) -> None:
    """Floor and divergence along the epochs."""
    epochs, kl, floor = found["epochs"], found["kl"][1:-1], found["floor"]
    ax.fill_between(
        epochs,
        0,
        floor,
        color=GRAY,
        alpha=0.45,
        lw=0,
        label=rf"$H(\hat p)$ = {floor:.3f} nats: the floor, no model gets below",
    )
    ax.fill_between(
        epochs,
        floor,
        floor + kl,
        color=GOLD,
        alpha=0.65,
        lw=0,
        label=r"$\mathrm{KL}(\hat p\,\Vert\,p_\theta)$: what training reduces",
    )
    ax.plot(epochs, floor + kl, color=INK, label=r"$\mathrm{NLL}/m=H(\hat p,p_\theta)$ along Adam")
    ax.axhline(
        floor + found["kl"][-1],
        color=BLUE,
        ls="--",
        lw=1.3,
        label=f"maximum likelihood, KL = {found['kl'][-1]:.3f}: the model's misfit",
    )
    ax.set(
        xscale="log",
        xlim=(1, epochs[-1]),
        ylim=(0, 2.65),
        xlabel="epoch",
        ylabel="nats per image",
        title="Digits from six bits: cross-entropy = entropy + divergence",
    )
    ax.legend(loc="lower left")


def draw_group(ax: Axes, found: dict[str, Any]) -> None:
    """One point of the simplex and the model that approaches it."""
    k, classes = found["shown"], np.arange(10)
    ax.bar(classes, found["empirical"][k], color=GRAY, alpha=0.55, label=rf"$\hat p$ ({found['size']} images)")
    middle = int(np.searchsorted(found["epochs"], 10))
    steps = ((middle + 1, f"epoch {found['epochs'][middle]}", GOLD), (-1, "maximum likelihood", BLUE))
    for index, label, color in steps:
        ax.plot(classes, found["models"][index][k], color=color, marker="o", ms=4, label=label)
    bits = "".join("■" if b else "□" for b in found["bits"])
    ax.set(
        xticks=classes,
        xlabel="digit",
        ylabel="probability",
        title=f"One group, ink {bits[:3]} over {bits[3:]}",
        ylim=(0, 1.45 * found["empirical"][k].max()),
    )
    ax.legend(loc="upper right")


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        iris = load_iris()
        grouped = regrouping(report, np.round(10 * iris.data[:, 3]).astype(int), rng)
        x = (iris.data - iris.data.mean(axis=0)) / iris.data.std(axis=0)
        separated = separation(report, x, iris.target, 13 if fast else 49, rng)
        trained = training(report, fast)

        fig = figure(
            "Maximum likelihood is minimum cross-entropy from the data to the model",
            r"$\frac{1}{m}\,\mathrm{NLL}(\theta)\;=\;-\sum_x\frac{\mathrm{count}(x)}{m}\,\log p_\theta(x)"
            r"\;=\;H(\hat p,p_\theta)\;=\;H(\hat p)+\mathrm{KL}(\hat p\,\Vert\,p_\theta)$"
            + f"      both sides agree to {grouped['worst']:.0e}",
        )
        top, bottom = fig.add_gridspec(2, 1)
        left, right = top.subgridspec(1, 2, width_ratios=[1.15, 1])
        draw_regrouping(fig.add_subplot(left), grouped)
        draw_separation(fig.add_subplot(right), separated)
        left, right = bottom.subgridspec(1, 2, width_ratios=[1.6, 1])
        draw_training(fig.add_subplot(left), trained)
        draw_group(fig.add_subplot(right), trained)
        report.save(fig)


if __name__ == "__main__":
    main()
