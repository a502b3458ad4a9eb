"""The one reader and writer of run files: where they lie, and which configurations are the same; `schema` says what they hold."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ohio_bench.runner import schema
from ohio_bench.runner.cell import RESULTS, Cell
from ohio_bench.runner.schema import VERSION
from ohio_jax import reading
from ohio_jax.errors import UserError, short
from ohio_jax.files import write_json

WORK_VERSION = 3  # of data and checkpoints kept between runs; raised where what an older version left must not be taken up
LARGEST = 16 * 2**20  # bytes of a run file
IDENTITY = ("row", "column", "group", "number", "changes")  # fields by which a run file says which cell it is of


def slug(*words: str) -> str:
    """A file's name, without what some file systems refuse; letters beyond ASCII leave a digest, so that names stay apart."""
    return ".".join(map(_slug, words))


def _slug(word: str) -> str:
    kept = re.sub(r"[^a-z0-9_.+-]+", "-", word.lower()).strip("-")
    lost = "" if word.isascii() else hashlib.sha256(word.encode(errors="surrogatepass")).hexdigest()[:8]
    return "-".join(filter(None, (kept, lost)))


def short_hash(config: dict[str, Any]) -> str:
    """Of a file or folder of `runner.work`."""
    return digest([WORK_VERSION, config])


def same(found: Any, wanted: dict[str, Any]) -> bool:
    """Whether two configurations are the same, see `comparable`."""
    return comparable(found) == comparable(wanted)


def comparable(config: Any) -> Any:
    """A configuration as it is on every machine: which engine steps MuJoCo's physics is the machine's choice."""
    if not isinstance(config, dict):
        return config
    either = lambda settings: settings | ({"backend": "c"} if settings.get("backend") == "mjx" else {})
    return config | {name: either(config[name]) for name in ("settings", "data_settings") if isinstance(config.get(name), dict)}


def digest(content: Any) -> str:
    """12 hexadecimal digits of what JSON holds."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as a run file holds it."""
    return json.loads(json.dumps(config))


def folder(experiment: str, preset: str, results: Path = RESULTS, place: str = "runs") -> Path:
    """place: of the experiment's run files, see `ohio_bench.runner.cell.Experiment`."""
    return results / place / experiment / preset


def check_place(experiment: str, preset: str, cell: dict[str, Any]) -> None:
    """Raises UserError for a run file of another experiment or preset than the folder it lies in, and for a submitted one."""
    check_folder(experiment, preset, cell)
    if "author" in cell:
        raise UserError(f"field author: expected of what was submitted alone, found {short(cell['author'])}")


def check_folder(experiment: str, preset: str, cell: dict[str, Any]) -> None:
    """Raises UserError for a run file that says it is of another experiment or preset than the folder it lies in."""
    for name, of_folder in (("table", experiment), ("preset", preset)):
        if (found := cell.get(name, of_folder)) != of_folder:
            raise UserError(f"field {name}: expected {short(of_folder)}, whose folder it lies in, found {short(found)}")


def check_cell(wanted: Cell, found: dict[str, Any]) -> None:
    """Raises UserError for a run file of a cell's configuration that says it is of another cell."""
    if same(found["config"], plain(wanted.config)):
        check_head(wanted.head, found)


def check_head(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises UserError for a run file that says it is of another cell than that whose head is wanted."""
    head = plain(wanted)
    for name in IDENTITY:
        if name in head and found.get(name) != head[name]:
            raise UserError(f"field {name}: expected {short(head[name])}, as declared, found {short(found.get(name))}")


def submitted(results: Path = RESULTS) -> Path:
    """The folder of run files that were made elsewhere, see `ohio_bench.report.leaderboard.submission`."""
    return results / "runs" / "submitted"


def read(path: Path, kind: str, check: Callable[[dict[str, Any]], None] = lambda cell: None) -> dict[str, Any]:
    """A run file as today's code writes it.

    Args:
        kind: see `schema.check`.
        check: raises UserError for what else is wrong with it.

    Raises:
        UserError: naming file, field, expected and found; also for a file of an earlier or later version.
    """
    cell = reading.parse_json(path, reading.content(path, LARGEST))
    try:
        schema.check(cell, kind)
        check(cell)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return cell


def read_all(
    place: Path,
    kind: str,
    check: Callable[[dict[str, Any]], None] = lambda cell: None,
    name: Callable[[dict[str, Any]], str] | None = None,
) -> list[dict[str, Any]]:
    """The run files of a folder, in order of their names.

    Args:
        name: of the file of a cell, where what it holds says that: no two files are then of one cell.
    """
    found = {path: read(path, kind, check) for path in sorted(place.glob("*.json"))}
    for path, cell in found.items():
        if name and name(cell) != path.stem:
            raise UserError(f"{path}: expected a run file of the cell that it is named by, found one of {short(name(cell))}")
    return list(found.values())


def write(path: Path, cell: dict[str, Any], kind: str) -> None:
    """Raises UserError for what `read` would refuse; nothing is written then."""
    whole = json.loads(json.dumps({"version": VERSION, **cell}))
    schema.check(whole, kind)
    write_json(path, whole)
