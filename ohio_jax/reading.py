"""Files that others wrote: kind and size are looked at before a byte is read, and JSON says every name once."""

import json
import stat
from pathlib import Path
from typing import Any

from ohio_jax.errors import UserError, short

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def check_path(path: str | Path) -> None:
    """Raises UserError for a path that is no text in UTF-8, for libraries that take no other."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: expected a path in UTF-8, found other bytes in it") from None


def content(path: str | Path, most: int | None = None) -> bytes:
    """The bytes of a file. Raises UserError for what is no regular file, cannot be read, or is longer than `most` bytes."""
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: expected a readable file, found {KINDS.get(stat.S_IFMT(status.st_mode), 'another kind')}")
        size, found = status.st_size, b""
        if most is None or size <= most:
            with path.open("rb") as file:
                # What grows meanwhile, and what says no size, ends here as well.
                found = file.read(-1 if most is None else (size or most) + 1)
    except OSError as error:
        raise UserError(f"{path}: expected a readable file, found {error.strerror}") from error
    if most is not None and max(size, len(found)) > most:
        raise UserError(f"{path}: expected at most {most} bytes, found {max(size, len(found))}")
    return found


def parse_json(path: str | Path, text: bytes) -> Any:
    """What a file's text says. Raises UserError unless it is JSON in UTF-8 that names each field of an object once."""
    try:
        return json.loads(text.decode(), object_pairs_hook=once)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON in UTF-8, found damage ({error})") from error


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose names must differ: of two equal ones parsers take either."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise UserError(f"field {short(twice)}: expected once, found twice")
    return found
