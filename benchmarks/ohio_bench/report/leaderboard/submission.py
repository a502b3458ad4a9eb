"""`ohio-jax submit`: a run file that was made elsewhere joins the board, or is refused with the reason.

`ohio_bench.runner.schema` says what a run file is. Beyond that it must be about a dataset the board has, on the board's own data
and test episodes and scored by its references; earn no more than can be earned there; and no method may be there twice.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ohio_bench.experiments import TABLES
from ohio_bench.report.entries import DATA, SUBMISSION, TESTS, load, part
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.store import read, same, slug, submitted, write
from ohio_bench.runner.table import ROUNDING, check_limits
from ohio_jax.errors import UserError, short, unknown
from ohio_jax.files import file_lock, try_output

SLACK = timedelta(hours=1)  # of clocks


def submit(path: Path, results: Path = RESULTS) -> Path:
    """Checks a run file and copies it to where the leaderboard finds it; returns that path. Once more changes nothing.

    Raises:
        UserError: for what is wrong with it; nothing is written then.
    """
    cell = read(path, SUBMISSION, check_time)
    try:
        try_output(place(cell, results))  # which both refuse before anything is made
        with file_lock(submitted(results)):  # of two at a time that have the same name one comes second
            out = place(cell, results)
            if not out.exists():
                write(out, cell, SUBMISSION)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return out


def check_time(cell: dict[str, Any]) -> None:
    """Raises UserError for a run that is yet to be made."""
    text, now = cell["provenance"]["time"], datetime.now(UTC)
    if datetime.fromisoformat(text) > now + SLACK:
        raise UserError(f"field provenance.time: expected a time that has passed, by {now:%Y-%m-%dT%H:%M:%SZ}, found {text}")


def place(cell: dict[str, Any], results: Path) -> Path:
    """Where the run file goes, or lies already. Raises UserError if it does not fit the board, or another has its name."""
    if cell["table"] not in TABLES:  # no file decides what is imported
        raise unknown("table", cell["table"], TABLES)
    table, preset = TABLES[cell["table"]], cell["preset"]
    if preset not in table.presets or preset == "quick":
        raise unknown(f"preset of {table.name} with a board", preset, [name for name in table.presets if name != "quick"])
    board = load(table, preset, results)
    ours = [of for of in board if "author" not in of]
    rivals = [of for of in ours if of["row"] == cell["row"] and "policy" not in of["config"]]
    if not rivals:
        rows = {of["row"] for of in ours if "policy" not in of["config"]}
        raise unknown(f"dataset of {table.name} in preset {preset}", cell["row"], rows)
    for name in (*TESTS, *DATA):
        _equal("config", name, rivals[0], cell)
    for name in ("zero", "full"):
        _equal("reference", name, rivals[0], cell)
    learner = cell["config"]["plan"]["learner"].upper()
    if cell["column"].split(" ")[-1] != learner:
        raise UserError(f"field column: expected the learner {learner!r} as its last word, found {cell['column']!r}")
    check_limits(table, cell)
    check_bound(cell, ours)
    name = slug(cell["row"], cell["column"])
    if any(slug(of["row"], of["column"]) == name and of != cell for of in board):
        raise UserError(f"field column: expected a method that is not on the board, found {cell['column']!r} on {cell['row']!r}")
    return submitted(results) / table.name / preset / f"{name}.json"


def check_bound(cell: dict[str, Any], ours: list[dict[str, Any]]) -> None:
    """Raises UserError for a return above the board's own upper bound of the same test episode, where it has one."""
    for of in ours:
        if of["config"].get("policy") == "oracle" and part(of["config"], TESTS) == part(cell["config"], TESTS):
            bound = np.asarray(of["returns"][0])
            above = np.argwhere(np.asarray(cell["returns"]) > bound + ROUNDING * np.abs(bound))
            if len(above):
                seed, episode = above[0]
                most, found = bound[episode], cell["returns"][seed][episode]
                raise UserError(f"field returns[{seed}][{episode}]: expected at most {most:g}, the upper bound, found {found:g}")


def _equal(part: str, name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    expected, found = ours[part].get(name), theirs[part].get(name)
    if not same({name: found}, {name: expected}):
        raise UserError(f"field {part}.{name}: expected {short(expected)}, as on the board, found {short(found)}")
