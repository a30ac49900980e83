"""Any optax gradient transformation as a solver, in one compiled loop."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lossgeo.solvers.certificate import expected_decrease
from lossgeo.solvers.problem import Problem
from lossgeo.solvers.status import RUNNING, Status

if TYPE_CHECKING:
    import optax
else:
    from lossgeo import _optax as optax


def over_tree(
    transform: "optax.GradientTransformation", tree: jax.tree_util.PyTreeDef | None
) -> "optax.GradientTransformationExtraArgs":
    """A transformation of trees, for their lists of leaves: it finds the names and the structure that it was made for.

    ``None`` leaves the parameters as they are.
    """
    full = optax.with_extra_args_support(transform)
    if tree is None:
        return full

    def named(leaves: Any) -> Any:
        return jax.tree.unflatten(tree, leaves)

    def update(updates: Any, state: Any, u: Any = None, *, value_fn: Any, **extra: Any) -> tuple[Any, Any]:
        extra = extra | {"grad": named(extra["grad"]), "value_fn": lambda params: value_fn(jax.tree.leaves(params))}
        updates, state = full.update(named(updates), state, named(u), **extra)
        return jax.tree.leaves(updates), state

    return optax.GradientTransformationExtraArgs(lambda u: full.init(named(u)), update)


class GradientTransformState(NamedTuple):
    """State of :class:`GradientTransform`."""

    u: Any
    value: jax.Array
    inner: Any
    edm: jax.Array
    next_check: jax.Array
    num_steps: jax.Array
    status: jax.Array


@dataclasses.dataclass(frozen=True)
class GradientTransform:
    """Full-batch descent by an optax transformation on the unconstrained parameters.

    The transformation sees a tree like the parameters, with the unconstrained coordinates of each as its leaves: labels
    of ``optax.multi_transform`` and metrics of ``geometry.natural_gradient_descent`` speak of them by name.
    Transformations that need the value (``optax.lbfgs``, ``optax.polyak_sgd``, …) get it. At growing intervals (every
    half as many steps again) the expected decrease is computed; below ``handover`` nats the loop ends, and the
    caller polishes with Newton steps. A transformation that never gets there ends with ``MAX_STEPS``.

    Args:
        transform: e.g. ``optax.adam(1e-2)``. Reuse the object: a new one is a new trace.
        max_steps: default budget.
        first_check: steps before the certificate is computed for the first time.
        handover: expected decrease in nats below which Newton steps take over.
        tree: structure that the transformation sees the leaves in; ``None``, filled in by ``lg.fit`` and ``lg.solve``,
            is that of the problem.
    """

    transform: "optax.GradientTransformation"
    max_steps: int = 10_000
    first_check: int = 50
    handover: float = 1e-4
    tree: jax.tree_util.PyTreeDef | None = None

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "optax gradient transformation"

    def init(self, problem: Problem, tol: jax.Array) -> GradientTransformState:
        """See :class:`lossgeo.solvers.Solver`."""
        value = problem.fun(problem.init, problem.args)
        transform = over_tree(self.transform, self.tree)
        status = jnp.where(jnp.isfinite(value), RUNNING, Status.NOT_FINITE).astype(jnp.int32)
        return GradientTransformState(
            problem.init,
            value,
            transform.init(problem.init),
            jnp.full_like(value, jnp.inf),
            jnp.asarray(self.first_check),
            jnp.asarray(0),
            status,
        )

    def step(self, problem: Problem, state: GradientTransformState, tol: jax.Array) -> GradientTransformState:
        """See :class:`lossgeo.solvers.Solver`."""

        def fun(u: Any) -> jax.Array:
            return problem.fun(u, problem.args)

        value, grad = jax.value_and_grad(fun)(state.u)
        transform = over_tree(self.transform, self.tree)
        updates, inner = transform.update(grad, state.inner, state.u, value=value, grad=grad, value_fn=fun)
        u = jax.tree.map(lambda v, d: v + jnp.asarray(d, v.dtype), state.u, updates)
        num_steps = state.num_steps + 1

        def check() -> tuple[jax.Array, jax.Array]:
            return expected_decrease(dataclasses.replace(problem, init=u)), num_steps + num_steps // 2

        edm, next_check = jax.lax.cond(num_steps >= state.next_check, check, lambda: (state.edm, state.next_check))
        # A step from a non-finite value, or into one, is not taken: what was reached is kept.
        finite = jnp.isfinite(value)
        for leaf in jax.tree.leaves(u):
            finite = finite & jnp.all(jnp.isfinite(leaf))
        u = jax.tree.map(lambda new, old: jnp.where(finite, new, old), u, state.u)
        done = edm <= jnp.maximum(tol, self.handover)
        status = jnp.where(finite, jnp.where(done, Status.CONVERGED, RUNNING), Status.NOT_FINITE)
        return GradientTransformState(u, value, inner, edm, next_check, num_steps, status.astype(jnp.int32))

    def params(self, problem: Problem, state: GradientTransformState) -> Any:
        """See :class:`lossgeo.solvers.Solver`."""
        return state.u
