"""Quasi-likelihoods: a mean and a variance function, and no density."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from lossgeo import links, numerics, supports
from lossgeo._pytree import pytree, static
from lossgeo.models.predictor import linear_predictor, predictor_start

__all__ = ["QuasiGLM", "quasi_binomial", "tweedie"]


@pytree
class Shares(supports.Support):
    """The numbers from 0 to 1, both included: targets, never parameters."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the shares from 0 to 1, ends included"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x >= 0) & (x <= 1)


@pytree
class QuasiGLM:
    """A quasi-log-likelihood ``(params, x, y) -> (n,)``; see :func:`tweedie` and :func:`quasi_binomial`."""

    link: links.Link = static()
    power: float | None = static()
    """Of the variance; ``None`` for the binomial one."""
    intercept: bool = static(default=True)
    dispersion: ArrayLike = 1.0

    def target_support(self) -> supports.Support:
        """Where targets may lie."""
        if self.power is None:
            return Shares()
        if self.power <= 0:
            return supports.real
        return supports.nonnegative if self.power < 2 else supports.positive

    def __call__(self, params: Any, x: Any, *rest: Any) -> jax.Array:
        """Minus half the unit deviance of each target over the dispersion, shape ``(n,)``."""
        *offset, target = rest
        eta = linear_predictor(params, x, self.intercept, *offset)
        y = jnp.asarray(target, eta.dtype)
        if y.shape != eta.shape:
            raise ValueError(
                f"the target has shape {y.shape}, but the linear predictor has {eta.shape}. Both must be (n,)."
            )
        loss = _bernoulli(y, self.link.log_odds(eta)) if self.power is None else self._power(y, eta, self.power)
        return -loss / self.dispersion

    def _power(self, y: jax.Array, eta: jax.Array, p: float) -> jax.Array:
        if p == 0:
            return 0.5 * jnp.square(y - self.link.inverse(eta))
        log_mu = self.link.log_inverse(eta)
        if p == 1:
            return xlogy(y, y) - y * log_mu - (y - jnp.exp(log_mu))
        if p == 2:
            return y * jnp.exp(-log_mu) - 1 - (jnp.log(y) - log_mu)
        # For p < 0 targets may be negative: there the saturated mean is 0 and the constant vanishes.
        constant = jnp.where(y > 0, jnp.where(y > 0, y, 1) ** (2 - p), 0) / ((1 - p) * (2 - p))
        return constant - y * jnp.exp((1 - p) * log_mu) / (1 - p) + jnp.exp((2 - p) * log_mu) / (2 - p)

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: the predictor that gives every observation the mean of the target."""
        *offset, target = rest
        y = jnp.asarray(target, jnp.result_type(x, float))
        mean, margin = jnp.mean(y), 0.5 / y.size
        if self.power is None:
            mean = jnp.clip(mean, margin, 1 - margin)
        elif self.power != 0:
            mean = jnp.maximum(mean, margin)
        return predictor_start(x, mean, self.link, self.intercept, *offset)


def _bernoulli(y: jax.Array, odds: jax.Array) -> jax.Array:
    """Half the deviance of a share: cross-entropy less the entropy of the target."""
    entropy = xlogy(y, y) + xlogy(1 - y, 1 - y)
    return entropy + y * numerics.softplus(-odds) + (1 - y) * numerics.softplus(odds)


def tweedie(
    power: float, link: links.Link = links.log, *, intercept: bool = True, dispersion: ArrayLike = 1.0
) -> QuasiGLM:
    r"""Quasi-log-likelihood with variance :math:`\phi\,\mu^p`, for :func:`lossgeo.pseudo_likelihood`.

    .. math::
        Q(\mu; y) = -\frac{d(y, \mu)}{2\phi}, \qquad \frac{d(y, \mu)}{2} = \int_\mu^y \frac{y - t}{t^p}\,dt
        = \frac{y^{2-p}}{(1-p)(2-p)} - \frac{y\mu^{1-p}}{1-p} + \frac{\mu^{2-p}}{2-p}

    Powers 0, 1, 2, 3 have the variance functions of the normal, Poisson, gamma and inverse Gaussian; those between 1
    and 2 are for amounts with exact zeros (rain, insurance claims). The estimates solve the score equations of the
    exponential dispersion model, whatever its dispersion; its density has no closed form, so that this is a
    pseudo-likelihood: sandwich standard errors, no AIC.

    Args:
        power: :math:`p`, not strictly between 0 and 1 (there is no such family).
        link: from ``lossgeo.links``; ``log`` by default, for every power.
        intercept: whether there is an ``intercept``.
        dispersion: :math:`\phi`; it scales the loss, which matters only next to a prior.

    Returns:
        ``(params, x, y) -> (n,)`` or ``(params, x, offset, y) -> (n,)``, with parameters ``coef`` and ``intercept``.

    Raises:
        ValueError: a power strictly between 0 and 1.

    References: Wedderburn (1974), Biometrika 61; Jorgensen (1987), JRSS B 49.
    """
    if 0 < power < 1:
        raise ValueError(f"power must not lie strictly between 0 and 1, where there is no such family, but is {power}.")
    return QuasiGLM(link, float(power), intercept, dispersion)


def quasi_binomial(link: links.Link = links.logit, *, intercept: bool = True, dispersion: ArrayLike = 1.0) -> QuasiGLM:
    r"""Quasi-log-likelihood with variance :math:`\phi\,\mu(1 - \mu)`, for :func:`lossgeo.pseudo_likelihood`.

    For shares in [0, 1], ends included: fractional regression. With labels 0 and 1 it is the Bernoulli log-likelihood.
    For shares of different numbers of trials give these as ``weights``.

    Args:
        link: from ``lossgeo.links``.
        intercept: whether there is an ``intercept``.
        dispersion: :math:`\phi`; it scales the loss, which matters only next to a prior.

    Returns:
        ``(params, x, y) -> (n,)`` or ``(params, x, offset, y) -> (n,)``, with parameters ``coef`` and ``intercept``.

    References: Wedderburn (1974), Biometrika 61; Papke and Wooldridge (1996), J. Appl. Econometrics 11.
    """
    return QuasiGLM(link, None, intercept, dispersion)
