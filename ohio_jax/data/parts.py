"""Long work in parts: what each has made is kept in a hidden folder beside the result until all are done.

A killed call of the same work goes on with the parts that are missing.
"""

import contextlib
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax import mesh
from ohio_jax.data import folders
from ohio_jax.errors import UserError
from ohio_jax.files import UNIQUE

KEPT = re.compile(rf"\.?\d{{6,}}-\d{{6,}}(\.npz)?(\.{UNIQUE}\.part)?")  # of a finished part, or of half; once they were .npz


def folder(path: Path) -> Path:
    """Where the parts of what is to become `path` are kept; a call that is killed just after that is whole leaves some."""
    return path.with_name(f".{path.name}.parts")


def place(folder: Path, first: int, stop: int) -> Path:
    """Of the part that makes the episodes first .. stop-1."""
    return folder / f"{first:06d}-{stop:06d}"


def is_kept(path: Path, identity: dict[str, Any]) -> bool:
    """Whether a whole part of this work is there: `identity` is what makes it the same."""
    try:
        card, arrays = folders.read(path)
        folders.verify(arrays)
    except UserError:  # none, or one that this program did not write
        return False
    return card == json.loads(json.dumps(identity))


def keep(path: Path, identity: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Keeps what a part has made. The folder of parts goes again where the first of them cannot be written."""
    try:
        folders.write(path, {name: [array] for name, array in arrays.items()}, lambda _: identity)
    except OSError:
        with contextlib.suppress(OSError):  # it holds others
            path.parent.rmdir()
        raise


def read(path: Path) -> dict[str, Any]:
    """What a part has made; of more than one dimension in its files."""
    return folders.read(path)[1]


def remove(folder: Path, before: float = math.inf) -> None:
    """Removes the parts, those made before a time (of `time.time`), and nothing else that somebody keeps there."""
    if not mesh.is_main_process() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if KEPT.fullmatch(path.name) and path.stat().st_mtime < before:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else keeps files there
        folder.rmdir()
