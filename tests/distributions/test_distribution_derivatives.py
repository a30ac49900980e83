"""Every family: Bartlett's identities, derivatives against differences, and the edges of the support."""

import jax
import numpy as np
import pytest
from evaluation import STENCIL, STEP, difference_points, directions, summary, tower
from registry import CASES

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.slow
def test_bartlett_identities(case):
    """The expected score is 0 and its covariance is minus the expected Hessian, which is the Fisher information."""
    _, weights = case.grid()
    value, score, hessian, *_ = tower(case, "grid")
    mass = weights * np.exp(value)
    covariance = np.einsum("n,ni,nj->ij", mass, score, score)
    size = np.sqrt(np.diag(covariance))
    unit = np.outer(size, size)
    if case.free:
        # The integrals are of size 1 in these units and carry the rounding of some thousand terms.
        np.testing.assert_allclose((mass @ score) / size, 0.0, atol=1e-11)
        if not case.kinked:  # a kink has curvature that no second derivative sees
            expected = -np.einsum("n,nij->ij", mass, hessian)
            np.testing.assert_allclose(expected / unit, covariance / unit, atol=1e-11)
    if "fisher_information" not in case.lacks:
        fisher = summary(case)["fisher_information"]
        np.testing.assert_allclose(fisher / unit, covariance / unit, atol=1e-11)
        np.testing.assert_allclose(fisher, fisher.T, rtol=1e-14)


def test_derivatives_in_the_hyper_parameters_agree_with_differences(case):
    """Along random lines: the first derivative from differences of the value, the second and third likewise."""
    for k, direction in enumerate(directions(case)):
        at = {}
        for step in (0, *STENCIL):
            value, gradient, hessian, third, _ = tower(case, ("line", k, step))
            second = hessian @ direction @ direction
            at[step] = np.stack([value, gradient @ direction, second, third @ direction @ direction])
        numeric = (at[-2] - 8 * at[-1] + 8 * at[1] - at[2]) / (12 * STEP)
        # Fourth-order differences: truncation h^4 / 30 = 3e-14 times a fifth derivative, rounding eps / h = 2e-13,
        # both relative to the size of the function; the derivatives of one function are of sizes up to 1e3 apart.
        scale = 1 + max(np.max(np.abs(v)) for v in at.values())
        np.testing.assert_allclose(at[0][1:] / scale, numeric[:3] / scale, rtol=0, atol=1e-10)


def test_outside_the_support_the_density_is_zero_and_so_is_the_gradient(case):
    value, *derivatives, slope = tower(case, "outside")
    outside = len(case.outside)
    assert np.all(value[:outside] == -np.inf) and np.isnan(value[outside])
    for derivative in (*derivatives, slope):
        np.testing.assert_array_equal(derivative[:outside], 0.0)
    assert value[-1] == -np.inf and not np.isnan(slope[-1])


def test_vmap_over_hyper_parameters_and_points_is_broadcasting(case):
    """The density of a batch of distributions on an array of points is that of single ones at single points."""
    single = tower(case, ("line", 0, 0))[0]
    positions = [case.points.index(p) for p in difference_points(case)]
    np.testing.assert_allclose(summary(case)["log_prob"][positions], single, rtol=1e-13, atol=1e-13)
    value = tower(case, "outside")[0]
    broadcast = summary(case)["log_prob"][len(case.points) :][: len(value)]
    np.testing.assert_array_equal(broadcast, value)


def test_shapes(case):
    """A draw is (*shape, *batch); log_prob has the shape of a draw, without rank promotion."""
    params = {k: np.broadcast_to(np.asarray(v, float), (2, *np.shape(v))) for k, v in case.params.items()}
    counts = {k: np.full(2, float(v)) for k, v in case.counts.items()}
    batch, single = case.family(**params, **counts), case.make()
    for distribution, batch_shape in ((single, ()), (batch, (2,))):
        draws = jax.eval_shape(lambda d: d.sample(jax.random.key(1), (5,)), distribution)
        assert draws.shape == (5, *batch_shape)
        assert jax.eval_shape(lambda d: d.sample(jax.random.key(1)), distribution).shape == batch_shape
        assert jax.eval_shape(lambda d, y: d.log_prob(y), distribution, draws).shape == draws.shape
        moments = jax.eval_shape(lambda d: (d.mean, d.variance), distribution)
        assert [moment.shape for moment in moments] == [batch_shape] * 2
        if "entropy" not in case.lacks:
            assert jax.eval_shape(lambda d: d.entropy(), distribution).shape == batch_shape
        leaves, tree = jax.tree.flatten(distribution)
        assert len(leaves) == len(case.params) + len(counts)
        rebuilt = jax.tree.unflatten(tree, [None] * len(leaves))
        assert type(rebuilt) is type(distribution)
    assert batch.batch_shape == (2,) and batch.event_shape == ()
