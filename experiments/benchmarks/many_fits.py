"""Workloads of many fits and of minibatches."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

import lossgeo as lg
from experiments.benchmarks import ours, peers
from experiments.benchmarks.data import labels
from experiments.benchmarks.measure import Workload
from experiments.benchmarks.peers import Peer, Solve
from experiments.benchmarks.workloads import LOGISTIC
from lossgeo import distributions as dist
from lossgeo import inference

FITS, ROWS, COLUMNS = 1000, 500, 10
INIT = {"coef": jnp.zeros(COLUMNS)}


def _logistic_data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((FITS, ROWS, COLUMNS))
    x[:, :, 0] = 1.0
    w = rng.standard_normal((FITS, COLUMNS)) * 0.5
    return x, labels(rng, np.einsum("bnd,bd->bn", x, w))


def _irls(x: np.ndarray, y: np.ndarray, weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Logistic regression as one would write it by hand."""
    w = start
    for _ in range(25):
        p = scipy.special.expit(x @ w)
        step = np.linalg.solve((x * (weights * p * (1 - p))[:, None]).T @ x, x.T @ (weights * (y - p)))
        w = w + step
        if np.abs(step).max() < 1e-9:
            break
    return w


def _solved(*data: Any, init: Any = INIT, **options: Any) -> dict[str, Solve]:
    """Both ways to write the model; coefficients, having waited for the certificates too."""

    def solve(likelihood: Any) -> np.ndarray:
        solution = lg.solve_many(lg.map_objective(likelihood), init, *data, **options)
        jax.block_until_ready(solution)
        return np.asarray(solution.params["coef"])

    declared = lg.likelihood(LOGISTIC)
    return {
        "lossgeo models.glm, certified": lambda: solve(declared),
        "lossgeo plain, certified": lambda: solve(ours.logistic),
    }


def many_small() -> Workload:
    """(g) A thousand independent logistic regressions."""
    x, y = _logistic_data()
    ones, zeros = np.ones(ROWS), np.zeros(COLUMNS)

    def by_hand() -> np.ndarray:
        return np.array([_irls(x[b], y[b], ones, zeros) for b in range(FITS)])

    def value(w: np.ndarray) -> float:
        eta = np.einsum("bnd,bd->bn", x, w)
        return float(np.logaddexp(0, eta).sum() - (y * eta).sum())

    return Workload(
        "1000 logistic fits, n=500 d=10",
        _solved(jnp.asarray(x), jnp.asarray(y)),
        [Peer("numpy IRLS loop", "numpy", lambda: by_hand), *peers.many_logistic(lambda b: (x[b], y[b]), FITS)],
        objective=value,
        data=(x, y),
    )


def bootstrap() -> Workload:
    """(g2) A thousand bootstrap replicates of one logistic regression."""
    x, y = (v[0] for v in _logistic_data())
    weights = np.asarray(inference.resampling_weights(jax.random.key(0), ROWS, FITS))
    start = _irls(x, y, np.ones(ROWS), np.zeros(COLUMNS))

    def by_hand() -> np.ndarray:
        return np.array([_irls(x, y, w, start) for w in weights])

    def replicate(b: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.repeat(np.arange(ROWS), weights[b].astype(int))
        return x[rows], y[rows]

    def value(w: np.ndarray) -> float:
        eta = w @ x.T
        return float((weights * (np.logaddexp(0, eta) - y * eta)).sum())

    init = {"coef": jnp.asarray(start)}
    return Workload(
        "1000 bootstrap replicates, n=500 d=10",
        _solved(jnp.asarray(x), jnp.asarray(y), init=init, weights=jnp.asarray(weights), in_axes=None),
        [Peer("numpy IRLS loop", "numpy", lambda: by_hand), *peers.many_logistic(replicate, FITS, start)],
        objective=value,
        data=(x, y, weights),
    )


def _network(params: Any, x: Any) -> Any:
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    return dist.Categorical(logits=hidden @ params["w2"] + params["b2"])


def minibatches() -> Workload:
    """(i) One epoch of Adam on a network with one hidden layer."""
    rng = np.random.default_rng(8)
    n, d, k, hidden, size = 60_000, 784, 10, 128, 128
    x = rng.random((n, d), dtype=np.float32)
    y = np.argmax((x - 0.5) @ rng.standard_normal((d, k)) + rng.standard_normal((n, k)), 1).astype(np.int32)
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    init = {
        "w1": jnp.asarray(0.05 * rng.standard_normal((d, hidden)), jnp.float32),
        "b1": jnp.zeros(hidden, jnp.float32),
        "w2": jnp.asarray(0.1 * rng.standard_normal((hidden, k)), jnp.float32),
        "b2": jnp.zeros(k, jnp.float32),
    }
    # Both minimise the same sum.
    objective, adam, key = lg.map_objective(lg.likelihood(_network), dist.Normal(0.0, 1.0)), optax.adam(1e-3), 0

    def flat(params: Any) -> np.ndarray:
        return np.concatenate([np.ravel(params[name]) for name in sorted(params)])

    def with_lossgeo() -> np.ndarray:
        found = lg.minibatch(objective, init, jx, jy, transform=adam, key=jax.random.key(key), batch_size=size)
        return flat(found.params)

    def loss(params: Any, x: Any, y: Any) -> jax.Array:
        logits = jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        terms = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return n / size * jnp.sum(terms) + 0.5 * sum(jnp.sum(jnp.square(v)) for v in jax.tree.leaves(params))

    @jax.jit
    def epoch(params: Any, state: Any, key: Any, x: Any, y: Any) -> Any:
        order = jax.random.permutation(key, n)[: n // size * size].reshape(-1, size)

        def step(carry: Any, index: Any) -> Any:
            params, state = carry
            updates, state = adam.update(jax.grad(loss)(params, x[index], y[index]), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), order)[0]

    def by_hand() -> np.ndarray:
        params, _ = epoch(init, adam.init(init), jax.random.split(jax.random.key(key), 1)[0], jx, jy)
        return flat(params)

    def value(vector: np.ndarray) -> float:
        sizes = [(name, init[name].shape) for name in sorted(init)]
        parts = np.split(vector, np.cumsum([np.prod(shape, dtype=int) for _, shape in sizes])[:-1])
        p = {name: part.reshape(shape) for (name, shape), part in zip(sizes, parts, strict=True)}
        logits = np.maximum(x @ p["w1"] + p["b1"], 0) @ p["w2"] + p["b2"]
        return float((scipy.special.logsumexp(logits, axis=1) - logits[np.arange(n), y]).sum())

    return Workload(
        "one epoch of Adam, 784-128-10 network, 60000 rows, batches of 128",
        {"lossgeo minibatch": with_lossgeo},
        [Peer("jax scan by hand", "jax", lambda: by_hand)],
        objective=value,
        data=(x, y),
    )


MANY_FITS: dict[str, Callable[[], Workload]] = {
    "g": many_small,
    "g2": bootstrap,
    "i": minibatches,
}
