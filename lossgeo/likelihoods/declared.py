"""Likelihoods: per-observation log-densities of data, as a function of parameters.

A likelihood is made from a *model* that returns a distribution of the target given the inputs, or from a bare
function that returns log-densities. Either way it is a pytree, takes its data as arguments, and yields one term for
each independent observation in nats, never a sum or a mean.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lossgeo._pytree import as_function, pytree, static
from lossgeo.distributions import is_distribution
from lossgeo.distributions.foreign import event_ndim_of, support_of
from lossgeo.losses import MarginLoss
from lossgeo.losses.empirical_risk import RECORDS, comparison
from lossgeo.supports import Support, boolean

__all__ = ["FunctionLikelihood", "Likelihood", "ModelLikelihood", "likelihood", "pseudo_likelihood"]


class Likelihood:
    """The contract of a likelihood."""

    is_density: bool = True
    """Whether the terms are normalised log-densities of the target."""

    has_case_weights: bool = False
    """Whether there is one term for all cases, each of which still has a weight and a score (a partial likelihood)."""

    can_separate: bool = False
    """Whether it is concave in a predictor and bounded by 0: without a maximum only where the predictor is perfect."""

    @property
    def supports(self) -> Any:
        """Supports of the parameters that the model itself knows, a tree prefix; ``None`` for none."""
        return None

    def log_likelihood(self, params: Any, *data: Any) -> jax.Array:
        """Log-densities in nats, shape ``(n,)``, or ``()`` for one dependent unit."""
        raise NotImplementedError

    def total(self, params: Any, *data: Any, weights: Any = None) -> jax.Array:
        """Weighted sum of the terms in nats, shape ``()``.

        Raises:
            ValueError: the weights do not have the shape of the terms.
        """
        terms = self.log_likelihood(params, *data)
        if weights is None:
            return jnp.sum(terms)
        if jnp.shape(weights) != terms.shape:
            raise ValueError(
                f"weights have shape {jnp.shape(weights)}, but the log-likelihood has {terms.shape}: one weight "
                "for each observation."
            )
        return jnp.sum(jnp.asarray(weights, dtype=terms.dtype) * terms)

    def num_cases(self, *data: Any) -> int:
        """Number of cases that have weights, where there is one term for all of them.

        Raises:
            ValueError: there are no such cases.
        """
        raise ValueError("the log-likelihood has no cases other than its terms.")

    def distribution(self, params: Any, *inputs: Any) -> Any:
        """Distribution of the target given the inputs, or ``None`` where only the log-density is known."""
        return None

    def target_support(self, params: Any, *data: Any) -> Support | None:
        """Support of the target; ``None`` where it is not known, or tells nothing of a target that is a tree."""
        return None

    def outside_support(self, params: Any, *data: Any) -> jax.Array | None:
        """Which target values lie outside the support of their distribution; ``None`` where it is not known."""
        support = self.target_support(params, *data)
        return None if support is None else ~support.contains(data[-1])

    def init(self, *data: Any) -> Any:
        """Start values that the model knows for these data.

        Raises:
            ValueError: the model has none.
        """
        raise ValueError("init_params is None, but the model has no init(*data): give start values for its parameters.")


@pytree
class ModelLikelihood(Likelihood):
    """Likelihood of a model ``(params, *inputs) -> distribution``; see :func:`likelihood`."""

    model: Any

    @property
    def supports(self) -> Any:
        """See :attr:`Likelihood.supports`."""
        return getattr(self.model, "supports", None)

    def distribution(self, params: Any, *inputs: Any) -> Any:
        """See :meth:`Likelihood.distribution`."""
        found = _evaluate(self.model, "model", params, inputs)
        if not is_distribution(found):
            raise TypeError(
                f"the model must return a distribution (an object with log_prob), but returned {_describe(found)}. "
                "Pass a function that returns log-densities to map_objective directly, without lg.likelihood."
            )
        return found

    def log_likelihood(self, params: Any, *data: Any) -> jax.Array:
        """See :meth:`Likelihood.log_likelihood`."""
        inputs, target = _split(data)
        distribution = self.distribution(params, *inputs)
        check_target_shape(distribution, target)
        terms = jnp.asarray(distribution.log_prob(target))
        shape = _array_shape(target)
        if shape is not None and terms.shape != shape[: terms.ndim]:
            raise ValueError(
                f"the target has shape {shape}, but its log-density under the model's {type(distribution).__name__} "
                f"has shape {terms.shape}: one was broadcast against the other. Reshape the target or the linear "
                "predictor."
            )
        return jnp.sum(terms, axis=tuple(range(1, terms.ndim))) if terms.ndim > 1 else terms

    def target_support(self, params: Any, *data: Any) -> Support | None:
        """See :meth:`Likelihood.target_support`."""
        inputs, target = _split(data)
        support = support_of(self.distribution(params, *inputs))
        return support if _array_shape(target) is not None or support.of_trees else None

    def init(self, *data: Any) -> Any:
        """See :meth:`Likelihood.init`."""
        init = getattr(self.model, "init", None)
        return super().init(*data) if init is None else init(*data)


@pytree
class FunctionLikelihood(Likelihood):
    """Likelihood of a bare function ``(params, *data) -> (n,)`` or ``()``; see :func:`likelihood`."""

    fn: Any
    is_density: bool = static(default=True)

    def log_likelihood(self, params: Any, *data: Any) -> jax.Array:
        """See :meth:`Likelihood.log_likelihood`."""
        terms = _evaluate(self.fn, "log-likelihood", params, data)
        if is_distribution(terms):
            raise TypeError(
                f"the log-likelihood returned the distribution {_describe(terms)}, not log-densities. A model that "
                "returns a distribution becomes a likelihood by lg.likelihood(model)."
            )
        shape = _array_shape(terms)
        if shape is None or len(shape) > 1 or not jnp.issubdtype(jnp.result_type(terms), jnp.floating):
            raise ValueError(
                "the log-likelihood must return floating log-densities of shape (n,), one for each observation, or "
                f"() for one dependent unit, but returned {_describe(terms)}. Sum over the components of an "
                "observation."
            )
        return jnp.asarray(terms)

    def target_support(self, params: Any, *data: Any) -> Support | None:
        """See :meth:`Likelihood.target_support`; known if the function tells (a quasi-likelihood model)."""
        support = getattr(self.fn, "target_support", None)
        return None if support is None else support()

    def init(self, *data: Any) -> Any:
        """See :meth:`Likelihood.init`."""
        init = getattr(self.fn, "init", None)
        return super().init(*data) if init is None else init(*data)


def likelihood(model: Callable[..., Any]) -> ModelLikelihood:
    """Likelihood of a model that returns the distribution of the target.

    Args:
        model: ``(params, *inputs) -> distribution``, a pure function (or callable pytree). The data arguments of the
            objective but the last are its inputs, the last is the target. The distribution is one of
            ``lossgeo.distributions`` or any object with ``log_prob``.

    Returns:
        A likelihood whose terms have shape ``(n,)``: log-densities summed over trailing axes of the target.

    Raises:
        TypeError: at the first evaluation, if the model does not return a distribution.
        ValueError: at the first evaluation, if the shape of the target is not that of the distribution: ``(n,)``
            against ``(n, 1)`` is an error and not ``(n, n)`` densities.
    """
    if not callable(model) or is_distribution(model):
        raise TypeError(f"likelihood wants a function (params, *inputs) -> distribution, but got {_describe(model)}.")
    return ModelLikelihood(as_function(model))


@pytree
class LossOfModel:
    """Minus a loss of the prediction of a model, per observation; see :func:`pseudo_likelihood`."""

    loss: Any
    model: Any

    def __call__(self, params: Any, *data: Any) -> jax.Array:
        """Terms of shape ``(n,)``."""
        inputs, target = _split(data)
        return -comparison(self.loss)(self.model(params, *inputs), target)

    def target_support(self) -> Support | None:
        """Labels 0 and 1 for a margin loss; unknown for another."""
        return boolean if isinstance(self.loss, MarginLoss) else None

    def init(self, *data: Any) -> Any:
        """Start values that the model knows for these data.

        Raises:
            ValueError: it has none.
        """
        init = getattr(self.model, "init", None)
        return Likelihood().init(*data) if init is None else init(*data)


def pseudo_likelihood(fn: Callable[..., Any], model: Callable[..., Any] | None = None) -> FunctionLikelihood:
    """Minus a loss that is *not* a normalised log-density: hinge, exponential, robust, composite.

    It can be fitted and has sandwich standard errors. What needs a density (Fisher standard errors, information
    criteria, likelihood-ratio tests, evidence) is refused with the reason.

    Args:
        fn: ``(params, *data) -> (n,)``, minus the loss of each observation, so that larger is better; or a
            quasi-likelihood of ``lossgeo.models``. With ``model``: a *loss*, smaller is better, that is a margin loss
            (labels 0 and 1), regression loss or deviance of ``lossgeo.losses``, or a function
            ``(prediction, target) -> (n,)``.
        model: ``(params, *inputs) -> prediction`` of shape ``(n,)``, the score of a margin loss.

    Raises:
        TypeError: a loss of ``lossgeo.losses`` without a model.

    Example:
        >>> pseudo_likelihood(losses.squared_hinge, lambda params, x: x @ params["coef"])
    """
    if model is not None:
        return FunctionLikelihood(LossOfModel(as_function(fn), as_function(model)), is_density=False)
    if isinstance(fn, RECORDS):
        raise TypeError(
            f"pseudo_likelihood got the loss {type(fn).__name__} without a model: a loss needs predictions. Write "
            "lg.pseudo_likelihood(loss, lambda params, x: x @ params['coef'])."
        )
    return FunctionLikelihood(as_function(fn), is_density=False)


def check_target_shape(distribution: Any, target: Any) -> None:
    """Raise unless the target has the distribution's shape, or the distribution is one for all observations."""
    shape = _array_shape(target)
    batch = getattr(distribution, "batch_shape", None)
    if shape is None or batch is None:
        return
    event_ndim = event_ndim_of(distribution)
    expected = shape[: len(shape) - event_ndim]
    if tuple(batch) not in ((), expected) or len(shape) < event_ndim:
        name = type(distribution).__name__
        raise ValueError(
            f"the target has shape {shape}, but the model returned a {name} of shape "
            f"{(*batch, *distribution.event_shape)}. Both must agree, so that each observation meets its own density: "
            "reshape the target or the linear predictor (x @ coef has shape (n,) for coef of shape (d,), and (n, 1) "
            "for (d, 1))."
        )


def _split(data: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    if not data:
        raise ValueError("a likelihood needs data: pass the inputs of the model and, last, the target.")
    return data[:-1], data[-1]


def _array_shape(target: Any) -> tuple[int, ...] | None:
    """Shape of a target that is one array; ``None`` for a tree of arrays, whose meaning its distribution knows."""
    leaves = jax.tree.leaves(target)
    return jnp.shape(target) if len(leaves) == 1 and leaves[0] is target else None


def _evaluate(fn: Callable[..., Any], what: str, params: Any, data: tuple[Any, ...]) -> Any:
    try:
        return fn(params, *data)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        text = str(error).rstrip(".")
        advice = ""
        if "positional argument" in text:
            advice = (
                " A model is called with the parameters and all data but the target, and wants lg.likelihood(model) "
                "around it; a bare log-likelihood is called with all data."
            )
        raise ValueError(
            f"the {what} could not be evaluated: {type(error).__name__}: {text}. It was called with params "
            f"{_describe(params)} and data {', '.join(_describe(d) for d in data) or 'none'}.{advice}"
        ) from error


def _describe(value: Any) -> str:
    """Shapes and dtypes of a tree, on one line."""

    def leaf(v: Any) -> str:
        if hasattr(v, "shape") and hasattr(v, "dtype"):
            return f"{v.dtype}{list(v.shape)}"
        return type(v).__name__

    return str(jax.tree.map(leaf, value)).replace("'", "") if jax.tree.leaves(value) else repr(value)
