r"""Supports: the sets on which densities live, and the smooth maps that reach them from all of :math:`\mathbb{R}`.

A support answers two questions. ``contains(x)`` says whether values lie in the set; targets and parameters are checked
with it. ``forward`` maps unconstrained coordinates onto the set and ``inverse`` maps back, so
that every solver works on :math:`\mathbb{R}^k`. The log-Jacobian is returned by ``forward_and_log_det`` for those
who need the density in unconstrained coordinates; a mode is *not* taken there, and nothing here adds it silently.

``simplex``, ``ordered`` and ``positive_ordered`` hold vectors, which lie on the last axis: ``contains`` and the
log-determinant have one entry for each vector. ``correlation_cholesky`` and ``positive_definite`` hold matrices on the
last two axes, whose coordinates are vectors. All other supports act elementwise.

Discrete supports (``boolean``, ``nonnegative_integers``, ``integers_up_to``) and ``Censoring`` (the target of a
censored observation) only answer the first question.
"""

import math

from jax.typing import ArrayLike

from lossgeo.supports.censoring import Censoring as Censoring
from lossgeo.supports.censoring import censoring_parts as censoring_parts
from lossgeo.supports.discrete import Boolean as Boolean
from lossgeo.supports.discrete import CountVectors as CountVectors
from lossgeo.supports.discrete import Discrete as Discrete
from lossgeo.supports.discrete import Integers as Integers
from lossgeo.supports.discrete import NonnegativeIntegers as NonnegativeIntegers
from lossgeo.supports.elementwise import ClosedInterval as ClosedInterval
from lossgeo.supports.elementwise import GreaterThan as GreaterThan
from lossgeo.supports.elementwise import Interval as Interval
from lossgeo.supports.elementwise import LessThan as LessThan
from lossgeo.supports.elementwise import Nonnegative as Nonnegative
from lossgeo.supports.elementwise import Point as Point
from lossgeo.supports.elementwise import Positive as Positive
from lossgeo.supports.elementwise import Real as Real
from lossgeo.supports.events import Ordered as Ordered
from lossgeo.supports.events import PositiveOrdered as PositiveOrdered
from lossgeo.supports.events import Simplex as Simplex
from lossgeo.supports.matrices import CorrelationCholesky as CorrelationCholesky
from lossgeo.supports.matrices import PositiveDefinite as PositiveDefinite
from lossgeo.supports.support import Support as Support

real = Real()
positive = Positive()
nonnegative = Nonnegative()
simplex = Simplex()
ordered = Ordered()
positive_ordered = PositiveOrdered()
correlation_cholesky = CorrelationCholesky()
positive_definite = PositiveDefinite()
boolean = Boolean()
nonnegative_integers = NonnegativeIntegers()


def interval(low: ArrayLike, high: ArrayLike) -> Interval:
    """The open interval ``(low, high)``, both finite."""
    return Interval(low, high)


def greater_than(low: ArrayLike) -> GreaterThan:
    """The numbers greater than ``low``."""
    return GreaterThan(low)


def less_than(high: ArrayLike) -> LessThan:
    """The numbers less than ``high``."""
    return LessThan(high)


unit_interval = interval(0.0, 1.0)
angles = ClosedInterval(-math.pi, math.pi)


def integers_up_to(high: ArrayLike) -> Integers:
    """The integers 0, 1, …, ``high``."""
    return Integers(0, high)


def point(value: ArrayLike) -> Point:
    """The set that holds ``value`` alone."""
    return Point(value)
