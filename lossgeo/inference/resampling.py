"""Weights that resample the rows: of a bootstrap, for many weighted refits at once."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

__all__ = ["ResamplingKind", "resampling_weights"]

ResamplingKind = Literal["multinomial", "poisson", "dirichlet"]


def resampling_weights(key: jax.Array, n: int, num: int, kind: ResamplingKind = "multinomial") -> jax.Array:
    r"""Random weights of the rows, mean 1, whose refits are the bootstrap distribution of an estimate.

    * ``"multinomial"``: how often each row is drawn among :math:`n` with replacement: the bootstrap of the rows.
    * ``"poisson"``: independent counts, :math:`w_i \sim \mathrm{Poisson}(1)`: the same for large :math:`n`, without a
      sum over the rows, for streams.
    * ``"dirichlet"``: :math:`w / n \sim \mathrm{Dirichlet}(1, \ldots, 1)`: the Bayesian bootstrap. No row has weight
      0, so that a classifier which is not separated by all rows is separated by no replicate.

    Args:
        key: of ``jax.random.key``.
        n: number of rows.
        num: number of replicates.
        kind: see above.

    Returns:
        Shape ``(num, n)``, floating; to give to ``lg.solve_many(..., weights=..., in_axes=None)``.

    Raises:
        ValueError: ``kind`` is unknown, or a size is less than 1.

    References: Efron (1979), Ann. Statist. 7, 1; Rubin (1981), Ann. Statist. 9, 130; Hanley and MacGibbon (2006),
    Comput. Methods Programs Biomed. 83, 57 (Poisson).
    """
    if kind not in get_args(ResamplingKind):
        raise ValueError(f"kind must be one of {', '.join(map(repr, get_args(ResamplingKind)))}, but is {kind!r}.")
    if n < 1 or num < 1:
        raise ValueError(f"n and num must be at least 1, but are {n} and {num}.")
    dtype = jnp.result_type(float)
    if kind == "poisson":
        return jax.random.poisson(key, 1.0, (num, n)).astype(dtype)
    if kind == "dirichlet":
        draws = jax.random.exponential(key, (num, n), dtype)
        return n * draws / jnp.sum(draws, axis=1, keepdims=True)
    drawn = jax.random.randint(key, (num, n), 0, n)
    return jnp.zeros((num, n), dtype).at[jnp.arange(num)[:, None], drawn].add(1.0)
