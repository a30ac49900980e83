r"""Connections, the cubic tensor and curvature, by automatic differentiation.

A statistical manifold carries one metric (Fisher) and a family of connections :math:`\nabla^{(\alpha)}`: α = 1 is flat
in natural parameters (e), α = −1 in mean parameters (m), α = 0 is Levi-Civita. Their difference is the cubic
(Amari–Chentsov) tensor :math:`T = \nabla^3 A`, the third-order asymmetry of KL:
:math:`\mathrm{KL}(p\|q) - \mathrm{KL}(q\|p) \to -\tfrac16 T(d\eta, d\eta, d\eta)`.

A *metric* here is a function ``theta (n,) -> (n, n)``, a *connection* a function ``theta (n,) -> (n, n, n)`` that
returns :math:`\Gamma^k_{ij}` at index ``[k, i, j]``. Sectional curvature of the Fisher metric, all derived by these
functions: categorical +1/4 for any number of classes (a sphere of radius 2), normal −1/2 (hyperbolic), gamma
varying between −1/2 and −1/4, beta between −1/2 and 0. All functions are for one point; use ``jax.vmap``.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import as_function, pytree
from lossgeo.geometry._points import floating
from lossgeo.geometry.fisher import fisher_metric
from lossgeo.geometry.potentials import Potential

__all__ = [
    "AlphaConnection", "FisherMetric", "LeviCivita", "cubic_tensor", "curvature_tensor", "efron_curvature",
    "ricci_tensor", "riemann_tensor", "scalar_curvature", "sectional_curvature",
]  # fmt: skip

Metric = Callable[[jax.Array], jax.Array]
Connection = Callable[[jax.Array], jax.Array]


def cubic_tensor(a: Potential, eta: ArrayLike) -> jax.Array:
    r"""Amari–Chentsov tensor
    :math:`T_{ijk} = \partial_i\partial_j\partial_k A(\eta) = \mathbb{E}[(T-\mu)_i(T-\mu)_j(T-\mu)_k]`.

    Args:
        a: the log-partition, with vector (or scalar) points.
        eta: one point, shape ``(n,)`` or ``()``.

    Returns:
        Symmetric tensor, shape ``(n, n, n)`` (or ``()``), in natural coordinates.
    """
    (eta,) = floating(eta)
    return jax.jacfwd(jax.jacfwd(a.gradient))(eta)


@pytree
class FisherMetric:
    """The Fisher metric of an exponential family in its natural parameters, as a metric for this module.

    Args:
        potential: the log-partition; without a gauge (``categorical`` rather than ``log_sum_exp``).
    """

    potential: Potential

    def __call__(self, eta: jax.Array) -> jax.Array:
        """The matrix at one point, shape ``(n, n)``."""
        return fisher_metric(self.potential, eta)


@pytree
class LeviCivita:
    r"""The metric connection,
    :math:`\Gamma^k_{ij} = \tfrac12 g^{kl}(\partial_i g_{jl} + \partial_j g_{il} - \partial_l g_{ij})`.

    Args:
        metric: function ``(n,) -> (n, n)``, positive definite.
    """

    metric: Metric

    def __call__(self, theta: jax.Array) -> jax.Array:
        """The symbols at one point, shape ``(n, n, n)``."""
        g = self.metric(theta)
        d = jax.jacfwd(self.metric)(theta)  # d[i, j, l] is the derivative of g_ij along l
        first_kind = 0.5 * (jnp.transpose(d, (1, 2, 0)) + jnp.transpose(d, (1, 0, 2)) - jnp.transpose(d, (2, 0, 1)))
        return jnp.linalg.solve(g, first_kind.reshape((g.shape[0], -1))).reshape(d.shape)


@pytree
class AlphaConnection:
    r"""Amari's α-connection of an exponential family in natural parameters,
    :math:`\Gamma^k_{ij} = \tfrac{1-\alpha}{2} g^{kl}T_{ijl}`.

    α = 1: zero, straight lines in η (e-geodesics). α = 0: Levi-Civita. α = −1: straight lines in μ (m-geodesics).

    Args:
        potential: the log-partition, without a gauge.
        alpha: any real.
    """

    potential: Potential
    alpha: ArrayLike = 0.0

    def __call__(self, eta: jax.Array) -> jax.Array:
        """The symbols at one point, shape ``(n, n, n)``."""
        g = fisher_metric(self.potential, eta)
        t = cubic_tensor(self.potential, eta)
        return 0.5 * (1 - jnp.asarray(self.alpha)) * jnp.linalg.solve(g, t.reshape((g.shape[0], -1))).reshape(t.shape)


def curvature_tensor(connection: Connection, theta: ArrayLike) -> jax.Array:
    r"""Curvature of a torsion-free connection, index ``[l, k, i, j]``.

    .. math:: R^l{}_{kij} = \partial_i\Gamma^l_{jk} - \partial_j\Gamma^l_{ik}
              + \Gamma^l_{im}\Gamma^m_{jk} - \Gamma^l_{jm}\Gamma^m_{ik}

    so that :math:`R(u, v)w` has components :math:`R^l{}_{kij}\,w^k u^i v^j`. Zero iff the connection is flat.

    Args:
        connection: function ``(n,) -> (n, n, n)``.
        theta: one point, shape ``(n,)``.

    Returns:
        Shape ``(n, n, n, n)``.
    """
    (theta,) = floating(theta)
    gamma = connection(theta)
    d = jax.jacfwd(connection)(theta)  # d[l, j, k, i] is the derivative of Gamma^l_jk along i
    half = jnp.einsum("ljki->lkij", d) + jnp.einsum("lim,mjk->lkij", gamma, gamma)
    return half - jnp.swapaxes(half, 2, 3)


def riemann_tensor(metric: Metric, theta: ArrayLike) -> jax.Array:
    r"""Riemann tensor of a metric with all indices lowered.

    :math:`R_{lkij} = g(R(\partial_i, \partial_j)\partial_k, \partial_l)`.
    """
    (theta,) = floating(theta)
    return jnp.einsum("la,akij->lkij", metric(theta), curvature_tensor(LeviCivita(as_function(metric)), theta))


def sectional_curvature(metric: Metric, theta: ArrayLike, u: ArrayLike, v: ArrayLike) -> jax.Array:
    r"""Sectional curvature of the plane spanned by two tangent vectors.

    .. math:: K(u, v) = \frac{g(R(u, v)v, u)}{g(u,u)\,g(v,v) - g(u,v)^2}

    Positive on a sphere, 0 in the geometry of squared error, negative on the half-plane of normal laws. NaN for
    parallel vectors.

    Args:
        metric: function ``(n,) -> (n, n)``.
        theta: one point, shape ``(n,)``.
        u: tangent vector, shape ``(n,)``.
        v: tangent vector, shape ``(n,)``.

    Returns:
        Shape ``()``, in 1 / squared length; the Fisher length has no unit.
    """
    theta, u, v = floating(theta, u, v)
    r = riemann_tensor(metric, theta)
    g = metric(theta)
    area = jnp.vdot(u, g @ u) * jnp.vdot(v, g @ v) - jnp.vdot(u, g @ v) ** 2
    return jnp.einsum("lkij,l,k,i,j->", r, u, v, u, v) / area


def ricci_tensor(metric: Metric, theta: ArrayLike) -> jax.Array:
    r"""Ricci tensor :math:`R_{kj} = R^i{}_{kij}`, shape ``(n, n)``."""
    (theta,) = floating(theta)
    return jnp.einsum("ikij->kj", curvature_tensor(LeviCivita(as_function(metric)), theta))


def scalar_curvature(metric: Metric, theta: ArrayLike) -> jax.Array:
    r"""Scalar curvature :math:`g^{kj}R_{kj}`; :math:`n(n-1)K` at constant sectional curvature K (2K on a surface)."""
    (theta,) = floating(theta)
    return jnp.trace(jnp.linalg.solve(metric(theta), ricci_tensor(metric, theta)))


def efron_curvature(a: Potential, curve: Callable[[jax.Array], jax.Array], theta: ArrayLike) -> jax.Array:
    r"""Efron's statistical curvature of a one-parameter family inside an exponential family.

    .. math:: \gamma^2 = \frac{\det\begin{pmatrix}\dot\eta^\top I\dot\eta & \dot\eta^\top I\ddot\eta\\
              \ddot\eta^\top I\dot\eta & \ddot\eta^\top I\ddot\eta\end{pmatrix}}{(\dot\eta^\top I\dot\eta)^3}, \qquad I
              = \nabla^2 A(\eta(\theta))

    Zero iff the family is itself exponential (a straight line in η, canonical link). It is the embedding curvature of
    the e-connection: invariant under changes of θ. :math:`\gamma^2/n` above about 1/8 is large (Efron).

    Args:
        a: the log-partition, with vector points.
        curve: smooth map from θ, shape ``()``, to natural parameters, shape ``(n,)``.
        theta: shape ``()``.

    Returns:
        γ for one observation, shape ``()``; for n independent ones divide by √n.

    Reference: Efron (1975), Annals of Statistics 3, equation 3.7.
    """
    (theta,) = floating(theta)
    eta, velocity, acceleration = curve(theta), jax.jacfwd(curve)(theta), jax.jacfwd(jax.jacfwd(curve))(theta)
    i_velocity = jax.jvp(a.gradient, (eta,), (velocity,))[1]
    speed = jnp.vdot(velocity, i_velocity)
    # Only the acceleration across the curve counts; taking it first avoids the cancellation of the determinant.
    across = acceleration - velocity * (jnp.vdot(acceleration, i_velocity) / speed)
    return jnp.sqrt(jnp.vdot(across, jax.jvp(a.gradient, (eta,), (across,))[1])) / speed
