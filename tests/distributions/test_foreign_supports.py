"""Supports of another library's distributions become ours, with the same members and the same coordinates' reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import distributions as dist
from lossgeo import supports
from lossgeo.distributions.foreign import event_ndim_of, support_of

numpyro = pytest.importorskip("numpyro.distributions")

THEIRS = {
    "real": (lambda: numpyro.Normal(), supports.Real),
    "positive": (lambda: numpyro.Gamma(2.0, 1.0), supports.Positive),
    "interval": (lambda: numpyro.Uniform(-1.0, 2.0), supports.Interval),
    "unit_interval": (lambda: numpyro.Beta(2.0, 3.0), supports.Interval),
    "greater_than": (lambda: numpyro.Pareto(2.0, 3.0), supports.GreaterThan),
    "less_than": (lambda: numpyro.RightTruncatedDistribution(numpyro.Normal(), 1.0), supports.LessThan),
    "real vector": (lambda: numpyro.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), supports.Real),
    "simplex": (lambda: numpyro.Dirichlet(jnp.ones(3)), supports.Simplex),
    "correlation": (lambda: numpyro.LKJCholesky(3, 2.0), supports.CorrelationCholesky),
    "positive definite": (lambda: numpyro.Wishart(5.0, jnp.eye(2)), supports.PositiveDefinite),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_a_foreign_support_is_one_of_ours_and_holds_its_draws(name):
    make, kind = THEIRS[name]
    theirs = make()
    support = support_of(theirs)
    assert type(support) is kind
    with jax.numpy_rank_promotion("allow"):  # inside numpyro
        draws = theirs.sample(jax.random.key(0), (3,))
    inside = np.asarray(support.contains(draws))
    assert np.all(inside)
    np.testing.assert_allclose(support.forward(support.inverse(draws)), draws, rtol=1e-6, atol=1e-9)
    assert event_ndim_of(theirs) == len(theirs.event_shape)


def test_lkj_agrees_with_numpyro():
    y = supports.correlation_cholesky.forward(np.random.default_rng(0).normal(size=(5, 6)))
    found = dist.LKJCholesky(4, 2.5).log_prob(y)
    with jax.numpy_rank_promotion("allow"):  # inside numpyro
        theirs = numpyro.LKJCholesky(4, 2.5).log_prob(y)
    np.testing.assert_allclose(found, theirs, rtol=1e-10)


def test_foreign_bases_can_be_mixed_and_inflated():
    mixture = dist.Mixture(np.array([0.4, 0.6]), (numpyro.Normal(0.0, 1.0), dist.Normal(2.0, 1.0)))
    ours = dist.Mixture(np.array([0.4, 0.6]), dist.Normal(np.array([0.0, 2.0])))
    np.testing.assert_allclose(mixture.log_prob(1.3), ours.log_prob(1.3), rtol=1e-12)
    np.testing.assert_allclose([mixture.mean, mixture.variance], [ours.mean, ours.variance], rtol=1e-12)
    inflated = dist.ZeroInflated(numpyro.Poisson(2.0), 0.3)
    y = np.arange(4.0)
    np.testing.assert_allclose(inflated.log_prob(y), dist.ZeroInflated(dist.Poisson(2.0), 0.3).log_prob(y), rtol=1e-12)
    with pytest.raises(NotImplementedError, match="needs the log_cdf and log_survival of its base"):
        dist.Censored(numpyro.Normal()).log_prob((1.0, 0))
