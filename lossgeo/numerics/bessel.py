r"""The logarithm of the modified Bessel function of order 0, the log-partition of directions on a circle."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def _bessel_coefficients() -> tuple[np.ndarray, np.ndarray]:
    power = np.array([1.0 / math.factorial(n) ** 2 for n in range(46)])
    tail = [1.0]
    for n in range(1, 24):
        tail.append(tail[-1] * (2 * n - 1) ** 2 / (8.0 * n))
    return power, np.array(tail)


_POWER, _TAIL = _bessel_coefficients()


def log_i0_of_square(t: jax.Array) -> jax.Array:
    r""":math:`\log I_0(2\sqrt t)` as a function of :math:`t = \kappa^2/4`, analytic at 0.

    Power series below a threshold, Hankel's asymptotic series above it: both are differentiated term by term, so the
    variance :math:`1 - r/\kappa - r^2 \sim 1/(2\kappa^2)` of a concentrated von Mises does not cancel.
    """
    single = jnp.finfo(t.dtype).bits <= 32
    threshold, terms = (16.0, 12) if single else (100.0, 24)
    small = t < threshold
    series = _polynomial(_POWER[:24] if single else _POWER, jnp.where(small, t, 0.0))
    kappa = 2 * jnp.sqrt(jnp.where(small, threshold, t))
    asymptotic = kappa - 0.5 * jnp.log(2 * math.pi * kappa) + jnp.log(_polynomial(_TAIL[:terms], 1 / kappa))
    return jnp.where(small, jnp.log(series), asymptotic)


def _polynomial(coefficients: np.ndarray, x: jax.Array) -> jax.Array:
    """Coefficients of ascending powers; a loop, because unrolled third derivatives take long to compile."""
    return jnp.polyval(jnp.asarray(coefficients[::-1], x.dtype), x, unroll=1)


def log_i0e(kappa: jax.Array) -> jax.Array:
    r""":math:`\log I_0(\kappa) - \kappa` for :math:`\kappa \ge 0`, differentiable as often as one likes.

    About :math:`-\tfrac12\log2\pi\kappa` far out, where the two terms of the name would cancel.
    """
    kappa = jnp.asarray(kappa)
    single = jnp.finfo(kappa.dtype).bits <= 32
    end, terms = (8.0, 12) if single else (20.0, 24)
    small = kappa < end
    near, far = jnp.where(small, kappa, 0), jnp.where(small, end, kappa)
    series = jnp.log(_polynomial(_POWER[:24] if single else _POWER, 0.25 * near * near)) - near
    return jnp.where(small, series, jnp.log(_polynomial(_TAIL[:terms], 1 / far)) - 0.5 * jnp.log(2 * math.pi * far))
