"""Runs a speed test: it measures, checks what it measured, and writes a JSON file and a page.

A test has FULL and QUICK, budgets with `windows` of `seconds` each, and measure(budget) -> numbers by name.
"""

import importlib
import json
from pathlib import Path
from typing import Any

from ohio_bench.speed.charts import CHARTS
from ohio_bench.speed.pages import PAGES, page
from ohio_jax import provenance
from ohio_jax.errors import UserError
from ohio_jax.files import write_bytes, write_json, write_text


def module(name: str) -> Any:
    """The module that measures a test; what a test needs is loaded with it alone."""
    return importlib.import_module(f"ohio_bench.speed.{name.replace('-', '_')}")


def run(name: str, out: Path | None, quick: bool) -> dict[str, Any]:
    """Everything a test measures; with a folder, writes `<name>.json`, `<name>.md` and the plot there.

    Args:
        quick: seconds instead of minutes, smaller and noisier, for tests.

    Raises:
        UserError: where a peer that must be there is not.
    """
    test = module(name)
    budget = test.QUICK if quick else test.FULL
    before = provenance.hardware()["load"]
    found = {
        "quick": quick,
        "windows": budget.windows,
        "window_seconds": budget.seconds,
        **test.measure(budget),
        "load_before": before,
        "load_after": provenance.hardware()["load"],
        "provenance": provenance.collect(),
    }
    if out is not None:
        write_json(out / f"{name}.json", found)
        write(name, out, found)
    return found


def write(name: str, out: Path, found: dict[str, Any]) -> None:
    """Writes the page and the plot into the folder, from the numbers of `run` alone."""
    write_text(out / f"{name}.md", page(name, found))
    if name in CHARTS:
        write_bytes(out / f"{name}.png", CHARTS[name](found))


def rebuild(folder: Path) -> list[Path]:
    """Writes the pages again from the JSON files alone; returns the pages. Raises UserError if a file is damaged."""
    written = []
    for name in PAGES:
        path = folder / f"{name}.json"
        if path.exists():
            try:
                write(name, folder, json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}: expected what `ohio-jax speed {name}` measured, found damage ({error})") from error
            written.append(path.with_suffix(".md"))
    return written
