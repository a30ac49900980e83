"""Jeffreys' prior: Firth's penalised likelihood."""

from typing import Any

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo._pytree import pytree
from lossgeo.likelihoods import Likelihood, fisher_information
from lossgeo.priors.declared import Entry, Prior

__all__ = ["Jeffreys"]


@pytree
class Jeffreys(Prior):
    r"""Jeffreys' prior, half the log-determinant of the expected information.

    .. math:: \log\pi(\theta) = \tfrac12 \log\det I(\theta)

    The posterior density then does not depend on the parametrisation as a measure; the mode is that in the user's
    coordinates. For a canonical generalised linear model it removes the bias of order :math:`1/n` (Firth 1993), and it
    is finite where the classes are separated. It depends on the inputs and weights of the data (never on the targets),
    which the objective hands to it.

    It is the prior of all parameters at once: each must be told by the data, or the determinant is 0.

    Args:
        likelihood: ``lg.likelihood(model)`` of a distribution that knows its Fisher information.

    Example:
        >>> likelihood = lg.likelihood(models.logistic_regression())
        >>> objective = lg.map_objective(likelihood, priors.Jeffreys(likelihood))

    Numerics:
        ``-inf`` where the information is singular to working precision. It is equilibrated before it is factorised.

    References: Jeffreys (1946), Proc. Royal Soc. A 186; Firth (1993), Biometrika 80, 27; Heinze and Schemper (2002),
    Stat. in Medicine 21.
    """

    likelihood: Likelihood

    @property
    def is_information(self) -> bool:  # type: ignore[override]
        """No: it corrects a bias (Firth 1993)."""
        return False

    def bind(self, data: tuple[Any, ...], weights: Any) -> Prior:
        """See :meth:`Prior.bind`.

        Raises:
            TypeError: ``likelihood`` is not a likelihood.
        """
        if not isinstance(self.likelihood, Likelihood):
            raise TypeError(
                f"Jeffreys wants lg.likelihood(model), but got {type(self.likelihood).__name__}: the prior is the "
                "information of a likelihood."
            )
        return BoundJeffreys(self.likelihood, data, weights)

    def entries(self, params: Any) -> list[Entry] | None:
        """``None``: it is one density of all parameters."""
        return None

    def log_prior(self, params: Any) -> jax.Array:
        """See :meth:`Prior.log_prior`.

        Raises:
            ValueError: always; there is no density without the inputs of the data.
        """
        raise ValueError(
            "Jeffreys' prior depends on the inputs of the data: evaluate objective(params, *data), or "
            "objective.bind(data, weights).log_prior(params)."
        )


@pytree
class BoundJeffreys(Prior):
    """Jeffreys' prior with the data whose inputs it depends on."""

    likelihood: Likelihood
    data: tuple[Any, ...]
    weights: Any

    @property
    def is_information(self) -> bool:  # type: ignore[override]
        """No: it corrects a bias (Firth 1993)."""
        return False

    def entries(self, params: Any) -> list[Entry] | None:
        """``None``: it is one density of all parameters."""
        return None

    def log_prior(self, params: Any) -> jax.Array:
        """See :meth:`Prior.log_prior`."""
        information = fisher_information(self.likelihood, params, *self.data, weights=self.weights)
        diagonal = jax.lax.stop_gradient(jnp.diagonal(information))
        scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
        scaled = scale[:, None] * information * scale[None, :]
        least = jnp.linalg.eigvalsh(jax.lax.stop_gradient(scaled))[0]
        regular = least > linalg.rank_tolerance(scaled.shape[0], scaled.dtype)
        log_det = jnp.linalg.slogdet(jnp.where(regular, scaled, jnp.eye(scaled.shape[0], dtype=scaled.dtype)))[1]
        return jnp.where(regular, 0.5 * log_det - jnp.sum(jnp.log(scale)), -jnp.inf)
