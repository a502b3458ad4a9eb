"""Makes `agents.npz`, the trained agents that are behavior on the reacher: their actors, out of training directories.

    for decisions in 25600 40000 70000 200000; do
        ohio-jax online reacher --interface end_to_end --learner sac --hidden 64 --envs 128 --updates-per-step 16 \\
            --reset-every 200 --learning-starts 12800 --buffer-size 400000 --env-steps $decisions --out sac-$decisions \\
            --config actor_lr=5e-4,critic_lr=5e-4,temperature=0.1,temperature_lr=3e-4
    done
    python -m scripts.reacher_agents sac-25600 sac-40000 sac-70000 sac-200000

in five minutes on two cores of an AMD EPYC; the file's card holds the four plans.
"""

import sys
from importlib import resources
from pathlib import Path

import jax
import numpy as np
from ohio_envs import registry
from ohio_envs.reacher import agents

from ohio_jax import files
from ohio_jax.training.checkpoint import load_policy, read_run


def pack(runs: list[str], path: Path) -> None:
    """Writes the agents of training directories into one file. Raises UserError for a directory that is no finished run."""
    loaded = [load_policy(run, registry.make) for run in runs]
    actors = [jax.tree.map(lambda x: x[0], states.state.actor.params)["params"]["Perceptron_0"] for *_, states in loaded]
    stacked = jax.tree.map(lambda *x: np.stack(x), *actors)
    described = [read_run(run) for run in runs]
    card = {"runs": described, "hidden": loaded[0][2].hidden, "layers": sorted(stacked)}
    arrays = {f"{name}.{part}": stacked[name][part] for name in stacked for part in ("kernel", "bias")}
    files.write_npz(path, card, arrays)


if __name__ == "__main__":
    pack(sys.argv[1:], Path(str(resources.files("ohio_envs.reacher"))) / agents.ASSET)
