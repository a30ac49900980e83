r"""Convex generators of vectors: the potentials behind squared error, KL, softmax and Itakura–Saito.

Points are vectors (last axis). As generators of a Bregman divergence :math:`D(x, y)`:

=====================  ==========================  =============================================================
``half_squared_norm``  :math:`\tfrac12\|x\|^2`     half the *squared* Euclidean distance
``mahalanobis(P)``     :math:`\tfrac12 x^\top P x` half the squared Mahalanobis distance, precision P
``negative_entropy``   :math:`\sum x\log x - x`    generalized KL, equal to KL on the simplex
``log_sum_exp``        :math:`\log\sum e^{x_i}`    :math:`\mathrm{KL}(\mathrm{softmax}(y)\,\|\,\mathrm{softmax}(x))`:
slots swap ``burg``               :math:`-\sum\log x`         Itakura–Saito
=====================  ==========================  =============================================================
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo.geometry.potentials import Domain, Potential, potential

__all__ = ["burg", "half_squared_norm", "log_sum_exp", "mahalanobis", "negative_entropy"]


def _all_positive(x: jax.Array) -> jax.Array:
    return jnp.all(x > 0) & jnp.all(jnp.isfinite(x))


def _all_negative(x: jax.Array) -> jax.Array:
    return jnp.all(x < 0) & jnp.all(jnp.isfinite(x))


def _in_open_simplex(p: jax.Array) -> jax.Array:
    return _all_positive(p) & (jnp.abs(jnp.sum(p) - 1) <= 4 * p.size * jnp.finfo(p.dtype).eps)


positive_orthant = Domain("positive orthant", _all_positive)
negative_orthant = Domain("negative orthant", _all_negative)
open_simplex = Domain("relative interior of the simplex", _in_open_simplex)


def _half_square(x: jax.Array) -> jax.Array:
    return 0.5 * jnp.vdot(x, x)


def _identity(x: jax.Array) -> jax.Array:
    return x


half_squared_norm: Potential = potential(
    _half_square, ndim=1, gradient=_identity, inverse=_identity, conjugate=_half_square, name="half squared norm"
)
r""":math:`A(\eta) = \tfrac12\|\eta\|^2`; its own conjugate. The geometry of squared error: flat."""


def _quadratic(x: jax.Array, precision: jax.Array) -> jax.Array:
    return 0.5 * jnp.vdot(x, precision @ x)


def _quadratic_gradient(x: jax.Array, precision: jax.Array) -> jax.Array:
    return precision @ x


def _quadratic_inverse(m: jax.Array, precision: jax.Array) -> jax.Array:
    return jnp.linalg.solve(precision, m)


def _quadratic_conjugate(m: jax.Array, precision: jax.Array) -> jax.Array:
    return 0.5 * jnp.vdot(m, jnp.linalg.solve(precision, m))


def mahalanobis(precision: ArrayLike) -> Potential:
    r""":math:`A(\eta) = \tfrac12\,\eta^\top P\,\eta` with a symmetric positive definite P, shape ``(d, d)``.

    The Bregman divergence is half the squared Mahalanobis distance; the conjugate is the same with :math:`P^{-1}`.
    """
    return potential(
        _quadratic, ndim=1, gradient=_quadratic_gradient, inverse=_quadratic_inverse, conjugate=_quadratic_conjugate,
        parameters=(precision,), name="Mahalanobis",
    )  # fmt: skip


def _x_log_x(x: jax.Array) -> jax.Array:
    return jnp.sum(xlogy(x, x) - x)


def _sum_exp(u: jax.Array) -> jax.Array:
    return jnp.sum(jnp.exp(u))


def _generalized_kl(x: jax.Array, u: jax.Array) -> jax.Array:
    """Gap of ``negative_entropy`` at x and a dual point u."""
    return jnp.sum(numerics.kl_term(x, jnp.exp(u), u))


negative_entropy: Potential = potential(
    _x_log_x, ndim=1, gradient=jnp.log, inverse=jnp.exp, conjugate=_sum_exp, gap=_generalized_kl,
    domain=positive_orthant, name="negative entropy",
)  # fmt: skip
r""":math:`A(x) = \sum x_i\log x_i - x_i` on the positive orthant, :math:`A^*(u) = \sum e^{u_i}`.

The term :math:`-x_i` makes :math:`\nabla A = \log` and does not change divergences. On the simplex A is minus Shannon's
entropy, less 1.
"""


def _ones_direction(shape: tuple[int, ...]) -> np.ndarray:
    return np.full((1, *shape), 1 / np.sqrt(shape[-1]))


def _centered_log(p: jax.Array) -> jax.Array:
    log_p = jnp.log(p)
    return log_p - jnp.mean(log_p)


def _entropy_on_simplex(p: jax.Array) -> jax.Array:
    return jnp.sum(xlogy(p, p))


def _softmax(z: jax.Array) -> jax.Array:
    return jnp.exp(numerics.log_softmax(z))


def _softmax_gap(z: jax.Array, p: jax.Array) -> jax.Array:
    log_q = numerics.log_softmax(z)
    return jnp.sum(numerics.kl_term(p, jnp.exp(log_q), log_q))


log_sum_exp: Potential = potential(
    numerics.log_sum_exp, ndim=1, gradient=_softmax, inverse=_centered_log, conjugate=_entropy_on_simplex,
    gauge=_ones_direction, gap=_softmax_gap, codomain=open_simplex, name="log-sum-exp",
)  # fmt: skip
r""":math:`A(z) = \log\sum e^{z_i}`, the categorical family in logits; :math:`A^*(p) = \sum p_i\log p_i` on the simplex.

Softmax is :math:`\nabla A`. It does not see the direction of ones (``softmax(z + c) == softmax(z)``), so it is a
bijection only between :math:`\mathbb{R}^C / \mathbb{R}\mathbf{1}` and the *relative interior* of the simplex: one
degree of freedom is lost and the boundary is never reached. ``inverse`` returns the centered logits, with sum 0. The
Hessian :math:`\mathrm{diag}(p) - pp^\top` is singular along that direction; use ``solve_hessian``.
"""


def _burg(x: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.log(x))


def _minus_reciprocal(x: jax.Array) -> jax.Array:
    return -1 / x


def _burg_conjugate(u: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.log(-u)) - u.size


burg: Potential = potential(
    _burg, ndim=1, gradient=_minus_reciprocal, inverse=_minus_reciprocal, conjugate=_burg_conjugate,
    domain=positive_orthant, codomain=negative_orthant, name="Burg entropy",
)  # fmt: skip
r""":math:`A(x) = -\sum\log x_i` on the positive orthant; its divergence is Itakura–Saito, invariant under scaling."""
