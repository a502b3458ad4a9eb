"""Learners that live in other packages or in a file of the working directory, found by name and checked before they learn."""

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from ohio_jax.data import Batch
from ohio_jax.errors import UserError, brief, short, unknown
from ohio_jax.learners import LEARNERS, Spec

PARTS = ("Config", "init", "update", "act")  # what a learner consists of
FROM: dict[str, dict[str, str]] = {}  # name in LEARNERS -> see `origin`


def find(name: str) -> str:
    """The name in LEARNERS of a learner: one that is there, or `module:object`, which joins under the object's name in small
    letters, as `module` does under its own.

    Raises:
        UserError: for a name that is neither, a module that cannot be imported, an object without the parts of a learner, and a
            name that is taken.
    """
    module, sign, thing = name.partition(":")
    if not sign:
        if name not in LEARNERS:
            raise unknown("learner", name, [*LEARNERS, "module:object", f"{name}: (a module itself)"])
        return name
    found: Any = imported(module, f"learner {short(name)}")
    found = getattr(found, thing, None) if thing else found
    missing = [part for part in PARTS if not callable(getattr(found, part, None))]
    if missing:
        raise UserError(f"learner {name!r}: expected {', '.join(PARTS)}, found no {missing[0]}")
    if not hasattr(found.Config, "replace"):
        raise UserError(f"learner {name!r}: expected Config to be a flax.struct.PyTreeNode, found {found.Config!r}")
    try:
        hash(config := found.Config())
    except Exception as error:
        what = f"{type(error).__name__}: {brief(error)}"
        raise UserError(f"learner {name!r}: expected Config() with defaults that have a hash, found {what}") from error
    if getattr(found, "MC_RETURNS", False) and not hasattr(config, "discount"):
        raise UserError(f"learner {name!r}: expected Config with a field discount, as MC_RETURNS needs it, found none")
    if found.__hash__ is None:  # programs are kept by learner
        raise UserError(f"learner {name!r}: expected a module or a class, found {type(found).__name__}, which has no hash")
    called = (thing or module.rpartition(".")[2]).lower()
    if LEARNERS.get(called, found) is not found:
        raise UserError(f"learner {name!r}: expected a name that is free, found {called!r} taken")
    if called not in LEARNERS:  # digested as it was imported: the file may change while its old code runs
        LEARNERS[called], FROM[called] = found, {"learner_from": name, "learner_sha256": _digest(module, found)}
    return called


def imported(module: str, place: str) -> ModuleType:
    """A module, also one in the working directory. Raises UserError, which begins with the place, if it cannot be imported."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` has it: a file beside the reader's work
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever its code does when it is run
        what = f"found none that can be imported ({type(error).__name__}: {error})"
        raise UserError(f"{place}: expected a module {short(module)}, {what}") from error


def origin(name: str) -> dict[str, str]:
    """What a run notes of a learner from elsewhere, so that it is found again and, once changed, not taken for the same one.

    Nothing of others. The digest is of the module that was named and of the one that defines the learner, not of what they
    import.
    """
    return FROM.get(name, {})


def check(name: str, spec: Spec, config: Any) -> None:
    """Raises UserError where functions of a learner from elsewhere take or return what none does. They are traced, not run.

    Args:
        name: in LEARNERS; of others nothing is asked.
    """
    if name not in FROM:
        return
    learner, rows = LEARNERS[name], 2
    shaped: Callable[..., Any] = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    obs, action, number = shaped(rows, spec.observation_size), shaped(rows, *spec.action.shape), shaped(rows)
    mc_return, next_action = (getattr(learner, what, False) for what in ("MC_RETURNS", "NEXT_ACTIONS"))
    more = number if mc_return else None, action if next_action else None
    batch, key = Batch(obs, action, number, obs, number, number, *more), jax.eval_shape(jax.random.key, 0)

    def traced(call: str, expected: str, function: Callable[..., Any], *inputs: Any) -> tuple[Any, Callable[[Any], UserError]]:
        """What the function returns, as shapes; and what to raise if that is something else than expected."""
        wrong = lambda found: UserError(f"learner {FROM[name]['learner_from']!r}: {call}: expected {expected}, found {found}")
        try:
            return jax.eval_shape(function, *inputs), wrong
        except UserError:
            raise
        except Exception as error:  # whatever its code raises
            raise wrong(f"{type(error).__name__}: {brief(error)}") from error

    call, expected = "init(key, spec, config)", "a flax.struct.PyTreeNode with fields config and spec"
    state, wrong = traced(call, expected, lambda key: learner.init(key, spec, config), key)
    if not all(hasattr(state, part) for part in ("replace", "config", "spec")):
        raise wrong(type(state).__name__)

    found, wrong = traced("update(state, batch)", "the next state and metrics", learner.update, state, batch)
    if type(found) is not tuple or len(found) != 2:
        raise wrong(f"{type(found).__name__}{f' of {len(found)}' if isinstance(found, tuple) else ''}")
    after, metrics = found
    if jax.tree.structure(after) != jax.tree.structure(state):
        raise wrong(f"a state of another structure than that of init, {type(after).__name__}")
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            of = lambda leaf: f"{leaf.dtype}{[*leaf.shape]}"
            raise wrong(f"state{jax.tree_util.keystr(path)} as {of(new)}, which was {of(old)}")
    kinds = {type(value) for value in metrics.values()} if isinstance(metrics, dict) else {type(metrics)}
    for kind in kinds - {jax.ShapeDtypeStruct}:
        raise wrong(f"metrics that are no dict of numbers by name: {kind.__name__}")

    call = "act(state, obs, key, deterministic)"
    for given, shape, deterministic in ((obs, action.shape, False), (shaped(*obs.shape[1:]), action.shape[1:], True)):
        act = lambda state, obs, key, deterministic=deterministic: learner.act(state, obs, key, deterministic)
        made, wrong = traced(call, f"actions of shape {shape} for obs of shape {given.shape}", act, state, given, key)
        if getattr(made, "shape", None) != shape:
            raise wrong(f"shape {made.shape}" if hasattr(made, "shape") else type(made).__name__)


def _digest(module: str, found: Any) -> str:
    modules = dict.fromkeys((module, getattr(found, "__module__", None) or module))
    files = [file for name in modules if (file := getattr(sys.modules.get(name), "__file__", None))]
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
