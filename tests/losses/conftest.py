"""These tests compile many small programs and run each once: compile them quickly rather than well."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation(fast_compilation):
    """Every module of this folder."""
