"""Public functions say the types and shapes of arrays, and what they say is so."""

import ast
import subprocess
import sys

import pytest

from tests import typed

TYPED = [
    *(
        f"ohio_jax/{package}"
        for package in ("controllers", "data", "dynamics", "inverse", "learners", "networks", "solvers", "training")
    ),
    *(f"ohio_jax/{module}.py" for module in ("collect", "evaluate", "low_level", "relabel", "rollout", "scores")),
    *(f"envs/ohio_envs/{package}" for package in ("manipulation", "reacher", "routing", "supply_chain")),
]
BARE = ("jax.Array", "np.ndarray")  # arrays of any shape
# What is no array of a known shape, by whose function it is.
EXCEPTIONS = (
    # Objects of other libraries, or parameters of any low level.
    *(f"ohio_jax/controllers/convex.py:program({name})" for name in ("problem", "state", "goal", "action")),
    *(f"envs/ohio_envs/reacher/task.py:interface({name})" for name in ("controller", "params", "features")),
    *(f"envs/ohio_envs/reacher/task.py:with_model({name})" for name in ("params", "model", "return")),
    "envs/ohio_envs/reacher/task.py:draw(axes)",
    # Of a single table NumPy makes a number, of several an array.
    *(f"ohio_jax/scores.py:{name}(return)" for name in ("normalize", "gap", "mean", "std", "median", "optimality_gap")),
    *(f"ohio_jax/scores.py:{name}(return)" for name in ("interquartile_mean", "probability_of_improvement")),
)


def loose(hint: ast.expr | None) -> bool:
    """Whether an annotation is missing, or one that an array of any shape has: by itself, in a union, or in a tuple."""
    if isinstance(hint, ast.BinOp):
        return loose(hint.left) or loose(hint.right)
    if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) == "tuple":
        return any(map(loose, hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]))
    return hint is None or ast.unparse(hint) in BARE


def bare(path, source: str) -> list[str]:
    """Arguments and results of public functions that are arrays without a shape, or have no annotation."""
    found = []

    def visit(node, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                visit(child, f"{scope}{child.name}.")
            elif isinstance(child, ast.FunctionDef) and (child.name == "__call__" or not child.name.startswith("_")):
                given = child.args
                args = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
                hints = {arg.arg: arg.annotation for arg in args if arg and arg.arg not in ("self", "cls")}
                hints["return"] = child.returns
                found.extend(f"{path}:{scope}{child.name}({name})" for name, hint in hints.items() if loose(hint))

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
    source = """
def f(a: jax.Array, b: Float[Array, 'n'], c=1, *d: jax.Array, e: list[int] | np.ndarray, **g) -> tuple[int, jax.Array]: ...
def h(a: Any, b: Callable[[jax.Array], jax.Array]) -> None: ...
class C:
    def i(self, j: np.ndarray | None): ...
    def __call__(self, k: Bool[np.ndarray, "n"]) -> jax.Array: ...
    def _l(self, m): ...
"""
    found = [*(f"f({name})" for name in ("a", "c", "d", "e", "g", "return")), "C.i(j)", "C.i(return)", "C.__call__(return)"]
    assert bare("m", source) == [f"m:{entry}" for entry in found]


@pytest.mark.timeout(300)
def test_arrays_are_what_signatures_say():
    done = subprocess.run([sys.executable, "-m", "tests.typed_calls"], cwd=typed.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
