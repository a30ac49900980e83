r"""Objectives that are piecewise linear in linear predictors: what is declared, and its proof.

Read off what is declared: a model that returns a ``Laplace``, ``AsymmetricLaplace`` or ``EpsilonInsensitive``
distribution, or a loss that tells its kinks (``losses.hinge``, ``losses.Pinball``, ...), with flat, ``Normal``,
``Laplace`` or ``ElasticNet`` priors; or read off a plain function whose branches (``abs``, ``maximum``, ``where``, see
:mod:`lossgeo.structure.steps`) are those of one linear predictor. That residuals are affine in the coefficients and
slopes free of them is proved from the jaxpr; at the end of every fit the objective itself must agree with the function
that was solved (see :mod:`lossgeo.vertices`).

A scale that is a parameter itself is at the optimum the weighted mean of the losses. Where all priors are flat the
coefficients do not depend on it; beside Laplace priors the two are found in turn (see :mod:`lossgeo.solvers.pieces`).
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lossgeo import supports
from lossgeo.distributions import AsymmetricLaplace, ElasticNet, EpsilonInsensitive, Fixed, Flat, Laplace, Normal
from lossgeo.likelihoods import FunctionLikelihood, ModelLikelihood
from lossgeo.likelihoods.declared import LossOfModel
from lossgeo.losses import MarginLoss, RegressionLoss
from lossgeo.posing import Posed
from lossgeo.priors import FunctionPrior, Tied, TreePrior
from lossgeo.solvers import Pieces, Problem
from lossgeo.structure import Branches, branches, depends_on, is_affine, is_line

__all__ = ["NOISES", "Piecewise", "is_plain", "piecewise", "with_pieces"]


NOISES = (Laplace, AsymmetricLaplace, EpsilonInsensitive)
"""Noise whose minus log-density is piecewise linear in the location."""


class _Kink(NamedTuple):
    """One kink for each observation: distances from it and the slopes on either side; all of shape ``(n,)``."""

    residual: jax.Array
    low: jax.Array
    high: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Piecewise:
    """How a posed problem is piecewise linear; static. Made by :func:`piecewise`.

    Args:
        scale: index of the leaf that is the scale of the noise, or ``None`` where that is held.
        absolute: whether a prior has a kink.
        words: what was found.
    """

    scale: int | None
    absolute: bool
    words: str

    def coefficients(self, u: list[jax.Array]) -> jax.Array:
        """All coordinates but the scale, shape ``(p,)``."""
        return ravel_pytree([v for i, v in enumerate(u) if i != self.scale])[0]

    def join(self, like: list[jax.Array], z: jax.Array, scale: Any = None) -> list[jax.Array]:
        """Coordinates from those of :meth:`coefficients` and the scale, by default that of ``like``."""
        rest = iter(ravel_pytree([v for i, v in enumerate(like) if i != self.scale])[1](z))
        held = like[self.scale] if scale is None and self.scale is not None else scale
        return [held if i == self.scale else next(rest) for i in range(len(like))]

    def pieces(self, posed: Posed) -> Pieces:
        """The function that is minimised, for unit scale where the scale is a parameter; times it beside a penalty."""
        u = jax.eval_shape(posed.to_unconstrained, posed.template)
        like = [jnp.zeros(v.shape, v.dtype) for v in u]
        origin = self.coefficients(like)

        def residuals(z: jax.Array) -> jax.Array:
            kinks = _kinks(posed, self.join(like, z), unit=self.scale is not None)
            return jnp.concatenate([k.residual for k in kinks]).astype(z.dtype)

        offset, push = jax.linearize(residuals, origin)
        rows = jax.vmap(push, out_axes=1)(jnp.eye(origin.shape[0], dtype=origin.dtype))
        kinks = _kinks(posed, like, unit=self.scale is not None)
        low, high = (jnp.concatenate([getattr(k, name) for k in kinks]) for name in ("low", "high"))
        if posed.weights is not None:
            weights = jnp.tile(posed.weights, len(kinks)).astype(low.dtype)
            low, high = weights * low, weights * high
        absolute, center, strength = self._penalties(posed, u)
        scale = total = None
        if self.absolute and self.scale is not None:
            scale = jnp.reshape(jax.tree.leaves(posed.template)[self.scale], ()).astype(origin.dtype)
            absolute, total = scale * absolute, self.num_observed(posed).astype(origin.dtype)
        if not self.absolute:
            return Pieces(rows, -offset, low.astype(origin.dtype), high.astype(origin.dtype), strength, center)
        return Pieces(
            jnp.concatenate([rows, jnp.eye(origin.shape[0], dtype=origin.dtype)]),
            jnp.concatenate([-offset, center]),
            jnp.concatenate([low.astype(origin.dtype), -absolute]),
            jnp.concatenate([high.astype(origin.dtype), absolute]),
            strength,
            center,
            scale,
            total,
            rows.shape[0],
        )

    def _penalties(self, posed: Posed, u: list[Any]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Strength of the kinks of the prior, its centers, and the strength of its quadratic, shape ``(p,)`` each."""
        columns: list[list[jax.Array]] = [[], [], []]
        for index, (entry, v) in enumerate(zip(posed.objective.prior.entries(posed.template) or [], u, strict=True)):
            if index != self.scale:
                for column, value in zip(columns, _penalty(entry.distribution), strict=True):
                    column.append(jnp.broadcast_to(jnp.asarray(value, v.dtype), v.shape))
        absolute, center, strength = (ravel_pytree(column)[0] for column in columns)
        return absolute, center, strength

    def num_observed(self, posed: Posed) -> jax.Array:
        """Sum of the weights of the observations."""
        n = posed.data[-1].shape[0]
        return jnp.asarray(float(n)) if posed.weights is None else jnp.sum(posed.weights)


def piecewise(problem: Problem) -> Piecewise | None:
    """How a posed problem is piecewise linear, or ``None`` where it cannot be shown to be; static."""
    posed = problem.args
    prior = posed.objective.prior
    if not problem.init or not posed.data or not isinstance(posed.data[-1], jax.Array) or posed.data[-1].ndim != 1:
        return None
    if type(prior) not in (TreePrior, FunctionPrior):
        return None
    entries = prior.entries(posed.template)
    found = _scale_of(posed)
    if found is None or entries is None:
        return None
    scale, words = found
    u = problem.init
    if not any(v.size for i, v in enumerate(u) if i != scale):  # all is held: nothing is left for a linear program
        return None
    for index, (entry, support, v) in enumerate(zip(entries, posed.supports, u, strict=True)):
        kind = type(entry.distribution)
        if v.size == 0 and kind in (Fixed, Tied):
            continue
        if index == scale:
            if kind is not Flat or type(support) is not type(supports.positive) or v.size != 1:
                return None
        elif not isinstance(support, supports.Real) or kind not in (Flat, Normal, Laplace, ElasticNet):
            return None
        elif scale is not None and kind not in (Flat, Laplace):
            return None

    def hyper_parameters(params: Any) -> Any:
        return [jax.tree.map(jnp.asarray, jax.tree.leaves(e.distribution)) for e in prior.entries(params)]

    if any(depends_on(hyper_parameters, posed.template)):
        return None

    def residuals(u: list[jax.Array]) -> list[jax.Array]:
        return [k.residual for k in _kinks(posed, u, unit=scale is not None)]

    def slopes(u: list[jax.Array]) -> list[jax.Array]:
        return [s for k in _kinks(posed, u, unit=scale is not None) for s in (k.low, k.high)]

    if any(depends_on(slopes, u)) or not all(is_affine(residuals, u)):
        return None
    if scale is not None and any(depends_on(lambda v: residuals([*u[:scale], v, *u[scale + 1 :]]), u[scale])):
        return None
    absolute = any(isinstance(entry.distribution, Laplace | ElasticNet) for entry in entries)
    return Piecewise(scale, absolute, words)


def with_pieces(problem: Problem) -> Problem:
    """A posed problem that tells its pieces.

    Raises:
        ValueError: it has none.
    """
    found = piecewise(problem)
    if found is None:
        raise ValueError(
            "solvers.InteriorPoint needs independent rows whose loss is convex and piecewise linear in a linear "
            "predictor, and flat, Normal, Laplace or ElasticNet priors on the real line. Such losses are a model that "
            "returns a Laplace, AsymmetricLaplace or EpsilonInsensitive distribution, and a loss with kinks such as "
            "losses.hinge in lg.pseudo_likelihood. Use solver='auto'."
        )
    return dataclasses.replace(problem, pieces=found.pieces)


def _scale_of(posed: Posed) -> tuple[int | None, str] | None:
    """Leaf that is the scale of the noise (or ``None`` in its place), and the loss in words; ``None`` for others."""
    likelihood = posed.objective.likelihood
    if type(likelihood) is FunctionLikelihood and type(likelihood.fn) is LossOfModel:
        loss = likelihood.fn.loss
        kind = type(loss)
        # A class that changes the value of a loss has to tell its kinks anew.
        if not isinstance(loss, MarginLoss | RegressionLoss) or _owner(kind, "kinks") is not _owner(kind, "value"):
            return None
        if loss.kinks() is None:
            return None
        return None, f"the loss {kind.__name__} is piecewise linear"
    if is_plain(posed) and _is_bent(posed):
        return None, "a concave log-likelihood, piecewise linear in a linear predictor"
    if type(likelihood) is not ModelLikelihood:
        return None
    kinds = []

    def scale(params: Any) -> jax.Array:
        distribution = likelihood.distribution(params, *posed.data[:-1])
        kinds.append(type(distribution))
        return distribution.scale if kinds[0] in NOISES else jnp.zeros(())

    jaxpr = jax.make_jaxpr(scale)(posed.template).jaxpr
    if kinds[0] not in NOISES:
        return None
    words = f"{kinds[0].__name__} noise is a loss that is piecewise linear"
    leaf = [i for i, v in enumerate(jaxpr.invars) if v is jaxpr.outvars[0]]
    # The tube of an epsilon-insensitive loss moves with the scale: that has to be held.
    held = not leaf or kinds[0] is EpsilonInsensitive or type(posed.supports[leaf[0]]) is supports.Point
    return (None if held else leaf[0]), words


def _owner(kind: type, name: str) -> type | None:
    return next((c for c in kind.__mro__ if name in vars(c)), None)


def is_plain(posed: Posed) -> bool:
    """Whether the log-likelihood is a function of which nothing is declared."""
    likelihood = posed.objective.likelihood
    return type(likelihood) is FunctionLikelihood and type(likelihood.fn) is not LossOfModel


def _branches(posed: Posed, u: list[jax.Array]) -> Branches | None:
    """The branches of the log-likelihood of each observation."""
    return branches(lambda u: posed.objective.likelihood.log_likelihood(posed.to_params(u), *posed.data), u)


def _parts(posed: Posed, u: list[jax.Array]) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
    """What lies under the steps, where these are, and what they add."""
    found = _branches(posed, u)
    assert found is not None
    return found.base, [s.place for s in found.steps], [s.change for s in found.steps]


def _is_bent(posed: Posed) -> bool:
    """Whether a plain log-likelihood is a concave function of a linear predictor with straight pieces; static."""
    u = jax.eval_shape(posed.to_unconstrained, posed.template)
    bends: list[int] = []

    def shapes(u: list[jax.Array]) -> Any:
        found = _branches(posed, u)
        bends.extend([1] if found is None else [s.bend for s in found.steps])
        return () if found is None else _parts(posed, u)

    leaves = jax.tree.leaves(jax.eval_shape(shapes, u))
    if 1 in bends or any(leaf.shape != posed.data[-1].shape for leaf in leaves):
        return False
    moving = depends_on(lambda u: _parts(posed, u)[1:], u)
    return all(moving) and is_line(lambda u: _parts(posed, u), u)


def _straight_kinks(posed: Posed, u: list[jax.Array]) -> list[_Kink]:
    r"""The kinks of a plain log-likelihood, slopes by slopes along one direction.

    Along a row the loss is :math:`ms + \sum_k d_k \max(s - s_k, 0)`, :math:`d_k > 0`. It is a sum of functions with one
    kink each, decreasing before it and increasing after it, if it falls at first and rises at last: the slope that it
    falls with is shared out among the kinks.
    """
    origin = [jnp.zeros_like(v) for v in u]
    keys = jax.random.split(jax.random.key(0), len(u))
    direction = [jax.random.normal(key, v.shape, v.dtype) for key, v in zip(keys, u, strict=True)]

    base, places, changes = jax.jvp(lambda u: _parts(posed, u), (origin,), (direction,))[1]
    stack = jnp.stack(places)
    rate = jnp.take_along_axis(stack, jnp.argmax(jnp.abs(stack), axis=0)[None, :], axis=0)[0]
    speed = jnp.where(rate != 0, rate, 1.0)
    left = base / speed + sum(jnp.where(p / speed < 0, c, 0.0) / speed for p, c in zip(places, changes, strict=True))
    kinks = []
    for residual, place, change in zip(_parts(posed, u)[1], places, changes, strict=True):
        jump = -change * jnp.sign(place) / jnp.abs(speed)
        low = -jnp.clip(left, 0.0, jump)
        high, left = jump + low, left + low
        turn = place / speed
        size = jnp.where(turn != 0, jnp.abs(turn), 1.0)
        kinks.append(
            _Kink(
                residual,
                jnp.where(turn > 0, low, jnp.where(turn < 0, -high, 0.0)) / size,
                jnp.where(turn > 0, high, jnp.where(turn < 0, -low, 0.0)) / size,
            )
        )
    return kinks


def _kinks(posed: Posed, u: list[jax.Array], *, unit: bool) -> list[_Kink]:
    """The kinks of the loss of each observation; with ``unit`` for noise of scale 1."""
    likelihood, target = posed.objective.likelihood, posed.data[-1]
    if is_plain(posed):
        return _straight_kinks(posed, u)
    params = posed.to_params(u)
    if isinstance(likelihood, FunctionLikelihood):
        loss, model = likelihood.fn.loss, likelihood.fn.model
        prediction = model(params, *posed.data[:-1])
        if isinstance(loss, MarginLoss):
            signs = jnp.where(target == 1, 1, jnp.where(target == 0, -1, jnp.nan)).astype(prediction.dtype)
            residual = signs * prediction
        else:
            residual = target - prediction
        kinks = loss.kinks()
    else:
        distribution = likelihood.distribution(params, *posed.data[:-1])
        scale = jnp.asarray(1.0 if unit else distribution.scale)
        residual = target - distribution.loc
        if isinstance(distribution, AsymmetricLaplace):
            q = jnp.asarray(distribution.quantile)
            kinks = [(0.0, (q - 1) / scale, q / scale)]
        elif isinstance(distribution, EpsilonInsensitive):
            width = jnp.asarray(distribution.epsilon) * scale
            kinks = [(-width, -1 / scale, 0.0), (width, 0.0, 1 / scale)]
        else:
            kinks = [(0.0, -1 / scale, 1 / scale)]
    dtype = jnp.result_type(residual, float)
    shape = target.shape
    return [
        _Kink(
            jnp.broadcast_to(residual - jnp.asarray(place, dtype), shape),
            *(jnp.broadcast_to(jnp.asarray(slope, dtype), shape) for slope in (low, high)),
        )
        for place, low, high in kinks
    ]


def _penalty(distribution: Any) -> tuple[Any, Any, Any]:
    """Strength of the kink, center, and strength of the quadratic of a prior."""
    if isinstance(distribution, Laplace):
        return 1 / jnp.asarray(distribution.scale), distribution.loc, 0.0
    if isinstance(distribution, Normal):
        return 0.0, distribution.loc, 1 / jnp.square(distribution.scale)
    if isinstance(distribution, ElasticNet):
        quadratic = 1 / jnp.square(distribution.normal_scale)
        return 1 / jnp.asarray(distribution.laplace_scale), distribution.loc, quadratic
    return 0.0, 0.0, 0.0
