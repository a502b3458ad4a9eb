"""Relabeling over a Ray cluster: every part of a data set is a cell of its own.

What a part has made lies in the hidden folder beside the result, which the command and the workers must share, as they must the
logs: `ohio_jax.relabel.relabel_to` then finds all parts there and joins them.
"""

import functools
import json
from pathlib import Path
from typing import Any

from ohio_envs import registry

from ohio_bench.runner.cell import Cell
from ohio_bench.runner.executors import Executor
from ohio_bench.runner.work import WorkFolder
from ohio_jax import data
from ohio_jax.data import parts
from ohio_jax.errors import UserError
from ohio_jax.relabel import Relabeling, relabel_part, relabeling
from ohio_jax.task import Task


def fill(execute: Executor, logs: Path, task: Task, interface: str, inverse: str, out: Path) -> None:
    """Makes the parts of what is to become `out` that are not there yet.

    Raises:
        UserError: as `relabel`, and for a part whose worker dies again and again; the others are kept.
    """
    again = functools.partial(cells, logs.absolute(), task.name, task.settings, interface, inverse, parts.folder(out.absolute()))
    missing = [cell for cell in again() if not parts.is_kept(parts.folder(out) / cell.name, cell.config)]
    failed = {name: outcome for name, outcome in execute(missing, again, WorkFolder()) if isinstance(outcome, UserError)}
    if failed:
        name, error = next(iter(failed.items()))
        raise UserError(f"part {name}: {error}; {len(failed)} of {len(missing)} parts failed, the others are kept")


def cells(logs: Path, task: str, settings: dict[str, Any], interface: str, inverse: str, kept: Path) -> list[Cell]:
    """One for each part."""
    of = relabeling(data.load(logs, "trajectories"), registry.make(task, settings), interface, inverse)
    config = lambda part: json.loads(json.dumps(of.identity(*part)))
    return [Cell(parts.place(kept, *part).name, config(part), functools.partial(_made, kept, of, *part)) for part in of.parts]


def _made(kept: Path, of: Relabeling, first: int, stop: int, work: WorkFolder) -> dict[str, Any]:
    relabel_part(kept, of, first, stop)
    return {}
