"""Student's t distribution: errors with outliers."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import HALF_LOG_2PI, LOG_2, matrix, promote, sample_shape
from lossgeo.distributions.location_scale import LocationScale
from lossgeo.distributions.quantile import continuous_quantile


@pytree
class StudentT(LocationScale):
    r"""Student's t distribution with location and scale on the real line.

    .. math::
        \log p(y) = -\frac{\nu + 1}{2}\log\Bigl(1 + \frac{z^2}{\nu}\Bigr)
        + \log\frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2})} - \tfrac12\log\nu\pi - \log\sigma,
        \qquad z = \frac{y - \mu}{\sigma}

    As noise it is a redescending robust loss (not convex); ``df = 1`` is the Cauchy distribution and ``df = inf`` the
    normal one.

    Args:
        df: degrees of freedom :math:`\nu > 0`.
        loc: median and mode :math:`\mu`, any real.
        scale: :math:`\sigma > 0`; the standard deviation is larger.

    Numerics:
        Accurate for all ``df`` up to and including ``inf``, in the value and in the derivative with respect to ``df``:
        neither gamma functions nor ``df * log1p(z**2 / df)`` are subtracted from their limits. ``z**2`` may overflow.
    """

    df: ArrayLike
    loc: ArrayLike = 0.0
    scale: ArrayLike = 1.0

    def _shape(self) -> tuple[ArrayLike, ...]:
        return (self.df,)

    def _log_density(self, z: jax.Array, df: jax.Array) -> jax.Array:  # type: ignore[override]
        return _log_gamma_ratio(df) - HALF_LOG_2PI - half_log1p_square(z, df)

    def _log_cdf(self, z: jax.Array, df: jax.Array) -> jax.Array:  # type: ignore[override]
        log_inner, log_outer = log_t_tails(z, df)
        return jnp.where(z < 0, log_outer - LOG_2, jnp.log1p(-0.5 * jnp.exp(log_outer)))

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`."""
        q, df, _ = promote(q, self.df, self.loc)
        return self._located(continuous_quantile(StudentT(df), q, jnp.sinh, -jnp.inf, jnp.inf))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`."""
        shape = sample_shape(self, shape)
        dtype = jnp.result_type(self.df, self.loc, self.scale, float)
        key_normal, key_gamma = jax.random.split(key)
        draw, df, loc, scale = promote(jax.random.normal(key_normal, shape, dtype), self.df, self.loc, self.scale)
        half = 0.5 * jnp.where(jnp.isinf(df), 2, df)
        # The logarithm of a gamma draw does not underflow when df is small.
        log_chi_square = jax.random.loggamma(key_gamma, jnp.broadcast_to(half, shape), shape, dtype)
        spread = jnp.where(jnp.isinf(df), 1, jnp.exp(0.5 * (jnp.log(half) - log_chi_square)))
        return loc + scale * (draw * spread)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu` if :math:`\nu > 1`, else it does not exist."""
        df, loc = promote(self.df, self.loc)
        return jnp.broadcast_to(jnp.where(df > 1, loc, jnp.nan), self.batch_shape)

    @property
    def variance(self) -> jax.Array:
        r""":math:`\sigma^2\nu/(\nu - 2)`, which is infinite for :math:`1 < \nu \le 2` and does not exist below."""
        df, scale = promote(self.df, self.scale)
        finite = jnp.square(scale) / (1 - 2 / jnp.where(df > 2, df, 3))
        value = jnp.where(df > 2, finite, jnp.where(df > 1, jnp.inf, jnp.nan))
        return jnp.broadcast_to(value, self.batch_shape)

    def entropy(self) -> jax.Array:
        r"""The normal entropy :math:`\tfrac12\log 2\pi e\sigma^2` and what the tails add.

        .. math:: \frac{\nu + 1}{2}\Bigl[\psi\bigl(\tfrac{\nu + 1}{2}\bigr) - \psi\bigl(\tfrac\nu2\bigr)\Bigr]
            + \log\bigl[\sigma\sqrt\nu\,B(\tfrac\nu2, \tfrac12)\bigr]
        """
        df, scale = promote(self.df, self.scale)
        finite = jnp.where(jnp.isinf(df), 1, df)
        ratio, slope = jax.jvp(_log_gamma_ratio, (finite,), (jnp.ones_like(finite),))
        excess = jnp.where(jnp.isinf(df), 0, (finite + 1) * slope + 0.5 / finite - ratio)
        return jnp.broadcast_to(jnp.log(scale) + (HALF_LOG_2PI + 0.5) + excess, self.batch_shape)

    def fisher_information(self) -> jax.Array:
        r"""For ``(df, loc, scale)``; location is orthogonal to the others.

        .. math::
            I_{\mu\mu} = \frac{\nu + 1}{(\nu + 3)\sigma^2}, \quad I_{\sigma\sigma} = \frac{2\nu}{(\nu + 3)\sigma^2},
            \quad I_{\nu\sigma} = \frac{-2}{(\nu + 1)(\nu + 3)\sigma}, \quad
            I_{\nu\nu} = \tfrac14\bigl[\psi'(\tfrac\nu2) - \psi'(\tfrac{\nu + 1}{2})\bigr]
            - \frac{\nu + 5}{2\nu(\nu + 1)(\nu + 3)}

        Reference: Lange, Little, Taylor (1989), Robust statistical modeling using the t distribution, appendix B.
        """
        df, _, scale = promote(self.df, self.loc, self.scale)
        df, scale = jnp.broadcast_to(df, self.batch_shape), jnp.broadcast_to(scale, self.batch_shape)
        trigamma = lambda v: jax.scipy.special.polygamma(1, v)  # noqa: E731
        shape = 0.25 * (trigamma(0.5 * df) - trigamma(0.5 * df + 0.5)) - (df + 5) / (2 * df * (df + 1) * (df + 3))
        location = (df + 1) / (df + 3) / jnp.square(scale)
        spread, mixed = 2 * df / (df + 3) / jnp.square(scale), -2 / ((df + 1) * (df + 3) * scale)
        return matrix([shape, 0.0, mixed], [0.0, location, 0.0], [mixed, 0.0, spread])


def _log_gamma_ratio(df: jax.Array) -> jax.Array:
    r""":math:`\log\Gamma(\frac{\nu + 1}{2}) - \log\Gamma(\frac\nu2) - \tfrac12\log\frac\nu2`, about :math:`-1/4\nu`.

    With Stirling's formula taken out by hand it is
    :math:`-\frac{1}{2\nu}E(\frac1\nu) + r(\frac{\nu + 1}{2}) - r(\frac\nu2)` in the names of :mod:`lossgeo.numerics`.
    """
    u = 1 / df
    rise = numerics.stirling_remainder(0.5 * df + 0.5) - numerics.stirling_remainder(0.5 * df)
    return rise - 0.5 * u * numerics.log1p_remainder(u)


def half_log1p_square(z: jax.Array, df: jax.Array) -> jax.Array:
    r""":math:`\frac{\nu + 1}{2}\log(1 + z^2/\nu)`: a series near the center, logarithms far out."""
    u = 1 / df
    near = z * u * z < 0.5
    z_near, z_far = jnp.where(near, z, 0), jnp.where(near, 1, z)
    x = z_near * u * z_near
    center = 0.5 * (1 + u) * z_near * z_near * (1 - x * numerics.log1p_remainder(x))
    u_far, df_far = jnp.where(near, 1, u), jnp.where(near, 1, df)
    ratio = jnp.abs(z_far) * jnp.sqrt(u_far)
    tail = 0.5 * (df_far + 1) * (2 * jnp.log(ratio) + jnp.log1p(1 / ratio / ratio))
    return jnp.where(near, center, tail)


def log_t_tails(z: jax.Array, df: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""Logarithms of :math:`P(|T| < |z|)` and :math:`P(|T| > |z|)`: incomplete beta functions."""
    normal, center = jnp.isinf(df), z == 0
    safe_df = jnp.where(normal, 1, df)
    size = jnp.where(center, 1, jnp.abs(z))
    # Beyond a limit, whose square does not overflow, the tail is a power to full accuracy.
    root, limit = jnp.sqrt(safe_df), 1e100 if size.dtype == jnp.float64 else 1e12
    far = (size > limit * root) & ~normal
    beyond = safe_df * (jnp.log(jnp.where(far, size, 1)) - jnp.where(far, jnp.log(root) + math.log(limit), 0))
    size = jnp.where(far, limit * root, size)
    small = size * size < safe_df
    up, down = jnp.where(small, size * size / safe_df, 1), jnp.where(small, 1, safe_df / size / size)
    inner = jnp.where(small, up / (1 + up), 1 / (1 + down))
    outer = jnp.where(small, 1 / (1 + up), down / (1 + down))
    log_inner, log_outer = numerics.log_beta_tails(0.5, 0.5 * safe_df, inner, outer)
    log_outer = log_outer - jnp.where(far, beyond, 0)
    normal_outer = numerics.log_ndtr(-size) + LOG_2
    log_outer = jnp.where(normal, normal_outer, log_outer)
    log_inner = jnp.where(normal, numerics.log1mexp(-normal_outer), log_inner)
    # At the center the density is smooth; P(|T| < |z|) has the slope of twice the density there.
    slope = jnp.where(center, 2 * jnp.exp(_log_gamma_ratio(safe_df) - HALF_LOG_2PI), 0)
    return jnp.where(center, -jnp.inf, log_inner), jnp.where(center, -slope * z, log_outer)
