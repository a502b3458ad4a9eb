"""Every published score beside ours: how far apart they are, whether the intervals overlap, and why where they do not.

Numbers come from the run files and from the tables, `Row.paper`; only the reasons are words, in `comparison.toml`.
"""

import itertools
import math
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from ohio_bench.report.aggregate import Board, Entry, published_text
from ohio_bench.report.text import filled, plain, table
from ohio_bench.runner.cell import RESULTS, Report
from ohio_bench.runner.table import Paper

NORMAL = 1.96  # deviations of a mean that hold 95 % of a normal distribution
UNKNOWN = "Not known."

WORDS = tomllib.loads(resources.files("ohio_bench.report").joinpath("comparison.toml").read_text(encoding="utf-8"))
PUBLISHED: dict[str, dict[str, Any]] = WORDS["published"]  # table -> episodes and protocol of its published scores
# (table, data set, method), as patterns -> why ours may differ where the intervals do not overlap. The first match counts.
REASONS: dict[tuple[str, ...], str] = {tuple(reason["of"]): reason["why"] for reason in WORDS["reasons"]}


@dataclass(frozen=True)
class Compared:
    """A published score and ours beside it.

    Attributes:
        row, column: data set and method.
        theirs: mean and deviation.
        entry: our cell, None if there is no run file.
        interval: 95 % interval of their mean, over episodes.
        updates: ours, of the paper's.
        reason: why the two may differ.
    """

    row: str
    column: str
    theirs: Paper
    entry: Entry | None
    interval: tuple[float, float]
    updates: str
    reason: str

    @property
    def overlap(self) -> bool:
        """Whether their interval and ours, over training seeds, have a score in common."""
        return self.entry is not None and self.interval[0] <= self.entry.high and self.entry.low <= self.interval[1]


def reason(table: str, row: str, column: str) -> str:
    """Why a score of ours may differ from the published one."""
    fits = lambda pattern: all(map(fnmatchcase, (table, row, column), pattern))
    return next((why for pattern, why in REASONS.items() if fits(pattern)), UNKNOWN)


def compared(board: Board) -> list[Compared]:
    """Every published score of the data sets and methods of a table's preset."""
    table, made = board.table, board.table.preset(board.preset)
    ours = {(entry.row, entry.column): entry for entry in board.entries if "author" not in entry.cell}
    full = table.preset("paper").plans if "paper" in table.presets else {}
    out = []
    for row, column in itertools.product(made.rows, made.columns or table.columns):
        theirs = row.paper.get((column.family, column.learner))
        if theirs is None:
            continue
        mean, deviation = theirs
        half = NORMAL * deviation / math.sqrt(PUBLISHED[table.name]["episodes"])
        entry, budget = ours.get((row.name, column.name)), full.get((column.interface, column.learner))
        updates = f"{entry.cell['config']['plan']['updates']:,}" if entry else "0"
        out.append(
            Compared(
                row=row.name,
                column=column.name,
                theirs=theirs,
                entry=entry,
                interval=(mean - half, mean + half),
                updates=updates + (f" of {budget.updates:,}" if budget else ""),
                reason=reason(table.name, row.name, column.name),
            )
        )
    return out


def _section(board: Board, found: list[Compared]) -> str:
    between = lambda low, high: f"{low:.1f} to {high:.1f}"
    run = [of.entry for of in found if of.entry]
    apart = [of.entry.difference > 0 for of in found if of.entry and not of.overlap]
    why: dict[str, str] = {}  # reason -> the letter that stands for it
    rows = []
    for of in found:
        first = [plain(of.row), plain(of.column), published_text(of.theirs)]
        if (entry := of.entry) is None:
            rows.append([*first, "not run", "", between(*of.interval), "", "", of.updates, ""])
            continue
        numbers = [entry.text, f"{entry.difference:+.1f}", between(*of.interval), between(entry.low, entry.high)]
        letter = "" if of.overlap else why.setdefault(of.reason, ascii_lowercase[len(why)])
        rows.append([*first, *numbers, "yes" if of.overlap else "no", of.updates, letter])
    names = ("data", "method", "paper", "ours", "difference", "paper's interval", "our interval", "overlap", "updates", "reason")
    return "\n\n".join(
        [
            f"## {board.table.title}, preset `{board.preset}`",
            PUBLISHED[board.table.name]["protocol"],
            f"{len(found)} published scores, of which {len(run)} were run. On {len(run) - len(apart)} the intervals overlap; on "
            f"{sum(apart)} ours is higher, on {len(apart) - sum(apart)} lower.",
            table(names, rows, None),
            "\n".join(f"- {letter}: {reason}" for reason, letter in why.items()),
        ]
    )


def text(boards: list[Board]) -> str:
    """The page; empty where no cell has a published score."""
    sections = [_section(board, found) for board in boards if (found := compared(board))]
    return filled("ohio_bench.report", "comparison", {"sections": "\n\n".join(sections)}) if sections else ""


def report(boards: list[Board], results: Path = RESULTS) -> Report:
    """`comparison.md` if there is anything to compare."""
    content = text(boards)
    return Report({results / "comparison.md": content.encode()} if content else {})
