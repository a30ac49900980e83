"""Cox's partial likelihood and the conditional logistic one against slow sums over risk sets and subsets."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import likelihoods

pytestmark = pytest.mark.usefixtures("fast_compilation")

RNG = np.random.default_rng(3)
N = 14
X = RNG.normal(size=(N, 2))
TIME = RNG.integers(1, 6, size=N).astype(float)  # many ties
EVENT = np.array([1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1])
STRATA = RNG.integers(0, 2, size=N)
ENTRY = TIME - RNG.integers(1, 4, size=N)
WEIGHTS = RNG.uniform(0.5, 2.0, size=N)
COEF = {"coef": jnp.asarray([0.7, -1.1])}
ETA = X @ np.array([0.7, -1.1])


def slow_cox(ties, strata, entry, weights):
    """The definition, one event time after the other."""
    strata = np.zeros(N) if strata is None else strata
    entry = np.full(N, -np.inf) if entry is None else entry
    weights = np.ones(N) if weights is None else weights
    total = 0.0
    for s, t in sorted(set(zip(strata[EVENT == 1], TIME[EVENT == 1], strict=True))):
        risk = (strata == s) & (TIME >= t) & (entry < t)
        dead = np.flatnonzero((strata == s) & (t == TIME) & (EVENT == 1))
        hazard = weights * np.exp(ETA)
        total += np.sum(weights[dead] * ETA[dead])
        if ties == "exact":
            sets = itertools.combinations(np.flatnonzero(risk), len(dead))
            total -= np.log(sum(np.exp(ETA[list(chosen)].sum()) for chosen in sets))
            continue
        for k in range(len(dead)):
            gone = k / len(dead) * hazard[dead].sum() if ties == "efron" else 0.0
            total -= weights[dead].mean() * np.log(hazard[risk].sum() - gone)
    return total


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
@pytest.mark.parametrize("strata", [None, STRATA])
@pytest.mark.parametrize("entry", [None, ENTRY])
def test_the_partial_likelihood_is_its_definition(ties, strata, entry):
    likelihood = likelihoods.cox_partial(ties=ties, strata=strata, entry=entry)
    found, slope = jax.jit(jax.value_and_grad(lambda p: likelihood.total(p, X, (TIME, EVENT))))(COEF)
    np.testing.assert_allclose(found, slow_cox(ties, strata, entry, None), rtol=1e-12)
    assert np.all(np.isfinite(slope["coef"]))


@pytest.mark.slow
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_case_weights_count_in_the_risk_sets(ties):
    likelihood = likelihoods.cox_partial(ties=ties, strata=STRATA)
    found = likelihood.total(COEF, X, (TIME, EVENT), weights=WEIGHTS)
    np.testing.assert_allclose(found, slow_cox(ties, STRATA, None, WEIGHTS), rtol=1e-12)
    # A case of weight 0 is as good as absent, and with Breslow's formula a weight of 2 is a row twice.
    gone = np.where(np.arange(N) == 4, 0.0, 1.0)
    keep = gone > 0
    alone = likelihoods.cox_partial(ties=ties, strata=STRATA[keep])
    np.testing.assert_allclose(
        likelihood.total(COEF, X, (TIME, EVENT), weights=gone),
        alone.total(COEF, X[keep], (TIME[keep], EVENT[keep])),
        rtol=1e-12,
    )
    if ties == "breslow":
        twice = np.r_[np.arange(N), 4]
        doubled = likelihoods.cox_partial(ties=ties, strata=STRATA[twice])
        np.testing.assert_allclose(
            likelihood.total(COEF, X, (TIME, EVENT), weights=np.where(keep, 1.0, 2.0)),
            doubled.total(COEF, X[twice], (TIME[twice], EVENT[twice])),
            rtol=1e-12,
        )


@pytest.mark.parametrize("entry", [None, ENTRY])
def test_linear_predictors_of_any_size_are_fine(entry):
    likelihood = likelihoods.cox_partial(lambda p, eta: p * eta, entry=entry)
    eta = np.linspace(-1.0, 1.0, N)
    value, slope = jax.value_and_grad(lambda p: likelihood.total(p, eta, (TIME, EVENT)))(jnp.asarray(2000.0))
    assert np.isfinite(value) and np.isfinite(slope)
    # The limit of large predictors: each risk set is its largest member (less ties, of order 1).
    np.testing.assert_allclose(value / 2000.0, slope, rtol=1e-2)


@pytest.mark.slow
def test_statsmodels_agrees_on_a_fit_with_ties():
    sm = pytest.importorskip("statsmodels.api")
    fit = lg.fit(lg.map_objective(likelihoods.cox_partial()), None, X, (TIME, EVENT))
    theirs = sm.PHReg(TIME, X, status=EVENT, ties="efron").fit()
    np.testing.assert_allclose(fit.params["coef"], theirs.params, rtol=1e-6)
    np.testing.assert_allclose(fit.standard_errors()["coef"], theirs.bse, rtol=1e-5)
    assert np.isnan(fit.criteria().bic) and np.isfinite(fit.criteria().aic)


GROUPS = np.array([3, 3, 3, 7, 7, 7, 7, 1, 1, 1, 1, 5, 5, 5])
LABELS = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0])
SHUFFLED = RNG.permutation(N)


@pytest.mark.parametrize("order", [np.arange(N), SHUFFLED])
def test_the_conditional_likelihood_is_its_definition(order):
    likelihood = likelihoods.conditional_logit(GROUPS[order])
    want = []
    for g in np.unique(GROUPS):
        rows = np.flatnonzero(g == GROUPS)
        sets = itertools.combinations(rows, int(LABELS[rows].sum()))
        ways = np.log(sum(np.exp(ETA[list(chosen)].sum()) for chosen in sets))
        want.append(np.sum(ETA[rows] * LABELS[rows]) - ways)
    terms = likelihood.log_likelihood(COEF, X[order], LABELS[order])
    np.testing.assert_allclose(terms, want, rtol=1e-12, atol=1e-14)  # group 5, without a case, says nothing
    slope = jax.jacobian(lambda p: likelihood.log_likelihood(p, X[order], LABELS[order]))(COEF)["coef"]
    assert np.all(np.isfinite(slope)) and np.all(slope[2] == 0.0)


def test_one_case_to_a_group_is_a_softmax_over_its_rows():
    groups, labels = np.repeat(np.arange(5), 3), np.tile([0, 1, 0], 5)
    x = RNG.normal(size=(15, 2))
    terms = likelihoods.conditional_logit(groups, max_cases=1).log_likelihood(COEF, x, labels)
    want = jax.nn.log_softmax((x @ COEF["coef"]).reshape(5, 3), axis=1)[:, 1]
    np.testing.assert_allclose(terms, want, rtol=1e-12)
    too_many = likelihoods.conditional_logit(groups, max_cases=1).log_likelihood(COEF, x, 1 - labels)
    assert np.all(np.isnan(too_many))


def test_what_is_common_to_a_group_cancels():
    likelihood = likelihoods.conditional_logit(GROUPS, lambda p, x, level: x @ p["coef"] + level)
    shifted = likelihood.log_likelihood(COEF, X, 100.0 * GROUPS, LABELS)
    np.testing.assert_allclose(shifted, likelihood.log_likelihood(COEF, X, 0.0 * GROUPS, LABELS), atol=1e-11)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: likelihoods.cox_partial(ties="breslow "), "ties"),
        (lambda: likelihoods.cox_partial(strata=np.array(["a", "b"])), "strata"),
        (lambda: likelihoods.cox_partial(max_ties=0), "max_ties"),
        (lambda: likelihoods.conditional_logit(np.zeros((3, 1), int)), "groups"),
        (lambda: likelihoods.conditional_logit(np.array([0.5, 1.5])), "integer"),
        (lambda: likelihoods.conditional_logit(GROUPS, max_cases=0), "max_cases"),
        (lambda: likelihoods.cox_partial().total(COEF, X, TIME), "time, event"),
        (lambda: likelihoods.cox_partial().total(COEF, X, (TIME, EVENT[:-1])), "time and event"),
        (lambda: likelihoods.cox_partial().total(COEF, X[:-1], (TIME, EVENT)), "linear predictor"),
        (lambda: likelihoods.cox_partial(strata=STRATA[:-1]).total(COEF, X, (TIME, EVENT)), "strata"),
        (lambda: likelihoods.cox_partial().total(COEF, X, (TIME, EVENT), weights=WEIGHTS[:-1]), "weights"),
        (lambda: likelihoods.cox_partial(ties="exact").total(COEF, X, (TIME, EVENT), weights=WEIGHTS), "exact"),
        (lambda: likelihoods.conditional_logit(GROUPS).log_likelihood(COEF, X, LABELS[:-1]), "target"),
        (lambda: lg.fit(lg.map_objective(likelihoods.cox_partial()), None, X, (TIME, EVENT + 1)), "event 0 or 1"),
        (lambda: lg.fit(lg.map_objective(likelihoods.cox_partial(entry=TIME)), None, X, (TIME, EVENT)), "above entry"),
    ],
)
def test_faults_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def monotone(kind):
    """Survival in groups, of which all deaths are in one; in the order of a feature; and cases told by a feature."""
    noise = np.random.default_rng(3).normal(size=12)
    if kind == "conditional":
        labels = np.tile([1.0, 0.0, 0.0], 4)
        return likelihoods.conditional_logit(np.repeat(np.arange(4), 3)), np.c_[labels, noise], labels
    time, event = np.arange(1.0, 13.0), np.ones(12)
    feature = -time
    if kind == "group":
        event = feature = np.tile([1.0, 0.0], 6)
    return likelihoods.cox_partial(), np.c_[feature, noise], (time, event)


@pytest.mark.parametrize(
    "kind", ["group", *(pytest.param(k, marks=pytest.mark.slow) for k in ("order", "conditional"))]
)
def test_a_monotone_likelihood_is_separated_along_the_perfect_predictor(kind):
    likelihood, x, target = monotone(kind)
    fit = lg.fit(lg.map_objective(likelihood), None, x, target, throw=False)
    assert fit.status == lg.Status.SEPARATED
    assert "monotone" in fit.message and "coef[0]" in fit.message
    direction = np.asarray(fit.solution.direction)
    assert direction[0] > 5 * abs(direction[1])
    assert np.all(np.isnan(fit.standard_errors()["coef"]))
    if kind == "order":  # with a proper prior there is a mode
        prior = {"coef": lg.distributions.Normal(0.0, 1.0)}
        assert lg.fit(lg.map_objective(likelihood, prior), None, x, target).status == lg.Status.CONVERGED
