"""What tests of data sets start from."""

import numpy as np

from ohio_jax import data


def trajectories(lengths=(3, 1, 2), seed=0) -> data.Trajectories:
    rng = np.random.default_rng(seed)
    steps, episodes = sum(lengths), len(lengths)
    last = np.cumsum(lengths) - 1
    truncated = np.zeros(steps, bool)
    truncated[last] = True
    return data.Trajectories(
        obs=rng.normal(size=(steps + episodes, 4)).astype(np.float32),
        state=rng.integers(0, 9, (steps, 2)),
        next_state=rng.integers(0, 9, (steps, 2)),
        action=rng.integers(0, 9, (steps, 2, 2)),
        reward=rng.normal(size=steps).astype(np.float32),
        first_reward=np.ones(episodes, np.float32),
        terminated=np.zeros(steps, bool),
        truncated=truncated,
        offset=np.concatenate([[0], np.cumsum(lengths)]),
        card={"task": "toy", "settings": {}},
    )
