"""Scores of one task have one unit: run files of which the same code made the task have the same references."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ohio_bench.runner import freshness, store
from ohio_jax.errors import UserError


def check(place: Path, cells: Iterable[dict[str, Any]], file_name: Callable[[dict[str, Any]], str], results: Path) -> None:
    """Raises UserError for a reference that differs from that of another run file of the same task.

    Args:
        place: the folder of the run files.
        file_name: of a cell.
        results: where the sources are by which run files name their code. Only those of tasks count, since learners have no part
            in references; where they are missing, two run files are compared if they name the same.
    """
    first: dict[str, dict[str, Any]] = {}
    stored, of_data = freshness.Sources(results).stored, ("ohio_envs.recipe", "ohio_envs.datasets")
    for cell in (cell for cell in cells if "reference" in cell):
        config, of = cell["config"], stored(cell) if "sources" in cell else {}
        made_by = {name: digest for name, digest in of.items() if name.startswith("ohio_envs.") and not name.startswith(of_data)}
        task = store.comparable({name: config.get(name) for name in ("task", "settings")})
        like = first.setdefault(store.digest([task, made_by or cell.get("sources")]), cell)
        for name in ("zero", "full"):
            if like["reference"][name] != cell["reference"][name]:
                said = f"{like['reference'][name]}, as in {file_name(like)}.json, found {cell['reference'][name]}"
                raise UserError(f"{place / file_name(cell)}.json: field reference.{name}: expected {said}")
