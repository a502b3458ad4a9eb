"""Learners that live in other packages or in a file of the working directory, found by name."""

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

from ohio_jax.errors import UserError, short, unknown
from ohio_jax.learners import LEARNERS

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
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` has it: a file beside the reader's work
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever its code does when it is run
        what = f"found none that can be imported ({type(error).__name__}: {error})"
        raise UserError(f"learner {short(name)}: expected a module {short(module)}, {what}") from error
    found = getattr(found, thing, None) if thing else found
    missing = [part for part in PARTS if not callable(getattr(found, part, None))]
    if missing:
        raise UserError(f"learner {name!r}: expected {', '.join(PARTS)}, found no {missing[0]}")
    if not hasattr(found.Config, "replace"):
        raise UserError(f"learner {name!r}: expected Config to be a flax.struct.PyTreeNode, found {found.Config!r}")
    if found.__hash__ is None:  # programs are kept by learner
        raise UserError(f"learner {name!r}: expected a module or a class, found {type(found).__name__}, which has no hash")
    called = (thing or module.rpartition(".")[2]).lower()
    if LEARNERS.get(called, found) is not found:
        raise UserError(f"learner {name!r}: expected a name that is free, found {called!r} taken")
    if called not in LEARNERS:  # digested as it was imported: the file may change while its old code runs
        LEARNERS[called], FROM[called] = found, {"learner_from": name, "learner_sha256": _digest(module, found)}
    return called


def origin(name: str) -> dict[str, str]:
    """What a run notes of a learner from elsewhere, so that it is found again and, once changed, not taken for the same one.

    Nothing of others. The digest is of the module that was named and of the one that defines the learner, not of what they
    import.
    """
    return FROM.get(name, {})


def _digest(module: str, found: Any) -> str:
    modules = dict.fromkeys((module, getattr(found, "__module__", None) or module))
    files = [file for name in modules if (file := getattr(sys.modules.get(name), "__file__", None))]
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
