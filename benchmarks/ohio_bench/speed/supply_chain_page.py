"""The page of `ohio-jax speed supply-chain`, made of its numbers alone."""

from typing import Any

from ohio_bench.report.text import number, table
from ohio_bench.speed.pages import rates


def page(found: dict[str, Any]) -> list[str]:
    """The paragraphs after the head, from the numbers of `run` alone."""
    parts = [
        "## Periods a second",
        "A step is one period of the whole network under whole orders drawn beforehand, observation included; with the low level "
        "it is one decision under a random goal. Batches are spread over all cores; the peer is the same simulator in NumPy, one "
        "episode after another on one core, without observations. `x original`: against a step of the released simulator without "
        "its solvers, measured on one core of a machine of this kind.",
    ]
    for name, part in found["simulator"].items():
        ratios = {"x NumPy": part["ratio_to_numpy"], "x original": part["ratio_to_original"]}
        milliseconds = 1e3 * found["original_seconds"][name]
        parts += [
            f"### {name} (original: {milliseconds:g} ms a step)",
            rates(part["steps_per_second"], ratios),
            f"Largest difference of an episode's return from NumPy's float64: {part['largest_difference_of_return']:.4f} $.",
        ]
    rows = []
    for name, part in found["hdpo"].items():
        plan, seconds = part["plan"], part["seconds"]
        numbers = (plan["seeds"], plan["updates"], plan["batch"], part["last_return"], part["updates_to_99_percent"])
        times = (part["seconds_to_99_percent"], seconds["train"], seconds["compile"])
        rows.append([name, *map(number, (*numbers, *times))])
    columns = ["", "seeds", "updates", "episodes an update", "last return", "updates to 99 %", "seconds to 99 %"]
    parts += [
        "## HDPO",
        "Gradients through whole episodes in smooth quantities; the time from which the mean return of all seeds stays within "
        "1 % of its last value, all seeds together, compiling apart.",
        table([*columns, "seconds in all", "compile, s"], rows),
    ]
    return parts
