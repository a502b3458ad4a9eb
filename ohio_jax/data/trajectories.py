"""Low-level trajectories: what a behavior policy logged, step by step, or logs of any other origin."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Num

from ohio_jax.data.arrays import Arrays
from ohio_jax.errors import UserError

BLOCK = 1 << 16  # rows that `coverage` takes at a time in float64


@dataclass(frozen=True, eq=False)
class Trajectories(Arrays):
    """E logged episodes of N low-level steps in all. Episode e owns steps offset[e] .. offset[e+1]-1.

    Attributes:
        obs: `Float[N + E, observation_size]`, one more row an episode than steps; see `obs_index`.
        state, next_state: [N, k], what the low-level policy saw, and what that became through the step's action.
        action: `[N, *action]`, low-level actions as executed.
        reward: `Float[N]`.
        first_reward: `Float[E]`, earned before the first decision; part of the episode's return.
        terminated, truncated: `Bool[N]`.
        offset: `Int[E + 1]`.
    """

    obs: np.ndarray
    state: np.ndarray
    next_state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    first_reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    offset: np.ndarray
    card: dict[str, Any]

    @property
    def episode(self) -> Int[np.ndarray, "N"]:
        """`Int[N]`, the episode of each step."""
        return np.repeat(np.arange(len(self.offset) - 1), np.diff(self.offset))

    @property
    def obs_index(self) -> Int[np.ndarray, "N"]:
        """`Int[N]`, the row of `obs` before each step; the row after it is the next one."""
        return np.arange(len(self.reward)) + self.episode

    @property
    def returns(self) -> Float64[np.ndarray, "E"]:
        """`Float64[E]`, undiscounted return of each episode."""
        return self.first_reward + np.bincount(self.episode, self.reward, len(self.offset) - 1)

    def as_dict(self) -> dict[str, np.ndarray]:
        """The data under the names that offline learners elsewhere read, as in D4RL and OGBench: a row a low-level step."""
        return {
            "observations": self.obs[self.obs_index],
            "actions": self.action,
            "rewards": self.reward,
            "next_observations": self.obs[self.obs_index + 1],
            "terminals": self.terminated,
            "timeouts": self.truncated,
        }

    def check(self, where: str) -> None:
        """Raises UserError naming `where` and the field if lengths disagree or a number is not finite."""
        super().check(where)
        steps, episodes, offset = len(self.reward), len(self.offset) - 1, self.offset
        self._check_lengths(where, ("state", "next_state", "action", "terminated", "truncated"), steps)
        if len(offset) < 2 or offset[0] != 0 or offset[-1] != steps or (np.diff(offset) < 1).any():
            raise UserError(f"{where}: field offset: expected increasing from 0 to {steps}, found {offset.tolist()[:8]}...")
        if len(self.obs) != steps + episodes or len(self.first_reward) != episodes:
            raise UserError(f"{where}: field obs: expected {steps} steps + {episodes} episodes rows, found {len(self.obs)}")


def from_arrays(
    obs: Num[np.ndarray, "N observation_size"],
    action: Num[np.ndarray, "N ..."],
    reward: Num[np.ndarray, "N"],
    next_obs: Num[np.ndarray, "N observation_size"],
    card: dict[str, Any],
    terminated: Bool[np.ndarray, "N"] | None = None,
    truncated: Bool[np.ndarray, "N"] | None = None,
    state: Num[np.ndarray, "N ..."] | None = None,
    next_state: Num[np.ndarray, "N ..."] | None = None,
) -> Trajectories:
    """Logs of any origin as trajectories: arrays with a row a step, in the order in which the steps were taken.

    Args:
        obs, next_obs: before and after each step.
        action, reward: as in `Trajectories`.
        card: where the data come from; `task` must name the task whose low level explains them.
        terminated, truncated: the last steps of episodes; None: no step. What is left open at the end counts as truncated.
        state, next_state: [N, k], see `Trajectories`; None: obs and next_obs, where the low level saw what policies see.

    Raises:
        UserError: if the numbers of rows differ, a number is not finite, or an episode has a gap.
    """
    never = np.zeros(len(reward), bool)
    arrays = {
        "obs": np.asarray(obs, np.float32),
        "next_obs": np.asarray(next_obs, np.float32),
        "state": np.asarray(obs if state is None else state),
        "next_state": np.asarray(next_obs if next_state is None else next_state),
        "action": np.asarray(action),
        "reward": np.asarray(reward),
        "terminated": np.asarray(never if terminated is None else terminated, bool),
        "truncated": np.asarray(never if truncated is None else truncated, bool),
    }
    for name, array in arrays.items():
        if len(array) != len(never) or not len(array):
            raise UserError(f"arrays: field {name}: expected {len(never) or 'at least 1'} rows, one a step, found {len(array)}")
    obs, next_obs = arrays.pop("obs"), arrays.pop("next_obs")
    ends = arrays["terminated"] | arrays["truncated"]
    ends[-1] = True
    last = np.flatnonzero(ends)
    whole = Trajectories(
        obs=np.insert(obs, last + 1, next_obs[last], axis=0),
        first_reward=np.zeros(len(last), np.float32),
        offset=np.append(0, last + 1),
        card=card,
        **{**arrays, "truncated": ends & ~arrays["terminated"]},
    )
    whole.check("arrays")
    gaps = np.flatnonzero(~ends[:-1] & (next_obs[:-1] != obs[1:]).any(axis=1))
    if len(gaps):
        step = int(gaps[0])
        raise UserError(
            f"arrays: field next_obs[{step}]: expected obs[{step + 1}], of the same episode, {obs[step + 1].tolist()},"
            f" found {next_obs[step].tolist()}"
        )
    return whole


def concatenate(parts: Iterable[Trajectories], card: dict[str, Any]) -> Trajectories:
    """Joins trajectories of consecutive episodes into one data set with the given card.

    Parts that nobody else holds are let go of field by field, so that hardly more than one copy of the data lies in memory.
    """
    columns: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, array in part.arrays.items():
            columns.setdefault(name, []).append(np.diff(array) if name == "offset" else array)
        del part
    arrays = {name: np.concatenate(columns.pop(name)) for name in [*columns]}
    offset = np.concatenate([[0], np.cumsum(arrays.pop("offset"))])
    return Trajectories(**arrays, offset=offset, card=card)


def quality(returns: Float[np.ndarray, "E"], zero: float, full: float) -> float:
    """Trajectory quality: mean return of the data between score zero (0) and full score (1)."""
    return float((np.mean(returns) - zero) / (full - zero))


def coverage(obs: Num[np.ndarray, "M n"], action: Num[np.ndarray, "M ..."], bins: int = 20) -> float:
    """Distinct (state, action) cells as a share of the transitions, in (0, 1].

    In tens of dimensions every pair is unique, so both are first projected on their three leading principal components
    and binned in `bins` intervals from the smallest to the largest value: a relative of SACo (Schweighofer et al. 2022)
    that needs no reference dataset.
    """

    def cells(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), -1)
        blocks = [slice(first, first + BLOCK) for first in range(0, len(x), BLOCK)]
        mean = sum(np.sum(x[rows], axis=0, dtype=np.float64) for rows in blocks) / len(x)
        centered = lambda rows: x[rows].astype(np.float64) - mean
        _, axes = np.linalg.eigh(sum(part.T @ part for part in map(centered, blocks)))
        y = np.concatenate([centered(rows) @ axes[:, -3:] for rows in blocks])
        low, width = y.min(axis=0), np.maximum(np.ptp(y, axis=0), 1e-12)
        return np.minimum((bins * (y - low) / width).astype(int), bins - 1)

    pairs = np.concatenate([cells(obs), cells(action)], axis=1)
    return len(np.unique(pairs, axis=0)) / len(pairs)
