"""A table of two methods on a small city, what is claimed of them, and the verdicts."""

import dataclasses
from pathlib import Path

from ohio_bench.experiments import of_table, routing
from ohio_bench.report import marked
from ohio_bench.report.claims import Claim
from ohio_bench.runner.run import run
from ohio_bench.runner.table import Preset, Row
from ohio_envs import datasets

datasets.RECIPES["small-dtv-v1"] = datasets.Recipe("routing-synthetic", "dtv", 32, 4, {"regions": 4, "horizon": 5})
METHODS = tuple(of for of in routing.COLUMNS if of.name in ("OHIO BC", "E2E (fair) BC"))


def small() -> Preset:
    plans = {key: dataclasses.replace(plan, updates=200, block=100) for key, plan in routing.BUDGETS["quick"]().items()}
    return Preset((Row("Small-DTV", "small-dtv-v1"),), plans, runs=3, test_episodes=20, policies=("dtv",), columns=METHODS)


TABLE = dataclasses.replace(routing.TABLE, name="small", presets={"cpu": small})
CLAIMS = (
    Claim("flat", "Behavior cloning of recovered actions scores {difference} cloning end to end.", "OHIO BC", "E2E (fair) BC"),
    Claim("operator", "It scores {difference} the operator that it clones.", "OHIO BC", "dtv", "within", margin=5.0),
)
TEXT = "# Results\n\n<!-- claims: small -->\n<!-- /claims -->\n"

if __name__ == "__main__":
    experiment, results = of_table(TABLE, CLAIMS), Path("results")
    run(experiment, "cpu", results=results)
    found = marked.all_of([experiment], results)
    print(marked.shown(found))
    print(text := marked.rewritten(TEXT, found))
    flat, operator = found["small"]["cpu"]
    assert flat.verdict == "holds" and flat.runs == 3 and not flat.stale
    assert f"**{operator.verdict}**" in text
