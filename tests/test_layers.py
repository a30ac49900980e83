"""The house stands: imports run downwards, files stay short, nothing is printed, every public name is explained."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import lossgeo

ROOT = pathlib.Path(lossgeo.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

FLOORS = [
    {"_compilation", "_optax", "_pytree", "_checks", "_typing", "numerics", "linalg"},
    {"supports", "links", "structure", "geometry", "solvers"},
    {"distributions", "losses"},
    {"models", "likelihoods", "priors"},
    {"objective"},
    {
        "posing",
        "piecewise",
        "on_simplex",
        "duality",
        "sparsity",
        "metric",
        "planning",
        "verdict",
        "vertices",
        "solving",
        "moments",
        "thinning",
        "batching",
        "messages",
        "targets",
    },
    {"validation", "inference", "dictionary", "scale"},
    {
        "sparse",
        "sparse_paths",
        "folds",
        "path_records",
        "quadratic_paths",
        "driving",
        "fitting",
        "grids",
        "grid_lanes",
        "minibatching",
        "paths",
        "sklearn",
    },
    {"plotting", "__init__"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}

PURE = {"solvers", "geometry"}
"""Rooms that know no statistics: of the package they may see floor 0, and the room itself."""


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    """The part of the house that a module belongs to: ``lossgeo.solvers.newton`` lives in ``solvers``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def is_module(name):
    path = ROOT.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(path):
    """Every module of the package that a file imports, inside functions and under ``if`` too."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                found.add(inner if is_module(inner) else origin)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return {name for name in found if name.split(".")[0] == "lossgeo"}


GRAPH = {module_name(path): imports(path) for path in FILES}


def test_the_reader_of_imports_sees_all_forms():
    # The rules below are worth what this function sees.
    path = ROOT / "solvers" / "_probe.py"
    text = (
        "import lossgeo.linalg\nfrom lossgeo import solving\nfrom .. import fitting\nfrom .newton import Newton\n"
        "def f():\n    from lossgeo.priors import prior\n    import importlib\n"
        "    importlib.import_module('lossgeo.objective')\n"
    )
    probe = type("Probe", (), {"read_text": lambda self: text, "name": "_probe.py", "relative_to": path.relative_to})()
    names = ("linalg", "solving", "fitting", "solvers.newton", "priors", "objective")
    assert imports(probe) == {f"lossgeo.{name}" for name in names}


@pytest.mark.parametrize("module", GRAPH)
def test_every_module_has_a_floor(module):
    assert room(module) in FLOOR, f"give {module} a floor"


@pytest.mark.parametrize("module", GRAPH)
def test_imports_run_downwards(module):
    here = room(module)
    for target in GRAPH[module]:
        there = room(target)
        assert there == here or FLOOR[there] <= FLOOR[here], f"{module} (floor {FLOOR[here]}) imports {target}"
        if here in PURE:
            assert there == here or FLOOR[there] == 0, f"{module} knows no statistics, but imports {target}"


def test_there_is_no_cycle_between_modules_or_between_rooms():
    def acyclic(graph):
        remaining = {node: set(targets) - {node} for node, targets in graph.items()}
        while remaining:
            free = [node for node, targets in remaining.items() if not targets & remaining.keys()]
            if not free:
                return sorted(remaining)
            for node in free:
                del remaining[node]
        return []

    assert acyclic(GRAPH) == []
    rooms = {}
    for module, targets in GRAPH.items():
        rooms.setdefault(room(module), set()).update(room(target) for target in targets)
    assert acyclic(rooms) == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_file_is_one_concept_and_keeps_its_hands_off(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print", f"{path.name}:{node.lineno} prints"
            assert not called.endswith("config.update"), f"{path.name}:{node.lineno} changes a global setting"
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not any(name.startswith("jax._src") for name in names), f"{path.name} imports private JAX"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_public_name_is_documented(path):
    def missing(node, owner):
        found = []
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.ClassDef) or child.name.startswith("_"):
                continue
            if ast.get_docstring(child) is None:
                found.append(f"{owner}.{child.name}")
            if isinstance(child, ast.ClassDef):
                found += missing(child, f"{owner}.{child.name}")
        return found

    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} has no module docstring"
    assert missing(tree, module_name(path)) == []


@pytest.mark.parametrize("module", GRAPH)
def test_what_a_module_promises_exists(module):
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", []):
        assert hasattr(loaded, name), f"{module}.__all__ lists {name}"


def test_an_import_touches_no_device_and_loads_no_optax():
    # JAX lets its devices be configured until the first of them is used.
    program = "import jax, lossgeo, sys; jax.config.update('jax_num_cpu_devices', 2); assert 'optax' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", program], check=True)
