"""Independent multivariate Laplace densities of groups of the entries of one vector: the group lasso of a design."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions.distribution import LOG_2, Distribution, Kink, restrict, sample_shape


@pytree
class GroupedLaplace(Distribution):
    r"""Distribution of a vector whose groups of entries are independent and each ``GroupLaplace``.

    .. math:: \log p(y) = -\sum_k \Bigl\{\frac{\|y_k - \mu_k\|_2}{b_k} + d_k\log b_k
              + \log\frac{2\pi^{d_k/2}\,\Gamma(d_k)}{\Gamma(d_k/2)}\Bigr\}

    with :math:`y_k` the :math:`d_k` entries of group k. As a prior it is the group lasso penalty
    :math:`\sum_k \|\theta_k\|_2/b_k` for coefficients whose groups are told by labels: the levels of a factor, the
    columns of a spline. The usual weights are ``scale = 1 / (strength * sqrt(sizes))``.

    Args:
        groups: label of the group of each entry, d integers in any order; static. Groups are numbered in the order of
            their labels.
        loc: location and mode :math:`\mu`, shape ``(*batch, d)`` or a scalar; the last axis is an event axis.
        scale: :math:`b > 0`, one for each group, shape ``(*batch, num_groups)``, or a scalar.

    Numerics:
        At the kink of a group the gradient is exactly 0 for its entries. Norms neither over- nor underflow.

    Reference: Yuan, Lin (2006), Model selection and estimation in regression with grouped variables, JRSS B 68.
    """

    event_ndim: ClassVar[int] = 1

    groups: tuple[int, ...] = static()
    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def __post_init__(self) -> None:
        # An array of labels becomes hashable; no value is looked at.
        object.__setattr__(self, "groups", tuple(int(g) for g in self.groups))

    @property
    def sizes(self) -> np.ndarray:
        """Number of entries of each group, shape ``(num_groups,)``."""
        return np.bincount(self._numbers())

    def _numbers(self) -> np.ndarray:
        return np.unique(np.asarray(self.groups, int), return_inverse=True)[1].reshape(-1)

    def _parts(self) -> tuple[jax.Array, jax.Array]:
        """Location, shape ``(*batch, d)``, and scale, shape ``(*batch, num_groups)``."""
        d, k = len(self.groups), len(self.sizes)
        dtype = jnp.result_type(float, self.loc, self.scale)
        loc, scale = (jnp.atleast_1d(jnp.asarray(v, dtype)) for v in (self.loc, self.scale))
        if loc.shape[-1] not in (1, d) or scale.shape[-1] not in (1, k):
            raise ValueError(
                f"GroupedLaplace of {d} entries in {k} groups needs a loc of shape (*batch, {d}) and a scale of shape "
                f"(*batch, {k}), or scalars, but loc has shape {jnp.shape(self.loc)} and scale {jnp.shape(self.scale)}."
            )
        batch = jnp.broadcast_shapes(loc.shape[:-1], scale.shape[:-1])
        return jnp.broadcast_to(loc, (*batch, d)), jnp.broadcast_to(scale, (*batch, k))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shapes of ``loc`` and ``scale`` less their last axes broadcast to."""
        return self._parts()[0].shape[:-1]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(d,)``."""
        return (len(self.groups),)

    @property
    def support(self) -> supports.Support:
        """The real line, for each entry."""
        return supports.real

    def norms(self, v: ArrayLike) -> jax.Array:
        """Euclidean norm of each group, ``(*batch, d) -> (*batch, num_groups)``; the gradient at 0 is 0."""
        v, numbers, sizes = jnp.asarray(v), self._numbers(), self.sizes
        if len(sizes) == 1:
            return norm_of(v)[..., None]
        order = np.argsort(numbers, kind="stable")
        places = np.full((len(sizes), int(sizes.max(initial=1))), len(numbers))
        places[np.arange(places.shape[1])[None, :] < sizes[:, None]] = order
        padded = jnp.concatenate([v, jnp.zeros((*v.shape[:-1], 1), v.dtype)], axis=-1)
        return norm_of(padded[..., places])

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, d)``."""
        loc, scale = self._parts()
        y = jnp.asarray(y, jnp.result_type(y, self.loc, self.scale, float))
        if y.shape[-1:] != loc.shape[-1:]:
            raise ValueError(
                f"y has shape {y.shape}; GroupedLaplace of {loc.shape[-1]} entries needs (*batch, {loc.shape[-1]}). "
                "Give one label in groups for each entry of the last axis."
            )
        finite = jnp.all(jnp.isfinite(y), axis=-1)
        shape = jnp.broadcast_shapes(y.shape, loc.shape)
        residual = jnp.broadcast_to(y, shape) - jnp.broadcast_to(loc, shape)
        norm = self.norms(jnp.where(finite[..., None], residual, 0))
        scale = jnp.broadcast_to(scale, norm.shape)
        each = norm / scale + jnp.log(scale) * self._of_groups(self.sizes, norm)
        value = -jnp.sum(each, axis=-1) - math.fsum(log_volume(int(d)) for d in self.sizes)
        marker = jnp.broadcast_to(jnp.sum(y, axis=-1) * 0, shape[:-1])
        inside = jnp.broadcast_to(finite, shape[:-1])
        infinite = jnp.broadcast_to(jnp.all(~jnp.isnan(y), axis=-1), shape[:-1])
        return restrict(value, inside, jnp.where(infinite, 0, marker))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`: a uniform direction times a gamma-distributed norm in each group."""
        loc, scale = self._parts()
        shape = sample_shape(self, shape)
        key_direction, key_norm = jax.random.split(key)
        direction = jax.random.normal(key_direction, shape, loc.dtype)
        sizes = jnp.asarray(self.sizes, loc.dtype)
        norm = jax.random.gamma(key_norm, sizes, (*shape[:-1], len(self.sizes)), loc.dtype)
        factor = norm * jnp.broadcast_to(scale, norm.shape) / self.norms(direction)
        return jnp.broadcast_to(loc, shape) + factor[..., self._numbers()] * direction

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._parts()[0]

    @property
    def variance(self) -> jax.Array:
        r""":math:`(d_k + 1)\,b_k^2` for the entries of group k."""
        scale = self._parts()[1]
        return (self._of_groups(self.sizes + 1, scale) * jnp.square(scale))[..., self._numbers()]

    def entropy(self) -> jax.Array:
        r""":math:`\sum_k d_k + d_k\log b_k + \log\frac{2\pi^{d_k/2}\Gamma(d_k)}{\Gamma(d_k/2)}`."""
        scale = self._parts()[1]
        constant = math.fsum(d + log_volume(int(d)) for d in self.sizes)
        return jnp.sum(self._of_groups(self.sizes, scale) * jnp.log(scale), axis=-1) + constant

    @property
    def kink(self) -> Kink:
        """See :attr:`Distribution.kink`."""
        loc, scale = self._parts()
        return Kink(loc, (1 / scale)[..., self._numbers()], self.groups)

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Soft thresholding of the norm of each group of :math:`v - \mu` by :math:`\text{step}/b_k`.

        ``v`` has shape ``(*batch, d)`` and ``step`` has shape ``(*batch,)``; within the threshold the result is exactly
        :math:`\mu`.
        """
        loc, scale = self._parts()
        shape = jnp.broadcast_shapes(jnp.shape(v), loc.shape)
        residual = jnp.broadcast_to(v, shape) - jnp.broadcast_to(loc, shape)
        norm = self.norms(residual)
        step = jnp.broadcast_to(step, shape[:-1])[..., None]
        threshold = jnp.broadcast_to(step, norm.shape) / jnp.broadcast_to(scale, norm.shape)
        kept = jnp.where(norm > threshold, 1 - threshold / jnp.where(norm > threshold, norm, 1), 0)
        return jnp.broadcast_to(loc, shape) + kept[..., self._numbers()] * residual

    def _of_groups(self, values: np.ndarray, like: jax.Array) -> jax.Array:
        """Numbers of the groups in the shape of ``like``, ``(*batch, num_groups)``."""
        return jnp.broadcast_to(jnp.asarray(values, like.dtype), like.shape)


def norm_of(v: jax.Array) -> jax.Array:
    """Euclidean norm over the last axis, with the gradient 0 at 0."""
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(v), axis=-1, keepdims=True))
    zero = size == 0
    unit = jnp.where(zero, 1, v) / jnp.where(zero, 1, size)
    return jnp.where(zero[..., 0], 0, jnp.where(zero, 1, size)[..., 0] * jnp.sqrt(jnp.sum(unit * unit, axis=-1)))


def log_volume(d: int) -> float:
    r""":math:`\log\frac{2\pi^{d/2}\,\Gamma(d)}{\Gamma(d/2)}`."""
    return LOG_2 + 0.5 * d * math.log(math.pi) + (math.lgamma(d) - math.lgamma(0.5 * d))
