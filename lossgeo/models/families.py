r"""How each family of distributions depends on a linear predictor.

The variance is :math:`\phi\,V(\mu)` with the unit variance :math:`V` and the dispersion :math:`\phi`. The one parameter
that a family adds to the coefficients is its dispersion in the family's own words: ``scale`` :math:`= \sqrt\phi` of the
normal, ``concentration`` :math:`= 1/\phi` of the gamma and the inverse Gaussian.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import links, numerics
from lossgeo._pytree import pytree
from lossgeo.distributions import (
    Bernoulli,
    Beta,
    Binomial,
    Distribution,
    Gamma,
    InverseGaussian,
    NegativeBinomial,
    Normal,
    Poisson,
)
from lossgeo.supports import Support

__all__ = ["FAMILIES", "BinomialCounts", "Counts", "Family"]

INFINITY = float("inf")


@pytree
class Counts(Support):
    """Targets ``(successes, trials)``: integers with ``0 <= successes <= trials``."""

    of_trees: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "(successes, trials), integers with 0 <= successes <= trials"

    def contains(self, x: Any) -> jax.Array:
        """See :meth:`Support.contains`; ``x`` is the pair."""
        successes, trials = counts(x)
        whole = (jnp.floor(successes) == successes) & (jnp.floor(trials) == trials)
        return whole & (successes >= 0) & (successes <= trials)


@pytree
class BinomialCounts(Distribution):
    r"""Binomial distribution of a target ``(successes, trials)``, given the trials.

    .. math:: \log p(y \mid n) = \log\binom{n}{y} + y\log p + (n - y)\log(1 - p), \qquad p = \sigma(z)

    Args:
        logits: log-odds :math:`z` of success, shape ``(n,)``.
    """

    logits: ArrayLike

    @property
    def support(self) -> Support:
        """Pairs of integers, the first not above the second."""
        return Counts()

    def given(self, target: Any) -> Binomial:
        """Distribution of the successes, given the trials of the target."""
        successes, trials = counts(target)
        for name, part in (("successes", successes), ("trials", trials)):
            if part.shape != self.batch_shape:
                raise ValueError(
                    f"{name} must have shape {self.batch_shape}, one for each observation, but have shape {part.shape}."
                )
        return Binomial(trials, logits=self.logits)

    def log_prob(self, y: Any) -> jax.Array:
        """Log-probability of ``(successes, trials)``, shape ``(n,)``."""
        return self.given(y).log_prob(y[0])

    @property
    def mean(self) -> jax.Array:
        """Probability of success: the mean share of successes."""
        return numerics.sigmoid(self.logits)


def counts(target: Any) -> tuple[jax.Array, jax.Array]:
    """The two arrays of a binomial target.

    Raises:
        ValueError: it is not a pair.
    """
    if not isinstance(target, tuple | list) or len(target) != 2:
        raise ValueError(
            f"the target of a binomial model is (successes, trials), but is one {type(target).__name__}. For labels "
            "0 and 1 use distributions.Bernoulli."
        )
    return jnp.asarray(target[0]), jnp.asarray(target[1])


class Family(NamedTuple):
    r"""How a distribution depends on a linear predictor.

    Args:
        canonical: default link.
        build: distribution from the link, the predictor and the nuisance parameter (``None`` if there is none).
        interior: open range of the mean.
        nuisance: name of the positive parameter that the family adds, or ``None``.
        hold: the nuisance parameter of a dispersion.
        dispersion: start value of the dispersion from the mean and the variance of the target.
        unit_variance: :math:`V(\mu)`, or ``None`` where the variance is not a multiple of one.
    """

    canonical: links.Link
    build: Callable[[links.Link, jax.Array, Any], Distribution]
    interior: tuple[float, float]
    unit_variance: Callable[[jax.Array], jax.Array] | None
    nuisance: str | None = None
    hold: Callable[[Any], Any] = lambda dispersion: 1.0 / dispersion
    dispersion: Callable[[jax.Array, jax.Array], jax.Array] = lambda mean, variance: jnp.ones_like(mean)


def _poisson(link: links.Link, eta: jax.Array, nuisance: Any) -> Poisson:
    return Poisson(log_rate=eta) if link == links.log else Poisson(link.inverse(eta))


def _beta(link: links.Link, eta: jax.Array, concentration: Any) -> Beta:
    odds = link.log_odds(eta)
    return Beta(numerics.sigmoid(odds) * concentration, numerics.sigmoid(-odds) * concentration)


def _gamma(link: links.Link, eta: jax.Array, concentration: Any) -> Gamma:
    return Gamma(jnp.broadcast_to(concentration, eta.shape), concentration / link.inverse(eta))


_PROBABILITY = (0.0, 1.0)
_POSITIVE = (0.0, INFINITY)

FAMILIES: dict[type[Distribution], Family] = {
    Normal: Family(
        links.identity,
        lambda link, eta, scale: Normal(link.inverse(eta), scale),
        (-INFINITY, INFINITY),
        jnp.ones_like,
        "scale",
        jnp.sqrt,
        lambda mean, variance: variance,
    ),
    Bernoulli: Family(
        links.logit,
        lambda link, eta, _: Bernoulli(logits=link.log_odds(eta)),
        _PROBABILITY,
        lambda mu: mu * (1 - mu),
    ),
    Binomial: Family(
        links.logit,
        lambda link, eta, _: BinomialCounts(link.log_odds(eta)),
        _PROBABILITY,
        lambda mu: mu * (1 - mu),
    ),
    Poisson: Family(links.log, _poisson, _POSITIVE, lambda mu: mu),
    Gamma: Family(
        links.inverse,
        _gamma,
        _POSITIVE,
        jnp.square,
        "concentration",
        dispersion=lambda mean, variance: variance / jnp.square(mean),
    ),
    InverseGaussian: Family(
        links.inverse_squared,
        lambda link, eta, concentration: InverseGaussian(link.inverse(eta), concentration),
        _POSITIVE,
        lambda mu: mu**3,
        "concentration",
        dispersion=lambda mean, variance: variance / mean**3,
    ),
    NegativeBinomial: Family(
        links.log,
        lambda link, eta, concentration: NegativeBinomial(link.inverse(eta), concentration),
        _POSITIVE,
        None,
        "concentration",
        dispersion=lambda mean, variance: jnp.maximum(variance - mean, 0.01 * mean) / jnp.square(mean),
    ),
    Beta: Family(
        links.logit,
        _beta,
        _PROBABILITY,
        lambda mu: mu * (1 - mu),
        "concentration",
        lambda dispersion: 1.0 / dispersion - 1.0,
        lambda mean, variance: jnp.minimum(variance / (mean * (1 - mean)), 0.9),
    ),
}
