"""Double precision and no silent broadcasting for the whole suite; float32 is asked for by the tests that mean it."""

import gc
import os
import pathlib

# The older code generator of XLA's CPU compiler compiles twice as fast; most of the time of the suite is compilation.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"

import jax
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
