"""Ordinal regression: cumulative link models."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo import links, supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions import Distribution, OrderedLogistic, OrderedProbit
from lossgeo.models.predictor import linear_predictor

__all__ = ["OrdinalRegression", "ordinal_regression"]

_LATENT: dict[links.Link, Any] = {links.logit: OrderedLogistic, links.probit: OrderedProbit}


@pytree
class OrdinalRegression:
    """A cumulative link model; see :func:`ordinal_regression`."""

    num_classes: int = static()
    link: links.Link = static()

    @property
    def supports(self) -> dict[str, supports.Support]:
        """The cut-points increase."""
        return {"cutpoints": supports.ordered}

    def __call__(self, params: Any, x: jax.Array, offset: Any = None) -> Distribution:
        """Distribution of the class ids at features ``x`` of shape ``(n, d)``."""
        return _LATENT[self.link](linear_predictor(params, x, False, offset), params["cutpoints"])

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: no effect, and the cut-points of the shares of the classes, half an observation added to each.

        Adding keeps them in order when a class is empty.
        """
        dtype = jnp.result_type(x, float)
        y = jnp.asarray(rest[-1])
        ids = jnp.arange(self.num_classes - 1, dtype=dtype)
        below = jnp.sum(y[:, None] <= ids[None, :], axis=0)
        shares = (below + 0.5 * (ids + 1)) / (y.size + 0.5 * self.num_classes)
        return {"coef": jnp.zeros(jnp.shape(x)[1], dtype), "cutpoints": self.link.link(shares).astype(dtype)}


def ordinal_regression(num_classes: int, link: links.Link = links.logit) -> OrdinalRegression:
    r"""Ordered class id 0, …, K - 1: :math:`g\bigl(P(y \le k)\bigr) = c_k - x^\top\beta`.

    With the logit link proportional odds, with the probit link a normal latent variable. The cut-points take the place
    of an intercept. Parameters ``coef`` of shape ``(d,)`` and increasing ``cutpoints`` of shape ``(K - 1,)``, in the
    sign convention of R's ``polr`` and ``clm``.

    Args:
        num_classes: K, at least 2.
        link: ``links.logit`` or ``links.probit``.

    Raises:
        ValueError: fewer than two classes, or another link.

    Reference: McCullagh (1980), Regression models for ordinal data, JRSS B 42.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but is {num_classes}.")
    if link not in _LATENT:
        raise ValueError(
            f"link must be links.logit or links.probit, but is {link!r}. Any other latent distribution is a plain "
            "function of the parameters that returns dist.Categorical(probs=...)."
        )
    return OrdinalRegression(num_classes, link)
