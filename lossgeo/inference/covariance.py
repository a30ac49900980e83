r"""Covariances of the estimates: from the observed information, the scores, or both (the sandwich).

All are formed in the unconstrained coordinates of the solver, on the directions that the data and the prior
determine, and carried to the user's coordinates by the delta method, :math:`J C J^\top`. At a stationary point this is
the same as inverting the Hessian in the user's coordinates.
"""

import dataclasses
from typing import Any, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import linalg
from lossgeo._compilation import quick_jit
from lossgeo.likelihoods import fisher_information
from lossgeo.metric import fisher_root, root_size
from lossgeo.posing import Posed, as_problem, objective_value
from lossgeo.solvers import FlatProblem, Problem, Status
from lossgeo.solving import Solution

__all__ = ["CovarianceKind", "Fitted", "covariance", "standard_errors"]

CovarianceKind = Literal["observed", "expected", "opg", "sandwich", "expected_sandwich", "hc3"]
KINDS = get_args(CovarianceKind)

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
    matrix of scores :math:`\sqrt{w_i}\,\nabla\log p(y_i)`, so that a weight counts an observation that often:

    * ``"observed"``: :math:`H^{-1}`. For a flat prior the inverse observed information.
    * ``"expected"``: :math:`(I + P)^{-1}` with the expected (Fisher) information :math:`I` of the model's distribution
      and the curvature :math:`P` of the prior; what R's ``glm`` reports. A Jeffreys prior is a correction for bias and
      no information: it adds nothing here (Firth 1993).
    * ``"opg"``: :math:`(S^\top S)^{-1}`, the outer product of gradients (BHHH).
    * ``"sandwich"``: :math:`H^{-1} S^\top S H^{-1}`, robust to a wrong density (Huber 1967, White 1982); no
      small-sample factor. Of a partial likelihood the rows of :math:`S` are derivatives of the score in the case
      weights (Lin and Wei 1989).
    * ``"expected_sandwich"``: the same with :math:`I + P` for :math:`H`; R's ``vcovHC(type="HC0")`` of a ``glm``. Both
      agree for canonical links.
    * ``"hc3"``: the same with each score taken at :math:`(1 - h_i)^{-1}` of its residual, for the pull of an
      observation of leverage :math:`h_i` on its own fit: R's ``vcovHC(type="HC3")`` (MacKinnon and White 1985). With
      several hyper-parameters :math:`h_i` is the block of the generalised hat matrix.

    Returns:
        Shape ``(P, P)``. Rows and columns of parameters that are held, that rest on a kink, or that take part in a
        direction the data do not identify are NaN; everything is NaN if the fit did not converge. With some
        parameters on a kink the matrix is conditional on that set of zeros.

    Raises:
        ValueError: ``cov`` is unknown, needs a density and the likelihood is a pseudo-likelihood, or needs independent
            observations and the log-likelihood is one term.
    """
    if cov not in KINDS:
        raise ValueError(f"cov must be one of {', '.join(map(repr, KINDS))}, but is {cov!r}.")
    likelihood = fit.posed.objective.likelihood
    if cov != "sandwich" and not likelihood.is_density:
        raise ValueError(
            f"cov={cov!r} needs a normalised density, but the likelihood is a pseudo-likelihood, whose curvature is no "
            "information. Use cov='sandwich'."
        )
    # Looked at only where it matters: a trace takes longer than a small covariance.
    rows = cov in ("observed", "expected") or _has_rows(fit.posed, fit.solution)
    if not rows and not likelihood.has_case_weights:
        raise ValueError(
            f"cov={cov!r} needs the scores of independent observations, but the log-likelihood is one term for all "
            "data. Return terms of shape (n,), or use cov='observed'."
        )
    if cov == "opg" and not rows:
        raise ValueError(
            "cov='opg' needs a score for each observation whose squares are the information, which those of a partial "
            "likelihood are not. Use cov='observed' or cov='sandwich'."
        )
    if cov == "hc3" and root_size(fit.posed) is None:
        raise ValueError(
            "cov='hc3' needs leverages: a model that returns a distribution with a Fisher information, smooth in its "
            "location. Use cov='sandwich'."
        )
    return _covariance(fit.posed, fit.solution, cov)


def _has_rows(posed: Posed, solution: Solution) -> bool:
    """Whether there is a term for each observation; static."""
    return jax.eval_shape(posed.objective.likelihood.log_likelihood, solution.params, *posed.data).ndim > 0


def standard_errors(fit: Fitted, cov: CovarianceKind = "observed") -> Any:
    """Square roots of the diagonal of :func:`covariance`, as a tree like the parameters; NaN where it is not known."""
    errors = _root_of_diagonal(covariance(fit, cov), fit.solution.params)
    return jax.tree.map(jnp.asarray, errors)


def unconstrained_standard_errors(fit: Fitted, cov: CovarianceKind = "observed") -> list[np.ndarray]:
    """Standard errors of the unconstrained coordinates, a list like ``posed.to_unconstrained``."""
    like = jax.eval_shape(fit.posed.to_unconstrained, fit.solution.params)
    return _root_of_diagonal(_unconstrained(fit.posed, fit.solution, cov), like)


def _root_of_diagonal(matrix: jax.Array, like: Any) -> Any:
    """Standard errors as a tree; on the host, where nothing is compiled for it."""
    with np.errstate(invalid="ignore"):
        roots = np.sqrt(np.diagonal(np.asarray(matrix)))
    leaves, tree = jax.tree.flatten(like)
    parts = np.split(roots, np.cumsum([leaf.size for leaf in leaves])[:-1]) if leaves else []
    return jax.tree.unflatten(
        tree, [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    )


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
    flat = FlatProblem(Problem(objective_value, None, posed, posed.to_unconstrained(solution.params)))
    z, hessian = flat.z0, certificate.hessian
    if hessian is None:
        problem = dataclasses.replace(as_problem(posed), init=posed.to_unconstrained(solution.params))
        hessian = FlatProblem(problem).hessian(z)
    valid = (solution.status == Status.CONVERGED) | (solution.status == Status.UNIDENTIFIED)
    matrix, null_weight = _inverse(hessian, certificate.free)
    if certificate.inverse is not None:
        matrix, null_weight = certificate.inverse, certificate.null_weight
    if cov in ("expected", "expected_sandwich", "hc3"):
        expected = _expected_information(posed, solution.params, flat, z)
        matrix, null_weight = _inverse(expected, certificate.free)
    if cov in ("opg", "sandwich", "expected_sandwich", "hc3"):
        scores = _leverage_scores(posed, z, flat, matrix) if cov == "hc3" else _scores(posed, z, flat)
        meat = scores.T @ scores
        if cov == "opg":
            matrix, null_weight = _inverse(meat, certificate.free)
        else:
            matrix = matrix @ meat @ matrix
    known = certificate.free & (null_weight <= INVOLVED)
    return jnp.where(valid & known[:, None] & known[None, :], matrix, jnp.nan)


def _inverse(matrix: jax.Array, free: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverse on the free coordinates, and the share of each in directions without curvature, which count as 0."""
    scaled, scale = linalg.equilibrate(matrix)
    # Held coordinates get an eigenvalue above all others and are masked by the caller.
    held = jnp.diag(jnp.where(free, 0.0, 2.0 * max(matrix.shape[0], 1)))
    scaled = jnp.where(free[:, None] & free[None, :], scaled, held)
    eigenvalues, vectors = jnp.linalg.eigh(scaled, symmetrize_input=False)
    positive = eigenvalues > linalg.rank_tolerance(matrix.shape[0], matrix.dtype)
    inverse = jnp.where(positive, 1.0 / jnp.where(positive, eigenvalues, 1.0), 0.0)
    null_weight = jnp.sum(jnp.where(positive, 0.0, vectors**2), axis=1)
    free_scale = jnp.where(free, scale, 0.0)
    return (vectors * inverse[None, :]) @ vectors.T * free_scale[:, None] * free_scale[None, :], null_weight


def _expected_information(posed: Posed, params: Any, flat: FlatProblem, z: jax.Array) -> jax.Array:
    """Fisher information of the likelihood and curvature of the prior, in unconstrained coordinates."""
    user, unravel = ravel_pytree(params)
    prior = posed.objective.prior
    information = fisher_information(posed.objective.likelihood, params, *posed.data, weights=posed.weights)
    if prior.is_information:
        information = information - jax.hessian(lambda v: prior.log_prior(unravel(v)))(user)
    jacobian = jax.jacfwd(lambda v: ravel_pytree(posed.to_params(flat.unravel(v)))[0])(z)
    return jacobian.T @ information @ jacobian


def _scores(posed: Posed, z: jax.Array, flat: FlatProblem) -> jax.Array:
    r"""Scores of the observations in unconstrained coordinates, times :math:`\sqrt{w_i}`, shape ``(n, p)``."""
    likelihood = posed.objective.likelihood
    if likelihood.has_case_weights:
        ones = jnp.ones(likelihood.num_cases(*posed.data), z.dtype)
        weights = ones if posed.weights is None else jnp.asarray(posed.weights, z.dtype)

        def score(w: jax.Array) -> jax.Array:
            return jax.grad(
                lambda v: likelihood.total(posed.to_params(flat.unravel(v)), *posed.data, weights=w).astype(z.dtype)
            )(z)

        return jax.jacrev(score)(weights).T * jnp.sqrt(weights)[:, None]

    def terms(v: jax.Array) -> jax.Array:
        found = likelihood.log_likelihood(posed.to_params(flat.unravel(v)), *posed.data)
        return found if posed.weights is None else jnp.sqrt(posed.weights) * found

    return jax.jacfwd(terms)(z)


def _leverage_scores(posed: Posed, z: jax.Array, flat: FlatProblem, inverse: jax.Array) -> jax.Array:
    r"""Scores with whitened residuals :math:`(1 - A_i C A_i^\top)^{-1} r_i`, times :math:`\sqrt{w_i}`, ``(n, p)``."""
    root = fisher_root(flat.unravel(z), posed)
    n = jax.tree.leaves(posed.data[-1])[0].shape[0]
    k = (root_size(posed) or 0) // (n * z.shape[0])
    rows, residual = root.rows[: k * n].reshape(k, n, -1), root.residual[: k * n].reshape(k, n)
    # The root counts an observation by its weight; its copies each have the leverage of one.
    weights = jnp.ones((n,), z.dtype) if posed.weights is None else jnp.asarray(posed.weights, z.dtype)
    share = jnp.where(weights > 0, 1.0 / jnp.where(weights > 0, weights, 1.0), 0.0)
    leverage = jnp.einsum("jnp,pq,lnq,n->njl", rows, inverse, rows, share)
    corrected = jnp.linalg.solve(jnp.eye(k, dtype=z.dtype)[None] - leverage, residual.T[:, :, None])[:, :, 0]
    return jnp.einsum("jnp,nj->np", rows, corrected) * jnp.sqrt(share)[:, None]


def _template(posed: Posed, *rest: Any) -> Any:
    return posed.template


_covariance = quick_jit(small=True, coordinates=_template, static_argnums=2)(_covariance_in_user_coordinates)
_unconstrained = quick_jit(small=True, coordinates=_template, static_argnums=2)(_unconstrained_covariance)
