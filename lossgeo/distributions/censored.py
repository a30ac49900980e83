"""Censoring: an observation of which only a bound is known."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.composition import (
    batch_shape_of,
    log_interval,
    require_tails,
    same_shape,
)
from lossgeo.distributions.distribution import Distribution, promote
from lossgeo.distributions.foreign import support_of


@pytree
class Censored(Distribution):
    r"""A scalar distribution whose draws may be known only by a bound: survival times, detection limits, bins.

    The target is ``(time, event)`` or, with intervals, ``(time, event, upper)``:

    ========= ================ ====================================================
    ``event`` what is known    log-likelihood
    ========= ================ ====================================================
    1         ``Y = time``     ``base.log_prob(time)``
    0         ``Y > time``     ``base.log_survival(time)`` (right censored)
    2         ``Y <= time``    ``base.log_cdf(time)`` (left censored)
    3         ``time < Y <= upper``  :math:`\log[F(\text{upper}) - F(\text{time})]`
    ========= ================ ====================================================

    Censoring is non-informative: what decides when an observation is censored is no part of the density. Left
    truncation (delayed entry) is ``Censored(Truncated(base, low=entry))``.

    Args:
        base: a scalar distribution with ``log_cdf`` and ``log_survival``, ours or another library's.

    Raises:
        NotImplementedError: at the first use, if the base lacks them.
        ValueError: at the first use, if the parts of a target have different shapes, or the base has another one.

    Numerics:
        Finite, with finite gradients, where the survival probability or that of the interval underflows.

    Reference: the codes are those of ``Surv`` in the R package survival (Therneau 2000).
    """

    base: Any

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of the base."""
        return batch_shape_of(self.base)

    @property
    def support(self) -> supports.Support:
        """Targets whose codes are 0 to 3, whose events are possible and whose bounds are in order."""
        return supports.Censoring(support_of(self.base))

    def log_prob(self, y: Any) -> jax.Array:
        """Log-likelihood of ``(time, event)`` or ``(time, event, upper)``, each of shape ``(*batch,)``."""
        require_tails(self, self.base)
        time, event, *upper = supports.censoring_parts(y)
        same_shape(self, **dict(zip(("time", "event", "upper"), (time, event, *upper), strict=False)))
        if time.shape and self.batch_shape not in ((), time.shape):
            raise ValueError(
                f"time and event have shape {time.shape}, but the base of Censored has shape {self.batch_shape}. Both "
                "must agree, so that each observation meets its own density."
            )
        terms = {
            0: self.base.log_survival(time),
            1: self.base.log_prob(time),
            2: self.base.log_cdf(time),
        }
        if upper:
            # An interval with the ends in order, also where another code makes the second end meaningless.
            end = jnp.where((event == 3) & (upper[0] > time), upper[0], time + jnp.maximum(jnp.abs(time), 1))
            terms[3] = jnp.where(upper[0] > time, log_interval(self.base, time, end), -jnp.inf)
        event, *values = promote(event, *terms.values())
        value = jnp.full_like(values[0], -jnp.inf)
        for code, term in zip(terms, values, strict=True):
            value = jnp.where(event == code, term, value)
        return jnp.where(jnp.isnan(promote(time)[0]), jnp.nan, value)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:  # type: ignore[override]
        """Targets ``(time, event)`` that were followed to their event: ``event`` is 1."""
        time = self.base.sample(key, shape)
        return time, jnp.ones_like(time)

    @property
    def mean(self) -> jax.Array:
        """Mean of the variable that is censored."""
        return self.base.mean

    @property
    def variance(self) -> jax.Array:
        """Variance of the variable that is censored."""
        return self.base.variance
