r"""Links of generalised linear models: :math:`\eta = g(\mu)` between a mean and a linear predictor.

Each is a frozen record without array fields, with ``link`` (:math:`g`) and ``inverse`` (:math:`g^{-1}`).

================  ==========================================  ==================================
``identity``      :math:`\mu`                                 canonical for the normal
``log``           :math:`\log\mu`                             canonical for the Poisson
``logit``         :math:`\log\frac{\mu}{1-\mu}`               canonical for the Bernoulli
``probit``        :math:`\Phi^{-1}(\mu)`                      latent normal
``cloglog``       :math:`\log(-\log(1-\mu))`                  latent Gumbel; grouped proportional hazards
``inverse``       :math:`1/\mu`                               canonical for the gamma, up to sign
================  ==========================================  ==================================

Reference: McCullagh and Nelder (1989), Generalized Linear Models, section 2.2.3.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.special import logit as logit_function
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike

__all__ = ["Link", "cloglog", "identity", "inverse", "log", "logit", "probit"]


@dataclasses.dataclass(frozen=True)
class Link:
    """The contract of a link."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """Linear predictor of a mean."""
        raise NotImplementedError

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """Mean of a linear predictor."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Identity(Link):
    r""":math:`\eta = \mu`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return jnp.asarray(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return jnp.asarray(eta)


@dataclasses.dataclass(frozen=True)
class Log(Link):
    r""":math:`\eta = \log\mu`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return jnp.log(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return jnp.exp(eta)


@dataclasses.dataclass(frozen=True)
class Logit(Link):
    r""":math:`\eta = \log\frac{\mu}{1-\mu}`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return logit_function(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return jax.nn.sigmoid(eta)


@dataclasses.dataclass(frozen=True)
class Probit(Link):
    r""":math:`\eta = \Phi^{-1}(\mu)`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return ndtri(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return ndtr(eta)


@dataclasses.dataclass(frozen=True)
class CLogLog(Link):
    r""":math:`\eta = \log(-\log(1-\mu))`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return jnp.log(-jnp.log1p(-jnp.asarray(mu)))

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`; accurate where the mean is small."""
        return -jnp.expm1(-jnp.exp(eta))


@dataclasses.dataclass(frozen=True)
class Inverse(Link):
    r""":math:`\eta = 1/\mu`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return 1.0 / jnp.asarray(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return 1.0 / jnp.asarray(eta)


identity = Identity()
log = Log()
logit = Logit()
probit = Probit()
cloglog = CLogLog()
inverse = Inverse()
