"""A part of the tiny table on a local Ray cluster of two workers, of which one is killed in the middle of a cell.

`python -m tests.ohio_bench.on_ray`, in the folder where results are to be.
"""

import os
import signal
from functools import partial
from pathlib import Path

import ray
from ohio_bench.experiments import of_table
from ohio_bench.runner.executors import over_ray
from ohio_bench.runner.run import run

from ohio_jax.training import loop
from ohio_jax.training.checkpoint import Run
from tests.ohio_bench.tiny import PART

VICTIM = "tiny-dtv.ohio.iql"
CORES = 2  # of a cell: as many devices as other tests have, since bits depend on it


def doomed(again, marker: Path):
    """The same cells, one of which kills its worker after its first checkpoint, once."""
    for cell in again():
        yield cell._replace(work=partial(dies_once, cell.work, marker)) if cell.name == VICTIM else cell


def dies_once(work, marker: Path, folder):
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        save = Run.save

        def save_and_die(self, states):
            save(self, states)
            os.kill(os.getpid(), signal.SIGKILL)

        loop.SECONDS_BETWEEN_CHECKPOINTS, Run.save = 0.0, save_and_die
    return work(folder)


def main() -> None:
    ray.init(num_cpus=2 * CORES, include_dashboard=False, log_to_driver=False)
    execute, written = over_ray(CORES, 0), []

    def killing(wanted, again, folder):
        for name, outcome in execute(wanted, partial(doomed, again, Path("killed").absolute()), folder):
            written.append(name)
            yield name, outcome

    run(of_table(PART), "tiny", results=Path("results"), execute=killing)
    Path("written").write_text("\n".join(written))


if __name__ == "__main__":
    main()
