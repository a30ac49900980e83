r"""The geometry of a fit: Fisher metric, generalised hat matrix, leverage, degrees of freedom, Pythagoras for deviance.

Least squares is an orthogonal projection, and every piece of it has a counterpart where the likelihood is not normal.
With :math:`\mu_i`, :math:`\theta_i` the mean and natural parameter of row i, and :math:`\beta` the parameters,

.. math::
    B_i = (w_i \mathrm{Var}\,T_i)^{1/2}\,\frac{\partial\theta_i}{\varphi_i\,\partial\beta}, \qquad
    H = B\,(B^\top B + \Lambda)^{-1} B^\top, \qquad \Lambda = -\nabla^2\log\pi(\beta).

For a generalised linear model H is :math:`W^{1/2}X(X^\top W X + \Lambda)^{-1}X^\top W^{1/2}`. Without a prior it is an
orthogonal projection of trace p in the metric of the fit; with one it is a smoother and its trace, the *effective
degrees of freedom*, is smaller.

Reference: Pregibon (1981), Annals of Statistics 9; Hastie & Tibshirani (1990), section 6.8; Efron (1978), Annals of
Statistics 6 (geometry of deviance).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lossgeo import geometry as geo
from lossgeo import linalg
from lossgeo.inference.covariance import Fitted
from lossgeo.inference.exponential_reading import Reading, potential_of, read
from lossgeo.likelihoods import ModelLikelihood
from lossgeo.posing import Posed
from lossgeo.solvers import Status

__all__ = ["Deviance", "FitGeometry", "geometry_of"]


class Deviance(NamedTuple):
    r"""Pythagorean analysis of deviance, in nats (twice log-likelihood ratios; divided by the dispersion of the fit).

    .. math:: D(y, \mu_0) = D(y, \hat\mu) + 2\,\mathrm{KL}(\hat\mu\|\mu_0) + \mathrm{gap}, \qquad
              \mathrm{gap} = 2\sum_i\frac{w_i}{\varphi_i}\langle T_i - \hat\mu_i, \hat\theta_i - \theta_{0}\rangle

    Fields: ``null`` :math:`D(y, \mu_0)`, from the best constant mean; ``residual`` :math:`D(y, \hat\mu)`;
    ``explained`` :math:`2\,\mathrm{KL}(\hat\mu\|\mu_0)`; ``gap``, taken from the residuals and not by subtraction;
    ``r_squared`` :math:`1 - \text{residual}/\text{null}`; ``is_canonical``: whether the natural parameters are an
    affine function of the parameters. With a canonical link, an intercept, no prior and no offset the residuals are
    orthogonal to the model and the gap is 0, as for least squares; otherwise it is the deviance that belongs neither to
    the fit nor to the residual.
    """

    null: jax.Array
    residual: jax.Array
    explained: jax.Array
    gap: jax.Array
    r_squared: jax.Array
    is_canonical: bool


class FitGeometry(NamedTuple):
    r"""Geometry at a fit; see :func:`geometry_of`.

    Fields: ``fisher`` the expected information of all data about the parameters, shape ``(P, P)`` in the order of
    ``ravel_pytree(params)``, which is the generalised Gauss–Newton matrix of the objective; ``penalty`` Λ, same shape;
    ``basis``, with :math:`H = UU^\top`, shape ``(n, k, r)``, where k is 1 for scalar families and K for class ids;
    ``leverage``, the trace of the row's block of H, shape ``(n,)``; ``effective_degrees_of_freedom`` tr H; ``natural``
    θ̂ and ``mean`` μ̂, the e- and m-coordinates of the fit, shape ``(n,)`` or ``(n, K)``, ``None`` for a distribution
    that is not an exponential dispersion family; ``deviance``, a :class:`Deviance` or ``None``.
    """

    fisher: jax.Array
    penalty: jax.Array
    basis: jax.Array
    leverage: jax.Array
    effective_degrees_of_freedom: jax.Array
    natural: jax.Array | None
    mean: jax.Array | None
    deviance: Deviance | None

    def __repr__(self) -> str:
        """A card: sizes, degrees of freedom, the largest leverage, the analysis of deviance."""
        n, worst = self.leverage.shape[0], int(jnp.argmax(self.leverage))
        lines = [
            f"observations                  {n}",
            f"parameters                    {self.fisher.shape[0]}",
            f"effective degrees of freedom  {self.effective_degrees_of_freedom:.6g}",
            f"largest leverage              {self.leverage[worst]:.6g}, of observation {worst}",
        ]
        if self.deviance is not None:
            d = self.deviance
            link = "canonical link" if d.is_canonical else "not canonical"
            lines += [
                f"null deviance                 {d.null:.8g}",
                f"residual deviance             {d.residual:.8g}",
                f"explained                     {d.explained:.8g} (R^2 {d.r_squared:.6g})",
                f"Pythagorean gap               {d.gap:.2g} ({link})",
            ]
        return "\n".join(lines)

    def hat_matrix(self) -> jax.Array:
        """H, shape ``(n · k, n · k)``; formed only when asked for."""
        flat = self.basis.reshape((-1, self.basis.shape[-1]))
        return flat @ flat.T


def geometry_of(fit: Fitted) -> FitGeometry:
    r"""Geometry of a fit whose model returns a distribution.

    Args:
        fit: from :func:`lossgeo.fit` or :meth:`lossgeo.Fit.from_params`.

    Returns:
        A :class:`FitGeometry`. Parameters that are held or rest on a kink (the zeros of a lasso) take no part in H, so
        that the degrees of freedom of a lasso are its number of non-zero coefficients. Neither do parameters of the
        dispersion (``scale``, ``concentration``): H is that of the mean. For a distribution outside of the exponential
        dispersion families (Student t, ordinal, …) B is the root of the Fisher information in all of its
        hyper-parameters, and there is no analysis of deviance. H and the deviance are NaN if the fit did not converge.

    Raises:
        ValueError: the likelihood is a bare log-density without a distribution, the target is not one array with an
            axis of observations, or the distribution has no Fisher information.

    Numerics:
        H is :math:`UU^\top` with U from a singular value decomposition of the equilibrated rows of B and of
        :math:`\Lambda^{1/2}`; :math:`X^\top W X` is not formed, so that an ill-conditioned or rank-deficient design
        keeps its digits. With a prior that is not log-concave at the fit, from :math:`B^\top B + \Lambda`.

    Example:
        >>> geometry = geometry_of(fit)
        >>> geometry.leverage.sum(), geometry.deviance.gap
    """
    posed, solution = fit.posed, fit.solution
    likelihood = posed.objective.likelihood
    if not isinstance(likelihood, ModelLikelihood):
        raise ValueError(
            "geometry_of needs a model that returns a distribution, but the likelihood is a bare log-density, which "
            "has no Fisher information here. Write lg.likelihood(model)."
        )
    *inputs, y = posed.data
    if len(jax.tree.leaves(y)) != 1 or np.ndim(y) == 0:
        raise ValueError("geometry_of needs a target of one array with a leading axis of observations.")
    distribution = jax.eval_shape(likelihood.distribution, solution.params, *inputs)
    if getattr(distribution, "event_axes", {}):
        raise ValueError(
            f"geometry_of needs hyper-parameters that are numbers or vectors, but {type(distribution).__name__} has "
            "matrices."
        )
    try:
        jax.eval_shape(lambda d: d.fisher_information(), distribution)
    except (AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"geometry_of needs the Fisher information of {type(distribution).__name__}, which does not have it."
        ) from error
    readable = potential_of(distribution) is not None and np.ndim(y) == 1
    fisher, penalty, root, curvature = _matrices(posed, solution.params, readable)
    free = np.asarray(solution.certificate.free)
    basis = _basis(root.reshape((-1, root.shape[-1]))[:, free], np.asarray(curvature)[np.ix_(free, free)])
    converged = int(solution.status) in (Status.CONVERGED, Status.UNIDENTIFIED)
    basis = jnp.where(converged, basis, jnp.nan).reshape((*root.shape[:2], -1))
    leverage = jnp.sum(jnp.square(basis), axis=(1, 2))
    natural = mean = deviance = None
    if readable:
        natural, mean, numbers, canonical = _deviance(posed, solution.params)
        null, residual, explained, gap, r_squared = (jnp.where(converged, v, jnp.nan) for v in numbers)
        deviance = Deviance(null, residual, explained, gap, r_squared, bool(canonical))
    return FitGeometry(fisher, penalty, basis, leverage, jnp.sum(leverage), natural, mean, deviance)


def _distribution(posed: Posed, params: Any) -> Any:
    return posed.objective.likelihood.distribution(params, *posed.data[:-1])


def _weights(posed: Posed, dtype: Any) -> jax.Array:
    n = jnp.shape(posed.data[-1])[0]
    return jnp.ones(n, dtype) if posed.weights is None else jnp.asarray(posed.weights, dtype)


@functools.partial(jax.jit, static_argnums=2)
def _matrices(posed: Posed, params: Any, readable: bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Fisher and penalty in the user's coordinates; B and the penalty in unconstrained ones."""
    flat, unravel = ravel_pytree(params)
    u, unravel_u = ravel_pytree(posed.to_unconstrained(params))
    # Tensors are carried over by the Jacobian; the curvature of the bijector belongs to neither of them.
    jacobian = jax.jacfwd(lambda v: ravel_pytree(posed.to_params(unravel_u(v)))[0])(u)
    weights = _weights(posed, flat.dtype)

    def log_prior(z: jax.Array) -> jax.Array:
        return posed.objective.prior.log_prior(unravel(z))

    def root_of(information: jax.Array, slope: jax.Array) -> jax.Array:
        scaled = jnp.einsum("nij,njp->nip", information, slope)
        return jnp.sqrt(weights)[:, None, None] * scaled

    full = root_of(*_hyperparameter_root(posed, unravel, flat))
    root = root_of(*_natural_root(posed, unravel, flat)) if readable else full
    # A parameter of the dispersion moves the mean by rounding only; equilibrated, that would count as a direction.
    noise = 64 * jnp.finfo(flat.dtype).eps * jnp.linalg.norm(full, axis=(0, 1))
    root = jnp.where((jnp.linalg.norm(root, axis=(0, 1)) > noise)[None, None, :], root, 0.0)
    curvature = -jax.hessian(lambda v: log_prior(flat + jacobian @ v))(jnp.zeros_like(u))
    fisher = jnp.einsum("nip,niq->pq", full, full)
    return fisher, -jax.hessian(log_prior)(flat), root @ jacobian, curvature


def _hyperparameter_root(posed: Posed, unravel: Any, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Root of the Fisher information of each row, ``(n, k, k)``, and the slope of its hyper-parameters."""
    n = jnp.shape(posed.data[-1])[0]
    information = _distribution(posed, unravel(flat)).fisher_information()
    size, batch = information.shape[-1], information.shape[:-2]
    rows = jnp.broadcast_to(information, ((n,) if batch == () else batch) + (size, size))

    def hyperparameters(z: jax.Array) -> jax.Array:
        leaves = jax.tree.leaves(_distribution(posed, unravel(z)))
        columns = []
        for leaf in leaves:
            trailing = jnp.shape(leaf)[len(batch) :]
            columns.append(jnp.broadcast_to(leaf, rows.shape[:-2] + trailing).reshape((*rows.shape[:-2], -1)))
        # Counts (numbers of trials) are leaves and come first, but the information has no rows for them.
        return jnp.concatenate([c.astype(flat.dtype) for c in columns], axis=-1)[..., -size:]

    slope = jax.jacfwd(hyperparameters)(flat)
    values, vectors = jnp.linalg.eigh(rows)
    root = jnp.sqrt(jnp.maximum(values, 0.0))[..., :, None] * jnp.swapaxes(vectors, -1, -2)
    outer = int(np.prod(rows.shape[1:-2]))
    # Several distributions in one row of the target are blocks of it.
    root = root.reshape((n, outer, size, size))
    slope = slope.reshape((n, outer, size, flat.size))
    together = jnp.einsum("noij,nojp->noip", root, slope).reshape((n, outer * size, flat.size))
    eye = jnp.broadcast_to(jnp.eye(outer * size, dtype=flat.dtype), (n, outer * size, outer * size))
    return eye, together


def _natural_root(posed: Posed, unravel: Any, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""Root of :math:`\nabla^2 A(\theta)/\varphi` of each row, ``(n, k, k)``, and the slope of θ."""

    def natural(z: jax.Array) -> jax.Array:
        return read(_distribution(posed, unravel(z)), posed.data[-1]).natural

    a = potential_of(_distribution(posed, unravel(flat)))
    assert a is not None
    theta, slope = natural(flat), jax.jacfwd(natural)(flat)
    dispersion = read(_distribution(posed, unravel(flat)), posed.data[-1]).dispersion
    if a.ndim == 0:
        return jnp.sqrt(a.hessian(theta) / dispersion)[:, None, None], slope[:, None, :]
    # diag(p) - p p' = S' S with S = (I - r r') diag(r), r the square roots of the probabilities.
    r = jnp.sqrt(a.gradient(theta))
    projector = jnp.eye(r.shape[-1], dtype=r.dtype)[None] - r[:, :, None] * r[:, None, :]
    return projector * r[:, None, :] * jax.lax.rsqrt(dispersion)[:, None, None], slope


def _basis(root: jax.Array, penalty: np.ndarray) -> jax.Array:
    r"""U with :math:`B(B^\top B + \Lambda)^{+}B^\top = UU^\top`."""
    if not np.any(penalty):
        return geo.column_basis(root)
    scaled, scale = linalg.equilibrate(jnp.asarray(penalty))
    values, vectors = (np.asarray(v) for v in jnp.linalg.eigh(scaled))
    size, dtype = penalty.shape[0], root.dtype
    if values[0] >= -linalg.rank_tolerance(size, dtype) * max(values[-1], 1.0):
        half = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T / np.asarray(scale)[None, :]
        return geo.column_basis(jnp.concatenate([root, jnp.asarray(half, dtype)]))[: root.shape[0]]
    scaled, scale = linalg.equilibrate(root.T @ root + penalty)
    eigenvalues, axes = jnp.linalg.eigh(scaled)
    tolerance = linalg.rank_tolerance(size, dtype)
    inverse = jnp.where(eigenvalues > tolerance, jax.lax.rsqrt(jnp.where(eigenvalues > tolerance, eigenvalues, 1)), 0)
    basis = (root * scale[None, :]) @ (axes * inverse[None, :])
    return jnp.where(eigenvalues[0] < -tolerance, jnp.nan, basis)


@jax.jit
def _deviance(posed: Posed, params: Any) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...], jax.Array]:
    flat, unravel = ravel_pytree(params)
    y = posed.data[-1]

    def reading(z: jax.Array) -> Reading:
        return read(_distribution(posed, unravel(z)), y)

    a = potential_of(_distribution(posed, params))
    assert a is not None
    found = reading(flat)
    precision = _weights(posed, flat.dtype) / found.dispersion
    mean = a.gradient(found.natural)
    mean_0 = jnp.tensordot(precision, found.statistic, axes=1) / jnp.sum(precision)
    natural_0 = jnp.broadcast_to(a.inverse(mean_0), mean.shape)

    def total(theta: jax.Array, point: jax.Array) -> jax.Array:
        losses = geo.fenchel_young_loss(a, theta, point)
        return 2 * jnp.sum(jnp.where(precision > 0, precision * losses, 0.0))

    null = total(natural_0, found.statistic)
    residual = total(found.natural, found.statistic)
    explained = total(natural_0, mean)
    across = (found.statistic - mean) * (found.natural - natural_0)
    gap = 2 * jnp.vdot(precision, jnp.sum(across.reshape((precision.size, -1)), axis=1))
    # Affine iff the second derivative vanishes along a direction that moves everything.
    direction = (1 + jnp.abs(flat)) * jnp.cos(jnp.arange(flat.size, dtype=flat.dtype) + 1)

    def along(t: jax.Array) -> jax.Array:
        return reading(flat + t * direction).natural

    zero, one = jnp.zeros((), flat.dtype), jnp.ones((), flat.dtype)
    speed, bend = jax.jvp(lambda t: jax.jvp(along, (t,), (one,))[1], (zero,), (one,))
    canonical = jnp.max(jnp.abs(bend)) <= jnp.sqrt(jnp.finfo(flat.dtype).eps) * jnp.max(jnp.abs(speed))
    return found.natural, mean, (null, residual, explained, gap, 1 - residual / null), canonical
