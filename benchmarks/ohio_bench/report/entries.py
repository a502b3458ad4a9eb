"""Run files as the numbers of a table: scores with intervals and ranks, in rows and blocks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ohio_bench.report import policies
from ohio_bench.runner import references, store
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.table import KIND, Column, Paper, Row, Table, check_limits
from ohio_jax import scores
from ohio_jax.task import Reference

ENOUGH = 5  # runs; a cell of fewer says so
SUBMISSION = "submission"  # kind of run files that others made
# Fields of a config that say what was played in tests and what was learned from: by the names of stream and data set, or, in
# cells from before there were any, by seeds, policy and settings.
TESTS = ("task", "settings", "test_stream", "test_seed", "test_episodes")
DATA = ("data_set", "data_settings", "behavior_policy", "data_seed", "data_episodes")


def published_text(figure: Paper) -> str:
    """A published mean and deviation, with one digit after the point or all that were published."""
    return " ± ".join(f"{x:.1f}" if x == round(x, 1) else f"{x:g}" for x in figure)


@dataclass(frozen=True)
class Shown:
    """One cell as the table shows it, with scores (`Entry`) or without (`Untrained`)."""

    row: str
    column: str
    cell: dict[str, Any]

    @property
    def scripted(self) -> bool:
        return "policy" in self.cell["config"]

    @property
    def hardware(self) -> str:
        machine = self.cell["provenance"]["hardware"]
        return f"{machine['cpu']}, {machine['cores']} cores" if machine["platform"] == "cpu" else str(machine["device"])


@dataclass(frozen=True)
class Untrained(Shown):
    """The cell of a method for which too few transitions were left in one of its runs."""

    @property
    def left(self) -> str:
        """Transitions that could be trained on: least and most over the runs."""
        return policies.counts([policies.trained_on(card) for card in policies.cards(self.cell)])

    @property
    def text(self) -> str:
        return f"not trained: {self.left} transitions"


@dataclass(frozen=True)
class Entry(Shown):
    """One cell with scores.

    Attributes:
        runs: `Float[R]`, mean score of each run; of a scripted policy one.
        score: mean over runs and episodes.
        spread: standard deviation over all of them, the paper's statistic.
        low, high: 95 % t interval of the mean, over runs (scripted policies: over episodes); infinite for one run.
        rank: first and last place among the trained policies of the same row that paired comparisons of runs leave open, see
            `scores.ranks`; (0, 0) for a scripted policy, and where runs cannot be compared.
        of_bound: percent of the full-information upper bound, NaN if unknown.
        train: seconds of training, NaN if there was none.
        seconds: of everything.
        same: row and column of the cell that is printed for this policy and outcome; None if it is this one.
    """

    runs: np.ndarray
    episodes: int
    score: float
    spread: float
    low: float
    high: float
    rank: tuple[int, int]
    mean_return: float
    of_bound: float
    paper: tuple[float, float] | None
    train: float
    seconds: float
    same: tuple[str, str] | None

    @property
    def seeds(self) -> int:
        """Number of runs."""
        return len(self.runs)

    @property
    def seed_std(self) -> float:
        """Standard deviation of the runs."""
        return float(self.runs.std())

    @property
    def text(self) -> str:
        return f"{self.score:.1f} ± {self.spread:.1f}"

    @property
    def interval_text(self) -> str:
        return f"{self.low:.1f} to {self.high:.1f}" if np.isfinite(self.low) else ""

    @property
    def marks(self) -> str:
        """† for fewer runs than `ENOUGH`, ‡ where one collapsed."""
        return "" if self.scripted else "†" * (self.seeds < ENOUGH) + "‡" * bool(self.collapsed.any())

    @property
    def collapsed(self) -> np.ndarray:
        """`Bool[R]`, see `scores.collapsed`."""
        return scores.collapsed(self.runs)

    @property
    def success(self) -> float | None:
        """Share of episodes with success in %, None where that is no metric of the task."""
        found = self.cell["metrics"].get("success")
        return None if found is None else 100 * float(np.mean(found))

    @property
    def same_text(self) -> str:
        """The data set, or the method without its learner, whose cell is printed for this one."""
        if self.same is None:
            return ""
        row, family = self.same[0], self.same[1].rpartition(" ")[0]
        return family if row == self.row else row if self.same[1] == self.column else f"{family} on {row}"

    @property
    def paper_text(self) -> str:
        return published_text(self.paper) if self.paper else ""

    @property
    def difference(self) -> float:
        """Ours less the paper's, NaN without the paper's."""
        return self.score - self.paper[0] if self.paper else float("nan")

    @property
    def behavior_policy(self) -> str:
        """That made the data of a learned cell; nothing where its run file does not say."""
        said = {**next(iter(policies.cards(self.cell)), {}), **self.cell["config"]}
        return said.get("behavior_policy", "")

    @property
    def best(self) -> bool:
        """Whether no other method of the row may be as good."""
        return self.rank == (1, 1)

    @property
    def rank_text(self) -> str:
        first, last = self.rank
        return "" if not first else f"{first}" if first == last else f"{first} to {last}"


Of = TypeVar("Of", bound=Shown)


def load(table: Table, preset: str, results: Path = RESULTS) -> list[dict[str, Any]]:
    """The run files of a table, in order of their names, then those that others submitted."""
    ours, theirs = store.folder(table.name, preset, results), store.submitted(results) / table.name / preset

    def check(in_place: Callable[..., None], cell: dict[str, Any]) -> None:
        in_place(table.name, preset, cell)
        check_limits(table, cell)

    cells = store.read_all(ours, KIND, partial(check, store.check_place), file_name)
    references.check(ours, cells, file_name, results)
    return [
        *cells,
        *store.read_all(
            theirs, SUBMISSION, partial(check, store.check_folder), lambda cell: store.slug(cell["row"], cell["column"])
        ),
    ]


def file_name(cell: dict[str, Any]) -> str:
    """Of one of our own run files, as `ohio_bench.runner.table` calls it."""
    if "policy" in cell["config"]:
        return store.slug(cell["row"], "policy", cell["column"])
    learner = cell["config"]["plan"]["learner"]
    return store.slug(cell["row"], cell["column"].removesuffix(f" {learner.upper()}"), learner)


def untrained(cells: Iterable[dict[str, Any]]) -> tuple[Untrained, ...]:
    """Those of the cells that have no scores."""
    return tuple(Untrained(cell["row"], cell["column"], cell) for cell in cells if "untrained" in cell)


def entries(table: Table, preset: str, cells: Iterable[dict[str, Any]]) -> list[Entry]:
    """One Entry a cell that has scores. The bound comes from the oracle cell of the same city."""
    cells = [cell for cell in cells if "untrained" not in cell]
    rows = {row.name: row for row in table.preset(preset).rows}
    bounds = {cell["row"]: float(np.mean(cell["returns"])) for cell in cells if cell["column"] == "oracle"}
    normal = [scores.normalize(c["returns"], Reference(**c["reference"]).zero, c["reference"]["full"]) for c in cells]
    ranks, same, out = _ranks(cells, [of.mean(axis=1) for of in normal]), _same(table, preset, cells), []
    for i, (cell, score) in enumerate(zip(cells, normal, strict=True)):
        returns, scripted = np.asarray(cell["returns"], np.float64), "policy" in cell["config"]
        low, high = scores.t_interval(score[0] if scripted else score.mean(axis=1))
        instances = cell["row"].split("-")[0]
        row: Row | None = rows.get(cell["row"])
        family, learner = method(cell)
        out.append(
            Entry(
                row=cell["row"],
                column=cell["column"],
                runs=score.mean(axis=1),
                episodes=returns.shape[1],
                score=float(score.mean()),
                spread=float(score.std()),
                low=float(low),
                high=float(high),
                rank=ranks.get(i, (0, 0)),
                mean_return=float(returns.mean()),
                of_bound=100 * float(returns.mean()) / bounds[instances] if bounds.get(instances) else float("nan"),
                paper=row.paper.get((family, learner)) if row else None,
                train=float(cell["seconds"].get("train", float("nan"))),
                seconds=float(sum(cell["seconds"].values())),
                cell=cell,
                same=same.get(i),
            )
        )
    return out


def part(config: dict[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """These fields of a configuration, as two cells that are compared must have them."""
    return store.comparable({name: config.get(name) for name in fields})


def _ranks(cells: list[dict[str, Any]], runs: list[np.ndarray]) -> dict[int, tuple[int, int]]:
    """Place of a cell -> its first and last rank in its row. One policy is one contender, whatever number of cells hold it.

    A row is ranked if all of ours are on the same logs and test episodes; without what is of one run, or submitted on others.
    """
    paired = lambda config: store.digest([*(part(config, of) for of in (TESTS, DATA)), config["plan"].get("first_seed", 0)])
    out: dict[int, tuple[int, int]] = {}
    for name in {cell["row"] for cell in cells}:
        learned = [i for i, cell in enumerate(cells) if cell["row"] == name and "policy" not in cell["config"]]
        ours = {paired(cells[i]["config"]) for i in learned if "author" not in cells[i]}
        logs = {policies.logs_of(cells[i]): cells[i] for i in learned if "author" not in cells[i]}
        if len(ours) != 1 or len(logs) != 1:
            continue
        (one,) = logs.values()
        unit = lambda cell: part(cell["reference"], ("zero", "full"))
        rows = [i for i in learned if paired(cells[i]["config"]) in ours and unit(cells[i]) == unit(one)]
        as_ours = [i for i in rows if policies.same_logs(cells[i], one)]
        rivals = [i for i in as_ours if len(runs[i]) > 1]
        first = policies.first_of([cells[i] for i in rivals])
        if len(apart := sorted(set(first))) < 2:
            continue
        places = scores.ranks([runs[rivals[k]] for k in apart]).tolist()
        out |= {i: tuple(places[apart.index(k)]) for i, k in zip(rivals, first, strict=True)}
    return out


def _same(table: Table, preset: str, cells: list[dict[str, Any]]) -> dict[int, tuple[str, str]]:
    """Place of a cell whose policy and outcome another has -> row and column of the first, in the table's order."""
    rows = [row.name for row in table.preset(preset).rows]
    columns = [column.name for column in table.columns]
    place = lambda listed, name: listed.index(name) if name in listed else len(listed)
    order = sorted(
        (i for i, cell in enumerate(cells) if "policy" not in cell["config"]),
        key=lambda i: (place(rows, cells[i]["row"]), place(columns, cells[i]["column"])),
    )
    first = policies.first_of([cells[i] for i in order])
    return {i: (cells[order[k]]["row"], cells[order[k]]["column"]) for i, k in zip(order, first, strict=True) if order[k] != i}


def method(cell: dict[str, Any]) -> tuple[str, str]:
    """(family, learner) of a cell, as a column's name holds them."""
    family, _, learner = cell["column"].rpartition(" ")
    return family, learner.lower()


def columns(table: Table, listed: Sequence[Shown]) -> list[Column]:
    """The table's columns, then those that only other cells have: submitted ones, and those of learners from elsewhere."""
    found = {column.name: column for column in table.columns}
    for entry in listed:
        if entry.column not in found and not entry.scripted:
            family, learner = method(entry.cell)
            config = entry.cell["config"]
            more = {name: config[name] for name in ("weights", "zero_shot", "acting") if name in config}
            more |= {"ahead": config["plan"]["ahead"]} if "ahead" in config["plan"] else {}
            found[entry.column] = Column(family, config["interface"], config["inverse"], learner, **more)
    return list(found.values())


def grid(table: Table, listed: Sequence[Of]) -> list[tuple[str, dict[str, Of | None]]]:
    """Rows of learned cells in order of declaration: (row name, {column name: Entry or Untrained})."""
    names = list(dict.fromkeys(entry.row for entry in listed if not entry.scripted))
    declared = sorted((preset().rows for preset in table.presets.values()), key=len)  # of which the longest is heard last
    order = {row.name: i for rows in declared for i, row in enumerate(rows)}
    names.sort(key=lambda name: order.get(name, len(order)))
    by = {(entry.row, entry.column): entry for entry in listed}
    return [(name, {column.name: by.get((name, column.name)) for column in columns(table, listed)}) for name in names]


def blocks(table: Table, listed: Sequence[Of]) -> Iterator[tuple[str, list[str], list[tuple[str, list[Of | None]]]]]:
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
