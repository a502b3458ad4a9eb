"""Requests drawn as the original draws them, from NumPy's legacy generator, whose stream is frozen for good."""

import numpy as np
from jaxtyping import Int32

from ohio_envs.routing.scenario import City
from ohio_jax.errors import UserError


def sample_instances(city: City, seed: int, episodes: int) -> Int32[np.ndarray, "{episodes} T n n"]:
    """The requests of the original's first episodes.

    The original draws once when it builds its simulator and again at every reset, so episode e uses draw e + 1. Each draw goes
    over 2 T steps, of which an episode uses T, and within a step over pairs of different regions row by row, then over pairs
    within a region; a rate of 0 takes nothing from the stream.

    Returns:
        `Int32[episodes, T, n, n]`.

    Raises:
        UserError: for a seed that generator does not know.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"seed: expected 0 to {2**32 - 1} with demand=numpy, found {seed}")
    T, n = city.horizon, city.regions
    lam = city.lam[: 2 * T]
    within = np.eye(n, dtype=bool)
    # Columns of one step in the order of drawing.
    pairs = np.concatenate([np.flatnonzero(~within), np.flatnonzero(within)])
    rates = lam.reshape(len(lam), n * n)[:, pairs]
    step, place = np.nonzero(rates)
    generator = np.random.RandomState(seed)
    requests = np.zeros((episodes + 1, len(lam), n * n), np.int32)
    for episode in requests:
        episode[step, pairs[place]] = generator.poisson(rates[step, place])
    return requests[1:, :T].reshape(episodes, T, n, n)
