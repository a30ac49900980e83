"""Overdispersed counts and angles where sums are long and textbook formulas cancel, against 30 digits of mpmath."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from evaluation import QUICKLY

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports
from lossgeo.distributions.lattice import cumulated

# mean, concentration, entropy (by Malmsten's integral of log-gamma), information about the concentration (Fisher's
# series as an integral of its generating function)
NEGATIVE_BINOMIAL = np.array(
    [
        (1e-3, 0.5, 0.0079081471645168269, 2.6588629938858427e-6),
        (50.0, 15.9, 4.0641015064683926, 0.0011379589567340392),
        (50.0, 16.1, 4.0596316708375685, 0.0011029656954367803),
        (1e3, 0.01, 1.2045813712531382, 987.64750699260376),
        (1e4, 3.0, 9.9594565636770134, 0.061550770934402792),
        (1e6, 1.0, 14.815511057964107, 0.64492025134332622),
        (1e8, 0.3, 18.572864739696249, 8.8761218931397616),
        (300.0, 1e5, 4.2720467770246649, 4.4730764634374434e-16),
        (5.0, 1e8, 2.2043952656423669, 1.2499998625000116e-31),
        (1e5, 100.0, 10.626436976803934, 5.0065805573895546e-5),
    ]
)


SINGLE = pytest.param(np.float32, 2e-5, marks=pytest.mark.slow)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), SINGLE])
def test_entropy_and_information_of_negative_binomial_counts(dtype, rtol):
    mean, r, entropy, information = NEGATIVE_BINOMIAL.T
    family = dist.NegativeBinomial(mean.astype(dtype), r.astype(dtype))
    found = jax.jit(lambda d: (d.entropy(), d.fisher_information()), compiler_options=QUICKLY)(family)
    np.testing.assert_allclose(found[0], entropy, rtol=rtol)
    np.testing.assert_allclose(found[1][:, 1, 1], information, rtol=rtol)
    np.testing.assert_allclose(found[1][:, 0, 0], 1 / (mean * (1 + mean / r)), rtol=rtol)
    np.testing.assert_array_equal(found[1][:, 0, 1], 0.0)
    poisson = dist.NegativeBinomial(dtype(3.7), dtype(np.inf))
    np.testing.assert_allclose(poisson.entropy(), dist.Poisson(3.7).entropy(), rtol=rtol)
    np.testing.assert_allclose(poisson.fisher_information(), [[1 / 3.7, 0], [0, 0]], rtol=rtol)
    assert dist.NegativeBinomial(dtype(0.0), dtype(2.0)).entropy() == 0.0


def test_negative_binomial_mass_and_score_without_cancellation():
    """Values and scores in the concentration; a count of 1e6 has y log y of 1e7, of which nothing is lost."""
    mean, r, y = (
        np.array([1e6, 1e6, 1e8, 1e5, 50.0]),
        np.array([1.0, 1.0, 0.3, 1e3, 20.0]),
        np.array([1e6, 3, 1e7, 2e5, 0]),
    )
    value = [-14.815511057964107, -13.815514557962274, -18.29586102632739, -314.0471878533884, -25.05525936990736]
    at = jax.jit(jax.vmap(jax.value_and_grad(lambda r, m, y: dist.NegativeBinomial(m, r).log_prob(y))))
    found, score = at(r, mean, y)
    np.testing.assert_allclose(found, value, rtol=1e-14)
    digamma = scipy_digamma_difference(y, r)
    np.testing.assert_allclose(score, digamma - np.log1p(mean / r) + (mean - y) / (r + mean), rtol=1e-9)
    single = at(*(v.astype(np.float32) for v in (r, mean, y)))
    np.testing.assert_allclose(single[0], value, rtol=1e-6)
    np.testing.assert_allclose(single[1], score, rtol=1e-5)
    # Almost surely 0: -mean, with all its digits.
    np.testing.assert_allclose(dist.NegativeBinomial(1e-30, 2.0).log_prob(0), -1e-30, rtol=1e-15)


def scipy_digamma_difference(y, r):
    return np.array([float(np.sum(1 / (b + np.arange(a, dtype=np.longdouble)))) for a, b in zip(y, r, strict=True)])


LONG = [pytest.param(1200, a, 40.0, marks=pytest.mark.slow) for a in (15.9, 16.1)]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "a", "b"), [(0, 2.4, 3.5), (700, 0.3, 0.7), *LONG])
def test_sums_over_beta_binomial_counts_are_those_of_all_terms(n, a, b):
    """Entropy and tails of both kinds of sums against plain ones of scipy's terms, in double and single precision."""
    family = dist.BetaBinomial(float(n), a, b)
    count = np.arange(n + 1.0)
    mass = st.betabinom(n, a, b).pmf(count) if n else np.ones(1)
    np.testing.assert_allclose(family.entropy(), -np.sum(mass * np.log(mass)), rtol=2e-11, atol=1e-15)
    y = np.array([0.0, n // 3, n // 2, n - 1]) if n else np.zeros(1)
    below, above = np.cumsum(mass), np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)
    inside = y < n
    if inside.any():
        at = y[inside].astype(int)
        tails = np.asarray(family.log_cdf(y[inside])), np.asarray(family.log_survival(y[inside]))
        np.testing.assert_allclose(np.exp(tails[0]), below[at], rtol=1e-9)
        np.testing.assert_allclose(np.exp(tails[1]), above[at], rtol=1e-9)
    single = dist.BetaBinomial(np.float32(n), np.float32(a), np.float32(b))
    np.testing.assert_allclose(single.entropy(), family.entropy(), rtol=2e-6)
    np.testing.assert_allclose(single.log_prob(y.astype(np.float32)), family.log_prob(y), rtol=1e-6, atol=1e-6)
    if n:
        found, wanted = np.asarray(single.fisher_information()), np.asarray(family.fisher_information())
        np.testing.assert_allclose(found, wanted, rtol=5e-6)


def test_derivatives_of_sums_of_unknown_length_go_forwards_and_backwards():
    """Of a geometric series, whose sum is known; longer and shorter than one block of terms."""

    def series(p, last):
        return cumulated(lambda y, p: y * jnp.log(p), last, p)

    def closed(p, last):
        return jnp.log(-jnp.expm1((last + 1) * jnp.log(p))) - jnp.log1p(-p)

    towers = [jax.jit(jax.vmap(jax.grad(jax.grad(fn)))) for fn in (series, closed)]
    p, last = np.array([0.3, 0.9, 0.99, 0.7]), np.array([5.0, 40.0, 600.0, 0.0])
    np.testing.assert_allclose(series(p, last), closed(p, last), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(*(tower(p, last) for tower in towers), rtol=1e-9, atol=1e-12)


def test_both_ends_of_the_circle_belong_to_it():
    angles = np.array([-np.pi, -1.0, 0.3, 0.5, np.pi])
    assert np.all(supports.angles.contains(angles)) and np.all(supports.angles.contains(angles.astype(np.float32)))
    assert not supports.angles.contains(3.15)
    family = dist.VonMises(0.3, 2.0)
    np.testing.assert_allclose(family.log_prob(np.pi), family.log_prob(-np.pi), rtol=1e-14)
    np.testing.assert_array_equal(family.cdf(np.array([-np.pi, np.pi, 4.0, -4.0])), [0.0, 1.0, 1.0, 0.0])
    model = lg.likelihood(lambda p: dist.VonMises(p["loc"], 2.0))
    fit = lg.fit(lg.map_objective(model), {"loc": 0.1}, angles)  # data on the ends are taken
    np.testing.assert_allclose(fit.params["loc"], np.angle(np.sum(np.exp(1j * angles))), rtol=1e-8)


def test_arcs_of_concentrated_directions():
    """Concentrations where the density is a normal one, and the cut is anywhere; values to 40 digits of mpmath."""
    cases = np.array(
        [
            (0.0, 1e3, -1.2, -641.94522177768, -1.6096538689588215e-279),
            (2.9, 50.0, -2.0, -3.1104503114798354, np.nan),
            (-3.0, 300.0, 2.5, -0.0071807703024991875, np.nan),
            (0.0, 30.0, 2.89, -6.852195608530123e-27, -60.245228383130105),
        ]
    )
    loc, kappa, y, below, above = cases.T
    found = jax.jit(lambda d, y: (d.log_cdf(y), d.log_survival(y)))(dist.VonMises(loc, kappa), y)
    np.testing.assert_allclose(found[0], below, rtol=1e-13)
    known = ~np.isnan(above)
    np.testing.assert_allclose(found[1][known], above[known], rtol=1e-12)
    # Just above -pi: length times density, though pi is not a floating-point number.
    near = dist.VonMises(0.4, 2.4)
    for dtype, rtol in ((np.float64, 1e-7), (np.float32, 1e-4)):
        y = np.nextafter(dtype(-3.141), dtype(0))
        exact = np.log(y.astype(np.longdouble) + np.longdouble("3.14159265358979323846264338327950288")).astype(float)
        middle = float(near.log_prob(0.5 * (float(y) - np.pi)))
        np.testing.assert_allclose(near.log_cdf(y), exact + middle, rtol=rtol)


def test_information_of_kumaraswamy_near_its_removable_singularities():
    """Shapes 1 and 2, where the closed form is 0 / 0: between their neighbours, and an expectation of scores."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for b in (1.0, 1.0 + 1e-9, 2.0, 2.0 - 1e-7, 2.4999, 2.5001):
        u = (0.5 * (nodes + 1)) ** 2  # y^a is uniform to the power; crowded at 0, where the score is a logarithm
        u = 1 - (1 - u) ** 2
        y = u**0.5
        jac = 0.5 * weights * 2 * (0.5 * (nodes + 1)) * 2 * (1 - (0.5 * (nodes + 1)) ** 2) * 0.5 / y
        log_prob = lambda t, v: dist.Kumaraswamy(t[0], t[1]).log_prob(v)  # noqa: E731
        score = jax.vmap(jax.grad(log_prob), (None, 0))(np.array([2.0, b]), y)
        mass = jac * np.exp(dist.Kumaraswamy(2.0, b).log_prob(y))
        np.testing.assert_allclose(
            dist.Kumaraswamy(2.0, b).fisher_information(), np.einsum("n,ni,nj->ij", mass, score, score), rtol=1e-6
        )


def test_derivatives_of_the_negative_binomial_are_those_of_gamma_functions():
    """Written out, and needed to the second order: against exact sums over the integers below the count."""
    y, mean, r = (v.ravel() for v in np.meshgrid([0.0, 1.0, 7.0, 40.0], [0.3, 5.0, 60.0], [0.05, 3.0, 500.0]))
    steps = [np.arange(count) + shape for count, shape in zip(y, r, strict=True)]
    first, second = (np.array([np.sum(1.0 / k**p) for k in steps]) for p in (1, 2))

    def log_prob(theta, y):
        return dist.NegativeBinomial(theta[0], theta[1]).log_prob(y)

    theta, total = np.stack([mean, r], axis=1), mean + r
    gradient = jax.jit(jax.vmap(jax.grad(log_prob)))(theta, y)
    in_mean, in_r = y / mean - (y + r) / total, first + np.log(r / total) + (mean - y) / total
    np.testing.assert_allclose(gradient, np.stack([in_mean, in_r], axis=1), rtol=1e-11, atol=2e-14)
    hessian = jax.jit(jax.vmap(jax.hessian(log_prob)))(theta, y)
    both, of_r = (y - mean) / total**2, -second + 1 / r - 1 / total - (mean - y) / total**2
    wanted = np.stack([(y + r) / total**2 - y / mean**2, both, both, of_r], axis=1).reshape(-1, 2, 2)
    np.testing.assert_allclose(hessian, wanted, rtol=1e-10, atol=1e-14)
