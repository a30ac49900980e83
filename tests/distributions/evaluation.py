"""Everything the laws need of a family, from a handful of compiled programs for all of its cases together.

Compilation is nearly all the time of these tests. A family's cases that have the same hyper-parameters share one
program for values and derivatives (:func:`tower`), one for the rest of the contract (:func:`summary`), one for draws.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from registry import CASES

QUICKLY = {"xla_cpu_use_fusion_emitters": False}  # a third of the time of compilation
STEP = 1e-3
STENCIL = (-2, -1, 1, 2)


@functools.cache
def group(case):
    """The cases of one family with the same hyper-parameters, ``case`` among them."""
    key = lambda c: (c.family, tuple(sorted(c.params)), tuple(np.shape(v) for v in c.params.values()), c.counts != {})  # noqa: E731
    return tuple(other for other in CASES if key(other) == key(case))


def vector(case):
    """The hyper-parameters as a vector in the order of declaration, and the way back."""
    declared = dataclasses.fields(case.family) if dataclasses.is_dataclass(case.family) else ()
    names = [f.name for f in declared if f.name in case.params] or list(case.params)
    flat, unravel = ravel_pytree([np.asarray(case.params[name], float) for name in names])
    return np.asarray(flat), lambda theta: dict(zip(names, unravel(theta), strict=True))


def directions(case):
    """Random directions, of the size of the hyper-parameters."""
    theta, _ = vector(case)
    signs = np.random.default_rng(0).uniform(-1, 1, (4, theta.size))
    return signs * np.where(theta == 0, 1, np.abs(theta))


def difference_points(case):
    """Points where derivatives are compared with differences: not in the far tails and not on a kink."""
    kinks = [case.params["loc"]] if case.kinked else []
    inside = [p for p in case.points if (1e-4 < abs(p) < 50 or case.discrete) and p not in kinks]
    return np.array(inside, float)[:6]


@functools.cache
def _tower(cases):
    """Value, derivatives in the hyper-parameters to third order and in ``y``, at all points of all cases."""
    _, unravel = vector(cases[0])
    thetas, lines, ys, counts, slices = [], [], [], [], {}

    def add(name, case, theta, direction, y):
        start = sum(map(len, ys))
        y = np.asarray(y, float)
        slices[case.name, name] = slice(start, start + y.size)
        thetas.append(np.broadcast_to(theta, (y.size, np.size(theta))))
        lines.append(np.broadcast_to(direction, (y.size, np.size(theta))))
        ys.append(y)
        counts.append({k: np.full(y.size, float(v)) for k, v in case.counts.items()})

    for case in cases:
        theta, _ = vector(case)
        add("grid", case, theta, theta, case.grid()[0])
        add("outside", case, theta, theta, [*case.outside, np.nan, np.inf])
        for k, direction in enumerate(directions(case)):
            for step in (0, *STENCIL):
                add(("line", k, step), case, theta + STEP * step * direction, direction, difference_points(case))

    def log_prob(theta, y, count):
        return cases[0].family(**unravel(theta), **count).log_prob(y)

    def at(theta, direction, y, count):
        def second(t):
            hessian, (gradient, value) = jax.jacfwd(
                lambda s: (lambda v, g: (g, (g, v)))(*jax.value_and_grad(log_prob)(s, y, count)), has_aux=True
            )(t)
            return value, gradient, hessian

        (value, gradient, hessian), (_, _, third) = jax.jvp(second, (theta,), (direction,))
        return value, gradient, hessian, third, jax.grad(log_prob, 1)(theta, y, count)

    stacked = {k: np.concatenate([c[k] for c in counts]) for k in counts[0]}
    out = jax.jit(jax.vmap(at), compiler_options=QUICKLY)(
        np.concatenate(thetas), np.concatenate(lines), np.concatenate(ys), stacked
    )
    return slices, [np.asarray(v) for v in out]


def tower(case, name):
    """Value, gradient, Hessian, third derivative along the line and slope in ``y`` at the points called ``name``."""
    slices, out = _tower(group(case))
    return [v[slices[case.name, name]] for v in out]


OPTIONAL = {
    "entropy": lambda d, y, q: d.entropy(),
    "fisher_information": lambda d, y, q: d.fisher_information(),
    "cdf": lambda d, y, q: d.cdf(y),
    "log_cdf": lambda d, y, q: jax.jvp(d.log_cdf, (y,), (jnp.ones_like(y),)),
    "log_survival": lambda d, y, q: jax.jvp(d.log_survival, (y,), (jnp.ones_like(y),)),
    "icdf": lambda d, y, q: d.icdf(q),
}
LEVELS = np.array([0.0, 1e-12, 1e-4, 0.1, 0.5, 0.7, 0.999, 1.0])


def batch(cases, dtype):
    """One distribution whose batch axis runs over the cases."""
    params = {k: np.stack([np.asarray(c.params[k]) for c in cases]).astype(dtype) for k in cases[0].params}
    counts = {k: np.array([c.counts[k] for c in cases], dtype) for k in cases[0].counts}
    return cases[0].family(**params, **counts)


def probes(case, dtype):
    """Points inside the support, then its ends and points outside; in float32 only moderate ones."""
    inside = np.array(case.points, dtype)
    return np.concatenate([inside, np.array([*case.outside, np.nan, np.inf, -np.inf], dtype)])


@functools.cache
def _program(cases):
    """The compiled contract of a family, for all its cases and for both precisions."""

    def everything(d, y, q):
        out = {"log_prob": d.log_prob(y), "mean": jnp.asarray(d.mean), "variance": d.variance}
        return out | {name: fn(d, y, q) for name, fn in OPTIONAL.items() if name not in cases[0].lacks}

    return jax.jit(everything, compiler_options=QUICKLY)


@functools.cache
def _summary(cases, dtype, rounded):
    width = max(len(probes(case, dtype)) for case in cases)
    y = np.stack([np.resize(probes(case, dtype), width) for case in cases], axis=-1)
    inputs = batch(cases, dtype), y, np.repeat(LEVELS[:, None].astype(dtype), len(cases), axis=1)
    if rounded:
        inputs = jax.tree.map(lambda v: np.asarray(v, np.float32).astype(dtype), inputs)
    return jax.tree.map(np.asarray, _program(cases)(*inputs))


def summary(case, dtype=np.float64, rounded=False):
    """Density, moments and distribution functions of one case; the latter at :func:`probes`, quantiles at LEVELS.

    ``rounded`` gives the values in ``dtype`` for arguments that were rounded to float32 before.
    """
    cases = group(case)
    index, size = cases.index(case), len(probes(case, dtype))
    out = _summary(cases, dtype, rounded)
    pick = {}
    for name, value in out.items():
        if name in ("mean", "variance", "entropy", "fisher_information"):
            pick[name] = value[index]
        else:
            pick[name] = jax.tree.map(lambda v: v[:size, index], value)
    return pick


@functools.cache
def _draws(cases, n):
    sample = jax.jit(lambda d: d.sample(jax.random.key(7), (n,)), compiler_options=QUICKLY)
    return np.asarray(sample(batch(cases, np.float64)))


def draws(case, n):
    """Draws of one case."""
    cases = group(case)
    return _draws(cases, n)[:, cases.index(case)]
