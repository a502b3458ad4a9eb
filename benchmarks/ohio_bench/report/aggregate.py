"""Run files as the numbers of a table: scores with intervals and ranks, aggregates over datasets, choice by trying."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ohio_bench.runner import store
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.schema import named
from ohio_bench.runner.table import KIND, Column, Paper, Row, Table
from ohio_jax import bandit, scores
from ohio_jax.errors import UserError
from ohio_jax.task import Reference

THRESHOLDS = np.arange(0.0, 121.0, 2.0)  # of performance profiles
PULLS = 128  # online evaluations of the bandit protocol
ENOUGH = 5  # training seeds; intervals of fewer are too narrow
CURVE = 50  # points of a learning curve that are shown
SUBMISSION = "submission"  # kind of run files that others made
ROUNDING = 1e-4  # of sums in float32, relative


def published_text(figure: Paper) -> str:
    """A published mean and deviation, with one digit after the point or all that were published."""
    return " ± ".join(f"{x:.1f}" if x == round(x, 1) else f"{x:g}" for x in figure)


@dataclass(frozen=True)
class Entry:
    """One cell as the table shows it.

    Attributes:
        score: mean over seeds and episodes.
        spread: standard deviation over all of them, the paper's statistic.
        runs: `Float[S]`, mean score of each training seed.
        low, high: 95 % bootstrap interval of the mean, over training seeds (scripted policies: over episodes).
        rank: first and last place among the learned entries of the same row that these intervals leave open; (0, 0) for a
            scripted policy.
        of_bound: percent of the full-information upper bound, NaN if unknown.
        train: seconds of training, NaN if there was none.
        seconds: of everything.
    """

    row: str
    column: str
    seeds: int
    episodes: int
    score: float
    spread: float
    seed_std: float
    runs: np.ndarray
    low: float
    high: float
    rank: tuple[int, int]
    mean_return: float
    of_bound: float
    paper: tuple[float, float] | None
    train: float
    seconds: float
    cell: dict[str, Any]

    @property
    def text(self) -> str:
        return f"{self.score:.1f} ± {self.spread:.1f}"

    @property
    def paper_text(self) -> str:
        return published_text(self.paper) if self.paper else ""

    @property
    def difference(self) -> float:
        """Ours less the paper's, NaN without the paper's."""
        return self.score - self.paper[0] if self.paper else float("nan")

    @property
    def trained_on(self) -> float:
        """Transitions of weight above 0; NaN if that is not known."""
        card = self.cell.get("data", {})
        if "trained_on" in card or "transitions" not in card:
            return card.get("trained_on", float("nan"))
        # Run files of before: weights were 0 where the inverse failed, and where what is not exact was dropped.
        others = ("failed", "ambiguous", "unexplained")[: 3 if card.get("weights") == "drop" else 1]
        return card["transitions"] - sum(card[name] for name in others)

    @property
    def scripted(self) -> bool:
        return "policy" in self.cell["config"]

    @property
    def best(self) -> bool:
        """Whether no other method of the row may be as good."""
        return self.rank == (1, 1)

    @property
    def rank_text(self) -> str:
        first, last = self.rank
        return f"{first}" if first == last else f"{first} to {last}"

    @property
    def hardware(self) -> str:
        machine = self.cell["provenance"]["hardware"]
        return f"{machine['cpu']}, {machine['cores']} cores" if machine["platform"] == "cpu" else str(machine["device"])


def load(table: Table, preset: str, results: Path = RESULTS) -> list[dict[str, Any]]:
    """The run files of a table, in order of their names, then those that others submitted."""
    ours, theirs = store.folder(table.name, preset, results), store.submitted(results) / table.name / preset
    check = functools.partial(check_limits, table)
    return [*store.read_all(ours, KIND, check), *store.read_all(theirs, SUBMISSION, check)]


def check_limits(table: Table, cell: dict[str, Any]) -> None:
    """Raises UserError for a return or a metric of a run file above what the table's tasks allow."""
    horizon = cell["config"]["settings"].get("horizon")
    steps = table.each_step if isinstance(horizon, int) else ()
    for name, most in {**dict.fromkeys(table.shares, 1), **dict.fromkeys(steps, horizon)}.items():
        values = {"returns": cell["returns"], **named(cell, "metrics")}.get(name, [[0.0]])
        if (found := max(map(max, values))) > most * (1 + ROUNDING):
            raise UserError(f"field {name}: expected at most {most} an episode, found {found:g}")


def entries(table: Table, preset: str, cells: list[dict[str, Any]]) -> list[Entry]:
    """One Entry a cell. The bound comes from the oracle cell of the same city."""
    rows = {row.name: row for row in table.preset(preset).rows}
    bounds = {cell["row"]: float(np.mean(cell["returns"])) for cell in cells if cell["column"] == "oracle"}
    normal = [scores.normalize(c["returns"], Reference(**c["reference"]).zero, c["reference"]["full"]) for c in cells]
    # Of a learner: how its mean would move with other training seeds. Of a scripted policy: with other episodes.
    intervals = [scores.interval(jax.random.key(0), (s.mean(axis=1) if len(s) > 1 else s[0])[:, None]) for s in normal]
    ranks = {}
    for name in {cell["row"] for cell in cells}:
        rivals = [i for i, cell in enumerate(cells) if cell["row"] == name and "policy" not in cell["config"]]
        if rivals:
            places = scores.ranks(*np.array([intervals[i] for i in rivals]).T).tolist()
            ranks |= dict(zip(rivals, map(tuple, places), strict=True))
    out = []
    for i, (cell, score, (low, high)) in enumerate(zip(cells, normal, intervals, strict=True)):
        returns = np.asarray(cell["returns"], np.float64)
        instances = cell["row"].split("-")[0]
        row: Row | None = rows.get(cell["row"])
        family, learner = method(cell)
        out.append(
            Entry(
                row=cell["row"],
                column=cell["column"],
                seeds=len(returns),
                episodes=returns.shape[1],
                score=float(score.mean()),
                spread=float(score.std()),
                seed_std=float(score.mean(axis=1).std()),
                runs=score.mean(axis=1),
                low=float(low),
                high=float(high),
                rank=ranks.get(i, (0, 0)),
                mean_return=float(returns.mean()),
                of_bound=100 * float(returns.mean()) / bounds[instances] if bounds.get(instances) else float("nan"),
                paper=row.paper.get((family, learner)) if row else None,
                train=float(cell["seconds"].get("train", float("nan"))),
                seconds=float(sum(cell["seconds"].values())),
                cell=cell,
            )
        )
    return out


def method(cell: dict[str, Any]) -> tuple[str, str]:
    """(family, learner) of a cell, as a column's name holds them."""
    family, _, learner = cell["column"].rpartition(" ")
    return family, learner.lower()


def columns(table: Table, listed: list[Entry]) -> list[Column]:
    """The table's columns, then those that only other cells have: submitted ones, and those of learners from elsewhere."""
    found = {column.name: column for column in table.columns}
    for entry in listed:
        if entry.column not in found and not entry.scripted:
            family, learner = method(entry.cell)
            config = entry.cell["config"]
            more = {name: config[name] for name in ("weights", "zero_shot") if name in config}
            found[entry.column] = Column(family, config["interface"], config["inverse"], learner, **more)
    return list(found.values())


def grid(table: Table, listed: list[Entry]) -> list[tuple[str, dict[str, Entry | None]]]:
    """Rows of learned cells in order of declaration: (row name, {column name: Entry})."""
    names = list(dict.fromkeys(entry.row for entry in listed if not entry.scripted))
    order = {row.name: i for preset in table.presets.values() for i, row in enumerate(preset().rows)}
    names.sort(key=lambda name: order.get(name, len(order)))
    by = {(entry.row, entry.column): entry for entry in listed}
    return [(name, {column.name: by.get((name, column.name)) for column in columns(table, listed)}) for name in names]


def blocks(table: Table, listed: list[Entry]) -> Iterator[tuple[str, list[str], list[tuple[str, list[Entry | None]]]]]:
    """What is printed as one block: (title, its columns' names, its lines as (name, entries)).

    With many datasets a method is a block, datasets are its lines and learners its columns; with many methods a learner is
    a block, methods are its lines and datasets its columns.
    """
    rows = grid(table, listed)
    used = [column for column in columns(table, listed) if any(row[column.name] for _, row in rows)]
    distinct = lambda field: list(dict.fromkeys(getattr(column, field) for column in used))
    if table.blocks == "method":
        for family in distinct("family"):
            shown = [column for column in used if column.family == family]
            lines = [(name, [row[column.name] for column in shown]) for name, row in rows]
            yield family, [column.learner.upper() for column in shown], lines
    else:
        for learner in distinct("learner"):
            shown = [column for column in used if column.learner == learner]
            lines = [(column.family, [row[column.name] for _, row in rows]) for column in shown]
            yield learner.upper(), [name for name, _ in rows], lines


# --- Over datasets --------------------------------------------------------------------------------------------------

SUMMARY: tuple[str, ...] = ("iqm", "median", "mean", "gap")


def summary(table) -> np.ndarray:
    """`Float[4]`, in the order of `SUMMARY`: interquartile mean, median, mean and optimality gap of `Float[R, T]`."""
    of = (scores.interquartile_mean, scores.median, scores.mean, scores.optimality_gap)
    return np.stack([statistic(table) for statistic in of], axis=-1)


def profile(table) -> np.ndarray:
    """`Float[K]`, shares of runs above `THRESHOLDS`."""
    return scores.performance_profile(table, THRESHOLDS)


@dataclass(frozen=True)
class Aggregate:
    """A method over all datasets of its table.

    Attributes:
        table: `Float[R, T]`, mean scores of R training seeds on T datasets.
        value, low, high: name in `SUMMARY` -> number and its 95 % interval.
        profile: `Float[3, K]`, shares of runs above `THRESHOLDS` and their interval.
        better: probability that a run beats one of the same learner end to end, and its interval; None for that one itself.
    """

    column: Column
    table: np.ndarray
    value: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    profile: np.ndarray
    better: tuple[float, float, float] | None


def complete(table: Table, listed: list[Entry]) -> dict[Column, np.ndarray]:
    """Methods that have every dataset, with as many seeds on each -> `Float[R, T]`, mean scores of R seeds on T datasets."""
    rows, tables = grid(table, listed), {}
    for column in columns(table, listed):
        found = [row[column.name] for _, row in rows]
        if rows and all(found) and len({entry.seeds for entry in found if entry}) == 1:
            tables[column] = np.stack([entry.runs for entry in found if entry], axis=1)
    return tables


def aggregates(table: Table, listed: list[Entry]) -> list[Aggregate]:
    """Of methods that are `complete`; by interquartile mean, highest first."""
    tables = complete(table, listed)
    flat = {column.learner: runs for column, runs in tables.items() if column.interface == "end_to_end"}
    key, out = jax.random.key(0), []
    for column, runs in tables.items():
        numbers = (summary(runs), *scores.interval(key, runs, statistic=summary))
        value, low, high = (dict(zip(SUMMARY, map(float, of), strict=True)) for of in numbers)
        curve = np.stack([profile(runs), *scores.interval(key, runs, statistic=profile, resamples=2_000)])
        better, rival = None, flat.get(column.learner)
        if rival is not None and column.interface != "end_to_end":
            chance = scores.probability_of_improvement(runs, rival)
            between = scores.interval(key, runs, rival, statistic=scores.probability_of_improvement)
            better = (float(chance), float(between[0]), float(between[1]))
        out.append(Aggregate(column, runs, value, low, high, curve, better))
    return sorted(out, key=lambda of: -of.value["iqm"])


def improvement(found: list[Aggregate]) -> np.ndarray:
    """`Float[N, N]`, probability that a run of one method beats a run of another."""
    pairs = [[scores.probability_of_improvement(a.table, b.table) for b in found] for a in found]
    return np.array(pairs).reshape(len(found), len(found))


@dataclass(frozen=True)
class Choice:
    """Choosing among all trained policies of an action interface by trying them: `value` is Float[PULLS], see `bandit.chosen`."""

    row: str
    interface: str
    arms: int
    value: np.ndarray


def choices(table: Table, listed: list[Entry]) -> list[Choice]:
    """For every dataset and action interface; arms are the policies of all inverses, learners and seeds. One arm is no choice."""
    arms: dict[tuple[str, str], list[np.ndarray]] = {}
    for name, row in grid(table, listed):
        for entry in filter(None, row.values()):
            reference = Reference(**entry.cell["reference"])
            of = scores.normalize(entry.cell["returns"], reference.zero, reference.full)
            arms.setdefault((name, entry.cell["config"]["interface"]), []).append(of)
    out = []
    for (name, interface), tried in arms.items():
        episodes = min(of.shape[1] for of in tried)
        returns = np.concatenate([of[:, :episodes] for of in tried])
        if len(returns) > 1:
            out.append(Choice(name, interface, len(returns), bandit.chosen(jax.random.key(0), returns, pulls=PULLS)))
    return out


@dataclass(frozen=True)
class Board:
    """A filled table of one preset."""

    table: Table
    preset: str
    entries: list[Entry]
    aggregates: list[Aggregate]
    choices: list[Choice]


def board(table: Table, preset: str, results: Path = RESULTS) -> Board:
    """Everything a table shows, from its run files alone; without entries if there are none."""
    listed = entries(table, preset, load(table, preset, results))
    return Board(table, preset, listed, aggregates(table, listed), choices(table, listed))
