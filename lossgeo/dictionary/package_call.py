"""A call of another package, in words and as arguments."""

import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ["PackageCall"]


@dataclasses.dataclass(frozen=True)
class PackageCall:
    """The call of another package whose solution is the optimum of an objective; prints as code.

    Attributes:
        package: its name.
        call: the call as text, with ``x``, ``y`` and, if there are any, ``weights`` for the data.
        arguments: what is passed, by name, in Python types.
        notes: what to keep in mind: where the package solves another problem than it seems to.
        run: runs the call and returns estimates, ``{"coef": …, "intercept": …}``; ``None`` where the package is not of
            this language.
    """

    package: str
    call: str
    arguments: dict[str, Any]
    notes: tuple[str, ...] = ()
    run: Callable[[], dict[str, Any]] | None = dataclasses.field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """The call, and the notes as comments."""
        return "\n".join([self.call, *(f"# {note}" for note in self.notes)])
