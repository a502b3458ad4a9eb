"""Files that are either whole or not there: results, datasets and notes of a run are written through these functions.

The content goes to a temporary file in the same folder, is forced to the disk and then renamed over the target, which
POSIX does in one step. A process killed at any moment leaves the old content, and at worst a hidden `.part` file, which whoever
writes the same target next removes. Folders of several files are made the same way, see `new_folder`. Of several processes that
work as one (`ohio_jax.mesh`) the first writes for all.
"""

import contextlib
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ohio_jax import mesh, reading
from ohio_jax.errors import UserError, short

UNIQUE = "[0-9a-f]" * 32  # what tells the names of temporary files apart, as a pattern of glob and of re alike
CARD = "card.json"  # of a folder of arrays


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes the file atomically, making its folder if need be. Raises OSError, which names the file, where the system does."""
    if not mesh.is_main_process():
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    part = _part(path)
    with _named(path, part):
        try:
            with _locked(part, "xb", needed=False) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync(path.parent)


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A hidden folder to fill, which becomes `path` once the block has ended, and is gone if it ends in an error.

    A folder that was there before is replaced, in two steps: a kill between them leaves neither of the two.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    part, old = _part(path), _part(path)
    with _named(path, part):
        part.mkdir()
        lock = os.open(part, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system that knows no locks of folders
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield part
            for file in part.iterdir():
                _sync(file)
            _sync(part)
            if path.exists():
                path.rename(old)
            part.rename(path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        finally:
            os.close(lock)
        _sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _named(path: Path, part: Path) -> Iterator[None]:
    """An error of the system on the way names what was to be written, where it names nothing or the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(part) in str(error.filename)):
            error.filename = str(path)
        raise


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def _remove_abandoned(path: Path) -> None:
    """Deletes the temporary files and folders of this target whose writers are dead: those alive hold them locked."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{UNIQUE}.part"):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY if left.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(descriptor)


def _locked(path: Path, mode: str, needed: bool = True) -> IO[Any]:
    """The file, open and locked; opened anew where whoever had it locked before has deleted it.

    Args:
        needed: whether a file system that knows no locks is an OSError.
    """
    while True:
        file = path.open(mode)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            if needed:
                file.close()
                raise
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def try_output(path: str | Path, folder: bool = False) -> None:
    """Before work whose result goes there: raises UserError where `write_bytes` could not write it, and leaves nothing.

    Args:
        folder: whether it is to be a folder, see `new_folder`.
    """
    if not mesh.is_main_process():
        return
    path = Path(path)
    part = _part(path)
    try:
        if path.exists() and path.is_dir() != folder:
            wanted, found = ("folder", "file") if folder else ("file", "folder")
            raise UserError(f"{path}: expected a {wanted} to write, found a {found}")
        nearest = next(folder for folder in part.parents if folder.exists())
        for name in part.relative_to(nearest).parts:
            with contextlib.suppress(FileNotFoundError):
                (nearest / name).lstat()  # an error where the name is too long, or none
        with tempfile.TemporaryFile(dir=nearest, buffering=0) as file:  # which has no name that a killed command could leave
            file.write(b"1")  # on a full disk a file can be made, but not filled
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected a file that can be written, found: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What the system says of an error, without the place."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


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
    return json.loads(str(arrays.pop("card")), object_pairs_hook=reading.once), arrays


def read_card(path: str | Path) -> Any:
    """The card of such a file, or of a folder of arrays, as it stands there; None of what is none. The arrays are not read."""
    try:
        if Path(path).is_dir():
            return json.loads((Path(path) / CARD).read_bytes())
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return json.loads(str(file["card"]))
    except Exception:  # NumPy and its parts raise many kinds for what they cannot read
        return None


def check_replaceable(path: str | Path, made: dict[str, Any]) -> None:
    """Raises UserError where new arrays with a card would take the place of anything but some whose card has these fields."""
    path = Path(path)
    if not path.exists():
        return
    card = read_card(path)
    if not isinstance(card, dict):
        raise UserError(f"{path}: expected no file, or an earlier result of this command, found another; give another name")
    for name, value in json.loads(json.dumps(made)).items():
        if card.get(name) != value:
            found = f"expected {short(value)}, found {short(card.get(name))}"
            raise UserError(f"{path}: field card.{name}: {found}, the result of another command; give another name")


@contextlib.contextmanager
def file_lock(path: str | Path) -> Iterator[None]:
    """Keeps other commands from making the same file or folder meanwhile: they wait here until this one is done, or dead."""
    path = Path(path)
    with contextlib.ExitStack() as held:
        if mesh.is_main_process():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f".{path.name}.lock")
            held.enter_context(_locked(lock, "w"))
            held.callback(lock.unlink, missing_ok=True)  # while it is still locked, see `_locked`
        mesh.barrier()
        yield
        mesh.barrier()


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Makes what a file holds, or what a folder names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
