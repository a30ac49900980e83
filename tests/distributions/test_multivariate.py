"""Families of vectors against scipy, their definitions and Bartlett's identities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

RNG = np.random.default_rng(5)
A = RNG.normal(size=(3, 3))
SIGMA, MU = A @ A.T + np.eye(3), np.array([0.3, -1.0, 2.0])
FORMS = {
    "covariance": {"covariance": SIGMA},
    "precision": {"precision": np.linalg.inv(SIGMA)},
    "cholesky": {"cholesky": np.linalg.cholesky(SIGMA)},
}
Y = RNG.normal(size=(4, 3)) * 2


@pytest.mark.parametrize("form", FORMS)
def test_multivariate_normal_in_three_forms(form):
    normal, twin = dist.MultivariateNormal(MU, **FORMS[form]), st.multivariate_normal(MU, SIGMA)
    np.testing.assert_allclose(normal.log_prob(Y), twin.logpdf(Y), rtol=1e-12)
    np.testing.assert_allclose(normal.mean, MU)
    np.testing.assert_allclose(normal.variance, np.diag(SIGMA), rtol=1e-12)
    np.testing.assert_allclose(normal.entropy(), twin.entropy(), rtol=1e-13)
    draws = np.asarray(normal.sample(jax.random.key(0), (20_000,)))
    z = np.linalg.solve(np.linalg.cholesky(SIGMA), (draws - MU).T)
    assert np.max(np.abs(z @ z.T / 20_000 - np.eye(3))) < 5 * np.sqrt(2 / 20_000)
    assert np.max(np.abs(z.mean(axis=1))) < 5 / np.sqrt(20_000)
    # One matrix for each observation, and the batch of one that is broadcast.
    matrices = {k: np.broadcast_to(v, (4, 3, 3)) for k, v in FORMS[form].items()}
    np.testing.assert_allclose(dist.MultivariateNormal(Y, **matrices).log_prob(Y + 1), twin.logpdf(MU + 1), rtol=1e-12)
    single = {k: v.astype(np.float32) for k, v in FORMS[form].items()}
    found = dist.MultivariateNormal(MU.astype(np.float32), **single).log_prob(Y.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, twin.logpdf(Y), rtol=1e-5)
    assert normal.log_prob(np.array([np.inf, 0.0, 0.0])) == -np.inf and np.isnan(normal.log_prob(MU * np.nan))
    assert normal.batch_shape == () and normal.event_shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_information_of_a_multivariate_normal(form):
    # Minus the Hessian of the log-density is affine in the gap and its square: means over 2d points are expectations.
    matrix = FORMS[form][form]
    points = np.sqrt(3) * np.concatenate([np.linalg.cholesky(SIGMA).T, -np.linalg.cholesky(SIGMA).T]) + MU

    def mean_log_prob(theta):
        return jnp.mean(dist.MultivariateNormal(theta[:3], **{form: theta[3:].reshape(3, 3)}).log_prob(points))

    want = -jax.hessian(mean_log_prob)(jnp.concatenate([MU, matrix.ravel()]))
    normal = dist.MultivariateNormal(MU, **FORMS[form])
    np.testing.assert_allclose(normal.fisher_information(), want, atol=1e-12 * np.abs(want).max())
    # One mean for all entries; and a batch of them.
    of_one = dist.MultivariateNormal(0.3, **FORMS[form]).fisher_information()
    np.testing.assert_allclose(of_one[0, 0], np.sum(np.linalg.inv(SIGMA)), rtol=1e-12)
    assert of_one.shape == (10, 10) and dist.MultivariateNormal(Y, **FORMS[form]).fisher_information().shape == (
        4,
        12,
        12,
    )


def test_expected_information_of_rows_that_are_vectors():
    objective = lg.map_objective(lg.likelihood(lambda p: dist.MultivariateNormal(p["loc"], SIGMA)))
    fit = lg.Fit.from_params(objective, {"loc": jnp.asarray(Y.mean(axis=0))}, Y)
    np.testing.assert_allclose(fit.covariance("expected"), SIGMA / len(Y), rtol=1e-10)
    np.testing.assert_allclose(fit.covariance("expected"), fit.covariance(), rtol=1e-10)


def test_multivariate_normal_says_what_is_wrong():
    with pytest.raises(ValueError, match="exactly one of covariance, precision and cholesky; it was given none"):
        dist.MultivariateNormal(MU).log_prob(MU)
    with pytest.raises(ValueError, match=r"must have shape \(\*batch, d, d\)"):
        dist.MultivariateNormal(MU, np.ones(3)).log_prob(MU)
    with pytest.raises(ValueError, match=r"\(\*batch, 3\), but has \(2,\)"):
        dist.MultivariateNormal(MU, SIGMA).log_prob(np.ones(2))
    assert np.isnan(dist.MultivariateNormal(MU, -SIGMA).log_prob(MU))


ALPHA = np.array([0.7, 1.0, 3.2])


def test_dirichlet_agrees_with_scipy():
    y = np.array([[0.2, 0.3, 0.5], [1e-9, 0.4, 0.6 - 1e-9]])
    twin = st.dirichlet(ALPHA)
    dirichlet = dist.Dirichlet(ALPHA)
    np.testing.assert_allclose(dirichlet.log_prob(y), [twin.logpdf(row) for row in y], rtol=1e-12)
    np.testing.assert_allclose(dirichlet.mean, twin.mean(), rtol=1e-14)
    np.testing.assert_allclose(dirichlet.variance, twin.var(), rtol=1e-13)
    np.testing.assert_allclose(dirichlet.entropy(), twin.entropy(), rtol=1e-12)
    np.testing.assert_array_equal(dirichlet.log_prob(np.array([[0.5, 0.6, 0.1], [-0.1, 0.6, 0.5]])), [-np.inf] * 2)
    assert np.isnan(dirichlet.log_prob(np.array([np.nan, 0.5, 0.5])))
    edge = np.array([0.25, 0.0, 0.75])  # exponent 0 in the entry that is 0
    np.testing.assert_allclose(dirichlet.log_prob(edge), jnp.log(twin.pdf(np.array([0.25, 1e-300, 0.75]))), rtol=1e-12)
    # The information is minus the Hessian, which does not depend on y.
    hessian = jax.hessian(lambda a: dist.Dirichlet(a).log_prob(y[0]))(ALPHA)
    np.testing.assert_allclose(dirichlet.fisher_information(), -hessian, rtol=1e-12)
    draws = np.asarray(dirichlet.sample(jax.random.key(2), (20_000,)))
    assert np.all(np.abs(draws.mean(0) - twin.mean()) < 5 * np.sqrt(twin.var() / 20_000))
    single = dist.Dirichlet(ALPHA.astype(np.float32)).log_prob(y.astype(np.float32)[:1])
    np.testing.assert_allclose(single, twin.logpdf(y[0]), rtol=1e-5)


def counts(total, classes):
    return np.array([c for c in itertools.product(range(total + 1), repeat=classes) if sum(c) == total], float)


P = np.array([0.2, 0.5, 0.3])
COUNT_CASES = {
    "multinomial probs": (dist.Multinomial(6, P), st.multinomial(6, P)),
    "multinomial logits": (dist.Multinomial(6, logits=np.log(P) + 1), st.multinomial(6, P)),
    "dirichlet_multinomial": (dist.DirichletMultinomial(6, ALPHA), st.dirichlet_multinomial(ALPHA, 6)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNT_CASES)
def test_vectors_of_counts(name):
    found, twin = COUNT_CASES[name]
    y = counts(6, 3)
    log_prob = np.asarray(found.log_prob(y))
    np.testing.assert_allclose(log_prob, twin.logpmf(y.astype(int)), rtol=1e-12)
    mass = np.exp(log_prob)
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-13)
    if name == "multinomial logits":
        np.testing.assert_allclose(found.entropy(), -mass @ log_prob, rtol=1e-13)
    np.testing.assert_allclose(found.mean, mass @ y, rtol=1e-13)
    np.testing.assert_allclose(found.variance, mass @ y**2 - (mass @ y) ** 2, rtol=1e-12)
    np.testing.assert_array_equal(found.log_prob(np.array([[1, 2, 4], [7, -1, 0], [5.5, 0.5, 0]])), [-np.inf] * 3)
    assert np.all(found.support.contains(y)) and not np.any(found.support.contains(y + 1))
    draws = np.asarray(found.sample(jax.random.key(0), (4000,)))
    assert np.all(found.support.contains(draws))
    assert np.all(np.abs(draws.mean(0) - found.mean) < 5 * np.sqrt(found.variance / 4000))
    leaves, tree = jax.tree.flatten(found)
    float_leaves = [np.asarray(leaf, float) for leaf in leaves]
    score = jax.vmap(jax.grad(lambda v, row: jax.tree.unflatten(tree, [6.0, v]).log_prob(row)), (None, 0))(
        float_leaves[1], y
    )
    covariance = np.einsum("n,ni,nj->ij", mass, score, score)
    if name != "multinomial probs":  # the entries of probs are not free
        np.testing.assert_allclose(mass @ score, 0.0, atol=1e-13)
    if name == "multinomial logits":
        np.testing.assert_allclose(found.fisher_information(), covariance, atol=1e-13)


@pytest.mark.slow
def test_entropy_of_dirichlet_multinomial_counts():
    y = counts(6, 3)
    for alpha in (ALPHA, 30 * ALPHA):
        found = dist.DirichletMultinomial(6, alpha)
        log_prob = np.asarray(found.log_prob(y))
        np.testing.assert_allclose(found.entropy(), -np.exp(log_prob) @ log_prob, rtol=1e-13)


def test_large_counts_cost_no_digits_and_few_counts_have_entropies():
    y = np.array([21_000.0, 29_500.0, 49_500.0])
    alpha = np.array([2e4, 3e4, 5e4])
    for family, parameter, twin in (
        (dist.DirichletMultinomial, alpha, st.dirichlet_multinomial(alpha, 100_000).logpmf(y.astype(int))),
        (lambda n, p: dist.Binomial(n, p[0]), np.array([0.2]), st.binom(100_000, 0.2).logpmf(y)),
    ):
        for dtype, digits in ((np.float64, 1e-9), (np.float32, 2e-5)):
            found = family(dtype(100_000), parameter.astype(dtype)).log_prob(y.astype(dtype))
            np.testing.assert_allclose(found, twin, rtol=digits, atol=digits)
    for few in (
        dist.Multinomial(0, P),
        dist.Multinomial(5, np.array([0.0, 1.0])),
        dist.DirichletMultinomial(4, ALPHA[:1]),
    ):
        assert few.entropy() == 0.0
    with pytest.raises(NotImplementedError, match="Estimate it by draws"):
        dist.Mixture(P, dist.Normal(P)).entropy()


def test_counts_of_several_totals_and_the_edge_of_the_simplex():
    many = dist.Multinomial(np.array([2, 3]), np.array([0.0, 0.4, 0.6]))
    y = np.array([[0, 1, 1], [1, 1, 1]])
    np.testing.assert_allclose(many.log_prob(y), [np.log(0.48), -np.inf], rtol=1e-14)
    assert many.batch_shape == (2,) and many.sample(jax.random.key(0)).shape == (2, 3)
    assert isinstance(dist.Dirichlet(ALPHA).support, supports.Simplex)


@pytest.mark.slow
def test_lkj_is_a_density_with_the_right_moments():
    """At K = 2 a density of r; at K = 3 a triple integral over the rows, and the uniform density of the volume."""
    eta = 2.5
    lkj = dist.LKJCholesky(2, eta)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    r = np.sin(0.5 * np.pi * nodes)
    density = 0.5 * np.pi * weights * np.cos(0.5 * np.pi * nodes)
    factor = np.zeros((80, 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = 1, r, np.cos(0.5 * np.pi * nodes)
    log_prob = np.asarray(lkj.log_prob(factor))
    mass = density * np.exp(log_prob)
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-13)
    np.testing.assert_allclose(lkj.mean, np.einsum("n,nij->ij", mass, factor), atol=1e-13)
    np.testing.assert_allclose(
        lkj.variance, np.einsum("n,nij->ij", mass, (factor - np.asarray(lkj.mean)) ** 2), atol=1e-13
    )
    np.testing.assert_allclose(lkj.entropy(), -np.sum(mass * log_prob), rtol=1e-12)
    score = np.asarray(jax.vmap(jax.grad(lambda e, y: dist.LKJCholesky(2, e).log_prob(y)), (None, 0))(eta, factor))
    np.testing.assert_allclose([mass @ score, mass @ score**2], [0, lkj.fisher_information()[0, 0]], atol=1e-13)
    # The volume of the correlation matrices of size 3 is pi^2 / 2: a uniform density, times the Jacobian L_11.
    y = supports.correlation_cholesky.forward(np.array([0.3, -0.8, 0.5]))
    uniform = dist.LKJCholesky(3, 1.0).log_prob(y)
    np.testing.assert_allclose(uniform, np.log(2 / np.pi**2) + np.log(y[1, 1]), rtol=1e-13)
    draws = np.asarray(dist.LKJCholesky(3, eta).sample(jax.random.key(1), (4000,)))
    assert np.all(supports.correlation_cholesky.contains(draws))
    three = dist.LKJCholesky(3, eta)
    assert np.all(np.abs(draws.mean(0) - np.asarray(three.mean)) <= 5 * np.sqrt(three.variance / 4000) + 1e-12)
    np.testing.assert_allclose(draws.var(0), three.variance, atol=0.02)
    assert three.log_prob(np.eye(3) * 1.1) == -np.inf and np.isnan(three.log_prob(np.eye(3) * np.nan))
    slope = jax.grad(lambda v: three.log_prob(supports.correlation_cholesky.forward(v)))(np.zeros(3))
    np.testing.assert_array_equal(slope, 0.0)
    assert dist.LKJCholesky(3, np.array([1.0, 2.0])).log_prob(np.broadcast_to(np.eye(3), (2, 3, 3))).shape == (2,)


def test_independent_sums_over_its_axes():
    base = dist.Normal(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), 1.5)
    one = dist.Independent(base)
    y = RNG.normal(size=(3, 2))
    np.testing.assert_allclose(one.log_prob(y), st.norm(base.loc, 1.5).logpdf(y).sum(1), rtol=1e-13)
    assert (one.batch_shape, one.event_shape, one.event_ndim) == ((3,), (2,), 1)
    assert one.sample(jax.random.key(0), (4,)).shape == (4, 3, 2)
    np.testing.assert_allclose(one.entropy(), np.full(3, 2 * st.norm(0, 1.5).entropy()), rtol=1e-13)
    np.testing.assert_array_equal(one.mean, base.loc)
    both = dist.Independent(base, 2)
    np.testing.assert_allclose(both.log_prob(y), one.log_prob(y).sum(), rtol=1e-13)
    vectors = dist.Mixture(np.array([0.2, 0.3, 0.5]), one)
    density = np.exp(st.norm(base.loc, 1.5).logpdf(y[0]).sum(1)) @ np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(vectors.log_prob(y[0]), np.log(density), rtol=1e-13)
    np.testing.assert_allclose(vectors.mean, [0.6 + 2.0, 0.2 + 0.9 + 2.5], rtol=1e-13)
    with pytest.raises(ValueError, match="batch shape"):
        dist.Independent(dist.Normal()).log_prob(0.0)
    with pytest.raises(ValueError, match=r"shape \(\*batch, 2\)"):
        one.log_prob(np.zeros(3))
