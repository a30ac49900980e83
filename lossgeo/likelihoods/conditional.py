"""The conditional logistic likelihood: matched sets with an unspecified intercept each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lossgeo import supports
from lossgeo._pytree import as_function, pytree, static
from lossgeo.likelihoods.cox import coefficients
from lossgeo.likelihoods.declared import Likelihood
from lossgeo.likelihoods.ranks import log_symmetric, sort_cases

__all__ = ["ConditionalLogit", "conditional_logit"]


@pytree
class ConditionalLogit(Likelihood):
    """The conditional logistic likelihood; see :func:`conditional_logit`."""

    predictor: Any
    groups: jax.Array
    num_groups: int = static()
    max_cases: int = static()

    can_separate = True

    def log_likelihood(self, params: Any, *data: Any) -> jax.Array:
        """Log-probability of the labels of each group given their sum, shape ``(num_groups,)``."""
        *inputs, target = data
        labels, eta = jnp.asarray(target), jnp.asarray(self.predictor(params, *inputs))
        for name, shape in (("the target", labels.shape), ("the linear predictor", eta.shape)):
            if shape != self.groups.shape:
                raise ValueError(f"{name} has shape {shape}, but groups have {self.groups.shape}: one for each row.")
        order = sort_cases(jnp.zeros_like(eta), self.groups)
        eta, case = eta[order.permutation], labels[order.permutation] == 1
        cases = jax.ops.segment_sum(case.astype(int), order.tie, self.num_groups, indices_are_sorted=True)
        chosen = jax.ops.segment_sum(jnp.where(case, eta, 0), order.tie, self.num_groups, indices_are_sorted=True)
        opening = jnp.nonzero(order.opens, size=self.num_groups)[0]
        rows = log_symmetric(eta, order.opens, self.max_cases)[opening]
        ways = jnp.take_along_axis(rows, jnp.minimum(cases, self.max_cases)[:, None], axis=1)[:, 0]
        return jnp.where(cases <= self.max_cases, chosen - ways, jnp.nan)

    def target_support(self, params: Any, *data: Any) -> supports.Support:
        """See :meth:`Likelihood.target_support`."""
        return supports.boolean

    def init(self, x: Any, *rest: Any) -> dict[str, jax.Array]:
        """Start values of the default predictor: all zero.

        Raises:
            ValueError: there is another predictor.
        """
        if getattr(self.predictor, "fn", None) is not coefficients:
            return super().init(x, *rest)
        return {"coef": jnp.zeros(jnp.shape(x)[1], jnp.result_type(x, float))}


def conditional_logit(groups: ArrayLike, predictor: Any = None, *, max_cases: int | None = None) -> ConditionalLogit:
    r"""Conditional logistic likelihood: labels of matched sets, given how many are 1 in each.

    .. math::
        \ell(\beta) = \sum_g \Bigl[\sum_{i \in g} y_i\eta_i
        - \log\sum_{S \subseteq g,\,|S| = \sum_{i \in g} y_i} \exp\Bigl(\sum_{i \in S}\eta_i\Bigr)\Bigr]

    What is common to a group (an intercept of its own, matched confounders) cancels, so that many small groups do not
    bias the coefficients. A group all of whose labels agree says nothing and contributes 0. With one case to a group it
    is McFadden's choice model: a softmax over the rows of the group.

    Args:
        groups: integer ids of shape ``(n,)``, concrete; rows of a group need not be next to each other.
        predictor: ``(params, *inputs) -> eta`` of shape ``(n,)``; by default ``x @ params["coef"]``, without an
            intercept, which cancels.
        max_cases: static bound on the labels 1 in one group, by default the size of the largest group; the cost is
            ``n * max_cases``. A group with more gives NaN.

    Returns:
        A likelihood of labels 0 and 1, shape ``(n,)``, with one term for each group, in the order of their ids:
        groups are the independent observations, also of ``weights`` and of the sandwich.

    Raises:
        ValueError: ``groups`` is not a vector; at the first evaluation, another length.
        TypeError: ``groups`` are not integers.

    References: McFadden (1974), in Frontiers in Econometrics; Breslow and Day (1980), Statistical Methods in Cancer
    Research I, chapter 7; Gail, Lubin and Rubinstein (1981), Biometrika 68, for the recursion.
    """
    ids = np.asarray(groups)
    if ids.ndim != 1 or not ids.size:
        raise ValueError(f"groups must have shape (n,), one id for each row, but have shape {ids.shape}.")
    if ids.dtype.kind not in "biu":
        raise TypeError(
            f"groups must be integer ids, but have dtype {ids.dtype}. numpy.unique(groups, return_inverse=True)[1] "
            "makes them."
        )
    if max_cases is not None and max_cases < 1:
        raise ValueError(f"max_cases must be at least 1, but is {max_cases}.")
    _, ids, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    largest = int(sizes.max())
    bound = largest if max_cases is None else min(max_cases, largest)
    return ConditionalLogit(as_function(predictor or coefficients), jnp.asarray(ids), len(sizes), bound)
