"""Every potential of the gallery with three points; a new potential inherits all laws by one line here."""

from typing import NamedTuple

import jax.numpy as jnp

from lossgeo import geometry as geo


class Case(NamedTuple):
    potential: geo.Potential
    points: tuple[object, object, object]


def _quartic(x):
    return jnp.sum(jnp.cosh(x)) + 0.5 * (x[0] - x[1]) ** 2


PRECISION = jnp.array([[2.0, 0.3], [0.3, 1.0]])

CASES = [
    Case(geo.half_squared_norm, ([0.3, -1.0, 2.0], [1.0, 0.5, -0.2], [0.1, 0.2, 0.3])),
    Case(geo.mahalanobis(PRECISION), ([0.3, -1.0], [1.0, 0.5], [-0.4, 0.2])),
    Case(geo.negative_entropy, ([0.5, 1.0, 2.0], [1.5, 0.2, 0.7], [0.9, 0.9, 3.0])),
    Case(geo.log_sum_exp, ([0.5, 1.0, -2.0], [-0.3, 0.4, 1.1], [2.0, 0.0, 0.3])),
    Case(geo.burg, ([0.5, 1.0, 2.0], [1.5, 0.2, 0.7], [0.9, 0.9, 3.0])),
    Case(geo.bernoulli, (0.7, -1.2, 2.5)),
    Case(geo.poisson, (0.4, -0.9, 1.3)),
    Case(geo.exponential, (-0.4, -2.0, -1.1)),
    Case(geo.categorical, ([0.5, -1.0], [-0.3, 0.4], [1.2, 0.8])),
    Case(geo.gaussian(2.5), (0.6, -0.4, 1.7)),
    Case(geo.normal, ([0.3, -0.8], [1.1, -0.4], [-0.5, -1.6])),
    Case(geo.gamma, ([0.7, -2.0], [2.5, -1.0], [6.0, -3.0])),
    Case(geo.inverse_gaussian, ([-0.5, -1.2], [-1.5, -0.6], [-0.2, -2.0])),
    # The Dirichlet family is the same functions in more coordinates.
    Case(geo.beta, ([0.4, 2.0], [3.0, 1.5], [1.0, 1.0])),
    Case(geo.von_mises, ([1.2, -0.7], [0.1, 0.4], [-2.0, 1.0])),
    Case(
        geo.multivariate_normal,
        ([0.3, -0.5, -0.6, 0.2, -0.9], [1.0, 0.2, -0.3, -0.1, -0.4], [0.0, 0.1, -1.0, 0.5, -0.7]),
    ),
    Case(geo.log_det, ([[2.0, 0.3], [0.3, 1.0]], [[1.0, -0.2], [-0.2, 0.6]], [[1.5, 0.0], [0.0, 1.5]])),
    Case(geo.von_neumann, ([[2.0, 0.3], [0.3, 1.0]], [[1.0, -0.2], [-0.2, 0.6]], [[1.5, 0.0], [0.0, 1.5]])),
    # Nothing but a value: gradient, inverse and conjugate are derived.
    Case(geo.potential(_quartic, ndim=1, name="derived"), ([0.3, -1.0], [1.0, 0.5], [-0.4, 0.2])),
]
NAMES = [case.potential.name for case in CASES]
