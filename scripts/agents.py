"""Makes a task's `agents.npz`, the trained agents that are behavior: their actors, out of training directories.

Those of the reacher act on torques:

    for decisions in 25600 40000 70000 200000; do
        ohio-jax online reacher --interface end_to_end --learner sac --hidden 64 --envs 128 --updates-per-step 16 \\
            --reset-every 200 --learning-starts 12800 --buffer-size 400000 --env-steps $decisions --out sac-$decisions \\
            --config actor_lr=5e-4,critic_lr=5e-4,temperature=0.1,temperature_lr=3e-4
    done
    python -m scripts.agents reacher sac-25600 sac-40000 sac-70000 sac-200000

in five minutes on two cores of an AMD EPYC. Those of Lift and Door act on the displacements that the logs hold:

    for decisions in 45000 60000 120000 1200000; do  # of door: 80000 200000 700000 1200000
        ohio-jax online lift --interface logged --learner sac --hidden 256 --envs 64 --updates-per-step 16 \\
            --learning-starts 20000 --buffer-size 1000000 --env-steps $decisions --out sac-$decisions \\
            --config actor_lr=3e-4,critic_lr=3e-4,temperature=0.1,temperature_lr=3e-4
    done
    python -m scripts.agents lift sac-45000 sac-60000 sac-120000 sac-1200000

in 40 minutes on one core a scene; a shorter run is the beginning of a longer one.

The card of a file holds the plans.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from ohio_envs import registry
from ohio_envs.manipulation import policies as manipulation
from ohio_envs.reacher import policies as reacher

from ohio_jax import files
from ohio_jax.errors import UserError, short
from ohio_jax.training.checkpoint import load_policy, read_run

AGENTS = {"reacher": reacher.AGENTS, **manipulation.AGENTS}


def pack(runs: list[str], path: Path, precision: type = np.float16) -> None:
    """Writes the agents of training directories into one file. Raises UserError for a directory that is no finished run.

    Args:
        precision: in which they are kept, and so played.
    """
    loaded = [load_policy(run, registry.make) for run in runs]
    actors = [jax.tree.map(lambda x: x[0], states.state.actor.params)["params"]["Perceptron_0"] for *_, states in loaded]
    stacked = jax.tree.map(lambda *x: np.stack(x), *actors)
    described = [read_run(run) for run in runs]
    card = {"runs": described, "hidden": loaded[0][2].hidden, "layers": sorted(stacked)}
    arrays = {f"{name}.{part}": stacked[name][part].astype(precision) for name in stacked for part in ("kernel", "bias")}
    files.write_npz(path, card, arrays)


if __name__ == "__main__":
    try:
        name, *runs = sys.argv[1:] or [""]
        if name not in AGENTS or not runs:
            raise UserError(f"expected one of {', '.join(AGENTS)} and training directories, found {short(sys.argv[1:])}")
        pack(runs, AGENTS[name].file, np.float32 if name == "reacher" else np.float16)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
