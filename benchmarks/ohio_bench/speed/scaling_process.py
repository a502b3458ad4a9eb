"""One process of `ohio-jax speed scaling`: measures on all devices there are, and keeps what it computed to be compared.

Called as `python -m ohio_bench.speed.scaling_process FOLDER BUDGET`; prints one JSON object.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
from ohio_envs import registry

from ohio_bench.speed import updates
from ohio_bench.speed.scaling import Budget
from ohio_bench.speed.timing import race
from ohio_bench.speed.work import segments
from ohio_jax import data, mesh
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import invert_all
from ohio_jax.rollout import episode_keys, learned, rollouts
from ohio_jax.training.plan import Plan, initial_agents


def main(folder: Path, budget: Budget) -> None:
    task = registry.make(budget.task)
    interface, learner = task.interfaces[budget.interface], LEARNERS[budget.learner]
    plan = Plan(budget.learner, learner.Config(), budget.hidden, block=budget.updates, seeds=budget.seeds)
    policy = initial_agents(plan, task, budget.interface)[0].of_seed(0)
    instances, keys = task.instances(0, budget.episodes), episode_keys(0, budget.episodes)
    given = segments(data.load(folder / "logs.npz", "trajectories"), interface.steps, budget.segments)
    calls = {
        "train": updates.block(plan, policy.state.spec, data.load(folder / "goals.npz", "transitions")),
        "invert": partial(invert_all, budget.inverse, interface.problem, given),
        "evaluate": partial(rollouts, task.high_level(budget.interface), learned(learner, True), policy, instances, keys),
    }
    first, seconds = {}, {}
    for name, call in calls.items():
        start = time.perf_counter()
        first[name] = jax.device_get(call())
        seconds[name] = time.perf_counter() - start
    # What a learner says of its first updates tells where it then is; places beyond the last seed repeat it.
    losses = {f"train.{name}": value[: budget.seeds] for name, value in first["train"].items()}
    answers = {**losses, "invert.goal": first["invert"].goal, "evaluate.returns": first["evaluate"].returns}
    np.savez(folder / f"answers-{len(mesh.devices())}.npz", **answers)

    timings = race(calls, budget.windows, budget.seconds)
    rates = {name: timing.rates(budget.amounts()[name]) for name, timing in timings.items()}
    print(json.dumps({name: {**rate, "compile_seconds": seconds[name] - timings[name].best} for name, rate in rates.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Budget(*json.loads(sys.argv[2])))
