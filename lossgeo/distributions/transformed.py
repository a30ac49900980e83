"""Transformed: the distribution of a smooth, invertible function of a variable."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.bisection import bisected_quantile
from lossgeo.distributions.composition import (
    batch_shape_of,
    draw_batch,
    ends,
    is_discrete,
    observed,
    ranks,
    require_tails,
    thinned,
)
from lossgeo.distributions.distribution import Distribution, is_distribution, lacks, promote
from lossgeo.distributions.foreign import event_ndim_of, support_of
from lossgeo.distributions.quadrature import quantile_rule, settled_sum

_METHODS = ("forward", "inverse", "forward_and_log_det")
_SURFACES = (supports.Simplex, supports.CorrelationCholesky, supports.PositiveDefinite, supports.Point)


@pytree
class Transformed(Distribution):
    r"""The distribution of :math:`Y = f(U)` for a bijection :math:`f` and a variable :math:`U` with a density.

    .. math:: \log p(y) = \log p_U(u) - \log\left|\det\frac{\partial f}{\partial u}\right|, \qquad u = f^{-1}(y)

    ``Transformed(Normal(loc, scale), supports.unit_interval)`` is the logit-normal distribution of a proportion,
    ``Transformed(MultivariateNormal(loc, covariance), supports.simplex)`` the logistic normal one of probabilities.

    Args:
        base: a distribution with a density, ours or another library's, with at least as many event axes as a point of
            the domain of the bijector (``Independent`` makes event axes of batch axes). An elementwise bijector acts
            on each entry of a vector.
        bijector: a pytree with ``forward``, ``inverse`` and ``forward_and_log_det``: a support that has coordinates
            (its ``event_ndim`` is that of the image; the coordinates of a vector or a matrix are a vector), or an
            object of one's own, elementwise unless it says ``event_ndims_in`` and ``event_ndims_out``.

    Raises:
        TypeError, ValueError: at the first use, if the base has no density, lives on fewer dimensions than it has
            entries (a simplex), has too few event axes, or the bijector lacks a method or is no bijection.
        NotImplementedError: at distribution functions, if the base lacks them or a draw is not a scalar.

    Numerics:
        As accurate as ``inverse`` and the base at that point; the derivative in ``y`` has an error of some ulp of that
        of ``inverse``, however flat the density. On the edge of the image, which no finite ``u`` reaches,
        the density is 0. Quantiles are images of those of the base where the bijector is a support with an increasing
        map, else they are found by bisection of the distribution functions, which keeps the digits of both tails. A
        kink of the base is not passed on: estimate ``u`` and transform it in the model if the base has one.

        The inverse of a bijector of one's own must be defined where the density of the base is not 0, and be NaN or
        infinite outside the image; a bijector that does not map the whole support of the base gives a density that
        does not integrate to 1, which nothing here can notice.
    """

    base: Any
    bijector: Any

    def _require(self) -> None:
        """Raise unless the formula holds."""
        base, bijector = self.base, self.bijector
        if not is_distribution(base):
            raise TypeError(f"the base of Transformed must be a distribution, but is {base!r}.")
        missing = [name for name in _METHODS if not callable(getattr(bijector, name, None))]
        if missing or isinstance(bijector, type):
            raise TypeError(
                f"the bijector of Transformed must be an object with {', '.join(_METHODS)}; {bijector!r} lacks "
                f"{', '.join(missing) or 'being one (it is a class)'}. Use a support, such as supports.positive."
            )
        if isinstance(bijector, supports.Point | supports.Discrete | supports.Censoring):
            raise ValueError(f"Transformed needs a bijector of real numbers; {type(bijector).__name__} is not one.")
        if is_discrete(base) or isinstance(support_of(base), _SURFACES):
            raise ValueError(
                f"Transformed needs a base with a density with respect to all of its entries; {type(base).__name__} "
                f"lives on {support_of(base).label}."
            )
        if event_ndim_of(base) < self._ndims()[0]:
            raise ValueError(
                f"{type(bijector).__name__} acts on points with {self._ndims()[0]} axes, but one draw of "
                f"{type(base).__name__} has {event_ndim_of(base)}. Make axes of the batch axes of one draw: "
                f"Transformed(Independent({type(base).__name__}(...)), ...)."
            )

    def _ndims(self) -> tuple[int, int]:
        """Number of axes of a point of the domain and of the image of the bijector."""
        if hasattr(self.bijector, "event_ndims_in"):
            return self.bijector.event_ndims_in, self.bijector.event_ndims_out
        out = getattr(self.bijector, "event_ndim", 0)
        return min(out, 1), out

    def _shape(self) -> tuple[int, ...]:
        """Shape of a batch of draws."""
        self._require()
        full = (*batch_shape_of(self.base), *self.base.event_shape)
        return jax.eval_shape(self.bijector.forward, jnp.zeros(full)).shape

    @property
    def event_ndim(self) -> int:  # type: ignore[override]
        """That of the image, and the axes along which the bijector is repeated."""
        inner, outer = self._ndims()
        return event_ndim_of(self.base) - inner + outer

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the batch of the base and the hyper-parameters of the bijector broadcast to."""
        shape = self._shape()
        return shape[: len(shape) - self.event_ndim]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of the image of one draw of the base."""
        shape = self._shape()
        return shape[len(shape) - self.event_ndim :]

    @property
    def support(self) -> supports.Support:
        """The image of the support of the base; real numbers where that is not known (a bijector of one's own)."""
        self._require()
        below, above = ends(support_of(self.base))
        if isinstance(self.bijector, supports.Real):
            return support_of(self.base)
        if not isinstance(self.bijector, supports.Support):
            return supports.real
        if self.bijector.event_ndim or (below is None and above is None):
            return self.bijector
        least, most = ends(self.bijector)
        images = [None if end is None else self.bijector.forward(jnp.asarray(end, float)) for end in (below, above)]
        first, last = images if self._increases() else reversed(images)
        low, high = least if first is None else first, most if last is None else last
        if low is None:
            return supports.real if high is None else supports.less_than(high)
        return supports.greater_than(low) if high is None else supports.interval(low, high)

    def _increases(self) -> bool | None:
        """Whether the map is increasing; ``None`` where that is known at run time only."""
        if not isinstance(self.bijector, supports.Support):
            return None
        return not isinstance(self.bijector, supports.LessThan)

    def _over(self, fn: Any, value: jax.Array, ndim: int) -> Any:
        """A method of the bijector at one value for each entry of its batch, over all leading axes."""
        for _ in range(value.ndim - ndim):
            fn = jax.vmap(fn)
        return fn(value)

    def _inner(self, dtype: jnp.dtype, coordinate: float = 0.0) -> jax.Array:
        """A point of the image of the support of the base, for each entry of the batch."""
        full = jnp.full((*batch_shape_of(self.base), *self.base.event_shape), coordinate, dtype)
        try:
            full = support_of(self.base).forward(full)
        except NotImplementedError:  # a set of another library, known by its members only
            pass
        return self.bijector.forward(full).astype(dtype)

    def _coordinates(self, y: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The value, its preimage, whether it lies in the image, and a point that does (and stands in outside)."""
        self._require()
        y = observed(self, y)
        shape, event = self._shape(), self.event_ndim
        if event and y.shape[max(y.ndim - event, 0) :] != shape[len(shape) - event :]:
            raise ValueError(
                f"y of Transformed must have shape (*batch, {', '.join(map(str, self.event_shape))}), "
                f"but has {y.shape}."
            )
        if event < y.ndim < len(shape):
            y = y.reshape((1,) * (len(shape) - y.ndim) + y.shape)
        if isinstance(self.bijector, supports.Support):
            inside = self._over(self.bijector.contains, y, len(shape))
            axes = event - self._ndims()[1]
        else:
            inside = jnp.isfinite(self._over(self.bijector.inverse, jax.lax.stop_gradient(y), len(shape)))
            axes = event_ndim_of(self.base)
        inside = jnp.all(inside, axis=tuple(range(inside.ndim - axes, inside.ndim)))
        inside = inside & jnp.all(jnp.isfinite(y), axis=tuple(range(y.ndim - event, y.ndim)))
        spread, value, inner = ranks(inside.reshape((*inside.shape, *(1,) * event)), y, self._inner(y.dtype))
        inside = spread.reshape(spread.shape[: spread.ndim - event])
        u = self._over(self.bijector.inverse, jnp.where(spread, value, inner), len(shape))
        return value, u, inside, inner

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`."""
        y, u, inside, _ = self._coordinates(y)
        axes = event_ndim_of(self.base) - self._ndims()[0]
        _, log_det = self._over(self.bijector.forward_and_log_det, u, len(self._base_shape()))
        log_det = jnp.sum(log_det, axis=tuple(range(log_det.ndim - axes, log_det.ndim)))
        undefined = jnp.any(jnp.isnan(y), axis=tuple(range(y.ndim - self.event_ndim, y.ndim)))
        value, inside, undefined = ranks(thinned(self.base.log_prob(u), -log_det), inside, undefined)
        return jnp.where(inside, value, jnp.where(undefined, jnp.nan, -jnp.inf))

    def _base_shape(self) -> tuple[int, ...]:
        """Shape of a batch of preimages."""
        event = tuple(self.base.event_shape)
        return (*self.batch_shape, *event)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; images of draws of the base."""
        draw = draw_batch(self.base, key, shape, self.batch_shape)
        return self._over(self.bijector.forward, draw, len(self._base_shape()))

    def _log_tails(self, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Logarithms of the probabilities up to and above ``y``, inside and outside the image."""
        self._require()
        require_tails(self, self.base)
        y, u, inside, inner = self._coordinates(y)
        below, above = promote(self.base.log_cdf(u), self.base.log_survival(u))
        rises = self._inner(y.dtype, 1.0) > self._inner(y.dtype, -1.0)
        below, above, rises, inside, y, inner = ranks(below, above, rises, inside, y, inner)
        # The image is an interval: what is outside lies on one side of any of its points.
        before, undefined = y < inner, jnp.isnan(y)
        low = jnp.where(inside, jnp.where(rises, below, above), jnp.where(before, -jnp.inf, 0.0))
        high = jnp.where(inside, jnp.where(rises, above, below), jnp.where(before, 0.0, -jnp.inf))
        return jnp.where(undefined, jnp.nan, low), jnp.where(undefined, jnp.nan, high)

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`; for scalars."""
        self._require()
        (q,) = promote(observed(self, q))
        if self._increases() and not self.event_ndim:
            return self._over(self.bijector.forward, self.base.icdf(q), len(self.batch_shape))
        require_tails(self, self.base)
        q = jnp.broadcast_to(q, jnp.broadcast_shapes(q.shape, self.batch_shape))
        inside = (q > 0) & (q < 1)
        level = jnp.where(inside, q, 0.5)
        value = bisected_quantile(self, jnp.log(level), jnp.log1p(-level), discrete=False)
        low, high = ends(support_of(self.base))
        infinite = jnp.asarray(jnp.inf, q.dtype)
        first = self.bijector.forward(-infinite if low is None else jnp.asarray(low, q.dtype))
        last = self.bijector.forward(infinite if high is None else jnp.asarray(high, q.dtype))
        inside, q, value, first, last = ranks(inside, q, value, first, last)
        end = jnp.where(q == 0, jnp.minimum(first, last), jnp.where(q == 1, jnp.maximum(first, last), jnp.nan))
        return jnp.where(inside, value, end)

    def _rule(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Nodes of the base, their images, and weights."""
        self._require()
        if self.event_ndim:
            raise lacks(self, "closed-form moments of vectors; draws have some")
        require_tails(self, self.base)
        dtype = jnp.result_type(float, *jax.tree.leaves(self))

        def quantile(log_below: jax.Array, log_above: jax.Array) -> jax.Array:
            return bisected_quantile(self.base, log_below, log_above, discrete=False)

        u, weights = quantile_rule(quantile, self.batch_shape, dtype)
        return u, self._over(self.bijector.forward, u, len(self.batch_shape)), weights

    @property
    def mean(self) -> jax.Array:
        """Expectation of a scalar, by quadrature over quantiles of the base; infinite or NaN where it is."""
        _, y, weights = self._rule()
        return settled_sum(weights * y)

    @property
    def variance(self) -> jax.Array:
        """Variance of a scalar, by the same rule."""
        _, y, weights = self._rule()
        mean = settled_sum(weights * y)
        square = settled_sum(weights * jnp.square(y - jnp.where(jnp.isfinite(mean), mean, 0)[None]))
        return jnp.where(jnp.isnan(mean), jnp.nan, square)

    def entropy(self) -> jax.Array:
        r""":math:`H(U) + E\log|f'(U)|`, of a scalar."""
        u, _, weights = self._rule()
        _, log_det = self._over(self.bijector.forward_and_log_det, u, len(self.batch_shape))
        return jnp.add(*promote(settled_sum(weights * log_det), self.base.entropy()))

    def fisher_information(self) -> jax.Array:
        """That of the base: a bijection without hyper-parameters neither adds nor loses information."""
        if jax.tree.leaves(self.bijector):
            raise lacks(self, "closed-form Fisher information about the hyper-parameters of its bijector")
        return self.base.fisher_information()
