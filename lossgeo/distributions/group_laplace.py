"""The multivariate Laplace density whose penalty is the group lasso."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree
from lossgeo.distributions.distribution import Distribution, Kink
from lossgeo.distributions.grouped_laplace import GroupedLaplace


@pytree
class GroupLaplace(Distribution):
    r"""Distribution of a vector whose density falls exponentially with the Euclidean norm.

    .. math:: \log p(y) = -\frac{\|y - \mu\|_2}{b} - d\log b - \log\frac{2\pi^{d/2}\,\Gamma(d)}{\Gamma(d/2)}

    As a prior it is the group lasso penalty :math:`\|\theta\|_2/b`: the whole vector is 0 in the mode, or none of it.
    With one component it is ``Laplace``. The usual weight of a group of size d is ``scale = 1 / (strength * sqrt(d))``.

    Args:
        loc: location and mode :math:`\mu`, shape ``(*batch, d)``: the *last* axis is the group, an event axis.
        scale: :math:`b > 0`, shape ``(*batch,)``; the norm has the mean :math:`d\,b`.

    Numerics:
        At the kink ``y == loc`` the gradient is exactly 0. The norm neither over- nor underflows.

    Reference: Yuan, Lin (2006), Model selection and estimation in regression with grouped variables, JRSS B 68; Gómez,
    Gómez-Villegas, Marín (1998), A multivariate generalization of the power exponential family, Comm. Stat. 27.
    """

    event_ndim: ClassVar[int] = 1

    loc: ArrayLike
    scale: ArrayLike = 1.0

    def _parts(self) -> tuple[jax.Array, jax.Array]:
        """Location, shape ``(*batch, d)``, and scale, shape ``(*batch,)``."""
        dtype = jnp.result_type(float, self.loc, self.scale)
        loc, scale = jnp.asarray(self.loc, dtype), jnp.asarray(self.scale, dtype)
        if loc.ndim == 0:
            raise ValueError(
                "GroupLaplace needs loc of shape (*batch, d), one entry for each member of the group; it was given a "
                "scalar. Write GroupLaplace(jnp.zeros(d), scale)."
            )
        batch = jnp.broadcast_shapes(loc.shape[:-1], scale.shape)
        return jnp.broadcast_to(loc, (*batch, loc.shape[-1])), jnp.broadcast_to(scale, batch)

    def _as_grouped(self) -> GroupedLaplace:
        """The same with one label."""
        loc, scale = self._parts()
        return GroupedLaplace((0,) * loc.shape[-1], loc, scale[..., None])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of ``loc`` less its last axis, broadcast with that of ``scale``."""
        return self._parts()[1].shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(d,)``."""
        return self._parts()[0].shape[-1:]

    @property
    def support(self) -> supports.Support:
        """The real line, for each component."""
        return supports.real

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.log_prob`; ``y`` has shape ``(*batch, d)``."""
        loc, scale = self._parts()
        y = jnp.asarray(y, jnp.result_type(y, self.loc, self.scale, float))
        if y.shape[-1:] != loc.shape[-1:]:
            raise ValueError(
                f"y has shape {y.shape}; GroupLaplace of {loc.shape[-1]} members needs (*batch, {loc.shape[-1]}). Give "
                "one value for each member of the group on the last axis."
            )
        return self._as_grouped().log_prob(y)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`: a uniform direction times a gamma-distributed norm."""
        return self._as_grouped().sample(key, shape)

    @property
    def mean(self) -> jax.Array:
        r""":math:`\mu`."""
        return self._parts()[0]

    @property
    def variance(self) -> jax.Array:
        r""":math:`(d + 1)\,b^2` for each component; they are uncorrelated, but not independent."""
        return self._as_grouped().variance

    def entropy(self) -> jax.Array:
        r""":math:`d + d\log b + \log\frac{2\pi^{d/2}\Gamma(d)}{\Gamma(d/2)}`."""
        return self._as_grouped().entropy()

    def fisher_information(self) -> jax.Array:
        r""":math:`\operatorname{diag}(1/d, \dots, 1/d, d)/b^2` for the entries of ``loc`` and for ``scale``."""
        loc, scale = self._parts()
        d = loc.shape[-1]
        diagonal = jnp.concatenate([jnp.full((d,), 1 / d, loc.dtype), jnp.full((1,), d, loc.dtype)])
        identity = jnp.diag(diagonal).reshape((1,) * scale.ndim + (d + 1, d + 1))
        return identity / jnp.square(scale)[..., None, None]

    @property
    def kink(self) -> Kink:
        """See :attr:`Distribution.kink`; the last axis is one group."""
        return self._as_grouped().kink

    def prox(self, v: ArrayLike, step: ArrayLike) -> jax.Array:
        r"""Block soft thresholding of :math:`v - \mu` by :math:`\text{step}/b`; exactly :math:`\mu` within it.

        ``v`` has shape ``(*batch, d)`` and ``step`` has shape ``(*batch,)``.
        """
        return self._as_grouped().prox(v, step)
