"""Compilation of programs that run for a short time."""

import functools
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax

__all__ = ["quick_jit"]

F = TypeVar("F", bound=Callable[..., Any])

PARTS = max(2, min(32, 2 * (os.cpu_count() or 1)))
"""Parts of a program that are compiled side by side; each has a cost of its own, so with few cores there are few."""

THOROUGH: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": PARTS}
"""The older code generator of XLA's CPU compiler: half the compile time for programs of many small operations."""

QUICK = THOROUGH | {"xla_backend_optimization_level": 1}
"""Besides, the first level of LLVM: a tenth to a third of that time less, for loops over vectors as fast as before."""

SMALL = QUICK | {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
"""Besides, code that is not optimised: a third of that time again, for loops that take twice as long."""

SMALL_BYTES = 1 << 16
"""Size of all arguments up to which the loops are so short that the time to compile them is what counts."""

SMALL_WORK = 1 << 20
"""The same for their size times the number of coordinates, where a Hessian in these is formed again and again."""


def quick_jit(
    *, small: bool = False, scalars: bool = False, coordinates: Callable[..., Any] | None = None, **options: Any
) -> Callable[[F], F]:
    """As ``jax.jit``, but for the outermost function of a short computation: on a CPU it compiles in half the time.

    A compiler that does not know the options compiles as usual.

    Args:
        small: whether calls with small arguments, by their size, run code that is not optimised.
        scalars: whether the time goes into loops over scalars, such as coordinate descent, which optimisation helps.
        coordinates: of the arguments, what Hessians are formed in, a tree; many of them make small arguments large.
        options: of ``jax.jit``.
    """

    def decorate(fn: F) -> F:
        usual = jax.jit(fn, **options)
        quick = jax.jit(fn, compiler_options=THOROUGH if scalars else QUICK, **options)
        smallest = jax.jit(fn, compiler_options=SMALL, **options) if small else quick
        known = [True]

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            if known[0] and jax.default_backend() == "cpu":
                try:
                    few = small and _is_small(args, kwargs, coordinates)
                    return (smallest if few else quick)(*args, **kwargs)
                except jax.errors.JaxRuntimeError as error:
                    if "option" not in str(error):
                        raise
                    known[0] = False
            return usual(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def _is_small(args: Any, kwargs: Any, coordinates: Callable[..., Any] | None) -> bool:
    """Whether a call is so short that its program need not be optimised."""
    size = _size(args, kwargs)
    if size > SMALL_BYTES or coordinates is None:
        return size <= SMALL_BYTES
    return size * sum(math.prod(v.shape) for v in jax.tree.leaves(coordinates(*args, **kwargs))) <= SMALL_WORK


def _size(*trees: Any) -> int:
    """Bytes of all arrays."""
    return sum(math.prod(v.shape) * v.dtype.itemsize for v in jax.tree.leaves(trees) if hasattr(v, "dtype"))
