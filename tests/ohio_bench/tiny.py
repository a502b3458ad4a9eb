"""A table on a tiny synthetic city, for tests of what fills and shows tables."""

import dataclasses

from ohio_bench.experiments import routing
from ohio_bench.runner import table
from ohio_bench.runner.trials import CLONING, Trials
from ohio_envs import datasets

CITY = {"regions": 4, "horizon": 5}
datasets.RECIPES |= {f"tiny-{b}-v1": datasets.Recipe("routing-synthetic", b, 6, 2, CITY) for b in ("dtv", "inf")}


def tiny() -> table.Preset:
    rows = tuple(table.Row(f"Tiny-{b.upper()}", f"tiny-{b}-v1", {("OHIO", "bc"): (50.0, 1.0)}) for b in ("dtv", "inf"))
    plans = {
        key: dataclasses.replace(plan, updates=10, block=5, hidden=8, batch=16)
        for key, plan in routing.quick().plans.items()
        if key[1] != "cql"
    }
    return table.Preset(rows, plans, runs=2, test_episodes=4, policies=("none", "dtv", "oracle"))


COLUMNS = tuple(column for column in routing.COLUMNS if column.learner != "cql")
TINY = dataclasses.replace(routing.TABLE, columns=COLUMNS, presets={"tiny": tiny})


def one_row() -> table.Preset:
    return dataclasses.replace(tiny(), rows=tiny().rows[:1], columns=tuple(c for c in COLUMNS if c.family == "OHIO"))


PART = dataclasses.replace(TINY, presets={"tiny": one_row})


def tuned() -> table.Preset:
    return dataclasses.replace(tiny(), rows=tiny().rows[:1])


GRID = Trials("Tiny-DTV", {"hierarchy": "OHIO", "end-to-end": "E2E (fair)"}, {"bc": CLONING})
TUNED = dataclasses.replace(TINY, presets={"tiny": tuned}, trials=GRID)
