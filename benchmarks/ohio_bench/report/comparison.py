"""Every published figure beside ours: how far apart they are, whether the intervals meet, and why where they do not.

Numbers come from the run files and from the tables, `Row.paper`; only the reasons are words.
"""

import itertools
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from string import ascii_lowercase

from ohio_bench.report.aggregate import Board, Entry, published_text
from ohio_bench.report.text import plain, table
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.table import Paper
from ohio_jax.files import write_text

NORMAL = 1.96  # deviations of a mean that hold 95 % of a normal distribution
UNKNOWN = "Not known."


@dataclass(frozen=True)
class Published:
    """What is known of a table's published figures.

    episodes: how many each is the mean of. protocol: what was done otherwise there than here.
    """

    episodes: int
    protocol: str


PUBLISHED = {
    "routing": Published(
        10,
        "The paper's test loop plays ten episodes with the policy of one training seed, on demand that may be in its data as "
        "well; ours plays other episodes than the data's. The unit of its scores is nowhere written and was inferred: profits of "
        "cloned operators beside their scores. Its BC, IQL and end-to-end policies draw their actions, ours act by their mean.",
    ),
    "reacher": Published(
        30,
        "The paper's test loop plays thirty episodes with the policy of one training seed. Neither its data nor their number of "
        "episodes are public; ours are those of an expert agent that we trained.",
    ),
    "manipulation": Published(
        30,
        "The paper's test loop plays thirty episodes with the policy of one training seed. Its data are not public; ours come "
        "from a script, in models of our own with robosuite's masses and motors. What its scores are a share of is not written; "
        "ours are of the return of that script without noise.",
    ),
}

SHORT = "Fewer updates, or its mean, rounded down, played in place of a draw; the two were not told apart."
# (table, data set, method), as patterns -> why ours differs where the intervals do not meet. The first that fits counts.
REASONS = {
    ("routing", "NYC-INF", "E2E (paper) BC"): "The clone hardly moves anybody, and so scores what doing nothing does. " + SHORT,
    ("routing", "*", "E2E (paper) *"): SHORT,
    ("routing", "NYC-DTV", "OHIO BC"): (
        "A clone scores what its operator scores, and DTV's own score depends on how its linear program breaks ties, which the "
        "paper's solver does in its own way."
    ),
    ("routing", "NYC-DISP", "OHIO BC"): (
        "The clone of random shares is their mean, equal shares, and scores what the policy `uniform` scores; that depends on "
        "how the low level's linear program breaks ties."
    ),
    ("routing", "*", "OHIO CQL"): (
        "A budget cut short at ten times the published rates, at which CQL loses again what it has learnt earlier in training. "
        "The published budget was not run."
    ),
    ("manipulation", "*", "OHIO gradient *"): (
        "Adam has no slope where torques saturate: with the original gains it leaves two segments in three unexplained, least "
        "squares less than one in a thousand. The release also holds a cross-entropy search for such segments, which is not in "
        "this column."
    ),
    ("manipulation", "*", "Logged goals *"): (
        "Probably the data: our script makes no haste and corrects itself, so that its goals are worth something under any gains."
    ),
    ("reacher", "*", "Observed state (paper) *"): (
        "The release holds neither this experiment nor the limit of its goals. With the limit of the paper's other goals, as "
        "here, the reached state works. With that of its torque agents, a guess, it fails as published, if not as wholly: the "
        "row *within 1* of the table."
    ),
}


@dataclass(frozen=True)
class Compared:
    """A published figure and what we have beside it.

    row, column: data set and method. theirs: mean and deviation. entry: our cell, None if there is no run file. interval: 95 %
    interval of their mean, over episodes. updates: ours, of those they made. reason: why the two may differ.
    """

    row: str
    column: str
    theirs: Paper
    entry: Entry | None
    interval: tuple[float, float]
    updates: str
    reason: str

    @property
    def meet(self) -> bool:
        """Whether their interval and ours, over training seeds, have a score in common."""
        return self.entry is not None and self.interval[0] <= self.entry.high and self.entry.low <= self.interval[1]


def reason(table: str, row: str, column: str) -> str:
    """Why a figure of ours may differ from the published one."""
    fits = lambda pattern: all(map(fnmatchcase, (table, row, column), pattern))
    return next((why for pattern, why in REASONS.items() if fits(pattern)), UNKNOWN)


def compared(board: Board) -> list[Compared]:
    """Every published figure of the data sets and methods of a table's preset."""
    table, made = board.table, board.table.preset(board.preset)
    ours = {(entry.row, entry.column): entry for entry in board.entries if "author" not in entry.cell}
    full = table.preset("paper").plans if "paper" in table.presets else {}
    out = []
    for row, column in itertools.product(made.rows, made.columns or table.columns):
        theirs = row.paper.get((column.family, column.learner))
        if theirs is None:
            continue
        mean, deviation = theirs
        half = NORMAL * deviation / math.sqrt(PUBLISHED[table.name].episodes)
        entry, budget = ours.get((row.name, column.name)), full.get((column.space, column.learner))
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


def _section(board: Board, found: list[Compared]) -> list[str]:
    between = lambda low, high: f"{low:.1f} to {high:.1f}"
    run = [of.entry for of in found if of.entry]
    apart = [of.entry.difference > 0 for of in found if of.entry and not of.meet]
    why: dict[str, str] = {}  # reason -> the letter that stands for it
    rows = []
    for of in found:
        first = [plain(of.row), plain(of.column), published_text(of.theirs)]
        if (entry := of.entry) is None:
            rows.append([*first, "not run", "", between(*of.interval), "", "", of.updates, ""])
            continue
        numbers = [entry.text, f"{entry.difference:+.1f}", between(*of.interval), between(entry.low, entry.high)]
        letter = "" if of.meet else why.setdefault(of.reason, ascii_lowercase[len(why)])
        rows.append([*first, *numbers, "yes" if of.meet else "no", of.updates, letter])
    names = ("data", "method", "paper", "ours", "difference", "paper's interval", "our interval", "meet", "updates", "why")
    return [
        f"## {board.table.title}, preset `{board.preset}`",
        "",
        PUBLISHED[board.table.name].protocol,
        "",
        f"{len(found)} published figures, of which {len(run)} were run. On {len(run) - len(apart)} the intervals meet; on "
        f"{sum(apart)} ours is higher, on {len(apart) - sum(apart)} lower.",
        "",
        table(names, rows, None),
        "",
        *(f"- {letter}: {reason}" for reason, letter in why.items()),
        "",
    ]


def text(boards: list[Board]) -> str:
    """The page; empty where no cell has a published figure."""
    sections = [_section(board, found) for board in boards if (found := compared(board))]
    if not sections:
        return ""
    lines = [
        "# Beside the paper",
        "",
        "Every figure that the paper publishes (OHIO, ICLR 2025) beside ours, from the run files alone. Both are mean ± standard "
        "deviation over test episodes, ours over training seeds as well. Intervals are of the means, 95 %: the paper's over the "
        "test episodes of its one policy, from its deviation, without what another training seed would have changed; ours by "
        "bootstrap over training seeds, without what other test episodes would have. So both are too narrow, and a *no* is no "
        "proof. Updates: ours, of those the paper made. Where the intervals do not meet, a letter leads to the reason below.",
        "",
        *(part for section in sections for part in section),
    ]
    return "\n".join(lines)


def write(boards: list[Board], results: Path = RESULTS) -> list[Path]:
    """Writes `comparison.md` if there is anything to compare; returns its path in a list."""
    content = text(boards)
    if not content:
        return []
    write_text(results / "comparison.md", content)
    return [results / "comparison.md"]
