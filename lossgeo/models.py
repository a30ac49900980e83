r"""Everyday models: generalised linear models and softmax regression, ready for :func:`lossgeo.likelihood`.

A model is a callable record ``(params, x) -> distribution``. Its parameters are a plain dictionary: ``coef`` of shape
``(d,)``, ``intercept`` of shape ``()``, and what the family adds (``scale``, ``concentration``), whose supports the
model knows, so that ``lg.map_objective(lg.likelihood(models.linear_regression()))`` is a complete maximum-likelihood
problem.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import links, supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions import Bernoulli, Categorical, Distribution, Gamma, Normal, Poisson

__all__ = [
    "GLM", "SoftmaxRegression", "glm", "linear_regression", "logistic_regression", "poisson_regression",
    "softmax_regression",
]  # fmt: skip


class Family(NamedTuple):
    """How a distribution depends on a linear predictor."""

    canonical: links.Link
    build: Callable[[links.Link, jax.Array, Any], Distribution]
    supports: dict[str, supports.Support]
    interior: tuple[float, float]  # open range of the mean
    moments: Callable[[jax.Array], dict[str, jax.Array]] = lambda y: {}  # what the family adds, at the start


def _bernoulli(link: links.Link, eta: jax.Array, params: Any) -> Bernoulli:
    return Bernoulli(logits=eta) if link == links.logit else Bernoulli(probs=link.inverse(eta))


def _poisson(link: links.Link, eta: jax.Array, params: Any) -> Poisson:
    return Poisson(log_rate=eta) if link == links.log else Poisson(link.inverse(eta))


def _gamma(link: links.Link, eta: jax.Array, params: Any) -> Gamma:
    concentration = params["concentration"]
    return Gamma(concentration, concentration / link.inverse(eta))


def _positive(moment: jax.Array) -> jax.Array:
    """A moment as a start value: 1 for a constant target, which has none."""
    return jnp.where(moment > 0, moment, 1.0)


_INFINITY = float("inf")
_FAMILIES: dict[type[Distribution], Family] = {
    Normal: Family(
        links.identity,
        lambda link, eta, params: Normal(link.inverse(eta), params["scale"]),
        {"scale": supports.positive},
        (-_INFINITY, _INFINITY),
        lambda y: {"scale": _positive(jnp.std(y))},
    ),
    Bernoulli: Family(links.logit, _bernoulli, {}, (0.0, 1.0)),
    Poisson: Family(links.log, _poisson, {}, (0.0, _INFINITY)),
    Gamma: Family(
        links.inverse,
        _gamma,
        {"concentration": supports.positive},
        (0.0, _INFINITY),
        lambda y: {"concentration": _positive(jnp.square(jnp.mean(y) / _positive(jnp.std(y))))},
    ),
}


@pytree
class GLM:
    """A generalised linear model; see :func:`glm`."""

    family: type[Distribution] = static()
    link: links.Link = static()
    intercept: bool = static(default=True)

    @property
    def supports(self) -> dict[str, supports.Support]:
        """Supports of the parameters that the family adds."""
        return dict(_FAMILIES[self.family].supports)

    def __call__(self, params: Any, x: jax.Array, offset: Any = 0.0) -> Distribution:
        """Distribution of the target at features ``x`` of shape ``(n, d)``, with an offset on the linear predictor."""
        eta = jnp.asarray(x) @ params["coef"] + offset
        if self.intercept:
            eta = eta + params["intercept"]
        return _FAMILIES[self.family].build(self.link, eta, params)

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: zero coefficients, the intercept and the family's own parameters by moments of the target.

        The link of a mean at the edge of its range is taken a half observation inside it.
        """
        y = jnp.asarray(rest[-1])
        dtype = jnp.result_type(x, float)
        low, high = _FAMILIES[self.family].interior
        margin = 0.5 / y.size
        inside = jnp.clip(jnp.mean(y), low + margin, high - margin) if low == 0.0 else jnp.mean(y)
        params = {"coef": jnp.zeros(jnp.shape(x)[1], dtype)}
        if self.intercept:
            params["intercept"] = self.link.link(inside).astype(dtype)
        moments = _FAMILIES[self.family].moments(y)
        return params | {name: moments[name].astype(dtype) for name in self.supports}


@pytree
class SoftmaxRegression:
    """Multinomial logistic regression; see :func:`softmax_regression`."""

    num_classes: int = static()

    def __call__(self, params: Any, x: jax.Array) -> Categorical:
        """Distribution of the class ids at features ``x`` of shape ``(n, d)``."""
        return Categorical(logits=jnp.asarray(x) @ params["coef"] + params["intercept"][None, :])

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: all zero."""
        dtype = jnp.result_type(x, float)
        return {
            "coef": jnp.zeros((jnp.shape(x)[1], self.num_classes), dtype),
            "intercept": jnp.zeros(self.num_classes, dtype),
        }


def glm(family: type[Distribution], link: links.Link | None = None, *, intercept: bool = True) -> GLM:
    r"""Generalised linear model: :math:`y \sim \text{family}` with mean :math:`g^{-1}(x^\top\beta + \beta_0)`.

    Args:
        family: a distribution class: ``Normal``, ``Bernoulli``, ``Poisson`` or ``Gamma``.
        link: from ``lossgeo.links``; the canonical link by default.
        intercept: whether there is an ``intercept``.

    Returns:
        A model with parameters ``{"coef": (d,), "intercept": ()}``, plus ``"scale"`` for the normal and
        ``"concentration"`` for the gamma.

    Raises:
        ValueError: ``family`` is not one of these.

    Reference: McCullagh and Nelder (1989), chapter 2.
    """
    if family not in _FAMILIES:
        known = ", ".join(f.__name__ for f in _FAMILIES)
        raise ValueError(
            f"family must be one of the distribution classes {known}, but is {family!r}. Any other model is a plain "
            "function: lg.likelihood(lambda params, x: ...)."
        )
    return GLM(family, _FAMILIES[family].canonical if link is None else link, intercept)


def linear_regression(*, intercept: bool = True) -> GLM:
    """Normal target with the identity link; parameters ``coef``, ``intercept``, ``scale``."""
    return glm(Normal, intercept=intercept)


def logistic_regression(*, intercept: bool = True) -> GLM:
    """Label 0 or 1 with the logit link; parameters ``coef``, ``intercept``."""
    return glm(Bernoulli, intercept=intercept)


def poisson_regression(*, intercept: bool = True) -> GLM:
    """Count with the log link; parameters ``coef``, ``intercept``."""
    return glm(Poisson, intercept=intercept)


def softmax_regression(num_classes: int) -> SoftmaxRegression:
    r"""Class id 0, …, K - 1 with probabilities :math:`\mathrm{softmax}(x^\top B + b)`.

    Parameters ``coef`` of shape ``(d, K)`` and ``intercept`` of shape ``(K,)``. Adding the same vector to all columns
    changes nothing: with a flat prior a fit is ``UNIDENTIFIED``; a normal prior chooses the centered solution for
    ``coef`` and, if it has one, ``intercept``.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but is {num_classes}.")
    return SoftmaxRegression(num_classes)
