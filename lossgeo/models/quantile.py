"""Quantile regression: a linear predictor for a quantile of the target instead of its mean."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions import AsymmetricLaplace
from lossgeo.models.predictor import linear_predictor

__all__ = ["QuantileRegression", "quantile_regression"]


@pytree
class QuantileRegression:
    """A linear quantile; see :func:`quantile_regression`."""

    quantile: ArrayLike = 0.5
    scale: ArrayLike | None = None
    intercept: bool = static(default=True)

    @property
    def supports(self) -> dict[str, supports.Support]:
        """A scale that is estimated is positive."""
        return {"scale": supports.positive} if self.scale is None else {}

    def __call__(self, params: Any, x: Any, offset: Any = None) -> AsymmetricLaplace:
        """Distribution of the target at features ``x`` of shape ``(n, d)``."""
        location = linear_predictor(params, x, self.intercept, offset)
        return AsymmetricLaplace(location, params["scale"] if self.scale is None else self.scale, self.quantile)

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values: no effect, the quantile of the target, and the mean loss around it.

        Raises:
            ValueError: ``x`` is not a matrix.
        """
        if len(jnp.shape(x)) != 2:
            raise ValueError(f"x must have shape (n, d), one row for each observation, but has shape {jnp.shape(x)}.")
        dtype = jnp.result_type(x, float)
        *offset, target = rest
        y = jnp.asarray(target, dtype) - (jnp.asarray(offset[0], dtype) if offset and offset[0] is not None else 0)
        start = {"coef": jnp.zeros(jnp.shape(x)[1], dtype)}
        center = jnp.quantile(y, jnp.asarray(self.quantile, dtype)) if self.intercept else jnp.zeros((), dtype)
        if self.intercept:
            start["intercept"] = center
        if self.scale is None:
            q, residual = jnp.asarray(self.quantile, dtype), y - center
            loss = jnp.mean(jnp.where(residual >= 0, q, q - 1) * residual)
            start["scale"] = jnp.where(loss > 0, loss, 1.0)
        return start


def quantile_regression(
    quantile: ArrayLike = 0.5, *, intercept: bool = True, scale: ArrayLike | None = None
) -> QuantileRegression:
    r"""The quantile of level :math:`q` of the target is :math:`x^\top\beta + \beta_0`.

    The loss is :math:`\rho_q(y - x^\top\beta - \beta_0)/s` with :math:`\rho_q(r) = r(q - 1_{r<0})`, the
    :class:`lossgeo.distributions.AsymmetricLaplace` noise. Without penalties the line does not depend on the scale; it
    is solved to a vertex, through as many observations as there are coefficients. Parameters ``coef`` of shape
    ``(d,)``, ``intercept`` and, unless it is held, ``scale``. For standard errors that do not trust the density see
    :func:`lossgeo.inference.quantile_covariance`.

    Args:
        quantile: level in (0, 1); 1/2 is least absolute deviations.
        intercept: whether there is an ``intercept``.
        scale: :math:`s > 0`, held; ``None`` to estimate it, which needs flat priors on the coefficients to be exact.

    Raises:
        ValueError: a level outside (0, 1), or a scale that is not positive.

    Example:
        >>> lg.fit(lg.map_objective(lg.likelihood(models.quantile_regression(0.9))), None, x, y)

    Reference: Koenker and Bassett (1978), Econometrica 46; Koenker and Machado (1999), JASA 94 (the scale).
    """
    if not isinstance(quantile, jax.core.Tracer) and not np.all(
        (np.asarray(quantile) > 0) & (np.asarray(quantile) < 1)
    ):
        raise ValueError(f"quantile must lie in (0, 1), but is {quantile!r}.")
    if scale is not None and not isinstance(scale, jax.core.Tracer) and not np.all(np.asarray(scale) > 0):
        raise ValueError(f"scale must be positive, but is {scale!r}.")
    return QuantileRegression(quantile, scale, intercept)
