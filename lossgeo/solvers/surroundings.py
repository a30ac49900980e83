"""What a function does around a point that looks like its optimum: one standard error away, along a step, far out."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.newton import MANY_ROWS
from lossgeo.solvers.problem import FlatProblem

__all__ = [
    "NEARBY",
    "Directions",
    "Surroundings",
    "curvature_change",
    "gain_beyond",
    "look_around",
    "num_probed",
    "rounding",
]

PROBED_ROWS = 300_000
"""Terms of a sum that may be evaluated to probe the coordinates one by one."""

NEARBY = 0.01
"""Standard errors at which the shape of an optimum is looked at, besides one."""

FAR_ALONG = 100.0
"""Units of the equilibrated coordinates that count as far along a direction without curvature."""

FAR_BEYOND = 30.0
"""Newton steps that count as far beyond one."""

STEADY = 0.05
"""Change of the curvature along the Newton step up to which no optimum is at infinity or flat."""


class Directions(NamedTuple):
    """Where to look, in the coordinates of the problem.

    Args:
        step: the Newton step that is left, shape ``(p,)``.
        along: the direction of least curvature, far out, shape ``(p,)``.
        away: the way back to the start, shape ``(p,)``.
        sides: steps of one standard error along profile directions, shape ``(m, p)``.
    """

    step: jax.Array
    along: jax.Array
    away: jax.Array
    sides: jax.Array


class Surroundings(NamedTuple):
    """What was seen; see :class:`lossgeo.solvers.Certificate`.

    ``gains`` are the changes of the function one standard error to either side, and if asked for ``NEARBY`` of one,
    shape ``(1 or 2, 2, m)``.
    """

    curvature_change: jax.Array
    beyond: jax.Array
    one_sided: jax.Array
    start_change: jax.Array
    gains: jax.Array


def look_around(
    flat: FlatProblem,
    value: jax.Array,
    z: jax.Array,
    to: Directions,
    product: Callable[[jax.Array], jax.Array],
    *,
    definite: jax.Array,
    near: bool = False,
) -> Surroundings:
    """Look around ``z``, where the function has a value and a Hessian of which ``product`` is the multiplication.

    Of a sum over many rows only what a verdict can depend on: what lies far out tells a flat direction, a saddle and an
    optimum at infinity apart, none of which is possible where the curvature is positive and steady.

    Args:
        flat: the function.
        value: its value at ``z``.
        z: the point.
        to: where to look.
        product: the map ``v -> H v``.
        definite: whether all curvature is positive to working precision.
        near: whether to look closer to the point than one standard error too.
    """
    if flat.num_rows >= MANY_ROWS:
        return _along_lines(flat, value, z, to, product, definite, near)
    lengths = _lengths(z, near)
    sides = (lengths[:, :, None, None] * to.sides[None, None]).reshape(-1, z.size)
    change = curvature_change(flat, z, to.step, product)
    far = _far(to)
    gains = _gains(flat, value, z, jnp.concatenate([far, sides]))
    return Surroundings(change, *_afar(gains[: len(far)], value), gains[len(far) :].reshape(*lengths.shape, -1))


def num_probed(p: int, num_rows: int, limit: int) -> int:
    """How many coordinates to probe one standard error away: all where that is cheap, none beyond ``limit``."""
    if p > limit:
        return 0
    return min(p, max(3, PROBED_ROWS // max(num_rows, 1)))


def curvature_change(
    flat: FlatProblem, z: jax.Array, step: jax.Array, product: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Relative change of the curvature along ``step`` between its ends; 0 for no step."""
    unit, norm = _unit(step)
    return _relative(unit @ product(unit), unit @ flat.hvp(z + step, unit), norm)


def gain_beyond(flat: FlatProblem, value: jax.Array, z: jax.Array, step: jax.Array) -> jax.Array:
    """Change of the function far beyond a step, 0 where it is positive only by rounding."""
    return _above_noise(flat.value(z + FAR_BEYOND * step) - value, value)


def _along_lines(
    flat: FlatProblem,
    value: jax.Array,
    z: jax.Array,
    to: Directions,
    product: Callable[[jax.Array], jax.Array],
    definite: jax.Array,
    near: bool,
) -> Surroundings:
    """The same with one product of the design for all that is looked at in the usual case."""
    unit, norm = _unit(to.step)
    on_line = flat.lines(z, jnp.concatenate([unit[None, :], to.sides]))
    lengths, m = _lengths(z, near), to.sides.shape[0]
    index, length = (v.ravel() for v in jnp.meshgrid(jnp.arange(1, m + 1), lengths.ravel(), indexing="ij"))
    gains = jax.lax.map(lambda at: on_line(*at), (index, length)) - value
    gains = gains.reshape(m, lengths.size).T.reshape(*lengths.shape, m)

    def slope(t: jax.Array) -> jax.Array:
        return jax.jvp(lambda t: on_line(0, t), (t,), (jnp.ones_like(t),))[1]

    there = jax.jvp(slope, (norm,), (jnp.ones_like(norm),))[1]
    change = _relative(unit @ product(unit), there, norm)
    nothing = _nothing_far(change, value, gains)
    beyond, one_sided, start_change = jax.lax.cond(
        definite & (change <= STEADY),
        lambda: nothing[1:4],
        lambda: _afar(_gains(flat, value, z, _far(to)), value),
    )
    return Surroundings(change, beyond, one_sided, start_change, gains)


def _lengths(z: jax.Array, near: bool) -> jax.Array:
    """Standard errors to go to either side, shape ``(1 or 2, 2)``."""
    sizes = jnp.asarray([1.0, NEARBY] if near else [1.0], z.dtype)
    return sizes[:, None] * jnp.asarray([[1.0, -1.0]], z.dtype)


def _far(to: Directions) -> jax.Array:
    along, away = FAR_ALONG * to.along, to.away
    return jnp.stack([FAR_BEYOND * to.step, along, -along, away, away + along, away - along, -FAR_ALONG * away])


def _afar(gains: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``beyond``, ``one_sided`` and ``start_change`` from the gains of :func:`_far`."""
    one_sided = jnp.where(jnp.isnan(gains[1:3]), jnp.inf, gains[1:3])
    beyond = jnp.where(gains[6] == -jnp.inf, -jnp.inf, _above_noise(gains[0], value))
    return beyond, one_sided, jnp.max(jnp.abs(gains[4:6] - gains[3]))


def _nothing_far(change: jax.Array, value: jax.Array, gains: jax.Array) -> Surroundings:
    nothing = jnp.zeros_like(value)
    return Surroundings(change, nothing, jnp.full((2,), jnp.inf, value.dtype), nothing, gains)


def _gains(flat: FlatProblem, value: jax.Array, z: jax.Array, steps: jax.Array) -> jax.Array:
    return jax.lax.map(lambda step: flat.value(z + step), steps, batch_size=linalg.HESSIAN_BLOCK) - value


def _unit(step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A step by its direction and its length, in the largest of its coordinates."""
    norm = jnp.max(jnp.abs(step))
    return step / jnp.where(norm > 0, norm, 1.0), norm


def _relative(here: jax.Array, there: jax.Array, norm: jax.Array) -> jax.Array:
    return jnp.where((norm > 0) & (here > 0), jnp.abs(there / jnp.where(here > 0, here, 1.0) - 1.0), 0.0)


def _above_noise(gain: jax.Array, value: jax.Array) -> jax.Array:
    """A gain, 0 where it is positive only by rounding."""
    return jnp.where(gain > rounding(value), gain, jnp.minimum(gain, 0.0))


def rounding(value: jax.Array) -> jax.Array:
    """Rounding error of a function of this size."""
    return 64.0 * jnp.finfo(value.dtype).eps * jnp.abs(value)
