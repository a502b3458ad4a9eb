"""Data sets as files: arrays and a card (a JSON object) that holds their digest.

A path that ends in `.npz` is one compressed file, which is read as a whole. Any other is a folder of arrays, for data beyond
memory: they are written block by block and stay in their files, see `ohio_jax.data.mapped`. The digest is the same. Both are
written under a temporary name and renamed, so none is ever half there.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax import reading
from ohio_jax.data import folders
from ohio_jax.data.arrays import ANY, Form, check_card, check_form, digest, digest_v1
from ohio_jax.data.folders import Columns
from ohio_jax.data.mapped import Mapped, blocks
from ohio_jax.data.migration import FORMAT, digest_of_format_1, migrated, migrated_card
from ohio_jax.data.trajectories import Trajectories
from ohio_jax.data.transitions import Transitions
from ohio_jax.errors import UserError, brief, short
from ohio_jax.files import read_card, read_npz, write_npz

Dataset = Trajectories | Transitions
KINDS: dict[str, type] = {"trajectories": Trajectories, "transitions": Transitions}


def save(path: str | Path, dataset: Dataset) -> str:
    """Writes the data set to a file or folder, atomically; returns its digest.

    Raises:
        UserError: before anything is written, for what `load` would not read.
    """
    dataset.check(str(path))
    if Path(path).suffix == ".npz":
        write_npz(path, _described(dataset), dataset.arrays)
    else:
        columns = {name: (rows for _, rows in blocks(array)) for name, array in dataset.arrays.items()}
        write(path, type(dataset), columns, lambda _: dataset.card)
    return dataset.digest


def write(path: str | Path, kind: type, columns: Columns, card: Callable[[Any], dict[str, Any]]) -> None:
    """As `save`, of arrays that come block by block: a folder's are never in memory as a whole.

    Args:
        kind: Trajectories or Transitions.
        columns: the blocks of each of its arrays.
        card: `card(dataset)`, of what the blocks have become, whose own is empty yet.
    """

    def dataset(arrays: dict[str, Any]) -> Dataset:
        bare = kind(card={}, **arrays)
        return replace(bare, card=card(bare))

    def described(arrays: dict[str, Any]) -> dict[str, Any]:
        whole = dataset(arrays)
        whole.check(str(path))
        return _described(whole)

    if Path(path).suffix == ".npz":
        save(path, dataset({name: np.concatenate([*parts]) for name, parts in columns.items()}))
    else:
        folders.write(path, columns, described)


def _described(dataset: Dataset) -> dict[str, Any]:
    """What a file's card says of the data set."""
    kind = next(name for name, cls in KINDS.items() if isinstance(dataset, cls))
    digests = {"sha256": dataset.digest, "sha256_v1": digest_of_format_1(dataset.arrays)}
    return {**dataset.card, "format": FORMAT, "kind": kind, **digests}


def load(path: str | Path, kind: str) -> Any:
    """Reads a data set of the given kind ("trajectories" or "transitions") and checks it; of a folder, what is read of it when
    it is read.

    Raises:
        UserError: if the file is missing, is no data set, is of another kind, is damaged, or holds what no data set does.
    """
    path = Path(path)
    card, arrays = folders.read(path) if path.is_dir() else _read_file(path)
    if not isinstance(card, dict):
        raise UserError(f"{path}: field card: expected an object, found {short(card)}")
    found = card.get("format")
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise UserError(f"{path}: field card.format: expected 1 to {FORMAT}, found {short(found)}")
    if card.get("kind") != kind:
        raise UserError(f"{path}: field card.kind: expected {kind!r}, found {short(card.get('kind'))}")
    return _checked(path, kind, arrays, card)


def verify(path: str | Path) -> tuple[Dataset, int]:
    """A data set of either kind all of which is read and checked, and how many chunks of it lie in files.

    Raises:
        UserError: as `load`, and for damage anywhere.
    """
    card = read_card(path)
    kind = card.get("kind") if isinstance(card, dict) else None
    dataset = load(path, kind if kind in ("trajectories", "transitions") else "trajectories")
    return dataset, folders.verify(dataset.arrays)


def _read_file(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    content = reading.content(path)
    try:
        return read_npz(content)
    except Exception as error:  # of NumPy, zipfile, zlib and json, which have no base class in common
        reason = f"{type(error).__name__}: {brief(error)}"
        raise UserError(f"{path}: damaged or no dataset ({reason}); expected an .npz file with a card") from error


def _checked(path: Path, kind: str, arrays: dict[str, Any], card: dict[str, Any]) -> Dataset:
    """The data set of a file's content, as today's format has it whichever the file's."""
    check_card(str(path), card)
    for name, array in arrays.items():  # before they are hashed, which text and single numbers cannot be
        if not isinstance(array, Mapped):
            check_form(str(path), brief(name), array, Form(ANY, 1, 8))
    if card["format"] == 1:
        _compare(path, "sha256", card, digest_v1(arrays))
    arrays = migrated(str(path), arrays, card)
    names = {field.name for field in fields(KINDS[kind])} - {"card"}
    if set(arrays) != names:
        raise UserError(f"{path}: fields: expected {sorted(names)}, found {brief(sorted(arrays))}")
    found = digest(arrays[field.name] for field in fields(KINDS[kind]) if field.name != "card")
    card = migrated_card(card, found)
    _compare(path, "sha256", card, found)
    dataset = KINDS[kind](card=card, **arrays)
    dataset.check(str(path))
    return dataset


def _compare(path: Path, field: str, card: dict[str, Any], found: str) -> None:
    if found != card.get(field):
        raise UserError(f"{path}: field card.{field}: arrays are damaged, expected {brief(card.get(field))}, found {found}")
