"""Immutable records that are JAX pytrees, and prefix matching of one tree against another.

Every record of the package (distributions, supports, objectives, solutions) is a frozen dataclass whose
array fields are leaves, in declaration order, and whose functions, integers and names are static. Records
compare by identity: equality of arrays is ambiguous. Nothing is validated on construction, because JAX rebuilds
records with tracers, ``None`` and sentinels in place of their arrays.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**kwargs: Any) -> Any:
    """Declare a field that is part of the tree's structure and not a leaf (hashable, compared by ``==``)."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
def pytree(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass and register it as a pytree.

    The class is part of the structure by its own account: ``jax.tree_util.register_dataclass`` makes structures of
    different classes with fields of the same names compare equal (they only *hash* differently), so that a compiled
    function may, by accident of its cache, answer for the wrong class.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    meta = tuple(f.name for f in fields if f.metadata.get("static"))
    data = tuple(f.name for f in fields if not f.metadata.get("static"))
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in data)

    def flatten(record: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple([getattr(record, name) for name in data]), (cls, *[getattr(record, name) for name in meta])

    def flatten_with_keys(record: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children, structure = flatten(record)
        return tuple(zip(keys, children, strict=True)), structure

    def unflatten(structure: tuple[Any, ...], children: Any) -> Any:
        record = object.__new__(cls)
        for name, value in zip(meta, structure[1:], strict=True):
            object.__setattr__(record, name, value)
        for name, value in zip(data, children, strict=True):
            object.__setattr__(record, name, value)
        return record

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


@pytree
class Remainder:
    """What a tree has besides the leaves of another one; see :func:`without`."""

    leaves: list[Any]
    places: tuple[int, ...] = static()
    structure: Any = static()

    def joined_with(self, given: Any) -> Any:
        """The tree that this remains of, with the leaves of a tree like ``given``."""
        known, own = jax.tree.leaves(given), iter(self.leaves)
        return jax.tree.unflatten(self.structure, [next(own) if i < 0 else known[i] for i in self.places])


def without(tree: Any, given: Any) -> Remainder:
    """A tree but for the leaves that are, as objects, leaves of ``given``.

    What a compiled function returns is a copy even where it is one of the arguments: a record of large data that comes
    out of one does so without them, and is joined with those of the caller.
    """
    places = {id(leaf): index for index, leaf in enumerate(jax.tree.leaves(given))}
    leaves, structure = jax.tree.flatten(tree)
    found = tuple(places.get(id(leaf), -1) for leaf in leaves)
    return Remainder([leaf for leaf, i in zip(leaves, found, strict=True) if i < 0], found, structure)


@pytree
class Function:
    """A plain Python function as a pytree without leaves, so that it may sit inside other records.

    Its identity is the function's: a module-level function is traced once, a fresh lambda each time it is made.
    """

    fn: Callable[..., Any] = static()

    def __call__(self, *args: Any) -> Any:
        return self.fn(*args)


def as_function(fn: Callable[..., Any]) -> Any:
    """Wrap a callable unless it already is a pytree (whose leaves must stay visible to transformations)."""
    return Function(fn) if is_tree_leaf(fn) else fn


def is_tree_leaf(value: Any) -> bool:
    """Whether JAX sees ``value`` as a leaf: an array, or an object that is not registered as a pytree."""
    return jax.tree_util.all_leaves([value])


def path_name(path: tuple[Any, ...]) -> str:
    """Name of a leaf as a user writes it: ``coef``, ``layers.0.weight``; empty for a bare array."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def broadcast_prefix(
    prefix: Any, tree: Any, is_leaf: Callable[[Any], bool], *, what: str, default: Any = None, complete: bool = True
) -> list[Any]:
    """Entries of ``prefix`` repeated for each leaf of ``tree`` below them, aligned with ``jax.tree.leaves(tree)``.

    Args:
        prefix: a tree whose leaves (by ``is_leaf``) stand for whole subtrees of ``tree``; ``None`` stands for
            ``default``.
        tree: the tree of parameters.
        is_leaf: tells an entry of the prefix from a container of entries.
        what: the name of the prefix in error messages.
        default: value for leaves of ``tree`` that no entry covers.
        complete: whether a leaf of ``tree`` that no entry covers is an error.

    Raises:
        ValueError: an entry matches nothing, or a leaf is not covered; both are named.
    """
    entries, _ = jax.tree_util.tree_flatten_with_path(prefix, is_leaf=lambda v: v is None or is_leaf(v))
    leaves = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    names = ", ".join(repr(path_name(path)) for path in leaves) or "none"
    used = set()
    matched = []
    for leaf in leaves:
        found = default
        covered = False
        for index, (path, entry) in enumerate(entries):
            if leaf[: len(path)] == path:
                used.add(index)
                covered = True
                found = default if entry is None else entry
        if complete and not covered:
            known = ", ".join(repr(path_name(path)) for path, _ in entries) or "none"
            raise ValueError(
                f"{what} has no entry for parameter {path_name(leaf)!r}. The parameters are {names}; {what} has "
                f"entries for {known}. Add an entry (distributions.Flat() for none) or give the parameter another "
                "name."
            )
        matched.append(found)
    for index, (path, entry) in enumerate(entries):
        if index not in used and entry is not None:
            raise ValueError(
                f"{what} has an entry {path_name(path)!r} that matches no parameter. The parameters are {names}. "
                "Remove the entry or add the parameter to init_params."
            )
    return matched
