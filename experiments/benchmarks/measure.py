"""The clock of the benchmarks: interleaved contenders, process CPU time, optimality and memory beside each time."""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@dataclasses.dataclass(frozen=True)
class Workload:
    """A problem and those who solve it.

    Args:
        title: what is solved, with its sizes.
        contenders: thunks by name; those of lossgeo start with ``"lossgeo"``. Each returns its answer as an array.
        objective: of an answer, in any unit; the gap is its excess over the least one, relative to its size.
        gap: a certificate of an answer by itself, such as a duality gap, instead of ``objective``.
        missing: peers that are not installed.
    """

    title: str
    contenders: dict[str, Callable[[], Any]]
    objective: Callable[[np.ndarray], float] | None = None
    gap: Callable[[np.ndarray], float] | None = None
    missing: tuple[str, ...] = ()


def measure(workload: Workload, reps: int) -> dict[str, Any]:
    """Time all contenders of a workload; a contender that fails is recorded with its error."""
    rows: dict[str, dict[str, Any]] = {name: {"warm": []} for name in workload.contenders}
    answers = {}
    for name, solve in workload.contenders.items():
        reset = _reset_peak()
        before, start = _memory("VmRSS"), time.process_time()
        try:
            answers[name] = np.asarray(solve())
        except Exception as error:  # a peer's failure is a result
            rows[name]["error"] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        rows[name]["cold_s"] = time.process_time() - start
        rows[name]["peak_mib"] = (_memory("VmHWM") - before) / 1024 if reset else None
    for _ in range(reps):
        for name in answers:
            start = time.process_time()
            workload.contenders[name]()
            rows[name]["warm"].append(time.process_time() - start)
    if workload.gap is not None:
        for name, answer in answers.items():
            rows[name]["gap"] = float(workload.gap(answer))
    elif workload.objective is not None:
        values = {name: float(workload.objective(answer)) for name, answer in answers.items()}
        best = min(values.values(), default=0.0)
        for name, value in values.items():
            rows[name]["gap"] = (value - best) / abs(best)
    for row in rows.values():
        row["best_s"] = min(row["warm"], default=None)
    return {"title": workload.title, "rows": rows, "missing": list(workload.missing)}


def table(name: str, found: dict[str, Any]) -> str:
    """The rows of a workload, fastest first."""
    lines = [f"\n({name}) {found['title']}", f"  {'':38} {'warm s':>9} {'gap':>9} {'first s':>9} {'peak MiB':>9}"]
    for label, row in sorted(found["rows"].items(), key=lambda item: item[1]["best_s"] or np.inf):
        if "error" in row:
            lines.append(f"  {label:38} {row['error']}")
            continue
        peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:9.0f}"
        lines.append(f"  {label:38} {row['best_s']:9.4f} {row['gap']:9.1e} {row['cold_s']:9.2f} {peak:>9}")
    if found["missing"]:
        lines.append(f"  not installed: {', '.join(found['missing'])}")
    return "\n".join(lines)


def chart(results: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Horizontal bars of the warm times, one panel for each workload."""
    fig, axes = plt.subplots(
        len(results), 1, figsize=(9, 0.8 + sum(0.6 + 0.28 * len(r["rows"]) for r in results)), squeeze=False,
        height_ratios=[1 + len(r["rows"]) for r in results], layout="constrained",
    )  # fmt: skip
    for ax, result in zip(axes[:, 0], results, strict=True):
        rows = sorted(
            ((n, r) for n, r in result["rows"].items() if r["best_s"] is not None), key=lambda item: -item[1]["best_s"]
        )
        times = [row["best_s"] for _, row in rows]
        bars = ax.barh(
            [n for n, _ in rows], times, color=["tab:blue" if n.startswith("lossgeo") else "0.7" for n, _ in rows]
        )
        ax.bar_label(bars, [f"{r['best_s']:.3g} s, gap {r['gap']:.0e}" for _, r in rows], padding=3, fontsize=8)
        ax.set(xscale="log", title=f"({result['name']}) {result['title']}", xlabel="process CPU seconds, warm")
        ax.margins(x=0.25)
        ax.title.set_fontsize(10)
    fig.savefig(path, dpi=120)
    plt.close(fig)


def _memory(field: str) -> float:
    """A field of the process status in KiB; 0 where the system does not tell."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return 0.0
    return next((float(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field)), 0.0)


def _reset_peak() -> bool:
    """Set the high-water mark of memory back to the present; false where that is not possible."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
