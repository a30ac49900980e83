"""Every margin loss: closed forms against what the value implies, the table of the theory, and outside numbers."""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import losses
from lossgeo.losses.margin import DerivedLoss, MarginLoss

GALLERY = {
    "zero_one": losses.zero_one,
    "square": losses.square,
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "modified_huber": losses.modified_huber,
    "rennie": losses.smoothed_hinge,
    "smoothed_hinge_2.5": losses.SmoothedHinge(2.5),
    "smoothed_hinge_0.5": losses.SmoothedHinge(0.5),
    "logistic": losses.logistic,
    "logistic_base2": losses.logistic_base2,
    "exponential": losses.exponential,
    "exponential_1.7": losses.Exponential(1.7),
    "savage": losses.savage,
    "tangent": losses.tangent,
    "ramp": losses.ramp,
}
EVERY = pytest.mark.parametrize("name", GALLERY)
PROPER = [name for name, loss in GALLERY.items() if loss.proper_composite]
ETA = np.array([0.03, 0.2, 0.41, 0.5, 0.66, 0.9, 0.985])


@EVERY
def test_closed_forms_are_what_the_value_implies(name):
    certificate = losses.verify(GALLERY[name])
    assert certificate.passed, str(certificate)
    assert {"bayes_risk", "minimizer", "psi", "conjugate"} <= certificate.errors.keys()


class SeedsSmoothedHinge(losses.SmoothedHinge):
    """The first branch as it is often misprinted: constant instead of falling."""

    def value(self, m):
        m = jnp.asarray(m)
        return jnp.where(m <= 0, 0.5, super().value(jnp.maximum(m, 0)))


def test_a_wrong_formula_does_not_pass():
    jax.tree_util.register_pytree_node(
        SeedsSmoothedHinge, lambda s: ((s.alpha,), None), lambda _, c: SeedsSmoothedHinge(*c)
    )
    certificate = losses.verify(SeedsSmoothedHinge(1.0))
    assert not certificate.passed
    assert {"derivative", "conjugate", "convex"} <= set(certificate.failures)
    assert "FAILS" in str(certificate)


# f*(eta), H(eta), psi(theta) as the theory prints them, independent of the library's own formulas.
def _entropy(p):
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


TABLE = {
    "square": (lambda e: 2 * e - 1, lambda e: 4 * e * (1 - e), lambda t: t**2),
    "hinge": (lambda e: np.sign(2 * e - 1), lambda e: 1 - abs(2 * e - 1), lambda t: t),
    "squared_hinge": (lambda e: 2 * e - 1, lambda e: 4 * e * (1 - e), lambda t: t**2),
    "logistic": (lambda e: np.log(e / (1 - e)), _entropy, lambda t: np.log(2) - _entropy((1 + t) / 2)),
    "logistic_base2": (
        lambda e: np.log(e / (1 - e)),
        lambda e: _entropy(e) / np.log(2),
        lambda t: 1 - _entropy((1 + t) / 2) / np.log(2),
    ),
    "exponential": (
        lambda e: np.log(e / (1 - e)) / 2,
        lambda e: 2 * np.sqrt(e * (1 - e)),
        lambda t: 1 - np.sqrt(1 - t**2),
    ),
    "zero_one": (lambda e: np.where(e >= 0.5, 1, -1), lambda e: np.minimum(e, 1 - e), lambda t: t),
    "savage": (lambda e: np.log(e / (1 - e)), lambda e: e * (1 - e), lambda t: t**2 / 4),
    "tangent": (lambda e: np.tan(e - 0.5), lambda e: 4 * e * (1 - e), lambda t: t**2),
    "ramp": (lambda e: np.sign(2 * e - 1), lambda e: 2 * np.minimum(e, 1 - e), lambda t: t),
}


def _smoothed(alpha):
    def top(e):
        return np.maximum(e, 1 - e)

    return (
        lambda e: np.sign(2 * e - 1) * ((2 * top(e) - 1) / top(e)) ** (1 / alpha),
        lambda e: alpha / (alpha + 1) * (1 - (2 * top(e) - 1) ** (1 + 1 / alpha) * top(e) ** (-1 / alpha)),
        lambda t: alpha / (alpha + 1) * t ** (1 + 1 / alpha) * ((1 + t) / 2) ** (-1 / alpha),
    )


TABLE |= {"rennie": _smoothed(1.0), "smoothed_hinge_2.5": _smoothed(2.5), "smoothed_hinge_0.5": _smoothed(0.5)}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_theory(name):
    minimizer, risk, psi = TABLE[name]
    loss, theta = GALLERY[name], np.array([0.1, 0.35, 0.7, 0.95])
    np.testing.assert_allclose(loss.minimizer(ETA), minimizer(ETA), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(loss.bayes_risk(ETA), risk(ETA), rtol=1e-12)
    np.testing.assert_allclose(loss.psi(theta), psi(theta), rtol=1e-12)
    np.testing.assert_allclose(loss.psi(-theta), psi(theta), rtol=1e-12)


def test_proximal_maps_of_the_table():
    v, gamma = np.array([-3.0, -0.6, -0.2, 0.4, 0.9, 1.0, 2.0]), 0.5
    rennie = np.where(v >= 1, v, np.where(v > -gamma, (v + gamma) / (1 + gamma), v + gamma))
    np.testing.assert_allclose(losses.smoothed_hinge.prox(v, gamma), rennie, rtol=1e-12)
    hinge = np.where(v > 1, v, np.where(v < 1 - gamma, v + gamma, 1))
    np.testing.assert_array_equal(losses.hinge.prox(v, gamma), hinge)
    for loss in (losses.logistic, losses.exponential):
        m = np.asarray(loss.prox(v, gamma))
        np.testing.assert_allclose(m + gamma * np.asarray(loss.derivative(m)), v, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="not attained"):
        losses.zero_one.prox(v, gamma)


def test_value_at_zero_is_not_always_one():
    at_zero = {name: float(loss.value(0.0)) for name, loss in GALLERY.items()}
    ones = ("square", "hinge", "logistic_base2", "exponential", "zero_one")
    assert all(at_zero[name] == pytest.approx(1, rel=1e-15) for name in ones)
    assert at_zero["logistic"] == pytest.approx(math.log(2), rel=1e-15)
    assert at_zero["smoothed_hinge_2.5"] == pytest.approx(2.5 / 3.5, rel=1e-15)


@EVERY
def test_only_the_logistic_loss_in_nats_is_a_likelihood(name):
    assert GALLERY[name].normalized is (name == "logistic")
    m = np.linspace(-6, 6, 25)
    total = np.exp(-np.asarray(GALLERY[name].value(m))) + np.exp(-np.asarray(GALLERY[name].value(-m)))
    assert bool(np.max(np.abs(total - 1)) < 1e-14) is (name == "logistic")


@pytest.mark.parametrize("name", PROPER)
def test_link_and_savages_identity(name):
    # phi(f*(q)) = H(q) + (1 - q) H'(q): a proper composite loss is the tangent of its own entropy.
    loss = GALLERY[name]
    eta = jnp.asarray(ETA[ETA != 0.5])
    np.testing.assert_allclose(loss.inverse_link(loss.minimizer(eta)), eta, rtol=1e-12)
    slope = jax.vmap(jax.grad(loss.bayes_risk))(eta)
    tangent = loss.bayes_risk(eta) + (1 - eta) * slope
    np.testing.assert_allclose(loss.value(loss.minimizer(eta)), tangent, rtol=0, atol=1e-13)
    assert np.all(np.asarray(loss.weight(eta)) > 0)


@pytest.mark.parametrize("name", sorted(set(GALLERY) - set(PROPER)))
def test_scores_without_probabilities_are_refused(name):
    with pytest.raises(ValueError, match="not proper composite"):
        GALLERY[name].inverse_link(0.3)


@functools.cache
def reference():
    return json.loads((pathlib.Path(__file__).parents[1] / "reference" / "margin_losses.json").read_text())["losses"]


@pytest.mark.parametrize(
    "name, key", [("hinge", "hinge"), ("logistic_base2", "logistic_base2"), ("smoothed_2", "smooth_hinge_alpha_2.0")]
)
def test_outside_numbers(name, key):
    loss = losses.SmoothedHinge(2.0) if name == "smoothed_2" else GALLERY[name]
    case = reference()[key]
    v = np.array([row["v"] for row in case["grid"]])
    truth = np.array([float(row["loss_20"]) for row in case["grid"]])
    slopes = np.array([row["deriv"] for row in case["grid"]])
    # At -100 + 1e-3 and the like the margin itself is rounded: relative to the loss where that is not small.
    np.testing.assert_allclose(loss.value(v), truth, rtol=1e-12, atol=1e-30)
    np.testing.assert_allclose(loss.derivative(v), slopes, rtol=1e-12, atol=1e-30)
    eta = np.array([row["eta"] for row in case["bayes"]])
    np.testing.assert_allclose(loss.bayes_risk(eta), [row["min_conditional_risk"] for row in case["bayes"]], rtol=1e-12)
    np.testing.assert_allclose(loss.minimizer(eta), [row["f_star"] for row in case["bayes"]], rtol=1e-12, atol=1e-15)
    assert (loss.convex, loss.calibrated) == (case["convex"], case["classification_calibrated"])


def _quartic_hinge(m):
    return jnp.where(m < 1, (1 - m) ** 4, 0)


def test_derive_knows_a_loss_that_is_not_in_the_gallery():
    loss = losses.derive(_quartic_hinge)
    ratio = (ETA / (1 - ETA)) ** (1 / 3)
    expected = (ratio - 1) / (ratio + 1)
    np.testing.assert_allclose(loss.minimizer(ETA), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss.inverse_link(expected), ETA, rtol=1e-10)
    u = np.array([-3.0, -0.4, -0.01])
    np.testing.assert_allclose(loss.conjugate(u), u + 0.75 * (-u) * (-u / 4) ** (1 / 3), rtol=1e-12)
    assert np.isinf(loss.conjugate(0.1))
    assert loss.convex and loss.calibrated and loss.proper_composite and not loss.normalized
    assert np.isinf(loss.lipschitz)
    # The answer is differentiable: df*/deta by the implicit-function rule.
    h = 1e-6
    slope = jax.grad(loss.minimizer)(0.7)
    difference = (loss.minimizer(0.7 + h) - loss.minimizer(0.7 - h)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def test_derive_tells_a_loss_that_is_not_calibrated():
    loss = losses.derive(lambda m: jnp.square(m))
    assert loss.convex and not loss.calibrated and not loss.proper_composite


@pytest.mark.parametrize("phi, message", [(lambda m: jnp.sum(m), "elementwise"), (lambda m: jnp.log(m), "finite")])
def test_derive_refuses(phi, message):
    with pytest.raises(ValueError, match=message):
        losses.derive(phi)


def test_labels_are_zero_and_one():
    scores, labels = jnp.array([0.3, -2.0, 1.5]), jnp.array([1, 0, 0])
    np.testing.assert_allclose(losses.hinge.pointwise(scores, labels), [0.7, 0.0, 2.5], rtol=1e-15)
    assert np.isnan(losses.hinge.pointwise(scores, jnp.array([1, -1, 2]))).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="one shape"):
        losses.hinge.pointwise(scores[:, None], labels)


@pytest.mark.parametrize("name", ["rennie", "logistic", "exponential", "savage"])
def test_single_precision_is_kept(name):
    m = jnp.asarray([-3.0, 0.2, 0.9999], jnp.float32)
    loss = GALLERY[name]
    for value, exact in (
        (loss.value(m), loss.value(m.astype(float))),
        (loss.derivative(m), loss.derivative(m.astype(float))),
    ):
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, exact, rtol=2e-6)
    assert isinstance(losses.derive(loss.value), DerivedLoss) and isinstance(loss, MarginLoss)


@EVERY
def test_not_a_number_stays_one(name):
    assert np.isnan(GALLERY[name].value(jnp.nan))
