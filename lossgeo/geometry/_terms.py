"""Cancellation-free scalar pieces that several potentials and divergences share."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo.geometry._points import GAUSS_NODES, GAUSS_WEIGHTS


def kl_term(p: jax.Array, q: jax.Array, log_q: jax.Array | None = None) -> jax.Array:
    r"""Elementwise :math:`p\log(p/q) - p + q \ge 0` for :math:`p, q \ge 0`; sums to KL when the totals agree.

    Near neighbours (:math:`|p - q| < 0.3\,q`) use :math:`q\,x^2\int_0^1 (1-t)/(1+tx)\,dt` with :math:`x = (p-q)/q`:
    positive terms only, so neither sign nor relative accuracy is lost. ``0 log 0 = 0``; ``q = 0 < p`` is ``inf``.
    ``log_q`` is given where it is known better than ``log(q)``, as for logits.
    """
    near = jnp.abs(p - q) < 0.3 * q
    q_near = jnp.where(near, q, 1.0)
    x = jnp.where(near, p - q, 0.0) / q_near
    integral = sum(float(w * (1 - t)) / (1 + float(t) * x) for t, w in zip(GAUSS_NODES, GAUSS_WEIGHTS, strict=True))
    far = ~near & (p > 0)
    p_far = jnp.where(far, p, 1.0)
    log_q_far = jnp.log(jnp.where(far, q, 1.0)) if log_q is None else jnp.where(far, log_q, 0.0)
    direct = jnp.where(far, p_far * (jnp.log(p_far) - log_q_far) - p_far, 0.0) + q
    return jnp.where(near, q_near * x * x * integral, direct)


def log_softmax(z: jax.Array) -> jax.Array:
    r""":math:`(z_c - M) - \log(1 + \sum_{j\ne m} e^{z_j - M})` with :math:`M = z_m` the largest: exact to the last
    bits.

    The largest class is kept out of the sum, so that ``z = (20, 0)`` gives -2.06e-9 in float32 and not 0.
    """
    _, shifted, tail = _split(z)
    return shifted - jnp.log1p(tail)[..., None]


def log_sum_exp(z: jax.Array) -> jax.Array:
    r""":math:`M + \log(1 + \sum_{j \ne m} e^{z_j - M})` over the last axis."""
    top, _, tail = _split(z)
    return top + jnp.log1p(tail)


def _split(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest logit, the logits less it, and the sum of the exponentials of all others."""
    largest = jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=bool)
    top = jnp.sum(jnp.where(largest, z, 0.0), axis=-1)
    shifted = jnp.where(largest, 0.0, z - top[..., None])
    return top, shifted, jnp.sum(jnp.where(largest, 0.0, jnp.exp(shifted)), axis=-1)


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
