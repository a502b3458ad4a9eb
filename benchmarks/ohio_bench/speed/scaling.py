"""`ohio-jax speed scaling`: training, inverting and evaluating on 1, 2, 4 and 8 devices, and whether the numbers stay the same.

On a CPU the devices are XLA's stand-ins, which share the machine's cores: the curve shows what it costs to spread work, and
that it is spread right, not how fast a machine with so many devices is. Each number of devices has a process of its own, since
XLA counts them once.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ohio_envs import registry

from ohio_bench.runner.executors import DEVICES
from ohio_jax import data
from ohio_jax.collect import collect
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.errors import UserError
from ohio_jax.relabel import relabel


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        devices: how many, one first.
        task, interface, inverse, learner: names.
        logs: episodes of `behavior_policy`, to train on and to invert. A call: `updates` of each of the seeds, width `hidden`;
            `segments` inverted; `episodes` of a learner's policy played.
        deadline: by when all of it is to end.
    """

    task: str
    interface: str
    behavior_policy: str
    inverse: str
    learner: str
    windows: int
    seconds: float
    devices: tuple[int, ...]
    logs: int
    seeds: int
    hidden: int
    updates: int
    segments: int
    episodes: int
    deadline: Deadline = NEVER

    def amounts(self) -> dict[str, int]:
        """Work of a call."""
        return {"train": self.seeds * self.updates, "invert": self.segments, "evaluate": self.episodes}


FULL = Budget("reacher", "ohio_true", "expert", "least_squares", "iql", 5, 0.5, (1, 2, 4, 8), 16, 8, 256, 20, 8192, 64)
QUICK = Budget("routing-synthetic", "ohio", "dtv", "analytic", "bc", 1, 0.01, (1, 2), 2, 2, 8, 2, 64, 2)


def parts(budget: Budget) -> dict[str, Callable[[], dict[str, Any]]]:
    return {"devices": lambda: measure(budget)}


def measure(budget: Budget) -> dict[str, Any]:
    """Rates and answers on so many devices, each in a process of its own. Raises UserError if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        task = registry.make(budget.task)
        logs = collect(task, budget.behavior_policy, budget.logs, 1000)
        data.save(work / "logs.npz", logs)
        data.save(work / "goals.npz", relabel(logs, task, budget.interface, "analytic"))
        rates = {count: process(count, work, budget) for count in budget.devices}
        answers = {count: dict(np.load(work / f"answers-{count}.npz")) for count in budget.devices}
    return {
        "work": {name: value for name, value in budget._asdict().items() if name != "deadline"},
        "devices": {
            str(count): {
                name: {
                    "rate": rate,
                    "times_one_device": rate["best"] / rates[budget.devices[0]][name]["best"],
                    "largest_difference": difference(answers[count], answers[budget.devices[0]], name),
                }
                for name, rate in rates[count].items()
            }
            for count in budget.devices
        },
    }


def process(count: int, work: Path, budget: Budget) -> dict[str, dict[str, float]]:
    """Rates of `ohio_bench.speed.scaling_process` on so many devices; what it computed lies in the folder."""
    budget.deadline.require()
    flags = DEVICES.sub("", os.environ.get("XLA_FLAGS", ""))
    environment = {**os.environ, "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}".strip()}
    command = [sys.executable, "-m", "ohio_bench.speed.scaling_process", str(work), json.dumps(budget[:-1])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise UserError(f"speed scaling: {count} devices: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def difference(found: dict[str, np.ndarray], one: dict[str, np.ndarray], name: str) -> float:
    """Largest difference from one device of what a kind of work gave, as a share of its largest number."""
    pairs = [(found[key], one[key]) for key in one if key.split(".")[0] == name]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)) for a, b in pairs)
