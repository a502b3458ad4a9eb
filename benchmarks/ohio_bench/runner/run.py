"""The loop that fills every experiment: one run file a cell, what is missing is run, then the report is written."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ohio_bench.runner import commands, store
from ohio_bench.runner.cell import RESULTS, Cell, Experiment, Report
from ohio_bench.runner.executors import Executor, here
from ohio_jax import mesh
from ohio_jax.errors import unknown


class Ran(NamedTuple):
    """What a run of an experiment did.

    Attributes:
        paths: of the run files of all cells that were chosen.
        ran: how many cells were run for it.
    """

    paths: list[Path]
    ran: int
    report: Report


def chosen(experiment: Experiment, made: Any, only: Iterable[str] = ()) -> list[Cell]:
    """The cells of a preset; with `only` those of these groups, and those of these names. Raises UserError for another name."""
    groups = list(experiment.groups(made))
    of_groups = [name for name in only if name in groups]
    cells = list(experiment.cells(made, of_groups if only else groups)) if of_groups or not only else []
    named = set(only) - set(groups)
    if named:
        kept, every = {cell.name for cell in cells}, list(experiment.cells(made, groups))
        for name in sorted(named - {cell.name for cell in every}):
            raise unknown(f"{experiment.group} of {experiment.name}", name, groups)
        cells = [cell for cell in every if cell.name in kept | named]
    return [cell._replace(config=json.loads(json.dumps(cell.config))) for cell in cells]


def run(
    experiment: Experiment,
    preset: str,
    only: Iterable[str] = (),
    results: Path = RESULTS,
    execute: Executor = here,
    force: bool = False,
) -> Ran:
    """Runs every cell whose run file is missing or was made with another configuration, then writes the report.

    Args:
        only: see `chosen`.
        force: all of them, whatever is there.
        execute: where, see `ohio_bench.runner.executors`. A killed call goes on where it stopped: finished cells from their run
            files, the cell in work from its checkpoint.

    Raises:
        UserError: for an unknown name, or a damaged run file.
    """
    made, only = experiment.preset(preset), tuple(only)
    cells = {cell.name: cell for cell in chosen(experiment, made, only)}
    paths = {name: store.folder(experiment.name, preset, results) / f"{name}.json" for name in cells}
    config_in = lambda path: store.read(path, experiment.fields)["config"] if path.exists() else None
    other = lambda name: mesh.is_main_process() and config_in(paths[name]) != cells[name].config
    missing = [cell for name, cell in cells.items() if force or mesh.broadcast_bool(other(name))]
    for name, outcome in execute(missing, functools.partial(chosen, experiment, made, only)):
        cell, head = cells[name], {"table": experiment.name, "preset": preset}
        head |= {"command": commands.of_cell(experiment.command, preset, name), "steps": commands.steps(cell.config)}
        store.write(paths[name], {**head, **cell.head, "config": cell.config, **outcome})
    mesh.barrier()
    return Ran(list(paths.values()), len(missing), experiment.report(results, preset))
