"""The 27 nonlinear regressions of NIST, from both starts, with a free and with a fixed scale.

Certified values have 11 digits; ``verified_50_digit`` holds the same to more, with what a likelihood adds.
"""

import functools
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

import lossgeo as lg
from lossgeo import distributions as dist
from lossgeo import supports

pytestmark = pytest.mark.usefixtures("fast_compilation")

PROBLEMS = json.loads((pathlib.Path(__file__).parent / "nist_nonlinear.json").read_text())["problems"]
FUNCTIONS = {
    "exp": jnp.exp, "cos": jnp.cos, "sin": jnp.sin, "atan": jnp.arctan, "log": jnp.log, "pi": jnp.pi,
    "Rational": lambda a, b: a / b,
}  # fmt: skip

# A bent valley, a near-perfect fit whose scale is 1e-5 of the one assumed, a plateau beside the way, and the start that
# defeats most solvers. The others take as long and prove the same.
QUICK = {("Nelson", "free"), ("Lanczos3", "fixed"), ("BoxBOD", "fixed"), ("MGH10", "free")}
CASES = [
    pytest.param(name, scale, id=f"{name}-{scale}", marks=[] if (name, scale) in QUICK else [pytest.mark.slow])
    for name in PROBLEMS
    for scale in ("free", "fixed")
]


def digits(estimates, truths):
    """The least number of right digits."""
    estimates, truths = np.ravel(estimates), np.array([float(t) for t in truths])
    return float(np.min(-np.log10(np.maximum(np.abs(estimates - truths) / np.abs(truths), 1e-15))))


@functools.cache
def regression(name):
    """Mean function, inputs and target of a problem."""
    problem = PROBLEMS[name]
    left, right = problem["model"].split("=")
    code = compile(right.strip(), name, "eval")
    columns = problem["columns"][1:]

    def mean(b, *inputs):
        values = {f"b{k + 1}": b[k] for k in range(problem["p"])}
        return eval(code, FUNCTIONS | values | dict(zip(columns, inputs, strict=True)))

    data = np.array(problem["data"], float)
    y = np.log(data[:, 0]) if "log" in left else data[:, 0]
    return mean, tuple(data[:, 1:].T), y


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_every_nonlinear_regression_converges_from_both_starts(name, scale):
    problem, truth = PROBLEMS[name], PROBLEMS[name]["verified_50_digit"]
    mean, inputs, y = regression(name)

    def model(params, *x):
        return dist.Normal(mean(params["b"], *x), params["scale"])

    prior = {"b": dist.Flat(), "scale": dist.Flat(supports.positive) if scale == "free" else dist.Fixed(1.0)}
    objective = lg.map_objective(lg.likelihood(model), prior)
    for start in ("start1", "start2"):
        init = {"b": np.array(problem[start]), "scale": np.std(y) if scale == "free" else 1.0}
        fit = lg.fit(objective, init, *inputs, y)
        assert fit.plan.solver.name == "Levenberg-Marquardt"
        assert fit.status == lg.Status.CONVERGED
        assert digits(fit.params["b"], truth["params"]) >= 8.0
        if scale == "free":
            # The residuals of Lanczos1 are 1e-13 of its data, which float64 holds to 1e-16.
            assert digits(fit.params["scale"], [truth["sigma_mle"]]) >= (3.0 if name == "Lanczos1" else 8.0)
            errors = digits(fit.standard_errors()["b"], truth["se_observed_hessian_with_mle_sigma"])
            assert errors >= (3.0 if name == "Lanczos1" else 6.0)
