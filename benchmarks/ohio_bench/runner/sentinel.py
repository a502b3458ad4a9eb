"""A sentinel: the first run of one cell of a table, rerun in a folder of its own after the cell's code has changed.

If all its returns are the same, that is taken to show that its sources before and after the change are equivalent, also for
all cells of the table that agree with it in the modules they share. Modules that it does not use, such as another learner, need
a sentinel of their own. It shows nothing of code in its modules that only other cells use, hence the one with most is picked.
"""

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ohio_envs import datasets

from ohio_bench.runner import freshness, source, store
from ohio_bench.runner.cell import RESULTS, Cell, Experiment
from ohio_bench.runner.executors import outcome
from ohio_bench.runner.run import chosen
from ohio_bench.runner.work import WorkFolder
from ohio_jax.errors import UserError


@dataclass(frozen=True)
class Rerun:
    """What a sentinel found: the cell, and how many modules are now known to be equivalent."""

    cell: str
    modules: int


def rerun(
    experiment: Experiment, first: Experiment, preset: str, only: Iterable[str] = (), results: Path = RESULTS
) -> Rerun | None:
    """Reruns one cell, and notes that what changed is equivalent if its returns are the same.

    Args:
        first: the same experiment with the first run of each cell alone.
        only: the cell; by default, of the stale ones that learn and have most modules, the one that took least time.

    Returns:
        None where no cell is stale.

    Raises:
        UserError: for a cell that learns nothing, has no run file, or one that says less than is needed; on another platform than
            it was run on; and for other returns. Nothing is noted then.
    """
    name, stored = _pick(experiment, preset, tuple(only), results)
    if not name:
        return None
    (cell,) = chosen(first, first.settled(first.preset(preset), preset, results), [name])
    _check(cell, stored)
    today = source.Code().sources(cell.config)
    with tempfile.TemporaryDirectory() as folder, _data_sets_in(Path(folder) / "datasets"):
        found = outcome(cell, WorkFolder(Path(folder)))
    if isinstance(found, UserError):
        raise UserError(f"cell {name}: {found}")
    assert isinstance(found, dict), "there is no deadline"
    _compare(name, stored, found)
    of = found["provenance"]
    return Rerun(name, freshness.record(stored, today, results, {"cell": name, "time": of["time"], "revision": of["revision"]}))


@contextlib.contextmanager
def _data_sets_in(folder: Path) -> Iterator[None]:
    """Data sets are made anew meanwhile, since those in the cache may have been made by earlier code."""
    before = os.environ.get(datasets.VARIABLE)
    os.environ[datasets.VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(datasets.VARIABLE)
        if before is not None:
            os.environ[datasets.VARIABLE] = before


def _pick(experiment: Experiment, preset: str, only: tuple[str, ...], results: Path) -> tuple[str, dict[str, Any]]:
    """Name and run file of the cell to run again; ("", {}) where none is stale."""
    place, sources = store.folder(experiment.name, preset, results), freshness.Sources(results)
    check = functools.partial(store.check_place, experiment.name, preset)
    if len(only) > 1:
        raise UserError(f"--only: expected one cell with --sentinel, found {len(only)}")
    if only:
        path = place / f"{only[0]}.json"
        if not path.exists():
            raise UserError(f"{path}: expected a run file to compare with, found none")
        cell = store.read(path, experiment.kind(only[0]), check)
        if not _learns(cell):
            raise UserError(f"cell {only[0]}: expected one that learns, found one that does not; --stale runs it again")
        return only[0], cell
    names = [path.relative_to(place).with_suffix("").as_posix() for path in sorted(place.rglob("*.json"))]
    cells = {name: store.read(place / f"{name}.json", experiment.kind(name), check) for name in names}
    stale = {name: cell for name, cell in cells.items() if sources.state(cell) == "stale"}
    able = {name: cell for name, cell in stale.items() if "sources" in cell and _learns(cell)}
    if stale and not able:
        raise UserError(f"{place}: expected a stale cell that learns and names its sources, found none; --stale runs them again")
    dear = lambda item: (-len(sources.stored(item[1])), sum(item[1]["seconds"].values()))
    return min(able.items(), key=dear, default=("", {}))


def _learns(cell: dict[str, Any]) -> bool:
    """Not so a scripted policy, nor what too few transitions were left for: they leave most of the code of a table alone."""
    return "policy" not in cell["config"] and "untrained" not in cell


def _check(cell: Cell, stored: dict[str, Any]) -> None:
    """Raises UserError unless a run file can be compared with a run of the cell here."""
    if "sources" not in stored:
        raise UserError(f"cell {cell.name}: expected a run file that names its sources, found one without; --stale runs it again")
    config = dict(stored["config"])
    if "plan" in config:
        config["plan"] = {**config["plan"], "seeds": cell.config["plan"]["seeds"]}
    if not store.same(config, cell.config):
        raise UserError(f"cell {cell.name}: expected today's configuration, found another; without --sentinel it is run again")
    platform = stored["provenance"]["hardware"]["platform"]
    if jax.default_backend() != platform:
        raise UserError(f"cell {cell.name}: expected {platform}, on which it was run, found {jax.default_backend()}")


def _compare(name: str, stored: dict[str, Any], found: dict[str, Any]) -> None:
    before, now = stored["returns"][0], found["returns"][0]
    different = [episode for episode, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1]]
    if different:
        episode = different[0]
        raise UserError(
            f"cell {name}: expected the returns of its run file, found others in {len(different)} of {len(before)} episodes"
            f" (episode {episode}: {before[episode]:g}, now {now[episode]:g}); nothing is noted, --stale runs again what is stale"
        )
    before, now = (next(iter(cell.get("data", [])), {}).get("label_errors") for cell in (stored, found))
    if before != now:
        raise UserError(f"cell {name}: expected label errors {before}, as in its run file, found {now}; nothing is noted")
