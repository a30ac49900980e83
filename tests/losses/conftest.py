"""These tests compile many small programs and run each once: compile them quickly rather than well."""

from pathlib import Path

import pytest

SLOW = {
    "test_closed_forms_of_residual_losses": ("student 2.5", "log_cosh"),
    "test_the_minimizer_attains_the_least_loss": ("student 2.5", "log_cosh", "epsilon 0.4"),
    "test_functionals_by_their_own_definitions": (),
    "test_a_location_is_differentiated_by_the_implicit_rule": (),
    "test_a_loss_is_fitted_as_a_pseudo_likelihood": (),
    "test_crps_is_the_integral_of_the_brier_scores_of_all_thresholds": (
        "student",
        "gamma",
        "gamma 0.4",
        "log_normal",
    ),
    "test_crps_of_student_between_its_limits": (),
    "test_crps_is_the_integral_of_pinball_losses": (),
    "test_the_parts_are_an_entropy_and_a_bregman_divergence": (
        "True-spherical",
        "True-boosting",
        "False-spherical",
        "False-boosting",
    ),
    "test_the_regret_of_every_proper_composite_loss_is_a_bregman_divergence": (
        "logistic",
        "savage",
        "square",
        "tangent",
        "smoothed_hinge_0.5",
    ),
    "test_every_proper_score_is_the_mixture_of_elementary_ones": ("brier", "smoothed hinge"),
    "test_derivatives_are_those_of_the_solution": (),
    "test_the_loss_is_the_fenchel_young_loss_of_its_potential": ("1.0001", "2.5"),
    "test_the_loss_in_the_target_and_masked_classes": (),
}
"""Cases of a register that compile for long and add least to the others; none named is all of a test."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and item.originalname in SLOW:
            cases = SLOW[item.originalname]
            if not cases or item.callspec.id in cases:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation(fast_compilation):
    """Every module of this folder."""
