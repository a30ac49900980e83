"""The clock of the benchmarks: interleaved contenders, process CPU time, optimality and memory beside each time."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.peers import Peer, Solve, is_installed

DECLARED, PLAIN = "lossgeo models", "lossgeo plain"
"""How the contenders begin that solve the same problem, declared by ``models`` and written as a plain function."""


class Elsewhere(NamedTuple):
    """What a contender returns that solves in a process of its own: the answer, its CPU seconds and peak in KiB."""

    answer: np.ndarray
    seconds: float
    peak: float | None


@dataclasses.dataclass(frozen=True)
class Workload:
    """A problem and those who solve it.

    Args:
        title: what is solved, with its sizes.
        ours: thunks by name, which starts with ``"lossgeo"``; each returns its answer as an array.
        peers: those that are installed join.
        objective: of an answer, in any unit; the gap is its excess over the least one, relative to its size.
        gap: a certificate of an answer by itself, such as a duality gap, instead of ``objective``.
        data: the arrays that are given, for their size in memory.
        calls: how many times a thunk solves the problem; times are for one.
    """

    title: str
    ours: dict[str, Solve]
    peers: Sequence[Peer] = ()
    objective: Callable[[np.ndarray], float] | None = None
    gap: Callable[[np.ndarray], float] | None = None
    data: Sequence[np.ndarray] = ()
    calls: int = 1


def measure(workload: Workload, reps: int) -> dict[str, Any]:
    """Time all contenders of a workload; a contender that fails is recorded with its error."""
    contenders = dict(workload.ours)
    contenders |= {peer.name: peer.build() for peer in workload.peers if is_installed(peer.package)}
    rows: dict[str, dict[str, Any]] = {name: {"warm": []} for name in contenders}
    answers = {}
    for name, solve in contenders.items():
        try:
            first = _timed(solve, with_memory=True)
        except Exception as error:  # a peer's failure is a result
            rows[name]["error"] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        answers[name] = first.answer
        rows[name] |= {"cold_s": first.seconds, "peak_mib": None if first.peak is None else first.peak / 1024}
    for _ in range(reps):
        for name in answers:
            rows[name]["warm"].append(_timed(contenders[name]).seconds / workload.calls)
    for name, gap in _gaps(workload, answers).items():
        rows[name]["gap"] = gap
    for row in rows.values():
        row["best_s"] = min(row["warm"], default=None)
    return {
        "title": workload.title,
        "data_mib": sum(array.nbytes for array in workload.data) / 2**20,
        "rows": rows,
        "plain_over_declared": _twins(rows),
        "missing": sorted({peer.package for peer in workload.peers if not is_installed(peer.package)}),
    }


def _timed(solve: Solve, with_memory: bool = False) -> Elsewhere:
    can_tell = with_memory and reset_peak()
    before, start = memory("VmRSS"), time.process_time()
    answer = solve()
    seconds = time.process_time() - start
    if isinstance(answer, Elsewhere):
        return answer
    return Elsewhere(np.asarray(answer), seconds, memory("VmHWM") - before if can_tell else None)


def _gaps(workload: Workload, answers: dict[str, np.ndarray]) -> dict[str, float]:
    if workload.gap is not None:
        return {name: float(workload.gap(answer)) for name, answer in answers.items()}
    if workload.objective is None:
        return dict.fromkeys(answers, float("nan"))
    values = {name: float(workload.objective(answer)) for name, answer in answers.items()}
    best = min(values.values(), default=0.0)
    return {name: (value - best) / abs(best) for name, value in values.items()}


def _twins(rows: dict[str, dict[str, Any]]) -> float | None:
    """Time of the plain function over that of the declared model, where a workload has both."""
    times = [
        [row["best_s"] for name, row in rows.items() if name.startswith(kind) and row["best_s"] is not None]
        for kind in (PLAIN, DECLARED)
    ]
    return times[0][0] / times[1][0] if all(times) else None


def table(name: str, found: dict[str, Any]) -> str:
    """The rows of a workload, fastest first."""
    head = f"\n({name}) {found['title']}"
    if found["data_mib"]:
        head += f"; data {found['data_mib']:.3g} MiB"
    lines = [head, f"  {'':42} {'warm s':>9} {'gap':>9} {'first s':>9} {'peak MiB':>9}"]
    for label, row in sorted(found["rows"].items(), key=lambda item: item[1]["best_s"] or np.inf):
        if "error" in row:
            lines.append(f"  {label:42} {row['error']}")
            continue
        peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:9.0f}"
        lines.append(f"  {label:42} {row['best_s']:9.3g} {row['gap']:9.1e} {row['cold_s']:9.2f} {peak:>9}")
    if found["plain_over_declared"] is not None:
        lines.append(f"  plain function / declared model: {found['plain_over_declared']:.2f}")
    if found["missing"]:
        lines.append(f"  not installed: {', '.join(found['missing'])}")
    return "\n".join(lines)


def memory(field: str, process: int | str = "self") -> float:
    """A field of the status of a process in KiB; 0 where the system does not tell."""
    status = pathlib.Path(f"/proc/{process}/status")
    if not status.exists():
        return 0.0
    return next((float(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field)), 0.0)


def reset_peak(process: int | str = "self") -> bool:
    """Set the high-water mark of memory of a process back to the present; false where that is not possible."""
    try:
        pathlib.Path(f"/proc/{process}/clear_refs").write_text("5")
    except OSError:
        return False
    return True
