"""Every posterior of the reference is declared with the public API, and has its log-density and its mode."""

import functools
import gzip
import json
import math
import pathlib

import jax.numpy as jnp
import numpy as np
import posterior_declarations
import pytest

import lossgeo as lg

pytestmark = pytest.mark.usefixtures("fast_compilation")

HERE = pathlib.Path(__file__).parent
POSTERIORS = json.loads((HERE / "posteriordb.json").read_text())
INTERIOR = [name for name, case in POSTERIORS.items() if case["map_status"] == "interior"]


@functools.cache
def data_sets():
    with gzip.open(HERE / "posteriordb_data.json.gz") as file:
        return json.load(file)["data"]


@functools.cache
def declared(name):
    case = POSTERIORS[name]
    data = {key: np.array(v) if isinstance(v, list) else v for key, v in data_sets()[case["data"]].items()}
    return case, *getattr(posterior_declarations, case["model"])(data)


def tree(case, values):
    """Our tree of parameters from the reference's list."""
    found, position = {}, 0
    for name, shape, _ in case["params"]:
        size = math.prod(shape)
        found[name] = jnp.asarray(np.reshape(values[position : position + size], shape))
        position += size
    if case["model"] == "garch11":
        found["share"] = found.pop("beta1") / (1 - found["alpha1"])
    return found


def flat(case, found):
    if case["model"] == "garch11":
        found = {**found, "beta1": (1 - found["alpha1"]) * found["share"]}
    return np.concatenate([np.ravel(found[name]) for name, _, _ in case["params"]])


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_log_density_is_that_of_the_reference(name):
    case, objective, data = declared(name)
    extra = posterior_declarations.HALVES.get(case["model"], 0) * math.log(2.0)
    for point in case["test_points"]:
        found = -float(objective(tree(case, point["constrained"]), *data))
        np.testing.assert_allclose(found - extra, point["log_density"], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERIOR)
def test_the_mode_is_that_of_the_reference(name):
    case, objective, data = declared(name)
    fit = lg.fit(objective, tree(case, case["test_points"][0]["constrained"]), *data)
    error = np.where(np.array(case["se"]) > 0, case["se"], 1.0)
    np.testing.assert_allclose((flat(case, fit.params) - case["map"]) / error, 0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in POSTERIORS if name not in INTERIOR])
def test_a_posterior_without_a_mode_is_flagged_with_its_scale(name):
    case, objective, data = declared(name)
    fit = lg.fit(objective, tree(case, case["test_points"][0]["constrained"]), *data, throw=False)
    on_the_edge = case["map_status"].startswith("boundary")
    assert fit.status == (lg.Status.AT_BOUNDARY if on_the_edge else lg.Status.UNBOUNDED)
    scales = {path for path, _, kind in case["params"] if kind == "pos"}
    assert any(f"{scale} runs to the edge" in fit.message for scale in scales)
