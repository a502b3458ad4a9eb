"""Trained agents as behaviour: soft actor-critic on torques, kept at several moments of its training.

    for decisions in 25600 40000 70000 200000; do
        ohio-jax online reacher --space end_to_end --learner sac --hidden 64 --envs 128 --updates-per-step 16 --restart 200 \\
            --warm-up 12800 --capacity 400000 --decisions $decisions --out sac-$decisions \\
            --config actor_rate=5e-4,critic_rate=5e-4,temperature=0.1,temperature_rate=3e-4
    done
    python -m ohio_envs.reacher.agents sac-25600 sac-40000 sac-70000 sac-200000

made `agents.npz`, in five minutes on two cores of an AMD EPYC; its card holds the four plans.
"""

import functools
import io
import json
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_envs.reacher.features import features
from ohio_jax import files
from ohio_jax.environment import State
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import Actor

ASSET = "agents.npz"
MEDIUM = 1  # the stage whose returns lie between a third and two thirds of the last one's
TORQUES = heads.Box((1.0, 1.0))


@functools.cache
def load(path: Path | None = None) -> tuple[dict[str, Any], int, Any]:
    """(card, S stages, the actor's parameters with leading axis S, on the host), of the file kept here or of another."""
    file = resources.files("ohio_envs.reacher") / ASSET if path is None else path
    with np.load(io.BytesIO(file.read_bytes())) as content:
        card = json.loads(str(content["card"]))
        layers = {name: {part: content[f"{name}.{part}"] for part in ("kernel", "bias")} for name in card["layers"]}
    return card, len(card["runs"]), {"params": {"Perceptron_0": layers}}


def play(stage: Callable[[int, State], Any], path: Path | None = None):
    """The policy that in each state draws a torque from the agent of stage(S, state): Int[], one of the S kept."""

    def policy(env: Any, key: jax.Array, state: State) -> jax.Array:
        card, stages, stacked = load(path)
        params = jax.tree.map(lambda x: jnp.asarray(x)[stage(stages, state)], stacked)
        actor = Actor(TORQUES.raw_shape, (card["hidden"],) * 2, features)
        return TORQUES.sample(actor.apply(params, state.obs), key)[0]

    return policy


def pack(runs: list[str], path: Path) -> None:
    """Writes the agents of training directories into one file. Raises UserError for a directory that is no finished run."""
    from ohio_envs import registry
    from ohio_jax.training.checkpoint import load_policy, read_run

    loaded = [load_policy(run, registry.make) for run in runs]
    actors = [jax.tree.map(lambda x: x[0], states.actor.params)["params"]["Perceptron_0"] for *_, states in loaded]
    stacked = jax.tree.map(lambda *x: np.stack(x), *actors)
    described = [read_run(run) for run in runs]
    card = {"runs": described, "hidden": loaded[0][2].hidden, "layers": sorted(stacked)}
    arrays = {f"{name}.{part}": stacked[name][part] for name in stacked for part in ("kernel", "bias")}
    file = io.BytesIO()
    np.savez_compressed(file, card=np.array(json.dumps(card)), **arrays)
    files.write_bytes(path, file.getvalue())


if __name__ == "__main__":
    pack(sys.argv[1:], Path(str(resources.files("ohio_envs.reacher"))) / ASSET)
