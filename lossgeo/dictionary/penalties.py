r"""Penalties as records: the other side of a prior.

=====================  =============================================================  ===============================
penalty                :math:`R(\theta)`                                              prior
=====================  =============================================================  ===============================
``NoPenalty``          0                                                              ``Flat`` (improper)
``L2(λ)``              :math:`\tfrac\lambda2\|\theta - c\|_2^2`                       ``Normal(c, 1/sqrt(λ))``
``L1(λ)``              :math:`\lambda\|\theta - c\|_1`                                ``Laplace(c, 1/λ)``
``ElasticNet(λ₁,λ₂)``  :math:`\lambda_1\|\cdot\|_1 + \tfrac{\lambda_2}2\|\cdot\|_2^2`  ``ElasticNet(c, 1/λ₁, λ₂^-½)``
``GroupL2(λ)``         :math:`\lambda\|\theta - c\|_2`                                ``GroupLaplace(c, 1/λ)``
``MCP(λ, γ)``          constant beyond :math:`\gamma\lambda`                          none: improper
``SCAD(λ, a)``         constant beyond :math:`a\lambda`                               none: improper
``TotalVariation(λ)``  :math:`\lambda\sum_i|\theta_{i+1} - \theta_i|`                 none: improper on constants
=====================  =============================================================  ===============================

Every penalty is in nats, next to a negative log-likelihood that is a *sum*. The modes of the priors of kinked
penalties are sparse, their draws are not.

Reference: Tibshirani (1996), JRSS B 58; Fan, Li (2001), JASA 96 (SCAD); Zhang (2010), Annals of Statistics 38 (MCP).
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import distributions as dist
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import promote
from lossgeo.distributions.foreign import event_ndim_of

__all__ = ["L1", "L2", "MCP", "SCAD", "ElasticNet", "GroupL2", "NegativeLogDensity", "NoPenalty", "Penalty",
           "TotalVariation"]  # fmt: skip


class Penalty:
    """A penalty of parameters, in nats; subclasses give ``value`` and the prior."""

    convex: bool = True
    proper: bool = True
    """Whether it is minus the logarithm of a density, up to a constant."""

    def value(self, theta: ArrayLike) -> jax.Array:
        """Penalty of parameters, shape ``(*batch, d) -> (*batch,)``; a number has that of one coefficient."""
        raise NotImplementedError

    def __call__(self, theta: ArrayLike) -> jax.Array:
        """The same as :meth:`value`."""
        return self.value(theta)

    def distribution(self) -> dist.Distribution | None:
        """The prior with this penalty, of one coefficient where they are independent; ``None`` if it is improper."""
        return None

    def improper(self) -> str:
        """Why there is no prior; empty where there is one."""
        return ""


def _floats(theta: ArrayLike) -> jax.Array:
    return jnp.asarray(theta, jnp.result_type(float, theta))


def _total(terms: jax.Array) -> jax.Array:
    return jnp.sum(terms, axis=-1) if terms.ndim else terms


def _size(v: jax.Array) -> jax.Array:
    # |v| as v sign(v), because the derivative of jnp.abs is one-sided at 0.
    return v * jnp.sign(v)


@pytree
class NoPenalty(Penalty):
    """No penalty: maximum likelihood."""

    proper = False

    def value(self, theta: ArrayLike) -> jax.Array:
        """0, in the shape of the batch."""
        return 0 * _total(_floats(theta))

    def distribution(self) -> dist.Distribution:
        """``Flat()``, a prior but no density."""
        return dist.Flat()

    def improper(self) -> str:
        """The reason."""
        return "a constant has an infinite integral; the posterior may be proper all the same"


@pytree
class L2(Penalty):
    r"""Ridge penalty :math:`\tfrac\lambda2\|\theta - c\|_2^2`.

    Args:
        strength: :math:`\lambda > 0`, the precision of the prior.
        center: :math:`c`.
    """

    strength: ArrayLike = 1.0
    center: ArrayLike = 0.0

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class."""
        theta, strength, center = promote(theta, self.strength, self.center)
        return _total(0.5 * strength * jnp.square(theta - center))

    def distribution(self) -> dist.Normal:
        r"""``Normal(center, 1/sqrt(strength))``."""
        return dist.Normal(self.center, 1 / jnp.sqrt(_floats(self.strength)))


@pytree
class L1(Penalty):
    r"""Lasso penalty :math:`\lambda\|\theta - c\|_1`.

    Args:
        strength: :math:`\lambda > 0`, the inverse scale of the prior.
        center: :math:`c`.
    """

    strength: ArrayLike = 1.0
    center: ArrayLike = 0.0

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class."""
        theta, strength, center = promote(theta, self.strength, self.center)
        return _total(strength * _size(theta - center))

    def distribution(self) -> dist.Laplace:
        """``Laplace(center, 1/strength)``."""
        return dist.Laplace(self.center, 1 / _floats(self.strength))


@pytree
class ElasticNet(Penalty):
    r"""Elastic net penalty :math:`\lambda_1\|\theta - c\|_1 + \tfrac{\lambda_2}2\|\theta - c\|_2^2`.

    Args:
        l1: :math:`\lambda_1 > 0`.
        l2: :math:`\lambda_2 > 0`.
        center: :math:`c`.
    """

    l1: ArrayLike = 1.0
    l2: ArrayLike = 1.0
    center: ArrayLike = 0.0

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class."""
        theta, l1, l2, center = promote(theta, self.l1, self.l2, self.center)
        return _total(l1 * _size(theta - center) + 0.5 * l2 * jnp.square(theta - center))

    def distribution(self) -> dist.ElasticNet:
        """``ElasticNet(center, 1/l1, 1/sqrt(l2))``."""
        return dist.ElasticNet(self.center, 1 / _floats(self.l1), 1 / jnp.sqrt(_floats(self.l2)))


@pytree
class GroupL2(Penalty):
    r"""Group lasso penalty :math:`\lambda\|\theta - c\|_2` of one group of coefficients.

    Args:
        strength: :math:`\lambda > 0`.
        center: :math:`c`, shape ``(d,)``; its shape says how many coefficients the prior has.
    """

    strength: ArrayLike
    center: ArrayLike

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class; the gradient at the center is 0."""
        prior = self.distribution()
        theta = _floats(theta)
        return prior.log_prob(jnp.broadcast_to(prior.mean, theta.shape)) - prior.log_prob(theta)

    def distribution(self) -> dist.GroupLaplace:
        """``GroupLaplace(center, 1/strength)``."""
        return dist.GroupLaplace(self.center, 1 / _floats(self.strength))


@pytree
class MCP(Penalty):
    r"""Minimax concave penalty: :math:`\lambda|t| - t^2/2\gamma` to :math:`\gamma\lambda`, then constant.

    Args:
        strength: :math:`\lambda > 0`, the slope at 0.
        gamma: :math:`\gamma > 0`, how slowly the slope fades.
    """

    strength: ArrayLike = 1.0
    gamma: ArrayLike = 3.0

    convex = False
    proper = False

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class."""
        theta, strength, gamma = promote(theta, self.strength, self.gamma)
        size = jnp.minimum(_size(theta), gamma * strength)
        return _total(strength * size - 0.5 * size * size / gamma)

    def improper(self) -> str:
        """The reason."""
        return "it is constant for large coefficients, so that exp(-R) does not decay"


@pytree
class SCAD(Penalty):
    r"""Smoothly clipped absolute deviation: slope λ to λ, fading to 0 at :math:`a\lambda`, then constant.

    Args:
        strength: :math:`\lambda > 0`, the slope at 0.
        a: :math:`a > 2`; 3.7 is customary.
    """

    strength: ArrayLike = 1.0
    a: ArrayLike = 3.7

    convex = False
    proper = False

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class."""
        theta, strength, a = promote(theta, self.strength, self.a)
        size = jnp.minimum(_size(theta), a * strength)
        excess = jnp.maximum(size - strength, 0)
        return _total(strength * size - 0.5 * excess * excess / (a - 1))

    def improper(self) -> str:
        """The reason."""
        return "it is constant for large coefficients, so that exp(-R) does not decay"


@pytree
class TotalVariation(Penalty):
    r"""Total variation :math:`\lambda\sum_i|\theta_{i+1} - \theta_i|` of a sequence, the fused lasso.

    Args:
        strength: :math:`\lambda > 0`.
    """

    strength: ArrayLike = 1.0

    proper = False

    def value(self, theta: ArrayLike) -> jax.Array:
        """See the class; shape ``(*batch, d)`` with d at least 2."""
        return jnp.sum(jnp.asarray(self.strength) * _size(jnp.diff(_floats(theta), axis=-1)), axis=-1)

    def improper(self) -> str:
        """The reason."""
        return "adding a constant to all coefficients costs nothing: improper along it, proper for the differences"


@pytree
class NegativeLogDensity(Penalty):
    """Minus the log-density of a prior that is no named penalty, with its constant.

    Args:
        prior: any distribution.
    """

    prior: dist.Distribution

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Unknown, hence not claimed."""
        return False

    def value(self, theta: ArrayLike) -> jax.Array:
        """Minus the log-density, summed over the last axis where the coefficients are independent."""
        terms = -self.prior.log_prob(_floats(theta))
        return _total(terms) if event_ndim_of(self.prior) == 0 else terms

    def distribution(self) -> dist.Distribution:
        """The prior."""
        return self.prior
