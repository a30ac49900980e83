"""Expectations of counts: sums that are exact while the counts are few, and quadrature where the terms are smooth."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics

_HALF_WIDTH = 256
_NODES = 512
_START = 4.0  # counts below are summed alone
_CENTER, _WIDTH = math.log(32.0), 0.25  # of the passage from sum to integral, in the logarithm of the count
_FAR = 45.0  # nats that the mass has lost where the integral ends


def concentrated_sum(
    term: Callable[[jax.Array], Any], mean: jax.Array, deviation: jax.Array, high: jax.Array | None = None
) -> Any:
    r""":math:`\sum_{y=0}^{\text{high}} f(y)` where :math:`f` is concentrated as a gamma density of shape 16 or more.

    Args:
        term: :math:`f`, of counts of shape ``(*batch, 512)`` to a tree of arrays of that shape; a probability times
            something of moderate growth.
        mean: center, shape ``(*batch,)``.
        deviation: standard deviation of the mass, same shape.
        high: the largest count, same shape; ``None`` for none.

    Returns:
        The sums, a tree of arrays of shape ``(*batch,)``; derivatives are those of the terms.

    Numerics:
        All counts within 256 of the mean up to a deviation of 16. Beyond, every ``h``-th count, ``h`` a sixteenth of
        the deviation: by Poisson's summation formula the error is the characteristic function at :math:`2\pi/h`, which
        is below :math:`e^{-500}` for a binomial variable.
    """
    stride = jax.lax.stop_gradient(jnp.ceil(jnp.maximum(deviation / 16, 1)))[..., None]
    center = jax.lax.stop_gradient(jnp.floor(mean))[..., None]
    offsets = jnp.arange(-_HALF_WIDTH, _HALF_WIDTH, dtype=mean.dtype).reshape((1,) * mean.ndim + (-1,))
    counts = center + stride * offsets
    inside = (counts >= 0) & (counts <= (jnp.inf if high is None else high[..., None]))
    values = term(jnp.where(inside, counts, center))
    return jax.tree.map(lambda value: jnp.sum(stride * jnp.where(inside, value, 0), axis=-1), values)


def spread_sum(term: Callable[[jax.Array], Any], reach: jax.Array, high: jax.Array | None = None) -> Any:
    r""":math:`\sum_{y=0}^{\text{high}} f(y)` where :math:`f` is smooth in :math:`\log y`, however far it reaches.

    .. math:: \sum_y f(y) = \sum_y (1 - w(y))\,f(y) + \int w f\,dy

    The window :math:`w` rises from 0 at the first counts to 1 (and falls towards the largest count), so smoothly that
    by Poisson's summation formula the sum of :math:`w f` is its integral.

    Args:
        term: as in :func:`concentrated_sum`; called with arrays of 512 counts and with numbers between counts.
        reach: count beyond which nothing is left, shape ``(*batch,)``.
        high: the largest count, same shape; ``None`` for none.

    Returns:
        The sums, a tree of arrays of shape ``(*batch,)``; derivatives are those of the terms.

    Numerics:
        The integral is a trapezoidal rule in :math:`x`, :math:`y + \tfrac12 = e^x/(1 + e^x/(\text{high} + 1))`, whose
        error is exponentially small: 14 digits up to counts of :math:`10^{10}` for gamma and beta shapes up to 16.
    """
    reach = jax.lax.stop_gradient(reach)
    shape = (1,) * reach.ndim + (-1,)
    last = None if high is None else high[..., None]
    size = jnp.full_like(reach, jnp.inf) if high is None else jax.lax.stop_gradient(high) + 1

    def window(distance: jax.Array) -> jax.Array:
        return jax.scipy.special.ndtr((jnp.log(distance) - _CENTER) / _WIDTH)

    def total(y: jax.Array, weight: ArrayLike, inside: jax.Array) -> Any:
        values = term(jnp.where(inside, y, 0))
        return jax.tree.map(lambda value: jnp.sum(jnp.where(inside, weight * value, 0), axis=-1), values)

    first = jnp.arange(_NODES, dtype=reach.dtype).reshape(shape)
    ends = (first + 0.5) * (1 - (first + 0.5) / size[..., None])
    below = jnp.broadcast_to(2 * first <= size[..., None] - 1, (*reach.shape, _NODES))
    parts = [total(jnp.broadcast_to(first, below.shape), 1 - window(jnp.where(below, ends, 1)), below)]
    if last is not None:  # the same from the other end, without the middle
        above = 2 * first < last
        parts.append(total(last - first, 1 - window(jnp.where(above, ends, 1)), above))

    end = jnp.maximum(jnp.minimum(jnp.log(reach), 2 * jnp.log(size) - math.log(_START)), math.log(4 * _START))
    step = (end - math.log(_START))[..., None] / (_NODES - 1)
    grown = jnp.exp(math.log(_START) + step * first)
    odds = 1 + grown / size[..., None]
    y, slope = grown / odds - 0.5, grown / (odds * odds)
    parts.append(total(y, step * slope * window(slope), (y >= 0) & (y <= (jnp.inf if last is None else last))))
    return jax.tree.map(lambda *values: sum(values), *parts)


def gamma_reach(mean: jax.Array, shape: jax.Array) -> jax.Array:
    """Where a gamma density of this mean and of a shape up to 16 (or a sum of counts with it) has nothing left."""
    return (mean / shape + 1) * (_FAR + 4 * shape + 10) + _FAR


def entropy_of(log_prob: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    r"""The terms :math:`-p_y\log p_y`."""

    def term(y: jax.Array) -> jax.Array:
        value = log_prob(y)
        return -jnp.exp(value) * value

    return term


def cumulated(log_mass: Callable[..., jax.Array], last: jax.Array, *params: jax.Array) -> jax.Array:
    r""":math:`\log\sum_{y=0}^{\text{last}} p_y`, term by term, from the last one down.

    Args:
        log_mass: log-probability of a count under hyper-parameters; elementwise.
        last: the count that the sum ends with, not negative.
        params: the hyper-parameters, of one rank with ``last``.

    Returns:
        Log-probabilities. Differentiable in the hyper-parameters as often as one likes, forwards and backwards.
    """
    last, *values = jnp.broadcast_arrays(jax.lax.stop_gradient(last), *params)

    def total(last: jax.Array, *params: jax.Array) -> jax.Array:
        spread = [p[..., None] for p in params]
        offsets = jnp.arange(_HALF_WIDTH, dtype=last.dtype).reshape((1,) * last.ndim + (-1,))

        def body(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            top, value = state
            counts = top - offsets
            inside = counts >= 0
            terms = jnp.where(inside, log_mass(jnp.where(inside, counts, 0), *spread), -jnp.inf)
            return top - _HALF_WIDTH, jnp.logaddexp(value, numerics.log_mixture(terms))

        start = last[..., None], jnp.full_like(params[0], -jnp.inf)
        return jax.lax.while_loop(lambda state: jnp.any(state[0] >= 0), body, start)[1]

    return forwards(total)(last, *values)


def forwards(fn: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """An elementwise function whose derivatives of all orders, in all arguments but the first, are taken forwards.

    Loops of a length that is not known have no other ones; backward passes then work too. All arrays have one shape,
    and none may be closed over.
    """
    wrapped = jax.custom_jvp(fn)

    @wrapped.defjvp
    def rule(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        def slope(k: int) -> Callable[..., jax.Array]:
            def along(*args: jax.Array) -> jax.Array:
                ones = tuple(jnp.full_like(arg, j == k) for j, arg in enumerate(args))
                return jax.jvp(fn, args, ones)[1]

            return forwards(along)

        slopes = [slope(k)(*primals) * tangents[k] for k in range(1, len(primals))]
        return wrapped(*primals), sum(slopes, jnp.zeros_like(primals[0]))

    return wrapped
