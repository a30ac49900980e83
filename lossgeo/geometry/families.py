r"""Log-partition functions of the usual exponential families.

A family has density :math:`h(y)\exp(\langle\eta, T(y)\rangle - A(\eta))`. The tables fix what η and T are, so that
means :math:`\nabla A`, variances :math:`\nabla^2 A`, entropies and KL follow. Families of one number have points
without axes (``ndim = 0``); the others are vectors along the last axis.

====================  ==================================  =====================================================
potential             statistic T(y)                      natural parameter η
====================  ==================================  =====================================================
``bernoulli``         y                                   logit
``poisson``           y                                   log rate
``categorical``       (1[y = i]) for i < C                log odds against class C
``exponential``       y                                   −rate
``gaussian(s2)``      y                                   m / s2, variance s2 known
``normal``            (y, y²)                             (m / s², −1 / 2s²)
``gamma``             (log y, y)                          (shape, −rate), base measure dy / y
``inverse_gaussian``  (y, 1/y)                            (−λ / 2m², −λ / 2)
``beta``              (log y, log(1 − y))                 (a, b), base measure dy / (y (1 − y))
``dirichlet``         log y                               concentration, base measure dy / Π y
``von_mises``         (cos y, sin y)                      κ (cos m, sin m)
====================  ==================================  =====================================================

``log_sum_exp`` is the categorical family in all C logits, with a gauge; ``multivariate_normal`` is in
:mod:`lossgeo.geometry.matrices`. Constants of the base measure (:math:`\sqrt{2\pi}`, :math:`2\pi`, …) are not part of
A.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, gammaln, xlog1py, xlogy
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo.geometry.generators import positive_orthant
from lossgeo.geometry.potentials import Domain, Potential, potential

__all__ = [
    "bernoulli", "beta", "categorical", "dirichlet", "exponential", "gamma", "gaussian", "inverse_gaussian", "normal",
    "poisson", "von_mises",
]  # fmt: skip


def _in_unit_interval(m: jax.Array) -> jax.Array:
    return (m > 0) & (m < 1)


def _is_positive(m: jax.Array) -> jax.Array:
    return (m > 0) & jnp.isfinite(m)


def _is_negative(m: jax.Array) -> jax.Array:
    return (m < 0) & jnp.isfinite(m)


def _second_negative(eta: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(eta)) & (eta[1] < 0)


def _positive_then_negative(eta: jax.Array) -> jax.Array:
    return _second_negative(eta) & (eta[0] > 0)


def _both_negative(eta: jax.Array) -> jax.Array:
    return _second_negative(eta) & (eta[0] < 0)


def _above_parabola(mu: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(mu)) & (mu[1] > mu[0] ** 2)


def _above_log(mu: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(mu)) & (mu[1] > 0) & (mu[0] < jnp.log(mu[1]))


def _above_hyperbola(mu: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(mu)) & (mu[0] > 0) & (mu[0] * mu[1] > 1)


def _logs_of_a_subprobability(mu: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(mu)) & (jnp.sum(jnp.exp(mu)) < 1)


def _in_disk(mu: jax.Array) -> jax.Array:
    return jnp.vdot(mu, mu) < 1


def _logit(m: jax.Array) -> jax.Array:
    return jnp.log(m) - jnp.log1p(-m)


def _binary_negentropy(m: jax.Array) -> jax.Array:
    return xlogy(m, m) + xlog1py(1 - m, -m)


def _binary_gap(eta: jax.Array, m: jax.Array) -> jax.Array:
    upper = numerics.kl_term(m, numerics.sigmoid(eta), -numerics.softplus(-eta))
    return upper + numerics.kl_term(1 - m, numerics.sigmoid(-eta), -numerics.softplus(eta))


def _categorical(z: jax.Array) -> jax.Array:
    return numerics.log_sum_exp(_with_reference(z))


def _with_reference(z: jax.Array) -> jax.Array:
    return jnp.concatenate([z, jnp.zeros((1,), z.dtype)])


def _categorical_mean(z: jax.Array) -> jax.Array:
    return jnp.exp(numerics.log_softmax(_with_reference(z)))[:-1]


def _log_odds(p: jax.Array) -> jax.Array:
    return jnp.log(p) - jnp.log1p(-jnp.sum(p))


def _categorical_negentropy(p: jax.Array) -> jax.Array:
    rest = 1 - jnp.sum(p)
    return jnp.sum(xlogy(p, p)) + xlogy(rest, rest)


def _in_corner(p: jax.Array) -> jax.Array:
    return jnp.all(p > 0) & (jnp.sum(p) < 1)


categorical: Potential = potential(
    _categorical, ndim=1, gradient=_categorical_mean, inverse=_log_odds, conjugate=_categorical_negentropy,
    codomain=Domain("positive with sum below 1", _in_corner), name="categorical",
)  # fmt: skip
r""":math:`A(z) = \log(1 + \sum_{i<C} e^{z_i})`: ``log_sum_exp`` with the last logit held at 0.

Minimal, without a gauge.
"""


bernoulli: Potential = potential(
    numerics.softplus, ndim=0, gradient=numerics.sigmoid, inverse=_logit, conjugate=_binary_negentropy, gap=_binary_gap,
    codomain=Domain("unit interval", _in_unit_interval), name="Bernoulli",
)  # fmt: skip
r""":math:`A(\eta) = \log(1 + e^\eta)`, softplus; :math:`A^*(\mu) = \mu\log\mu + (1-\mu)\log(1-\mu)`."""


def _poisson_conjugate(m: jax.Array) -> jax.Array:
    return xlogy(m, m) - m


def _poisson_gap(eta: jax.Array, m: jax.Array) -> jax.Array:
    return numerics.kl_term(m, jnp.exp(eta), eta)


poisson: Potential = potential(
    jnp.exp, ndim=0, gradient=jnp.exp, inverse=jnp.log, conjugate=_poisson_conjugate, gap=_poisson_gap,
    codomain=Domain("positive numbers", _is_positive), name="Poisson",
)  # fmt: skip
r""":math:`A(\eta) = e^\eta`; :math:`A^*(\mu) = \mu\log\mu - \mu`, with the limit 0 at 0."""


def _exponential(eta: jax.Array) -> jax.Array:
    return -jnp.log(-eta)


def _minus_reciprocal(eta: jax.Array) -> jax.Array:
    return -1 / eta


def _exponential_conjugate(m: jax.Array) -> jax.Array:
    return -1 - jnp.log(m)


def _exponential_gap(eta: jax.Array, m: jax.Array) -> jax.Array:
    return numerics.kl_term(jnp.ones_like(m), -eta * m)


exponential: Potential = potential(
    _exponential, ndim=0, gradient=_minus_reciprocal, inverse=_minus_reciprocal, conjugate=_exponential_conjugate,
    gap=_exponential_gap, domain=Domain("negative numbers", _is_negative),
    codomain=Domain("positive numbers", _is_positive), name="exponential",
)  # fmt: skip
r""":math:`A(\eta) = -\log(-\eta)`; :math:`A^*(\mu) = -1 - \log\mu`. The gamma family of known shape, per unit of shape.

Its unit deviance is twice the Itakura–Saito divergence.
"""


def _gaussian(eta: jax.Array, variance: jax.Array) -> jax.Array:
    return 0.5 * variance * eta * eta


def _gaussian_mean(eta: jax.Array, variance: jax.Array) -> jax.Array:
    return variance * eta


def _gaussian_natural(m: jax.Array, variance: jax.Array) -> jax.Array:
    return m / variance


def _gaussian_gap(eta: jax.Array, m: jax.Array, variance: jax.Array) -> jax.Array:
    return 0.5 * (m - variance * eta) ** 2 / variance


def _gaussian_conjugate(m: jax.Array, variance: jax.Array) -> jax.Array:
    return 0.5 * m * m / variance


def gaussian(variance: ArrayLike = 1.0) -> Potential:
    r"""Normal of known variance: :math:`A(\eta) = \tfrac12 s^2\eta^2` with :math:`\eta = m/s^2`.

    ``variance`` has shape ``()``.
    """
    return potential(
        _gaussian, ndim=0, gradient=_gaussian_mean, inverse=_gaussian_natural, conjugate=_gaussian_conjugate,
        gap=_gaussian_gap, parameters=(variance,), name="Gaussian",
    )  # fmt: skip


def _normal(eta: jax.Array) -> jax.Array:
    return -0.25 * eta[0] ** 2 / eta[1] - 0.5 * jnp.log(-2 * eta[1])


def _normal_mean(eta: jax.Array) -> jax.Array:
    variance = -0.5 / eta[1]
    m = variance * eta[0]
    return jnp.stack([m, variance + m * m])


def _normal_natural(mu: jax.Array) -> jax.Array:
    variance = mu[1] - mu[0] ** 2
    return jnp.stack([mu[0] / variance, -0.5 / variance])


def _normal_conjugate(mu: jax.Array) -> jax.Array:
    return -0.5 - 0.5 * jnp.log(mu[1] - mu[0] ** 2)


normal: Potential = potential(
    _normal, ndim=1, gradient=_normal_mean, inverse=_normal_natural, conjugate=_normal_conjugate,
    domain=Domain("second coordinate negative", _second_negative),
    codomain=Domain("above the parabola", _above_parabola), name="normal",
)  # fmt: skip
r""":math:`A(\eta) = -\eta_1^2/4\eta_2 - \tfrac12\log(-2\eta_2)`.

:math:`A^*(\mu) = -\tfrac12 - \tfrac12\log(\mu_2 - \mu_1^2)`.
"""


def _gamma(eta: jax.Array) -> jax.Array:
    return gammaln(eta[0]) - eta[0] * jnp.log(-eta[1])


def _gamma_mean(eta: jax.Array) -> jax.Array:
    return jnp.stack([digamma(eta[0]) - jnp.log(-eta[1]), -eta[0] / eta[1]])


def _gamma_start(mu: jax.Array) -> jax.Array:
    """Minka's approximation of the shape from log E y - E log y, good to 1.5%."""
    s = jnp.log(mu[1]) - mu[0]
    shape = (3 - s + jnp.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    return jnp.stack([shape, -shape / mu[1]])


gamma: Potential = potential(
    _gamma, ndim=1, gradient=_gamma_mean, start=_gamma_start,
    domain=Domain("positive, negative", _positive_then_negative),
    codomain=Domain("E log y < log E y", _above_log), name="gamma",
)  # fmt: skip
r""":math:`A(\eta) = \log\Gamma(\eta_1) - \eta_1\log(-\eta_2)`; the inverse of the mean map is found by Newton."""


def _inverse_gaussian(eta: jax.Array) -> jax.Array:
    return -2 * jnp.sqrt(eta[0] * eta[1]) - 0.5 * jnp.log(-2 * eta[1])


def _inverse_gaussian_mean(eta: jax.Array) -> jax.Array:
    m = jnp.sqrt(eta[1] / eta[0])
    return jnp.stack([m, 1 / m - 0.5 / eta[1]])


def _inverse_gaussian_natural(mu: jax.Array) -> jax.Array:
    shape = mu[0] / (mu[0] * mu[1] - 1)
    return jnp.stack([-0.5 * shape / mu[0] ** 2, -0.5 * shape])


def _inverse_gaussian_conjugate(mu: jax.Array) -> jax.Array:
    return -0.5 + 0.5 * (jnp.log(mu[0]) - jnp.log(mu[0] * mu[1] - 1))


inverse_gaussian: Potential = potential(
    _inverse_gaussian, ndim=1, gradient=_inverse_gaussian_mean, inverse=_inverse_gaussian_natural,
    conjugate=_inverse_gaussian_conjugate, domain=Domain("both negative", _both_negative),
    codomain=Domain("above the hyperbola", _above_hyperbola), name="inverse Gaussian",
)  # fmt: skip
r""":math:`A(\eta) = -2\sqrt{\eta_1\eta_2} - \tfrac12\log(-2\eta_2)`."""


def _dirichlet(eta: jax.Array) -> jax.Array:
    return jnp.sum(gammaln(eta)) - gammaln(jnp.sum(eta))


def _dirichlet_mean(eta: jax.Array) -> jax.Array:
    return digamma(eta) - digamma(jnp.sum(eta))


def _dirichlet_start(mu: jax.Array) -> jax.Array:
    """Total from the large-concentration limit of Jensen's gap, then one of Minka's fixed-point steps."""
    total = (mu.size - 1) / (-2 * jax.nn.logsumexp(mu))
    target = mu + digamma(total)
    # Two asymptotes of the inverse of digamma.
    return jnp.where(target > -2.2, jnp.exp(target) + 0.5, 1 / (-jnp.minimum(target, -2.2) - np.euler_gamma))


_log_subprobabilities = Domain("logarithms of numbers with sum below 1", _logs_of_a_subprobability)

dirichlet: Potential = potential(
    _dirichlet, ndim=1, gradient=_dirichlet_mean, start=_dirichlet_start, domain=positive_orthant,
    codomain=_log_subprobabilities, name="Dirichlet",
)  # fmt: skip
r""":math:`A(\eta) = \sum\log\Gamma(\eta_i) - \log\Gamma(\sum\eta_i)`.

The inverse of the mean map is found by Newton.
"""


beta: Potential = potential(
    _dirichlet, ndim=1, gradient=_dirichlet_mean, start=_dirichlet_start, domain=positive_orthant,
    codomain=_log_subprobabilities, name="beta",
)  # fmt: skip
r""":math:`A(a, b) = \log B(a, b)`: the Dirichlet potential in two coordinates."""


def _von_mises(eta: jax.Array) -> jax.Array:
    return numerics.log_i0_of_square(0.25 * jnp.vdot(eta, eta))


def _von_mises_mean(eta: jax.Array) -> jax.Array:
    square = 0.25 * jnp.vdot(eta, eta)
    return 0.5 * jax.jvp(numerics.log_i0_of_square, (square,), (jnp.ones_like(square),))[1] * eta


def _von_mises_start(mu: jax.Array) -> jax.Array:
    """Approximation of Banerjee et al. (2005) for the concentration from the mean resultant."""
    r2 = jnp.vdot(mu, mu)
    return mu * (2 - r2) / (1 - r2)


von_mises: Potential = potential(
    _von_mises, ndim=1, gradient=_von_mises_mean, start=_von_mises_start,
    codomain=Domain("open unit disk", _in_disk), name="von Mises",
)  # fmt: skip
r""":math:`A(\eta) = \log I_0(\|\eta\|)`, smooth at 0 (the uniform law).

The inverse of the mean map is found by Newton.
"""
