"""Every results table by name, and how it is filled."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import gains, manipulation, reacher, render, routing, supply_chain, table
from benchmarks.entries import Entry
from benchmarks.executors import Executor, here
from benchmarks.executors import executor as executor  # for the command
from benchmarks.table import RESULTS, Preset, Table
from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS, outside
from ohio_jax.training.plan import Plan

OF = (routing, supply_chain, reacher, manipulation, gains)
TABLES: dict[str, Table] = {of.TABLE.name: of.TABLE for of in OF}


@dataclass(frozen=True)
class Page:
    """A filled table: its entries and the file a reader opens."""

    table: Table
    entries: list[Entry]
    path: Path

    def show(self, out) -> None:
        render.show(self.table, self.entries, out)
        print(f"\n{self.path}", file=out)

    def as_json(self) -> dict[str, Any]:
        names = ("row", "column", "seeds", "episodes", "score", "spread", "low", "high", "mean_return")
        cells = [{name: getattr(entry, name) for name in names} for entry in self.entries]
        return {"table": self.table.name, "file": str(self.path), "cells": cells}


def find(name: str) -> Table:
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]


def bench(
    name: str,
    preset: str,
    seeds: int | None,
    rows: list[str],
    results: Path = RESULTS,
    learner: str | None = None,
    execute: Executor = here,
) -> Page:
    """Runs the missing cells of a table and writes it.

    learner: with this one on each of its methods and no other. execute: where, see `benchmarks.executors`.
    """
    chosen = find(name)
    if learner is not None:
        chosen = with_learner(chosen, preset, outside.find(learner))
    if seeds is not None:
        chosen = with_seeds(chosen, preset, seeds)
    table.run(chosen, preset, rows, results, execute)
    return Page(chosen, render.write(chosen, preset, results).entries, results / f"{name}-{preset}.md")


def with_learner(chosen: Table, preset: str, learner: str) -> Table:
    """The table with one learner of LEARNERS alone in one preset, by its own plans or those that `plan` makes for it."""
    made = chosen.preset(preset)
    columns = tuple(dict.fromkeys(replace(column, learner=learner) for column in made.columns or chosen.columns))
    plans = {(column.space, learner): plan_of(made, preset, column.space, learner) for column in columns}
    return replace(chosen, presets={**chosen.presets, preset: lambda: replace(made, columns=columns, plans=plans)})


def with_seeds(chosen: Table, preset: str, seeds: int) -> Table:
    """The table with another number of training seeds in one preset."""
    made = chosen.preset(preset)
    plans = {key: replace(plan, seeds=seeds) for key, plan in made.plans.items()}
    return replace(chosen, presets={**chosen.presets, preset: lambda: replace(made, plans=plans)})


def plan(task: str, preset: str, space: str, learner: str) -> Plan:
    """The training plan of a preset for a task, from the table the task belongs to, see `plan_of`."""
    for chosen in TABLES.values():
        if task in chosen.tasks:
            return plan_of(chosen.preset(preset), preset, space, learner)
    raise UserError(f"task {task!r}: expected a table that declares it, found none")


def plan_of(made: Preset, name: str, space: str, learner: str) -> Plan:
    """The training plan of a preset.

    A learner the table does not know has its default Config, on the budget of the space's IQL, whose discount and unit of
    rewards, the task's rather than a learner's, it takes over.
    """
    if (space, learner) in made.plans:
        return made.plans[space, learner]
    if (space, "iql") not in made.plans:
        raise UserError(f"--preset {name}: expected a plan for {learner} on {space}, found none")
    like, config = made.plans[space, "iql"], LEARNERS[learner].Config()
    of_task = {field: getattr(like.config, field) for field in ("discount", "reward_scale") if hasattr(config, field)}
    return replace(like, learner=learner, config=config.replace(**of_task))
