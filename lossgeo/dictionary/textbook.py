"""The textbook problem as an objective of its own, to be planned and solved."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import pytree, static
from lossgeo.dictionary.atoms import Atom
from lossgeo.dictionary.numeric import Found
from lossgeo.distributions import Distribution, Kink
from lossgeo.likelihoods import FunctionLikelihood
from lossgeo.objective import Objective
from lossgeo.planning import plan_for
from lossgeo.posing import as_problem, pose
from lossgeo.priors import prior

__all__ = ["Penalty", "coefficients", "data_of", "is_solvable", "textbook", "textbook_plan"]


@pytree
class Penalty(Distribution):
    r"""The unnormalized prior :math:`\exp(-\tfrac12 p\,w^2 - q|w|)`; coefficients of 0 are allowed.

    Args:
        l2: :math:`p \ge 0`, of the shape of the parameter.
        l1: :math:`q \ge 0`, same shape.
    """

    l2: ArrayLike
    l1: ArrayLike

    @property
    def support(self) -> supports.Support:
        """The real line."""
        return supports.real

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """Minus the penalty of each coordinate, without a normalizer."""
        y = jnp.asarray(y)
        return -0.5 * jnp.asarray(self.l2) * y * y - self.l1 * y * jnp.sign(y)

    @property
    def kink(self) -> Kink | None:
        """At 0, of strength ``l1``."""
        return Kink(center=jnp.zeros_like(jnp.asarray(self.l1)), strength=self.l1)


@pytree
class Smooth(Penalty):
    """A penalty whose ``l1`` is 0 everywhere: without a kink."""

    def log_prob(self, y: ArrayLike) -> jax.Array:
        """See :meth:`Penalty.log_prob`."""
        y = jnp.asarray(y)
        return -0.5 * jnp.asarray(self.l2) * y * y

    @property
    def kink(self) -> None:
        """None."""
        return None


@pytree
class Term:
    """Minus the weighted data term of each row, as a function of one vector of coefficients."""

    weights: jax.Array
    shape: jax.Array
    atom: Atom = static()
    classes: int = static()
    baseline: int | None = static()

    def __call__(self, params: Any, design: jax.Array, offset: jax.Array, y: Any) -> jax.Array:
        """Terms of shape ``(n,)``; ``params["beta"]`` has an entry (or a row of ``classes``) for each column."""
        eta = design @ params["beta"]
        if self.classes and self.baseline is not None:
            zero = jnp.zeros_like(eta[:, :1])
            eta = jnp.concatenate([eta[:, : self.baseline], zero, eta[:, self.baseline :]], axis=1)
        elif not self.classes:
            eta = eta + offset
        columns = self.atom.columns(jnp, eta, y, self.shape)
        return -sum(self.weights[k] * column for k, column in enumerate(columns))


def textbook(found: Found, l2: np.ndarray, l1: np.ndarray) -> Objective:
    """The decomposition with given penalties of the coordinates, in the order of the design."""
    term = Term(
        jnp.asarray(found.fitted.weights), jnp.asarray(found.fitted.shape), found.atom, found.layout.classes,
        found.baseline,
    )  # fmt: skip
    law = Penalty(jnp.asarray(l2), jnp.asarray(l1)) if np.any(l1) else Smooth(jnp.asarray(l2), jnp.asarray(l1))
    return Objective(FunctionLikelihood(term, is_density=False), prior({"beta": law}))


def data_of(found: Found) -> tuple[Any, ...]:
    """Design, offset and target of the textbook problem."""
    layout = found.layout
    y: Any = layout.y
    if found.atom.kind == "Binomial" and not isinstance(y, tuple):
        y = (y, layout.extra)
    offset = np.zeros(len(layout.x)) if found.offset is None else found.offset
    return jnp.asarray(layout.design()), jnp.asarray(offset), jax.tree.map(jnp.asarray, y)


def coefficients(found: Found, flat: np.ndarray) -> np.ndarray:
    """Numbers for the coordinates in the shape of ``beta``."""
    classes = found.layout.classes
    return flat.reshape(-1, classes) if classes else flat


def is_solvable(found: Found) -> str:
    """Why the textbook problem cannot be solved here; empty if it can."""
    if not found.atom.smooth:
        return "the loss has a kink"
    if np.any(found.fitted.group):
        return "the penalty is the norm of a group, which the dictionary does not solve in its textbook form"
    return ""


def textbook_plan(found: Found) -> str:
    """The solver that a fit of the textbook problem chooses, and why."""
    reason, fitted = is_solvable(found), found.fitted
    if reason:
        return f"not planned: {reason}"
    objective = textbook(found, coefficients(found, fitted.l2), coefficients(found, fitted.l1))
    params = {"beta": jnp.zeros(np.shape(coefficients(found, fitted.l2)))}
    return str(plan_for(as_problem(pose(objective, params, data_of(found), None)), "auto", host=True))
