"""The smooth maximum of 0 is recognised in all its spellings, and nothing else is taken for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lossgeo.structure import discover
from lossgeo.structure.discovery import CALLS, inner_jaxpr
from lossgeo.structure.recognition import softplus_operand

X = np.random.default_rng(0).normal(size=(30, 3)) * 3.0


@jax.custom_jvp
def logaddexp(a, b):
    """The same value, name and shapes, with a slope of 0.3."""
    return jnp.logaddexp(a, b)


logaddexp.defjvp(lambda primals, tangents: (jnp.logaddexp(*primals), 0.3 * tangents[0]))

SOFTPLUS = {
    "softplus": jax.nn.softplus,
    "zero behind": lambda eta: jnp.logaddexp(eta, 0.0),
    "zero before": lambda eta: jnp.logaddexp(0, eta),
    "log_sigmoid": lambda eta: -jax.nn.log_sigmoid(eta),
    "inside jit": jax.jit(lambda eta: jnp.square(jax.nn.softplus(2.0 * eta))),
    "float32": lambda eta: jax.nn.softplus(eta.astype(jnp.float32)),
}
OTHER = {
    "another constant": lambda eta: jnp.logaddexp(eta, 1.0),
    "base 2": lambda eta: jnp.logaddexp2(eta, 0.0),
    "two variables": lambda eta: jnp.logaddexp(eta, 2.0 * eta),
    "another slope": lambda eta: logaddexp(eta, 0.0),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def equations(jaxpr):
    for equation in jaxpr.eqns:
        inner = inner_jaxpr(equation, CALLS)
        if inner is not None:
            yield from equations(inner.jaxpr)
        else:
            yield equation


@pytest.mark.parametrize("name", SOFTPLUS | OTHER)
def test_softplus_is_recognised_by_its_operations_and_not_by_its_name(name):
    jaxpr = jax.make_jaxpr((SOFTPLUS | OTHER)[name])(jnp.ones(5)).jaxpr
    found = [softplus_operand(equation) for equation in equations(jaxpr)]
    assert sum(index is not None for index in found) == (name in SOFTPLUS)


@pytest.mark.parametrize("name", ["zero before", "inside jit", "another slope"])
def test_replacing_it_changes_neither_values_nor_derivatives(name):
    link = (SOFTPLUS | OTHER)[name]
    structure = discover(lambda u, x: -link(x @ u[0]), [jnp.ones(3)], jnp.asarray(X))
    eta = jnp.concatenate([jnp.asarray(X[:, 0]), jnp.array([-800.0, -40.0, 0.0, 40.0, 800.0])])[:30]

    def of_structure(eta):
        return structure.rest([eta[:, None]], [jnp.ones(3)], jnp.asarray(X))

    ones = jnp.ones_like(eta)
    first = [jax.jvp(f, (eta,), (ones,)) for f in (of_structure, lambda eta: -link(eta))]
    for got, wanted in zip(*first, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-300)
    if name != "another slope":
        check_grads(of_structure, (jnp.asarray(X[:, 0]),), order=2)
