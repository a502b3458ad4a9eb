"""Choosing the settings of a table: trials as cells, scored on the selection stream, and the plans of the best ones.

A trial has `RUNS` runs, which learn from data sets of their own and are scored on `streams.Selection` alone. Their run files are
in `results/selection`. A table uses the declared plans until all trials of a learner and kind are there. Stale ones still choose,
which pages say (`ohio_bench.report.trials`): else a change of code would bring back the declared plans. Methods as released, and
presets of published hyperparameters, are not tuned.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ohio_envs import datasets, plans, registry

from ohio_bench.runner import methods, store
from ohio_bench.runner.cell import RESULTS, Cell
from ohio_bench.runner.table import (
    Column,
    Preset,
    Row,
    Settings,
    Table,
    as_declared,
    check_column,
    check_limits,
    plan_of,
    training_config,
    with_learner,
    words_of,
)
from ohio_bench.runner.trials import TRIALS, Kind, Trial, applied, kind_of
from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS
from ohio_jax.streams import Selection
from ohio_jax.training.plan import Plan

KIND = "trial"  # of run files, see `ohio_bench.runner.schema`
PLACE = "selection"  # of run files in a folder of results
RUNS = 2
PUBLISHED = ("paper", "released")  # presets whose hyperparameters are published, and so not chosen
FIRST_SEED = 10_000  # of training and data: none that a table's runs have


@dataclass(frozen=True)
class Group:
    """The trials of a learner and a kind, on this column and row."""

    learner: str
    kind: Kind
    column: Column
    row: Row

    @property
    def name(self) -> str:
        return store.slug(self.learner, self.kind)


def names(table: Table, made: Preset) -> list[str]:
    """Those of a preset's groups. Raises UserError as `groups`, and for trials of an unknown learner."""
    for learner in table.trials.grid if table.trials else ():
        if learner not in LEARNERS:
            raise unknown(f"learner of the trials of {table.name}", learner, LEARNERS)
    return [group.name for group in groups(table, made)]


def groups(table: Table, made: Preset) -> list[Group]:
    """One for each of a preset's learners and kinds for which trials are declared.

    A preset may lack the row of the trials, and their family of a kind; the first of its own is then tried.

    Raises:
        UserError: for a row that no preset of the table has, and for a family that no column has.
    """
    if table.trials is None or not made.rows:
        return []
    presets = lambda: itertools.chain([made], (preset() for preset in table.presets.values()))
    rows = lambda: (row.name for of in presets() for row in of.rows)
    families = lambda: (column.family for of in presets() for column in (*table.columns, *of.columns))
    if table.trials.row not in rows():
        raise unknown(f"row of the trials of {table.name}", table.trials.row, set(rows()))
    for family in table.trials.families.values():
        if family not in families():
            raise unknown(f"family of the trials of {table.name}", family, set(families()))
    row = next((row for row in made.rows if row.name == table.trials.row), made.rows[0])
    columns: dict[tuple[str, Kind], list[Column]] = {}
    for column in made.columns or table.columns:
        if column.learner in table.trials.grid and not plans.as_released(column.interface):
            columns.setdefault((column.learner, kind_of(column.interface)), []).append(column)
    out = []
    for (learner, kind), found in columns.items():
        column = next((column for column in found if column.family == table.trials.families.get(kind)), found[0])
        out.append(Group(learner, kind, column, row))
    return out


def tried(table: Table, made: Preset, group: Group) -> list[tuple[Trial, Plan]]:
    """Changes and plans of a group's trials; where the best is known (`Preset.best`), last that one again with twice the updates,
    which is shown and never chosen. Raises UserError for trials that come to the same plan.
    """
    assert table.trials is not None, "it has a group"
    trials, declared = (
        table.trials.grid[group.learner],
        plans.find(made.plans, group.column.interface, group.learner, group.row.task),
    )
    if group.name in made.best:
        best = trials[made.best[group.name]]
        trials = *trials, {**best, "updates": 2 * applied(declared, best).updates}
    out: list[tuple[Trial, Plan]] = []
    for changes in trials:
        plan = replace(applied(declared, changes), first_seed=FIRST_SEED)
        if same := [first for first, other in out if other == plan]:
            raise UserError(f"trials of {group.name}: expected plans that differ, found the same in {same[0]} and {changes}")
        out.append((changes, plan))
    return out


def cells(table: Table, made: Preset, names: Iterable[str]) -> Iterator[Cell]:
    """The trials of the groups of these names, group by group, see `tried`."""
    wanted = set(names)
    for group in (group for group in groups(table, made) if group.name in wanted):
        home, row, column = datasets.task_of(group.row.data_set), group.row, group.column
        task = home if row.changes is None else registry.make(row.task, row.changes)
        check_column(column)
        for number, (changes, plan) in enumerate(tried(table, made, group)):
            config = config_of(made, group, plan, task.settings)
            given = task, home, plan_of(_with_plan(made, group, plan), column, row), config, words_of(column, row)
            head = {**_head(group, number, changes), "reference": asdict(task.reference)}
            yield Cell(f"{group.name}.{number}", config, functools.partial(methods.trial, *given), head)


def config_of(made: Preset, group: Group, plan: Plan, settings: Settings) -> dict[str, Any]:
    """The configuration of a trial. settings: of the task that it is played in."""
    config = training_config(_with_plan(made, group, plan), group.column, group.row, settings)
    return {**config, "selection_stream": Selection().name, "selection_episodes": made.test_episodes}


def is_of(record: dict[str, Any] | None, made: Preset, group: Group, plan: Plan) -> bool:
    """Whether a run file is of this trial as it is declared today, but for its task's settings, see `table.as_declared`."""
    if record is None:
        return False
    return store.same(record["config"], store.plain(config_of(made, group, plan, record["config"]["settings"])))


def _key(group: Group) -> tuple[str, str, str]:
    return group.row.task, group.column.interface, group.learner


def _with_plan(made: Preset, group: Group, plan: Plan) -> Preset:
    return replace(made, runs=RUNS, plans={_key(group): plan})


def _head(group: Group, number: int, changes: Trial) -> dict[str, Any]:
    return {"row": group.row.name, "column": group.column.name, "group": group.name, "number": number, "changes": changes}


# --- What they chose --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The best trial of a group: the highest mean return, of equals the first; one that diverged is below all others.

    digest: of the records of all.
    """

    group: Group
    number: int
    digest: str


def records(table: Table, preset: str, results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Run files of trials by name, without those of twice the updates. Raises UserError as `every_record`."""
    return {name: cell for name, cell in every_record(table, preset, results).items() if cell["number"] < TRIALS}


def every_record(table: Table, preset: str, results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Run files of trials by name. Raises UserError for a damaged one, and for one that says it is of another trial."""
    place = store.folder(table.name, preset, results, PLACE)
    if not any(place.glob("*.json")):
        return {}
    made = table.preset(preset)
    declared = {group.name: (group, tried(table, made, group)) for group in groups(table, made)}

    def check(cell: dict[str, Any]) -> None:
        store.check_place(table.name, preset, cell)
        check_limits(table, cell)
        group, trials = declared.get(cell["group"], (None, []))
        if group and cell["number"] < len(trials):
            changes, plan = trials[cell["number"]]
            if is_of(cell, made, group, plan):
                store.check_head(_head(group, cell["number"], changes), cell)

    return {file_name(cell): cell for cell in store.read_all(place, KIND, check, file_name)}


def file_name(cell: dict[str, Any]) -> str:
    return f"{cell['group']}.{cell['number']}"


def with_best(table: Table, made: Preset, preset: str, results: Path = RESULTS) -> Preset:
    """A preset that knows the best trial of each group whose trials are all there."""
    return replace(made, best={of.group.name: of.number for of in chosen(table, made, preset, results)})


def chosen(table: Table, made: Preset, preset: str, results: Path = RESULTS) -> list[Chosen]:
    """The best trial of each group whose trials are all there, as they are declared today."""
    found, out = records(table, preset, results), []
    if not found:
        return []
    for group in groups(table, made):
        of = {f"{group.name}.{number}": plan for number, (_, plan) in enumerate(tried(table, made, group))}
        if all(is_of(found.get(name), made, group, plan) for name, plan in of.items()):
            played = {name: found[name] for name in of}
            means = [np.mean(cell["returns"]) if "returns" in cell else -np.inf for cell in played.values()]
            out.append(Chosen(group, int(np.argmax(means)), digest(played)))
    return out


def digest(found: dict[str, dict[str, Any]]) -> str:
    """Of the records of a group's trials, by name."""
    return store.digest({name: {"config": cell["config"], "returns": cell.get("returns")} for name, cell in found.items()})


def settled(table: Table, made: Preset, preset: str, results: Path = RESULTS) -> Preset:
    """A preset with the plans that were chosen, and for each (interface, learner) how: see `Preset.selection`."""
    judge, trials_of = table.tuned_by or table, made.tuned_as or preset
    if judge.trials is None or trials_of in PUBLISHED or trials_of not in judge.presets:
        return made
    tried = judge.preset(trials_of) if table.tuned_by or made.tuned_as else made
    found = {(of.group.learner, of.group.kind): of for of in chosen(judge, tried, trials_of, results)}
    plans_of, selection = dict(made.plans), {}
    for key, plan in made.plans.items():
        *_, interface, learner = key
        best = found.get((learner, kind_of(interface)))
        if best and not plans.as_released(interface):
            plans_of[key] = applied(plan, judge.trials.grid[learner][best.number])
            selection[interface, learner] = f"tuned {best.digest}"
    return replace(made, plans=plans_of, selection=selection)


def declares(table: Table, preset: str, results: Path = RESULTS) -> Callable[[dict[str, Any]], bool]:
    """Whether a run file has the configuration that is declared today, under the plans that were chosen. A cell of a learner that
    the preset does not have is compared with what `ohio-jax bench --learner` would make.
    """

    @functools.cache
    def with_plans(learner: str = "") -> tuple[Table, Preset] | None:
        try:
            of = with_learner(table, preset, learner) if learner else table
        except UserError:  # it has no plans here
            return None
        return of, settled(of, of.preset(preset), preset, results)

    def declared(cell: dict[str, Any]) -> bool:
        plan, found = cell["config"].get("plan", {}), with_plans()
        assert found, "the table has plans for its own learners"
        listed = {column.name for column in found[1].columns or table.columns}
        # One from elsewhere a page must not import.
        if "policy" not in cell["config"] and cell["column"] not in listed and "learner_from" not in plan:
            found = with_plans(plan["learner"]) if plan["learner"] in LEARNERS else None
        return found is not None and as_declared(*found, cell)

    return declared


def require(table: Table, preset: str) -> None:
    """Raises UserError for a preset whose hyperparameters are published or chosen by another's trials, and for a table without
    trials for a preset's learners.
    """
    made = table.preset(preset)
    if preset in PUBLISHED:
        raise UserError(f"preset {preset}: expected another, since its hyperparameters are the published ones")
    if made.tuned_as:
        raise UserError(f"preset {preset}: expected {made.tuned_as}, by whose trials its plans are chosen")
    if not groups(table, made):
        learners = dict.fromkeys(column.learner for column in made.columns or table.columns)
        raise UserError(f"table {table.name}: expected trials declared for {', '.join(learners)}, found none")
