"""What several workloads need: designs with correlated columns, and targets with a known signal."""

from typing import Any

import numpy as np
import scipy.special


def correlated(rng: Any, n: int, d: int, rho: float) -> np.ndarray:
    """Standard normal columns, each with correlation ``rho`` to the one before."""
    x = rng.standard_normal((n, d))
    for j in range(1, d):
        x[:, j] = rho * x[:, j - 1] + np.sqrt(1 - rho**2) * x[:, j]
    return x


def sparse_coefficients(rng: Any, d: int, used: int) -> np.ndarray:
    """Standard normal coefficients, all but ``used`` of them 0."""
    w = np.zeros(d)
    w[rng.choice(d, used, replace=False)] = rng.standard_normal(used)
    return w


def sparse_regression(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """An autoregressive design, 50 coefficients in use, a signal of three times the noise, a centred target."""
    rng = np.random.default_rng(seed)
    x = np.asfortranarray(correlated(rng, n, d, 0.5))
    signal, noise = x @ sparse_coefficients(rng, d, 50), rng.standard_normal(n)
    y = signal + noise * np.linalg.norm(signal) / np.linalg.norm(noise) / 3.0
    return x, y - y.mean()


def grouped_regression(seed: int, n: int, d: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with all coefficients of 15 groups of ``size`` columns side by side in use."""
    rng = np.random.default_rng(seed)
    x = np.asfortranarray(correlated(rng, n, d, 0.5))
    used = sparse_coefficients(rng, d // size, 15) != 0
    signal, noise = x @ (np.repeat(used, size) * rng.standard_normal(d)), rng.standard_normal(n)
    y = signal + noise * np.linalg.norm(signal) / np.linalg.norm(noise) / 3.0
    return x, y - y.mean()


def labels(rng: Any, eta: np.ndarray) -> np.ndarray:
    """Draws of 0 and 1 with log-odds ``eta``."""
    return (rng.random(eta.shape) < scipy.special.expit(eta)).astype(float)
