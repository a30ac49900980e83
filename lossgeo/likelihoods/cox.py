"""Cox's partial likelihood: proportional hazards with an unspecified baseline."""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo._pytree import as_function, pytree, static
from lossgeo.likelihoods.declared import Likelihood
from lossgeo.likelihoods.ranks import (
    Order,
    Scaled,
    log_scaled,
    log_symmetric,
    risk_by_mask,
    risk_by_scan,
    sort_cases,
    tied_sum,
)
from lossgeo.supports import Support

__all__ = ["CoxPartial", "SurvivalTargets", "cox_partial"]

Ties = Literal["efron", "breslow", "exact"]


@pytree
class SurvivalTargets(Support):
    """Targets ``(time, event)`` with events 0 or 1 and times after the entry."""

    of_trees: ClassVar[bool] = True

    entry: ArrayLike | None = None

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "(time, event) with event 0 or 1" + ("" if self.entry is None else " and time above entry")

    def contains(self, x: Any) -> jax.Array:
        """See :meth:`Support.contains`; ``x`` is the pair."""
        time, event = survival_parts(x)
        good = ((event == 0) | (event == 1)) & ~jnp.isnan(time)
        return good if self.entry is None else good & (time > jnp.asarray(self.entry))


def survival_parts(target: Any) -> tuple[jax.Array, jax.Array]:
    """Times and events of a survival target.

    Raises:
        ValueError: it is not a pair of vectors of one length.
    """
    if not isinstance(target, tuple | list) or len(target) != 2:
        raise ValueError(
            f"the target of cox_partial is (time, event), but is {type(target).__name__}. Delayed entry is "
            "cox_partial(entry=...)."
        )
    time, event = (jnp.asarray(part) for part in target)
    if time.ndim != 1 or time.shape != event.shape:
        raise ValueError(f"time and event must both have shape (n,), but have {time.shape} and {event.shape}.")
    return time, event


def coefficients(params: Any, x: Any) -> jax.Array:
    """The default predictor ``x @ params["coef"]``."""
    return jnp.asarray(x) @ params["coef"]


@pytree
class CoxPartial(Likelihood):
    """Cox's partial likelihood; see :func:`cox_partial`."""

    predictor: Any
    ties: Ties = static(default="efron")
    max_ties: int | None = static(default=None)
    strata: Any = None
    entry: Any = None

    can_separate = True

    @property
    def has_case_weights(self) -> bool:  # type: ignore[override]
        """See :attr:`Likelihood.has_case_weights`; the exact partial likelihood has none."""
        return self.ties != "exact"

    def log_likelihood(self, params: Any, *data: Any) -> jax.Array:
        """Log partial likelihood in nats, shape ``()``."""
        return self.total(params, *data)

    def total(self, params: Any, *data: Any, weights: Any = None) -> jax.Array:
        """Log partial likelihood with case weights, which count in the risk sets too; shape ``()``."""
        *inputs, target = data
        time, event = survival_parts(target)
        eta = jnp.asarray(self.predictor(params, *inputs))
        if eta.shape != time.shape:
            raise ValueError(
                f"the linear predictor has shape {eta.shape}, but time has {time.shape}. Both must be (n,)."
            )
        strata = jnp.zeros(time.shape, int) if self.strata is None else jnp.asarray(self.strata)
        for name, value in (("strata", strata), ("entry", self.entry), ("weights", weights)):
            if value is not None and jnp.shape(value) != time.shape:
                raise ValueError(f"{name} have shape {jnp.shape(value)}, but time has {time.shape}: one for each case.")
        if self.ties == "exact" and weights is not None:
            raise ValueError("the exact partial likelihood has no case weights. Use ties='efron' or repeat the rows.")
        weight = jnp.ones_like(eta) if weights is None else jnp.asarray(weights, eta.dtype)
        order = sort_cases(time, strata)
        eta, weight = eta[order.permutation], weight[order.permutation]
        dead = (event[order.permutation] == 1) & (weight > 0)
        at_risk = None
        if self.entry is not None:
            entry, time = jnp.asarray(self.entry)[order.permutation], time[order.permutation]
            strata = strata[order.permutation]
            at_risk = (strata[:, None] == strata[None, :]) & (time[None, :] >= time[:, None])
            at_risk = at_risk & (entry[None, :] < time[:, None])
        if self.ties == "exact":
            return _exact(eta, dead, order, at_risk, self.max_ties)
        risk = risk_by_scan(eta, weight, order) if at_risk is None else risk_by_mask(eta, weight, at_risk)
        return _approximate(eta, weight, dead, order, risk, efron=self.ties == "efron")

    def num_cases(self, *data: Any) -> int:
        """See :meth:`Likelihood.num_cases`."""
        return survival_parts(data[-1])[0].shape[0]

    def target_support(self, params: Any, *data: Any) -> Support:
        """See :meth:`Likelihood.target_support`."""
        return SurvivalTargets(self.entry)

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values of the default predictor: all zero.

        Raises:
            ValueError: there is another predictor.
        """
        if getattr(self.predictor, "fn", None) is not coefficients:
            return super().init(x, *rest)
        return {"coef": jnp.zeros(jnp.shape(x)[1], jnp.result_type(x, float))}


def _deaths(dead: jax.Array, order: Order) -> tuple[jax.Array, jax.Array]:
    """For each sorted case the number of deaths among its ties, and of those before it among them."""
    count = jax.ops.segment_sum(dead.astype(int), order.tie, num_segments=dead.shape[0], indices_are_sorted=True)[
        order.tie
    ]
    running = jnp.cumsum(dead)
    return count, running - dead - (running - dead)[order.first]


def _approximate(
    eta: jax.Array, weight: jax.Array, dead: jax.Array, order: Order, risk: Scaled, efron: bool
) -> jax.Array:
    """Breslow's and Efron's partial likelihoods."""
    if not efron:
        return jnp.sum(jnp.where(dead, weight * (eta - log_scaled(risk, dead)), 0))
    count, before = _deaths(dead, order)
    dying = jnp.where(dead, weight, 0)
    total_weight = jax.ops.segment_sum(dying, order.tie, num_segments=eta.shape[0], indices_are_sorted=True)[order.tie]
    number = jnp.maximum(count, 1).astype(eta.dtype)
    # Of the deaths at one time the k-th meets a risk set from which k shares of all of them are gone.
    gone = before / number * tied_sum(jnp.where(dead, eta, risk.shift), dying, order, risk.shift)
    left = log_scaled(Scaled(risk.shift, risk.total - gone), dead)
    return jnp.sum(jnp.where(dead, weight * eta - total_weight / number * left, 0))


def _exact(eta: jax.Array, dead: jax.Array, order: Order, at_risk: jax.Array | None, max_ties: int | None) -> jax.Array:
    """The partial likelihood of discrete times: these died, given that so many did."""
    size = eta.shape[0] if max_ties is None else min(max_ties, eta.shape[0])
    count, _ = _deaths(dead, order)
    if at_risk is None:
        rows = log_symmetric(eta, order.opens, size)
    else:
        opens = jnp.zeros(eta.shape, bool)
        rows = jax.vmap(lambda mask: log_symmetric(jnp.where(mask, eta, -jnp.inf), opens, size)[0])(at_risk)
    here = (jnp.arange(eta.shape[0]) == order.first) & (count > 0)
    chosen = jnp.take_along_axis(rows, jnp.minimum(count, size)[:, None], axis=1)[:, 0]
    chosen = jnp.where(count <= size, chosen, jnp.nan)
    return jnp.sum(jnp.where(dead, eta, 0)) - jnp.sum(jnp.where(here, chosen, 0))


def cox_partial(
    predictor: Any = None,
    *,
    ties: Ties = "efron",
    strata: ArrayLike | None = None,
    entry: ArrayLike | None = None,
    max_ties: int | None = None,
) -> CoxPartial:
    r"""Cox's partial likelihood of survival times, which leaves the baseline hazard unspecified.

    .. math::
        \ell(\beta) = \sum_{i:\,\text{event}} \Bigl[\eta_i - \log\sum_{j \in R(t_i)} e^{\eta_j}\Bigr],
        \qquad R(t) = \{j : \text{entry}_j < t \le \text{time}_j\}

    within each stratum. Of tied events Breslow's formula takes the whole risk set for each; Efron's takes away the
    :math:`k`-th share of the tied ones for the :math:`k`-th; the exact one is the probability that of all sets of so
    many it was these (discrete times; R's ``"exact"``, a conditional logistic likelihood).

    Only the order of the times counts; negative ones are allowed. ``fit(..., weights=w)`` are case weights and count in
    the risk sets too (R's ``weights``; with ties Efron's formula is not that of repeated rows). It is no density of the
    data but behaves like one: Hessian, likelihood ratios and AIC are those of the partial likelihood (Cox 1975), and
    ``cov="sandwich"`` is the robust covariance of Lin and Wei. BIC is NaN: there is no number of observations.

    Args:
        predictor: ``(params, *inputs) -> eta`` of shape ``(n,)``; by default ``x @ params["coef"]``. It has no
            intercept: a constant cancels.
        ties: ``"efron"``, ``"breslow"`` or ``"exact"``.
        strata: ids of shape ``(n,)`` (any integers): each stratum has its own baseline.
        entry: times of shape ``(n,)`` from which on (exclusive) each case is at risk: left truncation, and, with
            several rows for a person, covariates that change.
        max_ties: static bound on the events at one time and stratum, used by ``"exact"``, whose cost is
            ``n * max_ties`` (``n ** 2 * max_ties`` with ``entry``); by default ``n``. More events than that give NaN.

    Returns:
        A likelihood whose target is ``(time, event)``, both of shape ``(n,)``, with event 1 for a death and 0 for
        a censored time.

    Raises:
        ValueError: ``ties`` is something else; at the first evaluation, parts of different lengths.

    Numerics:
        Sums over risk sets are shifted by their own largest term: a linear predictor of size 1e4, or a last risk set
        far below the first, loses nothing. Time ``n log n``; with ``entry`` an ``(n, n)`` mask.

    References: Cox (1972), JRSS B 34; Cox (1975), Biometrika 62; Efron (1977), JASA 72; Lin and Wei (1989), JASA 84.
    """
    if ties not in ("efron", "breslow", "exact"):
        raise ValueError(f"ties must be 'efron', 'breslow' or 'exact', but is {ties!r}.")
    if max_ties is not None and max_ties < 1:
        raise ValueError(f"max_ties must be at least 1, but is {max_ties}.")
    if strata is not None and np.asarray(strata).dtype.kind not in "biu":
        raise TypeError(
            f"strata must be integer ids, but have dtype {np.asarray(strata).dtype}. numpy.unique(strata, "
            "return_inverse=True)[1] makes them."
        )
    strata, entry = (None if part is None else jnp.asarray(np.asarray(part)) for part in (strata, entry))
    return CoxPartial(as_function(predictor or coefficients), ties, max_ties, strata, entry)
