"""Public functions say the types and shapes of arrays, and what they say is so."""

import ast
import subprocess
import sys

import pytest

from tests import typed

TYPED = [
    *(f"ohio_jax/{package}" for package in ("controllers", "data", "dynamics", "inverse", "networks/heads", "solvers")),
    "ohio_jax/low_level.py",
    "ohio_jax/scores.py",
    *(f"envs/ohio_envs/{package}" for package in ("reacher", "routing")),
]
BARE = ("jax.Array", "np.ndarray", "None")  # an array of any shape, or no annotation at all
# Functions that take objects of other libraries, or parameters of any low level.
EXCEPTIONS = (
    *(f"ohio_jax/controllers/convex.py:program({name})" for name in ("problem", "state", "goal", "action")),
    *(f"envs/ohio_envs/reacher/task.py:interface({name})" for name in ("controller", "params", "features")),
    *(f"envs/ohio_envs/reacher/task.py:with_model({name})" for name in ("params", "model")),
    "envs/ohio_envs/reacher/task.py:draw(axes)",
)


def bare(path, source: str) -> list[str]:
    """Arguments of public functions that are arrays without a shape, or have no annotation."""
    found = []

    def visit(node, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                visit(child, f"{scope}{child.name}.")
            elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
                args = [*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs]
                hints = {arg.arg: ast.unparse(arg.annotation) if arg.annotation else "None" for arg in args}
                loose = [name for name, hint in hints.items() if name not in ("self", "cls") and hint.split(" | ")[0] in BARE]
                found.extend(f"{path}:{scope}{child.name}({name})" for name in loose)

    visit(ast.parse(source), "")
    return found


def files():
    for name in TYPED:
        path = typed.ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def test_arrays_have_shapes():
    found = [entry for path in files() for entry in bare(path.relative_to(typed.ROOT), path.read_text())]
    assert [entry for entry in found if entry not in EXCEPTIONS] == []
    assert set(EXCEPTIONS) <= set(found), "an exception that is none"


def test_bare_arrays_are_seen():
    source = "def f(a: jax.Array, b: Float[Array, 'n'], c=1): ...\nclass C:\n    def g(self, d: np.ndarray | None): ...\n"
    assert bare("m", source) == ["m:f(a)", "m:f(c)", "m:C.g(d)"]


@pytest.mark.timeout(300)
def test_arrays_are_what_signatures_say():
    done = subprocess.run([sys.executable, "-m", "tests.typed_calls"], cwd=typed.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
