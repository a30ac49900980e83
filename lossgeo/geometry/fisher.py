r"""Fisher information under four names, its pull-back through a model, and the natural gradient.

Four quantities are called "the Fisher information" in the wild. They agree at a well-specified optimum and nowhere
else, so each has its own name here, and all are for *one* observation except where rows are summed:

=============================  ===================================================================================
``fisher_information``         :math:`\mathbb{E}_{y\sim p_\theta}[s s^\top]`, by enumeration or quadrature: the metric
``monte_carlo_fisher``         the same from draws of the *model*, with a key
``empirical_fisher``           :math:`\sum_i s_i s_i^\top` over *data*: not a metric off the optimum
``observed_information``       :math:`-\sum_i\nabla^2\log p(y_i)` over data: the curvature of the objective
=============================  ===================================================================================

where :math:`s = \nabla_\theta\log p_\theta(y)`, the derivative in θ and not in y. For an exponential family the first
is ``fisher_metric``, the Hessian of the potential. Parameters may be any pytree of floats; matrices are over its
flattened coordinates (``jax.flatten_util.ravel_pytree`` order).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating
from lossgeo.geometry.potentials import Potential

__all__ = [
    "empirical_fisher", "fisher_information", "fisher_inner", "fisher_metric", "monte_carlo_fisher", "natural_gradient",
    "observed_information", "pullback_metric", "pullback_product",
]  # fmt: skip

LogDensity = Callable[[Any, Any], jax.Array]


def fisher_metric(a: Potential, eta: ArrayLike) -> jax.Array:
    r"""Fisher information of an exponential family in natural parameters, :math:`\nabla^2 A(\eta) = \mathrm{Cov}(T)`.

    Args:
        a: the log-partition.
        eta: natural parameters, shape ``(*batch, *event)``.

    Returns:
        Shape ``(*batch, n, n)`` over the n flattened coordinates of a point. Singular along the gauge: for
        ``log_sum_exp`` it is :math:`\mathrm{diag}(p) - pp^\top`, with null vector 1. In mean parameters the metric is
        that of ``dual(a)``, its (pseudo-)inverse.
    """
    (eta,) = floating(eta)
    h = a.hessian(eta)
    batch, n = eta.shape[: eta.ndim - a.ndim], int(np.prod(eta.shape[eta.ndim - a.ndim :]))
    return h.reshape((*batch, n, n))


def fisher_inner(a: Potential, eta: ArrayLike, u: ArrayLike, v: ArrayLike) -> jax.Array:
    r"""Inner product :math:`u^\top\nabla^2 A(\eta)\,v` of tangent vectors in natural coordinates, matrix-free.

    One point.
    """
    eta, u, v = floating(eta, u, v)
    return jnp.vdot(u, jax.jvp(a.gradient, (eta,), (v,))[1])


def _flat_scores(log_density: LogDensity, theta: Any, points: Any) -> tuple[jax.Array, jax.Array]:
    """Log-densities ``(k,)`` and scores ``(k, n)`` at each point."""
    flat, unravel = ravel_pytree(theta)

    def one(y: Any) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda t: log_density(unravel(t), y))(flat)

    return jax.vmap(one)(points)


def fisher_information(log_density: LogDensity, theta: Any, points: Any, weights: ArrayLike | None = None) -> jax.Array:
    r"""Expected Fisher information of any density, by enumeration or quadrature over ``y``.

    .. math:: I(\theta) = \sum_k w_k\,p_\theta(y_k)\,s_k s_k^\top, \qquad s_k = \nabla_\theta\log p_\theta(y_k)

    Args:
        log_density: normalized log-density of one observation, ``(theta, y) -> ()``.
        theta: pytree of float parameters.
        points: every value of a discrete ``y`` (or enough of them), or quadrature nodes; leading axis k.
        weights: quadrature weights, shape ``(k,)`` (see :mod:`lossgeo.geometry.quadrature`); ``None`` to enumerate.

    Returns:
        Symmetric positive semi-definite matrix, shape ``(n, n)``, in nats per squared unit of θ.

    Numerics:
        A point of probability 0 contributes 0, whatever its score. The error is that of the sum: compare two rules.
    """
    log_p, scores = _flat_scores(log_density, theta, points)
    mass = jnp.exp(log_p)
    if weights is not None:
        mass = mass * jnp.asarray(weights, mass.dtype)
    scores = jnp.where((mass > 0)[:, None], scores, 0.0)
    return scores.T @ (mass[:, None] * scores)


def monte_carlo_fisher(
    key: jax.Array, log_density: LogDensity, sample: Callable[[jax.Array, Any], Any], theta: Any, num: int
) -> jax.Array:
    r"""Expected Fisher information from ``num`` draws of the model: unbiased, error :math:`O(1/\sqrt{num})`.

    Args:
        key: typed ``jax.random.key``.
        log_density: ``(theta, y) -> ()``.
        sample: one draw from the model, ``(key, theta) -> y``.
        theta: pytree of float parameters.
        num: number of draws (static).

    Returns:
        Shape ``(n, n)``, positive semi-definite.
    """
    draws = jax.vmap(lambda k: sample(k, theta))(jax.random.split(key, num))
    _, scores = _flat_scores(log_density, theta, draws)
    return scores.T @ scores / num


def empirical_fisher(log_density: LogDensity, theta: Any, data: Any) -> jax.Array:
    r"""Outer products of the scores of the *data*, :math:`\sum_i s_i s_i^\top`, a sum over the leading axis of
    ``data``.

    The middle of a sandwich. It is not an estimate of the metric unless the model is right and θ is the optimum.
    """
    _, scores = _flat_scores(log_density, theta, data)
    return scores.T @ scores


def observed_information(log_density: LogDensity, theta: Any, data: Any) -> jax.Array:
    r"""Minus the Hessian of the log-likelihood of the data, :math:`-\sum_i\nabla^2_\theta\log p_\theta(y_i)`.

    May be indefinite.
    """
    flat, unravel = ravel_pytree(theta)

    def negative_log_likelihood(t: jax.Array) -> jax.Array:
        return -jnp.sum(jax.vmap(lambda y: log_density(unravel(t), y))(data))

    return jax.hessian(negative_log_likelihood)(flat)


def pullback_metric(function: Callable[[Any], Any], theta: Any, metric: ArrayLike) -> jax.Array:
    r"""Metric on θ that a model induces: :math:`G(\theta) = J^\top F J` with :math:`J = \partial f/\partial\theta`.

    With F the Fisher information of the predicted distribution this is the generalized Gauss–Newton matrix; for a
    generalized linear model, IRLS; for the identity metric, :math:`J^\top J`.

    Args:
        function: the model, from a pytree of parameters to (a pytree of) outputs, m numbers in all.
        theta: pytree of float parameters, n numbers in all.
        metric: F at ``function(theta)``: shape ``(m, m)``, or ``(rows, k, k)`` for independent rows with ``m = rows ·
            k`` in the order of the flattened output, or ``(m,)`` for a diagonal.

    Returns:
        Shape ``(n, n)``; positive semi-definite, singular where the model is not identified.
    """
    flat, unravel = ravel_pytree(theta)
    jacobian = jax.jacobian(lambda t: ravel_pytree(function(unravel(t)))[0])(flat)
    return jacobian.T @ jax.vmap(lambda column: _apply_metric(metric, column), in_axes=1, out_axes=1)(jacobian)


def pullback_product(function: Callable[[Any], Any], theta: Any, metric: Any, v: Any) -> Any:
    r"""Product :math:`J^\top F J\,v` without forming J: one forward and one reverse sweep.

    Args:
        function: the model.
        theta: pytree of float parameters.
        metric: as for :func:`pullback_metric`, or a function ``tangent -> cotangent`` on the flattened output.
        v: a tangent, same structure as ``theta``.

    Returns:
        A cotangent of the structure of ``theta``.
    """
    outputs, tangent = jax.jvp(function, (theta,), (v,))
    flat, unravel = ravel_pytree(tangent)
    weighted = metric(flat) if callable(metric) else _apply_metric(metric, flat)
    del outputs
    return jax.vjp(function, theta)[1](unravel(weighted))[0]


def _apply_metric(metric: ArrayLike, v: jax.Array) -> jax.Array:
    f = jnp.asarray(metric, v.dtype)
    if f.ndim == 1:
        return f * v
    if f.ndim == 2:
        return f @ v
    if f.ndim != 3:
        raise ValueError(f"metric: shape (m,), (m, m) or (rows, k, k) is wanted, got {f.shape}.")
    rows = v.reshape(f.shape[:2])
    return jnp.einsum("rij,rj->ri", f, rows).reshape(v.shape)


@partial(jax.jit, static_argnames="rank_tolerance")
def natural_gradient(metric: ArrayLike, gradient: Any, *, rank_tolerance: float | None = None) -> Any:
    r"""Steepest ascent direction of a metric, :math:`G^{+} g`: invariant under reparametrization of θ.

    The pseudo-inverse handles a gauge: for softmax logits, :math:`G^{+} g` has no component along 1. For the gradient
    in the natural parameters of an exponential family this is the plain gradient in its mean parameters.

    Args:
        metric: symmetric positive semi-definite matrix over the flattened coordinates, shape ``(n, n)``.
        gradient: pytree with n numbers.
        rank_tolerance: eigenvalues of the equilibrated metric below this share of the largest count as 0;
            ``n · eps`` by default.

    Returns:
        A pytree of the structure of ``gradient``.

    Numerics: the metric is scaled to a unit diagonal before it is decomposed, so units of θ do not matter.

    Reference: Amari (1998), Neural Computation 10.
    """
    g, unravel = ravel_pytree(gradient)
    m = jnp.asarray(metric, g.dtype)
    if m.shape != (g.size, g.size):
        raise ValueError(f"natural_gradient: metric of shape {m.shape} for a gradient with {g.size} numbers.")
    diagonal = jnp.diagonal(m)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 0.0)
    values, vectors = jnp.linalg.eigh(m * scale[:, None] * scale[None, :])
    tolerance = g.size * jnp.finfo(g.dtype).eps if rank_tolerance is None else rank_tolerance
    kept = values > tolerance * values[-1]
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1.0), 0.0)
    solution = scale * (vectors @ (inverse * (vectors.T @ (scale * g))))
    # Scaling turns the pseudo-inverse into an oblique one: remove what lies in the null space of the metric itself.
    null = jnp.where(kept[None, :], 0.0, scale[:, None] * vectors)
    basis = jnp.linalg.qr(null)[0] * (jnp.sum(jnp.abs(null), axis=0) > 0).astype(g.dtype)[None, :]
    return unravel(solution - basis @ (basis.T @ solution))
