"""One line per problem: a function, a start, and the minimum that somebody else knows.

Every solver runs every problem of its kind and inherits every property test of ``tests/solvers``. The functions are
branches of one function with one shape of arguments, so that a solver is compiled once for all of them. Minima come
from algebra; that of the logistic problem from scipy and plain Newton steps; exact lasso solutions from an enumeration
of the active set.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from lossgeo.solvers import Problem

RNG = np.random.default_rng(20)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A problem with its answer. ``argmin`` is ``None`` where there is no minimum: no solver may then converge."""

    name: str
    fun: Callable[[Any, Any], jax.Array]
    init: Any
    argmin: Any
    args: Any
    kinks: Callable[[Any, Any], tuple[Any, Any]] | None = None
    easy: bool = True  # every solver that takes the problem has to solve it; else it may say that it did not

    def problem(self, dtype=jnp.float64):
        def cast(v):
            return jnp.asarray(v, dtype if np.asarray(v).dtype.kind == "f" else None)

        return Problem(self.fun, self.kinks, jax.tree.map(cast, self.args), cast(self.init))

    @property
    def minimum(self):
        return float(self.fun(jnp.asarray(self.argmin), self.problem().args))


# ------------------------------------------------------------------ smooth functions of four coordinates
def rosenbrock(u, args):
    return jnp.sum(100.0 * (u[1::2] - u[::2] ** 2) ** 2 + (1.0 - u[::2]) ** 2)


def beale(u, args):
    x, y = u[::2], u[1::2]
    return jnp.sum((1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2)


def quadratic(u, args):
    v = (u - args["center"]) * args["scale"]
    return 0.5 * v @ (args["matrix"] @ v) + 3.0


def logistic(u, args):
    return jnp.sum(jnp.logaddexp(0.0, -args["signs"] * (args["x"] @ u))) + 0.5 * args["penalty"] * u @ u


def double_well(u, args):
    return jnp.sum(u**4 - 2.0 * u**2)


def walled(u, args):
    # Not a number left of 0: a step too far must be a shorter step, not the end.
    return jnp.sum(u - jnp.log(u))


def quartic(u, args):
    return jnp.sum((u - 3.0) ** 4)


def at_infinity(u, args):
    return jnp.sum(jnp.exp(-u))


def falling(u, args):
    return jnp.sum(u) + 0.5 * u[0] ** 2


SMOOTH = [rosenbrock, beale, quadratic, logistic, double_well, walled, quartic, at_infinity, falling]


def smooth(u, args):
    return jax.lax.switch(args["index"], SMOOTH, u, args)


def diagonal_quadratic(u, args):
    return 0.5 * jnp.sum(((u - args["center"]) * args["scale"]) ** 2)


def wide(u, args):
    return jax.lax.switch(args["index"], [diagonal_quadratic, double_well], u, args)


# ------------------------------------------------------------------ kinked functions
def least_squares(u, args):
    v = u - args["center"]
    fidelity = 0.5 * jnp.sum((args["y"] - args["x"] @ u) ** 2) + 0.5 * args["ridge"] * u @ u
    return fidelity + args["strength"] * jnp.sum(v * jnp.sign(v))


def least_squares_kinks(u, args):
    return args["center"] * jnp.ones_like(u), args["strength"] * jnp.ones_like(u)


def lasso_by_enumeration(args):
    """The exact minimum of a small lasso: every sign pattern is tried, the optimality conditions choose one."""
    x, center, strength = args["x"], args["center"], args["strength"]
    d = x.shape[1]
    gram, xty = x.T @ x + args["ridge"] * np.eye(d), x.T @ args["y"]
    for signs in itertools.product((-1.0, 0.0, 1.0), repeat=d):
        s = np.array(signs)
        active = s != 0
        u = np.where(active, 0.0, center)
        rhs = xty - strength * s - gram @ u
        u[active] = np.linalg.solve(gram[np.ix_(active, active)], rhs[active])
        slack = gram @ u - xty
        if np.all(s[active] * (u - center)[active] > 0) and np.all(np.abs(slack[~active]) <= strength + 1e-9):
            return u
    raise AssertionError("no sign pattern satisfies the optimality conditions")


# ------------------------------------------------------------------ data and answers
def _spd(p):
    q, _ = np.linalg.qr(RNG.normal(size=(p, p)))
    return (q * np.linspace(1.0, 30.0, p)) @ q.T


SCALE = np.logspace(-6, 6, 4)
X = RNG.normal(size=(80, 4))
DATA = {
    "x": X,
    "signs": np.where(RNG.uniform(size=80) < 1 / (1 + np.exp(-X[:, 0] + 0.5 * X[:, 1])), 1.0, -1.0),
    "penalty": 0.1,
    "matrix": _spd(4),
    "scale": SCALE,
    "center": RNG.normal(size=4) / SCALE,
}


def _logistic_argmin():
    fun = jax.jit(lambda u: logistic(u, DATA))
    grad, hessian = jax.grad(fun), jax.hessian(fun)
    u = scipy.optimize.minimize(fun, np.zeros(4), jac=grad, method="BFGS").x
    for _ in range(3):
        u = u - np.linalg.solve(hessian(u), grad(u))
    return u


def _case(name, fun, init, argmin, **kwargs):
    return Case(name, smooth, np.asarray(init, float), argmin, {**DATA, "index": SMOOTH.index(fun)}, **kwargs)


CASES = [
    _case("rosenbrock", rosenbrock, [-1.2, 1.0, 2.0, -3.0], np.ones(4)),
    _case("beale", beale, [1.0, 1.0, 2.0, 0.0], np.array([3.0, 0.5, 3.0, 0.5]), easy=False),
    _case("ill-scaled quadratic", quadratic, np.zeros(4), DATA["center"]),
    _case("logistic", logistic, np.zeros(4), _logistic_argmin()),
    _case("indefinite start", double_well, [0.1, -0.2, 0.3, 0.9], np.array([1.0, -1.0, 1.0, 1.0])),
    _case("saddle start", double_well, np.zeros(4), None),
    _case("half a saddle", double_well, [0.0, 0.5, 0.5, 0.5], None),
    _case("walled", walled, [1e-3, 50.0, 1.0, 3.0], np.ones(4)),
    _case("flat quartic", quartic, [0.0, 10.0, 2.0, 3.5], np.full(4, 3.0), easy=False),
    _case("at infinity", at_infinity, np.zeros(4), None),
    _case("falling", falling, np.zeros(4), None),
]
BY_NAME = {case.name: case for case in CASES}

X_SMALL = RNG.normal(size=(20, 5))
Y_SMALL = X_SMALL @ np.array([2.0, -1.0, 0.0, 0.0, 0.3]) + 0.5 * RNG.normal(size=20)


def _kinked(name, init, *, ridge=0.0, strength=4.0, center=0.0):
    args = {"x": X_SMALL, "y": Y_SMALL, "ridge": ridge, "strength": strength, "center": center * np.ones(5)}
    return Case(name, least_squares, np.asarray(init), lasso_by_enumeration(args), args, least_squares_kinks)


KINKED = [
    _kinked("lasso", np.zeros(5)),
    _kinked("lasso from afar", np.full(5, 9.0)),
    _kinked("elastic net", np.zeros(5), ridge=3.0),
    _kinked("shifted kink", np.zeros(5), strength=6.0, center=0.25),
    _kinked("all on the kink", np.full(5, 2.0), strength=1e6),
]

P = 1_100
"""More coordinates than any Hessian is formed for."""

WIDE_SCALE = 10.0 ** RNG.uniform(-3, 3, size=P)
WIDE_DATA = {"scale": WIDE_SCALE, "center": RNG.normal(size=P) / WIDE_SCALE}
WIDE = [
    Case("wide quadratic", wide, np.zeros(P), WIDE_DATA["center"], {**WIDE_DATA, "index": 0}),
    Case("wide double well", wide, np.linspace(0.65, 2.0, P), np.ones(P), {**WIDE_DATA, "index": 1}),
    Case("wide maximum", wide, np.zeros(P), None, {**WIDE_DATA, "index": 1}),
]

X_WIDE = RNG.normal(size=(80, P))
WIDE_KINKED = Case(
    "wide elastic net",
    least_squares,
    np.zeros(P),
    None,
    {
        "x": X_WIDE,
        "y": X_WIDE[:, :3] @ np.array([2.0, -1.0, 1.5]) + 0.1 * RNG.normal(size=80),
        "ridge": 1.0,
        "strength": 15.0,
        "center": np.zeros(P),
    },
    least_squares_kinks,
)
