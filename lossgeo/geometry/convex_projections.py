r"""Euclidean projections on convex sets, :math:`\arg\min_{u\in C}\tfrac12\|u - v\|^2`, along the last axis.

Each is unique, 1-Lipschitz and idempotent, and is characterized by the *variational inequality*
:math:`\langle v - u, c - u\rangle \le 0` for every c in C. It is an equality for affine sets only: on a convex set the
residual is not orthogonal to the set. Every function maps ``(*batch, d) -> (*batch, d)``; leading axes are a batch of
separate problems, never one large problem. Derivatives are those of the projection where it is differentiable (almost
everywhere).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating, over_batch, same_shape, symmetric

__all__ = [
    "projection_box", "projection_halfspace", "projection_hyperplane", "projection_l1_ball", "projection_l2_ball",
    "projection_linf_ball", "projection_monotone", "projection_nonnegative", "projection_positive_semidefinite",
    "projection_second_order_cone", "projection_simplex",
]  # fmt: skip


def projection_nonnegative(v: ArrayLike) -> jax.Array:
    r"""Projection on the non-negative orthant: :math:`\max(v, 0)`."""
    (v,) = floating(v)
    return jnp.maximum(v, 0)


def projection_box(v: ArrayLike, low: ArrayLike, high: ArrayLike) -> jax.Array:
    r"""Projection on the box :math:`[a, b]`, elementwise; ``low`` and ``high`` are scalars or of the shape of ``v``."""
    v, low, high = same_shape("projection_box", 0, v, low, high)
    return jnp.minimum(jnp.maximum(v, low), high)


def projection_simplex(v: ArrayLike, scale: ArrayLike = 1.0) -> jax.Array:
    r"""Projection on :math:`\{u \ge 0, \sum u_i = s\}`, with exact zeros.

    .. math:: u = \max(v - \tau, 0), \qquad \textstyle\sum_i\max(v_i - \tau, 0) = s

    Args:
        v: shape ``(*batch, d)``; ``-inf`` entries become 0.
        scale: the sum s > 0, shape ``()``.

    Returns:
        Shape of ``v``. Sparsemax of v.

    Reference: Held, Wolfe, Crowder (1974); Duchi et al. (2008), ICML.
    """
    v, scale = floating(v, scale)

    def one(x: jax.Array) -> jax.Array:
        ordered = jnp.sort(x)[::-1]
        # Shifting by the largest entry keeps the partial sums of order `scale`.
        shifted = ordered - ordered[0]
        count = jnp.arange(1, x.size + 1, dtype=x.dtype)
        thresholds = (jnp.cumsum(shifted) - scale) / count
        support = jnp.sum(shifted > thresholds)
        return jnp.maximum(x - ordered[0] - thresholds[support - 1], 0)

    return over_batch(one, "projection_simplex", (1,), v)


def projection_l1_ball(v: ArrayLike, radius: ArrayLike = 1.0) -> jax.Array:
    r"""Projection on :math:`\{\|u\|_1 \le r\}`.

    Soft thresholding at the level that meets the radius, with exact zeros.
    """
    v, radius = floating(v, radius)
    inside = jnp.sum(jnp.abs(v), axis=-1, keepdims=True) <= radius
    return jnp.where(inside, v, jnp.sign(v) * projection_simplex(jnp.abs(v), radius))


def projection_l2_ball(v: ArrayLike, radius: ArrayLike = 1.0) -> jax.Array:
    r"""Projection on :math:`\{\|u\|_2 \le r\}`: :math:`v\min(1, r/\|v\|)`."""
    v, radius = floating(v, radius)
    square = jnp.sum(v * v, axis=-1, keepdims=True)
    outside = square > radius**2
    return v * jnp.where(outside, radius * jax.lax.rsqrt(jnp.where(outside, square, 1.0)), 1.0)


def projection_linf_ball(v: ArrayLike, radius: ArrayLike = 1.0) -> jax.Array:
    r"""Projection on :math:`\{\|u\|_\infty \le r\}`: elementwise clamp."""
    v, radius = floating(v, radius)
    return jnp.minimum(jnp.maximum(v, -radius), radius)


def projection_hyperplane(v: ArrayLike, normal: ArrayLike, offset: ArrayLike = 0.0) -> jax.Array:
    r"""Projection on the affine set :math:`\{\langle a, u\rangle = b\}`: here the residual *is* orthogonal to the set.

    Args:
        v: shape ``(*batch, d)``.
        normal: a, shape ``(d,)``, not zero.
        offset: b, shape ``()``.
    """
    v, a, b = floating(v, normal, offset)
    return over_batch(lambda x: x - a * ((jnp.vdot(a, x) - b) / jnp.vdot(a, a)), "projection_hyperplane", (1,), v)


def projection_halfspace(v: ArrayLike, normal: ArrayLike, offset: ArrayLike = 0.0) -> jax.Array:
    r"""Projection on the half-space :math:`\{\langle a, u\rangle \le b\}`.

    Arguments as for :func:`projection_hyperplane`.
    """
    v, a, b = floating(v, normal, offset)
    return over_batch(
        lambda x: x - a * (jnp.maximum(jnp.vdot(a, x) - b, 0) / jnp.vdot(a, a)), "projection_halfspace", (1,), v
    )


def projection_second_order_cone(v: ArrayLike) -> jax.Array:
    r"""Projection on the cone :math:`\{(t, x): \|x\|_2 \le t\}`; the first entry of the last axis is t.

    Moreau: v is the sum of its projections on the cone and on the polar cone, which are orthogonal.
    """
    (v,) = floating(v)

    def one(z: jax.Array) -> jax.Array:
        t, x = z[0], z[1:]
        square = jnp.vdot(x, x)
        norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
        half = 0.5 * (t + norm)
        face = jnp.concatenate([half[None], x * (half / jnp.where(norm > 0, norm, 1.0))])
        return jnp.where(norm <= t, z, jnp.where(norm <= -t, 0.0, face))

    return over_batch(one, "projection_second_order_cone", (1,), v)


def projection_positive_semidefinite(m: ArrayLike) -> jax.Array:
    r"""Projection of matrices on the cone of positive semi-definite ones (Frobenius norm): negative eigenvalues become
    0.

    Args:
        m: shape ``(*batch, d, d)``; its symmetric part is taken first, which is a projection too.

    Returns:
        Shape of ``m``. Derivatives need distinct eigenvalues.
    """
    (m,) = floating(m)
    values, vectors = jnp.linalg.eigh(symmetric(m))
    return symmetric((vectors * jnp.maximum(values, 0)[..., None, :]) @ jnp.swapaxes(vectors, -1, -2))


def projection_monotone(v: ArrayLike, weights: ArrayLike = 1.0) -> jax.Array:
    r"""Isotonic regression: projection on :math:`\{u_1 \le u_2 \le \dots \le u_d\}` in the norm :math:`\sum w_i u_i^2`.

    The solution is piecewise constant; each block is the weighted mean of v over it, so totals are preserved. For
    decreasing sequences flip the axis.

    Args:
        v: shape ``(*batch, d)``.
        weights: positive, shape ``(d,)`` or that of ``v`` or ``()``.

    Returns:
        Shape of ``v``. Pool-adjacent-violators, linear time. Derivatives (both modes) average over blocks.

    Reference: Barlow et al. (1972); Best & Chakravarti (1990), Math. Programming 47.
    """
    v, w = floating(v, weights)
    w = jnp.broadcast_to(w, v.shape[-1:]) if w.ndim == 0 else w
    v, w = same_shape("projection_monotone", 1, v, w)
    return over_batch(_isotonic, "projection_monotone", (1, 1), v, w)


@jax.custom_jvp
def _isotonic(v: jax.Array, w: jax.Array) -> jax.Array:
    d = v.size

    def push(i: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> Any:
        means, masses, sizes, top = state
        means, masses, sizes = means.at[top].set(v[i]), masses.at[top].set(w[i]), sizes.at[top].set(1)

        def violates(s: Any) -> jax.Array:
            return (s[3] > 0) & (s[0][s[3] - 1] >= s[0][s[3]])

        def merge(s: Any) -> Any:
            m, mass, size, k = s
            total = mass[k - 1] + mass[k]
            mean = m[k - 1] + (m[k] - m[k - 1]) * (mass[k] / total)
            return m.at[k - 1].set(mean), mass.at[k - 1].set(total), size.at[k - 1].add(size[k]).at[k].set(0), k - 1

        means, masses, sizes, top = jax.lax.while_loop(violates, merge, (means, masses, sizes, top))
        return means, masses, sizes, top + 1

    start = (jnp.zeros_like(v), jnp.zeros_like(w), jnp.zeros((d,), jnp.int32), jnp.zeros((), jnp.int32))
    means, _, sizes, _ = jax.lax.fori_loop(0, d, push, start)
    return jnp.repeat(means, sizes, total_repeat_length=d)


@_isotonic.defjvp
def _isotonic_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    v, w = primals
    dv, dw = tangents
    u = _isotonic(v, w)
    block = jnp.concatenate([jnp.zeros((1,), jnp.int32), jnp.cumsum(u[1:] != u[:-1]).astype(jnp.int32)])
    moved = jax.ops.segment_sum(w * dv + dw * (v - u), block, num_segments=v.size)
    mass = jax.ops.segment_sum(w, block, num_segments=v.size)
    return u, (moved / jnp.where(mass > 0, mass, 1.0))[block]
