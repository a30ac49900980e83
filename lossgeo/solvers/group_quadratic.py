r"""A quadratic with kinks by groups: the subproblem of Newton's method for group penalties.

.. math:: \min_\delta\; g^\top\delta + \tfrac12\delta^\top H\delta
          + \sum_k\bigl\{\mu_k\|x_k + \delta_k\|_2 + \sum_j \lambda_{kj}|x_{kj} + \delta_{kj}|\bigr\}

Coordinates are :math:`z = (v, x)`: others without a penalty, and groups of coefficients padded to one size, shape
``(k, m)``. Proximal steps for one group after another find the face, each with the largest eigenvalue of its block;
Newton steps on the face, where the norms are smooth, make the answer exact. Zeros come from the proximal steps and from
the edges of the face, never from a threshold on the size of the result.

References: Yuan and Lin (2006), JRSS B 68, 49; Simon, Friedman, Hastie and Tibshirani (2013), JCGS 22, 231 (both
penalties); Tseng and Yun (2009), Math. Program. 117, 387.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Descent", "GroupFace", "Groups", "descend_quadratic", "group_face", "prox", "restricted", "spectral_bound"]

SWEEPS = 3
"""Passes over all groups before a Newton step on the face."""

ROUGH = 20
"""The same where no Newton step follows."""

ARC = (1.0, 0.6, 0.3, 0.1)
"""Fractions of a Newton step that are tried at once."""

NEAR = 1e-2
"""Expected decrease in nats from which on the last factor is tried again."""

KEPT = 0.03
"""Ratio of the expected decreases after and before a step up to which the factor of its face serves again."""

JITTER = 4.0
"""Units of rounding error that are added to the unit diagonal of a face before it is factorised."""


class Groups(NamedTuple):
    r"""Penalties of the groups of a working set.

    Args:
        strength: :math:`\mu_k`, shape ``(k,)``.
        own: :math:`\lambda_{kj}`, shape ``(k, m)``.
        real: coefficients that are no padding, shape ``(k, m)``.
    """

    strength: jax.Array
    own: jax.Array
    real: jax.Array

    def value(self, x: jax.Array) -> jax.Array:
        """What the penalties add, in their units."""
        return jnp.sum(self.strength * jnp.linalg.norm(x, axis=1)) + jnp.sum(self.own * jnp.abs(x))

    def change(self, x: jax.Array, delta: jax.Array) -> jax.Array:
        r""":math:`h(x + \delta) - h(x)` without a difference of the two."""
        to = x + delta
        size = jnp.linalg.norm(x, axis=1) + jnp.linalg.norm(to, axis=1)
        longer = jnp.sum(delta * (x + to), axis=1) / jnp.where(size > 0, size, 1.0)
        more = jnp.where(to * x >= 0, jnp.sign(x + to) * delta, jnp.abs(to) - jnp.abs(x))
        return jnp.sum(self.strength * longer) + jnp.sum(self.own * more)

    def smooth(self, x: jax.Array) -> jax.Array:
        """Coefficients at which the penalties are smooth, shape ``(k, m)``."""
        off = (self.strength == 0) | jnp.any(x != 0, axis=1)
        return self.real & off[:, None] & ((x != 0) | (self.own == 0))

    def slopes(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Derivative where it is smooth, and norm and unit vector of each group."""
        norm = jnp.linalg.norm(x, axis=1)
        unit = x / jnp.where(norm > 0, norm, 1.0)[:, None]
        return self.strength[:, None] * unit + self.own * jnp.sign(x), norm, unit


class GroupFace(NamedTuple):
    """The equilibrated Hessian on a face and its factor; ``free`` marks the face."""

    lower: jax.Array
    scale: jax.Array
    free: jax.Array

    @classmethod
    def none(cls, h: jax.Array) -> "GroupFace":
        """A face of no coordinate."""
        return cls(jnp.eye(h.shape[0], dtype=h.dtype), jnp.ones_like(h[0]), jnp.zeros(h.shape[0], bool))

    def solve(self, b: jax.Array) -> jax.Array:
        """Solution on the face in equilibrated coordinates, 0 off it."""
        return jnp.where(self.free, jax.scipy.linalg.cho_solve((self.lower, True), jnp.where(self.free, b, 0.0)), 0.0)

    def newton(self, slope: jax.Array) -> jax.Array:
        """Newton step down a slope."""
        return -self.scale * self.solve(self.scale * slope)


class Descent(NamedTuple):
    """Result of :func:`descend_quadratic`.

    Args:
        delta: the change of ``z``, shape ``(p,)``.
        x: the coefficients there, zeros exact, shape ``(k, m)``.
        face: the last face that was factorised.
        left: expected decrease on it when the last Newton step was made.
    """

    delta: jax.Array
    x: jax.Array
    face: GroupFace
    left: jax.Array


def prox(x: jax.Array, own: jax.Array, strength: jax.Array) -> jax.Array:
    """Soft threshold of the entries of the last axis, then of their norm: the proximal map of both penalties."""
    soft = jnp.sign(x) * jnp.maximum(jnp.abs(x) - own, 0.0)
    norm = jnp.linalg.norm(soft, axis=-1, keepdims=True)
    kept = norm > strength[..., None]
    return jnp.where(kept, soft * (1.0 - strength[..., None] / jnp.where(kept, norm, 1.0)), 0.0)


def spectral_bound(blocks: jax.Array) -> jax.Array:
    r"""Bounds on the largest eigenvalues of symmetric blocks, ``(k, m, m) -> (k,)``: :math:`\|B^8\|_F^{1/8}`."""
    size = jnp.linalg.norm(blocks, axis=(1, 2))
    unit = blocks / jnp.where(size > 0, size, 1.0)[:, None, None]
    for _ in range(3):
        unit = unit @ unit
    # Rounding of the powers is relative to their norm, which is at least that of the largest eigenvalue.
    return size * jnp.linalg.norm(unit, axis=(1, 2)) ** 0.125 * (1.0 + 64.0 * jnp.finfo(blocks.dtype).eps)


def group_face(h: jax.Array, x: jax.Array, groups: Groups) -> GroupFace:
    """Hessian with the curvature of the norms on the face of ``x``, factorised; positive diagonals are wanted."""
    k, m = x.shape
    q = h.shape[0] - k * m
    _, norm, unit = groups.slopes(x)
    bend = jnp.where(norm > 0, groups.strength / jnp.where(norm > 0, norm, 1.0), 0.0)
    free = jnp.concatenate([jnp.ones(q, bool), jnp.ravel(groups.smooth(x))])
    own = bend[:, None, None] * (jnp.eye(m, dtype=x.dtype)[None] - unit[:, :, None] * unit[:, None, :])
    diagonal = jnp.diagonal(h) + jnp.concatenate([jnp.zeros(q, x.dtype), jnp.einsum("kii->ki", own).ravel()])
    free = free & (diagonal > 0)
    scale = jnp.where(free, jax.lax.rsqrt(jnp.where(free, diagonal, 1.0)), 0.0)
    number = q + jnp.arange(k * m).reshape(k, m)
    matrix = h.at[number[:, :, None], number[:, None, :]].add(own) * scale[:, None] * scale[None, :]
    jitter = JITTER * jnp.finfo(h.dtype).eps
    return GroupFace(
        jnp.linalg.cholesky(matrix + jnp.diag(jnp.where(free, jitter, 1.0)), symmetrize_input=False), scale, free
    )


def restricted(gradient: jax.Array, x: jax.Array, groups: Groups) -> jax.Array:
    """Derivatives with those of the penalties at ``z``, 0 off the face, shape ``(p,)``."""
    q = gradient.shape[0] - x.size
    along = jnp.where(groups.smooth(x), gradient[q:].reshape(x.shape) + groups.slopes(x)[0], 0.0)
    return jnp.concatenate([gradient[:q], along.ravel()])


def descend_quadratic(
    h: jax.Array,
    gradient: jax.Array,
    x: jax.Array,
    groups: Groups,
    lipschitz: jax.Array,
    *,
    tol: float | jax.Array,
    known: tuple[GroupFace, jax.Array] | None = None,
    max_rounds: int | jax.Array = 12,
    bend: bool | jax.Array = True,
) -> Descent:
    """Proximal steps and Newton steps on the face, in turn; pure, of static shape.

    Args:
        h: Hessian of ``z = (v, x)``, positive semi-definite, shape ``(p, p)``.
        gradient: of all but the penalties at the start, shape ``(p,)``.
        x: coefficients at the start, kinks at 0, shape ``(k, m)``.
        groups: the penalties.
        lipschitz: bounds on the largest eigenvalues of the blocks, from :func:`spectral_bound`.
        tol: ends when no more than this decrease is expected on the face.
        known: a face that was factorised before, and the decrease that was expected on it.
        max_rounds: bound on the Newton steps.
        bend: whether there are any; if not, ``ROUGH`` proximal steps for each group are all.
    """
    (k, m), p = x.shape, h.shape[0]
    q, eps = p - k * m, jnp.finfo(h.dtype).eps
    step = jnp.where(lipschitz > 0, 1.0 / jnp.where(lipschitz > 0, lipschitz, 1.0), 0.0)
    corner = jnp.linalg.cholesky(h[:q, :q]) if q else None

    def one_group(i: jax.Array, carry: tuple) -> tuple:
        delta, x, slope = carry
        here = jax.lax.dynamic_slice_in_dim(slope, q + i * m, m)
        moved = prox(x[i] - step[i] * here, step[i] * groups.own[i], step[i] * groups.strength[i])
        change = jnp.where(groups.real[i] & (step[i] > 0), moved - x[i], 0.0)

        def move() -> tuple:
            rows = jax.lax.dynamic_slice_in_dim(h, q + i * m, m)
            along = jax.lax.dynamic_slice_in_dim(delta, q + i * m, m) + change
            return (
                jax.lax.dynamic_update_slice_in_dim(delta, along, q + i * m, 0),
                x.at[i].set(x[i] + change),
                slope + change @ rows,
            )

        return jax.lax.cond(jnp.any(change != 0), move, lambda: (delta, x, slope))

    def sweep(_: int, carry: tuple) -> tuple:
        delta, x, slope = carry
        if corner is not None:
            change = -jax.scipy.linalg.cho_solve((corner, True), slope[:q])
            delta, slope = delta.at[:q].add(change), slope + change @ h[:q]
        return jax.lax.fori_loop(0, k, one_group, (delta, x, slope))

    def body(carry: tuple) -> tuple:
        rounds, delta, here, slope, face, before, _ = carry
        delta, here, slope = jax.lax.fori_loop(0, SWEEPS, sweep, (delta, here, slope))
        right = restricted(slope, here, groups)
        # Near the end the last factor gains as many digits as a new one.
        near = (before <= NEAR) & jnp.all(face.free | (right == 0))
        newton = jax.lax.cond(near, lambda: face.newton(right), lambda: jnp.zeros_like(right))
        serves = near & (-0.5 * right @ newton <= KEPT * before)
        face = jax.lax.cond(serves, lambda: face, lambda: group_face(h, here, groups))
        newton = jax.lax.cond(serves, lambda: newton, lambda: face.newton(right))
        newton = jnp.where(jnp.concatenate([jnp.ones(q, bool), groups.smooth(here).ravel()]), newton, 0.0)
        left = -0.5 * right @ newton
        along = newton[q:].reshape(k, m)

        def attempt(length: jax.Array) -> tuple[jax.Array, jax.Array]:
            to = here + length * along
            to = jnp.where((groups.own > 0) & (to * here < 0), 0.0, to)
            back = (groups.strength > 0) & (jnp.sum(to * here, axis=1) <= 0)
            to = jnp.where(back[:, None] & groups.real, 0.0, to)
            change = jnp.concatenate([length * newton[:q], (to - here).ravel()])
            return to, change

        to, change = jax.vmap(attempt)(jnp.asarray(ARC, h.dtype))
        slopes_change = change @ h
        rises = change @ slope + 0.5 * jnp.sum(change * slopes_change, axis=1)
        rises = rises + jax.vmap(lambda c: groups.change(here, c[q:].reshape(k, m)))(change)
        rises = jnp.where(jnp.isfinite(rises), rises, jnp.inf)
        # Within rounding error the whole step is the best.
        noise = 16.0 * eps * (groups.value(here) + jnp.abs(left))
        best = jnp.where(rises[0] <= jnp.min(rises) + noise, 0, jnp.argmin(rises))
        usable = rises[best] <= noise
        delta = jnp.where(usable, delta + change[best], delta)
        here = jnp.where(usable, to[best], here)
        slope = jnp.where(usable, slope + slopes_change[best], slope)
        stalled = ((left > 0.5 * before) & (left <= noise) & (rounds > 0)) | ~jnp.isfinite(left)
        return rounds + 1, delta, here, slope, face, left, stalled

    face, before = (GroupFace.none(h), jnp.zeros((), h.dtype)) if known is None else known
    rough = jax.lax.fori_loop(0, jnp.where(bend, 0, ROUGH), sweep, (jnp.zeros_like(gradient), x, gradient))
    _, delta, x, _, face, left, _ = jax.lax.while_loop(
        lambda c: jnp.asarray(bend) & ((c[0] == 0) | (~(c[5] <= tol) & ~c[6] & (c[0] < max_rounds))),
        body,
        (0, *rough, face, before, jnp.asarray(False)),
    )
    return Descent(delta, x, face, left)
