"""Scores of one task have one unit: run files of which the same code made the task have the same references."""

import functools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ohio_bench.runner import freshness, source, store
from ohio_jax.errors import UserError

ROUNDING = 1e-4  # of references that are measured, on another processor; relative


def check(place: Path, cells: Iterable[dict[str, Any]], file_name: Callable[[dict[str, Any]], str], results: Path) -> None:
    """Raises UserError for a reference that differs from that of another run file of the same task.

    Args:
        place: the folder of the run files.
        file_name: of a cell.
        results: where the sources are by which run files name their code. Of these the task's count, which measure its
            references; where they are not known, run files are compared that name the same sources.
    """
    first: dict[str, dict[str, Any]] = {}
    sources = freshness.Sources(results)
    of_task = functools.cache(lambda name: sources.code.of(source.chosen({"task": name})).keys())
    for cell in (cell for cell in cells if "reference" in cell):
        config, stored = cell["config"], sources.stored(cell) if "sources" in cell else {}
        made_by = {name: stored[name] for name in stored.keys() & of_task(config.get("task", ""))}
        task = store.comparable({name: config.get(name) for name in ("task", "settings")})
        like = first.setdefault(store.digest([task, made_by or cell.get("sources")]), cell)
        for name in ("zero", "full"):
            expected, found = like["reference"][name], cell["reference"][name]
            if not math.isclose(expected, found, rel_tol=ROUNDING):
                said = f"expected {expected}, as in {file_name(like)}.json, found {found}"
                raise UserError(f"{place / file_name(cell)}.json: field reference.{name}: {said}")
