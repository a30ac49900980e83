"""Generalised linear models: distribution, link and linear predictor."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import links, supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions import Bernoulli, Binomial, Distribution, Normal, Poisson
from lossgeo.models.families import FAMILIES, Family, counts
from lossgeo.models.predictor import linear_predictor, predictor_start

__all__ = ["GLM", "glm", "linear_regression", "logistic_regression", "poisson_regression"]


@pytree
class GLM:
    """A generalised linear model; see :func:`glm`."""

    family: type[Distribution] = static()
    link: links.Link = static()
    intercept: bool = static(default=True)
    dispersion: ArrayLike | None = None

    @property
    def _family(self) -> Family:
        return FAMILIES[self.family]

    @property
    def _nuisance(self) -> str | None:
        """Name of the parameter that the family adds and that is not held."""
        return self._family.nuisance if self.dispersion is None else None

    @property
    def supports(self) -> dict[str, supports.Support]:
        """Supports of the parameters that the family adds."""
        return {} if self._nuisance is None else {self._nuisance: supports.positive}

    def __call__(self, params: Any, x: jax.Array, offset: Any = None) -> Distribution:
        """Distribution of the target at features ``x`` of shape ``(n, d)``, with an offset on the linear predictor."""
        eta = linear_predictor(params, x, self.intercept, offset)
        held = None if self.dispersion is None else self._family.hold(self.dispersion)
        return self._family.build(self.link, eta, held if self._nuisance is None else params[self._nuisance])

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: the predictor that gives every observation the mean of the target, and the dispersion.

        The link of a mean at the edge of its range is taken half an observation inside it. Without an intercept the
        predictor is the least-squares approximation of that constant.
        """
        *inputs, target = rest
        dtype = jnp.result_type(x, float)
        if self._counts:
            successes, size = (part.astype(dtype) for part in counts(target))
            total, mean = jnp.sum(size), jnp.sum(successes) / jnp.sum(size)
            variance = jnp.ones((), dtype)
        else:
            y = jnp.asarray(target, dtype)
            total, mean, variance = jnp.asarray(y.size, dtype), jnp.mean(y), jnp.var(y)
        low, high = self._family.interior
        margin = 0.5 / total
        inside = jnp.clip(mean, low + margin, high - margin) if low == 0.0 else mean
        params = predictor_start(x, inside, self.link, self.intercept, *inputs)
        if self._nuisance is not None:
            spread = self._family.dispersion(inside, jnp.where(variance > 0, variance, 1.0))
            params[self._nuisance] = jnp.asarray(self._family.hold(spread), dtype)
        return params

    @property
    def _counts(self) -> bool:
        """Whether the target is ``(successes, trials)``."""
        return self.family is Binomial

    def pearson_dispersion(self, params: Any, *data: Any, weights: Any = None) -> jax.Array:
        r"""Pearson's estimate of the dispersion.

        .. math:: \hat\phi = \frac{1}{n - p} \sum_i w_i \frac{(y_i - \mu_i)^2}{V(\mu_i)}

        It is consistent whenever mean and variance function are right, and is what R's ``summary(glm)`` multiplies
        standard errors with: hold it, ``glm(family, link, dispersion=...)``, and refit for those. A value far above 1
        for counts or binary targets says that they vary more than the family can.

        Args:
            params: coefficients, fitted.
            data: ``x``, an offset if there is one, and the target.
            weights: shape ``(n,)``; ``n`` is their sum.

        Raises:
            ValueError: the variance of the family is not a multiple of a unit variance.

        Reference: McCullagh and Nelder (1989), section 2.2.4.
        """
        if self._family.unit_variance is None:
            raise ValueError(
                f"the variance of {self.family.__name__} is not a dispersion times a function of the mean."
            )
        *inputs, target = data
        mu = self.link.inverse(linear_predictor(params, inputs[0], self.intercept, *inputs[1:]))
        size: Any = 1.0
        if self._counts:
            successes, size = (part.astype(mu.dtype) for part in counts(target))
            target = successes / size
        terms = size * jnp.square(target - mu) / self._family.unit_variance(mu)
        n = terms.size if weights is None else jnp.sum(jnp.asarray(weights))
        terms = terms if weights is None else jnp.asarray(weights) * terms
        return jnp.sum(terms) / (n - jnp.size(params["coef"]) - int(self.intercept))


def glm(
    family: type[Distribution],
    link: links.Link | None = None,
    *,
    intercept: bool = True,
    dispersion: ArrayLike | None = None,
) -> GLM:
    r"""Generalised linear model: :math:`y \sim \text{family}` with mean :math:`g^{-1}(x^\top\beta + \beta_0)`.

    ====================  ====================  =================  ================================================
    family                canonical link        adds               target, dispersion :math:`\phi`
    ====================  ====================  =================  ================================================
    ``Normal``            identity              ``scale``          real; :math:`\phi = \text{scale}^2`
    ``Bernoulli``         logit                                    label 0 or 1; :math:`\phi = 1`
    ``Binomial``          logit                                    ``(successes, trials)``; :math:`\phi = 1`
    ``Poisson``           log                                      count; :math:`\phi = 1`
    ``Gamma``             inverse               ``concentration``  positive; :math:`1/\text{concentration}`
    ``InverseGaussian``   inverse_squared       ``concentration``  positive; :math:`1/\text{concentration}`
    ``NegativeBinomial``  log (not canonical)   ``concentration``  count; the same, variance :math:`\mu + \phi\mu^2`
    ``Beta``              logit                 ``concentration``  in (0, 1); :math:`1/(1 + \text{concentration})`
    ====================  ====================  =================  ================================================

    Targets with another variance function have no density here: :func:`tweedie` and :func:`quasi_binomial`.

    Args:
        family: a distribution class of the table.
        link: from ``lossgeo.links``; that of the table by default.
        intercept: whether there is an ``intercept``.
        dispersion: :math:`\phi`, held; by default the parameter that the family adds is estimated with the rest.

    Returns:
        A model ``(params, x, offset=None) -> distribution`` with parameters ``{"coef": (d,), "intercept": ()}`` and
        what the family adds. Binary and binomial log-likelihoods are formed from the log-odds of the linear predictor
        and keep both tails for every link.

    Raises:
        ValueError: ``family`` is not one of these, or a dispersion is given to a family whose is 1.
        TypeError: ``link`` is not a link.

    References: McCullagh and Nelder (1989), chapter 2; for Beta Ferrari and Cribari-Neto (2004), J. Appl. Stat. 31.
    """
    if family not in FAMILIES:
        known = ", ".join(f.__name__ for f in FAMILIES)
        raise ValueError(
            f"family must be one of the distribution classes {known}, but is {family!r}. Any other model is a plain "
            "function: lg.likelihood(lambda params, x: ...)."
        )
    if link is not None and not isinstance(link, links.Link):
        raise TypeError(f"link must be one of lossgeo.links such as links.log, but is {link!r}.")
    found = FAMILIES[family]
    if dispersion is not None and found.nuisance is None:
        raise ValueError(
            f"the dispersion of {family.__name__} is 1, so that with dispersion={dispersion} there is no such density. "
            "Use lg.pseudo_likelihood(models.quasi_binomial()) or lg.pseudo_likelihood(models.tweedie(1)), whose "
            "sandwich standard errors need no dispersion."
        )
    return GLM(family, found.canonical if link is None else link, intercept, dispersion)


def linear_regression(*, intercept: bool = True) -> GLM:
    """Normal target with the identity link; parameters ``coef``, ``intercept``, ``scale``."""
    return glm(Normal, intercept=intercept)


def logistic_regression(*, intercept: bool = True) -> GLM:
    """Label 0 or 1 with the logit link; parameters ``coef``, ``intercept``."""
    return glm(Bernoulli, intercept=intercept)


def poisson_regression(*, intercept: bool = True) -> GLM:
    """Count with the log link; parameters ``coef``, ``intercept``."""
    return glm(Poisson, intercept=intercept)
