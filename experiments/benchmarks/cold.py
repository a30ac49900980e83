"""The workload of cold starts: the first fit of a new process, compilation included, imports excluded.

Every run of a contender is a process of its own, the "warm" ones too. JAX's persistent cache of compiled programs is
either off, or on and filled by an earlier process, which leaves tracing and lowering.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable

import numpy as np

from experiments.benchmarks import ours
from experiments.benchmarks.data import labels
from experiments.benchmarks.measure import Elsewhere, Workload, memory, reset_peak
from experiments.benchmarks.peers import Peer, Solve

ROWS, COLUMNS = 500, 10


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Features, a constant the last of them, and labels."""
    rng = np.random.default_rng(11)
    x = np.column_stack([rng.standard_normal((ROWS, COLUMNS - 1)), np.ones(ROWS)])
    return x, labels(rng, 0.5 * x.sum(axis=1) / np.sqrt(COLUMNS))


def with_models() -> Solve:
    """The first fit of a declared model."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import lossgeo as lg

    x, y = problem()
    objective = lg.map_objective(lg.likelihood(lg.models.logistic_regression()))
    return ours.fitted(objective, None, x[:, :-1], y, read=lambda p: np.append(p["coef"], p["intercept"]))


def with_a_plain_function() -> Solve:
    """The first fit of a function of the parameters."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import lossgeo as lg

    return ours.fitted(lg.map_objective(ours.logistic), {"coef": np.zeros(COLUMNS)}, *problem())


def with_statsmodels() -> Solve:
    """The first maximum-likelihood fit."""
    import statsmodels.api as sm

    x, y = problem()
    return lambda: sm.Logit(y, x).fit(disp=0, tol=1e-10).params


def with_sklearn() -> Solve:
    """The same, without a penalty."""
    from sklearn.linear_model import LogisticRegression

    x, y = problem()
    model = LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-8)
    return lambda: model.fit(x, y).coef_[0]


CONTENDERS: dict[str, Callable[[], Solve]] = {
    fn.__name__: fn for fn in (with_models, with_a_plain_function, with_statsmodels, with_sklearn)
}


class _Process:
    """A contender, each run of which is a new process."""

    def __init__(self, build: Callable[[], Solve], cached: bool = False):
        """Make a cache and fill it, where one is wanted."""
        self.command = [sys.executable, "-m", "experiments.benchmarks.cold", build.__name__]
        self.environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": str(cached).lower()}
        if cached:
            folder = tempfile.TemporaryDirectory()
            weakref.finalize(self, folder.cleanup)
            self.environment |= {
                "JAX_COMPILATION_CACHE_DIR": folder.name,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            }
            self()

    def __call__(self) -> Elsewhere:
        """Start a process and fit once in it."""
        with tempfile.TemporaryDirectory() as folder:
            answer = pathlib.Path(folder) / "answer.npy"
            told = subprocess.run(
                [*self.command, str(answer)], env=self.environment, check=True, capture_output=True, text=True
            ).stdout
            seconds, peak = map(float, told.split()[-2:])
            return Elsewhere(np.load(answer), seconds, peak)


def _peer(name: str, package: str, build: Callable[[], Solve]) -> Peer:
    return Peer(name, package, lambda: _Process(build))


def cold() -> Workload:
    """(k) The first logistic regression of a process."""
    x, y = problem()
    return Workload(
        f"first fit of a new process, logistic regression, n={ROWS} d={COLUMNS}",
        {
            "lossgeo models.glm, no cache": _Process(with_models),
            "lossgeo plain function, no cache": _Process(with_a_plain_function),
            "lossgeo models.glm, filled cache": _Process(with_models, cached=True),
            "lossgeo plain function, filled cache": _Process(with_a_plain_function, cached=True),
        },
        peers=[
            _peer("statsmodels Logit", "statsmodels", with_statsmodels),
            _peer("scikit-learn newton-cholesky", "sklearn", with_sklearn),
        ],
        objective=ours.logistic_loss(x, y),
        data=(x, y),
    )


COLD: dict[str, Callable[[], Workload]] = {"k": cold}


if __name__ == "__main__":
    contender = CONTENDERS[sys.argv[1]]()
    can_tell = reset_peak()
    before = memory("VmRSS")
    start = time.process_time()
    found = contender()
    spent = time.process_time() - start
    np.save(sys.argv[2], found)
    print(spent, memory("VmHWM") - before if can_tell else float("nan"))
