"""The card that names a problem."""

import dataclasses
import html
from typing import Any

__all__ = ["Explanation"]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What :func:`lossgeo.explain` found out; prints as a card.

    Attributes:
        name: the textbook problem, or ``"not in the dictionary"``.
        recognized: whether the decomposition is complete and certified.
        loss: the data term in words.
        regularizer: the penalty of each parameter in words.
        scales: the numbers recovered: noise variance ``s2``, prior variance ``t2``, prior scale ``b``.
        conventions: the strength of the penalty for each package call, as ``"call(parameter)": value``.
        residual: largest disagreement between the objective and its decomposition at held-out probes, relative to the
            spread of the objective there.
        reasons: why it was refused, or what to keep in mind.
    """

    name: str
    recognized: bool
    loss: str
    regularizer: dict[str, str]
    scales: dict[str, float]
    conventions: dict[str, float]
    residual: float
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return dataclasses.asdict(self) | {"reasons": list(self.reasons)}

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("loss", self.loss)]
        rows += [("regulariser", f"{name or 'params'}: {text}") for name, text in self.regularizer.items()]
        rows += [("scale", f"{name} = {value:#.10g}") for name, value in self.scales.items()]
        rows += [("lambda", f"{name} = {value:#.10g}") for name, value in self.conventions.items()]
        return rows + [("note", reason) for reason in self.reasons]

    def __str__(self) -> str:
        """The card as text."""
        verdict = "same value up to a constant" if self.recognized else "refused"
        head = f"MAP = {self.name}\ncertificate  {verdict}; held-out relative residual {self.residual:.1e}"
        return "\n".join([head, *(f"{label:<12} {text}" for label, text in self._rows())])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{label}</th><td>{html.escape(text)}</td></tr>" for label, text in self._rows())
        return f"<table><caption>MAP = {html.escape(self.name)}</caption>{rows}</table>"
