"""What the dictionary says of a loss, a penalty, a prior or a noise: small records that print."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

__all__ = ["LikelihoodReading", "LossReading", "PriorReading"]


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    return "\n".join([head, *(f"  {label:<13} {text}" for label, text in rows if text)])


def _name(record: Any) -> str:
    return "" if record is None else getattr(record, "__name__", type(record).__name__)


def _noise(noise: Any) -> str:
    if noise is None or hasattr(noise, "log_prob"):
        return _name(noise)
    return f"{_name(noise(1.0))} for each prediction"


def _log_total(value: float, error: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:#.12g} (closed form)" if error == 0 else f"{value:#.12g} (relative error {error:.0e})"


@dataclasses.dataclass(frozen=True)
class LikelihoodReading:
    r"""What :func:`lossgeo.dictionary.likelihood_of` found.

    Attributes:
        loss: name of the loss.
        kind: ``"likelihood"``; ``"tempered likelihood"``, which is one after a multiplication by ``factor``;
            ``"pseudo-likelihood"``, which is none; or ``"undecided"``.
        normalized: whether :math:`e^{-\ell}` itself sums to 1.
        factor: what the loss has to be multiplied by to be a negative log-likelihood up to a constant; NaN where
            nothing makes it one.
        log_normalizer: :math:`\log\int e^{-\rho(r)}dr` of a residual loss, :math:`\log Z` of a margin loss where it
            does not depend on the score; ``inf`` where the integral diverges, NaN where it depends on the prediction
            or is unknown.
        totals: for margin losses scores f and :math:`Z(f) = e^{-\varphi(f)} + e^{-\varphi(-f)}` at them.
        distribution: the distribution of the target: of the residual at location 0, or a function of the score or of
            the mean; ``None`` where the library has none.
        error: estimated relative error of the normaliser; 0 for a closed form.
        reason: the argument in words.
    """

    loss: str
    kind: str
    normalized: bool
    factor: float
    log_normalizer: float
    totals: tuple[tuple[float, float], ...]
    distribution: Any | Callable[[Any], Any] | None
    error: float
    reason: str

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is minus the logarithm of a density or mass of the target, up to a constant."""
        return self.kind == "likelihood"

    def __str__(self) -> str:
        """A few lines of text."""
        return _table(
            f"{self.loss}: {self.kind}",
            [
                ("because", self.reason),
                ("noise", _noise(self.distribution)),
                ("log Z", _log_total(self.log_normalizer, self.error)),
                ("Z(f)", ", ".join(f"Z({f:g}) = {z:.4g}" for f, z in self.totals)),
                ("times", f"{self.factor:#.10g}" if self.kind == "tempered likelihood" else ""),
            ],
        )


@dataclasses.dataclass(frozen=True)
class PriorReading:
    r"""What :func:`lossgeo.dictionary.prior_of` found.

    Attributes:
        penalty: name of the penalty.
        proper: whether :math:`\int e^{-R(\theta)}d\theta` is finite; ``None`` if this could not be decided.
        log_normalizer: its logarithm, per coefficient where they are independent; ``inf`` or NaN otherwise.
        distribution: the prior, ``None`` where the library has none.
        error: estimated relative error of the normaliser; 0 for a closed form.
        reason: the argument in words.
    """

    penalty: str
    proper: bool | None
    log_normalizer: float
    distribution: Any | None
    error: float
    reason: str

    def __str__(self) -> str:
        """A few lines of text."""
        verdict = {True: "a proper prior", False: "improper: no prior", None: "undecided"}[self.proper]
        return _table(
            f"{self.penalty}: {verdict}",
            [
                ("because", self.reason),
                ("prior", _name(self.distribution)),
                ("log Z", _log_total(self.log_normalizer, self.error)),
            ],
        )


@dataclasses.dataclass(frozen=True)
class LossReading:
    r"""What :func:`lossgeo.dictionary.loss_of` found.

    Minus the log-density is the loss,

    .. math:: -\log p(y) = \frac1s\,\ell\Bigl(\frac{y - \mu}{\text{unit}}\Bigr) + \text{constant}

    (for deviances :math:`\ell(y, \mu)` and a constant that depends on y, for labels a margin loss of the log-odds).

    Attributes:
        distribution: name of the family.
        loss: the loss, a record of ``lossgeo.losses``; ``None`` where none has a name.
        temperature: :math:`s`: variance, scale or dispersion.
        unit: what residuals are divided by.
        functional: what the loss estimates.
        residual: largest deviation from the identity at probes, relative to the size of the log-density.
        reason: in words.
    """

    distribution: str
    loss: Any | None
    temperature: Any
    unit: Any
    functional: str
    residual: float
    reason: str

    def __str__(self) -> str:
        """A few lines of text."""
        return _table(
            f"{self.distribution}: {_name(self.loss) or 'no loss with a name'}",
            [
                ("because", self.reason),
                ("estimates", self.functional),
                ("temperature", "" if self.loss is None else f"{self.temperature}"),
                ("checked", "" if math.isnan(self.residual) else f"largest deviation {self.residual:.0e}"),
            ],
        )
