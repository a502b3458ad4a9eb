"""Speed beside honest references: each test measures, checks what it measured, and writes a JSON file and a page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed import reacher, routing, supply_chain

# Name -> run(folder or None, quick) -> everything measured.
SPEED: dict[str, Callable[[Path | None, bool], dict[str, Any]]] = {
    "reacher": reacher.run,
    "routing": routing.run,
    "supply-chain": supply_chain.run,
}
