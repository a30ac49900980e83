"""All cases of scalar distributions: the families and what is composed of them."""

from composition_cases import COMPOSITIONS
from distribution_cases import CASES as FAMILIES

CASES = [*FAMILIES, *COMPOSITIONS]
