"""Demand drawn as the original draws it, from NumPy's legacy generator, whose stream is frozen for good."""

import numpy as np
from jaxtyping import Int

from ohio_envs.supply_chain.scenario import Scenario
from ohio_jax.errors import UserError


def sample_instances(scenario: Scenario, seed: int, episodes: int) -> Int[np.ndarray, "{episodes} T S"]:
    """Noise of the demand of so many episodes, one after the other from `RandomState(seed)`.

    An episode's draws go store by store, in each over T + 1 periods of which the first is never played. The original plays
    episodes 1, 2, .. of seed 0 and never episode 0.

    Raises:
        UserError: for a seed that generator does not know.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"seed: expected 0 to {2**32 - 1} with demand=numpy, found {seed}")
    noise = int(scenario.spread[0])
    drawn = np.random.RandomState(seed).randint(-noise, max(noise, 1), (episodes, scenario.stores, scenario.horizon + 1))
    return drawn[:, :, 1:].transpose(0, 2, 1)
