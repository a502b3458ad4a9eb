"""`ohio-jax submit`: a run file that was made elsewhere joins the board, or is refused with the reason.

`run.schema.json` says what a run file is. Beyond that it must be about a dataset the board has, on the board's own data and
test episodes and scored by its references; and no method may be there twice.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ohio_bench.experiments import table_of
from ohio_bench.report.aggregate import load
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.store import check_version, slug, submitted, write
from ohio_jax.errors import UserError, unknown

LARGEST = 16 * 2**20  # bytes of a run file
DEEPEST = 16  # levels of nesting
# As on the board. Settings that data were collected under are named where they are not the task's.
PROTOCOL = ("task", "settings", "data_settings", "behavior_policy", "data_seed", "data_episodes", "test_seed", "test_episodes")


def submit(path: Path, results: Path = RESULTS) -> Path:
    """Checks a run file and copies it to where the leaderboard finds it; returns that path.

    Raises:
        UserError: for what is wrong with it; nothing is written then.
    """
    try:
        cell = read(path)
        out = place(cell, results)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    write(out, cell)
    return out


def read(path: Path) -> dict[str, Any]:
    """A run file that `check` finds sound. Raises UserError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"expected a run file, found {error.strerror}") from error
    if len(content) > LARGEST:
        raise UserError(f"expected at most {LARGEST} bytes, found {len(content)}")
    try:
        cell = json.loads(content.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UserError(f"expected JSON in UTF-8, found damage ({error})") from error
    check(cell)
    return cell


def check(cell: Any) -> None:
    """Raises UserError unless a run file keeps to the schema, all its numbers are finite and its lists of one length."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    _check_values(cell, ())
    schema = json.loads(resources.files("ohio_bench.report.leaderboard").joinpath("run.schema.json").read_text(encoding="utf-8"))
    if isinstance(cell, dict) and isinstance(cell.get("version", 0), int):
        check_version(cell)
    error = best_match(Draft202012Validator(schema).iter_errors(cell))
    if error is not None:
        raise UserError(_explain(error, schema))
    for name, values in {"returns": cell["returns"], **_named("metrics", cell), **_named("curve", cell)}.items():
        if len({len(line) for line in values}) > 1:
            raise UserError(f"field {name}: expected lists of one length, found {len(min(values, key=len))} and more numbers")


def place(cell: dict[str, Any], results: Path) -> Path:
    """Where the run file goes. Raises UserError if it does not fit what the board has, or is there already."""
    table, preset = table_of(cell["table"]), cell["preset"]
    if preset not in table.presets or preset == "quick":
        raise unknown(f"preset of {table.name} with a board", preset, [name for name in table.presets if name != "quick"])
    ours = load(table, preset, results)
    same = [of for of in ours if of["row"] == cell["row"] and "policy" not in of["config"]]
    if not same:
        rows = {of["row"] for of in ours if "policy" not in of["config"]}
        raise unknown(f"dataset of {table.name} in preset {preset}", cell["row"], rows)
    for name in PROTOCOL:
        _equal(f"config.{name}", same[0]["config"].get(name), cell["config"].get(name))
    for name in ("zero", "full"):
        _equal(f"reference.{name}", same[0]["reference"][name], cell["reference"][name])
    learner = cell["config"]["plan"]["learner"].upper()
    if cell["column"].split(" ")[-1] != learner:
        raise UserError(f"field column: expected the learner {learner!r} as its last word, found {cell['column']!r}")
    _equal("returns, numbers a seed", cell["config"]["test_episodes"], len(cell["returns"][0]))
    for name, values in _named("metrics", cell).items():
        _equal(f"{name}, lists and numbers of each", np.shape(cell["returns"]), np.shape(values))
    name = slug(cell["row"], cell["column"])
    if name in {slug(of["row"], of["column"]) for of in ours}:
        raise UserError(f"field column: expected a method that is not on the board, found {cell['column']!r} on {cell['row']!r}")
    return submitted(results) / table.name / preset / f"{name}.json"


def _named(field: str, cell: dict[str, Any]) -> dict[str, Any]:
    return {f"{field}.{name}": values for name, values in cell.get(field, {}).items()}


def _equal(field: str, expected: Any, found: Any) -> None:
    if found != expected:
        raise UserError(f"field {field}: expected {expected!r}, as on the board, found {_cut(found)}")


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose names must differ: of two equal ones parsers take either."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(f"field {next(name for name in names if names.count(name) > 1)!r}: expected once, found twice")
    return found


def _where(path: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _check_values(value: Any, path: tuple[Any, ...]) -> None:
    """Raises UserError for NaN, infinity, text that is no Unicode, and deep nesting, wherever it is."""
    if len(path) > DEEPEST:
        raise UserError(f"field {_where(path[:3])}: expected at most {DEEPEST} levels of nesting, found more")
    if isinstance(value, dict):
        for name, of in value.items():
            _check_values(name, path)
            _check_values(of, (*path, name))
    elif isinstance(value, list):
        for i, of in enumerate(value):
            _check_values(of, (*path, i))
    elif isinstance(value, str):
        if not value.isascii() and any(0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise UserError(f"field {_where(path)}: expected Unicode text, found half of a surrogate pair")
    elif isinstance(value, (int, float)) and not abs(value) <= 1e300:
        found = "NaN" if value != value else "a number too large"
        raise UserError(f"field {_where(path)}: expected a finite number, found {found}")


def _explain(error: Any, schema: dict[str, Any]) -> str:
    """One line: the field, what the schema says it is, and what was found."""
    where = _where(tuple(error.absolute_path))
    if error.validator == "required":
        name = next(name for name in error.validator_value if name not in error.instance)
        return f"field {where + '.' if where else ''}{name}: expected, found none"
    if error.validator == "additionalProperties":
        name = next(name for name in error.instance if name not in error.schema["properties"])
        return f"field {where + '.' if where else ''}{_cut(name)}: expected one of {', '.join(error.schema['properties'])}"
    said, part = [""], schema
    for key in error.absolute_schema_path:
        if key not in part:  # the path does not name references
            part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]]
            said.append(part["description"])
        part = part[key]
        if isinstance(part, dict) and "description" in part:
            said = [part["description"]]
    form = f" ({said[1]})" if len(said) > 1 else ""
    return f"field {where or 'of the file'}: expected {said[0]}{form}, found {_cut(error.instance)}"
