r"""Kullback–Leibler divergences between members of the usual families, in their usual parameters.

``kl_normal(loc_p, scale_p, loc_q, scale_q)`` is KL(p‖q): parameters of p first, then those of q. All act elementwise
on broadcast scalars of one rank (no silent ``(n,)`` with ``(n, 1)``), in nats, and are sums of non-negative terms
wherever such a form exists, so that near neighbours are accurate in float32. Also the Wasserstein and Bhattacharyya
distances of normal laws.

Families that are images of these: the log-normal is ``kl_normal`` of the logs; χ² with ν degrees is gamma(ν/2, ½); the
inverse gamma (shape, scale) is gamma(shape, rate = scale); the geometric is the negative binomial with size 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from lossgeo.geometry import families
from lossgeo.geometry._points import check_last_axes, floating, over_batch, same_shape, symmetric
from lossgeo.geometry.bregman import exponential_family_kl, log_det_divergence
from lossgeo.numerics import kl_term

__all__ = [
    "bhattacharyya_normal", "kl_bernoulli", "kl_beta", "kl_binomial", "kl_cauchy", "kl_dirichlet", "kl_exponential",
    "kl_gamma", "kl_gumbel", "kl_inverse_gaussian", "kl_laplace", "kl_multivariate_normal", "kl_negative_binomial",
    "kl_normal", "kl_pareto", "kl_poisson", "kl_uniform", "kl_von_mises", "kl_weibull", "wasserstein_normal",
]  # fmt: skip


def _excess_of_ratio(r: jax.Array) -> jax.Array:
    r""":math:`r - 1 - \log r \ge 0` without cancellation near 1."""
    return kl_term(jnp.ones_like(r), r)


def kl_normal(loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of normals: :math:`\tfrac12\big[(m_p - m_q)^2/s_q^2 + r - 1 - \log r\big]`, :math:`r = s_p^2/s_q^2`.

    Args:
        loc_p: mean of p.
        scale_p: standard deviation of p, positive.
        loc_q: mean of q.
        scale_q: standard deviation of q, positive.

    Returns:
        Nats, elementwise.
    """
    mp, sp, mq, sq = same_shape("kl_normal", 0, loc_p, scale_p, loc_q, scale_q)
    return 0.5 * (((mp - mq) / sq) ** 2 + _excess_of_ratio((sp / sq) ** 2))


def kl_exponential(rate_p: ArrayLike, rate_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of exponentials: :math:`r - 1 - \log r` with :math:`r = \lambda_q/\lambda_p`; elementwise, nats."""
    lp, lq = same_shape("kl_exponential", 0, rate_p, rate_q)
    return _excess_of_ratio(lq / lp)


def kl_bernoulli(probability_p: ArrayLike, probability_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Bernoulli laws; exact at 0 and 1; elementwise, nats."""
    p, q = same_shape("kl_bernoulli", 0, probability_p, probability_q)
    return kl_term(p, q) + kl_term(1 - p, 1 - q)


def kl_binomial(total: ArrayLike, probability_p: ArrayLike, probability_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of binomials with one number of trials: n times that of Bernoulli laws; elementwise, nats."""
    n, p, q = same_shape("kl_binomial", 0, total, probability_p, probability_q)
    return n * (kl_term(p, q) + kl_term(1 - p, 1 - q))


def kl_negative_binomial(size: ArrayLike, probability_p: ArrayLike, probability_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of negative binomials (failures before ``size`` successes) of one size:
    :math:`(r/p)\,\mathrm{KL}_{\rm Bernoulli}`.

    Args:
        size: number of successes r, any positive real; 1 is the geometric law.
        probability_p: probability of success under p.
        probability_q: probability of success under q.

    Returns:
        Nats, elementwise.
    """
    r, p, q = same_shape("kl_negative_binomial", 0, size, probability_p, probability_q)
    return r / p * (kl_term(p, q) + kl_term(1 - p, 1 - q))


def kl_poisson(rate_p: ArrayLike, rate_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Poisson laws: :math:`\lambda_p\log(\lambda_p/\lambda_q) - \lambda_p + \lambda_q`.

    Exact at rate 0; nats.
    """
    lp, lq = same_shape("kl_poisson", 0, rate_p, rate_q)
    return kl_term(lp, lq)


def kl_gamma(shape_p: ArrayLike, rate_p: ArrayLike, shape_q: ArrayLike, rate_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of gamma laws (shape, rate): the Bregman divergence of ``families.gamma``; elementwise, nats."""
    ap, bp, aq, bq = same_shape("kl_gamma", 0, shape_p, rate_p, shape_q, rate_q)
    return exponential_family_kl(families.gamma, jnp.stack([ap, -bp], -1), jnp.stack([aq, -bq], -1))


def kl_inverse_gaussian(mean_p: ArrayLike, shape_p: ArrayLike, mean_q: ArrayLike, shape_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of inverse Gaussians (mean m, shape λ).

    .. math:: \tfrac12\Big[r - 1 - \log r + \frac{\lambda_q (m_p - m_q)^2}{m_p m_q^2}\Big], \quad
              r = \lambda_q/\lambda_p
    """
    mp, lp, mq, lq = same_shape("kl_inverse_gaussian", 0, mean_p, shape_p, mean_q, shape_q)
    return 0.5 * (_excess_of_ratio(lq / lp) + lq * ((mp - mq) / mq) ** 2 / mp)


def kl_beta(a_p: ArrayLike, b_p: ArrayLike, a_q: ArrayLike, b_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of beta laws: the Bregman divergence of ``families.beta``; elementwise, nats."""
    ap, bp, aq, bq = same_shape("kl_beta", 0, a_p, b_p, a_q, b_q)
    return exponential_family_kl(families.beta, jnp.stack([ap, bp], -1), jnp.stack([aq, bq], -1))


def kl_dirichlet(concentration_p: ArrayLike, concentration_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Dirichlet laws, concentrations along the last axis: ``(*batch, d) -> (*batch,)``, nats."""
    return exponential_family_kl(families.dirichlet, concentration_p, concentration_q)


def kl_von_mises(
    loc_p: ArrayLike, concentration_p: ArrayLike, loc_q: ArrayLike, concentration_q: ArrayLike
) -> jax.Array:
    r"""KL(p‖q) of von Mises laws on the circle (angle, κ ≥ 0; 0 is uniform); elementwise, nats."""
    mp, kp, mq, kq = same_shape("kl_von_mises", 0, loc_p, concentration_p, loc_q, concentration_q)
    eta_p = kp[..., None] * jnp.stack([jnp.cos(mp), jnp.sin(mp)], -1)
    return exponential_family_kl(families.von_mises, eta_p, kq[..., None] * jnp.stack([jnp.cos(mq), jnp.sin(mq)], -1))


def kl_laplace(loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Laplace laws.

    .. math:: [r - 1 - \log r] + r\,[e^{-d} - 1 + d], \quad r = b_p/b_q,\ d = |m_p - m_q|/b_p
    """
    mp, bp, mq, bq = same_shape("kl_laplace", 0, loc_p, scale_p, loc_q, scale_q)
    d = jnp.abs(mp - mq) / bp
    return _excess_of_ratio(bp / bq) + bp / bq * kl_term(jnp.ones_like(d), jnp.exp(-d), -d)


def kl_cauchy(loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""KL of Cauchy laws: :math:`\log\big[1 + \frac{(g_p - g_q)^2 + (m_p - m_q)^2}{4 g_p g_q}\big]`.

    Here, and here only, symmetric.
    """
    mp, gp, mq, gq = same_shape("kl_cauchy", 0, loc_p, scale_p, loc_q, scale_q)
    return jnp.log1p(((gp - gq) ** 2 + (mp - mq) ** 2) / (4 * gp * gq))


def kl_gumbel(loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Gumbel (maximum) laws, with :math:`r = s_p/s_q`, :math:`d = (m_p - m_q)/s_q` and Euler's γ.

    .. math:: -\log r + \gamma(r - 1) + d + e^{-d}\,\Gamma(1 + r) - 1
    """
    mp, sp, mq, sq = same_shape("kl_gumbel", 0, loc_p, scale_p, loc_q, scale_q)
    r, d = sp / sq, (mp - mq) / sq
    log_moment = gammaln(1 + r)
    # With u = log Gamma(1 + r) - d the last terms are [e^u - 1 - u] >= 0, which does not cancel.
    bracket = kl_term(jnp.ones_like(d), jnp.exp(log_moment - d), log_moment - d)
    return bracket + (np.euler_gamma * (r - 1) + log_moment - jnp.log(r))


def kl_weibull(shape_p: ArrayLike, scale_p: ArrayLike, shape_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Weibull laws.

    Minus their logarithm is Gumbel of location ``-log scale`` and scale ``1 / shape``; nats.
    """
    kp, sp, kq, sq = same_shape("kl_weibull", 0, shape_p, scale_p, shape_q, scale_q)
    return kl_gumbel(-jnp.log(sp), 1 / kp, -jnp.log(sq), 1 / kq)


def kl_pareto(shape_p: ArrayLike, scale_p: ArrayLike, shape_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of Pareto laws (shape α, least value x).

    .. math:: r - 1 - \log r + \alpha_q\log(x_p/x_q), \quad r = \alpha_q/\alpha_p

    ``inf`` when :math:`x_q > x_p`: p then has mass where q has none.
    """
    ap, xp, aq, xq = same_shape("kl_pareto", 0, shape_p, scale_p, shape_q, scale_q)
    covered = xq <= xp
    ratio = jnp.where(covered, xp / xq, 1.0)
    return jnp.where(covered, _excess_of_ratio(aq / ap) + aq * jnp.log(ratio), jnp.inf)


def kl_uniform(low_p: ArrayLike, high_p: ArrayLike, low_q: ArrayLike, high_q: ArrayLike) -> jax.Array:
    r"""KL(p‖q) of uniform laws: :math:`\log\frac{b_q - a_q}{b_p - a_p}` if p's interval lies in q's, else ``inf``."""
    ap, bp, aq, bq = same_shape("kl_uniform", 0, low_p, high_p, low_q, high_q)
    return jnp.where((aq <= ap) & (bp <= bq), jnp.log((bq - aq) / (bp - ap)), jnp.inf)


def kl_multivariate_normal(
    loc_p: ArrayLike, covariance_p: ArrayLike, loc_q: ArrayLike, covariance_q: ArrayLike
) -> jax.Array:
    r"""KL(p‖q) of multivariate normals.

    .. math:: \tfrac12\big[(m_p - m_q)^\top S_q^{-1}(m_p - m_q) + \mathrm{tr}(S_p S_q^{-1})
              - \log\det(S_p S_q^{-1}) - d\big]

    Args:
        loc_p: mean of p, shape ``(*batch, d)``.
        covariance_p: covariance of p, shape ``(*batch, d, d)``.
        loc_q: mean of q, shape ``(*batch, d)``.
        covariance_q: covariance of q, shape ``(*batch, d, d)``.

    Returns:
        Nats, shape ``(*batch,)``.
    """
    mp, sp, mq, sq = floating(loc_p, covariance_p, loc_q, covariance_q)
    check_last_axes("kl_multivariate_normal", 1, mp, mq)
    quadratic = over_batch(
        lambda a, b, s: jnp.vdot(a - b, jnp.linalg.solve(symmetric(s), a - b)),
        "kl_multivariate_normal",
        (1, 1, 2),
        mp,
        mq,
        sq,
    )
    return 0.5 * (quadratic + log_det_divergence(sp, sq))


def bhattacharyya_normal(loc_p: ArrayLike, scale_p: ArrayLike, loc_q: ArrayLike, scale_q: ArrayLike) -> jax.Array:
    r"""Bhattacharyya distance :math:`-\log\int\sqrt{pq}` of normals, symmetric; elementwise, nats.

    .. math:: \frac{(m_p - m_q)^2}{4(s_p^2 + s_q^2)} + \tfrac12\log\frac{s_p^2 + s_q^2}{2 s_p s_q}
    """
    mp, sp, mq, sq = same_shape("bhattacharyya_normal", 0, loc_p, scale_p, loc_q, scale_q)
    return 0.25 * (mp - mq) ** 2 / (sp**2 + sq**2) + 0.5 * jnp.log1p((sp - sq) ** 2 / (2 * sp * sq))


def wasserstein_normal(
    loc_p: ArrayLike, covariance_p: ArrayLike, loc_q: ArrayLike, covariance_q: ArrayLike
) -> jax.Array:
    r"""*Squared* Wasserstein-2 distance of multivariate normals (Bures–Wasserstein).

    .. math:: W_2^2 = \|m_p - m_q\|^2 + \mathrm{tr}\big(S_p + S_q - 2\,(L^\top S_q L)^{1/2}\big), \quad S_p = LL^\top

    In one dimension :math:`(m_p - m_q)^2 + (s_p - s_q)^2`. Not an f- or Bregman divergence: it has the units of the
    space.

    Args:
        loc_p: mean of p, shape ``(*batch, d)``.
        covariance_p: positive definite covariance of p, shape ``(*batch, d, d)``.
        loc_q: mean of q, shape ``(*batch, d)``.
        covariance_q: covariance of q, shape ``(*batch, d, d)``.

    Returns:
        Squared distances, shape ``(*batch,)``. Absolute rounding error is of the order of eps times the traces.

    Reference: Olkin & Pukelsheim (1982), Linear Algebra Appl. 48.
    """

    def one(mp: jax.Array, sp: jax.Array, mq: jax.Array, sq: jax.Array) -> jax.Array:
        factor = jnp.linalg.cholesky(symmetric(sp))
        cross = jnp.sqrt(jnp.linalg.eigvalsh(symmetric(factor.T @ symmetric(sq) @ factor)))
        return jnp.vdot(mp - mq, mp - mq) + jnp.trace(sp) + jnp.trace(sq) - 2 * jnp.sum(cross)

    mp, sp, mq, sq = floating(loc_p, covariance_p, loc_q, covariance_q)
    check_last_axes("wasserstein_normal", 1, mp, mq)
    check_last_axes("wasserstein_normal", 2, sp, sq)
    return over_batch(one, "wasserstein_normal", (1, 2, 1, 2), mp, sp, mq, sq)
