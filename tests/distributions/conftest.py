"""These tests compile many small programs and run each once: compile them quickly rather than well."""

from pathlib import Path

import pytest

TOWERS = ("test_bartlett_identities", "test_probabilities_sum_to_one")
VALUES = ("test_log_prob_agrees_with_scipy_far_into_the_tails", "test_float32_is_kept_and_accurate")
DERIVATIVES = "test_derivatives_in_the_hyper_parameters_agree_with_differences"
SLOW = {
    "student_t 2.7": (*TOWERS, *VALUES),
    "half_student_t": (*TOWERS, *VALUES),
    "negative_binomial": (*TOWERS, *VALUES, DERIVATIVES),
    "ordered_probit": TOWERS,
    "poisson hurdle": (*TOWERS, *VALUES),
    "beta_binomial": (
        *TOWERS,
        *VALUES,
        DERIVATIVES,
        "test_moments_and_entropy_agree_with_scipy_and_with_the_density",
        "test_outside_the_support_the_density_is_zero_and_so_is_the_gradient",
        "test_vmap_over_hyper_parameters_and_points_is_broadcasting",
    ),
}
"""Laws of families that compile for long: incomplete beta functions, sums of unknown length, and their derivatives."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and hasattr(item, "callspec"):
            if item.originalname in SLOW.get(item.callspec.id, ()):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation(fast_compilation):
    """Every module of this folder."""
