"""Files that are either whole or not there: results, datasets and notes of a run are written through these functions.

The content goes to a temporary file in the same folder, is forced to the disk and then renamed over the target, which
POSIX does in one step. A process killed at any moment leaves the old content, and at worst a hidden `.part` file. Of several
processes that work as one (`ohio_jax.mesh`) the first writes for all.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax import mesh


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes the file atomically, making its folder if need be. Raises OSError where the system does."""
    if not mesh.is_main_process():
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, fields: dict[str, Any]) -> None:
    """Writes one JSON object atomically, a field a line: arrays stay short, and a diff shows which field changed.

    Raises:
        ValueError: for NaN and infinity.
        TypeError: for what JSON does not know; nothing is written then.
    """
    try:
        lines = [f"  {json.dumps(str(name))}: {json.dumps(value, allow_nan=False)}" for name, value in fields.items()]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_npz(path: str | Path, card: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Writes arrays by name to one compressed `.npz` file, atomically, with a card, a JSON object, that says what they are."""
    file = io.BytesIO()
    np.savez_compressed(file, card=np.array(json.dumps(card, allow_nan=False)), **arrays)  # pyright: ignore
    write_bytes(path, file.getvalue())


def read_npz(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(card, arrays) of such a file's content."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("card"))), arrays


@contextlib.contextmanager
def file_lock(path: str | Path) -> Iterator[None]:
    """Keeps other commands from making the same file or folder meanwhile: they wait here until this one is done, or dead."""
    path = Path(path)
    with contextlib.ExitStack() as held:
        if mesh.is_main_process():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(path.with_name(f".{path.name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        mesh.barrier()
        yield
        mesh.barrier()


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
