r"""Links of generalised linear models: :math:`\eta = g(\mu)` between a mean and a linear predictor.

Each is a frozen record without array fields, with ``link`` (:math:`g`) and ``inverse`` (:math:`g^{-1}`).

====================  ==================================  ============  ========================================
link                  :math:`g(\mu)`                      means         where it is used
====================  ==================================  ============  ========================================
``identity``          :math:`\mu`                         reals         canonical for the normal
``log``               :math:`\log\mu`                     positive      canonical for the Poisson
``logit``             :math:`\log\frac{\mu}{1-\mu}`       (0, 1)        canonical for the Bernoulli
``probit``            :math:`\Phi^{-1}(\mu)`              (0, 1)        latent normal
``cloglog``           :math:`\log(-\log(1-\mu))`          (0, 1)        grouped proportional hazards
``loglog``            :math:`-\log(-\log\mu)`             (0, 1)        ``cloglog`` of the other label
``cauchit``           :math:`\tan(\pi(\mu - \tfrac12))`   (0, 1)        latent Cauchy: outliers in x
``inverse``           :math:`1/\mu`                       not 0         canonical for the gamma, up to sign
``inverse_squared``   :math:`1/\mu^2`                     positive      canonical for the inverse Gaussian
``sqrt``              :math:`\sqrt\mu`                    nonnegative   stabilises Poisson variances
``power(a)``          :math:`\mu^a`, and log for 0        positive      Box-Tweedie families
====================  ==================================  ============  ========================================

Where a link reaches only part of its line (``inverse_squared`` of a negative predictor, ``log`` above 0 for a
probability), the mean there is NaN or outside its range and so is the log-likelihood: solvers take it for a step too
far. ``sqrt`` alone is two-valued: :math:`\eta` and :math:`-\eta` give the same mean.

Two more methods keep the tails. ``log_inverse`` is :math:`\log\mu` and ``log_odds`` is
:math:`\log\frac{\mu}{1-\mu}`, both from :math:`\eta` and not through a mean that has rounded to 0 or 1.

Reference: McCullagh and Nelder (1989), Generalized Linear Models, section 2.2.3; for ``cauchit`` Koenker and Yoon
(2009), J. Econometrics 152.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.special import logit as logit_function
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike

from lossgeo import numerics

__all__ = [
    "Link", "cauchit", "cloglog", "identity", "inverse", "inverse_squared", "log", "logit", "loglog", "power", "probit",
    "sqrt",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Link:
    """The contract of a link. All methods act elementwise."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """Linear predictor of a mean."""
        raise NotImplementedError

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """Mean of a linear predictor."""
        raise NotImplementedError

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """Logarithm of a positive mean; NaN where the mean is negative."""
        return jnp.log(self.inverse(eta))

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """Log-odds of a mean in (0, 1); NaN where the mean is outside."""
        return logit_function(self.inverse(eta))


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

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return jnp.asarray(eta)

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_odds`; NaN for a predictor above 0."""
        eta = jnp.asarray(eta)
        return eta - numerics.log1mexp(-eta)


@dataclasses.dataclass(frozen=True)
class Logit(Link):
    r""":math:`\eta = \log\frac{\mu}{1-\mu}`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return logit_function(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return numerics.sigmoid(eta)

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return -numerics.softplus(-jnp.asarray(eta))

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_odds`."""
        return jnp.asarray(eta)


@dataclasses.dataclass(frozen=True)
class Probit(Link):
    r""":math:`\eta = \Phi^{-1}(\mu)`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return ndtri(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return ndtr(eta)

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return numerics.log_ndtr(eta)

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_odds`."""
        eta = jnp.asarray(eta)
        return numerics.log_ndtr(eta) - numerics.log_ndtr(-eta)


@dataclasses.dataclass(frozen=True)
class CLogLog(Link):
    r""":math:`\eta = \log(-\log(1-\mu))`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return jnp.log(-jnp.log1p(-jnp.asarray(mu)))

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`; accurate where the mean is small."""
        return -jnp.expm1(-jnp.exp(eta))

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return _log1mexp_exp(jnp.asarray(eta))

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_odds`."""
        eta = jnp.asarray(eta)
        return _log1mexp_exp(eta) + jnp.exp(eta)


@dataclasses.dataclass(frozen=True)
class LogLog(Link):
    r""":math:`\eta = -\log(-\log\mu)`, the complementary log-log link of :math:`1 - \mu` at :math:`-\eta`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return -jnp.log(-jnp.log(mu))

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return jnp.exp(-jnp.exp(-jnp.asarray(eta)))

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return -jnp.exp(-jnp.asarray(eta))

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_odds`."""
        return -CLogLog().log_odds(-jnp.asarray(eta))


@dataclasses.dataclass(frozen=True)
class Cauchit(Link):
    r""":math:`\eta = \tan(\pi(\mu - \tfrac12))`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        mu = jnp.asarray(mu)
        # From whichever end is nearer, so that no digits of a small probability are lost.
        low = mu < 0.5
        return jnp.where(low, -1.0, 1.0) / jnp.tan(jnp.pi * jnp.where(low, mu, 1 - mu))

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`; accurate where the mean is small."""
        return jnp.arctan2(1.0, -jnp.asarray(eta)) / jnp.pi

    def log_odds(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_odds`."""
        eta = jnp.asarray(eta)
        return jnp.log(jnp.arctan2(1.0, -eta)) - jnp.log(jnp.arctan2(1.0, eta))


@dataclasses.dataclass(frozen=True)
class Power(Link):
    r""":math:`\eta = \mu^a` for a positive mean and an exponent that is not 0.

    Args:
        exponent: :math:`a`, a Python number: it is part of the model, not a parameter.
    """

    exponent: float

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return jnp.asarray(mu) ** self.exponent

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`; NaN for a negative predictor."""
        eta = jnp.asarray(eta)
        inside = eta >= 0
        return jnp.where(inside, jnp.where(inside, eta, 1) ** (1.0 / self.exponent), jnp.nan)

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return jnp.log(eta) / self.exponent


@dataclasses.dataclass(frozen=True)
class Inverse(Link):
    r""":math:`\eta = 1/\mu`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return 1.0 / jnp.asarray(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return 1.0 / jnp.asarray(eta)

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return -jnp.log(eta)


@dataclasses.dataclass(frozen=True)
class InverseSquared(Link):
    r""":math:`\eta = 1/\mu^2`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return 1.0 / jnp.square(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`; NaN for a negative predictor."""
        return jax.lax.rsqrt(jnp.asarray(eta, jnp.result_type(eta, float)))

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return -0.5 * jnp.log(eta)


@dataclasses.dataclass(frozen=True)
class Sqrt(Link):
    r""":math:`\eta = \sqrt\mu`."""

    def link(self, mu: ArrayLike) -> jax.Array:
        """See :meth:`Link.link`."""
        return jnp.sqrt(mu)

    def inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.inverse`."""
        return jnp.square(eta)

    def log_inverse(self, eta: ArrayLike) -> jax.Array:
        """See :meth:`Link.log_inverse`."""
        return 2.0 * jnp.log(jnp.abs(jnp.asarray(eta)))


def power(exponent: float) -> Link:
    """The power link of an exponent; ``log`` for 0, its limit.

    Raises:
        ValueError: ``exponent`` is not finite.
    """
    if not abs(exponent) < float("inf"):
        raise ValueError(f"exponent must be a finite number, but is {exponent}.")
    return Power(float(exponent)) if exponent else Log()


def _log1mexp_exp(eta: jax.Array) -> jax.Array:
    r""":math:`\log(1 - e^{-e^\eta})`, which is :math:`\eta` far below 0, where :math:`e^\eta` underflows."""
    far = eta < -40
    hazard = jnp.exp(jnp.where(far, 0, eta))
    return jnp.where(far, eta, numerics.log1mexp(hazard))


identity = Identity()
log = Log()
logit = Logit()
probit = Probit()
cloglog = CLogLog()
loglog = LogLog()
cauchit = Cauchit()
inverse = Inverse()
inverse_squared = InverseSquared()
sqrt = Sqrt()
