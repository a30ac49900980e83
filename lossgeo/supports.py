r"""Supports: the sets on which densities live, and the smooth maps that reach them from all of :math:`\mathbb{R}`.

A support answers two questions. ``contains(x)`` says whether a value lies in the set, elementwise; targets and
parameters are checked with it. ``forward`` maps unconstrained coordinates onto the set and ``inverse`` maps back, so
that every solver works on :math:`\mathbb{R}^k`. The log-Jacobian is returned by ``forward_and_log_det`` for those
who need the density in unconstrained coordinates; a mode is *not* taken there, and nothing here adds it silently.

Discrete supports (``boolean``, ``nonnegative_integers``, ``integers_up_to``) only answer the first question.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree

__all__ = [
    "Boolean", "Discrete", "Integers", "Interval", "NonnegativeIntegers", "Point", "Positive", "Real", "Support",
    "boolean", "integers_up_to", "interval", "nonnegative_integers", "point", "positive", "real", "unit_interval",
]  # fmt: skip


class Support:
    """The contract of a support. All methods act elementwise unless a support documents its event axes."""

    @property
    def label(self) -> str:
        """The set in words, for messages."""
        return type(self).__name__

    def contains(self, x: ArrayLike) -> jax.Array:
        """Whether each value lies in the set; boolean, shape of ``x``. NaN lies in none."""
        raise NotImplementedError

    def forward(self, u: ArrayLike) -> jax.Array:
        """Map unconstrained coordinates onto the set."""
        raise NotImplementedError(f"{self!r} has no unconstrained coordinates")

    def inverse(self, x: ArrayLike) -> jax.Array:
        """Unconstrained coordinates of a value inside the set; infinite or NaN outside it."""
        raise NotImplementedError(f"{self!r} has no unconstrained coordinates")

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r""":math:`x = f(u)` and :math:`\log|\det \partial f/\partial u|` per event."""
        raise NotImplementedError(f"{self!r} has no unconstrained coordinates")


@pytree
class Real(Support):
    r"""All of :math:`\mathbb{R}`; the identity map."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the finite real numbers"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        return jnp.isfinite(x)

    def forward(self, u: ArrayLike) -> jax.Array:
        """The identity."""
        return jnp.asarray(u)

    def inverse(self, x: ArrayLike) -> jax.Array:
        """The identity."""
        return jnp.asarray(x)

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The identity; log-determinant 0."""
        u = jnp.asarray(u)
        return u, jnp.zeros_like(u)


@pytree
class Positive(Support):
    r""":math:`(0, \infty)`; :math:`x = e^u`, so that a change of units of ``x`` is a shift of ``u``."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the positive numbers"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        return jnp.isfinite(x) & (jnp.asarray(x) > 0)

    def forward(self, u: ArrayLike) -> jax.Array:
        r""":math:`e^u`."""
        return jnp.exp(u)

    def inverse(self, x: ArrayLike) -> jax.Array:
        r""":math:`\log x`."""
        return jnp.log(x)

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r""":math:`e^u` and :math:`u`."""
        return jnp.exp(u), jnp.asarray(u)


@pytree
class Interval(Support):
    r"""The open interval :math:`(a, b)`; :math:`x = a + (b - a)\,\sigma(u)` with the logistic :math:`\sigma`.

    Numerics: for ``u`` in the upper half the value is taken as :math:`b - (b - a)\,\sigma(-u)`, which keeps full
    relative accuracy of the distance to the nearer end.
    """

    low: ArrayLike
    high: ArrayLike

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the open interval ({self.low}, {self.high})"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`; the ends do not belong to the set."""
        return (jnp.asarray(x) > self.low) & (jnp.asarray(x) < self.high)

    def forward(self, u: ArrayLike) -> jax.Array:
        r""":math:`a + (b - a)\,\sigma(u)`."""
        u = jnp.asarray(u)
        width = jnp.subtract(self.high, self.low)
        return jnp.where(u < 0, self.low + width * jax.nn.sigmoid(u), self.high - width * jax.nn.sigmoid(-u))

    def inverse(self, x: ArrayLike) -> jax.Array:
        r""":math:`\log\frac{x - a}{b - x}`."""
        return jnp.log(jnp.subtract(x, self.low)) - jnp.log(jnp.subtract(self.high, x))

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r"""The value and :math:`\log(b - a) + \log\sigma(u) + \log\sigma(-u)`."""
        log_width = jnp.log(jnp.subtract(self.high, self.low))
        return self.forward(u), log_width + jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-jnp.asarray(u))


@pytree
class Point(Support):
    """A single value: a parameter that is held. Its unconstrained coordinates are an empty vector.

    ``value`` has the shape of the parameter.
    """

    value: ArrayLike

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the value it is held at"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        return jnp.asarray(x) == self.value

    def forward(self, u: ArrayLike) -> jax.Array:
        """The value, whatever ``u``."""
        return jnp.asarray(self.value)

    def inverse(self, x: ArrayLike) -> jax.Array:
        """The empty vector."""
        return jnp.zeros((0,), dtype=jnp.result_type(self.value))

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The value and 0 (counting measure on one point)."""
        value = jnp.asarray(self.value)
        return value, jnp.zeros_like(value)


class Discrete(Support):
    """A set of integers: a target may lie in it, a parameter to be optimised may not."""


@pytree
class Boolean(Discrete):
    """The labels 0 and 1."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the labels 0 and 1"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x == 0) | (x == 1)


@pytree
class NonnegativeIntegers(Discrete):
    """The integers 0, 1, 2 and so on."""

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the integers 0, 1, 2, ..."

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x >= 0) & (jnp.floor(x) == x) & jnp.isfinite(x)


@pytree
class Integers(Discrete):
    """The integers from ``low`` to ``high``, both included."""

    low: ArrayLike
    high: ArrayLike

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the integers from {self.low} to {self.high}"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        x = jnp.asarray(x)
        return (x >= self.low) & (x <= self.high) & (jnp.floor(x) == x)


real = Real()
positive = Positive()
boolean = Boolean()
nonnegative_integers = NonnegativeIntegers()


def interval(low: ArrayLike, high: ArrayLike) -> Interval:
    """The open interval ``(low, high)``, both finite."""
    return Interval(low, high)


unit_interval = interval(0.0, 1.0)


def integers_up_to(high: ArrayLike) -> Integers:
    """The integers 0, 1, …, ``high``."""
    return Integers(0, high)


def point(value: ArrayLike) -> Point:
    """The set that holds ``value`` alone."""
    return Point(value)
