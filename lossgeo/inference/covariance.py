r"""Covariances of the estimates: from the observed information, the scores, or both (the sandwich).

All are formed in the unconstrained coordinates of the solver, on the directions that the data and the prior
determine, and carried to the user's coordinates by the delta method, :math:`J C J^\top`. At a stationary point this is
the same as inverting the Hessian in the user's coordinates.
"""

from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo.solvers import FlatProblem, Problem, Status
from lossgeo.solving import Posed, Solution

__all__ = ["CovarianceKind", "Fitted", "covariance", "standard_errors"]

CovarianceKind = Literal["observed", "sandwich", "opg"]

INVOLVED = 1e-6
"""Share of a coordinate in a direction without curvature above which its uncertainty is not known."""


class Fitted(Protocol):
    """What inference needs of a fit."""

    @property
    def posed(self) -> Posed:
        """Objective and data, in unconstrained coordinates."""
        ...

    @property
    def solution(self) -> Solution:
        """Where the fit ended, with its certificate."""
        ...

    @property
    def tol(self) -> float:
        """Bound that the certificate was compared with."""
        ...


def covariance(fit: Fitted, cov: CovarianceKind = "observed") -> jax.Array:
    r"""Covariance matrix of the parameters, in the order of ``jax.flatten_util.ravel_pytree(params)``.

    With :math:`H` the Hessian of the objective (observed information plus the curvature of the prior) and :math:`S` the
    matrix of weighted scores :math:`w_i\nabla\log p(y_i)`:

    * ``"observed"``: :math:`H^{-1}`. For a flat prior the inverse observed information.
    * ``"opg"``: :math:`(S^\top S)^{-1}`, the outer product of gradients (BHHH).
    * ``"sandwich"``: :math:`H^{-1} S^\top S H^{-1}`, robust to a wrong density (Huber 1967, White 1982); no
      small-sample factor.

    Returns:
        Shape ``(P, P)``. Rows and columns of parameters that are held, that rest on a kink, or that take part in a
        direction the data do not identify are NaN; everything is NaN if the fit did not converge. With some
        parameters on a kink the matrix is conditional on that set of zeros.

    Raises:
        ValueError: ``cov`` is unknown, or needs a density and the likelihood is a pseudo-likelihood.
    """
    if cov not in ("observed", "sandwich", "opg"):
        raise ValueError(f"cov must be 'observed', 'sandwich' or 'opg', but is {cov!r}.")
    if cov != "sandwich" and not fit.posed.objective.likelihood.is_density:
        raise ValueError(
            f"cov={cov!r} needs a normalised density, but the likelihood is a pseudo-likelihood, whose curvature is no "
            "information. Use cov='sandwich'."
        )
    return _covariance(fit.posed, fit.solution, cov)


def standard_errors(fit: Fitted, cov: CovarianceKind = "observed") -> Any:
    """Square roots of the diagonal of :func:`covariance`, as a tree like the parameters; NaN where it is not known."""
    diagonal = jnp.diagonal(covariance(fit, cov))
    _, unravel = ravel_pytree(fit.solution.params)
    return unravel(jnp.sqrt(diagonal).astype(ravel_pytree(fit.solution.params)[0].dtype))


def unconstrained_standard_errors(fit: Fitted, cov: CovarianceKind = "observed") -> list[np.ndarray]:
    """Standard errors of the unconstrained coordinates, a list like ``posed.to_unconstrained``."""
    u = fit.posed.to_unconstrained(fit.solution.params)
    _, unravel = ravel_pytree(u)
    matrix = _unconstrained(fit.posed, fit.solution, cov)
    return [np.asarray(v) for v in unravel(jnp.sqrt(jnp.diagonal(matrix)))]


def _covariance_in_user_coordinates(posed: Posed, solution: Solution, cov: str) -> jax.Array:
    u, unravel = ravel_pytree(posed.to_unconstrained(solution.params))
    jacobian = jax.jacfwd(lambda v: ravel_pytree(posed.to_params(unravel(v)))[0])(u)
    inner = _unconstrained_covariance(posed, solution, cov)
    unknown = jnp.isnan(jnp.diagonal(inner))
    moves = jacobian != 0
    # A parameter is known if it moves at all, and only along known coordinates.
    known = jnp.any(moves, axis=1) & ~jnp.any(moves & unknown[None, :], axis=1)
    result = jacobian @ jnp.where(jnp.isnan(inner), 0.0, inner) @ jacobian.T
    return jnp.where(known[:, None] & known[None, :], result, jnp.nan)


def _unconstrained_covariance(posed: Posed, solution: Solution, cov: str) -> jax.Array:
    certificate = solution.certificate
    flat = FlatProblem(Problem(_objective, None, posed, posed.to_unconstrained(solution.params)))
    z = flat.z0
    hessian = flat.hessian(z) if certificate.hessian is None else certificate.hessian
    known = certificate.free & (certificate.null_weight <= INVOLVED)
    valid = (solution.status == Status.CONVERGED) | (solution.status == Status.UNIDENTIFIED)
    if cov == "observed":
        matrix = _inverse(hessian, certificate.free)
    else:
        scores = _scores(posed, z, flat)
        meat = scores.T @ scores
        bread = _inverse(hessian, certificate.free)
        matrix = bread @ meat @ bread if cov == "sandwich" else _inverse(meat, certificate.free)
    return jnp.where(valid & known[:, None] & known[None, :], matrix, jnp.nan)


def _inverse(matrix: jax.Array, free: jax.Array) -> jax.Array:
    """Inverse on the free coordinates and on the directions with curvature; zero elsewhere."""
    scaled, scale = linalg.equilibrate(matrix)
    scaled = jnp.where(free[:, None] & free[None, :], scaled, 0.0)
    eigenvalues, vectors = jnp.linalg.eigh(scaled, symmetrize_input=False)
    positive = eigenvalues > linalg.rank_tolerance(matrix.shape[0], matrix.dtype)
    inverse = jnp.where(positive, 1.0 / jnp.where(positive, eigenvalues, 1.0), 0.0)
    return (vectors * inverse) @ vectors.T * scale[:, None] * scale[None, :]


def _scores(posed: Posed, z: jax.Array, flat: FlatProblem) -> jax.Array:
    """Weighted scores of the observations in unconstrained coordinates, shape ``(n, p)``."""

    def terms(v: jax.Array) -> jax.Array:
        found = posed.objective.likelihood.log_likelihood(posed.to_params(flat.unravel(v)), *posed.data)
        return jnp.atleast_1d(found if posed.weights is None else posed.weights * found)

    return jax.jacfwd(terms)(z)


def _objective(u: Any, posed: Posed) -> jax.Array:
    return posed.objective.negative_log_posterior(posed.to_params(u), posed.data, posed.weights)


_covariance = jax.jit(_covariance_in_user_coordinates, static_argnums=2)
_unconstrained = jax.jit(_unconstrained_covariance, static_argnums=2)
