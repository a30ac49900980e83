"""Softmax (multinomial logistic) regression."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo._pytree import pytree, static
from lossgeo.distributions import Categorical
from lossgeo.models.predictor import linear_predictor

__all__ = ["SoftmaxRegression", "softmax_regression"]


@pytree
class SoftmaxRegression:
    """Multinomial logistic regression; see :func:`softmax_regression`."""

    num_classes: int = static()
    baseline: int | None = static(default=None)

    def __call__(self, params: Any, x: jax.Array, offset: Any = None) -> Categorical:
        """Distribution of the class ids at features ``x`` of shape ``(n, d)``."""
        logits = linear_predictor(params, x, True, offset)
        if self.baseline is not None:
            left, right = logits[:, : self.baseline], logits[:, self.baseline :]
            logits = jnp.concatenate([left, jnp.zeros_like(logits[:, :1]), right], axis=1)
        return Categorical(logits=logits)

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: all zero."""
        dtype = jnp.result_type(x, float)
        columns = self.num_classes - (self.baseline is not None)
        return {"coef": jnp.zeros((jnp.shape(x)[1], columns), dtype), "intercept": jnp.zeros(columns, dtype)}


def softmax_regression(num_classes: int, *, baseline: int | None = None) -> SoftmaxRegression:
    r"""Class id 0, …, K - 1 with probabilities :math:`\mathrm{softmax}(x^\top B + b)`.

    Without a baseline the parameters are ``coef`` of shape ``(d, K)`` and ``intercept`` of shape ``(K,)``. Adding the
    same vector to all columns changes nothing: with a flat prior a fit is ``UNIDENTIFIED``; a normal prior chooses the
    centered solution for ``coef`` and, if it has one, ``intercept``.

    Args:
        num_classes: K, at least 2.
        baseline: a class id whose logit is held at 0 (R and statsmodels hold the first), so that the parameters, of
            shapes ``(d, K - 1)`` and ``(K - 1,)`` for the other classes in order, are log-odds against it.

    Raises:
        ValueError: fewer than two classes, or no such class.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but is {num_classes}.")
    if baseline is not None and not 0 <= baseline < num_classes:
        raise ValueError(f"baseline must be a class id from 0 to {num_classes - 1}, but is {baseline}.")
    return SoftmaxRegression(num_classes, baseline)
