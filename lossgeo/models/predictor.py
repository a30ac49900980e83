"""The linear predictor of a model, and where it starts."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo.links import Link

__all__ = ["linear_predictor", "predictor_start"]


def linear_predictor(params: Any, x: Any, intercept: bool, offset: Any = None) -> jax.Array:
    r""":math:`x\beta + \beta_0 + \text{offset}`, the product first, so that solvers see the design matrix.

    Args:
        params: ``{"coef": (d,)}`` or ``(d, k)``, and ``"intercept"`` of shape ``()`` or ``(k,)``.
        x: features, shape ``(n, d)``.
        intercept: whether there is an intercept.
        offset: shape ``(n,)`` or ``()``, known and not estimated; ``None`` for none.

    Returns:
        Shape ``(n,)`` or ``(n, k)``.
    """
    eta = jnp.asarray(x) @ params["coef"]
    if intercept:
        constant = jnp.asarray(params["intercept"])
        eta = eta + (constant[None, :] if constant.ndim else constant)
    return eta if offset is None else eta + offset


def predictor_start(x: Any, mean: jax.Array, link: Link, intercept: bool, offset: Any = None) -> dict[str, jax.Array]:
    """Coefficients of the constant predictor that gives all observations one mean.

    Without an intercept they are those of least squares for that predictor.

    Raises:
        ValueError: ``x`` is not a matrix.
    """
    shape = jnp.shape(x)
    if len(shape) != 2:
        raise ValueError(f"x must have shape (n, d), one row for each observation, but has shape {shape}.")
    dtype = jnp.result_type(x, float)
    constant = link.link(mean).astype(dtype) - jnp.mean(jnp.asarray(0.0 if offset is None else offset, dtype))
    if intercept:
        return {"coef": jnp.zeros(shape[1], dtype), "intercept": constant}
    coef = jnp.linalg.lstsq(jnp.asarray(x, dtype), jnp.full(shape[0], constant))[0]
    return {"coef": coef}
