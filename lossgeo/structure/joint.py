r"""Parameters that act through one sum: several linear predictors, and whatever else is added to them.

Leaves :math:`b_1, \ldots, b_m` of a log-likelihood with row structure have a *joint predictor* when

.. math:: \ell_i(u) = r_i\bigl(x_i^\top (b_1, \ldots, b_m) + o_i(v);\ v\bigr)

as in ``x @ a + z @ b + c``, ``x @ a + t * (z @ b)``, ``sum(x @ a * z, axis=1)`` or ``x @ a + effect[group]``. Its
design has the columns of all of them, side by side.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo.structure.dependence import depends_on
from lossgeo.structure.discovery import Place, RowStructure
from lossgeo.structure.linearity import is_affine

__all__ = ["JointPredictor", "joint_predictor"]


class JointPredictor:
    """A joint predictor of some leaves; made by :func:`joint_predictor`, lives inside the trace of its structure."""

    def __init__(self, structure: RowStructure, leaves: tuple[int, ...], place: Place):
        """Remember where it is."""
        self._structure, self.leaves, self._place = structure, leaves, place
        self._index = {p.leaf: j for j, p in enumerate(structure.predictors) if p.leaf in leaves}

    def design(self, u: Sequence[jax.Array], args: Any) -> jax.Array:
        """Columns of all leaves in their order, each as it is ravelled, shape ``(n, d)``."""
        designs = self._structure.designs(u, args)
        if self._is_product:
            return designs[self._index[self.leaves[0]]]
        slopes, of_others = self.slopes(self._zeros(u), u, args)
        columns = {leaf: c.reshape(c.shape[0], -1) for leaf, c in of_others.items()}
        for leaf, j in self._index.items():
            each = designs[j][:, :, None] * slopes[leaf][:, None, :]
            order = np.argsort(self._structure.positions(j).ravel())
            each = each.reshape(each.shape[0], -1)
            columns[leaf] = each if np.all(np.diff(order) == 1) else each[:, order]
        return jnp.concatenate([columns[leaf] for leaf in self.leaves], axis=1)

    def rest(self, eta: jax.Array, u: Sequence[jax.Array], args: Any) -> jax.Array:
        """Log-densities, shape ``(n,)``, as a function of the joint predictor and of the other leaves in ``u``."""
        u = [jnp.zeros_like(w) if i in self.leaves and i not in self._index else w for i, w in enumerate(u)]
        etas = self._etas(self._zeros(u), u, args)
        add = self._place, lambda value: value + eta.reshape(value.shape).astype(value.dtype)
        return self._structure.rest(etas, u, args, add)

    def slopes(
        self, etas: dict[int, jax.Array], u: Sequence[jax.Array], args: Any
    ) -> tuple[dict[int, jax.Array], dict[int, jax.Array]]:
        """Slopes of the sum, by leaf: in each linear predictor, shape ``(n, k)``, and in leaves that are in none.

        ``etas`` are the linear predictors of its leaves, on which slopes of a sum do not depend.
        """
        others = {i: u[i] for i in self.leaves if i not in self._index}
        value, pull = jax.vjp(lambda etas: self._value(etas, others, u, args), etas)
        of_others = jax.jacfwd(lambda others: self._value(etas, others, u, args))(others) if others else {}
        return pull(jnp.ones_like(value))[0], of_others

    @property
    def _is_product(self) -> bool:
        """Whether it is one linear predictor of one column, as it is."""
        return len(self.leaves) == len(self._index) == 1 and self._place == self._structure.place_of(
            self._index[self.leaves[0]]
        )

    def _zeros(self, u: Sequence[jax.Array]) -> dict[int, jax.Array]:
        shapes = {leaf: self._structure.predictors[j] for leaf, j in self._index.items()}
        return {leaf: jnp.zeros((p.num_rows, p.shape[1]), u[leaf].dtype) for leaf, p in shapes.items()}

    def _etas(self, own: dict[int, jax.Array], u: Sequence[jax.Array], args: Any) -> list[jax.Array]:
        """All linear predictors, ``own`` for those of its leaves."""
        structure = self._structure
        return [
            own[p.leaf]
            if p.leaf in own
            else design @ u[p.leaf].reshape(-1)[structure.positions(j).ravel()].reshape(p.shape)
            for j, (design, p) in enumerate(zip(structure.designs(u, args), structure.predictors, strict=True))
        ]

    def _value(
        self, etas: dict[int, jax.Array], others: dict[int, jax.Array], u: Sequence[jax.Array], args: Any
    ) -> jax.Array:
        """The joint predictor, with all that is added to it; ``others`` are its leaves in no linear predictor."""
        found, u = [], [others.get(i, w) for i, w in enumerate(u)]

        def keep(value: jax.Array) -> jax.Array:
            found.append(value)
            return value

        self._structure.rest(self._etas(etas, u, args), u, args, (self._place, keep))
        return found[0].reshape(-1)


def joint_predictor(
    structure: RowStructure, leaves: tuple[int, ...], u: Sequence[jax.Array], args: Any
) -> JointPredictor | None:
    """The joint predictor of ``leaves``, some of which are in linear predictors, or ``None`` if they have none.

    That they act through one value is read off the jaxpr; so is that this value is affine in them, with slopes that
    depend on no parameter.
    """
    predictors = {p.leaf: j for j, p in enumerate(structure.predictors) if p.leaf in leaves}
    if not predictors:
        return None
    if len(leaves) == 1 and structure.predictors[predictors[leaves[0]]].shape[1] == 1:
        return JointPredictor(structure, leaves, structure.place_of(predictors[leaves[0]]))
    place = structure.meeting_place(leaves)
    if place is None:
        return None
    found = JointPredictor(structure, leaves, place)
    etas, others = found._zeros(u), {i: u[i] for i in leaves if i not in predictors}
    value = jax.eval_shape(lambda: found._value(etas, others, u, args))
    is_column = value.shape == (structure.predictors[0].num_rows,) and jnp.issubdtype(value.dtype, jnp.floating)
    if not is_column or not all(is_affine(lambda z: found._value(z[0], z[1], u, args), (etas, others))):
        return None
    moving = depends_on(lambda z: found.slopes(z[0], z[1], args), (etas, list(u)))
    return None if any(moving) else found
