"""Data sets as files: one `.npz` with the arrays and a card (a JSON object) that holds their digest.

Files are written to a temporary name and renamed, so none is ever half there.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax import reading
from ohio_jax.data.arrays import ANY, Form, check_card, check_form, digest, digest_v1
from ohio_jax.data.migration import FORMAT, digest_of_format_1, migrated, migrated_card
from ohio_jax.data.trajectories import Trajectories
from ohio_jax.data.transitions import Transitions
from ohio_jax.errors import UserError, brief, short
from ohio_jax.files import read_npz, write_npz

Dataset = Trajectories | Transitions
KINDS: dict[str, type] = {"trajectories": Trajectories, "transitions": Transitions}


def save(path: str | Path, dataset: Dataset) -> str:
    """Writes the data set to one `.npz` file, atomically; returns its digest.

    Raises:
        UserError: before anything is written, for what `load` would not read.
    """
    dataset.check(str(path))
    kind = next(name for name, cls in KINDS.items() if isinstance(dataset, cls))
    arrays = dataset.arrays
    digests = {"sha256": dataset.digest, "sha256_v1": digest_of_format_1(arrays)}
    card = {**dataset.card, "format": FORMAT, "kind": kind, **digests}
    write_npz(path, card, arrays)
    return dataset.digest


def load(path: str | Path, kind: str) -> Any:
    """Reads a data set of the given kind ("trajectories" or "transitions") and checks it.

    Raises:
        UserError: if the file is missing, is no data set, is of another kind, is damaged, or holds what no data set does.
    """
    path = Path(path)
    content = reading.content(path)
    try:
        card, arrays = read_npz(content)
    except Exception as error:  # of NumPy, zipfile, zlib and json, which have no base class in common
        reason = f"{type(error).__name__}: {brief(error)}"
        raise UserError(f"{path}: damaged or no dataset ({reason}); expected an .npz file with a card") from error
    if not isinstance(card, dict):
        raise UserError(f"{path}: field card: expected an object, found {short(card)}")
    found = card.get("format")
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise UserError(f"{path}: field card.format: expected 1 to {FORMAT}, found {short(found)}")
    if card.get("kind") != kind:
        raise UserError(f"{path}: field card.kind: expected {kind!r}, found {short(card.get('kind'))}")
    return _checked(path, kind, arrays, card)


def _checked(path: Path, kind: str, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Dataset:
    """The data set of a file's content, as today's format has it whichever the file's."""
    check_card(str(path), card)
    for name, array in arrays.items():  # before they are hashed, which text and single numbers cannot be
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
