"""Imports point down, the method is light, importing touches no device; tests lie and import as they should; no file is long."""

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
# Of an extra of its own, for who compares speeds with it.
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


def files_imported(source: str, files: AbstractSet[str]) -> set[str]:
    """Those of the modules `files` that a source text imports, a package for its `__init__.py`; inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in files else node.module for name in names}
    return found & files


def sources(room: str) -> dict[str, str]:
    """The texts of a room's modules by name, read off the files."""
    name = lambda file: ".".join((room, *file.relative_to(FOLDERS[room]).with_suffix("").parts)).removesuffix(".__init__")
    return {name(file): file.read_text() for file in sorted(FOLDERS[room].rglob("*.py"))}


def texts_of_tests() -> dict[str, str]:
    """The texts of the test suite's modules by name."""
    name = lambda file: ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return {name(file): file.read_text() for file in sorted((ROOT / "tests").rglob("*.py"))}


def modules(room: str, without: AbstractSet[str] = frozenset()) -> list[str]:
    """Names of a room's modules that import none of the packages `without`."""
    return [name for name, source in sources(room).items() if not imported(source) & without]


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


def test_no_circle_of_files():
    """Not even one that is hidden in a function: whoever reads a file never comes back to it."""
    files = {name: source for room in FOLDERS for name, source in sources(room).items()}
    graph = {name: files_imported(source, files.keys()) - {name} for name, source in files.items()}
    assert any(graph.values())
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_files_imported_tells_files_from_names():
    files = {"a", "a.b", "c.d"}
    source = "from a import b, x\ndef f():\n    import c.d as e\n    from a.b import y\nimport other"
    assert files_imported(source, files) == files


def test_the_method_is_light():
    names = modules("ohio_jax")
    assert {"ohio_jax", "ohio_jax.environment", "ohio_jax.low_level"} <= set(names)
    brought = import_all(names)["brought"]
    assert not {name: heavy for name, packages in brought.items() if (heavy := HEAVY & set(packages))}


def loaded_by(*words: str) -> set[str]:
    """The modules that `ohio-jax` has imported when it ends, in a fresh process."""
    script = """
import contextlib, io, json, sys
from ohio_bench import cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main(cli.parser().parse_args(sys.argv[1:]))
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_command_starts_at_once():
    """Help needs no arrays, and what only lists names none of the packages that take long to import."""
    assert not loaded_by("--help") & {"jax", "numpy", "flax", "scipy"}
    listing = loaded_by("list")
    assert "ohio_envs.registry" in listing, "else it lists nothing"
    assert not listing & (HEAVY | {"orbax", "ray", "jsonschema", "pooch", "PIL"})
    assert not listing & {f"scipy.{part}" for part in ("optimize", "signal", "sparse", "special", "stats")}


def loaded_with(name: str) -> set[str]:
    """Every module that a fresh process holds once it has imported this one."""
    script = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", ["ohio_jax.environment", "ohio_jax.low_level", "ohio_jax.task", "ohio_jax.controllers"])
def test_what_acts_loads_no_inverse(name):
    found = loaded_with(name)
    assert name in found and not {module for module in found if module.startswith("ohio_jax.inverse")}


def test_a_loaded_inverse_would_be_seen():
    assert "ohio_jax.inverse.least_squares" in loaded_with("ohio_jax.relabel")


def test_importing_starts_no_backend():
    names = [name for room in FOLDERS for name in modules(room, ABSENT)]
    assert import_all(names)["starts"] == []


def test_a_started_backend_would_be_seen(tmp_path, monkeypatch):
    (tmp_path / "eager.py").write_text("import jax.numpy as jnp\nx = jnp.zeros(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_all(["json", "eager"])["starts"] == ["eager"]


def test_what_tests_share_lies_in_no_test():
    """A test module stands alone: what others use as well lies beside it, in a module without tests."""
    files = texts_of_tests()
    cases = {name for name in files if name.rpartition(".")[2].startswith("test_")}
    assert __name__ in cases and len(cases) < len(files)
    assert not {name: found for name, source in files.items() if (found := files_imported(source, cases) - {name})}
    assert not {name for name in files.keys() - cases if "\ndef test_" in files[name]}


@pytest.mark.parametrize("room", FOLDERS)
def test_tests_mirror_the_packages(room):
    packages = lambda folder: {init.parent.name for init in folder.glob("*/__init__.py")}
    assert packages(ROOT / "tests" / room) == packages(FOLDERS[room])


def test_no_file_is_long():
    """Of code and of tests: who opens one can read it."""
    folders = (*FOLDERS.values(), ROOT / "tests", ROOT / "scripts", ROOT / "docs" / "examples")
    files = [file for folder in folders for suffix in ("py", "js", "css", "html") for file in folder.rglob(f"*.{suffix}")]
    assert len(files) > 100
    assert not {str(file.relative_to(ROOT)): lines for file in files if (lines := file.read_text().count("\n")) > 400}
