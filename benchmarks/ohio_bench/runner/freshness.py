"""Which stored cells were made by today's code, or by code that is known to return the same.

Run files name their sources, which `results/sources/<preset>` holds by that name. A cell is `current` where these are today's,
`equivalent` where a sentinel (`ohio_bench.runner.sentinel`) has shown that what changed since changes no return of the table, and
else `stale`, also if it was made before sources were recorded, or if its table declares another configuration. What a sentinel
shows holds for all that changed together: of two modules of a cell, it says nothing of a new one beside an old one.

Pages say how many cells of a table are stale, and only commands say which modules changed, so that not every commit changes a
page. After a change of shared code a sentinel is rerun, or pages that say "Stale" are committed.
"""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.source import Code, Digests, changes, name_of
from ohio_jax import reading
from ohio_jax.errors import UserError
from ohio_jax.files import file_lock, write_json

State = Literal["current", "equivalent", "stale"]
Declared = Callable[[dict[str, Any]], bool]

LARGEST = 2**20  # bytes of a file of sources
EQUIVALENT = "equivalent.json"  # beside the sources: what sentinels have shown
WHEN = ("before", "after")  # fields of what a sentinel has shown: names of the sources of its two runs
NAME = re.compile("[0-9a-f]{12}")  # of sources
SHOWN = 6  # modules that a sentence names


def folder(preset: str, results: Path = RESULTS) -> Path:
    return results / "sources" / preset


def keep(digests: Digests, preset: str, results: Path = RESULTS) -> str:
    """Keeps sources under their name, which it returns."""
    path = folder(preset, results) / f"{name_of(digests)}.json"
    if not path.exists():
        write_json(path, digests)
    return path.stem


@dataclass(frozen=True)
class Freshness:
    """How many cells are stale, and why.

    Attributes:
        cells, stale: all of them, and those that are stale.
        unrecorded: those that were made before sources were recorded.
        other: of the rest, those of another configuration than is declared.
        changed: modules of the other stale ones that differ and are not known to be equivalent.
        groups: of trials, those that have stale ones, undeclared ones left out.
    """

    cells: int = 0
    stale: int = 0
    unrecorded: int = 0
    changed: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    other: int = 0

    def text(self, named: bool = False) -> str:
        """One sentence; nothing where no cell is stale. named: whether it names modules."""
        if not self.stale:
            return ""
        some, more = ", ".join(self.changed[:SHOWN]), len(self.changed) - SHOWN
        modules = f" (changed: {some}{f' and {more} more' if more > 0 else ''})" if named and some else ""
        counts = {
            "without sources": self.unrecorded,
            f"of other sources than today's{modules}": self.stale - self.unrecorded - self.other,
            "of another configuration than is declared": self.other,
        }
        trials = f", trials of {', '.join(self.groups)}" if self.groups else ""
        why = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
        return f"Stale: {self.stale} of {self.cells} cells{trials}: {why}."

    def as_json(self) -> dict[str, Any]:
        return {name: list(of) if isinstance(of, tuple) else of for name, of in vars(self).items()}


class Sources:
    """The sources of a folder of results beside the code as it lies on the disk now.

    Args:
        declared: whether a cell has the configuration that is declared today.
    """

    def __init__(self, results: Path = RESULTS, declared: Declared = lambda cell: True):
        self.code, self.declared = Code(), declared
        self.kept = functools.cache(functools.partial(_kept, results))
        self.shown = functools.cache(functools.partial(_shown, results))

    def stored(self, cell: dict[str, Any]) -> Digests:
        """Those that a run file names."""
        return self.kept(cell.get("preset", ""), cell["sources"])

    def changed(self, cell: dict[str, Any]) -> dict[str, tuple[str | None, str | None]] | None:
        """Modules that differ from those that made a run file, see `changes`, but for equivalent ones; None if it names none."""
        if "sources" not in cell:
            return None
        today, reached = self.code.sources(cell["config"]), [self.stored(cell)]
        if not reached[0]:  # its file is missing
            return changes({}, today)
        preset = cell.get("preset", "")
        shown = [[self.kept(preset, note[when]) for when in WHEN] for note in self.shown(preset).get(cell.get("table", ""), ())]
        shown = [pair for pair in shown if all(pair)]
        for known in reached:  # which grows
            for before, after in [pair for pair in shown for pair in (pair, pair[::-1])]:
                more = _as_shown(known, today, before, after)
                reached += [] if more is None or more in reached else [more]
        return min((changes(known, today) for known in reached), key=len)

    def state(self, cell: dict[str, Any]) -> State:
        changed = self.changed(cell)
        if changed is None or changed or not self.declared(cell):
            return "stale"
        return "current" if self.stored(cell) == self.code.sources(cell["config"]) else "equivalent"

    def freshness(self, cells: Iterable[dict[str, Any]]) -> Freshness:
        """Of our own cells; those of other authors are theirs to judge."""
        ours = [cell for cell in cells if "author" not in cell]
        found = [(cell, self.changed(cell)) for cell in ours if "sources" not in cell or self.declared(cell)]
        stale = [(cell, changed) for cell, changed in found if changed is None or changed]
        other = len(ours) - len(found)
        names = sorted({name for _, changed in stale for name in changed or ()})
        groups = sorted({cell["group"] for cell, _ in stale if "group" in cell})
        unrecorded = [of for _, of in stale].count(None)
        return Freshness(len(ours), len(stale) + other, unrecorded, tuple(names), tuple(groups), other)


def freshness(cells: Iterable[dict[str, Any]], results: Path = RESULTS, declared: Declared = lambda cell: True) -> Freshness:
    """Of cells of a folder of results. Raises UserError for a damaged file of sources."""
    cells = list(cells)
    return Sources(results, declared).freshness(cells) if cells else Freshness()


def record(cell: dict[str, Any], today: Digests, results: Path, note: dict[str, Any]) -> int:
    """Notes that what changed since a cell was made, up to today's sources, changes no return of its table.

    Args:
        note: what else it says.

    Returns:
        How many modules changed.
    """
    preset, table = cell["preset"], cell["table"]
    path, changed = folder(preset, results) / EQUIVALENT, changes(_kept(results, preset, cell["sources"]), today)
    with file_lock(path):
        known = _shown(results, preset)
        if changed:
            both = dict(zip(WHEN, (cell["sources"], keep(today, preset, results)), strict=True))
            write_json(path, known | {table: [*known.get(table, ()), {**note, **both}]})
    return len(changed)


def _as_shown(known: Digests, today: Digests, before: Digests, after: Digests) -> Digests | None:
    """What sources of a cell become where those of another cell were shown to be equivalent before and after a change.

    None where the two cells differ in a module that both have. today: the cell's, by which modules may be new.
    """
    if any(known[name] != before.get(name, after.get(name)) for name in known.keys() & (before.keys() | after.keys())):
        return None
    gone = before.keys() - after.keys() - today.keys()
    new = {name: after[name] for name in after.keys() & (known.keys() | (today.keys() - before.keys()))}
    return {name: digest for name, digest in {**known, **new}.items() if name not in gone}


def _kept(results: Path, preset: str, name: str) -> Digests:
    """Nothing if there is no such file."""
    path = folder(preset, results) / f"{name}.json"
    found = _read(path) if path.exists() else {}
    if found and (not all(isinstance(value, str) for value in found.values()) or name_of(found) != name):
        raise UserError(f"{path}: expected sources whose digest is {name}, found others")
    return found


def _shown(results: Path, preset: str) -> dict[str, list[dict[str, Any]]]:
    """Notes of `record`, by table."""
    path = folder(preset, results) / EQUIVALENT
    found = _read(path) if path.exists() else {}
    for notes in found.values():
        for note in notes if isinstance(notes, list) else [None]:
            names = [note.get(when) if isinstance(note, dict) else None for when in WHEN]
            if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
                raise UserError(f"{path}: expected a list of notes for each table, each with {' and '.join(WHEN)}, found damage")
    return found


def _read(path: Path) -> dict[str, Any]:
    found = reading.parse_json(path, reading.content(path, LARGEST))
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected an object, found {type(found).__name__}")
    return found
