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
    full_coef: bool = static(default=False)
    intercept: bool = static(default=True)

    def __call__(self, params: Any, x: jax.Array, offset: Any = None) -> Categorical:
        """Distribution of the class ids at features ``x`` of shape ``(n, d)``."""
        if self.full_coef:
            if self.intercept:
                intercept = jnp.asarray(params["intercept"])
                params = {"coef": params["coef"], "intercept": self._insert(intercept[None, :])[0]}
            return Categorical(logits=linear_predictor(params, x, self.intercept, offset))
        logits = linear_predictor(params, x, self.intercept, offset)
        return Categorical(logits=logits if self.baseline is None else self._insert(logits))

    def _insert(self, columns: jax.Array) -> jax.Array:
        """The columns of the other classes with zeros for the baseline between them."""
        left, right = columns[:, : self.baseline], columns[:, self.baseline :]
        return jnp.concatenate([left, jnp.zeros_like(columns[:, :1]), right], axis=1)

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: all zero."""
        dtype = jnp.result_type(x, float)
        columns = self.num_classes - (self.baseline is not None)
        width = self.num_classes if self.full_coef else columns
        start = {"coef": jnp.zeros((jnp.shape(x)[1], width), dtype)}
        return start | ({"intercept": jnp.zeros(columns, dtype)} if self.intercept else {})


def softmax_regression(
    num_classes: int, *, baseline: int | None = None, full_coef: bool = False, intercept: bool = True
) -> SoftmaxRegression:
    r"""Class id 0, …, K - 1 with probabilities :math:`\mathrm{softmax}(x^\top B + b)`.

    Without a baseline the parameters are ``coef`` of shape ``(d, K)`` and ``intercept`` of shape ``(K,)``. Adding the
    same vector to all columns changes nothing: with a flat prior a fit is ``UNIDENTIFIED``; a normal prior chooses the
    centered solution for ``coef`` and, if it has one, ``intercept``.

    Args:
        num_classes: K, at least 2.
        baseline: a class id whose logit is held at 0 (R and statsmodels hold the first), so that the parameters, of
            shapes ``(d, K - 1)`` and ``(K - 1,)`` for the other classes in order, are log-odds against it.
        full_coef: with a baseline, whether it holds the intercept only and ``coef`` keeps its shape ``(d, K)``: the
            identified form for a prior that treats all classes alike on ``coef`` and is flat on ``intercept``, as in
            scikit-learn and glmnet.
        intercept: whether there is an ``intercept``.

    Raises:
        ValueError: fewer than two classes, no such class, or ``full_coef`` without a baseline.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but is {num_classes}.")
    if baseline is not None and not 0 <= baseline < num_classes:
        raise ValueError(f"baseline must be a class id from 0 to {num_classes - 1}, but is {baseline}.")
    if full_coef and baseline is None:
        raise ValueError("full_coef says what a baseline holds, but baseline is None, where coef is full anyway.")
    return SoftmaxRegression(num_classes, baseline, full_coef, intercept)
