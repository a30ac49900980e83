r"""A posed problem whose many coefficients share one linear predictor and a sparse prior, as working sets need it.

.. math:: F(u) = f(o + Xx,\, v) + \sum_j \{\lambda_j |x_j| + \tfrac12\rho_j x_j^2\}, \qquad x = \beta - c, \quad o = Xc

with :math:`c` and :math:`\lambda` the places and strengths of the kinks, :math:`\rho` the curvatures of elastic nets
and normal priors (0 for a Laplace prior), and :math:`v` all other coordinates. The coefficients may be several leaves,
whose columns stand side by side. Of group priors the kinks are :math:`\lambda_B\|x_B\|_2`, and the predictor may have
several columns, for coefficients whose groups are their rows.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo.distributions import ElasticNet, Flat, GroupedLaplace, GroupLaplace, Laplace, Normal
from lossgeo.posing import kinks
from lossgeo.priors import FunctionPrior, TreePrior
from lossgeo.solvers import Blocks, Problem
from lossgeo.structure import JointPredictor, RowDerivatives, RowStructure, depends_on, joint_predictor
from lossgeo.supports import Real

__all__ = ["SparseRows", "has_groups", "sparse_rows"]

LARGEST_GROUP = 512
"""Coefficients of a group up to which a few of them make a working set."""


class _Outputs:
    """A linear predictor of several columns in the place of a joint one: its entries are ravelled row by row."""

    def __init__(self, structure: RowStructure, index: int):
        self._structure, self._index = structure, index
        self.leaves = (structure.predictors[index].leaf,)
        self.outputs = structure.predictors[index].shape[1]

    def design(self, u: Sequence[jax.Array], args: Any) -> jax.Array:
        """Columns, each for as many coefficients as there are outputs, shape ``(n, d)``."""
        return self._structure.designs(u, args)[self._index]

    def rest(self, eta: jax.Array, u: Sequence[jax.Array], args: Any) -> jax.Array:
        """Log-densities, shape ``(n,)``, as a function of the predictor and of the other leaves in ``u``."""
        structure = self._structure
        etas = [
            eta.reshape(-1, self.outputs)
            if j == self._index
            else design @ u[p.leaf].reshape(-1)[structure.positions(j).ravel()].reshape(p.shape)
            for j, (design, p) in enumerate(zip(structure.designs(u, args), structure.predictors, strict=True))
        ]
        return structure.rest(etas, u, args)


class SparseRows:
    """The parts of :math:`F`; lives inside one trace. Made by :func:`sparse_rows`."""

    def __init__(self, problem: Problem, predictor: JointPredictor | _Outputs):
        """Take apart ``problem`` along the joint predictor of its coefficients."""
        self._posed, self._predictor, self.leaves = problem.args, predictor, predictor.leaves
        u = problem.init
        found, entries = kinks(u, self._posed), self._posed.objective.prior.entries(self._posed.template)
        own = [entries[i].distribution for i in self.leaves]
        centers = [
            jnp.broadcast_to(jnp.asarray(d.loc, u[i].dtype), u[i].shape) if type(d) is Normal else found.center[i]
            for i, d in zip(self.leaves, own, strict=True)
        ]
        self.center, self._unravel_x = ravel_pytree(centers)
        dtype = self.center.dtype
        self.strength = ravel_pytree([found.strength[i] for i in self.leaves])[0].astype(dtype)
        ridges = [jnp.broadcast_to(_ridge(d), u[i].shape) for i, d in zip(self.leaves, own, strict=True)]
        self.ridge = ravel_pytree(ridges)[0].astype(dtype)
        self.block = _numbers(self._posed, u, self.leaves)
        """Number of the group of each coefficient; ``None`` where each is one; static."""
        self.blocks = Blocks(None if self.block is None else jnp.asarray(self.block))
        self.outputs = predictor.outputs if isinstance(predictor, _Outputs) else 1
        """Columns of the linear predictor; static. Its entries are ravelled row by row."""
        self.is_elastic = any(isinstance(d, ElasticNet | Normal) for d in own)
        self._others = [i for i in range(len(u)) if i not in self.leaves]
        self._v0, self._unravel = ravel_pytree([u[i] for i in self._others])
        flat = [np.full(u[i].size, type(d) is Flat) for i, d in zip(self.leaves, own, strict=True)]
        self.flat = np.flatnonzero(np.concatenate(flat))
        """Which coefficients have a flat prior, static."""
        self.counts = None if self._posed.weights is None else jnp.asarray(self._posed.weights) != 0
        """Rows with a weight that is not 0, shape ``(n,)``; ``None`` for all."""
        ends = np.cumsum([0, *(w.size for w in u)])
        numbers = [np.arange(ends[i], ends[i + 1]) for i in range(len(u))]
        nothing = np.zeros(0, int)
        self.places = (
            np.concatenate([nothing, *(numbers[i] for i in self._others)]),
            np.concatenate([nothing, *(numbers[i] for i in self.leaves)]),
        )
        """Place of each entry of ``v`` and of ``x`` among the ravelled coordinates."""

    def normal(self) -> tuple[np.ndarray, jax.Array, jax.Array]:
        """Which entries of ``v`` have a normal prior, static, its curvatures, 0 elsewhere, and its means."""
        u, entries = self._posed.to_unconstrained(self._posed.template), self._posed.objective.prior.entries
        own = [entries(self._posed.template)[i].distribution for i in self._others]
        known = [type(d) is Normal and _is_plain(self._posed, i) for i, d in zip(self._others, own, strict=True)]
        parts = [
            [jnp.broadcast_to(jnp.asarray(w), u[i].shape) for w in ((_ridge(d), d.loc) if is_known else (0.0, 0.0))]
            for i, d, is_known in zip(self._others, own, known, strict=True)
        ]
        which = [np.full(u[i].size, is_known) for i, is_known in zip(self._others, known, strict=True)]
        ridge, mean = (ravel_pytree([part[k] for part in parts])[0].astype(self.center.dtype) for k in (0, 1))
        return np.flatnonzero(np.concatenate([np.zeros(0, bool), *which])), ridge, mean

    def split(self, u: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """``x``, shape ``(d,)``, and ``v``, shape ``(q,)``, of unconstrained coordinates."""
        own, others = (ravel_pytree([u[i] for i in leaves])[0] for leaves in (self.leaves, self._others))
        return own.astype(self.center.dtype) - self.center, others.astype(self.center.dtype)

    def join(self, x: jax.Array, v: jax.Array) -> list[jax.Array]:
        """Inverse of :meth:`split`; a coefficient with ``x`` 0 is exactly at its kink."""
        parts = dict(zip(self.leaves, self._unravel_x(self.center + x), strict=True))
        parts |= zip(self._others, self._unravel(v.astype(self._v0.dtype)), strict=True)
        return [parts[i] for i in range(len(parts))]

    def design(self) -> jax.Array:
        """:math:`X`, shape ``(n, d)``."""
        return self._predictor.design(self.join(jnp.zeros_like(self.center), self._v0), self._posed)

    def predict(self, x: jax.Array, design: jax.Array) -> jax.Array:
        """:math:`Xx`, ravelled."""
        return design @ x if self.outputs == 1 else jnp.ravel(design @ jnp.reshape(x, (-1, self.outputs)))

    def pull(self, slopes: jax.Array, design: jax.Array) -> jax.Array:
        r""":math:`X^\top s` for slopes along the ravelled predictor, ravelled as the coefficients."""
        return slopes @ design if self.outputs == 1 else jnp.ravel((slopes.reshape(-1, self.outputs).T @ design).T)

    def loss(self, eta: jax.Array, v: jax.Array) -> jax.Array:
        """:math:`f`: minus the weighted log-likelihood and the rest of the log-prior, in nats."""
        terms, weights = self.terms(eta, v), self._posed.weights
        if weights is not None:
            terms = jnp.asarray(weights, terms.dtype) * terms
        return (self.remainder(v) - jnp.sum(terms)).astype(eta.dtype)

    def terms(self, eta: jax.Array, v: jax.Array) -> jax.Array:
        """Log-likelihood of each row in nats, without weights, shape ``(n,)``."""
        return self._predictor.rest(eta, self.join(jnp.zeros_like(self.center), v), self._posed)

    def remainder(self, v: jax.Array) -> jax.Array:
        """Minus the log-prior with all coefficients on their kinks, in nats."""
        posed = self._posed
        return -posed.objective.prior.log_prior(posed.to_params(self.join(jnp.zeros_like(self.center), v)))


def sparse_rows(problem: Problem, max_other: int, *, grouped: bool = False) -> SparseRows | None:
    """The parts of a posed problem, or ``None`` if it is of another kind; static.

    Wanted: independent rows; leaves under a kinked prior, a :class:`lossgeo.distributions.Laplace` or
    :class:`lossgeo.distributions.ElasticNet` whose hyper-parameters are constants; these leaves in one linear
    predictor, as it is or the sum of several; at most ``max_other`` other coordinates. If there are more, leaves under
    a normal or flat prior in this predictor count as coefficients too. With ``grouped`` also a
    :class:`lossgeo.distributions.GroupLaplace` or :class:`lossgeo.distributions.GroupedLaplace`, whose kinks are those
    of blocks, and several columns of the predictor where the blocks are the rows of the leaf.
    """
    posed = problem.args
    if problem.kinks is None or not isinstance(problem.derivatives, RowDerivatives):
        return None
    # A prior of another type may tie all parameters to the design.
    prior = posed.objective.prior
    entries = prior.entries(posed.template) if type(prior) in (TreePrior, FunctionPrior) else None
    if entries is None:
        return None
    wanted = (Laplace, ElasticNet) + ((GroupLaplace, GroupedLaplace) if grouped else ())
    kinked = [i for i, entry in enumerate(entries) if getattr(entry.distribution, "kink", None) is not None]
    if not all(isinstance(entries[i].distribution, wanted) and _is_plain(posed, i) for i in kinked):
        return None
    smooth = [i for i, e in enumerate(entries) if type(e.distribution) in (Normal, Flat) and _is_plain(posed, i)]
    for leaves in (kinked, sorted(kinked + smooth)):
        others = sum(w.size for i, w in enumerate(problem.init) if i not in leaves)
        if others <= max_other:
            found = joint_predictor(problem.derivatives.structure, tuple(leaves), problem.init, posed)
            if found is not None:
                return SparseRows(problem, found)
    by_rows = grouped and len(kinked) == 1 and _by_rows(problem, kinked[0], entries[kinked[0]])
    if by_rows and sum(w.size for i, w in enumerate(problem.init) if i not in kinked) <= max_other:
        return SparseRows(problem, by_rows)
    return None


def has_groups(problem: Problem, max_other: int) -> bool:
    """Whether working sets of groups can solve a posed problem; static."""
    rows = sparse_rows(problem, max_other, grouped=True)
    if rows is None or rows.block is None or rows.is_elastic or rows.flat.size:
        return False
    return int(np.bincount(rows.block).max()) <= LARGEST_GROUP


def _by_rows(problem: Problem, leaf: int, entry: Any) -> _Outputs | None:
    """The predictor of several columns of a leaf ``(features, columns)`` whose rows are groups, if it is one."""
    structure = problem.derivatives.structure  # type: ignore[union-attr]
    index = [j for j, p in enumerate(structure.predictors) if p.leaf == leaf]
    groups = entry.distribution.kink.groups
    if not index or groups is None or len(set(groups)) != 1:
        return None
    places = structure.positions(index[0])
    if jnp.shape(entry.leaf) != places.shape or np.any(places.ravel() != np.arange(places.size)):
        return None
    return _Outputs(structure, index[0])


def _is_plain(posed: Any, leaf: int) -> bool:
    """Whether a leaf is on the real line and the hyper-parameters of its prior are constants."""

    def hyper_parameters(params: Any) -> Any:
        entry = posed.objective.prior.entries(params)[leaf]
        return jax.tree.map(jnp.asarray, jax.tree.leaves(entry.distribution))

    return isinstance(posed.supports[leaf], Real) and not any(depends_on(hyper_parameters, posed.template))


def _ridge(distribution: Any) -> jax.Array:
    """Second derivatives of minus the log-density off its kink."""
    if isinstance(distribution, ElasticNet):
        return 1.0 / jnp.square(jnp.asarray(distribution.normal_scale))
    return 1.0 / jnp.square(jnp.asarray(distribution.scale)) if type(distribution) is Normal else jnp.zeros(())


def _numbers(posed: Any, u: list[jax.Array], leaves: tuple[int, ...]) -> np.ndarray | None:
    """Numbers of the blocks that the coefficients make, or ``None`` where each is one."""
    found = posed.objective.prior.kinks(posed.to_params(u)) or []
    if all(found[i].block is None for i in leaves):
        return None
    ends = np.cumsum([0, *(u[i].size for i in leaves)])
    own = [np.arange(u[i].size) if found[i].block is None else np.ravel(found[i].block) for i in leaves]
    return np.concatenate([end + n for end, n in zip(ends, own, strict=False)]).astype(np.int32)
