"""Imports point down only, the method stays light, and importing never touches a device."""

import ast
import graphlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "ohio_jax": ROOT / "ohio_jax",
    "ohio_envs": ROOT / "envs" / "ohio_envs",
    "ohio_bench": ROOT / "benchmarks" / "ohio_bench",
}
ABOVE = {"ohio_jax": {"ohio_envs", "ohio_bench"}, "ohio_envs": {"ohio_bench"}, "ohio_bench": set()}
# Builders of shipped assets, which load what they build from: they await a room of their own.
AWAITING = {"ohio_envs.reacher.agents", "ohio_envs.manipulation.low_levels"}
# Nothing here installs it: who compares speeds with it does.
ABSENT = {name for name in ("torch",) if importlib.util.find_spec(name) is None}
HEAVY = {"mujoco", "brax", "cvxpy", "matplotlib", "highspy", "minari", "ray", "torch", "tensorflow"}


def imported(source: str) -> set[str]:
    """Top-level packages a source text imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def modules(room: str, without: AbstractSet[str] = frozenset()) -> list[str]:
    """Names of a room's modules that import none of the packages `without`, read off the files."""
    return [named(room, file) for file in sorted(FOLDERS[room].rglob("*.py")) if not imported(file.read_text()) & without]


def named(room: str, file: Path) -> str:
    return ".".join((room, *file.relative_to(FOLDERS[room]).with_suffix("").parts)).removesuffix(".__init__")


def files_imported(source: str, known: AbstractSet[str]) -> set[str]:
    """Modules among `known` that a source text imports anywhere, or that hold a name it imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known or {node.module}
            found |= {node.module} if names - known else set()
    return found & known


def circle(files: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, of module -> source; none if there is no circle."""
    graph = {name: files_imported(source, files.keys()) - {name} for name, source in files.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def import_all(names: list[str]) -> dict:
    """Imports the modules one after another in a fresh process: what each brought in, and which started a backend."""
    script = """
import importlib, json, sys
brought, starts = {}, []
for name in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module(name)
    brought[name] = sorted({m.split(".")[0] for m in set(sys.modules) - before})
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge and bridge.backends_are_initialized():
        starts.append(name)
print(json.dumps({"brought": brought, "starts": starts[:1]}))
"""
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_imported_sees_every_form():
    assert imported("import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h as i\n") == {"a", "c", "h"}


@pytest.mark.parametrize("room", FOLDERS)
def test_imports_point_down(room):
    files = sorted(FOLDERS[room].rglob("*.py"))
    assert files
    upward = {str(file.relative_to(ROOT)): imported(file.read_text()) & ABOVE[room] for file in files}
    assert not {file: names for file, names in upward.items() if names}


def test_a_circle_is_seen():
    assert circle({"a": "from b import c, x", "b": "", "b.c": "import b", "d": "def f():\n    import a"}) == []
    found = circle({"a": "from b import c", "b": "", "b.c": "def f():\n    import a", "d": "import a"})
    assert set(found) == {"a", "b.c"}


def test_no_files_import_each_other_in_a_circle():
    """Not even from within functions."""
    read = {named(room, file): file.read_text() for room in FOLDERS for file in sorted(FOLDERS[room].rglob("*.py"))}
    assert circle({name: "" if name in AWAITING else source for name, source in read.items()}) == []


def test_the_method_is_light():
    names = modules("ohio_jax")
    assert {"ohio_jax", "ohio_jax.environment", "ohio_jax.inverse.problem"} <= set(names)
    brought = import_all(names)["brought"]
    assert not {name: heavy for name, packages in brought.items() if (heavy := HEAVY & set(packages))}


def test_importing_starts_no_backend():
    names = [name for room in FOLDERS for name in modules(room, ABSENT)]
    assert import_all(names)["starts"] == []


def test_a_started_backend_would_be_seen(tmp_path, monkeypatch):
    (tmp_path / "eager.py").write_text("import jax.numpy as jnp\nx = jnp.zeros(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_all(["json", "eager"])["starts"] == ["eager"]
