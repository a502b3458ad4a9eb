"""An accelerator's rates beside a CPU's, whatever was measured: every rate of a speed test has a name in its JSON file."""

from collections.abc import Iterator
from typing import Any

from ohio_bench.report.text import number, plain, table

KIND = {"gpu": "GPU", "tpu": "TPU"}


def section(found: dict[str, Any], cpu: dict[str, Any]) -> str:
    """A table of the best rates of both, and their ratio where both measured the same."""
    ours, theirs = dict(rates(found)), dict(rates(cpu))
    name = KIND[found["provenance"]["hardware"]["platform"]]
    rows = [
        [of, number(theirs.get(of)), number(rate), number(rate / theirs[of]) if theirs.get(of) else ""]
        for of, rate in ours.items()
    ]
    other, revision = cpu["provenance"]["hardware"], cpu["provenance"]["revision"] or "unknown"
    said = f"Best rates a second. CPU: {plain(other['cpu'])}, {other['cores']} cores, in a run of its own (revision {revision})."
    return f"## Beside the CPU\n\n{said}\n\n{table(['', 'CPU', name, f'{name} / CPU'], rows)}"


def rates(part: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """(name, best rate) of every rate, see `timing.Timing.rates`."""
    if isinstance(part, list):
        part = {program(row): row for row in part if isinstance(row, dict) and "solver" in row}
    if not isinstance(part, dict):
        return
    if "best" in part and "compile_seconds" in part:
        yield ", ".join(name), part["best"]
        return
    for key, value in part.items():
        # What says only of which kind a number is, or what kind of names follow, is no part of a name.
        known = key in ("seeds", "learners", "rate", "shapes", "devices") or key.endswith("_per_second")
        called = f"seeds {key}" if key.isdecimal() else key.replace("_", " ")
        yield from rates(value, name if known else (*name, called))


def program(row: dict[str, Any]) -> str:
    """What a reader calls a row of the MPC solves."""
    return f"{row['solver']}, {row['dtype']}, batch {row['batch']}{', gradient' if row['gradient'] else ''}"
