"""Which stored cells were made by today's code, or by code that is known to return the same.

Run files name their sources, which `results/sources` holds by that name. A cell is `current` where these are today's,
`equivalent` where a sentinel (`ohio_bench.runner.sentinel`) has shown that what changed since changes no return of the table, and
else `stale`, also if it was made before sources were recorded.

Pages say how many cells of a table are stale, and only commands say which modules changed, so that not every commit changes a
page. After a change of shared code a sentinel is rerun, or pages that say "Stale" are committed.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.source import Code, Digests, changes, name_of
from ohio_jax import reading
from ohio_jax.errors import UserError
from ohio_jax.files import file_lock, write_json

State = Literal["current", "equivalent", "stale"]

LARGEST = 2**20  # bytes of a file of sources
SHOWN = 6  # modules that a sentence names


def folder(results: Path = RESULTS) -> Path:
    return results / "sources"


def keep(digests: Digests, results: Path = RESULTS) -> str:
    """Keeps sources under their name, which it returns."""
    path = folder(results) / f"{name_of(digests)}.json"
    if not path.exists():
        write_json(path, digests)
    return path.stem


@dataclass(frozen=True)
class Freshness:
    """How many cells are stale, and why.

    Attributes:
        cells, stale: all of them, and those that are stale.
        unrecorded: stale ones that were made before sources were recorded.
        changed: modules of the other stale ones that differ and are not known to be equivalent.
    """

    cells: int = 0
    stale: int = 0
    unrecorded: int = 0
    changed: tuple[str, ...] = ()

    def text(self, named: bool = False) -> str:
        """One sentence; nothing where no cell is stale. named: whether it names modules."""
        if not self.stale:
            return ""
        were = "was" if self.stale == 1 else "were"
        how, some = f"{were} made by other sources than today's", ", ".join(self.changed[:SHOWN])
        more = f" and {len(self.changed) - SHOWN} more" if len(self.changed) > SHOWN else ""
        if self.stale == self.unrecorded:
            how, some = f"{were} made before sources were recorded", ""
        elif self.unrecorded:
            how += f", {self.unrecorded} of them before sources were recorded"
        return f"Stale: {self.stale} of {self.cells} cells {how}" + (f" (changed: {some}{more})" if named and some else "") + "."

    def as_json(self) -> dict[str, Any]:
        return {"cells": self.cells, "stale": self.stale, "unrecorded": self.unrecorded, "changed": list(self.changed)}


class Sources:
    """The sources of a folder of results beside the code as it lies on the disk now."""

    def __init__(self, results: Path = RESULTS):
        self.results, self.code = results, Code()
        self.stored = functools.cache(functools.partial(_stored, results))
        self.proved = _proved(results)

    def changed(self, cell: dict[str, Any]) -> dict[str, tuple[str | None, str | None]] | None:
        """Modules that differ from those that made a run file, see `changes`, but for equivalent ones; None if it names none."""
        if "sources" not in cell:
            return None
        found = changes(self.stored(cell["sources"]), self.code.sources(cell["config"]))
        pairs = [record["modules"] for record in self.proved.get(_table(cell), ())]
        return {name: pair for name, pair in found.items() if not _joined([of[name] for of in pairs if name in of], *pair)}

    def state(self, cell: dict[str, Any]) -> State:
        changed = self.changed(cell)
        if changed is None or changed:
            return "stale"
        same = self.stored(cell["sources"]) == self.code.sources(cell["config"])
        return "current" if same else "equivalent"

    def freshness(self, cells: Iterable[dict[str, Any]]) -> Freshness:
        """Of our own cells; those of other authors are theirs to judge."""
        found = [self.changed(cell) for cell in cells if "author" not in cell]
        known = [changed for changed in found if changed]
        names = sorted({name for changed in known for name in changed})
        return Freshness(len(found), len(known) + found.count(None), found.count(None), tuple(names))


def freshness(cells: Iterable[dict[str, Any]], results: Path = RESULTS) -> Freshness:
    """Of cells of a folder of results. Raises UserError for a damaged file of sources."""
    cells = list(cells)
    return Sources(results).freshness(cells) if cells else Freshness()


def record(cell: dict[str, Any], today: Digests, results: Path, note: dict[str, Any]) -> int:
    """Notes that what changed since a cell was made, up to today's sources, changes no return of its table.

    Args:
        note: what else it says.

    Returns:
        How many modules changed.
    """
    path, modules = folder(results) / "equivalent.json", changes(_stored(results, cell["sources"]), today)
    with file_lock(path):
        proved = _proved(results)
        if modules:
            write_json(path, proved | {_table(cell): [*proved.get(_table(cell), ()), {**note, "modules": modules}]})
    return len(modules)


def _table(cell: dict[str, Any]) -> str:
    return f"{cell.get('table')}/{cell.get('preset')}"


def _joined(pairs: Iterable[Iterable[str | None]], old: str | None, new: str | None) -> bool:
    """Whether pairs of equivalent digests lead from one to the other."""
    reached, pairs = {old}, [set(pair) for pair in pairs]
    while more := set().union(*(pair for pair in pairs if pair & reached)) - reached:
        reached |= more
    return new in reached


def _stored(results: Path, name: str) -> Digests:
    """Nothing if there is no such file."""
    path = folder(results) / f"{name}.json"
    found = _read(path) if path.exists() else {}
    if found and (not all(isinstance(value, str) for value in found.values()) or name_of(found) != name):
        raise UserError(f"{path}: expected sources whose digest is {name}, found others")
    return found


def _proved(results: Path) -> dict[str, list[dict[str, Any]]]:
    """Notes of `record`, by table and preset."""
    path = folder(results) / "equivalent.json"
    found = _read(path) if path.exists() else {}
    for notes in found.values():
        for note in notes if isinstance(notes, list) else [None]:
            modules = note.get("modules") if isinstance(note, dict) else None
            if not isinstance(modules, dict) or not all(isinstance(pair, list) and len(pair) == 2 for pair in modules.values()):
                raise UserError(f"{path}: expected a list of notes for each table, each with modules, found damage")
    return found


def _read(path: Path) -> dict[str, Any]:
    found = reading.parse_json(path, reading.content(path, LARGEST))
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected an object, found {type(found).__name__}")
    return found
