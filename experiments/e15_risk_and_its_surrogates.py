r"""Expected and empirical risk, and what a surrogate's risk says of the error rate.

Claim:
    A minimizer of the empirical risk is one by definition; its expected risk is another number. For the logistic loss
    of a true model it is larger by p/n on average (Akaike). The excess error rate of any score, R - R*, is bounded by
    its excess surrogate risk: psi(R - R*) <= R_phi - R_phi*. The bound concerns the distribution of the data: wrong
    labels change that. Where they contradict the right ones, the exponential loss breaks first, then the square and
    the logistic; to be bounded is not enough (the tangent bends too), to forget is (Savage). Where they contradict
    nothing, every loss believes them.

Source:
    "Classification losses", expected risk, empirical risk and the 0-1 loss.

Errata:
    A24: "if f_S* is optimal, its empirical risk is minimal" is the definition of f_S* and no consequence. That its
    expected risk is small needs uniform convergence, and that its error rate is needs calibration.
    C: the integral over y in {-1, 1} is a sum; losses are functions of the margin m = y f and not of -y f.

Data:
    two normal classes in the plane, whose risks are integrals of one variable; breast_cancer (scikit-learn).

Run time:
    about 60 s.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtr
from sklearn.datasets import load_breast_cancer

import lossgeo as lg
from experiments.report import BLUE, CYCLE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import distributions as dist
from lossgeo import losses

CENTER = 0.8  # class means are (CENTER, 0) and (-CENTER, 0), covariance 1
BOUNDED = {
    "square": losses.square,
    "hinge": losses.hinge,
    "squared hinge": losses.squared_hinge,
    "smoothed hinge": losses.smoothed_hinge,
    "cross-entropy": losses.logistic,
    "logistic, bits": losses.logistic_base2,
    "exponential": losses.exponential,
    "Savage": losses.savage,
    "tangent": losses.tangent,
    "ramp": losses.ramp,
}
SWEPT = {
    "exponential": losses.exponential,
    "square": losses.square,
    "logistic": losses.logistic,
    "smoothed hinge": losses.smoothed_hinge,
    "tangent": losses.tangent,
    "Savage": losses.savage,
}
COLORS = {"exponential": RED, "square": GRAY, "logistic": BLUE, "cross-entropy": BLUE, "smoothed hinge": GOLD,
          "hinge": GOLD, "tangent": CYCLE[4], "Savage": TEAL}  # fmt: skip
CLUSTERS = {"contradicting": np.array([4.0, 0.0]), "believable": np.array([2.0, 5.0])}
"""Centers of wrong labels: deep inside the other class, and where no other data are."""
_Z, _W = np.polynomial.legendre.leggauss(80)
PANELS = np.linspace(-9, 9, 19)
NODES = (0.5 * (PANELS[:-1] + PANELS[1:])[:, None] + 0.5 * _Z).ravel()
DENSITY = np.tile(0.5 * _W, 18) * np.exp(-0.5 * NODES**2) / np.sqrt(2 * np.pi)
BAYES_ERROR = float(ndtr(-CENTER))


def score(params: Any, x: jax.Array) -> jax.Array:
    """The score whose sign is the label."""
    return x @ params["coef"] + params["intercept"]


def expected_risk(loss: Any, coef: jax.Array, intercept: jax.Array) -> jax.Array:
    """Exact risk of a linear score: it is normal within each class."""
    spread = jnp.sqrt(jnp.sum(jnp.square(coef)))
    margins = [CENTER * coef[0] + sign * intercept + spread * NODES for sign in (1, -1)]
    return 0.5 * sum(jnp.sum(DENSITY * loss(m)) for m in margins)


def draw_classes(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and labels."""
    labels = rng.integers(0, 2, size=shape)
    x = rng.normal(size=(*shape, 2))
    x[..., 0] += CENTER * (2 * labels - 1)
    return x, labels


def sizes_of_samples(report: Report, rng: np.random.Generator, sizes: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Empirical and expected risk of fits to n observations."""
    risk = losses.empirical_risk(losses.logistic, score)
    truth = {"coef": jnp.array([2 * CENTER, 0.0]), "intercept": jnp.zeros(())}
    floor = float(expected_risk(losses.logistic, truth["coef"], truth["intercept"]))
    x, y = draw_classes(rng, 400_000)
    sample = np.asarray(risk.pointwise(truth, x, y))
    report.check("risk of the truth: 400 000 draws less the exact integral, in standard errors",
                 (sample.mean() - floor) / (sample.std() / np.sqrt(sample.size)), 4.0)  # fmt: skip
    objective = lg.map_objective(lg.likelihood(lg.models.logistic_regression()))
    start = {"coef": jnp.zeros(2), "intercept": jnp.zeros(())}

    @jax.jit
    def fit(x: jax.Array, y: jax.Array) -> Any:
        def one(data: Any) -> Any:
            found = lg.solve(objective, start, *data)
            own, true = risk(found.params, *data), risk(truth, *data)
            exact = expected_risk(losses.logistic, found.params["coef"], found.params["intercept"])
            return found.status, own, exact, true

        return jax.lax.map(one, (x, y))

    rows = []
    for n in sizes:
        x, y = draw_classes(rng, repeats, n)
        status, own, exact, true = (np.asarray(v) for v in fit(jnp.asarray(x), jnp.asarray(y)))
        report.check_equal(f"n = {n}: fits that converged, of {repeats}", int(np.sum(status == lg.Status.CONVERGED)),
                           repeats)  # fmt: skip
        # The same expectation as n (exact - own), without the noise of the sample's own difficulty.
        optimism = n * ((exact - floor) + (true - own))
        error = optimism.std() / np.sqrt(repeats)
        report.check_at_least(f"n = {n}: least n (R(f_S) - R*) and n (R_S(f*) - R_S(f_S))",
                              n * min(np.min(exact - floor), np.min(true - own)), -1e-6)  # fmt: skip
        if n >= 256:
            report.check(f"n = {n}: optimism n (expected - empirical) less p = 3, in standard errors",
                         (optimism.mean() - 3) / error, 4.0)  # fmt: skip
        rows.append((n, own, exact, optimism.mean()))
    for name, halves in (("R(f_S) - R*", 2 * n * (exact - floor)), ("R_S(f*) - R_S(f_S)", 2 * n * (true - own))):
        report.check(f"n = {n}: 2n mean of {name} less p = 3, in standard errors",
                     (halves.mean() - 3) / (halves.std() / np.sqrt(repeats)), 4.0)  # fmt: skip
    return {"rows": rows, "floor": floor}


def step_masses(edges: np.ndarray) -> np.ndarray:
    """Probabilities of class +1 and -1 with a first coordinate between edges, shape ``(2, *edges, less one)``."""
    return np.stack([0.5 * np.diff(ndtr(edges - sign * CENTER), axis=-1) for sign in (1, -1)])


def bounds(report: Report, rng: np.random.Generator, count: int) -> dict[str, Any]:
    """The excess error rate and the excess risk of random scores, both in closed form."""
    cells = 8
    edges = np.sort(rng.normal(0, 1.5, size=(count, cells - 1)), axis=1)
    edges = np.concatenate([np.full((count, 1), -np.inf), edges, np.full((count, 1), np.inf)], axis=1)
    right, wrong = step_masses(edges)
    eta = right / np.maximum(right + wrong, 1e-300)
    # Signs that are mostly right, sizes from nearly 0 to large: steps with a wrong sign and no size are the worst.
    careless = rng.uniform(0, 0.6, size=(count, 1))
    flips = np.where(rng.uniform(size=eta.shape) < careless, -1, 1)
    found = {}
    fine = np.linspace(-9.5, 9.5, 12001)
    mass = np.stack([np.exp(-0.5 * (fine - s * CENTER) ** 2) / np.sqrt(8 * np.pi) for s in (1, -1)])
    step, odds = fine[1] - fine[0], mass[0] / mass.sum(axis=0)
    report.check("R*: integral of min(eta, 1 - eta) less the closed form",
                 step * np.sum(np.minimum(*mass)) - BAYES_ERROR, 1e-6)  # fmt: skip
    for name, loss in BOUNDED.items():
        best = step * float(np.sum(mass.sum(axis=0) * np.asarray(loss.bayes_risk(odds))))
        size = np.where(rng.uniform(size=eta.shape) < 0.5, np.exp(rng.normal(-4, 2, size=eta.shape)), 1.0)
        target = np.asarray(loss.minimizer(np.clip(eta, 1e-12, 1 - 1e-12)))
        values = flips * np.where(np.abs(target) > 0, target, 1e-9) * size
        error = np.sum(np.where(values > 0, wrong, right), axis=1) - BAYES_ERROR
        risk = np.sum(right * np.asarray(loss(values)) + wrong * np.asarray(loss(-values)), axis=1) - best
        # H of the hinge and of the ramp has a corner, which costs the rule for R_phi* a square of its step.
        slack = risk - np.asarray(loss.psi(np.maximum(error, 0)))
        report.check_at_least(f"{name}: least excess risk less psi(excess error), {count} random scores",
                              np.min(slack), -2e-6 if name in ("hinge", "ramp") else -1e-8)  # fmt: skip
        found[name] = (error, risk)
    tight = found["hinge"]
    report.check("hinge: psi is the best bound: least excess risk over excess error, less 1",
                 np.min((tight[1] / tight[0])[tight[0] > 0.02]) - 1, 0.2)  # fmt: skip
    return found


def contamination(report: Report, names: tuple[str, ...], place: str, shares: np.ndarray) -> dict[str, np.ndarray]:
    """Minimizers of exact risks where a share of the data is a cluster of wrong labels; excess errors on the rest."""
    side = np.linspace(-5.5, 5.5, 45)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    law = np.exp(-0.5 * np.sum(grid**2, axis=1))
    law /= law.sum()
    x = np.concatenate([grid + [CENTER, 0.0], grid - [CENTER, 0.0], 0.5 * grid + CLUSTERS[place]])
    y = np.repeat([1, 0, 0], len(grid))
    found, coefficients, converged = {}, {}, 0
    for name in names:
        objective = lg.map_objective(lg.pseudo_likelihood(SWEPT[name], score))

        def path(weights: jax.Array, start: Any, objective: Any = objective) -> Any:
            return lg.solve(objective, start, x, y, weights=weights)

        solve, start = jax.jit(path), {"coef": jnp.array([1.0, 0.0]), "intercept": jnp.zeros(())}
        errors = []
        for share in shares:
            weights = jnp.asarray(1e4 * np.concatenate([0.5 * (1 - share) * law] * 2 + [share * law]))
            fit = solve(weights, start)
            start = fit.params  # so that the loss that is not convex follows its minimum
            converged += int(fit.status == lg.Status.CONVERGED)
            coef, intercept = np.asarray(fit.params["coef"]), float(fit.params["intercept"])
            margin = (CENTER * coef[0] + np.array([1, -1]) * intercept) / np.linalg.norm(coef)
            errors.append(float(np.mean(ndtr(-margin))) - BAYES_ERROR)
        found[name], coefficients[name] = np.array(errors), fit.params
    report.check_equal(f"{place} cluster: fits that converged, of {len(names) * len(shares)}", converged,
                       len(names) * len(shares))  # fmt: skip
    report.check(f"{place} cluster: excess error without it, the largest", max(e[0] for e in found.values()), 1e-9)
    if "Savage" in names:
        risk = losses.empirical_risk(losses.savage, score)
        own, other = (float(risk(coefficients[name], x, y, weights=weights)) for name in ("Savage", "logistic"))
        report.check_at_least(f"{place} cluster: Savage's risk at the logistic minimizer less that at its own",
                              other - own, 0)  # fmt: skip
    return found


def who_breaks(report: Report, against: dict[str, np.ndarray], believed: dict[str, np.ndarray]) -> None:
    """The order in which losses follow wrong labels."""
    first, last = ({name: errors[k] for name, errors in against.items()} for k in (1, -1))
    for name in against:
        if name in ("square", "logistic"):
            report.check_at_least(f"contradicting cluster, few wrong labels: excess of the exponential over {name}'s",
                                  first["exponential"] / first[name], 3.0)  # fmt: skip
    report.check("contradicting cluster, 10 % of the data: excess error of Savage", last["Savage"], 1e-3)
    report.check_at_least("and of the logistic loss", last["logistic"], 0.05)
    if "tangent" in last:
        report.check_at_least("and of the tangent, which is bounded too, over that of the logistic loss",
                              last["tangent"] / last["logistic"], 0.5)  # fmt: skip
    ends = [errors[-1] for errors in believed.values()]
    report.check_at_least("believable cluster, 10 %: least excess error of a loss over the largest",
                          min(ends) / max(ends), 0.7)  # fmt: skip


def flipped_labels(
    report: Report, rng: np.random.Generator, names: tuple[str, ...], rates: np.ndarray, repeats: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Errors on clean test cases after training with labels that are flipped at random."""
    cancer = load_breast_cancer()
    x = (cancer.data - cancer.data.mean(axis=0)) / cancer.data.std(axis=0)
    train, truth = 340, cancer.target
    orders = np.stack([rng.permutation(len(truth)) for _ in range(repeats)])
    flips = rng.uniform(size=(repeats, train))
    prior = {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()}
    start = {"coef": jnp.zeros(x.shape[1]), "intercept": jnp.zeros(())}
    found = {}
    for name in names:
        objective = lg.map_objective(lg.pseudo_likelihood(SWEPT[name], score), prior)

        def one(data: Any, objective: Any = objective) -> Any:
            order, flip, rate = data
            rows, labels = jnp.asarray(x)[order], jnp.asarray(truth)[order]
            noisy = jnp.where(flip < rate, 1 - labels[:train], labels[:train])
            fit = lg.solve(objective, start, rows[:train], noisy)
            return jnp.mean((score(fit.params, rows[train:]) > 0) != (labels[train:] == 1)), fit.status

        cases = [(orders[k], flips[k], rate) for rate in rates for k in range(repeats)]
        stacked = tuple(jnp.asarray(np.stack(v)) for v in zip(*cases, strict=True))
        errors, status = jax.jit(lambda data, one=one: jax.lax.map(one, data))(stacked)
        report.check_equal(f"breast_cancer, {name}: fits that converged, of {len(cases)}",
                           int(np.sum(np.asarray(status) == lg.Status.CONVERGED)), len(cases))  # fmt: skip
        errors = np.asarray(errors).reshape(len(rates), repeats)
        found[name] = (errors.mean(axis=1), errors.std(axis=1) / np.sqrt(repeats))
    for name in ("square", "logistic", "Savage"):
        if name in names:
            report.check_at_least(f"breast_cancer, {rates[-1]:.0%} flipped: error of the exponential less {name}'s",
                                  found["exponential"][0][-1] - found[name][0][-1], 0.005)  # fmt: skip
    return found


def draw_sizes(ax: Axes, found: dict[str, Any]) -> None:
    """Both risks against the number of observations."""
    n = np.array([row[0] for row in found["rows"]])
    for index, color, name in ((2, RED, "expected risk $R(f_S)$"), (1, BLUE, "empirical risk $R_S(f_S)$")):
        low, middle, high = (np.array([np.quantile(row[index], q) for row in found["rows"]]) for q in (0.1, 0.5, 0.9))
        ax.fill_between(n, low, high, color=color, alpha=0.16, lw=0)
        ax.plot(n, middle, "o-", color=color, ms=4, label=name + ", median and 80 %")
    ax.axhline(found["floor"], color=INK, lw=1.2, ls="--", label="least expected risk $R^*$")
    ax.plot(n, found["floor"] + 1.5 / n, ":", color=RED)
    ax.plot(n, found["floor"] - 1.5 / n, ":", color=BLUE, label=r"$R^*\pm\,p/2n$")
    ax.set(xscale="log", xlabel="observations $n$", ylabel="logistic risk, nats",
           title="The empirical risk flatters: by $p/n$")  # fmt: skip
    ax.legend(loc="upper right", fontsize=9)


def draw_bounds(ax: Axes, found: dict[str, Any]) -> None:
    """Excess error against excess risk, with the bound."""
    theta = np.linspace(0, 0.62, 301)
    for name in ("square", "cross-entropy", "hinge"):
        error, risk = found[name]
        keep = slice(0, 2500)
        ax.plot(risk[keep], error[keep], ".", color=COLORS[name], ms=2.2, alpha=0.35, rasterized=True)
        ax.plot(np.asarray(BOUNDED[name].psi(theta)), theta, color=COLORS[name], lw=2.2,
                label=rf"{name}, with its bound $\psi$")  # fmt: skip
    ax.set(xscale="log", xlim=(3e-4, 8), ylim=(0, 0.62), xlabel=r"excess risk $R_\varphi-R_\varphi^*$",
           ylabel=r"excess error $R-R^*$", title="No score lies left of its curve")  # fmt: skip
    ax.legend(loc="upper left", fontsize=9)


def draw_contamination(
    ax: Axes, against: dict[str, np.ndarray], believed: dict[str, np.ndarray], shares: np.ndarray
) -> None:
    """Excess error against the share of a cluster with wrong labels."""
    for name, errors in against.items():
        ax.plot(100 * shares, 100 * errors, color=COLORS[name], label=name)
    for name, errors in believed.items():
        ax.plot(100 * shares, 100 * errors, color=COLORS[name], lw=1, ls=":")
    ax.set(xlabel="data in a cluster of wrong labels, %", ylabel="excess error on the rest, %", ylim=(-0.7, 23),
           title="Exact risks: who follows wrong labels")  # fmt: skip
    ax.legend(loc="upper left", fontsize=9, title="deep inside the other class", title_fontsize=9)
    note(ax, "dotted: where no other data are", (0.97, 0.9), color=INK)


def draw_flips(ax: Axes, found: dict[str, tuple[np.ndarray, np.ndarray]], rates: np.ndarray) -> None:
    """Test error against the rate of flipped labels."""
    for k, (name, (mean, error)) in enumerate(found.items()):
        ax.errorbar(100 * rates + 0.25 * (k - 2.5), 100 * mean, 100 * error, fmt="o-", ms=4, color=COLORS[name],
                    lw=1.6, capsize=2, label=name)  # fmt: skip
    ax.set(xlabel="training labels flipped at random, %", ylabel="error on clean test cases, %",
           title="Breast cancer: labels flipped at random")  # fmt: skip
    ax.legend(loc="upper left", fontsize=9)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rng = np.random.default_rng(seed)
        sizes = sizes_of_samples(report, rng, (64, 256, 1024) if fast else (64, 128, 256, 1024, 4096),
                                 100 if fast else 400)  # fmt: skip
        scores = bounds(report, rng, 10_000)
        names = ("exponential", "logistic", "Savage") if fast else tuple(SWEPT)
        shares = np.linspace(0, 0.1, 5 if fast else 21)
        against = contamination(report, names, "contradicting", shares)
        believed = contamination(report, names, "believable", shares)
        who_breaks(report, against, believed)
        rates = np.array([0.0, 0.3] if fast else [0.0, 0.1, 0.2, 0.3])
        flips = flipped_labels(report, rng, names, rates, 4 if fast else 20)
        fig = figure(
            "Risk, its sample and its surrogates",
            r"$R_\varphi(f)=E\,\varphi(yf(x))$,   $R_S(f)=\frac{1}{n}\sum_i\varphi(y_if(x_i))$,   "
            r"$\psi(R-R^*)\;\leq\;R_\varphi-R_\varphi^*$",
        )
        cells = fig.add_gridspec(2, 2)
        draw_sizes(fig.add_subplot(cells[0, 0]), sizes)
        draw_bounds(fig.add_subplot(cells[0, 1]), scores)
        draw_contamination(fig.add_subplot(cells[1, 0]), against, believed, shares)
        draw_flips(fig.add_subplot(cells[1, 1]), flips, rates)
        report.save(fig)


if __name__ == "__main__":
    main()
