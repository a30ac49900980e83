r"""Empirical risk: the mean loss of a model on data, for learners who think of losses and not of likelihoods.

.. math:: \hat R(\theta) = \frac{\sum_i w_i\,\ell(f_\theta(x_i), y_i)}{\sum_i w_i}

The objectives of this package are sums in nats, not means. The same model as an objective is
``lg.map_objective(lg.pseudo_likelihood(loss, model), prior)``, and for :math:`n` observations of weight 1

.. math:: \arg\min_\theta\ \hat R(\theta) + \lambda\|\theta\|^2 = \text{mode under } N(0, \tau^2), \qquad
    \lambda = \frac{1}{2n\tau^2};

the support vector machine of constant :math:`C` is that of the hinge with :math:`\tau^2 = C`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lossgeo._pytree import as_function, pytree
from lossgeo.losses.deviance import DevianceLoss
from lossgeo.losses.margin import MarginLoss
from lossgeo.losses.residual import RegressionLoss

__all__ = ["EmpiricalRisk", "empirical_risk"]

RECORDS = (MarginLoss, RegressionLoss, DevianceLoss)
"""Losses that compare a prediction with a target by ``pointwise``."""


def comparison(loss: Any) -> Callable[[Any, Any], Any]:
    """``(prediction, target) -> (n,)`` of a loss: of a record ``pointwise``, and a function as it is."""
    return loss.pointwise if isinstance(loss, RECORDS) else loss


@pytree
class EmpiricalRisk:
    """The mean loss of a model; see :func:`empirical_risk`."""

    loss: Any
    model: Any

    def pointwise(self, params: Any, *data: Any) -> jax.Array:
        """Loss of each observation, shape ``(n,)``.

        Raises:
            ValueError: no data, or losses that are not one for each observation.
        """
        if not data:
            raise ValueError("an empirical risk needs data: pass the inputs of the model and, last, the target.")
        *inputs, target = data
        terms = jnp.asarray(comparison(self.loss)(self.model(params, *inputs), target))
        if terms.ndim != 1:
            raise ValueError(
                f"the loss must have shape (n,), one value for each observation, but has shape {terms.shape}. Leave "
                "the mean to empirical_risk."
            )
        return terms

    def __call__(self, params: Any, *data: Any, weights: Any = None) -> jax.Array:
        """Weighted mean of the losses, shape ``()``.

        Raises:
            ValueError: the weights do not have the shape of the losses.
        """
        terms = self.pointwise(params, *data)
        if weights is None:
            return jnp.mean(terms)
        if jnp.shape(weights) != terms.shape:
            raise ValueError(
                f"weights have shape {jnp.shape(weights)}, but the losses have {terms.shape}: one weight for each "
                "observation."
            )
        weights = jnp.asarray(weights, terms.dtype)
        return jnp.sum(weights * terms) / jnp.sum(weights)


def empirical_risk(loss: Any, model: Callable[..., Any]) -> EmpiricalRisk:
    """The mean loss of a model on data, as a function ``(params, *data, weights=None) -> ()``.

    Args:
        loss: a margin loss (labels 0 and 1), regression loss or deviance of ``lossgeo.losses``, or a function
            ``(prediction, target) -> (n,)``. ``losses.zero_one`` makes it the error rate.
        model: ``(params, *inputs) -> prediction`` of shape ``(n,)``. The last of the data is the target.

    Returns:
        A pytree, to be called under ``jit``, ``grad`` and ``vmap``. ``pointwise`` has the single losses.

    Raises:
        TypeError: ``loss`` or ``model`` cannot be called.

    Example:
        >>> risk = empirical_risk(losses.hinge, lambda params, x: x @ params["coef"])
        >>> risk({"coef": jnp.zeros(2)}, x, labels)
        Array(1., dtype=float32)
    """
    for name, value in (("loss", loss), ("model", model)):
        if isinstance(value, type) or not callable(value):
            raise TypeError(f"{name} must be a function or a loss such as losses.hinge, but is {value!r}.")
    return EmpiricalRisk(as_function(loss), as_function(model))
