"""Arrays that stay in their files: what is asked for is read, and every chunk is checked when it is first read."""

import functools
import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ohio_jax.errors import UserError, brief, short

CHUNK = 1 << 24  # bytes read, hashed or checked at a time
SPARSE = 2  # rows a row that is asked for, up to which all of them are read at once rather than looked up

Check = Callable[[int, np.ndarray], None]  # (first row, these rows of an array); raises UserError for what it must not hold


class Mapped:
    """An array in a `.npy` file, read as it is needed.

    A slice, and rows that lie close together, are read into memory of their own; rows far apart are looked up in a memory map, of
    which the system keeps what it has room for. Any other index reads all of it, as `np.asarray` does.

    Args:
        path: of the file.
        known: what the card of its data set says of it, see `summary`; None: nothing yet.

    Attributes:
        dtype, shape: as of an array.
        rows: of a chunk.

    Raises:
        UserError: naming the file, for one that is no whole array; when a chunk is first read, naming it, if its hash is not the
            card's.
    """

    def __init__(self, path: Path, known: dict[str, Any] | None = None):
        self.path, self._checks = path, dict[Hashable, Check]()
        try:
            array = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy raises many kinds for what is no array
            raise UserError(f"{path}: expected an array in NumPy's format, found {brief(error)}") from error
        self.dtype, self.shape, self._start = array.dtype, array.shape, array.offset
        found, expected = path.stat().st_size, array.offset + array.nbytes
        if found != expected or not array.flags.c_contiguous or not array.ndim:
            raise UserError(f"{path}: expected {expected} bytes, rows of an array one after another, found {found}")
        self.rows, self._sha256, hashes = chunk_rows(self), None, None
        if known is not None:
            self.rows, self._sha256, hashes = (known[name] for name in ("rows", "sha256", "chunks"))
        chunks = math.ceil(len(self) / self.rows)
        if hashes is not None and len(hashes) != chunks:
            raise UserError(f"{path}: expected {len(hashes)} chunks of {self.rows} rows, found shape {short(self.shape)}")
        self._hashes: list[str | None] = [None] * chunks if hashes is None else list(hashes)
        self._unread = set(range(chunks))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice) and index.step in (None, 1):
            first, stop, _ = index.indices(len(self))
            self._check(range(first // self.rows, math.ceil(stop / self.rows)))
            return self._read(first, max(first, stop))
        if isinstance(index, np.ndarray) and index.dtype.kind in "iu" and index.size and index.min() >= 0:
            first, last = int(index.min()), int(index.max())
            if last - first < SPARSE * index.size:
                return self[first : last + 1][index - first]
            if self._unread:
                self._check(np.unique(index // self.rows).tolist())
            return self._map[index]
        return self[:][index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    @property
    def sha256(self) -> str:
        """Of the whole array, as `arrays.digest` has it; reads the array only where nobody has said it."""
        if self._sha256 is None:
            self.verify()
        return str(self._sha256)

    def verify(self) -> None:
        """Reads every chunk. Raises UserError where one, or all of them together, are not what the card says."""
        self._check(range(len(self._hashes)))
        found = hash_of(self, (rows for _, rows in blocks(self)))
        if self._sha256 not in (None, found):
            raise UserError(f"{self.path}: expected SHA-256 {brief(self._sha256)} of all chunks, found {found}")
        self._sha256 = found

    @property
    def summary(self) -> dict[str, Any]:
        """What the card says of the file: SHA-256 of the array and of its chunks, and the rows of a chunk."""
        return {"sha256": self.sha256, "rows": self.rows, "chunks": self._hashes}

    def ask(self, what: Hashable, check: Check) -> None:
        """Has every chunk checked when it is next read, also one that was read before; once, however often the same is asked."""
        if what not in self._checks:
            self._checks[what] = check
            self._unread = set(range(len(self._hashes)))

    @functools.cached_property
    def _map(self) -> np.ndarray:
        return np.asarray(np.lib.format.open_memmap(self.path, mode="r"))

    def _read(self, first: int, stop: int) -> np.ndarray:
        """The rows as they are, without a look at their hash."""
        row = math.prod(self.shape[1:])
        start, count = self._start + first * row * self.dtype.itemsize, (stop - first) * row
        found = np.fromfile(self.path, self.dtype, count, offset=start)
        if len(found) != count:
            raise UserError(f"{self.path}: expected rows {first} to {stop - 1}, found the end of the file")
        return found.reshape(stop - first, *self.shape[1:])

    def _check(self, chunks: Iterable[int]) -> None:
        for chunk in chunks:
            if chunk not in self._unread:
                continue
            first, stop = chunk * self.rows, min((chunk + 1) * self.rows, len(self))
            rows = self._read(first, stop)
            expected, found = self._hashes[chunk], hash_of(self, [rows])
            if expected not in (None, found):
                where = f"{self.path}: chunk {chunk} (rows {first} to {stop - 1})"
                raise UserError(f"{where}: damaged, or of another data set: expected SHA-256 {brief(expected)}, found {found}")
            for check in self._checks.values():
                check(first, rows)
            self._hashes[chunk] = found
            self._unread.discard(chunk)


def chunk_rows(array: Shaped[np.ndarray, "N ..."] | Mapped) -> int:
    """Rows of a chunk of CHUNK bytes, at least one."""
    return max(1, CHUNK // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))


def blocks(array: Shaped[np.ndarray, "N ..."] | Mapped) -> Iterator[tuple[int, Shaped[np.ndarray, "rows ..."]]]:
    """(first row, rows) of an array, a chunk at a time."""
    rows = chunk_rows(array)
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]


def hash_of(array: Shaped[np.ndarray, "N ..."] | Mapped, parts: Iterable[np.ndarray]) -> str:
    """SHA-256 of an array's type and shape, and of the bytes of these parts of it."""
    sha = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    for part in parts:
        sha.update(np.ascontiguousarray(part).data)
    return sha.hexdigest()
