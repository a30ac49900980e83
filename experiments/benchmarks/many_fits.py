"""Workloads of many fits, of minibatches and of a hierarchy."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

import lossgeo as lg
from experiments.benchmarks.data import correlated, missing
from experiments.benchmarks.measure import Workload
from lossgeo import distributions as dist
from lossgeo import inference, models, supports

FITS, ROWS, COLUMNS = 1000, 500, 10


def _logistic_data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((FITS, ROWS, COLUMNS))
    x[:, :, 0] = 1.0
    w = rng.standard_normal((FITS, COLUMNS)) * 0.5
    y = (rng.random((FITS, ROWS)) < scipy.special.expit(np.einsum("bnd,bd->bn", x, w))).astype(float)
    return x, y


def _irls(x: np.ndarray, y: np.ndarray, weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    w = start
    for _ in range(25):
        p = scipy.special.expit(x @ w)
        step = np.linalg.solve((x * (weights * p * (1 - p))[:, None]).T @ x, x.T @ (weights * (y - p)))
        w = w + step
        if np.abs(step).max() < 1e-9:
            break
    return w


def _certified(solution: lg.Solution) -> np.ndarray:
    """Coefficients, having waited for the certificates too."""
    jax.block_until_ready(solution)
    return np.asarray(solution.params["coef"])


LOGISTIC = lg.map_objective(lg.likelihood(models.glm(dist.Bernoulli, intercept=False)))


def many_small() -> Workload:
    """(g) A thousand independent logistic regressions."""
    x, y = _logistic_data()
    jx, jy, init = jnp.asarray(x), jnp.asarray(y), {"coef": jnp.zeros(COLUMNS)}
    ones, zeros = np.ones(ROWS), np.zeros(COLUMNS)
    contenders = {
        "lossgeo solve_many + certificates": lambda: _certified(lg.solve_many(LOGISTIC, init, jx, jy)),
        "NumPy IRLS loop": lambda: np.array([_irls(x[b], y[b], ones, zeros) for b in range(FITS)]),
    }
    absent = missing("statsmodels")
    if not absent:
        import statsmodels.api as sm

        contenders["statsmodels Logit loop"] = lambda: np.array(
            [sm.Logit(y[b], x[b]).fit(disp=0).params for b in range(FITS)]
        )

    def value(w: np.ndarray) -> float:
        eta = np.einsum("bnd,bd->bn", x, w)
        return float(np.logaddexp(0, eta).sum() - (y * eta).sum())

    return Workload("1000 logistic fits, n=500 d=10", contenders, value, missing=absent)


def bootstrap() -> Workload:
    """(g2) A thousand bootstrap replicates of one logistic regression."""
    x, y = (v[0] for v in _logistic_data())
    weights = np.asarray(inference.resampling_weights(jax.random.key(0), ROWS, FITS))
    start = _irls(x, y, np.ones(ROWS), np.zeros(COLUMNS))
    given = {"coef": jnp.asarray(start)}, jnp.asarray(x), jnp.asarray(y)
    jw = jnp.asarray(weights)
    contenders = {
        "lossgeo solve_many + certificates": lambda: _certified(
            lg.solve_many(LOGISTIC, *given, weights=jw, in_axes=None)
        ),
        "NumPy IRLS loop": lambda: np.array([_irls(x, y, w, start) for w in weights]),
    }
    absent = missing("statsmodels")
    if not absent:
        import statsmodels.api as sm

        rows = [np.repeat(np.arange(ROWS), w.astype(int)) for w in weights]
        contenders["statsmodels Logit loop"] = lambda: np.array(
            [sm.Logit(y[r], x[r]).fit(disp=0, start_params=start).params for r in rows]
        )

    def value(w: np.ndarray) -> float:
        eta = w @ x.T
        return float((weights * (np.logaddexp(0, eta) - y * eta)).sum())

    return Workload("1000 bootstrap replicates, n=500 d=10", contenders, value, missing=absent)


def logistic_cross_validation() -> Workload:
    """(h2) Five folds times fifty strengths of an L2 penalty."""
    rng = np.random.default_rng(7)
    n, d = 10_000, 50
    x = correlated(rng, n, d, 0.5)
    w = rng.standard_normal(d) / np.sqrt(d) * 1.5
    y = (rng.random(n) < scipy.special.expit(x @ w)).astype(float)
    strengths = np.geomspace(1e-4, 1e2, 50)
    objective = lg.map_objective(LOGISTIC.likelihood, {"coef": dist.Normal(0.0, 1.0)})
    jx, jy, init = jnp.asarray(x), jnp.asarray(y), {"coef": jnp.zeros(d)}

    def ours() -> np.ndarray:
        return -np.asarray(lg.cross_validate(objective, init, jx, jy, grid=np.sqrt(strengths)).mean)

    contenders: dict[str, Callable[[], Any]] = {"lossgeo cross_validate": ours}
    absent = missing("sklearn")
    if not absent:
        from sklearn.linear_model import LogisticRegressionCV

        fold = np.arange(n) * 5 // n
        splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]

        def peer(solver: str) -> np.ndarray:
            model = LogisticRegressionCV(
                Cs=strengths, cv=splits, fit_intercept=False, scoring="neg_log_loss", solver=solver, tol=1e-4,
                max_iter=1000, use_legacy_attributes=True,
            )  # fmt: skip
            return -np.asarray(next(iter(model.fit(x, y).scores_.values()))).mean(axis=0)

        for solver in ("lbfgs", "newton-cholesky"):
            contenders[f"scikit-learn LogisticRegressionCV {solver}"] = lambda solver=solver: peer(solver)
    return Workload("logistic CV, 5 folds x 50 strengths, n=10000 d=50", contenders, lambda m: m.min(), missing=absent)


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

    def ours() -> np.ndarray:
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

    def hand() -> np.ndarray:
        params, _ = epoch(init, adam.init(init), jax.random.split(jax.random.key(key), 1)[0], jx, jy)
        return flat(params)

    def value(vector: np.ndarray) -> float:
        sizes = [(name, init[name].shape) for name in sorted(init)]
        parts = np.split(vector, np.cumsum([np.prod(shape, dtype=int) for _, shape in sizes])[:-1])
        p = {name: part.reshape(shape) for (name, shape), part in zip(sizes, parts, strict=True)}
        logits = np.maximum(x @ p["w1"] + p["b1"], 0) @ p["w2"] + p["b2"]
        return float((scipy.special.logsumexp(logits, axis=1) - logits[np.arange(n), y]).sum())

    contenders = {"lossgeo minibatch": ours, "hand-written scan": hand}
    return Workload("one epoch of Adam, 784-128-10 network, 60000 rows, batches of 128", contenders, value)


def hierarchy() -> Workload:
    """(j) Joint mode of a hierarchy of 85 groups with the Laplace covariance."""
    rng = np.random.default_rng(9)
    n, groups = 1000, 85
    g = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    x = rng.integers(0, 2, n).astype(float)
    u = rng.standard_normal(groups)
    y = (1.4 + 0.7 * u + 0.4 * rng.standard_normal(groups))[g] - 0.6 * x + 0.75 * rng.standard_normal(n)

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
    init = {"b": jnp.zeros(3), "tau": jnp.asarray(1.0), "sigma": jnp.asarray(1.0), "z": jnp.zeros(groups)}
    data = tuple(jnp.asarray(v) for v in (g, x, u, y))

    def ours() -> np.ndarray:
        fit = lg.fit(objective, init, *data)
        jax.block_until_ready(fit.covariance())
        return np.asarray(fit.params["b"])

    contenders: dict[str, Callable[[], Any]] = {"lossgeo fit + covariance": ours}
    absent = missing("numpyro")
    if not absent:
        import numpyro
        import numpyro.distributions as nd
        from numpyro.infer import SVI, Trace_ELBO
        from numpyro.infer.autoguide import AutoLaplaceApproximation

        def declared(g: Any, x: Any, u: Any, y: Any) -> None:
            b = numpyro.sample("b", nd.Normal(0, 5).expand([3]).to_event(1))
            tau, sigma = numpyro.sample("tau", nd.HalfNormal(1)), numpyro.sample("sigma", nd.HalfNormal(1))
            with numpyro.plate("groups", groups):
                z = numpyro.sample("z", nd.Normal(0, 1))
            numpyro.sample("y", nd.Normal(b[0] + b[1] * u[g] + tau * z[g] + b[2] * x, sigma), obs=y)

        guide = AutoLaplaceApproximation(declared)
        svi = SVI(declared, guide, numpyro.optim.Adam(0.01), Trace_ELBO())

        def peer() -> np.ndarray:
            found = svi.run(jax.random.key(0), 2000, *data, progress_bar=False)
            jax.block_until_ready(guide.get_transform(found.params).scale_tril)
            return np.asarray(guide.median(found.params)["b"])

        contenders["numpyro AutoLaplace, 2000 steps of Adam"] = peer
    # The modes differ: numpyro's is that of the density of the unconstrained coordinates.
    return Workload("mode and Laplace covariance, 85 groups", contenders, gap=lambda b: float("nan"), missing=absent)


MANY_FITS: dict[str, Callable[[], Workload]] = {
    "g": many_small,
    "g2": bootstrap,
    "h2": logistic_cross_validation,
    "i": minibatches,
    "j": hierarchy,
}
