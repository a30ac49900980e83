"""The summary table of a fit."""

import dataclasses
import html
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._compilation import quick_jit
from lossgeo.duality import duality_gap
from lossgeo.inference.covariance import CovarianceKind, Fitted, standard_errors
from lossgeo.inference.intervals import wald_interval
from lossgeo.messages import coordinate_names, describe
from lossgeo.posing import Posed
from lossgeo.priors import Tied
from lossgeo.solvers import Status

__all__ = ["Row", "Summary", "summarize"]

MAX_ROWS = 60
AT_KINK = "at the kink"
LABELS = {
    "observed": "observed information",
    "expected": "expected information",
    "opg": "outer product of scores",
    "expected_sandwich": "sandwich of the expected information",
    "hc3": "sandwich corrected for leverage (HC3)",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter: estimate, standard error, ends of the interval, and a remark (held, at its kink)."""

    name: str
    estimate: float
    standard_error: float
    low: float
    high: float
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Summary:
    """Table of a fit; prints as text, shows as HTML in a notebook.

    Args:
        rows: one for each entry of each parameter.
        facts: pairs of label and text: status, certificate, log-likelihood, plan, …
        level: coverage of the intervals.
        message: what the status means.
    """

    rows: tuple[Row, ...]
    facts: tuple[tuple[str, str], ...]
    level: float
    message: str

    def _cells(self) -> list[list[str]]:
        percent = f"{100 * self.level:g} %"
        header = ["parameter", "estimate", "std. error", f"{percent} low", f"{percent} high", ""]
        rows = [
            [r.name, *(_number(v) for v in (r.estimate, r.standard_error, r.low, r.high)), r.remark]
            for r in self.rows[:MAX_ROWS]
        ]
        if len(self.rows) > MAX_ROWS:
            rows.append([f"... {len(self.rows) - MAX_ROWS} more", "", "", "", "", ""])
        if not any(row[-1] for row in rows):
            return [row[:-1] for row in [header, *rows]]
        return [header, *rows]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
        lines = [
            "  ".join(
                text.ljust(w) if k in (0, 5) else text.rjust(w)
                for k, (text, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        width = max(len(line) for line in lines)
        label = max(len(name) for name, _ in self.facts)
        facts = [f"{name.ljust(label)}  {text}" for name, text in self.facts]
        rule = "-" * width
        return "\n".join([*facts, rule, lines[0], rule, *lines[1:], rule, self.message])

    def _repr_html_(self) -> str:
        def row(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        facts = "".join(row([name, text], "td") for name, text in self.facts)
        header, *rows = self._cells()
        body = "".join(row(r, "td") for r in rows)
        return f"<table>{facts}</table><table>{row(header, 'th')}{body}</table><p>{html.escape(self.message)}</p>"


def summarize(fit: Fitted, cov: CovarianceKind = "observed", level: float = 0.95) -> Summary:
    """Table of estimates, standard errors and intervals, with the log-likelihood, the log-prior and the certificate.

    Of a penalty with a kink it counts the coordinates that are free: what glmnet calls the degrees of freedom, besides
    the intercept and a scale.

    Args:
        fit: a fit.
        cov: kind of covariance; a pseudo-likelihood wants ``"sandwich"``.
        level: coverage of the intervals.
    """
    posed, solution = fit.posed, fit.solution
    params = solution.params
    errors = standard_errors(fit, cov)
    low, high = wald_interval(fit, level, cov)

    def flat(tree: Any) -> list[float]:
        return [float(v) for leaf in jax.tree.leaves(tree) for v in np.ravel(np.asarray(leaf))]

    remarks = _remarks(fit)
    columns = coordinate_names(params), flat(params), flat(errors), flat(low), flat(high), remarks
    rows = tuple(Row(*row) for row in zip(*columns, strict=True))
    terms = jax.eval_shape(posed.objective.likelihood.log_likelihood, params, *posed.data)
    log_likelihood, log_prior = (float(v) for v in _log_densities(posed, params))
    status = Status(int(solution.status))
    certificate = f"EDM {float(solution.edm):.1e} nats"
    if not bool(np.all(np.asarray(solution.certificate.free))):
        certificate += f", KKT residual {float(solution.kkt_residual):.1e}"
        known = solution.certificate.gap
        gap = float(duality_gap(posed, params) if known is None else known)
        certificate += f", duality gap {gap:.1e} nats" if np.isfinite(gap) else ""
    facts = [
        ("status", status.name),
        ("certificate", certificate),
        ("observations", str(terms.size)),
        (
            "log-likelihood" if posed.objective.likelihood.is_density else "pseudo-log-likelihood",
            f"{log_likelihood:.6f} nats",
        ),
        ("log-prior", f"{log_prior + 0.0:.6f} nats"),
        ("standard errors", LABELS.get(cov, cov)),
    ]
    free, rest = remarks.count(""), remarks.count(AT_KINK)
    if rest:
        facts.append(("free coordinates", f"{free}, besides {rest} at the kink"))
    if solution.plan is not None:
        facts.append(("plan", str(solution.plan)))
    facts.append(("steps", str(int(solution.num_steps))))
    return Summary(rows, tuple(facts), level, describe(posed, solution, fit.tol))


@quick_jit(small=True)
def _log_densities(posed: Posed, params: Any) -> tuple[jax.Array, jax.Array]:
    """Log-likelihood and log-prior, in nats."""
    total = posed.objective.likelihood.total(params, *posed.data, weights=posed.weights)
    prior = posed.objective.prior
    return total, jnp.asarray(prior.log_prior(prior.complete(params)))


def _remarks(fit: Fitted) -> list[str]:
    """``held`` or ``tied`` for such a parameter, ``at the kink`` for one that the prior put there, else nothing."""
    posed, certificate = fit.posed, fit.solution.certificate
    remarks: list[str] = []
    free = np.asarray(certificate.free)
    position = 0
    coordinates = jax.eval_shape(posed.to_unconstrained, posed.template)
    entries = posed.objective.prior.entries(posed.template)
    for index, (leaf, v) in enumerate(zip(jax.tree.leaves(posed.template), coordinates, strict=True)):
        if v.size == 0 and leaf.size > 0:
            tied = entries is not None and isinstance(entries[index].distribution, Tied)
            remarks += ["tied" if tied else "held"] * leaf.size
        elif v.size == leaf.size:
            remarks += ["" if f else AT_KINK for f in free[position : position + v.size]]
        else:
            remarks += [""] * leaf.size
        position += v.size
    return remarks


def _number(value: float) -> str:
    """Six significant digits; an exact zero is a plain 0."""
    if math.isnan(value):
        return "nan"
    return "0" if value == 0 else f"{value:.6g}"
