"""Supports of real numbers: their maps act elementwise."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo._pytree import pytree
from lossgeo.supports.support import Support


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
class Nonnegative(Support):
    r""":math:`[0, \infty)`; :math:`x = e^u`, which reaches 0 only at :math:`u = -\infty`.

    A value of exactly 0 belongs to the set but has no finite coordinate: start a solver inside.
    """

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return "the numbers from 0 on"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        return jnp.isfinite(x) & (jnp.asarray(x) >= 0)

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
class GreaterThan(Support):
    r""":math:`(a, \infty)`; :math:`x = a + e^u`."""

    low: ArrayLike

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the numbers greater than {self.low}"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`; the end does not belong to the set."""
        return jnp.isfinite(x) & (jnp.asarray(x) > self.low)

    def forward(self, u: ArrayLike) -> jax.Array:
        r""":math:`a + e^u`."""
        return jnp.add(self.low, jnp.exp(u))

    def inverse(self, x: ArrayLike) -> jax.Array:
        r""":math:`\log(x - a)`."""
        return jnp.log(jnp.subtract(x, self.low))

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r""":math:`a + e^u` and :math:`u`."""
        return self.forward(u), jnp.asarray(u)


@pytree
class LessThan(Support):
    r""":math:`(-\infty, b)`; :math:`x = b - e^u`."""

    high: ArrayLike

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the numbers less than {self.high}"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`; the end does not belong to the set."""
        return jnp.isfinite(x) & (jnp.asarray(x) < self.high)

    def forward(self, u: ArrayLike) -> jax.Array:
        r""":math:`b - e^u`."""
        return jnp.subtract(self.high, jnp.exp(u))

    def inverse(self, x: ArrayLike) -> jax.Array:
        r""":math:`\log(b - x)`."""
        return jnp.log(jnp.subtract(self.high, x))

    def forward_and_log_det(self, u: ArrayLike) -> tuple[jax.Array, jax.Array]:
        r""":math:`b - e^u` and :math:`u`."""
        return self.forward(u), jnp.asarray(u)


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
class ClosedInterval(Interval):
    r"""The closed interval :math:`[a, b]`, with the coordinates of the open one.

    A value on an end belongs to the set but has no finite coordinate: start a solver inside.
    """

    @property
    def label(self) -> str:
        """See :attr:`Support.label`."""
        return f"the closed interval [{self.low}, {self.high}]"

    def contains(self, x: ArrayLike) -> jax.Array:
        """See :meth:`Support.contains`."""
        return (jnp.asarray(x) >= self.low) & (jnp.asarray(x) <= self.high)


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
