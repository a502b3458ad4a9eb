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

VERSION = 1  # of what a run file is; older ones, and those before there was a number, are read through `migrated`
WORK_VERSION = 2  # of data and checkpoints kept between runs; raised where what an older version left must not be taken up

PLAN_BEFORE = {"normalise": False}  # what a training plan had gained, with what the code did before, likewise
# Fields that a learner's Config has gained, with what the code did before it had them. A run file lacks a field if it was made
# then, whatever the default is today: whoever adds a field adds a line.
BEFORE: dict[str, dict[str, Any]] = {
    "cql": {"cloning": 0.0, "importance": True},
    "cal_ql": {"cloning": 0.0, "importance": True},
}


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
    if cell.get("version", 0) > VERSION:
        raise UserError(f"{path}: field version: expected at most {VERSION}, found {cell['version']}; it is of a later ohio-jax")
    return migrated(cell)


def read_all(place: Path, fields: Iterable[str]) -> list[dict[str, Any]]:
    """The run files of a folder, in order of their names."""
    return [read(path, fields) for path in sorted(place.glob("*.json"))]


def write(path: Path, cell: dict[str, Any]) -> None:
    write_json(path, {"version": VERSION, **cell})


def migrated(cell: dict[str, Any]) -> dict[str, Any]:
    """A run file of any version as one of `VERSION`, whose learners have all fields."""
    return {**cell, "version": VERSION, "config": _whole(cell["config"])}


def _whole(part: Any) -> Any:
    """Every plan within a configuration with the fields that it lacks of `PLAN_BEFORE`, and its learner of `BEFORE`."""
    if not isinstance(part, dict):
        return part
    found = {name: _whole(value) for name, value in part.items()}
    if "learner" in found and isinstance(found.get("config"), dict):
        found = PLAN_BEFORE | found | {"config": BEFORE.get(found["learner"], {}) | found["config"]}
    return found
