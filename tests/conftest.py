"""Double precision and no silent broadcasting for the whole suite; float32 is asked for by the tests that mean it."""

import gc
import os
import pathlib
import sys

# The older code generator of XLA's CPU compiler compiles twice as fast; most of the time of the suite is compilation.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


MAPPED_REGIONS = 25_000
"""Linux gives a process some 65,000 mapped regions by default; each compiled program takes several."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With several workers the tests of a module, which share compiled programs, go to one; slow ones stand alone."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


GENERATORS: dict[int, tuple[np.random.Generator, dict]] = {}
"""The random generators of the test modules, each with its state when the module had been imported."""


def pytest_collection_finish():
    """Remember the generators of the test modules before the first test draws from one."""
    here = str(pathlib.Path(__file__).parent)
    modules = [module for module in list(sys.modules.values()) if str(getattr(module, "__file__", "")).startswith(here)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, np.random.Generator)]
    GENERATORS.update({id(generator): (generator, generator.bit_generator.state) for generator in found})


def rewind():
    """Set these generators back, so that no draw depends on what ran before, nor on the worker that runs the test."""
    for generator, state in GENERATORS.values():
        generator.bit_generator.state = state


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup():
    """A fixture draws the same numbers whichever test asks for it first."""
    rewind()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    """A test draws the same numbers alone and among the others."""
    rewind()


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drop compiled programs between modules before the process runs out of room for them."""
    yield
    regions = pathlib.Path("/proc/self/maps")
    if regions.exists() and regions.read_bytes().count(b"\n") > MAPPED_REGIONS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def fast_compilation():
    """For modules of many small programs that run once each: compile them quickly rather than well."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
