r"""One convex function, five readings.

A :class:`Potential` is a convex function :math:`A` of Legendre type with its gradient map :math:`\mu = \nabla A(\eta)`,
the inverse of that map and the conjugate :math:`A^*(\mu) = \sup_\eta \langle\eta,\mu\rangle - A(\eta)`. Read as

1. a *log-partition*, it is an exponential family with natural parameter η and mean parameter μ;
2. a *generator*, it gives the Bregman divergence (:mod:`lossgeo.geometry.bregman`);
3. a *loss*, it gives Fenchel–Young: ``log_sum_exp`` gives softmax cross-entropy less the entropy of the target;
4. a *metric*, its Hessian is the Fisher information (:mod:`lossgeo.geometry.fisher`);
5. a *dually flat space*, with straight lines in η (e-geodesics) and in μ (m-geodesics).

``dual(A)`` swaps the two sides and ``dual(dual(A)) is A``. ``potential(fn)`` derives everything from a value alone.
The gallery is in :mod:`lossgeo.geometry.generators`, :mod:`lossgeo.geometry.families` and
:mod:`lossgeo.geometry.matrices`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree, static
from lossgeo.geometry._legendre import (
    ConjugateValue,
    Gauge,
    Gradient,
    NewtonInverse,
    gauge_basis,
    solve_hessian,
    value_with_gradient,
    zeros_start,
)
from lossgeo.geometry._points import floating, over_batch, same_event

__all__ = ["Domain", "Potential", "dual", "everywhere", "potential"]


def _anywhere(x: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(x))


@dataclasses.dataclass(frozen=True)
class Domain:
    """An open convex set of points: a name for people and a predicate for one point (``event -> ()``, boolean)."""

    name: str
    contains_point: Callable[[jax.Array], jax.Array]


everywhere = Domain("all of the space", _anywhere)


@pytree
class Potential:
    r"""A convex function of Legendre type, with its dual.

    Points have ``ndim`` axes (0 a number, 1 a vector, 2 a symmetric matrix); every method accepts leading batch axes,
    never promotes the dtype, and differentiates to any order. The functions of the record are written for one point and
    take ``parameters`` after it: ``value_fn(eta, *parameters)``. Use :func:`potential` to make one.

    Nothing is clipped: outside the domain the result is NaN, infinite or meaningless, and ``domain.contains_point``
    tells. Derivatives of ``value`` and ``conjugate`` *are* ``gradient`` and ``inverse``, by a declared rule.

    Args:
        name: how it is called in tables.
        ndim: number of axes of a point (static).
        value_fn: :math:`A(\eta)`.
        gradient_fn: :math:`\nabla A(\eta) = \mu`.
        inverse_fn: :math:`(\nabla A)^{-1}(\mu)`, orthogonal to the gauge if there is one.
        conjugate_fn: :math:`A^*(\mu)`, with its limits on the closure of the codomain.
        domain: where η lives.
        codomain: where μ lives; relative to the affine hull if there is a gauge.
        gauge_fn: orthonormal directions along which A is affine, ``shape -> (k, *shape)``: the gradient map does not
            see them, so it is a bijection only modulo the gauge. ``None`` if there are none.
        gap_fn: :math:`A(\eta) + A^*(\mu) - \langle\eta,\mu\rangle` in a form that does not cancel; optional.
        parameters: hyper-parameters (leaves), such as a known variance.
        origin: the potential that this one is the dual of; ``None`` otherwise.
    """

    name: str = static()
    ndim: int = static()
    value_fn: Callable[..., jax.Array] = static()
    gradient_fn: Callable[..., jax.Array] = static()
    inverse_fn: Callable[..., jax.Array] = static()
    conjugate_fn: Callable[..., jax.Array] = static()
    domain: Domain = static(default=everywhere)
    codomain: Domain = static(default=everywhere)
    gauge_fn: Gauge | None = static(default=None)
    gap_fn: Callable[..., jax.Array] | None = static(default=None)
    parameters: tuple[Any, ...] = ()
    origin: "Potential | None" = None

    def value(self, eta: ArrayLike) -> jax.Array:
        r""":math:`A(\eta)` in nats; ``(*batch, *event) -> (*batch,)``."""
        return self._each(lambda e: value_with_gradient(self.value_fn, self.gradient_fn, e, self.parameters), eta)

    def gradient(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\mu = \nabla A(\eta)`, the mean map; keeps the shape."""
        return self._each(lambda e: self.gradient_fn(e, *self.parameters), eta)

    def inverse(self, mu: ArrayLike) -> jax.Array:
        r""":math:`\eta = (\nabla A)^{-1}(\mu) = \nabla A^*(\mu)`, orthogonal to the gauge; keeps the shape."""
        return _inverse(self, *floating(mu))

    def conjugate(self, mu: ArrayLike) -> jax.Array:
        r""":math:`A^*(\mu)` in nats; ``(*batch, *event) -> (*batch,)``."""
        return _conjugate(self, *floating(mu))

    def hessian(self, eta: ArrayLike) -> jax.Array:
        r""":math:`\nabla^2 A(\eta)`, the Fisher information and the variance of the statistic.

        ``(*batch, *event, *event)``.
        """
        return _hessian(self, *floating(eta))

    def solve_hessian(self, eta: ArrayLike, rhs: ArrayLike) -> jax.Array:
        r""":math:`(\nabla^2 A(\eta))^{+}\,v`: the pseudo-inverse that the gauge fixes; shape of ``rhs``."""

        def one(e: jax.Array, v: jax.Array) -> jax.Array:
            return solve_hessian(jax.jacfwd(self.gradient_fn)(e, *self.parameters), v, self.gauge_fn)

        return over_batch(one, self.name, (self.ndim, self.ndim), *same_event(self.name, self.ndim, eta, rhs))

    def fix_gauge(self, x: ArrayLike) -> jax.Array:
        r""":math:`\Pi x`: the point without its component along the gauge; the identity if there is none."""
        if self.gauge_fn is None:
            return floating(x)[0]

        def one(v: jax.Array) -> jax.Array:
            basis = gauge_basis(self.gauge_fn, v)
            return v - (basis.T @ (basis @ v.reshape((-1,)))).reshape(v.shape)

        return self._each(one, x)

    def _each(self, fn: Callable[[jax.Array], jax.Array], x: ArrayLike) -> jax.Array:
        return over_batch(fn, self.name, (self.ndim,), *floating(x))


# Compiled as a whole: a Newton loop called by hand would be compiled at every call.
@jax.jit
def _inverse(a: Potential, mu: jax.Array) -> jax.Array:
    return over_batch(lambda m: a.inverse_fn(m, *a.parameters), a.name, (a.ndim,), mu)


@jax.jit
def _conjugate(a: Potential, mu: jax.Array) -> jax.Array:
    def one(m: jax.Array) -> jax.Array:
        return value_with_gradient(a.conjugate_fn, a.inverse_fn, m, a.parameters)

    return over_batch(one, a.name, (a.ndim,), mu)


@jax.jit
def _hessian(a: Potential, eta: jax.Array) -> jax.Array:
    return over_batch(lambda e: jax.jacfwd(a.gradient_fn)(e, *a.parameters), a.name, (a.ndim,), eta)


def dual(a: Potential) -> Potential:
    r"""The potential :math:`A^*`, whose points are mean parameters. ``dual(dual(a)) is a``.

    With a gauge, :math:`A^*` lives on an affine subspace and its derivatives mean something along that subspace only.
    """
    if a.origin is not None:
        return a.origin
    return Potential(
        name=f"dual of {a.name}",
        ndim=a.ndim,
        value_fn=a.conjugate_fn,
        gradient_fn=a.inverse_fn,
        inverse_fn=a.gradient_fn,
        conjugate_fn=a.value_fn,
        domain=a.codomain,
        codomain=a.domain,
        gauge_fn=a.gauge_fn,
        gap_fn=None if a.gap_fn is None else _Swapped(a.gap_fn),
        parameters=a.parameters,
        origin=a,
    )


@dataclasses.dataclass(frozen=True)
class _Swapped:
    fn: Callable[..., jax.Array]

    def __call__(self, first: jax.Array, second: jax.Array, *parameters: Any) -> jax.Array:
        return self.fn(second, first, *parameters)


def potential(
    value: Callable[..., jax.Array],
    *,
    ndim: int,
    gradient: Callable[..., jax.Array] | None = None,
    inverse: Callable[..., jax.Array] | None = None,
    conjugate: Callable[..., jax.Array] | None = None,
    start: Callable[..., jax.Array] = zeros_start,
    domain: Domain = everywhere,
    codomain: Domain = everywhere,
    gauge: Gauge | None = None,
    gap: Callable[..., jax.Array] | None = None,
    parameters: tuple[ArrayLike, ...] = (),
    name: str | None = None,
) -> Potential:
    r"""Make a potential from a convex function; what is not given is derived, exactly.

    A missing gradient is taken by automatic differentiation; a missing inverse by damped Newton on
    :math:`A(\eta) - \langle\eta,\mu\rangle`, differentiated by the implicit-function rule; a missing conjugate from
    both.

    Args:
        value: strictly convex (modulo the gauge) and smooth function of one point, ``value(eta, *parameters) -> ()``.
            Give a module-level function: a fresh lambda is traced anew each time.
        ndim: axes of a point: 0, 1 or 2. Matrix potentials are functions of the symmetric part.
        gradient: :math:`\nabla A`, for one point.
        inverse: :math:`(\nabla A)^{-1}`, for one point.
        conjugate: :math:`A^*`, for one point.
        start: starting point in the domain for Newton, from ``mu``; the origin by default.
        domain: open set of η; the line search stays inside it.
        codomain: open set of μ.
        gauge: orthonormal directions along which A is affine, ``shape -> (k, *shape)``.
        gap: :math:`A(\eta) + A^*(\mu) - \langle\eta,\mu\rangle` without cancellation.
        parameters: hyper-parameters, passed after the point.
        name: name in tables; the function's name by default.

    Returns:
        The potential, in nats.

    Numerics:
        A derived inverse is NaN where Newton does not converge, that is where μ is outside the open codomain.

    Reference: Rockafellar (1970), Convex Analysis, section 26 (functions of Legendre type).
    """
    gradient_fn = Gradient(value) if gradient is None else gradient
    inverse_fn = inverse
    if inverse_fn is None:
        inverse_fn = NewtonInverse(value, gradient_fn, start, domain.contains_point, gauge)
    return Potential(
        name=getattr(value, "__name__", "potential").strip("_") if name is None else name,
        ndim=ndim,
        value_fn=value,
        gradient_fn=gradient_fn,
        inverse_fn=inverse_fn,
        conjugate_fn=ConjugateValue(value, inverse_fn) if conjugate is None else conjugate,
        domain=domain,
        codomain=codomain,
        gauge_fn=gauge,
        gap_fn=gap,
        parameters=tuple(floating(p)[0] for p in parameters),
    )
