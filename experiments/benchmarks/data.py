"""What several workloads need: correlated designs, and which peers are installed."""

import importlib.util
from typing import Any

import numpy as np


def missing(*packages: str) -> tuple[str, ...]:
    """Those of the packages that are not installed."""
    return tuple(p for p in packages if importlib.util.find_spec(p) is None)


def correlated(rng: Any, n: int, d: int, rho: float) -> np.ndarray:
    """Standard normal columns, each with correlation ``rho`` to the one before."""
    x = rng.standard_normal((n, d))
    for j in range(1, d):
        x[:, j] = rho * x[:, j - 1] + np.sqrt(1 - rho**2) * x[:, j]
    return x
