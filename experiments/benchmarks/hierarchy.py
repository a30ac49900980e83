"""The workload of a hierarchy: the joint mode of 85 groups and its Laplace covariance."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lossgeo as lg
from experiments.benchmarks import r_peers
from experiments.benchmarks.measure import Workload
from experiments.benchmarks.peers import Peer, Solve
from lossgeo import distributions as dist
from lossgeo import supports

GROUPS = 85


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Group of each row, covariate of the row, covariate of the group, target; sizes as in the radon data."""
    rng = np.random.default_rng(9)
    n = 1000
    g = np.concatenate([np.arange(GROUPS), rng.integers(0, GROUPS, n - GROUPS)])
    x = rng.integers(0, 2, n).astype(float)
    u = rng.standard_normal(GROUPS)
    y = (1.4 + 0.7 * u + 0.4 * rng.standard_normal(GROUPS))[g] - 0.6 * x + 0.75 * rng.standard_normal(n)
    return g, x, u, y


def _flat(b: Any, tau: Any, sigma: Any, z: Any) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in (b, tau, sigma, z)])


def hierarchy() -> Workload:
    """(j) The mode of the density of ``b``, ``tau``, ``sigma`` and ``z``; all contenders maximise the same density."""
    g, x, u, y = _data()

    def model(params: Any, g: Any, x: Any, u: Any) -> Any:
        b = params["b"]
        return dist.Normal(b[0] + b[1] * u[g] + params["tau"] * params["z"][g] + b[2] * x, params["sigma"])

    prior = {
        "b": dist.Normal(0.0, 5.0),
        "tau": dist.HalfNormal(1.0),
        "sigma": dist.HalfNormal(1.0),
        "z": dist.Normal(0.0, 1.0),
    }
    objective = lg.map_objective(lg.likelihood(model), prior, supports={"sigma": supports.positive})
    init = {"b": jnp.zeros(3), "tau": jnp.asarray(1.0), "sigma": jnp.asarray(1.0), "z": jnp.zeros(GROUPS)}
    data = tuple(jnp.asarray(v) for v in (g, x, u, y))

    def with_lossgeo() -> np.ndarray:
        fit = lg.fit(objective, init, *data)
        jax.block_until_ready(fit.covariance())
        return _flat(**fit.params)

    def value(answer: np.ndarray) -> float:
        b, (tau, sigma), z = answer[:3], answer[3:5], answer[5:]
        r = (y - (b[0] + b[1] * u[g] + tau * z[g] + b[2] * x)) / sigma
        return float(0.5 * (r @ r + (b / 5.0) @ (b / 5.0) + tau**2 + sigma**2 + z @ z) + len(y) * np.log(sigma))

    return Workload(
        f"mode and Laplace covariance, {GROUPS} groups, 1000 rows",
        {"lossgeo fit + covariance": with_lossgeo},
        [Peer("numpyro AutoLaplace, 2000 steps of Adam", "numpyro", lambda: _numpyro(data)),
         r_peers.tmb_hierarchy(g, x, u, y)],
        objective=value,
        data=(g, x, u, y),
    )  # fmt: skip


def _numpyro(data: tuple[jax.Array, ...]) -> Solve:
    import numpyro
    import numpyro.distributions as nd
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoLaplaceApproximation

    def declared(g: Any, x: Any, u: Any, y: Any) -> None:
        b = numpyro.sample("b", nd.Normal(0, 5).expand([3]).to_event(1))
        tau, sigma = numpyro.sample("tau", nd.HalfNormal(1)), numpyro.sample("sigma", nd.HalfNormal(1))
        # AutoLaplace seeks the mode in log tau and log sigma; without their Jacobian it is the mode of the density.
        numpyro.factor("no_jacobian", -jnp.log(tau) - jnp.log(sigma))
        with numpyro.plate("groups", GROUPS):
            z = numpyro.sample("z", nd.Normal(0, 1))
        numpyro.sample("y", nd.Normal(b[0] + b[1] * u[g] + tau * z[g] + b[2] * x, sigma), obs=y)

    guide = AutoLaplaceApproximation(declared)
    svi = SVI(declared, guide, numpyro.optim.Adam(0.01), Trace_ELBO())

    def solve() -> np.ndarray:
        found = svi.run(jax.random.key(0), 2000, *data, progress_bar=False)
        jax.block_until_ready(guide.get_transform(found.params).scale_tril)
        mode = guide.median(found.params)
        return _flat(mode["b"], mode["tau"], mode["sigma"], mode["z"])

    return solve


HIERARCHY: dict[str, Callable[[], Workload]] = {"j": hierarchy}
