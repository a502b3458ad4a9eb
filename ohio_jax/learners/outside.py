"""Learners that live in other packages or in a file of the working directory, found by name."""

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS

PARTS = ("Config", "init", "update", "act")  # what a learner consists of
FROM: dict[str, str] = {}  # name in LEARNERS -> the `module:object` it was found as


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
    except ImportError as error:
        raise UserError(f"learner {name!r}: expected a module {module!r}, found none that can be imported ({error})") from error
    found = getattr(found, thing, None) if thing else found
    missing = [part for part in PARTS if not callable(getattr(found, part, None))]
    if missing:
        raise UserError(f"learner {name!r}: expected {', '.join(PARTS)}, found no {missing[0]}")
    short = (thing or module.rpartition(".")[2]).lower()
    if LEARNERS.get(short, found) is not found:
        raise UserError(f"learner {name!r}: expected a name that is free, found {short!r} taken")
    LEARNERS[short], FROM[short] = found, name
    return short


def origin(name: str) -> dict[str, str]:
    """What a run notes of a learner from elsewhere, so that it is found again and, once changed, not taken for the same one.

    Nothing of others. The digest is of the file alone that defines the learner, not of what that imports.
    """
    if name not in FROM:
        return {}
    source = sys.modules[FROM[name].partition(":")[0]].__file__
    digest = {"learner_sha256": hashlib.sha256(Path(source).read_bytes()).hexdigest()} if source else {}
    return {"learner_from": FROM[name], **digest}
