"""What every experiment shares: double precision, checks with tolerances, one table, one figure, one JSON file."""

import dataclasses
import json
import math
import operator
import platform
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lossgeo as lg

INK, BLUE, RED, GOLD, TEAL, GRAY = "#1f2a44", "#2f6fb0", "#d1495b", "#e0991c", "#00798c", "#8d99ae"
CYCLE = (BLUE, RED, TEAL, GOLD, "#7b5ea7", "#5b8c3a", "#c9743f", "#4a4e69", "#b5838d", "#3d9bb3")

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "font.size": 10.5,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.framealpha": 0.92,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.8,
    "mathtext.fontset": "cm",
    "savefig.dpi": 160,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class CheckFailed(AssertionError):
    """A claim that missed its stated tolerance."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One number, what it is compared with, and the verdict. ``relation`` is ``<=``, ``>=`` or ``==``."""

    name: str
    value: float | int | str
    relation: str
    tolerance: float | int | str
    passed: bool


_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


class Report:
    """Collects the checks and the figure of one experiment; a context manager.

    Inside, JAX computes in double precision (the setting is restored afterwards; the library itself never touches it)
    and figures have the house style. On leaving, the table is printed, the JSON is written, and only then a failed
    check raises, so that there is something to look at.

    Args:
        file: ``__file__`` of the script; its stem names the outputs.
        doc: ``__doc__`` of the script, the claim.
        out: folder for the outputs; ``gallery`` unless given.
        seed: recorded.
        fast: recorded.
    """

    def __init__(self, file: str, doc: str | None, *, out: str | Path | None = None, seed: int = 0, fast: bool = False):
        self.name = Path(file).stem
        self.doc = doc or ""
        self.out = Path("gallery" if out is None else out)
        self.seed, self.fast = seed, fast
        self.checks: list[Check] = []
        self.figure_name: str | None = None
        self._dtype = ""

    def check(self, name: str, value: Any, tolerance: float) -> None:
        """Record that the absolute value of an error is at most ``tolerance``; NaN fails."""
        self._record(name, abs(_number(value)), "<=", tolerance)

    def check_at_least(self, name: str, value: Any, bound: float) -> None:
        """Record that a quantity is at least ``bound``: an effect that must be there."""
        self._record(name, _number(value), ">=", bound)

    def check_equal(self, name: str, value: int | str, wanted: int | str) -> None:
        """Record that a count or a word is what it must be, exactly."""
        self._record(name, value, "==", wanted)

    def _record(self, name: str, value: Any, relation: str, tolerance: Any) -> None:
        self.checks.append(Check(name, value, relation, tolerance, bool(_RELATIONS[relation](value, tolerance))))

    def save(self, figure: Figure) -> None:
        """Write the figure as ``<name>.png``."""
        self.figure_name = f"{self.name}.png"
        figure.savefig(self.out / self.figure_name, facecolor="white")

    def table(self) -> str:
        """All checks, aligned."""
        rows = [("check", "value", "", "tolerance", ""), *((c.name, *_cells(c), _verdict(c)) for c in self.checks)]
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        rule = "-" * (sum(widths) + 8)

        def line(row: tuple[str, ...]) -> str:
            a, b, c, d, e = row
            return f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:<{widths[3]}}  {e}".rstrip()

        title = self.doc.strip().splitlines()[0] if self.doc.strip() else self.name
        return "\n".join([f"{self.name}: {title}", rule, line(rows[0]), rule, *map(line, rows[1:]), rule])

    def __enter__(self) -> "Report":
        self.out.mkdir(parents=True, exist_ok=True)
        self._x64 = bool(jax.config.read("jax_enable_x64"))
        jax.config.update("jax_enable_x64", True)
        self._dtype = str(jnp.zeros(()).dtype)
        self._style = matplotlib.rc_context(STYLE)
        self._style.__enter__()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._start
        self._style.__exit__(kind, error, trace)
        jax.config.update("jax_enable_x64", self._x64)
        failed = [c for c in self.checks if not c.passed]
        problem = f"{kind.__name__}: {error}" if kind else None
        write_record(self.out, self.name, self.record(seconds, problem))
        print(self.table())
        print(f"{len(self.checks) - len(failed)} of {len(self.checks)} checks passed in {seconds:.1f} s\n", flush=True)
        if kind is None and failed:
            lines = [f"  {c.name}: {' '.join(_cells(c))}" for c in failed]
            raise CheckFailed(f"{self.name}: {len(failed)} of {len(self.checks)} checks failed\n" + "\n".join(lines))

    def record(self, seconds: float, problem: str | None = None) -> dict[str, Any]:
        """What goes into the JSON file."""
        return {
            "name": self.name,
            "doc": self.doc.strip(),
            "passed": problem is None and all(c.passed for c in self.checks),
            "error": problem,
            "checks": [dataclasses.asdict(c) for c in self.checks],
            "figure": self.figure_name,
            "seconds": round(seconds, 2),
            "seed": self.seed,
            "fast": self.fast,
            "environment": {
                "lossgeo": str(getattr(lg, "__version__", "0.1.0")),
                "jax": jax.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
                "backend": jax.default_backend(),
                "dtype": self._dtype,
            },
        }


def write_record(out: Path, name: str, record: dict[str, Any]) -> None:
    """Write ``<name>.json``; infinite and NaN values become strings, which JSON can hold."""
    checks = [
        {k: v if not isinstance(v, float) or math.isfinite(v) else str(v) for k, v in check.items()}
        for check in record["checks"]
    ]
    (out / f"{name}.json").write_text(json.dumps({**record, "checks": checks}, indent=2) + "\n", encoding="utf-8")


def figure(title: str, subtitle: str, size: tuple[float, float] = (14.0, 8.0)) -> Figure:
    """An empty slide with a headline (the claim) and a line below it (the formula)."""
    fig = Figure(figsize=size, layout="constrained")
    fig.get_layout_engine().set(rect=(0.005, 0.005, 0.99, 0.885), w_pad=0.10, h_pad=0.08)
    fig.text(0.012, 0.982, title, size=18, weight="bold", va="top")
    fig.text(0.012, 0.936, subtitle, size=13, va="top", color="#44506b")
    return fig


def note(ax: Axes, text: str, where: tuple[float, float] = (0.03, 0.97), **options: Any) -> None:
    """A remark inside the axes, in axes coordinates."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2.5}
    x, y = where
    horizontal, vertical = "right" if x > 0.5 else "left", "top" if y > 0.5 else "bottom"
    options = {"size": 9.5, "ha": horizontal, "va": vertical, "bbox": box, **options}
    ax.text(x, y, text, transform=ax.transAxes, **options)


def relative_error(value: Any, truth: Any) -> float:
    """Largest component of ``value - truth`` over the largest of ``truth``."""
    value, truth = np.asarray(value, dtype=float), np.asarray(truth, dtype=float)
    return float(np.max(np.abs(value - truth)) / np.max(np.abs(truth)))


def _number(value: Any) -> float:
    return float(np.asarray(value))


def format_value(value: Any) -> str:
    """A number as a reader wants it: counts as they are, errors with two digits, quantities with four."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"


def _cells(check: Check) -> tuple[str, str, str]:
    return format_value(check.value), check.relation, format_value(check.tolerance)


def _verdict(check: Check) -> str:
    return "pass" if check.passed else "FAIL"
