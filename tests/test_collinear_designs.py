"""Polynomials and large origins: designs whose Hessian has lost its digits, and whose rows have not."""

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports


def least_squares(x, y):
    """Coefficients, standard errors and scale by Gram-Schmidt, twice, in extended precision."""
    q, p = x.astype(np.longdouble), x.shape[1]
    triangle = np.eye(p, dtype=np.longdouble)
    for k in range(p):
        for _ in range(2):
            for j in range(k):
                shared = q[:, j] @ q[:, k]
                q[:, k] -= shared * q[:, j]
                triangle[j, k] += shared
        triangle[k, k] = np.sqrt(q[:, k] @ q[:, k])
        q[:, k] /= triangle[k, k]
    inverse = np.zeros_like(triangle)
    for k in reversed(range(p)):
        inverse[k] = (np.eye(p)[k] - triangle[k, k + 1 :] @ inverse[k + 1 :]) / triangle[k, k]
    coef = inverse @ (q.T @ y)
    sigma = np.sqrt(np.mean((y - x @ coef) ** 2))
    return coef.astype(float), (sigma * np.sqrt(np.sum(inverse**2, axis=1))).astype(float), float(sigma)


DESIGNS = {
    "degree 8 on [0, 1]": lambda t: np.vander(t, 9, increasing=True),
    "origin of 1e7": lambda t: np.stack([np.ones_like(t), 1e7 + t, np.cos(20 * t)], axis=1),
    "degree 8 on [1, 2], many rows": lambda t: np.vander(1.0 + t, 9, increasing=True),
}
MANY = [pytest.param(name, marks=pytest.mark.slow) if "many" in name else name for name in DESIGNS]


@pytest.mark.parametrize("name", MANY)
def test_estimates_and_standard_errors_have_the_digits_of_the_rows(name):
    rng = np.random.default_rng(3)
    x = DESIGNS[name](rng.uniform(size=30_000 if "many" in name else 300))
    y = x @ (1.0 / np.max(np.abs(x), axis=0)) + 0.01 * rng.normal(size=x.shape[0])
    coef, errors, sigma = least_squares(x, y)
    objective = lg.map_objective(
        lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], p["sigma"])),
        supports={"coef": supports.real, "sigma": supports.positive},
    )
    fit = lg.fit(objective, {"coef": jnp.zeros(x.shape[1]), "sigma": 1.0}, x, y)
    np.testing.assert_allclose((fit.params["coef"] - coef) / errors, 0.0, atol=3e-6)
    np.testing.assert_allclose(fit.params["sigma"], sigma, rtol=1e-8)
    np.testing.assert_allclose(fit.standard_errors()["coef"], errors, rtol=1e-7)
