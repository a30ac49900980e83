"""The weight decay of optax that is the prior of an objective."""

from typing import Any

import jax
import numpy as np

from lossgeo.dictionary.package_call import PackageCall
from lossgeo.distributions import Fixed, Flat, Laplace, Normal
from lossgeo.objective import Objective
from lossgeo.validation import prepare

__all__ = ["to_optax"]

NOT_ADAMW = (
    "optax.adamw(weight_decay=...) is no posterior mode: it decays the parameters apart from the gradient that it "
    "rescales, so that each is shrunk in proportion to the size of its gradients. Adam with the decay before it is: "
    "optax.chain(optax.add_decayed_weights(...), optax.adam(...))"
)
MEAN = "on the gradient of the mean negative log-likelihood; for the sum multiply by n"


def to_optax(objective: Objective, *data: Any, params: Any = None, weights: Any = None) -> PackageCall:
    r"""The weight decay, next to the mean negative log-likelihood, whose stationary point is the mode of an objective.

    .. math:: \nabla\Bigl[-\frac1n\sum_i\ell_i(\theta)\Bigr] + \lambda\,\theta = 0, \qquad \lambda = \frac{1}{n\tau^2}

    for a normal prior of variance :math:`\tau^2` on :math:`\theta`, whatever the model: a network as well as a line.
    The noise is in the log-likelihood already.

    Args:
        objective: from :func:`lossgeo.map_objective`.
        *data: what the likelihood takes; they tell ``n``.
        params: parameters, which tell the structure; ``None`` if the model knows start values.
        weights: shape ``(n,)``; then ``n`` is their sum, and the mean is the weighted one.

    Returns:
        A :class:`PackageCall` with ``weight_decay`` of each leaf, 0 where the prior is flat. Its ``notes`` say why
        AdamW is not the same.

    Raises:
        ValueError: a prior that no decay is the gradient of.

    Reference: Loshchilov, Hutter (2019), Decoupled weight decay regularization, ICLR, proposition 1.
    """
    params, arrays, weights = prepare(objective, params, data, weights)
    terms = jax.eval_shape(objective.log_likelihood, params, *arrays)
    n = float(np.sum(weights)) if weights is not None else float(np.prod(terms.shape))
    entries = objective.prior.entries(params)
    if entries is None:
        raise ValueError("to_optax needs a prior of distributions, but the prior is a bare log-density.")
    decay = {entry.name or "params": _decay(entry.name, entry.distribution) / n for entry in entries}
    values = sorted(set(decay.values()) - {0.0})
    parts = []
    for value in values:
        names = [name for name, own in decay.items() if own == value]
        mask = "" if len(names) == len(decay) else f", mask={{{', '.join(f'{k!r}: {k in names}' for k in decay)}}}"
        parts.append(f"optax.add_decayed_weights({value!r}{mask})")
    return PackageCall(
        "optax", f"optax.chain({', '.join([*parts, 'optax.sgd(learning_rate)'])})", {"weight_decay": decay},
        (MEAN, NOT_ADAMW) if values else (MEAN,),
    )  # fmt: skip


def _decay(name: str, prior: Any) -> float:
    r""":math:`1/\tau^2`.

    Raises:
        ValueError: the prior is no normal of mean 0 and one variance, and not flat.
    """
    if isinstance(prior, Flat):
        return 0.0
    if isinstance(prior, Laplace):
        raise ValueError(
            f"the prior of {name!r} is Laplace: steps along a subgradient never rest at its kink. Use a proximal step, "
            "or lg.fit, whose zeros are exact."
        )
    if isinstance(prior, Fixed):
        raise ValueError(f"{name!r} is held: leave it out of the parameters of optax (optax.partition).")
    if not isinstance(prior, Normal) or np.any(np.asarray(prior.loc)):
        raise ValueError(
            f"the prior of {name!r} is {type(prior).__name__}, of which decay toward 0 is not the gradient. Minimise "
            "the objective itself: lg.fit(objective, ..., solver=optax.sgd(...))."
        )
    scale = np.asarray(prior.scale, float)
    if np.ptp(scale):
        raise ValueError(f"the prior of {name!r} differs between its entries, but weight decay is one number a leaf.")
    return float(1 / np.ravel(scale)[0] ** 2)
