"""How the parameters and data of a bare objective make linear predictors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lossgeo._pytree import path_name
from lossgeo.dictionary.probing import SIZES, unit_of

__all__ = ["Layout", "layout_of"]

Array = np.ndarray


class Layout(NamedTuple):
    """Features, target and the roles of the leaves.

    Fields: ``x`` features ``(n, d)``; ``y`` target, or the pair (successes, trials); ``extra`` a second data argument
    ``(n,)`` or ``None``; ``names`` and ``shapes`` of the free leaves in tree order; ``slopes``, indices of those that
    multiply the columns of ``x``, in order; ``classes``, columns of a coefficient matrix, 0 for a vector.
    """

    x: Array
    y: Any
    extra: Array | None
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    slopes: tuple[int, ...]
    classes: int

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def predictor(self, leaves: Sequence[Array]) -> Array:
        """Linear predictors ``(P, n)`` or ``(P, n, k)`` at leaves ``(P, *shape)``."""
        count = len(leaves[0])
        slopes = [leaves[k].reshape(count, -1, self.classes) if self.classes else leaves[k] for k in self.slopes]
        coef = np.concatenate(slopes, axis=1)
        eta = np.einsum("nd,pd...->pn...", self.x, coef)
        for k, leaf in enumerate(leaves):
            if k not in self.slopes:
                eta = eta + leaf[:, None]
        return eta

    def design(self) -> Array:
        """Columns of the predictor for the coordinates, in tree order; a column of ones for an intercept."""
        columns = iter(np.split(self.x, np.cumsum([self.shapes[k][0] for k in self.slopes])[:-1], axis=1))
        ones = np.ones((len(self.x), 1))
        return np.concatenate([next(columns) if k in self.slopes else ones for k in range(len(self.shapes))], axis=1)

    def probes(self, centers: Sequence[Array], count: int, spread: float) -> tuple[list[Array], Array]:
        """Probes around the centers and around 0, of all sizes and both signs; and the size of each."""
        generator = np.random.default_rng(0)
        unit = unit_of(self.x)
        units = iter(np.split(unit, np.cumsum([self.shapes[k][0] for k in self.slopes])[:-1]))
        scales = []
        for k, shape in enumerate(self.shapes):
            own = next(units) if k in self.slopes else np.ones(())
            scales.append(own.reshape((-1,) + (1,) * (len(shape) - 1)) if k in self.slopes else own)
        sizes = np.array([SIZES[k % len(SIZES)] * (spread if (k // len(SIZES)) % 2 else 1.0) for k in range(count)])
        around = (np.arange(count) // (2 * len(SIZES))) % 2
        found = []
        for center, scale in zip(centers, scales, strict=True):
            noise = generator.normal(size=(count, *center.shape))
            shape = (count,) + (1,) * center.ndim
            found.append(around.reshape(shape) * center[None] + sizes.reshape(shape) * scale * noise)
        return found, sizes


def layout_of(params: Any, free: Sequence[int], data: tuple[Any, ...]) -> Layout:
    """Roles of leaves and data arguments.

    Raises:
        ValueError: shapes that make no linear predictor; what came and what was wanted.
    """
    shapes_of_data = [tuple(np.shape(leaf) for leaf in jax.tree.leaves(d)) for d in data]
    pair = len(data) >= 2 and isinstance(data[-1], tuple | list) and len(data[-1]) == 2
    x = np.asarray(data[0], float) if data and np.ndim(data[0]) == 2 else None
    vectors = [np.asarray(v, float) for d in data[1:] for v in (d if isinstance(d, tuple | list) else (d,))]
    if x is None or len(data) not in (2, 3) or any(v.shape != (len(x),) for v in vectors) or (pair and len(data) == 3):
        raise ValueError(
            "explain wants features of shape (n, d) and a target of shape (n,) for a bare function (or a pair "
            "(successes, trials), or an offset or numbers of trials of shape (n,) between them); the data have shapes "
            f"{shapes_of_data}."
        )
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    leaves = [np.asarray(paths[k][1], float) for k in free]
    names, shapes = tuple(path_name(paths[k][0]) for k in free), tuple(leaf.shape for leaf in leaves)
    d = x.shape[1]
    matrices = [k for k, s in enumerate(shapes) if len(s) == 2 and s[0] == d]
    vectors_of = [k for k, s in enumerate(shapes) if len(s) == 1]
    classes = shapes[matrices[0]][1] if len(matrices) == 1 else 0
    slopes = tuple(matrices) if classes else tuple(vectors_of)
    rest = [s for k, s in enumerate(shapes) if k not in slopes]
    wanted: tuple[int, ...] = (classes,) if classes else ()
    if sum(shapes[k][0] for k in slopes) != d or any(s not in (wanted, ()) for s in rest):
        raise ValueError(
            f"explain wants one leaf of shape {(d,)}, one coefficient for each feature (or several vectors that have "
            f"{d} entries together, or one matrix ({d}, k)), and scalars; the parameters have shapes {list(shapes)}."
        )
    y = tuple(vectors[-2:]) if pair else vectors[-1]
    return Layout(x, y, vectors[0] if len(data) == 3 else None, names, shapes, slopes, classes)
