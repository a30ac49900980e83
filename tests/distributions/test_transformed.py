"""Functions of a variable: known families found again, laws over supports and bijectors of one's own, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from evaluation import QUICKLY
from twins import pieces

from lossgeo import distributions as dist
from lossgeo import supports
from lossgeo._pytree import pytree

NORMAL = dist.Normal(0.4, 1.3)


@pytree
class Affine:
    """A bijector of one's own: it knows neither its image nor its direction."""

    shift: float
    slope: float

    def forward(self, u):
        return self.shift + self.slope * u

    def inverse(self, y):
        return (y - self.shift) / self.slope

    def forward_and_log_det(self, u):
        return self.forward(u), jnp.broadcast_to(jnp.log(jnp.abs(self.slope)), u.shape)


@pytree
class Reciprocal:
    """A falling map of the positive numbers onto those above 1; NaN outside its image."""

    def forward(self, u):
        return 1 + 1 / u

    def inverse(self, y):
        return jnp.where(y > 1, 1 / (y - 1), jnp.nan)

    def forward_and_log_det(self, u):
        return self.forward(u), -2 * jnp.log(u)


def contract(d, y, q):
    return {
        "log_prob": jax.vmap(jax.value_and_grad(d.log_prob))(y),
        "log_cdf": d.log_cdf(y),
        "log_survival": d.log_survival(y),
        "icdf": d.icdf(q),
    }


CONTRACT = jax.jit(contract, compiler_options=QUICKLY)
LOG_PROB = jax.jit(lambda d, y: d.log_prob(y), compiler_options=QUICKLY)
LOG_CDF = jax.jit(lambda d, y: d.log_cdf(y), compiler_options=QUICKLY)
SAMPLE = jax.jit(lambda d, shape: d.sample(jax.random.key(0), shape), static_argnums=1, compiler_options=QUICKLY)
LEVELS = np.array([0.0, 1e-25, 0.1, 0.5, 0.999, 1.0])
LAW = {  # one distribution in two ways, and points on both sides of the ends of its support
    "lognormal": (
        dist.Transformed(NORMAL, supports.positive),
        dist.LogNormal(0.4, 1.3),
        [1e-9, 0.2, 1.0, 50.0],
        [-1.0],
    ),
    "less_than": (
        dist.Transformed(dist.Logistic(0.4, 1.3), supports.less_than(2.0)),
        Affine(2.0, -1.0),
        [-300.0, 0.2, 1.9, 2 - 1e-9],
        [2.5, 1e30],
    ),
    "uniform": (
        dist.Transformed(dist.Logistic(), supports.interval(-1.0, 3.0)),
        dist.Uniform(-1.0, 3.0),
        [-1 + 1e-12, 0.0, 2.9],
        [-1.5, 3.5],
    ),
    "falling": (dist.Transformed(NORMAL, Affine(1.0, -2.0)), dist.Normal(0.2, 2.6), [-8.0, 0.2, 3.0, 40.0], []),
    "reciprocal": (
        dist.Transformed(dist.Gamma(2.5, 1.7), Reciprocal()),
        Affine(1.0, 1.0),
        [1.001, 1.3, 4.0, 1e4],
        [0.5, -2.0],
    ),
}


def twin_values(name, twin, y, q):
    """The same from a family in closed form; by hand where it is a shift of one."""
    if name == "less_than":  # 2 - y is log-logistic
        other = CONTRACT(dist.LogLogistic(np.exp(0.4), 1 / 1.3), 2.0 - y, q)
        quantile = 2.0 - st.fisk(1 / 1.3, scale=np.exp(0.4)).isf(q)
        value, slope = other["log_prob"]
        return (value, -slope), other["log_survival"], other["log_cdf"], quantile
    if name == "reciprocal":  # y - 1 is inverse-gamma
        other = CONTRACT(dist.InverseGamma(2.5, 1.7), y - 1.0, q)
        return other["log_prob"], other["log_cdf"], other["log_survival"], 1 + other["icdf"]
    other = CONTRACT(twin, y, q)
    return other["log_prob"], other["log_cdf"], other["log_survival"], other["icdf"]


@pytest.mark.parametrize("name", LAW)
def test_known_families_are_found_again(name):
    found, twin, inside, outside = LAW[name]
    y = np.array([*inside, *outside, np.nan, np.inf, -np.inf])
    out = jax.tree.map(np.asarray, CONTRACT(found, y, LEVELS))
    log_prob, log_cdf, log_survival, icdf = twin_values(name, twin, y, LEVELS)
    n = len(inside)
    np.testing.assert_allclose(out["log_prob"][0][:n], log_prob[0][:n], rtol=1e-12, atol=1e-12)
    steep = 1e-15 * np.max(np.abs(jax.vmap(jax.grad(found.bijector.inverse))(y[:n])))
    np.testing.assert_allclose(out["log_prob"][1][:n], log_prob[1][:n], rtol=1e-10, atol=4 * steep)
    np.testing.assert_array_equal(out["log_prob"][0][n:], [*[-np.inf] * len(outside), np.nan, -np.inf, -np.inf])
    np.testing.assert_array_equal(np.delete(out["log_prob"][1], n + len(outside))[n:], 0.0)
    np.testing.assert_allclose(out["log_cdf"], log_cdf, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(out["log_survival"], log_survival, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(out["icdf"], icdf, rtol=1e-9)
    assert np.all(found.support.contains(np.array(inside)))
    if name != "reciprocal":
        assert not np.any(found.support.contains(np.array([*outside, np.nan])))
    draws = np.asarray(SAMPLE(found, (2000,)))
    assert st.kstest(draws, lambda v: np.exp(LOG_CDF(found, v))).pvalue > 1e-4
    single = jax.tree.map(np.float32, found)
    value = single.log_prob(np.array(inside[1:-1], np.float32))
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, out["log_prob"][0][1 : n - 1], rtol=1e-4, atol=1e-5)


def test_logit_normal_is_a_density():
    nodes, weights = pieces(1 / (1 + np.exp(-np.linspace(-12, 12, 60))))
    logit_normal = dist.Transformed(NORMAL, supports.unit_interval)
    np.testing.assert_allclose(weights @ np.exp(logit_normal.log_prob(nodes)), 1.0, rtol=1e-12)
    # Information is not changed by a bijection without hyper-parameters of its own.
    log_prob = lambda theta, y: dist.Transformed(dist.Normal(*theta), supports.positive).log_prob(y)  # noqa: E731
    nodes, weights = pieces(np.exp(np.linspace(-14, 14, 80)))
    theta = np.array([0.4, 1.3])
    score = jax.vmap(jax.grad(log_prob), (None, 0))(theta, nodes)
    mass = weights * np.exp(log_prob(theta, nodes))
    information = dist.Transformed(NORMAL, supports.positive).fisher_information()
    np.testing.assert_allclose(np.einsum("n,ni,nj->ij", mass, score, score), information, atol=1e-11)
    with pytest.raises(NotImplementedError, match="hyper-parameters of its bijector"):
        logit_normal.fisher_information()


MU, SIGMA = np.array([0.3, -1.0]), np.array([[1.0, 0.4], [0.4, 0.7]])
VECTORS = {
    "simplex": (supports.simplex, 3),
    "ordered": (supports.ordered, 2),
    "positive_ordered": (supports.positive_ordered, 2),
    "positive": (supports.positive, 2),
    "entries": (supports.interval(np.array([-1.0, 0.0]), 2.0), 2),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_have_the_density_of_the_change_of_variables(name):
    bijector, size = VECTORS[name]
    base = dist.MultivariateNormal(MU, SIGMA)
    found = dist.Transformed(base, bijector)
    assert (found.batch_shape, found.event_shape) == ((), (size,))
    u = np.random.default_rng(2).normal(size=(4, 2))
    y = np.asarray(jax.vmap(bijector.forward)(u))
    free = slice(0, 2)  # all but the last entry of a simplex
    jacobian = jax.vmap(jax.jacfwd(lambda v: bijector.forward(v)[free]))(u)
    wanted = st.multivariate_normal(MU, SIGMA).logpdf(u) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(LOG_PROB(found, y), wanted, rtol=1e-12)
    np.testing.assert_allclose(found.log_prob(y[0]), wanted[0], rtol=1e-12)
    wrong = np.array([[-0.5, -3.0, 0.1][:size], [np.nan, 1.0, 1.0][:size]])
    np.testing.assert_array_equal(LOG_PROB(found, wrong), [-np.inf, np.nan])
    np.testing.assert_array_equal(jax.grad(found.log_prob)(wrong[0]), 0.0)
    draws = SAMPLE(found, (5, 3))
    assert draws.shape == (5, 3, size) and np.all(jax.vmap(jax.vmap(found.support.contains))(draws))
    assert jax.eval_shape(found.log_prob, draws).shape == (5, 3)
    with pytest.raises(ValueError, match=r"y of Transformed must have shape \(\*batch, "):
        found.log_prob(np.ones(5))


def test_matrices_and_batches():
    base = dist.Independent(dist.Normal(np.zeros((2, 6)), 0.7))
    found = dist.Transformed(base, supports.positive_definite)
    assert (found.batch_shape, found.event_shape, found.event_ndim) == ((2,), (3, 3), 2)
    draws = SAMPLE(found, (4,))
    assert draws.shape == (4, 2, 3, 3)
    u = supports.positive_definite.inverse(draws)
    wanted = base.log_prob(u) - supports.positive_definite.forward_and_log_det(u)[1]
    np.testing.assert_allclose(LOG_PROB(found, draws), wanted, rtol=1e-12)
    many = dist.Transformed(NORMAL, supports.interval(np.array([0.0, 1.0]), np.array([2.0, 3.0])))
    assert many.batch_shape == (2,)
    draws = SAMPLE(many, (6,))
    assert draws.shape == (6, 2) and len(np.unique(np.asarray(draws) - [0.0, 1.0])) == 12  # independent
    each = [dist.Transformed(NORMAL, supports.interval(a, a + 2.0)) for a in (0.0, 1.0)]
    np.testing.assert_allclose(LOG_PROB(many, draws)[:, 1], LOG_PROB(each[1], draws[:, 1]), rtol=1e-14)
    np.testing.assert_allclose(LOG_PROB(many, 1.5), [one.log_prob(1.5) for one in each], rtol=1e-14)
    np.testing.assert_allclose(many.cdf(draws)[:, 0], each[0].cdf(draws[:, 0]), rtol=1e-14)


def test_the_support_is_the_image():
    cases = (
        (dist.Gamma(2.0, 1.0), supports.positive, supports.GreaterThan, (1.0, None)),
        (dist.Gamma(2.0, 1.0), supports.less_than(2.0), supports.LessThan, (None, 1.0)),
        (dist.Uniform(0.0, 1.0), supports.less_than(2.0), supports.Interval, (2 - np.e, 1.0)),
        (dist.Beta(2.0, 1.0), supports.real, supports.Interval, (0.0, 1.0)),
        (dist.Gamma(2.0, 1.0), supports.interval(0.0, 1.0), supports.Interval, (0.5, 1.0)),
        (NORMAL, Affine(0.0, 1.0), supports.Real, (None, None)),
    )
    for base, bijector, kind, ends in cases:
        found = dist.Transformed(base, bijector)
        assert type(found.support) is kind
        for name, end in zip(("low", "high"), ends, strict=True):
            if end is not None:
                np.testing.assert_allclose(getattr(found.support, name), end, rtol=1e-15)
        assert np.all(found.support.contains(SAMPLE(found, (50,))))
    gap = dist.Transformed(dist.Gamma(2.0, 1.0), supports.positive)  # 0.5 lies in the image, but not of the base
    assert gap.log_prob(0.5) == -np.inf and jax.grad(gap.log_prob)(0.5) == 0.0 and gap.log_cdf(0.5) == -np.inf


def test_transformations_that_make_no_sense_are_refused():
    for error, base, bijector, match in (
        (TypeError, dist.Normal, supports.positive, "base of Transformed must be a distribution"),
        (TypeError, NORMAL, jnp.exp, "lacks forward, inverse, forward_and_log_det"),
        (TypeError, NORMAL, supports.Positive, "it is a class"),
        (ValueError, NORMAL, supports.point(1.0), "Point is not one"),
        (ValueError, NORMAL, supports.boolean, "Boolean is not one"),
        (ValueError, dist.Poisson(2.0), supports.positive, "with a density.*Poisson lives on"),
        (ValueError, dist.Dirichlet(np.ones(3)), supports.positive, "Dirichlet lives on the positive vectors"),
        (ValueError, dist.Normal(np.zeros(3)), supports.ordered, r"Transformed\(Independent\(Normal"),
    ):
        with pytest.raises(error, match=match):
            dist.Transformed(base, bijector).log_prob(np.ones(3))
    with pytest.raises(NotImplementedError, match="Transformed has no closed-form moments of vectors"):
        dist.Transformed(dist.Independent(dist.Normal(np.zeros(3))), supports.positive).mean  # noqa: B018
    with pytest.raises(ValueError, match="base of scalars"):
        dist.Transformed(dist.MultivariateNormal(MU, SIGMA), supports.positive).log_cdf(MU)


@pytest.mark.slow
def test_moments_and_entropy_of_scalars_are_integrals_over_the_base():
    """Against the log-normal, the log-logistic (whose moments are sines), and infinite ones."""

    @jax.jit
    def moments(distribution):
        return distribution.mean, distribution.variance, distribution.entropy()

    normal, twin = dist.Transformed(NORMAL, supports.positive), st.lognorm(1.3, scale=np.exp(0.4))
    np.testing.assert_allclose(moments(normal), [twin.mean(), twin.var(), twin.entropy()], rtol=1e-13)
    slope = jax.grad(lambda loc: dist.Transformed(dist.Normal(loc, 1.3), supports.positive).mean)(0.4)
    np.testing.assert_allclose(slope, twin.mean(), rtol=1e-12)  # a shift of the base is a factor
    scale = np.array([0.1, 0.4, 0.7, 1.2, 0.98])
    mean, variance, _ = moments(dist.Transformed(dist.Logistic(np.zeros(5), scale), supports.positive))
    arc = np.pi * scale[:3]
    np.testing.assert_allclose(mean[:3], arc / np.sin(arc), rtol=1e-12)
    exact = 2 * arc[:2] / np.sin(2 * arc[:2]) - (arc[:2] / np.sin(arc[:2])) ** 2
    np.testing.assert_allclose(variance[:2], exact, rtol=1e-11)
    np.testing.assert_array_equal(variance[2:4], np.inf)
    assert mean[3] == np.inf and np.isnan(mean[4])  # so nearly infinite that the rule does not see its end
    single = dist.Transformed(dist.Normal(np.float32(0.4), np.float32(0.3)), supports.positive)
    mean = single.mean
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.exp(0.4 + 0.045), rtol=1e-6)


@pytest.mark.slow
def test_entropy_of_a_truncated_variable():
    truncated, twin = dist.Truncated(dist.Normal(0.7, 1.3), -2.0, 2.5), st.truncnorm(-2.7 / 1.3, 1.8 / 1.3, 0.7, 1.3)
    np.testing.assert_allclose(truncated.entropy(), twin.entropy(), rtol=1e-11)
    with pytest.raises(NotImplementedError, match="entropy of a discrete base"):
        dist.Truncated(dist.Poisson(2.0), low=1).entropy()


def test_a_bijector_of_another_library():
    distrax = pytest.importorskip("distrax")
    found = dist.Transformed(NORMAL, distrax.Tanh())
    y = np.array([-0.9, 0.1, 0.7])
    wanted = st.norm(0.4, 1.3).logpdf(np.arctanh(y)) - np.log1p(-y * y)
    np.testing.assert_allclose(found.log_prob(y), wanted, rtol=1e-10)
    assert found.log_prob(1.5) == -np.inf
