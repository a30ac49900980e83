r"""Linear predictors inside a plain log-likelihood, found by reading its jaxpr.

A log-likelihood :math:`\ell(u) \in R^n` has *row structure* when

.. math:: \ell_i(u) = r_i(x_{1i}^\top B_1, \ldots, x_{mi}^\top B_m;\ v)

with designs :math:`X_1, \ldots, X_m` that do not depend on the parameters, coefficients :math:`B_j` that are leaves of
:math:`u` used nowhere else, and :math:`v` the other leaves. Gradients and Hessians then cost one matrix product and
derivatives of a function of a few numbers a row (see :mod:`lossgeo.structure.derivatives`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from lossgeo import numerics
from lossgeo.structure.recognition import softplus_operand
from lossgeo.structure.rows import Axis, NotAligned, aligned_axes
from lossgeo.structure.sharing import share

__all__ = ["LinearPredictor", "RowStructure", "discover"]

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr"}
"""Calls that are read as if written out."""

DERIVATIVE_RULES = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Calls that are analysed, and evaluated whole so that their own derivative holds."""

Key = tuple[int, ...]
"""An equation, by its position in each of the nested calls that lead to it."""


class LinearPredictor(NamedTuple):
    """A product of a design matrix with a leaf of the parameters.

    Args:
        leaf: index of the leaf.
        num_rows: rows of the design.
        shape: ``(d, k)``; ``k`` is 1 for a vector of coefficients.
        source: where the design comes from, in words.
    """

    leaf: int
    num_rows: int
    shape: tuple[int, int]
    source: str


class Place(NamedTuple):
    """A value inside a function: an output of one of its equations."""

    equation: Key
    output: int


class _Product(NamedTuple):
    """How a linear predictor is written: which operand is the leaf, and which axes are contracted."""

    leaf: int
    side: int
    leaf_axis: int
    design_axis: int


class RowStructure:
    """A log-likelihood taken apart into its linear predictors and the rest; made by :func:`discover`.

    Holds jaxprs of one trace and lives inside it: ``closed`` is that of ``log_likelihood`` and ``products`` are its
    equations that are linear predictors.
    """

    def __init__(
        self,
        log_likelihood: Callable[[list[Any], Any], Any],
        closed: Any,
        products: dict[Key, _Product],
        predictors: tuple[LinearPredictor, ...],
    ):
        """Keep the jaxpr and the equations that are linear predictors, and find those that have cheaper derivatives."""
        self.log_likelihood, self.closed, self.products = log_likelihood, closed, products
        self.predictors = predictors
        self._softplus = dict(_softplus_equations(closed.jaxpr, ()))

    def designs(self, leaves: Sequence[Any], args: Any) -> list[jax.Array]:
        """Design matrices, each of shape ``(n, d)``, in the order of ``predictors``."""
        found: dict[int, jax.Array] = {}

        def product(spec: _Product, operands: Sequence[Any]) -> jax.Array:
            design = operands[1 - spec.side]
            found[spec.leaf] = design.T if spec.design_axis == 0 else design
            leaf = operands[spec.side]
            return _place(spec, found[spec.leaf] @ (leaf if spec.leaf_axis == 0 else leaf.T))

        self._evaluate(leaves, args, product)
        return [found[p.leaf] for p in self.predictors]

    def positions(self, index: int) -> np.ndarray:
        """Place of each coefficient of predictor ``index`` within its ravelled leaf, shape ``(d, k)``."""
        predictor = self.predictors[index]
        d, k = predictor.shape
        spec = next(s for s in self.products.values() if s.leaf == predictor.leaf)
        order = np.arange(d * k)
        return order.reshape(d, k) if spec.leaf_axis == 0 else order.reshape(k, d).T

    def rest(
        self,
        etas: Sequence[jax.Array],
        leaves: Sequence[Any],
        args: Any,
        change: tuple[Place, Callable[[jax.Array], jax.Array]] | None = None,
    ) -> jax.Array:
        """Log-densities, shape ``(n,)``, as a function of the linear predictors (``(n, k)`` each) and other leaves.

        ``change`` is a place and what is done to the value there before it is used.
        """
        given = {p.leaf: eta for p, eta in zip(self.predictors, etas, strict=True)}

        def product(spec: _Product, operands: Sequence[Any]) -> jax.Array:
            eta = given[spec.leaf]
            return _place(spec, eta[:, 0] if operands[spec.side].ndim == 1 else eta)

        return self._evaluate(leaves, args, product, change)

    def meeting_place(self, leaves: Sequence[int]) -> Place | None:
        """The first value, one number a row, through which alone ``leaves`` act; some are in linear predictors."""
        products = {key for key, spec in self.products.items() if spec.leaf in leaves}
        used = {self.products[key].leaf for key in products}
        jaxpr = self.closed.jaxpr
        mixed = {jaxpr.invars[i] for i in leaves if i not in used}
        return _meet(jaxpr, (), products, mixed, jaxpr.outvars[0].aval.size)

    def place_of(self, index: int) -> Place:
        """Where predictor ``index`` is."""
        leaf = self.predictors[index].leaf
        return Place(next(key for key, spec in self.products.items() if spec.leaf == leaf), 0)

    def _evaluate(
        self,
        leaves: Sequence[Any],
        args: Any,
        product: Callable[[_Product, Sequence[Any]], Any],
        change: tuple[Place, Callable[[jax.Array], jax.Array]] | None = None,
    ) -> Any:
        inputs = [jnp.asarray(v) for v in (*leaves, *jax.tree.leaves(args))]
        return self._run(self.closed.jaxpr, self.closed.consts, inputs, (), product, change)[0]

    def _run(
        self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], key: Key, product: Any, change: Any
    ) -> list[Any]:
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))
        for index, equation in live_equations(jaxpr):
            here = (*key, index)
            operands = [v.val if isinstance(v, Literal) else values[v] for v in equation.invars]
            if here in self.products:
                results = [product(self.products[here], operands)]
            elif here in self._softplus:
                results = [numerics.softplus(operands[self._softplus[here]])]
            elif _contains(self.products, here) or _contains(self._softplus, here):
                inner = inner_jaxpr(equation, CALLS)
                results = self._run(inner.jaxpr, inner.consts, operands, here, product, change)
            else:
                results = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
                results = results if equation.primitive.multiple_results else [results]
            if change is not None and change[0].equation == here:
                results = list(results)
                results[change[0].output] = change[1](results[change[0].output])
            values.update(zip(equation.outvars, results, strict=True))
        return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]

    def describe(self, names: Sequence[str]) -> str:
        """What was found, in words; ``names`` are those of the leaves."""
        parts = [f"{names[p.leaf]!r} over {p.source}, {p.num_rows} x {p.shape[0]}" for p in self.predictors]
        return f"linear predictor{'s' if len(parts) > 1 else ''} in {', '.join(parts)}; rows independent"


def discover(log_likelihood: Callable[[list[Any], Any], Any], leaves: list[Any], args: Any) -> RowStructure | None:
    """Find the row structure of a log-likelihood.

    Nothing is evaluated and nothing is guessed: that a leaf is used in one product with a design free of parameters,
    and that no operation after it mixes rows, is proved from the jaxpr by the rules of :mod:`lossgeo.structure.rows`
    (which take a ``custom_jvp`` or ``custom_vjp`` rule to be the derivative of its function). Whatever they do not
    cover, a loop, a branch or an index that depends on a linear predictor, makes the function opaque.

    Args:
        log_likelihood: ``(leaves, args) -> (n,)``.
        leaves: parameters, a list of arrays (or their shapes).
        args: data and everything else, a tree of arrays.

    Returns:
        The structure, or ``None`` where there is none.
    """
    closed = share(jax.make_jaxpr(log_likelihood)(leaves, args))
    output = closed.jaxpr.outvars[0].aval
    if len(closed.jaxpr.outvars) != 1 or output.ndim != 1:
        return None
    data = [jax.tree_util.keystr(path).lstrip(".") for path, _ in jax.tree_util.tree_flatten_with_path(args)[0]]
    products = _Candidates(closed, len(leaves)).products
    products = {key: p for key, p in products.items() if p.design_rows == output.shape[0]}
    if not products:
        return None
    specs = {key: p.spec for key, p in products.items()}
    try:
        axes = _align(closed.jaxpr, [None] * len(closed.jaxpr.invars), (), specs)
    except NotAligned:
        return None
    if axes != [0]:
        return None
    predictors = tuple(
        LinearPredictor(
            p.spec.leaf,
            p.design_rows,
            p.shape,
            "features computed from the data" if p.source is None else data[p.source - len(leaves)],
        )
        for p in sorted(products.values(), key=lambda p: p.spec.leaf)
    )
    return RowStructure(log_likelihood, closed, specs, predictors)


def _place(spec: _Product, eta: jax.Array) -> jax.Array:
    """A linear predictor in the order of axes that its product had: that of the leaf first, if it stood first."""
    return eta.T if eta.ndim == 2 and spec.side == 0 else eta


def inner_jaxpr(equation: Any, kinds: dict[str, str]) -> Any:
    """The jaxpr of a call, or ``None``."""
    name = kinds.get(equation.primitive.name)
    jaxpr = None if name is None else equation.params[name]
    return jaxpr if jaxpr is None or isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


class _Candidate(NamedTuple):
    spec: _Product
    design_rows: int
    shape: tuple[int, int]
    source: int | None


class _Candidates:
    """Products of an untouched leaf with something free of parameters, the leaf's only use."""

    def __init__(self, closed: Any, num_leaves: int):
        """Read the jaxpr once."""
        self._uses: dict[Any, int] = dict.fromkeys(range(num_leaves), 0)
        self._found: dict[Key, _Candidate] = {}
        origins: list[tuple[str, Any]] = [("leaf", i) for i in range(num_leaves)]
        origins += [("data", i) for i in range(num_leaves, len(closed.jaxpr.invars))]
        for kind, index in self._read(closed.jaxpr, origins, ()):
            if kind == "leaf":
                self._uses[index] += 1
        self.products = {k: c for k, c in self._found.items() if self._uses[c.spec.leaf] == 1}

    def _read(self, jaxpr: Any, inputs: Sequence[Any], key: Key) -> list[Any]:
        """Origin of each output: an untouched leaf, data (an untouched input or computed), or mixed with parameters."""
        origin: dict[Any, Any] = dict.fromkeys(jaxpr.constvars, ("data", None))
        origin.update(zip(jaxpr.invars, inputs, strict=True))
        for index, equation in live_equations(jaxpr):
            here = (*key, index)
            operands = [("data", None) if isinstance(v, Literal) else origin[v] for v in equation.invars]
            inner = inner_jaxpr(equation, CALLS)
            outputs: list[Any]
            if inner is not None:
                outputs = self._read(inner.jaxpr, operands, here)
            elif _is_identity(equation):
                outputs = operands
            else:
                for kind, leaf in operands:
                    if kind == "leaf":
                        self._uses[leaf] += 1
                free = all(kind == "data" for kind, _ in operands)
                outputs = [("data" if free else "mixed", None)] * len(equation.outvars)
                if equation.primitive.name == "dot_general":
                    self._consider(here, equation, operands)
            origin.update(zip(equation.outvars, outputs, strict=True))
        return [("data", None) if isinstance(v, Literal) else origin[v] for v in jaxpr.outvars]

    def _consider(self, here: Key, equation: Any, operands: Sequence[Any]) -> None:
        contracting, batch = equation.params["dimension_numbers"]
        kinds = [kind for kind, _ in operands]
        if sorted(kinds) != ["data", "leaf"] or any(batch) or len(contracting[0]) != 1:
            return
        side = kinds.index("leaf")
        leaf, design = (equation.invars[s].aval for s in (side, 1 - side))
        if design.ndim != 2 or leaf.ndim not in (1, 2) or equation.outvars[0].aval.dtype != leaf.dtype:
            return
        leaf_axis, design_axis = contracting[side][0], contracting[1 - side][0]
        spec = _Product(operands[side][1], side, leaf_axis, design_axis)
        columns = 1 if leaf.ndim == 1 else leaf.shape[1 - leaf_axis]
        source = operands[1 - side][1] if design_axis == 1 else None
        self._found[here] = _Candidate(spec, design.shape[1 - design_axis], (leaf.shape[leaf_axis], columns), source)


def _align(jaxpr: Any, inputs: Sequence[Axis], key: Key, products: dict[Key, _Product]) -> list[Axis]:
    """Aligned axis of each output."""
    axes: dict[Any, Axis] = dict.fromkeys(jaxpr.constvars) | dict(zip(jaxpr.invars, inputs, strict=True))
    for index, equation in live_equations(jaxpr):
        here = (*key, index)
        operands = [None if isinstance(v, Literal) else axes[v] for v in equation.invars]
        inner = inner_jaxpr(equation, CALLS | DERIVATIVE_RULES)
        if here in products:
            results: list[Axis] = [1 if products[here].side == 0 and equation.outvars[0].aval.ndim == 2 else 0]
        elif inner is not None and (any(a is not None for a in operands) or _contains(products, here)):
            results = _align(inner.jaxpr, operands, here, products)
        elif all(a is None for a in operands):
            results = [None] * len(equation.outvars)
        else:
            results = aligned_axes(equation, operands)
        axes.update(zip(equation.outvars, results, strict=True))
    return [None if isinstance(v, Literal) else axes[v] for v in jaxpr.outvars]


def _meet(jaxpr: Any, key: Key, products: set[Key], mixed: set[Any], size: int) -> Place | None:
    """The first value of a size through which alone the inputs ``mixed`` and all ``products``, all inside, act."""
    live, mixed, seen = live_equations(jaxpr), set(mixed), 0
    last = {v: order for order, (_, e) in enumerate(live) for v in e.invars if not isinstance(v, Literal)}
    last |= {v: len(live) for v in jaxpr.outvars if not isinstance(v, Literal)}
    for order, (index, equation) in enumerate(live):
        here = (*key, index)
        inside = {k for k in products if k[: len(here)] == here}
        operands = [not isinstance(v, Literal) and v in mixed for v in equation.invars]
        if not inside and not any(operands):
            continue
        inner = None if here in inside else inner_jaxpr(equation, CALLS)
        if inner is not None and inside == products and not any(last.get(v, -1) > order for v in mixed):
            entering = {v for v, is_mixed in zip(inner.jaxpr.invars, operands, strict=True) if is_mixed}
            found = _meet(inner.jaxpr, here, products, entering, size)
            if found is not None:
                return found
        seen += len(inside)
        mixed.update(equation.outvars)
        front = [v for v in mixed if last.get(v, -1) > order]
        if seen == len(products) and len(front) == 1 and front[0].aval.size == size and front[0] in equation.outvars:
            return Place(here, equation.outvars.index(front[0]))
    return None


def live_equations(jaxpr: Any) -> list[tuple[int, Any]]:
    """Equations on which an output depends, each with its position."""
    needed = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    live = []
    for index, equation in reversed(list(enumerate(jaxpr.eqns))):
        if needed.intersection(equation.outvars):
            needed.update(v for v in equation.invars if not isinstance(v, Literal))
            live.append((index, equation))
    return live[::-1]


def _is_identity(equation: Any) -> bool:
    """Whether an equation only makes a weakly typed value a strong one, or another shape of the same order."""
    if equation.primitive.name == "reshape":
        return equation.params["dimensions"] is None
    same = equation.invars[0].aval.dtype == equation.outvars[0].aval.dtype if equation.invars else False
    return equation.primitive.name == "convert_element_type" and same


def _contains(found: dict[Key, Any], here: Key) -> bool:
    return any(k[: len(here)] == here for k in found)


def _softplus_equations(jaxpr: Any, key: Key) -> Iterator[tuple[Key, int]]:
    """Equations that are :func:`lossgeo.numerics.softplus` of one operand, each with the place of that."""
    for index, equation in live_equations(jaxpr):
        here = (*key, index)
        inner = inner_jaxpr(equation, CALLS)
        operand = softplus_operand(equation)
        if inner is not None:
            yield from _softplus_equations(inner.jaxpr, here)
        elif operand is not None:
            yield here, operand
