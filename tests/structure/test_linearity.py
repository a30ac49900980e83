"""Which functions are generalised linear in their argument, read from their jaxprs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo.structure import is_generalized_linear, is_line, is_shift

X = np.random.default_rng(0).normal(size=(5, 3))
T = np.arange(5.0)
GROUP = np.array([0, 1, 2, 0, 1])
PARAMS = {"c": np.ones(3), "i": np.ones(()), "s": np.ones(())}

LINEAR = {
    "linear": lambda p: X @ p["c"] + p["i"],
    "inverse link": lambda p: 1.0 / jnp.exp(X @ p["c"] + p["i"]),
    "softplus": lambda p: jax.nn.softplus(X @ p["c"]),
    "sigmoid": lambda p: 3.0 * jax.nn.sigmoid(X @ p["c"]),
    "einsum": lambda p: jnp.einsum("ij,j->i", X, p["c"]),
    "groups": lambda p: p["c"][GROUP] + p["i"],
    "branches of the data": lambda p: jnp.where(T > 1.0, X @ p["c"], p["i"]),
    "clipped": lambda p: jnp.clip(X @ p["c"], 0.0, 1.0),
    "polynomial": lambda p: p["c"][0] + T * (p["c"][1] + T * p["c"][2]),
    "decay": lambda p: jnp.exp(-p["s"] * T),
    "spread after the link": lambda p: jnp.broadcast_to(jnp.exp(p["s"]), (5,)),
    "constant": lambda p: jnp.asarray(T),
}
NONLINEAR = {
    "product": lambda p: p["s"] * jnp.exp(-p["i"] * T),
    "sum of exponentials": lambda p: jnp.exp(-p["s"] * T) + jnp.exp(-p["i"] * T),
    "rational": lambda p: p["s"] / (T + p["i"]),
    "offset of a decay": lambda p: jnp.exp(-p["s"] * T) + p["i"],
    "scaled effects": lambda p: p["i"] + p["s"] * p["c"][GROUP],
    "square of one leaf with itself": lambda p: p["c"] @ p["c"] + jnp.asarray(T),
    "hidden layer": lambda p: jnp.tanh(X * p["c"][0]) @ p["c"],
    "branch of a parameter": lambda p: jnp.where(p["s"] > 0, X @ p["c"], p["i"]),
    "index of a parameter": lambda p: jnp.asarray(T)[p["s"].astype(int)],
    "loop": lambda p: jax.lax.fori_loop(0, 3, lambda _, v: v * p["s"], jnp.asarray(T)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_generalized_linear_functions_are_known(name):
    assert all(is_generalized_linear(LINEAR[name], PARAMS))


@pytest.mark.parametrize("name", NONLINEAR)
def test_others_are_never_taken_for_one(name):
    assert not any(is_generalized_linear(NONLINEAR[name], PARAMS))


def test_what_only_shifts_its_argument():
    e = jnp.ones((5, 1))
    shifts = (lambda e: e, lambda e: T + e[:, 0] - 2.0, lambda e: jax.jit(lambda e: e + 1.0)(e).reshape(5))
    others = (lambda e: 2.0 * e, lambda e: 1.0 - e, lambda e: e + e, lambda e: e[::-1] + T[:, None], lambda e: e[:1])
    assert all(is_shift(fn, e) for fn in shifts)
    assert not any(is_shift(fn, e) for fn in (*others, jnp.sum, jnp.exp, lambda e: jnp.broadcast_to(e, (5, 5))))


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda p: [2 * (X @ p["c"]) - 1, T * (X @ p["c"]), jnp.asarray(T)], True),
        (lambda p: [X @ p["c"] + p["i"], 3 - (X @ p["c"] + p["i"])], True),
        (lambda p: [X @ p["c"] + p["i"], X @ p["c"]], False),
        (lambda p: [X @ p["c"], X[:, ::-1] @ p["c"]], False),
        (lambda p: [X @ p["c"], (X @ p["c"])[::-1]], False),
        (lambda p: [X @ p["c"], jnp.exp(X @ p["c"])], False),
    ],
)
def test_multiples_of_one_line_are_told_from_others(fn, expected):
    assert is_line(fn, PARAMS) is expected
