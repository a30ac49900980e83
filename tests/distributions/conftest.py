"""These tests compile many small programs and run each once: compile them quickly rather than well."""

import pytest
from evaluation import group

SLOW = frozenset(
    {
        "beta 0.6",
        "beta 2.4",
        "beta_binomial",
        "half_student_t",
        "negative_binomial",
        "ordered_probit",
        "poisson hurdle",
        "student_t 2.7",
        "von_mises",
    }
)
"""Families whose programs compile for long: incomplete beta functions, sums of unknown length, their derivatives."""

LAWS = ("test_distribution_values", "test_distribution_derivatives")
"""Modules of laws that hold for every family."""

WITHOUT_PROGRAMS = frozenset(
    {
        "test_draws_have_the_moments_and_lie_in_the_support",
        "test_shapes",
        "test_support_contains_the_points_and_not_the_others",
        "test_what_a_family_lacks_is_said_in_words",
    }
)
"""Laws that need neither the values nor the derivatives of a family."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All laws of a family go to one worker, which compiles it once; those that compile for long are slow."""
    for item in items:
        if item.path.stem in LAWS:
            case = item.callspec.params["case"]
            item.add_marker(pytest.mark.xdist_group(group(case)[0].name))
            if case.name in SLOW and item.originalname not in WITHOUT_PROGRAMS:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation(fast_compilation):
    """Every module of this folder."""
