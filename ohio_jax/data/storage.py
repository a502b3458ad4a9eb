"""Data sets as files: one `.npz` with the arrays and a card (a JSON object) that holds their digest.

Files are written to a temporary name and renamed, so none is ever half there.
"""

import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax.data.arrays import digest, digest_v1
from ohio_jax.data.migration import FORMAT, digest_of_format_1, migrated, migrated_card
from ohio_jax.data.trajectories import Trajectories
from ohio_jax.data.transitions import Transitions
from ohio_jax.errors import UserError
from ohio_jax.files import read_npz, write_npz

Dataset = Trajectories | Transitions
KINDS: dict[str, type] = {"trajectories": Trajectories, "transitions": Transitions}


def save(path: str | Path, dataset: Dataset) -> str:
    """Writes the data set to one `.npz` file, atomically; returns its digest."""
    kind = next(name for name, cls in KINDS.items() if isinstance(dataset, cls))
    arrays = dataset.arrays
    digests = {"sha256": dataset.digest, "sha256_v1": digest_of_format_1(arrays)}
    card = {**dataset.card, "format": FORMAT, "kind": kind, **digests}
    write_npz(path, card, arrays)
    return dataset.digest


def load(path: str | Path, kind: str) -> Any:
    """Reads a data set of the given kind ("trajectories" or "transitions") and checks it.

    Raises:
        UserError: if the file is missing, is no data set, is of another kind, is damaged, or holds NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a dataset (.npz) written by this program")
    try:
        card, arrays = read_npz(path.read_bytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(f"{path}: damaged or no dataset ({error}); expected an .npz file with a card") from error
    except Exception as error:  # zlib.error has no public base class of its own
        raise UserError(f"{path}: damaged ({type(error).__name__}: {error}); expected a dataset") from error
    found = card.get("format") if isinstance(card, dict) else None
    if found not in range(1, FORMAT + 1):
        raise UserError(f"{path}: field card.format: expected 1 to {FORMAT}, found {found!r}")
    if card.get("kind") != kind:
        raise UserError(f"{path}: field card.kind: expected {kind!r}, found {card.get('kind')!r}")
    return _checked(path, kind, arrays, card)


def _checked(path: Path, kind: str, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Dataset:
    """The data set of a file's content, as today's format has it whichever the file's."""
    if card["format"] == 1:
        _compare(path, "sha256", card, digest_v1(arrays))
    arrays = migrated(arrays, card)
    names = {field.name for field in fields(KINDS[kind])} - {"card"}
    if set(arrays) != names:
        raise UserError(f"{path}: fields: expected {sorted(names)}, found {sorted(arrays)}")
    found = digest(arrays[field.name] for field in fields(KINDS[kind]) if field.name != "card")
    card = migrated_card(card, found)
    _compare(path, "sha256", card, found)
    dataset = KINDS[kind](card=card, **arrays)
    dataset.check(str(path))
    return dataset


def _compare(path: Path, field: str, card: dict[str, Any], found: str) -> None:
    if found != card.get(field):
        raise UserError(f"{path}: field card.{field}: arrays are damaged, expected {card.get(field)}, found {found}")
