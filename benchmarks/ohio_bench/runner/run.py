"""The loop that fills every experiment: one run file a cell, what is missing is run, then the report is written.

Run files are all that a later call needs, wherever it is made: the work folder beside them only saves work twice done.
"""

import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ohio_envs import datasets

from ohio_bench.runner import commands, freshness, store
from ohio_bench.runner.cell import RESULTS, Cell, Experiment, Report
from ohio_bench.runner.executors import Executor, here
from ohio_bench.runner.work import WorkFolder
from ohio_jax import mesh
from ohio_jax.deadline import NEVER, Deadline, OutOfTime
from ohio_jax.errors import UserError, one_line, unknown
from ohio_jax.files import try_output


class Ran(NamedTuple):
    """What a run of an experiment did.

    Attributes:
        paths: of the run files of all cells that were chosen, but for those that were not run.
        ran: how many cells were run for it.
        late: cells that were not run for lack of time, and the seconds that they would need, None where nothing was timed.
    """

    paths: list[Path]
    ran: int
    report: Report
    late: dict[str, float | None]


def chosen(experiment: Experiment, made: Any, only: Iterable[str] = ()) -> list[Cell]:
    """The cells of a preset; with `only` those of these groups, and those of these names.

    Raises:
        UserError: for another name, and where two cells have one, and so one run file.
    """
    groups = list(experiment.groups(made))
    of_groups = [name for name in only if name in groups]
    cells = list(experiment.cells(made, of_groups if only else groups)) if of_groups or not only else []
    named = set(only) - set(groups)
    if named:
        kept, every = {cell.name for cell in cells}, list(experiment.cells(made, groups))
        for name in sorted(named - {cell.name for cell in every}):
            raise unknown(f"{experiment.group} of {experiment.name}", name, groups)
        cells = [cell for cell in every if cell.name in kept | named]
    for name, amount in Counter(cell.name for cell in cells).items():
        if amount > 1:
            raise UserError(f"cells of {experiment.name}: expected names that differ, found {name} {amount} times")
    return [cell._replace(config=store.plain(cell.config)) for cell in cells]


def run(
    experiment: Experiment,
    preset: str,
    only: Iterable[str] = (),
    results: Path = RESULTS,
    execute: Executor = here,
    force: bool = False,
    stale: bool = False,
    deadline: Deadline = NEVER,
) -> Ran:
    """Runs every cell whose run file is missing or was made with another configuration, then writes the report.

    A cell that fails is named on standard error, and keeps none of the others from being run and reported; not where several
    processes work as one, which end with it.

    Args:
        only: see `chosen`.
        results: where run files and pages go, and, in its folder `.work`, recovered actions and checkpoints.
        force: all of them, whatever is there, from recovering actions on.
        stale: stale cells as well, see `ohio_bench.runner.freshness`.
        deadline: no cell is started after it, nor trained once its first updates say that it cannot end by then; its checkpoint
            is kept.
        execute: where, see `ohio_bench.runner.executors`. A killed call goes on where it stopped: finished cells from their run
            files, the cell in work from its checkpoint.

    Raises:
        UserError: for an unknown name, a damaged run file, or a folder that cannot be written to; after the report, for cells
            that failed.
    """
    made, only = experiment.settled(experiment.preset(preset), preset, results), tuple(only)
    again = functools.partial(chosen, experiment, made, only)
    work = WorkFolder(results / ".work", time.time() if force else 0.0, deadline)
    cells, place = {cell.name: cell for cell in again()}, store.folder(experiment.name, preset, results, experiment.place)
    paths = {name: place / f"{name}.json" for name in cells}
    sources = freshness.Sources(results)  # before anything runs: files may change while their old code does

    def stored(name: str) -> bool:
        def check(found: dict[str, Any]) -> None:
            store.check_place(experiment.name, preset, found)
            store.check_cell(cells[name], found)

        found = _read(paths[name], name, experiment.kind(name), check)
        as_asked = store.same(found.get("config"), cells[name].config) and not _other_logs(found)
        return as_asked and not (stale and sources.state(found) == "stale")

    other = lambda name: mesh.is_main_process() and not stored(name)
    missing = [cell for name, cell in cells.items() if force or mesh.broadcast_bool(other(name))]
    made_by = {cell.name: sources.code.sources(cell.config) for cell in missing}
    if missing:
        try_output(place / "cell.json")
    failed: dict[str, UserError] = {}
    late: dict[str, float | None] = {}
    for name, outcome in execute(missing, again, work):
        if isinstance(outcome, OutOfTime):
            late[name] = outcome.seconds
            continue
        cell, head = cells[name], {"table": experiment.name, "preset": preset}
        head |= {"command": commands.of_cell(experiment.command, preset, name), "steps": commands.steps(cell.config)}
        try:
            if isinstance(outcome, UserError):
                raise outcome
            head["sources"] = freshness.keep(made_by[name], preset, results)
            store.write(paths[name], {**head, **cell.head, "config": cell.config, **outcome}, experiment.kind(name))
        except UserError as error:
            failed[name] = error
            if mesh.is_main_process():
                print(one_line(f"cell {name}: {error}"), file=sys.stderr, flush=True)
    mesh.barrier()
    report = experiment.report(results, preset).write()
    if failed:
        name, error = next(iter(failed.items()))
        raise UserError(f"cell {name}: {error}; {len(failed)} of {len(missing)} cells failed, what the others found is stored")
    return Ran([path for name, path in paths.items() if name not in late], len(missing) - len(late), report, late)


def _other_logs(cell: dict[str, Any]) -> bool:
    """Whether a cell learned from other logs than its data sets in the cache hold, made on the same platform."""
    config = cell.get("config", {})
    for made in cell.get("data", []) if "data_set" in config else []:
        now = datasets.card(config["data_set"], made["data_seed"], "train", config.get("data_episodes"))
        if now and now.get("platform") == made.get("platform") and now["sha256"] != made.get("source_sha256"):
            return True
    return False


def _read(path: Path, name: str, kind: str, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """A run file; nothing if there is none."""
    try:
        return store.read(path, kind, check) if path.exists() else {}
    except UserError as error:
        raise UserError(f"{error}; --force with --only {name} makes it again") from error
