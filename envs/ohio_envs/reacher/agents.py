"""Trained agents as behavior: soft actor-critic on torques, kept at several moments of its training.

`scripts/reacher_agents.py` made `agents.npz`, whose card holds the plans.
"""

import functools
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp

from ohio_envs.reacher.features import features
from ohio_jax.environment import State
from ohio_jax.files import read_npz
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import Actor
from ohio_jax.task import Policy

ASSET = "agents.npz"
MEDIUM = 1  # the stage whose returns lie between a third and two thirds of the last one's
TORQUES = heads.Box((1.0, 1.0))


@functools.cache
def load(path: Path | None = None) -> tuple[dict[str, Any], int, Any]:
    """(card, S stages, the actor's parameters with leading axis S, on the host), of the file kept here or of another."""
    file = resources.files("ohio_envs.reacher") / ASSET if path is None else path
    card, arrays = read_npz(file.read_bytes())
    layers = {name: {part: arrays[f"{name}.{part}"] for part in ("kernel", "bias")} for name in card["layers"]}
    return card, len(card["runs"]), {"params": {"Perceptron_0": layers}}


def play(stage: Callable[[int, State], Any], path: Path | None = None) -> Policy:
    """The policy that in each state draws a torque from the agent of stage(S, state): `Int[]`, one of the S kept."""

    def policy(env: Any, key: jax.Array, state: State) -> jax.Array:
        card, stages, stacked = load(path)
        params = jax.tree.map(lambda x: jnp.asarray(x)[stage(stages, state)], stacked)
        actor = Actor(TORQUES.raw_shape, (card["hidden"],) * 2)
        raw = cast(jax.Array, actor.apply(params, features(state.obs)))
        return TORQUES.sample(raw, key)[0]

    return policy
