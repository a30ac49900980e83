"""How a fit ended."""

import enum


class Status(enum.IntEnum):
    """Outcome of a fit; every value but ``CONVERGED`` comes with a message that names the parameter and the remedy."""

    CONVERGED = 0
    """The certificate is below the tolerance at a point with positive definite curvature."""
    MAX_STEPS = 1
    """The budget of steps ran out before the certificate was below the tolerance."""
    STALLED = 2
    """No step decreases the objective any more, yet the certificate is above the tolerance (precision, or a kink)."""
    NOT_FINITE = 3
    """The objective, its gradient or its Hessian is NaN or infinite."""
    NOT_POSITIVE_DEFINITE = 4
    """Stationary, but the curvature has a negative direction: a saddle, not a minimum."""
    UNIDENTIFIED = 5
    """The curvature is singular, or a loss with kinks has many optima: data and prior leave some direction open."""
    AT_BOUNDARY = 6
    """A constrained parameter runs to the edge of its support."""
    SEPARATED = 7
    """The classes are separated: the maximum of the likelihood lies at infinity."""
    UNBOUNDED = 8
    """The objective keeps decreasing along a direction: no finite optimum."""
    INTERRUPTED = 9
    """Stopped by the user."""

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


RUNNING = -1
"""Value of the status inside a loop that has not ended."""
