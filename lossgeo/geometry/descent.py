r"""Mirror descent and natural-gradient descent as optax transformations.

Both replace the Euclidean step by that of a geometry. *Mirror descent* steps in the dual coordinates of a potential,

.. math:: \nabla A(x_{t+1}) = \nabla A(x_t) - \gamma\,g_t
          \quad\Longleftrightarrow\quad x_{t+1} = \arg\min_x \langle g_t, x\rangle + \tfrac1\gamma D_A(x, x_t),

so the iterates stay inside the domain without a projection: with the entropy of the simplex it is exponentiated
gradient. *Natural-gradient descent* solves with a metric, :math:`\theta_{t+1} = \theta_t - \gamma\,G(\theta_t)^{+}g_t`:
for a generalized linear model one step with :math:`\gamma = 1` is one step of Fisher scoring. For an exponential family
the two are one: mirror descent in η with potential A is natural-gradient descent in μ.

Reference: Nemirovski & Yudin (1983); Beck & Teboulle (2003), Operations Research Letters 31; Amari (1998), Neural
Computation 10; Raskutti & Mukherjee (2015), IEEE Transactions on Information Theory 61 (their equivalence).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import broadcast_prefix
from lossgeo.geometry.fisher import natural_gradient
from lossgeo.geometry.potentials import Potential

if TYPE_CHECKING:
    import optax
else:
    from lossgeo import _optax as optax

__all__ = ["MirrorDescentState", "mirror_descent", "natural_gradient_descent", "scale_by_natural_gradient"]

Rate = float | ArrayLike | Callable[[jax.Array], ArrayLike]


class MirrorDescentState(NamedTuple):
    r"""State of :func:`mirror_descent`: the dual coordinates :math:`\nabla A(x)`, like the parameters, and the step."""

    dual: Any
    step: jax.Array


def mirror_descent(potential: Any, learning_rate: Rate) -> "optax.GradientTransformation":
    r"""Mirror descent with the geometry of a potential: steps in :math:`\nabla A(x)`, parameters in x.

    Args:
        potential: the generator A, or a pytree prefix of generators over the parameters; each leaf of the parameters
            holds points of its generator with leading batch axes. ``dual(log_sum_exp)`` keeps probability vectors on
            the simplex, ``negative_entropy`` keeps entries positive, ``dual(log_det)`` keeps matrices definite,
            ``half_squared_norm`` is gradient descent.
        learning_rate: γ > 0, a number or an optax schedule of the step.

    Returns:
        An optax transformation; its ``update`` needs the parameters. It is a whole optimizer, the sign of descent
        included.

    Raises:
        ValueError: a prefix that does not match the parameters, or ``update`` without them.

    Numerics:
        The dual coordinates are the state and the parameters their image. So an entry of a probability vector may
        fall below eps and come back, although adding the update to the parameters rounds it to 0; and parameters that
        are changed by anything else between steps are *set back* to where mirror descent left them.

    Example:
        >>> optimizer = mirror_descent(dual(log_sum_exp), 0.1)  # exponentiated gradient
    """

    def pairs(params: Any) -> list[Potential]:
        return broadcast_prefix(potential, params, lambda v: isinstance(v, Potential), what="potential")

    def init(params: Any) -> MirrorDescentState:
        leaves, tree = jax.tree.flatten(params)
        duals = [a.gradient(x) for a, x in zip(pairs(params), leaves, strict=True)]
        return MirrorDescentState(jax.tree.unflatten(tree, duals), jnp.zeros((), jnp.int32))

    def update(gradients: Any, state: MirrorDescentState, params: Any = None) -> tuple[Any, MirrorDescentState]:
        if params is None:
            raise ValueError("mirror_descent needs the parameters: call update(gradients, state, params).")
        rate = learning_rate(state.step) if callable(learning_rate) else learning_rate
        moved = jax.tree.map(lambda z, g: z - jnp.asarray(rate, z.dtype) * g, state.dual, gradients)
        leaves, tree = jax.tree.flatten(params)
        steps = [a.inverse(z) - x for a, z, x in zip(pairs(params), jax.tree.leaves(moved), leaves, strict=True)]
        return jax.tree.unflatten(tree, steps), MirrorDescentState(moved, state.step + 1)

    return optax.GradientTransformation(init, update)


def scale_by_natural_gradient(
    metric: Callable[..., ArrayLike], *, damping: float = 0.0, rank_tolerance: float | None = None
) -> "optax.GradientTransformationExtraArgs":
    r"""Replace gradients by natural gradients :math:`(G + \delta\,\mathrm{diag}\,G)^{+} g`.

    Args:
        metric: ``(params, **extra) -> (n, n)``, the metric over the flattened parameters at the current point, for
            example a closure of :func:`pullback_metric`. Keywords given to ``update`` (a minibatch) are passed on, but
            for ``value``, ``grad`` and ``value_fn``, which belong to optax's line searches. As a ``solver`` of
            ``lg.fit`` it is called with a tree like the parameters, of their unconstrained coordinates.
        damping: δ ≥ 0, a share of the diagonal of the metric, so that units of the parameters do not matter
            (Levenberg–Marquardt); 0 is the natural gradient itself.
        rank_tolerance: see :func:`natural_gradient`.

    Returns:
        An optax transformation without state; its ``update`` needs the parameters.
    """

    def update(
        gradients: Any,
        state: "optax.EmptyState",
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Any = None,
        **extra: Any,
    ) -> Any:
        if params is None:
            raise ValueError("scale_by_natural_gradient needs the parameters: call update(gradients, state, params).")
        g = jnp.asarray(metric(params, **extra))
        damped = g + damping * jnp.diag(jnp.diagonal(g))
        return natural_gradient(damped, gradients, rank_tolerance=rank_tolerance), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def natural_gradient_descent(
    metric: Callable[..., ArrayLike],
    learning_rate: Rate = 1.0,
    *,
    damping: float = 0.0,
    rank_tolerance: float | None = None,
) -> "optax.GradientTransformationExtraArgs":
    r"""Natural-gradient descent :math:`\theta_{t+1} = \theta_t - \gamma\,G(\theta_t)^{+}g_t`.

    Invariant, step by step to first order, under reparametrization, and exactly under linear changes of coordinates and
    units. Objectives are sums in nats, so that for the expected information of all rows γ = 1 is Fisher scoring.

    Args:
        metric: as for :func:`scale_by_natural_gradient`.
        learning_rate: γ > 0, a number or an optax schedule.
        damping: as for :func:`scale_by_natural_gradient`.
        rank_tolerance: as for :func:`scale_by_natural_gradient`.

    Returns:
        An optax transformation, the sign of descent included.
    """
    scaled = scale_by_natural_gradient(metric, damping=damping, rank_tolerance=rank_tolerance)
    return optax.with_extra_args_support(optax.chain(scaled, optax.scale_by_learning_rate(learning_rate)))
