"""What can be read off a function before it runs, from its jaxpr: dependences, linear predictors, independent rows."""

from lossgeo.structure.dependence import depends_on
from lossgeo.structure.derivatives import RowDerivatives
from lossgeo.structure.discovery import LinearPredictor, RowStructure, discover
from lossgeo.structure.joint import JointPredictor, joint_predictor
from lossgeo.structure.linearity import is_affine, is_generalized_linear, is_line, is_shift
from lossgeo.structure.steps import Branches, branches

__all__ = [
    "Branches",
    "JointPredictor",
    "LinearPredictor",
    "RowDerivatives",
    "RowStructure",
    "branches",
    "depends_on",
    "discover",
    "is_affine",
    "is_generalized_linear",
    "is_line",
    "is_shift",
    "joint_predictor",
]
