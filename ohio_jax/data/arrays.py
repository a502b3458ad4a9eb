"""What both kinds of data set are: a frozen dataclass of arrays with a card, known by a digest of its arrays."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Num

from ohio_jax.data.mapped import Mapped, blocks, hash_of
from ohio_jax.errors import UserError, brief, short

LARGEST = np.float64(np.finfo(np.float32).max)  # what learners and low levels compute with
WHOLE = np.iinfo(np.int32)

# Kinds of arrays, by the kinds of NumPy's types.
FLAGS, INTEGERS, NUMBERS, ANY = "b", "i", "iuf", "biuf"
NAMES = {FLAGS: "true or false", INTEGERS: "whole numbers", NUMBERS: "numbers", ANY: "numbers"}


class Form(NamedTuple):
    """What an array of a data set is.

    Attributes:
        kinds: one of NAMES.
        least, most: dimensions.
    """

    kinds: str
    least: int
    most: int


VECTOR, ROWS, ROWS_OF_ANY_SHAPE = Form(NUMBERS, 1, 1), Form(NUMBERS, 2, 2), Form(NUMBERS, 1, 8)

_text = "text", lambda x: isinstance(x, str)
# What fields of a card are, where it has them.
CARD = {
    "task": _text,
    "interface": _text,
    "behavior_policy": _text,
    "settings": ("an object", lambda x: isinstance(x, dict)),
    "corruption": ("a list", lambda x: isinstance(x, list)),
    "steps": ("a whole number from 1 on", lambda x: type(x) is int and 1 <= x <= WHOLE.max),
    "first_episode": ("a whole number from 0 on", lambda x: type(x) is int and x >= 0),
    "nonfinite_steps": ("a whole number from 0 on", lambda x: type(x) is int and x >= 0),
}


class Arrays:
    """Flat arrays, each with a leading axis of its own, and where they come from.

    Attributes:
        card: a JSON object; its digests, format and kind are those of the file the data were read from.
    """

    card: dict[str, Any]
    FORMS: ClassVar[dict[str, Form]]
    NEEDED: ClassVar[tuple[str, ...]]  # of the card

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by field, in the order in which the fields are declared; those in files stay there, see `Mapped`."""
        return {field.name: _array(getattr(self, field.name)) for field in fields(self) if field.name != "card"}  # pyright: ignore

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays as they are now, the same in memory and in a file."""
        return digest(self.arrays.values())

    def check(self, where: str) -> None:
        """Raises UserError naming `where` and the field if the card is invalid, or an array not what `FORMS` says, or empty.

        What numbers may be is asked of an array in a file chunk by chunk, when each is first read.
        """
        check_card(where, self.card, self.NEEDED)
        for name, array in self.arrays.items():
            check_form(where, name, array, self.FORMS[name])
            if not len(array):
                raise UserError(f"{where}: field {name}: expected at least 1 row, found none")


def check_card(where: str, card: Any, needed: Iterable[str] = ()) -> None:
    """Raises UserError if a card is not what JSON has, lacks a field, or has one of another type than CARD says."""
    if not isinstance(card, dict):
        raise UserError(f"{where}: field card: expected an object, found {type(card).__name__}")
    for name, value in card.items():
        try:
            json.dumps({name: value}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            found = f"{type(value).__name__} ({brief(error)})"
            raise UserError(f"{where}: field card.{brief(name)}: expected what JSON has, found {found}") from error
    for name, (expected, fits) in CARD.items():
        if (name in card or name in needed) and not fits(card.get(name)):
            raise UserError(f"{where}: field card.{name}: expected {expected}, found {short(card.get(name))}")


def check_form(where: str, name: str, array: Any, form: Form) -> None:
    """Raises UserError if an array has another type or number of dimensions, or rows of no entries."""
    array = _array(array)
    kind = array.dtype
    if kind.kind not in form.kinds or kind.itemsize > 8 or not kind.isnative:
        raise UserError(f"{where}: field {name}: expected {NAMES[form.kinds]}, found {brief(kind)}")
    if not form.least <= array.ndim <= form.most:
        dimensions = f"{'' if form.least == form.most else 'at least '}{form.least} dimension{'s' * (form.least > 1)}"
        raise UserError(f"{where}: field {name}: expected {dimensions}, found shape {array.shape}")
    if 0 in array.shape[1:]:
        raise UserError(f"{where}: field {name}: expected rows of at least 1 number, found shape {array.shape}")
    if kind.kind in "iu":
        check_range(where, name, array, WHOLE.min, WHOLE.max, "a whole number of 32 bits")


def check_rows(where: str, arrays: dict[str, np.ndarray], names: Iterable[str]) -> None:
    """Raises UserError if one of these arrays has not as many rows as `reward`."""
    rows = len(arrays["reward"])
    for name in names:
        if len(arrays[name]) != rows:
            raise UserError(f"{where}: field {name}: expected {rows} rows as in reward, found {len(arrays[name])}")


def check_alike(where: str, first: str, a: Num[np.ndarray, "..."], second: str, b: Num[np.ndarray, "..."]) -> None:
    """Raises UserError if the rows of the second array have another shape than those of the first."""
    if a.shape[1:] != b.shape[1:]:
        raise UserError(f"{where}: field {second}: expected rows of shape {a.shape[1:]} as in {first}, found {b.shape[1:]}")


def check_finite(where: str, name: str, array: Num[np.ndarray, "..."]) -> None:
    """Raises UserError naming the first entry that float32 cannot hold."""
    check_range(where, name, array, -LARGEST, LARGEST, "a finite number in float32")


def check_range(where: str, name: str, array: Num[np.ndarray, "..."], low: float, high: float, expected: str) -> None:
    """Raises UserError naming the first entry outside [low, high]; of an array in a file, when its chunk is first read.

    Needs no memory where there is none.
    """

    def check(first: int, rows: np.ndarray) -> None:
        if not in_range(rows, low, high):
            bad = np.unravel_index(np.argmin((rows >= low) & (rows <= high)), rows.shape)
            place = [first + int(bad[0]), *map(int, bad[1:])]
            raise UserError(f"{where}: field {name}{place}: expected {expected}, found {rows[bad]}")

    if isinstance(array, Mapped):
        array.ask((low, high), check)
    else:
        check(0, array)


def in_range(array: Num[np.ndarray, "..."], low: float, high: float) -> bool:
    """Whether every entry is within [low, high]; NaN is not."""
    return not array.size or bool(array.min() >= low and array.max() <= high)


def finite_rows(array: Num[np.ndarray, "N ..."]) -> Bool[np.ndarray, "N"]:
    """`Bool[N]`, the rows of which float32 can hold every entry."""
    found = np.ones(len(array), bool)
    for first, rows in blocks(array):
        if not in_range(rows, -LARGEST, LARGEST):
            within = (rows >= -LARGEST) & (rows <= LARGEST)
            found[first : first + len(rows)] = np.logical_and.reduce(within.reshape(len(rows), -1), axis=1)
    return found


def digest(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over the SHA-256 of each array's type, shape and bytes. Without names, so that renaming a field changes nothing."""
    return hashlib.sha256("\n".join(map(_hash, arrays)).encode()).hexdigest()


def digest_v1(arrays: dict[str, np.ndarray]) -> str:
    """The digest of files of format 1: SHA-256 over names, types, shapes and bytes of the arrays, in order of name."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        for _, rows in blocks(arrays[name]):
            sha.update(np.ascontiguousarray(rows).data)
    return sha.hexdigest()


def _array(values: Any) -> Any:
    return values if isinstance(values, Mapped) else np.asarray(values)


def _hash(array: np.ndarray | Mapped) -> str:
    return array.sha256 if isinstance(array, Mapped) else hash_of(array, (rows for _, rows in blocks(array)))
