r"""Potentials of symmetric matrices, and the multivariate normal family.

Matrix potentials take the *symmetric part* of their argument (last two axes); skew directions are their gauge. As
generators of a Bregman divergence ``log_det`` gives Stein's loss (the covariance part of a normal KL) and
``von_neumann`` the quantum relative entropy.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo.geometry._legendre import implicit_inverse
from lossgeo.geometry._points import check_last_axes, floating, symmetric
from lossgeo.geometry.potentials import Domain, Potential, potential

__all__ = ["log_det", "multivariate_normal", "pack_normal", "unpack_normal", "von_neumann"]


def _is_positive_definite(x: jax.Array) -> jax.Array:
    return jnp.all(jnp.linalg.eigvalsh(symmetric(x)) > 0)


def _is_negative_definite(x: jax.Array) -> jax.Array:
    return _is_positive_definite(-x)


positive_definite = Domain("positive definite matrices", _is_positive_definite)
negative_definite = Domain("negative definite matrices", _is_negative_definite)


def _skew_directions(shape: tuple[int, ...]) -> np.ndarray:
    d = shape[-1]
    basis = np.zeros((d * (d - 1) // 2, d, d))
    for k, (i, j) in enumerate(zip(*np.triu_indices(d, 1), strict=True)):
        basis[k, i, j], basis[k, j, i] = np.sqrt(0.5), -np.sqrt(0.5)
    return basis


def _log_determinant(x: jax.Array) -> jax.Array:
    """By Cholesky of the symmetric part; NaN unless positive definite."""
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(symmetric(x)))))


def _inverse_of_symmetric(x: jax.Array) -> jax.Array:
    return symmetric(jnp.linalg.inv(symmetric(x)))


def _minus_log_det(x: jax.Array) -> jax.Array:
    return -_log_determinant(x)


def _minus_inverse(x: jax.Array) -> jax.Array:
    return -_inverse_of_symmetric(x)


def _log_det_conjugate(m: jax.Array) -> jax.Array:
    return -_log_determinant(-m) - m.shape[-1]


log_det: Potential = potential(
    _minus_log_det, ndim=2, gradient=_minus_inverse, inverse=_minus_inverse, conjugate=_log_det_conjugate,
    gauge=_skew_directions, domain=positive_definite, codomain=negative_definite, name="log-det",
)  # fmt: skip
r""":math:`A(X) = -\log\det X` on positive definite matrices, :math:`\nabla A(X) = -X^{-1}`."""


def _exponential(m: jax.Array) -> jax.Array:
    """The matrix exponential by Taylor's polynomial and squaring: smooth where eigenvalues meet, unlike ``eigh``."""
    m = symmetric(m)
    squarings = jnp.ceil(jnp.log2(jnp.maximum(jax.lax.stop_gradient(jnp.linalg.norm(m)), 0.5))) + 1
    scaled = m * 2.0**-squarings
    eye = jnp.eye(m.shape[-1], dtype=m.dtype)
    result, _ = jax.lax.scan(lambda r, k: (eye + scaled @ r / k, None), eye, jnp.arange(16.0, 0, -1, dtype=m.dtype))
    rounds = jnp.arange(12, dtype=m.dtype)
    result, _ = jax.lax.scan(lambda r, i: (jnp.where(i < squarings, r @ r, r), None), result, rounds)
    return symmetric(result)


def _logarithm_by_eigenvalues(x: jax.Array) -> jax.Array:
    values, vectors = jnp.linalg.eigh(symmetric(x))
    return (vectors * jnp.log(values)[None, :]) @ vectors.T


def _logarithm(x: jax.Array) -> jax.Array:
    """The matrix logarithm; differentiated as the inverse of exp, so that equal eigenvalues do no harm at any order."""
    return implicit_inverse(_exponential, _logarithm_by_eigenvalues, _skew_directions, x, ())


def _trace_x_log_x(x: jax.Array) -> jax.Array:
    values = jnp.linalg.eigvalsh(symmetric(x))
    return jnp.sum(jax.scipy.special.xlogy(values, values) - values)


def _trace_exponential(m: jax.Array) -> jax.Array:
    return jnp.sum(jnp.exp(jnp.linalg.eigvalsh(symmetric(m))))


von_neumann: Potential = potential(
    _trace_x_log_x, ndim=2, gradient=_logarithm, inverse=_exponential, conjugate=_trace_exponential,
    gauge=_skew_directions, domain=positive_definite, name="von Neumann entropy",
)  # fmt: skip
r""":math:`A(X) = \mathrm{tr}(X\log X - X)`, :math:`\nabla A(X) = \log X`, :math:`A^*(M) = \mathrm{tr}\,e^M`."""


def _dimension(size: int) -> int:
    d = (math.isqrt(9 + 8 * size) - 3) // 2
    if d * (d + 3) // 2 != size:
        raise ValueError(f"multivariate normal: a point has d (d + 3) / 2 coordinates (2, 5, 9, …), got {size}.")
    return d


def pack_normal(vector: ArrayLike, matrix: ArrayLike) -> jax.Array:
    r"""Coordinates of a vector and a symmetric matrix: the vector, then the upper triangle by rows.

    For mean parameters: ``pack_normal(m, S + m mᵀ)``. For natural parameters see :data:`multivariate_normal`.

    Args:
        vector: shape ``(*batch, d)``.
        matrix: shape ``(*batch, d, d)``; the upper triangle is read.

    Returns:
        Shape ``(*batch, d (d + 3) / 2)``.
    """
    v, m = floating(vector, matrix)
    check_last_axes("pack_normal", 2, m, jnp.broadcast_to(v[..., None], v.shape + v.shape[-1:]))
    rows, columns = np.triu_indices(v.shape[-1])
    return jnp.concatenate([v, m[..., rows, columns]], axis=-1)


def unpack_normal(point: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Inverse of :func:`pack_normal`: ``(*batch, d)`` and the symmetric ``(*batch, d, d)``."""
    (x,) = floating(point)
    d = _dimension(x.shape[-1])
    index = np.zeros((d, d), int)
    index[np.triu_indices(d)] = np.arange(d * (d + 1) // 2)
    index = np.maximum(index, index.T)
    return x[..., :d], x[..., d:][..., index]


def _precision(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Linear part and precision matrix of packed natural parameters."""
    h, s = unpack_normal(eta)
    return h, -s * (1 + jnp.eye(h.shape[-1], dtype=s.dtype))


def _mvn(eta: jax.Array) -> jax.Array:
    h, precision = _precision(eta)
    return 0.5 * jnp.vdot(h, jnp.linalg.solve(precision, h)) - 0.5 * _log_determinant(precision)


def _mvn_mean(eta: jax.Array) -> jax.Array:
    h, precision = _precision(eta)
    covariance = _inverse_of_symmetric(precision)
    m = covariance @ h
    return pack_normal(m, covariance + m[:, None] * m[None, :])


def _mvn_covariance(mu: jax.Array) -> tuple[jax.Array, jax.Array]:
    m, second = unpack_normal(mu)
    return m, second - m[:, None] * m[None, :]


def _mvn_natural(mu: jax.Array) -> jax.Array:
    m, covariance = _mvn_covariance(mu)
    precision = _inverse_of_symmetric(covariance)
    return pack_normal(precision @ m, -precision / (1 + jnp.eye(m.shape[-1], dtype=m.dtype)))


def _mvn_conjugate(mu: jax.Array) -> jax.Array:
    m, covariance = _mvn_covariance(mu)
    return -0.5 * _log_determinant(covariance) - 0.5 * m.shape[-1]


def _mvn_contains(eta: jax.Array) -> jax.Array:
    return _is_positive_definite(_precision(eta)[1])


def _mvn_contains_mean(mu: jax.Array) -> jax.Array:
    return _is_positive_definite(_mvn_covariance(mu)[1])


multivariate_normal: Potential = potential(
    _mvn, ndim=1, gradient=_mvn_mean, inverse=_mvn_natural, conjugate=_mvn_conjugate,
    domain=Domain("precision positive definite", _mvn_contains),
    codomain=Domain("covariance positive definite", _mvn_contains_mean), name="multivariate normal",
)  # fmt: skip
r"""Normal in d dimensions: :math:`A = \tfrac12 h^\top\Lambda^{-1}h - \tfrac12\log\det\Lambda`.

The statistic is ``pack_normal(y, y yᵀ)``, so the mean parameter is ``pack_normal(m, S + m mᵀ)`` and the natural one is
:math:`h = \Lambda m` followed by :math:`-\tfrac12\Lambda_{ii}` on and :math:`-\Lambda_{ij}` off the diagonal: minimal,
without a gauge.
"""
