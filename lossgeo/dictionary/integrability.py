r"""Whether :math:`\int e^{-\rho(r)}\,dr` is finite and what it is, for any function of a number.

The verdict comes from the growth of :math:`\rho` from octave to octave, averaged over 32 of them,
:math:`a_k = [\rho(2^{k+32}) - \rho(2^k)] / 32\log 2`: an integrand that behaves as :math:`r^{-a}` has
:math:`a_k \to a`, and its integral to infinity is finite for :math:`a > 1` (at 0, for :math:`a < 1`). Growth that stays
away from 1 over the far half of all octaves of the floating range decides; growth that creeps towards 1, as that of
:math:`r^{-1}(\log r)^{-2}` does, is left undecided. The value comes from Gauss–Legendre quadrature in
:math:`\log r`, with intervals halved until kinks and jumps are resolved; a spike too narrow for the nodes in an octave
where other mass hides it is missed, as by any quadrature.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["Integral", "evaluate", "integrate_exp"]

_OFFSETS = (1.0, 1.17, 1.39, 1.71)
"""Where in an octave the growth is looked at, so that no period can hide."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_BATCH = 256
_ROUNDS = 70


@dataclasses.dataclass(frozen=True)
class Integral:
    r"""What :func:`integrate_exp` found.

    Attributes:
        finite: whether the integral is finite; ``None`` if this could not be decided.
        log_value: logarithm of the integral in nats; ``inf`` if it diverges, NaN if undecided.
        error: estimated relative error of the integral; NaN unless it is finite.
        reason: the evidence, in words.
    """

    finite: bool | None
    log_value: float
    error: float
    reason: str


def evaluate(fn: Callable[[Any], Any], r: np.ndarray) -> np.ndarray:
    """Values of an elementwise function as float64, in batches of one shape so that it is compiled once.

    Raises:
        ValueError: it is not elementwise, or not real.
    """
    flat = r.reshape(-1)
    size = _BATCH * 2 * _NODES.size
    parts = []
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, size):
            chunk = np.resize(flat[start : start + size], size)
            values = np.asarray(fn(jnp.asarray(chunk, float)))
            if values.shape != chunk.shape or not np.issubdtype(values.dtype, np.floating):
                raise ValueError(
                    f"the function must map numbers of shape {chunk.shape} elementwise to real numbers; it returned "
                    f"{values.dtype}{list(values.shape)}. Write it with jax.numpy, for one argument of any shape."
                )
            parts.append(values.astype(np.float64)[: flat.size - start])
    return np.concatenate(parts).reshape(r.shape)


def integrate_exp(rho: Callable[[Any], Any]) -> Integral:
    r"""The integral of :math:`e^{-\rho(r)}` over the line, with a verdict on whether there is one.

    Args:
        rho: elementwise function of a number, which may be infinite (zero density); kinks and jumps may be anywhere.

    Returns:
        An :class:`Integral`. A singularity elsewhere than at 0 is found by the quadrature, which then does not converge
        and leaves the verdict open.

    Raises:
        ValueError: ``rho`` is not elementwise or is NaN at moderate arguments.
    """
    single = jnp.zeros(()).dtype == jnp.float32
    octaves = 110 if single else 1000
    eps = float(jnp.finfo(jnp.zeros(()).dtype).eps)
    moderate = np.concatenate([-(2.0 ** np.arange(-8, 9)), 2.0 ** np.arange(-8, 9)])
    if np.any(np.isnan(evaluate(rho, moderate))):
        raise ValueError("the function is NaN between -256 and 256; a loss or penalty must be a number or inf there.")
    verdicts = [_end(rho, sign, outer, octaves, eps) for sign in (-1.0, 1.0) for outer in (True, False)]
    for finite, _, text in verdicts:
        if finite is False:
            return Integral(False, math.inf, math.nan, text)
    for finite, _, text in verdicts:
        if finite is None:
            return Integral(None, math.nan, math.nan, text)
    log_value, error = _quadrature(rho, octaves, eps, [exponent for _, exponent, _ in verdicts])
    if not (math.isfinite(log_value) and error < 1e-3):
        return Integral(
            None, math.nan, math.nan, f"both tails decay, but the quadrature does not converge (error {error:.0e})"
        )
    text = f"both tails decay: {verdicts[0][2]}; {verdicts[2][2]}"
    return Integral(True, log_value, error, text)


def _end(
    rho: Callable[[Any], Any], sign: float, outer: bool, octaves: int, eps: float
) -> tuple[bool | None, float, str]:
    """Verdict on one end of a half-line, the exponent there, and the evidence."""
    where = f"towards {'-' if sign < 0 else '+'}{'infinity' if outer else '0'}"
    powers = np.arange(octaves + 1) if outer else -np.arange(octaves + 1)
    values = evaluate(rho, sign * 2.0 ** powers[:, None] * np.array(_OFFSETS))
    infinite, usable = np.all(values == np.inf, axis=1), np.all(np.isfinite(values), axis=1)
    if infinite.all():
        return True, math.inf, f"{where} the density is 0"
    if outer:
        stop = int(np.argmin(usable)) if not usable.all() else usable.size
        # Growth that steepens until the floating range is left; a sudden end is a constraint, unless it comes where
        # an exponential or a power of the argument overflows.
        steps = np.diff(values[:stop], axis=0)
        if 4 <= stop < usable.size and np.all(steps[-1] > 6) and np.all(np.diff(steps[-3:], axis=0) > 0):
            return True, math.inf, f"{where} the loss grows faster than any power"
        if infinite[stop + 1 :].all() and stop < octaves // 4 and not 6 <= stop <= 10:
            return True, math.inf, f"{where} the loss is infinite beyond |r| = {2.0 ** (stop + 1):.3g}"
        values = values[:stop]
    else:
        values = values[int(np.max(np.nonzero(~usable)[0], initial=-1)) + 1 :]
    single = octaves < 500
    window, margin = (8, 0.06) if single else (32, 0.02)
    if values.shape[0] < (48 if single else 92):
        return None, math.nan, f"{where} the function is not finite far enough to tell whether the integral is finite"
    growth = (values[window:] - values[:-window]) / (window * math.log(2)) * (1 if outer else -1)
    rounding = 16 * eps * np.max(np.abs(values), axis=1)[window:, None] / window
    far = slice(growth.shape[0] // 2, None)
    low, high = float(np.min((growth - rounding)[far])), float(np.max((growth + rounding)[far]))
    text = f"{where} the density behaves as |r|^-a with a from {low:.4g} to {high:.4g}"
    if outer:
        finite = True if low >= 1 + margin else False if np.max((growth - rounding)[far]) <= 1 else None
        text = f"{where} the loss grows faster than any logarithm" if low > 1e6 else text
    else:
        finite = True if high <= 1 - margin else False if np.min((growth + rounding)[far]) >= 1 else None
    return finite, low if outer else high, text if finite is not None else f"{text}: too near to 1 to decide"


def _quadrature(rho: Callable[[Any], Any], octaves: int, eps: float, exponents: list[float]) -> tuple[float, float]:
    """Logarithm of the integral and its estimated relative error."""

    def panels(left: np.ndarray, right: np.ndarray, sign: np.ndarray) -> np.ndarray:
        """Logarithms of the integrals by one and by two panels, shape ``(2, n)``."""
        middle = 0.5 * (left + right)
        starts, ends = np.stack([left, left, middle]), np.stack([right, middle, right])
        half = 0.5 * (ends - starts)[..., None]
        x = 0.5 * (ends + starts)[..., None] + half * _NODES
        terms = x - evaluate(rho, sign[None, :, None] * np.exp(x)) + np.log(half * _WEIGHTS)
        logs = np.logaddexp.reduce(np.where(np.isnan(terms), -np.inf, terms), axis=-1)
        return np.stack([logs[0], np.logaddexp(logs[1], logs[2])])

    edges = np.log(2.0) * np.arange(-octaves, octaves + 1)
    left, right = np.tile(edges[:-1], 2), np.tile(edges[1:], 2)
    sign = np.repeat([-1.0, 1.0], edges.size - 1)
    logs = panels(left, right, sign)
    for _ in range(_ROUNDS):
        offset = float(np.max(logs))
        if not math.isfinite(offset):
            return math.nan, math.inf
        coarse, fine = np.exp(logs - offset)
        error, total = np.abs(coarse - fine), float(np.sum(fine))
        worst = np.argsort(error)[::-1][:_BATCH]
        worst = worst[error[worst] > 4 * eps * total]
        if worst.size == 0:
            break
        middle = 0.5 * (left[worst] + right[worst])
        new = (
            np.concatenate([left[worst], middle]),
            np.concatenate([middle, right[worst]]),
            np.tile(sign[worst], 2),
        )
        keep = np.setdiff1d(np.arange(left.size), worst)
        logs = np.concatenate([logs[:, keep], panels(*new)], axis=1)
        left, right, sign = (np.concatenate([v[keep], n]) for v, n in zip((left, right, sign), new, strict=True))
    offset = float(np.max(logs))
    if not math.isfinite(offset):
        return math.nan, math.inf
    coarse, fine = np.exp(logs - offset)
    error, total = float(np.sum(np.abs(coarse - fine))), float(np.sum(fine))
    # What still hangs on a panel of the width of rounding is a singularity that is not resolved.
    error += float(np.sum(fine[right - left < 64 * eps * (1 + np.abs(left))]))
    # What a power-law tail has beyond the floating range.
    for side, exponent in ((-1.0, exponents[0]), (1.0, exponents[2])):
        last = float(np.sum(fine[(right >= edges[-1]) & (sign == side)]))
        if math.isfinite(exponent) and last > 0:
            beyond = last / math.expm1(min((exponent - 1) * math.log(2), 700.0))
            error, total = error + beyond, total + beyond
    return offset + math.log(total), error / total + 64 * eps
