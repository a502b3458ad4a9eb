"""A table of a small city with a learner of its own: its trials, and the table with the best of them."""

import dataclasses
from pathlib import Path

from ohio_bench.experiments import of_table, routing, trials_of
from ohio_bench.runner import table, tune
from ohio_bench.runner.run import run
from ohio_bench.runner.table import Preset, Row
from ohio_bench.runner.trials import Trials
from ohio_envs import datasets

from ohio_jax.learners import outside

OWN = "from ohio_jax.learners.bc import Config, act, init, update\n"  # behavior cloning under another name
datasets.RECIPES["small-inf-v1"] = datasets.Recipe("routing-synthetic", "inf", 32, 4, {"regions": 4, "horizon": 5})
METHODS = tuple(of for of in routing.COLUMNS if of.name in ("OHIO BC", "E2E (fair) BC"))
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
GRID = ({}, *({"actor_lr": rate} for rate in RATES), *({"actor_lr": rate, "batch": 512} for rate in RATES[1:]))
TRIALS = Trials("Small-INF", {"hierarchy": "OHIO", "end-to-end": "E2E (fair)"}, {"cloner": GRID})


def small() -> Preset:
    plans = {key: dataclasses.replace(plan, updates=100, block=50) for key, plan in routing.BUDGETS["quick"]().items()}
    return Preset((Row("Small-INF", "small-inf-v1"),), plans, runs=2, test_episodes=10, policies=("inf",), columns=METHODS)


TABLE = dataclasses.replace(routing.TABLE, name="small", presets={"cpu": small}, trials=TRIALS)

if __name__ == "__main__":
    Path("cloner.py").write_text(OWN)
    declared, results = table.with_learner(TABLE, "cpu", outside.find("cloner:")), Path("results")
    tried = run(trials_of(declared), "cpu", results=results)
    print(tried.report.paths[0].read_text())
    found = run(of_table(declared), "cpu", results=results)
    best = {of.group.kind: of for of in tune.chosen(declared, declared.preset("cpu"), "cpu", results)}
    selection = {entry.cell["selection"] for entry in found.report.board.entries if not entry.scripted}
    print(f"chosen: {best['hierarchy'].number} of a hierarchy, {best['end-to-end'].number} end to end")
    assert tried.ran == 16 and selection == {f"tuned {of.digest}" for of in best.values()}
