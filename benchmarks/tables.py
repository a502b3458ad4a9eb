"""Every results table by name, and how it is filled."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import reacher, render, routing, supply_chain, table
from benchmarks.entries import Entry
from benchmarks.table import RESULTS, Table
from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS
from ohio_jax.train import Plan

TABLES: dict[str, Table] = {"routing": routing.TABLE, "supply-chain": supply_chain.TABLE, "reacher": reacher.TABLE}


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


def bench(name: str, preset: str, seeds: int | None, rows: list[str], results: Path = RESULTS) -> Page:
    """Runs the missing cells of a table and writes it."""
    chosen = find(name)
    if seeds is not None:
        chosen = with_seeds(chosen, preset, seeds)
    table.run(chosen, preset, rows, results)
    return Page(chosen, render.write(chosen, preset, results).entries, results / f"{name}-{preset}.md")


def with_seeds(chosen: Table, preset: str, seeds: int) -> Table:
    """The table with another number of training seeds in one preset."""
    made = chosen.preset(preset)
    plans = {key: replace(plan, seeds=seeds) for key, plan in made.plans.items()}
    return replace(chosen, presets={**chosen.presets, preset: lambda: replace(made, plans=plans)})


def plan(task: str, preset: str, space: str, learner: str) -> Plan:
    """The training plan of a preset for a task, from the table the task belongs to.

    A learner the table does not know has its default Config, on the budget of the space's IQL, whose discount and unit of
    rewards, the task's rather than a learner's, it takes over.
    """
    for chosen in TABLES.values():
        if task in chosen.tasks:
            plans = chosen.preset(preset).plans
            if (space, learner) in plans:
                return plans[space, learner]
            if (space, "iql") not in plans:
                raise UserError(f"--preset {preset}: expected a plan for {learner} on {space}, found none")
            like, config = plans[space, "iql"], LEARNERS[learner].Config()
            of_task = {name: getattr(like.config, name) for name in ("discount", "reward_scale")}
            return replace(like, learner=learner, config=config.replace(**of_task))
    raise UserError(f"task {task!r}: expected a table that declares it, found none")
