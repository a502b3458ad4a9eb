"""Every published score beside ours: how far apart they are, whether ours meets it, and why where it does not.

What is not known of a published score has a range, over which the verdict is given.

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

from ohio_bench.report.aggregate import Board
from ohio_bench.report.entries import Entry, published_text
from ohio_bench.report.text import filled, plain, table
from ohio_bench.runner.cell import RESULTS, Report
from ohio_bench.runner.table import Paper

UNKNOWN = "Not known."
MARGIN = 5.0  # half the width of an interval of ours that is narrow enough to say that it meets a published score

WORDS = tomllib.loads(resources.files("ohio_bench.report").joinpath("comparison.toml").read_text(encoding="utf-8"))
PUBLISHED: dict[str, dict[str, Any]] = WORDS["published"]  # table -> episodes and protocol of its published scores
# (table, data set, method), as patterns -> why ours may differ where it does not meet the figure. The first match counts.
REASONS: dict[tuple[str, ...], str] = {tuple(reason["of"]): reason["why"] for reason in WORDS["reasons"]}


@dataclass(frozen=True)
class Compared:
    """A published score and ours beside it.

    Attributes:
        row, column: data set and method.
        theirs: mean and deviation.
        entry: our cell, None if there is no run file.
        interval: 95 % t interval of their mean, over episodes.
        references: what J_ref of the published scores may be; without a range ours alone.
        updates: ours, of the paper's.
        reason: why the two may differ.
    """

    row: str
    column: str
    theirs: Paper
    entry: Entry | None
    interval: tuple[float, float]
    references: tuple[float, ...]
    updates: str
    reason: str

    def verdict(self, full: float) -> str:
        """Whether ours meets theirs, scored by this J_ref: yes, no or undecided; "" without a run file."""
        if self.entry is None:
            return ""
        reference = self.entry.cell["reference"]
        share = (reference["full"] - reference["zero"]) / (full - reference["zero"])
        low, high = self.entry.low * share, self.entry.high * share
        if high < self.interval[0] or self.interval[1] < low:
            return "no"
        return "yes" if high - low <= 2 * MARGIN else "undecided"

    @property
    def ours(self) -> str:
        """The verdict by our own J_ref."""
        return self.verdict(self.entry.cell["reference"]["full"]) if self.entry else ""

    @property
    def verdicts(self) -> str:
        """The verdict, or one for each J_ref where they differ."""
        found = list(map(self.verdict, self.references))
        return " / ".join(found if len(set(found)) > 1 else found[:1])


def reason(table: str, row: str, column: str) -> str:
    """Why a score of ours may differ from the published one."""
    fits = lambda pattern: all(map(fnmatchcase, (table, row, column), pattern))
    return next((why for pattern, why in REASONS.items() if fits(pattern)), UNKNOWN)


def compared(board: Board) -> list[Compared]:
    """Every published score of the data sets and methods of a table's preset."""
    from scipy.special import stdtrit

    table, made = board.table, board.table.preset(board.preset)
    if table.name not in PUBLISHED:  # it is from elsewhere
        return []
    ours = {(entry.row, entry.column): entry for entry in board.entries if "author" not in entry.cell}
    full = table.preset("paper").plans if "paper" in table.presets else {}
    out = []
    for row, column in itertools.product(made.rows, made.columns or table.columns):
        theirs = row.paper.get((column.family, column.learner))
        if theirs is None:
            continue
        mean, deviation = theirs
        episodes = PUBLISHED[table.name]["episodes"]
        half = stdtrit(episodes - 1, 0.975) * deviation / math.sqrt(episodes)
        entry, budget = ours.get((row.name, column.name)), full.get((column.interface, column.learner))
        updates = f"{entry.cell['config']['plan']['updates']:,}" if entry else "0"
        out.append(
            Compared(
                row=row.name,
                column=column.name,
                theirs=theirs,
                entry=entry,
                interval=(mean - half, mean + half),
                references=tuple(PUBLISHED[table.name].get("full", [entry.cell["reference"]["full"]] if entry else [])),
                updates=updates + (f" of {budget.updates:,}" if budget else ""),
                reason=reason(table.name, row.name, column.name),
            )
        )
    return out


def _section(board: Board, found: list[Compared]) -> str:
    between = lambda low, high: f"{low:.1f} to {high:.1f}"
    run, without = [of.entry for of in found if of.entry], {(entry.row, entry.column) for entry in board.untrained}
    apart = [of.entry.difference > 0 for of in found if of.entry and of.ours == "no"]
    met, open_ = (sum(of.ours == verdict for of in found) for verdict in ("yes", "undecided"))
    why: dict[str, str] = {}  # reason -> the letter that stands for it
    rows = []
    for of in found:
        first = [plain(of.row), plain(of.column), published_text(of.theirs)]
        if (entry := of.entry) is None:
            state = "not trained" if (of.row, of.column) in without else "not run"
            rows.append([*first, state, "", between(*of.interval), "", "", of.updates, ""])
            continue
        numbers = [entry.text + entry.marks, f"{entry.difference:+.1f}", between(*of.interval), entry.interval_text]
        letter = "" if of.ours != "no" else why.setdefault(of.reason, ascii_lowercase[len(why)])
        rows.append([*first, *numbers, of.verdicts, of.updates, letter])
    names = ("data", "method", "paper", "ours", "difference", "paper's interval", "our interval", "meets", "updates", "reason")
    return "\n\n".join(
        [
            f"## {board.table.title}, preset `{board.preset}`",
            PUBLISHED[board.table.name]["protocol"],
            f"{len(found)} published scores, of which {len(run)} were run: {met} are met, {open_} undecided; on {sum(apart)} "
            f"ours is higher, on {len(apart) - sum(apart)} lower.",
            _over_references(board, found),
            table(names, rows, None),
            "\n".join(f"- {letter}: {reason}" for reason, letter in why.items()),
        ]
    )


def _over_references(board: Board, found: list[Compared]) -> str:
    """How many published scores are met, for each J_ref that these may have; nothing where it is known."""
    published = PUBLISHED[board.table.name]
    if "full" not in published:
        return ""
    verdicts = {full: [of.verdict(full) for of in found] for full in published["full"]}
    counts = [f"by {full:,.0f} {of.count('yes')} and {of.count('undecided')}" for full, of in verdicts.items()]
    said = f"Met and undecided are, of {len(found)}: {', '.join(counts)}. Verdicts that differ are in this order."
    return f"{published['unknown']} {said}"


def text(boards: list[Board]) -> str:
    """The page; empty where no cell has a published score."""
    sections = [_section(board, found) for board in boards if (found := compared(board))]
    return filled("ohio_bench.report", "comparison", {"sections": "\n\n".join(sections)}) if sections else ""


def report(boards: list[Board], results: Path = RESULTS) -> Report:
    """`comparison.md` if there is anything to compare."""
    content = text(boards)
    return Report({results / "comparison.md": content.encode()} if content else {})
