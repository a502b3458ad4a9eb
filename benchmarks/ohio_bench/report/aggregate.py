"""What a table says over all its data sets: aggregates of methods, choice by trying; and all of it together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ohio_bench.report import policies, trials
from ohio_bench.report.entries import Entry, Shown, Untrained, columns, entries, grid, load, untrained
from ohio_bench.runner import tune
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.freshness import Freshness, freshness
from ohio_bench.runner.table import Column, Table
from ohio_jax import bandit, scores

THRESHOLDS = np.arange(0.0, 121.0, 2.0)  # of performance profiles
PULLS = 128  # online evaluations of the bandit protocol

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
        policies: distinct ones of a run; fewer than T where one plays several data sets.
        value, low, high: name in `SUMMARY` -> number and its 95 % interval, see `scores.interval`. Every data set weighs the
            same in the number, also where one policy plays several; in the interval such a policy is one unit.
        profile: `Float[3, K]`, shares of runs above `THRESHOLDS` and their interval.
        better: probability that a run beats one of the same learner end to end, and its interval; None for that one itself.
    """

    column: Column
    table: np.ndarray
    policies: int
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
    out = []
    for column, runs in tables.items():
        numbers = (summary(runs), *scores.interval(summary, runs))
        value, low, high = (dict(zip(SUMMARY, map(float, of), strict=True)) for of in numbers)
        low["gap"] = max(low["gap"], 0.0)
        curve = np.clip(np.stack([profile(runs), *scores.interval(profile, runs)]), 0, 1)
        better, rival = None, flat.get(column.learner)
        if rival is not None and column.interface != "end_to_end":
            both = [of[: min(len(runs), len(rival))] for of in (runs, rival)]
            chance = scores.probability_of_improvement(*both)
            between = np.clip(scores.interval(scores.probability_of_improvement, *both), 0, 1)
            better = (float(chance), float(between[0]), float(between[1]))
        held = [policies.policy_of(entry.cell) for entry in listed if entry.column == column.name]
        count = sum(policy is None for policy in held) + len(set(held) - {None})
        out.append(Aggregate(column, runs, count, value, low, high, curve, better))
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
    """For every dataset and action interface; arms are the policies of all inverses, learners and runs. One arm is no choice.

    Where methods hold the same policy it is one arm.
    """
    arms: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, row in grid(table, listed):
        for entry in filter(None, row.values()):
            arms.setdefault((name, entry.cell["config"]["interface"]), []).append(entry.cell)
    normal = lambda cell: scores.normalize(cell["returns"], cell["reference"]["zero"], cell["reference"]["full"])
    out = []
    for (name, interface), cells in arms.items():
        tried = [normal(cells[i]) for i in sorted(set(policies.first_of(cells)))]
        episodes = min(of.shape[1] for of in tried)
        returns = np.concatenate([of[:, :episodes] for of in tried])
        if len(returns) > 1:
            out.append(Choice(name, interface, len(returns), bandit.chosen(jax.random.key(0), returns, pulls=PULLS)))
    return out


@dataclass(frozen=True)
class Board:
    """A filled table of one preset. selection: how the plans of its cells were chosen."""

    table: Table
    preset: str
    entries: list[Entry]
    aggregates: list[Aggregate]
    choices: list[Choice]
    freshness: Freshness = Freshness()  # noqa: RUF009  (frozen)
    selection: str = ""
    untrained: tuple[Untrained, ...] = ()

    @property
    def shown(self) -> list[Shown]:
        """Cells with scores, then those without."""
        return [*self.entries, *self.untrained]


def board(table: Table, preset: str, results: Path = RESULTS) -> Board:
    """Everything a table shows, from its run files alone; without entries if there are none."""
    cells = load(table, preset, results)
    listed = entries(table, preset, cells)
    fresh = freshness(cells, results, tune.declares(table, preset, results))
    selection = trials.note(table, preset, cells, results)
    over_all, tried = aggregates(table, listed), choices(table, listed)
    return Board(table, preset, listed, over_all, tried, fresh, selection, untrained(cells))
