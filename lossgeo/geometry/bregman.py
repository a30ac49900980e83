r"""Bregman divergences and Fenchel–Young losses of any potential.

The Bregman divergence of :math:`A` is what its tangent plane at y misses at x, :math:`D_A(x, y) = A(x) - A(y) -
\langle\nabla A(y), x - y\rangle \ge 0`. It is convex in the first slot only and not symmetric. Three facts carry the
package, and each is a test:

* duality, :math:`D_A(x, y) = D_{A^*}(\nabla A(y), \nabla A(x))`: the slots swap;
* within an exponential family :math:`\mathrm{KL}(p_{\eta_1}\|p_{\eta_2}) = D_A(\eta_2, \eta_1)`: the slots swap;
* the mean is the minimizer of :math:`\sum_i D_A(x_i, c)` over c, whatever A.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo.geometry._points import over_batch, same_event, same_shape
from lossgeo.geometry.matrices import log_det, von_neumann
from lossgeo.geometry.potentials import Potential, dual
from lossgeo.numerics import gauss_legendre, kl_term

__all__ = [
    "bregman_divergence", "exponential_family_kl", "fenchel_young_loss", "generalized_kl_divergence",
    "itakura_saito_divergence", "log_det_divergence", "unit_deviance", "von_neumann_divergence",
]  # fmt: skip


# The smaller rule estimates the error of the larger one.
GAUSS_NODES, GAUSS_WEIGHTS = gauss_legendre(8)
COARSE_NODES, COARSE_WEIGHTS = gauss_legendre(4)


def bregman_divergence(generator: Potential, x: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Bregman divergence of ``x`` from ``y``.

    .. math:: D_A(x, y) = A(x) - A(y) - \langle\nabla A(y), x - y\rangle
              = \int_0^1 (1 - t)\,\Delta^\top\nabla^2 A(y + t\Delta)\,\Delta\,dt, \qquad \Delta = x - y

    Non-negative; 0 iff x = y (modulo the gauge). Convex in x only. Not symmetric.

    Args:
        generator: the potential A.
        x: points, shape ``(*batch, *event)``, in the closure of the domain.
        y: points, shape ``(*batch, *event)``, in the open domain.

    Returns:
        Divergences in nats, shape ``(*batch,)``.

    Raises:
        ValueError: the points differ in shape, or batches in rank.

    Numerics:
        Near neighbours use the integral (8 Gauss nodes), which loses neither sign nor relative accuracy; the
        definition, whose three terms cancel there, is used as soon as its rounding error is the smaller one. Both error
        estimates are made from the data: rounding of the three terms, and the square of the difference from 4 nodes.
        Domains are not checked.

    Example:
        >>> round(float(bregman_divergence(half_squared_norm, jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0]))), 4)
        12.5

    Reference: Banerjee et al. (2005), JMLR 6, definition 1.
    """
    x, y = same_event(generator.name, generator.ndim, x, y)
    return _bregman(generator, x, y)


@jax.jit
def _bregman(a: Potential, x: jax.Array, y: jax.Array) -> jax.Array:
    return over_batch(lambda p, q: _bregman_of_point(a, p, q), a.name, (a.ndim,) * 2, x, y)


def _bregman_of_point(a: Potential, x: jax.Array, y: jax.Array) -> jax.Array:
    value_x, value_y, slope = a.value(x), a.value(y), a.gradient(y)
    direct = value_x - value_y - jnp.vdot(slope, x - y)
    products = jnp.sum(jnp.abs(slope * x)) + jnp.sum(jnp.abs(slope * y))
    rounding = jnp.finfo(x.dtype).eps * (jnp.abs(value_x) + jnp.abs(value_y) + products)
    use_integral = jax.lax.stop_gradient(_truncation(a, x, y) <= rounding) & jnp.isfinite(rounding)
    # Double where: an integral that is not used runs over one point, so that no NaN of it reaches a derivative.
    return jnp.where(use_integral, _remainder(a, jnp.where(use_integral, x, y), y), direct)


def _truncation(a: Potential, x: jax.Array, y: jax.Array) -> jax.Array:
    """Error of the 8-node rule: the square of the relative difference from 4 nodes, times the value."""
    x, y = jax.lax.stop_gradient(x), jax.lax.stop_gradient(y)
    curvature = _curvatures(a, x, y, np.concatenate([GAUSS_NODES, COARSE_NODES]))
    weights = np.concatenate([GAUSS_WEIGHTS * (1 - GAUSS_NODES), -COARSE_WEIGHTS * (1 - COARSE_NODES)])
    fine = jnp.vdot(jnp.asarray(weights[:8], x.dtype), curvature[:8])
    difference = jnp.vdot(jnp.asarray(weights, x.dtype), curvature)
    return jnp.where(fine > 0, difference**2 / jnp.where(fine > 0, fine, 1.0), jnp.abs(difference))


def _remainder(a: Potential, x: jax.Array, y: jax.Array) -> jax.Array:
    weights = jnp.asarray(GAUSS_WEIGHTS * (1 - GAUSS_NODES), x.dtype)
    return jnp.vdot(weights, _curvatures(a, x, y, GAUSS_NODES))


def _curvatures(a: Potential, x: jax.Array, y: jax.Array, nodes: np.ndarray) -> jax.Array:
    r""":math:`\Delta^\top\nabla^2 A(y + t\Delta)\,\Delta` at each t, for the difference without its gauge."""
    delta = a.fix_gauge(x - y)

    def one(t: jax.Array) -> jax.Array:
        return jnp.vdot(delta, jax.jvp(a.gradient, (y + t * delta,), (delta,))[1])

    return jax.vmap(one)(jnp.asarray(nodes, x.dtype))


def exponential_family_kl(log_partition: Potential, eta_p: ArrayLike, eta_q: ArrayLike) -> jax.Array:
    r"""Kullback–Leibler divergence KL(p‖q) between two members of one exponential family, from natural parameters.

    .. math:: \mathrm{KL}(p\|q) = \mathbb{E}_p[\log p - \log q] = D_A(\eta_q, \eta_p)

    The slots swap: the *second* distribution enters the *first* slot of the Bregman divergence of A.

    Args:
        log_partition: the potential of the family, for example ``families.gamma``.
        eta_p: natural parameters of p, shape ``(*batch, *event)``.
        eta_q: natural parameters of q, same event shape.

    Returns:
        KL(p‖q) in nats, shape ``(*batch,)``; for a dispersion φ divide by φ.

    Numerics: see :func:`bregman_divergence`; accurate and non-negative for near neighbours in float32.

    Reference: Amari (2016), Information Geometry and Its Applications, section 2.1.
    """
    return bregman_divergence(log_partition, eta_q, eta_p)


def fenchel_young_loss(a: Potential, eta: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Fenchel–Young loss of a prediction in dual coordinates, with its offset.

    .. math:: L_A(\eta, y) = A(\eta) + A^*(y) - \langle\eta, y\rangle = D_{A^*}(y, \nabla A(\eta)) \ge 0

    Zero iff :math:`y = \nabla A(\eta)`, also for a soft target, because :math:`A^*(y)` is kept. Convex in η, with
    gradient :math:`\nabla A(\eta) - y`. For ``log_sum_exp`` it is softmax cross-entropy less the entropy of the target.

    Args:
        a: the potential; ``log_sum_exp`` (labels as one-hot or soft targets), ``bernoulli``, ``poisson``, …
        eta: scores (logits), shape ``(*batch, *event)``.
        y: targets in the closure of the codomain, same event shape.

    Returns:
        Losses in nats, shape ``(*batch,)``.

    Numerics:
        ``log_sum_exp``, ``bernoulli``, ``poisson`` and ``negative_entropy`` use fused forms without cancellation
        (logits (20, 0) in float32 give 2.06e-9). Others use the three terms of the definition.

    Reference: Blondel, Martins, Niculae (2020), JMLR 21, definition 1.
    """
    eta, y = same_event(a.name, a.ndim, eta, y)

    def one(e: jax.Array, t: jax.Array) -> jax.Array:
        if a.gap_fn is not None:
            return a.gap_fn(e, t, *a.parameters)
        return a.value(e) + a.conjugate(t) - jnp.vdot(e, t)

    return over_batch(one, a.name, (a.ndim,) * 2, eta, y)


def unit_deviance(log_partition: Potential, y: ArrayLike, mu: ArrayLike) -> jax.Array:
    r"""Unit deviance of an observation ``y`` from a mean ``mu``.

    .. math:: d(y, \mu) = 2\,D_{A^*}(y, \mu) = 2\left[\log p_y(y) - \log p_\mu(y)\right]\varphi

    Args:
        log_partition: the potential of the family.
        y: observations in the closure of the mean domain, shape ``(*batch, *event)``.
        mu: means in the open domain, same event shape.

    Returns:
        Deviances, shape ``(*batch,)``. Divide by the dispersion φ for the scaled deviance.

    Numerics:
        The limits at the edge of the mean domain are exact: Poisson at y = 0 gives :math:`2\mu`.

    Reference: McCullagh & Nelder (1989), section 2.3; Banerjee et al. (2005), theorem 4.
    """
    return 2 * bregman_divergence(dual(log_partition), y, mu)


def generalized_kl_divergence(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Bregman divergence of the negative entropy: KL for vectors of any total.

    .. math:: \sum_i p_i\log\frac{p_i}{q_i} - p_i + q_i

    Args:
        p: non-negative vectors, shape ``(*batch, d)``.
        q: non-negative vectors, same last axis.

    Returns:
        Shape ``(*batch,)``; ``0 log 0 = 0`` and ``inf`` where ``q = 0 < p``. A sum of non-negative terms at any
        precision.
    """
    p, q = same_shape("generalized_kl_divergence", 1, p, q)
    return jnp.sum(kl_term(p, q), axis=-1)


def itakura_saito_divergence(x: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Itakura–Saito divergence of positive vectors: Bregman of ``burg``, invariant under a common scaling.

    .. math:: \sum_i \frac{x_i}{y_i} - \log\frac{x_i}{y_i} - 1

    Args:
        x: positive vectors, shape ``(*batch, d)``; ``inf`` at 0.
        y: positive vectors, same last axis.

    Returns:
        Shape ``(*batch,)``. Each term is the generalized KL of 1 from :math:`r = x/y`, which does not cancel near 1.
    """
    x, y = same_shape("itakura_saito_divergence", 1, x, y)
    return jnp.sum(kl_term(jnp.ones_like(x), x / y), axis=-1)


def log_det_divergence(x: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Log-determinant divergence (Stein's loss) of positive definite matrices: Bregman of ``log_det``.

    .. math:: \mathrm{tr}(XY^{-1}) - \log\det(XY^{-1}) - d

    Twice KL(N(0, X)‖N(0, Y)). Invariant under congruence :math:`X \mapsto MXM^\top`.

    Args:
        x: shape ``(*batch, d, d)``.
        y: same event shape.

    Returns:
        Shape ``(*batch,)``; NaN unless both are positive definite.
    """
    return bregman_divergence(log_det, x, y)


def von_neumann_divergence(x: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Von Neumann divergence of positive definite matrices; quantum relative entropy at unit trace.

    .. math:: \mathrm{tr}(X\log X - X\log Y - X + Y)

    Args:
        x: shape ``(*batch, d, d)``, positive semi-definite.
        y: same event shape, positive definite.

    Returns:
        Shape ``(*batch,)`` in nats.
    """
    return bregman_divergence(von_neumann, x, y)
