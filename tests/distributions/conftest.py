"""These tests compile many small programs and run each once: compile them quickly rather than well."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation():
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
