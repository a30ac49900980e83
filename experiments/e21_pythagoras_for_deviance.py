"""Pythagoras for deviance: exact for canonical links, with a gap that curvature predicts for the others.

Claim:
    For a generalized linear model with its canonical link and an intercept, null deviance = residual deviance +
    2 KL(fit || null), as total = residual + explained sum of squares for least squares. With another link the model is
    a curved surface in the natural parameters, and a gap is left, 2 sum (y - mu) (theta - theta_0). To second order it
    is minus the residual in the direction of the acceleration, and its standard deviation under the model is
    gamma times I: Efron's statistical curvature times the squared Fisher length from the fit to the null. (Where the
    data are overdispersed, times Pearson's scale.)

Source:
    Chapter 4 "Probability and geometry of losses", 4.1.4, Theorem 4.1.3, carried over to cross-entropy.

Errata:
    None: the sources state the theorem for squared error only. A11 (orthogonality holds on flat sets) is why a gap
    appears.

Data:
    breast_cancer (scikit-learn), star98 and scotland (statsmodels), against statsmodels' deviances.

Run time:
    about 40 s.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import statsmodels.api as sm
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer

import lossgeo as lg
from experiments.report import BLUE, GOLD, GRAY, INK, RED, TEAL, Report, figure, note
from lossgeo import distributions as dist
from lossgeo import geometry as geo
from lossgeo import numerics, supports


def logit_theta(eta: jax.Array) -> jax.Array:
    """Canonical: the natural parameter is the linear predictor."""
    return eta


def probit_theta(eta: jax.Array) -> jax.Array:
    """Log-odds of a normal distribution function."""
    return numerics.log_ndtr(eta) - numerics.log_ndtr(-eta)


def cloglog_theta(eta: jax.Array) -> jax.Array:
    """Log-odds of 1 - exp(-exp(eta))."""
    return jnp.exp(eta) + numerics.log1mexp(jnp.exp(eta))


def inverse_theta(eta: jax.Array) -> jax.Array:
    """Canonical for the gamma, up to sign."""
    return -eta


def log_theta(eta: jax.Array) -> jax.Array:
    """Minus the reciprocal of a mean exp(eta)."""
    return -jnp.exp(-eta)


def predictor(params: Any, x: jax.Array) -> jax.Array:
    """The linear predictor."""
    return x @ params["coef"] + params["intercept"]


def logit_model(params: Any, x: jax.Array, total: jax.Array) -> dist.Binomial:
    """Binomial with the logit link."""
    return dist.Binomial(total, logits=logit_theta(predictor(params, x)))


def probit_model(params: Any, x: jax.Array, total: jax.Array) -> dist.Binomial:
    """Binomial with the probit link."""
    return dist.Binomial(total, logits=probit_theta(predictor(params, x)))


def cloglog_model(params: Any, x: jax.Array, total: jax.Array) -> dist.Binomial:
    """Binomial with the complementary log-log link."""
    return dist.Binomial(total, logits=cloglog_theta(predictor(params, x)))


def inverse_model(params: Any, x: jax.Array, total: jax.Array) -> dist.Gamma:
    """Gamma with the inverse link."""
    shape = params["shape"]
    return dist.Gamma(shape, -shape * inverse_theta(predictor(params, x)))


def log_model(params: Any, x: jax.Array, total: jax.Array) -> dist.Gamma:
    """Gamma with the log link."""
    shape = params["shape"]
    return dist.Gamma(shape, -shape * log_theta(predictor(params, x)))


class Link(NamedTuple):
    """A model, its natural parameter as a function of the predictor, and statsmodels' name."""

    model: Callable[..., Any]
    theta: Callable[[jax.Array], jax.Array]
    theirs: Any


BINOMIAL = {
    "logit": Link(logit_model, logit_theta, sm.families.links.Logit),
    "probit": Link(probit_model, probit_theta, sm.families.links.Probit),
    "cloglog": Link(cloglog_model, cloglog_theta, sm.families.links.CLogLog),
}
GAMMA = {
    "inverse": Link(inverse_model, inverse_theta, sm.families.links.InversePower),
    "log": Link(log_model, log_theta, sm.families.links.Log),
}


def binomial_sum(eta: jax.Array, weight: jax.Array) -> jax.Array:
    """Log-partition of independent binomials."""
    return jnp.sum(weight * numerics.softplus(eta))


def gamma_sum(eta: jax.Array, weight: jax.Array) -> jax.Array:
    """Log-partition of independent gammas of one shape."""
    return -jnp.sum(weight * jnp.log(-eta))


class Row(NamedTuple):
    """One fit."""

    data: str
    link: str
    deviance: Any
    second_order: float
    predicted: float
    along: np.ndarray


STEPS = np.linspace(0, 1, 41)


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Link]]]:
    """Standardized columns, numbers of trials, responses, links."""
    x, y = load_breast_cancer(return_X_y=True)
    found = {"breast_cancer": (x[:, :4], np.ones(len(y)), y.astype(float), BINOMIAL)}
    star = sm.datasets.star98.load_pandas()
    counts = np.asarray(star.endog, float)
    found["star98"] = (np.asarray(star.exog, float)[:, :8], counts.sum(1), counts[:, 0], BINOMIAL)
    scotland = sm.datasets.scotland.load_pandas()
    y = np.asarray(scotland.endog, float)
    found["scotland"] = (np.asarray(scotland.exog, float), np.ones(len(y)), y, GAMMA)
    return {name: ((x - x.mean(0)) / x.std(0), total, y, links) for name, (x, total, y, links) in found.items()}


def analyse(report: Report, data: str, name: str, x: np.ndarray, total: np.ndarray, y: np.ndarray, link: Link) -> Row:
    """Fit, decompose, and predict the gap from the curvature."""
    gamma = link.theirs in (sm.families.links.InversePower, sm.families.links.Log)
    design = sm.add_constant(x)
    endog = y if gamma else np.column_stack([y, total - y])
    with warnings.catch_warnings():  # statsmodels warns that the inverse link may leave the domain
        warnings.simplefilter("ignore")
        family = sm.families.Gamma(link.theirs()) if gamma else sm.families.Binomial(link.theirs())
        theirs = sm.GLM(endog, design, family=family).fit(tol=1e-14, maxiter=300)
    init = {"coef": jnp.asarray(theirs.params[1:]) * 0.98, "intercept": float(theirs.params[0])}
    if gamma:
        init["shape"] = 50.0
    support = {"shape": supports.positive} if gamma else None
    fit = lg.fit(lg.map_objective(lg.likelihood(link.model), supports=support), init, x, total, y)
    found = lg.geometry_of(fit).deviance
    precision = np.full(len(y), float(fit.params["shape"])) if gamma else total
    where = f"{data}, {name}"
    shape = precision[0] if gamma else 1.0
    report.check(
        f"{where}: deviance against statsmodels, relative", float(found.residual) / shape / theirs.deviance - 1, 1e-8
    )
    report.check(f"{where}: null - residual - 2 KL - gap, relative",
        (found.null - found.residual - found.explained - found.gap) / found.null, 1e-13)  # fmt: skip
    eta = jnp.asarray(design @ np.r_[float(fit.params["intercept"]), np.asarray(fit.params["coef"])])
    statistic = jnp.asarray(y if gamma else y / total)
    base = geo.exponential if gamma else geo.bernoulli
    null_mean = jnp.sum(precision * statistic) / np.sum(precision)
    null_eta = {"logit": lambda m: jnp.log(m / (1 - m)), "probit": jax.scipy.special.ndtri, "inverse": lambda m: 1 / m,
                "cloglog": lambda m: jnp.log(-jnp.log1p(-m)), "log": jnp.log}[name](null_mean)  # fmt: skip
    delta = eta - null_eta
    weight = jnp.asarray(precision)
    product = geo.potential(gamma_sum if gamma else binomial_sum, ndim=1, parameters=(weight,), name="rows")

    def curve(t: jax.Array) -> jax.Array:
        return link.theta(eta - t * delta)

    rest = weight * (statistic - base.gradient(link.theta(eta)))
    acceleration = jax.jvp(lambda t: jax.jvp(curve, (t,), (1.0,))[1], (0.0,), (1.0,))[1]
    second_order = -float(jnp.vdot(rest, acceleration))
    along = 2 * np.array([float(jnp.vdot(rest, curve(0.0) - curve(t))) for t in STEPS])
    if name in ("logit", "inverse"):
        report.check(f"{where} (canonical): gap over null deviance", found.gap / found.null, 1e-9)
        report.check_equal(f"{where}: recognized as canonical", str(found.is_canonical), "True")
        return Row(data, name, found, 0.0, 0.0, along)
    report.check_equal(f"{where}: recognized as not canonical", str(found.is_canonical), "False")
    report.check(f"{where}: end of the path is the gap, relative", along[-1] / float(found.gap) - 1, 1e-5)
    t = 1e-3
    early = 2 * float(jnp.vdot(rest, curve(0.0) - curve(t)) - jnp.vdot(rest, -jax.jvp(curve, (0.0,), (1.0,))[1]) * t)
    report.check(
        f"{where}: gap(t) / t^2 over minus <residual, acceleration>, less 1, t = {t:g}",
        early / t**2 / second_order - 1,
        0.05,
    )
    velocity = jax.jvp(curve, (0.0,), (1.0,))[1]
    metric = weight * base.hessian(link.theta(eta))
    length = float(jnp.sum(metric * velocity**2))
    predicted = float(geo.efron_curvature(product, curve, jnp.asarray(0.0))) * length
    # Schools differ by more than the binomial allows: the scale of residuals is then Pearson's, as in quasi-likelihood.
    excess = float(np.sqrt(theirs.pearson_chi2 / theirs.df_resid)) if np.any(total > 1) else 1.0
    report.check(f"{where}: second-order gap over gamma I (times {excess:.2f}, Pearson), a standard score",
        second_order / predicted / excess, 3.0)  # fmt: skip
    # The standard deviation itself, by draws from the fitted law of the residual across the curve.
    across = acceleration - velocity * jnp.sum(metric * velocity * acceleration) / length
    rng = np.random.default_rng(0)
    mean = np.asarray(base.gradient(link.theta(eta)))
    draws = (
        rng.gamma(precision, mean / precision, (4000, len(y)))
        if gamma
        else rng.binomial(total.astype(int), mean, (4000, len(y))) / total
    )
    spread = np.std(((draws - mean) * precision) @ np.asarray(across))
    report.check(f"{where}: gamma I over the standard deviation of 4000 draws, less 1", predicted / spread - 1, 0.06)
    return Row(data, name, found, second_order, predicted * excess, along)


def draw_bars(ax: Axes, rows: list[Row]) -> None:
    """Shares of the null deviance."""
    for k, row in enumerate(rows):
        null = float(row.deviance.null)
        explained, residual = float(row.deviance.explained) / null, float(row.deviance.residual) / null
        ax.barh(k, explained, color=TEAL, height=0.62)
        ax.barh(k, residual, left=explained, color=GOLD, height=0.62)
        gap = float(row.deviance.gap) / null
        text = "exact" if abs(gap) < 1e-8 else f"gap {gap:+.2%}"
        ax.text(1.03, k, text, va="center", size=10.5, color=INK if text == "exact" else RED, weight="bold")
        ax.text(explained / 2, k, f"{explained:.3f}", va="center", ha="center", color="white", size=10)
        ax.text(explained + residual / 2, k, f"{residual:.3f}", va="center", ha="center", color="white", size=10)
    ax.axvline(1, color=INK, lw=1.2)
    ax.set_yticks(range(len(rows)), [f"{row.data}\n{row.link}" for row in rows], size=9.5)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set(xlim=(0, 1.25), xticks=[0, 0.5, 1], xlabel="share of the null deviance",
           title="2 KL(fit || null)  +  residual deviance")  # fmt: skip


def draw_paths(ax: Axes, rows: list[Row]) -> None:
    """Gap on the way from the fit to the null model."""
    for row, color in zip([r for r in rows if r.predicted], (BLUE, TEAL, RED, GOLD, GRAY), strict=False):
        ax.plot(STEPS, row.along / row.predicted, color=color, label=f"{row.data}, {row.link}")
        ax.plot(STEPS, row.second_order / row.predicted * STEPS**2, color=color, lw=1, ls=":")
    ax.axhline(0, color=INK, lw=1)
    ax.set(xlabel=r"$t$: from the fit (0) to the null model (1)", ylabel=r"gap$(t)$ / $\gamma I$",
           title="The way to the null model; dotted: second order")  # fmt: skip
    ax.legend(fontsize=9, loc="best")


def draw_scores(ax: Axes, rows: list[Row]) -> None:
    """Gaps against their predicted scale."""
    curved = [r for r in rows if r.predicted]
    for k, row in enumerate(curved):
        ax.plot([-row.predicted, row.predicted], [k, k], color=GRAY, lw=7, alpha=0.45, solid_capstyle="butt")
        ax.plot(row.second_order, k, "D", color=BLUE, ms=7, label="second order" if k == 0 else None)
        ax.plot(float(row.deviance.gap), k, "o", color=RED, ms=7, label="gap" if k == 0 else None)
    ax.axvline(0, color=INK, lw=1)
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set_yticks(range(len(curved)), [f"{row.data}\n{row.link}" for row in curved], size=9)
    ax.set(
        xlabel="nats (symmetric logarithm)",
        ylim=(-1.2, len(curved) + 0.1),
        title=r"The gap lives on the scale $\pm\,\gamma I$",
    )
    ax.legend(fontsize=9, loc="upper right", ncols=2)
    note(ax, r"gray: Efron curvature $\times$ squared Fisher length", (0.03, 0.02), size=9)


def main(*, seed: int = 0, fast: bool = False, out: str | Path | None = None) -> None:
    """Run the experiment; see the module's docstring."""
    with Report(__file__, __doc__, out=out, seed=seed, fast=fast) as report:
        rows = []
        for data, (x, total, y, links) in data_sets().items():
            if fast and data == "star98":
                continue
            for name, link in links.items():
                if fast and name == "cloglog":
                    continue
                rows.append(analyse(report, data, name, x, total, y, link))
        fig = figure(
            "Pythagoras for deviance",
            r"$D(y,\mu_0)=D(y,\hat\mu)+2\,\mathrm{KL}(\hat\mu\,\|\,\mu_0)+\mathrm{gap},\qquad"
            r"\mathrm{gap}=2\,\langle y-\hat\mu,\;\hat\theta-\theta_0\rangle=0$ for canonical links",
        )
        left, right = fig.add_gridspec(1, 2, width_ratios=[1.15, 1])
        draw_bars(fig.add_subplot(left), rows)
        top, bottom = right.subgridspec(2, 1)
        draw_scores(fig.add_subplot(top), rows)
        draw_paths(fig.add_subplot(bottom), rows)
        report.save(fig)


if __name__ == "__main__":
    main()
