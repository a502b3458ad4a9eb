"""Runs a speed test: it measures, checks what it measured, and writes a JSON file and a page."""

import json
from pathlib import Path
from typing import Any

from ohio_bench.speed import (
    learners,
    learners_page,
    manipulation,
    manipulation_page,
    reacher,
    reacher_page,
    routing,
    routing_page,
    scaling,
    scaling_page,
    supply_chain,
    supply_chain_page,
)
from ohio_bench.speed.timing import load
from ohio_jax import provenance
from ohio_jax.errors import UserError
from ohio_jax.files import write_bytes, write_json, write_text

# A test has FULL and QUICK, budgets with `windows` of `seconds` each, and measure(budget) -> numbers by name; its page has
# page(found) -> Markdown, and where there is a plot chart(found) -> PNG.
SPEED = {
    "reacher": (reacher, reacher_page),
    "routing": (routing, routing_page),
    "supply-chain": (supply_chain, supply_chain_page),
    "manipulation": (manipulation, manipulation_page),
    "learners": (learners, learners_page),
    "scaling": (scaling, scaling_page),
}


def run(name: str, out: Path | None, quick: bool) -> dict[str, Any]:
    """Everything a test measures; with a folder, writes `<name>.json`, `<name>.md` and the plot there.

    quick: seconds instead of minutes, smaller and noisier, for tests. Raises UserError where a peer that must be there is not.
    """
    test, _ = SPEED[name]
    budget = test.QUICK if quick else test.FULL
    before = load()
    found = {
        "quick": quick,
        "windows": budget.windows,
        "window_seconds": budget.seconds,
        **test.measure(budget),
        "load_before": before,
        "load_after": load(),
        "provenance": provenance.collect(),
    }
    if out is not None:
        write_json(out / f"{name}.json", found)
        write(name, out, found)
    return found


def write(name: str, out: Path, found: dict[str, Any]) -> None:
    """Writes the page and the plot into the folder, from the numbers of `run` alone."""
    _, shown = SPEED[name]
    write_text(out / f"{name}.md", shown.page(found))
    if hasattr(shown, "chart"):
        write_bytes(out / f"{name}.png", shown.chart(found))


def rebuild(folder: Path) -> list[Path]:
    """Writes the pages again from the JSON files alone; returns the pages. Raises UserError if a file is damaged."""
    written = []
    for name in SPEED:
        path = folder / f"{name}.json"
        if path.exists():
            try:
                write(name, folder, json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}: expected what `ohio-jax speed {name}` measured, found damage ({error})") from error
            written.append(path.with_suffix(".md"))
    return written
