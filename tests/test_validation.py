"""The door of ``fit``: every fault is refused with the name of the argument, what was wanted and what came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import links, models, supports
from lossgeo.posing import pose
from lossgeo.validation import check_values, prepare, raise_for

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(7)
N = 30
X = RNG.normal(size=(N, 2))
LABELS = (RNG.uniform(size=N) < 0.5).astype(float)
START = {"coef": jnp.zeros(2), "intercept": jnp.zeros(())}


def logistic_model(params, x):
    return dist.Bernoulli(logits=x @ params["coef"] + params["intercept"])


def amount_model(params, x):
    return dist.Gamma(params["concentration"], jnp.exp(x @ params["coef"]))


LOGISTIC = lg.map_objective(lg.likelihood(logistic_model), {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()})
AMOUNT = lg.map_objective(
    lg.likelihood(amount_model), {"coef": dist.Flat(), "concentration": dist.Flat(supports.positive)}
)


def replaced(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


FAULTS = {
    "rows differ": (START, (X, LABELS[:-1]), {}, ["shape", "(29,)"]),
    "column target": (START, (X, LABELS[:, None]), {}, ["target", "(30, 1)"]),
    "row target": (START, (X, LABELS[None, :]), {}, ["target", "(1, 30)"]),
    "inputs of three axes": (START, (X[:, :, None], LABELS), {}, ["model", "[30, 2, 1]"]),
    "nan in x": (START, (replaced(X, (3, 1), np.nan), LABELS), {}, ["data[0]", "finite", "(3, 1)", "nan"]),
    "inf in x": (START, (replaced(X, (0, 0), np.inf), LABELS), {}, ["data[0]", "finite", "(0, 0)", "inf"]),
    "inf in y": (START, (X, replaced(LABELS, 2, -np.inf)), {}, ["data[1]", "target", "index 2", "-inf"]),
    "labels -1 and 1": (START, (X, 2 * LABELS - 1), {}, ["target", "0 and 1", "-1.0"]),
    "labels 1 and 2": (START, (X, LABELS + 1), {}, ["target", "0 and 1", "2.0"]),
    "labels between": (START, (X, replaced(LABELS, 4, 0.5)), {}, ["target", "index 4", "0.5"]),
    "empty": (START, (X[:0], LABELS[:0]), {}, ["data[0]", "empty"]),
    "empty target": (START, (X, LABELS[:0]), {}, ["data[1]", "empty"]),
    "no data": (START, (), {}, ["data"]),
    "too many data": (START, (X, X, LABELS), {}, ["model"]),
    "text labels": (START, (X, np.where(LABELS > 0, "a", "b")), {}, ["data[1]", "numeric"]),
    "text inputs": (START, (X.astype(str), LABELS), {}, ["data[0]", "numeric"]),
    "objects": (START, (X.astype(object), LABELS), {}, ["data[0]", "numeric", "object"]),
    "dates": (START, (X, LABELS.astype("datetime64[s]")), {}, ["data[1]", "numeric"]),
    "complex inputs": (START, (X + 1j, LABELS), {}, ["data[0]", "numeric", "complex"]),
    "masked": (START, (np.ma.masked_less(X, 0.0), LABELS), {}, ["mask"]),
    "missing parameter": ({"coef": START["coef"]}, (X, LABELS), {}, ["intercept"]),
    "unknown parameter": ({**START, "slope": 0.0}, (X, LABELS), {}, ["slope"]),
    "list for a dict": ([START["coef"], START["intercept"]], (X, LABELS), {}, ["prior", "coef"]),
    "wrong width": ({**START, "coef": jnp.zeros(3)}, (X, LABELS), {}, ["model", "[3]"]),
    "integer start": (
        {**START, "coef": jnp.zeros(2, int)},
        (X, LABELS),
        {},
        ["init_params['coef']", "floating", "int"],
    ),
    "python int start": ({**START, "intercept": 0}, (X, LABELS), {}, ["init_params['intercept']", "floating"]),
    "bool start": ({**START, "intercept": True}, (X, LABELS), {}, ["init_params['intercept']", "floating"]),
    "text start": ({**START, "intercept": "0"}, (X, LABELS), {}, ["init_params['intercept']", "floating"]),
    "complex start": ({**START, "intercept": 0j}, (X, LABELS), {}, ["init_params['intercept']", "complex"]),
    "half start": ({**START, "intercept": np.float16(0)}, (X, LABELS), {}, ["init_params['intercept']", "float16"]),
    "nan start": ({**START, "coef": jnp.asarray([0.0, np.nan])}, (X, LABELS), {}, ["init_params['coef']", "index 1"]),
    "no start": (None, (X, LABELS), {}, ["init_params"]),
    "column weights": (START, (X, LABELS), {"weights": np.ones((N, 1))}, ["weights", "(30, 1)"]),
    "short weights": (START, (X, LABELS), {"weights": np.ones(N - 1)}, ["weights", "(29,)"]),
    "negative weight": (
        START,
        (X, LABELS),
        {"weights": replaced(np.ones(N), 5, -1)},
        ["weights", "negative", "index 5"],
    ),
    "nan weight": (START, (X, LABELS), {"weights": replaced(np.ones(N), 5, np.nan)}, ["weights", "index 5"]),
    "text weights": (START, (X, LABELS), {"weights": np.full(N, "1")}, ["weights", "numeric"]),
    "negative tol": (START, (X, LABELS), {"tol": -1.0}, ["tol"]),
    "nan tol": (START, (X, LABELS), {"tol": np.nan}, ["tol"]),
    "infinite tol": (START, (X, LABELS), {"tol": np.inf}, ["tol"]),
    "negative budget": (START, (X, LABELS), {"max_steps": -1}, ["max_steps"]),
    "no callback interval": (START, (X, LABELS), {"callback_every": 0}, ["callback_every"]),
    "no solver": (START, (X, LABELS), {"solver": "newton"}, ["solver", "newton"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused_with_names(name):
    params, data, kwargs, words = FAULTS[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        lg.fit(LOGISTIC, params, *data, **kwargs)
    message = str(caught.value).split("--------------------")[0]
    for word in words:
        assert word in message
    assert len(message) > 20


def test_a_nan_row_is_not_hidden_by_a_weight_of_zero():
    weights = replaced(np.ones(N), 3, 0.0)
    with pytest.raises(ValueError, match="weight of 0 does not hide"):
        lg.fit(LOGISTIC, START, replaced(X, (3, 1), np.nan), LABELS, weights=weights)


@pytest.mark.parametrize(("target", "word"), [(0.0, "index 1"), (-0.3, "index 1"), (np.nan, "finite")])
def test_amounts_outside_their_support_are_refused(target, word):
    amounts = replaced(RNG.gamma(2.0, size=N), 1, target)
    with pytest.raises(ValueError, match=word):
        lg.fit(AMOUNT, {"coef": jnp.zeros(2), "concentration": 1.0}, X, amounts)


@pytest.mark.parametrize("start", [0.0, -1.0, np.inf])
def test_a_start_outside_its_support_is_refused(start):
    with pytest.raises(ValueError, match=r"init_params\['concentration'\] must lie in its support, the positive"):
        lg.fit(AMOUNT, {"coef": jnp.zeros(2), "concentration": start}, X, np.ones(N))


def test_what_is_held_is_held_wherever_it_starts_and_a_fit_of_someone_else_must_hold_it_too():
    objective = lg.map_objective(lg.likelihood(logistic_model), {"coef": dist.Flat(), "intercept": dist.Fixed(0.5)})
    fit = lg.fit(objective, START, X, LABELS)
    assert float(fit.params["intercept"]) == 0.5
    assert "held" in str(fit.summary())
    with pytest.raises(ValueError, match="intercept.*held"):
        lg.Fit.from_params(objective, {**fit.params, "intercept": 0.0}, X, LABELS)


def test_what_is_no_objective_is_refused():
    with pytest.raises(TypeError, match="map_objective"):
        lg.fit(lg.likelihood(logistic_model), START, X, LABELS)


SHARES = RNG.uniform(size=N)
TARGETS = {
    "signs": (models.logistic_regression(), lambda: 2 * LABELS - 1, ["Bernoulli", "signs", "(y + 1) / 2"]),
    "labels from 1": (models.logistic_regression(), lambda: LABELS + 1, ["0 and 1", "y - 1"]),
    "classes from 1": (models.softmax_regression(3), lambda: np.arange(N) % 3 + 1, ["0 to 2", "y - 1"]),
    "negative counts": (models.poisson_regression(), lambda: -np.ones(N), ["Poisson", "not negative"]),
    "mean counts": (models.poisson_regression(), lambda: LABELS + 0.5, ["whole numbers", "tweedie"]),
    "zero amounts": (models.glm(dist.Gamma, links.log), lambda: LABELS, ["positive", "may be 0"]),
    "whole shares": (models.glm(dist.Beta), lambda: replaced(SHARES, 3, 1.0), ["index 3", "quasi_binomial"]),
    "more successes than trials": (
        models.glm(dist.Binomial),
        lambda: (replaced(LABELS, 5, 3.0), np.ones(N)),
        ["(successes, trials)", "index 5: (3.0, 1.0)"],
    ),
    "no trials": (models.glm(dist.Binomial), lambda: LABELS, ["(successes, trials)"]),
}


def refuse(objective, *data):
    """What ``fit`` does before its first step, without compiling the steps."""
    params, data, weights = prepare(objective, None, data, None)
    posed = pose(objective, params, data, weights)
    raise_for(check_values(posed), posed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_outside_its_support_is_refused_with_what_to_do(name):
    model, target, words = TARGETS[name]
    with pytest.raises(ValueError) as caught:
        refuse(lg.map_objective(lg.likelihood(model)), X, target())
    for word in words:
        assert word in str(caught.value)


def test_quasi_likelihoods_check_their_targets_too():
    for model in (models.quasi_binomial(), models.tweedie(1.5)):
        with pytest.raises(ValueError, match="the target must lie in the support.*index 2"):
            refuse(lg.map_objective(lg.pseudo_likelihood(model)), X, replaced(LABELS, 2, -0.5))


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (dist.Normal(0.0, -1.0), ["prior of 'coef'", "Normal has a scale", "-1.0"]),
        (dist.Normal(0.0, np.array([1.0, 0.0])), ["prior of 'coef'", "scale", "0.0"]),
        (dist.Truncated(dist.Normal(0.0, -3.0), low=0.0), ["prior of 'coef'", "Normal has a scale", "-3.0"]),
        (
            dist.Mixture(np.array([0.5, 0.9]), (dist.Normal(0.0, 0.1), dist.Normal(0.0, 1.0))),
            ["prior of 'coef'", "weights that must sum to 1", "1.4"],
        ),
        (lambda p: {"coef": dist.Laplace(0.0, -2.0), "intercept": dist.Flat()}, ["'coef'", "Laplace", "-2.0"]),
    ],
)
def test_a_prior_that_is_no_density_is_refused(prior, words):
    prior = prior if callable(prior) and not hasattr(prior, "log_prob") else {"coef": prior, "intercept": None}
    with pytest.raises(ValueError) as caught:
        lg.fit(lg.map_objective(lg.likelihood(logistic_model), prior), START, X, LABELS)
    for word in words:
        assert word in str(caught.value)


def test_a_negative_scale_of_the_model_is_named():
    likelihood = lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"], p["sigma"]))
    with pytest.raises(ValueError, match=r"Normal has a scale that must be positive, but is -1\.0"):
        lg.fit(lg.map_objective(likelihood), {"coef": jnp.zeros(2), "sigma": -1.0}, X, LABELS)


def test_a_start_off_the_simplex_is_refused():
    objective = lg.map_objective(lambda p: jnp.sum(jnp.log(p["w"])), supports={"w": supports.simplex})
    with pytest.raises(ValueError, match=r"init_params\['w'\].*sum to 1"):
        lg.fit(objective, {"w": jnp.array([0.5, 0.2])})


def test_class_ids_are_counted_from_zero():
    likelihood = lg.likelihood(lambda p, x: dist.Categorical(logits=x @ p))
    with pytest.raises(ValueError, match=r"target.*0 to 2.*3"):
        lg.fit(lg.map_objective(likelihood), jnp.zeros((2, 3)), X, np.arange(N) % 3 + 1)


@pytest.mark.parametrize("labels", [(-1.0, 1.0), (1.0, 2.0)])
@pytest.mark.parametrize("library", ["numpyro.distributions", "distrax"])
def test_labels_are_checked_for_distributions_of_other_libraries_too(library, labels):
    theirs = pytest.importorskip(library)
    likelihood = lg.likelihood(lambda p, x: theirs.Bernoulli(logits=x @ p))
    with pytest.raises(ValueError, match="target"):
        lg.fit(lg.map_objective(likelihood), jnp.zeros(2), X, np.where(LABELS > 0, labels[1], labels[0]))


@pytest.mark.parametrize(
    ("log_likelihood", "words"),
    [
        (lambda p, y: jnp.log(y - 10.0) * p, ["log-likelihood", "30 of 30"]),
        (lambda p, y: y * jnp.where(p == 0, 0.0, jnp.sqrt(p)), ["gradient", "params"]),
        (lambda p, y: y * p + jnp.inf, ["log-likelihood"]),
    ],
)
def test_a_start_without_a_density_or_a_gradient_is_refused(log_likelihood, words):
    with pytest.raises(ValueError) as caught:
        lg.fit(lg.map_objective(log_likelihood), jnp.asarray(0.0), np.ones(N))
    for word in words:
        assert word in str(caught.value)


def test_a_start_without_prior_density_is_refused():
    objective = lg.map_objective(lambda p, y: -((y - p) ** 2), lambda p: jnp.where(p > 1, -p, -jnp.inf))
    with pytest.raises(ValueError, match="log-prior is -inf"):
        lg.fit(objective, jnp.asarray(0.0), np.ones(N))


# ------------------------------------------------------------------ what is not a fault
def coef(*data, params=START, **kwargs):
    return np.asarray(lg.fit(LOGISTIC, params, *data, **kwargs).params["coef"])


WANT = coef(X, LABELS)


def pandas_data():
    pd = pytest.importorskip("pandas")
    index = np.arange(N)[::-1] * 7
    return pd.DataFrame(X, columns=["a", "b"], index=index), pd.Series(LABELS, index=np.arange(N) + 100)


FORMS = {
    "lists": lambda: (X.tolist(), LABELS.tolist()),
    "bool labels": lambda: (X, LABELS > 0),
    "int labels": lambda: (X, LABELS.astype(int)),
    "unsigned labels": lambda: (X, LABELS.astype(np.uint8)),
    "jax arrays": lambda: (jnp.asarray(X), jnp.asarray(LABELS)),
    "fortran order": lambda: (np.asfortranarray(X), LABELS[::1]),
    "reversed view": lambda: (X[::-1][::-1], LABELS[::-1][::-1]),
    "unmasked": lambda: (np.ma.masked_array(X), LABELS),
    "pandas with odd indices": pandas_data,
}


@pytest.mark.parametrize("name", FORMS)
def test_data_may_come_in_many_forms(name):
    # Row order is what counts, never an index.
    np.testing.assert_allclose(coef(*FORMS[name]()), WANT, rtol=1e-12)


def test_a_pandas_frame_with_text_is_refused():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "b": ["text"] * N})
    with pytest.raises(TypeError, match=r"data\[0\]"):
        lg.fit(LOGISTIC, START, frame, LABELS)
    missing = pd.DataFrame({"a": pd.array([1, None] + [2] * (N - 2), dtype="Int64"), "b": X[:, 1]})
    with pytest.raises((TypeError, ValueError), match=r"data\[0\]"):
        lg.fit(LOGISTIC, START, missing, LABELS)


def test_python_floats_are_a_start():
    objective = lg.map_objective(lambda p, y: dist.Normal(p["m"], 1.0).log_prob(y))
    assert float(lg.fit(objective, {"m": 0.0}, [1.0, 2.0, 6.0]).params["m"]) == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("offset", range(8))
def test_data_are_out_of_reach_of_the_caller(offset):
    # Whatever the alignment of the memory: a device may use aligned memory as it is, and copy any other later on.
    mine = np.ones(1_000_008)[offset:]
    _, (theirs,), _ = prepare(lg.map_objective(_sum_of_data), {"a": 0.0}, (mine,), None)
    mine[:] = 2.0
    assert float(theirs[0]) == float(theirs[-1]) == 1.0


def _sum_of_data(params, x):
    return params["a"] + x


def test_trees_of_data_keep_their_leaves():
    objective = lg.map_objective(
        lambda p, d: jnp.where(d["event"], jnp.log(p) - p * d["time"], -p * d["time"]), supports=supports.positive
    )
    data = {"time": np.array([1.0, 2.0, 5.0]), "event": np.array([True, True, False])}
    assert float(lg.fit(objective, jnp.asarray(1.0), data).params) == pytest.approx(2 / 8, rel=1e-10)
    with pytest.raises(ValueError, match=r"data\[0\]\.time"):
        lg.fit(objective, jnp.asarray(1.0), {**data, "time": np.array([1.0, np.nan, 2.0])})


@pytest.mark.slow
def test_weights_count_rows():
    counts = RNG.integers(0, 4, size=N)
    np.testing.assert_allclose(
        coef(X, LABELS, weights=counts), coef(np.repeat(X, counts, axis=0), np.repeat(LABELS, counts)), rtol=1e-10
    )
    for form in (counts.tolist(), counts.astype(np.float32), jnp.asarray(counts)):
        np.testing.assert_allclose(coef(X, LABELS, weights=form), coef(X, LABELS, weights=counts), rtol=1e-12)


def test_mixed_precision_is_computed_in_that_of_the_parameters():
    start = jax.tree.map(lambda v: v.astype(jnp.float32), START)
    fit = lg.fit(LOGISTIC, start, X, LABELS)
    assert fit.params["coef"].dtype == fit.value.dtype == jnp.float32
    np.testing.assert_allclose(fit.params["coef"], WANT, atol=3e-3)
    np.testing.assert_allclose(
        coef(X.astype(np.float32), LABELS), coef(X.astype(np.float32).astype(float), LABELS), rtol=1e-10
    )


def test_what_was_forgotten_is_named():
    with pytest.raises(TypeError, match=r"Wrap it: lg.map_objective\(likelihood\)"):
        lg.fit(lg.likelihood(logistic_model), START, X, LABELS)
    with pytest.raises(TypeError, match=r"lg.likelihood\(model\)"):
        lg.fit(logistic_model, START, X, LABELS)
    with pytest.raises(ValueError, match=r"wants lg.likelihood\(model\) around it"):
        lg.fit(lg.map_objective(logistic_model), START, X, LABELS)
    prior = {"coef": dist.Normal(0.0, jnp.ones(3)), "intercept": dist.Flat()}
    with pytest.raises(ValueError, match=r"prior of 'coef' is a Normal that cannot be evaluated.*shape \(2,\)"):
        lg.fit(lg.map_objective(lg.likelihood(logistic_model), prior), START, X, LABELS)


def test_what_single_precision_cannot_tell_apart_it_is_blamed_for():
    x = (1e8 + np.arange(N)).astype(np.float32)[:, None]
    start = {"coef": jnp.zeros(1, jnp.float32), "intercept": jnp.zeros((), jnp.float32)}
    objective = lg.map_objective(lg.likelihood(lambda p, x: dist.Normal(x @ p["coef"] + p["intercept"], 1.0)))
    fit = lg.fit(objective, start, x, X[:, 0].astype(np.float32), throw=False)
    assert fit.status == lg.Status.UNIDENTIFIED
    assert "center the features" in fit.message and "float32" in fit.message
