"""Trained agents as behavior: actors of soft actor-critic, kept at several moments of its training.

`scripts/agents.py` made the files, which lie beside their tasks; their cards hold the plans.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.environment import State
from ohio_jax.files import read_npz
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import Actor
from ohio_jax.task import Policy

MEDIUM = 1  # the stage whose returns lie between a quarter and three quarters of the last one's


@dataclass(frozen=True)
class Agents:
    """The agents of a task.

    Attributes:
        file: where they are.
        box: their actions.
        features: what they see of an observation, `Float[..., observed]` -> `Float[..., seen]`.
    """

    file: Path
    box: Box
    features: Callable[[Any], Any]

    def play(self, stage: Callable[[int, State], Any]) -> Policy:
        """The policy that in each state draws an action from the agent of stage(S, state): `Int[]`, one of the S kept."""

        def policy(env: Any, key: jax.Array, state: State) -> jax.Array:
            card, stages, stacked = load(self.file)
            params = jax.tree.map(lambda x: jnp.asarray(x)[stage(stages, state)], stacked)
            actor = Actor(self.box.raw_shape, (card["hidden"],) * 2)
            raw = cast(jax.Array, actor.apply(params, self.features(state.obs)))
            return self.box.sample(raw, key)[0]

        return policy

    def policies(self, lottery: Callable[[State, int], jax.Array]) -> dict[str, Policy]:
        """The last one, the medium one, and one of all for each episode: that of lottery(state, S): `Int[]`."""
        return {
            "expert": self.play(lambda stages, state: jnp.int32(stages - 1)),
            "medium": self.play(lambda stages, state: jnp.int32(MEDIUM)),
            "replay": self.play(lambda stages, state: lottery(state, stages)),
        }


@functools.cache
def load(file: Path) -> tuple[dict[str, Any], int, Any]:
    """(card, S stages, the actors' parameters with leading axis S, on the host) of a file."""
    card, arrays = read_npz(file.read_bytes())
    kept = lambda name, part: np.asarray(arrays[f"{name}.{part}"], np.float32)
    layers = {name: {part: kept(name, part) for part in ("kernel", "bias")} for name in card["layers"]}
    return card, len(card["runs"]), {"params": {"Perceptron_0": layers}}
