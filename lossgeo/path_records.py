"""What paths and cross-validations return: arrays along the grid, with a table for the eye."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._pytree import pytree
from lossgeo.solvers import Status

__all__ = ["CrossValidation", "Path"]


@pytree
class Path:
    """Fits along a grid; made by :func:`lossgeo.path`.

    Args:
        grid: values of the hyper-parameter, as given, shape ``(g,)`` or ``(g, ...)``.
        params: estimates, a tree like the start with a leading axis ``g``.
        value: objective in nats, shape ``(g,)``.
        status: ``lossgeo.Status`` of each, shape ``(g,)``.
        edm: certificate of each, expected decrease in nats, shape ``(g,)``.
        kkt_residual: of each, shape ``(g,)``.
        num_steps: of each, shape ``(g,)``.
    """

    grid: jax.Array
    params: Any
    value: jax.Array
    status: jax.Array
    edm: jax.Array
    kkt_residual: jax.Array
    num_steps: jax.Array

    @property
    def converged(self) -> jax.Array:
        """Which entries have a certificate below the tolerance, shape ``(g,)``."""
        return self.status == Status.CONVERGED

    def __len__(self) -> int:
        return self.grid.shape[0]

    def __repr__(self) -> str:
        """A line for each entry: the grid value, the objective, the certificate, the status, the exact zeros."""
        leaves = [np.asarray(leaf).reshape(len(self), -1) for leaf in jax.tree.leaves(self.params)]
        zeros = sum(np.sum(leaf == 0.0, axis=1) for leaf in leaves)
        size = sum(leaf.shape[1] for leaf in leaves)
        values = [f"{v:.6g}" if np.ndim(v) == 0 else "..." for v in np.asarray(self.grid)]
        rows = [
            f"{value:>12}  {self.value[i]:>14.8g}  {self.edm[i]:>9.1e}  {f'{zeros[i]} of {size}':>12}  "
            f"{Status(int(self.status[i])).name}"
            for i, value in enumerate(values)
        ]
        return "\n".join([f"{'grid':>12}  {'objective':>14}  {'EDM':>9}  {'exact zeros':>12}  status", *rows])


@pytree
class CrossValidation:
    """Held-out log-likelihood along a grid; made by :func:`lossgeo.cross_validate`.

    Args:
        grid: values of the hyper-parameter, shape ``(g,)`` or ``(g, ...)``.
        log_likelihood: held-out log-likelihood summed over each fold, in nats, shape ``(k, g)``; NaN where the fit did
            not converge.
        fold: fold of each observation, shape ``(n,)``.
        status: ``lossgeo.Status`` of each fit, shape ``(k, g)``.
        edm: certificate of each fit, shape ``(k, g)``.
    """

    grid: jax.Array
    log_likelihood: jax.Array
    fold: jax.Array
    status: jax.Array
    edm: jax.Array

    @property
    def mean(self) -> jax.Array:
        """Held-out log-likelihood per observation, shape ``(g,)``; NaN where a fold did not converge."""
        return jnp.sum(self.log_likelihood, axis=0) / self.fold.shape[0]

    @property
    def standard_error(self) -> jax.Array:
        """Standard error of :attr:`mean` from its spread over the folds, shape ``(g,)``."""
        k = self.log_likelihood.shape[0]
        sizes = jnp.bincount(self.fold, length=k)
        return jnp.std(self.log_likelihood / sizes[:, None], axis=0, ddof=1) / jnp.sqrt(1.0 * k)

    @property
    def best_index(self) -> int:
        """Entry of the grid with the largest held-out log-likelihood.

        Raises:
            ValueError: no entry converged on all folds.
        """
        mean = np.asarray(self.mean)
        if np.all(np.isnan(mean)):
            raise ValueError("no entry of the grid converged on all folds: see status and edm.")
        return int(np.nanargmax(mean))

    @property
    def best(self) -> jax.Array:
        """Value of the grid with the largest held-out log-likelihood."""
        return self.grid[self.best_index]

    @property
    def one_standard_error_index(self) -> int:
        """First entry of the grid, which goes from strong to weak, within one standard error of the best.

        The rule of Breiman et al. (1984), CART, sec. 3.4.3, ``lambda.1se`` of R's glmnet.

        Raises:
            ValueError: no entry converged on all folds.
        """
        best, mean = self.best_index, np.asarray(self.mean)
        return int(np.flatnonzero(mean >= mean[best] - float(self.standard_error[best]))[0])

    @property
    def one_standard_error(self) -> jax.Array:
        """Value of the grid at :attr:`one_standard_error_index`."""
        return self.grid[self.one_standard_error_index]

    def __len__(self) -> int:
        return self.grid.shape[0]

    def __repr__(self) -> str:
        """A line for each entry: the grid value, the mean with its standard error, folds converged, marks."""
        mean, error = np.asarray(self.mean), np.asarray(self.standard_error)
        good = np.sum(np.asarray(self.status) == Status.CONVERGED, axis=0)
        marks = {}
        if not np.all(np.isnan(mean)):
            marks = {self.one_standard_error_index: "  within one standard error"} | {self.best_index: "  best"}
        values = [f"{v:.6g}" if np.ndim(v) == 0 else "..." for v in np.asarray(self.grid)]
        rows = [
            f"{value:>12}  {mean[i]:>14.8g}  {error[i]:>10.2g}  {good[i]} of {len(self.status)}{marks.get(i, '')}"
            for i, value in enumerate(values)
        ]
        return "\n".join([f"{'grid':>12}  {'log-likelihood':>14}  {'std. error':>10}  folds converged", *rows])
