"""The one reader and writer of run files: where they lie, what is in them, and which configurations are the same."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ohio_bench.runner.cell import RESULTS
from ohio_jax.errors import UserError
from ohio_jax.files import write_json

VERSION = 2  # of what a run file is. Whoever adds or renames a field raises it, and says in `migration` what older files mean
WORK_VERSION = 3  # of data and checkpoints kept between runs; raised where what an older version left must not be taken up


def slug(*words: str) -> str:
    """A file's name, without what some file systems refuse."""
    return ".".join(re.sub(r"[^a-z0-9_.+-]+", "-", word.lower()).strip("-") for word in words)


def short_hash(config: dict[str, Any]) -> str:
    """Of a file or folder of `runner.work`."""
    return hashlib.sha256(json.dumps([WORK_VERSION, config], sort_keys=True).encode()).hexdigest()[:12]


def folder(experiment: str, preset: str, results: Path = RESULTS) -> Path:
    return results / "runs" / experiment / preset


def submitted(results: Path = RESULTS) -> Path:
    """The folder of run files that were made elsewhere, see `ohio_bench.report.leaderboard.submission`."""
    return results / "runs" / "submitted"


def read(path: Path, fields: Iterable[str]) -> dict[str, Any]:
    """A run file as today's code writes it. Raises UserError if it is damaged, lacks one of `fields` or is of later code."""
    try:
        cell = json.loads(path.read_text())
        if not isinstance(cell, dict):
            raise ValueError(f"no object but {type(cell).__name__}")
        missing = sorted(set(fields) - set(cell))
        if missing:
            raise ValueError(f"no field {missing[0]!r}")
        if not isinstance(cell.get("version", 0), int):
            raise ValueError(f"field version is {cell['version']!r}, no number")
    except ValueError as error:
        raise UserError(f"{path}: expected a run file, found damage ({error}); delete it to run the cell again") from error
    try:
        check_version(cell)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return cell


def check_version(cell: dict[str, Any]) -> None:
    """Raises UserError for a run file of another version, with what to do about it."""
    found = cell.get("version", 0)
    if found > VERSION:
        raise UserError(f"field version: expected {VERSION}, found {found}; it is of a later ohio-jax")
    if found < VERSION:
        how = f"python -m ohio_bench.runner.migration FOLDER writes a folder's run files as ones of {VERSION}"
        raise UserError(f"field version: expected {VERSION}, found {found}, of the schema before; {how}")


def read_all(place: Path, fields: Iterable[str]) -> list[dict[str, Any]]:
    """The run files of a folder, in order of their names."""
    return [read(path, fields) for path in sorted(place.glob("*.json"))]


def write(path: Path, cell: dict[str, Any]) -> None:
    write_json(path, {"version": VERSION, **cell})
