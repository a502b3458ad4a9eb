"""Speed beside honest references: each test measures, checks what it measured, and writes a JSON file and a page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ohio_bench.speed import learners, manipulation, reacher, routing, scaling, supply_chain
from ohio_jax.errors import UserError

# Each with run(folder or None, quick) -> everything measured, and write(folder, everything measured).
TESTS = {
    "reacher": reacher,
    "routing": routing,
    "supply-chain": supply_chain,
    "manipulation": manipulation,
    "learners": learners,
    "scaling": scaling,
}
SPEED: dict[str, Callable[[Path | None, bool], dict[str, Any]]] = {name: test.run for name, test in TESTS.items()}


def rebuild(folder: Path) -> list[Path]:
    """Writes the pages again from the JSON files alone; returns the pages. Raises UserError if a file is damaged."""
    written = []
    for name, test in TESTS.items():
        path = folder / f"{name}.json"
        if path.exists():
            try:
                test.write(folder, json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}: expected what `ohio-jax speed {name}` measured, found damage ({error})") from error
            written.append(path.with_suffix(".md"))
    return written
