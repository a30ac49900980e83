r"""Linear models of scikit-learn that have no everyday name here, as records that know their start values."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.distributions import AsymmetricLaplace
from lossgeo.models.predictor import linear_predictor

__all__ = ["ConcomitantHuber", "LinearQuantile", "LinearScore"]


def _start(x: Any, intercept: bool, constant: Any = 0.0) -> dict[str, jax.Array]:
    dtype = jnp.result_type(x, float)
    start = {"coef": jnp.zeros(jnp.shape(x)[1], dtype)}
    return start | ({"intercept": jnp.asarray(constant, dtype)} if intercept else {})


@pytree
class LinearScore:
    r"""The score :math:`x^\top w + b` of a margin loss."""

    intercept: bool = static(default=True)

    def __call__(self, params: Any, x: jax.Array) -> jax.Array:
        """Scores, shape ``(n,)``."""
        return linear_predictor(params, x, self.intercept)

    def init(self, x: Any, y: Any) -> dict[str, jax.Array]:
        """Start values: all zero."""
        return _start(x, self.intercept)


@pytree
class LinearQuantile:
    r"""A quantile of the target, linear in the features: asymmetric Laplace noise, the pinball loss."""

    quantile: ArrayLike
    scale: ArrayLike = 1.0
    intercept: bool = static(default=True)

    def __call__(self, params: Any, x: jax.Array) -> AsymmetricLaplace:
        """Distribution of the target."""
        return AsymmetricLaplace(linear_predictor(params, x, self.intercept), self.scale, self.quantile)

    def init(self, x: Any, y: Any) -> dict[str, jax.Array]:
        """Start values: the quantile of the target as the intercept."""
        return _start(x, self.intercept, jnp.quantile(jnp.asarray(y, float), self.quantile))


@pytree
class ConcomitantHuber:
    r"""Huber's loss with a scale that is estimated along with the coefficients, by itself and not by a density.

    .. math:: \ell_i = \sigma + \sigma\,H_\epsilon\Bigl(\frac{y_i - x_i^\top w - b}{\sigma}\Bigr), \qquad
        H_\epsilon(z) = \begin{cases}z^2 & |z| \le \epsilon\\ 2\epsilon|z| - \epsilon^2 & |z| > \epsilon\end{cases}

    Jointly convex in :math:`(w, b, \sigma)`. It is *not* the negative logarithm of Huber's density, whose scale enters
    as :math:`\log\sigma`: the two estimate different scales, and, with a penalty, different coefficients.

    Args:
        epsilon: :math:`\epsilon \ge 1`, in units of the scale.
        intercept: whether there is one.

    References: Huber, Ronchetti (2009), Robust Statistics, section 7.7; Owen (2007), Contemporary Mathematics 443.
    """

    epsilon: ArrayLike
    intercept: bool = static(default=True)

    def target_support(self) -> supports.Support:
        """The real line."""
        return supports.real

    def __call__(self, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Minus the loss of each observation, shape ``(n,)``."""
        scale = params["scale"]
        eta = linear_predictor(params, x, self.intercept)
        y = jnp.asarray(y, eta.dtype)
        if y.shape != eta.shape:
            raise ValueError(
                f"the target has shape {y.shape}, but the linear predictor has {eta.shape}: both are (n,)."
            )
        z = (y - eta) / scale
        size = z * jnp.sign(z)
        center = size <= self.epsilon
        inner, outer = jnp.where(center, z, 0), jnp.where(center, self.epsilon, size)
        loss = jnp.where(center, jnp.square(inner), 2 * self.epsilon * outer - jnp.square(self.epsilon))
        return -scale * (1 + loss)

    def init(self, x: Any, y: Any) -> dict[str, jax.Array]:
        """Start values: the median of the target, and its mean absolute deviation as the scale."""
        y = jnp.asarray(y, jnp.result_type(x, float))
        spread = jnp.mean(jnp.abs(y - jnp.median(y)))
        return _start(x, self.intercept, jnp.median(y)) | {"scale": jnp.where(spread > 0, spread, 1.0)}
