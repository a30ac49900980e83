"""Every family: Bartlett's identities, derivatives against differences, and the edges of the support."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_cases import CASES
from jax.flatten_util import ravel_pytree

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def unnormalized(case):
    """Categorical probabilities are constrained to sum to 1: derivatives in them leave the family."""
    return case.name == "categorical probs"


def log_prob_of_vector(case):
    flat, unravel = ravel_pytree({name: jnp.asarray(value, float) for name, value in case.params.items()})
    return flat, lambda theta, y: case.family(**unravel(theta)).log_prob(y)


def test_bartlett_identities(case):
    """The expected score is 0 and its covariance is minus the expected Hessian."""
    if unnormalized(case):
        pytest.skip("probabilities that sum to 1 are not free parameters")
    theta, log_prob = log_prob_of_vector(case)
    y, weights = case.grid()

    @jax.jit
    def at_nodes(y):
        fns = (log_prob, jax.grad(log_prob), jax.hessian(log_prob))
        return [jax.vmap(fn, (None, 0))(theta, y) for fn in fns]

    value, score, hessian = at_nodes(y)
    mass = jnp.asarray(weights) * jnp.exp(value)
    covariance = jnp.einsum("n,ni,nj->ij", mass, score, score)
    size = jnp.sqrt(jnp.diag(covariance))
    # The integrals are of size 1 in these units and carry the rounding of some thousand terms.
    np.testing.assert_allclose((mass @ score) / size, 0.0, atol=1e-11)
    if not case.kinked:  # a kink has curvature that no second derivative sees
        expected = -jnp.einsum("n,nij->ij", mass, hessian)
        np.testing.assert_allclose(expected / jnp.outer(size, size), covariance / jnp.outer(size, size), atol=1e-11)


def test_derivatives_in_the_hyper_parameters_agree_with_differences(case):
    """Along random lines: the first derivative from differences of the value, the second and third likewise."""
    theta, log_prob = log_prob_of_vector(case)
    kinks = [case.params["loc"]] if case.kinked else []
    y = np.array([p for p in case.points if (1e-4 < abs(p) < 50 or case.discrete) and p not in kinks], float)[:6]
    signs = np.random.default_rng(0).uniform(-1, 1, (4, theta.size))
    directions = signs * jnp.where(theta == 0, 1, jnp.abs(theta))[None]

    def tower(step, direction, v):
        fn = lambda s: log_prob(theta + s * direction, v)  # noqa: E731
        values = []
        for _ in range(4):
            values.append(fn(step))
            fn = lambda s, fn=fn: jax.jvp(fn, (s,), (1.0,))[1]  # noqa: E731
        return jnp.stack(values)

    h = 1e-3
    over_points = jax.vmap(jax.vmap(jax.vmap(tower, (None, None, 0)), (None, 0, None)), (0, None, None))
    values = jax.jit(over_points)(h * jnp.arange(-2.0, 3.0), directions, y)
    numeric = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * h)
    for order in (1, 2, 3):
        derivative = values[2, ..., order]
        # Fourth-order differences: truncation h^4 / 30 = 3e-14 times a fifth derivative, rounding eps / h = 2e-13,
        # both relative to the size of the function; the derivatives of one function are of sizes up to 1e3 apart.
        scale = 1 + jnp.max(jnp.abs(values))
        np.testing.assert_allclose(derivative / scale, numeric[..., order - 1] / scale, rtol=0, atol=1e-10)


def test_outside_the_support_the_density_is_zero_and_so_is_the_gradient(case):
    theta, log_prob = log_prob_of_vector(case)
    fns = (log_prob, jax.grad(log_prob), jax.grad(log_prob, 1), jax.hessian(log_prob))
    at = jax.jit(lambda y: [jax.vmap(fn, (None, 0))(theta, y) for fn in fns])
    value, *derivatives = at(jnp.array([*case.outside, jnp.nan, jnp.inf]))
    outside = len(case.outside)
    assert jnp.all(value[:outside] == -jnp.inf) and jnp.isnan(value[outside])
    for derivative in derivatives:
        np.testing.assert_array_equal(derivative[:outside], 0.0)
    assert value[-1] == -jnp.inf and not jnp.isnan(derivatives[1][-1])


def test_vmap_over_hyper_parameters_is_a_loop(case):
    scales = jnp.array([0.9, 1.0, 1.05])
    params = {name: jnp.stack([scale * v for scale in scales]) for name, v in case.params.items()}
    batch = case.family(**params)
    y = jnp.array([1.0, 0.0, 1.0]) if case.discrete else jnp.array([0.3, 1.0, 2.0])
    log_prob = lambda d, v: d.log_prob(v)  # noqa: E731
    single = jax.jit(log_prob)
    loop = jnp.stack([single(case.family(**{k: v[i] for k, v in params.items()}), y[i]) for i in range(3)])
    # Compilers contract multiplications and additions differently for scalars and vectors.
    tolerance = {"rtol": 1e-14}
    np.testing.assert_allclose(jax.jit(jax.vmap(log_prob))(batch, y), loop, **tolerance)
    np.testing.assert_allclose(jax.jit(log_prob)(batch, y), loop, **tolerance)
    np.testing.assert_allclose(jax.jit(jax.vmap(log_prob, (0, None)))(batch, 1.0), single(batch, 1.0), **tolerance)
    assert batch.batch_shape == (3,) and batch.event_shape == ()


def test_shapes(case):
    """A draw is (*shape, *batch); log_prob has the shape of a draw, without rank promotion."""
    params = {name: jnp.broadcast_to(jnp.asarray(v, float), (2, *np.shape(v))) for name, v in case.params.items()}
    batch, single = case.family(**params), case.make()
    for distribution, batch_shape in ((single, ()), (batch, (2,))):
        draws = jax.eval_shape(lambda d: d.sample(jax.random.key(1), (5,)), distribution)
        assert draws.shape == (5, *batch_shape)
        assert jax.eval_shape(lambda d: d.sample(jax.random.key(1)), distribution).shape == batch_shape
        assert jax.eval_shape(lambda d, y: d.log_prob(y), distribution, draws).shape == draws.shape
        moments = jax.eval_shape(lambda d: (d.mean, d.variance), distribution)
        assert [moment.shape for moment in moments] == [batch_shape] * 2
        assert not case.has_entropy or jax.eval_shape(lambda d: d.entropy(), distribution).shape == batch_shape
        leaves, tree = jax.tree.flatten(distribution)
        assert len(leaves) == len(case.params)
        rebuilt = jax.tree.unflatten(tree, [None] * len(leaves))
        assert type(rebuilt) is type(distribution)
