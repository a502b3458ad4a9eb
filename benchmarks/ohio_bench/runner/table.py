"""What a results table is made of, and its cells: scripted policies, then each method on each dataset."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import jax
import numpy as np
from ohio_envs import plans, registry

from ohio_bench.runner.cell import Cell, preset_of
from ohio_bench.runner.store import slug
from ohio_bench.runner.work import WorkFolder, tested
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.task import Task
from ohio_jax.training.plan import Plan

KIND = "cell"  # of run files, see `ohio_bench.runner.schema`

Paper = tuple[float, float]  # mean and standard deviation as published


@dataclass(frozen=True)
class Row:
    """A dataset: a behavior policy on a task. `paper` holds the published score of a column, by (family, learner).

    Attributes:
        data_settings: those of the task in which the data are made, where they are not those in which policies are tested.
        unforeseen: whether nobody knows what differs between the two, so that every column is learned where the data come from.
    """

    name: str
    task: str
    settings: tuple[tuple[str, str], ...]
    behavior_policy: str
    paper: dict[tuple[str, str], Paper]
    data_settings: tuple[tuple[str, str], ...] | None = None
    unforeseen: bool = False

    @property
    def home(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Task and settings that the data come from."""
        return self.task, self.settings if self.data_settings is None else self.data_settings

    @property
    def instance_family(self) -> str:
        """What comes before the first hyphen of the name: the city, whose scripted policies all its rows share."""
        return self.name.split("-")[0]


@dataclass(frozen=True)
class Column:
    """A method: a learner on an action interface. `family` groups columns and finds the paper's figure.

    Attributes:
        weights: how much the learner trusts each transition, see `ohio_jax.relabel`; None: the inverse's own choice.
        zero_shot: whether it is learned in the task the data come from and transferred to the row's, unaware of what differs.
    """

    family: str
    interface: str
    inverse: str
    learner: str
    weights: str | None = None
    zero_shot: bool = False

    @property
    def name(self) -> str:
        return f"{self.family} {self.learner.upper()}"


@dataclass(frozen=True)
class Preset:
    """How much work: rows, seeds and budgets. `plans` holds one training plan for each (interface, learner).

    Attributes:
        columns: those of the table, unless some are named here.
        hdpo: how the policy of that name is trained through the smooth simulator, for a table that shows one.
        dearest: names of columns whose cells are run first, since nothing cheaper replaces them, those of one instance family
            before those of the next, and scripted policies last. Without: policies, then column by column.
    """

    rows: tuple[Row, ...]
    plans: dict[tuple[str, str], Plan]
    data_episodes: int
    test_episodes: int
    data_seed: int = 1000
    test_seed: int = 10
    policies: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    hdpo: Plan | None = None
    dearest: tuple[str, ...] = ()

    def learned(self, columns: Iterable[Column], rows: Iterable[Row]) -> list[tuple[Column, Row]]:
        """Those of each cell that learns, in the order in which they are run."""
        pairs, families = [(column, row) for column in columns for row in rows], [row.instance_family for row in self.rows]
        if not self.dearest:
            return pairs
        place = {name: i for i, name in enumerate(self.dearest)}
        return sorted(pairs, key=lambda pair: (families.index(pair[1].instance_family), place.get(pair[0].name, len(place))))


@dataclass(frozen=True)
class Table:
    """A results table. `presets` are functions so that only the chosen one looks for its files.

    Attributes:
        note: what a reader must know to read it; printed under the table.
        each_step: `returns` and fields like `metrics.touching`, of which a low-level step gives at most 1.
        shares: fields that are at most 1 an episode.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    presets: dict[str, Any]
    note: str
    metrics: tuple[tuple[str, str, float], ...]  # (metric, label, factor) of the chart beside the score
    unit: str  # what a return is
    blocks: Literal["method", "learner"] = "method"  # what is printed as one block
    low_levels: dict[str, str] = field(default_factory=dict)  # action interface -> what a reader knows its low level by
    each_step: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    chart: Callable[[list[Any]], bytes] | None = None  # entries -> PNG, in place of the bars

    preset = preset_of


def with_learner(table: Table, preset: str, learner: str) -> Table:
    """The table with one learner of LEARNERS alone in one preset, by its own plans or those of the tasks."""
    made = table.preset(preset)
    columns = tuple(dict.fromkeys(replace(column, learner=learner) for column in made.columns or table.columns))
    budget = {(column.interface, learner): plans.find(made.plans, column.interface, learner) for column in columns}
    return changed(table, preset, replace(made, columns=columns, plans=budget))


def with_seeds(table: Table, preset: str, seeds: int) -> Table:
    """The table with another number of training seeds in one preset."""
    made = table.preset(preset)
    return changed(table, preset, replace(made, plans={key: replace(plan, seeds=seeds) for key, plan in made.plans.items()}))


def changed(table: Table, preset: str, made: Preset) -> Table:
    """The table with another content of one preset."""
    return replace(table, presets={**table.presets, preset: lambda: made})


def cells(table: Table, preset: Preset, names: Iterable[str]) -> Iterator[Cell]:
    """The cells of the rows of these names, and the scripted policies of their places, in the preset's order."""
    rows = tuple(row for row in preset.rows if row.name in set(names))
    first = {
        row.instance_family: row.home for row in reversed(preset.rows)
    }  # where a family's policies play, whichever rows are chosen
    homes = {row.instance_family: first[row.instance_family] for row in rows}
    keys = dict.fromkeys([*(key for row in rows for key in ((row.task, row.settings), row.home)), *homes.values()])
    tasks = {key: registry.make(key[0], dict(key[1])) for key in keys}
    scripted = list(_scripted(preset, {place: tasks[key] for place, key in homes.items()}))
    yield from () if preset.dearest else scripted
    for column, row in preset.learned(preset.columns or table.columns, rows):
        yield _learning(preset, column, row, tasks[row.task, row.settings], tasks[row.home])
    yield from scripted if preset.dearest else ()


def _scripted(preset: Preset, tasks: dict[str, Task]) -> Iterator[Cell]:
    """The cells of scripted policies in the tasks of these places."""
    test = {"test_seed": preset.test_seed, "test_episodes": preset.test_episodes}
    for place, task in tasks.items():
        made = {policy: ({}, functools.partial(_run_policy, task, policy, preset)) for policy in preset.policies}
        if preset.hdpo:
            made["hdpo"] = {"plan": preset.hdpo.as_json()}, functools.partial(_run_hdpo, task, preset.hdpo, preset)
        for policy, (more, work_of) in made.items():
            config = {"task": task.name, "settings": task.settings, "policy": policy, **more, **test}
            yield Cell(slug(place, "policy", policy), config, work_of, _head(place, policy, task))


def _learning(preset: Preset, column: Column, row: Row, task: Task, home: Task) -> Cell:
    """The cell of a method on a row. home: the task its data come from."""
    plan = preset.plans[column.interface, column.learner]
    moved = {"data_settings": home.settings, "zero_shot": column.zero_shot or row.unforeseen}
    config = {
        "task": task.name,
        "settings": task.settings,
        "behavior_policy": row.behavior_policy,
        "data_seed": preset.data_seed,
        "data_episodes": preset.data_episodes,
        "interface": column.interface,
        "inverse": column.inverse,
        **({} if column.weights is None else {"weights": column.weights}),
        **({} if row.data_settings is None else moved),
        "plan": plan.as_json(),
        "test_seed": preset.test_seed,
        "test_episodes": preset.test_episodes,
    }
    learn = functools.partial(_run_learner, task, home, row, column, plan, preset)
    return Cell(slug(row.name, column.family, column.learner), config, learn, _head(row.name, column.name, task))


def _head(row: str, column: str, task: Task) -> dict[str, Any]:
    return {"row": row, "column": column, "reference": asdict(task.reference)}


def _run_policy(task: Task, policy: str, preset: Preset, work: WorkFolder) -> dict[str, Any]:
    start = time.monotonic()
    played = jax.tree.map(np.asarray, evaluate_policy(task, policy, preset.test_episodes, preset.test_seed))
    return {
        "returns": [played.returns.tolist()],
        "metrics": {name: [value.tolist()] for name, value in played.metrics.items()},
        "seconds": {"evaluate": time.monotonic() - start},
    }


def _run_hdpo(task: Task, plan: Plan, preset: Preset, work: WorkFolder) -> dict[str, Any]:
    """Trained on smooth quantities, tested on the task as it is."""
    trained = work.trained_hdpo(plan, task, "ohio")
    return tested(task, "ohio", plan, trained, preset.test_episodes, preset.test_seed)


def _run_learner(
    task: Task, home: Task, row: Row, column: Column, plan: Plan, preset: Preset, work: WorkFolder
) -> dict[str, Any]:
    """home: the task the data come from."""
    clock = [time.monotonic()]
    lap = lambda: clock.append(time.monotonic()) or clock[-1] - clock[-2]
    logged = work.dataset(home, row.behavior_policy, preset.data_episodes, preset.data_seed)
    seconds = {"collect": lap()}
    learned_in = home if column.zero_shot or row.unforeseen else task
    transitions = work.labeled(learned_in, logged, column.interface, column.inverse, column.weights)
    seconds["invert"] = lap()
    card = transitions.card
    if task.errors is not None:
        card = card | {"label_errors": work.label_errors(task, column.interface, logged, transitions, home)}
    seconds["label_errors"] = lap()
    # Rows that share what is learned share its folder, and the second finds it finished.
    words = (task.name, row.behavior_policy, column.family, column.learner)
    trained = work.trained(plan, learned_in, column.interface, transitions, words)
    found = tested(task, column.interface, plan, trained, preset.test_episodes, preset.test_seed)
    return {"data": card, **found, "seconds": {**seconds, **found["seconds"]}}
