"""A table of a task and a learner of one's own: its data, what is tried, what is claimed; tuned, filled and judged."""

from pathlib import Path

import add_learner as rwr  # which imports add_task, where the task `cart` joins `registry.TASKS`
from ohio_bench.experiments import of_table, trials_of
from ohio_bench.report import marked
from ohio_bench.report.claims import Claim
from ohio_bench.runner.run import run
from ohio_bench.runner.table import Column, Preset, Row, Table
from ohio_bench.runner.trials import Trials
from ohio_envs import datasets

from ohio_jax.learners import LEARNERS
from ohio_jax.training import Plan

LEARNERS["rwr"] = rwr
datasets.RECIPES["cart-random-v1"] = datasets.Recipe("cart", "random", episodes=100, validation_episodes=10)
COLUMNS = (Column("OHIO", "ohio", "analytic", "rwr"), Column("End-to-end", "end_to_end", "analytic", "rwr"))
GRID = ({}, *({"beta": beta} for beta in (0.3, 1.0, 10.0)), *({"actor_lr": rate} for rate in (3e-4, 3e-3, 1e-2)), {"batch": 512})
TRIALS = Trials("Cart-Random", {"hierarchy": "OHIO", "end-to-end": "End-to-end"}, {"rwr": GRID})


def cpu() -> Preset:
    """A minute. Discounts are equal for every second: a decision of the hierarchy is five low-level steps."""
    plan = lambda discount: Plan("rwr", rwr.Config(discount=discount), hidden=32, updates=500, batch=128, block=500)
    plans = {("ohio", "rwr"): plan(0.97), ("end_to_end", "rwr"): plan(0.97 ** (1 / 5))}
    return Preset((Row("Cart-Random", "cart-random-v1"),), plans, runs=3, test_episodes=50, policies=("operator", "random"))


NOTE = "Marks are where the cart is to stand; a return is minus the sum of its distances."
TABLE = Table("cart", "Cart", COLUMNS, {"cpu": cpu}, NOTE, (), "m", trials=TRIALS, origin="own_table:")
CLAIMS = (
    Claim("marks", "Regression on recovered marks scores {difference} regression on forces.", "OHIO RWR", "End-to-end RWR"),
    Claim("operator", "It scores {difference} the operator.", "OHIO RWR", "operator", "within", margin=5.0),
)
EXPERIMENT, RESULTS = of_table(TABLE, CLAIMS), Path("results")

if __name__ == "__main__":
    tried = run(trials_of(TABLE), "cpu", results=RESULTS)  # a killed call goes on where it stopped
    filled = run(EXPERIMENT, "cpu", results=RESULTS)
    found = marked.all_of([EXPERIMENT], RESULTS)
    print(tried.report.paths[0].read_text(), filled.report.paths[0].read_text(), marked.shown(found), sep="\n")
    assert {entry.cell["selection"][:5] for entry in filled.report.board.entries if not entry.scripted} == {"tuned"}
    assert found["cart"]["cpu"][0].verdict == "holds" and not any(of.stale for of in found["cart"]["cpu"])
