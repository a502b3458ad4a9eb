"""The loop that fills every experiment: one run file a cell, what is missing is run, then the report is written."""

import functools
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ohio_bench.runner import commands, store, work
from ohio_bench.runner.cell import RESULTS, Cell, Experiment, Report
from ohio_bench.runner.executors import Executor, here
from ohio_jax import mesh
from ohio_jax.errors import UserError, one_line, unknown
from ohio_jax.files import try_output


class Ran(NamedTuple):
    """What a run of an experiment did.

    Attributes:
        paths: of the run files of all cells that were chosen.
        ran: how many cells were run for it.
    """

    paths: list[Path]
    ran: int
    report: Report


def chosen(experiment: Experiment, made: Any, only: Iterable[str] = (), since: float = 0.0) -> list[Cell]:
    """The cells of a preset; with `only` those of these groups, and those of these names. Raises UserError for another name.

    Args:
        since: what their work folder holds from before this time (of `time.time`) is made again.
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
    again = lambda do: functools.partial(work.made_since, since, do) if since else do
    return [cell._replace(config=json.loads(json.dumps(cell.config)), work=again(cell.work)) for cell in cells]


def run(
    experiment: Experiment,
    preset: str,
    only: Iterable[str] = (),
    results: Path = RESULTS,
    execute: Executor = here,
    force: bool = False,
) -> Ran:
    """Runs every cell whose run file is missing or was made with another configuration, then writes the report.

    A cell that fails is named on standard error, and keeps none of the others from being run and reported; not where several
    processes work as one, which end with it.

    Args:
        only: see `chosen`.
        force: all of them, whatever is there, from the logs on.
        execute: where, see `ohio_bench.runner.executors`. A killed call goes on where it stopped: finished cells from their run
            files, the cell in work from its checkpoint.

    Raises:
        UserError: for an unknown name, a damaged run file, or a folder that cannot be written to; after the report, for cells
            that failed.
    """
    made, only = experiment.preset(preset), tuple(only)
    again = functools.partial(chosen, experiment, made, only, time.time() if force else 0.0)
    cells, place = {cell.name: cell for cell in again()}, store.folder(experiment.name, preset, results)
    paths = {name: place / f"{name}.json" for name in cells}
    other = lambda name: mesh.is_main_process() and _config_in(paths[name], name, experiment.kind(name)) != cells[name].config
    missing = [cell for name, cell in cells.items() if force or mesh.broadcast_bool(other(name))]
    if missing:
        try_output(place / "cell.json")
    failed: dict[str, UserError] = {}
    for name, outcome in execute(missing, again):
        cell, head = cells[name], {"table": experiment.name, "preset": preset}
        head |= {"command": commands.of_cell(experiment.command, preset, name), "steps": commands.steps(cell.config)}
        try:
            if isinstance(outcome, UserError):
                raise outcome
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
    return Ran(list(paths.values()), len(missing), report)


def _config_in(path: Path, name: str, kind: str) -> Any:
    """What a run file says of its making, None if there is none."""
    try:
        return store.read(path, kind)["config"] if path.exists() else None
    except UserError as error:
        raise UserError(f"{error}; --force with --only {name} makes it again") from error
