r"""Expected (Fisher) information of the parameters of a model, from that of its distribution.

.. math::
    I(\theta) = \sum_i w_i\, J_i^\top F_i\, J_i, \qquad
    J_i = \frac{\partial\,\text{hyper-parameters}_i}{\partial\theta}

The distribution knows its Fisher information :math:`F` in its own hyper-parameters, the model maps parameters to these:
the metric is pulled back. For a generalised linear model it is :math:`X^\top W X` of iteratively reweighted least
squares, for a network the generalised Gauss-Newton matrix.

Reference: Amari (1998), Natural gradient works efficiently in learning, Neural Computation 10.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo.distributions import Distribution
from lossgeo.likelihoods.declared import Likelihood

__all__ = ["fisher_information"]

VECTORS = ("cutpoints",)
"""Hyper-parameters whose last axis never is one of the batch."""


def fisher_information(likelihood: Likelihood, params: Any, *data: Any, weights: Any = None) -> jax.Array:
    r"""Expected information of the parameters in the data, given the inputs.

    The target itself is not used, only its shape (and, for a binomial one, the numbers of trials).

    Args:
        likelihood: ``lg.likelihood(model)`` whose distribution has ``fisher_information``, or finitely many classes.
        params: where, a pytree of floating arrays.
        data: as the likelihood takes them.
        weights: shape ``(n,)``, each counting an observation that often.

    Returns:
        Shape ``(P, P)``, in the order of ``jax.flatten_util.ravel_pytree(params)``; in nats.

    Raises:
        ValueError: only a log-density is known, or its distribution has no Fisher information in closed form.
    """
    flat, unravel = ravel_pytree(params)
    inputs, target = data[:-1], data[-1] if data else None
    found = likelihood.distribution(params, *inputs)
    if not isinstance(found, Distribution):
        known = "only its log-density" if found is None else f"a {type(found).__name__} of another library"
        raise ValueError(
            f"the expected information needs a model that returns one of lossgeo.distributions, but of this likelihood "
            f"{known} is known. Use the observed information."
        )

    def distribution(z: jax.Array) -> Distribution:
        made = likelihood.distribution(unravel(z), *inputs)
        return made.given(target) if hasattr(made, "given") else made

    size = jnp.shape(jax.tree.leaves(target)[0])
    size = size[: len(size) - found.event_ndim]
    try:
        inner = distribution(flat).fisher_information()
    except NotImplementedError as error:
        if getattr(found, "num_classes", None) is None:
            raise ValueError(f"{error} Use the observed information.") from error
        return _of_classes(distribution, flat, size, weights)

    jacobian = jax.jacfwd(lambda z: _hyper_parameters(distribution(z)))(flat)
    if jacobian.shape[:-1] != inner.shape[:-1]:
        raise ValueError(
            f"the Fisher information of {type(found).__name__} has shape {inner.shape}, which does not match its "
            f"hyper-parameters, of shape {jacobian.shape[:-1]}. Use the observed information."
        )
    each = jnp.einsum("...ap,...ab,...bq->...pq", jacobian, inner, jacobian)
    return _sum(each, size, weights)


def _hyper_parameters(distribution: Distribution) -> jax.Array:
    """Hyper-parameters along a new last axis, shape ``(*batch, k)``, in the order of ``fisher_information``."""
    batch = distribution.batch_shape
    parts = []
    for field in dataclasses.fields(distribution):  # type: ignore[arg-type]
        value = getattr(distribution, field.name)
        if value is None or field.name == "total_count" or field.metadata.get("static"):
            continue
        if isinstance(value, Distribution):  # what a composition is made of
            inner = _hyper_parameters(value)
            parts.append(jnp.broadcast_to(inner, (*batch, inner.shape[-1])))
            continue
        array = jnp.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            array = array.astype(float)
        if field.name in distribution.event_axes:
            shape = array.shape[: array.ndim - distribution.event_axes[field.name]]
            parts.append(jnp.broadcast_to(array.reshape(*shape, -1), (*batch, array.size // math.prod(shape))))
            continue
        # An axis of entries of its own: one axis more than the batch has, or cut-points shared by the batch.
        columns = array if array.ndim > len(batch) or field.name in VECTORS else array[..., None]
        parts.append(jnp.broadcast_to(columns, (*batch, columns.shape[-1])))
    return jnp.concatenate(parts, axis=-1)


def _of_classes(distribution: Any, flat: jax.Array, size: tuple[int, ...], weights: Any) -> jax.Array:
    r""":math:`\sum_k p_k\,\nabla\log p_k\,\nabla\log p_k^\top`, over finitely many classes."""

    def log_probs(z: jax.Array) -> jax.Array:
        made = distribution(z)
        classes = [made.log_prob(jnp.full(made.batch_shape, k)) for k in range(made.num_classes)]
        return jnp.stack(classes, axis=-1)

    values, scores = log_probs(flat), jax.jacfwd(log_probs)(flat)
    probs = jnp.exp(values)
    scores = jnp.where((probs > 0)[..., None], scores, 0)
    return _sum(jnp.einsum("...k,...kp,...kq->...pq", probs, scores, scores), size, weights)


def _sum(each: jax.Array, size: tuple[int, ...], weights: Any) -> jax.Array:
    """Weighted sum of the information of all observations, which may share one distribution."""
    batch = each.shape[:-2]
    if not batch:
        rows = jnp.asarray(size[0] if size else 1.0) if weights is None else jnp.sum(jnp.asarray(weights))
        return each * rows * math.prod(size[1:])
    each = jnp.sum(each, axis=tuple(range(1, len(batch))))
    return jnp.sum(each, axis=0) if weights is None else jnp.einsum("n,npq->pq", jnp.asarray(weights, each.dtype), each)
