"""Runs a speed test: it measures part by part, checks what it measured, and writes a JSON file and a page after each part.

A test has FULL and QUICK, budgets with `windows` of `seconds` each and a `deadline`, perhaps WIDE, that of an accelerator, and
parts(budget): name -> () -> numbers by name, among them one of the part's name.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from ohio_bench.runner import store
from ohio_bench.runner.cell import Report
from ohio_bench.speed.charts import CHARTS
from ohio_bench.speed.pages import PAGES, page
from ohio_jax import mesh, provenance
from ohio_jax.deadline import NEVER, Deadline, OutOfTime
from ohio_jax.errors import UserError, brief, out_of_memory
from ohio_jax.files import try_output, write_json

# In the order of `speed all`, which an hour of an accelerator goes through.
ALL = ("learners", "routing", "reacher", "manipulation", "supply-chain", "scaling")
ON_CPU = {"scaling"}  # of stand-ins for devices, which an accelerator has not
PLATFORMS = ("cpu", "gpu", "tpu")


def tests() -> list[str]:
    """Those that this machine can tell of."""
    return [name for name in ALL if jax.default_backend() == "cpu" or name not in ON_CPU]


def place(out: Path, name: str, platform: str | None = None) -> Path:
    """The JSON file of a test on a platform, or on that at hand: an accelerator's numbers leave the CPU's where they are."""
    platform = platform or jax.default_backend()
    return out / f"{name}{'' if platform == 'cpu' else f'-{platform}'}.json"


def module(name: str) -> Any:
    """The module that measures a test; what a test needs is loaded with it alone."""
    return importlib.import_module(f"ohio_bench.speed.{name.replace('-', '_')}")


def run(name: str, out: Path | None, quick: bool, deadline: Deadline = NEVER) -> dict[str, Any]:
    """Everything a test measures; with a folder, writes `<name>.json`, `<name>.md` and the plot there, after every part.

    Args:
        quick: seconds instead of minutes, smaller and noisier, for tests.
        deadline: no part is started after it, nor measured once its first calls say that it cannot end by then; these are
            named in the field `not_measured`.

    Raises:
        UserError: where a peer that must be there is not, or the folder cannot be written to.
    """
    if out is not None:
        try_output(place(out, name))
    test = module(name)
    budget = test.QUICK if quick else getattr(test, "WIDE", test.FULL) if mesh.is_wide() else test.FULL
    head = {"quick": quick, "windows": budget.windows, "window_seconds": budget.seconds}
    before, found = provenance.hardware()["load"], {}
    parts = test.parts(budget._replace(deadline=deadline))

    def whole() -> dict[str, Any]:
        made = {"load_before": before, "load_after": provenance.hardware()["load"], "provenance": provenance.collect()}
        return {**head, **found, "not_measured": [part for part in parts if part not in found], **made}

    described = None
    for part, measure in parts.items():
        try:
            deadline.require()
            found |= measure()
        except OutOfTime:
            continue
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise UserError(f"speed {name}: {part}: out of memory: {error}") from error
        described = whole()
        if out is not None:
            write(name, out, described)
    return described or whole()


def write(name: str, out: Path, found: dict[str, Any]) -> None:
    """The JSON file of what this machine measured, and the pages made of it."""
    write_json(place(out, name), found)
    Report(pages(name, out, jax.default_backend(), found)).write()


def pages(name: str, out: Path, platform: str, found: dict[str, Any]) -> dict[Path, bytes]:
    """The page and the plot of the folder, from the numbers of `run` alone: path -> content, the page first."""
    path = place(out, name, platform)
    beside = None if platform == "cpu" else _stored(out, name, "cpu")
    made = {path.with_suffix(".md"): page(name, found, beside, path.with_suffix(".png").name).encode()}
    part, draw = CHARTS.get(name, ("", None))
    return made | ({path.with_suffix(".png"): draw(found)} if draw and part in found else {})


def _stored(out: Path, name: str, platform: str) -> dict[str, Any] | None:
    path = place(out, name, platform)
    return store.read(path, "speed") if path.exists() else None


def report(folder: Path) -> Report:
    """The pages again, from the JSON files alone. Raises UserError if a file is damaged."""
    made: dict[Path, bytes] = {}
    for name, platform in _every():
        if (found := _stored(folder, name, platform)) is not None:
            try:
                made |= pages(name, folder, platform, found)
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, StopIteration) as error:
                wrong = f"{type(error).__name__}: {brief(error)}"
                path = place(folder, name, platform)
                raise UserError(f"{path}: expected what `ohio-jax speed {name}` measured, found damage ({wrong})") from error
    return Report(made)


def _every() -> Iterator[tuple[str, str]]:
    return ((name, platform) for name in PAGES for platform in PLATFORMS)
