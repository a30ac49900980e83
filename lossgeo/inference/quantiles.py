r"""Standard errors of quantile regression: what stands for the observed information where the loss has a kink.

The estimate of the quantile of level :math:`q` is asymptotically normal with covariance

.. math:: q(1 - q)\, D^{-1} X^\top X\, D^{-1}, \qquad D = \sum_i f_i\, x_i x_i^\top,

where :math:`f_i` is the density of observation :math:`i` at its quantile: unlike curvature it has to be estimated.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo.inference.covariance import Fitted
from lossgeo.piecewise import piecewise
from lossgeo.posing import as_problem
from lossgeo.solvers import InteriorPoint, Pieces, Problem, Status, Vertex, run, vertex_near

__all__ = ["hall_sheather_bandwidth", "quantile_covariance"]


def hall_sheather_bandwidth(level: float, n: int, alpha: float = 0.05) -> float:
    r"""Bandwidth in the level at which the density at a quantile is looked at.

    .. math:: h = n^{-1/3}\, z_{1 - \alpha/2}^{2/3} \Bigl(\frac{3\,\phi(z_q)^2}{2(2 z_q^2 + 1)}\Bigr)^{1/3}

    Optimal for intervals of coverage :math:`1 - \alpha` where the noise is nearly normal.

    Args:
        level: :math:`q` in (0, 1).
        n: number of observations.
        alpha: one minus the coverage.

    Reference: Hall and Sheather (1988), On the distribution of a Studentized quantile, JRSS B 50, 381.
    """
    z = float(jax.scipy.special.ndtri(jnp.asarray(level)))
    critical = float(jax.scipy.special.ndtri(jnp.asarray(1 - alpha / 2)))
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return n ** (-1 / 3) * critical ** (2 / 3) * (1.5 * density**2 / (2 * z * z + 1)) ** (1 / 3)


def quantile_covariance(fit: Fitted, kind: Literal["nid", "iid"] = "nid") -> jax.Array:
    r"""Covariance of a fitted quantile regression, robust to noise that is not asymmetric Laplace.

    * ``"nid"``: densities of their own for all observations, from the quantiles of levels :math:`q \pm h` at the
      bandwidth of :func:`hall_sheather_bandwidth`, :math:`f_i = 2h / x_i^\top(\hat\beta_{q+h} - \hat\beta_{q-h})`;
      where these lines cross, :math:`f_i = 0`. R's ``summary.rq(se = "nid")``.
    * ``"iid"``: one density for all, from the slope of the ordered residuals around 0. R's ``summary.rq(se = "iid")``.

    Args:
        fit: a fit of a model that returns ``Laplace`` or ``AsymmetricLaplace`` noise of one level and one scale, or of
            ``losses.Pinball`` or ``losses.absolute_error`` as a pseudo-likelihood; flat priors, no weights.
        kind: see above.

    Returns:
        Shape ``(P, P)`` in the order of ``ravel_pytree(params)``. NaN for parameters that are held and for the scale,
        and all NaN where the fit did not converge or too few densities are positive.

    Raises:
        ValueError: another fit, with the reason.

    References: Koenker and Bassett (1978), Econometrica 46, Theorem 4.2; Hendricks and Koenker (1992), JASA 87, 58;
    Koenker (2005), Quantile Regression, section 3.4.
    """
    if kind not in ("nid", "iid"):
        raise ValueError(f"kind must be 'nid' or 'iid', but is {kind!r}.")
    pieces, places, total = _quantile_pieces(fit)
    low, high = np.asarray(pieces.low), np.asarray(pieces.high)
    width, level = high - low, float(high[0] / (high[0] - low[0]))
    if np.ptp(width) > 1e-6 * width[0] or np.ptp(high) > 1e-6 * width[0]:
        raise ValueError(
            "quantile_covariance needs one level and one scale for all observations and no weights; these differ. Use "
            "a bootstrap."
        )
    rows = -np.asarray(pieces.rows, float)
    result = np.full((total, total), np.nan)
    if Status(int(fit.solution.status)) == Status.CONVERGED:
        densities = _own_densities(pieces, level) if kind == "nid" else _one_density(fit, pieces, level, places)
        found = _sandwich(rows, densities, level)
        result[np.ix_(places, places)] = found
    return jnp.asarray(result, pieces.rows.dtype)


def _quantile_pieces(fit: Fitted) -> tuple[Pieces, np.ndarray, int]:
    """The check losses, the places of the coefficients among the raveled parameters, and the number of these."""
    posed = fit.posed
    problem = as_problem(posed)
    found = piecewise(problem)
    pieces = None if found is None else found.pieces(posed)
    if found is None or pieces is None or found.absolute or bool(jnp.any(pieces.strength > 0)):
        raise ValueError(
            "quantile_covariance needs quantile regression: a model that returns a Laplace or AsymmetricLaplace "
            "distribution with a linear location, or losses.Pinball, and flat priors."
        )
    if pieces.offset.shape[0] != posed.data[-1].shape[0] or not bool(jnp.all((pieces.low < 0) & (pieces.high > 0))):
        raise ValueError("quantile_covariance needs a loss with one kink, of positive slope to either side.")
    leaves = jax.tree.leaves(posed.template)
    sizes = np.cumsum([0, *(leaf.size for leaf in leaves)])
    places = [np.arange(a, b) for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))
              if i != found.scale and problem.init[i].size]  # fmt: skip
    return pieces, np.concatenate(places), int(sizes[-1])


def _own_densities(pieces: Pieces, level: float) -> np.ndarray:
    """Density of each observation by the quantiles on either side, shape ``(n,)``."""
    h = hall_sheather_bandwidth(level, pieces.offset.shape[0])
    while level - h < 0 or level + h > 1:
        h = h / 2
    ends = [np.asarray(_solve(_at_level(pieces, level + step)).z, float) for step in (h, -h)]
    apart = -np.asarray(pieces.rows, float) @ (ends[0] - ends[1])
    apart = apart - np.finfo(float).eps ** (2 / 3)
    return np.where(apart > 0, 2 * h / np.where(apart > 0, apart, 1.0), 0.0)


def _one_density(fit: Fitted, pieces: Pieces, level: float, places: np.ndarray) -> np.ndarray:
    """One over the slope of the ordered residuals next to 0 in their level, by a median regression; ``(n,)``."""
    z = np.asarray(ravel_pytree(fit.solution.params)[0])[places]
    residual = np.asarray(pieces.residual(jnp.asarray(z, pieces.rows.dtype)), float)
    (n, p), tiny = pieces.rows.shape, np.finfo(float).eps ** (2 / 3) * max(1.0, float(np.max(np.abs(pieces.offset))))
    at_rest = int(np.sum(np.abs(residual) < tiny))
    size = max(p + 1, math.ceil(n * hall_sheather_bandwidth(level, n)))
    ranks = np.arange(at_rest + 1, min(size + at_rest + 1, n) + 1)
    chosen = np.sort(residual[np.argsort(np.abs(residual), kind="stable")][ranks - 1])
    line = np.stack([np.ones(len(ranks)), ranks / (n - p)], axis=1)
    half = 0.5 * np.ones(len(ranks))
    parts, nothing = [jnp.asarray(v, pieces.rows.dtype) for v in (line, chosen, half)], jnp.zeros(2, pieces.rows.dtype)
    median = Pieces(parts[0], parts[1], -parts[2], parts[2], nothing, nothing)
    slope = float(_solve(median).z[1])
    return np.full(n, 1 / slope if slope > 0 else 0.0)


def _sandwich(rows: np.ndarray, densities: np.ndarray, level: float) -> np.ndarray:
    scale = np.linalg.norm(rows, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    root = np.linalg.qr(np.sqrt(densities)[:, None] * rows / scale[None, :], mode="r")
    size = np.abs(np.diag(root))
    if len(size) < rows.shape[1] or np.min(size) <= 1e-10 * np.max(size):
        return np.full((rows.shape[1], rows.shape[1]), np.nan)
    inverse = np.linalg.inv(root)
    bread = inverse @ inverse.T
    outer = (rows / scale[None, :]).T @ (rows / scale[None, :])
    return level * (1 - level) * (bread @ outer @ bread) / scale[:, None] / scale[None, :]


def _at_level(pieces: Pieces, level: float) -> Pieces:
    one = jnp.ones_like(pieces.offset)
    return Pieces(pieces.rows, pieces.offset, (level - 1) * one, level * one, pieces.strength, pieces.center)


def _itself(pieces: Pieces) -> Pieces:
    return pieces


def _nothing(u: jax.Array, pieces: Pieces) -> jax.Array:
    return jnp.zeros(())


@jax.jit
def _solve(pieces: Pieces) -> Vertex:
    problem = Problem(_nothing, None, pieces, jnp.zeros_like(pieces.center), pieces=_itself)
    solver, tol = InteriorPoint(), jnp.zeros((), pieces.rows.dtype)
    return vertex_near(run(solver, problem, solver.init(problem, tol), tol, solver.max_steps))
