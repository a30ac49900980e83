"""What a status means for this problem, in words: the parameter or direction, and what to do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo._pytree import path_name
from lossgeo.distributions import EpsilonInsensitive
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.on_simplex import reaches_faces, why_not_in_place
from lossgeo.piecewise import NOISES
from lossgeo.posing import Posed
from lossgeo.solvers import MirrorDescent, Status
from lossgeo.solving import Solution
from lossgeo.supports import Real
from lossgeo.targets import first_value

__all__ = ["coordinate_names", "describe"]

NO_CURVATURE = (
    "The loss has kinks, so that there is no observed information: standard errors are NaN for cov='observed' and "
    "'sandwich'. cov='expected' trusts the density; inference.quantile_covariance serves quantile regression."
)


def coordinate_names(tree: Any, sizes: list[int] | None = None) -> list[str]:
    """Names of the entries of a raveled tree, ``coef[3]``; ``sizes`` where leaves have other numbers of coordinates."""
    names: list[str] = []
    for index, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(tree)[0]):
        shape = np.shape(leaf)
        name = path_name(path) or "params"
        if sizes is not None and sizes[index] != int(np.prod(shape)):
            names += [f"{name}[{k}]" for k in range(sizes[index])]
        elif shape:
            names += [f"{name}[{', '.join(map(str, k))}]" for k in np.ndindex(*shape)]
        else:
            names.append(name)
    return names


def describe(posed: Posed, solution: Solution, tol: float) -> str:
    """One sentence for a converged fit, two or three for any other: what is wrong, where, and what to do."""
    status = Status(int(solution.status))
    c = solution.certificate
    sizes = [leaf.size for leaf in jax.eval_shape(posed.to_unconstrained, posed.template)]
    names = coordinate_names(posed.template, sizes)
    edm, steps = float(solution.edm), int(solution.num_steps)
    # Losses with kinks in the data have a duality gap, and no curvature that would make a standard error.
    kinked = bool(c.finite) and c.hessian is not None and c.hessian.size > 0 and bool(np.all(np.isnan(c.hessian)))
    left = f"{edm:.1e} nats are left ({np.sqrt(2 * max(edm, 0.0)):.1e} standard errors), tol is {tol:.1e}"
    if kinked:
        left = f"the duality gap is {edm:.1e} nats, tol is {tol:.1e}"
    noise, certified = float(c.noise), edm
    if c.gap is not None and c.gap_noise is not None and np.isfinite(c.gap):
        certified, noise = float(c.gap), float(c.gap_noise)
        left = f"the duality gap is {certified:.1e} nats, tol is {tol:.1e}"
    precision = ""
    if np.dtype(c.edm.dtype) == np.float32:
        precision = (
            " The fit runs in float32, which limits it: jax.config.update('jax_enable_x64', True) lifts the limit."
        )

    if status == Status.CONVERGED and certified > tol:
        return (
            f"Converged in {steps} steps to the precision of the arithmetic: {left}, and rounding error alone makes up "
            f"{noise:.1e} nats."
        )
    if status == Status.CONVERGED:
        remark = f" {NO_CURVATURE}" if kinked else ""
        given = solution.plan is None and reaches_faces(posed)
        if kinked and (given or isinstance(getattr(solution.plan, "solver", None), MirrorDescent)):
            remark = f" {_on_the_edge(solution)}"
        return f"Converged in {steps} step{'' if steps == 1 else 's'}: {left}.{remark}"
    if solution.plan is None and status in (Status.MAX_STEPS, Status.STALLED):
        return f"Not at the optimum: {left}. These parameters were given, not fitted; lg.fit can start from them."
    if status == Status.MAX_STEPS:
        return (
            f"Not converged: the budget of {steps} steps ran out; {left}. Raise max_steps, start closer, or let "
            f"solver='auto' choose.{_hint_of_kinks(posed)}"
        )
    if status == Status.INTERRUPTED:
        return f"Interrupted after {steps} steps; {left}. The parameters are those reached."
    if status == Status.STALLED and kinked and np.isinf(edm):
        return (
            f"Not solved: after {steps} steps the objective differs from the convex function with straight pieces that "
            "it was read as: a row with a slope that rises without end, a jump, or kinks of a loss that are told "
            "wrongly. Give another solver, such as solvers.Newton()."
        )
    if status == Status.STALLED:
        return (
            f"Not converged: no step decreases the objective any further after {steps} steps, but {left}. Either "
            "rounding error dominates (rescale the data, use float64) or the objective is not smooth where it "
            f"stands: a kink in the likelihood, a branch, a randomised function.{_hint_of_kinks(posed)}{precision}"
        )
    if status == Status.NOT_FINITE:
        return (
            f"Not converged: the objective, its gradient or its Hessian is not finite after {steps} steps, at or near "
            f"{_values(posed, solution)}. {_faulty_term(posed, solution)}Look for an overflow, a logarithm, a root or "
            "a power of 0 in the log-density; jnp.where around it does not help unless it replaces the argument too."
        )
    if status == Status.NOT_POSITIVE_DEFINITE:
        if float(c.eigenvalue) > 0:
            return (
                f"A flat minimum: along {_direction(solution.direction, names)} the curvature vanishes at the "
                "optimum, so that the estimate has no standard error. Another parametrisation (a power of the "
                "parameter) may have one."
            )
        return (
            f"A saddle, not a minimum: along {_direction(solution.direction, names)} the curvature is negative (least "
            f"eigenvalue {float(c.eigenvalue):.1e} of the equilibrated Hessian). Start elsewhere."
        )
    if status == Status.UNIDENTIFIED and kinked:
        return (
            "Several optima: from the estimates on, the objective does not change along "
            f"{_direction(solution.direction, names)} ({left}). {_list(names, np.asarray(c.null_weight) > 1e-6)} could "
            "take other values within a range. A proper prior picks one; more data, or data without ties, may too."
        )
    if status == Status.UNIDENTIFIED:
        involved = np.asarray(c.null_weight) > 1e-6
        return (
            f"Not identified: the objective does not change along {_direction(solution.direction, names)} (least "
            f"eigenvalue {float(c.eigenvalue):.1e} of the equilibrated Hessian). {_list(names, involved)} cannot be "
            "told apart by these data, to working precision: their estimates are one choice of many. Drop a "
            f"parameter, give it a proper prior, or center the features.{precision}"
        )
    leading = _direction(solution.direction, names, oriented=True)
    if status == Status.SEPARATED:
        what = (
            "The likelihood is monotone (a predictor tells who comes first)"
            if posed.objective.likelihood.can_separate
            else "The classes are separated"
        )
        return (
            f"{what}: the likelihood rises without end along {leading}, so the maximum lies at "
            "infinity and the numbers reached mean nothing. Give the coefficients a proper prior "
            "(distributions.Normal, or Jeffreys for Firth's estimate)."
        )
    furthest = int(np.argmax(np.abs(np.nan_to_num(np.asarray(solution.direction)))))
    name = names[furthest]
    if status == Status.AT_BOUNDARY:
        return (
            f"{name} runs to the edge of its support ({_values(posed, solution, name)}): the optimum lies on the "
            "boundary, where curvature says nothing about uncertainty. Hold it with distributions.Fixed, or give it "
            f"a prior that vanishes there.{_hint_of_faces(posed)}"
        )
    if not isinstance(np.repeat(np.asarray(posed.supports, dtype=object), sizes)[furthest], Real):
        return (
            f"No finite optimum: {name} runs to the edge of its support ({_values(posed, solution, name)}), and the "
            "density grows without bound on the way, as where a scale shrinks around its own effects or a single "
            "observation. Give it a prior that vanishes there, hold it with distributions.Fixed, or integrate the "
            "effects out."
        )
    return (
        f"No finite optimum: the objective keeps decreasing, or stays flat, along {leading}. Give the parameters a "
        "proper prior, or check the sign of the log-density."
    )


def _faulty_term(posed: Posed, solution: Solution) -> str:
    """Which derivative of the log-likelihood is not finite, with respect to what and at which observation."""
    flat, unravel = ravel_pytree(solution.params)

    def terms(v: jax.Array) -> jax.Array:
        return jnp.atleast_1d(posed.objective.log_likelihood(unravel(v), *posed.data))

    def slopes(v: jax.Array, along: jax.Array) -> jax.Array:
        return jax.jvp(terms, (v,), (along,))[1]

    def bends(v: jax.Array, along: jax.Array) -> jax.Array:
        return jax.jvp(lambda w: slopes(w, along), (v,), (along,))[1]

    for name, along in zip(coordinate_names(solution.params)[:16], jnp.eye(flat.size, dtype=flat.dtype), strict=False):
        for order, derivative in (("", slopes), ("second ", bends)):
            values = np.asarray(derivative(flat, along))
            bad = ~np.isfinite(values)
            if bad.any():
                return (
                    f"The {order}derivative of the log-likelihood with respect to {name} is not finite for "
                    f"{int(bad.sum())} of {bad.size} observations, the first at {first_value(values, bad)}. "
                )
    return ""


def _hint_of_kinks(posed: Posed) -> str:
    """What a prior or a model whose noise has kinks that are not resolved would need in order to be solved."""
    tubes = [
        entry.name
        for entry in posed.objective.prior.entries(posed.template) or []
        if isinstance(entry.distribution, EpsilonInsensitive)
    ]
    if tubes:
        return (
            f" The prior of {tubes[0]!r} is EpsilonInsensitive: an optimum at an edge of its tube is a kink that no "
            "solver here resolves. Laplace and ElasticNet have one kink at their center, which all know."
        )
    likelihood, kinds = posed.objective.likelihood, []
    if not isinstance(likelihood, ModelLikelihood):
        return ""

    def evaluate(params: Any) -> Any:
        kinds.append(type(likelihood.distribution(params, *posed.data[:-1])))
        return ()

    jax.eval_shape(evaluate, posed.template)
    if kinds[0] not in NOISES:
        return ""
    return (
        f" {kinds[0].__name__} noise has kinks, which solvers.InteriorPoint resolves where the location is linear, the "
        "priors are flat, Normal, Laplace or ElasticNet, and the scale is held (distributions.Fixed) or all priors "
        "are flat."
    )


def _on_the_edge(solution: Solution) -> str:
    """Which probabilities are 0, in words."""
    zero = [
        name
        for path, leaf in jax.tree_util.tree_flatten_with_path(solution.params)[0]
        for name, value in zip(
            coordinate_names({path_name(path) or "params": leaf}), np.ravel(np.asarray(leaf)), strict=True
        )
        if value == 0
    ]
    listed = ", ".join(zero[:8]) + (f" and {len(zero) - 8} more" if len(zero) > 8 else "")
    return (
        f"On a face of the simplex: {listed} {'is' if len(zero) == 1 else 'are'} 0, with multipliers that are not "
        "negative. At the edge of a support estimates have no standard errors: they are NaN."
    )


def _hint_of_faces(posed: Posed) -> str:
    """The solver that reaches the edge, if there is one."""
    if why_not_in_place(posed):
        return ""
    return " solvers.MirrorDescent() reaches that edge, sets weights to 0 there, and certifies them."


def _direction(vector: Any, names: list[str], *, oriented: bool = False) -> str:
    """A direction as a combination of names, largest first; its sign is kept where it is ``oriented``."""
    v = np.nan_to_num(np.asarray(vector, dtype=float))
    size = np.max(np.abs(v), initial=0.0)
    if size == 0.0:
        return "some direction"
    v = v / np.linalg.norm(v)
    order = [k for k in np.argsort(-np.abs(v), kind="stable") if abs(v[k]) > 0.05 * np.max(np.abs(v))]
    if v[order[0]] < 0 and not oriented:
        v = -v
    if len(order) == 1:
        return f"{'' if v[order[0]] > 0 else '-'}{names[order[0]]}"
    terms = [f"{'+' if v[k] > 0 else '-'} {abs(v[k]):.2g} {names[k]}" for k in order[:6]]
    return " ".join(terms).removeprefix("+ ") + (" + ..." if len(order) > 6 else "")


def _list(names: list[str], mask: Any) -> str:
    chosen = [name for name, m in zip(names, mask, strict=True) if m]
    return ", ".join(chosen[:8]) + (f" and {len(chosen) - 8} more" if len(chosen) > 8 else "")


def _values(posed: Posed, solution: Solution, only: str | None = None) -> str:
    """Values of the constrained parameters, or of one: where an overflow shows first."""
    leaves = jax.tree_util.tree_flatten_with_path(solution.params)[0]
    parts = []
    for (path, leaf), support in zip(leaves, posed.supports, strict=True):
        name = path_name(path) or "params"
        values = np.asarray(leaf)
        if only is not None and only.split("[")[0] != name:
            continue
        if only is not None or not isinstance(support, Real) or not np.all(np.isfinite(values)):
            parts.append(f"{name} = {np.array2string(values, precision=3, threshold=6)}")
    if parts:
        return ", ".join(parts)
    size = max((float(np.max(np.abs(np.asarray(leaf)), initial=0.0)) for _, leaf in leaves), default=0.0)
    return f"parameters of size {size:.1e}"
