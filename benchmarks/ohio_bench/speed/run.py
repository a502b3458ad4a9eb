"""Runs a speed test: it measures, checks what it measured, and writes a JSON file and a page.

A test has FULL and QUICK, budgets with `windows` of `seconds` each, and measure(budget) -> numbers by name.
"""

import importlib
from pathlib import Path
from typing import Any

from ohio_bench.runner import store
from ohio_bench.runner.cell import Report
from ohio_bench.speed.charts import CHARTS
from ohio_bench.speed.pages import PAGES, page
from ohio_jax import provenance
from ohio_jax.errors import UserError, brief
from ohio_jax.files import try_output, write_json


def module(name: str) -> Any:
    """The module that measures a test; what a test needs is loaded with it alone."""
    return importlib.import_module(f"ohio_bench.speed.{name.replace('-', '_')}")


def run(name: str, out: Path | None, quick: bool) -> dict[str, Any]:
    """Everything a test measures; with a folder, writes `<name>.json`, `<name>.md` and the plot there.

    Args:
        quick: seconds instead of minutes, smaller and noisier, for tests.

    Raises:
        UserError: where a peer that must be there is not, or the folder cannot be written to.
    """
    if out is not None:
        try_output(out / f"{name}.json")
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
        Report(pages(name, out, found)).write()
    return found


def pages(name: str, out: Path, found: dict[str, Any]) -> dict[Path, bytes]:
    """The page and the plot of the folder, from the numbers of `run` alone: path -> content, the page first."""
    made = {out / f"{name}.md": page(name, found).encode()}
    return made | ({out / f"{name}.png": CHARTS[name](found)} if name in CHARTS else {})


def report(folder: Path) -> Report:
    """The pages again, from the JSON files alone. Raises UserError if a file is damaged."""
    made: dict[Path, bytes] = {}
    for name in PAGES:
        path = folder / f"{name}.json"
        if path.exists():
            found = store.read(path, "speed")
            try:
                made |= pages(name, folder, found)
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, StopIteration) as error:
                wrong = f"{type(error).__name__}: {brief(error)}"
                raise UserError(f"{path}: expected what `ohio-jax speed {name}` measured, found damage ({wrong})") from error
    return Report(made)
