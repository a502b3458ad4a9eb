"""Learners from elsewhere whose modules or parts have a mistake: one line says which."""

import pytest

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, outside

SOUND = "from ohio_jax.learners.bc import Config, act, init, update\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def update(:\n", "found none that can be imported .SyntaxError: "),
        ("import sys\nsys.exit(3)\n", "found none that can be imported .SystemExit: 3"),
        ("import a_package_that_is_not_there\n", "found none that can be imported .ModuleNotFoundError: "),
        ("from ohio_jax.learners.bc import nothing\n", "found none that can be imported .ImportError: "),
        ("1 / 0\n", "found none that can be imported .ZeroDivisionError: "),
        ("x = 1\n", "expected Config, init, update, act, found no Config"),
        (f"{SOUND}class Config:\n    actor_lr = 1e-3\n", "expected Config to be a flax.struct.PyTreeNode, found"),
        (
            f"{SOUND}import types\nthing = types.SimpleNamespace(Config=Config, init=init, update=update, act=act)\n",
            "expected a module or a class, found SimpleNamespace, which has no hash",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, text, words):
    name = f"learner_{len(text)}"  # modules are imported once
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(LEARNERS)
    with pytest.raises(UserError, match=words):
        outside.find(f"{name}:{'thing' if 'thing' in text else ''}")
    assert set(LEARNERS) == before


@pytest.mark.parametrize("name", [":", ":thing", "..:x", "a b:c", "x" * 10_000 + ":y"])
def test_what_is_no_name(name):
    with pytest.raises(UserError, match="expected a module"):
        outside.find(name)
