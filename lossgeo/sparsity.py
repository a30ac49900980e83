r"""A posed problem whose many coefficients share one linear predictor and a sparse prior, as working sets need it.

.. math:: F(u) = f(o + Xx,\, v) + \sum_j \{\lambda_j |x_j| + \tfrac12\rho_j x_j^2\}, \qquad x = \beta - c, \quad o = Xc

with :math:`c` and :math:`\lambda` the places and strengths of the kinks, :math:`\rho` the curvatures of an elastic net
(0 for a Laplace prior), and :math:`v` all other coordinates.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo.distributions import ElasticNet, GroupedLaplace, GroupLaplace, Laplace
from lossgeo.posing import kinks
from lossgeo.priors import FunctionPrior, TreePrior
from lossgeo.solvers import Blocks, Problem
from lossgeo.structure import RowDerivatives, depends_on
from lossgeo.supports import Real

__all__ = ["SparseRows", "sparse_rows"]


class SparseRows:
    """The parts of :math:`F`; lives inside one trace. Made by :func:`sparse_rows`."""

    def __init__(self, problem: Problem, leaf: int, index: int):
        """Take apart ``problem`` along predictor ``index``, whose coefficients are leaf ``leaf``."""
        assert isinstance(problem.derivatives, RowDerivatives)
        self._posed, self._structure, self._leaf, self._index = problem.args, problem.derivatives.structure, leaf, index
        u = problem.init
        found = kinks(u, self._posed)
        center, strength = found.center[leaf], found.strength[leaf]
        self._center, self.strength = center, jnp.ravel(strength)
        self.center = jnp.ravel(center)
        block = (self._posed.objective.prior.kinks(self._posed.to_params(u)) or [])[leaf].block
        self.blocks = Blocks(None if block is None else jnp.asarray(block.ravel(), jnp.int32))
        self.is_elastic = isinstance(_prior_of(self._posed, leaf), ElasticNet)
        self.ridge = jnp.ravel(jnp.broadcast_to(_ridge(self._posed, leaf), center.shape)).astype(center.dtype)
        self._v0, self._unravel = ravel_pytree([w for i, w in enumerate(u) if i != leaf])
        before = sum(w.size for w in u[:leaf])
        numbers = np.arange(self._v0.size)
        self.places = (
            np.where(numbers < before, numbers, numbers + self.center.size),
            before + np.arange(self.center.size),
        )
        """Place of each entry of ``v`` and of ``x`` among the ravelled coordinates."""

    def split(self, u: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """``x``, shape ``(d,)``, and ``v``, shape ``(q,)``, of unconstrained coordinates."""
        others = ravel_pytree([w for i, w in enumerate(u) if i != self._leaf])[0]
        return jnp.ravel(u[self._leaf]) - self.center, others.astype(self.center.dtype)

    def join(self, x: jax.Array, v: jax.Array) -> list[jax.Array]:
        """Inverse of :meth:`split`; a coefficient with ``x`` 0 is exactly at its kink."""
        others = self._unravel(v.astype(self._v0.dtype))
        return [*others[: self._leaf], jnp.reshape(self.center + x, self._center.shape), *others[self._leaf :]]

    def design(self) -> jax.Array:
        """:math:`X`, shape ``(n, d)``."""
        return self._structure.designs(self.join(jnp.zeros_like(self.center), self._v0), self._posed)[self._index]

    def loss(self, eta: jax.Array, v: jax.Array) -> jax.Array:
        """:math:`f`: minus the weighted log-likelihood and the rest of the log-prior, in nats."""
        terms, weights = self.terms(eta, v), self._posed.weights
        if weights is not None:
            terms = jnp.asarray(weights, terms.dtype) * terms
        return (self.remainder(v) - jnp.sum(terms)).astype(eta.dtype)

    def terms(self, eta: jax.Array, v: jax.Array) -> jax.Array:
        """Log-likelihood of each row in nats, without weights, shape ``(n,)``."""
        u = self.join(jnp.zeros_like(self.center), v)
        structure, posed = self._structure, self._posed
        designs = structure.designs(u, posed)
        etas = [
            eta[:, None]
            if j == self._index
            else design @ u[p.leaf].reshape(-1)[structure.positions(j).ravel()].reshape(p.shape)
            for j, (design, p) in enumerate(zip(designs, structure.predictors, strict=True))
        ]
        return structure.rest(etas, u, posed)

    def remainder(self, v: jax.Array) -> jax.Array:
        """Minus the log-prior with all coefficients on their kinks, in nats."""
        posed = self._posed
        return -posed.objective.prior.log_prior(posed.to_params(self.join(jnp.zeros_like(self.center), v)))


def sparse_rows(problem: Problem, max_other: int, *, grouped: bool = False) -> SparseRows | None:
    """The parts of a posed problem, or ``None`` if it is of another kind; static.

    Wanted: independent rows; one leaf under a kinked prior, a :class:`lossgeo.distributions.Laplace` or
    :class:`lossgeo.distributions.ElasticNet` whose hyper-parameters are constants; this leaf a vector in a
    linear predictor; at most ``max_other`` other coordinates. With ``grouped`` also a
    :class:`lossgeo.distributions.GroupLaplace` or :class:`lossgeo.distributions.GroupedLaplace`, whose kinks are those
    of blocks.
    """
    posed = problem.args
    if problem.kinks is None or not isinstance(problem.derivatives, RowDerivatives):
        return None
    # A prior of another type may tie all parameters to the design.
    prior = posed.objective.prior
    entries = prior.entries(posed.template) if type(prior) in (TreePrior, FunctionPrior) else None
    if entries is None:
        return None
    kinked = [i for i, entry in enumerate(entries) if getattr(entry.distribution, "kink", None) is not None]
    wanted = (Laplace, ElasticNet) + ((GroupLaplace, GroupedLaplace) if grouped else ())
    if len(kinked) != 1 or not isinstance(entries[kinked[0]].distribution, wanted):
        return None
    leaf = kinked[0]
    index = [j for j, p in enumerate(problem.derivatives.structure.predictors) if p.leaf == leaf]
    if not index or problem.derivatives.structure.predictors[index[0]].shape[1] != 1:
        return None
    if not isinstance(posed.supports[leaf], Real):
        return None
    others = sum(int(np.prod(v.shape)) for i, v in enumerate(problem.init) if i != leaf)
    if others > max_other or any(depends_on(_hyper_parameters(posed, leaf), posed.template)):
        return None
    return SparseRows(problem, leaf, index[0])


def _prior_of(posed: Any, leaf: int) -> Any:
    return posed.objective.prior.entries(posed.template)[leaf].distribution


def _ridge(posed: Any, leaf: int) -> jax.Array:
    """Second derivatives of minus the log-prior of a leaf off its kink."""
    distribution = _prior_of(posed, leaf)
    if isinstance(distribution, ElasticNet):
        return 1.0 / jnp.square(jnp.asarray(distribution.normal_scale))
    return jnp.zeros(())


def _hyper_parameters(posed: Any, leaf: int) -> Any:
    def evaluate(params: Any) -> Any:
        entry = posed.objective.prior.entries(params)[leaf]
        return jax.tree.map(jnp.asarray, jax.tree.leaves(entry.distribution))

    return evaluate
