r"""Gauss–Legendre quadrature on the unit interval."""

import functools

import numpy as np


@functools.cache
def gauss_legendre(num: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Nodes and weights with :math:`\sum_k w_k f(t_k) = \int_0^1 f(t)\,dt` for polynomials of degree ``2 num - 1``.

    Args:
        num: number of nodes.

    Returns:
        Nodes in (0, 1) and positive weights with sum 1, shape ``(num,)`` each, float64.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num)
    return 0.5 * (1 + nodes), 0.5 * weights
