"""These tests compile many small programs and run each once: compile them quickly rather than well."""

from pathlib import Path

import pytest

SLOW_FAMILIES = ("student_t 2.7", "half_student_t", "negative_binomial", "ordered_probit")
SLOW_LAWS = ("test_bartlett_identities", "test_probabilities_sum_to_one")
SLOW_TOWERS = ("beta_binomial",)
TOWER_LAWS = (
    *SLOW_LAWS,
    "test_derivatives_in_the_hyper_parameters_agree_with_differences",
    "test_outside_the_support_the_density_is_zero_and_so_is_the_gradient",
    "test_vmap_over_hyper_parameters_and_points_is_broadcasting",
)


def pytest_collection_modifyitems(items):
    """Third derivatives of incomplete beta functions on a whole grid: minutes of compilation, all in four families."""
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and item.originalname in SLOW_LAWS and item.callspec.id in SLOW_FAMILIES:
            item.add_marker(pytest.mark.slow)
        if here and item.originalname in TOWER_LAWS and item.callspec.id in SLOW_TOWERS:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation(fast_compilation):
    """Every module of this folder."""
