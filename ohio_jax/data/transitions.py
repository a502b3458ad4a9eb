"""High-level transitions: what an inverse makes of logged trajectories, and what a learner sees of them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.data.arrays import Arrays


class Batch(NamedTuple):
    """What a learner sees of B transitions (or of a whole dataset).

    obs, next_obs: Float[B, observation_size].
    goal: Float[B, *spec.shape].
    reward: Float[B], summed over the segment, in the task's unit.
    discount: Float[B], 0 where the episode truly ended, else 1.
    weight: Float[B], trust in the transition; multiplies its loss.
    outcome: Float[B], discounted reward from here to the episode's end, where a learner asks for it.
    next_goal: Float[B, *spec.shape], the goal of the next decision, where a learner asks for it.
    """

    obs: jax.Array
    goal: jax.Array
    reward: jax.Array
    next_obs: jax.Array
    discount: jax.Array
    weight: jax.Array
    outcome: jax.Array | None = None
    next_goal: jax.Array | None = None


@dataclass(frozen=True, eq=False)
class Transitions(Arrays):
    """M high-level transitions.

    obs, goal, reward, next_obs, discount, weight: as in `Batch`, leading axis M.
    status: Int[M] and residual: Float[M], what the inverse said of each (see `ohio_jax.inverse.problem`).
    episode: Int[M]; episode_return: Float[E].
    """

    obs: np.ndarray
    goal: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    discount: np.ndarray
    weight: np.ndarray
    status: np.ndarray
    residual: np.ndarray
    episode: np.ndarray
    episode_return: np.ndarray
    card: dict[str, Any]

    def check(self, where: str) -> None:
        """Raises UserError naming `where` and the field if lengths disagree or a number is not finite."""
        super().check(where)
        names = ("obs", "goal", "next_obs", "discount", "weight", "status", "residual", "episode")
        self._check_lengths(where, names, len(self.reward))

    def batch(self) -> Batch:
        """All transitions as one batch of float32 arrays, on the host."""
        names = [name for name in Batch._fields if name not in Batch._field_defaults]
        arrays: list[Any] = [np.asarray(getattr(self, name), np.float32) for name in names]
        return Batch(*arrays)

    def outcomes(self, discount: float) -> np.ndarray:
        """Float32[M], reward from each transition to the end of its episode, discounted with each decision."""
        last = np.append(self.episode[1:] != self.episode[:-1], True)

        def back(later, now):
            reward, ends = now
            earned = reward + jnp.where(ends, 0.0, discount * later)
            return earned, earned

        return np.asarray(jax.lax.scan(back, jnp.float32(0.0), (self.reward.astype(np.float32), last), reverse=True)[1])

    def next_goals(self) -> np.ndarray:
        """Float[M, *goal], the goal of each transition's next one; its own where that is of another episode or has no weight."""
        follows = (self.episode[1:] == self.episode[:-1]) & (self.weight[1:] > 0)
        rows = np.arange(len(self.goal))
        rows[:-1] += follows
        return self.goal[rows]
