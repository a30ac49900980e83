"""The card that names a problem."""

import dataclasses
import html
import json
import math
from typing import Any

__all__ = ["Explanation", "Level"]


@dataclasses.dataclass(frozen=True)
class Level:
    """One sense in which the objective and the textbook problem are the same.

    Attributes:
        name: the sense, from the strongest to the weakest.
        holds: whether it holds; ``None`` where it was not checked.
        error: the measured disagreement, relative; NaN where it was not checked.
        note: how it was measured, or why not.
    """

    name: str
    holds: bool | None
    error: float
    note: str = ""

    def __str__(self) -> str:
        """One line."""
        mark = {True: "yes", False: "NO", None: "not checked"}[self.holds]
        size = "" if math.isnan(self.error) else f", error {self.error:.1e}"
        return f"{self.name}: {mark}{size}" + (f" ({self.note})" if self.note else "")


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What :func:`lossgeo.explain` found out; prints as a card.

    Attributes:
        name: the textbook problem, or ``"not in the dictionary"``.
        recognized: whether the decomposition is complete and certified.
        loss: the data term in words.
        regularizer: the penalty of each parameter in words.
        scales: the numbers recovered: noise variance ``s2``, prior variance ``t2``, prior scale ``b``, …
        conventions: the strength of the penalty for each package call, as ``"call(parameter)": value``.
        residual: largest disagreement between the objective and its decomposition at probes that were not fitted,
            relative to how far the objective is from its median there.
        reasons: why it was refused, or what to keep in mind.
        route: ``"structural"`` where the parts were declared and read, ``"numeric"`` where values alone told.
        noise: the distribution of the target, or why there is none.
        link: the link function, and whether it is canonical.
        prior: the prior of each parameter.
        geometry: the divergence and the metric that the loss comes from.
        solver: the solver that :func:`lossgeo.fit` chooses, and why.
        levels: the senses in which the objective and the textbook problem are the same, each checked.
        constants: what the objective and its decomposition differ by, in nats, and the normalizers of its parts.
    """

    name: str
    recognized: bool
    loss: str
    regularizer: dict[str, str]
    scales: dict[str, float]
    conventions: dict[str, float]
    residual: float
    reasons: tuple[str, ...] = ()
    route: str = ""
    noise: str = ""
    link: str = ""
    prior: dict[str, str] = dataclasses.field(default_factory=dict)
    geometry: str = ""
    solver: str = ""
    levels: tuple[Level, ...] = ()
    constants: dict[str, float] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows; numbers that are not finite become strings."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {str(k): plain(v) for k, v in value.items()}
            if isinstance(value, list | tuple):
                return [plain(v) for v in value]
            return str(value) if isinstance(value, float) and not math.isfinite(value) else value

        return plain(dataclasses.asdict(self))

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=2)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("loss", self.loss)]
        rows += [(label, text) for label, text in (("noise", self.noise), ("link", self.link)) if text]
        rows += [("regulariser", f"{name or 'params'}: {text}") for name, text in self.regularizer.items()]
        rows += [("prior", f"{name or 'params'}: {text}") for name, text in self.prior.items()]
        rows += [("scale", f"{name} = {value:#.10g}") for name, value in self.scales.items()]
        rows += [("constant", f"{name} = {value:#.10g} nats") for name, value in self.constants.items()]
        rows += [("lambda", f"{name} = {value:#.10g}") for name, value in self.conventions.items()]
        rows += [(label, text) for label, text in (("geometry", self.geometry), ("solver", self.solver)) if text]
        rows += [("the same", str(level)) for level in self.levels]
        return rows + [("note", reason) for reason in self.reasons]

    def _certificate(self) -> str:
        verdict = "same value up to a constant" if self.recognized else "refused"
        route = f", {self.route}" if self.route else ""
        return f"{verdict}{route}; held-out relative residual {self.residual:.1e}"

    def __str__(self) -> str:
        """The card as text."""
        head = f"MAP = {self.name}\n{'certificate':<12} {self._certificate()}"
        return "\n".join([head, *(f"{label:<12} {text}" for label, text in self._rows())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = [("certificate", self._certificate()), *self._rows()]
        body = "".join(f"<tr><th>{label}</th><td>{html.escape(text)}</td></tr>" for label, text in rows)
        return f"<table><caption>MAP = {html.escape(self.name)}</caption>{body}</table>"
