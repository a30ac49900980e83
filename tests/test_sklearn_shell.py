"""The scikit-learn shell: its contract, and that its answers are those of the packages it stands beside."""

import ast
import pathlib
import pickle

import jax
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import losses, models

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from lossgeo.sklearn import MAPClassifier, MAPRegressor
from lossgeo.sklearn.rows import padded_size, to_default_float

pytestmark = pytest.mark.usefixtures("fast_compilation")

N, D = 60, 3
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, D)) * np.array([1.0, 3.0, 0.3])
ETA = X @ np.array([0.8, -0.3, 1.5]) + 0.2
Y = ETA + 0.5 * RNG.normal(size=N)
LABELS = np.where(RNG.uniform(size=N) < 1 / (1 + np.exp(-ETA)), "yes", "no")
KINDS = np.array(["a", "b", "c"])[np.argmax(np.stack([ETA, 0.5 * X[:, 1], 0 * ETA]) + RNG.gumbel(size=(3, N)), axis=0)]
COUNTS = RNG.integers(0, 3, size=N)


REGRESSOR, CLASSIFIER = MAPRegressor(), MAPClassifier()

OWN = {"check_dtype_object", "check_estimators_pickle", "check_fit_idempotent", "check_methods_subset_invariance",
       "check_sample_weight_equivalence_on_dense_data", "check_sample_weights_shape"}  # fmt: skip
"""Checks of the code that both share, which are made for the classifier too; the others once, for the regressor."""


def _name(check):
    return getattr(check, "func", check).__name__


SHARED = {_name(check) for _, check in estimator_checks_generator(REGRESSOR)} - OWN
CONTRACT = [
    *estimator_checks_generator(REGRESSOR),
    *((e, check) for e, check in estimator_checks_generator(CLASSIFIER) if _name(check) not in SHARED),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    "estimator, check", CONTRACT, ids=lambda value: "" if callable(value) else type(value).__name__
)
def test_the_contract_of_scikit_learn(estimator, check):
    check(clone(estimator))


def test_the_default_regressor_is_least_squares_and_knows_its_errors():
    reference = LinearRegression().fit(X, Y, sample_weight=COUNTS)
    found = MAPRegressor().fit(X, Y, sample_weight=COUNTS)
    np.testing.assert_allclose(found.coef_, reference.coef_, rtol=1e-10)
    np.testing.assert_allclose(found.predict(X), reference.predict(X), rtol=1e-10)
    assert found.score(X, Y) == pytest.approx(reference.score(X, Y), rel=1e-10)
    assert found.fit_.status == lg.Status.CONVERGED and found.n_features_in_ == D
    # What stands in fit_ are the rows that came, not those that were compiled for; a weight is a repetition.
    assert found.fit_.data[0].shape == (N, D) and found.fit_.weights.shape == (N,)
    repeated = MAPRegressor().fit(np.repeat(X, COUNTS, axis=0), np.repeat(Y, COUNTS))
    for left, right in zip(
        jax.tree.leaves(found.fit_.standard_errors()), jax.tree.leaves(repeated.fit_.standard_errors()), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-8)
    assert repeated.fit_.weights is None and repeated.fit_.criteria().aic == pytest.approx(found.fit_.criteria().aic)
    residual = Y - found.predict(X)
    scale = np.sqrt(np.sum(COUNTS * residual**2) / COUNTS.sum())
    assert float(found.predict_distribution(X).scale) == pytest.approx(scale, rel=1e-8)
    quantile = found.set_params(predicts=0.9).predict(X)
    np.testing.assert_allclose(quantile - found.set_params(predicts="mean").predict(X), 1.2815515655446004 * scale)
    np.testing.assert_allclose(
        found.log_likelihood(X, Y), -0.5 * (residual / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi)), rtol=1e-8
    )


def test_more_features_than_rows_give_the_solution_of_least_norm_and_a_warning():
    few = slice(0, 3)
    with pytest.warns(ConvergenceWarning):
        found = MAPRegressor().fit(X[few], Y[few])
    np.testing.assert_allclose(found.coef_, LinearRegression().fit(X[few], Y[few]).coef_, rtol=1e-8)
    assert found.fit_.status != lg.Status.CONVERGED


def test_two_classes_are_logistic_regression():
    reference = LogisticRegression(C=0.7, tol=1e-10, solver="newton-cholesky").fit(X, LABELS)
    prior = {"coef": dist.Normal(0.0, np.sqrt(0.7)), "intercept": dist.Flat()}
    found = MAPClassifier(prior=prior).fit(X, LABELS)
    assert found.classes_.tolist() == ["no", "yes"] and found.coef_.shape == (1, D) and found.intercept_.shape == (1,)
    np.testing.assert_allclose(found.coef_, reference.coef_, rtol=1e-6)
    np.testing.assert_allclose(found.predict_proba(X), reference.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(found.decision_function(X), reference.decision_function(X), rtol=1e-5, atol=1e-6)
    assert np.all(found.predict(X) == reference.predict(X)) and found.score(X, LABELS) > 0.7
    # The log-probability survives where the probability is 0.
    far = found.predict_log_proba(1e3 * X)
    assert np.all(np.isfinite(far)) and far.min() < -745
    picked = found.predict_log_proba(X)[np.arange(N), (LABELS == "yes").astype(int)]
    np.testing.assert_allclose(found.log_likelihood(X, LABELS), picked, rtol=1e-10)
    with pytest.raises(ValueError, match="labels that were not there"):
        found.log_likelihood(X, np.where(LABELS == "yes", "maybe", LABELS))


@pytest.mark.parametrize("strength", [pytest.param(0.5, marks=pytest.mark.slow), np.inf])
def test_more_classes_are_softmax_regression_identified_under_either_prior(strength):
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=1000, solver="newton-cholesky").fit(X, KINDS)
    prior = None if strength == np.inf else {"coef": dist.Normal(0.0, np.sqrt(strength)), "intercept": dist.Flat()}
    found = MAPClassifier(prior=prior).fit(X, KINDS)
    assert found.fit_.status == lg.Status.CONVERGED and found.coef_.shape == (3, D) and found.intercept_[0] == 0
    center = (lambda v: v - v[:1]) if prior is None else (lambda v: v)
    np.testing.assert_allclose(center(found.coef_), center(reference.coef_), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.predict_proba(X), reference.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(found.decision_function(X), np.log(reference.predict_proba(X)), rtol=1e-5, atol=1e-6)


def test_a_generalised_linear_model_with_a_prior():
    reference = PoissonRegressor(alpha=0.1, tol=1e-10, solver="newton-cholesky").fit(X, COUNTS)
    prior = {"coef": dist.Normal(0.0, 1 / np.sqrt(0.1 * N)), "intercept": dist.Flat()}
    found = clone(MAPRegressor(models.poisson_regression(), prior)).fit(X, COUNTS)
    np.testing.assert_allclose(found.coef_, reference.coef_, rtol=1e-6)
    np.testing.assert_allclose(found.predict(X), reference.predict(X), rtol=1e-6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict(X), found.predict(X))
    with pytest.raises(ValueError, match="predicts must be"):
        found.set_params(predicts=1.5).predict(X)
    # Counts up to 2 are not all that a Poisson distribution allows: no classifier.
    classifier = MAPClassifier(models.poisson_regression())
    classifier.fit_, classifier.classes_, classifier.n_features_in_ = found.fit_, np.arange(3), D
    with pytest.raises(ValueError, match="total probability"):
        classifier.predict(X)


def _cauchy(params, x):
    return dist.Cauchy(x @ params["coef"], 0.3)


@pytest.mark.slow
def test_a_distribution_without_a_mean_predicts_its_median():
    found = MAPRegressor(_cauchy, init_params={"coef": LinearRegression().fit(X, Y).coef_}).fit(X, Y)
    with pytest.raises(ValueError, match="predicts='median'"):
        found.predict(X)
    np.testing.assert_allclose(found.set_params(predicts="median").predict(X), X @ found.coef_, rtol=1e-12)
    assert found.intercept_ == 0.0


def _score(params, x):
    return x @ params["coef"] + params["intercept"]


@pytest.mark.slow
def test_margin_losses_have_probabilities_where_they_remember_them():
    init, prior = {"coef": np.zeros(D), "intercept": 0.0}, {"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()}
    loss = lg.pseudo_likelihood(losses.squared_hinge, _score)
    found = MAPClassifier(loss, prior, init_params=init).fit(X, LABELS)
    decision = found.decision_function(X)
    np.testing.assert_allclose(decision, X @ found.coef_[0] + found.intercept_[0], rtol=1e-12)
    np.testing.assert_allclose(found.predict_proba(X)[:, 1], np.clip((1 + decision) / 2, 0, 1), atol=1e-12)
    assert found.score(X, LABELS) > 0.7
    forgetful = MAPClassifier(lg.pseudo_likelihood(losses.hinge, _score), init_params=init, max_steps=1)
    found.fit_ = lg.Fit.from_params(
        lg.map_objective(forgetful.likelihood, prior), found.fit_.params, X, (LABELS == "yes").astype(int)
    )
    assert not hasattr(found, "predict_proba") and hasattr(found, "decision_function")


def test_a_fit_that_does_not_exist_warns_or_raises():
    separated = np.where(X[:, 0] > 0, "right", "left")
    with pytest.warns(ConvergenceWarning, match="SEPARATED"):
        found = MAPClassifier(prior=None).fit(X, separated)
    assert found.fit_.status == lg.Status.SEPARATED and found.score(X, separated) == 1.0
    with pytest.raises(lg.FitError, match="SEPARATED") as error:
        MAPClassifier(prior=None, throw=True).fit(X, separated)
    assert error.value.fit.data[0].shape == (N, D)


def test_the_default_prior_is_that_of_logistic_regression():
    reference = LogisticRegression(tol=1e-10, solver="newton-cholesky").fit(X, LABELS)
    np.testing.assert_allclose(MAPClassifier().fit(X, LABELS).coef_, reference.coef_, rtol=1e-6)
    with pytest.raises(ValueError, match='prior must be "normal"'):
        MAPClassifier(prior="laplace").fit(X, LABELS)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least two classes"):
        MAPClassifier().fit(X, np.zeros(N, int))
    with pytest.raises(ValueError, match="where coef is full anyway"):
        models.softmax_regression(3, full_coef=True)
    with pytest.raises(ValueError, match="least value is -1"):
        MAPRegressor().fit(X, Y, sample_weight=-np.ones(N))
    with pytest.raises(ValueError, match="no entry for parameter 'scale'"):
        MAPRegressor(prior={"coef": dist.Normal(0.0, 1.0), "intercept": dist.Flat()}).fit(X, Y)


@pytest.mark.slow
def test_faults_are_counted_in_the_rows_that_came():
    with pytest.raises(ValueError, match=rf"of {N} values do not"):
        MAPRegressor(models.poisson_regression()).fit(X, Y)


def test_sizes_are_few_and_waste_little():
    sizes = {n: padded_size(n) for n in range(1, 5000)}
    assert all(sizes[n] >= n for n in sizes) and len(set(sizes.values())) < 60
    assert max(sizes[n] / n for n in range(64, 5000)) <= 1.125


def test_single_precision_is_used_where_jax_is_set_to_it_and_warns_where_it_matters():
    with jax.enable_x64(False):
        found = MAPRegressor().fit(X, Y)
        assert found.coef_.dtype == np.float32
        np.testing.assert_allclose(found.predict(X), LinearRegression().fit(X, Y).predict(X), rtol=1e-4, atol=1e-5)
        seconds = 1.7e9 + np.arange(N) * 10.0
        with pytest.warns(UserWarning, match="column 1 of X"):
            to_default_float(np.stack([Y, seconds], axis=1), "X")
        with pytest.raises(ValueError, match="beyond the range"):
            to_default_float(np.array([1.0, 1e300]), "y")
    assert to_default_float(seconds, "X").dtype == np.float64


def test_the_package_itself_does_not_need_scikit_learn():
    root = pathlib.Path(lg.__file__).parent
    for path in root.rglob("*.py"):
        if path.parent.name == "sklearn":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            origin = getattr(node, "module", None) or ""
            assert not any(name.split(".")[0] == "sklearn" for name in (*names, origin)), path
            assert origin != "lossgeo.sklearn" and "lossgeo.sklearn" not in names, path
