"""What tests of several processes run in each of them: relabel, train and evaluate on the line, and keep what came out.

`python -m tests.ohio_jax.one_of_several COORDINATOR PROCESSES PROCESS FOLDER [DIES]`: goes on in the folder `run`; the process
of number DIES kills itself after the first checkpoint.
"""

import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np

from ohio_jax import data, mesh
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import bc
from ohio_jax.relabel import relabel
from ohio_jax.training import loop
from ohio_jax.training.checkpoint import Run
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan
from tests.ohio_jax import toy

PLAN = Plan("bc", bc.Config(actor_lr=1e-2), hidden=16, updates=60, batch=16, block=20, seeds=4)
EPISODES = 6


def work(logs: Path, folder: Path) -> dict[str, np.ndarray]:
    """Everything that is spread over devices."""
    task = toy.line_task()
    transitions = relabel(data.load(logs, "trajectories"), task, "ohio", "least_squares")
    trained = train(PLAN, task, "ohio", transitions, folder)
    played = evaluate_learner(task, "ohio", bc, trained.states, EPISODES, 9)
    parameters = {f"parameters.{i}": x for i, x in enumerate(jax.tree.leaves(trained.states))}
    return {"goal": transitions.action, "returns": played.returns, **trained.curve, **parameters}


def main(coordinator: str, processes: int, process: int, folder: Path, dies: int | None = None) -> None:
    mesh.join(coordinator, processes, process)
    if dies is not None:
        save = Run.save

        def save_and_die(self, states):
            save(self, states)
            if process == dies:
                os.kill(os.getpid(), signal.SIGKILL)

        loop.SECONDS_BETWEEN_CHECKPOINTS, Run.save = 0.0, save_and_die
    np.savez(folder / f"found-{process}.npz", **work(folder / "logs.npz", folder / "run"))
    mesh.barrier()


if __name__ == "__main__":
    coordinator, processes, process, folder, *dies = sys.argv[1:]
    main(coordinator, int(processes), int(process), Path(folder), *map(int, dies))
