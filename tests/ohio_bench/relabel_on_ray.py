"""Relabeling in parts on a local Ray cluster of two workers, of which one is killed in the middle of a part.

`python -m tests.ohio_bench.relabel_on_ray`, in a folder of logs `logs`; transitions come to be in `transitions`.
"""

import os
import signal
from functools import partial
from pathlib import Path

import ray
from ohio_bench.cli import arguments
from ohio_bench.runner import relabeling
from ohio_bench.runner.executors import over_ray

from ohio_jax import data, relabel

PART, VICTIM = 40, "000008-000016"  # eight episodes of five segments


def doomed(again, marker: Path):
    """The same parts, the making of one of which kills its worker, once."""
    relabel.PART = PART
    for cell in again():
        yield cell._replace(work=partial(dies_once, cell.work, marker)) if cell.name == VICTIM else cell


def dies_once(work, marker: Path, folder):
    if not marker.exists():
        marker.touch()
        relabel.parts.keep = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
    return work(folder)


def main() -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    relabel.PART = PART
    execute = over_ray(1, 0)
    killing = lambda wanted, again, folder: execute(wanted, partial(doomed, again, Path("killed").absolute()), folder)
    logs, out = data.load("logs", "trajectories"), Path("transitions")
    task = arguments.task_of("logs", logs.card)
    relabeling.fill(killing, Path("logs"), task, "ohio", "analytic", out)
    relabel.recovered = None  # nothing is left to be made
    relabel.relabel_to(out, logs, task, "ohio", "analytic")


if __name__ == "__main__":
    main()
