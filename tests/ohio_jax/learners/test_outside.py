"""Learners from elsewhere whose modules or parts have a mistake: one line says which."""

import jax
import jax.numpy as jnp
import pytest

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, Spec, bc, outside
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.training import Plan
from ohio_jax.training.plan import initial_states

SPEC = Spec(3, Box((1.0,)), mlp_networks(Box((1.0,)), 4))
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
            f"{SOUND}from flax import struct\nclass Config(struct.PyTreeNode):\n    actor_lr: float\n",
            "expected Config.. with defaults that have a hash, found TypeError: .*actor_lr",
        ),
        (f"{SOUND}MC_RETURNS = True\n", "expected Config with a field discount, as MC_RETURNS needs it, found none"),
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


class Mine:
    """A learner, which is behavior cloning's, and what `outside` notes of it."""

    Config, init, update, act = bc.Config, staticmethod(bc.init), staticmethod(bc.update), staticmethod(bc.act)


def half(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float16) if x.dtype == jnp.float32 else x, tree)


@pytest.mark.parametrize(
    ("part", "function", "words"),
    [
        ("init", lambda key, spec: None, r"init\(key, spec, config\): expected .*, found TypeError: "),
        ("init", lambda key, spec, config: {}, r"init\(.*\): expected a flax.struct.PyTreeNode with .*, found dict$"),
        ("update", lambda state, batch: state, r"update\(.*\): expected the next state and metrics, found State$"),
        ("update", lambda state, batch: (state, {}, {}), "expected the next state and metrics, found tuple of 3$"),
        ("update", lambda state, batch: (state.actor, {}), "found a state of another structure than that of init, TrainState$"),
        ("update", lambda state, batch: (half(state), {}), r"found state.actor.*bias.* as float16\[.*\], which was float32\["),
        ("update", lambda state, batch: (state, [1.0]), "found metrics that are no dict of numbers by name"),
        ("update", lambda state, batch: (state, {"a": {"b": 1.0}}), "found metrics that are no dict of numbers by name"),
        ("update", lambda state, batch: 1 / 0, "found ZeroDivisionError: division by zero$"),
        ("update", lambda state, batch: float(batch.reward[0]), "found ConcretizationTypeError: "),
        ("act", lambda state, obs, key: obs, r"act\(.*\): expected actions of shape \(2, 1\) .*, found TypeError: "),
        ("act", lambda state, obs, key, deterministic: obs, r"expected actions of shape .*, found shape \(2, 3\)$"),
        ("act", lambda state, obs, key, deterministic: (obs, obs), "expected actions of shape .*, found tuple$"),
    ],
)
def test_what_functions_take_and_return_is_asked_before_they_run(monkeypatch, part, function, words):
    mine = type("Mine", (Mine,), {part: staticmethod(function)})
    monkeypatch.setitem(LEARNERS, "mine", mine)
    plan = Plan("mine", bc.Config(), hidden=4)
    monkeypatch.setitem(outside.FROM, "mine", {"learner_from": "a_module:Mine"})
    with pytest.raises(UserError, match=f"^learner 'a_module:Mine': .*{words}"):
        initial_states(plan, SPEC)


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_suites_own_would_pass(monkeypatch, learner):
    monkeypatch.setitem(outside.FROM, learner, {"learner_from": learner})
    outside.check(learner, SPEC, LEARNERS[learner].Config())
