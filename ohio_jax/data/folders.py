"""Arrays as a folder: one `.npy` file each, which are written block by block and read as they are needed, and a card.

`card.json` says what they are, and in its field `arrays` the SHA-256 of each array and of each of its chunks. `card_sha256` is
that of all its other fields.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax import mesh, reading
from ohio_jax.data.mapped import Mapped
from ohio_jax.errors import UserError, brief, short
from ohio_jax.files import CARD, new_folder, write_json

LARGEST_CARD = 1 << 28  # bytes

Columns = Mapping[str, Iterable[Any]]  # the rows of arrays, block by block


def write(path: str | Path, columns: Columns, describe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Writes a folder of arrays as a whole, see `ohio_jax.files.new_folder`.

    Args:
        columns: of each array, which has at least one row.
        describe: the card of the arrays, which are given as `near` has them. A UserError that it raises is one of this function,
            as are those of the checks that it asks for.
    """
    if not mesh.is_main_process():
        return
    with new_folder(path) as part:
        for name, parts in columns.items():
            _write_array(_file(part, name), parts)
        arrays = {name: Mapped(_file(part, name)) for name in columns}
        card = describe(near(arrays))
        card |= {"arrays": {name: array.summary for name, array in arrays.items()}}
        write_json(part / CARD, {**card, "card_sha256": card_sha256(card)})


def read(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """(card, arrays) of a folder, as `near` has them; the card without the fields that only the folder needs.

    Raises:
        UserError: naming the file, and the chunk of one that is read.
    """
    described = Path(path) / CARD
    card = reading.parse_json(described, reading.content(described, LARGEST_CARD))
    if not isinstance(card, dict):
        raise UserError(f"{described}: expected an object, found {short(card)}")
    noted = card.pop("card_sha256", None)
    if noted != (found := card_sha256(card)):
        raise UserError(f"{described}: field card_sha256: damaged, expected {brief(noted)}, found {found}")
    known = card.pop("arrays", None)
    if not isinstance(known, dict) or not all(map(_is_summary, known.items())):
        raise UserError(f"{described}: field arrays: expected SHA-256 and chunks of each array, found {short(known)}")
    return card, near({name: Mapped(_file(Path(path), name), summary) for name, summary in known.items()})


def card_sha256(card: dict[str, Any]) -> str:
    """Of a card's fields, in whatever order."""
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def near(arrays: dict[str, Mapped]) -> dict[str, Any]:
    """The arrays, those of one dimension in memory: few bytes a row, which everything asks for."""
    return {name: array if array.ndim > 1 else array[:] for name, array in arrays.items()}


def verify(arrays: dict[str, Any]) -> int:
    """Reads and checks all of what is still in files; the number of its chunks."""
    mapped = [array for array in arrays.values() if isinstance(array, Mapped)]
    for array in mapped:
        array.verify()
    return sum(len(array.summary["chunks"]) for array in mapped)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _is_summary(item: tuple[str, Any]) -> bool:
    """Whether a card's word on an array is one, and its name no path."""
    name, found = item
    text = lambda x: isinstance(x, str)
    return (
        name.isidentifier()
        and isinstance(found, dict)
        and set(found) == {"sha256", "rows", "chunks"}
        and text(found["sha256"])
        and type(found["rows"]) is int
        and found["rows"] > 0
        and isinstance(found["chunks"], list)
        and all(map(text, found["chunks"]))
    )


def _write_array(path: Path, parts: Iterable[Any]) -> None:
    """The rows of one array. Its header, of a size that does not depend on their number, is written again at the end."""
    rows, first = 0, None
    with path.open("wb") as file:
        for part in parts:
            part = np.ascontiguousarray(part)
            if first is None:
                first = part
                _write_header(file, part, 0)
            if part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
                expected, found = ((x.dtype.str, x.shape[1:]) for x in (first, part))
                raise UserError(f"{path}: row {rows}: expected rows of {brief(expected)} like those before, found {brief(found)}")
            file.write(part.data)
            rows += len(part)
        if first is None:
            raise UserError(f"{path}: expected at least 1 row, found none")
        file.seek(0)
        _write_header(file, first, rows)


def _write_header(file: Any, like: np.ndarray, rows: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(like)
    np.lib.format.write_array_header_1_0(file, {**header, "shape": (rows, *like.shape[1:])})
