"""Records are pytrees; a prefix meets a tree or says which entry does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import distributions as dist
from lossgeo._pytree import Function, as_function, broadcast_prefix, is_tree_leaf, path_name, pytree, static, without


@pytree
class Record:
    second: jax.Array
    first: jax.Array
    name: str = static(default="a")


def test_leaves_are_in_order_of_declaration_and_static_fields_are_structure():
    record = Record(jnp.asarray(1.0), jnp.asarray(2.0), "b")
    assert [float(v) for v in jax.tree.leaves(record)] == [1.0, 2.0]
    assert jax.tree.structure(record) != jax.tree.structure(Record(1.0, 2.0, "c"))
    assert jax.tree.structure(record) == jax.tree.structure(Record(5.0, 6.0, "b"))
    doubled = jax.vmap(lambda r: Record(2 * r.second, r.first, r.name))(Record(jnp.arange(3.0), jnp.ones(3)))
    np.testing.assert_array_equal(doubled.second, [0.0, 2.0, 4.0])
    assert jax.grad(lambda r: r.first**2)(record).first == 4.0


def test_records_are_frozen_and_compare_by_identity():
    record = Record(jnp.ones(2), jnp.ones(2))
    with pytest.raises(AttributeError):
        record.first = 0.0
    assert record != Record(jnp.ones(2), jnp.ones(2))
    assert record == record


def test_nothing_is_validated_on_construction():
    # JAX rebuilds records with sentinels in place of arrays.
    assert jax.tree.map(lambda _: None, Record(1.0, 2.0)).first is None


def test_a_function_is_a_leafless_tree_with_the_identity_of_the_function():
    def f(x):
        return x + 1

    assert jax.tree.leaves(Function(f)) == []
    assert jax.tree.structure(as_function(f)) == jax.tree.structure(as_function(f))
    assert jax.tree.structure(Function(f)) != jax.tree.structure(Function(lambda x: x))
    assert Function(f)(2) == 3
    callable_tree = jax.tree_util.Partial(f)
    assert as_function(callable_tree) is callable_tree
    assert is_tree_leaf(f) and is_tree_leaf(1.0) and not is_tree_leaf(callable_tree) and not is_tree_leaf((1.0,))


def test_leaves_are_named_as_a_user_writes_them():
    tree = {"coef": 0.0, "layers": [{"weight": 0.0}], "record": Record(0.0, 0.0)}
    names = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    assert names == ["coef", "layers.0.weight", "record.second", "record.first"]
    assert path_name(jax.tree_util.tree_flatten_with_path(1.0)[0][0][0]) == ""


PARAMS = {"coef": jnp.zeros(3), "layers": [{"w": 0.0, "b": 0.0}, {"w": 0.0, "b": 0.0}], "sigma": 1.0}


def match(prefix, tree=PARAMS, **kwargs):
    kwargs = {"what": "the prior", **kwargs}
    return broadcast_prefix(prefix, tree, dist.is_distribution, **kwargs)


def test_an_entry_covers_the_leaves_below_it():
    a, b, c = dist.Normal(), dist.Laplace(), dist.Flat()
    assert match({"coef": a, "layers": b, "sigma": c}) == [a, b, b, b, b, c]
    assert match({"coef": a, "layers": [b, {"w": a, "b": c}], "sigma": c}) == [a, b, b, c, a, c]
    assert match(a) == [a] * 6
    assert match({"coef": None, "layers": None, "sigma": a}, default=b) == [b, b, b, b, b, a]


def test_an_empty_tree_has_no_entries():
    assert match({}, {}) == []
    prior = dist.Normal()
    assert match(prior, 1.0) == [prior]


@pytest.mark.parametrize(
    ("prefix", "named"),
    [
        ({"coef": dist.Flat(), "layers": dist.Flat()}, "sigma"),
        ({"coef": dist.Flat(), "layers": dist.Flat(), "sigma": dist.Flat(), "slope": dist.Flat()}, "slope"),
        ({"coef": dist.Flat(), "layers": [dist.Flat()], "sigma": dist.Flat()}, "layers.1"),
        ({"coef": dist.Flat(), "layers": [dist.Flat()] * 3, "sigma": dist.Flat()}, "layers.2"),
        ({"coef": {"a": dist.Flat()}, "layers": dist.Flat(), "sigma": dist.Flat()}, "coef"),
        ([dist.Flat()] * 3, "coef"),
        ({}, "coef"),
    ],
)
def test_a_mismatch_in_either_direction_is_named(prefix, named):
    with pytest.raises(ValueError, match=named) as caught:
        match(prefix)
    assert "the prior" in str(caught.value)
    assert "'sigma'" in str(caught.value)  # the parameters there are


def test_an_incomplete_prefix_may_be_allowed():
    a = dist.Normal()
    assert match({"coef": a}, complete=False) == [a, None, None, None, None, None]
    with pytest.raises(ValueError, match="slope"):
        match({"slope": a}, complete=False)


def test_structures_of_different_classes_differ():
    # jax.tree_util.register_dataclass makes them equal, and a jitted function then answers for the wrong class when
    # their hashes happen to meet.
    @pytree
    class One:
        x: float = 0.0

    @pytree
    class Other:
        x: float = 0.0

    assert jax.tree.structure(One()) != jax.tree.structure(Other())
    records = [dist.Normal(0.0, 1.0), dist.Laplace(0.0, 1.0), dist.Cauchy(0.0, 1.0)]
    structures = [jax.tree.structure(record) for record in records]
    assert all(a != b for i, a in enumerate(structures) for b in structures[:i])
    assert structures[0] == jax.tree.structure(dist.Normal(2.0, 3.0))


def test_a_tree_without_the_leaves_of_another_is_joined_with_them_again():
    a, b, c = (np.full(2, v) for v in (1.0, 2.0, 3.0))
    rest = without({"x": a, "y": (b, c), "z": a}, [c, a])
    assert [leaf is b for leaf in jax.tree.leaves(rest)] == [True]
    joined = rest.joined_with(["c", "a"])
    assert joined["x"] == joined["z"] == "a" and joined["y"][0] is b and joined["y"][1] == "c"
