r"""The em algorithm: alternating e- and m-projection between a flat set of data and a flat model.

Data that fix only some moments or margins of a law (hidden variables, coarse counts) are an m-flat set
:math:`\mathcal D`, a log-linear model is an e-flat family :math:`\mathcal E`. Maximum likelihood from such data is the
least divergence between the two, :math:`\min_{r\in\mathcal D,\,p\in\mathcal E}\mathrm{KL}(r\|p)`, and is reached by
going to and fro:

* *e-step*: the I-projection of the model point on the data, :math:`r = \arg\min_{r\in\mathcal D}\mathrm{KL}(r\|p)`;
* *m-step*: the M-projection of the data point on the model, :math:`p = \arg\min_{p\in\mathcal E}\mathrm{KL}(r\|p)`.

Where the data are a margin over hidden classes this is the EM algorithm, step for step. By Pythagoras the steps lower
the divergence by *exactly* :math:`\mathrm{KL}(r_{t-1}\|r_t)` and :math:`\mathrm{KL}(p_{t+1}\|p_t)`, which need no
subtraction: that is the certificate.

Reference: Amari (1995), Neural Networks 8; Csiszár & Tusnády (1984), Statistics & Decisions, supplement 1.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating
from lossgeo.geometry.information_projections import Hierarchical, LogLinear, Margins, Moments, project
from lossgeo.numerics import kl_term

__all__ = ["AlternatingProjection", "em"]


class AlternatingProjection(NamedTuple):
    r"""Where the em algorithm ended.

    Fields: ``data_point`` :math:`r\in\mathcal D` and ``model_point`` :math:`p\in\mathcal E`, shape of the start;
    ``divergence`` KL(r‖p) in nats; ``coordinates`` of the model point, as in :class:`Projection`; ``decrease``, what
    the last m-step gained, :math:`\mathrm{KL}(p_{t+1}\|p_t)`; ``remaining``, what all further steps will gain if they
    go on to shrink at the rate of the last two (``inf`` if they did not shrink); ``pythagorean_residual``, the largest
    defect in nats of the Pythagorean identity in the last cycle; ``history``, KL(r‖p) after every cycle, NaN beyond
    the last; ``num_steps``; ``converged``: ``remaining`` is below the tolerance and both projections converged.
    """

    data_point: jax.Array
    model_point: jax.Array
    divergence: jax.Array
    coordinates: jax.Array | tuple[jax.Array, ...]
    decrease: jax.Array
    remaining: jax.Array
    pythagorean_residual: jax.Array
    history: jax.Array
    num_steps: jax.Array
    converged: jax.Array


def em(
    start: ArrayLike,
    data: Moments | Margins,
    model: LogLinear | Hierarchical,
    *,
    tol: float | None = None,
    max_steps: int = 5_000,
) -> AlternatingProjection:
    r"""Least divergence :math:`\mathrm{KL}(r\|p)` between an m-flat set of data and an e-flat model.

    Args:
        start: probability vector, shape ``(d,)``, or table of any shape with sum 1; its M-projection on the model is
            where the algorithm starts. With hidden classes it must not treat them alike: their symmetry is a fixed
            point, and a saddle.
        data: the m-flat set, :class:`Moments` or :class:`Margins`.
        model: the e-flat family, :class:`LogLinear` or :class:`Hierarchical`.
        tol: bound on ``remaining`` in nats; eps of the dtype by default, that is :math:`10^{-8}` standard errors.
        max_steps: largest number of cycles (static).

    Returns:
        An :class:`AlternatingProjection`: a stationary point. The family is not convex in the mixture sense, so
        that there may be several; compare starts.

    Raises:
        ValueError: ``data`` is not m-flat or ``model`` not e-flat.

    Numerics:
        Linear convergence, at the rate of the missing information. Where the two sets touch at the boundary the steps
        shrink ever more slowly; then ``remaining`` is large, and ``converged`` is False. Forward derivatives only; for
        gradients differentiate the stationarity condition.

    Example:
        >>> # Two hidden classes that make x and y independent: axes (class, x, y), observed margin of (x, y).
        >>> em(start, Margins((observed,), ((1, 2),)), Hierarchical(((0, 1), (0, 2))))
    """
    if not isinstance(data, Moments | Margins) or not isinstance(model, LogLinear | Hierarchical):
        raise ValueError(
            "em goes between data that are Moments or Margins (m-flat) and a model that is LogLinear or Hierarchical "
            f"(e-flat), got {type(data).__name__} and {type(model).__name__}."
        )
    (p,) = floating(start)
    return _alternate(p, data, model, float(jnp.finfo(p.dtype).eps) if tol is None else tol, max_steps)


def _kl(p: jax.Array, q: jax.Array) -> jax.Array:
    return jnp.sum(kl_term(p, q))


class _State(NamedTuple):
    model_point: jax.Array
    decrease: jax.Array
    remaining: jax.Array
    history: jax.Array
    step: jax.Array


@partial(jax.jit, static_argnames="max_steps")
def _alternate(
    start: jax.Array, data: Moments | Margins, model: LogLinear | Hierarchical, tol: float, max_steps: int
) -> AlternatingProjection:
    infinity = jnp.full((), jnp.inf, start.dtype)
    first = project(start, model, side="M").point
    history = jnp.full((max_steps,), jnp.nan, start.dtype)

    def cycle(state: _State) -> _State:
        r = project(state.model_point, data, side="I").point
        moved = project(r, model, side="M")
        decrease = _kl(moved.point, state.model_point)
        ratio = decrease / jnp.where(state.decrease > 0, state.decrease, 1.0)
        shrinks = (ratio < 1) & (state.decrease < jnp.inf)
        remaining = jnp.where(shrinks, decrease * ratio / jnp.where(shrinks, 1 - ratio, 1.0), jnp.inf)
        remaining = jnp.where(decrease == 0, 0.0, remaining)
        history = state.history.at[state.step].set(moved.divergence)
        return _State(moved.point, decrease, remaining, history, state.step + 1)

    def unfinished(state: _State) -> jax.Array:
        return (state.remaining > tol) & (state.step < max_steps) & ~jnp.isnan(state.decrease)

    begin = _State(first, infinity, infinity, history, jnp.zeros((), jnp.int32))
    state = jax.lax.while_loop(unfinished, cycle, begin)
    e_step = project(state.model_point, data, side="I")
    m_step = project(e_step.point, model, side="M")
    defects = jnp.stack([jnp.abs(e_step.pythagorean_residual), jnp.abs(m_step.pythagorean_residual)])
    return AlternatingProjection(
        data_point=e_step.point,
        model_point=m_step.point,
        divergence=_kl(e_step.point, m_step.point),
        coordinates=m_step.coordinates,
        decrease=_kl(m_step.point, state.model_point),
        remaining=state.remaining,
        pythagorean_residual=jnp.max(defects),
        history=state.history,
        num_steps=state.step,
        converged=(state.remaining <= tol) & e_step.converged & m_step.converged,
    )
