"""The figure of the benchmarks: how many times as long as lossgeo each peer takes, one bar for each workload."""

import pathlib
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

LOOSE = 1e-6
"""Answers with a larger gap are drawn hollow: their time buys less."""


def ratios(result: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Time over that of lossgeo and gap, of each peer that solved the workload, fastest first."""
    solved = {name: row for name, row in result["rows"].items() if row["best_s"] is not None}
    ours = next((row["best_s"] for name, row in solved.items() if name.startswith("lossgeo")), None)
    if ours is None:
        return {}
    found = {n: (row["best_s"] / ours, row["gap"]) for n, row in solved.items() if not n.startswith("lossgeo")}
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def chart(results: list[dict[str, Any]], path: pathlib.Path) -> None:
    """One row for each workload: a bar to the fastest peer, a dot for each peer, on a logarithmic axis around 1."""
    shown = [(result, found) for result in results if (found := ratios(result))]
    if not shown:
        return
    libraries = sorted({name.split()[0].rstrip(",") for _, found in shown for name in found})
    colors = {
        library: plt.get_cmap("tab10" if len(libraries) <= 10 else "tab20")(k) for k, library in enumerate(libraries)
    }
    fig, ax = plt.subplots(figsize=(11, 1.6 + 0.36 * len(shown)), layout="constrained")
    for row, (_, found) in enumerate(shown):
        fastest = next(iter(found.values()))[0]
        ax.barh(row, fastest - 1.0, left=1.0, height=0.62, color="#cfe0f3" if fastest >= 1 else "#f3d3cf", zorder=1)
        ax.annotate(
            f"{fastest:.2g}×", (1.0, row), (-5 if fastest >= 1 else 5, 0), textcoords="offset points", va="center",
            ha="right" if fastest >= 1 else "left", fontsize=8, color="0.25",
        )  # fmt: skip
        for name, (ratio, gap) in found.items():
            color = colors[name.split()[0].rstrip(",")]
            loose = gap > LOOSE
            ax.plot(ratio, row, "o", ms=7, mfc="white" if loose else color, mec=color, mew=1.6, zorder=3)
    ax.axvline(1.0, color="0.2", lw=1.2, zorder=2)
    ax.set_yticks(range(len(shown)), [f"{result['title']}  ({result['name']})" for result, _ in shown], fontsize=8.5)
    ax.set(xscale="log", ylim=(len(shown) - 0.4, -0.6), xlabel="time of the peer / time of lossgeo, one core, warm")
    ax.set_title("How much longer peers take for the same answer (bar: the fastest peer)", loc="left", fontsize=11)
    ticks = [
        t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]
    ]
    ax.set_xticks(ticks, [f"{t:g}×" for t in ticks])
    ax.minorticks_off()
    ax.grid(axis="x", color="0.9", zorder=0)
    ax.spines[["top", "right"]].set_visible(False)
    handles = [Line2D([], [], ls="", marker="o", color=colors[library], label=library) for library in libraries]
    hollow = Line2D([], [], ls="", marker="o", mfc="white", mec="0.4", label=f"hollow: gap above {LOOSE:.0e}")
    fig.legend(handles=[*handles, hollow], loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    fig.savefig(path, dpi=150)
    plt.close(fig)
