"""Which code makes a cell: its modules by digest, kept with its run file; and what of that code is another today.

A cell's sources are the modules that collect, relabel, train and evaluate, those that its settings name (its task's family, its
inverse, its learner), the part of the runner that calls these, and whatever they import of the suite, with the packages that
hold them; of a learner or task from elsewhere also what it imports or names of what lies beside it. Of a registry only what it
says of the chosen names counts, so that a new learner changes nothing for the others. Digests are of syntax trees without
comments and docstrings, the same for all versions of Python. What declares tables, plans and recipes does not count: what it
says of a cell is the cell's configuration.
"""

import ast
import functools
import hashlib
import importlib.machinery
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ohio_envs
from ohio_envs import datasets, registry

import ohio_bench
import ohio_jax
from ohio_jax.inverse import INVERSES
from ohio_jax.learners import LEARNERS

Digests = dict[str, str]  # by module, or by file that comes with one

SUITE = {package.__name__: Path(*package.__path__) for package in (ohio_jax, ohio_envs, ohio_bench)}
REGISTRIES = ("ohio_jax.learners", "ohio_jax.inverse", "ohio_envs.registry")
ALWAYS = ("ohio_jax.evaluate", "ohio_jax.collect", "ohio_jax.streams", "ohio_envs.registry")
RELABELED = ("ohio_jax.relabel", "ohio_jax.inverse", "ohio_jax.labels")
LEARNED = ("ohio_jax.learners",)
FINE_TUNED = ("ohio_jax.training.online", "ohio_bench.runner.finetune")
MEASURED = tuple(f"ohio_bench.runner.sensitivity.{name}" for name in ("recovery", "score", "domains", "cost"))
RUNNER = (
    "ohio_bench.runner.methods",
    "ohio_bench.runner.work",
)  # of what these import a cell uses what its configuration chooses
FOLLOWED = (
    *("ohio_jax.", "ohio_envs.", "ohio_bench.runner.sensitivity.", "ohio_bench.runner.work"),
    *("ohio_bench.speed.work", "ohio_bench.speed.timing"),
)
LEFT = ("ohio_jax", "ohio_envs", "ohio_envs.plans", "ohio_envs.datasets")  # what these say of a cell is its configuration
# Folders of everybody's modules.
INSTALLED = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
ASSETS = (".npz", ".npy", ".xml", ".json", ".csv", ".toml", ".txt")  # that a module may read beside it
UNSEEN = ("ctx", "kind", "type_comment", "type_ignores")  # fields of a syntax tree that change no program


class Choice(NamedTuple):
    """What a cell's configuration chooses: modules, names in registries, and data sets."""

    roots: tuple[str, ...]
    names: tuple[str, ...]
    data_sets: tuple[str, ...]


def chosen(config: dict[str, Any]) -> Choice:
    """What a cell of this configuration is made by; of what is no longer there, nothing."""
    texts = list(_texts(config))
    of = lambda field: sorted({text for name, text in texts if name == field})
    learners, inverses, tasks = of("learner"), of("inverse"), of("task")
    makers, offline = ALWAYS, "policy" not in config
    if not tasks:
        makers, inverses = MEASURED, sorted(INVERSES)
    if "online" in config:
        makers, inverses = (*makers, *FINE_TUNED), inverses or ["analytic"]
    makers += RELABELED if inverses else ()
    makers += (*LEARNED, "ohio_jax.training.offline" if offline else "ohio_jax.training.hdpo") if learners else ()
    found = [
        registered[name]
        for registered, names in ((LEARNERS, learners), (INVERSES, inverses), (registry.TASKS, tasks))
        for name in names
        if name in registered
    ]
    makers += ("ohio_envs.recipe",) if of("data_set") else ()
    outside = [name.partition(":")[0] for name in of("learner_from")]
    roots = dict.fromkeys([*makers, *map(module_of, found), *outside])
    return Choice(tuple(roots), (*learners, *inverses, *tasks), tuple(of("data_set")))


def module_of(thing: Any) -> str:
    """The module that a registered thing lies in, or is; a script that is run goes by the name that it is imported by."""
    thing = inspect.unwrap(thing)
    thing = getattr(thing, "func", thing)  # of a partial
    name = getattr(thing, "__module__", None) or thing.__name__
    if name != "__main__":
        return name
    spec, file = (getattr(sys.modules[name], field, None) for field in ("__spec__", "__file__"))
    return spec.name if spec else Path(file or name).stem


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a configuration, with its field."""
    for field, of in value.items() if isinstance(value, dict) else ():
        if isinstance(of, str):
            yield field, of
        yield from _texts(of)


def named(**config: str) -> str:
    """The name of the sources of a part of a cell, as they lie on the disk now: `named(task="reacher", inverse="ridge")`.

    Those that make it, not the runner, which only keeps it.
    """
    return name_of(Code().of(chosen(config)))


def of_data_set(name: str) -> str:
    """The name of the sources of a data set: of its recipe, and of the code that plays it."""
    of = datasets.recipe(name)
    return named(task=of.task, policy=of.behavior_policy, data_set=name)


class Code:
    """The code as it lies on the disk now: files that are read once for as long as this lives."""

    def __init__(self) -> None:
        self.files = {name: file for package, folder in SUITE.items() for name, file in _modules(package, folder).items()}
        self.of = functools.cache(self._of)

    def sources(self, config: dict[str, Any]) -> Digests:
        """The sources of a cell of this configuration."""
        choice = chosen(config)
        of_a_table = "task" in config and "online" not in config
        return self.of(choice._replace(roots=(*choice.roots, *RUNNER)) if of_a_table else choice)

    def _of(self, choice: Choice) -> Digests:
        own = {root.partition(".")[0] for root in choice.roots} - SUITE.keys()
        files = {**self.files, **{name: file for top in own for name, file in _own(top).items()}}
        followed = (*FOLLOWED, *(f"{name}." for name in files.keys() - self.files.keys()))
        recipes = {name: datasets.RECIPES[name] for name in choice.data_sets if name in datasets.RECIPES}
        out: Digests = {f"ohio_envs.datasets[{name}]": _short([repr(recipe)]) for name, recipe in recipes.items()}
        waiting = [root for root in choice.roots if root in files]
        while waiting:
            name = waiting.pop()
            if name in out:
                continue
            path, changed = files[name], files[name].stat().st_mtime_ns
            if name in REGISTRIES:
                out[name], entries = _registry(path, changed)
                out |= {f"{name}[{key}]": entries[key] for key in choice.names if key in entries}
                continue
            out[name], imports = _module(name, path, changed)
            if name in RUNNER:
                continue
            if name.startswith("ohio_envs.") and name.count(".") > 1:
                out |= _assets(name, path)
            elif name not in self.files:
                out |= _assets(name, path, path.read_text(encoding="utf-8"))
            imported = (next((found for found in names if found in files), None) for names in imports)
            waiting += [found for found in imported if found and found not in LEFT and f"{found}.".startswith(followed)]
        for package in {above for name in out for above in _above(name)} & files.keys() - out.keys():
            out[package] = _package(files[package], files[package].stat().st_mtime_ns)
        return dict(sorted(out.items()))


def name_of(digests: Digests) -> str:
    """12 hexadecimal digits that stand for a cell's sources."""
    return _short(f"{name} {digest}" for name, digest in sorted(digests.items()))


def changes(stored: Digests, today: Digests) -> dict[str, tuple[str | None, str | None]]:
    """Modules that differ, with both digests, None where there is no such module."""
    either = sorted(stored.keys() | today.keys())
    return {name: (stored.get(name), today.get(name)) for name in either if stored.get(name) != today.get(name)}


# --- Files ------------------------------------------------------------------------------------------------------------


class _Module(NamedTuple):
    """imports: of each name that is imported, the modules that this may be: `from a import b` is `a.b`, or else `a`."""

    digest: str
    imports: tuple[tuple[str, ...], ...]


@functools.lru_cache(maxsize=2048)
def _module(name: str, path: Path, changed: int) -> _Module:
    out: list[str] = []
    statements: list[Any] = []
    _write(ast.parse(path.read_bytes()), out, statements)
    package, imports = name if path.name == "__init__.py" else name.rpartition(".")[0], []
    for node in statements:
        if isinstance(node, ast.Import):
            imports += [(alias.name,) for alias in node.names]
        else:
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(filter(None, (above, node.module)))
            imports += [(f"{origin}.{alias.name}", origin) for alias in node.names]
    return _Module(_short(out), tuple(dict.fromkeys(imports)))


def _above(name: str) -> list[str]:
    """The packages that a module lies in."""
    words = name.split(".")
    return [".".join(words[:place]) for place in range(1, len(words))]


@functools.lru_cache(maxsize=64)
def _package(path: Path, changed: int) -> str:
    """Digest of what is run as a module of a package is imported, without what the package offers: imports, names, entries."""
    tree, names = ast.parse(path.read_bytes()), ("__all__", "__version__")
    offers = lambda node: (
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) and target.id in names for target in node.targets))
    )
    tree.body = [node for node in tree.body if not offers(node)]
    return _without_entries(tree)[0]


@functools.lru_cache(maxsize=16)
def _registry(path: Path, changed: int) -> tuple[str, Digests]:
    """Digests of a registry without its imports and entries, and of its entries by name."""
    return _without_entries(ast.parse(path.read_bytes()))


def _without_entries(tree: ast.Module) -> tuple[str, Digests]:
    entries: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = []
        elif isinstance(node, ast.Dict):
            pairs = list(zip(node.keys, node.values, strict=True))
            for key, value in pairs:
                if name := _text(key):
                    _write(value, entries.setdefault(name, []))
            node.values = [value for key, value in pairs if not _text(key)]
            node.keys = [key for key in node.keys if not _text(key)]
    out: list[str] = []
    _write(tree, out)
    return _short(out), {name: _short(of) for name, of in entries.items()}


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _write(node: Any, out: list[str], imports: list[Any] | None = None) -> None:
    """A syntax tree in words, without texts that stand alone, such as docstrings; imports: gets its import statements.

    Fields that are empty are left out: which there are differs between versions of Python.
    """
    if isinstance(node, ast.AST):
        if imports is not None and isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        out.append(type(node).__name__)
        for field in _fields(type(node)):
            value = getattr(node, field, None)
            if isinstance(node, ast.JoinedStr):  # in which Python 3.12 has empty texts
                value = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
            if value is not None and value != []:
                out.append(field)
                _write(value, out, imports)
        out.append(")")
    elif isinstance(node, list):
        for one in node:
            if not (isinstance(one, ast.Expr) and _text(one.value)):
                _write(one, out, imports)
        out.append("]")
    else:
        out.append(repr(node))


@functools.cache
def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(field for field in kind._fields if field not in UNSEEN)


def _short(words: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(words).encode(errors="surrogatepass")).hexdigest()[:12]


def _modules(package: str, folder: Path) -> dict[str, Path]:
    """The modules of a package; a package among them is its `__init__.py`."""
    parts = lambda file: file.relative_to(folder).with_suffix("").parts
    return {".".join((package, *parts(file))).removesuffix(".__init__"): file for file in folder.rglob("*.py")}


def _own(top: str) -> dict[str, Path]:
    """The modules of a package from elsewhere; of a module, those in its folder and in the packages there, unless it is installed
    among others' modules.
    """
    spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.machinery.PathFinder.find_spec(top, ["", *sys.path])
    if spec is None or top == "__main__":
        return {}
    if spec.submodule_search_locations:
        return _modules(top, Path(spec.submodule_search_locations[0]))
    folder = Path(spec.origin or "").parent
    if str(folder) in INSTALLED:
        return {top: Path(spec.origin or "")}
    texts = "".join(file.read_text(encoding="utf-8", errors="replace") for file in folder.glob("*.py"))
    packages = [path for path in folder.iterdir() if path.is_dir() and path.name.isidentifier() and path.name in texts]
    inside = {name: file for package in packages for name, file in _modules(package.name, package).items()}
    return inside | {file.stem: file for file in folder.glob("*.py")}


def _assets(name: str, path: Path, text: str | None = None) -> Digests:
    """Of the files that come with a module's package; text: only of those that it names, also in a folder there."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    beside = [*path.parent.glob("*"), *([] if text is None else path.parent.glob("*/*"))]
    inside = {file.relative_to(path.parent).as_posix(): file for file in beside if file.suffix in ASSETS and file.is_file()}
    files = {name: file for name, file in sorted(inside.items()) if text is None or name in text}
    return {f"{package}/{name}".lstrip("/"): _content(file, file.stat().st_mtime_ns) for name, file in files.items()}


@functools.lru_cache(maxsize=256)
def _content(path: Path, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
