"""Solvers: function in, minimiser and certificate out. Nothing here knows statistics.

======================  ============================================================================================
``Newton``              up to a few hundred parameters: quadratic convergence, dense Hessian; kinks by their faces
``LevenbergMarquardt``  a model that is nonlinear, with a metric; polished by ``Newton`` in white coordinates
``LBFGS``               smooth, many parameters; polished by ``NewtonCG``
``ProximalGradient``    kinked; polished on the face it found by ``Newton`` or, with many parameters, ``NewtonCG``
``WorkingSet``          kinked with many coefficients on one linear predictor: few columns at a time; host-driven
``GroupWorkingSet``     the same for coefficients that vanish by groups; host-driven
``InteriorPoint``       losses that are piecewise linear in linear predictors: quantiles, hinges
``KroneckerNewton``     many parameters in one linear predictor of several columns, such as a softmax
``MirrorDescent``       parameters that are probability vectors, with optima on a face; polished by ``SimplexNewton``
``NewtonCG``            the matrix-free form of ``Newton``
``GradientTransform``   any optax transformation (an ``optax.GradientTransformation`` given as a solver becomes one)
======================  ============================================================================================

Each is a frozen record of static settings, with the interface of :class:`Solver`. ``certify`` judges any point;
``full_steps`` is Newton's method without its safeguards, for many small problems side by side.
"""

from lossgeo.solvers.bounded_certificate import certify_bounded as certify_bounded
from lossgeo.solvers.brief_certificate import certify_briefly as certify_briefly
from lossgeo.solvers.certificate import DENSE_LIMIT as DENSE_LIMIT
from lossgeo.solvers.certificate import RANK_LIMIT as RANK_LIMIT
from lossgeo.solvers.certificate import Certificate as Certificate
from lossgeo.solvers.certificate import Nearby as Nearby
from lossgeo.solvers.certificate import certify as certify
from lossgeo.solvers.full_steps import FullSteps as FullSteps
from lossgeo.solvers.full_steps import full_steps as full_steps
from lossgeo.solvers.gradient_transform import GradientTransform as GradientTransform
from lossgeo.solvers.group_working_set import GroupWorkingSet as GroupWorkingSet
from lossgeo.solvers.interior_point import InteriorPoint as InteriorPoint
from lossgeo.solvers.kinks import Blocks as Blocks
from lossgeo.solvers.kinks import Kinks as Kinks
from lossgeo.solvers.kronecker_newton import KroneckerNewton as KroneckerNewton
from lossgeo.solvers.lbfgs import LBFGS as LBFGS
from lossgeo.solvers.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from lossgeo.solvers.loop import Solver as Solver
from lossgeo.solvers.loop import run as run
from lossgeo.solvers.mirror_descent import Mirror as Mirror
from lossgeo.solvers.mirror_descent import MirrorDescent as MirrorDescent
from lossgeo.solvers.mirror_descent import frank_wolfe_gap as frank_wolfe_gap
from lossgeo.solvers.mirror_descent import memberships as memberships
from lossgeo.solvers.mirror_descent import simplices as simplices
from lossgeo.solvers.newton import Newton as Newton
from lossgeo.solvers.newton_cg import NewtonCG as NewtonCG
from lossgeo.solvers.pieces import Pieces as Pieces
from lossgeo.solvers.problem import FlatProblem as FlatProblem
from lossgeo.solvers.problem import Problem as Problem
from lossgeo.solvers.problem import Root as Root
from lossgeo.solvers.proximal_gradient import ProximalGradient as ProximalGradient
from lossgeo.solvers.simplex_newton import SimplexNewton as SimplexNewton
from lossgeo.solvers.simplex_newton import slopes_on_face as slopes_on_face
from lossgeo.solvers.status import RUNNING as RUNNING
from lossgeo.solvers.status import Status as Status
from lossgeo.solvers.vertex import Vertex as Vertex
from lossgeo.solvers.vertex import vertex_near as vertex_near
from lossgeo.solvers.whitening import Whitening as Whitening
from lossgeo.solvers.whitening import whiten as whiten
from lossgeo.solvers.working_set import WorkingSet as WorkingSet
