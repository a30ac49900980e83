"""A triangle of three classes as axes: what the experiments on the simplex share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.report import INK
from lossgeo import geometry as geo


def triangle(ax: Axes, labels: Sequence[str] = ("$p_1$", "$p_2$", "$p_3$"), *, size: float = 11) -> None:
    """Draw the edges and name the corners; the axes show nothing else."""
    corners = np.asarray(geo.simplex_vertices(3))
    ax.fill(*corners.T, fill=False, ec=INK, lw=1.4, zorder=5)
    places = ((-0.03, -0.03, "right", "top"), (0.03, -0.03, "left", "top"), (0, 0.03, "center", "bottom"))
    for corner, label, (dx, dy, ha, va) in zip(corners, labels, places, strict=True):
        ax.text(corner[0] + dx, corner[1] + dy, label, ha=ha, va=va, size=size)
    ax.set(xlim=(-0.1, 1.1), ylim=(-0.09, 0.97), aspect="equal")
    ax.set_axis_off()


def place(p: Any) -> tuple[np.ndarray, np.ndarray]:
    """Plane coordinates of laws on three classes, ready for ``ax.plot(*place(p))``."""
    xy = np.asarray(geo.barycentric_to_cartesian(p))
    return xy[..., 0], xy[..., 1]


def heat(ax: Axes, p: Any, values: Any, *, levels: Any = 24, **options: Any) -> Any:
    """Filled contours of values on a lattice of laws."""
    return ax.tricontourf(*place(p), np.asarray(values), levels=levels, **options)
