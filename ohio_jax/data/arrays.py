"""What both kinds of data set are: a frozen dataclass of arrays with a card, known by a digest of its arrays."""

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from ohio_jax.errors import UserError

CHUNK = 1 << 24  # bytes hashed at a time: an array mapped from a file never lies in memory as a whole


class Arrays:
    """Flat arrays, each with a leading axis of its own, and where they come from.

    Attributes:
        card: a JSON object; its digests, format and kind are those of the file the data were read from.
    """

    card: dict[str, Any]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by field, in the order in which the fields are declared."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self) if field.name != "card"}  # pyright: ignore

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays, the same in memory and in a file; computed once, so arrays are not to be written to after."""
        return digest(self.arrays.values())

    def check(self, where: str) -> None:
        """Raises UserError naming `where` and the field if a number is not finite."""
        for name, array in self.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
                raise UserError(f"{where}: field {name}{list(bad)}: expected a finite number, found {array[bad]}")

    def _check_lengths(self, where: str, names: Iterable[str], rows: int) -> None:
        for name in names:
            found = len(getattr(self, name))
            if found != rows:
                raise UserError(f"{where}: field {name}: expected {rows} rows as in reward, found {found}")


def digest(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over the SHA-256 of each array's type, shape and bytes. Without names, so that renaming a field changes nothing."""
    return hashlib.sha256("\n".join(map(_hash, arrays)).encode()).hexdigest()


def digest_v1(arrays: dict[str, np.ndarray]) -> str:
    """The digest of files of format 1: SHA-256 over names, types, shapes and bytes of the arrays, in order of name."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        _feed(sha, arrays[name])
    return sha.hexdigest()


def _hash(array: np.ndarray) -> str:
    sha = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    _feed(sha, array)
    return sha.hexdigest()


def _feed(sha, array: np.ndarray) -> None:
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[first : first + rows]).data)
