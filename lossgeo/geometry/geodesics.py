r"""Fisher–Rao distances and geodesics, and the straight lines of the dual connections.

Closed forms are named after their family and take its usual parameters. Where there is none the function says
``numerical`` in its name and returns a residual with the answer; for the multivariate normal there is a lower bound.
Distances are lengths in the Fisher metric of one observation: a pure number, about the number of standard errors
between the two laws. Close pairs are accurate: every formula is written in differences, none as ``arccos`` of nearly 1.

Points of e-, m- and α-geodesics are *natural* parameters; on the simplex they are probabilities.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo.geometry._points import floating, over_batch, same_shape, symmetric
from lossgeo.geometry.potentials import Potential
from lossgeo.numerics import log_softmax

__all__ = [
    "NumericalGeodesic", "alpha_path", "e_geodesic", "fisher_rao_bernoulli", "fisher_rao_categorical",
    "fisher_rao_covariance", "fisher_rao_exponential", "fisher_rao_negative_binomial", "fisher_rao_normal",
    "fisher_rao_normal_lower_bound", "fisher_rao_poisson", "geodesic_categorical", "geodesic_normal", "m_geodesic",
    "numerical_geodesic", "numerical_geodesic_between",
]  # fmt: skip


def _length(square: jax.Array) -> jax.Array:
    """Square root whose derivative at 0 is 0: a distance has no gradient there."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def fisher_rao_categorical(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Fisher–Rao distance of probability vectors, :math:`2\arccos\sum_i\sqrt{p_iq_i}`.

    :math:`p \mapsto 2\sqrt p` maps the simplex on an orthant of the sphere of radius 2. At most π (disjoint supports).

    Args:
        p: probability vectors, shape ``(*batch, d)``.
        q: probability vectors, same last axis.

    Returns:
        Shape ``(*batch,)``; evaluated from the chord as :math:`4\arcsin\tfrac12\|\sqrt p - \sqrt q\|`, exactly 0 at p =
        q.
    """
    p, q = same_shape("fisher_rao_categorical", 1, p, q)
    return 4 * jnp.arcsin(0.5 * _length(jnp.sum((jnp.sqrt(p) - jnp.sqrt(q)) ** 2, axis=-1)))


def fisher_rao_bernoulli(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""Fisher–Rao distance of Bernoulli laws, :math:`2|\arcsin\sqrt p - \arcsin\sqrt q|`; elementwise."""
    p, q = same_shape("fisher_rao_bernoulli", 0, p, q)
    return fisher_rao_categorical(jnp.stack([p, 1 - p], -1), jnp.stack([q, 1 - q], -1))


def fisher_rao_poisson(rate_p: ArrayLike, rate_q: ArrayLike) -> jax.Array:
    r"""Fisher–Rao distance of Poisson laws, :math:`2|\sqrt{\lambda_p} - \sqrt{\lambda_q}|`; elementwise."""
    a, b = same_shape("fisher_rao_poisson", 0, rate_p, rate_q)
    return 2 * jnp.abs(jnp.sqrt(a) - jnp.sqrt(b))


def fisher_rao_exponential(rate_p: ArrayLike, rate_q: ArrayLike, shape: ArrayLike = 1.0) -> jax.Array:
    r"""Fisher–Rao distance of gamma laws of one known shape, :math:`\sqrt a\,|\log(\lambda_p/\lambda_q)|`.

    Elementwise.
    """
    a, b, k = same_shape("fisher_rao_exponential", 0, rate_p, rate_q, shape)
    return jnp.sqrt(k) * jnp.abs(jnp.log(a / b))


def fisher_rao_negative_binomial(
    probability_p: ArrayLike, probability_q: ArrayLike, size: ArrayLike = 1.0
) -> jax.Array:
    r"""Fisher–Rao distance of negative binomials of one size r (1: geometric) in the probability of success.

    .. math:: 2\sqrt r\,\big|\mathrm{artanh}\sqrt{1-p} - \mathrm{artanh}\sqrt{1-q}\big|
    """
    p, q, r = same_shape("fisher_rao_negative_binomial", 0, probability_p, probability_q, size)
    return 2 * jnp.sqrt(r) * jnp.abs(_log_half_odds(p) - _log_half_odds(q))


def _log_half_odds(p: jax.Array) -> jax.Array:
    r""":math:`\mathrm{artanh}\sqrt{1-p}`, without the cancellation of ``1 - sqrt(1 - p)`` for small p."""
    return jnp.log1p(jnp.sqrt(1 - p)) - 0.5 * jnp.log(p)


def fisher_rao_normal(loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""Fisher–Rao distance of univariate normals: √2 times the distance of the half-plane :math:`(m/\sqrt2, s)`.

    .. math:: 2\sqrt2\,\mathrm{arsinh}\sqrt{\frac{\tfrac12(m_p - m_q)^2 + (s_p - s_q)^2}{4 s_p s_q}}

    Args:
        loc_p: mean of the first law.
        scale_p: standard deviation of the first law, positive.
        loc_q: mean of the second law.
        scale_q: standard deviation of the second law, positive.

    Returns:
        Elementwise; symmetric in the two laws.
    """
    mp, sp, mq, sq = same_shape("fisher_rao_normal", 0, loc_p, scale_p, loc_q, scale_q)
    return (
        2
        * jnp.sqrt(2.0).astype(mp.dtype)
        * jnp.arcsinh(_length((0.5 * (mp - mq) ** 2 + (sp - sq) ** 2) / (4 * sp * sq)))
    )


def fisher_rao_covariance(covariance_p: ArrayLike, covariance_q: ArrayLike) -> jax.Array:
    r"""Fisher–Rao distance of normals of one mean: the affine-invariant distance
    :math:`\big[\tfrac12\sum\log^2\lambda_i\big]^{1/2}`.

    Args:
        covariance_p: shape ``(*batch, d, d)``, positive definite.
        covariance_q: same event shape.

    Returns:
        Shape ``(*batch,)``; λ are the eigenvalues of :math:`S_p^{-1}S_q`.
    """

    def one(p: jax.Array, q: jax.Array) -> jax.Array:
        factor = jnp.linalg.cholesky(symmetric(p))
        half = jax.scipy.linalg.solve_triangular(factor, symmetric(q), lower=True)
        whitened = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
        return _length(0.5 * jnp.sum(jnp.log(jnp.linalg.eigvalsh(symmetric(whitened))) ** 2))

    return over_batch(one, "fisher_rao_covariance", (2, 2), *floating(covariance_p, covariance_q))


def fisher_rao_normal_lower_bound(
    loc_p: ArrayLike, covariance_p: ArrayLike, loc_q: ArrayLike, covariance_q: ArrayLike
) -> jax.Array:
    r"""*Lower bound* of the Fisher–Rao distance of multivariate normals, which has no closed form.

    The family is embedded isometrically in the positive definite matrices of size d + 1, where the distance is known
    but the shortest path may leave the family. Exact when the means agree.

    Args:
        loc_p: shape ``(*batch, d)``.
        covariance_p: shape ``(*batch, d, d)``.
        loc_q: shape ``(*batch, d)``.
        covariance_q: shape ``(*batch, d, d)``.

    Returns:
        Shape ``(*batch,)``.

    Reference: Calvo & Oller (1990), J. Multivariate Analysis 35.
    """

    def embed(m: jax.Array, s: jax.Array) -> jax.Array:
        column = m[:, None]
        return jnp.block([[s + column @ column.T, column], [column.T, jnp.ones((1, 1), m.dtype)]])

    def one(mp: jax.Array, sp: jax.Array, mq: jax.Array, sq: jax.Array) -> jax.Array:
        return fisher_rao_covariance(embed(mp, sp), embed(mq, sq))

    arrays = floating(loc_p, covariance_p, loc_q, covariance_q)
    return over_batch(one, "fisher_rao_normal_lower_bound", (1, 2, 1, 2), *arrays)


def geodesic_categorical(p: ArrayLike, q: ArrayLike, t: ArrayLike) -> jax.Array:
    r"""Point at time t on the Fisher–Rao geodesic of the simplex: the square of a great circle, at constant speed.

    .. math:: \gamma(t) = \Big[\frac{\sin((1-t)\phi)\sqrt p + \sin(t\phi)\sqrt q}{\sin\phi}\Big]^2, \quad
              \cos\phi = \textstyle\sum\sqrt{pq}

    Args:
        p: probability vectors, shape ``(*batch, d)``, reached at t = 0.
        q: probability vectors, same last axis, reached at t = 1.
        t: times, shape ``(*batch,)`` or ``()``.

    Returns:
        Probability vectors, shape ``(*batch, d)``.
    """

    def one(a: jax.Array, b: jax.Array, s: jax.Array) -> jax.Array:
        angle = 0.5 * fisher_rao_categorical(a, b)
        moving = angle > 0
        safe = jnp.where(moving, angle, 1.0)
        first = jnp.where(moving, jnp.sin((1 - s) * safe) / jnp.sin(safe), 1 - s)
        second = jnp.where(moving, jnp.sin(s * safe) / jnp.sin(safe), s)
        return (first * jnp.sqrt(a) + second * jnp.sqrt(b)) ** 2

    return over_batch(one, "geodesic_categorical", (1, 1, 0), *floating(p, q, t))


def geodesic_normal(
    loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike, t: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    r"""Point at time t on the Fisher–Rao geodesic of univariate normals, at constant speed.

    Half-ellipses that meet the axis of zero deviation at right angles, and vertical lines for equal means.

    Args:
        loc_p: mean at t = 0.
        scale_p: standard deviation at t = 0.
        loc_q: mean at t = 1.
        scale_q: standard deviation at t = 1.
        t: times.

    Returns:
        Means and standard deviations, elementwise.
    """
    mp, sp, mq, sq, s = same_shape("geodesic_normal", 0, loc_p, scale_p, loc_q, scale_q, t)
    # Slerp on the hyperboloid of unit vectors of signature (-, +, +), which has no special case for vertical lines.
    a, b = _to_hyperboloid(mp, sp), _to_hyperboloid(mq, sq)
    rho = fisher_rao_normal(mp, sp, mq, sq) / jnp.sqrt(2.0).astype(mp.dtype)
    moving = rho > 0
    safe = jnp.where(moving, rho, 1.0)
    first = jnp.where(moving, jnp.sinh((1 - s) * safe) / jnp.sinh(safe), 1 - s)
    second = jnp.where(moving, jnp.sinh(s * safe) / jnp.sinh(safe), s)
    inverse_scale, ratio = (first * u + second * v for u, v in zip(a, b, strict=True))
    return jnp.sqrt(2.0).astype(mp.dtype) * ratio / inverse_scale, 1 / inverse_scale


def _to_hyperboloid(m: jax.Array, s: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""The two hyperboloid coordinates that suffice: :math:`1/s` and :math:`x/s` with :math:`x = m/\sqrt2`."""
    return 1 / s, m / (jnp.sqrt(2.0).astype(m.dtype) * s)


def e_geodesic(a: Potential, eta_p: ArrayLike, eta_q: ArrayLike, t: ArrayLike) -> jax.Array:
    r"""Exponential geodesic: the straight line :math:`(1-t)\eta_p + t\eta_q` (normalized geometric mixture of
    densities).

    Args:
        a: the log-partition.
        eta_p: natural parameters at t = 0, shape ``(*batch, *event)``.
        eta_q: natural parameters at t = 1, same event shape.
        t: times, shape ``(*batch,)`` or ``()``.

    Returns:
        Natural parameters, shape ``(*batch, *event)``.
    """
    return over_batch(lambda p, q, s: (1 - s) * p + s * q, a.name, (a.ndim, a.ndim, 0), *floating(eta_p, eta_q, t))


def m_geodesic(a: Potential, eta_p: ArrayLike, eta_q: ArrayLike, t: ArrayLike) -> jax.Array:
    r"""Mixture geodesic: the line that is straight in mean parameters,
    :math:`(\nabla A)^{-1}\big((1-t)\mu_p + t\mu_q\big)`.

    Args:
        a: the log-partition.
        eta_p: natural parameters at t = 0, shape ``(*batch, *event)``.
        eta_q: natural parameters at t = 1, same event shape.
        t: times, shape ``(*batch,)`` or ``()``.

    Returns:
        *Natural* parameters, shape ``(*batch, *event)``.
    """

    def one(p: jax.Array, q: jax.Array, s: jax.Array) -> jax.Array:
        return a.inverse((1 - s) * a.gradient(p) + s * a.gradient(q))

    return over_batch(one, a.name, (a.ndim, a.ndim, 0), *floating(eta_p, eta_q, t))


def alpha_path(p: ArrayLike, q: ArrayLike, alpha: float, t: ArrayLike) -> jax.Array:
    r"""Path of the α-geodesic on the simplex: the normalized power mean of two probability vectors.

    .. math:: r_i(t) \propto \big[(1-t)\,p_i^{(1-\alpha)/2} + t\,q_i^{(1-\alpha)/2}\big]^{2/(1-\alpha)}

    α = −1: mixture. α = 1: geometric mixture. α = 0: the great circle. The *path* is the geodesic; t is its affine
    parameter only for α = ±1.

    Args:
        p: positive probability vectors, shape ``(*batch, d)``.
        q: positive probability vectors, same last axis.
        alpha: any real (static).
        t: times in [0, 1], shape ``(*batch,)`` or ``()``.

    Returns:
        Probability vectors, shape ``(*batch, d)``.

    Reference: Amari (2016), section 4.4.
    """

    def one(a: jax.Array, b: jax.Array, s: jax.Array) -> jax.Array:
        if alpha == 1:
            return jnp.exp(log_softmax((1 - s) * jnp.log(a) + s * jnp.log(b)))
        power = (1 - alpha) / 2
        mixed = ((1 - s) * a**power + s * b**power) ** (1 / power)
        return mixed / jnp.sum(mixed)

    return over_batch(one, "alpha_path", (1, 1, 0), *floating(p, q, t))


class NumericalGeodesic(NamedTuple):
    """A numerically integrated geodesic.

    Fields: ``points (num_steps + 1, n)``, ``velocities (num_steps + 1, n)``, both at equal steps of time 0 to 1;
    ``residual``, the largest coordinate distance of the end from its target (0 for an initial value problem).
    """

    points: jax.Array
    velocities: jax.Array
    residual: jax.Array


def numerical_geodesic(
    connection: Callable[[jax.Array], jax.Array], start: ArrayLike, velocity: ArrayLike, *, num_steps: int = 64
) -> NumericalGeodesic:
    r"""Integrate :math:`\ddot\theta^k + \Gamma^k_{ij}\dot\theta^i\dot\theta^j = 0` from time 0 to 1 by Runge–Kutta of
    order 4.

    Args:
        connection: function ``(n,) -> (n, n, n)``, for example ``curvature.LeviCivita(metric)`` or ``AlphaConnection``.
        start: shape ``(n,)``.
        velocity: shape ``(n,)``.
        num_steps: number of steps (static); the error is of order ``num_steps**-4``.

    Returns:
        The path. Numerical: not a closed form.
    """
    start, velocity = floating(start, velocity)
    h = 1.0 / num_steps

    def field(x: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        return v, -jnp.einsum("kij,i,j->k", connection(x), v, v)

    def step(
        state: tuple[jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        x, v = state
        x1, v1 = field(x, v)
        x2, v2 = field(x + 0.5 * h * x1, v + 0.5 * h * v1)
        x3, v3 = field(x + 0.5 * h * x2, v + 0.5 * h * v2)
        x4, v4 = field(x + h * x3, v + h * v3)
        new = x + h / 6 * (x1 + 2 * x2 + 2 * x3 + x4), v + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        return new, new

    _, (points, velocities) = jax.lax.scan(step, (start, velocity), None, length=num_steps)
    joined = jnp.concatenate([start[None], points]), jnp.concatenate([velocity[None], velocities])
    return NumericalGeodesic(*joined, residual=jnp.zeros((), start.dtype))


def numerical_geodesic_between(
    connection: Callable[[jax.Array], jax.Array],
    start: ArrayLike,
    end: ArrayLike,
    *,
    num_steps: int = 64,
    max_shots: int = 12,
) -> NumericalGeodesic:
    r"""Geodesic between two points by shooting: Newton's method on the initial velocity. Numerical.

    The length in a metric g is :math:`\sqrt{v_0^\top g(\theta_0)\,v_0}` for the Levi-Civita connection (constant
    speed).

    Args:
        connection: function ``(n,) -> (n, n, n)``.
        start: shape ``(n,)``.
        end: shape ``(n,)``.
        num_steps: Runge–Kutta steps (static).
        max_shots: Newton iterations (static).

    Returns:
        The path with ``residual``: look at it. Shooting fails (large or NaN residual) for far points.
    """
    start, end = floating(start, end)

    def miss(v: jax.Array) -> jax.Array:
        return numerical_geodesic(connection, start, v, num_steps=num_steps).points[-1] - end

    def shot(_: int, v: jax.Array) -> jax.Array:
        return v - jnp.linalg.solve(jax.jacfwd(miss)(v), miss(v))

    velocity = jax.lax.fori_loop(0, max_shots, shot, end - start)
    path = numerical_geodesic(connection, start, velocity, num_steps=num_steps)
    return path._replace(residual=jnp.max(jnp.abs(path.points[-1] - end)))
