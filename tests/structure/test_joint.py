"""Leaves that act through one sum are found, with the design of all their columns; others are never taken for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo.structure import discover, joint_predictor

N = 7
RNG = np.random.default_rng(0)
ARGS = {
    "x": jnp.asarray(RNG.standard_normal((N, 3))),
    "z": jnp.asarray(RNG.standard_normal((N, 2))),
    "t": jnp.asarray(RNG.uniform(1.0, 2.0, N)),
    "group": jnp.asarray(np.arange(N) % 4),
}
U = {"a": jnp.ones(3), "b": jnp.ones(2), "m": jnp.ones((3, 2)), "e": jnp.ones(4), "c": jnp.asarray(0.3)}


@jax.jit
def in_a_call(u, d):
    return d["x"] @ u["a"] + d["z"] @ u["b"]


SUMS = {
    "two": (("a", "b"), lambda u, d: d["x"] @ u["a"] + d["z"] @ u["b"] + u["c"]),
    "a call": (("a", "b"), lambda u, d: in_a_call(u, d) + jnp.exp(u["c"])),
    "with the intercept": (("a", "b", "c"), lambda u, d: u["c"] + d["x"] @ u["a"] - 0.5 * (d["z"] @ u["b"])),
    "varying coefficients": (("a", "b"), lambda u, d: d["x"] @ u["a"] + d["t"] * (d["z"] @ u["b"])),
    "interactions": (("a", "m"), lambda u, d: d["x"] @ u["a"] + jnp.sum((d["x"] @ u["m"]) * d["z"], axis=1)),
    "a matrix alone": (("m",), lambda u, d: jnp.sum((d["x"] @ u["m"]) * d["z"], axis=1) + u["c"]),
    "effects of groups": (("a", "e"), lambda u, d: d["x"] @ u["a"] + u["e"][d["group"]]),
    "one of three": (("a",), lambda u, d: d["x"] @ u["a"] + d["z"] @ u["b"] + u["c"]),
    "before a curve of them": (("a", "b"), lambda u, d: jnp.tanh(d["x"] @ u["a"] + d["z"] @ u["b"]) * u["c"]),
}  # fmt: skip
OTHERS = {
    "a product": (("a", "b"), lambda u, d: (d["x"] @ u["a"]) * (1.0 + d["z"] @ u["b"])),
    "a slope that is estimated": (("a", "b"), lambda u, d: d["x"] @ u["a"] + u["c"] * (d["z"] @ u["b"])),
    "a curve of one": (("a", "b"), lambda u, d: d["x"] @ u["a"] + jnp.exp(d["z"] @ u["b"])),
    "steps of one": (("a", "b"), lambda u, d: d["x"] @ u["a"] + jnp.sign(d["z"] @ u["b"])),
    "the larger": (("a", "b"), lambda u, d: jnp.maximum(d["x"] @ u["a"], d["z"] @ u["b"])),
    "two sums": (("a", "b"), lambda u, d: jnp.cos(d["x"] @ u["a"] + d["z"] @ u["b"]) + jnp.sin(d["x"] @ u["a"])),
    "an intercept that is used again": (("a", "c"), lambda u, d: jnp.sin(d["x"] @ u["a"] + u["c"]) + u["c"]),
    "several outputs": (("m",), lambda u, d: jax.nn.logsumexp(d["x"] @ u["m"], axis=1)),
    "no predictor": (("c",), lambda u, d: d["x"] @ u["a"] + u["c"]),
}


def parts(fn, names):
    """The joint predictor of some leaves of a function of dicts."""
    keys = sorted(U)
    u = [U[k] for k in keys]
    structure = discover(lambda u, d: fn(dict(zip(keys, u, strict=True)), d), u, ARGS)
    assert structure is not None
    return joint_predictor(structure, tuple(sorted(keys.index(name) for name in names)), u, ARGS), u


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_found_with_its_design(name):
    names, fn = SUMS[name]
    joint, u = parts(fn, names)
    coefficients = [RNG.standard_normal(U[k].shape) for k in sorted(names)]
    eta = joint.design(u, ARGS) @ np.concatenate([np.ravel(c) for c in coefficients])
    moved = U | dict(zip(sorted(names), map(jnp.asarray, coefficients), strict=True))
    np.testing.assert_allclose(joint.rest(eta, u, ARGS), fn(moved, ARGS), rtol=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_sum_is_left_alone(name):
    names, fn = OTHERS[name]
    assert parts(fn, names)[0] is None
