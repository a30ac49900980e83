"""The workload of overhead: what a warm call costs above the compiled program that it runs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import lossgeo as lg
from experiments.benchmarks import ours
from experiments.benchmarks.data import labels
from experiments.benchmarks.measure import Workload
from experiments.benchmarks.peers import Solve
from experiments.benchmarks.workloads import LOGISTIC

CALLS = 200


def overhead() -> Workload:
    """(o) A logistic regression of 100 rows, again and again; the difference of the rows is the overhead of a call."""
    rng = np.random.default_rng(10)
    x = rng.standard_normal((100, 3))
    y = labels(rng, x @ np.array([1.0, -0.5, 0.2]))
    given = {"coef": jnp.zeros(3)}, jnp.asarray(x), jnp.asarray(y)
    objective = lg.map_objective(lg.likelihood(LOGISTIC))
    kernel = jax.jit(lg.solve).lower(objective, *given).compile()

    def repeated(solve: Callable[[], lg.Solution]) -> Solve:
        def calls() -> np.ndarray:
            for _ in range(CALLS):
                solution = jax.block_until_ready(solve())
            return np.asarray(solution.params["coef"])

        return calls

    return Workload(
        "one warm call, logistic regression, n=100 d=3",
        {
            "lossgeo solve": repeated(lambda: lg.solve(objective, *given)),
            "lossgeo compiled program alone": repeated(lambda: kernel(objective, *given)),
            "lossgeo fit": repeated(lambda: lg.fit(objective, *given).solution),
        },
        objective=ours.logistic_loss(x, y),
        data=(x, y),
        calls=CALLS,
    )


OVERHEAD: dict[str, Callable[[], Workload]] = {"o": overhead}
