"""What methods learned from: the number of transitions, and the errors of their high-level actions."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ohio_bench.report.entries import Shown, grid
from ohio_bench.report.policies import cards, counts, trained_on
from ohio_bench.report.text import filled, formatted, plain
from ohio_bench.report.text import table as tabled
from ohio_bench.runner.table import Table

# Of a card's label errors: label and unit on the page, and the factor from the card's unit.
ERRORS = {
    "torque_nm": ("torque, N m", 1.0),
    "position_m": ("next position, mm", 1e3),
    "rotation_rad": ("next rotation, mrad", 1e3),
}


def section(table: Table, listed: Sequence[Shown]) -> str:
    """A line for each data set and family of methods; nothing if no errors are known and no transitions are dropped."""
    rows = list(dict.fromkeys(_rows(table, listed)))
    if not any(of[2] for of in rows):
        return ""
    names = ["data", "method", "transitions", *(name for name, _ in ERRORS.values())]
    shown = [[plain(row), plain(family), *found] for row, family, _, *found in rows]
    return filled("ohio_bench.report", "learned_from", {"table": tabled(names, shown, None)})


def _rows(table: Table, listed: Sequence[Shown]) -> Iterator[tuple[Any, ...]]:
    for entry in (entry for _, row in grid(table, listed) for entry in row.values() if entry):
        found = cards(entry.cell)
        errors = [card.get("label_errors", {}) for card in found]
        more = any(errors) or any(card.get("weights") == "drop" for card in found)
        means = [factor * np.mean([of.get(name, np.nan) for of in errors] or [np.nan]) for name, (_, factor) in ERRORS.items()]
        family = entry.column.rpartition(" ")[0]
        yield entry.row, family, more, counts([trained_on(card) for card in found]), *(formatted(float(x), ".3g") for x in means)
